//! Where generated code finds the library: `::dualwrite`, or what the user said with `crate = …`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Expr, Path};

use crate::diag::Errors;
use crate::manifest::Dependency;
use crate::settings::Settings;

/// The path of the `dualwrite` crate.
#[derive(Clone)]
pub(crate) struct Root {
    path: Path,
    /// There is none, which has been reported: nothing that names it can be written.
    is_missing: bool,
}

impl Default for Root {
    fn default() -> Self {
        Self::at(syn::parse_quote!(::dualwrite))
    }
}

impl Root {
    fn at(path: Path) -> Self {
        Self { path, is_missing: false }
    }

    /// `::dualwrite`, or what to write where that is another crate's name or nobody's.
    pub(crate) fn unless_renamed(
        example: &str,
        dependency: Dependency,
        errors: &mut Errors,
    ) -> Self {
        match dependency {
            Dependency::AsPublished => Self::default(),
            Dependency::Renamed(name) => {
                let example = example.replace("path", &name);
                errors.at(
                    Span::call_site(),
                    format!("write `{example}`: `Cargo.toml` gives `dualwrite` the name `{name}` in this crate"),
                );
                let name = syn::Ident::new(&name, Span::call_site());
                Self::at(syn::parse_quote!(::#name))
            }
            Dependency::Absent => {
                errors.at(
                    Span::call_site(),
                    format!(
                        "write `{example}`, the path under which this crate reaches `dualwrite`: its `Cargo.toml` \
                         has no dependency of that name"
                    ),
                );
                Self { is_missing: true, ..Self::default() }
            }
        }
    }

    /// The tokens, unless they could only lead to a second message.
    pub(crate) fn unless_missing(&self, tokens: TokenStream) -> TokenStream {
        if self.is_missing { TokenStream::new() } else { tokens }
    }

    /// Takes `crate = path` out of the settings.
    pub(crate) fn from_settings(settings: &mut Settings, errors: &mut Errors) -> Self {
        let Some((key, value)) = settings.value("crate", "a path to `dualwrite`", errors) else {
            return Self::unless_renamed(
                &settings.example(),
                Dependency::of_this_package(),
                errors,
            );
        };
        match value {
            Expr::Path(path) if path.qself.is_none() => Self::at(path.path),
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
        self.path.to_tokens(tokens);
    }
}
