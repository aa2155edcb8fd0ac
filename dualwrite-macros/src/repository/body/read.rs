//! The body of a read: ask the side that answers; where the call is compared or lazy, keep what is
//! needed to ask again.

use proc_macro2::{Ident, TokenStream};
use quote::quote_spanned;
use syn::Type;
use syn::spanned::Spanned as _;

use super::super::model::{Argument, Comparing, Failing, Form, Passing, Read, ReadKind, Side};
use super::{Body, Handing, borrowed, located, mixed, variant};

impl Body<'_> {
    /// The body of a read.
    pub(in crate::repository) fn read(&self, read: &Read) -> TokenStream {
        if let Form::Stream { is_boxed } = self.method.form {
            return self.streamed(read, is_boxed);
        }
        let start = self.start(read);
        let rest = match &read.kind {
            ReadKind::Plain { .. } => self.plain(),
            ReadKind::LazyIn { tx } => self.lazy_in(tx),
            ReadKind::Within { tx, lazy, comparing } => self.within(tx, *lazy, comparing.as_ref()),
            ReadKind::Lazy(comparing) => self.asked_again(Some(self.copied()), comparing.as_ref()),
            ReadKind::Compared(comparing) => self.asked_again(None, Some(comparing)),
        };
        self.in_form(&quote_spanned!(mixed()=> #start #rest))
    }

    fn start(&self, read: &Read) -> TokenStream {
        let (fenced, failed) = (read.tx().and_then(|tx| self.fenced(tx)), self.failed());
        let call = self.or_return(&self.planned(read));
        quote_spanned!(mixed()=> #fenced #failed let mut call = #call;)
    }

    fn planned(&self, read: &Read) -> TokenStream {
        let (private, this, position) = (self.model.root.private(), self.this(), &self.position);
        let function = Ident::new(read.plan(), mixed());
        let tx = read.tx().map(|tx| quote_spanned!(mixed()=> , &mut *#tx));
        // One form for both: what the ramp is followed by is the key, unless something else is named.
        let ramp = read.ramp.as_ref().or(read.key.as_ref().filter(|_| read.is_within()));
        let key = read.key.iter().chain(ramp).map(borrowed);
        quote_spanned! {mixed()=>
            #private::#function(&#this.repository, #position #tx #(, #key)*)
        }
    }

    /// The stream of the side that answers, which keeps the read open.
    fn streamed(&self, read: &Read, is_boxed: bool) -> TokenStream {
        let (root, private) = (&self.model.root, self.model.root.private());
        let fenced = read.tx().and_then(|tx| self.fenced(tx));
        let failed = match &self.method.failing {
            Failing::By(convert) => quote_spanned!(mixed()=> let failed = #convert;),
            Failing::From | Failing::Answer(_) => self.failed(),
        };
        let call = self.planned(read);
        let (is_old, is_new) = (variant(Side::Old), variant(Side::New));
        let (old, new) = (self.ask(Side::Old, Handing::Last), self.ask(Side::New, Handing::Last));
        let stream = quote_spanned! {mixed()=>
            #fenced
            #failed
            let call = #call;
            let side = match &call {
                ::core::result::Result::Ok(call) => ::core::option::Option::Some(match call.side() {
                    #root::Side::#is_old => #private::boxed(#old),
                    #root::Side::#is_new => #private::boxed(#new),
                }),
                ::core::result::Result::Err(_) => ::core::option::Option::None,
            };
        };
        let answer =
            quote_spanned!(located(self.method.answer)=> #private::streamed(call, side, failed));
        match is_boxed {
            true => quote_spanned!(mixed()=> #stream ::std::boxed::Box::pin(#answer)),
            false => quote_spanned!(mixed()=> #stream #answer),
        }
    }

    fn plain(&self) -> TokenStream {
        let answer = self.answer(Handing::Last);
        let finish = self.finish_plain();
        quote_spanned! {mixed()=>
            let answer = #answer;
            #finish
        }
    }

    fn asked_again(
        &self,
        copied: Option<TokenStream>,
        comparing: Option<&Comparing>,
    ) -> TokenStream {
        let (again, answer) = (self.again(), self.answer(Handing::Last));
        let finish = match comparing {
            Some(comparing) => self.finish_read(comparing),
            None => self.finish_plain(),
        };
        quote_spanned! {mixed()=>
            let again = #again;
            let answer = #answer;
            #copied
            #finish
        }
    }

    /// Copies the record if it is missing in new, and asks again.
    fn copied(&self) -> TokenStream {
        let private = self.model.root.private();
        let wants_copy = quote_spanned!(located(self.method.answer)=> call.wants_copy(&answer));
        quote_spanned! {mixed()=>
            if #wants_copy {
                return #private::copy_and_ask(call, answer, again, failed).await;
            }
        }
    }

    /// Ends the read. All of it stands at the type of the answer, so that the compiler says only once
    /// what is wrong with that type.
    fn finish_plain(&self) -> TokenStream {
        let place = located(self.method.answer);
        let private = self.model.root.private_at(place);
        quote_spanned!(place=> #private::finish_plain(&mut call, answer, failed))
    }

    /// The same, with the comparison.
    fn finish_read(&self, comparing: &Comparing) -> TokenStream {
        let place = located(self.method.answer);
        let private = self.model.root.private_at(place);
        // What is wrong with keeping the arguments is shown at the method's name.
        let again = Ident::new("again", located(self.method.signature.ident.span()));
        let (compare, fingerprint) = (self.compare(comparing), self.fingerprint());
        quote_spanned! {place=>
            #private::finish_read(&mut call, answer, #again, #compare, #fingerprint, failed)
        }
    }

    /// How errors are told apart: by their text where they have one.
    fn fingerprint(&self) -> TokenStream {
        let private = self.model.root.private();
        match &self.method.failing {
            Failing::From => {}
            Failing::By(_) => {
                return quote_spanned! {mixed()=>
                    |error| match #private::CarriedError::theirs(error) {
                        ::core::option::Option::Some(error) => {
                            use #private::{ByNoText as _, ByText as _};
                            (&&#private::Failed(error)).fingerprint()
                        }
                        ::core::option::Option::None => 0,
                    }
                };
            }
            Failing::Answer(_) => return quote_spanned!(mixed()=> |_| 0),
        }
        quote_spanned! {mixed()=>
            |error| {
                use #private::{ByNoText as _, ByText as _};
                (&&#private::Failed(error)).fingerprint()
            }
        }
    }

    /// How two answers are compared: by the user's function, else field by field where the type can,
    /// else by equality. The compiler chooses here, where it knows the type.
    fn compare(&self, comparing: &Comparing) -> TokenStream {
        let place = located(self.method.answer);
        let (root, private) = (&self.model.root, self.model.root.private());
        if let Some(function) = &comparing.by {
            // Called, and not handed on, so that `&String` may become `&str`.
            return quote_spanned! {located(function.span())=>
                |pair, at| #private::compare_by(|old, new| #function(old, new), pair, at)
            };
        }
        let chosen = quote_spanned!(place=> (&&&pair).compare_or_eq(at));
        quote_spanned! {mixed()=>
            |pair, at: &mut #root::Comparison<'_>| {
                use #private::{ByEquality as _, ByFields as _, ByNothing as _};
                #chosen
            }
        }
    }

    /// Asks the side that answers.
    fn answer(&self, handing: Handing) -> TokenStream {
        let (old, new) = (self.ask(Side::Old, handing), self.ask(Side::New, handing));
        let (old, new) = (self.asked(&old), self.asked(&new));
        self.by_side(&quote_spanned!(mixed()=> call.side()), &old, &new)
    }

    fn by_side(&self, side: &TokenStream, old: &TokenStream, new: &TokenStream) -> TokenStream {
        let (root, is_old, is_new) = (&self.model.root, variant(Side::Old), variant(Side::New));
        quote_spanned! {mixed()=>
            match #side {
                #root::Side::#is_old => #old.await,
                #root::Side::#is_new => #new.await,
            }
        }
    }

    /// Waits for a side, in a way that notices how it ends.
    fn asked(&self, call: &TokenStream) -> TokenStream {
        quote_spanned!(mixed()=> call.ask(::core::pin::pin!(#call)))
    }

    /// The second ask, which may run after this call: it owns all that it needs.
    fn again(&self) -> TokenStream {
        let (root, this) = (&self.model.root, self.this());
        let unit = self.model.unit.as_ref();
        let private = root.private();
        let pool =
            unit.map(|_| quote_spanned!(mixed()=> let pool = #private::ApartFrom::of(&*tx);));
        let pool_again =
            unit.map(|_| quote_spanned!(mixed()=> let pool = ::core::clone::Clone::clone(&pool);));
        let connection = unit.map(|_| {
            let taken = self.or_return(&quote_spanned!(mixed()=> pool.connection().await));
            quote_spanned!(mixed()=> let mut connection = #taken;)
        });
        let kept = self.method.arguments.iter().map(|argument| self.keep(argument));
        let clones = self.method.arguments.iter().map(|argument| match argument.passing {
            Passing::Value => self.copied_for_later(argument),
            Passing::Tx | Passing::Shared | Passing::Exclusive => {
                let Argument { name, ty, .. } = argument;
                quote_spanned!(located(ty.span())=> let #name = ::core::clone::Clone::clone(&#name);)
            }
        });
        let old = self.call(Side::Old, &quote_spanned!(mixed()=> &*old), Handing::Owned);
        let new = self.call(Side::New, &quote_spanned!(mixed()=> &*new), Handing::Owned);
        let asked = self.by_side(&quote_spanned!(mixed()=> side), &old, &new);
        quote_spanned! {mixed()=>
            call.kept(|| {
                let old = ::core::clone::Clone::clone(&#this.old);
                let new = ::core::clone::Clone::clone(&#this.new);
                #pool
                #(#kept)*
                move |side: #root::Side| {
                    let old = ::core::clone::Clone::clone(&old);
                    let new = ::core::clone::Clone::clone(&new);
                    #pool_again
                    #(#clones)*
                    async move { #connection #asked }
                }
            })
        }
    }

    /// In the transaction of a unit of work. The comparison reads both sides outside it.
    fn within(&self, tx: &Ident, lazy: bool, comparing: Option<&Comparing>) -> TokenStream {
        let again = comparing.map(|_| {
            let again = self.again();
            quote_spanned!(mixed()=> let again = #again;)
        });
        let finish = match comparing {
            Some(comparing) => self.finish_read(comparing),
            None => self.finish_plain(),
        };
        let asked = match lazy {
            true => self.copied_in(tx),
            false => {
                let answer = self.answer(Handing::Last);
                quote_spanned!(mixed()=> let answer = #answer;)
            }
        };
        quote_spanned!(mixed()=> #again #asked #finish)
    }

    /// Asks, copies the record if it is missing in new, and then asks new again, all in one
    /// transaction.
    fn lazy_in(&self, tx: &Ident) -> TokenStream {
        let (asked, finish) = (self.copied_in(tx), self.finish_plain());
        quote_spanned!(mixed()=> #asked #finish)
    }

    /// What of it stands before its end.
    fn copied_in(&self, tx: &Ident) -> TokenStream {
        let answer = self.answer(Handing::Again);
        let new = self.asked(&self.ask(Side::New, Handing::Last));
        let finish = self.finish_plain();
        let wants_copy = quote_spanned!(located(self.method.answer)=> call.wants_copy(&answer));
        let copied = self.or_return(&quote_spanned!(mixed()=> call.copy_in(&mut *#tx).await));
        quote_spanned! {mixed()=>
            let answer = #answer;
            if #wants_copy {
                let copied = #copied;
                if copied {
                    let answer = #new.await;
                    return #finish;
                }
            }
        }
    }

    /// `let id = <an owned copy of id>;`
    fn keep(&self, argument: &Argument) -> TokenStream {
        let Argument { name, ty, passing, .. } = argument;
        let span = located(ty.span());
        match (passing, ty) {
            // With the type written out, the compiler points at it if it cannot be owned.
            (Passing::Shared, Type::Reference(reference)) => {
                let lent = &reference.elem;
                quote_spanned!(span=> let #name = <#lent as ::std::borrow::ToOwned>::to_owned(#name);)
            }
            _ => self.copied_for_later(argument),
        }
    }

    fn copied_for_later(&self, Argument { name, ty, .. }: &Argument) -> TokenStream {
        let span = located(ty.span());
        let private = self.model.root.private_at(span);
        quote_spanned!(span=> let #name = #private::kept(&#name);)
    }
}
