//! What a server says of itself that speaks PostgreSQL's protocol.

use sqlx::{Connection as _, PgConnection, Pool, Postgres};

use super::engine::{self, Answers};
use crate::database::engine::Engine;
use crate::database::postgres::pooler;
use crate::error::Error;

/// On connections of its own: the application's may all be in use, by the caller too.
pub(super) async fn inspect(pool: &Pool<Postgres>) -> Result<Engine, Error> {
    let failed = |error| Error::database("asking for the engine", error);
    let options = pool.connect_options();
    let mut conn = PgConnection::connect_with(&options).await.map_err(failed)?;
    let engine = ask(&mut conn).await.map_err(failed)?;
    let _ = conn.close().await; // it is of no use to anybody
    match pooler::probe(&options).await? {
        true => Ok(engine.through_a_pooler()),
        false => Ok(engine),
    }
}

async fn ask(conn: &mut PgConnection) -> sqlx::Result<Engine> {
    let version = text(conn, "SELECT version()").await?;
    if let Some(foreign) = engine::foreign(&version) {
        return Ok(foreign);
    }
    let in_recovery = text(conn, "SELECT pg_is_in_recovery()::text").await? == "true";
    let read_only = text(conn, "SELECT current_setting('transaction_read_only')").await? == "on";
    let dsql = "SELECT (to_regclass('sys.iam_pg_role_mappings') IS NOT NULL)::text";
    let dsql = text(conn, dsql).await? == "true";
    let extensions = "SELECT COALESCE(string_agg(extname, ' '), '')::text FROM pg_extension";
    let extensions = text(conn, extensions).await?;
    Ok(engine::engine(&Answers { version, in_recovery, read_only, dsql, extensions }))
}

/// Unprepared: a pooler may be between.
async fn text(conn: &mut PgConnection, sql: &'static str) -> sqlx::Result<String> {
    use sqlx::Row as _;
    sqlx::raw_sql(sql).fetch_one(conn).await?.try_get(0)
}
