//! The outbox: what the mirror has not applied yet. Rows are inserted with the write and deleted when the mirror has them.

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue};
use crate::key::EncodedKey;
use crate::store::exact::BULK;

/// Keys that a write names, at the most.
pub(crate) const NAMED: usize = 200;

/// One record of the outbox.
#[derive(Clone, Debug)]
pub(crate) struct OutboxRecord {
    pub(crate) seq: i64,
    pub(crate) key: EncodedKey,
    pub(crate) version: u64,
    /// The record as JSON; `None` where it was deleted.
    pub(crate) payload: Option<String>,
}

/// What a write leaves: the key, its version, and the record as JSON, `None` for a delete.
pub(crate) type Left<'k> = (&'k EncodedKey, u64, Option<String>);

/// Leaves records of a write, in its transaction. It fails, where the database can say so, if that has ended.
pub(crate) async fn insert_all<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    left: Vec<Left<'_>>,
) -> sqlx::Result<()> {
    let mut left = left.into_iter();
    loop {
        let mut values = Vec::new();
        let mut count = 0;
        for (key, version, payload) in left.by_ref().take(BULK) {
            count += 1;
            values.extend([
                uuid::Uuid::new_v4().to_string().as_str().into(),
                migration.into(),
                key.0.as_str().into(),
                if payload.is_some() { "put" } else { "delete" }.into(),
                SqlValue::Text(payload),
                version.into(),
            ]);
        }
        if count == 0 {
            return Ok(());
        }
        let ours = DB::Adapter::OURS_OR_FAIL.unwrap_or_default();
        let rows = vec![format!("(?, ?, ?, ?, ?, ?, {{now}}{ours})"); count].join(", ");
        let sql = format!(
            "INSERT INTO dualwrite_outbox (id, aggregatetype, aggregateid, type, payload, version, since) VALUES {rows}"
        );
        DB::Adapter::execute(conn, &sql, &values).await?;
    }
}

const COLUMNS: &str = "o.seq, o.aggregateid, o.version, o.payload";

/// The oldest records, but for keys that were put off.
pub(crate) async fn oldest<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    limit: usize,
) -> sqlx::Result<Vec<OutboxRecord>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM dualwrite_outbox o WHERE o.aggregatetype = ? AND NOT EXISTS \
         (SELECT 1 FROM dualwrite_outbox_failure f WHERE f.migration = o.aggregatetype \
         AND f.key_text = o.aggregateid AND f.next_attempt_at > {{now}}) ORDER BY o.seq LIMIT {limit}"
    );
    let rows = DB::Adapter::fetch(conn, &sql, &[migration.into()]).await?;
    rows.iter().map(record).collect()
}

/// The records of these keys, of which there are at most [`NAMED`].
pub(crate) async fn of_keys<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    keys: &[EncodedKey],
) -> sqlx::Result<Vec<OutboxRecord>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM dualwrite_outbox o WHERE o.aggregatetype = ? AND o.aggregateid IN ({}) ORDER BY o.seq",
        places(keys.len())
    );
    let mut values = vec![SqlValue::from(migration)];
    values.extend(keys.iter().map(|key| SqlValue::from(key.0.as_str())));
    let rows = DB::Adapter::fetch(conn, &sql, &values).await?;
    rows.iter().map(record).collect()
}

fn record(row: &SqlRow) -> sqlx::Result<OutboxRecord> {
    Ok(OutboxRecord {
        seq: row.integer(0)?,
        key: EncodedKey(row.text(1)?.to_owned()),
        version: row.unsigned(2)?,
        payload: row.optional_text(3)?.map(str::to_owned),
    })
}

fn places(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// Takes out what the mirror has, and forgets that keys without records were put off.
pub(crate) async fn remove<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    numbers: &[i64],
) -> sqlx::Result<()> {
    for numbers in numbers.chunks(BULK) {
        let sql = format!("DELETE FROM dualwrite_outbox WHERE seq IN ({})", places(numbers.len()));
        let values: Vec<SqlValue> = numbers.iter().map(|seq| SqlValue::from(*seq)).collect();
        DB::Adapter::execute(conn, &sql, &values).await?;
    }
    let sql = "DELETE FROM dualwrite_outbox_failure WHERE migration = ? AND NOT EXISTS \
               (SELECT 1 FROM dualwrite_outbox o WHERE o.aggregatetype = dualwrite_outbox_failure.migration \
               AND o.aggregateid = dualwrite_outbox_failure.key_text)";
    DB::Adapter::execute(conn, sql, &[migration.into()]).await.map(drop)
}

/// How many records there are, counted up to `most`.
pub(crate) async fn left<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    most: u64,
) -> sqlx::Result<u64> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 AS one FROM dualwrite_outbox WHERE aggregatetype = ? LIMIT {most}) o"
    );
    let rows = DB::Adapter::fetch(conn, &sql, &[migration.into()]).await?;
    rows.first().map_or(Ok(0), |row| row.unsigned(0))
}

/// Throws all of it away: the other side is written no more.
pub(crate) async fn clear<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<()> {
    let sql = "DELETE FROM dualwrite_outbox WHERE aggregatetype = ?";
    DB::Adapter::execute(conn, sql, &[migration.into()]).await?;
    let sql = "DELETE FROM dualwrite_outbox_failure WHERE migration = ?";
    DB::Adapter::execute(conn, sql, &[migration.into()]).await.map(drop)
}
