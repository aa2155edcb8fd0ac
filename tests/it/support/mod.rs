//! What tests share: databases and data.

pub(crate) mod chinook;
#[cfg(unix)]
pub(crate) mod cluster;
pub(crate) mod crew;
#[cfg(unix)]
pub(crate) mod customers;
pub(crate) mod db;
pub(crate) mod delay;
pub(crate) mod dice;
pub(crate) mod dump;
pub(crate) mod hook;
pub(crate) mod log;
pub(crate) mod notes;
pub(crate) mod operated;
#[cfg(unix)]
pub(crate) mod process;
pub(crate) mod proxy;
#[cfg(unix)]
pub(crate) mod remote;
#[cfg(unix)]
pub(crate) mod server;
pub(crate) mod sql;
pub(crate) mod wait;

use std::io::Write;

/// Whether what takes long runs too, as `tests/run --all` wants it; says what is left out where it does not.
pub(crate) fn runs_all(what: &str) -> bool {
    let all = std::env::var_os("DUALWRITE_TEST_ALL").is_some();
    if !all {
        notice(&format!("SKIPPED {what}: tests/run --all runs it"));
    }
    all
}

/// Says something that must be seen although the test passes: `eprintln!` would be captured.
pub(crate) fn notice(text: &str) {
    // Nobody can be told that standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
