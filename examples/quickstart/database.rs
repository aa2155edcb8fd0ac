//! The statements of this example in three databases. A service has one database and writes its SQL
//! where it needs it; this file is the price of `--database`.

use dualwrite::{Backend, Tx};
use sqlx::Pool;

use crate::customers::Customer;

pub(crate) trait Sql: Backend {
    const CREATE: &'static str = "CREATE TABLE dualwrite_quickstart_customer (
        id BIGINT PRIMARY KEY, name VARCHAR(80) NOT NULL, email VARCHAR(120), email_address VARCHAR(120))";
    const DROP: &'static str = "DROP TABLE IF EXISTS dualwrite_quickstart_customer";
    const INSERT: &'static str;
    const FIND_OLD: &'static str;
    const FIND_NEW: &'static str;
    const SAVE_OLD: &'static str;
    const SAVE_NEW: &'static str;
    const COPY: &'static str;
    const COPY_BACK: &'static str;
    const DIFFERING: &'static str;
    const DIFFERING_ALL: &'static str;

    fn script(
        pool: &Pool<Self>,
        sql: &'static str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
    /// Inserts customers as they were before the migration.
    fn fill(
        pool: &Pool<Self>,
        customers: &[(i64, String, String)],
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
    fn find(
        pool: &Pool<Self>,
        sql: &'static str,
        id: i64,
    ) -> impl Future<Output = Result<Option<Customer>, sqlx::Error>> + Send;
    fn number(
        pool: &Pool<Self>,
        sql: &'static str,
    ) -> impl Future<Output = Result<i64, sqlx::Error>> + Send;
    fn save(
        tx: &mut Tx<'_, Self>,
        sql: &'static str,
        id: i64,
        name: &str,
        email: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
    fn change(
        tx: &mut Tx<'_, Self>,
        sql: &'static str,
        ends: (i64, i64),
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;
    fn differing(
        tx: &mut Tx<'_, Self>,
        ends: (i64, i64),
    ) -> impl Future<Output = Result<Vec<i64>, sqlx::Error>> + Send;
}

macro_rules! sql {
    ($db:ty, parameters: $one:literal $two:literal $three:literal,
     differs: $differs:literal, upsert: $upsert_old:literal $upsert_new:literal) => {
        impl Sql for $db {
            const INSERT: &'static str = concat!(
                "INSERT INTO dualwrite_quickstart_customer (id, name, email) VALUES (",
                $one, ", ", $two, ", ", $three, ")"
            );
            const FIND_OLD: &'static str = concat!(
                "SELECT id, name, email, email_address FROM dualwrite_quickstart_customer WHERE id = ",
                $one, " AND email IS NOT NULL"
            );
            const FIND_NEW: &'static str = concat!(
                "SELECT id, name, email_address AS email, email_address
                 FROM dualwrite_quickstart_customer WHERE id = ",
                $one, " AND email_address IS NOT NULL"
            );
            const SAVE_OLD: &'static str = concat!(
                "INSERT INTO dualwrite_quickstart_customer (id, name, email) VALUES (",
                $one, ", ", $two, ", ", $three, ") ", $upsert_old
            );
            const SAVE_NEW: &'static str = concat!(
                "INSERT INTO dualwrite_quickstart_customer (id, name, email_address) VALUES (",
                $one, ", ", $two, ", ", $three, ") ", $upsert_new
            );
            const COPY: &'static str = concat!(
                "UPDATE dualwrite_quickstart_customer SET email_address = email WHERE id BETWEEN ",
                $one, " AND ", $two, " AND ", $differs
            );
            const COPY_BACK: &'static str = concat!(
                "UPDATE dualwrite_quickstart_customer SET email = email_address WHERE id BETWEEN ",
                $one, " AND ", $two, " AND ", $differs
            );
            const DIFFERING: &'static str = concat!(
                "SELECT id FROM dualwrite_quickstart_customer WHERE id BETWEEN ",
                $one, " AND ", $two, " AND ", $differs
            );
            const DIFFERING_ALL: &'static str =
                concat!("SELECT count(*) FROM dualwrite_quickstart_customer WHERE ", $differs);

            async fn script(pool: &Pool<Self>, sql: &'static str) -> Result<(), sqlx::Error> {
                sqlx::raw_sql(sql).execute(pool).await.map(drop)
            }

            async fn fill(
                pool: &Pool<Self>,
                customers: &[(i64, String, String)],
            ) -> Result<(), sqlx::Error> {
                let mut tx = pool.begin().await?;
                for (id, name, email) in customers {
                    let insert = sqlx::query(Self::INSERT).bind(id).bind(name).bind(email);
                    insert.execute(&mut *tx).await?;
                }
                tx.commit().await
            }

            async fn find(
                pool: &Pool<Self>,
                sql: &'static str,
                id: i64,
            ) -> Result<Option<Customer>, sqlx::Error> {
                sqlx::query_as(sql).bind(id).fetch_optional(pool).await
            }

            async fn number(pool: &Pool<Self>, sql: &'static str) -> Result<i64, sqlx::Error> {
                sqlx::query_scalar(sql).fetch_one(pool).await
            }

            async fn save(
                tx: &mut Tx<'_, Self>,
                sql: &'static str,
                id: i64,
                name: &str,
                email: &str,
            ) -> Result<(), sqlx::Error> {
                let save = sqlx::query(sql).bind(id).bind(name).bind(email);
                save.execute(&mut **tx).await.map(drop)
            }

            async fn change(
                tx: &mut Tx<'_, Self>,
                sql: &'static str,
                (first, last): (i64, i64),
            ) -> Result<u64, sqlx::Error> {
                Ok(sqlx::query(sql).bind(first).bind(last).execute(&mut **tx).await?.rows_affected())
            }

            async fn differing(
                tx: &mut Tx<'_, Self>,
                (first, last): (i64, i64),
            ) -> Result<Vec<i64>, sqlx::Error> {
                let differing = sqlx::query_scalar(Self::DIFFERING).bind(first).bind(last);
                differing.fetch_all(&mut **tx).await
            }
        }
    };
}

sql!(sqlx::Sqlite, parameters: "?" "?" "?",
    differs: "email_address IS NOT email",
    upsert: "ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email"
            "ON CONFLICT (id) DO UPDATE SET name = excluded.name, email_address = excluded.email_address");
#[cfg(feature = "postgres")]
sql!(sqlx::Postgres, parameters: "$1" "$2" "$3",
    differs: "email_address IS DISTINCT FROM email",
    upsert: "ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email"
            "ON CONFLICT (id) DO UPDATE SET name = excluded.name, email_address = excluded.email_address");
#[cfg(feature = "mysql")]
sql!(sqlx::MySql, parameters: "?" "?" "?",
    differs: "NOT (email_address <=> email)",
    upsert: "ON DUPLICATE KEY UPDATE name = VALUES(name), email = VALUES(email)"
            "ON DUPLICATE KEY UPDATE name = VALUES(name), email_address = VALUES(email_address)");
