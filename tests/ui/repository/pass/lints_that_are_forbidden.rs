//! What is generated allows nothing that a crate forbids.

#![forbid(unused, unused_imports, dead_code, deprecated, unsafe_code, unused_qualifications, missing_docs)]
#![deny(warnings)]

use dualwrite::Tx;
use sqlx::Sqlite;

/// Customers.
#[dualwrite::repository]
pub trait Customers {
    /// Finds one.
    #[read(key = id, lazy)]
    async fn find(&self, id: i64) -> Result<Option<String>, sqlx::Error>;
    /// Lists them.
    #[read(scan)]
    async fn all(&self) -> Result<Vec<String>, sqlx::Error>;
    /// Saves one.
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<(), sqlx::Error>;
}

fn main() {}
