//! What the catalogue says of the tables of a migration, and of which keys are equal in them.

use std::sync::atomic::Ordering::Relaxed;

use crate::copier::joined::Joined;
use crate::error::Error;
use crate::key::{AnyKey, EncodedKey, Key};
use crate::preflight::finding::Preflight;
use crate::preflight::form::Spelling;
use crate::stages::bucket::Bucket;
use crate::state::kept::Catalogue;

/// Keys are equal that are the same.
const FOLDS_NOTHING: u8 = 0;
const FOLDS: u8 = 1;
const FOLDS_LOOSELY: u8 = 2;

impl Joined {
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

    pub(crate) fn set_preflight(&self, found: Preflight) {
        self.keep_preflight(found);
        self.learn_spelling();
    }

    /// Reads what the gates of `Complete` go by.
    pub(crate) async fn read_catalogue(&self) -> Result<(), Error> {
        let of = |error: Error| error.of(&self.name);
        let rejecting = self.find_rejecting_columns().await.map_err(of)?;
        let unexpanded = self.find_unexpanded().await.map_err(of)?;
        // Whoever fills the old columns leaves none of them out.
        let old_filled = self.options.contract.as_ref().is_some_and(|contract| contract.old_filled);
        let needed_columns = match &self.copier {
            Some(copier) if !old_filled => copier.needed_columns().await.map_err(of)?,
            _ => Vec::new(),
        };
        let read = Catalogue { needed_columns, unexpanded, rejecting };
        self.keep_catalogue(read);
        Ok(())
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
}
