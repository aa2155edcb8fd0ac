//! In each of the worlds everything holds, and what shall be reachable is reached. With one guard taken
//! out something does not, so each of the guards carries weight.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use super::properties::{BACKWARDS, EQUAL, GIVEN_UP, LOST, SUPERSEDED};
use super::world::{Guard, World};
use super::worlds;
use crate::clock::Clock;

fn holds(name: &str, world: World) {
    let clock = Clock::system();
    let start = clock.now();
    let checker = world.checker().spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    let millis = (clock.now() - start) / 1_000_000;
    println!("{name}: {states} states, {depth} steps deep, {millis} ms");
    checker.assert_properties();
}

fn breaks(name: &str, world: World, guard: Guard, property: &'static str) {
    let world = World { without: Some(guard), goals: &[], ..world };
    let until = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = world.checker().finish_when(until).spawn_bfs().join();
    let states = checker.unique_state_count();
    let found = checker.discovery(property);
    let path = found.unwrap_or_else(|| panic!("without {guard:?} `{property}` holds all the same"));
    println!("{name}, without {guard:?}: after {states} states it is not true that {property}");
    for step in path.into_actions() {
        println!("    {step:?}");
    }
}

macro_rules! holds {
    ($($world:ident)*) => { $(
        #[test]
        fn $world() {
            holds(stringify!($world), worlds::$world());
        }
    )* };
}

macro_rules! breaks {
    ($($test:ident: without $guard:ident in $world:ident, not $property:ident;)*) => { $(
        #[test]
        fn $test() {
            breaks(stringify!($world), worlds::$world(), Guard::$guard, $property);
        }
    )* };
}

holds! {
    forward births generations lazy_generations first_ramp ramp last_ramp leases way_back dirty
    sleeper lazy lazy_to_the_end lazy_way_back
}

breaks! {
    no_fence: without Fence in forward, not EQUAL;
    seen_instead_of_drained: without Drained in leases, not GIVEN_UP;
    insert_if_absent_backfill: without OverwritingCopy in generations, not EQUAL;
    update_only_dual_write: without UpsertingWrite in births, not EQUAL;
    unlocked_copy: without LockedCopy in forward, not EQUAL;
    no_generation: without Generation in generations, not SUPERSEDED;
    complete_without_acknowledgements: without AcknowledgedComplete in leases, not SUPERSEDED;
    reads_back_and_forth: without AcknowledgedComplete in leases, not BACKWARDS;
    off_without_acknowledgements: without AcknowledgedOff in way_back, not SUPERSEDED;
    unsafe_rollback: without CleanRollback in dirty, not SUPERSEDED;
    unsafe_advance: without CleanAdvance in dirty, not SUPERSEDED;
    unproven_advance: without ProvenAdvance in forward, not SUPERSEDED;
    lazy_in_every_generation: without ProvenAdvance in lazy_generations, not SUPERSEDED;
    verification_of_old_keys_alone: without VerifiedNew in generations, not SUPERSEDED;
    forgiving_before_all_have_seen: without SeenForgiveness in dirty, not SUPERSEDED;
    forgiving_what_scans_read: without UnscannedForgiveness in ramp, not SUPERSEDED;
    forgiving_what_is_copied_from: without RepairableForgiveness in lazy, not SUPERSEDED;
    copying_from_a_stale_row: without StaleSource in sleeper, not LOST;
    mark_after_the_copy: without MarkFirst in dirty, not EQUAL;
    rows_born_during_a_copy: without Births in dirty, not EQUAL;
    copying_past_the_stage: without StageOfCopy in sleeper, not LOST;
    copying_in_another_generation: without GenerationOfPage in sleeper, not LOST;
    scans_of_new_before_all_is_copied: without LazyScans in lazy, not SUPERSEDED;
    lazy_reads_not_in_flight: without LazyInFlight in lazy_way_back, not SUPERSEDED;
    lazy_reads_until_complete: without LazyEnd in lazy_to_the_end, not SUPERSEDED;
    dead_letters_taken_for_copied: without BuriedKeys in lazy, not SUPERSEDED;
    lease_with_a_gap: without LeaseWithoutGap in leases, not GIVEN_UP;
}
