//! Commands of operators: one list for page, JSON and command-line tool; each recorded with who and why, refused where
//! it was decided on another position, and done by whichever instance can.

use std::sync::Arc;
use std::time::Duration;

use dualwrite::{
    Error, ErrorKind, Gate, Migration, Move, Percent, Runtime, Side, Stage,
    backfill::BackfillSetting,
    operator::{COMMANDS, Command, CommandOptions, CommandOutcome, Compared, JobKind, Operator},
    rollout::RolloutCommandKind,
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{CopyNotes, DualNotes, Notes, Store, World, lazy, plain};
use crate::support::operated::{halted, off};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    moves_are_judged_by_what_the_instances_declare,
    a_stale_command_moves_nothing_but_a_rollback_does,
    a_dry_run_says_what_stands_against_it_and_changes_nothing,
    the_kill_switch_goes_back_and_keeps_everything_there,
    every_command_is_recorded_with_who_and_why,
    jobs_are_done_by_an_instance,
    a_dead_letter_is_listed_waived_and_tried_again,
    an_operator_changes_on_all_instances_what_is_compared,
    nobody_goes_forward_without_a_live_instance,
    what_is_wrong_changes_and_records_nothing,
);

fn by_ada() -> CommandOptions {
    CommandOptions::new("ada", "it is time")
}

fn advance(to: Stage) -> Command {
    Command::Move(Move::Advance(to), Vec::new())
}

async fn give(operator: &Operator, command: &Command) -> Result<CommandOutcome, Error> {
    operator.command("notes", command, &by_ada()).await
}

async fn position<D: Sql>(world: &World<D>) -> Stage {
    world.migration.status().await.unwrap().position.stage
}

async fn moves_are_judged_by_what_the_instances_declare<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    let operator = Operator::new(world.db.pool().clone());
    let done = give(&operator, &advance(Stage::DualWrite)).await.unwrap();
    assert!(done.position.starts_with("dual_write"), "{done:?}");
    assert_eq!(done.way_back.as_deref(), Some("`step-back` leads to off"));
    let again = give(&operator, &advance(Stage::DualWrite)).await.unwrap();
    assert_eq!(again.epoch, done.epoch, "what holds already is done");
    give(&operator, &advance(Stage::Shadow)).await.unwrap();
    let closed = give(&operator, &advance(Stage::Live)).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Blocked);
    assert!(closed.blockers().iter().any(|one| one.gate == Gate::Backfilled), "{closed}");
    assert_eq!(operator.readiness("notes", None).await.unwrap(), closed.blockers());
    let event = operator.events("notes").await.unwrap().remove(0);
    assert_eq!((&*event.actor, &*event.reason), ("ada", "it is time"));
    let back = Command::Move(Move::StepBack(Stage::DualWrite), Vec::new());
    give(&operator, &back).await.unwrap();
    assert_eq!(position(&world).await, Stage::DualWrite);
    world.runtime.shutdown().await.unwrap();
}

async fn a_stale_command_moves_nothing_but_a_rollback_does<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let operator = Operator::new(world.db.pool().clone());
    let stale = operator.migration("notes").await.unwrap().epoch;
    give(&operator, &advance(Stage::Shadow)).await.unwrap();
    let options = by_ada().expecting(stale);
    for command in [
        Command::Move(Move::StepBack(Stage::DualWrite), Vec::new()),
        Command::Verify,
        Command::MismatchesForget,
        Command::BackfillStart { side: Side::New, workers: 1, rate: None },
    ] {
        let refused = operator.command("notes", &command, &options).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{command:?}: {refused}");
        assert!(refused.to_string().contains("epoch"), "{refused}");
    }
    assert_eq!(operator.audit("notes").await.unwrap(), []);
    assert_eq!(position(&world).await, Stage::Shadow);
    let rollback = Command::Move(Move::Rollback, Vec::new());
    operator.command("notes", &rollback, &options).await.unwrap();
    assert_eq!(position(&world).await, Stage::DualWrite);
    world.runtime.shutdown().await.unwrap();
}

async fn a_dry_run_says_what_stands_against_it_and_changes_nothing<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Shadow, 3, plain).await;
    let operator = Operator::new(world.db.pool().clone());
    let before = operator.migration("notes").await.unwrap();
    let dry = by_ada().dry_run(true);
    let would = operator.command("notes", &advance(Stage::Live), &dry).await.unwrap();
    assert!(would.dry_run && would.blockers.iter().any(|one| one.gate == Gate::Backfilled));
    assert_eq!(would.way_back.as_deref(), Some("`rollback` leads to shadow"));
    for command in [
        Command::KillOn,
        Command::Move(Move::Rollback, Vec::new()),
        Command::Verify,
        Command::MismatchesForget,
        Command::BackfillStart { side: Side::New, workers: 1, rate: None },
    ] {
        let would = operator.command("notes", &command, &dry).await.unwrap();
        assert!(would.dry_run && would.text.contains("would"), "{would:?}");
    }
    let after = operator.migration("notes").await.unwrap();
    assert_eq!((after.epoch, after.started.len()), (before.epoch, 0));
    assert_eq!((operator.audit("notes").await.unwrap(), after.killed_by), (Vec::new(), None));
    world.runtime.shutdown().await.unwrap();
}

async fn the_kill_switch_goes_back_and_keeps_everything_there<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Live, 3, lazy).await;
    let operator = Operator::new(world.db.pool().clone());
    give(&operator, &Command::KillOn).await.unwrap();
    until("it is as far back as loses nothing", async || {
        position(&world).await == Stage::DualWrite
    })
    .await;
    let shown = operator.migration("notes").await.unwrap();
    assert_eq!((shown.killed_by.as_deref(), shown.attention()), (Some("ada"), Some("killed")));
    for closed in [
        give(&operator, &advance(Stage::Shadow)).await.unwrap_err(),
        world.migration.advance(Stage::Shadow).await.unwrap_err(),
    ] {
        assert!(closed.blockers().iter().any(|one| one.gate == Gate::Killed), "{closed}");
    }
    give(&operator, &Command::KillOff).await.unwrap();
    let again = give(&operator, &Command::KillOff).await.unwrap();
    assert!(again.text.contains("is not set"), "{again:?}");
    until("it may go on", async || give(&operator, &advance(Stage::Shadow)).await.is_ok()).await;
    let kinds: Vec<_> =
        operator.audit("notes").await.unwrap().into_iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [RolloutCommandKind::KillOff, RolloutCommandKind::KillOn]);
    world.runtime.shutdown().await.unwrap();
}

async fn every_command_is_recorded_with_who_and_why<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let operator = Operator::new(world.db.pool().clone());
    world.migration.verify().run().await.unwrap();
    let commands = [
        (Command::BackfillPause(Side::New), RolloutCommandKind::BackfillPause),
        (Command::BackfillRate(Side::New, Some(7)), RolloutCommandKind::BackfillRate),
        (Command::BackfillResume(Side::New), RolloutCommandKind::BackfillResume),
        (Command::BackfillCancel(Side::New), RolloutCommandKind::BackfillCancel),
        (Command::VerifyPause, RolloutCommandKind::VerifyPause),
        (Command::VerifyResume, RolloutCommandKind::VerifyResume),
        (
            Command::DeadLettersWaive(Side::New, "4".to_owned()),
            RolloutCommandKind::DeadLettersWaive,
        ),
    ];
    for (command, kind) in commands {
        give(&operator, &command).await.unwrap();
        let newest = operator.audit("notes").await.unwrap().remove(0);
        assert_eq!((newest.kind, &*newest.actor, &*newest.reason), (kind, "ada", "it is time"));
    }
    let waived = operator.audit("notes").await.unwrap().remove(0);
    assert_eq!(waived.detail.as_deref(), Some("4 to new"));
    // Nothing there to take it: nothing recorded.
    let before = operator.audit("notes").await.unwrap().len();
    for command in [
        Command::BackfillCancel(Side::Old),
        Command::DeadLettersWaive(Side::New, "5".to_owned()),
        Command::WriterStopped("nobody".to_owned()),
    ] {
        let nothing = give(&operator, &command).await.unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::Conflict, "{command:?}: {nothing}");
    }
    // What is so already is done, and not recorded again.
    for command in [Command::MismatchesForget, Command::KillOff] {
        give(&operator, &command).await.unwrap();
    }
    let refused = give(&operator, &Command::Approve("owner".to_owned())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    let refused = give(&operator, &Command::RolloutPause).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert_eq!(operator.audit("notes").await.unwrap().len(), before);
    world.runtime.shutdown().await.unwrap();
}

async fn jobs_are_done_by_an_instance<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let operator = Operator::new(world.db.pool().clone());
    let backfill = Command::BackfillStart { side: Side::New, workers: 1, rate: None };
    give(&operator, &backfill).await.unwrap();
    until("the backfill is complete", async || {
        let backfill = operator.migration("notes").await.unwrap().backfill;
        backfill.is_some_and(|backfill| backfill.complete)
    })
    .await;
    for (command, kind) in [
        (Command::Verify, JobKind::Verify),
        (Command::DeadLettersRetry, JobKind::DeadLetters),
        (Command::AdvanceSequences, JobKind::Sequences),
        (Command::TriggerInstall, JobKind::TriggerInstall),
    ] {
        give(&operator, &command).await.unwrap();
        until("it is done", async || {
            let jobs = operator.jobs("notes").await.unwrap();
            jobs.iter().any(|job| job.kind == kind && job.done)
        })
        .await;
        let jobs = operator.jobs("notes").await.unwrap();
        let job = jobs.iter().find(|job| job.kind == kind).unwrap();
        assert!(!job.failed && job.answer.is_some() && job.actor == "ada", "{job:?}");
    }
    let unaware = "SELECT count(*) FROM dualwrite_unaware WHERE minute > 0";
    world.db.execute("UPDATE old_note SET word = 'raw' WHERE id = 1").await;
    assert!(world.db.number(unaware).await > 0, "the trigger is there");
    give(&operator, &Command::TriggerRemove).await.unwrap();
    until("it is gone", async || {
        let jobs = operator.jobs("notes").await.unwrap();
        jobs.iter().any(|job| job.kind == JobKind::TriggerRemove && job.done && !job.failed)
    })
    .await;
    world.db.execute("UPDATE dualwrite_unaware SET minute = 0").await;
    world.db.execute("UPDATE old_note SET word = 'unseen' WHERE id = 1").await;
    assert_eq!(world.db.number(unaware).await, 0);
    // What has ended may be started again.
    give(&operator, &Command::Verify).await.unwrap();
    assert_eq!(world.migration.status().await.unwrap().started, []);
    world.runtime.shutdown().await.unwrap();
}

async fn a_dead_letter_is_listed_waived_and_tried_again<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let operator = Operator::new(world.db.pool().clone());
    let letters = operator.dead_letters("notes").await.unwrap();
    assert_eq!((letters.len(), &*letters[0].key, letters[0].side), (1, "4", Side::New));
    assert!(!letters[0].error.is_empty());
    give(&operator, &Command::DeadLettersWaive(Side::New, "4".to_owned())).await.unwrap();
    let waiver = operator.dead_letters("notes").await.unwrap().remove(0).waiver.unwrap();
    assert_eq!((&*waiver.actor, &*waiver.reason), ("ada", "it is time"));
    assert_eq!(operator.migration("notes").await.unwrap().dead_letters, 0);
    world.db.execute("UPDATE old_note SET word = 'well' WHERE id = 4").await;
    give(&operator, &Command::DeadLettersRetry).await.unwrap();
    until("it is copied", async || operator.dead_letters("notes").await.unwrap().is_empty()).await;
    world.runtime.shutdown().await.unwrap();
}

/// Reads a note, or saves it, until as many comparisons have come of it as wanted.
async fn compares<D: Sql>(
    migration: &Migration,
    pool: &sqlx::Pool<D::Db>,
    notes: &impl Notes<D::Db>,
    (method, wanted): (&str, u64),
) {
    let compared = async || {
        migration.settle().await.unwrap();
        let methods = migration.status().await.unwrap().methods;
        methods.iter().find(|one| one.method == method).map_or(0, |one| one.compared.total())
    };
    until("the share of the calls that are compared", async || {
        let before = compared().await;
        match method {
            "find" => drop(notes.find(1).await.unwrap()),
            _ => {
                let mut tx = migration.begin(pool).await.unwrap();
                notes.save(&mut tx, 1, "word").await.unwrap();
                tx.commit().await.unwrap();
            }
        }
        compared().await - before == wanted
    })
    .await;
}

async fn an_operator_changes_on_all_instances_what_is_compared<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Shadow, 3, plain).await;
    let pool = world.db.another_pool(4).await;
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let other =
        runtime.migration("notes").backfill(CopyNotes::<D>::new()).register().await.unwrap();
    let store = |table| Store::<D> {
        table,
        pool: pool.clone(),
        mood: Arc::default(),
        hanging: Arc::default(),
        reading: Hook::default(),
        removing: Hook::default(),
    };
    let notes = DualNotes::new(&other, store("old_note"), store("new_note"));
    let both = async |what: (&str, u64)| {
        compares::<D>(&world.migration, world.db.pool(), &world.notes, what).await;
        compares::<D>(&other, &pool, &notes, what).await;
    };
    let operator = Operator::new(world.db.pool().clone());
    both(("find", 1)).await;
    both(("save", 0)).await;
    give(&operator, &Command::Compare(Compared::Reads, Some(Percent::ZERO))).await.unwrap();
    give(&operator, &Command::Compare(Compared::Writes, Some(Percent::FULL))).await.unwrap();
    both(("find", 0)).await;
    both(("save", 1)).await;
    let shown = operator.migration("notes").await.unwrap().sample;
    assert_eq!((shown.reads, shown.writes), (Some(Percent::ZERO), Some(Percent::FULL)));
    give(&operator, &Command::Compare(Compared::Reads, None)).await.unwrap();
    let again = give(&operator, &Command::Compare(Compared::Reads, None)).await.unwrap();
    assert!(again.text.contains("already"), "{again:?}");
    both(("find", 1)).await;
    let audit = operator.audit("notes").await.unwrap();
    let told: Vec<_> = audit.iter().map(|one| (one.kind, one.detail.as_deref())).collect();
    let compare = |what| (RolloutCommandKind::Compare, Some(what));
    let expected = ["reads as registered", "100 % of the dual writes", "0 % of the reads"];
    assert_eq!(told, expected.map(compare));
    assert!(audit.iter().all(|one| one.actor == "ada" && one.reason == "it is time"));
}

async fn nobody_goes_forward_without_a_live_instance<D: Sql>(db: Scratch<D>) {
    let World { db, runtime, .. } = World::with(db, Stage::Shadow, 3, plain).await;
    runtime.shutdown().await.unwrap();
    let operator = Operator::new(db.pool().clone());
    let ramp = Command::Move(Move::Ramp(Percent::new(5).unwrap()), Vec::new());
    let closed = give(&operator, &ramp).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Blocked);
    assert!(closed.to_string().contains("start the service first"), "{closed}");
    // The way back is open.
    give(&operator, &Command::Move(Move::Rollback, Vec::new())).await.unwrap();
    give(&operator, &Command::KillOn).await.unwrap();
}

async fn what_is_wrong_changes_and_records_nothing<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let operator = Operator::new(world.db.pool().clone());
    let long = "x".repeat(101);
    let endless = "x".repeat(2_001);
    for (by, because) in [
        ("", "x"),
        (&*long, "x"),
        ("a\nb", "x"),
        ("ada", ""),
        ("ada", "\u{202e}"),
        ("ada", &endless),
    ] {
        let options = CommandOptions::new(by, because);
        for command in [Command::KillOn, advance(Stage::DualWrite), Command::Verify] {
            let refused = operator.command("notes", &command, &options).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
        }
    }
    for spec in &COMMANDS {
        let fields = |field: &str| match field {
            "to" => Some("dual_write".to_owned()),
            "percent" => Some("5".to_owned()),
            "what" => Some("writes".to_owned()),
            "for" => Some("30m".to_owned()),
            "rate" => Some("500".to_owned()),
            "workers" => Some("2".to_owned()),
            "batch-time" => Some("20ms".to_owned()),
            "lag" => Some("5s".to_owned()),
            "plan" => Some("[[step]]\nstage = \"dual_write\"".to_owned()),
            "key" => Some("1".to_owned()),
            "name" | "writer" => Some("owner".to_owned()),
            _ => None,
        };
        let command = Command::parse(spec.name, fields).unwrap();
        let unknown = operator.command("nobody", &command, &by_ada()).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::UnknownMigration, "{}: {unknown}", spec.name);
    }
    for beyond in [
        Command::BackfillThrottle(Side::New, vec![(BackfillSetting::Lag, Some(1))]),
        Command::BackfillBatchTime(Side::New, Some(Duration::from_micros(1))),
    ] {
        let refused = give(&operator, &beyond).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
        assert!(refused.to_string().contains("must be a time from"), "{refused}");
    }
    let shielded = Command::Move(Move::Advance(Stage::DualWrite), vec![Gate::Drained]);
    let refused = give(&operator, &shielded).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
    assert_eq!(operator.audit("notes").await.unwrap(), []);
    assert_eq!(position(&world).await, Stage::Off);
    world.runtime.shutdown().await.unwrap();
}
