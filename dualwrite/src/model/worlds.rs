//! The bounded worlds. Each is small enough to be explored to the last state, and made for one part of
//! the protocol.

use super::properties::{COMPLETE, LAZILY, LIVE, OFF, PROVEN_AGAIN, REPAIRED, SECOND, TAKEN_OVER};
use super::state::{ABSENT, Version, half};
use super::world::{Budget, World};
use crate::stages::moves::Move;
use crate::stages::position::Percent;
use crate::stages::stage::Stage;

pub(super) const BOTH: [Version; 2] = [1, 1];
const OLD_ALONE: [Version; 2] = [1, ABSENT];
pub(super) const NOWHERE: [Version; 2] = [ABSENT, ABSENT];

pub(super) fn nothing() -> Budget {
    Budget::default()
}

/// One instance, one key that is in old, a migration that has not begun, and nothing that happens.
fn still() -> World {
    World {
        keys: 1,
        instances: 1,
        readers: 1,
        writers: 1,
        stage: Stage::Off,
        rows: [OLD_ALONE, NOWHERE],
        ready: false,
        stale: false,
        reverse: false,
        sleeper: false,
        moves: Vec::new(),
        budget: nothing(),
        lazy: false,
        scans: false,
        late_acks: false,
        goals: &[],
        without: None,
    }
}

/// The same at a stage, everything backfilled, verified and equal.
pub(super) fn ready(stage: Stage) -> World {
    World { stage, ready: true, rows: [BOTH, NOWHERE], ..still() }
}

fn advances(stages: &[Stage]) -> Vec<Move> {
    stages.iter().copied().map(Move::Advance).collect()
}

/// From off to complete, with a backfill, writes, a crash, and a copy by hand.
pub(super) fn forward() -> World {
    World {
        moves: advances(&Stage::ALL),
        budget: Budget { writes: 2, deletes: 1, moves: 5, crashes: 1, copies: 1, ..nothing() },
        goals: &[COMPLETE],
        ..still()
    }
}

/// Rows are born and deleted while the backfill runs.
pub(super) fn births() -> World {
    World {
        keys: 2,
        moves: advances(&[Stage::DualWrite, Stage::Shadow]),
        budget: Budget { writes: 2, deletes: 1, moves: 2, ..nothing() },
        ..still()
    }
}

/// Off → DualWrite → Off → DualWrite → Shadow → Live.
pub(super) fn generations() -> World {
    let mut moves = advances(&[Stage::DualWrite, Stage::Shadow, Stage::Live]);
    moves.push(Move::StepBack(Stage::Off));
    World {
        moves,
        budget: Budget { writes: 1, deletes: 1, moves: 5, crashes: 1, ..nothing() },
        goals: &[SECOND],
        ..still()
    }
}

/// The same, in a migration that may go live before its backfill, once.
pub(super) fn lazy_generations() -> World {
    World {
        lazy: true,
        budget: Budget { writes: 1, moves: 5, ..nothing() },
        goals: &[SECOND, LAZILY],
        ..generations()
    }
}

/// A ramp between old-only and dual writes, up and down.
pub(super) fn first_ramp() -> World {
    let mut moves = advances(&[Stage::DualWrite, Stage::Shadow, Stage::Live]);
    moves.extend([Move::Ramp(half()), Move::Ramp(Percent::ZERO), Move::Rollback]);
    World {
        moves,
        budget: Budget { writes: 2, moves: 5, ..nothing() },
        goals: &[SECOND],
        ..still()
    }
}

/// A ramp between the reads of old and of new, up and down, with scans and mirror writes that fail.
pub(super) fn ramp() -> World {
    World {
        keys: 2,
        rows: [BOTH, BOTH],
        scans: true,
        moves: vec![
            Move::Ramp(half()),
            Move::Ramp(Percent::ZERO),
            Move::Advance(Stage::Live),
            Move::Rollback,
        ],
        budget: Budget { writes: 2, moves: 3, failures: 1, ..nothing() },
        goals: &[REPAIRED, LIVE],
        ..ready(Stage::Shadow)
    }
}

/// A ramp between dual writes and writes to new alone.
pub(super) fn last_ramp() -> World {
    World {
        keys: 2,
        rows: [BOTH, BOTH],
        moves: vec![
            Move::Advance(Stage::RampDown),
            Move::Ramp(half()),
            Move::Advance(Stage::Complete),
            Move::Rollback,
        ],
        budget: Budget { writes: 2, deletes: 1, moves: 3, failures: 1, ..nothing() },
        goals: &[COMPLETE, REPAIRED],
        ..ready(Stage::Live)
    }
}

/// Two instances, one of which loses its lease and comes back, on the way to complete.
pub(super) fn leases() -> World {
    World {
        instances: 2,
        moves: advances(&[Stage::Live, Stage::RampDown, Stage::Complete]),
        budget: Budget { writes: 2, moves: 3, lapses: 1, ..nothing() },
        readers: 2,
        late_acks: true,
        goals: &[COMPLETE],
        ..ready(Stage::Shadow)
    }
}

/// A standby that lags takes over, between both sides and new alone.
pub(super) fn failovers() -> World {
    World {
        instances: 2,
        moves: vec![Move::Advance(Stage::Complete), Move::StepBack(Stage::Live), Move::Rollback],
        budget: Budget { writes: 1, moves: 3, failovers: 1, ..nothing() },
        goals: &[COMPLETE, TAKEN_OVER],
        ..ready(Stage::RampDown)
    }
}

/// Two instances on the way back to off.
pub(super) fn way_back() -> World {
    World {
        instances: 2,
        moves: vec![
            Move::Rollback,
            Move::StepBack(Stage::Live),
            Move::StepBack(Stage::DualWrite),
            Move::StepBack(Stage::Off),
        ],
        budget: Budget { writes: 1, deletes: 1, moves: 4, ..nothing() },
        goals: &[OFF],
        ..ready(Stage::RampDown)
    }
}

/// Mirror writes that fail, on both sides, between Shadow and Live, and their repair.
pub(super) fn dirty() -> World {
    World {
        instances: 2,
        moves: vec![Move::Advance(Stage::Live), Move::Rollback],
        budget: Budget { writes: 2, deletes: 1, moves: 3, failures: 2, ..nothing() },
        writers: 2,
        goals: &[REPAIRED, LIVE],
        ..ready(Stage::Shadow)
    }
}

/// Somebody damages new before it answers; verifications of all keys and of one find it, or do not.
pub(super) fn damage() -> World {
    World {
        keys: 2,
        rows: [BOTH, BOTH],
        moves: vec![Move::Advance(Stage::Live), Move::Rollback],
        budget: Budget { writes: 1, moves: 2, copies: 1, damages: 1, ..nothing() },
        goals: &[LIVE, PROVEN_AGAIN],
        ..ready(Stage::Shadow)
    }
}

/// Live in the second generation: a worker of the first one awakes, and somebody copies by hand.
pub(super) fn sleeper() -> World {
    World {
        sleeper: true,
        moves: vec![Move::Rollback, Move::Advance(Stage::RampDown), Move::Advance(Stage::Complete)],
        budget: Budget { writes: 2, deletes: 1, moves: 2, failures: 1, copies: 1, ..nothing() },
        goals: &[REPAIRED, COMPLETE],
        ..ready(Stage::Live)
    }
}

/// Lazy copies, scans, the backfill and keys that cannot be copied, between Shadow and Live.
pub(super) fn lazy() -> World {
    World {
        stage: Stage::Shadow,
        lazy: true,
        scans: true,
        moves: vec![Move::Advance(Stage::Live), Move::Rollback],
        budget: Budget {
            writes: 1,
            deletes: 1,
            moves: 2,
            failures: 1,
            crashes: 1,
            failed_copies: 1,
            ..nothing()
        },
        goals: &[LAZILY],
        ..still()
    }
}

/// Lazy copies on the way to complete.
pub(super) fn lazy_to_the_end() -> World {
    World {
        stage: Stage::Live,
        lazy: true,
        scans: true,
        moves: vec![
            Move::Advance(Stage::RampDown),
            Move::Ramp(half()),
            Move::Advance(Stage::Complete),
        ],
        budget: Budget {
            writes: 1,
            deletes: 1,
            moves: 3,
            crashes: 1,
            failed_copies: 1,
            ..nothing()
        },
        goals: &[LAZILY, COMPLETE],
        ..still()
    }
}

/// Lazy copies on the way back to off.
pub(super) fn lazy_way_back() -> World {
    World {
        stage: Stage::Live,
        lazy: true,
        moves: vec![Move::Rollback, Move::StepBack(Stage::Off)],
        budget: Budget { writes: 1, deletes: 1, moves: 3, ..nothing() },
        goals: &[LAZILY, OFF],
        ..still()
    }
}
