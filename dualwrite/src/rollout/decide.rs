//! What a rollout does next. Pure: everything it looks at is given.

use std::time::Duration;

use crate::gate::{Blocker, Gate};
use crate::rollout::health::Health;
use crate::rollout::plan::{RolloutPlan, RolloutStep};
use crate::rollout::state::{PlanRow, RolloutState};
use crate::stages::audit::AuditEvent;
use crate::stages::moves::Move;
use crate::stages::position::{Percent, Position};
use crate::stages::stage::Stage;

/// What the leader knows.
#[derive(Clone, Debug)]
pub(crate) struct Known<'k> {
    pub(crate) plan: &'k RolloutPlan,
    pub(crate) row: &'k PlanRow,
    pub(crate) position: Position,
    /// The last change of the position.
    pub(crate) last: Option<&'k AuditEvent>,
    /// Approvals that were given since the present stage was entered.
    pub(crate) approvals: &'k [String],
    pub(crate) backfilled: bool,
    pub(crate) verified: bool,
    pub(crate) health: Health,
    /// What stands before the next step's move.
    pub(crate) blockers: &'k [Blocker],
    pub(crate) work: Working,
}

/// What the leader has under way for the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Working {
    Idle,
    Busy(Work),
    Failed(String),
}

/// What takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Backfill,
    Verify,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is not running.
    Rest,
    /// Nothing yet; why, in plain words that stay the same while the reason does.
    Wait(String),
    /// This must be done before the next step.
    Work(Work),
    /// The next step.
    Move {
        requested: Move,
        step: usize,
    },
    /// Somebody has to look at it.
    Hold(String),
    Done,
}

/// The move of the next step, `None` after the last one.
///
/// # Errors
/// In words, where the next step is not one move away from the position.
pub(crate) fn next_move(
    plan: &RolloutPlan,
    step: usize,
    position: Position,
) -> Result<Option<Move>, String> {
    let Some(next) = plan.steps.get(step) else { return Ok(None) };
    let Some((stage, ramp)) = next.target() else {
        return Err(format!("step {} says no stage", step + 1));
    };
    let ahead = (stage, ramp) > (position.stage, position.ramp);
    if ahead && stage == position.stage {
        return Ok(Some(Move::Ramp(ramp)));
    }
    if ahead && position.stage.next() == Some(stage) && ramp == Percent::ZERO {
        return Ok(Some(Move::Advance(stage)));
    }
    Err(format!(
        "step {} ({next}) is not one move from where the migration stands: {position}",
        step + 1
    ))
}

/// Decides.
pub(crate) fn decide(known: &Known<'_>) -> Decision {
    let Known { plan, row, position, .. } = known;
    if row.state != RolloutState::Running {
        return Decision::Rest;
    }
    if row.epoch != position.epoch {
        return Decision::Hold(changed(known.last, *position));
    }
    let here = row.step.checked_sub(1).and_then(|index| plan.steps.get(index));
    let requested = match next_move(plan, row.step, *position) {
        Ok(requested) => requested,
        Err(problem) => return Decision::Hold(problem),
    };
    if let Working::Failed(problem) = &known.work {
        return Decision::Hold(problem.clone());
    }
    if let Some(pause) = lasts(known, here) {
        return pause;
    }
    let (Some(requested), Some(next)) = (requested, plan.steps.get(row.step)) else {
        return Decision::Done;
    };
    if let Some(pause) = asks(known, next) {
        return pause;
    }
    match known.blockers {
        [] => Decision::Move { requested, step: row.step + 1 },
        blockers => {
            let reasons: Vec<String> = blockers.iter().map(ToString::to_string).collect();
            Decision::Wait(reasons.join("; "))
        }
    }
}

fn changed(last: Option<&AuditEvent>, position: Position) -> String {
    match last {
        Some(event) => format!(
            "{} moved the migration to {position}: {}; `resume` goes on from there",
            event.actor,
            if event.reason.is_empty() { "no reason was given" } else { &event.reason }
        ),
        None => format!("somebody moved the migration to {position}; `resume` goes on from there"),
    }
}

/// What the present step asks before it is left.
fn lasts(known: &Known<'_>, here: Option<&RolloutStep>) -> Option<Decision> {
    let row = known.row;
    let step = here?;
    if !step.ignores_health && known.health == Health::Breached {
        return Some(Decision::Hold(format!(
            "the health at step {} ({step}) is breached; look into it, then `resume`, or `rollback`",
            row.step
        )));
    }
    // While calls are closed, time says nothing of them.
    let is_open = !known.position.closed.is_closed();
    if is_open && row.at_step < step.soaks() && !row.soak_skipped {
        return Some(Decision::Wait(format!(
            "step {} ({step}) lasts {:?}",
            row.step,
            Duration::from_millis(step.soak_ms)
        )));
    }
    if !step.ignores_health && known.health == Health::NotEnoughData {
        return Some(Decision::Wait(format!(
            "too little has happened at step {} ({step}) to tell its health",
            row.step
        )));
    }
    None
}

/// What the next step asks before it is taken.
fn asks(known: &Known<'_>, next: &RolloutStep) -> Option<Decision> {
    let Known { plan, row, .. } = known;
    let number = row.step + 1;
    if let Some(work) = works(known, next) {
        return Some(work);
    }
    if let Some(name) = next.approval.as_ref().filter(|name| !known.approvals.contains(name)) {
        return Some(Decision::Wait(format!(
            "step {number} ({next}) needs the approval `{name}`: `migration.approve(…)`"
        )));
    }
    match plan.hours_of(next) {
        Some(hours) if !hours.contain(row.hour) => {
            Some(Decision::Wait(format!("step {number} ({next}) is taken from {hours}")))
        }
        _ => None,
    }
}

/// What the plan does itself before a step. Before `Shadow`, for there it would be compared; and wherever
/// a gate asks for it.
fn works(known: &Known<'_>, next: &RolloutStep) -> Option<Decision> {
    let Known { plan, position, .. } = known;
    if !position.stage.writes_both() {
        return None;
    }
    let compared = next.target().is_some_and(|(stage, _)| stage >= Stage::Shadow);
    let closed = |gate| known.blockers.iter().any(|blocker| blocker.gate == gate);
    // Before all is drained it would not begin; and nobody begins anything under a kill switch.
    let open = !closed(Gate::Drained) && !closed(Gate::Killed);
    let backfill = plan.backfill && !known.backfilled && (compared || closed(Gate::Backfilled));
    let verify = plan.verify && !known.verified && (compared || closed(Gate::Verified));
    let wanted = match (backfill, verify) {
        (true, _) => Work::Backfill,
        (false, true) => Work::Verify,
        (false, false) => return None,
    };
    if let Working::Busy(work) = known.work {
        return Some(Decision::Wait(match work {
            Work::Backfill => "the backfill runs".to_owned(),
            Work::Verify => "the verification runs".to_owned(),
        }));
    }
    // Without a backfill by the plan, a verification waits for the operator's.
    if wanted == Work::Verify && !known.backfilled {
        return None;
    }
    open.then_some(Decision::Work(wanted))
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            decide(&approved),
            Decision::Move { requested: Move::Ramp(percent(25)), step: 4 }
        );
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
        assert_eq!(
            waits(decide(&Known { blockers: &gate, ..there })),
            "[backfilled] run the backfill"
        );
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
        assert!(
            reason.starts_with("eve moved the migration to shadow, epoch 10: latency"),
            "{reason}"
        );
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
}
