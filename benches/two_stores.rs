//! What it costs that old and new are in two databases: the writes of both modes, the relay, verification, backfill, each
//! against what one would run instead in the same process.
//!
//! ```text
//! tests/run --servers cargo bench --bench two_stores              prints the table
//! tests/run --servers cargo bench --bench two_stores -- --check   and exits with 1 where a target is missed
//! … -- --rows 100000                                              with fewer rows than a million
//! … -- --only relay                                               one part: writes, relay, verify, backfill
//! ```
//!
//! Rows have four texts, some 200 bytes. Both ways of a line take turns, and what is shown are the medians of the rounds
//! and of their ratios. reladiff's `hashdiff` is timed inside its process, without the start of Python; where it cannot be
//! installed with pip, the line says so and is left out.

#[path = "two_stores/databases.rs"]
mod databases;
#[path = "harness/mod.rs"]
mod harness;
#[path = "two_stores/reladiff.rs"]
mod reladiff;
#[path = "two_stores/rows.rs"]
mod rows;
#[path = "two_stores/writes.rs"]
mod writes;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use databases::Database as Scratch;
use dualwrite::exact::Exact;
use dualwrite::{BoxError, Stage};
use harness::targets::{
    STORES_ACROSS_MIN, STORES_ALIKE_MIN, STORES_BACKFILL_MIN, STORES_RELAYED_MIN,
};
use harness::{Target, Turns, is_wanted, judge, median};
use rows::{MySqlRows, PostgresRows, Rows};
use sqlx::{MySql, Postgres};

const ROWS: i64 = 1_000_000;
const ROUNDS: usize = 3;
fn main() -> ExitCode {
    let rows = harness::number("--rows").unwrap_or(ROWS);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let measured = runtime.expect("a tokio runtime").block_on(measure(rows));
    harness::end(measured.expect("it runs"))
}

async fn measure(rows: i64) -> Result<u32, BoxError> {
    let old = Scratch::<Postgres>::new().await?;
    let new = Scratch::<Postgres>::new().await?;
    let mysql = Scratch::<MySql>::new().await?;
    let Some((old, new)) = old.zip(new) else {
        println!("LEFT OUT, DUALWRITE_TEST_POSTGRES_URL is not set: everything");
        return Ok(0);
    };
    if mysql.is_none() {
        println!("LEFT OUT, DUALWRITE_TEST_MYSQL_URL is not set: MariaDB");
    }
    println!("{:<60} {:>10} {:>10} {:>7} {:>8}", "", "dualwrite", "baseline", "ratio", "target");
    let mut missed = 0;
    if is_wanted("writes") {
        missed += writes::measure(&old, &new, mysql.as_ref()).await?;
    }
    if is_wanted("relay") {
        missed +=
            relay("PostgreSQL to PostgreSQL", &old, PostgresRows, &new, PostgresRows, rows / 5)
                .await?;
        if let Some(mysql) = &mysql {
            missed +=
                relay("PostgreSQL to MariaDB", &old, PostgresRows, mysql, MySqlRows, rows / 10)
                    .await?;
        }
    }
    if is_wanted("backfill") {
        missed += backfill(&old, &new, rows).await?;
    }
    if is_wanted("verify") {
        let python = reladiff::install();
        missed += verify(
            "PostgreSQL, PostgreSQL",
            (&old, PostgresRows),
            (&new, PostgresRows),
            rows,
            &python,
            STORES_ALIKE_MIN,
        )
        .await?;
        if let Some(mysql) = &mysql {
            missed += verify(
                "MariaDB, PostgreSQL",
                (mysql, MySqlRows),
                (&new, PostgresRows),
                rows,
                &python,
                STORES_ACROSS_MIN,
            )
            .await?;
        }
    }
    for database in [old, new] {
        database.remove().await?;
    }
    if let Some(mysql) = mysql {
        mysql.remove().await?;
    }
    Ok(missed)
}

/// A migration under a name of its own.
async fn start<O, N>(
    (old, old_side): (&Scratch<O::Database>, O),
    (new, new_side): (&Scratch<N::Database>, N),
) -> Result<Exact<O, N>, BoxError>
where
    O: Rows,
    N: Rows,
{
    let name = format!("bench-{}", uuid::Uuid::new_v4().simple());
    let exact = Exact::between(name, (old.pool.clone(), old_side), (new.pool.clone(), new_side));
    Ok(exact.poll(Duration::from_millis(20)).start().await?)
}

/// Keys per second from a full outbox.
async fn relay<N: Rows>(
    name: &str,
    old: &Scratch<Postgres>,
    old_side: PostgresRows,
    new: &Scratch<N::Database>,
    new_side: N,
    keys: i64,
) -> Result<u32, BoxError> {
    let mut figures = Vec::new();
    for _ in 0..ROUNDS {
        old.empty().await?;
        new.empty().await?;
        let exact = start((old, old_side), (new, new_side)).await?;
        exact.advance(Stage::DualWrite).await?;
        exact.copy().await?;
        let migration: String = sqlx::query_scalar(
            "SELECT migration FROM dualwrite_authority ORDER BY changed_at DESC LIMIT 1",
        )
        .fetch_one(&old.pool)
        .await?;
        let start = {
            let mut tx = old.pool.begin().await?;
            // All of it is there at one moment.
            let texts = r#"json_build_object('a', md5('1' || i) || '@customers.org..', 'b', md5('2' || i) || '@customers.org..', 'c', md5('3' || i) || '@customers.org..', 'd', md5('4' || i) || '@customers.org..')"#;
            let fill = format!(
                "INSERT INTO dualwrite_outbox (id, aggregatetype, aggregateid, type, payload, version, since) \
                 SELECT gen_random_uuid(), '{migration}', i, 'put', {texts}, 1, 0 FROM generate_series(1, {keys}) i"
            );
            sqlx::query(sqlx::AssertSqlSafe(fill)).execute(&mut *tx).await?;
            let start = Instant::now();
            tx.commit().await?;
            start
        };
        while exact.status().await?.backlog > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        figures.push(keys as f64 / start.elapsed().as_secs_f64());
        assert_eq!(new.count().await?, keys);
        exact.shutdown().await;
    }
    let figure = median(&mut figures);
    let figure_name = format!("relay, keys a second: {name}");
    let target = Target::AtLeast(STORES_RELAYED_MIN);
    let verdict = judge(&figure_name, figure, "keys/s", target);
    println!("{figure_name:<60} {figure:>10.0} {:>10} {:>7} {target:>8}  {verdict}", "", "");
    Ok(verdict.missed())
}

async fn backfill(
    old: &Scratch<Postgres>,
    new: &Scratch<Postgres>,
    rows: i64,
) -> Result<u32, BoxError> {
    old.fill(rows).await?;
    let mut lines = Turns::default();
    for _ in 0..ROUNDS {
        new.empty().await?;
        let exact = start((old, PostgresRows), (new, PostgresRows)).await?;
        exact.advance(Stage::DualWrite).await?;
        let start = Instant::now();
        assert_eq!(exact.copy().await?, rows as u64);
        let ours = start.elapsed().as_secs_f64();
        assert_eq!(new.count().await?, rows);
        exact.shutdown().await;
        new.empty().await?;
        let start = Instant::now();
        rows::by_copy(&old.pool, &new.pool).await?;
        lines.add(ours, start.elapsed().as_secs_f64());
        assert_eq!(new.count().await?, rows);
    }
    Ok(lines.show(
        &format!("backfill of {rows} rows, s / COPY, INSERT … ON CONFLICT"),
        Some(STORES_BACKFILL_MIN),
    ))
}

async fn verify<O: Rows, N: Rows>(
    name: &str,
    (old, old_side): (&Scratch<O::Database>, O),
    (new, new_side): (&Scratch<N::Database>, N),
    rows: i64,
    python: &Result<std::path::PathBuf, String>,
    target: f64,
) -> Result<u32, BoxError> {
    let python = match python {
        Ok(python) => python,
        Err(why) => {
            println!("LEFT OUT, reladiff is not there ({why}): verification, {name}");
            return Ok(0);
        }
    };
    old.fill(rows).await?;
    new.fill(rows).await?;
    let exact = start((old, old_side), (new, new_side)).await?;
    exact.advance(Stage::DualWrite).await?;
    let mut lines = Turns::default();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let report = exact.verify().await?;
        let ours = start.elapsed().as_secs_f64();
        assert!(
            report.is_clean() && report.compared == rows as u64 && report.fetched == 0,
            "{report:?}"
        );
        lines.add(ours, reladiff::hashdiff(python, &old.url, &new.url)?);
    }
    exact.shutdown().await;
    Ok(lines.show(&format!("verification of {rows} rows, s / reladiff: {name}"), Some(target)))
}
