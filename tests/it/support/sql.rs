//! Statements inside a fenced transaction, for scenarios generic over the database.

use dualwrite::Tx;
use sqlx::{AssertSqlSafe, Row, raw_sql};

use super::db::{MySqlDb, PostgresDb, Rows, SqliteDb, TestDb, texts};

pub(crate) trait Sql: TestDb {
    /// Runs one statement; answers with the rows affected.
    fn run(
        tx: &mut Tx<'_, Self::Db>,
        sql: &str,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

    /// Runs one statement on a connection.
    fn run_on(
        conn: &mut <Self::Db as sqlx::Database>::Connection,
        sql: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// The first column of every row, as text.
    fn texts(
        tx: &mut Tx<'_, Self::Db>,
        sql: &str,
    ) -> impl Future<Output = Result<Vec<String>, sqlx::Error>> + Send;

    /// Every column of every row, as the database writes it in text.
    fn read(
        tx: &mut Tx<'_, Self::Db>,
        sql: &str,
    ) -> impl Future<Output = Result<Rows, sqlx::Error>> + Send;

    /// The same on a connection.
    fn read_on(
        conn: &mut <Self::Db as sqlx::Database>::Connection,
        sql: &str,
    ) -> impl Future<Output = Result<Rows, sqlx::Error>> + Send;
}

macro_rules! sql {
    ($($kind:ty)*) => {$(
        impl Sql for $kind {
            async fn run(tx: &mut Tx<'_, Self::Db>, sql: &str) -> Result<u64, sqlx::Error> {
                let sql = AssertSqlSafe(sql.to_owned());
                Ok(raw_sql(sql).execute(&mut **tx).await?.rows_affected())
            }

            async fn run_on(
                conn: &mut <Self::Db as sqlx::Database>::Connection,
                sql: &str,
            ) -> Result<(), sqlx::Error> {
                raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.map(drop)
            }

            async fn texts(tx: &mut Tx<'_, Self::Db>, sql: &str) -> Result<Vec<String>, sqlx::Error> {
                let rows = raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut **tx).await?;
                rows.iter().map(|row| row.try_get_unchecked(0)).collect()
            }

            async fn read(tx: &mut Tx<'_, Self::Db>, sql: &str) -> Result<Rows, sqlx::Error> {
                Self::read_on(&mut **tx, sql).await
            }

            async fn read_on(
                conn: &mut <Self::Db as sqlx::Database>::Connection,
                sql: &str,
            ) -> Result<Rows, sqlx::Error> {
                texts(raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(conn).await?)
            }
        }
    )*};
}
sql!(SqliteDb PostgresDb MySqlDb);
