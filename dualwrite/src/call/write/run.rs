//! Carries out one write of a repository. The wrapper makes one of three sequences of calls:
//!
//! | where the write goes | calls, in this order |
//! |---|---|
//! | one side | [`start::write()`], [`Write::enter_only`], [`Write::run`], [`Write::leave_only`] |
//! | both, by one implementation | [`start::write()`], [`Write::enter_both`], [`Write::run`], [`Write::leave_both`] |
//! | both, one after the other | [`start::write()`]; for each side that [`Write::next`] names [`Write::enter`], [`Write::run`], [`Write::leave`]; then [`Write::finish`] |
//!
//! A [`Write`] that is dropped before its last call counts as abandoned, for the side that it waited for.
//!
//! What is awaited on the way says `+ Send` by itself: else the compiler would prove it anew, down to the
//! drivers, for every method of every wrapper.

pub(crate) mod start;

use std::error::Error as StdError;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::call::repository::Entry;
use crate::call::shadow::writes::compare;
use crate::call::write::answer::{Answer, Ended, mirror_cause, unequal_answers};
use crate::call::write::decide::{Mirror, Turn, TurnEnd, Unequal};
use crate::call::write::mirror::{note_dirty, set_savepoint, undo};
use crate::clock;
use crate::compare::Pair;
use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::needs::Failure;
use crate::observe::{count, mirror::Cause};
use crate::stages::route::Plan;
use crate::stages::stage::Side;
use crate::state::{MirrorPolicy, Shared};
use crate::transaction::Tx;

const UNFINISHED: &str = "a write in it failed or was dropped halfway";

/// The sides that a write goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// Old alone.
    Old,
    /// New alone.
    New,
    /// Old, then new.
    Both,
}

/// One write under way.
pub struct Write<'r, T, E> {
    shared: &'r Arc<Shared>,
    method: &'r Entry,
    /// Whether the sides are read back and compared.
    compare: bool,
    plan: Plan,
    mirror: Mirror,
    unequal: Unequal,
    key: Option<EncodedKey>,
    /// Another write has failed in this transaction before: this one cannot make that good.
    spoiled_before: bool,
    turn: Turn,
    /// One implementation makes it: one side, or both at once.
    is_alone: bool,
    /// The savepoint stands before the first side: going back to it undoes both.
    undoes_both: bool,
    /// When the write began, and then each side.
    start: u64,
    progress: Progress,
    /// The primary has ended, and is counted.
    is_counted: bool,
    /// The answers of the primary and of the mirror.
    answers: [Option<T>; 2],
    /// Why the mirror failed, where that was forgiven.
    forgiven: Option<Cause>,
    error: PhantomData<fn() -> E>,
}

/// What the drop of a write means.
#[derive(Clone, Copy, PartialEq)]
enum Progress {
    /// No side is waited for.
    Between,
    /// This side is waited for.
    Running(Side),
}

impl<T, E> Drop for Write<'_, T, E> {
    fn drop(&mut self) {
        let nanos = self.shared.clock.now().saturating_sub(self.start);
        let (stats, primary) = (&self.method.stats, self.plan.primary);
        match self.progress {
            Progress::Running(side) => stats.side(side).record_abandoned(nanos),
            // A side that panics before it makes its future does so between two of our calls.
            Progress::Between if self.turn != Turn::Done && std::thread::panicking() => {
                let side = self.running();
                stats.record_write(side, side == primary, nanos, false);
            }
            Progress::Between if self.is_counted => return,
            Progress::Between => stats.side(primary).record_abandoned(nanos),
        }
        stats.set_writes();
    }
}

impl<T, E> Write<'_, T, E> {
    /// Where this write goes.
    pub fn sides(&self) -> Sides {
        match (self.plan.mirror, self.plan.primary) {
            (Some(_), _) => Sides::Both,
            (None, Side::Old) => Sides::Old,
            (None, Side::New) => Sides::New,
        }
    }

    /// The side that the next answer is of. What one implementation does alone counts for the primary.
    fn running(&self) -> Side {
        match (self.is_alone, self.turn.side()) {
            (false, Some(side)) => side,
            _ => self.plan.primary,
        }
    }

    fn is_forgiving(&self, side: Side) -> bool {
        side != self.plan.primary && self.mirror == Mirror::Forgiving
    }

    /// The side that a dual write goes to next.
    pub fn next(&self) -> Option<Side> {
        self.turn.side()
    }

    /// Before a side of a dual write: sets the savepoint where a failure would be forgiven, unless it
    /// stands already.
    ///
    /// # Errors
    /// `Database`.
    pub fn enter<DB: Backend>(
        &mut self,
        side: Side,
        tx: &mut Tx<'_, DB>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        if self.turn == Turn::Old && self.mirror == Mirror::Forgiving {
            let repeats = self.shared.options.mirror == MirrorPolicy::Repeat;
            self.undoes_both = tx.is_untouched() && (repeats || self.is_forgiving(side));
        }
        // Until the last side has answered, the transaction is half a write.
        tx.spoil(UNFINISHED);
        let (shared, sets) = (self.shared, self.is_forgiving(side) && !self.undoes_both);
        async move {
            if sets {
                set_savepoint(tx).await.map_err(|error| {
                    Error::database("setting a savepoint", error).of(&shared.name)
                })?;
            }
            tx.begin_work();
            Ok(())
        }
    }

    /// Before a dual write that one implementation makes alone. No savepoint: what fails there has
    /// written neither side.
    pub fn enter_both<DB: Backend>(&mut self, tx: &mut Tx<'_, DB>) {
        self.is_alone = true;
        tx.spoil(UNFINISHED);
        tx.begin_work();
    }

    /// Before the only side of a write that goes to one.
    pub fn enter_only<DB: Backend>(&mut self, tx: &mut Tx<'_, DB>) {
        tx.begin_work();
    }

    /// Runs one side within its limit, and catches its panic.
    pub async fn run(&mut self, side: impl Future<Output = Result<T, E>>) -> Answer<T, E> {
        let running = self.running();
        let limit = match running == self.plan.primary {
            true => self.method.primary_timeout(self.shared),
            false => Some(self.method.mirror_timeout(self.shared)),
        };
        self.start = self.shared.clock.now();
        self.progress = Progress::Running(running);
        let mut side = pin!(AssertUnwindSafe(side).catch_unwind());
        let ended = match limit {
            None => Ok(side.await),
            Some(limit) => clock::limit(limit, side.as_mut()).await.map_err(|()| limit),
        };
        Answer(match ended {
            Ok(Ok(answer)) => Ended::Answered(answer),
            Ok(Err(panic)) => Ended::Panicked(panic),
            Err(limit) => Ended::TimedOut(limit),
        })
    }

    /// After a side of a dual write. `differ` compares the answers of old and new; `cause` finds in an error
    /// what can be said of it without values.
    ///
    /// # Errors
    /// The primary's error, or the mirror's where it is not forgiven; the transaction can then only be
    /// rolled back.
    ///
    /// # Panics
    /// With the primary's panic.
    pub async fn leave<DB: Backend>(
        &mut self,
        side: Side,
        tx: &mut Tx<'_, DB>,
        answer: Answer<T, E>,
        differ: impl Fn(Pair<'_, T, T>) -> bool,
        cause: impl for<'e> Fn(&'e E) -> Option<&'e (dyn StdError + 'static)>,
    ) -> Result<(), E>
    where
        E: Failure,
    {
        let end = self.settle(side, tx, answer, cause).await?;
        let before = self.turn;
        self.turn = before.after(end, self.undoes_both);
        let is_unequal = self.turn == Turn::Done && self.are_unequal(differ);
        self.mark(before, end, is_unequal, tx)
            .await
            .map_err(|error| error.of(&self.shared.name))?;
        if self.turn == Turn::Done {
            // Only a write that left the transaction whole may be looked at, and before it counts as whole.
            if let (true, false, Some(key)) = (self.compare, self.spoiled_before, &self.key) {
                compare(self.shared, &self.method.stats, tx, key).await?;
            }
            self.complete(tx);
        }
        Ok(())
    }

    /// Counts what a side did and keeps its answer; undoes it where it failed and that is forgiven.
    async fn settle<DB: Backend>(
        &mut self,
        side: Side,
        tx: &mut Tx<'_, DB>,
        answer: Answer<T, E>,
        cause: impl for<'e> Fn(&'e E) -> Option<&'e (dyn StdError + 'static)>,
    ) -> Result<TurnEnd, E>
    where
        E: Failure,
    {
        if self.turn != Turn::OldAgain {
            self.record(side, &answer);
        }
        self.leave_running(tx, &answer);
        if let Ended::Answered(Ok(value)) = answer.0 {
            self.answers[usize::from(side != self.plan.primary)] = Some(value);
            return Ok(TurnEnd::Answered);
        }
        let shared = self.shared;
        if self.is_forgiving(side) {
            let found = mirror_cause(&answer, cause);
            if undo(shared, tx).await.map_err(|error| error.of(&shared.name))? {
                self.compare = false;
                self.forgiven = Some(found);
                return Ok(TurnEnd::Forgiven);
            }
        }
        self.turn = self.turn.after(TurnEnd::Failed, self.undoes_both);
        self.fail(side, answer).map(|_| TurnEnd::Failed)
    }

    /// What the caller gets of a side that failed.
    fn fail(&self, side: Side, answer: Answer<T, E>) -> Result<T, E>
    where
        E: Failure,
    {
        let (kind, how) = match answer.0 {
            Ended::Answered(answer) => return answer,
            Ended::Panicked(panic) if side == self.plan.primary => resume_unwind(panic),
            Ended::Panicked(_) => (ErrorKind::MirrorFailed, "panicked".to_owned()),
            Ended::TimedOut(limit) => {
                (ErrorKind::Timeout, format!("did not end within {limit:?} and was given up"))
            }
        };
        let message = format!("the write `{}` to the {side} side {how}", self.method.stats.name);
        Err(Error::new(kind, message).of(&self.shared.name).into())
    }

    /// Marks the key dirty where the mirror fell behind, after the primary: whoever copies the key locks its
    /// row in old before its mark, too.
    fn mark<DB: Backend>(
        &self,
        before: Turn,
        end: TurnEnd,
        is_unequal: bool,
        tx: &mut Tx<'_, DB>,
    ) -> impl Future<Output = Result<(), Error>> + Send
    where
        E: Failure,
    {
        let is_behind =
            (end == TurnEnd::Forgiven && self.turn != Turn::OldAgain) || before == Turn::OldAgain;
        let (shared, key) = (self.shared, self.key.as_ref());
        let unequal = is_unequal.then_some(self.unequal);
        let (side, name) = (self.plan.primary.other(), &self.method.stats.name);
        async move {
            match unequal {
                Some(Unequal::Refused) => {
                    count(&shared.counters.answers_different);
                    return Err(unequal_answers(name));
                }
                Some(unequal) => {
                    count(&shared.counters.answers_different);
                    let is_marked = unequal == Unequal::Marked;
                    tracing::warn!(
                        migration = &*shared.name,
                        method = &**name,
                        is_marked,
                        "the old and the new side answered a write differently"
                    );
                }
                None => {}
            }
            if is_behind || unequal == Some(Unequal::Marked) {
                note_dirty(shared, key, side, tx).await?;
            }
            Ok(())
        }
    }

    /// Whether both sides answered, and not the same. A comparison that panics says nothing.
    fn are_unequal(&self, differ: impl Fn(Pair<'_, T, T>) -> bool) -> bool {
        let ([Some(primary), Some(mirror)], false) =
            (&self.answers, self.unequal == Unequal::Passed)
        else {
            return false;
        };
        let (old, new) = match self.plan.primary {
            Side::Old => (primary, mirror),
            Side::New => (mirror, primary),
        };
        let compared = catch_unwind(AssertUnwindSafe(|| differ(Pair::of(old, new))));
        compared.unwrap_or_else(|_| {
            count(&self.shared.counters.answers_uncompared);
            false
        })
    }

    /// The answer of a dual write.
    ///
    /// # Errors
    /// The primary's; but then `leave` has returned it already.
    pub fn finish(mut self) -> Result<T, E>
    where
        E: Failure,
    {
        match self.answers[0].take() {
            Some(answer) => Ok(answer),
            None => Err(Error::new(ErrorKind::Poisoned, "a write was finished before it was made")
                .of(&self.shared.name)
                .into()),
        }
    }

    /// After the only side of a write that goes to one.
    ///
    /// # Errors
    /// That side's.
    ///
    /// # Panics
    /// With that side's panic.
    pub fn leave_only<DB: Backend>(
        mut self,
        tx: &mut Tx<'_, DB>,
        answer: Answer<T, E>,
    ) -> Result<T, E>
    where
        E: Failure,
    {
        self.record(self.plan.primary, &answer);
        self.end(tx, answer)
    }

    /// After a write of both at once. Compares the sides where that is wanted. Answers with what the
    /// implementation for both did.
    ///
    /// # Errors
    /// `Database` where the savepoint of the comparison failed; the transaction can then only be rolled back.
    ///
    /// # Panics
    /// With the panic of the implementation for both.
    pub async fn leave_both<DB: Backend>(
        mut self,
        tx: &mut Tx<'_, DB>,
        answer: Answer<T, E>,
    ) -> Result<Result<T, E>, Error>
    where
        E: Failure,
    {
        self.record(self.plan.primary, &answer);
        let is_whole = answer.is_ok() && !self.spoiled_before;
        if let (true, true, Some(key)) = (self.compare, is_whole, &self.key) {
            compare(self.shared, &self.method.stats, tx, key).await?;
        }
        Ok(self.end(tx, answer))
    }

    /// Ends a write that one implementation made alone.
    fn end<DB: Backend>(&mut self, tx: &mut Tx<'_, DB>, answer: Answer<T, E>) -> Result<T, E>
    where
        E: Failure,
    {
        self.turn = Turn::Done;
        self.leave_running(tx, &answer);
        match answer.is_ok() {
            true => self.complete(tx),
            false => tx.spoil(UNFINISHED),
        }
        self.fail(self.plan.primary, answer)
    }

    /// The side no longer uses the connection, unless it was given up: then a statement of it may still be
    /// under way.
    fn leave_running<DB: Backend>(&self, tx: &mut Tx<'_, DB>, answer: &Answer<T, E>) {
        if !matches!(answer.0, Ended::TimedOut(_)) {
            tx.end_work();
        }
    }

    /// The write is whole, and so is the transaction, unless another write has spoiled it before.
    fn complete<DB: Backend>(&mut self, tx: &mut Tx<'_, DB>) {
        if !self.spoiled_before {
            tx.mend();
        }
        let (shared, name) = (self.shared, &self.method.stats.name);
        match self.forgiven.take() {
            Some(cause) => shared.mirror_failed(name, self.plan.primary.other(), cause),
            None if self.plan.mirror.is_some() => count(&shared.counters.mirror_written),
            None => {}
        }
    }

    fn record(&mut self, side: Side, answer: &Answer<T, E>) {
        let nanos = self.shared.clock.now().saturating_sub(self.start);
        let is_primary = side == self.plan.primary;
        self.method.stats.record_write(side, is_primary, nanos, answer.is_ok());
        self.progress = Progress::Between;
        self.is_counted |= is_primary;
    }
}
