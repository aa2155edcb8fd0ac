//! What the attributes of one field say, and which of them go together.

use proc_macro2::Ident;
use syn::{Expr, Member};

use super::super::model::{Field, Header, How, Samples};
use super::{add_attributes, samples, value};
use crate::diag::Errors;
use crate::settings::Settings;

const KEYS: [&str; 10] = [
    "ignore",
    "with",
    "tolerance",
    "relative",
    "unordered",
    "key",
    "reveal",
    "redact",
    "rename",
    "other",
];

/// A key where it was given, and its value.
type Given = Option<(Ident, Expr)>;

/// The keys that say how values are compared.
struct Ways {
    with: Given,
    tolerance: Given,
    relative: Given,
    unordered: Option<Ident>,
    key: Given,
}

/// The field, unless it is ignored.
pub(super) fn field(
    field: &syn::Field,
    member: Member,
    header: &Header,
    errors: &mut Errors,
) -> Option<Field> {
    let mut settings = Settings::new("`#[compare]` on a field", &KEYS);
    add_attributes(&field.attrs, &mut settings, errors);
    if let Some(ignore) = settings.flag("ignore", errors) {
        for key in settings.keys() {
            errors
                .on(&key, format!("`{ignore}` leaves this field out: drop `{key}`, or `{ignore}`"));
        }
        return None;
    }
    let mut ways = Ways {
        with: settings.value("with", value::FUNCTION, errors),
        tolerance: settings.value("tolerance", value::TOLERANCE, errors),
        relative: settings.value("relative", value::SHARE, errors),
        unordered: settings.flag("unordered", errors),
        key: settings.value("key", value::KEY, errors),
    };
    ways.check(errors);
    Some(Field {
        how: ways.how(errors),
        other: other(&mut settings, &member, header, errors),
        ty: field.ty.clone(),
        name: settings
            .value("rename", value::NAME, errors)
            .and_then(|(_, given)| value::name(&given, errors))
            .unwrap_or_else(|| value::shown_member(&member)),
        samples: samples(&mut settings, errors).or(header.samples).unwrap_or(Samples::Redacted),
        member,
    })
}

fn other(settings: &mut Settings, member: &Member, header: &Header, errors: &mut Errors) -> Member {
    let Some((key, given)) = settings.value("other", value::MEMBER, errors) else {
        return member.clone();
    };
    if header.other.is_none() {
        errors
            .on(&key, "`other` on a field needs `other = …` on the item: both sides are this type");
    }
    value::member(&given, errors).unwrap_or_else(|| member.clone())
}

impl Ways {
    /// Reports keys that do not go together, each on the one to drop.
    fn check(&self, errors: &mut Errors) {
        let name = |given: &Given| given.as_ref().map(|(name, _)| name.clone());
        let floats: Vec<Ident> =
            name(&self.tolerance).into_iter().chain(name(&self.relative)).collect();
        let lists: Vec<Ident> = self.unordered.clone().into_iter().chain(name(&self.key)).collect();
        if self.with.is_some() {
            for key in floats.iter().chain(&lists) {
                errors.on(
                    key,
                    format!("`with` decides alone: drop `{key}`, or see to it in the function"),
                );
            }
            return;
        }
        if let [unordered, _] = lists.as_slice() {
            errors.on(unordered, "`key` matches elements in any order: drop `unordered`");
        }
        if let Some(list) = lists.last() {
            for float in &floats {
                errors.on(float, format!("`{float}` is for floats and `{list}` for lists: for both write a function, `with = …`"));
            }
        }
    }

    /// How the field is compared. What is missing here was reported.
    fn how(&mut self, errors: &mut Errors) -> How {
        if let Some((_, given)) = self.with.take() {
            return value::function(&given, errors).map_or(How::Plain, How::With);
        }
        if self.tolerance.is_some() || self.relative.is_some() {
            let absolute =
                self.tolerance.take().and_then(|(_, given)| value::tolerance(&given, errors));
            let relative = self.relative.take().and_then(|(_, given)| value::share(&given, errors));
            return How::Near {
                absolute: absolute.unwrap_or_default(),
                relative: relative.unwrap_or_default(),
            };
        }
        if let Some((_, given)) = self.key.take() {
            return value::key(&given, errors).map_or(How::Plain, How::Keyed);
        }
        if self.unordered.is_some() { How::Unordered } else { How::Plain }
    }
}
