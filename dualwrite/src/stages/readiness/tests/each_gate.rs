//! One gate after the other: what shuts it, what opens it, and which moves do not ask.

use super::*;
use crate::error::maintenance::Closed;

fn reasons_of(facts: &Facts, requested: Move, terms: &Terms) -> Vec<String> {
    let to = destination(facts.position, facts.new.generation, requested).unwrap();
    blockers(facts, requested, to, terms).into_iter().map(|blocker| blocker.reason).collect()
}

#[test]
fn on_the_way_back_only_off_waits_for_those_that_have_not_drained() {
    let back = |stage, requested| {
        let mut facts = facts(stage, 0);
        facts.instances[0].drained = Epoch(7);
        gates(&facts, requested, Terms::default())
    };
    assert_eq!(back(Stage::DualWrite, Move::StepBack(Stage::Off)), [Gate::Drained]);
    assert_eq!(back(Stage::Shadow, Move::StepBack(Stage::DualWrite)), []);
    for stage in [Stage::Shadow, Stage::Live] {
        assert_eq!(back(stage, Move::Rollback), []);
    }
}

#[test]
fn live_lasts_as_long_as_declared_before_anything_goes_forward() {
    let soak = |soak| Terms { soak: Duration::from_secs(soak), ..Terms::default() };
    let percent = Move::Ramp(Percent::new(1).unwrap());
    let live = facts(Stage::Live, 0);
    for requested in [Move::Advance(Stage::RampDown), percent] {
        assert_eq!(gates(&live, requested, soak(61)), [Gate::Soaked]);
        assert_eq!(gates(&live, requested, soak(60)), []);
        assert_eq!(gates(&live, requested, soak(59)), []);
    }
    let reason = reasons_of(&live, percent, &soak(61));
    assert_eq!(reason, ["live has to last for 1s more"]);
    assert_eq!(gates(&live, Move::StepBack(Stage::Shadow), soak(61)), []);
    for stage in [Stage::Off, Stage::DualWrite, Stage::Shadow, Stage::RampDown] {
        assert_eq!(gates(&facts(stage, 0), Move::Advance(stage.next().unwrap()), soak(61)), []);
    }
    let mut closed = live.clone();
    closed.position.closed = Closed::Calls;
    assert_eq!(gates(&closed, percent, soak(61)), [], "nobody calls, so time says nothing");
}

#[test]
fn the_first_write_to_new_waits_until_new_is_there() {
    let terms = Terms { unexpanded: vec!["no table `t`".into()], ..Terms::default() };
    let percent = Move::Ramp(Percent::new(1).unwrap());
    for requested in [Move::Advance(Stage::DualWrite), percent] {
        assert_eq!(gates(&facts(Stage::Off, 0), requested, terms.clone()), [Gate::Expanded]);
    }
    // Some keys are written there already.
    let ramping = facts(Stage::Off, 1);
    assert_eq!(gates(&ramping, Move::Advance(Stage::DualWrite), terms.clone()), []);
    for stage in &Stage::ALL[1..5] {
        assert_eq!(gates(&facts(*stage, 0), percent, terms.clone()), [], "{stage}");
    }
}

#[test]
fn a_kill_switch_keeps_from_going_forward_and_from_no_way_back() {
    let mut by_operator = facts(Stage::Shadow, 0);
    by_operator.operated.killed = Some("ada".into());
    let mut by_variable = facts(Stage::Shadow, 0);
    by_variable.instances[0].killed_by = Some("NO_NOTES".into());
    for (killed, name) in [(by_operator, "ada"), (by_variable, "NO_NOTES")] {
        let forward = Move::Advance(Stage::Live);
        assert_eq!(gates(&killed, forward, Terms::default()), [Gate::Killed]);
        assert!(reasons_of(&killed, forward, &Terms::default())[0].contains(name));
        assert_eq!(gates(&killed, Move::Rollback, Terms::default()), []);
    }
}

#[test]
fn before_more_is_asked_of_new_nothing_of_old_need_be_copied() {
    let mut off = facts(Stage::Off, 0);
    (off.new.backfilled, off.new.verified, off.new.dead_letters) = (false, None, 3);
    assert_eq!(gates(&off, Move::Advance(Stage::DualWrite), Terms::default()), []);
    off.position.stage = Stage::DualWrite;
    assert_eq!(gates(&off, Move::Advance(Stage::Shadow), Terms::default()), []);
}

#[test]
fn a_move_that_changes_who_is_written_waits_for_two_stores_to_settle() {
    let unsettled = |stage, writes, keys| {
        let mut facts = facts(stage, 0);
        facts.converging = Unsettled { writes, instances: vec!["b".into()], keys };
        facts
    };
    let forward = Move::Advance(Stage::DualWrite);
    for (writes, keys, expected) in [
        (0, 0, vec![]),
        (1, 0, vec![Gate::Drained]),
        (0, 1, vec![Gate::Clean]),
        (2, 2, vec![Gate::Drained, Gate::Clean]),
    ] {
        assert_eq!(
            gates(&unsettled(Stage::Off, writes, keys), forward, Terms::default()),
            expected
        );
        let reads_alone = Move::Advance(Stage::Shadow);
        let found =
            gates(&unsettled(Stage::DualWrite, writes, keys), reads_alone, Terms::default());
        assert_eq!(found, []);
    }
}

#[test]
fn dead_letters_are_told_with_those_that_are_waived() {
    let reason = |waived| {
        let mut facts = facts(Stage::Shadow, 0);
        (facts.new.dead_letters, facts.new.waived) = (2, waived);
        let terms = Terms { sees_new: true, ..Terms::default() };
        reasons_of(&facts, Move::Advance(Stage::Live), &terms).concat()
    };
    assert_eq!(reason(0), "2 keys could not be copied; retry or waive them");
    assert_eq!(reason(3), "2 keys could not be copied (3 more are waived); retry or waive them");
}

#[test]
fn a_verification_under_way_says_what_it_has_found_so_far() {
    let reason = |last| {
        let mut facts = facts(Stage::Shadow, 0);
        (facts.new.verified, facts.verification) = (None, Some(last));
        let terms = Terms { sees_new: true, ..Terms::default() };
        reasons_of(&facts, Move::Advance(Stage::Live), &terms).concat()
    };
    let last = LastVerification { generations: [2, 1], compared: 9, ..Default::default() };
    let found = reason(LastVerification { differing: 4, ..last.clone() });
    assert!(
        found.starts_with("the verification under way has found 4 keys that differ among 9 so far")
    );
    let done = reason(LastVerification { done: true, ..last.clone() });
    assert_eq!(done, "run the verification of generation 2");
    let sample = reason(LastVerification { is_sample: true, ..last });
    assert!(sample.contains("9 keys are compared: run the verification"), "{sample}");
}

#[test]
fn only_writers_are_recorded_as_stopped() {
    let reason = |kind: HazardKind| {
        let mut facts = facts(Stage::RampDown, 0);
        facts.hazards = vec![Hazard::new(kind, "h", "x")];
        reasons_of(&facts, Move::Advance(Stage::Complete), &Terms::default()).concat()
    };
    assert!(reason(HazardKind::ForeignKey).contains("writer_stopped(\"h\""));
    assert_eq!(reason(HazardKind::Watch), "h: x");
    assert_eq!(reason(HazardKind::Sequence), "h: x");
}

#[test]
fn from_complete_there_is_a_way_back_while_old_and_whoever_knows_it_are_there() {
    let able = Terms { can_copy_back: true, ..Terms::default() };
    let mut begun = facts(Stage::Complete, 0);
    begun.operated.contract_begun = true;
    let mut alone = facts(Stage::Complete, 0);
    alone.instances[0].new_only = true;
    for (mut facts, gate) in [(begun, Gate::Contracted), (alone, Gate::Supported)] {
        assert_eq!(gates(&facts, Move::Rollback, able.clone()), [gate]);
        assert_eq!(gates(&facts, Move::StepBack(Stage::RampDown), able.clone()), [gate]);
        // A ramp that is taken back.
        facts.position = facts.position.with_stage(Stage::RampDown).with_ramp(Percent::FULL);
        assert_eq!(gates(&facts, Move::Ramp(Percent::ZERO), able.clone()), [gate]);
        facts.position = facts.position.with_ramp(Percent::ZERO);
        assert_eq!(gates(&facts, Move::StepBack(Stage::Live), able.clone()), []);
    }
}
