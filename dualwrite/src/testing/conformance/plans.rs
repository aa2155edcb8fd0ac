//! Rollouts and flags: the same on every control adapter.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::control::plans::NewPlan;
use crate::control::{Change, Control};
use crate::error::ErrorKind;
use crate::rollout::command::{NewRolloutCommand, RolloutCommandKind};
use crate::rollout::decide::Working;
use crate::rollout::plan::{RolloutPlan, RolloutStep};
use crate::rollout::state::{PlanMove, PlanRow, PlanUpdate, RolloutState};
use crate::runtime::rollout::{Outcome, follow};
use crate::runtime::{Inner, SHUTDOWN};
use crate::stages::moves::Move;
use crate::stages::position::{Epoch, Percent};
use crate::stages::stage::Stage;
use crate::state::Options;
use crate::testing::conformance::{NAME, beat, change, heartbeat, join, seen};

const LEASE: Duration = Duration::from_secs(60);

fn plan() -> RolloutPlan {
    let ramp = |percent| RolloutStep::ramp(Percent::new(percent).unwrap());
    RolloutPlan::new().step(RolloutStep::stage(Stage::DualWrite)).step(ramp(5)).step(ramp(50))
}

fn new_plan() -> NewPlan {
    let audit = NewRolloutCommand::new(RolloutCommandKind::Start, "ada", "the release is out");
    let text = plan().to_text().unwrap();
    NewPlan { text, step: 0, epoch: Epoch(1), note: "go".to_owned(), audit }
}

/// What takes the rollout into a state, and a command that would.
fn update(state: RolloutState, row: &PlanRow, note: &str) -> PlanUpdate {
    let kind = match state {
        RolloutState::Running => RolloutCommandKind::Resume,
        RolloutState::Paused => RolloutCommandKind::Pause,
        RolloutState::Held => RolloutCommandKind::Hold,
        RolloutState::Aborted => RolloutCommandKind::Abort,
        RolloutState::Done => RolloutCommandKind::Done,
    };
    PlanUpdate::to(state, row, note.to_owned(), NewRolloutCommand::new(kind, "eve", note))
}

async fn row(control: &dyn Control) -> PlanRow {
    control.plan(NAME).await.unwrap().unwrap()
}

fn step(row: &PlanRow, leader: &str) -> Change {
    let taken = PlanMove { version: row.version, leader: leader.to_owned(), step: row.step + 1 };
    Change {
        expected: Some(row.epoch),
        plan: Some(taken),
        ..change(Move::Advance(Stage::DualWrite))
    }
}

async fn a_plan_is_stored_and_another_one_only_when_it_is_over(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    assert_eq!(control.plan(NAME).await.unwrap(), None);
    assert!(!control.load().await.unwrap()[0].planned);
    control.start_plan(NAME, &new_plan()).await.unwrap();
    assert!(control.load().await.unwrap()[0].planned);
    let first = row(control).await;
    assert_eq!((first.version, first.state, first.step), (1, RolloutState::Running, 0));
    assert_eq!((first.plan().unwrap(), first.note.as_str()), (plan(), "go"));
    let again = control.start_plan(NAME, &new_plan()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);

    let end = update(RolloutState::Aborted, &first, "enough");
    assert!(!control.update_plan(NAME, 7, &end).await.unwrap());
    assert!(control.update_plan(NAME, 1, &end).await.unwrap());
    assert_eq!(row(control).await.note, "enough");
    assert!(!control.load().await.unwrap()[0].planned);
    control.start_plan(NAME, &new_plan()).await.unwrap();
    assert_eq!(row(control).await.version, 3);
}

async fn of_several_that_start_a_plan_one_does(control: Arc<dyn Control>) {
    join(&*control, &beat("a"), true).await.unwrap();
    let starts = (0..4).map(|_| {
        let control = Arc::clone(&control);
        tokio::spawn(async move { control.start_plan(NAME, &new_plan()).await })
    });
    let mut started = 0;
    for start in starts.collect::<Vec<_>>() {
        match start.await.unwrap() {
            Ok(()) => started += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
        }
    }
    assert_eq!(started, 1);
}

async fn one_instance_leads_until_its_lease_ends_or_it_leaves(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    control.start_plan(NAME, &new_plan()).await.unwrap();
    assert!(control.lead_plan(NAME, "a", LEASE).await.unwrap());
    assert!(!control.lead_plan(NAME, "b", LEASE).await.unwrap());
    assert!(control.lead_plan(NAME, "a", LEASE).await.unwrap());
    let led = row(control).await;
    assert_eq!(led.leader.as_deref(), Some("a"));
    assert!(led.led > LEASE / 2 && led.led <= LEASE);
    control.report_plan(NAME, "a", "lunch").await.unwrap();
    control.report_plan(NAME, "b", "dinner").await.unwrap();
    assert_eq!(row(control).await.waiting.as_deref(), Some("lunch"));
    control.leave("a").await.unwrap();
    assert!(control.lead_plan(NAME, "b", Duration::ZERO).await.unwrap());
    // What leading does not do is to outdate a step that was decided: that is what a step is for.
    assert_eq!(row(control).await.version, led.version);
    while !control.lead_plan(NAME, "c", LEASE).await.unwrap() {}
}

async fn a_step_needs_the_row_as_it_was(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    control.start_plan(NAME, &new_plan()).await.unwrap();
    control.lead_plan(NAME, "a", LEASE).await.unwrap();
    let first = row(control).await;
    let paused = update(RolloutState::Paused, &first, "lunch");
    assert!(control.update_plan(NAME, first.version, &paused).await.unwrap());
    let second = row(control).await;
    for step in [step(&first, "a"), step(&second, "a"), step(&second, "b")] {
        let error = control.change(NAME, &step).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    // What was refused changed nothing.
    let record = &control.load().await.unwrap()[0];
    assert_eq!((record.position.stage, record.position.epoch), (Stage::Off, Epoch(1)));
    assert_eq!(control.events(NAME, 9).await.unwrap(), []);

    let running = update(RolloutState::Running, &second, "");
    assert!(control.update_plan(NAME, second.version, &running).await.unwrap());
    let third = row(control).await;
    assert_eq!(
        control.change(NAME, &step(&third, "b")).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    control.change(NAME, &step(&third, "a")).await.unwrap();
    let taken = row(control).await;
    assert_eq!((taken.step, taken.epoch, taken.version), (1, Epoch(2), third.version + 1));
    assert!(!taken.soak_skipped);
}

/// Both have read the row, and are the leader by it.
async fn of_two_that_believe_to_lead_one_takes_the_step(control: Arc<dyn Control>) {
    let process = |control| {
        Inner::new(control, Clock::system(), beat("a"), SHUTDOWN, tokio::runtime::Handle::current())
    };
    let (mut shared, mut processes) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let inner = process(Arc::clone(&control));
        let prepared = inner.prepare(NAME, Options::default(), None).unwrap();
        let migration = inner.register(vec![prepared]).await.unwrap().remove(0);
        shared.push(Arc::clone(migration.shared()));
        processes.push(inner); // whose end would be that of its control tables
    }
    control.start_plan(NAME, &new_plan()).await.unwrap();
    for steps in 1..=3_u64 {
        control.lead_plan(NAME, "a", LEASE).await.unwrap();
        let read = row(&*control).await;
        let looks = shared.iter().map(|shared| {
            let (shared, read) = (Arc::clone(shared), read.clone());
            tokio::spawn(async move { follow(&shared, &plan(), &read, Working::Idle).await })
        });
        let mut moved = 0;
        for look in looks.collect::<Vec<_>>() {
            moved += usize::from(look.await.unwrap().unwrap() == Outcome::Moved);
        }
        assert_eq!(moved, 1);
        let record = &control.load().await.unwrap()[0];
        assert_eq!(record.position.epoch, Epoch(steps + 1));
        assert_eq!(row(&*control).await.step as u64, steps);
        // Nobody was taken for somebody from outside.
        assert_eq!(row(&*control).await.state, RolloutState::Running);
        heartbeat(&*control, &beat("a"), &[seen(&*control, steps + 1).await]).await.unwrap();
    }
    assert_eq!(control.events(NAME, 9).await.unwrap().len(), 3);
}

async fn orders_are_recorded_with_who_and_why_where_they_came_true(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    assert_eq!(control.recorded_commands(NAME, 9).await.unwrap(), []);
    control.start_plan(NAME, &new_plan()).await.unwrap();
    // Neither was followed.
    control.start_plan(NAME, &new_plan()).await.unwrap_err();
    let first = row(control).await;
    let paused = update(RolloutState::Paused, &first, "lunch");
    assert!(!control.update_plan(NAME, 7, &paused).await.unwrap());
    assert!(control.update_plan(NAME, 1, &paused).await.unwrap());
    control.change(NAME, &change(Move::Advance(Stage::DualWrite))).await.unwrap();
    control.approve(NAME, "owner", "bob", "looked at it").await.unwrap();
    control.approve(NAME, "owner", "eve", "so did I").await.unwrap();
    let long = update(RolloutState::Aborted, &row(control).await, &"ü".repeat(5_000));
    assert!(control.update_plan(NAME, 2, &long).await.unwrap());
    control.start_plan(NAME, &new_plan()).await.unwrap();

    let orders = control.recorded_commands(NAME, 9).await.unwrap();
    let told: Vec<_> = orders
        .iter()
        .map(|o| (o.kind, o.approval.as_deref(), &*o.actor, o.reason.chars().take(12).collect()))
        .collect::<Vec<(_, _, _, String)>>();
    let line = |kind, approval, actor, reason: &str| (kind, approval, actor, reason.to_owned());
    assert_eq!(
        told,
        [
            line(RolloutCommandKind::Start, None, "ada", "the release "),
            line(RolloutCommandKind::Abort, None, "eve", &"ü".repeat(12)),
            line(RolloutCommandKind::Approve, Some("owner"), "eve", "so did I"),
            line(RolloutCommandKind::Approve, Some("owner"), "bob", "looked at it"),
            line(RolloutCommandKind::Pause, None, "eve", "lunch"),
            line(RolloutCommandKind::Start, None, "ada", "the release "),
        ]
    );
    let epochs: Vec<u64> = orders.iter().map(|audit| audit.epoch.0).collect();
    assert_eq!(epochs, [2, 2, 2, 2, 1, 1]);
    assert!(orders.windows(2).all(|pair| pair[0].at >= pair[1].at));
    let newest = control.recorded_commands(NAME, 2).await.unwrap();
    assert_eq!(newest, orders[..2]);
    assert_eq!(control.recorded_commands("another", 9).await.unwrap_or_default(), []);
}

async fn what_flags_did_is_remembered_with_the_move(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    assert_eq!(control.flagged(NAME).await.unwrap(), None);
    let wanted =
        Change { flag: Some("shadow".to_owned()), ..change(Move::Advance(Stage::DualWrite)) };
    control.change(NAME, &wanted).await.unwrap();
    let shadow = Some(("shadow".to_owned(), Epoch(2)));
    assert_eq!(control.flagged(NAME).await.unwrap(), shadow);
    control.note_flag(NAME, "live", Epoch(1)).await.unwrap();
    assert_eq!(control.flagged(NAME).await.unwrap(), shadow);
    control.note_flag(NAME, "live", Epoch(2)).await.unwrap();
    assert_eq!(control.flagged(NAME).await.unwrap(), Some(("live".to_owned(), Epoch(2))));
}

async fn a_kill_switch_on_one_instance_stops_all_and_goes_with_it(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    join(control, &beat("b"), true).await.unwrap();
    let mut killed = seen(control, 1).await;
    killed.killed_by = Some("DUALWRITE_KILL".to_owned());
    killed.wanted = Some("live".to_owned());
    heartbeat(control, &beat("b"), &[killed]).await.unwrap();
    let instances = control.facts(NAME).await.unwrap().instances;
    assert_eq!(instances[1].killed_by.as_deref(), Some("DUALWRITE_KILL"));
    assert_eq!(
        (instances[0].wanted.as_deref(), instances[1].wanted.as_deref()),
        (None, Some("live"))
    );
    let go = change(Move::Advance(Stage::DualWrite));
    let error = control.change(NAME, &go).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Blocked);
    assert!(error.to_string().contains("DUALWRITE_KILL is set on instance b"), "{error}");
    control.leave("b").await.unwrap();
    control.change(NAME, &go).await.unwrap();
    // Back is always open.
    let mut killed = seen(control, 2).await;
    killed.killed_by = Some("DUALWRITE_KILL".to_owned());
    heartbeat(control, &beat("a"), &[killed]).await.unwrap();
    control.change(NAME, &change(Move::StepBack(Stage::Off))).await.unwrap();
}

pub(super) async fn suite<F: Future<Output = Arc<dyn Control>>>(fresh: impl Fn() -> F) {
    a_plan_is_stored_and_another_one_only_when_it_is_over(&*fresh().await).await;
    of_several_that_start_a_plan_one_does(fresh().await).await;
    one_instance_leads_until_its_lease_ends_or_it_leaves(&*fresh().await).await;
    a_step_needs_the_row_as_it_was(&*fresh().await).await;
    of_two_that_believe_to_lead_one_takes_the_step(fresh().await).await;
    orders_are_recorded_with_who_and_why_where_they_came_true(&*fresh().await).await;
    what_flags_did_is_remembered_with_the_move(&*fresh().await).await;
    a_kill_switch_on_one_instance_stops_all_and_goes_with_it(&*fresh().await).await;
}
