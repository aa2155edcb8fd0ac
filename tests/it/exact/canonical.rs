//! Rows of all kinds of columns, in pairs of databases: equal rows have equal checksums, and each planted difference is
//! found. `DUALWRITE_TEST_SEED` says which rows.

use dualwrite::{
    BoxError, Stage,
    exact::{Exact, ExactColumns, ExactSide},
};
use sqlx::Database;

use crate::support::db::{MySqlDb, PostgresDb, Scratch, SqliteDb, TestDb};
use crate::support::dice::Dice;

/// Enough that a range is halved.
const ROWS: usize = 150;
const PLANTED: usize = COLUMNS;
const COLUMNS: usize = 11;
const NAMES: [&str; COLUMNS] = [
    "an_integer",
    "a_decimal",
    "a_float",
    "a_real",
    "a_text",
    "a_boolean",
    "some_bytes",
    "a_uuid",
    "a_time",
    "a_date",
    "some_json",
];

/// A value, as it is written into each database.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Number(String),
    Text(String),
    Boolean(bool),
    Bytes(Vec<u8>),
    Uuid(u128),
    Time(String),
    Json(String),
}

trait KindsDb: TestDb {
    type Side: ExactSide<Database = Self::Db, Key = i64, Record = String>;

    const TYPES: [&'static str; COLUMNS];

    fn side(json: bool) -> Self::Side;

    fn literal(cell: &Cell) -> String;

    /// Writes a float again, where a literal is not read to the last bit.
    fn exactly(_: &Scratch<Self>, _: usize, _: usize, _: &Cell) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn columns(json: bool) -> ExactColumns {
    let columns = ExactColumns::of("kinds", "id").unwrap();
    let columns = columns.integer(NAMES[0]).unwrap().decimal(NAMES[1]).unwrap();
    let columns = columns.float(NAMES[2]).unwrap().float(NAMES[3]).unwrap();
    let columns = columns.text(NAMES[4]).unwrap().boolean(NAMES[5]).unwrap();
    let columns = columns.bytes(NAMES[6]).unwrap().uuid(NAMES[7]).unwrap();
    let columns = columns.time(NAMES[8]).unwrap().date(NAMES[9]).unwrap();
    if json { columns.json(NAMES[10]).unwrap() } else { columns }
}

macro_rules! kinds {
    ($db:ident, $side:ident, $backend:ty, $types:expr, $mark:literal, $literal:expr, { $($exactly:tt)* }) => {
        struct $side {
            json: bool,
        }

        /// The record is a text that the test keeps beside the columns.
        impl ExactSide for $side {
            type Database = $backend;
            type Key = i64;
            type Record = String;

            async fn get(
                &self,
                conn: &mut <$backend as Database>::Connection,
                id: &i64,
            ) -> Result<Option<String>, BoxError> {
                let sql = concat!("SELECT twin FROM kinds WHERE id = ", $mark);
                Ok(sqlx::query_scalar(sql).bind(id).fetch_optional(conn).await?)
            }

            async fn put(
                &self,
                _: &mut <$backend as Database>::Connection,
                _: &i64,
                _: Option<&String>,
            ) -> Result<(), BoxError> {
                Ok(())
            }

            async fn keys_after(
                &self,
                _: &mut <$backend as Database>::Connection,
                _: Option<&i64>,
                _: u32,
            ) -> Result<Vec<i64>, BoxError> {
                Ok(Vec::new())
            }

            fn columns(&self) -> Option<ExactColumns> {
                Some(columns(self.json))
            }
        }

        impl KindsDb for $db {
            type Side = $side;

            const TYPES: [&'static str; COLUMNS] = $types;

            fn side(json: bool) -> $side {
                $side { json }
            }

            fn literal(cell: &Cell) -> String {
                $literal(cell)
            }

            $($exactly)*
        }
    };
}

kinds!(
    PostgresDb,
    PostgresKinds,
    sqlx::Postgres,
    [
        "bigint",
        "numeric(38, 10)",
        "double precision",
        "real",
        "text",
        "boolean",
        "bytea",
        "uuid",
        "timestamptz",
        "date",
        "jsonb"
    ],
    "$1",
    |cell: &Cell| match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Number(number) => format!("'{number}'"),
        Cell::Text(text) | Cell::Json(text) => quoted(text),
        Cell::Boolean(boolean) => boolean.to_string(),
        Cell::Bytes(bytes) => format!("'\\x{}'", hexadecimal(bytes)),
        Cell::Uuid(uuid) => format!("'{uuid:032x}'"),
        Cell::Time(time) => format!("'{time}+00'"),
    },
    {}
);
kinds!(
    MySqlDb,
    MySqlKinds,
    sqlx::MySql,
    [
        "BIGINT",
        "DECIMAL(38, 10)",
        "DOUBLE",
        "FLOAT",
        "TEXT",
        "BOOLEAN",
        "BLOB",
        "BINARY(16)",
        "DATETIME(6)",
        "DATE",
        "JSON"
    ],
    "?",
    |cell: &Cell| match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Number(number) => number.clone(),
        Cell::Text(text) | Cell::Json(text) => quoted(&text.replace('\\', "\\\\")),
        Cell::Boolean(boolean) => boolean.to_string(),
        Cell::Bytes(bytes) => format!("X'{}'", hexadecimal(bytes)),
        Cell::Uuid(uuid) => format!("X'{uuid:032x}'"),
        Cell::Time(time) => format!("'{time}'"),
    },
    {}
);
kinds!(
    SqliteDb,
    SqliteKinds,
    sqlx::Sqlite,
    ["INTEGER", "TEXT", "REAL", "REAL", "TEXT", "INTEGER", "BLOB", "BLOB", "TEXT", "TEXT", "TEXT"],
    "?",
    |cell: &Cell| match cell {
        Cell::Null => "NULL".to_owned(),
        // A number that is no text would be read as a float, whatever the column holds.
        Cell::Number(number) => format!("'{number}'"),
        Cell::Text(text) => quoted(text),
        Cell::Json(text) => quoted(&format!(" {text} ")),
        Cell::Boolean(boolean) => i64::from(*boolean).to_string(),
        Cell::Bytes(bytes) => format!("X'{}'", hexadecimal(bytes)),
        Cell::Uuid(uuid) => format!("X'{uuid:032x}'"),
        Cell::Time(time) => format!("'{time}'"),
    },
    {
        async fn exactly(db: &Scratch<Self>, id: usize, column: usize, cell: &Cell) {
            if let (2 | 3, Cell::Number(number)) = (column, cell) {
                let sql = format!("UPDATE kinds SET {} = ? WHERE id = ?", NAMES[column]);
                let number: f64 = number.parse().unwrap();
                let done = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(number).bind(id as i64);
                done.execute(db.pool()).await.unwrap();
            }
        }
    }
);

/// A value of this column; another one each time.
fn cell(dice: &mut Dice, column: usize, null: bool) -> Cell {
    if null && dice.one_in(8) {
        return Cell::Null;
    }
    let signed = |dice: &mut Dice| dice.roll().cast_signed() >> (dice.below(64) as u32);
    match column {
        0 => Cell::Number(signed(dice).to_string()),
        1 => {
            let (number, scale) = (signed(dice), dice.below(11));
            let digits = format!("{:0>11}", number.unsigned_abs());
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            let sign = if number < 0 { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            Cell::Number(format!("{sign}{whole}{point}{fraction}"))
        }
        2 => Cell::Number(float(dice, |dice| {
            let any = f64::from_bits(dice.roll());
            if any.is_normal() { any } else { 0.0 }
        })),
        3 => {
            let any = float(dice, |dice| f64::from(f32::from_bits(dice.roll() as u32)));
            // All digits of the number that four bytes hold, for a database that keeps it in eight.
            let number = any.parse::<f64>().map_or(0.0, |number| number as f32);
            Cell::Number(format!("{:e}", f64::from(if number.is_normal() { number } else { 0.0 })))
        }
        4 => {
            let letters = [
                'a', 'Z', ' ', '\'', '"', '\\', 'é', 'e', '\u{301}', '漢', '😀', '\n', '?', '{',
                '0', 'ß',
            ];
            let length = dice.below(12);
            Cell::Text((0..length).map(|_| *dice.pick(&letters)).collect())
        }
        5 => Cell::Boolean(dice.one_in(2)),
        6 => {
            let length = dice.below(20);
            Cell::Bytes((0..length).map(|_| dice.roll() as u8).collect())
        }
        7 => Cell::Uuid(u128::from(dice.roll()) << 64 | u128::from(dice.roll())),
        8 => Cell::Time(format!(
            "{} {:02}:{:02}:{:02}.{:06}",
            date(dice),
            dice.below(24),
            dice.below(60),
            dice.below(60),
            dice.below(1_000_000)
        )),
        9 => Cell::Time(date(dice)),
        _ => {
            let (number, text) = (signed(dice), dice.below(1_000));
            let float = (dice.below(1_000) as f64 + 0.5) / 8.0; // two JSON types write whole floats in two ways
            Cell::Json(match dice.one_in(2) {
                true => format!(
                    r#"{{"b": [{number}, null, {float}], "a": {{"é": true}}, "cc": "{text}"}}"#
                ),
                false => {
                    format!(r#"{{"cc":"{text}","a":{{"é":true}},"b":[{number},null,{float}]}}"#)
                }
            })
        }
    }
}

fn date(dice: &mut Dice) -> String {
    let year = if dice.one_in(4) { 1_000 + dice.below(8_999) } else { 1_960 + dice.below(80) };
    format!("{year:04}-{:02}-{:02}", 1 + dice.below(12), 1 + dice.below(28))
}

fn float(dice: &mut Dice, any: impl Fn(&mut Dice) -> f64) -> String {
    let some = [0.0, 1.0, -1.5, 0.125, 1e15, 1e16, 123_456.75, -1e-5, 0.1];
    let number = if dice.one_in(4) { *dice.pick(&some) } else { any(dice) };
    format!("{number:e}")
}

/// As the other side may write the same value.
fn again(cell: &Cell) -> Cell {
    match cell {
        Cell::Json(text) => {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            Cell::Json(serde_json::to_string_pretty(&value).unwrap())
        }
        same => same.clone(),
    }
}

async fn insert<D: KindsDb>(db: &Scratch<D>, all: &[Vec<Cell>]) {
    let row = |(id, cells): (usize, &Vec<Cell>)| {
        let cells: Vec<String> = cells.iter().map(D::literal).collect();
        format!("({id}, {}, 'row {id}')", cells.join(", "))
    };
    let rows: Vec<String> = all.iter().enumerate().map(row).collect();
    let names = NAMES.join(", ");
    db.execute(&format!("INSERT INTO kinds (id, {names}, twin) VALUES {}", rows.join(", "))).await;
    for (id, cells) in all.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            D::exactly(db, id, column, cell).await;
        }
    }
}

async fn pair<O: KindsDb, N: KindsDb>(test: &str, json: bool) {
    let (Some(old), Some(new)) = (O::fresh(test).await, N::fresh(test).await) else { return };
    for (types, db) in [(O::TYPES, 0), (N::TYPES, 1)] {
        let columns = NAMES.iter().zip(types).map(|(name, kind)| format!("{name} {kind}"));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let sql =
            format!("CREATE TABLE kinds (id BIGINT PRIMARY KEY, {columns}, twin VARCHAR(100))");
        if db == 0 { old.execute(&sql).await } else { new.execute(&sql).await }
    }
    let seed = std::env::var("DUALWRITE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(20_261_130);
    let mut dice = Dice::new(seed);
    let row = |dice: &mut Dice| (0..COLUMNS).map(|column| cell(dice, column, true)).collect();
    let rows: Vec<Vec<Cell>> = (0..ROWS).map(|_| row(&mut dice)).collect();
    let again_all: Vec<Vec<Cell>> =
        rows.iter().map(|row| row.iter().map(again).collect()).collect();
    insert(&old, &rows).await;
    insert(&new, &again_all).await;
    let exact = Exact::between(
        "kinds",
        (old.another_pool(3).await, O::side(json)),
        (new.another_pool(3).await, N::side(json)),
    );
    let exact = exact.start().await.unwrap();
    exact.advance(Stage::DualWrite).await.unwrap();
    let report = exact.verify().await.unwrap();
    let about = format!("seed {seed}: {report:?}");
    assert_eq!((report.compared, report.fetched), (ROWS as u64, 0), "{about}");

    let compared = if json { COLUMNS } else { COLUMNS - 1 };
    for number in 0..PLANTED {
        let (id, column) = (dice.below(ROWS), number % compared);
        let planted = loop {
            let planted = match &rows[id][column] {
                Cell::Boolean(boolean) => Cell::Boolean(!boolean),
                Cell::Null => cell(&mut dice, column, false),
                _ if dice.one_in(4) => Cell::Null,
                // The nearest other value, where there is one.
                Cell::Text(text) if dice.one_in(2) => Cell::Text(format!("{text} ")),
                Cell::Bytes(bytes) if dice.one_in(2) => {
                    Cell::Bytes([bytes.as_slice(), &[0]].concat())
                }
                Cell::Uuid(uuid) => Cell::Uuid(uuid ^ 1),
                _ => cell(&mut dice, column, false),
            };
            if !is_same(&planted, &rows[id][column], column) {
                break planted;
            }
        };
        let set = |literal: String, twin: &str| {
            format!(
                "UPDATE kinds SET {} = {literal}, twin = '{twin}' WHERE id = {id}",
                NAMES[column]
            )
        };
        let about = format!("seed {seed}: {:?} became {planted:?}", rows[id][column]);
        new.execute(&set(N::literal(&planted), "planted")).await;
        N::exactly(&new, id, column, &planted).await;
        let report = exact.verify().await.unwrap();
        assert_eq!(report.differing, [id.to_string()], "{about}: {report:?}");
        assert!(report.fetched <= 100, "{about}: {report:?}");
        new.execute(&set(N::literal(&again(&rows[id][column])), &format!("row {id}"))).await;
        N::exactly(&new, id, column, &rows[id][column]).await;
    }
    assert_eq!(exact.verify().await.unwrap().fetched, 0, "seed {seed}");
    exact.shutdown().await;
}

/// Whether two values, written in two ways, are one in a column.
fn is_same(one: &Cell, other: &Cell, column: usize) -> bool {
    match (one, other) {
        (Cell::Number(one), Cell::Number(other)) if column == 2 || column == 3 => {
            one.parse::<f64>().unwrap() == other.parse::<f64>().unwrap()
        }
        (Cell::Number(one), Cell::Number(other)) => {
            let scaled = |text: &str| {
                let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
                format!("{whole}{fraction:0<11}").parse::<i128>().unwrap()
            };
            scaled(one) == scaled(other)
        }
        (Cell::Json(one), Cell::Json(other)) => {
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            value(one) == value(other)
        }
        (one, other) => one == other,
    }
}

macro_rules! pairs {
    ($($name:ident: $old:ident, $new:ident, $json:literal;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            pair::<$old, $new>(concat!("exact::canonical::", stringify!($name)), $json).await;
        }
    )+};
}
pairs! {
    equal_rows_have_equal_checksums_on_two_postgres: PostgresDb, PostgresDb, true;
    equal_rows_have_equal_checksums_on_mysql_and_postgres: MySqlDb, PostgresDb, false;
    equal_rows_have_equal_checksums_on_mysql_and_postgres_with_json: MySqlDb, PostgresDb, true;
    equal_rows_have_equal_checksums_on_postgres_and_sqlite: PostgresDb, SqliteDb, true;
    equal_rows_have_equal_checksums_on_sqlite_and_mysql: SqliteDb, MySqlDb, false;
    equal_rows_have_equal_checksums_on_two_mysql: MySqlDb, MySqlDb, false;
    equal_rows_have_equal_checksums_on_two_sqlite: SqliteDb, SqliteDb, true;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sides_that_name_other_columns_are_refused() {
    let test = "exact::canonical::refused";
    let (Some(old), Some(new)) = (SqliteDb::fresh(test).await, SqliteDb::fresh(test).await) else {
        return;
    };
    let (old, new) = (old.another_pool(1).await, new.another_pool(1).await);
    let sides = (SqliteDb::side(true), SqliteDb::side(false));
    let refused =
        Exact::between("kinds", (old, sides.0), (new, sides.1)).start().await.unwrap_err();
    assert_eq!(refused.kind(), dualwrite::ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("ExactSide::columns"), "{refused}");
}
