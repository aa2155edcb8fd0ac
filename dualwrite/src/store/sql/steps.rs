//! The statements of what operators do, which one transaction runs and records.

use crate::control::commands::{Compared, JobKind, RecordedChange};
use crate::control::settings::BackfillSetting;
use crate::control::tasks::NewTask;
use crate::control::{BackfillCommand, VerifyCommand};
use crate::database::{Dialect, SqlValue};
use crate::key::EncodedKey;
use crate::rollout::command::NewRolloutCommand;
use crate::stages::position::Percent;
use crate::stages::stage::Side;
use crate::store::backfill_commands;
use crate::store::ledger::{Phase, limit};
use crate::store::sql::{tasks, verification};

/// What fits into the columns of every database.
const TEXT_CHARS_MAX: usize = 2_000;

/// A statement of a change.
pub(super) struct Step {
    pub(super) sql: String,
    pub(super) values: Vec<SqlValue>,
    /// Whether the rows affected say that there was something to take the command.
    pub(super) counts: bool,
    /// It is run only where the statements before have found nothing.
    pub(super) otherwise: bool,
}

impl Step {
    fn counted(sql: impl Into<String>, values: impl Into<Vec<SqlValue>>) -> Self {
        Self { sql: sql.into(), values: values.into(), counts: true, otherwise: false }
    }

    fn uncounted(sql: impl Into<String>, values: impl Into<Vec<SqlValue>>) -> Self {
        Self { counts: false, ..Self::counted(sql, values) }
    }
}

/// A text, cut to what fits.
pub(super) fn text(text: &str) -> SqlValue {
    SqlValue::Text(Some(text.chars().take(TEXT_CHARS_MAX).collect()))
}

/// The statements of a change.
pub(super) fn steps(
    dialect: &Dialect,
    name: &str,
    change: &RecordedChange,
    audit: &NewRolloutCommand,
) -> Vec<Step> {
    let own = || vec![SqlValue::from(name)];
    match change {
        RecordedChange::Kill => vec![kill(dialect, name, audit)],
        RecordedChange::Unkill => {
            vec![Step::counted("DELETE FROM dualwrite_kill WHERE migration = ?", own())]
        }
        RecordedChange::Waive(side, key) => vec![waive(name, *side, key, audit)],
        RecordedChange::ForgetSamples => {
            vec![Step::counted("DELETE FROM dualwrite_mismatch WHERE migration = ?", own())]
        }
        RecordedChange::Sample(of, share) => sample(dialect, name, *of, *share).into(),
        RecordedChange::StopWriter(writer) => vec![stop_writer(name, writer, audit)],
        RecordedChange::ReadCatalogue => {
            start(dialect, name, (JobKind::Catalogue.as_str(), None), None, audit)
        }
        RecordedChange::Verification(ordered) => vec![command_verification(name, *ordered)],
        RecordedChange::Job(kind, key) => start_job(dialect, name, *kind, key.as_ref(), audit),
        RecordedChange::StartBackfill(task) => start_backfill(dialect, name, task, audit),
        RecordedChange::Tune(side, set) => set
            .iter()
            .map(|(setting, value)| tune(dialect, name, *side, *setting, *value))
            .collect(),
        RecordedChange::Backfill(side, ordered) => {
            command_backfill(dialect, name, *side, *ordered, true)
        }
        // It is no such change: see `maintain`.
        RecordedChange::Maintain(_) => Vec::new(),
    }
}

/// Sets the kill switch.
fn kill(dialect: &Dialect, name: &str, audit: &NewRolloutCommand) -> Step {
    let sql = format!(
        "INSERT INTO dualwrite_kill (migration, actor, reason, at) VALUES (?, ?, ?, {{now}}){}",
        dialect.upsert("migration", &["actor", "reason", "at"])
    );
    Step::counted(sql, [name.into(), audit.actor.as_str().into(), text(&audit.reason)])
}

/// Waives a dead letter.
fn waive(name: &str, side: Side, key: &EncodedKey, audit: &NewRolloutCommand) -> Step {
    let sql = "UPDATE dualwrite_failure SET waived_by = ?, waived_because = ?, \
               waived_at = {now} WHERE migration = ? AND side = ? AND key_text = ?";
    let values = [
        audit.actor.as_str().into(),
        text(&audit.reason),
        name.into(),
        side.as_str().into(),
        key.0.as_str().into(),
    ];
    Step::counted(sql, values)
}

/// Sets the share of calls that are compared; `None` leaves it to each service.
fn sample(dialect: &Dialect, name: &str, of: Compared, share: Option<Percent>) -> [Step; 2] {
    let column = match of {
        Compared::Reads => "read_share",
        Compared::Writes => "write_share",
    };
    let add = format!(
        "INSERT INTO dualwrite_sample (migration, read_share, write_share) \
         SELECT m.name, -1, -1 FROM dualwrite_migration m WHERE m.name = ? AND NOT EXISTS \
         (SELECT 1 FROM dualwrite_sample s WHERE s.migration = m.name){}",
        dialect.upsert("migration", &[])
    );
    let set =
        format!("UPDATE dualwrite_sample SET {column} = ? WHERE migration = ? AND {column} <> ?");
    let points = || SqlValue::from(share.map_or(-1, |share| i64::from(share.basis_points())));
    [Step::uncounted(add, [name.into()]), Step::counted(set, [points(), name.into(), points()])]
}

/// Records that a writer was stopped.
fn stop_writer(name: &str, writer: &str, audit: &NewRolloutCommand) -> Step {
    let sql = "UPDATE dualwrite_hazard SET stopped_by = ?, stopped_because = ?, \
               stopped_at = {now} WHERE migration = ? AND name = ? \
               AND stopped_at IS NULL AND kind NOT IN ('watch', 'sequence')";
    let actor = audit.actor.as_str().into();
    Step::counted(sql, [actor, text(&audit.reason), name.into(), writer.into()])
}

/// Tells the verification of the migration what to do.
fn command_verification(name: &str, ordered: VerifyCommand) -> Step {
    Step::counted(verification::command(ordered), [ordered.code().into(), name.into()])
}

/// Starts a job, which any instance may run.
fn start_job(
    dialect: &Dialect,
    name: &str,
    kind: JobKind,
    key: Option<&EncodedKey>,
    audit: &NewRolloutCommand,
) -> Vec<Step> {
    let subject = key.map(|key| &*key.0);
    let mut steps = start(dialect, name, (kind.as_str(), subject), None, audit);
    if kind == JobKind::Verify {
        // One that was paused or cancelled would keep this one waiting.
        steps.push(Step { counts: false, ..command_verification(name, VerifyCommand::GoOn) });
    }
    steps
}

/// Starts a backfill, which any instance may run.
fn start_backfill(
    dialect: &Dialect,
    name: &str,
    task: &NewTask,
    audit: &NewRolloutCommand,
) -> Vec<Step> {
    let side = task.side;
    let mut steps = start(dialect, name, (side.as_str(), None), Some(task), audit);
    // In the same transaction: nobody takes it before it may go on.
    steps.extend(command_backfill(dialect, name, side, BackfillCommand::Resume, false));
    steps
}

/// Puts into a slot what any instance may run, unless something is there that has not ended.
fn start(
    dialect: &Dialect,
    name: &str,
    (slot, subject): (&str, Option<&str>),
    task: Option<&NewTask>,
    audit: &NewRolloutCommand,
) -> Vec<Step> {
    let ended = "DELETE FROM dualwrite_task WHERE migration = ? AND side = ? \
                 AND state IN ('halted', 'done')";
    let sql = format!(
        "INSERT INTO dualwrite_task (migration, side, subject, workers, rate, failures_max, actor, reason, at, state) \
         SELECT m.name, ?, ?, ?, ?, ?, ?, ?, {{now}}, 'wanted' FROM dualwrite_migration m \
         WHERE m.name = ? AND NOT EXISTS \
         (SELECT 1 FROM dualwrite_task t WHERE t.migration = m.name AND t.side = ?){}",
        dialect.upsert("migration, side", &[])
    );
    let values = [
        slot.into(),
        SqlValue::Text(subject.map(str::to_owned)),
        task.map_or(1, |task| u64::from(task.workers)).into(),
        limit(task.and_then(|task| task.rate)),
        limit(Some(task.map_or(0, |task| task.stop_after_failures))),
        audit.actor.as_str().into(),
        text(&audit.reason),
        name.into(),
        slot.into(),
    ];
    vec![Step::uncounted(ended, [name.into(), slot.into()]), Step::counted(sql, values)]
}

/// Sets something of the backfill of this generation, where that is under way or was started.
fn tune(
    dialect: &Dialect,
    name: &str,
    side: Side,
    setting: BackfillSetting,
    value: Option<u64>,
) -> Step {
    let generation = backfill_commands::generation(side);
    let sql = format!(
        "INSERT INTO dualwrite_setting (migration, side, generation, name, value) \
         SELECT m.name, ?, m.{generation}, ?, ? FROM dualwrite_migration m WHERE m.name = ? \
         AND (EXISTS (SELECT 1 FROM dualwrite_task t WHERE t.migration = m.name AND t.side = ?) \
         OR EXISTS (SELECT 1 FROM dualwrite_backfill b WHERE b.migration = m.name AND b.phase LIKE ? \
         AND b.generation = m.{generation})) AND NOT EXISTS (SELECT 1 FROM dualwrite_backfill c \
         WHERE c.migration = m.name AND c.phase = ? AND c.generation = m.{generation} \
         AND c.state = 'complete'){}",
        dialect.upsert("migration, side, generation, name", &["value"])
    );
    let values = [
        side.as_str().into(),
        setting.as_str().into(),
        limit(value),
        name.into(),
        side.as_str().into(),
        Phase::of(side),
        side.as_str().into(),
    ];
    Step::counted(sql, values)
}

/// A command to a backfill. `counts`: whether it must find something.
fn command_backfill(
    dialect: &Dialect,
    name: &str,
    side: Side,
    audit: BackfillCommand,
    counts: bool,
) -> Vec<Step> {
    let mut steps = Vec::new();
    match audit {
        BackfillCommand::Cancel => {
            let (sql, values) = tasks::cancel(name, side);
            steps.push(Step::counted(sql, values));
        }
        BackfillCommand::Rate(rate) => {
            let (sql, values) = tasks::set_rate(name, side, rate);
            steps.push(Step::counted(sql, values));
        }
        BackfillCommand::Pause | BackfillCommand::Resume | BackfillCommand::GoOn => {}
    }
    for (number, (sql, values)) in
        backfill_commands::give(dialect, name, side, audit).into_iter().enumerate()
    {
        steps.push(Step { sql, values, counts, otherwise: number > 0 });
    }
    for step in &mut steps {
        step.counts = counts;
    }
    steps
}
