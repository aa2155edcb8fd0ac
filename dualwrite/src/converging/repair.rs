//! Copies keys again whose two sides may differ, from the side that is their primary.

use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use crate::clock;
use crate::converging::two::Two;
use crate::error::Error;
use crate::key::EncodedKey;
use crate::observe::{count, count_by};
use crate::stages::converging::again_after;
use crate::stages::route::{Operation, route};
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::store::converging::port::{FailedCopy, Settled};

/// Keys that one round reads.
const ROUND_KEYS: u32 = 500;
/// Copies that fail in a round, with none that succeeds, before it ends: the store is down.
const FAILURES_MAX: u64 = 10;
/// How often a key is copied anew in one go because it was written meanwhile, and the pauses in between.
const TRIES: u32 = 20;
const TRY_PAUSE: Duration = Duration::from_millis(15);

/// What came of a key.
#[derive(Debug)]
pub(crate) enum Copying {
    /// Both sides agree.
    Settled,
    /// It was copied or being written by somebody else, and is still to be copied.
    Later,
    Failed(Error),
}

/// Copies one key that is to be copied, whether or not its time has come.
pub(crate) async fn settle(shared: &Shared, two: &Two, key: &EncodedKey) -> Result<Copying, Error> {
    let _turn = two.order.turn(key).await;
    for attempt in 0..TRIES {
        if attempt > 0 {
            clock::sleep(TRY_PAUSE).await;
        }
        let Some(claim) = two.marks.claim(shared, key, two.options.claim_lease()).await? else {
            return Ok(match two.marks.look(shared, key).await? {
                (_, true) => Copying::Later,
                (_, false) => Copying::Settled,
            });
        };
        if claim.writes > 0 {
            two.marks.give_back(shared, key, &claim, None).await?;
            continue;
        }
        let bucket = two.stores.bucket(shared, key)?;
        // Where one side is all there is to write, there is nothing to copy.
        let to = route(claim.position, Operation::Write, bucket).mirror;
        let copied = match to {
            Some(to) => two.stores.copy(key, to).await,
            None => Ok(()),
        };
        let Err(error) = copied else {
            match two.marks.settle(shared, key, &claim, to).await? {
                Settled::Done => {
                    count(&shared.counters.dirty_repaired);
                    return Ok(Copying::Settled);
                }
                Settled::Again => continue,
            }
        };
        let failures = claim.attempts + 1;
        let failed = FailedCopy {
            to: to.unwrap_or(Side::New),
            generation: shared.generation(),
            error: &error.cause(),
            again_after: again_after(failures).max(two.options.settle_after),
            is_dead_letter: failures >= two.options.attempts,
        };
        count(&shared.counters.copies_failed);
        two.marks.give_back(shared, key, &claim, Some(failed)).await?;
        return Ok(Copying::Failed(error));
    }
    Ok(Copying::Later)
}

/// What a round came to.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) settled: u64,
    pub(crate) failed: u64,
    pub(crate) failure: Option<Error>,
}

/// Takes over the writes of dead instances, and copies the keys whose time has come, or all.
pub(crate) async fn round(shared: &Shared, two: &Two, all: bool) -> Result<Round, Error> {
    let now = shared.clock.now();
    let (rounds_failed, until) = *two.brake.lock().unwrap_or_else(PoisonError::into_inner);
    if !all && now < until {
        return Ok(Round::default());
    }
    let adopted = two.marks.adopt(shared, two.options.grace()).await?;
    if adopted > 0 {
        count_by(&shared.counters.converging_adopted, adopted);
        tracing::warn!(
            migration = &*shared.name,
            writes = adopted,
            "writes of instances that are gone are taken over; their keys will be copied"
        );
    }
    let keys = two.marks.due(shared, all, ROUND_KEYS).await?;
    let round = settle_all(shared, two, &keys).await?;
    let brake = match (round.settled, &round.failure) {
        (0, Some(_)) => {
            let pause = u64::try_from(again_after(rounds_failed + 1).as_nanos());
            (rounds_failed + 1, shared.clock.now().saturating_add(pause.unwrap_or(u64::MAX)))
        }
        (0, None) => (rounds_failed, until),
        _ => (0, 0),
    };
    *two.brake.lock().unwrap_or_else(PoisonError::into_inner) = brake;
    Ok(round)
}

/// Copies these keys, several at once. Ends early where nothing succeeds.
pub(crate) async fn settle_all(
    shared: &Shared,
    two: &Two,
    keys: &[EncodedKey],
) -> Result<Round, Error> {
    let mut round = Round::default();
    // Boxed, for a stream of futures that borrow is not `Send`.
    let settling: Vec<BoxFuture<'_, _>> =
        keys.iter().map(|key| settle(shared, two, key).boxed()).collect();
    let mut settling = stream::iter(settling).buffer_unordered(two.options.copies);
    while let Some(settled) = settling.next().await {
        match settled {
            Ok(Copying::Settled) => round.settled += 1,
            Ok(Copying::Later) => {}
            Ok(Copying::Failed(error)) | Err(error) => {
                round.failed += 1;
                round.failure.get_or_insert(error);
            }
        }
        if round.settled == 0 && round.failed >= FAILURES_MAX {
            break;
        }
    }
    Ok(round)
}
