//! Carries out one write of a repository. The wrapper plans it by a function of `plan`, then for each
//! target that [`Write::next`] names calls [`Write::run`] and [`Write::leave`], then [`Write::finish`]. What
//! fails on the way stays in the write, which then names no more targets.
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
use crate::call::write::plan::{Context, Planned};
use crate::copier::registered::judge_mirror;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SAVEPOINT, SqlValue};
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, OwnedKey};
use crate::needs::Failure;
use crate::observe::{MethodStats, count};
use crate::stages::lineage::Mark;
use crate::stages::position::Epoch;
use crate::stages::route::{Operation, route};
use crate::stages::stage::Side;
use crate::state::{MirrorPolicy, Shared};
use crate::transaction::{MirrorSavepoint, Tx};

const UNFINISHED: &str = "a write in it failed or was dropped halfway";

/// The implementation that a write calls next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Old.
    Old,
    /// New.
    New,
    /// The one that writes both at once, and answers as this side does.
    Both(Side),
}

/// What one side answered, or how it panicked.
pub struct Answer<T, E>(Result<Result<T, E>, Box<dyn Any + Send>>);

impl<T, E> Answer<T, E> {
    fn is_ok(&self) -> bool {
        matches!(self.0, Ok(Ok(_)))
    }
}

/// What a write does next: old before new, always, so that no two writers wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The only side, or old, or both at once.
    First,
    /// New, after old.
    Second,
    /// The mirror has failed and both sides are undone: the primary once more, alone.
    Again,
    Done,
}

/// One write under way.
pub struct Write<'r, T, E> {
    repository: &'r Repository,
    method: usize,
    shared: &'r Arc<Shared>,
    stats: &'r MethodStats,
    planned: Planned,
    /// Another write has failed in this transaction before: this one cannot make that good.
    spoiled_before: bool,
    turn: Turn,
    target: Target,
    /// The savepoint stands before the first side: going back to it undoes both.
    from_start: bool,
    start: u64,
    answer: Option<T>,
    /// The error of a side; ours is apart, so that a future may hold it whatever theirs is.
    theirs: Option<E>,
    ours: Option<Error>,
}

impl<'r, T, E> Write<'r, T, E> {
    /// A write that is planned like this, or has failed.
    pub(crate) fn begun<DB: Backend>(
        repository: &'r Repository,
        method: usize,
        tx: &Tx<'_, DB>,
        plan: impl FnOnce(&Context<'r>) -> Result<Planned, Error>,
    ) -> Self {
        let shared = repository.shared();
        let planned = Context::of(repository, method, tx).and_then(|context| plan(&context));
        let (planned, ours) = match planned {
            Ok(planned) => (planned, None),
            Err(error) => (Planned::nowhere(), Some(error.of(&shared.name))),
        };
        Self {
            repository,
            method,
            shared,
            stats: &repository.method(method).stats,
            planned,
            spoiled_before: tx.is_spoiled(),
            turn: Turn::First,
            target: Target::Old,
            from_start: false,
            start: 0,
            answer: None,
            theirs: None,
            ours,
        }
    }

    fn has_failed(&self) -> bool {
        self.ours.is_some() || self.theirs.is_some()
    }

    fn is_dual(&self) -> bool {
        self.planned.plan.mirror.is_some()
    }

    /// Whether a failure of this target is undone, and the write goes on.
    fn is_forgiving(&self, target: Target) -> bool {
        let primary = self.planned.plan.primary;
        self.planned.mirror == Mirror::Forgiving
            && self.turn != Turn::Again
            && match target {
                Target::Old => primary != Side::Old,
                Target::New => primary != Side::New,
                Target::Both(_) => self.repository.is_one_row(),
            }
    }

    fn named(&self) -> Option<Target> {
        let primary = self.planned.plan.primary;
        let alone = match primary {
            Side::Old => Target::Old,
            Side::New => Target::New,
        };
        match self.turn {
            _ if self.has_failed() => None,
            Turn::First if !self.is_dual() => Some(alone),
            Turn::First if self.repository.writes_at_once() => Some(Target::Both(primary)),
            Turn::First => Some(Target::Old),
            Turn::Second => Some(Target::New),
            Turn::Again => Some(alone),
            Turn::Done => None,
        }
    }

    /// The implementation to call next, after the savepoint where a failure of it would be forgiven.
    pub fn next<DB: Backend>(
        &mut self,
        tx: &mut Tx<'_, DB>,
    ) -> impl Future<Output = Option<Target>> + Send {
        let named = self.named();
        let mut sets = false;
        if let (Some(target), true) = (named, self.is_dual()) {
            if self.turn == Turn::First && self.planned.mirror == Mirror::Forgiving {
                let repeats = self.shared.options.mirror == MirrorPolicy::Repeat;
                self.from_start = tx.mirror_savepoint() == MirrorSavepoint::AtStart
                    && (repeats || self.is_forgiving(target));
            }
            sets = self.is_forgiving(target) && !self.from_start;
            // Until the last side has answered, the transaction is half a write.
            tx.spoil(UNFINISHED);
        }
        self.target = named.unwrap_or(self.target);
        let checks = self.turn == Turn::First && self.is_dual();
        let (shared, ours) = (self.shared, &mut self.ours);
        async move {
            let entered = async {
                if checks {
                    tx.check_ours().await?;
                }
                if sets {
                    let set = set_savepoint(tx).await;
                    set.map_err(|error| Error::database("setting a savepoint", error))?;
                }
                Ok::<(), Error>(())
            };
            match entered.await {
                Ok(()) => named,
                Err(error) => {
                    *ours = Some(error.of(&shared.name));
                    None
                }
            }
        }
    }

    /// Whether nothing is called after the present target, so that it may have the arguments.
    pub fn is_last(&self) -> bool {
        !self.is_dual()
    }

    /// Calls one side and catches its panic.
    pub async fn run(&mut self, side: impl Future<Output = Result<T, E>>) -> Answer<T, E> {
        self.start = self.shared.clock.now();
        Answer(AssertUnwindSafe(side).catch_unwind().await)
    }

    /// The key that the first side has made, for the call of the other.
    pub fn made<K: OwnedKey>(
        &mut self,
        answer: &Answer<T, E>,
        key_of: impl FnOnce(&T) -> K,
    ) -> Option<K> {
        let Answer(Ok(Ok(answer))) = answer else {
            return None;
        };
        if self.turn == Turn::Second || !self.planned.makes_key {
            return None;
        }
        let key = key_of(answer);
        if let (true, Err(error)) = (self.is_dual(), self.decide_made(&key)) {
            self.ours = Some(error.of(&self.shared.name));
        }
        Some(key)
    }

    /// Now that the key is known, whether the other side may fall behind.
    fn decide_made<K: OwnedKey>(&mut self, key: &K) -> Result<(), Error> {
        self.shared.check_kind(K::KIND)?;
        self.planned.keys = vec![self.shared.encode(key)?];
        let position = self.planned.position;
        let bucket = self.shared.bucket(key)?;
        let plan = route(position, Operation::Write, bucket);
        if self.turn == Turn::First && self.target == Target::Old && plan.primary == Side::Old {
            let context = Context {
                repository: self.repository,
                shared: self.shared,
                method: self.repository.method(self.method),
                position,
            };
            self.planned.mirror = context.forgives(Side::New);
        }
        Ok(())
    }

    /// After the call of one target.
    ///
    /// # Panics
    /// With the primary's panic.
    pub async fn leave<DB: Backend>(&mut self, tx: &mut Tx<'_, DB>, answer: Answer<T, E>) {
        let (target, turn) = (self.target, self.turn);
        self.record(&answer);
        let mut forgiven = false;
        // What the database would judge at the commit, past the savepoint, is judged now.
        let judged = match answer.is_ok() && self.is_forgiving(target) {
            true => judge_mirror(self.shared, tx, &self.planned.keys, self.mirror()).await,
            false => Ok(()),
        };
        if (!answer.is_ok() || judged.is_err()) && self.is_forgiving(target) {
            match forgive(self.shared, self.stats.method, self.mirror(), tx).await {
                Ok(is_forgiven) => forgiven = is_forgiven,
                Err(error) => return self.fail(tx, error),
            }
        }
        self.planned.compare &= !forgiven;
        match (answer.0, judged) {
            (_, _) if forgiven => {}
            (Ok(Ok(_)), Err(error)) => return self.fail(tx, error),
            (Ok(Ok(value)), Ok(())) if self.answers(target) => self.answer = Some(value),
            (Ok(Ok(_)), Ok(())) => {}
            (Ok(Err(error)), _) => {
                tx.spoil(UNFINISHED);
                self.theirs = Some(error);
                return;
            }
            (Err(panic), _) if self.answers(target) => {
                tx.spoil(UNFINISHED);
                resume_unwind(panic)
            }
            (Err(_), _) => {
                let message = format!("the write to {} panicked", self.mirror());
                return self.fail(tx, Error::new(ErrorKind::MirrorFailed, message));
            }
        }
        self.turn = self.turn_after(target, forgiven);
        let again = self.turn == Turn::Again;
        if let Err(error) = self.settle(tx, (forgiven && !again) || turn == Turn::Again).await {
            self.fail(tx, error);
        }
    }

    fn turn_after(&self, target: Target, forgiven: bool) -> Turn {
        match (self.turn, target) {
            (Turn::First, Target::Both(_)) if forgiven => Turn::Again,
            (Turn::First, Target::Old) if self.is_dual() => Turn::Second,
            (Turn::Second, _) if forgiven && self.from_start => Turn::Again,
            _ => Turn::Done,
        }
    }

    /// Marks what has fallen behind, compares, and declares the transaction whole again.
    async fn settle<DB: Backend>(
        &mut self,
        tx: &mut Tx<'_, DB>,
        behind: bool,
    ) -> Result<(), Error> {
        if behind {
            // After the primary: whoever copies the key locks its row in old before its mark, too.
            mark_all(self.shared, &self.planned.keys, self.mirror(), tx).await?;
        }
        if self.turn != Turn::Done || self.has_failed() {
            return Ok(());
        }
        mark_all(self.shared, &self.planned.ahead, Side::New, tx).await?;
        // Only a write that left the transaction whole may be looked at, and before it counts as mended.
        if self.planned.compare && !self.spoiled_before {
            for key in &self.planned.keys {
                compare(self.shared, self.stats, tx, key).await?;
            }
        }
        if !self.spoiled_before {
            tx.mend();
        }
        Ok(())
    }

    /// Whether this target's answer is the caller's.
    fn answers(&self, target: Target) -> bool {
        match target {
            Target::Old => self.planned.plan.primary == Side::Old,
            Target::New => self.planned.plan.primary == Side::New,
            Target::Both(_) => true,
        }
    }

    fn mirror(&self) -> Side {
        self.planned.plan.primary.other()
    }

    fn fail<DB: Backend>(&mut self, tx: &mut Tx<'_, DB>, error: Error) {
        tx.spoil(UNFINISHED);
        self.ours = Some(error.of(&self.shared.name));
    }

    /// The answer of the write.
    ///
    /// # Errors
    /// The primary's, the mirror's where it is not forgiven, or ours; the transaction can then only be rolled
    /// back.
    pub fn finish(self) -> Result<T, E>
    where
        E: Failure,
    {
        if let Some(error) = self.theirs {
            return Err(error);
        }
        let unmade = || Error::new(ErrorKind::Poisoned, "a write was finished before it was made");
        match (self.ours, self.answer) {
            (None, Some(answer)) => Ok(answer),
            (ours, _) => Err(ours.unwrap_or_else(unmade).into()),
        }
    }

    fn record(&self, answer: &Answer<T, E>) {
        if self.turn == Turn::Again {
            return;
        }
        let nanos = self.shared.clock.now().saturating_sub(self.start);
        let (side, is_primary) = match self.target {
            Target::Old => (Side::Old, self.answers(self.target)),
            Target::New => (Side::New, self.answers(self.target)),
            Target::Both(side) => (side, true),
        };
        self.stats.record_write(side, is_primary, nanos, answer.is_ok());
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

/// Remembers that these keys must be copied again, in the caller's own transaction: either both stand or
/// none.
#[expect(clippy::manual_async_fn, reason = "`+ Send` is said here, and not proven anew by callers")]
fn mark_all<DB: Backend>(
    shared: &Shared,
    keys: &[EncodedKey],
    side: Side,
    tx: &mut Tx<'_, DB>,
) -> impl Future<Output = Result<(), Error>> + Send {
    async move {
        for key in keys {
            let marked = mark_dirty::<DB>(tx.connection(), &shared.name, side, &key.0).await;
            marked.map_err(|error| Error::database("marking a key dirty", error))?;
            shared.mark_dirty();
        }
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
