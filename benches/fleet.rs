//! What a fleet of idle instances costs its database, counted by the server itself.
//!
//! ```text
//! tests/run --servers cargo bench --bench fleet             prints the table
//! tests/run --servers cargo bench --bench fleet -- --check  and exits with 1 where a target is missed
//! ```
//!
//! `--instances N` watches one large fleet of N instances instead, with `--migrations M` each (20 by default), and
//! prints how much of one core its server spends on it. Each takes two connections on PostgreSQL and one on MariaDB;
//! `DUALWRITE_TEST_CONNECTIONS` of `tests/run` says how many the servers allow.
//!
//! `--seconds N` says how long each fleet is watched; 30 by default. MariaDB counts for the whole server, so nobody
//! else may use it meanwhile. SQLite has no server that counts; there an instance does what it does on MariaDB.

#[path = "harness/mod.rs"]
mod harness;
#[path = "fleet/large.rs"]
mod large;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use dualwrite::{Backend, Migration, Runtime, Stage};
use harness::targets::{
    FLEET_MYSQL_TRANSACTIONS_MAX, FLEET_POSTGRES_TRANSACTIONS_MAX, FLEET_REGISTERING_MORE_MAX,
    FLEET_ROWS_READ_MORE_MAX, FLEET_ROWS_WRITTEN_MAX,
};
use harness::{Target, judge};
use sqlx::pool::PoolOptions;
use sqlx::{AssertSqlSafe, Connection as _, MySql, Pool, Postgres, raw_sql};

type Options<DB> = <<DB as sqlx::Database>::Connection as sqlx::Connection>::Options;

const INSTANCES: usize = 4;
/// Migrations, and dead letters of each.
const FLEETS: [(usize, u32); 3] = [(1, 0), (50, 0), (50, 200)];
const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// What the server has counted so far.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    transactions: f64,
    read: f64,
    written: f64,
}

impl Count {
    fn since(self, before: Self, seconds: f64) -> Self {
        let each = seconds * INSTANCES as f64;
        Self {
            transactions: (self.transactions - before.transactions) / each,
            read: (self.read - before.read) / each,
            written: (self.written - before.written) / each,
        }
    }
}

trait Counted: Backend {
    const SHOWN: &'static str;
    const VARIABLE: &'static str;
    const TRANSACTIONS_MAX: f64;
    const LASTING: f64;

    async fn count(admin: &mut Self::Connection, database: &str) -> sqlx::Result<Count>;
    async fn sessions(admin: &mut Self::Connection, database: &str) -> sqlx::Result<i64>;
    async fn run(conn: &mut Self::Connection, sql: String) -> sqlx::Result<()>;
}

impl Counted for Postgres {
    const SHOWN: &'static str = "postgres";
    const VARIABLE: &'static str = "DUALWRITE_TEST_POSTGRES_URL";
    const TRANSACTIONS_MAX: f64 = FLEET_POSTGRES_TRANSACTIONS_MAX;
    const LASTING: f64 = 2.0;

    async fn count(admin: &mut sqlx::PgConnection, database: &str) -> sqlx::Result<Count> {
        let sql = "SELECT (xact_commit + xact_rollback)::float8, tup_returned::float8, \
                   (tup_inserted + tup_updated + tup_deleted)::float8 \
                   FROM pg_stat_database WHERE datname = $1";
        let (transactions, read, written) =
            sqlx::query_as(sql).bind(database).fetch_one(admin).await?;
        Ok(Count { transactions, read, written })
    }

    async fn sessions(admin: &mut sqlx::PgConnection, database: &str) -> sqlx::Result<i64> {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = $1 AND backend_type = 'client backend'";
        sqlx::query_scalar(sql).bind(database).fetch_one(admin).await
    }

    async fn run(conn: &mut sqlx::PgConnection, sql: String) -> sqlx::Result<()> {
        raw_sql(AssertSqlSafe(sql)).execute(conn).await.map(drop)
    }
}

impl Counted for MySql {
    const SHOWN: &'static str = "mysql";
    const VARIABLE: &'static str = "DUALWRITE_TEST_MYSQL_URL";
    const TRANSACTIONS_MAX: f64 = FLEET_MYSQL_TRANSACTIONS_MAX;
    const LASTING: f64 = 1.0;

    async fn count(admin: &mut sqlx::MySqlConnection, _database: &str) -> sqlx::Result<Count> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SHOW GLOBAL STATUS").fetch_all(admin).await?;
        let mut count = Count::default();
        for (name, value) in rows {
            let value: f64 = value.parse().unwrap_or(0.0);
            match name.as_str() {
                "Com_select" | "Com_update" | "Com_insert" | "Com_delete" | "Com_begin" => {
                    count.transactions += value;
                }
                "Handler_update" | "Handler_write" | "Handler_delete" => count.written += value,
                "Handler_tmp_write" | "Handler_tmp_update" => {}
                name if name.starts_with("Handler_read_") => count.read += value,
                _ => {}
            }
        }
        Ok(count)
    }

    async fn sessions(admin: &mut sqlx::MySqlConnection, database: &str) -> sqlx::Result<i64> {
        let sql = "SELECT count(*) FROM information_schema.processlist WHERE db = ?";
        sqlx::query_scalar(sql).bind(database).fetch_one(admin).await
    }

    async fn run(conn: &mut sqlx::MySqlConnection, sql: String) -> sqlx::Result<()> {
        raw_sql(AssertSqlSafe(sql)).execute(conn).await.map(drop)
    }
}

/// The instances of a service, each with a pool of its own, as processes have.
struct Fleet<DB: Backend> {
    pools: Vec<Pool<DB>>,
    runtimes: Vec<Runtime<DB>>,
    migrations: Vec<Vec<Migration>>,
}

impl<DB: Counted> Fleet<DB> {
    async fn start(
        options: &Options<DB>,
        count: usize,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut fleet = Self { pools: Vec::new(), runtimes: Vec::new(), migrations: Vec::new() };
        for _ in 0..INSTANCES {
            let pool: Pool<DB> =
                PoolOptions::new().max_connections(2).connect_lazy_with(options.clone());
            let runtime = Runtime::builder(pool.clone()).start().await?;
            let named = (0..count).map(|number| runtime.migration(format!("m-{number}")));
            fleet.migrations.push(runtime.register_all(named).await?);
            fleet.pools.push(pool);
            fleet.runtimes.push(runtime);
        }
        Ok(fleet)
    }

    /// Moves one migration by one instance; answers when all have seen it.
    async fn moved(&self) -> Result<Duration, Box<dyn std::error::Error>> {
        let position = self.migrations[0][0].advance(Stage::DualWrite).await?;
        let began = Instant::now();
        while self.migrations.iter().any(|own| own[0].position() != position) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(began.elapsed())
    }

    async fn end(self) -> Result<(), Box<dyn std::error::Error>> {
        for runtime in self.runtimes {
            runtime.shutdown().await?;
        }
        for pool in self.pools {
            pool.close().await;
        }
        Ok(())
    }
}

/// A database for one fleet.
async fn create<DB: Counted>(
    admin: &mut DB::Connection,
    url: &str,
    label: &str,
) -> Result<(String, Options<DB>), Box<dyn std::error::Error>>
where
    Options<DB>: std::str::FromStr<Err = sqlx::Error>,
{
    let database = format!("dw_fleet_{}_{label}", std::process::id());
    DB::run(admin, format!("CREATE DATABASE {database}")).await?;
    let (server, _) = url.rsplit_once('/').ok_or("a URL of a server")?;
    let options = format!("{server}/{database}").parse()?;
    Ok((database, options))
}

/// How many transactions it takes to register so many migrations, by one instance.
async fn registering<DB: Counted>(
    admin: &mut DB::Connection,
    database: &str,
    options: &Options<DB>,
    count: usize,
) -> Result<f64, Box<dyn std::error::Error>> {
    let pool: Pool<DB> = PoolOptions::new().max_connections(2).connect_lazy_with(options.clone());
    let runtime = Runtime::builder(pool.clone()).lease(Duration::from_secs(600)).start().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = DB::count(admin, database).await?;
    let named = (0..count).map(|number| runtime.migration(format!("r-{count}-{number}")));
    runtime.register_all(named).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let took = DB::count(admin, database).await?.transactions - before.transactions;
    runtime.shutdown().await?;
    pool.close().await;
    Ok(took)
}

/// One kind of database; answers with the number of targets missed.
async fn watch<DB: Counted>(seconds: f64) -> Result<u32, Box<dyn std::error::Error>>
where
    Options<DB>: std::str::FromStr<Err = sqlx::Error>,
{
    let Ok(url) = std::env::var(DB::VARIABLE) else {
        println!("{}: {} is not set", DB::SHOWN, DB::VARIABLE);
        return Ok(0);
    };
    let mut missed = 0;
    let mut at_most = |figure: String, value: f64, unit: &str, most: f64| {
        let figure = format!("{}: {figure}", DB::SHOWN);
        let verdict = judge(&figure, value, unit, Target::AtMost(most));
        if verdict.missed() > 0 {
            println!("MISSED {figure}: {value:.2} {unit}, at most {most}");
        }
        missed += verdict.missed();
    };
    let mut admin = DB::Connection::connect(&url).await?;
    let mut read = Vec::new();
    for (migrations, letters) in FLEETS {
        let label = format!("{migrations}_{letters}");
        let (database, options) = create::<DB>(&mut admin, &url, &label).await?;
        let fleet = Fleet::<DB>::start(&options, migrations).await?;
        let mut conn = DB::Connection::connect_with(&options).await?;
        for number in 0..migrations {
            for page in 0..letters.div_ceil(100) {
                let row = |letter| {
                    format!(
                        "('m-{number}', 'new', '{letter}', 1, 'refused', 1, 1, 9000000000000000)"
                    )
                };
                let rows: Vec<String> =
                    (page * 100..letters.min(page * 100 + 100)).map(row).collect();
                let insert = "INSERT INTO dualwrite_failure (migration, side, key_text, generation, \
                              error, attempts, failed_at, next_attempt_at) VALUES";
                DB::run(&mut conn, format!("{insert} {}", rows.join(", "))).await?;
            }
        }
        conn.close().await?;
        // Until what the start needed is closed, and what it found is published.
        tokio::time::sleep(Duration::from_secs(20)).await;
        let before = DB::count(&mut admin, &database).await?;
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        let count = DB::count(&mut admin, &database).await?;
        let count = count.since(before, began.elapsed().as_secs_f64());
        let own: u32 = fleet.pools.iter().map(Pool::size).sum();
        let sessions = DB::sessions(&mut admin, &database).await? - i64::from(own);
        let sessions = sessions as f64 / INSTANCES as f64;
        let seen = fleet.moved().await?;
        println!(
            "{:8} {migrations:3} migrations, {letters:5} dead letters each: by instance {:5.2} transactions/s, {:8.1} \
             rows read/s, {:4.2} rows written/s, {sessions:4.2} connections; a move is seen after {:?}",
            DB::SHOWN,
            count.transactions,
            count.read,
            count.written,
            seen
        );
        let of =
            |what: &str| format!("{what}, {migrations} migrations with {letters} dead letters");
        at_most(of("idle"), count.transactions, "transactions/s", DB::TRANSACTIONS_MAX);
        at_most(of("idle"), count.written, "rows written/s", FLEET_ROWS_WRITTEN_MAX);
        at_most(of("idle"), sessions, "connections", DB::LASTING);
        at_most(of("a move is seen"), seen.as_secs_f64(), "s", SEEN_WITHIN.as_secs_f64());
        read.push(count.read);
        fleet.end().await?;
        if migrations == 1 {
            let mut took = Vec::new();
            for count in [5, 50] {
                took.push(registering::<DB>(&mut admin, &database, &options, count).await?);
            }
            println!("{:8} registering 5 and 50 migrations: {took:?} transactions", DB::SHOWN);
            let more = took[1] - took[0];
            let figure = "registering 50 migrations instead of 5".to_owned();
            at_most(figure, more, "transactions more", FLEET_REGISTERING_MORE_MAX);
        }
        DB::run(&mut admin, format!("DROP DATABASE {database}")).await?;
    }
    let more = read[2] - read[1];
    at_most("10,000 dead letters".to_owned(), more, "rows read/s", FLEET_ROWS_READ_MORE_MAX);
    Ok(missed)
}

fn main() -> ExitCode {
    let seconds = harness::number("--seconds").unwrap_or(30.0);
    let tokio = tokio::runtime::Runtime::new().expect("a runtime of tokio");
    let missed = tokio.block_on(async {
        if let Some(instances) = harness::number("--instances") {
            let migrations = harness::number("--migrations").unwrap_or(20);
            large::watch::<Postgres>(instances, migrations, seconds).await?;
            large::watch::<MySql>(instances, migrations, seconds).await?;
            return Ok::<u32, Box<dyn std::error::Error>>(0);
        }
        Ok(watch::<Postgres>(seconds).await? + watch::<MySql>(seconds).await?)
    });
    harness::end(missed.expect("it runs"))
}
