//! The row in which a verification keeps how far it has come.

use crate::control::VerifyOrder;
use crate::database::{Dialect, SqlRow, SqlValue};
use crate::error::{Error, ErrorKind};
use crate::verify::decide::{Part, VerifyState};

/// The columns of a [`VerifyState`]; the counters stand beside the report for whoever looks into the table.
const COLUMNS: &str = "generation, old_generation, part, cursor_key, state, compared, differing, \
     transient, report";

/// Makes the row of a migration, or takes it over; who owned it before is superseded.
pub(super) fn begin(dialect: &Dialect) -> String {
    let columns: Vec<&str> = ["owner"]
        .into_iter()
        .chain(COLUMNS.split(", "))
        .chain(["started_at", "recorded_at"])
        .collect();
    format!(
        "INSERT INTO dualwrite_verification (owner, {COLUMNS}, migration, started_at, recorded_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {{now}}, {{now}}){}",
        dialect.upsert("migration", &columns)
    )
}

/// Stores how far it is, for its owner alone. What is complete cannot be cancelled any more.
pub(super) fn record(is_done: bool) -> String {
    let mut set: Vec<String> = COLUMNS.split(", ").map(|column| format!("{column} = ?")).collect();
    if is_done {
        let cancelled = VerifyOrder::Cancel.code();
        set.push(format!("ordered = CASE WHEN ordered = {cancelled} THEN 0 ELSE ordered END"));
    }
    format!(
        "UPDATE dualwrite_verification SET recorded_at = {{now}}, {} WHERE migration = ? AND owner = ?",
        set.join(", ")
    )
}

/// Gives an order; its code is bound, then the migration.
pub(super) fn order(order: VerifyOrder) -> &'static str {
    match order {
        VerifyOrder::Cancel => {
            "UPDATE dualwrite_verification SET ordered = ? WHERE migration = ? AND state = 'running'"
        }
        VerifyOrder::Pause | VerifyOrder::GoOn => {
            "UPDATE dualwrite_verification SET ordered = ? WHERE migration = ?"
        }
    }
}

pub(super) fn read() -> String {
    format!("SELECT {COLUMNS}, owner FROM dualwrite_verification WHERE migration = ?")
}

/// What [`begin`] binds; [`record`] wants the first of them last.
pub(super) fn values(owner: &str, state: &VerifyState, name: &str) -> Result<Vec<SqlValue>, Error> {
    let report = serde_json::to_string(&state.report).map_err(|error| {
        Error::new(ErrorKind::Database, "a report cannot be written").caused_by(error)
    })?;
    let [new, old] = state.generations;
    Ok(vec![
        owner.into(),
        new.into(),
        old.into(),
        state.part.as_str().into(),
        SqlValue::Text(state.cursor.clone()),
        if state.done { "complete".into() } else { "running".into() },
        state.report.compared.into(),
        state.report.differing.into(),
        state.report.transient.into(),
        report.as_str().into(),
        name.into(),
    ])
}

/// A row of [`read`]: the owner and the state.
pub(super) fn owned(row: &SqlRow) -> sqlx::Result<(String, VerifyState)> {
    Ok((row.text(9)?.to_owned(), state_of(row)?))
}

fn state_of(row: &SqlRow) -> sqlx::Result<VerifyState> {
    let report = serde_json::from_str(row.text(8)?);
    Ok(VerifyState {
        generations: [row.unsigned(0)?, row.unsigned(1)?],
        part: Part::named(row.text(2)?),
        cursor: row.optional_text(3)?.map(str::to_owned),
        done: row.text(4)? == "complete",
        report: report.map_err(|error| sqlx::Error::Decode(error.into()))?,
    })
}
