//! One migration in converging mode, in this process: its stores, its marks, its writes in flight.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::clock;
use crate::converging::gathering::Marking;
use crate::converging::options::{Options, Overflow};
use crate::converging::order::KeyOrder;
use crate::converging::stores::Stores;
use crate::copier::joined::Joined;
use crate::error::{Error, ErrorKind};
use crate::observe::{count, count_by};
use crate::state::Shared;
use crate::store::converging::port::Marks;
use crate::store::converging::statements::{EndedWrite, batch_of};

/// The first pause after marks could not be cleared, and the longest; it is doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long marks gather before they are cleared together, while less than half of the places are taken.
const GATHER: Duration = Duration::from_millis(20);
/// How often a shutdown that has begun lets clearing fail.
const LAST_ATTEMPTS: u32 = 5;

pub(crate) struct Two {
    pub(crate) options: Options,
    pub(crate) stores: Box<dyn Stores>,
    pub(crate) marks: Box<dyn Marks>,
    pub(crate) marking: Marking,
    pub(crate) order: KeyOrder,
    permits: Arc<Semaphore>,
    clearing: Mutex<Clearing>,
    /// Writes wait for a place.
    scarce: Notify,
    /// When copies may be tried again after a round in which all failed, and how many such rounds there were.
    pub(crate) brake: Mutex<(u64, u64)>,
}

#[derive(Default)]
struct Clearing {
    waiting: Vec<Waiting>,
    under_way: bool,
}

/// A write that has ended. It counts as in flight, for the bound and for a shutdown, until its mark is cleared.
pub(crate) struct Waiting {
    pub(crate) write: EndedWrite,
    pub(crate) _held: (OwnedSemaphorePermit, TaskTrackerToken),
}

/// The stores of a migration in converging mode.
pub(crate) fn of(shared: &Joined) -> Option<&Arc<Two>> {
    shared.copier.as_ref()?.in_transaction().downcast_ref()
}

impl Two {
    pub(crate) fn new(options: Options, stores: Box<dyn Stores>, marks: Box<dyn Marks>) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(options.in_flight)),
            options,
            stores,
            marks,
            marking: Marking::default(),
            order: KeyOrder::default(),
            clearing: Mutex::default(),
            scarce: Notify::new(),
            brake: Mutex::default(),
        }
    }

    /// A place among the writes in flight.
    pub(crate) async fn admit(&self, shared: &Shared) -> Result<OwnedSemaphorePermit, Error> {
        if self.is_scarce() {
            self.scarce.notify_one();
        }
        let permits = Arc::clone(&self.permits);
        let admitted = match self.options.overflow {
            Overflow::Wait(limit) => {
                clock::limit(limit, permits.acquire_owned()).await.ok().and_then(Result::ok)
            }
            Overflow::Refuse => permits.try_acquire_owned().ok(),
        };
        admitted.ok_or_else(|| {
            count(&shared.counters.converging_refused);
            let message = format!(
                "{} writes are in flight here, which is the bound: nothing was written, try again later, or raise \
                 `Converging::in_flight`",
                self.options.in_flight
            );
            Error::new(ErrorKind::Timeout, message).of(&shared.name)
        })
    }

    fn is_scarce(&self) -> bool {
        self.permits.available_permits() <= self.options.in_flight / 2
    }

    /// Has the mark of a write cleared, soon, together with others.
    pub(crate) fn ended(self: &Arc<Self>, shared: &Arc<Shared>, write: Waiting) {
        let mut clearing = self.clearing.lock().unwrap_or_else(PoisonError::into_inner);
        clearing.waiting.push(write);
        if !std::mem::replace(&mut clearing.under_way, true) {
            let (two, shared_too) = (Arc::clone(self), Arc::clone(shared));
            shared.spawn(async move { two.clear(&shared_too).await });
        }
    }

    /// The next writes to clear; with none, clearing is over.
    fn next(&self) -> Vec<Waiting> {
        let mut clearing = self.clearing.lock().unwrap_or_else(PoisonError::into_inner);
        let many = batch_of(clearing.waiting.len());
        clearing.under_way = many > 0;
        clearing.waiting.drain(..many).collect()
    }

    async fn clear(&self, shared: &Shared) {
        loop {
            if !self.is_scarce() && !shared.is_closing() {
                let _ = clock::limit(GATHER, self.scarce.notified()).await;
            }
            let batch = self.next();
            if batch.is_empty() {
                return;
            }
            let writes: Vec<EndedWrite> = batch.iter().map(|one| one.write.clone()).collect();
            self.finish(shared, &writes).await;
        }
    }

    /// Tries until the marks of these writes are cleared, or the instance leaves them to others.
    async fn finish(&self, shared: &Shared, writes: &[EndedWrite]) {
        let (mut pause, mut failures) = (PAUSE_MIN, 0);
        loop {
            match self.marks.finish(shared, writes).await {
                Ok(left) => {
                    if left > 0 {
                        count_by(&shared.counters.converging_unsettled, left);
                        shared.mark_dirty();
                        shared.wake.notify_one();
                    }
                    return;
                }
                Err(error) => {
                    failures += 1;
                    let migration = &*shared.name;
                    tracing::warn!(migration, %error, "marks of writes are cleared later");
                }
            }
            if shared.is_closing() && failures >= LAST_ATTEMPTS {
                return; // another instance takes them over
            }
            clock::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
