//! The orders of the shop, and the table that keeps them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Pool, QueryBuilder};

use super::{Db, sql};

/// An order as callers see it.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) customer: String,
    pub(crate) amount_cents: i64,
    /// `placed`, `paid` or `shipped`.
    pub(crate) state: String,
}

/// What a caller orders.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NewOrder {
    pub(crate) customer: String,
    pub(crate) amount_cents: i64,
}

/// Why a call has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// The repository.
#[async_trait]
pub(crate) trait Orders: Send + Sync {
    async fn find(&self, id: i64) -> Result<Option<Order>, OrderError>;
    async fn of_customer(&self, customer: &str) -> Result<Vec<Order>, OrderError>;
    /// Answers the id, which the database makes.
    async fn place(&self, order: &NewOrder) -> Result<i64, OrderError>;
    /// Whether the order was waiting for it.
    async fn pay(&self, id: i64) -> Result<bool, OrderError>;
    /// Answers how many of them were paid, and are shipped now.
    async fn ship(&self, ids: &[i64]) -> Result<u64, OrderError>;
    /// Whether there was such an order.
    async fn cancel(&self, id: i64) -> Result<bool, OrderError>;
}

/// The statements over one table.
pub(crate) struct Table {
    select: &'static str,
    place: &'static str,
    pay: &'static str,
    ship: &'static str,
    cancel: &'static str,
}

pub(crate) const PURCHASE: Table = Table {
    select: "SELECT id, customer, amount_cents, CASE WHEN shipped THEN 'shipped' WHEN paid THEN 'paid' \
             ELSE 'placed' END AS state FROM purchase",
    place: "INSERT INTO purchase (customer, amount_cents) VALUES (?, ?) RETURNING id",
    pay: "UPDATE purchase SET paid = TRUE WHERE id = ? AND NOT paid",
    ship: "UPDATE purchase SET shipped = TRUE WHERE paid AND NOT shipped AND id IN (",
    cancel: "DELETE FROM purchase WHERE id = ?",
};

/// The repository in SQL.
pub(crate) struct SqlOrders {
    pub(crate) pool: Pool<Db>,
    pub(crate) table: Table,
}

#[async_trait]
impl Orders for SqlOrders {
    async fn find(&self, id: i64) -> Result<Option<Order>, OrderError> {
        let text = sql(format!("{} WHERE id = ?", self.table.select));
        Ok(sqlx::query_as(text).bind(id).fetch_optional(&self.pool).await?)
    }

    async fn of_customer(&self, customer: &str) -> Result<Vec<Order>, OrderError> {
        let text = sql(format!("{} WHERE customer = ? ORDER BY id", self.table.select));
        Ok(sqlx::query_as(text).bind(customer).fetch_all(&self.pool).await?)
    }

    async fn place(&self, order: &NewOrder) -> Result<i64, OrderError> {
        let placed = sqlx::query_scalar(sql(self.table.place));
        let placed = placed.bind(&order.customer).bind(order.amount_cents);
        Ok(placed.fetch_one(&self.pool).await?)
    }

    async fn pay(&self, id: i64) -> Result<bool, OrderError> {
        let paid = sqlx::query(sql(self.table.pay)).bind(id);
        Ok(paid.execute(&self.pool).await?.rows_affected() == 1)
    }

    async fn ship(&self, ids: &[i64]) -> Result<u64, OrderError> {
        let mut text = QueryBuilder::<Db>::new(self.table.ship);
        ids.iter().fold(&mut text.separated(", "), |text, id| text.push_bind(*id));
        Ok(text.push(")").build().execute(&self.pool).await?.rows_affected())
    }

    async fn cancel(&self, id: i64) -> Result<bool, OrderError> {
        let cancelled = sqlx::query(sql(self.table.cancel)).bind(id);
        Ok(cancelled.execute(&self.pool).await?.rows_affected() == 1)
    }
}
