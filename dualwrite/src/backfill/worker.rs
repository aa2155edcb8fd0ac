//! A worker of the backfill. Workers in any number of processes share one backfill: each claims ranges
//! of keys under a lease, copies a range page by page, and takes over the ranges of workers that died.
//! Here is its loop; what it claims, copies and waits for is in the files beside it.

use std::collections::HashSet;
use std::time::Duration;

use super::committing::Committing;
use super::crew::Place;
use super::decide::{Next, check_stage};
use super::options::BackfillOptions;
use super::pace::Pace;
use super::progress::Display;
use super::step::{Claim, Page};
use crate::clock;
use crate::control::BackfillProgress;
use crate::control::settings::BackfillSettings;
use crate::copy::run::SqlCopier;
use crate::copy::source::Pages;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::pace::load::Scales;
use crate::pace::rate::Brake;
use crate::pace::throttle::Throttle;
use crate::stages::position::Generation;
use crate::stages::readiness::drained;
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::state::waiting::Waiting;
use crate::store::ledger::{Instructions, Ledger, Phase, Range};

const RETRY_PAUSE: Duration = Duration::from_millis(50);
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(200);
const SHOW_EVERY_NS: u64 = 500_000_000;

/// One worker, with what it knows of the phase that it works on.
pub(crate) struct Worker<'a, DB: Backend> {
    pub(crate) copier: &'a SqlCopier<DB>,
    pub(crate) shared: &'a Shared,
    pub(crate) options: BackfillOptions,
    pub(crate) phase: Phase,
    /// The keys that it runs over.
    pub(crate) pages: Pages,
    pub(crate) generation: Generation,
    /// That of the phase before, where there was one.
    before: Option<Generation>,
    pub(crate) pace: Pace,
    pub(crate) brake: Brake,
    pub(crate) instructions: Option<Instructions>,
    /// The throttle of the options, with what operators have set.
    pub(crate) throttle: Throttle,
    pub(crate) settings: BackfillSettings,
    /// Why it makes way, as far as told, and when the database was asked last.
    pub(crate) told: Option<String>,
    pub(crate) asked: u64,
    pub(crate) pressed: Option<String>,
    pub(crate) scales: Scales,
    pub(crate) shown: u64,
    /// The first key of the page that was tried last.
    pub(crate) tried: Option<EncodedKey>,
    /// Keys ahead that could not be copied before.
    pub(crate) letters: HashSet<EncodedKey>,
    /// Among the workers of this process, where there may be several.
    pub(crate) place: Option<Place>,
}

impl<'a, DB: Backend> Worker<'a, DB> {
    pub(crate) fn new(
        copier: &'a SqlCopier<DB>,
        shared: &'a Shared,
        options: BackfillOptions,
        phase: Phase,
        pages: Pages,
    ) -> Self {
        Self {
            copier,
            shared,
            phase,
            pages,
            generation: Generation::FIRST,
            before: None,
            pace: Pace::new(options.batch, options.batch_time),
            throttle: options.throttle.clone(),
            settings: BackfillSettings::default(),
            options,
            brake: Brake::default(),
            instructions: None,
            told: None,
            asked: 0,
            pressed: None,
            scales: Scales::default(),
            shown: 0,
            tried: None,
            letters: HashSet::new(),
            place: None,
        }
    }

    /// One phase proves nothing for another generation than that of the phase before.
    pub(crate) fn after(self, before: Option<Generation>) -> Self {
        Self { before, ..self }
    }

    /// Works alone until the backfill of this generation is complete.
    pub(crate) async fn run(self) -> Result<BackfillProgress, Error> {
        let name = self.shared.name.clone();
        let sent_away = || Error::new(ErrorKind::Halted, "the worker was sent away").of(&name);
        self.work(None).await?.ok_or_else(sent_away)
    }

    /// The same in a crew, or until it is not wanted any more: then it answers `None`.
    pub(crate) async fn work(
        mut self,
        place: Option<Place>,
    ) -> Result<Option<BackfillProgress>, Error> {
        self.place = place;
        self.start().await?;
        let mut display = Display::new(&self.shared.name);
        loop {
            if self.is_surplus() {
                return Ok(None);
            }
            match self.claim().await? {
                Claim::Range(range) => {
                    if let Err(error) = self.work_off(range, &mut display).await {
                        self.release().await;
                        return Err(error);
                    }
                }
                Claim::Wait => clock::sleep(WAIT_FOR_OTHERS).await,
                Claim::Complete => break,
            }
        }
        self.shared.refresh().await?;
        let progress = self.progress().await?;
        display.show(&progress);
        Ok(Some(progress))
    }

    fn is_surplus(&self) -> bool {
        self.place.as_ref().is_some_and(Place::is_surplus)
    }

    /// A worker that gives up leaves its range to the others at once, if it can.
    async fn release(&self) {
        let released = async {
            let mut conn = self.copier.pool.acquire().await?;
            self.ledger().release::<DB>(&mut conn).await
        };
        if let Err(error) = released.await {
            let error = Error::without_values(&error);
            tracing::debug!(migration = &*self.shared.name, error, "a range stays claimed");
        }
    }

    pub(crate) fn ledger(&self) -> Ledger<'_> {
        Ledger {
            migration: &self.shared.name,
            phase: self.phase,
            generation: self.generation,
            owner: &self.options.owner,
            lease: self.options.lease,
        }
    }

    pub(crate) fn failed(&self, doing: &'static str) -> impl Fn(sqlx::Error) -> Error + use<DB> {
        let name = self.shared.name.clone();
        move |error| Error::database(doing, error).of(&name)
    }

    /// Waits until no old-only write can come any more; learns the generation.
    async fn start(&mut self) -> Result<(), Error> {
        let waiting = Waiting::new(self.shared, None);
        self.generation = loop {
            match self.check_drained().await {
                Err(error) if waiting.goes_on(&error) => waiting.pause().await?,
                Err(error) => return Err(error.of(&self.shared.name)),
                Ok(generation) => break generation,
            }
        };
        self.shared.refresh().await?;
        let failed = self.failed("asking for constraints");
        let mut conn = self.copier.pool.acquire().await.map_err(&failed)?;
        self.copier.learn(&mut conn).await.map_err(&failed)?;
        if self.before.is_some_and(|before| before != self.generation) {
            return Err(self.generation_raised());
        }
        Ok(())
    }

    /// The generation in which nothing earlier is in flight.
    async fn check_drained(&self) -> Result<Generation, Error> {
        let facts = self.shared.control.facts(&self.shared.name).await?;
        check_stage(facts.position, self.phase.to(), &self.shared.name)?;
        if self.phase.to() == Side::Old && facts.old.generation == Generation::FIRST {
            let message =
                "nothing was ever written to the new side alone: there is nothing to copy back";
            return Err(Error::new(ErrorKind::Blocked, message));
        }
        let blockers = drained(&facts);
        match (blockers.is_empty(), self.phase.to()) {
            (true, Side::New) => Ok(facts.new.generation),
            (true, Side::Old) => Ok(facts.old.generation),
            (false, _) => Err(Error::blocked(blockers)),
        }
    }

    async fn work_off(&mut self, mut range: Range, display: &mut Display) -> Result<(), Error> {
        self.read_dead_letters().await?;
        let mut committing: Option<Committing> = None;
        loop {
            let start = self.shared.clock.now();
            let error = match self.next_page(&mut range, &mut committing).await {
                Ok(Some(keys)) => {
                    self.after_success(keys, start, display).await?;
                    if !self.is_surplus() {
                        continue;
                    }
                    if let Some(commit) = committing.take() {
                        // What is not committed is copied again by whoever takes the range over.
                        let _ = self.committed(commit, &mut range).await;
                    }
                    self.release().await;
                    return Ok(());
                }
                Ok(None) => return Ok(()),
                Err(error) => error,
            };
            if error.kind() == ErrorKind::LeaseLost {
                let migration = &*self.shared.name;
                tracing::warn!(migration, "a range went to another worker");
                self.release().await; // or is still ours, and its cursor elsewhere than we believe
                return Ok(());
            }
            self.after_failure(&mut range, error).await?;
        }
    }

    /// How many keys were copied; `None` at the end of the range. A page is read while the commit of the one before is on
    /// its way, where commits wait for a disk.
    async fn next_page(
        &mut self,
        range: &mut Range,
        committing: &mut Option<Committing>,
    ) -> Result<Option<u32>, Error> {
        let mut page = self.page(range).await;
        if let Some(commit) = committing.take() {
            page = self.committed(commit, range).await.and(page);
        }
        let Page::Copied { tx, cursor, keys } = page? else { return Ok(None) };
        let commit = Committing::page(tx, range, cursor);
        match DB::Adapter::COMMIT_WAITS {
            true => *committing = Some(commit),
            false => self.committed(commit, range).await?,
        }
        Ok(Some(keys))
    }

    async fn after_success(
        &mut self,
        keys: u32,
        start: u64,
        display: &mut Display,
    ) -> Result<(), Error> {
        let end = self.shared.clock.now();
        let spent = Duration::from_nanos(end.saturating_sub(start));
        self.pace.copied(keys, spent);
        if end.saturating_sub(self.shown) >= SHOW_EVERY_NS {
            self.shown = end;
            display.show(&self.progress().await?);
        }
        self.pause_between_pages(u64::from(keys), spent).await;
        Ok(())
    }

    /// Fails where it must not be tried again.
    async fn after_failure(&mut self, range: &mut Range, error: Error) -> Result<(), Error> {
        let blame = error.kind() == ErrorKind::CopyFailed;
        if !blame && !error.may_pass() {
            return Err(error);
        }
        match self.pace.failed(blame) {
            Next::Retry => clock::sleep(RETRY_PAUSE).await,
            Next::Halve => {}
            Next::Stop => return Err(error),
            Next::DeadLetter => {
                if let Some(cursor) = self.record_dead_letter(range, &error).await? {
                    range.after = Some(cursor);
                }
            }
        }
        Ok(())
    }

    async fn committed(&mut self, commit: Committing, range: &mut Range) -> Result<(), Error> {
        commit.end(range).await.map_err(|error| self.copier.refused(error))?;
        self.pace.committed();
        Ok(())
    }

    pub(crate) async fn progress(&self) -> Result<BackfillProgress, Error> {
        let failed = self.failed("reading the progress");
        let mut conn = self.copier.pool.acquire().await.map_err(&failed)?;
        self.ledger().progress::<DB>(&mut conn).await.map_err(&failed)
    }

    pub(crate) fn generation_raised(&self) -> Error {
        let message = "the generation was raised meanwhile; start the backfill again";
        Error::new(ErrorKind::Conflict, message).of(&self.shared.name)
    }

    pub(crate) fn lease_lost(&self) -> Error {
        let message = "the lease on this range went to another worker; nothing was written";
        Error::new(ErrorKind::LeaseLost, message).of(&self.shared.name)
    }
}
