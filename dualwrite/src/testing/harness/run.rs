//! One run of a test: its operations, and the check after each of them.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::panic::AssertUnwindSafe;
use std::pin::pin;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};

use crate::error::{BoxError, Error, ErrorKind};
use crate::migration::Migration;
use crate::stages::stage::{Side, Stage};
use crate::state::faults::{Fault, FaultPlan};
use crate::testing::harness::bug::{BugKind, MigrationBug};
use crate::testing::harness::dice::Dice;
use crate::testing::harness::history::History;
use crate::testing::harness::judge::{Cause, Seen, judge};
use crate::testing::harness::plan::{Call, MigrationTest};
use crate::testing::harness::report::TestReport;

pub(super) type Found<T = ()> = Result<T, Box<MigrationBug>>;

/// How often a call is made again whose error says that it may be.
pub(super) const TRIES: usize = 20;

const SETTLE_TRIES: usize = 2;

/// One operation of the service.
#[derive(Clone, Debug)]
pub(super) enum Operation<K, V> {
    Write(K, V),
    Delete(K),
    /// By its place among the changes of the test.
    Change(usize, K),
}

impl<K, V> Operation<K, V> {
    pub(super) fn key(&self) -> &K {
        match self {
            Self::Write(key, _) | Self::Delete(key) | Self::Change(_, key) => key,
        }
    }
}

pub(super) struct Run<'t, 'a, K, V> {
    pub(super) test: &'t MigrationTest<'a, K, V>,
    pub(super) migration: Migration,
    faults: FaultPlan,
    dice: Dice,
    /// What was written, as every caller was told.
    pub(super) model: BTreeMap<K, V>,
    ever: BTreeSet<K>,
    /// What the old and the new side held when they were seen last.
    seen: [BTreeMap<K, V>; 2],
    pub(super) history: History<K>,
    /// The new side holds every row.
    pub(super) is_copied: bool,
    next_value: usize,
    untested: Vec<String>,
}

impl<'t, 'a, K: Ord + Clone + Debug + 'a, V: Clone + PartialEq + Debug + 'a> Run<'t, 'a, K, V> {
    pub(super) fn new(test: &'t MigrationTest<'a, K, V>) -> Self {
        let faults = FaultPlan::new();
        faults.attach(&test.migration);
        Self {
            test,
            migration: test.migration.clone(),
            faults,
            dice: Dice::new(test.seed),
            model: BTreeMap::new(),
            ever: BTreeSet::new(),
            seen: Default::default(),
            history: History::new(),
            is_copied: false,
            next_value: 0,
            untested: Vec::new(),
        }
    }

    /// Nothing fails any more.
    pub(super) fn end(&self) {
        FaultPlan::detach(&self.migration);
    }

    pub(super) fn report(self) -> TestReport {
        TestReport { seed: self.test.seed, operations: self.history.len(), untested: self.untested }
    }

    pub(super) fn stage(&self) -> Stage {
        self.migration.position().stage
    }

    pub(super) fn leave_untested(&mut self, what: impl Into<String>) {
        self.untested.push(what.into());
    }

    pub(super) fn note(&mut self, key: Option<&K>, text: impl Into<String>) {
        self.history.note(self.stage(), key.cloned(), text.into());
    }

    pub(super) fn bug(
        &self,
        kind: BugKind,
        key: Option<&K>,
        found: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Box<MigrationBug> {
        Box::new(MigrationBug {
            migration: self.migration.name().to_owned(),
            stage: self.stage(),
            kind,
            key: key.map(|key| format!("{key:?}")),
            found: found.into(),
            next_step: next_step.into(),
            operations: self.history.about(key),
            seed: self.test.seed,
        })
    }

    /// A failure of what the library or the user's code was asked for.
    pub(super) fn failed(&self, what: &str, error: impl Display) -> Box<MigrationBug> {
        let next = "look at the error; the operations below led there";
        self.bug(BugKind::Failed, None, format!("{what} failed: {error}"), next)
    }

    /// The next value, other than the one that the key has.
    pub(super) fn value_for(&mut self, key: &K) -> V {
        let values = &self.test.values;
        let mut value = &values[self.next_value % values.len()];
        for _ in 0..values.len() {
            value = &values[self.next_value % values.len()];
            self.next_value += 1;
            if self.model.get(key) != Some(value) {
                break;
            }
        }
        value.clone()
    }

    /// A key with a row, or without one.
    pub(super) fn key(&mut self, with_row: bool) -> Option<K> {
        let known = self.test.keys.iter().chain(self.model.keys()).collect::<BTreeSet<_>>();
        let fitting: Vec<K> = known
            .into_iter()
            .filter(|key| self.model.contains_key(key) == with_row)
            .cloned()
            .collect();
        self.pick(&fitting)
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        self.dice.pick(from).cloned()
    }

    /// The row of a key that the new side had when it was seen last.
    pub(super) fn new_row(&self, key: &K) -> Option<&V> {
        self.seen[1].get(key)
    }

    fn text(&self, operation: &Operation<K, V>) -> String {
        match operation {
            Operation::Write(key, value) => format!("write({key:?}, {value:?})"),
            Operation::Delete(key) => format!("delete({key:?})"),
            Operation::Change(at, key) => format!("{}({key:?})", self.test.changes[*at].name),
        }
    }

    fn call(&self, operation: &Operation<K, V>) -> Option<Call<'a, ()>> {
        match operation.clone() {
            Operation::Write(key, value) => self.test.write.as_ref().map(|write| write(key, value)),
            Operation::Delete(key) => self.test.delete.as_ref().map(|delete| delete(key)),
            Operation::Change(at, key) => Some((self.test.changes[at].run)(key)),
        }
    }

    /// What the row is after an operation.
    fn effect(&self, operation: &Operation<K, V>) -> Option<V> {
        match operation {
            Operation::Write(_, value) => Some(value.clone()),
            Operation::Delete(_) => None,
            Operation::Change(at, key) => {
                self.model.get(key).cloned().map(|row| (self.test.changes[*at].effect)(row))
            }
        }
    }

    fn apply(&mut self, operation: &Operation<K, V>) {
        let key = operation.key().clone();
        match self.effect(operation) {
            Some(value) => self.model.insert(key, value),
            None => self.model.remove(&key),
        };
    }

    /// Does one operation, while a call of a side is struck. Answers whether it was done.
    pub(super) async fn operate(
        &mut self,
        operation: &Operation<K, V>,
        struck: Option<(Side, Fault)>,
    ) -> Found<bool> {
        let mut text = self.text(operation);
        if let Some((side, fault)) = struck {
            text.push_str(&format!(", the {side} side made to {fault}"));
        }
        self.ever.insert(operation.key().clone());
        self.note(Some(operation.key()), text);
        for _ in 0..TRIES {
            if let Some((side, fault)) = struck {
                self.faults.strike_next(side, fault);
            }
            let Some(call) = self.call(operation) else { return Ok(false) };
            let ended = ended(call, &self.faults).await;
            let has_struck = struck.is_some() && self.faults.left() == 0;
            self.faults.clear();
            match ended {
                Ok(Ok(())) => {
                    self.check_honest(operation, struck.filter(|_| has_struck))?;
                    self.apply(operation);
                    return Ok(true);
                }
                Ok(Err(_)) | Err(_) if has_struck => {
                    self.note(Some(operation.key()), "  it failed, as it should".to_owned());
                    return Ok(false);
                }
                Ok(Err(error)) if Error::find(&*error).is_some_and(Error::is_retryable) => {}
                Ok(Err(error)) => return Err(self.refused(operation, &error.to_string())),
                Err(panic) => return Err(self.refused(operation, &said(&*panic))),
            }
        }
        Err(self.refused(operation, &format!("it was tried {TRIES} times")))
    }

    /// Who was told that a write is done must be right.
    fn check_honest(&self, operation: &Operation<K, V>, struck: Option<(Side, Fault)>) -> Found {
        let answers = if self.stage() < Stage::Live { Side::Old } else { Side::New };
        match struck {
            Some((side, fault)) if side == answers => Err(self.bug(
                BugKind::HiddenError,
                Some(operation.key()),
                format!("the {side} side, which answers, was made to {fault}, and the caller was told that it is done"),
                "does your code pass on the error of the wrapper, and commit only after `Ok`?",
            )),
            _ => Ok(()),
        }
    }

    fn refused(&self, operation: &Operation<K, V>, error: &str) -> Box<MigrationBug> {
        let next = match self.stage() {
            Stage::Off => {
                "does the old side take this value? Else give the test others: `.values([…])`"
            }
            _ => "the operation works at `off`: what does the other side refuse?",
        };
        let key = Some(operation.key());
        self.bug(BugKind::Failed, key, format!("{} failed: {error}", self.text(operation)), next)
    }

    /// What a side holds.
    async fn rows(&self, side: Side) -> Found<Vec<(K, V)>> {
        let list = match side {
            Side::Old => &self.test.old_rows,
            Side::New => &self.test.new_rows,
        };
        let what = format!("{side}_rows");
        let Some(list) = list else {
            let next = format!("add `.{what}(…)` to the test");
            return Err(self.bug(BugKind::Test, None, format!("`{what}` is missing"), next));
        };
        list().await.map_err(|error| self.failed(&format!("`{what}`"), error))
    }

    /// Takes what the sides hold for right.
    pub(super) async fn look(&mut self) -> Found {
        for (at, side) in [Side::Old, Side::New].into_iter().enumerate() {
            if let Some(found) = self.rows_or_none(side).await? {
                self.seen[at] = found.into_iter().collect();
            }
        }
        Ok(())
    }

    /// Before the copy has ended, the list of the new side may fail: for a column that is NULL still.
    async fn rows_or_none(&self, side: Side) -> Found<Option<Vec<(K, V)>>> {
        match self.rows(side).await {
            Err(bug) if side == Side::Old || self.is_copied || bug.kind == BugKind::Test => {
                Err(bug)
            }
            listed => Ok(listed.ok()),
        }
    }

    /// What the old side holds already at the beginning.
    pub(super) fn adopt_old(&mut self) {
        self.model = self.seen[0].clone();
        self.ever.extend(self.model.keys().cloned());
        let (of_new, model) = (&self.seen[1], &self.model);
        self.ever.extend(of_new.keys().filter(|key| !model.contains_key(key)).cloned());
    }

    /// Checks that the sides hold what the stage promises: the old side until `Complete`, the new side once it is
    /// copied.
    pub(super) async fn check(&mut self, cause: &Cause<'_, K, V>) -> Found {
        let checks_old = self.stage() < Stage::Complete;
        let checks_new = self.is_copied && self.stage() > Stage::Off;
        for (at, side, checks) in [(0, Side::Old, checks_old), (1, Side::New, checks_new)] {
            let Some(found) = self.rows_or_none(side).await? else { continue };
            let (expected, before, ever) = (&self.model, &self.seen[at], &self.ever);
            let seen = Seen { side, expected, found: &found, before, ever, cause };
            if let Some(verdict) = checks.then(|| judge(&seen)).flatten() {
                let (found, next) = (verdict.found, verdict.next_step);
                return Err(self.bug(verdict.kind, Some(&verdict.key), found, next));
            }
            self.seen[at] = found.into_iter().collect();
        }
        Ok(())
    }

    /// Reads a key as the service does.
    pub(super) async fn check_answer(&self, key: &K) -> Found {
        let Some(read) = &self.test.read else { return Ok(()) };
        let answer = match AssertUnwindSafe(read(key.clone())).catch_unwind().await {
            Ok(answer) => answer.map_err(|error| self.failed(&format!("read({key:?})"), error))?,
            Err(panic) => return Err(self.failed(&format!("read({key:?})"), said(&*panic))),
        };
        let expected = self.model.get(key);
        if answer.as_ref() == expected {
            return Ok(());
        }
        Err(self.bug(
            BugKind::WrongAnswer,
            Some(key),
            format!("a read answers {answer:?}, and {expected:?} was written"),
            "which table, column and conversion does the side read that answers in this stage?",
        ))
    }

    pub(super) async fn check_answers(&self) -> Found {
        let keys: BTreeSet<&K> = self.test.keys.iter().chain(self.model.keys()).collect();
        for key in keys {
            self.check_answer(key).await?;
        }
        Ok(())
    }

    pub(super) async fn settle(&mut self) -> Found {
        let mut settled = self.migration.settle().await;
        for _ in 0..SETTLE_TRIES {
            match &settled {
                Err(error) if error.is_retryable() => settled = self.migration.settle().await,
                _ => break,
            }
        }
        settled.map_err(|error| self.failed("copying the marked keys again", error))
    }

    /// Does one operation and checks what became of it.
    pub(super) async fn operate_and_check(
        &mut self,
        operation: &Operation<K, V>,
        struck: Option<(Side, Fault)>,
    ) -> Found {
        let key = operation.key();
        let before = self.model.get(key).cloned();
        let was_done = self.operate(operation, struck).await?;
        if struck.is_some() {
            self.settle().await?;
        }
        let cause = match (was_done, struck, operation) {
            (false, ..) => Cause::Undone(key),
            (true, Some(_), _) => Cause::Repaired(key),
            (true, None, Operation::Write(..)) => Cause::Write(key),
            (true, None, Operation::Delete(_)) => Cause::Delete(key),
            (true, None, Operation::Change(at, _)) => {
                let effect = &self.test.changes[*at].effect;
                Cause::Change(key, before.map(|row| effect(effect(row))))
            }
        };
        self.check(&cause).await?;
        self.check_answer(key).await
    }
}

/// Makes a call again while its error says that it may be. A gate has been waited for already.
pub(super) async fn retried<T>(call: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..TRIES {
        match call().await {
            Err(error) if error.is_retryable() && error.kind() != ErrorKind::Blocked => {}
            ended => return ended,
        }
    }
    call().await
}

/// Waits for the end of a call. One that hangs is given up by its caller.
async fn ended(
    call: Call<'_, ()>,
    faults: &FaultPlan,
) -> std::thread::Result<Result<(), BoxError>> {
    match select(AssertUnwindSafe(call).catch_unwind(), pin!(faults.hung())).await {
        Either::Left((ended, _)) => ended,
        Either::Right(_) => Ok(Err("it hangs".into())),
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.map_or_else(|| "a panic".to_owned(), |text| format!("a panic: {text}"))
}
