//! A copy function without its type and that of its keys: what the backfill, the verification and the rest do with
//! it is compiled once per database, not once per copy function.

use futures_util::future::BoxFuture;

use super::keyed::KeyParts;
use super::{Copied, CopyKeys, KeySource};
use crate::database::Backend;
use crate::error::{BoxError, Error, ErrorKind};
use crate::key::{Key, OwnedKey};
use crate::stages::stage::Side;
use crate::transaction::Tx;

/// A [`CopyKeys`] that is called by the columns of its keys.
pub(crate) trait CopyParts<DB: Backend>: Send + Sync {
    fn source(&self) -> KeySource;

    fn new_source(&self) -> Option<KeySource>;

    fn can_copy_back(&self) -> bool;

    /// Copies these keys to `to`.
    fn copy<'a>(
        &'a self,
        tx: &'a mut Tx<'_, DB>,
        keys: &'a [KeyParts],
        to: Side,
    ) -> BoxFuture<'a, Result<Copied, BoxError>>;

    /// Those of these keys that differ.
    fn differing<'a>(
        &'a self,
        tx: &'a mut Tx<'_, DB>,
        keys: &'a [KeyParts],
    ) -> BoxFuture<'a, Result<Vec<KeyParts>, BoxError>>;
}

impl<C: CopyKeys> CopyParts<C::Database> for C {
    fn source(&self) -> KeySource {
        CopyKeys::source(self)
    }

    fn new_source(&self) -> Option<KeySource> {
        CopyKeys::new_source(self)
    }

    fn can_copy_back(&self) -> bool {
        CopyKeys::can_copy_back(self)
    }

    fn copy<'a>(
        &'a self,
        tx: &'a mut Tx<'_, C::Database>,
        keys: &'a [KeyParts],
        to: Side,
    ) -> BoxFuture<'a, Result<Copied, BoxError>> {
        Box::pin(async move {
            let keys = typed::<C::Key>(keys)?;
            match to {
                Side::New => CopyKeys::copy(self, tx, &keys).await,
                Side::Old => self.copy_back(tx, &keys).await,
            }
        })
    }

    fn differing<'a>(
        &'a self,
        tx: &'a mut Tx<'_, C::Database>,
        keys: &'a [KeyParts],
    ) -> BoxFuture<'a, Result<Vec<KeyParts>, BoxError>> {
        Box::pin(async move {
            let found = CopyKeys::differing(self, tx, &typed::<C::Key>(keys)?).await?;
            Ok(found.iter().map(Key::parts).collect())
        })
    }
}

/// The type of the key does not take a key of the table: nothing that the copy function did.
#[derive(Debug)]
pub(crate) struct KeyOfAnotherType(pub(crate) Error);

impl std::fmt::Display for KeyOfAnotherType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for KeyOfAnotherType {}

/// What went wrong in [`CopyParts::differing`].
pub(crate) fn comparison_failed(cause: BoxError) -> Error {
    match cause.downcast::<KeyOfAnotherType>() {
        Ok(other) => other.0,
        Err(cause) => Error::new(ErrorKind::CopyFailed, "the comparison failed").caused_by(cause),
    }
}

fn typed<K: OwnedKey>(keys: &[KeyParts]) -> Result<Vec<K>, KeyOfAnotherType> {
    keys.iter().map(|key| K::take(&mut key.iter().cloned()).map_err(KeyOfAnotherType)).collect()
}
