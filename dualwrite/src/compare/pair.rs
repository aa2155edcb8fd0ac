//! Two values, one of which may be absent, and the choice of how to compare them: field by field where
//! [`Compare`] is there, else as a whole by `PartialEq`.
//!
//! The choice is for generated code, which knows concrete types: a method call on a reference to a
//! reference takes the first of [`ByFields`], [`ByEquality`] and [`ByNothing`] whose requirements hold,
//! because each is implemented for one reference less than the one before. A function that is generic
//! over the type cannot choose like that.
//!
//! ```
//! use dualwrite::__private::{ByEquality as _, ByFields as _, ByNothing as _, Pair};
//!
//! #[derive(PartialEq)]
//! struct Foreign(u8);
//!
//! let compare = |pair: Pair<'_, Foreign, Foreign>, at: &mut dualwrite::Comparison<'_>| {
//!     (&&&pair).compare_or_eq(at)
//! };
//! assert!(!Pair::of(&Foreign(1), &Foreign(1)).differ(compare));
//! assert_eq!(Pair::of(&Foreign(1), &Foreign(2)).differences(compare).to_string(), "different");
//! ```

use std::fmt::{self, Debug};

use super::{Compare, Comparison, Differences};

/// What old has and what new has; at least one of them has something.
pub struct Pair<'p, Old: ?Sized, New: ?Sized> {
    pub(super) old: Option<&'p Old>,
    pub(super) new: Option<&'p New>,
}

impl<'p, Old: ?Sized, New: ?Sized> Pair<'p, Old, New> {
    /// Both have a value.
    #[inline]
    #[must_use]
    pub fn of(old: &'p Old, new: &'p New) -> Self {
        Self { old: Some(old), new: Some(new) }
    }

    /// Whether the two differ, as `compare` sees it; stops at the first difference.
    #[must_use]
    pub fn differ(self, compare: impl FnOnce(Self, &mut Comparison<'_>)) -> bool {
        Differences::exist(|at| compare(self, at))
    }

    /// Reports what a function of the user decides about both.
    pub(crate) fn judged(self, is_same: impl FnOnce(&Old, &New) -> bool, at: &mut Comparison<'_>) {
        if let (Some(old), Some(new)) = (self.old, self.new) {
            judge(is_same(old, new), at);
        }
    }

    /// All differences between the two, as `compare` sees them.
    #[must_use]
    pub fn differences(self, compare: impl FnOnce(Self, &mut Comparison<'_>)) -> Differences {
        Differences::collect(|at| compare(self, at))
    }
}

/// First choice: differences with paths.
pub trait ByFields {
    /// Compares by fields.
    fn compare_or_eq(&self, at: &mut Comparison<'_>);

    /// The same for a revealed field.
    fn compare_or_eq_revealed(&self, at: &mut Comparison<'_>);
}

impl<Old: Compare<New> + ?Sized, New: ?Sized> ByFields for &&Pair<'_, Old, New> {
    #[inline]
    fn compare_or_eq(&self, at: &mut Comparison<'_>) {
        by_fields(Pair { ..***self }, at);
    }

    #[inline]
    fn compare_or_eq_revealed(&self, at: &mut Comparison<'_>) {
        by_fields(Pair { ..***self }, at);
    }
}

/// Second choice: whether the two are equal.
pub trait ByEquality {
    /// The type of what old has.
    type Old: ?Sized;
    /// The type of what new has.
    type New: ?Sized;

    /// Compares as a whole.
    fn compare_or_eq(&self, at: &mut Comparison<'_>);

    /// The same for a revealed field, which needs `Debug` to be shown.
    fn compare_or_eq_revealed(&self, at: &mut Comparison<'_>)
    where
        Self::Old: Debug,
        Self::New: Debug;
}

impl<Old: PartialEq<New> + ?Sized, New: ?Sized> ByEquality for &Pair<'_, Old, New> {
    type Old = Old;
    type New = New;

    #[inline]
    fn compare_or_eq(&self, at: &mut Comparison<'_>) {
        match (self.old, self.new) {
            (Some(old), Some(new)) => judge(old == new, at),
            (Some(_), None) => at.missing_in_new_unseen(),
            (None, Some(_)) => at.missing_in_old_unseen(),
            (None, None) => {}
        }
    }

    #[inline]
    fn compare_or_eq_revealed(&self, at: &mut Comparison<'_>)
    where
        Old: Debug,
        New: Debug,
    {
        match (self.old, self.new) {
            (Some(old), Some(new)) => judge_revealed(old == new, old, new, at),
            (Some(old), None) => at.missing_in_new(&old),
            (None, Some(new)) => at.missing_in_old(&new),
            (None, None) => {}
        }
    }
}

/// No choice: says what is missing, in the words of [`Compare`].
pub trait ByNothing {
    /// The type of what old has.
    type Old: ?Sized;
    /// The type of what new has.
    type New: ?Sized;

    /// Never called, since nothing fulfils it that is not compared by fields.
    fn compare_or_eq(&self, at: &mut Comparison<'_>)
    where
        Self::Old: Compare<Self::New>;

    /// The same for a revealed field.
    fn compare_or_eq_revealed(&self, at: &mut Comparison<'_>)
    where
        Self::Old: Compare<Self::New>;
}

impl<Old: ?Sized, New: ?Sized> ByNothing for Pair<'_, Old, New> {
    type Old = Old;
    type New = New;

    fn compare_or_eq(&self, at: &mut Comparison<'_>)
    where
        Old: Compare<New>,
    {
        by_fields(Pair { ..*self }, at);
    }

    fn compare_or_eq_revealed(&self, at: &mut Comparison<'_>)
    where
        Old: Compare<New>,
    {
        by_fields(Pair { ..*self }, at);
    }
}

/// Compares by fields, or shows the one that stands alone.
#[inline]
pub(crate) fn by_fields<Old, New>(pair: Pair<'_, Old, New>, at: &mut Comparison<'_>)
where
    Old: Compare<New> + ?Sized,
    New: ?Sized,
{
    match (pair.old, pair.new) {
        (Some(old), Some(new)) => old.compare(new, at),
        (Some(old), None) => at.missing_in_new(&fmt::from_fn(|f| old.show_old(f))),
        (None, Some(new)) => at.missing_in_old(&fmt::from_fn(|f| Old::show_new(new, f))),
        (None, None) => {}
    }
}

/// Reports what a function of the user has decided.
#[inline]
pub fn judge(is_same: bool, at: &mut Comparison<'_>) {
    if !is_same {
        at.differ_unseen();
    }
}

/// Reports what a function of the user has decided about a revealed field.
#[inline]
pub fn judge_revealed<Old, New>(is_same: bool, old: &Old, new: &New, at: &mut Comparison<'_>)
where
    Old: Debug + ?Sized,
    New: Debug + ?Sized,
{
    if !is_same {
        at.differ(&old, &new);
    }
}

/// Reports that the variants of an enum differ.
#[cold]
pub fn variants<Old: Compare<New>, New>(old: &Old, new: &New, at: &mut Comparison<'_>) {
    at.variants_differ(
        &fmt::from_fn(|f| old.show_old(f)),
        &fmt::from_fn(|f| Old::show_new(new, f)),
    );
}
