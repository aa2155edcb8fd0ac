//! The checks of a preflight that are made of what the catalogue says alone. Pure.

use super::finding::Finding;
use super::schema::Subject;

/// Looks at a migration, and adds what it finds.
pub(crate) type Check = fn(&Subject, &mut Vec<Finding>);

/// All of them, in the order in which their findings are shown.
pub(crate) const CHECKS: &[Check] = &[
    super::keys::nullable,
    super::keys::indexed,
    super::keys::same,
    super::keys::always_numbered,
    super::rows::self_updating,
    super::rows::generated,
    super::rows::stricter,
    super::rows::demanded,
];
