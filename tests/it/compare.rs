//! What the derived comparison finds: every attribute on values that agree and on values that do not.

mod across_types;
mod attributes;
mod properties;
mod shapes;

use dualwrite::{Compare, compare::Differences};

/// What is reported, one difference in each line.
#[track_caller]
fn found<Old: Compare<New>, New>(old: &Old, new: &New) -> String {
    let found = Differences::between(old, new);
    assert_eq!(found.is_empty(), !Differences::exist_between(old, new));
    assert_eq!(found.kept().len() as u64, found.total());
    found.to_string()
}
