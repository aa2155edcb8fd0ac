//! Names of checks that a catalogue has: MySQL and MariaDB name them in a text that a trigger may give as well, with any
//! value in the place of the name. Known are those of tables that a copy function names. Pure, and for the whole process:
//! an error does not know its migration.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

/// Names that are kept; further ones are not told.
const NAMES_MAX: usize = 10_000;

static CHECKS: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// Notes a check of a table: a message names it alone, or behind the table where it belongs to a column.
pub(crate) fn learn_check(table: &str, name: &str) {
    let mut checks = CHECKS.write().unwrap_or_else(PoisonError::into_inner);
    for name in [name.to_owned(), format!("{table}.{name}")] {
        if checks.len() < NAMES_MAX {
            checks.insert(name);
        }
    }
}

/// The name, where a catalogue has it.
pub(super) fn known_check(name: Option<&str>) -> Option<&str> {
    let checks = CHECKS.read().unwrap_or_else(PoisonError::into_inner);
    name.filter(|name| checks.contains(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_catalogue_has_is_told() {
        learn_check("person", "adult");
        for name in ["adult", "person.adult"] {
            assert_eq!(known_check(Some(name)), Some(name));
        }
        for name in ["", "person", "Adult", "ada@example.org", "person.adult."] {
            assert_eq!(known_check(Some(name)), None, "{name}");
        }
        assert_eq!(known_check(None), None);
    }
}
