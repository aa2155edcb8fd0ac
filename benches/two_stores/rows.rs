//! The two sides, with statements over many rows, and the backfill by hand.

use dualwrite::BoxError;
use dualwrite::exact::{ExactColumns, ExactSide};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use sqlx::{MySqlConnection, PgConnection, PgPool};

use crate::databases::Server;

#[derive(Clone, Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct Customer {
    pub(crate) a: String,
    pub(crate) b: String,
    pub(crate) c: String,
    pub(crate) d: String,
}

/// A side of the bench.
pub(crate) trait Rows:
    ExactSide<Database: Server, Key = i64, Record = Customer> + Copy
{
}

impl<S: ExactSide<Database: Server, Key = i64, Record = Customer> + Copy> Rows for S {}

fn columns() -> Option<ExactColumns> {
    let columns = ExactColumns::of("customer", "id").ok()?;
    ["a", "b", "c", "d"].iter().try_fold(columns, |columns, name| columns.text(name).ok())
}

type Row = (i64, String, String, String, String);

fn customer((id, a, b, c, d): Row) -> (i64, Customer) {
    (id, Customer { a, b, c, d })
}

#[derive(Clone, Copy)]
pub(crate) struct PostgresRows;

pub(crate) const UPSERT: &str = "INSERT INTO customer (id, a, b, c, d) VALUES ($1, $2, $3, $4, $5) \
                                 ON CONFLICT (id) DO UPDATE SET a = excluded.a, b = excluded.b, c = excluded.c, d = excluded.d";
const UPSERT_ALL: &str = "INSERT INTO customer (id, a, b, c, d) \
                          SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) \
                          ON CONFLICT (id) DO UPDATE SET a = excluded.a, b = excluded.b, c = excluded.c, d = excluded.d";

impl ExactSide for PostgresRows {
    type Database = sqlx::Postgres;
    type Key = i64;
    type Record = Customer;

    async fn get(&self, tx: &mut PgConnection, id: &i64) -> Result<Option<Customer>, BoxError> {
        let sql = "SELECT a, b, c, d FROM customer WHERE id = $1";
        Ok(sqlx::query_as(sql).bind(id).fetch_optional(tx).await?)
    }

    async fn put(
        &self,
        tx: &mut PgConnection,
        id: &i64,
        record: Option<&Customer>,
    ) -> Result<(), BoxError> {
        self.put_all(tx, &[(id, record)]).await
    }

    async fn get_all(
        &self,
        tx: &mut PgConnection,
        ids: &[i64],
    ) -> Result<Vec<(i64, Customer)>, BoxError> {
        let sql = "SELECT id, a, b, c, d FROM customer WHERE id = ANY($1)";
        let rows: Vec<Row> = sqlx::query_as(sql).bind(ids).fetch_all(tx).await?;
        Ok(rows.into_iter().map(customer).collect())
    }

    async fn put_all(
        &self,
        tx: &mut PgConnection,
        records: &[(&i64, Option<&Customer>)],
    ) -> Result<(), BoxError> {
        let gone: Vec<i64> =
            records.iter().filter(|(_, record)| record.is_none()).map(|(id, _)| **id).collect();
        if !gone.is_empty() {
            sqlx::query("DELETE FROM customer WHERE id = ANY($1)")
                .bind(gone)
                .execute(&mut *tx)
                .await?;
        }
        let there: Vec<(i64, &Customer)> =
            records.iter().filter_map(|(id, record)| Some((**id, (*record)?))).collect();
        let texts = |text: fn(&Customer) -> &String| -> Vec<&str> {
            there.iter().map(|(_, customer)| text(customer).as_str()).collect()
        };
        sqlx::query(UPSERT_ALL)
            .bind(there.iter().map(|(id, _)| *id).collect::<Vec<_>>())
            .bind(texts(|customer| &customer.a))
            .bind(texts(|customer| &customer.b))
            .bind(texts(|customer| &customer.c))
            .bind(texts(|customer| &customer.d))
            .execute(tx)
            .await?;
        Ok(())
    }

    fn columns(&self) -> Option<ExactColumns> {
        columns()
    }

    async fn keys_after(
        &self,
        tx: &mut PgConnection,
        after: Option<&i64>,
        limit: u32,
    ) -> Result<Vec<i64>, BoxError> {
        let sql = "SELECT id FROM customer WHERE id > $1 ORDER BY id LIMIT $2";
        let after = after.copied().unwrap_or(i64::MIN);
        Ok(sqlx::query_scalar(sql).bind(after).bind(i64::from(limit)).fetch_all(tx).await?)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct MySqlRows;

impl ExactSide for MySqlRows {
    type Database = sqlx::MySql;
    type Key = i64;
    type Record = Customer;

    async fn get(&self, tx: &mut MySqlConnection, id: &i64) -> Result<Option<Customer>, BoxError> {
        let sql = "SELECT a, b, c, d FROM customer WHERE id = ?";
        Ok(sqlx::query_as(sql).bind(id).fetch_optional(tx).await?)
    }

    async fn put(
        &self,
        tx: &mut MySqlConnection,
        id: &i64,
        record: Option<&Customer>,
    ) -> Result<(), BoxError> {
        self.put_all(tx, &[(id, record)]).await
    }

    async fn get_all(
        &self,
        tx: &mut MySqlConnection,
        ids: &[i64],
    ) -> Result<Vec<(i64, Customer)>, BoxError> {
        let places = vec!["?"; ids.len()].join(", ");
        let sql = format!("SELECT id, a, b, c, d FROM customer WHERE id IN ({places})");
        let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql));
        for id in ids {
            query = query.bind(id);
        }
        let rows: Vec<Row> = query.fetch_all(tx).await?;
        Ok(rows.into_iter().map(customer).collect())
    }

    async fn put_all(
        &self,
        tx: &mut MySqlConnection,
        records: &[(&i64, Option<&Customer>)],
    ) -> Result<(), BoxError> {
        for (id, _) in records.iter().filter(|(_, record)| record.is_none()) {
            sqlx::query("DELETE FROM customer WHERE id = ?").bind(*id).execute(&mut *tx).await?;
        }
        let there: Vec<(i64, &Customer)> =
            records.iter().filter_map(|(id, record)| Some((**id, (*record)?))).collect();
        if there.is_empty() {
            return Ok(());
        }
        let places = vec!["(?, ?, ?, ?, ?)"; there.len()].join(", ");
        let sql = format!(
            "INSERT INTO customer (id, a, b, c, d) VALUES {places} \
             ON DUPLICATE KEY UPDATE a = VALUES(a), b = VALUES(b), c = VALUES(c), d = VALUES(d)"
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for (id, customer) in there {
            query = query
                .bind(id)
                .bind(&customer.a)
                .bind(&customer.b)
                .bind(&customer.c)
                .bind(&customer.d);
        }
        query.execute(tx).await?;
        Ok(())
    }

    fn columns(&self) -> Option<ExactColumns> {
        columns()
    }

    async fn keys_after(
        &self,
        tx: &mut MySqlConnection,
        after: Option<&i64>,
        limit: u32,
    ) -> Result<Vec<i64>, BoxError> {
        let sql = "SELECT id FROM customer WHERE id > ? ORDER BY id LIMIT ?";
        let after = after.copied().unwrap_or(i64::MIN);
        Ok(sqlx::query_scalar(sql).bind(after).bind(i64::from(limit)).fetch_all(tx).await?)
    }
}

/// COPY out of one database, COPY into a staging table of the other, and one INSERT from there.
pub(crate) async fn by_copy(old: &PgPool, new: &PgPool) -> Result<(), BoxError> {
    let (mut from, mut to) = (old.acquire().await?, new.acquire().await?);
    sqlx::raw_sql("CREATE TEMPORARY TABLE staging (LIKE customer); BEGIN")
        .execute(&mut *to)
        .await?;
    let mut out = from.copy_out_raw("COPY customer TO STDOUT").await?;
    let mut into = to.copy_in_raw("COPY staging FROM STDIN").await?;
    while let Some(bytes) = out.try_next().await? {
        into.send(bytes).await?;
    }
    into.finish().await?;
    drop(out);
    let insert = "INSERT INTO customer SELECT * FROM staging \
                  ON CONFLICT (id) DO UPDATE SET a = excluded.a, b = excluded.b, c = excluded.c, d = excluded.d; \
                  COMMIT; DROP TABLE staging";
    sqlx::raw_sql(insert).execute(&mut *to).await?;
    Ok(())
}
