//! When a worker may go on: instructions that it is given, hours that it keeps, and whoever needs the database
//! more.

use crate::database::Backend;
use std::time::Duration;

use crate::backfill::decide::check_stage;
use crate::backfill::worker::Worker;
use crate::clock;
use crate::control::settings::BackfillSettings;
use crate::error::{Error, ErrorKind};
use crate::pace::load;
use crate::pace::rate::rate_pause;
use crate::stages::stage::Side;
use crate::store::ledger::{self, Instructions, State};
use crate::transaction::Tx;

const PAUSED_POLL: Duration = Duration::from_millis(250);

impl<DB: Backend> Worker<'_, DB> {
    /// A transaction of this generation's backfill. Waits while it is paused, or the hour is wrong.
    pub(crate) async fn begin(&mut self) -> Result<Tx<'static, DB>, Error> {
        loop {
            let (tx, instructions) = self.begin_under_control().await?;
            self.tune(&instructions.settings);
            let reason = match instructions.state {
                State::Cancelled => {
                    let message = "the backfill was cancelled; `resume` it to go on";
                    return Err(Error::new(ErrorKind::Halted, message).of(&self.shared.name));
                }
                State::Paused => "paused",
                State::Running if !self.throttle.allows(instructions.hour) => {
                    "outside the allowed hours"
                }
                State::Running | State::Complete => {
                    self.instructions = Some(instructions);
                    return Ok(tx);
                }
            };
            tx.rollback().await?;
            self.report(Some(reason.to_owned())).await;
            clock::sleep(PAUSED_POLL).await;
        }
    }

    /// Takes over what operators have set since the last page.
    fn tune(&mut self, settings: &BackfillSettings) {
        if self.settings == *settings {
            return;
        }
        self.settings = settings.clone();
        if let Some(place) = &self.place {
            place.hear(settings.workers);
        }
        self.throttle = self.options.throttle.tuned(settings);
        let target = settings.batch_time.unwrap_or(self.options.batch_time);
        self.pace.aim(target);
        self.asked = 0; // the new limits are judged at once
        let (migration, set) = (&*self.shared.name, settings.shown());
        tracing::info!(migration, set, "operators have set the pace of the backfill");
    }

    async fn begin_under_control(&self) -> Result<(Tx<'static, DB>, Instructions), Error> {
        let (mut tx, position) = self.copier.begin(self.shared).await?;
        check_stage(position, self.phase.to(), &self.shared.name)?;
        if self.phase.to() == Side::New && position.stage.reads() == Side::New {
            let whole = ledger::is_old_whole::<DB>(tx.connection(), &self.shared.name);
            if !whole.await.map_err(self.failed("asking whether the old side is whole"))? {
                let message = "the old side lacks what was written to the new side alone, so nothing is copied from it: \
                               run `backfill().reverse()`";
                return Err(Error::new(ErrorKind::Blocked, message).of(&self.shared.name));
            }
        }
        // Asked under the fence: a worker that slept may know nothing but its own generation, and what
        // it takes for missing in new is long there.
        let instructions = self.ledger().instructions::<DB>(tx.connection()).await;
        let instructions = instructions.map_err(self.failed("reading the generation"))?;
        match instructions.filter(|instructions| instructions.generation == self.generation) {
            Some(instructions) => Ok((tx, instructions)),
            None => Err(self.generation_raised()),
        }
    }

    /// After a batch: pauses for the rate, and for whoever needs the database more.
    pub(crate) async fn pause_between_pages(&mut self, keys: u64, spent: Duration) {
        let reason = match self.throttle.asks_host() {
            Some(reason) => Some(reason),
            None => self.pressed().await,
        };
        let (rate, workers) = self.rate();
        let pause = self.brake.judge(reason.is_some()).max(rate_pause(keys, spent, rate, workers));
        self.report(reason).await;
        if !pause.is_zero() {
            clock::sleep(pause).await;
        }
    }

    /// The most keys a second, and how many workers share them.
    pub(crate) fn rate(&self) -> (Option<u64>, u64) {
        self.instructions
            .as_ref()
            .map_or((None, 1), |instructions| (instructions.rate, instructions.workers))
    }

    /// What the database says of itself, asked now and then.
    async fn pressed(&mut self) -> Option<String> {
        let now = self.shared.clock.now();
        if now.saturating_sub(self.asked) >= load::EVERY_NS {
            self.asked = now;
            let throttle = &self.throttle;
            let (pool, replicas) = (&self.copier.pool, &self.copier.replicas);
            self.pressed = match self.scales.read(pool, replicas, self.shared, throttle).await {
                Ok(load) => throttle.judge(&load),
                Err(error) => {
                    // Perhaps we may not look, or it is the one that is ill: its errors stop us then.
                    let error = Error::without_values(&error);
                    tracing::debug!(migration = &*self.shared.name, error, "no word of the load");
                    None
                }
            };
        }
        self.pressed.clone()
    }

    /// Stores and logs why it makes way, where that has changed.
    async fn report(&mut self, reason: Option<String>) {
        if reason == self.told {
            return;
        }
        tracing::info!(migration = &*self.shared.name, reason, "the backfill makes way");
        let stored = async {
            let mut conn = self.copier.pool.acquire().await?;
            self.ledger().tell::<DB>(&mut conn, reason.as_deref()).await
        };
        match stored.await {
            Ok(()) => self.told = reason,
            Err(error) => {
                let error = Error::without_values(&error);
                tracing::debug!(migration = &*self.shared.name, error, "not stored");
            }
        }
    }
}
