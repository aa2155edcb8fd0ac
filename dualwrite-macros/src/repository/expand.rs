//! Model → tokens: one function for each generated item. The bodies of the methods are in `body`.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::quote;
use syn::{Attribute, Meta, Path, parse_quote};

use super::body::Body;
use super::docs;
use super::model::{
    Constant, Equality, Keys, Method, Read, ReadKind, Repository, Route, Side, Write,
};
use crate::names;
use crate::paths::Root;

/// Everything that is added beside the user's trait.
pub(super) fn expand(model: &Repository) -> TokenStream {
    let wrapper = wrapper(model);
    let functions = functions(model);
    let clone = clone(model);
    let debug = debug(model);
    let implementation = implementation(model);
    let unit = super::unit::expand(model);
    quote!(#wrapper #functions #clone #debug #unit #implementation)
}

fn wrapper(model: &Repository) -> TokenStream {
    let Repository { wrapper, sides, both, item, cfg, unsized_, .. } = model;
    let (old, new, vis, private) = (&sides.old, &sides.new, &item.vis, model.root.private());
    let docs = docs::wrapper(model);
    let attributes = item.attrs.iter().filter(|attribute| is_inherited(attribute));
    // Only a write can be made on both sides at once.
    let (parameter, field) = match model.writes() {
        true => (quote!(, #both #unsized_ = #old), quote!(both: [::std::sync::Arc<#both>; 2],)),
        false => (TokenStream::new(), TokenStream::new()),
    };
    quote! {
        #(#[doc = #docs])*
        #(#cfg)*
        #(#attributes)*
        #vis struct #wrapper<#old #unsized_, #new #unsized_ #parameter> {
            repository: #private::Repository,
            old: ::std::sync::Arc<#old>,
            new: ::std::sync::Arc<#new>,
            #field
        }
    }
}

/// `DualCustomers<O, N, B>`, and its parameters where it is implemented.
pub(super) fn own_type(model: &Repository) -> (TokenStream, TokenStream) {
    let Repository { wrapper, sides, both, unsized_, .. } = model;
    let (old, new) = (&sides.old, &sides.new);
    match model.writes() {
        true => (
            quote!(#old #unsized_, #new #unsized_, #both #unsized_),
            quote!(#wrapper<#old, #new, #both>),
        ),
        false => (quote!(#old #unsized_, #new #unsized_), quote!(#wrapper<#old, #new>)),
    }
}

/// Attributes of the trait that mean the same on the wrapper.
pub(super) fn is_inherited(attribute: &Attribute) -> bool {
    let hidden = || attribute.parse_args::<Ident>().is_ok_and(|argument| argument == "hidden");
    attribute.path().is_ident("allow")
        || attribute.path().is_ident("deprecated")
        || (attribute.path().is_ident("doc") && hidden())
}

/// The sides themselves.
fn side_accessors(model: &Repository) -> TokenStream {
    let (cfg, old, new) = (&model.cfg, &model.sides.old, &model.sides.new);
    let (allow, (parameters, own_type)) = (allow_deprecated(model), own_type(model));
    quote! {
        #(#cfg)*
        #allow
        impl<#parameters> #own_type {
            /// The old side itself, past the migration.
            #[must_use]
            pub fn old_side(&self) -> &#old {
                &self.old
            }

            /// The new side itself, past the migration.
            #[must_use]
            pub fn new_side(&self) -> &#new {
                &self.new
            }
        }
    }
}

fn functions(model: &Repository) -> TokenStream {
    let Repository { wrapper, sides, root, cfg, unsized_, .. } = model;
    let (old, new) = (&sides.old, &sides.new);
    let allow = allow_deprecated(model);
    let one_row = model.unit.as_ref().map(|_| super::unit::one_row(model));
    let built = one_row.unwrap_or_else(|| built(model));
    let (of_arcs, at_once) = (of_arcs(model), model.writes().then(|| at_once(model)));
    let panics = model.writes().then(|| {
        quote! {
            ///
            /// # Panics
            /// Where the copy function shows that both are columns of one row: each write would be executed
            /// twice. Use `one_row`.
        }
    });
    let sides = model.unit.is_none().then(|| side_accessors(model));
    quote! {
        #(#cfg)*
        #allow
        impl<#old, #new> #wrapper<#old, #new> {
            /// Puts an old and a new implementation under one migration, whose stage decides which of
            /// them is asked.
            #panics
            #[must_use]
            #[track_caller]
            pub fn new(migration: &#root::Migration, old: #old, new: #new) -> Self {
                Self::from_arcs(migration, ::std::sync::Arc::new(old), ::std::sync::Arc::new(new))
            }
        }

        #(#cfg)*
        #allow
        impl<#old #unsized_, #new #unsized_> #wrapper<#old, #new> {
            #of_arcs
        }

        #built

        #at_once

        #sides
    }
}

/// The table of methods.
pub(super) fn repository(model: &Repository, form: &str) -> TokenStream {
    let private = model.root.private();
    let name = names::plain(&model.typed().ident);
    let form = Ident::new(form, Span::call_site());
    let entries = model.methods.iter().filter_map(|method| entry(model, method));
    quote! {
        #private::Repository::new(
            migration,
            #name,
            const { &[#(#entries),*] },
            #private::Form::#form,
        )
    }
}

/// The constructor of two sides that are shared already.
fn of_arcs(model: &Repository) -> TokenStream {
    let Repository { sides, root, .. } = model;
    let (old, new, repository) = (&sides.old, &sides.new, repository(model, "Separate"));
    // Nothing writes both at once, so these are never called.
    let both = model.writes().then(|| {
        quote! {
            both: [::core::clone::Clone::clone(&old), ::core::clone::Clone::clone(&old)],
        }
    });
    quote! {
        /// The same for implementations that are shared already, or are trait objects.
        #[must_use]
        #[track_caller]
        pub fn from_arcs(
            migration: &#root::Migration,
            old: ::std::sync::Arc<#old>,
            new: ::std::sync::Arc<#new>,
        ) -> Self {
            Self {
                repository: #repository,
                #both
                old,
                new,
            }
        }
    }
}

/// The constructors of one implementation over the columns of a row.
fn built(model: &Repository) -> TokenStream {
    let Repository { wrapper, sides, root, cfg, unsized_, .. } = model;
    let (old, repository) = (&sides.old, repository(model, "OneRow"));
    let allow = allow_deprecated(model);
    let both = model.writes().then(|| {
        quote! {
            both: [
                of(#root::Columns::Both(#root::Side::Old)),
                of(#root::Columns::Both(#root::Side::New)),
            ],
        }
    });
    quote! {
        #(#cfg)*
        #allow
        impl<#old> #wrapper<#old, #old> {
            /// Puts one implementation under a migration between columns of one row. It is built once for
            /// each set of columns: the old ones, both, and the new ones. A call goes to one of these, so
            /// every write is executed once.
            #[must_use]
            pub fn one_row(migration: &#root::Migration, of: impl ::core::ops::Fn(#root::Columns) -> #old) -> Self {
                Self::one_row_arcs(migration, |columns| ::std::sync::Arc::new(of(columns)))
            }
        }

        #(#cfg)*
        #allow
        impl<#old #unsized_> #wrapper<#old, #old> {
            /// The same for an implementation that is shared already, or is a trait object.
            #[must_use]
            pub fn one_row_arcs(
                migration: &#root::Migration,
                of: impl ::core::ops::Fn(#root::Columns) -> ::std::sync::Arc<#old>,
            ) -> Self {
                Self {
                    repository: #repository,
                    old: of(#root::Columns::Old),
                    new: of(#root::Columns::New),
                    #both
                }
            }
        }
    }
}

/// The constructor of a third implementation, which writes both.
fn at_once(model: &Repository) -> TokenStream {
    let Repository { wrapper, sides, both, cfg, unsized_, .. } = model;
    let (old, new) = (&sides.old, &sides.new);
    let allow = allow_deprecated(model);
    quote! {
        #(#cfg)*
        #allow
        impl<#old #unsized_, #new #unsized_> #wrapper<#old, #new> {
            /// Adds an implementation whose writes bring a record to old and new at once. Where a write
            /// goes to both sides, it is called alone, and its failure is the caller's; it is never read.
            #[must_use]
            pub fn with_both<#both>(self, both: #both) -> #wrapper<#old, #new, #both> {
                let both = ::std::sync::Arc::new(both);
                #wrapper {
                    repository: self.repository.at_once(),
                    old: self.old,
                    new: self.new,
                    both: [::core::clone::Clone::clone(&both), both],
                }
            }
        }
    }
}

/// A row of the wrapper's table of methods.
fn entry(model: &Repository, method: &Method) -> Option<TokenStream> {
    let (root, private, cfg) = (&model.root, model.root.private(), &method.cfg);
    let name = names::plain(&method.signature.ident);
    let operation = Ident::new(method.route.operation()?, Span::call_site());
    let options = match &method.route {
        Route::Read(read) => read_options(read),
        Route::Write(write) => Some(write_options(root, write)),
        Route::Primary => None,
    };
    Some(quote! {
        #(#cfg)* #private::Method::new(#name, #root::Operation::#operation) #options
    })
}

fn write_options(root: &Root, write: &Write) -> TokenStream {
    let on_mirror_error = write.on_mirror_error.map(|policy| {
        let policy = Ident::new(policy.name(), Span::call_site());
        quote!(.on_mirror_error(#root::MirrorPolicy::#policy))
    });
    let on_difference = write.on_difference.map(|policy| {
        let policy = Ident::new(policy.name(), Span::call_site());
        quote!(.on_difference(#root::AnswerPolicy::#policy))
    });
    let mirror = write.limits.mirror_ms.map(Literal::u64_unsuffixed);
    let mirror = mirror.map(|limit| quote!(.timeout_ms(#limit)));
    let primary = write.limits.primary_ms.map(Literal::u64_unsuffixed);
    let primary = primary.map(|limit| quote!(.primary_timeout_ms(#limit)));
    let once = matches!(write.keys, Keys::Once).then(|| quote!(.once()));
    quote!(#on_mirror_error #on_difference #mirror #primary #once)
}

fn read_options(read: &Read) -> Option<TokenStream> {
    let lazy = read.is_lazy().then(|| quote!(.lazy()));
    let ramped = read.ramp.as_ref().map(|_| quote!(.ramped()));
    let (sample, timeout) = match (&read.kind, read.comparing()) {
        (_, Some(comparing)) => (comparing.sample, comparing.timeout_ms),
        (ReadKind::Lazy(None) | ReadKind::Within { comparing: None, .. }, _) => (Some(0), None),
        _ => (None, None),
    };
    let sample = sample.map(Literal::u16_unsuffixed).map(|share| quote!(.sample(#share)));
    let timeout = timeout.map(Literal::u64_unsuffixed).map(|limit| quote!(.timeout_ms(#limit)));
    Some(quote!(#lazy #ramped #sample #timeout))
}

/// Written out, since a derive would ask for `Clone` of both sides.
fn clone(model: &Repository) -> TokenStream {
    let allow = allow_deprecated(model);
    let cfg = &model.cfg;
    let (parameters, own_type) = own_type(model);
    let both = model.writes().then(|| quote!(both: ::core::clone::Clone::clone(&self.both),));
    quote! {
        #(#cfg)*
        #[automatically_derived]
        #allow
        impl<#parameters> ::core::clone::Clone for #own_type {
            fn clone(&self) -> Self {
                Self {
                    repository: ::core::clone::Clone::clone(&self.repository),
                    old: ::core::clone::Clone::clone(&self.old),
                    new: ::core::clone::Clone::clone(&self.new),
                    #both
                }
            }
        }
    }
}

fn debug(model: &Repository) -> TokenStream {
    let cfg = &model.cfg;
    let name = model.wrapper.to_string();
    let allow = allow_deprecated(model);
    let (parameters, own_type) = own_type(model);
    quote! {
        #(#cfg)*
        #[automatically_derived]
        #allow
        impl<#parameters> ::core::fmt::Debug for #own_type {
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::DebugStruct::finish_non_exhaustive(
                    &mut ::core::fmt::Formatter::debug_struct(formatter, #name),
                )
            }
        }
    }
}

fn implementation(model: &Repository) -> TokenStream {
    let Repository { sides, associated, cfg, async_trait, .. } = model;
    let (old, trait_path) = (&sides.old, model.trait_path());
    let own_type = match &model.unit {
        Some(unit) => super::unit::own_type(model, unit),
        None => own_type(model).1,
    };
    let generics = implementation_generics(model);
    let (parameters, _, predicates) = generics.split_for_impl();
    let constants = model.constants.iter().map(|constant| self::constant(model, constant));
    let methods = methods(model);
    let own = methods.iter().filter(|(of, _)| of.is_none()).map(|(_, method)| method);
    let supertraits = super::supertraits::expand(model, &methods);
    let allow = allow_deprecated(model);
    quote! {
        #(#cfg)*
        #[automatically_derived]
        #allow
        #async_trait
        impl #parameters #trait_path for #own_type #predicates {
            #(type #associated = <#old as #trait_path>::#associated;)*
            #(#constants)*
            #(#own)*
        }

        #supertraits
    }
}

/// The methods of the wrapper, each with the supertrait that declares it.
fn methods(model: &Repository) -> Vec<(Option<&Path>, TokenStream)> {
    let positions = positions(&model.methods);
    let methods = model.methods.iter().zip(positions).map(|(method, position)| {
        let Method { of, signature, cfg, attributes, .. } = method;
        let writer = Body { model, method, position };
        let body = match &method.route {
            Route::Read(read) => writer.read(read),
            Route::Write(write) => writer.write(write),
            Route::Primary => writer.primary(),
        };
        (of.as_ref(), quote!(#(#cfg)* #(#attributes)* #signature { #body }))
    });
    methods.collect()
}

/// The old side's constant. Where the compiler can tell, it makes sure that the new side has the same.
fn constant(model: &Repository, constant: &Constant) -> TokenStream {
    let (trait_path, private) = (model.trait_path(), model.root.private());
    let Constant { name, ty, cfg, equality } = constant;
    let of = |side| {
        let side = model.sides.of(side);
        quote!(<#side as #trait_path>::#name)
    };
    let (old, new) = (of(Side::Old), of(Side::New));
    let is_same = match equality {
        Equality::Operator => Some(quote!(#old == #new)),
        Equality::Text => Some(quote!(#private::is_same_text(#old, #new))),
        Equality::Unknown => None,
    };
    let message = format!("`{}` is not the same on the old and the new side", names::plain(name));
    let value = match is_same {
        Some(is_same) => quote!({ ::core::assert!(#is_same, #message); #old }),
        None => old,
    };
    quote!(#(#cfg)* const #name: #ty = #value;)
}

/// The trait's parameters and the two sides, and what each of them must be.
fn implementation_generics(model: &Repository) -> syn::Generics {
    let Repository { sides, both, associated, own_errors, root, errors, unsized_, .. } = model;
    let (old, new, trait_path) = (&sides.old, &sides.new, model.trait_path());
    let mut generics = model.generics.clone();
    let count = if model.writes() { 3 } else { 2 };
    if let Some(unit) = &model.unit {
        return super::unit::generics(model, unit, generics, &[old, new, both][..count]);
    }
    for (place, parameter) in [old, new, both].into_iter().take(count).enumerate() {
        generics.params.insert(place, parse_quote!(#parameter #unsized_));
    }
    let same_trait_path = with_bindings(
        model,
        associated
            .iter()
            .filter(|name| !own_errors.contains(name))
            .map(|name| quote!(#name = <#old as #trait_path>::#name)),
    );
    let clause = generics.make_where_clause();
    clause.predicates.extend(model.predicates.iter().cloned());
    let paths = [(old, &trait_path), (new, &same_trait_path), (both, &same_trait_path)];
    for (side, path) in paths.into_iter().take(count) {
        clause.predicates.push(parse_quote! {
            #side: #path + ::core::marker::Send + ::core::marker::Sync + 'static
        });
    }
    for error in own_errors {
        let of_both =
            model.writes().then(|| quote!(+ ::core::convert::From<<#both as #trait_path>::#error>));
        clause.predicates.push(parse_quote! {
            <#old as #trait_path>::#error: ::core::convert::From<<#new as #trait_path>::#error>
                #of_both
        });
    }
    for error in errors {
        clause.predicates.push(parse_quote!(#error: ::core::convert::From<#root::Error>));
    }
    generics
}

/// `Customers<T, Error = …>`.
fn with_bindings(model: &Repository, bindings: impl Iterator<Item = TokenStream>) -> TokenStream {
    let name = model.trait_name();
    let parameters = model.generics.params.iter().map(|parameter| match parameter {
        syn::GenericParam::Lifetime(parameter) => {
            let lifetime = &parameter.lifetime;
            quote!(#lifetime)
        }
        syn::GenericParam::Type(syn::TypeParam { ident, .. })
        | syn::GenericParam::Const(syn::ConstParam { ident, .. }) => quote!(#ident),
    });
    let arguments: Vec<TokenStream> = parameters.chain(bindings).collect();
    if arguments.is_empty() { quote!(#name) } else { quote!(#name<#(#arguments),*>) }
}

/// The index of each method in the table. A method under `#[cfg]` may be absent from the table, so
/// those after it count it only where it is there.
fn positions(methods: &[Method]) -> Vec<TokenStream> {
    let mut always = 0_usize;
    let mut sometimes = TokenStream::new();
    let mut positions = Vec::new();
    for method in methods {
        if let Route::Primary = method.route {
            positions.push(TokenStream::new()); // not in the table
            continue;
        }
        let count = Literal::usize_unsuffixed(always);
        positions.push(quote!(#count #sometimes));
        if method.cfg.is_empty() {
            always += 1;
        } else {
            let conditions = method.cfg.iter().filter_map(|cfg| match &cfg.meta {
                Meta::List(list) => Some(&list.tokens),
                _ => None,
            });
            sometimes.extend(quote!(+ ::core::cfg!(all(#(#conditions),*)) as usize));
        }
    }
    positions
}

/// Implementing and calling what the user has deprecated is what the wrapper is for.
pub(super) fn allow_deprecated(model: &Repository) -> Option<TokenStream> {
    let methods = model.item.items.iter().filter_map(|item| match item {
        syn::TraitItem::Fn(method) => Some(&method.attrs),
        _ => None,
    });
    let mut attributes = methods.chain([&model.item.attrs]).flatten();
    attributes
        .any(|attribute| attribute.path().is_ident("deprecated"))
        .then(|| quote!(#[allow(deprecated)]))
}
