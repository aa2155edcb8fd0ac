//! How fast a backfill copies, and what it costs those who write beside it.
//!
//! ```text
//! tests/run --servers cargo bench --bench backfill             prints the table
//! tests/run --servers cargo bench --bench backfill -- --check  and exits with 1 where a target is missed
//! tests/run --servers cargo bench --bench backfill -- --memory also 1 and 10 times the narrow rows
//! tests/run --servers cargo bench --bench backfill -- --writer only the writer beside a backfill
//! tests/run --servers cargo bench --bench backfill -- --delay  only a server whose answers take 1 to 200 ms longer
//! ```
//!
//! Goals of about 200 bytes are copied into versions of goals, and each goal gets a pointer to its version:
//! the split of a table, which writes both sides. Every way starts from the same fresh tables. "Its statements" are those
//! of the line above in pages of 5,000 keys, sent without the library.
//! `DUALWRITE_BENCH_ROWS` says how many rows, a million unless it does.

#[path = "../tests/it/support/delay.rs"]
#[allow(clippy::unwrap_used, reason = "it is the tests'")]
mod delay;
#[path = "backfill/delayed.rs"]
mod delayed;
#[path = "backfill/goals.rs"]
mod goals;
#[path = "harness/mod.rs"]
mod harness;
#[path = "backfill/memory.rs"]
mod memory;
#[path = "backfill/pages.rs"]
mod pages;
#[path = "backfill/writer.rs"]
mod writer;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use dualwrite::{Backend, BoxError, CopyKeys, Migration, Runtime, Stage};
use goals::{Goals, Mapped, RustMapping};
use harness::{Target, judge};
use pages::Paged;
use sqlx::pool::PoolOptions;
use sqlx::{MySql, Pool, Postgres};

/// Of the rows per second of one statement over the whole table.
const SQL_MIN: f64 = 1.0;
const RUST_MIN: f64 = 0.8;
const RUST_TWO_MIN: f64 = 1.25;
const MYSQL_MIN: f64 = 0.85;
const SQLITE_MIN: f64 = 1.3;
/// Of the same statements in the same pages without the library.
const OWN_MIN: f64 = 0.95;
/// Times the rows per second of one transaction a row.
const ROW_BY_ROW_MIN: f64 = 40.0;
/// Rows of that baseline: it is slow.
const SINGLE_ROWS: i64 = 10_000;
/// Each pair of figure and baseline is taken so often, in turns; the medians of the ratios count.
const ROUNDS: usize = 3;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a tokio runtime");
    if let Some(code) = memory::child(&runtime) {
        return code;
    }
    let measured = match harness::is_asked("--writer") {
        true => runtime.block_on(only_the_writer()),
        false if harness::is_asked("--delay") => runtime.block_on(only_delayed()),
        false => runtime.block_on(measure(harness::is_asked("--memory"))),
    };
    harness::end(measured.expect("it runs"))
}

fn rows() -> Result<i64, BoxError> {
    let rows = std::env::var("DUALWRITE_BENCH_ROWS").ok().map(|rows| rows.parse()).transpose()?;
    Ok(rows.unwrap_or(1_000_000))
}

async fn only_the_writer() -> Result<u32, BoxError> {
    let pool = goals::postgres(&std::env::var("DUALWRITE_TEST_POSTGRES_URL")?).await?;
    let goals = Goals::new(&pool, rows()?).await?;
    goals.at_once().await?; // the log's files are there, and full
    goals.at_once().await?;
    writer::beside(&goals).await
}

async fn only_delayed() -> Result<u32, BoxError> {
    delayed::measure(&std::env::var("DUALWRITE_TEST_POSTGRES_URL")?).await
}

async fn measure(memory: bool) -> Result<u32, BoxError> {
    let rows = rows()?;
    println!(
        "{:<52} {:>10} {:>10} {:>8} {:>9}",
        "rows per second", "dualwrite", "baseline", "ratio", "target"
    );
    let mut missed = 0;
    let sqlite_rows = rows.min(300_000); // its own bound is the same for fewer
    let folder = tempfile::tempdir()?;
    let pool = goals::sqlite(folder.path()).await?;
    missed += one_statement("SQLite", &pool, sqlite_rows, SQLITE_MIN).await?;
    match std::env::var("DUALWRITE_TEST_MYSQL_URL") {
        Ok(url) => {
            let pool: Pool<MySql> = goals::mysql(&url).await?;
            missed += one_statement("MariaDB", &pool, sqlite_rows, MYSQL_MIN).await?;
        }
        Err(_) => println!("LEFT OUT, DUALWRITE_TEST_MYSQL_URL is not set: MariaDB"),
    }
    match std::env::var("DUALWRITE_TEST_POSTGRES_URL") {
        Ok(url) => {
            let pool = goals::postgres(&url).await?;
            missed += postgres(&pool, rows).await?;
            missed += delayed::measure(&url).await?;
            if memory {
                missed += memory::compare(&url)?;
            }
        }
        Err(_) => println!("LEFT OUT, DUALWRITE_TEST_POSTGRES_URL is not set: PostgreSQL"),
    }
    Ok(missed)
}

/// One line; answers with 1 where the target is missed.
fn line(name: &str, figure: f64, baseline: f64, target: f64) -> u32 {
    let ratio = figure / baseline;
    let target = Target::AtLeast(target);
    let verdict = judge(name, ratio, "times", target);
    println!("{name:<52} {figure:>10.0} {baseline:>10.0} {ratio:>8.2} {target:>9}  {verdict}");
    verdict.missed()
}

/// What the library itself costs.
fn its_statements(name: &str, turns: Vec<[f64; 2]>) -> u32 {
    let [ours, by_hand] = median(turns);
    line(&format!("{name}, SQL: its statements by hand"), ours, by_hand, OWN_MIN)
}

/// Takes turns, and shows the turn with the median ratio.
fn median(mut turns: Vec<[f64; 2]>) -> [f64; 2] {
    turns.sort_by(|one, other| (one[0] / one[1]).total_cmp(&(other[0] / other[1])));
    turns[turns.len() / 2]
}

/// A mapping in SQL against the database's own single statements.
async fn one_statement<DB: Paged>(
    name: &str,
    pool: &Pool<DB>,
    rows: i64,
    target: f64,
) -> Result<u32, BoxError> {
    let goals = Goals::new(pool, rows).await?;
    let (mut one, mut two, mut pages) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let baseline = goals.at_once().await?;
        let ours = backfill(&goals, goals::in_sql(), 1).await?;
        one.push([ours, baseline]);
        pages.push([ours, pages::by_hand(&goals).await?]);
        if DB::NAME != "SQLite" {
            two.push([backfill(&goals, goals::in_sql(), 2).await?, baseline]);
        }
    }
    let [figure, baseline] = median(one);
    let mut missed = line(&format!("{name}, SQL, against one statement"), figure, baseline, target);
    missed += its_statements(name, pages);
    if !two.is_empty() {
        let [figure, baseline] = median(two);
        missed += line(&format!("{name}, SQL, two workers"), figure, baseline, target);
    }
    Ok(missed)
}

async fn postgres(pool: &Pool<Postgres>, rows: i64) -> Result<u32, BoxError> {
    let goals = Goals::new(pool, rows).await?;
    let (mut sql, mut rust, mut two) = (Vec::new(), Vec::new(), Vec::new());
    let mut pages = Vec::new();
    for _ in 0..ROUNDS {
        let baseline = goals.at_once().await?;
        let ours = backfill(&goals, goals::in_sql(), 1).await?;
        sql.push([ours, baseline]);
        pages.push([ours, pages::by_hand(&goals).await?]);
        rust.push([backfill(&goals, RustMapping, 1).await?, baseline]);
        two.push([backfill(&goals, RustMapping, 2).await?, baseline]);
    }
    let single = goals.row_by_row(SINGLE_ROWS.min(rows)).await?;
    let mut missed = 0;
    let (sql, rust, two) = (median(sql), median(rust), median(two));
    missed += line("PostgreSQL, SQL, against one statement", sql[0], sql[1], SQL_MIN);
    missed += its_statements("PostgreSQL", pages);
    missed += line("PostgreSQL, Rust, against one statement", rust[0], rust[1], RUST_MIN);
    missed += line("PostgreSQL, Rust, two workers", two[0], two[1], RUST_TWO_MIN);
    missed += line("PostgreSQL, SQL, against a transaction a row", sql[0], single, ROW_BY_ROW_MIN);
    missed +=
        line("PostgreSQL, Rust, against a transaction a row", rust[0], single, ROW_BY_ROW_MIN);
    missed += writer::beside(&goals).await?;
    Ok(missed)
}

/// Rows per second of a backfill by so many workers, in one process, over fresh tables.
async fn backfill<DB, C>(goals: &Goals<DB>, copy: C, workers: u32) -> Result<f64, BoxError>
where
    DB: Mapped,
    C: CopyKeys<Database = DB>,
{
    goals.refill().await?;
    let (runtime, migration) = register(&goals.pool, copy).await?;
    let start = Instant::now();
    let progress = migration.backfill().workers(workers).run().await?;
    let seconds = start.elapsed().as_secs_f64();
    assert!(progress.complete && progress.migrated == goals.rows as u64, "{progress:?}");
    goals.check().await?;
    runtime.shutdown().await?;
    Ok(goals.rows as f64 / seconds)
}

/// A migration at `DualWrite`, new each time.
async fn register<DB: Backend, C: CopyKeys<Database = DB>>(
    pool: &Pool<DB>,
    copy: C,
) -> Result<(Runtime<DB>, Migration), BoxError> {
    let runtime = Runtime::builder(pool.clone()).start().await?;
    let name = format!("bench-{}", uuid::Uuid::new_v4().simple());
    let migration = runtime.migration(name).backfill(copy).register().await?;
    migration.advance(Stage::DualWrite).await?;
    Ok((runtime, migration))
}

fn pool_options<DB: sqlx::Database>() -> PoolOptions<DB> {
    PoolOptions::new().max_connections(12).acquire_timeout(Duration::from_secs(60))
}
