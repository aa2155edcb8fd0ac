//! One of the two databases without its types: what hand-overs, relays, copies and verifications ask of it.

use std::any::Any;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::control::commands::{Job, JobKind};
use crate::database::Dialect;
use crate::error::{Error, Maintenance};
use crate::exact::columns::ExactColumns;
use crate::key::EncodedKey;
use crate::rollout::command::NewRolloutCommand;
use crate::stages::exact::Authority;
use crate::store::exact::authority::AuthorityRow;
use crate::store::exact::outbox::OutboxRecord;
use crate::store::exact::relay::{CopyPlace, PutOff};

pub(crate) type Asked<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// What a change of the row does besides, or needs, in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Along {
    Nothing,
    /// It is made only if the outbox is empty.
    OutboxEmpty,
    /// The outbox is thrown away, and the copy begins anew.
    FreshOutbox,
}

/// What came of a change of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Done,
    /// Somebody else has changed the row since it was seen.
    Passed,
    /// The outbox is not empty.
    NotEmpty,
}

/// A record with its version, seen in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Versioned {
    pub(crate) version: Option<u64>,
    pub(crate) payload: Option<String>,
}

/// Which keys a page of the copy has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Listing<'k> {
    /// Those of these that have no record.
    Missing(&'k [EncodedKey]),
    /// At most so many after this one, as the side lists them.
    After(Option<&'k EncodedKey>, u32),
    /// The same of those whose last write was a delete.
    GoneAfter(Option<&'k EncodedKey>, u32),
}

/// A page of the copy: what the primary had in one snapshot.
pub(crate) struct CopyPage {
    /// That of the primary.
    pub(crate) epoch: u64,
    /// The last key that was listed; `None`: there are no more.
    pub(crate) last: Option<EncodedKey>,
    pub(crate) keys: Vec<EncodedKey>,
    pub(crate) versions: Vec<u64>,
    /// Typed keys with their records, in the order of `keys`.
    pub(crate) records: Box<dyn Any + Send + Sync>,
}

/// Keys above the first one, up to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) after: Option<i64>,
    pub(crate) to: Option<i64>,
}

/// What a range of rows amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) rows: u64,
    pub(crate) sum: u64,
}

/// How both sides come to the same digest.
#[derive(Clone, Debug)]
pub(crate) struct Digesting {
    pub(crate) columns: ExactColumns,
    pub(crate) way: Way,
}

/// Where rows become digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In the database, by a function that its like alone has.
    Alike,
    /// In the database where it has MD5, else here.
    Md5,
    /// Here: no form of a column can be made the same in both databases.
    Here,
}

/// One of the two databases, as operators see it.
pub(crate) trait Operated: Send + Sync {
    /// Jobs that have not ended.
    fn jobs(&self) -> Asked<'_, Vec<Job>>;

    /// Takes one that nobody runs, or extends the lease on it.
    fn take_job<'a>(&'a self, kind: JobKind, instance: &'a str, lease: Duration)
    -> Asked<'a, bool>;

    fn end_job<'a>(
        &'a self,
        kind: JobKind,
        instance: &'a str,
        ended: (bool, &'a str),
    ) -> Asked<'a, ()>;

    /// How old the oldest record of the outbox is, in microseconds.
    fn lag(&self) -> Asked<'_, u64>;

    fn report<'a>(&'a self, report: &'a str) -> Asked<'a, ()>;

    fn verified<'a>(&'a self, found: &'a str) -> Asked<'a, ()>;

    /// What is closed here.
    fn closed(&self) -> Asked<'_, Option<Maintenance>>;

    /// Closes calls, or opens them, with a line of the audit where there is one. No write that began before is under way
    /// afterwards.
    fn maintain<'a>(
        &'a self,
        maintenance: Option<&'a Maintenance>,
        line: Option<&'a NewRolloutCommand>,
    ) -> Asked<'a, ()>;

    /// Leaves a line in the audit.
    fn audit<'a>(&'a self, line: &'a NewRolloutCommand) -> Asked<'a, ()>;

    /// The database's clock, in microseconds since 1970.
    fn now_us(&self) -> Asked<'_, i64>;

    /// Counts this version of a key as applied, on the mirror.
    fn skip<'a>(&'a self, key: &'a EncodedKey, version: u64) -> Asked<'a, ()>;

    /// Takes the records of a key that was put off out of the outbox.
    fn waive<'a>(&'a self, key: &'a EncodedKey) -> Asked<'a, bool>;
}

pub(crate) trait Port: Operated {
    /// Nothing is asked any more.
    fn close(&self);

    fn authority_row(&self) -> Asked<'_, AuthorityRow>;

    /// Changes the row under the fence, if it is still as it was seen.
    fn change(&self, seen: Authority, to: Authority, along: Along) -> Asked<'_, Changed>;

    /// The oldest records of the outbox, but for keys that were put off.
    fn oldest(&self, limit: usize) -> Asked<'_, Vec<OutboxRecord>>;

    /// The records of these keys.
    fn records_of<'a>(&'a self, keys: &'a [EncodedKey]) -> Asked<'a, Vec<OutboxRecord>>;

    /// Takes records out of the outbox.
    fn remove<'a>(&'a self, numbers: &'a [i64]) -> Asked<'a, ()>;

    /// How many records there are, counted up to `most`.
    fn left(&self, most: u64) -> Asked<'_, u64>;

    /// Applies records, one of a key and in the order of keys, in one transaction. Refused by a primary.
    fn apply<'a>(&'a self, records: &'a [&'a OutboxRecord]) -> Asked<'a, ()>;

    /// Whether this instance applies the outbox for now.
    fn lease<'a>(&'a self, owner: &'a str, lease: Duration) -> Asked<'a, bool>;

    fn put_off<'a>(&'a self, key: &'a EncodedKey, error: &'a str) -> Asked<'a, ()>;

    /// Has what was put off tried at once.
    fn hurry(&self) -> Asked<'_, ()>;

    fn failures(&self, limit: usize) -> Asked<'_, Vec<PutOff>>;

    fn copy_place(&self) -> Asked<'_, CopyPlace>;

    /// Records keys as they are, if the row is as it was seen; those of a page of the copy, if nobody else has.
    fn record<'a>(
        &'a self,
        seen: Authority,
        page: Option<(&'a CopyPlace, &'a CopyPlace)>,
        keys: &'a [EncodedKey],
    ) -> Asked<'a, bool>;

    fn keys_after<'a>(
        &'a self,
        after: Option<&'a EncodedKey>,
        limit: u32,
    ) -> Asked<'a, Vec<EncodedKey>>;

    /// Records with their versions, in one snapshot, in the order of the keys.
    fn versioned<'a>(&'a self, keys: &'a [EncodedKey]) -> Asked<'a, Vec<Versioned>>;

    /// Goes on with the copy, if the row is as it was seen and nobody else has.
    fn move_copy<'a>(
        &'a self,
        seen: Authority,
        from: &'a CopyPlace,
        to: &'a CopyPlace,
    ) -> Asked<'a, bool>;

    /// Reads a page of the copy, if the row is as it was seen.
    fn read_page<'a>(
        &'a self,
        seen: Authority,
        listing: Listing<'a>,
    ) -> Asked<'a, Option<CopyPage>>;

    /// Writes a page of the copy, but for keys that have a higher version. Refused by a primary, and for a page that is
    /// older than the copy that goes on.
    fn apply_page<'a>(&'a self, page: &'a CopyPage) -> Asked<'a, ()>;

    /// The columns that are compared in the database.
    fn columns(&self) -> Option<ExactColumns>;

    fn dialect(&self) -> &'static Dialect;

    fn digest<'a>(&'a self, how: &'a Digesting, range: Range) -> Asked<'a, Digest>;

    /// The key at this place of a range, counted from zero.
    fn key_at<'a>(&'a self, how: &'a Digesting, range: Range, place: u64)
    -> Asked<'a, Option<i64>>;

    fn keys_in<'a>(&'a self, how: &'a Digesting, range: Range) -> Asked<'a, Vec<EncodedKey>>;
}
