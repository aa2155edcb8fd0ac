//! What the fence costs: dual writes through the wrapper, against the same statements written by hand in a
//! plain transaction; and how long a change of the stage takes while all clients write.
//!
//! ```text
//! tests/run --servers cargo bench --bench dual_write             prints the table
//! tests/run --servers cargo bench --bench dual_write -- --check  and exits with 1 where a target is missed
//! … -- --only MariaDB                                            on one database
//! ```
//!
//! On PostgreSQL and MariaDB eight clients write through the server's own socket, on SQLite one does. Both
//! ways take turns in many short rounds, and what is shown are the medians of the rounds and of their
//! ratios. "One row" is a migration whose columns are in one row: one UPDATE of both columns, against the
//! same UPDATE by hand. "Its messages" are those of the line above, sent without the library: what the fence costs
//! on this database whoever takes it.
//! Connections are not pinged when they are taken from the pool, which would flatter the ratio.

#[path = "harness/mod.rs"]
mod harness;
#[path = "dual_write/statements.rs"]
mod statements;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dualwrite::{
    Backend, BoxError, Columns, Copied, CopyKeys, Migration, MirrorPolicy, Percent, Runtime, Stage,
    Tx, copy::KeySource,
};
use harness::{Target, is_wanted, judge, quantile};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Database, MySql, Pool, Postgres, Sqlite};
use statements::{Form, Messages, Sent, messages};

const ROUNDS: usize = 40;
const KEYS: i64 = 10_000;
/// What a change of the stage may take at the 99th percentile.
const CHANGE_MS_MAX: f64 = 30.0;
/// Of the throughput of the same messages without the library.
const OWN_MIN: f64 = 0.95;
/// Stage changes under load.
const CHANGES: usize = 200;

#[dualwrite::repository]
trait Customers<DB: Backend> {
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, id: i64, email: &str) -> Result<(), sqlx::Error>;
}

/// The statement of one side.
struct Store(&'static str);

/// The statement of the columns that the stage writes.
struct Row(Columns);

struct Copy<DB>(std::marker::PhantomData<DB>);

/// What differs between the databases: their statements, and sqlx' bounds for a prepared one.
trait Bench: Sent {
    /// All take the e-mail address, then the key.
    const OLD: &'static str;
    const NEW: &'static str;
    const BOTH: &'static str;
    /// Shares of the throughput by hand that must be left: savepoint, repeat, abort, one row.
    const MIN: [f64; 4];

    fn run(
        conn: &mut Self::Connection,
        sql: &'static str,
        id: i64,
        email: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}

macro_rules! bench {
    ($($db:ty, $min:expr, $old:expr, $new:expr, $both:expr;)*) => {$(
        impl Bench for $db {
            const OLD: &'static str = $old;
            const NEW: &'static str = $new;
            const BOTH: &'static str = $both;
            const MIN: [f64; 4] = $min;

            async fn run(
                conn: &mut Self::Connection,
                sql: &'static str,
                id: i64,
                email: &str,
            ) -> sqlx::Result<()> {
                sqlx::query(sql).bind(email).bind(id).execute(conn).await.map(drop)
            }
        }

        impl Customers<$db> for Store {
            async fn save(
                &self,
                tx: &mut Tx<'_, $db>,
                id: i64,
                email: &str,
            ) -> Result<(), sqlx::Error> {
                <$db>::run(&mut **tx, self.0, id, email).await
            }
        }

        impl Customers<$db> for Row {
            async fn save(
                &self,
                tx: &mut Tx<'_, $db>,
                id: i64,
                email: &str,
            ) -> Result<(), sqlx::Error> {
                let sql = match self.0 {
                    Columns::Both(_) => <$db>::BOTH,
                    _ => <$db>::OLD,
                };
                <$db>::run(&mut **tx, sql, id, email).await
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
bench! {
    Postgres, [0.83, 0.94, 0.94, 0.92],
        "UPDATE customer SET email = $1 WHERE id = $2",
        "INSERT INTO customer_email (email, id) VALUES ($1, $2) \
         ON CONFLICT (id) DO UPDATE SET email = excluded.email",
        "UPDATE customer SET email = $1, email_address = $1 WHERE id = $2";
    MySql, [0.8, 0.9, 0.9, 0.92],
        "UPDATE customer SET email = ? WHERE id = ?",
        "INSERT INTO customer_email (email, id) VALUES (?, ?) \
         ON DUPLICATE KEY UPDATE email = VALUES(email)",
        "UPDATE customer SET email = ?, email_address = email WHERE id = ?";
    Sqlite, [0.85, 0.92, 0.95, 0.92],
        "UPDATE customer SET email = $1 WHERE id = $2",
        "INSERT INTO customer_email (email, id) VALUES ($1, $2) \
         ON CONFLICT (id) DO UPDATE SET email = excluded.email",
        "UPDATE customer SET email = $1, email_address = $1 WHERE id = $2";
}

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
    if is_wanted("SQLite") {
        missed += sqlite().await?;
    }
    match std::env::var("DUALWRITE_TEST_POSTGRES_URL") {
        _ if !is_wanted("PostgreSQL") => {}
        Ok(url) => {
            let pool = postgres(&url).await?;
            missed += database("PostgreSQL, 8 clients", &pool, 8, 120).await?;
        }
        Err(_) => println!("LEFT OUT, DUALWRITE_TEST_POSTGRES_URL is not set: PostgreSQL"),
    }
    match std::env::var("DUALWRITE_TEST_MYSQL_URL") {
        _ if !is_wanted("MariaDB") => {}
        Ok(url) => {
            let pool = mysql(&url).await?;
            missed += database("MariaDB, 8 clients", &pool, 8, 120).await?;
        }
        Err(_) => println!("LEFT OUT, DUALWRITE_TEST_MYSQL_URL is not set: MariaDB"),
    }
    Ok(missed)
}

async fn sqlite() -> Result<u32, BoxError> {
    let folder = tempfile::tempdir()?;
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("bench.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(10));
    let pool = pool_options::<Sqlite>().connect_with(options).await?;
    database("SQLite, 1 client", &pool, 1, 1_600).await
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

/// The same on MariaDB.
async fn mysql(url: &str) -> Result<Pool<MySql>, BoxError> {
    let admin = Pool::<MySql>::connect(url).await?;
    let name = format!("dualwrite_bench_{}", uuid::Uuid::new_v4().simple());
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&admin).await?;
    let socket: String = sqlx::query_scalar("SELECT @@socket").fetch_one(&admin).await?;
    let options = url.parse::<MySqlConnectOptions>()?.database(&name).socket(socket);
    Ok(pool_options().connect_with(options).await?)
}

/// Each policy on one database; answers with the targets that were missed.
async fn database<DB>(
    name: &str,
    pool: &Pool<DB>,
    clients: i64,
    writes: i64,
) -> Result<u32, BoxError>
where
    DB: Bench,
    Store: Customers<DB>,
    Row: Customers<DB>,
    Copy<DB>: CopyKeys<Database = DB>,
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
{
    let tables = "CREATE TABLE customer (id BIGINT PRIMARY KEY, email VARCHAR(80) NOT NULL,
                                         email_address VARCHAR(80));
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
        (MirrorPolicy::MarkDirty, "savepoint", DB::MIN[0]),
        (MirrorPolicy::Repeat, "repeat", DB::MIN[1]),
        (MirrorPolicy::Abort, "abort", DB::MIN[2]),
    ] {
        let copy = Copy(std::marker::PhantomData::<DB>);
        let registration = runtime.migration(format!("bench-{label}")).backfill(copy);
        let migration = registration.mirror(policy).register().await?;
        migration.advance(Stage::DualWrite).await?;
        let customers = DualCustomers::new(&migration, Store(DB::OLD), Store(DB::NEW));
        let mut load =
            Load::new(pool, migration, customers, &[DB::OLD, DB::NEW], (clients, writes));
        load.messages = Some(messages(pool, &format!("bench-{label}"), Form::Dual(policy)).await?);
        let load = Arc::new(load);
        missed += compare(&format!("{name}, {label}"), target, &load).await?;
        if policy == MirrorPolicy::MarkDirty {
            missed += stage_changes(name, &load).await?;
        }
    }
    let migration = runtime.migration("bench-one-row").register().await?;
    migration.advance(Stage::DualWrite).await?;
    let customers = DualCustomers::one_row(&migration, Row);
    let mut load = Load::new(pool, migration, customers, &[DB::BOTH], (clients, writes));
    load.messages = Some(messages(pool, "bench-one-row", Form::OneRow).await?);
    let load = Arc::new(load);
    missed += compare(&format!("{name}, one row"), DB::MIN[3], &load).await?;
    runtime.shutdown().await?;
    Ok(missed)
}

/// Clients that write.
struct Load<DB: Backend, C> {
    pool: Pool<DB>,
    migration: Migration,
    customers: C,
    by_hand: &'static [&'static str],
    messages: Option<Messages>,
    clients: i64,
    writes: i64,
    next: AtomicI64,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Ours,
    ByHand,
    ItsMessages,
}

impl<DB: Bench, C: Customers<DB>> Load<DB, C> {
    fn new(
        pool: &Pool<DB>,
        migration: Migration,
        customers: C,
        by_hand: &'static [&'static str],
        (clients, writes): (i64, i64),
    ) -> Self {
        let (pool, next) = (pool.clone(), AtomicI64::new(0));
        Self { pool, migration, customers, by_hand, messages: None, clients, writes, next }
    }

    /// Keys come in an order of their own, and no two clients write the same one at a time.
    fn key(&self) -> i64 {
        self.next.fetch_add(1, Relaxed) * 7_919 % KEYS
    }

    async fn by_hand(&self) -> Result<(), BoxError> {
        let mut tx = self.pool.begin().await?;
        let id = self.key();
        for sql in self.by_hand {
            DB::run(&mut *tx, sql, id, "somebody@example.org").await?;
        }
        Ok(tx.commit().await?)
    }

    async fn its_messages(&self) -> Result<(), BoxError> {
        let messages = self.messages.as_ref().ok_or("no messages")?;
        let mut conn = self.pool.acquire().await?;
        let mut tx = messages.begin(&mut conn).await?;
        let id = self.key();
        for (number, sql) in self.by_hand.iter().enumerate() {
            if let (1, Some(between)) = (number, messages.between) {
                DB::send(&mut tx, between).await?;
            }
            DB::run(&mut *tx, sql, id, "somebody@example.org").await?;
        }
        Ok(messages.end(tx).await?)
    }

    async fn fenced(&self) -> Result<(), BoxError> {
        let mut tx = self.migration.begin(&self.pool).await?;
        self.customers.save(&mut tx, self.key(), "somebody@example.org").await?;
        Ok(tx.commit().await?)
    }
}

/// Transactions per second of one round.
async fn round<DB, C>(load: &Arc<Load<DB, C>>, way: Way) -> Result<f64, BoxError>
where
    DB: Bench,
    C: Customers<DB> + Send + Sync + 'static,
{
    let start = Instant::now();
    let clients = (0..load.clients).map(|_| {
        let load = Arc::clone(load);
        tokio::spawn(async move {
            for _ in 0..load.writes {
                match way {
                    Way::Ours => load.fenced().await?,
                    Way::ByHand => load.by_hand().await?,
                    Way::ItsMessages => load.its_messages().await?,
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

/// Answers with 1 where the target is missed.
async fn compare<DB, C>(name: &str, target: f64, load: &Arc<Load<DB, C>>) -> Result<u32, BoxError>
where
    DB: Bench,
    C: Customers<DB> + Send + Sync + 'static,
{
    let mut figures: [Vec<f64>; 3] = Default::default();
    let (mut ratios, mut own, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    let ways = [Way::Ours, Way::ByHand, Way::ItsMessages];
    for number in 0..ROUNDS {
        let mut round_of = [0.0; 3];
        for turn in 0..ways.len() {
            let way = (number + turn) % ways.len(); // each goes first as often as the others
            round_of[way] = round(load, ways[way]).await?;
            figures[way].push(round_of[way]);
        }
        let [ours, by_hand, messages] = round_of;
        ratios.push(ours / by_hand);
        own.push(ours / messages);
        shares.push(messages / by_hand);
    }
    let ratio = quantile(&mut ratios, 0.5);
    let [ours, by_hand, messages] = figures.map(|mut figures| quantile(&mut figures, 0.5));
    let target = Target::AtLeast(target);
    let verdict = judge(name, ratio, "times", target);
    println!("{name:<44} {ours:>12.0} {by_hand:>12.0} {ratio:>8.2} {target:>8}  {verdict}");
    let (own, share) = (quantile(&mut own, 0.5), quantile(&mut shares, 0.5));
    let (name, target) = (format!("{name}: its messages"), Target::AtLeast(OWN_MIN));
    let own_verdict = judge(&name, own, "times", target);
    println!(
        "{:<44} {ours:>12.0} {messages:>12.0} {own:>8.2} {target:>8}  {own_verdict}, {share:.2} by hand",
        "  against its messages alone"
    );
    Ok(verdict.missed() + own_verdict.missed())
}

/// How long a change of the position waits while all clients write; answers with 1 where that is too long.
async fn stage_changes<DB, C>(name: &str, load: &Arc<Load<DB, C>>) -> Result<u32, BoxError>
where
    DB: Bench,
    C: Customers<DB> + Send + Sync + 'static,
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
    let [p50, p99] = [0.5, 0.99].map(|share| quantile(&mut waits, share));
    let (figure, target) = (format!("{name}, a change: p50, p99"), Target::AtMost(CHANGE_MS_MAX));
    let verdict = judge(&figure, p99, "ms", target);
    println!("{figure:<44} {p50:>9.1} ms {p99:>9.1} ms {:>8} {target:>8}  {verdict}", "");
    Ok(verdict.missed())
}
