//! Copies to old with the fence held alone. A delete that passes old before a row is there locks nothing in
//! old; a row that is copied back in between would stay there when the delete has reached new. So a row
//! that old lacks is copied back while no write is in flight; or, by a reverse copy, beside writes, and what
//! is left over is removed when those have ended.

use super::run::SqlCopier;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::observe::count;
use crate::stages::position::Position;
use crate::state::Shared;
use crate::transaction::Tx;
use crate::transaction::exclusive::{FENCE_ATTEMPTS, HELD_OPEN, fence_refused};

/// How often the fence is asked for, for the sake of one key, about a second each time: other writers wait
/// as long, and a key can wait for the next round.
const ATTEMPTS_FOR_A_KEY: u32 = 1;

/// Keys that may be left in one round of repairs, or of retries of dead letters, because writes in flight did not
/// end within about a second each; the other writers of the migration wait as long. The round goes on to the next
/// key after each of them, and ends after the last.
///
/// ```
/// assert_eq!(dualwrite::defaults::FENCE_REFUSALS_MAX, 3);
/// ```
pub const FENCE_REFUSALS_MAX: u32 = 3;

/// The keys of a round that were refused the fence.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    keys: u32,
    first: Option<Error>,
    /// Whom the first of them waited for.
    holders: String,
}

impl Refusals {
    /// Takes an error in; gives back one that is no refusal. Finds out with the first one who holds the fence, since
    /// that can make writers wait for another second.
    pub(crate) async fn take(&mut self, shared: &Shared, error: Error) -> Result<(), Error> {
        let is_first = self.first.is_none();
        self.add(error)?;
        if is_first {
            self.holders = holders(shared).await;
        }
        Ok(())
    }

    fn add(&mut self, error: Error) -> Result<(), Error> {
        if error.kind() != ErrorKind::Timeout {
            return Err(error);
        }
        self.keys += 1;
        self.first.get_or_insert(error);
        Ok(())
    }

    /// Why one of these keys was not copied.
    pub(crate) fn reason(&self) -> String {
        format!(
            "writes in flight did not end in time; {HELD_OPEN}{}; repair it again",
            self.holders
        )
    }

    /// Whether the round must end.
    pub(crate) fn are_enough(&self) -> bool {
        self.keys >= FENCE_REFUSALS_MAX
    }

    /// The end of a round: `copied` if nothing was refused. `untried` keys were not come to.
    pub(crate) fn end(self, copied: u64, untried: usize) -> Result<u64, Error> {
        let Some(first) = self.first else { return Ok(copied) };
        let left = u64::from(self.keys) + untried as u64;
        let message = format!(
            "copied {copied} keys, and left {left} or more, since writes in flight did not end in time; \
             {HELD_OPEN}{}; try again",
            self.holders
        );
        Err(Error::new(ErrorKind::Timeout, message).caused_by(first))
    }
}

/// Who holds the fence, to be added to a message; empty where nobody is known.
async fn holders(shared: &Shared) -> String {
    let mut found = shared.control.holders(&shared.name).await;
    found.extend(shared.holding(&found.concat()));
    match found.is_empty() {
        true => String::new(),
        false => format!(": {}", found.join("; ")),
    }
}

impl<DB: Backend> SqlCopier<DB> {
    /// Whether a row that is inserted into old must be copied with the fence held alone. Where one
    /// transaction writes at a time, every one holds it alone.
    pub(crate) fn inserts_exclusively(&self) -> bool {
        self.pages.has_row_locks()
    }

    /// A transaction that holds the fence of this migration alone.
    pub(crate) async fn begin_exclusive(
        &self,
        shared: &Shared,
    ) -> Result<(Tx<'static, DB>, Position), Error> {
        let mut tx = self.take_fence(shared, ATTEMPTS_FOR_A_KEY).await?;
        tx.pin_exclusive(shared.pin()).await.map_err(|error| error.of(&shared.name))?;
        let position = tx.pinned(&shared.name).unwrap_or(Position::start());
        Ok((tx, position))
    }

    /// Waits until every write has ended that is in flight now: the fence is taken alone, and given back.
    pub(crate) async fn wait_for_writes(&self, shared: &Shared) -> Result<(), Error> {
        match self.take_fence(shared, FENCE_ATTEMPTS).await {
            Ok(tx) => tx.rollback().await,
            Err(error) if error.kind() == ErrorKind::Timeout => {
                Err(error.noting(&holders(shared).await))
            }
            Err(error) => Err(error),
        }
    }

    async fn take_fence(&self, shared: &Shared, attempts: u32) -> Result<Tx<'static, DB>, Error> {
        let begun = Tx::begin_exclusive(&self.pool, &shared.name, attempts, Tx::opening).await;
        let at_work = |mut tx: Tx<'static, DB>| {
            tx.begin_work();
            tx
        };
        begun.map(at_work).map_err(|error| {
            if DB::Adapter::is_lock_timeout(&error) {
                count(&shared.counters.fence_refused);
            }
            let message = format!(
                "writes in flight did not end in time, so nothing more was copied to the old side; copy again, and \
                 {HELD_OPEN}"
            );
            fence_refused::<DB>("waiting for writes in flight", &message, error)
                .of(&shared.name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "x")
    }

    #[test]
    fn a_round_ends_after_so_many_and_says_what_is_left() {
        let mut refusals = Refusals::default();
        for _ in 0..FENCE_REFUSALS_MAX {
            assert!(!refusals.are_enough());
            refusals.add(error(ErrorKind::Timeout)).unwrap();
        }
        assert!(refusals.are_enough());
        let left = refusals.end(5, 7).unwrap_err();
        assert_eq!((left.kind(), left.is_retryable()), (ErrorKind::Timeout, true));
        assert!(left.to_string().contains("copied 5 keys, and left 10 or more"), "{left}");
    }

    #[test]
    fn another_error_ends_it_at_once_and_none_is_none() {
        let mut refusals = Refusals::default();
        let other = refusals.add(error(ErrorKind::Database)).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Database);
        assert_eq!(refusals.end(5, 0).unwrap(), 5);
    }
}
