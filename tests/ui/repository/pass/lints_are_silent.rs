//! What is generated raises no warning in a strict crate, and carries its documentation.

#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub, unused_qualifications)]
#![deny(clippy::all, clippy::pedantic)]

use dualwrite::Tx;
use sqlx::Sqlite;

/// Customers.
#[dualwrite::repository]
#[deprecated]
pub trait Customers {
    /// Finds one.
    #[read(key = id, lazy)]
    #[deprecated(note = "use `all`")]
    #[allow(clippy::missing_errors_doc)]
    async fn find(&self, id: i64) -> Result<Option<String>, sqlx::Error>;
    /// Absent.
    #[cfg(any())]
    #[read(key = id)]
    async fn absent(&self, id: MaybeMissing) -> Result<MaybeMissing, MaybeMissing>;
    /// Absent or not.
    #[cfg(not(target_os = "none"))]
    #[cfg(not(windows))]
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<(), sqlx::Error>;
    /// The most that there can be.
    const LIMIT: u32 = 1;
    /// Not to be missed.
    #[primary]
    #[must_use]
    #[allow(clippy::needless_lifetimes)]
    fn label<'s>(&'s self) -> &'s str;
    /// Found now and then.
    #[read(key = id, lazy, shadow = never)]
    async fn found(&self, id: i64) -> Result<Option<String>, sqlx::Error>;
    /// Compared by a function.
    #[read(key = id, sample = 5, compare = same)]
    async fn compared(&self, id: i64) -> Result<String, sqlx::Error>;
    /// Lists all.
    #[read(scan)]
    async fn all(&self) -> Result<Vec<String>, sqlx::Error>;
}

fn same(old: &str, new: &str) -> bool {
    old == new
}

/// Boxed customers.
#[dualwrite::repository]
#[async_trait::async_trait]
pub trait Boxed: Send + Sync {
    /// Finds one.
    #[read(key = id, lazy)]
    async fn find(&self, id: i64) -> Result<Option<String>, sqlx::Error>;
    /// Saves one.
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<(), sqlx::Error>;
    /// Not to be missed.
    #[primary]
    fn label(&self) -> &str;
}

pub(crate) mod inner {
    #[dualwrite::repository]
    pub(super) trait Hidden {
        #[read(scan)]
        async fn all(&self) -> Result<Vec<String>, sqlx::Error>;
    }
}

fn used<H: inner::Hidden>(hidden: &H, migration: &dualwrite::Migration) {
    drop(hidden.all());
    drop(inner::DualHidden::<(), ()>::new(migration, (), ()));
}

fn main() {
    let _ = used::<inner::DualHidden<Nothing, Nothing>>;
}

struct Nothing;
impl inner::Hidden for Nothing {
    async fn all(&self) -> Result<Vec<String>, sqlx::Error> {
        Ok(Vec::new())
    }
}
