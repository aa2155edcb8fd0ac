//! The stages that a migration goes through in these tests, and how each is entered.

use dualwrite::{ErrorKind, Migration, Move, Percent, Stage};

use super::records::{Kind, Records};
use super::service::{Served, Trouble};
use crate::support::sql::Sql;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Go(Move),
    /// Moves one after the other, faster than the second instance looks: it must hold them up.
    Rush(Vec<Move>),
    /// A worker in every instance.
    Backfill,
    /// In the first generation nothing may differ. Later on, what was deleted while only old was written
    /// is still in new, and is copied again.
    Verify,
    /// Nobody works, and old and new agree row by row.
    Compare,
}

const fn advance(to: Stage) -> Step {
    Step::Go(Move::Advance(to))
}

const ROLLBACK: Step = Step::Go(Move::Rollback);

fn rush(moves: impl IntoIterator<Item = Move>) -> Step {
    Step::Rush(moves.into_iter().collect())
}

fn ramp(percent: u16) -> Step {
    Step::Go(Move::Ramp(Percent::new(percent).unwrap()))
}

/// Through every stage, back from `Live`, back to `Off`, and forward again to the end.
pub(super) fn whole() -> Vec<Step> {
    use Stage::{Complete, DualWrite, Live, Off, RampDown, Shadow};
    let mut steps = vec![advance(DualWrite), Step::Backfill, Step::Verify, advance(Shadow)];
    steps.extend([ramp(5), ramp(50), advance(Live), ROLLBACK, advance(Live)]);
    steps.push(rush([Move::Rollback, Move::StepBack(DualWrite), Move::StepBack(Off)]));
    steps.extend([advance(DualWrite), Step::Backfill, Step::Verify, advance(Shadow), ramp(50)]);
    steps.extend([advance(Live), advance(RampDown), Step::Compare, ramp(50), advance(Complete)]);
    steps
}

/// Reads bring the keys to new: the backfill comes when new answers already.
pub(super) fn lazy() -> Vec<Step> {
    use Stage::{Complete, DualWrite, Live, RampDown, Shadow};
    let mut steps = vec![advance(DualWrite), advance(Shadow), ramp(5), ramp(50), advance(Live)];
    steps.extend([Step::Backfill, Step::Verify, advance(RampDown), Step::Compare, ROLLBACK]);
    steps.push(rush([Live, RampDown, Complete].map(Move::Advance)));
    steps
}

/// Makes one step; the second instance makes the single moves, and looks less often than the first.
pub(super) async fn take<D: Sql, K: Kind<D>>(step: &Step, instances: [&Served<D, K>; 2]) {
    let [one, other] = instances.map(|instance| &instance.migration);
    match step {
        Step::Go(requested) => go(other, *requested).await,
        Step::Rush(moves) => {
            for requested in moves {
                go(one, *requested).await;
            }
        }
        Step::Backfill => {
            tokio::join!(backfill(one), backfill(other));
        }
        Step::Verify => verify(one).await,
        Step::Compare => compare(instances[0]).await,
    }
}

async fn go(migration: &Migration, requested: Move) {
    loop {
        let moving = match requested {
            Move::Advance(stage) => migration.advance(stage),
            Move::StepBack(stage) => migration.step_back(stage),
            Move::Ramp(percent) => migration.ramp_to(percent),
            Move::Rollback => migration.rollback("the test"),
        };
        match moving.by("the test").within(std::time::Duration::from_secs(20)).await {
            Ok(_) => return,
            Err(error) => retry(requested, error),
        }
    }
}

async fn backfill(migration: &Migration) {
    loop {
        match migration.backfill().batch(128).run().await {
            Ok(progress) => {
                assert!(progress.complete, "{progress:?}");
                return assert_eq!(progress.failed, 0, "{progress:?}");
            }
            Err(error) => retry("backfill", error),
        }
    }
}

async fn verify(migration: &Migration) {
    loop {
        let report = match migration.verify().batch(256).run().await {
            Ok(report) if report.is_clean() => return,
            Ok(report) => report,
            Err(error) => {
                retry("verify", error);
                continue;
            }
        };
        assert!(report.generation > 1, "{report:?}");
        for key in report.keys {
            let key: i64 = key.parse().unwrap();
            assert!(migration.copy(&key).await.unwrap());
        }
    }
}

/// # Panics
/// With an error that is not the database's own contention.
fn retry(what: impl std::fmt::Debug, error: dualwrite::Error) {
    let kind = error.kind();
    let trouble = Trouble::from(error);
    let contended = trouble.contended && kind != ErrorKind::Timeout;
    assert!(contended, "{what:?}: {}", trouble.text);
    println!("tried again: {what:?}: {}", trouble.text);
}

async fn compare<D: Sql, K: Kind<D>>(served: &Served<D, K>) {
    let all = (0, i64::from(i32::MAX));
    let old = served.records.old_side().list(all.0, all.1).await.unwrap();
    let new = served.records.new_side().list(all.0, all.1).await.unwrap();
    for (old, new) in old.iter().zip(&new) {
        assert_eq!(old, new, "{}", K::MIGRATION);
    }
    assert_eq!(old.len(), new.len(), "{}", K::MIGRATION);
    assert!(!old.is_empty());
}
