//! Statements that change settings: `SET`, and `PRAGMA` of SQLite.

use super::expression::unknown_call;
use super::level::{Level, SqlDialect, Verdict};
use super::token::{Cursor, Part};

/// Settings that change what other statements check, or what other sessions do.
const RISKY: &[&str] = &[
    "SESSION_REPLICATION_ROLE",
    "FOREIGN_KEY_CHECKS",
    "UNIQUE_CHECKS",
    "SQL_LOG_BIN",
    "GLOBAL",
    "PERSIST",
    "SYNCHRONOUS_COMMIT",
    "SQL_MODE",
];
/// Settings under which a server refuses writes.
const READ_ONLY: &[&str] = &["READ_ONLY", "SUPER_READ_ONLY", "OFFLINE_MODE"];

/// `SET …`.
pub(super) fn set(at: Cursor<'_>, dialect: SqlDialect) -> Verdict {
    if rereads(at) {
        return Verdict::new(
            Level::Unknown,
            "set-syntax",
            "quotes are read in another way from here on, so that what follows is not what it seems",
            "leave it out, and write the texts as they are read without it",
        );
    }
    let for_all = named(at, "GLOBAL") || named(at, "PERSIST");
    if for_all && READ_ONLY.iter().any(|word| named(at, word)) && !switches_off(at) {
        return Verdict::blocking(
            "set-read-only",
            "all writes to the server are refused from then on",
            "leave it out",
        );
    }
    if let Some(word) = RISKY.iter().find(|word| named(at, word)) {
        return Verdict::warn(
            "set-risky",
            format!("{word} changes what other statements check, or what other sessions do"),
            "leave it out, or set it back in the same file",
        );
    }
    let called = if dialect == SqlDialect::Mysql { unknown_call(at.0) } else { None };
    called.unwrap_or_else(|| Verdict::safe("set", "this session alone"))
}

/// Whether a setting stands there by its name, also as `@@global.name`.
fn named(at: Cursor<'_>, wanted: &str) -> bool {
    at.0.iter().any(|part| {
        matches!(part, Part::Word(word, _) if word.trim_start_matches('@').ends_with(wanted))
    })
}

/// Whether quotes mean something else under it.
fn rereads(at: Cursor<'_>) -> bool {
    let modes = ["NO_BACKSLASH_ESCAPES", "ANSI", "ORACLE", "MSSQL", "POSTGRESQL", "DB2", "MAXDB"];
    let strict = named(at, "STANDARD_CONFORMING_STRINGS");
    let modes = named(at, "SQL_MODE")
        && at.0.iter().any(|part| match part {
            Part::Text(text) => {
                let text = text.to_ascii_uppercase();
                modes.iter().any(|mode| text.contains(mode))
            }
            _ => false,
        });
    strict && switches_off(at) || modes
}

/// Whether the value is one that means no.
fn switches_off(at: Cursor<'_>) -> bool {
    match at.0.last() {
        Some(Part::Word(word, _)) => ["OFF", "FALSE", "NO"].contains(&&**word),
        Some(Part::Text(text)) => {
            ["off", "false", "no", "0"].contains(&&*text.to_ascii_lowercase())
        }
        Some(Part::Other(sign)) => sign == "0",
        _ => false,
    }
}

/// Pragmas that change nothing for others, or read alone, whatever stands behind them.
const HARMLESS: &[&str] = &[
    "analysis_limit",
    "automatic_index",
    "busy_timeout",
    "cache_size",
    "cache_spill",
    "foreign_key_check",
    "foreign_key_list",
    "hard_heap_limit",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "journal_size_limit",
    "max_page_count",
    "mmap_size",
    "optimize",
    "query_only",
    "quick_check",
    "soft_heap_limit",
    "table_info",
    "table_list",
    "table_xinfo",
    "temp_store",
    "threads",
    "wal_checkpoint",
];

/// `PRAGMA …`.
pub(super) fn pragma(mut at: Cursor<'_>) -> Verdict {
    at.take("PRAGMA");
    let name = at.name().unwrap_or_default().to_ascii_lowercase();
    let name = name.rsplit('.').next().unwrap_or_default();
    let harmless = Verdict::safe("pragma", "this session alone");
    match name {
        "incremental_vacuum" => Verdict::blocking(
            "pragma-vacuum",
            "pages are moved while writers wait",
            "in a quiet hour, a few pages at a time",
        ),
        _ if at.is_empty() || HARMLESS.contains(&name) => harmless,
        "writable_schema" | "schema_version" => Verdict::breaking(
            "pragma",
            "the schema can then be written as rows, or is not read again: one mistake makes the file unreadable",
            "leave it out",
        ),
        "locking_mode" if at.has_run("EXCLUSIVE") => Verdict::blocking(
            "pragma-lock",
            "nobody else reads or writes the file until this connection is closed",
            "leave it out",
        ),
        _ => Verdict::warn(
            "pragma",
            "it changes what other statements check or how they are stored",
            "",
        ),
    }
}
