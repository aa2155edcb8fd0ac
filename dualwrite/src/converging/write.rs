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
use crate::stages::route::{Operation, route};
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

async fn go<T, E>(mut flight: Flight, write: TwoWrite<T, E>, caller: oneshot::Sender<Answer<T, E>>)
where
    T: Send + 'static,
    E: Failure + StdError + Send + 'static,
{
    let (shared, two) = (Arc::clone(&flight.shared), Arc::clone(&flight.two));
    let give = |caller: oneshot::Sender<_>, answer| drop(caller.send(Answer::Given(answer)));
    let turn = match write.policy {
        MirrorFailure::Report => Some(two.order.turn(&write.key).await),
        MirrorFailure::AnswerNow => two.order.turn_now(&write.key),
    };
    if caller.is_closed() {
        return; // nobody waits for it any more, and it has not begun
    }
    let marked = match flight.mark(&write.key).await {
        Ok(marked) => flight.check_lease().map(|()| marked),
        Err(error) => Err(error),
    };
    let route = match marked {
        Ok(position) => route(position, Operation::Write, write.bucket),
        Err(error) => return give(caller, Err(failure(error))),
    };
    let (primary, mirror) = match route.primary {
        Side::Old => (write.old, write.new),
        Side::New => (write.new, write.old),
    };
    let unknown = match route.mirror {
        Some(_) => Ending::Unknown,
        None => Ending::Alone,
    };
    let settle_after = two.options.settle_after;
    flight.ends(unknown, settle_after);
    let answer = match call(primary, two.options.primary_limit).await {
        Called::Answered(answer) => answer,
        Called::Failed(error) => {
            if write.refusal.is_some_and(|is_refusal| is_refusal(&error)) {
                flight.ends(Ending::NotWritten, Duration::ZERO);
            }
            return give(caller, Err(error));
        }
        Called::Panicked(panic) => return drop(caller.send(Answer::Panicked(panic))),
        Called::TimedOut => {
            let message = format!(
                "the {} side took longer than {:?} for `{}`: whether it was written is not known; where the other \
                 side is written too, the key is copied to it from there",
                route.primary, two.options.primary_limit, write.method
            );
            let error = Error::new(ErrorKind::Timeout, message).of(&shared.name);
            return give(caller, Err(failure(error)));
        }
    };
    let Some(mirror_side) = route.mirror else { return give(caller, Ok(answer)) };
    flight.ends(Ending::Unknown, Duration::ZERO);
    if turn.is_none() {
        // Another write of the key is on its way to the mirror: which comes second, nobody knows.
        return give(caller, Ok(answer));
    }
    let waits = match write.policy {
        MirrorFailure::Report => Some((caller, answer)),
        MirrorFailure::AnswerNow => {
            give(caller, Ok(answer));
            None
        }
    };
    let failed = match flight.check_lease() {
        Err(error) => Some(error.to_string()),
        Ok(()) => {
            flight.ends(Ending::Unknown, settle_after);
            match call(mirror, two.options.mirror_limit).await {
                Called::Answered(_) => None,
                Called::Failed(error) => Some(reason(&error)),
                Called::Panicked(_) => Some("it panicked".to_owned()),
                Called::TimedOut => {
                    Some(format!("it took longer than {:?}", two.options.mirror_limit))
                }
            }
        }
    };
    let outcome = match failed {
        None => {
            flight.ends(Ending::Both, Duration::ZERO);
            count(&shared.counters.mirror_written);
            Ok(())
        }
        Some(reason) => {
            count(&shared.counters.mirror_failed);
            let (migration, method) = (&*shared.name, write.method);
            tracing::warn!(
                migration,
                method,
                side = %mirror_side,
                reason,
                "mirror write failed; the key will be copied again"
            );
            let message = format!(
                "the {mirror_side} side failed for `{method}`: {reason}; the {} side has the write, and the key will \
                 be copied from there",
                route.primary
            );
            Err(Error::new(ErrorKind::MirrorFailed, message).of(&shared.name))
        }
    };
    if let Some((caller, answer)) = waits {
        give(caller, outcome.map(|()| answer).map_err(failure));
    }
}
