//! [`FlagSource`]: whoever says where a migration shall be, beside the control tables.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::desired::DesiredState;
use crate::error::{BoxError, Error};

/// A source of flags. It says what is desired; the library moves the position of the control tables there through
/// the same gates as an operator, and says why where one is closed.
///
/// It is asked once a [poll](crate::defaults::POLL), off the path of every call, for a second at the most. Where it
/// fails, its last answer holds.
///
/// ```
/// use dualwrite::{BoxError, flags::{DesiredState, FlagSource}, Stage};
///
/// struct Fixed;
///
/// impl FlagSource for Fixed {
///     fn name(&self) -> &str {
///         "fixed"
///     }
///
///     async fn desired(&self, migration: &str) -> Result<Option<DesiredState>, BoxError> {
///         Ok((migration == "customer-email").then_some(DesiredState::stage(Stage::Shadow)))
///     }
/// }
/// ```
pub trait FlagSource: Send + Sync + 'static {
    /// Its name, for the audit and errors.
    fn name(&self) -> &str;

    /// What it says about this migration; `None` where it says nothing.
    ///
    /// # Errors
    /// Any: it cannot be reached, or what it says cannot be understood.
    fn desired(
        &self,
        migration: &str,
    ) -> impl Future<Output = Result<Option<DesiredState>, BoxError>> + Send;
}

/// A source without its type.
pub(crate) trait AnySource: Send + Sync {
    fn name(&self) -> &str;

    fn desired<'a>(
        &'a self,
        migration: &'a str,
    ) -> BoxFuture<'a, Result<Option<DesiredState>, BoxError>>;
}

impl<S: FlagSource> AnySource for S {
    fn name(&self) -> &str {
        FlagSource::name(self)
    }

    fn desired<'a>(
        &'a self,
        migration: &'a str,
    ) -> BoxFuture<'a, Result<Option<DesiredState>, BoxError>> {
        Box::pin(FlagSource::desired(self, migration))
    }
}

/// Reads a variable of the environment.
pub(crate) type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The variable that is the kill switch.
pub(crate) const KILL: &str = "DUALWRITE_KILL";

/// Whether the kill switch names this migration.
pub(crate) fn is_killed(value: &str, migration: &str) -> bool {
    names_in(value).any(|name| name == migration || EVERY.contains(&name))
}

/// The names in a kill switch that no migration bears.
pub(crate) fn unknown_in<'v>(value: &'v str, known: &[String]) -> Vec<&'v str> {
    let is_known = |name: &&str| EVERY.contains(name) || known.iter().any(|one| one == name);
    names_in(value).filter(|name| !is_known(name)).collect()
}

const EVERY: [&str; 3] = ["all", "1", "true"];

fn names_in(value: &str) -> impl Iterator<Item = &str> {
    value.split(|c: char| c == ',' || c.is_whitespace()).filter(|name| !name.is_empty())
}

/// What an error says, in full: its text and those of its causes.
pub(crate) fn describe(error: &BoxError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    match error.downcast_ref::<Error>() {
        Some(error) => error.to_string(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kill_switch_names_some_or_all() {
        for value in ["all", "a,b", "b", "a b", "x, b ,c", "1", "true"] {
            assert!(is_killed(value, "b"), "{value}");
        }
        for value in ["", "a", "bb", "a,c", "none"] {
            assert!(!is_killed(value, "b"), "{value}");
        }
    }

    #[test]
    fn a_name_that_nobody_bears_is_found() {
        let known = ["a".to_owned(), "b".to_owned()];
        assert_eq!(unknown_in("a, bb,all  c", &known), ["bb", "c"]);
        assert!(unknown_in("", &known).is_empty());
    }
}
