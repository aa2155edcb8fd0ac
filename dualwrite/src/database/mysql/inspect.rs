//! What a server says of itself that speaks MySQL's protocol.

use std::time::Duration;

use sqlx::{Connection as _, MySql, MySqlConnection, Pool, Row as _};

use super::engine::{self, Answers};
use crate::clock;
use crate::database::engine::Engine;
use crate::error::{Error, ErrorKind};

/// For how long a connection of the pool is waited for.
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);

/// On a connection of its own: the application's may all be in use, by the caller too.
pub(super) async fn inspect(pool: &Pool<MySql>) -> Result<Engine, Error> {
    let failed = |error| Error::database("asking for the engine", error);
    let options = pool.connect_options();
    let mut conn = MySqlConnection::connect_with(&options).await.map_err(failed)?;
    let engine = ask(&mut conn).await.map_err(failed)?;
    let _ = conn.close().await; // it is of no use to anybody
    check_autocommit(pool).await?;
    Ok(engine)
}

/// Where the server's default is off, and the pool does not say otherwise, what the application and this library
/// do outside of transactions is not stored, and reads stay as they were.
async fn check_autocommit(pool: &Pool<MySql>) -> Result<(), Error> {
    let failed = |error| Error::database("asking for autocommit", error);
    // A pool that is in use shows a connection later, or never; its own statements show the rest.
    let Ok(acquired) = clock::limit(CONNECTED_WITHIN, pool.acquire()).await else { return Ok(()) };
    let mut conn = acquired.map_err(failed)?;
    let autocommit = variable(&mut conn, "SHOW SESSION VARIABLES LIKE 'autocommit'").await;
    if !is_off(autocommit.map_err(failed)?.as_deref()) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        "connections of the pool do not commit by themselves (`autocommit` is 0, by the server's default or by \
         the pool's): what is written outside of a transaction would not be stored; add \
         `.after_connect(|conn, _| Box::pin(async move { conn.execute(\"SET autocommit = 1\").await.map(drop) }))` \
         to the pool's options",
    ))
}

async fn ask(conn: &mut MySqlConnection) -> sqlx::Result<Engine> {
    let version = text(conn, "SELECT version()").await?;
    let comment = variable(conn, "SHOW VARIABLES LIKE 'version_comment'").await?;
    let comment = comment.unwrap_or_default();
    if let Some(foreign) = engine::foreign(&version, &comment) {
        return Ok(foreign);
    }
    let is_on = |value: Option<String>| matches!(value.as_deref(), Some("ON" | "1"));
    let read_only = variable(conn, "SHOW GLOBAL VARIABLES LIKE 'read_only'").await?;
    let read_only = read_only.is_some() && !is_off(read_only.as_deref());
    let galera = match is_on(variable(conn, "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'").await?) {
        true => variable(conn, "SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'").await?,
        false => None,
    };
    let galera = galera.and_then(|size| size.parse().ok());
    // A table of MySQL that MariaDB lacks, and that not everybody may read: the mode says enough then.
    let primaries = "SELECT CAST(count(*) AS CHAR) FROM performance_schema.replication_group_members \
                     WHERE member_role = 'PRIMARY'";
    let primaries = match text(conn, primaries).await {
        Ok(count) => count.parse().unwrap_or(0),
        Err(error) if error.as_database_error().is_some() => several_primaries(conn).await?,
        Err(error) => return Err(error),
    };
    Ok(engine::engine(&Answers { version, comment, read_only, galera, group_primaries: primaries }))
}

/// A replication group whose members all take writes, as its variables say.
async fn several_primaries(conn: &mut MySqlConnection) -> sqlx::Result<u64> {
    let name = "SHOW GLOBAL VARIABLES LIKE 'group_replication_group_name'";
    let group = variable(conn, name).await?.is_some_and(|name| !name.is_empty());
    let mode = "SHOW GLOBAL VARIABLES LIKE 'group_replication_single_primary_mode'";
    let mode = variable(conn, mode).await?;
    Ok(if group && is_off(mode.as_deref()) { 2 } else { 0 })
}

fn is_off(value: Option<&str>) -> bool {
    matches!(value, Some("OFF" | "0"))
}

async fn text(conn: &mut MySqlConnection, sql: &'static str) -> sqlx::Result<String> {
    sqlx::raw_sql(sql).fetch_one(conn).await?.try_get_unchecked(0)
}

async fn variable(conn: &mut MySqlConnection, sql: &'static str) -> sqlx::Result<Option<String>> {
    let row = sqlx::raw_sql(sql).fetch_optional(conn).await?;
    row.map(|row| row.try_get_unchecked(1)).transpose()
}
