//! What the catalogue says of the tables of a migration, when it is registered.

use std::sync::Arc;

use super::Inner;
use crate::copy::Copier;
use crate::error::{Error, ErrorKind};
use crate::preflight::finding::Preflight;
use crate::stages::stage::Stage;
use crate::state::Shared;

impl Inner {
    /// What the catalogue says of the tables of a migration. What it refuses fails the registration of one that
    /// has not begun; later the instance joins all the same, and forward moves wait. `None` where it cannot be read
    /// now.
    pub(super) async fn look_ahead(
        &self,
        name: &str,
        copier: Option<&Arc<dyn Copier>>,
    ) -> Result<Option<Preflight>, Error> {
        let Some(copier) = copier else { return Ok(Some(Preflight::default())) };
        let found = match copier.preflight(name).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(migration = name, %error, "no preflight; the next move asks again");
                return Ok(None);
            }
        };
        let refused: Vec<String> = found.refusals().map(ToString::to_string).collect();
        if refused.is_empty() {
            return Ok(Some(found));
        }
        let records = self.control.load().await?;
        let begun = records
            .iter()
            .any(|record| record.name == name && record.position.reaches() > Stage::Off);
        if begun {
            tracing::error!(migration = name, ?refused, "the preflight blocks every move forward");
            return Ok(Some(found));
        }
        Err(Error::new(ErrorKind::Unsupported, refused.join("; ")).of(name))
    }
}

/// Keeps what the preflight found, and reads what the gates of `Complete` go by. Where that fails, the instance declares
/// it, and its next move reads again.
pub(super) async fn keep(shared: &Shared, found: Option<Preflight>) {
    let Some(found) = found else { return };
    shared.set_preflight(found);
    if let Err(error) = shared.read_catalogue().await {
        tracing::warn!(migration = &*shared.name, %error, "the catalogue could not be read; the next move reads again");
    }
}
