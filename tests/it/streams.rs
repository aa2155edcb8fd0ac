//! Reads that answer with a stream: routed as a whole, open until they end, never compared.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use dualwrite::testing::{ManualClock, TestMigration};
use dualwrite::{Gate, Move, Percent, Stage, Tx, observe::CallReport};
use futures_util::future::FutureExt as _;
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;

on_all_databases!(
    a_stream_keeps_the_stage_until_it_has_ended_or_is_dropped,
    a_stream_in_a_transaction_follows_its_position_and_sees_its_writes,
);

type Item = Result<String, sqlx::Error>;

#[dualwrite::repository]
trait Lists<DB: dualwrite::Backend> {
    #[read(scan)]
    fn all(&self) -> impl Stream<Item = Result<String, sqlx::Error>> + Send;
    #[read(key = id)]
    fn of(&self, id: i64) -> BoxStream<'_, Result<String, sqlx::Error>>;
    #[read(scan)]
    fn within<'s>(
        &'s self,
        tx: &'s mut Tx<'_, DB>,
    ) -> Pin<Box<dyn Stream<Item = Result<String, sqlx::Error>> + Send + 's>>;
    /// Never ends before it is told to, and borrows nothing.
    #[read(scan, shadow = never, error = to_io)]
    fn owned(&self) -> BoxStream<'static, io::Result<String>>;
}

fn to_io(error: dualwrite::Error) -> io::Error {
    io::Error::other(format!("{:?}", error.kind()))
}

/// One side: rows are read one by one, as a cursor does.
struct Table<D: Sql> {
    name: &'static str,
    pool: sqlx::Pool<D::Db>,
}

impl<D: Sql> Table<D> {
    fn after(&self, id: i64) -> String {
        let name = self.name;
        format!("SELECT id, word FROM {name} WHERE id > {id} ORDER BY id LIMIT 1")
    }
}

fn next_row(rows: crate::support::db::Rows) -> Option<(i64, String)> {
    let mut row = rows.into_iter().next()?.into_iter().flatten();
    Some((row.next()?.parse().unwrap(), row.next()?))
}

impl<D: Sql> Lists<D::Db> for Table<D> {
    fn all(&self) -> impl Stream<Item = Item> + Send {
        stream::try_unfold(0, async |last| {
            let rows = D::rows(&self.pool, &self.after(last)).await?;
            Ok(next_row(rows).map(|(id, word)| (word, id)))
        })
    }

    fn of(&self, id: i64) -> BoxStream<'_, Item> {
        self.all().take(id.try_into().unwrap()).boxed()
    }

    fn within<'s>(
        &'s self,
        tx: &'s mut Tx<'_, D::Db>,
    ) -> Pin<Box<dyn Stream<Item = Item> + Send + 's>> {
        Box::pin(stream::try_unfold((tx, 0), async |(tx, last)| {
            let rows = D::read(tx, &self.after(last)).await?;
            Ok(next_row(rows).map(|(id, word)| (word, (tx, id))))
        }))
    }

    fn owned(&self) -> BoxStream<'static, io::Result<String>> {
        stream::pending().boxed()
    }
}

fn lists<D: Sql>(world: &World<D>) -> DualLists<Table<D>, Table<D>> {
    let table = |name| Table { name, pool: world.db.pool().clone() };
    DualLists::new(&world.migration, table("old_note"), table("new_note"))
}

async fn is_drained<D: Sql>(world: &World<D>, requested: Move) -> bool {
    let blockers = world.migration.readiness(requested).await.unwrap();
    !blockers.iter().any(|blocker| blocker.gate == Gate::Drained)
}

async fn a_stream_keeps_the_stage_until_it_has_ended_or_is_dropped<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    world.migration.advance(Stage::Shadow).await.unwrap();
    while !is_drained(&world, Move::Advance(Stage::Live)).await {
        tokio::task::yield_now().await;
    }
    let lists = lists(&world);
    let (mut read_on, mut left) = (pin!(lists.all()), lists.of(3));
    assert_eq!(read_on.next().await.unwrap().unwrap(), "word 1");
    assert_eq!(left.next().await.unwrap().unwrap(), "word 1");
    let owned = lists.owned();
    world.migration.advance(Stage::Live).await.unwrap();
    let advance = async || {
        let moved = world.migration.advance(Stage::RampDown).within(Duration::ZERO).await;
        moved.map(drop).map_err(|error| error.to_string())
    };
    assert!(advance().await.unwrap_err().contains("[drained]"), "three streams read old");
    assert_eq!(
        read_on.by_ref().map(Result::unwrap).collect::<Vec<_>>().await,
        ["word 2", "word 3"]
    );
    assert!(advance().await.unwrap_err().contains("[drained]"), "two streams read old");
    drop(left);
    assert!(
        advance().await.unwrap_err().contains("[drained]"),
        "one that was never asked for an item"
    );
    drop(owned);
    world.migration.advance(Stage::RampDown).await.unwrap();
    // The next one reads new.
    world.db.execute("DELETE FROM old_note").await;
    assert_eq!(lists.of(1).map(Result::unwrap).collect::<Vec<_>>().await, ["word 1"]);
    world.migration.advance(Stage::Complete).await.unwrap();
}

async fn a_stream_in_a_transaction_follows_its_position_and_sees_its_writes<D: Sql>(
    db: Scratch<D>,
) {
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    let lists = lists(&world);
    let mut tx = world.begin().await;
    D::run(&mut tx, "INSERT INTO old_note (id, word) VALUES (7, 'mine')").await.unwrap();
    let words: Vec<_> = lists.within(&mut tx).map(Result::unwrap).collect().await;
    assert_eq!(words, ["word 1", "mine"]);
    tx.commit().await.unwrap();
    let mut other = Tx::begin_for(world.db.pool(), &[]).await.unwrap();
    let refused: Vec<_> = lists.within(&mut other).collect().await;
    assert_eq!(refused.len(), 1, "a stream of its error");
    assert!(refused[0].as_ref().unwrap_err().to_string().contains("notes"), "{refused:?}");
}

#[dualwrite::repository]
trait Numbers {
    #[read(scan)]
    fn all(&self) -> BoxStream<'_, Result<u64, sqlx::Error>>;
    #[read(key = id, ramp = id)]
    fn of(&self, id: i64) -> impl Stream<Item = Result<u64, sqlx::Error>> + Send;
}

#[derive(Clone)]
struct Side {
    number: u64,
    calls: Arc<AtomicU64>,
    mood: fn(usize) -> Option<Result<(), sqlx::Error>>,
}

impl Side {
    fn new(number: u64) -> Self {
        Self { number, calls: Arc::default(), mood: |_| Some(Ok(())) }
    }

    /// Three items, each of which is missing for ever where the mood has none.
    fn items(&self) -> impl Stream<Item = Result<u64, sqlx::Error>> + Send + use<> {
        self.calls.fetch_add(1, SeqCst);
        let Self { number, mood, .. } = *self;
        stream::iter(0..3).then(move |at| async move {
            match mood(at) {
                Some(item) => item.map(|()| number),
                None => std::future::pending().await,
            }
        })
    }
}

impl Numbers for Side {
    fn all(&self) -> BoxStream<'_, Result<u64, sqlx::Error>> {
        self.items().boxed()
    }
    fn of(&self, _: i64) -> impl Stream<Item = Result<u64, sqlx::Error>> + Send {
        self.items()
    }
}

struct Service {
    test: TestMigration,
    hands: ManualClock,
    numbers: DualNumbers<Side, Side>,
    new: Side,
}

impl Service {
    async fn at(stage: Stage, mood: fn(usize) -> Option<Result<(), sqlx::Error>>) -> Self {
        let (test, hands) = TestMigration::with_manual_clock("numbers").await.unwrap();
        test.put(stage, Percent::ZERO).unwrap();
        let (old, new) = (Side::new(1), Side { mood, ..Side::new(2) });
        let numbers = DualNumbers::new(test.migration(), old, new.clone());
        Self { test, hands, numbers, new }
    }

    async fn report(&self) -> CallReport {
        let methods = self.test.migration().status().await.unwrap().methods;
        methods.into_iter().find(|found| found.method == "all").unwrap().new
    }
}

#[tokio::test]
async fn a_stream_is_read_from_the_side_of_its_stage_and_from_no_other() {
    for stage in Stage::ALL {
        let service = Service::at(stage, |_| Some(Ok(()))).await;
        let expected = if stage < Stage::Live { 1 } else { 2 };
        let all: Vec<_> = service.numbers.all().map(Result::unwrap).collect().await;
        let of: Vec<_> = service.numbers.of(5).map(Result::unwrap).collect().await;
        assert_eq!((all, of), (vec![expected; 3], vec![expected; 3]), "{stage}");
        service.test.settle().await;
        let calls = service.new.calls.load(SeqCst);
        assert_eq!(calls, if stage < Stage::Live { 0 } else { 2 }, "nothing is compared: {stage}");
    }
    let service = Service::at(Stage::Shadow, |_| Some(Ok(()))).await;
    service.test.put(Stage::Shadow, Percent::new(50).unwrap()).unwrap();
    let mut sides = std::collections::HashSet::new();
    for id in 0..50 {
        sides.insert(service.numbers.of(id).next().await.unwrap().unwrap());
    }
    assert_eq!(sides.len(), 2, "the ramp takes some keys");
}

#[tokio::test]
async fn a_stream_counts_once_with_the_time_to_its_first_item() {
    let service = Service::at(Stage::Live, |_| Some(Ok(()))).await;
    let mut numbers = service.numbers.all();
    numbers.next().await.unwrap().unwrap();
    service.hands.advance(Duration::from_millis(900)); // the caller's time
    while numbers.next().await.is_some() {}
    assert!(numbers.next().await.is_none(), "it stays at its end");
    drop(numbers);
    let early = service.numbers.all().next().await; // dropped with two items to come
    assert!(early.unwrap().is_ok());
    let found = service.report().await;
    assert_eq!((found.calls, found.errors, found.abandoned), (2, 0, 0), "{found:?}");
    assert!(found.p99_us < 100_000.0, "{found:?}");
}

#[tokio::test]
async fn streams_that_fail_panic_or_are_left_waiting_are_told_apart() {
    let fails = Service::at(Stage::Live, |at| {
        Some(if at == 1 { Err(sqlx::Error::WorkerCrashed) } else { Ok(()) })
    });
    let fails = fails.await;
    let items: Vec<_> = fails.numbers.all().map(|item| item.is_ok()).collect().await;
    assert_eq!(items, [true, false, true]);
    let found = fails.report().await;
    assert_eq!((found.calls, found.errors, found.abandoned), (1, 1, 0), "{found:?}");

    let panics = Service::at(Stage::Live, |_| panic!("a bug in new")).await;
    let mut numbers = panics.numbers.all();
    assert!(std::panic::AssertUnwindSafe(numbers.next()).catch_unwind().await.is_err());
    drop(numbers);
    let found = panics.report().await;
    assert_eq!((found.calls, found.errors, found.abandoned), (1, 1, 0), "{found:?}");

    let waits = Service::at(Stage::Live, |at| (at < 1).then_some(Ok(()))).await;
    let mut numbers = waits.numbers.all();
    numbers.next().await.unwrap().unwrap();
    assert!(numbers.next().now_or_never().is_none());
    waits.hands.advance(Duration::from_millis(40));
    drop(numbers);
    let found = waits.report().await;
    assert_eq!((found.calls, found.errors, found.abandoned), (0, 0, 1), "{found:?}");
    assert!((40_000.0..46_000.0).contains(&found.abandoned_p50_us), "{found:?}");
}

#[tokio::test]
async fn what_is_read_past_the_lease_is_not_handed_out() {
    let service = Service::at(Stage::Live, |_| Some(Ok(()))).await;
    let mut numbers = service.numbers.all();
    numbers.next().await.unwrap().unwrap();
    service.hands.advance(dualwrite::defaults::LEASE * 2);
    let said = numbers.next().await.unwrap().unwrap_err().to_string();
    assert!(said.contains("numbers"), "{said}");
    assert!(numbers.next().await.is_none(), "and that was its end");
    let found = service.report().await;
    assert_eq!((found.calls, found.errors), (1, 1), "{found:?}");
    let refused: Vec<_> = service.numbers.of(1).collect().await;
    assert!(matches!(refused.as_slice(), [Err(_)]), "{refused:?}");
}
