//! A look at the catalogue: who writes the old table unseen, and whether the sequences of new are behind.

use crate::copy::run::SqlCopier;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, NewTable};
use crate::error::{Error, ErrorKind};
use crate::stages::hazard::{HazardKind, HazardScan};
use crate::state::Shared;

impl<DB: Backend> SqlCopier<DB> {
    /// The table of new, where it is one of its own in this database.
    fn new_table(&self) -> Option<NewTable> {
        let elsewhere = self.mapping.as_ref().is_some_and(|mapping| mapping.elsewhere.is_some());
        let own =
            |new: &&crate::copy::source::Pages| !elsewhere && new.table() != self.pages.table();
        let new = self.new_pages.as_ref().filter(own)?;
        Some(NewTable { table: new.table().to_owned(), columns: new.columns().to_vec() })
    }

    async fn read_catalogue(&self, shared: &Shared) -> Result<HazardScan, Error> {
        let failed = |error| Error::database("looking at the catalogue", error).of(&shared.name);
        let mut conn = self.pool.acquire().await.map_err(failed)?;
        self.scan(&shared.name, &mut conn).await.map_err(failed)
    }

    /// What the catalogue says on this connection.
    pub(crate) async fn scan(
        &self,
        migration: &str,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<HazardScan> {
        let watched = self.pages.watched(migration, self.pages.kind);
        DB::Adapter::hazards(conn, &watched, self.new_table().as_ref()).await
    }

    /// Looks, and keeps what was found for the gates.
    pub(crate) async fn find_hazards(&self, shared: &Shared) -> Result<(), Error> {
        let scan = self.read_catalogue(shared).await?;
        shared.control.record_hazards(&shared.name, &scan).await
    }

    /// Sets the sequences of new beyond what is taken. Answers with the statements.
    pub(crate) async fn advance_sequences(&self, shared: &Shared) -> Result<Vec<String>, Error> {
        let failed = |error| Error::database("advancing a sequence", error).of(&shared.name);
        let scan = self.read_catalogue(shared).await?;
        let behind = scan.hazards.into_iter().filter(|one| one.kind == HazardKind::Sequence);
        let statements: Vec<String> = behind.filter_map(|one| one.repair).collect();
        for sql in &statements {
            let mut conn = self.pool.acquire().await.map_err(failed)?;
            let sql = sql.clone();
            DB::Adapter::run_text(&mut conn, sql).await.map_err(failed)?;
        }
        let scan = self.read_catalogue(shared).await?;
        shared.control.record_hazards(&shared.name, &scan).await?;
        match scan.hazards.iter().find(|one| one.kind == HazardKind::Sequence) {
            Some(left) => {
                let message = format!("{} is behind still: {}", left.name, left.detail);
                Err(Error::new(ErrorKind::Conflict, message).of(&shared.name))
            }
            None => Ok(statements),
        }
    }
}
