//! Schema changes: what is said of a statement, of a script, and of a folder of migrations.

mod claims;
mod live;
mod status;
mod trace;
mod variants;

use std::fs;
use std::path::Path;

use dualwrite::schema::{AppliedMigration, Folder, Level, SqlDialect, classify};
use serde_json::Value;

const POSTGRES: SqlDialect = SqlDialect::Postgres;
const MYSQL: SqlDialect = SqlDialect::Mysql;
const SQLITE: SqlDialect = SqlDialect::Sqlite;

/// The worst level of a script, and its rule.
fn worst(sql: &str, dialect: SqlDialect) -> (Level, &'static str) {
    let found = classify(sql, dialect);
    let verdict = found.iter().map(|statement| &statement.verdict).max_by_key(|one| one.level);
    let verdict = verdict.unwrap_or_else(|| panic!("no statement in {sql}"));
    (verdict.level, verdict.rule)
}

#[track_caller]
fn is(level: Level, dialect: SqlDialect, statements: &[&str]) {
    for sql in statements {
        let found = worst(sql, dialect);
        assert_eq!(found.0, level, "{}: {sql}", found.1);
    }
}

/// The labelled statements beside the project; where they are not there, nothing is compared.
#[test]
fn labelled_statements_get_their_levels() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/schema_corpus.tsv");
    let Ok(text) = fs::read_to_string(&path) else {
        eprintln!("LEFT OUT: the labelled statements are not beside the project");
        return;
    };
    let mut compared = 0;
    for line in text.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (dialect, level) = (columns[0].parse().unwrap(), columns[1].parse::<Level>().unwrap());
        assert_eq!(worst(columns[3], dialect).0, level, "{line}");
        compared += 1;
    }
    assert!(compared > 50, "{compared} statements");
}

#[test]
fn postgres_statements_are_judged_by_what_they_do() {
    is(
        Level::Safe,
        POSTGRES,
        &[
            "ALTER TABLE c ADD COLUMN t timestamptz NOT NULL DEFAULT now()",
            "ALTER TABLE c ADD u jsonb NOT NULL DEFAULT '{}'::jsonb",
            "ALTER TABLE c ADD COLUMN b int GENERATED ALWAYS AS (a) VIRTUAL",
            "ALTER TABLE a ADD CHECK (x > 0) NOT VALID",
            "ALTER TABLE a VALIDATE CONSTRAINT c",
            "ALTER TABLE a ALTER b SET STATISTICS 100",
            "DROP INDEX CONCURRENTLY IF EXISTS i",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM a; END $$",
            "SELECT $$ DROP TABLE x; $$",
            "UPDATE a SET b = 1 WHERE id = 7",
        ],
    );
    is(
        Level::Blocking,
        POSTGRES,
        &[
            "ALTER TABLE c ADD COLUMN u uuid DEFAULT gen_random_uuid()",
            "ALTER TABLE c ADD COLUMN id2 bigserial",
            "ALTER TABLE c ADD COLUMN o bigint REFERENCES orders (id)",
            "ALTER TABLE a SET TABLESPACE b",
            "ALTER TABLE a DETACH PARTITION b",
            "UPDATE a SET b = 1 WHERE 1 = 1",
            "REINDEX TABLE a",
            "CLUSTER a USING i",
            "VACUUM (FULL) a",
            "BEGIN; CREATE INDEX CONCURRENTLY i ON a (b); COMMIT",
        ],
    );
    is(
        Level::Breaking,
        POSTGRES,
        &[
            "ALTER TABLE a ADD COLUMN b int, DROP COLUMN c",
            "ALTER TABLE a ADD COLUMN x int NOT NULL DEFAULT NULL",
            "ALTER TABLE a ADD CONSTRAINT x CHECK (b IS NOT NULL) NOT VALID",
            "ALTER TABLE a ALTER b DROP IDENTITY IF EXISTS",
            "ALTER TABLE a DISABLE TRIGGER ALL",
            "ALTER TABLE a SET SCHEMA b",
            "WITH d AS (DELETE FROM a RETURNING *) SELECT count(*) FROM d",
            "WITH d AS (DELETE FROM a WHERE id < 5 RETURNING *) INSERT INTO b SELECT * FROM d",
            "EXPLAIN ANALYZE DELETE FROM a",
            "PREPARE p AS DELETE FROM a",
            "DROP OWNED BY x",
            "REVOKE SELECT ON a FROM b",
        ],
    );
}

#[test]
fn blocks_are_judged_by_the_statements_in_them() {
    is(
        Level::Breaking,
        POSTGRES,
        &[
            "DO $$ BEGIN DELETE FROM a; END $$",
            "DO $$ BEGIN EXECUTE 'DROP TABLE x'; END $$",
            "DO $x$ BEGIN IF true THEN DROP TABLE a; END IF; END $x$",
        ],
    );
    is(
        Level::Unknown,
        POSTGRES,
        &[
            "DO $$ BEGIN EXECUTE format('ALTER TABLE %I DROP COLUMN x', 'a'); END $$",
            "DO LANGUAGE plpython3u $$ plpy.execute('DROP TABLE a') $$",
            "CALL tidy_up()",
        ],
    );
    is(
        Level::Safe,
        POSTGRES,
        &[
            "DO $$ BEGIN CREATE TYPE mood AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_class WHERE relname = 'x') THEN
         ALTER TABLE a ADD COLUMN b int; END IF; END $$",
        ],
    );
    is(Level::Breaking, MYSQL, &["BEGIN NOT ATOMIC DELETE FROM a; END"]);
}

#[test]
fn mysql_statements_are_judged_by_what_they_do() {
    is(
        Level::Safe,
        MYSQL,
        &[
            "ALTER TABLE a ADD COLUMN IF NOT EXISTS b INT",
            "ALTER TABLE a ADD (b INT, c INT)",
            "ALTER TABLE a COMMENT = 'DROP TABLE x'",
            "ALTER TABLE a ADD COLUMN v INT GENERATED ALWAYS AS (b + 1) VIRTUAL",
        ],
    );
    is(
        Level::Blocking,
        MYSQL,
        &[
            "ALTER TABLE a CONVERT TO CHARACTER SET utf8mb4",
            "ALTER TABLE a ENGINE = InnoDB",
            "ALTER TABLE a ADD COLUMN u CHAR(36) DEFAULT (uuid())",
            "ALTER TABLE a ADD FULLTEXT INDEX b (c)",
            "ALTER TABLE a CHANGE b b BIGINT",
            "OPTIMIZE TABLE a",
        ],
    );
    is(
        Level::Breaking,
        MYSQL,
        &[
            "ALTER TABLE a ADD (b INT, c INT NOT NULL)",
            "ALTER TABLE a DROP b, LOCK=NONE",
            "ALTER TABLE a DROP PARTITION p0",
            "ALTER TABLE a EXCHANGE PARTITION p0 WITH TABLE b",
            "/*!50000 DROP TABLE a */",
            "CREATE OR REPLACE TABLE a (b int)",
            "REPLACE INTO a VALUES (1)",
            "DELETE a FROM a JOIN b ON a.id = b.id",
        ],
    );
    // Nobody waits, for the server refuses it where it would block.
    is(Level::Warn, MYSQL, &["ALTER TABLE a MODIFY b BIGINT, ALGORITHM=INPLACE, LOCK=NONE"]);
}

#[test]
fn sqlite_statements_are_judged_by_what_they_do() {
    is(
        Level::Safe,
        SQLITE,
        &[
            "ALTER TABLE a ADD COLUMN b INTEGER NOT NULL DEFAULT -1",
            "ALTER TABLE a ADD COLUMN b TEXT REFERENCES c (id)",
            "PRAGMA table_info(a)",
        ],
    );
    is(
        Level::Breaking,
        SQLITE,
        &[
            "ALTER TABLE a ADD COLUMN b TEXT UNIQUE",
            "ALTER TABLE a ADD COLUMN b TEXT DEFAULT (datetime('now'))",
            "INSERT OR REPLACE INTO a VALUES (1)",
            "CREATE TABLE n (id INTEGER PRIMARY KEY); INSERT INTO n SELECT id FROM a; DROP TABLE a;
         ALTER TABLE n RENAME TO a",
        ],
    );
}

#[test]
fn what_cannot_be_read_is_never_safe() {
    for dialect in [POSTGRES, MYSQL, SQLITE] {
        is(
            Level::Unknown,
            dialect,
            &["this is no statement", "\\c other", "ALTER TABLE a FROBNICATE"],
        );
    }
}

#[test]
fn a_table_of_the_same_script_is_nobody_elses() {
    let made =
        "CREATE TABLE a (id bigint); CREATE INDEX i ON a (id); ALTER TABLE a DROP COLUMN id;";
    assert_eq!(worst(made, POSTGRES).0, Level::Safe);
    // It may have been there before.
    let maybe = "CREATE TABLE IF NOT EXISTS a (id bigint); CREATE INDEX i ON a (id);";
    assert_eq!(worst(maybe, POSTGRES).0, Level::Warn);
    assert_eq!(
        worst("CREATE TABLE a (id bigint); CREATE INDEX i ON b (id);", POSTGRES).0,
        Level::Blocking
    );
}

/// The command, on these arguments: its exit code, and what it prints.
async fn check(arguments: &[&str]) -> (u8, String, String) {
    let arguments = [&["dualwrite", "schema", "check"], arguments].concat();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

#[tokio::test]
async fn the_command_reports_each_statement_and_exits_by_the_level() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    write(folder.path(), "1_first.up.sql", "-- a note\nCREATE TABLE a (id bigint);\n\nSELECT 1;");
    write(folder.path(), "1_first.down.sql", "DROP TABLE a;");
    let (code, out, _) = check(&[path]).await;
    assert_eq!(code, dualwrite_cli::DONE, "the way back does not count: {out}");
    assert!(out.contains("breaking drop-table, on the way back"), "{out}");

    write(folder.path(), "2_second.up.sql", "ALTER TABLE b ADD c json");
    write(folder.path(), "2_second.down.sql", "SELECT 1");
    assert_eq!(check(&[path]).await.0, dualwrite_cli::DONE);
    assert_eq!(check(&["--fail-on", "warn", path]).await.0, dualwrite_cli::FAILED);

    write(folder.path(), "3_third.up.sql", "\nCREATE INDEX i ON b (c);");
    write(folder.path(), "3_third.down.sql", "SELECT 1");
    let (code, out, _) = check(&["--format", "json", path]).await;
    assert_eq!(code, dualwrite_cli::FAILED);
    let found: Value = serde_json::from_str(&out).unwrap();
    let last = &found.as_array().unwrap()[5];
    assert!(last["file"].as_str().unwrap().ends_with("3_third.up.sql"), "{out}");
    let fields = ["statement", "line", "level", "rule"].map(|name| last[name].to_string());
    assert_eq!(fields, ["0", "2", "\"blocking\"", "\"create-index\""]);
    assert!(last["reason"].is_string() && last["instead"].is_string());
    assert_eq!(check(&["--dialect", "mysql", path]).await.0, dualwrite_cli::DONE);

    let (_, out, _) = check(&["--format", "github", path]).await;
    assert!(
        out.contains("::error file=") && out.contains(",line=2,title=blocking create-index::"),
        "{out}"
    );
}

#[tokio::test]
async fn wrong_arguments_and_unreadable_files_have_exit_codes_of_their_own() {
    assert_eq!(check(&[]).await.0, dualwrite_cli::WRONG_USE);
    assert_eq!(check(&["--fail-on", "sometimes", "."]).await.0, dualwrite_cli::WRONG_USE);
    assert_eq!(check(&["--dialect", "oracle", "."]).await.0, dualwrite_cli::WRONG_USE);
    let (code, _, err) = check(&["/nowhere/at/all"]).await;
    assert_eq!(code, dualwrite_cli::UNREADABLE);
    assert!(err.contains("/nowhere/at/all"), "{err}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("1_a.sql"), [0xff, 0xfe]).unwrap();
    assert_eq!(check(&[folder.path().to_str().unwrap()]).await.0, dualwrite_cli::UNREADABLE);
}

#[tokio::test]
async fn a_waiver_stands_in_the_file_and_needs_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let waiver = |reason: &str| format!("-- dualwrite: allow drop-table{reason}\nDROP TABLE a;");
    write(folder.path(), "1_a.sql", &waiver(" because nobody has read it since May"));
    let (code, out, _) = check(&[path]).await;
    assert_eq!(code, dualwrite_cli::DONE, "{out}");
    assert!(out.contains("waived: nobody has read it since May"), "{out}");
    for without in ["", " because", " because -"] {
        write(folder.path(), "1_a.sql", &waiver(without));
        let (code, out, _) = check(&[path]).await;
        assert_eq!(code, dualwrite_cli::FAILED, "{without}: {out}");
        assert!(out.contains("its waiver gives no reason"), "{out}");
    }
    // It is for its statement and its rule alone.
    let two = format!("{}\nDROP TABLE b;", waiver(" because nobody reads it"));
    write(folder.path(), "1_a.sql", &two);
    assert_eq!(check(&[path]).await.0, dualwrite_cli::FAILED);
}

#[tokio::test]
async fn concurrently_needs_a_file_without_a_transaction_and_with_one_statement() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let index = "CREATE INDEX CONCURRENTLY i ON a (b);";
    for (text, code) in [
        (index.to_owned(), dualwrite_cli::FAILED),
        (format!("-- no-transaction\n{index}"), dualwrite_cli::DONE),
        (format!("\n-- no-transaction\n{index}"), dualwrite_cli::FAILED),
        (format!("-- no-transaction\n{index}\nSELECT 1;"), dualwrite_cli::FAILED),
    ] {
        write(folder.path(), "1_a.sql", &text);
        let (found, out, _) = check(&[path]).await;
        assert_eq!(found, code, "{text}: {out}");
    }
    write(folder.path(), "1_a.sql", "ALTER TABLE a ADD b int; UPDATE a SET b = 1 WHERE c > 5");
    let (code, out, _) = check(&[path]).await;
    assert_eq!(code, dualwrite_cli::FAILED, "rows beside DDL keep the lock: {out}");
}

#[tokio::test]
async fn since_a_commit_only_new_files_are_judged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-C", path];
        let done =
            std::process::Command::new("git").args(identity).args(arguments).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    git(&["init", "--quiet"]);
    write(folder.path(), "1_a.sql", "DROP TABLE a");
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "a"]);
    assert_eq!(check(&[path]).await.0, dualwrite_cli::FAILED);
    assert_eq!(check(&["--since", "HEAD", path]).await.0, dualwrite_cli::DONE);
    write(folder.path(), "2_b.sql", "DROP TABLE b");
    let (code, out, _) = check(&["--since", "HEAD", path]).await;
    assert_eq!(code, dualwrite_cli::FAILED);
    assert!(out.contains("2_b.sql") && !out.contains("1_a.sql"), "{out}");
    let (code, _, err) = check(&["--since", "no-such-commit", path]).await;
    assert_eq!(code, dualwrite_cli::UNREADABLE, "{err}");
}

#[test]
fn a_folder_is_compared_with_what_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    let rules = |applied: &[AppliedMigration]| -> Vec<&str> {
        let found = Folder::read(folder.path()).unwrap().compare(applied);
        found.iter().map(|statement| statement.found.verdict.rule).collect()
    };
    let first = sqlx::migrate::Migration::new(
        1,
        "a".into(),
        sqlx::migrate::MigrationType::Simple,
        sqlx::SqlSafeStr::into_sql_str("SELECT 1"),
        false,
    );
    let applied =
        |version, checksum: &[u8]| AppliedMigration { version, checksum: checksum.to_vec() };
    write(folder.path(), "1_a.sql", "SELECT 1");
    assert_eq!(rules(&[applied(1, &first.checksum)]), Vec::<&str>::new());
    assert_eq!(rules(&[applied(1, b"other")]), ["changed-after-applied"]);
    assert_eq!(rules(&[applied(1, &first.checksum), applied(2, b"x")]), ["missing-file"]);
    write(folder.path(), "3_c.sql", "SELECT 1");
    write(folder.path(), "5_e.sql", "SELECT 1");
    assert_eq!(
        rules(&[applied(1, &first.checksum), applied(5, &first.checksum)]),
        ["out-of-order"]
    );
    write(folder.path(), "5_other.sql", "SELECT 1");
    write(folder.path(), "notes.sql", "SELECT 1");
    write(folder.path(), "7_g.down.sql", "SELECT 1");
    let mut found = rules(&[]);
    found.sort_unstable();
    assert_eq!(found, ["file-name", "no-up", "same-version"]);
}
