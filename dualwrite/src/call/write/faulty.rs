//! A call of one side of a write as a test wants it to end; see [`FaultPlan`](crate::testing::FaultPlan).

use std::panic::AssertUnwindSafe;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::call::write::answer::{Answer, Ended};
use crate::call::write::decide::Target;
use crate::copier::joined::Joined;
use crate::stages::stage::Side;
use crate::state::faults::{Fault, FaultPlan, injected, injected_panic};

/// What the plan of a test says of this call. A statement over both sides of a row counts as the mirror's.
pub(super) fn next(shared: &Joined, target: Target, method: &str) -> Option<(FaultPlan, Fault)> {
    let side = match target {
        Target::Old => Side::Old,
        Target::New => Side::New,
        Target::Both(primary) => primary.other(),
    };
    let plan = shared.for_tests.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    let fault = plan.next(side, method)?;
    Some((plan, fault))
}

/// Ends a call by a fault. A call that hangs has reached its limit at once; one without a limit waits for ever.
pub(super) async fn struck<T, E>(
    (plan, fault): (FaultPlan, Fault),
    side: impl Future<Output = Result<T, E>>,
    limit: Option<Duration>,
) -> Answer<T, E> {
    Answer(match (fault, limit) {
        (Fault::Fail, _) => Ended::Refused(injected(fault)),
        (Fault::Panic, _) => Ended::Panicked(injected_panic()),
        (Fault::Hang, Some(limit)) => Ended::TimedOut(limit),
        (Fault::Hang, None) => plan.hang().await,
        (Fault::LoseAnswer, _) => match AssertUnwindSafe(side).catch_unwind().await {
            Ok(Ok(_)) => Ended::Refused(injected(fault)),
            Ok(Err(error)) => Ended::Answered(Err(error)),
            Err(panic) => Ended::Panicked(panic),
        },
    })
}
