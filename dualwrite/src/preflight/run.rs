//! Reads the catalogue, learns the forms of the keys from it, and asks all checks.

use super::checks::CHECKS;
use super::finding::{Finding, Preflight};
use super::keys;
use super::schema::{Subject, Table};
use crate::copy::CopyKeys;
use crate::copy::run::SqlCopier;
use crate::copy::source::Pages;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::Error;
use crate::stages::stage::Side;

/// Looks at the tables of a migration.
pub(crate) async fn look<C: CopyKeys>(copier: &SqlCopier<C>) -> Result<Preflight, Error> {
    let failed = |error| Error::database("reading the catalogue", error);
    let mut conn = copier.pool.acquire().await.map_err(failed)?;
    let (subject, mut found) = learn(copier, &mut conn).await.map_err(failed)?;
    for check in CHECKS {
        check(&subject, &mut found);
    }
    found.extend(probe(copier, &mut conn, &subject).await.map_err(failed)?);
    let complete = subject.sides().all(|side| side.table.is_some());
    Ok(Preflight::new(found, complete))
}

type Connection<C> = <<C as CopyKeys>::Database as sqlx::Database>::Connection;

/// Learns the forms of the keys; what does not fit is a finding.
pub(crate) async fn learn<C: CopyKeys>(
    copier: &SqlCopier<C>,
    conn: &mut Connection<C>,
) -> sqlx::Result<(Subject, Vec<Finding>)> {
    let elsewhere = copier.elsewhere();
    let new = elsewhere.as_ref().map(|(_, pages)| pages).or(copier.new_pages.as_ref());
    let mut names = vec![copier.pages.name()];
    names.extend(new.filter(|_| elsewhere.is_none()).map(Pages::name));
    let mut tables = <C::Database as Backend>::Adapter::catalogue(conn, &names).await?.into_iter();
    let old = tables.next().flatten();
    let other: Option<Table> = match &elsewhere {
        Some((pool, pages)) => {
            let mut there = pool.acquire().await?;
            let names = [pages.name()];
            let tables = <C::Database as Backend>::Adapter::catalogue(&mut there, &names).await?;
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
    let mut found = Vec::new();
    let form_of = <C::Database as Backend>::Adapter::key_form;
    let sides = [(Some(&copier.pages), Some(&subject.old)), (new, subject.new.as_ref())];
    for side in sides {
        if let (Some(pages), Some(schema)) = side
            && let Some(forms) = keys::forms(schema, kind, form_of, &mut found)
        {
            pages.forms().set(forms);
        }
    }
    Ok((subject, found))
}

/// Findings that need more than the catalogue.
async fn probe<C: CopyKeys>(
    _copier: &SqlCopier<C>,
    _conn: &mut Connection<C>,
    _subject: &Subject,
) -> sqlx::Result<Vec<Finding>> {
    Ok(Vec::new())
}
