//! A copy function without its type and that of its keys: what the backfill, the verification and the rest do with
//! it is compiled once per database, not once per copy function.

use futures_util::future::BoxFuture;

use super::keyed::KeyParts;
use super::{Copied, CopyBack, CopyKeys, KeySource};
use crate::database::Backend;
use crate::error::{BoxError, Error, ErrorKind};
use crate::key::{Key, OwnedKey};
use crate::stages::stage::Side;
use crate::transaction::Tx;

/// A copy function as a migration holds it.
pub struct Held<DB: Backend>(pub(crate) Box<dyn CopyParts<DB>>);

impl<DB: Backend> Held<DB> {
    pub(crate) fn one_way<C: CopyKeys<Database = DB>>(copy: C) -> Self {
        Self(Box::new(Parts { copy, back: None }))
    }

    pub(crate) fn both_ways<C: CopyBack<Database = DB>>(copy: C) -> Self {
        let back: Back<C> =
            |copy, tx, keys| Box::pin(async move { copy.copy_back(tx, &keys).await });
        Self(Box::new(Parts { copy, back: Some(back) }))
    }
}

/// [`CopyBack::copy_back`] of this copy function.
type Back<C> = for<'a, 't> fn(
    &'a C,
    &'a mut Tx<'t, <C as CopyKeys>::Database>,
    Vec<<C as CopyKeys>::Key>,
) -> BoxFuture<'a, Result<Copied, BoxError>>;

struct Parts<C: CopyKeys> {
    copy: C,
    back: Option<Back<C>>,
}

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

impl<C: CopyKeys> CopyParts<C::Database> for Parts<C> {
    fn source(&self) -> KeySource {
        self.copy.source()
    }

    fn new_source(&self) -> Option<KeySource> {
        self.copy.new_source()
    }

    fn can_copy_back(&self) -> bool {
        self.back.is_some()
    }

    fn copy<'a>(
        &'a self,
        tx: &'a mut Tx<'_, C::Database>,
        keys: &'a [KeyParts],
        to: Side,
    ) -> BoxFuture<'a, Result<Copied, BoxError>> {
        Box::pin(async move {
            let keys = typed::<C::Key>(keys)?;
            match (to, self.back) {
                (Side::New, _) => self.copy.copy(tx, &keys).await,
                (Side::Old, Some(back)) => back(&self.copy, tx, keys).await,
                (Side::Old, None) => Err("this copy function has no way back".into()),
            }
        })
    }

    fn differing<'a>(
        &'a self,
        tx: &'a mut Tx<'_, C::Database>,
        keys: &'a [KeyParts],
    ) -> BoxFuture<'a, Result<Vec<KeyParts>, BoxError>> {
        Box::pin(async move {
            let found = self.copy.differing(tx, &typed::<C::Key>(keys)?).await?;
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
