//! The preflight of a migration: reads the catalogue, asks all checks, and what more has to be asked.

use crate::copy::CopyKeys;
use crate::copy::learn::{Connection, learn};
use crate::copy::run::SqlCopier;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::Error;
use crate::preflight::checks::CHECKS;
use crate::preflight::finding::{Finding, Preflight};
use crate::preflight::rows;
use crate::preflight::schema::Subject;

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

/// Findings that need more than the catalogue.
async fn probe<C: CopyKeys>(
    copier: &SqlCopier<C>,
    conn: &mut Connection<C>,
    subject: &Subject,
) -> sqlx::Result<Vec<Finding>> {
    let mut found = Vec::new();
    let one_table = subject.new.as_ref().is_none_or(|new| new.name == subject.old.name);
    let written = match (one_table, &subject.new, &copier.new_pages) {
        (false, Some(new), Some(pages)) if copier.elsewhere().is_none() => Some((new, pages)),
        (true, _, _) => Some((&subject.old, &copier.pages)),
        _ => None,
    };
    if let Some((side, pages)) = written.filter(|(side, _)| side.table.is_some()) {
        let notes = <C::Database as Backend>::Adapter::table_notes(conn, pages.table()).await?;
        rows::notes(side, &notes, &mut found);
    }
    Ok(found)
}
