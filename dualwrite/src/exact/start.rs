//! Starts a migration in exact mode.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Pool;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::exact::core::Core;
use crate::exact::half::Half;
use crate::exact::handle::Exact;
use crate::exact::inner::Inner;
use crate::exact::options::{OUTBOX_MIN, Options};
use crate::exact::port::Port;
use crate::exact::side::ExactSide;
use crate::exact::{background, jobs, metrics, report};
use crate::stages::exact::Authority;
use crate::stages::lineage::Token;
use crate::stages::name::check_name;
use crate::stages::stage::Side;
use crate::store::exact::authority::AuthorityRow;

/// A migration in exact mode about to be started; from [`Exact::between`].
#[must_use = "call `start`"]
pub struct ExactBuilder<O: ExactSide, N: ExactSide> {
    name: String,
    old: (Pool<O::Database>, O),
    new: (Pool<N::Database>, N),
    options: Options,
}

impl<O: ExactSide, N: ExactSide<Key = O::Key, Record = O::Record>> Exact<O, N> {
    /// Between the old database and the new one, each a pool and the side that is in it.
    ///
    /// ```
    /// # #[cfg(all(feature = "postgres", feature = "mysql"))] mod example {
    /// use dualwrite::{Error, exact::{Exact, ExactSide}};
    /// use sqlx::{MySql, MySqlPool, PgPool, Postgres};
    ///
    /// async fn start<O, N>(mysql: MySqlPool, postgres: PgPool, old: O, new: N) -> Result<Exact<O, N>, Error>
    /// where
    ///     O: ExactSide<Database = MySql>,
    ///     N: ExactSide<Database = Postgres, Key = O::Key, Record = O::Record>,
    /// {
    ///     Exact::between("carts", (mysql, old), (postgres, new)).start().await
    /// }
    /// # }
    /// ```
    pub fn between(
        name: impl Into<String>,
        old: (Pool<O::Database>, O),
        new: (Pool<N::Database>, N),
    ) -> ExactBuilder<O, N> {
        ExactBuilder { name: name.into(), old, new, options: Options::default() }
    }
}

impl<O: ExactSide, N: ExactSide<Key = O::Key, Record = O::Record>> ExactBuilder<O, N> {
    /// How long a write or a read waits for a hand-over; [`HAND_OVER_WAIT`](crate::defaults::HAND_OVER_WAIT) by default. Then it
    /// fails with `Timeout`, and nothing was done.
    pub fn hand_over_wait(mut self, limit: Duration) -> Self {
        self.options.wait = limit;
        self
    }

    /// How long a hand-over waits for the outbox to be applied; [`DRAIN_WAIT`](crate::defaults::DRAIN_WAIT) by default. Take less
    /// than callers wait.
    pub fn drain_wait(mut self, limit: Duration) -> Self {
        self.options.drain = limit;
        self
    }

    /// After how long this instance takes a hand-over up that nobody goes on with;
    /// [`TAKE_OVER_AFTER`](crate::defaults::TAKE_OVER_AFTER) by default.
    pub fn take_over_after(mut self, pause: Duration) -> Self {
        self.options.take_over = pause;
        self
    }

    /// How often this instance looks for something to apply or to take up; [`EXACT_POLL`](crate::defaults::EXACT_POLL) by default.
    pub fn poll(mut self, pause: Duration) -> Self {
        self.options.poll = pause.max(Duration::from_millis(1));
        self
    }

    /// Records that the outbox may have; [`OUTBOX_MAX`](crate::defaults::OUTBOX_MAX) by default, and at least 1,000. Where the
    /// mirror is down for so long that there are more, writes are recorded no more: the migration goes from `dual_write` to
    /// `off`, or from `live` to `complete`. Callers notice nothing, and no write is lost; to go on, advance or roll back to
    /// that stage, and [copy](Exact::copy) again.
    pub fn outbox_max(mut self, records: u64) -> Self {
        self.options.outbox_max = records.max(OUTBOX_MIN);
        self
    }

    /// Makes the control tables in both databases, joins the migration or begins it at `off`, and applies the outbox in a
    /// task beside callers.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name or one that a migration of [`Runtime`](crate::Runtime) has, or where both pools lead to
    /// one database; `UnknownMigration` where one database has
    /// lost its row; `Database`; `NewerControlTables`; `OutsideTokio`.
    pub async fn start(self) -> Result<Exact<O, N>, Error> {
        let handle = clock::tokio_runtime()?;
        check_name(&self.name)?;
        let name: Arc<str> = self.name.into();
        if let (Some(old), Some(new)) = (self.old.1.columns(), self.new.1.columns()) {
            old.check(&new).map_err(|error| error.of(&name))?;
        }
        let old = Arc::new(Half::new(Arc::clone(&name), Side::Old, self.old.1, self.old.0));
        let new = Arc::new(Half::new(Arc::clone(&name), Side::New, self.new.1, self.new.0));
        old.install().await.map_err(|error| error.of(&name))?;
        new.install().await.map_err(|error| error.of(&name))?;
        old.check_name().await?;
        new.check_name().await?;
        let found = (old.found().await?, new.found().await?);
        match missing(&found).map_err(|error| error.of(&name))? {
            Missing::None => {}
            Missing::Old => old.insert(first(Side::Old)).await?,
            Missing::Both => {
                // The mirror first: a process that dies in between leaves what looks as before.
                let made = first(Side::New);
                new.insert(made).await?;
                if let Err(error) = old.insert(first(Side::Old)).await {
                    if error.kind() == ErrorKind::InvalidInput {
                        new.take_back(made).await?;
                    }
                    return Err(error);
                }
                // Where both are one database, the second row is the first one.
                let found = (old.found().await?, new.found().await?);
                if let Err(error) = missing(&found) {
                    new.take_back(made).await?;
                    return Err(error.of(&name));
                }
            }
        }
        let instance = uuid::Uuid::new_v4().to_string();
        let ports: (Arc<dyn Port>, Arc<dyn Port>) =
            (Arc::<Half<O>>::clone(&old), Arc::<Half<N>>::clone(&new));
        let core = Arc::new(Core::new((name, instance), ports, self.options));
        core.rows().await?;
        metrics::describe();
        let tasks = TaskTracker::new();
        tasks.spawn_on(background::run(Arc::clone(&core)), &handle);
        tasks.spawn_on(report::run(Arc::clone(&core)), &handle);
        for side in [Side::Old, Side::New] {
            tasks.spawn_on(jobs::run(Arc::clone(&core), side), &handle);
        }
        Ok(Exact { inner: Arc::new(Inner { core, old, new, tasks }) })
    }
}

fn first(side: Side) -> Authority {
    Authority::first(side, Token::random().0)
}

/// Which rows are to be made.
enum Missing {
    None,
    Old,
    Both,
}

fn missing((old, new): &(Option<AuthorityRow>, Option<AuthorityRow>)) -> Result<Missing, Error> {
    let is_other =
        |row: &Option<AuthorityRow>, side| row.as_ref().is_some_and(|row| row.side != side);
    if is_other(old, Side::Old) || is_other(new, Side::New) {
        let message = "the pools of both sides lead to one database, or to each other's; exact mode is for two databases: \
                       within one, use `Runtime` and `Migration::write`";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    match (old, new) {
        (Some(_), Some(_)) => Ok(Missing::None),
        (None, None) => Ok(Missing::Both),
        // Another process has just begun, or has died, before the second row.
        (None, Some(new)) if new.authority.epoch == 0 => Ok(Missing::Old),
        (old, _) => {
            let side = if old.is_none() { Side::Old } else { Side::New };
            let message = format!(
                "the {side} database has no row of it in `dualwrite_authority`, and the other one has: restore the control \
                 tables with the data, or take another name for the migration"
            );
            Err(Error::new(ErrorKind::UnknownMigration, message))
        }
    }
}
