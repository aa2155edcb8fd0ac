//! A client of the service: reads, writes, bulk writes, counts, and transactions over both migrations, as its dice
//! say. It logs each write before it begins it, and what came of it before it goes on.

use std::time::Duration;

use dualwrite::{Migration, Side, Tx};
use sqlx::Pool;

use crate::log::{Event, Log, Seen, now};
use crate::service::{Both, COUNTED, FAILING, MIGRATIONS, Note, Notes as _, STILL, VERSIONED};
use crate::support::dice::Dice;
use crate::support::sql::Sql;

/// Callers give up after this; some do much earlier.
const PATIENCE: Duration = Duration::from_secs(4);
const PAUSE_MS: usize = 6;
/// So many keys get half of the operations.
pub(crate) const OFTEN: usize = 3;
const AFTER_AN_ERROR: Duration = Duration::from_millis(20);
/// Rows that transactions lock in any order, so that some are chosen to fail.
pub(crate) const HOT: std::ops::RangeInclusive<i64> = 1..=4;

pub(crate) struct Client<D: Sql> {
    pub(crate) name: String,
    pub(crate) pool: Pool<D::Db>,
    pub(crate) migrations: Vec<(Migration, Both<D>)>,
    pub(crate) log: Log,
    pub(crate) dice: Dice,
    /// Of a hundred writes, so many whose mirror fails.
    pub(crate) mirror_failures: u64,
    pub(crate) number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Save,
    Remove,
    Count,
}

/// What a transaction does.
#[derive(Debug)]
struct Intent {
    op: String,
    /// The number of the migration, the key, and what becomes of it.
    changes: Vec<(usize, i64, Change)>,
    /// Saves of the same migration go in one call.
    bulk: bool,
    /// Statements whose errors are ignored: before the write, or after it.
    careless: [bool; 2],
    /// The ledger is written before everything else.
    ledger_first: bool,
    mirror_fails: bool,
}

impl<D: Sql> Client<D> {
    pub(crate) async fn operate(&mut self) {
        match self.dice.below(100) {
            0..55 => self.read().await,
            _ => self.write().await,
        }
        let pause = Duration::from_millis(self.dice.below(PAUSE_MS) as u64);
        tokio::time::sleep(pause).await;
    }

    fn migration(&mut self) -> usize {
        self.dice.below(MIGRATIONS.len())
    }

    fn versioned(&mut self) -> i64 {
        let among = if self.dice.one_in(2) { OFTEN } else { VERSIONED.count() };
        VERSIONED.start() + self.dice.below(among) as i64
    }

    /// How long this caller waits.
    fn patience(&mut self) -> Duration {
        match self.dice.one_in(25) {
            true => Duration::from_micros(self.dice.below(12_000) as u64),
            false => PATIENCE,
        }
    }

    async fn read(&mut self) {
        let (migration, patience) = (self.migration(), self.patience());
        let key = match self.dice.below(20) {
            0 => STILL.start() + self.dice.below(STILL.count()) as i64,
            _ => self.versioned(),
        };
        let since = now();
        let found = self.migrations[migration].1.find(key);
        let Ok(Ok(note)) = tokio::time::timeout(patience, found).await else { return };
        self.log.write(Event::Read {
            client: self.name.clone(),
            since,
            migration: MIGRATIONS[migration].to_owned(),
            key,
            saw: seen(note),
        });
    }

    async fn write(&mut self) {
        let (intent, patience) = (self.intend(), self.patience());
        let op = intent.op.clone();
        self.log.write(Event::Write { op: op.clone(), keys: intent.changes.len() });
        let why = match tokio::time::timeout(patience, self.transact(&intent)).await {
            Ok(Ok(())) => return self.log.write(Event::Acknowledged { op }),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("dropped after {patience:?}"),
        };
        self.log.write(Event::Unknown { op, why });
        tokio::time::sleep(AFTER_AN_ERROR).await;
    }

    fn intend(&mut self) -> Intent {
        self.number += 1;
        let mut changes = match self.dice.below(10) {
            // One migration and one key, several keys, or both migrations.
            0..6 => vec![(self.migration(), self.versioned(), Change::Save)],
            6 | 7 => vec![(self.migration(), self.versioned(), Change::Remove)],
            8 => {
                let migration = self.migration();
                (0..2 + self.dice.below(3))
                    .map(|_| (migration, self.versioned(), Change::Save))
                    .collect()
            }
            _ => (0..2).map(|migration| (migration, self.versioned(), Change::Save)).collect(),
        };
        if self.dice.one_in(6) {
            let key = COUNTED.start() + self.dice.below(COUNTED.count()) as i64;
            let count = (self.migration(), key, Change::Count);
            match self.dice.one_in(2) {
                true => changes.push(count),
                false => changes = vec![count],
            }
        }
        changes.sort_unstable_by_key(|(migration, key, _)| (*migration, *key));
        changes.dedup_by_key(|(migration, key, _)| (*migration, *key));
        if self.dice.one_in(8) {
            changes.reverse(); // two of them then wait for each other
        }
        Intent {
            op: format!("{}.{}", self.name, self.number),
            bulk: self.dice.one_in(2),
            careless: [self.dice.one_in(12), self.dice.one_in(12)],
            ledger_first: self.dice.one_in(2),
            mirror_fails: (self.dice.below(100) as u64) < self.mirror_failures,
            changes,
        }
    }

    async fn transact(&mut self, intent: &Intent) -> Result<(), sqlx::Error> {
        let mut used: Vec<usize> = intent.changes.iter().map(|change| change.0).collect();
        used.sort_unstable();
        used.dedup();
        let fenced: Vec<Migration> =
            used.iter().map(|used| self.migrations[*used].0.clone()).collect();
        let mut tx = Tx::begin_for(&self.pool, &fenced.iter().collect::<Vec<_>>()).await?;
        if intent.careless[0] {
            self.do_carelessly(&mut tx).await;
        }
        let mut notes = Vec::new();
        for (migration, key, change) in &intent.changes {
            notes.push(self.draw(&mut tx, intent, *migration, *key, *change).await?);
        }
        if intent.ledger_first {
            enter::<D>(&mut tx, intent, &notes).await?;
        }
        let answers = tx.position(&fenced[0]).map_or(Side::Old, |pinned| pinned.stage.reads());
        let writing = self.apply(&mut tx, intent, &notes);
        match intent.mirror_fails {
            true => FAILING.scope(answers.other(), writing).await,
            false => writing.await,
        }?;
        if intent.careless[1] {
            self.do_carelessly(&mut tx).await;
        }
        if !intent.ledger_first {
            enter::<D>(&mut tx, intent, &notes).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Locks the key, and draws its next version.
    async fn draw(
        &self,
        tx: &mut Tx<'_, D::Db>,
        intent: &Intent,
        migration: usize,
        id: i64,
        change: Change,
    ) -> Result<Note, sqlx::Error> {
        let word = intent.op.clone();
        if change == Change::Count {
            return Ok(Note { id, version: 0, word, n: 0 });
        }
        let name = MIGRATIONS[migration];
        let drawn = format!("WHERE migration = '{name}' AND id = {id}");
        D::run(tx, &format!("UPDATE drawn SET version = version + 1 {drawn}")).await?;
        let version = D::read(tx, &format!("SELECT version FROM drawn {drawn}")).await?;
        let version: i64 = version[0][0].as_deref().unwrap().parse().unwrap();
        let saw = match version % 3 {
            0 => Some(seen(self.migrations[migration].1.find_in(tx, id).await?)),
            _ => None, // nothing comes between the lock and the write
        };
        self.log.write(Event::Drawn {
            op: intent.op.clone(),
            migration: name.to_owned(),
            key: id,
            version,
            saw,
        });
        Ok(Note { id, version, word, n: 0 })
    }

    async fn apply(
        &self,
        tx: &mut Tx<'_, D::Db>,
        intent: &Intent,
        notes: &[Note],
    ) -> Result<(), sqlx::Error> {
        for (number, (_, both)) in self.migrations.iter().enumerate() {
            let mut saved = Vec::new();
            for ((migration, id, change), note) in intent.changes.iter().zip(notes) {
                match change {
                    _ if *migration != number => {}
                    Change::Save if intent.bulk => saved.push(note.clone()),
                    Change::Save => both.save(tx, note).await?,
                    Change::Remove => both.remove(tx, *id).await?,
                    Change::Count => both.count(tx, *id).await?,
                }
            }
            if !saved.is_empty() {
                both.save_all(tx, &saved).await?;
            }
        }
        Ok(())
    }

    /// Two statements of the application that are not important to it: it ignores their errors, also where the
    /// database has rolled the transaction back.
    async fn do_carelessly(&mut self, tx: &mut Tx<'_, D::Db>) {
        if D::NAME == "sqlite" {
            if self.dice.one_in(2) {
                let _ = D::run(tx, "INSERT OR ROLLBACK INTO hot (id, n) VALUES (1, 1)").await;
            }
            return;
        }
        let first = HOT.start() + self.dice.below(HOT.count()) as i64;
        let second = HOT.start() + self.dice.below(HOT.count()) as i64;
        for id in [first, second] {
            let _ = D::run(tx, &format!("UPDATE hot SET n = n + 1 WHERE id = {id}")).await;
        }
    }
}

/// A row for each key, in the transaction of the write.
async fn enter<D: Sql>(
    tx: &mut Tx<'_, D::Db>,
    intent: &Intent,
    notes: &[Note],
) -> Result<(), sqlx::Error> {
    let Intent { op, changes, .. } = intent;
    for ((migration, id, change), Note { version, .. }) in changes.iter().zip(notes) {
        let migration = MIGRATIONS[*migration];
        let word = if *change == Change::Remove { "NULL".to_owned() } else { format!("'{op}'") };
        let row = format!("('{op}', '{migration}', {id}, {version}, {word})");
        let insert = "INSERT INTO applied (op, migration, id, version, word) VALUES";
        D::run(tx, &format!("{insert} {row}")).await?;
    }
    Ok(())
}

fn seen(note: Option<Note>) -> Seen {
    Seen(note.map(|note| (note.version, note.word)))
}
