//! Copies one key, once, however many readers miss it at the same time.

use std::sync::Arc;

use tracing::Instrument as _;

use crate::copier::joined::Joined;
use crate::copier::registered::copy_one_in;
use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::observe::count;
use crate::stages::stage::Side;
use crate::transaction::Tx;

/// Copies a key in a transaction of its own. Returns whether to ask new again: also where the copy had
/// nothing to do, for then somebody else has brought the key since new was asked. A failure is in the
/// dead letters.
///
/// # Errors
/// `CopyFailed` and whatever kept the copy from running; shared by all who waited for it.
pub(crate) async fn copy(shared: &Joined, key: &EncodedKey) -> Result<bool, Arc<Error>> {
    let copy = async {
        let (_operation, _beside) = (shared.operate()?, shared.beside.token());
        let copied = shared.copier()?.copy_key(shared, key, Side::New).await?;
        Ok::<bool, Error>(copied.is_some())
    };
    let span = tracing::debug_span!("lazy_copy", migration = &*shared.name);
    let flown = shared.flights.0.try_get_with_by_ref(key, copy.instrument(span)).await;
    shared.flights.0.invalidate(key).await;
    match &flown {
        Ok(_) => count(&shared.counters.lazy_copied),
        Err(error) => {
            count(&shared.counters.lazy_failed);
            tracing::warn!(
                migration = &*shared.name,
                cause = error.logged_cause(),
                "lazy copy failed; the old side answers and the key is in the dead letters"
            );
            record_dead_letter(shared, key, error).await;
        }
    }
    flown
}

async fn record_dead_letter(shared: &Joined, key: &EncodedKey, error: &Error) {
    if error.kind() != ErrorKind::CopyFailed {
        return; // the database, a conflict: not this key's fault
    }
    count(&shared.counters.copies_failed);
    // The cause, not the frame around it: that is what one has to repair.
    let (name, generation) = (&shared.name, shared.generation());
    let recorded =
        shared.control.record_dead_letter(name, Side::New, generation, key, &error.cause()).await;
    if let Err(error) = recorded {
        tracing::error!(migration = &*shared.name, %error, "a dead letter could not be stored");
    }
}

/// Copies a key inside the caller's transaction. Returns as [`copy`].
///
/// # Errors
/// `CopyFailed`.
pub(crate) async fn copy_in<DB: Backend>(
    shared: &Joined,
    tx: &mut Tx<'_, DB>,
    key: &EncodedKey,
) -> Result<bool, Error> {
    tx.begin_work();
    let copied = copy_one_in(shared, tx, key).await;
    tx.end_work();
    let copied = copied?;
    count(&shared.counters.lazy_copied);
    Ok(copied.is_some())
}
