//! Two stores in the place of a copy function: what jobs, operators and gates ask of one.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::backfill::options::BackfillOptions;
use crate::backfill::walk::{CopyReport, Way};
use crate::control::BackfillProgress;
use crate::converging::options::Converging;
use crate::converging::repair::{Copying, settle};
use crate::converging::stores::{Limited, TwoStores};
use crate::converging::two::Two;
use crate::converging::{backfill, verify};
use crate::copier::port::Copier;
use crate::copy::Copied;
use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, KeyKind, KeyPart};
use crate::preflight::finding::Preflight;
use crate::preflight::form::Spelling;
use crate::stages::hazard::HazardScan;
use crate::stages::route::{Operation, route};
use crate::stages::stage::Side;
use crate::stages::verification::VerifyReport;
use crate::state::Shared;
use crate::store::converging::tables::SqlMarks;
use crate::verify::repair::RepairReport;
use crate::verify::run::VerifyOptions;

/// The two stores as a migration holds them.
pub(crate) struct TwoStoresCopier(Arc<Two>);

impl TwoStoresCopier {
    /// With the control tables of this pool.
    pub(crate) fn new<DB: Backend, S: TwoStores>(
        converging: Converging<S>,
        pool: sqlx::Pool<DB>,
        statement_limit: Duration,
    ) -> Self {
        let Converging { stores, options } = converging;
        let stores = Limited { stores, limit: options.copy_limit };
        let marks = SqlMarks::new(pool, statement_limit);
        Self(Arc::new(Two::new(options, Box::new(stores), Box::new(marks))))
    }
}

fn unsupported<'a, T: Send + 'a>(shared: &str, what: &str) -> BoxFuture<'a, Result<T, Error>> {
    let message = format!("{what} is not there for two stores that share no transaction");
    let error = Error::new(ErrorKind::Unsupported, message).of(shared);
    Box::pin(std::future::ready(Err(error)))
}

fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T, Error>> {
    Box::pin(std::future::ready(Ok(value)))
}

impl Copier for TwoStoresCopier {
    fn kind(&self) -> KeyKind {
        self.0.stores.kind()
    }

    fn one_table(&self) -> Option<bool> {
        Some(false)
    }

    fn needed_columns(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        done(Vec::new())
    }

    fn can_copy_to(&self, _: Side) -> bool {
        true
    }

    fn sees_new(&self) -> bool {
        true
    }

    fn defers(&self, _: Side) -> bool {
        false
    }

    fn can_run_back(&self) -> bool {
        true
    }

    fn copy_key<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
        to: Side,
    ) -> BoxFuture<'a, Result<Option<Copied>, Error>> {
        Box::pin(async move {
            let of = |error: Error| error.of(&shared.name);
            let bucket = self.0.stores.bucket(shared, key).map_err(of)?;
            if route(shared.position(), Operation::Write, bucket).mirror != Some(to) {
                return Ok(None);
            }
            self.0.marks.unsettle(shared, key).await?;
            shared.mark_dirty();
            match settle(shared, &self.0, key).await? {
                Copying::Settled => Ok(Some(Copied { migrated: 1, skipped: 0 })),
                Copying::Later => Ok(None),
                Copying::Failed(error) => Err(error.of(&shared.name)),
            }
        })
    }

    fn backfill<'a>(
        &'a self,
        shared: &'a Shared,
        options: BackfillOptions,
    ) -> BoxFuture<'a, Result<BackfillProgress, Error>> {
        Box::pin(async move { backfill::run(shared, &self.0, &options).await })
    }

    fn walk<'a>(&'a self, shared: &'a Shared, _: Way) -> BoxFuture<'a, Result<CopyReport, Error>> {
        unsupported(&shared.name, "a dry run, and the copy of a range of keys,")
    }

    fn triggers<'a>(
        &'a self,
        migration: &'a str,
        _: bool,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        unsupported(migration, "a trigger on the old table")
    }

    fn identity(&self, key: &[KeyPart]) -> Vec<KeyPart> {
        key.to_vec()
    }

    fn bucket_form(&self, key: &[KeyPart]) -> Vec<KeyPart> {
        key.to_vec()
    }

    fn spelling(&self) -> Spelling {
        Spelling::Exact
    }

    fn find_hazards<'a>(&'a self, _: &'a Shared) -> BoxFuture<'a, Result<(), Error>> {
        done(())
    }

    fn advance_sequences<'a>(
        &'a self,
        shared: &'a Shared,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        unsupported(&shared.name, "advancing sequences")
    }

    fn preflight<'a>(
        &'a self,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(Preflight, Option<HazardScan>), Error>> {
        done((Preflight::new(Vec::new(), true), None))
    }

    fn verify<'a>(
        &'a self,
        shared: &'a Shared,
        options: VerifyOptions,
    ) -> BoxFuture<'a, Result<VerifyReport, Error>> {
        Box::pin(async move { verify::verify(shared, &self.0, &options).await })
    }

    fn repair_differences<'a>(
        &'a self,
        shared: &'a Shared,
        options: VerifyOptions,
        keep: bool,
    ) -> BoxFuture<'a, Result<RepairReport, Error>> {
        Box::pin(async move { verify::repair_differences(shared, &self.0, &options, keep).await })
    }

    /// No transaction of a caller spans both stores; this is how converging writes find them.
    fn in_transaction(&self) -> &(dyn Any + Send + Sync) {
        &self.0
    }
}
