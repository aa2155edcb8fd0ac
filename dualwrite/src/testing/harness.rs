//! [`MigrationTest`]: takes a user's own migration through all stages and back, with live writes and faults, and
//! checks after each operation that both sides hold what was written.

pub(crate) mod bug;
mod dice;
mod history;
mod judge;
pub(crate) mod plan;
mod planted;
pub(crate) mod report;
mod run;
mod walk;

use std::fmt::Debug;

use crate::testing::harness::bug::MigrationBug;
use crate::testing::harness::plan::MigrationTest;
use crate::testing::harness::report::TestReport;
use crate::testing::harness::run::Run;

impl<'a, K: Ord + Clone + Debug + 'a, V: Clone + PartialEq + Debug + 'a> MigrationTest<'a, K, V> {
    /// Runs the test.
    ///
    /// # Panics
    /// With the first bug: what it is, what to look at, the operations with the key, and the seed.
    pub async fn run(self) -> TestReport {
        match self.try_run().await {
            Ok(report) => report,
            Err(bug) => panic!("{bug}"),
        }
    }

    /// Runs the test and answers with what it found.
    ///
    /// # Errors
    /// The first bug.
    pub async fn try_run(self) -> Result<TestReport, Box<MigrationBug>> {
        let mut run = Run::new(&self);
        let walked = run.walk().await;
        run.end();
        walked.map(|()| run.report())
    }
}
