//! Which calls of the sides a test makes fail, and what was called: [`FaultPlan`] and [`Recorder`].

use std::any::Any;
use std::fmt;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind};
use crate::stages::stage::Side;

/// The most calls that a [`Recorder`] keeps; later ones are counted alone.
pub const RECORDED_CALLS_MAX: usize = 100_000;
/// The name that stands for every operation.
const ANY: &str = "*";

/// How a call of a side ends that a [`FaultPlan`] strikes.
///
/// ```
/// assert_eq!(dualwrite::testing::Fault::LoseAnswer.to_string(), "succeed and lose the answer");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It fails and does nothing.
    Fail,
    /// It does nothing and never answers. A write through a wrapper reaches its time limit at once, so no test waits for
    /// it; a call without a limit waits until its caller drops it.
    Hang,
    /// It panics and does nothing.
    Panic,
    /// It does its work, and then fails.
    LoseAnswer,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "fail",
            Self::Hang => "hang",
            Self::Panic => "panic",
            Self::LoseAnswer => "succeed and lose the answer",
        })
    }
}

/// One call of a side.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedCall {
    /// The side that was called.
    pub side: Side,
    /// The method, such as `save`.
    pub operation: String,
    /// Which call of this operation it was on this side, from 1.
    pub number: u32,
    /// How it was made to end.
    pub fault: Option<Fault>,
}

/// Records which sides were called, in order. Clones record into one list.
///
/// ```
/// use dualwrite::Side;
/// use dualwrite::testing::{FaultPlan, MemorySide};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let faults = FaultPlan::new();
/// let old = MemorySide::new(Side::Old).with_faults(&faults);
/// old.put(1_i64, "ada").await?;
/// assert_eq!(faults.recorder().count(Side::Old, "put"), 1);
/// # Ok::<(), dualwrite::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    calls: Vec<RecordedCall>,
    counts: Vec<(Side, String, u32)>,
}

impl Recorder {
    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls so far, [`RECORDED_CALLS_MAX`] at the most.
    #[must_use]
    pub fn calls(&self) -> Vec<RecordedCall> {
        self.recorded().calls.clone()
    }

    /// How often this operation of a side was called; `"*"` counts every operation.
    #[must_use]
    pub fn count(&self, side: Side, operation: &str) -> u32 {
        let recorded = self.recorded();
        let counted = recorded
            .counts
            .iter()
            .filter(|(of, name, _)| *of == side && (operation == ANY || name == operation));
        counted.map(|(_, _, count)| count).sum()
    }

    /// Forgets the calls, and begins to count from 1.
    pub fn clear(&self) {
        *self.recorded() = Recorded::default();
    }

    /// Counts one more call.
    fn number(&self, side: Side, operation: &str) -> u32 {
        let counts = &mut self.recorded().counts;
        let known = counts.iter_mut().find(|(of, name, _)| *of == side && name == operation);
        match known {
            Some((.., count)) => {
                *count += 1;
                *count
            }
            None => {
                counts.push((side, operation.to_owned(), 1));
                1
            }
        }
    }

    fn keep(&self, call: RecordedCall) {
        let calls = &mut self.recorded().calls;
        if calls.len() < RECORDED_CALLS_MAX {
            calls.push(call);
        }
    }
}

/// Which calls of the two sides fail, and how. Clones share one plan.
///
/// [`attach`](Self::attach) applies it to the writes of a migration, through whichever wrapper or closure; a
/// [`MemorySide`](crate::testing::MemorySide) takes it by `with_faults`, and any other code by [`run`](Self::run).
///
/// ```
/// use dualwrite::Side;
/// use dualwrite::testing::{Fault, FaultPlan, MemorySide};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// // The second `put` of the new side is done, and its answer is lost.
/// let faults = FaultPlan::new().at(Side::New, "put", 2, Fault::LoseAnswer);
/// let new = MemorySide::new(Side::New).with_faults(&faults);
/// new.put(1_i64, "ada").await?;
/// assert!(new.put(2, "grace").await.is_err());
/// assert_eq!(new.get(&2).await?, Some("grace"));
/// assert_eq!(faults.left(), 0);
/// # Ok::<(), dualwrite::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    faults: Arc<Mutex<Vec<Planned>>>,
    recorder: Recorder,
    hanging: Arc<Notify>,
}

#[derive(Clone, Debug)]
struct Planned {
    side: Side,
    operation: String,
    /// From 1.
    call: u32,
    fault: Fault,
}

impl FaultPlan {
    /// A plan without faults, which records what is called.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn planned(&self) -> MutexGuard<'_, Vec<Planned>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Strikes one call of an operation of a side: the first is 1. Calls are counted for each side and operation from
    /// the beginning of the plan. The operation `"*"` is any, and `call` then counts all calls of the side.
    #[must_use = "the plan has this fault; keep it or attach it"]
    pub fn at(self, side: Side, operation: &str, call: u32, fault: Fault) -> Self {
        self.planned().push(Planned { side, operation: operation.to_owned(), call, fault });
        self
    }

    /// Strikes the next call of a side, whichever operation it is.
    pub fn strike_next(&self, side: Side, fault: Fault) {
        let call = self.recorder.count(side, ANY) + 1;
        self.planned().push(Planned { side, operation: ANY.to_owned(), call, fault });
    }

    /// How many faults have not struck yet.
    #[must_use]
    pub fn left(&self) -> usize {
        self.planned().len()
    }

    /// Takes back the faults that have not struck yet.
    pub fn clear(&self) {
        self.planned().clear();
    }

    /// What was called so far.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Records a call that begins, and answers how it ends.
    pub(crate) fn next(&self, side: Side, operation: &str) -> Option<Fault> {
        let of_side = self.recorder.count(side, ANY) + 1;
        let number = self.recorder.number(side, operation);
        let mut planned = self.planned();
        let at = planned.iter().position(|planned| {
            let is_this = planned.operation == operation && planned.call == number;
            let is_any = planned.operation == ANY && planned.call == of_side;
            planned.side == side && (is_this || is_any)
        });
        let fault = at.map(|at| planned.remove(at).fault);
        drop(planned);
        self.recorder.keep(RecordedCall { side, operation: operation.to_owned(), number, fault });
        fault
    }

    /// Hangs, and says so to [`hung`](Self::hung).
    pub(crate) async fn hang<T>(&self) -> T {
        self.hanging.notify_one();
        pending().await
    }

    /// Waits until a call hangs that has no time limit: from there on it ends only where its caller drops it.
    pub async fn hung(&self) {
        self.hanging.notified().await;
    }

    /// Runs one call of a side as the plan wants it.
    ///
    /// ```
    /// use dualwrite::Side;
    /// use dualwrite::testing::FaultPlan;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let faults = FaultPlan::new();
    /// let answer = faults.run(Side::New, "find", async { Ok::<_, sqlx::Error>(7) }).await?;
    /// assert_eq!((answer, faults.recorder().calls().len()), (7, 1));
    /// # Ok::<(), sqlx::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The call's, or ours where the plan makes it fail.
    ///
    /// # Panics
    /// Where the plan says so.
    pub async fn run<T, E: From<Error>>(
        &self,
        side: Side,
        operation: &str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match self.next(side, operation) {
            None => call.await,
            Some(fault @ Fault::Fail) => Err(injected(fault).into()),
            Some(Fault::Hang) => self.hang().await,
            Some(Fault::Panic) => resume_unwind(injected_panic()),
            Some(fault @ Fault::LoseAnswer) => {
                call.await?;
                Err(injected(fault).into())
            }
        }
    }
}

/// The error of a call that a test makes fail.
pub(crate) fn injected(fault: Fault) -> Error {
    Error::new(ErrorKind::Database, format!("the fault plan of a test made this call {fault}"))
}

/// What a call panics with, without the message of the panic hook.
pub(crate) fn injected_panic() -> Box<dyn Any + Send> {
    Box::new("the fault plan of a test made this call panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_its_call_alone() {
        let plan = FaultPlan::new().at(Side::New, "save", 2, Fault::Panic);
        let next = |side, operation| plan.next(side, operation);
        assert_eq!(next(Side::New, "save"), None);
        assert_eq!((next(Side::Old, "save"), next(Side::Old, "save")), (None, None));
        assert_eq!(next(Side::New, "remove"), None);
        assert_eq!(next(Side::New, "save"), Some(Fault::Panic));
        assert_eq!((next(Side::New, "save"), plan.left()), (None, 0));
        let struck: Vec<_> =
            plan.recorder().calls().into_iter().filter(|call| call.fault.is_some()).collect();
        assert_eq!((struck.len(), struck[0].number), (1, 2));
    }

    #[test]
    fn the_next_call_of_a_side_is_struck_whichever_it_is() {
        let plan = FaultPlan::new();
        assert_eq!(plan.next(Side::Old, "save"), None);
        plan.strike_next(Side::Old, Fault::Fail);
        assert_eq!(plan.next(Side::New, "save"), None);
        assert_eq!(plan.next(Side::Old, "remove"), Some(Fault::Fail));
        plan.strike_next(Side::Old, Fault::Fail);
        plan.clear();
        assert_eq!(plan.next(Side::Old, "remove"), None);
        plan.recorder().clear();
        assert_eq!(plan.recorder().count(Side::Old, "*"), 0);
    }
}
