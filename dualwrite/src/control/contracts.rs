//! The part of the port to the control tables that contracts need: what is declared, recorded and audited; and the
//! way to the schema of the database beside them.

use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::contract::declared::Contract;
use crate::contract::facts::ContractFacts;
use crate::contract::shape::OldShape;
use crate::database::Dialect;
use crate::error::Error;

/// One line of the audit of a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ContractEvent {
    /// When, by the database's clock.
    #[serde(rename = "at_us", with = "crate::moment::as_micros")]
    pub at: SystemTime,
    /// What: `backup`, `begun`, `dropped`, `failed`, `released`.
    pub what: String,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Of a backup, what its command printed; of a contract that was begun, its evidence and statements as JSON; of
    /// a failure, the cause.
    pub detail: String,
}

/// One to write.
#[derive(Clone, Debug)]
pub(crate) struct NewContractEvent {
    pub(crate) what: &'static str,
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) detail: String,
}

/// What becomes of a contract beside the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContractStep {
    /// Nothing.
    Stay,
    /// Nothing of old was dropped after all: the way back is open again.
    Release,
    /// All of old is gone.
    End,
}

/// Limits on one statement that changes the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlterLimits {
    /// How long it waits for a lock.
    pub(crate) lock: Duration,
    /// How long it may take.
    pub(crate) statement: Duration,
}

/// Judges under the fence; answers with what the audit keeps.
pub(crate) type Judge<'a> = dyn Fn(&ContractFacts) -> Result<String, Error> + Send + Sync + 'a;

pub(crate) trait Contracts: Send + Sync {
    /// Stores what a release calls old, unless somebody has begun to drop it.
    fn declare_contract<'a>(
        &'a self,
        name: &'a str,
        contract: &'a Contract,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// All contracts that are declared, with their migrations.
    fn contracts(&self) -> BoxFuture<'_, Result<Vec<(String, Contract)>, Error>>;

    /// What a contract is judged by, without what the catalogue says.
    fn contract_facts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<ContractFacts, Error>>;

    /// Judges under the exclusive fence, and marks the contract as begun in the same transaction: from then on there
    /// is no way back. What was begun before is not judged again.
    fn begin_contract<'a>(
        &'a self,
        name: &'a str,
        judge: &'a Judge<'a>,
        event: &'a NewContractEvent,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Records what was done.
    fn record_contract<'a>(
        &'a self,
        name: &'a str,
        event: &'a NewContractEvent,
        step: ContractStep,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// The audit of a contract, newest first.
    fn contract_events<'a>(
        &'a self,
        name: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<ContractEvent>, Error>>;

    /// Records that a wrapper has read old.
    fn old_was_read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// What the catalogue says of the tables of a contract.
    fn old_shape<'a>(&'a self, contract: &'a Contract) -> BoxFuture<'a, Result<OldShape, Error>>;

    /// Runs one statement that changes the schema. Returns whether it got its lock in time.
    fn alter<'a>(&'a self, sql: &'a str, limits: AlterLimits)
    -> BoxFuture<'a, Result<bool, Error>>;

    /// How the database spells things; `None` where there is none.
    fn dialect(&self) -> Option<&'static Dialect>;
}
