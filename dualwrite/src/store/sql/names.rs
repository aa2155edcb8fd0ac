//! Making the rows of new migrations. A name belongs to one migration of a database, in exact mode or not, because an
//! operator's command would not know which one; so both kinds are made one after the other.

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue};
use crate::stages::lineage::Token;
use crate::store::changed;

/// What came of it, to be committed or not.
pub(super) enum Made {
    Rows,
    /// All of them were there, or their numbers were another migration's.
    Nothing,
    /// The migration of this name is in exact mode.
    Exact(String),
}

/// In a transaction whose first statement this is: takes the turn, then looks, then makes what is not there. Whoever has
/// the turn waits for no row that writers or moves hold, because it inserts no row that is there.
pub(super) async fn make<DB: Backend>(
    conn: &mut DB::Connection,
    rows: &[(&str, u64)],
) -> sqlx::Result<Made> {
    changed::tell::<DB>(conn, "").await?;
    let list = vec!["?"; rows.len()].join(", ");
    let mut values: Vec<SqlValue> = rows.iter().map(|(name, _)| (*name).into()).collect();
    let sql = format!("SELECT migration FROM dualwrite_authority WHERE migration IN ({list})");
    if let Some(row) = DB::Adapter::fetch(conn, &sql, &values).await?.first() {
        return row.text(0).map(|name| Made::Exact(name.to_owned()));
    }
    let sql = format!(
        "SELECT name, fence FROM dualwrite_migration WHERE name IN ({list}) OR fence IN ({list})"
    );
    values.extend(rows.iter().map(|(_, fence)| SqlValue::from(*fence)));
    let read = |row: &SqlRow| Ok((row.text(0)?.to_owned(), row.unsigned(1)?));
    let found = DB::Adapter::fetch(conn, &sql, &values).await?;
    let found = found.iter().map(read).collect::<sqlx::Result<Vec<(String, u64)>>>()?;
    let is_free = |(name, number): &&(&str, u64)| {
        !found.iter().any(|(taken, fence)| taken == name || fence == number)
    };
    let free: Vec<&(&str, u64)> = rows.iter().filter(is_free).collect();
    if free.is_empty() {
        return Ok(Made::Nothing);
    }
    let places = vec!["(?, ?, ?, 0, 0, 1, 1, 1, {now}, {now})"; free.len()].join(", ");
    let insert = format!(
        "INSERT INTO dualwrite_migration (name, fence, token, stage, ramp, epoch, generation, stage_epoch, stage_at, \
         created_at) VALUES {places}"
    );
    let row = |(name, fence): &(&str, u64)| {
        [(*name).into(), (*fence).into(), SqlValue::from(Token::random().0)]
    };
    let values: Vec<SqlValue> = free.into_iter().flat_map(row).collect();
    DB::Adapter::execute(conn, &insert, &values).await.map(|_| Made::Rows)
}
