//! What can be done with a copy function whose types nobody names.

use futures_util::future::BoxFuture;

use crate::backfill::options::BackfillOptions;
use crate::backfill::walk::{CopyReport, Way};
use crate::control::BackfillProgress;
use crate::control::copied::Copied;
use crate::error::Error;
use crate::key::{EncodedKey, KeyKind, KeyPart};
use crate::preflight::finding::Preflight;
use crate::preflight::form::Spelling;
use crate::stages::hazard::HazardScan;
use crate::stages::stage::Side;
use crate::stages::verification::VerifyReport;
use crate::state::Shared;
use crate::verify::repair::RepairReport;
use crate::verify::run::VerifyOptions;

/// A copy function without its types.
pub(crate) trait Copier: Send + Sync {
    fn kind(&self) -> KeyKind;

    /// Whether old and new are columns of the same rows; `None` where that is not known.
    fn one_table(&self) -> Option<bool>;

    /// Old columns of the one table that an `INSERT` cannot leave out, as far as the mapping names columns.
    fn needed_columns(&self) -> BoxFuture<'_, Result<Vec<String>, Error>>;

    /// Whether a key can be copied to this side.
    fn can_copy_to(&self, side: Side) -> bool;

    /// Whether the keys of new can be listed.
    fn sees_new(&self) -> bool;

    /// Whether a mirror write to this side has to be judged before its savepoint is left.
    fn defers(&self, side: Side) -> bool;

    /// Whether everything can be copied back, keys that old has never seen included.
    fn can_run_back(&self) -> bool;

    /// Copies one key in a transaction of its own and clears its dirty mark. `None` where the present
    /// stage forbids it.
    fn copy_key<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
        to: Side,
    ) -> BoxFuture<'a, Result<Option<Copied>, Error>>;

    /// Runs a worker of the backfill until the whole range is done.
    fn backfill<'a>(
        &'a self,
        shared: &'a Shared,
        options: BackfillOptions,
    ) -> BoxFuture<'a, Result<BackfillProgress, Error>>;

    /// Copies a range of keys, or only tries to.
    fn walk<'a>(&'a self, shared: &'a Shared, way: Way)
    -> BoxFuture<'a, Result<CopyReport, Error>>;

    /// The statements that make, or remove, the trigger on old.
    fn triggers<'a>(
        &'a self,
        migration: &'a str,
        create: bool,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>>;

    /// A key as the control tables know it, however it is spelled.
    fn identity(&self, key: &[KeyPart]) -> Vec<KeyPart>;

    /// The same for its bucket.
    fn bucket_form(&self, key: &[KeyPart]) -> Vec<KeyPart>;

    /// Which keys are equal, as far as the catalogue was asked.
    fn spelling(&self) -> Spelling;

    /// Looks at the catalogue, and keeps what was found for the gates.
    fn find_hazards<'a>(&'a self, shared: &'a Shared) -> BoxFuture<'a, Result<(), Error>>;

    /// Sets the sequences of new beyond what is taken. Answers with the statements.
    fn advance_sequences<'a>(
        &'a self,
        shared: &'a Shared,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>>;

    /// Reads what the catalogue says of the tables; of writers and sequences where both tables are there.
    fn preflight<'a>(
        &'a self,
        migration: &'a str,
    ) -> BoxFuture<'a, Result<(Preflight, Option<HazardScan>), Error>>;

    /// Compares keys.
    fn verify<'a>(
        &'a self,
        shared: &'a Shared,
        options: VerifyOptions,
    ) -> BoxFuture<'a, Result<VerifyReport, Error>>;

    /// Copies again what differs, or only tries to.
    fn repair_differences<'a>(
        &'a self,
        shared: &'a Shared,
        options: VerifyOptions,
        keep: bool,
    ) -> BoxFuture<'a, Result<RepairReport, Error>>;

    /// The same for transactions that a caller has open: an `InTransaction` of the copy function's
    /// database.
    fn in_transaction(&self) -> &(dyn std::any::Any + Send + Sync);
}
