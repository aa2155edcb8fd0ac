//! Marks of writes, several in one transaction: while one transaction of marks is under way, writes that come gather for
//! the next one. A write that comes alone waits for nobody.

use std::sync::Arc;

use crate::converging::gathering::Unmarked;
use crate::converging::two::Two;
use crate::error::Error;
use crate::key::EncodedKey;
use crate::stages::position::Position;
use crate::state::Shared;

/// Whoever marks has the next ones marked afterwards, also where its task ends in the middle.
struct Turn<'t> {
    two: &'t Arc<Two>,
    shared: &'t Arc<Shared>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let batch = self.two.marking.next();
        if !batch.is_empty() {
            let (two, shared) = (Arc::clone(self.two), Arc::clone(self.shared));
            self.shared.spawn(async move { two.mark_all(&shared, batch).await });
        }
    }
}

impl Two {
    /// Marks a write: the position that holds for it. `None` while a move waits for writes in flight.
    pub(crate) async fn mark(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        (id, key): (&str, &EncodedKey),
    ) -> Result<Option<Position>, Error> {
        let Some(answer) = self.marking.join(id, key) else {
            let _turn = Turn { two: self, shared };
            return self.marks.mark(shared, &[(id, key)]).await;
        };
        match answer.await {
            Ok(Ok(marked)) => Ok(marked),
            // One key can fail them all, so each is marked alone, and each caller gets the error of its own.
            Ok(Err(())) | Err(_) => self.marks.mark(shared, &[(id, key)]).await,
        }
    }

    async fn mark_all(self: Arc<Self>, shared: &Arc<Shared>, batch: Vec<Unmarked>) {
        let _turn = Turn { two: &self, shared };
        let marks: Vec<(&str, &EncodedKey)> =
            batch.iter().map(|one| (one.id.as_str(), &one.key)).collect();
        let marked = self.marks.mark(shared, &marks).await.map_err(drop);
        for one in batch {
            // The mark of a write that has gone is left to those who take over from this instance.
            let _ = one.answer.send(marked);
        }
    }
}
