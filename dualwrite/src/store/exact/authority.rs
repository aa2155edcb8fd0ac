//! The row that says whether this database has the authority.

use std::collections::HashMap;
use std::time::Duration;

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue, authority, unexpected};
use crate::error::{Closed, Maintenance};
use crate::key::EncodedKey;
use crate::stages::exact::Authority;
use crate::stages::stage::Side;
use crate::store::changed;

/// A row, and how long it has been as it is.
#[derive(Clone, Debug)]
pub(crate) struct AuthorityRow {
    pub(crate) side: Side,
    pub(crate) authority: Authority,
    pub(crate) age: Duration,
    /// Which calls are closed, whoever has the authority.
    pub(crate) maintenance: Option<Maintenance>,
}

fn parsed(row: Option<SqlRow>) -> sqlx::Result<Option<AuthorityRow>> {
    let Some(row) = row else { return Ok(None) };
    let side = match row.text(0)? {
        "old" => Side::Old,
        "new" => Side::New,
        _ => return Err(unexpected(0, "a side")),
    };
    let authority = Authority {
        primary: row.integer(1)? != 0,
        open: row.integer(2)? != 0,
        recording: row.integer(3)? != 0,
        copied: row.integer(4)? != 0,
        epoch: row.unsigned(5)?,
        token: row.unsigned(6)?,
    };
    let age = Duration::from_micros(u64::try_from(row.integer(7)?).unwrap_or_default());
    Ok(Some(AuthorityRow { side, authority, age, maintenance: maintenance_of(&row, 8)? }))
}

/// What the four columns from this one say of closed calls.
pub(crate) fn maintenance_of(row: &SqlRow, first: usize) -> sqlx::Result<Option<Maintenance>> {
    let closed = u8::try_from(row.integer(first)?).ok().and_then(Closed::from_code);
    let closed = closed.ok_or_else(|| unexpected(first, "which calls are closed"))?;
    if !closed.is_closed() {
        return Ok(None);
    }
    Ok(Some(Maintenance {
        closed,
        actor: row.text(first + 1)?.to_owned(),
        reason: row.text(first + 2)?.to_owned(),
        until: row.moment(first + 3)?,
    }))
}

/// Reads it, and holds it as it is to the end of the transaction.
pub(crate) async fn hold<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<Option<AuthorityRow>> {
    parsed(authority::hold::<DB>(conn, migration).await?)
}

/// The same, and raises the versions of keys as [`raise_all`](super::version::raise_all) does, in one message, where the
/// database can and the row takes writes and records them.
pub(crate) async fn hold_and_raise<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    keys: &[EncodedKey],
) -> sqlx::Result<Option<(Option<AuthorityRow>, Vec<u64>)>> {
    let texts: Vec<&str> = keys.iter().map(|key| key.0.as_str()).collect();
    let Some(rows) = authority::hold_and_raise::<DB>(conn, migration, &texts).await? else {
        return Ok(None);
    };
    let raised = rows
        .iter()
        .filter(|row| !row.is_null(KEY))
        .map(|row| Ok((row.text(KEY)?.to_owned(), row.unsigned(KEY + 1)?)));
    let raised: HashMap<String, u64> = raised.collect::<sqlx::Result<_>>()?;
    let versions = texts.iter().filter_map(|key| raised.get(*key).copied()).collect();
    Ok(Some((parsed(rows.into_iter().next())?, versions)))
}

/// Where the key stands, after the columns of the row.
const KEY: usize = 12;

/// Waits until nobody holds it, and reads it, to change it.
pub(crate) async fn hold_alone<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<Option<AuthorityRow>> {
    parsed(authority::hold_alone::<DB>(conn, migration).await?)
}

/// Reads it.
pub(crate) async fn read_authority<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<Option<AuthorityRow>> {
    parsed(authority::read_authority::<DB>(conn, migration).await?)
}

/// Whether a migration that is not in exact mode has this name in this database.
pub(crate) async fn is_taken<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<bool> {
    let sql = "SELECT 1 FROM dualwrite_migration WHERE name = ?";
    Ok(!DB::Adapter::fetch(conn, sql, &[migration.into()]).await?.is_empty())
}

/// Makes the row of a new migration, unless there is one, in a transaction whose first statement this is. Answers `false`
/// where a migration that is not in exact mode has the name: both kinds are made one after the other.
pub(crate) async fn make<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    side: Side,
    first: Authority,
) -> sqlx::Result<bool> {
    changed::tell::<DB>(conn, "").await?;
    if is_taken::<DB>(conn, migration).await? {
        return Ok(false);
    }
    if read_authority::<DB>(conn, migration).await?.is_none() {
        insert::<DB>(conn, migration, side, first).await?;
    }
    Ok(true)
}

/// Removes the row, if it is still as it was made.
pub(crate) async fn take_back<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    first: Authority,
) -> sqlx::Result<()> {
    let sql = "DELETE FROM dualwrite_authority WHERE migration = ? AND epoch = ? AND token = ?";
    let values = [migration.into(), first.epoch.into(), first.token.into()];
    DB::Adapter::execute(conn, sql, &values).await.map(drop)
}

/// Makes the row of a new migration, unless there is one.
async fn insert<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    side: Side,
    first: Authority,
) -> sqlx::Result<()> {
    let sql = format!(
        "INSERT INTO dualwrite_authority (migration, side, is_primary, is_open, recording, copied, epoch, token, \
         changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, {{now}}){}",
        DB::Adapter::DIALECT.upsert("migration", &[])
    );
    let mut values = vec![SqlValue::from(migration), side.as_str().into()];
    values.extend(columns(first));
    DB::Adapter::execute(conn, &sql, &values).await?;
    let sql = format!(
        "INSERT INTO dualwrite_relay (migration) VALUES (?){}",
        DB::Adapter::DIALECT.upsert("migration", &[])
    );
    DB::Adapter::execute(conn, &sql, &[migration.into()]).await.map(drop)
}

fn columns(row: Authority) -> [SqlValue; 6] {
    let flag = |flag: bool| SqlValue::from(i64::from(flag));
    let Authority { primary, open, recording, copied, epoch, token } = row;
    [flag(primary), flag(open), flag(recording), flag(copied), epoch.into(), token.into()]
}

/// Changes it, if it is still as it was seen.
pub(crate) async fn change<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    seen: Authority,
    to: Authority,
) -> sqlx::Result<bool> {
    let sql = "UPDATE dualwrite_authority SET is_primary = ?, is_open = ?, recording = ?, copied = ?, epoch = ?, \
               token = ?, changed_at = {now} WHERE migration = ? AND epoch = ? AND token = ?";
    let mut values = columns(to).to_vec();
    values.extend([migration.into(), seen.epoch.into(), seen.token.into()]);
    Ok(DB::Adapter::execute(conn, sql, &values).await? > 0)
}
