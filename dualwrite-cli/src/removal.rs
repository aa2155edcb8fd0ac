//! `dualwrite removal …`: drops in phases what nothing takes the place of.

use std::fmt::Write as _;

use clap::Subcommand;
use dualwrite::{operator::Operator, printable, removal::RemovalReport};

use crate::answer::{Answer, as_json, yes};
use crate::arguments::Output;
use crate::backup::{self, How};
use crate::contract::Said;
use crate::failure::Exit;

#[derive(Debug, Subcommand)]
pub(crate) enum Removal {
    /// Lists the removals
    List,
    /// Shows where it stands, who used it, and what stands against the next phase
    ///
    /// Exit codes: 0 nothing stands against it; 1 something does, or it failed; 2 wrong arguments; 5 no such removal.
    Status {
        /// The removal
        name: String,
    },
    /// From now on nobody is to write it; triggers record who does
    StopWrites(Said),
    /// From now on nobody is to read it either
    StopReads(Said),
    /// Gives it another name, so that whoever uses it still fails
    Rename(Said),
    /// Takes it back to use, from any phase but the last
    Restore(Said),
    /// Drops it for good
    Drop(Said),
    /// Makes a backup and restores it, and confirms it where that succeeds: into a file, or by a command of yours
    Backup {
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        how: How,
    },
    /// Shows the audit, newest first
    Events {
        /// The removal
        name: String,
    },
}

/// Does it.
pub(crate) async fn obey(
    operator: &Operator,
    url: &str,
    command: Removal,
    output: Output,
) -> Result<Answer, Exit> {
    match command {
        Removal::List => {
            let names = operator.removals().await?;
            match output {
                Output::Json => as_json(&names).map(yes),
                Output::Text => Ok(yes(names.iter().map(|name| format!("{name}\n")).collect())),
            }
        }
        Removal::Status { name } => {
            let report = operator.removal(&name).report().await?;
            let text = match output {
                Output::Json => as_json(&report)?,
                Output::Text => shown(&report),
            };
            Ok(Answer { text, yes: report.missing.is_empty() })
        }
        Removal::Backup { said, how } => {
            let removal = operator.removal(&said.name);
            let tables = removal.tables().await?;
            let printed = backup::make(url, &said.name, &tables, &how).await?;
            removal.confirm_backup(&said.by, &said.because, &printed).await?;
            done(&said, "the backup is confirmed; its output is in the audit")
        }
        Removal::Events { name } => {
            let events = operator.removal(&name).events().await?;
            match output {
                Output::Json => as_json(&events).map(yes),
                Output::Text => Ok(yes(crate::contract::audit(&events))),
            }
        }
        Removal::StopWrites(_)
        | Removal::StopReads(_)
        | Removal::Rename(_)
        | Removal::Restore(_)
        | Removal::Drop(_) => step(operator, command).await,
    }
}

fn done(said: &Said, what: &str) -> Result<Answer, Exit> {
    Ok(yes(format!("{}: {what}\n", printable(&said.name))))
}

/// Takes a removal to another phase.
async fn step(operator: &Operator, command: Removal) -> Result<Answer, Exit> {
    match command {
        Removal::StopWrites(said) => {
            operator.removal(&said.name).stop_writes(&said.by, &said.because).await?;
            done(&said, "writes are stopped, and whoever writes it is recorded")
        }
        Removal::StopReads(said) => {
            operator.removal(&said.name).stop_reads(&said.by, &said.because).await?;
            done(&said, "reads are stopped")
        }
        Removal::Rename(said) => {
            operator.removal(&said.name).rename(&said.by, &said.because).await?;
            done(&said, "it has another name; `restore` brings it back")
        }
        Removal::Restore(said) => {
            operator.removal(&said.name).restore(&said.by, &said.because).await?;
            done(&said, "it is in use again")
        }
        Removal::Drop(said) => {
            let ran = operator.removal(&said.name).drop_for_good(&said.by, &said.because).await?;
            let statements: String = ran.iter().map(|one| format!("{one};\n")).collect();
            Ok(yes(format!("{statements}{}: it is dropped\n", printable(&said.name))))
        }
        // The others go nowhere.
        _ => Ok(yes(String::new())),
    }
}

fn shown(report: &RemovalReport) -> String {
    let mut text = String::new();
    let hours = report.phase_s / 3_600;
    let _ = writeln!(text, "{}: {} for {hours} h", report.name, report.phase);
    let _ = writeln!(text, "  removes: {}", report.objects.join(", "));
    if let Some(next) = report.next {
        let _ = writeln!(text, "  next: {next}");
    }
    for (what, lines) in [("missing", &report.missing), ("note", &report.notes)] {
        for line in lines {
            let _ = writeln!(text, "  {what}: {}", printable(line));
        }
    }
    for one in &report.uses {
        let _ = writeln!(text, "  used: {}", printable(&one.to_string()));
    }
    text
}
