//! One of the two databases with its types.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::Pool;

use crate::clock;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Isolation};
use crate::error::{BoxError, Error, ErrorKind, is_lost};
use crate::exact::alone::alone;
use crate::exact::options::STATEMENT_LIMIT;
use crate::exact::payload;
use crate::exact::port::{Along, Asked, Changed, Port, Versioned};
use crate::exact::side::ExactSide;
use crate::exact::snapshot::Snapshot;
use crate::key::{EncodedKey, Key as _, OwnedKey as _};
use crate::stages::exact::{Authority, takes};
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

    pub(crate) async fn insert(&self, first: Authority) -> Result<(), Error> {
        self.connections
            .within("making the row of the migration", async {
                let mut lent = self.connections.begin().await?;
                authority::insert::<S::Database>(&mut lent, &self.name, self.which, first).await?;
                lent.commit().await
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

    fn key(key: &EncodedKey) -> Result<S::Key, Error> {
        S::Key::take(&mut key.parts(S::Key::KIND)?.into_iter())
    }

    /// What a function of the side answers, within a limit, and with a panic as an error.
    async fn asked<T>(
        &self,
        doing: &str,
        call: impl Future<Output = Result<T, BoxError>> + Send,
    ) -> Result<T, Error> {
        let called = AssertUnwindSafe(call).catch_unwind();
        let failed = match clock::limit(STATEMENT_LIMIT, called).await {
            Ok(Ok(Ok(answer))) => return Ok(answer),
            Ok(Ok(Err(error))) => match error.downcast::<sqlx::Error>() {
                Ok(error) if is_lost(&error) => return Err(self.failed(doing, *error)),
                Ok(error) => Error::copying(error),
                Err(error) => Error::copying(error),
            },
            Ok(Err(_)) => self.refused(format!("`{doing}` of the {} side panicked", self.which)),
            Err(()) => {
                let message = format!(
                    "`{doing}` of the {} side took longer than {STATEMENT_LIMIT:?}",
                    self.which
                );
                self.refused(message)
            }
        };
        Err(failed.of(&self.name))
    }

    fn refused(&self, message: String) -> Error {
        Error::new(ErrorKind::CopyFailed, message).of(&self.name)
    }

    /// The record of a key after a write, in its transaction.
    pub(crate) async fn record(
        &self,
        tx: &mut Tx<'_, S::Database>,
        key: &EncodedKey,
    ) -> Result<Option<String>, Error> {
        let typed = Self::key(key)?;
        tx.begin_work();
        let record = self.asked("get", self.side.get(&mut *tx, &typed)).await?;
        tx.end_work();
        record.as_ref().map(payload::write).transpose().map_err(|error| error.of(&self.name))
    }

    /// Leaves a record of what the transaction makes of a key, under a version that was raised before.
    pub(crate) async fn leave(
        &self,
        tx: &mut Tx<'_, S::Database>,
        key: &EncodedKey,
        raised: u64,
    ) -> Result<(), Error> {
        let payload = self.record(tx, key).await?;
        let conn = tx.connection();
        let left = async {
            if payload.is_none() {
                version::set::<S::Database>(conn, &self.name, key, (raised, true)).await?;
            }
            outbox::insert::<S::Database>(conn, &self.name, key, (raised, payload)).await
        };
        left.await.map_err(|error| self.failed("recording a write in the outbox", error))
    }

    /// Gives keys their next versions, which locks them; in one order, so that no two transactions wait for each other.
    pub(crate) async fn raise(
        &self,
        tx: &mut Tx<'_, S::Database>,
        keys: &[EncodedKey],
    ) -> Result<Vec<u64>, Error> {
        let mut versions = Vec::with_capacity(keys.len());
        for key in keys {
            let raised = version::raise::<S::Database>(tx.connection(), &self.name, key).await;
            versions
                .push(raised.map_err(|error| self.failed("raising the version of a key", error))?);
        }
        Ok(versions)
    }

    /// The row, held to the end of the transaction.
    pub(crate) async fn hold(&self, tx: &mut Tx<'_, S::Database>) -> Result<Authority, Error> {
        let row = authority::hold::<S::Database>(tx.connection(), &self.name).await;
        let row = row.map_err(|error| self.failed("reading who has the authority", error))?;
        row.map(|row| row.authority).ok_or_else(|| self.gone())
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

    async fn apply_all(&self, records: &[&OutboxRecord]) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        if self.hold(&mut tx).await?.primary {
            tx.rollback().await?;
            let message = "the other side is no longer the mirror; nothing was applied";
            return Err(Error::new(ErrorKind::Conflict, message).of(&self.name));
        }
        for record in records {
            let doing = "applying the outbox";
            let applied = version::lock::<S::Database>(tx.connection(), &self.name, &record.key);
            let applied = applied.await.map_err(|error| self.failed(doing, error))?;
            if !takes(applied, record.version) {
                continue;
            }
            let key = Self::key(&record.key)?;
            let value = record.payload.as_deref().map(payload::read).transpose()?;
            tx.begin_work();
            self.asked("put", self.side.put(&mut *tx, &key, value.as_ref())).await?;
            tx.end_work();
            let now = (record.version, value.is_none());
            let set = version::set::<S::Database>(tx.connection(), &self.name, &record.key, now);
            set.await.map_err(|error| self.failed(doing, error))?;
        }
        tx.commit().await
    }
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
            let mut tx = self.begin().await?;
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
            for (key, version) in keys.iter().zip(versions) {
                self.leave(&mut tx, key, version).await?;
            }
            tx.commit().await.map(|()| true)
        })
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
            let keys = self.asked("keys_after", keys).await?;
            snapshot.end().await.map_err(failed)?;
            keys.iter().map(EncodedKey::new).collect()
        })
    }

    fn versioned<'a>(&'a self, key: &'a EncodedKey) -> Asked<'a, Versioned> {
        Box::pin(async move {
            let failed = |error| self.failed("reading a record", error);
            let typed = Self::key(key)?;
            let mut snapshot = Snapshot::begin(&self.pool).await.map_err(failed)?;
            let version =
                version::read::<S::Database>(snapshot.connection(), &self.name, key).await;
            let version = version.map_err(failed)?;
            let record = self.asked("get", self.side.get(snapshot.connection(), &typed)).await?;
            snapshot.end().await.map_err(failed)?;
            let payload = record.as_ref().map(payload::write).transpose()?;
            Ok(Versioned { version, payload })
        })
    }
}
