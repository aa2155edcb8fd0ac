//! Backfills that somebody starts, and whichever instance can runs.

use dualwrite::{ErrorKind, Side, Stage, Status, backfill::BackfillProgress, operator::Operator};

use std::time::Duration;

use crate::support::crew::{Crew, Member};
use crate::support::db::{MySqlDb, PostgresDb, Scratch, SqliteDb, on_all_databases};
use crate::support::log::{Log, listen};
use crate::support::operated::backfill;
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    an_instance_runs_what_an_operator_starts,
    what_is_started_before_its_stage_waits_for_it,
    without_a_copy_function_nobody_takes_it,
    another_instance_goes_on,
    what_is_cancelled_is_not_run_again,
    orders_may_be_given_in_sql,
    what_mostly_fails_is_halted,
    a_reverse_copy_is_started_too,
    orders_name_what_is_wrong_with_them,
);

async fn crew<D: Sql>(db: Scratch<D>, rows: u32, stage: Stage) -> (Crew<D>, Member<D>, Operator) {
    let operator = Operator::new(db.pool().clone());
    let crew = Crew::new(db, rows).await;
    let member = crew.joins().await;
    if stage != Stage::Off {
        member.migration.advance(stage).await.unwrap();
    }
    (crew, member, operator)
}

fn is_done(status: &Status) -> bool {
    let complete = status.backfill.as_ref().is_some_and(|backfill| backfill.complete);
    complete && status.started.is_empty()
}

fn runner(status: &Status) -> Option<&str> {
    status.started.first().and_then(|task| task.runner.as_deref())
}

fn copied(status: &Status) -> u64 {
    status.backfill.as_ref().map_or(0, BackfillProgress::done)
}

async fn is_equal<D: Sql>(crew: &Crew<D>, rows: i64) -> bool {
    let same = "SELECT count(*) FROM old_note o JOIN new_note n ON n.id = o.id AND n.word = o.word";
    crew.db.number(same).await == rows
}

async fn an_instance_runs_what_an_operator_starts<D: Sql>(db: Scratch<D>) {
    let (crew, member, operator) = crew(db, 50, Stage::DualWrite).await;
    let start = backfill(&operator, "notes").workers(2).start("ada", "the night is quiet").await;
    assert!(start.unwrap());
    crew.until(&member.migration, "the end", is_done).await;
    assert!(is_equal(&crew, 50).await);
    let seen = operator.migrations().await.unwrap();
    let [seen] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((seen.name.as_str(), seen.instances, seen.dead_letters), ("notes", 1, 0));
    assert_eq!(seen.position, member.migration.position().to_string());
    assert!(seen.started.is_empty() && seen.backfill.as_ref().unwrap().complete);

    // And by the handle, for the next generation.
    member.migration.step_back(Stage::Off).await.unwrap();
    member.migration.advance(Stage::DualWrite).await.unwrap();
    assert!(member.migration.backfill().start("bob", "once more").await.unwrap());
    let again = |status: &Status| {
        is_done(status) && status.backfill.as_ref().is_some_and(|found| found.generation == 2)
    };
    crew.until(&member.migration, "the second generation", again).await;
}

async fn what_is_started_before_its_stage_waits_for_it<D: Sql>(db: Scratch<D>) {
    let (crew, member, operator) = crew(db, 20, Stage::Off).await;
    backfill(&operator, "notes").start("ada", "early").await.unwrap();
    assert!(!backfill(&operator, "notes").start("bob", "me too").await.unwrap());
    // Until an instance has taken it, it says why none has.
    let waits = |status: &Status| {
        status.started.iter().any(|task| task.runner.is_some() && task.waiting.is_some())
    };
    let status = crew.until(&member.migration, "it waits", waits).await;
    let [task] = &status.started[..] else { panic!("{:?}", status.started) };
    assert!(task.waiting.as_ref().unwrap().contains("cannot run at off"), "{task:?}");
    assert_eq!((task.actor.as_str(), task.reason.as_str()), ("ada", "early"));
    assert_eq!(task.runner.as_deref(), Some(member.runtime.instance()));
    // What it waited for is no longer shown when it goes on.
    backfill(&operator, "notes").set_rate(Some(10)).await.unwrap();
    member.migration.advance(Stage::DualWrite).await.unwrap();
    let goes_on = |status: &Status| copied(status) > 0;
    let status = crew.until(&member.migration, "it goes on", goes_on).await;
    assert!(status.started.iter().all(|task| task.waiting.is_none()), "{:?}", status.started);
    crew.until(&member.migration, "the end", is_done).await;
    assert!(is_equal(&crew, 20).await);
}

async fn without_a_copy_function_nobody_takes_it<D: Sql>(db: Scratch<D>) {
    let operator = Operator::new(db.pool().clone());
    let crew = Crew::new(db, 20).await;
    let runtime = crew.builder().start().await.unwrap();
    let plain = runtime.migration("notes").register().await.unwrap();
    plain.advance(Stage::DualWrite).await.unwrap();
    plain.backfill().start("ada", "somebody will").await.unwrap();
    plain.refresh().await.unwrap(); // it has seen it
    assert_eq!(runner(&plain.status().await.unwrap()), None);
    let member = crew.joins().await;
    crew.until(&member.migration, "the end", is_done).await;
    assert!(operator.migration("notes").await.unwrap().started.is_empty());
    runtime.shutdown().await.unwrap();
}

async fn another_instance_goes_on<D: Sql>(db: Scratch<D>) {
    let (mut crew, first, operator) = crew(db, 400, Stage::DualWrite).await;
    let orders = backfill(&operator, "notes");
    orders.rate(1).start("ada", "slowly").await.unwrap();
    let begun = |status: &Status| runner(status).is_some() && copied(status) > 0;
    crew.until(&first.migration, "it has begun", begun).await;

    // One that is shut down leaves it to another.
    let second = crew.joins().await;
    first.runtime.shutdown().await.unwrap();
    let name = second.runtime.instance().to_owned();
    crew.until(&second.migration, "the second", |now| runner(now) == Some(&*name)).await;
    assert!(orders.set_rate(Some(2)).await.unwrap());

    // One that dies keeps it for a lease.
    let third = crew.joins().await;
    let kept = format!("runner = '{name}' AND runner_until > 0");
    let count = format!("SELECT count(*) FROM dualwrite_task WHERE {kept}");
    assert_eq!(crew.db.number(&count).await, 1);
    crew.dies(second);
    let name = third.runtime.instance().to_owned();
    let status = crew.until(&third.migration, "the third", |now| runner(now) == Some(&*name)).await;
    assert_eq!((status.started[0].rate, status.started[0].actor.as_str()), (Some(2), "ada"));

    assert!(orders.pause().await.unwrap());
    let is_paused = |status: &Status| status.backfill.as_ref().is_some_and(|found| found.paused);
    crew.until(&third.migration, "a pause", is_paused).await;
    assert!(orders.set_rate(None).await.unwrap() && orders.resume().await.unwrap());
    crew.until(&third.migration, "the end", is_done).await;
    assert!(is_equal(&crew, 400).await);
}

/// As after a pause of the whole process: somebody else has taken the task meanwhile. On one thread, whose log is read.
async fn what_another_instance_has_taken_is_run_here_no_longer<D: Sql>() {
    let Some(db) = D::fresh("started::taken").await else { return };
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let _heard = listen(subscriber.finish());
    let crew = Crew::<D>::new(db, 400).await;
    // A third of its lease passes before it is extended.
    let member = crew.joins_as(crew.builder().lease(Duration::from_secs(2))).await;
    member.migration.advance(Stage::DualWrite).await.unwrap();
    let orders = member.migration.backfill();
    orders.rate(1).start("ada", "slowly").await.unwrap();
    let begun = |status: &Status| runner(status).is_some() && copied(status) > 0;
    crew.until(&member.migration, "it has begun", begun).await;
    let taken = "UPDATE dualwrite_task SET runner = 'another', runner_until = 9000000000000000";
    crew.db.execute(taken).await;
    let given_up = "a started backfill is no longer run here";
    until("it is given up", async || log.text().contains(given_up)).await;
    assert!(copied(&member.migration.status().await.unwrap()) < 400);
    member.runtime.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_another_instance_has_taken_is_run_here_no_longer_on_sqlite() {
    what_another_instance_has_taken_is_run_here_no_longer::<SqliteDb>().await;
}

#[tokio::test]
async fn what_another_instance_has_taken_is_run_here_no_longer_on_postgres() {
    what_another_instance_has_taken_is_run_here_no_longer::<PostgresDb>().await;
}

#[tokio::test]
async fn what_another_instance_has_taken_is_run_here_no_longer_on_mysql() {
    what_another_instance_has_taken_is_run_here_no_longer::<MySqlDb>().await;
}

async fn what_is_cancelled_is_not_run_again<D: Sql>(db: Scratch<D>) {
    let (crew, member, operator) = crew(db, 400, Stage::DualWrite).await;
    let orders = backfill(&operator, "notes");
    orders.rate(1).start("ada", "a mistake").await.unwrap();
    let begun = |status: &Status| runner(status).is_some() && copied(status) > 0;
    crew.until(&member.migration, "it has begun", begun).await;
    assert!(orders.cancel().await.unwrap());
    let status = member.migration.status().await.unwrap();
    assert!(status.started.is_empty() && status.backfill.unwrap().cancelled);
    assert!(orders.start("ada", "no mistake after all").await.unwrap());
    assert!(orders.set_rate(None).await.unwrap());
    crew.until(&member.migration, "the end", is_done).await;
    assert!(is_equal(&crew, 400).await);
}

async fn what_mostly_fails_is_halted<D: Sql>(db: Scratch<D>) {
    let (crew, member, operator) = crew(db, 0, Stage::DualWrite).await;
    let rows = ["(1, 'poison')", "(2, 'poison')", "(3, 'poison')"];
    crew.db.execute(&format!("INSERT INTO old_note (id, word) VALUES {}", rows.join(", "))).await;
    let few = member.migration.backfill().stop_after_failures(1);
    assert!(few.start("ada", "hope").await.unwrap());
    let is_halted = |status: &Status| status.started.iter().any(|task| task.halted);
    let status = crew.until(&member.migration, "it is halted", is_halted).await;
    assert!(
        status.started[0].waiting.as_ref().unwrap().contains("could not be copied"),
        "{status:?}"
    );
    assert!(!status.backfill.unwrap().complete);

    crew.db.execute("UPDATE old_note SET word = 'cured'").await;
    crew.db.execute("DELETE FROM dualwrite_failure").await;
    assert!(backfill(&operator, "notes").start("ada", "they are cured").await.unwrap());
    crew.until(&member.migration, "the end", is_done).await;
}

async fn a_reverse_copy_is_started_too<D: Sql>(db: Scratch<D>) {
    let (crew, member, operator) = crew(db, 20, Stage::DualWrite).await;
    let migration = &member.migration;
    migration.backfill().run().await.unwrap();
    migration.verify().run().await.unwrap();
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown, Stage::Complete] {
        migration.advance(stage).await.unwrap();
    }
    crew.db.execute("INSERT INTO new_note (id, word) VALUES (90, 'born in new')").await;
    migration.step_back(Stage::RampDown).await.unwrap();
    assert!(backfill(&operator, "notes").reverse().start("ada", "back").await.unwrap());
    let is_back = |status: &Status| {
        is_done(status) && status.backfill.as_ref().is_some_and(|found| found.side == Side::Old)
    };
    crew.until(migration, "the end", is_back).await;
    assert!(is_equal(&crew, 21).await);
}

async fn orders_name_what_is_wrong_with_them<D: Sql>(db: Scratch<D>) {
    let (crew, member, operator) = crew(db, 1, Stage::DualWrite).await;
    let nobody = backfill(&operator, "nobody");
    for refused in [
        nobody.start("ada", "x").await.unwrap_err(),
        nobody.pause().await.unwrap_err(),
        nobody.resume().await.unwrap_err(),
        nobody.cancel().await.unwrap_err(),
        nobody.set_rate(Some(1)).await.unwrap_err(),
        operator.migration("nobody").await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::UnknownMigration);
        assert!(refused.to_string().contains("nobody"), "{refused}");
    }
    let notes = backfill(&operator, "notes");
    let long = "x".repeat(101);
    for name in ["", &long] {
        let refused = notes.start(name, "x").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("the actor must have 1 to 100 bytes"), "{refused}");
    }
    // Nothing runs, so nothing is there to take an order.
    for taken in [notes.pause().await, notes.cancel().await, notes.set_rate(Some(1)).await] {
        assert!(!taken.unwrap());
    }
    assert!(member.migration.status().await.unwrap().started.is_empty());
    drop(crew);
}

/// The statements of the guide `backfill`.
async fn orders_may_be_given_in_sql<D: Sql>(db: Scratch<D>) {
    let (crew, member, operator) = crew(db, 400, Stage::Off).await;
    let give = async |begins: &str| {
        let guide = include_str!("../../dualwrite/src/docs/backfill.md");
        let block = guide.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let all = block.replace("'orders'", "'notes'");
        let one = all.split_inclusive(';').find(|statement| {
            let statement = statement.split_whitespace().collect::<Vec<_>>().join(" ");
            statement.contains(begins)
        });
        crew.db.execute(one.unwrap_or_else(|| panic!("no `{begins}` in the guide"))).await;
    };
    give("INSERT INTO dualwrite_task").await;
    assert!(backfill(&operator, "notes").set_rate(Some(1)).await.unwrap());
    member.migration.advance(Stage::DualWrite).await.unwrap();
    let state = |wanted: fn(&BackfillProgress) -> bool| {
        move |status: &Status| status.backfill.as_ref().is_some_and(wanted)
    };
    crew.until(&member.migration, "a beginning", state(|found| found.done() > 0)).await;
    give("SET state = 'paused'").await;
    crew.until(&member.migration, "a pause", state(|found| found.paused)).await;
    give("SET state = 'running'").await;
    give("SET rate = 500").await;
    crew.until(&member.migration, "a rate", state(|found| found.rate == Some(500))).await;
    // It is kept with the first part, which may be over.
    let others = "SELECT count(*) FROM dualwrite_backfill WHERE rate IS NULL OR rate <> 500";
    assert_eq!(crew.db.number(others).await, 0);
    give("DELETE FROM dualwrite_task").await;
    give("SET state = 'cancelled'").await;
    let status = member.migration.status().await.unwrap();
    assert!(status.started.is_empty() && status.backfill.unwrap().cancelled);
}
