//! Reads the catalogue, and learns from it how the keys of both sides are read, bound and compared.

use super::run::SqlCopier;
use super::source::Pages;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::preflight::finding::Finding;
use crate::preflight::keys;
use crate::preflight::schema::{Subject, Table};
use crate::stages::stage::Side;

pub(crate) type Connection<DB> = <DB as sqlx::Database>::Connection;

/// Learns the forms of the keys; what does not fit is a finding.
pub(crate) async fn learn<DB: Backend>(
    copier: &SqlCopier<DB>,
    conn: &mut Connection<DB>,
) -> sqlx::Result<(Subject, Vec<Finding>)> {
    let elsewhere = copier.elsewhere();
    let new = elsewhere.as_ref().map(|(_, pages)| pages).or(copier.new_pages.as_ref());
    let mut names = vec![copier.pages.name()];
    names.extend(new.filter(|_| elsewhere.is_none()).map(Pages::name));
    let mut tables = DB::Adapter::catalogue(conn, &names).await?.into_iter();
    let old = tables.next().flatten();
    let other: Option<Table> = match &elsewhere {
        Some((pool, pages)) => {
            let mut there = pool.acquire().await?;
            let names = [pages.name()];
            let tables = DB::Adapter::catalogue(&mut there, &names).await?;
            tables.into_iter().next().flatten()
        }
        None => tables.next().flatten(),
    };
    let kind = copier.pages.kind;
    let subject = Subject {
        kind,
        old: copier.pages.schema(Side::Old, old),
        new: new.map(|pages| pages.schema(Side::New, other)),
    };
    let (mut found, mut known) = (Vec::new(), Vec::new());
    let form_of = DB::Adapter::key_form;
    let sides = [(Some(&copier.pages), Some(&subject.old)), (new, subject.new.as_ref())];
    for side in sides {
        if let (Some(pages), Some(schema)) = side
            && let Some(forms) = keys::forms(schema, kind, !known.is_empty(), form_of, &mut found)
        {
            known.push(forms.clone());
            if let Some(before) = pages.forms().get() {
                keys::changed(schema, (&before, &forms), &mut found);
            } else if !forms.iter().any(|form| form.is_unsettled) {
                pages.forms().set(forms);
            }
        }
    }
    if let ([old, new], Some(side)) = (known.as_slice(), &subject.new) {
        keys::compared((old, new), side, elsewhere.is_some(), &mut found);
    }
    Ok((subject, found))
}

impl<DB: Backend> SqlCopier<DB> {
    /// Whether all is known of the keys that the catalogue can say.
    fn knows_keys(&self) -> bool {
        let knows = |pages: &Pages| pages.forms().get().is_some();
        knows(&self.pages) && self.new_pages.as_ref().is_none_or(knows)
    }

    /// Learns what is not known yet: tables may have been made since the registration.
    pub(crate) async fn learn_keys(&self) -> Result<(), Error> {
        if self.knows_keys() {
            return Ok(());
        }
        let failed = |error| Error::database("reading the catalogue", error);
        let mut conn = self.pool.acquire().await.map_err(failed)?;
        learn(self, &mut conn).await.map(drop).map_err(failed)
    }

    /// The same on a connection that is there.
    pub(crate) async fn learn_keys_on(&self, conn: &mut Connection<DB>) -> Result<(), Error> {
        if self.knows_keys() {
            return Ok(());
        }
        let failed = |error| Error::database("reading the catalogue", error);
        learn(self, conn).await.map(drop).map_err(failed)
    }

    /// Fails where a key column has another type or collation than this process has learned, or where a table has a row
    /// without a key. Rows may be left out then, or taken for equal, and nothing would miss them: it is asked before a job
    /// begins, and before what it came to counts.
    pub(crate) async fn check_keys(&self) -> Result<(), Error> {
        let failed = |error| Error::database("reading the catalogue", error);
        let mut conn = self.pool.acquire().await.map_err(failed)?;
        self.check_forms(&mut conn).await?;
        for pages in std::iter::once(&self.pages).chain(&self.new_pages) {
            let Some(sql) = pages.without_key() else { continue };
            let failed = |error| Error::database("looking for rows without a key", error);
            let rows = DB::Adapter::fetch(&mut conn, &sql, &[]).await;
            for row in rows.map_err(failed)? {
                pages.key_of(row)?;
            }
        }
        Ok(())
    }

    /// The first half of it.
    pub(crate) async fn check_forms(&self, conn: &mut Connection<DB>) -> Result<(), Error> {
        let failed = |error| Error::database("reading the catalogue", error);
        let (_, found) = learn(self, conn).await.map_err(failed)?;
        match found.iter().find(|finding| finding.check == keys::CHANGED) {
            Some(changed) => Err(Error::new(ErrorKind::WrongKey, changed.to_string())),
            None => Ok(()),
        }
    }

    /// Fails where several rows of a table have one key: they are copied and compared as one. Where no unique index
    /// says that there are none, this reads the whole table. A copy function without a mapping compares by itself, and
    /// may know what several rows of a key mean: a record that is split into versions, for example.
    pub(crate) async fn check_repeats(&self) -> Result<(), Error> {
        if self.mapping.is_none() {
            return Ok(());
        }
        for pages in std::iter::once(&self.pages).chain(&self.new_pages) {
            let Some(sql) = pages.repeated() else { continue };
            let failed = |error| Error::database("looking for keys that several rows have", error);
            let mut conn = self.pool.acquire().await.map_err(failed)?;
            if !DB::Adapter::fetch(&mut conn, &sql, &[]).await.map_err(failed)?.is_empty() {
                let message = format!(
                    "table {}: several rows have one key ({}) and are copied and compared as one; remove all but one, \
                     make a unique index on the key, or use another key",
                    pages.table().replace(['"', '`'], "`"),
                    pages.columns().join(", ").replace(['"', '`'], "`"),
                );
                return Err(Error::new(ErrorKind::WrongKey, message));
            }
        }
        Ok(())
    }
}
