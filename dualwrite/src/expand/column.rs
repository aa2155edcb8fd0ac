//! One new column of an old table: whether it is there, and can hold what the old ones hold. Pure.

use super::declared::NewColumn;
use super::need::{Need, Place};
use super::rules;
use super::shape::{Known, NewShape};
use super::spell::{Step, add_column, table, type_of};
use super::types::{Fit, fits, other_collation, too_narrow};
use crate::contract::relax::{quoted, statement};
use crate::database::Dialect;
use crate::expand::names::{Kind, table_name};
use crate::preflight::finding::FindingLevel::{Refuse, Warn};
use crate::preflight::schema::Column;

/// What is missing of it.
pub(crate) fn needs(new: &NewColumn, shape: &NewShape, dialect: &Dialect, found: &mut Vec<Need>) {
    let at = Place::new(&new.table, Some(&new.name));
    let Some(known) = shape.table(&new.table) else {
        let why = "there is no such table, and its columns are declared as old";
        found.push(at.table().need(
            "expand_table",
            Refuse,
            why,
            "name the table that old rows are in",
        ));
        return;
    };
    for old in new.old.iter().filter(|old| known.column(old).is_none()) {
        let why = "it is declared as old, and the table has no such column";
        let at = Place::new(&new.table, Some(old));
        found.push(at.need("expand_old", Refuse, why, "name a column of the table"));
    }
    let olds: Vec<&Column> = new.old.iter().filter_map(|old| known.column(old)).collect();
    let (Some(first), true) = (olds.first(), olds.len() == new.old.len()) else { return };
    match known.column(&new.name) {
        Some(column) => there(new, column, &olds, dialect, found),
        None => found.push(missing(new, first, known, dialect)),
    }
}

fn missing(new: &NewColumn, old: &Column, known: &Known, dialect: &Dialect) -> Need {
    let (kind, rules) = match &new.kind {
        Kind::Sql(kind) => (kind.clone(), Vec::new()),
        Kind::OfOld | Kind::Undeclared => {
            (type_of(old, dialect), rules::inline(new, known, dialect))
        }
    };
    let step = add_column(&new.table, &new.name, &kind, &rules, dialect);
    let why = "the new column is not there, so every write to the new side would fail";
    Place::new(&new.table, Some(&new.name)).with_steps("expand_missing", Refuse, why, vec![step])
}

fn there(
    new: &NewColumn,
    column: &Column,
    olds: &[&Column],
    dialect: &Dialect,
    found: &mut Vec<Need>,
) {
    let at = Place::new(&new.table, Some(&new.name));
    if column.is_generated {
        let why = "the new column is generated, so nobody can write it";
        found.push(at.need("expand_generated", Refuse, why, "make it a plain column"));
    }
    nullability(new, column, olds, dialect, found);
    if has_default(column) {
        let why = "the new column has a default, so rows that only the old side has look as if they were copied";
        let action = "set the default when everything is copied, and drop it until then";
        found.push(at.need("expand_default", Warn, why, action));
    }
    match (&new.kind, olds) {
        (Kind::Sql(kind), _) => declared_type(&at, kind, column, dialect, found),
        (_, [old]) => type_of_old(new, old, column, dialect, found),
        _ => {}
    }
}

/// MariaDB says the default of a nullable column that has none.
fn has_default(column: &Column) -> bool {
    column.default.as_deref().is_some_and(|default| !default.eq_ignore_ascii_case("null"))
}

fn nullability(
    new: &NewColumn,
    column: &Column,
    olds: &[&Column],
    dialect: &Dialect,
    found: &mut Vec<Need>,
) {
    let at = Place::new(&new.table, Some(&new.name));
    let fills_itself = has_default(column) || column.is_generated || !column.extra.is_empty();
    if column.nullable || column.is_generated {
        return;
    }
    let takes_null = olds.iter().any(|old| old.nullable);
    let (level, why) = match (fills_itself, takes_null) {
        (false, _) => (
            Refuse,
            "the new column is NOT NULL without a default, so an INSERT that writes only the old side is refused",
        ),
        (true, true) if new.renamed().is_some() => {
            (Refuse, "the new column is NOT NULL, and the old one takes NULL")
        }
        (true, true) => (
            Warn,
            "the new column is NOT NULL, and an old one takes NULL: rows whose conversion answers NULL are refused",
        ),
        (true, false) => return,
    };
    match statement(&table_name(&new.table), column, dialect) {
        Some(up) => {
            let step = Step::new(
                format!("nullable_{}", super::spell::slug(&new.name)),
                up,
                super::spell::NOTHING.into(),
            );
            found.push(at.with_steps("expand_not_null", level, why, vec![step]));
        }
        None => {
            let action = "this database cannot relax it in place: drop the new column and add it without NOT NULL";
            found.push(at.need("expand_not_null", level, why, action));
        }
    }
}

fn declared_type(
    at: &Place<'_>,
    kind: &str,
    column: &Column,
    dialect: &Dialect,
    found: &mut Vec<Need>,
) {
    let has = &column.type_name;
    match fits(kind, column, dialect) {
        Fit::Same => {}
        Fit::Other => {
            let why = format!("the new column is {has}, and `{kind}` is declared");
            let action = format!("declare `{has}`, or drop the column and add it as `{kind}`");
            found.push(at.need("expand_type", Refuse, why, action));
        }
        Fit::Unknown => {
            let why =
                format!("the new column is {has}, and `{kind}` is declared, which may be the same");
            found.push(at.need(
                "expand_type",
                Warn,
                why,
                "look whether it holds the converted values",
            ));
        }
    }
}

fn type_of_old(
    new: &NewColumn,
    old: &Column,
    column: &Column,
    dialect: &Dialect,
    found: &mut Vec<Need>,
) {
    let at = Place::new(&new.table, Some(&new.name));
    if let Some(why) = too_narrow(old, column) {
        let why = format!(
            "the new column is {}, and the old column {} is {}: {why}",
            column.type_name, old.name, old.type_name
        );
        let kind = type_of(old, dialect);
        let (table, name) = (table(&new.table, dialect), quoted(&new.name, dialect));
        let action = match (dialect.numbered, dialect.on_duplicate_key) {
            (true, _) => format!(
                "while nothing is in it, run: ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind}"
            ),
            (_, true) => format!(
                "while nothing is in it, run: ALTER TABLE {table} MODIFY COLUMN {name} {kind} NULL"
            ),
            _ => format!("drop it, and run: ALTER TABLE {table} ADD COLUMN {name} {kind}"),
        };
        found.push(at.need("expand_narrow", Refuse, why, action));
    } else if let Some(why) = other_collation(old, column) {
        let action = "give both columns one collation, unless the change is wanted";
        found.push(at.need("expand_collation", Warn, why, action));
    }
}
