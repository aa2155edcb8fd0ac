//! Compares all keys, page by page, while the service goes on writing. The rows are locked while they are
//! compared, so a difference is a difference and no write in flight.

use serde::Serialize;

use crate::backend::Backend;
use crate::backend::sealed::Adapter as _;
use crate::copy::CopyKeys;
use crate::copy::run::{SqlCopier, typed_key};
use crate::copy::source::{KeyParts, Pages, key_of};
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, Key};
use crate::shared::Shared;
use crate::stage::Stage;

/// How many differing keys a report names.
pub const DIFFERING_MAX: usize = 100;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Keys compared; a key that both passes see counts twice.
    pub compared: u64,
    /// Keys that old and new disagree on.
    pub differing: u64,
    /// The first of them, as JSON.
    pub keys: Vec<String>,
    /// The generation that this proves, where nothing differs.
    pub generation: u64,
}

impl VerifyReport {
    /// Whether old and new agree.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differing == 0
    }
}

/// Runs over the keys of old, then over those of new, and records a clean result.
pub(crate) async fn verify<C: CopyKeys>(
    copier: &SqlCopier<C>,
    shared: &Shared,
    batch: u32,
) -> Result<VerifyReport, Error> {
    let record = shared.refresh().await?;
    let mut report = VerifyReport { generation: record.generation.0, ..VerifyReport::default() };
    pass(copier, shared, &copier.pages, batch, &mut report).await?;
    if let Some(pages) = &copier.new_pages {
        pass(copier, shared, pages, batch, &mut report).await?;
    }
    if report.is_clean() {
        let generations = [record.generation, record.old_generation];
        shared.control.verified(&shared.name, generations).await?;
        shared.refresh().await?;
    }
    tracing::info!(
        migration = &*shared.name,
        generation = report.generation,
        compared = report.compared,
        differing = report.differing,
        "verification"
    );
    Ok(report)
}

async fn pass<C: CopyKeys>(
    copier: &SqlCopier<C>,
    shared: &Shared,
    pages: &Pages,
    batch: u32,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    let mut after: Option<KeyParts> = None;
    loop {
        let (mut tx, position) = copier.begin(shared).await?;
        if !position.stage.writes_both() || position.reaches() == Stage::Complete {
            let message =
                format!("a verification cannot run at {position}: old and new drift apart");
            return Err(Error::new(ErrorKind::Blocked, message).of(&shared.name));
        }
        let (sql, values) = pages.page(after.as_ref(), None, batch, true);
        let rows = <C::Database as Backend>::Adapter::fetch(tx.connection(), &sql, &values).await;
        let rows = rows.map_err(|error| Error::database("reading keys to verify", error))?;
        let keys: Vec<KeyParts> = rows
            .into_iter()
            .map(|row| key_of(row, <C::Key as Key>::KIND))
            .collect::<Result<_, _>>()?;
        let Some(last) = keys.last().cloned() else {
            return tx.rollback().await;
        };
        let typed = keys.iter().map(typed_key).collect::<Result<Vec<C::Key>, Error>>()?;
        let differing = copier.copy.differing(&mut tx, &typed).await.map_err(|error| {
            Error::new(ErrorKind::CopyFailed, "the comparison failed")
                .caused_by(error)
                .of(&shared.name)
        })?;
        tx.rollback().await?;
        report.compared += typed.len() as u64;
        for key in differing {
            let key = EncodedKey::new(&key)?.0;
            if !report.keys.contains(&key) {
                report.differing += 1;
                if report.keys.len() < DIFFERING_MAX {
                    report.keys.push(key);
                }
            }
        }
        after = Some(last);
    }
}
