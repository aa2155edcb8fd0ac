//! Hints that a position changed, where the database can push them.

use futures_util::future::BoxFuture;

use crate::error::Error;

/// A stream of hints that some position changed.
#[doc(hidden)]
pub trait Watch: Send {
    /// Resolves when there may be something new; ends with an error when the connection is lost.
    fn changed(&mut self) -> BoxFuture<'_, Result<(), Error>>;
}
