//! The verification of converging mode: asks key by key whether the two stores agree.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use crate::clock;
use crate::converging::repair::{Copying, settle};
use crate::converging::two::Two;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::pace::rate::rate_pause;
use crate::stages::position::{Generation, Position};
use crate::stages::stage::{Side, Stage};
use crate::stages::verification::{
    DIFFERING_MAX, KeyDifference, KeyDifferenceKind, Phase, Recorded, VerifyReport, VerifyState,
    is_sampled,
};
use crate::state::Shared;
use crate::verify::repair::RepairReport;
use crate::verify::run::VerifyOptions;

const PAGE_KEYS: u32 = 500;
/// How often a key that differs is looked at again, how often it must differ while nothing is in flight, and the pause
/// in between.
const LOOKS: u32 = 25;
const QUIET_LOOKS: u32 = 3;
const LOOK_PAUSE: Duration = Duration::from_millis(20);
const PAUSED_POLL: Duration = Duration::from_millis(250);

/// What was found of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Equal,
    /// It differed at first, or is known to be copied again.
    Transient,
    Different,
}

async fn judge(shared: &Shared, two: &Two, key: &EncodedKey) -> Result<Judged, Error> {
    if two.stores.agree(key).await? {
        return Ok(Judged::Equal);
    }
    let mut quiet = 0;
    for _ in 0..LOOKS {
        clock::sleep(LOOK_PAUSE).await;
        let before = two.marks.look(shared, key).await?;
        if two.stores.agree(key).await? {
            return Ok(Judged::Transient);
        }
        let is_quiet = |(writes, unsettled): (u64, bool)| writes == 0 && !unsettled;
        if is_quiet(before) && is_quiet(two.marks.look(shared, key).await?) {
            quiet += 1;
        }
        if quiet >= QUIET_LOOKS {
            return Ok(Judged::Different);
        }
    }
    Ok(Judged::Transient)
}

/// Every write must go to both sides, whatever the key.
fn check_stage(position: Position, name: &str) -> Result<(), Error> {
    if position.stage.writes_both() && position.reaches() != Stage::Complete {
        return Ok(());
    }
    let message =
        format!("a verification cannot run at {position}: the two sides drift apart there");
    Err(Error::new(ErrorKind::Blocked, message).of(name))
}

pub(crate) async fn verify(
    shared: &Shared,
    two: &Two,
    options: &VerifyOptions,
) -> Result<VerifyReport, Error> {
    let record = shared.refresh().await?;
    check_stage(record.position, &shared.name)?;
    let generations = [record.generation, record.old_generation];
    let fresh = VerifyState::new(generations, options.sample);
    let owner = uuid::Uuid::new_v4().to_string();
    let begun =
        shared.control.begin_verification(&shared.name, &owner, &fresh, options.afresh).await?;
    let mut run = Run { shared, two, owner, state: begun };
    run.record().await?;
    run.side(Phase::Old, Side::Old, Phase::Orphans, options).await?;
    run.side(Phase::Orphans, Side::New, Phase::End, options).await?;
    run.finish().await
}

struct Run<'a> {
    shared: &'a Shared,
    two: &'a Two,
    owner: String,
    state: VerifyState,
}

impl Run<'_> {
    /// Compares the keys of one side, where that part is not behind.
    async fn side(
        &mut self,
        phase: Phase,
        side: Side,
        next: Phase,
        options: &VerifyOptions,
    ) -> Result<(), Error> {
        let (shared, two) = (self.shared, self.two);
        let of = |error: Error| error.of(&shared.name);
        let limit = options.batch.unwrap_or(PAGE_KEYS).min(PAGE_KEYS);
        while self.state.phase == phase {
            let start = shared.clock.now();
            let cursor = self.state.cursor.clone().map(EncodedKey);
            let keys = two.stores.keys_after(side, cursor.as_ref(), limit).await.map_err(of)?;
            let Some(last) = keys.last() else {
                (self.state.phase, self.state.cursor) = (next, None);
                break;
            };
            let after = cursor.as_ref().map_or("", |key| &key.0);
            if is_sampled(options.sample, shared.salt, after) {
                self.compare(side, &keys).await.map_err(of)?;
            }
            self.state.cursor = Some(last.0.clone());
            self.check_generation().await?;
            self.record().await?;
            let spent = Duration::from_nanos(shared.clock.now().saturating_sub(start));
            clock::sleep(rate_pause(keys.len() as u64, spent, options.rate, 1)).await;
        }
        Ok(())
    }

    async fn compare(&mut self, side: Side, keys: &[EncodedKey]) -> Result<(), Error> {
        let (shared, two) = (self.shared, self.two);
        let judging: Vec<BoxFuture<'_, _>> =
            keys.iter().map(|key| judge(shared, two, key).boxed()).collect();
        let judging = stream::iter(judging).buffered(two.options.copies);
        let judged: Vec<Judged> = judging.try_collect().await?;
        let judged: Vec<(&EncodedKey, Judged)> = keys.iter().zip(judged).collect();
        let differing = judged.iter().filter(|(_, judged)| *judged == Judged::Different);
        let differing: Vec<EncodedKey> = differing.map(|(key, _)| (*key).clone()).collect();
        let waived = match differing.is_empty() {
            true => Default::default(),
            false => shared.control.waived(&shared.name, &differing).await?,
        };
        for (key, judged) in judged {
            let report = &mut self.state.report;
            // The keys of new that old has, too, were counted with those of old.
            report.compared += u64::from(side == Side::Old || judged != Judged::Equal);
            match judged {
                Judged::Equal => {}
                Judged::Transient => report.transient += 1,
                Judged::Different if waived.contains(key) => report.waived += 1,
                Judged::Different => {
                    let kind = KeyDifferenceKind::Different;
                    // Before progress is recorded: a crash must not lose it.
                    shared.control.mark_stale(&shared.name, kind.stale()).await?;
                    two.marks.unsettle(shared, key).await?;
                    shared.mark_dirty();
                    report.add(KeyDifference { key: key.0.clone(), kind, fields: Vec::new() });
                }
            }
        }
        Ok(())
    }

    /// Stores how far it is. Waits while it is paused, unless nothing is left to do.
    async fn record(&self) -> Result<(), Error> {
        let shared = self.shared;
        let refused = |kind, message: &str| Err(Error::new(kind, message).of(&shared.name));
        loop {
            let recorded =
                shared.control.record_verification(&shared.name, &self.owner, &self.state).await?;
            match recorded {
                Recorded::Paused if !self.state.done => clock::sleep(PAUSED_POLL).await,
                Recorded::Kept | Recorded::Paused => return Ok(()),
                Recorded::Cancelled if self.state.done => return Ok(()),
                Recorded::Cancelled => {
                    let message = "the verification was cancelled; `resume` it, and `run` it again";
                    return refused(ErrorKind::Halted, message);
                }
                Recorded::Superseded => {
                    let message = "another verification of this migration has begun; this one ends";
                    return refused(ErrorKind::LeaseLost, message);
                }
            }
        }
    }

    async fn check_generation(&self) -> Result<(), Error> {
        let record = self.shared.refresh().await?;
        check_stage(record.position, &self.shared.name)?;
        if [record.generation.0, record.old_generation.0] == self.state.generations {
            return Ok(());
        }
        let message = "the generation was raised meanwhile; start the verification again";
        Err(Error::new(ErrorKind::Conflict, message).of(&self.shared.name))
    }

    async fn finish(mut self) -> Result<VerifyReport, Error> {
        let shared = self.shared;
        self.check_generation().await?;
        self.record().await?; // whoever was superseded proves nothing
        if self.state.report.may_prove() {
            let generations = self.state.generations.map(Generation);
            let proven = shared.control.verified(&shared.name, &self.owner, generations).await?;
            self.state.report.proven = proven;
            shared.refresh().await?;
        }
        self.state.done = true;
        self.record().await?;
        Ok(self.state.report)
    }
}

/// Copies what differs, or only counts it.
pub(crate) async fn repair_differences(
    shared: &Shared,
    two: &Two,
    options: &VerifyOptions,
    keep: bool,
) -> Result<RepairReport, Error> {
    let of = |error: Error| error.of(&shared.name);
    check_stage(shared.refresh().await?.position, &shared.name)?;
    let mut report = RepairReport::default();
    let limit = options.batch.unwrap_or(PAGE_KEYS).min(PAGE_KEYS);
    for side in [Side::Old, Side::New] {
        let mut cursor: Option<EncodedKey> = None;
        loop {
            let keys = two.stores.keys_after(side, cursor.as_ref(), limit).await.map_err(of)?;
            let Some(last) = keys.last() else { break };
            cursor = Some(last.clone());
            for key in &keys {
                let judged = judge(shared, two, key).await.map_err(of)?;
                report.compared += u64::from(side == Side::Old || judged != Judged::Equal);
                if judged == Judged::Different {
                    repair_key(shared, two, key, keep, &mut report).await?;
                }
            }
        }
    }
    Ok(report)
}

async fn repair_key(
    shared: &Shared,
    two: &Two,
    key: &EncodedKey,
    keep: bool,
    report: &mut RepairReport,
) -> Result<(), Error> {
    if keep {
        two.marks.unsettle(shared, key).await?;
        shared.control.mark_stale(&shared.name, KeyDifferenceKind::Different.stale()).await?;
        if let Copying::Failed(error) = settle(shared, two, key).await? {
            report.failed += 1;
            if report.failures.len() < DIFFERING_MAX {
                report.failures.push((key.0.clone(), error.cause()));
            }
            return Ok(());
        }
    }
    report.copied += 1;
    if report.changed.len() < DIFFERING_MAX {
        let kind = KeyDifferenceKind::Different;
        report.changed.push(KeyDifference { key: key.0.clone(), kind, fields: Vec::new() });
    }
    Ok(())
}
