//! What is said of actions of `ALTER TABLE` that are met as words and as what the parser reads.

use super::level::{SqlDialect, Verdict};

/// Where an action stands.
pub(super) struct Table<'t> {
    pub(super) name: &'t str,
    pub(super) dialect: SqlDialect,
}

pub(super) fn drop_column() -> Verdict {
    Verdict::breaking(
        "drop-column",
        "code that runs now may name the column, and its data are lost",
        "stop using it, deploy everywhere, then drop it: `migration.contract()`",
    )
}

pub(super) fn rename_table() -> Verdict {
    Verdict::breaking(
        "rename-table",
        "code that runs now names the old table, and code to come the new one: one of them fails",
        "make a new table and migrate to it; or rename it and make a view of the old name in one transaction",
    )
}

pub(super) fn drop_primary_key() -> Verdict {
    Verdict::breaking(
        "drop-primary-key",
        "ON CONFLICT, foreign keys and replication lose what identifies a row",
        "make the new key beside the old one first",
    )
}

pub(super) fn drop_constraint(name: &str) -> Verdict {
    if name.to_ascii_lowercase().ends_with("_pkey") || name.eq_ignore_ascii_case("primary") {
        return drop_primary_key();
    }
    Verdict::warn(
        "drop-constraint",
        "rows that it kept out come in from then on; ON CONFLICT fails where it was unique",
        "look for statements that rely on it first",
    )
}
