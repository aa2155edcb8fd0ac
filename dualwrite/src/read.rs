//! Reads: route, time, and hand what was read to the shadow comparison or the lazy copy.
//!
//! The wrapper calls [`read`] or [`scan`], then the side that [`Read::side`] names, then one of the
//! `finish_…` functions. Nothing here allocates unless a comparison or a lazy copy is due.

use std::sync::Arc;

use crate::backend::Backend;
use crate::bucket::Bucket;
use crate::error::Error;
use crate::in_flight::Entered;
use crate::key::{EncodedKey, Key};
use crate::lazy::decide::{Missing, before_all_is_copied, may_copy};
use crate::lazy::run as lazy;
use crate::position::{Epoch, Percent, Position};
use crate::repository::Repository;
use crate::route::{Operation, Plan, route};
use crate::shadow::decide::is_sampled;
use crate::shadow::run as shadow;
use crate::shared::Shared;
use crate::stage::Side;
use crate::transaction::Tx;
use crate::write::run::not_pinned;

/// One read under way.
pub struct Read<'r> {
    repository: &'r Repository,
    method: usize,
    /// The epoch of the position that it was planned by.
    epoch: Epoch,
    plan: Plan,
    /// Present where the answer will be compared.
    shadow: bool,
    /// Present where a missing answer would be copied.
    lazy: Option<EncodedKey>,
    start: u64,
    /// Reads outside a transaction hold back the acknowledgement of the next position.
    entered: Option<Entered<'r>>,
}

/// Plans the read of one key.
///
/// # Errors
/// `StageUnknown` past the lease, `WrongKey`.
#[inline]
pub fn read<'r, K: Key + ?Sized>(
    repository: &'r Repository,
    method: usize,
    key: &K,
) -> Result<Read<'r>, Error> {
    let shared = &**repository.shared();
    let start = shared.clock.now();
    let entered = shared.in_flight.enter();
    let position = shared.position();
    shared.check_lease(start, start)?;
    let plan = keyed(shared, position, key)?;
    let lazy = lazy_key(repository, method, plan, key)?;
    let shadow = plan.mirror.is_some() && is_sampled(shared.options.shadow_sample, start);
    let epoch = position.epoch;
    Ok(Read { repository, method, epoch, plan, shadow, lazy, start, entered: Some(entered) })
}

/// Plans a read without a key.
///
/// # Errors
/// `StageUnknown` past the lease.
#[inline]
pub fn scan(repository: &Repository, method: usize) -> Result<Read<'_>, Error> {
    let shared = &**repository.shared();
    let start = shared.clock.now();
    let entered = shared.in_flight.enter();
    let position = shared.position();
    let plan = scanned(shared, position);
    shared.check_lease(start, start)?;
    let shadow = plan.mirror.is_some() && is_sampled(shared.options.shadow_sample, start);
    let epoch = position.epoch;
    Ok(Read { repository, method, epoch, plan, shadow, lazy: None, start, entered: Some(entered) })
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
    let plan = keyed(shared, position, key)?;
    let lazy = lazy_key(repository, method, plan, key)?;
    let start = shared.clock.now();
    let epoch = position.epoch;
    Ok(Read { repository, method, epoch, plan, shadow: false, lazy, start, entered: None })
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
    let plan = scanned(shared, position);
    let start = shared.clock.now();
    let epoch = position.epoch;
    Ok(Read { repository, method, epoch, plan, shadow: false, lazy: None, start, entered: None })
}

#[inline]
fn keyed<K: Key + ?Sized>(shared: &Shared, position: Position, key: &K) -> Result<Plan, Error> {
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
fn scanned(shared: &Shared, position: Position) -> Plan {
    let plan = route(position, Operation::Scan, Bucket::FIRST);
    match shared.options.lazy && !shared.is_copied() {
        true => before_all_is_copied(plan),
        false => plan,
    }
}

#[inline]
fn lazy_key<K: Key + ?Sized>(
    repository: &Repository,
    method: usize,
    plan: Plan,
    key: &K,
) -> Result<Option<EncodedKey>, Error> {
    let shared = repository.shared();
    match repository.is_lazy(method) && !shared.is_copied() && may_copy(plan) {
        true => EncodedKey::new(key).map(Some).map_err(|error| error.of(&shared.name)),
        false => Ok(None),
    }
}

impl Read<'_> {
    /// The side to read.
    #[inline]
    #[must_use]
    pub fn side(&self) -> Side {
        self.plan.primary
    }

    /// Whether the arguments must be kept, because a side may have to be read again.
    #[inline]
    #[must_use]
    pub fn again(&self) -> bool {
        self.shadow || self.lazy.is_some()
    }

    /// Whether this answer is missing a key that a copy may bring.
    pub fn wants_copy<T: Missing, E>(&self, answer: &Result<T, E>) -> bool {
        self.lazy.is_some() && matches!(answer, Ok(value) if value.is_missing())
    }

    /// Copies the key inside the caller's transaction. Returns whether there was anything to copy.
    ///
    /// # Errors
    /// `CopyFailed`; the transaction goes on as it was.
    pub async fn copy_in<DB: Backend>(&self, tx: &mut Tx<'_, DB>) -> Result<bool, Error> {
        match &self.lazy {
            Some(key) => lazy::copy_in(self.repository.shared(), tx, key).await,
            None => Ok(false),
        }
    }

    /// Times the call, ends it, and makes sure that the stage still held when it ended.
    #[inline]
    fn settle<T, E: From<Error>>(&mut self, answer: Result<T, E>) -> Result<T, E> {
        let shared = self.repository.shared();
        let end = shared.clock.now();
        let nanos = end.saturating_sub(self.start);
        self.repository.method(self.method).side(self.plan.primary).record(nanos, answer.is_ok());
        if self.entered.take().is_some() {
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
pub fn finish_plain<T, E: From<Error>>(mut call: Read<'_>, answer: Result<T, E>) -> Result<T, E> {
    call.settle(answer)
}

/// Ends a read that may be compared.
///
/// # Errors
/// The answer's, or `StageUnknown` where the lease ran out meanwhile.
#[inline]
pub async fn finish_read<T, E, F, Fut>(
    mut call: Read<'_>,
    answer: Result<T, E>,
    again: Option<F>,
) -> Result<T, E>
where
    T: PartialEq + Clone + Send + Sync + 'static,
    E: From<Error> + Send + 'static,
    F: Fn(Side) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
{
    let answer = call.settle(answer);
    if let (true, Some(again)) = (call.shadow, again) {
        compare(&call, &answer, again);
    }
    answer
}

/// Ends a scan that may be compared.
///
/// # Errors
/// The answer's, or `StageUnknown` where the lease ran out meanwhile.
#[inline]
pub async fn finish_scan<T, E, F, Fut>(
    call: Read<'_>,
    answer: Result<T, E>,
    again: Option<F>,
) -> Result<T, E>
where
    T: PartialEq + Clone + Send + Sync + 'static,
    E: From<Error> + Send + 'static,
    F: Fn(Side) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
{
    finish_read(call, answer, again).await
}

/// Ends a read that may be compared, and copies the key where new misses it.
///
/// # Errors
/// The answer's, or `StageUnknown` where the lease ran out meanwhile.
#[inline]
pub async fn finish_lazy<T, E, F, Fut>(
    mut call: Read<'_>,
    answer: Result<T, E>,
    again: Option<F>,
) -> Result<T, E>
where
    T: Missing + PartialEq + Clone + Send + Sync + 'static,
    E: From<Error> + Send + 'static,
    F: Fn(Side) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
{
    if call.wants_copy(&answer)
        && let (Some(key), Some(again)) = (call.lazy.take(), &again)
    {
        // In flight until the last answer: as long as this call is, no stage is entered in which a side
        // lacks a write.
        let answer = match lazy::copy(call.repository.shared(), &key).await {
            // Also where the copy was not allowed: new has got the key from somebody else since, and
            // answers alone now.
            Ok(_) => again(Side::New).await,
            Err(_) => again(Side::Old).await,
        };
        return call.settle(answer);
    }
    let answer = call.settle(answer);
    let Some(again) = again else { return answer };
    if call.shadow {
        compare(&call, &answer, again);
    }
    answer
}

fn compare<T, E, F, Fut>(call: &Read<'_>, answer: &Result<T, E>, again: F)
where
    T: PartialEq + Clone + Send + Sync + 'static,
    E: Send + 'static,
    F: Fn(Side) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
{
    let shared = Arc::clone(call.repository.shared());
    let method = Arc::clone(call.repository.method_arc(call.method));
    shadow::start(shared, method, call.epoch, call.plan.primary, answer.as_ref().ok(), again);
}
