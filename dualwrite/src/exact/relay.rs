//! The relay: applies the outbox of the primary to the mirror.

use std::collections::{BTreeMap, HashSet};

use crate::error::{Error, ErrorKind};
use crate::exact::core::Core;
use crate::exact::metrics;
use crate::exact::options::{BACKLOG_COUNTED, OUTBOX_PAGE};
use crate::exact::step::ExactStep;
use crate::key::EncodedKey;
use crate::stages::stage::Side;
use crate::store::exact::outbox::OutboxRecord;

/// Pages of one round. Then others have their turn.
const PAGES: usize = 50;

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    /// Records that the mirror has now.
    pub(crate) applied: u64,
    /// Keys that were put off.
    pub(crate) failed: u64,
}

/// One round in the background, under the lease: of several instances one applies the outbox.
pub(crate) async fn round(core: &Core, from: Side) -> Result<Round, Error> {
    let source = core.port(from);
    if !source.lease(&core.instance, core.options.relay_lease()).await? {
        return Ok(Round::default());
    }
    let done = apply_all(core, from).await?;
    let left = source.left(BACKLOG_COUNTED).await?;
    if left >= BACKLOG_COUNTED {
        let migration = &*core.name;
        tracing::warn!(
            migration,
            left,
            "the outbox has more records than are counted; see that the mirror is up, or roll back to `off`"
        );
    }
    Ok(done)
}

/// Applies what is in the outbox, a number of pages. Others may do the same: versions order what they apply.
pub(crate) async fn apply_all(core: &Core, from: Side) -> Result<Round, Error> {
    let mut round = Round::default();
    for _ in 0..PAGES {
        let page = core.port(from).oldest(OUTBOX_PAGE).await?;
        if page.is_empty() {
            break;
        }
        core.pass(ExactStep::RelayRead)?;
        let done = apply(core, from, &page).await?;
        round.applied += done.applied;
        round.failed += done.failed;
        if page.len() < OUTBOX_PAGE {
            break; // what came meanwhile has time, and may never end
        }
    }
    Ok(round)
}

/// Applies the records of these keys at once, for a caller that waits for it.
pub(crate) async fn apply_keys(core: &Core, from: Side, keys: &[EncodedKey]) -> Result<(), Error> {
    let records = core.port(from).records_of(keys).await?;
    let done = apply(core, from, &records).await?;
    if done.failed > 0 {
        let message = "the mirror did not take the record; see `Exact::failures`";
        return Err(Error::new(ErrorKind::MirrorFailed, message).of(&core.name));
    }
    Ok(())
}

/// Applies records, of each key the last. A key that fails is put off, and the others go on.
async fn apply(core: &Core, from: Side, records: &[OutboxRecord]) -> Result<Round, Error> {
    let (source, mirror) = (core.port(from), core.port(from.other()));
    let mut last: BTreeMap<&EncodedKey, &OutboxRecord> = BTreeMap::new();
    for record in records {
        let newest = last.entry(&record.key).or_insert(record);
        if newest.version < record.version {
            *newest = record;
        }
    }
    let last: Vec<&OutboxRecord> = last.into_values().collect();
    let mut failed: HashSet<&EncodedKey> = HashSet::new();
    // Halves of what failed, down to the records whose fault it is.
    let mut parts: Vec<&[&OutboxRecord]> = vec![&last];
    while let Some(part) = parts.pop() {
        match (mirror.apply(part).await, part) {
            (Ok(()), _) => {}
            (Err(error), _) if !is_of_one_key(&error) => return Err(error),
            (Err(error), [record]) => {
                let migration = &*core.name;
                let reason = error.cause();
                tracing::warn!(
                    migration,
                    reason,
                    "the mirror did not take a record; it is tried again"
                );
                source.put_off(&record.key, &reason).await?;
                failed.insert(&record.key);
            }
            (Err(_), _) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
        }
    }
    core.pass(ExactStep::RelayApplied)?;
    let applied = records.iter().filter(|record| !failed.contains(&record.key));
    let numbers: Vec<i64> = applied.map(|record| record.seq).collect();
    source.remove(&numbers).await?;
    core.pass(ExactStep::RelayRemoved)?;
    let done = Round { applied: numbers.len() as u64, failed: failed.len() as u64 };
    metrics::relayed(&core.name, done.applied, done.failed);
    Ok(done)
}

/// Whether an error may be the fault of one record.
pub(crate) fn is_of_one_key(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::CopyFailed | ErrorKind::Serialization | ErrorKind::Poisoned)
}
