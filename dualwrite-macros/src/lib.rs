//! The macros of the [dualwrite](https://docs.rs/dualwrite) crate: use them through it, where they
//! are documented. What comes out of them can be read in `snapshots/`.
//!
//! Each macro is a pipeline of *syntax* (what was typed), *lower* (all validation) into a *model*
//! (what has been proven valid), and *expand* (model to tokens, cannot fail).

use proc_macro::TokenStream;

mod compare;
mod diag;
mod dual;
mod key;
mod manifest;
mod names;
mod paths;
mod repository;
mod settings;
#[cfg(test)]
mod tests;

/// Generates `Dual<Trait>`, the repository over an old and a new implementation of this trait.
///
/// | on a method | options |
/// |---|---|
/// | `#[read(key = …)]` | `ramp = …`, `lazy`, `shadow = never`, `sample = 5`, `timeout = "500ms"`, `compare = function` |
/// | `#[read(scan)]` | the same without `ramp` and `lazy` |
/// | `#[write(key = …)]` | `on_mirror_error = abort` or `mark_dirty`; `on_difference = mark_dirty`, `error` or `ignore`; `timeout = "500ms"` (the mirror's write), `primary_timeout = "5s"` |
/// | `#[write(keys = …)]` | the same; several records, all of which are named |
/// | `#[write(key_from = …, then = method)]`, or `into = argument` | the same; the database makes the key |
/// | `#[write(filter)]`, `#[write(once)]` | the same; no key: on both sides or not at all, or executed once |
/// | `#[primary]` | none: neither a read nor a write, passed to the side that answers |
///
/// `#[supertrait(path)]` beside one of these: a copy of a method that a supertrait declares, for which the wrapper implements it.
///
/// Reads and writes take `error = function` or `on_unknown = value` too. On the trait: `name = …`,
/// `error = function`, `remote = path`, `transaction = Database` (writes take no transaction), `unit_of_work` (implementers borrow
/// a connection), `crate = path`.
///
/// The guide is `dualwrite::guide::repository`.
#[proc_macro_attribute]
pub fn repository(args: TokenStream, item: TokenStream) -> TokenStream {
    repository::repository(args.into(), item.into()).into()
}

/// Generates getters that read the new field where it is filled, and setters that write both.
#[proc_macro_derive(Dual, attributes(dual))]
pub fn dual(item: TokenStream) -> TokenStream {
    dual::dual(item.into()).into()
}

/// Makes a struct a key: of one field as that field is, of up to four the columns in order.
#[proc_macro_derive(Key, attributes(key))]
pub fn key(item: TokenStream) -> TokenStream {
    key::key(item.into()).into()
}

/// Generates a comparison field by field, with the path to each difference.
#[proc_macro_derive(Compare, attributes(compare))]
pub fn compare(item: TokenStream) -> TokenStream {
    compare::compare(item.into()).into()
}
