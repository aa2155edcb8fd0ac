//! Constraints of old that would reject what is written to new alone. Pure.

use super::declared::Contract;
use super::shape::OldShape;
use crate::database::Dialect;
use crate::preflight::schema::{Column, TableName};

/// A constraint of an old column that rejects a row which new alone writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Constraint {
    pub(crate) reason: String,
    /// What relaxes it; `None` where the database has no statement for it.
    pub(crate) statement: Option<String>,
}

/// Those of the columns that a contract calls old.
pub(crate) fn rejecting(
    contract: &Contract,
    shape: &OldShape,
    dialect: &Dialect,
) -> Vec<Constraint> {
    if contract.old_filled {
        return Vec::new();
    }
    let columns = contract.objects().iter().filter_map(|object| {
        let column = shape.column(object)?;
        let fills_itself =
            column.default.is_some() || column.is_generated || !column.extra.is_empty();
        (!column.nullable && !fills_itself).then(|| (object.table_name(), column))
    });
    columns.map(|(table, column)| constraint(&table, column, dialect)).collect()
}

fn constraint(table: &TableName, column: &Column, dialect: &Dialect) -> Constraint {
    let statement = statement(table, column, dialect);
    let next = match &statement {
        Some(statement) => format!("run: {statement}"),
        None => "this database cannot relax it in place: let the code that writes the new side fill the old column, too, and declare \
                 `Contract::old_filled()`"
            .to_owned(),
    };
    let reason = format!(
        "{table}.{} is NOT NULL without a default, so a row that is written to the new side alone is refused; {next}",
        column.name
    );
    Constraint { reason, statement }
}

pub(crate) fn statement(table: &TableName, column: &Column, dialect: &Dialect) -> Option<String> {
    let (table, name) = (quoted_table(table, dialect), quoted(&column.name, dialect));
    match (dialect.numbered, dialect.on_duplicate_key) {
        (true, _) => Some(format!("ALTER TABLE {table} ALTER COLUMN {name} DROP NOT NULL")),
        (_, true) => {
            let charset = column.charset.as_ref().map(|set| format!(" CHARACTER SET {set}"));
            let collation = column.collation.as_ref().map(|name| format!(" COLLATE {name}"));
            let (charset, collation) = (charset.unwrap_or_default(), collation.unwrap_or_default());
            let kind = &column.type_name;
            Some(format!(
                "ALTER TABLE {table} MODIFY COLUMN {name} {kind}{charset}{collation} NULL, LOCK=NONE"
            ))
        }
        _ => None,
    }
}

/// A name from the catalogue, quoted.
pub(crate) fn quoted(name: &str, dialect: &Dialect) -> String {
    let quote = dialect.quote;
    let doubled = name.replace(quote, &format!("{quote}{quote}"));
    format!("{quote}{doubled}{quote}")
}

pub(crate) fn quoted_table(table: &TableName, dialect: &Dialect) -> String {
    let schema = table.schema.iter().map(|schema| quoted(schema, dialect) + ".");
    schema.collect::<String>() + &quoted(&table.name, dialect)
}
