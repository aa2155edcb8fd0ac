//! The columns of a key in statements: selected, bound and compared in the form that the catalogue says.
//! Pure: texts and values to bind.

use std::sync::Arc;

use crate::database::SqlValue;
use crate::key::KeyPart;
use crate::preflight::form::{KeyForm, UuidAs};

/// A key as it is bound: one value per column.
pub(crate) type KeyParts = Vec<KeyPart>;

/// A statement with its values.
pub(crate) type Bound = (String, Vec<SqlValue>);

/// The most keys that a statement names one by one: every database takes so many values, also in keys of
/// four columns.
pub(crate) const NAMED_KEYS: usize = 256;

/// Repeats what is named one by one until it is a power of two: else each number of keys would be
/// another statement to prepare, in place of one that is wanted again.
pub(crate) fn padded<T>(keys: &[T]) -> impl ExactSizeIterator<Item = &T> {
    let places = if keys.is_empty() { 0 } else { keys.len().next_power_of_two() };
    (0..places).map(|place| &keys[place % keys.len()])
}

/// `?, ?`, for the values of [`padded`].
pub(crate) fn places(keys: usize) -> String {
    vec!["?"; keys].join(", ")
}

/// The quoted columns of a key, with their forms as they are known now.
pub(crate) struct Keyed<'c> {
    pub(crate) columns: &'c [String],
    pub(crate) forms: Arc<[KeyForm]>,
}

impl Keyed<'_> {
    /// The columns as they are selected.
    pub(crate) fn selected(&self) -> String {
        let read = self.columns.iter().enumerate().map(|(at, column)| self.read(at, column));
        read.collect::<Vec<_>>().join(", ")
    }

    /// A column, or what has its type, as it is selected. It gets a name of its own: PostgreSQL would give it the
    /// column's, and an ORDER BY would then mean the text.
    pub(crate) fn read(&self, at: usize, column: &str) -> String {
        let read = &self.forms[at].read;
        match read.is_empty() {
            true => column.to_owned(),
            false => format!("{} AS dualwrite_key{at}", read.around(column)),
        }
    }

    /// The place of a value.
    pub(crate) fn place(&self, at: usize) -> String {
        self.forms[at].bind.around("?")
    }

    pub(crate) fn value(&self, at: usize, part: &KeyPart) -> SqlValue {
        match (part, self.forms[at].uuid) {
            (KeyPart::Uuid(value), UuidAs::Text) => SqlValue::Text(Some(value.to_string())),
            (part, _) => part.clone().into(),
        }
    }

    pub(crate) fn values<'k>(&'k self, key: &'k KeyParts) -> impl Iterator<Item = SqlValue> + 'k {
        key.iter().enumerate().map(|(at, part)| self.value(at, part))
    }

    /// `column > ?`.
    pub(crate) fn compared(&self, at: usize, operator: &str) -> String {
        let operator = self.forms[at].operator(operator);
        format!("{} {operator} {}", self.columns[at], self.place(at))
    }

    /// `a = ? AND b = ?`.
    pub(crate) fn equal(&self) -> String {
        let equal = (0..self.columns.len()).map(|at| self.compared(at, "="));
        equal.collect::<Vec<_>>().join(" AND ")
    }

    /// Whether the short form of a comparison of rows means the columns' own operators.
    pub(crate) fn has_plain_operators(&self) -> bool {
        self.forms.iter().all(|form| form.operators.is_none())
    }

    /// `id IN (?, ?)`; for keys of several columns `a = ? AND b = ? OR …`, which every database reads.
    pub(crate) fn among(&self, keys: &[KeyParts]) -> Bound {
        let keys = padded(keys);
        let count = keys.len();
        let values = keys.flat_map(|key| self.values(key)).collect();
        if let ([column], true) = (self.columns, self.has_plain_operators()) {
            let places = vec![self.place(0); count].join(", ");
            return (format!("{column} IN ({places})"), values);
        }
        let one = format!("({})", self.equal());
        (format!("({})", vec![one; count].join(" OR ")), values)
    }

    /// The condition that these columns are those of the other side, as an index on these finds them.
    pub(crate) fn matching(&self, other: &Keyed<'_>, theirs: impl Fn(usize) -> String) -> String {
        let alike = self.is_like(other);
        let equal = self.columns.iter().enumerate().map(|(at, own)| {
            let (form, their) = (&self.forms[at], theirs(at));
            if alike {
                return format!("{own} {} {their}", form.operator("="));
            }
            // Equal for both: one of them may know more spellings of a key.
            let (there, adopted) = (&other.forms[at], form.adopt.around(&their));
            format!(
                "{own} {} {adopted} AND {their} {} {}",
                form.operator("="),
                there.operator("="),
                there.adopt.around(own)
            )
        });
        equal.collect::<Vec<_>>().join(" AND ")
    }

    /// Whether both have one order and one equality.
    pub(crate) fn is_like(&self, other: &Keyed<'_>) -> bool {
        self.forms.iter().zip(other.forms.iter()).all(|(own, their)| own.is_like(their))
    }
}
