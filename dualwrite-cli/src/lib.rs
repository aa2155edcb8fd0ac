#![doc = include_str!("../README.md")]

mod answer;
mod arguments;
mod commands;
mod connect;
mod contract;
mod expand;
mod failure;
mod obey;
mod queries;
mod schema;
mod show;

use std::ffi::OsString;
use std::io::Write;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use dualwrite::CommandSpec;

use answer::{Answer, yes};
use arguments::{Arguments, Command, Output, Schema};
use failure::Exit;

/// What was asked for is done.
pub const DONE: u8 = 0;
/// It failed; standard error says why, and what to do.
pub const FAILED: u8 = 1;
/// The arguments are wrong.
pub const WRONG_USE: u8 = 2;
/// A file that was to be judged cannot be read.
pub const UNREADABLE: u8 = 3;
/// A gate is closed, the position is at another epoch than was expected, or nothing was there to take the command.
pub const REFUSED: u8 = 4;
/// There is no such migration.
pub const UNKNOWN: u8 = 5;
/// The database cannot be reached.
pub const UNREACHABLE: u8 = 6;
/// What was waited for has not come in time.
pub const TIMED_OUT: u8 = 7;

/// Runs the command with these arguments, the first of them its name, and answers with its exit code, one of the
/// constants of this crate. It must be awaited in a runtime of tokio.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let (mut out, mut err) = (Vec::new(), Vec::new());
/// let code = dualwrite_cli::run(["dualwrite", "dance"], &mut out, &mut err).await;
/// assert_eq!(code, dualwrite_cli::WRONG_USE);
/// # });
/// ```
pub async fn run<A: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = A>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let mut urls = failure::urls(&arguments);
    let tool = commands::with_commands(Arguments::command());
    let matches = match tool.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(told) if told.use_stderr() => {
            // An argument in the wrong place is quoted, and may be the URL.
            return end(err, &failure::without(&told.to_string(), &urls), WRONG_USE);
        }
        Err(help) => return end(out, &help.to_string(), DONE),
    };
    if let Some(url) = matches.get_one::<String>("database").filter(|url| !url.is_empty()) {
        urls.insert(0, url.clone()); // it may come from the environment
    }
    let done = match commands::find(&matches) {
        Some((spec, own)) => command(spec, &matches, own).await.map(yes),
        None => match Arguments::from_arg_matches(&matches) {
            Ok(Arguments { command: Command::Schema(Schema::Check(check)), database, .. }) => {
                // The variable is for the other commands: files are judged without a database unless one is named.
                let named = matches.value_source("database") == Some(ValueSource::CommandLine);
                return judge(&check, database.as_deref(), named, &urls, out, err).await;
            }
            Ok(arguments) => other(arguments).await,
            Err(told) => {
                return end(err, &failure::without(&told.to_string(), &urls), WRONG_USE);
            }
        },
    };
    match done {
        Ok(answer) => end(out, &answer.text, if answer.yes { DONE } else { FAILED }),
        Err(failure) => {
            let text = failure::without(&failure.text, &urls);
            let as_json = matches.get_one::<Output>("output") == Some(&Output::Json);
            let line = if as_json { failure.json(&text) } else { format!("dualwrite: {text}") };
            end(err, &format!("{line}\n"), failure.code)
        }
    }
}

async fn judge(
    check: &arguments::Check,
    database: Option<&str>,
    is_named: bool,
    urls: &[String],
    out: &mut impl Write,
    err: &mut impl Write,
) -> u8 {
    let said = |text: &str| format!("dualwrite: {}\n", failure::without(text, urls));
    let (folder, dialect) = match schema::read(check, database) {
        Ok(read) => read,
        Err(unreadable) => return end(err, &said(&unreadable.0), UNREADABLE),
    };
    let live = match database.filter(|_| is_named) {
        Some(url) => match live(url, &folder.tables(dialect)).await {
            Ok(live) => Some(live),
            Err(failure) => return end(err, &said(&failure.text), failure.code),
        },
        None => None,
    };
    match schema::check(check, &folder, dialect, live.as_ref()) {
        Ok(checked) => end(out, &checked.text, if checked.fails { FAILED } else { DONE }),
        Err(unreadable) => end(err, &said(&unreadable.0), UNREADABLE),
    }
}

async fn live(url: &str, tables: &[String]) -> Result<dualwrite::Live, Exit> {
    let operator = connect::connect(url).await?;
    Ok(operator.live(tables).await?)
}

/// One of the list that the page has, too.
async fn command(
    spec: &CommandSpec,
    matches: &ArgMatches,
    own: &ArgMatches,
) -> Result<String, Exit> {
    let url = named(matches.get_one::<String>("database").cloned())?;
    let operator = connect::connect(&url).await?;
    let outcome = commands::execute(&operator, spec, own).await?;
    if own.get_one::<Output>("output") != Some(&Output::Json) {
        return Ok(commands::described(&outcome));
    }
    let text = serde_json::to_string_pretty(&outcome);
    let failed = |error: serde_json::Error| Exit::other(format!("this cannot be JSON: {error}"));
    text.map(|text| format!("{text}\n")).map_err(failed)
}

async fn other(arguments: Arguments) -> Result<Answer, Exit> {
    if let Command::Completions { shell } = arguments.command {
        return Ok(yes(completions(shell)));
    }
    let url = named(arguments.database)?;
    match arguments.command {
        Command::Contract(command) => {
            let operator = connect::connect(&url).await?;
            contract::obey(&operator, command).await
        }
        Command::Expand(command) => {
            let operator = connect::connect(&url).await?;
            expand::obey(&operator, command).await
        }
        Command::Schema(Schema::Status { paths, json }) => {
            let folder = schema::folder(&paths);
            let folder = folder.map_err(|failed| Exit { text: failed.0, code: UNREADABLE })?;
            schema::status(&connect::connect(&url).await?, &folder, json).await
        }
        command => obey::obey(&url, command, arguments.output).await.map(yes),
    }
}

fn completions(shell: clap_complete::Shell) -> String {
    let mut tool = commands::with_commands(Arguments::command());
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tool, "dualwrite", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn named(url: Option<String>) -> Result<String, Exit> {
    let text = "no database is named; give --database URL, or set the variable DATABASE_URL";
    let missing = || Exit::wrong_use(text);
    url.filter(|url| !url.is_empty()).ok_or_else(missing)
}

/// Who closed the pipe wants to read no more.
fn end(to: &mut impl Write, text: &str, code: u8) -> u8 {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    code
}
