//! Reads: route, time, and hand what was read to the shadow comparison or the lazy copy.
//!
//! The wrapper calls [`read`] or [`scan`], then the side that [`Read::side`] names, then one of the
//! `finish_…` functions. Nothing here allocates unless a comparison or a lazy copy is due.

use std::pin::Pin;
use std::sync::Arc;

use crate::call::lazy::decide::{Missing, before_all_is_copied, may_copy};
use crate::call::lazy::run as lazy;
use crate::call::repository::{Entry, Repository};
use crate::call::shadow::run::Shadow;
use crate::call::write::plan::not_pinned;
use crate::compare::{Comparison, Pair};
use crate::database::Backend;
use crate::error::Error;
use crate::key::{EncodedKey, Key};
use crate::needs::{Answered, Failure};
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
    shadow: bool,
    /// Whether a missing answer would be copied.
    copies: bool,
    /// Reads outside a transaction hold back the acknowledgement of the next position.
    entered: Option<Phase>,
}

impl Drop for Read<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.leave();
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
    read_by(repository, method, key, key)
}

/// The same, where the ramp is followed by something else than the key of the record.
///
/// # Errors
/// As [`read`].
#[inline(always)]
pub fn read_by<'r, K: Key + ?Sized, R: Key + ?Sized>(
    repository: &'r Repository,
    method: usize,
    key: &K,
    ramp: &R,
) -> Result<Read<'r>, Error> {
    let (shared, method) = (&**repository.shared(), repository.method(method));
    let start = shared.clock.ticks();
    let phase = shared.in_flight.enter();
    let position = shared.position();
    // Nothing of the user's runs before the guard is made, unless there is another one: it might panic.
    let is_known = shared.holds_lease(start, start) && shared.is_kind(K::KIND);
    let is_plain = position.ramp == Percent::ZERO && (!method.lazy || shared.is_copied());
    let (plan, lazy) = if is_known && is_plain {
        (route(position, Operation::Read, Bucket::FIRST), None)
    } else {
        by_key(Flying { shared, phase }, method, start, position, key, ramp)?
    };
    let draw = match plan.mirror.is_some() && shared.options.shadow_by_key {
        true => drawn(Flying { shared, phase }, key),
        false => start,
    };
    let (shadow, copies) = (is_shadowed(shared, method, plan, draw), lazy.is_some());
    let key = match shadow && !copies {
        true => noted(Flying { shared, phase }, key),
        false => lazy,
    };
    Ok(Read::begun(repository, method, start, phase, position, plan, key, copies, shadow))
}

/// Plans a read without a key.
///
/// # Errors
/// `StageUnknown` past the lease.
#[inline(always)]
pub fn scan(repository: &Repository, method: usize) -> Result<Read<'_>, Error> {
    let (shared, method) = (&**repository.shared(), repository.method(method));
    let start = shared.clock.ticks();
    let phase = shared.in_flight.enter();
    let position = shared.position();
    if !shared.holds_lease(start, start) {
        drop(Flying { shared, phase });
        return Err(shared.stage_unknown());
    }
    let plan = scanned(shared, position);
    let shadow = is_shadowed(shared, method, plan, start);
    Ok(Read::begun(repository, method, start, phase, position, plan, None, false, shadow))
}

#[inline(always)]
fn is_shadowed(shared: &Shared, method: &Entry, plan: Plan, draw: u64) -> bool {
    plan.mirror.is_some() && is_sampled(method.sample(shared), draw)
}

/// The same number for the same key, another one than its bucket's.
#[inline(never)]
fn drawn<K: Key + ?Sized>(flying: Flying<'_>, key: &K) -> u64 {
    let draw = key.hash(!flying.shared.salt);
    std::mem::forget(flying);
    draw
}

/// The key of a call that will be compared; without one that is too long to be stored.
#[inline(never)]
fn noted<K: Key + ?Sized>(flying: Flying<'_>, key: &K) -> Option<Box<EncodedKey>> {
    let key = EncodedKey::new(key).ok().map(Box::new);
    std::mem::forget(flying);
    key
}

/// Counts a call out, unless it goes on.
struct Flying<'r> {
    shared: &'r Shared,
    phase: Phase,
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.shared.in_flight.leave(self.phase);
    }
}

/// What needs the key, or is refused.
#[inline(never)]
fn by_key<K: Key + ?Sized, R: Key + ?Sized>(
    flying: Flying<'_>,
    method: &Entry,
    start: u64,
    position: Position,
    key: &K,
    ramp: &R,
) -> Result<(Plan, Option<Box<EncodedKey>>), Error> {
    let shared = flying.shared;
    shared.check_lease(start, start)?;
    shared.check_kind(K::KIND)?;
    let plan = keyed(shared, position, ramp)?;
    let lazy = lazy_key(shared, method, plan, key)?;
    std::mem::forget(flying);
    Ok((plan, lazy))
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
    read_in_by(repository, method, tx, key, key)
}

/// The same, where the ramp is followed by something else than the key of the record.
///
/// # Errors
/// As [`read_in`].
pub fn read_in_by<'r, DB: Backend, K: Key + ?Sized, R: Key + ?Sized>(
    repository: &'r Repository,
    method: usize,
    tx: &Tx<'_, DB>,
    key: &K,
    ramp: &R,
) -> Result<Read<'r>, Error> {
    let shared = &**repository.shared();
    let position = tx.pinned(&shared.name).ok_or_else(|| not_pinned(shared))?;
    shared.check_kind(K::KIND)?;
    let plan = keyed(shared, position, ramp)?;
    let lazy = lazy_key(shared, repository.method(method), plan, key)?;
    Ok(Read::pinned(repository, method, plan, lazy))
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
    Ok(Read::pinned(repository, method, scanned(shared, position), None))
}

/// A call that neither reads nor writes, under way.
pub struct Primary<'r> {
    side: Side,
    shared: &'r Shared,
    /// It may look at data all the same, so the next position waits for it as for a read.
    entered: Phase,
}

impl Drop for Primary<'_> {
    fn drop(&mut self) {
        self.shared.in_flight.leave(self.entered);
    }
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
    let entered = shared.in_flight.enter();
    let side = scanned(shared, shared.position()).primary;
    Primary { side, shared, entered }
}

#[inline]
fn keyed<R: Key + ?Sized>(shared: &Shared, position: Position, key: &R) -> Result<Plan, Error> {
    // Without a ramp every bucket is in the same stage, and the hash can be spared.
    let bucket = match position.ramp == Percent::ZERO {
        true => Bucket::FIRST,
        false => shared.bucket(key).map_err(|error| error.of(&shared.name))?,
    };
    Ok(route(position, Operation::Read, bucket))
}

#[inline]
fn scanned(shared: &Shared, position: Position) -> Plan {
    let plan = route(position, Operation::Scan, Bucket::FIRST);
    match shared.options.lazy && !shared.is_copied() {
        true => before_all_is_copied(plan),
        false => plan,
    }
}

#[inline]
fn lazy_key<K: Key + ?Sized>(
    shared: &Shared,
    method: &Entry,
    plan: Plan,
    key: &K,
) -> Result<Option<Box<EncodedKey>>, Error> {
    match method.lazy && !shared.is_copied() && may_copy(plan) {
        true => {
            let key = shared.encode(key).map_err(|error| error.of(&shared.name))?;
            Ok(Some(Box::new(key)))
        }
        false => Ok(None),
    }
}

impl<'r> Read<'r> {
    /// Outside a transaction.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "it is built in one expression, without a copy")]
    fn begun(
        repository: &'r Repository,
        method: &'r Entry,
        start: u64,
        phase: Phase,
        position: Position,
        plan: Plan,
        key: Option<Box<EncodedKey>>,
        copies: bool,
        shadow: bool,
    ) -> Self {
        let (epoch, primary, entered) = (position.epoch, plan.primary, Some(phase));
        Self { repository, method, start, epoch, key, primary, shadow, copies, entered }
    }

    /// Inside a transaction, which holds the fence.
    fn pinned(
        repository: &'r Repository,
        method: usize,
        plan: Plan,
        key: Option<Box<EncodedKey>>,
    ) -> Self {
        let (method, start) = (repository.method(method), repository.shared().clock.ticks());
        let (epoch, primary) = (Epoch(0), plan.primary); // it is never compared
        let copies = key.is_some();
        Self {
            repository,
            method,
            start,
            epoch,
            key,
            primary,
            shadow: false,
            copies,
            entered: None,
        }
    }

    #[inline(always)]
    fn leave(&mut self) -> bool {
        let entered = self.entered.take();
        if let Some(phase) = entered {
            self.repository.shared().in_flight.leave(phase);
        }
        entered.is_some()
    }

    /// The side to read.
    #[inline]
    #[must_use]
    pub fn side(&self) -> Side {
        self.primary
    }

    /// Whether the arguments must be kept, because a side may have to be read again.
    #[inline]
    #[must_use]
    pub fn again(&self) -> bool {
        self.shadow || self.copies
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
        &self,
        tx: &mut Tx<'_, DB>,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        let key = self.key.as_deref();
        async move {
            match key {
                Some(key) => lazy::copy_in(self.repository.shared(), tx, key).await,
                None => Ok(false),
            }
        }
    }

    /// Times the call, ends it, and makes sure that the stage still held when it ended.
    #[inline(always)]
    fn settle<T, E: From<Error>>(&mut self, answer: Result<T, E>) -> Result<T, E> {
        let shared = self.repository.shared();
        let end = shared.clock.ticks();
        let nanos = shared.clock.nanos(self.start, end);
        self.method.stats.side(self.primary).record(nanos, answer.is_ok());
        if self.leave() {
            shared.check_lease(self.start, end)?;
        }
        answer
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
    if let (true, Some(again)) = (call.shadow, again) {
        shadow(call, &answer, again, compare, fingerprint);
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
        let answer = match lazy::copy(call.repository.shared(), &key).await {
            // Also where the copy was not allowed: new has got the key from somebody else since, and
            // answers alone now.
            Ok(_) => again(Side::New).await,
            Err(_) => again(Side::Old).await,
        };
        call.settle(answer)
    })
}

#[inline(never)]
fn shadow<T, E, F, Fut, C, N>(
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
    let asked = Shadow {
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
    asked.start(answer);
}
