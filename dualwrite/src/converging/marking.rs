//! Marks of writes, several in one transaction: while one transaction of marks is under way, writes that come gather for
//! the next one. A write that comes alone waits for nobody.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::converging::two::Two;
use crate::error::Error;
use crate::key::EncodedKey;
use crate::stages::position::Position;
use crate::state::Shared;
use crate::store::converging::statements::batch_of;

/// What a transaction of several marks came to: `Err` where it failed, and each write marks itself.
type Together = Result<Option<Position>, ()>;

/// A write that waits for its mark.
struct Waiting {
    id: String,
    key: EncodedKey,
    told: oneshot::Sender<Together>,
}

/// The writes that wait. There are as many as may be in flight, at most.
#[derive(Default)]
pub(crate) struct Marking(Mutex<Gathering>);

#[derive(Default)]
struct Gathering {
    waiting: Vec<Waiting>,
    under_way: bool,
}

impl Marking {
    /// Whether nobody marks: then the caller does, in a [`Turn`].
    fn is_free(&self) -> bool {
        let mut gathering = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !std::mem::replace(&mut gathering.under_way, true)
    }

    fn join(&self, id: &str, key: &EncodedKey) -> oneshot::Receiver<Together> {
        let (told, answer) = oneshot::channel();
        let waiting = Waiting { id: id.to_owned(), key: key.clone(), told };
        let mut gathering = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gathering.waiting.push(waiting);
        answer
    }

    /// The next writes to mark; with none, nobody marks any more.
    fn next(&self) -> Vec<Waiting> {
        let mut gathering = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let many = batch_of(gathering.waiting.len());
        gathering.under_way = many > 0;
        gathering.waiting.drain(..many).collect()
    }
}

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
        if self.marking.is_free() {
            let _turn = Turn { two: self, shared };
            return self.marks.mark(shared, &[(id, key)]).await;
        }
        match self.marking.join(id, key).await {
            Ok(Ok(marked)) => Ok(marked),
            // One key can fail them all, so each is marked alone, and each caller gets the error of its own.
            Ok(Err(())) | Err(_) => self.marks.mark(shared, &[(id, key)]).await,
        }
    }

    async fn mark_all(self: Arc<Self>, shared: &Arc<Shared>, batch: Vec<Waiting>) {
        let _turn = Turn { two: &self, shared };
        let marks: Vec<(&str, &EncodedKey)> =
            batch.iter().map(|one| (one.id.as_str(), &one.key)).collect();
        let marked = self.marks.mark(shared, &marks).await.map_err(drop);
        for one in batch {
            // The mark of a write that has gone is left to those who take over from this instance.
            let _ = one.told.send(marked);
        }
    }
}
