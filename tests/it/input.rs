//! Bad input is refused with an error that says what to do, and changes nothing.

use std::time::Duration;

use dualwrite::testing::TestMigration;
use dualwrite::{
    BoxError, BucketRule, Copied, CopyKeys, Epoch, Error, ErrorKind, Gate, Move, Percent, Runtime,
    Stage, Tx, copy::KeySource,
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, World, lazy, plain};
use crate::support::sql::Sql;

on_all_databases!(
    an_unknown_migration,
    an_illegal_move,
    a_lost_compare_and_set,
    a_control_table_of_a_newer_version,
    an_unreachable_database,
    a_key_of_the_wrong_type,
    registrations_that_cannot_work,
    names_and_limits_out_of_range,
    an_override_without_a_reason,
);

fn says(error: &Error, kind: ErrorKind, advice: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(advice), "{error}");
}

async fn an_unknown_migration<D: Sql>(db: Scratch<D>) {
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let error = runtime.get("customer-emial").unwrap_err();
    says(&error, ErrorKind::UnknownMigration, "register it first");
    assert_eq!(error.migration(), Some("customer-emial"));
}

async fn an_illegal_move<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let before = world.migration.position();
    let error = world.migration.advance(Stage::Live).await.unwrap_err();
    says(&error, ErrorKind::IllegalMove, "the next stage is shadow");
    let error = world.migration.rollback("?").await.unwrap_err();
    says(&error, ErrorKind::IllegalMove, "a step back to off is possible");
    let error = world.migration.readiness(Move::Advance(Stage::Off)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IllegalMove);
    assert_eq!(world.migration.refresh().await.unwrap(), before);
    assert!(!error.is_retryable());
}

async fn a_lost_compare_and_set<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let error = world.migration.advance(Stage::Shadow).expecting(Epoch(1)).await.unwrap_err();
    says(&error, ErrorKind::Conflict, "look at it and decide again");
    let epoch = world.migration.position().epoch;
    world.migration.advance(Stage::Shadow).expecting(epoch).await.unwrap();
}

async fn a_control_table_of_a_newer_version<D: Sql>(db: Scratch<D>) {
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    runtime.shutdown().await.unwrap();
    db.execute("UPDATE _dualwrite_migrations SET version = 99").await;
    let error = Runtime::builder(db.pool().clone()).start().await.unwrap_err();
    says(&error, ErrorKind::NewerControlTables, "upgrade dualwrite in this process");
}

async fn an_unreachable_database<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let pool = world.db.another_pool(1).await;
    pool.close().await;
    let error = world.migration.begin(&pool).await.unwrap_err();
    says(&error, ErrorKind::Database, "the control tables must be in the database");
    assert!(error.is_retryable());
    assert!(std::error::Error::source(&error).is_some());
}

async fn a_key_of_the_wrong_type<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let error = world.migration.copy("seven").await.unwrap_err();
    says(
        &error,
        ErrorKind::WrongKey,
        "the key of this call is text, and the copy function's is integer",
    );
}

/// A copy function whose key is a text.
struct CopyWords<D>(std::marker::PhantomData<D>);

impl<D: Sql> CopyKeys for CopyWords<D> {
    type Database = D::Db;
    type Key = String;

    fn source(&self) -> KeySource {
        KeySource::table("word").column("word")
    }

    async fn copy(&self, _: &mut Tx<'_, D::Db>, _: &[String]) -> Result<Copied, BoxError> {
        Ok(Copied::default())
    }
}

async fn registrations_that_cannot_work<D: Sql>(db: Scratch<D>) {
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    for name in ["", "Customer Email", "ümlaut", &"x".repeat(101)] {
        let error = runtime.migration(name).register().await.unwrap_err();
        says(&error, ErrorKind::InvalidInput, "use 1 to 100 of a-z, 0-9");
    }
    let error = runtime.migration("a").lazy().register().await.unwrap_err();
    says(&error, ErrorKind::Unsupported, "add `.backfill(…)`");
    let text = runtime.migration("a").backfill(CopyWords::<D>(std::marker::PhantomData));
    let error = text.buckets(BucketRule::Modulo).register().await.unwrap_err();
    says(&error, ErrorKind::WrongKey, "use BucketRule::Hash");
    runtime.migration("a").backfill(CopyNotes::<D>::new()).register().await.unwrap();
    let error = runtime.migration("a").register().await.unwrap_err();
    says(&error, ErrorKind::InvalidInput, "registered here already");
}

async fn names_and_limits_out_of_range<D: Sql>(db: Scratch<D>) {
    let builder = || Runtime::builder(db.pool().clone());
    let error = builder().release("x".repeat(101)).start().await.unwrap_err();
    says(&error, ErrorKind::InvalidInput, "1 to 100 bytes");
    let second = Duration::from_secs(1);
    let error = builder().lease(second).poll(second).start().await.unwrap_err();
    says(&error, ErrorKind::InvalidInput, "at least three polls long");
    let world = World::with(db, Stage::Off, 0, lazy).await;
    let error = world.migration.advance(Stage::DualWrite).by("x".repeat(101)).await.unwrap_err();
    says(&error, ErrorKind::InvalidInput, "the actor must have 1 to 100 bytes");
    for by in ["a\nb", "a\u{202e}b"] {
        let error = world.migration.advance(Stage::DualWrite).by(by).await.unwrap_err();
        says(&error, ErrorKind::InvalidInput, "the actor has control characters");
    }
    for name in [".", "..", "-x", "--help", "_", "a/b", "a\u{202e}", ""] {
        let error = world.runtime.migration(name).register().await.unwrap_err();
        says(&error, ErrorKind::InvalidInput, "is no name for a migration");
        assert!(!error.to_string().contains('\u{202e}'), "{error}");
    }
}

async fn an_override_without_a_reason<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Shadow, 0, plain).await;
    world.migration.backfill().run().await.unwrap();
    let live = || world.migration.advance(Stage::Live);
    let error = live().overriding(Gate::Verified).await.unwrap_err();
    says(&error, ErrorKind::InvalidInput, "add `.because(…)`");
    let error = live().overriding(Gate::Backfilled).because("haste").await.unwrap_err();
    says(&error, ErrorKind::InvalidInput, "protects data and cannot be overridden");
    live().overriding(Gate::Verified).because("checked by hand").await.unwrap();
    assert_eq!(world.migration.events().await.unwrap()[0].overridden, ["verified"]);
}

#[test]
fn percents_out_of_range() {
    says(&Percent::new(101).unwrap_err(), ErrorKind::InvalidInput, "between 0 and 100");
}

/// The control tables cannot be reached for longer than the lease: an answer would be a guess.
#[tokio::test]
async fn past_the_lease_the_stage_is_unknown() {
    let (test, hands) = TestMigration::with_manual_clock("notes").await.unwrap();
    let notes = crate::read::in_memory(test.migration());
    assert!(crate::read::word(&notes, 1).await.is_ok());
    hands.advance(dualwrite::defaults::LEASE + Duration::from_secs(1));
    let error = crate::read::word(&notes, 1).await.unwrap_err();
    let error = Error::find(&error).unwrap();
    says(error, ErrorKind::StageUnknown, "resume by themselves");
    assert!(error.is_retryable());
    test.send_heartbeat().await.unwrap();
    assert!(crate::read::word(&notes, 1).await.is_ok());
}
