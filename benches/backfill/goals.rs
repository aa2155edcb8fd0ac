//! Goals, their versions, and the two ways to copy them.

use std::path::Path;
use std::time::Instant;

use dualwrite::{Backend, BoxError, Copied, CopyKeys, CopySql, Tx, copy::KeySource};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, MySql, Pool, Postgres, Row, Sqlite, raw_sql};

use crate::pool_options;

/// What differs between the databases.
pub(crate) trait Mapped: Backend {
    /// Tables `goals_all` and `goal_versions`, and goals of about 200 bytes in the former.
    fn fill(rows: i64) -> Vec<String>;
    /// `goals` as they were at the beginning, and no versions.
    const REFILL: &'static [&'static str];
    /// The statements of a copy.
    const COPY: &'static [&'static str];
    /// All in as few statements as can be.
    const AT_ONCE: &'static [&'static str];

    fn execute(pool: &Pool<Self>, sql: String) -> impl Future<Output = sqlx::Result<()>> + Send;
    fn number(
        pool: &Pool<Self>,
        sql: &'static str,
    ) -> impl Future<Output = sqlx::Result<i64>> + Send;
}

macro_rules! mapped {
    ($($db:ty, $fill:expr, $refill:expr, $at_once:expr, $copy:expr;)*) => {$(
        impl Mapped for $db {
            fn fill(rows: i64) -> Vec<String> {
                let fill: fn(i64) -> Vec<String> = $fill;
                fill(rows)
            }

            const REFILL: &'static [&'static str] = $refill;
            const AT_ONCE: &'static [&'static str] = $at_once;
            const COPY: &'static [&'static str] = $copy;

            async fn execute(pool: &Pool<Self>, sql: String) -> sqlx::Result<()> {
                raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop)
            }

            async fn number(pool: &Pool<Self>, sql: &'static str) -> sqlx::Result<i64> {
                sqlx::query_scalar(sql).fetch_one(pool).await
            }
        }
    )*};
}

const INSERT: &str = "INSERT INTO goal_versions (goal_id, version, title, body, owner) \
                      SELECT id, 1, title, body, owner FROM goals";

mapped! {
    Postgres,
    |rows| vec![
        "CREATE TABLE goals_all (id BIGINT PRIMARY KEY, title TEXT NOT NULL, body TEXT NOT NULL, \
         owner BIGINT NOT NULL, version_id BIGINT)".to_owned(),
        "CREATE TABLE goals (LIKE goals_all INCLUDING ALL)".to_owned(),
        "CREATE TABLE goal_versions (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
         goal_id BIGINT NOT NULL, version INT NOT NULL, title TEXT NOT NULL, body TEXT NOT NULL, \
         owner BIGINT NOT NULL, UNIQUE (goal_id, version))".to_owned(),
        format!("INSERT INTO goals_all SELECT n, 'goal number ' || n, repeat(md5(n::text), 5), n % 1000, NULL \
                 FROM generate_series(1, {rows}) n"),
    ],
    &["TRUNCATE goals, goal_versions RESTART IDENTITY", "INSERT INTO goals SELECT * FROM goals_all",
      "VACUUM ANALYZE goals", "VACUUM ANALYZE goal_versions", "CHECKPOINT"],
    &[INSERT, "UPDATE goals SET version_id = v.id FROM goal_versions v \
               WHERE v.goal_id = goals.id AND v.version = 1"],
    // The rows are locked, so nobody inserts their versions: that need not be asked row by row, as ON CONFLICT
    // does, which takes half as long again.
    &["UPDATE goal_versions v SET title = g.title, body = g.body, owner = g.owner FROM {rows} g \
       WHERE v.goal_id = g.id AND v.version = 1 AND {v.goal_id}",
      "INSERT INTO goal_versions (goal_id, version, title, body, owner) \
       SELECT g.id, 1, g.title, g.body, g.owner FROM {rows} g WHERE NOT EXISTS (SELECT 1 FROM goal_versions v \
       WHERE v.goal_id = g.id AND v.version = 1 AND {v.goal_id})",
      "UPDATE goals SET version_id = v.id FROM goal_versions v \
       WHERE v.goal_id = goals.id AND v.version = 1 AND {goals.id} AND {v.goal_id}"];

    MySql,
    |rows| vec![
        "CREATE TABLE goals_all (id BIGINT PRIMARY KEY, title VARCHAR(80) NOT NULL, body VARCHAR(400) NOT NULL, \
         owner BIGINT NOT NULL, version_id BIGINT)".to_owned(),
        "CREATE TABLE goals LIKE goals_all".to_owned(),
        "CREATE TABLE goal_versions (id BIGINT AUTO_INCREMENT PRIMARY KEY, goal_id BIGINT NOT NULL, \
         version INT NOT NULL, title VARCHAR(80) NOT NULL, body VARCHAR(400) NOT NULL, owner BIGINT NOT NULL, \
         UNIQUE (goal_id, version))".to_owned(),
        format!("INSERT INTO goals_all SELECT seq, concat('goal number ', seq), repeat(md5(seq), 5), seq % 1000, NULL \
                 FROM seq_1_to_{rows}"),
    ],
    &["TRUNCATE goals", "TRUNCATE goal_versions", "INSERT INTO goals SELECT * FROM goals_all",
      "ANALYZE TABLE goals"],
    &[INSERT, "UPDATE goals JOIN goal_versions v ON v.goal_id = goals.id AND v.version = 1 \
               SET goals.version_id = v.id"],
    // Not a join: with the statistics of an empty table MariaDB would read all versions for each batch.
    &["INSERT INTO goal_versions (goal_id, version, title, body, owner) \
       SELECT g.id, 1, g.title, g.body, g.owner FROM {rows} g ON DUPLICATE KEY UPDATE title = VALUES(title), \
       body = VALUES(body), owner = VALUES(owner)",
      "UPDATE goals SET version_id = (SELECT v.id FROM goal_versions v \
       WHERE v.goal_id = goals.id AND v.version = 1) WHERE {id}"];

    Sqlite,
    |rows| vec![
        "CREATE TABLE goals_all (id INTEGER PRIMARY KEY, title TEXT NOT NULL, body TEXT NOT NULL, \
         owner INTEGER NOT NULL, version_id INTEGER)".to_owned(),
        "CREATE TABLE goals (id INTEGER PRIMARY KEY, title TEXT NOT NULL, body TEXT NOT NULL, \
         owner INTEGER NOT NULL, version_id INTEGER)".to_owned(),
        "CREATE TABLE goal_versions (id INTEGER PRIMARY KEY, goal_id INTEGER NOT NULL, version INTEGER NOT NULL, \
         title TEXT NOT NULL, body TEXT NOT NULL, owner INTEGER NOT NULL, UNIQUE (goal_id, version))".to_owned(),
        format!("INSERT INTO goals_all WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
                 SELECT i, 'goal number ' || i, hex(zeroblob(70)) || i, i % 1000, NULL FROM n"),
    ],
    &["DELETE FROM goals", "DELETE FROM goal_versions", "INSERT INTO goals SELECT * FROM goals_all",
      "PRAGMA wal_checkpoint(TRUNCATE)"],
    &[INSERT, "UPDATE goals SET version_id = (SELECT v.id FROM goal_versions v \
               WHERE v.goal_id = goals.id AND v.version = 1)"],
    &["INSERT INTO goal_versions (goal_id, version, title, body, owner) \
       SELECT g.id, 1, g.title, g.body, g.owner FROM {rows} g WHERE true ON CONFLICT (goal_id, version) DO UPDATE \
       SET title = excluded.title, body = excluded.body, owner = excluded.owner",
      "UPDATE goals SET version_id = (SELECT v.id FROM goal_versions v \
       WHERE v.goal_id = goals.id AND v.version = 1) WHERE {id}"];
}

/// The two tables.
pub(crate) struct Goals<DB: Mapped> {
    pub(crate) pool: Pool<DB>,
    pub(crate) rows: i64,
}

impl<DB: Mapped> Goals<DB> {
    pub(crate) async fn new(pool: &Pool<DB>, rows: i64) -> Result<Self, BoxError> {
        for sql in DB::fill(rows) {
            DB::execute(pool, sql).await?;
        }
        Ok(Self { pool: pool.clone(), rows })
    }

    pub(crate) async fn refill(&self) -> Result<(), BoxError> {
        for sql in DB::REFILL {
            DB::execute(&self.pool, (*sql).to_owned()).await?;
        }
        Ok(())
    }

    /// Rows per second of the database's own statements over the whole table.
    pub(crate) async fn at_once(&self) -> Result<f64, BoxError> {
        self.refill().await?;
        let start = Instant::now();
        for sql in DB::AT_ONCE {
            DB::execute(&self.pool, (*sql).to_owned()).await?;
        }
        let seconds = start.elapsed().as_secs_f64();
        self.check().await?;
        Ok(self.rows as f64 / seconds)
    }

    /// Every goal has one version, the same, and points to it.
    pub(crate) async fn check(&self) -> Result<(), BoxError> {
        let same = "SELECT count(*) FROM goals g JOIN goal_versions v ON v.id = g.version_id \
                    AND v.goal_id = g.id AND v.version = 1 AND v.title = g.title AND v.body = g.body \
                    AND v.owner = g.owner";
        assert_eq!(DB::number(&self.pool, same).await?, self.rows);
        assert_eq!(DB::number(&self.pool, "SELECT count(*) FROM goal_versions").await?, self.rows);
        Ok(())
    }
}

impl Goals<Postgres> {
    /// Rows per second of a loop with one transaction a row.
    pub(crate) async fn row_by_row(&self, rows: i64) -> Result<f64, BoxError> {
        self.refill().await?;
        let mut conn = self.pool.acquire().await?;
        let start = Instant::now();
        for id in 1..=rows {
            let mut tx = sqlx::Connection::begin(&mut *conn).await?;
            let row = sqlx::query("SELECT title, body, owner FROM goals WHERE id = $1 FOR UPDATE")
                .bind(id)
                .fetch_one(&mut *tx)
                .await?;
            let version: i64 = sqlx::query_scalar(
                "INSERT INTO goal_versions (goal_id, version, title, body, owner) \
                 VALUES ($1, 1, $2, $3, $4) RETURNING id",
            )
            .bind(id)
            .bind(row.get::<&str, _>(0))
            .bind(row.get::<&str, _>(1))
            .bind(row.get::<i64, _>(2))
            .fetch_one(&mut *tx)
            .await?;
            sqlx::query("UPDATE goals SET version_id = $2 WHERE id = $1")
                .bind(id)
                .bind(version)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(rows as f64 / start.elapsed().as_secs_f64())
    }
}

/// What the statements of the mapping are on this database.
pub(crate) fn in_sql<DB: Mapped>() -> CopySql<DB, i64> {
    DB::COPY.iter().fold(CopySql::new(source()), |copy, statement| copy.copying(statement))
}

fn source() -> KeySource {
    KeySource::table("goals").column("id")
}

fn all_migrated(keys: &[i64]) -> Copied {
    Copied { migrated: keys.len() as u64, skipped: 0 }
}

fn ends(keys: &[i64]) -> (i64, i64) {
    (keys.first().copied().unwrap_or(0), keys.last().copied().unwrap_or(0))
}

macro_rules! insert_and_point {
    ($unless_there:literal) => {
        concat!(
            "WITH copied AS ( \
                 INSERT INTO goal_versions (goal_id, version, title, body, owner) \
                 SELECT u.id, 1, u.title, u.body, u.owner \
                 FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::bigint[]) u(id, title, body, owner) ",
            $unless_there,
            " RETURNING id, goal_id) \
             UPDATE goals SET version_id = copied.id FROM copied \
             WHERE goals.id = copied.goal_id AND goals.id BETWEEN $5 AND $6"
        )
    };
}

const ADD: &str = insert_and_point!(
    "WHERE NOT EXISTS (SELECT 1 FROM goal_versions v \
     WHERE v.goal_id = u.id AND v.version = 1 AND v.goal_id BETWEEN $5 AND $6)"
);
const OVERWRITE: &str = insert_and_point!(
    "ON CONFLICT (goal_id, version) DO UPDATE \
     SET title = excluded.title, body = excluded.body, owner = excluded.owner"
);

/// The mapping in Rust: rows come to the client and go back in one statement.
pub(crate) struct RustMapping;

impl CopyKeys for RustMapping {
    type Database = Postgres;
    type Key = i64;

    fn source(&self) -> KeySource {
        source()
    }

    async fn copy(&self, tx: &mut Tx<'_, Postgres>, keys: &[i64]) -> Result<Copied, BoxError> {
        let (first, last) = ends(keys);
        let rows = sqlx::query(
            "SELECT id, title, body, owner FROM goals WHERE id = ANY($1) AND id BETWEEN $2 AND $3",
        )
        .bind(keys)
        .bind(first)
        .bind(last)
        .fetch_all(&mut **tx)
        .await?;
        let (mut ids, mut titles, mut bodies, mut owners) = (vec![], vec![], vec![], vec![]);
        for row in &rows {
            ids.push(row.get::<i64, _>(0));
            titles.push(row.get::<&str, _>(1).trim()); // any work of the service's own
            bodies.push(row.get::<&str, _>(2));
            owners.push(row.get::<i64, _>(3));
        }
        // As a rule none is there yet, and nobody adds one while the rows of old are locked.
        for write in [ADD, OVERWRITE] {
            let query = sqlx::query(write).bind(&ids).bind(&titles).bind(&bodies).bind(&owners);
            let done = query.bind(first).bind(last).execute(&mut **tx).await?;
            if done.rows_affected() == rows.len() as u64 {
                break;
            }
        }
        Ok(all_migrated(keys))
    }
}

pub(crate) async fn sqlite(folder: &Path) -> Result<Pool<Sqlite>, BoxError> {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("bench.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    Ok(pool_options().connect_with(options).await?)
}

fn name() -> String {
    format!("dualwrite_bench_{}", uuid::Uuid::new_v4().simple())
}

pub(crate) async fn mysql(url: &str) -> Result<Pool<MySql>, BoxError> {
    let admin = Pool::<MySql>::connect(url).await?;
    let name = name();
    MySql::execute(&admin, format!("CREATE DATABASE {name}")).await?;
    Ok(pool_options().connect_with(url.parse::<MySqlConnectOptions>()?.database(&name)).await?)
}

pub(crate) async fn postgres(url: &str) -> Result<Pool<Postgres>, BoxError> {
    let admin = Pool::<Postgres>::connect(url).await?;
    let name = name();
    Postgres::execute(&admin, format!("CREATE DATABASE {name}")).await?;
    let folder: String =
        sqlx::query_scalar("SHOW unix_socket_directories").fetch_one(&admin).await?;
    let mut options = url.parse::<PgConnectOptions>()?.database(&name);
    if let Some(folder) = folder.split(',').next().filter(|folder| !folder.is_empty()) {
        options = options.socket(folder.trim());
    }
    Ok(pool_options().connect_with(options).await?)
}
