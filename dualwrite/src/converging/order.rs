//! Writes of one key in this process follow each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::key::EncodedKey;

type Turn = Arc<tokio::sync::Mutex<()>>;

/// The keys that something is under way for. There are as many as writes and copies in flight.
#[derive(Debug, Default)]
pub(crate) struct KeyOrder(Mutex<HashMap<EncodedKey, Turn>>);

/// A turn with a key, until it is dropped.
pub(crate) type KeyTurn = OwnedMutexGuard<()>;

impl KeyOrder {
    /// Waits for those before.
    pub(crate) async fn turn(&self, key: &EncodedKey) -> KeyTurn {
        self.of(key).lock_owned().await
    }

    /// A turn, unless somebody has it.
    pub(crate) fn turn_now(&self, key: &EncodedKey) -> Option<KeyTurn> {
        self.of(key).try_lock_owned().ok()
    }

    fn of(&self, key: &EncodedKey) -> Turn {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody has or waits for those that have no other holder.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(key.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_has_a_key_at_a_time_and_nothing_is_kept() {
        let order = KeyOrder::default();
        let [one, other] = ["1", "2"].map(|key| EncodedKey(key.to_owned()));
        let turn = order.turn(&one).await;
        assert!(order.turn_now(&one).is_none());
        drop(order.turn(&other).await);
        drop(turn);
        assert!(order.turn_now(&one).is_some());
        assert_eq!(order.0.lock().unwrap().len(), 1);
    }
}
