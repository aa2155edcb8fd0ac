//! A worker of the backfill. Workers in any number of processes share one backfill: each claims ranges
//! of keys under a lease, copies a range page by page, and takes over the ranges of workers that died.
//!
//! One transaction per page: fence, lease check, rows locked, copied, cursor and counters moved, commit.
//! A crash between two commits loses nothing and repeats nothing.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::{join, join_all};

use super::decide::{BATCH_KEYS, BATCH_TIME, Brake, FAILURES_MAX, Next, Pace, rate_pause};
use super::ledger::{self, Head, Ledger, Orders, Part, Range, State};
use super::load::{self, Scales};
use super::progress::Display;
use super::throttle::Throttle;
use crate::backend::Backend;
use crate::backend::sealed::Adapter as _;
use crate::clock;
use crate::control::BackfillProgress;
use crate::copy::run::{SqlCopier, typed_key};
use crate::copy::source::{KeyParts, Pages, key_of};
use crate::copy::{Copied, CopyKeys};
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, Key, KeyKind};
use crate::moving::Waiting;
use crate::observe::count;
use crate::position::{Generation, Position};
use crate::readiness::drained;
use crate::shared::Shared;
use crate::stage::{Side, Stage};
use crate::transaction::Tx;

/// The most workers of one run in one process.
pub const WORKERS_MAX: u32 = 16;
/// Batches in a range that a worker claims at once.
const RANGE_BATCHES: u32 = 20;
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(200);
const PAUSED_LOOK: Duration = Duration::from_millis(250);
const SHOW_EVERY_NS: u64 = 500_000_000;
/// Dead letters that a worker takes out by itself while it copies; the rest is retried in its time.
const LETTERS_KNOWN: u32 = 1_000;
/// Below this counting is quick.
const ESTIMATE_FROM: u64 = 100_000;

/// What one run of the backfill was asked for.
#[derive(Clone, Debug)]
pub(crate) struct BackfillOptions {
    /// The side that is copied to.
    pub(crate) to: Side,
    pub(crate) batch: u32,
    pub(crate) batch_time: Duration,
    pub(crate) rate: Option<u64>,
    pub(crate) throttle: Throttle,
    pub(crate) exact_total: bool,
    pub(crate) lease: Duration,
    pub(crate) failures_max: u64,
    pub(crate) owner: String,
    /// At least one.
    pub(crate) workers: u32,
}

impl Default for BackfillOptions {
    fn default() -> Self {
        Self {
            to: Side::New,
            batch: BATCH_KEYS,
            batch_time: BATCH_TIME,
            rate: None,
            throttle: Throttle::default(),
            exact_total: false,
            lease: Duration::from_secs(30),
            failures_max: FAILURES_MAX,
            owner: uuid::Uuid::new_v4().to_string(),
            workers: 1,
        }
    }
}

/// Runs a worker until the backfill is complete: first the keys that are only on the side that is copied
/// to, so that the end of the rest proves the whole.
pub(crate) async fn run<C: CopyKeys>(
    copier: &SqlCopier<C>,
    shared: &Shared,
    options: BackfillOptions,
) -> Result<BackfillProgress, Error> {
    let to = options.to;
    if to == Side::Old && !(copier.copy.can_copy_back() && copier.new_pages.is_some()) {
        let message = "a reverse copy needs `copy_back`, `can_copy_back` and `new_source`";
        return Err(Error::new(ErrorKind::Unsupported, message).of(&shared.name));
    }
    let strays = copier.new_pages.as_ref().and_then(|new| match to {
        Side::New => new.missing_in(&copier.pages),
        Side::Old => copier.pages.missing_in(new),
    });
    if let Some(pages) = strays {
        Worker::new(copier, shared, options.clone(), Part::Strays(to), pages).run().await?;
    }
    let pages = match (to, &copier.new_pages) {
        (Side::Old, Some(pages)) => pages.clone(),
        _ => copier.pages.clone(),
    };
    let worker = |options| Worker::new(copier, shared, options, Part::All(to), pages.clone()).run();
    let others = (1..options.workers).map(|_| {
        let owner = uuid::Uuid::new_v4().to_string();
        worker(BackfillOptions { owner, ..options.clone() })
    });
    // What one leaves undone the others take over: whichever comes to the end has seen that all is copied.
    let (first, others) = join(worker(options.clone()), join_all(others)).await;
    others.into_iter().fold(first, Result::or)
}

struct Worker<'a, C: CopyKeys> {
    copier: &'a SqlCopier<C>,
    shared: &'a Shared,
    options: BackfillOptions,
    part: Part,
    /// The keys that it runs over.
    pages: Pages,
    generation: Generation,
    pace: Pace,
    brake: Brake,
    orders: Option<Orders>,
    /// Why it makes way, as far as told, and when the database was asked last.
    told: Option<String>,
    asked: u64,
    pressed: Option<String>,
    scales: Scales,
    shown: u64,
    /// The first key of the page that was tried last.
    tried: Option<EncodedKey>,
    /// Keys ahead that could not be copied before.
    letters: HashSet<EncodedKey>,
}

/// What claiming found.
enum Claim {
    Range(Range),
    /// Other workers hold the rest.
    Wait,
    Complete,
}

/// What one page came to.
enum Page {
    Copied { cursor: EncodedKey, keys: u32 },
    RangeDone,
}

impl<'a, C: CopyKeys> Worker<'a, C> {
    fn new(
        copier: &'a SqlCopier<C>,
        shared: &'a Shared,
        options: BackfillOptions,
        part: Part,
        pages: Pages,
    ) -> Self {
        Self {
            copier,
            shared,
            part,
            pages,
            generation: Generation::FIRST,
            pace: Pace::new(options.batch, options.batch_time),
            options,
            brake: Brake::default(),
            orders: None,
            told: None,
            asked: 0,
            pressed: None,
            scales: Scales::default(),
            shown: 0,
            tried: None,
            letters: HashSet::new(),
        }
    }

    /// Works until the backfill of this generation is complete.
    async fn run(mut self) -> Result<BackfillProgress, Error> {
        self.start().await?;
        let mut display = Display::new(&self.shared.name);
        loop {
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
        Ok(progress)
    }

    /// A worker that gives up leaves its range to the others at once, if it can.
    async fn release(&self) {
        let released = async {
            let mut conn = self.copier.pool.acquire().await?;
            self.ledger().release::<C::Database>(&mut conn).await
        };
        if let Err(error) = released.await {
            tracing::debug!(migration = &*self.shared.name, %error, "a range stays claimed");
        }
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger {
            migration: &self.shared.name,
            part: self.part,
            generation: self.generation,
            owner: &self.options.owner,
            lease: self.options.lease,
        }
    }

    fn failed(&self, doing: &'static str) -> impl Fn(sqlx::Error) -> Error + use<C> {
        let name = self.shared.name.clone();
        move |error| Error::database(doing, error).of(&name)
    }

    /// Waits until no old-only write can come any more; learns the generation.
    async fn start(&mut self) -> Result<(), Error> {
        let waiting = Waiting::new(self.shared, None);
        loop {
            match self.check_drained().await {
                Err(error) if waiting.goes_on(&error) => waiting.pause().await,
                Err(error) => return Err(error.of(&self.shared.name)),
                Ok(()) => break,
            }
        }
        let record = self.shared.refresh().await?;
        self.generation = match self.part.to() {
            Side::New => record.generation,
            Side::Old => record.old_generation,
        };
        Ok(())
    }

    async fn check_drained(&self) -> Result<(), Error> {
        let facts = self.shared.control.facts(&self.shared.name).await?;
        check_stage(facts.position, self.part.to(), &self.shared.name)?;
        if self.part.to() == Side::Old && facts.old_generation == Generation::FIRST {
            let message = "nothing was ever written to new alone: there is nothing to copy back";
            return Err(Error::new(ErrorKind::Blocked, message));
        }
        let blockers = drained(&facts);
        if blockers.is_empty() { Ok(()) } else { Err(Error::blocked(blockers)) }
    }

    /// A transaction of this generation's backfill. Waits while it is paused, or the hour is wrong.
    async fn begin(&mut self) -> Result<Tx<'static, C::Database>, Error> {
        loop {
            let (tx, orders) = self.begin_under_orders().await?;
            let reason = match orders.state {
                State::Cancelled => {
                    let message = "the backfill was cancelled; `resume` it to go on";
                    return Err(Error::new(ErrorKind::Halted, message).of(&self.shared.name));
                }
                State::Paused => "paused",
                State::Running if !self.options.throttle.allows(orders.hour) => {
                    "outside the allowed hours"
                }
                State::Running | State::Complete => {
                    self.orders = Some(orders);
                    return Ok(tx);
                }
            };
            tx.rollback().await?;
            self.tell(Some(reason.to_owned())).await;
            clock::sleep(PAUSED_LOOK).await;
        }
    }

    async fn begin_under_orders(&self) -> Result<(Tx<'static, C::Database>, Orders), Error> {
        let (mut tx, position) = self.copier.begin(self.shared).await?;
        check_stage(position, self.part.to(), &self.shared.name)?;
        if self.part.to() == Side::New && position.stage.reads() == Side::New {
            let whole = ledger::is_old_whole::<C::Database>(tx.connection(), &self.shared.name);
            if !whole.await.map_err(self.failed("asking whether old is whole"))? {
                let message = "old lacks what was written to new alone, so nothing is copied from it: \
                               run `backfill().reverse()`";
                return Err(Error::new(ErrorKind::Blocked, message).of(&self.shared.name));
            }
        }
        // Asked under the fence: a worker that slept may know nothing but its own generation, and what
        // it takes for missing in new is long there.
        let orders = self.ledger().orders::<C::Database>(tx.connection()).await;
        let orders = orders.map_err(self.failed("reading the generation"))?;
        match orders.filter(|orders| orders.generation == self.generation) {
            Some(orders) => Ok((tx, orders)),
            None => {
                let message = "the generation was raised meanwhile; start the backfill again";
                Err(Error::new(ErrorKind::Conflict, message).of(&self.shared.name))
            }
        }
    }

    /// After a batch: pauses for the rate, and for whoever needs the database more.
    async fn breathe(&mut self, keys: u64, spent: Duration) {
        let reason = match self.options.throttle.asks_host() {
            Some(reason) => Some(reason),
            None => self.pressed().await,
        };
        let (rate, workers) = self.orders.as_ref().map_or((None, 1), |o| (o.rate, o.workers));
        let pause = self.brake.judge(reason.is_some()).max(rate_pause(keys, spent, rate, workers));
        self.tell(reason).await;
        if !pause.is_zero() {
            clock::sleep(pause).await;
        }
    }

    /// What the database says of itself, asked now and then.
    async fn pressed(&mut self) -> Option<String> {
        let now = self.shared.clock.now();
        if now.saturating_sub(self.asked) >= load::EVERY_NS {
            self.asked = now;
            let throttle = &self.options.throttle;
            self.pressed = match self.scales.read(&self.copier.pool, self.shared, throttle).await {
                Ok(load) => throttle.judge(&load),
                Err(error) => {
                    // Perhaps we may not look, or it is the one that is ill: its errors stop us then.
                    tracing::debug!(migration = &*self.shared.name, %error, "no word of the load");
                    None
                }
            };
        }
        self.pressed.clone()
    }

    /// Stores and logs why it makes way, where that has changed.
    async fn tell(&mut self, reason: Option<String>) {
        if reason == self.told {
            return;
        }
        tracing::info!(migration = &*self.shared.name, reason, "the backfill makes way");
        let stored = async {
            let mut conn = self.copier.pool.acquire().await?;
            self.ledger().tell::<C::Database>(&mut conn, reason.as_deref()).await
        };
        match stored.await {
            Ok(()) => self.told = reason,
            Err(error) => tracing::debug!(migration = &*self.shared.name, %error, "not stored"),
        }
    }

    async fn claim(&mut self) -> Result<Claim, Error> {
        let failed = self.failed("claiming a range to copy");
        let mut tx = self.begin().await?;
        let conn = tx.connection();
        let ledger = self.ledger();
        let head = match ledger.head::<C::Database>(conn).await.map_err(&failed)? {
            Some(head) => head,
            None => self.fix_range(conn).await?,
        };
        if head.complete {
            tx.rollback().await?;
            return Ok(Claim::Complete);
        }
        let claim = match ledger.take_over::<C::Database>(conn).await.map_err(&failed)? {
            Some(range) => Claim::Range(range),
            None => self.claim_next(conn, &head).await?,
        };
        tx.commit().await?;
        Ok(claim)
    }

    async fn claim_next(
        &self,
        conn: &mut <C::Database as sqlx::Database>::Connection,
        head: &Head,
    ) -> Result<Claim, Error> {
        let failed = self.failed("claiming a range to copy");
        let ledger = self.ledger();
        let parts =
            |key: &Option<EncodedKey>| key.as_ref().map(|key| key.parts(KIND::<C>())).transpose();
        let (after, end) = (parts(&head.claimed)?, parts(&head.range_end)?);
        let keys = self.pace.limit().saturating_mul(RANGE_BATCHES);
        let next = match end {
            Some(_) => self.pages.range_end(after.as_ref(), end.as_ref(), keys),
            None => return self.finish(conn).await,
        };
        let rows = <C::Database as Backend>::Adapter::fetch(conn, &next.0, &next.1)
            .await
            .map_err(&failed)?;
        match rows.into_iter().next() {
            Some(row) => {
                let last = EncodedKey::from_parts(&key_of(row, KIND::<C>())?)?;
                let claimed = ledger.claim::<C::Database>(conn, head, &last).await;
                claimed.map(Claim::Range).map_err(&failed)
            }
            None => self.finish(conn).await,
        }
    }

    /// The page after the last claimed key is empty, and this transaction is healthy. What is left is
    /// what other workers hold.
    async fn finish(
        &self,
        conn: &mut <C::Database as sqlx::Database>::Connection,
    ) -> Result<Claim, Error> {
        let failed = self.failed("completing the backfill");
        let ledger = self.ledger();
        if ledger.has_open_ranges::<C::Database>(conn).await.map_err(&failed)? {
            return Ok(Claim::Wait);
        }
        ledger.complete::<C::Database>(conn).await.map_err(&failed)?;
        Ok(Claim::Complete)
    }

    /// Fixes the end of the range: rows born later belong to the dual write.
    async fn fix_range(
        &self,
        conn: &mut <C::Database as sqlx::Database>::Connection,
    ) -> Result<Head, Error> {
        let failed = self.failed("fixing the range of the backfill");
        let (sql, values) = self.pages.greatest();
        let rows =
            <C::Database as Backend>::Adapter::fetch(conn, &sql, &values).await.map_err(&failed)?;
        let end = rows.into_iter().next().map(|row| key_of(row, KIND::<C>())).transpose()?;
        let total = match &end {
            Some(end) => self.total(conn, end).await.map_err(&failed)?,
            None => 0,
        };
        let end = end.map(|parts| EncodedKey::from_parts(&parts)).transpose()?;
        let ledger = self.ledger();
        let rate = self.options.rate;
        ledger.start::<C::Database>(conn, end.as_ref(), total, rate).await.map_err(&failed)?;
        let head = ledger.head::<C::Database>(conn).await.map_err(&failed)?;
        head.ok_or_else(|| Error::new(ErrorKind::Conflict, "the backfill was removed meanwhile"))
    }

    /// How many keys there are: by the catalogue where counting would take long.
    async fn total(
        &self,
        conn: &mut <C::Database as sqlx::Database>::Connection,
        end: &KeyParts,
    ) -> sqlx::Result<u64> {
        let estimate = <C::Database as Backend>::Adapter::ESTIMATE;
        if let (false, Some(sql)) =
            (self.options.exact_total, estimate.and_then(|sql| self.pages.estimate(sql)))
        {
            let rows = <C::Database as Backend>::Adapter::fetch(conn, &sql, &[]).await?;
            let estimate = rows.first().and_then(|row| row.unsigned(0).ok());
            if let Some(many) = estimate.filter(|estimate| *estimate >= ESTIMATE_FROM) {
                return Ok(many);
            }
        }
        let (sql, values) = self.pages.count(Some(end));
        let rows = <C::Database as Backend>::Adapter::fetch(conn, &sql, &values).await?;
        rows[0].unsigned(0)
    }

    async fn work_off(&mut self, mut range: Range, display: &mut Display) -> Result<(), Error> {
        self.remember_letters().await?;
        loop {
            let start = self.shared.clock.now();
            let error = match self.page(&range).await {
                Ok(Page::Copied { cursor, keys }) => {
                    range.after = Some(cursor);
                    let end = self.shared.clock.now();
                    let spent = Duration::from_nanos(end.saturating_sub(start));
                    self.pace.succeeded(keys, spent);
                    if end.saturating_sub(self.shown) >= SHOW_EVERY_NS {
                        self.shown = end;
                        display.show(&self.progress().await?);
                    }
                    self.breathe(u64::from(keys), spent).await;
                    continue;
                }
                Ok(Page::RangeDone) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::LeaseLost => {
                    tracing::warn!(
                        migration = &*self.shared.name,
                        "a range went to another worker"
                    );
                    return Ok(());
                }
                Err(error) => error,
            };
            let blame = error.kind() == ErrorKind::CopyFailed;
            if !blame && !error.is_retryable() {
                return Err(error);
            }
            match self.pace.failed(blame) {
                Next::Retry => clock::sleep(RETRY_PAUSE).await,
                Next::Halve => {}
                Next::Stop => return Err(error),
                Next::Bury => {
                    if let Some(cursor) = self.bury(&range, &error).await? {
                        range.after = Some(cursor);
                    }
                }
            }
        }
    }

    /// Copies the next page of a range.
    async fn page(&mut self, range: &Range) -> Result<Page, Error> {
        let mut tx = self.begin().await?;
        // A page and its cursor are lost together, if at all, and copied again.
        if let Some(sql) = <C::Database as Backend>::Adapter::RELAX {
            let relaxed = <C::Database as Backend>::Adapter::run(tx.connection(), sql).await;
            relaxed.map_err(self.failed("relaxing the commit"))?;
        }
        if self.part == Part::All(Side::New) && self.copier.has_ranges(self.shared) {
            return self.stretch(tx, range).await;
        }
        let keys = self.lock_page(&mut tx, range, self.pace.limit()).await?;
        let Some(last) = keys.last() else {
            return self.range_done(tx, range).await;
        };
        let cursor = EncodedKey::from_parts(last)?;
        self.tried = keys.first().map(|key| EncodedKey::from_parts(key)).transpose()?;
        let typed = keys.iter().map(typed_key).collect::<Result<Vec<C::Key>, Error>>()?;
        let (copier, shared) = (self.copier, self.shared);
        let copied = match self.part {
            Part::All(Side::New) => copier.copy_locked(shared, &mut tx, &typed).await?,
            Part::Strays(Side::New) => copier.remove_strays(shared, &mut tx, &typed).await?,
            Part::Strays(Side::Old) => copier.copy_back_locked(shared, &mut tx, &typed).await?,
            Part::All(Side::Old) => {
                let after = range.after.as_ref().map(|key| key.parts(KIND::<C>())).transpose()?;
                let between = (after.as_ref(), last);
                copier.copy_back_page(shared, &mut tx, &typed, between).await?
            }
        };
        self.unbury(&mut tx, &keys).await?;
        self.check_in(&mut tx, range, &cursor, copied, 0).await?;
        tx.commit().await?;
        Ok(Page::Copied { cursor, keys: u32::try_from(keys.len()).unwrap_or(u32::MAX) })
    }

    /// What was copied after all is no dead letter any more.
    async fn unbury(&self, tx: &mut Tx<'_, C::Database>, copied: &[KeyParts]) -> Result<(), Error> {
        if self.letters.is_empty() {
            return Ok(());
        }
        let mut keys = Vec::new();
        for key in copied {
            keys.push(EncodedKey::from_parts(key)?);
        }
        keys.retain(|key| self.letters.contains(key));
        let (name, to) = (&self.shared.name, self.part.to());
        let unburied = ledger::unbury::<C::Database>(tx.connection(), name, to, &keys).await;
        unburied.map_err(self.failed("clearing dead letters"))
    }

    /// Dead letters from before that this range may bring to an end.
    async fn remember_letters(&mut self) -> Result<(), Error> {
        self.letters.clear();
        if self.shared.has_letters() {
            let (name, to) = (&self.shared.name, self.part.to());
            let known = self.shared.control.dead_letters(name, false, LETTERS_KNOWN).await?;
            let known = known.into_iter().filter(|letter| letter.side == to);
            self.letters.extend(known.map(|letter| EncodedKey(letter.key)));
        }
        Ok(())
    }

    /// Copies the next page by statements over its range, of which only the end is known here.
    async fn stretch(
        &mut self,
        mut tx: Tx<'static, C::Database>,
        range: &Range,
    ) -> Result<Page, Error> {
        let after = range.after.as_ref().map(|key| key.parts(KIND::<C>())).transpose()?;
        let last = range.last.parts(KIND::<C>())?;
        let (sql, values) = self.pages.stretch(after.as_ref(), &last, self.pace.limit());
        let rows = <C::Database as Backend>::Adapter::fetch(tx.connection(), &sql, &values)
            .await
            .map_err(self.failed("finding the end of a page"))?;
        let Some(row) = rows.into_iter().next() else {
            return self.range_done(tx, range).await;
        };
        let keys = row.unsigned(self.pages.width()).map_err(self.failed("counting keys"))?;
        let last = key_of(row, KIND::<C>())?;
        let cursor = EncodedKey::from_parts(&last)?;
        self.tried = Some(cursor.clone()); // a key that fails stands alone in the end
        self.copier.copy_range(self.shared, &mut tx, (after.as_ref(), &last)).await?;
        let copied = Copied { migrated: keys, skipped: 0 };
        self.check_in(&mut tx, range, &cursor, copied, 0).await?;
        tx.commit().await?;
        Ok(Page::Copied { cursor, keys: u32::try_from(keys).unwrap_or(u32::MAX) })
    }

    /// Nothing is left of a range.
    async fn range_done(
        &self,
        mut tx: Tx<'static, C::Database>,
        range: &Range,
    ) -> Result<Page, Error> {
        let done = self.ledger().checkpoint::<C::Database>(tx.connection(), range, None, 0).await;
        if !done.map_err(self.failed("ending a range"))? {
            return Err(self.lease_lost());
        }
        tx.commit().await?;
        Ok(Page::RangeDone)
    }

    async fn lock_page(
        &self,
        tx: &mut Tx<'_, C::Database>,
        range: &Range,
        limit: u32,
    ) -> Result<Vec<KeyParts>, Error> {
        let after = range.after.as_ref().map(|key| key.parts(KIND::<C>())).transpose()?;
        let last = range.last.parts(KIND::<C>())?;
        // Only rows of old are locked before they are copied: that is the order of every write.
        let in_old = matches!(self.part, Part::All(Side::New) | Part::Strays(Side::Old));
        let (sql, values) = self.pages.page(after.as_ref(), Some(&last), limit, in_old);
        let rows = <C::Database as Backend>::Adapter::fetch(tx.connection(), &sql, &values)
            .await
            .map_err(self.failed("reading a page of keys"))?;
        rows.into_iter().map(|row| key_of(row, KIND::<C>())).collect()
    }

    /// Moves cursor and counters in the transaction of the rows.
    async fn check_in(
        &self,
        tx: &mut Tx<'_, C::Database>,
        range: &Range,
        cursor: &EncodedKey,
        copied: Copied,
        buried: u64,
    ) -> Result<(), Error> {
        let failed = self.failed("moving the cursor");
        let ledger = self.ledger();
        let conn = tx.connection();
        let keys = copied.migrated + copied.skipped + buried;
        let held = ledger.checkpoint::<C::Database>(conn, range, Some(cursor), keys).await;
        if !held.map_err(&failed)? {
            return Err(self.lease_lost());
        }
        ledger.count::<C::Database>(conn, copied, buried).await.map_err(&failed)
    }

    /// Puts the one key that was tried into the dead letters and passes it: both or neither, or a crash
    /// in between would leave a key behind that nobody remembers. `None` where that key was deleted
    /// meanwhile, and the next one must not pay for it.
    async fn bury(&mut self, range: &Range, error: &Error) -> Result<Option<EncodedKey>, Error> {
        let mut tx = self.begin().await?;
        let keys = self.lock_page(&mut tx, range, 1).await?;
        let Some(key) = keys.first() else {
            tx.rollback().await?;
            return Ok(Some(range.last.clone())); // deleted meanwhile: nothing left to fail
        };
        let key = EncodedKey::from_parts(key)?;
        if self.tried.as_ref() != Some(&key) {
            tx.rollback().await?;
            return Ok(None);
        }
        self.check_in(&mut tx, range, &key, Copied::default(), 1).await?;
        let cause = std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
        let (name, to, generation) = (&self.shared.name, self.part.to(), self.generation);
        ledger::bury::<C::Database>(tx.connection(), name, to, generation, &key, &cause)
            .await
            .map_err(self.failed("storing a dead letter"))?;
        tx.commit().await?;
        count(&self.shared.counters.copies_failed);
        let failed = self.progress().await?.failed;
        if failed > self.options.failures_max {
            let message = format!(
                "{failed} keys could not be copied, more than allowed; see the dead letters"
            );
            return Err(Error::new(ErrorKind::Halted, message).of(&self.shared.name));
        }
        Ok(Some(key))
    }

    async fn progress(&self) -> Result<BackfillProgress, Error> {
        let failed = self.failed("reading the progress");
        let mut conn = self.copier.pool.acquire().await.map_err(&failed)?;
        self.ledger().progress::<C::Database>(&mut conn).await.map_err(&failed)
    }

    fn lease_lost(&self) -> Error {
        let message = "the lease on this range went to another worker; nothing was written";
        Error::new(ErrorKind::LeaseLost, message).of(&self.shared.name)
    }
}

#[allow(non_snake_case)]
fn KIND<C: CopyKeys>() -> KeyKind {
    <C::Key as Key>::KIND
}

/// A backfill may run while every write goes to both sides, whatever the key; a reverse copy moreover
/// only while new answers.
pub(crate) fn check_stage(position: Position, to: Side, name: &str) -> Result<(), Error> {
    let both = position.stage.writes_both() && position.reaches() != Stage::Complete;
    if both && (to == Side::New || position.stage.reads() == Side::New) {
        return Ok(());
    }
    let message = match to {
        Side::New => {
            format!("a backfill cannot run at {position}; it needs dual_write to ramp_down")
        }
        Side::Old => format!("a reverse copy cannot run at {position}; it needs live or ramp_down"),
    };
    Err(Error::new(ErrorKind::Blocked, message).of(name))
}
