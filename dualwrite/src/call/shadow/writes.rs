//! Compares a dual write: both sides are read back in the caller's transaction, as a verification reads
//! them. Off unless asked for, since it is the caller who waits.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::call::shadow::hear::{self, report};
use crate::call::shadow::keep::{drop_samples, keep};
use crate::call::shadow::run::WHOLE;
use crate::clock;
use crate::compare::Shown;
use crate::control::Sample;
use crate::copier::joined::Joined;
use crate::copier::registered::InTransaction;
use crate::database::Backend;
use crate::error::Error;
use crate::key::EncodedKey;
use crate::observe::MethodStats;
use crate::observe::outcome::Outcome;
use crate::shadow::report::{ShadowCall, ShadowFinding, ShadowReport};
use crate::shadow::{cohort, context};
use crate::stages::stale::StaleKind;
use crate::stages::verification::KeyDifferenceKind;
use crate::transaction::Tx;
use crate::verify::mapped::Suspect;

/// Compares what was written under a key, and counts what came of it. The reads are made under a savepoint
/// that is rolled back, so what fails there leaves the write as it was.
///
/// # Errors
/// Where the savepoint failed: then nobody knows what the transaction is worth.
pub(crate) fn compare<'a, DB: Backend>(
    shared: &'a Arc<Joined>,
    method: &'a MethodStats,
    tx: &'a mut Tx<'_, DB>,
    key: &'a EncodedKey,
) -> BoxFuture<'a, Result<(), Error>> {
    Box::pin(async move {
        let counted = |outcome| {
            shared.count_compared(method, outcome);
            if let Some(cohort) = shared.cohort() {
                cohort.count(outcome);
            }
        };
        let found = match is_wanted(shared, method, key) {
            Ok(true) => compare_wanted(shared, tx, key).await?,
            Ok(false) => return Ok(()),
            Err(panic) => Compared::Panicked(panic),
        };
        counted(outcome(shared, method, key, found));
        Ok(())
    })
}

/// How a comparison ended.
enum Compared {
    Equal,
    Different(Suspect),
    Failed(Error),
    Panicked(Box<dyn Any + Send>),
    /// The copy function compares nothing in a transaction.
    NotPossible,
}

/// Whether the user's predicate asks for it. Fails where that panics.
fn is_wanted(
    shared: &Joined,
    method: &MethodStats,
    key: &EncodedKey,
) -> Result<bool, Box<dyn Any + Send>> {
    let wanted = || {
        shared.options.rules.hooks.want(&ShadowCall {
            method: &method.name,
            key: Some(&key.0),
            cohort: cohort::label().as_deref(),
            context: &context::current(),
        })
    };
    catch_unwind(AssertUnwindSafe(wanted))
}

async fn compare_wanted<DB: Backend>(
    shared: &Arc<Joined>,
    tx: &mut Tx<'_, DB>,
    key: &EncodedKey,
) -> Result<Compared, Error> {
    let differing = shared.copier.as_ref().and_then(|copier| {
        copier.in_transaction().downcast_ref::<InTransaction<DB>>().map(|typed| &typed.1)
    });
    let Some(differing) = differing else { return Ok(Compared::NotPossible) };
    let mut nested = tx.begin().await?;
    nested.begin_work();
    let found = AssertUnwindSafe(differing(shared, &mut nested, key)).catch_unwind().await;
    nested.rollback().await?;
    Ok(match found {
        Ok(Ok(None)) => Compared::Equal,
        Ok(Ok(Some(suspect))) => Compared::Different(suspect),
        Ok(Err(error)) => Compared::Failed(error),
        Err(panic) => Compared::Panicked(panic),
    })
}

/// Reports what was found, and says as what it counts.
fn outcome(
    shared: &Arc<Joined>,
    method: &MethodStats,
    key: &EncodedKey,
    found: Compared,
) -> Outcome {
    let hooks = &shared.options.rules.hooks;
    let tell = |found: ShadowFinding| report(shared, || report_of(shared, method, key, found));
    match found {
        Compared::Equal => Outcome::Equal,
        Compared::Different(suspect) => different(shared, method, key, suspect),
        Compared::Failed(error) => {
            tracing::warn!(
                migration = &*shared.name,
                method = &*method.name,
                cause = error.logged_cause(),
                "a write could not be compared"
            );
            tell(ShadowFinding::MirrorFailed { text: hooks.text(&error) });
            Outcome::MirrorFailed
        }
        Compared::Panicked(panic) => {
            tell(ShadowFinding::Panicked { text: hooks.panic_text(&*panic) });
            Outcome::Panicked
        }
        Compared::NotPossible => Outcome::MirrorFailed,
    }
}

fn report_of(
    shared: &Arc<Joined>,
    method: &MethodStats,
    key: &EncodedKey,
    found: ShadowFinding,
) -> ShadowReport {
    ShadowReport {
        migration: shared.name.to_string(),
        method: method.name.to_string(),
        key: Some(key.0.as_str().to_owned()),
        cohort: cohort::label().as_deref().map(str::to_owned),
        context: context::current(),
        found,
    }
}

/// What differs stays: nobody else writes the key while the transaction lasts.
fn different(
    shared: &Arc<Joined>,
    method: &MethodStats,
    key: &EncodedKey,
    found: Suspect,
) -> Outcome {
    let rules = &shared.options.rules;
    let [old, new] = shown(found.kind);
    let mut fields: BTreeSet<String> = found.fields.into_iter().collect();
    if fields.is_empty() {
        fields.insert(WHOLE.to_owned());
    }
    fields.retain(|field| !rules.ignores(field));
    if fields.is_empty() {
        return Outcome::Ignored;
    }
    shared.count_fields(method, &fields);
    tracing::warn!(
        migration = &*shared.name,
        method = &*method.name,
        fields = fields.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        "a write left the old and the new side different"
    );
    let stale = found.kind.stale();
    // Beside the caller, whose transaction may hold the only lock for writers.
    let Ok(permit) = Arc::clone(&shared.mirrors).try_acquire_owned() else {
        drop_samples(shared, fields.len() as u64);
        return Outcome::Different;
    };
    let sample = |field: String| Sample {
        method: method.name.to_string(),
        field,
        key: Some(key.clone()),
        old: old.clone(),
        new: new.clone(),
    };
    let samples: Vec<Sample> = fields.into_iter().map(sample).collect();
    report(shared, || report_of(shared, method, key, hear::different(&samples)));
    let own = Arc::clone(shared);
    let key = key.clone();
    shared.spawn(async move {
        withdraw(&own, &key, stale).await;
        keep(&own, own.options.shadow_timeout, &samples).await;
        drop(permit);
    });
    Outcome::Different
}

/// The row of old is locked, so this is as good as what a verification finds.
async fn withdraw(shared: &Joined, key: &EncodedKey, kind: StaleKind) {
    let (control, name) = (&shared.control, &shared.name);
    let withdrawing = async {
        match control.waived(name, std::slice::from_ref(key)).await?.is_empty() {
            true => control.mark_stale(name, kind).await,
            false => Ok(()),
        }
    };
    let failed = match clock::limit(shared.options.shadow_timeout, withdrawing).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(()) => "the control tables did not answer in time".to_owned(),
    };
    tracing::warn!(migration = &**name, failed, "the proof could not be withdrawn");
}

/// What may be shown of the values: that there are some. A verification does not bring them out.
fn shown(kind: KeyDifferenceKind) -> [Option<Shown>; 2] {
    let (in_old, in_new) = match kind {
        KeyDifferenceKind::MissingInOld => (false, true),
        KeyDifferenceKind::MissingInNew => (true, false),
        _ => (true, true),
    };
    [in_old, in_new].map(|is_there| is_there.then_some(Shown::Redacted))
}
