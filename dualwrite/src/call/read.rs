//! Reads: route, time, and hand what was read to the shadow comparison or the lazy copy.
//!
//! The wrapper calls [`route::read`] or [`route::scan`], then asks the side that [`Read::side`] names through
//! [`Read::ask`], then calls one of the `finish_…` functions. Nothing here allocates unless a comparison or
//! a lazy copy is due. A [`Read`] that is dropped before it was finished counts: as failed where its side
//! panicked, else as abandoned.

pub(crate) mod route;
pub(crate) mod stream;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::call::lazy::decide::MaybeMissing;
use crate::call::lazy::run as lazy;
use crate::call::repository::{Entry, Repository};
use crate::call::shadow::run::Shadow;
use crate::compare::{Comparison, Pair};
use crate::database::Backend;
use crate::error::Error;
use crate::key::EncodedKey;
use crate::needs::Answered;
use crate::observe::outcome::Outcome;
use crate::shadow::report::ShadowCall;
use crate::shadow::{cohort, context};
use crate::stages::position::Epoch;
use crate::stages::stage::Side;
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

impl<'r> Read<'r> {
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
    pub fn wants_copy<T: MaybeMissing, E>(&self, answer: &Result<T, E>) -> bool {
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
    fn settle<T, E>(
        &mut self,
        answer: Result<T, E>,
        failed: impl FnOnce(Error) -> E,
    ) -> Result<T, E> {
        let shared = self.repository.shared();
        let end = shared.clock.ticks();
        let nanos = shared.clock.nanos(self.start, end);
        self.method.stats.side(self.primary).record(nanos, answer.is_ok());
        self.progress = Progress::Settled;
        if self.leave() {
            shared.check_lease(self.start, end).map_err(failed)?;
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

/// Ends a read that is neither compared nor copied. `failed` makes the caller's error of ours: the one place of a
/// method that asks whether that is possible, so that the compiler says it once.
///
/// # Errors
/// The answer's, or `StageUnknown` where the lease ran out meanwhile.
#[inline]
pub fn finish_plain<T, E>(
    call: &mut Read<'_>,
    answer: Result<T, E>,
    failed: impl FnOnce(Error) -> E,
) -> Result<T, E> {
    call.settle(answer, failed)
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
    failed: impl FnOnce(Error) -> E,
) -> Result<T, E>
where
    T: Answered,
    E: Send + 'static,
    F: Fn(Side) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
    C: Fn(Pair<'_, T, T>, &mut Comparison<'_>) + Send + Sync + 'static,
    N: Fn(&E) -> u64 + Send + Sync + 'static,
{
    let answer = call.settle(answer, failed);
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
pub fn copy_and_ask<'r, T, E, F, Fut, X>(
    mut call: Read<'r>,
    answer: Result<T, E>,
    again: Option<F>,
    failed: X,
) -> Pin<Box<impl Future<Output = Result<T, E>> + use<'r, T, E, F, Fut, X>>>
where
    F: Fn(Side) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    X: FnOnce(Error) -> E,
{
    Box::pin(async move {
        let (Some(key), Some(again)) = (call.key.take(), again) else {
            return call.settle(answer, failed);
        };
        call.progress = Progress::Waiting;
        let side = match lazy::copy(call.repository.shared(), &key).await {
            // Also where the copy was not allowed: new has got the key from somebody else since, and
            // answers alone now.
            Ok(_) => Side::New,
            Err(_) => Side::Old,
        };
        let answer = call.ask(pin!(again(side))).await;
        call.settle(answer, failed)
    })
}

/// Whether the hooks of the service want this comparison. One that panics counts as a comparison that panicked.
fn is_wanted(call: &Read<'_>, asked: &ShadowCall<'_>) -> bool {
    let shared = call.repository.shared();
    let wanted = catch_unwind(AssertUnwindSafe(|| shared.options.rules.hooks.want(asked)));
    wanted.unwrap_or_else(|_| {
        shared.count_compared(&call.method.stats, Outcome::Panicked);
        false
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
    let (label, context) = match shared.options.rules.asks_no_caller() {
        true => Default::default(),
        false => (cohort::label(), context::current()),
    };
    let asked = ShadowCall {
        method: &call.method.stats.name,
        key: key.as_deref().map(|key| key.0.as_str()),
        cohort: label.as_deref(),
        context: &context,
    };
    if !is_wanted(call, &asked) {
        return;
    }
    let shadow = Shadow {
        shared: Arc::clone(shared),
        method: Arc::clone(&call.method.stats),
        epoch: call.epoch,
        primary: call.primary,
        cohort: shared.cohort(),
        label,
        context,
        said: Mutex::default(),
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
