//! What is said where `dualwrite` has another name, and what a typo leaves of the rest.

use syn::Item;

use crate::diag::Errors;
use crate::manifest::Dependency::{self, Absent, AsPublished, Renamed};
use crate::paths::Root;

fn renamed(name: &str) -> Dependency {
    Renamed(name.to_owned())
}

#[test]
fn manifests_say_the_name_of_the_library() {
    for (text, expected) in [
        ("[dependencies]\ndualwrite = \"0.1\"", AsPublished),
        ("[dependencies.dualwrite]\nversion = \"0.1\"", AsPublished),
        ("[target.'cfg(unix)'.dependencies]\ndualwrite.workspace = true", AsPublished),
        ("dependencies = { serde = \"1\", \"dualwrite\" = \"0.1\" }", AsPublished),
        (
            "[dependencies]\ndw = { package = \"dualwrite\", path = \"../dualwrite\" }",
            renamed("dw"),
        ),
        (
            "[dependencies]\ndual-write = { version = \"1\", package = \"dualwrite\" } # it",
            renamed("dual_write"),
        ),
        ("[dev-dependencies.dw]\npackage = \"dualwrite\"", renamed("dw")),
        ("[dependencies]\nfacade = \"1\"\n# dualwrite = \"0.1\"", Absent),
        ("[dependencies]\ndualwrite-cli = \"0.1\"\nx = { path = \"dualwrite\" }", Absent),
        ("[package]\nname = \"dualwrite\"", AsPublished),
        ("[features]\npage = [\"facade/dualwrite\"]", Absent),
    ] {
        assert_eq!(Dependency::of(text), expected, "{text}");
    }
}

#[test]
fn another_name_gets_one_message_that_says_what_to_write() {
    let said = |dependency| {
        let mut errors = Errors::default();
        let root = Root::unless_renamed("#[key(crate = path)]", dependency, &mut errors);
        let message = errors.into_result(()).err().map(|error| error.to_string());
        (message, root.unless_missing(quote::quote!(#root)).to_string())
    };
    assert_eq!(said(AsPublished), (None, ":: dualwrite".to_owned()));
    let (message, root) = said(renamed("dw"));
    assert_eq!(
        message.as_deref(),
        Some(
            "write `#[key(crate = dw)]`: `Cargo.toml` gives `dualwrite` the name `dw` in this crate"
        )
    );
    assert_eq!(root, ":: dw");
    let (message, rest) = said(Absent);
    assert_eq!(
        message.as_deref(),
        Some(
            "write `#[key(crate = path)]`, the path under which this crate reaches `dualwrite`: its `Cargo.toml` has no \
             dependency of that name"
        )
    );
    assert_eq!(rest, "", "what names the library would be a second message");
}

/// The names of the methods that come out beside the mistakes.
fn methods(source: &str) -> Vec<String> {
    let (_, items) = super::reported(super::expand(source));
    let blocks = items.into_iter().filter_map(|item| match item {
        Item::Impl(block) if block.trait_.is_none() => Some(block.items),
        _ => None,
    });
    let methods = blocks.flatten().filter_map(|item| match item {
        syn::ImplItem::Fn(method) => Some(method.sig.ident.to_string()),
        _ => None,
    });
    methods.collect()
}

#[test]
fn a_typo_leaves_the_getters_of_the_other_fields_and_its_own() {
    for typo in ["new = email_adress", "nwe = email_address"] {
        let methods = methods(&format!(
            "struct S {{ #[dual({typo})] email: A, email_address: Option<A>, #[dual(new = c)] b: B, c: Option<B> }}"
        ));
        for name in ["email_address", "set_email_address", "c", "set_c", "migrate"] {
            assert!(
                methods.iter().any(|method| method == name),
                "no `{name}` with {typo}: {methods:?}"
            );
        }
    }
    let left = methods("struct S { #[dual(new = zip)] a: A, #[dual(new = c)] b: B, c: Option<B> }");
    assert!(left.iter().any(|method| method == "set_c"), "{left:?}");
    assert!(!left.iter().any(|method| method == "set_zip"), "{left:?}");
}
