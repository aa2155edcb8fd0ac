//! A side of a write that is in the database of the control tables. As the primary, its write and the mark of the key are one
//! transaction: both are there, or none.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::error::Error;
use crate::key::EncodedKey;
use crate::stages::position::Position;
use crate::state::Shared;

/// The mark of a write: its number, and the key.
pub(crate) type NewMark = (String, EncodedKey);

/// Such a side.
pub(crate) trait Within<T, E>: Send {
    /// Begins the transaction, under the fence, and leaves the mark in it.
    fn begin(
        self: Box<Self>,
        shared: Arc<Shared>,
        mark: NewMark,
    ) -> BoxFuture<'static, Begun<T, E>>;

    /// Writes in a transaction of its own, as the mirror.
    fn alone(self: Box<Self>) -> BoxFuture<'static, Result<T, E>>;
}

/// What came of the beginning.
pub(crate) enum Begun<T, E> {
    /// A move has writes wait: once more, later.
    Draining(Box<dyn Within<T, E>>),
    Marked(Position, Box<dyn Marked<T, E>>),
    Failed(Error),
}

/// A transaction with the mark in it.
pub(crate) trait Marked<T, E>: Send {
    /// Writes, and commits both.
    fn write(self: Box<Self>) -> BoxFuture<'static, Result<T, Unwritten<E>>>;

    /// Commits the mark alone: the other side is the primary. Gives this one back.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn Within<T, E>>, Error>>;
}

/// Why there is no answer.
pub(crate) enum Unwritten<E> {
    /// Neither the write nor the mark is there.
    RolledBack(E),
    /// Nobody knows what became of the commit.
    Unknown(E),
}
