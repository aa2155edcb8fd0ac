//! What a failed commit says: refused by the server, nothing was applied; or its answer never came, and nobody knows.

use dualwrite::{Error, ErrorKind, Stage};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{Notes, World, plain};
use crate::support::sql::Sql;

on_all_databases!(
    a_commit_whose_connection_is_ended_is_unknown_and_not_retryable,
    a_commit_that_the_database_refuses_is_known_to_be_so,
    a_transaction_that_ends_before_its_commit_is_retryable,
    a_conflict_that_has_only_a_number_is_retryable,
);

/// The session of a transaction.
async fn session<D: Sql>(tx: &mut dualwrite::Tx<'_, D::Db>) -> Option<String> {
    let sql = D::sql("", "SELECT pg_backend_pid()::text", "SELECT CAST(CONNECTION_ID() AS CHAR)");
    match sql.is_empty() {
        true => None,
        false => D::texts(tx, sql).await.unwrap().pop(),
    }
}

async fn end_session<D: Sql>(db: &Scratch<D>, session: &str) {
    match D::NAME {
        "postgres" => db.execute(&format!("SELECT pg_terminate_backend({session})")).await,
        _ => db.execute(&format!("KILL {session}")).await,
    }
}

fn is_unknown(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error}");
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("look whether it was applied"), "{error}");
}

async fn a_commit_whose_connection_is_ended_is_unknown_and_not_retryable<D: Sql>(db: Scratch<D>) {
    if D::NAME == "sqlite" {
        return; // its connection is a file
    }
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "never seen").await.unwrap();
    let session = session::<D>(&mut tx).await.unwrap();
    // What comes between the write and its commit is what the client cannot see: so nothing is asked in between.
    let mut nested = tx.begin().await.unwrap();
    world.notes.save(&mut nested, 2, "neither").await.unwrap();
    nested.commit().await.unwrap();
    world.notes.save(&mut tx, 1, "last").await.unwrap();
    end_session(&world.db, &session).await;
    is_unknown(&tx.commit().await.unwrap_err());
}

async fn a_commit_that_the_database_refuses_is_known_to_be_so<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    let deferred = D::sql(
        "CREATE TABLE child (id BIGINT, FOREIGN KEY (id) REFERENCES parent (id) \
         DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE child (id BIGINT CONSTRAINT child_parent REFERENCES parent (id) \
         DEFERRABLE INITIALLY DEFERRED)",
        "",
    );
    if deferred.is_empty() {
        return; // nothing is refused at a commit but by a cluster
    }
    world.db.execute(&format!("CREATE TABLE parent (id BIGINT PRIMARY KEY); {deferred}")).await;
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "gone with it").await.unwrap();
    D::run(&mut tx, "INSERT INTO child VALUES (4711)").await.unwrap();
    let refused = tx.commit().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Database, "{refused}");
    assert!(!refused.is_retryable(), "the same rows are refused again");
    assert!(refused.to_string().contains("nothing was applied"), "{refused}");
    let all = format!("{refused} {refused:?}");
    assert!(all.contains("foreign key") && !all.contains("4711"), "{all}");
    assert_eq!(
        world.db.number("SELECT count(*) FROM old_note WHERE word = 'gone with it'").await,
        0
    );
}

async fn a_transaction_that_ends_before_its_commit_is_retryable<D: Sql>(db: Scratch<D>) {
    if D::NAME != "postgres" {
        return; // elsewhere no round trip comes before the commit
    }
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "x").await.unwrap();
    let session = session::<D>(&mut tx).await.unwrap();
    end_session(&world.db, &session).await;
    // Statements went by that the library did not see: it asks whether the transaction is alive, before it commits.
    let ended = tx.commit().await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Database, "{ended}");
    assert!(ended.is_retryable() && ended.to_string().contains("nothing was committed"), "{ended}");
}

/// What MySQL and MariaDB have numbers of their own for: a row that changed since the snapshot, and a commit that
/// another node of a cluster was quicker than.
async fn a_conflict_that_has_only_a_number_is_retryable<D: Sql>(db: Scratch<D>) {
    if D::NAME != "mysql" {
        return; // elsewhere SQLSTATE says it
    }
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    for number in [1020, 1180] {
        world
            .db
            .execute(&format!(
                "CREATE TRIGGER conflict BEFORE INSERT ON new_note FOR EACH ROW \
                 SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}"
            ))
            .await;
        let error = world.migration.copy(&1_i64).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Serialization, "{number}: {error}");
        assert!(error.is_retryable());
        world.db.execute("DROP TRIGGER conflict").await;
    }
    assert_eq!(world.migration.dead_letters().await.unwrap().len(), 0);
}
