//! A migration that this process has joined: what is known of it, and what can be done with it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use moka::future::Cache;

use crate::copier::port::Copier;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::state::Shared;

/// How many keys may be in the air at once per migration and process; more are copied all the same, but
/// may be copied twice.
const FLIGHTS_MAX: u64 = 10_000;

/// Copies under way: the second reader of a key waits for the first one's copy. An entry lives as long
/// as the copy does.
pub(crate) struct Flights(pub(crate) Cache<EncodedKey, bool>);

/// What copies, verifies and writes hold [`Shared`] for, they find there; the copy function is known from here on.
pub(crate) struct Joined {
    pub(crate) shared: Arc<Shared>,
    pub(crate) copier: Option<Arc<dyn Copier>>,
    pub(crate) flights: Flights,
    /// Which keys are equal.
    pub(super) folds: AtomicU8,
}

impl Joined {
    pub(crate) fn new(shared: Shared, copier: Option<Arc<dyn Copier>>) -> Self {
        let flights = Flights(Cache::new(FLIGHTS_MAX));
        Self { shared: Arc::new(shared), copier, flights, folds: AtomicU8::new(0) }
    }

    /// The copy function.
    pub(crate) fn copier(&self) -> Result<&Arc<dyn Copier>, Error> {
        self.copier.as_ref().ok_or_else(|| {
            let message = "it was registered without a copy function; add `.backfill(…)`";
            Error::new(ErrorKind::Unsupported, message).of(&self.name)
        })
    }
}

impl Deref for Joined {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}
