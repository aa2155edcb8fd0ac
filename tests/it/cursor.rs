//! What moves while a backfill runs: rows ahead of its cursor, inside its page and behind it, rows that are
//! born, and its lease; with every type of key. Each copy leaves a version behind, so that one made twice
//! would show.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use dualwrite::{
    BoxError, Copied, CopyKeys, Migration, OwnedKey, Runtime, Stage, Tx, backfill::Throttle,
    copy::KeySource,
};
use uuid::Uuid;

use crate::support::db::{Scratch, TestDb, on_all_databases};
use crate::support::hook::Hook;
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    integers_while_rows_move,
    uuids_while_rows_move,
    texts_of_a_collation_while_rows_move,
    pairs_while_rows_move,
    one_integer,
    one_uuid,
    one_text,
    one_pair,
    a_worker_that_lost_its_lease_between_two_pages_commits_nothing,
    a_worker_that_lost_its_lease_inside_a_page_commits_nothing,
);

/// Keys by number, in the order of the numbers.
trait TestKey: OwnedKey + Clone + Send + Sync + 'static {
    const COLUMNS: &'static [&'static str];

    fn of(number: u64) -> Self;
    fn definition<D: TestDb>() -> &'static str;
    /// One literal for each column.
    fn literals<D: TestDb>(&self) -> Vec<String>;

    fn condition<D: TestDb>(&self) -> String {
        let equal = Self::COLUMNS.iter().zip(self.literals::<D>());
        let equal: Vec<String> = equal.map(|(name, value)| format!("{name} = {value}")).collect();
        equal.join(" AND ")
    }
}

impl TestKey for i64 {
    const COLUMNS: &'static [&'static str] = &["id"];

    fn of(number: u64) -> Self {
        number as Self
    }

    fn definition<D: TestDb>() -> &'static str {
        "id BIGINT NOT NULL"
    }

    fn literals<D: TestDb>(&self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl TestKey for Uuid {
    const COLUMNS: &'static [&'static str] = &["id"];

    fn of(number: u64) -> Self {
        Self::from_u128(u128::from(number) << 96 | 7)
    }

    fn definition<D: TestDb>() -> &'static str {
        D::sql("id BLOB NOT NULL", "id UUID NOT NULL", "id BINARY(16) NOT NULL")
    }

    fn literals<D: TestDb>(&self) -> Vec<String> {
        vec![format!("{}'{}'", D::sql("x", "", "x"), self.simple())]
    }
}

/// Texts that a byte order would put elsewhere.
impl TestKey for String {
    const COLUMNS: &'static [&'static str] = &["id"];

    fn of(number: u64) -> Self {
        let letter = if number.is_multiple_of(4) { 'K' } else { 'k' };
        format!("{letter}{number:04}")
    }

    fn definition<D: TestDb>() -> &'static str {
        D::sql(
            "id TEXT NOT NULL COLLATE NOCASE",
            "id VARCHAR(20) COLLATE \"en-x-icu\" NOT NULL",
            "id VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL",
        )
    }

    fn literals<D: TestDb>(&self) -> Vec<String> {
        vec![format!("'{self}'")]
    }
}

impl TestKey for (i64, String) {
    const COLUMNS: &'static [&'static str] = &["a", "b"];

    fn of(number: u64) -> Self {
        (number as i64 / 8, format!("{number:04}"))
    }

    fn definition<D: TestDb>() -> &'static str {
        "a BIGINT NOT NULL, b VARCHAR(20) NOT NULL"
    }

    fn literals<D: TestDb>(&self) -> Vec<String> {
        vec![self.0.to_string(), format!("'{}'", self.1)]
    }
}

/// Rows in a page of the backfill, however slow the machine is.
const BATCH: u32 = 5;
const MINUTE: Duration = Duration::from_secs(60);

struct CopyRecords<D, K> {
    pages: Arc<AtomicU64>,
    /// In this page, before anything is written.
    third: Hook,
    of: PhantomData<(D, K)>,
}

impl<D: Sql, K: TestKey> CopyKeys for CopyRecords<D, K> {
    type Database = D::Db;
    type Key = K;

    fn source(&self) -> KeySource {
        K::COLUMNS.iter().fold(KeySource::table("old_record"), |source, name| source.column(*name))
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[K]) -> Result<Copied, BoxError> {
        if self.pages.fetch_add(1, SeqCst) == 2 {
            self.third.pass().await;
        }
        let columns = K::COLUMNS.join(", ");
        for key in keys {
            let condition = key.condition::<D>();
            let found = format!("FROM old_record WHERE {condition}");
            if D::texts(tx, &format!("SELECT word {found}")).await?.iter().any(|w| w == "poison") {
                return Err("it is poison".into());
            }
            let select = format!("SELECT {columns}, word {found}");
            D::run(tx, &format!("INSERT INTO version ({columns}, word) {select}")).await?;
            D::run(tx, &format!("DELETE FROM new_record WHERE {condition}")).await?;
            D::run(tx, &format!("INSERT INTO new_record ({columns}, word) {select}")).await?;
        }
        Ok(Copied { migrated: keys.len() as u64, skipped: 0 })
    }
}

/// One process at dual write.
struct Records<D: Sql, K> {
    db: Scratch<D>,
    _runtime: Runtime<D::Db>,
    migration: Migration,
    pages: Arc<AtomicU64>,
    third: Hook,
    of: PhantomData<K>,
}

async fn join<D: Sql, K: TestKey>(db: &Scratch<D>) -> (Runtime<D::Db>, Migration, CopyState) {
    let state = CopyState::default();
    let copy = CopyRecords::<D, K> {
        pages: Arc::clone(&state.pages),
        third: state.third.clone(),
        of: PhantomData,
    };
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("records").backfill(copy).register().await.unwrap();
    (runtime, migration, state)
}

#[derive(Default)]
struct CopyState {
    pages: Arc<AtomicU64>,
    third: Hook,
}

impl<D: Sql, K: TestKey> Records<D, K> {
    /// With the even numbers up to this one in old.
    async fn new(db: Scratch<D>, last: u64) -> Self {
        let (columns, definition) = (K::COLUMNS.join(", "), K::definition::<D>());
        for table in ["old_record", "new_record"] {
            let word = "word VARCHAR(50) NOT NULL";
            let sql =
                format!("CREATE TABLE {table} ({definition}, {word}, PRIMARY KEY ({columns}))");
            db.execute(&sql).await;
        }
        db.execute(&format!("CREATE TABLE version ({definition}, word VARCHAR(50) NOT NULL)"))
            .await;
        for number in (2..=last).step_by(2) {
            let literals = K::of(number).literals::<D>().join(", ");
            db.execute(&format!("INSERT INTO old_record VALUES ({literals}, 'first')")).await;
        }
        let (runtime, migration, state) = join::<D, K>(&db).await;
        migration.advance(Stage::DualWrite).await.unwrap();
        let CopyState { pages, third } = state;
        Self { db, _runtime: runtime, migration, pages, third, of: PhantomData }
    }

    async fn is_equal(&self, rows: i64, versions: i64) {
        let columns = K::COLUMNS.join(", ");
        let same: Vec<String> =
            K::COLUMNS.iter().map(|name| format!("n.{name} = o.{name}")).collect();
        let same = format!(
            "SELECT count(*) FROM old_record o JOIN new_record n ON {} AND n.word = o.word",
            same.join(" AND ")
        );
        for sql in [&same, "SELECT count(*) FROM old_record", "SELECT count(*) FROM new_record"] {
            assert_eq!(self.db.number(sql).await, rows, "{sql}");
        }
        assert_eq!(self.db.number("SELECT count(*) FROM version").await, versions);
        let once = format!("SELECT count(*) FROM (SELECT DISTINCT {columns} FROM version) v");
        assert_eq!(self.db.number(&once).await, versions, "something was copied twice");
    }
}

/// A double write; without a word a deletion.
async fn write<D: Sql, K: TestKey>(
    migration: &Migration,
    pool: &sqlx::Pool<D::Db>,
    number: u64,
    word: Option<&str>,
) {
    let key = K::of(number);
    let (condition, literals) = (key.condition::<D>(), key.literals::<D>().join(", "));
    let mut tx = migration.begin(pool).await.unwrap();
    for table in ["old_record", "new_record"] {
        D::run(&mut tx, &format!("DELETE FROM {table} WHERE {condition}")).await.unwrap();
        if let Some(word) = word {
            let sql = format!("INSERT INTO {table} VALUES ({literals}, '{word}')");
            D::run(&mut tx, &sql).await.unwrap();
        }
    }
    tx.commit().await.unwrap();
}

/// Runs a future where nothing can be awaited.
fn here<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// A hook that acts once, after the second page.
fn after_two_pages(act: impl Fn() + Send + Sync + 'static) -> Throttle {
    let (pages, done) = (AtomicU64::new(0), AtomicBool::new(false));
    Throttle::default().when(move || {
        if pages.fetch_add(1, SeqCst) == 1 && !done.swap(true, SeqCst) {
            act();
        }
        None
    })
}

async fn rows_move<D: Sql, K: TestKey>(db: Scratch<D>) {
    let records = Records::<D, K>::new(db, 120).await;
    let poison = K::of(60).condition::<D>();
    let word = |word: &str| format!("UPDATE old_record SET word = '{word}' WHERE {poison}");
    records.db.execute(&word("poison")).await;

    // Two pages are done, up to 20; the third ends with 30, the last with 120.
    let (migration, pool) = (records.migration.clone(), records.db.pool().clone());
    let throttle = after_two_pages(move || {
        let behind = [(4, Some("changed")), (6, None), (9, Some("born"))];
        let ahead = [
            (80, Some("changed")),
            (82, None),
            (84, None),
            (84, Some("born again")),
            (91, Some("born")),
        ];
        let beyond = [(200, Some("born"))];
        here(async {
            for (number, word) in behind.into_iter().chain(ahead).chain(beyond) {
                write::<D, K>(&migration, &pool, number, word).await;
            }
        });
    });
    records.third.hold();
    let migration = records.migration.clone();
    let run = tokio::spawn(async move {
        migration.backfill().batch(BATCH).batch_time(MINUTE).throttle(throttle).run().await.unwrap()
    });
    records.third.reached().await;
    let inside = [(24, Some("changed")), (25, Some("born")), (26, None)];
    let writers: Vec<_> = inside
        .into_iter()
        .map(|(number, word)| {
            let (migration, pool) = (records.migration.clone(), records.db.pool().clone());
            tokio::spawn(async move { write::<D, K>(&migration, &pool, number, word).await })
        })
        .collect();
    records.third.let_go();
    for writer in writers {
        writer.await.unwrap();
    }
    let done = run.await.unwrap();
    assert_eq!((done.total, done.migrated, done.skipped, done.failed), (60, 59, 0, 1));
    assert!(done.complete);

    let letters = records.migration.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 1);
    records.db.execute(&word("cured")).await;
    assert_eq!(records.migration.retry_dead_letters().await.unwrap(), 1);
    records.is_equal(61, 60).await;
}

async fn integers_while_rows_move<D: Sql>(db: Scratch<D>) {
    rows_move::<D, i64>(db).await;
}

async fn uuids_while_rows_move<D: Sql>(db: Scratch<D>) {
    rows_move::<D, Uuid>(db).await;
}

async fn texts_of_a_collation_while_rows_move<D: Sql>(db: Scratch<D>) {
    rows_move::<D, String>(db).await;
}

async fn pairs_while_rows_move<D: Sql>(db: Scratch<D>) {
    rows_move::<D, (i64, String)>(db).await;
}

async fn one_integer<D: Sql>(db: Scratch<D>) {
    one_row::<D, i64>(db).await;
}

async fn one_uuid<D: Sql>(db: Scratch<D>) {
    one_row::<D, Uuid>(db).await;
}

async fn one_text<D: Sql>(db: Scratch<D>) {
    one_row::<D, String>(db).await;
}

async fn one_pair<D: Sql>(db: Scratch<D>) {
    one_row::<D, (i64, String)>(db).await;
}

async fn one_row<D: Sql, K: TestKey>(db: Scratch<D>) {
    let records = Records::<D, K>::new(db, 2).await;
    let done = records.migration.backfill().run().await.unwrap();
    assert_eq!((done.total, done.migrated, done.complete), (1, 1, true));
    records.is_equal(1, 1).await;
}

const EXPIRED: &str = "UPDATE dualwrite_batch SET expires_at = 0";

async fn a_worker_that_lost_its_lease_between_two_pages_commits_nothing<D: Sql>(db: Scratch<D>) {
    let records = Records::<D, i64>::new(db, 120).await;
    let (_runtime, second, others) = join::<D, i64>(&records.db).await;
    let pool = records.db.pool().clone();
    let throttle = after_two_pages(move || {
        here(async {
            D::execute(&pool, EXPIRED).await.unwrap();
            let done = second.backfill().batch(BATCH).batch_time(MINUTE).run().await.unwrap();
            assert_eq!((done.migrated, done.complete), (60, true));
        });
    });
    let backfill = records.migration.backfill().batch(BATCH).batch_time(MINUTE).throttle(throttle);
    let done = backfill.run().await.unwrap();
    assert_eq!((done.total, done.migrated, done.complete), (60, 60, true));
    let tried = [records.pages.load(SeqCst), others.pages.load(SeqCst)];
    assert_eq!(tried, [3, 10], "the third page of the first was made in vain");
    records.is_equal(60, 60).await;
}

/// Where one transaction writes at a time, SQLite, nobody can take a range over in the middle of a page: the
/// second worker waits until the page is committed, and the order of things is that of the test above.
async fn a_worker_that_lost_its_lease_inside_a_page_commits_nothing<D: Sql>(db: Scratch<D>) {
    let records = Records::<D, i64>::new(db, 120).await;
    let (_runtime, second, others) = join::<D, i64>(&records.db).await;
    records.third.hold();
    let first = records.migration.clone();
    let first = tokio::spawn(async move {
        first.backfill().batch(BATCH).batch_time(MINUTE).run().await.unwrap()
    });
    records.third.reached().await;
    let owner = "SELECT owner FROM dualwrite_batch ORDER BY number LIMIT 1";
    let before = records.db.rows(owner).await;
    let one_writer = D::NAME == "sqlite";
    if one_writer {
        records.third.let_go();
    } else {
        records.db.execute(EXPIRED).await;
    }
    let second = tokio::spawn(async move {
        second.backfill().batch(BATCH).batch_time(MINUTE).run().await.unwrap()
    });
    if !one_writer {
        until("the range is taken over", async || records.db.rows(owner).await != before).await;
        // The rows of its page are still locked by the first, which now finds its range gone.
        assert_eq!(others.pages.load(SeqCst), 0);
        records.third.let_go();
    }
    for run in [first, second] {
        let done = run.await.unwrap();
        assert_eq!((done.total, done.migrated, done.complete), (60, 60, true));
    }
    records.is_equal(60, 60).await;
}
