//! [`CopySql`]: a copy function that is SQL text. The library puts the rows into it, locked, and bounded on
//! both sides of the key, so a backfill copies a whole range without its keys ever leaving the database.

use std::fmt;
use std::marker::PhantomData;

use super::mapping::Mapping;
use super::run::dialect;
use super::source::{Bound, Extent, Identifier, KeyParts, KeySource, NAMED_KEYS, Pages};
use super::{Copied, CopyKeys};
use crate::backend::Backend;
use crate::backend::sealed::Adapter as _;
use crate::error::{BoxError, Error, ErrorKind};
use crate::key::{Key, OwnedKey};
use crate::transaction::Tx;

/// A copy function made of SQL statements, for old and new in one database.
///
/// The statements are run in their order. In each of them stands, in braces, what the library knows best:
///
/// | written | becomes |
/// |---|---|
/// | `{rows}` | the rows of old to copy, all columns, locked: `(SELECT * FROM goals WHERE id > … AND id <= … FOR …)`; give it an alias |
/// | `{goal_id}`, `{goals.id}` | the condition that this column is one of the keys; for a key of several columns name them in order, `{a, b}` |
///
/// A backfill runs them over ranges of keys, everything else over single keys. They must overwrite: afterwards
/// new says what old says. A brace that belongs to the text is written twice, `'{{}}'`. [`removing`](Self::removing) takes away what old has no more. The text is part of
/// the program and binds nothing, so it holds no `?`. It copies to new only: for a way back from `Complete` write a
/// [`CopyKeys`] with `copy_back`.
///
/// ```
/// # #[cfg(feature = "postgres")] mod example {
/// use dualwrite::{CopySql, KeySource, Mapping};
///
/// fn goals() -> CopySql<sqlx::Postgres, i64> {
///     CopySql::new(KeySource::table("goals").column("id"))
///         .new_source(KeySource::table("goal_versions").column("goal_id"))
///         .copying(
///             "INSERT INTO goal_versions (goal_id, version, title) \
///              SELECT g.id, 1, g.title FROM {rows} g \
///              ON CONFLICT (goal_id, version) DO UPDATE SET title = excluded.title",
///         )
///         .copying(
///             "UPDATE goals SET version_id = v.id FROM goal_versions v \
///              WHERE v.goal_id = goals.id AND v.version = 1 AND {goals.id} AND {v.goal_id}",
///         )
///         .removing(
///             "DELETE FROM goal_versions WHERE {goal_id} \
///              AND NOT EXISTS (SELECT 1 FROM goals WHERE goals.id = goal_id)",
///         )
///         .compared_by(|| Mapping::new().column("title", "title"))
/// }
/// # }
/// ```
pub struct CopySql<DB: Backend, K> {
    source: KeySource,
    new_source: Option<KeySource>,
    copying: Vec<&'static str>,
    removing: Vec<&'static str>,
    mapping: Option<fn() -> Mapping<DB>>,
    types: PhantomData<fn() -> (DB, K)>,
}

impl<DB: Backend, K: OwnedKey> CopySql<DB, K> {
    /// For the keys of old, as [`CopyKeys::source`].
    pub fn new(source: KeySource) -> Self {
        Self {
            source,
            new_source: None,
            copying: Vec::new(),
            removing: Vec::new(),
            mapping: None,
            types: PhantomData,
        }
    }

    /// Where the keys of new are, as [`CopyKeys::new_source`].
    #[must_use]
    pub fn new_source(mut self, source: KeySource) -> Self {
        self.new_source = Some(source);
        self
    }

    /// The next statement that copies.
    #[must_use]
    pub fn copying(mut self, statement: &'static str) -> Self {
        self.copying.push(statement);
        self
    }

    /// The next statement that removes from new those keys that old has not. It is not run over ranges,
    /// whose keys are those of old.
    /// On MySQL and MariaDB it locks what it reads of old, and may lose a deadlock: see the rules of
    /// [`CopyKeys`].
    #[must_use]
    pub fn removing(mut self, statement: &'static str) -> Self {
        self.removing.push(statement);
        self
    }

    /// What a verification compares, as [`CopyKeys::mapping`]; without it none can run.
    #[must_use]
    pub fn compared_by(mut self, mapping: fn() -> Mapping<DB>) -> Self {
        self.mapping = Some(mapping);
        self
    }

    fn pages(&self) -> Result<Pages, Error> {
        self.source.pages(dialect::<DB>(), K::KIND)
    }
}

impl<DB: Backend, K> fmt::Debug for CopySql<DB, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopySql").field("source", &self.source).finish_non_exhaustive()
    }
}

impl<DB: Backend, K: OwnedKey> CopyKeys for CopySql<DB, K> {
    type Database = DB;
    type Key = K;

    fn source(&self) -> KeySource {
        self.source.clone()
    }

    fn new_source(&self) -> Option<KeySource> {
        self.new_source.clone()
    }

    async fn copy(&self, tx: &mut Tx<'_, DB>, keys: &[K]) -> Result<Copied, BoxError> {
        let pages = self.pages()?;
        let parts: Vec<KeyParts> = keys.iter().map(Key::parts).collect();
        for keys in parts.chunks(NAMED_KEYS) {
            for text in self.copying.iter().chain(&self.removing) {
                let (sql, values) = Template::parse(text, &pages)?.over(&pages, Extent::Keys(keys));
                DB::Adapter::execute(tx.connection(), &sql, &values).await?;
            }
        }
        Ok(Copied { migrated: keys.len() as u64, skipped: 0 })
    }

    fn ranges(&self) -> Option<Vec<&'static str>> {
        Some(self.copying.clone())
    }

    fn mapping(&self) -> Option<Mapping<DB>> {
        self.mapping.map(|mapping| mapping())
    }

    fn check(&self) -> Result<(), Error> {
        let pages = self.pages()?;
        if self.copying.is_empty() {
            let message = "a copy function needs a statement: add `.copying(\"INSERT …\")`";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let mut statements = self.copying.iter().chain(&self.removing);
        statements.try_for_each(|text| Template::parse(text, &pages).map(drop))
    }
}

/// A statement with places for the keys.
pub(crate) struct Template(Vec<Piece>);

enum Piece {
    Text(&'static str),
    Rows,
    /// Quoted columns.
    Keys(Vec<String>),
}

impl Template {
    /// Finds the braces of a statement.
    ///
    /// # Errors
    /// `InvalidInput` that names what is not understood, `WrongKey` for too few or too many columns.
    pub(crate) fn parse(text: &'static str, pages: &Pages) -> Result<Self, Error> {
        let wrong = |message: String| Error::new(ErrorKind::InvalidInput, message);
        if text.contains('?') {
            let message = "a statement of `CopySql` binds nothing: it cannot contain a `?`";
            return Err(wrong(message.to_owned()));
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = (&rest[..at], &rest[at + 1..]);
            pieces.push(Piece::Text(before));
            if rest[at..].starts_with("{{") || rest[at..].starts_with("}}") {
                pieces.push(Piece::Text(&rest[at..=at]));
                rest = &rest[at + 2..];
                continue;
            }
            if rest[at..].starts_with('}') {
                let message =
                    format!("`{before}}}` closes nothing: a brace of the text is written `}}}}`");
                return Err(wrong(message));
            }
            let Some((name, after)) = after.split_once('}') else {
                let message = format!(
                    "`{{{after}` is not closed: add a `}}`, or write `{{{{` for a brace of the text"
                );
                return Err(wrong(message));
            };
            pieces.push(match name.trim() {
                "rows" => Piece::Rows,
                columns => Piece::Keys(key_columns(columns, pages)?),
            });
            rest = after;
        }
        pieces.push(Piece::Text(rest));
        if !pieces.iter().any(|piece| !matches!(piece, Piece::Text(_))) {
            let message = format!(
                "`{text}` would run over the whole table: say which rows, by `{{rows}}` or `{{column}}`"
            );
            return Err(wrong(message));
        }
        Ok(Self(pieces))
    }

    /// The statement for some keys.
    pub(crate) fn over(&self, pages: &Pages, extent: Extent<'_>) -> Bound {
        let (mut sql, mut values) = (String::new(), Vec::new());
        for piece in &self.0 {
            let (text, more) = match piece {
                Piece::Text(text) => ((*text).to_owned(), Vec::new()),
                Piece::Rows => pages.locked_rows(extent),
                Piece::Keys(columns) => pages.with_columns(columns.clone()).within(extent),
            };
            sql.push_str(&text);
            values.extend(more);
        }
        (sql, values)
    }
}

/// The columns in a pair of braces, quoted, a table before them or not.
fn key_columns(text: &str, pages: &Pages) -> Result<Vec<String>, Error> {
    let quoted = |name: &str| -> Result<String, Error> {
        let parts = name.trim().split('.').map(|part| {
            Identifier::new(part).map(|name| name.quoted(pages.dialect())).map_err(|_| {
                let message =
                    format!("`{{{text}}}` is neither `{{rows}}` nor the names of key columns; a brace of the \
                     text is written twice, `{{{{`");
                Error::new(ErrorKind::InvalidInput, message)
            })
        });
        Ok(parts.collect::<Result<Vec<_>, _>>()?.join("."))
    };
    let columns = text.split(',').map(quoted).collect::<Result<Vec<_>, _>>()?;
    if columns.len() != pages.width() {
        let message = format!(
            "`{{{text}}}` names {} columns, and the key has {}",
            columns.len(),
            pages.width()
        );
        return Err(Error::new(ErrorKind::WrongKey, message));
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyKind, KeyPart};

    fn pages() -> Pages {
        let source = KeySource::table("goals").column("id");
        source.pages(&super::super::source::tests::PLAIN, KeyKind::INTEGER).unwrap()
    }

    #[test]
    fn rows_and_keys_are_put_in_bounded_on_both_sides() {
        let text = "INSERT INTO v SELECT g.id FROM {rows} g WHERE {v.goal_id}";
        let template = Template::parse(text, &pages()).unwrap();
        let (after, last) = (vec![KeyPart::Integer(5)], vec![KeyPart::Integer(9)]);
        let (sql, values) = template.over(&pages(), Extent::Range(Some(&after), &last));
        assert_eq!(
            sql,
            "INSERT INTO v SELECT g.id FROM (SELECT * FROM \"goals\" WHERE \"id\" > ? AND \"id\" <= ? \
             ORDER BY \"id\" FOR UPDATE) g WHERE \"v\".\"goal_id\" > ? AND \"v\".\"goal_id\" <= ?"
        );
        assert_eq!(values.len(), 4);
        let (sql, values) = template.over(&pages(), Extent::Keys(&[after, last]));
        assert!(sql.contains("WHERE \"id\" IN (?, ?) ORDER BY"), "{sql}");
        assert_eq!(values.len(), 4);
    }

    #[test]
    fn a_brace_of_the_text_is_written_twice() {
        let text = "UPDATE v SET tags = '{{a,b}}', json = '{{\"a\":{{}}}}' WHERE {goal_id}";
        let template = Template::parse(text, &pages()).unwrap();
        let (sql, _) = template.over(&pages(), Extent::Keys(&[vec![KeyPart::Integer(5)]]));
        assert_eq!(sql, r#"UPDATE v SET tags = '{a,b}', json = '{"a":{}}' WHERE "goal_id" IN (?)"#);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let message = |text| Template::parse(text, &pages()).err().unwrap().to_string();
        assert!(message("DELETE FROM v").contains("whole table"));
        assert!(message("DELETE FROM v WHERE {a b}").contains("`{a b}`"));
        assert!(
            message("UPDATE v SET json = '{\"a\":1}' WHERE {id}").ends_with("written twice, `{{`")
        );
        assert!(message("DELETE FROM v WHERE {a, b}").contains("2 columns"));
        assert!(message("DELETE FROM v WHERE {id").contains("not closed"));
        assert!(message("DELETE FROM v WHERE id} = 1 AND {id}").contains("written `}}`"));
        assert!(message("DELETE FROM v WHERE id = ? AND {id}").contains("`?`"));
    }
}
