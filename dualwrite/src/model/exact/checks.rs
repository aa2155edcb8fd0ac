//! Exact mode holds, and without each of its guards it does not.

use stateright::{Checker as _, HasDiscoveries, Model as _};

use super::{AGREES, ALONE, COPIED, FRESH, KEEPS, LATE, MOVED, Without, World};

#[test]
fn nothing_is_lost_and_no_read_is_stale_there_and_back() {
    for world in [LATE, MOVED, COPIED] {
        let checker = world.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
        assert!(checker.unique_state_count() > 10_000, "{}", checker.unique_state_count());
    }
}

#[test]
fn each_guard_is_needed() {
    for (world, without, property) in [
        (LATE, Without::Version, KEEPS),
        (LATE, Without::Tombstone, KEEPS),
        (LATE, Without::CounterOutlivesDelete, KEEPS),
        (LATE, Without::Drain, KEEPS),
        (LATE, Without::ReadersAuthority, FRESH),
        (MOVED, Without::ReadersSnapshot, FRESH),
        (MOVED, Without::FenceOfClosing, KEEPS),
        (MOVED, Without::FenceOfRecording, AGREES),
        (MOVED, Without::GivingUp, ALONE),
        (MOVED, Without::CompareAndSet, ALONE),
        (MOVED, Without::WritersAuthority, KEEPS),
        (MOVED, Without::Copied, KEEPS),
        (LATE, Without::CopiedVersion, AGREES),
        (COPIED, Without::CopiedEpoch, AGREES),
        (COPIED, Without::CopiedTombstone, AGREES),
    ] {
        let until = HasDiscoveries::AnyOf([property].into());
        let world = World { without, ..world };
        let checker = world.checker().finish_when(until).threads(2).spawn_bfs().join();
        let found = checker.discoveries();
        assert!(found.contains_key(property), "without {without:?}: {:?}", found.keys());
    }
}
