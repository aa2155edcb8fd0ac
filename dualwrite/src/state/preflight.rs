//! What the preflight found, kept for gates and for whoever looks.

use std::sync::PoisonError;

use crate::error::Error;
use crate::preflight::finding::Preflight;
use crate::state::Shared;

impl Shared {
    /// What the last preflight found.
    pub(crate) fn preflight(&self) -> Preflight {
        self.preflight.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_preflight(&self, found: Preflight) {
        *self.preflight.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// Looks at the tables again.
    pub(crate) async fn look_ahead(&self) -> Result<Preflight, Error> {
        let Some(copier) = &self.copier else { return Ok(Preflight::default()) };
        let found = copier.preflight(&self.name).await.map_err(|error| error.of(&self.name))?;
        self.set_preflight(found.clone());
        Ok(found)
    }
}
