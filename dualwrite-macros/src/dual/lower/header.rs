//! What `#[dual(…)]` on the struct says: where the library is, the key, and the table.

use proc_macro2::Ident;
use syn::ext::IdentExt as _;
use syn::{DeriveInput, Expr, FieldsNamed};

use super::super::model::{Field, Moved, Pair, Part, Place, Table};
use super::{column, is_ours, row, value};
use crate::diag::{Errors, suggestion};
use crate::names;
use crate::paths::Root;
use crate::settings::Settings;

/// The attribute on the struct, before anything is known of the fields.
pub(in super::super) struct Header {
    pub(in super::super) root: Root,
    table: Option<(Ident, Expr)>,
    key: Option<(Ident, Expr)>,
}

impl Header {
    pub(in super::super) fn of(input: &DeriveInput, errors: &mut Errors) -> Self {
        let mut settings = Settings::new("`#[dual]` on a struct", &["crate", "table", "key"]);
        for attribute in input.attrs.iter().filter(|attribute| is_ours(attribute)) {
            settings.add_attribute(attribute, errors);
        }
        Self {
            root: Root::from_settings(&mut settings, errors),
            table: settings.value("table", value::TABLE, errors),
            key: settings.value("key", value::KEY, errors),
        }
    }

    pub(super) fn has_table(&self) -> bool {
        self.table.is_some()
    }

    /// The fields of the key.
    pub(super) fn key<'f>(
        &self,
        fields: &'f FieldsNamed,
        errors: &mut Errors,
    ) -> Vec<&'f syn::Field> {
        let Some((_, given)) = &self.key else {
            if let Some((table, _)) = &self.table {
                errors.on(
                    table,
                    "`table` needs the key of its rows: add `key = \"…\"`, the field's name",
                );
            }
            return Vec::new();
        };
        let wanted = value::key(given, errors).unwrap_or_default();
        let mut found: Vec<&syn::Field> = Vec::new();
        for (name, span) in wanted {
            match find(fields, &name) {
                Some(field) if found.iter().any(|other| std::ptr::eq(*other, field)) => {
                    errors.at(span, format!("`{name}` is in the key twice: keep one"));
                }
                Some(field) => found.push(field),
                None => errors.at(span, missing(fields, &name)),
            }
        }
        found
    }

    /// The table, with its columns in the order of the fields.
    pub(super) fn table(
        &self,
        input: &DeriveInput,
        fields: &FieldsNamed,
        key: &[&syn::Field],
        (pairs, moved): (&[Pair], &[Moved]),
        errors: &mut Errors,
    ) -> Option<Table> {
        let (_, given) = self.table.as_ref()?;
        let name = value::identifier("table", given, 2, errors);
        if let Some(lifetime) = input.generics.lifetimes().next() {
            errors.on(
                &lifetime.lifetime,
                "a struct with `table` owns its values: use `String` and the like, or drop `table`",
            );
        }
        let spelled = column::Spelled::of(&input.attrs);
        let mut row = Row::default();
        for field in &fields.named {
            row.add((field, spelled), key, (pairs, moved), errors);
        }
        check_one_row(pairs, errors);
        Some(Table {
            name: name?,
            key_types: key.iter().map(|field| field.ty.clone()).collect(),
            key: key
                .iter()
                .map(|field| column::name(field, spelled, &mut Errors::default()))
                .collect(),
            columns: row.columns,
            old_columns: row.old,
            new_columns: row.new,
            fields: row.fields,
        })
    }
}

/// The columns of a table, as its fields are read.
#[derive(Default)]
struct Row {
    columns: Vec<String>,
    /// Those that the old side reads and writes, and the new side.
    old: Vec<String>,
    new: Vec<String>,
    fields: Vec<Field>,
}

impl Row {
    fn add(
        &mut self,
        (field, spelled): (&syn::Field, column::Spelled),
        key: &[&syn::Field],
        (pairs, moved): (&[Pair], &[Moved]),
        errors: &mut Errors,
    ) {
        let (Some(ident), false) = (&field.ident, column::is_elsewhere(field)) else { return };
        let (name, column) = (names::plain(ident), column::name(field, spelled, errors));
        value::check_column(&column, ident.span(), errors);
        let renamed = moved.iter().find(|moved| moved.name == *ident);
        self.check_own(ident, &column, errors);
        let markers = pairs.iter().filter_map(|pair| pair.marker.as_ref());
        let mut markers = markers.chain(moved.iter().filter_map(|moved| moved.marker.as_ref()));
        let is_marker = markers.any(|marker| marker.name == *ident);
        let is_part = |part: &Part| part.shown() == name;
        let is_new = is_marker || pairs.iter().any(|pair| pair.new.iter().any(is_part));
        let is_old = pairs.iter().any(|pair| pair.old.iter().any(is_part));
        if (is_old || is_new || renamed.is_some())
            && key.iter().any(|key| key.ident.as_ref() == Some(ident))
        {
            errors.on(
                ident,
                "the key tells which row it is: it cannot be on the old or the new side itself",
            );
        }
        if !is_new {
            self.old.push(column.clone());
        }
        if !is_old && renamed.is_none() {
            self.new.push(column.clone());
        }
        self.fields.push(row::field(field, ident, &column, pairs, renamed, is_marker));
        self.columns.push(column);
        if let Some(Moved { new, .. }) = renamed {
            self.check_own(ident, new, errors);
            self.new.push(new.clone());
            self.columns.push(new.clone());
        }
    }

    /// Each field has a column of its own.
    fn check_own(&self, ident: &Ident, column: &String, errors: &mut Errors) {
        if self.columns.contains(column) {
            errors
                .on(ident, format!("`{column}` is the column of another field: each has its own"));
        }
    }
}

/// The ready copy works within one row.
fn check_one_row(pairs: &[Pair], errors: &mut Errors) {
    for part in pairs.iter().flat_map(|pair| &pair.new) {
        if let Place::Within { record, .. } = &part.place {
            errors.on(
                record,
                format!(
                    "`{}` is in another record, and the ready copy works within one row: drop `table`, and write a `CopyKeys`",
                    part.shown()
                ),
            );
        }
    }
}

/// A field by its name without `r#`.
pub(super) fn find<'f>(fields: &'f FieldsNamed, name: &str) -> Option<&'f syn::Field> {
    fields
        .named
        .iter()
        .find(|field| field.ident.as_ref().is_some_and(|ident| ident.unraw() == name))
}

fn missing(fields: &FieldsNamed, name: &str) -> String {
    let known = fields.named.iter().filter_map(|field| field.ident.as_ref()).map(names::plain);
    format!("this struct has no field `{name}`{}", suggestion(name, known))
}
