//! Conversions between the two sides of a field, which may fail: what generated code calls.

use crate::error::BoxError;
pub use crate::error::ConversionError;
use crate::error::conversion::{Inner, Reason};
use crate::key::{EncodedKey, Key};
use crate::stages::stage::Side;

impl ConversionError {
    /// The side that the value was on its way to.
    #[must_use]
    pub fn to(&self) -> Side {
        if self.0.to_new { Side::New } else { Side::Old }
    }
}

/// Where a conversion happens, for its error.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Conversion {
    pub record: &'static str,
    pub field: &'static str,
    pub to: Side,
}

impl Conversion {
    /// What was converted, or the error that names this place.
    pub fn checked<T>(
        self,
        converted: Result<T, BoxError>,
        key: impl FnOnce() -> Option<String>,
    ) -> Result<T, ConversionError> {
        converted.map_err(|source| self.failed(key(), source))
    }

    #[cold]
    pub(crate) fn failed(self, key: Option<String>, source: BoxError) -> ConversionError {
        self.error(key, Reason::Failed(source))
    }

    #[cold]
    pub(crate) fn missing(self, key: Option<String>) -> ConversionError {
        self.error(key, Reason::Missing)
    }

    #[cold]
    pub fn absent(self, key: Option<String>, record: &'static str) -> ConversionError {
        self.error(key, Reason::Absent { record })
    }

    fn error(self, key: Option<String>, reason: Reason) -> ConversionError {
        let Self { record, field, to } = self;
        ConversionError(Box::new(Inner { record, field, to_new: to == Side::New, key, reason }))
    }
}

/// A key as errors show it; `None` where it is too long to be one.
#[doc(hidden)]
pub fn shown_key<K: Key + ?Sized>(key: &K) -> Option<String> {
    EncodedKey::new(key).ok().map(|key| key.0)
}

/// Whether a value is more than "not yet": other than the default.
#[doc(hidden)]
pub fn is_filled<T: Default + PartialEq>(value: &T) -> bool {
    *value != T::default()
}

/// Whether two values are the same, where a `NaN` is the same as a `NaN`.
#[doc(hidden)]
pub fn same<T: PartialEq>(left: &T, right: &T) -> bool {
    let is_itself = |value: &T| {
        let again = value;
        value == again
    };
    left == right || !(is_itself(left) || is_itself(right))
}

/// What a conversion function answers: the value, or a `Result` of it.
#[diagnostic::on_unimplemented(
    message = "a conversion answers `{T}`, or a `Result` of it, and not `{Self}`",
    note = "the error of the `Result` may be any error that is `Send`, `Sync` and `'static`, or a text"
)]
#[doc(hidden)]
pub trait Answers<T, How> {
    fn answer(self) -> Result<T, BoxError>;
}

/// Answers the value itself.
#[derive(Debug)]
#[doc(hidden)]
pub struct Always;

/// Answers a `Result`.
#[derive(Debug)]
#[doc(hidden)]
pub struct Perhaps;

#[diagnostic::do_not_recommend]
impl<T> Answers<T, Always> for T {
    fn answer(self) -> Result<T, BoxError> {
        Ok(self)
    }
}

#[diagnostic::do_not_recommend]
impl<T, E: Into<BoxError>> Answers<T, Perhaps> for Result<T, E> {
    fn answer(self) -> Result<T, BoxError> {
        self.map_err(Into::into)
    }
}

/// What a conversion function answered, as a `Result` in any case.
#[doc(hidden)]
pub fn answered<T, How>(answer: impl Answers<T, How>) -> Result<T, BoxError> {
    answer.answer()
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    const PLACE: Conversion = Conversion { record: "Customer", field: "age", to: Side::New };

    #[test]
    fn no_text_shows_what_the_function_said() {
        let cause = || BoxError::from("not a number: 4711");
        let error = PLACE.failed(shown_key(&("a", 7_i64)), cause());
        assert_eq!(
            error.to_string(),
            r#"`age` of `Customer` with the key ["a",7] cannot be converted to new"#
        );
        assert!(!format!("{error:?} {error:#?}").contains("4711"));
        assert_eq!(error.source().unwrap().to_string(), "not a number: 4711");
        assert!(!error.is_absent());
        assert_eq!(shown_key(&"x".repeat(600)), None);
    }

    #[test]
    fn what_is_absent_is_named() {
        assert_eq!(
            PLACE.missing(None).to_string(),
            "`age` of `Customer` is missing in old, and new must have it: make new optional, or fill old"
        );
        assert_eq!(
            PLACE.absent(None, "version").to_string(),
            "`age` of `Customer` has no `version` to be written to: fill that first"
        );
        assert!(PLACE.missing(None).is_absent() && PLACE.missing(None).source().is_none());
    }

    #[test]
    fn nan_is_the_same_as_nan() {
        assert!(
            same(&1.0, &1.0)
                && same(&f64::NAN, &f64::NAN)
                && same(&Some(f32::NAN), &Some(f32::NAN))
        );
        assert!(!same(&1.0, &2.0) && !same(&f64::NAN, &1.0) && !same(&None, &Some(f32::NAN)));
    }

    #[test]
    fn functions_answer_values_or_results() {
        assert_eq!(answered::<i64, _>(7).unwrap(), 7);
        assert_eq!(answered::<i64, _>("7".parse::<i64>()).unwrap(), 7);
        assert_eq!(answered::<i64, _>(Err("no")).unwrap_err().to_string(), "no");
        assert_eq!(answered::<(i64, String), _>((7, String::new())).unwrap().0, 7);
    }
}
