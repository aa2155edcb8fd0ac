//! One run of the backfill in this process: the parts that it runs over, and the workers beside each
//! other.

use futures_util::future::{join, join_all};

use super::ledger::Part;
use super::options::BackfillOptions;
use super::worker::Worker;
use crate::control::BackfillProgress;
use crate::copy::CopyKeys;
use crate::copy::run::SqlCopier;
use crate::error::{Error, ErrorKind};
use crate::position::Generation;
use crate::shared::Shared;
use crate::stage::Side;

/// Runs a worker until the backfill is complete: first the keys that are only on the side that is copied
/// to, so that the end of the rest proves the whole.
pub(crate) async fn run<C: CopyKeys>(
    copier: &SqlCopier<C>,
    shared: &Shared,
    options: BackfillOptions,
) -> Result<BackfillProgress, Error> {
    let to = options.to;
    if to == Side::Old && !(copier.copy.can_copy_back() && copier.new_pages.is_some()) {
        let message = "a reverse copy needs `copy_back`, `can_copy_back` and `new_source`";
        return Err(Error::new(ErrorKind::Unsupported, message).of(&shared.name));
    }
    let strays = copier.new_pages.as_ref().and_then(|new| match to {
        Side::New => new.missing_in(&copier.pages),
        Side::Old => copier.pages.missing_in(new),
    });
    let mut removed = None;
    if let Some(pages) = strays {
        let worker = Worker::new(copier, shared, options.clone(), Part::Strays(to), pages);
        removed = Some(Generation(worker.run().await?.generation));
    }
    let pages = match (to, &copier.new_pages) {
        (Side::Old, Some(pages)) => pages.clone(),
        _ => copier.pages.clone(),
    };
    let worker = |options| {
        Worker::new(copier, shared, options, Part::All(to), pages.clone()).after(removed).run()
    };
    let others = (1..options.workers).map(|_| {
        let owner = uuid::Uuid::new_v4().to_string();
        worker(BackfillOptions { owner, ..options.clone() })
    });
    // What one leaves undone the others take over: whichever comes to the end has seen that all is copied.
    let (first, others) = join(worker(options.clone()), join_all(others)).await;
    others.into_iter().fold(first, Result::or)
}
