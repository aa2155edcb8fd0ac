//! What the column of a field is called: `#[dual(column = "…")]`, else `#[sqlx(rename = "…")]`, else as
//! the field, spelled as `#[sqlx(rename_all = "…")]` on the struct says.

use heck::{
    ToKebabCase as _, ToLowerCamelCase as _, ToShoutySnakeCase as _, ToSnakeCase as _,
    ToUpperCamelCase as _,
};
use syn::{Attribute, Expr, LitStr};

use super::{is_ours, value};
use crate::diag::Errors;
use crate::names;
use crate::settings::Settings;

/// How sqlx spells the columns of a struct: the words of `rename_all`.
#[derive(Clone, Copy, Default)]
pub(super) struct Spelled(Option<fn(&str) -> String>);

impl Spelled {
    /// As the struct says. What sqlx does not know it reports itself.
    pub(super) fn of(attributes: &[Attribute]) -> Self {
        let words = of_sqlx(attributes, "rename_all").flatten();
        Self(match words.as_deref() {
            Some("snake_case") => Some(|name| name.to_snake_case()),
            Some("lowercase") => Some(str::to_lowercase),
            Some("UPPERCASE") => Some(str::to_uppercase),
            Some("SCREAMING_SNAKE_CASE") => Some(|name| name.to_shouty_snake_case()),
            Some("kebab-case") => Some(|name| name.to_kebab_case()),
            Some("camelCase") => Some(|name| name.to_lower_camel_case()),
            Some("PascalCase") => Some(|name| name.to_upper_camel_case()),
            _ => None,
        })
    }

    fn spell(self, name: String) -> String {
        match self.0 {
            Some(spell) => spell(&name),
            None => name,
        }
    }
}

/// The name of the column.
pub(super) fn name(field: &syn::Field, spelled: Spelled, errors: &mut Errors) -> String {
    ours(field, errors)
        .or_else(|| of_sqlx(&field.attrs, "rename").flatten())
        .or_else(|| field.ident.as_ref().map(|ident| spelled.spell(names::plain(ident))))
        .unwrap_or_default()
}

/// Whether sqlx takes the field from elsewhere than a column of its own.
pub(super) fn is_elsewhere(field: &syn::Field) -> bool {
    ["skip", "flatten"].iter().any(|key| of_sqlx(&field.attrs, key).is_some())
}

/// Whether `#[sqlx(…)]` on the field says this.
pub(super) fn has(field: &syn::Field, key: &str) -> bool {
    of_sqlx(&field.attrs, key).is_some()
}

fn ours(field: &syn::Field, errors: &mut Errors) -> Option<String> {
    let mut settings = Settings::new("`#[dual]` on a field", &super::pair::KEYS);
    // The pair has reported what is wrong with the attribute itself.
    for attribute in field.attrs.iter().filter(|attribute| is_ours(attribute)) {
        settings.add_attribute(attribute, &mut Errors::default());
    }
    let (_, given): (_, Expr) = settings.value("column", value::COLUMN, &mut Errors::default())?;
    value::identifier("column", &given, 1, errors)
}

/// A key of `#[sqlx(…)]`: the inner `None` where it has no value.
fn of_sqlx(attributes: &[Attribute], key: &str) -> Option<Option<String>> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("sqlx")) {
        let _ = attribute.parse_nested_meta(|meta| {
            let value = match meta.input.peek(syn::Token![=]) {
                true => Some(meta.value()?.parse::<LitStr>()?.value()),
                false => None,
            };
            if meta.path.is_ident(key) {
                found = Some(value);
            }
            Ok(())
        });
    }
    found
}
