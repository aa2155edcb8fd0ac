//! [`CopySql`]: a copy function that is SQL text, there and back. The library puts the keys into it, and on
//! the way to new the rows, locked, and bounded on both sides of the key, so a backfill copies a whole range
//! without its keys ever leaving the database.

use std::fmt;
use std::marker::PhantomData;

use super::erased::Held;
use super::key_source::KeySource;
use super::mapping::Mapping;
use super::run::dialect;
use super::source::{Extent, KeyParts, NAMED_KEYS, Pages};
use super::template::Template;
use super::{Copied, CopyBack, CopyKeys};
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
#[cfg(feature = "mysql")]
use crate::error::known::learn_words;
use crate::error::{BoxError, Error, ErrorKind};
use crate::key::{Key, OwnedKey};
use crate::transaction::Tx;

/// A copy function made of SQL statements, for old and new in one database.
///
/// The statements are run in their order. In each of them stands, in braces, what the library knows best:
///
/// | written | becomes |
/// |---|---|
/// | `{rows}` | the rows to copy, all columns: `(SELECT * FROM goals WHERE id > … AND id <= … FOR …)`; give it an alias |
/// | `{goal_id}`, `{goals.id}` | the condition that this column is one of the keys; for a key of several columns name them in order, `{a, b}` |
///
/// A backfill runs them over ranges of keys, everything else over single keys. They must overwrite: afterwards
/// new says what old says. [`removing`](Self::removing) takes away what old has no more. The text is part of
/// the program and binds nothing: a place for a value (`?`, `$1`, `:name`) is refused, unless it only looks like
/// one, in a literal or as an operator of PostgreSQL. A brace that belongs to the text is written twice, `'{{}}'`.
///
/// On PostgreSQL the rows of old are locked before the first statement runs, so it sees in new what it waited for
/// in old. There an `UPDATE` of the rows that new has and an `INSERT` of those it has not (`WHERE NOT EXISTS …`)
/// do as well as an `INSERT … ON CONFLICT`, and take less time where most rows are missing.
///
/// With [`copying_back`](Self::copying_back) there is a way back from `Complete`: a reverse copy, the repair of
/// writes to old that failed, the retry of dead letters.
///
/// | | [`copying`](Self::copying) | [`copying_back`](Self::copying_back) |
/// |---|---|---|
/// | `{rows}` | rows of old | rows of new |
/// | they are locked | by the statement | by the library: it holds the rows of old, which every write takes first, and those of new where old has none yet |
/// | keys | ranges, or named | named, 256 in a statement at the most |
///
/// ```
/// # #[cfg(feature = "postgres")] mod example {
/// use dualwrite::{copy::KeySource, CopySql, Mapping};
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
///
/// fn there_and_back() -> CopySql<sqlx::Postgres, i64> {
///     goals()
///         .removing_back(
///             "DELETE FROM goals WHERE {id} \
///              AND NOT EXISTS (SELECT 1 FROM goal_versions v WHERE v.goal_id = goals.id)",
///         )
///         .copying_back(
///             "INSERT INTO goals (id, title, version_id) \
///              SELECT v.goal_id, v.title, v.id FROM {rows} v WHERE v.version = 1 \
///              ON CONFLICT (id) DO UPDATE \
///              SET title = excluded.title, version_id = excluded.version_id",
///         )
/// }
/// # }
/// ```
pub struct CopySql<DB: Backend, K> {
    source: KeySource,
    new_source: Option<KeySource>,
    copying: Vec<&'static str>,
    removing: Vec<&'static str>,
    copying_back: Vec<&'static str>,
    removing_back: Vec<&'static str>,
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
            copying_back: Vec::new(),
            removing_back: Vec::new(),
            mapping: None,
            types: PhantomData,
        }
    }

    /// Where the keys of new are, as [`CopyKeys::new_source`]. A way back needs it.
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

    /// The next statement that copies from new to old: `{rows}` are rows of new. Needs
    /// [`new_source`](Self::new_source), and where that is another table
    /// [`removing_back`](Self::removing_back): it is refused when it is registered otherwise.
    ///
    /// It upserts, for old lacks what was inserted after `Complete`; or it updates, where old and new are columns of
    /// one row. A row that is deleted and inserted again may stay in old although it was deleted: see the rules
    /// of [`CopyKeys`]. It takes no locks in new by itself (`FOR UPDATE`): a write that has taken its row in old
    /// and waits for the one in new would lose a deadlock.
    #[must_use]
    pub fn copying_back(mut self, statement: &'static str) -> Self {
        self.copying_back.push(statement);
        self
    }

    /// The next statement that removes from old those keys that new has not. It is run before those that
    /// copy back, so that no value is taken that must be unique.
    #[must_use]
    pub fn removing_back(mut self, statement: &'static str) -> Self {
        self.removing_back.push(statement);
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

    /// The keys of new, if they are named.
    fn new_pages(&self) -> Result<Option<Pages>, Error> {
        let pages = |source: &KeySource| source.pages(dialect::<DB>(), K::KIND);
        self.new_source.as_ref().map(pages).transpose()
    }

    /// Whether there is all that a way back needs, if there is to be one.
    fn check_way_back(&self, old: &Pages) -> Result<(), Error> {
        let wrong = |message| Err(Error::new(ErrorKind::InvalidInput, message));
        if self.copying_back.is_empty() {
            return match self.removing_back.is_empty() {
                true => Ok(()),
                false => wrong(
                    "`.removing_back(…)` alone is no way back: add `.copying_back(\"INSERT …\")`",
                ),
            };
        }
        let Some(new) = self.new_pages()? else {
            return wrong(
                "a way back needs the keys of the new side: add `.new_source(…)` to the `CopySql` that has \
                 `.copying_back(…)`",
            );
        };
        if self.removing_back.is_empty() && old.missing_in(&new).is_some() {
            return wrong(
                "what is deleted on the new side would stay on the old one: add `.removing_back(\"DELETE …\")` to the \
                 `CopySql` that has `.copying_back(…)`",
            );
        }
        parse_all(&new, [&self.removing_back, &self.copying_back])
    }
}

/// Whether all of these are understood.
fn parse_all(pages: &Pages, statements: [&Vec<&'static str>; 2]) -> Result<(), Error> {
    let mut statements = statements.into_iter().flatten();
    statements.try_for_each(|text| {
        #[cfg(feature = "mysql")]
        learn_names(text, pages);
        Template::parse(text, pages).map(drop)
    })
}

/// What an error says is missing may be named where these statements name it. Literals may say anything.
#[cfg(feature = "mysql")]
fn learn_names(text: &str, pages: &Pages) {
    let scanned = pages.dialect().scan(text);
    let is_literal = |range: &&std::ops::Range<usize>| !text[range.start..].starts_with('`');
    let literals: Vec<_> = scanned.opaque.iter().filter(is_literal).collect();
    learn_words(text, |at| literals.iter().any(|range| range.contains(&at)));
}

/// Runs statements over keys, some at a time, in their order.
async fn run<DB: Backend, K: OwnedKey>(
    tx: &mut Tx<'_, DB>,
    (pages, other): (&Pages, Option<&Pages>),
    statements: [&Vec<&'static str>; 2],
    keys: &[K],
    lock: bool,
) -> Result<Copied, BoxError> {
    let parts: Vec<KeyParts> = keys.iter().map(Key::parts).collect();
    for keys in parts.chunks(NAMED_KEYS) {
        for text in statements.into_iter().flatten() {
            let template = Template::parse(text, pages)?;
            let (sql, values) = template.over((pages, other), Extent::Keys(keys), lock);
            DB::Adapter::execute(tx.connection(), &sql, &values).await?;
        }
    }
    Ok(Copied { migrated: keys.len() as u64, skipped: 0 })
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
        let (pages, new) = (self.pages()?, self.new_pages()?);
        run(tx, (&pages, new.as_ref()), [&self.copying, &self.removing], keys, true).await
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
        parse_all(&pages, [&self.copying, &self.removing])?;
        self.check_way_back(&pages)
    }

    fn held(self) -> Held<DB> {
        match self.copying_back.is_empty() {
            true => Held::one_way(self),
            false => Held::both_ways(self),
        }
    }
}

impl<DB: Backend, K: OwnedKey> CopyBack for CopySql<DB, K> {
    /// Without locks in new: a writer may hold the row in old that is about to be copied, and wait for the one
    /// in new.
    async fn copy_back(&self, tx: &mut Tx<'_, DB>, keys: &[K]) -> Result<Copied, BoxError> {
        self.check_back()?;
        let (old, new) = (self.pages()?, self.new_pages()?);
        let new = new.as_ref().ok_or("this `CopySql` has no `new_source`")?;
        run(tx, (new, Some(&old)), [&self.removing_back, &self.copying_back], keys, false).await
    }

    fn check_back(&self) -> Result<(), Error> {
        if self.copying_back.is_empty() {
            let message = "this `CopySql` has no way back: add `.copying_back(\"INSERT …\")`";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        self.check_way_back(&self.pages()?)
    }
}
