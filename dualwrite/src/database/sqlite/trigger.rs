//! The triggers that record writes of those who do not know this library, for SQLite.

use crate::database::Watched;
use crate::key::KeyKind;

/// A row that only the transaction which wrote it sees, and that is gone before it commits.
pub(super) const MARK: &str = "INSERT INTO dualwrite_fenced (connection) VALUES (0)";
pub(super) const UNMARK: &str = "DELETE FROM dualwrite_fenced";

const EVENTS: [(&str, &str, &[&str]); 3] =
    [("ins", "INSERT", &["NEW"]), ("upd", "UPDATE", &["OLD", "NEW"]), ("del", "DELETE", &["OLD"])];

pub(super) fn create(watched: &Watched) -> Vec<String> {
    let Watched { migration, table, name, .. } = watched;
    // Not OR IGNORE: the conflict clause of the statement that fires a trigger replaces that of the
    // trigger's own statements.
    let dirty = |row: &&str| {
        let key = key(watched, row);
        format!(
            "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) \
             SELECT '{migration}', 'new', {key}, CAST(unixepoch('subsec') * 1000000 AS INTEGER) \
             WHERE NOT EXISTS (SELECT 1 FROM dualwrite_dirty \
             WHERE migration = '{migration}' AND side = 'new' AND key_text = {key});"
        )
    };
    let trigger = |(suffix, event, rows): &(&str, &str, &[&str])| {
        let marks: Vec<String> = rows.iter().map(dirty).collect();
        format!(
            "CREATE TRIGGER IF NOT EXISTS {name}_{suffix} AFTER {event} ON {table} FOR EACH ROW \
             WHEN NOT EXISTS (SELECT 1 FROM dualwrite_fenced) BEGIN \
             INSERT INTO dualwrite_unaware (migration, minute) \
             SELECT '{migration}', unixepoch() / 60 WHERE NOT EXISTS (SELECT 1 FROM dualwrite_unaware \
             WHERE migration = '{migration}' AND minute = unixepoch() / 60); {} END",
            marks.join(" ")
        )
    };
    EVENTS.iter().map(trigger).collect()
}

pub(super) fn drop(Watched { name, .. }: &Watched) -> Vec<String> {
    EVENTS.iter().map(|(suffix, ..)| format!("DROP TRIGGER IF EXISTS {name}_{suffix}")).collect()
}

/// The key of a row, as the library encodes it: JSON.
fn key(watched: &Watched, row: &str) -> String {
    let part = |(column, kind): &(String, KeyKind)| match *kind {
        KeyKind::INTEGER => format!("CAST({row}.{column} AS TEXT)"),
        KeyKind::UUID => {
            let hex = format!("lower(hex({row}.{column}))");
            let piece = |(from, length)| format!("substr({hex}, {from}, {length})");
            let pieces = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)].map(piece);
            format!("'\"' || {} || '\"'", pieces.join(" || '-' || "))
        }
        _ => format!("json_quote({row}.{column})"),
    };
    let parts: Vec<String> = watched.columns.iter().map(part).collect();
    match parts.as_slice() {
        [only] => only.clone(),
        _ => format!("'[' || {} || ']'", parts.join(" || ',' || ")),
    }
}
