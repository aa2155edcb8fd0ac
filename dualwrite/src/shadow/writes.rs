//! Compares a dual write: both sides are read back in the caller's transaction, as a verification reads
//! them. Off unless asked for, since it is the caller who waits.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::outcome::Outcome;
use super::run::{WHOLE, store};
use crate::backend::Backend;
use crate::clock;
use crate::control::Sample;
use crate::copy::registered::InTransaction;
use crate::error::Error;
use crate::key::EncodedKey;
use crate::observe::MethodStats;
use crate::shared::Shared;
use crate::transaction::Tx;

/// Compares what was written under a key, and counts what came of it. The reads are made under a savepoint
/// that is rolled back, so what fails there leaves the write as it was.
///
/// # Errors
/// Where the savepoint failed: then nobody knows what the transaction is worth.
pub(crate) fn compare<'a, DB: Backend>(
    shared: &'a Arc<Shared>,
    method: &'a MethodStats,
    tx: &'a mut Tx<'_, DB>,
    key: &'a EncodedKey,
) -> BoxFuture<'a, Result<(), Error>> {
    Box::pin(async move {
        let differing = shared.copier.as_ref().and_then(|copier| {
            copier.in_transaction().downcast_ref::<InTransaction<DB>>().map(|typed| &typed.1)
        });
        let Some(differing) = differing else {
            shared.count_compared(method, Outcome::MirrorFailed);
            return Ok(());
        };
        let mut nested = tx.begin().await?;
        let found = AssertUnwindSafe(differing(shared, &mut nested, key)).catch_unwind().await;
        nested.rollback().await?;
        match found {
            Ok(Ok(None)) => shared.count_compared(method, Outcome::Equal),
            Ok(Ok(Some(fields))) => different(shared, method, key, fields),
            Ok(Err(error)) => {
                shared.count_compared(method, Outcome::MirrorFailed);
                tracing::warn!(
                    migration = &*shared.name,
                    method = &*method.name,
                    kind = ?error.kind(),
                    "a write could not be compared"
                );
            }
            Err(_) => shared.count_compared(method, Outcome::MirrorFailed),
        }
        Ok(())
    })
}

fn different(
    shared: &Arc<Shared>,
    method: &MethodStats,
    key: &EncodedKey,
    mut fields: BTreeSet<String>,
) {
    let rules = &shared.options.rules;
    if fields.is_empty() {
        fields.insert(WHOLE.to_owned());
    }
    fields.retain(|field| !rules.ignores(field));
    if fields.is_empty() {
        shared.count_compared(method, Outcome::Ignored);
        return;
    }
    shared.count_fields(&fields);
    shared.count_compared(method, Outcome::Different);
    tracing::warn!(
        migration = &*shared.name,
        method = &*method.name,
        fields = fields.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        "a write left old and new different"
    );
    // Beside the caller, whose transaction may hold the only lock for writers.
    let Ok(permit) = Arc::clone(&shared.mirrors).try_acquire_owned() else { return };
    let sample = |field: String| Sample {
        method: method.name.to_string(),
        field,
        key: Some(key.clone()),
        old: None,
        new: None,
    };
    let samples: Vec<Sample> = fields.into_iter().map(sample).collect();
    let own = Arc::clone(shared);
    shared.tasks.spawn(async move {
        let limit = own.options.shadow_timeout;
        let _ = clock::limit(limit, store(&own, samples)).await;
        drop(permit);
    });
}
