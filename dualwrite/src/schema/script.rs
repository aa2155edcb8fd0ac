//! A script: its statements in their order, each judged by what those before it have made.

use super::judge::judge_piece;
use super::level::{Level, SqlDialect, Verdict};
use super::live::judged;
use super::made::{Made, made_table, plain, targets};
use super::split::{Piece, split};
use super::token::{Cursor, parts};
use super::waiver::Waived;
use crate::preflight::live::Live;

/// A statement of a script, and what is said of it.
///
/// ```
/// use dualwrite::schema::{Level, SqlDialect, classify};
/// let found = classify("SELECT 1;\nDROP TABLE t;", SqlDialect::Sqlite);
/// assert_eq!((found[1].statement, found[1].line), (1, 2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct StatementVerdict {
    /// Which statement of the script, from 0.
    pub statement: usize,
    /// The line of its first word, from 1.
    pub line: usize,
    /// What is said of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Why a person allows it all the same, from a waiver in the script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waived: Option<String>,
}

/// Judges every statement of a script.
///
/// What a statement does to a table that the script itself has made is safe. A comment
/// `-- dualwrite: allow RULE because REASON` before a statement, or in it, waives that rule for it.
///
/// ```
/// use dualwrite::schema::{Level, SqlDialect, classify};
///
/// let script = "ALTER TABLE customer ADD COLUMN email_address text;
///               CREATE INDEX customer_email ON customer (email_address);";
/// let levels: Vec<Level> =
///     classify(script, SqlDialect::Postgres).iter().map(|found| found.verdict.level).collect();
/// assert_eq!(levels, [Level::Safe, Level::Blocking]);
/// ```
#[must_use]
pub fn classify(script: &str, dialect: SqlDialect) -> Vec<StatementVerdict> {
    classify_in(script, dialect, Surroundings::Alone, None)
}

/// How a script is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surroundings {
    /// Nobody knows: transactions are those that it begins itself.
    Alone,
    /// In one transaction, as sqlx runs migrations.
    Transaction,
    /// As one message without a transaction, as sqlx runs migrations with `-- no-transaction`.
    OneMessage,
}

pub(super) fn classify_in(
    script: &str,
    dialect: SqlDialect,
    surroundings: Surroundings,
    live: Option<&Live>,
) -> Vec<StatementVerdict> {
    let pieces = split(script, dialect);
    let mut state = State {
        dialect,
        surroundings,
        statements: pieces.len(),
        made: Made::default(),
        begun: surroundings == Surroundings::Transaction,
        locked: false,
        live,
    };
    pieces.iter().enumerate().map(|(index, piece)| state.statement(index, piece)).collect()
}

/// The tables that the statements of a script are on, each once.
pub(super) fn tables(script: &str, dialect: SqlDialect) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for piece in split(script, dialect) {
        let parts = parts(&piece.text, dialect).unwrap_or_default();
        let made = made_table(Cursor(&parts), dialect).map(|made| made.name);
        for table in targets(Cursor(&parts), dialect).into_iter().chain(made) {
            let table = plain(&table);
            if !found.contains(&table) {
                found.push(table);
            }
        }
    }
    found
}

struct State<'l> {
    dialect: SqlDialect,
    surroundings: Surroundings,
    statements: usize,
    /// Tables that the script has made.
    made: Made,
    /// A transaction is open.
    begun: bool,
    /// It has locked a table that was there before.
    locked: bool,
    /// What a running database says of the tables.
    live: Option<&'l Live>,
}

impl State<'_> {
    fn statement(&mut self, index: usize, piece: &Piece) -> StatementVerdict {
        let verdict = judge_piece(piece, self.dialect);
        let parts = parts(&piece.text, self.dialect).unwrap_or_default();
        let verdict = self.in_context(Cursor(&parts), verdict);
        let verdict = match self.live {
            Some(live) => {
                let tables = targets(Cursor(&parts), self.dialect);
                let tables: Vec<String> = tables.iter().map(|table| plain(table)).collect();
                judged(verdict, &tables, live)
            }
            None => verdict,
        };
        let waiver = Waived::find(&piece.comments, verdict.rule);
        let (verdict, waived) = match waiver {
            _ if verdict.level == Level::Safe => (verdict, None),
            Some(Waived { reason: Some(reason) }) => (verdict, Some(reason)),
            Some(Waived { reason: None }) => (without_reason(verdict), None),
            None => (verdict, None),
        };
        StatementVerdict { statement: index, line: piece.line, verdict, waived }
    }

    /// What the statements before it change of the verdict.
    fn in_context(&mut self, at: Cursor<'_>, verdict: Verdict) -> Verdict {
        self.follow_transaction(at);
        if let Some(table) = made_table(at, self.dialect) {
            if verdict.level <= Level::Warn {
                self.made.add(table);
            }
            return verdict;
        }
        let targets = targets(at, self.dialect);
        let own = self.made.has_all(&targets) && self.made.reaches_no_other(at, self.dialect);
        let maybe_own = self.made.may_have_all(&targets);
        self.made.follow(at, &targets);
        if verdict.level != Level::Unknown && own {
            return Verdict::safe(new_rule(&verdict), "on a table that this script has made");
        }
        let verdict = match verdict.level == Level::Blocking && maybe_own {
            true => Verdict { level: Level::Warn, ..verdict },
            false => verdict,
        };
        let verdict = self.in_transaction(at, verdict);
        self.locked |= at.starts("ALTER TABLE");
        verdict
    }

    fn follow_transaction(&mut self, at: Cursor<'_>) {
        let begins = at.starts("START TRANSACTION") || at.word() == "BEGIN" && at.0.len() < 8;
        if begins && !at.starts("BEGIN NOT") {
            self.begun = true;
        } else if ["COMMIT", "END", "ROLLBACK"].contains(&at.word()) && !goes_on(at) {
            self.begun = false;
            self.locked = false;
        }
    }

    fn in_transaction(&self, at: Cursor<'_>, verdict: Verdict) -> Verdict {
        if self.dialect != SqlDialect::Postgres {
            return verdict;
        }
        let together = self.surroundings == Surroundings::OneMessage && self.statements > 1;
        if at.has("CONCURRENTLY") && (self.begun || together) {
            return verdict.worse(Verdict::blocking(
                "concurrently-in-transaction",
                "the server refuses CONCURRENTLY inside a transaction, and several statements of one file are \
                 one",
                "a file of its own whose first line is `-- no-transaction`, with this one statement",
            ));
        }
        let writes = ["UPDATE", "INSERT", "MERGE"].contains(&at.word());
        if writes && self.begun && self.locked && verdict.level == Level::Warn {
            return Verdict::blocking(
                "rows-beside-ddl",
                "the table that was altered stays locked until these rows are written",
                "in a file of its own; or by the backfill of a migration",
            );
        }
        verdict
    }
}

/// Whether a transaction is open behind it all the same.
fn goes_on(at: Cursor<'_>) -> bool {
    at.has("TO") || at.has("SAVEPOINT") || at.has_run("AND CHAIN")
}

fn without_reason(verdict: Verdict) -> Verdict {
    Verdict {
        reason: format!("its waiver gives no reason; and {}", verdict.reason),
        instead: format!("write `-- dualwrite: allow {} because …`", verdict.rule),
        ..verdict
    }
}

fn new_rule(verdict: &Verdict) -> &'static str {
    if verdict.rule == "create-index" { "create-index-new-table" } else { verdict.rule }
}
