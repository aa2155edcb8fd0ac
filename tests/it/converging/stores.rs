//! Stores for the tests of converging mode, with faults on every kind of call.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dualwrite::{
    Backend, BoxError, Migration, Runtime, Side, Stage,
    converging::{Converging, MirrorFailure, TwoStores},
};

pub(crate) use super::fault::Fault;
use super::http::HttpStore;
use crate::support::db::{Scratch, TestDb};
use crate::support::dice::Dice;
use crate::support::wait::until;

pub(crate) const NAME: &str = "carts";

/// What becomes of one call of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    Fail,
    /// It is done, and the answer is an error.
    FailAfter,
    Panic,
    PanicAfter,
    Hang,
    HangAfter,
}

impl Strike {
    const ALL: [Self; 6] =
        [Self::Fail, Self::FailAfter, Self::Panic, Self::PanicAfter, Self::Hang, Self::HangAfter];

    fn is_before(self) -> bool {
        matches!(self, Self::Fail | Self::Panic | Self::Hang)
    }

    async fn strike(self) -> Fault {
        match self {
            Self::Fail | Self::FailAfter => Fault::Store("struck".to_owned()),
            Self::Panic | Self::PanicAfter => panic!("struck"),
            Self::Hang | Self::HangAfter => std::future::pending().await,
        }
    }
}

/// What strikes the calls of one side.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Planned>>);

#[derive(Default)]
struct Planned {
    next: VecDeque<Strike>,
    down: bool,
    random: Option<(Dice, u64)>,
}

impl Faults {
    /// Strikes the next write of the application.
    pub(crate) fn strike_next(&self, strike: Strike) {
        self.0.lock().unwrap().next.push_back(strike);
    }

    /// Every call fails until it is up again.
    pub(crate) fn down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    /// One call in so many.
    pub(crate) fn randomly(&self, random: Option<(u64, u64)>) {
        self.0.lock().unwrap().random = random.map(|(seed, sides)| (Dice::new(seed), sides));
    }

    fn take(&self, by_application: bool) -> Option<Strike> {
        let mut planned = self.0.lock().unwrap();
        if planned.down {
            return Some(Strike::Fail);
        }
        if by_application && let Some(next) = planned.next.pop_front() {
            return Some(next);
        }
        let (dice, sides) = planned.random.as_mut()?;
        dice.one_in(*sides).then(|| *dice.pick(&Strike::ALL))
    }
}

/// Where one side keeps its carts.
#[derive(Clone)]
pub(crate) enum Store {
    Memory(Arc<Mutex<BTreeMap<i64, String>>>),
    Sqlite(sqlx::SqlitePool),
    Postgres(sqlx::PgPool),
    MySql(sqlx::MySqlPool),
    Http(HttpStore),
}

impl Store {
    pub(crate) fn memory() -> Self {
        Self::Memory(Arc::default())
    }

    pub(crate) async fn sqlite(pool: &sqlx::SqlitePool) -> Self {
        let sql = "CREATE TABLE cart (id INTEGER PRIMARY KEY, text TEXT NOT NULL)";
        sqlx::query(sql).execute(pool).await.unwrap();
        Self::Sqlite(pool.clone())
    }

    pub(crate) async fn postgres(pool: &sqlx::PgPool) -> Self {
        let sql = "CREATE TABLE cart (id BIGINT PRIMARY KEY, text TEXT NOT NULL)";
        sqlx::query(sql).execute(pool).await.unwrap();
        Self::Postgres(pool.clone())
    }

    pub(crate) async fn mysql(pool: &sqlx::MySqlPool) -> Self {
        let sql = "CREATE TABLE cart (id BIGINT PRIMARY KEY, text VARCHAR(100) NOT NULL)";
        sqlx::query(sql).execute(pool).await.unwrap();
        Self::MySql(pool.clone())
    }

    pub(crate) async fn get(&self, id: i64) -> Result<Option<String>, Fault> {
        let sql = "SELECT text FROM cart WHERE id = $1";
        let found = match self {
            Self::Memory(map) => return Ok(map.lock().unwrap().get(&id).cloned()),
            Self::Http(http) => return http.get(id).await,
            Self::Sqlite(pool) => sqlx::query_scalar(sql).bind(id).fetch_optional(pool).await,
            Self::Postgres(pool) => sqlx::query_scalar(sql).bind(id).fetch_optional(pool).await,
            Self::MySql(pool) => {
                let sql = "SELECT text FROM cart WHERE id = ?";
                sqlx::query_scalar(sql).bind(id).fetch_optional(pool).await
            }
        };
        found.map_err(|error| Fault::Store(error.to_string()))
    }

    pub(crate) async fn put(&self, id: i64, text: Option<&str>) -> Result<(), Fault> {
        let upsert = "INSERT INTO cart (id, text) VALUES ($1, $2) \
                      ON CONFLICT (id) DO UPDATE SET text = excluded.text";
        let delete = "DELETE FROM cart WHERE id = $1";
        let done = match (self, text) {
            (Self::Memory(map), text) => {
                let mut map = map.lock().unwrap();
                match text {
                    Some(text) => map.insert(id, text.to_owned()),
                    None => map.remove(&id),
                };
                return Ok(());
            }
            (Self::Http(http), text) => return http.put(id, text).await,
            (Self::Sqlite(pool), Some(text)) => {
                sqlx::query(upsert).bind(id).bind(text).execute(pool).await.map(drop)
            }
            (Self::Sqlite(pool), None) => {
                sqlx::query(delete).bind(id).execute(pool).await.map(drop)
            }
            (Self::Postgres(pool), Some(text)) => {
                sqlx::query(upsert).bind(id).bind(text).execute(pool).await.map(drop)
            }
            (Self::Postgres(pool), None) => {
                sqlx::query(delete).bind(id).execute(pool).await.map(drop)
            }
            (Self::MySql(pool), Some(text)) => {
                let sql = "REPLACE INTO cart (id, text) VALUES (?, ?)";
                sqlx::query(sql).bind(id).bind(text).execute(pool).await.map(drop)
            }
            (Self::MySql(pool), None) => {
                let sql = "DELETE FROM cart WHERE id = ?";
                sqlx::query(sql).bind(id).execute(pool).await.map(drop)
            }
        };
        done.map_err(|error| Fault::Store(error.to_string()))
    }

    pub(crate) async fn keys_after(
        &self,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<i64>, Fault> {
        let sql = "SELECT id FROM cart WHERE id > $1 ORDER BY id LIMIT $2";
        let (from, limit) = (after.unwrap_or(i64::MIN), i64::from(limit));
        let found = match self {
            Self::Memory(map) => {
                let from = after.map_or(Unbounded, Excluded);
                let map = map.lock().unwrap();
                let keys = map.range((from, Unbounded)).map(|(id, _)| *id);
                return Ok(keys.take(limit as usize).collect());
            }
            Self::Http(http) => return http.keys_after(after, limit).await,
            Self::Sqlite(pool) => {
                sqlx::query_scalar(sql).bind(from).bind(limit).fetch_all(pool).await
            }
            Self::Postgres(pool) => {
                sqlx::query_scalar(sql).bind(from).bind(limit).fetch_all(pool).await
            }
            Self::MySql(pool) => {
                let sql = "SELECT id FROM cart WHERE id > ? ORDER BY id LIMIT ?";
                sqlx::query_scalar(sql).bind(from).bind(limit).fetch_all(pool).await
            }
        };
        found.map_err(|error| Fault::Store(error.to_string()))
    }

    pub(crate) async fn all(&self) -> BTreeMap<i64, String> {
        let mut all = BTreeMap::new();
        for id in self.keys_after(None, 100_000).await.unwrap() {
            if let Some(text) = self.get(id).await.unwrap() {
                all.insert(id, text);
            }
        }
        all
    }
}

/// Both stores.
#[derive(Clone)]
pub(crate) struct Carts {
    pub(crate) old: Store,
    pub(crate) new: Store,
    pub(crate) old_faults: Faults,
    pub(crate) new_faults: Faults,
    pub(crate) copy_gate: CopyGate,
}

/// Where copies wait between their two sides.
#[derive(Clone, Default)]
pub(crate) struct CopyGate {
    closed: Arc<Mutex<bool>>,
    reached: Arc<tokio::sync::Notify>,
    opened: Arc<tokio::sync::Notify>,
}

impl CopyGate {
    pub(crate) fn set(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_waiters();
    }

    /// A copy has read its source.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    async fn pass(&self) {
        let opened = self.opened.notified();
        if *self.closed.lock().unwrap() {
            self.reached.notify_one();
            opened.await;
        }
    }
}

impl Carts {
    pub(crate) fn new(old: Store, new: Store) -> Self {
        let [old_faults, new_faults] = [Faults::default(), Faults::default()];
        Self { old, new, old_faults, new_faults, copy_gate: CopyGate::default() }
    }

    pub(crate) fn memory() -> Self {
        Self::new(Store::memory(), Store::memory())
    }

    pub(crate) fn store(&self, side: Side) -> &Store {
        if side == Side::Old { &self.old } else { &self.new }
    }

    pub(crate) fn faults(&self, side: Side) -> &Faults {
        if side == Side::Old { &self.old_faults } else { &self.new_faults }
    }

    /// As the application writes a side.
    pub(crate) async fn put(&self, side: Side, id: i64, text: Option<String>) -> Result<(), Fault> {
        self.put_struck(side, id, text, self.faults(side).take(true)).await
    }

    async fn put_struck(
        &self,
        side: Side,
        id: i64,
        text: Option<String>,
        strike: Option<Strike>,
    ) -> Result<(), Fault> {
        if let Some(strike) = strike.filter(|strike| strike.is_before()) {
            return Err(strike.strike().await);
        }
        self.store(side).put(id, text.as_deref()).await?;
        match strike {
            Some(strike) => Err(strike.strike().await),
            None => Ok(()),
        }
    }

    async fn struck(&self, side: Side) -> Result<(), Fault> {
        match self.faults(side).take(false) {
            Some(strike) => Err(strike.strike().await),
            None => Ok(()),
        }
    }
}

impl TwoStores for Carts {
    type Key = i64;

    async fn copy(&self, id: &i64, to: Side) -> Result<(), BoxError> {
        self.struck(to.other()).await?;
        let text = self.store(to.other()).get(*id).await?;
        self.copy_gate.pass().await;
        Ok(self.put_struck(to, *id, text, self.faults(to).take(false)).await?)
    }

    async fn keys_after(
        &self,
        side: Side,
        after: Option<&i64>,
        limit: u32,
    ) -> Result<Vec<i64>, BoxError> {
        Ok(self.store(side).keys_after(after.copied(), limit).await?)
    }

    async fn agree(&self, id: &i64) -> Result<bool, BoxError> {
        Ok(self.old.get(*id).await? == self.new.get(*id).await?)
    }
}

/// One instance of a service with two stores.
pub(crate) struct Service<DB: Backend> {
    pub(crate) runtime: Runtime<DB>,
    pub(crate) migration: Migration,
    pub(crate) carts: Carts,
}

/// Limits that a test waits for.
pub(crate) fn quick(carts: &Carts) -> Converging<Carts> {
    Converging::new(carts.clone())
        .primary_limit(Duration::from_millis(300))
        .mirror_limit(Duration::from_millis(300))
        .copy_limit(Duration::from_millis(600))
        .settle_after(Duration::from_millis(20))
}

impl<DB: Backend> Service<DB> {
    pub(crate) async fn with(
        pool: &sqlx::Pool<DB>,
        carts: &Carts,
        converging: Converging<Carts>,
    ) -> Self {
        Self::with_lease(pool, carts, converging, Duration::from_secs(6)).await
    }

    pub(crate) async fn with_lease(
        pool: &sqlx::Pool<DB>,
        carts: &Carts,
        converging: Converging<Carts>,
        lease: Duration,
    ) -> Self {
        let runtime =
            Runtime::builder(pool.clone()).lease(lease).poll(lease / 15).start().await.unwrap();
        let migration = runtime.migration(NAME).converging(converging).register().await.unwrap();
        Self { runtime, migration, carts: carts.clone() }
    }

    /// At a stage, with nothing in the stores.
    pub(crate) async fn at(pool: &sqlx::Pool<DB>, carts: &Carts, stage: Stage) -> Self {
        let service = Self::with(pool, carts, quick(carts)).await;
        service.go_to(stage).await;
        service
    }

    pub(crate) async fn go_to(&self, stage: Stage) {
        while self.migration.position().stage < stage {
            let next = self.migration.position().stage.next().unwrap();
            if matches!(next, Stage::Live | Stage::Complete) {
                self.migration.backfill().run().await.unwrap();
                assert!(self.migration.verify().run().await.unwrap().proven);
            }
            self.migration.advance(next).await.unwrap();
        }
    }

    /// Writes a cart, or removes it.
    pub(crate) async fn save(
        &self,
        id: i64,
        text: Option<&str>,
        policy: MirrorFailure,
    ) -> Result<(), Fault> {
        save(&self.migration, &self.carts, id, text, policy).await
    }
}

/// Writes a cart, or removes it.
pub(crate) async fn save(
    migration: &Migration,
    carts: &Carts,
    id: i64,
    text: Option<&str>,
    policy: MirrorFailure,
) -> Result<(), Fault> {
    let side = |side| {
        let (carts, text) = (carts.clone(), text.map(str::to_owned));
        move || async move { carts.put(side, id, text).await }
    };
    let write = migration.converging_write("save", &id);
    write.old(side(Side::Old)).new(side(Side::New)).on_mirror_failure(policy).run().await
}

/// How many rows a control table has.
pub(crate) async fn rows<D: TestDb>(db: &Scratch<D>, table: &str) -> i64 {
    db.number(&format!("SELECT count(*) FROM dualwrite_{table}")).await
}

/// Waits until no write is in flight and no key is left to be copied.
pub(crate) async fn quiet<D: TestDb>(db: &Scratch<D>) {
    until("no mark and no key to be copied", async || {
        rows(db, "mark").await == 0 && rows(db, "unsettled").await == 0
    })
    .await;
}
