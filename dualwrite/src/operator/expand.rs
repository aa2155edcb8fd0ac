//! Expands, as somebody looks at them who runs no part of the service.

use super::Operator;
use crate::error::Error;
#[cfg(feature = "schema")]
use crate::error::ErrorKind;
use crate::migration::expanding::Expanding;
use crate::preflight::live::Live;
#[cfg(feature = "schema")]
use crate::schema::status::{probes, status};
#[cfg(feature = "schema")]
use crate::schema::{FileStatus, Folder, SqlDialect};

impl Operator {
    /// The expand of a migration; see [`Expanding`]. What is new was declared by a release of the service.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn show(operator: &dualwrite::operator::Operator) -> Result<(), dualwrite::Error> {
    ///     println!("{:?}", operator.expand("customer-email").check().await?);
    ///     Ok(())
    /// }
    /// # }
    /// ```
    pub fn expand<'o>(&'o self, name: &'o str) -> Expanding<'o> {
        Expanding::new(&*self.control, name, None)
    }

    /// What the database says of these tables now: their sizes, who points to them, who follows the server. Reads only,
    /// at most [`SMALL_TABLE_ROWS`](crate::defaults::SMALL_TABLE_ROWS) rows of each; tables that are not there are left out. It needs
    /// no control tables.
    ///
    /// ```
    /// # #[cfg(feature = "schema")] mod example {
    /// use dualwrite::schema::{Folder, SqlDialect};
    /// use dualwrite::operator::Operator;
    ///
    /// async fn check(operator: &Operator) -> Result<(), Box<dyn std::error::Error>> {
    ///     let folder = Folder::read("migrations")?;
    ///     let live = operator.live(&folder.tables(SqlDialect::Postgres)).await?;
    ///     for statement in folder.check_live(SqlDialect::Postgres, &live) {
    ///         println!("{} {}", statement.found.verdict.level, statement.found.verdict.reason);
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Database`.
    pub async fn live(&self, tables: &[String]) -> Result<Live, Error> {
        self.control.live(tables).await
    }

    /// The files of a folder that are not applied: which of them failed half-way, what of it stands, what undoes that, and
    /// how to go on. Reads only; it needs no control tables.
    ///
    /// ```
    /// use dualwrite::operator::Operator;
    /// use dualwrite::schema::{FileState, Folder};
    ///
    /// async fn show(operator: &Operator) -> Result<(), Box<dyn std::error::Error>> {
    ///     for file in operator.schema_status(&Folder::read("migrations")?).await? {
    ///         if file.state != FileState::Pending {
    ///             println!("{}: {}", file.version, file.next.join("; "));
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// `Unsupported` without a database, `Database`.
    #[cfg(feature = "schema")]
    pub async fn schema_status(&self, folder: &Folder) -> Result<Vec<FileStatus>, Error> {
        let message = "control tables in memory have no schema beside them";
        let dialect = self.control.dialect();
        let dialect = dialect.ok_or_else(|| Error::new(ErrorKind::Unsupported, message))?;
        let dialect = match (dialect.numbered, dialect.on_duplicate_key) {
            (true, _) => SqlDialect::Postgres,
            (_, true) => SqlDialect::Mysql,
            _ => SqlDialect::Sqlite,
        };
        let records = self.control.sqlx_records().await?;
        let tables = folder.tables(dialect);
        let names: Vec<&str> = tables.iter().map(String::as_str).collect();
        let shape = self.control.shape(&names).await?;
        let mut holding = Vec::new();
        for probe in probes(folder, &shape, dialect) {
            if self.control.answers(&probe).await? {
                holding.push(probe);
            }
        }
        Ok(status(folder, &records, &shape, &holding, dialect))
    }
}
