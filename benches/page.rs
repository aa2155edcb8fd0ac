//! What the page costs with 100 migrations, 10,000 events, 10,000 dead letters and 50 instances.
//!
//! ```text
//! tests/run --servers cargo bench --bench page             prints the table
//! tests/run --servers cargo bench --bench page -- --check  and exits with 1 where a target is missed
//! ```
//!
//! What is judged are counts and ratios, which a busy machine does not change much: the statements of a view; the slowest
//! of a hundred answers, with ten who look, beside as many trivial statements; and what is asked when nobody looks.
//! Milliseconds are printed. Statements are counted as sqlx logs them. SQLite has no server, and a trivial statement
//! takes next to nothing there: the ratio is printed, and not judged.

#[path = "harness/mod.rs"]
mod harness;

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
use harness::targets::{PAGE_IDLE_MAX, PAGE_RATIO_MAX, PAGE_STATEMENTS_MAX, PAGE_STATEMENTS_MIN};
use harness::{Target, judge};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor, MySql, Pool, Postgres, Sqlite, raw_sql};
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
    let mut seconds: Vec<f64> = all.concat().iter().map(Duration::as_secs_f64).collect();
    Ok(Duration::from_secs_f64(harness::quantile(&mut seconds, 0.99)))
}

/// In a database of its own on the server that this variable names.
async fn on_server<DB: Backend>(
    shown: &str,
    variable: &str,
    counting: &Counting,
) -> Result<u32, Failed>
where
    Options<DB>: std::str::FromStr<Err = sqlx::Error>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let Ok(url) = std::env::var(variable) else {
        println!("LEFT OUT, {variable} is not set: {shown}");
        return Ok(0);
    };
    let (server, _) = url.rsplit_once('/').ok_or("a URL of a server")?;
    let database = format!("dw_page_{}", std::process::id());
    let mut admin = DB::Connection::connect(&url).await?;
    raw_sql(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&mut admin).await?;
    let options: Options<DB> = format!("{server}/{database}").parse()?;
    let ratio = Target::AtMost(PAGE_RATIO_MAX);
    let missed = measure::<DB>(shown, options, ratio, counting).await?;
    raw_sql(AssertSqlSafe(format!("DROP DATABASE {database}"))).execute(&mut admin).await?;
    Ok(missed)
}

/// Answers with the number of targets missed.
async fn measure<DB: Backend>(
    shown: &str,
    options: Options<DB>,
    ratio_target: Target,
    counting: &Counting,
) -> Result<u32, Failed>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let pool: Pool<DB> = PoolOptions::new().max_connections(10).connect_with(options).await?;
    populate(&pool).await?;
    let mut missed = 0;
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
        let statements = (counting.so_far() - before) as f64;
        let slow = p99(|| look(&page, path)).await?;
        let ratio = slow.as_secs_f64() / trivial.as_secs_f64();
        let before = counting.so_far();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let idle = (counting.so_far() - before) as f64;
        let of = |what: &str| format!("{shown}, {name}: {what}");
        let most = Target::AtMost(PAGE_STATEMENTS_MAX);
        let verdicts = [
            judge(&of("a view"), statements, "statements", most),
            judge(&of("p99 beside a trivial statement"), ratio, "times", ratio_target),
            judge(&of("nobody looks"), idle, "statements in 3 s", Target::AtMost(PAGE_IDLE_MAX)),
        ];
        judge(&of("p99"), slow.as_secs_f64() * 1_000.0, "ms", Target::None);
        // Fewer than that would mean that they are not counted.
        assert!(statements >= PAGE_STATEMENTS_MIN, "{statements} statements of {path}");
        let [of_view, of_ratio, of_idle] = verdicts;
        println!(
            "{shown}: {name}: {statements} statements {of_view}, first {first:?}, p99 {slow:?} at {VIEWERS} viewers (50 ms \
             wanted), {ratio:.1} trivial statements ({ratio_target}) {of_ratio}; {idle} statements in 3 s when nobody \
             looks {of_idle}"
        );
        missed += verdicts.map(harness::Verdict::missed).iter().sum::<u32>();
    }
    pool.close().await;
    Ok(missed)
}

fn main() -> ExitCode {
    let counting = Counting::default();
    let subscriber = tracing_subscriber::registry().with(counting.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the first subscriber");
    let tokio = tokio::runtime::Runtime::new().expect("a runtime of tokio");
    let missed = tokio.block_on(async {
        let folder = tempfile::tempdir()?;
        let options = SqliteConnectOptions::new().filename(folder.path().join("page.db"));
        let options = options.create_if_missing(true);
        let embedded = measure::<Sqlite>("sqlite", options, Target::None, &counting).await?;
        let postgres = "DUALWRITE_TEST_POSTGRES_URL";
        let mysql = "DUALWRITE_TEST_MYSQL_URL";
        Ok::<u32, Failed>(
            embedded
                + on_server::<Postgres>("postgres", postgres, &counting).await?
                + on_server::<MySql>("mysql", mysql, &counting).await?,
        )
    });
    harness::end(missed.expect("it runs"))
}
