//! A walk over keys beside the backfill: a dry run that writes nothing, in either direction, or a range that
//! is copied to new now. It claims nothing and stores no progress.

use serde::Serialize;

use super::decide::check_stage;
use crate::control::copied::Copied;
use crate::copy::run::{One, SqlCopier};
use crate::copy::source::{KeyParts, Pages};
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::store::ledger::Phase;
use crate::transaction::Tx;

/// Keys in a transaction.
const PAGE: u32 = 500;
/// How many keys that failed a report names.
pub const FAILURES_NAMED_MAX: usize = 100;

/// What a walk over keys did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CopyReport {
    /// Keys whose row was, or would be, written or removed, in new or, of a reverse copy, in old.
    pub migrated: u64,
    /// Keys that need nothing.
    pub skipped: u64,
    /// Keys that cannot be copied.
    pub failed: u64,
    /// The first [`FAILURES_NAMED_MAX`] of them, as JSON, with what the copy function said.
    pub failures: Vec<(String, String)>,
}

/// Where a walk goes, and whether what it does stays.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// Over all keys, to this side; nothing stays.
    Rehearsal(Side),
    /// To new, from one key to another.
    Range(KeyParts, KeyParts),
}

pub(crate) async fn walk<DB: Backend>(
    copier: &SqlCopier<DB>,
    shared: &Shared,
    way: Way,
) -> Result<CopyReport, Error> {
    let walker = |phase, pages: &Pages, keep, last| Walker {
        copier,
        shared,
        phase,
        pages: pages.clone(),
        keep,
        last,
        walk: CopyReport::default(),
    };
    let (to_new, old) = (Phase::All(Side::New), &copier.pages);
    match way {
        Way::Rehearsal(Side::New) => walker(to_new, old, false, None).run(None).await,
        Way::Range(first, last) => walker(to_new, old, true, Some(last)).run(Some(first)).await,
        Way::Rehearsal(Side::Old) => {
            let new = copier.needs_way_back(shared)?;
            let mut before = CopyReport::default();
            if let Some(orphans) = old.missing_in(new) {
                before = walker(Phase::Orphans(Side::Old), &orphans, false, None).run(None).await?;
            }
            Ok(before.and(walker(Phase::Back, new, false, None).run(None).await?))
        }
    }
}

impl CopyReport {
    fn and(mut self, more: Self) -> Self {
        self.migrated += more.migrated;
        self.skipped += more.skipped;
        self.failed += more.failed;
        let room = FAILURES_NAMED_MAX - self.failures.len();
        self.failures.extend(more.failures.into_iter().take(room));
        self
    }

    fn add(&mut self, copied: Copied) {
        self.migrated += copied.migrated;
        self.skipped += copied.skipped;
    }

    fn add_failure(&mut self, key: &KeyParts, error: &Error) -> Result<(), Error> {
        self.failed += 1;
        if self.failures.len() < FAILURES_NAMED_MAX {
            self.failures.push((EncodedKey::from_parts(key)?.0, error.cause()));
        }
        Ok(())
    }
}

/// A walk on its way.
struct Walker<'a, DB: Backend> {
    copier: &'a SqlCopier<DB>,
    shared: &'a Shared,
    /// `All(New)`, `Orphans(Old)` or `Back`.
    phase: Phase,
    /// The keys that it runs over.
    pages: Pages,
    keep: bool,
    last: Option<KeyParts>,
    walk: CopyReport,
}

/// Which keys an attempt is for.
#[derive(Clone, Copy)]
enum Step<'k> {
    After(Option<&'k KeyParts>),
    One(&'k KeyParts),
}

impl<DB: Backend> Walker<'_, DB> {
    async fn run(mut self, first: Option<KeyParts>) -> Result<CopyReport, Error> {
        // The first key belongs to the range, and pages begin after a key: it is a page of its own.
        if let Some(first) = &first {
            self.one(first).await?;
        }
        let mut after = first;
        loop {
            match self.page(after.as_ref()).await?.pop() {
                Some(last) => after = Some(last),
                None => return Ok(self.walk),
            }
        }
    }

    /// Copies the next page; where that fails, its keys one by one. Answers with the keys.
    async fn page(&mut self, after: Option<&KeyParts>) -> Result<Vec<KeyParts>, Error> {
        let (keys, done) = self.attempt(Step::After(after)).await?;
        match done {
            Ok(copied) => self.walk.add(copied),
            Err(_) => {
                for key in &keys {
                    self.one(key).await?;
                }
            }
        }
        Ok(keys)
    }

    async fn one(&mut self, key: &KeyParts) -> Result<(), Error> {
        match self.attempt(Step::One(key)).await?.1 {
            Ok(copied) => self.walk.add(copied),
            Err(error) => self.walk.add_failure(key, &error)?,
        }
        Ok(())
    }

    /// Copies keys in a transaction that is kept or not; the inner error is the copy function's.
    async fn attempt(
        &self,
        step: Step<'_>,
    ) -> Result<(Vec<KeyParts>, Result<Copied, Error>), Error> {
        let shared = self.shared;
        let (mut tx, position) = self.copier.begin(shared).await?;
        if self.keep {
            check_stage(position, Side::New, &shared.name)?;
            // Where new answers, a key may be stale in old alone; `copy` looks at that, for each key.
            if position.reaches().reads() == Side::New {
                let message = format!(
                    "a range is not copied at {position}, where the new side answers already; copy single keys"
                );
                return Err(Error::new(ErrorKind::Blocked, message).of(&shared.name));
            }
        }
        let keys = self.keys(&mut tx, step).await?;
        if keys.is_empty() {
            tx.rollback().await?;
            return Ok((keys, Ok(Copied::default())));
        }
        let copied = match self.copy(&mut tx, step, &keys).await {
            Ok(copied) => self.judge(&mut tx, &keys).await.map(|()| copied),
            Err(error) => Err(error),
        };
        let copied = match copied {
            Ok(copied) if self.keep => {
                let committed = tx.commit().await.map_err(Error::blaming_the_copy);
                committed.map(|()| copied)
            }
            Err(error) if error.kind() != ErrorKind::CopyFailed => return Err(error),
            copied => {
                tx.rollback().await?;
                copied
            }
        };
        match copied {
            Err(error) if error.kind() != ErrorKind::CopyFailed => Err(error),
            copied => Ok((keys, copied)),
        }
    }

    /// Judges what would be judged at a commit, which a dry run does not come to.
    async fn judge(&self, tx: &mut Tx<'_, DB>, keys: &[KeyParts]) -> Result<(), Error> {
        let asked = self.copier.learn(tx.connection()).await;
        let failed = |error| Error::database("asking for constraints", error).of(&self.shared.name);
        asked.map_err(failed)?;
        self.copier.judge_all(self.shared, tx).await?;
        let side = self.phase.to();
        let by_key = DB::Adapter::JUDGE_ALL.is_none() && !self.keep;
        if by_key && self.copier.defers(side) {
            for key in keys {
                self.copier.judge(self.shared, tx, std::slice::from_ref(key), side).await?;
            }
        }
        Ok(())
    }

    /// The keys of a step. Only rows of old are locked before they are copied: that is the order of every
    /// write.
    async fn keys(&self, tx: &mut Tx<'_, DB>, step: Step<'_>) -> Result<Vec<KeyParts>, Error> {
        let lock = self.phase != Phase::Back;
        let (sql, values) = match step {
            Step::After(after) => self.pages.page(after, self.last.as_ref(), PAGE, lock),
            Step::One(key) if lock => self.copier.pages.row(key, lock),
            Step::One(key) => return Ok(vec![key.clone()]),
        };
        let rows = DB::Adapter::fetch(tx.connection(), &sql, &values).await;
        let failed = |error| Error::database("reading keys", error).of(&self.shared.name);
        let rows = rows.map_err(failed)?;
        rows.into_iter().map(|row| self.pages.key_of(row)).collect()
    }

    async fn copy(
        &self,
        tx: &mut Tx<'_, DB>,
        step: Step<'_>,
        keys: &[KeyParts],
    ) -> Result<Copied, Error> {
        let (copier, shared) = (self.copier, self.shared);
        match (self.phase, step) {
            (Phase::Back, Step::After(after)) => {
                let between = (after, &keys[keys.len() - 1]);
                copier.copy_back_page(shared, tx, keys, between).await
            }
            // What this comes to is rolled back.
            (Phase::Back, Step::One(_)) => {
                match copier.copy_one(shared, tx, &keys[0], Side::Old).await? {
                    One::Copied(copied) | One::Inserted(copied) => Ok(copied),
                    One::Born | One::Behind | One::Stale => Ok(Copied::default()),
                }
            }
            (Phase::Orphans(Side::Old), _) => copier.copy_back_locked(shared, tx, keys).await,
            _ => copier.copy_locked(shared, tx, keys).await,
        }
    }
}
