//! Sums and differences of what was counted: plain values, for publishing and for judging.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::CounterReport;
use super::histogram::Counts;
use crate::observe::outcome::ComparedReport;

/// Calls of one method on one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SideFigures {
    pub(crate) errors: u64,
    /// Calls beside the primary's.
    pub(crate) mirrored: u64,
    pub(crate) latency: Counts,
    /// How long calls had lasted that their callers gave up; these are not among the calls.
    pub(crate) abandoned: Counts,
}

impl SideFigures {
    pub(crate) fn calls(&self) -> u64 {
        self.latency.total()
    }

    /// Calls that ended, and calls that were given up.
    pub(crate) fn begun(&self) -> u64 {
        self.calls() + self.abandoned.total()
    }

    /// Calls whose answer the caller got.
    pub(crate) fn answered(&self) -> u64 {
        self.calls().saturating_sub(self.mirrored)
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            errors: self.errors.saturating_sub(earlier.errors),
            mirrored: self.mirrored.saturating_sub(earlier.mirrored),
            latency: self.latency.since(&earlier.latency),
            abandoned: self.abandoned.since(&earlier.abandoned),
        }
    }

    fn add(&mut self, other: &Self) {
        self.errors += other.errors;
        self.mirrored += other.mirrored;
        self.latency.add(&other.latency);
        self.abandoned.add(&other.abandoned);
    }
}

/// Calls of one method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MethodFigures {
    pub(crate) name: Arc<str>,
    /// It has written.
    pub(crate) writes: bool,
    pub(crate) old: SideFigures,
    pub(crate) new: SideFigures,
    /// What came of its comparisons.
    pub(crate) compared: ComparedReport,
    /// Differences by field.
    pub(crate) fields: BTreeMap<Arc<str>, u64>,
}

/// Everything that a migration counts in this process, from the start or over some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) methods: Vec<MethodFigures>,
    pub(crate) counters: CounterReport,
    /// Breaches by guard.
    pub(crate) breaches: BTreeMap<Arc<str>, u64>,
    /// What came of comparisons, by cohort.
    pub(crate) cohorts: BTreeMap<Arc<str>, ComparedReport>,
}

impl Figures {
    /// What was counted since `earlier`; methods and labels without any news are there too.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let method = |now: &MethodFigures| {
            let before = earlier.methods.iter().find(|before| before.name == now.name);
            before.map_or_else(
                || now.clone(),
                |before| MethodFigures {
                    name: Arc::clone(&now.name),
                    writes: now.writes,
                    old: now.old.since(&before.old),
                    new: now.new.since(&before.new),
                    compared: now.compared.since(&before.compared),
                    fields: tally_since(&now.fields, &before.fields),
                },
            )
        };
        Self {
            methods: self.methods.iter().map(method).collect(),
            counters: self.counters.since(&earlier.counters),
            breaches: tally_since(&self.breaches, &earlier.breaches),
            cohorts: cohorts_since(&self.cohorts, &earlier.cohorts),
        }
    }

    /// Without what counts nothing, and without cohorts, which nobody asks for over some time: for keeping.
    pub(crate) fn pruned(mut self) -> Self {
        let counts = |method: &MethodFigures| {
            method.old.begun() + method.new.begun() + method.compared.total() > 0
        };
        self.methods.retain(counts);
        for method in &mut self.methods {
            method.fields.retain(|_, count| *count > 0);
        }
        self.breaches.retain(|_, count| *count > 0);
        self.cohorts.clear();
        self
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for method in &other.methods {
            match self.methods.iter_mut().find(|known| known.name == method.name) {
                Some(known) => {
                    known.writes |= method.writes;
                    known.old.add(&method.old);
                    known.new.add(&method.new);
                    known.compared.add(&method.compared);
                    tally_add(&mut known.fields, &method.fields);
                }
                None => self.methods.push(method.clone()),
            }
        }
        self.counters.add(&other.counters);
        tally_add(&mut self.breaches, &other.breaches);
        for (label, compared) in &other.cohorts {
            self.cohorts.entry(Arc::clone(label)).or_default().add(compared);
        }
    }
}

fn tally_add(sums: &mut BTreeMap<Arc<str>, u64>, more: &BTreeMap<Arc<str>, u64>) {
    for (label, count) in more {
        *sums.entry(Arc::clone(label)).or_default() += count;
    }
}

fn cohorts_since(
    now: &BTreeMap<Arc<str>, ComparedReport>,
    earlier: &BTreeMap<Arc<str>, ComparedReport>,
) -> BTreeMap<Arc<str>, ComparedReport> {
    let since = |(label, compared): (&Arc<str>, &ComparedReport)| {
        let before = earlier.get(label).copied().unwrap_or_default();
        (Arc::clone(label), compared.since(&before))
    };
    now.iter().map(since).collect()
}

fn tally_since(
    now: &BTreeMap<Arc<str>, u64>,
    earlier: &BTreeMap<Arc<str>, u64>,
) -> BTreeMap<Arc<str>, u64> {
    let since = |(label, count): (&Arc<str>, &u64)| {
        let before = earlier.get(label).copied().unwrap_or(0);
        (Arc::clone(label), count.saturating_sub(before))
    };
    now.iter().map(since).collect()
}
