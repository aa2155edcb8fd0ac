//! Names in the database, checked.

use std::fmt;

use crate::database::Dialect;
use crate::error::{Error, ErrorKind};

/// A name in the database, checked: a letter or `_`, then letters, digits, `_` or `$`, at most 63
/// bytes. Quoted wherever it is used, so its case counts.
///
/// ```
/// use dualwrite::copy::Identifier;
/// assert!(Identifier::new("EmailAddress").is_ok());
/// assert!(Identifier::new("email; DROP TABLE").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identifier(String);

impl Identifier {
    /// Checks a name.
    ///
    /// # Errors
    /// `InvalidInput` that says what is allowed.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let mut chars = name.chars();
        let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let rest = chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$');
        if first && rest && name.len() <= 63 {
            return Ok(Self(name));
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "`{name}` is no plain identifier; use a letter or `_`, then letters, digits, `_` or \
                 `$`, at most 63 bytes"
            ),
        ))
    }

    pub(crate) fn quoted(&self, dialect: &Dialect) -> String {
        format!("{0}{1}{0}", dialect.quote, self.0)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
