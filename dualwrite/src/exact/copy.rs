//! The copy of what was there before writes were recorded: page by page, keys are recorded as they are. The relay does
//! the rest.

use std::time::Duration;

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::exact::core::Core;
use crate::exact::options::{COPY_BACKLOG, COPY_PAGE};
use crate::exact::port::{Along, Changed};
use crate::exact::relay;
use crate::exact::step::ExactStep;
use crate::stages::exact::Authority;
use crate::stages::lineage::Token;
use crate::stages::stage::Side;
use crate::store::exact::relay::CopyPlace;

const PAUSE: Duration = Duration::from_millis(20);
/// The parts of it: keys of the mirror, which may be there no more; keys of the primary; the end.
const MIRROR: u64 = 0;
const PRIMARY: u64 = 1;

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
        let (primary, mirror) = (core.port(side), core.port(side.other()));
        let place = primary.copy_place().await?;
        if row.copied {
            return Ok(place.keys);
        }
        if place.part > PRIMARY {
            let next =
                Authority { copied: true, epoch: row.epoch + 1, token: Token::random().0, ..row };
            if primary.change(row, next, Along::Nothing).await? == Changed::Done {
                return Ok(place.keys);
            }
            continue;
        }
        if primary.left(COPY_BACKLOG).await? >= COPY_BACKLOG {
            let done = relay::apply_all(core, side).await?;
            if done.applied == 0 {
                clock::sleep(PAUSE).await;
            }
            continue;
        }
        let source = if place.part == MIRROR { mirror } else { primary };
        let keys = source.keys_after(place.cursor.as_ref(), COPY_PAGE).await?;
        let next = match keys.last() {
            Some(last) => CopyPlace {
                part: place.part,
                cursor: Some(last.clone()),
                keys: place.keys + if place.part == PRIMARY { keys.len() as u64 } else { 0 },
            },
            None => CopyPlace { part: place.part + 1, cursor: None, keys: place.keys },
        };
        if next.cursor.is_some() && next.cursor == place.cursor {
            let message = "`keys_after` answered with the key that it was to begin after; let it list greater keys alone";
            return Err(Error::new(ErrorKind::InvalidInput, message).of(&core.name));
        }
        if primary.record(row, Some((&place, &next)), &keys).await? {
            core.pass(ExactStep::Copied)?;
            core.wake.notify_one();
        }
    }
}
