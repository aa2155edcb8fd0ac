//! `#[read(…)]` and `#[write(…)]`: what a method says about its routing.

use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprAwait, ExprPath, ExprReturn, ExprTry, Ident, Meta};

use super::super::model::{AnswerPolicy, MirrorPolicy, WriteLimits};
use super::options::{self, Shadow};
use crate::diag::Errors;
use crate::settings::Settings;

/// What the attribute says, before the arguments are looked at.
#[expect(clippy::large_enum_variant, reason = "there is one a method, and none is kept")]
pub(super) enum Declared {
    Read {
        /// None for scans.
        key: Option<Expr>,
        ramp: Option<Expr>,
        lazy: Option<Ident>,
        shadow: Shadow,
    },
    Write {
        keys: DeclaredKeys,
        on_mirror_error: Option<MirrorPolicy>,
        limits: WriteLimits,
        on_difference: Option<AnswerPolicy>,
    },
    Primary,
}

/// The records of a write, before the arguments are looked at.
pub(super) enum DeclaredKeys {
    One(Expr),
    Many(Expr),
    Filter,
    Once,
    Made { key_from: Expr, then: Ident, by_method: bool },
}

/// What becomes of an error of ours, as the attribute says.
#[derive(Default)]
pub(super) struct DeclaredFailing {
    pub(super) error: Option<ExprPath>,
    pub(super) on_unknown: Option<(Ident, Expr)>,
}

/// Whether the attribute says that the method reads or writes.
pub(super) fn is_keyed(attribute: &Attribute) -> bool {
    !attribute.path().is_ident("primary")
}

/// Reads the one attribute that a method must carry.
pub(super) fn lower(
    name: &Ident,
    routing: &[Attribute],
    errors: &mut Errors,
) -> Option<(Declared, DeclaredFailing)> {
    let Some((attribute, others)) = routing.split_first() else {
        errors.on(
            name,
            format!(
                "say how `{name}` is routed: `#[read(key = …)]`, `#[read(scan)]`, `#[write(key = …)]`, or \
                 `#[primary]` where it does neither"
            ),
        );
        return None;
    };
    for other in others {
        errors.on(
            other.path(),
            "a method is routed in one way: keep one `#[read(…)]`, `#[write(…)]` or `#[primary]`",
        );
    }
    if attribute.path().is_ident("write") {
        write(attribute, errors)
    } else if attribute.path().is_ident("primary") {
        primary(attribute, errors)
    } else {
        read(attribute, errors)
    }
}

fn write(attribute: &Attribute, errors: &mut Errors) -> Option<(Declared, DeclaredFailing)> {
    const KEYS: &[&str] = &[
        "key",
        "keys",
        "filter",
        "once",
        "key_from",
        "then",
        "into",
        "on_mirror_error",
        "on_difference",
        "timeout",
        "primary_timeout",
        "error",
        "on_unknown",
    ];
    let mut settings = Settings::new("`#[write]`", KEYS);
    settings.add_attribute(attribute, errors);
    let keys = written(attribute, &mut settings, errors);
    let on_mirror_error = options::on_mirror_error(&mut settings, errors);
    let on_difference = options::on_difference(&mut settings, errors);
    let limits = options::write_limits(&mut settings, errors);
    let failing = failing(&mut settings, errors);
    Some((Declared::Write { keys: keys?, on_mirror_error, limits, on_difference }, failing))
}

/// The one setting that says which records are written.
fn written(
    attribute: &Attribute,
    settings: &mut Settings,
    errors: &mut Errors,
) -> Option<DeclaredKeys> {
    let mut found: Vec<(Ident, Option<DeclaredKeys>)> = Vec::new();
    if let Some((name, key)) = key("key", settings, errors) {
        found.push((name, Some(DeclaredKeys::One(key))));
    }
    if let Some((name, keys)) = key("keys", settings, errors) {
        found.push((name, Some(DeclaredKeys::Many(keys))));
    }
    if let Some(name) = settings.flag("filter", errors) {
        found.push((name, Some(DeclaredKeys::Filter)));
    }
    if let Some(name) = settings.flag("once", errors) {
        found.push((name, Some(DeclaredKeys::Once)));
    }
    if let Some((name, keys)) = made(settings, errors) {
        found.push((name, keys));
    }
    for (name, _) in found.iter().skip(1) {
        let first = &found[0].0;
        errors
            .on(name, format!("a write names its records in one way: keep `{first}` or `{name}`"));
    }
    if found.is_empty() && !settings.is_flawed() {
        errors.on(
            attribute.path(),
            "say which record is written: `#[write(key = …)]`; several: `keys = …`; those that a filter of \
             the database finds: `filter`; where the database makes the key: `key_from = …`",
        );
    }
    found.into_iter().next()?.1
}

/// A key that the database makes.
fn made(settings: &mut Settings, errors: &mut Errors) -> Option<(Ident, Option<DeclaredKeys>)> {
    const KEY_FROM: &str = "a function from the answer to the key such as `|created| created.id`";
    const THEN: &str = "the method that writes the other side under a given key";
    const INTO: &str = "the argument that is `None` until the key is known";
    let key_from = settings.value("key_from", KEY_FROM, errors);
    let then = settings.value("then", THEN, errors);
    let into = settings.value("into", INTO, errors);
    let Some((name, key_from)) = key_from else {
        for (name, _) in then.iter().chain(&into) {
            errors.on(
                name,
                format!("`{name}` hands on a key that the database makes: add `key_from = …`"),
            );
        }
        return None;
    };
    let (then, by_method) = match (then, into) {
        (Some(then), None) => (then, true),
        (None, Some(into)) => (into, false),
        _ => {
            errors.on(
                &name,
                "say how the other side gets the key: `then = method`, or `into = argument`",
            );
            return Some((name, None));
        }
    };
    let Some(then) = options::name(&then.1) else {
        let what = if by_method { "a method of this trait" } else { "an argument" };
        errors.on(&then.1, format!("`{}` takes the name of {what}, without quotes", then.0));
        return Some((name, None));
    };
    Some((name, Some(DeclaredKeys::Made { key_from, then, by_method })))
}

fn failing(settings: &mut Settings, errors: &mut Errors) -> DeclaredFailing {
    let error = settings.value("error", options::ERROR, errors);
    let on_unknown =
        settings.value("on_unknown", "what is answered where the stage is unknown", errors);
    if let (Some(_), Some((name, _))) = (&error, &on_unknown) {
        errors.on(name, "an answer has an error or none: keep `error` or `on_unknown`");
    }
    let error = error.and_then(|(name, value)| options::converter(&name, &value, errors));
    DeclaredFailing { error, on_unknown }
}

fn primary(attribute: &Attribute, errors: &mut Errors) -> Option<(Declared, DeclaredFailing)> {
    if !matches!(attribute.meta, Meta::Path(_)) {
        let rule = "`#[primary]` takes nothing, the call goes to the side that answers";
        errors.on(&attribute.meta, format!("{rule}: write `#[primary]` alone"));
    }
    Some((Declared::Primary, DeclaredFailing::default()))
}

fn read(attribute: &Attribute, errors: &mut Errors) -> Option<(Declared, DeclaredFailing)> {
    const KEYS: &[&str] = &[
        "key",
        "scan",
        "ramp",
        "lazy",
        "shadow",
        "sample",
        "timeout",
        "compare",
        "error",
        "on_unknown",
    ];
    let mut settings = Settings::new("`#[read]`", KEYS);
    settings.add_attribute(attribute, errors);
    let key = key("key", &mut settings, errors);
    let ramp = key_of_ramp(&mut settings, errors);
    let scan = settings.flag("scan", errors);
    let lazy = settings.flag("lazy", errors);
    let shadow = options::shadow(&mut settings, errors);
    let failing = failing(&mut settings, errors);
    if settings.is_flawed() {
        return None;
    }
    match (&key, &scan) {
        (Some(_), Some(scan)) => {
            errors.on(scan, "a scan reads many records and has no key: keep `scan` or `key = …`");
        }
        (None, None) => errors.on(
            attribute.path(),
            "say which record is read: `#[read(key = …)]`, or `#[read(scan)]` for lists and aggregates",
        ),
        _ => {}
    }
    if let (Some(lazy), None, Some(_)) = (&lazy, &key, &scan) {
        errors.on(lazy, "`lazy` copies the record of a key, and a scan has none: remove `lazy`");
    }
    if let (Some((ramp, _)), None, Some(_)) = (&ramp, &key, &scan) {
        errors.on(ramp, "a scan follows the stage alone, never the ramp: remove `ramp`");
    }
    let (key, ramp) = (key.map(|(_, key)| key), ramp.map(|(_, ramp)| ramp));
    Some((Declared::Read { key, ramp, lazy, shadow }, failing))
}

fn key_of_ramp(settings: &mut Settings, errors: &mut Errors) -> Option<(Ident, Expr)> {
    key("ramp", settings, errors)
}

/// An expression over the arguments.
fn key(setting: &str, settings: &mut Settings, errors: &mut Errors) -> Option<(Ident, Expr)> {
    let what = match setting {
        "keys" => {
            "an expression that lists them such as `customers.iter().map(|customer| customer.id)`"
        }
        "ramp" => "an expression over the arguments such as `user_id`",
        _ => "an expression over the arguments such as `customer.id`",
    };
    let (name, key) = settings.value(setting, what, errors)?;
    Jumps { errors }.visit_expr(&key);
    Some((name, key))
}

/// What would mean something else in the wrapper than it says in the trait.
struct Jumps<'m> {
    errors: &'m mut Errors,
}

impl<'ast> Visit<'ast> for Jumps<'_> {
    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        if path.path.is_ident("self") {
            self.errors.on(
                path,
                "a key is made from the arguments: `self` is the wrapper here, pass what you need",
            );
        }
        visit::visit_expr_path(self, path);
    }

    fn visit_expr_try(&mut self, expression: &'ast ExprTry) {
        self.errors.on(&expression.question_token, "a key cannot fail: compute it before the call");
        visit::visit_expr_try(self, expression);
    }

    fn visit_expr_await(&mut self, expression: &'ast ExprAwait) {
        self.errors.on(&expression.await_token, "a key cannot wait: compute it before the call");
        visit::visit_expr_await(self, expression);
    }

    fn visit_expr_return(&mut self, expression: &'ast ExprReturn) {
        self.errors.on(&expression.return_token, "a key is a value: remove `return`");
        visit::visit_expr_return(self, expression);
    }
}
