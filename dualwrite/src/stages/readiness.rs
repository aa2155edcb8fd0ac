//! What must be true before a move is made. Pure; the control adapters call [`blockers`] while they
//! hold the fence exclusively, so nothing changes between the decision and the move.

use crate::error::{Error, ErrorKind};
use crate::gate::{Blocker, Gate};
use crate::stages::facts::{Facts, Terms};
use crate::stages::moves::{Destination, Move};
use crate::stages::position::Generation;
use crate::stages::route::is_read;
use crate::stages::stage::{Side, Stage};

/// Lists what stands between the present position and a destination; empty means go.
pub(crate) fn blockers(facts: &Facts, wish: Move, to: Destination, terms: &Terms) -> Vec<Blocker> {
    let mut found = Vec::new();
    let forward = to.goes_forward(facts.position);
    if wish != Move::Rollback && (forward || to.stage == Stage::Off) {
        found.extend(drained(facts));
    }
    if forward {
        for reason in &terms.refused {
            block(&mut found, Gate::Preflight, reason.clone());
        }
        killed(facts, &mut found);
        supported(facts, to, &mut found);
    }
    clean(facts, to, &mut found);
    let reaches = facts.position.with_stage(to.stage).with_ramp(to.ramp).reaches();
    if forward && reaches >= Stage::Live && !is_read(facts.position, Side::New) {
        copied(facts, terms, &mut found);
        if let Some(reason) = &terms.mirror_failing {
            block(&mut found, Gate::MirrorWrites, reason.clone());
        }
    }
    if forward && reaches == Stage::RampDown {
        // From there on no read falls back to old, in a lazy migration either.
        no_dead_letters(facts, &mut found);
        backfilled(facts, &mut found);
    }
    if forward && facts.position.stage == Stage::Live && facts.stage_age < terms.soak {
        let left = terms.soak - facts.stage_age;
        block(&mut found, Gate::Soaked, format!("live has to last for {left:.0?} more"));
    }
    if forward && reaches == Stage::Complete {
        backfilled(facts, &mut found);
        verified(facts, &mut found);
        released(facts, terms, &mut found);
    }
    if forward {
        approved(facts, reaches, terms, &mut found);
    } else {
        copied_back(facts, to, terms, &mut found);
    }
    found
}

/// Turns blockers that were not overridden into an error.
///
/// # Errors
/// `Blocked` listing every gate, `InvalidInput` for an override of a gate that protects data.
pub(crate) fn admit(blockers: &[Blocker], overridden: &[Gate]) -> Result<(), Error> {
    if let Some(gate) = overridden.iter().find(|gate| !gate.may_be_overridden()) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("the gate `{gate}` protects data and cannot be overridden"),
        ));
    }
    let left: Vec<Blocker> =
        blockers.iter().filter(|blocker| !overridden.contains(&blocker.gate)).cloned().collect();
    if left.is_empty() { Ok(()) } else { Err(Error::blocked(left)) }
}

fn block(found: &mut Vec<Blocker>, gate: Gate, reason: String) {
    found.push(Blocker { gate, reason });
}

/// Instances that still have operations of an earlier stage in flight.
pub(crate) fn drained(facts: &Facts) -> Vec<Blocker> {
    let late = facts.instances.iter().filter(|instance| instance.drained < facts.stage_epoch);
    late.map(|instance| Blocker {
        gate: Gate::Drained,
        reason: format!(
            "instance {} (release {}) still has operations of a stage before {} in flight",
            instance.id, instance.release, facts.position.stage
        ),
    })
    .collect()
}

fn killed(facts: &Facts, found: &mut Vec<Blocker>) {
    for instance in &facts.instances {
        if let Some(switch) = &instance.killed_by {
            let reason = format!(
                "the kill switch {switch} is set on instance {} (release {}); unset it there before \
                 anything goes forward",
                instance.id, instance.release
            );
            block(found, Gate::Killed, reason);
        }
    }
}

fn supported(facts: &Facts, to: Destination, found: &mut Vec<Blocker>) {
    let reaches = facts.position.with_stage(to.stage).with_ramp(to.ramp).reaches();
    for instance in &facts.instances {
        if to.stage < instance.min_stage || reaches > instance.max_stage {
            let reason = format!(
                "instance {} (release {}) can run {} to {}, not {reaches}; replace it first",
                instance.id, instance.release, instance.min_stage, instance.max_stage
            );
            block(found, Gate::Supported, reason);
        }
    }
}

/// Going forward, new starts to answer for more keys; going back, old does.
fn clean(facts: &Facts, to: Destination, found: &mut Vec<Blocker>) {
    let then = facts.position.with_stage(to.stage).with_ramp(to.ramp);
    let (side, dirty) = match to.goes_forward(facts.position) {
        true => (Side::New, facts.dirty_new),
        false => (Side::Old, facts.dirty_old),
    };
    if dirty > 0 && is_read(then, side) {
        let reason = format!("{dirty} keys wait to be copied to {side} again");
        block(found, Gate::Clean, reason);
    }
}

fn no_dead_letters(facts: &Facts, found: &mut Vec<Blocker>) {
    no_letters(facts.dead_letters, facts.waived, "", found);
}

fn no_letters(letters: u64, waived: u64, back: &str, found: &mut Vec<Blocker>) {
    if letters > 0 {
        let waived =
            if waived > 0 { format!(" ({waived} more are waived)") } else { String::new() };
        let reason =
            format!("{letters} keys could not be copied{back}{waived}; retry or waive them");
        block(found, Gate::DeadLetters, reason);
    }
}

fn copied(facts: &Facts, terms: &Terms, found: &mut Vec<Blocker>) {
    no_dead_letters(facts, found);
    // A lazy migration copies a key that is missing in new; only in the first generation can a key
    // that is there not be stale.
    if terms.lazy && facts.generation == Generation::FIRST {
        for instance in facts.instances.iter().filter(|one| !facts.backfilled && !one.lazy) {
            let reason = format!(
                "instance {} (release {}) does not copy what it misses in new; replace it, or run the \
                 backfill first",
                instance.id, instance.release
            );
            block(found, Gate::Supported, reason);
        }
        return;
    }
    backfilled(facts, found);
    verified(facts, found);
    if facts.generation > Generation::FIRST && !terms.sees_new {
        let reason = "keys deleted from old at off may still be in new, where nobody finds them: give \
                      the copy function `new_source`";
        block(found, Gate::Verified, reason.to_owned());
    }
}

fn backfilled(facts: &Facts, found: &mut Vec<Blocker>) {
    if !facts.backfilled {
        let reason = format!("run the backfill of generation {}", facts.generation);
        block(found, Gate::Backfilled, reason);
    }
}

fn verified(facts: &Facts, found: &mut Vec<Blocker>) {
    if facts.verified != Some(facts.generation) {
        let reason = format!("run the verification of generation {}", facts.generation);
        block(found, Gate::Verified, reason);
    }
}

fn approved(facts: &Facts, reaches: Stage, terms: &Terms, found: &mut Vec<Blocker>) {
    for (stage, name) in &terms.approvals {
        let entered = facts.position.reaches() < *stage && reaches >= *stage;
        if entered && !facts.approvals.contains(name) {
            let reason = format!("{stage} needs the approval `{name}`: `migration.approve(…)`");
            block(found, Gate::Approved, reason);
        }
    }
}

fn released(facts: &Facts, terms: &Terms, found: &mut Vec<Blocker>) {
    for release in &facts.releases {
        let reason = format!("release {release} still writes old; say when it is gone");
        block(found, Gate::Released, reason);
    }
    if let Some(age) = facts.unaware
        && age < terms.unaware_window
    {
        let reason = format!(
            "old was written without this library {age:.0?} ago; {:.0?} must pass without",
            terms.unaware_window
        );
        block(found, Gate::Released, reason);
    }
}

/// What was written to new alone must be in old before old is compared, and before it answers.
fn copied_back(facts: &Facts, to: Destination, terms: &Terms, found: &mut Vec<Blocker>) {
    if facts.position.reaches() == Stage::Complete && !terms.can_copy_back {
        let reason = "new alone was written, and there is no way to copy that to old: give the copy \
                      function `copy_back` and `new_source`, a `CopySql` `copying_back`";
        block(found, Gate::CopiedBack, reason.to_owned());
    }
    let leaves = facts.position.stage >= Stage::RampDown && to.stage <= Stage::Live;
    if !leaves || facts.old_generation == Generation::FIRST {
        return;
    }
    if !facts.old_backfilled {
        let reason =
            "old lacks what was written to new alone: run `migration.backfill().reverse()`";
        block(found, Gate::CopiedBack, reason.to_owned());
    }
    no_letters(facts.old_dead_letters, facts.old_waived, " back", found);
    if facts.old_verified != Some(facts.old_generation) {
        let reason = "run the verification of what was copied back";
        block(found, Gate::Verified, reason.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stages::facts::InstanceReport;
    use crate::stages::moves::destination;
    use crate::stages::position::{Epoch, Percent, Position};

    fn facts(stage: Stage, ramp: u16) -> Facts {
        Facts {
            position: Position { stage, ramp: Percent::new(ramp).unwrap(), epoch: Epoch(9) },
            generation: Generation(2),
            stage_epoch: Epoch(8),
            stage_age: Duration::from_secs(60),
            backfilled: true,
            verified: Some(Generation(2)),
            dirty_old: 0,
            dirty_new: 0,
            dead_letters: 0,
            waived: 0,
            old_generation: Generation::FIRST,
            old_backfilled: false,
            old_verified: None,
            old_dead_letters: 0,
            old_waived: 0,
            approvals: Vec::new(),
            releases: Vec::new(),
            unaware: None,
            instances: vec![InstanceReport {
                id: "a".into(),
                release: "1.0".into(),
                seen: Epoch(9),
                drained: Epoch(8),
                min_stage: Stage::Off,
                max_stage: Stage::Complete,
                lazy: true,
                wanted: None,
                killed_by: None,
            }],
        }
    }

    fn gates(facts: &Facts, wish: Move, terms: Terms) -> Vec<Gate> {
        blockers_of(facts, wish, &Terms { sees_new: true, ..terms })
    }

    fn blockers_of(facts: &Facts, wish: Move, terms: &Terms) -> Vec<Gate> {
        let to = destination(facts.position, facts.generation, wish).unwrap();
        blockers(facts, wish, to, terms).into_iter().map(|blocker| blocker.gate).collect()
    }

    #[test]
    fn with_everything_done_every_step_is_open() {
        for stage in &Stage::ALL[..5] {
            let wish = Move::Advance(stage.next().unwrap());
            assert_eq!(gates(&facts(*stage, 0), wish, Terms::default()), []);
        }
    }

    #[test]
    fn what_the_preflight_refuses_blocks_every_forward_move_and_no_way_back() {
        let terms = Terms { refused: vec!["table `t`: no".into()], ..Terms::default() };
        for stage in &Stage::ALL[..5] {
            let wish = Move::Advance(stage.next().unwrap());
            assert_eq!(gates(&facts(*stage, 0), wish, terms.clone()), [Gate::Preflight]);
        }
        assert_eq!(gates(&facts(Stage::Live, 0), Move::Rollback, terms), []);
    }

    #[test]
    fn a_forward_move_waits_for_an_instance_that_has_not_drained() {
        for stage in &Stage::ALL[..5] {
            let mut facts = facts(*stage, 0);
            facts.instances[0].drained = Epoch(7);
            for wish in [Move::Advance(stage.next().unwrap()), Move::Ramp(Percent::FULL)] {
                assert_eq!(gates(&facts, wish, Terms::default()), [Gate::Drained]);
            }
        }
    }

    #[test]
    fn going_live_needs_this_generations_backfill_and_verification() {
        let mut facts = facts(Stage::Shadow, 0);
        facts.verified = Some(Generation(1));
        facts.backfilled = false;
        for wish in [Move::Advance(Stage::Live), Move::Ramp(Percent::new(1).unwrap())] {
            assert_eq!(gates(&facts, wish, Terms::default()), [Gate::Backfilled, Gate::Verified]);
            let lazy = Terms { lazy: true, ..Terms::default() };
            assert_eq!(gates(&facts, wish, lazy.clone()), [Gate::Backfilled, Gate::Verified]);
            facts.generation = Generation::FIRST;
            facts.verified = None;
            assert_eq!(gates(&facts, wish, lazy.clone()), []);
            facts.generation = Generation(2);
        }
    }

    #[test]
    fn going_live_waits_for_mirror_writes_that_succeed() {
        let failing = Some("55 of 60 mirror writes failed".to_owned());
        let terms = Terms { mirror_failing: failing, ..Terms::default() };
        let shadow = facts(Stage::Shadow, 0);
        for wish in [Move::Advance(Stage::Live), Move::Ramp(Percent::new(1).unwrap())] {
            assert_eq!(gates(&shadow, wish, terms.clone()), [Gate::MirrorWrites]);
        }
        assert_eq!(gates(&facts(Stage::Live, 0), Move::Rollback, terms), []);
    }

    #[test]
    fn a_lazy_migration_leaves_live_when_all_is_copied() {
        let mut facts = facts(Stage::Live, 0);
        (facts.backfilled, facts.dead_letters) = (false, 1);
        let lazy = Terms { lazy: true, ..Terms::default() };
        let wanted = [Gate::DeadLetters, Gate::Backfilled];
        assert_eq!(gates(&facts, Move::Advance(Stage::RampDown), lazy.clone()), wanted);
        assert_eq!(gates(&facts, Move::Ramp(Percent::new(1).unwrap()), lazy), wanted);
    }

    #[test]
    fn a_lazy_migration_needs_instances_that_are() {
        let mut facts = facts(Stage::Shadow, 0);
        facts.generation = Generation::FIRST;
        facts.backfilled = false;
        facts.instances[0].lazy = false;
        let lazy = Terms { lazy: true, ..Terms::default() };
        let wish = Move::Advance(Stage::Live);
        assert_eq!(gates(&facts, wish, lazy.clone()), [Gate::Supported]);
        facts.backfilled = true;
        assert_eq!(gates(&facts, wish, lazy), []);
    }

    #[test]
    fn of_keys_that_only_new_has_somebody_must_know() {
        let blind = Terms::default();
        let wish = Move::Advance(Stage::Live);
        let mut facts = facts(Stage::Shadow, 0);
        let found = blockers_of(&facts, wish, &blind);
        assert_eq!(found, [Gate::Verified], "the second generation");
        facts.generation = Generation::FIRST;
        facts.verified = Some(Generation::FIRST);
        assert_eq!(blockers_of(&facts, wish, &blind), []);
    }

    #[test]
    fn complete_needs_proof_even_from_a_lazy_migration() {
        let mut facts = facts(Stage::RampDown, 0);
        facts.generation = Generation::FIRST;
        facts.backfilled = false;
        facts.verified = None;
        let lazy = Terms { lazy: true, ..Terms::default() };
        let wanted = [Gate::Backfilled, Gate::Verified];
        assert_eq!(gates(&facts, Move::Advance(Stage::Complete), lazy.clone()), wanted);
        assert_eq!(gates(&facts, Move::Ramp(Percent::new(1).unwrap()), lazy), wanted);
    }

    #[test]
    fn no_side_starts_to_answer_while_its_keys_are_dirty() {
        let mut ahead = facts(Stage::Shadow, 0);
        ahead.dirty_new = 1;
        assert_eq!(gates(&ahead, Move::Advance(Stage::Live), Terms::default()), [Gate::Clean]);
        assert_eq!(gates(&ahead, Move::Ramp(Percent::FULL), Terms::default()), [Gate::Clean]);
        assert_eq!(gates(&ahead, Move::Rollback, Terms::default()), []);
        let mut back = facts(Stage::Live, 0);
        back.dirty_old = 1;
        assert_eq!(gates(&back, Move::Rollback, Terms::default()), [Gate::Clean]);
        assert_eq!(gates(&back, Move::Advance(Stage::RampDown), Terms::default()), []);
    }

    #[test]
    fn an_instance_that_cannot_run_the_stage_blocks_it() {
        let mut facts = facts(Stage::RampDown, 0);
        facts.instances[0].max_stage = Stage::RampDown;
        assert_eq!(
            gates(&facts, Move::Advance(Stage::Complete), Terms::default()),
            [Gate::Supported]
        );
    }

    #[test]
    fn old_answers_again_only_with_what_new_alone_got() {
        let mut complete = facts(Stage::Complete, 0);
        complete.old_generation = Generation(2);
        let able = Terms { can_copy_back: true, ..Terms::default() };
        for wish in [Move::StepBack(Stage::RampDown), Move::Rollback] {
            assert_eq!(gates(&complete, wish, Terms::default()), [Gate::CopiedBack]);
            assert_eq!(gates(&complete, wish, able.clone()), []);
        }
        let mut back = facts(Stage::RampDown, 0);
        back.old_generation = Generation(2);
        let all = [Gate::CopiedBack, Gate::DeadLetters, Gate::Verified];
        back.old_dead_letters = 1;
        for wish in [Move::StepBack(Stage::Live), Move::Rollback] {
            assert_eq!(gates(&back, wish, able.clone()), all);
        }
        back.old_backfilled = true;
        back.old_dead_letters = 0;
        back.old_verified = Some(Generation(2));
        assert_eq!(gates(&back, Move::Rollback, able), []);
    }

    #[test]
    fn an_approval_is_asked_for_at_the_door_of_its_stage() {
        let terms = Terms { approvals: vec![(Stage::Live, "dba".into())], ..Terms::default() };
        let mut shadow = facts(Stage::Shadow, 0);
        let first = Move::Ramp(Percent::new(1).unwrap());
        assert_eq!(gates(&shadow, first, terms.clone()), [Gate::Approved]);
        assert_eq!(gates(&shadow, Move::Advance(Stage::Live), terms.clone()), [Gate::Approved]);
        shadow.approvals.push("dba".into());
        assert_eq!(gates(&shadow, first, terms.clone()), []);
        let wish = Move::Advance(Stage::RampDown);
        assert_eq!(gates(&facts(Stage::Live, 0), wish, terms), []);
    }

    #[test]
    fn complete_waits_for_releases_without_the_library_and_for_their_writes() {
        let window = Duration::from_secs(60);
        let terms = Terms { unaware_window: window, ..Terms::default() };
        let wish = Move::Advance(Stage::Complete);
        let mut facts = facts(Stage::RampDown, 0);
        facts.releases.push("0.9".into());
        assert_eq!(gates(&facts, wish, terms.clone()), [Gate::Released]);
        facts.releases.clear();
        facts.unaware = Some(Duration::from_secs(59));
        assert_eq!(gates(&facts, wish, terms.clone()), [Gate::Released]);
        facts.unaware = Some(window);
        assert_eq!(gates(&facts, wish, terms), []);
    }

    #[test]
    fn only_gates_that_protect_no_data_can_be_overridden() {
        let blocked = [Blocker { gate: Gate::Verified, reason: "x".into() }];
        assert_eq!(admit(&blocked, &[]).unwrap_err().kind(), ErrorKind::Blocked);
        assert!(admit(&blocked, &[Gate::Verified]).is_ok());
        assert_eq!(admit(&[], &[Gate::Drained]).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
