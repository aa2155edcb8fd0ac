//! The workers of one process on one phase of a backfill: as many as are wanted now. Operators may want more or fewer
//! while it runs; a worker hears of that with its next page, and tells the others.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use crate::control::BackfillProgress;
use crate::control::settings::WORKERS_MAX;
use crate::error::{Error, ErrorKind};

/// How many workers there shall be.
#[derive(Debug)]
pub(crate) struct Size {
    usual: u32,
    wanted: watch::Sender<u32>,
}

impl Size {
    fn new(usual: u32) -> Self {
        Self { usual, wanted: watch::Sender::new(usual) }
    }

    /// What an operator has set; `None` for what it was started with.
    fn set(&self, set: Option<u64>) {
        let set = set.and_then(|set| u32::try_from(set).ok()).unwrap_or(self.usual);
        let set = set.clamp(1, WORKERS_MAX);
        self.wanted.send_if_modified(|wanted| std::mem::replace(wanted, set) != set);
    }
}

/// The place of a worker in its crew. The first one is always wanted.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    number: u32,
    size: Arc<Size>,
}

impl Place {
    pub(crate) fn is_first(&self) -> bool {
        self.number == 0
    }

    pub(crate) fn is_surplus(&self) -> bool {
        self.number >= *self.size.wanted.borrow()
    }

    pub(crate) fn hear(&self, set: Option<u64>) {
        self.size.set(set);
    }
}

/// Runs workers until the phase is complete. One that is not wanted any more answers `None`, and comes back where it is
/// wanted again; one that fails leaves its work to the others.
pub(crate) async fn run<F>(
    usual: u32,
    worker: impl Fn(Place) -> F,
) -> Result<BackfillProgress, Error>
where
    F: Future<Output = Result<Option<BackfillProgress>, Error>>,
{
    let size = Arc::new(Size::new(usual));
    let mut wanted = size.wanted.subscribe();
    let (mut at_work, mut taken) = (FuturesUnordered::new(), BTreeSet::new());
    let mut first: Option<Result<BackfillProgress, Error>> = None;
    loop {
        // Whichever comes to the end has seen that all is copied: nobody is sent after it.
        if !matches!(first, Some(Ok(_))) {
            for number in (0..*wanted.borrow_and_update()).filter(|number| taken.insert(*number)) {
                let work = worker(Place { number, size: Arc::clone(&size) });
                at_work.push(async move { (number, work.await) });
            }
        }
        let ended = tokio::select! {
            ended = at_work.next() => ended,
            _ = wanted.changed() => continue,
        };
        match ended {
            Some((number, Ok(None))) => {
                taken.remove(&number);
            }
            Some((_, Ok(Some(progress)))) => first = Some(Ok(progress)),
            Some((_, Err(error))) => first = Some(first.take().unwrap_or(Err(error))),
            // The first worker is never sent away, so one of them has ended.
            None => {
                let nobody = || Error::new(ErrorKind::Halted, "the backfill has no worker left");
                return first.unwrap_or_else(|| Err(nobody()));
            }
        }
    }
}
