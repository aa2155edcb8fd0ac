//! One migration in exact mode, in this process, without the types of its sides.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::exact::metrics;
use crate::exact::options::Options;
use crate::exact::port::Port;
use crate::exact::reported::Reported;
use crate::exact::step::{Death, ExactStep};
use crate::stages::exact::{Authority, Found, Seen, may_read, may_write};
use crate::stages::stage::Side;

/// The first pause of a call that waits for a hand-over, and the longest.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

pub(crate) struct Core {
    pub(crate) name: Arc<str>,
    /// Names this instance in leases.
    pub(crate) instance: String,
    pub(crate) old: Arc<dyn Port>,
    pub(crate) new: Arc<dyn Port>,
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) death: Death,
    /// Something was left in the outbox.
    pub(crate) wake: Notify,
    pub(crate) closing: CancellationToken,
    belief: Mutex<Belief>,
    /// What this instance has said of it last.
    pub(crate) reported: Mutex<Reported>,
}

/// What this instance has seen.
#[derive(Clone, Copy)]
struct Belief {
    side: Side,
    seen: Seen,
}

/// Both rows, and for how long nothing has changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) old: Authority,
    pub(crate) new: Authority,
    pub(crate) age: Duration,
}

impl Rows {
    pub(crate) fn of(&self, side: Side) -> Authority {
        if side == Side::Old { self.old } else { self.new }
    }

    /// The side of record, where there is one.
    pub(crate) fn primary(&self) -> Option<Side> {
        [Side::Old, Side::New].into_iter().find(|side| self.of(*side).primary)
    }
}

impl Core {
    pub(crate) fn new(
        (name, instance): (Arc<str>, String),
        (old, new): (Arc<dyn Port>, Arc<dyn Port>),
        options: Options,
    ) -> Self {
        Self {
            name,
            instance,
            old,
            new,
            options,
            clock: Clock::system(),
            death: Death::default(),
            wake: Notify::new(),
            closing: CancellationToken::new(),
            reported: Mutex::default(),
            belief: Mutex::new(Belief { side: Side::Old, seen: Seen::default() }),
        }
    }

    pub(crate) fn port(&self, side: Side) -> &Arc<dyn Port> {
        if side == Side::Old { &self.old } else { &self.new }
    }

    /// A place where a test lets this instance die.
    pub(crate) fn pass(&self, step: ExactStep) -> Result<(), Error> {
        self.death.pass(step).map_err(|error| error.of(&self.name))
    }

    pub(crate) fn alive(&self) -> Result<(), Error> {
        let closed = self.closing.is_cancelled() || self.death.is_dead();
        if closed { Err(Error::shutting_down().of(&self.name)) } else { Ok(()) }
    }

    /// The side to ask first.
    pub(crate) fn side(&self) -> Side {
        self.believe().side
    }

    fn believe(&self) -> Belief {
        *self.belief.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, side: Side, row: Authority) {
        let mut belief = self.belief.lock().unwrap_or_else(PoisonError::into_inner);
        if row.epoch >= belief.seen.epoch {
            belief.side = if row.primary { side } else { side.other() };
        }
        belief.seen = belief.seen.with(row);
    }

    /// What a row means for a write, and for a read.
    pub(crate) fn judge(&self, side: Side, row: Authority, writes: bool) -> Found {
        let seen = self.believe().seen;
        self.learn(side, row);
        if writes { may_write(row, seen) } else { may_read(row, seen) }
    }

    /// Both rows as they are. Of two that were read while one of them changed, the caller's compare-and-set knows.
    pub(crate) async fn rows(&self) -> Result<Rows, Error> {
        let mut both = None;
        loop {
            let (old, new) = (self.old.authority_row().await?, self.new.authority_row().await?);
            for row in [&old, &new] {
                self.learn(row.side, row.authority);
            }
            let rows = Rows { old: old.authority, new: new.authority, age: old.age.min(new.age) };
            if !(rows.old.primary && rows.new.primary) {
                return Ok(rows);
            }
            // Perhaps it was handed over between the two reads; then the next ones find something else.
            if both == Some((rows.old, rows.new)) {
                return Err(self.two_primaries());
            }
            both = Some((rows.old, rows.new));
        }
    }

    pub(crate) fn two_primaries(&self) -> Error {
        let message = "both databases say that they are the primary: one was restored from a backup; stop the service, \
                       find out which one has the latest writes, and set `is_primary` and `is_open` to 0 in \
                       `dualwrite_authority` of the other one";
        Error::new(ErrorKind::StageUnknown, message).of(&self.name)
    }
}

/// A call that goes to the side of record, and waits while there is none.
pub(crate) struct Search<'c> {
    core: &'c Core,
    begun: u64,
    pause: Duration,
    asked: u32,
    /// It was counted as one that waits.
    held: bool,
}

impl<'c> Search<'c> {
    pub(crate) fn new(core: &'c Core) -> Self {
        Self { core, begun: core.clock.now(), pause: PAUSE, asked: 0, held: false }
    }

    /// Before the next side is asked, after one has said what was found.
    pub(crate) async fn goes_on(&mut self, found: Found) -> Result<(), Error> {
        self.core.alive()?;
        self.asked += 1;
        // The other one says at once whether it is there.
        if found == Found::Elsewhere && self.asked == 1 {
            return Ok(());
        }
        if !std::mem::replace(&mut self.held, true) {
            metrics::held(&self.core.name);
        }
        let waited = Duration::from_nanos(self.core.clock.now().saturating_sub(self.begun));
        if waited >= self.core.options.wait {
            let wait = self.core.options.wait;
            let (kind, message) = match found {
                Found::Behind => (
                    ErrorKind::StageUnknown,
                    "a database shows an older authority than this instance has seen: it is a standby that lags, or was \
                     restored; connect to the one that was the primary, or restore it from a later backup"
                        .to_owned(),
                ),
                _ => (
                    ErrorKind::Timeout,
                    format!(
                        "a hand-over took longer than {wait:?}: nothing was done; try again, and look at \
                         `Exact::status` for what it waits for"
                    ),
                ),
            };
            return Err(Error::new(kind, message).of(&self.core.name));
        }
        crate::clock::sleep(self.pause).await;
        self.pause = PAUSE_MAX.min(self.pause * 2);
        Ok(())
    }
}
