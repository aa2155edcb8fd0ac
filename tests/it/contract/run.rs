//! Dropping old: nothing by a dry run, all by a run, and what becomes of one that fails on the way.

use std::time::Duration;

use dualwrite::{ErrorKind, Gate, Stage, contract::Contract};
use serde_json::Value;

use super::world::{contract, over};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::CopyNotes;
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    a_dry_run_drops_nothing_and_a_run_drops_old,
    a_run_without_a_name_or_a_reason_is_refused,
    a_run_that_gets_no_lock_leaves_the_way_back_open,
    a_run_that_ends_in_the_middle_goes_on,
    a_plan_becomes_files,
);

const IS_THERE: &str = "SELECT count(*) FROM old_note";

async fn a_dry_run_drops_nothing_and_a_run_drops_old<D: Sql>(db: Scratch<D>) {
    let over = over(db).await;
    let contract = over.operator.contract("notes");
    let looked = contract.run().dry_run().await.unwrap();
    assert!(looked.dry_run && looked.decision.is_allowed() && !looked.ended);
    assert_eq!(looked.statements.len(), 1);
    over.is_untouched().await;

    let done = contract.run().by("ada").because("over").await.unwrap();
    assert!(done.ended && !done.dry_run);
    assert_eq!(done.statements, looked.statements);
    assert!(D::rows(over.db.pool(), IS_THERE).await.is_err(), "it is gone");
    assert_eq!(over.db.number("SELECT count(*) FROM new_note").await, 5);

    let events = contract.events().await.unwrap();
    let what: Vec<&str> = events.iter().map(|event| &*event.what).collect();
    assert_eq!(what, ["dropped", "begun", "backup"]);
    let begun: Value = serde_json::from_str(&events[1].detail).unwrap();
    assert_eq!(
        begun["evidence"].as_array().unwrap().len(),
        dualwrite::contract::EvidenceKind::ALL.len()
    );
    assert_eq!(begun["statements"][0], looked.statements[0].as_str());
    assert_eq!((&*events[1].actor, &*events[1].reason), ("ada", "over"));
    assert_eq!((&*events[2].detail, &*events[2].actor), ("5 rows", "ada"));

    // Again: there is nothing to do, and there is no way back.
    assert!(contract.run().by("ada").because("again").await.unwrap().ended);
    assert_eq!(contract.events().await.unwrap().len(), 3);
    let next = over.runtime().await;
    let migration = next.migration("notes").backfill(CopyNotes::<D>::both_ways()).register().await;
    let refused = migration.unwrap().step_back(Stage::RampDown).await.unwrap_err();
    let gates: Vec<Gate> = refused.blockers().iter().map(|blocker| blocker.gate).collect();
    assert!(gates.contains(&Gate::Contracted), "{refused}");
    next.shutdown().await.unwrap();
}

async fn a_run_without_a_name_or_a_reason_is_refused<D: Sql>(db: Scratch<D>) {
    let over = over(db).await;
    let contract = over.operator.contract("notes");
    let name = contract.run().because("over").await.unwrap_err();
    let reason = contract.run().by("ada").because(" ").await.unwrap_err();
    assert_eq!([name.kind(), reason.kind()], [ErrorKind::InvalidInput; 2]);
    over.is_untouched().await;
    assert_eq!(contract.approve("ada", "").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let unknown = over.operator.contract("nothing").check().await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownMigration);
}

/// A transaction that reads a table, or, where readers keep nobody out, one that writes.
async fn hold<D: Sql>(db: &Scratch<D>, table: &str) -> sqlx::pool::PoolConnection<D::Db> {
    let mut conn = db.pool().acquire().await.unwrap();
    let begin = D::sql("BEGIN IMMEDIATE", "BEGIN", "BEGIN");
    D::run_on(&mut conn, begin).await.unwrap();
    D::run_on(&mut conn, &format!("SELECT count(*) FROM {table}")).await.unwrap();
    conn
}

async fn a_run_that_gets_no_lock_leaves_the_way_back_open<D: Sql>(db: Scratch<D>) {
    let over = over(db).await;
    let contract = over.operator.contract("notes");
    let held = hold(&over.db, "old_note").await;
    let run = contract.run().by("ada").because("over").attempts(2);
    let error = run.lock_timeout(Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    if D::NAME != "sqlite" {
        // There the fence itself is not to be had.
        let newest = contract.events().await.unwrap().swap_remove(0);
        assert_eq!(newest.what, "released");
        let begun = "SELECT count(*) FROM dualwrite_contract WHERE begun_at IS NOT NULL";
        assert_eq!(over.db.number(begun).await, 0, "the way back is open again");
    }
    let run = contract.run().by("ada").because("over").attempts(60);
    let run = run.lock_timeout(Duration::from_millis(200));
    let (run, ()) = tokio::join!(run.into_future(), async {
        if D::NAME != "sqlite" {
            let begun = "SELECT count(*) FROM dualwrite_contract WHERE begun_at IS NOT NULL";
            until("it has begun", async || over.db.number(begun).await == 1).await;
        }
        held.close().await.unwrap();
    });
    assert!(run.unwrap().ended);
    assert!(D::rows(over.db.pool(), IS_THERE).await.is_err(), "it is gone");
}

async fn a_run_that_ends_in_the_middle_goes_on<D: Sql>(db: Scratch<D>) {
    let over = over(db).await;
    // SQLite refuses to drop a column that a constraint of the table uses; elsewhere a lock keeps it.
    over.execute(D::sql(
        "CREATE TABLE old_extra (id BIGINT PRIMARY KEY, word BIGINT, CHECK (word > id))",
        "CREATE TABLE old_extra (id BIGINT PRIMARY KEY, word BIGINT)",
        "CREATE TABLE old_extra (id BIGINT PRIMARY KEY, word BIGINT)",
    ))
    .await;
    // A newer release knows of another table.
    let next = over.runtime().await;
    let registration =
        next.migration("notes").new_only().contract(contract().column("old_extra", "word"));
    registration.register().await.unwrap();
    over.is_allowed().await;
    let contract = over.operator.contract("notes");
    assert_eq!(contract.plan().await.unwrap().statements.len(), 2);
    let held = match D::NAME {
        "sqlite" => None,
        _ => Some(hold(&over.db, "old_extra").await),
    };
    let run = contract.run().by("ada").because("over").attempts(1);
    run.lock_timeout(Duration::from_millis(200)).await.unwrap_err();
    assert!(D::rows(over.db.pool(), IS_THERE).await.is_err(), "the first is gone");
    let newest = contract.events().await.unwrap().swap_remove(0);
    assert_eq!(newest.what, "failed", "{newest:?}");
    assert!(newest.detail.contains("old_extra"), "{newest:?}");

    // From here on what is declared as old stays that, and the contract goes on without being judged again.
    let other = over.runtime().await;
    let later = other.migration("notes").new_only().contract(Contract::new().table("something"));
    later.register().await.unwrap();
    over.execute("UPDATE dualwrite_approval SET stage_epoch = 0").await;
    if let Some(held) = held {
        held.close().await.unwrap();
    } else {
        over.execute("DROP TABLE old_extra").await;
        over.execute("CREATE TABLE old_extra (id BIGINT PRIMARY KEY, word BIGINT)").await;
    }
    let done = contract.run().by("bob").because("the rest").await.unwrap();
    assert!(done.ended && done.statements.len() == 1, "{done:?}");
    assert!(D::rows(over.db.pool(), "SELECT word FROM old_extra").await.is_err());
    next.shutdown().await.unwrap();
    other.shutdown().await.unwrap();
}

async fn a_plan_becomes_files<D: Sql>(db: Scratch<D>) {
    let over = over(db).await;
    let files = over.operator.contract("notes").plan().await.unwrap().files(41);
    let names: Vec<&str> = files.iter().map(|file| &*file.name).collect();
    assert_eq!(names, ["41_contract_notes.up.sql", "41_contract_notes.down.sql"]);
    over.execute(&files[0].text).await;
    assert!(D::rows(over.db.pool(), IS_THERE).await.is_err(), "it is gone");
    over.execute(&files[1].text).await;
    assert_eq!(over.db.number(IS_THERE).await, 0);
}
