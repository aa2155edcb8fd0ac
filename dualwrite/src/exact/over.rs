//! The way over and back: close, drain, give up, open. Any instance goes on with what another one has begun.

use std::time::Duration;

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::exact::core::Core;
use crate::exact::options::DRAINED_CLOSED;
use crate::exact::port::{Along, Changed};
use crate::exact::step::ExactStep;
use crate::exact::{metrics, relay};
use crate::stages::exact::{Step, next_step};
use crate::stages::lineage::Token;
use crate::stages::stage::Side;

const PAUSE: Duration = Duration::from_millis(10);

/// Makes this side the primary. Where the outbox cannot be drained in time, the old primary takes writes again.
pub(crate) async fn hand_over(core: &Core, to: Side) -> Result<(), Error> {
    let from = to.other();
    if core.rows().await?.of(from).open {
        drain_most(core, from).await?;
    }
    let begun = core.clock.now();
    loop {
        core.alive()?;
        if has_passed(core, begun) {
            return Err(give_back(core, from).await?);
        }
        if go_on(core, to).await? {
            let took = Duration::from_nanos(core.clock.now().saturating_sub(begun));
            metrics::handed_over(&core.name, took);
            return Ok(());
        }
    }
}

fn has_passed(core: &Core, begun: u64) -> bool {
    Duration::from_nanos(core.clock.now().saturating_sub(begun)) >= core.options.drain
}

/// Applies most of the outbox before writes have to wait.
async fn drain_most(core: &Core, from: Side) -> Result<(), Error> {
    let begun = core.clock.now();
    core.port(from).hurry().await?;
    loop {
        core.alive()?;
        relay::apply_all(core, from).await?;
        if let Some(error) = undrained(core, from).await? {
            return Err(error);
        }
        let left = core.port(from).left(DRAINED_CLOSED).await?;
        if left < DRAINED_CLOSED {
            return Ok(());
        }
        if has_passed(core, begun) {
            let message = format!(
                "the outbox of the {from} side has more than {DRAINED_CLOSED} records after {:?} of applying them; nothing \
                 was closed; try again when there are fewer writes",
                core.options.drain
            );
            return Err(Error::new(ErrorKind::Blocked, message).of(&core.name));
        }
    }
}

/// Takes one step; whether it was the last.
async fn go_on(core: &Core, to: Side) -> Result<bool, Error> {
    let rows = core.rows().await?;
    let mut step = next_step(rows.old, rows.new, to, false);
    if let Step::Drain(from) = step {
        relay::apply_all(core, from).await?;
        let drained = core.port(from).left(1).await? == 0;
        if drained {
            core.pass(ExactStep::Drained)?;
        } else {
            clock::sleep(PAUSE).await; // records in flight, or keys that were put off
        }
        step = next_step(rows.old, rows.new, to, drained);
    }
    match step {
        Step::Done => return Ok(true),
        Step::Broken => return Err(core.two_primaries()),
        Step::Drain(_) => {}
        Step::NotCopied => {
            let message = "the other side lacks records, for somebody has stopped the recording of writes meanwhile; look \
                           at the stage, and run `copy`";
            return Err(Error::new(ErrorKind::Blocked, message).of(&core.name));
        }
        Step::Close(side) | Step::GiveUp(side) | Step::Open(side) | Step::Reopen(side) => {
            let (seen, other) = (rows.of(side), rows.of(side.other()));
            let along = match step {
                Step::GiveUp(_) => Along::OutboxEmpty,
                _ => Along::Nothing,
            };
            let next = seen.after(step, other, Token::random().0);
            // Where somebody else was quicker, the next look says how it stands.
            if core.port(side).change(seen, next, along).await? == Changed::Done {
                let migration = &*core.name;
                tracing::info!(migration, ?step, epoch = next.epoch, "a step of the hand-over");
                core.pass(match step {
                    Step::Close(_) => ExactStep::Closed,
                    Step::GiveUp(_) => ExactStep::GivenUp,
                    _ => ExactStep::Opened,
                })?;
            }
        }
    }
    Ok(false)
}

/// Why the outbox cannot be drained: keys that the mirror does not take.
async fn undrained(core: &Core, from: Side) -> Result<Option<Error>, Error> {
    let failures = core.port(from).failures(1).await?;
    let Some(first) = failures.first() else { return Ok(None) };
    let message = format!(
        "the {} side does not take some records, the first of them for this reason: {}; correct that, or write those keys \
         again, and try again; `Exact::failures` names the keys",
        from.other(),
        first.error
    );
    Ok(Some(Error::new(ErrorKind::Blocked, message).of(&core.name)))
}

/// The outbox was not drained in time: the old primary goes on, unless it was given up meanwhile.
async fn give_back(core: &Core, from: Side) -> Result<Error, Error> {
    let reason = undrained(core, from).await?;
    loop {
        let rows = core.rows().await?;
        if rows.primary() != Some(from) {
            // There is no way back from here but through an open primary.
            while !go_on(core, from.other()).await? {}
            let message = "the hand-over ended later than it was to wait; it is done";
            return Ok(Error::new(ErrorKind::Timeout, message).of(&core.name));
        }
        if go_on(core, from).await? {
            break;
        }
    }
    Ok(reason.unwrap_or_else(|| {
        let message = format!(
            "the outbox of the {from} side was not empty within {:?}; that side takes writes again; try again when there \
             are fewer writes, or when the {} side is quicker",
            core.options.drain,
            from.other()
        );
        Error::new(ErrorKind::Timeout, message).of(&core.name)
    }))
}

/// Goes on with a hand-over that another instance has left, if there is one.
pub(crate) async fn take_up(core: &Core) -> Result<bool, Error> {
    let rows = core.rows().await?;
    let closed = [Side::Old, Side::New].into_iter().find(|side| {
        let row = rows.of(*side);
        row.primary && !row.open
    });
    let to = match (rows.primary(), closed) {
        (None, _) => Side::New, // whichever it is, the decider knows
        (Some(_), Some(closed)) => closed.other(),
        (Some(_), None) => return Ok(false),
    };
    if rows.age < core.options.take_over {
        return Ok(false);
    }
    let migration = &*core.name;
    tracing::warn!(migration, "nobody goes on with a hand-over; this instance takes it up");
    match rows.primary() {
        None => while !go_on(core, to).await? {},
        Some(_) => hand_over(core, to).await?,
    }
    Ok(true)
}
