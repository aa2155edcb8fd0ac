//! Gates by name, and what stands before one: values that errors, status and deciders share.

use std::fmt;

use serde::Serialize;

/// A named condition on a move.
///
/// ```
/// assert_eq!(dualwrite::Gate::Verified.to_string(), "verified");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The preflight found nothing that could lose rows.
    Preflight,
    /// Everything that is declared as new is there, and can hold what old holds.
    Expanded,
    /// Every live instance has no operation of an earlier stage in flight.
    Drained,
    /// Every live instance can run the stage.
    Supported,
    /// The backfill of this generation is complete.
    Backfilled,
    /// A verification of this generation found old and new equal.
    Verified,
    /// No key waits to be copied again to the side that is about to answer.
    Clean,
    /// No key failed to be copied.
    DeadLetters,
    /// The stage has lasted for its soak.
    Soaked,
    /// Old has got back what was written to new alone, before it may answer again.
    CopiedBack,
    /// Somebody has given the named approval since this stage was entered.
    Approved,
    /// Every release that writes old without this library is gone, and so are its writes; every writer that no
    /// trigger sees is recorded as stopped.
    Released,
    /// No live instance sees a kill switch set.
    Killed,
    /// A row can be inserted without its old columns: none of them is NOT NULL without a default.
    OldMayBeLeftOut,
    /// No sequence of new would give out a number that is taken.
    Sequences,
    /// No constraint of an old column rejects what is written to new alone.
    Relaxed,
    /// Nobody has begun to drop old.
    Contracted,
    /// The writes to the new side succeed, as far as the live instances have seen in the last five minutes.
    MirrorWrites,
}

impl Gate {
    /// All gates.
    pub const ALL: [Self; 18] = [
        Self::Preflight,
        Self::Expanded,
        Self::Drained,
        Self::Supported,
        Self::Backfilled,
        Self::Verified,
        Self::Clean,
        Self::DeadLetters,
        Self::Soaked,
        Self::CopiedBack,
        Self::Approved,
        Self::Released,
        Self::Killed,
        Self::OldMayBeLeftOut,
        Self::Sequences,
        Self::Relaxed,
        Self::Contracted,
        Self::MirrorWrites,
    ];

    /// The name by which an operator overrides the gate.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Expanded => "expanded",
            Self::Drained => "drained",
            Self::Supported => "supported",
            Self::Backfilled => "backfilled",
            Self::Verified => "verified",
            Self::Clean => "clean",
            Self::DeadLetters => "dead_letters",
            Self::Soaked => "soaked",
            Self::CopiedBack => "copied_back",
            Self::Approved => "approved",
            Self::Released => "released",
            Self::Killed => "killed",
            Self::OldMayBeLeftOut => "old_may_be_left_out",
            Self::Sequences => "sequences",
            Self::Relaxed => "relaxed",
            Self::Contracted => "contracted",
            Self::MirrorWrites => "mirror_writes",
        }
    }

    /// Whether this gate opens by itself in a moment: instances catch up, dirty keys are copied again.
    #[must_use]
    pub const fn opens_by_itself(self) -> bool {
        matches!(self, Self::Drained | Self::Clean)
    }

    /// Whether an operator may override this gate with a reason. The others protect data.
    #[must_use]
    pub const fn may_be_overridden(self) -> bool {
        matches!(
            self,
            Self::Expanded
                | Self::Verified
                | Self::DeadLetters
                | Self::Soaked
                | Self::Approved
                | Self::Relaxed
                | Self::MirrorWrites
        )
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A gate that does not let a move through, in plain words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Blocker {
    /// The gate.
    pub gate: Gate,
    /// What is missing, and what to do.
    pub reason: String,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.gate, self.reason)
    }
}
