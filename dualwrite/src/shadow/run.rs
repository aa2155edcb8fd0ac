//! Reads the mirror in a task of its own: bounded in number and time, and panic-proof. The caller has
//! its answer already.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::decide::{Recheck, recheck};
use crate::clock;
use crate::observe::{MethodStats, count};
use crate::position::Epoch;
use crate::shared::Shared;
use crate::stage::Side;

/// How often a difference is looked at again before it counts as a write in flight.
const RECHECKS: u32 = 4;
const RECHECK_PAUSE: Duration = Duration::from_millis(2);

enum Outcome {
    Equal,
    Different,
    Transient,
    Failed,
}

/// Starts the comparison of an answer, or drops and counts it where too many are under way. The epoch is
/// one that was in force while the call was in flight.
pub(crate) fn start<T, E, F, Fut>(
    shared: Arc<Shared>,
    method: Arc<MethodStats>,
    epoch: Epoch,
    primary: Side,
    answer: Option<&T>,
    again: F,
) where
    T: PartialEq + Clone + Send + Sync + 'static,
    E: Send + 'static,
    F: Fn(Side) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
{
    let Ok(permit) = Arc::clone(&shared.mirrors).try_acquire_owned() else {
        count(&shared.counters.shadow_dropped);
        return;
    };
    let answer = answer.cloned();
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let comparison = compare(&shared, &method, primary, answer, again);
        let guarded = AssertUnwindSafe(comparison).catch_unwind();
        let counters = &shared.counters;
        match clock::limit(shared.options.shadow_timeout, guarded).await {
            Ok(Ok(Outcome::Equal)) => count(&counters.shadow_equal),
            Ok(Ok(Outcome::Transient)) => count(&counters.shadow_transient),
            // The comparison itself is not in flight as a read is, so the migration may have gone on
            // to a stage in which one side is no longer written, and differs by right.
            Ok(Ok(Outcome::Different)) if shared.position().epoch != epoch => {
                count(&counters.shadow_transient);
            }
            Ok(Ok(Outcome::Failed)) | Ok(Err(_)) => count(&counters.shadow_failed),
            Err(()) => count(&counters.shadow_timed_out),
            Ok(Ok(Outcome::Different)) => {
                count(&counters.shadow_different);
                report(&shared, &method).await;
            }
        }
        drop(permit);
    });
}

async fn compare<T, E, F, Fut>(
    shared: &Shared,
    method: &MethodStats,
    primary: Side,
    answer: Option<T>,
    again: F,
) -> Outcome
where
    T: PartialEq,
    F: Fn(Side) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mirror = read_mirror(shared, method, primary.other(), &again).await;
    let (Some(answer), Some(mirror)) = (answer, mirror) else {
        return Outcome::Failed;
    };
    if answer == mirror {
        return Outcome::Equal;
    }
    let mut primary_moved = false;
    for _ in 0..RECHECKS {
        clock::sleep(RECHECK_PAUSE).await;
        let before = again(primary).await;
        let mirror = again(primary.other()).await;
        let after = again(primary).await;
        let last = again(primary.other()).await;
        let (Ok(before), Ok(mirror), Ok(after), Ok(last)) = (before, mirror, after, last) else {
            return Outcome::Failed;
        };
        match recheck([&before, &after], [&mirror, &last]) {
            Recheck::Agreed => return Outcome::Transient,
            Recheck::Confirmed => return Outcome::Different,
            Recheck::InFlux => primary_moved |= before != after,
        }
    }
    // A mirror that answers otherwise each time, beside a primary that stands still, is no write in
    // flight: a write changes both.
    if primary_moved { Outcome::Transient } else { Outcome::Different }
}

async fn read_mirror<T, E, F, Fut>(
    shared: &Shared,
    method: &MethodStats,
    side: Side,
    again: &F,
) -> Option<T>
where
    F: Fn(Side) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let start = shared.clock.now();
    let answer = again(side).await;
    method.side(side).record(shared.clock.now().saturating_sub(start), answer.is_ok());
    answer.ok()
}

async fn report(shared: &Shared, method: &MethodStats) {
    let name = format!("{}::{}", method.repository, method.method);
    tracing::warn!(migration = &*shared.name, method = name, "old and new differ");
    if let Err(error) = shared.control.sample(&shared.name, &name, None).await {
        tracing::warn!(migration = &*shared.name, %error, "a mismatch could not be stored");
    }
}
