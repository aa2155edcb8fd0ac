#![doc = include_str!("../README.md")]

mod answer;
mod arguments;
mod backup;
mod commands;
mod connect;
mod contract;
mod database;
mod doctor;
mod expand;
mod failure;
mod obey;
mod queries;
mod removal;
mod schema;
mod show;
mod terminal;
mod trace;

use std::ffi::OsString;
use std::io::{Write, stderr, stdout};
use std::time::Duration;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use dualwrite::operator::CommandSpec;

use answer::{Answer, yes};
use arguments::{Arguments, Command, Output, Query, Schema};
use failure::Exit;
use terminal::Bar;

pub use terminal::Terminal;

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
    run_on_terminal(arguments, Terminal::default(), out, err).await
}

/// The same in a process of its own: with its outputs, and with what only terminals are shown.
///
/// ```
/// assert_eq!(dualwrite_cli::run_process(["dualwrite", "--version"]), dualwrite_cli::DONE);
/// ```
pub fn run_process<A: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = A>) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("dualwrite: the system gives no means to wait for a database: {error}");
            return FAILED;
        }
    };
    let (mut out, mut err) = (stdout(), stderr());
    let run = run_on_terminal(arguments, Terminal::of_process(), &mut out, &mut err);
    runtime.block_on(run)
}

/// The same, where some of the outputs may be terminals.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use dualwrite_cli::{Terminal, run_on_terminal};
/// let (mut out, mut err) = (Vec::new(), Vec::new());
/// let terminal = Terminal { out: true, err: true };
/// let code = run_on_terminal(["dualwrite", "--version"], terminal, &mut out, &mut err).await;
/// assert_eq!(code, dualwrite_cli::DONE);
/// # });
/// ```
pub async fn run_on_terminal<A: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = A>,
    terminal: Terminal,
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
            return tell(err, &failure::without(&told.to_string(), &urls), WRONG_USE);
        }
        Err(help) => return end(out, err, &help.to_string(), DONE),
    };
    let database = match database::database(&matches) {
        Ok(database) => database,
        Err(failure) => return tell_failure(err, &failure, &matches, &urls),
    };
    // It may come from a file or from the environment.
    urls.splice(0..0, database.url.clone());
    let done = match commands::find(&matches) {
        Some((_, own)) if own.contains_id(WATCH) => Err(Exit::wrong_use(NO_VIEW)),
        Some((spec, own)) => command(spec, database.url, own).await.map(yes),
        None => match Arguments::from_arg_matches(&matches) {
            Ok(Arguments { command: Command::Schema(Schema::Check(check)), .. }) => {
                // The variable is for the other commands: files are judged without a database unless one is named.
                let (url, is_named) = (database.url.as_deref(), database.is_named);
                return judge(&check, url, is_named, &urls, out, err).await;
            }
            Ok(arguments) => {
                let arguments = Arguments { database: database.url, ..arguments };
                match arguments.watch {
                    Some(every) => watch(arguments, every, terminal, out).await,
                    None => other(arguments, terminal, err).await,
                }
            }
            Err(told) => {
                return tell(err, &failure::without(&told.to_string(), &urls), WRONG_USE);
            }
        },
    };
    match done {
        Ok(answer) => end(out, err, &answer.text, if answer.yes { DONE } else { FAILED }),
        Err(failure) => tell_failure(err, &failure, &matches, &urls),
    }
}

fn tell_failure(err: &mut impl Write, failure: &Exit, matches: &ArgMatches, urls: &[String]) -> u8 {
    let text = failure::without(&failure.text, urls);
    let as_json = matches.get_one::<Output>("output") == Some(&Output::Json);
    let line = if as_json { failure.json(&text) } else { format!("dualwrite: {text}") };
    tell(err, &format!("{line}\n"), failure.code)
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
        Err(unreadable) => return tell(err, &said(&unreadable.0), UNREADABLE),
    };
    let live = match database.filter(|_| is_named) {
        Some(url) => match live(url, &folder.tables(dialect)).await {
            Ok(live) => Some(live),
            Err(failure) => return tell(err, &said(&failure.text), failure.code),
        },
        None => None,
    };
    let traced = match traced(check, database.filter(|_| is_named), &folder).await {
        Ok(traced) => traced,
        Err(failure) => return tell(err, &said(&failure.text), failure.code),
    };
    match schema::check(check, &folder, dialect, live.as_ref(), traced.as_deref()) {
        Ok(checked) => end(out, err, &checked.text, if checked.fails { FAILED } else { DONE }),
        Err(unreadable) => tell(err, &said(&unreadable.0), UNREADABLE),
    }
}

async fn traced(
    check: &arguments::Check,
    url: Option<&str>,
    folder: &dualwrite::schema::Folder,
) -> Result<Option<Vec<trace::Traced>>, Exit> {
    if !check.trace {
        return Ok(None);
    }
    let Some(url) = url.filter(|url| url.starts_with("postgres")) else {
        let message = "`--trace` needs the URL of a PostgreSQL database, given with --database";
        return Err(Exit::wrong_use(message));
    };
    let (server, programs) = (check.trace_server.as_deref(), check.programs.as_deref());
    trace::trace(&trace::Place { url, server, programs }, folder).await.map(Some)
}

async fn live(url: &str, tables: &[String]) -> Result<dualwrite::preflight::Live, Exit> {
    let operator = connect::connect(url).await?;
    Ok(operator.live(tables).await?)
}

/// One of the list that the page has, too.
async fn command(
    spec: &CommandSpec,
    url: Option<String>,
    own: &ArgMatches,
) -> Result<String, Exit> {
    let url = named(url)?;
    let given = commands::parse(spec, own)?;
    let outcome = given.execute(&connect::connect(&url).await?).await?;
    if own.get_one::<Output>("output") != Some(&Output::Json) {
        return Ok(commands::described(&outcome));
    }
    let text = serde_json::to_string_pretty(&outcome);
    let failed = |error: serde_json::Error| Exit::other(format!("this cannot be JSON: {error}"));
    text.map(|text| format!("{text}\n")).map_err(failed)
}

const WATCH: &str = "watch";
const NO_VIEW: &str = "`--watch` repeats a view; give it to `status`, `list`, `readiness`, `events`, `audit`, \
                       `instances`, `dead-letters`, `mismatches`, `preflight`, `hazards`, `jobs` or `traffic`";

/// Shows a view again and again, until the process is ended, nobody reads any more, or it cannot be had.
async fn watch(
    arguments: Arguments,
    every: Duration,
    terminal: Terminal,
    out: &mut impl Write,
) -> Result<Answer, Exit> {
    if !arguments.command.is_view() {
        return Err(Exit::wrong_use(NO_VIEW));
    }
    let operator = connect::connect(&named(arguments.database)?).await?;
    loop {
        let text = obey::view(&operator, &arguments.command, arguments.output).await?;
        let shown = terminal::show_again(out, terminal, &text);
        shown.map_err(|error| Exit::other(unwritten(&error)))?;
        tokio::time::sleep(every).await;
    }
}

async fn other(
    arguments: Arguments,
    terminal: Terminal,
    err: &mut impl Write,
) -> Result<Answer, Exit> {
    if let Command::Completions { shell } = arguments.command {
        return Ok(yes(completions(shell)));
    }
    if let Command::Backfill { given } = &arguments.command {
        return Err(obey::replaced(given));
    }
    let url = named(arguments.database)?;
    match arguments.command {
        Command::Contract(command) => {
            let operator = connect::connect(&url).await?;
            contract::obey(&operator, &url, command).await
        }
        Command::Expand(command) => {
            let operator = connect::connect(&url).await?;
            expand::obey(&operator, command).await
        }
        Command::Removal(command) => {
            let operator = connect::connect(&url).await?;
            removal::obey(&operator, &url, command, arguments.output).await
        }
        Command::Doctor(asked) => {
            let operator = connect::connect(&url).await?;
            doctor::examine(&operator, asked, arguments.output).await
        }
        Command::Schema(Schema::Status { paths, json }) => {
            let folder = schema::folder(&paths);
            let folder = folder.map_err(|failed| Exit { text: failed.0, code: UNREADABLE })?;
            schema::status(&connect::connect(&url).await?, &folder, json).await
        }
        Command::Query(Query::Wait { name, until, timeout }) => {
            let operator = connect::connect(&url).await?;
            let mut bar = Bar::new(err, terminal.err && arguments.output == Output::Text);
            let waited = queries::wait(&operator, &name, &until, timeout, &mut bar).await;
            bar.end();
            waited.map(yes)
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
    let text = "no database is named; give --database URL or --database-file PATH, or set the variable DATABASE_URL";
    let missing = || Exit::wrong_use(text);
    url.filter(|url| !url.is_empty()).ok_or_else(missing)
}

/// An answer that is not read, or not kept, was not given.
fn end(out: &mut impl Write, err: &mut impl Write, text: &str, code: u8) -> u8 {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => code,
        Err(error) => tell(err, &format!("dualwrite: {}\n", unwritten(&error)), FAILED),
    }
}

fn unwritten(error: &std::io::Error) -> String {
    format!("the answer cannot be written: {error}; what was asked for is done")
}

/// Who closed standard error wants to hear no more.
fn tell(err: &mut impl Write, text: &str, code: u8) -> u8 {
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    code
}
