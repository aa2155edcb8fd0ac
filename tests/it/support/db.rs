//! A database of its own for each test, on every kind of database the library serves.
//!
//! A scenario is written once, generic over [`TestDb`], and stamped out by [`on_all_databases!`]:
//!
//! ```ignore
//! async fn counts_rows<D: TestDb>(db: Scratch<D>) {
//!     db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
//!     assert_eq!(db.number("SELECT count(*) FROM t").await, 0);
//! }
//! on_all_databases!(counts_rows); // counts_rows::{sqlite, postgres, mysql}
//! ```
//!
//! The database goes when its [`Scratch`] is dropped, except while a test panics: then it stays, and
//! its name is printed. SQLite is always there. The servers are named by the variables `tests/run`
//! sets; without them a test says so and passes, or fails where every database is demanded.

use std::env;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Database, Executor, Pool, Row, raw_sql};

use super::notice;

/// Connections in a test's own pool. Some 16 tests run side by side on a large machine, and the
/// servers of `tests/run` take 300 and 500 connections.
const POOL_CONNECTIONS_MAX: u32 = 10;

/// How long removing a database may take.
const REMOVAL_MAX: Duration = Duration::from_secs(30);

/// Text of every column of every row.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// How sqlx connects to a database.
type Options<D> = <<<D as TestDb>::Db as Database>::Connection as Connection>::Options;

/// One kind of database.
pub(crate) trait TestDb: Sized + Send + Sync + 'static {
    type Db: dualwrite::Backend;

    const NAME: &'static str;

    /// An empty database for the test of this name; `None`, and a notice, where there is no server.
    fn fresh(test: &str) -> impl Future<Output = Option<Scratch<Self>>> + Send;

    /// The statement that is meant for this kind of database.
    fn sql(sqlite: &'static str, postgres: &'static str, mysql: &'static str) -> &'static str;

    /// Runs statements separated by semicolons, on one connection.
    fn execute(
        pool: &Pool<Self::Db>,
        sql: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Every column of every row, as the database writes it in text.
    fn rows(
        pool: &Pool<Self::Db>,
        sql: &str,
    ) -> impl Future<Output = Result<Rows, sqlx::Error>> + Send;
}

/// A test's own database.
pub(crate) struct Scratch<D: TestDb> {
    pool: Pool<D::Db>,
    options: Options<D>,
    place: Arc<Place>,
}

impl<D: TestDb> Scratch<D> {
    async fn open(options: Options<D>, place: Place) -> Self {
        let place = Arc::new(place);
        let pool = connect::<D>(&options, POOL_CONNECTIONS_MAX, &place).await;
        Self { pool, options, place }
    }

    pub(crate) fn pool(&self) -> &Pool<D::Db> {
        &self.pool
    }

    /// A pool beside the test's own one, as another instance of a service would have.
    pub(crate) async fn another_pool(&self, connections_max: u32) -> Pool<D::Db> {
        connect::<D>(&self.options, connections_max, &self.place).await
    }

    /// The same database by another way.
    pub(crate) async fn pool_by(&self, url: &str, connections_max: u32) -> Pool<D::Db> {
        let options = Options::<D>::from_str(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        connect::<D>(&options, connections_max, &self.place).await
    }

    /// The host and port of its server; `None` for a file.
    pub(crate) fn server(&self) -> Option<(String, u16)> {
        let url = self.options.to_url_lossy();
        Some((url.host_str()?.to_owned(), url.port()?))
    }

    /// For another process.
    pub(crate) fn url(&self) -> String {
        self.options.to_url_lossy().into()
    }

    /// What stands behind the database, and how it is removed.
    pub(crate) fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }

    /// Runs statements separated by semicolons; panics where one of them fails.
    pub(crate) async fn execute(&self, sql: &str) {
        if let Err(error) = D::execute(&self.pool, sql).await {
            panic!("{}: {error}\nin: {}", D::NAME, beginning(sql));
        }
    }

    /// Every column of every row, as the database writes it in text; panics on an error.
    pub(crate) async fn rows(&self, sql: &str) -> Rows {
        match D::rows(&self.pool, sql).await {
            Ok(rows) => rows,
            Err(error) => panic!("{}: {error}\nin: {}", D::NAME, beginning(sql)),
        }
    }

    /// The one number a query answers.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let rows = self.rows(sql).await;
        let [row] = rows.as_slice() else { panic!("{} rows, not one, from: {sql}", rows.len()) };
        let [Some(text)] = row.as_slice() else {
            panic!("not one value, but {row:?}, from: {sql}")
        };
        text.parse().unwrap_or_else(|_| panic!("not a number, but {text:?}, from: {sql}"))
    }
}

impl<D: TestDb> Drop for Scratch<D> {
    fn drop(&mut self) {
        if thread::panicking() {
            // Not a notice: it belongs to what the test runner shows of a failed test.
            eprintln!("KEPT {} {}", D::NAME, self.place.name);
        } else {
            self.place.remove();
        }
    }
}

/// What stands behind a database: a folder, or a name on a server.
pub(crate) struct Place {
    name: String,
    remove: Box<dyn Fn() + Send + Sync>,
}

impl Place {
    pub(crate) fn remove(&self) {
        (self.remove)();
    }
}

async fn connect<D: TestDb>(options: &Options<D>, max: u32, place: &Place) -> Pool<D::Db> {
    PoolOptions::new()
        .max_connections(max)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(options.clone())
        .await
        .unwrap_or_else(|error| panic!("{}: cannot open {}: {error}", D::NAME, place.name))
}

impl Scratch<PostgresDb> {
    /// The database of a server of the test's own.
    pub(crate) async fn on(url: &str) -> Self {
        let options = PgConnectOptions::from_str(url).expect("a URL of a PostgreSQL server");
        let place = Place { name: url.to_owned(), remove: Box::new(|| {}) };
        Self::open(options, place).await
    }
}

/// SQLite in a file, because locks are real only there.
pub(crate) struct SqliteDb;

impl TestDb for SqliteDb {
    type Db = sqlx::Sqlite;

    const NAME: &'static str = "sqlite";

    async fn fresh(test: &str) -> Option<Scratch<Self>> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("{}.", plain_name(test)))
            .disable_cleanup(true)
            .tempdir()
            .expect("a folder for the database")
            .keep();
        let options = SqliteConnectOptions::new()
            .filename(folder.join("scratch.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(10));
        let place = Place {
            name: folder.display().to_string(),
            remove: Box::new(move || {
                if let Err(error) = std::fs::remove_dir_all(&folder) {
                    notice(&format!("LEFT {}: {error}", folder.display()));
                }
            }),
        };
        Some(Scratch::open(options, place).await)
    }

    fn sql(sqlite: &'static str, _: &'static str, _: &'static str) -> &'static str {
        sqlite
    }

    async fn execute(pool: &Pool<Self::Db>, sql: &str) -> Result<(), sqlx::Error> {
        pool.execute(raw_sql(AssertSqlSafe(sql))).await.map(drop)
    }

    async fn rows(pool: &Pool<Self::Db>, sql: &str) -> Result<Rows, sqlx::Error> {
        texts(pool.fetch_all(raw_sql(AssertSqlSafe(sql))).await?)
    }
}

/// PostgreSQL, on the server `DUALWRITE_TEST_POSTGRES_URL` names.
pub(crate) struct PostgresDb;

impl TestDb for PostgresDb {
    type Db = sqlx::Postgres;

    const NAME: &'static str = "postgres";

    async fn fresh(test: &str) -> Option<Scratch<Self>> {
        let admin = server(test, "DUALWRITE_TEST_POSTGRES_URL")?;
        let name = database_name(test);
        let options = PgConnectOptions::from_str(&admin).expect("a URL of a PostgreSQL server");
        // From the template nobody can be connected to: such a connection makes CREATE DATABASE fail.
        on_postgres(&admin, &format!("CREATE DATABASE {name} TEMPLATE template0"))
            .await
            .unwrap_or_else(|error| panic!("postgres: cannot create {name}: {error}"));
        let place = Place {
            name: name.clone(),
            remove: Box::new({
                let name = name.clone();
                move || {
                    let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                    remove_database(&name, on_postgres(&admin, &sql));
                }
            }),
        };
        Some(Scratch::open(options.database(&name), place).await)
    }

    fn sql(_: &'static str, postgres: &'static str, _: &'static str) -> &'static str {
        postgres
    }

    async fn execute(pool: &Pool<Self::Db>, sql: &str) -> Result<(), sqlx::Error> {
        pool.execute(raw_sql(AssertSqlSafe(sql))).await.map(drop)
    }

    async fn rows(pool: &Pool<Self::Db>, sql: &str) -> Result<Rows, sqlx::Error> {
        texts(pool.fetch_all(raw_sql(AssertSqlSafe(sql))).await?)
    }
}

async fn on_postgres(admin: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(admin).await?;
    connection.execute(raw_sql(AssertSqlSafe(sql))).await?;
    connection.close().await
}

/// MySQL or MariaDB, on the server `DUALWRITE_TEST_MYSQL_URL` names.
pub(crate) struct MySqlDb;

impl TestDb for MySqlDb {
    type Db = sqlx::MySql;

    const NAME: &'static str = "mysql";

    async fn fresh(test: &str) -> Option<Scratch<Self>> {
        let admin = server(test, "DUALWRITE_TEST_MYSQL_URL")?;
        let name = database_name(test);
        let options = MySqlConnectOptions::from_str(&admin).expect("a URL of a MySQL server");
        let create = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
        let mut connection =
            MySqlConnection::connect(&admin).await.expect("the MySQL server answers");
        connection
            .execute(raw_sql(AssertSqlSafe(create)))
            .await
            .unwrap_or_else(|error| panic!("mysql: cannot create {name}: {error}"));
        connection.close().await.expect("the MySQL server says goodbye");
        let place = Place {
            name: name.clone(),
            remove: Box::new({
                let name = name.clone();
                move || remove_database(&name, drop_on_mysql(&admin, &name))
            }),
        };
        Some(Scratch::open(options.database(&name), place).await)
    }

    fn sql(_: &'static str, _: &'static str, mysql: &'static str) -> &'static str {
        mysql
    }

    async fn execute(pool: &Pool<Self::Db>, sql: &str) -> Result<(), sqlx::Error> {
        pool.execute(raw_sql(AssertSqlSafe(sql))).await.map(drop)
    }

    async fn rows(pool: &Pool<Self::Db>, sql: &str) -> Result<Rows, sqlx::Error> {
        texts(pool.fetch_all(raw_sql(AssertSqlSafe(sql))).await?)
    }
}

/// DROP DATABASE waits for transactions that are open in it, so their connections go first.
async fn drop_on_mysql(admin: &str, name: &str) -> Result<(), sqlx::Error> {
    let mut connection = MySqlConnection::connect(admin).await?;
    // By default it waits for a day.
    connection.execute("SET SESSION lock_wait_timeout = 20").await?;
    // A session of another test stands in this database for a moment, too, while it reads a catalogue of all.
    let open = "SELECT id FROM information_schema.processlist WHERE db = ? \
                AND COALESCE(info, '') NOT LIKE '%information_schema%'";
    let open: Vec<i64> = sqlx::query_scalar(open).bind(name).fetch_all(&mut connection).await?;
    for id in open {
        // It may have gone by itself.
        let _ = connection.execute(raw_sql(AssertSqlSafe(format!("KILL {id}")))).await;
    }
    connection.execute(raw_sql(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}")))).await?;
    connection.close().await
}

/// Waits for the removal, on a thread and a runtime of its own: a destructor cannot await, and the
/// test's runtime may be on its way out, or its time stand still.
fn remove_database(name: &str, removal: impl Future<Output = Result<(), sqlx::Error>> + Send) {
    let removed = thread::scope(|scope| {
        let removal = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let removed =
                runtime.block_on(async { tokio::time::timeout(REMOVAL_MAX, removal).await });
            removed.unwrap_or(Err(sqlx::Error::PoolTimedOut))
        });
        removal.join().expect("removing a database does not panic")
    });
    if let Err(error) = removed {
        notice(&format!("LEFT database {name}: {error}"));
    }
}

/// The server's URL; without one, says that the test is left out, or fails where that is not allowed.
fn server(test: &str, variable: &str) -> Option<String> {
    if let Some(url) = env::var(variable).ok().filter(|url| !url.is_empty()) {
        return Some(url);
    }
    let missing = format!("{test}: {variable} is not set; use tests/run");
    let demanded = ["CI", "DUALWRITE_TEST_REQUIRE_ALL"];
    assert!(demanded.iter().all(|demand| env::var_os(demand).is_none()), "{missing}");
    notice(&format!("SKIPPED {missing}"));
    None
}

/// A name no other test has, neither now nor in a later run; at most 63 bytes, PostgreSQL's limit.
pub(crate) fn database_name(test: &str) -> String {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!("dw_{}_{}", plain_name(test), &unique[..12])
}

/// The end of a test's path, in characters that need no quotes.
fn plain_name(test: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }
    };
    let name: String = test.replace("::", "_").chars().map(plain).collect();
    name[name.len().saturating_sub(40)..].to_owned()
}

pub(super) fn texts<R: Row>(rows: Vec<R>) -> Result<Rows, sqlx::Error>
where
    usize: sqlx::ColumnIndex<R>,
    for<'r> String: sqlx::Decode<'r, R::Database>,
    R::Database: Database<Row = R>,
{
    // Unchecked, because a number in text is wanted as text.
    let text = |row: &R, column| {
        let raw = row.try_get_raw(column)?;
        if sqlx::ValueRef::is_null(&raw) {
            return Ok(None);
        }
        row.try_get_unchecked::<String, _>(column).map(Some)
    };
    rows.iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect()
}

fn beginning(sql: &str) -> String {
    sql.chars().take(500).collect()
}

/// Stamps tests out of functions generic over [`TestDb`], one for each kind of database.
macro_rules! on_all_databases {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            $crate::support::db::on_all_databases!(@on sqlite, SqliteDb, $test);
            $crate::support::db::on_all_databases!(@on postgres, PostgresDb, $test);
            $crate::support::db::on_all_databases!(@on mysql, MySqlDb, $test);
        }
    )+ };
    (@on $name:ident, $kind:ident, $test:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            use $crate::support::db::{$kind, TestDb};
            let test = concat!(module_path!(), "::", stringify!($name));
            if let Some(db) = $kind::fresh(test).await {
                $crate::support::wait::to_the_end(test, super::$test::<$kind>(db)).await;
            }
        }
    };
}
pub(crate) use on_all_databases;
