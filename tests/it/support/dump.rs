//! Whether `pg_dump` is new enough for the server: it dumps none that is newer than itself, and the programs of a server
//! from npm do not have it.

use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::db::{Scratch, TestDb};
use super::notice;

/// `true` on other databases.
pub(crate) async fn can_be_dumped<D: TestDb>(db: &Scratch<D>) -> bool {
    if D::NAME != "postgres" {
        return true;
    }
    let server = db.number("SELECT current_setting('server_version_num')::bigint / 10000").await;
    let mut asking = Command::new("pg_dump");
    asking.arg("--version").kill_on_drop(true);
    let answered = timeout(Duration::from_secs(30), asking.output()).await;
    let text = answered.expect("pg_dump answers").expect("pg_dump is there").stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    let number = |word: &str| word.split('.').next()?.parse::<i64>().ok();
    let own = text.split_whitespace().find_map(number).expect("pg_dump has a version");
    if own < server {
        notice(&format!("LEFT OUT: pg_dump {own} does not dump PostgreSQL {server}"));
    }
    own >= server
}
