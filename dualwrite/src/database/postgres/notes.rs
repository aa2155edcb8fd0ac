//! What is worth knowing of a table before its rows are copied.

use sqlx::PgConnection;

use super::PostgresAdapter;
use crate::database::SqlValue;
use crate::database::deferred::Deferred;
use crate::database::sealed::Adapter as _;
use crate::preflight::rows::TableNotes;

/// Those that run for each row, at its insertion or update.
const TRIGGERS: &str = "SELECT tgname::text FROM pg_trigger WHERE tgrelid = to_regclass(?) \
     AND NOT tgisinternal AND tgname NOT LIKE 'dualwrite%' AND tgenabled <> 'D' \
     AND tgtype & 1 <> 0 AND tgtype & 20 <> 0 ORDER BY 1";

const RIGHTS: &str = "SELECT r FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) r \
     WHERE NOT has_table_privilege(to_regclass(?)::oid, r)";

/// Whether row-level security applies to this role, and not by one policy that lets it read all and nothing that
/// restricts it.
const HIDES: &str = "WITH own AS (SELECT p.polpermissive, p.polcmd, pg_get_expr(p.polqual, p.polrelid) AS qual \
     FROM pg_policy p WHERE p.polrelid = to_regclass(?) AND p.polcmd IN ('*', 'r') \
     AND (0 = ANY (p.polroles) OR EXISTS (SELECT 1 FROM pg_roles r WHERE r.oid = ANY (p.polroles) \
     AND pg_has_role(r.oid, 'USAGE')))) \
     SELECT 1::bigint WHERE row_security_active(to_regclass(?)::oid) \
     AND NOT (EXISTS (SELECT 1 FROM own WHERE polpermissive AND qual = 'true') \
     AND NOT EXISTS (SELECT 1 FROM own WHERE NOT polpermissive AND qual IS DISTINCT FROM 'true'))";

pub(super) async fn of(conn: &mut PgConnection, table: &str) -> sqlx::Result<TableNotes> {
    let table_name = SqlValue::from(table);
    let mut found = [Vec::new(), Vec::new()];
    for (list, sql) in found.iter_mut().zip([TRIGGERS, RIGHTS]) {
        for row in PostgresAdapter::fetch(conn, sql, std::slice::from_ref(&table_name)).await? {
            list.push(row.text(0)?.to_owned());
        }
    }
    let [triggers, missing_rights] = found;
    let deferred = match PostgresAdapter::deferred(conn, table, &[]).await? {
        Deferred::Named(names) => Some(names),
        Deferred::Nothing | Deferred::Asked(_) => None,
    };
    let twice = [table_name.clone(), table_name];
    let hides_rows = !PostgresAdapter::fetch(conn, HIDES, &twice).await?.is_empty();
    Ok(TableNotes { triggers, missing_rights, deferred, hides_rows, ..TableNotes::default() })
}
