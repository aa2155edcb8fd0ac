//! One write in converging mode: its mark, its primary, its mirror, in a task that outlives the caller.

use std::any::Any;
use std::error::Error as StdError;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::clock;
use crate::converging::options::MirrorFailure;
use crate::converging::two::{Two, Waiting};
use crate::error::{Error, ErrorKind, reason};
use crate::key::EncodedKey;
use crate::needs::{Failure, failure};
use crate::observe::count;
use crate::stages::bucket::Bucket;
use crate::stages::converging::Ending;
use crate::stages::position::Position;
use crate::stages::route::{Operation, Route, route};
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::store::converging::statements::EndedWrite;

/// The first pause before a write looks whether the move that it waits for is over, the longest, and how long it waits.
/// Many that look often would keep those from ending that the move waits for.
const DRAIN_POLL: Duration = Duration::from_millis(10);
const DRAIN_POLL_MAX: Duration = Duration::from_millis(160);
const DRAIN_WAIT: Duration = Duration::from_secs(10);

/// One side of a write.
pub(crate) type SideCall<T, E> = Box<dyn FnOnce() -> BoxFuture<'static, Result<T, E>> + Send>;
/// Whether an error says that nothing was written.
pub(crate) type IsRefusal<E> = Box<dyn Fn(&E) -> bool + Send>;

/// A write about to be made.
pub(crate) struct TwoWrite<T, E> {
    pub(crate) method: &'static str,
    pub(crate) key: EncodedKey,
    pub(crate) bucket: Bucket,
    pub(crate) policy: MirrorFailure,
    pub(crate) refusal: Option<IsRefusal<E>>,
    pub(crate) old: SideCall<T, E>,
    pub(crate) new: SideCall<T, E>,
}

/// What the caller gets.
enum Answer<T, E> {
    Given(Result<T, E>),
    Panicked(Box<dyn Any + Send>),
}

/// How a side ended.
enum Called<T, E> {
    Answered(T),
    Failed(E),
    Panicked(Box<dyn Any + Send>),
    TimedOut,
}

/// Makes the write. The task goes on where this is dropped.
pub(crate) async fn run<T, E>(
    shared: &Arc<Shared>,
    two: &Arc<Two>,
    write: TwoWrite<T, E>,
) -> Result<T, E>
where
    T: Send + 'static,
    E: Failure + StdError + Send + 'static,
{
    let begun = shared.clock.ticks();
    let operation = shared.operate().map_err(failure)?;
    let permit = two.admit(shared).await.map_err(failure)?;
    let (caller, answer) = oneshot::channel();
    let flight = Flight {
        shared: Arc::clone(shared),
        two: Arc::clone(two),
        begun,
        write: Some(EndedWrite {
            id: uuid::Uuid::new_v4().to_string(),
            key: write.key.clone(),
            ending: Ending::NotWritten,
            settle_after: Duration::ZERO,
        }),
        held: Some((permit, operation)),
    };
    count(&shared.counters.converging_writes);
    shared.spawn(go(flight, write, caller));
    match answer.await {
        Ok(Answer::Given(answer)) => answer,
        Ok(Answer::Panicked(panic)) => std::panic::resume_unwind(panic),
        Err(_) => Err(failure(shared.shutting_down())), // the runtime of tokio ended
    }
}

/// A write in flight. However it ends, also by a panic or with its task, its mark is dealt with.
struct Flight {
    shared: Arc<Shared>,
    two: Arc<Two>,
    /// In ticks.
    begun: u64,
    write: Option<EndedWrite>,
    held: Option<(OwnedSemaphorePermit, TaskTrackerToken)>,
}

impl Flight {
    /// From now on this is what becomes of it, should nothing more happen.
    fn ends(&mut self, ending: Ending, settle_after: Duration) {
        if let Some(write) = &mut self.write {
            (write.ending, write.settle_after) = (ending, settle_after);
        }
    }

    /// Fails where others may take this instance for dead: they would copy the key while this write goes on.
    fn check_lease(&self) -> Result<(), Error> {
        self.shared.check_lease(self.begun, self.shared.clock.ticks())
    }

    /// Marks the write, and waits while a move has writes wait.
    async fn mark(&self, key: &EncodedKey) -> Result<Position, Error> {
        let shared = &*self.shared;
        let id = self.write.as_ref().map_or("", |write| &write.id);
        let (start, mut pause) = (shared.clock.now(), DRAIN_POLL);
        loop {
            if let Some(position) = self.two.marks.mark(shared, id, key).await? {
                return Ok(position);
            }
            let waited = Duration::from_nanos(shared.clock.now().saturating_sub(start));
            if waited >= DRAIN_WAIT {
                let message = "moves of this migration had writes wait for too long: nothing was written, try again";
                return Err(Error::new(ErrorKind::Timeout, message).of(&shared.name));
            }
            clock::sleep(pause).await;
            pause = DRAIN_POLL_MAX.min(pause * 2);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let (Some(write), Some(held)) = (self.write.take(), self.held.take()) {
            self.two.ended(&self.shared, Waiting { write, _held: held });
        }
    }
}

async fn call<T, E>(side: SideCall<T, E>, limit: Duration) -> Called<T, E> {
    let called = AssertUnwindSafe(async move { side().await }).catch_unwind();
    match clock::limit(limit, called).await {
        Ok(Ok(Ok(answer))) => Called::Answered(answer),
        Ok(Ok(Err(error))) => Called::Failed(error),
        Ok(Err(panic)) => Called::Panicked(panic),
        Err(()) => Called::TimedOut,
    }
}

/// The caller, who may have gone.
struct Caller<T, E>(oneshot::Sender<Answer<T, E>>);

impl<T, E> Caller<T, E> {
    fn answer(self, answer: Answer<T, E>) {
        drop(self.0.send(answer));
    }

    fn give(self, answer: Result<T, E>) {
        self.answer(Answer::Given(answer));
    }
}

async fn go<T, E>(mut flight: Flight, write: TwoWrite<T, E>, caller: oneshot::Sender<Answer<T, E>>)
where
    T: Send + 'static,
    E: Failure + StdError + Send + 'static,
{
    let two = Arc::clone(&flight.two);
    let turn = match write.policy {
        MirrorFailure::Report => Some(two.order.turn(&write.key).await),
        MirrorFailure::AnswerNow => two.order.turn_now(&write.key),
    };
    if caller.is_closed() {
        return; // nobody waits for it any more, and it has not begun
    }
    let caller = Caller(caller);
    let route = match flight.begin(&write.key).await {
        Ok(position) => route(position, Operation::Write, write.bucket),
        Err(error) => return caller.give(Err(failure(error))),
    };
    let (primary, mirror) = match route.primary {
        Side::Old => (write.old, write.new),
        Side::New => (write.new, write.old),
    };
    let answer = match flight.primary(&route, write.method, primary, write.refusal).await {
        Ok(answer) => answer,
        Err(ended) => return caller.answer(ended),
    };
    let Some(side) = route.mirror else { return caller.give(Ok(answer)) };
    flight.ends(Ending::Unknown, Duration::ZERO);
    if turn.is_none() {
        // Another write of the key is on its way to the mirror: which comes second, nobody knows.
        return caller.give(Ok(answer));
    }
    match write.policy {
        MirrorFailure::AnswerNow => {
            caller.give(Ok(answer));
            drop(flight.mirror(side, write.method, mirror).await);
        }
        MirrorFailure::Report => {
            let mirrored = flight.mirror(side, write.method, mirror).await;
            caller.give(mirrored.map(|()| answer).map_err(failure));
        }
    }
}

impl Flight {
    /// The position by which the write goes, once it is marked.
    async fn begin(&self, key: &EncodedKey) -> Result<Position, Error> {
        let marked = self.mark(key).await?;
        self.check_lease().map(|()| marked)
    }

    /// Calls the side that answers. Fails with what the caller gets.
    async fn primary<T, E: Failure + StdError>(
        &mut self,
        route: &Route,
        method: &str,
        side: SideCall<T, E>,
        refusal: Option<IsRefusal<E>>,
    ) -> Result<T, Answer<T, E>> {
        let options = &self.two.options;
        let (limit, settle_after) = (options.primary_limit, options.settle_after);
        let unknown = match route.mirror {
            Some(_) => Ending::Unknown,
            None => Ending::Alone,
        };
        self.ends(unknown, settle_after);
        match call(side, limit).await {
            Called::Answered(answer) => Ok(answer),
            Called::Failed(error) => {
                if refusal.is_some_and(|is_refusal| is_refusal(&error)) {
                    self.ends(Ending::NotWritten, Duration::ZERO);
                }
                Err(Answer::Given(Err(error)))
            }
            Called::Panicked(panic) => Err(Answer::Panicked(panic)),
            Called::TimedOut => {
                let message = format!(
                    "the {} side took longer than {limit:?} for `{method}`: whether it was written is not known; \
                     where the other side is written too, the key is copied to it from there",
                    route.primary
                );
                let error = Error::new(ErrorKind::Timeout, message).of(&self.shared.name);
                Err(Answer::Given(Err(failure(error))))
            }
        }
    }

    /// Calls the other side. A key whose mirror failed is copied again.
    async fn mirror<T, E: StdError + 'static>(
        &mut self,
        side: Side,
        method: &str,
        mirror: SideCall<T, E>,
    ) -> Result<(), Error> {
        let Err(reason) = self.call_mirror(mirror).await else {
            self.ends(Ending::Both, Duration::ZERO);
            count(&self.shared.counters.mirror_written);
            return Ok(());
        };
        count(&self.shared.counters.mirror_failed);
        let migration = &*self.shared.name;
        tracing::warn!(
            migration,
            method,
            %side,
            reason,
            "mirror write failed; the key will be copied again"
        );
        let message = format!(
            "the {side} side failed for `{method}`: {reason}; the {} side has the write, and the key will be copied \
             from there",
            side.other()
        );
        Err(Error::new(ErrorKind::MirrorFailed, message).of(migration))
    }

    /// Fails with the reason.
    async fn call_mirror<T, E: StdError + 'static>(
        &mut self,
        mirror: SideCall<T, E>,
    ) -> Result<(), String> {
        self.check_lease().map_err(|error| error.to_string())?;
        let options = &self.two.options;
        let (limit, settle_after) = (options.mirror_limit, options.settle_after);
        self.ends(Ending::Unknown, settle_after);
        match call(mirror, limit).await {
            Called::Answered(_) => Ok(()),
            Called::Failed(error) => Err(reason(&error)),
            Called::Panicked(_) => Err("it panicked".to_owned()),
            Called::TimedOut => Err(format!("it took longer than {limit:?}")),
        }
    }
}
