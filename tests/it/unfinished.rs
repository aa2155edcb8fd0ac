//! Calls that do not come to their end: a side that panics has failed, a call that its caller drops was
//! abandoned. Both count, in every stage, in and out of a transaction. And whatever of the answers' types
//! panics beside the caller does not reach it.

use std::future::{pending, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use dualwrite::testing::{ManualClock, TestMigration};
use dualwrite::{
    Backend, Error, Migration, Percent, Stage, Tx,
    observe::{CallReport, MethodReport},
};
use futures_util::FutureExt as _;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{CopyNotes, FAILS, HANGS, Notes, PANICS, WORKS, World, lazy, plain};
use crate::support::sql::Sql;
use crate::support::wait::{somebody_waits, until};

on_all_databases!(
    an_abandoned_write_counts_for_the_side_it_waited_for,
    a_write_that_panics_counts_as_failed,
    a_write_that_panics_before_its_future_is_there_counts_as_failed,
    a_write_that_is_given_up_while_a_mark_waits_counts,
    an_abandoned_read_in_a_transaction_counts,
    an_abandoned_lazy_read_counts,
);

const PANICS_AT_ONCE: u8 = 1;
const PANICS_LATER: u8 = 2;
const WAITS: u8 = 3;

/// What the answer's type does when it is used.
const GOOD: u8 = 0;
const CLONE_PANICS: u8 = 1;
const EQ_PANICS: u8 = 2;
const DROP_PANICS: u8 = 3;

#[derive(Debug)]
struct Word(u8);

impl Clone for Word {
    fn clone(&self) -> Self {
        assert!(self.0 != CLONE_PANICS, "a bug in Clone");
        Self(self.0)
    }
}

impl PartialEq for Word {
    fn eq(&self, _: &Self) -> bool {
        assert!(self.0 != EQ_PANICS, "a bug in PartialEq");
        true
    }
}

/// An argument.
#[derive(Debug)]
struct Filter(u8);

impl Clone for Filter {
    fn clone(&self) -> Self {
        assert!(self.0 != CLONE_PANICS, "a bug in Clone");
        Self(self.0)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        assert!(self.0 != DROP_PANICS || std::thread::panicking(), "a bug in Drop");
    }
}

#[dualwrite::repository]
trait Words {
    #[read(key = id)]
    async fn word(&self, id: i64) -> Result<Word, Error>;
    #[read(scan)]
    async fn all(&self, filter: &Filter) -> Result<Vec<Word>, Error>;
}

#[derive(Clone, Default)]
struct Side {
    mood: Arc<AtomicU8>,
    answer: Arc<AtomicU8>,
}

impl Side {
    async fn answer(&self) -> Word {
        match self.mood.load(SeqCst) {
            PANICS_AT_ONCE => panic!("a bug in a side"),
            PANICS_LATER => {
                tokio::task::yield_now().await;
                panic!("a bug in a side")
            }
            WAITS => pending().await,
            _ => Word(self.answer.load(SeqCst)),
        }
    }
}

impl Words for Side {
    async fn word(&self, _: i64) -> Result<Word, Error> {
        Ok(self.answer().await)
    }

    async fn all(&self, _: &Filter) -> Result<Vec<Word>, Error> {
        Ok(vec![self.answer().await])
    }
}

struct Service {
    test: TestMigration,
    words: DualWords<Side, Side>,
    hands: ManualClock,
    old: Side,
    new: Side,
}

impl Service {
    async fn at(stage: Stage) -> Self {
        let (test, hands) = TestMigration::with_manual_clock("words").await.unwrap();
        test.put(stage, Percent::ZERO).unwrap();
        let (old, new) = (Side::default(), Side::default());
        let words = DualWords::new(test.migration(), old.clone(), new.clone());
        Self { test, words, hands, old, new }
    }

    /// The side that answers.
    fn answering(&self, stage: Stage) -> &Side {
        match stage.reads() {
            dualwrite::Side::Old => &self.old,
            dualwrite::Side::New => &self.new,
        }
    }

    async fn report(&self, method: &str, stage: Stage) -> CallReport {
        answering(&report(self.test.migration(), method).await, stage)
    }
}

async fn report(migration: &Migration, method: &str) -> MethodReport {
    let methods = migration.status().await.unwrap().methods;
    methods.into_iter().find(|found| found.method == method).unwrap()
}

fn answering(report: &MethodReport, stage: Stage) -> CallReport {
    match stage.reads() {
        dualwrite::Side::Old => report.old,
        dualwrite::Side::New => report.new,
    }
}

/// Polls a call once, lets time pass, and drops it.
async fn give_up<F: Future>(hands: &ManualClock, call: F) {
    let mut call = Box::pin(call);
    poll_fn(|context| {
        assert!(call.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    hands.advance(Duration::from_millis(40));
    drop(call);
}

#[tokio::test]
async fn an_abandoned_read_counts_in_every_stage_with_the_time_it_lasted() {
    for stage in Stage::ALL {
        let service = Service::at(stage).await;
        service.answering(stage).mood.store(WAITS, SeqCst);
        give_up(&service.hands, service.words.word(1)).await;
        give_up(&service.hands, service.words.all(&Filter(GOOD))).await;
        for method in ["word", "all"] {
            let found = service.report(method, stage).await;
            assert_eq!((found.calls, found.errors, found.abandoned), (0, 0, 1), "{stage} {method}");
            assert!((40_000.0..46_000.0).contains(&found.abandoned_p50_us), "{found:?}");
        }
    }
}

#[tokio::test]
async fn a_read_that_panics_counts_as_failed_in_every_stage() {
    for stage in Stage::ALL {
        for mood in [PANICS_AT_ONCE, PANICS_LATER] {
            let service = Service::at(stage).await;
            service.answering(stage).mood.store(mood, SeqCst);
            let panic = AssertUnwindSafe(service.words.word(1)).catch_unwind().await;
            assert!(panic.is_err(), "it is the caller's");
            let found = service.report("word", stage).await;
            assert_eq!((found.calls, found.errors, found.abandoned), (1, 1, 0), "{stage} {mood}");
        }
    }
}

#[tokio::test]
async fn a_read_that_is_dropped_by_the_panic_of_something_else_was_abandoned() {
    let service = Service::at(Stage::Live).await;
    service.new.mood.store(WAITS, SeqCst);
    let other = async {
        tokio::task::yield_now().await;
        panic!("a bug in the caller")
    };
    let both = async { tokio::join!(service.words.word(1), other) };
    assert!(AssertUnwindSafe(both).catch_unwind().await.is_err());
    let found = service.report("word", Stage::Live).await;
    assert_eq!((found.calls, found.errors, found.abandoned), (0, 0, 1));
}

#[tokio::test]
async fn what_panics_in_the_type_of_an_answer_does_not_reach_the_caller() {
    for stage in [Stage::Shadow, Stage::Live] {
        for answer in [CLONE_PANICS, EQ_PANICS] {
            let service = Service::at(stage).await;
            for side in [&service.old, &service.new] {
                side.answer.store(answer, SeqCst);
            }
            assert_eq!(service.words.word(1).await.unwrap().0, answer, "{stage}");
            service.test.settle().await;
            let counters = service.test.migration().status().await.unwrap().counters;
            let found = (counters.shadow_panicked, counters.shadow_mirror_failed);
            assert_eq!(found, (1, 0), "{stage} {answer}");
            // The next comparison has its place.
            service.old.answer.store(GOOD, SeqCst);
            service.new.answer.store(GOOD, SeqCst);
            service.words.word(1).await.unwrap();
            service.test.settle().await;
            let counters = service.test.migration().status().await.unwrap().counters;
            assert_eq!(counters.shadow_equal, 1);
        }
    }
}

#[tokio::test]
async fn what_panics_in_the_type_of_an_argument_does_not_reach_the_caller() {
    for stage in [Stage::Shadow, Stage::Live] {
        for kind in [CLONE_PANICS, DROP_PANICS] {
            let service = Service::at(stage).await;
            let filter = std::mem::ManuallyDrop::new(Filter(kind));
            service.words.all(&filter).await.unwrap();
            service.test.settle().await;
            let counters = service.test.migration().status().await.unwrap().counters;
            // What the other side drops is that side's failure.
            let found = (counters.shadow_panicked, counters.shadow_mirror_failed);
            assert_eq!(found, if kind == CLONE_PANICS { (1, 0) } else { (0, 1) }, "{stage} {kind}");
        }
    }
}

#[tokio::test]
async fn a_mirror_that_panics_is_no_comparison_that_panics() {
    let service = Service::at(Stage::Live).await;
    service.old.mood.store(PANICS_LATER, SeqCst);
    service.words.word(1).await.unwrap();
    service.test.settle().await;
    let counters = service.test.migration().status().await.unwrap().counters;
    assert_eq!((counters.shadow_panicked, counters.shadow_mirror_failed), (0, 1));
}

#[dualwrite::repository]
trait Lookups<DB: Backend> {
    #[read(key = id)]
    async fn find_in(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<i64, Error>;
}

/// Answers when the hook lets it.
#[derive(Clone, Default)]
struct Held(Hook);

impl<DB: Backend> Lookups<DB> for Held {
    async fn find_in(&self, _: &mut Tx<'_, DB>, id: i64) -> Result<i64, Error> {
        self.0.pass().await;
        Ok(id)
    }
}

async fn polled_until_it_hangs<D: Sql, F: Future>(world: &World<D>, call: F) {
    let mut call = pin!(call);
    tokio::select! {
        _ = &mut call => panic!("it came to its end"),
        () = world.hanging.notified() => {}
    }
}

async fn an_abandoned_write_counts_for_the_side_it_waited_for<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    for (mood, expected) in [(&world.old_mood, [1, 0]), (&world.new_mood, [1, 1])] {
        mood.store(HANGS, SeqCst);
        let mut tx = world.begin().await;
        polled_until_it_hangs(&world, world.notes.save(&mut tx, 1, "one")).await;
        drop(tx);
        mood.store(WORKS, SeqCst);
        let found = report(&world.migration, "save").await;
        assert_eq!([found.old.abandoned, found.new.abandoned], expected);
        assert_eq!((found.old.errors, found.new.errors), (0, 0));
    }
}

async fn a_write_that_panics_counts_as_failed<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    world.old_mood.store(PANICS, SeqCst);
    let mut tx = world.begin().await;
    let panic = AssertUnwindSafe(world.notes.save(&mut tx, 1, "one")).catch_unwind().await;
    assert!(panic.is_err());
    drop(tx);
    let found = report(&world.migration, "save").await;
    assert_eq!((found.old.calls, found.old.errors, found.old.abandoned), (1, 1, 0));
    assert_eq!((found.new.calls, found.new.abandoned), (0, 0));
}

/// The answering side has not been asked yet.
async fn a_write_that_is_given_up_while_a_mark_waits_counts<D: Sql>(db: Scratch<D>) {
    if db.server().is_none() {
        return; // nobody writes beside an open write
    }
    let copy = CopyNotes::both_ways();
    let world = World::copying(db, Stage::DualWrite, 1, plain, copy).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.verify().run().await.unwrap();
    for stage in [Stage::Shadow, Stage::Live] {
        world.migration.advance(stage).await.unwrap();
    }
    world.old_mood.store(FAILS, SeqCst);
    let holder = world.db.another_pool(1).await;
    let mark = "BEGIN; INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) \
                VALUES ('notes', 'old', '1', 0)";
    D::execute(&holder, mark).await.unwrap();
    let mut tx = world.begin().await;
    {
        let mut call = pin!(world.notes.save(&mut tx, 1, "one"));
        tokio::select! {
            _ = &mut call => panic!("it came to its end"),
            () = until("the mark waits", async || somebody_waits(&world.db).await) => {}
        }
    }
    drop(tx);
    D::execute(&holder, "ROLLBACK").await.unwrap();
    let found = report(&world.migration, "save").await;
    assert_eq!((found.new.calls, found.new.abandoned), (0, 1));
    assert_eq!((found.old.errors, found.old.abandoned), (1, 0));
}

#[dualwrite::repository]
trait Saves<DB: Backend> {
    #[write(key = id)]
    async fn keep(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
}

/// Panics before there is a future.
struct Eager;

impl<DB: Backend> Saves<DB> for Eager {
    fn keep(
        &self,
        _: &mut Tx<'_, DB>,
        id: i64,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send {
        assert!(id > 1, "a bug in a side");
        std::future::ready(Ok(()))
    }
}

async fn a_write_that_panics_before_its_future_is_there_counts_as_failed<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let saves = DualSaves::new(&world.migration, Eager, Eager);
    let mut tx = world.begin().await;
    saves.keep(&mut tx, 2).await.unwrap();
    let panic = AssertUnwindSafe(saves.keep(&mut tx, 1)).catch_unwind().await;
    assert!(panic.is_err());
    drop(tx);
    let found = report(&world.migration, "keep").await;
    assert_eq!((found.old.calls, found.old.errors, found.old.abandoned), (2, 1, 0));
    assert_eq!((found.new.calls, found.new.abandoned), (1, 0));
}

async fn an_abandoned_read_in_a_transaction_counts<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    let held = Held::default();
    let lookups = DualLookups::new(&world.migration, held.clone(), held.clone());
    let mut tx = world.begin().await;
    held.0.hold();
    {
        let mut call = pin!(lookups.find_in(&mut tx, 1));
        tokio::select! {
            _ = &mut call => panic!("it came to its end"),
            () = held.0.reached() => {}
        }
    }
    tx.rollback().await.unwrap();
    let found = report(&world.migration, "find_in").await;
    assert_eq!((found.old.calls, found.old.errors, found.old.abandoned), (0, 0, 1));
}

async fn an_abandoned_lazy_read_counts<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Live, 1, lazy).await;
    world.copying.hold();
    {
        let mut call = pin!(world.notes.find(1));
        tokio::select! {
            _ = &mut call => panic!("it came to its end"),
            () = world.copying.reached() => {}
        }
    }
    world.copying.let_go();
    let found = report(&world.migration, "find").await;
    assert_eq!((found.new.calls, found.new.errors, found.new.abandoned), (0, 0, 1));
    assert_eq!(world.notes.find(1).await.unwrap().as_deref(), Some("word 1"));
}
