//! Blocks of code that run at once: `DO $$ … $$` on PostgreSQL, `BEGIN NOT ATOMIC … END` on MariaDB. Each
//! statement in them is judged; what is put together at run time is unknown.

use super::expression::unknown_call;
use super::level::{SqlDialect, Verdict, worst};
use super::split::split;
use super::token::{Cursor, Part, parts, to_sql};

/// How deep blocks may stand in blocks.
const DEPTH_MAX: usize = 4;

/// Judges one statement of a block: text, dialect, and in how many blocks it stands.
pub(super) type Judge = fn(&str, SqlDialect, usize) -> Verdict;

/// Judges the body of a block.
pub(super) fn body(text: &str, judge: Judge, dialect: SqlDialect, depth: usize) -> Verdict {
    if depth > DEPTH_MAX {
        return Verdict::unknown();
    }
    let found = split(text, dialect).into_iter().map(|piece| match parts(&piece.text, dialect) {
        Some(parts) => statement(&parts, judge, dialect, depth),
        None => Verdict::unknown(),
    });
    worst(found).unwrap_or_else(|| Verdict::safe("block", "an empty block"))
}

/// Judges one statement of a block, behind what only steers: `BEGIN`, `IF … THEN`, `ELSE`, `LOOP`.
fn statement(parts: &[Part], judge: Judge, dialect: SqlDialect, depth: usize) -> Verdict {
    let mut at = Cursor(parts);
    loop {
        if at.is_empty() {
            return Verdict::safe("block", "it only steers");
        }
        if passes_label(&mut at) {
            continue;
        }
        if at.take_any(&["BEGIN NOT ATOMIC", "BEGIN", "ELSE", "LOOP", "EXCEPTION", "REPEAT"]) {
            continue;
        }
        if at.take_any(&["IF", "ELSIF", "ELSEIF", "WHEN", "WHILE", "FOR", "FOREACH", "CASE"]) {
            let Some((condition, rest)) = behind(at.0) else { return Verdict::unknown() };
            // `FOR row IN DELETE … RETURNING …` and conditions that call functions do something.
            if let Some(verdict) = condition_of(condition, judge, dialect, depth) {
                return verdict.worse(statement(rest, judge, dialect, depth));
            }
            at = Cursor(rest);
            continue;
        }
        break;
    }
    plain(at, judge, dialect, depth)
}

/// `name:`, or `<<name>>`.
fn passes_label(at: &mut Cursor<'_>) -> bool {
    let sign = |part: Option<&Part>, wanted: &str| matches!(part, Some(Part::Other(sign)) if sign == wanted);
    let length = match at.0 {
        [Part::Word(..) | Part::Name(_), rest @ ..] if sign(rest.first(), ":") => 2,
        [first, _, last, ..] if sign(Some(first), "<<") && sign(Some(last), ">>") => 3,
        _ => return false,
    };
    at.0 = &at.0[length..];
    true
}

/// What stands before and behind `THEN`, `LOOP` or `DO`.
fn behind(parts: &[Part]) -> Option<(&[Part], &[Part])> {
    let opens = |part: &Part| matches!(part, Part::Word(word, _) if ["THEN", "LOOP", "DO"].contains(&&**word));
    let index = parts.iter().position(opens)?;
    Some((&parts[..index], &parts[index + 1..]))
}

fn condition_of(
    condition: &[Part],
    judge: Judge,
    dialect: SqlDialect,
    depth: usize,
) -> Option<Verdict> {
    let keyword = |part: &Part| {
        matches!(part, Part::Word(word, _)
            if ["SELECT", "DELETE", "UPDATE", "INSERT", "EXECUTE", "WITH"].contains(&&**word))
    };
    let Some(from) = condition.iter().position(keyword) else { return unknown_call(condition) };
    let inner = Cursor(&condition[from..]);
    // Within an expression the query ends at the parenthesis that holds it.
    if condition[..from].iter().any(|part| matches!(part, Part::Other(sign) if sign == "(")) {
        let words = inner.0.iter().any(|part| {
            matches!(part, Part::Word(word, _) if ["DELETE", "UPDATE", "INSERT"].contains(&&**word))
        });
        return if words { Some(Verdict::unknown()) } else { unknown_call(condition) };
    }
    Some(plain(inner, judge, dialect, depth))
}

fn plain(mut at: Cursor<'_>, judge: Judge, dialect: SqlDialect, depth: usize) -> Verdict {
    let steers = [
        "END", "NULL", "RETURN", "RAISE", "EXIT", "CONTINUE", "DECLARE", "GET", "ASSERT", "LEAVE",
        "ITERATE", "OPEN", "CLOSE", "FETCH", "MOVE", "SIGNAL", "RESIGNAL", "UNTIL",
    ];
    if at.word() == "DECLARE" && at.has_run("HANDLER FOR") {
        return handled(at, judge, dialect, depth);
    }
    if steers.contains(&at.word()) {
        let declares = at.word() == "DECLARE" && at.has("BEGIN");
        return match declares {
            // Declarations without a `;` of their own are followed by the block.
            true => Verdict::unknown(),
            false => steering(at),
        };
    }
    if at.take("PERFORM") {
        let sql = format!("SELECT {}", to_sql(at.0, dialect));
        return judge(&sql, dialect, depth + 1);
    }
    if at.take("EXECUTE") {
        return match at.0 {
            [Part::Text(text)] => judge(text, dialect, depth + 1),
            _ => dynamic(),
        };
    }
    if at.starts("EXECUTE IMMEDIATE") || at.has("PREPARE") {
        return dynamic();
    }
    if is_declaration_or_assignment(at) {
        return steering(at);
    }
    judge(&without_into(at, dialect), dialect, depth + 1)
}

/// What steers may call a function all the same.
fn steering(at: Cursor<'_>) -> Verdict {
    unknown_call(at.0).unwrap_or_else(|| Verdict::safe("block", "it only steers"))
}

/// The statement of `DECLARE … HANDLER FOR condition, condition statement`.
fn handled(at: Cursor<'_>, judge: Judge, dialect: SqlDialect, depth: usize) -> Verdict {
    let from = (0..at.0.len()).find(|from| Cursor(&at.0[*from..]).starts("HANDLER FOR"));
    let mut at = Cursor(from.map_or(&[][..], |from| &at.0[from + 2..]));
    loop {
        let sqlstate = at.take_any(&["SQLSTATE VALUE", "SQLSTATE"]);
        if (sqlstate || !at.take("NOT FOUND")) && !at.is_empty() {
            at.0 = &at.0[1..];
        }
        if !at.take(",") {
            return statement(at.0, judge, dialect, depth);
        }
    }
}

fn dynamic() -> Verdict {
    Verdict::new(
        super::level::Level::Unknown,
        "dynamic-sql",
        "the statement is put together at run time, so it may do anything",
        "write the statement out; or review it and waive it with a reason",
    )
}

/// Words that a statement begins with, and no declaration or assignment does.
const STATEMENTS: &[&str] = &[
    "ALTER",
    "DROP",
    "CREATE",
    "DELETE",
    "UPDATE",
    "INSERT",
    "TRUNCATE",
    "SELECT",
    "WITH",
    "MERGE",
    "LOCK",
    "COPY",
    "CALL",
    "GRANT",
    "REVOKE",
    "VACUUM",
    "REINDEX",
    "CLUSTER",
    "REFRESH",
    "COMMENT",
    "SET",
    "RENAME",
    "REPLACE",
    "LOAD",
    "IMPORT",
    "ANALYZE",
    "DO",
    "COMMIT",
    "ROLLBACK",
    "NOTIFY",
    "REASSIGN",
    "SECURITY",
    "PREPARE",
    "OPTIMIZE",
    "REPAIR",
    "FLUSH",
    "EXPLAIN",
    "PURGE",
    "RESET",
    "HANDLER",
    "XA",
    "SHUTDOWN",
    "KILL",
    "CHECKPOINT",
    "DISCARD",
    "UNLOCK",
    "CHECK",
    "CHECKSUM",
    "INSTALL",
    "UNINSTALL",
    "START",
    "STOP",
    "CHANGE",
    "TABLE",
    "VALUES",
    "BACKUP",
    "EXECUTE",
    "CACHE",
];

/// `name type;`, `name := value`, `name = value`.
fn is_declaration_or_assignment(mut at: Cursor<'_>) -> bool {
    let mut assigned = at;
    if assigned.name().is_some() && assigned.starts_any(&[":=", "="]) {
        return !["SELECT", "DELETE", "UPDATE", "INSERT"].iter().any(|word| at.has_run(word));
    }
    if STATEMENTS.contains(&at.word()) || at.name().is_none() {
        return false;
    }
    let query = ["SELECT", "DELETE", "UPDATE", "INSERT"].iter().any(|word| at.has_run(word));
    !query
}

/// A query of PL/pgSQL without its `INTO target`.
fn without_into(at: Cursor<'_>, dialect: SqlDialect) -> String {
    if at.word() != "SELECT" {
        return to_sql(at.0, dialect);
    }
    let is_into = |part: &Part| matches!(part, Part::Word(word, _) if word == "INTO");
    let Some(index) = at.0.iter().position(is_into) else { return to_sql(at.0, dialect) };
    let from = |part: &Part| matches!(part, Part::Word(word, _) if ["FROM", "WHERE", "GROUP", "ORDER", "LIMIT"].contains(&&**word));
    let rest = &at.0[index + 1..];
    let end = rest.iter().position(from).unwrap_or(rest.len());
    let mut kept = at.0[..index].to_vec();
    kept.extend_from_slice(&rest[end..]);
    to_sql(&kept, dialect)
}
