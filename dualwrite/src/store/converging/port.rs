//! The port to the control tables of converging mode, without a type for the database.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::error::Error;
use crate::key::EncodedKey;
use crate::stages::position::{Generation, Position};
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::store::converging::paging::Place;
use crate::store::converging::statements::EndedWrite;
use crate::store::ledger::Ledger;

/// A key that was claimed, to be copied.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// Who holds it.
    pub(crate) id: String,
    pub(crate) version: u64,
    pub(crate) attempts: u64,
    /// The position in force. None that gives the key another primary comes while it is unsettled.
    pub(crate) position: Position,
    /// Marks of the key when it was claimed.
    pub(crate) writes: u64,
}

/// What came of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Both sides agree.
    Done,
    /// Somebody wrote beside it: it is to be copied once more.
    Again,
}

/// A copy that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailedCopy<'a> {
    pub(crate) to: Side,
    pub(crate) generation: Generation,
    pub(crate) error: &'a str,
    pub(crate) again_after: Duration,
    /// It has failed so often that it goes to the dead letters.
    pub(crate) is_dead_letter: bool,
}

/// The port to these tables. Without a type for the database.
pub(crate) trait Marks: Send + Sync {
    /// Closes connections that are not needed.
    fn trim(&self);

    /// Whatever is asked from now on is answered with `ShuttingDown`.
    fn close(&self);

    /// Marks writes, at most [`NAMED`](super::statements::NAMED) by their ids and keys, before the first side of each,
    /// under the fence: the position that holds for them. `None` while a move waits for writes in flight.
    fn mark<'a>(
        &'a self,
        shared: &'a Shared,
        writes: &'a [(&'a str, &'a EncodedKey)],
    ) -> BoxFuture<'a, Result<Option<Position>, Error>>;

    /// Clears the marks of writes that have ended. Returns how many keys are left to be copied.
    fn finish<'a>(
        &'a self,
        shared: &'a Shared,
        ended: &'a [EndedWrite],
    ) -> BoxFuture<'a, Result<u64, Error>>;

    /// Says that a key is to be copied, under the fence.
    fn unsettle<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Makes keys to be copied of the marks of dead instances. Returns how many.
    fn adopt<'a>(
        &'a self,
        shared: &'a Shared,
        grace: Duration,
    ) -> BoxFuture<'a, Result<u64, Error>>;

    /// Keys whose time to be copied has come, or all that nobody copies.
    fn due<'a>(
        &'a self,
        shared: &'a Shared,
        all: bool,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<EncodedKey>, Error>>;

    /// Claims a key, unless somebody else holds it or it is settled.
    fn claim<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Option<Claim>, Error>>;

    /// Ends a claim after a copy.
    fn settle<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
        claim: &'a Claim,
        to: Option<Side>,
    ) -> BoxFuture<'a, Result<Settled, Error>>;

    /// Ends a claim after a copy that failed, or was not made.
    fn give_back<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
        claim: &'a Claim,
        failed: Option<FailedCopy<'a>>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Writes in flight of a key, and whether it is to be copied.
    fn look<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
    ) -> BoxFuture<'a, Result<(u64, bool), Error>>;

    /// How many writes are in flight, and how many keys are to be copied.
    fn left<'a>(&'a self, shared: &'a Shared) -> BoxFuture<'a, Result<(u64, u64), Error>>;

    /// New writes wait for so long, or until nobody asks them to any more.
    fn drain<'a>(
        &'a self,
        shared: &'a Shared,
        limit: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Where a phase of the backfill stands; `None` where the migration is gone.
    fn place<'a>(
        &'a self,
        shared: &'a Shared,
        ledger: &'a Ledger<'a>,
        rate: Option<u64>,
    ) -> BoxFuture<'a, Result<Option<Place>, Error>>;

    /// Takes a page of the backfill; `false` where another worker has moved the cursor.
    fn page<'a>(
        &'a self,
        shared: &'a Shared,
        ledger: &'a Ledger<'a>,
        cursor: Option<&'a EncodedKey>,
        keys: &'a [EncodedKey],
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Counts what was copied of a page.
    fn count<'a>(
        &'a self,
        ledger: &'a Ledger<'a>,
        copied: u64,
        failed: u64,
    ) -> BoxFuture<'a, Result<(), Error>>;
}
