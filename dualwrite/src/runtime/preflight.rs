//! What the catalogue says of the tables of a migration, when it is registered.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Inner;
use crate::copier::joined::Joined;
use crate::copier::port::Copier;
use crate::error::{Error, ErrorKind};
use crate::preflight::finding::Preflight;
use crate::stages::hazard::HazardScan;
use crate::stages::stage::Stage;

/// How often a catalogue is read again that keeps a migration from going on.
const READ_AGAIN: Duration = Duration::from_secs(10);

impl Inner {
    /// What the catalogue says of the tables of a migration. What it refuses fails the registration of one that
    /// has not begun; later the instance joins all the same, and forward moves wait. Where it cannot be read
    /// now, the next move reads it.
    pub(super) async fn run_preflight(
        &self,
        name: &str,
        copier: Option<&Arc<dyn Copier>>,
    ) -> Result<Found, Error> {
        let Some(copier) = copier else { return Ok(Found::NoCopier) };
        let found = match copier.preflight(name).await {
            Ok((found, looked)) => (found, looked),
            Err(error) => {
                tracing::warn!(migration = name, %error, "no preflight; the next move asks again");
                return Ok(Found::Unread);
            }
        };
        let refused: Vec<String> = found.0.refusals().map(ToString::to_string).collect();
        if refused.is_empty() {
            return Ok(Found::Read(found.0, found.1));
        }
        let records = self.control.load().await?;
        let begun = records
            .iter()
            .any(|record| record.name == name && record.position.reaches() > Stage::Off);
        if begun {
            tracing::error!(migration = name, ?refused, "the preflight blocks every move forward");
            return Ok(Found::Read(found.0, found.1));
        }
        Err(Error::new(ErrorKind::Unsupported, refused.join("; ")).of(name))
    }
}

impl Joined {
    /// Whether what the catalogue said keeps the migration from going on, or is not known: it may be another now.
    fn waits_for_catalogue(&self) -> bool {
        let Some(catalogue) = self.catalogue() else { return true };
        let at_end = self.position().stage >= Stage::RampDown
            && !(catalogue.needed_columns.is_empty() && catalogue.rejecting.is_empty());
        at_end || !catalogue.unexpanded.is_empty() || self.preflight().refusals().next().is_some()
    }
}

impl Inner {
    /// Reads the catalogue again where that may open a gate: an operator, who cannot read it, is judged by what the
    /// instances declare.
    pub(super) async fn read_catalogues_again(&self) {
        let (now, last) = (self.clock.now(), self.catalogues_read.load(Relaxed));
        if Duration::from_nanos(now.saturating_sub(last)) < READ_AGAIN {
            return;
        }
        self.catalogues_read.store(now, Relaxed);
        for shared in self.migrations() {
            if shared.waits_for_catalogue()
                && let Err(error) = shared.run_preflight().await
            {
                tracing::debug!(migration = &*shared.name, %error, "the catalogue could not be read again");
            }
        }
    }
}

/// What came of reading the catalogue.
pub(super) enum Found {
    /// There is no copy function that says where.
    NoCopier,
    /// It cannot be read now.
    Unread,
    Read(Preflight, Option<HazardScan>),
}

/// Keeps what the preflight found, and reads what the gates of `Complete` go by. Where that fails, the instance declares
/// it, and its next move reads again.
pub(super) async fn keep(shared: &Joined, found: Found) {
    match found {
        Found::Unread => return,
        Found::NoCopier => {}
        Found::Read(found, looked) => {
            shared.set_preflight(found.clone());
            // The next look stores it.
            if let Err(error) = shared.store_preflight(&found, looked.as_ref()).await {
                tracing::warn!(migration = &*shared.name, %error, "what the preflight found could not be stored");
            }
        }
    }
    if let Err(error) = shared.read_catalogue().await {
        tracing::warn!(migration = &*shared.name, %error, "the catalogue could not be read; the next move reads again");
    }
}
