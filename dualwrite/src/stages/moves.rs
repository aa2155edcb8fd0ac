//! Which moves exist, and where each leads. Pure: whether a move may be made *now* is the question of
//! [`readiness`](crate::stages::readiness).

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::stages::position::{Generation, Percent, Position};
use crate::stages::stage::Stage;

/// A requested change of the position of a migration.
///
/// ```
/// use dualwrite::{Move, Stage};
/// assert_eq!(Move::Advance(Stage::Shadow).to_string(), "advance to shadow");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Move {
    /// To the next stage, ramp 0.
    Advance(Stage),
    /// To the stage before, ramp 0. A step back to `Off` raises the generation.
    StepBack(Stage),
    /// Another ramp within the stage.
    Ramp(Percent),
    /// Back as far as loses nothing: to where old answers every read, or from where new alone is written
    /// to where both are.
    Rollback,
}

impl std::fmt::Display for Move {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Advance(stage) => write!(f, "advance to {stage}"),
            Self::StepBack(stage) => write!(f, "step back to {stage}"),
            Self::Ramp(percent) => write!(f, "ramp to {percent}"),
            Self::Rollback => f.write_str("rollback"),
        }
    }
}

/// Where a move leads: the stage, its ramp, and the generation from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) stage: Stage,
    pub(crate) ramp: Percent,
    pub(crate) generation: Generation,
}

impl Destination {
    /// Whether some key may be taken further by this move than it was.
    pub(crate) fn goes_forward(self, from: Position) -> bool {
        (self.stage, self.ramp) > (from.stage, from.ramp)
    }

    /// The generation of old from then on. Writes that go to new alone leave old stale.
    pub(crate) fn old_generation(self, from: Position, before: Generation) -> Generation {
        let to = from.with_stage(self.stage).with_ramp(self.ramp);
        raised_if(self.goes_forward(from) && to.reaches() == Stage::Complete, before)
    }
}

/// Finds the destination of a move.
///
/// # Errors
/// `IllegalMove` with what can be done instead.
pub(crate) fn destination(
    from: Position,
    generation: Generation,
    requested: Move,
) -> Result<Destination, Error> {
    match requested {
        Move::Advance(to) => {
            advance(from, to).map(|stage| Destination { stage, ramp: Percent::ZERO, generation })
        }
        Move::StepBack(to) => step_back(from, to).map(|stage| Destination {
            stage,
            ramp: Percent::ZERO,
            generation: raised_if(stage == Stage::Off, generation),
        }),
        Move::Ramp(ramp) => ramp_to(from, ramp).map(|ramp| Destination {
            stage: from.stage,
            ramp,
            // Keys that were dual-written and are old-only again leave stale rows in new.
            generation: raised_if(from.stage == Stage::Off && ramp < from.ramp, generation),
        }),
        Move::Rollback => rollback(from).map(|stage| Destination {
            stage,
            ramp: Percent::ZERO,
            generation: raised_if(stage == Stage::Off, generation),
        }),
    }
}

fn raised_if(stale: bool, generation: Generation) -> Generation {
    Generation(generation.0 + u64::from(stale))
}

fn advance(from: Position, to: Stage) -> Result<Stage, Error> {
    match from.stage.next() {
        Some(next) if next == to => Ok(to),
        Some(next) => Err(illegal(format!(
            "one cannot advance from {} to {to}; the next stage is {next}",
            from.stage
        ))),
        None => Err(illegal(format!("one cannot advance to {to}: the migration is complete"))),
    }
}

fn step_back(from: Position, to: Stage) -> Result<Stage, Error> {
    if from.ramp > Percent::ZERO {
        return Err(illegal(format!(
            "{} of the keys already behave as {}; set the ramp to 0 before stepping back to {to}",
            from.ramp,
            from.reaches()
        )));
    }
    match from.stage.previous() {
        Some(previous) if previous == to => Ok(to),
        Some(previous) => Err(illegal(format!(
            "one cannot step back from {} to {to}; the stage before is {previous}",
            from.stage
        ))),
        None => Err(illegal("there is no stage before off".to_owned())),
    }
}

fn ramp_to(from: Position, ramp: Percent) -> Result<Percent, Error> {
    if from.stage == Stage::Complete {
        return Err(illegal("a complete migration has no stage to ramp toward".to_owned()));
    }
    Ok(ramp)
}

fn rollback(from: Position) -> Result<Stage, Error> {
    match (from.stage, from.ramp > Percent::ZERO) {
        // Old lacks what was written to new alone: it is written again, and must be copied to before it
        // can answer.
        (Stage::Complete, _) | (Stage::RampDown, true) => Ok(Stage::RampDown),
        (Stage::RampDown, false) | (Stage::Live, _) | (Stage::Shadow, true) => Ok(Stage::Shadow),
        (Stage::Shadow, false) | (Stage::DualWrite, true) => Ok(Stage::DualWrite),
        (Stage::Off, true) => Ok(Stage::Off),
        (Stage::DualWrite, false) => Err(illegal(
            "the old side already answers everything; a step back to off is possible, and costs the backfill"
                .to_owned(),
        )),
        (Stage::Off, false) => {
            Err(illegal("the migration is off: there is nothing to roll back".to_owned()))
        }
    }
}

fn illegal(message: String) -> Error {
    Error::new(ErrorKind::IllegalMove, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(stage: Stage, ramp: u16) -> Position {
        Position::start().with_stage(stage).with_ramp(Percent::from_basis_points(ramp).unwrap())
    }

    fn every_move() -> Vec<Move> {
        let ramps = [0, 1, 500, 10_000];
        Stage::ALL
            .into_iter()
            .flat_map(|stage| [Move::Advance(stage), Move::StepBack(stage)])
            .chain(ramps.map(|ramp| Move::Ramp(Percent::from_basis_points(ramp).unwrap())))
            .chain([Move::Rollback])
            .collect()
    }

    #[test]
    fn from_new_alone_one_step_leads_back_and_the_generation_of_old_says_so() {
        for from in [at(Stage::Complete, 0), at(Stage::RampDown, 500)] {
            for requested in every_move() {
                if let Ok(to) = destination(from, Generation::FIRST, requested) {
                    assert!(to.stage >= Stage::RampDown, "{from}: {requested}");
                    let raised = to.old_generation(from, Generation(3)) == Generation(4);
                    assert_eq!(raised, to.goes_forward(from), "{from}: {requested}");
                }
            }
        }
        let go = |from, requested| {
            destination(from, Generation::FIRST, requested)
                .unwrap()
                .old_generation(from, Generation(3))
        };
        assert_eq!(go(at(Stage::RampDown, 0), Move::Advance(Stage::Complete)), Generation(4));
        assert_eq!(go(at(Stage::RampDown, 0), Move::Ramp(Percent::FULL)), Generation(4));
        assert_eq!(go(at(Stage::Live, 0), Move::Advance(Stage::RampDown)), Generation(3));
        assert_eq!(go(at(Stage::Live, 0), Move::Ramp(Percent::FULL)), Generation(3));
    }

    #[test]
    fn stages_are_left_by_one_step_except_in_a_rollback_between_stages_that_write_both() {
        for stage in Stage::ALL {
            for ramp in [0, 500, 10_000] {
                for requested in every_move() {
                    let Ok(to) = destination(at(stage, ramp), Generation::FIRST, requested) else {
                        continue;
                    };
                    let near = to.stage == stage || stage.is_adjacent(to.stage);
                    let safe = requested == Move::Rollback
                        && stage.writes_both()
                        && to.stage.writes_both()
                        && to.stage < stage;
                    assert!(near || safe, "{stage} {ramp}: {requested}");
                }
            }
        }
    }

    #[test]
    fn old_only_writes_raise_the_generation() {
        let go = |from, requested| destination(from, Generation(4), requested).unwrap().generation;
        assert_eq!(go(at(Stage::DualWrite, 0), Move::StepBack(Stage::Off)), Generation(5));
        assert_eq!(go(at(Stage::Off, 500), Move::Ramp(Percent::ZERO)), Generation(5));
        assert_eq!(go(at(Stage::Off, 500), Move::Rollback), Generation(5));
        assert_eq!(go(at(Stage::Off, 0), Move::Advance(Stage::DualWrite)), Generation(4));
        assert_eq!(go(at(Stage::Live, 0), Move::Rollback), Generation(4));
    }

    #[test]
    fn rollback_leaves_old_answering() {
        for stage in [Stage::Off, Stage::DualWrite, Stage::Shadow, Stage::Live, Stage::RampDown] {
            for ramp in [0, 500] {
                let from = at(stage, ramp);
                if from.reaches() == Stage::Complete {
                    continue; // old lacks writes
                }
                if let Ok(to) = destination(from, Generation::FIRST, Move::Rollback) {
                    assert_eq!(to.stage.reads(), crate::stages::stage::Side::Old);
                    assert_eq!(to.ramp, Percent::ZERO);
                    assert!((to.stage, to.ramp) < (from.stage, from.ramp));
                } else {
                    assert_eq!(ramp, 0);
                    assert!(stage <= Stage::DualWrite);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn destinations_never_lower_the_generation(stage in 0_u8..6, ramp in 0_u16..=10_000, pick in 0_usize..17) {
            let from = at(Stage::from_code(stage).unwrap(), ramp);
            let requested = every_move()[pick];
            if let Ok(to) = destination(from, Generation(3), requested) {
                prop_assert!(to.generation >= Generation(3));
                if to.goes_forward(from) {
                    prop_assert_eq!(to.generation, Generation(3));
                }
            }
        }
    }

    #[test]
    fn only_a_ramp_toward_dual_writes_that_is_lowered_raises_the_generation() {
        let percent = |share| Percent::new(share).unwrap();
        let raised = |stage, before, after| {
            let from = Position::start().with_stage(stage).with_ramp(percent(before));
            let to = destination(from, Generation::FIRST, Move::Ramp(percent(after))).unwrap();
            to.generation != Generation::FIRST
        };
        assert!(raised(Stage::Off, 10, 5));
        assert!(!raised(Stage::Off, 5, 5) && !raised(Stage::Off, 5, 10));
        assert!(!raised(Stage::Shadow, 10, 5), "both sides are written");
    }

    #[test]
    fn a_move_is_shown_with_where_it_leads() {
        let ramp = Percent::new(5).unwrap();
        let moves = [
            Move::Advance(Stage::Live),
            Move::StepBack(Stage::Off),
            Move::Ramp(ramp),
            Move::Rollback,
        ];
        let shown = ["advance to live", "step back to off", "ramp to 5 %", "rollback"];
        assert_eq!(moves.map(|one| one.to_string()), shown);
    }
}
