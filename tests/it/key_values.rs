//! Keys that a column of an accepted type holds and that are none, keys in several spellings, keys of several
//! columns, and keys that are read and never found again.

use dualwrite::{
    Backend, CopySql, Error, ErrorKind, Mapping, Migration, OwnedKey, Runtime, Stage, Tx,
    copy::KeySource, verify::KeyDifferenceKind,
};
use uuid::Uuid;

use crate::support::db::{Scratch, SqliteDb, TestDb, on_all_databases};
use crate::support::sql::Sql;
use crate::support::wait;

fn copier<D: TestDb, K: OwnedKey>(new: &str) -> CopySql<D::Db, K> {
    CopySql::new(KeySource::table("old_note").column("id"))
        .new_source(KeySource::table(new).column("id"))
        .copying(D::sql(
            "INSERT INTO new_note SELECT * FROM {rows} n WHERE true \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_note SELECT * FROM {rows} n \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_note SELECT * FROM {rows} n \
             ON DUPLICATE KEY UPDATE word = VALUES(word)",
        ))
        .removing(
            "DELETE FROM new_note WHERE {id} \
             AND NOT EXISTS (SELECT 1 FROM old_note o WHERE o.id = new_note.id)",
        )
        .compared_by(|| Mapping::new().column("word", "word"))
}

/// Tables whose key takes NULL.
async fn tables<D: TestDb>(db: &Scratch<D>, column: &str) {
    for table in ["old_note", "new_note"] {
        db.execute(&format!("CREATE TABLE {table} (id {column}, word VARCHAR(50))")).await;
        db.execute(&format!("CREATE UNIQUE INDEX {table}_id ON {table} (id)")).await;
    }
}

async fn begin<D: TestDb, K: OwnedKey>(db: &Scratch<D>) -> (Runtime<D::Db>, Migration) {
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration = runtime.migration("m").backfill(copier::<D, K>("new_note"));
    let migration = registration.register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    (runtime, migration)
}

fn is_named(error: &Error, held: &str) {
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::WrongKey, "{text}");
    assert!(!error.is_retryable());
    for part in ["table `old_note`", "column `id`", held] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(!text.contains("PLANTED"), "a value is in: {text}");
}

async fn a_row_without_a_key_is_named_by_backfill_and_verification<D: TestDb>(db: Scratch<D>) {
    tables(&db, "BIGINT").await;
    db.execute("INSERT INTO old_note VALUES (1, 'a'), (2, 'b')").await;
    let (runtime, migration) = begin::<D, i64>(&db).await;
    migration.backfill().run().await.unwrap();
    db.execute("INSERT INTO old_note VALUES (NULL, 'c')").await;
    is_named(&migration.verify().run().await.unwrap_err(), "NULL");
    is_named(&migration.verify().repair().run().await.unwrap_err(), "NULL");
    is_named(&migration.backfill().run().await.unwrap_err(), "NULL");

    // A backfill that runs in the background stops, and says so.
    migration.backfill().start("ops", "to see it halt").await.unwrap();
    let halted = wait::soon("the backfill halts", async || {
        let started = migration.status().await.unwrap().started.pop()?;
        started.halted.then_some(started)
    });
    let halted = halted.await;
    assert!(halted.waiting.is_some_and(|reason| reason.contains("holds NULL")));
    db.execute("DELETE FROM old_note WHERE id IS NULL").await;
    assert!(migration.verify().run().await.unwrap().is_clean());
    runtime.shutdown().await.unwrap();
}

/// New takes keys for equal that old does not: a row under another spelling is missing once, and is once too many.
async fn a_row_that_new_spells_otherwise_is_counted_once<D: TestDb>(db: Scratch<D>) {
    let (old, new) = match D::NAME {
        "postgres" => {
            db.execute(
                "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            )
            .await;
            ("text", "text COLLATE folded")
        }
        "mysql" => ("VARCHAR(20) COLLATE utf8mb4_bin", "VARCHAR(20) COLLATE utf8mb4_general_ci"),
        _ => ("TEXT", "TEXT COLLATE NOCASE"),
    };
    for (table, column) in [("old_note", old), ("new_note", new)] {
        let sql =
            format!("CREATE TABLE {table} (id {column} NOT NULL PRIMARY KEY, word VARCHAR(50))");
        db.execute(&sql).await;
    }
    db.execute("INSERT INTO old_note VALUES ('ab', 'a'), ('cd', 'b'), ('e', 'c')").await;
    let (runtime, migration) = begin::<D, String>(&db).await;
    migration.backfill().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
    db.execute("UPDATE new_note SET id = 'AB' WHERE id = 'ab'").await;
    let report = migration.verify().run().await.unwrap();
    let found = (report.missing_in_new, report.missing_in_old, report.differing, report.transient);
    assert_eq!(found, (1, 1, 2, 0), "{report:?}");
    assert_eq!(report.keys, ["\"ab\"", "\"AB\""]);
    runtime.shutdown().await.unwrap();
}

/// Two rows that are the same in all that is compared are copied as one.
async fn rows_that_have_one_key_are_not_called_clean<D: TestDb>(db: Scratch<D>) {
    for (table, more) in [("old_note", ""), ("new_note", "PRIMARY KEY")] {
        let sql = format!("CREATE TABLE {table} (id BIGINT NOT NULL {more}, word VARCHAR(50))");
        db.execute(&sql).await;
    }
    db.execute("INSERT INTO old_note VALUES (1, 'a'), (1, 'a'), (2, 'b')").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let source = |table| KeySource::table(table).column("id");
    let copy = CopySql::<D::Db, i64>::new(source("old_note"))
        .new_source(source("new_note"))
        .copying("INSERT INTO new_note SELECT DISTINCT n.id, n.word FROM {rows} n")
        .compared_by(|| Mapping::new().column("word", "word"));
    let migration = runtime.migration("m").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    let error = migration.verify().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKey, "{error}");
    for said in ["table `old_note`", "several rows have one key", "unique index"] {
        assert!(error.to_string().contains(said), "{error}");
    }
    assert!(migration.status().await.unwrap().verified.is_none());
    db.execute("DELETE FROM old_note WHERE id = 1; INSERT INTO old_note VALUES (1, 'a')").await;
    assert!(migration.verify().run().await.unwrap().is_clean());
    runtime.shutdown().await.unwrap();
}

/// Neither a primary key of several columns nor a descending one is the number of a row, so both take NULL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_no_number_of_a_row_take_null_on_sqlite() {
    let tables = [
        ("a", "a INTEGER, b INTEGER NOT NULL, word TEXT, PRIMARY KEY (a, b)"),
        ("id", "id INTEGER PRIMARY KEY DESC, b INTEGER, word TEXT"),
    ];
    for (number, (key, columns)) in tables.into_iter().enumerate() {
        let db = SqliteDb::fresh("key_values_null").await.unwrap();
        for table in ["old_note", "new_note"] {
            db.execute(&format!("CREATE TABLE {table} ({columns})")).await;
        }
        db.execute("INSERT INTO old_note VALUES (1, 1, 'a'), (NULL, 2, 'b'), (3, 3, 'c')").await;
        let source = |table| KeySource::table(table).column(key);
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let registration = runtime.migration("m");
        let copying = "INSERT INTO new_note SELECT * FROM {rows} n";
        let registration = match number {
            0 => registration.backfill(
                CopySql::<sqlx::Sqlite, (i64, i64)>::new(source("old_note").column("b"))
                    .new_source(source("new_note").column("b"))
                    .copying(copying),
            ),
            _ => registration.backfill(
                CopySql::<sqlx::Sqlite, i64>::new(source("old_note"))
                    .new_source(source("new_note"))
                    .copying(copying),
            ),
        };
        let migration = registration.register().await.unwrap();
        let warned = migration.preflight().await.unwrap().findings;
        assert!(warned.iter().any(|found| found.check == "key_null"), "{warned:?}");
        migration.advance(Stage::DualWrite).await.unwrap();
        let error = migration.backfill().run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongKey, "{error}");
        assert!(error.to_string().contains("holds NULL"), "{error}");
        runtime.shutdown().await.unwrap();
    }
}

async fn values_that_are_no_key_are_named<D: TestDb>(db: Scratch<D>) {
    // The column, a literal that is no key of that kind, what is said, and which kind.
    let wrong: &[(&str, &str, &str, char)] = match D::NAME {
        "postgres" => &[
            ("bytea", "'\\xff'", "bytes that are no UTF-8", 't'),
            ("numeric", "1.5", "no integer of 64 bits", 'i'),
            ("numeric", "'NaN'", "no integer of 64 bits", 'i'),
            ("text", "'6BA7B810-9DAD-11D1-80B4-00C04FD430C8'", "small letters", 'u'),
            ("text", "'PLANTED'", "no UUID", 'u'),
            ("bytea", "'\\x00ff'", "bytes", 'u'),
        ],
        "mysql" => &[
            ("VARBINARY(20)", "X'ff'", "bytes that are no UTF-8", 't'),
            ("DECIMAL(10,2)", "1.5", "no integer of 64 bits", 'i'),
            ("BIGINT UNSIGNED", "18446744073709551615", "above 9223372036854775807", 'i'),
            (
                "CHAR(36) COLLATE utf8mb4_bin",
                "'6BA7B810-9DAD-11D1-80B4-00C04FD430C8'",
                "small letters",
                'u',
            ),
            ("VARBINARY(20)", "'PLANTED'", "a text", 'u'),
        ],
        _ => &[
            ("TEXT", "CAST(X'ff' AS TEXT)", "bytes that are no UTF-8", 't'),
            ("BLOB", "7", "an integer", 't'),
            ("INTEGER", "'PLANTED'", "a text", 'i'),
            ("NUMERIC", "1.5", "the type REAL", 'i'),
            ("TEXT", "'PLANTED'", "no UUID", 'u'),
        ],
    };
    for (column, literal, held, kind) in wrong {
        let pool = db.another_pool(5).await;
        tables(&db, &format!("{column} NOT NULL")).await;
        db.execute(&format!("INSERT INTO old_note VALUES ({literal}, 'a')")).await;
        let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
        let name = format!("m{}", Uuid::new_v4().simple());
        let registration = runtime.migration(name);
        let registration = match kind {
            't' => registration.backfill(copier::<D, String>("new_note")),
            'u' => registration.backfill(copier::<D, Uuid>("new_note")),
            _ => registration.backfill(copier::<D, i64>("new_note")),
        };
        let migration = registration.register().await.unwrap();
        migration.advance(Stage::DualWrite).await.unwrap();
        is_named(&migration.backfill().run().await.unwrap_err(), held);
        runtime.shutdown().await.unwrap();
        pool.close().await;
        for table in ["old_note", "new_note"] {
            db.execute(&format!("DROP TABLE {table}")).await;
        }
    }
}

/// A row of new that is there for whoever looks without a fence, and for nobody under one.
async fn haunt<D: TestDb>(db: &Scratch<D>) {
    let fence = db.number("SELECT fence FROM dualwrite_migration WHERE name = 'm'").await;
    let free = match D::NAME {
        "postgres" => {
            format!("COALESCE(current_setting('dualwrite.fenced_{fence}', true), '') <> '1'")
        }
        _ => "NOT EXISTS (SELECT 1 FROM dualwrite_fenced)".to_owned(),
    };
    db.execute("DROP VIEW new_seen").await;
    db.execute(&format!(
        "CREATE VIEW new_seen AS SELECT id, word FROM new_note \
         UNION ALL SELECT 999 AS id, 'ghost' AS word WHERE {free}"
    ))
    .await;
}

async fn a_key_that_is_read_and_never_found_is_unexplained<D: TestDb>(db: Scratch<D>) {
    tables(&db, "BIGINT NOT NULL").await;
    db.execute("INSERT INTO old_note VALUES (1, 'a'), (2, 'b')").await;
    db.execute("CREATE VIEW new_seen AS SELECT id, word FROM new_note").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = copier::<D, i64>("new_seen");
    let migration = runtime.migration("m").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.install_trigger().await.unwrap();
    migration.backfill().run().await.unwrap();
    let clean = migration.verify().run().await.unwrap();
    assert!(clean.is_clean() && clean.proven, "{clean:?}");
    haunt(&db).await;
    let report = migration.verify().run().await.unwrap();
    assert_eq!((report.unexplained, report.differing, report.transient), (1, 1, 0), "{report:?}");
    assert!(!report.is_clean() && !report.proven);
    assert_eq!(report.differences[0].kind, KeyDifferenceKind::Unexplained);
    assert_eq!(report.keys, ["999"]);
    runtime.shutdown().await.unwrap();
}

#[dualwrite::repository]
trait Words<DB: Backend> {
    #[read(key = id)]
    async fn find(&self, id: &str) -> Result<Option<String>, sqlx::Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, id: &str, word: &str) -> Result<(), sqlx::Error>;
}

/// One side; new refuses the word `refused`.
struct Side<D: Sql> {
    table: &'static str,
    pool: sqlx::Pool<D::Db>,
}

impl<D: Sql> Words<D::Db> for Side<D> {
    async fn find(&self, id: &str) -> Result<Option<String>, sqlx::Error> {
        let sql = format!("SELECT word FROM {} WHERE id = '{id}'", self.table);
        Ok(D::rows(&self.pool, &sql).await?.pop().and_then(|mut row| row.pop().flatten()))
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, id: &str, word: &str) -> Result<(), sqlx::Error> {
        if self.table == "new_note" && word == "refused" {
            return Err(sqlx::Error::RowNotFound);
        }
        let sql = format!("UPDATE {} SET word = '{word}' WHERE id = '{id}'", self.table);
        D::run(tx, &sql).await.map(drop)
    }
}

async fn a_key_in_another_spelling_is_the_same_key<D: Sql>(db: Scratch<D>) {
    let columns: &[(&str, &str)] = match D::NAME {
        "postgres" => &[("char(5)", "Ab  ")],
        "mysql" => &[
            ("CHAR(5)", "aB "),
            ("VARCHAR(20)", "AB"),
            ("VARCHAR(20) COLLATE utf8mb4_bin", "Ab  "),
            ("VARCHAR(20) CHARACTER SET latin1", "ab "),
        ],
        _ => &[("TEXT COLLATE NOCASE", "aB"), ("TEXT COLLATE RTRIM", "Ab  ")],
    };
    for (number, (column, spelling)) in columns.iter().enumerate() {
        let pool = db.another_pool(5).await;
        tables(&db, &format!("{column} NOT NULL")).await;
        db.execute("INSERT INTO old_note VALUES ('Ab', 'a'), ('x', 'b')").await;
        let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
        let registration =
            runtime.migration(format!("m{number}")).backfill(copier::<D, String>("new_note"));
        let migration = registration.register().await.unwrap();
        migration.advance(Stage::DualWrite).await.unwrap();
        migration.backfill().run().await.unwrap();
        let side = |table| Side::<D> { table, pool: pool.clone() };
        let words = DualWords::new(&migration, side("old_note"), side("new_note"));

        // A mirror write fails under the other spelling; the row is copied under its own.
        let mut tx = migration.begin(&pool).await.unwrap();
        words.save(&mut tx, spelling, "refused").await.unwrap();
        tx.commit().await.unwrap();
        migration.repair().await.unwrap();
        let row = db.rows("SELECT id, word FROM new_note WHERE word = 'refused'").await;
        let id = row[0][0].as_deref().unwrap_or_default().trim_end();
        assert_eq!((row.len(), id), (1, "Ab"), "{column}");
        assert_eq!(db.number("SELECT count(*) FROM dualwrite_dirty").await, 0, "{column}");
        assert!(migration.copy(*spelling).await.unwrap());
        assert!(migration.verify().run().await.unwrap().is_clean(), "{column}");

        // One key, one side: while the ramp runs, all spellings are answered by the same.
        migration.advance(Stage::Shadow).await.unwrap();
        db.execute("UPDATE new_note SET word = 'new'").await;
        for percent in [10, 30, 50, 70, 90] {
            migration.ramp_to(dualwrite::Percent::new(percent).unwrap()).await.unwrap();
            let answers = [words.find("Ab").await.unwrap(), words.find(spelling).await.unwrap()];
            assert_eq!(answers[0], answers[1], "{column} at {percent} %");
        }
        migration.rollback("the end of the test").await.unwrap();
        runtime.shutdown().await.unwrap();
        pool.close().await;
        for table in ["old_note", "new_note"] {
            db.execute(&format!("DROP TABLE {table}")).await;
        }
    }
}

async fn keys_of_several_columns_arrive<D: TestDb>(db: Scratch<D>) {
    let columns = D::sql(
        "a TEXT COLLATE NOCASE NOT NULL, b INTEGER NOT NULL",
        "a char(4) NOT NULL, b numeric(9,0) NOT NULL",
        "a CHAR(4) NOT NULL, b DECIMAL(9,0) NOT NULL",
    );
    for table in ["old_note", "new_note"] {
        let sql = format!("CREATE TABLE {table} ({columns}, word VARCHAR(50), PRIMARY KEY (a, b))");
        db.execute(&sql).await;
    }
    for number in 0..30 {
        let key = format!("'{}', {number}", ["a", "B", "cd", "a b"][number % 4]);
        db.execute(&format!("INSERT INTO old_note VALUES ({key}, 'word {number}')")).await;
    }
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let source = |table| KeySource::table(table).column("a").column("b");
    let copy = CopySql::<D::Db, (String, i64)>::new(source("old_note"))
        .new_source(source("new_note"))
        .copying(D::sql(
            "INSERT INTO new_note SELECT * FROM {rows} n WHERE true \
             ON CONFLICT (a, b) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_note SELECT * FROM {rows} n \
             ON CONFLICT (a, b) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_note SELECT * FROM {rows} n ON DUPLICATE KEY UPDATE word = VALUES(word)",
        ))
        .removing(
            "DELETE FROM new_note WHERE {a, b} AND NOT EXISTS \
             (SELECT 1 FROM old_note o WHERE o.a = new_note.a AND o.b = new_note.b)",
        )
        .compared_by(|| Mapping::new().column("word", "word"));
    let migration = runtime.migration("m").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.install_trigger().await.unwrap();
    migration.backfill().batch(4).run().await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM new_note").await, 30);
    db.execute("UPDATE old_note SET word = 'changed' WHERE b < 5").await;
    db.execute("DELETE FROM old_note WHERE b > 25").await;
    migration.repair().await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM new_note WHERE word = 'changed'").await, 5);
    assert_eq!(db.number("SELECT count(*) FROM new_note").await, 26);
    let report = migration.verify().batch(7).run().await.unwrap();
    assert!(report.is_clean() && report.compared == 26 && report.transient == 0, "{report:?}");
    runtime.shutdown().await.unwrap();
}

/// A write by closures, which says how often a side was asked.
async fn save<D: Sql>(
    migration: &Migration,
    tx: &mut Tx<'_, D::Db>,
    key: u64,
) -> (u32, Option<sqlx::Error>) {
    let mut asked = 0;
    let write = migration.write("save", tx, &key);
    let write = write.old(|mut tx| {
        asked += 1;
        let sql = format!("INSERT INTO old_note VALUES ({key}, 'written')");
        Box::pin(async move { D::run_on(&mut tx, &sql).await })
    });
    let write = write.new(|mut tx| {
        let sql = format!("INSERT INTO new_note VALUES ({key}, 'written')");
        Box::pin(async move { D::run_on(&mut tx, &sql).await })
    });
    let error = write.uncompared().run().await.err();
    (asked, error)
}

async fn an_unsigned_key_that_no_control_table_holds_is_refused<D: Sql>(db: Scratch<D>) {
    tables(&db, "BIGINT").await;
    let (runtime, migration) = begin::<D, u64>(&db).await;
    let largest = i64::MAX as u64;
    let mut tx = migration.begin(db.pool()).await.unwrap();
    let (asked, error) = save::<D>(&migration, &mut tx, largest).await;
    assert_eq!((asked, error.is_none()), (1, true));
    tx.commit().await.unwrap();
    for key in [largest + 1, u64::MAX] {
        let mut tx = migration.begin(db.pool()).await.unwrap();
        let (asked, error) = save::<D>(&migration, &mut tx, key).await;
        let error = error.unwrap();
        let error = Error::find(&error).unwrap();
        assert_eq!((asked, error.kind()), (0, ErrorKind::WrongKey), "{error}");
        for said in ["above 9223372036854775807", "another column", "migration `m`"] {
            assert!(error.to_string().contains(said), "{error}");
        }
    }
    assert!(migration.verify().run().await.unwrap().is_clean());
    runtime.shutdown().await.unwrap();
}

on_all_databases!(
    rows_that_have_one_key_are_not_called_clean,
    a_row_that_new_spells_otherwise_is_counted_once,
    an_unsigned_key_that_no_control_table_holds_is_refused,
    a_row_without_a_key_is_named_by_backfill_and_verification,
    values_that_are_no_key_are_named,
    a_key_that_is_read_and_never_found_is_unexplained,
    a_key_in_another_spelling_is_the_same_key,
    keys_of_several_columns_arrive,
);
