//! What came of comparisons: the table stage × operation × outcome, the classes that are counted, and
//! the samples that are kept.

mod bounds;
mod classes;
mod cohorts;
mod hooks;
mod noise;
mod samples;
mod table;
mod write_hooks;
mod writes;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};

use dualwrite::testing::TestMigration;
use dualwrite::{
    Compare, Stage, Status,
    observe::CounterReport,
    shadow::{ComparedReport, ShadowRules},
};

/// A row with a field of each kind.
#[derive(Clone, Debug, PartialEq, Compare)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) email: String,
    #[compare(reveal)]
    pub(crate) country: String,
    pub(crate) read_at: u64,
}

/// Neither `Clone` nor `PartialEq`.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<dualwrite::Error> for Refused {
    fn from(error: dualwrite::Error) -> Self {
        Self(error.to_string())
    }
}

/// Says nothing of itself.
pub(crate) struct Opaque;

impl From<dualwrite::Error> for Opaque {
    fn from(_: dualwrite::Error) -> Self {
        Self
    }
}

#[dualwrite::repository]
pub(crate) trait Rows {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Row, Refused>;
    #[read(scan)]
    async fn all(&self) -> Result<Vec<Row>, Refused>;
    #[read(key = id)]
    async fn opaque(&self, id: i64) -> Result<i64, Opaque>;
}

/// What a side answers, given the number of the call.
type Answer = Box<dyn Fn(u64) -> Result<Row, Refused> + Send>;

#[derive(Clone)]
pub(crate) struct Side {
    answer: Arc<Mutex<Answer>>,
    calls: Arc<AtomicU64>,
    pub(crate) hangs: Arc<AtomicBool>,
}

impl Side {
    fn new() -> Self {
        let answer: Answer = Box::new(|_| Ok(row()));
        let (calls, hangs) = (Arc::default(), Arc::default());
        Self { answer: Arc::new(Mutex::new(answer)), calls, hangs }
    }

    pub(crate) fn answers(&self, answer: impl Fn(u64) -> Result<Row, Refused> + Send + 'static) {
        *self.lock() = Box::new(answer);
    }

    pub(crate) fn fails(&self, text: &'static str) {
        self.answers(move |_| Err(Refused(text.to_owned())));
    }

    fn lock(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn ask(&self) -> Result<Row, Refused> {
        let call = self.calls.fetch_add(1, SeqCst);
        if self.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        self.lock()(call)
    }
}

impl Rows for Side {
    async fn find(&self, id: i64) -> Result<Row, Refused> {
        self.ask().await.map(|row| Row { id, ..row })
    }

    async fn all(&self) -> Result<Vec<Row>, Refused> {
        self.ask().await.map(|row| vec![row])
    }

    async fn opaque(&self, _: i64) -> Result<i64, Opaque> {
        self.ask().await.map(|row| row.id).map_err(|_| Opaque)
    }
}

pub(crate) fn row() -> Row {
    Row { id: 1, email: "ada@example.org".into(), country: "CH".into(), read_at: 0 }
}

/// A repository over two sides, without a database.
pub(crate) struct World {
    pub(crate) test: TestMigration,
    pub(crate) rows: DualRows<Side, Side>,
    pub(crate) old: Side,
    pub(crate) new: Side,
}

impl World {
    pub(crate) async fn at(stage: Stage, rules: ShadowRules) -> Self {
        let test = TestMigration::with_shadow_rules("rows", rules).await.unwrap();
        Self::of(test, stage)
    }

    pub(crate) fn of(test: TestMigration, stage: Stage) -> Self {
        test.put(stage, dualwrite::Percent::ZERO).unwrap();
        let (old, new) = (Side::new(), Side::new());
        let rows = DualRows::new(test.migration(), old.clone(), new.clone());
        Self { test, rows, old, new }
    }

    /// The calls that each side got since the last time.
    pub(crate) fn calls(&self) -> [u64; 2] {
        [&self.old, &self.new].map(|side| side.calls.swap(0, SeqCst))
    }

    pub(crate) async fn status(&self) -> Status {
        self.test.settle().await;
        self.test.migration().status().await.unwrap()
    }

    pub(crate) async fn counters(&self) -> CounterReport {
        self.status().await.counters
    }

    /// What was counted for a method.
    pub(crate) async fn compared(&self, method: &str) -> ComparedReport {
        let methods = self.status().await.methods;
        methods.iter().find(|found| found.method == method).unwrap().compared
    }
}
