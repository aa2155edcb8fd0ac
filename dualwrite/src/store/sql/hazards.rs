//! What the catalogue said, in tables: findings and hazards.

use futures_util::future::BoxFuture;

use super::tables::SqlControl;
use crate::control::Control as _;
use crate::control::hazards::Hazards;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue};
use crate::error::Error;
use crate::preflight::finding::Preflight;
use crate::preflight::report::{Kept, PreflightReport};
use crate::stages::hazard::{Hazard, HazardKind, HazardScan, Stopped, changes};
use crate::stages::stale::StaleKind;

/// Where the generation of new is raised: a writer may be at work again.
pub(super) const FORGET_STOPPED: &str = "UPDATE dualwrite_hazard SET stopped_by = NULL, \
     stopped_because = NULL, stopped_at = NULL WHERE migration = ?";

/// The columns of a [`Hazard`].
pub(super) const HAZARD_COLUMNS: &str =
    "kind, name, detail, repair, stopped_by, stopped_because, stopped_at";

/// Those of a migration.
pub(super) const READ: &str = "SELECT kind, name, detail, repair, stopped_by, stopped_because, \
     stopped_at FROM dualwrite_hazard WHERE migration = ? ORDER BY name";

pub(super) fn hazard_of(row: &SqlRow) -> sqlx::Result<Hazard> {
    let text = |column| row.optional_text(column).map(|text| text.unwrap_or("").to_owned());
    let stopped = match row.optional_moment(6)? {
        Some(at) => Some(Stopped { actor: text(4)?, reason: text(5)?, at }),
        None => None,
    };
    Ok(Hazard {
        kind: HazardKind::named(row.text(0)?),
        name: row.text(1)?.to_owned(),
        detail: row.text(2)?.to_owned(),
        repair: row.optional_text(3)?.map(str::to_owned),
        stopped,
    })
}

impl<DB: Backend> SqlControl<DB> {
    /// Whether the shape is another one than was kept.
    async fn is_reshaped(&self, name: &str, shape: &str) -> Result<bool, Error> {
        let sql = "SELECT shape FROM dualwrite_shape WHERE migration = ?";
        let rows = self.fetch("reading the shape of the old table", sql, &[name.into()]).await?;
        let known = rows.first().map(|row| row.text(0)).transpose();
        let known = known.map_err(|error| Error::database("reading a shape", error).of(name))?;
        if known == Some(shape) {
            return Ok(false);
        }
        if known.is_some() {
            // Before the shape is kept: a crash in between must not lose it.
            self.mark_stale(name, StaleKind::Reshaped).await?;
        }
        let sql = format!(
            "INSERT INTO dualwrite_shape (migration, shape) VALUES (?, ?){}",
            DB::Adapter::DIALECT.upsert("migration", &["shape"])
        );
        let values = [name.into(), shape.into()];
        self.execute("keeping the shape of the old table", &sql, &values).await?;
        Ok(true)
    }

    async fn keep_hazards(&self, name: &str, scan: &HazardScan) -> Result<(), Error> {
        let doing = "keeping what the catalogue says";
        if let Some(shape) = &scan.shape {
            self.is_reshaped(name, shape).await?;
        }
        let changes = changes(&self.hazards(name).await?, &scan.hazards);
        if changes.withdraws {
            self.mark_stale(name, StaleKind::Writer).await?;
        }
        let sql = "DELETE FROM dualwrite_hazard WHERE migration = ? AND name = ?";
        for gone in &changes.gone {
            self.execute(doing, sql, &[name.into(), gone.as_str().into()]).await?;
        }
        let sql = format!(
            "INSERT INTO dualwrite_hazard (migration, name, kind, detail, repair, found_at) \
             VALUES (?, ?, ?, ?, ?, {{now}}){}",
            DB::Adapter::DIALECT.upsert("migration, name", &["kind", "detail", "repair"])
        );
        for hazard in &changes.store {
            let values = [
                name.into(),
                hazard.name.as_str().into(),
                hazard.kind.as_str().into(),
                hazard.detail.as_str().into(),
                SqlValue::Text(hazard.repair.clone()),
            ];
            self.execute(doing, &sql, &values).await?;
        }
        Ok(())
    }
}

impl<DB: Backend> Hazards for SqlControl<DB> {
    fn record_hazards<'a>(
        &'a self,
        name: &'a str,
        scan: &'a HazardScan,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.keep_hazards(name, scan))
    }

    fn hazards<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Hazard>, Error>> {
        Box::pin(async move {
            let doing = "reading what the catalogue said";
            let rows = self.fetch(doing, READ, &[name.into()]).await?;
            let hazards = rows.iter().map(hazard_of).collect::<sqlx::Result<_>>();
            hazards.map_err(|error| Error::database(doing, error).of(name))
        })
    }

    fn record_preflight<'a>(
        &'a self,
        name: &'a str,
        instance: &'a str,
        found: &'a Preflight,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let sql = format!(
                "INSERT INTO dualwrite_preflight (migration, findings, instance, at) \
                 VALUES (?, ?, ?, {{now}}){}",
                DB::Adapter::DIALECT.upsert("migration", &["findings", "instance", "at"])
            );
            let text = Kept::of(found).to_text();
            let values = [name.into(), text.as_str().into(), instance.into()];
            self.execute("keeping what the preflight found", &sql, &values).await.map(drop)
        })
    }

    fn preflight<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<PreflightReport>, Error>> {
        Box::pin(async move {
            let doing = "reading what the preflight found";
            let sql = "SELECT findings, instance, at FROM dualwrite_preflight WHERE migration = ?";
            let rows = self.fetch(doing, sql, &[name.into()]).await?;
            let report = rows.first().map(report_of).transpose();
            Ok(report.map_err(|error| Error::database(doing, error).of(name))?.flatten())
        })
    }
}

/// `None` where another release wrote what this one does not understand.
fn report_of(row: &SqlRow) -> sqlx::Result<Option<PreflightReport>> {
    let Some(kept) = Kept::of_text(row.text(0)?) else { return Ok(None) };
    Ok(Some(kept.by(row.text(1)?, row.moment(2)?)))
}
