//! One run of the backfill in this process: the parts that it runs over, and the workers beside each
//! other.

use crate::database::Backend;

use super::crew;
use super::options::BackfillOptions;
use super::worker::Worker;
use crate::control::BackfillProgress;
use crate::copy::run::SqlCopier;
use crate::copy::source::Pages;
use crate::error::Error;
use crate::stages::position::Generation;
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::store::ledger::Phase;

/// Runs a worker until the backfill is complete: first the keys that are only on the side that is copied
/// to are removed, then the rest is copied. A row that old lacks cannot be locked by a delete that passes it;
/// so on the way to old what was left over by such deletes is removed in the end.
pub(crate) async fn run<DB: Backend>(
    copier: &SqlCopier<DB>,
    shared: &Shared,
    options: BackfillOptions,
) -> Result<BackfillProgress, Error> {
    let to = options.to;
    copier.check_keys().await.map_err(|error| error.of(&shared.name))?;
    if to == Side::Old {
        copier.needs_way_back(shared)?;
    }
    let orphans = copier.new_pages.as_ref().and_then(|new| match to {
        Side::New => new.missing_in(&copier.pages),
        Side::Old => copier.pages.missing_in(new),
    });
    let mut before = None;
    if let Some(orphans) = &orphans {
        let options = options.clone();
        let worker = Worker::new(copier, shared, options, Phase::Orphans(to), orphans.clone());
        before = Some(Generation(worker.run().await?.generation));
    }
    match (to, &copier.new_pages, orphans) {
        (Side::Old, Some(new), Some(orphans)) => {
            let copied = crew(copier, shared, &options, (Phase::Back, new), before).await?;
            // A delete that passed old before its row was there has reached new by then; every later one
            // meets the row in old.
            copier.wait_for_writes(shared).await?;
            let worker = Worker::new(copier, shared, options, Phase::Rest, orphans);
            worker.after(Some(Generation(copied.generation))).run().await
        }
        (Side::Old, Some(new), None) => {
            crew(copier, shared, &options, (Phase::All(to), new), before).await
        }
        _ => crew(copier, shared, &options, (Phase::All(to), &copier.pages), before).await,
    }
}

/// The workers of this process on one phase.
async fn crew<DB: Backend>(
    copier: &SqlCopier<DB>,
    shared: &Shared,
    options: &BackfillOptions,
    (phase, pages): (Phase, &Pages),
    before: Option<Generation>,
) -> Result<BackfillProgress, Error> {
    crew::run(options.workers, |place| {
        let owner = match place.is_first() {
            true => options.owner.clone(),
            false => uuid::Uuid::new_v4().to_string(),
        };
        let options = BackfillOptions { owner, ..options.clone() };
        Worker::new(copier, shared, options, phase, pages.clone()).after(before).work(Some(place))
    })
    .await
}
