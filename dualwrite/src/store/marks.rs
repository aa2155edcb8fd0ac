//! Stale marks in tables. A mark withdraws the proof. A verification stamps the marks that it finds at its
//! beginning, and removes those that still bear its stamp at its clean end: what was marked since, or is being
//! marked in a transaction that is open, it may not have seen.

use sqlx_core::transaction::TransactionManager as _;

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue};
use crate::key::EncodedKey;
use crate::stages::stale::StaleKind;

type Conn<DB> = <DB as sqlx::Database>::Connection;

/// Marks that one statement names.
const NAMED: usize = 200;

/// Marks the sides as different, in the transaction of the caller if there is one.
pub(crate) async fn mark<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    kind: StaleKind,
) -> sqlx::Result<()> {
    let sql = format!(
        "INSERT INTO dualwrite_stale (migration, kind, subject, at, seen_by) \
         VALUES (?, ?, '', {{now}}, NULL){}",
        DB::Adapter::DIALECT.upsert("migration, kind, subject", &["at", "seen_by"])
    );
    DB::Adapter::execute(conn, &sql, &[name.into(), kind.as_str().into()]).await.map(drop)
}

/// The same, unless somebody has waived this key.
pub(crate) async fn mark_unless_waived<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    kind: StaleKind,
    key: &EncodedKey,
) -> sqlx::Result<()> {
    let sql = "SELECT count(*) FROM dualwrite_failure \
               WHERE migration = ? AND key_text = ? AND waived_at IS NOT NULL";
    let values = [name.into(), key.0.as_str().into()];
    let waived = DB::Adapter::fetch(conn, sql, &values).await?;
    match waived.first().map_or(Ok(0), |row| row.integer(0))? {
        0 => mark::<DB>(conn, name, kind).await,
        _ => Ok(()),
    }
}

/// How many marks the verification of this owner did not find at its beginning.
pub(crate) async fn unseen<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    owner: &str,
) -> sqlx::Result<u64> {
    let sql = "SELECT count(*) FROM dualwrite_stale \
               WHERE migration = ? AND (seen_by IS NULL OR seen_by <> ?)";
    let rows = DB::Adapter::fetch(conn, sql, &[name.into(), owner.into()]).await?;
    rows.first().map_or(Ok(0), |row| row.unsigned(0))
}

/// Stamps the marks that are there, or those alone that bear the stamp of an earlier run that goes on.
pub(crate) async fn stamp<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    earlier: Option<&str>,
    owner: &str,
) -> sqlx::Result<()> {
    let set = "UPDATE dualwrite_stale SET seen_by = ? WHERE ";
    free::<DB>(conn, name, earlier, (set, &[owner.into()])).await
}

/// Removes the marks that bear this stamp.
pub(crate) async fn settle<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    owner: &str,
) -> sqlx::Result<()> {
    free::<DB>(conn, name, Some(owner), ("DELETE FROM dualwrite_stale WHERE ", &[])).await
}

/// Does this to the marks that no open transaction is changing, those of one stamp or all: whoever changes one has
/// written what the verification cannot see yet, and nobody waits for it.
async fn free<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    stamp: Option<&str>,
    (what, first): (&str, &[SqlValue]),
) -> sqlx::Result<()> {
    let opening = match DB::Adapter::DIALECT.server {
        true => None,
        // It would fail where it first reads and then writes.
        false => Some(sqlx::SqlStr::from_static("BEGIN IMMEDIATE")),
    };
    DB::TransactionManager::begin(conn, opening).await?;
    match free_in::<DB>(conn, name, stamp, (what, first)).await {
        Ok(()) => DB::TransactionManager::commit(conn).await,
        Err(error) => {
            DB::TransactionManager::rollback(conn).await?;
            Err(error)
        }
    }
}

async fn free_in<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    stamp: Option<&str>,
    (what, first): (&str, &[SqlValue]),
) -> sqlx::Result<()> {
    let mut values = vec![name.into()];
    let stamped = if stamp.is_some() { " AND seen_by = ?" } else { "" };
    values.extend(stamp.map(SqlValue::from));
    let skip = DB::Adapter::DIALECT.for_update_skip;
    let sql = format!(
        "SELECT kind, subject FROM dualwrite_stale WHERE migration = ?{stamped} \
         ORDER BY kind, subject{skip}"
    );
    let rows = DB::Adapter::fetch(conn, &sql, &values).await?;
    for rows in rows.chunks(NAMED) {
        let which = vec!["(kind = ? AND subject = ?)"; rows.len()].join(" OR ");
        let sql = format!("{what}migration = ? AND ({which})");
        let mut values: Vec<SqlValue> = first.to_vec();
        values.push(name.into());
        for row in rows {
            values.extend([row.text(0)?.into(), row.text(1)?.into()]);
        }
        DB::Adapter::execute(conn, &sql, &values).await?;
    }
    Ok(())
}
