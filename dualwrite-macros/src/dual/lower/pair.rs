//! One logical field: what its attribute says, and which keys go together.

use proc_macro2::Ident;
use quote::ToTokens as _;
use syn::spanned::Spanned as _;
use syn::{Expr, FieldsNamed, Generics, Member, Type};

use super::super::model::{Absent, How, Pair, Part, Place, Present};
use super::super::types::{is_same, mentions_parameter, shown, view, without_option};
use super::header::find;
use super::value::{self, Wanted};
use super::{column, is_ours, marker};
use crate::diag::{Errors, nearest, suggestion};
use crate::names;
use crate::settings::Settings;

pub(super) const KEYS: [&str; 13] = [
    "new",
    "old",
    "forward",
    "backward",
    "sql",
    "present",
    "copied",
    "absent",
    "type",
    "getter",
    "setter",
    "column",
    "new_column",
];

/// A key where it was given, and its value.
type Given = Option<(Ident, Expr)>;

/// What is known of the struct.
pub(super) struct Surroundings<'i> {
    pub(super) fields: &'i FieldsNamed,
    pub(super) generics: &'i Generics,
    pub(super) has_table: bool,
    pub(super) spelled: column::Spelled,
}

/// The pair that the attributes of a field describe.
pub(super) fn pair(
    field: &syn::Field,
    around: &Surroundings<'_>,
    errors: &mut Errors,
) -> Option<Pair> {
    let own = field.ident.as_ref()?;
    let mut attributes = field.attrs.iter().filter(|attribute| is_ours(attribute)).peekable();
    let first = *attributes.peek()?;
    let mut settings = Settings::new("`#[dual]` on a field", &KEYS);
    for attribute in attributes {
        settings.add_attribute(attribute, errors);
    }
    let column = settings.value("column", value::COLUMN, errors);
    if let (Some((key, _)), false) = (&column, around.has_table) {
        errors.on(
            key,
            "`column` is for the columns of a `table`: add `table` to the struct, or drop it",
        );
    }
    let (new, old) =
        (settings.value("new", value::NEW, errors), settings.value("old", value::OLD, errors));
    let given = match (new, old) {
        (Some(_), Some((old, _))) => {
            errors.on(&old, "a field is old or new, not both: drop `old`, or drop `new`");
            return None;
        }
        (None, None) => {
            let moved = settings.keys().any(|key| key == "new_column");
            let only_column = column.is_some() && settings.keys().next().is_none();
            if !settings.is_flawed() && !only_column && !moved {
                errors.on(first.path(), "say where the new value lives: `#[dual(new = …)]`, or `#[dual(new_column = \"…\")]` where only the column changes");
            }
            return None;
        }
        (Some(new), None) => (new, true),
        (None, Some(old)) => (old, false),
    };
    Reading { own, field, around, settings }.pair(given, errors)
}

/// A field whose other side was named.
struct Reading<'r> {
    own: &'r Ident,
    field: &'r syn::Field,
    around: &'r Surroundings<'r>,
    settings: Settings,
}

impl Reading<'_> {
    fn pair(
        &mut self,
        ((key, given), names_new): ((Ident, Expr), bool),
        errors: &mut Errors,
    ) -> Option<Pair> {
        let before = errors.count();
        let wanted = value::sides(&given, &key.to_string(), errors);
        let forward = self.settings.value("forward", value::FUNCTION, errors);
        let backward = self.settings.value("backward", value::FUNCTION, errors);
        let is_converted = forward.is_some() || backward.is_some();
        let other = wanted.and_then(|wanted| self.parts(wanted, names_new, is_converted, errors));
        let own = vec![self.own_part()];
        let sides = other.map(|other| if names_new { (own, other) } else { (other, own) });
        let old_sides = sides.as_ref().filter(|_| !names_new).map(|(old, _)| old.as_slice());
        self.check_several(&key, old_sides.unwrap_or_default(), errors);
        let how = how(forward, backward, errors);
        if let (Some((old, new)), false) = (&sides, is_converted) {
            check_rename(old, new, &given, errors);
        }
        let present = self.present(errors);
        let marker = marker::marker(&mut self.settings, self.own, self.around, errors);
        let absent = self.absent(sides.as_ref().map(|(_, new)| new.as_slice()), errors);
        let columns = sides.as_ref().map_or(1, |(_, new)| new.len());
        let sql = self.sql(columns, is_converted, errors);
        let (fallback, visibility) = match &sides {
            Some((_, new)) => named_after(self.own, self.field, new, self.around.fields),
            None => (self.own.clone(), self.field.vis.clone()),
        };
        let getter = self.name("getter", fallback, errors);
        let setter = self.name("setter", names::setter(&getter), errors);
        let (old, new) = sides?;
        let pair = Pair {
            name: getter,
            setter,
            visibility,
            old,
            new,
            how: how?,
            sql: sql?,
            present: present?,
            absent: absent?,
            marker: marker?,
        };
        if let (Some(marker), false) = (&pair.marker, pair.can_be_cleared()) {
            errors.on(&marker.name, marker::ONLY_OPTIONS);
        }
        (errors.count() == before).then_some(pair)
    }

    fn check_several(&self, key: &Ident, old: &[Part], errors: &mut Errors) {
        if let [old] = old {
            let (own, old) = (self.own, old.shown());
            let message =
                format!("for a single field say it there: `#[dual(new = {own})]` on `{old}`");
            errors.on(key, message);
        }
    }

    /// The name that a setting gives, or this one.
    fn name(&mut self, key: &'static str, fallback: Ident, errors: &mut Errors) -> Ident {
        let given = self.settings.value(key, value::NAME, errors);
        given.and_then(|(key, given)| value::name(&key, &given, errors)).unwrap_or(fallback)
    }

    fn own_part(&self) -> Part {
        part(Place::Field(self.own.clone()), &self.field.ty, self.around, self.column(self.field))
    }

    fn column(&self, field: &syn::Field) -> String {
        match self.around.has_table {
            // What is wrong with the name is reported for the table's columns, once.
            true => column::name(field, self.around.spelled, &mut Errors::default()),
            false => String::new(),
        }
    }

    /// The parts of the other side. What is missing was reported.
    fn parts(
        &mut self,
        wanted: Vec<Wanted>,
        is_new: bool,
        is_converted: bool,
        errors: &mut Errors,
    ) -> Option<Vec<Part>> {
        let ty = self.settings.value("type", value::TYPE, errors);
        if let (Some((key, _)), false) = (&ty, matches!(wanted.as_slice(), [Wanted::Within(..)])) {
            errors.on(
                key,
                "`type` is for a field of another record, which cannot be seen from here: drop it",
            );
        }
        let before = errors.count();
        let mut parts = Vec::new();
        for wanted in wanted {
            let read = match wanted {
                Wanted::Field(name) => self.part_of_struct(&name, is_new, errors),
                Wanted::Within(record, _) if !is_new => {
                    errors.on(&record, "old fields are fields of this struct: name one");
                    None
                }
                Wanted::Within(record, rest) => {
                    let ty = ty.as_ref().map(|(_, given)| given);
                    self.part_within(&record, rest, (ty, is_converted), errors)
                }
            };
            parts.extend(read);
        }
        (errors.count() == before).then_some(parts)
    }

    fn part_of_struct(&self, name: &Ident, is_new: bool, errors: &mut Errors) -> Option<Part> {
        let field = self.find(name, is_new, errors)?;
        let place = Place::Field(field.ident.clone()?);
        Some(part(place, &field.ty, self.around, self.column(field)))
    }

    /// A field of another record, which is a field of this struct.
    fn part_within(
        &self,
        record: &Ident,
        rest: Vec<Member>,
        (ty, is_converted): (Option<&Expr>, bool),
        errors: &mut Errors,
    ) -> Option<Part> {
        let field = self.find(record, true, errors)?;
        let ty = match ty {
            Some(given) => value::ty(given, errors)?,
            None if is_converted => {
                let last = rest.last()?;
                errors.on(
                    last,
                    format!(
                        "the type of `{}` cannot be seen from here: add `type = …`",
                        shown_member(last)
                    ),
                );
                return None;
            }
            None => without_option(&self.field.ty).0.clone(),
        };
        let is_optional = without_option(&field.ty).1;
        let place = Place::Within { record: field.ident.clone()?, is_optional, rest };
        Some(part(place, &ty, self.around, String::new()))
    }

    fn find(&self, wanted: &Ident, is_new: bool, errors: &mut Errors) -> Option<&syn::Field> {
        let found = find(self.around.fields, &names::plain(wanted));
        if found.is_some_and(|found| found.ident.as_ref() == Some(self.own)) {
            errors.on(
                wanted,
                match is_new {
                    true => {
                        "a field cannot be its own new side: name the field that takes its place"
                    }
                    false => "a field cannot be its own old side: name the fields that it replaces",
                },
            );
            return None;
        }
        if found.is_none() {
            let fields = self.around.fields.named.iter().filter_map(|field| field.ident.as_ref());
            let known = || fields.clone().filter(|name| *name != self.own).map(names::plain);
            let wanted_name = names::plain(wanted);
            let near = suggestion(&wanted_name, known());
            let advice = if is_new { ": add it as an `Option`" } else { "" };
            let message = format!("this struct has no field `{wanted}`{advice}{near}");
            let Some(meant) = nearest(&wanted_name, known()) else {
                errors.on(wanted, message);
                return None;
            };
            errors.on_and_go_on(wanted, message);
            return find(self.around.fields, &meant);
        }
        found
    }

    fn present(&mut self, errors: &mut Errors) -> Option<Present> {
        let Some((key, given)) = self.settings.value("present", value::PRESENT, errors) else {
            return Some(Present::Filled);
        };
        let path = value::function(&key, &given, value::PRESENT, errors)?;
        Some(match path.get_ident() {
            Some(word) if word == "non_default" => Present::NonDefault,
            Some(word) if word == "some" => Present::Some,
            _ => Present::By(path),
        })
    }

    fn absent(&mut self, new: Option<&[Part]>, errors: &mut Errors) -> Option<Absent> {
        let Some((key, given)) = self.settings.value("absent", value::ABSENT, errors) else {
            return Some(Absent::Refuse);
        };
        let within = |part: &Part| matches!(part.place, Place::Within { is_optional: true, .. });
        if new.is_some_and(|new| !new.iter().any(within)) {
            errors.on(&key, "`absent` is for a field of a record in an `Option`: drop it");
        }
        match &given {
            Expr::Path(path) if path.path.is_ident("default") => Some(Absent::MakeDefault),
            given => {
                errors.on(given, "`absent` takes `default`, which makes the record with `Default`");
                None
            }
        }
    }

    fn sql(
        &mut self,
        columns: usize,
        is_converted: bool,
        errors: &mut Errors,
    ) -> Option<Vec<String>> {
        let Some((key, given)) = self.settings.value("sql", value::SQL, errors) else {
            return Some(Vec::new());
        };
        if !is_converted {
            errors.on(
                &key,
                "`sql` says in SQL what `forward` says in Rust: add `forward` and `backward`",
            );
        }
        if !self.around.has_table {
            errors.on(&key, "`sql` is for the ready copy: add `table` and `key` to the struct");
        }
        value::sql(&given, columns, errors)
    }
}

fn shown_member(member: &Member) -> String {
    match member {
        Member::Named(name) => names::plain(name),
        Member::Unnamed(index) => index.index.to_string(),
    }
}

fn part(place: Place, ty: &Type, around: &Surroundings<'_>, column: String) -> Part {
    let (value, is_optional) = without_option(ty);
    Part {
        place,
        value: value.clone(),
        is_optional,
        view: view(value),
        is_generic: mentions_parameter(value.to_token_stream(), around.generics),
        column,
    }
}

/// A logical field is called as its new side, unless that is several.
fn named_after(
    own: &Ident,
    field: &syn::Field,
    new: &[Part],
    fields: &FieldsNamed,
) -> (Ident, syn::Visibility) {
    let visibility = |name: &Ident| {
        let found = find(fields, &names::plain(name));
        found.map_or_else(|| field.vis.clone(), |field| field.vis.clone())
    };
    match new {
        [Part { place: Place::Field(name), .. }] => (name.clone(), visibility(name)),
        [Part { place: Place::Within { record, rest, .. }, .. }] => {
            let last = rest.iter().rev().find_map(|member| match member {
                Member::Named(name) => Some(name.clone()),
                Member::Unnamed(_) => None,
            });
            (last.unwrap_or_else(|| own.clone()), visibility(record))
        }
        [Part { place: Place::Field(name), .. }, ..] => (own.clone(), visibility(name)),
        _ => (own.clone(), field.vis.clone()),
    }
}

fn how(forward: Given, backward: Given, errors: &mut Errors) -> Option<How> {
    match (forward, backward) {
        (None, None) => Some(How::Rename),
        (Some((forward, to_new)), Some((backward, to_old))) => {
            let to_new = value::function(&forward, &to_new, value::FUNCTION, errors);
            let to_old = value::function(&backward, &to_old, value::FUNCTION, errors);
            Some(How::Convert { forward: to_new?, backward: to_old? })
        }
        (Some((key, _)), None) => {
            errors.on(
                &key,
                "`forward` needs its way back: add `backward = …`, a function from the new field to the old one",
            );
            None
        }
        (None, Some((key, _))) => {
            errors.on(
                &key,
                "`backward` needs its way there: add `forward = …`, a function from the old field to the new one",
            );
            None
        }
    }
}

/// Without a conversion there is one field on each side, of one type.
fn check_rename(old: &[Part], new: &[Part], given: &Expr, errors: &mut Errors) {
    const ADVICE: &str = "say how with `forward = …` and `backward = …`";
    match (old, new) {
        ([old], [new]) => {
            if !is_same(&old.value, &new.value) {
                let types = (shown(&old.value), shown(&new.value));
                let message = format!(
                    "`{}` is `{}` and `{}` is `{}`: {ADVICE}",
                    old.shown(),
                    types.0,
                    new.shown(),
                    types.1
                );
                errors.on(&new.value, message);
            }
        }
        ([_], _) => errors.at(given.span(), format!("one value becomes several: {ADVICE}")),
        _ => errors.at(given.span(), format!("several values become one: {ADVICE}")),
    }
}
