//! What a verification compares: columns and expressions that the database compares by itself, and rows
//! that Rust does. Without a mapping it asks the copy function's `differing`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{FromRow, Pool};

use super::key_source::KeySource;
use crate::compare::{Compare, Differences};
use crate::database::Identifier;
use crate::database::sealed::Adapter as _;
use crate::database::{Alike, Backend};
use crate::error::{BoxError, Error, ErrorKind};
use crate::preflight::schema::PlainEquality;

/// The most fields that a database compares: each is one column of the answer.
pub const MAPPED_FIELDS_MAX: usize = 200;

/// How old and new correspond, for a verification: given by [`CopyKeys::mapping`](crate::CopyKeys::mapping).
///
/// - Fields in SQL ([`column`](Self::column), [`same`](Self::same), [`expression`](Self::expression)) are
///   compared by the database, one bounded join per chunk of keys.
/// - [`rows`](Self::rows) reads both sides and compares them in Rust.
///
/// Both may be used together. NULL is the same as NULL, and as nothing else.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::Mapping;
///
/// fn customers() -> Mapping<sqlx::Sqlite> {
///     Mapping::new()
///         .column("email", "email_address")
///         .expression("country", "upper(country)", "country_code")
/// }
/// # }
/// ```
#[must_use]
pub struct Mapping<DB: Backend> {
    pub(crate) fields: Vec<MappedField>,
    pub(crate) rows: Option<RowMapping<DB>>,
    pub(crate) elsewhere: Option<(Pool<DB>, KeySource)>,
}

/// One field that the database compares.
#[derive(Clone, Debug)]
pub(crate) struct MappedField {
    /// As reports name it.
    pub(crate) name: String,
    pub(crate) old: Mapped,
    pub(crate) new: Mapped,
    pub(crate) same: Same,
}

/// Where the value of a field comes from.
#[derive(Clone, Debug)]
pub(crate) enum Mapped {
    Column(String),
    Expression(&'static str),
}

/// When a field is the same on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Same {
    /// To the letter and by the database's own equality.
    Exactly,
    /// As the columns of a derived struct are.
    As(Alike),
    /// Exactly, where the catalogue says that less is enough for it.
    Plainly(PlainEquality),
}

/// How fields are compared, whatever the mapping says: exactly, because the database has no equality for their types, or
/// plainly, because that is enough.
#[derive(Debug, Default)]
pub(crate) struct Learned(Mutex<Vec<Option<Same>>>);

impl Learned {
    pub(crate) fn of(&self, field: usize) -> Option<Same> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(field).copied().flatten()
    }

    pub(crate) fn is_known(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn set(&self, fields: Vec<Option<Same>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fields;
    }
}

type Judge<DB> = dyn Fn(
        &<DB as sqlx::Database>::Row,
        &<DB as sqlx::Database>::Row,
    ) -> Result<Vec<String>, sqlx::Error>
    + Send
    + Sync;

/// Rows that Rust compares. The columns come after those of the key.
pub(crate) struct RowMapping<DB: Backend> {
    pub(crate) old: Vec<String>,
    pub(crate) new: Vec<String>,
    /// Where old and new are columns of one row.
    pub(crate) both: Vec<String>,
    /// Names the fields that differ.
    pub(crate) judge: Arc<Judge<DB>>,
}

impl<DB: Backend> Default for Mapping<DB> {
    fn default() -> Self {
        Self::new()
    }
}

impl<DB: Backend> Mapping<DB> {
    /// Compares nothing yet but that every key is on both sides.
    pub fn new() -> Self {
        Self { fields: Vec::new(), rows: None, elsewhere: None }
    }

    /// A column of old and the column of new that says the same: to the letter, whatever a collation
    /// says, so `a` is not `A`, `1.0` is not `1.00`, and a blank at the end counts. Two columns whose types write one
    /// value in two ways are compared by their values: JSON, numbers of two types or scales, times of two precisions.
    /// Named by its column in old.
    pub fn column(self, old: &str, new: &str) -> Self {
        self.field(
            old,
            Mapped::Column(old.to_owned()),
            Mapped::Column(new.to_owned()),
            Same::Exactly,
        )
    }

    /// The same, but equal is what the database takes for equal: by the collation, and `1.0` is `1.00`. Where it has no
    /// equality for the two types or collations, this is [`column`](Self::column).
    pub fn same(self, old: &str, new: &str) -> Self {
        let same = Same::As(Alike::Equal);
        self.field(old, Mapped::Column(old.to_owned()), Mapped::Column(new.to_owned()), same)
    }

    /// A named field by an expression on each side, over the columns of that side's table alone, compared as
    /// by [`column`](Self::column). The texts become part of the statement as they are, and bind nothing.
    pub fn expression(self, name: &str, old: &'static str, new: &'static str) -> Self {
        self.field(name, Mapped::Expression(old), Mapped::Expression(new), Same::Exactly)
    }

    pub(crate) fn field(mut self, name: &str, old: Mapped, new: Mapped, same: Same) -> Self {
        self.fields.push(MappedField { name: name.to_owned(), old, new, same });
        self
    }

    /// Compares rows in Rust: reads these columns on each side, as types of yours. A row that its type
    /// cannot be read from counts as different.
    ///
    /// ```
    /// # #[cfg(all(feature = "sqlite", feature = "macros"))] mod example {
    /// use dualwrite::{Compare, Mapping};
    ///
    /// #[derive(sqlx::FromRow, Compare)]
    /// #[compare(other = NewGoal)]
    /// struct Goal { title: String }
    ///
    /// #[derive(sqlx::FromRow)]
    /// struct NewGoal { title: String }
    ///
    /// fn goals() -> Mapping<sqlx::Sqlite> {
    ///     Mapping::new().rows::<Goal, NewGoal>(&["title"], &["title"])
    /// }
    /// # }
    /// ```
    pub fn rows<Old, New>(self, old: &[&str], new: &[&str]) -> Self
    where
        Old: for<'r> FromRow<'r, DB::Row> + Compare<New>,
        New: for<'r> FromRow<'r, DB::Row>,
    {
        self.judged(old, new, |old, new| {
            let (old, new) = (Old::from_row(old)?, New::from_row(new)?);
            Ok(fields_between(&old, &new))
        })
    }

    /// The same where a function says what new should be for a row of old; what it refuses counts as
    /// different.
    ///
    /// ```
    /// # #[cfg(all(feature = "sqlite", feature = "macros"))] mod example {
    /// use dualwrite::{Compare, Mapping};
    ///
    /// #[derive(sqlx::FromRow)]
    /// struct Person { age: String }
    ///
    /// #[derive(sqlx::FromRow, Compare)]
    /// struct NewPerson { age: i64 }
    ///
    /// fn people() -> Mapping<sqlx::Sqlite> {
    ///     let convert = |old: Person| Ok(NewPerson { age: old.age.parse()? });
    ///     Mapping::new().converted(&["age"], &["age"], convert)
    /// }
    /// # }
    /// ```
    pub fn converted<Old, New>(
        self,
        old: &[&str],
        new: &[&str],
        convert: impl Fn(Old) -> Result<New, BoxError> + Send + Sync + 'static,
    ) -> Self
    where
        Old: for<'r> FromRow<'r, DB::Row>,
        New: for<'r> FromRow<'r, DB::Row> + Compare,
    {
        self.judged(old, new, move |old, new| {
            let (old, new) = (Old::from_row(old)?, New::from_row(new)?);
            Ok(match convert(old) {
                Ok(wanted) => fields_between(&wanted, &new),
                Err(_) => vec![UNREADABLE.to_owned()],
            })
        })
    }

    fn judged(
        mut self,
        old: &[&str],
        new: &[&str],
        judge: impl Fn(&DB::Row, &DB::Row) -> Result<Vec<String>, sqlx::Error> + Send + Sync + 'static,
    ) -> Self {
        let owned =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut both = owned(old);
        both.extend(owned(new).into_iter().filter(|name| !old.contains(&name.as_str())));
        self.rows =
            Some(RowMapping { old: owned(old), new: owned(new), both, judge: Arc::new(judge) });
        self
    }

    /// New is on another server of the same kind, in the table of `source`. The fields in SQL are then
    /// compared by hashes of chunks, both sides at once, and chunks that differ are looked at closer; a
    /// field is of one type on both sides, or cast to it by an expression. There is no transaction over
    /// both servers, so a write in flight may look like a difference.
    pub fn new_on(mut self, pool: Pool<DB>, source: KeySource) -> Self {
        self.elsewhere = Some((pool, source));
        self
    }

    /// The columns of old that are compared as they are.
    pub(crate) fn old_columns(&self) -> Vec<String> {
        let named = self.fields.iter().filter_map(|field| match &field.old {
            Mapped::Column(name) => Some(name.clone()),
            Mapped::Expression(_) => None,
        });
        named.chain(self.rows.iter().flat_map(|rows| rows.old.iter().cloned())).collect()
    }

    /// Checks all names.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
        if self.fields.len() > MAPPED_FIELDS_MAX {
            return invalid(format!("a mapping has at most {MAPPED_FIELDS_MAX} fields in SQL"));
        }
        for mapped in self.fields.iter().flat_map(|field| [&field.old, &field.new]) {
            match mapped {
                Mapped::Column(name) => drop(Identifier::new(name.as_str())?),
                Mapped::Expression(text) => {
                    let scanned = DB::Adapter::DIALECT.scan(text);
                    if let Some(place) = scanned.parameter {
                        return invalid(format!(
                            "the expression `{text}` binds nothing, and has a place for a value, `{place}`"
                        ));
                    }
                }
            }
        }
        if let Some(rows) = &self.rows {
            rows.both.iter().try_for_each(|name| Identifier::new(name.as_str()).map(drop))?;
        }
        if self.elsewhere.is_some() && self.rows.is_some() {
            let message = "rows in Rust are compared in one database only; give fields in SQL";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(())
    }
}

impl<DB: Backend> fmt::Debug for Mapping<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows.as_ref().map(|rows| (&rows.old, &rows.new));
        f.debug_struct("Mapping").field("fields", &self.fields).field("rows", &rows).finish()
    }
}

/// The name of a field that could not be read or converted.
pub(crate) const UNREADABLE: &str = "(unreadable)";

/// The paths that differ, without what stands in brackets.
fn fields_between<Old: Compare<New>, New>(old: &Old, new: &New) -> Vec<String> {
    if !Differences::exist_between(old, new) {
        return Vec::new();
    }
    let found = Differences::between(old, new);
    let mut fields: Vec<String> = Vec::new();
    for difference in found.kept() {
        let field = difference.path.split('[').next().unwrap_or_default().to_owned();
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    fields
}

#[cfg(feature = "sqlite")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_checked() {
        let mapping = Mapping::<sqlx::Sqlite>::new;
        assert!(mapping().column("a", "b").expression("c", "upper(c)", "c").check().is_ok());
        for wrong in [
            mapping().column("a\"", "b"),
            mapping().expression("c", "c = ?", "c"),
            mapping().rows::<(), ()>(&["a b"], &["a"]),
        ] {
            assert_eq!(wrong.check().unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn what_stands_in_brackets_is_no_name_of_a_field() {
        assert_eq!(fields_between(&(vec![1, 2], 3), &(vec![9, 9], 4)), ["0", "1"]);
        assert!(fields_between(&1, &1).is_empty());
    }
}
