//! The way through the stages.

use std::collections::BTreeSet;
use std::fmt::Debug;

use futures_util::future::join;

use crate::error::{Error, ErrorKind};
use crate::gate::Gate;
use crate::migration::transition::Transition;
use crate::stages::moves::Move;
use crate::stages::position::Percent;
use crate::stages::stage::{Side, Stage};
use crate::state::faults::Fault;
use crate::testing::harness::bug::BugKind;
use crate::testing::harness::judge::Cause;
use crate::testing::harness::run::{Found, Operation, Run, TRIES, retried};

const BECAUSE: &str = "a test of the migration";
/// Half of the keys behave as in the next stage.
const HALF: u16 = 50;
/// Operations that are drawn, beside those of every kind.
const DRAWN: usize = 4;

impl<'a, K: Ord + Clone + Debug + 'a, V: Clone + PartialEq + Debug + 'a> Run<'_, 'a, K, V> {
    /// The whole way.
    pub(super) async fn walk(&mut self) -> Found {
        self.begin().await?;
        if self.ends_at(Stage::Off) {
            return Ok(());
        }
        self.copies().await?;
        self.faults(Side::New, Side::Old).await?;
        self.is_verified().await?;
        self.verification_sees().await?;
        if self.ends_at(Stage::DualWrite) {
            return Ok(());
        }
        self.go(Move::Advance(Stage::Shadow)).await?;
        self.live().await?;
        self.shadow_sees().await?;
        if self.ends_at(Stage::Shadow) {
            return Ok(());
        }
        self.go_live_and_back().await?;
        if self.ends_at(Stage::Live) {
            return Ok(());
        }
        self.go(Move::Advance(Stage::RampDown)).await?;
        self.live().await?;
        if self.ends_at(Stage::RampDown) {
            return Ok(());
        }
        self.is_verified().await?;
        self.go(Move::Advance(Stage::Complete)).await?;
        self.live().await?;
        self.check_answers().await?;
        self.back().await
    }

    fn ends_at(&self, stage: Stage) -> bool {
        self.test.until <= stage
    }

    /// At `Off`, with rows in the old side.
    async fn begin(&mut self) -> Found {
        let test = self.test;
        let needs = |found: &str, next: &str| Err(self.bug(BugKind::Test, None, found, next));
        if test.write.is_none() {
            return needs("`write` is missing", "add `.write(…)` to the test");
        }
        if test.keys.len() < 6 || test.values.len() < 2 {
            return needs(
                "the test has fewer than six keys or two values",
                "give `over` some more",
            );
        }
        if self.stage() != Stage::Off {
            let next =
                "use a database of its own for the test, in which the migration was never moved";
            return needs("the migration is not at `off`", next);
        }
        self.look().await?;
        self.adopt_old();
        if test.delete.is_none() {
            self.leave_untested("deletes: add `.delete(…)`");
        }
        // Every value once, while there are keys for it and some are left to be inserted later.
        let many = test.values.len().min(test.keys.len() - 3);
        for key in test.keys.iter().take(many) {
            let value = self.value_for(key);
            self.operate_and_check(&Operation::Write(key.clone(), value), None).await?;
        }
        self.live().await
    }

    /// Everything is copied, once, over stale rows, and beside live writes. In this order, so that a bug of the copy or
    /// of a write is found where it can be told from others.
    async fn copies(&mut self) -> Found {
        let comes_back = self.migration.shared().terms().sees_new;
        self.go(Move::Advance(Stage::DualWrite)).await?;
        self.live().await?;
        self.copy(!comes_back).await?;
        if !comes_back {
            self.leave_untested("the way back to `off` and copies over stale rows: give the copy function a `new_source`");
            return Ok(());
        }
        for beside_writes in [false, true] {
            self.go(Move::StepBack(Stage::Off)).await?;
            self.is_copied = false;
            self.live().await?;
            self.look().await?;
            self.go(Move::Advance(Stage::DualWrite)).await?;
            self.copy(beside_writes).await?;
        }
        Ok(())
    }

    async fn copy(&mut self, beside_writes: bool) -> Found {
        let migration = self.migration.clone();
        let copying = retried(async || migration.backfill().batch(3).run().await);
        let (copied, touched) = match beside_writes {
            true => join(copying, self.live_unchecked()).await,
            false => (copying.await, Ok(BTreeSet::new())),
        };
        self.end_copy(copied.map(|progress| progress.failed), &touched?).await?;
        self.live().await
    }

    async fn end_copy(&mut self, failed: Result<u64, Error>, touched: &BTreeSet<K>) -> Found {
        self.note(None, "backfill");
        let failed = failed.map_err(|error| self.failed("the backfill", error))?;
        if failed > 0 {
            let letters = self.migration.dead_letters().await.unwrap_or_default();
            let first =
                letters.first().map(|letter| format!("key {}: {}", letter.key, letter.error));
            let what = format!("{failed} keys could not be copied, {}", first.unwrap_or_default());
            return Err(self.failed("the backfill", what));
        }
        self.settle().await?;
        self.is_copied = true;
        self.check(&Cause::Copied(touched)).await?;
        self.check_answers().await
    }

    /// Calls that fail in every way, of the side beside and of the side that answers.
    async fn faults(&mut self, beside: Side, answers: Side) -> Found {
        for fault in [Fault::Fail, Fault::LoseAnswer] {
            for operation in self.every_kind() {
                self.operate_and_check(&operation, Some((beside, fault))).await?;
            }
        }
        // The side that answers may have no limit: a call of it that hangs has no end.
        for (side, fault) in [
            (beside, Fault::Panic),
            (beside, Fault::Hang),
            (answers, Fault::Fail),
            (answers, Fault::LoseAnswer),
            (answers, Fault::Panic),
        ] {
            if let Some(operation) = self.drawn() {
                self.operate_and_check(&operation, Some((side, fault))).await?;
            }
        }
        self.check_answers().await
    }

    /// By a ramp to `Live`, back to `Shadow` and to `Live` again.
    async fn go_live_and_back(&mut self) -> Found {
        let half = Percent::new(HALF).map_err(|error| self.failed("the ramp", error))?;
        self.go(Move::Ramp(half)).await?;
        self.live().await?;
        self.check_answers().await?;
        self.go(Move::Advance(Stage::Live)).await?;
        self.live().await?;
        self.faults(Side::Old, Side::New).await?;
        self.go(Move::Rollback).await?;
        self.live().await?;
        self.check_answers().await?;
        self.go(Move::Advance(Stage::Live)).await
    }

    /// From `Complete` to `Off`, where the copy function knows the way.
    async fn back(&mut self) -> Found {
        if !self.migration.shared().terms().can_copy_back {
            self.leave_untested(
                "the way back from `complete`: register a copy function that is a `CopyBack` with `.backfill_both_ways(…)`",
            );
            return Ok(());
        }
        self.go(Move::Rollback).await?;
        let written: BTreeSet<K> = self.live_unchecked().await?;
        self.look().await?;
        let migration = self.migration.clone();
        let copied = retried(async || migration.backfill().reverse().run().await).await;
        self.note(None, "reverse backfill");
        copied.map_err(|error| self.failed("the reverse backfill", error))?;
        self.settle().await?;
        self.check(&Cause::Copied(&written)).await?;
        self.is_verified().await?;
        self.go(Move::Rollback).await?;
        self.live().await?;
        self.check_answers().await?;
        self.go(Move::StepBack(Stage::DualWrite)).await?;
        self.go(Move::StepBack(Stage::Off)).await?;
        self.live().await?;
        self.check_answers().await
    }

    /// One operation of each kind, the delete last, so that all of them find their rows.
    fn every_kind(&mut self) -> Vec<Operation<K, V>> {
        let mut operations = Vec::new();
        if let Some(key) = self.key(false) {
            let value = self.value_for(&key);
            operations.push(Operation::Write(key, value));
        }
        for at in 0..self.test.changes.len() {
            operations.extend(self.key(true).map(|key| Operation::Change(at, key)));
        }
        if let Some(key) = self.key(true) {
            let value = self.value_for(&key);
            operations.push(Operation::Write(key, value));
        }
        if self.test.delete.is_some() {
            operations.extend(self.key(true).map(Operation::Delete));
        }
        operations
    }

    fn drawn(&mut self) -> Option<Operation<K, V>> {
        let operations = self.every_kind();
        self.pick(&operations)
    }

    /// Live writes, each of which is checked.
    async fn live(&mut self) -> Found {
        for operation in self.every_kind() {
            self.operate_and_check(&operation, None).await?;
        }
        for _ in 0..DRAWN {
            if let Some(operation) = self.drawn() {
                self.operate_and_check(&operation, None).await?;
            }
        }
        Ok(())
    }

    /// Live writes beside something else. Answers with their keys.
    async fn live_unchecked(&mut self) -> Found<BTreeSet<K>> {
        let mut touched = BTreeSet::new();
        for _ in 0..2 {
            for operation in self.every_kind() {
                self.operate(&operation, None).await?;
                touched.insert(operation.key().clone());
            }
        }
        Ok(touched)
    }

    /// Makes a move. Gates of time and of approvals are not what is tested, nor are the failures that the test has
    /// made itself.
    pub(super) async fn go(&mut self, wish: Move) -> Found {
        let migration = self.migration.clone();
        let mut moved = Ok(());
        for _ in 0..TRIES {
            let moving = Transition::new(migration.shared(), wish).because(BECAUSE);
            let moving = [Gate::Soaked, Gate::Approved, Gate::MirrorWrites]
                .into_iter()
                .fold(moving, Transition::overriding);
            moved = moving.await.map(drop);
            match &moved {
                Err(error) if error.kind() == ErrorKind::Timeout => {}
                _ => break,
            }
        }
        match moved {
            Ok(()) => {
                self.note(None, wish.to_string());
                Ok(())
            }
            Err(error) => Err(self.bug(
                BugKind::MoveRefused,
                None,
                format!("`{wish}` was refused: {error}"),
                "do what the gate says, or end the test before it: `.until(…)`",
            )),
        }
    }
}
