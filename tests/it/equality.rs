//! Fields of two types or collations that the database has no equality for: compared by what they say.

use dualwrite::{
    CopySql, Dual, DualTable as _, Mapping, Runtime, Stage,
    copy::{ConvertColumns, KeySource},
};

use crate::support::db::{Scratch, TestDb, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(
    two_types_without_a_common_equality_are_compared,
    columns_of_one_type_are_compared_to_the_letter,
    renamed_columns_of_two_collations_are_copied_and_compared,
);

/// The types of old and new, literals that are the same on both sides, and two that are not.
struct Pair {
    types: [&'static str; 2],
    same: &'static [[&'static str; 2]],
    other: [&'static str; 2],
}

const TEXTS: &[[&str; 2]] = &[["'a'", "'a'"], ["'Straße'", "'Straße'"], ["NULL", "NULL"]];
const JSON: &[[&str; 2]] = &[
    ["'{\"b\": 1,  \"a\": [1, 2]}'", "'{\"a\":[1,2],\"b\":1}'"],
    ["'[]'", "'[]'"],
    ["NULL", "NULL"],
];
const OTHER_JSON: [&str; 2] = ["'{\"a\": [1, 2]}'", "'{\"a\": [2, 1]}'"];

const JSON_ARRAYS: &[[&str; 2]] = &[
    [r#"'{"{\"b\": 1,  \"a\": [1, 2]}",NULL}'"#, r#"'{"{\"a\":[1,2],\"b\":1}",NULL}'"#],
    ["'{}'", "'{}'"],
    ["NULL", "NULL"],
];
const OTHER_JSON_ARRAYS: [&str; 2] = [r#"'{"[1, 2]"}'"#, r#"'{"[2, 1]"}'"#];

/// What stands in a row is compared as it would be alone: JSON by what it says, a text to the letter.
const ROWS: &[[&str; 2]] = &[
    [r#"'(1.0,"{""b"": 1,  ""a"": [1, null]}",x)'"#, r#"'(1.0,"{""a"":[1,null],""b"":1}",x)'"#],
    ["'(1,null,)'", r#"'(1," null ",)'"#],
    ["'(,,)'", "'(,,)'"],
    ["NULL", "NULL"],
];
const OTHER_TEXT_IN_A_ROW: [&str; 2] = ["'(1,[1],x)'", "'(1,[ 1],X)'"];
/// A composite type that holds JSON has no equality, so that even a `citext` in it is compared to the letter.
const OTHER_CASE_IN_A_ROW: [&str; 2] = ["'(1,[1],x)'", "'(1,[ 1],X)'"];
const NULL_IN_A_ROW: [&str; 2] = ["'(1,null,x)'", "'(1,,x)'"];
const ROW_ARRAYS: &[[&str; 2]] = &[
    [r#"'{"(1,\"{\"\"a\"\": 1}\",x)",NULL}'"#, r#"'{"(1,\"{\"\"a\"\":1}\",x)",NULL}'"#],
    ["'{}'", "'{}'"],
];
const OTHER_ROW_ARRAYS: [&str; 2] = [r#"'{"(1,[1],x)"}'"#, r#"'{"(1,[2],x)"}'"#];

const UUID: &str = "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'";
const UUIDS: &[[&str; 2]] = &[[UUID, UUID], ["NULL", "NULL"]];
const OTHER_UUID: [&str; 2] = [UUID, "'6ba7b810-9dad-11d1-80b4-00c04fd430c9'"];
const ADDRESSES: &[[&str; 2]] = &[["'::1'", "'::1'"], ["NULL", "NULL"]];
const POINTS: &[[&str; 2]] = &[["POINT(1, 2)", "POINT(1, 2)"], ["NULL", "NULL"]];
/// Written with six digits, of seven or more.
const FLOATS: &[[&str; 2]] = &[["16777216", "16777216"], ["0.1", "0.1"], ["NULL", "NULL"]];

/// Two types may write one value in two ways.
const SCALED: &[[&str; 2]] =
    &[["1.5", "1.5"], ["100", "100"], ["-0.25", "-0.25"], ["NULL", "NULL"]];
const OTHER_SCALED: [&str; 2] = ["1.5", "1.5001"];
const WHOLE: &[[&str; 2]] =
    &[["1", "1"], ["9007199254740992", "9007199254740992"], ["NULL", "NULL"]];
const OTHER_WHOLE: [&str; 2] = ["9007199254740993", "9007199254740992"];
const HALVES: &[[&str; 2]] = &[["0.5", "0.5"], ["100", "100"], ["NULL", "NULL"]];
const TIMES: &[[&str; 2]] = &[["'2026-01-02 10:00:00'", "'2026-01-02 10:00:00'"], ["NULL", "NULL"]];
const OTHER_TIMES: [&str; 2] = ["'2026-01-02 10:00:00'", "'2026-01-02 10:00:00.000001'"];
const DAYS: &[[&str; 2]] = &[["'2026-01-02'", "'2026-01-02'"], ["NULL", "NULL"]];
const OTHER_DAYS: [&str; 2] = ["'2026-01-02'", "'2026-01-03'"];
const CLOCKS: &[[&str; 2]] = &[["'10:00:00'", "'10:00:00'"], ["NULL", "NULL"]];

fn pairs<D: TestDb>() -> Vec<Pair> {
    let texts = |old, new| Pair { types: [old, new], same: TEXTS, other: ["'a'", "'A'"] };
    let json = |old, new| Pair { types: [old, new], same: JSON, other: OTHER_JSON };
    let arrays = |old, new| Pair { types: [old, new], same: JSON_ARRAYS, other: OTHER_JSON_ARRAYS };
    let uuids = |old, new| Pair { types: [old, new], same: UUIDS, other: OTHER_UUID };
    let addresses =
        |old, new| Pair { types: [old, new], same: ADDRESSES, other: ["'::1'", "'::2'"] };
    match D::NAME {
        "postgres" => vec![
            json("json", "jsonb"),
            json("jsonb", "json"),
            json("json", "json"),
            json("document", "jsonb"),
            json("document", "document"),
            arrays("json[]", "jsonb[]"),
            arrays("json[]", "json[]"),
            arrays("documents", "jsonb[]"),
            json("document_of_document", "jsonb"),
            json("document_of_document", "document_of_document"),
            arrays("document_of_document[]", "jsonb[]"),
            arrays("documents_of_documents", "documents"),
            Pair { types: ["entry", "entry"], same: ROWS, other: OTHER_TEXT_IN_A_ROW },
            Pair { types: ["entry", "entry"], same: ROWS, other: NULL_IN_A_ROW },
            Pair { types: ["entry_of_entry", "entry"], same: ROWS, other: OTHER_TEXT_IN_A_ROW },
            Pair { types: ["entry[]", "entry[]"], same: ROW_ARRAYS, other: OTHER_ROW_ARRAYS },
            Pair {
                types: ["folded_entry", "folded_entry"],
                same: ROWS,
                other: OTHER_CASE_IN_A_ROW,
            },
            Pair { types: ["numeric(12,2)", "numeric(14,4)"], same: SCALED, other: OTHER_SCALED },
            Pair { types: ["numeric(14,4)", "numeric"], same: SCALED, other: OTHER_SCALED },
            Pair { types: ["bigint", "numeric(20,2)"], same: WHOLE, other: OTHER_WHOLE },
            Pair {
                types: ["real", "double precision"],
                same: HALVES,
                other: ["0.5", "0.50000001"],
            },
            Pair { types: ["timestamp(0)", "timestamp(6)"], same: TIMES, other: OTHER_TIMES },
            Pair { types: ["timestamp", "timestamptz"], same: TIMES, other: OTHER_TIMES },
            Pair { types: ["date", "timestamp"], same: DAYS, other: OTHER_DAYS },
            texts("text COLLATE \"C\"", "text COLLATE \"und-x-icu\""),
            texts("varchar(20) COLLATE \"und-x-icu\"", "text COLLATE \"C\""),
        ],
        "mysql" => vec![
            texts(
                "VARCHAR(20) COLLATE utf8mb4_general_ci",
                "VARCHAR(20) COLLATE utf8mb4_unicode_ci",
            ),
            texts("VARCHAR(20) CHARACTER SET latin1", "VARCHAR(20) COLLATE utf8mb4_bin"),
            // Types that are refused where a number is asked for.
            uuids("UUID", "UUID"),
            uuids("CHAR(36)", "UUID"),
            addresses("INET6", "INET6"),
            addresses("INET6", "VARCHAR(40)"),
            Pair { types: ["POINT", "POINT"], same: POINTS, other: ["POINT(1, 2)", "POINT(2, 1)"] },
            Pair { types: ["DECIMAL(12,2)", "DECIMAL(14,4)"], same: SCALED, other: OTHER_SCALED },
            Pair { types: ["BIGINT", "DECIMAL(20,2)"], same: WHOLE, other: OTHER_WHOLE },
            Pair { types: ["INT(9) ZEROFILL", "BIGINT"], same: &[["7", "7"]], other: ["7", "8"] },
            Pair { types: ["BIGINT", "BIGINT UNSIGNED"], same: WHOLE, other: OTHER_WHOLE },
            Pair { types: ["FLOAT", "DOUBLE"], same: HALVES, other: ["0.5", "0.50000001"] },
            Pair { types: ["DATETIME", "DATETIME(6)"], same: TIMES, other: OTHER_TIMES },
            Pair { types: ["TIMESTAMP(3)", "DATETIME"], same: TIMES, other: OTHER_DAYS },
            Pair {
                types: ["TIME", "TIME(6)"],
                same: CLOCKS,
                other: ["'10:00:00'", "'10:00:00.000001'"],
            },
            Pair { types: ["DATE", "DATETIME"], same: DAYS, other: OTHER_DAYS },
            Pair { types: ["FLOAT", "FLOAT"], same: FLOATS, other: ["16777216", "16777222"] },
        ],
        _ => vec![
            texts("TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"),
            Pair { types: ["INTEGER", "REAL"], same: WHOLE, other: OTHER_WHOLE },
            Pair { types: ["DECIMAL(12,2)", "REAL"], same: SCALED, other: OTHER_SCALED },
            Pair { types: ["BIGINT", "NUMERIC"], same: WHOLE, other: OTHER_WHOLE },
        ],
    }
}

fn copier<D: TestDb>(mapping: fn() -> Mapping<D::Db>) -> CopySql<D::Db, i64> {
    CopySql::new(KeySource::table("old_field").column("id"))
        .new_source(KeySource::table("new_field").column("id"))
        .copying("INSERT INTO new_field SELECT id, f FROM {rows} r")
        .compared_by(mapping)
}

/// Types of both sides, and two values that the equality of the type may take for one, and a comparison to the letter not.
fn letters<D: TestDb>() -> Vec<([&'static str; 2], [&'static str; 2])> {
    let cases = ["'a'", "'A'"];
    let blanks = ["'a'", "'a '"];
    let mut all = vec![
        (["VARCHAR(20)"; 2], cases),
        (["VARCHAR(20)"; 2], blanks),
        (["BIGINT"; 2], ["1", "2"]),
        (["BIGINT"; 2], ["0", "NULL"]),
        (["NUMERIC(10, 2)"; 2], ["1", "1.01"]),
        (["DATE"; 2], ["'2026-01-02'", "'2026-01-03'"]),
        (["BIGINT", "VARCHAR(20)"], ["1", "'1.0'"]),
        (["REAL"; 2], ["0.5", "0.25"]),
    ];
    all.extend(match D::NAME {
        "postgres" => vec![
            (["text", "varchar(5)"], cases),
            (["text COLLATE caseless"; 2], cases),
            (["numeric"; 2], ["1.0", "1.00"]),
            (["interval"; 2], ["'1 mon'", "'30 days'"]),
            (["double precision"; 2], ["'0'", "'-0'"]),
            (["timestamptz"; 2], ["'2026-01-02 00:00Z'", "'2026-01-02 00:00:01Z'"]),
            (["boolean"; 2], ["true", "false"]),
            (["mood"; 2], ["'good'", "'bad'"]),
        ],
        "mysql" => vec![
            (["VARCHAR(20) COLLATE utf8mb4_general_ci"; 2], ["'e'", "'é'"]),
            (["TEXT CHARACTER SET latin1", "CHAR(5) CHARACTER SET latin1"], cases),
            (["VARCHAR(20) CHARACTER SET latin1", "VARCHAR(20)"], ["'é'", "'É'"]),
            (["ENUM('a', 'b')"; 2], ["'a'", "'b'"]),
            (["DOUBLE"; 2], ["1e15", "1000000000000001"]),
            (["INT(5) ZEROFILL"; 2], ["7", "8"]),
            (["VARBINARY(5)"; 2], blanks),
        ],
        _ => vec![
            (["TEXT COLLATE NOCASE"; 2], cases),
            (["TEXT COLLATE RTRIM"; 2], blanks),
            ([""; 2], ["1", "1.0"]),
            ([""; 2], ["1", "'1.0'"]),
            (["NUMERIC", "TEXT"], ["1", "'1.0'"]),
            (["INTEGER", "REAL"], ["9007199254740993", "9007199254740992.0"]),
            (["BLOB"; 2], ["'a'", "x'61'"]),
        ],
    });
    all
}

async fn columns_of_one_type_are_compared_to_the_letter<D: Sql>(db: Scratch<D>) {
    if D::NAME == "postgres" {
        db.execute("CREATE TYPE mood AS ENUM ('good', 'bad')").await;
        db.execute(
            "CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        )
        .await;
    }
    let pool = db.another_pool(5).await;
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    for (number, (types, [one, other])) in letters::<D>().into_iter().enumerate() {
        for (side, table) in ["old_field", "new_field"].into_iter().enumerate() {
            let f = types[side];
            db.execute(&format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, f {f})")).await;
            let second = if side == 0 { one } else { other };
            let same = if types[0] == types[1] { one } else { "NULL" };
            db.execute(&format!(
                "INSERT INTO {table} VALUES (1, {same}), (2, {second}), (3, NULL)"
            ))
            .await;
        }
        let copy = copier::<D>(|| Mapping::new().column("f", "f"));
        let migration =
            runtime.migration(format!("m{number}")).backfill(copy).register().await.unwrap();
        migration.advance(Stage::DualWrite).await.unwrap();
        let report = migration.verify().run().await.unwrap();
        assert_eq!((report.compared, report.keys), (3, vec!["2".to_owned()]), "{types:?} {one}");
        for table in ["old_field", "new_field"] {
            db.execute(&format!("DROP TABLE {table}")).await;
        }
    }
    runtime.shutdown().await.unwrap();
}

async fn two_types_without_a_common_equality_are_compared<D: Sql>(db: Scratch<D>) {
    if D::NAME == "postgres" {
        db.execute(
            "CREATE DOMAIN document AS json; CREATE DOMAIN documents AS json[];
             CREATE DOMAIN document_of_document AS document;
             CREATE DOMAIN documents_of_documents AS document_of_document[];
             CREATE TYPE entry AS (number numeric, said document_of_document, text text);
             CREATE DOMAIN entry_of_entry AS entry; CREATE EXTENSION citext;
             CREATE TYPE folded_entry AS (number numeric, said json, text citext)",
        )
        .await;
    }
    for (number, Pair { types, same, other }) in pairs::<D>().into_iter().enumerate() {
        let pool = db.another_pool(5).await;
        let mut rows = same.to_vec();
        rows.push(other);
        rows.push([same[0][0], "NULL"]);
        for (side, table) in ["old_field", "new_field"].into_iter().enumerate() {
            db.execute(&format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, f {})", types[side]))
                .await;
            for (id, row) in rows.iter().enumerate() {
                db.execute(&format!("INSERT INTO {table} VALUES ({id}, {})", row[side])).await;
            }
        }
        let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
        for by_value in [true, false] {
            let copy = match by_value {
                true => copier::<D>(|| Mapping::new().column("id", "id").same("f", "f")),
                false => copier::<D>(|| Mapping::new().same("id", "id").column("f", "f")),
            };
            let name = format!("m{number}-{by_value}");
            let migration = runtime.migration(name).backfill(copy).register().await.unwrap();
            migration.advance(Stage::DualWrite).await.unwrap();
            let report = migration.verify().run().await.unwrap();
            let last = [same.len(), same.len() + 1].map(|id| id.to_string());
            assert_eq!(report.keys, last, "{types:?} by value: {by_value}");
            let fields: Vec<&String> = report.fields.keys().collect();
            assert_eq!(fields, ["f"]);
        }
        runtime.shutdown().await.unwrap();
        pool.close().await;
        db.execute("DROP TABLE old_field; DROP TABLE new_field").await;
    }
}

/// Both are columns of one row.
#[derive(Dual)]
#[dual(table = "people", key = "id")]
struct Person {
    id: i64,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
}

async fn renamed_columns_of_two_collations_are_copied_and_compared<D: Sql>(db: Scratch<D>)
where
    Person: ConvertColumns<D::Db>,
{
    let (old, new) = match D::NAME {
        "postgres" => ("text COLLATE \"C\"", "text COLLATE \"und-x-icu\""),
        "mysql" => {
            ("VARCHAR(40) COLLATE utf8mb4_general_ci", "VARCHAR(40) COLLATE utf8mb4_unicode_ci")
        }
        _ => ("TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"),
    };
    db.execute(&format!(
        "CREATE TABLE people (id BIGINT PRIMARY KEY, email {old} NOT NULL, email_address {new})"
    ))
    .await;
    db.execute("INSERT INTO people VALUES (1, 'a', NULL), (2, 'b', 'B'), (3, 'c', 'c')").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration = runtime.migration("people").backfill(Person::copy_columns());
    let migration = registration.register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    assert_eq!(migration.verify().run().await.unwrap().keys, ["1", "2"]);
    let done = migration.backfill().run().await.unwrap();
    assert_eq!((done.migrated, done.skipped, done.failed), (2, 1, 0));
    assert!(migration.verify().run().await.unwrap().is_clean());
    runtime.shutdown().await.unwrap();
}
