//! Flags from elsewhere and the kill switch: one suite for every source, and what several processes make of
//! them on every database.

mod sources;

use std::sync::{Arc, Mutex};

use dualwrite::{
    ErrorKind, Gate, Percent, Stage, Status,
    rollout::{RolloutPlan, RolloutState, RolloutStep},
    runtime::EnvFlags,
};

use crate::support::crew::{Crew, Member};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(
    the_least_that_any_process_wants_is_what_happens,
    a_flag_does_not_undo_what_somebody_did_by_hand,
    a_kill_switch_takes_every_process_back_and_holds_it_there,
    a_kill_switch_does_not_go_past_a_gate_that_protects_data,
);

/// An environment that a test changes.
#[derive(Clone, Default)]
struct Environment(Arc<Mutex<Vec<(String, String)>>>);

impl Environment {
    fn set(&self, name: &str, value: &str) {
        let mut all = self.0.lock().unwrap();
        all.retain(|(known, _)| known != name);
        all.push((name.to_owned(), value.to_owned()));
    }

    fn lookup(&self) -> impl Fn(&str) -> Option<String> + Send + Sync + 'static {
        let all = Arc::clone(&self.0);
        move |name| {
            let all = all.lock().unwrap();
            all.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        }
    }

    fn want(&self, wanted: &str) {
        self.set(&EnvFlags::variable("notes"), wanted);
    }

    fn kill(&self, names: &str) {
        self.set("DUALWRITE_KILL", names);
    }
}

/// A process that goes by an environment of its own, which says so much when it starts.
async fn joins<D: Sql>(crew: &Crew<D>, wanted: &str) -> (Member<D>, Environment) {
    let environment = Environment::default();
    environment.want(wanted);
    let builder = crew.builder().environment(environment.lookup());
    (crew.joins_as(builder.flags(EnvFlags::with(environment.lookup()))).await, environment)
}

fn is_at(status: &Status, position: &str) -> bool {
    status.position.to_string().starts_with(position)
}

fn waits_for(status: &Status, what: &str) -> bool {
    status.flags.waiting.as_ref().is_some_and(|waiting| waiting.contains(what))
}

async fn the_least_that_any_process_wants_is_what_happens<D: Sql>(db: Scratch<D>) {
    let mut crew = Crew::new(db, 3).await;
    let (before, old_environment) = joins(&crew, "dual_write").await;
    let (after, _) = joins(&crew, "shadow 5%").await;
    let (silent, _) = joins(&crew, "").await;
    let here = &after.migration;
    crew.until(here, "dual write", |now| is_at(now, "dual_write")).await;
    let wants = here.status().await.unwrap().instances;
    let mut wants: Vec<_> = wants.into_iter().filter_map(|one| one.wanted).collect();
    wants.sort();
    assert_eq!(wants, ["dual_write", "shadow 5 %"]);
    assert_eq!(silent.migration.status().await.unwrap().flags.wanted, None);

    // The environment of the release before goes with its last process. The gates are the same.
    crew.dies(before);
    crew.until(here, "the gate", |now| waits_for(now, "run the backfill of generation 1")).await;
    assert!(is_at(&here.status().await.unwrap(), "shadow, epoch"));
    here.backfill().run().await.unwrap();
    assert!(here.verify().run().await.unwrap().is_clean());
    let status = crew.until(here, "5 %", |now| is_at(now, "shadow, 5 % as live")).await;
    assert_eq!(status.events.len(), 3);
    for event in &status.events {
        assert!(event.actor.starts_with("flags, by instance "), "{event:?}");
        assert!(event.reason.starts_with("environment wants "), "{event:?}");
    }

    // A release that wants less pulls it back.
    let (_less, _) = joins(&crew, "dual_write").await;
    crew.until(here, "back", |now| is_at(now, "dual_write, epoch")).await;
    drop(old_environment);
}

async fn a_flag_does_not_undo_what_somebody_did_by_hand<D: Sql>(db: Scratch<D>) {
    let crew = Crew::new(db, 0).await;
    let (member, environment) = joins(&crew, "shadow").await;
    let here = &member.migration;
    crew.until(here, "shadow", |now| is_at(now, "shadow")).await;
    here.rollback("errors").by("eve").await.unwrap();
    let reason = "was moved to dual_write, epoch 4 although flags want shadow";
    crew.until(here, "overruled", |now| waits_for(now, reason)).await;
    // Not after a restart either.
    member.runtime.shutdown().await.unwrap();
    let (member, _) = joins(&crew, "shadow").await;
    let here = &member.migration;
    crew.until(here, "overruled", |now| waits_for(now, reason)).await;
    assert!(is_at(&here.status().await.unwrap(), "dual_write, epoch 4"));
    member.runtime.shutdown().await.unwrap();

    // It says something else, and is heard again.
    environment.want("dual_write 5%");
    let (member, environment) = joins(&crew, "dual_write 5%").await;
    let here = &member.migration;
    crew.until(here, "5 %", |now| is_at(now, "dual_write, 5 % as shadow")).await;
    environment.want("shadow");
    crew.until(here, "shadow", |now| is_at(now, "shadow")).await;
    // What it found where it wanted it counts as well.
    environment.want("dual_write");
    crew.until(here, "dual write", |now| is_at(now, "dual_write, epoch")).await;

    // A rollout that a flag has moved holds.
    environment.want("");
    crew.until(here, "silence", |now| now.flags.wanted.is_none()).await;
    let hour = std::time::Duration::from_secs(3600);
    let plan = RolloutPlan::new()
        .step(RolloutStep::stage(Stage::Shadow).soak(hour))
        .step(RolloutStep::stage(Stage::Live));
    here.rollout().start(&plan, "ada", "").await.unwrap();
    crew.until(here, "shadow", |now| is_at(now, "shadow, epoch")).await;
    environment.want("dual_write 50%");
    let held = |now: &Status| now.rollout.as_ref().unwrap().state == RolloutState::Held;
    let status = crew.until(here, "held", held).await;
    let note = &status.rollout.as_ref().unwrap().note;
    assert!(note.contains("flags, by instance") && note.contains("environment wants"), "{note}");
}

async fn a_kill_switch_takes_every_process_back_and_holds_it_there<D: Sql>(db: Scratch<D>) {
    let crew = Crew::new(db, 3).await;
    let member = crew.joins().await;
    let here = &member.migration;
    let plan = RolloutPlan::new()
        .backfill()
        .verify()
        .step(RolloutStep::stage(Stage::DualWrite))
        .step(RolloutStep::stage(Stage::Shadow))
        .step(RolloutStep::stage(Stage::Live))
        .step(RolloutStep::ramp(Percent::new(5).unwrap()).approval("owner"));
    here.rollout().start(&plan, "ada", "").await.unwrap();
    crew.until(here, "live", |now| is_at(now, "live")).await;

    // A process starts with the switch set: when it has registered, the migration is back.
    let environment = Environment::default();
    environment.kill("other, notes");
    let killer = crew.joins_as(crew.builder().environment(environment.lookup())).await;
    let status = killer.migration.status().await.unwrap();
    assert!(is_at(&status, "dual_write, epoch"), "{}", status.position);
    assert_eq!(status.flags.killed_by.as_deref(), Some("DUALWRITE_KILL"));
    let last = &status.events[0];
    assert!(last.actor.starts_with("kill switch, by instance "), "{last:?}");
    assert_eq!(last.reason, "the kill switch DUALWRITE_KILL is set");

    let names =
        |now: &Status| now.flags.problems.iter().any(|p| p.ends_with("no migration: other"));
    crew.until(&killer.migration, "a word on the wrong name", names).await;

    // Nobody goes forward, whoever it is; the plan holds, and waits when it is resumed.
    for migration in [here, &killer.migration] {
        let refused = migration.advance(Stage::Shadow).by("eve").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Blocked);
        assert!(refused.blockers().iter().any(|blocker| blocker.gate == Gate::Killed));
        assert!(refused.to_string().contains("the kill switch DUALWRITE_KILL is set on instance"));
    }
    let forced = here.advance(Stage::Shadow).because("now").overriding(Gate::Killed).await;
    assert_eq!(forced.unwrap_err().kind(), ErrorKind::InvalidInput);
    let held = |now: &Status| now.rollout.as_ref().unwrap().state == RolloutState::Held;
    let status = crew.until(here, "held", held).await;
    assert!(status.rollout.as_ref().unwrap().note.contains("DUALWRITE_KILL"));
    here.rollout().resume("ada", "").await.unwrap();
    let waits = |now: &Status| {
        let waiting = now.rollout.as_ref().unwrap().waiting.clone();
        waiting.is_some_and(|waiting| waiting.contains("[killed] the kill switch DUALWRITE_KILL"))
    };
    crew.until(here, "the switch", waits).await;
    assert!(is_at(&here.status().await.unwrap(), "dual_write, epoch"));

    // Taken away it lets go; set again while all runs, it pulls back again.
    environment.kill("");
    crew.until(here, "live again", |now| is_at(now, "live, epoch")).await;
    crew.until(&killer.migration, "no complaint", |now| now.flags.problems.is_empty()).await;
    environment.kill("all");
    crew.until(here, "back again", |now| is_at(now, "dual_write, epoch")).await;
    // A process that dies with its switch set does not hold the others for ever.
    killer.runtime.shutdown().await.unwrap();
    here.advance(Stage::Shadow).await.unwrap();
}

async fn a_kill_switch_does_not_go_past_a_gate_that_protects_data<D: Sql>(db: Scratch<D>) {
    let crew = Crew::new(db, 3).await;
    let environment = Environment::default();
    let member = crew.joins_as(crew.builder().environment(environment.lookup())).await;
    let here = &member.migration;
    here.advance(Stage::DualWrite).await.unwrap();
    here.backfill().run().await.unwrap();
    assert!(here.verify().run().await.unwrap().is_clean());
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown, Stage::Complete] {
        here.advance(stage).await.unwrap();
    }
    environment.kill("notes");
    // Old lacks what new alone may have got.
    let status = crew.until(here, "the gate", |now| waits_for(now, "[copied_back]")).await;
    assert!(is_at(&status, "ramp_down"), "{}", status.position);
    here.backfill().reverse().run().await.unwrap();
    assert!(here.verify().run().await.unwrap().is_clean());
    crew.until(here, "all the way", |now| is_at(now, "dual_write, epoch")).await;
    let status = crew.until(here, "peace", |now| now.flags.waiting.is_none()).await;
    assert_eq!(status.position.stage, Stage::DualWrite);
}
