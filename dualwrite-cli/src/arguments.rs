//! What can be asked for.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use dualwrite::Stage;
use dualwrite::schema::{Level, SqlDialect};

/// Shows the migrations of a service, and gives them commands.
///
/// Exit codes: 0 done; 1 it failed; 2 wrong arguments; 3 a file cannot be read; 4 refused, by a gate, by another epoch
/// than was expected, or because nothing was there to take it; 5 no such migration; 6 the database cannot be reached;
/// 7 it has not come there in time.
#[derive(Debug, Parser)]
#[command(name = "dualwrite", version)]
pub(crate) struct Arguments {
    /// The service's database: postgres://…, mysql://…, mariadb://… or sqlite://…
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL", global = true)]
    pub(crate) database: Option<String>,
    /// A file that has this URL, and nothing else; it is seen in no list of processes
    #[arg(
        long,
        env = "DATABASE_URL_FILE",
        hide_env_values = true,
        value_name = "PATH",
        global = true
    )]
    pub(crate) database_file: Option<std::path::PathBuf>,
    /// How answers and errors are printed
    #[arg(long, value_enum, default_value_t = Output::Text, global = true)]
    pub(crate) output: Output,
    /// Shows a view again and again until it is ended, every 2 seconds or as often as said, from 1s to 1h
    #[arg(long, global = true, value_name = "TIME", num_args = 0..=1, require_equals = true,
          default_missing_value = "2s", value_parser = crate::terminal::interval)]
    pub(crate) watch: Option<Duration>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How answers and errors are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs; errors on standard error as one object
    Json,
}

/// What can be asked.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Query {
    /// Lists the migrations, one line each
    List,
    /// Shows what stands against a move
    Readiness {
        /// The migration
        name: String,
        /// The stage to advance to; the next one without it
        #[arg(long, value_name = "STAGE")]
        to: Option<Stage>,
    },
    /// Shows the newest changes of the position
    Events {
        /// The migration
        name: String,
    },
    /// Shows the newest commands that moved nothing
    Audit {
        /// The migration
        name: String,
    },
    /// Shows the live instances
    Instances {
        /// The migration
        name: String,
    },
    /// Shows the keys that could not be copied, and why
    DeadLetters {
        /// The migration
        name: String,
    },
    /// Shows the samples of mismatches
    Mismatches {
        /// The migration
        name: String,
    },
    /// Shows what the newest preflight found, and what to do about it
    Preflight {
        /// The migration
        name: String,
    },
    /// Shows writers that no trigger sees, and sequences that are behind
    Hazards {
        /// The migration
        name: String,
    },
    /// Shows what was started for any instance, and what became of it
    Jobs {
        /// The migration
        name: String,
    },
    /// Shows the calls of both sides in the last hour, of all instances together
    Traffic {
        /// The migration
        name: String,
    },
    /// Waits until a migration is where it shall be
    Wait {
        /// The migration
        name: String,
        /// `complete`, `stage=live`, `backfill`, or `verify`
        #[arg(long = "for", value_name = "WHAT", value_parser = until)]
        until: Until,
        /// For how long, as `90s` or `2h`
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
        timeout: Duration,
    },
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Stage(Stage),
    Backfill,
    Verify,
}

fn until(text: &str) -> Result<Until, String> {
    let stage = match text {
        "backfill" => return Ok(Until::Backfill),
        "verify" => return Ok(Until::Verify),
        "complete" => "complete",
        text => text.strip_prefix("stage=").unwrap_or_default(),
    };
    let wrong = |_| "give `complete`, `backfill`, `verify`, or `stage=` and a stage".to_owned();
    stage.parse().map(Until::Stage).map_err(wrong)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prints a script that completes commands and options in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Shows where migrations stand, and how far their backfills are
    Status {
        /// This migration alone
        name: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Query(Query),
    /// Says which command took the place of an older one
    #[command(hide = true, disable_help_flag = true)]
    Backfill {
        /// As they were given
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        given: Vec<String>,
    },
    /// Says whether everything that a migration declares as new is there, and makes the files for it
    #[command(subcommand)]
    Expand(crate::expand::Expand),
    /// Looks for what hurts migrations in the running database, and changes nothing
    ///
    /// Exit codes: 0 nothing has to be seen to; 1 something has, or it failed; 2 wrong arguments; 5 no such migration; 6
    /// the database cannot be reached.
    Doctor(crate::doctor::Doctor),
    /// Drops in phases what nothing takes the place of: writes stopped, reads stopped, another name, gone
    #[command(subcommand)]
    Removal(crate::removal::Removal),
    /// Drops what a migration calls old, on evidence
    #[command(subcommand)]
    Contract(crate::contract::Contract),
    /// Judges schema changes, with the option --database by the sizes of its tables
    #[command(subcommand)]
    Schema(Schema),
}

impl Command {
    /// Whether it shows something, and changes nothing.
    pub(crate) fn is_view(&self) -> bool {
        match self {
            Self::Status { .. } => true,
            Self::Query(query) => !matches!(query, Query::Wait { .. }),
            _ => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schema {
    /// Judges every statement of migration files: safe, warn, blocking, breaking or unknown
    ///
    /// Exit codes: 0 nothing is at or above the level; 1 something is; 2 wrong arguments; 3 a file cannot be read.
    Check(Check),
    /// Names migration files that failed half-way: what of them stands, what undoes that, and how to go on
    ///
    /// Exit codes: 0 none failed; 1 one did; 2 wrong arguments; 3 a file cannot be read; 6 the database cannot be reached.
    Status {
        /// Folders of sqlx migrations
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Folders of sqlx migrations, or single files
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Whose SQL it is: postgres, mysql, mariadb or sqlite; without it, that of the database's URL, else postgres
    #[arg(long, value_parser = SqlDialect::from_str)]
    pub(crate) dialect: Option<SqlDialect>,
    /// How the findings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Exit with 1 where a statement is at this level or above: safe, warn, blocking, breaking or unknown
    #[arg(long, value_name = "LEVEL", default_value = "blocking", value_parser = Level::from_str)]
    pub(crate) fail_on: Level,
    /// Runs the files that --database has not applied in a scratch database that has its schema alone, and tells of each
    /// statement the locks, what they keep out, and the tables that it rewrites; PostgreSQL, by pg_dump and pg_restore
    #[arg(long)]
    pub(crate) trace: bool,
    /// Another server for the scratch database, where the role may create one
    #[arg(long, value_name = "URL", requires = "trace")]
    pub(crate) trace_server: Option<String>,
    /// Where pg_dump and pg_restore are, if not where the shell finds them
    #[arg(long, value_name = "FOLDER", requires = "trace")]
    pub(crate) programs: Option<PathBuf>,
    /// Only files that were added or changed since this commit of git
    #[arg(long, value_name = "GIT_REF")]
    pub(crate) since: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A paragraph for each statement that is not safe
    Text,
    /// One array, an object for each statement
    Json,
    /// Annotations of a workflow on GitHub
    Github,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        let tool = <Arguments as clap::CommandFactory>::command();
        crate::commands::with_commands(tool).debug_assert();
    }

    #[test]
    fn one_waits_for_a_stage_or_the_backfill() {
        assert_eq!(until("complete"), Ok(Until::Stage(Stage::Complete)));
        assert_eq!(until("stage=live"), Ok(Until::Stage(Stage::Live)));
        assert_eq!(until("backfill"), Ok(Until::Backfill));
        assert_eq!(until("verify"), Ok(Until::Verify));
        for wrong in ["", "live", "stage=sideways", "stage="] {
            assert!(until(wrong).unwrap_err().contains("stage="), "{wrong}");
        }
    }
}
