//! Waiting for what happens elsewhere: in a task, in another process, in a database. The only place of the
//! tests that asks again and again; what a test does itself it need not wait for.

use std::fmt::Display;
use std::time::Duration;

use super::db::{Scratch, TestDb};

/// Far beyond what anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY_PAUSE: Duration = Duration::from_millis(2);

/// Asks until it is so.
///
/// # Panics
/// Where it does not become so within a minute, with `what`.
pub(crate) async fn until(what: impl Display, is_so: impl AsyncFn() -> bool) {
    soon(what, async || is_so().await.then_some(())).await;
}

/// Asks until there is an answer.
///
/// # Panics
/// Where there is none within a minute, with `what`.
pub(crate) async fn soon<T>(what: impl Display, ask: impl AsyncFn() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("not in time: {what}"),
    }
}

/// Waits for what has a limit of its own.
///
/// # Panics
/// Where it does not end within a minute, with `what`.
pub(crate) async fn ends<T>(what: impl Display, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("it does not end: {what}"))
}

/// Beyond what any test takes that is not asked for a long one.
const TEST_MAX: Duration = Duration::from_secs(300);

/// A whole test, which fails where it would never end. Those that are asked to take long have no limit.
pub(crate) async fn to_the_end(test: &str, body: impl Future<Output = ()>) {
    let long = ["DUALWRITE_TEST_ALL", "DUALWRITE_TEST_ROUNDS", "DUALWRITE_TEST_SECONDS"];
    if long.iter().any(|setting| std::env::var_os(setting).is_some()) {
        return body.await;
    }
    let ended = tokio::time::timeout(TEST_MAX, body).await;
    ended.unwrap_or_else(|_| panic!("{test} has not ended after {TEST_MAX:?}"));
}

/// Whether some transaction of this database waits for a lock. SQLite does not tell.
pub(crate) async fn somebody_waits<D: TestDb>(db: &Scratch<D>) -> bool {
    match D::NAME {
        "sqlite" => false,
        "postgres" => {
            let waiting = "SELECT count(*) FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            db.number(waiting).await > 0
        }
        // Not `innodb_trx`: it is a copy, which is not made anew while somebody looks at it more often than
        // every 100 ms.
        _ => {
            let status = db.rows("SHOW ENGINE INNODB STATUS").await;
            let texts = status.into_iter().flatten().flatten();
            let threads: Vec<String> = texts.flat_map(|text| waiting_threads(&text)).collect();
            let here = "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE()";
            let threads = threads.join(", ");
            !threads.is_empty() && db.number(&format!("{here} AND id IN ({threads})")).await > 0
        }
    }
}

/// `LOCK WAIT …`, and then `MariaDB thread id 7, …`, or `MySQL`.
fn waiting_threads(status: &str) -> Vec<String> {
    let mut waits = false;
    let mut threads = Vec::new();
    for line in status.lines() {
        if line.starts_with("---TRANSACTION") {
            waits = false;
        } else if line.starts_with("LOCK WAIT") {
            waits = true;
        } else if let (true, Some((_, id))) = (waits, line.split_once(" thread id ")) {
            threads.extend(id.split(',').next().map(str::to_owned));
            waits = false;
        }
    }
    threads
}
