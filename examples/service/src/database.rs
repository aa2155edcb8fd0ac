//! One of three databases, by its URL: the tables of the shop, and plain SQL over them.

use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, MySqlPool, PgPool, SqlitePool, raw_sql};
use tokio::net::TcpListener;

use crate::demo::Failure;
use crate::process::Release;
use crate::{mysql, postgres, sqlite};

/// Connections of one process.
const CONNECTIONS_MAX: u32 = 10;
/// How long a call waits for a connection, and a write of SQLite for its turn.
const PATIENCE: Duration = Duration::from_secs(20);

/// The database of the shop.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file.
    Sqlite(SqlitePool),
    /// A server.
    Postgres(PgPool),
    /// A server.
    MariaDb(MySqlPool),
}

macro_rules! on {
    ($database:expr, $pool:ident => $what:expr) => {
        match $database {
            Database::Sqlite($pool) => $what,
            Database::Postgres($pool) => $what,
            Database::MariaDb($pool) => $what,
        }
    };
}

fn options<DB: sqlx::Database>() -> PoolOptions<DB> {
    PoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(PATIENCE)
}

impl Database {
    /// Connects to the database of this URL.
    ///
    /// # Errors
    /// Where it cannot be reached, or is of no kind that this example knows.
    pub async fn open(url: &str) -> Result<Self, Failure> {
        Ok(match url.split(':').next().unwrap_or_default() {
            "sqlite" => {
                let file: SqliteConnectOptions = url.parse()?;
                let file = file
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Normal)
                    .busy_timeout(PATIENCE);
                Self::Sqlite(options().connect_with(file).await?)
            }
            "postgres" | "postgresql" => Self::Postgres(options().connect(url).await?),
            "mysql" | "mariadb" => Self::MariaDb(options().connect(url).await?),
            _ => {
                return Err("the URL must begin with sqlite:, postgres:, mysql: or mariadb:".into());
            }
        })
    }

    /// Makes the table of release 1.0 and puts orders into it, of as many customers in turn.
    ///
    /// # Errors
    /// Where the database refuses, for example because the table is there.
    pub async fn create(&self, orders: u64, customers: u64) -> Result<(), Failure> {
        self.execute(match self {
            Self::Sqlite(_) => include_str!("../migrations/sqlite/0001_purchase.sql"),
            Self::Postgres(_) => include_str!("../migrations/postgres/0001_purchase.sql"),
            Self::MariaDb(_) => include_str!("../migrations/mysql/0001_purchase.sql"),
        })
        .await?;
        let rows = (0..orders).map(|number| {
            let (customer, is_paid) = (number % customers, number % 3 != 0);
            format!("('customer-{customer}', {}, {is_paid})", 100 + number)
        });
        self.insert("purchase (customer, amount_cents, paid)", rows).await
    }

    /// Makes the new table: the first step of the migration, before release 1.1 is deployed.
    ///
    /// # Errors
    /// Where the database refuses.
    pub async fn expand(&self) -> Result<(), Failure> {
        self.execute(match self {
            Self::Sqlite(_) => include_str!("../migrations/sqlite/0002_orders.sql"),
            Self::Postgres(_) => include_str!("../migrations/postgres/0002_orders.sql"),
            Self::MariaDb(_) => include_str!("../migrations/mysql/0002_orders.sql"),
        })
        .await
    }

    /// Inserts many rows, each a list of values in SQL.
    pub(crate) async fn insert(
        &self,
        into: &str,
        rows: impl Iterator<Item = String>,
    ) -> Result<(), Failure> {
        let rows: Vec<String> = rows.collect();
        for page in rows.chunks(500) {
            self.execute(&format!("INSERT INTO {into} VALUES {}", page.join(", "))).await?;
        }
        Ok(())
    }

    /// Runs statements.
    ///
    /// # Errors
    /// Where one of them fails.
    pub async fn execute(&self, sql: &str) -> Result<(), Failure> {
        on!(self, pool => raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop)?);
        Ok(())
    }

    /// The number that a query answers.
    ///
    /// # Errors
    /// Where it fails.
    pub async fn number(&self, sql: &str) -> Result<i64, Failure> {
        let text = AssertSqlSafe(sql.to_owned());
        Ok(on!(self, pool => sqlx::query_scalar(text).fetch_one(pool).await?))
    }

    /// Serves callers until the process is asked to end.
    ///
    /// # Errors
    /// Where the service cannot be started.
    pub async fn serve(self, release: Release, listener: TcpListener) -> Result<(), Failure> {
        match (self, release) {
            (Self::Sqlite(pool), Release::Before) => sqlite::before::serve(pool, listener).await,
            (Self::Sqlite(pool), Release::After) => sqlite::after::serve(pool, listener).await,
            (Self::Postgres(pool), Release::Before) => {
                postgres::before::serve(pool, listener).await
            }
            (Self::Postgres(pool), Release::After) => postgres::after::serve(pool, listener).await,
            (Self::MariaDb(pool), Release::Before) => mysql::before::serve(pool, listener).await,
            (Self::MariaDb(pool), Release::After) => mysql::after::serve(pool, listener).await,
        }
    }
}
