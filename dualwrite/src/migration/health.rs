//! What the last hour says of a migration: figures for `status`, and the verdict of its guards.

use std::time::Duration;

use serde::Serialize;

use crate::copier::joined::Joined;
use crate::guard::rules::GuardReport;
use crate::migration::Migration;
use crate::migration::guard::{guards, health, observe, with_window};
use crate::observe::CallReport;
use crate::observe::figures::{Figures, MethodFigures, SideFigures};
use crate::observe::window::{Cut, Sum};

/// The times that `status` looks back, in minutes.
const MINUTES: [u32; 3] = [1, 5, 60];

impl Migration {
    /// What the guards say of the present position now, by what this process has seen since it came about.
    /// Without registered guards, the default ones are asked. Nothing is rolled back by asking.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn may_go_on(migration: &dualwrite::Migration) -> bool {
    ///     let health = migration.health().await;
    ///     println!("{health}");
    ///     health.is_healthy() // not where there is too little to judge by
    /// }
    /// # }
    /// ```
    pub async fn health(&self) -> GuardReport {
        health(self.shared()).await
    }
}

/// Calls of the last minutes, per method and side, in this process.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecentReport {
    /// How far back: 1, 5 or 60.
    pub minutes: u32,
    /// How much of that time the figures cover, in seconds: less in a process that is younger, and a
    /// little more where a slice of time lies across the edge.
    pub covered_s: f64,
    /// The methods that were called.
    pub methods: Vec<RecentMethod>,
    /// Share of the answers that came from new, 0 to 1; `None` without an answer.
    pub answered_by_new: Option<f64>,
}

/// Calls of one method in the last minutes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecentMethod {
    /// The trait and the method: `Customers::find`.
    pub method: String,
    /// Calls that old answered or took part in.
    pub old: RecentCalls,
    /// Calls that new answered or took part in.
    pub new: RecentCalls,
}

/// Calls of one side in the last minutes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecentCalls {
    /// Calls, errors and latency.
    #[serde(flatten)]
    pub calls: CallReport,
    /// Calls whose answer the caller got.
    pub answered: u64,
    /// Calls a second.
    pub per_second: f64,
    /// Errors a second.
    pub errors_per_second: f64,
}

/// How often a field was different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FieldReport {
    /// The trait and the method: `Customers::find`.
    pub method: String,
    /// Its path, without what stands in brackets; `*` for a whole answer.
    pub field: String,
    /// Differences that stayed, since the start of the process.
    pub differences: u64,
}

/// The last 1, 5 and 60 minutes.
pub(crate) fn recent(shared: &Joined) -> Vec<RecentReport> {
    observe(shared, guards(shared).period, Cut::Now);
    MINUTES.map(|minutes| report(minutes, shared)).into()
}

fn report(minutes: u32, shared: &Joined) -> RecentReport {
    let length = Duration::from_secs(u64::from(minutes) * 60);
    let Sum { figures, covered } = with_window(shared, |window| window.sum(length, None));
    let covered_s = covered.as_secs_f64();
    RecentReport {
        minutes,
        covered_s,
        answered_by_new: answered_by_new(&figures),
        methods: figures.methods.iter().map(|method| method_report(method, covered_s)).collect(),
    }
}

fn answered_by_new(figures: &Figures) -> Option<f64> {
    let sum = |side: fn(&MethodFigures) -> &SideFigures| {
        figures.methods.iter().map(|method| side(method).answered()).sum::<u64>()
    };
    let (old, new) = (sum(|method| &method.old), sum(|method| &method.new));
    (old + new > 0).then(|| new as f64 / (old + new) as f64)
}

fn method_report(method: &MethodFigures, covered_s: f64) -> RecentMethod {
    RecentMethod {
        method: method.name.to_string(),
        old: calls(&method.old, covered_s),
        new: calls(&method.new, covered_s),
    }
}

fn calls(figures: &SideFigures, covered_s: f64) -> RecentCalls {
    let rate = |count: u64| if covered_s > 0.0 { count as f64 / covered_s } else { 0.0 };
    RecentCalls {
        calls: CallReport::of(figures),
        answered: figures.answered(),
        per_second: rate(figures.calls()),
        errors_per_second: rate(figures.errors),
    }
}

pub(crate) fn fields(shared: &Joined) -> Vec<FieldReport> {
    let of_method = |method: MethodFigures| {
        let name = method.name.to_string();
        let found = method.fields.into_iter().filter(|(_, differences)| *differences > 0);
        let report = move |(field, differences): (std::sync::Arc<str>, u64)| FieldReport {
            method: name.clone(),
            field: field.to_string(),
            differences,
        };
        found.map(report)
    };
    shared.figures().methods.into_iter().flat_map(of_method).collect()
}
