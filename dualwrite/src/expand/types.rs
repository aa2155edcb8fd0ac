//! Whether a column can hold the values of another one, and whether it has the type that was declared. Pure.

use crate::database::Dialect;
use crate::preflight::schema::Column;

/// Why a value of old may not fit into new, where both have one type; `None` where every value does.
pub(crate) fn too_narrow(old: &Column, new: &Column) -> Option<String> {
    if old.base != new.base && !is_wider(&old.base, &new.base) {
        return Some("it is another type".to_owned());
    }
    let same = old.base == new.base;
    if same && old.unsigned != new.unsigned {
        return Some("one of them is unsigned".to_owned());
    }
    if (same || new.length.is_some()) && is_shorter(old.length, new.length) {
        return Some("it is shorter".to_owned());
    }
    if same
        && (is_shorter(whole_digits(old), whole_digits(new)) || is_shorter(old.scale, new.scale))
    {
        return Some("it holds fewer digits".to_owned());
    }
    if same && old.is_enum && !old.type_name.eq_ignore_ascii_case(&new.type_name) {
        return Some("it has other members".to_owned());
    }
    if same && old.charset != new.charset && new.charset.as_deref() != Some("utf8mb4") {
        return Some("it has another character set".to_owned());
    }
    None
}

/// Whether texts that differ in old are equal in new, or the other way.
pub(crate) fn other_collation(old: &Column, new: &Column) -> Option<String> {
    let (old, new) = (old.collation.as_ref()?, new.collation.as_ref()?);
    (!old.eq_ignore_ascii_case(new)).then(|| {
        format!("its collation is {new} and that of the old column {old}: they differ in which texts are equal and in how texts are sorted")
    })
}

fn is_shorter(old: Option<u64>, new: Option<u64>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => new < old,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

fn whole_digits(column: &Column) -> Option<u64> {
    column.precision.map(|all| all.saturating_sub(column.scale.unwrap_or(0)))
}

/// Whether every value of one type is a value of the other.
fn is_wider(old: &str, new: &str) -> bool {
    const LADDERS: [&[&str]; 5] = [
        &["int2", "int4", "int8", "numeric"],
        &["float4", "float8"],
        &["tinyint", "smallint", "mediumint", "int", "bigint"],
        &["varchar", "text"],
        &["tinytext", "text", "mediumtext", "longtext"],
    ];
    LADDERS.iter().any(|ladder| {
        let place = |name: &str| ladder.iter().position(|one| *one == name);
        matches!((place(old), place(new)), (Some(old), Some(new)) if new >= old)
    })
}

/// How a declared type differs from the one that a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    Same,
    /// The type is another, or one of fewer characters or digits.
    Other,
    /// Nobody here can say.
    Unknown,
}

/// Compares the type that a column has with the one that was declared.
pub(crate) fn fits(declared: &str, column: &Column, dialect: &Dialect) -> Fit {
    if !dialect.server {
        // A type is a hint there: what matters is what it turns values into.
        return if affinity(declared) == affinity(&column.type_name) {
            Fit::Same
        } else {
            Fit::Other
        };
    }
    let (wanted, has) = (Spelled::of(declared, dialect), Spelled::of(&column.type_name, dialect));
    if wanted == has {
        return Fit::Same;
    }
    let known = |one: &Spelled| KNOWN.contains(&&*one.base);
    match (wanted.base == has.base, known(&wanted) && known(&has)) {
        (true, _) => {
            let shorter = |(wanted, has): (&Option<u64>, &Option<u64>)| is_shorter(*wanted, *has);
            // Members of an enumeration are texts, which have no order.
            let numbers = wanted.numbers.iter().zip(&has.numbers).any(shorter)
                || wanted.numbers.is_empty() && !has.numbers.is_empty();
            let other = numbers
                || wanted.unsigned != has.unsigned
                || wanted.rest != has.rest && known(&wanted);
            if other || wanted.rest != has.rest { Fit::Other } else { Fit::Same }
        }
        (false, true) => Fit::Other,
        (false, false) => Fit::Unknown,
    }
}

/// What SQLite turns values into, by the words of a type.
fn affinity(kind: &str) -> &'static str {
    let kind = kind.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| kind.contains(part));
    match () {
        () if has(&["INT"]) => "integer",
        () if has(&["CHAR", "CLOB", "TEXT"]) => "text",
        () if kind.is_empty() || has(&["BLOB"]) => "blob",
        () if has(&["REAL", "FLOA", "DOUB"]) => "real",
        () => "numeric",
    }
}

/// A type, in one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spelled {
    base: String,
    numbers: Vec<Option<u64>>,
    unsigned: bool,
    /// What stands in parentheses and is no number, and `[]`.
    rest: String,
}

const KNOWN: &[&str] = &[
    "smallint",
    "integer",
    "bigint",
    "tinyint",
    "mediumint",
    "real",
    "double",
    "decimal",
    "text",
    "varchar",
    "char",
    "boolean",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "datetime",
    "uuid",
    "json",
    "jsonb",
    "bytea",
    "binary",
    "varbinary",
    "blob",
    "tinytext",
    "mediumtext",
    "longtext",
    "tinyblob",
    "mediumblob",
    "longblob",
    "inet",
    "cidr",
    "interval",
    "year",
    "bit",
    "varbit",
    "enum",
    "set",
];

impl Spelled {
    fn of(text: &str, dialect: &Dialect) -> Self {
        let lower = text.trim().to_ascii_lowercase();
        let (before, inner, behind) = match (lower.find('('), lower.rfind(')')) {
            (Some(from), Some(to)) if from < to => {
                (&lower[..from], &lower[from + 1..to], &lower[to + 1..])
            }
            _ => (&*lower, "", ""),
        };
        let words = format!("{before} {behind}");
        let unsigned = words.contains("unsigned");
        let words: Vec<&str> = words
            .split_whitespace()
            .filter(|word| !["unsigned", "zerofill"].contains(word))
            .collect();
        let words = words.join(" ");
        let is_array = words.ends_with("[]");
        let base = Self::base(words.trim_end_matches("[]").trim_end(), dialect);
        let parts: Vec<&str> =
            inner.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        let numeric = parts.iter().all(|part| part.parse::<u64>().is_ok());
        let mut numbers: Vec<Option<u64>> =
            if numeric { parts.iter().map(|part| part.parse().ok()).collect() } else { Vec::new() };
        let width = ["smallint", "integer", "bigint", "mediumint", "tinyint", "year"];
        if width.contains(&&*base) {
            numbers.clear(); // how wide it is shown
        }
        if base == "decimal" && numbers.len() == 1 {
            numbers.push(Some(0));
        }
        if base == "decimal" && numbers.is_empty() && dialect.on_duplicate_key {
            numbers = vec![Some(10), Some(0)];
        }
        if ["char", "bit"].contains(&&*base) && numbers.is_empty() {
            numbers.push(Some(1));
        }
        let rest = if numeric { String::new() } else { parts.join(",") };
        let rest = if is_array { rest + "[]" } else { rest };
        Self { base, numbers, unsigned, rest }
    }

    fn base(words: &str, dialect: &Dialect) -> String {
        let base = match words {
            "int" | "int4" | "integer" => "integer",
            "int2" => "smallint",
            "int8" => "bigint",
            "float4" => "real",
            "float8" | "double precision" => "double",
            "float" if dialect.numbered => "double",
            "real" if dialect.on_duplicate_key => "double",
            "numeric" | "dec" | "fixed" => "decimal",
            "character varying" => "varchar",
            "character" | "bpchar" => "char",
            "bool" | "boolean" if dialect.on_duplicate_key => "tinyint",
            "bool" => "boolean",
            "timestamp without time zone" => "timestamp",
            "timestamp with time zone" => "timestamptz",
            "time without time zone" => "time",
            "time with time zone" => "timetz",
            "bit varying" => "varbit",
            // MariaDB has no type of its own for it.
            "json" if dialect.on_duplicate_key => "longtext",
            other => other,
        };
        base.to_owned()
    }
}
