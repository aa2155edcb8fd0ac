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
    async fn absent(&self, id: Missing) -> Result<Missing, Missing>;
    /// Absent or not.
    #[cfg(not(target_os = "none"))]
    #[cfg(not(windows))]
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<(), sqlx::Error>;
    /// Lists all.
    #[read(scan)]
    async fn all(&self) -> Result<Vec<String>, sqlx::Error>;
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
