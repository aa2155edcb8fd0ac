//! One instance of the service: what it does for its callers, each call judged by the ledger.

use std::error::Error as StdError;
use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use dualwrite::{Migration, Tx};

use super::ledger::{Draw, Key, Ledger, Versioned};
use super::records::{DualRecords, Kind, Records};
use super::rename::Rename;
use super::split::Split;
use crate::support::dice::Dice;
use crate::support::sql::Sql;

pub(super) type RecordOf<D, K> = <K as Kind<D>>::Record;
type LedgerOf<D, K> = Ledger<RecordOf<D, K>>;

/// Why a call did not do what it was asked.
#[derive(Debug)]
pub(super) struct Trouble {
    /// The database chose this transaction to give way to another: the caller tries again.
    pub(super) contended: bool,
    pub(super) text: String,
}

impl Trouble {
    fn wrong(text: String) -> Self {
        Self { contended: false, text }
    }
}

impl<E: StdError + 'static> From<E> for Trouble {
    fn from(error: E) -> Self {
        let causes = causes(&error);
        let contended = causes.iter().any(|cause| is_contention(*cause));
        let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
        Self { contended, text: causes.join(", because ") }
    }
}

/// An error and what is behind it, also where sqlx carries one of ours in its disguise.
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> Vec<&'e (dyn StdError + 'static)> {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        causes.push(error);
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    causes
}

/// A deadlock or a serialization failure; on SQLite, a database that was busy for too long.
fn is_contention(error: &(dyn StdError + 'static)) -> bool {
    let Some(sqlx::Error::Database(error)) = error.downcast_ref() else { return false };
    let code = error.code();
    code.is_some_and(|code| ["40P01", "40001", "5", "261", "517"].contains(&&*code))
}

/// The records of one kind, as one instance serves them.
pub(super) struct Served<D: Sql, K: Kind<D>> {
    pub(super) pool: sqlx::Pool<D::Db>,
    pub(super) migration: Migration,
    pub(super) records: DualRecords<K::Old, K::New>,
    pub(super) ledger: Arc<LedgerOf<D, K>>,
}

impl<D: Sql, K: Kind<D>> Served<D, K> {
    pub(super) async fn read(&self, dice: &mut Dice) -> Result<(), Trouble> {
        let key = self.ledger.pick(dice.roll());
        if dice.one_in(5) {
            return self.list(key.id - 10, key.id + 10).await;
        }
        let floor = key.floor();
        let found = self.records.find(key.id).await?;
        key.judge(floor, found.as_ref()).map_err(Trouble::wrong)
    }

    /// Reads a range of keys and judges all of them.
    pub(super) async fn list(&self, from: i64, to: i64) -> Result<(), Trouble> {
        let floors: Vec<_> = self.ledger.range(from, to).map(|key| (key.id, key.floor())).collect();
        let found = self.records.list(from, to).await?;
        let judged = self.ledger.judge(&floors, &found);
        judged.map_err(|wrong| Trouble::wrong(format!("in a list: {wrong}")))
    }

    /// Inserts, updates or deletes one record.
    pub(super) async fn write(&self, dice: &mut Dice) -> Result<(), Trouble> {
        let key = self.ledger.pick(dice.roll());
        let _turn = match key.transient {
            true => Some(key.turn.lock().await),
            false => None,
        };
        let mut tx = self.migration.begin(&self.pool).await?;
        let mut draw = self.change(&mut tx, key, dice).await?;
        if dice.one_in(12) {
            drop(draw);
            return Ok(tx.rollback().await?);
        }
        self.in_force(&tx)?;
        draw.committing();
        tx.commit().await?;
        draw.committed();
        Ok(())
    }

    /// Reads the newest record and writes the next version, nobody else coming between.
    async fn change<'k>(
        &self,
        tx: &mut Tx<'_, D::Db>,
        key: &'k Key<RecordOf<D, K>>,
        dice: &mut Dice,
    ) -> Result<Draw<'k, RecordOf<D, K>>, Trouble> {
        let before = key.floor();
        let found = self.records.lock(tx, key.id).await?;
        // A row that is there is locked now; one that is not may be born by a commit that its caller
        // did not wait for.
        let floor = if key.transient { before } else { key.floor() };
        let judged = key.judge(floor, found.as_ref());
        judged.map_err(|wrong| Trouble::wrong(format!("before a write: {wrong}")))?;
        let present = !key.transient || found.is_none() || dice.one_in(2);
        let draw = key.draw(present);
        match present {
            true => {
                let record = RecordOf::<D, K>::at(key.id, draw.version);
                self.records.save(tx, key.id, &record).await?;
            }
            false => self.records.delete(tx, key.id).await?,
        }
        Ok(draw)
    }

    /// While a transaction is open, the position that it pins is the one in force.
    fn in_force(&self, tx: &Tx<'_, D::Db>) -> Result<(), Trouble> {
        let (pinned, known) = (tx.position(&self.migration), self.migration.position());
        match pinned.is_some_and(|pinned| known.epoch <= pinned.epoch) {
            true => Ok(()),
            false => Err(Trouble::wrong(format!("pinned {pinned:?}, but moved on to {known}"))),
        }
    }

    /// Copies a key that does not need it.
    pub(super) async fn copy(&self, dice: &mut Dice) -> Result<(), Trouble> {
        let key = self.ledger.pick(dice.roll());
        Ok(self.migration.copy(&key.id).await.map(drop)?)
    }
}

/// One instance.
pub(super) struct Instance<D: Sql> {
    pub(super) customers: Served<D, Rename>,
    pub(super) tracks: Served<D, Split>,
}

impl<D: Sql> Instance<D> {
    pub(super) async fn read(&self, dice: &mut Dice) -> Result<(), Trouble> {
        match dice.one_in(2) {
            true => self.customers.read(dice).await,
            false => self.tracks.read(dice).await,
        }
    }

    pub(super) async fn write(&self, dice: &mut Dice) -> Result<(), Trouble> {
        if dice.one_in(16) {
            // A caller that goes away halfway.
            let polls = dice.roll() % 24;
            return at_most(polls, Box::pin(self.write_to_the_end(dice))).await.unwrap_or(Ok(()));
        }
        self.write_to_the_end(dice).await
    }

    async fn write_to_the_end(&self, dice: &mut Dice) -> Result<(), Trouble> {
        match dice.roll() % 5 {
            0 | 1 => self.customers.write(dice).await,
            2 | 3 => self.tracks.write(dice).await,
            _ => self.write_both(dice).await,
        }
    }

    /// One transaction of two migrations.
    async fn write_both(&self, dice: &mut Dice) -> Result<(), Trouble> {
        let (customers, tracks) = (&self.customers, &self.tracks);
        let customer = customers.ledger.pick_lasting(dice.roll());
        let track = tracks.ledger.pick_lasting(dice.roll());
        let migrations = match dice.one_in(2) {
            true => [&customers.migration, &tracks.migration],
            false => [&tracks.migration, &customers.migration],
        };
        let mut tx = Tx::begin_for(&customers.pool, &migrations).await?;
        let mut first = customers.change(&mut tx, customer, dice).await?;
        let mut second = tracks.change(&mut tx, track, dice).await?;
        customers.in_force(&tx)?;
        tracks.in_force(&tx)?;
        first.committing();
        second.committing();
        tx.commit().await?;
        first.committed();
        second.committed();
        Ok(())
    }

    pub(super) async fn copy(&self, dice: &mut Dice) -> Result<(), Trouble> {
        match dice.one_in(2) {
            true => self.customers.copy(dice).await,
            false => self.tracks.copy(dice).await,
        }
    }
}

/// Drops a future that is not ready after so many polls.
async fn at_most<F: Future>(polls: u64, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}
