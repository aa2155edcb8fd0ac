//! Every identifier that generated code introduces, and the collisions that are possible.
//!
//! Local variables are hygienic (`mixed_site`, see `repository/body.rs`): no argument of the user can
//! meet them. Items, methods and type parameters are not, so those are checked or chosen here.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::format_ident;
use syn::ext::IdentExt as _;

/// The inherent functions of the wrapper, which would hide a method of the same name.
pub(crate) const WRAPPER_FUNCTIONS: [&str; 7] =
    ["new", "from_arcs", "with_both", "one_row", "one_row_arcs", "old_side", "new_side"];

/// The inherent methods that the `Dual` derive adds beside getters and setters.
pub(crate) const DUAL_METHODS: [&str; 3] = ["is_migrated", "migrate", "divergence"];

/// `DualCustomers` for `Customers`.
pub(crate) fn wrapper(item: &Ident) -> Ident {
    format_ident!("Dual{}", item, span = item.span())
}

/// The inherent functions of what fences the writes of a trait without transactions.
pub(crate) const FENCED_FUNCTIONS: [&str; 3] = ["and", "within", "inner"];

/// `CustomersIn` for `Customers`: the form of the trait whose writes take a transaction.
pub(crate) fn in_form(item: &Ident) -> Ident {
    format_ident!("{}In", item, span = item.span())
}

/// `FencedCustomers` for `Customers`.
pub(crate) fn fenced(item: &Ident) -> Ident {
    format_ident!("Fenced{}", item, span = item.span())
}

/// `UnitCustomers` for `Customers`.
pub(crate) fn unit(item: &Ident) -> Ident {
    format_ident!("Unit{}", item, span = item.span())
}

/// `set_email_address` for `email_address`.
pub(crate) fn setter(field: &Ident) -> Ident {
    format_ident!("set_{}", field, span = field.span())
}

/// `clear_email_address` for `email_address`: writes NULL.
pub(crate) fn clear(getter: &Ident) -> Ident {
    format_ident!("clear_{}", getter, span = getter.span())
}

/// `email_address_by` for `email_address`: the form that follows a plan.
pub(crate) fn by_plan(method: &Ident) -> Ident {
    format_ident!("{}_by", method, span = method.span())
}

/// `email_address_source` for `email_address`.
pub(crate) fn source(getter: &Ident) -> Ident {
    format_ident!("{}_source", getter, span = getter.span())
}

/// `type` for `r#type`: how a name is shown and compared.
pub(crate) fn plain(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// Names for the type parameters of the wrapper, for old, new and what writes both: the first three
/// that do not stand anywhere in the user's item, where they would be shadowed.
pub(crate) fn side_parameters(item: TokenStream) -> [Ident; 3] {
    let mut taken = HashSet::new();
    collect(item, &mut taken);
    let plain = [["O", "N", "B"], ["Old", "New", "Both"]].map(|names| names.map(str::to_owned));
    let numbered = (1..).map(|n| ["Old", "New", "Both"].map(|name| format!("{name}{n}")));
    let names = plain
        .into_iter()
        .chain(numbered)
        .find(|names| names.iter().all(|name| !taken.contains(name)))
        .unwrap_or_default();
    names.map(|name| Ident::new(&name, Span::call_site()))
}

/// A name for the type parameter of the database, in the same way.
pub(crate) fn database_parameter(item: TokenStream) -> Ident {
    let mut taken = HashSet::new();
    collect(item, &mut taken);
    let mut names = ["DB".to_owned(), "Database".to_owned()]
        .into_iter()
        .chain((1..).map(|n| format!("Database{n}")));
    let name = names.find(|name| !taken.contains(name)).unwrap_or_default();
    Ident::new(&name, Span::call_site())
}

fn collect(tokens: TokenStream, into: &mut HashSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                into.insert(plain(&ident));
            }
            TokenTree::Group(group) => collect(group.stream(), into),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}
