//! What differs between what old and new answered, field by field and with the path to each field.
//!
//! [`Compare`] walks two values side by side and reports to a [`Comparison`], which knows where the
//! walk is and whether values may be shown there. What was found is a [`Differences`]. The invariants:
//!
//! - Where nothing differs nothing is allocated: a path is a chain of borrowed segments on the stack,
//!   written out only for a difference that is kept. (Lists in any order allocate their matching.)
//! - No row contents without consent: values, keys of maps and names of variants are shown only where a
//!   field is revealed, and every field starts redacted. Paths, lengths and positions are always shown.
//! - Every implementation here is reflexive, `NaN` included, and agrees with the reverse comparison on
//!   whether anything differs.
//! - What is kept is bounded: [`DIFFERENCES_MAX`] differences, [`SHOWN_CHARS_MAX`] characters of a value.
//!
//! It does not decide what a difference means; the deciders of shadow reads and verification do.

mod answers;
mod cancel;
pub(crate) mod canonical;
mod comparison;
mod difference;
mod leaves;
mod lists;
mod maps;
mod matching;
mod near;
mod pair;
mod strings;
mod text;
mod wrappers;

use std::fmt;

pub use answers::{AnswersByEquality, AnswersByFields, AnswersByNothing};
pub use comparison::Comparison;
pub use difference::{DIFFERENCES_MAX, Difference, DifferenceKind, Differences, Shown};
pub use matching::{List, keyed, unordered};
pub use near::{Near, Tolerance, near};
pub(crate) use pair::by_fields;
pub use pair::{ByEquality, ByFields, ByNothing, Pair, judge, judge_revealed, variants};
pub use text::{PATH_CHARS_MAX, SHOWN_CHARS_MAX};

/// A value that can be compared field by field with another one, of the same type or of another.
/// Derived; the derive macro of the same name has the guide.
///
/// `self` is what old answered, the argument is what new answered. Implemented for numbers, strings,
/// `Option`, `Result`, lists, maps, sets, tuples and smart pointers of what can be compared. Integers
/// are comparable with wider ones, and all kinds of strings with each other.
///
/// Written by hand, it names each field and hands its two values on:
///
/// ```
/// use dualwrite::{Compare, compare::Differences, Comparison};
///
/// struct Point { x: f64, y: f64 }
///
/// impl Compare for Point {
///     fn compare(&self, new: &Self, at: &mut Comparison<'_>) {
///         self.x.compare(&new.x, &mut at.field("x"));
///         self.y.compare(&new.y, &mut at.field("y").reveal());
///     }
/// }
///
/// let found = Differences::between(&Point { x: 1.0, y: 2.0 }, &Point { x: 1.5, y: 2.5 });
/// assert_eq!(found.to_string(), "x: different\ny: 2.0 in old, 2.5 in new");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be compared with `{New}`",
    label = "not comparable",
    note = "derive `Compare` on it for differences by field; `PartialEq` is enough for the type of a field and for the answer of a method",
    note = "or say `#[compare(with = …)]` or `#[compare(ignore)]` on the field, `compare = …` or `shadow = never` \
            on the method"
)]
pub trait Compare<New: ?Sized = Self> {
    /// Reports where the two differ. Must report nothing for two equal values.
    fn compare(&self, new: &New, at: &mut Comparison<'_>);

    /// Writes an old value that stands alone, because new has none; used only where it is revealed.
    ///
    /// # Errors
    /// The formatter's.
    fn show_old(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Shown::REDACTED)
    }

    /// Writes a new value that stands alone, because old has none; used only where it is revealed.
    ///
    /// # Errors
    /// The formatter's.
    fn show_new(new: &New, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = new;
        f.write_str(Shown::REDACTED)
    }

    /// Reports where two lists of such values differ, element by element. Bytes are compared as a
    /// whole instead, since an element says nothing there.
    fn compare_lists(old: &[Self], new: &[New], at: &mut Comparison<'_>)
    where
        Self: Sized,
        New: Sized,
    {
        lists::in_order(old.iter(), new.iter(), pair::by_fields, at);
    }
}
