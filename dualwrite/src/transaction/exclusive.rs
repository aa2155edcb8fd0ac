//! A transaction that holds the fence of one migration alone: every fenced write that began before it has
//! ended, and none begins until it ends.

use std::time::Duration;

use sqlx::pool::PoolConnection;

use super::{Conn, Tx};
use crate::clock;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Fenced, Pin};
use crate::error::{Error, ErrorKind};

/// How often the fence is asked for, about a second each time, where somebody waits for it to be had.
pub(crate) const FENCE_ATTEMPTS: u32 = 5;
/// What every message ends with where somebody waited for the fence in vain.
pub(crate) const HELD_OPEN: &str = "look for a transaction that is held open";
/// In between, the writers that queue behind it go ahead.
pub(crate) const FENCE_PAUSE: Duration = Duration::from_millis(100);

impl<DB: Backend> Tx<'static, DB> {
    /// Waits for writes in flight, and begins. It pins nothing yet. The error is a lock timeout where they
    /// did not end within `attempts`.
    pub(crate) async fn begin_exclusive(
        pool: &sqlx::Pool<DB>,
        name: &str,
        attempts: u32,
        opening: fn(PoolConnection<DB>) -> Self,
    ) -> sqlx::Result<Self> {
        let mut attempt = 1;
        loop {
            let mut tx = opening(pool.acquire().await?);
            let begun = match &mut tx.conn {
                Conn::Root(Some(conn), held) => {
                    DB::Adapter::begin_exclusive(conn, held, name).await
                }
                Conn::Root(None, _) | Conn::Nested { .. } | Conn::Adopted { .. } => {
                    Err(sqlx::Error::BeginFailed)
                }
            };
            match begun {
                Ok(()) => {
                    tx.opened([].into());
                    return Ok(tx);
                }
                Err(error) if DB::Adapter::is_lock_timeout(&error) && attempt < attempts => {
                    drop(tx);
                    attempt += 1;
                    clock::sleep(FENCE_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Pins the position in force, and bears the mark that a trigger looks at from now on.
    pub(crate) async fn pin_exclusive(&mut self, pin: Pin) -> Result<(), Error> {
        let failed = |error| Error::database("reading the position", error);
        let pins = [pin];
        let read = DB::Adapter::read_pinned(self.connection(), &pins).await.map_err(failed)?;
        if let Fenced::Read(found) = read {
            self.marked = found.iter().flatten().any(|found| found.watched);
            self.pins = super::begin::pinned(pins.into(), found)?;
        }
        Ok(())
    }
}

/// What to say where the fence was not to be had.
pub(crate) fn fence_refused<DB: Backend>(doing: &str, message: &str, error: sqlx::Error) -> Error {
    match DB::Adapter::is_lock_timeout(&error) {
        true => Error::new(ErrorKind::Timeout, message).caused_by(error),
        false => Error::database(doing, error),
    }
}
