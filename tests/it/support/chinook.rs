//! The Chinook sample database: a music shop with data of realistic shape, in the dialect of each
//! database. The scripts are not part of this project; they are looked for beside it.

use std::env;
use std::path::PathBuf;

use super::db::{Scratch, TestDb};
use super::notice;

/// Fills a scratch database. `None`, and a notice, where the scripts are missing.
///
/// Names are `Customer.Email` on SQLite and MySQL, `customer.email` on PostgreSQL.
#[must_use = "without the data there is nothing to test"]
pub(crate) async fn load<D: TestDb>(db: &Scratch<D>) -> Option<()> {
    let name = D::sql("Chinook_Sqlite.sql", "Chinook_PostgreSql.sql", "Chinook_MySql.sql");
    let path = folder().join(name);
    let script = match std::fs::read_to_string(&path) {
        Ok(script) => script,
        Err(error) => {
            let path = path.display();
            notice(&format!("SKIPPED: {path}: {error}; DUALWRITE_CHINOOK may name its folder"));
            return None;
        }
    };
    // One transaction instead of one for each statement. PostgreSQL does so of its own accord.
    let begin = D::sql("BEGIN;", "", "SET autocommit = 0;");
    let commit = D::sql("COMMIT;", "", "COMMIT; SET autocommit = 1;");
    db.execute(&format!("{begin}\n{}\n{commit}", without_preamble(&script))).await;
    Some(())
}

fn folder() -> PathBuf {
    env::var_os("DUALWRITE_CHINOOK").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/chinook"),
        PathBuf::from,
    )
}

/// The script without the lines that make a database of its own and go there.
pub(crate) fn without_preamble(script: &str) -> String {
    let script = script.trim_start_matches('\u{feff}');
    let tables = script.find("CREATE TABLE").unwrap_or(script.len());
    let (preamble, tables) = script.split_at(tables);
    let elsewhere = |line: &&str| {
        let line = line.trim_start().to_ascii_uppercase();
        ["DROP DATABASE", "CREATE DATABASE", "USE ", "\\C"].iter().any(|&go| line.starts_with(go))
    };
    let kept: Vec<&str> = preamble.lines().filter(|line| !elsewhere(line)).collect();
    format!("{}\n{tables}", kept.join("\n"))
}
