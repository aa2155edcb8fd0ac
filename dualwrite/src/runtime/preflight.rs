//! What the catalogue says of the tables of a migration, when it is registered.

use std::sync::Arc;

use super::Inner;
use crate::copy::Copier;
use crate::error::{Error, ErrorKind};
use crate::preflight::finding::Preflight;
use crate::stages::stage::Stage;

impl Inner {
    /// What the catalogue says of the tables of a migration. What it refuses fails the registration of one that
    /// has not begun; later the instance joins all the same, and forward moves wait.
    pub(super) async fn look_ahead(
        &self,
        name: &str,
        copier: Option<&Arc<dyn Copier>>,
    ) -> Result<Preflight, Error> {
        let Some(copier) = copier else { return Ok(Preflight::default()) };
        let found = match copier.preflight(name).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(migration = name, %error, "no preflight; the next move asks again");
                return Ok(Preflight::default());
            }
        };
        let refused: Vec<String> = found.refusals().map(ToString::to_string).collect();
        if refused.is_empty() {
            return Ok(found);
        }
        let records = self.control.load().await?;
        let begun = records
            .iter()
            .any(|record| record.name == name && record.position.reaches() > Stage::Off);
        if begun {
            tracing::error!(migration = name, ?refused, "the preflight blocks every move forward");
            return Ok(found);
        }
        Err(Error::new(ErrorKind::Unsupported, refused.join("; ")).of(name))
    }
}
