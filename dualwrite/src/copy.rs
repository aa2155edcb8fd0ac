//! The copy function: the one piece of code that says how data gets from the old side to the new one. It serves the
//! backfill, lazy migration on read, repair and the retry of dead letters. Its traits and ready-made forms are at the
//! root of the crate: [`CopyKeys`], [`CopyColumns`], [`CopySql`].

mod both_ways;
pub(crate) mod bound;
pub(crate) mod carried;
pub(crate) mod columns;
pub(crate) mod conversion;
pub(crate) mod convert;
pub(crate) mod dual;
pub(crate) mod dual_table;
pub(crate) mod erased;
pub(crate) mod exclusive;
mod expanding;
pub(crate) mod hazards;
pub(crate) mod inside;
mod judged;
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

pub use crate::copy::one_row::Statement;

use crate::copy::erased::Held;
use crate::database::Backend;
use crate::error::{BoxError, Error, ErrorKind};
use crate::key::OwnedKey;
use crate::transaction::Tx;

pub use crate::control::copied::Copied;
pub use crate::database::Identifier;
pub use both_ways::BothWays;
pub use dual_table::{ConvertColumns, CopyColumns, DualTable};
pub use key_source::KeySource;
pub use mapping::{MAPPED_FIELDS_MAX, Mapping};
pub use statements::CopySql;

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
///   new those that it did not find; the library looks again for rows inserted meanwhile. (Not so for lazy reads
///   in transactions of a higher level, whose plain `SELECT` sees an old snapshot.)
/// - It may be called for the same key again and again.
///
/// With a way back from new to old it is also a [`CopyBack`].
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{BoxError, Copied, copy::KeySource, CopyKeys, Tx};
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

    /// How a migration holds it. The library's own copy functions know by themselves whether they go both ways.
    #[doc(hidden)]
    fn held(self) -> Held<Self::Database>
    where
        Self: Sized,
    {
        Held::one_way(self)
    }
}

/// A copy function with a way back, from new to old: for the reverse copy before a rollback from `Complete`, for
/// repairs while new answers, and for dead letters of writes to old. Register it with
/// [`backfill_both_ways`](crate::Registration::backfill_both_ways).
///
/// [`new_source`](CopyKeys::new_source) says where the keys of new are, and is needed here.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{BoxError, Copied, CopyBack, CopyKeys, Tx, copy::KeySource};
/// use sqlx::{AssertSqlSafe, Sqlite};
///
/// struct CopyEmail;
///
/// /// The rows where `to` does not say what `from` says.
/// async fn assign(
///     tx: &mut Tx<'_, Sqlite>,
///     keys: &[i64],
///     (from, to): (&str, &str),
/// ) -> Result<Copied, BoxError> {
///     let mut copied = Copied::default();
///     let sql = format!("UPDATE customer SET {to} = {from} WHERE id = ? AND {to} IS NOT {from}");
///     for key in keys {
///         let done = sqlx::query(AssertSqlSafe(sql.as_str())).bind(key).execute(&mut **tx).await?;
///         copied.migrated += done.rows_affected();
///         copied.skipped += 1 - done.rows_affected();
///     }
///     Ok(copied)
/// }
///
/// impl CopyKeys for CopyEmail {
///     type Database = Sqlite;
///     type Key = i64;
///
///     fn source(&self) -> KeySource {
///         KeySource::table("customer").column("id")
///     }
///
///     fn new_source(&self) -> Option<KeySource> {
///         Some(self.source()) // other columns of the same rows
///     }
///
///     async fn copy(&self, tx: &mut Tx<'_, Sqlite>, keys: &[i64]) -> Result<Copied, BoxError> {
///         assign(tx, keys, ("email", "email_address")).await
///     }
/// }
///
/// impl CopyBack for CopyEmail {
///     async fn copy_back(&self, tx: &mut Tx<'_, Sqlite>, keys: &[i64]) -> Result<Copied, BoxError> {
///         assign(tx, keys, ("email_address", "email")).await
///     }
/// }
/// # }
/// ```
pub trait CopyBack: CopyKeys {
    /// Copies these keys from new to old: afterwards old says what new says. A write to old that failed while new
    /// answers then need not fail the caller: its key is marked, and copied back.
    ///
    /// It updates the row that old has, or upserts it, instead of deleting it and inserting it again: on PostgreSQL a
    /// delete that waits for that row would find nothing. A key that is not in new (any more) is removed from old, in
    /// one statement that looks at new itself; it locks in the right order here.
    ///
    /// # Errors
    /// Any; the transaction is rolled back, and the keys are tried again one by one.
    fn copy_back(
        &self,
        tx: &mut Tx<'_, Self::Database>,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<Copied, BoxError>> + Send;

    /// Looks at what a way back needs; asked when it is registered.
    ///
    /// # Errors
    /// `InvalidInput`, naming what is missing.
    fn check_back(&self) -> Result<(), Error> {
        match self.new_source() {
            Some(_) => Ok(()),
            None => {
                let message =
                    "a way back needs the keys of new: implement `new_source` of the copy function";
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }
}
