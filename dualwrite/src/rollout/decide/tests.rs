//! What a rollout does next, in each case and whatever happens.

use super::*;
use crate::stages::position::{Epoch, Generation};
use proptest::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);

fn percent(value: u16) -> Percent {
    Percent::new(value).unwrap()
}

fn plan() -> RolloutPlan {
    RolloutPlan::new()
        .step(RolloutStep::stage(Stage::DualWrite).soak(HOUR))
        .step(RolloutStep::stage(Stage::Shadow).soak(HOUR))
        .step(RolloutStep::ramp(percent(1)).soak(HOUR))
        .step(RolloutStep::ramp(percent(25)).soak(HOUR).approval("owner"))
        .step(RolloutStep::stage(Stage::Live).soak(HOUR).hours(8, 18))
        .step(RolloutStep::stage(Stage::RampDown))
        .step(RolloutStep::stage(Stage::Complete).approval("dba"))
}

fn row(step: usize) -> PlanRow {
    PlanRow {
        version: 3,
        text: String::new(),
        state: RolloutState::Running,
        step,
        epoch: Epoch(9),
        at_step: HOUR,
        soak_skipped: false,
        leader: Some("a".to_owned()),
        led: HOUR,
        note: String::new(),
        waiting: None,
        hour: 9,
    }
}

fn at(stage: Stage, ramp: u16) -> Position {
    Position { epoch: Epoch(9), ..Position::start().with_stage(stage).with_ramp(percent(ramp)) }
}

fn known<'k>(plan: &'k RolloutPlan, row: &'k PlanRow, position: Position) -> Known<'k> {
    Known {
        plan,
        row,
        position,
        last: None,
        approvals: &[],
        backfilled: true,
        verified: true,
        health: Health::Healthy,
        blockers: &[],
        work: Working::Idle,
    }
}

fn waits(decision: Decision) -> String {
    let Decision::Wait(reason) = decision else { panic!("{decision:?}") };
    reason
}

fn holds(decision: Decision) -> String {
    let Decision::Hold(reason) = decision else { panic!("{decision:?}") };
    reason
}

#[test]
fn a_step_is_left_when_it_has_lasted_and_its_health_is_known_to_be_good() {
    let (plan, mut row, here) = (plan(), row(2), at(Stage::Shadow, 0));
    let go = Decision::Move { requested: Move::Ramp(percent(1)), step: 3 };
    assert_eq!(decide(&known(&plan, &row, here)), go);
    row.at_step = HOUR - Duration::from_micros(1);
    assert_eq!(waits(decide(&known(&plan, &row, here))), "step 2 (shadow) lasts 3600s");
    row.soak_skipped = true;
    assert_eq!(decide(&known(&plan, &row, here)), go);
    let unknown = Known { health: Health::NotEnoughData, ..known(&plan, &row, here) };
    assert!(waits(decide(&unknown)).contains("too little has happened"));
    let breached = Known { health: Health::Breached, ..unknown };
    assert!(holds(decide(&breached)).starts_with("the health at step 2 (shadow) is breached"));
    let mut blind = plan.clone();
    blind.steps[1].ignores_health = true;
    assert_eq!(decide(&Known { plan: &blind, ..breached }), go);
}

#[test]
fn an_approval_and_the_hour_are_waited_for() {
    let (plan, mut row, here) = (plan(), row(3), at(Stage::Shadow, 1));
    let reason = waits(decide(&known(&plan, &row, here)));
    assert_eq!(
        reason,
        "step 4 (shadow, 25 % as live) needs the approval `owner`: `migration.approve(…)`"
    );
    let given = ["owner".to_owned()];
    let approved = Known { approvals: &given, ..known(&plan, &row, here) };
    assert_eq!(decide(&approved), Decision::Move { requested: Move::Ramp(percent(25)), step: 4 });
    (row.step, row.hour) = (4, 18);
    let reason = waits(decide(&known(&plan, &row, at(Stage::Shadow, 25))));
    assert_eq!(reason, "step 5 (live) is taken from 08:00 to 18:00 UTC");
}

#[test]
fn the_work_of_a_plan_is_done_before_shadow_if_it_says_so() {
    let plan = plan().backfill().verify();
    let row = row(1);
    let here = at(Stage::DualWrite, 0);
    let nothing = Known { backfilled: false, verified: false, ..known(&plan, &row, here) };
    assert_eq!(decide(&nothing), Decision::Work(Work::Backfill));
    for gate in [Gate::Drained, Gate::Killed] {
        let closed = [Blocker { gate, reason: "instance a".to_owned() }];
        let seen = Known { blockers: &closed, ..nothing.clone() };
        assert!(waits(decide(&seen)).contains("instance a"));
    }
    let busy = Known { work: Working::Busy(Work::Backfill), ..nothing.clone() };
    assert_eq!(waits(decide(&busy)), "the backfill runs");
    let copied = Known { backfilled: true, ..nothing.clone() };
    assert_eq!(decide(&copied), Decision::Work(Work::Verify));
    let failed = Known { work: Working::Failed("3 keys differ".to_owned()), ..copied };
    assert_eq!(holds(decide(&failed)), "3 keys differ");
    // Who does not say so leaves it to the operator, and waits at the gate.
    let other = RolloutPlan { backfill: false, verify: true, ..plan.clone() };
    let shadow = Decision::Move { requested: Move::Advance(Stage::Shadow), step: 2 };
    assert_eq!(decide(&Known { plan: &other, ..nothing.clone() }), shadow);
    let gate = [Blocker { gate: Gate::Backfilled, reason: "run the backfill".to_owned() }];
    let row = super::tests::row(2);
    let there = Known { plan: &other, row: &row, position: at(Stage::Shadow, 0), ..nothing };
    assert_eq!(waits(decide(&Known { blockers: &gate, ..there })), "[backfilled] run the backfill");
}

#[test]
fn who_moves_the_migration_otherwise_holds_it() {
    let (plan, row) = (plan(), row(5));
    let event = AuditEvent {
        at: std::time::SystemTime::UNIX_EPOCH,
        actor: "eve".to_owned(),
        reason: "latency".to_owned(),
        from_stage: Stage::Live,
        from_ramp: Percent::ZERO,
        to_stage: Stage::Shadow,
        to_ramp: Percent::ZERO,
        epoch: Epoch(10),
        generation: Generation::FIRST,
        overridden: Vec::new(),
    };
    let back = Position { epoch: Epoch(10), ..at(Stage::Shadow, 0) };
    let seen = Known { last: Some(&event), ..known(&plan, &row, back) };
    let reason = holds(decide(&seen));
    assert!(reason.starts_with("eve moved the migration to shadow, epoch 10: latency"), "{reason}");
    for state in RolloutState::ALL.into_iter().filter(|state| *state != RolloutState::Running) {
        let row = PlanRow { state, ..row.clone() };
        assert_eq!(decide(&Known { row: &row, ..seen.clone() }), Decision::Rest);
    }
}

#[test]
fn after_the_last_step_it_is_done() {
    let (plan, mut row) = (plan(), row(7));
    assert_eq!(decide(&known(&plan, &row, at(Stage::Complete, 0))), Decision::Done);
    let short = RolloutPlan::new().step(RolloutStep::stage(Stage::DualWrite).soak(HOUR));
    (row.step, row.at_step) = (1, Duration::ZERO);
    waits(decide(&known(&short, &row, at(Stage::DualWrite, 0))));
}

#[test]
fn a_step_at_which_it_ramps_back_or_skips_is_not_one_move() {
    let plan = RolloutPlan::new()
        .step(RolloutStep::stage(Stage::DualWrite))
        .step(RolloutStep::ramp(percent(5)));
    let of = |step, position| next_move(&plan, step, position);
    assert_eq!(of(0, at(Stage::Off, 0)), Ok(Some(Move::Advance(Stage::DualWrite))));
    assert_eq!(of(1, at(Stage::DualWrite, 1)), Ok(Some(Move::Ramp(percent(5)))));
    assert_eq!(of(2, at(Stage::DualWrite, 5)), Ok(None));
    for (step, position) in
        [(0, at(Stage::DualWrite, 0)), (0, at(Stage::Shadow, 0)), (1, at(Stage::DualWrite, 6))]
    {
        let refused = of(step, position).unwrap_err();
        let begins = format!("step {} (", step + 1);
        assert!(refused.starts_with(&begins), "{refused}");
        assert!(refused.contains("is not one move from where the migration stands"), "{refused}");
    }
    assert!(of(1, at(Stage::Off, 0)).is_err(), "it skips a stage and ramps");
    let skips = RolloutPlan::new().step(RolloutStep::stage(Stage::Shadow));
    assert!(next_move(&skips, 0, at(Stage::Off, 0)).is_err(), "it skips a stage");
}

#[test]
fn while_calls_are_closed_no_time_is_waited_for() {
    let (plan, row) = (plan(), PlanRow { at_step: Duration::ZERO, ..row(2) });
    let here = at(Stage::Shadow, 0);
    waits(decide(&known(&plan, &row, here)));
    let closed = Position { closed: crate::error::Closed::Writes, ..here };
    let go = Decision::Move { requested: Move::Ramp(percent(1)), step: 3 };
    assert_eq!(decide(&known(&plan, &row, closed)), go);
}

#[test]
fn what_a_gate_asks_for_is_done_wherever_both_sides_are_written() {
    let steps = || {
        RolloutPlan::new()
            .step(RolloutStep::stage(Stage::DualWrite))
            .step(RolloutStep::ramp(percent(5)))
    };
    let gate = |gate| [Blocker { gate, reason: "why".to_owned() }];
    let (backfilled, verified) = (gate(Gate::Backfilled), gate(Gate::Verified));
    let row = row(1);
    let here = at(Stage::DualWrite, 0);
    let both = steps().backfill().verify();
    let fresh = Known { backfilled: false, verified: false, ..known(&both, &row, here) };
    let decided = |blockers, backfilled, verified| {
        decide(&Known { blockers, backfilled, verified, ..fresh.clone() })
    };
    let ramp = Decision::Move { requested: Move::Ramp(percent(5)), step: 2 };
    assert_eq!(decided(&[], false, false), ramp, "nothing is compared yet, and no gate asks");
    assert_eq!(decided(&backfilled, false, false), Decision::Work(Work::Backfill));
    assert_eq!(decided(&verified, true, false), Decision::Work(Work::Verify));
    assert_eq!(waits(decided(&verified, false, false)), "[verified] why", "first the backfill");
    assert_eq!(waits(decided(&backfilled, true, false)), "[backfilled] why", "it is done");
    assert_eq!(waits(decided(&verified, true, true)), "[verified] why", "it is done");
    let busy = Known {
        work: Working::Busy(Work::Verify),
        blockers: &verified,
        backfilled: true,
        ..fresh.clone()
    };
    assert_eq!(waits(decide(&busy)), "the verification runs");
    let none = steps();
    for blockers in [&backfilled, &verified] {
        let seen = Known { plan: &none, blockers, ..fresh.clone() };
        assert!(waits(decide(&seen)).ends_with("why"), "the plan does not do it");
    }
    // Where one side alone is written, nothing is copied.
    let off = Known { blockers: &backfilled, ..known(&both, &row, at(Stage::Off, 0)) };
    let first = super::tests::row(0);
    let off = Known { row: &first, backfilled: false, ..off };
    assert_eq!(waits(decide(&off)), "[backfilled] why");
}

#[test]
fn who_moved_it_is_said_with_the_reason() {
    let event = |reason: &str| AuditEvent {
        at: std::time::SystemTime::UNIX_EPOCH,
        actor: "eve".to_owned(),
        reason: reason.to_owned(),
        from_stage: Stage::Live,
        from_ramp: Percent::ZERO,
        to_stage: Stage::Shadow,
        to_ramp: Percent::ZERO,
        epoch: Epoch(10),
        generation: Generation::FIRST,
        overridden: Vec::new(),
    };
    let here = at(Stage::Shadow, 0);
    assert!(changed(Some(&event("")), here).contains("no reason was given"));
    assert!(changed(Some(&event("slow")), here).contains(": slow; `resume`"));
    assert!(changed(None, here).starts_with("somebody moved the migration to shadow"));
}

#[test]
fn within_the_hours_of_a_step_it_is_taken() {
    let (plan, here) = (plan(), at(Stage::Shadow, 25));
    for (hour, open) in [(7, false), (8, true), (17, true), (18, false)] {
        let row = PlanRow { hour, ..row(4) };
        let decision = decide(&known(&plan, &row, here));
        assert_eq!(matches!(decision, Decision::Move { step: 5, .. }), open, "{hour}");
    }
    let night = RolloutPlan { hours: Some(crate::rollout::hours::Hours(22, 6)), ..plan };
    let row = row(2);
    let reason = waits(decide(&known(&night, &row, at(Stage::Shadow, 0))));
    assert_eq!(reason, "step 3 (shadow, 1 % as live) is taken from 22:00 to 06:00 UTC");
}

/// What may happen between two looks of the leader.
#[derive(Clone, Debug)]
enum Happening {
    Passes(u64),
    Approval(bool),
    Hour(u8),
    Health(u8),
    Blocked(bool),
    Moved(u8, u16),
    Skip,
    Resume,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0_u64..7_200).prop_map(Happening::Passes),
        2 => any::<bool>().prop_map(Happening::Approval),
        1 => (0_u8..24).prop_map(Happening::Hour),
        1 => (0_u8..3).prop_map(Happening::Health),
        1 => any::<bool>().prop_map(Happening::Blocked),
        1 => (0_u8..6, 0_u16..=100).prop_map(|(stage, ramp)| Happening::Moved(stage, ramp)),
        1 => Just(Happening::Skip),
        2 => Just(Happening::Resume),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_a_step_is_one_move_forward_that_was_allowed(
        happenings in proptest::collection::vec(happening(), 1..80),
    ) {
        let plan = plan();
        let mut row = PlanRow { at_step: Duration::ZERO, ..row(0) };
        let mut here = at(Stage::Off, 0);
        let (mut health, mut blocked) = (Health::Healthy, false);
        let mut approvals: Vec<String> = Vec::new();
        for happening in happenings {
            match happening {
                Happening::Passes(seconds) => row.at_step += Duration::from_secs(seconds),
                Happening::Approval(dba) => approvals.push(if dba { "dba" } else { "owner" }.to_owned()),
                Happening::Hour(hour) => row.hour = hour,
                Happening::Health(0) => health = Health::Healthy,
                Happening::Health(1) => health = Health::NotEnoughData,
                Happening::Health(_) => health = Health::Breached,
                Happening::Blocked(now) => blocked = now,
                Happening::Moved(stage, ramp) => {
                    here.stage = Stage::from_code(stage).unwrap();
                    here.ramp = percent(if stage == 5 { 0 } else { ramp });
                    here.epoch.0 += 1;
                    approvals.clear();
                }
                Happening::Skip => row.soak_skipped = true,
                Happening::Resume => {
                    if row.state == RolloutState::Held {
                        (row.state, row.step, row.epoch) = (RolloutState::Running, plan.fits(here), here.epoch);
                        (row.at_step, row.soak_skipped) = (Duration::ZERO, false);
                    }
                }
            }
            let gate = [Blocker { gate: Gate::Clean, reason: "3 keys".to_owned() }];
            let blockers: &[Blocker] = if blocked { &gate } else { &[] };
            let seen = Known {
                approvals: &approvals,
                health,
                blockers,
                ..known(&plan, &row, here)
            };
            let decision = decide(&seen);
            let lasted = row.step == 0 || row.soak_skipped || row.at_step >= plan.steps[row.step - 1].soaks();
            match decision {
                Decision::Move { requested, step } => {
                    prop_assert_eq!(row.state, RolloutState::Running);
                    prop_assert_eq!(row.epoch, here.epoch);
                    prop_assert_eq!(step, row.step + 1);
                    let next = &plan.steps[row.step];
                    let to = crate::stages::moves::destination(here, Generation::FIRST, requested).unwrap();
                    prop_assert!(to.goes_forward(here));
                    prop_assert!(to.stage == here.stage || to.stage == here.stage.next().unwrap() && to.ramp == Percent::ZERO);
                    prop_assert_eq!(Some((to.stage, to.ramp)), next.target());
                    prop_assert!(next.approval.as_ref().is_none_or(|name| approvals.contains(name)));
                    prop_assert!(next.hours.is_none_or(|hours| hours.contain(row.hour)));
                    prop_assert!(lasted && !blocked);
                    prop_assert!(row.step == 0 || health == Health::Healthy);
                    if to.stage != here.stage {
                        approvals.clear();
                    }
                    (here.stage, here.ramp) = (to.stage, to.ramp);
                    here.epoch.0 += 1;
                    (row.step, row.epoch) = (step, here.epoch);
                    (row.at_step, row.soak_skipped) = (Duration::ZERO, false);
                }
                Decision::Hold(reason) => {
                    prop_assert!(!reason.is_empty());
                    row.state = RolloutState::Held;
                }
                Decision::Done => {
                    prop_assert!(lasted && row.step == plan.steps.len());
                    row.state = RolloutState::Done;
                }
                Decision::Wait(reason) => prop_assert!(!reason.is_empty()),
                Decision::Work(work) => prop_assert!(false, "nobody asked for {:?}", work),
                Decision::Rest => prop_assert!(row.state != RolloutState::Running),
            }
        }
    }
}
