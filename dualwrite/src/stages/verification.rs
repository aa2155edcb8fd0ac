//! What a verification makes of what it finds: the report, bounded, and whether it proves anything. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stages::bucket::Bucket;
use crate::stages::facts::LastVerification;
use crate::stages::position::{Generation, Percent};
use crate::stages::stale::StaleKind;

/// How many differing keys a report names.
pub const DIFFERING_MAX: usize = 100;
/// How many fields a report counts by name; differences of further ones are counted under `…`.
pub const FIELDS_NAMED_MAX: usize = 200;
const OTHER_FIELDS: &str = "…";

/// What is wrong with a key.
///
/// ```
/// assert_eq!(dualwrite::verify::KeyDifferenceKind::MissingInNew.to_string(), "missing in new");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeyDifferenceKind {
    /// Old has a row, new has none.
    MissingInNew,
    /// New has a row, old has none.
    MissingInOld,
    /// Both have a row, and the rows say something else.
    Different,
    /// It is read from a table again and again, and no statement finds a row of this key on either side: the
    /// database does not compare it as it sorts it, or the mapping or the view of new is wrong.
    Unexplained,
}

impl KeyDifferenceKind {
    /// What withdraws the proof.
    pub(crate) const fn stale(self) -> StaleKind {
        match self {
            Self::MissingInNew => StaleKind::Missing,
            Self::MissingInOld | Self::Different | Self::Unexplained => StaleKind::Difference,
        }
    }
}

impl std::fmt::Display for KeyDifferenceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::MissingInNew => "missing in new",
            Self::MissingInOld => "missing in old",
            Self::Different => "different",
            Self::Unexplained => "unexplained: read, and found under its key on neither side",
        })
    }
}

/// A key that old and new disagree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeyDifference {
    /// The key, as JSON.
    pub key: String,
    /// What is wrong.
    pub kind: KeyDifferenceKind,
    /// The fields that differ, where a [`Mapping`](crate::Mapping) names them.
    pub fields: Vec<String>,
}

/// What a verification found. Serialized, it holds keys and names of fields, never values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Keys compared, on either side.
    pub compared: u64,
    /// Keys that old and new disagree on: the sum of the next three, and of `unexplained`.
    pub differing: u64,
    /// Keys that new lacks.
    pub missing_in_new: u64,
    /// Keys that old lacks.
    pub missing_in_old: u64,
    /// Keys with other values.
    pub different: u64,
    /// Keys that were read, and found under their key on neither side.
    #[serde(default)]
    pub unexplained: u64,
    /// Keys that seemed to differ, and did not under the lock: writes in flight.
    pub transient: u64,
    /// Keys that differ, and that somebody [waived](crate::Migration::waive): in none of the numbers above
    /// but `compared`.
    #[serde(default)]
    pub waived: u64,
    /// How many keys differ in which field; [`FIELDS_NAMED_MAX`] names at the most.
    pub fields: BTreeMap<String, u64>,
    /// The first [`DIFFERING_MAX`] differing keys, as JSON.
    pub keys: Vec<String>,
    /// What is wrong with these keys.
    pub differences: Vec<KeyDifference>,
    /// The generation that was verified.
    pub generation: u64,
    /// The share of the chunks that was looked at, in basis points; `None` for all.
    pub sample: Option<u16>,
    /// Whether it went on where an earlier run ended.
    pub resumed: bool,
    /// Whether it counts for the gates: nothing differs, every key was looked at, the generation is still the
    /// one that it began in, and nothing has withdrawn a proof since.
    pub proven: bool,
}

impl VerifyReport {
    pub(crate) fn new(generation: Generation, sample: Option<Percent>) -> Self {
        let sample = sample.map(Percent::basis_points);
        Self { generation: generation.0, sample, ..Self::default() }
    }

    /// Whether old and new agree on what was compared.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differing == 0
    }

    /// Whether this may be recorded for the gates.
    pub(crate) fn may_prove(&self) -> bool {
        self.is_clean() && self.sample.is_none()
    }

    pub(crate) fn add(&mut self, found: KeyDifference) {
        self.differing += 1;
        match found.kind {
            KeyDifferenceKind::MissingInNew => self.missing_in_new += 1,
            KeyDifferenceKind::MissingInOld => self.missing_in_old += 1,
            KeyDifferenceKind::Different => self.different += 1,
            KeyDifferenceKind::Unexplained => self.unexplained += 1,
        }
        for field in &found.fields {
            let known = self.fields.contains_key(field) || self.fields.len() < FIELDS_NAMED_MAX - 1;
            let name = if known { field.as_str() } else { OTHER_FIELDS };
            *self.fields.entry(name.to_owned()).or_default() += 1;
        }
        if self.keys.len() < DIFFERING_MAX {
            self.keys.push(found.key.clone());
            self.differences.push(found);
        }
    }
}

/// Whether a sample contains the chunk that begins after this key.
pub(crate) fn is_sampled(sample: Option<Percent>, salt: u64, after: &str) -> bool {
    sample.is_none_or(|share| Bucket::of(after, salt).is_below(share))
}

/// Where a verification stands: what a crash must not lose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VerifyState {
    /// Of new and of old.
    pub(crate) generations: [u64; 2],
    pub(crate) phase: Phase,
    /// The last key of this part that was looked at.
    pub(crate) cursor: Option<String>,
    pub(crate) report: VerifyReport,
    pub(crate) done: bool,
}

/// The keys that a verification runs over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Those of old, and of new between them where both have one order.
    #[default]
    Old,
    /// Those that new has and old has not.
    Orphans,
    /// All keys were looked at.
    End,
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::Orphans => "orphans",
            Self::End => "end",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        let all = [Self::Orphans, Self::End];
        all.into_iter().find(|part| part.as_str() == name).unwrap_or_default()
    }
}

impl VerifyState {
    pub(crate) fn new(generations: [Generation; 2], sample: Option<Percent>) -> Self {
        Self {
            generations: generations.map(|generation| generation.0),
            report: VerifyReport::new(generations[0], sample),
            ..Self::default()
        }
    }

    /// What gates say of it.
    pub(crate) fn summary(&self) -> LastVerification {
        let VerifyReport { compared, differing, sample, .. } = self.report;
        let (generations, done) = (self.generations, self.done);
        LastVerification { generations, compared, differing, is_sample: sample.is_some(), done }
    }

    /// What a run that was asked for like `fresh` begins with, where `known` goes on.
    pub(crate) fn begin(known: Option<&Self>, fresh: &Self) -> Self {
        match known {
            Some(known) => {
                let resumed = known.cursor.is_some() || known.phase != Phase::Old;
                let report = VerifyReport { resumed, ..known.report.clone() };
                Self { report, ..known.clone() }
            }
            None => fresh.clone(),
        }
    }

    /// Whether a run that was asked for like `fresh` goes on from here, where marks came since it began or not.
    /// What is clean up to here begins anew if so: it would prove nothing at its end.
    pub(crate) fn goes_on_as(&self, fresh: &Self, marked_since: bool) -> bool {
        self.can_be_resumed_as(fresh) && !(marked_since && self.report.is_clean())
    }

    /// Whether a run that was asked for like `fresh` can go on from here.
    fn can_be_resumed_as(&self, fresh: &Self) -> bool {
        !self.done
            && self.generations == fresh.generations
            && self.report.sample == fresh.report.sample
    }
}

/// What became of a record of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    Kept,
    /// The same, and somebody has paused it.
    Paused,
    /// The same, and somebody has cancelled it.
    Cancelled,
    /// Another verification of this migration has begun since.
    Superseded,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(kind: KeyDifferenceKind, number: usize) -> KeyDifference {
        KeyDifference { key: number.to_string(), kind, fields: vec![format!("f{number}")] }
    }

    #[test]
    fn a_sample_proves_nothing_and_a_difference_neither() {
        let fresh = VerifyReport::new(Generation::FIRST, None);
        assert!(fresh.may_prove());
        assert!(!VerifyReport::new(Generation::FIRST, Some(Percent::FULL)).may_prove());
        let mut dirty = fresh;
        dirty.add(found(KeyDifferenceKind::Different, 1));
        assert!(!dirty.may_prove() && !dirty.is_clean());
    }

    #[test]
    fn only_the_same_question_is_taken_up_again() {
        let fresh = VerifyState::new([Generation::FIRST; 2], None);
        assert!(fresh.can_be_resumed_as(&fresh));
        let done = VerifyState { done: true, ..fresh.clone() };
        let raised = VerifyState { generations: [2, 1], ..fresh.clone() };
        let sampled = VerifyState::new([Generation::FIRST; 2], Some(Percent::FULL));
        for other in [done, raised, sampled] {
            assert!(!other.can_be_resumed_as(&fresh));
        }
    }

    #[test]
    fn a_clean_run_begins_anew_when_a_mark_came_since() {
        let fresh = VerifyState::new([Generation::FIRST; 2], None);
        let clean = VerifyState { cursor: Some("7".to_owned()), ..fresh.clone() };
        assert!(clean.goes_on_as(&fresh, false) && !clean.goes_on_as(&fresh, true));
        let mut differing = clean;
        differing.report.add(found(KeyDifferenceKind::Different, 1));
        assert!(differing.goes_on_as(&fresh, true), "it proves nothing, and names the rest");
    }

    #[test]
    fn a_run_says_whether_it_goes_on_where_another_one_ended() {
        let fresh = VerifyState::new([Generation(3), Generation(2)], None);
        assert_eq!((fresh.generations, fresh.report.generation), ([3, 2], 3));
        assert_eq!(VerifyState::begin(None, &fresh), fresh);
        assert!(!VerifyState::begin(Some(&fresh), &fresh).report.resumed, "at the very beginning");
        let at_key = VerifyState { cursor: Some("7".to_owned()), ..fresh.clone() };
        let at_orphans = VerifyState { phase: Phase::Orphans, ..fresh.clone() };
        for known in [at_key, at_orphans] {
            let begun = VerifyState::begin(Some(&known), &fresh);
            assert!(begun.report.resumed);
            assert_eq!((begun.phase, &begun.cursor), (known.phase, &known.cursor));
        }
    }

    #[test]
    fn what_gates_say_of_a_run_is_what_it_found() {
        let mut state = VerifyState::new([Generation(3), Generation(2)], Some(Percent::FULL));
        state.report.compared = 9;
        state.report.add(found(KeyDifferenceKind::MissingInNew, 1));
        state.done = true;
        let expected = LastVerification {
            generations: [3, 2],
            compared: 9,
            differing: 1,
            is_sample: true,
            done: true,
        };
        assert_eq!(state.summary(), expected);
        let begun = VerifyState::new([Generation::FIRST; 2], None).summary();
        assert!(!begun.is_sample && !begun.done);
    }

    #[test]
    fn every_phase_is_read_back_by_its_name() {
        for (phase, name) in [(Phase::Old, "old"), (Phase::Orphans, "orphans"), (Phase::End, "end")]
        {
            assert_eq!((phase.as_str(), Phase::named(name)), (name, phase));
        }
        assert_eq!(Phase::named("of a newer release"), Phase::Old, "it begins anew");
    }

    #[test]
    fn each_kind_of_difference_is_counted_and_named() {
        use KeyDifferenceKind::{Different, MissingInNew, MissingInOld, Unexplained};
        let mut report = VerifyReport::default();
        for (kind, times) in
            [(MissingInNew, 1), (MissingInOld, 2), (Different, 3), (Unexplained, 4)]
        {
            (0..times).for_each(|number| report.add(found(kind, number)));
            assert!(!kind.to_string().is_empty());
        }
        let counts = [report.missing_in_new, report.missing_in_old, report.different];
        assert_eq!((counts, report.unexplained, report.differing), ([1, 2, 3], 4, 10));
        assert_eq!(Different.to_string(), "different");
    }

    #[test]
    fn fields_beyond_the_bound_are_counted_together_and_known_ones_by_name() {
        let mut report = VerifyReport::default();
        let named = FIELDS_NAMED_MAX - 1;
        (0..named + 5).for_each(|number| report.add(found(KeyDifferenceKind::Different, number)));
        assert_eq!(report.fields.len(), FIELDS_NAMED_MAX);
        assert_eq!(report.fields[OTHER_FIELDS], 5);
        assert_eq!(report.fields[&format!("f{}", named - 1)], 1, "the last one that is named");
        report.add(found(KeyDifferenceKind::Different, 0));
        assert_eq!((report.fields["f0"], report.fields[OTHER_FIELDS]), (2, 5));
    }

    #[test]
    fn a_sample_is_the_share_of_chunks_that_it_says() {
        let half = Some(Percent::from_basis_points(5_000).unwrap());
        let sampled = |share, salt| {
            (0..1_000).filter(|key| is_sampled(share, salt, &key.to_string())).count()
        };
        assert!((400..600).contains(&sampled(half, 7)), "{}", sampled(half, 7));
        assert_eq!((sampled(Some(Percent::ZERO), 7), sampled(Some(Percent::FULL), 7)), (0, 1_000));
        let chosen = |salt| -> Vec<bool> {
            (0..100).map(|key| is_sampled(half, salt, &key.to_string())).collect()
        };
        assert_ne!(chosen(7), chosen(8), "another salt is another sample");
    }

    #[test]
    fn a_difference_withdraws_the_proof_of_both_sides() {
        use KeyDifferenceKind::{Different, MissingInNew, MissingInOld};
        let kinds = [MissingInNew, MissingInOld, Different].map(KeyDifferenceKind::stale);
        assert_eq!(kinds, [StaleKind::Missing, StaleKind::Difference, StaleKind::Difference]);
    }

    proptest! {
        #[test]
        fn a_report_is_bounded_and_its_counts_add_up(kinds in prop::collection::vec(0..3_u8, 0..400)) {
            use KeyDifferenceKind::{Different, MissingInNew, MissingInOld};
            let mut report = VerifyReport::default();
            for (number, kind) in kinds.iter().enumerate() {
                report.add(found([MissingInNew, MissingInOld, Different][usize::from(*kind)], number));
            }
            prop_assert_eq!(report.differing, kinds.len() as u64);
            prop_assert_eq!(
                report.differing,
                report.missing_in_new + report.missing_in_old + report.different
            );
            prop_assert_eq!(report.fields.values().sum::<u64>(), report.differing);
            prop_assert!(report.fields.len() <= FIELDS_NAMED_MAX);
            prop_assert_eq!(report.keys.len(), kinds.len().min(DIFFERING_MAX));
            prop_assert_eq!(report.differences.len(), report.keys.len());
        }

        #[test]
        fn a_larger_sample_only_adds_chunks(after: String, low in 0_u16..=10_000, more in 0_u16..=10_000) {
            let share = |points: u16| Some(Percent::from_basis_points(points.min(10_000)).unwrap());
            let small = is_sampled(share(low), 7, &after);
            prop_assert!(!small || is_sampled(share(low.saturating_add(more)), 7, &after));
            prop_assert!(is_sampled(None, 7, &after));
        }
    }
}
