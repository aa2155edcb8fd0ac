//! Repair of what a verification finds: each key that seems to differ is compared once more under the lock
//! of a copy, and copied in the same transaction if it still differs. So it never goes over a newer write.

use crate::database::Backend;
use serde::Serialize;

use super::apart::unreadable;
use super::chunk::Chunks;
use super::confirm::{check_stage, differing_locked, lock};
use super::equality;
use super::mapped::{Suspect, named};
use super::plan::Plan;
use super::run::{Pacing, VerifyOptions, next};
use crate::clock;
use crate::copy::exclusive::Refusals;
use crate::copy::run::SqlCopier;
use crate::copy::source::KeyParts;
use crate::error::{Error, ErrorKind};
use crate::stages::route::stage_of;
use crate::stages::stage::Side;
use crate::stages::stale::StaleKind;
use crate::stages::verification::{DIFFERING_MAX, KeyDifference, KeyDifferenceKind, Phase};
use crate::state::Shared;
use crate::store::marks;
use crate::transaction::Tx;

/// How often one key is tried whose transaction the database chose to fail, or whose row came and went.
const ATTEMPTS: u32 = 4;
const RETRY_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
/// Failures that a report names.
const FAILURES_MAX: usize = 100;

/// What a repair did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// Keys that were compared, on either side.
    pub compared: u64,
    /// Keys whose row was, or would be, written again.
    pub copied: u64,
    /// Keys whose row was, or would be, removed, because the side that answers has none.
    pub removed: u64,
    /// Keys that seemed to differ and were equal under the lock: nothing was done.
    pub already_equal: u64,
    /// Keys that cannot be copied, or differ after it, or that old lacks while writes in flight do not end: after
    /// [`FENCE_REFUSALS_MAX`](crate::defaults::FENCE_REFUSALS_MAX) of these no more are waited for.
    pub failed: u64,
    /// The first 100 of these, as JSON, with the reason.
    pub failures: Vec<(String, String)>,
    /// The first [`DIFFERING_MAX`] keys that were, or would be, changed, as they were found.
    pub changed: Vec<KeyDifference>,
}

/// What became of one key.
enum Repaired {
    Equal,
    Copied(KeyDifference),
    Removed(KeyDifference),
    Failed(String),
}

/// What one attempt to repair a key came to.
enum Attempt {
    Done(Repaired),
    /// Its row was inserted meanwhile.
    Again,
    /// Old lacks the row: it must be copied with the fence held exclusively.
    Exclusive,
}

pub(crate) async fn repair<DB: Backend>(
    copier: &SqlCopier<DB>,
    shared: &Shared,
    options: VerifyOptions,
    keep: bool,
) -> Result<RepairReport, Error> {
    copier.check_keys().await.map_err(|error| error.of(&shared.name))?;
    equality::learn(copier).await.map_err(|error| error.of(&shared.name))?;
    let plan = Plan::new(copier, shared)?;
    check_stage(shared.refresh().await?.position, &shared.name)?;
    let limit = options.limit(copier.compares_rows());
    let mut chunks = Chunks::new(&plan, (limit, 1), options.sample, (Phase::Old, None))?;
    let mut pacing = Pacing::new(&plan, &options);
    let (mut report, mut refusals) = (RepairReport::default(), Refusals::default());
    loop {
        let start = shared.clock.now();
        let Some(looked) = next(&mut chunks).await? else { break };
        report.compared += looked.compared;
        for suspect in &looked.suspects {
            let repaired = repair_key(&plan, &suspect.key, keep, &mut refusals).await?;
            if let Some(kind) = repaired.finding(keep) {
                withdraw(shared, &suspect.key, kind).await?;
            }
            report.add(&suspect.key, repaired)?;
        }
        let spent = std::time::Duration::from_nanos(shared.clock.now().saturating_sub(start));
        pacing.take(looked.compared, spent).await;
    }
    tracing::info!(
        migration = &*shared.name,
        keep,
        copied = report.copied,
        removed = report.removed,
        already_equal = report.already_equal,
        failed = report.failed,
        "repair"
    );
    Ok(report)
}

impl Repaired {
    /// What withdraws the proof, unless the transaction of the repair has done so.
    fn finding(&self, kept: bool) -> Option<StaleKind> {
        match self {
            Self::Copied(found) | Self::Removed(found) => (!kept).then(|| found.kind.stale()),
            Self::Failed(_) => Some(StaleKind::Difference),
            Self::Equal => None,
        }
    }
}

/// Withdraws the proof, unless the key is waived.
async fn withdraw(shared: &Shared, key: &KeyParts, kind: StaleKind) -> Result<(), Error> {
    let key = named(key)?;
    match shared.control.waived(&shared.name, std::slice::from_ref(&key)).await?.is_empty() {
        true => shared.control.mark_stale(&shared.name, kind).await,
        false => Ok(()),
    }
}

impl RepairReport {
    fn add(&mut self, key: &KeyParts, repaired: Repaired) -> Result<(), Error> {
        match repaired {
            Repaired::Equal => self.already_equal += 1,
            Repaired::Copied(found) => {
                self.copied += 1;
                self.name(found);
            }
            Repaired::Removed(found) => {
                self.removed += 1;
                self.name(found);
            }
            Repaired::Failed(reason) => {
                self.failed += 1;
                if self.failures.len() < FAILURES_MAX {
                    self.failures.push((named(key)?.0, reason));
                }
            }
        }
        Ok(())
    }

    fn name(&mut self, found: KeyDifference) {
        if self.changed.len() < DIFFERING_MAX {
            self.changed.push(found);
        }
    }
}

async fn repair_key<DB: Backend>(
    plan: &Plan<'_, DB>,
    key: &KeyParts,
    keep: bool,
    refusals: &mut Refusals,
) -> Result<Repaired, Error> {
    let mut mode = Mode { keep, exclusive: false, unreadable: false };
    for attempt in 1..=ATTEMPTS {
        match repair_key_once(plan, key, mode).await {
            Ok(Attempt::Done(repaired)) => return Ok(repaired),
            Ok(Attempt::Again) => {}
            Ok(Attempt::Exclusive) if refusals.are_enough() => {
                return Ok(Repaired::Failed(refusals.reason()));
            }
            Ok(Attempt::Exclusive) => {
                mode.exclusive = true;
                continue;
            }
            Err(error) if mode.exclusive && error.kind() == ErrorKind::Timeout => {
                refusals.take(plan.shared, error).await?;
                return Ok(Repaired::Failed(refusals.reason()));
            }
            Err(error) if error.kind() == ErrorKind::CopyFailed => {
                return Ok(Repaired::Failed(error.cause()));
            }
            // A value that does not fit the mapping: it may be what a copy replaces.
            Err(error) if error.is_about_data() && !mode.unreadable => {
                mode.unreadable = true;
                continue;
            }
            Err(error) if error.is_about_data() => {
                return Ok(Repaired::Failed(error.to_string()));
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Serialization | ErrorKind::Timeout | ErrorKind::CommitUnknown
                ) && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
        clock::sleep(RETRY_PAUSE).await;
    }
    Ok(Repaired::Failed("the row kept coming and going; repair it again".to_owned()))
}

/// How one attempt is made.
#[derive(Clone, Copy)]
struct Mode {
    /// It is committed; a dry run is rolled back.
    keep: bool,
    /// The fence is held exclusively: no write is in flight.
    exclusive: bool,
    /// A value does not fit the mapping: it is taken for different, and not compared before the copy.
    unreadable: bool,
}

/// What to do with a key that differs under the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Only say that it differs: what a dry run writes on another server would stay there.
    Report,
    /// Begin again with the fence held exclusively.
    BeginExclusive,
    Copy,
}

/// `elsewhere`: the sides are on two servers. `inserts`: old lacks the row, and is written. `inserts_exclusively`: the copy
/// function asks for it.
fn decide(mode: Mode, elsewhere: bool, inserts: bool, inserts_exclusively: bool) -> Step {
    match (mode.keep, mode.exclusive) {
        (false, _) if elsewhere => Step::Report,
        (true, false) if inserts && inserts_exclusively => Step::BeginExclusive,
        _ => Step::Copy,
    }
}

impl Attempt {
    /// What the side that answers lacks is removed from the other one, and anything else copied there.
    fn repaired(found: Suspect, to: Side) -> Result<Self, Error> {
        let removes = match to {
            Side::New => found.kind == KeyDifferenceKind::MissingInOld,
            Side::Old => found.kind == KeyDifferenceKind::MissingInNew,
        };
        let found = found.report()?;
        Ok(Self::Done(if removes { Repaired::Removed(found) } else { Repaired::Copied(found) }))
    }
}

fn left_different() -> Attempt {
    Attempt::Done(Repaired::Failed("the copy function left it different".to_owned()))
}

/// In the transaction that repairs the key: a crash must not leave a proof that is older than the finding.
async fn withdraw_proof<DB: Backend>(
    plan: &Plan<'_, DB>,
    tx: &mut Tx<'_, DB>,
    key: &KeyParts,
    kind: StaleKind,
) -> Result<(), Error> {
    let name = &plan.shared.name;
    let (conn, encoded) = (tx.connection(), named(key)?);
    let marked = marks::mark_unless_waived::<DB>(conn, name, kind, &encoded).await;
    marked.map_err(|error| Error::database("withdrawing the proof", error).of(name)).map(drop)
}

/// Begins as the mode says; answers the side that is to be written as well, which does not answer for this key.
async fn begin<DB: Backend>(
    plan: &Plan<'_, DB>,
    key: &KeyParts,
    mode: Mode,
) -> Result<(Tx<'static, DB>, Side), Error> {
    let shared = plan.shared;
    let (tx, position) = match mode.exclusive {
        true => plan.copier.begin_exclusive(shared).await?,
        false => plan.copier.begin(shared).await?,
    };
    check_stage(position, &shared.name)?;
    let bucket = plan.copier.bucket(shared, key)?;
    Ok((tx, stage_of(position, bucket).reads().other()))
}

async fn repair_key_once<DB: Backend>(
    plan: &Plan<'_, DB>,
    key: &KeyParts,
    mode: Mode,
) -> Result<Attempt, Error> {
    let shared = plan.shared;
    // The side that answers for this key is right, the other one is written.
    let (mut tx, to) = begin(plan, key, mode).await?;
    let keys = std::slice::from_ref(key);
    let (found, held) = match mode.unreadable {
        true => (vec![unreadable(key)], lock(plan, &mut tx, keys).await?),
        false => differing_locked(plan, &mut tx, keys).await?,
    };
    let Some(found) = found.into_iter().next() else {
        tx.rollback().await?;
        return Ok(Attempt::Done(Repaired::Equal));
    };
    let elsewhere = plan.mapping().is_some_and(|mapping| mapping.elsewhere.is_some());
    let held = held.contains(key);
    let inserts = to == Side::Old && !held;
    match decide(mode, elsewhere, inserts, plan.copier.inserts_exclusively()) {
        Step::Report => {
            tx.rollback().await?;
            return Attempt::repaired(found, to);
        }
        Step::BeginExclusive => return tx.rollback().await.map(|()| Attempt::Exclusive),
        Step::Copy => {}
    }
    if mode.keep {
        withdraw_proof(plan, &mut tx, key, found.kind.stale()).await?;
    }
    match write(plan, &mut tx, keys, to, held).await? {
        Written::Conflict => tx.rollback().await.map(|()| Attempt::Again),
        Written::Different => {
            tx.rollback().await?;
            Ok(left_different())
        }
        Written::Equal if mode.keep => {
            plan.copier.commit_copy(shared, tx).await?;
            Attempt::repaired(found, to)
        }
        Written::Equal => {
            plan.copier.judge(shared, &mut tx, keys, to).await?;
            tx.rollback().await?;
            Attempt::repaired(found, to)
        }
    }
}

/// What stands after a key was copied.
enum Written {
    Equal,
    Different,
    /// Its row was inserted meanwhile.
    Conflict,
}

async fn write<DB: Backend>(
    plan: &Plan<'_, DB>,
    tx: &mut Tx<'_, DB>,
    keys: &[KeyParts],
    to: Side,
    held: bool,
) -> Result<Written, Error> {
    match copy(plan, tx, keys, to, held).await {
        Err(error) if error.kind() == ErrorKind::Conflict => return Ok(Written::Conflict),
        copied => copied?,
    }
    let (left, _) = differing_locked(plan, tx, keys).await?;
    Ok(if left.is_empty() { Written::Equal } else { Written::Different })
}

async fn copy<DB: Backend>(
    plan: &Plan<'_, DB>,
    tx: &mut Tx<'_, DB>,
    keys: &[KeyParts],
    to: Side,
    in_old: bool,
) -> Result<(), Error> {
    let (copier, shared) = (plan.copier, plan.shared);
    match to {
        Side::New if in_old => copier.copy_locked(shared, tx, keys).await.map(drop),
        Side::New => copier.remove_orphans(shared, tx, keys).await.map(drop),
        Side::Old if !copier.copy.can_copy_back() => {
            let message = "the new side answers for this key, and the copy function has no way back: register a `CopyBack` with \
                           `.backfill_both_ways(…)`, or give the `CopySql` `.copying_back(…)`";
            let error = Error::new(ErrorKind::CopyFailed, "the repair failed");
            Err(error.caused_by(message).of(&shared.name))
        }
        Side::Old => {
            copier.copy_back_locked(shared, tx, keys).await?;
            if !in_old {
                // It is ours now, or another's that has committed: then once more, now locked.
                plan.keys(tx.connection(), &plan.statements.lock(keys)).await?;
                copier.copy_back_locked(shared, tx, keys).await?;
            }
            Ok(())
        }
    }
}
