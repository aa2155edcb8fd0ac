//! What the preflight found, kept for gates and for whoever looks.

use std::sync::PoisonError;

use crate::contract::relax::rejecting;
use crate::error::Error;
use crate::expand::decide::{needs, refused};
use crate::preflight::finding::Preflight;
use crate::stages::hazard::HazardScan;
use crate::stages::stage::Stage;
use crate::state::Shared;
use crate::state::kept::Catalogue;

impl Shared {
    /// What the last preflight found.
    pub(crate) fn preflight(&self) -> Preflight {
        self.preflight.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn keep_preflight(&self, found: Preflight) {
        *self.preflight.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// What the catalogue said when it was read last.
    pub(crate) fn catalogue(&self) -> Option<Catalogue> {
        self.catalogue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn keep_catalogue(&self, read: Catalogue) {
        *self.catalogue.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
    }

    /// Once new is written, the gate is behind.
    pub(crate) async fn find_unexpanded(&self) -> Result<Vec<String>, Error> {
        let (Some(expand), Some(dialect)) = (&self.options.expand, self.control.dialect()) else {
            return Ok(Vec::new());
        };
        if self.position().reaches() > Stage::Off {
            return Ok(Vec::new());
        }
        let shape = self.control.shape(&expand.all_tables()).await?;
        Ok(refused(&needs(expand, &shape, dialect)))
    }

    /// After the contract was begun there is no old that could reject anything.
    pub(crate) async fn find_rejecting_columns(&self) -> Result<Vec<String>, Error> {
        let (Some(contract), Some(dialect)) = (&self.options.contract, self.control.dialect())
        else {
            return Ok(Vec::new());
        };
        let shape = self.control.old_shape(contract).await?;
        Ok(rejecting(contract, &shape, dialect).into_iter().map(|one| one.reason).collect())
    }

    /// Keeps what was found in the control tables, for whoever cannot read the catalogue.
    pub(crate) async fn store_preflight(
        &self,
        found: &Preflight,
        scan: Option<&HazardScan>,
    ) -> Result<(), Error> {
        if let Some(scan) = scan {
            self.control.record_hazards(&self.name, scan).await?;
        }
        self.control.record_preflight(&self.name, &self.instance, found).await
    }
}
