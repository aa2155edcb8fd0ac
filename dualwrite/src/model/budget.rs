//! How much may still happen in a world, so that its states can be counted.

/// How much of everything may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) writes: u8,
    pub(super) deletes: u8,
    pub(super) moves: u8,
    /// Writes to a mirror that fail.
    pub(super) failures: u8,
    /// Transactions that crash, are cancelled, or lose a deadlock.
    pub(super) crashes: u8,
    /// Leases that run out.
    pub(super) lapses: u8,
    /// Keys that the copy function fails on.
    pub(super) failed_copies: u8,
    /// Copies that somebody asks for by hand.
    pub(super) copies: u8,
    /// Rows of new that somebody removes behind everyone's back.
    pub(super) damages: u8,
    /// Standbys that lag and take over.
    pub(super) failovers: u8,
}
