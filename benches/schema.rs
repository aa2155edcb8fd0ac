//! What it takes to check a folder of 1,000 migration files.
//!
//! ```text
//! cargo bench --bench schema               prints the table
//! cargo bench --bench schema -- --check    and exits with 1 where a target is missed
//! ```
//!
//! Where the linter `squawk` (`pip install squawk-cli`) is on the path, its time over the same files stands beside it.

#[path = "harness/mod.rs"]
mod harness;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use dualwrite::schema::{Folder, Level, SqlDialect};
use harness::{Target, judge, median, targets::SCHEMA_SECONDS_MAX};

const FILES: usize = 1_000;
const ROUNDS: usize = 5;

/// What a file does, `{n}` its number: of several kinds, as they stand in the folders of services.
const TEXTS: [&str; 8] = [
    "CREATE TABLE customer_{n} (id bigint PRIMARY KEY, name text NOT NULL, email varchar(200), \
     created_at timestamptz NOT NULL DEFAULT now(), CHECK (length(name) > 0));\n\
     CREATE INDEX customer_{n}_email ON customer_{n} (email);\n",
    "ALTER TABLE customer_{n} ADD COLUMN phone text, ADD COLUMN fax text DEFAULT 'none';\n",
    "-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS invoice_{n} ON invoice (customer_id) \
     WHERE total > {n};\n",
    "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'mood_{n}') THEN \
     CREATE TYPE mood_{n} AS ENUM ('good', 'bad'); END IF; END $$;\n",
    "/* step {n} */ ALTER TABLE invoice ADD CONSTRAINT positive_{n} CHECK (total >= 0) NOT VALID;\n\
     COMMENT ON TABLE invoice IS 'as of step {n}; DROP TABLE x';\n",
    "INSERT INTO setting (name, value) VALUES ('step', '{n}') ON CONFLICT (name) DO NOTHING;\n\
     UPDATE setting SET value = '{n}' WHERE id = {n};\n",
    "CREATE OR REPLACE FUNCTION touch_{n}() RETURNS trigger LANGUAGE plpgsql AS $body$\nBEGIN\n  \
     NEW.updated_at := now();\n  RETURN NEW;\nEND\n$body$;\n\
     CREATE TRIGGER touch_{n} BEFORE UPDATE ON invoice FOR EACH ROW EXECUTE FUNCTION touch_{n}();\n",
    "ALTER TABLE invoice ALTER COLUMN total TYPE numeric(12, 2);\nDROP TABLE IF EXISTS old_{n};\n",
];

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder for the files");
    for number in 0..FILES {
        let text = TEXTS[number % TEXTS.len()].replace("{n}", &number.to_string());
        let path = folder.path().join(format!("{:04}_step.sql", number + 1));
        fs::write(path, text).expect("a file");
    }
    let mut times: Vec<f64> = (0..ROUNDS).map(|_| checked(folder.path())).collect();
    let seconds = median(&mut times);
    let target = Target::AtMost(SCHEMA_SECONDS_MAX);
    let verdict = judge("1,000 migration files checked", seconds, "s", target);
    println!("{FILES} migration files, median of {ROUNDS} rounds");
    println!("dualwrite  {seconds:>8.3} s  {target} s  {verdict}");
    match squawk(folder.path()) {
        Some(seconds) => {
            judge("the same files, squawk", seconds, "s", Target::None);
            println!("squawk     {seconds:>8.3} s");
        }
        None => println!("squawk     it is not on the path"),
    }
    harness::end(verdict.missed())
}

fn checked(folder: &Path) -> f64 {
    let begun = Instant::now();
    let found = Folder::read(folder).expect("the folder").check(SqlDialect::Postgres);
    let time = begun.elapsed().as_secs_f64();
    // What is measured does what it is for.
    let breaking = found.iter().filter(|one| one.found.verdict.level == Level::Breaking).count();
    assert!(breaking >= FILES / TEXTS.len(), "{breaking} of {} statements", found.len());
    time
}

/// One process over all files, as a pipeline runs it.
fn squawk(folder: &Path) -> Option<f64> {
    let files = fs::read_dir(folder).ok()?.filter_map(|file| Some(file.ok()?.path()));
    let mut command = Command::new("squawk");
    command.args(files).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    // It exits with 1 where it finds something.
    command.status().ok().map(|_| begun.elapsed().as_secs_f64())
}
