//! The process that is killed: writers, a reader, a mover and a backfill at the same time. It says what it
//! is about to do before it does it, and what came of it before it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dualwrite::{Migration, Percent, Stage, Tx};
use sqlx::Pool;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::support::customers::{
    BACKFILL, Both, CopyCustomers, Customer, Customers, FAILING, Places, both, join,
};
use crate::support::process::{Call, say};
use crate::support::sql::Sql;
use crate::support::wait::until;

pub(super) const WRITERS: i64 = 3;
/// Customers whom every writer counts visits of.
pub(super) const VISITED: [i64; 2] = [1, 2];
/// Every so many customers one cannot be copied. Nobody writes these.
pub(super) const POISON_EVERY: i64 = 60;
/// Keys behind the last one of the backfill that are written too.
pub(super) const NEWCOMERS: i64 = 30;

/// Short, so that others need not wait long for what the dead have claimed.
const LEASE: Duration = dualwrite::defaults::LEASE;
pub(super) const RANGE_LEASE: Duration = Duration::from_millis(400);
const BATCH: u32 = 2;
/// Writes between two changes of the position.
const MOVE_EVERY: u64 = 20;
/// One in so many writes fails on the side that does not answer.
const FAILURES: u64 = 8;

struct Service<D: Sql> {
    pool: Pool<D::Db>,
    migration: Migration,
    customers: Both<D>,
    seed: u64,
    /// The last key of the backfill.
    last: i64,
    /// Whether the ramp is moved about.
    moves: bool,
    written: AtomicU64,
    /// After each write, and at the end.
    wrote: Notify,
    /// Near which key the writers write, so that they meet the backfill.
    around: AtomicI64,
    stop: AtomicBool,
}

/// Arguments: the seed, the last key of the backfill, whether the ramp is moved about, and whether the
/// migration is lazy.
pub(crate) async fn serve<D: Sql>(mut call: Call) {
    let pool = call.pool::<D>(12).await;
    let places = Arc::<Places>::default();
    let copy = CopyCustomers::<D>::new(&places).telling();
    let (runtime, migration) = join(&pool, LEASE, call.argument(3), copy).await.unwrap();
    let customers = both::<D>(&migration, &pool, &places);
    let service = Arc::new(Service::<D> {
        pool,
        migration,
        customers,
        seed: call.argument(0),
        last: call.argument(1),
        moves: call.argument(2),
        written: AtomicU64::new(0),
        wrote: Notify::new(),
        around: AtomicI64::new(1),
        stop: AtomicBool::new(false),
    });
    let backfill = tokio::spawn(BACKFILL.scope((), Arc::clone(&service).backfill()));
    service.range_fixed().await;
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        tasks.spawn(Arc::clone(&service).write_on(writer));
    }
    tasks.spawn(Arc::clone(&service).read_on());
    tasks.spawn(Arc::clone(&service).move_on());
    assert_eq!(call.order().await, ["stop"]);
    service.stop.store(true, Relaxed);
    service.wrote.notify_one();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    backfill.await.unwrap();
    while service.dirty().await > 0 {
        service.migration.repair().await.unwrap();
    }
    say("clean");
    assert_eq!(call.order().await, ["end"]);
    drop(service);
    runtime.shutdown().await.unwrap();
}

/// SQLite lets one write at a time, in no order: on a machine with much to do one may wait past its limit, before
/// anything has begun.
fn was_busy(error: &dualwrite::Error) -> bool {
    error.to_string().contains("database is locked")
}

impl<D: Sql> Service<D> {
    async fn backfill(self: Arc<Self>) {
        loop {
            match self.migration.backfill().batch(BATCH).lease(RANGE_LEASE).run().await {
                Ok(progress) => return say(format_args!("complete {}", progress.complete)),
                Err(error) if was_busy(&error) => {}
                Err(error) => say(format_args!("trouble with the backfill: {error:?}")),
            }
        }
    }

    /// Nothing is written before, so that the rows at the start are those that the backfill counts.
    async fn range_fixed(&self) {
        let begun = async || self.migration.status().await.unwrap().backfill.is_some();
        until("the backfill begins", begun).await;
    }

    async fn dirty(&self) -> u64 {
        let status = self.migration.status().await.unwrap();
        status.dirty_old + status.dirty_new
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    /// A key of this writer's own, near the backfill as a rule.
    fn key(&self, draw: &mut Draw, writer: i64) -> i64 {
        let last = self.last + NEWCOMERS;
        loop {
            let near = self.around.load(Relaxed) + draw.below(12) as i64;
            let key = if draw.below(3) > 0 { near } else { 1 + draw.below(last as u64) as i64 };
            let key = key - key % WRITERS + writer;
            let taken = VISITED.contains(&key) || key % POISON_EVERY == 0;
            if (1..=last).contains(&key) && !taken {
                return key;
            }
        }
    }

    async fn write_on(self: Arc<Self>, writer: i64) {
        let mut draw = Draw(self.seed.wrapping_mul(31).wrapping_add(writer as u64));
        for number in 0.. {
            if !self.goes_on() {
                return;
            }
            if draw.below(5) == 0 {
                self.visit(writer, VISITED[draw.below(2) as usize]).await;
            } else {
                self.write(&mut draw, writer, number).await;
            }
            self.written.fetch_add(1, Relaxed);
            self.wrote.notify_one();
        }
    }

    async fn begin(&self) -> Result<Tx<'static, D::Db>, dualwrite::Error> {
        loop {
            match self.migration.begin(&self.pool).await {
                Err(error) if was_busy(&error) => {}
                begun => return begun,
            }
        }
    }

    async fn write(&self, draw: &mut Draw, writer: i64, number: i64) {
        let key = self.key(draw, writer);
        let name = (draw.below(3) > 0).then(|| format!("{}.{writer}.{number}", self.seed));
        let fails = draw.below(FAILURES) == 0;
        say(format_args!("writes {writer} {key} {} {fails}", name.as_deref().unwrap_or("-")));
        let mut tx = match self.begin().await {
            Ok(tx) => tx,
            Err(error) => return say(format_args!("failed {writer} begin: {error:?}")),
        };
        match self.write_in(&mut tx, key, name, number, fails).await {
            Err(error) => {
                drop(tx);
                // InnoDB may take any two transactions that insert and delete one key for a deadlock, and
                // says that the loser may be tried again.
                let code = error.as_database_error().and_then(|error| error.code());
                match D::NAME == "mysql" && code.is_some_and(|code| code == "40001") {
                    true => say(format_args!("conflict {writer}")),
                    false => say(format_args!("failed {writer} {error:?}")),
                }
            }
            Ok(saw) => match tx.commit().await {
                Ok(()) => say(format_args!("wrote {writer} {saw}")),
                Err(error) => say(format_args!("lost {writer} {error:?}")),
            },
        }
    }

    /// Answers with the name that was there before.
    async fn write_in(
        &self,
        tx: &mut Tx<'static, D::Db>,
        id: i64,
        name: Option<String>,
        visits: i64,
        fails: bool,
    ) -> Result<String, sqlx::Error> {
        let saw = self.customers.find_in(tx, id).await?;
        let mirror = tx.position(&self.migration).unwrap().stage.reads().other();
        let write = async {
            match name {
                Some(name) => self.customers.save(tx, &Customer { id, name, visits }).await,
                None => self.customers.remove(tx, id).await,
            }
        };
        if fails { FAILING.scope(mirror, write).await } else { write.await }?;
        Ok(saw.map_or_else(|| "-".to_owned(), |customer| customer.name))
    }

    async fn visit(&self, writer: i64, key: i64) {
        say(format_args!("visits {writer} {key}"));
        let visiting = async {
            let mut tx = self.begin().await?;
            self.customers.visit(&mut tx, key).await?;
            tx.commit().await?;
            Ok::<_, sqlx::Error>(())
        };
        match visiting.await {
            Ok(()) => say(format_args!("visited {writer}")),
            Err(error) => say(format_args!("trouble with a visit: {error:?}")),
        }
    }

    async fn read_on(self: Arc<Self>) {
        let mut draw = Draw(!self.seed);
        while self.goes_on() {
            let key = self.key(&mut draw, 0);
            match self.customers.find(key).await {
                Ok(Some(customer)) => say(format_args!("read {key} {}", customer.name)),
                Ok(None) => say(format_args!("read {key} -")),
                Err(error) => say(format_args!("trouble with a read: {error:?}")),
            }
            self.follow_backfill().await;
        }
    }

    async fn follow_backfill(&self) {
        let sql = "SELECT coalesce(max(id), 1) FROM handled";
        if let Ok(rows) = D::rows(&self.pool, sql).await {
            let around = rows[0][0].as_deref().unwrap_or("1").parse().unwrap();
            self.around.store(around, Relaxed);
        }
    }

    async fn move_on(self: Arc<Self>) {
        let mut draw = Draw(self.seed ^ 0x5555);
        let mut next = MOVE_EVERY;
        while self.moves && self.goes_on() {
            self.wrote.notified().await;
            if self.written.load(Relaxed) < next {
                continue;
            }
            next += MOVE_EVERY;
            let ramp = Percent::from_basis_points(draw.below(10_001) as u16).unwrap();
            match self.migration.ramp_to(ramp).await {
                Ok(position) => assert_eq!(position.stage, Stage::DualWrite),
                Err(error) => say(format_args!("trouble with a move: {error:?}")),
            }
        }
    }
}

/// Random numbers: splitmix64.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
