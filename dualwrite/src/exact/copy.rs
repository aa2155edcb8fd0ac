//! The copy of what was there before writes were recorded: page by page, records go from a snapshot of the primary to the
//! mirror, with the versions that they had in that snapshot. What the relay brought meanwhile has a higher version and
//! stays. A page that the mirror refuses goes through the outbox.

use std::time::Duration;

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::exact::core::Core;
use crate::exact::options::{COPY_BACKLOG, COPY_PAGE};
use crate::exact::port::{Along, Changed, CopyPage, Listing};
use crate::exact::relay;
use crate::exact::step::ExactStep;
use crate::stages::exact::Authority;
use crate::stages::lineage::Token;
use crate::stages::stage::Side;
use crate::store::exact::relay::CopyPlace;

const PAUSE: Duration = Duration::from_millis(20);
/// The parts of it: keys of the mirror, which may be there no more; keys of the primary; keys that are gone, for the sake of
/// their versions, which the mirror goes on from when it becomes the primary; the end.
const MIRROR: u64 = 0;
const PRIMARY: u64 = 1;
const GONE: u64 = 2;

/// The primary and its row, if its writes are recorded.
pub(crate) async fn recording(core: &Core) -> Result<(Side, Authority), Error> {
    let rows = core.rows().await?;
    match rows.primary() {
        Some(side) if rows.of(side).open && rows.of(side).recording => Ok((side, rows.of(side))),
        Some(side) if rows.of(side).open => {
            let message = "writes are not recorded at this stage; advance to `dual_write` first";
            Err(Error::new(ErrorKind::Blocked, message).of(&core.name))
        }
        _ => {
            let message = "a hand-over is under way; try again when it is over";
            Err(Error::new(ErrorKind::Conflict, message).of(&core.name))
        }
    }
}

/// Copies all keys, or goes on where another run has ended. Answers with the number of keys.
pub(crate) async fn run(core: &Core) -> Result<u64, Error> {
    loop {
        core.alive()?;
        let (side, row) = recording(core).await?;
        let primary = core.port(side);
        let place = primary.copy_place().await?;
        if row.copied {
            return Ok(place.keys);
        }
        if place.part > GONE {
            let next =
                Authority { copied: true, epoch: row.epoch + 1, token: Token::random().0, ..row };
            if primary.change(row, next, Along::Nothing).await? == Changed::Done {
                return Ok(place.keys);
            }
            continue;
        }
        pages(core, (side, row), place).await?;
    }
}

/// Copies page after page, until a part ends or somebody else was quicker. The next page is read while one is written.
async fn pages(
    core: &Core,
    (side, row): (Side, Authority),
    mut place: CopyPlace,
) -> Result<(), Error> {
    let (primary, mirror) = (core.port(side), core.port(side.other()));
    let mut page = read(core, (side, row), &place).await?;
    loop {
        core.alive()?;
        let Some(read_page) = page else { return Ok(()) };
        let next = after(&place, &read_page, &core.name)?;
        let following = async {
            match next.part == place.part {
                true => read(core, (side, row), &next).await,
                false => Ok(None),
            }
        };
        let (applied, following) =
            futures_util::future::join(mirror.apply_page(&read_page), following).await;
        match applied {
            Ok(()) => {
                if !primary.move_copy(row, &place, &next).await? {
                    return Ok(());
                }
            }
            // The relay finds out which key it is, and puts that one off.
            Err(error) if relay::is_of_one_key(&error) => {
                if !left_to_relay(core, (side, row), (&place, &next), &read_page).await? {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
        core.pass(ExactStep::Copied)?;
        (place, page) = (next, following?);
    }
}

async fn read(
    core: &Core,
    (side, row): (Side, Authority),
    place: &CopyPlace,
) -> Result<Option<CopyPage>, Error> {
    let primary = core.port(side);
    let cursor = place.cursor.as_ref();
    match place.part {
        MIRROR => {
            let keys = core.port(side.other()).keys_after(cursor, COPY_PAGE).await?;
            let page = primary.read_page(row, Listing::Missing(&keys)).await?;
            Ok(page.map(|page| CopyPage { last: keys.last().cloned(), ..page }))
        }
        PRIMARY => primary.read_page(row, Listing::After(cursor, COPY_PAGE)).await,
        _ => primary.read_page(row, Listing::GoneAfter(cursor, COPY_PAGE)).await,
    }
}

/// Where the copy stands after a page.
fn after(place: &CopyPlace, page: &CopyPage, name: &str) -> Result<CopyPlace, Error> {
    let Some(last) = &page.last else {
        return Ok(CopyPlace { part: place.part + 1, cursor: None, keys: place.keys });
    };
    if place.cursor.as_ref() == Some(last) {
        let message = "`keys_after` answered with the key that it was to begin after; let it list greater keys alone";
        return Err(Error::new(ErrorKind::InvalidInput, message).of(name));
    }
    let keys = if place.part == PRIMARY { page.keys.len() as u64 } else { 0 };
    Ok(CopyPlace { part: place.part, cursor: Some(last.clone()), keys: place.keys + keys })
}

/// Records the keys of a page as they are, for the relay. Waits while there is too much for it.
async fn left_to_relay(
    core: &Core,
    (side, row): (Side, Authority),
    (place, next): (&CopyPlace, &CopyPlace),
    page: &CopyPage,
) -> Result<bool, Error> {
    let primary = core.port(side);
    while primary.left(COPY_BACKLOG).await? >= COPY_BACKLOG {
        core.alive()?;
        if relay::apply_all(core, side).await?.applied == 0 {
            clock::sleep(PAUSE).await;
        }
    }
    let recorded = primary.record(row, Some((place, next)), &page.keys).await?;
    core.wake.notify_one();
    Ok(recorded)
}
