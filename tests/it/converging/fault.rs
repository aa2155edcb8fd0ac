//! What calls of the tests of converging mode fail with.

use std::fmt;

use dualwrite::{Error, ErrorKind};

/// What the application's calls fail with.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The store's.
    Store(String),
    Ours(Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(reason) => f.write_str(reason),
            Self::Ours(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Fault {
    pub(crate) fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Store(_) => None,
            Self::Ours(error) => Some(error.kind()),
        }
    }
}
