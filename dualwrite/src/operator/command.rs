//! The commands that there are, one list for the page, its JSON and the command-line tool. Pure.

use std::time::Duration;

use serde::Serialize;

use crate::backfill::options::WORKERS_MAX;
use crate::error::{Closed, Error, ErrorKind};
use crate::gate::Gate;
use crate::stages::moves::Move;
use crate::stages::position::Percent;
use crate::stages::stage::{Side, Stage};

/// For how long calls are closed, as expected.
const CLOSED_MIN: Duration = Duration::from_secs(60);
const CLOSED_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A field of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CommandField {
    /// Its name in a form, in JSON and, after `--`, of the command-line tool.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// Whether the command cannot do without it.
    pub required: bool,
    /// Whether it is `true` or `false`.
    pub is_flag: bool,
}

/// A command as the page, its JSON and the command-line tool offer it.
///
/// ```
/// let names: Vec<_> = dualwrite::COMMANDS.iter().map(|command| command.name).collect();
/// assert!(names.contains(&"rollback") && names.contains(&"kill-on"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CommandSpec {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Its fields, beside `by`, `because`, `expect-epoch` and `dry-run`, which all have.
    pub fields: &'static [CommandField],
}

const fn field(name: &'static str, about: &'static str) -> CommandField {
    CommandField { name, about, required: true, is_flag: false }
}

const fn optional(name: &'static str, about: &'static str) -> CommandField {
    CommandField { name, about, required: false, is_flag: false }
}

const REVERSE: CommandField = CommandField {
    name: "reverse",
    about: "of the copy from new to old",
    required: false,
    is_flag: true,
};
const OVERRIDE: CommandField = optional(
    "override",
    "gates to override, separated by commas: verified, dead_letters, soaked, approved",
);
const RATE: CommandField = optional("rate", "the most keys a second; without it, no limit");

const fn spec(
    name: &'static str,
    about: &'static str,
    fields: &'static [CommandField],
) -> CommandSpec {
    CommandSpec { name, about, fields }
}

/// All commands.
pub const COMMANDS: [CommandSpec; 32] = [
    spec("rollback", "Goes back to where old answers every read, without losing a write", &[]),
    spec("kill-on", "Sets the kill switch: goes back, and nothing goes forward", &[]),
    spec("kill-off", "Takes the kill switch back", &[]),
    spec(
        "close",
        "Closes calls for a planned downtime: they answer a `Maintenance` error until `open`",
        &[
            field("what", "`writes`, or `calls` for reads, too"),
            field("for", "for how long, as expected: `30m`, `2h`; nothing opens by itself"),
        ],
    ),
    spec("open", "Opens all calls that were closed", &[]),
    spec("advance", "Goes on to the next stage", &[field("to", "the stage"), OVERRIDE]),
    spec("step-back", "Goes back to the stage before", &[field("to", "the stage")]),
    spec(
        "ramp",
        "Takes a share of the keys to the next stage",
        &[field("percent", "the share, in percent"), OVERRIDE],
    ),
    spec(
        "approve",
        "Gives an approval that holds until the stage is left",
        &[field("name", "the approval")],
    ),
    spec("rollout-pause", "The rollout takes no step until it is resumed", &[]),
    spec("rollout-resume", "The rollout goes on", &[]),
    spec("rollout-skip-soak", "The present step of the rollout need not last", &[]),
    spec("rollout-abort", "Ends the rollout for good", &[]),
    spec(
        "backfill-start",
        "Has the backfill run, by any instance",
        &[optional("workers", "how many workers; one without it"), RATE, REVERSE],
    ),
    spec("backfill-pause", "Makes the workers of the backfill wait", &[REVERSE]),
    spec("backfill-resume", "Lets a backfill go on that was paused", &[REVERSE]),
    spec("backfill-cancel", "Ends the workers; what is copied stays copied", &[REVERSE]),
    spec(
        "backfill-rate",
        "Changes the most keys a second",
        &[field("rate", "the most keys a second, of all workers together, or `none`"), REVERSE],
    ),
    spec("verify", "Has all keys compared, by any instance", &[]),
    spec("verify-pause", "Makes the verification wait", &[]),
    spec("verify-resume", "Lets the verification go on", &[]),
    spec("verify-cancel", "Ends the verification; what was found is kept", &[]),
    spec("dead-letters-retry", "Has the dead letters tried again, by any instance", &[]),
    spec(
        "dead-letters-waive",
        "Says that a dead letter need not be copied",
        &[field("key", "the key, as JSON"), REVERSE],
    ),
    spec("mismatches-forget", "Removes the samples of mismatches", &[]),
    spec(
        "writer-stopped",
        "Records that a writer no trigger sees is stopped",
        &[field("writer", "its name, as the hazards have it")],
    ),
    spec(
        "advance-sequences",
        "Has the sequences of the new table set beyond every number that is taken, by any instance",
        &[],
    ),
    spec(
        "read-catalogue",
        "Has the preflight run again and its findings kept, by any instance",
        &[],
    ),
    spec(
        "trigger-install",
        "Has the trigger made that records writes of the old table past this library, by any instance",
        &[],
    ),
    spec("trigger-remove", "Has that trigger removed, by any instance", &[]),
    spec("repair", "Has all keys compared and copied again that differ, by any instance", &[]),
    spec("copy", "Has one key copied to new, by any instance", &[field("key", "the key, as JSON")]),
];

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
    /// use dualwrite::{Command, Move, Percent};
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
            "rollout-pause" => Self::RolloutPause,
            "rollout-resume" => Self::RolloutResume,
            "rollout-skip-soak" => Self::RolloutSkipSoak,
            "rollout-abort" => Self::RolloutAbort,
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
            "verify" => Self::Verify,
            "verify-pause" => Self::VerifyPause,
            "verify-resume" => Self::VerifyResume,
            "verify-cancel" => Self::VerifyCancel,
            "dead-letters-retry" => Self::DeadLettersRetry,
            "dead-letters-waive" => Self::DeadLettersWaive(fields.side()?, fields.key()?),
            "mismatches-forget" => Self::MismatchesForget,
            "writer-stopped" => Self::WriterStopped(fields.required("writer")?),
            "advance-sequences" => Self::AdvanceSequences,
            "read-catalogue" => Self::ReadCatalogue,
            "trigger-install" => Self::TriggerInstall,
            "trigger-remove" => Self::TriggerRemove,
            "repair" => Self::Repair,
            "copy" => Self::Copy(fields.key()?),
            other => {
                let names: Vec<&str> = COMMANDS.iter().map(|spec| spec.name).collect();
                let message =
                    format!("there is no command `{other}`; give one of {}", names.join(", "));
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
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
            Self::RolloutPause => "rollout-pause",
            Self::RolloutResume => "rollout-resume",
            Self::RolloutSkipSoak => "rollout-skip-soak",
            Self::RolloutAbort => "rollout-abort",
            Self::BackfillStart { .. } => "backfill-start",
            Self::BackfillPause(_) => "backfill-pause",
            Self::BackfillResume(_) => "backfill-resume",
            Self::BackfillCancel(_) => "backfill-cancel",
            Self::BackfillRate(..) => "backfill-rate",
            Self::Verify => "verify",
            Self::VerifyPause => "verify-pause",
            Self::VerifyResume => "verify-resume",
            Self::VerifyCancel => "verify-cancel",
            Self::DeadLettersRetry => "dead-letters-retry",
            Self::DeadLettersWaive(..) => "dead-letters-waive",
            Self::MismatchesForget => "mismatches-forget",
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

struct Fields<'f, G>(&'f G);

impl<G: Fn(&str) -> Option<String>> Fields<'_, G> {
    fn given(&self, name: &str) -> Option<String> {
        self.0(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn required(&self, name: &str) -> Result<String, Error> {
        self.given(name).ok_or_else(|| wrong(name, "is missing"))
    }

    fn stage(&self) -> Result<Stage, Error> {
        let text = self.required("to")?;
        text.parse().map_err(|error: Error| wrong("to", &format!("is no stage: {error}")))
    }

    fn percent(&self) -> Result<Percent, Error> {
        let text = self.required("percent")?;
        text.parse().map_err(|error: Error| wrong("percent", &format!("is no share: {error}")))
    }

    fn gates(&self) -> Result<Vec<Gate>, Error> {
        let Some(text) = self.given("override") else { return Ok(Vec::new()) };
        let gate = |name: &str| {
            let found = Gate::ALL.into_iter().find(|gate| gate.as_str() == name.trim());
            found.ok_or_else(|| wrong("override", &format!("names no gate: `{}`", name.trim())))
        };
        text.split(',').map(gate).collect()
    }

    fn side(&self) -> Result<Side, Error> {
        match self.given("reverse").as_deref() {
            None | Some("false") => Ok(Side::New),
            Some("true" | "on") => Ok(Side::Old),
            Some(_) => Err(wrong("reverse", "must be `true` or `false`")),
        }
    }

    fn workers(&self) -> Result<u32, Error> {
        let Some(text) = self.given("workers") else { return Ok(1) };
        let number = text.parse().ok().filter(|number| (1..=WORKERS_MAX).contains(number));
        number.ok_or_else(|| wrong("workers", &format!("must be a number from 1 to {WORKERS_MAX}")))
    }

    fn rate(&self) -> Result<Option<u64>, Error> {
        let Some(text) = self.given("rate").filter(|text| text != "none") else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number > 0);
        let message = "must be a number of keys a second, 1 or more, or `none` for no limit; to stop a backfill, \
                       pause it";
        number.map(Some).ok_or_else(|| wrong("rate", message))
    }

    fn closed(&self) -> Result<Closed, Error> {
        match &*self.required("what")? {
            "writes" => Ok(Closed::Writes),
            "calls" => Ok(Closed::Calls),
            _ => Err(wrong("what", "must be `writes` or `calls`")),
        }
    }

    fn lasts(&self) -> Result<Duration, Error> {
        let lasts = humantime::parse_duration(&self.required("for")?).ok();
        let lasts = lasts.filter(|lasts| (CLOSED_MIN..=CLOSED_MAX).contains(lasts));
        lasts.ok_or_else(|| wrong("for", "must be a time from `1m` to `30days`, as in `90m`"))
    }

    /// As the control tables have it: JSON without spaces.
    fn key(&self) -> Result<String, Error> {
        let text = self.required("key")?;
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
        let key = parsed
            .map_err(|_| wrong("key", "must be JSON: `4711`, `\"a text\"` or `[1, \"b\"]`"))?;
        Ok(key.to_string())
    }
}

fn wrong(field: &str, what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("the field `{field}` {what}"))
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
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (command, field, text) in [
            ("advance", "to", "sideways"),
            ("ramp", "percent", "101"),
            ("advance", "override", "drained,soap"),
            ("backfill-pause", "reverse", "perhaps"),
            ("backfill-start", "workers", "0"),
            ("backfill-rate", "rate", "-1"),
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
