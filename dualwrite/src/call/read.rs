//! Reads: route, time, and hand what was read to the shadow comparison or the lazy copy.
//!
//! The wrapper calls [`read`] or [`scan`], then asks the side that [`Read::side`] names through
//! [`Read::ask`], then calls one of the `finish_…` functions. Nothing here allocates unless a comparison or
//! a lazy copy is due. A [`Read`] that is dropped before it was finished counts: as failed where its side
//! panicked, else as abandoned.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::call::lazy::decide::{Missing, before_all_is_copied, may_copy};
use crate::call::lazy::run as lazy;
use crate::call::repository::{Entry, Repository};
use crate::call::shadow::run::Shadow;
use crate::call::write::run::not_pinned;
use crate::compare::{Comparison, Pair};
use crate::database::Backend;
use crate::error::Error;
use crate::key::{EncodedKey, Key};
use crate::needs::{Answered, Failure};
use crate::observe::outcome::Outcome;
use crate::shadow::sampling::is_sampled;
use crate::stages::bucket::Bucket;
use crate::stages::position::{Epoch, Percent, Position};
use crate::stages::route::{Operation, Plan, route};
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::state::in_flight::Phase;
use crate::transaction::Tx;

/// One read under way. Small, because every call moves it in and out of its future.
pub struct Read<'r> {
    repository: &'r Repository,
    method: &'r Entry,
    /// In ticks.
    start: u64,
    /// The epoch of the position that it was planned by.
    epoch: Epoch,
    /// Present where a missing answer would be copied, or where it will be compared.
    key: Option<Box<EncodedKey>>,
    /// The side that answers.
    primary: Side,
    /// Whether the answer will be compared.
    compares: bool,
    /// Whether a missing answer would be copied.
    copies: bool,
    progress: Progress,
    /// Reads outside a transaction hold back the acknowledgement of the next position.
    entered: Option<Phase>,
}

/// How far a read has come: what its drop means.
#[derive(Clone, Copy, PartialEq)]
enum Progress {
    /// No side has been polled yet.
    Begun,
    /// The code of a side runs: whoever panics now is that side.
    Polled,
    /// A side, or a lazy copy, is waited for.
    Waiting,
    /// The side has answered.
    Answered,
    /// It has been counted.
    Settled,
}

impl Drop for Read<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.progress != Progress::Settled {
            self.count_unfinished();
            self.leave();
        }
    }
}

/// A call that is counted as in flight until this is dropped, or kept by the read itself.
struct Entered<'r> {
    shared: &'r Shared,
    phase: Phase,
}

impl<'r> Entered<'r> {
    #[inline(always)]
    fn enter(shared: &'r Shared) -> Self {
        Self { shared, phase: shared.in_flight.enter() }
    }

    /// The read leaves by itself.
    #[inline(always)]
    fn keep(self) -> Phase {
        let phase = self.phase;
        std::mem::forget(self);
        phase
    }
}

impl Drop for Entered<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.shared.in_flight.leave(self.phase);
    }
}

/// Plans the read of one key.
///
/// # Errors
/// `StageUnknown` past the lease, `WrongKey`.
#[inline(always)]
pub fn read<'r, K: Key + ?Sized>(
    repository: &'r Repository,
    method: usize,
    key: &K,
) -> Result<Read<'r>, Error> {
    let (shared, method) = (&**repository.shared(), repository.method(method));
    let start = shared.clock.ticks();
    let entered = Entered::enter(shared);
    let position = shared.position();
    let is_known = shared.holds_lease(start, start) && shared.is_kind(K::KIND);
    let is_plain = position.ramp == Percent::ZERO && (!method.lazy || shared.is_copied());
    let (plan, key_to_copy) = if is_known && is_plain {
        (route(position, Operation::Read, Bucket::FIRST), None)
    } else {
        plan_of_key(shared, method, start, position, key)?
    };
    let draw = match plan.mirror.is_some() && shared.options.shadow_by_key {
        true => sampling_draw(shared, key),
        false => start,
    };
    let (compares, copies) = (is_compared(shared, method, plan, draw), key_to_copy.is_some());
    let key = match compares && !copies {
        true => key_to_compare(key),
        false => key_to_copy,
    };
    Ok(Read {
        repository,
        method,
        start,
        epoch: position.epoch,
        key,
        primary: plan.primary,
        compares,
        copies,
        progress: Progress::Begun,
        entered: Some(entered.keep()),
    })
}

/// Plans a read without a key.
///
/// # Errors
/// `StageUnknown` past the lease.
#[inline(always)]
pub fn scan(repository: &Repository, method: usize) -> Result<Read<'_>, Error> {
    let (shared, method) = (&**repository.shared(), repository.method(method));
    let start = shared.clock.ticks();
    let entered = Entered::enter(shared);
    let position = shared.position();
    shared.check_lease(start, start)?;
    let plan = plan_of_scan(shared, position);
    Ok(Read {
        repository,
        method,
        start,
        epoch: position.epoch,
        key: None,
        primary: plan.primary,
        compares: is_compared(shared, method, plan, start),
        copies: false,
        progress: Progress::Begun,
        entered: Some(entered.keep()),
    })
}

#[inline(always)]
fn is_compared(shared: &Shared, method: &Entry, plan: Plan, draw: u64) -> bool {
    plan.mirror.is_some() && is_sampled(method.sample(shared), draw)
}

/// The same number for the same key, another one than its bucket's.
#[inline(never)]
fn sampling_draw<K: Key + ?Sized>(shared: &Shared, key: &K) -> u64 {
    key.hash(!shared.salt)
}

/// The key of a call that will be compared; without one that is too long to be stored.
#[inline(never)]
fn key_to_compare<K: Key + ?Sized>(key: &K) -> Option<Box<EncodedKey>> {
    EncodedKey::new(key).ok().map(Box::new)
}

/// Plans what needs the key, or is refused.
#[inline(never)]
fn plan_of_key<K: Key + ?Sized>(
    shared: &Shared,
    method: &Entry,
    start: u64,
    position: Position,
    key: &K,
) -> Result<(Plan, Option<Box<EncodedKey>>), Error> {
    shared.check_lease(start, start)?;
    let plan = plan_in_bucket(shared, position, key)?;
    let key_to_copy = key_to_copy(shared, method, plan, key)?;
    Ok((plan, key_to_copy))
}

/// Plans the read of one key inside a transaction: by the position that it pins, never compared.
///
/// # Errors
/// `NotPinned`, `WrongKey`.
pub fn read_in<'r, DB: Backend, K: Key + ?Sized>(
    repository: &'r Repository,
    method: usize,
    tx: &Tx<'_, DB>,
    key: &K,
) -> Result<Read<'r>, Error> {
    let shared = &**repository.shared();
    let position = tx.pinned(&shared.name).ok_or_else(|| not_pinned(shared))?;
    let plan = plan_in_bucket(shared, position, key)?;
    let key = key_to_copy(shared, repository.method(method), plan, key)?;
    Ok(Read::pinned(repository, method, plan, key))
}

/// Plans a read without a key inside a transaction.
///
/// # Errors
/// `NotPinned`.
pub fn scan_in<'r, DB: Backend>(
    repository: &'r Repository,
    method: usize,
    tx: &Tx<'_, DB>,
) -> Result<Read<'r>, Error> {
    let shared = &**repository.shared();
    let position = tx.pinned(&shared.name).ok_or_else(|| not_pinned(shared))?;
    Ok(Read::pinned(repository, method, plan_of_scan(shared, position), None))
}

/// A call that neither reads nor writes, under way.
pub struct Primary<'r> {
    side: Side,
    /// It may look at data all the same, so the next position waits for it as for a read.
    _entered: Entered<'r>,
}

impl Primary<'_> {
    /// The side that answers.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }
}

/// Plans a call that neither reads nor writes: it goes where scans go, by the position last known.
pub fn primary(repository: &Repository) -> Primary<'_> {
    let shared = repository.shared();
    let entered = Entered::enter(shared);
    let side = plan_of_scan(shared, shared.position()).primary;
    Primary { side, _entered: entered }
}

#[inline]
fn plan_in_bucket<K: Key + ?Sized>(
    shared: &Shared,
    position: Position,
    key: &K,
) -> Result<Plan, Error> {
    shared.check_kind(K::KIND)?;
    // Without a ramp every bucket is in the same stage, and the hash can be spared.
    let bucket = match position.ramp == Percent::ZERO {
        true => Bucket::FIRST,
        false => {
            shared.options.rule.bucket(key, shared.salt).map_err(|error| error.of(&shared.name))?
        }
    };
    Ok(route(position, Operation::Read, bucket))
}

#[inline]
fn plan_of_scan(shared: &Shared, position: Position) -> Plan {
    let plan = route(position, Operation::Scan, Bucket::FIRST);
    match shared.options.lazy && !shared.is_copied() {
        true => before_all_is_copied(plan),
        false => plan,
    }
}

#[inline]
fn key_to_copy<K: Key + ?Sized>(
    shared: &Shared,
    method: &Entry,
    plan: Plan,
    key: &K,
) -> Result<Option<Box<EncodedKey>>, Error> {
    match method.lazy && !shared.is_copied() && may_copy(plan) {
        true => {
            let key = EncodedKey::new(key).map_err(|error| error.of(&shared.name))?;
            Ok(Some(Box::new(key)))
        }
        false => Ok(None),
    }
}

impl<'r> Read<'r> {
    /// Inside a transaction, which holds the fence.
    fn pinned(
        repository: &'r Repository,
        method: usize,
        plan: Plan,
        key: Option<Box<EncodedKey>>,
    ) -> Self {
        Self {
            repository,
            method: repository.method(method),
            start: repository.shared().clock.ticks(),
            epoch: Epoch(0), // it is never compared
            copies: key.is_some(),
            key,
            primary: plan.primary,
            compares: false,
            progress: Progress::Begun,
            entered: None,
        }
    }

    /// The side to read.
    #[inline]
    #[must_use]
    pub fn side(&self) -> Side {
        self.primary
    }

    /// Asks a side. Generated code says `call.ask(pin!(…)).await`: so the future of the side lies where
    /// it would lie without this.
    #[inline(always)]
    pub fn ask<'a, F: Future>(&'a mut self, side: Pin<&'a mut F>) -> Asking<'a, 'r, F> {
        Asking { call: self, side }
    }

    /// What is needed to ask again, where a side may have to be: copies of the arguments. Where one
    /// panics in `Clone`, the answer is not compared, and the caller does not notice.
    #[inline]
    pub fn kept<F>(&mut self, keep: impl FnOnce() -> F) -> Option<F> {
        match (self.compares, self.copies) {
            (false, false) => None,
            // A copy that is made must be read, so here the call cannot go on without.
            (_, true) => Some(keep()),
            (true, false) => self.kept_to_compare(keep),
        }
    }

    #[inline(never)]
    fn kept_to_compare<F>(&mut self, keep: impl FnOnce() -> F) -> Option<F> {
        let kept = catch_unwind(AssertUnwindSafe(keep)).ok();
        if kept.is_none() {
            let shared = self.repository.shared();
            shared.count_compared(&self.method.stats, Outcome::Panicked);
        }
        kept
    }

    /// Whether this answer is missing a key that a copy may bring.
    pub fn wants_copy<T: Missing, E>(&self, answer: &Result<T, E>) -> bool {
        self.copies && matches!(answer, Ok(value) if value.is_missing())
    }

    /// Copies the key inside the caller's transaction. Returns whether there was anything to copy.
    ///
    /// # Errors
    /// `CopyFailed`; the transaction goes on as it was.
    pub fn copy_in<DB: Backend>(
        &mut self,
        tx: &mut Tx<'_, DB>,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        let key = self.key.take();
        self.progress = Progress::Waiting;
        async move {
            let copied = match key {
                Some(key) => lazy::copy_in(self.repository.shared(), tx, &key).await,
                None => Ok(false),
            };
            self.progress = Progress::Answered;
            copied
        }
    }

    /// Times the call, ends it, and makes sure that the stage still held when it ended.
    #[inline(always)]
    fn settle<T, E: From<Error>>(&mut self, answer: Result<T, E>) -> Result<T, E> {
        let shared = self.repository.shared();
        let end = shared.clock.ticks();
        let nanos = shared.clock.nanos(self.start, end);
        self.method.stats.side(self.primary).record(nanos, answer.is_ok());
        self.progress = Progress::Settled;
        if self.leave() {
            shared.check_lease(self.start, end)?;
        }
        answer
    }

    /// Ends being in flight. Returns whether it was.
    #[inline(always)]
    fn leave(&mut self) -> bool {
        let entered = self.entered.take();
        if let Some(phase) = entered {
            self.repository.shared().in_flight.leave(phase);
        }
        entered.is_some()
    }

    /// A call that its side left by a panic has failed, and so has one that we could not bring to its end.
    /// Whoever drops a call that waits has given it up.
    #[cold]
    fn count_unfinished(&self) {
        let clock = &self.repository.shared().clock;
        let nanos = clock.nanos(self.start, clock.ticks());
        let side = self.method.stats.side(self.primary);
        match self.progress {
            Progress::Waiting => side.record_abandoned(nanos),
            Progress::Begun if !std::thread::panicking() => side.record_abandoned(nanos),
            _ => side.record(nanos, false),
        }
    }
}

/// A side that is being asked.
pub struct Asking<'a, 'r, F> {
    call: &'a mut Read<'r>,
    side: Pin<&'a mut F>,
}

impl<F: Future> Future for Asking<'_, '_, F> {
    type Output = F::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        this.call.progress = Progress::Polled;
        let polled = this.side.as_mut().poll(context);
        this.call.progress = match polled {
            Poll::Ready(_) => Progress::Answered,
            Poll::Pending => Progress::Waiting,
        };
        polled
    }
}

/// Ends a read that is neither compared nor copied.
///
/// # Errors
/// The answer's, or `StageUnknown` where the lease ran out meanwhile.
#[inline]
pub fn finish_plain<T, E: Failure>(call: &mut Read<'_>, answer: Result<T, E>) -> Result<T, E> {
    call.settle(answer)
}

/// Ends a read that may be compared, in the way given.
///
/// # Errors
/// The answer's, or `StageUnknown` where the lease ran out meanwhile.
#[inline]
pub fn finish_read<T, E, F, Fut, C, N>(
    call: &mut Read<'_>,
    answer: Result<T, E>,
    again: Option<F>,
    compare: C,
    fingerprint: N,
) -> Result<T, E>
where
    T: Answered,
    E: Failure + Send + 'static,
    F: Fn(Side) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
    C: Fn(Pair<'_, T, T>, &mut Comparison<'_>) + Send + Sync + 'static,
    N: Fn(&E) -> u64 + Send + Sync + 'static,
{
    let answer = call.settle(answer);
    if let (true, Some(again)) = (call.compares, again) {
        start_shadow(call, &answer, again, compare, fingerprint);
    }
    answer
}

/// Compares two answers by a function of the user.
#[inline]
pub fn compare_by<T>(
    is_same: impl Fn(&T, &T) -> bool,
    pair: Pair<'_, T, T>,
    at: &mut Comparison<'_>,
) {
    pair.judged(is_same, at);
}

/// Copies the key that new misses, reads again, and ends the read. It is in flight until the last
/// answer: as long as it is, no stage is entered in which a side lacks a write. Boxed, so that reads
/// that copy nothing do not carry it.
///
/// # Errors
/// Those of the side that is read again, or `StageUnknown` where the lease ran out meanwhile.
#[cold]
pub fn copy_and_ask<'r, T, E, F, Fut>(
    mut call: Read<'r>,
    answer: Result<T, E>,
    again: Option<F>,
) -> Pin<Box<impl Future<Output = Result<T, E>> + use<'r, T, E, F, Fut>>>
where
    E: Failure,
    F: Fn(Side) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    Box::pin(async move {
        let (Some(key), Some(again)) = (call.key.take(), again) else {
            return call.settle(answer);
        };
        call.progress = Progress::Waiting;
        let side = match lazy::copy(call.repository.shared(), &key).await {
            // Also where the copy was not allowed: new has got the key from somebody else since, and
            // answers alone now.
            Ok(_) => Side::New,
            Err(_) => Side::Old,
        };
        let answer = call.ask(pin!(again(side))).await;
        call.settle(answer)
    })
}

#[inline(never)]
fn start_shadow<T, E, F, Fut, C, N>(
    call: &mut Read<'_>,
    answer: &Result<T, E>,
    again: F,
    compare: C,
    fingerprint: N,
) where
    T: Answered,
    E: Send + 'static,
    F: Fn(Side) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
    C: Fn(Pair<'_, T, T>, &mut Comparison<'_>) + Send + Sync + 'static,
    N: Fn(&E) -> u64 + Send + Sync + 'static,
{
    let key = call.key.take();
    let shared = call.repository.shared();
    let shadow = Shadow {
        shared: Arc::clone(shared),
        method: Arc::clone(&call.method.stats),
        epoch: call.epoch,
        primary: call.primary,
        cohort: shared.cohort(),
        key,
        limit: call.method.timeout(shared),
        again,
        compare,
        fingerprint,
    };
    // Whatever of the user's runs here (`Clone`, and `Drop` of what is not needed), the caller has its answer.
    if catch_unwind(AssertUnwindSafe(|| shadow.start(answer))).is_err() {
        shared.count_compared(&call.method.stats, Outcome::Panicked);
    }
}
