//! The commands that there are, one list for the page, its JSON and the command-line tool. Pure.

use serde::Serialize;

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
    /// Whether it is a text of several lines: the page takes a file, too, and the command-line tool the name of one.
    pub is_text: bool,
}

/// A command as the page, its JSON and the command-line tool offer it.
///
/// ```
/// let names: Vec<_> = dualwrite::operator::COMMANDS.iter().map(|command| command.name).collect();
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
    CommandField { name, about, required: true, is_flag: false, is_text: false }
}

const fn optional(name: &'static str, about: &'static str) -> CommandField {
    CommandField { name, about, required: false, is_flag: false, is_text: false }
}

const REVERSE: CommandField = CommandField {
    name: "reverse",
    about: "of the copy from the new side to the old one",
    required: false,
    is_flag: true,
    is_text: false,
};
const PLAN: CommandField = CommandField {
    name: "plan",
    about: "the plan, in TOML, as `RolloutPlan::from_toml` reads it",
    required: true,
    is_flag: false,
    is_text: true,
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
pub const COMMANDS: [CommandSpec; 37] = [
    spec(
        "rollback",
        "Goes back to where the old side answers every read, without losing a write",
        &[],
    ),
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
    spec("rollout-start", "Begins to follow a plan, at the step that fits the position", &[PLAN]),
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
    spec(
        "backfill-batch-time",
        "Changes the time that a transaction of the backfill shall take",
        &[
            field(
                "batch-time",
                "a time from `1ms` to `1m`, or `default` for what the service says",
            ),
            REVERSE,
        ],
    ),
    spec(
        "backfill-workers",
        "Changes how many workers each process has that runs the backfill",
        &[
            field("workers", "a number from 1 to 16, or `default` for what it was started with"),
            REVERSE,
        ],
    ),
    spec(
        "backfill-throttle",
        "Changes the limits above which the backfill slows down; `default` restores what the service registers",
        &[
            optional("lag", "the most that a replica may be behind: `5s`"),
            optional("lock-waits", "the most sessions that may wait for a lock"),
            optional("active", "the most sessions that may be active"),
            optional("log-rate", "the most bytes a second of the server's log"),
            optional("write-p95", "the most that 95 % of the service's writes may take: `20ms`"),
            optional("write-p99", "the most that 99 % of the service's writes may take: `50ms`"),
            REVERSE,
        ],
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
        "compare",
        "Changes the share of the calls that are compared, on all instances",
        &[
            optional("percent", "the share, in percent; without it, as the service registers it"),
            CommandField {
                name: "writes",
                about: "of dual writes, in place of reads",
                required: false,
                is_flag: true,
                is_text: false,
            },
        ],
    ),
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
    spec(
        "copy",
        "Has one key copied to the new side, by any instance",
        &[field("key", "the key, as JSON")],
    ),
];
