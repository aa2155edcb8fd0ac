//! `ALTER` of anything but a table: types, schemas, sequences, domains, views, roles.

use super::level::Verdict;
use super::token::Cursor;

/// Judges `ALTER …` behind that word.
pub(super) fn object(mut at: Cursor<'_>) -> Verdict {
    at.take("MATERIALIZED");
    let kind = at.word();
    if at.has("RENAME") && !["INDEX", "TRIGGER", "TYPE"].contains(&kind) {
        return renamed(kind);
    }
    if let Some(verdict) = moved(at) {
        return verdict;
    }
    match kind {
        "TYPE" => composite_or_enum(at),
        "INDEX" => index(at),
        "DOMAIN" => domain(at),
        "SEQUENCE" if at.has_run("OWNED BY") && !at.has("RESTART") => {
            Verdict::safe("sequence-owner", "the catalogue alone changes")
        }
        "SEQUENCE" => Verdict::warn(
            "sequence-option",
            "numbers that are in use may be drawn again",
            "give a number above the greatest one",
        ),
        "DEFAULT" if at.has("REVOKE") => Verdict::warn("revoke", "tables to come lack a right", ""),
        "DEFAULT" => Verdict::safe("grant", "tables to come have more rights"),
        "ROLE" | "USER" | "GROUP" if locks_out(at) => Verdict::breaking(
            "lock-out",
            "code that runs now cannot open a connection from then on",
            "give the service a role of its own, move it there, then change the old one",
        ),
        "VIEW" | "FUNCTION" | "PROCEDURE" | "AGGREGATE" | "ROUTINE" | "ROLE" | "USER" | "GROUP"
        | "DATABASE" | "SYSTEM" | "EXTENSION" | "TRIGGER" | "POLICY" | "PUBLICATION"
        | "SUBSCRIPTION" | "COLLATION" | "EVENT" | "STATISTICS" | "SERVER" | "TABLESPACE"
        | "INSTANCE" => Verdict::warn(
            "alter-object",
            "other statements may get another answer, or other rights, from then on",
            "look who uses it first",
        ),
        _ => Verdict::unknown(),
    }
}

/// What has another schema or owner.
fn moved(at: Cursor<'_>) -> Option<Verdict> {
    if at.has_run("SET SCHEMA") {
        return Some(Verdict::breaking(
            "set-schema",
            "code that runs now does not find it",
            "make it anew in the other schema, and move its users",
        ));
    }
    if at.has_run("OWNER TO") {
        return Some(Verdict::warn(
            "change-owner",
            "roles that had their rights as the owner lose them",
            "grant the rights first",
        ));
    }
    None
}

/// Whether a role can no longer get in, or not as before.
fn locks_out(at: Cursor<'_>) -> bool {
    let words = ["NOLOGIN", "PASSWORD", "IDENTIFIED", "CONNECTION"];
    words.iter().any(|word| at.has(word)) || at.has_run("ACCOUNT LOCK") || at.has_run("VALID UNTIL")
}

fn renamed(kind: &str) -> Verdict {
    let rule = match kind {
        "SCHEMA" => "rename-schema",
        "VIEW" => "rename-view",
        "SEQUENCE" => "rename-sequence",
        "DATABASE" => "rename-database",
        _ => "rename-object",
    };
    Verdict::breaking(
        rule,
        "code that runs now names it as before, and code to come by its new name: one of them fails",
        "make it under the new name, move its users, then drop the old one",
    )
}

fn composite_or_enum(at: Cursor<'_>) -> Verdict {
    if at.has_run("RENAME VALUE") {
        return Verdict::breaking(
            "rename-enum-value",
            "code that runs now sends and decodes the old word",
            "add a value, move the readers, then the writers; leave the old one",
        );
    }
    if at.has("RENAME") {
        return Verdict::breaking(
            "rename-type",
            "code that runs now names the type or its attribute as before",
            "make a new type, and migrate its columns",
        );
    }
    if at.has_run("ADD VALUE") {
        return Verdict::warn(
            "add-enum-value",
            "code that runs now cannot decode the value once somebody writes it",
            "deploy readers that know it first",
        );
    }
    if at.has_run("ADD ATTRIBUTE") {
        return Verdict::blocking(
            "alter-type",
            "tables with the type are checked under ACCESS EXCLUSIVE",
            "make a new type, and migrate its columns",
        );
    }
    Verdict::breaking(
        "alter-type",
        "code that runs now decodes the attributes as they were",
        "make a new type, and migrate its columns",
    )
}

fn index(at: Cursor<'_>) -> Verdict {
    if at.has("RENAME") {
        return Verdict::warn(
            "rename-index",
            "the constraint that it keeps is renamed, too: code that knows it by its name fails",
            "look for its name in the code first",
        );
    }
    if at.has_run("SET TABLESPACE") {
        return Verdict::blocking(
            "rewrite-index",
            "the index is copied under ACCESS EXCLUSIVE",
            "REINDEX … CONCURRENTLY with the other tablespace",
        );
    }
    Verdict::safe("alter-index", "the catalogue alone changes")
}

fn domain(at: Cursor<'_>) -> Verdict {
    if at.has_run("SET NOT NULL") {
        return Verdict::breaking(
            "set-not-null",
            "INSERTs of running code that leave NULL fail, and all columns of the type are read under a lock",
            "when no release writes NULL",
        );
    }
    if at.has("VALIDATE") {
        return Verdict::safe("validate-constraint", "reads the rows; others go on");
    }
    if at.has("ADD") && !at.has_run("NOT VALID") {
        return Verdict::blocking(
            "add-check",
            "all columns of the type are checked while writers wait",
            "ADD … NOT VALID, then VALIDATE CONSTRAINT",
        );
    }
    if at.has_run("DROP DEFAULT") {
        return Verdict::breaking("drop-default", "INSERTs of running code may rely on it", "");
    }
    Verdict::warn("alter-domain", "rows to come are checked in another way", "")
}
