//! The one change to the user's trait: `async fn f(..) -> R` becomes
//! `fn f(..) -> impl Future<Output = R> + Send`, so that callers can spawn what they get. Whoever
//! implements the trait still writes `async fn`.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::{Block, Expr, ItemTrait, ReturnType, Signature, Stmt, TraitItem, parse_quote_spanned};

/// The trait with every `async fn` desugared.
pub(super) fn trait_item(item: &ItemTrait) -> ItemTrait {
    let mut item = item.clone();
    for item in &mut item.items {
        if let TraitItem::Fn(method) = item {
            let was_async = method.sig.asyncness.is_some();
            method.sig = signature(&method.sig);
            if let (true, Some(body)) = (was_async, &mut method.default) {
                body.stmts = vec![Stmt::Expr(Expr::Verbatim(as_future(body)), None)];
            }
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

fn as_future(body: &Block) -> TokenStream {
    quote_spanned! {Span::call_site()=> async move #body }
}
