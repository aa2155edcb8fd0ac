//! What a user says of the two stores, and the same without its types.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::clock;
use crate::error::{BoxError, Error, ErrorKind};
use crate::key::{EncodedKey, Key as _, KeyKind, OwnedKey};
use crate::stages::bucket::Bucket;
use crate::stages::stage::Side;
use crate::state::Shared;

/// Two stores that share no transaction: how a key gets from one to the other. The library repairs, backfills and
/// verifies by these functions.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::ops::Bound::{Excluded, Unbounded};
/// use std::sync::{Arc, Mutex};
///
/// use dualwrite::{BoxError, converging::TwoStores, Side};
///
/// #[derive(Clone, Default)]
/// struct Carts {
///     old: Arc<Mutex<BTreeMap<i64, String>>>,
///     new: Arc<Mutex<BTreeMap<i64, String>>>,
/// }
///
/// impl Carts {
///     fn side(&self, side: Side) -> &Mutex<BTreeMap<i64, String>> {
///         if side == Side::Old { &self.old } else { &self.new }
///     }
///     fn get(&self, side: Side, id: i64) -> Option<String> {
///         self.side(side).lock().unwrap().get(&id).cloned()
///     }
/// }
///
/// impl TwoStores for Carts {
///     type Key = i64;
///
///     async fn copy(&self, id: &i64, to: Side) -> Result<(), BoxError> {
///         let cart = self.get(to.other(), *id);
///         let mut store = self.side(to).lock().unwrap();
///         match cart {
///             Some(cart) => store.insert(*id, cart),
///             None => store.remove(id),
///         };
///         Ok(())
///     }
///
///     async fn keys_after(&self, side: Side, after: Option<&i64>, limit: u32) -> Result<Vec<i64>, BoxError> {
///         let from = after.map_or(Unbounded, Excluded);
///         let store = self.side(side).lock().unwrap();
///         Ok(store.range((from, Unbounded)).take(limit as usize).map(|(id, _)| *id).collect())
///     }
///
///     async fn agree(&self, id: &i64) -> Result<bool, BoxError> {
///         Ok(self.get(Side::Old, *id) == self.get(Side::New, *id))
///     }
/// }
/// ```
pub trait TwoStores: Send + Sync + 'static {
    /// The key of a record, the same in both stores.
    type Key: OwnedKey;

    /// Makes the store of this side say of the key what the other store says: writes the whole record, or removes it
    /// where the other store has none. It may be called again and again.
    ///
    /// # Errors
    /// Any; the key is tried again.
    fn copy(&self, key: &Self::Key, to: Side) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// The keys of a store after this one, in an order that the store keeps, at most `limit` of them. None: there are
    /// no more. A key that comes or goes meanwhile may be left out; one that is there all the time must not be.
    ///
    /// # Errors
    /// Any; the backfill or the verification ends, and goes on from there when it is run again.
    fn keys_after(
        &self,
        side: Side,
        after: Option<&Self::Key>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Self::Key>, BoxError>> + Send;

    /// Whether the two stores say the same of the key.
    ///
    /// # Errors
    /// Any; as [`keys_after`](Self::keys_after).
    fn agree(&self, key: &Self::Key) -> impl Future<Output = Result<bool, BoxError>> + Send;
}

/// The same, without its types, within a limit on each call, and with panics as errors.
pub(crate) trait Stores: Send + Sync {
    fn kind(&self) -> KeyKind;

    fn bucket(&self, shared: &Shared, key: &EncodedKey) -> Result<Bucket, Error>;

    fn copy<'a>(&'a self, key: &'a EncodedKey, to: Side) -> BoxFuture<'a, Result<(), Error>>;

    fn keys_after<'a>(
        &'a self,
        side: Side,
        after: Option<&'a EncodedKey>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<EncodedKey>, Error>>;

    fn agree<'a>(&'a self, key: &'a EncodedKey) -> BoxFuture<'a, Result<bool, Error>>;
}

pub(crate) struct Limited<S> {
    pub(crate) stores: S,
    pub(crate) limit: Duration,
}

impl<S: TwoStores> Limited<S> {
    fn key(key: &EncodedKey) -> Result<S::Key, Error> {
        S::Key::take(&mut key.parts(S::Key::KIND)?.into_iter())
    }

    async fn call<T>(
        &self,
        doing: &str,
        call: impl Future<Output = Result<T, BoxError>> + Send,
    ) -> Result<T, Error> {
        let call = AssertUnwindSafe(call).catch_unwind();
        match clock::limit(self.limit, call).await {
            Ok(Ok(answer)) => answer.map_err(Error::copying),
            Ok(Err(_)) => {
                let message = format!("`{doing}` of the two stores panicked");
                Err(Error::new(ErrorKind::CopyFailed, message))
            }
            Err(()) => {
                let message =
                    format!("`{doing}` of the two stores took longer than {:?}", self.limit);
                Err(Error::new(ErrorKind::CopyFailed, message))
            }
        }
    }
}

impl<S: TwoStores> Stores for Limited<S> {
    fn kind(&self) -> KeyKind {
        S::Key::KIND
    }

    fn bucket(&self, shared: &Shared, key: &EncodedKey) -> Result<Bucket, Error> {
        shared.options.rule.bucket(&Self::key(key)?, shared.salt)
    }

    fn copy<'a>(&'a self, key: &'a EncodedKey, to: Side) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let key = Self::key(key)?;
            self.call("copy", self.stores.copy(&key, to)).await
        })
    }

    fn keys_after<'a>(
        &'a self,
        side: Side,
        after: Option<&'a EncodedKey>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<EncodedKey>, Error>> {
        Box::pin(async move {
            let after = after.map(Self::key).transpose()?;
            let keys = self.stores.keys_after(side, after.as_ref(), limit);
            let keys = self.call("keys_after", keys).await?;
            keys.iter().map(EncodedKey::new).collect()
        })
    }

    fn agree<'a>(&'a self, key: &'a EncodedKey) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let key = Self::key(key)?;
            self.call("agree", self.stores.agree(&key)).await
        })
    }
}
