//! Names of columns, indexes and constraints that a catalogue has: MySQL and MariaDB name them in a text that a trigger may
//! give as well, number and SQLSTATE included, with any value in the place of the name. Known are those of tables that a
//! copy function names, and the words of its statements, so that an error also names a column that no table has. Pure, and
//! for the whole process: an error does not know its migration.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

/// Names that are kept; further ones are not told.
const NAMES_MAX: usize = 20_000;

static NAMES: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// Notes a table and what it has: a message names it alone, or behind the table.
pub(crate) fn learn<'n>(table: &str, names: impl Iterator<Item = &'n str>) {
    let inside = names.flat_map(|name| [name.to_owned(), format!("{table}.{name}")]);
    keep(inside.chain([table.to_owned()]));
}

/// Notes the words of a statement that is a part of the program, as no value is: not those of its literals.
pub(crate) fn learn_words(sql: &str, is_opaque: impl Fn(usize) -> bool) {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let mut words = Vec::new();
    let mut begin = None;
    for (at, c) in sql.char_indices().chain([(sql.len(), ' ')]) {
        match (is_word(c) && !is_opaque(at), begin) {
            (true, None) => begin = Some(at),
            (false, Some(first)) => {
                words.push(sql[first..at].to_owned());
                begin = None;
            }
            _ => {}
        }
    }
    keep(words.into_iter());
}

fn keep(names: impl Iterator<Item = String>) {
    let mut known = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    for name in names {
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
        learn_words("UPDATE shop.visit SET seen_at = 'PLANTED' WHERE n > 1", |at| {
            at > 28 && at < 38
        });
        for name in ["adult", "person.adult", "email", "person.email", "person", "visit", "seen_at"]
        {
            assert_eq!(known(Some(name)), Some(name));
        }
        for name in ["", "people", "PLANTED", "Adult", "ada@example.org", "person.adult."] {
            assert_eq!(known(Some(name)), None, "{name}");
        }
        assert_eq!(known(None), None);
    }
}
