//! The copy function: the one piece of code that a user writes to describe how data gets from old to
//! new. It serves the backfill, lazy migration on read, repair and the retry of dead letters.

pub(crate) mod bound;
pub(crate) mod columns;
pub(crate) mod conversion;
pub(crate) mod convert;
pub(crate) mod dual;
pub(crate) mod erased;
pub(crate) mod exclusive;
mod expanding;
pub(crate) mod hazards;
pub(crate) mod inside;
pub(crate) mod judging;
pub(crate) mod key_source;
pub(crate) mod keyed;
pub(crate) mod learn;
pub(crate) mod mapping;
pub(crate) mod marks;
pub(crate) mod one_row;
pub(crate) mod reading;
pub(crate) mod run;
pub(crate) mod source;
pub(crate) mod statements;
pub(crate) mod table;
pub(crate) mod template;

use futures_util::future::BoxFuture;

use crate::backfill::options::BackfillOptions;
use crate::backfill::walk::{CopyReport, Way};
use crate::control::BackfillProgress;
use crate::database::Backend;
use crate::error::{BoxError, Error};
use crate::key::{EncodedKey, KeyKind, KeyPart, OwnedKey};
use crate::preflight::finding::Preflight;
use crate::preflight::form::Spelling;
use crate::stages::hazard::HazardScan;
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::transaction::Tx;
use crate::verify::decide::VerifyReport;
use crate::verify::repair::RepairReport;
use crate::verify::run::VerifyOptions;

pub use crate::database::Identifier;
pub use columns::CopyColumns;
pub use convert::ConvertColumns;
pub use key_source::KeySource;
pub use mapping::{MAPPED_FIELDS_MAX, Mapping};
pub use statements::CopySql;
pub use table::DualTable;

/// What a copy did, in keys.
///
/// ```
/// let copied = dualwrite::Copied { migrated: 2, skipped: 1 };
/// assert_eq!(copied.migrated + copied.skipped, 3);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Keys whose row in new was written or removed.
    pub migrated: u64,
    /// Keys that needed nothing.
    pub skipped: u64,
}

/// The copy function of a migration.
///
/// The rules, which make it safe beside live writes:
/// - The library calls [`copy`](Self::copy) with the rows of `keys` locked in old, so they stand still
///   until the transaction ends.
/// - It *overwrites*: afterwards new says what old says, whatever new said before.
/// - A key that is not in old (any more) is removed from new. Do it in one statement that looks at old
///   itself, `DELETE FROM new WHERE id = … AND NOT EXISTS (SELECT … FROM old …)`: a row that was
///   just inserted cannot be locked by anyone before it is there.
/// - On MySQL and MariaDB that `DELETE` also locks what it reads, old after new, and so it or a writer now and
///   then loses a deadlock, which may be tried again. At `READ COMMITTED`, where the library's own
///   transactions are, there is a way without: read the keys of old by a plain `SELECT`, and delete from
///   new those that it did not find; the library looks again for rows inserted meanwhile. (Not so in
///   [`copy_back`](Self::copy_back), where the one statement locks in the right order, nor for lazy reads in
///   transactions of a higher level, whose plain `SELECT` sees an old snapshot.)
/// - It may be called for the same key again and again.
/// - [`copy_back`](Self::copy_back) updates the row that old has, or upserts it, instead of deleting it and
///   inserting it again: on PostgreSQL a delete that waits for that row would find nothing.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{BoxError, Copied, CopyKeys, KeySource, Tx};
///
/// struct CopyEmail;
///
/// impl CopyKeys for CopyEmail {
///     type Database = sqlx::Sqlite;
///     type Key = i64;
///
///     fn source(&self) -> KeySource {
///         KeySource::table("customer").column("id")
///     }
///
///     async fn copy(&self, tx: &mut Tx<'_, sqlx::Sqlite>, keys: &[i64]) -> Result<Copied, BoxError> {
///         let mut copied = Copied::default();
///         for key in keys {
///             let done = sqlx::query(
///                 "UPDATE customer SET email_address = email WHERE id = ? AND email_address IS NOT email",
///             )
///             .bind(key)
///             .execute(&mut **tx)
///             .await?;
///             copied.migrated += done.rows_affected();
///             copied.skipped += 1 - done.rows_affected();
///         }
///         Ok(copied)
///     }
/// }
/// # }
/// ```
pub trait CopyKeys: Send + Sync + 'static {
    /// The database that holds old, new and the control tables.
    type Database: Backend;
    /// The key of a record, the same in old and new.
    type Key: OwnedKey;

    /// Where the keys of old are.
    fn source(&self) -> KeySource;

    /// Where the keys of new are, so that a verification finds rows that only new has, and a backfill
    /// removes them. Where new is in other columns of the same rows, it is [`source`](Self::source). A
    /// migration that was back at `Off` cannot go live again without it, and lazy reads on MySQL and MariaDB in
    /// transactions at `REPEATABLE READ` need it to tell that the row was written since. One row a key: where new
    /// keeps several, say versions, name a view of those that count.
    fn new_source(&self) -> Option<KeySource> {
        None
    }

    /// Copies these keys from old to new.
    ///
    /// # Errors
    /// Any; the transaction is rolled back, and the keys are tried again one by one.
    fn copy(
        &self,
        tx: &mut Tx<'_, Self::Database>,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<Copied, BoxError>> + Send;

    /// Copies these keys from new to old. Where this is given, a failed write to old after going live
    /// need not fail the caller: the key is marked dirty and copied back.
    ///
    /// # Errors
    /// Any; without an implementation, always.
    fn copy_back(
        &self,
        _tx: &mut Tx<'_, Self::Database>,
        _keys: &[Self::Key],
    ) -> impl Future<Output = Result<Copied, BoxError>> + Send {
        async { Err("this copy function has no `copy_back`".into()) }
    }

    /// Whether [`copy_back`](Self::copy_back) is implemented.
    fn can_copy_back(&self) -> bool {
        false
    }

    /// What a verification compares, so that the database does it, or your types do, chunk by chunk and
    /// without locks; what differs is then looked at again under the lock of a copy. Needs
    /// [`new_source`](Self::new_source), unless new is [on another server](Mapping::new_on). Asked once, at
    /// registration.
    fn mapping(&self) -> Option<Mapping<Self::Database>> {
        None
    }

    /// Finds those of these keys that old and new disagree on: missing in new, missing in old, or
    /// different. A verification without a [`mapping`](Self::mapping) asks it for pages of keys without
    /// locks, and about what it finds again, with the rows locked as for [`copy`](Self::copy).
    ///
    /// # Errors
    /// Any; without an implementation, always.
    fn differing(
        &self,
        _tx: &mut Tx<'_, Self::Database>,
        _keys: &[Self::Key],
    ) -> impl Future<Output = Result<Vec<Self::Key>, BoxError>> + Send {
        async { Err("this copy function has no `differing`, which a verification needs".into()) }
    }

    /// Statements that copy a whole range of keys, as [`CopySql`] describes them: a backfill then needs no
    /// list of keys. They must do what [`copy`](Self::copy) does.
    fn ranges(&self) -> Option<Vec<&'static str>> {
        None
    }

    /// Looks at what can be told before anything runs; asked when it is registered.
    ///
    /// # Errors
    /// `InvalidInput` or `WrongKey`, naming what is wrong.
    fn check(&self) -> Result<(), Error> {
        self.source().check()
    }
}

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
