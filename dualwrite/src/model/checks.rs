//! In each of the worlds everything holds, and what shall be reachable is reached. With one guard taken
//! out something does not, so each of the guards carries weight.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use super::properties::{BACKWARDS, EQUAL, FOUND, GIVEN_UP, LOST, SUPERSEDED};
use super::world::{Guard, World};
use super::{returns, worlds};
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
    ($($from:ident::$world:ident)*) => { $(
        #[test]
        fn $world() {
            holds(stringify!($world), $from::$world());
        }
    )* };
}

macro_rules! breaks {
    ($($test:ident: without $guard:ident in $from:ident::$world:ident, not $property:ident;)*) => { $(
        #[test]
        fn $test() {
            breaks(stringify!($world), $from::$world(), Guard::$guard, $property);
        }
    )* };
}

holds! {
    worlds::forward
    worlds::births
    worlds::generations
    worlds::lazy_generations
    worlds::first_ramp
    worlds::ramp
    worlds::last_ramp
    worlds::leases
    worlds::way_back
    worlds::failovers
    worlds::dirty
    worlds::damage
    worlds::sleeper
    worlds::lazy
    worlds::lazy_to_the_end
    worlds::lazy_way_back
    returns::there_and_back
    returns::back_to_off
    returns::births_back
    returns::dirty_way_back
    returns::birth_repaired
    returns::reborn
    returns::twice
    returns::back_from_a_ramp
}

breaks! {
    no_fence: without Fence in worlds::forward, not EQUAL;
    seen_instead_of_drained: without Drained in worlds::leases, not GIVEN_UP;
    insert_if_absent_backfill: without OverwritingCopy in worlds::generations, not EQUAL;
    update_only_dual_write: without UpsertingWrite in worlds::births, not EQUAL;
    unlocked_copy: without LockedCopy in worlds::forward, not EQUAL;
    no_generation: without Generation in worlds::generations, not SUPERSEDED;
    complete_without_acknowledgements: without AcknowledgedComplete in worlds::leases, not SUPERSEDED;
    reads_back_and_forth: without AcknowledgedComplete in worlds::leases, not BACKWARDS;
    off_without_acknowledgements: without AcknowledgedOff in worlds::way_back, not SUPERSEDED;
    unsafe_rollback: without CleanRollback in worlds::dirty, not SUPERSEDED;
    unsafe_advance: without CleanAdvance in worlds::dirty, not SUPERSEDED;
    unproven_advance: without ProvenAdvance in worlds::forward, not SUPERSEDED;
    lazy_in_every_generation: without ProvenAdvance in worlds::lazy_generations, not SUPERSEDED;
    a_finding_that_changes_nothing: without WithdrawnProof in worlds::damage, not FOUND;
    a_proof_older_than_the_finding: without LaterProof in worlds::damage, not FOUND;
    verification_of_old_keys_alone: without VerifiedNew in worlds::generations, not SUPERSEDED;
    forgiving_before_all_have_seen: without SeenForgiveness in worlds::dirty, not SUPERSEDED;
    forgiving_what_scans_read: without UnscannedForgiveness in worlds::ramp, not SUPERSEDED;
    forgiving_what_is_copied_from: without RepairableForgiveness in worlds::lazy, not SUPERSEDED;
    copying_from_a_stale_row: without StaleSource in worlds::sleeper, not LOST;
    mark_after_the_copy: without MarkFirst in worlds::dirty, not EQUAL;
    rows_born_during_a_copy: without Births in worlds::dirty, not EQUAL;
    copying_past_the_stage: without StageOfCopy in worlds::forward, not EQUAL;
    copying_in_another_generation: without GenerationOfPage in worlds::sleeper, not LOST;
    scans_of_new_before_all_is_copied: without LazyScans in worlds::lazy, not SUPERSEDED;
    lazy_reads_not_in_flight: without LazyInFlight in worlds::lazy_way_back, not SUPERSEDED;
    lazy_reads_until_complete: without LazyEnd in worlds::lazy_to_the_end, not SUPERSEDED;
    dead_letters_taken_for_copied: without DeadLetters in worlds::lazy, not SUPERSEDED;
    an_epoch_made_again: without Token in worlds::failovers, not EQUAL;
    an_epoch_made_again_is_read: without Token in worlds::failovers, not SUPERSEDED;
    acknowledged_to_another_server: without SameServer in worlds::failovers, not SUPERSEDED;
    lease_with_a_gap: without LeaseWithoutGap in worlds::leases, not GIVEN_UP;
    no_generation_of_old: without OldGeneration in returns::there_and_back, not SUPERSEDED;
    unproven_return: without ProvenReturn in returns::there_and_back, not SUPERSEDED;
    copying_from_old_before_it_is_whole: without WholeSource in returns::there_and_back, not LOST;
    insert_if_absent_reverse_copy: without OverwritingCopy in returns::there_and_back, not EQUAL;
    unlocked_reverse_copy: without LockedReverse in returns::there_and_back, not EQUAL;
    rows_born_during_a_reverse_copy: without Births in returns::births_back, not EQUAL;
    orphans_left_in_old: without ReverseRest in returns::births_back, not EQUAL;
    deletes_that_passed_old: without Barrier in returns::births_back, not EQUAL;
    inserts_beside_a_reverse_copy: without DeletedInserts in returns::births_back, not EQUAL;
    inserts_beside_a_repair: without LoneInserts in returns::reborn, not EQUAL;
    deletes_beside_a_repair: without LoneInserts in returns::birth_repaired, not EQUAL;
    parts_of_two_generations: without GenerationOfParts in returns::twice, not EQUAL;
    mark_after_the_reverse_copy: without MarkFirst in returns::dirty_way_back, not EQUAL;
}
