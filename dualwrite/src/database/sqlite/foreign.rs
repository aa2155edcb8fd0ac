//! Foreign keys of SQLite, judged by queries: it counts violations until COMMIT, and nothing asks for the count.

use sqlx::SqliteConnection;

use super::SqliteAdapter;
use crate::database::sealed::Adapter as _;
use crate::database::{SqlRow, SqlValue};

/// A foreign key: the columns that refer, the table that they refer to, and its columns.
#[derive(Debug, Default)]
struct ForeignKey {
    from: Vec<String>,
    parent: String,
    /// Empty where it is the primary key.
    to: Vec<String>,
}

/// Queries that find what violates a foreign key of a table, or one that refers to it, among the rows of a key; each
/// with how often it binds the key.
pub(super) async fn queries(
    conn: &mut SqliteConnection,
    table: &str,
    key: &[String],
) -> sqlx::Result<Vec<(String, usize)>> {
    let name = plain(table);
    let mut queries = Vec::new();
    for foreign in keys_of(conn, &name).await? {
        if let Some(foreign) = with_columns(conn, foreign).await? {
            queries.push((of_child(table, key, &foreign), 1));
        }
    }
    let others = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%REFERENCES%'";
    for row in SqliteAdapter::fetch(conn, others, &[]).await? {
        let child = row.text(0)?.to_owned();
        for foreign in keys_of(conn, &child).await? {
            if !foreign.parent.eq_ignore_ascii_case(&name) {
                continue;
            }
            if let Some(foreign) = with_columns(conn, foreign).await? {
                queries.push(of_parent(&quoted(&child), table, key, &foreign));
            }
        }
    }
    Ok(queries)
}

const ENFORCED: &str = "(SELECT foreign_keys FROM pragma_foreign_keys) = 1";

/// A row of the key whose parent is not there.
fn of_child(table: &str, key: &[String], foreign: &ForeignKey) -> String {
    let (given, equal) = pairs("c", foreign);
    let rows: Vec<String> = key.iter().map(|column| format!("c.{column} = ?")).collect();
    format!(
        "SELECT 1 FROM {table} c WHERE {} AND {ENFORCED} AND {given} \
         AND NOT EXISTS (SELECT 1 FROM {} p WHERE {equal}) LIMIT 1",
        rows.join(" AND "),
        quoted(&foreign.parent)
    )
}

/// A row of another table whose parent, of this key, is not there any more.
fn of_parent(child: &str, table: &str, key: &[String], foreign: &ForeignKey) -> (String, usize) {
    let (given, equal) = pairs("c", foreign);
    let columns: Option<Vec<String>> = key
        .iter()
        .map(|column| {
            let at = foreign.to.iter().position(|to| quoted(to).eq_ignore_ascii_case(column))?;
            Some(format!("c.{} = ?", quoted(&foreign.from[at])))
        })
        .collect();
    // Where it does not refer to the key, what it refers to is not known any more: then all are looked at.
    let (rows, times) = match columns.filter(|columns| columns.len() == foreign.to.len()) {
        Some(columns) => (format!("{} AND ", columns.join(" AND ")), 1),
        None => (String::new(), 0),
    };
    let sql = format!(
        "SELECT 1 FROM {child} c WHERE {rows}{ENFORCED} AND {given} \
         AND NOT EXISTS (SELECT 1 FROM {table} p WHERE {equal}) LIMIT 1"
    );
    (sql, times)
}

/// That all columns of a child are given, and that they are a parent's.
fn pairs(child: &str, foreign: &ForeignKey) -> (String, String) {
    let given: Vec<String> =
        foreign.from.iter().map(|from| format!("{child}.{} IS NOT NULL", quoted(from))).collect();
    let equal: Vec<String> = (foreign.from.iter().zip(&foreign.to))
        .map(|(from, to)| format!("p.{} = {child}.{}", quoted(to), quoted(from)))
        .collect();
    (given.join(" AND "), equal.join(" AND "))
}

async fn keys_of(conn: &mut SqliteConnection, table: &str) -> sqlx::Result<Vec<ForeignKey>> {
    let sql =
        "SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?) ORDER BY id, seq";
    let mut found: Vec<(i64, ForeignKey)> = Vec::new();
    for row in SqliteAdapter::fetch(conn, sql, &[SqlValue::from(table)]).await? {
        let id = row.integer(0)?;
        if found.last().is_none_or(|(last, _)| *last != id) {
            let parent = row.text(1)?.to_owned();
            found.push((id, ForeignKey { parent, ..ForeignKey::default() }));
        }
        if let Some((_, foreign)) = found.last_mut() {
            foreign.from.push(row.text(2)?.to_owned());
            foreign.to.extend(row.optional_text(3)?.map(str::to_owned));
        }
    }
    Ok(found.into_iter().map(|(_, foreign)| foreign).collect())
}

/// The same with the parent's columns; `None` where there is no such table, which SQLite says by itself.
async fn with_columns(
    conn: &mut SqliteConnection,
    mut foreign: ForeignKey,
) -> sqlx::Result<Option<ForeignKey>> {
    if foreign.to.is_empty() {
        let sql = "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk";
        let rows = SqliteAdapter::fetch(conn, sql, &[SqlValue::from(&*foreign.parent)]).await?;
        let name = |row: &SqlRow| row.text(0).map(str::to_owned);
        foreign.to = rows.iter().map(name).collect::<sqlx::Result<_>>()?;
    }
    Ok(Some(foreign).filter(|foreign| foreign.to.len() == foreign.from.len()))
}

fn plain(table: &str) -> String {
    let name = table.rsplit_once('.').map_or(table, |(_, name)| name);
    name.replace('"', "")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
