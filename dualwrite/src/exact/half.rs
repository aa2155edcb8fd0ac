//! One of the two databases with its types.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::Pool;

use crate::clock;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Dialect, Isolation};
use crate::error::{BoxError, Error, ErrorKind, is_lost};
use crate::exact::alone::alone;
use crate::exact::columns::ExactColumns;
use crate::exact::options::{KEY_LIMIT, STATEMENT_LIMIT};
use crate::exact::payload;
use crate::exact::port::{
    Along, Asked, Changed, CopyPage, Digest, Digesting, Listing, Port, Range, Versioned,
};
use crate::exact::side::ExactSide;
use crate::exact::snapshot::Snapshot;
use crate::key::{EncodedKey, Key as _, OwnedKey as _};
use crate::stages::exact::Authority;
use crate::stages::stage::Side;
use crate::store::connections::Connections;
use crate::store::exact::authority::AuthorityRow;
use crate::store::exact::outbox::OutboxRecord;
use crate::store::exact::relay::{CopyPlace, PutOff};
use crate::store::exact::{authority, outbox, relay, version};
use crate::transaction::Tx;

/// Connections for the relay, and for hand-overs; they are beside those of the application.
const CONNECTIONS_MAX: usize = 3;

pub(crate) struct Half<S: ExactSide> {
    pub(crate) name: Arc<str>,
    pub(crate) which: Side,
    pub(crate) side: S,
    pub(crate) pool: Pool<S::Database>,
    pub(super) connections: Connections<S::Database>,
}

impl<S: ExactSide> Half<S> {
    pub(crate) fn new(name: Arc<str>, which: Side, side: S, pool: Pool<S::Database>) -> Self {
        let connections = Connections::new(&pool, CONNECTIONS_MAX, false, STATEMENT_LIMIT);
        Self { name, which, side, pool, connections }
    }

    /// Makes the control tables, and the row of the migration where there is none.
    pub(crate) async fn install(&self) -> Result<(), Error> {
        <S::Database as Backend>::Adapter::install(&self.pool).await
    }

    /// Fails where a migration of `Runtime` has the name: an operator's command would not know which one.
    pub(crate) async fn check_name(&self) -> Result<(), Error> {
        let taken = self.run("looking for a migration of this name", async move |conn| {
            authority::is_taken::<S::Database>(conn, &self.name).await
        });
        if taken.await? { Err(self.name_taken()) } else { Ok(()) }
    }

    fn name_taken(&self) -> Error {
        let message = format!(
            "a migration that is registered with `Runtime` has this name in the {} database; take another name for the one \
             in exact mode",
            self.which
        );
        Error::new(ErrorKind::InvalidInput, message).of(&self.name)
    }

    /// Makes the row, unless there is one. Fails where the name was taken meanwhile.
    pub(crate) async fn insert(&self, first: Authority) -> Result<(), Error> {
        let inserting = self.connections.within("making the row of the migration", async {
            let mut lent = self.connections.begin().await?;
            let (side, name) = (self.which, &*self.name);
            match authority::make::<S::Database>(&mut lent, name, side, first).await {
                Ok(true) => lent.commit().await.map(|()| true),
                Ok(false) => lent.rollback().await.map(|()| false),
                Err(error) => {
                    // What cannot be rolled back is closed.
                    let _ = lent.rollback().await;
                    Err(error)
                }
            }
        });
        if inserting.await? { Ok(()) } else { Err(self.name_taken()) }
    }

    /// Takes back the row that was made here and that nobody has changed.
    pub(crate) async fn take_back(&self, first: Authority) -> Result<(), Error> {
        self.run("taking back the row of the migration", async move |conn| {
            authority::take_back::<S::Database>(conn, &self.name, first).await
        })
        .await
    }

    /// The row, where there is one.
    pub(crate) async fn found(&self) -> Result<Option<AuthorityRow>, Error> {
        self.connections
            .within("reading who has the authority", async {
                let mut lent = self.connections.lend().await?;
                lent.busy();
                let row = authority::read_authority::<S::Database>(&mut lent, &self.name).await;
                lent.ended(row)
            })
            .await
    }

    pub(crate) fn gone(&self) -> Error {
        let message = format!(
            "the {} database has no row of it in `dualwrite_authority`; restore the control tables with the data, or take \
             another name for the migration",
            self.which
        );
        Error::new(ErrorKind::UnknownMigration, message).of(&self.name)
    }

    pub(crate) fn failed(&self, doing: &str, error: sqlx::Error) -> Error {
        Error::database(&format!("{doing}, on the {} side", self.which), error).of(&self.name)
    }

    /// A transaction whose statements each see what is committed when they begin, as the fence needs.
    pub(crate) async fn begin(&self) -> Result<Tx<'static, S::Database>, Error> {
        let begun = Tx::begin_shared(&self.pool, &[], Isolation::ReadCommitted).await;
        begun.map_err(|error| error.of(&self.name))
    }

    /// The same, about to [`hold`](Self::hold) the row.
    pub(crate) async fn begin_to_hold(&self) -> Result<Tx<'static, S::Database>, Error> {
        let lock = crate::database::authority::lock::<S::Database>(&self.name);
        let begun = Tx::begin_locked(&self.pool, Isolation::ReadCommitted, lock).await;
        begun.map_err(|error| error.of(&self.name))
    }

    pub(super) fn key(key: &EncodedKey) -> Result<S::Key, Error> {
        S::Key::take(&mut key.parts(S::Key::KIND)?.into_iter())
    }

    /// What a function of the side answers about so many keys, within a limit, and with a panic as an error.
    pub(super) async fn asked<T>(
        &self,
        (doing, keys): (&str, usize),
        call: impl Future<Output = Result<T, BoxError>> + Send,
    ) -> Result<T, Error> {
        let called = AssertUnwindSafe(call).catch_unwind();
        let limit = call_limit(keys);
        let failed = match clock::limit(limit, called).await {
            Ok(Ok(Ok(answer))) => return Ok(answer),
            Ok(Ok(Err(error))) => match error.downcast::<sqlx::Error>() {
                Ok(error) if is_lost(&error) => return Err(self.failed(doing, *error)),
                Ok(error) => Error::copying(error),
                Err(error) => Error::copying(error),
            },
            Ok(Err(_)) => self.refused(format!("`{doing}` of the {} side panicked", self.which)),
            Err(()) => {
                let message =
                    format!("`{doing}` of the {} side took longer than {limit:?}", self.which);
                self.refused(message)
            }
        };
        Err(failed.of(&self.name))
    }

    pub(super) fn refused(&self, message: String) -> Error {
        Error::new(ErrorKind::CopyFailed, message).of(&self.name)
    }

    /// The records of keys after a write, in its transaction, as they go through the outbox.
    pub(crate) async fn payloads(
        &self,
        tx: &mut Tx<'_, S::Database>,
        keys: &[EncodedKey],
    ) -> Result<Vec<Option<String>>, Error> {
        tx.begin_work();
        let records = self.records(&mut *tx, keys).await?;
        tx.end_work();
        let written =
            records.into_iter().map(|(_, record)| record.as_ref().map(payload::write).transpose());
        written.collect::<Result<_, Error>>().map_err(|error| error.of(&self.name))
    }

    /// Leaves records of what the transaction makes of keys, under versions that were raised before.
    pub(crate) async fn leave(
        &self,
        tx: &mut Tx<'_, S::Database>,
        (keys, raised): (&[EncodedKey], &[u64]),
        payloads: Vec<Option<String>>,
    ) -> Result<(), Error> {
        let rows = keys.iter().zip(raised);
        let gone = rows.clone().zip(&payloads).filter(|(_, payload)| payload.is_none());
        let gone: Vec<_> = gone.map(|((key, version), _)| (key, *version, true)).collect();
        let left = rows.zip(payloads).map(|((key, version), payload)| (key, *version, payload));
        let (name, left) = (&*self.name, left.collect());
        let failed = |error| self.failed("recording a write in the outbox", error);
        // A closure may have ended the transaction: what follows would be stored alone. So this comes first.
        let insert = async |conn: &mut <S::Database as sqlx::Database>::Connection| {
            outbox::insert_all::<S::Database>(conn, name, left).await
        };
        tx.run_checked(insert, failed).await?;
        match gone.is_empty() {
            true => Ok(()),
            false => {
                version::set_all::<S::Database>(tx.connection(), name, &gone).await.map_err(failed)
            }
        }
    }

    /// Gives keys their next versions, which locks them. They are sorted, so that no two transactions wait for each other.
    pub(crate) async fn raise(
        &self,
        tx: &mut Tx<'_, S::Database>,
        keys: &[EncodedKey],
    ) -> Result<Vec<u64>, Error> {
        let raised = version::raise_all::<S::Database>(tx.connection(), &self.name, keys).await;
        raised.map_err(|error| self.failed("raising the versions of keys", error))
    }

    /// The row, held to the end of the transaction, and the versions that keys have next, if it takes writes and records
    /// them.
    pub(crate) async fn hold_and_raise(
        &self,
        tx: &mut Tx<'_, S::Database>,
        keys: &[EncodedKey],
    ) -> Result<(AuthorityRow, Vec<u64>), Error> {
        let (name, failed) = (&*self.name, |error| self.failed("beginning a write", error));
        let raised = authority::hold_and_raise::<S::Database>(tx.connection(), name, keys).await;
        if let Some((row, versions)) = raised.map_err(failed)? {
            return Ok((row.ok_or_else(|| self.gone())?, versions));
        }
        let row = self.hold_row(tx).await?;
        let Authority { primary, open, recording, .. } = row.authority;
        let versions = match primary && open && recording && row.maintenance.is_none() {
            true => self.raise(tx, keys).await?,
            false => Vec::new(),
        };
        Ok((row, versions))
    }

    /// The row, held to the end of the transaction.
    pub(crate) async fn hold(&self, tx: &mut Tx<'_, S::Database>) -> Result<Authority, Error> {
        self.hold_row(tx).await.map(|row| row.authority)
    }

    async fn hold_row(&self, tx: &mut Tx<'_, S::Database>) -> Result<AuthorityRow, Error> {
        let row = authority::hold::<S::Database>(tx.connection(), &self.name).await;
        let row = row.map_err(|error| self.failed("reading who has the authority", error))?;
        row.ok_or_else(|| self.gone())
    }

    async fn try_change(
        &self,
        seen: Authority,
        to: Authority,
        along: Along,
    ) -> sqlx::Result<Changed> {
        let mut lent = self.connections.begin().await?;
        let name = &*self.name;
        let row = authority::hold_alone::<S::Database>(&mut lent, name).await?;
        if row.map(|row| row.authority) != Some(seen) {
            lent.rollback().await?;
            return Ok(Changed::Passed);
        }
        match along {
            Along::Nothing => {}
            Along::OutboxEmpty => {
                if outbox::left::<S::Database>(&mut lent, name, 1).await? > 0 {
                    lent.rollback().await?;
                    return Ok(Changed::NotEmpty);
                }
            }
            Along::FreshOutbox => {
                outbox::clear::<S::Database>(&mut lent, name).await?;
                relay::reset_copy::<S::Database>(&mut lent, name).await?;
            }
        }
        let changed = authority::change::<S::Database>(&mut lent, name, seen, to).await?;
        lent.commit().await?;
        Ok(if changed { Changed::Done } else { Changed::Passed })
    }

    /// Runs statements of ours on a connection of their own.
    pub(super) async fn run<T>(
        &self,
        doing: &str,
        work: impl AsyncFnOnce(&mut <S::Database as sqlx::Database>::Connection) -> sqlx::Result<T>,
    ) -> Result<T, Error> {
        let ran = self.connections.within(doing, async {
            let mut lent = self.connections.lend().await?;
            lent.busy();
            let done = work(&mut lent).await;
            lent.ended(done)
        });
        ran.await.map_err(|error| error.of(&self.name))
    }
}

/// How long a function of a side may take for so many keys: one that goes key by key has a long way to its database.
fn call_limit(keys: usize) -> Duration {
    let keys = u32::try_from(keys.saturating_sub(1)).unwrap_or(u32::MAX);
    STATEMENT_LIMIT + KEY_LIMIT * keys
}

impl<S: ExactSide> Port for Half<S> {
    fn close(&self) {
        self.connections.close();
    }

    fn authority_row(&self) -> Asked<'_, AuthorityRow> {
        Box::pin(async { self.found().await?.ok_or_else(|| self.gone()) })
    }

    fn change(&self, seen: Authority, to: Authority, along: Along) -> Asked<'_, Changed> {
        Box::pin(async move {
            let doing = "changing who has the authority";
            let work = || self.try_change(seen, to, along).boxed();
            alone(&self.connections, (&self.name, self.which), doing, work).await
        })
    }

    fn oldest(&self, limit: usize) -> Asked<'_, Vec<OutboxRecord>> {
        Box::pin(self.run("reading the outbox", async move |conn| {
            outbox::oldest::<S::Database>(conn, &self.name, limit).await
        }))
    }

    fn records_of<'a>(&'a self, keys: &'a [EncodedKey]) -> Asked<'a, Vec<OutboxRecord>> {
        Box::pin(self.run("reading the outbox", async move |conn| {
            outbox::of_keys::<S::Database>(conn, &self.name, keys).await
        }))
    }

    fn remove<'a>(&'a self, numbers: &'a [i64]) -> Asked<'a, ()> {
        Box::pin(self.run("clearing the outbox", async move |conn| {
            outbox::remove::<S::Database>(conn, &self.name, numbers).await
        }))
    }

    fn left(&self, most: u64) -> Asked<'_, u64> {
        Box::pin(self.run("counting the outbox", async move |conn| {
            outbox::left::<S::Database>(conn, &self.name, most).await
        }))
    }

    fn apply<'a>(&'a self, records: &'a [&'a OutboxRecord]) -> Asked<'a, ()> {
        Box::pin(self.apply_all(records))
    }

    fn lease<'a>(&'a self, owner: &'a str, lease: Duration) -> Asked<'a, bool> {
        Box::pin(self.run("taking the lease of the outbox", async move |conn| {
            relay::lease::<S::Database>(conn, &self.name, owner, lease).await
        }))
    }

    fn put_off<'a>(&'a self, key: &'a EncodedKey, error: &'a str) -> Asked<'a, ()> {
        Box::pin(self.run("putting a key off", async move |conn| {
            relay::put_off::<S::Database>(conn, &self.name, key, error).await
        }))
    }

    fn hurry(&self) -> Asked<'_, ()> {
        Box::pin(self.run("hurrying keys that were put off", async move |conn| {
            relay::hurry::<S::Database>(conn, &self.name).await
        }))
    }

    fn failures(&self, limit: usize) -> Asked<'_, Vec<PutOff>> {
        Box::pin(self.run("reading keys that were put off", async move |conn| {
            relay::failures::<S::Database>(conn, &self.name, limit).await
        }))
    }

    fn copy_place(&self) -> Asked<'_, CopyPlace> {
        Box::pin(self.run("reading where the copy stands", async move |conn| {
            relay::copy_place::<S::Database>(conn, &self.name).await
        }))
    }

    fn record<'a>(
        &'a self,
        seen: Authority,
        page: Option<(&'a CopyPlace, &'a CopyPlace)>,
        keys: &'a [EncodedKey],
    ) -> Asked<'a, bool> {
        Box::pin(async move {
            let mut tx = self.begin_to_hold().await?;
            if self.hold(&mut tx).await? != seen {
                return tx.rollback().await.map(|()| false);
            }
            if let Some((from, to)) = page {
                let moved = relay::move_copy::<S::Database>(tx.connection(), &self.name, from, to);
                if !moved.await.map_err(|error| self.failed("copying a page", error))? {
                    return tx.rollback().await.map(|()| false);
                }
            }
            let mut keys = keys.to_vec();
            keys.sort_unstable();
            keys.dedup();
            let versions = self.raise(&mut tx, &keys).await?;
            let payloads = self.payloads(&mut tx, &keys).await?;
            self.leave(&mut tx, (&keys, &versions), payloads).await?;
            tx.commit().await.map(|()| true)
        })
    }

    fn move_copy<'a>(
        &'a self,
        seen: Authority,
        from: &'a CopyPlace,
        to: &'a CopyPlace,
    ) -> Asked<'a, bool> {
        self.record(seen, Some((from, to)), &[])
    }

    fn read_page<'a>(
        &'a self,
        seen: Authority,
        listing: Listing<'a>,
    ) -> Asked<'a, Option<CopyPage>> {
        Box::pin(self.page_at(seen, listing))
    }

    fn apply_page<'a>(&'a self, page: &'a CopyPage) -> Asked<'a, ()> {
        Box::pin(self.page_applied(page))
    }

    fn columns(&self) -> Option<ExactColumns> {
        self.side.columns()
    }

    fn dialect(&self) -> &'static Dialect {
        &<S::Database as Backend>::Adapter::DIALECT
    }

    fn digest<'a>(&'a self, how: &'a Digesting, range: Range) -> Asked<'a, Digest> {
        Box::pin(self.digest_of(how, range))
    }

    fn key_at<'a>(
        &'a self,
        how: &'a Digesting,
        range: Range,
        place: u64,
    ) -> Asked<'a, Option<i64>> {
        Box::pin(self.key_at_place(how, range, place))
    }

    fn keys_in<'a>(&'a self, how: &'a Digesting, range: Range) -> Asked<'a, Vec<EncodedKey>> {
        Box::pin(self.keys_of_range(how, range))
    }

    fn keys_after<'a>(
        &'a self,
        after: Option<&'a EncodedKey>,
        limit: u32,
    ) -> Asked<'a, Vec<EncodedKey>> {
        Box::pin(async move {
            let failed = |error| self.failed("listing keys", error);
            let after = after.map(Self::key).transpose()?;
            let mut snapshot = Snapshot::begin(&self.pool).await.map_err(failed)?;
            let keys = self.side.keys_after(snapshot.connection(), after.as_ref(), limit);
            let keys = self.asked(("keys_after", 1), keys).await?;
            snapshot.end().await.map_err(failed)?;
            keys.iter().map(EncodedKey::new).collect()
        })
    }

    fn versioned<'a>(&'a self, keys: &'a [EncodedKey]) -> Asked<'a, Vec<Versioned>> {
        Box::pin(async move {
            let failed = |error| self.failed("reading records", error);
            let mut snapshot = Snapshot::begin(&self.pool).await.map_err(failed)?;
            let conn = snapshot.connection();
            let versions = version::read_all::<S::Database>(conn, &self.name, keys).await;
            let versions = versions.map_err(failed)?;
            let records = self.records(conn, keys).await?;
            snapshot.end().await.map_err(failed)?;
            let versioned = |(key, (_, record)): (&EncodedKey, (S::Key, Option<S::Record>))| {
                let payload = record.as_ref().map(payload::shown).transpose()?;
                Ok(Versioned { version: versions.get(key.0.as_str()).copied(), payload })
            };
            let all: Result<_, Error> = keys.iter().zip(records).map(versioned).collect();
            all.map_err(|error| error.of(&self.name))
        })
    }
}
