//! Waiting for what happens elsewhere: in a task, in another process, in a database. The only place of the
//! tests that asks again and again; what a test does itself it need not wait for.

use std::fmt::Display;
use std::time::Duration;

/// Far beyond what anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

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
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("not in time: {what}"),
    }
}
