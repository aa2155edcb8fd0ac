//! The triggers that record writes of those who do not know this library, for MySQL and MariaDB.

use crate::database::Watched;
use crate::key::KeyKind;

/// A row that only the transaction which wrote it sees, and that is gone before it commits.
pub(super) const MARK: &str = "INSERT INTO dualwrite_fenced (connection) VALUES (CONNECTION_ID())";
pub(super) const UNMARK: &str = "DELETE FROM dualwrite_fenced WHERE connection = CONNECTION_ID()";

const EVENTS: [(&str, &str, &[&str]); 3] =
    [("ins", "INSERT", &["NEW"]), ("upd", "UPDATE", &["OLD", "NEW"]), ("del", "DELETE", &["OLD"])];

pub(super) fn create(watched: &Watched) -> Vec<String> {
    let Watched { migration, table, name, .. } = watched;
    let dirty = |row: &&str| {
        format!(
            "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) \
             VALUES ('{migration}', 'new', {}, \
             CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)) \
             ON DUPLICATE KEY UPDATE marked_at = VALUES(marked_at);",
            key(watched, row)
        )
    };
    let trigger = |(suffix, event, rows): &(&str, &str, &[&str])| {
        let marks: Vec<String> = rows.iter().map(dirty).collect();
        format!(
            "CREATE TRIGGER IF NOT EXISTS {name}_{suffix} AFTER {event} ON {table} FOR EACH ROW BEGIN \
             IF NOT EXISTS (SELECT 1 FROM dualwrite_fenced WHERE connection = CONNECTION_ID()) THEN \
             INSERT IGNORE INTO dualwrite_unaware (migration, minute) \
             VALUES ('{migration}', FLOOR(UNIX_TIMESTAMP(SYSDATE()) / 60)); {} END IF; END",
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
        KeyKind::INTEGER => format!("CAST({row}.{column} AS CHAR)"),
        KeyKind::UUID => {
            let hex = format!("LOWER(HEX({row}.{column}))");
            let piece = |(from, length)| format!("SUBSTR({hex}, {from}, {length})");
            let pieces = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)].map(piece).join(", ");
            format!("CONCAT('\"', CONCAT_WS('-', {pieces}), '\"')")
        }
        _ => format!("JSON_QUOTE({row}.{column})"),
    };
    let parts: Vec<String> = watched.columns.iter().map(part).collect();
    match parts.as_slice() {
        [only] => only.clone(),
        _ => format!("CONCAT('[', CONCAT_WS(',', {}), ']')", parts.join(", ")),
    }
}
