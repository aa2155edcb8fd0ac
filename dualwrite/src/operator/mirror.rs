//! What the live instances say of their mirror writes, in one value for page, JSON and command.

use std::fmt;

use serde::Serialize;

use crate::stages::facts::InstanceReport;
use crate::stages::mirror::MirrorNote;

/// The mirror writes that failed in the last five minutes, as far as the live instances have told.
///
/// ```
/// fn show(migration: &dualwrite::operator::MigrationOverview) -> Option<String> {
///     migration.mirror.as_ref().map(ToString::to_string)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MirrorOverview {
    /// How many live instances report failures.
    pub instances: usize,
    /// The instance with the largest share of failures.
    pub worst_instance: String,
    /// What that instance reports.
    pub worst: MirrorNote,
    /// Whether so many fail that no key goes live; see [`Gate::MirrorWrites`](crate::Gate).
    pub failing: bool,
}

impl MirrorOverview {
    pub(super) fn of(instances: &[InstanceReport]) -> Option<Self> {
        let reports = || instances.iter().filter_map(|one| Some((one, one.mirror.as_ref()?)));
        let (instance, worst) = reports().max_by_key(|(_, note)| note.percent_min)?;
        // One report stands for all instances that say the same.
        let reporting: u64 = reports().map(|(instance, _)| instance.alike).sum();
        let is_failing = |one: &InstanceReport| {
            one.terms.as_ref().is_some_and(|terms| terms.mirror_failing.is_some())
        };
        Some(Self {
            instances: usize::try_from(reporting).unwrap_or(usize::MAX),
            worst_instance: instance.id.clone(),
            worst: worst.clone(),
            failing: instances.iter().any(is_failing),
        })
    }
}

impl fmt::Display for MirrorOverview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instances, worst_instance, worst, .. } = self;
        if *instances > 1 {
            write!(f, "{instances} instances report failures; the worst, ")?;
        }
        write!(f, "instance {worst_instance}: {worst}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::position::Epoch;
    use crate::stages::stage::Stage;

    fn report(id: &str, percent_min: u32, alike: u64) -> InstanceReport {
        InstanceReport {
            id: id.to_owned(),
            release: "1".to_owned(),
            seen: Epoch(1),
            drained: Epoch(1),
            min_stage: Stage::Off,
            max_stage: Stage::Complete,
            new_only: false,
            lazy: false,
            wanted: None,
            killed_by: None,
            mirror: Some(MirrorNote { percent_min: percent_min as _, last_error: None }),
            terms: None,
            alike,
        }
    }

    #[test]
    fn instances_that_say_the_same_are_all_counted() {
        let found = MirrorOverview::of(&[report("a", 5, 3), report("b", 20, 1)]).unwrap();
        assert_eq!((found.instances, found.worst_instance.as_str()), (4, "b"));
    }
}
