//! Compile-time behaviour of the macros: what is accepted, and what is said about what is not.
//!
//! The names of the failing files state the mistake. Their expected messages are one compiler's, so
//! on any other minor version only the accepted files are built. After a change, look at the
//! difference that `TRYBUILD=overwrite cargo test --test ui` makes.

use std::process::Command;

/// The minor version of the compiler whose messages are recorded.
const RECORDED_MINOR: &str = "95";

#[test]
fn accepted() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/repository/pass/*.rs");
    cases.pass("tests/ui/dual/pass/*.rs");
    cases.pass("tests/ui/compare/pass/*.rs");
}

#[test]
fn refused() {
    let version = rustc_version();
    if !version.starts_with(&format!("rustc 1.{RECORDED_MINOR}.")) {
        println!("skipped: messages are recorded for rustc 1.{RECORDED_MINOR}, this is {version}");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/repository/fail/*.rs");
    cases.compile_fail("tests/ui/dual/fail/*.rs");
    cases.compile_fail("tests/ui/compare/fail/*.rs");
}

fn rustc_version() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("rustc runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
