//! Plans a read: which side answers, whether the answer will be compared, whether a missing key would be copied.

use crate::call::lazy::decide::{before_all_is_copied, may_copy};
use crate::call::read::{Progress, Read};
use crate::call::repository::{Entry, Repository};
use crate::call::write::route::not_pinned;
use crate::copier::joined::Joined;
use crate::database::Backend;
use crate::error::Error;
use crate::key::{EncodedKey, Key};
use crate::shadow::sampling::is_sampled;
use crate::stages::bucket::Bucket;
use crate::stages::position::{Epoch, Percent, Position};
use crate::stages::route::{Operation, Route, route};
use crate::stages::stage::Side;
use crate::state::in_flight::Phase;
use crate::transaction::Tx;

/// A call that is counted as in flight until this is dropped, or kept by the read itself.
struct Entered<'r> {
    shared: &'r Joined,
    phase: Phase,
}

impl<'r> Entered<'r> {
    #[inline(always)]
    fn enter(shared: &'r Joined) -> Self {
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
/// `StageUnknown` past the lease, `Maintenance` where reads are closed, `WrongKey`.
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
    let entered = Entered::enter(shared);
    let position = shared.position();
    let is_known = shared.holds_lease(start, start) && shared.is_kind(K::KIND);
    let is_plain = position.ramp == Percent::ZERO
        && !position.closed.closes_reads()
        && (!method.lazy || shared.is_copied());
    let (route, key_to_copy) = if is_known && is_plain {
        (route(position, Operation::Read, Bucket::FIRST), None)
    } else {
        route_of_key(shared, method, start, position, key, ramp)?
    };
    let draw = match route.mirror.is_some() && shared.options.shadow_by_key {
        true => sampling_draw(shared, key),
        false => start,
    };
    let (compares, copies) = (is_compared(shared, method, route, draw), key_to_copy.is_some());
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
        primary: route.primary,
        compares,
        copies,
        progress: Progress::Begun,
        entered: Some(entered.keep()),
    })
}

/// Plans a read without a key.
///
/// # Errors
/// `StageUnknown` past the lease, `Maintenance` where reads are closed.
#[inline(always)]
pub fn scan(repository: &Repository, method: usize) -> Result<Read<'_>, Error> {
    let (shared, method) = (&**repository.shared(), repository.method(method));
    let start = shared.clock.ticks();
    let entered = Entered::enter(shared);
    let position = shared.position();
    shared.check_lease(start, start)?;
    shared.check_reads(position)?;
    let route = route_of_scan(shared, position);
    Ok(Read {
        repository,
        method,
        start,
        epoch: position.epoch,
        key: None,
        primary: route.primary,
        compares: is_compared(shared, method, route, start),
        copies: false,
        progress: Progress::Begun,
        entered: Some(entered.keep()),
    })
}

#[inline(always)]
fn is_compared(shared: &Joined, method: &Entry, route: Route, draw: u64) -> bool {
    route.mirror.is_some() && is_sampled(method.sample(shared), draw)
}

/// The same number for the same key, another one than its bucket's.
#[inline(never)]
fn sampling_draw<K: Key + ?Sized>(shared: &Joined, key: &K) -> u64 {
    key.hash(!shared.salt)
}

/// The key of a call that will be compared; without one that is too long to be stored.
#[inline(never)]
fn key_to_compare<K: Key + ?Sized>(key: &K) -> Option<Box<EncodedKey>> {
    EncodedKey::new(key).ok().map(Box::new)
}

/// Plans what needs the key, or is refused.
#[inline(never)]
fn route_of_key<K: Key + ?Sized, R: Key + ?Sized>(
    shared: &Joined,
    method: &Entry,
    start: u64,
    position: Position,
    key: &K,
    ramp: &R,
) -> Result<(Route, Option<Box<EncodedKey>>), Error> {
    shared.check_lease(start, start)?;
    shared.check_reads(position)?;
    shared.check_kind(K::KIND)?;
    Ok(with_key_to_copy(shared, method, route_in_bucket(shared, position, ramp)?, key))
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
    let route = route_in_bucket(shared, position, ramp)?;
    let (route, key) = with_key_to_copy(shared, repository.method(method), route, key);
    Ok(Read::pinned(repository, method, route, key))
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
    Ok(Read::pinned(repository, method, route_of_scan(shared, position), None))
}

/// Plans the read of one key in a unit of work: inside its transaction, and compared afterwards outside it, where
/// there is a pool to take another connection of.
///
/// # Errors
/// `NotPinned`, `WrongKey`.
pub fn read_within<'r, DB: Backend, K: Key + ?Sized, R: Key + ?Sized>(
    repository: &'r Repository,
    method: usize,
    tx: &Tx<'_, DB>,
    key: &K,
    ramp: &R,
) -> Result<Read<'r>, Error> {
    let (shared, entry) = (&**repository.shared(), repository.method(method));
    let position = tx.pinned(&shared.name).ok_or_else(|| not_pinned(shared))?;
    shared.check_kind(K::KIND)?;
    let route = route_in_bucket(shared, position, ramp)?;
    let (route, to_copy) = with_key_to_copy(shared, entry, route, key);
    let mut read = Read::pinned(repository, method, route, to_copy);
    let draw = match route.mirror.is_some() && shared.options.shadow_by_key {
        true => sampling_draw(shared, key),
        false => read.start,
    };
    if tx.has_pool() && is_compared(shared, entry, route, draw) {
        (read.compares, read.epoch) = (true, position.epoch);
        if !read.copies {
            read.key = key_to_compare(key);
        }
    }
    Ok(read)
}

/// The same without a key.
///
/// # Errors
/// `NotPinned`.
pub fn scan_within<'r, DB: Backend>(
    repository: &'r Repository,
    method: usize,
    tx: &Tx<'_, DB>,
) -> Result<Read<'r>, Error> {
    let (shared, entry) = (&**repository.shared(), repository.method(method));
    let position = tx.pinned(&shared.name).ok_or_else(|| not_pinned(shared))?;
    let route = route_of_scan(shared, position);
    let mut read = Read::pinned(repository, method, route, None);
    if tx.has_pool() && is_compared(shared, entry, route, read.start) {
        (read.compares, read.epoch) = (true, position.epoch);
    }
    Ok(read)
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
    let side = route_of_scan(shared, shared.position()).primary;
    Primary { side, _entered: entered }
}

#[inline]
fn route_in_bucket<R: Key + ?Sized>(
    shared: &Joined,
    position: Position,
    key: &R,
) -> Result<Route, Error> {
    // Without a ramp every bucket is in the same stage, and the hash can be spared.
    let bucket = match position.ramp == Percent::ZERO {
        true => Bucket::FIRST,
        false => shared.bucket(key).map_err(|error| error.of(&shared.name))?,
    };
    Ok(route(position, Operation::Read, bucket))
}

#[inline]
fn route_of_scan(shared: &Joined, position: Position) -> Route {
    let route = route(position, Operation::Scan, Bucket::FIRST);
    match shared.options.lazy && !shared.is_copied() {
        true => before_all_is_copied(route),
        false => route,
    }
}

/// The plan with the key to copy where new misses it. A key that is too long to be recorded cannot be copied: old
/// answers, as it does scans.
#[inline]
fn with_key_to_copy<K: Key + ?Sized>(
    shared: &Joined,
    method: &Entry,
    route: Route,
    key: &K,
) -> (Route, Option<Box<EncodedKey>>) {
    if !method.lazy || shared.is_copied() || !may_copy(route) {
        return (route, None);
    }
    match shared.encode(key) {
        Ok(key) => (route, Some(Box::new(key))),
        Err(_) => (before_all_is_copied(route), None),
    }
}

impl<'r> Read<'r> {
    /// Inside a transaction, which holds the fence.
    fn pinned(
        repository: &'r Repository,
        method: usize,
        route: Route,
        key: Option<Box<EncodedKey>>,
    ) -> Self {
        Self {
            repository,
            method: repository.method(method),
            start: repository.shared().clock.ticks(),
            epoch: Epoch(0), // of no use unless it is compared
            copies: key.is_some(),
            key,
            primary: route.primary,
            compares: false,
            progress: Progress::Begun,
            entered: None,
        }
    }
}
