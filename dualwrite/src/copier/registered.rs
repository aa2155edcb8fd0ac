//! A copy function as a migration holds it, with its types erased; and the way back to them inside a
//! caller's transaction.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::backfill::options::BackfillOptions;
use crate::backfill::walk::{CopyReport, Way};
use crate::control::BackfillProgress;
use crate::copier::joined::Joined;
use crate::copier::port::Copier;
use crate::copy::run::{ATTEMPTS, One, SqlCopier, comes_and_goes};
use crate::copy::{Copied, CopyKeys};
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, KeyKind, KeyPart};
use crate::pace::replicas::Replicas;
use crate::preflight::finding::Preflight;
use crate::preflight::form::{Spelling, bucket_form, identity};
use crate::stages::hazard::HazardScan;
use crate::stages::stage::Side;
use crate::stages::verification::VerifyReport;
use crate::state::{Shared, unknown_migration};
use crate::transaction::Tx;
use crate::verify::mapped::Suspect;
use crate::verify::repair::RepairReport;
use crate::verify::run::VerifyOptions;

/// Copies one key inside a caller's transaction, under a savepoint.
pub(crate) async fn copy_one_in<DB: Backend>(
    shared: &Joined,
    tx: &mut Tx<'_, DB>,
    key: &EncodedKey,
) -> Result<Option<Copied>, Error> {
    // The copier's database type is erased; the boxed hook below puts it back.
    let copier = shared.copier()?;
    let Some(typed) = copier.in_transaction().downcast_ref::<InTransaction<DB>>() else {
        let message = "the copy function is for another database than this transaction";
        return Err(Error::new(ErrorKind::Unsupported, message).of(&shared.name));
    };
    let mut behind = false;
    for _ in 0..ATTEMPTS {
        let mut nested = tx.begin().await?;
        match (typed.0)(shared, &mut nested, key).await? {
            One::Copied(copied) | One::Inserted(copied) => {
                if copier.defers(Side::New) {
                    let key = std::slice::from_ref(key);
                    (typed.2)(shared, &mut nested, key, Side::New).await?;
                }
                nested.commit().await?;
                return Ok(Some(copied));
            }
            One::Stale => return nested.rollback().await.map(|()| None),
            // Not necessarily for good: below REPEATABLE READ it sees more at the next look.
            One::Behind => {
                behind = true;
                nested.rollback().await?;
            }
            One::Born => nested.rollback().await?,
        }
    }
    if behind {
        let message = "the key was written after this transaction began to read: begin again";
        return Err(Error::new(ErrorKind::Serialization, message).of(&shared.name));
    }
    Err(comes_and_goes(shared))
}

/// A copy function for transactions of one database.
pub(crate) struct InTransaction<DB: Backend>(
    pub(crate) Box<CopyIn<DB>>,
    pub(crate) Box<DifferIn<DB>>,
    pub(crate) Box<JudgeIn<DB>>,
);

/// Judges constraints of one side that the database would judge at COMMIT.
pub(crate) type JudgeIn<DB> = dyn for<'a, 'c> Fn(
        &'a Shared,
        &'a mut Tx<'c, DB>,
        &'a [EncodedKey],
        Side,
    ) -> BoxFuture<'a, Result<(), Error>>
    + Send
    + Sync;

/// Judges what a mirror write has done to its keys on its side, under the savepoint that it was made under.
pub(crate) async fn judge_mirror<DB: Backend>(
    shared: &Joined,
    tx: &mut Tx<'_, DB>,
    keys: &[EncodedKey],
    side: Side,
) -> Result<(), Error> {
    let Some(copier) = shared.copier.as_ref().filter(|copier| copier.defers(side)) else {
        return Ok(());
    };
    let Some(typed) = copier.in_transaction().downcast_ref::<InTransaction<DB>>() else {
        return Ok(());
    };
    (typed.2)(shared, tx, keys, side).await
}

/// How the two sides of a key differ, if they do, and in which fields where that is known.
pub(crate) type DifferIn<DB> = dyn for<'a, 'c> Fn(
        &'a Shared,
        &'a mut Tx<'c, DB>,
        &'a EncodedKey,
    ) -> BoxFuture<'a, Result<Option<Suspect>, Error>>
    + Send
    + Sync;

pub(crate) type CopyIn<DB> = dyn for<'a, 'c> Fn(
        &'a Shared,
        &'a mut Tx<'c, DB>,
        &'a EncodedKey,
    ) -> BoxFuture<'a, Result<One, Error>>
    + Send
    + Sync;

/// As [`DifferIn`].
async fn differing_in<DB: Backend>(
    copier: &SqlCopier<DB>,
    shared: &Shared,
    tx: &mut Tx<'_, DB>,
    key: &EncodedKey,
) -> Result<Option<Suspect>, Error> {
    if copier.mapping.as_ref().is_some_and(|mapping| mapping.elsewhere.is_some()) {
        let message = "the new side is on another server, and cannot be read in this transaction";
        return Err(Error::new(ErrorKind::Unsupported, message).of(&shared.name));
    }
    let key = key.parts(copier.pages.kind).map_err(|error| error.of(&shared.name))?;
    let learned = crate::verify::equality::learn_in(copier, tx.connection()).await;
    learned.map_err(|error| error.of(&shared.name))?;
    let plan = crate::verify::plan::Plan::new(copier, shared)?;
    let (found, _) = crate::verify::confirm::differing_locked(&plan, tx, &[key]).await?;
    Ok(found.into_iter().next())
}

/// A copy function as a migration holds it.
pub(crate) struct Registered<DB: Backend> {
    copier: Arc<SqlCopier<DB>>,
    in_transaction: InTransaction<DB>,
}

impl<DB: Backend> Registered<DB> {
    pub(crate) fn new<C: CopyKeys<Database = DB>>(
        copy: C,
        pool: sqlx::Pool<DB>,
        replicas: Replicas<DB>,
    ) -> Result<Self, Error> {
        let copier = Arc::new(SqlCopier::new(copy, pool, replicas)?);
        let inside = Arc::clone(&copier);
        let copy_in: Box<CopyIn<DB>> = Box::new(move |shared, tx, key| {
            let copier = Arc::clone(&inside);
            Box::pin(async move {
                let key = key.parts(copier.pages.kind).map_err(|error| error.of(&shared.name))?;
                copier.copy_one_inside(shared, tx, &key).await
            })
        });
        let comparing = Arc::clone(&copier);
        let differ_in: Box<DifferIn<DB>> = Box::new(move |shared, tx, key| {
            let copier = Arc::clone(&comparing);
            Box::pin(async move { differing_in(&copier, shared, tx, key).await })
        });
        let judging = Arc::clone(&copier);
        let judge_in: Box<JudgeIn<DB>> = Box::new(move |shared, tx, keys, side| {
            let copier = Arc::clone(&judging);
            Box::pin(async move {
                let decoded = keys.iter().map(|key| key.parts(copier.pages.kind));
                let keys = decoded.collect::<Result<Vec<_>, _>>();
                let keys = keys.map_err(|error| error.of(&shared.name))?;
                copier.judge(shared, tx, &keys, side).await
            })
        });
        let in_transaction = InTransaction(copy_in, differ_in, judge_in);
        Ok(Self { copier, in_transaction })
    }
}

impl<DB: Backend> Copier for Registered<DB> {
    fn kind(&self) -> KeyKind {
        self.copier.pages.kind
    }

    fn one_table(&self) -> Option<bool> {
        let copy = &self.copier.copy;
        copy.new_source().map(|new| new.is_same_table(&copy.source()))
    }

    fn needed_columns(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        let old = match (self.one_table(), &self.copier.mapping) {
            (Some(true), Some(mapping)) => mapping.old_columns(),
            _ => Vec::new(),
        };
        Box::pin(async move {
            if old.is_empty() {
                return Ok(old);
            }
            let failed = |error| Error::database("reading which columns an INSERT needs", error);
            let mut conn = self.copier.pool.acquire().await.map_err(failed)?;
            let source = self.copier.copy.source();
            let (sql, values) = DB::Adapter::needed_columns(source.path());
            let rows = DB::Adapter::fetch(&mut conn, &sql, &values).await;
            let mut found = Vec::new();
            for row in rows.map_err(failed)? {
                found.push(row.text(0).map_err(failed)?.to_owned());
            }
            Ok(old.into_iter().filter(|column| found.contains(column)).collect())
        })
    }

    fn can_copy_to(&self, side: Side) -> bool {
        side == Side::New || self.copier.copy.can_copy_back()
    }

    fn sees_new(&self) -> bool {
        self.copier.new_pages.is_some()
    }

    fn defers(&self, side: Side) -> bool {
        self.copier.defers(side)
    }

    fn can_run_back(&self) -> bool {
        self.copier.way_back().is_some()
    }

    fn copy_key<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
        to: Side,
    ) -> BoxFuture<'a, Result<Option<Copied>, Error>> {
        Box::pin(self.copier.copy_key_to(shared, key, to))
    }

    fn backfill<'a>(
        &'a self,
        shared: &'a Shared,
        options: BackfillOptions,
    ) -> BoxFuture<'a, Result<BackfillProgress, Error>> {
        Box::pin(crate::backfill::run::run(&self.copier, shared, options))
    }

    fn walk<'a>(
        &'a self,
        shared: &'a Shared,
        way: Way,
    ) -> BoxFuture<'a, Result<CopyReport, Error>> {
        Box::pin(crate::backfill::walk::walk(&self.copier, shared, way))
    }

    fn triggers<'a>(
        &'a self,
        migration: &'a str,
        create: bool,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        Box::pin(async move {
            let failed = |error| Error::database("looking at the old table", error).of(migration);
            let mut watched = self.copier.pages.watched(migration, self.copier.pages.kind);
            // The mark of fenced transactions comes before the trigger, and goes after it.
            let now = DB::Adapter::DIALECT.now;
            // MySQL assigns from left to right.
            let flag = match create {
                true => format!(
                    "UPDATE dualwrite_migration SET \
                     watched_at = CASE WHEN watched = 1 THEN watched_at ELSE {now} END, watched = 1 \
                     WHERE name = '{migration}'"
                ),
                false => format!(
                    "UPDATE dualwrite_migration SET watched_at = NULL, watched = 0 \
                     WHERE name = '{migration}'"
                ),
            };
            let mut conn = self.copier.pool.acquire().await.map_err(failed)?;
            let sql = "SELECT fence FROM dualwrite_migration WHERE name = ?";
            let values = [migration.into()];
            let rows = DB::Adapter::fetch(&mut conn, sql, &values).await;
            let rows = rows.map_err(failed)?;
            let row = rows.first().ok_or_else(|| unknown_migration(migration))?;
            watched.fence = row.unsigned(0).map_err(failed)?;
            let statements = DB::Adapter::triggers(&mut conn, &watched, create).await;
            let mut statements = statements.map_err(failed)?;
            statements.insert(if create { 0 } else { statements.len() }, flag);
            Ok(statements)
        })
    }

    fn identity(&self, key: &[KeyPart]) -> Vec<KeyPart> {
        identity(key, &self.copier.pages.keyed().forms)
    }

    fn bucket_form(&self, key: &[KeyPart]) -> Vec<KeyPart> {
        bucket_form(key, &self.copier.pages.keyed().forms)
    }

    fn spelling(&self) -> Spelling {
        self.copier.spelling()
    }

    fn find_hazards<'a>(&'a self, shared: &'a Shared) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.copier.find_hazards(shared))
    }

    fn advance_sequences<'a>(
        &'a self,
        shared: &'a Shared,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        Box::pin(self.copier.advance_sequences(shared))
    }

    fn preflight<'a>(
        &'a self,
        migration: &'a str,
    ) -> BoxFuture<'a, Result<(Preflight, Option<HazardScan>), Error>> {
        Box::pin(super::preflight::run_preflight(&self.copier, migration))
    }

    fn verify<'a>(
        &'a self,
        shared: &'a Shared,
        options: VerifyOptions,
    ) -> BoxFuture<'a, Result<VerifyReport, Error>> {
        Box::pin(crate::verify::run::verify(&self.copier, shared, options))
    }

    fn repair_differences<'a>(
        &'a self,
        shared: &'a Shared,
        options: VerifyOptions,
        keep: bool,
    ) -> BoxFuture<'a, Result<RepairReport, Error>> {
        Box::pin(crate::verify::repair::repair(&self.copier, shared, options, keep))
    }

    fn in_transaction(&self) -> &(dyn std::any::Any + Send + Sync) {
        &self.in_transaction
    }
}
