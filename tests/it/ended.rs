//! Transactions that end before their commit: the server rolls one back and nobody looks at the error, or a
//! statement of the application ends it. What follows is not stored, and the commit says so.

use dualwrite::{ErrorKind, Isolation, MirrorPolicy, Stage, Tx};

use crate::support::db::{MySqlDb, Scratch, SqliteDb, TestDb, on_all_databases};
use crate::support::notes::{Notes, World, lazy};
use crate::support::sql::Sql;
use crate::support::wait::{somebody_waits, until};

on_all_databases!(
    a_commit_after_the_end_is_poisoned_and_dual_writes_after_it_are_not_stored,
    a_nested_commit_after_the_end_is_poisoned,
    an_end_inside_one_side_of_a_write_is_noticed,
    a_transaction_dropped_or_rolled_back_after_its_end_gives_its_connection_back,
    connections_of_dropped_transactions_are_used_again,
);

/// Statements that end a transaction, and fail or not. Each runs in a database of its own.
fn ends<D: TestDb>() -> &'static [&'static str] {
    match D::NAME {
        "sqlite" => &[
            "INSERT OR ROLLBACK INTO beside VALUES (1, 'twice')",
            "UPDATE OR ROLLBACK beside SET id = 2 WHERE id = 1",
            "DELETE FROM beside WHERE id = 3", // its trigger rolls back
            "ROLLBACK",
            "COMMIT",
            "ROLLBACK; BEGIN IMMEDIATE",
        ],
        "postgres" => {
            &["ROLLBACK", "COMMIT", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "ROLLBACK; BEGIN"]
        }
        _ => &[
            "ROLLBACK",
            "COMMIT",
            "COMMIT AND CHAIN",
            "BEGIN",
            "START TRANSACTION",
            "CREATE TABLE made (id BIGINT)",
            "ALTER TABLE beside ADD COLUMN more BIGINT",
            "TRUNCATE TABLE beside",
            "LOCK TABLES beside WRITE",
            "SET autocommit = 1; SELECT id FROM beside", // one more statement passes
        ],
    }
}

/// More of the same kinds, by other words. Some fail, and on PostgreSQL that spoils the transaction.
fn other_ends<D: TestDb>() -> &'static [&'static str] {
    match D::NAME {
        "sqlite" => &[
            "INSERT INTO once VALUES (1)", // its constraint says ON CONFLICT ROLLBACK
            "UPDATE once SET id = 1 WHERE id = 2",
            "SAVEPOINT s; INSERT OR ROLLBACK INTO beside VALUES (1, 'twice')",
            "END TRANSACTION",
            "COMMIT; BEGIN",
            "ROLLBACK; SAVEPOINT dualwrite",
        ],
        "postgres" => &[
            "ABORT",
            "END",
            "END AND CHAIN",
            "SAVEPOINT s; COMMIT; BEGIN; SAVEPOINT s",
            "COMMIT PREPARED 'nobody'",
            "PREPARE TRANSACTION 'ours'",
            "CALL ends_it()",
            "DO $$ BEGIN COMMIT; END $$",
        ],
        _ => &[
            "CALL ends_it()",
            "CALL ends_it_and_begins()",
            "PREPARE s FROM 'COMMIT'; EXECUTE s",
            "ROLLBACK AND CHAIN",
            "ROLLBACK; XA START 'ours'",
            "RENAME TABLE aside TO renamed",
            "CREATE VIEW made AS SELECT 1",
            "DROP TABLE IF EXISTS nothing",
            "ANALYZE TABLE beside",
            "SAVEPOINT s; CREATE TABLE made (id BIGINT)",
            "SAVEPOINT s; ROLLBACK; START TRANSACTION; SAVEPOINT s",
        ],
    }
}

/// What those need.
fn procedures<D: TestDb>() -> &'static [&'static str] {
    match D::NAME {
        "sqlite" => &[
            "CREATE TABLE once (id INTEGER PRIMARY KEY ON CONFLICT ROLLBACK)",
            "INSERT INTO once VALUES (1), (2)",
        ],
        "postgres" => &["CREATE PROCEDURE ends_it() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$"],
        _ => &[
            "CREATE TABLE aside (id BIGINT)",
            "CREATE PROCEDURE ends_it() COMMIT",
            "CREATE PROCEDURE ends_it_and_begins() BEGIN ROLLBACK; START TRANSACTION; END",
        ],
    }
}

async fn world<D: Sql>(db: Scratch<D>) -> World<D> {
    db.execute("CREATE TABLE beside (id BIGINT PRIMARY KEY, word VARCHAR(50))").await;
    db.execute("INSERT INTO beside VALUES (1, 'one'), (2, 'two'), (3, 'three')").await;
    if D::NAME == "sqlite" {
        let trigger = "CREATE TRIGGER refuses BEFORE DELETE ON beside WHEN OLD.id = 3 \
                       BEGIN SELECT RAISE(ROLLBACK, 'refused'); END";
        db.execute(trigger).await;
    }
    World::with(db, Stage::DualWrite, 0, lazy).await
}

async fn fresh<D: Sql>(test: &str) -> World<D> {
    world(D::fresh(test).await.unwrap_or_else(|| unreachable!("the first one was there"))).await
}

/// Both sides agree, nothing is there that was written after the end, and the pool is as it was.
async fn holds<D: Sql>(world: &World<D>, end: &str) {
    let [old, new] = world.words().await;
    assert_eq!(old, new, "{end}");
    assert!(!old.contains(&"after".to_owned()), "{end}: {old:?}");
    let raw = "SELECT count(*) FROM beside WHERE word = 'after'";
    // PostgreSQL ends no transaction by itself, and no session of it may be changed for longer than a
    // transaction, for a pooler may give it to somebody else.
    if D::NAME != "postgres" {
        assert_eq!(world.db.number(raw).await, 0, "{end}");
    }
    for id in 100..110 {
        world.save(id, "fine").await;
        world.db.execute(&format!("INSERT INTO beside (id, word) VALUES ({id}, 'fine')")).await;
    }
    world.migration.advance(Stage::Shadow).await.unwrap();
}

async fn a_commit_after_the_end_is_poisoned_and_dual_writes_after_it_are_not_stored<D: Sql>(
    db: Scratch<D>,
) {
    drop(db);
    for end in ends::<D>().iter().chain(other_ends::<D>()) {
        let world = fresh::<D>("an end").await;
        for sql in procedures::<D>() {
            D::run_on(&mut *world.db.pool().acquire().await.unwrap(), sql).await.unwrap();
        }
        let mut tx = world.begin().await;
        world.notes.save(&mut tx, 1, "before").await.unwrap();
        let _ = D::run(&mut tx, end).await;
        let _ = world.notes.save(&mut tx, 2, "after").await;
        let _ = D::run(&mut tx, "INSERT INTO beside (id, word) VALUES (50, 'after')").await;
        let _ = world.notes.save(&mut tx, 3, "after").await;
        let error = tx.commit().await.expect_err(end);
        assert_eq!(error.kind(), ErrorKind::Poisoned, "{end}: {error}");
        holds(&world, end).await;
    }
}

async fn a_nested_commit_after_the_end_is_poisoned<D: Sql>(db: Scratch<D>) {
    drop(db);
    for end in ends::<D>() {
        let world = fresh::<D>("a nested end").await;
        let mut tx = world.begin().await;
        world.notes.save(&mut tx, 1, "before").await.unwrap();
        let mut nested = tx.begin().await.unwrap();
        let _ = D::run(&mut nested, end).await;
        let _ = world.notes.save(&mut nested, 2, "after").await;
        let error = nested.commit().await.expect_err(end);
        assert_eq!(error.kind(), ErrorKind::Poisoned, "{end}: {error}");
        let _ = D::run(&mut tx, "INSERT INTO beside (id, word) VALUES (50, 'after')").await;
        let error = tx.commit().await.expect_err(end);
        assert_eq!(error.kind(), ErrorKind::Poisoned, "{end}: {error}");
        holds(&world, end).await;
    }
}

/// A repository whose new side also does something that it takes for unimportant.
struct Careless<D: Sql> {
    table: &'static str,
    end: Option<&'static str>,
    database: std::marker::PhantomData<D>,
}

impl<D: Sql> Notes<D::Db> for Careless<D> {
    async fn find(&self, _: i64) -> Result<Option<String>, sqlx::Error> {
        Ok(None)
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, id: i64, word: &str) -> Result<(), sqlx::Error> {
        if let Some(end) = self.end {
            let _ = D::run(tx, end).await;
        }
        let sql = format!("INSERT INTO {} (id, word) VALUES ({id}, '{word}')", self.table);
        D::run(tx, &sql).await.map(drop)
    }

    async fn remove(&self, _: &mut Tx<'_, D::Db>, _: i64) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

async fn an_end_inside_one_side_of_a_write_is_noticed<D: Sql>(db: Scratch<D>) {
    drop(db);
    if D::NAME == "postgres" {
        return; // only a COMMIT or ROLLBACK in the code of a side ends one there
    }
    for policy in [MirrorPolicy::MarkDirty, MirrorPolicy::Repeat, MirrorPolicy::Abort] {
        for end in ends::<D>() {
            let world = fresh::<D>("an end in a side").await;
            let registration = world.runtime.migration("careless");
            let copy = crate::support::notes::CopyNotes::<D>::new();
            let registration = registration.backfill(copy).lazy().mirror(policy);
            let migration = registration.register().await.unwrap();
            migration.advance(Stage::DualWrite).await.unwrap();
            let side = |table, end| Careless::<D> { table, end, database: Default::default() };
            let new = side("new_note", Some(*end));
            let notes =
                crate::support::notes::DualNotes::new(&migration, side("old_note", None), new);
            let mut tx = migration.begin(world.db.pool()).await.unwrap();
            let _ = notes.save(&mut tx, 1, "after").await;
            let error = tx.commit().await.expect_err(end);
            assert_eq!(error.kind(), ErrorKind::Poisoned, "{end}: {error}");
            let committed = "SELECT word FROM new_note";
            assert!(world.db.rows(committed).await.is_empty(), "{end}");
        }
    }
}

async fn a_transaction_dropped_or_rolled_back_after_its_end_gives_its_connection_back<D: Sql>(
    db: Scratch<D>,
) {
    drop(db);
    for end in ends::<D>() {
        for ending in 0..3 {
            let world = fresh::<D>("an end and a drop").await;
            let pool = world.db.another_pool(1).await;
            for _ in 0..3 {
                let mut tx = world.migration.begin(&pool).await.unwrap();
                let _ = D::run(&mut tx, end).await;
                match ending {
                    0 => drop(tx),
                    1 => drop(tx.rollback().await),
                    _ => drop(tx.begin().await.map(drop)),
                }
            }
            // Plain statements and transactions of the application.
            D::execute(&pool, "INSERT INTO beside (id, word) VALUES (90, 'fine')").await.unwrap();
            let mut tx = world.migration.begin(&pool).await.unwrap();
            world.notes.save(&mut tx, 1, "fine").await.unwrap();
            tx.commit().await.unwrap();
            drop(pool);
            holds(&world, end).await;
        }
    }
}

async fn connections_of_dropped_transactions_are_used_again<D: Sql>(db: Scratch<D>) {
    let world = world(db).await;
    let pool = world.db.another_pool(1).await;
    let session = D::sql("SELECT 1", "SELECT pg_backend_pid()", "SELECT CONNECTION_ID()");
    let before = D::rows(&pool, session).await.unwrap();
    for _ in 0..5 {
        let mut tx = world.migration.begin(&pool).await.unwrap();
        world.notes.save(&mut tx, 1, "dropped").await.unwrap();
        drop(tx);
        let mut tx = world.migration.begin(&pool).await.unwrap();
        let nested = tx.begin().await.unwrap();
        drop(nested);
        tx.rollback().await.unwrap();
        D::execute(&pool, "UPDATE beside SET word = 'plain'").await.unwrap();
    }
    assert_eq!(D::rows(&pool, session).await.unwrap(), before);
    assert!(world.words().await[0].is_empty());
}

/// A transaction that will lose a deadlock, because the other one has written more.
async fn lose_a_deadlock(world: &World<MySqlDb>, tx: &mut Tx<'static, sqlx::MySql>) {
    let rows: Vec<String> = (1_000..1_400).map(|id| format!("({id}, 'many')")).collect();
    let pool = world.db.another_pool(1).await;
    let mut other = pool.begin().await.unwrap();
    let run = async |other: &mut sqlx::MySqlConnection, sql: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(other).await.map(drop)
    };
    let many = format!("INSERT INTO beside (id, word) VALUES {}", rows.join(", "));
    run(&mut other, many).await.unwrap();
    run(&mut other, "UPDATE beside SET word = 'other' WHERE id = 2".to_owned()).await.unwrap();
    MySqlDb::run(tx, "UPDATE beside SET word = 'ours' WHERE id = 1").await.unwrap();
    let waiting = tokio::spawn(async move {
        let sql = "UPDATE beside SET word = 'other' WHERE id = 1".to_owned();
        run(&mut other, sql).await.unwrap();
        other.rollback().await.unwrap();
    });
    until("the other one waits", async || somebody_waits(&world.db).await).await;
    let lost = MySqlDb::run(tx, "UPDATE beside SET word = 'ours' WHERE id = 2").await;
    assert!(lost.unwrap_err().to_string().contains("1213"), "it is the victim");
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_deadlock_that_nobody_looks_at_stores_nothing() {
    let Some(db) = MySqlDb::fresh("a lost deadlock").await else { return };
    let world = world(db).await;
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "before").await.unwrap();
    lose_a_deadlock(&world, &mut tx).await;
    let _ = MySqlDb::run(&mut tx, "INSERT INTO beside (id, word) VALUES (50, 'after')").await;
    let _ = world.notes.save(&mut tx, 2, "after").await;
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    let mut tx = world.begin().await;
    lose_a_deadlock(&world, &mut tx).await;
    let error = tx.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert!(error.to_string().contains("handle that error and begin again"), "{error}");
    holds(&world, "a deadlock").await;
}

/// `innodb_snapshot_isolation` rolls back what meets a newer row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_snapshot_that_nobody_looks_at_stores_nothing() {
    let Some(db) = MySqlDb::fresh("a lost snapshot").await else { return };
    if db.rows("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'").await.is_empty() {
        return; // before MariaDB 10.6.18
    }
    let world = world(db).await;
    let isolation = Isolation::RepeatableRead;
    let mut tx = Tx::begin_at(world.db.pool(), &[&world.migration], isolation).await.unwrap();
    MySqlDb::run(&mut tx, "SET SESSION innodb_snapshot_isolation = 1").await.unwrap();
    world.notes.save(&mut tx, 1, "before").await.unwrap();
    MySqlDb::texts(&mut tx, "SELECT word FROM beside").await.unwrap();
    world.db.execute("UPDATE beside SET word = 'newer' WHERE id = 1").await;
    let lost = MySqlDb::run(&mut tx, "UPDATE beside SET word = 'ours' WHERE id = 1").await;
    assert!(lost.unwrap_err().to_string().contains("1020"));
    let _ = world.notes.save(&mut tx, 2, "after").await;
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    holds(&world, "a newer row").await;
}

/// A pool that has one connection, and no database without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_in_memory_outlives_a_transaction_that_rolled_back() {
    let Some(db) = SqliteDb::fresh("in memory").await else { return };
    drop(db);
    let options = sqlx::pool::PoolOptions::<sqlx::Sqlite>::new().max_connections(1);
    let pool = options.connect("sqlite::memory:").await.unwrap();
    let tables = "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL)";
    SqliteDb::execute(&pool, tables).await.unwrap();
    let runtime = dualwrite::Runtime::builder(pool.clone()).start().await.unwrap();
    let migration = runtime.migration("notes").register().await.unwrap();
    let insert = "INSERT OR ROLLBACK INTO old_note VALUES (1, 'one')";
    for round in 0..4 {
        let mut tx = migration.begin(&pool).await.unwrap();
        SqliteDb::run(&mut tx, insert).await.unwrap();
        SqliteDb::run(&mut tx, insert).await.unwrap_err();
        match round % 2 {
            0 => drop(tx),
            _ => assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned),
        }
    }
    SqliteDb::execute(&pool, insert).await.unwrap();
    assert_eq!(SqliteDb::rows(&pool, "SELECT id FROM old_note").await.unwrap().len(), 1);
    runtime.shutdown().await.unwrap();
}
