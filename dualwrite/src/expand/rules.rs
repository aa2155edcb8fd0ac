//! Checks and foreign keys: those of old said of the new columns, and those of new that old does not have. Pure.

use super::declared::{Expand, NewColumn};
use super::image::{alike, image, mentions};
use super::indexes::Images;
use super::need::{Need, Place};
use super::shape::{Known, NewShape, RuleDef};
use super::spell::{add_rule, named, validate};
use crate::database::Dialect;
use crate::preflight::finding::FindingLevel::{Refuse, Warn};

/// The part of a rule that names columns of its own table, and the rest.
fn own_part(text: &str) -> (&str, &str) {
    match text.find(" REFERENCES ") {
        Some(at) if text.starts_with("FOREIGN KEY") => text.split_at(at),
        _ => (text, ""),
    }
}

/// A rule of old, said of the new columns.
fn said(images: &Images<'_>, rule: &RuleDef, dialect: &Dialect) -> Option<String> {
    let (own, rest) = own_part(&rule.text);
    if images.is_retyped(own) {
        return None;
    }
    Some(images.image(own, dialect)? + rest)
}

/// What SQLite takes behind the type of a column that is added: it cannot add a rule later.
pub(crate) fn inline(new: &NewColumn, known: &Known, dialect: &Dialect) -> Vec<String> {
    let Some(old) = new.renamed().filter(|_| !dialect.server) else { return Vec::new() };
    let checks = known.rules.iter().filter(|rule| !rule.is_foreign_key());
    let checks = checks.filter(|rule| mentions(&rule.text, old));
    checks.map(|rule| image(&rule.text, old, &new.name, dialect.quote)).collect()
}

/// What is missing of all rules, and which are too strict.
pub(crate) fn needs(expand: &Expand, shape: &NewShape, dialect: &Dialect, found: &mut Vec<Need>) {
    let images = Images::of(expand);
    for images in &images {
        let Some(known) = shape.table(images.table) else { continue };
        for rule in &known.rules {
            of_old(images, known, rule, dialect, found);
        }
    }
    for new in expand.columns() {
        let Some(known) = shape.table(&new.table) else { continue };
        let images = images.iter().find(|images| images.table == new.table);
        stricter(new, known, images, dialect, found);
    }
}

fn of_old(
    images: &Images<'_>,
    known: &Known,
    rule: &RuleDef,
    dialect: &Dialect,
    found: &mut Vec<Need>,
) {
    let Some(text) = said(images, rule, dialect) else { return };
    let news = images.news(own_part(&rule.text).0);
    let at = Place::new(images.table, news.first().copied());
    let what = if rule.is_foreign_key() { "foreign key" } else { "check" };
    match known.rules.iter().find(|one| alike(&one.text, &text)) {
        Some(one) if one.valid || !rule.valid => {}
        Some(one) => {
            let why = format!("the {what} {} has not been validated", one.name);
            let steps = vec![validate(images.table, &one.name, dialect)];
            found.push(at.with_steps("expand_rule", Warn, why, steps));
        }
        None if dialect.numbered => {
            let end = if rule.is_foreign_key() { "fk" } else { "check" };
            let name = named(images.table, &[&*rule.name, &news.join("_")], end);
            let steps = add_rule(images.table, &name, &text, dialect).into();
            let why =
                format!("the old column has the {what} {}, and the new one has none", rule.name);
            found.push(at.with_steps("expand_rule", Warn, why, steps));
        }
        None => without(images, known, rule, &at, dialect, found),
    }
}

/// Where a rule cannot be added beside writers. On SQLite a check comes with its column.
fn without(
    images: &Images<'_>,
    known: &Known,
    rule: &RuleDef,
    at: &Place<'_>,
    dialect: &Dialect,
    found: &mut Vec<Need>,
) {
    let news = images.news(own_part(&rule.text).0);
    let comes = !dialect.server && !rule.is_foreign_key();
    if comes && news.iter().any(|new| known.column(new).is_none()) {
        return;
    }
    let what = if rule.is_foreign_key() { "foreign key" } else { "check" };
    let why = format!(
        "the old column has a {what} ({}), and the new one has none: this database cannot add one without blocking writers",
        rule.text
    );
    let action = "until then the old column enforces it on every write; add it when the old column is dropped, or \
                  check in the application";
    found.push(at.need("expand_rule", Warn, why, action));
}

fn stricter(
    new: &NewColumn,
    known: &Known,
    images: Option<&Images<'_>>,
    dialect: &Dialect,
    found: &mut Vec<Need>,
) {
    for rule in known.rules.iter().filter(|rule| mentions(own_part(&rule.text).0, &new.name)) {
        let of_old = images.is_some_and(|images| {
            known.rules.iter().any(|old| {
                said(images, old, dialect).is_some_and(|text| alike(&text, &rule.text))
                    // A check that came with its column names the other new ones by their old names.
                    || new.renamed().is_some_and(|name| {
                        alike(&image(&old.text, name, &new.name, dialect.quote), &rule.text)
                            && mentions(&old.text, name)
                    })
            })
        });
        if of_old {
            continue;
        }
        let what = if rule.is_foreign_key() { "foreign key" } else { "check" };
        let level = if new.renamed().is_some() { Refuse } else { Warn };
        let why = format!(
            "the {what} {} ({}) refuses values that the old side may hold",
            rule.name, rule.text
        );
        let action = "drop it; or make sure that every converted value passes it";
        found.push(Place::new(&new.table, Some(&new.name)).need("expand_rule", level, why, action));
    }
}
