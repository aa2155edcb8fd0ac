//! Beginning a [`Tx`]: BEGIN, and the fences of its migrations.

use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx_core::transaction::TransactionManager;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Conn, Held, MirrorSavepoint, State, Tx};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Begin, Fenced, Found, Isolation, Pin};
use crate::error::{Error, ErrorKind};
use crate::observe::count;
use crate::state::{MirrorPolicy, Shared};

/// How often the position may change between looking and beginning before we give up.
const BEGIN_ATTEMPTS: u32 = 8;

impl<DB: Backend> Tx<'static, DB> {
    /// For callers: it is refused where writes are closed. An instance that has not heard of that yet finds the
    /// fence at a newer epoch, and reads there what is closed.
    pub(crate) async fn begin_open(
        pool: &sqlx::Pool<DB>,
        migrations: &[&Shared],
        isolation: Isolation,
    ) -> Result<Self, Error> {
        for _ in 0..BEGIN_ATTEMPTS {
            migrations.iter().try_for_each(|migration| migration.check_writes())?;
            let tx = Self::begin_shared(pool, migrations, isolation).await?;
            if !tx.pins.iter().any(|pin| pin.position.closed.is_closed()) {
                return Ok(tx);
            }
            tx.rollback().await?;
            for migration in migrations {
                migration.refresh().await?;
            }
        }
        Err(Error::new(ErrorKind::Conflict, "it was closed and opened again and again; try again"))
    }

    /// For the library's own copies, which go on while calls are closed.
    pub(crate) async fn begin_shared(
        pool: &sqlx::Pool<DB>,
        migrations: &[&Shared],
        isolation: Isolation,
    ) -> Result<Self, Error> {
        let mut operation = migrations.first().map(|migration| migration.operate()).transpose()?;
        for _ in 0..BEGIN_ATTEMPTS {
            let how = (isolation, None);
            let begun = Self::begin_once(pool, migrations, how, &mut operation).await;
            if let Some(tx) = begun? {
                return Ok(tx);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the position kept changing; try again"))
    }

    /// Of no migration, and with this lock from its beginning on, where the database has such locks.
    pub(crate) async fn begin_locked(
        pool: &sqlx::Pool<DB>,
        isolation: Isolation,
        lock: Option<i64>,
    ) -> Result<Self, Error> {
        for _ in 0..BEGIN_ATTEMPTS {
            let begun = Self::begin_once(pool, &[], (isolation, lock), &mut None).await;
            if let Some(tx) = begun? {
                return Ok(tx);
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "connections of the pool are in transactions that nobody has",
        ))
    }

    /// `None` where it has to be tried again: the position has changed, and is known now.
    async fn begin_once(
        pool: &sqlx::Pool<DB>,
        migrations: &[&Shared],
        (isolation, lock): (Isolation, Option<i64>),
        operation: &mut Option<TaskTrackerToken>,
    ) -> Result<Option<Self>, Error> {
        let failed = |error| not_begun(migrations, error);
        let mut pins: Vec<Pin> = migrations.iter().map(|migration| migration.pin()).collect();
        let savepoint = migrations.iter().zip(&pins).any(|(migration, pin)| {
            migration.options.mirror == MirrorPolicy::Repeat && pin.position.stage.writes_both()
        });
        // Every transaction takes its fences in one order: a change of one migration queues between
        // those who hold its fence and those who ask for it, so two orders and two changes at
        // once would wait for each other in a circle.
        pins.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        if !DB::Adapter::make_way().await {
            migrations.iter().for_each(|migration| count(&migration.counters.turns_timed_out));
        }
        let mut conn = pool.acquire().await.map_err(failed)?;
        if DB::TransactionManager::get_transaction_depth(&conn) != 0 {
            conn.close_on_drop(); // sqlx believes in a transaction that nobody has
            return Ok(None);
        }
        let mut tx = Self::opening(conn);
        (tx.isolation, tx._operation) = (isolation, operation.take());
        tx.pool = Some(pool.clone());
        let begin = Begin { pins: &pins, isolation, savepoint, lock };
        let fenced = tx.take_fence(begin).await.map_err(failed)?;
        if !tx.enter_fence(migrations, pins, fenced, savepoint)? {
            *operation = tx._operation.take();
            drop(tx);
            for migration in migrations {
                migration.refresh().await?;
            }
            return Ok(None);
        }
        let enter = |shared: &&Shared| shared.open.enter(shared.clock.now());
        tx._open = migrations.iter().map(enter).collect();
        Ok(Some(tx))
    }

    /// Takes over what the fence said. `false` where the position has changed, and the transaction was not begun.
    fn enter_fence(
        &mut self,
        migrations: &[&Shared],
        pins: Vec<Pin>,
        fenced: Fenced,
        savepoint: bool,
    ) -> Result<bool, Error> {
        match fenced {
            Fenced::Confirmed => {
                self.opened(pins.into());
                if savepoint {
                    self.mirror_savepoint = MirrorSavepoint::AtStart;
                }
            }
            Fenced::Read(found) => {
                self.opened(Arc::from([]));
                compare_fences(migrations, &pins, &found);
                self.marked = found.iter().flatten().any(|found| found.watched);
                self.pins = pinned(pins, found)?;
            }
            Fenced::Moved => {
                self.state = State::Closed;
                return Ok(false);
            }
            Fenced::Lost => {
                self.state = State::Closed;
                let names: Vec<&str> = pins.iter().map(|pin| &*pin.name).collect();
                return Err(fence_lost().of(&names.join(" or ")));
            }
        }
        Ok(true)
    }

    /// A connection on which BEGIN is about to be sent; until [`Tx::opened`], dropping it closes it.
    pub(crate) fn opening(conn: PoolConnection<DB>) -> Self {
        let conn = Conn::Root(Some(conn), Held::<DB>::default());
        Self::new(conn, Arc::from([]), Isolation::default(), State::Opening)
    }

    /// Sends BEGIN and takes the fences.
    pub(crate) async fn take_fence(&mut self, begin: Begin<'_>) -> sqlx::Result<Fenced> {
        match &mut self.conn {
            Conn::Root(Some(conn), held) => DB::Adapter::begin_fenced(conn, held, begin).await,
            Conn::Root(None, _) | Conn::Nested { .. } | Conn::Adopted { .. } => {
                Err(sqlx::Error::BeginFailed)
            }
        }
    }

    /// BEGIN has succeeded.
    pub(crate) fn opened(&mut self, pins: Arc<[Pin]>) {
        self.pins = pins;
        self.state = State::Open;
    }
}

/// The row of a migration is there, and what belongs to it is not.
pub(crate) fn fence_lost() -> Error {
    Error::new(
        ErrorKind::Database,
        "the migration's row is there and its fence is not, as after a partial restore; make it again \
         with `UPDATE dualwrite_migration SET epoch = epoch`",
    )
}

fn not_begun(migrations: &[&Shared], error: sqlx::Error) -> Error {
    let doing = "taking the fence; the control tables must be in the database of the transaction";
    let error = Error::database(doing, error);
    match migrations.first() {
        Some(first) => error.of(&first.name),
        None => error,
    }
}

/// Lets each migration know what its fence says.
fn compare_fences(migrations: &[&Shared], pins: &[Pin], found: &[Option<Found>]) {
    for (pin, found) in pins.iter().zip(found) {
        let shared = migrations.iter().find(|shared| shared.name == pin.name);
        if let (Some(shared), Some(found)) = (shared, found) {
            shared.compare_fence(pin.mark(), found.mark());
        }
    }
}

/// The pins at the positions that the fences said.
pub(super) fn pinned(pins: Vec<Pin>, found: Vec<Option<Found>>) -> Result<Arc<[Pin]>, Error> {
    pins.into_iter()
        .zip(found)
        .map(|(pin, found)| match found {
            Some(Found { position, token, .. }) => Ok(Pin { position, token, ..pin }),
            None => Err(Error::new(
                ErrorKind::UnknownMigration,
                "it is not in the control tables of this database",
            )
            .of(&pin.name)),
        })
        .collect()
}
