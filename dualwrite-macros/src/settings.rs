//! The one parser for what stands inside our attributes: `key = value` pairs and bare flags. Unknown
//! and repeated keys are mistakes, never ignored.

use proc_macro2::TokenStream;
use syn::ext::IdentExt as _;
use syn::parse::discouraged::Speculative as _;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprPath, Ident, Meta, Path, Token};

use crate::diag::{Errors, list, nearest, suggestion};

/// The settings of one attribute, each taken out by the part that understands it.
pub(crate) struct Settings {
    /// The attribute as shown in messages.
    place: &'static str,
    valid: &'static [&'static str],
    found: Vec<Setting>,
    /// Whether something in here was reported already, so that "is missing" would be noise.
    flawed: bool,
}

/// One `key` or `key = value`.
struct Setting {
    key: Ident,
    value: Option<Expr>,
    /// `key =`, and nothing behind it.
    is_unfinished: bool,
    /// It was misspelt, and meant this most likely.
    is_guess: bool,
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        // `crate` is a keyword, so plain identifiers would not do.
        let key = Ident::parse_any(input)?;
        let has_value = input.parse::<Option<Token![=]>>()?.is_some();
        let is_unfinished = has_value && (input.is_empty() || input.peek(Token![,]));
        let value = match has_value && !is_unfinished {
            true => Some(value(input)?),
            false => None,
        };
        Ok(Self { key, value, is_unfinished, is_guess: false })
    }
}

/// An expression, or a type by its path: `Page<T>` would be two comparisons as an expression.
fn value(input: ParseStream<'_>) -> syn::Result<Expr> {
    let ahead = input.fork();
    match ahead.parse::<Path>() {
        Ok(path) if ahead.is_empty() || ahead.peek(Token![,]) => {
            input.advance_to(&ahead);
            Ok(Expr::Path(ExprPath { attrs: Vec::new(), qself: None, path }))
        }
        _ => input.parse(),
    }
}

impl Settings {
    /// No settings yet; `valid` are the keys that may be added.
    pub(crate) fn new(place: &'static str, valid: &'static [&'static str]) -> Self {
        Self { place, valid, found: Vec::new(), flawed: false }
    }

    /// Adds what stands in an attribute on an item: `#[name]`, `#[name(…)]`.
    pub(crate) fn add_attribute(&mut self, attribute: &Attribute, errors: &mut Errors) {
        match &attribute.meta {
            Meta::Path(_) => {}
            Meta::List(list) => self.add(list.tokens.clone(), errors),
            Meta::NameValue(pair) => {
                self.flawed = true;
                let rule = self.rule();
                errors.on(
                    &pair.eq_token,
                    format!("settings stand in parentheses, not after `=`; {rule}"),
                );
            }
        }
    }

    /// Adds what stands between the parentheses of an attribute.
    pub(crate) fn add(&mut self, tokens: TokenStream, errors: &mut Errors) {
        match Punctuated::<Setting, Token![,]>::parse_terminated.parse2(tokens) {
            Ok(settings) => settings.into_iter().for_each(|setting| self.insert(setting, errors)),
            Err(error) => {
                self.flawed = true;
                errors.at(error.span(), format!("{error}; {}", self.rule()));
            }
        }
    }

    fn insert(&mut self, setting: Setting, errors: &mut Errors) {
        let key = setting.key.to_string();
        if !self.valid.contains(&key.as_str()) {
            self.flawed = true;
            let near = suggestion(&key, self.valid);
            let separator = if near.is_empty() { ";" } else { "" };
            let message = format!("unknown key `{key}`{near}{separator} {}", self.rule());
            match nearest(&key, self.valid) {
                None => errors.on(&setting.key, message),
                Some(meant) => {
                    errors.on_and_go_on(&setting.key, message);
                    let key = Ident::new(meant, setting.key.span());
                    if !self.found.iter().any(|known| known.key == key) {
                        self.found.push(Setting { key, is_guess: true, ..setting });
                    }
                }
            }
            return;
        }
        self.found.retain(|known| known.key != key || !known.is_guess);
        if self.found.iter().any(|known| known.key == key) {
            self.flawed = true;
            errors.on(&setting.key, format!("`{key}` is given twice: keep one"));
        } else {
            self.found.push(setting);
        }
    }

    fn rule(&self) -> String {
        format!("{} takes {}", self.place, list(self.valid.iter().copied()))
    }

    /// `#[key(crate = path)]`: where the path of the library is said.
    pub(crate) fn example(&self) -> String {
        let name = self.place.split(['[', ']']).nth(1).unwrap_or_default();
        format!("#[{name}(crate = path)]")
    }

    fn take(&mut self, key: &str) -> Option<Setting> {
        let index = self.found.iter().position(|setting| setting.key == key)?;
        Some(self.found.remove(index))
    }

    /// The keys that were given and that nobody has taken yet.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Ident> {
        self.found.iter().map(|setting| &setting.key)
    }

    /// Whether something was reported about these settings already.
    pub(crate) fn is_flawed(&self) -> bool {
        self.flawed
    }

    /// Takes a flag: its name where it was given.
    pub(crate) fn flag(&mut self, key: &str, errors: &mut Errors) -> Option<Ident> {
        let setting = self.take(key)?;
        if setting.value.is_some() || setting.is_unfinished {
            self.flawed = true;
            let message = format!("`{key}` takes no value: write `{key}` alone");
            match &setting.value {
                Some(value) => errors.on(value, message),
                None => errors.on(&setting.key, message),
            }
        }
        Some(setting.key)
    }

    /// Takes a `key = value`; `what` tells in messages what the value is.
    pub(crate) fn value(
        &mut self,
        key: &str,
        what: &str,
        errors: &mut Errors,
    ) -> Option<(Ident, Expr)> {
        let Setting { key, value, .. } = self.take(key)?;
        if value.is_none() {
            self.flawed = true;
            errors.on(&key, format!("`{key}` needs a value: write `{key} = …`, {what}"));
        }
        Some((key, value?))
    }
}
