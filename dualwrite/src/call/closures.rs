//! Calls without a repository trait: closures for the two sides of one read, or of one write. They pass what the
//! calls of a wrapper pass; see [`read`] and [`write`].

pub(crate) mod converging;
pub(crate) mod own_store;
pub(crate) mod read;
pub(crate) mod write;

use crate::call::lazy::decide::MaybeMissing;
use crate::call::read::Read;
use crate::compare::{Compare, Comparison, Pair, by_fields};

/// The wrapper of calls that have none, in the names of methods: `call::find_customer`.
pub(crate) const REPOSITORY: &str = "call";

/// How the answers of the two sides are compared.
pub trait Comparer<T>: Send + Sync + 'static {
    /// Reports what differs.
    fn compare(&self, pair: Pair<'_, T, T>, at: &mut Comparison<'_>);
}

/// As a whole, by `PartialEq`.
#[derive(Clone, Copy, Debug)]
pub struct ByEquality;

impl<T: PartialEq> Comparer<T> for ByEquality {
    fn compare(&self, pair: Pair<'_, T, T>, at: &mut Comparison<'_>) {
        pair.judged(|old, new| old == new, at);
    }
}

/// Field by field.
#[derive(Clone, Copy, Debug)]
pub struct ByFields;

impl<T: Compare> Comparer<T> for ByFields {
    fn compare(&self, pair: Pair<'_, T, T>, at: &mut Comparison<'_>) {
        by_fields(pair, at);
    }
}

/// By a function of the user.
#[derive(Clone, Copy, Debug)]
pub struct By<F>(F);

impl<T, F: Fn(&T, &T) -> bool + Send + Sync + 'static> Comparer<T> for By<F> {
    fn compare(&self, pair: Pair<'_, T, T>, at: &mut Comparison<'_>) {
        pair.judged(&self.0, at);
    }
}

/// Not at all.
#[derive(Clone, Copy, Debug)]
pub struct Uncompared;

impl<T> Comparer<T> for Uncompared {
    fn compare(&self, _: Pair<'_, T, T>, _: &mut Comparison<'_>) {}
}

/// Whether a key that the new side misses is copied when it is read.
pub trait Copying<T> {
    /// Whether this answer asks for a copy.
    fn wants_copy<E>(call: &Read<'_>, answer: &Result<T, E>) -> bool;
}

/// It is.
#[derive(Clone, Copy, Debug)]
pub struct Lazy;

impl<T: MaybeMissing> Copying<T> for Lazy {
    fn wants_copy<E>(call: &Read<'_>, answer: &Result<T, E>) -> bool {
        call.wants_copy(answer)
    }
}

/// It is not.
#[derive(Clone, Copy, Debug)]
pub struct Eager;

impl<T> Copying<T> for Eager {
    fn wants_copy<E>(_: &Read<'_>, _: &Result<T, E>) -> bool {
        false
    }
}
