//! Keys of every type that the preflight accepts: copied, verified, repaired and watched as their column compares
//! them, in small pages; and what is no key, named.

use std::fmt::Debug;

use dualwrite::{CopySql, Mapping, Migration, OwnedKey, Runtime, Stage, copy::KeySource};
use uuid::Uuid;

use crate::support::db::{Scratch, TestDb, on_all_databases};

/// A column of a key, and literals of keys in it.
#[derive(Clone, Copy, Debug)]
struct Case {
    old: &'static str,
    new: &'static str,
    keys: &'static [&'static str],
}

const fn case(column: &'static str, keys: &'static [&'static str]) -> Case {
    Case { old: column, new: column, keys }
}

const WORDS: &[&str] =
    &["'a'", "'b'", "'ab'", "'abc'", "'B c'", "'z'", "'ä'", "'ß'", "'Zz'", "'10'", "'9'", "'q''q'"];
/// Different under every collation.
const PLAIN: &[&str] =
    &["'a'", "'b'", "'ab'", "'abc'", "'B c'", "'z'", "'ñu'", "'Zz'", "'10'", "'9'", "'q''q'"];
/// Where blanks count, these are different keys.
const BLANKS: &[&str] = &["'a'", "'a '", "' a'", "''", "' '", "'a  '", "'b'"];
/// What JSON writes by its number, or as two signs.
const SIGNS: &[&str] = &[
    "CONCAT('k', CHAR(31))",
    "CONCAT('l', CHAR(11), CHAR(14), CHAR(15))",
    "CONCAT('m', CHAR(92), 'u001F', CHAR(92, 31))",
    "CONCAT('n', CHAR(8, 9, 10, 12, 13))",
    "CONCAT('o', CHAR(1, 26, 127), '\"/')",
];
const NUMBERS: &[&str] = &["1", "2", "-3", "10", "9", "100", "77", "32000", "0"];
const UUIDS: &[&str] = &[
    "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'",
    "'00000000-0000-0000-0000-000000000001'",
    "'ffffffff-ffff-4fff-8fff-ffffffffffff'",
    "'01890a5d-ac96-774b-bcce-b302099a8057'",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
];

const POSTGRES_TEXTS: &[Case] = &[
    case("char(5)", WORDS),
    case("varchar(20)", WORDS),
    case("text", WORDS),
    case("text COLLATE \"C\"", WORDS),
    case("text COLLATE folded", WORDS),
    case("text COLLATE german", WORDS),
    case("ext.citext", WORDS),
    case("name", WORDS),
    case("mood", &["'sad'", "'ok'", "'happy'", "'mad'"]),
    case("label", WORDS),
    case("uuid", UUIDS),
    case("bytea", &["'a'", "'ab'", "'\\xc3a4'", "'z'"]),
    case("char(5) COLLATE folded", WORDS),
    case("char(5) COLLATE german", WORDS),
    case("ext.citext COLLATE german", WORDS),
    case("code", WORDS),
    case("code_of_code", WORDS),
    case("email", WORDS),
    case("digest", &["'a'", "'ab'", "'\\xc3a4'", "'z'"]),
    case("text", BLANKS),
    case("varchar(9)", BLANKS),
    case("ext.citext", BLANKS),
    Case { old: "char(5)", new: "ext.citext", keys: WORDS },
    Case { old: "email", new: "char(9)", keys: WORDS },
    Case { old: "label", new: "code", keys: WORDS },
    Case { old: "char(5)", new: "varchar(20)", keys: WORDS },
    Case { old: "text", new: "text COLLATE \"C\"", keys: WORDS },
    Case { old: "text COLLATE german", new: "text COLLATE \"C\"", keys: WORDS },
    Case { old: "ext.citext", new: "text", keys: WORDS },
    Case { old: "text", new: "ext.citext", keys: WORDS },
    Case { old: "uuid", new: "text", keys: UUIDS },
    Case { old: "varchar(40)", new: "uuid", keys: UUIDS },
];

const MYSQL_TEXTS: &[Case] = &[
    case("CHAR(8)", PLAIN),
    Case { old: "CHAR(8)", new: "VARCHAR(20)", keys: PLAIN },
    Case { old: "VARCHAR(20)", new: "CHAR(8)", keys: PLAIN },
    case("CHAR(8) COLLATE utf8mb4_nopad_bin", PLAIN),
    case("BINARY(5)", PLAIN),
    case("VARCHAR(20)", PLAIN),
    case("VARCHAR(20) COLLATE utf8mb4_bin", PLAIN),
    case("VARCHAR(20) COLLATE utf8mb4_nopad_bin", PLAIN),
    case("VARCHAR(20) COLLATE utf8mb4_unicode_ci", PLAIN),
    case("VARCHAR(20) CHARACTER SET latin1", PLAIN),
    case("VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german2_ci", PLAIN),
    case("VARCHAR(20) CHARACTER SET utf8mb3", PLAIN),
    case("VARBINARY(20)", PLAIN),
    case("VARCHAR(20) COLLATE utf8mb4_nopad_bin", BLANKS),
    case("VARCHAR(20) COLLATE utf8mb4_general_nopad_ci", BLANKS),
    case("VARBINARY(20)", BLANKS),
    case("VARCHAR(20) COLLATE utf8mb4_uca1400_ai_ci", PLAIN),
    case("VARCHAR(20) CHARACTER SET utf16", PLAIN),
    case("VARCHAR(20) CHARACTER SET cp1250", &["'a'", "'b'", "'ab'", "'Zz'", "'9'"]),
    case("VARCHAR(20) CHARACTER SET ascii", &["'a'", "'b'", "'ab'", "'Zz'", "'9'"]),
    case("VARCHAR(20) CHARACTER SET sjis", &["'a'", "'b'", "'ab'", "'Zz'", "'9'"]),
    case("CHAR(8) COLLATE utf8mb4_unicode_ci", PLAIN),
    case("VARCHAR(20)", SIGNS),
    case("VARCHAR(20) COLLATE utf8mb4_bin", SIGNS),
    case("VARBINARY(20)", SIGNS),
    case("BINARY(8)", PLAIN),
    case("UUID", UUIDS),
    case("CHAR(36)", UUIDS),
    Case { old: "VARCHAR(20)", new: "VARCHAR(20) COLLATE utf8mb4_bin", keys: PLAIN },
    Case { old: "VARCHAR(20) COLLATE utf8mb4_bin", new: "VARCHAR(20)", keys: PLAIN },
    Case { old: "VARCHAR(20) CHARACTER SET latin1", new: "VARCHAR(20)", keys: PLAIN },
    Case { old: "CHAR(36)", new: "UUID", keys: UUIDS },
];

const SQLITE_TEXTS: &[Case] = &[
    case("TEXT", WORDS),
    case("VARCHAR(20)", WORDS),
    case("", WORDS),
    case("TEXT COLLATE NOCASE", WORDS),
    case("TEXT COLLATE RTRIM", WORDS),
    case("BLOB", WORDS),
    case("TEXT", BLANKS),
    case("VARCHAR(20) COLLATE NOCASE", BLANKS),
    case("CLOB", WORDS),
    Case { old: "VARCHAR(20)", new: "", keys: WORDS },
    Case { old: "TEXT", new: "TEXT COLLATE NOCASE", keys: WORDS },
    Case { old: "TEXT COLLATE NOCASE", new: "TEXT", keys: WORDS },
];

fn source(table: &str) -> KeySource {
    KeySource::table(table).column("id")
}

/// A copy function that is SQL, there and back.
fn copier<D: TestDb, K: OwnedKey>(old: KeySource, new: KeySource) -> CopySql<D::Db, K> {
    CopySql::new(old)
        .new_source(new)
        .copying(D::sql(
            "INSERT INTO new_note SELECT * FROM {rows} n WHERE true \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_note SELECT CAST(n.id AS key_of_new), n.word FROM {rows} n \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_note SELECT * FROM {rows} n \
             ON DUPLICATE KEY UPDATE word = VALUES(word)",
        ))
        .removing(D::sql(
            "DELETE FROM new_note WHERE {id} AND NOT EXISTS (SELECT 1 FROM old_note o WHERE o.id = new_note.id)",
            "DELETE FROM new_note WHERE {id} AND CAST(id AS text) COLLATE \"C\" NOT IN (SELECT id FROM old_ids)",
            "DELETE FROM new_note WHERE {id} AND HEX(CONVERT(id USING utf8mb4)) NOT IN (SELECT id FROM old_ids)",
        ))
        .compared_by(|| Mapping::new().column("word", "word"))
}

async fn tables<D: TestDb>(db: &Scratch<D>, case: &Case) {
    for (table, column) in [("old_note", case.old), ("new_note", case.new)] {
        let sql =
            format!("CREATE TABLE {table} (id {column} NOT NULL PRIMARY KEY, word VARCHAR(50))");
        db.execute(&sql).await;
    }
    for (number, key) in case.keys.iter().enumerate() {
        insert(db, key, &format!("word {number}")).await;
    }
    // What `removing` keeps; and the type of new, which `copying` casts to.
    let view = D::sql(
        "CREATE VIEW old_ids AS SELECT id FROM old_note",
        "DO $$ BEGIN EXECUTE format('CREATE DOMAIN key_of_new AS %s', (SELECT format_type(atttypid, \
         atttypmod) FROM pg_attribute WHERE attrelid = 'new_note'::regclass AND attname = 'id')); END $$; \
         CREATE VIEW old_ids AS SELECT CAST(CAST(id AS key_of_new) AS text) AS id FROM old_note",
        "CREATE VIEW old_ids AS SELECT HEX(CONVERT(id USING utf8mb4)) AS id FROM old_note",
    );
    db.execute(view).await;
}

async fn drop_tables<D: TestDb>(db: &Scratch<D>) {
    db.execute("DROP VIEW old_ids").await;
    if D::NAME == "postgres" {
        db.execute("DROP DOMAIN key_of_new").await;
    }
    db.execute("DROP TABLE old_note").await;
    db.execute("DROP TABLE new_note").await;
}

async fn insert<D: TestDb>(db: &Scratch<D>, key: &str, word: &str) {
    db.execute(&format!("INSERT INTO old_note (id, word) VALUES ({key}, '{word}')")).await;
}

/// All words of both sides, in the order of words: the oracle, which knows nothing of keys.
async fn words<D: TestDb>(db: &Scratch<D>) -> [Vec<String>; 2] {
    let mut sides = Vec::new();
    for table in ["old_note", "new_note"] {
        let rows = db.rows(&format!("SELECT word FROM {table}")).await;
        let mut words: Vec<String> = rows.into_iter().flatten().flatten().collect();
        words.sort();
        sides.push(words);
    }
    sides.try_into().unwrap()
}

/// A whole copy in pages of three keys, a verification, a repair, and a write that the trigger sees.
async fn all_arrives<D: TestDb, K: OwnedKey + Debug>(
    db: &Scratch<D>,
    runtime: &Runtime<D::Db>,
    case: &Case,
) {
    tables(db, case).await;
    let copy = copier::<D, K>(source("old_note"), source("new_note"));
    let name = format!("m{}", Uuid::new_v4().simple());
    let registered = runtime.migration(name).backfill(copy).register().await;
    let migration = registered.unwrap_or_else(|error| panic!("{case:?}: {error}"));
    migration.advance(Stage::DualWrite).await.unwrap_or_else(|error| panic!("{case:?}: {error}"));
    migration.install_trigger().await.unwrap();
    let run = migration.backfill().batch(3).run().await;
    let progress = run.unwrap_or_else(|error| panic!("{case:?}: {error:?}"));
    assert_eq!(progress.failed, 0, "{case:?}: {:?}", migration.dead_letters().await.unwrap());
    let [old, new] = words(db).await;
    assert_eq!(old, new, "{case:?}");
    clean(&migration, case).await;

    // New is damaged in both ways, and repaired.
    db.execute("UPDATE new_note SET word = 'wrong' WHERE word = 'word 1'").await;
    db.execute("DELETE FROM new_note WHERE word = 'word 2'").await;
    let report = migration.verify().batch(2).restart().run().await.unwrap();
    assert_eq!(
        (report.different, report.missing_in_new, report.unexplained),
        (1, 1, 0),
        "{case:?}"
    );
    let repaired = migration.verify().batch(2).repair().run().await.unwrap();
    assert_eq!((repaired.copied, repaired.failures), (2, Vec::new()), "{case:?}");
    let [old, new] = words(db).await;
    assert_eq!(old, new, "{case:?}: after the repair");

    // A write that does not know the library.
    db.execute("UPDATE old_note SET word = 'changed' WHERE word = 'word 0'").await;
    db.execute("DELETE FROM old_note WHERE word = 'word 3'").await;
    migration.repair().await.unwrap_or_else(|error| panic!("{case:?}: {error:?}"));
    let [old, new] = words(db).await;
    assert_eq!(old, new, "{case:?}: after foreign writes");
    assert_eq!(db.number("SELECT count(*) FROM dualwrite_dirty").await, 0, "{case:?}");
    clean(&migration, case).await;
    migration.remove_trigger().await.unwrap();
    drop_tables(db).await;
}

async fn clean(migration: &Migration, case: &Case) {
    let report = migration.verify().batch(4).restart().run().await;
    let report = report.unwrap_or_else(|error| panic!("{case:?}: {error:?}"));
    assert!(report.is_clean(), "{case:?}: {report:?}");
    assert_eq!(report.transient, 0, "{case:?}");
}

async fn run_cases<D: TestDb, K: OwnedKey + Debug>(db: &Scratch<D>, cases: &[Case]) {
    if D::NAME == "postgres" {
        db.execute(
            "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; \
             CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
             CREATE COLLATION german (provider = icu, locale = 'de'); \
             CREATE TYPE mood AS ENUM ('sad', 'ok', 'mad', 'happy'); \
             CREATE DOMAIN label AS varchar(20) CHECK (VALUE <> ''); CREATE DOMAIN code AS char(5); \
             CREATE DOMAIN code_of_code AS code NOT NULL; CREATE DOMAIN email AS ext.citext; \
             CREATE DOMAIN digest AS bytea; CREATE DOMAIN number AS numeric(12,2); CREATE DOMAIN ident AS uuid",
        )
        .await;
    }
    run_cases_as::<D, K>(db, cases).await;
}

/// The same again, where the types are there.
async fn run_cases_as<D: TestDb, K: OwnedKey + Debug>(db: &Scratch<D>, cases: &[Case]) {
    for case in cases {
        // The tables are made anew: statements that are prepared for the old ones go with their pool.
        let pool = db.another_pool(5).await;
        let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
        all_arrives::<D, K>(db, &runtime, case).await;
        runtime.shutdown().await.unwrap();
        pool.close().await;
    }
}

async fn text_keys_of_every_type_arrive<D: TestDb>(db: Scratch<D>) {
    let cases = match D::NAME {
        "postgres" => POSTGRES_TEXTS,
        "mysql" => MYSQL_TEXTS,
        _ => SQLITE_TEXTS,
    };
    run_cases::<D, String>(&db, cases).await;
}

async fn integer_keys_of_every_width_arrive<D: TestDb>(db: Scratch<D>) {
    const UNSIGNED: &[&str] = &["1", "2", "10", "9", "100", "77", "0"];
    let mixed = |old, new| Case { old, new, keys: NUMBERS };
    let cases: &[Case] = match D::NAME {
        "postgres" => &[
            case("smallint", NUMBERS),
            case("int", NUMBERS),
            case("bigint", NUMBERS),
            case("numeric", NUMBERS),
            case("numeric(12,2)", NUMBERS),
            case("numeric", &["1.00", "2.0", "10", "300.000", "-4.0", "0.0"]),
            case("number", NUMBERS),
            mixed("number", "bigint"),
            mixed("numeric(12,2)", "numeric"),
            mixed("int", "bigint"),
            mixed("numeric", "bigint"),
            mixed("smallint", "numeric(10,0)"),
        ],
        "mysql" => &[
            case("SMALLINT", NUMBERS),
            case("MEDIUMINT", NUMBERS),
            case("BIGINT", NUMBERS),
            case("BIGINT UNSIGNED", &["1", "2", "10", "9", "100", "77"]),
            case("DECIMAL(12,2)", NUMBERS),
            case("BOOLEAN", &["0", "1", "100", "-7"]),
            case("SMALLINT UNSIGNED", UNSIGNED),
            case("DECIMAL(12,2) UNSIGNED", UNSIGNED),
            case("DECIMAL(12,2) ZEROFILL", UNSIGNED),
            case("INT(8) ZEROFILL", UNSIGNED),
            case("BIGINT(20) ZEROFILL", UNSIGNED),
            Case { old: "TINYINT", new: "TINYINT UNSIGNED", keys: UNSIGNED },
            Case { old: "INT UNSIGNED", new: "INT", keys: UNSIGNED },
            mixed("INT", "BIGINT"),
            mixed("DECIMAL(12,0)", "BIGINT"),
        ],
        _ => &[
            case("INTEGER", NUMBERS),
            case("BIGINT", NUMBERS),
            case("", NUMBERS),
            case("NUMERIC", NUMBERS),
            case("NUMERIC", &["1.0", "'2'", "10", "'30.0'"]),
            case("INT", NUMBERS),
            case("DECIMAL(12,2)", NUMBERS),
            mixed("INTEGER", "NUMERIC"),
        ],
    };
    run_cases::<D, i64>(&db, cases).await;
}

async fn uuid_keys_arrive_as_bytes_and_as_texts<D: TestDb>(db: Scratch<D>) {
    const BYTES: &[&str] = &[
        "X'6ba7b8109dad11d180b400c04fd430c8'",
        "X'00000000000000000000000000000001'",
        "X'ffffffffffff4fff8fffffffffffffff'",
        "X'01890a5dac96774bbcceb302099a8057'",
    ];
    const BYTEA: &[&str] = &[
        "'\\x6ba7b8109dad11d180b400c04fd430c8'",
        "'\\x00000000000000000000000000000001'",
        "'\\xffffffffffff4fff8fffffffffffffff'",
        "'\\x01890a5dac96774bbcceb302099a8057'",
    ];
    let mixed = |old, new| Case { old, new, keys: UUIDS };
    let cases: &[Case] = match D::NAME {
        "postgres" => &[
            case("uuid", UUIDS),
            case("text", UUIDS),
            case("char(36)", UUIDS),
            case("bytea", BYTEA),
            case("ident", UUIDS),
            mixed("ident", "text"),
            case("ext.citext", UUIDS),
            mixed("text", "uuid"),
            mixed("uuid", "varchar(36)"),
        ],
        "mysql" => &[
            case("BINARY(16)", BYTES),
            case("VARBINARY(16)", BYTES),
            case("UUID", UUIDS),
            case("CHAR(36)", UUIDS),
            case("CHAR(36) CHARACTER SET latin1", UUIDS),
            mixed("CHAR(36)", "UUID"),
        ],
        _ => &[case("BLOB", BYTES), case("TEXT", UUIDS), case("UUID", BYTES)],
    };
    run_cases::<D, Uuid>(&db, cases).await;
}

async fn unsigned_keys_arrive<D: TestDb>(db: Scratch<D>) {
    const UNSIGNED: &[&str] = &["0", "2", "10", "9", "100", "9223372036854775807", "4294967296"];
    let cases: &[Case] = match D::NAME {
        "mysql" => &[
            case("BIGINT UNSIGNED", UNSIGNED),
            case("DECIMAL(20,0)", UNSIGNED),
            Case { old: "BIGINT", new: "BIGINT UNSIGNED", keys: UNSIGNED },
        ],
        "postgres" => &[case("bigint", UNSIGNED), case("numeric(20,0)", UNSIGNED)],
        _ => &[case("INTEGER", UNSIGNED), case("UNSIGNED BIG INT", UNSIGNED)],
    };
    run_cases::<D, u64>(&db, cases).await;
    run_cases_as::<D, AccountId>(&db, cases).await;
}

/// Newtypes, as services have them.
#[derive(Clone, Debug, dualwrite::Key)]
struct AccountId(u64);

#[derive(Clone, Debug, dualwrite::Key)]
struct Digest([u8; 8]);

async fn byte_keys_arrive<D: TestDb>(db: Scratch<D>) {
    const BYTES: &[&str] = &[
        "X'0000000000000001'",
        "X'ffffffffffffff00'",
        "X'00ff00ff00ff00ff'",
        "X'7f80818283848586'",
        "X'6162636465666768'",
        "X'0000000000000000'",
    ];
    const BYTEA: &[&str] = &[
        "'\\x0000000000000001'",
        "'\\xffffffffffffff00'",
        "'\\x00ff00ff00ff00ff'",
        "'\\x7f80818283848586'",
        "'\\x6162636465666768'",
        "'\\x0000000000000000'",
    ];
    const LENGTHS: &[&str] = &["X'00'", "X'0000'", "X'ff'", "X'ff00'", "X'20'", "X''"];
    let cases: &[Case] = match D::NAME {
        "mysql" => &[case("BINARY(8)", BYTES), case("VARBINARY(20)", BYTES)],
        "postgres" => &[case("bytea", BYTEA)],
        _ => &[case("BLOB", BYTES), case("BINARY(8)", BYTES)],
    };
    run_cases::<D, Vec<u8>>(&db, cases).await;
    run_cases_as::<D, Digest>(&db, cases).await;
    let lengths: &[Case] = match D::NAME {
        "mysql" => &[case("VARBINARY(20)", LENGTHS)],
        "postgres" => {
            &[case("bytea", &["'\\x00'", "'\\x0000'", "'\\xff'", "'\\xff00'", "'\\x20'", "''"])]
        }
        _ => &[case("BLOB", LENGTHS)],
    };
    run_cases_as::<D, Vec<u8>>(&db, lengths).await;
}

on_all_databases!(
    unsigned_keys_arrive,
    byte_keys_arrive,
    text_keys_of_every_type_arrive,
    integer_keys_of_every_width_arrive,
    uuid_keys_arrive_as_bytes_and_as_texts,
);
