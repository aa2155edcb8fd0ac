//! Each piece of evidence is asked for: without it the contract is refused, with the right reason.

use dualwrite::{ErrorKind, Gate, Stage, contract::EvidenceKind};

use super::world::{Over, complete, contracted, over};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, Notes as _};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    each_missing_piece_refuses_the_contract,
    instances_that_can_run_the_old_path_refuse_it,
    a_build_with_the_new_path_alone_keeps_the_migration_at_complete,
    a_write_of_old_refuses_it,
    a_read_of_old_is_recorded,
    a_window_that_is_not_over_refuses_it,
);

/// What takes a piece away, and what brings it back.
fn pieces() -> Vec<(EvidenceKind, &'static str, &'static str)> {
    use EvidenceKind as Kind;
    vec![
        (
            Kind::Declared,
            "UPDATE dualwrite_contract SET migration = 'elsewhere'",
            "UPDATE dualwrite_contract SET migration = 'notes'",
        ),
        (
            Kind::Complete,
            "UPDATE dualwrite_migration SET stage_at = stage_at + 4500000000",
            "UPDATE dualwrite_migration SET stage_at = stage_at - 4500000000",
        ),
        (
            Kind::RollbackWindow,
            "INSERT INTO dualwrite_task (migration, side, workers, failures_max, actor, reason, at, state) \
             VALUES ('notes', 'old', 1, 1, 'bob', 'back', 0, 'wanted')",
            "DELETE FROM dualwrite_task",
        ),
        (
            Kind::Releases,
            "INSERT INTO dualwrite_release (migration, release_name, declared_at) VALUES ('notes', '0.9', 0)",
            "UPDATE dualwrite_release SET gone_at = 1",
        ),
        (
            Kind::Writers,
            "INSERT INTO dualwrite_hazard (migration, name, kind, detail, found_at) \
             VALUES ('notes', 'trigger t', 'trigger', 'writes old', 0)",
            "UPDATE dualwrite_hazard SET stopped_by = 'bob', stopped_because = 'gone', stopped_at = 1",
        ),
        (
            Kind::Writes,
            "UPDATE dualwrite_migration SET watched = 0",
            "UPDATE dualwrite_migration SET watched = 1",
        ),
        (
            Kind::Writes,
            "UPDATE dualwrite_migration SET watched_at = watched_at + 4500000000",
            "UPDATE dualwrite_migration SET watched_at = watched_at - 4500000000",
        ),
        (
            Kind::Writes,
            "INSERT INTO dualwrite_unaware (migration, slot, minute) \
             SELECT 'notes', 9999, (stage_at + 7200000000) / 60000000 - 5 FROM dualwrite_migration",
            "DELETE FROM dualwrite_unaware WHERE slot = 9999",
        ),
        (
            Kind::Reads,
            "INSERT INTO dualwrite_old_read (migration, minute) \
             SELECT 'notes', (stage_at + 7200000000) / 60000000 - 5 FROM dualwrite_migration",
            "UPDATE dualwrite_old_read SET minute = minute - 90",
        ),
        (
            Kind::Copied,
            "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) VALUES ('notes', 'new', '1', 0)",
            "DELETE FROM dualwrite_dirty",
        ),
        (
            Kind::Copied,
            "INSERT INTO dualwrite_failure (migration, side, key_text, generation, error, attempts, failed_at, \
             next_attempt_at) VALUES ('notes', 'new', '1', 1, 'poison', 1, 0, 0)",
            "UPDATE dualwrite_failure SET waived_by = 'bob', waived_because = 'a test', waived_at = 1",
        ),
        (
            Kind::Copied,
            "UPDATE dualwrite_backfill SET state = 'running'",
            "UPDATE dualwrite_backfill SET state = 'complete'",
        ),
        (
            Kind::Verified,
            "INSERT INTO dualwrite_stale (migration, kind, subject, at) VALUES ('notes', 'difference', '', 0)",
            "DELETE FROM dualwrite_stale",
        ),
        (
            Kind::Verified,
            "UPDATE dualwrite_event SET overridden = 'soaked,verified' WHERE epoch = \
             (SELECT stage_epoch FROM dualwrite_migration)",
            "UPDATE dualwrite_event SET overridden = 'soaked'",
        ),
        (
            Kind::Verified,
            "UPDATE dualwrite_migration SET verified_generation = NULL",
            "UPDATE dualwrite_migration SET verified_generation = 1",
        ),
        (
            Kind::Dependents,
            "CREATE VIEW note_report AS SELECT id, word FROM old_note",
            "DROP VIEW note_report",
        ),
        (
            Kind::Dependents,
            "CREATE TABLE remark (id BIGINT PRIMARY KEY, note BIGINT, \
             FOREIGN KEY (note) REFERENCES old_note (id))",
            "DROP TABLE remark",
        ),
        (
            Kind::Backup,
            "UPDATE dualwrite_contract_event SET stage_epoch = stage_epoch - 1",
            "UPDATE dualwrite_contract_event SET stage_epoch = stage_epoch + 1",
        ),
        (
            Kind::Approval,
            "UPDATE dualwrite_approval SET stage_epoch = stage_epoch - 1",
            "UPDATE dualwrite_approval SET stage_epoch = stage_epoch + 1",
        ),
    ]
}

async fn each_missing_piece_refuses_the_contract<D: Sql>(db: Scratch<D>) {
    let over = over(db).await;
    for (kind, take, bring_back) in pieces() {
        over.execute(take).await;
        over.lacks(kind).await;
        over.execute(bring_back).await;
        over.is_allowed().await;
    }
}

async fn instances_that_can_run_the_old_path_refuse_it<D: Sql>(db: Scratch<D>) {
    let over = over(db).await;
    let next = over.runtime().await;
    let migration =
        contracted(next.migration("notes").backfill(CopyNotes::<D>::new())).register().await;
    let reason = over.lacks(EvidenceKind::Instances).await;
    assert!(reason.contains("release next") && reason.contains("new_only"), "{reason}");
    drop(migration);
    next.shutdown().await.unwrap();
    over.is_allowed().await;
    // One that cannot go below `Complete`.
    let pool = over.db.another_pool(3).await;
    let next = dualwrite::Runtime::builder(pool).stages(Stage::Complete, Stage::Complete);
    let next = next.start().await.unwrap();
    next.migration("notes").register().await.unwrap();
    over.is_allowed().await;
    next.shutdown().await.unwrap();
}

async fn a_build_with_the_new_path_alone_keeps_the_migration_at_complete<D: Sql>(db: Scratch<D>) {
    let over = over(db).await;
    let next = over.runtime().await;
    let migration = next.migration("notes").backfill(CopyNotes::<D>::both_ways()).new_only();
    let migration = migration.register().await.unwrap();
    over.is_allowed().await;
    let refused = migration.step_back(Stage::RampDown).await.unwrap_err();
    assert!(refused.blockers().iter().any(|it| it.gate == Gate::Supported), "{refused}");
    assert!(refused.to_string().contains("has the new path alone"), "{refused}");
    next.shutdown().await.unwrap();
    // Before `Complete` it cannot join.
    let next = over.runtime().await;
    let registration = next.migration("other").new_only();
    let refused = registration.register().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    next.shutdown().await.unwrap();
}

async fn a_write_of_old_refuses_it<D: Sql>(db: Scratch<D>) {
    let over = over(db).await;
    over.execute("UPDATE old_note SET word = 'late' WHERE id = 3").await;
    let decision = over.check().await;
    let text = format!("{decision:?}");
    assert!(!decision.is_allowed());
    assert!(text.contains("kind: Writes") && text.contains("kind: Copied"), "{text}");
    let run = over.operator.contract("notes").run().by("ada").because("over").await;
    assert_eq!(run.unwrap_err().kind(), ErrorKind::Blocked);
    over.is_untouched().await;
}

async fn a_read_of_old_is_recorded<D: Sql>(db: Scratch<D>) {
    let world = complete(db, contracted).await;
    let reads = "SELECT count(*) FROM dualwrite_old_read";
    assert_eq!(world.db.number(reads).await, 0, "nobody has read yet");
    // Another process that has not heard of it yet reads old, and then hears.
    world.db.execute("UPDATE dualwrite_migration SET stage = 1, epoch = epoch + 1").await;
    until("it knows", async || {
        let _ = world.migration.refresh().await;
        world.migration.position().stage == Stage::DualWrite
    })
    .await;
    until("it reads", async || world.notes.find(1).await.is_ok()).await;
    assert_eq!(world.db.number(reads).await, 0, "old may be read there");
    world.db.execute("UPDATE dualwrite_migration SET stage = 5, epoch = epoch + 1").await;
    until("it is recorded", async || world.db.number(reads).await == 1).await;
    let decision = world.migration.contract().check().await.unwrap();
    let text = format!("{decision:?}");
    assert!(text.contains("kind: Reads") && text.contains("a wrapper read old"), "{text}");
    world.runtime.shutdown().await.unwrap();
}

async fn a_window_that_is_not_over_refuses_it<D: Sql>(db: Scratch<D>) {
    let Over { db, operator } = over(db).await;
    // Ten minutes after the step to `Complete`.
    db.execute("UPDATE dualwrite_migration SET stage_at = stage_at + 6600000000").await;
    let decision = operator.contract("notes").check().await.unwrap();
    let text = format!("{decision:?}");
    for told in ["kind: Complete", "kind: RollbackWindow", "must last for", "is promised for"] {
        assert!(text.contains(told), "{told}: {text}");
    }
}
