//! What operators change, each instance sees with its next poll, which reads one row while nothing changes.

use std::time::Duration;

use dualwrite::{
    Backend, Error, ErrorKind, Migration, Registration, Runtime, Stage,
    operator::{COMMANDS, Command, CommandOptions, CommandOutcome, Operator},
};

use crate::support::db::{MySqlDb, Scratch, TestDb as _, on_all_databases};
use crate::support::notes::{CopyNotes, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    every_command_leaves_another_token,
    a_refused_command_and_heartbeats_leave_the_token,
    a_poll_sees_what_was_changed_long_before_the_next_heartbeat,
    moves_of_many_migrations_at_once_are_all_seen_by_polls,
);

/// Polls often, and sends its next heartbeat after the end of the test.
const LEASE: Duration = Duration::from_secs(3_600);
/// Where the database tells of changes there are no polls, and a job that could not begin waits for a heartbeat.
const LEASE_OF_NOTIFIED: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);

const TOKEN: &str = "SELECT token FROM dualwrite_change";

const PLAN: &str = "[[step]]\nstage = \"dual_write\"\nsoak = \"1h\"\n[[step]]\nstage = \"shadow\"";

/// The commands in an order in which each finds something to change, with their fields.
const STEPS: &[(&str, &[(&str, &str)])] = &[
    ("advance", &[("to", "shadow")]),
    ("step-back", &[("to", "dual_write")]),
    ("ramp", &[("percent", "5")]),
    ("rollback", &[]),
    ("close", &[("what", "writes"), ("for", "30m")]),
    ("open", &[]),
    ("backfill-pause", &[]),
    ("backfill-rate", &[("rate", "7")]),
    ("backfill-batch-time", &[("batch-time", "20ms")]),
    ("backfill-workers", &[("workers", "2")]),
    ("backfill-throttle", &[("lag", "5s")]),
    ("backfill-resume", &[]),
    ("backfill-cancel", &[]),
    ("verify-pause", &[]),
    ("verify-resume", &[]),
    ("verify-cancel", &[]),
    ("dead-letters-waive", &[("key", "4")]),
    ("mismatches-forget", &[]),
    ("compare", &[("percent", "5")]),
    ("compare", &[("percent", "7"), ("writes", "true")]),
    ("writer-stopped", &[("writer", "trigger t")]),
    ("approve", &[("name", "owner")]),
    ("rollout-start", &[("plan", PLAN)]),
    ("rollout-skip-soak", &[]),
    ("rollout-pause", &[]),
    ("rollout-resume", &[]),
    ("rollout-pause", &[]),
    ("rollout-abort", &[]),
    ("backfill-start", &[("workers", "1")]),
    ("verify", &[]),
    ("repair", &[]),
    ("copy", &[("key", "1")]),
    ("dead-letters-retry", &[]),
    ("advance-sequences", &[]),
    ("read-catalogue", &[]),
    ("trigger-install", &[]),
    ("trigger-remove", &[]),
    ("kill-on", &[]),
    ("kill-off", &[]),
    ("kill-on", &[]),
];

async fn give(
    operator: &Operator,
    name: &str,
    fields: &[(&str, &str)],
) -> Result<CommandOutcome, Error> {
    let value = |wanted: &str| {
        fields.iter().find(|(field, _)| *field == wanted).map(|(_, value)| (*value).to_owned())
    };
    let command = Command::parse(name, value).unwrap();
    operator.command("notes", &command, &CommandOptions::new("ada", "it is time")).await
}

fn approved<DB: Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    registration.approval(Stage::Live, "owner")
}

async fn every_command_leaves_another_token<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, approved).await;
    world.db.execute("INSERT INTO old_note (id, word) VALUES (4, 'poison')").await;
    let backfill = world.migration.backfill().batch(1).stop_after_failures(0);
    assert_eq!(backfill.run().await.unwrap_err().kind(), ErrorKind::Halted);
    world.migration.verify().run().await.unwrap();
    // As if it had not ended, so that it can be cancelled.
    world.db.execute("UPDATE dualwrite_verification SET state = 'running'").await;
    world
        .db
        .execute(
            "INSERT INTO dualwrite_mismatch (migration, method, field, key_text, at) \
             VALUES ('notes', 'Notes::find', 'word', '1', 0)",
        )
        .await;
    let operator = Operator::new(world.db.pool().clone());
    let hazard = "INSERT INTO dualwrite_hazard (migration, name, kind, detail, found_at) \
                  VALUES ('notes', 'trigger t', 'trigger', 'writes old', 0)";
    for &(command, fields) in STEPS {
        if command == "writer-stopped" {
            world.db.execute(hazard).await; // who reads the catalogue meanwhile removes it
        }
        let before = world.db.number(TOKEN).await;
        let done = give(&operator, command, fields).await.unwrap_or_else(|error| {
            panic!("{command}: {error}");
        });
        assert_ne!(world.db.number(TOKEN).await, before, "{command}: {done:?}");
    }
    for spec in &COMMANDS {
        assert!(STEPS.iter().any(|(name, _)| *name == spec.name), "{} is not tried", spec.name);
    }
    world.runtime.shutdown().await.unwrap();
}

async fn a_refused_command_and_heartbeats_leave_the_token<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let operator = Operator::new(world.db.pool().clone());
    let before = world.db.number(TOKEN).await;
    give(&operator, "advance", &[("to", "live")]).await.unwrap_err();
    give(&operator, "backfill-cancel", &[]).await.unwrap_err();
    give(&operator, "kill-off", &[]).await.unwrap();
    let another = world.db.another_pool(2).await;
    let builder = Runtime::builder(another).lease(Duration::from_secs(3));
    let runtime = builder.start().await.unwrap();
    let joined = runtime.migration("notes").backfill(CopyNotes::<D>::new()).register().await;
    drop(joined.unwrap());
    let beats = format!("SELECT beat FROM dualwrite_instance WHERE id = '{}'", runtime.instance());
    until("it has sent heartbeats", async || world.db.number(&beats).await > 3).await;
    runtime.shutdown().await.unwrap();
    assert_eq!(world.db.number(TOKEN).await, before);
    world.runtime.shutdown().await.unwrap();
}

/// An instance of the service beside that of a world.
async fn observer<D: Sql>(db: &Scratch<D>) -> (Runtime<D::Db>, Migration) {
    let pool = db.another_pool(3).await;
    let lease = if D::NAME == "postgres" { LEASE_OF_NOTIFIED } else { LEASE };
    let runtime = Runtime::builder(pool).lease(lease).poll(POLL).start().await.unwrap();
    let joined = runtime.migration("notes").backfill(CopyNotes::<D>::new()).register().await;
    (runtime, joined.unwrap())
}

async fn a_poll_sees_what_was_changed_long_before_the_next_heartbeat<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let (runtime, seen) = observer(&world.db).await;
    let operator = Operator::new(world.db.pool().clone());
    for (command, fields) in [
        ("advance", [("to", "shadow"), ("", "")]),
        ("step-back", [("to", "dual_write"), ("", "")]),
        ("close", [("what", "writes"), ("for", "30m")]),
        ("open", [("", ""), ("", "")]),
    ] {
        let epoch = give(&operator, command, &fields).await.unwrap().epoch;
        until(command, async || seen.position().epoch == epoch).await;
    }
    world.runtime.shutdown().await.unwrap();
    // Now it is the only one to do what an operator starts.
    for command in ["backfill-start", "verify", "trigger-install"] {
        give(&operator, command, &[]).await.unwrap();
        until(command, async || {
            let shown = operator.migration("notes").await.unwrap();
            let jobs = operator.jobs("notes").await.unwrap();
            shown.started.is_empty() && jobs.iter().all(|job| job.done)
        })
        .await;
    }
    runtime.shutdown().await.unwrap();
}

async fn moves_of_many_migrations_at_once_are_all_seen_by_polls<D: Sql>(db: Scratch<D>) {
    let names = ["a", "b", "c", "d", "e"];
    let mut started = Vec::new();
    for lease in [LEASE, Duration::from_secs(15)] {
        let pool = db.another_pool(3).await;
        let runtime = Runtime::builder(pool).lease(lease).poll(POLL).start().await.unwrap();
        let migrations = names.map(|name| runtime.migration(name));
        let migrations = runtime.register_all(migrations).await.unwrap();
        started.push((runtime, migrations));
    }
    let [(_, seen), (_, moved)] = &started[..] else { unreachable!() };
    let moves = moved.iter().map(|one| async { one.advance(Stage::DualWrite).await.unwrap() });
    let positions = futures_util::future::join_all(moves).await;
    until("all are seen", async || {
        seen.iter().zip(&positions).all(|(one, position)| one.position() == *position)
    })
    .await;
    for (runtime, _) in started {
        runtime.shutdown().await.unwrap();
    }
}

/// By the server's own statistics of each table, which only MariaDB keeps for a database of its own and at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_poll_reads_one_row_however_many_migrations_there_are_mariadb() {
    for count in [1, 50] {
        let Some(db) = MySqlDb::fresh(&format!("an idle poll, {count}")).await else { return };
        if db.rows("SELECT VERSION()").await[0][0].as_ref().is_none_or(|v| !v.contains("Maria")) {
            return;
        }
        db.execute("SET GLOBAL userstat = 1").await;
        let pool = db.another_pool(3).await;
        let runtime = Runtime::builder(pool).lease(LEASE).poll(POLL).start().await.unwrap();
        let named = (0..count).map(|number| runtime.migration(format!("m-{number}")));
        runtime.register_all(named).await.unwrap();
        let read = async |condition: &str| {
            let sql = format!(
                "SELECT COALESCE(CAST(SUM(rows_read) AS SIGNED), 0) FROM information_schema.table_statistics \
                 WHERE table_schema = DATABASE() AND table_name {condition}"
            );
            db.number(&sql).await
        };
        let polled = async || read("= 'dualwrite_change'").await;
        let first = polled().await;
        until("it polls", async || polled().await > first + 3).await;
        let (before, others) = (polled().await, read("<> 'dualwrite_change'").await);
        until("it polls", async || polled().await > before + 10).await;
        assert_eq!(read("<> 'dualwrite_change'").await, others, "{count} migrations");
        runtime.shutdown().await.unwrap();
    }
}
