//! Takes a migration one move toward what the flags want, or back where a kill switch is set: through the
//! same gates as an operator.

use std::time::Duration;

use crate::copier::joined::Joined;
use crate::error::{Error, ErrorKind};
use crate::flags::decide::{Heading, decide, killing};
use crate::migration::transition::Transition;

/// How often a kill switch begins again in one look when others move the migration at the same time.
const CONFLICTS_MAX: u32 = 8;

/// What a look at the flags came to.
pub(crate) enum Reconciled {
    /// What it waits for, if anything.
    Waits(Option<String>),
    /// The heartbeat has yet to tell what this instance wants; look again after it.
    Unheard,
}

/// One move at the most.
///
/// # Errors
/// `Database`; the next look tries again.
pub(crate) async fn reconcile(shared: &Joined) -> Result<Reconciled, Error> {
    let report = shared.flags();
    let facts = shared.control.facts(&shared.name).await?;
    let told = facts.instances.iter().find(|one| *one.id == *shared.instance);
    if told.is_none_or(|one| one.wanted != report.wanted) {
        // All instances must go by the same wishes.
        shared.wake.notify_one();
        return Ok(Reconciled::Unheard);
    }
    let flagged = shared.control.flagged(&shared.name).await?;
    let waiting = match decide(facts.position, &facts.instances, flagged.as_ref()) {
        Heading::Stay => None,
        Heading::Arrived(wanted) => {
            shared.control.note_flag(&shared.name, &wanted, facts.position.epoch).await?;
            None
        }
        Heading::Overruled(reason) | Heading::Wait(reason) => Some(reason),
        Heading::Go(requested, wanted) => {
            let source = report.source.unwrap_or_default();
            let moved = Transition::new(shared, requested)
                .by(format!("flags, by {}", shared.actor))
                .because(format!("{source} wants {wanted}"))
                .expecting(facts.position.epoch)
                .flagged(wanted)
                .within(Duration::ZERO)
                .await;
            waits(moved.map(drop))?
        }
    };
    Ok(Reconciled::Waits(waiting))
}

/// Goes back as far as loses nothing. Answers with what it waits for.
///
/// # Errors
/// `Database`; the next look tries again.
pub(crate) async fn kill(shared: &Joined, switch: &str) -> Result<Option<String>, Error> {
    if killing(shared.position()).is_none() {
        return Ok(None);
    }
    let mut conflicts = 0;
    let mut position = shared.refresh().await?.position;
    while let Some(requested) = killing(position) {
        let moved = Transition::new(shared, requested)
            .by(format!("kill switch, by {}", shared.actor))
            .because(format!("the kill switch {switch} is set"))
            .expecting(position.epoch)
            .within(Duration::ZERO)
            .await;
        match moved {
            Ok(moved) => position = moved,
            // Another instance, or another task of this one, was first: perhaps there is more to do.
            Err(error) if error.kind() == ErrorKind::Conflict && conflicts < CONFLICTS_MAX => {
                conflicts += 1;
                position = shared.refresh().await?.position;
            }
            Err(error) => return waits(Err(error)),
        }
    }
    Ok(None)
}

/// What keeps a move from being made for now is no error.
fn waits(moved: Result<(), Error>) -> Result<Option<String>, Error> {
    match moved {
        Ok(()) => Ok(None),
        Err(error) => match error.kind() {
            ErrorKind::Blocked | ErrorKind::Timeout | ErrorKind::Conflict => {
                Ok(Some(error.to_string()))
            }
            _ => Err(error),
        },
    }
}
