//! Carries out one write of a repository. The wrapper calls, in this order: [`write()`], then for each
//! side that [`Write::next`] names [`Write::enter`], [`Write::run`], [`Write::leave`], then
//! [`Write::finish`].
//!
//! What is awaited on the way says `+ Send` by itself: else the compiler would prove it anew, down to the
//! drivers, for every method of every wrapper.

use std::any::Any;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt;

use crate::call::repository::Repository;
use crate::call::shadow::writes::compare;
use crate::call::write::decide::{self, Mirror};
use crate::copier::registered::judge_mirror;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SAVEPOINT, SqlValue};
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, Key};
use crate::needs::Failure;
use crate::observe::{MethodStats, count};
use crate::shadow::sampling::is_sampled;
use crate::stages::lineage::Mark;
use crate::stages::position::Epoch;
use crate::stages::route::{Operation, Plan, is_read, route};
use crate::stages::stage::Side;
use crate::state::{MirrorPolicy, Shared};
use crate::transaction::{MirrorSavepoint, Tx};

const UNFINISHED: &str = "a write in it failed or was dropped halfway";

/// The sides that a write goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// Old alone.
    Old,
    /// New alone.
    New,
    /// Old, then new.
    Both,
}

/// What one side answered, or how it panicked.
pub struct Answer<T, E>(Result<Result<T, E>, Box<dyn Any + Send>>);

/// What a dual write does next: old before new, always, so that no two writers wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Old,
    New,
    /// The mirror has failed and both sides are undone: old once more, alone.
    OldAgain,
    Done,
}

/// One write under way.
pub struct Write<'r, T, E> {
    shared: &'r Arc<Shared>,
    stats: &'r MethodStats,
    /// Whether the sides are read back and compared.
    compare: bool,
    plan: Plan,
    mirror: Mirror,
    key: Option<EncodedKey>,
    /// Another write has failed in this transaction before: this one cannot make that good.
    spoiled_before: bool,
    turn: Turn,
    /// The savepoint stands before the first side: going back to it undoes both.
    from_start: bool,
    start: u64,
    answer: Option<Result<T, E>>,
}

/// Plans a write inside a transaction.
///
/// # Errors
/// `NotPinned` where the transaction was not begun for the migration, `WrongKey`.
pub fn write<'r, DB: Backend, K: Key + ?Sized, T, E>(
    repository: &'r Repository,
    method: usize,
    tx: &Tx<'_, DB>,
    key: &K,
) -> Result<Write<'r, T, E>, Error> {
    let shared = repository.shared();
    let position = tx.pinned(&shared.name).ok_or_else(|| not_pinned(shared))?;
    shared.check_kind(K::KIND)?;
    let bucket = shared.bucket(key)?;
    let plan = route(position, Operation::Write, bucket);
    let method = repository.method(method);
    let mirror = match plan.mirror {
        Some(side) => {
            let copier = shared.copier.as_ref();
            let repairable = copier.is_some_and(|copier| copier.can_copy_to(side))
                && decide::is_repairable(side, shared.is_copied(), shared.options.lazy)
                // Another spelling of this key may have another bucket, and be read on the side that failed.
                && !(shared.is_loose() && is_read(position, side));
            decide::mirror(position, side, method.mirror(shared), repairable)
        }
        None => Mirror::Strict,
    };
    let share = shared.options.compare_writes;
    let compare = plan.mirror.is_some() && is_sampled(share, shared.clock.ticks());
    let key = match mirror {
        Mirror::Forgiving => Some(shared.encode(key).map_err(|error| error.of(&shared.name))?),
        Mirror::Strict if compare => EncodedKey::new(key).ok(),
        Mirror::Strict => None,
    };
    let stats = &method.stats;
    let spoiled_before = tx.is_spoiled();
    Ok(Write {
        shared,
        stats,
        compare,
        plan,
        mirror,
        key,
        spoiled_before,
        turn: Turn::Old,
        from_start: false,
        start: 0,
        answer: None,
    })
}

#[cold]
pub(crate) fn not_pinned(shared: &Shared) -> Error {
    let message = "the transaction was not begun for it; use `migration.begin(&pool)`, or \
                   `Tx::begin_for(&pool, &[…])` for several migrations";
    Error::new(ErrorKind::NotPinned, message).of(&shared.name)
}

impl<T, E> Write<'_, T, E> {
    /// Where this write goes.
    pub fn sides(&self) -> Sides {
        match (self.plan.mirror, self.plan.primary) {
            (Some(_), _) => Sides::Both,
            (None, Side::Old) => Sides::Old,
            (None, Side::New) => Sides::New,
        }
    }

    fn is_forgiving(&self, side: Side) -> bool {
        side != self.plan.primary && self.mirror == Mirror::Forgiving
    }

    /// The side that a dual write goes to next.
    pub fn next(&self) -> Option<Side> {
        match self.turn {
            Turn::Old | Turn::OldAgain => Some(Side::Old),
            Turn::New => Some(Side::New),
            Turn::Done => None,
        }
    }

    /// Before a side of a dual write: sets the savepoint where a failure would be forgiven, unless it
    /// stands already.
    ///
    /// # Errors
    /// `Database`, `Poisoned` where the transaction has ended already.
    pub fn enter<DB: Backend>(
        &mut self,
        side: Side,
        tx: &mut Tx<'_, DB>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        if self.turn == Turn::Old && self.mirror == Mirror::Forgiving {
            let repeats = self.shared.options.mirror == MirrorPolicy::Repeat;
            self.from_start = tx.mirror_savepoint() == MirrorSavepoint::AtStart
                && (repeats || self.is_forgiving(side));
        }
        // Until the last side has answered, the transaction is half a write.
        tx.spoil(UNFINISHED);
        let (shared, sets) = (self.shared, self.is_forgiving(side) && !self.from_start);
        let is_first = self.turn == Turn::Old;
        async move {
            if is_first {
                tx.check_ours().await.map_err(|error| error.of(&shared.name))?;
            }
            if sets {
                set_savepoint(tx).await.map_err(|error| {
                    Error::database("setting a savepoint", error).of(&shared.name)
                })?;
            }
            Ok(())
        }
    }

    /// Before a dual write that one implementation makes alone. No savepoint: what fails there has
    /// written neither side.
    pub fn enter_both<DB: Backend>(&mut self, tx: &mut Tx<'_, DB>) {
        tx.spoil(UNFINISHED);
    }

    /// Runs one side and catches its panic.
    pub async fn run(&mut self, side: impl Future<Output = Result<T, E>>) -> Answer<T, E> {
        self.start = self.shared.clock.now();
        Answer(AssertUnwindSafe(side).catch_unwind().await)
    }

    /// After a side of a dual write.
    ///
    /// # Errors
    /// The primary's error, or the mirror's where it is not forgiven; the transaction can then only be
    /// rolled back.
    ///
    /// # Panics
    /// With the primary's panic.
    pub async fn leave<DB: Backend>(
        &mut self,
        side: Side,
        tx: &mut Tx<'_, DB>,
        answer: Answer<T, E>,
    ) -> Result<(), E>
    where
        E: Failure,
    {
        let turn = self.turn;
        if turn != Turn::OldAgain {
            self.record(side, &answer);
        }
        // What the database would judge at the commit, past the savepoint, is judged now.
        let judged = match (&answer.0, self.is_forgiving(side)) {
            (Ok(Ok(_)), true) => judge_mirror(self.shared, tx, self.key.as_ref(), side).await,
            _ => Ok(()),
        };
        let is_whole = matches!(answer.0, Ok(Ok(_))) && judged.is_ok();
        let forgiven = !is_whole
            && self.is_forgiving(side)
            && forgive(self.shared, self.stats.method, side, tx)
                .await
                .map_err(|error| error.of(&self.shared.name))?;
        self.compare &= !forgiven;
        match answer.0 {
            Ok(Ok(value)) if side == self.plan.primary => self.answer = Some(Ok(value)),
            _ if forgiven => {}
            Ok(Ok(_)) => judged.map_err(E::from)?,
            Ok(Err(error)) => return Err(error),
            Err(panic) if side == self.plan.primary => resume_unwind(panic),
            Err(_) => {
                let message = format!("the write to {side} panicked");
                return Err(Error::new(ErrorKind::MirrorFailed, message)
                    .of(&self.shared.name)
                    .into());
            }
        }
        self.turn = match turn {
            Turn::Old => Turn::New,
            Turn::New if forgiven && self.from_start => Turn::OldAgain,
            Turn::New | Turn::OldAgain | Turn::Done => Turn::Done,
        };
        if (forgiven && self.turn != Turn::OldAgain) || turn == Turn::OldAgain {
            // After the primary: whoever copies the key locks its row in old before its mark, too.
            let mirror = self.plan.primary.other();
            note_failure(self.shared, self.key.as_ref(), mirror, tx)
                .await
                .map_err(|error| error.of(&self.shared.name))?;
        }
        if self.turn == Turn::Done {
            // Only a write that left the transaction whole may be looked at, and before it counts as mended.
            if let (true, false, Some(key)) = (self.compare, self.spoiled_before, &self.key) {
                compare(self.shared, self.stats, tx, key).await?;
            }
            self.mend(tx);
        }
        Ok(())
    }

    /// The answer of a dual write.
    ///
    /// # Errors
    /// The primary's; but then `leave` has returned it already.
    pub fn finish(self) -> Result<T, E>
    where
        E: Failure,
    {
        match self.answer {
            Some(answer) => answer,
            None => {
                Err(Error::new(ErrorKind::Poisoned, "a write was finished before it was made")
                    .into())
            }
        }
    }

    /// After the only side of a write that goes to one.
    ///
    /// # Errors
    /// That side's.
    ///
    /// # Panics
    /// With that side's panic.
    pub fn leave_only<DB: Backend>(
        self,
        tx: &mut Tx<'_, DB>,
        answer: Answer<T, E>,
    ) -> Result<T, E> {
        self.record(self.plan.primary, &answer);
        self.settle(tx, answer)
    }

    /// After a write of both at once. Compares the sides where that is wanted. Answers with what the
    /// implementation for both did.
    ///
    /// # Errors
    /// `Database` where the savepoint of the comparison failed; the transaction can then only be rolled back.
    ///
    /// # Panics
    /// With the panic of the implementation for both.
    pub async fn leave_both<DB: Backend>(
        self,
        tx: &mut Tx<'_, DB>,
        answer: Answer<T, E>,
    ) -> Result<Result<T, E>, Error> {
        self.record(self.plan.primary, &answer);
        let is_whole = matches!(answer.0, Ok(Ok(_))) && !self.spoiled_before;
        if let (true, true, Some(key)) = (self.compare, is_whole, &self.key) {
            compare(self.shared, self.stats, tx, key).await?;
        }
        Ok(self.settle(tx, answer))
    }

    fn settle<DB: Backend>(self, tx: &mut Tx<'_, DB>, answer: Answer<T, E>) -> Result<T, E> {
        match answer.0 {
            Ok(Ok(value)) => {
                self.mend(tx);
                Ok(value)
            }
            Ok(Err(error)) => {
                tx.spoil(UNFINISHED);
                Err(error)
            }
            Err(panic) => {
                tx.spoil(UNFINISHED);
                resume_unwind(panic)
            }
        }
    }

    fn mend<DB: Backend>(&self, tx: &mut Tx<'_, DB>) {
        if !self.spoiled_before {
            tx.mend();
        }
    }

    fn record(&self, side: Side, answer: &Answer<T, E>) {
        let nanos = self.shared.clock.now().saturating_sub(self.start);
        let is_primary = side == self.plan.primary;
        self.stats.record_write(side, is_primary, nanos, matches!(answer.0, Ok(Ok(_))));
    }
}

/// Undoes the mirror write, if it may fall behind. Returns whether it did.
fn forgive<DB: Backend>(
    shared: &Shared,
    method: &'static str,
    side: Side,
    tx: &mut Tx<'_, DB>,
) -> impl Future<Output = Result<bool, Error>> + Send {
    let failed = |error| Error::database("undoing a mirror write", error);
    async move {
        let undo = "ROLLBACK TO SAVEPOINT dualwrite_mirror";
        match DB::Adapter::run(tx.connection(), undo).await {
            // The error cost the whole transaction: it is the caller's to begin again.
            Err(error) if DB::Adapter::is_transaction_gone(&error) => return Ok(false),
            undone => undone.map_err(failed)?,
        }
        let Some(pin) = tx.pin(&shared.name).cloned() else { return Ok(false) };
        let own = if shared.mark() == pin.mark() { pin.position.epoch } else { Epoch(0) };
        let others = slowest::<DB>(tx.connection(), shared, pin.mark()).await.map_err(failed)?;
        if !decide::may_forgive(pin.position, own.min(others.unwrap_or(own))) {
            return Ok(false);
        }
        count(&shared.counters.mirror_failed);
        tracing::warn!(
            migration = &*shared.name,
            %side,
            method,
            "mirror write failed; the key is marked dirty and will be copied again"
        );
        Ok(true)
    }
}

/// Remembers that the key must be copied again, in the caller's own transaction: either both stand or
/// none.
fn note_failure<DB: Backend>(
    shared: &Shared,
    key: Option<&EncodedKey>,
    side: Side,
    tx: &mut Tx<'_, DB>,
) -> impl Future<Output = Result<(), Error>> + Send {
    let key = key.map_or("", |key| key.0.as_str());
    async move {
        let marked = mark_dirty::<DB>(tx.connection(), &shared.name, side, key).await;
        marked.map_err(|error| Error::database("marking a key dirty", error))?;
        shared.mark_dirty();
        Ok(())
    }
}

/// The epoch that every other live instance has seen; 0 of one that has seen a position that is not the one in
/// force, which the fence holds.
async fn slowest<DB: Backend>(
    conn: &mut DB::Connection,
    shared: &Shared,
    now: Mark,
) -> sqlx::Result<Option<Epoch>> {
    let sql = format!(
        "SELECT min(CASE WHEN a.seen_token = ? AND i.server = {} THEN a.seen_epoch ELSE 0 END) \
         FROM dualwrite_acknowledgement a JOIN dualwrite_instance i ON i.id = a.instance \
         WHERE a.migration = ? AND a.instance <> ? AND i.expires_at > {{now}}",
        DB::Adapter::DIALECT.identity
    );
    let values = [SqlValue::from(now.token.0), (&*shared.name).into(), (&*shared.instance).into()];
    let rows = DB::Adapter::fetch(conn, &sql, &values).await?;
    let seen = rows.first().map(|row| row.optional_integer(0)).transpose()?.flatten();
    Ok(seen.and_then(|seen| u64::try_from(seen).ok()).map(Epoch))
}

/// The savepoint is never released before COMMIT, which saves a round trip; the next one takes its place.
async fn set_savepoint<DB: Backend>(tx: &mut Tx<'_, DB>) -> sqlx::Result<()> {
    let sql = match tx.mirror_savepoint().exists() && !DB::Adapter::DIALECT.savepoint_replaces {
        true => "RELEASE SAVEPOINT dualwrite_mirror;SAVEPOINT dualwrite_mirror",
        false => SAVEPOINT,
    };
    DB::Adapter::run(tx.connection(), sql).await?;
    tx.mirror_savepoint_set();
    Ok(())
}

pub(crate) async fn mark_dirty<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    side: Side,
    key: &str,
) -> sqlx::Result<()> {
    let sql = format!(
        "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) VALUES (?, ?, ?, {{now}}){}",
        DB::Adapter::DIALECT.upsert("migration, side, key_text", &["marked_at"])
    );
    let values = [SqlValue::from(migration), side.as_str().into(), key.into()];
    DB::Adapter::execute(conn, &sql, &values).await.map(drop)
}
