//! A difference that the test makes itself: the verification and the shadow comparison must see it.

use std::collections::BTreeSet;
use std::fmt::Debug;

use crate::observe::CounterReport;
use crate::stages::verification::VerifyReport;
use crate::testing::harness::bug::{BugKind, MigrationBug};
use crate::testing::harness::judge::Cause;
use crate::testing::harness::run::{Found, Run, retried};

const LOOK_AT_MAPPING: &str = "does the copy function's `mapping` (or `differing`, or the derived fields) compare the old column with the new \
     one, and not a column with itself?";

impl<'a, K: Ord + Clone + Debug + 'a, V: Clone + PartialEq + Debug + 'a> Run<'_, 'a, K, V> {
    async fn verify(&mut self) -> Found<VerifyReport> {
        let migration = self.migration.clone();
        let report = retried(async || migration.verify().restart().run().await).await;
        report.map_err(|error| self.failed("the verification", error))
    }

    /// The two sides are known to agree: a verification must say so.
    pub(super) async fn is_verified(&mut self) -> Found {
        let report = self.verify().await?;
        self.note(None, "verification");
        if report.is_clean() {
            return Ok(());
        }
        let shown: Vec<String> = report
            .differences
            .iter()
            .take(5)
            .map(|found| format!("key {}: {}, fields {:?}", found.key, found.kind, found.fields))
            .collect();
        Err(self.bug(
            BugKind::FalseDifference,
            None,
            format!("a verification finds differences ({}), and both sides hold what was written", shown.join("; ")),
            "does the copy function's `mapping` convert the values that it compares as `new_rows` does?",
        ))
    }

    /// Spoils a row of the new side. Answers with its key, or `None` where the test cannot.
    async fn spoil(&mut self) -> Found<Option<K>> {
        let Some(spoil) = &self.test.spoil_new else { return Ok(None) };
        let Some(key) = self.key(true) else { return Ok(None) };
        let spoilt = spoil(key.clone()).await;
        self.note(Some(&key), format!("spoil_new({key:?})"));
        spoilt.map_err(|error| self.failed("`spoil_new`", error))?;
        let before = self.new_row(&key).cloned();
        self.look().await?;
        if self.new_row(&key) == before.as_ref() {
            let found =
                "`spoil_new` was called for this key, and `new_rows` lists the same as before";
            let next = "does `spoil_new` change a column that `new_rows` reads, and is the condition right?";
            return Err(self.bug(BugKind::Test, Some(&key), found, next));
        }
        Ok(Some(key))
    }

    /// Copies again what was spoilt.
    async fn repair(&mut self) -> Found {
        let migration = self.migration.clone();
        let repaired = retried(async || migration.verify().restart().repair().run().await).await;
        let report = repaired.map_err(|error| self.failed("the repair", error))?;
        self.note(None, "repair of what differs");
        if report.failed > 0 {
            return Err(
                self.failed("the repair", format!("{} keys could not be copied", report.failed))
            );
        }
        self.check(&Cause::Copied(&BTreeSet::new())).await
    }

    /// A verification sees what is spoilt, a repair makes it good.
    pub(super) async fn verification_sees(&mut self) -> Found {
        let Some(key) = self.spoil().await? else {
            self.leave_untested("whether the comparisons see a difference: add `.spoil_new(…)`");
            return Ok(());
        };
        if self.verify().await?.is_clean() {
            let found =
                "the row was spoilt on the new side, and a verification finds no difference";
            return Err(self.bug(BugKind::BlindComparison, Some(&key), found, LOOK_AT_MAPPING));
        }
        self.repair().await?;
        self.is_verified().await
    }

    fn counted(&self) -> CounterReport {
        self.migration.shared().counters.report()
    }

    /// In `Shadow`: equal sides are found equal, and a spoilt row is not.
    pub(super) async fn shadow_sees(&mut self) -> Found {
        let Some(read) = &self.test.read else {
            self.leave_untested("reads and their comparison: add `.read(…)`");
            return Ok(());
        };
        let before = self.counted();
        self.check_answers().await?;
        self.settle().await?;
        let differing = self.counted().shadow_different - before.shadow_different;
        if differing > 0 {
            return Err(self.falsely_different(differing).await);
        }
        let Some(key) = self.spoil().await? else { return Ok(()) };
        let before = self.counted();
        let answer = read(key.clone()).await;
        answer.map_err(|error| self.failed(&format!("read({key:?})"), error))?;
        self.settle().await?;
        let now = self.counted();
        if now.shadow_different == before.shadow_different {
            let is_blind = now.shadow_equal > before.shadow_equal;
            self.blind_or_untested(&key, is_blind)?;
        }
        self.repair().await?;
        let forgotten = self.migration.forget_mismatches().await;
        forgotten.map_err(|error| self.failed("`forget_mismatches`", error))?;
        self.is_verified().await
    }

    fn blind_or_untested(&mut self, key: &K, is_blind: bool) -> Found {
        if !is_blind {
            self.leave_untested(
                "the shadow comparison: the read of a spoilt row was not compared; register with a `shadow_sample` \
                 of 100 %",
            );
            return Ok(());
        }
        let found = "the row was spoilt on the new side, and the shadow comparison of its read counts as equal";
        let next =
            "does each side of the read select its own column, and does the comparison look at it?";
        Err(self.bug(BugKind::BlindComparison, Some(key), found, next))
    }

    async fn falsely_different(&self, many: u64) -> Box<MigrationBug> {
        let samples = self.migration.mismatches().await.unwrap_or_default();
        let shown: Vec<String> = samples
            .iter()
            .take(5)
            .map(|sample| format!("{}, field `{}`", sample.method, sample.field))
            .collect();
        self.bug(
            BugKind::FalseDifference,
            None,
            format!(
                "{many} shadow comparisons found a difference ({}), and both sides hold what was written",
                shown.join("; ")
            ),
            "do both sides of the read convert to the same type and order, and select columns that are migrated?",
        )
    }
}
