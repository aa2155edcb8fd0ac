//! The command as a process; what it does to databases is tested in `tests/it/tool.rs` of the workspace.

#![allow(clippy::unwrap_used, reason = "a test reports what it did not expect by panicking")]

use std::process::{Command, Output};

fn dualwrite(arguments: &[&str], database: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dualwrite"));
    command.args(arguments).env_remove("DATABASE_URL");
    if let Some(url) = database {
        command.env("DATABASE_URL", url);
    }
    command.output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_exit_code_says_how_it_went() {
    let help = dualwrite(&["--help"], Some("postgres://ada:s3cret@host/shop"));
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(text.contains("backfill") && !text.contains("s3cret"), "{text}");

    assert_eq!(dualwrite(&[], None).status.code(), Some(2));
    let nowhere = dualwrite(&["status"], None);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(told(&nowhere).contains("DATABASE_URL"), "{}", told(&nowhere));

    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("shop.db").display());
    let failed = dualwrite(&["status"], Some(&url));
    assert_eq!(failed.status.code(), Some(6));
    assert!(failed.stdout.is_empty());
    assert!(told(&failed).contains("cannot connect"), "{}", told(&failed));
}

#[test]
fn every_shell_gets_a_script_that_knows_each_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = dualwrite(&["completions", shell], None);
        assert_eq!(script.status.code(), Some(0), "{}", told(&script));
        let script = String::from_utf8(script.stdout).unwrap();
        for known in ["kill-on", "dead-letters-retry", "readiness", "--because"] {
            let known = if shell == "fish" { known.trim_start_matches('-') } else { known };
            assert!(script.contains(known), "{shell} lacks {known}");
        }
    }
    assert_eq!(dualwrite(&["completions", "cmd"], None).status.code(), Some(2));
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    for disk in ["/dev/full", "/dev/null"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dualwrite"));
        let out = std::fs::File::options().write(true).open(disk).unwrap();
        let ended = command.args(["completions", "bash"]).stdout(out).output().unwrap();
        let is_full = disk == "/dev/full";
        assert_eq!(ended.status.code(), Some(i32::from(is_full)), "{}", told(&ended));
        assert_eq!(told(&ended).contains("cannot be written"), is_full, "{}", told(&ended));
    }
}
