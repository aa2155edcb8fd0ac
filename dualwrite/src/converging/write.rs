//! One write in converging mode: its mark, its primary, its mirror, in a task that outlives the caller.

use std::any::Any;
use std::error::Error as StdError;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::clock;
use crate::converging::options::MirrorFailure;
use crate::converging::two::{Two, Waiting};
use crate::converging::within::{Begun, Marked, Unwritten, Within};
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
/// How a side is written.
pub enum SideOf<T, E> {
    Call(SideCall<T, E>),
    /// In the database of the control tables.
    #[allow(private_interfaces, reason = "made by this crate alone")]
    Within(Box<dyn Within<T, E>>),
}

impl<T: 'static, E: 'static> SideOf<T, E> {
    /// As one that has no transaction with the mark.
    fn alone(self) -> SideCall<T, E> {
        match self {
            Self::Call(call) => call,
            Self::Within(within) => Box::new(move || within.alone()),
        }
    }
}

/// Whether an error says that nothing was written.
pub(crate) type IsRefusal<E> = Box<dyn Fn(&E) -> bool + Send>;

/// A write about to be made.
pub(crate) struct TwoWrite<T, E> {
    pub(crate) method: &'static str,
    pub(crate) key: EncodedKey,
    pub(crate) bucket: Bucket,
    pub(crate) policy: MirrorFailure,
    pub(crate) refusal: Option<IsRefusal<E>>,
    pub(crate) old: SideOf<T, E>,
    pub(crate) new: SideOf<T, E>,
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

    fn id(&self) -> &str {
        self.write.as_ref().map_or("", |write| &write.id)
    }

    /// Marks the write, and waits while a move has writes wait.
    async fn mark(&self, key: &EncodedKey) -> Result<Position, Error> {
        let mut turn = DrainWait::new(&self.shared);
        loop {
            if let Some(position) = self.two.mark(&self.shared, (self.id(), key)).await? {
                return Ok(position);
            }
            turn.wait().await?;
        }
    }

    /// The same, in a transaction of the side that is in the database of the control tables.
    async fn mark_within<T, E>(
        &self,
        key: &EncodedKey,
        mut side: Box<dyn Within<T, E>>,
    ) -> Result<(Position, Box<dyn Marked<T, E>>), Error> {
        let mut turn = DrainWait::new(&self.shared);
        loop {
            let mark = (self.id().to_owned(), key.clone());
            match side.begin(Arc::clone(&self.shared), mark).await {
                Begun::Marked(position, marked) => {
                    return self.check_lease().map(|()| (position, marked));
                }
                Begun::Failed(error) => return Err(error.of(&self.shared.name)),
                Begun::Draining(back) => side = back,
            }
            turn.wait().await?;
        }
    }
}

/// Waits for a move that waits for writes in flight.
struct DrainWait<'s> {
    shared: &'s Shared,
    start: u64,
    pause: Duration,
}

impl<'s> DrainWait<'s> {
    fn new(shared: &'s Shared) -> Self {
        Self { shared, start: shared.clock.now(), pause: DRAIN_POLL }
    }

    async fn wait(&mut self) -> Result<(), Error> {
        let waited = Duration::from_nanos(self.shared.clock.now().saturating_sub(self.start));
        if waited >= DRAIN_WAIT {
            let message = "moves of this migration had writes wait for too long: nothing was written, try again";
            return Err(Error::new(ErrorKind::Timeout, message).of(&self.shared.name));
        }
        clock::sleep(self.pause).await;
        self.pause = DRAIN_POLL_MAX.min(self.pause * 2);
        Ok(())
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
    let sides = Sides { old: write.old, new: write.new, refusal: write.refusal };
    let Planned { route, primary, mirror, refusal } =
        match plan(&flight, &write.key, write.bucket, sides).await {
            Ok(planned) => planned,
            Err(error) => return caller.give(Err(failure(error))),
        };
    let answer = match flight.primary(&route, write.method, primary, refusal).await {
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

/// Both sides, and which errors of the primary mean that nothing was written.
struct Sides<T, E> {
    old: SideOf<T, E>,
    new: SideOf<T, E>,
    refusal: Option<IsRefusal<E>>,
}

/// A write that is marked, or that marks itself with its primary.
struct Planned<T, E> {
    route: Route,
    primary: SideCall<T, E>,
    mirror: SideCall<T, E>,
    refusal: Option<IsRefusal<E>>,
}

/// Marks the key, with the primary's write where that is in the database of the control tables.
async fn plan<T: Send + 'static, E: Send + 'static>(
    flight: &Flight,
    key: &EncodedKey,
    bucket: Bucket,
    sides: Sides<T, E>,
) -> Result<Planned<T, E>, Error> {
    let Sides { old, new, refusal } = sides;
    let (which, within, other) = match (old, new) {
        (SideOf::Within(within), other) => (Side::Old, within, other),
        (other, SideOf::Within(within)) => (Side::New, within, other),
        (SideOf::Call(old), SideOf::Call(new)) => {
            let route = route(flight.begin(key).await?, Operation::Write, bucket);
            let (primary, mirror) = match route.primary {
                Side::Old => (old, new),
                Side::New => (new, old),
            };
            return Ok(Planned { route, primary, mirror, refusal });
        }
    };
    let (position, marked) = flight.mark_within(key, within).await?;
    let route = route(position, Operation::Write, bucket);
    if route.primary != which {
        let within = marked.commit().await.map_err(|error| error.of(&flight.shared.name))?;
        let mirror = SideOf::Within(within).alone();
        return Ok(Planned { route, primary: other.alone(), mirror, refusal });
    }
    let rolled_back = Arc::new(AtomicBool::new(false));
    let is_rolled_back = Arc::clone(&rolled_back);
    let primary: SideCall<T, E> = Box::new(move || {
        Box::pin(async move {
            marked.write().await.map_err(|unwritten| match unwritten {
                Unwritten::RolledBack(error) => {
                    rolled_back.store(true, SeqCst);
                    error
                }
                Unwritten::Unknown(error) => error,
            })
        })
    });
    let judged: IsRefusal<E> = Box::new(move |error| {
        is_rolled_back.load(SeqCst) || refusal.as_ref().is_some_and(|is_refusal| is_refusal(error))
    });
    Ok(Planned { route, primary, mirror: other.alone(), refusal: Some(judged) })
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
