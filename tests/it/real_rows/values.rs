//! Errors that are stored, logged or shown name codes, constraints, tables and columns; never the values of rows.

use dualwrite::{
    BoxError, Copied, CopyKeys, CopySql, Dual, DualTable as _, Error, ErrorKind, Runtime, Stage,
    Tx,
    copy::{ConvertColumns, KeySource},
};

use crate::support::db::{MySqlDb, PostgresDb, Scratch, SqliteDb, TestDb as _, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(
    letters_name_what_was_refused_and_no_values,
    an_error_of_the_callers_own_type_loses_only_what_the_driver_said,
    a_unique_value_that_is_taken_is_no_conversion_that_failed,
    a_column_or_table_that_is_missing_is_told,
);

async fn tables<D: Sql>(db: &Scratch<D>) {
    db.execute(
        "CREATE TABLE old_person (id BIGINT PRIMARY KEY, email VARCHAR(40), age VARCHAR(40));
         CREATE TABLE new_person (id BIGINT PRIMARY KEY, email VARCHAR(20) NOT NULL, \
         age BIGINT CHECK (age < 200))",
    )
    .await;
    let unique = "CREATE UNIQUE INDEX new_person_email ON new_person (email)";
    db.execute(unique).await;
    db.execute(
        "INSERT INTO new_person VALUES (900, 'PLANTED1', 1);
         INSERT INTO old_person VALUES (1, 'PLANTED1', '1'), (2, NULL, '2'), (3, 'c', '999'), (4, 'd', '4'), \
         (5, 'e', 'PLANTED5')",
    )
    .await;
    if D::NAME != "sqlite" {
        let long = "PLANTED-which-is-far-too-long";
        db.execute(&format!("INSERT INTO old_person VALUES (6, '{long}', '6')")).await;
    }
}

fn copy<D: Sql>() -> CopySql<D::Db, i64> {
    CopySql::new(KeySource::table("old_person").column("id")).copying(D::sql(
        "INSERT INTO new_person SELECT r.id, r.email, CASE WHEN r.age GLOB 'P*' THEN 500 ELSE r.age END \
         FROM {rows} r WHERE true ON CONFLICT (id) DO UPDATE SET email = excluded.email",
        "INSERT INTO new_person SELECT r.id, r.email, r.age::bigint FROM {rows} r \
         ON CONFLICT (id) DO UPDATE SET email = excluded.email",
        "INSERT INTO new_person SELECT r.id, r.email, r.age FROM {rows} r \
         ON DUPLICATE KEY UPDATE age = VALUES(age) + IF(new_person.email = VALUES(email), 0, \
         CAST(CONCAT('9', new_person.id) AS SIGNED) * 1000000)",
    ))
}

async fn letters_name_what_was_refused_and_no_values<D: Sql>(db: Scratch<D>) {
    tables(&db).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("people").backfill(copy::<D>()).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().run().await.unwrap();
    assert!(done.complete && done.failed >= 3, "{done:?}");
    let letters = migration.dead_letters().await.unwrap();
    let said = |key: &str| {
        let letter = letters.iter().find(|letter| letter.key == key);
        letter.map(|letter| letter.error.clone()).unwrap_or_default()
    };
    assert!(said("2").contains("NOT NULL") && said("2").contains("email"), "{letters:?}");
    assert!(said("3").contains("check"), "{letters:?}");
    if D::NAME != "mysql" {
        let unique = said("1");
        assert!(unique.contains("unique") && unique.contains("email"), "{letters:?}");
        assert!(!unique.contains("cannot be converted"), "{unique}");
    }
    let planted =
        db.rows("SELECT key_text FROM dualwrite_failure WHERE error LIKE '%PLANTED%'").await;
    assert!(planted.is_empty(), "{letters:?}");
    for key in [1_i64, 2, 5] {
        if let Err(error) = migration.copy(&key).await {
            let shown = format!("{error} {error:?} {error:#?}");
            assert!(!shown.contains("PLANTED"), "{shown}");
            assert!(!Error::without_values(&error).contains("PLANTED"));
            assert_eq!(error.kind(), ErrorKind::CopyFailed);
        }
    }
    let would = migration.backfill().dry_run().await.unwrap();
    assert!(!format!("{would:?}").contains("PLANTED"), "{would:?}");
    runtime.shutdown().await.unwrap();
}

/// A copy function that wraps what the driver said.
struct Wrapping<D: Sql>(std::marker::PhantomData<D>);

#[derive(Debug)]
struct Wrapped(sqlx::Error);

impl std::fmt::Display for Wrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "saving a person: {}", self.0)
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl<D: Sql> CopyKeys for Wrapping<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("old_person").column("id")
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        for key in keys {
            if *key == 1 {
                let twice = "INSERT INTO new_person VALUES (901, 'PLANTED1', 1)";
                D::run(tx, twice).await.map_err(Wrapped)?;
            }
            if *key == 4 {
                return Err("this person is blocked".into());
            }
        }
        Ok(Copied::default())
    }
}

async fn an_error_of_the_callers_own_type_loses_only_what_the_driver_said<D: Sql>(db: Scratch<D>) {
    tables(&db).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = Wrapping::<D>(std::marker::PhantomData);
    let migration = runtime.migration("people").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    let letters = migration.dead_letters().await.unwrap();
    let said = |key: &str| letters.iter().find(|letter| letter.key == key).unwrap().error.clone();
    assert_eq!(said("4"), "this person is blocked");
    let wrapped = said("1");
    assert!(wrapped.starts_with("saving a person: "), "{wrapped}");
    assert!(wrapped.contains("unique") && !wrapped.contains("PLANTED"), "{wrapped}");
    runtime.shutdown().await.unwrap();
}

#[derive(Dual)]
#[dual(table = "member", key = "id")]
struct Member {
    id: i64,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
}

async fn a_unique_value_that_is_taken_is_no_conversion_that_failed<D: Sql>(db: Scratch<D>)
where
    Member: ConvertColumns<D::Db>,
{
    db.execute(
        "CREATE TABLE member (id BIGINT PRIMARY KEY, email VARCHAR(40) NOT NULL, \
         email_address VARCHAR(40) UNIQUE);
         INSERT INTO member VALUES (1, 'PLANTED', NULL), (2, 'PLANTED', NULL), (3, 'c', NULL)",
    )
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration = runtime.migration("members").backfill(Member::copy_columns());
    let migration = registration.register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().run().await.unwrap();
    assert_eq!((done.migrated, done.failed), (2, 1));
    let letters = migration.dead_letters().await.unwrap();
    let said = &letters[0].error;
    assert!(said.contains("unique") && !said.contains("convert"), "{said}");
    assert!(!said.contains("PLANTED"), "{said}");
    runtime.shutdown().await.unwrap();
}

/// What a function raises may be anything: its text, its code, and the names that it gives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_functions_of_the_application_raise_is_not_repeated_on_postgres() {
    for (code, deferred) in [("23514", false), ("42703", false), ("42703", true), ("ZZ001", true)] {
        let db = PostgresDb::fresh("values_raised").await.unwrap();
        tables(&db).await;
        let kind = match deferred {
            true => {
                "CONSTRAINT TRIGGER judge AFTER INSERT ON new_person DEFERRABLE INITIALLY DEFERRED"
            }
            false => "TRIGGER judge BEFORE INSERT ON new_person",
        };
        db.execute(&format!(
            "DELETE FROM old_person WHERE id <> 4; INSERT INTO old_person VALUES (7, 'PLANTED7', '7');
             CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.email LIKE 'PLANTED%' THEN RAISE EXCEPTION USING ERRCODE = '{code}',
             MESSAGE = 'column \"' || NEW.email || '\"', CONSTRAINT = NEW.email, TABLE = NEW.email,
             COLUMN = NEW.email; END IF; RETURN NEW; END $$;
             CREATE {kind} FOR EACH ROW EXECUTE FUNCTION judge()"
        ))
        .await;
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let copy = copy::<PostgresDb>();
        let migration = runtime.migration("people").backfill(copy).register().await.unwrap();
        migration.advance(Stage::DualWrite).await.unwrap();
        let done = migration.backfill().run().await.unwrap();
        assert_eq!((done.migrated, done.failed), (1, 1), "{code}");
        let letters = migration.dead_letters().await.unwrap();
        assert_eq!(letters[0].key, "7");
        assert!(letters[0].error.contains(code), "{letters:?}");
        assert!(!letters[0].error.contains("PLANTED"), "{letters:?}");
        runtime.shutdown().await.unwrap();
    }
}

/// A trigger may give any number and any text: also those of a check that failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_signal_says_in_the_place_of_a_name_is_not_told_on_mysql() {
    let Some(db) = MySqlDb::fresh("real_rows::signal").await else { return };
    tables(&db).await;
    db.execute("DELETE FROM old_person").await;
    db.execute(
        "INSERT INTO old_person VALUES (1, 'PLANTED1', '11'), (2, 'PLANTED2', '12'), (3, 'PLANTED3', '13'), \
         (4, 'b', '999'), (5, 'PLANTED5', '15'), (6, 'PLANTED6', '16'), (7, 'PLANTED7', '17'), \
         (8, 'PLANTED8', '18'), (9, 'PLANTED9', '19')",
    )
    .await;
    let signal = |age: u8, state: &str, number: u16, text: &str| {
        format!(
            "IF NEW.age = {age} THEN SET said = CONCAT({text}); \
             SIGNAL SQLSTATE '{state}' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = said; END IF;"
        )
    };
    let check = "'CONSTRAINT `', NEW.email, '` failed for `d`.`new_person`'";
    let unique = "'Duplicate entry 1 for key ''', NEW.email, ''''";
    db.execute(&format!(
        "CREATE TRIGGER raising BEFORE INSERT ON new_person FOR EACH ROW BEGIN DECLARE said VARCHAR(128); {}{}{}{}{}{}{}{} END",
        signal(11, "23000", 4025, check),
        signal(12, "45000", 4025, check),
        signal(13, "45000", 1062, unique),
        // To the letter what the server would say.
        signal(15, "23000", 1062, unique),
        signal(16, "23000", 1048, "'Column ''', NEW.email, ''' cannot be null'"),
        signal(18, "42S22", 1054, "'Unknown column ''', NEW.email, ''' in ''SELECT'''"),
        signal(19, "42S02", 1146, "'Table ''d.', NEW.email, ''' doesn''t exist'"),
        signal(17, "22001", 1406, "'Data too long for column ''', NEW.email, ''' at row 1'"),
    ))
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    // The names of checks are those of the tables that the copy function names.
    let copy = copy::<MySqlDb>().new_source(KeySource::table("new_person").column("id")).removing(
        "DELETE FROM new_person WHERE {id} \
         AND NOT EXISTS (SELECT 1 FROM old_person o WHERE o.id = new_person.id)",
    );
    let migration = runtime.migration("people").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().run().await.unwrap();
    assert_eq!((done.complete, done.failed), (true, 9), "{done:?}");
    let letters = migration.dead_letters().await.unwrap();
    for letter in &letters {
        assert!(!letter.error.contains("PLANTED"), "{letter:?}");
        // The name of a check that the catalogue has is told.
        let named = letter.error.contains("constraint `new_person.age`");
        assert_eq!(named, letter.key == "4", "{letter:?}");
    }
    for key in [1_i64, 2, 3, 5, 6, 7, 8, 9] {
        let error = migration.copy(&key).await.unwrap_err();
        let shown = format!("{error} {error:?} {error:#?}");
        assert!(!shown.contains("PLANTED"), "{shown}");
    }
    runtime.shutdown().await.unwrap();
}

/// What the statements of the copy function name is no value.
async fn a_column_or_table_that_is_missing_is_told<D: Sql>(db: Scratch<D>) {
    tables(&db).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    for (number, (wrong, name)) in [
        ("INSERT INTO new_person (id, mispelt) SELECT r.id, r.email FROM {rows} r", "mispelt"),
        ("INSERT INTO nowhere SELECT r.id, r.email FROM {rows} r", "nowhere"),
        ("INSERT INTO new_person SELECT r.id, r.mispelt_too, 1 FROM {rows} r", "mispelt_too"),
    ]
    .into_iter()
    .enumerate()
    {
        let copy = CopySql::<D::Db, i64>::new(KeySource::table("old_person").column("id"));
        let registration = runtime.migration(format!("m{number}")).backfill(copy.copying(wrong));
        let migration = registration.register().await.unwrap();
        migration.advance(Stage::DualWrite).await.unwrap();
        let error = migration.copy(&4_i64).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(name), "{shown}");
        assert!(!shown.contains("PLANTED"), "{shown}");
    }
    runtime.shutdown().await.unwrap();
}

/// A trigger that makes a statement of a value: the database names that as if the statement did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_in_a_statement_of_a_trigger_is_not_told_on_postgres() {
    for statement in ["SELECT %I", "SELECT 1 FROM %I", "SELECT %I()", "SELECT 1::%I"] {
        let Some(db) = PostgresDb::fresh("real_rows::dynamic").await else { return };
        tables(&db).await;
        db.execute(&format!(
            "DELETE FROM old_person WHERE id <> 1; DELETE FROM new_person;
             CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             EXECUTE format('{statement}', NEW.email); RETURN NEW; END $$;
             CREATE TRIGGER judge BEFORE INSERT ON new_person FOR EACH ROW EXECUTE FUNCTION judge()"
        ))
        .await;
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let copy = copy::<PostgresDb>();
        let migration = runtime.migration("people").backfill(copy).register().await.unwrap();
        migration.advance(Stage::DualWrite).await.unwrap();
        assert_eq!(migration.backfill().run().await.unwrap().failed, 1, "{statement}");
        let letters = migration.dead_letters().await.unwrap();
        assert!(letters[0].error.contains("SQLSTATE 42"), "{letters:?}");
        let error = migration.copy(&1_i64).await.unwrap_err();
        let shown = format!("{letters:?} {error} {error:?} {error:#?}");
        assert!(!shown.contains("PLANTED"), "{shown}");
        runtime.shutdown().await.unwrap();
    }
}

/// What a trigger says by RAISE may be an expression, and look like what the database says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trigger_raises_is_not_told_on_sqlite() {
    for text in [
        "'no such table: ' || NEW.email",
        "'UNIQUE constraint failed: ' || NEW.email",
        "'cannot store TEXT value in INTEGER column ' || NEW.email",
    ] {
        let db = SqliteDb::fresh("real_rows::raise").await.unwrap();
        tables(&db).await;
        db.execute(&format!(
            "DELETE FROM old_person WHERE id <> 1; DELETE FROM new_person;
             CREATE TRIGGER judge BEFORE INSERT ON new_person BEGIN SELECT RAISE(ABORT, {text}); END"
        ))
        .await;
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let copy = copy::<SqliteDb>();
        let migration = runtime.migration("people").backfill(copy).register().await.unwrap();
        migration.advance(Stage::DualWrite).await.unwrap();
        assert_eq!(migration.backfill().run().await.unwrap().failed, 1, "{text}");
        let letters = migration.dead_letters().await.unwrap();
        let error = migration.copy(&1_i64).await.unwrap_err();
        let shown = format!("{letters:?} {error} {error:?} {error:#?}");
        assert!(!shown.contains("PLANTED"), "{shown}");
        runtime.shutdown().await.unwrap();
    }
}

/// The database says that there is no such table, by the value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_taken_for_a_name_is_not_told_on_postgres() {
    let Some(db) = PostgresDb::fresh("real_rows::regclass").await else { return };
    tables(&db).await;
    let copy = CopySql::<sqlx::Postgres, i64>::new(KeySource::table("old_person").column("id"))
        .copying(
            "INSERT INTO new_person SELECT r.id, 'x', r.email::regclass::oid::bigint FROM {rows} r",
        );
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("people").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let error = migration.copy(&1_i64).await.unwrap_err();
    let shown = format!("{error} {error:?} {error:#?}");
    assert!(shown.contains("42P01") && !shown.contains("PLANTED"), "{shown}");
    runtime.shutdown().await.unwrap();
}
