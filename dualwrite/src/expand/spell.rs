//! The statements of an expand, as each database takes them beside readers and writers. Pure.

use super::names::table_name;
use crate::contract::relax::{quoted, quoted_table};
use crate::database::Dialect;
use crate::preflight::schema::Column;

/// The most bytes of a name that every database takes.
const NAME_BYTES_MAX: usize = 60;

/// One file and its way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// For the name of the file.
    pub(crate) what: String,
    pub(crate) up: String,
    pub(crate) down: String,
    /// PostgreSQL runs it outside a transaction.
    pub(crate) alone: bool,
    /// A rule of the judge of schema changes that is known to be kept when this is applied.
    pub(crate) allows: Option<&'static str>,
}

impl Step {
    pub(crate) fn new(what: impl Into<String>, up: String, down: String) -> Self {
        Self { what: what.into(), up, down, alone: false, allows: None }
    }
}

impl Step {
    pub(crate) fn allowing(self, rule: &'static str) -> Self {
        Self { allows: Some(rule), ..self }
    }
}

/// What undoes nothing, because there is nothing to undo.
pub(crate) const NOTHING: &str = "SELECT 1";

/// A table of the declaration, quoted.
pub(crate) fn table(declared: &str, dialect: &Dialect) -> String {
    quoted_table(&table_name(declared), dialect)
}

pub(crate) fn columns<'n>(names: impl IntoIterator<Item = &'n str>, dialect: &Dialect) -> String {
    let names: Vec<String> = names.into_iter().map(|name| quoted(name, dialect)).collect();
    names.join(", ")
}

/// Options behind an action of `ALTER TABLE`: the server refuses it where it would make others wait.
fn online(dialect: &Dialect) -> &'static str {
    if dialect.on_duplicate_key { ", LOCK=NONE" } else { "" }
}

/// The type of a column, as `CREATE TABLE` takes it.
pub(crate) fn type_of(column: &Column, dialect: &Dialect) -> String {
    let charset = column.charset.as_ref().map(|set| format!(" CHARACTER SET {set}"));
    let is_plain = |name: &&String| match dialect.numbered {
        true => !name.ends_with("\"default\"") && !name.ends_with(".default"),
        false => *name != "BINARY",
    };
    let collation = column.collation.as_ref().filter(is_plain);
    let collation = collation.map(|name| format!(" COLLATE {name}"));
    format!("{}{}{}", column.type_name, charset.unwrap_or_default(), collation.unwrap_or_default())
}

/// A nullable column without a default: rows that only the old side has carry no value there. `rules` stand
/// behind its type.
pub(crate) fn add_column(
    on: &str,
    name: &str,
    kind: &str,
    rules: &[String],
    dialect: &Dialect,
) -> Step {
    let (table, own) = (table(on, dialect), quoted(name, dialect));
    let null = if dialect.on_duplicate_key { " NULL" } else { "" };
    let rules: String = rules.iter().map(|rule| format!(" {rule}")).collect();
    let online = online(dialect);
    Step::new(
        format!("add_{}", slug(name)),
        format!("ALTER TABLE {table} ADD COLUMN {own} {kind}{null}{rules}{online}"),
        format!("ALTER TABLE {table} DROP COLUMN {own}{online}"),
    )
}

/// An index; `body` is what stands behind the table in `CREATE INDEX`.
pub(crate) fn create_index(
    on: &str,
    name: &str,
    unique: bool,
    body: &str,
    dialect: &Dialect,
) -> Step {
    let (table, own) = (table(on, dialect), quoted(name, dialect));
    let kind = if unique { "UNIQUE INDEX" } else { "INDEX" };
    let what = format!("index_{}", slug(name));
    if dialect.on_duplicate_key {
        let online = "ALGORITHM=INPLACE, LOCK=NONE";
        return Step::new(
            what,
            format!("ALTER TABLE {table} ADD {kind} {own} {body}, {online}"),
            format!("ALTER TABLE {table} DROP INDEX {own}, {online}"),
        );
    }
    let placed = in_schema(on, &own, dialect);
    if dialect.numbered {
        return Step {
            alone: true,
            ..Step::new(
                what,
                format!("CREATE {kind} CONCURRENTLY {own} ON {table} {body}"),
                format!("DROP INDEX CONCURRENTLY {placed}"),
            )
        };
    }
    let only = quoted(&table_name(on).name, dialect);
    Step::new(
        what,
        format!("CREATE {kind} {placed} ON {only} {body}"),
        format!("DROP INDEX {placed}"),
    )
}

/// Removes an index that PostgreSQL could not build to its end.
pub(crate) fn drop_invalid(on: &str, name: &str, dialect: &Dialect) -> Step {
    let placed = in_schema(on, &quoted(name, dialect), dialect);
    let up = format!("DROP INDEX CONCURRENTLY {placed}");
    Step { alone: true, ..Step::new(format!("drop_invalid_{}", slug(name)), up, NOTHING.into()) }
}

/// A name that stands in the schema of a table.
fn in_schema(table: &str, own: &str, dialect: &Dialect) -> String {
    let schema = table_name(table).schema.map(|schema| quoted(&schema, dialect) + ".");
    schema.unwrap_or_default() + own
}

/// A check or a foreign key on PostgreSQL: for rows to come at once, for those that are there in a transaction of its
/// own.
pub(crate) fn add_rule(on: &str, name: &str, text: &str, dialect: &Dialect) -> [Step; 2] {
    let (table, own) = (table(on, dialect), quoted(name, dialect));
    let add = Step::new(
        format!("rule_{}", slug(name)),
        format!("ALTER TABLE {table} ADD CONSTRAINT {own} {text} NOT VALID"),
        format!("ALTER TABLE {table} DROP CONSTRAINT {own}"),
    );
    [add, validate(on, name, dialect)]
}

pub(crate) fn validate(on: &str, name: &str, dialect: &Dialect) -> Step {
    let (table, own) = (table(on, dialect), quoted(name, dialect));
    let up = format!("ALTER TABLE {table} VALIDATE CONSTRAINT {own}");
    Step::new(format!("validate_{}", slug(name)), up, NOTHING.into())
}

/// A name for something new on a table, which the same parts always get.
pub(crate) fn named(table: &str, parts: &[&str], end: &str) -> String {
    let own = table_name(table).name;
    let whole = format!("{own}_{}_{end}", parts.join("_"));
    if whole.len() <= NAME_BYTES_MAX {
        return whole;
    }
    let hash = xxhash_rust::xxh3::xxh3_64(whole.as_bytes());
    let kept: String = whole.chars().take(NAME_BYTES_MAX - 17 - end.len()).collect();
    format!("{kept}_{hash:016x}_{end}").chars().take(63).collect()
}

/// As it may stand in the name of a file.
pub(crate) fn slug(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_fit_and_differ() {
        assert_eq!(named("shop.customer", &["email"], "idx"), "customer_email_idx");
        let long = "x".repeat(50);
        let (one, other) = (named(&long, &["email_1"], "idx"), named(&long, &["email_2"], "idx"));
        assert!(one != other && one.len() <= 63, "{one} {other}");
    }
}
