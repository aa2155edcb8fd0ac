//! What is wrong with a migration, in plain words, with the next step.

use std::fmt;

use crate::stages::stage::Stage;

/// What kind of bug a [`MigrationTest`](crate::testing::MigrationTest) has found.
///
/// ```
/// use dualwrite::testing::BugKind;
/// assert_eq!(BugKind::InsertOnlyCopy.to_string(), "insert-only copy");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BugKind {
    /// The copy function inserts rows and does not overwrite those that are there.
    InsertOnlyCopy,
    /// The copy function leaves rows out.
    IncompleteCopy,
    /// A row that was deleted is still there.
    ForgottenDelete,
    /// A value is not what was written.
    LossyConversion,
    /// A row is stored, or marked to be copied again, under a key that is not its own.
    WrongKey,
    /// The write of a side changes rows and does not insert those that are missing.
    UpdateOnlyWrite,
    /// A write was executed twice on one row.
    DoubledWrite,
    /// A write leaves a side as it was.
    MissingWrite,
    /// A comparison does not see a difference.
    BlindComparison,
    /// A comparison sees a difference where there is none.
    FalseDifference,
    /// A read answers otherwise than the side that answers holds.
    WrongAnswer,
    /// A write answered that it was done, although the side that answers failed.
    HiddenError,
    /// A call, a copy or a verification failed by itself.
    Failed,
    /// A move was refused.
    MoveRefused,
    /// The test itself is not complete.
    Test,
}

impl fmt::Display for BugKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InsertOnlyCopy => "insert-only copy",
            Self::IncompleteCopy => "incomplete copy",
            Self::ForgottenDelete => "forgotten delete",
            Self::LossyConversion => "lossy conversion",
            Self::WrongKey => "wrong key",
            Self::UpdateOnlyWrite => "update-only write",
            Self::DoubledWrite => "write executed twice",
            Self::MissingWrite => "missing write",
            Self::BlindComparison => "comparison that sees nothing",
            Self::FalseDifference => "difference that is none",
            Self::WrongAnswer => "wrong answer",
            Self::HiddenError => "hidden error",
            Self::Failed => "failed call",
            Self::MoveRefused => "refused move",
            Self::Test => "incomplete test",
        })
    }
}

/// A bug in a migration, from [`MigrationTest::try_run`](crate::testing::MigrationTest::try_run). It shows the keys
/// and values of the test.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MigrationBug {
    /// The migration.
    pub migration: String,
    /// The stage in which it was found.
    pub stage: Stage,
    /// Its kind.
    pub kind: BugKind,
    /// The key, as `{:?}` writes it, where it is about one.
    pub key: Option<String>,
    /// What was found.
    pub found: String,
    /// What to look at.
    pub next_step: String,
    /// What was done before, oldest first: with that key, where it is about one.
    pub operations: Vec<String>,
    /// The seed that the operations were drawn from.
    pub seed: u64,
}

impl std::error::Error for MigrationBug {}

impl fmt::Display for MigrationBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { migration, stage, kind, found, .. } = self;
        write!(f, "migration `{migration}`, stage {stage}: {kind}: ")?;
        if let Some(key) = &self.key {
            write!(f, "key {key}: ")?;
        }
        writeln!(f, "{found}")?;
        writeln!(f, "  next step: {}", self.next_step)?;
        match &self.key {
            Some(key) => writeln!(f, "  operations with key {key}:")?,
            None => writeln!(f, "  the last operations:")?,
        }
        for operation in &self.operations {
            writeln!(f, "    {operation}")?;
        }
        write!(f, "  the same operations again: `.seed({})`", self.seed)
    }
}
