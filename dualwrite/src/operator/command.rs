//! A command to one migration, read from the fields of a form, of JSON or of the command-line tool. Pure.

use std::time::Duration;

use crate::control::commands::Compared;
use crate::control::settings::BackfillSetting;
use crate::error::{Closed, Error, ErrorKind};
use crate::gate::Gate;
use crate::operator::fields::Fields;
use crate::operator::specs::{COMMANDS, CommandSpec};
use crate::rollout::plan::RolloutPlan;
use crate::stages::moves::Move;
use crate::stages::position::Percent;
use crate::stages::stage::Side;

/// A command to one migration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// A move, with the gates that are overridden.
    Move(Move, Vec<Gate>),
    /// Sets the kill switch.
    KillOn,
    /// Takes it back.
    KillOff,
    /// Closes calls for a planned downtime.
    Close {
        /// Which calls.
        closed: Closed,
        /// For how long, as expected; nothing opens by itself.
        lasts: Duration,
    },
    /// Opens all calls.
    Open,
    /// Gives this approval.
    Approve(String),
    /// Begins to follow this plan.
    RolloutStart(Box<RolloutPlan>),
    /// The rollout takes no step.
    RolloutPause,
    /// It goes on.
    RolloutResume,
    /// Its step need not last.
    RolloutSkipSoak,
    /// It ends.
    RolloutAbort,
    /// Starts the backfill toward a side.
    BackfillStart {
        /// The side that is copied to.
        side: Side,
        /// How many workers.
        workers: u32,
        /// The most keys a second.
        rate: Option<u64>,
    },
    /// Makes its workers wait.
    BackfillPause(Side),
    /// Lets it go on.
    BackfillResume(Side),
    /// Ends it.
    BackfillCancel(Side),
    /// Changes the most keys a second.
    BackfillRate(Side, Option<u64>),
    /// Changes the time that a transaction shall take; `None` for what the service says.
    BackfillBatchTime(Side, Option<Duration>),
    /// Changes how many workers each process has that runs it; `None` for what it was started with.
    BackfillWorkers(Side, Option<u32>),
    /// Changes limits of the throttle, times in microseconds; `None` for what the service says.
    BackfillThrottle(Side, Vec<(BackfillSetting, Option<u64>)>),
    /// Starts a verification.
    Verify,
    /// Makes it wait.
    VerifyPause,
    /// Lets it go on.
    VerifyResume,
    /// Ends it.
    VerifyCancel,
    /// Tries the dead letters again.
    DeadLettersRetry,
    /// Waives the one with this key, as JSON.
    DeadLettersWaive(Side, String),
    /// Removes the samples of mismatches.
    MismatchesForget,
    /// Changes the share of these calls that is compared; `None` is as registered.
    Compare(Compared, Option<Percent>),
    /// Records that this writer is stopped.
    WriterStopped(String),
    /// Advances the sequences of new.
    AdvanceSequences,
    /// Reads the catalogue, and keeps what it finds.
    ReadCatalogue,
    /// Makes the trigger that records writes of others.
    TriggerInstall,
    /// Removes it.
    TriggerRemove,
    /// Copies again what a comparison of all keys finds different.
    Repair,
    /// Copies the key, as JSON.
    Copy(String),
}

impl Command {
    /// The command of this name, with its fields, which `get` finds by their names.
    ///
    /// ```
    /// use dualwrite::{Move, operator::Command, Percent};
    /// let ramp = Command::parse("ramp", |name| (name == "percent").then(|| "5".to_owned()))?;
    /// assert_eq!(ramp, Command::Move(Move::Ramp(Percent::new(5)?), Vec::new()));
    /// # Ok::<(), dualwrite::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` that names the command or the field.
    pub fn parse(name: &str, get: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let fields = Fields(&get);
        Ok(match name {
            "rollback" => Self::Move(Move::Rollback, Vec::new()),
            "kill-on" => Self::KillOn,
            "kill-off" => Self::KillOff,
            "close" => Self::Close { closed: fields.closed()?, lasts: fields.lasts()? },
            "open" => Self::Open,
            "advance" => Self::Move(Move::Advance(fields.stage()?), fields.gates()?),
            "step-back" => Self::Move(Move::StepBack(fields.stage()?), Vec::new()),
            "ramp" => Self::Move(Move::Ramp(fields.percent()?), fields.gates()?),
            "approve" => Self::Approve(fields.required("name")?),
            other if other.starts_with("rollout-") => Self::parse_rollout(other, &fields)?,
            other if other.starts_with("backfill-") => Self::parse_backfill(other, &fields)?,
            "verify" => Self::Verify,
            "verify-pause" => Self::VerifyPause,
            "verify-resume" => Self::VerifyResume,
            "verify-cancel" => Self::VerifyCancel,
            "dead-letters-retry" => Self::DeadLettersRetry,
            "dead-letters-waive" => Self::DeadLettersWaive(fields.side()?, fields.key()?),
            "mismatches-forget" => Self::MismatchesForget,
            "compare" => {
                let share = fields.given("percent").map(|_| fields.percent()).transpose()?;
                Self::Compare(
                    if fields.flag("writes")? { Compared::Writes } else { Compared::Reads },
                    share,
                )
            }
            "writer-stopped" => Self::WriterStopped(fields.required("writer")?),
            "advance-sequences" => Self::AdvanceSequences,
            "read-catalogue" => Self::ReadCatalogue,
            "trigger-install" => Self::TriggerInstall,
            "trigger-remove" => Self::TriggerRemove,
            "repair" => Self::Repair,
            "copy" => Self::Copy(fields.key()?),
            other => return Err(unknown_command(other)),
        })
    }

    fn parse_rollout<G>(name: &str, fields: &Fields<'_, G>) -> Result<Self, Error>
    where
        G: Fn(&str) -> Option<String>,
    {
        Ok(match name {
            "rollout-start" => Self::RolloutStart(Box::new(fields.plan()?)),
            "rollout-pause" => Self::RolloutPause,
            "rollout-resume" => Self::RolloutResume,
            "rollout-skip-soak" => Self::RolloutSkipSoak,
            "rollout-abort" => Self::RolloutAbort,
            other => return Err(unknown_command(other)),
        })
    }

    fn parse_backfill<G>(name: &str, fields: &Fields<'_, G>) -> Result<Self, Error>
    where
        G: Fn(&str) -> Option<String>,
    {
        Ok(match name {
            "backfill-start" => Self::BackfillStart {
                side: fields.side()?,
                workers: fields.workers()?,
                rate: fields.rate()?,
            },
            "backfill-pause" => Self::BackfillPause(fields.side()?),
            "backfill-resume" => Self::BackfillResume(fields.side()?),
            "backfill-cancel" => Self::BackfillCancel(fields.side()?),
            "backfill-rate" => {
                fields.required("rate")?; // a rate that was forgotten is not `none`
                Self::BackfillRate(fields.side()?, fields.rate()?)
            }
            "backfill-batch-time" => {
                fields.required("batch-time")?;
                let time = fields.setting(BackfillSetting::BatchTime)?.flatten();
                Self::BackfillBatchTime(fields.side()?, time.map(Duration::from_micros))
            }
            "backfill-workers" => {
                fields.required("workers")?;
                let workers = fields.setting(BackfillSetting::Workers)?.flatten();
                let workers = workers.map(|workers| u32::try_from(workers).unwrap_or(u32::MAX));
                Self::BackfillWorkers(fields.side()?, workers)
            }
            "backfill-throttle" => Self::BackfillThrottle(fields.side()?, fields.throttle()?),
            other => return Err(unknown_command(other)),
        })
    }
}

impl Command {
    /// Its entry in the [list](COMMANDS).
    pub(crate) fn spec(&self) -> Option<&'static CommandSpec> {
        COMMANDS.iter().find(|spec| spec.name == self.name())
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Move(Move::Advance(_), _) => "advance",
            Self::Move(Move::StepBack(_), _) => "step-back",
            Self::Move(Move::Ramp(_), _) => "ramp",
            Self::Move(Move::Rollback, _) => "rollback",
            Self::KillOn => "kill-on",
            Self::KillOff => "kill-off",
            Self::Close { .. } => "close",
            Self::Open => "open",
            Self::Approve(_) => "approve",
            Self::RolloutStart(_) => "rollout-start",
            Self::RolloutPause => "rollout-pause",
            Self::RolloutResume => "rollout-resume",
            Self::RolloutSkipSoak => "rollout-skip-soak",
            Self::RolloutAbort => "rollout-abort",
            Self::BackfillStart { .. } => "backfill-start",
            Self::BackfillPause(_) => "backfill-pause",
            Self::BackfillResume(_) => "backfill-resume",
            Self::BackfillCancel(_) => "backfill-cancel",
            Self::BackfillRate(..) => "backfill-rate",
            Self::BackfillBatchTime(..) => "backfill-batch-time",
            Self::BackfillWorkers(..) => "backfill-workers",
            Self::BackfillThrottle(..) => "backfill-throttle",
            Self::Verify => "verify",
            Self::VerifyPause => "verify-pause",
            Self::VerifyResume => "verify-resume",
            Self::VerifyCancel => "verify-cancel",
            Self::DeadLettersRetry => "dead-letters-retry",
            Self::DeadLettersWaive(..) => "dead-letters-waive",
            Self::MismatchesForget => "mismatches-forget",
            Self::Compare(..) => "compare",
            Self::WriterStopped(_) => "writer-stopped",
            Self::AdvanceSequences => "advance-sequences",
            Self::ReadCatalogue => "read-catalogue",
            Self::TriggerInstall => "trigger-install",
            Self::TriggerRemove => "trigger-remove",
            Self::Repair => "repair",
            Self::Copy(_) => "copy",
        }
    }
}

fn unknown_command(name: &str) -> Error {
    let names: Vec<&str> = COMMANDS.iter().map(|spec| spec.name).collect();
    let message = format!("there is no command `{name}`; give one of {}", names.join(", "));
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(field: &str) -> Option<String> {
        let text = match field {
            "to" => "shadow",
            "percent" => "5",
            "name" | "writer" => "owner",
            "key" => "4711",
            "what" => "writes",
            "for" => "30m",
            "rate" => "500",
            "batch-time" => "20ms",
            "workers" => "3",
            "lag" => "5s",
            "plan" => "[[step]]\nstage = \"dual_write\"",
            _ => return None,
        };
        Some(text.to_owned())
    }

    #[test]
    fn every_command_of_the_list_can_be_given_and_needs_what_it_says() {
        for spec in &COMMANDS {
            let command = Command::parse(spec.name, example).unwrap();
            assert_eq!(command.spec(), Some(spec));
            for field in spec.fields.iter().filter(|field| field.required) {
                let without = |name: &str| example(name).filter(|_| name != field.name);
                let error = Command::parse(spec.name, without).unwrap_err();
                assert!(error.to_string().contains(field.name), "{}: {error}", spec.name);
            }
        }
        assert!(Command::parse("dance", |_| None).is_err());
        let nothing = Command::parse("backfill-throttle", |_| None).unwrap_err();
        assert!(nothing.to_string().contains("`lag`"), "{nothing}");
    }

    #[test]
    fn a_mistake_in_a_plan_is_named_with_its_line_in_the_file() {
        let plan = |text: &'static str| {
            Command::parse("rollout-start", |_| Some(text.to_owned())).unwrap_err().to_string()
        };
        let told = plan("\n\n[[step]]\nstag = \"shadow\"");
        assert!(told.contains("line 4: unknown key `stag`"), "{told}");
        let told =
            plan("[[step]]\nstage = \"dual_write\"\n\n[[step]]\nsoak = \"1h\"\nstage = \"live\"");
        assert!(told.contains("line 6: `stage`: step 2 of the plan"), "{told}");
        let endless = "#".repeat(20_000);
        let told = Command::parse("rollout-start", |_| Some(endless.clone())).unwrap_err();
        assert!(told.to_string().contains("bytes"), "{told}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (command, field, text) in [
            ("advance", "to", "sideways"),
            ("ramp", "percent", "101"),
            ("rollout-start", "plan", "\n[[step]]\nstag = \"shadow\""),
            ("advance", "override", "drained,soap"),
            ("backfill-pause", "reverse", "perhaps"),
            ("backfill-start", "workers", "0"),
            ("backfill-rate", "rate", "-1"),
            ("backfill-batch-time", "batch-time", "0s"),
            ("backfill-batch-time", "batch-time", "fast"),
            ("backfill-workers", "workers", "0"),
            ("backfill-workers", "workers", "many"),
            ("backfill-throttle", "lag", "2days"),
            ("backfill-throttle", "active", "0"),
            ("backfill-throttle", "write-p99", "20"),
            ("dead-letters-waive", "key", "{"),
        ] {
            let get = |name: &str| match name == field {
                true => Some(text.to_owned()),
                false => example(name),
            };
            let error = Command::parse(command, get).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&format!("`{field}`")), "{command}: {error}");
        }
    }
}
