//! The worlds of the way back from `Complete`, through a reverse copy.

use super::properties::{COMPLETE, OFF, REPAIRED, RETURNED, TWICE};
use super::state::{ABSENT, half};
use super::world::{Budget, World};
use super::worlds::{BOTH, NOWHERE, nothing, ready};
use crate::stages::moves::Move;
use crate::stages::stage::Stage;

/// To complete, where new alone is written, and back to where old answers.
pub(super) fn there_and_back() -> World {
    World {
        reverse: true,
        moves: vec![
            Move::Advance(Stage::Complete),
            Move::StepBack(Stage::RampDown),
            Move::Rollback,
        ],
        budget: Budget { writes: 2, deletes: 1, moves: 3, copies: 1, ..nothing() },
        goals: &[COMPLETE, RETURNED],
        ..ready(Stage::RampDown)
    }
}

/// At complete, with rows that only one side has.
fn complete() -> World {
    World { stale: true, reverse: true, ..ready(Stage::Complete) }
}

/// From complete to off.
pub(super) fn back_to_off() -> World {
    World {
        moves: vec![
            Move::StepBack(Stage::RampDown),
            Move::StepBack(Stage::Live),
            Move::Rollback,
            Move::StepBack(Stage::DualWrite),
            Move::StepBack(Stage::Off),
        ],
        budget: Budget { writes: 1, deletes: 1, moves: 5, ..nothing() },
        goals: &[RETURNED, OFF],
        ..complete()
    }
}

/// Rows that old lacks, and that new lacks, are written and deleted while they are copied back.
pub(super) fn births_back() -> World {
    World {
        keys: 2,
        rows: [[1, ABSENT], [ABSENT, 1]],
        moves: vec![Move::StepBack(Stage::RampDown), Move::Rollback],
        budget: Budget { writes: 2, deletes: 1, moves: 2, ..nothing() },
        goals: &[RETURNED],
        ..complete()
    }
}

/// Mirror writes that fail and transactions that crash while it is copied back, and a copy by hand.
pub(super) fn dirty_way_back() -> World {
    World {
        rows: [[1, 2], NOWHERE],
        moves: vec![Move::StepBack(Stage::RampDown), Move::Rollback],
        budget: Budget {
            writes: 2,
            deletes: 1,
            moves: 2,
            failures: 1,
            crashes: 1,
            copies: 1,
            ..nothing()
        },
        goals: &[RETURNED, REPAIRED],
        ..complete()
    }
}

/// New answers, and the write of a new row to old fails: it is repaired beside its deletion.
pub(super) fn birth_repaired() -> World {
    World {
        rows: [NOWHERE, NOWHERE],
        moves: vec![Move::Rollback],
        budget: Budget { writes: 1, deletes: 1, moves: 1, failures: 1, ..nothing() },
        goals: &[REPAIRED],
        ..ready(Stage::Live)
    }
}

/// A key whose mirror write failed is deleted, and inserted again while its mark is repaired.
pub(super) fn reborn() -> World {
    World {
        rows: [BOTH, NOWHERE],
        moves: vec![],
        budget: Budget { writes: 2, deletes: 1, failures: 1, ..nothing() },
        goals: &[REPAIRED],
        ..ready(Stage::RampDown)
    }
}

/// Complete once more before the reverse copy is done; nobody reads.
pub(super) fn twice() -> World {
    World {
        readers: 0,
        rows: [BOTH, NOWHERE],
        moves: vec![
            Move::StepBack(Stage::RampDown),
            Move::Advance(Stage::Complete),
            Move::StepBack(Stage::Live),
        ],
        budget: Budget { writes: 1, deletes: 1, moves: 4, copies: 1, ..nothing() },
        goals: &[COMPLETE, TWICE],
        ..complete()
    }
}

/// Some keys were written to new alone, by a ramp.
pub(super) fn back_from_a_ramp() -> World {
    World {
        keys: 2,
        rows: [BOTH, BOTH],
        reverse: true,
        moves: vec![Move::Ramp(half()), Move::Rollback],
        budget: Budget { writes: 1, moves: 3, ..nothing() },
        goals: &[RETURNED],
        ..ready(Stage::RampDown)
    }
}
