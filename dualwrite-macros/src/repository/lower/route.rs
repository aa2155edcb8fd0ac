//! `#[read(…)]` and `#[write(…)]`: what a method says about its routing.

use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprAwait, ExprPath, ExprReturn, ExprTry, Ident, Meta};

use super::super::model::{AnswerPolicy, MirrorPolicy, WriteLimits};
use super::options::{self, Shadow};
use crate::diag::Errors;
use crate::settings::Settings;

/// What the attribute says, before the arguments are looked at.
pub(super) enum Declared {
    Read {
        /// None for scans.
        key: Option<Expr>,
        lazy: bool,
        shadow: Shadow,
    },
    Write {
        key: Expr,
        on_mirror_error: Option<MirrorPolicy>,
        limits: WriteLimits,
        on_difference: Option<AnswerPolicy>,
    },
    Primary,
}

/// Whether the attribute says that the method reads or writes.
pub(super) fn is_keyed(attribute: &Attribute) -> bool {
    !attribute.path().is_ident("primary")
}

/// Reads the one attribute that a method must carry.
pub(super) fn lower(name: &Ident, routing: &[Attribute], errors: &mut Errors) -> Option<Declared> {
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

fn write(attribute: &Attribute, errors: &mut Errors) -> Option<Declared> {
    const KEYS: &[&str] =
        &["key", "on_mirror_error", "on_difference", "timeout", "primary_timeout"];
    let mut settings = Settings::new("`#[write]`", KEYS);
    settings.add_attribute(attribute, errors);
    let key = key(&mut settings, errors);
    let on_mirror_error = options::on_mirror_error(&mut settings, errors);
    let on_difference = options::on_difference(&mut settings, errors);
    let limits = options::write_limits(&mut settings, errors);
    if key.is_none() && !settings.is_flawed() {
        errors.on(attribute.path(), "say which record is written: `#[write(key = …)]`");
    }
    Some(Declared::Write { key: key?.1, on_mirror_error, limits, on_difference })
}

fn primary(attribute: &Attribute, errors: &mut Errors) -> Option<Declared> {
    if !matches!(attribute.meta, Meta::Path(_)) {
        let rule = "`#[primary]` takes nothing, the call goes to the side that answers";
        errors.on(&attribute.meta, format!("{rule}: write `#[primary]` alone"));
    }
    Some(Declared::Primary)
}

fn read(attribute: &Attribute, errors: &mut Errors) -> Option<Declared> {
    const KEYS: &[&str] = &["key", "scan", "lazy", "shadow", "sample", "timeout", "compare"];
    let mut settings = Settings::new("`#[read]`", KEYS);
    settings.add_attribute(attribute, errors);
    let key = key(&mut settings, errors);
    let scan = settings.flag("scan", errors);
    let lazy = settings.flag("lazy", errors);
    let shadow = options::shadow(&mut settings, errors);
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
    Some(Declared::Read { key: key.map(|(_, key)| key), lazy: lazy.is_some(), shadow })
}

fn key(settings: &mut Settings, errors: &mut Errors) -> Option<(Ident, Expr)> {
    let (name, key) =
        settings.value("key", "an expression over the arguments such as `customer.id`", errors)?;
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
