//! People in two tables, under keys of several types, compared in several ways.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use dualwrite::{
    BoxError, Compare, Copied, CopyKeys, Mapping, Migration, OwnedKey, Runtime, Stage, Tx,
    copy::KeySource,
};
use uuid::Uuid;

use crate::support::db::{MySqlDb, PostgresDb, Scratch, SqliteDb, TestDb};
use crate::support::sql::Sql;

/// How a verification compares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    Sql,
    Rust,
    /// By `differing` of the copy function.
    Asked,
}

#[derive(sqlx::FromRow)]
struct OldPerson {
    a: Option<String>,
    b: Option<String>,
    n: Option<i64>,
}

#[derive(sqlx::FromRow, Compare)]
struct NewPerson {
    a: Option<String>,
    b: Option<String>,
    n: Option<String>,
}

type Pause = Arc<dyn Fn(&str) + Send + Sync>;

/// Rows in Rust, for one database.
pub(super) trait People: Sql {
    fn in_rust(seen: Pause) -> Mapping<Self::Db>;
}

macro_rules! people {
    ($($kind:ty)*) => {$(
        impl People for $kind {
            fn in_rust(seen: Pause) -> Mapping<Self::Db> {
                let columns = ["a", "b", "n"];
                Mapping::new().converted(&columns, &columns, move |old: OldPerson| {
                    seen(old.a.as_deref().unwrap_or_default());
                    let n = old.n.map(|n| n.to_string());
                    Ok(NewPerson { a: old.a, b: old.b, n })
                })
            }
        }
    )*};
}
people!(SqliteDb PostgresDb MySqlDb);

/// A type of key.
pub(super) trait PersonKey: OwnedKey {
    const COLUMNS: &'static [&'static str];
    fn of(number: u32) -> Self;
    /// The types of the columns, in old and in new.
    fn types<D: TestDb>() -> [&'static str; 2];
    /// The values as SQL.
    fn values<D: TestDb>(&self) -> Vec<String>;
}

impl PersonKey for i64 {
    const COLUMNS: &'static [&'static str] = &["id"];
    fn of(number: u32) -> Self {
        i64::from(number) * 7
    }
    fn types<D: TestDb>() -> [&'static str; 2] {
        ["id BIGINT NOT NULL"; 2]
    }
    fn values<D: TestDb>(&self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl PersonKey for Uuid {
    const COLUMNS: &'static [&'static str] = &["id"];
    fn of(number: u32) -> Self {
        Uuid::from_u128(u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
    }
    fn types<D: TestDb>() -> [&'static str; 2] {
        [D::sql("id BLOB NOT NULL", "id UUID NOT NULL", "id BINARY(16) NOT NULL"); 2]
    }
    fn values<D: TestDb>(&self) -> Vec<String> {
        let quoted = D::sql("X'{}'", "'{}'", "X'{}'");
        vec![quoted.replace("{}", &self.simple().to_string())]
    }
}

/// Sorted otherwise in new where the database lets two collations meet.
impl PersonKey for String {
    const COLUMNS: &'static [&'static str] = &["id"];
    fn of(number: u32) -> Self {
        format!("{}{:03}", ["k", "K", "a-", "Z_"][number as usize % 4], number)
    }
    fn types<D: TestDb>() -> [&'static str; 2] {
        [
            D::sql(
                "id TEXT COLLATE NOCASE NOT NULL",
                "id VARCHAR(40) COLLATE \"und-x-icu\" NOT NULL",
                "id VARCHAR(40) COLLATE utf8mb4_general_ci NOT NULL",
            ),
            D::sql(
                "id TEXT NOT NULL",
                "id VARCHAR(40) COLLATE \"und-x-icu\" NOT NULL",
                "id VARCHAR(40) COLLATE utf8mb4_bin NOT NULL",
            ),
        ]
    }
    fn values<D: TestDb>(&self) -> Vec<String> {
        vec![format!("'{self}'")]
    }
}

impl PersonKey for (i64, String) {
    const COLUMNS: &'static [&'static str] = &["shop", "id"];
    fn of(number: u32) -> Self {
        (i64::from(number % 3), format!("p{number:03}"))
    }
    fn types<D: TestDb>() -> [&'static str; 2] {
        ["shop BIGINT NOT NULL, id VARCHAR(40) NOT NULL"; 2]
    }
    fn values<D: TestDb>(&self) -> Vec<String> {
        vec![self.0.to_string(), format!("'{}'", self.1)]
    }
}

pub(super) fn condition<D: TestDb, K: PersonKey>(key: &K) -> String {
    let pairs = K::COLUMNS.iter().zip(key.values::<D>());
    pairs.map(|(column, value)| format!("{column} = {value}")).collect::<Vec<_>>().join(" AND ")
}

pub(super) struct CopyPeople<D: People, K> {
    pub(super) way: Way,
    /// Pages that `differing` was asked about.
    pub(super) pages: Arc<AtomicU64>,
    /// Fails at the third page.
    pub(super) fails: Arc<AtomicBool>,
    /// Called with `a` of each row that Rust compares.
    pub(super) seen: Pause,
    pub(super) types: PhantomData<(D, K)>,
}

impl<D: People, K> CopyPeople<D, K> {
    pub(super) fn new(way: Way) -> Self {
        Self {
            way,
            pages: Arc::default(),
            fails: Arc::default(),
            seen: Arc::new(|_| ()),
            types: PhantomData,
        }
    }
}

impl<D: People, K: PersonKey> CopyKeys for CopyPeople<D, K> {
    type Database = D::Db;
    type Key = K;

    fn source(&self) -> KeySource {
        K::COLUMNS.iter().fold(KeySource::table("old_person"), |source, name| source.column(*name))
    }

    fn new_source(&self) -> Option<KeySource> {
        let table = KeySource::table("new_person");
        Some(K::COLUMNS.iter().fold(table, |source, name| source.column(*name)))
    }

    fn mapping(&self) -> Option<Mapping<D::Db>> {
        match self.way {
            Way::Sql => Some(Mapping::new().column("a", "a").column("b", "b").column("n", "n")),
            Way::Rust => Some(D::in_rust(Arc::clone(&self.seen))),
            Way::Asked => None,
        }
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[K]) -> Result<Copied, BoxError> {
        let mut copied = Copied::default();
        for key in keys {
            let condition = condition::<D, K>(key);
            D::run(tx, &format!("DELETE FROM new_person WHERE {condition}")).await?;
            let columns = format!("{}, a, b", K::COLUMNS.join(", "));
            let text = D::sql("CAST(n AS TEXT)", "CAST(n AS VARCHAR)", "CAST(n AS CHAR)");
            let sql = format!(
                "INSERT INTO new_person ({columns}, n) SELECT {columns}, {text} FROM old_person \
                 WHERE {condition}"
            );
            copied.migrated += D::run(tx, &sql).await?;
        }
        Ok(copied)
    }

    async fn differing(&self, tx: &mut Tx<'_, D::Db>, keys: &[K]) -> Result<Vec<K>, BoxError> {
        if self.pages.fetch_add(1, SeqCst) == 2 && self.fails.load(SeqCst) {
            return Err("the comparison breaks down".into());
        }
        let mut differing = Vec::new();
        for key in keys {
            let condition = condition::<D, K>(key);
            let mut sides = Vec::new();
            for table in ["old_person", "new_person"] {
                let sql = format!("SELECT a, b, n FROM {table} WHERE {condition}");
                sides.push(D::read(tx, &sql).await?);
            }
            if sides[0] != sides[1] {
                differing.push(key.clone());
            }
        }
        Ok(differing)
    }
}

/// The migration at dual write, with as many rows on both sides.
pub(super) struct World<D: People, K: PersonKey> {
    pub(super) db: Scratch<D>,
    pub(super) runtime: Runtime<D::Db>,
    pub(super) migration: Migration,
    keys: PhantomData<K>,
}

impl<D: People, K: PersonKey> World<D, K> {
    pub(super) async fn new(db: Scratch<D>, rows: u32, copy: CopyPeople<D, K>) -> Self {
        let [old, new] = K::types::<D>();
        let primary = format!("PRIMARY KEY ({})", K::COLUMNS.join(", "));
        let text = "VARCHAR(60)";
        db.execute(&format!(
            "CREATE TABLE old_person ({old}, a {text}, b {text}, n BIGINT, {primary});
             CREATE TABLE new_person ({new}, a {text}, b {text}, n {text}, {primary})"
        ))
        .await;
        for number in 1..=rows {
            let values = K::of(number).values::<D>().join(", ");
            for table in ["old_person", "new_person"] {
                let n = if table == "old_person" { "1" } else { "'1'" };
                let b = if number % 3 == 0 { "NULL" } else { "''" };
                let sql = format!("INSERT INTO {table} VALUES ({values}, 'a {number}', {b}, {n})");
                db.execute(&sql).await;
            }
        }
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let migration = runtime.migration("people").backfill(copy).register().await.unwrap();
        migration.advance(Stage::DualWrite).await.unwrap();
        Self { db, runtime, migration, keys: PhantomData }
    }

    /// Changes one side behind the library's back.
    pub(super) async fn plant(&self, table: &str, number: u32, set: &str) {
        let condition = condition::<D, K>(&K::of(number));
        let sql = match set {
            "" => format!("DELETE FROM {table} WHERE {condition}"),
            set => format!("UPDATE {table} SET {set} WHERE {condition}"),
        };
        self.db.execute(&sql).await;
    }

    pub(super) fn key(number: u32) -> String {
        let key = K::of(number).parts().into_iter().map(|part| match part {
            dualwrite::KeyPart::Integer(value) => serde_json::Value::from(value),
            dualwrite::KeyPart::Text(text) => serde_json::Value::from(text),
            dualwrite::KeyPart::Uuid(id) => serde_json::Value::from(id.to_string()),
            other => panic!("no key of these tests: {other:?}"),
        });
        let key: Vec<serde_json::Value> = key.collect();
        match key.as_slice() {
            [only] => only.to_string(),
            several => serde_json::Value::from(several).to_string(),
        }
    }
}

/// Rewrites and moves rows of both sides until it is told to stop; answers with how many writes it made.
pub(super) async fn write_on<D: People, K: PersonKey>(
    migration: Migration,
    pool: sqlx::Pool<D::Db>,
    rows: std::ops::Range<u32>,
    stop: Arc<AtomicBool>,
) -> u64 {
    let mut written = 0;
    while !stop.load(SeqCst) {
        let number = rows.start + (written * 7 % u64::from(rows.end - rows.start)) as u32;
        let key = K::of(number);
        let mut tx = migration.begin(&pool).await.unwrap();
        for table in ["old_person", "new_person"] {
            let condition = condition::<D, K>(&key);
            let n = if table == "old_person" { "5" } else { "'5'" };
            let sql = if written % 3 == 0 {
                format!("DELETE FROM {table} WHERE {condition}")
            } else {
                let values = key.values::<D>().join(", ");
                D::run(&mut tx, &format!("DELETE FROM {table} WHERE {condition}")).await.unwrap();
                format!("INSERT INTO {table} VALUES ({values}, 'w {written}', NULL, {n})")
            };
            D::run(&mut tx, &sql).await.unwrap();
        }
        tx.commit().await.unwrap();
        written += 1;
        // SQLite has one writer at a time and no queue for it.
        tokio::task::yield_now().await;
    }
    written
}
