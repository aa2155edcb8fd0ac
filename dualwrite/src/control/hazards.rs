//! The part of the port to the control tables that keeps hazards.

use futures_util::future::BoxFuture;

use crate::error::Error;
use crate::stages::hazard::{Hazard, Looked};

pub(crate) trait Hazards: Send + Sync {
    /// Keeps what a look at the catalogue found. The proof is withdrawn where a writer has gone that nobody recorded
    /// as stopped, and where the old table has another shape.
    fn record_hazards<'a>(
        &'a self,
        name: &'a str,
        looked: &'a Looked,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// The hazards that were found last, by name.
    fn hazards<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Hazard>, Error>>;

    /// Records that a writer is stopped, which withdraws the proof. Returns whether there is such a writer.
    fn stop_writer<'a>(
        &'a self,
        name: &'a str,
        writer: &'a str,
        actor: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<bool, Error>>;
}
