//! The version of a key: on the primary its counter, on the mirror what was applied last. The row outlives the record, so
//! that a late record from before a delete and one from after it differ.

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, unexpected};
use crate::key::EncodedKey;

/// Gives the key its next version, and locks it against other writers and relays to the end of the transaction.
pub(crate) async fn raise<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    key: &EncodedKey,
) -> sqlx::Result<u64> {
    let set = match DB::Adapter::DIALECT.on_duplicate_key {
        true => " ON DUPLICATE KEY UPDATE version = version + 1, gone = 0",
        false => {
            " ON CONFLICT (migration, key_text) DO UPDATE SET version = dualwrite_version.version + 1, gone = 0"
        }
    };
    upsert::<DB>(conn, migration, key, (1, set)).await
}

/// The version of the key, zero for one that was never there, locked in the same way.
pub(crate) async fn lock<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    key: &EncodedKey,
) -> sqlx::Result<u64> {
    let set = match DB::Adapter::DIALECT.on_duplicate_key {
        true => " ON DUPLICATE KEY UPDATE version = version",
        false => {
            " ON CONFLICT (migration, key_text) DO UPDATE SET version = dualwrite_version.version"
        }
    };
    upsert::<DB>(conn, migration, key, (0, set)).await
}

/// Answers with the version that is there now.
async fn upsert<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    key: &EncodedKey,
    (first, set): (u64, &str),
) -> sqlx::Result<u64> {
    let sql = format!(
        "INSERT INTO dualwrite_version (migration, key_text, version, gone) VALUES (?, ?, ?, 0){set}"
    );
    let values = [migration.into(), key.0.as_str().into(), first.into()];
    if !DB::Adapter::DIALECT.on_duplicate_key {
        let sql = format!("{sql} RETURNING version");
        let rows = DB::Adapter::fetch(conn, &sql, &values).await?;
        return rows.first().map_or_else(|| Err(unexpected(0, "a version")), |row| row.unsigned(0));
    }
    DB::Adapter::execute(conn, &sql, &values).await?;
    read::<DB>(conn, migration, key).await?.ok_or_else(|| unexpected(0, "a version"))
}

/// The version of the key, where it has one.
pub(crate) async fn read<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    key: &EncodedKey,
) -> sqlx::Result<Option<u64>> {
    let sql = "SELECT version FROM dualwrite_version WHERE migration = ? AND key_text = ?";
    let values = [migration.into(), key.0.as_str().into()];
    let rows = DB::Adapter::fetch(conn, sql, &values).await?;
    rows.first().map(|row| row.unsigned(0)).transpose()
}

/// Says which version the record has now; `gone`: there is none any more, and the version stays.
pub(crate) async fn set<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    key: &EncodedKey,
    (version, gone): (u64, bool),
) -> sqlx::Result<()> {
    let sql =
        "UPDATE dualwrite_version SET version = ?, gone = ? WHERE migration = ? AND key_text = ?";
    let values = [version.into(), i64::from(gone).into(), migration.into(), key.0.as_str().into()];
    DB::Adapter::execute(conn, sql, &values).await.map(drop)
}
