//! Carries out one write of a repository. The wrapper plans it by a function of `begin`, then for each
//! target that [`Write::next`] names calls [`Write::run`] and [`Write::leave`], then [`Write::finish`]. What
//! fails on the way stays in the write, which then names no more targets. A [`Write`] that is dropped before
//! `finish` counts: as failed where its side panicked, else as abandoned.
//!
//! What is awaited on the way says `+ Send` by itself: else the compiler would prove it anew, for every method.

use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::call::repository::{Entry, Repository};
use crate::call::shadow::writes::compare;
use crate::call::write::answer::{Answer, Ended, mirror_cause, unanswered};
use crate::call::write::decide::{Calls, Mirror, Target, Turn, TurnEnd};
#[cfg(feature = "testing")]
use crate::call::write::faulty;
use crate::call::write::mirror::{mark_all, mark_table, set_savepoint, undo};
use crate::call::write::route::{Context, Planned};
use crate::call::write::unequal::{are_unequal, note_unequal};
use crate::clock;
use crate::compare::Pair;
use crate::copier::joined::Joined;
use crate::copier::registered::judge_mirror;
use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::key::OwnedKey;
use crate::needs::Failure;
use crate::observe::{count, mirror::Cause};
use crate::stages::route::{Operation, route};
use crate::stages::stage::Side;
use crate::state::MirrorPolicy;
use crate::transaction::{MirrorSavepoint, Tx};

const UNFINISHED: &str = "a write in it failed or was dropped halfway";

/// One write under way.
pub struct Write<'r, T, E> {
    repository: &'r Repository,
    shared: &'r Arc<Joined>,
    method: &'r Entry,
    planned: Planned,
    /// Another write has failed in this transaction before: this one cannot make that good.
    spoiled_before: bool,
    turn: Turn,
    target: Target,
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
    /// The error of a side; ours is apart, so that a future may hold it whatever theirs is.
    theirs: Option<E>,
    ours: Option<Error>,
}

/// What the drop of a write means.
#[derive(Clone, Copy, PartialEq)]
enum Progress {
    /// No side runs.
    Between,
    /// Code of the present target, or about its answer, runs between two of our calls: who panics is it.
    Calling,
    /// The present target is waited for.
    Waiting,
    /// All is counted.
    Settled,
}

impl<T, E> Drop for Write<'_, T, E> {
    fn drop(&mut self) {
        let nanos = self.shared.clock.now().saturating_sub(self.start);
        let (stats, (side, is_primary)) = (&self.method.stats, self.running());
        match self.progress {
            Progress::Settled => return,
            Progress::Between if self.is_counted => return,
            Progress::Between => stats.side(self.planned.route.primary).record_abandoned(nanos),
            Progress::Calling if std::thread::panicking() => {
                stats.record_write(side, is_primary, nanos, false);
            }
            Progress::Calling | Progress::Waiting => stats.side(side).record_abandoned(nanos),
        }
        stats.set_writes();
    }
}

impl<'r, T, E> Write<'r, T, E> {
    /// A write that is planned like this, or has failed.
    pub(crate) fn begun<DB: Backend>(
        repository: &'r Repository,
        method: usize,
        tx: &Tx<'_, DB>,
        route: impl FnOnce(&Context<'r>) -> Result<Planned, Error>,
    ) -> Self {
        let shared = repository.shared();
        let planned = Context::of(repository, method, tx).and_then(|context| route(&context));
        let (planned, ours) = match planned {
            Ok(planned) => (planned, None),
            Err(error) => (Planned::nowhere(), Some(error.of(&shared.name))),
        };
        Self {
            repository,
            shared,
            method: repository.method(method),
            planned,
            spoiled_before: tx.is_spoiled(),
            turn: Turn::First,
            target: Target::Old,
            undoes_both: false,
            start: shared.clock.now(),
            progress: Progress::Between,
            is_counted: false,
            answers: [None, None],
            forgiven: None,
            theirs: None,
            ours,
        }
    }

    fn has_failed(&self) -> bool {
        self.ours.is_some() || self.theirs.is_some()
    }

    fn is_dual(&self) -> bool {
        self.planned.route.mirror.is_some()
    }

    fn calls(&self) -> Calls {
        match (self.is_dual(), self.repository.writes_at_once()) {
            (false, _) => Calls::Alone,
            (true, true) => Calls::AtOnce,
            (true, false) => Calls::InTurn,
        }
    }

    /// Whether a failure of this target is undone, and the write goes on.
    fn is_forgiving(&self, target: Target) -> bool {
        let primary = self.planned.route.primary;
        self.planned.mirror == Mirror::Forgiving
            && self.turn != Turn::Again
            && match target {
                Target::Old => primary != Side::Old,
                Target::New => primary != Side::New,
                Target::Both(_) => self.repository.is_one_row(),
            }
    }

    fn named(&self) -> Option<Target> {
        let primary = self.planned.route.primary;
        let alone = match primary {
            Side::Old => Target::Old,
            Side::New => Target::New,
        };
        match (self.turn, self.calls()) {
            _ if self.has_failed() => None,
            (Turn::First, Calls::Alone) | (Turn::Again, _) => Some(alone),
            (Turn::First, Calls::AtOnce) => Some(Target::Both(primary)),
            (Turn::First, Calls::InTurn) => Some(Target::Old),
            (Turn::Second, _) => Some(Target::New),
            (Turn::Done, _) => None,
        }
    }

    /// The implementation to call next, after the savepoint where a failure of it would be forgiven.
    pub fn next<DB: Backend>(
        &mut self,
        tx: &mut Tx<'_, DB>,
    ) -> impl Future<Output = Option<Target>> + Send {
        let named = self.named();
        let mut sets = false;
        if let (Some(target), true) = (named, self.is_dual()) {
            if self.turn == Turn::First && self.planned.mirror == Mirror::Forgiving {
                let repeats = self.shared.options.mirror == MirrorPolicy::Repeat;
                self.undoes_both = tx.mirror_savepoint() == MirrorSavepoint::AtStart
                    && (repeats || self.is_forgiving(target));
            }
            sets = self.is_forgiving(target) && !self.undoes_both;
            // Until the last side has answered, the transaction is half a write.
            tx.spoil(UNFINISHED);
        }
        self.target = named.unwrap_or(self.target);
        let checks = self.turn == Turn::First && self.is_dual();
        let (shared, ours, progress) = (self.shared, &mut self.ours, &mut self.progress);
        async move {
            if named.is_some() {
                tx.begin_work();
            }
            let entered = async {
                if checks {
                    tx.check_ours().await?;
                }
                if sets {
                    let set = set_savepoint(tx).await;
                    set.map_err(|error| Error::database("setting a savepoint", error))?;
                }
                Ok::<(), Error>(())
            };
            match entered.await {
                Ok(()) => {
                    *progress = Progress::Calling;
                    named
                }
                Err(error) => {
                    tx.end_work();
                    *ours = Some(error.of(&shared.name));
                    None
                }
            }
        }
    }

    /// Whether nothing is called after the present target, so that it may have the arguments.
    pub fn is_last(&self) -> bool {
        !self.is_dual()
    }

    /// Calls one side within its limit, and catches its panic.
    pub async fn run(&mut self, side: impl Future<Output = Result<T, E>>) -> Answer<T, E> {
        let limit = match self.answers_for(self.target) {
            true => self.method.primary_timeout(self.shared),
            false => Some(self.method.mirror_timeout(self.shared)),
        };
        self.start = self.shared.clock.now();
        self.progress = Progress::Waiting;
        #[cfg(feature = "testing")]
        if let Some(fault) = faulty::next(self.shared, self.target, self.method.stats.method) {
            let answer = faulty::struck(fault, side, limit).await;
            self.progress = Progress::Calling;
            return answer;
        }
        let mut side = pin!(AssertUnwindSafe(side).catch_unwind());
        let ended = match limit {
            None => Ok(side.await),
            Some(limit) => clock::limit(limit, side.as_mut()).await.map_err(|()| limit),
        };
        self.progress = Progress::Calling;
        Answer(match ended {
            Ok(Ok(answer)) => Ended::Answered(answer),
            Ok(Err(panic)) => Ended::Panicked(panic),
            Err(limit) => Ended::TimedOut(limit),
        })
    }

    /// The key that the first side has made, for the call of the other.
    pub fn made<K: OwnedKey>(
        &mut self,
        answer: &Answer<T, E>,
        key_of: impl FnOnce(&T) -> K,
    ) -> Option<K> {
        let Answer(Ended::Answered(Ok(answer))) = answer else {
            return None;
        };
        if self.turn == Turn::Second || !self.planned.makes_key {
            return None;
        }
        let key = key_of(answer);
        if let (true, Err(error)) = (self.is_dual(), self.decide_made(&key)) {
            self.ours = Some(error.of(&self.shared.name));
        }
        Some(key)
    }

    /// Now that the key is known, whether the other side may fall behind.
    fn decide_made<K: OwnedKey>(&mut self, key: &K) -> Result<(), Error> {
        self.shared.check_key(key)?;
        let position = self.planned.position;
        let bucket = self.shared.bucket(key)?;
        let route = route(position, Operation::Write, bucket);
        if self.turn == Turn::First && self.target == Target::Old && route.primary == Side::Old {
            let context = Context {
                repository: self.repository,
                shared: self.shared,
                method: self.method,
                position,
            };
            self.planned.mirror = context.forgives(Side::New);
            self.planned.unequal = context.unequal(route, false);
        }
        self.planned.record_keys(std::iter::once_with(|| self.shared.encode(key)));
        Ok(())
    }

    /// After the call of one target. `differ` compares the answers of old and new; `cause` finds in an error
    /// what can be said of it without values.
    ///
    /// # Panics
    /// With the primary's panic.
    pub async fn leave_by<DB: Backend>(
        &mut self,
        tx: &mut Tx<'_, DB>,
        answer: Answer<T, E>,
        differ: impl Fn(Pair<'_, T, T>) -> bool,
        cause: impl for<'e> Fn(&'e E) -> Option<&'e (dyn StdError + 'static)>,
    ) {
        self.record(&answer);
        let is_given_up = answer.is_given_up();
        let found = mirror_cause(&answer, cause);
        let left = match self.judge(tx, answer, found).await {
            Ok(end) => self.settle(tx, end, differ).await.map(|()| end),
            Err(error) => Err(error),
        };
        match is_given_up && left.as_ref().ok() != Some(&TurnEnd::Forgiven) {
            true => tx.give_up(),
            false => tx.end_work(),
        }
        if let Err(error) = left {
            tx.spoil(UNFINISHED);
            self.ours = Some(error.of(&self.shared.name));
        }
    }

    /// Keeps the answer of a target; undoes what it did where it failed and that is forgiven. Beside errors of
    /// ours a failure of the target is one, where it left no error of its own.
    async fn judge<DB: Backend>(
        &mut self,
        tx: &mut Tx<'_, DB>,
        answer: Answer<T, E>,
        found: Cause,
    ) -> Result<TurnEnd, Error> {
        let forgives = self.forgives(&answer);
        // What the database would judge at the commit, past the savepoint, is judged now.
        let judged = match answer.is_ok() && forgives {
            true => judge_mirror(self.shared, tx, &self.planned.keys, self.mirror()).await,
            false => Ok(()),
        };
        if forgives && (!answer.is_ok() || judged.is_err()) {
            if undo(self.shared, tx, answer.is_given_up()).await? {
                self.planned.compare = false;
                let refused = judged.err().map(|error| Cause::of_error(&error));
                self.forgiven = Some(refused.unwrap_or(found));
                return Ok(TurnEnd::Forgiven);
            }
            if matches!(self.target, Target::Both(_)) {
                self.count(self.planned.route.primary, true, false);
            }
        }
        judged?;
        let is_primary = self.answers_for(self.target);
        match answer.0 {
            Ended::Answered(Ok(value)) => {
                self.answers[usize::from(!is_primary)] = Some(value);
                Ok(TurnEnd::Answered)
            }
            Ended::Answered(Err(error)) => {
                tx.spoil(UNFINISHED);
                self.theirs = Some(error);
                Ok(TurnEnd::Failed)
            }
            Ended::Panicked(panic) if is_primary => {
                tx.spoil(UNFINISHED);
                tx.end_work();
                self.progress = Progress::Settled;
                resume_unwind(panic)
            }
            Ended::Panicked(_) => Err(unanswered(&self.method.stats.name, self.mirror(), None)),
            Ended::TimedOut(limit) => {
                Err(unanswered(&self.method.stats.name, self.running().0, Some(limit)))
            }
            #[cfg(feature = "testing")]
            Ended::Refused(error) => Err(error),
        }
    }

    /// Goes on to the next turn. After the last one marks what has fallen behind, compares, and declares the
    /// transaction whole again.
    async fn settle<DB: Backend>(
        &mut self,
        tx: &mut Tx<'_, DB>,
        end: TurnEnd,
        differ: impl Fn(Pair<'_, T, T>) -> bool,
    ) -> Result<(), Error> {
        let before = self.turn;
        self.turn = before.after(end, self.calls(), self.undoes_both);
        if end == TurnEnd::Failed {
            return Ok(());
        }
        let is_unequal = self.turn == Turn::Done
            && are_unequal(self.shared, &self.planned, &self.answers, differ);
        let is_unequal =
            is_unequal && note_unequal(self.shared, &self.planned, &self.method.stats.name)?;
        let is_behind = end == TurnEnd::Forgiven && self.turn != Turn::Again;
        if is_behind || before == Turn::Again || is_unequal {
            // After the primary: whoever copies the key locks its row in old before its mark, too.
            mark_all(self.shared, &self.planned.keys, self.mirror(), tx).await?;
            if self.planned.is_unrecorded {
                mark_table(self.shared, tx).await?;
            }
        }
        if self.turn != Turn::Done || self.has_failed() {
            return Ok(());
        }
        mark_all(self.shared, &self.planned.ahead, Side::New, tx).await?;
        if self.planned.is_ahead_unrecorded {
            mark_table(self.shared, tx).await?;
        }
        // Only a write that left the transaction whole may be looked at, and before it counts as whole again.
        if self.planned.compare && !self.spoiled_before {
            for key in &self.planned.keys {
                compare(self.shared, &self.method.stats, tx, key).await?;
            }
        }
        self.complete(tx);
        Ok(())
    }

    /// The write is whole, and so is the transaction, unless another write has spoiled it before.
    fn complete<DB: Backend>(&mut self, tx: &mut Tx<'_, DB>) {
        if !self.spoiled_before {
            tx.clear_spoiled();
        }
        match self.forgiven.take() {
            Some(cause) => {
                self.shared.mirror_failed(&self.method.stats.name, self.mirror(), cause);
            }
            None if self.is_dual() => count(&self.shared.counters.mirror_written),
            None => {}
        }
    }

    /// Whether this target's answer is the caller's.
    fn answers_for(&self, target: Target) -> bool {
        match target {
            Target::Old => self.planned.route.primary == Side::Old,
            Target::New => self.planned.route.primary == Side::New,
            Target::Both(_) => true,
        }
    }

    fn mirror(&self) -> Side {
        self.planned.route.primary.other()
    }

    /// The answer of the write.
    ///
    /// # Errors
    /// The primary's, the mirror's where it is not forgiven, or ours; the transaction can then only be rolled
    /// back.
    pub fn finish(mut self) -> Result<T, E>
    where
        E: Failure,
    {
        self.progress = Progress::Settled;
        if let Some(error) = self.theirs.take() {
            return Err(error);
        }
        let unmade = || Error::new(ErrorKind::Poisoned, "a write was finished before it was made");
        match (self.ours.take(), self.answers[0].take()) {
            (None, Some(answer)) => Ok(answer),
            (ours, _) => Err(ours.unwrap_or_else(unmade).into()),
        }
    }

    /// The side that the present target counts for, and whether its answer is the caller's.
    fn running(&self) -> (Side, bool) {
        let side = match self.target {
            Target::Old => Side::Old,
            Target::New => Side::New,
            Target::Both(side) => side,
        };
        (side, self.answers_for(self.target))
    }

    /// Whether a failure that ended so is undone, and the write goes on. One statement would not end alone either.
    fn forgives(&self, answer: &Answer<T, E>) -> bool {
        let is_both = matches!(self.target, Target::Both(_));
        self.is_forgiving(self.target) && !(is_both && answer.is_given_up())
    }

    /// Counts what a target did. What is forgiven of a call for both is the mirror's failure; then the call of
    /// the primary alone is the one that counts.
    fn record(&mut self, answer: &Answer<T, E>) {
        self.progress = Progress::Between;
        let is_both = matches!(self.target, Target::Both(_));
        match (self.turn, self.calls()) {
            (Turn::Again, Calls::InTurn) => {}
            _ if is_both && !answer.is_ok() && self.forgives(answer) => {
                self.count(self.mirror(), false, false);
            }
            _ => {
                let (side, is_primary) = self.running();
                self.count(side, is_primary, answer.is_ok());
            }
        }
    }

    fn count(&mut self, side: Side, is_primary: bool, is_ok: bool) {
        let nanos = self.shared.clock.now().saturating_sub(self.start);
        self.method.stats.record_write(side, is_primary, nanos, is_ok);
        self.is_counted |= is_primary;
    }
}
