//! An operator inside an instance, who gives random orders: moves forward and back, ramps, backfills, verifications,
//! repairs. Most are refused by a gate, or lose against those of another operator.

use std::time::Duration;

use dualwrite::{Error, Gate, Migration, Percent, Stage};

use crate::client::OFTEN;
use crate::log::Log;
use crate::service::VERSIONED;
use crate::support::dice::Dice;

pub(crate) struct Operator {
    pub(crate) name: String,
    pub(crate) migrations: Vec<Migration>,
    pub(crate) log: Log,
    pub(crate) dice: Dice,
    pub(crate) pause: Duration,
}

/// An order that takes longer is given up, in the middle of whatever it does.
const PATIENCE: Duration = Duration::from_secs(4);

const SPRINT: u32 = 3;
const SPRINT_WAITS: Duration = Duration::from_millis(800);

impl Operator {
    pub(crate) async fn order(&mut self) {
        let migration = self.dice.pick(&self.migrations).clone();
        let patience = match self.dice.one_in(15) {
            true => Duration::from_micros(self.dice.below(30_000) as u64),
            false => PATIENCE,
        };
        let (what, name) = (self.dice.below(100), migration.name().to_owned());
        let ordered = async {
            match what {
                0..32 => self.forward(&migration).await,
                32..38 => self.sprint(&migration).await,
                38..48 => self.ramp(&migration).await,
                48..56 => self.back(&migration).await,
                56..70 => self.copy(&migration).await,
                70..80 => self.copy_keys(&migration).await,
                80..94 => {
                    let report = migration.verify().run().await;
                    said(
                        "verification",
                        report.map(|report| format!("clean: {}", report.is_clean())),
                    )
                }
                _ => said("repair", migration.repair().await),
            }
        };
        let outcome = match tokio::time::timeout(patience, ordered).await {
            Ok(outcome) => outcome,
            Err(_) => Some(format!("an order was given up after {patience:?}")),
        };
        if let Some(outcome) = outcome {
            self.log.note(format_args!("{} {name}: {outcome}", self.name));
        }
        let pause = self.dice.below(self.pause.as_millis() as usize + 1) as u64;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    fn within(&mut self) -> Duration {
        Duration::from_millis([0, 300, 1_500][self.dice.below(3)])
    }

    async fn forward(&mut self, migration: &Migration) -> Option<String> {
        let next = migration.position().stage.next()?;
        let moving = migration.advance(next).within(self.within());
        // The mirrors that fail here are no reason to wait.
        let moving = moving.overriding(Gate::MirrorWrites).because("chaos");
        said(&format!("advance to {next}"), moving.await)
    }

    /// As far as it goes in one direction, without a pause: what has not followed yet is several stages behind.
    async fn sprint(&mut self, migration: &Migration) -> Option<String> {
        let (back, begun) = (self.dice.one_in(3), migration.position().stage);
        for _ in 0..SPRINT {
            let stage = migration.position().stage;
            let to = if back { stage.previous() } else { stage.next() };
            let to = to.filter(|to| *to != Stage::Off)?;
            let moving = if back { migration.step_back(to) } else { migration.advance(to) };
            let moving = moving.within(SPRINT_WAITS).because("chaos");
            if moving.overriding(Gate::MirrorWrites).await.is_err() {
                break;
            }
        }
        Some(format!("sprint from {begun} to {}", migration.position().stage))
    }

    async fn ramp(&mut self, migration: &Migration) -> Option<String> {
        let ramp = Percent::from_basis_points(self.dice.below(10_001) as u16).unwrap();
        let moving = migration.ramp_to(ramp).within(self.within());
        let moving = moving.overriding(Gate::MirrorWrites).because("chaos");
        said(&format!("ramp to {ramp}"), moving.await)
    }

    async fn back(&mut self, migration: &Migration) -> Option<String> {
        let before = migration.position().stage.previous()?;
        // All that was copied counts for nothing after `Off`.
        let rarely = before != Stage::Off || self.dice.one_in(4);
        match self.dice.one_in(2) {
            true => said("rollback", migration.rollback("chaos").within(self.within()).await),
            false if rarely => {
                let moving = migration.step_back(before).within(self.within());
                said(&format!("step back to {before}"), moving.await)
            }
            false => None,
        }
    }

    /// Keys that are written meanwhile.
    async fn copy_keys(&mut self, migration: &Migration) -> Option<String> {
        let mut copied = Ok(false);
        for _ in 0..COPIED {
            copied = migration.copy(&(VERSIONED.start() + self.dice.below(OFTEN) as i64)).await;
        }
        said("copies of single keys", copied)
    }

    async fn copy(&mut self, migration: &Migration) -> Option<String> {
        let backfill = migration.backfill().batch(1 + self.dice.below(20) as u32);
        let backfill = backfill.lease(Duration::from_millis(500));
        let back = migration.position().stage >= Stage::RampDown || self.dice.one_in(6);
        let backfill = if back { backfill.reverse() } else { backfill };
        let done = backfill.run().await.map(|progress| format!("complete: {}", progress.complete));
        said(if back { "reverse copy" } else { "backfill" }, done)
    }
}

/// Keys that are copied in one order.
const COPIED: usize = 4;

/// What came of an order; nothing where a gate refused it, which is most of the time.
fn said(what: &str, outcome: Result<impl std::fmt::Debug, Error>) -> Option<String> {
    match outcome {
        Ok(answer) => Some(format!("{what}: {answer:?}")),
        Err(error) if error.kind() == dualwrite::ErrorKind::Blocked => None,
        Err(error) => Some(format!("{what} failed: {error}")),
    }
}
