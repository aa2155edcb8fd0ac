//! Control tables in memory have no schema beside them, of which something could be removed.

use futures_util::future::BoxFuture;

use super::{MemoryControl, done};
use crate::control::contracts::{ContractEvent, NewContractEvent};
use crate::control::removals::{RemovalStep, Removals};
use crate::error::{Error, ErrorKind};
use crate::removal::decide::RemovalFacts;
use crate::removal::declared::Removal;

fn unsupported<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Error>> {
    let message = "control tables in memory have no schema beside them";
    done(Err(Error::new(ErrorKind::Unsupported, message)))
}

impl Removals for MemoryControl {
    fn declare_removal<'a>(
        &'a self,
        _name: &'a str,
        _removal: &'a Removal,
    ) -> BoxFuture<'a, Result<(), Error>> {
        unsupported()
    }

    fn removals(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        done(Ok(Vec::new()))
    }

    fn removal<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<RemovalFacts, Error>> {
        unsupported()
    }

    fn removal_used<'a>(
        &'a self,
        _name: &'a str,
        _kind: &'a str,
        _who: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        unsupported()
    }

    fn move_removal<'a>(
        &'a self,
        _name: &'a str,
        _step: RemovalStep,
        _event: &'a NewContractEvent,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        unsupported()
    }

    fn record_removal<'a>(
        &'a self,
        _name: &'a str,
        _event: &'a NewContractEvent,
    ) -> BoxFuture<'a, Result<(), Error>> {
        unsupported()
    }

    fn removal_events<'a>(
        &'a self,
        _name: &'a str,
        _limit: u32,
    ) -> BoxFuture<'a, Result<Vec<ContractEvent>, Error>> {
        done(Ok(Vec::new()))
    }

    fn scans<'a>(&'a self, _tables: &'a [String]) -> BoxFuture<'a, Result<Option<u64>, Error>> {
        done(Ok(None))
    }
}
