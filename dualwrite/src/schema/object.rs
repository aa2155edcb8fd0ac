//! Statements on whole objects: tables, indexes, views, types, functions, rights.

use super::alter_verdicts::drop_primary_key;
use super::level::{SqlDialect, Verdict};
use super::token::{Cursor, Part};
use super::{rows, settings};

const NEW: &str = "a new object, which nobody uses yet";

/// `DROP …`, behind that word. What is dropped may be anything: it is never safe but for what the script made.
pub(super) fn dropped(mut at: Cursor<'_>, dialect: SqlDialect) -> Verdict {
    at.take_any(&["TEMPORARY"]);
    let lost = |rule, what: &str| {
        Verdict::breaking(
            rule,
            format!("{what} is gone: code that runs now fails, and data are lost"),
            "stop using it, deploy everywhere, then drop it: `migration.contract()`",
        )
    };
    match at.word() {
        "TABLE" => lost("drop-table", "the table"),
        "SCHEMA" => lost("drop-schema", "the schema, with all in it,"),
        "DATABASE" => lost("drop-database", "the database"),
        "VIEW" => lost("drop-view", "the view"),
        "MATERIALIZED" => lost("drop-view", "the materialized view"),
        "TYPE" | "DOMAIN" => lost("drop-type", "the type, with CASCADE its columns, too,"),
        "SEQUENCE" => lost("drop-sequence", "the sequence"),
        "FUNCTION" | "PROCEDURE" | "AGGREGATE" | "ROUTINE" => lost("drop-function", "the function"),
        "EXTENSION" => lost("drop-extension", "what the extension brought"),
        "ROLE" | "USER" | "GROUP" => lost("drop-role", "the role"),
        "OWNED" => lost("drop-owned", "all that the role owns"),
        "INDEX" => dropped_index(at, dialect),
        "TRIGGER" => Verdict::warn(
            "drop-trigger",
            "what it kept right is kept no more; triggers of this library, too",
            "look what it does first",
        ),
        "POLICY" | "RULE" | "EVENT" | "STATISTICS" | "COLLATION" | "OPERATOR" | "CAST"
        | "PUBLICATION" | "SUBSCRIPTION" | "SERVER" | "LANGUAGE" | "TABLESPACE" => {
            lost("drop-object", "the object")
        }
        _ => lost("drop-object", "whatever it names"),
    }
}

fn dropped_index(at: Cursor<'_>, dialect: SqlDialect) -> Verdict {
    let slow = "statements that use it become slow, and ON CONFLICT fails where it was unique";
    if dialect == SqlDialect::Mysql && at.0.contains(&Part::Name("PRIMARY".to_owned())) {
        return drop_primary_key();
    }
    if dialect != SqlDialect::Postgres {
        let verdict = Verdict::warn("drop-index", slow, "make the new index first");
        return locking(at).map_or(verdict.clone(), |locked| locked.worse(verdict));
    }
    if at.starts("INDEX CONCURRENTLY") {
        return Verdict::safe(
            "drop-index-concurrently",
            "writers go on meanwhile; it must run outside a transaction",
        );
    }
    Verdict::blocking(
        "drop-index",
        format!("ACCESS EXCLUSIVE on the table, behind every query that runs; {slow}"),
        "DROP INDEX CONCURRENTLY, outside a transaction, after the new index is there",
    )
}

/// `CREATE …`, behind that word, for what the parser need not read.
pub(super) fn created(mut at: Cursor<'_>, dialect: SqlDialect) -> Option<Verdict> {
    let replaces = at.take("OR REPLACE");
    at.take_any(&[
        "DEFINER = CURRENT_USER",
        "TEMPORARY",
        "TEMP",
        "UNLOGGED",
        "CONSTRAINT",
        "RECURSIVE",
    ]);
    let replaced = || {
        Verdict::warn(
            "replace-object",
            "code that runs now gets another answer from it",
            "make it under another name, and move its users",
        )
    };
    Some(match at.word() {
        "TABLE" if replaces => Verdict::breaking(
            "drop-table",
            "a table that is there is dropped, and its data are lost",
            "CREATE TABLE IF NOT EXISTS",
        ),
        "TRIGGER" => Verdict::warn(
            "create-trigger",
            "the table is locked for a moment, and what a write to it does changes",
            "set a lock timeout; look what it costs each write",
        ),
        "RULE" => Verdict::breaking(
            "create-rule",
            "what a statement on the table does changes; INSERT … ON CONFLICT is refused from then on",
            "a trigger",
        ),
        "POLICY" => Verdict::warn("create-policy", "what a role sees may change", ""),
        "EVENT" => Verdict::warn("create-event", "it runs statements later, by itself", ""),
        "INDEX" | "UNIQUE" | "FULLTEXT" | "SPATIAL" if replaces => {
            return index(at, dialect).map(|made| made.worse(replaced()));
        }
        _ if replaces => replaced(),
        "PUBLICATION" | "CAST" | "OPERATOR" => acting(),
        "FUNCTION" | "PROCEDURE" | "AGGREGATE" | "SEQUENCE" | "TYPE" | "DOMAIN" | "SCHEMA"
        | "EXTENSION" | "STATISTICS" | "COLLATION" | "ROLE" | "USER" | "DATABASE" | "TEXT" => {
            Verdict::safe("create-object", NEW)
        }
        "INDEX" | "UNIQUE" | "FULLTEXT" | "SPATIAL" => return index(at, dialect),
        _ => return None,
    })
}

/// What acts on statements that are there already.
fn acting() -> Verdict {
    Verdict::warn(
        "create-acting-object",
        "it acts on statements that run now: a publication refuses UPDATE and DELETE on tables without a key, a cast \
         or an operator makes calls ambiguous",
        "look at the statements that it concerns first",
    )
}

/// `CREATE … INDEX`.
fn index(mut at: Cursor<'_>, dialect: SqlDialect) -> Option<Verdict> {
    let unique = at.take("UNIQUE");
    if at.take_any(&["FULLTEXT", "SPATIAL"]) {
        return Some(Verdict::blocking(
            "add-fulltext",
            "LOCK=NONE is refused for it: writers wait",
            "make a new table with it and migrate to that",
        ));
    }
    at.take("INDEX");
    let concurrently = at.take("CONCURRENTLY");
    Some(match (dialect, unique, concurrently) {
        (SqlDialect::Postgres, false, true) => Verdict::safe(
            "create-index-concurrently",
            "writers go on meanwhile; it must run outside a transaction",
        ),
        (SqlDialect::Postgres, true, true) => Verdict::warn(
            "create-unique-index-concurrently",
            "where values come twice it fails, and leaves an INVALID index that still rejects writes",
            "look for duplicates first; drop the invalid index before you try again",
        ),
        (SqlDialect::Postgres, ..) => Verdict::blocking(
            "create-index",
            "SHARE lock while the index is built: writers wait",
            "CREATE INDEX CONCURRENTLY, outside a transaction",
        ),
        (SqlDialect::Mysql, ..) => {
            if let Some(verdict) = locking(at) {
                return Some(verdict);
            }
            match unique {
                true => Verdict::warn(
                    "add-unique",
                    "it fails where values come twice, and INSERTs of running code may fail from then on",
                    "look for duplicates first",
                ),
                false => {
                    Verdict::safe("create-index", "InnoDB builds secondary indexes beside writers")
                }
            }
        }
        (SqlDialect::Sqlite, ..) => Verdict::warn(
            "create-index",
            "the one writer of the database waits until it is built",
            "on a large table, in a quiet hour",
        ),
    })
}

/// What `CREATE INDEX` and `DROP INDEX` of MySQL say of locks.
fn locking(at: Cursor<'_>) -> Option<Verdict> {
    let locks = [
        "LOCK = SHARED",
        "LOCK SHARED",
        "LOCK = EXCLUSIVE",
        "LOCK EXCLUSIVE",
        "ALGORITHM = COPY",
        "ALGORITHM COPY",
    ];
    let locks = locks.iter().any(|words| at.has_run(words));
    locks.then(|| Verdict::blocking("lock-shared", "writers wait", "LOCK=NONE"))
}

/// Statements that are known by their first words alone.
pub(super) fn by_first_words(at: Cursor<'_>, dialect: SqlDialect) -> Option<Verdict> {
    Some(match at.word() {
        "TRUNCATE" => Verdict::breaking(
            if at.has("CASCADE") { "truncate-cascade" } else { "truncate" },
            "the rows are lost, with CASCADE those of tables that refer to it, too",
            "delete in batches, once nobody reads them",
        ),
        "COMMENT" if at.starts("COMMENT ON") => {
            Verdict::safe("comment-on", "the catalogue alone changes")
        }
        "TABLE" if at.has("FOR") => rows::locked(),
        "TABLE" => Verdict::safe("select", "reads only"),
        "LOCK" => lock(at),
        "UNLOCK" => Verdict::safe("unlock", "ends a lock"),
        "FLUSH" => Verdict::blocking("flush", "tables may be locked for all", ""),
        "RENAME" => Verdict::breaking(
            "rename-table",
            "code that runs now names the old table",
            "make a new table and migrate to it",
        ),
        "CALL" | "EXECUTE" | "LOAD" | "IMPORT" => Verdict::unknown(),
        "SET" => settings::set(at, dialect),
        "PRAGMA" => settings::pragma(at),
        "ATTACH" => Verdict::warn("attach", "statements may find tables of the other file", ""),
        "RESET" | "START" | "STOP" if dialect == SqlDialect::Mysql => replication(at),
        _ => return maintained(at, dialect).or_else(|| rights(at)).or_else(|| of_session(at)),
    })
}

/// `RESET`, `START` and `STOP` of MySQL: they are for the server, but for a transaction.
fn replication(at: Cursor<'_>) -> Verdict {
    if at.starts("START TRANSACTION") || at.starts("RESET QUERY CACHE") {
        return Verdict::safe("session", "this session alone");
    }
    match at.word() {
        "RESET" => Verdict::breaking(
            "reset-replication",
            "the log that replicas follow is deleted, or what a replica knows of its place in it",
            "outside of migrations",
        ),
        _ => Verdict::warn("replication", "replicas go on, or stop", "outside of migrations"),
    }
}

/// Statements that keep a table in order, or write it anew.
fn maintained(at: Cursor<'_>, dialect: SqlDialect) -> Option<Verdict> {
    Some(match at.word() {
        "REINDEX" if is_on(at, "CONCURRENTLY") => {
            Verdict::safe("reindex-concurrently", "writers go on meanwhile")
        }
        "REINDEX" | "CLUSTER" => Verdict::blocking(
            if at.starts("CLUSTER") { "cluster" } else { "reindex" },
            "the table or its index is rebuilt while writers wait",
            "REINDEX … CONCURRENTLY",
        ),
        "VACUUM" if dialect == SqlDialect::Sqlite => Verdict::blocking(
            "vacuum",
            "the whole database is written anew: writers wait",
            "in a quiet hour",
        ),
        "VACUUM"
            if at.0.iter().any(|part| matches!(part, Part::Word(word, _) if word == "FULL")) =>
        {
            Verdict::blocking(
                "vacuum-full",
                "the table is rewritten under ACCESS EXCLUSIVE",
                "VACUUM without FULL",
            )
        }
        "VACUUM" | "ANALYZE" | "ANALYSE" => {
            Verdict::safe("vacuum", "others read and write meanwhile")
        }
        "REFRESH" => match at.starts("REFRESH MATERIALIZED VIEW CONCURRENTLY") {
            true => Verdict::safe("refresh-concurrently", "readers go on meanwhile"),
            false => Verdict::blocking(
                "refresh-view",
                "readers of the view wait",
                "REFRESH MATERIALIZED VIEW CONCURRENTLY",
            ),
        },
        "OPTIMIZE" | "REPAIR" => Verdict::blocking("rebuild-table", "the table is rebuilt", ""),
        _ => return None,
    })
}

/// Whether an option is there, also in parentheses, where it may be switched off.
fn is_on(at: Cursor<'_>, option: &str) -> bool {
    let has = |wanted: &[&str]| {
        at.0.iter().any(|part| matches!(part, Part::Word(word, _) if wanted.contains(&&**word)))
    };
    // It may say `FALSE`, `0` or `'off'`.
    let switched = at.0.iter().any(|part| match part {
        Part::Word(word, _) => ["FALSE", "OFF"].contains(&&**word),
        Part::Text(_) => true,
        Part::Other(sign) => sign.starts_with(|c: char| c.is_ascii_digit()),
        Part::Name(_) => false,
    });
    has(&[option]) && !switched
}

/// What roles may do.
fn rights(at: Cursor<'_>) -> Option<Verdict> {
    Some(match at.word() {
        "GRANT" => Verdict::safe("grant", "roles may do more; nothing fails"),
        "REVOKE" => Verdict::breaking(
            "revoke",
            "code that runs now may lose a right that it needs",
            "look who uses it first",
        ),
        "REASSIGN" => Verdict::warn("change-owner", "roles may lose rights that they had", ""),
        _ => return None,
    })
}

/// What changes nothing for others.
fn of_session(at: Cursor<'_>) -> Option<Verdict> {
    let words = [
        "BEGIN",
        "START",
        "COMMIT",
        "END",
        "ROLLBACK",
        "SAVEPOINT",
        "RELEASE",
        "SHOW",
        "NOTIFY",
        "LISTEN",
        "UNLISTEN",
        "DEALLOCATE",
        "DISCARD",
        "RESET",
        "CHECKPOINT",
        "DESCRIBE",
        "DETACH",
    ];
    words.contains(&at.word()).then(|| Verdict::safe("session", "this session alone"))
}

fn lock(at: Cursor<'_>) -> Verdict {
    let weak = at.has_run("ACCESS SHARE") || at.has_run("ROW SHARE") || at.has_run("ROW EXCLUSIVE");
    if weak && !at.has_run("SHARE ROW EXCLUSIVE") {
        return Verdict::warn("lock-table", "schema changes wait meanwhile", "");
    }
    Verdict::blocking(
        "lock-table",
        "others wait until the transaction ends",
        "leave it out; if it is needed, set a lock timeout and hold it for a moment",
    )
}
