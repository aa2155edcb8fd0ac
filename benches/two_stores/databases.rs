//! Databases of the bench's own, with a table of rows.

use dualwrite::{Backend, BoxError};
use sqlx::pool::PoolOptions;
use sqlx::{AssertSqlSafe, MySql, Pool, Postgres, raw_sql};

/// What differs between the databases.
pub(crate) trait Server: Backend {
    const URL: &'static str;
    /// The numbers from `{first}` to `{last}`.
    const SERIES: &'static str;
    const AFTERWARDS: &'static str;
    const REMOVE: &'static str;

    fn connect(url: &str) -> impl Future<Output = sqlx::Result<Pool<Self>>> + Send;
    fn run(pool: &Pool<Self>, sql: String) -> impl Future<Output = sqlx::Result<()>> + Send;
    fn number(
        pool: &Pool<Self>,
        sql: &'static str,
    ) -> impl Future<Output = sqlx::Result<i64>> + Send;
}

macro_rules! server {
    ($($db:ty, $url:expr, $series:expr, $afterwards:expr, $remove:expr;)*) => {$(
        impl Server for $db {
            const URL: &'static str = $url;
            const SERIES: &'static str = $series;
            const AFTERWARDS: &'static str = $afterwards;
            const REMOVE: &'static str = $remove;

            async fn connect(url: &str) -> sqlx::Result<Pool<Self>> {
                // Connections are not pinged when they are taken from the pool, which would flatter the ratios.
                PoolOptions::<$db>::new().max_connections(10).test_before_acquire(false).connect(url).await
            }

            async fn run(pool: &Pool<Self>, sql: String) -> sqlx::Result<()> {
                raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop)
            }

            async fn number(pool: &Pool<Self>, sql: &'static str) -> sqlx::Result<i64> {
                sqlx::query_scalar(sql).fetch_one(pool).await
            }
        }
    )*};
}
server! {
    Postgres, "DUALWRITE_TEST_POSTGRES_URL", "SELECT i FROM generate_series({first}::bigint, {last}) i",
        "VACUUM ANALYZE customer", "DROP DATABASE {name} WITH (FORCE)";
    MySql, "DUALWRITE_TEST_MYSQL_URL", "SELECT seq AS i FROM seq_{first}_to_{last}", "ANALYZE TABLE customer",
        "DROP DATABASE {name}";
}

pub(crate) struct Database<DB: Server> {
    pub(crate) pool: Pool<DB>,
    pub(crate) url: String,
    admin: Pool<DB>,
    name: String,
}

impl<DB: Server> Database<DB> {
    /// `None` where there is no server.
    pub(crate) async fn new() -> Result<Option<Self>, BoxError> {
        let Ok(server) = std::env::var(DB::URL) else { return Ok(None) };
        let name = format!("dualwrite_bench_{}", uuid::Uuid::new_v4().simple());
        let admin = DB::connect(&server).await?;
        DB::run(&admin, format!("CREATE DATABASE {name}")).await?;
        let (place, query) = server.split_once('?').unwrap_or((&server, ""));
        let place = place.rfind('/').map_or(place, |slash| &place[..slash]);
        let url = match query {
            "" => format!("{place}/{name}"),
            query => format!("{place}/{name}?{query}"),
        };
        let pool = DB::connect(&url).await?;
        let text = "VARCHAR(60) NOT NULL";
        let create = format!(
            "CREATE TABLE customer (id BIGINT PRIMARY KEY, a {text}, b {text}, c {text}, d {text})"
        );
        DB::run(&pool, create).await?;
        Ok(Some(Self { pool, url, admin, name }))
    }

    pub(crate) async fn empty(&self) -> Result<(), BoxError> {
        Ok(DB::run(&self.pool, "TRUNCATE TABLE customer".to_owned()).await?)
    }

    pub(crate) async fn count(&self) -> Result<i64, BoxError> {
        Ok(DB::number(&self.pool, "SELECT count(*) FROM customer").await?)
    }

    /// So many rows, the same in every database.
    pub(crate) async fn fill(&self, rows: i64) -> Result<(), BoxError> {
        self.empty().await?;
        for first in (1..=rows).step_by(100_000) {
            let last = (first + 99_999).min(rows);
            let series = DB::SERIES
                .replace("{first}", &first.to_string())
                .replace("{last}", &last.to_string());
            let texts = (1..=4)
                .map(|number| format!("CONCAT(MD5(CONCAT('{number}', i)), '@customers.org..')"));
            let texts = texts.collect::<Vec<_>>().join(", ");
            DB::run(
                &self.pool,
                format!("INSERT INTO customer SELECT i, {texts} FROM ({series}) s"),
            )
            .await?;
        }
        Ok(DB::run(&self.pool, DB::AFTERWARDS.to_owned()).await?)
    }

    pub(crate) async fn remove(self) -> Result<(), BoxError> {
        self.pool.close().await;
        Ok(DB::run(&self.admin, DB::REMOVE.replace("{name}", &self.name)).await?)
    }
}
