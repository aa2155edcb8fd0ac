//! The fence in transactions that somebody else began, and ends.

use dualwrite::{Error, ErrorKind, Migration, Stage, Tx};
use sqlx::Transaction;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{FAILS, Notes as _, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::{somebody_waits, until};

on_all_databases!(
    what_is_written_is_stored_with_the_owners_commit_or_not_at_all,
    what_is_dropped_or_fails_is_undone_and_the_rest_goes_on,
    a_stage_change_waits_for_the_owner,
    an_instance_that_missed_a_change_writes_under_the_stage_in_force,
    a_snapshot_from_before_a_stage_change_is_refused,
    a_transaction_that_was_begun_for_one_statement_at_a_time_sees_the_change,
    the_fence_comes_before_the_first_lock_where_that_is_known,
    an_end_under_the_fence_is_noticed,
    an_ended_transaction_gets_no_fence,
    what_the_owner_writes_afterwards_is_recorded,
    a_nested_one_is_undone_alone,
    an_unknown_migration_is_named,
);

type Owned<D> = Transaction<'static, <D as crate::support::db::TestDb>::Db>;

async fn owned<D: Sql>(world: &World<D>) -> Owned<D> {
    world.db.pool().begin().await.unwrap()
}

async fn run<D: Sql>(owned: &mut Owned<D>, sql: &str) -> Result<(), sqlx::Error> {
    D::run_on(&mut **owned, sql).await
}

async fn adopt<'t, D: Sql>(owned: &'t mut Owned<D>, world: &World<D>) -> Tx<'t, D::Db> {
    Tx::adopt(owned, &[&world.migration]).await.unwrap()
}

async fn what_is_written_is_stored_with_the_owners_commit_or_not_at_all<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    for (id, keeps) in [(1, true), (2, false), (3, true)] {
        let mut owner = owned(&world).await;
        let mut tx = adopt(&mut owner, &world).await;
        assert_eq!(tx.position(&world.migration).unwrap().stage, Stage::DualWrite);
        world.notes.save(&mut tx, id, &format!("word {id}")).await.unwrap();
        tx.commit().await.unwrap();
        let sql = format!("INSERT INTO new_note (id, word) VALUES (1{id}, 'of the owner')");
        run::<D>(&mut owner, &sql).await.unwrap();
        // Once more in the same transaction, which has written meanwhile.
        let mut tx = adopt(&mut owner, &world).await;
        world.notes.save(&mut tx, 20 + id, "again").await.unwrap();
        tx.commit().await.unwrap();
        match keeps {
            true => owner.commit().await.unwrap(),
            false => owner.rollback().await.unwrap(),
        }
    }
    let [old, new] = world.words().await;
    assert_eq!(old, ["word 1", "word 3", "again", "again"]);
    let owners = ["word 1", "word 3", "of the owner", "of the owner", "again", "again"];
    assert_eq!(new, owners);
    world.save(4, "of the library").await;
}

async fn what_is_dropped_or_fails_is_undone_and_the_rest_goes_on<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    for (id, how) in ["dropped", "rolled back", "failed"].into_iter().enumerate() {
        let mut owner = owned(&world).await;
        let mut tx = adopt(&mut owner, &world).await;
        if how == "failed" {
            world.old_mood.store(FAILS, std::sync::atomic::Ordering::SeqCst);
            world.notes.save(&mut tx, 1, "never").await.unwrap_err();
            world.old_mood.store(0, std::sync::atomic::Ordering::SeqCst);
            let error = tx.commit().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
        } else {
            world.notes.save(&mut tx, 1, "never").await.unwrap();
            match how {
                "dropped" => drop(tx),
                _ => tx.rollback().await.unwrap(),
            }
        }
        let id = 10 + id;
        let sql = format!("INSERT INTO old_note (id, word) VALUES ({id}, '{how}')");
        run::<D>(&mut owner, &sql).await.unwrap();
        owner.commit().await.unwrap();
    }
    let [old, new] = world.words().await;
    assert_eq!(old, ["dropped", "rolled back", "failed"]);
    assert_eq!(new, [""; 0]);
    world.save(4, "fine").await;
}

async fn a_stage_change_waits_for_the_owner<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::Off, db).await;
    let mut owner = owned(&world).await;
    let mut tx = adopt(&mut owner, &world).await;
    world.notes.save(&mut tx, 1, "before").await.unwrap();
    tx.commit().await.unwrap();
    let migration = world.migration.clone();
    let advance = tokio::spawn(async move { migration.advance(Stage::DualWrite).await });
    until("the change waits, or does not", async || {
        D::NAME == "sqlite" || advance.is_finished() || somebody_waits(&world.db).await
    })
    .await;
    for id in 100..160 {
        let sql = format!("INSERT INTO old_note (id, word) VALUES ({id}, 'of the owner')");
        run::<D>(&mut owner, &sql).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(!advance.is_finished());
    owner.commit().await.unwrap();
    assert_eq!(advance.await.unwrap().unwrap().stage, Stage::DualWrite);
}

async fn elsewhere<D: Sql>(world: &World<D>) -> (dualwrite::Runtime<D::Db>, Migration) {
    // An instance that looks once an hour.
    let hour = std::time::Duration::from_secs(3600);
    let builder = dualwrite::Runtime::builder(world.db.pool().clone()).poll(hour).lease(hour * 4);
    let stale = builder.start().await.unwrap();
    let copy = crate::support::notes::CopyNotes::<D>::new();
    let migration = stale.migration("notes").backfill(copy).lazy().register().await.unwrap();
    (stale, migration)
}

async fn an_instance_that_missed_a_change_writes_under_the_stage_in_force<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::Off, db).await;
    let (stale, migration) = elsewhere(&world).await;
    world.migration.advance(Stage::DualWrite).await.unwrap();
    let mut owner = owned(&world).await;
    let tx = Tx::adopt(&mut owner, &[&migration]).await.unwrap();
    assert_eq!(tx.position(&migration).unwrap().stage, Stage::DualWrite);
    tx.commit().await.unwrap();
    owner.rollback().await.unwrap();
    stale.shutdown().await.unwrap();
}

/// Begins one whose level is the given one, where the database has levels.
async fn owned_at<D: Sql>(world: &World<D>, level: &str) -> Owned<D> {
    let mut conn = world.db.pool().acquire().await.unwrap();
    if D::NAME == "mysql" {
        let sql = format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}");
        D::run_on(&mut conn, &sql).await.unwrap();
    }
    let mut owner = Transaction::begin(conn, None).await.unwrap();
    if D::NAME == "postgres" {
        let sql = format!("SET TRANSACTION ISOLATION LEVEL {level}");
        run::<D>(&mut owner, &sql).await.unwrap();
    }
    owner
}

async fn a_snapshot_from_before_a_stage_change_is_refused<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::Off, db).await;
    let mut stage = Stage::Off;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        if D::NAME == "mysql" && level == "SERIALIZABLE" {
            continue; // what it reads it locks, and so reads as it is
        }
        let mut owner = owned_at(&world, level).await;
        run::<D>(&mut owner, "SELECT count(*) FROM old_note").await.unwrap();
        stage = stage.next().unwrap();
        world.migration.advance(stage).await.unwrap();
        let error = Tx::adopt(&mut owner, &[&world.migration]).await.unwrap_err();
        // On SQLite a heartbeat may write at that moment; nobody waits for it who has read already.
        let is_locked = D::NAME == "sqlite" && error.to_string().contains("code 5:");
        assert!(is_locked || error.kind() == ErrorKind::Serialization, "{level}: {error}");
        assert!(error.is_retryable());
        owner.rollback().await.unwrap();
        // Begun again it has the fence, before its first read and after it.
        let mut owner = owned_at(&world, level).await;
        adopt(&mut owner, &world).await.commit().await.unwrap();
        owner.rollback().await.unwrap();
        while let Err(error) = reads_and_writes(&world, level).await {
            assert!(D::NAME == "sqlite" && error.is_retryable(), "{level}: {error}");
        }
    }
    assert_eq!(world.words().await, [["seen"], ["seen"]]);
}

/// On SQLite it is refused where a heartbeat writes after the read.
async fn reads_and_writes<D: Sql>(world: &World<D>, level: &str) -> Result<(), Error> {
    let mut owner = owned_at(world, level).await;
    run::<D>(&mut owner, "SELECT count(*) FROM old_note").await.unwrap();
    let mut tx = Tx::adopt(&mut owner, &[&world.migration]).await?;
    world.notes.save(&mut tx, 1, "seen").await.unwrap();
    tx.commit().await.unwrap();
    owner.commit().await.unwrap();
    Ok(())
}

async fn a_transaction_that_was_begun_for_one_statement_at_a_time_sees_the_change<D: Sql>(
    db: Scratch<D>,
) {
    if D::NAME == "sqlite" {
        return; // it always has a snapshot
    }
    let world = World::at(Stage::Off, db).await;
    let mut owner = owned_at(&world, "READ COMMITTED").await;
    run::<D>(&mut owner, "SELECT count(*) FROM old_note").await.unwrap();
    world.migration.advance(Stage::DualWrite).await.unwrap();
    let mut tx = adopt(&mut owner, &world).await;
    world.notes.save(&mut tx, 1, "both").await.unwrap();
    tx.commit().await.unwrap();
    owner.commit().await.unwrap();
    assert_eq!(world.words().await, [["both"], ["both"]]);
}

async fn the_fence_comes_before_the_first_lock_where_that_is_known<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 2, plain).await;
    let writes = "UPDATE old_note SET word = 'x' WHERE id = 1";
    let locks = D::sql(writes, "SELECT id FROM old_note FOR SHARE", writes);
    for sql in [writes, locks] {
        let mut owner = owned(&world).await;
        run::<D>(&mut owner, sql).await.unwrap();
        match Tx::adopt(&mut owner, &[&world.migration]).await {
            Err(error) => {
                assert_eq!(D::NAME, "postgres", "{error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                assert!(error.to_string().contains("`Tx::adopt` right after `begin`"), "{error}");
            }
            Ok(tx) => {
                assert_ne!(D::NAME, "postgres");
                tx.commit().await.unwrap();
            }
        }
        // It is as it was.
        run::<D>(&mut owner, "UPDATE old_note SET word = 'y' WHERE id = 2").await.unwrap();
        owner.commit().await.unwrap();
    }
    assert_eq!(world.words().await[0][1], "y");
}

/// Statements that end a transaction.
fn ends<D: Sql>() -> &'static [&'static str] {
    match D::NAME {
        "sqlite" => &[
            "INSERT OR ROLLBACK INTO old_note VALUES (90, 'twice')",
            "ROLLBACK",
            "COMMIT",
            "ROLLBACK; BEGIN IMMEDIATE",
        ],
        "postgres" => &["ROLLBACK", "COMMIT", "ROLLBACK; BEGIN", "COMMIT AND CHAIN"],
        _ => &["ROLLBACK", "COMMIT", "CREATE TABLE made (id BIGINT)"],
    }
}

async fn an_end_under_the_fence_is_noticed<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    world.db.execute("INSERT INTO old_note VALUES (90, 'there')").await;
    for (id, end) in ends::<D>().iter().enumerate() {
        let id = i64::try_from(id).unwrap() + 1;
        for commits in [true, false] {
            if !commits && end.contains("BEGIN IMMEDIATE") {
                continue; // sqlx gives up on a savepoint that is not there, and nobody ends the other transaction
            }
            let mut owner = owned(&world).await;
            let mut tx = adopt(&mut owner, &world).await;
            world.notes.save(&mut tx, 30 + id, "before").await.unwrap();
            let _ = D::run(&mut tx, end).await;
            let _ = world.notes.save(&mut tx, 50 + id, "after").await;
            if commits {
                let error = tx.commit().await.expect_err(end);
                assert_eq!(error.kind(), ErrorKind::Poisoned, "{end}: {error}");
            } else {
                drop(tx);
            }
            // An owner who does not look, and one who does.
            let _ = match commits {
                true => owner.rollback().await,
                false => owner.commit().await,
            };
            world.db.execute("DROP TABLE IF EXISTS made").await;
        }
        for side in world.words().await {
            assert!(!side.contains(&"after".to_owned()), "{end}: {side:?}");
        }
        for again in 0..12 {
            world.save(100 + again, "fine").await;
        }
    }
}

async fn an_ended_transaction_gets_no_fence<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let fails = if D::NAME == "postgres" { "SELECT 1/0" } else { "COMMIT" };
    for end in ["ROLLBACK", fails] {
        let mut owner = owned(&world).await;
        let _ = run::<D>(&mut owner, end).await;
        let error = Tx::adopt(&mut owner, &[&world.migration]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned, "{end}: {error}");
    }
}

async fn what_the_owner_writes_afterwards_is_recorded<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    world.migration.install_trigger().await.unwrap();
    let mut owner = owned(&world).await;
    let mut tx = adopt(&mut owner, &world).await;
    D::run(&mut tx, "UPDATE old_note SET word = 'fenced' WHERE id = 1").await.unwrap();
    tx.commit().await.unwrap();
    let dirty = "SELECT CAST(count(*) AS CHAR(9)) FROM dualwrite_dirty";
    let mut tx = adopt(&mut owner, &world).await;
    assert_eq!(D::texts(&mut tx, dirty).await.unwrap()[0].trim(), "0");
    tx.commit().await.unwrap();
    run::<D>(&mut owner, "UPDATE old_note SET word = 'behind' WHERE id = 2").await.unwrap();
    let mut tx = adopt(&mut owner, &world).await;
    assert_eq!(D::texts(&mut tx, dirty).await.unwrap()[0].trim(), "1");
    tx.commit().await.unwrap();
    owner.commit().await.unwrap();
    let left = world.db.number("SELECT count(*) FROM dualwrite_fenced").await;
    assert_eq!(left, 0);
}

async fn a_nested_one_is_undone_alone<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let mut owner = owned(&world).await;
    let mut tx = adopt(&mut owner, &world).await;
    world.notes.save(&mut tx, 1, "outer").await.unwrap();
    let mut nested = tx.begin().await.unwrap();
    world.notes.save(&mut nested, 2, "inner").await.unwrap();
    nested.rollback().await.unwrap();
    tx.commit().await.unwrap();
    owner.commit().await.unwrap();
    assert_eq!(world.words().await, [["outer"], ["outer"]]);
}

async fn an_unknown_migration_is_named<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let test = dualwrite::testing::TestMigration::new("elsewhere").await.unwrap();
    let mut owner = owned(&world).await;
    let error = Tx::adopt(&mut owner, &[test.migration()]).await.unwrap_err();
    assert!(error.to_string().contains("elsewhere"), "{error}");
    adopt(&mut owner, &world).await.commit().await.unwrap();
    owner.commit().await.unwrap();
}
