//! What a registration says about comparisons: errors by kind, errors and fields to ignore.
//!
//! The error of a call goes to its caller, and need be neither `Clone` nor `PartialEq`. So what is
//! compared is a fingerprint that is taken of each: of what the registration's function answers, else of
//! the text of its `Display`, else of nothing, and then all errors are alike.

use std::any::Any;
use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Write as _};
use std::hash::Hasher as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::noise::NOISE_SAMPLE;
use super::report::{Hooks, ShadowCall, ShadowReport};
use crate::error::{Error, ErrorKind};
use crate::observe::tally::is_within;
use crate::stages::position::Percent;

/// How many bytes of an error's text are looked at.
const TEXT_BYTES_MAX: usize = 1_000;

/// What is known of an error that is gone.
#[derive(Clone, Debug)]
pub(crate) struct SeenError {
    pub(crate) kind: u64,
    pub(crate) ignored: bool,
    /// What [`ShadowRules::compare_errors`] keeps of it, and the number of that rule.
    kept: Option<(usize, Arc<dyn Any + Send + Sync>)>,
}

impl SeenError {
    /// A side that panicked instead of answering.
    pub(crate) const PANIC: Self = Self { kind: u64::MAX, ignored: false, kept: None };

    /// Of which nothing more is kept.
    pub(crate) const fn new(kind: u64, ignored: bool) -> Self {
        Self { kind, ignored, kept: None }
    }
}

type Kind = Arc<dyn Fn(&dyn Any) -> Option<u64> + Send + Sync>;
type Ignored = Arc<dyn Fn(&dyn Any) -> bool + Send + Sync>;
type IgnoredPair = Arc<dyn Fn(&dyn Any, &dyn Any, &ShadowCall<'_>) -> bool + Send + Sync>;
type Kept = Arc<dyn Fn(&dyn Any) -> Option<Arc<dyn Any + Send + Sync>> + Send + Sync>;
type Alike = Arc<dyn Fn(&dyn Any, &dyn Any) -> bool + Send + Sync>;

/// How many fields may be ignored.
const IGNORED_MAX: usize = 50;

/// What comparisons leave out, and how they tell errors apart. Given to
/// [`Registration::shadow_rules`](crate::Registration::shadow_rules).
///
/// ```
/// use dualwrite::shadow::ShadowRules;
///
/// let rules = ShadowRules::default()
///     .ignore_field("read_at")
///     .ignore_errors(|error: &sqlx::Error| matches!(error, sqlx::Error::PoolTimedOut))
///     .error_kind(|error: &sqlx::Error| matches!(error, sqlx::Error::RowNotFound));
/// # let _ = rules;
/// ```
#[derive(Clone)]
pub struct ShadowRules {
    kinds: Vec<Kind>,
    ignored: Vec<Ignored>,
    fields: Vec<String>,
    pairs: Vec<IgnoredPair>,
    /// What is kept of errors, and which of those are alike.
    errors: Vec<(Kept, Alike)>,
    pub(crate) hooks: Hooks,
    pub(crate) noise: Percent,
}

impl Default for ShadowRules {
    fn default() -> Self {
        let (kinds, ignored, fields) = (Vec::new(), Vec::new(), Vec::new());
        let (pairs, hooks) = (Vec::new(), Hooks::default());
        Self { kinds, ignored, fields, pairs, errors: Vec::new(), hooks, noise: NOISE_SAMPLE }
    }
}

impl fmt::Debug for ShadowRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowRules")
            .field("fields", &self.fields)
            .field("noise", &self.noise)
            .finish_non_exhaustive()
    }
}

impl ShadowRules {
    /// A comparison that differs in this field alone counts as ignored. The path is that of
    /// [`Difference`](crate::compare::Difference) without what stands in brackets (`lines[].price`); what lies
    /// within the field is meant too. At most 50. Where the type is yours, `#[compare(ignore)]` on the
    /// field costs less, and nothing is counted.
    #[must_use]
    pub fn ignore_field(mut self, path: impl Into<String>) -> Self {
        self.fields.push(path.into());
        self
    }

    /// A comparison of which a side fails with such an error counts as ignored. `E` is the error of the
    /// repository; errors of other types are not asked about.
    #[must_use]
    pub fn ignore_errors<E: 'static>(
        mut self,
        ignored: impl Fn(&E) -> bool + Send + Sync + 'static,
    ) -> Self {
        let ignored = move |error: &dyn Any| error.downcast_ref().is_some_and(&ignored);
        self.ignored.push(Arc::new(ignored));
        self
    }

    /// A comparison of two answers that differ counts as ignored where this says so of what old answered and
    /// what new answered. `T` is the answer of a method; answers of other types are not asked about.
    ///
    /// ```
    /// # let rules = dualwrite::shadow::ShadowRules::default();
    /// // New trims names, old does not.
    /// let rules = rules.ignore_if(|old: &String, new: &String| old.trim() == new);
    /// # let _ = rules;
    /// ```
    #[must_use]
    pub fn ignore_if<T: 'static>(
        self,
        ignored: impl Fn(&T, &T) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.ignore_call_if(move |old, new, _| ignored(old, new))
    }

    /// The same by a function that sees the call, too: its method, its key, its cohort, and what the caller gave by
    /// [`with_context`](crate::shadow::with_context), such as the arguments.
    ///
    /// ```
    /// # let rules = dualwrite::shadow::ShadowRules::default();
    /// let rules = rules.ignore_call_if(|old: &Vec<i64>, new: &Vec<i64>, call| {
    ///     call.method == "Orders::page" && old.len() == new.len()
    /// });
    /// # let _ = rules;
    /// ```
    #[must_use]
    pub fn ignore_call_if<T: 'static>(
        mut self,
        ignored: impl Fn(&T, &T, &ShadowCall<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.pairs.push(Arc::new(move |old, new, call| {
            match (old.downcast_ref(), new.downcast_ref()) {
                (Some(old), Some(new)) => ignored(old, new, call),
                _ => false,
            }
        }));
        self
    }

    /// Two errors are alike where `alike` says so of what `keep` kept of the old side's and of the new side's. The error
    /// itself goes to the caller, and need not be `Clone`. `E` is the error of the repository; the first of these for a
    /// type counts, and [`error_kind`](Self::error_kind) does not for that type.
    ///
    /// ```
    /// # let rules = dualwrite::shadow::ShadowRules::default();
    /// // The new side has two codes for what the old side calls "not found".
    /// let rules = rules.compare_errors(
    ///     |error: &std::io::Error| error.kind(),
    ///     |old, new| old == new || *new == std::io::ErrorKind::NotFound,
    /// );
    /// # let _ = rules;
    /// ```
    #[must_use]
    pub fn compare_errors<E: 'static, K: Send + Sync + 'static>(
        mut self,
        keep: impl Fn(&E) -> K + Send + Sync + 'static,
        alike: impl Fn(&K, &K) -> bool + Send + Sync + 'static,
    ) -> Self {
        let keep: Kept = Arc::new(move |error| Some(Arc::new(keep(error.downcast_ref()?)) as _));
        let alike: Alike =
            Arc::new(move |old, new| match (old.downcast_ref(), new.downcast_ref()) {
                (Some(old), Some(new)) => alike(old, new),
                _ => false,
            });
        self.errors.push((keep, alike));
        self
    }

    /// Compares a sampled read or write only where this says so. What it leaves out is in no class. It is called on the
    /// caller's path, so it must be quick; where it panics, the comparison counts as panicked.
    ///
    /// ```
    /// # let rules = dualwrite::shadow::ShadowRules::default();
    /// let rules = rules.run_if(|call| call.cohort != Some("load test"));
    /// # let _ = rules;
    /// ```
    #[must_use]
    pub fn run_if(
        mut self,
        wanted: impl Fn(&ShadowCall<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.hooks.wanted.push(Arc::new(wanted));
        self
    }

    /// Calls this for each comparison that differs or fails: to send it to an error tracker, a queue, a file.
    /// It is called beside the caller, one report after the other, on a thread that may block. At most
    /// [`SHADOW_REPORTS_MAX`](crate::defaults::SHADOW_REPORTS_MAX) wait; what comes beyond counts as `reports_dropped`.
    /// Values are redacted as in [samples](crate::operator::Mismatch); the key is not.
    ///
    /// ```
    /// # let rules = dualwrite::shadow::ShadowRules::default();
    /// let rules = rules.on_report(|report| eprintln!("{}: {:?}", report.method, report.found));
    /// # let _ = rules;
    /// ```
    #[must_use]
    pub fn on_report(mut self, hook: impl Fn(&ShadowReport) + Send + Sync + 'static) -> Self {
        self.hooks.reports.push(Arc::new(hook));
        self
    }

    /// Reports bear this text of an error of the side beside the caller's, its first 1,000 bytes. **It may contain
    /// data of rows**: most databases put values into their errors. `E` is the error of the repository.
    ///
    /// ```
    /// # let rules = dualwrite::shadow::ShadowRules::default();
    /// let rules = rules.error_text(|error: &sqlx::Error| error.to_string());
    /// # let _ = rules;
    /// ```
    #[must_use]
    pub fn error_text<E: 'static>(
        mut self,
        text: impl Fn(&E) -> String + Send + Sync + 'static,
    ) -> Self {
        self.hooks.texts.push(Arc::new(move |error| error.downcast_ref().map(&text)));
        self
    }

    /// Reports bear the text of a panic, its first 1,000 bytes. **It may contain data of rows.**
    #[must_use]
    pub fn panic_texts(mut self) -> Self {
        self.hooks.panic_texts = true;
        self
    }

    /// Two errors are alike where this answers the same. Without it they are where their `Display` writes
    /// the same; errors without `Display` are all alike. `E` is the error of the repository.
    #[must_use]
    pub fn error_kind<E: 'static, K: std::hash::Hash>(
        mut self,
        kind: impl Fn(&E) -> K + Send + Sync + 'static,
    ) -> Self {
        self.kinds.push(Arc::new(move |error: &dyn Any| {
            let mut hasher = DefaultHasher::new();
            kind(error.downcast_ref()?).hash(&mut hasher);
            Some(hasher.finish())
        }));
        self
    }

    /// The share of the comparisons on which old is read again, to learn which fields are never the same
    /// twice: [`NOISE_SAMPLE`](crate::defaults::NOISE_SAMPLE) unless said otherwise. A comparison that differs in
    /// such fields alone counts as ignored, unless they are
    /// [critical](crate::Registration::critical). [`Status::noise`](crate::Status) shows what was seen.
    /// With [`Percent::ZERO`] nothing is noise.
    #[must_use]
    pub fn noise(mut self, share: Percent) -> Self {
        self.noise = share;
        self
    }

    /// # Errors
    /// `InvalidInput`.
    pub(crate) fn check(&self, critical: &[String]) -> Result<(), Error> {
        if self.fields.len() > IGNORED_MAX || self.fields.iter().any(String::is_empty) {
            let message = format!("ignored are at most {IGNORED_MAX} fields, each with a path");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if let Some(field) = critical.iter().find(|field| self.ignores(field)) {
            let message = format!("the field `{field}` is critical and ignored; say one of them");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    pub(crate) fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Whether differences in this field are ignored.
    pub(crate) fn ignores(&self, field: &str) -> bool {
        self.fields.iter().any(|whole| is_within(field, whole))
    }

    /// Whether these answers, which differ, are to be ignored.
    pub(crate) fn ignores_pair(&self, old: &dyn Any, new: &dyn Any, call: &ShadowCall<'_>) -> bool {
        self.pairs.iter().any(|ignored| ignored(old, new, call))
    }

    /// Whether the errors of both sides are alike.
    pub(crate) fn are_alike(&self, old: &SeenError, new: &SeenError) -> bool {
        match (&old.kept, &new.kept) {
            (Some((rule, old)), Some((other, new))) if rule == other => {
                self.errors.get(*rule).is_some_and(|(_, alike)| alike(&**old, &**new))
            }
            _ => old.kind == new.kind,
        }
    }

    /// Whether nothing asks about the caller of a call.
    pub(crate) fn asks_no_caller(&self) -> bool {
        self.hooks.is_empty() && self.pairs.is_empty()
    }

    /// Looks at an error. A panic in the functions of the user, or in `Display`, is caught: then the
    /// error is of the kind of which nothing is known.
    pub(crate) fn see<E: 'static>(
        &self,
        error: &E,
        fingerprint: impl FnOnce(&E) -> u64,
    ) -> SeenError {
        let see = || SeenError {
            kind: self
                .kinds
                .iter()
                .find_map(|kind| kind(error))
                .unwrap_or_else(|| fingerprint(error)),
            ignored: self.ignored.iter().any(|ignored| ignored(error)),
            kept: self
                .errors
                .iter()
                .enumerate()
                .find_map(|(rule, (keep, _))| Some((rule, keep(error)?))),
        };
        catch_unwind(AssertUnwindSafe(see)).unwrap_or(SeenError::new(0, false))
    }
}

/// An error of the user's, for the choice that the compiler makes in generated code.
pub struct Failed<'e, E: ?Sized>(pub &'e E);

/// First choice: by text.
pub trait ByText {
    /// A number that is the same for the same text.
    fn fingerprint(&self) -> u64;
}

impl<E: fmt::Display + ?Sized> ByText for &Failed<'_, E> {
    fn fingerprint(&self) -> u64 {
        let mut text = Hashed { hasher: DefaultHasher::new(), left: TEXT_BYTES_MAX };
        // An error says that there was enough of it.
        let _ = write!(text, "{}", self.0);
        text.hasher.finish()
    }
}

/// No choice: all are alike.
pub trait ByNoText {
    /// The same for all.
    fn fingerprint(&self) -> u64;
}

impl<E: ?Sized> ByNoText for Failed<'_, E> {
    fn fingerprint(&self) -> u64 {
        0
    }
}

struct Hashed {
    hasher: DefaultHasher,
    left: usize,
}

impl fmt::Write for Hashed {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let taken = piece.len().min(self.left);
        self.hasher.write(&piece.as_bytes()[..taken]);
        self.left -= taken;
        if self.left == 0 { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Opaque;

    fn by_text<E: fmt::Display>(error: &E) -> u64 {
        (&&Failed(error)).fingerprint()
    }

    #[test]
    fn errors_are_told_apart_by_text_where_they_have_one() {
        assert_eq!(by_text(&"gone"), by_text(&String::from("gone")));
        assert_ne!(by_text(&"gone"), by_text(&"locked"));
        assert_eq!(by_text(&"x".repeat(5_000)), by_text(&"x".repeat(6_000)));
        #[expect(clippy::needless_borrow, reason = "as generated code writes it")]
        let unknown = (&&Failed(&Opaque)).fingerprint();
        assert_eq!(unknown, 0);
    }

    #[test]
    fn a_registration_knows_better_for_the_types_that_it_names() {
        let rules = ShadowRules::default()
            .error_kind(|error: &String| error.len())
            .ignore_errors(|error: &String| error == "busy");
        let see = |error: &str| rules.see(&error.to_owned(), by_text);
        assert_eq!(see("gone").kind, see("lost").kind);
        assert_ne!(see("gone").kind, see("locked").kind);
        assert!(see("busy").ignored && !see("gone").ignored);
        assert_ne!(rules.see(&"gone", by_text).kind, rules.see(&"lost", by_text).kind);
    }

    #[test]
    fn errors_are_compared_in_pairs_where_the_service_says_how() {
        let rules = ShadowRules::default()
            .compare_errors(|error: &String| error.len(), |old, new| old + 1 == *new);
        let see = |error: &str| rules.see(&error.to_owned(), by_text);
        assert!(rules.are_alike(&see("gone"), &see("moved")));
        assert!(!rules.are_alike(&see("moved"), &see("gone")), "old comes first");
        assert!(!rules.are_alike(&see("gone"), &see("gone")), "by this rule alone");
        // Errors of other types are compared as before.
        let other = |error: &'static str| rules.see(&error, by_text);
        assert!(rules.are_alike(&other("gone"), &other("gone")));
        assert!(!rules.are_alike(&SeenError::PANIC, &see("gone")));
    }

    #[test]
    fn a_panic_while_looking_is_nobodys() {
        let rules = ShadowRules::default()
            .error_kind(|_: &Opaque| -> u8 { panic!("a bug in the service") });
        let seen = rules.see(&Opaque, |_| 7);
        assert_eq!((seen.kind, seen.ignored), (0, false));
    }

    #[test]
    fn a_field_without_a_path_and_too_many_are_refused() {
        assert!(ShadowRules::default().ignore_field("a").check(&[]).is_ok());
        assert!(ShadowRules::default().ignore_field("").check(&[]).is_err());
        let many =
            (0..=IGNORED_MAX).fold(ShadowRules::default(), |rules, _| rules.ignore_field("a"));
        assert!(many.check(&[]).is_err());
        // What lies within a critical field may be ignored; the field itself may not, nor what it lies in.
        let rules = ShadowRules::default().ignore_field("lines");
        assert!(rules.check(&["lines[].price".to_owned()]).is_err());
        let rules = ShadowRules::default().ignore_field("lines[].note");
        assert!(rules.check(&["lines".to_owned()]).is_ok());
    }

    #[test]
    fn a_field_is_ignored_with_what_lies_within() {
        let rules = ShadowRules::default().ignore_field("address");
        assert!(rules.ignores("address") && rules.ignores("address.city"));
        assert!(!rules.ignores("addresses") && !rules.ignores("*"));
    }
}
