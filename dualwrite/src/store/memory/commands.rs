//! Commands of operators in memory: there is one process, and whoever asks has the migration itself.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::control::commands::{Commands, Job, JobKind, RecordedChange, moved};
use crate::error::{Error, ErrorKind};
use crate::rollout::order::NewOrder;
use crate::stages::position::Epoch;
use crate::store::memory::{MemoryControl, done};

impl Commands for MemoryControl {
    fn command<'a>(
        &'a self,
        name: &'a str,
        change: &'a RecordedChange,
        expected: Option<Epoch>,
        order: &'a NewOrder,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let now = self.clock.now();
        let commanded = self.with(name, |entry| {
            let found = entry.record.position.epoch;
            if let Some(expected) = expected.filter(|epoch| *epoch != found) {
                return Err(moved(name, expected, found));
            }
            let killed = match change {
                RecordedChange::Kill => Some(order.actor.clone()),
                RecordedChange::Unkill => None,
                _ => {
                    let message = "in memory there is no operator beside the process";
                    return Err(Error::new(ErrorKind::Unsupported, message).of(name));
                }
            };
            let taken = killed.is_some() || entry.record.killed.is_some();
            entry.record.killed = killed;
            if taken {
                entry.record_order(order, now);
            }
            Ok(taken)
        });
        done(commanded.and_then(|commanded| commanded))
    }

    fn jobs<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Vec<Job>, Error>> {
        done(Ok(Vec::new()))
    }

    fn take_job<'a>(
        &'a self,
        _name: &'a str,
        _kind: JobKind,
        _instance: &'a str,
        _lease: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        done(Ok(false))
    }

    fn end_job<'a>(
        &'a self,
        _name: &'a str,
        _kind: JobKind,
        _instance: &'a str,
        _failed: bool,
        _answer: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        done(Ok(()))
    }
}
