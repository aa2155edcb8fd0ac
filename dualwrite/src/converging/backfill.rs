//! The backfill of converging mode: says page by page which keys are to be copied, and copies them.

use std::time::Duration;

use crate::backfill::decide::check_stage;
use crate::backfill::options::BackfillOptions;
use crate::backfill::progress::Display;
use crate::clock;
use crate::control::BackfillProgress;
use crate::converging::repair::settle_all;
use crate::converging::two::Two;
use crate::error::{Error, ErrorKind};
use crate::pace::rate::rate_pause;
use crate::stages::position::Generation;
use crate::stages::stage::Side;
use crate::state::{Shared, unknown_migration};
use crate::store::converging::paging::Place;
use crate::store::ledger::{Ledger, Phase, State};

/// Keys that are marked to be copied at once, at the most.
const PAGE_KEYS: u32 = 500;
const PAUSED_POLL: Duration = Duration::from_millis(250);

/// Copies every key of either side to this one; what the other side lacks is removed.
pub(crate) async fn run(
    shared: &Shared,
    two: &Two,
    options: &BackfillOptions,
) -> Result<BackfillProgress, Error> {
    let to = options.to;
    let facts = shared.control.facts(&shared.name).await?;
    check_stage(facts.position, to, &shared.name)?;
    let generation = match to {
        Side::New => facts.new.generation,
        Side::Old => facts.old.generation,
    };
    if to == Side::Old && generation == Generation::FIRST {
        let message =
            "nothing was ever written to the new side alone: there is nothing to copy back";
        return Err(Error::new(ErrorKind::Blocked, message).of(&shared.name));
    }
    let phase = |phase, source| {
        let (migration, owner) = (&*shared.name, &*options.owner);
        let ledger = Ledger { migration, phase, generation, owner, lease: options.lease };
        work_off(shared, two, options, ledger, source)
    };
    phase(Phase::Orphans(to), to).await?;
    let progress = phase(Phase::All(to), to.other()).await?;
    shared.refresh().await?;
    Ok(progress)
}

/// Works until one phase is complete, alone or beside others.
async fn work_off(
    shared: &Shared,
    two: &Two,
    options: &BackfillOptions,
    ledger: Ledger<'_>,
    source: Side,
) -> Result<BackfillProgress, Error> {
    let mut display = Display::new(&shared.name);
    let mut failures = 0;
    let refused = |kind, message: &str| Err(Error::new(kind, message).of(&shared.name));
    loop {
        let start = shared.clock.now();
        let place = two.marks.place(shared, &ledger, options.rate).await?;
        let Some(place) = place else { return Err(unknown_migration(&shared.name)) };
        if place.instructions.generation != ledger.generation {
            let message = "the generation was raised meanwhile; start the backfill again";
            return refused(ErrorKind::Conflict, message);
        }
        display.show(&place.progress);
        if place.complete {
            return Ok(place.progress);
        }
        match place.instructions.state {
            State::Paused => {
                clock::sleep(PAUSED_POLL).await;
                continue;
            }
            State::Cancelled => {
                return refused(ErrorKind::Halted, "the backfill was cancelled");
            }
            State::Running | State::Complete => {}
        }
        let limit = options.batch.min(PAGE_KEYS);
        let Some(page) = copy_page(shared, two, &ledger, &place, (source, limit)).await? else {
            continue;
        };
        failures += page.failed;
        if failures > options.failures_max {
            let message = format!("{failures} keys could not be copied; see `dead_letters`");
            return refused(ErrorKind::Halted, &message);
        }
        let spent = Duration::from_nanos(shared.clock.now().saturating_sub(start));
        let workers = place.instructions.workers.max(1);
        clock::sleep(rate_pause(page.keys, spent, place.instructions.rate, workers)).await;
    }
}

/// A page of keys that was worked off.
struct Worked {
    keys: u64,
    failed: u64,
}

/// `None` where another worker has taken these keys, or there are no more.
async fn copy_page(
    shared: &Shared,
    two: &Two,
    ledger: &Ledger<'_>,
    place: &Place,
    (source, limit): (Side, u32),
) -> Result<Option<Worked>, Error> {
    let cursor = place.cursor.as_ref();
    let keys = two.stores.keys_after(source, cursor, limit).await;
    let keys = keys.map_err(|error| error.of(&shared.name))?;
    if !two.marks.page(shared, ledger, cursor, &keys).await? || keys.is_empty() {
        return Ok(None);
    }
    shared.mark_dirty();
    let round = settle_all(shared, two, &keys).await?;
    two.marks.count(ledger, round.settled, round.failed).await?;
    // What failed is still to be copied, and known. A store that is down is not asked for more.
    if let (0, Some(error)) = (round.settled, round.failure) {
        return Err(error.of(&shared.name));
    }
    Ok(Some(Worked { keys: keys.len() as u64, failed: round.failed }))
}
