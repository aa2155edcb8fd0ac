//! Each field belongs to one pair, and each generated method has a name of its own.

use proc_macro2::Ident;

use super::super::model::{Pair, Part, Place};
use crate::diag::Errors;
use crate::names;

/// Reports fields that are in several pairs, and methods that would have the same name. Returns which pairs can have
/// methods.
pub(super) fn check(pairs: &[Pair], errors: &mut Errors) -> Vec<bool> {
    let mut can_have = Vec::new();
    let mut taken: Vec<String> = names::DUAL_METHODS.map(str::to_owned).to_vec();
    for (index, pair) in pairs.iter().enumerate() {
        let before = errors.count();
        check_fields(pair, &pairs[..index], pairs, errors);
        check_marker(pair, pairs, errors);
        if errors.count() > before {
            can_have.push(false);
            continue;
        }
        let mut methods = vec![
            ("getter", pair.name.clone()),
            ("setter", pair.setter.clone()),
            ("method", names::by_plan(&pair.name)),
            ("method", names::by_plan(&pair.setter)),
            ("method", names::source(&pair.name)),
        ];
        if pair.can_be_cleared() {
            let clear = names::clear(&pair.name);
            methods.push(("method", names::by_plan(&clear)));
            methods.push(("method", clear));
        }
        let collision = methods.iter().find(|(_, name)| taken.contains(&names::plain(name)));
        if let Some((what, name)) = collision {
            let key = if names::plain(name).starts_with(&names::plain(&pair.setter)) {
                "setter"
            } else {
                "getter"
            };
            errors.on(
                &pair.name,
                format!(
                    "the {what} `{}` collides with another generated method: choose a name with `{key} = …`",
                    names::plain(name)
                ),
            );
        }
        can_have.push(collision.is_none());
        taken.extend(methods.iter().map(|(_, name)| names::plain(name)));
    }
    can_have
}

fn check_fields(pair: &Pair, earlier: &[Pair], all: &[Pair], errors: &mut Errors) {
    for parts in [&pair.old, &pair.new] {
        for (index, part) in parts.iter().enumerate() {
            if let (Some(name), true) = (field(part), has(&parts[..index], &part.shown())) {
                errors.on(name, format!("`{}` is named twice: each field once", part.shown()));
            }
        }
    }
    let Some(first) = pair.old.first().and_then(field) else { return };
    for part in &pair.new {
        let name = part.shown();
        if let Some(other) = earlier.iter().find(|other| has(&other.new, &name)) {
            let theirs = other.old.first().map(Part::shown).unwrap_or_default();
            errors.on(
                first,
                format!("`{theirs}` has the new field `{name}` already: give this one a field of its own"),
            );
        }
        if all.iter().any(|other| has(&other.old, &name)) {
            errors.on(
                first,
                format!("`{name}` has a new field itself: finish one rename before the next, or name the last field here"),
            );
        }
    }
    for part in &pair.old {
        if let (Some(name), true) =
            (field(part), earlier.iter().any(|other| has(&other.old, &part.shown())))
        {
            errors.on(
                name,
                format!("`{}` has its new side already: a setter of the one would leave the other behind", part.shown()),
            );
        }
    }
}

/// Whether a marker of one field is a side of another.
fn check_marker(pair: &Pair, all: &[Pair], errors: &mut Errors) {
    let Some(marker) = &pair.marker else { return };
    let name = names::plain(&marker.name);
    if all.iter().any(|other| has(&other.old, &name) || has(&other.new, &name)) {
        errors.on(
            &marker.name,
            format!("`{name}` is a side of a field itself: declare a `bool` that says whether the new side has been written"),
        );
    }
}

fn has(parts: &[Part], name: &str) -> bool {
    parts.iter().any(|part| part.shown() == name)
}

fn field(part: &Part) -> Option<&Ident> {
    match &part.place {
        Place::Field(name) => Some(name),
        Place::Within { .. } => None,
    }
}
