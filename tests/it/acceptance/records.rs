//! What the service can do with the records of one kind, and what a kind is.

use dualwrite::{Backend, CopyKeys, Tx};

use super::ledger::Versioned;
use crate::support::sql::Sql;

/// The repository of the service.
#[dualwrite::repository]
pub(super) trait Records: Send + Sync + 'static {
    type Db: Backend;
    type Record: Clone + PartialEq + Send + Sync + 'static;

    #[read(key = id, lazy)]
    async fn find(&self, id: i64) -> Result<Option<Self::Record>, sqlx::Error>;
    /// Finds the newest one, and nobody else can write it until the transaction ends.
    #[read(key = id, lazy)]
    async fn lock(
        &self,
        tx: &mut Tx<'_, Self::Db>,
        id: i64,
    ) -> Result<Option<Self::Record>, sqlx::Error>;
    #[read(scan)]
    async fn list(&self, from: i64, to: i64) -> Result<Vec<Self::Record>, sqlx::Error>;
    #[write(key = id)]
    async fn save(
        &self,
        tx: &mut Tx<'_, Self::Db>,
        id: i64,
        record: &Self::Record,
    ) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn delete(&self, tx: &mut Tx<'_, Self::Db>, id: i64) -> Result<(), sqlx::Error>;
}

/// A kind of record that is migrated.
pub(super) trait Kind<D: Sql>: Send + Sync + 'static {
    type Record: Versioned;
    type Old: Records<Db = D::Db, Record = Self::Record>;
    type New: Records<Db = D::Db, Record = Self::Record>;
    type Copy: CopyKeys<Database = D::Db, Key = i64>;

    const MIGRATION: &'static str;
    /// Adds what new needs, before the migration begins.
    const EXPANSION: &'static str;
    /// Counts rows of new that belong to no record.
    const ORPHANS: &'static str;

    fn old(pool: sqlx::Pool<D::Db>) -> Self::Old;
    fn new(pool: sqlx::Pool<D::Db>) -> Self::New;
    fn copy() -> Self::Copy;
}
