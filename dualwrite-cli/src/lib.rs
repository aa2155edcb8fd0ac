#![doc = include_str!("../README.md")]

mod arguments;
mod connect;
mod contract;
mod failure;
mod obey;
mod schema;
mod show;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser as _;

use arguments::{Arguments, Command, Schema};

/// What was asked for is done.
pub const DONE: u8 = 0;
/// It failed, or an order found nothing to take it; standard error says which, and what to do.
pub const FAILED: u8 = 1;
/// The arguments are wrong.
pub const WRONG_USE: u8 = 2;
/// A file that was to be judged cannot be read.
pub const UNREADABLE: u8 = 3;

/// Runs the command with these arguments, the first of them its name, and answers with its exit code: [`DONE`],
/// [`FAILED`], [`WRONG_USE`] or [`UNREADABLE`]. It must be awaited in a runtime of tokio.
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
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(told) if told.use_stderr() => {
            // An argument in the wrong place is quoted, and may be the URL.
            return end(err, &failure::without_urls(&told.to_string()), WRONG_USE);
        }
        Err(help) => return end(out, &help.to_string(), DONE),
    };
    if let Command::Schema(Schema::Check(check)) = &arguments.command {
        let checked = schema::check(check, arguments.database.as_deref());
        return match checked {
            Ok(checked) => end(out, &checked.text, if checked.fails { FAILED } else { DONE }),
            Err(unreadable) => end(err, &format!("dualwrite: {}\n", unreadable.0), UNREADABLE),
        };
    }
    let Some(url) = arguments.database.filter(|url| !url.is_empty()) else {
        let message = "no database is named; give --database URL, or set the variable DATABASE_URL";
        return end(err, &format!("dualwrite: {message}\n"), WRONG_USE);
    };
    if let Command::Contract(command) = arguments.command {
        let answer = match connect::connect(&url).await {
            Ok(operator) => contract::obey(&operator, command).await,
            Err(failure) => Err(failure),
        };
        return match answer {
            Ok(answer) => end(out, &answer.text, if answer.yes { DONE } else { FAILED }),
            Err(failure) => {
                end(err, &format!("dualwrite: {}\n", failure::without_urls(&failure.0)), FAILED)
            }
        };
    }
    match obey::obey(&url, arguments.command).await {
        Ok(answer) => end(out, &answer, DONE),
        Err(failure) => {
            end(err, &format!("dualwrite: {}\n", failure::without_urls(&failure.0)), FAILED)
        }
    }
}

/// Who closed the pipe wants to read no more.
fn end(to: &mut impl Write, text: &str, code: u8) -> u8 {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    code
}
