//! Where keys are: a table and its key columns, and what the catalogue said of these.

use std::sync::{Arc, Mutex, PoisonError};

use super::keyed::Keyed;
use crate::database::Identifier;
use crate::error::{Error, ErrorKind};
use crate::key::KeyKind;
use crate::preflight::form::KeyForm;

/// A table and the columns of its key, in the order of an index (the primary key, as a rule).
///
/// ```
/// use dualwrite::copy::KeySource;
/// KeySource::table("playlist_track").column("playlist_id").column("track_id").check()?;
/// assert!(KeySource::table("customer").check().is_err(), "no key column");
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct KeySource {
    pub(super) table: Vec<String>,
    pub(super) columns: Vec<String>,
    /// What the catalogue said of the columns; clones share it.
    pub(super) forms: Forms,
}

/// The forms of the columns of a key, once they are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forms(Arc<Mutex<Option<Arc<[KeyForm]>>>>);

impl Forms {
    /// Columns in the forms that are known now; where the catalogue has not been asked, in the plain ones.
    pub(crate) fn of<'c>(&self, columns: &'c [String], kind: KeyKind) -> Keyed<'c> {
        // There is no max(uuid) and no max(bytea) before PostgreSQL 18.
        let has_max = |kind| kind != KeyKind::UUID && kind != KeyKind::BYTES;
        let plain = |kind| KeyForm { has_max: has_max(kind), ..KeyForm::default() };
        let forms = self.get().unwrap_or_else(|| kind.columns().map(plain).collect());
        Keyed { columns, forms }
    }

    pub(crate) fn get(&self) -> Option<Arc<[KeyForm]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, forms: Vec<KeyForm>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(forms.into());
    }
}

impl KeySource {
    /// The table that holds the keys.
    pub fn table(name: impl Into<String>) -> Self {
        Self { table: vec![name.into()], columns: Vec::new(), forms: Forms::default() }
    }

    /// The schema of the table, where it is not on the search path.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.table.insert(0, name.into());
        self
    }

    /// The table, after its schema where it has one.
    pub(crate) fn path(&self) -> &[String] {
        &self.table
    }

    /// Whether both are the same table, as far as their names tell.
    pub(crate) fn is_same_table(&self, other: &Self) -> bool {
        self.table == other.table
    }

    /// The next column of the key.
    pub fn column(mut self, name: impl Into<String>) -> Self {
        self.columns.push(name.into());
        self
    }

    /// Checks all names.
    ///
    /// # Errors
    /// `InvalidInput` naming the identifier that is not plain, or the missing key column.
    pub fn check(&self) -> Result<(), Error> {
        if self.columns.is_empty() {
            let message = format!("the table `{}` needs a key column", self.table.join("."));
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        self.table
            .iter()
            .chain(&self.columns)
            .try_for_each(|name| Identifier::new(name.as_str()).map(drop))
    }
}
