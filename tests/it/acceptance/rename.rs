//! The rename `Customer.Email → EmailAddress`: one row, two columns.
//!
//! The old column stays NOT NULL until it is dropped, for SQLite can only loosen it by rebuilding the
//! table. So when new inserts a row, it fills the old column with an empty text: that is stored only at
//! `Complete`, for at every earlier stage old has put the row there first. Both sides delete the row:
//! before `Complete` old does so first and new finds it gone, from then on new is alone.

use std::marker::PhantomData;

use dualwrite::{
    BoxError, Copied, CopyBack, CopyKeys, Tx,
    copy::{BothWays, KeySource},
};

use super::dialect::{differ, for_update, list, sql, text, upsert};
use super::ledger::Versioned;
use super::records::{Kind, Records};
use crate::support::db::Rows;
use crate::support::sql::Sql;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Customer {
    id: i64,
    first_name: String,
    email: String,
}

impl Versioned for Customer {
    fn at(id: i64, version: usize) -> Self {
        let first_name = format!("Nr {version}");
        Self { id, first_name, email: format!("k{id}.v{version}@example.com") }
    }

    fn id(&self) -> i64 {
        self.id
    }

    fn version(&self) -> Option<usize> {
        let (_, version) = self.email.strip_suffix("@example.com")?.split_once(".v")?;
        version.parse().ok()
    }
}

pub(super) struct Rename;

impl<D: Sql> Kind<D> for Rename {
    type Record = Customer;
    type Old = Customers<D>;
    type New = Customers<D>;
    type Copy = BothWays<CopyEmail<D>>;

    const MIGRATION: &'static str = "customer-email";
    const EXPANSION: &'static str = "ALTER TABLE [customer] ADD COLUMN [email_address] VARCHAR(60)";
    const ORPHANS: &'static str = "SELECT 0";

    fn old(pool: sqlx::Pool<D::Db>) -> Self::Old {
        Customers { pool, column: "[email]", placeholder: false }
    }

    fn new(pool: sqlx::Pool<D::Db>) -> Self::New {
        Customers { pool, column: "[email_address]", placeholder: true }
    }

    fn copy() -> Self::Copy {
        BothWays(CopyEmail(PhantomData))
    }
}

/// Customers whose address is in one of the two columns.
pub(super) struct Customers<D: Sql> {
    pool: sqlx::Pool<D::Db>,
    column: &'static str,
    /// Whether a new row needs something in the old column.
    placeholder: bool,
}

impl<D: Sql> Customers<D> {
    /// Where the column is empty, this side does not have the record.
    fn select(&self, rest: &str) -> String {
        let column = self.column;
        sql::<D>(&format!(
            "SELECT [customer_id], [first_name], {column} FROM [customer] \
             WHERE {column} IS NOT NULL AND [customer_id] {rest}"
        ))
    }
}

fn customers(rows: Rows) -> Vec<Customer> {
    let customer = |row: Vec<Option<String>>| match <[_; 3]>::try_from(row) {
        Ok([Some(id), Some(first_name), Some(email)]) => {
            Customer { id: id.parse().unwrap(), first_name, email }
        }
        row => panic!("no customer: {row:?}"),
    };
    rows.into_iter().map(customer).collect()
}

impl<D: Sql> Records for Customers<D> {
    type Db = D::Db;
    type Record = Customer;

    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        let rows = D::rows(&self.pool, &self.select(&format!("= {id}"))).await?;
        Ok(customers(rows).pop())
    }

    async fn lock(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        let rows = D::read(tx, &self.select(&format!("= {id}{}", for_update::<D>()))).await?;
        Ok(customers(rows).pop())
    }

    async fn list(&self, from: i64, to: i64) -> Result<Vec<Customer>, sqlx::Error> {
        let range = format!("BETWEEN {from} AND {to} ORDER BY [customer_id]");
        Ok(customers(D::rows(&self.pool, &self.select(&range)).await?))
    }

    async fn save(
        &self,
        tx: &mut Tx<'_, D::Db>,
        id: i64,
        customer: &Customer,
    ) -> Result<(), sqlx::Error> {
        let column = self.column;
        let (placeholder, nothing) =
            if self.placeholder { (", [email]", ", ''") } else { ("", "") };
        let (first_name, email) = (text(Some(&customer.first_name)), text(Some(&customer.email)));
        let insert = format!(
            "INSERT INTO [customer] ([customer_id], [first_name], [last_name], {column}{placeholder}) \
             VALUES ({id}, {first_name}, 'Test', {email}{nothing}){}",
            upsert::<D>("[customer_id]", &["[first_name]", column])
        );
        D::run(tx, &sql::<D>(&insert)).await.map(drop)
    }

    async fn delete(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        let delete = format!("DELETE FROM [customer] WHERE [customer_id] = {id}");
        D::run(tx, &sql::<D>(&delete)).await.map(drop)
    }
}

pub(super) struct CopyEmail<D>(PhantomData<fn() -> D>);

impl<D: Sql> CopyEmail<D> {
    async fn assign(
        tx: &mut Tx<'_, D::Db>,
        to: &str,
        from: &str,
        keys: &[i64],
    ) -> Result<Copied, BoxError> {
        let (keys_in, differ) = (list(keys), differ::<D>(to, from));
        let update = format!(
            "UPDATE [customer] SET {to} = {from} \
             WHERE [customer_id] IN ({keys_in}) AND {from} IS NOT NULL AND {differ}"
        );
        let migrated = D::run(tx, &sql::<D>(&update)).await?;
        Ok(Copied { migrated, skipped: keys.len() as u64 - migrated })
    }
}

/// A customer that is gone needs nothing: its one row took both columns along.
impl<D: Sql> CopyKeys for CopyEmail<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table(sql::<D>("[customer]")).column(sql::<D>("[customer_id]"))
    }

    fn new_source(&self) -> Option<KeySource> {
        Some(self.source())
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        Self::assign(tx, "[email_address]", "[email]", keys).await
    }

    async fn differing(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Vec<i64>, BoxError> {
        let (keys, differ) = (list(keys), differ::<D>("[email_address]", "[email]"));
        let select = format!(
            "SELECT [customer_id] FROM [customer] WHERE [customer_id] IN ({keys}) AND {differ}"
        );
        super::numbers(D::texts(tx, &sql::<D>(&select)).await?)
    }
}

impl<D: Sql> CopyBack for CopyEmail<D> {
    async fn copy_back(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        Self::assign(tx, "[email]", "[email_address]", keys).await
    }
}
