//! What hurts migrations in the running database, as somebody sees it who runs no part of the service.

use super::Operator;
use crate::doctor::decide::{KeptFindings, diagnose};
use crate::doctor::facts::Concerned;
use crate::doctor::report::{DoctorLimits, DoctorReport};
use crate::error::Error;

impl Operator {
    /// Looks for what hurts migrations in the running database: indexes that are not valid, tables without a unique key,
    /// sequences that are behind, long transactions, queues for locks, statements that a change of the schema breaks,
    /// replicas that are behind, and the settings that the preflight names. With a name, the tables of this migration
    /// alone are looked at. It reads, and changes nothing; a database without control tables is looked at, too.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{doctor::DoctorLimits, Error, operator::Operator};
    ///
    /// async fn examine(operator: &Operator) -> Result<(), Error> {
    ///     let report = operator.doctor(None, &DoctorLimits::default()).await?;
    ///     report.findings.iter().for_each(|finding| println!("{finding}"));
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn doctor(
        &self,
        name: Option<&str>,
        limits: &DoctorLimits,
    ) -> Result<DoctorReport, Error> {
        let names = match name {
            Some(name) => {
                self.migration(name).await?;
                vec![name.to_owned()]
            }
            None => match self.migrations().await {
                Ok(found) => found.into_iter().map(|one| one.name).collect(),
                Err(error) if error.is_undefined_table() => Vec::new(),
                Err(error) => return Err(error),
            },
        };
        let (mut tables, mut kept) = (Vec::new(), Vec::new());
        let contracts = match names.is_empty() {
            true => Vec::new(),
            false => self.control.contracts().await?,
        };
        for name in &names {
            let preflight = self.control.preflight(name).await?.unwrap_or_default().findings;
            let mut add = |table: &str, moved| {
                let concerned =
                    Concerned { migration: name.clone(), table: table.to_owned(), moved };
                if !tables.contains(&concerned) {
                    tables.push(concerned);
                }
            };
            preflight.iter().for_each(|finding| add(&finding.table, None));
            if let Some(expand) = self.control.expand(name).await? {
                expand.all_tables().into_iter().for_each(|table| add(table, None));
                for table in expand.tables() {
                    add(&table.name, Some(table.moved_key()));
                }
            }
            for (_, contract) in contracts.iter().filter(|(of, _)| of == name) {
                contract.objects().iter().for_each(|object| add(&object.table, None));
            }
            let hazards = self.control.hazards(name).await?;
            kept.push(KeptFindings { migration: name.clone(), preflight, hazards });
        }
        let examined = self.control.examine(&tables, limits.wait).await?;
        Ok(diagnose(&examined, &kept, limits))
    }
}
