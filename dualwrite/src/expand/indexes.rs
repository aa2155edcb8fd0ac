//! The indexes that reads of new need: those of old said of the new columns, and those that are declared. Pure.

use super::declared::{Expand, NewIndex};
use super::image::{alike, image, mentions};
use super::need::{Need, Place};
use super::shape::{IndexDef, Known, NewShape};
use super::spell::{Step, columns, create_index, drop_invalid, named};
use crate::database::Dialect;
use crate::preflight::finding::FindingLevel::{Refuse, Warn};

/// The new columns of one table that stand for one old column each.
pub(crate) struct Images<'e> {
    pub(crate) table: &'e str,
    /// Old, new, and whether the type is that of old.
    pub(crate) pairs: Vec<(&'e str, &'e str, bool)>,
}

impl<'e> Images<'e> {
    pub(crate) fn of(expand: &'e Expand) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for column in expand.columns().iter().filter(|column| column.alone) {
            let Some(old) = column.old.first() else { continue };
            let pair = (&**old, &*column.name, column.renamed().is_some());
            match found.iter_mut().find(|images| images.table == column.table) {
                Some(images) => images.pairs.push(pair),
                None => found.push(Self { table: &column.table, pairs: vec![pair] }),
            }
        }
        found
    }

    /// A definition said of the new columns; `None` where it names no old one.
    pub(crate) fn image(&self, text: &str, dialect: &Dialect) -> Option<String> {
        let meant: Vec<_> = self.pairs.iter().filter(|(old, ..)| mentions(text, old)).collect();
        if meant.is_empty() {
            return None;
        }
        // In two steps, for one old column may have the name of another new one.
        let mark = |number: usize| format!("dualwrite_mark_{number}_x");
        let marked = meant.iter().enumerate().fold(text.to_owned(), |text, (number, (old, ..))| {
            image(&text, old, &mark(number), dialect.quote)
        });
        Some(meant.iter().enumerate().fold(marked, |text, (number, (_, new, _))| {
            image(&text, &mark(number), new, dialect.quote)
        }))
    }

    /// Whether it names an old column whose new one has another type.
    pub(crate) fn is_retyped(&self, text: &str) -> bool {
        self.pairs.iter().any(|(old, _, same)| !same && mentions(text, old))
    }

    /// The new columns that an old definition is about.
    pub(crate) fn news(&self, text: &str) -> Vec<&'e str> {
        let meant = self.pairs.iter().filter(|(old, ..)| mentions(text, old));
        meant.map(|(_, new, _)| *new).collect()
    }
}

/// What is missing of all indexes.
pub(crate) fn needs(expand: &Expand, shape: &NewShape, dialect: &Dialect, found: &mut Vec<Need>) {
    let images = Images::of(expand);
    for images in &images {
        let Some(known) = shape.table(images.table) else { continue };
        for index in &known.indexes {
            if !expand.is_left_out(&index.name) {
                of_old(images, known, index, dialect, found);
            }
        }
    }
    for index in expand.indexes() {
        declared(index, expand, shape, dialect, found);
    }
    for new in expand.columns() {
        let Some(known) = shape.table(&new.table) else { continue };
        let images = images.iter().find(|images| images.table == new.table);
        stricter(expand, &new.name, images, (&new.table, known), dialect, found);
    }
}

/// An index of old, said of the new columns.
fn of_old(
    images: &Images<'_>,
    known: &Known,
    index: &IndexDef,
    dialect: &Dialect,
    found: &mut Vec<Need>,
) {
    let Some(body) = images.image(&index.body, dialect) else { return };
    let news = images.news(&index.body);
    let at = Place::new(images.table, news.first().copied());
    let plain = known.table.indexes.iter().find(|one| one.name == index.name);
    let plain = plain.filter(|one| one.columns.iter().all(|column| !column.is_empty()));
    let kind = if index.unique { "unique index" } else { "index" };
    if images.is_retyped(&index.body) && plain.is_none() {
        let why = format!(
            "the old column is in the {kind} {}, which covers an expression or a part of the rows; the new column has another type, so no such index is generated",
            index.name
        );
        let action = "make such an index for reads of the new column, where they need it";
        found.push(at.need("expand_index", Warn, why, action));
        return;
    }
    let same =
        known.indexes.iter().find(|one| alike(&one.body, &body) && (one.unique || !index.unique));
    let leads = || {
        let Some(plain) = plain.filter(|_| !index.unique) else { return false };
        let wanted: Vec<String> = plain.columns.iter().map(|own| renamed(images, own)).collect();
        leads(known, &wanted, false)
    };
    let name = named(images.table, &[&*index.name, news.join("_").as_str()], "new");
    let step = || create_index(images.table, &name, index.unique, &body, dialect);
    match same {
        Some(one) if !one.valid => found.push(invalid(&at, images.table, one, step(), dialect)),
        Some(_) => {}
        None if leads() => {}
        None => {
            let why = format!(
                "the old column has the {kind} {}, and the new one has none like it",
                index.name
            );
            found.push(at.with_steps("expand_index", Refuse, why, vec![step()]));
        }
    }
}

fn renamed(images: &Images<'_>, own: &str) -> String {
    let pair = images.pairs.iter().find(|(old, ..)| old.eq_ignore_ascii_case(own));
    pair.map_or(own, |(_, new, _)| new).to_owned()
}

fn invalid(at: &Place<'_>, table: &str, index: &IndexDef, step: Step, dialect: &Dialect) -> Need {
    let why = format!(
        "the index {} is not valid: CREATE INDEX CONCURRENTLY has failed, or still runs",
        index.name
    );
    at.with_steps(
        "expand_index",
        Refuse,
        why,
        vec![drop_invalid(table, &index.name, dialect), step],
    )
}

/// Whether an index leads through these columns in their order.
fn leads(known: &Known, columns: &[String], unique: bool) -> bool {
    known.table.indexes.iter().any(|index| {
        let same = |(own, wanted): (&String, &String)| own.eq_ignore_ascii_case(wanted);
        let leads =
            index.columns.len() >= columns.len() && index.columns.iter().zip(columns).all(same);
        leads && (!unique || index.unique && index.columns.len() == columns.len())
    })
}

fn declared(
    index: &NewIndex,
    expand: &Expand,
    shape: &NewShape,
    dialect: &Dialect,
    found: &mut Vec<Need>,
) {
    let at = Place::new(&index.table, index.columns.first().map(String::as_str));
    let known = shape.table(&index.table);
    let made = expand.tables().iter().any(|table| table.name == index.table);
    if known.is_none() && !made {
        let action = "name a table that is there, or one that is declared with `table`";
        found.push(at.table().need("expand_table", Refuse, "there is no such table", action));
        return;
    }
    if known.is_some_and(|known| leads(known, &index.columns, index.unique)) {
        return;
    }
    let parts: Vec<&str> = index.columns.iter().map(String::as_str).collect();
    let body = format!("({})", columns(parts.iter().copied(), dialect));
    let name = named(&index.table, &parts, if index.unique { "key" } else { "idx" });
    let step = create_index(&index.table, &name, index.unique, &body, dialect);
    let broken =
        known.and_then(|known| known.indexes.iter().find(|one| one.name == name && !one.valid));
    if let Some(broken) = broken {
        found.push(invalid(&at, &index.table, broken, step, dialect));
        return;
    }
    let kind = if index.unique { "unique index" } else { "index" };
    let why = format!("the {kind} over ({}) that is declared is not there", parts.join(", "));
    found.push(at.with_steps("expand_index", Refuse, why, vec![step]));
}

/// A unique index of new that old does not have refuses rows which old takes.
fn stricter(
    expand: &Expand,
    new: &str,
    images: Option<&Images<'_>>,
    (table, known): (&str, &Known),
    dialect: &Dialect,
    found: &mut Vec<Need>,
) {
    let of_old = |index: &IndexDef| {
        images.is_some_and(|images| {
            let olds = known.indexes.iter().filter(|old| old.unique);
            let mut said = olds.filter_map(|old| images.image(&old.body, dialect));
            said.any(|body| alike(&body, &index.body))
        })
    };
    let plain = |index: &IndexDef| known.table.indexes.iter().find(|one| one.name == index.name);
    let wanted = |index: &IndexDef| {
        expand.indexes().iter().any(|one| {
            let columns = plain(index).map_or(&[][..], |plain| &plain.columns);
            one.unique
                && one.table == table
                && columns.len() == one.columns.len()
                && columns.iter().zip(&one.columns).all(|(a, b)| a.eq_ignore_ascii_case(b))
        })
    };
    for index in known.indexes.iter().filter(|index| index.unique && mentions(&index.body, new)) {
        if !of_old(index) && !wanted(index) {
            let why =
                format!("the unique index {} refuses rows that the old side takes", index.name);
            let action =
                "drop it; or declare it with `unique`, if the old side cannot hold such rows";
            found.push(Place::new(table, Some(new)).need("expand_unique", Refuse, why, action));
        }
    }
}
