//! Rollouts: a plan that is followed by whichever process leads, through restarts and against people who
//! move the migration meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use dualwrite::{
    ErrorKind, Percent, Stage, Status,
    migration::RolloutStatus,
    rollout::{Health, RolloutCommandKind, RolloutPlan, RolloutState, RolloutStep},
};

use crate::support::crew::Crew;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::CopyNotes;
use crate::support::sql::Sql;

on_all_databases!(
    a_plan_runs_to_the_end_through_restarts_and_changes_of_the_leader,
    however_often_the_leader_changes_each_step_is_taken_once,
    orders_are_followed,
    its_backfill_keeps_to_the_pace_of_the_plan,
    a_rollback_holds_it_until_it_is_resumed,
    it_takes_steps_at_its_hours_and_only_in_good_health,
    what_cannot_be_followed_is_refused,
);

const HOUR: Duration = Duration::from_secs(3600);

fn percent(value: u16) -> Percent {
    Percent::new(value).unwrap()
}

fn rollout(status: &Status) -> &RolloutStatus {
    status.rollout.as_ref().unwrap()
}

fn waits_for(status: &Status, what: &str) -> bool {
    rollout(status).waiting.as_ref().is_some_and(|waiting| waiting.contains(what))
}

async fn a_plan_runs_to_the_end_through_restarts_and_changes_of_the_leader<D: Sql>(db: Scratch<D>) {
    let stage = |stage| RolloutStep::stage(stage).soak(HOUR);
    let mut plan = RolloutPlan::new()
        .backfill()
        .verify()
        .step(stage(Stage::DualWrite))
        .step(stage(Stage::Shadow));
    for share in [1, 5, 25, 50, 100] {
        plan = plan.step(RolloutStep::ramp(percent(share)).soak(HOUR));
    }
    let plan = plan
        .step(stage(Stage::Live).approval("owner"))
        .step(stage(Stage::RampDown))
        .step(RolloutStep::stage(Stage::Complete).approval("dba"));

    let mut crew = Crew::new(db, 30).await;
    let mut members = vec![crew.joins().await, crew.joins().await];
    members[0].migration.rollout().start(&plan, "ada", "the release is out").await.unwrap();
    let mut leaders = Vec::new();
    for step in 1..=plan.len() {
        let here = members[0].migration.clone();
        if let Some(name) = [(8, "owner"), (10, "dba")].iter().find(|(at, _)| *at == step) {
            let status = crew.until(&here, "approval", |now| waits_for(now, name.1)).await;
            assert_eq!(rollout(&status).step, step - 1);
            here.approve(name.1, "ada", "looked at it").await.unwrap();
        }
        let status = crew.until(&here, "the step", |now| rollout(now).step >= step).await;
        assert_eq!(rollout(&status).step, step, "{status:#?}");
        let last = &status.events[0];
        assert!(last.actor.starts_with("plan, by instance "), "{last:?}");
        assert!(last.reason.starts_with(&format!("step {step} of 10: ")), "{last:?}");
        if step < plan.len() {
            let status = crew.until(&here, "its soak", |now| waits_for(now, "lasts 3600s")).await;
            assert_eq!(rollout(&status).step, step);
            assert!(rollout(&status).soak_left > Duration::from_secs(3_000));
            leaders.push(rollout(&status).leader.clone().unwrap());
        }
        // The leader goes, now by a shutdown, now without a word; another process comes.
        let leader = members
            .iter()
            .position(|m| Some(m.runtime.instance()) == leaders.last().map(String::as_str));
        let member = members.remove(leader.unwrap_or(0));
        match step % 2 {
            0 => member.runtime.shutdown().await.unwrap(),
            _ => crew.dies(member),
        }
        members.push(crew.joins().await);
        crew.passes(HOUR).await;
    }
    let here = &members[0].migration;
    let status = crew.until(here, "the end", |now| rollout(now).state == RolloutState::Done).await;
    assert_eq!(
        (status.position.stage, rollout(&status).note.as_str()),
        (Stage::Complete, "every step was taken")
    );
    assert_eq!(crew.db.number("SELECT count(*) FROM dualwrite_event").await, 10);
    leaders.dedup();
    assert_eq!(leaders.len(), 9, "the leader changed every time");
    let commands = status.commands.iter().map(|one| (one.kind, one.approval.as_deref()));
    let approved = |name| (RolloutCommandKind::Approve, Some(name));
    let told = [
        (RolloutCommandKind::Done, None),
        approved("dba"),
        approved("owner"),
        (RolloutCommandKind::Start, None),
    ];
    assert_eq!(commands.collect::<Vec<_>>(), told);
    assert_eq!(crew.db.number("SELECT count(*) FROM new_note").await, 30);
}

async fn however_often_the_leader_changes_each_step_is_taken_once<D: Sql>(db: Scratch<D>) {
    const STEPS: u16 = 20;
    let mut plan = RolloutPlan::new().step(RolloutStep::stage(Stage::DualWrite));
    for share in 1..STEPS {
        plan = plan.step(RolloutStep::ramp(percent(share)));
    }
    let crew = Crew::new(db, 0).await;
    let members = [crew.joins().await, crew.joins().await, crew.joins().await];
    let here = &members[0].migration;
    here.rollout().start(&plan, "ada", "").await.unwrap();
    // Whoever looks takes the lease from whoever has it, and so all believe to lead.
    loop {
        crew.db.execute("UPDATE dualwrite_plan SET leader_until = 0").await;
        let status = here.rollout().status().await.unwrap().unwrap();
        assert_ne!(status.state, RolloutState::Held, "{status:?}");
        if status.state == RolloutState::Done {
            break;
        }
    }
    let reasons = crew.db.rows("SELECT reason FROM dualwrite_event ORDER BY epoch").await;
    let steps: Vec<String> = reasons.into_iter().flatten().flatten().collect();
    assert_eq!(steps.len(), usize::from(STEPS));
    for (step, reason) in steps.iter().enumerate() {
        assert!(reason.starts_with(&format!("step {} of 20: ", step + 1)), "{reason}");
    }
}

async fn orders_are_followed<D: Sql>(db: Scratch<D>) {
    let crew = Crew::new(db, 3).await;
    let (first, second) = (crew.joins().await, crew.joins().await);
    let (here, there) = (&first.migration, &second.migration);
    assert_eq!(here.rollout().status().await.unwrap(), None);
    assert_eq!(here.rollout().pause("ada", "").await.unwrap_err().kind(), ErrorKind::Unsupported);
    let plan = RolloutPlan::new()
        .step(RolloutStep::stage(Stage::DualWrite).soak(HOUR))
        .step(RolloutStep::stage(Stage::Shadow).soak(HOUR))
        .step(RolloutStep::ramp(percent(5)).soak(HOUR));
    here.rollout().start(&plan, "ada", "it is time").await.unwrap();
    assert_eq!(there.rollout().plan().await.unwrap(), Some(plan.clone()));
    let again = there.rollout().start(&plan, "eve", "").await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    crew.until(here, "the first soak", |now| waits_for(now, "step 1 (dual_write) lasts")).await;

    // Paused from the other process: no step, however long it lasts.
    there.rollout().pause("eve", "lunch").await.unwrap();
    crew.passes(2 * HOUR).await;
    let status = here.rollout().status().await.unwrap().unwrap();
    assert_eq!(
        (status.state, status.note.as_str()),
        (RolloutState::Paused, "paused by eve: lunch")
    );
    assert_eq!(
        (status.at.as_deref(), status.next.as_deref()),
        (Some("dual_write"), Some("shadow"))
    );
    here.rollout().resume("ada", "").await.unwrap();
    crew.until(here, "the second step", |now| rollout(now).step == 2).await;

    crew.until(here, "the second soak", |now| waits_for(now, "step 2 (shadow) lasts")).await;
    here.rollout().skip_soak("ada", "it is quiet").await.unwrap();
    // Without a backfill of its own it waits for the operator's.
    crew.until(here, "the gate", |now| waits_for(now, "run the backfill of generation 1")).await;
    there.backfill().run().await.unwrap();
    crew.until(here, "the gate", |now| waits_for(now, "run the verification")).await;
    assert!(there.verify().run().await.unwrap().is_clean());
    let status = crew.until(here, "the third step", |now| rollout(now).step == 3).await;
    assert_eq!(status.position.to_string(), "shadow, 5 % as live, epoch 4");
    // A skipped soak is skipped once.
    crew.until(here, "the last soak", |now| waits_for(now, "step 3 (shadow, 5 % as live) lasts"))
        .await;

    here.rollout().abort("ada", "another way").await.unwrap();
    let status = here.rollout().status().await.unwrap().unwrap();
    assert_eq!(
        (status.state, status.note.as_str()),
        (RolloutState::Aborted, "aborted by ada: another way")
    );
    assert_eq!(here.rollout().resume("ada", "").await.unwrap_err().kind(), ErrorKind::Unsupported);
    // Another plan begins where the migration stands.
    let next = plan.step(RolloutStep::ramp(percent(7)));
    here.rollout().start(&next, "ada", "").await.unwrap();
    assert_eq!(here.rollout().status().await.unwrap().unwrap().step, 3);
    crew.passes(HOUR).await;
    let done = crew.until(here, "the end", |now| rollout(now).state == RolloutState::Done).await;
    assert_eq!(done.position.ramp, percent(7));

    // All of it is in the audit, as every process sees it; a plan that was refused is not.
    use RolloutCommandKind::{Abort, Done, Pause, Resume, SkipSoak, Start};
    let commands = there.rollout().commands().await.unwrap();
    let told: Vec<_> = commands.iter().rev().map(|o| (o.kind, &*o.actor, &*o.reason)).collect();
    let [orders_of_people @ .., end] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        orders_of_people,
        [
            (Start, "ada", "it is time"),
            (Pause, "eve", "lunch"),
            (Resume, "ada", ""),
            (SkipSoak, "ada", "it is quiet"),
            (Abort, "ada", "another way"),
            (Start, "ada", ""),
        ]
    );
    assert!(end.0 == Done && end.1.starts_with("plan, by instance "), "{end:?}");
    assert_eq!(here.status().await.unwrap().commands, commands);
}

async fn its_backfill_keeps_to_the_pace_of_the_plan<D: Sql>(db: Scratch<D>) {
    let crew = Crew::new(db, 30).await;
    let member = crew.joins().await;
    let here = &member.migration;
    let plan = RolloutPlan::new()
        .backfill_rate(1)
        .backfill_workers(2)
        .backfill_batch_time(Duration::from_millis(20))
        .step(RolloutStep::stage(Stage::DualWrite))
        .step(RolloutStep::stage(Stage::Shadow));
    here.rollout().start(&plan, "ada", "").await.unwrap();
    let backfill = |now: &Status| now.backfill.clone();
    let runs = |now: &Status| backfill(now).is_some_and(|backfill| backfill.rate == Some(1));
    let status = crew.until(here, "the backfill at its rate", runs).await;
    assert!(rollout(&status).step == 1 && !backfill(&status).unwrap().complete);
    // Who looks after it changes the rate, and the plan goes on.
    assert!(here.backfill().set_rate(None, "ada", "tests").await.unwrap());
    let status = crew.until(here, "the second step", |now| rollout(now).step == 2).await;
    let backfill = backfill(&status).unwrap();
    assert_eq!((backfill.complete, backfill.migrated, backfill.rate), (true, 30, None));
    assert_eq!(here.rollout().plan().await.unwrap(), Some(plan));
}

async fn a_rollback_holds_it_until_it_is_resumed<D: Sql>(db: Scratch<D>) {
    let crew = Crew::new(db, 3).await;
    let member = crew.joins().await;
    let here = &member.migration;
    let plan = RolloutPlan::new()
        .backfill()
        .verify()
        .step(RolloutStep::stage(Stage::DualWrite))
        .step(RolloutStep::stage(Stage::Shadow).soak(HOUR))
        .step(RolloutStep::ramp(percent(5)).soak(HOUR))
        .step(RolloutStep::ramp(percent(50)).soak(HOUR));
    here.rollout().start(&plan, "ada", "").await.unwrap();
    crew.until(here, "shadow", |now| rollout(now).step == 2).await;
    crew.passes(HOUR).await;
    crew.until(here, "5 %", |now| rollout(now).step == 3).await;
    here.rollback("latency").by("eve").await.unwrap();
    let held = crew.until(here, "held", |now| rollout(now).state == RolloutState::Held).await;
    let note = &rollout(&held).note;
    assert!(note.starts_with("eve moved the migration to shadow, epoch 5: latency"), "{note}");
    // Time does not heal it.
    crew.passes(9 * HOUR).await;
    assert_eq!(here.rollout().status().await.unwrap().unwrap().state, RolloutState::Held);
    assert_eq!(here.refresh().await.unwrap().stage, Stage::Shadow);

    // From the step that fits, which lasts anew.
    let early = here.rollout().skip_soak("eve", "").await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Unsupported);
    here.rollout().resume("eve", "fixed").await.unwrap();
    crew.until(here, "the soak again", |now| waits_for(now, "step 2 (shadow) lasts")).await;
    crew.passes(HOUR).await;
    crew.until(here, "5 % again", |now| rollout(now).step == 3).await;
    // Who goes faster than the plan holds it too.
    here.ramp_to(percent(50)).by("eve").await.unwrap();
    crew.until(here, "held", |now| rollout(now).state == RolloutState::Held).await;
    here.rollout().resume("eve", "fine").await.unwrap();
    let status = here.rollout().status().await.unwrap().unwrap();
    assert_eq!((status.step, status.next), (4, None));
}

async fn it_takes_steps_at_its_hours_and_only_in_good_health<D: Sql>(db: Scratch<D>) {
    let crew = Crew::new(db, 0).await;
    let runtime = crew.builder().start().await.unwrap();
    let (quiet, ill) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let health = {
        let (quiet, ill) = (Arc::clone(&quiet), Arc::clone(&ill));
        move || match (ill.load(SeqCst), quiet.load(SeqCst)) {
            (true, _) => Health::Breached,
            (_, true) => Health::NotEnoughData,
            _ => Health::Healthy,
        }
    };
    let registration = runtime.migration("notes").backfill(CopyNotes::<D>::new());
    let here = registration.rollout_health(health).register().await.unwrap();

    // Some hours away from now, by the database's clock.
    let hour = D::sql(
        "SELECT CAST(strftime('%H', 'now') AS INTEGER)",
        "SELECT extract(hour FROM now() AT TIME ZONE 'UTC')::bigint",
        "SELECT hour(utc_timestamp())",
    );
    let far = u8::try_from((crew.db.number(hour).await + 12) % 24).unwrap();
    let step = RolloutStep::stage(Stage::DualWrite);
    let closed = RolloutPlan::new().hours(far, far + 1).step(step.clone());
    here.rollout().start(&closed, "ada", "").await.unwrap();
    let status = crew
        .until(&here, "the hour", |now| waits_for(now, "step 1 (dual_write) is taken from"))
        .await;
    assert_eq!(status.position.stage, Stage::Off);
    here.rollout().abort("ada", "").await.unwrap();
    let open =
        closed.hours(0, 24).step(RolloutStep::ramp(percent(5))).step(RolloutStep::ramp(percent(9)));
    here.rollout().start(&open, "ada", "").await.unwrap();

    crew.until(&here, "data", |now| waits_for(now, "too little has happened at step 1")).await;
    quiet.store(false, SeqCst);
    crew.until(&here, "the end", |now| rollout(now).state == RolloutState::Done).await;

    ill.store(true, SeqCst);
    let further = open.step(RolloutStep::ramp(percent(10)));
    here.rollout().start(&further, "ada", "").await.unwrap();
    let held = crew.until(&here, "held", |now| rollout(now).state == RolloutState::Held).await;
    assert!(
        rollout(&held)
            .note
            .contains("the health at step 3 (dual_write, 9 % as shadow) is breached")
    );
    ill.store(false, SeqCst);
    here.rollout().resume("ada", "it was the network").await.unwrap();
    crew.until(&here, "the end", |now| rollout(now).state == RolloutState::Done).await;
    assert_eq!(here.position().ramp, percent(10));
}

async fn what_cannot_be_followed_is_refused<D: Sql>(db: Scratch<D>) {
    let crew = Crew::new(db, 0).await;
    let member = crew.joins().await;
    let here = &member.migration;
    let kind =
        async |plan: RolloutPlan| here.rollout().start(&plan, "ada", "").await.unwrap_err().kind();
    assert_eq!(kind(RolloutPlan::new()).await, ErrorKind::InvalidInput);
    let far = RolloutPlan::new().step(RolloutStep::stage(Stage::Live));
    assert_eq!(kind(far.clone()).await, ErrorKind::IllegalMove);
    let near = RolloutPlan::new().step(RolloutStep::stage(Stage::DualWrite).approval("owner"));
    let nobody = here.rollout().start(&near, "", "").await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::InvalidInput);
    let bare = member.runtime.migration("bare").register().await.unwrap();
    let refused = bare.rollout().start(&near.clone().backfill(), "ada", "").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    // An approval of a plan may be given while the plan is there.
    let early = here.approve("owner", "ada", "").await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::InvalidInput);
    here.rollout().start(&near, "ada", "").await.unwrap();
    here.approve("owner", "ada", "").await.unwrap();
    crew.until(here, "the end", |now| rollout(now).state == RolloutState::Done).await;
}
