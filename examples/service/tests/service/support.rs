//! The databases of the library's own tests.

// Not all of it is needed here.
#[allow(dead_code)]
#[path = "../../../../tests/it/support/db.rs"]
pub(crate) mod db;

#[allow(dead_code)]
#[path = "../../../../tests/it/support/wait.rs"]
pub(crate) mod wait;

/// Says something that must be seen although the test passes.
pub(crate) fn notice(text: &str) {
    eprintln!("{text}");
}
