//! The triggers that record writes of those who do not know this library, for MySQL and MariaDB.
//!
//! None of them fails the statement that fires it: what goes wrong here leaves a mark that the old table may be
//! stale. And nobody waits: no row of theirs is shared by two connections, and they read no table, since at the
//! usual level what a trigger reads is locked, and so is the gap where it finds nothing.

use crate::database::{UNAWARE_SLOTS, Watched};
use crate::key::{KEY_BYTES_MAX, KeyKind};
use crate::preflight::form::{KeyForm, Spelling, UuidAs};

/// A row that only the transaction which wrote it sees, and that is gone before it commits. The variable says that
/// it is worth to look for the row; it outlives a transaction that is rolled back.
pub(super) fn mark(fence: u64) -> String {
    format!(
        "SET @dualwrite_fenced = IF(LOCATE(',{fence},', @dualwrite_fenced), @dualwrite_fenced, \
         CONCAT(COALESCE(@dualwrite_fenced, ''), ',{fence},'));\
         INSERT INTO dualwrite_fenced (connection, fence) VALUES (CONNECTION_ID(), {fence}) \
         ON DUPLICATE KEY UPDATE fence = fence"
    )
}

pub(super) const UNMARK: &str = "SET @dualwrite_fenced = NULL;\
     DELETE FROM dualwrite_fenced WHERE connection = CONNECTION_ID()";

const EVENTS: [(&str, &str, &[&str]); 3] =
    [("ins", "INSERT", &["NEW"]), ("upd", "UPDATE", &["OLD", "NEW"]), ("del", "DELETE", &["OLD"])];

const NOW: &str = "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)";

pub(super) fn create(watched: &Watched) -> Vec<String> {
    let Watched { migration, .. } = watched;
    // An update of a row that is not there would lock the gap.
    let slots: Vec<String> =
        (0..UNAWARE_SLOTS).map(|slot| format!("('{migration}',{slot},0)")).collect();
    let slots = format!(
        "INSERT IGNORE INTO dualwrite_unaware (migration, slot, minute) VALUES {}",
        slots.join(",")
    );
    std::iter::once(slots).chain(EVENTS.iter().map(|event| trigger(watched, event))).collect()
}

fn trigger(watched: &Watched, (suffix, event, rows): &(&str, &str, &[&str])) -> String {
    let Watched { migration, table, name, fence, .. } = watched;
    let marks: Vec<String> = rows.iter().map(|row| note(watched, row)).collect();
    let minute = "FLOOR(UNIX_TIMESTAMP(SYSDATE()) / 60)";
    format!(
        "CREATE TRIGGER IF NOT EXISTS {name}_{suffix} AFTER {event} ON {table} FOR EACH ROW BEGIN \
         DECLARE dualwrite_key LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin; \
         DECLARE dualwrite_fenced INT DEFAULT 0; \
         DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN \
         DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; {} END; \
         IF LOCATE(',{fence},', @dualwrite_fenced) THEN \
         SET dualwrite_fenced = EXISTS (SELECT 1 FROM dualwrite_fenced f \
         WHERE f.connection = CONNECTION_ID() AND f.fence = {fence}); \
         IF NOT dualwrite_fenced THEN \
         SET @dualwrite_fenced = REPLACE(@dualwrite_fenced, ',{fence},', ''); END IF; END IF; \
         IF NOT dualwrite_fenced THEN \
         UPDATE dualwrite_unaware SET minute = {minute} WHERE migration = '{migration}' \
         AND slot = CONNECTION_ID() % {UNAWARE_SLOTS} AND minute < {minute}; \
         {} END IF; END",
        stale(watched),
        marks.join(" ")
    )
}

/// Marks the whole table, in a row of this connection.
fn stale(Watched { migration, .. }: &Watched) -> String {
    format!(
        "INSERT INTO dualwrite_stale (migration, kind, subject, at, seen_by) \
         VALUES ('{migration}', 'key', CONNECTION_ID(), {NOW}, NULL) \
         ON DUPLICATE KEY UPDATE at = VALUES(at), seen_by = NULL;"
    )
}

/// Marks the key of a row.
fn note(watched: &Watched, row: &str) -> String {
    let Watched { migration, .. } = watched;
    format!(
        "SET dualwrite_key = NULL; SET dualwrite_key = {}; \
         IF dualwrite_key IS NULL OR LENGTH(dualwrite_key) > {KEY_BYTES_MAX} THEN {} ELSE \
         INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) \
         VALUES ('{migration}', 'new', dualwrite_key, {NOW}) \
         ON DUPLICATE KEY UPDATE marked_at = VALUES(marked_at); END IF;",
        key(watched, row),
        stale(watched),
    )
}

pub(super) fn drop(Watched { name, .. }: &Watched) -> Vec<String> {
    EVENTS.iter().map(|(suffix, ..)| format!("DROP TRIGGER IF EXISTS {name}_{suffix}")).collect()
}

/// The key of a row, as the library encodes it: JSON. NULL where a part is.
fn key(watched: &Watched, row: &str) -> String {
    let part = |((column, kind), form): (&(String, KeyKind), &KeyForm)| match *kind {
        KeyKind::INTEGER => {
            format!("CAST({} AS CHAR)", form.text.around(&format!("{row}.{column}")))
        }
        KeyKind::UUID if form.uuid == UuidAs::Text => {
            format!("JSON_QUOTE(LOWER({}))", form.text.around(&format!("{row}.{column}")))
        }
        KeyKind::UUID => {
            let hex = format!("LOWER(HEX({row}.{column}))");
            let piece = |(from, length)| format!("SUBSTR({hex}, {from}, {length})");
            let pieces = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)].map(piece).join(", ");
            format!("CONCAT('\"', CONCAT_WS('-', {pieces}), '\"')")
        }
        _ => {
            let text = form.text.around(&format!("{row}.{column}"));
            match form.spelling {
                Spelling::Padded => quoted(&format!("TRIM(TRAILING ' ' FROM {text})")),
                _ => quoted(&text),
            }
        }
    };
    let parts: Vec<String> = watched.columns.iter().zip(&watched.forms).map(part).collect();
    match parts.as_slice() {
        [only] => only.clone(),
        // Not CONCAT_WS, which leaves NULL out.
        _ => format!("CONCAT('[', {}, ']')", parts.join(", ',', ")),
    }
}

/// A text as JSON. MariaDB writes the numbers of control characters in capitals, and the library does not. What stands
/// behind a backslash of the text itself is left alone: such pairs become a control character meanwhile.
fn quoted(text: &str) -> String {
    const PAIR: &str = "_utf8mb4 X'5C5C'";
    const MEANWHILE: &str = "_utf8mb4 X'01'";
    let capital = |code: &str| format!("_utf8mb4 X'5C753030{code}'");
    // The digits of 0B, 0E, 0F and 1A to 1F, as characters, and the number of the last one as a small letter.
    let letters = [("30", "42", "62"), ("30", "45", "65"), ("30", "46", "66")].into_iter();
    let others = ["1", "2", "3", "4", "5", "6"].map(|last| ("31", last));
    let mut json = format!("REPLACE(JSON_QUOTE({text}), {PAIR}, {MEANWHILE})");
    for (ten, large, small) in letters {
        json = format!(
            "REPLACE({json}, {}, {})",
            capital(&format!("{ten}{large}")),
            capital(&format!("{ten}{small}"))
        );
    }
    for (ten, last) in others {
        json = format!(
            "REPLACE({json}, {}, {})",
            capital(&format!("{ten}4{last}")),
            capital(&format!("{ten}6{last}"))
        );
    }
    format!("REPLACE({json}, {MEANWHILE}, {PAIR})")
}
