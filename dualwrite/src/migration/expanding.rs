//! [`Expanding`]: checks and plans the expand of a migration.

use serde::Serialize;

use crate::contract::relax::quoted;
use crate::control::Control;
use crate::copier::joined::Joined;
use crate::database::Dialect;
use crate::error::{Error, ErrorKind};
use crate::expand::decide::needs;
use crate::expand::declared::Expand;
use crate::expand::need::{Need, Place};
use crate::expand::plan::ExpandPlan;
use crate::expand::spell;
use crate::expand::tighten::{not_null, tightening};
use crate::preflight::finding::FindingLevel::Warn;
use crate::preflight::finding::{Finding, FindingLevel};
use crate::stages::stage::Stage;

/// What matters only while the old side alone may be written.
const STRICT: [&str; 2] = ["expand_not_null", "expand_default"];

/// The expand of a migration: whether everything new is there and can hold what old holds, and the migration files that
/// make what is missing. From [`Migration::expand`](crate::Migration::expand) or
/// [`Operator::expand`](crate::operator::Operator::expand). It reads the catalogue and changes nothing.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{Error, Migration};
///
/// async fn prepare(migration: &Migration) -> Result<(), Error> {
///     if !migration.expand().check().await?.is_ready() {
///         for file in migration.expand().plan().await?.files(20_260_301) {
///             println!("-- {}\n{}", file.name, file.text);
///         }
///     }
///     Ok(())
/// }
/// # }
/// ```
#[derive(Clone, Copy)]
#[must_use = "check it or plan it"]
pub struct Expanding<'m> {
    control: &'m dyn Control,
    name: &'m str,
    /// Where this process runs the migration.
    shared: Option<&'m Joined>,
}

impl std::fmt::Debug for Expanding<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expanding").field("migration", &self.name).finish_non_exhaustive()
    }
}

/// What the catalogue says of an expand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpandReport {
    /// The migration.
    pub migration: String,
    /// What is missing or does not fit, the weightiest first. Those of the level `Refuse` keep `DualWrite` shut.
    pub findings: Vec<Finding>,
}

impl ExpandReport {
    /// Whether both sides can be written: nothing found is of the level `Refuse`.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.findings.iter().all(|finding| finding.level < FindingLevel::Refuse)
    }
}

impl<'m> Expanding<'m> {
    pub(crate) fn new(control: &'m dyn Control, name: &'m str, shared: Option<&'m Joined>) -> Self {
        Self { control, name, shared }
    }

    fn refused(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, message).of(self.name)
    }

    async fn declared(&self) -> Result<Expand, Error> {
        if let Some(shared) = self.shared
            && let Some(expand) = &shared.options.expand
        {
            return Ok(expand.clone());
        }
        if self.shared.is_none() {
            self.control.check_version().await?;
        }
        let message = "no release has declared what is new: `registration.expand(Expand::new()…)`";
        let declared = self.control.expand(self.name).await?;
        declared.ok_or_else(|| self.refused(ErrorKind::InvalidInput, message))
    }

    async fn needs(&self) -> Result<(Vec<Need>, &'static Dialect), Error> {
        let message = "control tables in memory have no schema beside them";
        let dialect = self.control.dialect();
        let dialect = dialect.ok_or_else(|| self.refused(ErrorKind::Unsupported, message))?;
        let expand = self.declared().await?;
        let shape =
            self.control.shape(&expand.all_tables()).await.map_err(|error| error.of(self.name))?;
        let mut found = needs(&expand, &shape, dialect);
        if self.control.facts(self.name).await?.position.stage == Stage::Complete {
            // The new side alone is written, and may be as strict as it was before.
            found.retain(|need| !STRICT.contains(&&*need.finding.check));
        }
        Ok((found, dialect))
    }

    /// The statements that make the new columns as strict as the old ones: NOT NULL, and defaults. Generate their files at
    /// `Complete`: at an earlier stage, or on a way back to one that writes the old side alone, an INSERT without the new
    /// column would be refused. What stands against it is among [`by_hand`](ExpandPlan::by_hand); then do not apply them
    /// yet.
    ///
    /// ```
    /// # async fn files(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
    /// let plan = migration.expand().tighten().await?;
    /// if plan.by_hand.is_empty() {
    ///     plan.files(20_260_501).iter().for_each(|file| println!("{}\n{}", file.name, file.text));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub async fn tighten(&self) -> Result<ExpandPlan, Error> {
        let message = "control tables in memory have no schema beside them";
        let dialect = self.control.dialect();
        let dialect = dialect.ok_or_else(|| self.refused(ErrorKind::Unsupported, message))?;
        let expand = self.declared().await?;
        let shape =
            self.control.shape(&expand.all_tables()).await.map_err(|error| error.of(self.name))?;
        let mut found = tightening(&expand, &shape, dialect);
        if !found.is_empty() {
            let facts = self.control.facts(self.name).await?;
            if facts.position.stage != Stage::Complete || !facts.new.backfilled {
                let why = format!(
                    "the migration stands at {}{}, where somebody may write the old side alone",
                    facts.position,
                    if facts.new.backfilled { "" } else { ", not everything is copied" }
                );
                let action = "apply these statements at complete";
                found.extend(found.first().map(|need| need.also("tighten_early", why, action)));
            }
        }
        for (table, column) in not_null(&expand, &shape) {
            let (on, own) = (spell::table(table, dialect), quoted(column, dialect));
            if self
                .control
                .answers(&format!("SELECT 1 FROM {on} WHERE {own} IS NULL LIMIT 1"))
                .await?
            {
                let why = "rows have no value in the new column".to_owned();
                let action = "copy them, or give them one, before it takes no NULL";
                found.push(Place::new(table, Some(column)).need("tighten_null", Warn, why, action));
            }
        }
        Ok(ExpandPlan::tightening(self.name, found, dialect))
    }

    /// Compares what is declared with the catalogue.
    ///
    /// # Errors
    /// `InvalidInput` where nothing is declared as new, `Unsupported` without a database, `UnknownMigration`,
    /// `Database`.
    pub async fn check(&self) -> Result<ExpandReport, Error> {
        let (needs, _) = self.needs().await?;
        let mut findings: Vec<Finding> = needs.into_iter().map(|need| need.finding).collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        Ok(ExpandReport { migration: self.name.to_owned(), findings })
    }

    /// The statements that make what is missing, and what has to be done by hand.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub async fn plan(&self) -> Result<ExpandPlan, Error> {
        let (needs, dialect) = self.needs().await?;
        Ok(ExpandPlan::new(self.name, needs, dialect))
    }
}
