//! Whether connections to PostgreSQL go through a pooler, and whether it breaks them: two connections ask for
//! the number of their server process, and execute statements that are kept prepared.
//!
//! A pooler that gives each transaction another session is fine for the fence, which is a lock of the
//! transaction. But sqlx names the statements that it prepares, on each connection from 1 on: where the
//! pooler does not keep them apart, a client executes the statement of another.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::clock;
use crate::database::postgres::PostgresAdapter;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};

/// A pooler with a single session makes one connection wait for the other.
const TURN_LIMIT: Duration = Duration::from_secs(1);

/// What two connections, `a` and `b`, saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sessions {
    /// The processes that served statements of each, in order.
    a: Vec<i64>,
    b: Vec<i64>,
    /// A statement of one waited for the transaction of the other.
    waited: bool,
}

impl Sessions {
    /// Whether statements outside of a transaction get whatever session is free.
    fn are_shared(&self) -> bool {
        let changes = |pids: &[i64]| pids.windows(2).any(|pair| pair[0] != pair[1]);
        let common = self.a.iter().any(|pid| self.b.contains(pid));
        self.waited || common || changes(&self.a) || changes(&self.b)
    }
}

/// Connects twice and tries. Answers with whether there is a pooler between.
///
/// # Errors
/// `Unsupported` where it breaks prepared statements, `Database`.
pub(super) async fn probe(options: &PgConnectOptions) -> Result<bool, Error> {
    let failed = |error| Error::database("looking for a pooler", error);
    let mut a = PgConnection::connect_with(options).await.map_err(failed)?;
    let mut b = PgConnection::connect_with(options).await.map_err(failed)?;
    let seen = sessions(&mut a, &mut b).await.map_err(failed)?;
    let pooled = seen.are_shared();
    let kept = !pooled || statements_are_kept(&mut a, &mut b).await;
    for conn in [a, b] {
        let _ = clock::limit(TURN_LIMIT, conn.close()).await; // it is of no use to anybody
    }
    match kept {
        true => Ok(pooled),
        false => Err(Error::new(
            ErrorKind::Unsupported,
            "connections go through a pooler that gives each transaction another session and does not keep \
             prepared statements apart: clients would execute the statements of others. Set PgBouncer's \
             `pool_mode = session`, or take PgBouncer 1.21 or later and set `max_prepared_statements` above \
             0, or connect to the server itself",
        )),
    }
}

async fn sessions(a: &mut PgConnection, b: &mut PgConnection) -> sqlx::Result<Sessions> {
    let mut seen = Sessions::default();
    for _ in 0..2 {
        seen.a.push(process(a).await?);
        seen.b.push(process(b).await?);
    }
    PostgresAdapter::run(b, "BEGIN").await?;
    seen.b.push(process(b).await?);
    let mut turn = Box::pin(process(a));
    let first = clock::limit(TURN_LIMIT, &mut turn).await;
    PostgresAdapter::run(b, "ROLLBACK").await?;
    seen.waited = first.is_err();
    seen.a.push(match first {
        Ok(process) => process?,
        Err(()) => turn.await?,
    });
    Ok(seen)
}

/// The number of the server process, by a statement that is not prepared.
async fn process(conn: &mut PgConnection) -> sqlx::Result<i64> {
    let row = sqlx::raw_sql("SELECT pg_backend_pid()::bigint::text").fetch_one(conn).await?;
    let number: String = row.try_get(0)?;
    number.parse().map_err(|_| sqlx::Error::Decode("a process has a number".into()))
}

/// Whether each connection goes on executing its own statement. sqlx gives both the same name.
async fn statements_are_kept(a: &mut PgConnection, b: &mut PgConnection) -> bool {
    for _ in 0..2 {
        for (conn, sql, answer) in [
            (&mut *a, "SELECT $1::bigint + 1000", 1007),
            (&mut *b, "SELECT $1::bigint + 2000", 2007),
        ] {
            let asked = sqlx::query_scalar::<_, i64>(sql).bind(7_i64).fetch_one(conn);
            match clock::limit(TURN_LIMIT, asked).await {
                Ok(Ok(number)) if number == answer => {}
                _ => return false,
            }
        }
    }
    // With the session of the one taken, the other gets one that has not seen its statement.
    if PostgresAdapter::run(b, "BEGIN").await.is_err() {
        return false;
    }
    let asked =
        sqlx::query_scalar::<_, i64>("SELECT $1::bigint + 1000").bind(7_i64).fetch_one(&mut *a);
    let kept = !matches!(clock::limit(TURN_LIMIT, asked).await, Ok(Err(_)));
    PostgresAdapter::run(b, "ROLLBACK").await.is_ok() && kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(a: &[i64], b: &[i64]) -> Sessions {
        Sessions { a: a.into(), b: b.into(), waited: false }
    }

    #[test]
    fn connections_with_a_process_of_their_own_are_not_pooled() {
        assert!(!seen(&[1, 1, 1], &[2, 2, 2]).are_shared());
    }

    #[test]
    fn whatever_is_shared_at_any_time_is_a_pooler() {
        assert!(seen(&[1, 1, 2], &[1, 1, 1]).are_shared(), "the last one is free again");
        assert!(seen(&[1, 2, 1], &[3, 3, 3]).are_shared(), "others take sessions meanwhile");
        assert!(seen(&[1, 1, 1], &[2, 3, 3]).are_shared());
        assert!(Sessions { waited: true, ..seen(&[1, 1, 1], &[2, 2, 2]) }.are_shared());
    }
}
