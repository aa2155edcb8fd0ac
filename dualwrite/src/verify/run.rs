//! Runs a verification: chunk by chunk, its progress stored every so many keys, so that it goes on after a
//! crash; records a clean result for the gates.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::chunk::{ChunkResult, Chunks};
use super::confirm::{Confirmed, check_stage, confirm};
use super::equality::{self, Equalities};
use super::mapped::Suspect;
use super::plan::Plan;
use crate::clock;
use crate::copy::run::SqlCopier;
use crate::copy::source::KeyParts;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::pace::load::{self, Scales};
use crate::pace::rate::{Brake, rate_keys, rate_pause};
use crate::pace::throttle::{Load, Throttle};
use crate::stages::position::{Generation, Percent};
use crate::stages::stage::Side;
use crate::stages::stale::StaleKind;
use crate::stages::verification::{
    KeyDifference, KeyDifferenceKind, Recorded, VerifyReport, VerifyState,
};
use crate::state::Shared;

/// Keys in a chunk that the database compares, by default.
pub const CHUNK_KEYS: u32 = 25_000;
/// Keys in a chunk whose rows Rust compares, by default: those of both sides are in memory.
pub const CHUNK_ROWS: u32 = 10_000;
/// Keys in a page that the copy function's `differing` is asked about, by default.
pub const ASKED_KEYS: u32 = 1_000;
/// Keys between two records of progress, by default. A second ends them too.
pub const CHECKPOINT_KEYS: u64 = 250_000;
const CHECKPOINT_NS: u64 = 1_000_000_000;
/// How often a chunk is tried again that the database failed at.
const ATTEMPTS: u32 = 3;
/// How often a chunk is looked at again for a suspect that no statement finds by its key.
const CHECKS: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const PAUSED_POLL: Duration = Duration::from_millis(250);
const WRONG_HOUR_POLL: Duration = Duration::from_secs(1);

/// What a verification was asked for.
#[derive(Clone, Debug)]
pub(crate) struct VerifyOptions {
    pub(crate) batch: Option<u32>,
    pub(crate) sample: Option<Percent>,
    pub(crate) workers: usize,
    pub(crate) rate: Option<u64>,
    pub(crate) throttle: Throttle,
    pub(crate) checkpoint: u64,
    pub(crate) afresh: bool,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            batch: None,
            sample: None,
            workers: 1,
            rate: None,
            throttle: Throttle::default(),
            checkpoint: CHECKPOINT_KEYS,
            afresh: false,
        }
    }
}

impl VerifyOptions {
    /// The keys of a chunk, by whether there is a mapping, and whether Rust compares rows of it.
    pub(crate) fn limit(&self, mapped: Option<bool>) -> u32 {
        let usual = match mapped {
            None => ASKED_KEYS,
            Some(true) => CHUNK_ROWS,
            Some(false) => CHUNK_KEYS,
        };
        self.batch.unwrap_or(usual).min(rate_keys(self.rate, 1))
    }
}

pub(crate) async fn verify<DB: Backend>(
    copier: &SqlCopier<DB>,
    shared: &Shared,
    options: VerifyOptions,
) -> Result<VerifyReport, Error> {
    copier.check_keys().await.map_err(|error| error.of(&shared.name))?;
    let equalities = equality::learn(copier).await.map_err(|error| error.of(&shared.name))?;
    let plan = Plan::new(copier, shared)?;
    let record = shared.refresh().await?;
    check_stage(record.position, &shared.name)?;
    copier.find_hazards(shared).await?;
    let owner = uuid::Uuid::new_v4().to_string();
    let generations = [record.generation, record.old_generation];
    let fresh = VerifyState::new(generations, options.sample);
    let state =
        shared.control.begin_verification(&shared.name, &owner, &fresh, options.afresh).await?;
    let stored_at = shared.clock.now();
    let mut run = Run { plan: &plan, equalities, state, owner, since: 0, stored_at };
    let cursor = (run.state.phase, run.state.cursor.clone());
    let size = (options.limit(copier.compares_rows()), options.workers);
    let cursor = (cursor.0, cursor.1.as_deref());
    let mut chunks = Chunks::new(&plan, size, options.sample, cursor)?;
    let mut pacing = Pacing::new(&plan, &options);
    run.record().await?; // perhaps it is paused
    loop {
        let start = shared.clock.now();
        let Some(looked) = next(&mut chunks).await? else { break };
        let keys = looked.compared;
        run.count(looked).await?;
        run.record_now_and_then(options.checkpoint).await?;
        let spent = Duration::from_nanos(shared.clock.now().saturating_sub(start));
        pacing.take(keys, spent).await;
    }
    run.finish().await
}

/// The next chunk; what may pass is tried again a few times.
pub(crate) async fn next<DB: Backend>(
    chunks: &mut Chunks<'_, '_, DB>,
) -> Result<Option<ChunkResult>, Error> {
    let mut attempt = 1;
    loop {
        match chunks.next().await {
            Err(error) if may_pass(&error) && attempt < ATTEMPTS => {
                attempt += 1;
                clock::sleep(RETRY_PAUSE).await;
            }
            result => return result,
        }
    }
}

fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Serialization | ErrorKind::Database)
}

struct Run<'p, 'a, DB: Backend> {
    plan: &'p Plan<'a, DB>,
    equalities: Equalities,
    state: VerifyState,
    owner: String,
    /// Keys since progress was stored.
    since: u64,
    stored_at: u64,
}

impl<DB: Backend> Run<'_, '_, DB> {
    async fn count(&mut self, looked: ChunkResult) -> Result<(), Error> {
        let mut confirmed = self.confirm(&looked.suspects).await?;
        let nowhere = self.follow(&looked, &mut confirmed).await?;
        // A key of old may find a row of new that is spelled otherwise, and is no row of it: another pass counts that.
        let asked: HashSet<&KeyParts> = looked.suspects.iter().map(|one| &one.key).collect();
        let is_counted_apart = |found: &Suspect| {
            self.plan.orphans.is_some()
                && found.kind == KeyDifferenceKind::MissingInOld
                && !asked.contains(&found.key)
        };
        confirmed.differing.retain(|found| !is_counted_apart(found));
        let explained = confirmed.differing.len() + nowhere.len();
        let transient = looked.suspects.len().saturating_sub(explained);
        let kind = KeyDifferenceKind::Unexplained;
        let confirmed = confirmed.differing.into_iter();
        let confirmed =
            confirmed.chain(nowhere.into_iter().map(|key| Suspect { kind, ..Suspect::of(key) }));
        let found = confirmed.map(Suspect::report).collect::<Result<Vec<_>, _>>()?;
        let waived = self.waived(&found).await?;
        let report = &mut self.state.report;
        report.compared += looked.compared;
        report.transient += transient as u64;
        for kind in stale_kinds(&found, &waived) {
            // Before progress is recorded: a crash must not lose it.
            self.plan.shared.control.mark_stale(&self.plan.shared.name, kind).await?;
        }
        let report = &mut self.state.report;
        for found in found {
            match waived.contains(&found.key) {
                true => report.waived += 1,
                false => report.add(found),
            }
        }
        self.state.phase = looked.phase;
        self.state.cursor = looked.cursor;
        self.since += looked.compared;
        Ok(())
    }

    async fn confirm(&self, suspects: &[Suspect]) -> Result<Confirmed, Error> {
        let mut attempt = 1;
        loop {
            match confirm(self.plan, suspects).await {
                Err(error) if may_pass(&error) && attempt < ATTEMPTS => {
                    attempt += 1;
                    clock::sleep(RETRY_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// The suspects that are read again and again, and that no statement finds by their key. A row that was
    /// deleted meanwhile is not read again.
    async fn follow(
        &self,
        looked: &ChunkResult,
        confirmed: &mut Confirmed,
    ) -> Result<Vec<KeyParts>, Error> {
        let mut nowhere = std::mem::take(&mut confirmed.nowhere);
        for _ in 0..CHECKS {
            if nowhere.is_empty() {
                break;
            }
            let seen: HashSet<KeyParts> =
                self.plan.compare_again(&looked.range).await?.into_iter().collect();
            nowhere.retain(|key| seen.contains(key));
            let suspects: Vec<Suspect> = nowhere.into_iter().map(Suspect::of).collect();
            let again = self.confirm(&suspects).await?;
            confirmed.differing.extend(again.differing);
            nowhere = again.nowhere;
        }
        Ok(nowhere)
    }

    /// Those of these keys that somebody waived.
    async fn waived(&self, found: &[KeyDifference]) -> Result<HashSet<String>, Error> {
        let shared = self.plan.shared;
        if found.is_empty() {
            return Ok(HashSet::new());
        }
        // Under the spelling by which the dead letters know them.
        let pages = self.plan.statements.pages(Side::Old);
        let known = |one: &KeyDifference| -> Result<EncodedKey, Error> {
            pages.identity(&EncodedKey(one.key.clone()).parts(pages.kind)?)
        };
        let keys = found.iter().map(known).collect::<Result<Vec<_>, Error>>()?;
        let waived = shared.control.waived(&shared.name, &keys).await?;
        let is_waived = |key: &EncodedKey| waived.contains(key);
        let named = found.iter().zip(&keys).filter(|(_, key)| is_waived(key));
        Ok(named.map(|(one, _)| one.key.clone()).collect())
    }

    async fn record_now_and_then(&mut self, keys: u64) -> Result<(), Error> {
        let now = self.plan.shared.clock.now();
        if self.since >= keys || now.saturating_sub(self.stored_at) >= CHECKPOINT_NS {
            (self.since, self.stored_at) = (0, now);
            self.check_generation().await?;
            self.record().await?;
        }
        Ok(())
    }

    /// Stores how far it is. Waits while it is paused, unless nothing is left to do.
    async fn record(&self) -> Result<(), Error> {
        let (shared, owner) = (self.plan.shared, &self.owner);
        loop {
            match shared.control.record_verification(&shared.name, owner, &self.state).await? {
                Recorded::Paused if !self.state.done => clock::sleep(PAUSED_POLL).await,
                Recorded::Kept | Recorded::Paused => return Ok(()),
                Recorded::Cancelled if self.state.done => return Ok(()),
                Recorded::Cancelled => {
                    let message = "the verification was cancelled; `resume` it, and `run` it again";
                    return Err(Error::new(ErrorKind::Halted, message).of(&shared.name));
                }
                Recorded::Superseded => {
                    let message = "another verification of this migration has begun; this one ends";
                    return Err(Error::new(ErrorKind::LeaseLost, message).of(&shared.name));
                }
            }
        }
    }

    /// What was found belongs to one generation.
    async fn check_generation(&self) -> Result<(), Error> {
        let shared = self.plan.shared;
        let record = shared.refresh().await?;
        check_stage(record.position, &shared.name)?;
        if [record.generation.0, record.old_generation.0] == self.state.generations {
            return Ok(());
        }
        let message = "the generation was raised meanwhile; start the verification again";
        Err(Error::new(ErrorKind::Conflict, message).of(&shared.name))
    }

    async fn finish(mut self) -> Result<VerifyReport, Error> {
        let shared = self.plan.shared;
        self.check_generation().await?;
        self.plan.copier.check_keys().await.map_err(|error| error.of(&shared.name))?;
        let equalities = equality::learn(self.plan.copier).await;
        if equalities.map_err(|error| error.of(&shared.name))? != self.equalities {
            let message = "a column was altered while the verification ran; start it again";
            return Err(Error::new(ErrorKind::Conflict, message).of(&shared.name));
        }
        if self.state.report.sample.is_none() {
            let checked = self.plan.copier.check_repeats().await;
            checked.map_err(|error| error.of(&shared.name))?;
        }
        // Whoever was superseded proves nothing.
        self.record().await?;
        if self.state.report.may_prove() {
            // Perhaps the table was truncated meanwhile, and no trigger was told.
            self.plan.copier.find_hazards(shared).await?;
            let generations = self.state.generations.map(Generation);
            let proven = shared.control.verified(&shared.name, &self.owner, generations).await?;
            self.state.report.proven = proven;
            shared.refresh().await?;
        }
        self.state.done = true;
        self.record().await?;
        let report = self.state.report;
        tracing::info!(
            migration = &*shared.name,
            generation = report.generation,
            compared = report.compared,
            differing = report.differing,
            transient = report.transient,
            waived = report.waived,
            proven = report.proven,
            "verification"
        );
        Ok(report)
    }
}

/// What withdraws the proof among these differences, of which some keys are waived.
fn stale_kinds(found: &[KeyDifference], waived: &HashSet<String>) -> BTreeSet<StaleKind> {
    let counts = found.iter().filter(|found| !waived.contains(&found.key));
    counts.map(|found| found.kind.stale()).collect()
}

/// Pauses between chunks: for the rate, and for whoever needs the database more. The deciders are those of
/// the backfill.
pub(crate) struct Pacing<'p, 'a, DB: Backend> {
    plan: &'p Plan<'a, DB>,
    throttle: Throttle,
    rate: Option<u64>,
    brake: Brake,
    asked: u64,
    scales: Scales,
    pressed: Option<String>,
    told: Option<String>,
}

impl<'p, 'a, DB: Backend> Pacing<'p, 'a, DB> {
    pub(crate) fn new(plan: &'p Plan<'a, DB>, options: &VerifyOptions) -> Self {
        Self {
            plan,
            throttle: options.throttle.clone(),
            rate: options.rate,
            brake: Brake::default(),
            asked: 0,
            scales: Scales::default(),
            pressed: None,
            told: None,
        }
    }

    pub(crate) async fn take(&mut self, keys: u64, spent: Duration) {
        let reason = match self.throttle.asks_host() {
            Some(reason) => Some(reason),
            None => self.pressed().await,
        };
        let pause = self.brake.judge(reason.is_some()).max(rate_pause(keys, spent, self.rate, 1));
        if reason != self.told {
            let migration = &*self.plan.shared.name;
            tracing::info!(migration, reason, "the verification makes way");
            self.told = reason;
        }
        if !pause.is_zero() {
            clock::sleep(pause).await;
        }
    }

    /// What the database says of itself, asked now and then. Waits for the allowed hours.
    async fn pressed(&mut self) -> Option<String> {
        loop {
            let now = self.plan.shared.clock.now();
            if now.saturating_sub(self.asked) < load::EVERY_NS {
                return self.pressed.clone();
            }
            self.asked = now;
            match self.ask().await {
                Ok((hour, _)) if !self.throttle.allows(hour) => {
                    clock::sleep(WRONG_HOUR_POLL).await;
                    self.asked = 0;
                }
                Ok((_, load)) => self.pressed = self.throttle.judge(&load),
                Err(error) => {
                    // Perhaps we may not look, or it is the one that is ill: its errors stop us then.
                    let migration = &*self.plan.shared.name;
                    let error = Error::without_values(&error);
                    tracing::debug!(migration, error, "no word of the load");
                    self.pressed = None;
                }
            }
        }
    }

    async fn ask(&mut self) -> sqlx::Result<(u8, Load)> {
        let mut conn = self.plan.copier.pool.acquire().await?;
        let sql = "SELECT {now}";
        let rows = DB::Adapter::fetch(&mut conn, sql, &[]).await?;
        let now = rows.first().map_or(Ok(0), |row| row.unsigned(0))?;
        let hour = (now / 3_600_000_000 % 24) as u8;
        drop(conn); // it may be the only one
        let (copier, shared) = (&self.plan.copier, self.plan.shared);
        let load = self.scales.read(&copier.pool, &copier.replicas, shared, &self.throttle).await?;
        Ok((hour, load))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_no_more_keys_than_a_second_may_have() {
        let limit = |rate| VerifyOptions { rate, ..VerifyOptions::default() }.limit(Some(false));
        assert_eq!(
            [limit(None), limit(Some(1 << 40)), limit(Some(7))],
            [CHUNK_KEYS, CHUNK_KEYS, 7]
        );
    }
}
