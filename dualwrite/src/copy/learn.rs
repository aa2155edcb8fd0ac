//! Reads the catalogue, and learns from it how the keys of both sides are read, bound and compared.

use super::CopyKeys;
use super::run::SqlCopier;
use super::source::Pages;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::preflight::finding::Finding;
use crate::preflight::keys;
use crate::preflight::schema::{Subject, Table};
use crate::stages::stage::Side;

pub(crate) type Connection<C> = <<C as CopyKeys>::Database as sqlx::Database>::Connection;

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
