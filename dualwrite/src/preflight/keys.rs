//! What the catalogue says of the columns of a key: their types, order, nullability and length. Pure.

use super::finding::{Finding, FindingLevel};
use super::schema::{Column, SideSchema, Subject};
use crate::key::{KEY_BYTES_MAX, KeyKind};
use crate::preflight::form::{KeyForm, Unfit};
use crate::stages::stage::Side;

type FormOf = fn(&Column, KeyKind) -> Result<KeyForm, Unfit>;

/// The forms of the columns of a side, where all are there and fit; and what does not. `old_fits` says of the new side
/// that the old one has keys of this kind.
pub(crate) fn forms(
    side: &SideSchema,
    kind: KeyKind,
    old_fits: bool,
    form_of: FormOf,
    found: &mut Vec<Finding>,
) -> Option<Vec<KeyForm>> {
    side.table.as_ref()?;
    let mut forms = Vec::new();
    let may_repeat = !side.is_key_unique();
    for (name, kind) in side.key.iter().zip(kind.columns()) {
        let Some(column) = side.column(name) else {
            let why =
                "the table has no such column, and the copy function names it as a part of the key";
            found.push(refuse("key_column", side, name, why, "name a column of the table"));
            continue;
        };
        match form_of(column, kind) {
            Ok(form) => {
                let is_table = side.table.as_ref().is_some_and(|table| !table.is_view);
                let nullable = column.nullable && is_table;
                forms.push(KeyForm { nullable, may_repeat, ..form });
            }
            Err(_) if side.side == Side::New && old_fits && holds_another(column, form_of) => {
                let why = format!(
                    "the key of the old table is {kind}, and this column is of the type {}: the library pairs rows by a \
                     key that both tables have, and a key that changes is another one",
                    column.type_name
                );
                found.push(refuse("key_change", side, name, why, KEY_CHANGE));
            }
            Err(Unfit { why, action }) => {
                found.push(refuse("key_type", side, name, why, action));
            }
        }
    }
    (forms.len() == side.key.len()).then_some(forms)
}

/// The way round.
const KEY_CHANGE: &str = "keep the old key as a column of the new table, NOT NULL and unique, and name that one in \
                          `new_source`; the guide `limits` has the steps under \"Keys that change\"";

/// Whether the column would be a key of another kind.
fn holds_another(column: &Column, form_of: FormOf) -> bool {
    [KeyKind::INTEGER, KeyKind::TEXT, KeyKind::UUID, KeyKind::BYTES]
        .into_iter()
        .any(|kind| form_of(column, kind).is_ok())
}

/// The name of the check below.
pub(crate) const CHANGED: &str = "key_changed";

/// Key columns that are not what they were when this process learned of them. It goes on by what it knew: only a new
/// start learns anew.
pub(crate) fn changed(
    side: &SideSchema,
    (before, now): (&[KeyForm], &[KeyForm]),
    found: &mut Vec<Finding>,
) {
    for (name, (before, now)) in side.key.iter().zip(before.iter().zip(now)) {
        let is_same =
            KeyForm { nullable: before.nullable, may_repeat: before.may_repeat, ..now.clone() }
                == *before;
        if is_same || now.is_unsettled {
            continue;
        }
        let why = "its type or collation was changed since this instance started, which still reads, binds and compares \
                   it as it was: rows may be left out, or taken for others";
        let action = "restart every instance, give `install_trigger` again where it was given, and then run the backfill \
                      and the verification again";
        found.push(refuse(CHANGED, side, name, why, action));
    }
}

/// What keeps the keys of both sides from being compared.
pub(crate) fn compared(
    (old, new): (&[KeyForm], &[KeyForm]),
    side: &SideSchema,
    elsewhere: bool,
    found: &mut Vec<Finding>,
) {
    for (name, (old, new)) in side.key.iter().zip(old.iter().zip(new)) {
        if old.is_unsettled || new.is_unsettled {
            continue; // the first row will tell
        }
        if old.is_bytes != new.is_bytes {
            let why =
                "the key is bytes in one table and a text in the other, which are never equal";
            let action = "give both columns one type";
            found.push(refuse("key_form", side, name, why, action));
        } else if elsewhere && !old.is_like(new) {
            let why = "the new table is on another server, and its keys have another type or collation, so both \
                       sides sort them otherwise";
            let action = "give both columns one type and collation";
            found.push(refuse("key_order", side, name, why, action));
        } else if new.spelling > old.spelling {
            let why = "this column takes keys for equal that differ in the old table: rows of such keys would \
                       become one, and a verification names them";
            let action =
                "give both columns one collation, or make sure that there are no such keys";
            found.push(at("key_equality", FindingLevel::Warn, side, name, why, action));
        } else if new.spelling < old.spelling {
            let why = "the old table takes keys for equal that differ here: write each key in one spelling, or \
                       the new table gets a row for each";
            let action =
                "give both columns one collation, or normalize keys before they are written";
            found.push(at("key_equality", FindingLevel::Warn, side, name, why, action));
        }
    }
}

fn refuse(
    check: &str,
    side: &SideSchema,
    column: &str,
    why: impl Into<String>,
    action: impl Into<String>,
) -> Finding {
    at(check, FindingLevel::Refuse, side, column, why, action)
}

fn at(
    check: &str,
    level: FindingLevel,
    side: &SideSchema,
    column: &str,
    why: impl Into<String>,
    action: impl Into<String>,
) -> Finding {
    Finding::new(check, level, (side.side, &side.name.to_string(), Some(column)), why, action)
}

/// A row without a key cannot be copied.
pub(crate) fn nullable(subject: &Subject, found: &mut Vec<Finding>) {
    for side in subject.sides() {
        let is_view = side.table.as_ref().is_some_and(|table| table.is_view);
        for name in &side.key {
            let nullable = side.column(name).is_some_and(|column| column.nullable);
            if nullable && !is_view {
                let why = "the column takes NULL, and a row without a key cannot be copied: backfill and \
                           verification stop at the first one";
                let action = "declare the column NOT NULL";
                found.push(at("key_null", FindingLevel::Warn, side, name, why, action));
            }
        }
    }
}

/// Pages follow the order of an index.
pub(crate) fn indexed(subject: &Subject, found: &mut Vec<Finding>) {
    for side in subject.sides() {
        let Some(table) = side.table.as_ref().filter(|table| !table.is_view) else { continue };
        let Some(first) = side.key.first() else { continue };
        let columns = side.key.join(", ");
        if !side.has_key_index(false) {
            let why = format!(
                "no index leads through ({columns}), so each page of keys reads the whole table"
            );
            let action = format!("create a unique index on {} ({columns})", table.name);
            found.push(at("key_index", FindingLevel::Warn, side, first, why, action));
        } else if !side.has_key_index(true) {
            let why =
                format!("no unique index is on ({columns}); two rows of one key are copied as one");
            let action = format!("create a unique index on {} ({columns})", table.name);
            found.push(at("key_unique", FindingLevel::Warn, side, first, why, action));
        }
    }
}

/// A key must fit into the columns of both sides, and into the control tables.
pub(crate) fn same(subject: &Subject, found: &mut Vec<Finding>) {
    let Some(new) = &subject.new else { return };
    for (old_name, new_name) in subject.old.key.iter().zip(&new.key) {
        let (Some(old), Some(other)) = (subject.old.column(old_name), new.column(new_name)) else {
            continue;
        };
        if let (Some(have), Some(room)) = (old.length, other.length)
            && have > room
        {
            let why = format!(
                "keys of the old table have up to {have} characters, and this column takes {room}"
            );
            let action = format!("make the column as long as `{old_name}` of the old table");
            found.push(at("key_length", FindingLevel::Warn, new, new_name, why, action));
        }
    }
    let longest: u64 =
        subject.old.key.iter().filter_map(|name| subject.old.column(name)?.length).sum();
    if let Some(first) = subject.old.key.first()
        && longest > KEY_BYTES_MAX as u64
        && longest < u64::from(u16::MAX)
    {
        let why = format!(
            "a key may have {longest} characters, and the control tables take keys of {KEY_BYTES_MAX} bytes"
        );
        let action = "make sure that no key is that long: one that is cannot be marked or copied";
        found.push(at("key_length", FindingLevel::Note, &subject.old, first, why, action));
    }
}

/// A key that comes with the row is refused there.
pub(crate) fn always_numbered(subject: &Subject, found: &mut Vec<Finding>) {
    let Some(new) = subject.new.as_ref().filter(|new| new.name != subject.old.name) else { return };
    for name in &new.key {
        if new.column(name).is_some_and(|column| column.extra == "identity always") {
            let why = "it is GENERATED ALWAYS AS IDENTITY: the database refuses an INSERT that gives the key of the old \
                       side, unless it says OVERRIDING SYSTEM VALUE";
            let action = "ALTER TABLE … ALTER COLUMN … SET GENERATED BY DEFAULT, or say OVERRIDING SYSTEM VALUE in each \
                          statement that writes the new table";
            found.push(at("key_identity", FindingLevel::Warn, new, name, why, action));
        }
    }
}

#[cfg(test)]
mod tests;
