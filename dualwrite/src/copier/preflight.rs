//! The preflight of a migration: reads the catalogue, asks all checks, and what more has to be asked.

use crate::copy::CopyKeys;
use crate::copy::learn::{Connection, learn};
use crate::copy::run::SqlCopier;
use crate::error::Error;
use crate::preflight::checks::CHECKS;
use crate::preflight::finding::{Finding, Preflight};
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
    _copier: &SqlCopier<C>,
    _conn: &mut Connection<C>,
    _subject: &Subject,
) -> sqlx::Result<Vec<Finding>> {
    Ok(Vec::new())
}
