//! What a copy did.

/// What a copy did, in keys.
///
/// ```
/// let copied = dualwrite::Copied { migrated: 2, skipped: 1 };
/// assert_eq!(copied.migrated + copied.skipped, 3);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Keys whose row in new was written or removed.
    pub migrated: u64,
    /// Keys that needed nothing.
    pub skipped: u64,
}
