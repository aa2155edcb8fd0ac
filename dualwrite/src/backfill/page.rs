//! One page of a range, in one transaction: fence, lease check, rows locked, copied, cursor and counters
//! moved, commit. A crash between two commits loses nothing and repeats nothing.

use super::step::Page;
use super::worker::Worker;
use crate::control::copied::Copied;
use crate::copy::source::KeyParts;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::observe::count;
use crate::pace::rate::rate_keys;
use crate::stages::stage::Side;
use crate::store::dead_letter::{record_dead_letter, remove_dead_letters};
use crate::store::ledger::{Phase, Range};
use crate::transaction::Tx;

/// Dead letters that a worker takes out by itself while it copies; the rest is retried in its time.
const DEAD_LETTERS_KNOWN: u32 = 1_000;

impl<DB: Backend> Worker<'_, DB> {
    /// Copies the next page of a range.
    pub(crate) async fn page(&mut self, range: &Range) -> Result<Page<DB>, Error> {
        let mut tx = self.begin().await?;
        self.set_up(&mut tx).await?; // a page and its cursor are lost together, if at all, and copied again
        if self.phase == Phase::All(Side::New) && self.copier.has_ranges(self.shared) {
            return self.stretch(tx, range).await;
        }
        let keys = self.lock_page(&mut tx, range, self.page_keys()).await?;
        let Some(last) = keys.last() else {
            return self.range_done(tx, range).await;
        };
        let cursor = self.pages.recorded(last)?;
        self.tried = keys.first().map(|key| self.pages.recorded(key)).transpose()?;
        let (copier, shared) = (self.copier, self.shared);
        let copied = match self.phase {
            Phase::All(Side::New) => copier.copy_locked(shared, &mut tx, &keys).await?,
            Phase::Orphans(Side::New) => copier.remove_orphans(shared, &mut tx, &keys).await?,
            Phase::Orphans(Side::Old) | Phase::Rest => {
                copier.copy_back_locked(shared, &mut tx, &keys).await?
            }
            Phase::All(Side::Old) | Phase::Back => {
                let after =
                    range.after.as_ref().map(|key| key.parts(self.pages.kind)).transpose()?;
                let between = (after.as_ref(), last);
                copier.copy_back_page(shared, &mut tx, &keys, between).await?
            }
        };
        copier.judge_all(shared, &mut tx).await?;
        self.remove_dead_letters(&mut tx, &keys).await?;
        self.check_in(&mut tx, range, &cursor, copied, 0).await?;
        Ok(Page::Copied { tx, cursor, keys: u32::try_from(keys.len()).unwrap_or(u32::MAX) })
    }

    /// How many keys the next page may have.
    fn page_keys(&self) -> u32 {
        let (rate, workers) = self.rate();
        self.pace.limit().min(rate_keys(rate, workers))
    }

    /// Lets the commit return before it is on disk, and statements be planned anew, where that can be had.
    pub(crate) async fn set_up(&self, tx: &mut Tx<'_, DB>) -> Result<(), Error> {
        match DB::Adapter::BATCH_SETTINGS {
            Some(sql) => DB::Adapter::run(tx.connection(), sql)
                .await
                .map_err(self.failed("setting up a batch")),
            None => Ok(()),
        }
    }

    /// What was copied after all is no dead letter any more.
    async fn remove_dead_letters(
        &self,
        tx: &mut Tx<'_, DB>,
        copied: &[KeyParts],
    ) -> Result<(), Error> {
        if self.letters.is_empty() {
            return Ok(());
        }
        let mut keys = Vec::new();
        for key in copied {
            keys.push(self.copier.pages.identity(key)?);
        }
        keys.retain(|key| self.letters.contains(key));
        let (name, to) = (&self.shared.name, self.phase.to());
        let removed = remove_dead_letters::<DB>(tx.connection(), name, to, &keys).await;
        removed.map_err(self.failed("clearing dead letters"))
    }

    /// Dead letters from before that this range may bring to an end.
    pub(crate) async fn read_dead_letters(&mut self) -> Result<(), Error> {
        self.letters.clear();
        if self.shared.has_dead_letters() {
            let (name, to) = (&self.shared.name, self.phase.to());
            let known = self.shared.control.dead_letters(name, false, DEAD_LETTERS_KNOWN).await?;
            let known = known.into_iter().filter(|letter| letter.side == to);
            self.letters.extend(known.map(|letter| EncodedKey(letter.key)));
        }
        Ok(())
    }

    /// Copies the next page by statements over its range, of which only the end is known here.
    async fn stretch(&mut self, mut tx: Tx<'static, DB>, range: &Range) -> Result<Page<DB>, Error> {
        let after = range.after.as_ref().map(|key| key.parts(self.pages.kind)).transpose()?;
        let last = range.last.parts(self.pages.kind)?;
        let (sql, values) = self.pages.stretch(after.as_ref(), &last, self.page_keys());
        let rows = DB::Adapter::fetch(tx.connection(), &sql, &values)
            .await
            .map_err(self.failed("finding the end of a page"))?;
        let counted =
            rows.into_iter().next().map(|row| Ok((row.unsigned(self.pages.width())?, row)));
        let counted = counted.transpose().map_err(self.failed("counting keys"))?;
        let Some((keys, row)) = counted.filter(|(keys, _)| *keys > 0) else {
            return self.range_done(tx, range).await;
        };
        let last = self.pages.key_of(row)?;
        let cursor = self.pages.recorded(&last)?;
        self.tried = Some(cursor.clone()); // a key that fails stands alone in the end
        self.copier.copy_range(self.shared, &mut tx, (after.as_ref(), &last)).await?;
        self.copier.judge_all(self.shared, &mut tx).await?;
        let copied = Copied { migrated: keys, skipped: 0 };
        self.check_in(&mut tx, range, &cursor, copied, 0).await?;
        Ok(Page::Copied { tx, cursor, keys: u32::try_from(keys).unwrap_or(u32::MAX) })
    }

    /// Nothing is left of a range.
    async fn range_done(&self, mut tx: Tx<'static, DB>, range: &Range) -> Result<Page<DB>, Error> {
        let done = self.ledger().checkpoint::<DB>(tx.connection(), range, None, 0).await;
        if !done.map_err(self.failed("ending a range"))? {
            return Err(self.lease_lost());
        }
        tx.commit().await?;
        Ok(Page::RangeDone)
    }

    async fn lock_page(
        &self,
        tx: &mut Tx<'_, DB>,
        range: &Range,
        limit: u32,
    ) -> Result<Vec<KeyParts>, Error> {
        let after = range.after.as_ref().map(|key| key.parts(self.pages.kind)).transpose()?;
        let last = range.last.parts(self.pages.kind)?;
        // Only rows of old are locked before they are copied: that is the order of every write.
        let in_old =
            matches!(self.phase, Phase::All(Side::New) | Phase::Orphans(Side::Old) | Phase::Rest);
        let (sql, values) = self.pages.page(after.as_ref(), Some(&last), limit, in_old);
        let rows = DB::Adapter::fetch(tx.connection(), &sql, &values)
            .await
            .map_err(self.failed("reading a page of keys"))?;
        rows.into_iter().map(|row| self.pages.key_of(row)).collect()
    }

    /// Moves cursor and counters in the transaction of the rows.
    async fn check_in(
        &self,
        tx: &mut Tx<'_, DB>,
        range: &Range,
        cursor: &EncodedKey,
        copied: Copied,
        failed_keys: u64,
    ) -> Result<(), Error> {
        let failed = self.failed("moving the cursor");
        let ledger = self.ledger();
        let conn = tx.connection();
        let keys = copied.migrated + copied.skipped + failed_keys;
        let held = ledger.checkpoint::<DB>(conn, range, Some(cursor), keys).await;
        if !held.map_err(&failed)? {
            return Err(self.lease_lost());
        }
        ledger.count::<DB>(conn, copied, failed_keys).await.map_err(&failed)
    }

    /// Puts the one key that was tried into the dead letters and passes it: both or neither, or a crash
    /// in between would leave a key behind that nobody remembers. `None` where that key was deleted
    /// meanwhile, and the next one must not pay for it.
    pub(crate) async fn record_dead_letter(
        &mut self,
        range: &Range,
        error: &Error,
    ) -> Result<Option<EncodedKey>, Error> {
        let mut tx = self.begin().await?;
        let keys = self.lock_page(&mut tx, range, 1).await?;
        let Some(key) = keys.first() else {
            tx.rollback().await?;
            return Ok(Some(range.last.clone())); // deleted meanwhile: nothing left to fail
        };
        let (letter, key) = (self.copier.pages.identity(key)?, self.pages.recorded(key)?);
        if self.tried.as_ref() != Some(&key) {
            tx.rollback().await?;
            return Ok(None);
        }
        self.check_in(&mut tx, range, &key, Copied::default(), 1).await?;
        let cause = error.cause();
        let (name, to, generation) = (&self.shared.name, self.phase.to(), self.generation);
        record_dead_letter::<DB>(tx.connection(), name, to, generation, &letter, &cause)
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
}
