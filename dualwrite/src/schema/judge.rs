//! Judges one statement: by its first words where these decide, else by what the parser reads.

use sqlparser::ast::{CopySource, CopyTarget, CreateTable, CreateView, Statement};
use sqlparser::parser::Parser;

use super::level::{SqlDialect, Verdict};
use super::split::{Piece, has_body};
use super::token::{Cursor, Part, parser_dialect, parts, to_sql};
use super::{alter, alter_object, block, object, rows};

/// Judges a statement of a script; one whose body has no end may be any number of statements.
pub(super) fn judge_piece(piece: &Piece, dialect: SqlDialect) -> Verdict {
    match piece.is_whole {
        true => judge(&piece.text, dialect, 0),
        false => Verdict::unknown(),
    }
}

/// Judges one statement. `depth`: in how many blocks of code it stands.
pub(super) fn judge(text: &str, dialect: SqlDialect, depth: usize) -> Verdict {
    let Some(parts) = parts(text, dialect) else { return Verdict::unknown() };
    let mut at = Cursor(&parts);
    if hides_another(at, dialect) {
        return Verdict::unknown();
    }
    match at.word() {
        "DO" if dialect == SqlDialect::Postgres => return do_block(&parts, dialect, depth),
        "BEGIN" if at.starts("BEGIN NOT ATOMIC") => return compound(text, dialect, depth),
        "ALTER" => {
            at.take("ALTER");
            let ignores = at.has_run("IGNORE TABLE");
            at.take_any(&["ONLINE", "OFFLINE", "IGNORE", "FOREIGN"]);
            let verdict = match at.take("TABLE") {
                true => alter::table(at, dialect).1,
                false => alter_object::object(at),
            };
            return if ignores { verdict.worse(alter::ignoring()) } else { verdict };
        }
        "DROP" => {
            at.take("DROP");
            return object::dropped(at, dialect);
        }
        "EXPLAIN" | "DESCRIBE" | "DESC" => return explained(at, dialect, depth),
        "ANALYZE" if dialect == SqlDialect::Mysql && !at.starts_any(ANALYZES_A_TABLE) => {
            return executed(at, dialect, depth); // MariaDB executes the statement
        }
        "SET" if at.starts("SET STATEMENT") => {
            let behind = at.0.iter().position(|part| part.is_word("FOR"));
            return behind.map_or_else(Verdict::unknown, |behind| {
                judge(&to_sql(&at.0[behind + 1..], dialect), dialect, depth + 1)
            });
        }
        "PREPARE" => {
            let prepared = text.split_once(|c: char| c.is_whitespace()).map(|(_, rest)| rest);
            let inner = prepared.and_then(|rest| split_at_as(rest));
            return inner.map_or_else(Verdict::unknown, |inner| judge(inner, dialect, depth));
        }
        _ => {}
    }
    if let Some(verdict) = object::by_first_words(at, dialect) {
        return verdict;
    }
    parsed(text, at, dialect)
}

const ANALYZES_A_TABLE: &[&str] =
    &["ANALYZE TABLE", "ANALYZE LOCAL TABLE", "ANALYZE NO_WRITE_TO_BINLOG TABLE"];

/// Whether a `;` stands where only one statement may be: what is behind it would be judged by nobody.
fn hides_another(at: Cursor<'_>, dialect: SqlDialect) -> bool {
    let words = at.0.iter().filter_map(|part| match part {
        Part::Word(word, _) => Some(&**word),
        _ => None,
    });
    at.0.contains(&Part::Other(";".to_owned())) && !has_body(words, dialect)
}

/// What the words behind `CREATE` say.
fn created(mut at: Cursor<'_>, dialect: SqlDialect) -> Option<Verdict> {
    at.take("CREATE").then(|| object::created(at, dialect)).flatten()
}

fn parsed(text: &str, at: Cursor<'_>, dialect: SqlDialect) -> Verdict {
    let read = Parser::parse_sql(parser_dialect(dialect), text).ok();
    let Some(statement) = read.and_then(|mut all| if all.len() == 1 { all.pop() } else { None })
    else {
        // Dangerous words first: what cannot be read is never safer than its first words say.
        return match at.word() {
            "DELETE" => Verdict::breaking("delete", "the rows are lost", "in batches, later"),
            "CREATE" => created(at, dialect).unwrap_or_else(Verdict::unknown),
            _ => Verdict::unknown(),
        };
    };
    if let Some(verdict) = rows::written(&statement, dialect) {
        return verdict;
    }
    match &statement {
        Statement::Query(query) => rows::query(query, dialect),
        Statement::CreateTable(table) => {
            created(at, dialect).unwrap_or_else(|| made(table, at, dialect))
        }
        Statement::CreateView(view) => view_made(view, dialect),
        Statement::CreateVirtualTable { .. } => {
            Verdict::safe("create-table", "a new table, which nobody reads yet")
        }
        Statement::Copy { target: CopyTarget::Program { .. }, .. } => Verdict::unknown(),
        Statement::Copy { to: true, source, .. } => match source {
            // `COPY (DELETE … RETURNING …) TO` writes.
            CopySource::Query(query) => {
                Verdict::safe("copy-to", "reads only").worse(rows::query(query, dialect))
            }
            CopySource::Table { .. } => Verdict::safe("copy-to", "reads only"),
        },
        Statement::Copy { .. } => Verdict::warn(
            "copy-from",
            "rows are added in one transaction; triggers and constraints hold for each",
            "in parts, if they are many",
        ),
        _ => created(at, dialect).unwrap_or_else(Verdict::unknown),
    }
}

fn made(table: &CreateTable, at: Cursor<'_>, dialect: SqlDialect) -> Verdict {
    let Some(query) = &table.query else {
        return match at.has_run("PARTITION OF") {
            true => Verdict::warn(
                "create-partition",
                "the parent is locked for a moment; the default partition is scanned",
                "make the table alone, then ATTACH PARTITION",
            ),
            false => Verdict::safe("create-table", "a new table, which nobody reads yet"),
        };
    };
    let inner = rows::query(query, dialect);
    let copies = Verdict::warn(
        "create-table-as",
        "all rows in one statement; on MySQL they are locked meanwhile",
        "make the table, then copy by the backfill of a migration",
    );
    if dialect == SqlDialect::Mysql { inner.worse(copies) } else { inner }
}

fn view_made(view: &CreateView, dialect: SqlDialect) -> Verdict {
    let inner = rows::query(&view.query, dialect);
    let made = match view.or_replace {
        true => Verdict::warn(
            "replace-object",
            "code that runs now gets another answer from it",
            "make it under another name, and move its users",
        ),
        false => Verdict::safe("create-view", "a new view"),
    };
    if inner.rule == "select" { made } else { made.worse(inner) }
}

/// `EXPLAIN` runs nothing unless it says `ANALYZE`, anywhere before the statement.
fn explained(at: Cursor<'_>, dialect: SqlDialect, depth: usize) -> Verdict {
    let statement = at.0.iter().position(is_explained).unwrap_or(at.0.len());
    let analyzes =
        at.0[..statement].iter().any(|part| part.is_word("ANALYZE") || part.is_word("ANALYSE"));
    match analyzes {
        true => executed(at, dialect, depth),
        false => Verdict::safe("explain", "nothing is executed"),
    }
}

/// A statement that is executed and explained.
fn executed(at: Cursor<'_>, dialect: SqlDialect, depth: usize) -> Verdict {
    at.0.iter().position(is_explained).map_or_else(Verdict::unknown, |from| {
        judge(&to_sql(&at.0[from..], dialect), dialect, depth + 1)
    })
}

fn is_explained(part: &Part) -> bool {
    let known = ["SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "CREATE"];
    known.iter().any(|word| part.is_word(word))
}

fn split_at_as(text: &str) -> Option<&str> {
    let upper = text.to_ascii_uppercase();
    let at = upper.find(" AS ").or_else(|| upper.find("\nAS "))?;
    Some(text[at + 4..].trim())
}

/// `BEGIN NOT ATOMIC … END`.
fn compound(text: &str, dialect: SqlDialect, depth: usize) -> Verdict {
    let upper = text.to_ascii_uppercase();
    match (upper.find("ATOMIC"), upper.rfind("END")) {
        (Some(from), Some(end)) if from + 6 <= end => {
            block::body(&text[from + 6..end], judge, dialect, depth + 1)
        }
        _ => Verdict::unknown(),
    }
}

fn do_block(parts: &[Part], dialect: SqlDialect, depth: usize) -> Verdict {
    let body = parts.iter().find_map(|part| match part {
        Part::Text(text) => Some(text),
        _ => None,
    });
    let other_language =
        Cursor(parts).has("LANGUAGE") && !Cursor(parts).has_run("LANGUAGE PLPGSQL");
    match body {
        Some(body) if !other_language => block::body(body, judge, dialect, depth + 1),
        _ => Verdict::unknown(),
    }
}
