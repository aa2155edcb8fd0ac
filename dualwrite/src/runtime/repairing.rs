//! Beside the rounds of the runtime: copies dirty keys again.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Inner;
use crate::moving::repair;
use crate::stage::Side;

impl Inner {
    pub(super) fn is_dirty(&self) -> bool {
        self.migrations().iter().any(|shared| shared.is_dirty())
    }

    async fn repair(&self) {
        for shared in self.migrations() {
            if !shared.is_dirty() {
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

pub(super) async fn repair_all(inner: Arc<Inner>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = inner.repair() => {}
    }
}
