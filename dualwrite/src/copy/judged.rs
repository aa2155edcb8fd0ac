//! What is known of constraints that are judged late.

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, PoisonError};

use crate::database::Deferred;
use crate::stages::stage::Side;

/// What is known of constraints that are judged late.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// Of old and new; `None` until somebody has asked.
    pub(super) sides: Mutex<[Option<Arc<Deferred>>; 2]>,
    pub(super) used: AtomicU32,
    /// There may be some in the database, on whichever table.
    pub(super) anywhere: AtomicBool,
}

impl Judged {
    pub(super) fn of(&self, side: Side) -> Option<Arc<Deferred>> {
        self.sides.lock().unwrap_or_else(PoisonError::into_inner)[side as usize].clone()
    }

    pub(super) fn set(&self, side: Side, found: Arc<Deferred>) {
        self.sides.lock().unwrap_or_else(PoisonError::into_inner)[side as usize] = Some(found);
    }
}
