//! Contracts in memory: what is declared. There is no schema to change.

use futures_util::future::BoxFuture;

use super::{MemoryControl, done};
use crate::contract::declared::Contract;
use crate::contract::facts::{ContractFacts, Progress};
use crate::contract::shape::OldShape;
use crate::control::contracts::{
    AlterLimits, ContractEvent, ContractStep, Contracts, Judge, NewContractEvent,
};
use crate::database::Dialect;
use crate::error::{Error, ErrorKind};

fn unsupported<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Error>> {
    let message = "control tables in memory have no schema beside them";
    done(Err(Error::new(ErrorKind::Unsupported, message)))
}

impl Contracts for MemoryControl {
    fn declare_contract<'a>(
        &'a self,
        name: &'a str,
        contract: &'a Contract,
    ) -> BoxFuture<'a, Result<(), Error>> {
        done(self.with(name, |entry| entry.contract = Some(contract.clone())))
    }

    fn contracts(&self) -> BoxFuture<'_, Result<Vec<(String, Contract)>, Error>> {
        let known = self.lock();
        let declared = known.iter().filter_map(|(name, entry)| {
            entry.contract.as_ref().map(|contract| (name.clone(), contract.clone()))
        });
        done(Ok(declared.collect()))
    }

    fn contract_facts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<ContractFacts, Error>> {
        let now = self.clock.now();
        done(self.with(name, |entry| ContractFacts {
            contract: entry.contract.clone(),
            progress: Progress::NotBegun,
            facts: entry.facts(now),
            overridden: Vec::new(),
            watched_for: None,
            read_ago: None,
            copies_back: false,
            approved: None,
            backup: None,
            dependents: Vec::new(),
        }))
    }

    fn begin_contract<'a>(
        &'a self,
        _name: &'a str,
        _judge: &'a Judge<'a>,
        _event: &'a NewContractEvent,
    ) -> BoxFuture<'a, Result<(), Error>> {
        unsupported()
    }

    fn record_contract<'a>(
        &'a self,
        _name: &'a str,
        _event: &'a NewContractEvent,
        _step: ContractStep,
    ) -> BoxFuture<'a, Result<(), Error>> {
        unsupported()
    }

    fn contract_events<'a>(
        &'a self,
        _name: &'a str,
        _limit: u32,
    ) -> BoxFuture<'a, Result<Vec<ContractEvent>, Error>> {
        done(Ok(Vec::new()))
    }

    fn old_was_read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        done(self.with(name, |_| ()))
    }

    fn old_shape<'a>(&'a self, _contract: &'a Contract) -> BoxFuture<'a, Result<OldShape, Error>> {
        done(Ok(OldShape::default()))
    }

    fn alter<'a>(
        &'a self,
        _sql: &'a str,
        _limits: AlterLimits,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        unsupported()
    }

    fn dialect(&self) -> Option<&'static Dialect> {
        None
    }
}
