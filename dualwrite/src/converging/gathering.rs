//! Writes that wait for their marks.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::key::EncodedKey;
use crate::stages::position::Position;
use crate::store::converging::statements::batch_of;

/// What a transaction of several marks came to: `Err` where it failed, and each write marks itself.
pub(super) type Together = Result<Option<Position>, ()>;

/// A write that waits for its mark.
pub(super) struct Unmarked {
    pub(super) id: String,
    pub(super) key: EncodedKey,
    pub(super) answer: oneshot::Sender<Together>,
}

/// The writes that wait. There are as many as may be in flight, at most.
#[derive(Default)]
pub(crate) struct Marking(Mutex<Gathering>);

#[derive(Default)]
struct Gathering {
    waiting: Vec<Unmarked>,
    under_way: bool,
}

impl Marking {
    /// `None` where nobody marks: then the caller does, and has [`next`](Self::next) marked afterwards. Else it waits.
    pub(super) fn join(&self, id: &str, key: &EncodedKey) -> Option<oneshot::Receiver<Together>> {
        let mut gathering = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut gathering.under_way, true) {
            return None;
        }
        let (answer, marked) = oneshot::channel();
        gathering.waiting.push(Unmarked { id: id.to_owned(), key: key.clone(), answer });
        Some(marked)
    }

    /// The next writes to mark; with none, nobody marks any more.
    pub(super) fn next(&self) -> Vec<Unmarked> {
        let mut gathering = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let many = batch_of(gathering.waiting.len());
        gathering.under_way = many > 0;
        gathering.waiting.drain(..many).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> EncodedKey {
        EncodedKey(text.to_owned())
    }

    #[test]
    fn who_comes_first_marks_and_the_others_wait_for_a_turn() {
        let marking = Marking::default();
        assert!(marking.join("a", &key("1")).is_none());
        let waiting: Vec<_> =
            ["b", "c", "d"].map(|id| marking.join(id, &key("1")).expect("it waits")).into();
        let ids = |batch: &[Unmarked]| batch.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&marking.next()), ["b", "c"]);
        assert!(marking.join("e", &key("2")).is_some(), "a batch is under way");
        assert_eq!(ids(&marking.next()), ["d", "e"]);
        assert!(marking.next().is_empty());
        assert!(marking.join("f", &key("1")).is_none(), "nobody marks any more");
        drop(waiting);
    }
}
