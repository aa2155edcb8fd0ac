//! Statements that drop, rename or rewrite something that somebody still needs.

use super::judge::judge_piece;
use super::level::{Level, SqlDialect};
use super::split::{Piece, split};
use super::token::{Cursor, Part, parts};
use super::waiver::Waived;
use crate::contract::declared::OldObject;
use crate::contract::shape::mentions;

/// A statement of a script that touches something guarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Touching {
    /// The line of its first word, from 1.
    pub(crate) line: usize,
    /// The rule that speaks against it.
    pub(crate) rule: &'static str,
}

/// The statements of a script that drop, rename or rewrite one of these tables or columns, or may: where a statement
/// cannot be read and nobody has waived that.
pub(crate) fn touching(script: &str, dialect: SqlDialect, objects: &[OldObject]) -> Vec<Touching> {
    let pieces = split(script, dialect);
    let found = pieces.iter().filter_map(|piece| {
        let rule = rule_of(piece, dialect, objects)?;
        Some(Touching { line: piece.line, rule })
    });
    found.collect()
}

/// What drops things without naming them.
const DROPS_ALL: &[&str] =
    &["drop-schema", "drop-database", "drop-owned", "rename-schema", "rename-database"];
/// What drops columns of its type with `CASCADE`.
const DROPS_COLUMNS: &[&str] = &["drop-type", "drop-extension", "drop-function", "drop-object"];

fn rule_of(piece: &Piece, dialect: SqlDialect, objects: &[OldObject]) -> Option<&'static str> {
    let verdict = judge_piece(piece, dialect);
    let rule = verdict.rule;
    let parts = parts(&piece.text, dialect).unwrap_or_default();
    let at = Cursor(&parts);
    if verdict.level == Level::Unknown {
        let waived = Waived::find(&piece.comments, rule).is_some_and(|one| one.reason.is_some());
        let named = objects.iter().any(|object| is_named(&piece.text, object));
        return (named || !waived).then_some(rule);
    }
    // What is made touches nothing that is there, unless it replaces it.
    let writes = ["DELETE", "UPDATE", "TRUNCATE", "MERGE"].iter().any(|word| at.has_run(word));
    let makes = at.word() == "CREATE" && !at.has_run("OR REPLACE") && !writes;
    if verdict.level < Level::Blocking || makes {
        return None;
    }
    let all = DROPS_ALL.contains(&rule) || DROPS_COLUMNS.contains(&rule) && at.has("CASCADE");
    let touches = |object: &OldObject| match &object.column {
        None => is_named(&piece.text, object),
        Some(column) => is_named(&piece.text, object) && on_column(at, column),
    };
    (all || objects.iter().any(touches)).then_some(rule)
}

/// Also in a text: it may be executed.
fn is_named(text: &str, object: &OldObject) -> bool {
    mentions(text, &object.table_name().name)
}

/// Whether a statement on the table of a column is on that column, too: not where all that it does is done to others.
fn on_column(mut at: Cursor<'_>, column: &str) -> bool {
    if at.word() == "UPDATE" || at.word() == "WITH" || at.word() == "MERGE" {
        return named(at.0, column);
    }
    if !at.take("ALTER") {
        return true;
    }
    at.take_any(&["ONLINE", "OFFLINE", "IGNORE", "FOREIGN"]);
    if !at.take("TABLE") {
        return true;
    }
    at.take("IF EXISTS");
    at.take("ONLY");
    if at.name().is_none() {
        return true;
    }
    at.take("*");
    at.split_at_commas().into_iter().any(|action| action_on(Cursor(action), column))
}

fn action_on(mut at: Cursor<'_>, column: &str) -> bool {
    if at.starts("ADD") || at.starts("ALGORITHM") || at.starts("LOCK") || at.starts("VALIDATE") {
        return false;
    }
    let whole = ["CONSTRAINT", "PRIMARY", "FOREIGN", "PARTITION", "TO", "AS"];
    let of_column = at.take_any(&["DROP", "ALTER", "MODIFY", "CHANGE", "RENAME"]);
    at.take("COLUMN");
    at.take_any(&["IF EXISTS"]);
    if !of_column || whole.contains(&at.word()) {
        return true;
    }
    if ["INDEX", "KEY", "CHECK"].contains(&at.word()) {
        return false;
    }
    at.name().is_none_or(|name| name.eq_ignore_ascii_case(column))
}

fn named(parts: &[Part], column: &str) -> bool {
    parts.iter().any(|part| match part {
        Part::Word(_, written) | Part::Name(written) => written.eq_ignore_ascii_case(column),
        Part::Text(text) => mentions(text, column),
        Part::Other(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::declared::Contract;

    fn touches(sql: &str, dialect: SqlDialect, contract: Contract) -> bool {
        !touching(sql, dialect, contract.objects()).is_empty()
    }

    #[test]
    fn what_drops_renames_or_rewrites_a_table_is_found() {
        use SqlDialect::{Mysql, Postgres, Sqlite};
        for (dialect, sql) in [
            (Postgres, "DROP TABLE goals"),
            (Postgres, "DROP TABLE IF EXISTS other, public.\"goals\" CASCADE"),
            (Postgres, "ALTER TABLE goals RENAME TO goals_2"),
            (Postgres, "ALTER TABLE goals ALTER COLUMN title TYPE bigint USING 1"),
            (Postgres, "TRUNCATE goals"),
            (Postgres, "DELETE FROM goals"),
            (Postgres, "UPDATE goals SET title = ''"),
            (Postgres, "DO $$ BEGIN EXECUTE 'DROP TABLE goals'; END $$"),
            (Postgres, "DO $$ BEGIN EXECUTE format('DROP TABLE %I', 'go' || 'als'); END $$"),
            (Postgres, "DROP SCHEMA app CASCADE"),
            (Postgres, "DROP OWNED BY app"),
            (Postgres, "WITH gone AS (DELETE FROM goals RETURNING 1) SELECT count(*) FROM gone"),
            (
                Postgres,
                "CREATE TABLE kept AS WITH gone AS (DELETE FROM goals RETURNING *) SELECT * FROM gone",
            ),
            (Postgres, "CREATE TYPE event AS (id int, begin timestamptz); DROP TABLE goals"),
            (Postgres, "-- harmless\rDROP TABLE goals"),
            (Mysql, "/*M! DROP TABLE goals */"),
            (Mysql, "ANALYZE DELETE FROM goals"),
            (Mysql, "SET STATEMENT max_statement_time = 1 FOR DROP TABLE goals"),
            (Sqlite, "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; DROP TABLE goals"),
            (Sqlite, "UPDATE sqlite_schema SET sql = '' WHERE name = 'goals'"),
            (Mysql, "RENAME TABLE goals TO gone"),
            (Mysql, "DROP DATABASE app"),
            (Mysql, "CREATE OR REPLACE TABLE goals (id INT)"),
            (Mysql, "ALTER TABLE `goals` MODIFY title INT"),
            (Sqlite, "ALTER TABLE goals DROP COLUMN title"),
            (Sqlite, "DROP TABLE [goals]"),
        ] {
            assert!(touches(sql, dialect, Contract::new().table("goals")), "{sql}");
        }
        for (dialect, sql) in [
            (Postgres, "DROP TABLE goals_archive"),
            (Postgres, "ALTER TABLE goals ADD COLUMN note text"),
            (Postgres, "CREATE TABLE goal_versions (id bigint, note text DEFAULT 'goals')"),
            (Postgres, "SELECT * FROM goals"),
            (Mysql, "-- dualwrite: allow unreadable because it only counts\nCALL count_rows()"),
        ] {
            assert!(!touches(sql, dialect, Contract::new().table("goals")), "{sql}");
        }
        assert!(touches("CALL count_rows()", Mysql, Contract::new().table("goals")), "unread");
    }

    #[test]
    fn what_is_done_to_other_columns_is_no_matter_of_an_old_one() {
        use SqlDialect::{Mysql, Postgres, Sqlite};
        let email = || Contract::new().column("customer", "email");
        for (dialect, sql) in [
            (Postgres, "ALTER TABLE customer DROP COLUMN email"),
            (Postgres, "ALTER TABLE ONLY public.customer ADD COLUMN a int, DROP \"email\""),
            (Postgres, "ALTER TABLE customer ALTER email TYPE int USING 1"),
            (Postgres, "ALTER TABLE customer RENAME email TO mail"),
            (Postgres, "ALTER TABLE customer RENAME TO clients"),
            (Postgres, "DROP TABLE customer"),
            (Postgres, "UPDATE customer SET email = ''"),
            (Mysql, "ALTER TABLE customer CHANGE email mail VARCHAR(9)"),
            (Mysql, "ALTER TABLE customer MODIFY COLUMN email INT"),
            (Sqlite, "ALTER TABLE customer DROP email"),
        ] {
            assert!(touches(sql, dialect, email()), "{sql}");
        }
        for (dialect, sql) in [
            (Postgres, "ALTER TABLE customer DROP COLUMN email_address"),
            (Postgres, "ALTER TABLE customer DROP COLUMN IF EXISTS phone, DROP COLUMN fax"),
            (Postgres, "ALTER TABLE customer ALTER phone SET NOT NULL"),
            (Postgres, "UPDATE customer SET phone = ''"),
            (Mysql, "ALTER TABLE customer MODIFY COLUMN phone INT, LOCK=NONE"),
            (Sqlite, "DROP TABLE customer_archive"),
        ] {
            assert!(!touches(sql, dialect, email()), "{sql}");
        }
    }
}
