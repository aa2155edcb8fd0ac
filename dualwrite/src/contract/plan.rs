//! The statements that drop old, and the files that hold them. Pure.

use std::time::Duration;

use serde::Serialize;

use super::declared::{Contract, OldObject};
use super::relax::{quoted, quoted_table};
use super::shape::{OldShape, mentions};
use crate::database::Dialect;

/// A file in the layout of sqlx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SchemaFile {
    /// Its name: version, description, `.up.sql` or `.down.sql`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What a contract would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ContractPlan {
    /// The migration.
    pub migration: String,
    /// The statements, in their order; none where nothing of old is left.
    pub statements: Vec<String>,
    /// For each of them, what makes the old shape again; the values come from the backup.
    pub back: Vec<String>,
    /// What a transaction does before such a statement, to give up where it has to wait.
    lock_timeout: Option<String>,
}

impl ContractPlan {
    /// One pair of files for each statement, numbered from this version on: a statement that fails leaves those
    /// before it done.
    ///
    /// ```
    /// # async fn files(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
    /// for file in migration.contract().plan().await?.files(20_260_401) {
    ///     println!("{}\n{}", file.name, file.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn files(&self, version: i64) -> Vec<SchemaFile> {
        let slug: String = self
            .migration
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        let mut files = Vec::new();
        let pairs = self.statements.iter().zip(&self.back);
        for ((statement, back), version) in pairs.zip(version..) {
            let name = format!("{version}_contract_{slug}");
            let limit =
                self.lock_timeout.as_ref().map(|limit| format!("{limit};\n")).unwrap_or_default();
            let up = format!(
                "-- Drops what the migration {} calls old. Apply it with `GuardedMigrator`, which asks for the \
                 evidence.\n{limit}{statement};\n",
                self.migration
            );
            let down = format!(
                "-- Makes the old shape again, without its rows, indexes and constraints: these are in the \
                 backup.\n{back};\n"
            );
            files.push(SchemaFile { name: format!("{name}.up.sql"), text: up });
            files.push(SchemaFile { name: format!("{name}.down.sql"), text: down });
        }
        files
    }
}

/// What is still to be dropped.
pub(crate) fn plan(
    migration: &str,
    contract: &Contract,
    shape: &OldShape,
    dialect: &Dialect,
    lock_timeout: Duration,
) -> ContractPlan {
    let (mut statements, mut back) = (Vec::new(), Vec::new());
    for (statement, way_back) in drops(contract, shape, dialect) {
        statements.push(statement);
        back.push(way_back);
    }
    for statement in unwatching(migration, contract, shape, dialect) {
        if !statements.contains(&statement) {
            statements.push(statement);
            back.push("SELECT 1".to_owned());
        }
    }
    // PostgreSQL alone has one that ends with the transaction.
    let lock_timeout = dialect
        .numbered
        .then(|| format!("SET LOCAL lock_timeout = '{}ms'", lock_timeout.as_millis()));
    ContractPlan { migration: migration.to_owned(), statements, back, lock_timeout }
}

/// The statements that drop what is left of these objects, each with what makes its shape again.
pub(crate) fn drops(
    contract: &Contract,
    shape: &OldShape,
    dialect: &Dialect,
) -> Vec<(String, String)> {
    let left = shape.left(contract).into_iter();
    left.flat_map(|object| dropping(object, shape, dialect)).collect()
}

/// The statements that remove the triggers which recorded writers of old: of a table that stays, for it lost a column.
/// There is nothing left that they could record.
pub(crate) fn unwatching(
    migration: &str,
    contract: &Contract,
    shape: &OldShape,
    dialect: &Dialect,
) -> Vec<String> {
    let mut found = Vec::new();
    for object in contract.objects().iter().filter(|object| object.column.is_some()) {
        let schema = object.table_name().schema;
        for watch in shape.watches_of(migration, &object.table) {
            let statement = match dialect.numbered {
                // With their function they go, which they all have.
                true => {
                    let function = watch.name.trim_end_matches("_b").trim_end_matches("_t");
                    format!("DROP FUNCTION IF EXISTS {}() CASCADE", quoted(function, dialect))
                }
                false => drop_trigger(schema.as_deref(), &watch.name, dialect),
            };
            if !found.contains(&statement) {
                found.push(statement);
            }
        }
    }
    found
}

fn drop_trigger(schema: Option<&str>, name: &str, dialect: &Dialect) -> String {
    let schema = schema.map(|schema| quoted(schema, dialect) + ".").unwrap_or_default();
    format!("DROP TRIGGER IF EXISTS {schema}{}", quoted(name, dialect))
}

fn dropping(object: &OldObject, shape: &OldShape, dialect: &Dialect) -> Vec<(String, String)> {
    let name = object.table_name();
    let table = quoted_table(&name, dialect);
    let Some(column) = shape.column(object) else {
        let found = shape.table(&object.table).and_then(|table| table.table.as_ref());
        let kind = if found.is_some_and(|table| table.is_view) { "VIEW" } else { "TABLE" };
        return vec![(format!("DROP {kind} {table}"), shape_of(object, shape, dialect))];
    };
    let own = quoted(&column.name, dialect);
    let mut found = Vec::new();
    if !dialect.server {
        // It refuses as well to drop a column that a trigger names; ours has nothing to record any more.
        for watch in shape.watches(&object.table).filter(|one| mentions(&one.text, &column.name)) {
            let drop = drop_trigger(name.schema.as_deref(), &watch.name, dialect);
            found.push((drop, "SELECT 1".to_owned()));
        }
        // SQLite refuses to drop a column that is in an index.
        let indexed = shape.table(&object.table).map_or(&[][..], |table| &table.indexed);
        let with = indexed.iter().filter(|(_, indexed)| indexed.eq_ignore_ascii_case(&column.name));
        for (index, _) in with {
            let schema = name.schema.iter().map(|schema| quoted(schema, dialect) + ".");
            let index = schema.collect::<String>() + &quoted(index, dialect);
            found.push((format!("DROP INDEX {index}"), "SELECT 1".to_owned()));
        }
    }
    let online = if dialect.on_duplicate_key { ", LOCK=NONE" } else { "" };
    found.push((
        format!("ALTER TABLE {table} DROP COLUMN {own}{online}"),
        format!("ALTER TABLE {table} ADD COLUMN {own} {}", column.type_name),
    ));
    found
}

/// A table of the same columns.
fn shape_of(object: &OldObject, shape: &OldShape, dialect: &Dialect) -> String {
    let columns = shape.table(&object.table).and_then(|table| table.table.as_ref());
    let columns = columns.map_or(&[][..], |table| &table.columns).iter().map(|column| {
        let null = if column.nullable { "" } else { " NOT NULL" };
        format!("{} {}{null}", quoted(&column.name, dialect), column.type_name)
    });
    let columns: Vec<String> = columns.collect();
    format!("CREATE TABLE {} ({})", quoted_table(&object.table_name(), dialect), columns.join(", "))
}
