//! Which database is meant: by an option, by a file, or by the environment. A URL may hold a password, and arguments are
//! seen in the list of processes; a file is not.

use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::failure::Exit;

const URL: &str = "database";
const FILE: &str = "database_file";

/// What was given.
pub(crate) struct Database {
    pub(crate) url: Option<String>,
    /// It stood in the arguments, itself or its file; not in the environment.
    pub(crate) is_named: bool,
}

/// An option goes before the environment, and the file of the environment before its URL.
pub(crate) fn database(matches: &ArgMatches) -> Result<Database, Exit> {
    let by_option = |of| matches.value_source(of) == Some(ValueSource::CommandLine);
    let is_named = by_option(URL) || by_option(FILE);
    if by_option(URL) && by_option(FILE) {
        return Err(Exit::wrong_use("give --database or --database-file, not both"));
    }
    let url = match matches.get_one::<PathBuf>(FILE).filter(|path| !path.as_os_str().is_empty()) {
        Some(path) if !by_option(URL) => Some(read(path)?),
        _ => matches.get_one::<String>(URL).cloned(),
    };
    Ok(Database { url: url.filter(|url| !url.is_empty()), is_named })
}

fn read(path: &Path) -> Result<String, Exit> {
    let unreadable = |why: &dyn std::fmt::Display| Exit {
        text: format!("the file of --database-file, `{}`, cannot be used: {why}", path.display()),
        code: crate::UNREADABLE,
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    match text.trim() {
        "" => Err(unreadable(&"it is empty; write the URL of the database into it")),
        url if url.lines().count() > 1 => {
            Err(unreadable(&"it has several lines; write the URL of the database alone into it"))
        }
        url => Ok(url.to_owned()),
    }
}
