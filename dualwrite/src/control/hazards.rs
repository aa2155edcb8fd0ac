//! The part of the port to the control tables that keeps what the catalogue said: findings and hazards.

use futures_util::future::BoxFuture;

use crate::error::Error;
use crate::preflight::finding::Preflight;
use crate::preflight::report::PreflightReport;
use crate::stages::hazard::{Hazard, HazardScan};

pub(crate) trait Hazards: Send + Sync {
    /// Keeps what a look at the catalogue found. The proof is withdrawn where a writer has gone that nobody recorded
    /// as stopped, and where the old table has another shape.
    fn record_hazards<'a>(
        &'a self,
        name: &'a str,
        scan: &'a HazardScan,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Keeps what a preflight found, in place of what was kept before.
    fn record_preflight<'a>(
        &'a self,
        name: &'a str,
        instance: &'a str,
        found: &'a Preflight,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// What the newest preflight found; `None` before there was one.
    fn preflight<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<PreflightReport>, Error>>;

    /// The hazards that were found last, by name.
    fn hazards<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Hazard>, Error>>;
}
