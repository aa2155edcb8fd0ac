//! A change of the position on its way: repeated while gates that open by themselves are closed.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tracing::Instrument as _;

pub(crate) use crate::control::audited::{check_named, check_reason};
use crate::control::{Change, DirtyKey};
use crate::converging;
use crate::converging::repair::Round;
use crate::copier::joined::Joined;
use crate::copy::exclusive::Refusals;
use crate::error::{Error, ErrorKind};
use crate::gate::Gate;
use crate::key::EncodedKey;
use crate::observe::count;
use crate::stages::moves::Move;
use crate::stages::position::{Epoch, Position};
use crate::stages::stage::{Side, Stage};
pub use crate::state::waiting::MOVE_TIMEOUT;
use crate::state::waiting::Waiting;
use crate::transaction::exclusive::HELD_OPEN;

const REPAIR_PAGE: u32 = 500;

/// Copies dirty keys of one side again, each once. A key that fails keeps none of the others; the first failure is
/// the answer at the end. Some may be left, where writes in flight do not end.
pub(crate) async fn repair(shared: &Joined, side: Side) -> Result<u64, Error> {
    let Some(copier) = &shared.copier else {
        return Ok(0);
    };
    if let Some(two) = converging::two::of(shared) {
        let Round { settled, failure, .. } = converging::repair::round(shared, two, true).await?;
        return failure.map_or(Ok(settled), |error| Err(error.of(&shared.name)));
    }
    let of = |error: Error| error.of(&shared.name);
    let (mut repaired, mut refusals) = (0, Refusals::default());
    let (mut after, mut first_failure) = (None::<DirtyKey>, None);
    loop {
        let keys = shared.control.dirty(&shared.name, side, after.as_ref(), REPAIR_PAGE).await?;
        if !keys.is_empty() {
            shared.mark_dirty(); // perhaps another process marked them, and we have not looked since
        }
        for (number, DirtyKey { key, .. }) in keys.iter().enumerate() {
            match copier.copy_key(shared, key, side).await {
                Ok(Some(_)) => {
                    repaired += 1;
                    count(&shared.counters.dirty_repaired);
                }
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::WrongKey && side == Side::New => {
                    set_aside(shared, key).await?;
                }
                Err(error) if is_of_key(&error) => {
                    first_failure.get_or_insert(error);
                }
                Err(error) => refusals.take(shared, error).await?,
            }
            if refusals.are_enough() {
                return refusals.end(repaired, keys.len() - number - 1).map_err(of);
            }
        }
        match keys.last() {
            Some(last) if keys.len() == REPAIR_PAGE as usize => after = Some(last.clone()),
            _ => break,
        }
    }
    let repaired = refusals.end(repaired, 0).map_err(of)?;
    first_failure.map_or(Ok(repaired), |error| Err(of(error)))
}

/// Whether it is the key that fails, and others may do.
fn is_of_key(error: &Error) -> bool {
    use ErrorKind::{Conflict, CopyFailed, Serialization, WrongKey};
    matches!(error.kind(), CopyFailed | WrongKey | Conflict | Serialization)
}

/// Nobody can copy what cannot be read: a verification of all keys has to find it.
async fn set_aside(shared: &Joined, key: &EncodedKey) -> Result<(), Error> {
    tracing::warn!(
        migration = &*shared.name,
        "a recorded key is of another type than the copy function's; the new side may be stale: run a \
         verification of all keys"
    );
    shared.control.set_aside(&shared.name, key).await
}

/// A move about to be made; `.await` makes it and answers with the new position.
///
/// # Errors
/// `IllegalMove` where there is no such step, `Blocked` with every gate that is closed, `Conflict` where
/// [`expecting`](Transition::expecting) does not hold, `Timeout` where writes in flight do not end,
/// `ShuttingDown`, `Database`.
#[must_use = "a move is made when it is awaited"]
#[derive(Debug)]
pub struct Transition<'m> {
    shared: &'m Joined,
    change: Change,
    /// `None`: [`MOVE_TIMEOUT`], with gates that open by themselves alone.
    within: Option<Duration>,
}

impl<'m> Transition<'m> {
    pub(crate) fn new(shared: &'m Joined, requested: Move) -> Self {
        let change = Change {
            expected: None,
            token: None,
            requested,
            actor: shared.actor.to_string(),
            reason: String::new(),
            overridden: Vec::new(),
            terms: shared.terms(),
            plan: None,
            flag: None,
        };
        Self { shared, change, within: None }
    }

    /// Who moves, for the audit; at most 100 bytes. By default the instance.
    pub fn by(mut self, actor: impl Into<String>) -> Self {
        self.change.actor = actor.into();
        self
    }

    /// Why, for the audit.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.change.reason = reason.into();
        self
    }

    /// Moves only if nobody has since this epoch.
    pub fn expecting(mut self, epoch: Epoch) -> Self {
        self.change.expected = Some(epoch);
        let known = self.shared.mark();
        self.change.token = (known.epoch == epoch).then_some(known.token);
        self
    }

    /// Overrides a gate that protects no data; give the reason with [`because`](Self::because).
    pub fn overriding(mut self, gate: Gate) -> Self {
        self.change.overridden.push(gate);
        self
    }

    /// A move that flags want; what they say is remembered with it.
    pub(crate) fn flagged(mut self, wanted: String) -> Self {
        self.change.flag = Some(wanted);
        self
    }

    /// Waits this long for closed gates to open, whichever they are. Unless told otherwise, a move
    /// waits for [`MOVE_TIMEOUT`], and only while what it waits for comes by itself: other instances catch
    /// up, dirty keys are copied again.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.within = Some(timeout);
        self
    }

    /// On the way to `Complete`, the gates go by what the catalogue says now.
    async fn find_hazards(&self) -> Result<(), Error> {
        let ends = match self.change.requested {
            Move::Advance(to) => to == Stage::Complete,
            Move::Ramp(_) => self.shared.position().stage == Stage::RampDown,
            _ => false,
        };
        match &self.shared.copier {
            Some(copier) if ends => copier.find_hazards(self.shared).await,
            _ => Ok(()),
        }
    }

    async fn run(mut self) -> Result<Position, Error> {
        check_audit(&self.change).map_err(|error| error.of(&self.shared.name))?;
        let _operation = self.shared.operate()?;
        if matches!(self.change.requested, Move::Advance(_) | Move::Ramp(_)) {
            self.shared.run_preflight().await?;
            self.change.terms = self.shared.terms();
        }
        self.find_hazards().await?;
        let waiting = Waiting::new(self.shared, self.within);
        loop {
            match self.attempt().await {
                Err(error) if waiting.goes_on(&error) => waiting.pause().await?,
                result => return result.map_err(|error| self.naming_ours(error)),
            }
        }
    }

    /// Names a transaction of this process, where one is held open and nobody has said so: on SQLite no heartbeat
    /// can say it meanwhile.
    fn naming_ours(&self, error: Error) -> Error {
        let text = error.to_string();
        match self.shared.holding(&text) {
            Some(ours) if text.contains(HELD_OPEN) => error.noting(&format!("; {ours}")),
            _ => error,
        }
    }

    async fn attempt(&self) -> Result<Position, Error> {
        let shared = self.shared;
        let Some(two) = converging::two::of(shared) else { return self.change().await };
        let drained = converging::drain::drain(shared, two, self.change.requested).await?;
        let changed = self.change().await;
        if drained {
            converging::drain::reopen(shared, two).await;
        }
        changed
    }

    async fn change(&self) -> Result<Position, Error> {
        let shared = self.shared;
        if self.change.requested == Move::Rollback
            && shared.is_dirty()
            && converging::two::of(shared).is_none()
        {
            // Old is about to answer again: what it misses is copied back first.
            repair(shared, Side::Old).await?;
        }
        let before = shared.position();
        // The way back must not depend on the catalogue.
        let terms = match self.change.requested {
            Move::Advance(_) | Move::Ramp(_) => shared.terms_now().await?,
            _ => shared.terms(),
        };
        let change = Change { terms, ..self.change.clone() };
        let record = shared.control.change(&shared.name, &change).await;
        let record = record?;
        shared.wake.notify_one(); // the others shall know soon that this instance has seen it
        shared.adopt(&record).await?;
        if before.epoch != record.position.epoch {
            if self.change.requested == Move::Rollback {
                count(&shared.counters.rollbacks);
            }
            tracing::info!(
                migration = &*shared.name,
                from = %before,
                to = %record.position,
                generation = record.generation.0,
                actor = self.change.actor,
                reason = self.change.reason,
                "position changed"
            );
        }
        Ok(record.position)
    }
}

fn check_audit(change: &Change) -> Result<(), Error> {
    check_named("actor", &change.actor)?;
    if !change.overridden.is_empty() && change.reason.is_empty() {
        let message = "a gate is overridden only with a reason; add `.because(…)`";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}

impl<'m> IntoFuture for Transition<'m> {
    type Output = Result<Position, Error>;
    type IntoFuture = BoxFuture<'m, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let (migration, requested) = (&*self.shared.name, self.change.requested);
        let span = tracing::info_span!("move", migration, %requested);
        Box::pin(self.run().instrument(span))
    }
}
