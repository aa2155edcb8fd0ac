//! A backfill of a server that is far away: each answer takes so much longer. Against batches of one size, of which the
//! best counts.

use std::time::{Duration, Instant};

use dualwrite::BoxError;
use sqlx::Postgres;
use sqlx::postgres::PgConnectOptions;

use crate::delay::Proxy;
use crate::goals::{self, Goals};
use crate::{line, pool_options, register};

const ROWS: i64 = 60_000;
/// Sizes of the batches that do not change; the larger one is the most that a batch has unless told otherwise.
const FIXED: [u32; 2] = [2_500, 5_000];
/// Of the rows per second of the best of them.
const SHARE_MIN: f64 = 0.8;
/// A batch of a fixed size may take as long as it likes.
const NO_TIME: Duration = Duration::from_secs(3_600);

pub(crate) async fn measure(url: &str) -> Result<u32, BoxError> {
    let proxy = Proxy::before(url).await;
    let direct = goals::postgres(url).await?; // by the server's socket, which the proxy does not see
    let database = direct.connect_options().get_database().unwrap_or_default().to_owned();
    let options = proxy.url(url).parse::<PgConnectOptions>()?.database(&database);
    let pool = pool_options().connect_with(options).await?;
    let goals = Goals::new(&pool, ROWS).await?;
    let mut missed = 0;
    for delay_ms in [1, 10, 50, 200] {
        let delay = Duration::from_millis(delay_ms);
        let ours = rows_per_second(&goals, &proxy, delay, None).await?;
        let mut best = 0.0_f64;
        for keys in FIXED {
            best = best.max(rows_per_second(&goals, &proxy, delay, Some(keys)).await?);
        }
        let name = format!("PostgreSQL, SQL, {delay_ms} ms away, to the best fixed batch");
        missed += line(&name, ours, best, SHARE_MIN);
    }
    Ok(missed)
}

async fn rows_per_second(
    goals: &Goals<Postgres>,
    proxy: &Proxy,
    delay: Duration,
    fixed: Option<u32>,
) -> Result<f64, BoxError> {
    goals.refill().await?;
    let (runtime, migration) = register(&goals.pool, goals::in_sql()).await?;
    let backfill = match fixed {
        Some(keys) => migration.backfill().batch(keys).batch_time(NO_TIME),
        None => migration.backfill(),
    };
    proxy.delay(delay);
    let start = Instant::now();
    let progress = backfill.run().await?;
    let seconds = start.elapsed().as_secs_f64();
    proxy.delay(Duration::ZERO);
    assert!(progress.complete && progress.migrated == goals.rows as u64, "{progress:?}");
    runtime.shutdown().await?;
    Ok(goals.rows as f64 / seconds)
}
