//! The part of the port to the control tables that expands need: what is declared, and what the catalogue says of it.

use futures_util::future::BoxFuture;

use crate::error::Error;
use crate::expand::declared::Expand;
use crate::expand::shape::NewShape;
use crate::preflight::live::{Live, SqlxRecord};

pub(crate) trait Expands: Send + Sync {
    /// Stores what a release declares as new.
    fn declare_expand<'a>(
        &'a self,
        name: &'a str,
        expand: &'a Expand,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// What the newest release declares as new; `None` where none does. Unknown names are an error.
    fn expand<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Expand>, Error>>;

    /// What the database says of these tables now.
    fn live<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Live, Error>>;

    /// What sqlx's own table says of each version; nothing where there is no such table.
    #[cfg_attr(not(feature = "schema"), allow(dead_code, reason = "`schema status` alone asks"))]
    fn sqlx_records(&self) -> BoxFuture<'_, Result<Vec<SqlxRecord>, Error>>;

    /// Whether a query without values answers with a row.
    fn answers<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<bool, Error>>;

    /// What the catalogue says of these tables.
    fn shape<'a>(&'a self, tables: &'a [&'a str]) -> BoxFuture<'a, Result<NewShape, Error>>;
}
