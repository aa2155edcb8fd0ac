//! Dead letters in tables.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::control::dead_letters::{DeadLetter, DeadLetters, Waived};
use crate::database::{Backend, SqlRow, SqlValue};
use crate::error::Error;
use crate::key::EncodedKey;
use crate::stages::position::Generation;
use crate::stages::stage::Side;
use crate::store::dead_letter;
use crate::store::sql::SqlControl;

/// Keys that one statement asks about.
const ASKED: usize = 200;

/// Where the generation of a side is raised.
pub(super) const FORGET_WAIVERS: &str = "UPDATE dualwrite_failure SET waived_by = NULL, \
     waived_because = NULL, waived_at = NULL, next_attempt_at = {now} \
     WHERE migration = ? AND side = ?";

fn dead_letter_of(row: &SqlRow) -> sqlx::Result<DeadLetter> {
    let waiver = match row.optional_moment(9)? {
        Some(at) => {
            let text = |column| row.optional_text(column).map(|text| text.unwrap_or("").to_owned());
            Some(Waived { actor: text(7)?, reason: text(8)?, at })
        }
        None => None,
    };
    Ok(DeadLetter {
        side: if row.text(1)? == "old" { Side::Old } else { Side::New },
        key: row.text(0)?.to_owned(),
        generation: row.unsigned(2)?,
        error: row.text(3)?.to_owned(),
        attempts: row.unsigned(4)?,
        failed_at: row.moment(5)?,
        next_attempt_at: row.moment(6)?,
        waiver,
    })
}

impl<DB: Backend> DeadLetters for SqlControl<DB> {
    fn record_dead_letter<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        generation: Generation,
        key: &'a EncodedKey,
        error: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let recording = self.working.within("storing a dead letter", async {
                let mut lent = self.working.lend().await?;
                lent.busy();
                let has_dead_letter = dead_letter::record_dead_letter::<DB>(
                    &mut lent, name, side, generation, key, error,
                )
                .await;
                lent.ended(has_dead_letter)
            });
            recording.await.map_err(|error| error.of(name))
        })
    }

    fn dead_letters<'a>(
        &'a self,
        name: &'a str,
        due: bool,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<DeadLetter>, Error>> {
        Box::pin(async move {
            let due = if due { "AND next_attempt_at <= {now} " } else { "" };
            let sql = format!(
                "SELECT key_text, side, generation, error, attempts, failed_at, next_attempt_at, \
                 waived_by, waived_because, waived_at FROM dualwrite_failure \
                 WHERE migration = ? {due}ORDER BY failed_at LIMIT {limit}"
            );
            let rows = self.fetch("reading dead letters", &sql, &[name.into()]).await?;
            let letters = rows.iter().map(dead_letter_of).collect::<sqlx::Result<_>>();
            letters.map_err(|error| Error::database("reading dead letters", error).of(name))
        })
    }

    fn claim_dead_letter<'a>(
        &'a self,
        name: &'a str,
        letter: &'a DeadLetter,
        pause: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let sql = "UPDATE dualwrite_failure SET next_attempt_at = {now} + ? \
                       WHERE migration = ? AND side = ? AND key_text = ? AND next_attempt_at = ?";
            let pause = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
            let values = [
                pause.into(),
                name.into(),
                letter.side.as_str().into(),
                letter.key.as_str().into(),
                letter.next_attempt_at.into(),
            ];
            Ok(self.execute("taking a dead letter", sql, &values).await? > 0)
        })
    }

    fn remove_dead_letter<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        key: &'a EncodedKey,
        attempts: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let mut sql =
                "DELETE FROM dualwrite_failure WHERE migration = ? AND side = ? AND key_text = ?"
                    .to_owned();
            let mut values = vec![name.into(), side.as_str().into(), key.0.as_str().into()];
            if let Some(attempts) = attempts {
                sql.push_str(" AND attempts = ?");
                values.push(attempts.into());
            }
            Ok(self.execute("clearing a dead letter", &sql, &values).await? > 0)
        })
    }

    fn waive<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        key: &'a EncodedKey,
        actor: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let sql = "UPDATE dualwrite_failure SET waived_by = ?, waived_because = ?, \
                       waived_at = {now} WHERE migration = ? AND side = ? AND key_text = ?";
            let values = [
                actor.into(),
                reason.into(),
                name.into(),
                side.as_str().into(),
                key.0.as_str().into(),
            ];
            Ok(self.execute("waiving a dead letter", sql, &values).await? > 0)
        })
    }

    fn waived<'a>(
        &'a self,
        name: &'a str,
        keys: &'a [EncodedKey],
    ) -> BoxFuture<'a, Result<Vec<EncodedKey>, Error>> {
        Box::pin(async move {
            let doing = "reading what was waived";
            let mut waived = Vec::new();
            for keys in keys.chunks(ASKED) {
                let sql = format!(
                    "SELECT DISTINCT key_text FROM dualwrite_failure WHERE migration = ? \
                     AND waived_at IS NOT NULL AND key_text IN ({})",
                    vec!["?"; keys.len()].join(", ")
                );
                let keys = keys.iter().map(|key| SqlValue::from(key.0.as_str()));
                let values: Vec<SqlValue> = [name.into()].into_iter().chain(keys).collect();
                for row in self.fetch(doing, &sql, &values).await? {
                    let key = row.text(0).map_err(|error| Error::database(doing, error))?;
                    waived.push(EncodedKey(key.to_owned()));
                }
            }
            Ok(waived)
        })
    }
}
