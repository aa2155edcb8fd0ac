//! Samples of mismatches in the control tables.

use crate::compare::Shown;
use crate::control::{Mismatch, Sample};
use crate::database::{SqlRow, SqlValue};
use crate::shadow::samples::{SAMPLES_MAX, has_room};

/// How many there are, and how many of one field.
pub(super) fn room() -> &'static str {
    "SELECT count(*), \
     (SELECT count(*) FROM dualwrite_mismatch f WHERE f.migration = ? AND f.field = ?) \
     FROM dualwrite_mismatch WHERE migration = ?"
}

pub(super) fn room_values(name: &str, sample: &Sample) -> [SqlValue; 3] {
    [name.into(), sample.field.as_str().into(), name.into()]
}

pub(super) fn has_room_in(rows: &[SqlRow]) -> sqlx::Result<bool> {
    let Some(row) = rows.first() else { return Ok(false) };
    let count = |column| row.unsigned(column).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    Ok(has_room(count(0)?, count(1)?))
}

pub(super) fn insert() -> &'static str {
    "INSERT INTO dualwrite_mismatch \
     (migration, method, field, key_text, old_shown, new_shown, at) VALUES (?, ?, ?, ?, ?, ?, {now})"
}

pub(super) fn values(name: &str, sample: &Sample) -> [SqlValue; 6] {
    let shown = |shown: &Option<Shown>| SqlValue::Text(shown.as_ref().map(ToString::to_string));
    [
        name.into(),
        sample.method.as_str().into(),
        sample.field.as_str().into(),
        SqlValue::Text(sample.key.as_ref().map(|key| key.0.clone())),
        shown(&sample.old),
        shown(&sample.new),
    ]
}

pub(super) fn read() -> String {
    format!(
        "SELECT method, field, key_text, old_shown, new_shown, at FROM dualwrite_mismatch \
         WHERE migration = ? ORDER BY id LIMIT {SAMPLES_MAX}"
    )
}

pub(super) fn mismatch_of(row: &SqlRow) -> sqlx::Result<Mismatch> {
    Ok(Mismatch {
        method: row.text(0)?.to_owned(),
        field: row.text(1)?.to_owned(),
        key: row.optional_text(2)?.map(str::to_owned),
        old: row.optional_text(3)?.map(Shown::stored),
        new: row.optional_text(4)?.map(Shown::stored),
        at: row.moment(5)?,
    })
}
