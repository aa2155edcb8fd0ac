//! Reads and their shadow, without a database: which side is called in which stage, what comes back,
//! what is counted. The mirror fails, hangs and panics; the caller must not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use dualwrite::testing::TestMigration;
use dualwrite::{Migration, Percent, Stage};

#[dualwrite::repository]
pub(crate) trait Words {
    #[read(key = id)]
    async fn word(&self, id: i64) -> Result<String, sqlx::Error>;
    #[read(scan)]
    async fn all(&self, prefix: &str) -> Result<Vec<String>, sqlx::Error>;
}

const FAILS: u8 = 1;
const PANICS: u8 = 2;
const HANGS: u8 = 3;
/// Every answer is another one.
const CHANGES: u8 = 4;

#[derive(Clone, Default)]
pub(crate) struct Side {
    name: &'static str,
    mood: Arc<AtomicU8>,
    calls: Arc<AtomicU64>,
}

impl Side {
    async fn answer(&self, same: &str) -> Result<String, sqlx::Error> {
        let call = self.calls.fetch_add(1, SeqCst);
        match self.mood.load(SeqCst) {
            FAILS => Err(sqlx::Error::WorkerCrashed),
            PANICS => panic!("a bug in {}", self.name),
            HANGS => std::future::pending().await,
            CHANGES => Ok(format!("{same} {call}")),
            _ => Ok(same.to_owned()),
        }
    }
}

impl Words for Side {
    async fn word(&self, id: i64) -> Result<String, sqlx::Error> {
        self.answer(&format!("word {id} of {}", self.name)).await
    }

    async fn all(&self, prefix: &str) -> Result<Vec<String>, sqlx::Error> {
        Ok(vec![self.answer(prefix).await?])
    }
}

pub(crate) fn in_memory(migration: &Migration) -> DualWords<Side, Side> {
    DualWords::new(migration, Side::default(), Side::default())
}

pub(crate) async fn word(words: &DualWords<Side, Side>, id: i64) -> Result<String, sqlx::Error> {
    words.word(id).await
}

struct World {
    test: TestMigration,
    words: DualWords<Side, Side>,
    old: Side,
    new: Side,
}

impl World {
    async fn new() -> Self {
        let limit = Duration::from_millis(100);
        let test = TestMigration::with_shadow("words", Percent::FULL, limit, 3).await.unwrap();
        let old = Side { name: "old", ..Side::default() };
        let new = Side { name: "new", ..Side::default() };
        let words = DualWords::new(test.migration(), old.clone(), new.clone());
        Self { test, words, old, new }
    }

    async fn at(stage: Stage) -> Self {
        let world = Self::new().await;
        world.test.put(stage, Percent::ZERO).unwrap();
        world
    }

    /// Reads once and waits for the shadow; answers with the calls that each side got.
    async fn scan(&self) -> (Result<Vec<String>, sqlx::Error>, [u64; 2]) {
        let answer = self.words.all("a").await;
        self.test.settle().await;
        (answer, [self.old.calls.swap(0, SeqCst), self.new.calls.swap(0, SeqCst)])
    }

    async fn counters(&self) -> dualwrite::observe::CounterReport {
        self.test.migration().status().await.unwrap().counters
    }
}

#[tokio::test(start_paused = true)]
async fn each_stage_calls_its_sides() {
    let expected = [
        (Stage::Off, "old", [1, 0]),
        (Stage::DualWrite, "old", [1, 0]),
        (Stage::Shadow, "old", [1, 1]),
        (Stage::Live, "new", [1, 1]),
        (Stage::RampDown, "new", [0, 1]),
        (Stage::Complete, "new", [0, 1]),
    ];
    for (stage, answers, calls) in expected {
        let world = World::at(stage).await;
        let (answer, called) = world.scan().await;
        assert_eq!((answer.unwrap(), called), (vec!["a".to_owned()], calls), "{stage}");
        assert!(world.words.word(7).await.unwrap().ends_with(answers), "{stage}");
        world.test.settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_ramp_takes_keys_and_leaves_scans() {
    let world = World::new().await;
    world.test.put(Stage::Shadow, Percent::new(30).unwrap()).unwrap();
    let mut live = 0;
    for id in 0..1_000 {
        live += u32::from(world.words.word(id).await.unwrap().ends_with("new"));
        world.test.settle().await;
    }
    assert!((240..360).contains(&live), "{live}");
    world.words.all("a").await.unwrap();
    world.test.settle().await;
    let methods = world.test.migration().status().await.unwrap().methods;
    let scans = methods.iter().find(|method| method.method == "all").unwrap();
    assert_eq!(scans.old.calls, 1, "the old side answered");
}

#[tokio::test(start_paused = true)]
async fn agreement_and_difference_are_counted() {
    let world = World::at(Stage::Shadow).await;
    world.scan().await.0.unwrap();
    assert_eq!(world.counters().await.shadow_equal, 1);
    // The sides name themselves: they differ for good.
    world.words.word(1).await.unwrap();
    world.test.settle().await;
    assert_eq!(world.counters().await.shadow_different, 1);
    assert!(world.old.calls.load(SeqCst) >= 3, "old was read again before it counted");
}

#[tokio::test(start_paused = true)]
async fn a_write_in_flight_is_no_mismatch() {
    let world = World::at(Stage::Shadow).await;
    world.old.mood.store(CHANGES, SeqCst);
    world.scan().await.0.unwrap();
    let counters = world.counters().await;
    assert_eq!((counters.shadow_transient, counters.shadow_different), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn whatever_the_mirror_does_the_caller_gets_its_answer() {
    for mood in [FAILS, PANICS, HANGS, CHANGES] {
        let world = World::at(Stage::Shadow).await;
        world.new.mood.store(mood, SeqCst);
        assert_eq!(world.words.all("a").await.unwrap(), ["a"]);
        world.test.settle().await;
        let counters = world.counters().await;
        let counted = match mood {
            HANGS => counters.shadow_timed_out,
            CHANGES => counters.shadow_different,
            _ => counters.shadow_mirror_failed,
        };
        assert_eq!(counted, 1, "mood {mood}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_primary_is_the_callers_error() {
    let world = World::at(Stage::Shadow).await;
    world.old.mood.store(FAILS, SeqCst);
    assert!(matches!(world.scan().await.0, Err(sqlx::Error::WorkerCrashed)));
    let status = world.test.migration().status().await.unwrap();
    let method = status.methods.iter().find(|method| method.method == "all").unwrap();
    assert_eq!((method.old.calls, method.old.errors), (1, 1));
    assert_eq!(status.counters.shadow_different, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_mirror_is_bounded_in_number() {
    let world = World::at(Stage::Shadow).await;
    world.new.mood.store(HANGS, SeqCst);
    for _ in 0..10 {
        world.words.all("a").await.unwrap();
    }
    // Three are under way, as registered; the others were dropped and counted.
    assert_eq!(world.counters().await.shadow_dropped, 7);
    world.test.settle().await;
    assert_eq!(world.counters().await.shadow_timed_out, 3);
    world.scan().await.0.unwrap();
    assert_eq!(world.counters().await.shadow_dropped, 7, "the permits came back");
}

#[tokio::test(start_paused = true)]
async fn without_sampling_the_mirror_is_left_alone() {
    let limit = Duration::from_secs(1);
    let test = TestMigration::with_shadow("words", Percent::ZERO, limit, 3).await.unwrap();
    test.put(Stage::Shadow, Percent::ZERO).unwrap();
    let new = Side::default();
    let words = DualWords::new(test.migration(), Side::default(), new.clone());
    for _ in 0..100 {
        words.all("a").await.unwrap();
    }
    assert_eq!(new.calls.load(SeqCst), 0);
}
