//! Dirty marks in the transaction of a copy: they are cleared before the copy, and looked at after it.

use super::keyed::KeyParts;
use super::run::{SqlCopier, dialect};
use super::source::{NAMED_KEYS, padded, places};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue};
use crate::error::Error;
use crate::key::{EncodedKey, KeyPart};
use crate::preflight::form::Spelling;
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::transaction::Tx;

impl<DB: Backend> SqlCopier<DB> {
    /// A key as the control tables know it, however it is spelled.
    pub(crate) fn identity(&self, key: &KeyParts) -> Result<EncodedKey, Error> {
        self.pages.identity(key)
    }

    /// Which keys are equal on one of the sides.
    pub(crate) fn spelling(&self) -> Spelling {
        let pages = std::iter::once(&self.pages).chain(&self.new_pages);
        let spellings =
            pages.flat_map(|pages| pages.keyed().forms.to_vec()).map(|form| form.spelling);
        spellings.max().unwrap_or_default()
    }

    pub(crate) async fn clear_dirty(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        keys: &[KeyParts],
        side: Side,
    ) -> Result<(), Error> {
        for keys in keys.chunks(NAMED_KEYS) {
            let keys = keys.iter().map(|key| self.identity(key)).collect::<Result<Vec<_>, _>>()?;
            let keys = padded(&keys);
            let sql = format!(
                "DELETE FROM dualwrite_dirty WHERE migration = ? AND side = ? AND key_text IN ({})",
                places(keys.len())
            );
            let which = [SqlValue::from(&*shared.name), side.as_str().into()];
            let keys = keys.map(|key| SqlValue::from(key.0.as_str()));
            let values: Vec<SqlValue> = which.into_iter().chain(keys).collect();
            DB::Adapter::execute(tx.connection(), &sql, &values)
                .await
                .map_err(|error| Error::database("clearing dirty marks", error).of(&shared.name))?;
        }
        Ok(())
    }

    /// Whether a key waits to be copied to `side` again, under whichever spelling.
    pub(crate) async fn is_marked(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        key: &KeyParts,
        side: Side,
    ) -> Result<bool, Error> {
        let mut values = vec![SqlValue::from(&*shared.name), side.as_str().into()];
        let condition = match self.pages.keyed().forms.iter().any(is_loose) {
            true => self.is_this_key(key, &mut values),
            false => {
                values.push(self.identity(key)?.0.as_str().into());
                "key_text = ?".to_owned()
            }
        };
        let sql = format!(
            "SELECT key_text FROM dualwrite_dirty WHERE migration = ? AND side = ? AND {condition}"
        );
        let rows = DB::Adapter::fetch(tx.connection(), &sql, &values).await;
        let rows =
            rows.map_err(|error| Error::database("reading a dirty mark", error).of(&shared.name))?;
        Ok(!rows.is_empty())
    }

    /// The condition that a mark is of this key, as the column compares it.
    fn is_this_key(&self, key: &[KeyPart], values: &mut Vec<SqlValue>) -> String {
        let keyed = self.pages.keyed();
        let mut equal = Vec::new();
        for (at, (part, form)) in key.iter().zip(keyed.forms.iter()).enumerate() {
            let place = (key.len() > 1).then_some(at);
            let marked = dialect::<DB>().json_text("key_text", place);
            let text = match part {
                KeyPart::Integer(value) => value.to_string(),
                KeyPart::Text(value) => value.clone(),
                KeyPart::Uuid(value) => value.to_string(),
                KeyPart::Bytes(value) => crate::key::bytes::hex(value),
                KeyPart::Beyond(value) => value.to_string(),
            };
            values.push(text.as_str().into());
            equal.push(match is_loose(form) {
                true => format!(
                    "{} {} {}",
                    form.adopt.around(&marked),
                    form.operator("="),
                    form.bind.around("?")
                ),
                false => format!("{marked} = ?"),
            });
        }
        equal.join(" AND ")
    }
}

fn is_loose(form: &crate::preflight::form::KeyForm) -> bool {
    form.spelling == Spelling::Loose
}
