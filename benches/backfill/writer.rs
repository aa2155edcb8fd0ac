//! A writer at a steady rate, alone and beside a backfill.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dualwrite::BoxError;
use sqlx::{Pool, Postgres};
use tokio::task::JoinSet;

use crate::goals::Goals;
use crate::harness::{Target, judge};

const PER_SECOND: u32 = 300;
const ALONE: Duration = Duration::from_secs(5);
/// Of its p99, in milliseconds, and against the same writer alone.
const P99_MS_MAX: f64 = 15.0;
const TIMES_MAX: f64 = 3.0;

/// Measures both; answers with the number of targets missed.
pub(crate) async fn beside(goals: &Goals<Postgres>) -> Result<u32, BoxError> {
    goals.refill().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let alone = tokio::spawn(write(goals.pool.clone(), goals.rows, Arc::clone(&stop)));
    tokio::time::sleep(ALONE).await;
    stop.store(true, Relaxed);
    let alone = p99(alone.await??);
    let stop = Arc::new(AtomicBool::new(false));
    let (pool, rows, until) = (goals.pool.clone(), goals.rows, Arc::clone(&stop));
    goals.refill().await?;
    let (runtime, migration) = crate::register(&goals.pool, crate::goals::in_sql()).await?;
    let beside = tokio::spawn(write(pool, rows, until));
    let progress = migration.backfill().run().await?;
    assert!(progress.complete, "{progress:?}");
    stop.store(true, Relaxed);
    let beside = p99(beside.await??);
    runtime.shutdown().await?;
    let times = beside / alone;
    let figure = format!("p99 of a writer at {PER_SECOND}/s, beside");
    let slow = judge(&figure, beside, "ms", Target::AtMost(P99_MS_MAX));
    let often =
        judge(&format!("{figure}, against alone"), times, "times", Target::AtMost(TIMES_MAX));
    let missed = slow.missed() + often.missed();
    println!(
        "{:<52} {beside:>7.1} ms {alone:>7.1} ms {times:>8.2} {:>9}  {}",
        format!("p99 of a writer at {PER_SECOND}/s, beside and alone"),
        format!("≤ {P99_MS_MAX} ms"),
        if missed > 0 { "MISSED" } else { "ok" }
    );
    Ok(missed)
}

/// Updates at a steady rate, each on its way however long the one before takes; each counts from when it
/// was due.
async fn write(pool: Pool<Postgres>, rows: i64, stop: Arc<AtomicBool>) -> sqlx::Result<Vec<f64>> {
    let (mut under_way, start) = (JoinSet::new(), Instant::now());
    for number in 0_u32.. {
        if stop.load(Relaxed) {
            break;
        }
        let due = start + Duration::from_secs(1) * number / PER_SECOND;
        tokio::time::sleep_until(due.into()).await;
        let pool = pool.clone();
        under_way.spawn(async move {
            sqlx::query("UPDATE goals SET owner = owner + 1 WHERE id = $1")
                .bind(i64::from(number).wrapping_mul(7_919_003) % rows + 1)
                .execute(&pool)
                .await?;
            Ok(due.elapsed().as_secs_f64() * 1_000.0)
        });
    }
    under_way.join_all().await.into_iter().collect()
}

fn p99(mut millis: Vec<f64>) -> f64 {
    millis.sort_unstable_by(f64::total_cmp);
    millis.get(millis.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(f64::NAN)
}
