//! What the preflight found, kept for gates and for whoever looks.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use crate::contract::relax::rejecting;
use crate::error::Error;
use crate::expand::decide::{needs, refused};
use crate::key::{AnyKey, EncodedKey, Key};
use crate::preflight::finding::Preflight;
use crate::preflight::form::Spelling;
use crate::stages::bucket::Bucket;
use crate::stages::hazard::HazardScan;
use crate::stages::stage::Stage;
use crate::state::Shared;

/// Keys are equal that are the same.
const FOLDS_NOTHING: u8 = 0;
const FOLDS: u8 = 1;
const FOLDS_LOOSELY: u8 = 2;

/// What the catalogue says of old that keeps new from being written alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    /// Old columns of the one table that an `INSERT` cannot leave out.
    pub(crate) needed_columns: Vec<String>,
    /// What is missing of new before it is written.
    pub(crate) unexpanded: Vec<String>,
    /// Constraints of old that reject what is written to new alone.
    pub(crate) rejecting: Vec<String>,
}

impl Shared {
    /// What the last preflight found.
    pub(crate) fn preflight(&self) -> Preflight {
        self.preflight.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_preflight(&self, found: Preflight) {
        *self.preflight.lock().unwrap_or_else(PoisonError::into_inner) = found;
        self.learn_spelling();
    }

    /// Whether a write of this key can be recorded.
    pub(crate) fn check_key<K: Key + ?Sized>(&self, key: &K) -> Result<(), Error> {
        self.check_kind(K::KIND)?;
        key.check()
    }

    /// A key as the control tables know it, however the caller spells it.
    pub(crate) fn encode<K: Key + ?Sized>(&self, key: &K) -> Result<EncodedKey, Error> {
        match &self.copier {
            Some(copier) if self.folds() != FOLDS_NOTHING => {
                EncodedKey::from_parts(&copier.identity(&key.parts()))
            }
            _ => EncodedKey::new(key),
        }
    }

    /// The bucket of a key, however the caller spells it.
    pub(crate) fn bucket<K: Key + ?Sized>(&self, key: &K) -> Result<Bucket, Error> {
        let rule = self.options.rule;
        match &self.copier {
            Some(copier) if self.folds() != FOLDS_NOTHING => {
                rule.bucket(&AnyKey(copier.bucket_form(&key.parts())), self.salt)
            }
            _ => rule.bucket(key, self.salt),
        }
    }

    /// Whether a row may have spellings that the library cannot tell, and so several buckets.
    pub(crate) fn is_loose(&self) -> bool {
        self.folds() == FOLDS_LOOSELY
    }

    fn folds(&self) -> u8 {
        self.folds.load(Relaxed)
    }

    /// Learns again which keys are equal.
    pub(crate) fn learn_spelling(&self) {
        let spelling = self.copier.as_ref().map_or(Spelling::Exact, |copier| copier.spelling());
        let folds = match spelling {
            Spelling::Exact => FOLDS_NOTHING,
            Spelling::Padded | Spelling::AsciiCase => FOLDS,
            Spelling::Loose => FOLDS_LOOSELY,
        };
        self.folds.store(folds, Relaxed);
    }

    /// What the catalogue said when it was read last.
    pub(crate) fn catalogue(&self) -> Option<Catalogue> {
        self.catalogue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads what the gates of `Complete` go by.
    pub(crate) async fn read_catalogue(&self) -> Result<(), Error> {
        let of = |error: Error| error.of(&self.name);
        let rejecting = self.find_rejecting_columns().await.map_err(of)?;
        let unexpanded = self.find_unexpanded().await.map_err(of)?;
        let needed_columns = match &self.copier {
            Some(copier) => copier.needed_columns().await.map_err(of)?,
            None => Vec::new(),
        };
        let read = Catalogue { needed_columns, unexpanded, rejecting };
        *self.catalogue.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(())
    }

    /// Once new is written, the gate is behind.
    async fn find_unexpanded(&self) -> Result<Vec<String>, Error> {
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
    async fn find_rejecting_columns(&self) -> Result<Vec<String>, Error> {
        let (Some(contract), Some(dialect)) = (&self.options.contract, self.control.dialect())
        else {
            return Ok(Vec::new());
        };
        let shape = self.control.old_shape(contract).await?;
        Ok(rejecting(contract, &shape, dialect).into_iter().map(|one| one.reason).collect())
    }

    /// Looks at the tables again.
    pub(crate) async fn run_preflight(&self) -> Result<Preflight, Error> {
        self.read_catalogue().await?;
        let Some(copier) = &self.copier else { return Ok(Preflight::default()) };
        let of = |error: Error| error.of(&self.name);
        let (found, scan) = copier.preflight(&self.name).await.map_err(of)?;
        self.set_preflight(found.clone());
        self.store_preflight(&found, scan.as_ref()).await?;
        Ok(found)
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
