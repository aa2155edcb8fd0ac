//! Dead letters as a backfill writes and clears them, in the transaction of the page.

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue};
use crate::key::EncodedKey;
use crate::stages::position::Generation;
use crate::stages::retry::retry_after;
use crate::stages::stage::Side;

/// Dead letters that one statement takes out.
const REMOVED_AT_ONCE: usize = 200;

/// Puts a key into the dead letters, or counts another attempt.
pub(crate) async fn record_dead_letter<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    side: Side,
    generation: Generation,
    key: &EncodedKey,
    error: &str,
) -> sqlx::Result<()> {
    let error: String = error.chars().take(1_000).collect();
    let pause = u64::try_from(retry_after(1).as_micros()).unwrap_or(u64::MAX);
    let set = match DB::Adapter::DIALECT.on_duplicate_key {
        true => {
            " ON DUPLICATE KEY UPDATE attempts = attempts + 1, error = VALUES(error), \
             generation = VALUES(generation), failed_at = VALUES(failed_at)"
        }
        false => {
            " ON CONFLICT (migration, side, key_text) DO UPDATE SET \
             attempts = dualwrite_failure.attempts + 1, error = excluded.error, \
             generation = excluded.generation, failed_at = excluded.failed_at"
        }
    };
    let sql = format!(
        "INSERT INTO dualwrite_failure (migration, side, key_text, generation, error, attempts, \
         failed_at, next_attempt_at) VALUES (?, ?, ?, ?, ?, 1, {{now}}, {{now}} + ?){set}"
    );
    let values = [
        migration.into(),
        side.as_str().into(),
        key.0.as_str().into(),
        generation.0.into(),
        error.as_str().into(),
        pause.into(),
    ];
    DB::Adapter::execute(conn, &sql, &values).await.map(drop)
}

/// Takes keys out of the dead letters, in the transaction that copied them.
pub(crate) async fn remove_dead_letters<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    side: Side,
    keys: &[EncodedKey],
) -> sqlx::Result<()> {
    for keys in keys.chunks(REMOVED_AT_ONCE) {
        let sql = format!(
            "DELETE FROM dualwrite_failure WHERE migration = ? AND side = ? AND key_text IN ({})",
            vec!["?"; keys.len()].join(", ")
        );
        let keys = keys.iter().map(|key| SqlValue::from(key.0.as_str()));
        let first = [migration.into(), side.as_str().into()];
        let values: Vec<SqlValue> = first.into_iter().chain(keys).collect();
        DB::Adapter::execute(conn, &sql, &values).await?;
    }
    Ok(())
}
