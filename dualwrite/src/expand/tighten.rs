//! What the new columns get once everything is copied: NOT NULL, and defaults. Pure.

use super::declared::{Expand, NewColumn};
use super::names::is_literal;
use super::need::{Need, Place};
use super::shape::NewShape;
use super::spell::{NOTHING, Step, named, slug, table, type_of};
use crate::contract::relax::quoted;
use crate::database::Dialect;
use crate::preflight::finding::FindingLevel::Warn;
use crate::preflight::schema::Column;

/// The statements for every new column that is to be stricter, and does not have that yet.
pub(crate) fn tightening(expand: &Expand, shape: &NewShape, dialect: &Dialect) -> Vec<Need> {
    let mut found = Vec::new();
    for new in expand.columns() {
        let Some(known) = shape.table(&new.table) else { continue };
        let Some(column) = known.column(&new.name) else {
            let why = "the new column is not there";
            let at = Place::new(&new.table, Some(&new.name));
            found.push(at.need("tighten_missing", Warn, why, "run the files of the expand first"));
            continue;
        };
        let old = new.renamed().and_then(|old| known.column(old));
        one(expand, new, column, old, dialect, &mut found);
    }
    found
}

/// The columns that are to take no NULL, as their tables and names are declared.
pub(crate) fn not_null<'e>(expand: &'e Expand, shape: &NewShape) -> Vec<(&'e str, &'e str)> {
    let wanted = expand.columns().iter().filter(|new| {
        let Some(known) = shape.table(&new.table) else { return false };
        let old = new.renamed().and_then(|old| known.column(old));
        known.column(&new.name).is_some_and(|column| column.nullable) && is_wanted(expand, new, old)
    });
    wanted.map(|new| (&*new.table, &*new.name)).collect()
}

/// Declared, or so is the old column of which this is another name.
fn is_wanted(expand: &Expand, new: &NewColumn, old: Option<&Column>) -> bool {
    expand.is_not_null(&new.name) || old.is_some_and(|old| !old.nullable)
}

fn has_default(column: &Column) -> bool {
    column.default.as_deref().is_some_and(|default| !default.eq_ignore_ascii_case("null"))
}

fn one(
    expand: &Expand,
    new: &NewColumn,
    column: &Column,
    old: Option<&Column>,
    dialect: &Dialect,
    found: &mut Vec<Need>,
) {
    let at = Place::new(&new.table, Some(&new.name));
    let of_old = old.filter(|old| has_default(old)).and_then(|old| old.default.clone());
    let declared = expand.default_of(&new.name).map(str::to_owned);
    let default = match (declared, of_old) {
        _ if has_default(column) => None,
        (Some(default), _) => Some(default),
        (None, Some(default)) if is_literal(&default) || dialect.numbered => Some(default),
        (None, Some(_)) => {
            let why = "the old column has a default that cannot be taken over as it is written";
            let action = format!("declare it: `.default_value(\"{}\", \"…\")`", new.name);
            found.push(at.need("tighten_default", Warn, why, action));
            None
        }
        (None, None) => None,
    };
    let strict = column.nullable && is_wanted(expand, new, old);
    if default.is_none() && !strict {
        return;
    }
    let steps = match (dialect.numbered, dialect.on_duplicate_key) {
        (true, _) => postgres(new, default.as_deref(), strict, dialect),
        (_, true) => mysql(new, column, default.as_deref(), strict, dialect),
        _ => {
            let why = "this database sets neither NOT NULL nor a default of a column that is there";
            let action = "rebuild the table with it, or let the code that writes see to it";
            found.push(at.need("tighten_not_null", Warn, why, action));
            return;
        }
    };
    let why = "everything is copied, so the new column can be as strict as the old one";
    found.push(at.with_steps("tighten", Warn, why, steps));
}

/// A check that is validated beside writers spares the scan under the lock.
fn postgres(new: &NewColumn, default: Option<&str>, strict: bool, dialect: &Dialect) -> Vec<Step> {
    let (on, own) = (table(&new.table, dialect), quoted(&new.name, dialect));
    let mut steps = Vec::new();
    if let Some(default) = default {
        steps.push(Step::new(
            format!("default_{}", slug(&new.name)),
            format!("ALTER TABLE {on} ALTER COLUMN {own} SET DEFAULT {default}"),
            format!("ALTER TABLE {on} ALTER COLUMN {own} DROP DEFAULT"),
        ));
    }
    if strict {
        let check = quoted(&named(&new.table, &[&new.name], "not_null"), dialect);
        let drop = format!("ALTER TABLE {on} DROP CONSTRAINT {check}");
        steps.push(
            Step::new(
                format!("check_{}", slug(&new.name)),
                format!(
                    "ALTER TABLE {on} ADD CONSTRAINT {check} CHECK ({own} IS NOT NULL) NOT VALID"
                ),
                format!("ALTER TABLE {on} DROP CONSTRAINT IF EXISTS {check}"),
            )
            .allowing("add-check-not-null"),
        );
        steps.push(Step::new(
            format!("validate_{}", slug(&new.name)),
            format!("ALTER TABLE {on} VALIDATE CONSTRAINT {check}"),
            NOTHING.into(),
        ));
        steps.push(
            Step::new(
                format!("not_null_{}", slug(&new.name)),
                format!("ALTER TABLE {on} ALTER COLUMN {own} SET NOT NULL"),
                format!("ALTER TABLE {on} ALTER COLUMN {own} DROP NOT NULL"),
            )
            .allowing("set-not-null"),
        );
        steps.push(Step::new(format!("uncheck_{}", slug(&new.name)), drop, NOTHING.into()));
    }
    steps
}

/// One statement for both: what is not said again is gone.
fn mysql(
    new: &NewColumn,
    column: &Column,
    default: Option<&str>,
    strict: bool,
    dialect: &Dialect,
) -> Vec<Step> {
    let (on, own) = (table(&new.table, dialect), quoted(&new.name, dialect));
    if !strict {
        let default = default.unwrap_or("NULL");
        return vec![Step::new(
            format!("default_{}", slug(&new.name)),
            format!("ALTER TABLE {on} ALTER COLUMN {own} SET DEFAULT {default}"),
            format!("ALTER TABLE {on} ALTER COLUMN {own} DROP DEFAULT"),
        )];
    }
    let kind = type_of(column, dialect);
    let kept = column.default.as_deref().filter(|_| has_default(column));
    let default = default.or(kept).map(|default| format!(" DEFAULT {default}"));
    let default = default.unwrap_or_default();
    vec![Step::new(
        format!("not_null_{}", slug(&new.name)),
        format!("ALTER TABLE {on} MODIFY COLUMN {own} {kind} NOT NULL{default}, ALGORITHM=INPLACE, LOCK=NONE"),
        format!("ALTER TABLE {on} MODIFY COLUMN {own} {kind} NULL, ALGORITHM=INPLACE, LOCK=NONE"),
    )
    .allowing("set-not-null")]
}
