//! `MigrationTest`: a sample migration that is right passes, and each bug planted in it is found and named.

mod accounts;
mod by_closures;
mod cards;

use dualwrite::Stage;
use dualwrite::testing::{BugKind, MigrationBug};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

use accounts::Bug;

on_all_databases!(
    a_right_migration_between_tables_passes,
    a_right_migration_of_one_row_passes,
    a_right_migration_by_closures_passes,
    an_insert_only_copy_is_found,
    a_forgotten_delete_is_found,
    a_lossy_conversion_is_found,
    a_wrong_key_is_found,
    a_wrong_key_of_the_mark_is_found,
    an_update_only_write_is_found,
    a_counter_that_is_raised_twice_is_found,
    a_comparison_of_a_column_with_itself_is_found,
    an_incomplete_copy_is_found,
    a_wrong_answer_is_found,
    a_hidden_error_is_found,
    a_write_outside_of_the_transaction_is_found,
);

async fn a_right_migration_between_tables_passes<D: Sql>(db: Scratch<D>) {
    let service = accounts::Service::start(db, Bug::None).await;
    let report = service.test().try_run().await.unwrap_or_else(|bug| panic!("{bug}"));
    assert_eq!(report.untested, [""; 0]);
    assert!(report.operations > 150, "{report}");
    assert_eq!(service.migration.position().stage, Stage::Off, "there and back");
    service.runtime.shutdown().await.unwrap();
}

async fn a_right_migration_of_one_row_passes<D: Sql>(db: Scratch<D>) {
    let service = cards::Service::start(db, cards::Bug::None).await;
    let report = service.test().try_run().await.unwrap_or_else(|bug| panic!("{bug}"));
    assert_eq!(report.untested, [""; 0]);
    service.runtime.shutdown().await.unwrap();
}

async fn a_right_migration_by_closures_passes<D: Sql>(db: Scratch<D>) {
    let service = accounts::Service::start(db, Bug::None).await;
    let test = by_closures::test(&service, 0);
    let report = test.until(Stage::Live).try_run().await.unwrap_or_else(|bug| panic!("{bug}"));
    assert_eq!(report.untested, [""; 0]);
    service.runtime.shutdown().await.unwrap();
}

async fn a_wrong_key_of_the_mark_is_found<D: Sql>(db: Scratch<D>) {
    let service = accounts::Service::start(db, Bug::None).await;
    let found = by_closures::test(&service, 1000).try_run().await.unwrap_err();
    assert_eq!(found.kind, BugKind::WrongKey, "{found}");
    assert!(found.next_step.contains("`key = …`"), "{found}");
    service.runtime.shutdown().await.unwrap();
}

/// What the test finds.
async fn finds<D: Sql>(db: Scratch<D>, bug: Bug, kind: BugKind) -> Box<MigrationBug> {
    let service = accounts::Service::start(db, bug).await;
    let found = service.test().seed(bug as u64).try_run().await.expect_err("the bug");
    assert_eq!(found.kind, kind, "{bug:?}: {found}");
    assert!(!found.operations.is_empty());
    service.runtime.shutdown().await.unwrap();
    found
}

async fn again<D: Sql>(test: &str) -> Scratch<D> {
    D::fresh(test).await.unwrap()
}

async fn an_insert_only_copy_is_found<D: Sql>(db: Scratch<D>) {
    let found = finds(db, Bug::InsertOnlyCopy, BugKind::InsertOnlyCopy).await;
    assert!(found.to_string().contains("does the copy function overwrite a row"), "{found}");
}

async fn a_forgotten_delete_is_found<D: Sql>(db: Scratch<D>) {
    let found = finds(db, Bug::NoDelete, BugKind::ForgottenDelete).await;
    let text = found.to_string();
    assert!(text.contains("the new side still has the row that was deleted"), "{text}");
    assert!(text.contains("delete("), "{text}");
    finds(again::<D>("forgotten_in_copy").await, Bug::NoDeleteInCopy, BugKind::ForgottenDelete)
        .await;
}

async fn a_lossy_conversion_is_found<D: Sql>(db: Scratch<D>) {
    finds(db, Bug::LossyCopy, BugKind::LossyConversion).await;
    finds(again::<D>("lossy_write").await, Bug::LossyWrite, BugKind::LossyConversion).await;
}

async fn a_wrong_key_is_found<D: Sql>(db: Scratch<D>) {
    finds(db, Bug::WrongKeyInCopy, BugKind::WrongKey).await;
    finds(again::<D>("wrong_in_write").await, Bug::WrongKeyInWrite, BugKind::WrongKey).await;
}

async fn an_update_only_write_is_found<D: Sql>(db: Scratch<D>) {
    let found = finds(db, Bug::UpdateOnlyWrite, BugKind::UpdateOnlyWrite).await;
    assert!(found.to_string().contains("upsert"), "{found}");
}

async fn a_counter_that_is_raised_twice_is_found<D: Sql>(db: Scratch<D>) {
    let service = cards::Service::start(db, cards::Bug::TwoStatements).await;
    let found = service.test().try_run().await.unwrap_err();
    assert_eq!(found.kind, BugKind::DoubledWrite, "{found}");
    assert!(found.next_step.contains("one_row"), "{found}");
    assert_eq!(found.stage, Stage::DualWrite);
    service.runtime.shutdown().await.unwrap();
}

async fn a_comparison_of_a_column_with_itself_is_found<D: Sql>(db: Scratch<D>) {
    let service = cards::Service::start(db, cards::Bug::Blind).await;
    let found = service.test().try_run().await.unwrap_err();
    assert_eq!(found.kind, BugKind::BlindComparison, "{found}");
    service.runtime.shutdown().await.unwrap();
    let found =
        finds(again::<D>("blind_copy").await, Bug::BlindCopy, BugKind::BlindComparison).await;
    assert!(found.found.contains("a verification finds no difference"), "{found}");
    let found =
        finds(again::<D>("blind_read").await, Bug::BlindRead, BugKind::BlindComparison).await;
    assert!(found.found.contains("the shadow comparison of its read counts as equal"), "{found}");
}

async fn an_incomplete_copy_is_found<D: Sql>(db: Scratch<D>) {
    finds(db, Bug::IncompleteCopy, BugKind::IncompleteCopy).await;
}

async fn a_wrong_answer_is_found<D: Sql>(db: Scratch<D>) {
    finds(db, Bug::WrongAnswer, BugKind::FalseDifference).await;
}

async fn a_hidden_error_is_found<D: Sql>(db: Scratch<D>) {
    finds(db, Bug::HiddenError, BugKind::HiddenError).await;
}

/// Of SQLite it would wait for its own transaction.
async fn a_write_outside_of_the_transaction_is_found<D: Sql>(db: Scratch<D>) {
    match D::NAME {
        "sqlite" => drop(db),
        _ => drop(finds(db, Bug::OutsideTransaction, BugKind::HiddenError).await),
    }
}
