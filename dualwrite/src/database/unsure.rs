//! Statements on a connection whose last statement may have been dropped in the middle.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use sqlx::Pool;
use sqlx::pool::PoolConnection;

use super::sealed::Adapter as _;
use super::{Backend, SqlRow, SqlValue};

/// Runs statements on such a connection. Where a statement was dropped in the middle of a message, the driver of MySQL
/// takes the rest of that message for the next one, and may panic on it. A panic is answered as a protocol error:
/// close the connection then, as after every other error here.
pub(crate) async fn on_unsure<T>(statements: impl Future<Output = T>) -> sqlx::Result<T> {
    AssertUnwindSafe(statements).catch_unwind().await.map_err(|_| {
        tracing::warn!(
            "the driver panicked on a connection whose last statement was dropped in the middle; the connection is \
             closed"
        );
        let message = "the driver panicked on an answer that belongs to no statement";
        sqlx::Error::Protocol(message.to_owned())
    })
}

/// A connection out of a pool of the application for statements under a limit. Dropped before it is
/// [given back](Self::give_back), it is closed: what was dropped may be in the middle of a statement, and a server that
/// hangs would keep it from the pool.
pub(crate) struct Borrowed<DB: Backend>(Option<PoolConnection<DB>>);

impl<DB: Backend> Borrowed<DB> {
    pub(crate) async fn of(pool: &Pool<DB>) -> sqlx::Result<Self> {
        pool.acquire().await.map(|conn| Self(Some(conn)))
    }

    pub(crate) async fn fetch(
        &mut self,
        sql: &str,
        values: &[SqlValue],
    ) -> sqlx::Result<Vec<SqlRow>> {
        let conn = self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)?;
        DB::Adapter::fetch(conn, sql, values).await
    }

    /// All answers have come.
    pub(crate) fn give_back(mut self) {
        self.0 = None;
    }
}

impl<DB: Backend> Drop for Borrowed<DB> {
    fn drop(&mut self) {
        if let Some(conn) = &mut self.0 {
            conn.close_on_drop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_the_driver_is_an_error_and_an_answer_is_an_answer() {
        assert_eq!(on_unsure(async { 7 }).await.unwrap(), 7);
        let panicked = on_unsure::<()>(async { panic!("split_to out of bounds") }).await;
        assert!(matches!(panicked, Err(sqlx::Error::Protocol(_))), "{panicked:?}");
    }
}
