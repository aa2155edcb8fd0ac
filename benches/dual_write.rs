//! What the fence costs: dual writes through the wrapper, against the same two statements written by hand
//! in a plain transaction.
//!
//! ```text
//! tests/run --servers cargo bench --bench dual_write             prints the table
//! tests/run --servers cargo bench --bench dual_write -- --check  and exits with 1 where a target is missed
//! ```
//!
//! On PostgreSQL eight clients write through the server's own socket, on SQLite one does. Both ways take
//! turns in many short rounds, and what is shown are the medians of the rounds and of their ratios.
//! Connections are not pinged when they are taken from the pool, which would flatter the ratio.

#[path = "harness/mod.rs"]
mod harness;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dualwrite::{
    Backend, BoxError, Copied, CopyKeys, Migration, MirrorPolicy, Percent, Runtime, Stage, Tx,
    copy::KeySource,
};
use harness::{Target, judge, quantile};
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Database, Pool, Postgres, Sqlite};

const ROUNDS: usize = 40;
const KEYS: i64 = 10_000;
/// Share of the throughput by hand that must be left.
const WITH_SAVEPOINT_MIN: f64 = 0.80;
const ABORTING_MIN: f64 = 0.86;
/// Stage changes under load.
const CHANGES: usize = 200;

#[dualwrite::repository]
trait Customers<DB: Backend> {
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, id: i64, email: &str) -> Result<(), sqlx::Error>;
}

/// The statement of one side.
struct Store(&'static str);

const OLD: &str = "UPDATE customer SET email = $2 WHERE id = $1";
const NEW: &str = "INSERT INTO customer_email (id, email) VALUES ($1, $2) \
                   ON CONFLICT (id) DO UPDATE SET email = excluded.email";

struct Copy<DB>(std::marker::PhantomData<DB>);

/// What differs between the databases: sqlx' bounds for a prepared statement.
trait Bench: Backend {
    fn run(
        conn: &mut Self::Connection,
        sql: &'static str,
        id: i64,
        email: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}

macro_rules! bench {
    ($($db:ty)*) => {$(
        impl Bench for $db {
            async fn run(
                conn: &mut Self::Connection,
                sql: &'static str,
                id: i64,
                email: &str,
            ) -> sqlx::Result<()> {
                sqlx::query(sql).bind(id).bind(email).execute(conn).await.map(drop)
            }
        }

        impl Customers<$db> for Store {
            async fn save(
                &self,
                tx: &mut Tx<'_, $db>,
                id: i64,
                email: &str,
            ) -> Result<(), sqlx::Error> {
                sqlx::query(self.0).bind(id).bind(email).execute(&mut **tx).await.map(drop)
            }
        }

        impl CopyKeys for Copy<$db> {
            type Database = $db;
            type Key = i64;

            fn source(&self) -> KeySource {
                KeySource::table("customer").column("id")
            }

            async fn copy(&self, _: &mut Tx<'_, $db>, _: &[i64]) -> Result<Copied, BoxError> {
                Err("nothing is copied here".into())
            }
        }
    )*};
}
bench!(Postgres Sqlite);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let missed = runtime.expect("a tokio runtime").block_on(measure()).expect("it runs");
    harness::end(missed)
}

async fn measure() -> Result<u32, BoxError> {
    println!(
        "{:<44} {:>12} {:>12} {:>8} {:>8}",
        "transactions per second", "dualwrite", "by hand", "ratio", "target"
    );
    let mut missed = 0;
    let folder = tempfile::tempdir()?;
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("bench.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(10));
    let pool = pool_options::<Sqlite>().connect_with(options).await?;
    missed += database("SQLite, 1 client", &pool, 1, 1_600).await?;
    match std::env::var("DUALWRITE_TEST_POSTGRES_URL") {
        Ok(url) => {
            let pool = postgres(&url).await?;
            missed += database("PostgreSQL, 8 clients", &pool, 8, 120).await?;
        }
        Err(_) => println!("LEFT OUT, DUALWRITE_TEST_POSTGRES_URL is not set: PostgreSQL"),
    }
    Ok(missed)
}

fn pool_options<DB: Database>() -> PoolOptions<DB> {
    PoolOptions::new().max_connections(12).test_before_acquire(false)
}

/// A database of its own, through the socket that the server offers.
async fn postgres(url: &str) -> Result<Pool<Postgres>, BoxError> {
    let admin = Pool::<Postgres>::connect(url).await?;
    let name = format!("dualwrite_bench_{}", uuid::Uuid::new_v4().simple());
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&admin).await?;
    let folder: String =
        sqlx::query_scalar("SHOW unix_socket_directories").fetch_one(&admin).await?;
    let mut options = url.parse::<PgConnectOptions>()?.database(&name);
    if let Some(folder) = folder.split(',').next().filter(|folder| !folder.is_empty()) {
        options = options.socket(folder.trim());
    }
    Ok(pool_options().connect_with(options).await?)
}

/// Both policies on one database; answers with the targets that were missed.
async fn database<DB>(
    name: &str,
    pool: &Pool<DB>,
    clients: i64,
    writes: i64,
) -> Result<u32, BoxError>
where
    DB: Bench,
    Store: Customers<DB>,
    Copy<DB>: CopyKeys<Database = DB>,
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
{
    let tables = "CREATE TABLE customer (id BIGINT PRIMARY KEY, email VARCHAR(80) NOT NULL);
                  CREATE TABLE customer_email (id BIGINT PRIMARY KEY, email VARCHAR(80) NOT NULL)";
    let mut conn = pool.acquire().await?;
    sqlx::raw_sql(tables).execute(&mut *conn).await?;
    for first in (0..KEYS).step_by(1_000) {
        let rows: Vec<String> = (first..first + 1_000).map(|id| format!("({id}, 'x')")).collect();
        for table in ["customer", "customer_email"] {
            let sql = format!("INSERT INTO {table} (id, email) VALUES {}", rows.join(", "));
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *conn).await?;
        }
    }
    drop(conn);
    let runtime = Runtime::builder(pool.clone()).start().await?;
    let mut missed = 0;
    for (policy, label, target) in [
        (MirrorPolicy::MarkDirty, "savepoint", WITH_SAVEPOINT_MIN),
        (MirrorPolicy::Repeat, "repeat", WITH_SAVEPOINT_MIN),
        (MirrorPolicy::Abort, "abort", ABORTING_MIN),
    ] {
        let copy = Copy(std::marker::PhantomData::<DB>);
        let registration = runtime.migration(format!("bench-{label}")).backfill(copy);
        let migration = registration.mirror(policy).register().await?;
        migration.advance(Stage::DualWrite).await?;
        let load = Load::new(pool, &migration, clients, writes);
        missed += u32::from(!compare(&format!("{name}, {label}"), target, &load).await?);
        if policy == MirrorPolicy::MarkDirty {
            stage_changes(name, &load).await?;
        }
    }
    runtime.shutdown().await?;
    Ok(missed)
}

/// Clients that write.
struct Load<DB: Backend> {
    pool: Pool<DB>,
    migration: Migration,
    customers: DualCustomers<Store, Store>,
    clients: i64,
    writes: i64,
    next: AtomicI64,
}

impl<DB: Bench> Load<DB>
where
    Store: Customers<DB>,
{
    fn new(pool: &Pool<DB>, migration: &Migration, clients: i64, writes: i64) -> Arc<Self> {
        let customers = DualCustomers::new(migration, Store(OLD), Store(NEW));
        let (pool, migration) = (pool.clone(), migration.clone());
        Arc::new(Self { pool, migration, customers, clients, writes, next: AtomicI64::new(0) })
    }

    /// Keys come in an order of their own, and no two clients write the same one at a time.
    fn key(&self) -> i64 {
        self.next.fetch_add(1, Relaxed) * 7_919 % KEYS
    }

    async fn by_hand(&self) -> Result<(), BoxError> {
        let mut tx = self.pool.begin().await?;
        let id = self.key();
        DB::run(&mut *tx, OLD, id, "somebody@example.org").await?;
        DB::run(&mut *tx, NEW, id, "somebody@example.org").await?;
        Ok(tx.commit().await?)
    }

    async fn fenced(&self) -> Result<(), BoxError> {
        let mut tx = self.migration.begin(&self.pool).await?;
        self.customers.save(&mut tx, self.key(), "somebody@example.org").await?;
        Ok(tx.commit().await?)
    }
}

/// Transactions per second of one round.
async fn round<DB: Bench>(load: &Arc<Load<DB>>, fenced: bool) -> Result<f64, BoxError>
where
    Store: Customers<DB>,
{
    let start = Instant::now();
    let clients = (0..load.clients).map(|_| {
        let load = Arc::clone(load);
        tokio::spawn(async move {
            for _ in 0..load.writes {
                match fenced {
                    true => load.fenced().await?,
                    false => load.by_hand().await?,
                }
            }
            Ok::<(), BoxError>(())
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await??;
    }
    Ok((load.clients * load.writes) as f64 / start.elapsed().as_secs_f64())
}

async fn compare<DB: Bench>(name: &str, target: f64, load: &Arc<Load<DB>>) -> Result<bool, BoxError>
where
    Store: Customers<DB>,
{
    let (mut figures, mut baselines, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        // Each goes first half of the time.
        let first = round(load, number % 2 == 0).await?;
        let second = round(load, number % 2 != 0).await?;
        let (figure, baseline) = if number % 2 == 0 { (first, second) } else { (second, first) };
        figures.push(figure);
        baselines.push(baseline);
        ratios.push(figure / baseline);
    }
    let ratio = quantile(&mut ratios, 0.5);
    let target = Target::AtLeast(target);
    let verdict = judge(name, ratio, "times", target);
    println!(
        "{name:<44} {:>12.0} {:>12.0} {ratio:>8.2} {target:>8}  {verdict}",
        quantile(&mut figures, 0.5),
        quantile(&mut baselines, 0.5),
    );
    Ok(verdict.missed() == 0)
}

/// How long a change of the position waits while all clients write.
async fn stage_changes<DB: Bench>(name: &str, load: &Arc<Load<DB>>) -> Result<(), BoxError>
where
    Store: Customers<DB>,
{
    let stop = Arc::new(AtomicBool::new(false));
    let clients = (0..load.clients).map(|_| {
        let (load, stop) = (Arc::clone(load), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Relaxed) {
                load.fenced().await?;
            }
            Ok::<(), BoxError>(())
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut waits = Vec::new();
    for number in 0..CHANGES {
        let ramp = Percent::from_basis_points((number % 2) as u16)?;
        let start = Instant::now();
        load.migration.ramp_to(ramp).await?;
        waits.push(start.elapsed().as_secs_f64() * 1_000.0);
    }
    stop.store(true, Relaxed);
    for client in clients {
        client.await??;
    }
    println!(
        "{:<44} {:>9.1} ms {:>9.1} ms",
        format!("{name}, a change: p50, p99"),
        quantile(&mut waits, 0.5),
        quantile(&mut waits, 0.99)
    );
    Ok(())
}
