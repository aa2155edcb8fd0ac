//! What a verification compares, and how.

use super::statements::Statements;
use crate::copy::mapping::Mapping;
use crate::copy::run::{SqlCopier, dialect};
use crate::copy::source::{Bound, KeyParts, Pages};
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::key::KeyKind;
use crate::stages::stage::Side;
use crate::state::Shared;

/// What is compared, and how.
pub(crate) struct Plan<'a, DB: Backend> {
    pub(crate) copier: &'a SqlCopier<DB>,
    pub(crate) shared: &'a Shared,
    pub(crate) statements: Statements,
    /// The keys that new alone has, where a pass of its own finds them.
    pub(super) orphans: Option<Pages>,
}

impl<'a, DB: Backend> Plan<'a, DB> {
    pub(crate) fn new(copier: &'a SqlCopier<DB>, shared: &'a Shared) -> Result<Self, Error> {
        let kind = copier.pages.kind;
        let has_text_key = kind.columns().any(|column| column == KeyKind::TEXT);
        let none = Mapping::new();
        let mapping = copier.mapping.as_ref();
        let elsewhere = mapping.and_then(|mapping| mapping.elsewhere.as_ref());
        let new = match (elsewhere, &copier.new_pages, mapping) {
            (Some((_, source)), _, _) => source.pages(dialect::<DB>(), kind)?,
            (None, Some(pages), _) => pages.clone(),
            (None, None, None) => copier.pages.clone(),
            (None, None, Some(_)) => {
                let message = "a verification by a `mapping` needs `new_source`";
                return Err(Error::new(ErrorKind::Unsupported, message).of(&shared.name));
            }
        };
        let mapped = mapping.unwrap_or(&none);
        let statements =
            Statements::new(mapped, &copier.pages, &new, has_text_key, &copier.learned)?;
        let apart = mapping.is_none() || statements.orphans_apart;
        let orphans = copier.new_pages.as_ref().filter(|_| apart && elsewhere.is_none());
        let orphans = orphans.and_then(|pages| pages.missing_in(&copier.pages));
        Ok(Self { copier, shared, statements, orphans })
    }

    pub(crate) fn mapping(&self) -> Option<&Mapping<DB>> {
        self.copier.mapping.as_ref()
    }

    pub(crate) fn failed(&self, doing: &'static str) -> impl Fn(sqlx::Error) -> Error + use<DB> {
        let name = self.shared.name.clone();
        move |error| Error::database(doing, error).of(&name)
    }

    /// Keys that a statement answers with.
    pub(crate) async fn keys(
        &self,
        conn: &mut DB::Connection,
        (sql, values): &Bound,
    ) -> Result<Vec<KeyParts>, Error> {
        let rows = DB::Adapter::fetch(conn, sql, values).await;
        let rows = rows.map_err(self.failed("reading keys to verify"))?;
        rows.into_iter().map(|row| self.statements.pages(Side::Old).key_of(row)).collect()
    }
}
