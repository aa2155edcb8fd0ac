//! What the catalogue says of a migration before its first row moves: findings, the refusal at `Off`, and the
//! gate of every later move forward.

use dualwrite::{
    CopySql, ErrorKind, Gate, OwnedKey, Runtime, Stage,
    copy::KeySource,
    preflight::{Finding, FindingLevel},
};

use crate::support::db::{MySqlDb, PostgresDb, Scratch, SqliteDb, TestDb, on_all_databases};

/// A copy function over `old_note` and `new_note`.
fn notes<D: TestDb, K: OwnedKey>() -> CopySql<D::Db, K> {
    CopySql::new(KeySource::table("old_note").column("id"))
        .new_source(KeySource::table("new_note").column("id"))
        .copying("INSERT INTO new_note SELECT n.id, n.word FROM {rows} n")
}

async fn tables<D: TestDb>(db: &Scratch<D>, key: &str) {
    for table in ["old_note", "new_note"] {
        db.execute(&format!("CREATE TABLE {table} (id {key}, word VARCHAR(50))")).await;
    }
}

fn names(findings: &[Finding]) -> Vec<(&str, FindingLevel, Option<&str>)> {
    findings
        .iter()
        .map(|found| (found.check.as_str(), found.level, found.column.as_deref()))
        .collect()
}

async fn a_key_type_that_cannot_be_kept_fails_the_registration_at_off<D: TestDb>(db: Scratch<D>) {
    let key = D::sql("REAL PRIMARY KEY", "POINT", "ENUM('b', 'a') PRIMARY KEY");
    tables(&db, key).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let error = runtime.migration("m").backfill(notes::<D, String>()).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!error.is_retryable());
    let text = error.to_string();
    for part in ["table `old_note`, column `id`", "table `new_note`"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    // It has not joined, and its name is free.
    assert!(runtime.get("m").is_err());
    assert_eq!(
        db.number("SELECT count(*) FROM dualwrite_acknowledgement WHERE migration = 'm'").await,
        0
    );
    runtime.shutdown().await.unwrap();
}

async fn a_later_instance_joins_and_forward_moves_wait<D: TestDb>(db: Scratch<D>) {
    tables(&db, "BIGINT NOT NULL PRIMARY KEY").await;
    let first = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = first.migration("m").backfill(notes::<D, i64>()).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    first.shutdown().await.unwrap();
    let second = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = second.migration("m").backfill(notes::<D, String>()).register().await.unwrap();
    let error = migration.advance(Stage::Shadow).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Blocked);
    let blocker = error.blockers().iter().find(|found| found.gate == Gate::Preflight).unwrap();
    assert!(blocker.reason.contains("table `old_note`, column `id`"), "{}", blocker.reason);
    let status = migration.status().await.unwrap();
    assert!(status.blockers.iter().any(|found| found.gate == Gate::Preflight));
    assert_eq!(status.preflight, migration.preflight().await.unwrap());
    migration.step_back(Stage::Off).await.unwrap();
    second.shutdown().await.unwrap();
}

async fn the_gate_looks_at_tables_that_were_made_since<D: TestDb>(db: Scratch<D>) {
    db.execute("CREATE TABLE old_note (id BIGINT NOT NULL PRIMARY KEY, word VARCHAR(50))").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("m").backfill(notes::<D, i64>()).register().await.unwrap();
    assert!(!migration.preflight().await.unwrap().complete);
    db.execute("CREATE TABLE new_note (id VARCHAR(20) NOT NULL PRIMARY KEY, word VARCHAR(50))")
        .await;
    let error = migration.advance(Stage::DualWrite).await.unwrap_err();
    assert!(error.blockers().iter().any(|found| found.gate == Gate::Preflight), "{error}");
    db.execute("DROP TABLE new_note").await;
    db.execute("CREATE TABLE new_note (id BIGINT NOT NULL PRIMARY KEY, word VARCHAR(50))").await;
    migration.advance(Stage::DualWrite).await.unwrap();
    assert!(migration.preflight().await.unwrap().complete);
    runtime.shutdown().await.unwrap();
}

async fn nullability_indexes_and_lengths_are_found<D: TestDb>(db: Scratch<D>) {
    db.execute("CREATE TABLE old_note (id VARCHAR(40), word VARCHAR(50))").await;
    db.execute("CREATE TABLE new_note (id VARCHAR(20) NOT NULL PRIMARY KEY, word VARCHAR(50))")
        .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("m").backfill(notes::<D, String>()).register().await.unwrap();
    let found = migration.preflight().await.unwrap().findings;
    let warned = |check| (check, FindingLevel::Warn, Some("id"));
    assert!(names(&found).contains(&warned("key_null")), "{found:?}");
    assert!(names(&found).contains(&warned("key_index")), "{found:?}");
    if D::NAME != "sqlite" {
        assert!(names(&found).contains(&warned("key_length")), "{found:?}");
    }
    runtime.shutdown().await.unwrap();
}

/// What a transaction did to it stays where that is rolled back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_transactions_is_refused_on_mysql() {
    for (altered, engine) in [("old_note", "MyISAM"), ("new_note", "Aria"), ("new_note", "MEMORY")]
    {
        let db = MySqlDb::fresh("preflight_engine").await.unwrap();
        tables(&db, "BIGINT NOT NULL PRIMARY KEY").await;
        db.execute(&format!("ALTER TABLE {altered} ENGINE = {engine}")).await;
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let notes = notes::<MySqlDb, i64>();
        let error = runtime.migration("m").backfill(notes).register().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains(&format!("table `{altered}`")) && text.contains(engine), "{text}");
        assert!(text.contains("ENGINE = InnoDB"), "{text}");
        runtime.shutdown().await.unwrap();
    }
}

/// Its operators take no domain of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_of_an_enum_is_refused_as_a_key_on_postgres() {
    let db = PostgresDb::fresh("preflight_enum").await.unwrap();
    db.execute("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN feeling AS mood").await;
    tables(&db, "feeling PRIMARY KEY").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let notes = notes::<PostgresDb, String>();
    let error = runtime.migration("m").backfill(notes).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("the type feeling has no order"), "{error}");
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_policies_may_hide_are_refused_on_postgres() {
    let db = PostgresDb::fresh("preflight_policies").await.unwrap();
    tables(&db, "BIGINT NOT NULL PRIMARY KEY").await;
    let role = format!("reader_{}", uuid::Uuid::new_v4().simple());
    db.execute(&format!(
        "CREATE ROLE {role}; GRANT ALL ON SCHEMA public TO {role};
         INSERT INTO old_note SELECT g, 'word' FROM generate_series(1, 9) g;
         GRANT ALL ON old_note, new_note TO {role};
         ALTER TABLE old_note ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON old_note USING (id < 5)"
    ))
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    runtime.shutdown().await.unwrap();
    db.execute(&format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")).await;
    let as_role: &'static str = Box::leak(format!("SET ROLE {role}").into_boxed_str());
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(5)
        .after_connect(move |conn, _| {
            Box::pin(async move { sqlx::raw_sql(as_role).execute(conn).await.map(drop) })
        })
        .connect(&db.url())
        .await
        .unwrap();
    let register = async || {
        let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
        let registered =
            runtime.migration("m").backfill(notes::<PostgresDb, i64>()).register().await;
        runtime.shutdown().await.unwrap();
        registered.map(drop)
    };
    let error = register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    for said in ["table `old_note`", "row-level security", "BYPASSRLS"] {
        assert!(error.to_string().contains(said), "{error}");
    }
    // What others may read says nothing.
    let another = format!("{role}_too");
    db.execute(&format!(
        "CREATE ROLE {another}; CREATE POLICY of_another ON old_note TO {another} USING (true)"
    ))
    .await;
    register().await.unwrap_err();
    // A policy that shows all rows hides none; one that restricts it may.
    db.execute(&format!("CREATE POLICY service ON old_note TO {role} USING (true)")).await;
    register().await.unwrap();
    db.execute("CREATE POLICY narrow ON old_note AS RESTRICTIVE USING (id > 2)").await;
    register().await.unwrap_err();
    pool.close().await;
    db.execute(&format!("DROP OWNED BY {role}, {another}; DROP ROLE {role}, {another}")).await;
}

on_all_databases!(
    a_key_type_that_cannot_be_kept_fails_the_registration_at_off,
    a_later_instance_joins_and_forward_moves_wait,
    the_gate_looks_at_tables_that_were_made_since,
    nullability_indexes_and_lengths_are_found,
);

/// A copy would fail on its first row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_the_role_lacks_are_named_on_postgres() {
    let Some(db) = PostgresDb::fresh("preflight_rights").await else { return };
    tables(&db, "BIGINT NOT NULL PRIMARY KEY").await;
    let role = format!("writer_{}", uuid::Uuid::new_v4().simple());
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    runtime.shutdown().await.unwrap();
    db.execute(&format!(
        "CREATE ROLE {role}; GRANT ALL ON SCHEMA public TO {role};
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
         REVOKE UPDATE, DELETE ON new_note FROM {role}"
    ))
    .await;
    let as_role: &'static str = Box::leak(format!("SET ROLE {role}").into_boxed_str());
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(5)
        .after_connect(move |conn, _| {
            Box::pin(async move { sqlx::raw_sql(as_role).execute(conn).await.map(drop) })
        })
        .connect(&db.url())
        .await
        .unwrap();
    assert_eq!(lacks::<PostgresDb>(&pool).await, "the role lacks UPDATE, DELETE on it");
    db.execute(&format!("GRANT UPDATE, DELETE ON new_note TO {role}")).await;
    assert_eq!(lacks::<PostgresDb>(&pool).await, "");
    pool.close().await;
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_the_role_lacks_are_named_on_mysql() {
    let Some(db) = MySqlDb::fresh("preflight_rights").await else { return };
    tables(&db, "BIGINT NOT NULL PRIMARY KEY").await;
    let user = format!("w{}", &uuid::Uuid::new_v4().simple().to_string()[..20]);
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    runtime.shutdown().await.unwrap();
    db.execute(&format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'writer'")).await;
    let all = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() \
               AND table_name <> 'new_note'";
    for table in db.rows(all).await.into_iter().flatten().flatten() {
        db.execute(&format!("GRANT ALL ON {table} TO '{user}'@'%'")).await;
    }
    db.execute(&format!("GRANT SELECT, INSERT ON new_note TO '{user}'@'%'")).await;
    let options: sqlx::mysql::MySqlConnectOptions = db.url().parse().unwrap();
    let options = options.username(&user).password("writer");
    let pool = sqlx::mysql::MySqlPoolOptions::new().max_connections(5).connect_with(options);
    let pool = pool.await.unwrap();
    assert_eq!(lacks::<MySqlDb>(&pool).await, "the role lacks UPDATE, DELETE on it");
    db.execute(&format!("GRANT UPDATE, DELETE ON new_note TO '{user}'@'%'")).await;
    assert_eq!(lacks::<MySqlDb>(&pool).await, "");
    pool.close().await;
    db.execute(&format!("DROP USER '{user}'@'%'")).await;
}

/// What the preflight says of rights that are missing.
async fn lacks<D: TestDb>(pool: &sqlx::Pool<D::Db>) -> String {
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let registered = runtime.migration("m").backfill(notes::<D, i64>()).register().await;
    let found = registered.unwrap().preflight().await.unwrap().findings;
    runtime.shutdown().await.unwrap();
    let rights = found.into_iter().find(|finding| finding.check == "rights");
    rights.map(|finding| finding.why).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sql_mode_that_cuts_or_pads_values_is_named_on_mysql() {
    let Some(db) = MySqlDb::fresh("preflight_sql_mode").await else { return };
    tables(&db, "CHAR(9) NOT NULL PRIMARY KEY").await;
    for (mode, wanted) in [
        ("STRICT_TRANS_TABLES", None),
        ("", Some("cuts values")),
        ("STRICT_ALL_TABLES,PAD_CHAR_TO_FULL_LENGTH", Some("PAD_CHAR_TO_FULL_LENGTH")),
    ] {
        let set: &'static str =
            Box::leak(format!("SET SESSION sql_mode = '{mode}'").into_boxed_str());
        let pool = sqlx::mysql::MySqlPoolOptions::new()
            .max_connections(4)
            .after_connect(move |conn, _| {
                Box::pin(async move { sqlx::Executor::execute(conn, set).await.map(drop) })
            })
            .connect(&db.url())
            .await
            .unwrap();
        let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
        let registered =
            runtime.migration("m").backfill(notes::<MySqlDb, String>()).register().await;
        let found = registered.unwrap().preflight().await.unwrap().findings;
        let said = found.iter().find(|finding| finding.check == "sql_mode");
        assert_eq!(said.is_some(), wanted.is_some(), "{mode}: {found:?}");
        let said = said.map(ToString::to_string).unwrap_or_default();
        assert!(wanted.is_none_or(|wanted| said.contains(wanted)), "{said}");
        runtime.shutdown().await.unwrap();
        pool.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_a_file_that_matter_are_named_on_sqlite() {
    use sqlx::sqlite::SqliteJournalMode::{Delete, Memory, Off, Wal};
    for (mode, level) in [
        (Wal, None),
        (Delete, Some(FindingLevel::Warn)),
        (Memory, Some(FindingLevel::Warn)),
        (Off, Some(FindingLevel::Refuse)),
    ] {
        let db = SqliteDb::fresh("preflight_journal").await.unwrap();
        tables(&db, "BIGINT NOT NULL PRIMARY KEY").await;
        db.execute("CREATE TRIGGER own AFTER DELETE ON old_note BEGIN SELECT 1; END").await;
        let file = db.rows("SELECT file FROM pragma_database_list()").await[0][0].clone().unwrap();
        db.pool().close().await;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).journal_mode(mode);
        let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_with(options);
        let runtime = Runtime::builder(pool.await.unwrap()).start().await.unwrap();
        let registered = runtime.migration("m").backfill(notes::<SqliteDb, i64>()).register().await;
        match level {
            Some(FindingLevel::Refuse) => {
                let error = registered.unwrap_err();
                assert!(error.to_string().contains("`journal_mode` is off"), "{error}");
            }
            level => {
                let found = registered.unwrap().preflight().await.unwrap().findings;
                let said = found.iter().find(|finding| finding.check == "journal_mode");
                assert_eq!(said.map(|finding| finding.level), level, "{mode:?}: {found:?}");
                assert!(
                    found.iter().any(|finding| finding.check == "recursive_triggers"),
                    "{found:?}"
                );
            }
        }
        runtime.shutdown().await.unwrap();
    }
}

/// It refuses the key that comes with a row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_new_always_numbers_is_named_on_postgres() {
    let Some(db) = PostgresDb::fresh("preflight_identity").await else { return };
    for (new, is_named) in [("ALWAYS", true), ("BY DEFAULT", false)] {
        db.execute(&format!(
            "CREATE TABLE old_note (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word varchar(50));
             CREATE TABLE new_note (id bigint GENERATED {new} AS IDENTITY PRIMARY KEY, word varchar(50))"
        ))
        .await;
        let runtime = Runtime::builder(db.another_pool(4).await).start().await.unwrap();
        let notes = notes::<PostgresDb, i64>();
        let migration = runtime.migration("m").backfill(notes).register().await.unwrap();
        let found = migration.preflight().await.unwrap().findings;
        let named = names(&found).contains(&("key_identity", FindingLevel::Warn, Some("id")));
        assert_eq!(named, is_named, "{found:?}");
        runtime.shutdown().await.unwrap();
        db.execute("DROP TABLE old_note, new_note").await;
    }
}

/// The server would write its next number in the place of the 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_zero_is_refused_where_new_numbers_its_rows_on_mysql() {
    let Some(db) = MySqlDb::fresh("preflight_zero").await else { return };
    tables(&db, "BIGINT NOT NULL PRIMARY KEY").await;
    db.execute("ALTER TABLE new_note MODIFY id BIGINT NOT NULL AUTO_INCREMENT").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration =
        runtime.migration("m").backfill(notes::<MySqlDb, i64>()).register().await.unwrap();
    let found = migration.preflight().await.unwrap().findings;
    assert!(names(&found).iter().all(|(check, ..)| *check != "key_zero"), "{found:?}");
    db.execute("INSERT INTO old_note VALUES (0, 'zero'), (1, 'one')").await;
    let closed = migration.advance(Stage::DualWrite).await.unwrap_err();
    assert_eq!(closed.blockers()[0].gate, Gate::Preflight, "{closed}");
    let refused = runtime.migration("n").backfill(notes::<MySqlDb, i64>()).register().await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    let text = refused.to_string();
    for part in ["table `new_note`, column `id`", "NO_AUTO_VALUE_ON_ZERO"] {
        assert!(text.contains(part), "{text}");
    }
    runtime.shutdown().await.unwrap();

    // As it says.
    let set = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')";
    let options: sqlx::mysql::MySqlConnectOptions = db.url().parse().unwrap();
    let pool = sqlx::mysql::MySqlPoolOptions::new()
        .max_connections(4)
        .after_connect(move |conn, _| {
            Box::pin(async move { sqlx::Executor::execute(conn, set).await.map(drop) })
        })
        .connect_with(options)
        .await
        .unwrap();
    let runtime = Runtime::builder(pool).start().await.unwrap();
    let migration =
        runtime.migration("m").backfill(notes::<MySqlDb, i64>()).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM new_note WHERE id = 0 AND word = 'zero'").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM new_note").await, 2);
    runtime.shutdown().await.unwrap();
}
