//! Telling others at a commit, on PostgreSQL: a notification, and no lock that outlives who tells.

use sqlx::PgConnection;

use crate::database::postgres::PostgresAdapter;
use crate::database::sealed::Adapter as _;

pub(super) const CHANNEL: &str = "dualwrite";

/// A process that vanishes before its commit must not keep the locks of its transaction until the connection is found
/// dead. For this transaction alone: behind a pooler the session may be another's afterwards.
const TELL: &str = "SELECT CAST(pg_notify(?, ?) AS TEXT), \
     set_config('idle_in_transaction_session_timeout', '15s', true)";

pub(super) async fn tell(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    PostgresAdapter::fetch(conn, TELL, &[CHANNEL.into(), name.into()]).await.map(drop)
}
