//! Which mismatches are kept as samples: the first few of each field, so that a field that always differs
//! leaves room for the others and costs the control tables nothing more.

use std::collections::BTreeMap;

/// How many samples of mismatches are kept per migration.
pub const SAMPLES_MAX: u32 = 100;
/// How many of them may be of one field.
pub const SAMPLES_PER_FIELD_MAX: u32 = 5;

/// What this process has stored so far; the control tables hold the same bounds for all processes.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    total: u32,
    fields: BTreeMap<String, u32>,
}

impl Stored {
    /// Whether a sample of this field may be stored; then it counts as stored.
    pub(crate) fn admit(&mut self, field: &str) -> bool {
        let of_field = self.fields.get(field).copied().unwrap_or(0);
        if !has_room(self.total, of_field) {
            return false;
        }
        self.total += 1;
        *self.fields.entry(field.to_owned()).or_default() += 1;
        true
    }

    /// A sample of this field that was admitted is not stored after all.
    pub(crate) fn give_back(&mut self, field: &str) {
        if let Some(of_field) = self.fields.get_mut(field).filter(|of_field| **of_field > 0) {
            *of_field -= 1;
            self.total -= 1;
        }
    }
}

/// Whether there is room for one more beside so many.
pub(crate) fn has_room(total: u32, of_field: u32) -> bool {
    total < SAMPLES_MAX && of_field < SAMPLES_PER_FIELD_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut stored = Stored::default();
        for _ in 0..SAMPLES_PER_FIELD_MAX {
            assert!(stored.admit("a"));
        }
        stored.give_back("b");
        assert!(!stored.admit("a"));
        stored.give_back("a");
        assert!(stored.admit("a") && !stored.admit("a"));
        assert_eq!(stored.total, SAMPLES_PER_FIELD_MAX);
    }

    proptest! {
        #[test]
        fn no_field_takes_the_room_of_the_others(fields in prop::collection::vec("[a-z]", 0..400)) {
            let mut stored = Stored::default();
            let mut kept = BTreeMap::<&str, u32>::new();
            for field in &fields {
                if stored.admit(field) {
                    *kept.entry(field).or_default() += 1;
                }
            }
            prop_assert!(kept.values().all(|count| *count <= SAMPLES_PER_FIELD_MAX));
            prop_assert!(kept.values().sum::<u32>() <= SAMPLES_MAX);
            for field in &fields {
                let seen = fields.iter().filter(|other| *other == field).count() as u32;
                let full = kept.values().sum::<u32>() == SAMPLES_MAX;
                prop_assert!(full || kept[field.as_str()] == seen.min(SAMPLES_PER_FIELD_MAX));
            }
        }
    }
}
