//! Migrations in exact mode: what an operator sees of them in one of their two databases, and commands, which an instance
//! carries out, because it alone reaches both.

use std::time::Duration;

use crate::control::commands::{Job, JobKind, Taken};
use crate::control::exact::{ExactCommand, ExactRow, ExactState};
use crate::error::{Closed, Error, ErrorKind};
use crate::exact::closing::{OPENS, closes, subject};
use crate::exact::jobs::BACK;
use crate::gate::{Blocker, Gate};
use crate::operator::command::Command;
use crate::operator::execution::{CommandOutcome, Execution};
use crate::operator::{MigrationOverview, Operator};
use crate::rollout::command::{NewRolloutCommand, RolloutCommandKind as Recorded};
use crate::stages::exact::stage_before;
use crate::stages::moves::Move;
use crate::stages::position::Epoch;
use crate::stages::stage::{Side, Stage};
use crate::store::sql::exact::REPORT_HOLDS;

/// The stages that exact mode has.
pub(crate) const STAGES: [Stage; 4] = [Stage::Off, Stage::DualWrite, Stage::Live, Stage::Complete];

impl ExactRow {
    /// The stage that an instance reported; before that, what this database alone says.
    pub(crate) fn stage(&self) -> Stage {
        match (&self.overview.state, self.overview.is_primary, self.overview.side) {
            (Some(state), ..) => state.stage,
            (None, true, Side::New) | (None, false, Side::Old) => Stage::Live,
            (None, ..) => Stage::Off,
        }
    }

    /// That of both rows is the higher one.
    pub(crate) fn epoch(&self) -> Epoch {
        self.overview.state.as_ref().map_or(self.epoch, |state| state.epoch.max(self.epoch))
    }

    /// Whether an instance has reported lately.
    pub(crate) fn is_reported(&self) -> bool {
        self.overview.reported_ago.is_some_and(|ago| ago <= REPORT_HOLDS)
    }

    /// What an instance reported lately, of both databases.
    fn fresh(&self, name: &str) -> Result<&ExactState, Error> {
        let state = self.overview.state.as_ref().filter(|_| self.is_reported());
        state.ok_or_else(|| {
            let message = "no instance has reported in the last 20 s: start the service, or look into its log; commands are \
                           carried out by an instance";
            Error::new(ErrorKind::Conflict, message).of(name)
        })
    }
}

/// What stands against going to the next stage.
pub(crate) fn against(state: &ExactState) -> Option<(Stage, Vec<Blocker>)> {
    let at = STAGES.iter().position(|stage| *stage == state.stage)?;
    let next = *STAGES.get(at + 1)?;
    let mut found = Vec::new();
    let mut add = |gate, reason: String| found.push(Blocker { gate, reason });
    if next == Stage::Live {
        if !state.copied {
            let reason = "the new side lacks records from before writes were recorded; give `backfill-start`";
            add(Gate::Backfilled, reason.to_owned());
        }
        if let Some(first) = state.failures.first() {
            let count = state.failures.len();
            let reason = format!(
                "the mirror does not take the records of {count} keys, the first of them for this reason: {}; correct that \
                 and give `dead-letters-retry`",
                first.error
            );
            add(Gate::DeadLetters, reason);
        }
    }
    if !state.open {
        add(Gate::Drained, "a hand-over is under way".to_owned());
    }
    Some((next, found))
}

impl Operator {
    /// The one of this name with its jobs, if it is in exact mode.
    pub(super) async fn exact_overview(
        &self,
        name: &str,
    ) -> Result<Option<MigrationOverview>, Error> {
        let Some(row) = self.exact_row(name).await? else { return Ok(None) };
        let jobs = self.control.jobs(name).await?.into_iter().map(waits);
        let overview = MigrationOverview::of_exact(row);
        Ok(Some(MigrationOverview { jobs: jobs.collect(), ..overview }))
    }

    /// The one of this name, if it is in exact mode.
    pub(crate) async fn exact_row(&self, name: &str) -> Result<Option<ExactRow>, Error> {
        self.control.exact_row(name).await
    }
}

/// Says of a job that nobody does why that is.
pub(super) fn waits(mut job: Job) -> Job {
    if !job.done && job.runner.is_none() {
        let why = "no instance has taken it yet; each looks once a second; start the service where none runs";
        job.waiting = Some(why.to_owned());
    }
    job
}

/// A command, as it is left for an instance.
struct Left {
    kind: JobKind,
    subject: Option<String>,
    recorded: Recorded,
    /// What it does, in words.
    does: String,
    way_back: Option<String>,
    blockers: Vec<Blocker>,
}

impl Left {
    fn new(kind: JobKind, recorded: Recorded, does: impl Into<String>) -> Self {
        let does = does.into();
        Self { kind, subject: None, recorded, does, way_back: None, blockers: Vec::new() }
    }

    /// Leaves it for an instance. `false` where the same command was left before and has not ended.
    async fn leave(&self, execution: &Execution<'_>, epoch: Epoch) -> Result<bool, Error> {
        let (name, options) = (execution.name, execution.options);
        let audit = NewRolloutCommand::new(self.recorded, &options.by, &options.because);
        let audit = audit.about(self.does.clone());
        let subject = self.subject.as_deref();
        let command = ExactCommand { kind: self.kind, subject, epoch, audit: &audit };
        match execution.control.exact_command(name, command).await? {
            Taken::Done => Ok(true),
            Taken::Already => Ok(false),
            Taken::Nothing => {
                let message = "another command of this kind is being carried out; `jobs` says what it comes to; give \
                               this one again afterwards";
                Err(Error::new(ErrorKind::Conflict, message).of(name))
            }
        }
    }
}

/// Carries a command out, by an instance.
pub(super) async fn run(
    execution: &Execution<'_>,
    row: &ExactRow,
    command: &Command,
) -> Result<CommandOutcome, Error> {
    let (name, options) = (execution.name, execution.options);
    let state = row.fresh(name)?;
    let always = matches!(command, Command::Move(Move::Rollback, _));
    let expected = options.expected.filter(|_| !always);
    if let Some(expected) = expected.filter(|expected| *expected != row.epoch()) {
        return Err(crate::control::commands::moved(name, expected, row.epoch()));
    }
    let left = plan(state, command, expected).map_err(|error| error.of(name))?;
    let outcome = |stage: Stage, epoch: Epoch, text: String| CommandOutcome {
        migration: name.to_owned(),
        text,
        dry_run: options.dry_run,
        position: format!("{stage}, epoch {epoch}"),
        epoch,
        blockers: left.blockers.clone(),
        way_back: left.way_back.clone(),
    };
    if options.dry_run {
        return Ok(outcome(state.stage, row.epoch(), format!("would {}", left.does)));
    }
    if !left.blockers.is_empty() {
        return Err(Error::blocked(left.blockers).of(name));
    }
    if !left.leave(execution, row.epoch()).await? {
        let text = "it was started already and has not ended; `jobs` says what it comes to";
        return Ok(outcome(state.stage, row.epoch(), text.to_owned()));
    }
    let answer = match left.kind.is_short() {
        true => execution.answer_of(left.kind).await.map_err(|error| error.of(name))?,
        false => None,
    };
    let started =
        "started; an instance does it as soon as it sees it; `jobs` says what it comes to";
    let text = answer.unwrap_or_else(|| started.to_owned());
    let after = execution.control.exact_row(name).await?;
    let (stage, epoch) =
        after.as_ref().map_or((state.stage, row.epoch()), |row| (row.stage(), row.epoch()));
    Ok(outcome(stage, epoch, text))
}

fn plan(state: &ExactState, command: &Command, expected: Option<Epoch>) -> Result<Left, Error> {
    Ok(match command {
        Command::Move(requested, _) => going(state, *requested, expected)?,
        Command::BackfillStart { .. } => {
            let does = format!("copy what the {} side lacks", state.primary.other());
            Left::new(JobKind::CopyAll, Recorded::BackfillStart, does)
        }
        Command::Verify => Left::new(JobKind::Verify, Recorded::Verify, "compare both databases"),
        Command::Repair => {
            let does = "compare both databases, and record again what differs";
            Left::new(JobKind::Repair, Recorded::Repair, does)
        }
        Command::DeadLettersRetry => {
            let does = "try the records again that the mirror does not take";
            Left::new(JobKind::DeadLetters, Recorded::DeadLettersRetry, does)
        }
        Command::DeadLettersWaive(_, key) => {
            let does = format!("take the records of the key {key} out of the outbox");
            let left = Left::new(JobKind::Waive, Recorded::DeadLettersWaive, does);
            Left { subject: Some(key.clone()), ..left }
        }
        Command::Close { closed, lasts } => {
            let does = closes(*closed, *lasts);
            Left {
                subject: Some(subject(*closed, *lasts)),
                way_back: Some("`open` opens all calls again".to_owned()),
                ..Left::new(JobKind::Maintenance, Recorded::Close, does)
            }
        }
        Command::Open => Left {
            subject: Some(subject(Closed::Nothing, Duration::ZERO)),
            ..Left::new(JobKind::Maintenance, Recorded::Open, OPENS)
        },
        other => {
            let name = other.spec().map_or("this", |spec| spec.name);
            let message = format!(
                "a migration in exact mode has no command `{name}`; it has {}",
                COMMANDS.join(", ")
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    })
}

/// The commands that a migration in exact mode has.
pub(crate) const COMMANDS: [&str; 10] = [
    "rollback",
    "close",
    "open",
    "advance",
    "step-back",
    "backfill-start",
    "verify",
    "dead-letters-retry",
    "dead-letters-waive",
    "repair",
];

fn going(state: &ExactState, requested: Move, expected: Option<Epoch>) -> Result<Left, Error> {
    let illegal = |message: String| Error::new(ErrorKind::IllegalMove, message);
    let at = |to: Stage| match expected {
        Some(epoch) => format!("{to}@{epoch}"),
        None => to.to_string(),
    };
    let (to, subject) = match requested {
        Move::Advance(to) if to > state.stage => (to, at(to)),
        Move::Advance(to) | Move::StepBack(to) if to == state.stage => (to, at(to)),
        Move::StepBack(to) if to < state.stage => (to, at(to)),
        Move::Rollback => match stage_before(state.stage) {
            Some(to) => (to, BACK.to_owned()),
            None => {
                return Err(illegal("it is at `off` already; there is no stage before".to_owned()));
            }
        },
        Move::Ramp(_) => {
            let message = "exact mode has no ramp: all reads are of the primary";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Move::Advance(to) | Move::StepBack(to) => {
            return Err(illegal(format!("`{to}` is not on that side of `{}`", state.stage)));
        }
    };
    let next = against(state).filter(|(next, _)| *next == to);
    let does = match (state.stage, to) {
        (Stage::DualWrite, Stage::Live) => "hand the authority over to the new side".to_owned(),
        (Stage::Live, Stage::DualWrite) => "hand the authority back to the old side".to_owned(),
        _ => format!("go to {to}"),
    };
    let back = stage_before(to).map(|before| format!("`rollback` leads to {before}"));
    Ok(Left {
        subject: Some(subject),
        way_back: back,
        blockers: next.map(|(_, found)| found).unwrap_or_default(),
        ..Left::new(JobKind::Move, Recorded::Move, does)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::specs;

    fn state(stage: Stage) -> ExactState {
        ExactState {
            stage,
            primary: Side::Old,
            open: true,
            copied: true,
            epoch: Epoch(4),
            backlog: 0,
            lag: Duration::ZERO,
            failures: Vec::new(),
            copied_keys: 0,
            instance: "i".to_owned(),
            error: None,
        }
    }

    #[test]
    fn the_commands_of_exact_mode_are_on_the_list_of_all() {
        for name in COMMANDS {
            assert!(specs::COMMANDS.iter().any(|spec| spec.name == name), "{name}");
        }
    }

    #[test]
    fn a_hand_over_waits_for_the_copy_and_for_dead_letters() {
        let lacking = ExactState { copied: false, ..state(Stage::DualWrite) };
        let (next, found) = against(&lacking).unwrap();
        assert_eq!((next, found.len()), (Stage::Live, 1));
        assert!(against(&state(Stage::DualWrite)).unwrap().1.is_empty());
        assert!(against(&state(Stage::Complete)).is_none());
        let going = going(&state(Stage::DualWrite), Move::Advance(Stage::Live), Some(Epoch(4)));
        assert_eq!(going.unwrap().subject.as_deref(), Some("live@4"));
    }

    #[test]
    fn what_exact_mode_has_not_is_refused_with_what_it_has() {
        let refused = plan(&state(Stage::Off), &Command::KillOn, None).err().unwrap();
        assert!(refused.to_string().contains("dead-letters-waive"), "{refused}");
        let off = going(&state(Stage::Off), Move::Rollback, None).err().unwrap();
        assert_eq!(off.kind(), ErrorKind::IllegalMove);
    }
}
