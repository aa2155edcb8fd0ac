//! The figures of exact mode for the facade of the crate `metrics`. The reference is `docs/metrics.md`.

#[cfg(feature = "metrics")]
pub(crate) use with::*;
#[cfg(not(feature = "metrics"))]
pub(crate) use without::*;

#[cfg(feature = "metrics")]
mod with {
    use std::time::Duration;

    use metrics::{Label, Unit};

    use crate::control::exact::ExactState;
    use crate::stages::stage::{Side, Stage};

    const STAGE: &str = "dualwrite_exact_stage";
    const EPOCH: &str = "dualwrite_exact_epoch";
    const PRIMARY: &str = "dualwrite_exact_primary";
    const OPEN: &str = "dualwrite_exact_open";
    const REACHABLE: &str = "dualwrite_exact_reachable";
    const BACKLOG: &str = "dualwrite_outbox_records";
    const LAG: &str = "dualwrite_outbox_lag_seconds";
    const DEAD: &str = "dualwrite_outbox_dead_letters";
    const APPLIED: &str = "dualwrite_outbox_applied_total";
    const PUT_OFF: &str = "dualwrite_outbox_put_off_total";
    const FULL: &str = "dualwrite_outbox_full_total";
    const MOVES: &str = "dualwrite_exact_moves_total";
    const HELD: &str = "dualwrite_exact_held_calls_total";
    const HAND_OVER: &str = "dualwrite_exact_hand_over_seconds";

    const GAUGES: [(&str, Unit, &str); 8] = [
        (STAGE, Unit::Count, "Stage, 0 (off) to 5 (complete)"),
        (EPOCH, Unit::Count, "Epoch of the authority"),
        (PRIMARY, Unit::Count, "The primary: 0 old, 1 new"),
        (OPEN, Unit::Count, "Whether the primary takes writes, 0 or 1"),
        (REACHABLE, Unit::Count, "Whether both databases answered, 0 or 1"),
        (BACKLOG, Unit::Count, "Records that the mirror has not applied"),
        (LAG, Unit::Seconds, "Age of the oldest of them"),
        (DEAD, Unit::Count, "Keys whose records the mirror does not take"),
    ];
    const COUNTERS: [(&str, &str); 5] = [
        (APPLIED, "Records that the mirror has applied"),
        (PUT_OFF, "Attempts that the mirror did not take"),
        (FULL, "Times that the outbox was full and recording stopped"),
        (MOVES, "Moves that this instance made"),
        (HELD, "Calls that waited for a hand-over"),
    ];

    /// Tells the recorder what the names mean.
    pub(crate) fn describe() {
        for (name, unit, help) in GAUGES {
            metrics::describe_gauge!(name, unit, help);
        }
        for (name, help) in COUNTERS {
            metrics::describe_counter!(name, Unit::Count, help);
        }
        let help = "Time from the close to the end of a hand-over";
        metrics::describe_histogram!(HAND_OVER, Unit::Seconds, help);
    }

    fn own(name: &str) -> Vec<Label> {
        vec![Label::new("migration", name.to_owned())]
    }

    /// How it stands.
    pub(crate) fn state(name: &str, state: &ExactState) {
        let set = |gauge: &'static str, value: f64| metrics::gauge!(gauge, own(name)).set(value);
        set(STAGE, f64::from(state.stage.code()));
        set(EPOCH, state.epoch.0 as f64);
        set(PRIMARY, if state.primary == Side::New { 1.0 } else { 0.0 });
        set(OPEN, f64::from(u8::from(state.open)));
        set(REACHABLE, f64::from(u8::from(state.error.is_none())));
        set(BACKLOG, state.backlog as f64);
        set(LAG, state.lag.as_secs_f64());
        set(DEAD, state.failures.len() as f64);
        // So that a rate has a beginning before the first time.
        for counter in [APPLIED, PUT_OFF, FULL, HELD] {
            metrics::counter!(counter, own(name)).increment(0);
        }
    }

    /// What the relay did.
    pub(crate) fn relayed(name: &str, applied: u64, put_off: u64) {
        metrics::counter!(APPLIED, own(name)).increment(applied);
        metrics::counter!(PUT_OFF, own(name)).increment(put_off);
    }

    pub(crate) fn outbox_full(name: &str) {
        metrics::counter!(FULL, own(name)).increment(1);
    }

    pub(crate) fn moved(name: &str, to: Stage) {
        let mut labels = own(name);
        labels.push(Label::new("to", to.as_str()));
        metrics::counter!(MOVES, labels).increment(1);
    }

    pub(crate) fn held(name: &str) {
        metrics::counter!(HELD, own(name)).increment(1);
    }

    pub(crate) fn handed_over(name: &str, took: Duration) {
        metrics::histogram!(HAND_OVER, own(name)).record(took.as_secs_f64());
    }
}

#[cfg(not(feature = "metrics"))]
mod without {
    use std::time::Duration;

    use crate::control::exact::ExactState;
    use crate::stages::stage::Stage;

    pub(crate) fn describe() {}
    pub(crate) fn state(_: &str, _: &ExactState) {}
    pub(crate) fn relayed(_: &str, _: u64, _: u64) {}
    pub(crate) fn outbox_full(_: &str) {}
    pub(crate) fn moved(_: &str, _: Stage) {}
    pub(crate) fn held(_: &str) {}
    pub(crate) fn handed_over(_: &str, _: Duration) {}
}
