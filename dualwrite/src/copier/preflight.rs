//! The preflight of a migration: reads the catalogue, asks all checks, and what more has to be asked.

use crate::copy::learn::{Connection, learn};
use crate::copy::run::SqlCopier;
use crate::copy::source::Pages;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::Error;
use crate::preflight::checks::CHECKS;
use crate::preflight::finding::{Finding, FindingLevel, Preflight};
use crate::preflight::rows::{self, TableNotes};
use crate::preflight::schema::{SideSchema, Subject};
use crate::stages::hazard::{HazardKind, HazardScan};
use crate::stages::stage::Side;
use crate::verify::equality;

/// Looks at the tables of a migration.
pub(crate) async fn run_preflight<DB: Backend>(
    copier: &SqlCopier<DB>,
    migration: &str,
) -> Result<(Preflight, Option<HazardScan>), Error> {
    let failed = |error| Error::database("reading the catalogue", error);
    let mut conn = copier.pool.acquire().await.map_err(failed)?;
    let (subject, mut found) = learn(copier, &mut conn).await.map_err(failed)?;
    for check in CHECKS {
        check(&subject, &mut found);
    }
    let probed = probe(copier, migration, &mut conn, &subject).await.map_err(failed)?;
    let scan = probed.map(|(scan, more)| {
        found.extend(more);
        scan
    });
    let complete = subject.sides().all(|side| side.table.is_some());
    drop(conn);
    if complete {
        equality::learn(copier).await?;
    }
    Ok((Preflight::new(found, complete), scan))
}

/// Findings that need more than the catalogue; `None` where a table is not there yet.
async fn probe<DB: Backend>(
    copier: &SqlCopier<DB>,
    migration: &str,
    conn: &mut Connection<DB>,
    subject: &Subject,
) -> sqlx::Result<Option<(HazardScan, Vec<Finding>)>> {
    if subject.sides().any(|side| side.table.is_none()) {
        return Ok(None);
    }
    let scan = copier.scan(migration, conn).await?;
    let mut found = findings(&scan, copier);
    found.extend(rows_found(copier, conn, subject).await?);
    Ok(Some((scan, found)))
}

/// What is told of the rows that a copy writes.
async fn rows_found<DB: Backend>(
    copier: &SqlCopier<DB>,
    conn: &mut Connection<DB>,
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
        let notes = DB::Adapter::table_notes(conn, pages.table()).await?;
        rows::notes(side, &notes, &mut found);
        if !one_table
            && is_renumbered::<DB>(conn, (side, &notes), (&subject.old, &copier.pages)).await?
        {
            rows::zero(side, &notes, &mut found);
        }
    }
    if !one_table && subject.old.table.is_some() {
        let notes = DB::Adapter::table_notes(conn, copier.pages.table()).await?;
        rows::unsound(&subject.old, &notes, &mut found);
        // It is written by a reverse copy.
        if let Some((new, pages)) = written.filter(|(new, _)| new.table.is_some())
            && is_renumbered::<DB>(conn, (&subject.old, &notes), (new, pages)).await?
        {
            rows::zero(&subject.old, &notes, &mut found);
        }
    }
    Ok(found)
}

/// Whether the other side has a row whose key would become another number here. The key has an index, mostly; where its
/// column does not lead one, this reads the table.
async fn is_renumbered<DB: Backend>(
    conn: &mut Connection<DB>,
    (side, notes): (&SideSchema, &TableNotes),
    (from, pages): (&SideSchema, &Pages),
) -> sqlx::Result<bool> {
    let Some(place) = rows::renumbered(side, from, notes) else { return Ok(false) };
    let sql =
        format!("SELECT 1 FROM {} WHERE {} = 0 LIMIT 1", pages.table(), pages.columns()[place]);
    Ok(!DB::Adapter::fetch(conn, &sql, &[]).await?.is_empty())
}

/// What is told of writers that no trigger sees, and of sequences: the gates of `Complete` go by it.
fn findings<DB: Backend>(scan: &HazardScan, copier: &SqlCopier<DB>) -> Vec<Finding> {
    let plain = |table: &str| table.replace(['"', '`'], "");
    let old = plain(copier.pages.table());
    let new = copier.new_pages.as_ref().map_or_else(|| old.clone(), |new| plain(new.table()));
    let hazards = scan.hazards.iter().map(|hazard| {
        let (side, table) = match hazard.kind {
            HazardKind::Sequence => (Side::New, new.as_str()),
            _ => (Side::Old, old.as_str()),
        };
        let action = match (&hazard.repair, hazard.kind.is_writer()) {
            (Some(repair), _) if hazard.kind == HazardKind::Sequence => {
                format!("before `Complete`, give the command `advance-sequences`, or run: {repair}")
            }
            (Some(repair), _) => format!("before `Complete`, run: {repair}"),
            (None, true) => {
                "before `Complete`, stop it and record that with the command `writer-stopped`"
                    .into()
            }
            (None, false) => "repair it before `Complete`".into(),
        };
        let why = format!("{}: {}", hazard.name, hazard.detail);
        let place = (side, table, None);
        Finding::new(hazard.kind.as_str(), FindingLevel::Warn, place, why, action)
    });
    let notes = scan.notes.iter().map(|(check, why, action)| {
        let place = (Side::Old, old.as_str(), None);
        Finding::new(check, FindingLevel::Note, place, why.as_str(), *action)
    });
    hazards.chain(notes).collect()
}
