//! Names of columns, indexes and constraints that a catalogue has: MySQL and MariaDB name them in a text that a trigger may
//! give as well, number and SQLSTATE included, with any value in the place of the name. Known are those of tables that a
//! copy function names. Pure, and for the whole process: an error does not know its migration.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

/// Names that are kept; further ones are not told.
const NAMES_MAX: usize = 20_000;

static NAMES: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// Notes what a table has: a message names it alone, or behind the table.
pub(crate) fn learn<'n>(table: &str, names: impl Iterator<Item = &'n str>) {
    let mut known = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    for name in names.flat_map(|name| [name.to_owned(), format!("{table}.{name}")]) {
        if known.len() < NAMES_MAX {
            known.insert(name);
        }
    }
}

/// The name, where a catalogue has it.
pub(super) fn known(name: Option<&str>) -> Option<&str> {
    let known = NAMES.read().unwrap_or_else(PoisonError::into_inner);
    name.filter(|name| known.contains(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_catalogue_has_is_told() {
        learn("person", ["adult", "email"].into_iter());
        for name in ["adult", "person.adult", "email", "person.email"] {
            assert_eq!(known(Some(name)), Some(name));
        }
        for name in ["", "person", "Adult", "ada@example.org", "person.adult."] {
            assert_eq!(known(Some(name)), None, "{name}");
        }
        assert_eq!(known(None), None);
    }
}
