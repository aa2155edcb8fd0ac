//! Backups that are ready-made: written to a file, restored from it, and compared with the tables that are to go.

pub(crate) mod postgres;
mod sqlite;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use dualwrite::printable;

use crate::failure::Exit;

/// How much of what a backup's command prints is kept.
const OUTPUT_BYTES_MAX: usize = 100_000;

const NOTHING: &str = "no backup is confirmed";

/// How a backup is made.
#[derive(Args, Debug)]
pub(crate) struct How {
    /// Writes the backup into this file, which is not there yet: by pg_dump for PostgreSQL, and by a copy of the file for
    /// SQLite. It is restored from there, and rows and checksums of the tables that are to go are compared.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "command",
        required_unless_present = "command"
    )]
    into: Option<PathBuf>,
    /// Where pg_dump and pg_restore are, if not where the shell finds them
    #[arg(long, value_name = "FOLDER", requires = "into")]
    programs: Option<PathBuf>,
    /// A command of yours that makes a backup and restores it, with its arguments, behind `--`
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Makes it; answers with what goes into the audit. It fails where what was restored is not what is there.
pub(crate) async fn make(
    url: &str,
    name: &str,
    tables: &[String],
    how: &How,
) -> Result<String, Exit> {
    let told = |exit: Exit| match exit.code == crate::FAILED && !exit.text.starts_with(NOTHING) {
        true => unconfirmed(exit.text),
        false => exit,
    };
    made(url, name, tables, how).await.map_err(told)
}

async fn made(url: &str, name: &str, tables: &[String], how: &How) -> Result<String, Exit> {
    let Some(into) = &how.into else { return confirmed(name, &how.command) };
    if into.exists() {
        let message = format!("`{}` is there already; name a file that is not", into.display());
        return Err(Exit::wrong_use(message));
    }
    if tables.is_empty() {
        return Err(Exit::other("nothing of it is left, so there is nothing to back up"));
    }
    match url.split_once(':').map_or("", |(scheme, _)| scheme) {
        "postgres" | "postgresql" => {
            postgres::backup(url, tables, into, how.programs.as_deref()).await
        }
        "sqlite" => sqlite::backup(url, tables, into).await,
        _ => Err(Exit::wrong_use(
            "for MySQL and MariaDB give a command of yours, behind `--`, that makes a backup and restores it",
        )),
    }
}

/// What could not be done, and that nothing is confirmed.
fn unconfirmed(what: impl std::fmt::Display) -> Exit {
    Exit::other(format!("{NOTHING}: {what}"))
}

fn size(file: &Path) -> u64 {
    file.metadata().map(|found| found.len()).unwrap_or_default()
}

/// A name in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Runs a command that makes a backup and restores it; answers with what it printed.
fn confirmed(name: &str, command: &[String]) -> Result<String, Exit> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Exit::other("name the command that makes the backup, behind `--`"));
    };
    let mut run = Command::new(program);
    ran(program, run.args(arguments).env("DUALWRITE_MIGRATION", name))
}

/// Runs a program; answers with what it printed.
pub(crate) fn ran(program: &str, command: &mut Command) -> Result<String, Exit> {
    let run = command
        .output()
        .map_err(|error| Exit::other(format!("the command `{program}` cannot be run: {error}")))?;
    let mut output = String::from_utf8_lossy(&run.stdout).into_owned();
    output.push_str(&String::from_utf8_lossy(&run.stderr));
    output.truncate(output.floor_char_boundary(OUTPUT_BYTES_MAX));
    if run.status.success() {
        return Ok(output);
    }
    let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let status = run.status;
    Err(Exit::other(format!(
        "`{program}` ended with {status}: {}; see to it and run it again",
        printable(last)
    )))
}
