//! Where generated code finds the library: `::dualwrite`, or what the user said with `crate = …`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Expr, Path};

use crate::diag::Errors;
use crate::settings::Settings;

/// The path of the `dualwrite` crate.
#[derive(Clone)]
pub(crate) struct Root(Path);

impl Default for Root {
    fn default() -> Self {
        Self(syn::parse_quote!(::dualwrite))
    }
}

impl Root {
    /// Takes `crate = path` out of the settings.
    pub(crate) fn from_settings(settings: &mut Settings, errors: &mut Errors) -> Self {
        let Some((key, value)) = settings.value("crate", "a path to `dualwrite`", errors) else {
            return Self::default();
        };
        match value {
            Expr::Path(path) if path.qself.is_none() => Self(path.path),
            other => {
                errors.on(
                    &other,
                    format!(
                        "`{key}` takes a path: write `{key} = my_crate::dualwrite`, without quotes"
                    ),
                );
                Self::default()
            }
        }
    }

    /// What generated code calls; not part of the public promise.
    pub(crate) fn private(&self) -> TokenStream {
        quote!(#self::__private)
    }

    /// The same, shown in errors as if it stood at a piece of the user's source.
    pub(crate) fn private_at(&self, place: Span) -> TokenStream {
        let moved = self.private().into_iter().map(|mut token| {
            token.set_span(place.resolved_at(token.span()));
            token
        });
        moved.collect()
    }
}

impl ToTokens for Root {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}
