//! Beside the rounds of the runtime: copies dirty keys again, and dead letters whose time has come.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Inner;
use crate::converging;
use crate::converging::repair::Round;
use crate::copier::dead_letters::retry_due;
use crate::copier::joined::Joined;
use crate::migration::transition::repair;
use crate::stages::stage::Side;

impl Inner {
    /// Whether there is something to copy again, as far as known here.
    pub(super) fn wants_repair(&self) -> bool {
        self.migrations().iter().any(|shared| {
            shared.is_dirty() && shared.copier.is_some() || has_due_dead_letters(shared)
        })
    }

    /// Closes connections of two stores that are not needed.
    pub(super) fn trim_stores(&self) {
        for shared in self.migrations() {
            if let Some(two) = converging::two::of(&shared) {
                two.marks.trim();
            }
        }
    }

    /// Nothing more can be done to two stores.
    pub(super) fn close_stores(&self) {
        for shared in self.migrations() {
            if let Some(two) = converging::two::of(&shared) {
                two.marks.close();
            }
        }
    }

    async fn repair(&self) {
        for shared in self.migrations() {
            if has_due_dead_letters(&shared)
                && let Err(error) = retry_due(&shared).await
            {
                tracing::warn!(migration = &*shared.name, %error, "dead letters are tried later");
            }
            if !shared.is_dirty() {
                continue;
            }
            if let Some(two) = converging::two::of(&shared) {
                match converging::repair::round(&shared, two, false).await {
                    Ok(Round { failure: None, .. }) => {}
                    Ok(Round { failure: Some(error), .. }) | Err(error) => {
                        tracing::warn!(migration = &*shared.name, %error, "keys are copied later");
                    }
                }
                continue;
            }
            for side in [Side::Old, Side::New] {
                if let Err(error) = repair(&shared, side).await {
                    tracing::warn!(migration = &*shared.name, %side, %error, "dirty keys stay dirty");
                }
            }
        }
    }
}

/// Without a copy function there is nobody to try them.
fn has_due_dead_letters(shared: &Joined) -> bool {
    shared.has_due_dead_letters() && shared.copier.is_some()
}

pub(super) async fn repair_all(inner: Arc<Inner>, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = inner.repair() => {}
    }
}
