//! What the preflight found, kept for gates and for whoever looks.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use crate::contract::relax::rejecting;
use crate::error::Error;
use crate::key::{AnyKey, EncodedKey, Key};
use crate::preflight::finding::Preflight;
use crate::preflight::form::Spelling;
use crate::stages::bucket::Bucket;
use crate::state::Shared;

/// Keys are equal that are the same.
const FOLDS_NOTHING: u8 = 0;
const FOLDS: u8 = 1;
const FOLDS_LOOSELY: u8 = 2;

impl Shared {
    /// What the last preflight found.
    pub(crate) fn preflight(&self) -> Preflight {
        self.preflight.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_preflight(&self, found: Preflight) {
        *self.preflight.lock().unwrap_or_else(PoisonError::into_inner) = found;
        self.learn_spelling();
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

    /// Constraints of old that reject what is written to new alone.
    pub(crate) fn rejecting(&self) -> Vec<String> {
        self.rejecting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for them again. After the contract was begun there is no old that could reject anything.
    async fn look_for_rejecting(&self) -> Result<(), Error> {
        let (Some(contract), Some(dialect)) = (&self.options.contract, self.control.dialect())
        else {
            return Ok(());
        };
        let shape = self.control.old_shape(contract).await.map_err(|error| error.of(&self.name))?;
        let found = rejecting(contract, &shape, dialect).into_iter().map(|one| one.reason);
        *self.rejecting.lock().unwrap_or_else(PoisonError::into_inner) = found.collect();
        Ok(())
    }

    /// Looks at the tables again.
    pub(crate) async fn look_ahead(&self) -> Result<Preflight, Error> {
        self.look_for_rejecting().await?;
        let Some(copier) = &self.copier else { return Ok(Preflight::default()) };
        let found = copier.preflight(&self.name).await.map_err(|error| error.of(&self.name))?;
        self.set_preflight(found.clone());
        Ok(found)
    }
}
