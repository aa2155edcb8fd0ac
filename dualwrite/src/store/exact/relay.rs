//! Who applies the outbox of a database, which keys are put off, and where the copy of what was there before stands.

use std::time::Duration;

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue};
use crate::key::EncodedKey;
use crate::stages::converging::again_after;

/// Characters of an error that are kept.
const ERROR_CHARS: usize = 1_000;

fn micros(duration: Duration) -> SqlValue {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).into()
}

/// Takes the lease, or keeps it. It saves work; that nothing is applied twice or in the wrong order, the versions see to.
pub(crate) async fn lease<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    owner: &str,
    lease: Duration,
) -> sqlx::Result<bool> {
    let sql = "UPDATE dualwrite_relay SET owner = ?, leased_until = {now} + ? WHERE migration = ? \
               AND (owner = ? OR leased_until <= {now})";
    let values = [owner.into(), micros(lease), migration.into(), owner.into()];
    Ok(DB::Adapter::execute(conn, sql, &values).await? > 0)
}

/// A key that could not be applied.
#[derive(Clone, Debug)]
pub(crate) struct PutOff {
    pub(crate) key: EncodedKey,
    pub(crate) attempts: u64,
    pub(crate) error: String,
}

/// Puts a key off after an error.
pub(crate) async fn put_off<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    key: &EncodedKey,
    error: &str,
) -> sqlx::Result<()> {
    let known =
        "SELECT attempts FROM dualwrite_outbox_failure WHERE migration = ? AND key_text = ?";
    let name = [migration.into(), key.0.as_str().into()];
    let rows = DB::Adapter::fetch(conn, known, &name).await?;
    let attempts = rows.first().map_or(Ok(0), |row| row.unsigned(0))? + 1;
    let sql = format!(
        "INSERT INTO dualwrite_outbox_failure (migration, key_text, attempts, next_attempt_at, error) \
         VALUES (?, ?, ?, {{now}} + ?, ?){}",
        DB::Adapter::DIALECT
            .upsert("migration, key_text", &["attempts", "next_attempt_at", "error"])
    );
    let error: String = error.chars().take(ERROR_CHARS).collect();
    let [migration, key] = name;
    let values =
        [migration, key, attempts.into(), micros(again_after(attempts)), error.as_str().into()];
    DB::Adapter::execute(conn, &sql, &values).await.map(drop)
}

/// Has the keys that were put off tried at once.
pub(crate) async fn hurry<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<()> {
    let sql = "UPDATE dualwrite_outbox_failure SET next_attempt_at = 0 WHERE migration = ?";
    DB::Adapter::execute(conn, sql, &[migration.into()]).await.map(drop)
}

/// The keys that were put off, some of them.
pub(crate) async fn failures<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    limit: usize,
) -> sqlx::Result<Vec<PutOff>> {
    let sql = format!(
        "SELECT key_text, attempts, error FROM dualwrite_outbox_failure WHERE migration = ? \
         ORDER BY key_text LIMIT {limit}"
    );
    let rows = DB::Adapter::fetch(conn, &sql, &[migration.into()]).await?;
    let put_off = |row: &crate::database::SqlRow| {
        Ok(PutOff {
            key: EncodedKey(row.text(0)?.to_owned()),
            attempts: row.unsigned(1)?,
            error: row.text(2)?.to_owned(),
        })
    };
    rows.iter().map(put_off).collect()
}

/// Where the copy stands: its part, the last key of it, and how many keys were copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyPlace {
    pub(crate) part: u64,
    pub(crate) cursor: Option<EncodedKey>,
    pub(crate) keys: u64,
}

/// Reads it.
pub(crate) async fn copy_place<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<CopyPlace> {
    let sql = "SELECT copy_part, copy_cursor, copied_keys FROM dualwrite_relay WHERE migration = ?";
    let rows = DB::Adapter::fetch(conn, sql, &[migration.into()]).await?;
    let Some(row) = rows.first() else { return Err(sqlx::Error::RowNotFound) };
    let cursor = row.optional_text(1)?.map(|text| EncodedKey(text.to_owned()));
    Ok(CopyPlace { part: row.unsigned(0)?, cursor, keys: row.unsigned(2)? })
}

/// Goes on, if nobody else has.
pub(crate) async fn move_copy<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    from: &CopyPlace,
    to: &CopyPlace,
) -> sqlx::Result<bool> {
    let text = |place: &CopyPlace| SqlValue::Text(place.cursor.as_ref().map(|key| key.0.clone()));
    let cursor = match &from.cursor {
        Some(_) => "copy_cursor = ?",
        None => "copy_cursor IS NULL",
    };
    let sql = format!(
        "UPDATE dualwrite_relay SET copy_part = ?, copy_cursor = ?, copied_keys = ? \
         WHERE migration = ? AND copy_part = ? AND {cursor}"
    );
    let mut values =
        vec![to.part.into(), text(to), to.keys.into(), migration.into(), from.part.into()];
    values.extend(from.cursor.is_some().then(|| text(from)));
    Ok(DB::Adapter::execute(conn, &sql, &values).await? > 0)
}

/// Begins the copy anew.
pub(crate) async fn reset_copy<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<()> {
    let sql = "UPDATE dualwrite_relay SET copy_part = 0, copy_cursor = NULL, copied_keys = 0 WHERE migration = ?";
    DB::Adapter::execute(conn, sql, &[migration.into()]).await.map(drop)
}

/// The epoch of the primary at which the latest page of a copy was read that was written here.
pub(crate) async fn copied_epoch<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<u64> {
    let sql = "SELECT applied_epoch FROM dualwrite_relay WHERE migration = ?";
    let rows = DB::Adapter::fetch(conn, sql, &[migration.into()]).await?;
    rows.first().map_or(Err(sqlx::Error::RowNotFound), |row| row.unsigned(0))
}

/// Says so of a page that is about to be written.
pub(crate) async fn set_copied_epoch<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    epoch: u64,
) -> sqlx::Result<()> {
    let sql = "UPDATE dualwrite_relay SET applied_epoch = ? WHERE migration = ?";
    DB::Adapter::execute(conn, sql, &[epoch.into(), migration.into()]).await.map(drop)
}
