//! Whether the fence of a migration is what its row says, on PostgreSQL. A restored dump, a logical subscriber or
//! `session_replication_role` can leave the procedure of an epoch that has passed: by it those who still
//! believe in that epoch would get in.

use sqlx::PgConnection;

use crate::database::postgres::PostgresAdapter;
use crate::database::sealed::Adapter as _;

/// The migrations whose fence is not what their row says: the procedure of the row's epoch and token is the only one
/// of a fence, its table is there, and the trigger that keeps them so fires whatever the role in a replication is.
pub(super) const BROKEN: &str = "SELECT m.name FROM dualwrite_migration m, pg_class c \
     WHERE c.oid = 'dualwrite_migration'::regclass AND NOT COALESCE(\
     (SELECT array_agg(p.proname::text) FROM pg_proc p WHERE p.pronamespace = c.relnamespace \
     AND p.proname >= ('dualwrite_fence_' || m.fence || '_')::name \
     AND p.proname < ('dualwrite_fence_' || m.fence || '_:')::name) \
     IS NOT DISTINCT FROM ARRAY['dualwrite_fence_' || m.fence || '_' || m.epoch || '_' || m.token] \
     AND EXISTS (SELECT FROM pg_class f WHERE f.relnamespace = c.relnamespace \
     AND f.relname = 'dualwrite_fence_' || m.fence) \
     AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'dualwrite_fence' \
     AND t.tgenabled = 'A'), false)";

/// The trigger makes the procedure and removes all others. Only the owner of the table may enable it: where
/// somebody else finds it disabled, this fails and says so.
pub(super) async fn repair(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let enabled = "SELECT CASE WHEN tgenabled = 'A' THEN 1::bigint ELSE 0::bigint END FROM pg_trigger \
                   WHERE tgrelid = 'dualwrite_migration'::regclass AND tgname = 'dualwrite_fence'";
    let rows = PostgresAdapter::fetch(conn, enabled, &[]).await?;
    if rows.first().is_some_and(|row| row.integer(0).is_ok_and(|enabled| enabled == 0)) {
        let enable = "ALTER TABLE dualwrite_migration ENABLE ALWAYS TRIGGER dualwrite_fence";
        PostgresAdapter::run(conn, enable).await?;
    }
    // Validated: letters, digits, `.`, `_`, `-`.
    let sql = format!(
        "SET LOCAL lock_timeout='1s';UPDATE dualwrite_migration SET epoch=epoch WHERE name='{name}'"
    );
    PostgresAdapter::run_text(conn, sql).await
}
