//! The part of the port to the control tables that removals need.

use futures_util::future::BoxFuture;

use crate::control::contracts::{ContractEvent, NewContractEvent};
use crate::error::Error;
use crate::removal::decide::RemovalFacts;
use crate::removal::declared::Removal;
use crate::removal::phase::RemovalPhase;

/// A step from one phase to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RemovalStep {
    pub(crate) from: RemovalPhase,
    pub(crate) to: RemovalPhase,
    /// What the server has counted of scans, where it is kept.
    pub(crate) scans: Option<u64>,
}

pub(crate) trait Removals: Send + Sync {
    /// Stores what a release wants removed, unless a phase has begun.
    fn declare_removal<'a>(
        &'a self,
        name: &'a str,
        removal: &'a Removal,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// The names of all.
    fn removals(&self) -> BoxFuture<'_, Result<Vec<String>, Error>>;

    /// What is known of one. Unknown names are an error.
    fn removal<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RemovalFacts, Error>>;

    /// Records that somebody has read or written it.
    fn removal_used<'a>(
        &'a self,
        name: &'a str,
        kind: &'a str,
        who: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Makes a step, with its line of the audit; what was used before a way back is forgotten. Returns whether the removal
    /// stood where the step begins.
    fn move_removal<'a>(
        &'a self,
        name: &'a str,
        step: RemovalStep,
        event: &'a NewContractEvent,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Writes one line of the audit.
    fn record_removal<'a>(
        &'a self,
        name: &'a str,
        event: &'a NewContractEvent,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// The audit, newest first.
    fn removal_events<'a>(
        &'a self,
        name: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<ContractEvent>, Error>>;

    /// How often the server has read these tables; `None` where it does not count.
    fn scans<'a>(&'a self, tables: &'a [String]) -> BoxFuture<'a, Result<Option<u64>, Error>>;
}
