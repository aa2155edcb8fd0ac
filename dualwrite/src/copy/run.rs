//! Runs the copy function: rows locked in the side that is copied from, dirty marks cleared in the same
//! transaction.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::erased::{CopyParts, Held, KeyOfAnotherType};
use super::judged::Judged;
#[cfg(feature = "mysql")]
use super::mapping::Mapped;
use super::mapping::{Learned, Mapping};
use super::source::{Extent, KeyParts, Pages};
use super::template::Template;
use super::{Copied, CopyKeys};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Isolation};
use crate::error::{BoxError, Error, ErrorKind, is_serialization};
use crate::key::{AnyKey, EncodedKey, Key, KeyPart};
use crate::pace::replicas::Replicas;
use crate::preflight::form::bucket_form;
use crate::stages::bucket::Bucket;
use crate::stages::position::Position;
use crate::stages::route::may_copy_at;
use crate::stages::route::stage_of;
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::store::ledger;
use crate::transaction::Tx;

/// A copy function with the pool it works on.
pub(crate) struct SqlCopier<DB: Backend> {
    pub(crate) copy: Box<dyn CopyParts<DB>>,
    pub(crate) pool: sqlx::Pool<DB>,
    pub(crate) replicas: Replicas<DB>,
    pub(crate) pages: Pages,
    pub(crate) new_pages: Option<Pages>,
    /// Statements that copy a range.
    ranges: Option<Vec<Template>>,
    pub(crate) mapping: Option<Mapping<DB>>,
    pub(crate) judged: Judged,
    pub(crate) learned: Learned,
}

/// Errors may name these, also where the table does not have them.
#[cfg(feature = "mysql")]
fn learn_columns<DB: Backend>(mapping: Option<&Mapping<DB>>, pages: &Pages) {
    let fields = mapping.iter().flat_map(|mapping| &mapping.fields);
    let names = fields.flat_map(|field| [&field.old, &field.new]).filter_map(|side| match side {
        Mapped::Column(name) => Some(name.as_str()),
        Mapped::Expression(_) => None,
    });
    crate::error::known::learn(&pages.name().name, names);
}

impl<DB: Backend> SqlCopier<DB> {
    /// Whether Rust compares rows; `None` without a mapping.
    pub(crate) fn compares_rows(&self) -> Option<bool> {
        self.mapping.as_ref().map(|mapping| mapping.rows.is_some())
    }

    pub(crate) fn new<C: CopyKeys<Database = DB>>(
        copy: C,
        pool: sqlx::Pool<DB>,
        replicas: Replicas<DB>,
    ) -> Result<Self, Error> {
        let dialect = dialect::<DB>();
        let kind = <C::Key as Key>::KIND;
        let pages = copy.source().pages(dialect, kind)?;
        let new_pages = copy.new_source().map(|source| source.pages(dialect, kind)).transpose()?;
        copy.check()?;
        let mapping = copy.mapping();
        mapping.as_ref().map_or(Ok(()), Mapping::check)?;
        #[cfg(feature = "mysql")]
        learn_columns(mapping.as_ref(), &pages);
        let parse = |texts: Vec<&'static str>| {
            texts.into_iter().map(|text| Template::parse(text, &pages)).collect()
        };
        let ranges = copy.ranges().map(parse).transpose()?;
        let judged = Judged::default();
        let learned = Learned::default();
        let Held(copy) = copy.held();
        Ok(Self { copy, pool, replicas, pages, new_pages, ranges, mapping, judged, learned })
    }

    /// Whether [`copy_range`](Self::copy_range) can copy from old to new now. Marks are cleared by key.
    pub(crate) fn has_ranges(&self, shared: &Shared) -> bool {
        // A range of old is one of new only where both sort keys in one way.
        let is_alike = self.new_pages.as_ref().is_none_or(|new| new.is_like(&self.pages));
        self.ranges.is_some() && !shared.is_dirty() && is_alike
    }

    /// Copies a range of keys from old to new by statements, which lock its rows themselves.
    pub(crate) async fn copy_range(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        (after, last): (Option<&KeyParts>, &KeyParts),
    ) -> Result<(), Error> {
        for template in self.ranges.iter().flatten() {
            let (sql, values) =
                template.over((&self.pages, None), Extent::Range(after, last), true);
            DB::Adapter::execute(tx.connection(), &sql, &values)
                .await
                .map_err(|error| copy_failed(shared, error.into()))?;
        }
        Ok(())
    }

    /// The keys of new on another server.
    pub(crate) fn elsewhere(&self) -> Option<(sqlx::Pool<DB>, Pages)> {
        let (pool, source) = self.mapping.as_ref()?.elsewhere.as_ref()?;
        let pages = source.pages(dialect::<DB>(), self.pages.kind).ok()?;
        Some((pool.clone(), pages))
    }

    /// The keys of new, where everything can be copied back: keys that old has never seen included.
    pub(crate) fn way_back(&self) -> Option<&Pages> {
        self.new_pages.as_ref().filter(|_| self.copy.can_copy_back())
    }

    /// The same, or why there is none.
    pub(crate) fn needs_way_back(&self, shared: &Shared) -> Result<&Pages, Error> {
        self.way_back().ok_or_else(|| {
            let message = "a reverse copy needs a way back: implement `CopyBack` and register the copy function with \
                           `.backfill_both_ways(…)`; give a `CopySql` `.copying_back(…)` and `.new_source(…)`";
            Error::new(ErrorKind::Unsupported, message).of(&shared.name)
        })
    }

    /// A transaction fenced for this migration alone.
    pub(crate) async fn begin(
        &self,
        shared: &Shared,
    ) -> Result<(Tx<'static, DB>, Position), Error> {
        self.learn_keys().await?;
        let mut tx = Tx::begin_shared(&self.pool, &[shared], Isolation::ReadCommitted).await?;
        // To its end: whoever drops it drops a statement of ours or of the copy function.
        tx.begin_work();
        let position = tx.pinned(&shared.name).unwrap_or(Position::start());
        Ok((tx, position))
    }

    /// Copies keys from old to new whose rows the transaction holds locked, and clears their dirty marks:
    /// whoever marks such a key has written its row in old before.
    pub(crate) async fn copy_locked(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        keys: &[KeyParts],
    ) -> Result<Copied, Error> {
        let copied = self.call(shared, tx, keys, Side::New).await?;
        if shared.is_dirty() {
            self.clear_dirty(shared, tx, keys, Side::New).await?;
        }
        Ok(copied)
    }

    /// Removes keys from new that old has not. Nobody can lock a row that is not there, so afterwards
    /// they are looked for again; where one was inserted meanwhile, the transaction must be rolled back.
    pub(crate) async fn remove_orphans(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        keys: &[KeyParts],
    ) -> Result<Copied, Error> {
        let copied = self.call(shared, tx, keys, Side::New).await?;
        let is_alike = self.new_pages.as_ref().is_none_or(|new| new.is_like(&self.pages));
        for key in keys {
            // Another spelling, where only old takes both for one, was there before.
            let inserted = self.find_key(shared, tx, &self.pages, key, false).await?;
            if inserted.is_some_and(|inserted| is_alike || inserted == *key) {
                return Err(comes_and_goes(shared));
            }
        }
        Ok(copied)
    }

    /// Copies a page of keys from new to old. The order is that of every write: old, the marks, new.
    pub(crate) async fn copy_back_page(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        keys: &[KeyParts],
        (after, last): (Option<&KeyParts>, &KeyParts),
    ) -> Result<Copied, Error> {
        let failed = |error| Error::database("locking rows to copy back", error).of(&shared.name);
        let missing: Vec<KeyParts> = match self.pages.has_row_locks() {
            true => {
                let held = self.hold_old(shared, tx, (after, last)).await?;
                keys.iter().filter(|key| !held.contains(*key)).cloned().collect()
            }
            false => Vec::new(),
        };
        if shared.is_dirty() {
            self.clear_dirty(shared, tx, keys, Side::Old).await?;
        }
        let copied = self.call(shared, tx, keys, Side::Old).await?;
        if let (false, Some(new)) = (missing.is_empty(), &self.new_pages) {
            // Rows that old lacked could not be locked before they were there. What is there now, inserted by
            // this copy or of a write, is locked and copied once more. So is what new has now: where it had none when
            // the copy read it, a DELETE of InnoDB has waited for the write that inserted it, and deleted it in old.
            // Nothing was copied to the rest.
            let held = self.hold_old(shared, tx, (after, last)).await?;
            let (sql, values) = new.page(after, Some(last), u32::MAX, true);
            let locked = DB::Adapter::fetch(tx.connection(), &sql, &values).await;
            let locked: HashSet<KeyParts> = locked
                .map_err(failed)?
                .into_iter()
                .map(|row| new.key_of(row))
                .collect::<Result<_, _>>()?;
            let again: Vec<KeyParts> = missing
                .into_iter()
                .filter(|key| held.contains(key) || locked.contains(key))
                .collect();
            if !again.is_empty() {
                self.call(shared, tx, &again, Side::Old).await?;
            }
        }
        Ok(copied)
    }

    /// Locks the rows of old in a range, and answers with their keys.
    async fn hold_old(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        (after, last): (Option<&KeyParts>, &KeyParts),
    ) -> Result<HashSet<KeyParts>, Error> {
        let (sql, values) = self.pages.page(after, Some(last), u32::MAX, true);
        let rows = DB::Adapter::fetch(tx.connection(), &sql, &values).await;
        let rows = rows.map_err(|error| {
            Error::database("locking rows to copy back", error).of(&shared.name)
        })?;
        rows.into_iter().map(|row| self.pages.key_of(row)).collect()
    }

    /// Copies keys to old whose rows in old the transaction holds locked.
    pub(crate) async fn copy_back_locked(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        keys: &[KeyParts],
    ) -> Result<Copied, Error> {
        if shared.is_dirty() {
            self.clear_dirty(shared, tx, keys, Side::Old).await?;
        }
        self.call(shared, tx, keys, Side::Old).await
    }

    /// Calls the copy function.
    async fn call(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        keys: &[KeyParts],
        to: Side,
    ) -> Result<Copied, Error> {
        let copied = async { self.copy.copy(tx, keys, to).await };
        // A panic in the user's function is an error like another; the transaction is rolled back.
        match AssertUnwindSafe(copied).catch_unwind().await {
            Ok(copied) => copied.map_err(|error| copy_failed(shared, error)),
            Err(_) => Err(copy_failed(shared, "the copy function panicked".into())),
        }
    }

    pub(crate) fn bucket(&self, shared: &Shared, key: &[KeyPart]) -> Result<Bucket, Error> {
        let form = bucket_form(key, &self.pages.keyed().forms);
        shared.options.rule.bucket(&AnyKey(form), shared.salt)
    }

    pub(crate) async fn copy_key_to(
        &self,
        shared: &Shared,
        encoded: &EncodedKey,
        to: Side,
    ) -> Result<Option<Copied>, Error> {
        let key = encoded.parts(self.pages.kind).map_err(|error| error.of(&shared.name))?;
        let bucket = self.bucket(shared, &key)?;
        let mut alone = false;
        for _ in 0..ATTEMPTS {
            let (mut tx, position) = match alone {
                true => self.begin_exclusive(shared).await?,
                false => self.begin(shared).await?,
            };
            if !may_copy_to(position, bucket, to) {
                tx.rollback().await?;
                return Ok(None);
            }
            // A row that is not there cannot be locked. A write that inserts it meanwhile would be overwritten, or be
            // deleted: a DELETE of InnoDB waits for that write, and then finds what it inserted.
            if to == Side::Old
                && !alone
                && self.inserts_exclusively()
                && !self.find_old(shared, &mut tx, &key, true).await?
            {
                tx.rollback().await?;
                alone = true;
                continue;
            }
            match self.copy_one(shared, &mut tx, &key, to).await? {
                One::Copied(copied) | One::Inserted(copied) => {
                    self.commit_copy(shared, tx).await?;
                    return Ok(Some(copied));
                }
                One::Stale => return tx.rollback().await.map(|()| None),
                One::Born | One::Behind => tx.rollback().await?,
            }
        }
        Err(comes_and_goes(shared))
    }

    /// Copies one key. Unless it is [`One::Copied`], or [`One::Inserted`] with the fence held alone, the
    /// transaction must be rolled back.
    pub(crate) async fn copy_one(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        key: &KeyParts,
        to: Side,
    ) -> Result<One, Error> {
        // The order is that of every write: old, the mark, new. Otherwise the two could wait for each
        // other. The mark goes before the copy: whoever marks the key at the same time has either
        // committed, and the copy sees what that write did, or comes later, and its mark stays.
        let own = self.find_key(shared, tx, &self.pages, key, true).await?;
        let was_there = own.is_some();
        // As the row itself spells it, so that new gets no other spelling.
        let keys = std::slice::from_ref(own.as_ref().unwrap_or(key));
        if shared.is_dirty() {
            self.clear_dirty(shared, tx, std::slice::from_ref(key), to).await?;
            self.clear_dirty(shared, tx, keys, to).await?;
        }
        let copied = self.call(shared, tx, keys, to).await?;
        if !was_there {
            // Nobody can lock a row that is not there. If it was inserted while the copy ran, the copy may
            // have seen one half of that write.
            match to {
                // Looked at without a lock: InnoDB may have given us a shared one, and two that want
                // more than that would wait for each other.
                Side::New if self.find_old(shared, tx, key, false).await? => return Ok(One::Born),
                // It is ours: inserted by this copy, or overwritten by it.
                Side::Old if self.find_old(shared, tx, key, true).await? => {
                    let copied = self.call(shared, tx, keys, to).await?;
                    return Ok(One::Inserted(copied));
                }
                _ => {}
            }
        }
        let may_be_stale =
            |position: Position| to == Side::New && position.stage.reads() == Side::New;
        if tx.pinned(&shared.name).is_some_and(may_be_stale)
            && (self.is_marked(shared, tx, key, Side::Old).await?
                || !ledger::is_old_whole::<DB>(tx.connection(), &shared.name).await.map_err(
                    |error| Error::database("asking whether the old side is whole", error),
                )?)
        {
            return Ok(One::Stale);
        }
        Ok(One::Copied(copied))
    }

    /// Whether the row of a key is in old; if so, it is locked where that is wanted.
    async fn find_old(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        key: &KeyParts,
        lock: bool,
    ) -> Result<bool, Error> {
        self.find(shared, tx, &self.pages, key, lock).await
    }

    /// The same in any table.
    pub(crate) async fn find(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        pages: &Pages,
        key: &KeyParts,
        lock: bool,
    ) -> Result<bool, Error> {
        Ok(self.find_key(shared, tx, pages, key, lock).await?.is_some())
    }

    /// The key of a row as the row spells it.
    async fn find_key(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        pages: &Pages,
        key: &KeyParts,
        lock: bool,
    ) -> Result<Option<KeyParts>, Error> {
        let (sql, values) = pages.row(key, lock);
        let rows = DB::Adapter::fetch(tx.connection(), &sql, &values).await;
        let rows =
            rows.map_err(|error| Error::database("locking a row to copy", error).of(&shared.name))?;
        rows.into_iter().next().map(|row| pages.key_of(row)).transpose()
    }
}

/// How often the copy of a key is tried again because its row was inserted meanwhile.
pub(crate) const ATTEMPTS: u32 = 4;

/// What became of the copy of one key.
pub(crate) enum One {
    Copied(Copied),
    /// Copied to old, which lacked the row: a delete in flight may have passed old before.
    Inserted(Copied),
    /// Its row was inserted in old meanwhile: it must be copied again, in a transaction that locks it.
    Born,
    /// The transaction, which is the caller's, does not see what was written to it: it must begin again.
    Behind,
    /// The side that it would be copied from is the stale one, and will be copied to.
    Stale,
}

#[cold]
pub(crate) fn comes_and_goes(shared: &Shared) -> Error {
    let message = "the row to copy kept coming and going; try again";
    Error::new(ErrorKind::Conflict, message).of(&shared.name)
}

/// Both sides must still get every write; and old must be the side that does not answer, for new to be
/// copied over it.
pub(crate) fn may_copy_to(position: Position, bucket: Bucket, to: Side) -> bool {
    let stage = stage_of(position, bucket);
    may_copy_at(stage) && (to == Side::New || stage.reads() == Side::New)
}

/// What went wrong in the user's function: its own fault, which the row has to pay for, or the
/// database's, which may pass.
fn copy_failed(shared: &Shared, cause: BoxError) -> Error {
    let cause = match cause.downcast::<KeyOfAnotherType>() {
        Ok(other) => return other.0.of(&shared.name),
        Err(cause) => cause,
    };
    let database = match cause.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => true,
        Some(error) => is_serialization(error),
        None => false,
    };
    match (database, cause.downcast::<sqlx::Error>()) {
        (true, Ok(error)) => Error::database("running the copy function", *error),
        (_, Ok(error)) => Error::copying(error),
        (_, Err(cause)) => Error::copying(cause),
    }
    .of(&shared.name)
}

pub(crate) fn dialect<DB: Backend>() -> &'static crate::database::Dialect {
    const { &DB::Adapter::DIALECT }
}
