//! A transaction that reads alone, in one snapshot.

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};
use sqlx_core::transaction::TransactionManager as _;

use crate::database::{Backend, authority};

/// Dropped before its end, it closes its connection.
pub(crate) struct Snapshot<DB: Backend> {
    conn: PoolConnection<DB>,
    ended: bool,
}

impl<DB: Backend> Snapshot<DB> {
    /// Begins. The first statement makes the snapshot.
    pub(crate) async fn begin(pool: &Pool<DB>) -> sqlx::Result<Self> {
        let conn = pool.acquire().await?;
        let mut snapshot = Self { conn, ended: false };
        authority::begin_snapshot::<DB>(&mut snapshot.conn).await?;
        Ok(snapshot)
    }

    pub(crate) fn connection(&mut self) -> &mut <DB as Database>::Connection {
        &mut self.conn
    }

    pub(crate) async fn end(mut self) -> sqlx::Result<()> {
        DB::TransactionManager::rollback(&mut self.conn).await?;
        self.ended = true;
        Ok(())
    }
}

impl<DB: Backend> Drop for Snapshot<DB> {
    fn drop(&mut self) {
        if !self.ended {
            self.conn.close_on_drop();
        }
    }
}
