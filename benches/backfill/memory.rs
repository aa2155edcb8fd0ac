//! The peak memory of a process that copies few rows and of one that copies ten times as many.

use std::process::{Command, ExitCode};

use dualwrite::{BoxError, Copied, CopyKeys, Tx, copy::KeySource};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Pool, Postgres};

use crate::goals::Mapped as _;
use crate::harness::{Target, judge};
use crate::pool_options;

const CHILD: &str = "DUALWRITE_BENCH_MEMORY";
const ROWS: i64 = 1_000_000;
const MORE_MAX: f64 = 1.10;

/// Runs both in processes of their own; answers with 1 where the target is missed.
pub(crate) fn compare(url: &str) -> Result<u32, BoxError> {
    let [few, many] = [ROWS, ROWS * 10].map(|rows| kilobytes(url, rows));
    let (few, many) = (few?, many?);
    let ratio = many / few;
    let target = Target::AtMost(MORE_MAX);
    let verdict = judge("peak memory at ten times the rows", ratio, "times", target);
    println!(
        "{:<52} {many:>7.0} kB {few:>7.0} kB {ratio:>8.2} {:>9}  {verdict}",
        format!("peak memory at {} and at {ROWS} rows", ROWS * 10),
        target
    );
    Ok(verdict.missed())
}

fn kilobytes(url: &str, rows: i64) -> Result<f64, BoxError> {
    let output = Command::new(std::env::current_exe()?)
        .env(CHILD, rows.to_string())
        .env("DUALWRITE_TEST_POSTGRES_URL", url)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.trim().parse().map_err(|_| format!("no figure, but {text:?}"))?)
}

/// In such a process: copies, prints the peak, and ends.
pub(crate) fn child(runtime: &tokio::runtime::Runtime) -> Option<ExitCode> {
    let rows = std::env::var(CHILD).ok()?;
    let kilobytes = runtime.block_on(copy(rows.parse().expect("a number of rows")));
    println!("{}", kilobytes.expect("it copies"));
    Some(ExitCode::SUCCESS)
}

async fn copy(rows: i64) -> Result<u64, BoxError> {
    let url = std::env::var("DUALWRITE_TEST_POSTGRES_URL")?;
    let pool: Pool<Postgres> = crate::goals::postgres(&url).await?;
    let name = pool.connect_options().get_database().unwrap_or_default().to_owned();
    for sql in [
        "CREATE TABLE few (id BIGINT PRIMARY KEY, word INT, word_new INT)".to_owned(),
        format!("INSERT INTO few SELECT n, n, NULL FROM generate_series(1, {rows}) n"),
        "ANALYZE few".to_owned(),
    ] {
        Postgres::execute(&pool, sql).await?;
    }
    let (runtime, migration) = crate::register(&pool, Narrow).await?;
    let progress = migration.backfill().run().await?;
    assert!(progress.complete && progress.migrated == rows as u64, "{progress:?}");
    runtime.shutdown().await?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")).ok_or("no VmHWM")?;
    pool.close().await;
    let admin = pool_options().connect_with(url.parse::<PgConnectOptions>()?).await?;
    Postgres::execute(&admin, format!("DROP DATABASE {name} WITH (FORCE)")).await?;
    Ok(peak.trim().parse()?)
}

struct Narrow;

impl CopyKeys for Narrow {
    type Database = Postgres;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("few").column("id")
    }

    async fn copy(&self, tx: &mut Tx<'_, Postgres>, keys: &[i64]) -> Result<Copied, BoxError> {
        sqlx::query("UPDATE few SET word_new = word WHERE id = ANY($1)")
            .bind(keys)
            .execute(&mut **tx)
            .await?;
        Ok(Copied { migrated: keys.len() as u64, skipped: 0 })
    }
}
