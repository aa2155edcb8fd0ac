//! The body of a method that is passed to the side that answers.

use proc_macro2::TokenStream;
use quote::quote_spanned;

use super::super::model::{Form, Side};
use super::{Body, Handing, mixed, variant};

impl Body<'_> {
    /// The body of a method that neither reads nor writes.
    pub(in crate::repository) fn primary(&self) -> TokenStream {
        let (root, private, this) = (&self.model.root, self.model.root.private(), self.this());
        let (is_old, is_new) = (variant(Side::Old), variant(Side::New));
        let (old, new) = (self.ask(Side::Old, Handing::Last), self.ask(Side::New, Handing::Last));
        let waits = match self.method.form {
            Form::Sync | Form::Stream { .. } => None,
            Form::Future | Form::Boxed | Form::Async => Some(quote_spanned!(mixed()=> .await)),
        };
        self.in_form(&quote_spanned! {mixed()=>
            let call = #private::primary(&#this.repository);
            match call.side() {
                #root::Side::#is_old => #old #waits,
                #root::Side::#is_new => #new #waits,
            }
        })
    }
}
