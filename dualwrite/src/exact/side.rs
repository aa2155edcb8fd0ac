//! What a user says of one of the two databases.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Database;

use crate::database::Backend;
use crate::error::BoxError;
use crate::exact::columns::ExactColumns;
use crate::key::OwnedKey;

/// Keys with their records.
type Found<K, R> = Vec<(K, R)>;

/// One of the two databases of a migration in exact mode: how a record is read and written there. The library applies
/// the outbox, copies, and verifies by these functions.
///
/// Each runs inside a transaction of the library, and must not end it. What they name in SQL must be in the database of
/// the pool that the side is given to [`Exact::between`](crate::exact::Exact::between) with.
///
/// ```
/// # #[cfg(feature = "postgres")] mod example {
/// use dualwrite::{BoxError, exact::ExactSide};
/// use serde::{Deserialize, Serialize};
/// use sqlx::PgConnection;
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Cart {
///     items: String,
/// }
///
/// struct PostgresCarts;
///
/// impl ExactSide for PostgresCarts {
///     type Database = sqlx::Postgres;
///     type Key = i64;
///     type Record = Cart;
///
///     async fn get(&self, tx: &mut PgConnection, id: &i64) -> Result<Option<Cart>, BoxError> {
///         let sql = "SELECT items FROM cart WHERE id = $1";
///         let items: Option<String> = sqlx::query_scalar(sql).bind(id).fetch_optional(tx).await?;
///         Ok(items.map(|items| Cart { items }))
///     }
///
///     async fn put(&self, tx: &mut PgConnection, id: &i64, cart: Option<&Cart>) -> Result<(), BoxError> {
///         match cart {
///             Some(cart) => {
///                 let sql = "INSERT INTO cart (id, items) VALUES ($1, $2) \
///                            ON CONFLICT (id) DO UPDATE SET items = excluded.items";
///                 sqlx::query(sql).bind(id).bind(&cart.items).execute(tx).await?
///             }
///             None => sqlx::query("DELETE FROM cart WHERE id = $1").bind(id).execute(tx).await?,
///         };
///         Ok(())
///     }
///
///     async fn keys_after(
///         &self,
///         tx: &mut PgConnection,
///         after: Option<&i64>,
///         limit: u32,
///     ) -> Result<Vec<i64>, BoxError> {
///         let sql = "SELECT id FROM cart WHERE $1::bigint IS NULL OR id > $1 ORDER BY id LIMIT $2";
///         Ok(sqlx::query_scalar(sql).bind(after).bind(i64::from(limit)).fetch_all(tx).await?)
///     }
/// }
/// # }
/// ```
pub trait ExactSide: Send + Sync + 'static {
    /// Which database it is: `sqlx::Postgres`, `sqlx::MySql` or `sqlx::Sqlite`.
    type Database: Backend;

    /// The key of a record, the same on both sides.
    type Key: OwnedKey;

    /// A whole record, the same on both sides. It travels as JSON, in the column `payload` of `dualwrite_outbox`. A record
    /// that is another one when it is read from JSON again is refused when it is written. NaN in an `Option` is `None`.
    type Record: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The whole record of a key, or `None` where there is none. It is called after a write, in its transaction.
    ///
    /// # Errors
    /// Any; the write fails, or the key is copied or verified later.
    fn get(
        &self,
        tx: &mut <Self::Database as Database>::Connection,
        key: &Self::Key,
    ) -> impl Future<Output = Result<Option<Self::Record>, BoxError>> + Send;

    /// Writes the whole record of a key over whatever is there, or removes it where `record` is `None`.
    ///
    /// # Errors
    /// Any; the key is tried again, and others go on.
    fn put(
        &self,
        tx: &mut <Self::Database as Database>::Connection,
        key: &Self::Key,
        record: Option<&Self::Record>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// The whole records of keys, in any order; a key that has none is left out. For copies and verifications.
    ///
    /// By default it calls [`get`](Self::get) for one key after the other. Override it by one statement that reads all of
    /// them: copies become many times as fast.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn get_all(
        &self,
        tx: &mut <Self::Database as Database>::Connection,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<Found<Self::Key, Self::Record>, BoxError>> + Send {
        async move {
            let mut found = Vec::with_capacity(keys.len());
            for key in keys {
                if let Some(record) = self.get(&mut *tx, key).await? {
                    found.push((key.clone(), record));
                }
            }
            Ok(found)
        }
    }

    /// Writes the whole records of keys over whatever is there, or removes those that are `None`. Each key comes once. For
    /// copies and the outbox.
    ///
    /// By default it calls [`put`](Self::put) for one key after the other. Override it by statements that write many rows:
    /// the outbox and copies become many times as fast. On PostgreSQL, `INSERT … SELECT … FROM unnest($1, $2) … ON CONFLICT`
    /// or a `COPY` into a temporary table; on MySQL and MariaDB, `INSERT` of many rows with `ON DUPLICATE KEY UPDATE`.
    ///
    /// # Errors
    /// As [`put`](Self::put). Nothing of it is stored then, and half of the keys are tried, down to the one that fails.
    fn put_all(
        &self,
        tx: &mut <Self::Database as Database>::Connection,
        records: &[(&Self::Key, Option<&Self::Record>)],
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        async move {
            for (key, record) in records {
                self.put(&mut *tx, key, *record).await?;
            }
            Ok(())
        }
    }

    /// The table and the columns that hold the record, where a verification may compare them inside the database; see
    /// [`ExactColumns`]. `None`, the default: records are read by [`get_all`](Self::get_all) and compared as JSON.
    fn columns(&self) -> Option<ExactColumns> {
        None
    }

    /// The keys after this one, in an order that the database keeps, at most `limit` of them. None: there are no more.
    /// A key that comes or goes meanwhile may be left out; one that is there all the time must not be.
    ///
    /// # Errors
    /// Any; the copy or the verification ends, and goes on from there when it is run again.
    fn keys_after(
        &self,
        tx: &mut <Self::Database as Database>::Connection,
        after: Option<&Self::Key>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Self::Key>, BoxError>> + Send;
}
