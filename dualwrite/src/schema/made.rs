//! Tables that a script has made itself: what it does to them is felt by nobody else.

use std::collections::HashSet;

use super::level::SqlDialect;
use super::token::{Cursor, Part};

/// A table that a statement makes.
pub(super) struct MadeTable {
    /// Its name as the database knows it, with its schema where that is written.
    pub(super) name: String,
    if_not_exists: bool,
    temporary: bool,
}

/// What a script has made so far.
#[derive(Default)]
pub(super) struct Made {
    /// Tables for all sessions.
    shared: HashSet<String>,
    /// Tables of the session, which hide others of that name.
    temporary: HashSet<String>,
    /// Tables that it makes where they are not there yet.
    maybe: HashSet<String>,
    /// Names without a schema may mean another table than before.
    lost: bool,
}

impl Made {
    pub(super) fn add(&mut self, table: MadeTable) {
        match (table.temporary, table.if_not_exists) {
            (true, false) => self.temporary.insert(table.name),
            (false, false) => self.shared.insert(usual(&table.name).to_owned()),
            (false, true) => self.maybe.insert(usual(&table.name).to_owned()),
            (true, true) => false, // it may hide another, or not
        };
    }

    fn has(&self, table: &str) -> bool {
        // A temporary table is not to be had by the name of the usual schema.
        self.temporary.contains(table)
            || self.shared.contains(usual(table)) && !self.temporary.contains(usual(table))
    }

    pub(super) fn has_all(&self, tables: &[String]) -> bool {
        !self.lost && !tables.is_empty() && tables.iter().all(|table| self.has(table))
    }

    pub(super) fn may_have_all(&self, tables: &[String]) -> bool {
        !self.lost
            && !tables.is_empty()
            && tables.iter().all(|table| self.has(table) || self.maybe.contains(usual(table)))
    }

    /// Whether a statement on them writes and locks nothing else: no query in it does, and no table is copied from that
    /// is locked for that.
    pub(super) fn reaches_no_other(&self, at: Cursor<'_>, dialect: SqlDialect) -> bool {
        let writes = ["DELETE", "UPDATE", "INSERT", "MERGE"];
        let inner = at.0.windows(2).any(|pair| {
            let conflict = pair[0].is_word("DO") || pair[0].is_word("KEY");
            writes.iter().any(|word| pair[1].is_word(word)) && !conflict
        });
        let copies = dialect == SqlDialect::Mysql
            && at.starts("INSERT")
            && at.0.iter().any(|part| part.is_word("SELECT") || part.is_word("TABLE"));
        !inner && !copies
    }

    /// What a statement takes from it: tables that are gone or renamed, and a path of schemas that changes.
    pub(super) fn follow(&mut self, at: Cursor<'_>, targets: &[String]) {
        let has = |word: &str| at.0.iter().any(|part| part.is_word(word));
        let sets = ["SET", "RESET", "DISCARD", "USE"].contains(&at.word());
        let path = ["SEARCH_PATH", "SCHEMA", "ROLE", "AUTHORIZATION", "ALL"];
        self.lost |= at.word() == "USE"
            || has("SET_CONFIG")
            || sets && path.iter().any(|word| has(word))
            || at.starts("ALTER SCHEMA");
        if at.word() == "DROP" || at.starts("ALTER TABLE") && has("RENAME") || at.word() == "RENAME"
        {
            for table in targets {
                if !self.temporary.remove(table) {
                    self.shared.remove(usual(table));
                    self.maybe.remove(usual(table));
                }
            }
        }
        if at.word() == "ROLLBACK" {
            *self = Self { lost: self.lost, ..Self::default() };
        }
    }
}

/// The table that a statement makes.
pub(super) fn made_table(mut at: Cursor<'_>, dialect: SqlDialect) -> Option<MadeTable> {
    if !at.take("CREATE") {
        return None;
    }
    at.take_any(&["GLOBAL", "LOCAL"]);
    let temporary = at.take_any(&["TEMPORARY", "TEMP"]);
    at.take_any(&["UNLOGGED", "VIRTUAL"]);
    if !at.take("TABLE") {
        return None;
    }
    let if_not_exists = at.take("IF NOT EXISTS");
    Some(MadeTable { name: exact(&mut at, dialect)?, if_not_exists, temporary })
}

/// The tables that a statement is on, where that is plain from its words; none where it may be on others, too.
pub(super) fn targets(mut at: Cursor<'_>, dialect: SqlDialect) -> Vec<String> {
    let one = |mut at: Cursor<'_>| exact(&mut at, dialect).into_iter().collect();
    if at.take("ALTER TABLE") || at.take("TRUNCATE") || at.take("DROP TABLE") {
        at.take_any(&["TABLE"]);
        at.take("IF EXISTS");
        at.take("ONLY");
        // Rows of the other table are scanned, moved, or seen through this one.
        let others = ["EXCHANGE", "ATTACH", "INHERIT"].iter().any(|word| at.has(word));
        return if others { Vec::new() } else { names(at, dialect) };
    }
    if at.take("REINDEX TABLE") || at.take("OPTIMIZE TABLE") || at.take("CLUSTER") {
        at.take("CONCURRENTLY");
        return one(at);
    }
    if at.take("INSERT") {
        at.take_any(&["IGNORE", "OR IGNORE", "OR REPLACE"]);
        at.take("INTO");
        return one(at);
    }
    if at.take("UPDATE") || at.take("DELETE FROM") {
        at.take("ONLY");
        return written(at, dialect);
    }
    if at.take("COPY") {
        return one(at);
    }
    let index = at.starts("CREATE INDEX") || at.starts("CREATE UNIQUE INDEX");
    if index || at.starts("CREATE TRIGGER") {
        let on = (0..at.0.len()).find(|from| Cursor(&at.0[*from..]).starts("ON"));
        let Some(on) = on else { return Vec::new() };
        at = Cursor(&at.0[on + 1..]);
        at.take("ONLY");
        return one(at);
    }
    Vec::new()
}

/// The table of an `UPDATE` or a `DELETE`; none where MySQL could write several.
fn written(mut at: Cursor<'_>, dialect: SqlDialect) -> Vec<String> {
    let Some(name) = exact(&mut at, dialect) else { return Vec::new() };
    let several = [",", "JOIN"];
    let before = |part: &Part| ["SET", "WHERE", "USING"].iter().any(|word| part.is_word(word));
    let end = at.0.iter().position(before).unwrap_or(at.0.len());
    let several = several.iter().any(|word| Cursor(&at.0[..end]).has_run(word));
    if several { Vec::new() } else { vec![name] }
}

fn names(mut at: Cursor<'_>, dialect: SqlDialect) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        match exact(&mut at, dialect) {
            Some(name) => found.push(name),
            None => return Vec::new(),
        }
        if !at.take(",") {
            return found;
        }
    }
}

/// A name as the database tells it from others; `None` where a point within quotes leaves that open.
fn exact(at: &mut Cursor<'_>, dialect: SqlDialect) -> Option<String> {
    let mut name = String::new();
    loop {
        let part = match at.0.first()? {
            Part::Word(_, written) if dialect == SqlDialect::Postgres => written.to_lowercase(),
            Part::Word(_, written) | Part::Name(written) => written.clone(),
            _ => return None,
        };
        if part.contains('.') {
            return None;
        }
        name.push_str(&if dialect == SqlDialect::Sqlite { part.to_lowercase() } else { part });
        at.0 = &at.0[1..];
        if !at.take(".") {
            return Some(name);
        }
        name.push('.');
    }
}

/// A table in the usual schema is the same with its schema and without.
fn usual(name: &str) -> &str {
    name.strip_prefix("public.").or_else(|| name.strip_prefix("main.")).unwrap_or(name)
}

/// As `usual`, in lower case: how catalogues are asked.
pub(super) fn plain(name: &str) -> String {
    usual(&name.to_ascii_lowercase()).to_owned()
}
