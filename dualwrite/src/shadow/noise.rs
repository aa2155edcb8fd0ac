//! The noise baseline: which fields differ because an answer is never the same twice, and not because
//! old and new differ.
//!
//! On a small share of comparisons old is read again. A field is noise while new differs from old hardly
//! more often than old from itself; the thresholds are those of Diffy (Twitter, 2015). Two things are
//! stricter here, since a mismatch that is taken for noise is lost: a field of which old was never seen to
//! differ from itself is never noise, and old differs from itself only where it does in two looks in
//! succession, as what is drawn or read from a clock does and what somebody wrote meanwhile does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::sampling::is_sampled;
use crate::observe::tally::FIELDS_MAX;
use crate::stages::position::Percent;

/// Default share of the comparisons on which old is read again.
pub const NOISE_SAMPLE: Percent = Percent::ONE;
/// How many of these comparisons a method must have had before a field of it may be noise.
pub const NOISE_CHECKS_MIN: u64 = 20;
/// A field is noise while the share of both sums by which new differs more often is no greater.
pub const NOISE_RELATIVE: f64 = 0.20;
/// A field is noise while the share of looks by which new differs more often is no greater.
pub const NOISE_ABSOLUTE: f64 = 0.0003;

/// What was seen of one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How often new differed from old.
    pub(crate) raw: u64,
    /// How often old differed from itself.
    pub(crate) noise: u64,
}

/// Whether a field differs for no other reason than that it is never the same twice.
pub(crate) fn is_noise(seen: Seen, looks: u64) -> bool {
    if seen.noise == 0 || looks < NOISE_CHECKS_MIN {
        return false;
    }
    let more = seen.raw.saturating_sub(seen.noise) as f64;
    let relative = more / (seen.raw + seen.noise) as f64;
    let absolute = more / looks as f64;
    relative <= NOISE_RELATIVE || absolute <= NOISE_ABSOLUTE
}

/// How often a field differed on the comparisons on which old was read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NoiseReport {
    /// The trait and the method: `Customers::find`.
    pub method: String,
    /// The path of the field, without what stands in brackets; `*` for the whole answer.
    pub field: String,
    /// Comparisons of the method on which old was read again.
    pub looks: u64,
    /// Of these, those in which new differed from old.
    pub differed: u64,
    /// Of these, those in which old differed from itself.
    pub from_itself: u64,
    /// Whether differences in the field are taken for noise at present, and ignored.
    pub is_noise: bool,
}

/// What was seen of all methods and fields, in this process.
#[derive(Debug, Default)]
pub(crate) struct Baseline {
    comparisons: AtomicU64,
    methods: Mutex<BTreeMap<String, Method>>,
}

#[derive(Debug, Default)]
struct Method {
    looks: u64,
    fields: BTreeMap<String, Seen>,
}

impl Baseline {
    /// Whether old is read again on the next comparison.
    pub(crate) fn is_due(&self, share: Percent) -> bool {
        // From one on: the first of all is never it.
        is_sampled(share, self.comparisons.fetch_add(1, Relaxed) + 1)
    }

    /// Takes one look in: the fields in which new differed from old, and old from itself. Returns how many
    /// fields found no room, beyond [`FIELDS_MAX`] of a method.
    pub(crate) fn take(
        &self,
        method: &str,
        raw: &BTreeSet<String>,
        noise: &BTreeSet<String>,
    ) -> u64 {
        let mut methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let method = methods.entry(method.to_owned()).or_default();
        method.looks += 1;
        let mut beyond = 0;
        for field in raw.union(noise) {
            if method.fields.len() >= FIELDS_MAX && !method.fields.contains_key(field) {
                beyond += 1;
                continue;
            }
            let seen = method.fields.entry(field.clone()).or_default();
            seen.raw += u64::from(raw.contains(field));
            seen.noise += u64::from(noise.contains(field));
        }
        beyond
    }

    /// The fields of a method that are noise at present.
    pub(crate) fn noise(&self, method: &str) -> BTreeSet<String> {
        let methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let noisy = methods.get(method).into_iter().flat_map(|method| {
            method.fields.iter().filter(|(_, seen)| is_noise(**seen, method.looks))
        });
        noisy.map(|(field, _)| field.clone()).collect()
    }

    pub(crate) fn report(&self) -> Vec<NoiseReport> {
        let methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let of_method = |(name, method): (&String, &Method)| {
            let report = |(field, seen): (&String, &Seen)| NoiseReport {
                method: name.clone(),
                field: field.clone(),
                looks: method.looks,
                differed: seen.raw,
                from_itself: seen.noise,
                is_noise: is_noise(*seen, method.looks),
            };
            method.fields.iter().map(report).collect::<Vec<_>>()
        };
        methods.iter().flat_map(of_method).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(raw: u64, noise: u64) -> Seen {
        Seen { raw, noise }
    }

    #[test]
    fn the_thresholds_lie_where_they_should() {
        assert!(is_noise(seen(150, 100), 1_000), "a fifth of both");
        assert!(!is_noise(seen(151, 100), 1_000));
        assert!(is_noise(seen(4, 1), 10_000), "three of ten thousand");
        assert!(!is_noise(seen(5, 1), 10_000));
        assert!(is_noise(seen(20, 20), 20) && !is_noise(seen(19, 19), 19), "too few looks");
    }

    proptest! {
        #[test]
        fn what_old_never_does_is_never_noise(raw in 0_u64..1_000_000, looks in 0_u64..1_000_000) {
            prop_assert!(!is_noise(seen(raw, 0), looks));
        }

        #[test]
        fn what_old_does_as_often_is_noise(noise in 1_u64..1_000, raw in 0_u64..1_000, more in 0_u64..1_000) {
            let looks = NOISE_CHECKS_MIN + noise.max(raw) + more;
            prop_assume!(raw <= noise);
            prop_assert!(is_noise(seen(raw, noise), looks));
        }

        /// New that differs more often never looks more like noise.
        #[test]
        fn more_differences_are_less_like_noise(noise in 1_u64..500, raw in 0_u64..500, looks in 500_u64..5_000) {
            prop_assert!(is_noise(seen(raw, noise), looks) || !is_noise(seen(raw + 1, noise), looks));
        }

        #[test]
        fn fields_are_bounded(fields in prop::collection::btree_set("[a-z]{1,6}", 0..300)) {
            let baseline = Baseline::default();
            let beyond = baseline.take("Notes::find", &fields, &fields);
            prop_assert_eq!(baseline.report().len() as u64 + beyond, fields.len() as u64);
            prop_assert!(baseline.report().len() <= FIELDS_MAX);
        }
    }

    #[test]
    fn each_method_has_a_baseline_of_its_own() {
        let baseline = Baseline::default();
        let (field, none) = (BTreeSet::from(["read_at".to_owned()]), BTreeSet::new());
        for _ in 0..NOISE_CHECKS_MIN {
            baseline.take("Notes::find", &field, &field);
            baseline.take("Notes::all", &field, &none);
        }
        assert_eq!(baseline.noise("Notes::find"), field);
        assert_eq!(baseline.noise("Notes::all"), none);
        let found: Vec<(u64, u64, bool)> = baseline
            .report()
            .iter()
            .map(|report| (report.differed, report.from_itself, report.is_noise))
            .collect();
        assert_eq!(found, [(20, 0, false), (20, 20, true)]);
    }
}
