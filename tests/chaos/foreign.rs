//! A writer of the old tables who does not know the library: an older release, a script, a person.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use sqlx::Pool;

use crate::log::{Event, Log};
use crate::service::{FOREIGN, MIGRATIONS};
use crate::support::dice::Dice;
use crate::support::sql::Sql;

const PAUSE_MS: usize = 40;

pub(crate) struct Foreigner<D: Sql> {
    pub(crate) pool: Pool<D::Db>,
    pub(crate) log: Log,
    pub(crate) dice: Dice,
    pub(crate) number: u64,
}

impl<D: Sql> Foreigner<D> {
    pub(crate) async fn write_on(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(SeqCst) {
            let migration = *self.dice.pick(&MIGRATIONS);
            self.write(migration).await;
            let pause = self.dice.below(PAUSE_MS) as u64;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    pub(crate) async fn write(&mut self, migration: &str) {
        self.number += 1;
        let op = format!("foreign.{}", self.number);
        let key = FOREIGN.start() + self.dice.below(FOREIGN.count()) as i64;
        self.log.write(Event::Write { op: op.clone(), keys: 1 });
        match self.apply(migration, key, &op).await {
            Ok(()) => self.log.write(Event::Acknowledged { op }),
            Err(error) => self.log.write(Event::Unknown { op, why: error.to_string() }),
        }
    }

    async fn apply(&mut self, migration: &str, key: i64, op: &str) -> Result<(), sqlx::Error> {
        let drawn = format!("FROM drawn WHERE migration = '{migration}' AND id = {key}");
        let insert = format!(
            "INSERT INTO {migration} (id, version, word, n) SELECT id, version, '{op}', 0 {drawn}"
        );
        let delete = format!("DELETE FROM {migration} WHERE id = {key}");
        let (word, writes) = match self.dice.below(3) {
            0 => ("NULL".to_owned(), vec![delete]),
            1 => (format!("'{op}'"), vec![delete, insert]),
            _ => (format!("'{op}'"), vec![insert + update::<D>()]),
        };
        let mut tx = self.pool.begin().await?;
        let raise = "UPDATE drawn SET version = version + 1";
        let raise = format!("{raise} WHERE migration = '{migration}' AND id = {key}");
        D::run_on(&mut tx, &raise).await?;
        for write in &writes {
            D::run_on(&mut tx, write).await?;
        }
        let enter = format!(
            "INSERT INTO applied (op, migration, id, version, word) \
             SELECT '{op}', '{migration}', id, version, {word} {drawn}"
        );
        D::run_on(&mut tx, &enter).await?;
        tx.commit().await
    }
}

fn update<D: Sql>() -> &'static str {
    let conflict =
        " ON CONFLICT (id) DO UPDATE SET version = excluded.version, word = excluded.word";
    D::sql(
        conflict,
        conflict,
        " ON DUPLICATE KEY UPDATE version = VALUES(version), word = VALUES(word)",
    )
}
