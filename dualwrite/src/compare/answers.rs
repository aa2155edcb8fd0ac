//! Whether the two sides of a write answered differently: by [`Compare`], else by `PartialEq`, else nobody
//! knows. The choice is made as in [`pair`](super::pair), by generated code.
//!
//! ```
//! use dualwrite::__private::{
//!     AnswersByEquality as _, AnswersByFields as _, AnswersByNothing as _, Pair,
//! };
//!
//! struct Opaque(u8);
//! assert!((&&&Pair::of(&1, &2)).answers_differ());
//! let (one, two) = (Opaque(1), Opaque(2));
//! assert!(!(&&&Pair::of(&one, &two)).answers_differ(), "nobody can tell {} from {}", one.0, two.0);
//! ```

use super::Compare;
use super::pair::{Pair, by_fields};

/// First choice: field by field.
pub trait AnswersByFields {
    /// Whether a field differs.
    fn answers_differ(&self) -> bool;
}

impl<Old: Compare<New> + ?Sized, New: ?Sized> AnswersByFields for &&Pair<'_, Old, New> {
    #[inline]
    fn answers_differ(&self) -> bool {
        Pair { ..***self }.differ(by_fields)
    }
}

/// Second choice: as a whole.
pub trait AnswersByEquality {
    /// Whether the answers are not equal.
    fn answers_differ(&self) -> bool;
}

impl<Old: PartialEq<New> + ?Sized, New: ?Sized> AnswersByEquality for &Pair<'_, Old, New> {
    #[inline]
    fn answers_differ(&self) -> bool {
        matches!((self.old, self.new), (Some(old), Some(new)) if old != new)
    }
}

/// No choice: answers of such a type are not compared.
pub trait AnswersByNothing {
    /// Never.
    fn answers_differ(&self) -> bool;
}

impl<Old: ?Sized, New: ?Sized> AnswersByNothing for Pair<'_, Old, New> {
    #[inline]
    fn answers_differ(&self) -> bool {
        false
    }
}
