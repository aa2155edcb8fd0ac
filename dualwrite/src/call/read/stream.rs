//! A read that answers with a stream. It is open until the stream has ended or is dropped: as long as it is, no
//! stage is entered in which a side lacks a write, and nothing that it reads from is taken away.
//!
//! It is counted once. Its time is that to the first item, for between two items the caller decides how long it
//! takes. An item that is an error makes it a failed call. Who stops early has had enough, and who leaves while the
//! next item is waited for has given up.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt as _};

use crate::call::read::{Progress, Read};
use crate::copier::joined::Joined;
use crate::error::Error;
use crate::needs::with_error_of_old;
use crate::observe::MethodStats;
use crate::stages::stage::Side;
use crate::state::in_flight::Phase;

/// What a side answers, whatever its type.
pub type BoxedStream<'s, I> = Pin<Box<dyn Stream<Item = I> + Send + 's>>;

/// The stream of a side.
pub fn boxed<'s, S: Stream + Send + 's>(side: S) -> BoxedStream<'s, S::Item> {
    Box::pin(side)
}

/// The stream of a side that has an error type of its own, with that of old.
pub fn stream_with_error_of_old<T, E: From<F>, F>(
    side: impl Stream<Item = Result<T, F>> + Send,
) -> impl Stream<Item = Result<T, E>> + Send {
    side.map(with_error_of_old)
}

/// The stream that the caller gets. A refused call is a stream of its error.
pub fn streamed<'s, T, E, X: Fn(Error) -> E>(
    call: Result<Read<'_>, Error>,
    side: Option<BoxedStream<'s, Result<T, E>>>,
    failed: X,
) -> Streamed<'s, T, E, X> {
    match call {
        Ok(call) => Streamed { side, open: Some(Open::of(call)), refused: None, failed },
        Err(error) => Streamed { side: None, open: None, refused: Some(error), failed },
    }
}

/// The stream of the side that answers, with the read that it is.
pub struct Streamed<'s, T, E, X> {
    /// Dropped before the read is over.
    side: Option<BoxedStream<'s, Result<T, E>>>,
    open: Option<Open>,
    refused: Option<Error>,
    failed: X,
}

impl<T, E, X: Fn(Error) -> E + Unpin> Stream for Streamed<'_, T, E, X> {
    type Item = Result<T, E>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<T, E>>> {
        let this = self.get_mut();
        if let Some(error) = this.refused.take() {
            return Poll::Ready(Some(Err((this.failed)(error))));
        }
        let (Some(side), Some(open)) = (&mut this.side, &mut this.open) else {
            return Poll::Ready(None);
        };
        open.polled();
        let Poll::Ready(item) = side.as_mut().poll_next(context) else {
            open.progress = Progress::Waiting;
            return Poll::Pending;
        };
        open.answered(item.as_ref().is_some_and(Result::is_err));
        // What was read past the lease may be old, and so may be that there is no more.
        let item = match open.check_lease() {
            Ok(()) => item,
            Err(error) => {
                this.end();
                return Poll::Ready(Some(Err((this.failed)(error))));
            }
        };
        if item.is_none() {
            this.end();
        }
        Poll::Ready(item)
    }
}

impl<T, E, X> Streamed<'_, T, E, X> {
    fn end(&mut self) {
        self.side = None;
        self.open = None;
    }
}

/// A read that goes on while its caller takes what was read.
struct Open {
    shared: Arc<Joined>,
    stats: Arc<MethodStats>,
    primary: Side,
    /// In ticks.
    start: u64,
    /// When the side was asked last.
    asked: u64,
    /// Nanoseconds to the first item, or to the end where there was none.
    first: Option<u64>,
    has_failed: bool,
    progress: Progress,
    /// None inside a transaction, which holds the fence.
    entered: Option<Phase>,
}

impl Open {
    fn of(mut call: Read<'_>) -> Self {
        call.progress = Progress::Settled; // from here on it is counted here
        Self {
            shared: Arc::clone(call.repository.shared()),
            stats: Arc::clone(&call.method.stats),
            primary: call.primary,
            start: call.start,
            asked: call.start,
            first: None,
            has_failed: false,
            progress: Progress::Begun,
            entered: call.entered.take(),
        }
    }

    fn polled(&mut self) {
        if self.progress != Progress::Waiting {
            self.asked = self.shared.clock.ticks();
        }
        self.progress = Progress::Polled;
    }

    fn answered(&mut self, is_err: bool) {
        self.progress = Progress::Answered;
        self.has_failed |= is_err;
        if self.first.is_none() {
            self.first = Some(self.since(self.start));
        }
    }

    fn check_lease(&mut self) -> Result<(), Error> {
        let checked = match self.entered {
            Some(_) => self.shared.check_lease(self.start, self.shared.clock.ticks()),
            None => Ok(()),
        };
        self.has_failed |= checked.is_err();
        checked
    }

    fn since(&self, start: u64) -> u64 {
        self.shared.clock.nanos(start, self.shared.clock.ticks())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let side = self.stats.side(self.primary);
        match (self.progress, self.first) {
            (Progress::Answered, Some(nanos)) => side.record(nanos, !self.has_failed),
            (Progress::Polled, _) => side.record(self.since(self.asked), false),
            _ => side.record_abandoned(self.since(self.asked)),
        }
        if let Some(phase) = self.entered.take() {
            self.shared.in_flight.leave(phase);
        }
    }
}
