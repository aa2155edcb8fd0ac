//! The version of a key: on the primary its counter, on the mirror what was applied last. The row outlives the record, so
//! that a late record from before a delete and one from after it differ.

use std::collections::HashMap;

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue, unexpected};
use crate::key::EncodedKey;
use crate::stages::exact::takes;
use crate::store::exact::BULK;

/// Gives keys their next versions, and locks them against other writers and relays to the end of the transaction. They
/// are sorted, without doubles: so no two transactions wait for each other.
pub(crate) async fn raise_all<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    keys: &[EncodedKey],
) -> sqlx::Result<Vec<u64>> {
    let set = match DB::Adapter::DIALECT.on_duplicate_key {
        true => " ON DUPLICATE KEY UPDATE version = version + 1, gone = 0",
        false => {
            " ON CONFLICT (migration, key_text) DO UPDATE SET version = dualwrite_version.version + 1, gone = 0"
        }
    };
    let mut raised = Vec::with_capacity(keys.len());
    for keys in keys.chunks(BULK) {
        let rows: Vec<Row<'_>> = keys.iter().map(|key| (key, 1, false)).collect();
        let found = match DB::Adapter::DIALECT.on_duplicate_key {
            true => {
                insert::<DB>(conn, migration, &rows, set).await?;
                read_all::<DB>(conn, migration, keys).await?
            }
            false => insert_returning::<DB>(conn, migration, &rows, set).await?,
        };
        for key in keys {
            let version = found.get(key.0.as_str()).ok_or_else(|| unexpected(0, "a version"))?;
            raised.push(*version);
        }
    }
    Ok(raised)
}

/// Says that the mirror has these versions, where they are higher than what it had, and locks the keys in the same way.
/// Answers for each whether its record is to be applied: [`takes`].
pub(crate) async fn take_all<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    rows: &[Row<'_>],
) -> sqlx::Result<Vec<bool>> {
    let mut taken = Vec::with_capacity(rows.len());
    for rows in rows.chunks(BULK) {
        if DB::Adapter::DIALECT.on_duplicate_key {
            let locked: Vec<Row<'_>> = rows.iter().map(|(key, ..)| (*key, 0, false)).collect();
            let set = " ON DUPLICATE KEY UPDATE version = version";
            insert::<DB>(conn, migration, &locked, set).await?;
            let keys: Vec<&EncodedKey> = rows.iter().map(|(key, ..)| *key).collect();
            let found = read_all::<DB>(conn, migration, &keys).await?;
            let is_taken = |(key, version, _): &Row<'_>| {
                takes(found.get(key.0.as_str()).copied().unwrap_or_default(), *version)
            };
            let taking: Vec<Row<'_>> = rows.iter().copied().filter(is_taken).collect();
            taken.extend(rows.iter().map(is_taken));
            if !taking.is_empty() {
                let set = DB::Adapter::DIALECT.upsert("migration, key_text", &["version", "gone"]);
                insert::<DB>(conn, migration, &taking, &set).await?;
            }
            continue;
        }
        // The condition is `takes`: only rows for which it holds are returned.
        let set = " ON CONFLICT (migration, key_text) DO UPDATE SET version = excluded.version, gone = excluded.gone \
                   WHERE dualwrite_version.version < excluded.version";
        let found = insert_returning::<DB>(conn, migration, rows, set).await?;
        taken.extend(rows.iter().map(|(key, ..)| found.contains_key(key.0.as_str())));
    }
    Ok(taken)
}

/// Says which versions the records have, whatever was there. `gone`: there is no record any more, and the version stays.
pub(crate) async fn set_all<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    rows: &[Row<'_>],
) -> sqlx::Result<()> {
    let set = DB::Adapter::DIALECT.upsert("migration, key_text", &["version", "gone"]);
    for rows in rows.chunks(BULK) {
        insert::<DB>(conn, migration, rows, &set).await?;
    }
    Ok(())
}

/// A key, its version, and whether its record is gone.
pub(crate) type Row<'k> = (&'k EncodedKey, u64, bool);

fn statement(count: usize, end: &str) -> String {
    let rows = vec!["(?, ?, ?, ?)"; count].join(", ");
    format!("INSERT INTO dualwrite_version (migration, key_text, version, gone) VALUES {rows}{end}")
}

fn values(migration: &str, rows: &[Row<'_>]) -> Vec<SqlValue> {
    let row = |(key, version, gone): &Row<'_>| -> [SqlValue; 4] {
        [migration.into(), key.0.as_str().into(), (*version).into(), i64::from(*gone).into()]
    };
    rows.iter().flat_map(row).collect()
}

async fn insert<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    rows: &[Row<'_>],
    end: &str,
) -> sqlx::Result<()> {
    let sql = statement(rows.len(), end);
    DB::Adapter::execute(conn, &sql, &values(migration, rows)).await.map(drop)
}

/// The versions that are there now, of the rows that were inserted or changed.
async fn insert_returning<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    rows: &[Row<'_>],
    end: &str,
) -> sqlx::Result<HashMap<String, u64>> {
    let sql = statement(rows.len(), &format!("{end} RETURNING key_text, version"));
    let found = DB::Adapter::fetch(conn, &sql, &values(migration, rows)).await?;
    found.iter().map(|row| Ok((row.text(0)?.to_owned(), row.unsigned(1)?))).collect()
}

/// The versions of those of these keys that have one.
pub(crate) async fn read_all<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    keys: &[impl std::borrow::Borrow<EncodedKey>],
) -> sqlx::Result<HashMap<String, u64>> {
    let mut all = HashMap::new();
    for keys in keys.chunks(BULK) {
        let places = vec!["?"; keys.len()].join(", ");
        let sql = format!(
            "SELECT key_text, version FROM dualwrite_version WHERE migration = ? AND key_text IN ({places})"
        );
        let keys = keys.iter().map(|key| SqlValue::from(key.borrow().0.as_str()));
        let values: Vec<SqlValue> = std::iter::once(migration.into()).chain(keys).collect();
        for row in DB::Adapter::fetch(conn, &sql, &values).await? {
            all.insert(row.text(0)?.to_owned(), row.unsigned(1)?);
        }
    }
    Ok(all)
}

/// Whether any key has a version.
pub(crate) async fn any<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<bool> {
    let sql = "SELECT 1 FROM dualwrite_version WHERE migration = ? LIMIT 1";
    Ok(!DB::Adapter::fetch(conn, sql, &[migration.into()]).await?.is_empty())
}

/// The keys after this one whose last write was a delete.
pub(crate) async fn gone_after<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    (after, limit): (Option<&EncodedKey>, u32),
) -> sqlx::Result<Vec<EncodedKey>> {
    let beyond = if after.is_some() { " AND key_text > ?" } else { "" };
    let sql = format!(
        "SELECT key_text FROM dualwrite_version WHERE migration = ?{beyond} AND gone = 1 ORDER BY key_text LIMIT {limit}"
    );
    let mut values = vec![SqlValue::from(migration)];
    values.extend(after.map(|key| SqlValue::from(key.0.as_str())));
    let rows = DB::Adapter::fetch(conn, &sql, &values).await?;
    rows.iter().map(|row| Ok(EncodedKey(row.text(0)?.to_owned()))).collect()
}
