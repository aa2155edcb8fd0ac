//! `dualwrite contract …`: whether old may be dropped, what that would run, and dropping it.

use std::fmt::Write as _;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use dualwrite::{
    contract::ContractDecision,
    migration::ContractRun,
    operator::{ContractEvent, Operator},
    printable,
};

use crate::answer::{Answer, Destination, Question, as_json, write, yes};
use crate::backup::{self, How};
use crate::failure::Exit;

#[derive(Debug, Subcommand)]
pub(crate) enum Contract {
    /// Says whether old may be dropped, and which evidence is missing
    ///
    /// Exit codes: 0 it may; 1 something is missing, or it failed; 2 wrong arguments.
    Check(Question),
    /// Prints the statements that would drop old, or writes them as migration files
    Plan {
        #[command(flatten)]
        question: Question,
        #[command(flatten)]
        destination: Destination,
    },
    /// Drops old, if all evidence is there
    ///
    /// Exit codes: 0 it is dropped, or, with --dry-run, may be; 1 it may not be, or it failed; 2 wrong arguments; 4 it
    /// is refused.
    Run {
        #[command(flatten)]
        said: Said,
        /// Only looks: what the evidence says, and what would be run
        #[arg(long)]
        dry_run: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// How long a statement waits for its lock
        #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
        lock_timeout: Duration,
        /// How often a statement is tried that does not get its lock
        #[arg(long, value_name = "TIMES", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
        attempts: u32,
    },
    /// Gives the approval that the contract asks for
    Approve(Said),
    /// Makes a backup and restores it, and confirms it where that succeeds: into a file, or by a command of yours
    ///
    /// What was found goes into the audit. A command finds the name of the migration in DUALWRITE_MIGRATION.
    Backup {
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        how: How,
    },
    /// Shows the audit, newest first
    Events {
        /// The migration
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Who, of what, and why.
#[derive(Args, Debug)]
pub(crate) struct Said {
    /// The migration or removal
    pub(crate) name: String,
    /// Who does it, for the audit; at most 100 bytes
    #[arg(long, value_name = "WHO", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) by: String,
    /// Why, for the audit
    #[arg(long, value_name = "WHY", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) because: String,
}

/// Does it.
pub(crate) async fn obey(
    operator: &Operator,
    url: &str,
    command: Contract,
) -> Result<Answer, Exit> {
    match command {
        Contract::Check(Question { name, json }) => {
            let decision = operator.contract(&name).check().await?;
            let text = if json { as_json(&decision)? } else { decided(&name, &decision) };
            Ok(Answer { text, yes: decision.is_allowed() })
        }
        Contract::Plan { question: Question { name, json }, destination } => {
            let plan = operator.contract(&name).plan().await?;
            match (destination.into, destination.version) {
                (Some(folder), Some(version)) => write(&plan.files(version), &folder).map(yes),
                _ if json => as_json(&plan).map(yes),
                _ => Ok(yes(statements(&plan.statements))),
            }
        }
        Contract::Run { said, dry_run, json, lock_timeout, attempts } => {
            let run = operator.contract(&said.name).run().by(&said.by).because(&said.because);
            let run = run.lock_timeout(lock_timeout).attempts(attempts);
            let run = if dry_run { run.dry_run() } else { run };
            let done = run.await?;
            let text = if json { as_json(&done)? } else { ran(&said.name, &done) };
            Ok(Answer { text, yes: done.ended || done.decision.is_allowed() })
        }
        Contract::Approve(said) => {
            operator.contract(&said.name).approve(&said.by, &said.because).await?;
            Ok(yes(format!("the contract of `{}` is approved by {}\n", said.name, said.by)))
        }
        Contract::Backup { said, how } => backup(operator, url, &said, &how).await.map(yes),
        Contract::Events { name, json } => {
            let events = operator.contract(&name).events().await?;
            if json {
                return as_json(&events).map(yes);
            }
            Ok(yes(audit(&events)))
        }
    }
}

fn decided(name: &str, decision: &ContractDecision) -> String {
    let mut text = String::new();
    match decision {
        ContractDecision::Allowed { evidence } => {
            let _ = writeln!(text, "{name}: the old side may be dropped");
            for one in evidence {
                let _ = writeln!(text, "  {}", printable(&one.to_string()));
            }
        }
        ContractDecision::Refused { missing } => {
            let _ = writeln!(text, "{name}: the old side cannot be dropped yet");
            for one in missing {
                let _ = writeln!(text, "  {}", printable(&one.to_string()));
            }
        }
    }
    text
}

fn statements(statements: &[String]) -> String {
    if statements.is_empty() {
        return "-- nothing of the old side is left\n".to_owned();
    }
    statements.iter().map(|statement| format!("{statement};\n")).collect()
}

fn ran(name: &str, run: &ContractRun) -> String {
    if run.dry_run {
        return format!("{}{}", decided(name, &run.decision), statements(&run.statements));
    }
    match run.statements.is_empty() {
        true => format!("{name}: the old side was dropped before\n"),
        false => format!("{}{name}: the old side is dropped\n", statements(&run.statements)),
    }
}

async fn backup(operator: &Operator, url: &str, said: &Said, how: &How) -> Result<String, Exit> {
    // Before the backup, which may take long: an unknown name.
    operator.contract(&said.name).check().await?;
    let tables = operator.contract(&said.name).tables().await?;
    let output = backup::make(url, &said.name, &tables, how).await?;
    operator.contract(&said.name).confirm_backup(&said.by, &said.because, &output).await?;
    Ok(format!("the backup for `{}` is confirmed; its output is in the audit\n", said.name))
}

/// The lines of an audit.
pub(crate) fn audit(events: &[ContractEvent]) -> String {
    let mut text = String::new();
    for event in events {
        let what = printable(&event.what);
        let (actor, reason) = (printable(&event.actor), printable(&event.reason));
        let at = crate::show::moment(event.at);
        let _ = writeln!(text, "{at} {what} by {actor}: {reason}");
    }
    text
}
