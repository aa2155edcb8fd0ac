//! When moves are let through.

mod each_gate;

use std::time::{Duration, SystemTime};

use super::*;
use crate::stages::facts::{InstanceReport, Operated, SideFacts, StageFacts, Unfenced};
use crate::stages::hazard::Stopped;
use crate::stages::moves::destination;
use crate::stages::position::{Epoch, Percent, Position};
use crate::stages::stale::{StaleKind, StaleMark};

fn facts(stage: Stage, ramp: u16) -> Facts {
    Facts {
        operated: Operated::default(),
        converging: Unsettled::default(),
        token: crate::stages::lineage::Token::default(),
        position: Position {
            epoch: Epoch(9),
            ..Position::start().with_stage(stage).with_ramp(Percent::new(ramp).unwrap())
        },
        stage: StageFacts { epoch: Epoch(8), age: Duration::from_secs(60), approvals: Vec::new() },
        new: SideFacts {
            generation: Generation(2),
            backfilled: true,
            verified: Some(Generation(2)),
            ..SideFacts::default()
        },
        old: SideFacts::default(),
        stale: Vec::new(),
        verification: None,
        hazards: Vec::new(),
        unfenced: Unfenced::default(),
        instances: vec![InstanceReport {
            id: "a".into(),
            release: "1.0".into(),
            seen: Epoch(9),
            drained: Epoch(8),
            min_stage: Stage::Off,
            max_stage: Stage::Complete,
            new_only: false,
            lazy: true,
            wanted: None,
            killed_by: None,
            mirror: None,
            terms: None,
            alike: 1,
        }],
    }
}

fn gates(facts: &Facts, requested: Move, terms: Terms) -> Vec<Gate> {
    blockers_of(facts, requested, &Terms { sees_new: true, ..terms })
}

fn blockers_of(facts: &Facts, requested: Move, terms: &Terms) -> Vec<Gate> {
    let to = destination(facts.position, facts.new.generation, requested).unwrap();
    blockers(facts, requested, to, terms).into_iter().map(|blocker| blocker.gate).collect()
}

#[test]
fn with_everything_done_every_step_is_open() {
    for stage in &Stage::ALL[..5] {
        let requested = Move::Advance(stage.next().unwrap());
        assert_eq!(gates(&facts(*stage, 0), requested, Terms::default()), []);
    }
}

#[test]
fn going_live_waits_for_mirror_writes_that_succeed() {
    let failing = Some("55 of 60 mirror writes failed".to_owned());
    let terms = Terms { mirror_failing: failing, ..Terms::default() };
    let shadow = facts(Stage::Shadow, 0);
    for requested in [Move::Advance(Stage::Live), Move::Ramp(Percent::new(1).unwrap())] {
        assert_eq!(gates(&shadow, requested, terms.clone()), [Gate::MirrorWrites]);
    }
    assert_eq!(gates(&facts(Stage::Live, 0), Move::Rollback, terms), []);
}

#[test]
fn going_live_waits_for_the_mirror_writes_of_every_live_instance() {
    let mut shadow = facts(Stage::Shadow, 0);
    let failing = Terms { mirror_failing: Some("on b".to_owned()), ..Terms::default() };
    let other = InstanceReport { terms: Some(failing), ..shadow.instances[0].clone() };
    shadow.instances.push(other);
    let requested = Move::Advance(Stage::Live);
    assert_eq!(gates(&shadow, requested, Terms::default()), [Gate::MirrorWrites]);
}

#[test]
fn a_gate_that_a_verification_keeps_shut_says_what_it_found() {
    let reason = |verification, stale: &[StaleKind]| {
        let mut facts = facts(Stage::Shadow, 0);
        facts.new.verified = None;
        facts.verification = Some(verification);
        facts.stale = stale
            .iter()
            .map(|kind| StaleMark { kind: *kind, at: SystemTime::UNIX_EPOCH })
            .collect();
        let terms = Terms { sees_new: true, ..Terms::default() };
        let requested = Move::Advance(Stage::Live);
        let to = destination(facts.position, facts.new.generation, requested).unwrap();
        let [blocker] = blockers(&facts, requested, to, &terms).try_into().unwrap();
        assert_eq!(blocker.gate, Gate::Verified);
        blocker.reason
    };
    let last =
        LastVerification { generations: [2, 1], compared: 900, done: true, ..Default::default() };
    let found = LastVerification { differing: 555, ..last.clone() };
    let advice = "run `dualwrite repair` (`migration.verify().repair()`) unless somebody has since, then run the \
                  verification again";
    assert_eq!(
        reason(found.clone(), &[StaleKind::Difference, StaleKind::Missing]),
        format!("the last verification found 555 keys that differ: {advice}")
    );
    assert_eq!(
        reason(LastVerification { differing: 1, ..last.clone() }, &[StaleKind::Truncated]),
        format!(
            "the last verification found 1 key that differs; the old table was truncated: {advice}"
        )
    );
    let running = LastVerification { done: false, ..last.clone() };
    assert_eq!(
        reason(running.clone(), &[]),
        "a verification is under way: 900 keys are compared: wait for its end"
    );
    let sample = LastVerification { is_sample: true, ..last };
    assert!(
        reason(sample, &[])
            .starts_with("the last verification compared a sample of the keys: run the")
    );
    // What another generation found says nothing of this one.
    let earlier = LastVerification { generations: [1, 1], ..found };
    assert_eq!(reason(earlier, &[]), "run the verification of generation 2");
}

#[test]
fn what_the_preflight_refuses_blocks_every_forward_move_and_no_way_back() {
    let terms = Terms { refused: vec!["table `t`: no".into()], ..Terms::default() };
    for stage in &Stage::ALL[..5] {
        let requested = Move::Advance(stage.next().unwrap());
        assert_eq!(gates(&facts(*stage, 0), requested, terms.clone()), [Gate::Preflight]);
    }
    assert_eq!(gates(&facts(Stage::Live, 0), Move::Rollback, terms), []);
}

#[test]
fn a_forward_move_waits_for_an_instance_that_has_not_drained() {
    for stage in &Stage::ALL[..5] {
        let mut facts = facts(*stage, 0);
        facts.instances[0].drained = Epoch(7);
        for requested in [Move::Advance(stage.next().unwrap()), Move::Ramp(Percent::FULL)] {
            assert_eq!(gates(&facts, requested, Terms::default()), [Gate::Drained]);
        }
    }
}

#[test]
fn going_live_needs_this_generations_backfill_and_verification() {
    let mut facts = facts(Stage::Shadow, 0);
    facts.new.verified = Some(Generation(1));
    facts.new.backfilled = false;
    for requested in [Move::Advance(Stage::Live), Move::Ramp(Percent::new(1).unwrap())] {
        assert_eq!(gates(&facts, requested, Terms::default()), [Gate::Backfilled, Gate::Verified]);
        let lazy = Terms { lazy: true, ..Terms::default() };
        assert_eq!(gates(&facts, requested, lazy.clone()), [Gate::Backfilled, Gate::Verified]);
        facts.new.generation = Generation::FIRST;
        facts.new.verified = None;
        assert_eq!(gates(&facts, requested, lazy.clone()), []);
        facts.new.generation = Generation(2);
    }
}

#[test]
fn a_lazy_migration_does_not_go_live_with_what_a_copy_would_not_bring() {
    let lazy = Terms { lazy: true, ..Terms::default() };
    let mut facts = facts(Stage::Shadow, 0);
    (facts.new.generation, facts.new.verified) = (Generation::FIRST, None);
    facts.stale = vec![StaleMark { kind: StaleKind::Missing, at: SystemTime::UNIX_EPOCH }];
    assert_eq!(gates(&facts, Move::Advance(Stage::Live), lazy.clone()), []);
    facts.stale.push(StaleMark { kind: StaleKind::Truncated, at: SystemTime::UNIX_EPOCH });
    assert_eq!(gates(&facts, Move::Advance(Stage::Live), lazy), [Gate::Verified]);
}

#[test]
fn complete_waits_for_writers_that_nobody_sees_and_for_sequences() {
    let mut facts = facts(Stage::RampDown, 0);
    let requested = Move::Advance(Stage::Complete);
    let kinds = [HazardKind::ForeignKey, HazardKind::Watch, HazardKind::Sequence];
    facts.hazards = kinds.map(|kind| Hazard::new(kind, kind.as_str(), "x")).into();
    let all = [Gate::Released, Gate::Released, Gate::Sequences];
    assert_eq!(gates(&facts, requested, Terms::default()), all);
    assert_eq!(gates(&facts, Move::Ramp(Percent::new(1).unwrap()), Terms::default()), all);
    let stopped = Stopped { actor: "ada".into(), reason: "x".into(), at: SystemTime::UNIX_EPOCH };
    facts.hazards[0].stopped = Some(stopped);
    assert_eq!(gates(&facts, requested, Terms::default()), all[1..]);
    facts.position = facts.position.with_stage(Stage::Live);
    assert_eq!(gates(&facts, Move::Advance(Stage::RampDown), Terms::default()), []);
}

#[test]
fn what_withdrew_a_proof_is_told() {
    let mut facts = facts(Stage::RampDown, 0);
    facts.new.verified = None;
    facts.stale = vec![StaleMark { kind: StaleKind::Truncated, at: SystemTime::UNIX_EPOCH }];
    let requested = Move::Advance(Stage::Complete);
    let to = destination(facts.position, facts.new.generation, requested).unwrap();
    let found = blockers(&facts, requested, to, &Terms::default());
    let reason = &found[0].reason;
    assert!(reason.starts_with("the old table was truncated: run the verif"), "{reason}");
}

#[test]
fn a_lazy_migration_leaves_live_when_all_is_copied() {
    let mut facts = facts(Stage::Live, 0);
    (facts.new.backfilled, facts.new.dead_letters) = (false, 1);
    let lazy = Terms { lazy: true, ..Terms::default() };
    let wanted = [Gate::DeadLetters, Gate::Backfilled];
    assert_eq!(gates(&facts, Move::Advance(Stage::RampDown), lazy.clone()), wanted);
    assert_eq!(gates(&facts, Move::Ramp(Percent::new(1).unwrap()), lazy), wanted);
}

#[test]
fn a_lazy_migration_needs_instances_that_are() {
    let mut facts = facts(Stage::Shadow, 0);
    facts.new.generation = Generation::FIRST;
    facts.new.backfilled = false;
    facts.instances[0].lazy = false;
    let lazy = Terms { lazy: true, ..Terms::default() };
    let requested = Move::Advance(Stage::Live);
    assert_eq!(gates(&facts, requested, lazy.clone()), [Gate::Supported]);
    facts.new.backfilled = true;
    assert_eq!(gates(&facts, requested, lazy), []);
}

#[test]
fn of_keys_that_only_new_has_somebody_must_know() {
    let blind = Terms::default();
    let requested = Move::Advance(Stage::Live);
    let mut facts = facts(Stage::Shadow, 0);
    let found = blockers_of(&facts, requested, &blind);
    assert_eq!(found, [Gate::Verified], "the second generation");
    facts.new.generation = Generation::FIRST;
    facts.new.verified = Some(Generation::FIRST);
    assert_eq!(blockers_of(&facts, requested, &blind), []);
}

#[test]
fn complete_needs_proof_even_from_a_lazy_migration() {
    let mut facts = facts(Stage::RampDown, 0);
    facts.new.generation = Generation::FIRST;
    facts.new.backfilled = false;
    facts.new.verified = None;
    let lazy = Terms { lazy: true, ..Terms::default() };
    let wanted = [Gate::Backfilled, Gate::Verified];
    assert_eq!(gates(&facts, Move::Advance(Stage::Complete), lazy.clone()), wanted);
    assert_eq!(gates(&facts, Move::Ramp(Percent::new(1).unwrap()), lazy), wanted);
}

#[test]
fn no_side_starts_to_answer_while_its_keys_are_dirty() {
    let mut ahead = facts(Stage::Shadow, 0);
    ahead.new.dirty = 1;
    assert_eq!(gates(&ahead, Move::Advance(Stage::Live), Terms::default()), [Gate::Clean]);
    assert_eq!(gates(&ahead, Move::Ramp(Percent::FULL), Terms::default()), [Gate::Clean]);
    assert_eq!(gates(&ahead, Move::Rollback, Terms::default()), []);
    let mut back = facts(Stage::Live, 0);
    back.old.dirty = 1;
    assert_eq!(gates(&back, Move::Rollback, Terms::default()), [Gate::Clean]);
    assert_eq!(gates(&back, Move::Advance(Stage::RampDown), Terms::default()), []);
}

#[test]
fn an_instance_that_cannot_run_the_stage_blocks_it() {
    let mut facts = facts(Stage::RampDown, 0);
    facts.instances[0].max_stage = Stage::RampDown;
    assert_eq!(gates(&facts, Move::Advance(Stage::Complete), Terms::default()), [Gate::Supported]);
}

#[test]
fn an_instance_is_kept_from_what_any_key_would_reach() {
    let percent = Percent::new(1).unwrap();
    for stage in &Stage::ALL[..5] {
        let next = stage.next().unwrap();
        for requested in [Move::Advance(next), Move::Ramp(percent), Move::Ramp(Percent::FULL)] {
            let blocked = |first, last| {
                let mut facts = facts(*stage, 0);
                // Of several instances one is enough.
                facts.instances.push(facts.instances[0].clone());
                (facts.instances[1].min_stage, facts.instances[1].max_stage) = (first, last);
                gates(&facts, requested, Terms::default())
            };
            assert_eq!(blocked(Stage::Off, *stage), [Gate::Supported], "{stage} {requested}");
            assert_eq!(blocked(Stage::Off, next), [], "{stage} {requested}");
            assert_eq!(blocked(*stage, Stage::Complete), [], "{stage} {requested}");
            // Keys that the ramp has not reached stay where they are.
            let rest = match requested {
                Move::Advance(_) => vec![],
                _ => vec![Gate::Supported],
            };
            assert_eq!(blocked(next, Stage::Complete), rest, "{stage} {requested}");
        }
    }
}

#[test]
fn old_answers_again_only_with_what_new_alone_got() {
    let mut complete = facts(Stage::Complete, 0);
    complete.old.generation = Generation(2);
    let able = Terms { can_copy_back: true, ..Terms::default() };
    for requested in [Move::StepBack(Stage::RampDown), Move::Rollback] {
        assert_eq!(gates(&complete, requested, Terms::default()), [Gate::CopiedBack]);
        assert_eq!(gates(&complete, requested, able.clone()), []);
    }
    let mut back = facts(Stage::RampDown, 0);
    back.old.generation = Generation(2);
    let all = [Gate::CopiedBack, Gate::DeadLetters, Gate::Verified];
    back.old.dead_letters = 1;
    for requested in [Move::StepBack(Stage::Live), Move::Rollback] {
        assert_eq!(gates(&back, requested, able.clone()), all);
    }
    back.old.backfilled = true;
    back.old.dead_letters = 0;
    back.old.verified = Some(Generation(2));
    assert_eq!(gates(&back, Move::Rollback, able), []);
}

#[test]
fn an_approval_is_asked_for_at_the_door_of_its_stage() {
    let terms = Terms { approvals: vec![(Stage::Live, "dba".into())], ..Terms::default() };
    let mut shadow = facts(Stage::Shadow, 0);
    let first = Move::Ramp(Percent::new(1).unwrap());
    assert_eq!(gates(&shadow, first, terms.clone()), [Gate::Approved]);
    assert_eq!(gates(&shadow, Move::Advance(Stage::Live), terms.clone()), [Gate::Approved]);
    shadow.stage.approvals.push("dba".into());
    assert_eq!(gates(&shadow, first, terms.clone()), []);
    let requested = Move::Advance(Stage::RampDown);
    assert_eq!(gates(&facts(Stage::Live, 0), requested, terms), []);
}

#[test]
fn complete_waits_for_releases_without_the_library_and_for_their_writes() {
    let window = Duration::from_secs(60);
    let terms = Terms { unaware_window: window, ..Terms::default() };
    let requested = Move::Advance(Stage::Complete);
    let mut facts = facts(Stage::RampDown, 0);
    facts.unfenced.releases.push("0.9".into());
    assert_eq!(gates(&facts, requested, terms.clone()), [Gate::Released]);
    facts.unfenced.releases.clear();
    facts.unfenced.last_write = Some(Duration::from_secs(59));
    assert_eq!(gates(&facts, requested, terms.clone()), [Gate::Released]);
    facts.unfenced.last_write = Some(window);
    assert_eq!(gates(&facts, requested, terms), []);
}

#[test]
fn only_gates_that_protect_no_data_can_be_overridden() {
    let blocked = [Blocker { gate: Gate::Verified, reason: "x".into() }];
    assert_eq!(admit(&blocked, &[]).unwrap_err().kind(), ErrorKind::Blocked);
    assert!(admit(&blocked, &[Gate::Verified]).is_ok());
    assert_eq!(admit(&[], &[Gate::Drained]).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn what_an_instance_declares_shuts_complete_for_others() {
    let facts = facts(Stage::RampDown, 0);
    let requested = Move::Advance(Stage::Complete);
    let by = |terms: &Terms| {
        let stored = Terms::of_text(&terms.to_text()).unwrap();
        gates(&facts, requested, Terms::strictest([&Terms::default(), &stored]).unwrap())
    };
    assert_eq!(by(&Terms::default()), []);
    let needed = Terms { needed_columns: vec!["email".into()], ..Terms::default() };
    assert_eq!(by(&needed), [Gate::OldMayBeLeftOut]);
    let rejecting = Terms { rejecting: vec!["drop the foreign key".into()], ..Terms::default() };
    assert_eq!(by(&rejecting), [Gate::Relaxed]);
    assert_eq!(by(&Terms::default().unread("7f3a")), [Gate::Preflight]);
}

#[test]
fn instances_that_report_alike_are_counted_each() {
    let mut facts = facts(Stage::Shadow, 0);
    facts.instances[0].alike = 3;
    facts.instances.push(InstanceReport { alike: 2, ..facts.instances[0].clone() });
    assert_eq!(facts.live(), 5);
}
