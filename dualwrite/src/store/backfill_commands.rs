//! Commands to a backfill: the statements that give them to the phases that run. One that comes between two phases,
//! when none runs, is kept in a row of its own, and holds for whichever comes next.

use crate::control::BackfillCommand;
use crate::database::{Dialect, SqlValue};
use crate::stages::stage::Side;
use crate::store::ledger::{Phase, between, limit};

/// The time since the last page was a pause, and is not counted as work.
const GO_ON: &str = "state = 'running', throttled = NULL, progressed_at = {now}";

/// The statements of a command, to be run one after the other until one finds something.
pub(crate) fn give(
    dialect: &Dialect,
    migration: &str,
    side: Side,
    command: BackfillCommand,
) -> Vec<(String, Vec<SqlValue>)> {
    let (set, states, kept) = match command {
        BackfillCommand::Pause => ("state = 'paused'", "'running'", Some("paused")),
        BackfillCommand::Resume => (GO_ON, "'paused', 'cancelled'", None),
        BackfillCommand::GoOn => (GO_ON, "'paused'", None),
        BackfillCommand::Cancel => {
            ("state = 'cancelled', throttled = NULL", "'running', 'paused'", Some("cancelled"))
        }
        BackfillCommand::Rate(rate) => return vec![to_all(migration, side, rate)],
    };
    let running = to_running(migration, side, set, states);
    match kept.map(|state| to_next(dialect, migration, side, state)) {
        // And once more: a phase may have begun meanwhile.
        Some(next) => vec![running.clone(), next, running],
        None => vec![running],
    }
}

/// The column with the generation of a side.
pub(crate) fn generation(side: Side) -> &'static str {
    match side {
        Side::New => "generation",
        Side::Old => "old_generation",
    }
}

fn to_running(migration: &str, side: Side, set: &str, states: &str) -> (String, Vec<SqlValue>) {
    let sql = format!(
        "UPDATE dualwrite_backfill SET {set} WHERE migration = ? AND phase LIKE ? \
         AND state IN ({states}) AND generation = \
         (SELECT m.{} FROM dualwrite_migration m WHERE m.name = ?)",
        generation(side)
    );
    (sql, vec![migration.into(), Phase::of(side), migration.into()])
}

/// A rate is that of the whole, until its last phase is complete.
fn to_all(migration: &str, side: Side, rate: Option<u64>) -> (String, Vec<SqlValue>) {
    let sql = format!(
        "UPDATE dualwrite_backfill SET rate = ? WHERE migration = ? AND phase LIKE ? AND generation = \
         (SELECT m.{} FROM dualwrite_migration m WHERE m.name = ?) AND generation NOT IN \
         (SELECT w.generation FROM (SELECT DISTINCT b.generation FROM dualwrite_backfill b \
         WHERE b.migration = ? AND b.phase = ? AND b.state = 'complete') w)",
        generation(side)
    );
    let values = vec![
        limit(rate),
        migration.into(),
        Phase::of(side),
        migration.into(),
        migration.into(),
        side.as_str().into(),
    ];
    (sql, values)
}

/// Where a phase is complete, and the last one is not, and none runs.
fn to_next(dialect: &Dialect, migration: &str, side: Side, state: &str) -> (String, Vec<SqlValue>) {
    let of_this = "FROM dualwrite_backfill b WHERE b.migration = m.name AND b.generation =";
    let generation = format!("m.{}", generation(side));
    let sql = format!(
        "INSERT INTO dualwrite_backfill (migration, phase, generation, state, total, started_at) \
         SELECT m.name, ?, {generation}, ?, 0, {{now}} FROM dualwrite_migration m WHERE m.name = ? \
         AND EXISTS (SELECT 1 {of_this} {generation} AND b.phase LIKE ? AND b.state = 'complete') \
         AND NOT EXISTS (SELECT 1 {of_this} {generation} AND b.phase LIKE ? \
         AND (b.phase = ? OR b.state <> 'complete')){}",
        dialect.upsert("migration, phase, generation", &[])
    );
    let values = vec![
        between(side).into(),
        state.into(),
        migration.into(),
        Phase::of(side),
        Phase::of(side),
        side.as_str().into(),
    ];
    (sql, values)
}
