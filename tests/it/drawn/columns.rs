//! The types of columns to draw from, each with literals of it.

use uuid::Uuid;

use crate::support::dice::Dice;

/// What a column of a key holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Integer,
    Text,
    Uuid,
}

/// Types of a column of the key, as they are declared, on SQLite, PostgreSQL and MariaDB.
pub(super) fn key_types(kind: Kind, database: &str) -> &'static [&'static str] {
    match (kind, database) {
        (Kind::Integer, "sqlite") => &["INTEGER", "BIGINT", "NUMERIC"],
        (Kind::Integer, "postgres") => &["smallint", "int", "bigint", "numeric(12,0)"],
        (Kind::Integer, _) => &["SMALLINT", "INT", "BIGINT", "DECIMAL(12,0)"],
        (Kind::Text, "sqlite") => {
            &["TEXT", "VARCHAR(20)", "", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"]
        }
        (Kind::Text, "postgres") => &[
            "char(9)",
            "varchar(20)",
            "text",
            "text COLLATE \"C\"",
            "text COLLATE german",
            "text COLLATE folded",
            "ext.citext",
            "label",
        ],
        (Kind::Text, _) => &[
            "CHAR(9)",
            "VARCHAR(20)",
            "VARCHAR(20) COLLATE utf8mb4_bin",
            "VARCHAR(20) COLLATE utf8mb4_unicode_ci",
            "VARCHAR(20) CHARACTER SET latin1",
            "VARBINARY(20)",
        ],
        (Kind::Uuid, "sqlite") => &["BLOB", "TEXT"],
        (Kind::Uuid, "postgres") => &["uuid", "text", "char(36)"],
        (Kind::Uuid, _) => &["UUID", "CHAR(36)", "BINARY(16)"],
    }
}

/// Types that the column of the new key may have instead: other ones, with the same equality.
pub(super) fn other_types(database: &str, column: &str) -> &'static [&'static str] {
    match (database, column) {
        ("sqlite", "INTEGER") => &["BIGINT", "NUMERIC"],
        ("sqlite", "BIGINT" | "NUMERIC") => &["INTEGER"],
        ("sqlite", "TEXT") => &["VARCHAR(40)"],
        ("sqlite", "VARCHAR(20)" | "") => &["TEXT"],
        ("sqlite", "TEXT COLLATE NOCASE") => &["VARCHAR(20) COLLATE NOCASE"],
        ("postgres", "smallint") => &["int", "bigint", "numeric(12,0)"],
        ("postgres", "int") => &["bigint", "numeric(12,0)"],
        ("postgres", "bigint") => &["numeric(12,0)", "int"],
        ("postgres", "numeric(12,0)") => &["bigint", "numeric(14,2)"],
        ("postgres", "char(9)") => &["varchar(20)", "char(12)"],
        ("postgres", "varchar(20)") => &["text", "label"],
        ("postgres", "text") => &["varchar(40)"],
        ("postgres", "label") => &["text", "char(9)"],
        ("mysql", "SMALLINT") => &["INT", "BIGINT", "DECIMAL(12,0)"],
        ("mysql", "INT") => &["BIGINT", "DECIMAL(14,2)"],
        ("mysql", "BIGINT") => &["DECIMAL(12,0)", "INT"],
        ("mysql", "DECIMAL(12,0)") => &["BIGINT", "DECIMAL(14,2)"],
        ("mysql", "CHAR(9)") => &["VARCHAR(20)", "CHAR(12)"],
        ("mysql", "VARCHAR(20)") => &["CHAR(9)", "VARCHAR(40)"],
        ("mysql", "VARBINARY(20)") => &["VARBINARY(30)"],
        ("mysql", "UUID") => &["CHAR(36)"],
        ("mysql", "CHAR(36)") => &["UUID"],
        ("mysql", "BINARY(16)") => &["VARBINARY(16)"],
        _ => &[],
    }
}

pub(super) fn integer(dice: &mut Dice) -> (i64, String) {
    let number = dice.below(120) as i64 - 20;
    (number, number.to_string())
}

pub(super) fn word(dice: &mut Dice) -> (String, String) {
    const LETTERS: &[&str] = &["a", "B", "c", "Z", "9", "10", "ä", "ß", "'", "-", "_", "x y"];
    let word: String = (0..=dice.below(3)).map(|_| *dice.pick(LETTERS)).collect();
    let literal = text(&word);
    (word, literal)
}

pub(super) fn uuid(dice: &mut Dice, column: &str) -> (Uuid, String) {
    // Few of them, so that writes meet the rows that are there.
    let drawn = Dice::new(dice.roll() % 60).roll();
    let bytes = (u128::from(drawn) << 64 | u128::from(drawn.rotate_left(7))).to_be_bytes();
    let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
    let literal = match column {
        "BLOB" | "BINARY(16)" => format!("X'{}'", id.simple()),
        _ => format!("'{id}'"),
    };
    (id, literal)
}

/// A column that is no key: its type in old and in new, and literals of it.
pub(super) struct Value {
    pub(super) old: &'static str,
    pub(super) new: &'static str,
    literals: &'static [&'static str],
}

impl Value {
    pub(super) fn literal(&self, dice: &mut Dice) -> &'static str {
        let &literal = dice.pick(self.literals);
        literal
    }
}

const fn value(old: &'static str, new: &'static str, literals: &'static [&'static str]) -> Value {
    Value { old, new, literals }
}

const INTEGERS: &[&str] = &["0", "-3", "7", "2147483647"];
const TEXTS: &[&str] = &["''", "'a'", "'A'", "'ä b'", "'it''s'", "'x '", "'🦀'"];
const NUMBERS: &[&str] = &["0", "-0.5", "12345.67", "99.90"];
const FLOATS: &[&str] = &["0", "0.1", "-1e30", "12345.678"];
const TIMES: &[&str] = &["'2024-02-29 23:59:59.000001'", "'1999-12-31 00:00:00'"];
const DAYS: &[&str] = &["'2024-02-29'", "'1970-01-01'"];
const JSON: &[&str] = &["'{}'", "'{\"b\": 1, \"a\": [null, 1.50]}'", "'[]'"];

pub(super) fn values(database: &str) -> &'static [Value] {
    const SQLITE: &[Value] = &[
        value("INTEGER", "BIGINT", INTEGERS),
        value("TEXT", "TEXT", TEXTS),
        value("TEXT COLLATE NOCASE", "TEXT", TEXTS),
        value("REAL", "REAL", FLOATS),
        value("NUMERIC", "NUMERIC", NUMBERS),
        value("BLOB", "BLOB", &["X''", "X'00ff'"]),
    ];
    const POSTGRES: &[Value] = &[
        value("int", "bigint", INTEGERS),
        value("varchar(30)", "text", TEXTS),
        value("text", "text COLLATE \"C\"", TEXTS),
        value("ext.citext", "text", TEXTS),
        value("boolean", "boolean", &["true", "false"]),
        value("numeric(12,2)", "numeric(14,2)", NUMBERS),
        value("double precision", "double precision", FLOATS),
        value("timestamptz", "timestamptz", TIMES),
        value("date", "date", DAYS),
        value("jsonb", "jsonb", JSON),
        value("bytea", "bytea", &["''", "'\\x00ff'"]),
        value("int[]", "bigint[]", &["'{}'", "'{1,NULL,3}'"]),
    ];
    const MYSQL: &[Value] = &[
        value("INT", "BIGINT", INTEGERS),
        value("VARCHAR(30)", "TEXT", TEXTS),
        value("VARCHAR(30) COLLATE utf8mb4_unicode_ci", "VARCHAR(30)", TEXTS),
        value("BOOLEAN", "BOOLEAN", &["true", "false"]),
        value("DECIMAL(12,2)", "DECIMAL(14,2)", NUMBERS),
        value("DOUBLE", "DOUBLE", FLOATS),
        value("DATETIME(6)", "DATETIME(6)", TIMES),
        value("DATE", "DATE", DAYS),
        value("VARBINARY(30)", "VARBINARY(40)", &["''", "X'00ff'"]),
    ];
    match database {
        "sqlite" => SQLITE,
        "postgres" => POSTGRES,
        _ => MYSQL,
    }
}

pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
