//! The body of a write: the library names the implementation to call next, until all is written.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::spanned::Spanned as _;

use super::super::model::{Failing, Handed, Keys, Made, Passing, Side, Then, Write};
use super::{Body, Handing, borrowed, each, located, mixed};

impl Body<'_> {
    /// The body of a write.
    pub(in crate::repository) fn write(&self, write: &Write) -> TokenStream {
        let tx = &write.tx;
        let begin = self.begin(write);
        let kept = self.owned().map(
            |name| quote_spanned!(mixed()=> let mut #name = ::core::option::Option::Some(#name);),
        );
        let given = self.owned().map(|name| self.given(name));
        let (made, answer, noted) = self.calls(write);
        let finish = quote_spanned!(located(self.method.answer)=> write.finish());
        let (differ, cause) = (self.differ(), self.cause());
        let fenced = self.fenced(tx);
        self.in_form(&quote_spanned! {mixed()=>
            #fenced
            let mut write = #begin;
            #(#kept)*
            #made
            while let ::core::option::Option::Some(target) = write.next(&mut *#tx).await {
                #(#given)*
                let answer = match target {
                    #answer
                };
                #noted
                write.leave(&mut *#tx, answer, #differ, #cause).await;
            }
            #finish
        })
    }

    /// How the answers of the two sides are compared, where their type can be.
    fn differ(&self) -> TokenStream {
        let private = self.model.root.private();
        quote_spanned! {mixed()=>
            |pair| {
                use #private::{
                    AnswersByEquality as _, AnswersByFields as _, AnswersByNothing as _,
                };
                (&&&pair).answers_differ()
            }
        }
    }

    /// How the error of a database is found in an error.
    fn cause(&self) -> TokenStream {
        let private = self.model.root.private();
        let found = quote_spanned! {mixed()=> {
            use #private::{CauseInside as _, CauseOfError as _, CauseUnknown as _};
            (&&&#private::Failed(error)).cause()
        }};
        match &self.method.failing {
            Failing::From => quote_spanned!(mixed()=> |error| #found),
            Failing::By(_) => quote_spanned! {mixed()=>
                |error| #private::CarriedError::theirs(error).and_then(|error| #found)
            },
            Failing::Answer(_) => quote_spanned!(mixed()=> |_| ::core::option::Option::None),
        }
    }

    fn begin(&self, Write { keys, tx, .. }: &Write) -> TokenStream {
        let (private, this, position) = (self.model.root.private(), self.this(), &self.position);
        let (function, keys) = match keys {
            Keys::One(key) => (quote!(write), Some(borrowed(key))),
            Keys::Many(keys) => (quote!(write_keys), Some(each(keys))),
            Keys::Filter => (quote!(write_filter), None),
            Keys::Once => (quote!(write_once), None),
            Keys::Made(_) => (quote!(write_made), None),
        };
        let keys = keys.map(|keys| quote!(, #keys));
        quote_spanned!(mixed()=> #private::#function(&#this.repository, #position, &mut *#tx #keys))
    }

    /// `let tx = fenced(tx);` where the type of the transaction says nothing by its name: one place where it may be
    /// found to be something else, and nothing after it that complains again.
    pub(super) fn fenced(&self, tx: &Ident) -> Option<TokenStream> {
        let arguments = &self.method.arguments;
        let argument =
            arguments.iter().find(|argument| argument.name == *tx && !argument.is_named_tx)?;
        // One context for all tokens, as those of the path have: the compiler tells equal messages by their place.
        let place = Span::call_site().located_at(argument.ty.span());
        let private = self.model.root.private_at(place);
        Some(quote_spanned!(place=> let #tx = #private::fenced(&mut *#tx);))
    }

    /// The arguments that are given away by value.
    fn owned(&self) -> impl Iterator<Item = &Ident> {
        let arguments = self.method.arguments.iter();
        arguments
            .filter(|argument| argument.passing == Passing::Value)
            .map(|argument| &argument.name)
    }

    fn given(&self, name: &Ident) -> TokenStream {
        let argument = self.method.arguments.iter().find(|argument| argument.name == *name);
        let span = argument.map_or_else(mixed, |argument| located(argument.ty.span()));
        let private = self.model.root.private_at(span);
        let given = quote_spanned!(span=> #private::given(&mut #name, write.is_last()));
        quote_spanned! {mixed()=>
            let ::core::option::Option::Some(#name) = #given else { break };
        }
    }

    /// What stands before the loop, the call of each target, and what is done with its answer.
    fn calls(&self, write: &Write) -> (TokenStream, TokenStream, TokenStream) {
        let (private, this) = (self.model.root.private(), self.this());
        let made = match &write.keys {
            Keys::Made(made) => Some(made),
            _ => None,
        };
        let run = |call: TokenStream| quote_spanned!(mixed()=> write.run(#call).await);
        let old = run(self.ask(Side::Old, Handing::Last));
        let receiver = quote_spanned!(mixed()=> #private::by(&#this.both, side));
        let both = run(self.call_of(&self.model.both, &receiver, Handing::Last));
        let mut new = run(self.ask(Side::New, Handing::Last));
        let (mut before, mut after) = (TokenStream::new(), TokenStream::new());
        if let Some(Made { key_from, then }) = made {
            before = quote_spanned!(mixed()=> let mut made = ::core::option::Option::None;);
            after = quote_spanned!(mixed()=> made = write.made(&answer, #key_from););
            new = match then {
                Then::Argument(name) => quote_spanned! {mixed()=> {
                    let #name = ::core::option::Option::or(made.take(), #name);
                    #new
                }},
                Then::Method(name, handed) => {
                    let other = run(self.by_other_method(name, handed, &write.tx));
                    quote_spanned! {mixed()=>
                        match made.take() {
                            ::core::option::Option::Some(key) => #other,
                            ::core::option::Option::None => #new,
                        }
                    }
                }
            };
        }
        let answer = quote_spanned! {mixed()=>
            #private::Target::Old => #old,
            #private::Target::New => #new,
            #private::Target::Both(side) => #both,
        };
        (before, answer, after)
    }

    /// The call of the method that writes new under a key that is made.
    fn by_other_method(&self, name: &Ident, handed: &[Handed], tx: &Ident) -> TokenStream {
        let (new, this) = (&self.model.sides.new, self.this());
        let arguments = handed.iter().map(|handed| match handed {
            Handed::Same(name) => quote!(#name),
            Handed::Tx => quote_spanned!(mixed()=> &mut *#tx),
            Handed::Key => quote_spanned!(mixed()=> key),
            Handed::KeyReference => quote_spanned!(mixed()=> &key),
        });
        let receiver = quote_spanned!(mixed()=> &*#this.new);
        let arguments = quote!(#(, #arguments)*);
        let call = self.called(new, &receiver, &name.to_token_stream(), &arguments, false);
        self.answering(&self.model.sides.new, call)
    }
}
