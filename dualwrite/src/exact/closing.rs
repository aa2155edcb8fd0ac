//! Planned downtime: closing the calls of a migration in both databases, and opening them.

use std::time::Duration;

use crate::error::{Closed, Error, ErrorKind, Maintenance};
use crate::exact::core::Core;
use crate::moment;
use crate::rollout::command::{NewRolloutCommand, RolloutCommandKind as Recorded};
use crate::stages::stage::Side;

/// Closes these calls, or opens all with `Closed::Nothing`. When it has answered, no write that began before is under way
/// in either database. A command has left its line of the audit before; `is_called`: the service itself asks, and each
/// database gets a line.
pub(crate) async fn set(
    core: &Core,
    closed: Closed,
    lasts: Duration,
    (actor, reason): (&str, &str),
    is_called: bool,
) -> Result<(), Error> {
    core.alive()?;
    let maintenance = match closed.is_closed() {
        false => None,
        true => {
            let now = moment::from_micros(core.old.now_us().await?);
            let until = now.checked_add(lasts).unwrap_or(now);
            let (actor, reason) = (actor.to_owned(), reason.to_owned());
            Some(Maintenance { closed, actor, reason, until })
        }
    };
    let line = is_called.then(|| match closed.is_closed() {
        true => NewRolloutCommand::new(Recorded::Close, actor, reason).about(closes(closed, lasts)),
        false => NewRolloutCommand::new(Recorded::Open, actor, reason).about(OPENS),
    });
    let primary = core.rows().await?.primary().unwrap_or(Side::Old);
    // The mirror first: whoever gets the authority meanwhile is closed as well. To open, the other way round: a primary
    // that is still closed refuses what the mirror would not.
    let order = match maintenance {
        Some(_) => [primary.other(), primary],
        None => [primary, primary.other()],
    };
    for side in order {
        core.port(side).maintain(maintenance.as_ref(), line.as_ref()).await?;
    }
    let migration = &*core.name;
    tracing::info!(migration, %closed, actor, "calls were closed or opened");
    Ok(())
}

/// What the audit says of an opening.
pub(crate) const OPENS: &str = "open all calls";

/// What it says of a close.
pub(crate) fn closes(closed: Closed, lasts: Duration) -> String {
    format!("close {} for about {}", closed.phrase(), humantime::format_duration(lasts))
}

/// What a call meets that finds this.
pub(crate) fn refusal(
    core: &Core,
    maintenance: Option<Maintenance>,
    writes: bool,
) -> Result<(), Error> {
    match maintenance.filter(|found| writes || found.closed.closes_reads()) {
        Some(found) => Err(Error::closed(found).of(&core.name)),
        None => Ok(()),
    }
}

/// Which calls are closed, and for how long: as a command leaves it for an instance.
pub(crate) fn subject(closed: Closed, lasts: Duration) -> String {
    format!("{closed} {}", lasts.as_secs())
}

/// Reads that.
pub(crate) fn parse(subject: &str) -> Result<(Closed, Duration), Error> {
    let wrong = || {
        let message = format!("`{subject}` does not say which calls are to be closed for how long");
        Error::new(ErrorKind::InvalidInput, message)
    };
    let (closed, seconds) = subject.split_once(' ').ok_or_else(wrong)?;
    let all = [Closed::Nothing, Closed::Writes, Closed::Calls];
    let closed = all.into_iter().find(|one| one.as_str() == closed).ok_or_else(wrong)?;
    Ok((closed, Duration::from_secs(seconds.parse().map_err(|_| wrong())?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_is_read_back() {
        for closed in [Closed::Nothing, Closed::Writes, Closed::Calls] {
            let lasts = Duration::from_secs(1_800);
            assert_eq!(parse(&subject(closed, lasts)).unwrap(), (closed, lasts));
        }
        assert!(parse("doors 5").is_err() && parse("writes").is_err());
    }
}
