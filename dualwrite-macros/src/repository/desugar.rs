//! The one change to the user's trait: `async fn f(..) -> R` becomes
//! `fn f(..) -> impl Future<Output = R> + Send`, so that callers can spawn what they get. Whoever
//! implements the trait still writes `async fn`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{
    Block, Expr, FnArg, ItemTrait, Pat, ReturnType, Signature, Stmt, TraitItem, parse_quote_spanned,
};

/// The trait with every `async fn` desugared.
pub(super) fn trait_item(item: &ItemTrait) -> ItemTrait {
    let mut item = item.clone();
    for item in &mut item.items {
        if let TraitItem::Fn(method) = item {
            let was_async = method.sig.asyncness.is_some();
            if let (true, Some(body)) = (was_async, &mut method.default) {
                let kept = keep_arguments(&mut method.sig);
                body.stmts = vec![Stmt::Expr(Expr::Verbatim(as_future(&kept, body)), None)];
            }
            method.sig = signature(&method.sig);
        }
    }
    item
}

/// The signature without `async`.
pub(super) fn signature(signature: &Signature) -> Signature {
    let mut signature = signature.clone();
    let Some(asyncness) = signature.asyncness.take() else {
        return signature;
    };
    // Errors about the future ("is not `Send`") then point at `async` in the trait.
    let span = Span::call_site().located_at(asyncness.span);
    let (arrow, output) = match signature.output {
        ReturnType::Default => (syn::Token![->](span), syn::parse_quote!(())),
        ReturnType::Type(arrow, output) => (arrow, output),
    };
    signature.output = ReturnType::Type(
        arrow,
        parse_quote_spanned! {span=>
            impl ::core::future::Future<Output = #output> + ::core::marker::Send
        },
    );
    signature
}

/// Moves every argument into the future, used or not, as `async fn` does: what is held for the time of the
/// call, a permit or a guard, is dropped when the body has ended, the last one first.
fn keep_arguments(signature: &mut Signature) -> TokenStream {
    let mut kept = TokenStream::new();
    for (index, argument) in signature.inputs.iter_mut().enumerate() {
        let FnArg::Typed(argument) = argument else { continue };
        match &mut *argument.pat {
            Pat::Ident(plain) if plain.by_ref.is_none() && plain.subpat.is_none() => {
                let (name, mutability) = (&plain.ident, plain.mutability.take());
                kept.extend(quote_spanned!(name.span()=> let #mutability #name = #name;));
            }
            pattern => {
                let name = Ident::new(&format!("__argument{index}"), Span::mixed_site());
                kept.extend(quote_spanned! {Span::mixed_site()=>
                    let #name = #name;
                    let #pattern = #name;
                });
                *pattern = syn::parse_quote!(#name);
            }
        }
    }
    kept
}

fn as_future(kept: &TokenStream, body: &Block) -> TokenStream {
    // The body stands in a block of its own, so that what it makes goes before its arguments.
    quote_spanned! {Span::call_site()=> async move { #kept #body } }
}
