//! Marks of writes in flight and keys to be copied, inside the transaction of the caller.

use std::collections::HashSet;
use std::time::Duration;

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue};
use crate::key::EncodedKey;
use crate::stages::converging::{Around, Ending, leaves_unsettled};
use crate::stages::lineage::Token;

/// Marks or keys that one statement names.
pub(crate) const NAMED: usize = 200;

/// A write that has ended, whose mark is to be cleared.
#[derive(Clone, Debug)]
pub(crate) struct EndedWrite {
    pub(crate) id: String,
    pub(crate) key: EncodedKey,
    pub(crate) ending: Ending,
    /// How long to wait before the key is copied: a request that nobody waits for any more may still arrive.
    pub(crate) settle_after: Duration,
}

pub(crate) fn micros(duration: Duration) -> SqlValue {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).into()
}

fn texts<'a>(first: &'a str, list: impl Iterator<Item = &'a str>) -> Vec<SqlValue> {
    std::iter::once(first).chain(list).map(SqlValue::from).collect()
}

fn places(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// How many of so many are handled next: few different numbers, for each makes a statement of its own that connections
/// prepare and keep.
pub(crate) fn batch_of(waiting: usize) -> usize {
    waiting.min(NAMED).checked_ilog2().map_or(0, |power| 1 << power)
}

/// Marks writes, by their ids and keys, unless a move waits for writes in flight. Returns whether it did.
pub(crate) async fn mark<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    (writes, instance): (&[(&str, &EncodedKey)], &str),
) -> sqlx::Result<bool> {
    let more = " UNION ALL SELECT ?, ?".repeat(writes.len().saturating_sub(1));
    let sql = format!(
        "INSERT INTO dualwrite_mark (migration, id, key_text, instance, since) \
         SELECT m.name, w.id, w.key_text, ?, {{now}} FROM dualwrite_migration m, (SELECT ? AS id, ? AS key_text{more}) w \
         WHERE m.name = ? AND NOT EXISTS \
         (SELECT 1 FROM dualwrite_draining d WHERE d.migration = m.name AND d.until > {{now}})"
    );
    let mut values: Vec<SqlValue> = vec![instance.into()];
    values.extend(writes.iter().flat_map(|(id, key)| [(*id).into(), key.0.as_str().into()]));
    values.push(migration.into());
    Ok(DB::Adapter::execute(conn, &sql, &values).await? > 0)
}

/// Says that these keys are to be copied, for a new reason. A copy under way does not settle them.
pub(crate) async fn unsettle<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    keys: &[(&EncodedKey, Duration)],
) -> sqlx::Result<()> {
    // A wait that is longer stays.
    let upsert = match DB::Adapter::DIALECT.on_duplicate_key {
        true => {
            " ON DUPLICATE KEY UPDATE version = VALUES(version), \
             next_attempt_at = GREATEST(VALUES(next_attempt_at), next_attempt_at)"
        }
        false => {
            " ON CONFLICT (migration, key_text) DO UPDATE SET version = excluded.version, \
             next_attempt_at = CASE WHEN excluded.next_attempt_at > dualwrite_unsettled.next_attempt_at \
             THEN excluded.next_attempt_at ELSE dualwrite_unsettled.next_attempt_at END"
        }
    };
    for keys in keys.chunks(NAMED) {
        let rows = vec!["(?, ?, ?, {now}, 0, {now} + ?, 0)"; keys.len()].join(", ");
        let sql = format!(
            "INSERT INTO dualwrite_unsettled (migration, key_text, version, since, attempts, \
             next_attempt_at, claimed_until) VALUES {rows}{upsert}"
        );
        let mut values: Vec<SqlValue> = Vec::with_capacity(keys.len() * 4);
        for (key, after) in keys {
            values.extend([migration.into(), key.0.as_str().into(), Token::random().0.into()]);
            values.push(micros(*after));
        }
        DB::Adapter::execute(conn, &sql, &values).await?;
    }
    Ok(())
}

/// Clears the marks of writes that have ended, and leaves the keys to be copied that they leave. Answers with the
/// writes whose own mark was gone although they wrote: they are not dealt with, and need the fence.
pub(crate) async fn finish<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    instance: &str,
    ended: &[EndedWrite],
) -> sqlx::Result<Finished> {
    let around = around::<DB>(conn, migration, instance, ended).await?;
    let mut finished = Finished::default();
    let mut left: Vec<(&EncodedKey, Duration)> = Vec::new();
    for (number, (one, around)) in ended.iter().zip(around).enumerate() {
        if !leaves_unsettled(one.ending, around) {
            continue;
        }
        match around.own_mark {
            true => left.push((&one.key, one.settle_after)),
            false => finished.gone.push(number),
        }
    }
    // One row a key in a statement, and in one order in every transaction.
    left.sort_unstable();
    left.reverse();
    left.dedup_by(|one, other| one.0 == other.0); // the longest wait stays
    left.reverse();
    finished.left = left.len() as u64;
    unsettle::<DB>(conn, migration, &left).await?;
    let sql = format!(
        "DELETE FROM dualwrite_mark WHERE migration = ? AND id IN ({})",
        places(ended.len())
    );
    let ids = ended.iter().map(|one| one.id.as_str());
    DB::Adapter::execute(conn, &sql, &texts(migration, ids)).await?;
    Ok(finished)
}

/// What else stands in the tables of the key of each of these writes.
async fn around<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    instance: &str,
    ended: &[EndedWrite],
) -> sqlx::Result<Vec<Around>> {
    let keys: HashSet<&str> = ended.iter().map(|one| one.key.0.as_str()).collect();
    let of_keys = || texts(migration, keys.iter().copied());
    let (ids, texts_of_keys) = (places(ended.len()), places(keys.len()));
    let own = format!("SELECT id FROM dualwrite_mark WHERE migration = ? AND id IN ({ids})");
    let values = texts(migration, ended.iter().map(|one| one.id.as_str()));
    let own = first_column::<DB>(conn, &own, &values).await?;
    let others = format!(
        "SELECT key_text FROM dualwrite_mark WHERE migration = ? AND key_text IN ({texts_of_keys}) AND instance <> ?"
    );
    let mut values = of_keys();
    values.push(instance.into());
    let others = first_column::<DB>(conn, &others, &values).await?;
    let unsettled = format!(
        "SELECT key_text FROM dualwrite_unsettled WHERE migration = ? AND key_text IN ({texts_of_keys})"
    );
    let unsettled = first_column::<DB>(conn, &unsettled, &of_keys()).await?;
    let around = |one: &EndedWrite| Around {
        own_mark: own.contains(&one.id),
        other_writes: others.contains(&one.key.0),
        unsettled: unsettled.contains(&one.key.0),
    };
    Ok(ended.iter().map(around).collect())
}

/// What clearing came to.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    /// Writes whose own mark was gone, by their numbers.
    pub(crate) gone: Vec<usize>,
    /// Keys that were left to be copied.
    pub(crate) left: u64,
}

async fn first_column<DB: Backend>(
    conn: &mut DB::Connection,
    sql: &str,
    values: &[SqlValue],
) -> sqlx::Result<HashSet<String>> {
    let rows = DB::Adapter::fetch(conn, sql, values).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// Makes keys to be copied of marks whose instance is dead: its lease ended so long ago, and so long ago the write began.
/// Returns how many marks there were.
pub(crate) async fn adopt<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    grace: Duration,
) -> sqlx::Result<u64> {
    let sql = format!(
        "SELECT k.id, k.key_text FROM dualwrite_mark k WHERE k.migration = ? AND k.since <= {{now}} - ? \
         AND NOT EXISTS (SELECT 1 FROM dualwrite_instance i WHERE i.id = k.instance \
         AND i.expires_at > {{now}} - ?) ORDER BY k.key_text LIMIT {NAMED}"
    );
    let values = [migration.into(), micros(grace), micros(grace)];
    let rows = DB::Adapter::fetch(conn, &sql, &values).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut keys = Vec::new();
    for row in &rows {
        keys.push(EncodedKey(row.text(1)?.to_owned()));
    }
    keys.dedup();
    let keys: Vec<_> = keys.iter().map(|key| (key, Duration::ZERO)).collect();
    unsettle::<DB>(conn, migration, &keys).await?;
    let sql = format!(
        "DELETE FROM dualwrite_mark WHERE migration = ? AND id IN ({})",
        places(rows.len())
    );
    let ids = rows.iter().map(|row| row.text(0)).collect::<sqlx::Result<Vec<_>>>()?;
    DB::Adapter::execute(conn, &sql, &texts(migration, ids.into_iter())).await?;
    Ok(rows.len() as u64)
}
