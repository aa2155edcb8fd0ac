//! What a service has: its record, its repository with an old and a new implementation, and the one copy
//! function. The column `email` is on its way to `email_address`.

use dualwrite::{BoxError, Copied, CopyBack, CopyKeys, Dual, Tx, copy::KeySource};

use crate::database::Sql;

/// Both columns side by side; `email_address()` reads the new one where it is filled.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow, Dual)]
pub(crate) struct Customer {
    pub(crate) id: i64,
    pub(crate) name: String,
    #[dual(new = email_address)]
    pub(crate) email: String,
    pub(crate) email_address: Option<String>,
}

/// The attribute adds `DualCustomers`, which implements the trait over an old and a new implementation.
#[dualwrite::repository]
pub(crate) trait Customers<DB: Sql> {
    #[read(key = id, lazy)]
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;

    #[read(scan)]
    async fn count(&self) -> Result<i64, sqlx::Error>;

    #[write(key = customer.id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, customer: &Customer) -> Result<(), sqlx::Error>;
}

/// How it was: knows nothing of the new column.
pub(crate) struct OldCustomers<DB: Sql>(pub(crate) sqlx::Pool<DB>);

impl<DB: Sql> Customers<DB> for OldCustomers<DB> {
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        DB::find(&self.0, DB::FIND_OLD, id).await
    }

    async fn count(&self) -> Result<i64, sqlx::Error> {
        DB::number(&self.0, "SELECT count(email) FROM dualwrite_quickstart_customer").await
    }

    async fn save(&self, tx: &mut Tx<'_, DB>, customer: &Customer) -> Result<(), sqlx::Error> {
        DB::save(tx, DB::SAVE_OLD, customer.id, &customer.name, &customer.email).await
    }
}

/// How it shall be: would do without the old column.
pub(crate) struct NewCustomers<DB: Sql>(pub(crate) sqlx::Pool<DB>);

impl<DB: Sql> Customers<DB> for NewCustomers<DB> {
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        DB::find(&self.0, DB::FIND_NEW, id).await
    }

    async fn count(&self) -> Result<i64, sqlx::Error> {
        DB::number(&self.0, "SELECT count(email_address) FROM dualwrite_quickstart_customer").await
    }

    async fn save(&self, tx: &mut Tx<'_, DB>, customer: &Customer) -> Result<(), sqlx::Error> {
        DB::save(tx, DB::SAVE_NEW, customer.id, &customer.name, customer.email_address()).await
    }
}

/// The copy function. The library calls it with the rows locked, a page of keys at a time.
pub(crate) struct CopyEmail<DB>(pub(crate) std::marker::PhantomData<fn() -> DB>);

impl<DB: Sql> CopyKeys for CopyEmail<DB> {
    type Database = DB;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("dualwrite_quickstart_customer").column("id")
    }

    /// The new column is in the same rows.
    fn new_source(&self) -> Option<KeySource> {
        Some(self.source())
    }

    async fn copy(&self, tx: &mut Tx<'_, DB>, keys: &[i64]) -> Result<Copied, BoxError> {
        copied(keys, DB::change(tx, DB::COPY, ends(keys)).await?)
    }

    /// For the verification: which of these keys disagree?
    async fn differing(&self, tx: &mut Tx<'_, DB>, keys: &[i64]) -> Result<Vec<i64>, BoxError> {
        Ok(DB::differing(tx, ends(keys)).await?)
    }
}

impl<DB: Sql> CopyBack for CopyEmail<DB> {
    /// The way back, for writes to the old column that failed after going live.
    async fn copy_back(&self, tx: &mut Tx<'_, DB>, keys: &[i64]) -> Result<Copied, BoxError> {
        copied(keys, DB::change(tx, DB::COPY_BACK, ends(keys)).await?)
    }
}

/// Keys come in order, so one statement from the first to the last serves them all. It may meet rows
/// born in between; old and new being one row here, that does no harm.
fn ends(keys: &[i64]) -> (i64, i64) {
    (keys.first().copied().unwrap_or(0), keys.last().copied().unwrap_or(-1))
}

fn copied(keys: &[i64], changed: u64) -> Result<Copied, BoxError> {
    Ok(Copied { migrated: changed, skipped: (keys.len() as u64).saturating_sub(changed) })
}
