//! The body of a write: one side alone, or both in the caller's transaction, old first.

use proc_macro2::{Ident, TokenStream};
use quote::quote_spanned;

use super::super::model::{Side, Write};
use super::{Body, Handing, borrowed, located, mixed};

impl Body<'_> {
    /// The body of a write.
    pub(in crate::repository) fn write(&self, Write { key, tx, .. }: &Write) -> TokenStream {
        let (private, this, position) =
            (self.model.root.private(), &self.method.this, &self.position);
        let key = borrowed(key);
        let start = self.or_return(&quote_spanned! {mixed()=>
            #private::write(&#this.repository, #position, &*#tx, #key)
        });
        let (old_alone, new_alone) = (self.alone(Side::Old, tx), self.alone(Side::New, tx));
        let dual = self.dual(tx);
        let finish = quote_spanned!(located(self.method.answer)=> write.finish());
        let at_once = self.at_once(tx);
        self.in_form(&quote_spanned! {mixed()=>
            let mut write = #start;
            match write.sides() {
                #private::Sides::Old => { #old_alone }
                #private::Sides::New => { #new_alone }
                #private::Sides::Both => {
                    #at_once
                    #dual
                    #finish
                }
            }
        })
    }

    /// Leaves the write to the implementation for both, where one was given.
    fn at_once(&self, tx: &Ident) -> TokenStream {
        let this = &self.method.this;
        let receiver = quote_spanned!(mixed()=> &**both);
        let call = self.call_of(&self.model.both, &receiver, Handing::Last);
        let left = self.or_return(&quote_spanned! {mixed()=>
            write.leave_both(&mut *#tx, answer).await
        });
        quote_spanned! {mixed()=>
            if let ::core::option::Option::Some(both) = &#this.both {
                write.enter_both(&mut *#tx);
                let answer = write.run(#call).await;
                return #left;
            }
        }
    }

    /// How the answers of the two sides are compared, where their type can be.
    fn differ(&self) -> TokenStream {
        let private = self.model.root.private();
        quote_spanned! {mixed()=>
            |pair| {
                #[allow(unused_imports)]
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
        quote_spanned! {mixed()=>
            |error| {
                #[allow(unused_imports)]
                use #private::{CauseInside as _, CauseOfError as _, CauseUnknown as _};
                (&&&#private::Failed(error)).cause()
            }
        }
    }

    fn alone(&self, side: Side, tx: &Ident) -> TokenStream {
        let call = self.ask(side, Handing::Last);
        let left = quote_spanned! {located(self.method.answer)=>
            write.leave_only(&mut *#tx, answer)
        };
        quote_spanned! {mixed()=>
            write.enter_only(&mut *#tx);
            let answer = write.run(#call).await;
            #left
        }
    }

    /// Every side that the library names in its turn. Which they are it decides while it goes on, so
    /// nobody knows which one is the last to use the arguments.
    fn dual(&self, tx: &Ident) -> TokenStream {
        let root = &self.model.root;
        let (old, new) = (self.ask(Side::Old, Handing::Again), self.ask(Side::New, Handing::Again));
        let error = self.converted();
        // All of it at the type of the answer, so that the compiler says only once what is wrong.
        let (differ, cause) = (self.differ(), self.cause());
        let left = quote_spanned! {located(self.method.answer)=>
            write.leave(side, &mut *#tx, answer, #differ, #cause).await
        };
        quote_spanned! {mixed()=>
            while let ::core::option::Option::Some(side) = write.next() {
                if let ::core::result::Result::Err(error) = write.enter(side, &mut *#tx).await {
                    return ::core::result::Result::Err(#error);
                }
                let answer = match side {
                    #root::Side::Old => write.run(#old).await,
                    #root::Side::New => write.run(#new).await,
                };
                if let ::core::result::Result::Err(error) = #left {
                    return ::core::result::Result::Err(error);
                }
            }
        }
    }
}
