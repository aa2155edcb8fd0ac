//! The error of a conversion between the two sides of a field: it names the field and the key, never the value.

use std::error::Error as StdError;
use std::fmt;

/// A cause from elsewhere: the user's copy function, a driver, the operating system.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// A value that could not be carried to the other side. It names the record, the field and, where it is
/// known, the key; never the value. What the conversion function itself had to say is its
/// [`source`](StdError::source), and stands in no text of this error.
///
/// ```
/// use dualwrite::{Dual, Side};
/// use std::num::ParseIntError;
///
/// #[derive(Dual)]
/// #[dual(key = "id")]
/// struct Customer {
///     id: i64,
///     #[dual(new = years, forward = parse, backward = show)]
///     age: String,
///     years: Option<i64>,
/// }
///
/// fn parse(age: &str) -> Result<i64, ParseIntError> {
///     age.parse()
/// }
///
/// fn show(years: i64) -> String {
///     years.to_string()
/// }
///
/// let customer = Customer { id: 7, age: "unknown".into(), years: None };
/// let error = customer.years().unwrap_err();
/// assert_eq!((error.field(), error.key(), error.to()), ("years", Some("7"), Side::New));
/// assert_eq!(error.to_string(), "`years` of `Customer` with the key 7 cannot be converted to new");
/// ```
pub struct ConversionError(pub(crate) Box<Inner>);

pub(crate) struct Inner {
    pub(crate) record: &'static str,
    pub(crate) field: &'static str,
    /// On its way to new, else to old.
    pub(crate) to_new: bool,
    pub(crate) key: Option<String>,
    pub(crate) reason: Reason,
}

pub(crate) enum Reason {
    /// What the conversion function, or the database in its place, said.
    Failed(BoxError),
    /// There is no value where one is needed.
    Missing,
    /// The record that holds the new side is not there.
    Absent { record: &'static str },
}

impl ConversionError {
    /// The struct.
    #[must_use]
    pub fn record(&self) -> &str {
        self.0.record
    }

    /// The logical field, as its getter is called.
    #[must_use]
    pub fn field(&self) -> &str {
        self.0.field
    }

    /// The key as JSON, where the struct says `#[dual(key = …)]`.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// Whether a value, or the record to write it to, was not there, so that no function was asked.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        !matches!(self.0.reason, Reason::Failed(_))
    }
}

impl fmt::Display for ConversionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { record, field, to_new, key, reason } = &*self.0;
        let (to, from) = if *to_new { ("new", "old") } else { ("old", "new") };
        write!(f, "`{field}` of `{record}`")?;
        if let Some(key) = key {
            write!(f, " with the key {key}")?;
        }
        match reason {
            Reason::Failed(_) => write!(f, " cannot be converted to {to}"),
            Reason::Missing => write!(
                f,
                " is missing in {from}, and {to} must have it: make {to} optional, or fill {from}"
            ),
            Reason::Absent { record } => {
                write!(f, " has no `{record}` to be written to: fill that first")
            }
        }
    }
}

impl fmt::Debug for ConversionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the source: `unwrap` prints this, and the source may quote the value.
        f.debug_tuple("ConversionError").field(&self.to_string()).finish()
    }
}

impl StdError for ConversionError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.reason {
            Reason::Failed(source) => Some(&**source),
            Reason::Missing | Reason::Absent { .. } => None,
        }
    }
}
