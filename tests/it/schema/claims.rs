//! What the rules claim of locks, rewrites, scans and failing statements, seen on the real servers: a statement that is
//! called safe or worth a look keeps no writer out for long, and one that is called blocking does.

use dualwrite::schema::{Level, SqlDialect, classify};
use sqlx::Connection as _;

use super::{MYSQL, POSTGRES, SQLITE};
use crate::support::db::{MySqlDb, PostgresDb, Scratch, SqliteDb, TestDb};
use crate::support::sql::Sql;

/// The verdict on one statement.
fn verdict(sql: &str, dialect: SqlDialect) -> (Level, &'static str) {
    let found = classify(sql, dialect);
    assert_eq!(found.len(), 1, "{sql}");
    (found[0].verdict.level, found[0].verdict.rule)
}

async fn tables<D: TestDb>(db: &Scratch<D>) {
    db.execute(
        "CREATE TABLE customer (id BIGINT PRIMARY KEY, name VARCHAR(20));
         CREATE TABLE a (id BIGINT PRIMARY KEY, b INT, word VARCHAR(20), c_id BIGINT, n INT NOT NULL DEFAULT 0);
         INSERT INTO customer VALUES (1, 'x'), (2, 'y');
         INSERT INTO a (id, b, word, c_id) VALUES (1, 1, 'x', 1), (2, 2, 'y', 2), (3, 3, 'z', NULL)",
    )
    .await;
}

/// What was seen while its transaction was still open.
#[derive(Debug, PartialEq)]
struct Seen {
    lock: String,
    rewritten: bool,
    scanned: bool,
}

impl Seen {
    /// Writers are kept out for as long as the table is large.
    fn blocks_for_long(&self) -> bool {
        let weak =
            ["", "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock"];
        !weak.contains(&&*self.lock) && (self.rewritten || self.scanned)
    }
}

const STRENGTH: &str = "SELECT l.mode FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.granted \
     AND l.relation = 'a'::regclass ORDER BY array_position(ARRAY['AccessExclusiveLock', 'ExclusiveLock', \
     'ShareRowExclusiveLock', 'ShareLock', 'ShareUpdateExclusiveLock', 'RowExclusiveLock', 'RowShareLock', \
     'AccessShareLock'], l.mode) LIMIT 1";

/// Runs it in a transaction that is rolled back.
async fn seen(db: &Scratch<PostgresDb>, before: &str, sql: &str) -> Result<Seen, sqlx::Error> {
    let mut conn = db.pool().acquire().await?;
    let mut tx = conn.begin().await?;
    if !before.is_empty() {
        PostgresDb::run_on(&mut tx, before).await?;
        tx.commit().await?;
        tx = conn.begin().await?;
    }
    let node = "SELECT pg_relation_filenode('a'::regclass)::bigint";
    let was: Option<i64> = sqlx::query_scalar(node).fetch_one(&mut *tx).await?;
    // What was counted before in this session may not have been reported yet.
    let scans = "SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)::bigint \
                 FROM pg_stat_xact_user_tables WHERE relname = 'a'";
    let scans_before: i64 = sqlx::query_scalar(scans).fetch_one(&mut *tx).await?;
    PostgresDb::run_on(&mut tx, sql).await?;
    let lock: Option<String> = sqlx::query_scalar(STRENGTH).fetch_optional(&mut *tx).await?;
    let is: Option<i64> = sqlx::query_scalar(node).fetch_one(&mut *tx).await?;
    let scans: i64 = sqlx::query_scalar(scans).fetch_one(&mut *tx).await?;
    tx.rollback().await?;
    Ok(Seen { lock: lock.unwrap_or_default(), rewritten: was != is, scanned: scans > scans_before })
}

#[tokio::test]
async fn postgres_locks_scans_and_rewrites_as_the_rules_say() {
    let Some(db) = PostgresDb::fresh("postgres_locks_scans_and_rewrites").await else { return };
    tables(&db).await;
    db.execute(
        "CREATE SEQUENCE s; CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN positive AS int;
         ALTER TABLE a ADD COLUMN p positive, ADD COLUMN gone text",
    )
    .await;
    // What is there before, the statement, the lock on the table, and whether it is rewritten or read.
    let (no, yes) = (false, true);
    let exclusive = "AccessExclusiveLock";
    let claims: &[(&str, &str, &str, bool, bool)] = &[
        ("", "ALTER TABLE a ADD COLUMN x text", exclusive, no, no),
        ("", "ALTER TABLE a ADD COLUMN x int NOT NULL DEFAULT 5", exclusive, no, no),
        ("", "ALTER TABLE a ADD COLUMN x timestamptz DEFAULT now()", exclusive, no, no),
        ("", "ALTER TABLE a ADD COLUMN x mood DEFAULT 'ok'::mood", exclusive, no, no),
        ("", "ALTER TABLE a ADD COLUMN x json", exclusive, no, no),
        ("", "ALTER TABLE a ADD COLUMN x uuid DEFAULT gen_random_uuid()", exclusive, yes, yes),
        (
            "",
            "ALTER TABLE a ADD COLUMN x timestamptz DEFAULT clock_timestamp()",
            exclusive,
            yes,
            yes,
        ),
        ("", "ALTER TABLE a ADD COLUMN x bigint DEFAULT nextval('s')", exclusive, yes, yes),
        ("", "ALTER TABLE a ADD COLUMN x bigserial", exclusive, yes, yes),
        ("", "ALTER TABLE a ADD COLUMN x int GENERATED ALWAYS AS IDENTITY", exclusive, yes, yes),
        (
            "",
            "ALTER TABLE a ADD COLUMN x int GENERATED ALWAYS AS (b + 1) STORED",
            exclusive,
            yes,
            yes,
        ),
        ("", "ALTER TABLE a ADD COLUMN x int UNIQUE", exclusive, no, yes),
        ("", "ALTER TABLE a ADD COLUMN x int CHECK (x > 0)", exclusive, no, yes),
        ("", "ALTER TABLE a ALTER COLUMN n TYPE bigint", exclusive, yes, yes),
        ("", "ALTER TABLE a ALTER COLUMN word TYPE text", exclusive, no, no),
        ("", "ALTER TABLE a ALTER COLUMN id SET NOT NULL", exclusive, no, no),
        ("", "ALTER TABLE a ALTER COLUMN b SET NOT NULL", exclusive, no, yes),
        ("", "ALTER TABLE a ALTER COLUMN n DROP NOT NULL", exclusive, no, no),
        ("", "ALTER TABLE a ALTER COLUMN b SET DEFAULT 7", exclusive, no, no),
        (
            "",
            "ALTER TABLE a ALTER COLUMN word SET STATISTICS 50",
            "ShareUpdateExclusiveLock",
            no,
            no,
        ),
        ("", "ALTER TABLE a ALTER COLUMN word SET STORAGE EXTERNAL", exclusive, no, no),
        ("", "ALTER TABLE a SET (fillfactor = 70)", "ShareUpdateExclusiveLock", no, no),
        ("", "ALTER TABLE a SET UNLOGGED", exclusive, yes, yes),
        ("", "ALTER TABLE a ADD CONSTRAINT k CHECK (b > 0)", exclusive, no, yes),
        ("", "ALTER TABLE a ADD CONSTRAINT k CHECK (b > 0) NOT VALID", exclusive, no, no),
        (
            "ALTER TABLE a ADD CONSTRAINT k1 CHECK (b > 0) NOT VALID",
            "ALTER TABLE a VALIDATE CONSTRAINT k1",
            "ShareUpdateExclusiveLock",
            no,
            yes,
        ),
        (
            "",
            "ALTER TABLE a ADD FOREIGN KEY (c_id) REFERENCES customer (id)",
            "ShareRowExclusiveLock",
            no,
            yes,
        ),
        (
            "",
            "ALTER TABLE a ADD FOREIGN KEY (c_id) REFERENCES customer (id) NOT VALID",
            "ShareRowExclusiveLock",
            no,
            no,
        ),
        ("", "ALTER TABLE a ADD CONSTRAINT u UNIQUE (b)", exclusive, no, yes),
        (
            "CREATE UNIQUE INDEX u_b ON a (b)",
            "ALTER TABLE a ADD CONSTRAINT u_b UNIQUE USING INDEX u_b",
            exclusive,
            no,
            no,
        ),
        ("", "ALTER TABLE a ADD CONSTRAINT e EXCLUDE (b WITH =)", exclusive, no, yes),
        ("", "CREATE INDEX i ON a (b)", "ShareLock", no, yes),
        ("", "CLUSTER a USING a_pkey", exclusive, yes, yes),
        ("", "REINDEX TABLE a", "ShareLock", no, yes),
        ("", "UPDATE a SET n = 1", "RowExclusiveLock", no, yes),
        ("", "LOCK TABLE a IN SHARE MODE", "ShareLock", no, no),
        ("", "LOCK TABLE a IN ROW EXCLUSIVE MODE", "RowExclusiveLock", no, no),
        ("", "COMMENT ON TABLE a IS 'x'", "ShareUpdateExclusiveLock", no, no),
        ("", "ALTER TABLE a REPLICA IDENTITY FULL", exclusive, no, no),
        ("", "ALTER TABLE a ENABLE ROW LEVEL SECURITY", exclusive, no, no),
        ("", "CREATE POLICY p ON a USING (true)", exclusive, no, no),
        ("", "ALTER DOMAIN positive ADD CONSTRAINT c CHECK (value > 0)", "ShareLock", no, yes),
        ("", "ALTER DOMAIN positive ADD CONSTRAINT c CHECK (value > 0) NOT VALID", "", no, no),
        ("", "ALTER TABLE a DROP COLUMN gone", exclusive, no, no),
        ("", "ALTER SEQUENCE s OWNED BY a.id", "AccessShareLock", no, no),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()",
            "ShareRowExclusiveLock",
            no,
            no,
        ),
    ];
    // They are blocking by what they hold, not by how long they take over the rows of a table.
    let by_lock = ["lock-table", "update-all"];
    let mut wrong = Vec::new();
    for (before, sql, lock, rewritten, scanned) in claims {
        let found = match seen(&db, before, sql).await {
            Ok(found) => found,
            Err(error) => {
                wrong.push(format!("{sql}: {error}"));
                continue;
            }
        };
        let expected = Seen { lock: (*lock).to_owned(), rewritten: *rewritten, scanned: *scanned };
        let (level, rule) = verdict(sql, POSTGRES);
        let long = found.blocks_for_long();
        let fits = match level {
            Level::Safe | Level::Warn => !long,
            Level::Blocking => long || by_lock.contains(&rule) || rule == "alter-column-type",
            Level::Breaking | Level::Unknown => true,
        };
        if found != expected || !fits || (long && level < Level::Blocking) {
            wrong.push(format!("{sql}: {level} ({rule}), seen {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// After the statement, what running code says fails. Without such a text, the statement itself is refused on a table
/// with rows, which fails the deployment.
async fn breaks<D: Sql>(db: &Scratch<D>, dialect: SqlDialect, claims: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (sql, old) in claims {
        let (level, rule) = verdict(sql, dialect);
        db.execute("DROP TABLE IF EXISTS a").await;
        db.execute("DROP TABLE IF EXISTS customer").await;
        tables(db).await;
        let [before, after] = ["900", "901"].map(|id| old.replace("{id}", id));
        if !old.is_empty() {
            db.execute(&before).await;
        }
        let done = D::execute(db.pool(), sql).await;
        let as_claimed = match old.is_empty() {
            true => done.is_err(),
            false => done.is_ok() && D::execute(db.pool(), &after).await.is_err(),
        };
        if !as_claimed || level != Level::Breaking {
            wrong.push(format!("{sql}: {level} ({rule}), {done:?}, then `{after}`"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const READS: &str = "SELECT b FROM a";
const WRITES: &str = "INSERT INTO a (id, b) VALUES ({id}, NULL)";
const REFUSED: &str = "";

#[tokio::test]
async fn running_code_fails_on_postgres_after_what_is_called_breaking() {
    let Some(db) = PostgresDb::fresh("running_code_fails_on_postgres").await else { return };
    let upsert = "INSERT INTO a (id) VALUES ({id}) ON CONFLICT (id) DO NOTHING";
    let claims = [
        ("ALTER TABLE a DROP COLUMN b", READS),
        ("ALTER TABLE a RENAME COLUMN b TO c", READS),
        ("DROP TABLE a", READS),
        ("ALTER TABLE a ADD CONSTRAINT k CHECK (b IS NOT NULL) NOT VALID", WRITES),
        ("ALTER TABLE a ALTER COLUMN n DROP DEFAULT", WRITES),
        ("ALTER TABLE a ALTER COLUMN word TYPE int USING 1", "UPDATE a SET word = 'abc'"),
        ("ALTER TABLE a DROP CONSTRAINT a_pkey", upsert),
        ("ALTER TABLE a ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY", WRITES),
        ("ALTER TABLE a ADD COLUMN x int NOT NULL", REFUSED),
        ("ALTER TABLE a ALTER COLUMN c_id SET NOT NULL", REFUSED),
        ("CREATE RULE r AS ON INSERT TO a DO ALSO SELECT 1", upsert),
    ];
    breaks(&db, POSTGRES, &claims).await;
}

#[tokio::test]
async fn running_code_fails_on_mysql_after_what_is_called_breaking() {
    let Some(db) = MySqlDb::fresh("running_code_fails_on_mysql").await else { return };
    let claims = [
        ("ALTER TABLE a DROP COLUMN b", READS),
        ("ALTER TABLE a CHANGE b c INT", READS),
        ("ALTER TABLE a RENAME COLUMN b TO c", READS),
        ("RENAME TABLE a TO z", READS),
        ("DROP TABLE IF EXISTS a, z", READS),
        ("ALTER TABLE a ADD COLUMN x INT NOT NULL", WRITES),
        ("ALTER TABLE a ALTER COLUMN n DROP DEFAULT", WRITES),
        (
            "ALTER TABLE a MODIFY word VARCHAR(20) NOT NULL",
            "INSERT INTO a (id, b) VALUES ({id}, 1); DELETE FROM a WHERE id = {id}",
        ),
    ];
    breaks(&db, MYSQL, &claims).await;
}

#[tokio::test]
async fn running_code_fails_on_sqlite_after_what_is_called_breaking() {
    let Some(db) = SqliteDb::fresh("running_code_fails_on_sqlite").await else { return };
    let claims = [
        ("ALTER TABLE a DROP COLUMN b", READS),
        ("ALTER TABLE a RENAME COLUMN b TO c", READS),
        ("ALTER TABLE a RENAME TO z", READS),
        ("DROP TABLE a", READS),
        ("ALTER TABLE a ADD COLUMN x INT NOT NULL", REFUSED),
        ("ALTER TABLE a ADD COLUMN x TEXT DEFAULT (datetime('now'))", REFUSED),
        ("ALTER TABLE a ADD COLUMN x TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP", REFUSED),
        ("ALTER TABLE a ADD COLUMN x INT UNIQUE", REFUSED),
        ("ALTER TABLE a ADD COLUMN x INT GENERATED ALWAYS AS (b + 1) STORED", REFUSED),
    ];
    breaks(&db, SQLITE, &claims).await;
}

/// What is called safe is taken there, and running code goes on.
#[tokio::test]
async fn what_is_called_safe_is_taken_on_sqlite() {
    let Some(db) = SqliteDb::fresh("what_is_called_safe_is_taken").await else { return };
    tables(&db).await;
    for (at, sql) in [
        "ALTER TABLE a ADD COLUMN x1 TEXT",
        "ALTER TABLE a ADD COLUMN x2 INT NOT NULL DEFAULT 5",
        "ALTER TABLE a ADD COLUMN x3 INT GENERATED ALWAYS AS (b + 1) VIRTUAL",
        "ALTER TABLE a ADD COLUMN x4 BIGINT REFERENCES customer (id)",
        "CREATE TABLE z (id INTEGER PRIMARY KEY) STRICT",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(verdict(sql, SQLITE).0, Level::Safe, "{sql}");
        db.execute(sql).await;
        db.execute(&WRITES.replace("{id}", &(900 + at).to_string())).await;
    }
}

/// Whether the server does it while others write, which it says by taking `LOCK=NONE`.
#[tokio::test]
async fn mariadb_takes_lock_none_for_what_is_not_called_blocking() {
    let Some(db) = MySqlDb::fresh("mariadb_takes_lock_none").await else { return };
    let safe = [
        "ALTER TABLE a ADD COLUMN x INT",
        "ALTER TABLE a ADD COLUMN x INT FIRST",
        "ALTER TABLE a ADD COLUMN x INT NOT NULL DEFAULT 5",
        "ALTER TABLE a ADD COLUMN x INT GENERATED ALWAYS AS (b + 1) VIRTUAL",
        "ALTER TABLE a ADD INDEX i (b)",
        "ALTER TABLE a ADD UNIQUE INDEX i (b)",
        "ALTER TABLE a ALTER COLUMN b SET DEFAULT 7",
        "ALTER TABLE a COMMENT = 'x'",
        "ALTER TABLE a DROP INDEX by_word",
        "ALTER TABLE a RENAME INDEX by_word TO i",
    ];
    let blocking = [
        "ALTER TABLE a MODIFY n BIGINT",
        "ALTER TABLE a ADD FOREIGN KEY (c_id) REFERENCES customer (id)",
        "ALTER TABLE a ADD CONSTRAINT k CHECK (b > 0)",
        "ALTER TABLE a ADD COLUMN x INT GENERATED ALWAYS AS (b + 1) STORED",
        "ALTER TABLE a ADD COLUMN x CHAR(36) DEFAULT (uuid())",
        "ALTER TABLE a ADD FULLTEXT INDEX i (word)",
        "ALTER TABLE a CONVERT TO CHARACTER SET latin1",
        "ALTER TABLE a ADD SYSTEM VERSIONING",
        "ALTER TABLE a PARTITION BY HASH (id) PARTITIONS 4",
    ];
    let mut wrong = Vec::new();
    for (sql, blocks) in
        safe.map(|sql| (sql, false)).into_iter().chain(blocking.map(|sql| (sql, true)))
    {
        db.execute("DROP TABLE IF EXISTS a").await;
        db.execute("DROP TABLE IF EXISTS customer").await;
        tables(&db).await;
        db.execute("CREATE INDEX by_word ON a (word)").await;
        let (level, rule) = verdict(sql, MYSQL);
        let separator = if sql.contains("PARTITION BY") { " " } else { ", " };
        let online = match separator {
            // Options stand before the partitions.
            " " => sql.replace("PARTITION BY", "LOCK=NONE PARTITION BY"),
            _ => format!("{sql}, LOCK=NONE"),
        };
        let taken = MySqlDb::execute(db.pool(), &online).await;
        if taken.is_err() != blocks || (level >= Level::Blocking) != blocks {
            wrong.push(format!("{sql}: {level} ({rule}), {taken:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
