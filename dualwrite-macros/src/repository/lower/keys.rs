//! The keys of a call: made from its arguments, or by the side that is written first.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::visit::Visit;
use syn::{Expr, ExprPath, FnArg, ItemTrait, Macro, Pat, PatType, TraitItem, TraitItemFn, Type};

use super::super::model::{Argument, Handed, Keys, Made, Passing, Then};
use super::answer::peel;
use super::arguments::is_transaction;
use super::route::DeclaredKeys;
use crate::diag::{Errors, suggestion};
use crate::names;

/// Proves the keys of a write.
pub(super) fn lower(
    declared: DeclaredKeys,
    arguments: &[Argument],
    item: &ItemTrait,
    errors: &mut Errors,
) -> Option<Keys> {
    Some(match declared {
        DeclaredKeys::One(key) => {
            check("key", &key, arguments, errors);
            Keys::One(key)
        }
        DeclaredKeys::Many(keys) => {
            check("keys", &keys, arguments, errors);
            Keys::Many(keys)
        }
        DeclaredKeys::Filter => Keys::Filter,
        DeclaredKeys::Once => Keys::Once,
        DeclaredKeys::Made { key_from, then, by_method } => {
            let then = match by_method {
                true => method(then, arguments, item, errors)?,
                false => argument(then, arguments, errors)?,
            };
            Keys::Made(Made { key_from, then })
        }
    })
}

/// Reports a key that is the same for every call.
pub(super) fn check(setting: &str, key: &Expr, arguments: &[Argument], errors: &mut Errors) {
    let known = || arguments.iter().filter(|argument| argument.passing != Passing::Tx);
    let named = |ident: &Ident| known().any(|argument| argument.name == *ident);
    // What else is wrong with it has been said.
    let mut uses = Uses { wanted: &|ident| ident == "self" || named(ident), found: false };
    uses.visit_expr(key);
    if uses.found {
        return;
    }
    let names: Vec<String> = known().map(|argument| names::plain(&argument.name)).collect();
    let (text, first) = (shown(key), names.first().map_or("id", String::as_str));
    if let Expr::Lit(_) = key {
        let example = names.iter().find(|name| text.trim_matches('"') == **name);
        let example = example.map_or(first, String::as_str);
        errors.on(
            key,
            format!("name an argument, `{setting} = {example}`: {text} is a constant, the same for every call"),
        );
        return;
    }
    let near = match key {
        Expr::Path(_) => suggestion(&text, &names),
        _ => String::new(),
    };
    errors.on(
        key,
        format!("make the key from an argument: `{text}` uses none, so it would be the same for every call{near}"),
    );
}

fn shown(key: &Expr) -> String {
    key.to_token_stream().to_string()
}

/// Looks for a variable.
struct Uses<'w> {
    wanted: &'w dyn Fn(&Ident) -> bool,
    found: bool,
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        self.found |= path.path.get_ident().is_some_and(self.wanted);
    }

    // What a macro does with its tokens nobody knows here.
    fn visit_macro(&mut self, call: &'ast Macro) {
        self.found |= mentions(call.tokens.clone(), self.wanted);
    }
}

fn mentions(tokens: TokenStream, wanted: &dyn Fn(&Ident) -> bool) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => wanted(&ident),
        TokenTree::Group(group) => mentions(group.stream(), wanted),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// `into = id`.
fn argument(name: Ident, arguments: &[Argument], errors: &mut Errors) -> Option<Then> {
    let found = arguments.iter().find(|argument| argument.name == name);
    let is_option = found.is_some_and(|argument| {
        argument.passing == Passing::Value
            && super::answer::last_segment(&argument.ty).is_some_and(|last| last.ident == "Option")
    });
    if is_option {
        return Some(Then::Argument(name));
    }
    let rule = "the key is handed to the other side in an argument that is `None` before";
    match found {
        Some(argument) => {
            errors.on(&argument.ty, format!("take `Option<…>` by value here: {rule}"))
        }
        None => errors.on(&name, format!("name an argument of the type `Option<…>`: {rule}")),
    }
    None
}

/// `then = insert_with_id`.
fn method(
    name: Ident,
    arguments: &[Argument],
    item: &ItemTrait,
    errors: &mut Errors,
) -> Option<Then> {
    let methods = || {
        item.items.iter().filter_map(|item| match item {
            TraitItem::Fn(method) => Some(method),
            _ => None,
        })
    };
    let Some(found) = methods().find(|method| method.sig.ident == name) else {
        let known = methods().map(|method| names::plain(&method.sig.ident));
        let near = suggestion(&names::plain(&name), known);
        errors.on(&name, format!("declare `{name}` in this trait: it writes the other side under the key that the first has made{near}"));
        return None;
    };
    let handed: Vec<Handed> = typed(found).map(|argument| handed(argument, arguments)).collect();
    let keys = handed.iter().filter(|handed| matches!(handed, Handed::Key | Handed::KeyReference));
    if keys.count() != 1 {
        errors.on(
            &found.sig.ident,
            format!("give `{name}` the arguments of the method that names it, called as they are there, and one more for the key"),
        );
        return None;
    }
    Some(Then::Method(name, handed))
}

fn typed(method: &TraitItemFn) -> impl Iterator<Item = &PatType> {
    method.sig.inputs.iter().filter_map(|argument| match argument {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    })
}

fn handed(argument: &PatType, arguments: &[Argument]) -> Handed {
    if is_transaction(&argument.ty) {
        return Handed::Tx;
    }
    let name = match &*argument.pat {
        Pat::Ident(plain) => Some(&plain.ident),
        _ => None,
    };
    match name.and_then(|name| arguments.iter().find(|same| same.name == *name)) {
        Some(same) if same.passing == Passing::Tx => Handed::Tx,
        Some(same) => Handed::Same(same.name.clone()),
        None if matches!(peel(&argument.ty), Type::Reference(_)) => Handed::KeyReference,
        None => Handed::Key,
    }
}
