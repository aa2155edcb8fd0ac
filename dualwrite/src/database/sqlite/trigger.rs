//! The triggers that record writes of those who do not know this library, for SQLite.
//!
//! `INSERT OR REPLACE` removes rows that share a unique value with the new one, and fires triggers for them only
//! on connections with `recursive_triggers`. So a trigger before the write notes those rows, whoever writes.

use sqlx::SqliteConnection;

use crate::database::sealed::Adapter as _;
use crate::database::sqlite::SqliteAdapter;
use crate::database::{SqlRow, SqlValue, Watched};
use crate::key::{KEY_BYTES_MAX, KeyKind};
use crate::preflight::form::{KeyForm, Spelling, UuidAs};

/// A row that only the transaction which wrote it sees, and that is gone before it commits.
pub(super) fn mark(fence: u64) -> String {
    format!("INSERT OR IGNORE INTO dualwrite_fenced (connection, fence) VALUES (0, {fence})")
}

pub(super) const UNMARK: &str = "DELETE FROM dualwrite_fenced";

const EVENTS: [(&str, &str, &[&str]); 3] =
    [("ins", "INSERT", &["NEW"]), ("upd", "UPDATE", &["OLD", "NEW"]), ("del", "DELETE", &["OLD"])];
/// And the rows that are written anyway.
const REPLACING: [(&str, &str, &[&str]); 2] =
    [("rin", "INSERT", &["NEW"]), ("rup", "UPDATE", &["OLD", "NEW"])];

const NOW: &str = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";

/// The unique values of a table: the columns of each index.
pub(super) struct Unique(Vec<Vec<UniqueColumn>>);

/// A column of a unique index.
struct UniqueColumn {
    /// Quoted, as the collation.
    name: String,
    collation: String,
    /// What `OR REPLACE` puts in the place of a NULL that the column does not take.
    default: Option<String>,
}

impl Unique {
    /// Asks for the columns of unique indexes, those of expressions left out, and for the alias of the row's
    /// number; all parameters are the table's name.
    const READ: &str = "\
        SELECT l.name, x.name, x.coll, (SELECT c.dflt_value FROM pragma_table_xinfo(?) c \
        WHERE c.name = x.name AND c.\"notnull\" = 1) FROM pragma_index_list(?) l, pragma_index_xinfo(l.name) x \
        WHERE l.\"unique\" = 1 AND x.key = 1 AND NOT EXISTS \
        (SELECT 1 FROM pragma_index_xinfo(l.name) e WHERE e.key = 1 AND e.name IS NULL) \
        UNION ALL SELECT '', name, 'BINARY', NULL FROM pragma_table_info(?) t WHERE pk > 0 \
        AND upper(type) = 'INTEGER' AND 1 = (SELECT count(*) FROM pragma_table_info(t.arg) WHERE pk > 0) \
        ORDER BY 1";

    /// Asks for them.
    pub(super) async fn read(conn: &mut SqliteConnection, watched: &Watched) -> sqlx::Result<Self> {
        let table = watched.table_name().replace('"', "");
        let values = [&*table, &*table, &*table].map(SqlValue::from);
        Self::of(&SqliteAdapter::fetch(conn, Self::READ, &values).await?)
    }

    /// The rows of [`READ`](Self::READ).
    fn of(rows: &[SqlRow]) -> sqlx::Result<Self> {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let mut found: Vec<(String, Vec<UniqueColumn>)> = Vec::new();
        for row in rows {
            let index = row.text(0)?;
            let (name, collation) = (quoted(row.text(1)?), quoted(row.text(2)?));
            let default = row.optional_text(3)?.map(str::to_owned);
            let column = UniqueColumn { name, collation, default };
            match found.last_mut() {
                Some((name, columns)) if name == index => columns.push(column),
                _ => found.push((index.to_owned(), vec![column])),
            }
        }
        Ok(Self(found.into_iter().map(|(_, columns)| columns).collect()))
    }

    /// The condition that another row shares a unique value with the new one; `None` where none can.
    fn shared(&self, watched: &Watched, others: &[&str]) -> Option<String> {
        let table = watched.table_name();
        let binary = "\"BINARY\"";
        // Where the whole key is part of it, byte for byte, no other key has it.
        let is_of_key = |columns: &&Vec<UniqueColumn>| {
            let has = |key: &String| {
                columns.iter().any(|column| column.name == *key && column.collation == binary)
            };
            watched.columns.iter().all(|(key, _)| has(key))
        };
        let shared = self.0.iter().filter(|columns| !is_of_key(columns)).map(|columns| {
            let equal = |UniqueColumn { name, collation, default }: &UniqueColumn| {
                let value = match default {
                    Some(default) => format!("COALESCE(NEW.{name}, {default})"),
                    None => format!("NEW.{name}"),
                };
                format!("{table}.{name} = {value} COLLATE {collation}")
            };
            columns.iter().map(equal).collect::<Vec<_>>().join(" AND ")
        });
        let shared: Vec<String> = shared.collect();
        let same_key = |row: &&str| {
            let same = |(key, _): &(String, KeyKind)| format!("{table}.{key} IS {row}.{key}");
            let mut same: Vec<String> = watched.columns.iter().map(same).collect();
            // Before the row is written, the number that it will be given is -1, which another row may have.
            if let ([(key, KeyKind::INTEGER)], "NEW") = (watched.columns.as_slice(), *row) {
                same.push(format!("NEW.{key} IS NOT -1"));
            }
            format!(" AND NOT ({})", same.join(" AND "))
        };
        let others: String = others.iter().map(same_key).collect();
        (!shared.is_empty()).then(|| format!("(({})){others}", shared.join(") OR (")))
    }
}

pub(super) fn create(watched: &Watched, unique: &Unique) -> Vec<String> {
    let mut statements: Vec<String> = EVENTS.iter().map(|event| after(watched, event)).collect();
    for (name, statement) in before(watched, unique) {
        // What is unique may have changed since it was made.
        statements.push(format!("DROP TRIGGER IF EXISTS {name}"));
        statements.extend(statement);
    }
    statements
}

/// The triggers that note rows which are replaced, by their names; without a statement where nothing can be.
pub(super) fn before(watched: &Watched, unique: &Unique) -> Vec<(String, Option<String>)> {
    let trigger = |(suffix, event, rows): (&str, &str, &[&str])| {
        let (name, table) = (format!("{}_{suffix}", watched.name), watched.table_name());
        let statement = unique.shared(watched, rows).map(|shared| {
            let marks = note(watched, &table, &format!("FROM {table}"), &shared);
            format!(
                "CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW BEGIN {marks} END"
            )
        });
        (name, statement)
    };
    REPLACING.map(trigger).into()
}

fn after(watched: &Watched, (suffix, event, rows): &(&str, &str, &[&str])) -> String {
    let Watched { migration, name, fence, .. } = watched;
    let marks: Vec<String> = rows.iter().map(|row| note(watched, row, "", "1")).collect();
    // Not OR IGNORE: the conflict clause of the statement that fires a trigger replaces that of the
    // trigger's own statements.
    format!(
        "CREATE TRIGGER IF NOT EXISTS {name}_{suffix} AFTER {event} ON {} FOR EACH ROW \
         WHEN NOT EXISTS (SELECT 1 FROM dualwrite_fenced WHERE fence = {fence}) BEGIN \
         UPDATE dualwrite_unaware SET minute = unixepoch() / 60 \
         WHERE migration = '{migration}' AND slot = 0 AND minute <> unixepoch() / 60; \
         INSERT INTO dualwrite_unaware (migration, slot, minute) \
         SELECT '{migration}', 0, unixepoch() / 60 WHERE NOT EXISTS (SELECT 1 FROM dualwrite_unaware \
         WHERE migration = '{migration}' AND slot = 0); {} END",
        watched.table_name(),
        marks.join(" ")
    )
}

/// Marks the keys of rows; where one cannot be recorded, the whole table.
fn note(watched: &Watched, row: &str, from: &str, which: &str) -> String {
    let Watched { migration, .. } = watched;
    let (key, fits) = (key(watched, row), fits(watched, row));
    let this = format!("migration = '{migration}' AND kind = 'key' AND subject = ''");
    let unfit = format!("EXISTS (SELECT 1 {from} WHERE {which} AND NOT ({fits}))");
    format!(
        "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) \
         SELECT DISTINCT '{migration}', 'new', {key}, {NOW} {from} WHERE {which} AND {fits} \
         AND NOT EXISTS (SELECT 1 FROM dualwrite_dirty \
         WHERE migration = '{migration}' AND side = 'new' AND key_text = {key}); \
         UPDATE dualwrite_stale SET at = {NOW}, seen_by = NULL WHERE {this} AND {unfit}; \
         INSERT INTO dualwrite_stale (migration, kind, subject, at, seen_by) \
         SELECT '{migration}', 'key', '', {NOW}, NULL WHERE {unfit} \
         AND NOT EXISTS (SELECT 1 FROM dualwrite_stale WHERE {this});"
    )
}

pub(super) fn drop(Watched { name, .. }: &Watched) -> Vec<String> {
    let suffixes = EVENTS.iter().map(|(suffix, ..)| suffix);
    let suffixes = suffixes.chain(REPLACING.iter().map(|(suffix, ..)| suffix));
    suffixes.map(|suffix| format!("DROP TRIGGER IF EXISTS {name}_{suffix}")).collect()
}

/// Whether the key can be encoded: a column holds any type.
fn fits(watched: &Watched, row: &str) -> String {
    let part = |((column, kind), form): (&(String, KeyKind), &KeyForm)| match *kind {
        KeyKind::INTEGER => format!("typeof({row}.{column}) = 'integer'"),
        KeyKind::UUID if form.uuid == UuidAs::Native => {
            format!("typeof({row}.{column}) = 'blob' AND length({row}.{column}) = 16")
        }
        KeyKind::BYTES => format!("typeof({row}.{column}) = 'blob'"),
        _ => format!("typeof({row}.{column}) = 'text'"),
    };
    let parts: Vec<String> = watched.columns.iter().zip(&watched.forms).map(part).collect();
    let kinds = parts.join(" AND ");
    format!(
        "CASE WHEN {kinds} THEN length(CAST({} AS BLOB)) <= {KEY_BYTES_MAX} ELSE 0 END",
        key(watched, row)
    )
}

/// The key of a row, as the library encodes it: JSON.
fn key(watched: &Watched, row: &str) -> String {
    let part = |((column, kind), form): (&(String, KeyKind), &KeyForm)| match *kind {
        KeyKind::INTEGER => format!("CAST({row}.{column} AS TEXT)"),
        KeyKind::BYTES => format!("json_quote(lower(hex({row}.{column})))"),
        KeyKind::UUID if form.uuid == UuidAs::Text => format!("json_quote(lower({row}.{column}))"),
        KeyKind::UUID => {
            let hex = format!("lower(hex({row}.{column}))");
            let piece = |(from, length)| format!("substr({hex}, {from}, {length})");
            let pieces = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)].map(piece);
            format!("'\"' || {} || '\"'", pieces.join(" || '-' || "))
        }
        _ => match form.spelling {
            Spelling::Padded => format!("json_quote(rtrim({row}.{column}))"),
            Spelling::AsciiCase => format!("json_quote(lower({row}.{column}))"),
            _ => format!("json_quote({row}.{column})"),
        },
    };
    let parts: Vec<String> = watched.columns.iter().zip(&watched.forms).map(part).collect();
    match parts.as_slice() {
        [only] => only.clone(),
        _ => format!("'[' || {} || ']'", parts.join(" || ',' || ")),
    }
}
