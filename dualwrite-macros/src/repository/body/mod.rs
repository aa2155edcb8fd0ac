//! The bodies of the wrapper's methods. Glue only: each describes the call, hands both sides to
//! functions of `dualwrite::__private`, and decides nothing itself. This file holds what reads and
//! writes have in common.
//!
//! All tokens carry `mixed_site` spans: the variables introduced here cannot meet an argument of the
//! user, whatever its name. Where the compiler may find a type of the user wanting, the span is
//! located at that type.

mod primary;
mod read;
mod write;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Expr, ExprReference, GenericParam, Signature};

use super::model::{Argument, Failing, Form, Method, Passing, Repository, Route, Side};

/// A method whose body is written.
pub(super) struct Body<'m> {
    pub(super) model: &'m Repository,
    pub(super) method: &'m Method,
    /// The index of the method in the wrapper's table.
    pub(super) position: TokenStream,
}

/// How arguments are handed on.
#[derive(Clone, Copy)]
enum Handing {
    /// Nothing uses them afterwards.
    Last,
    /// They are used again afterwards.
    Again,
    /// They are owned copies, also of what came by reference.
    Owned,
}

impl Body<'_> {
    /// Statements as the body of a method of this form.
    fn in_form(&self, statements: &TokenStream) -> TokenStream {
        let statements = &self.in_unit(&self.failing(statements));
        match self.method.form {
            Form::Future => quote_spanned!(mixed()=> async move { #statements }),
            Form::Boxed => {
                quote_spanned!(mixed()=> ::std::boxed::Box::pin(async move { #statements }))
            }
            Form::Async | Form::Sync | Form::Stream { .. } => statements.clone(),
        }
    }

    /// The statements with what the user makes of an error of ours.
    fn failing(&self, statements: &TokenStream) -> TokenStream {
        let private = self.model.root.private();
        let name = crate::names::plain(&self.method.signature.ident);
        match (&self.method.failing, &self.method.route) {
            (Failing::From, _) | (_, Route::Primary) => statements.clone(),
            (Failing::By(convert), _) => quote_spanned! {mixed()=>
                #private::with_error(async move { #statements }.await, #convert)
            },
            (Failing::Answer(answer), _) => quote_spanned! {mixed()=>
                match (async move { #statements }).await {
                    ::core::result::Result::Ok(answer) => answer,
                    ::core::result::Result::Err(error) => {
                        #private::unknown(#name, error);
                        #answer
                    }
                }
            },
        }
    }

    /// The wrapper: `self`, or what a unit of work borrows.
    fn this(&self) -> TokenStream {
        match &self.model.unit {
            Some(_) => quote_spanned!(mixed()=> dual),
            None => self.method.this.to_token_stream(),
        }
    }

    /// The statements with the wrapper and the transaction of a unit of work.
    fn in_unit(&self, statements: &TokenStream) -> TokenStream {
        let (this, tx) = (&self.method.this, Ident::new("tx", mixed()));
        match &self.model.unit {
            Some(_) => quote_spanned! {mixed()=>
                let (dual, #tx) = (#this.dual, &mut *#this.tx);
                #statements
            },
            None => statements.clone(),
        }
    }

    /// A future of what one side of the wrapper answers.
    fn ask(&self, side: Side, handing: Handing) -> TokenStream {
        let (this, field) = (self.this(), field(side));
        self.call(side, &quote_spanned!(mixed()=> &*#this.#field), handing)
    }

    /// A call of the trait's method. Written out in full, so that an inherent method of the same name
    /// on the user's type is not taken instead.
    fn call(&self, side: Side, receiver: &TokenStream, handing: Handing) -> TokenStream {
        self.call_of(self.model.sides.of(side), receiver, handing)
    }

    fn call_of(
        &self,
        implementer: &Ident,
        receiver: &TokenStream,
        handing: Handing,
    ) -> TokenStream {
        let name = &self.method.signature.ident;
        let turbofish = turbofish(&self.method.signature);
        let arguments = self.method.arguments.iter().map(|argument| self.hand(argument, handing));
        let is_apart = matches!(handing, Handing::Owned);
        let arguments = quote!(#(, #arguments)*);
        let call =
            self.called(implementer, receiver, &quote!(#name #turbofish), &arguments, is_apart);
        self.answering(implementer, call)
    }

    /// The call of a method of a side. In a unit of work, what stands for the side builds it first: over the
    /// connection of the transaction, or apart from it.
    fn called(
        &self,
        implementer: &Ident,
        receiver: &TokenStream,
        method: &TokenStream,
        arguments: &TokenStream,
        is_apart: bool,
    ) -> TokenStream {
        let private = self.model.root.private();
        let trait_path = match &self.method.of {
            Some(supertrait) => supertrait.to_token_stream(),
            None => self.model.trait_path(),
        };
        if self.model.unit.is_none() {
            return quote_spanned! {mixed()=>
                <#implementer as #trait_path>::#method (#receiver #arguments)
            };
        }
        let built = match is_apart {
            true => quote_spanned!(mixed()=> #private::built_apart(#receiver, &mut connection)),
            false => quote_spanned!(mixed()=> #private::built(#receiver, &mut *tx)),
        };
        let call = quote_spanned! {mixed()=>
            let mut side = #built;
            <_ as #trait_path>::#method (&mut side #arguments)
        };
        match self.method.form {
            Form::Sync | Form::Stream { .. } => quote_spanned!(mixed()=> { #call }),
            Form::Future | Form::Boxed | Form::Async => {
                quote_spanned!(mixed()=> async { #call.await })
            }
        }
    }

    /// The call with an answer whose error is old's, or carried until ours can be made into it.
    fn answering(&self, implementer: &Ident, call: TokenStream) -> TokenStream {
        let private = self.model.root.private();
        let converts = self.method.converts && *implementer != self.model.sides.old;
        let call = match (converts, self.method.form) {
            (false, _) => call,
            (true, Form::Sync) => quote_spanned!(mixed()=> #private::with_error_of_old(#call)),
            (true, Form::Stream { .. }) => {
                quote_spanned!(mixed()=> #private::stream_with_error_of_old(#call))
            }
            (true, _) => quote_spanned!(mixed()=> #private::answering_error_of_old(#call)),
        };
        match (&self.method.failing, &self.method.route) {
            (Failing::From, _) | (_, Route::Primary) => call,
            // Its error is made where the stream is, and carried nowhere.
            _ if matches!(self.method.form, Form::Stream { .. }) => call,
            (Failing::By(_), _) => quote_spanned!(mixed()=> #private::carried(#call)),
            (Failing::Answer(_), _) => quote_spanned!(mixed()=> #private::sure(#call)),
        }
    }

    /// The value of one of our own calls, or its error as the user's.
    fn or_return(&self, call: &TokenStream) -> TokenStream {
        quote_spanned! {mixed()=>
            match #call {
                ::core::result::Result::Ok(value) => value,
                ::core::result::Result::Err(error) => {
                    return ::core::result::Result::Err(failed(error));
                }
            }
        }
    }

    /// What makes the user's error of ours. Named once in a body, and shown at the answer's type if there can be
    /// none: each mention would be a message of the compiler.
    fn failed(&self) -> TokenStream {
        let place = located(self.method.answer);
        let private = self.model.root.private_at(place);
        quote_spanned!(place=> let failed = #private::failure;)
    }

    fn hand(&self, argument: &Argument, handing: Handing) -> TokenStream {
        let Argument { name, ty, passing, .. } = argument;
        let span = located(ty.span());
        let private = self.model.root.private_at(span);
        match (passing, handing) {
            (Passing::Tx | Passing::Exclusive, _) => quote_spanned!(span=> &mut *#name),
            (Passing::Value, Handing::Again) => {
                quote_spanned!(span=> #private::handed(&#name))
            }
            (Passing::Shared, Handing::Owned) => {
                quote_spanned!(span=> ::core::borrow::Borrow::borrow(&#name))
            }
            (Passing::Value | Passing::Shared, _) => quote!(#name),
        }
    }
}

/// The method's own parameters: those that occur only in the answer cannot be inferred everywhere. Lifetimes
/// always can.
pub(super) fn turbofish(signature: &Signature) -> Option<TokenStream> {
    let parameters = signature.generics.params.iter();
    let named: Vec<&Ident> = parameters
        .filter_map(|parameter| match parameter {
            GenericParam::Type(parameter) => Some(&parameter.ident),
            GenericParam::Const(parameter) => Some(&parameter.ident),
            GenericParam::Lifetime(_) => None,
        })
        .collect();
    (!named.is_empty()).then(|| quote!(::<#(#named),*>))
}

/// `&key`. The parts of a tuple are borrowed one by one: the tuple must not take the arguments away.
fn borrowed(key: &Expr) -> TokenStream {
    let Expr::Tuple(tuple) = ungrouped(key) else {
        return reference(key);
    };
    let parts = tuple.elems.iter().map(|part| match is_place(part) {
        true => reference(part),
        false => quote!(#part),
    });
    quote_spanned!(located(key.span())=> &(#(#parts),*))
}

/// Every key of a list: of an argument or a field of one without taking it away.
fn each(keys: &Expr) -> TokenStream {
    match is_place(keys) {
        true => {
            let keys = ungrouped(keys);
            quote_spanned!(located(keys.span())=> (#keys).iter())
        }
        false => quote!(#keys),
    }
}

/// `&expression`, in parentheses where the operators inside need them.
fn reference(expression: &Expr) -> TokenStream {
    let reference = ExprReference {
        attrs: Vec::new(),
        and_token: syn::Token![&](located(expression.span())),
        mutability: None,
        expr: Box::new(ungrouped(expression).clone()),
    };
    quote!(#reference)
}

/// The expression that a `macro_rules!` wrapped up. The compiler does not see the invisible group, so
/// that `&` would bind to the first operand alone.
fn ungrouped(expression: &Expr) -> &Expr {
    match expression {
        Expr::Group(group) => ungrouped(&group.expr),
        _ => expression,
    }
}

fn is_place(expression: &Expr) -> bool {
    match ungrouped(expression) {
        Expr::Path(_) => true,
        Expr::Field(field) => is_place(&field.base),
        _ => false,
    }
}

/// The wrapper's field of a side.
fn field(side: Side) -> Ident {
    match side {
        Side::Old => Ident::new("old", mixed()),
        Side::New => Ident::new("new", mixed()),
    }
}

/// The variant of `dualwrite::Side`.
fn variant(side: Side) -> Ident {
    match side {
        Side::Old => Ident::new("Old", mixed()),
        Side::New => Ident::new("New", mixed()),
    }
}

fn mixed() -> Span {
    Span::mixed_site()
}

/// Our token, which errors show as if it stood at a piece of the user's source.
fn located(span: Span) -> Span {
    mixed().located_at(span)
}
