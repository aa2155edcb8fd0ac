//! What `Shared` keeps of what was read last, each under a lock of its own.

use crate::control::{BackfillProgress, Record};
use crate::stages::facts::Facts;
use crate::stages::lineage::{Mark, Token};
use crate::stages::position::{Generation, Position};

/// What was read for guards and metrics.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) facts: Option<Facts>,
    /// Its newest backfill.
    pub(super) backfill: Option<BackfillProgress>,
    /// When, by our clock.
    pub(super) at: Option<u64>,
    /// How many instances lived then, or when they were counted.
    pub(super) live: u64,
    /// Nothing was read yet, and they were counted, by our clock.
    pub(super) counted: Option<u64>,
    /// What a look had found by then.
    pub(super) news: Option<News>,
    /// It was read since it was published last.
    #[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "nothing is published"))]
    pub(super) fresh: bool,
}

/// What changes with what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) mark: Mark,
    pub(super) generation: Generation,
    pub(super) flags: [bool; 6],
}

/// A position with its token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) position: Position,
    pub(super) token: Token,
}

impl Known {
    pub(super) fn of(record: &Record) -> Self {
        Self { position: record.position, token: record.token }
    }

    pub(super) fn mark(self) -> Mark {
        Mark { epoch: self.position.epoch, token: self.token }
    }
}

/// What the catalogue says of old that keeps new from being written alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    /// Old columns of the one table that an `INSERT` cannot leave out.
    pub(crate) needed_columns: Vec<String>,
    /// What is missing of new before it is written.
    pub(crate) unexpanded: Vec<String>,
    /// Constraints of old that reject what is written to new alone.
    pub(crate) rejecting: Vec<String>,
}
