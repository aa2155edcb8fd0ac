//! What the page costs with 100 migrations, 10,000 events, 10,000 dead letters and 50 instances.
//!
//! ```text
//! tests/run --servers cargo bench --bench page             prints the table
//! tests/run --servers cargo bench --bench page -- --check  and exits with 1 where a target is missed
//! ```
//!
//! What is judged are counts and ratios, which a busy machine does not change much: the statements of a view; the slowest
//! of a hundred answers, with ten who look, beside as many trivial statements; and what is asked when nobody looks.
//! Milliseconds are printed. Statements are counted as sqlx logs them.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::{Extension, Router};
use dualwrite::{
    Backend, Runtime,
    operator::{Access, Caller, Operator},
};
use futures_util::future::join_all;
use sqlx::pool::PoolOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor, MySql, Pool, Postgres, raw_sql};
use tower::ServiceExt as _;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

type Options<DB> = <<DB as sqlx::Database>::Connection as sqlx::Connection>::Options;
type Failed = Box<dyn Error>;

const MIGRATIONS: usize = 100;
const INSTANCES: usize = 50;
/// Of each migration.
const EVENTS: usize = 100;
const LETTERS: usize = 100;
const VIEWERS: usize = 10;
const LOOKS: usize = 100;
const STATEMENTS_MAX: u64 = 12;
/// A view that everybody shares for a second, beside so many trivial statements.
const RATIO_MAX: f64 = 60.0;
const VIEWS: [(&str, &str); 2] = [("overview", "/"), ("migration", "/view/m050")];

/// Counts the statements that sqlx logs.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl Counting {
    fn so_far(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

impl<S: tracing::Subscriber> Layer<S> for Counting {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Fills the control tables.
async fn populate<DB: Backend>(pool: &Pool<DB>) -> Result<(), Failed>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let runtime = Runtime::builder(pool.clone()).start().await?;
    for n in 0..MIGRATIONS {
        runtime.migration(format!("m{n:03}")).register().await?;
    }
    runtime.shutdown().await?;
    let far = 9_000_000_000_000_000_i64;
    let mut statements = Vec::new();
    let instances: Vec<String> =
        (0..INSTANCES).map(|n| format!("('i{n}', '1', 0, 5, 15000000, {far}, 1)")).collect();
    statements.push(format!(
        "INSERT INTO dualwrite_instance (id, release_name, min_stage, max_stage, lease, expires_at, beat) VALUES {}",
        instances.join(", ")
    ));
    for n in 0..MIGRATIONS {
        let rows = |count: usize, row: &dyn Fn(usize) -> String| {
            (0..count).map(row).collect::<Vec<_>>().join(", ")
        };
        let known = rows(INSTANCES, &|i| format!("('m{n:03}', 'i{i}', 0, 1, 0, 1, 1)"));
        statements.push(format!(
            "INSERT INTO dualwrite_acknowledgement (migration, instance, lazy, seen_epoch, seen_token, drained_epoch, beat) \
             VALUES {known}"
        ));
        let events = rows(EVENTS, &|i| {
            format!("('m{n:03}', {i}, 'ada', 'because', 0, 0, 0, 0, {}, 1, '')", i + 1_000)
        });
        statements.push(format!(
            "INSERT INTO dualwrite_event (migration, at, actor, reason, from_stage, from_ramp, to_stage, to_ramp, epoch, \
             generation, overridden) VALUES {events}"
        ));
        let letters =
            rows(LETTERS, &|i| format!("('m{n:03}', 'new', '{i}', 1, 'refused', 1, {i}, {far})"));
        statements.push(format!(
            "INSERT INTO dualwrite_failure (migration, side, key_text, generation, error, attempts, failed_at, \
             next_attempt_at) VALUES {letters}"
        ));
    }
    let mut conn = pool.acquire().await?;
    for statement in statements {
        raw_sql(AssertSqlSafe(statement)).execute(&mut *conn).await?;
    }
    Ok(())
}

async fn look(page: &Router, path: &str) -> Result<Duration, Failed> {
    let begun = Instant::now();
    let answer = page.clone().oneshot(Request::get(path).body(Body::empty())?).await?;
    let (status, text) = (answer.status(), to_bytes(answer.into_body(), usize::MAX).await?);
    if !status.is_success() {
        return Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&text)).into());
    }
    Ok(begun.elapsed())
}

fn slowest_but_one_percent(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

/// Of all looks of all viewers.
async fn p99<F: Future<Output = Result<Duration, Failed>>>(
    one: impl Fn() -> F,
) -> Result<Duration, Failed> {
    let viewer = || async {
        let mut times = Vec::with_capacity(LOOKS);
        for _ in 0..LOOKS {
            times.push(one().await?);
        }
        Ok::<_, Failed>(times)
    };
    let all = join_all((0..VIEWERS).map(|_| viewer())).await;
    let all: Vec<Vec<Duration>> = all.into_iter().collect::<Result<_, _>>()?;
    Ok(slowest_but_one_percent(all.concat()))
}

async fn measure<DB: Backend>(
    shown: &str,
    variable: &str,
    counting: &Counting,
) -> Result<Vec<String>, Failed>
where
    Options<DB>: std::str::FromStr<Err = sqlx::Error>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let url = std::env::var(variable).map_err(|_| format!("{variable} names no server"))?;
    let (server, _) = url.rsplit_once('/').ok_or("a URL of a server")?;
    let database = format!("dw_page_{}", std::process::id());
    let mut admin = DB::Connection::connect(&url).await?;
    raw_sql(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&mut admin).await?;
    let options: Options<DB> = format!("{server}/{database}").parse()?;
    let pool: Pool<DB> = PoolOptions::new().max_connections(10).connect_with(options).await?;
    populate(&pool).await?;
    let mut missed = Vec::new();
    let operator = || Operator::new(pool.clone());
    let page = |operator: Operator| {
        dualwrite::operator::page(operator, Access::from_layer())
            .layer(Extension(Caller::operator("ada")))
    };
    let trivial = p99(|| async {
        let begun = Instant::now();
        let mut conn = pool.acquire().await?;
        raw_sql("SELECT 1").execute(&mut *conn).await?;
        Ok(begun.elapsed())
    })
    .await?;
    println!("{shown}: a trivial statement of {VIEWERS} at a time: p99 {trivial:?}");
    for (name, path) in VIEWS {
        let operator = operator();
        operator.jobs("m001").await?; // what connecting asks is no part of a view
        let page = page(operator);
        let before = counting.so_far();
        let first = look(&page, path).await?;
        let statements = counting.so_far() - before;
        let slow = p99(|| look(&page, path)).await?;
        let ratio = slow.as_secs_f64() / trivial.as_secs_f64();
        println!(
            "{shown}: {name}: {statements} statements, first {first:?}, p99 {slow:?} at {VIEWERS} viewers, {ratio:.1} \
             trivial statements (at most {RATIO_MAX}; 50 ms wanted)"
        );
        if !(3..=STATEMENTS_MAX).contains(&statements) {
            missed.push(format!("{shown}: {name} asks {statements} statements"));
        }
        if ratio > RATIO_MAX {
            missed.push(format!("{shown}: {name} takes as long as {ratio:.1} trivial statements"));
        }
        let before = counting.so_far();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let idle = counting.so_far() - before;
        println!("{shown}: {name}: {idle} statements in 3 s when nobody looks");
        if idle > 0 {
            missed.push(format!("{shown}: {idle} statements when nobody looks"));
        }
    }
    pool.close().await;
    raw_sql(AssertSqlSafe(format!("DROP DATABASE {database}"))).execute(&mut admin).await?;
    Ok(missed)
}

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    let counting = Counting::default();
    let subscriber = tracing_subscriber::registry().with(counting.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the first subscriber");
    let tokio = tokio::runtime::Runtime::new().expect("a runtime of tokio");
    let missed = tokio.block_on(async {
        let mut missed =
            measure::<Postgres>("postgres", "DUALWRITE_TEST_POSTGRES_URL", &counting).await?;
        missed.extend(measure::<MySql>("mysql", "DUALWRITE_TEST_MYSQL_URL", &counting).await?);
        Ok::<_, Failed>(missed)
    });
    match missed {
        Ok(missed) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(missed) => {
            println!("missed: {missed:#?}");
            if check { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
