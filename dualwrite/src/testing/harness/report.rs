//! What a test has done that found no bug.

use std::fmt;

/// What a [`MigrationTest`](crate::testing::MigrationTest) that found no bug has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestReport {
    /// The seed.
    pub seed: u64,
    /// How many operations, moves and copies there were.
    pub operations: usize,
    /// What was not tested, and what to do about it.
    pub untested: Vec<String>,
}

impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} operations from the seed {}", self.operations, self.seed)?;
        for left in &self.untested {
            write!(f, "\n  not tested: {left}")?;
        }
        Ok(())
    }
}
