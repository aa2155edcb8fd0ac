//! How fast equal rows are verified, against what one would run instead on the same tables.
//!
//! ```text
//! tests/run --servers cargo bench --bench verify             prints the table
//! tests/run --servers cargo bench --bench verify -- --check  and exits with 1 where a target is missed
//! … -- --rows 100000                                         with fewer rows than a million
//! … -- --only MariaDB                                        on one database
//! ```
//!
//! Rows have four texts, some 200 bytes. Both ways of a line take turns, and what is shown are the medians of
//! the rounds and of their ratios. reladiff's `joindiff` is timed inside its process, without the start of
//! Python; where it cannot be installed with pip, the line says so and has a statement written by hand
//! instead.

#[path = "harness/mod.rs"]
mod harness;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use dualwrite::{
    Backend, BoxError, Compare, Copied, CopyKeys, Mapping, Migration, Runtime, Stage, Tx,
    copy::KeySource,
};
use futures_util::future::BoxFuture;
use harness::{Turns, is_wanted};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, MySql, Pool, Postgres, Sqlite, raw_sql};

const ROWS: i64 = 1_000_000;
const ROUNDS: usize = 5;
const PAGE: i64 = 10_000;
/// Times faster than reladiff.
const FASTER_MIN: f64 = 4.5;
/// Share of the speed by hand that must be left.
const IN_RUST_MIN: f64 = 0.9;
/// Times as fast as one worker, where the server has a core for each.
const TWO_WORKERS_MIN: f64 = 1.6;

#[derive(PartialEq, sqlx::FromRow, Compare)]
struct Customer {
    a: String,
    b: String,
    c: String,
    d: String,
}

const COLUMNS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Copy)]
enum Way {
    Sql,
    Rust,
}

struct Copy<DB>(Way, std::marker::PhantomData<DB>);

/// What differs between the databases: sqlx' bounds, and how rows are made.
trait Bench: Backend {
    fn rows_in_rust() -> Mapping<Self>;
    /// Reads both sides at once, page after page, and compares them; answers with the rows that differ.
    fn by_hand(pool: &Pool<Self>) -> BoxFuture<'_, sqlx::Result<u64>>;
    fn run(pool: &Pool<Self>, sql: String) -> BoxFuture<'_, sqlx::Result<()>>;
    fn number<'a>(pool: &'a Pool<Self>, sql: &'static str) -> BoxFuture<'a, sqlx::Result<i64>>;
    /// The numbers from `{first}` to `{last}`.
    const SERIES: &'static str;
    const HASH: &'static str;
    const PLACE: [&'static str; 2];
    const WHOLE: &'static str;
    /// Share of the speed of that one statement that must be left.
    const WHOLE_MIN: f64;
    const AFTERWARDS: &'static str;
}

macro_rules! bench {
    ($($db:ty, $place:expr, $series:expr, $hash:expr, $whole:expr, $min:expr, $afterwards:expr;)*) => {$(
        impl Bench for $db {
            const SERIES: &'static str = $series;
            const HASH: &'static str = $hash;
            const PLACE: [&'static str; 2] = $place;
            const WHOLE: &'static str = $whole;
            const WHOLE_MIN: f64 = $min;
            const AFTERWARDS: &'static str = $afterwards;

            fn rows_in_rust() -> Mapping<Self> {
                Mapping::new().rows::<Customer, Customer>(&COLUMNS, &COLUMNS)
            }

            fn by_hand(pool: &Pool<Self>) -> BoxFuture<'_, sqlx::Result<u64>> {
                Box::pin(async move {
                    let (mut one, mut other) = (pool.acquire().await?, pool.acquire().await?);
                    let [old, new] = ["old_customer", "new_customer"].map(|table| {
                        let [key, limit] = Self::PLACE;
                        format!(
                            "SELECT id, a, b, c, d FROM {table} WHERE id > {key} ORDER BY id \
                             LIMIT {limit}"
                        )
                    });
                    let (mut after, mut differing) = (0_i64, 0);
                    loop {
                        let page = |sql: &str| {
                            sqlx::query_as::<_, (i64, String, String, String, String)>(
                                AssertSqlSafe(sql.to_owned()),
                            )
                            .bind(after)
                            .bind(PAGE)
                        };
                        let (old, new) = futures_util::future::join(
                            page(&old).fetch_all(&mut *one),
                            page(&new).fetch_all(&mut *other),
                        )
                        .await;
                        let (old, new) = (old?, new?);
                        differing += old.iter().zip(&new).filter(|(old, new)| old != new).count() as u64;
                        differing += old.len().abs_diff(new.len()) as u64;
                        let Some(last) = old.last() else { return Ok(differing) };
                        after = last.0;
                    }
                })
            }

            fn run(pool: &Pool<Self>, sql: String) -> BoxFuture<'_, sqlx::Result<()>> {
                Box::pin(async move { raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop) })
            }

            fn number<'a>(pool: &'a Pool<Self>, sql: &'static str) -> BoxFuture<'a, sqlx::Result<i64>> {
                Box::pin(async move { sqlx::query_scalar(sql).fetch_one(pool).await })
            }
        }

        impl CopyKeys for Copy<$db> {
            type Database = $db;
            type Key = i64;

            fn source(&self) -> KeySource {
                KeySource::table("old_customer").column("id")
            }

            fn new_source(&self) -> Option<KeySource> {
                Some(KeySource::table("new_customer").column("id"))
            }

            fn mapping(&self) -> Option<Mapping<$db>> {
                let in_sql = |mapping: Mapping<$db>, name: &&str| mapping.column(name, name);
                Some(match self.0 {
                    Way::Sql => COLUMNS.iter().fold(Mapping::new(), in_sql),
                    Way::Rust => <$db>::rows_in_rust(),
                })
            }

            async fn copy(&self, _: &mut Tx<'_, $db>, _: &[i64]) -> Result<Copied, BoxError> {
                Err("nothing is copied here".into())
            }
        }
    )*};
}
bench! {
    Postgres, ["$1", "$2"],
        "SELECT i FROM generate_series({first}::bigint, {last}) i", "md5(CONCAT({}, i))",
        "SELECT count(*) FROM old_customer o FULL JOIN new_customer n ON o.id = n.id \
         WHERE o.id IS NULL OR n.id IS NULL OR o.a IS DISTINCT FROM n.a OR o.b IS DISTINCT FROM n.b \
         OR o.c IS DISTINCT FROM n.c OR o.d IS DISTINCT FROM n.d",
        0.9, "VACUUM ANALYZE";
    MySql, ["?", "?"],
        "SELECT seq AS i FROM seq_{first}_to_{last}", "MD5(CONCAT({}, i))",
        "SELECT (SELECT count(*) FROM old_customer o LEFT JOIN new_customer n ON o.id = n.id \
         WHERE n.id IS NULL OR NOT (o.a <=> n.a) OR NOT (o.b <=> n.b) OR NOT (o.c <=> n.c) \
         OR NOT (o.d <=> n.d)) + (SELECT count(*) FROM new_customer n LEFT JOIN old_customer o \
         ON o.id = n.id WHERE o.id IS NULL)",
        0.9, "ANALYZE TABLE old_customer, new_customer";
    Sqlite, ["?", "?"],
        "WITH RECURSIVE s(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM s WHERE i < {last}) \
         SELECT i FROM s", "lower(printf('%032x', i * 7919 + {}))",
        "SELECT count(*) FROM old_customer o FULL JOIN new_customer n ON o.id = n.id \
         WHERE o.id IS NULL OR n.id IS NULL OR o.a IS NOT n.a OR o.b IS NOT n.b OR o.c IS NOT n.c \
         OR o.d IS NOT n.d",
        0.8, "ANALYZE";
}

fn main() -> ExitCode {
    let rows = harness::number("--rows").unwrap_or(ROWS);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let missed = runtime.expect("a tokio runtime").block_on(measure(rows)).expect("it runs");
    harness::end(missed)
}

async fn measure(rows: i64) -> Result<u32, BoxError> {
    println!(
        "{:<60} {:>10} {:>10} {:>7} {:>8}",
        format!("seconds for {rows} rows on either side"),
        "dualwrite",
        "baseline",
        "ratio",
        "target"
    );
    let mut missed = 0;
    let folder = tempfile::tempdir()?;
    match std::env::var("DUALWRITE_TEST_POSTGRES_URL") {
        _ if !is_wanted("PostgreSQL") => {}
        Ok(url) => {
            let name = database_name();
            let admin = Pool::<Postgres>::connect(&url).await?;
            Postgres::run(&admin, format!("CREATE DATABASE {name}")).await?;
            let options = url.parse::<sqlx::postgres::PgConnectOptions>()?.database(&name);
            let pool =
                PoolOptions::<Postgres>::new().max_connections(4).connect_with(options).await?;
            missed += postgres(&pool, &url, &name, rows, folder.path()).await?;
            pool.close().await;
            Postgres::run(&admin, format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        }
        Err(_) => println!("LEFT OUT, DUALWRITE_TEST_POSTGRES_URL is not set: PostgreSQL"),
    }
    match std::env::var("DUALWRITE_TEST_MYSQL_URL") {
        _ if !is_wanted("MariaDB") => {}
        Ok(url) => {
            let name = database_name();
            let admin = Pool::<MySql>::connect(&url).await?;
            MySql::run(&admin, format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")).await?;
            let options = url.parse::<sqlx::mysql::MySqlConnectOptions>()?.database(&name);
            let pool = PoolOptions::<MySql>::new().max_connections(4).connect_with(options).await?;
            missed += same_database("MariaDB", &pool, rows).await?;
            pool.close().await;
            MySql::run(&admin, format!("DROP DATABASE {name}")).await?;
        }
        Err(_) => println!("LEFT OUT, DUALWRITE_TEST_MYSQL_URL is not set: MariaDB"),
    }
    if !is_wanted("SQLite") {
        return Ok(missed);
    }
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("bench.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let pool = PoolOptions::<Sqlite>::new().max_connections(4).connect_with(options).await?;
    missed += same_database("SQLite", &pool, rows).await?;
    Ok(missed)
}

fn database_name() -> String {
    format!("dualwrite_bench_{}", uuid::Uuid::new_v4().simple())
}

/// Two tables of equal rows.
async fn fill<DB: Bench>(pool: &Pool<DB>, rows: i64) -> Result<(), BoxError> {
    for table in ["old_customer", "new_customer"] {
        let text = "VARCHAR(60) NOT NULL";
        let create = format!(
            "CREATE TABLE {table} (id BIGINT PRIMARY KEY, a {text}, b {text}, c {text}, d {text})"
        );
        DB::run(pool, create).await?;
        for first in (1..=rows).step_by(100_000) {
            let last = (first + 99_999).min(rows);
            let series = DB::SERIES
                .replace("{first}", &first.to_string())
                .replace("{last}", &last.to_string());
            // 4 × 48 bytes: a hash, and something that all rows share.
            let texts = (1..=4).map(|number| {
                let hash = DB::HASH.replace("{}", &number.to_string());
                match DB::HASH.starts_with("lower") {
                    true => format!("{hash} || '@customers.org..'"),
                    false => format!("CONCAT({hash}, '@customers.org..')"),
                }
            });
            let texts = texts.collect::<Vec<_>>().join(", ");
            let insert = format!("INSERT INTO {table} SELECT i, {texts} FROM ({series}) s");
            DB::run(pool, insert).await?;
        }
    }
    Ok(DB::run(pool, DB::AFTERWARDS.to_owned()).await?)
}

/// Migrations at dual write, one for each way.
async fn migrations<DB: Bench>(
    pool: &Pool<DB>,
) -> Result<(Runtime<DB>, Migration, Migration), BoxError>
where
    Copy<DB>: CopyKeys<Database = DB>,
{
    let runtime = Runtime::builder(pool.clone()).start().await?;
    let mut found = Vec::new();
    for (name, way) in [("in-sql", Way::Sql), ("in-rust", Way::Rust)] {
        let copy = Copy(way, std::marker::PhantomData::<DB>);
        let migration = runtime.migration(name).backfill(copy).register().await?;
        migration.advance(Stage::DualWrite).await?;
        found.push(migration);
    }
    let in_rust = found.pop().expect("two of them");
    Ok((runtime, found.pop().expect("two of them"), in_rust))
}

async fn verified(migration: &Migration, rows: i64) -> Result<f64, BoxError> {
    verified_by(migration, rows, 1).await
}

async fn verified_by(migration: &Migration, rows: i64, workers: u32) -> Result<f64, BoxError> {
    let start = Instant::now();
    let report = migration.verify().workers(workers).run().await?;
    let seconds = start.elapsed().as_secs_f64();
    assert!(report.proven && report.compared == u64::try_from(rows)?, "{report:?}");
    Ok(seconds)
}

async fn postgres(
    pool: &Pool<Postgres>,
    url: &str,
    name: &str,
    rows: i64,
    folder: &Path,
) -> Result<u32, BoxError> {
    fill(pool, rows).await?;
    let (runtime, in_sql, in_rust) = migrations(pool).await?;
    let mut missed = 0;

    let reladiff = install_reladiff(folder);
    let database = url::with_database(url, name);
    let mut lines = Turns::default();
    for _ in 0..ROUNDS {
        let ours = verified(&in_sql, rows).await?;
        let theirs = match &reladiff {
            Ok(python) => joindiff(python, &database)?,
            Err(_) => whole(pool).await?,
        };
        lines.add(ours, theirs);
    }
    match &reladiff {
        Ok(_) => missed += lines.show("PostgreSQL, in SQL / reladiff joindiff", Some(FASTER_MIN)),
        Err(why) => {
            println!("reladiff is not there ({why}); against one statement instead:");
            missed += lines.show("PostgreSQL, in SQL / one whole FULL JOIN", None);
        }
    }
    if reladiff.is_ok() {
        let mut lines = Turns::default();
        for _ in 0..ROUNDS {
            lines.add(verified(&in_sql, rows).await?, whole(pool).await?);
        }
        missed += lines.show("PostgreSQL, in SQL / one whole FULL JOIN", Some(Postgres::WHOLE_MIN));
    }
    missed += two_workers("PostgreSQL", &in_sql, rows).await?;
    let mut lines = Turns::default();
    for _ in 0..ROUNDS {
        let ours = verified(&in_rust, rows).await?;
        let start = Instant::now();
        assert_eq!(Postgres::by_hand(pool).await?, 0);
        lines.add(ours, start.elapsed().as_secs_f64());
    }
    missed += lines.show("PostgreSQL, in Rust / both sides fetched by hand", Some(IN_RUST_MIN));
    runtime.shutdown().await?;
    Ok(missed)
}

async fn same_database<DB: Bench>(name: &str, pool: &Pool<DB>, rows: i64) -> Result<u32, BoxError>
where
    Copy<DB>: CopyKeys<Database = DB>,
{
    fill(pool, rows).await?;
    let (runtime, in_sql, in_rust) = migrations(pool).await?;
    let mut lines = Turns::default();
    for _ in 0..ROUNDS {
        lines.add(verified(&in_sql, rows).await?, whole(pool).await?);
    }
    let mut missed = lines.show(&format!("{name}, in SQL / one whole join"), Some(DB::WHOLE_MIN));
    if DB::NAME != "SQLite" {
        missed += two_workers(name, &in_sql, rows).await?;
    }
    let mut lines = Turns::default();
    for _ in 0..ROUNDS {
        let ours = verified(&in_rust, rows).await?;
        let start = Instant::now();
        assert_eq!(DB::by_hand(pool).await?, 0);
        lines.add(ours, start.elapsed().as_secs_f64());
    }
    missed +=
        lines.show(&format!("{name}, in Rust / both sides fetched by hand"), Some(IN_RUST_MIN));
    runtime.shutdown().await?;
    Ok(missed)
}

/// Two workers, against one. Each takes a core of the server, and the ends of their chunks a part of another one: fewer
/// cores than that say nothing of the workers, so the target counts only where there are three.
async fn two_workers(name: &str, migration: &Migration, rows: i64) -> Result<u32, BoxError> {
    let mut lines = Turns::default();
    for _ in 0..ROUNDS {
        lines.add(verified_by(migration, rows, 2).await?, verified(migration, rows).await?);
    }
    let has_cores = std::thread::available_parallelism()?.get() > 2;
    let target = has_cores.then_some(TWO_WORKERS_MIN);
    Ok(lines.show(&format!("{name}, in SQL by two workers / by one"), target))
}

/// One statement over both whole tables.
async fn whole<DB: Bench>(pool: &Pool<DB>) -> Result<f64, BoxError> {
    let start = Instant::now();
    assert_eq!(DB::number(pool, DB::WHOLE).await?, 0);
    Ok(start.elapsed().as_secs_f64())
}

/// Python with reladiff, in a folder of its own; or why not.
fn install_reladiff(folder: &Path) -> Result<PathBuf, String> {
    let venv = folder.join("reladiff");
    let run = |command: &mut Command| match command.output() {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            Err(said.lines().last().unwrap_or("it failed").to_owned())
        }
        Err(error) => Err(error.to_string()),
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let python = venv.join("bin/python");
    let packages = ["-m", "pip", "install", "--quiet", "reladiff", "psycopg2-binary"];
    run(Command::new(&python).args(packages))?;
    Ok(python)
}

/// Seconds of reladiff's fastest way for two tables of one database.
fn joindiff(python: &Path, database: &str) -> Result<f64, BoxError> {
    let script = "
import sys, time
from reladiff import connect_to_table, diff_tables, Algorithm
one, other = (connect_to_table(sys.argv[1], name, 'id') for name in ('old_customer', 'new_customer'))
start = time.time()
found = list(diff_tables(one, other, algorithm=Algorithm.JOINDIFF, extra_columns=('a', 'b', 'c', 'd')))
print(time.time() - start)
assert not found, found[:3]
";
    let done = Command::new(python).args(["-c", script, database]).output()?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned().into());
    }
    Ok(String::from_utf8(done.stdout)?.trim().parse()?)
}

mod url {
    /// The URL of another database of the server, as Python knows its scheme.
    pub(super) fn with_database(url: &str, name: &str) -> String {
        let url = url.replacen("postgres://", "postgresql://", 1);
        let (url, query) =
            url.split_once('?').map_or((url.as_str(), None), |(url, query)| (url, Some(query)));
        let server = url.rfind('/').map_or(url, |slash| &url[..slash]);
        match query {
            Some(query) => format!("{server}/{name}?{query}"),
            None => format!("{server}/{name}"),
        }
    }
}
