//! Beside the rounds of the runtime: takes the figures in, judges by the guards, goes back where they say
//! so, publishes, and tells the service. In tasks of their own, so that neither a slow recorder nor a hook
//! that panics costs the lease.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Inner, Registration, RuntimeBuilder, traffic};
use crate::clock::{Clock, ManualClock};
use crate::copier::joined::Joined;
use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::guard::decide::goes_back;
use crate::guard::rules::{Breach, GuardReport, Guards};
use crate::migration::guard::{
    answered, dead_letters, facts, guards, log_breaches, observe, verdict, wants_facts,
};
use crate::migration::transition::Transition;
use crate::observe::count;
use crate::observe::window::Cut;
use crate::stages::moves::Move;
use crate::stages::position::Position;
use crate::state::events::{Events, Hooks, RuntimeEvent};

/// How often figures are published and taken in, at the most; a longer [`POLL`](crate::defaults::POLL) counts.
const PUBLISH: Duration = Duration::from_secs(1);
/// How often what the control tables say is published where nothing seems to have changed. More than fifty instances do
/// it so often together, not each.
const GATHER: Duration = Duration::from_secs(60);
/// The most bytes of a reason in the audit.
const REASON_BYTES_MAX: usize = 1_000;
/// How many fields may be critical.
const CRITICAL_MAX: usize = 50;

impl<DB: Backend> RuntimeBuilder<DB> {
    /// Calls this with whatever happens, in order, from a thread where it may take its time. At most
    /// [`EVENTS_WAITING_MAX`](crate::defaults::EVENTS_WAITING_MAX) events wait for it; more are dropped and counted.
    /// A panic in it is caught. May be given several times.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{Runtime, runtime::RuntimeEvent};
    ///
    /// async fn start(pool: sqlx::SqlitePool) -> Result<Runtime<sqlx::Sqlite>, dualwrite::Error> {
    ///     let page = |event: &RuntimeEvent| {
    ///         if let RuntimeEvent::RolledBack { migration, reason, .. } = event {
    ///             eprintln!("{migration} was rolled back: {reason}");
    ///         }
    ///     };
    ///     Runtime::builder(pool).on_event(page).start().await
    /// }
    /// # }
    /// ```
    pub fn on_event(mut self, hook: impl Fn(&RuntimeEvent) + Send + Sync + 'static) -> Self {
        self.hooks.add(Arc::new(hook));
        self
    }

    /// For tests of services: latencies, periods of guards and the lease follow a clock that the test
    /// moves. The control tables keep the time of their database, and polls that of tokio.
    pub fn manual_clock(mut self) -> (Self, ManualClock) {
        let (clock, hands) = Clock::manual();
        self.clock = clock;
        (self, hands)
    }
}

impl<DB: Backend> Registration<'_, DB> {
    /// Goes back by itself where a guard is breached, as far as loses nothing. Without this, nothing is
    /// ever rolled back by itself, and [`Migration::health`](crate::Migration::health) judges by the
    /// default guards.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{Error, guard::{Guard, Guards}, Migration, Runtime};
    ///
    /// async fn register(runtime: &Runtime<sqlx::Sqlite>) -> Result<Migration, Error> {
    ///     runtime
    ///         .migration("orders")
    ///         .critical("total")
    ///         .critical("lines[].price")
    ///         .guards(Guards::default().with(Guard::p99_times_old(2.0)))
    ///         .register()
    ///         .await
    /// }
    /// # }
    /// ```
    pub fn guards(mut self, guards: Guards) -> Self {
        self.options.guards = Some(guards);
        self
    }

    /// Marks a field as critical: by default a guard takes no difference in it. The path is that of
    /// [`Difference`](crate::compare::Difference) without what stands in brackets (`lines[].price`). What lies within the
    /// field is meant too, and what it lies in, such as a list that lacks an element; a whole answer is `*`, so
    /// mark that as well where a row that one side lacks is critical. At most 50. A critical field cannot be
    /// [ignored](crate::shadow::ShadowRules::ignore_field).
    pub fn critical(mut self, path: impl Into<String>) -> Self {
        self.options.critical.push(path.into());
        self
    }
}

/// # Errors
/// `InvalidInput`.
pub(super) fn check(guards: Option<&Guards>, critical: &[String]) -> Result<(), Error> {
    if critical.len() > CRITICAL_MAX || critical.iter().any(String::is_empty) {
        let message = format!("critical are at most {CRITICAL_MAX} fields, each with a path");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    guards.map_or(Ok(()), Guards::check)
}

impl Inner {
    /// From now on these hooks hear of what happens: one task for all of them.
    pub(super) fn set_hooks(&mut self, hooks: Hooks) {
        if hooks.is_empty() {
            return;
        }
        let (events, waiting) = Events::queue();
        self.events = events;
        self.spawn(deliver(waiting, hooks, self.stop.clone()));
    }

    /// Whether it is time to look at the figures again.
    pub(super) fn is_watch_due(&self) -> bool {
        let since = self.clock.now().saturating_sub(self.watched.load(Relaxed));
        Duration::from_nanos(since) >= PUBLISH
    }

    pub(super) fn count_control_failure(&self) {
        for shared in self.migrations() {
            count(&shared.counters.control_failed);
        }
    }
}

/// One round: all migrations.
pub(super) async fn watch_all(inner: Arc<Inner>, stop: CancellationToken) {
    inner.watched.store(inner.clock.now(), Relaxed);
    let migrations = inner.migrations();
    let watching = async {
        inner.gather(&migrations).await;
        inner.note_old_reads().await;
        inner.read_catalogues_again().await;
        // At once, so that a rollback that waits for writes in flight keeps no other migration waiting.
        join_all(migrations.iter().map(|shared| watch_known(shared))).await;
        for shared in &migrations {
            traffic::report(shared).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = watching => {}
    }
}

impl Inner {
    /// Reads what guards and metrics need of the control tables, of those migrations where it may have changed.
    async fn gather(&self, migrations: &[Arc<Joined>]) {
        let due = || migrations.iter().filter(|shared| wants_gathering(shared)).collect::<Vec<_>>();
        if due().iter().any(|shared| shared.is_fleet_unknown()) {
            let Some(live) = answered(self.control.live_instances()).await else {
                return due().iter().for_each(|shared| count(&shared.counters.control_failed));
            };
            let uncounted = migrations.iter().filter(|shared| shared.is_fleet_unknown());
            uncounted.for_each(|shared| shared.fleet_counted(live));
        }
        let due = due();
        if due.is_empty() {
            return;
        }
        let names: Vec<&str> = due.iter().map(|shared| &*shared.name).collect();
        let Some(found) = answered(self.control.summaries(&names)).await else {
            return due.iter().for_each(|shared| count(&shared.counters.control_failed));
        };
        let mut backfills = match cfg!(feature = "metrics") {
            true => answered(self.control.backfills()).await.unwrap_or_default(),
            false => HashMap::new(),
        };
        for shared in due {
            let facts = found.iter().find(|(name, _)| **name == *shared.name);
            let backfill = backfills.remove(&*shared.name);
            shared.gather(facts.map(|(_, facts)| facts.clone()), backfill);
        }
    }
}

/// Whether somebody wants to know, and something has changed since it was gathered last, or it is long ago.
fn wants_gathering(shared: &Joined) -> bool {
    let guards = guards(shared);
    let for_guards = wants_facts(&guards) && shared.has_dead_letters();
    (for_guards || cfg!(feature = "metrics"))
        && is_evaluation_due(shared, &guards)
        && (for_guards && shared.is_counting_due(guards.period) || shared.is_gathering_due(GATHER))
}

fn is_evaluation_due(shared: &Joined, guards: &Guards) -> bool {
    let since = shared.clock.now().saturating_sub(shared.measured.evaluated.load(Relaxed));
    Duration::from_nanos(since) >= guards.period
}

/// One migration by itself.
pub(crate) async fn watch(shared: &Joined) {
    let guards = guards(shared);
    if (wants_facts(&guards) || cfg!(feature = "metrics")) && is_evaluation_due(shared, &guards) {
        let backfill = match cfg!(feature = "metrics") {
            true => answered(shared.control.backfill(&shared.name)).await.flatten(),
            false => None,
        };
        shared.gather(facts(shared).await, backfill);
    }
    watch_known(shared).await;
}

/// Takes the figures in and publishes them, and judges when that is due.
async fn watch_known(shared: &Joined) {
    let guards = guards(shared);
    observe(shared, guards.period, Cut::WhenDue);
    if is_evaluation_due(shared, &guards) {
        shared.measured.evaluated.store(shared.clock.now(), Relaxed);
        let span = tracing::debug_span!("guards", migration = &*shared.name);
        evaluate(shared, &guards).instrument(span).await;
    }
    #[cfg(feature = "metrics")]
    super::publishing::news(shared);
}

async fn evaluate(shared: &Joined, guards: &Guards) {
    let facts = shared.gathered();
    // Without a letter there is nothing to count.
    let letters = match shared.has_dead_letters() {
        true => facts.as_ref().map(dead_letters),
        false => Some(0),
    };
    let letters = letters.filter(|_| wants_facts(guards));
    let (position, report) = verdict(shared, guards, letters);
    if shared.options.guards.is_some() {
        log_breaches(shared, &report);
        if let GuardReport::Breached(breaches) = report {
            breached(shared, position, breaches).await;
        }
    }
    #[cfg(feature = "metrics")]
    super::publishing::facts(shared, facts.as_ref());
}

async fn breached(shared: &Joined, position: Position, breaches: Vec<Breach>) {
    let reason = reason(&breaches);
    let will_go_back = goes_back(position);
    tracing::warn!(
        migration = &*shared.name,
        %position,
        reason,
        will_go_back,
        "a guard is breached"
    );
    let migration = || shared.name.to_string();
    shared.emit(|| RuntimeEvent::GuardBreached { migration: migration(), position, breaches });
    if !will_go_back {
        return;
    }
    // Bound to the epoch that was judged: of several instances one goes back, and nobody goes back
    // twice for the same figures.
    let rollback = Transition::new(shared, Move::Rollback)
        .expecting(position.epoch)
        .by(format!("guard, {}", shared.actor))
        .because(&*reason);
    match rollback.await {
        Ok(to) => {
            count(&shared.counters.guard_rollbacks);
            shared.emit(|| RuntimeEvent::RolledBack {
                migration: migration(),
                from: position,
                to,
                reason,
            });
        }
        // Somebody else moved it: the figures say nothing of where it stands now.
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        Err(error) => {
            count(&shared.counters.guard_rollbacks_failed);
            tracing::error!(migration = &*shared.name, %error, "a guard could not roll back");
            shared.emit(|| RuntimeEvent::RollbackFailed {
                migration: migration(),
                position,
                error: error.to_string(),
            });
        }
    }
}

fn reason(breaches: &[Breach]) -> String {
    let breaches: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    let mut reason = breaches.join("; ");
    if reason.len() > REASON_BYTES_MAX {
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        reason.push('…');
    }
    reason
}

/// Tells the hooks, one event after the other; at the end what is still waiting.
async fn deliver(mut waiting: mpsc::Receiver<RuntimeEvent>, hooks: Hooks, stop: CancellationToken) {
    loop {
        let event = tokio::select! {
            biased;
            event = waiting.recv() => event,
            () = stop.cancelled() => waiting.try_recv().ok(),
        };
        let Some(event) = event else { return };
        let hooks = hooks.clone();
        // Fails only where the whole runtime of tokio ends.
        let _ = tokio::task::spawn_blocking(move || hooks.call(&event)).await;
    }
}
