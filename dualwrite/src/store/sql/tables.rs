//! The way to the control tables in a database: their connections, and the limits on statements.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::Pool;

use crate::clock::Clock;
use crate::control::Record;
use crate::database::sealed::Adapter;
use crate::database::{Backend, SqlRow, SqlValue};
use crate::error::Error;
use crate::state::unknown_migration;
use crate::store::changed::tell;
use crate::store::connections::Connections;
use crate::store::sql::record::{record_of, record_sql};

/// How many statements may be under way beside the heartbeat, and how many moves.
const WORKING_MAX: usize = 2;
const MOVE_CONNECTIONS_MAX: usize = 4;

/// The default limit on a statement.
pub(crate) const STATEMENT_MAX: Duration = Duration::from_secs(3);
const STATEMENT_MIN: Duration = Duration::from_millis(500);
/// One of a move waits a second for the fence.
const MOVE_STATEMENT_MIN: Duration = Duration::from_secs(2);

/// How long a statement waits for other writers where there is one at a time.
const WRITER_WAIT: Duration = Duration::from_secs(10);
/// Who reads the catalogue at once, and how long one statement of it may take: there may be many tables, and one that
/// somebody has locked makes it wait.
const CATALOGUE_MAX: usize = 2;
const CATALOGUE_LIMIT: Duration = Duration::from_secs(30);
/// How long one attempt of a move waits for the fence, which the adapters say as well.
pub(super) const FENCE_WAIT: Duration = Duration::from_secs(1);

/// The limit on a statement of an instance with this lease: a heartbeat that hangs, and the one that is sent in its
/// place, leave half of it.
pub(crate) fn statement_limit(lease: Duration) -> Duration {
    (lease / 5).clamp(STATEMENT_MIN, STATEMENT_MAX)
}

/// The control tables in a database.
pub(crate) struct SqlControl<DB: Backend> {
    pub(super) pool: Pool<DB>,
    /// For heartbeats and looks alone: the one connection that lasts.
    pub(super) heartbeats: Connections<DB>,
    pub(super) working: Connections<DB>,
    /// For those who wait for the fence.
    pub(super) moves: Connections<DB>,
    /// For what is read of the service's own tables, at somebody's request.
    pub(super) catalogue: Connections<DB>,
    /// Of moves of one migration one has the fence at a time, and the others need no connection to wait.
    pub(super) turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// By how much the database's clock has lately gone ahead, in microseconds, and until when that matters.
    pub(super) stepped: Mutex<Option<(i64, u64)>>,
    pub(super) clock: Clock,
    /// The database tells of changes, and nothing in between loses what it says.
    pub(super) notified: bool,
}

impl<DB: Backend> SqlControl<DB> {
    /// With this limit on each statement.
    pub(crate) fn new(pool: Pool<DB>, limit: Duration) -> Self {
        let [heartbeats, working, moves] = match DB::Adapter::DIALECT.server {
            true => [limit, limit, limit.max(MOVE_STATEMENT_MIN)],
            // With one writer at a time, a statement is slow because others write; a heartbeat may take a third of a
            // lease.
            false => [limit * 5 / 3, limit.max(WRITER_WAIT), FENCE_WAIT],
        };
        Self {
            heartbeats: Connections::new(&pool, 1, true, heartbeats),
            working: Connections::new(&pool, WORKING_MAX, false, working),
            moves: Connections::new(&pool, MOVE_CONNECTIONS_MAX, false, moves),
            catalogue: Connections::new(&pool, CATALOGUE_MAX, false, CATALOGUE_LIMIT),
            pool,
            turns: Mutex::default(),
            stepped: Mutex::default(),
            clock: Clock::system(),
            notified: true,
        }
    }

    /// Behind a pooler nobody is told of anything: the session that listens may be another one by then.
    pub(crate) fn without_notifications(self) -> Self {
        Self { notified: false, ..self }
    }

    pub(super) async fn fetch(
        &self,
        doing: &str,
        sql: &str,
        values: &[SqlValue],
    ) -> Result<Vec<SqlRow>, Error> {
        self.working.fetch(doing, sql, values).await
    }

    pub(super) async fn execute(
        &self,
        doing: &str,
        sql: &str,
        values: &[SqlValue],
    ) -> Result<u64, Error> {
        self.working.execute(doing, sql, values).await
    }

    /// Tells the others that there is something to do.
    pub(super) async fn hint(&self, name: &str) -> Result<(), Error> {
        let hinting = self.working.within("telling the others", async {
            let mut lent = self.working.lend().await?;
            lent.busy();
            let _waiting = <DB::Adapter as Adapter>::Waiting::default();
            let told = tell::<DB>(&mut lent, name).await;
            lent.ended(told)
        });
        hinting.await.map_err(|error| error.of(name))
    }

    pub(super) async fn record(&self, name: &str) -> Result<Record, Error> {
        let sql = record_sql("WHERE m.name = ?");
        let rows = self.fetch("reading a migration", &sql, &[name.into()]).await?;
        let row = rows.first().ok_or_else(|| unknown_migration(name))?;
        record_of(row).map_err(|error| Error::database("reading a migration", error).of(name))
    }

    /// How long ago an instance may have expired by the database's clock, which has gone ahead, in microseconds.
    pub(super) fn slack(&self) -> i64 {
        let stepped = *self.stepped.lock().unwrap_or_else(PoisonError::into_inner);
        stepped.filter(|(_, until)| self.clock.now() < *until).map_or(0, |(by, _)| by)
    }
}
