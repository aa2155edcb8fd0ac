//! Many records at once: how a side reads and writes them, how the outbox is applied, and how a page of the copy goes from
//! one database to the other.

use std::any::Any;
use std::collections::HashMap;

use sqlx::Database;

use crate::clock;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::exact::half::Half;
use crate::exact::payload;
use crate::exact::port::{CopyPage, Listing};
use crate::exact::side::ExactSide;
use crate::exact::snapshot::Snapshot;
use crate::key::EncodedKey;
use crate::stages::exact::{Authority, copies, is_late};
use crate::store::exact::outbox::OutboxRecord;
use crate::store::exact::{authority, relay, version};
use crate::transaction::Tx;
use crate::transaction::exclusive::{FENCE_ATTEMPTS, FENCE_PAUSE};

type Conn<S> = <<S as ExactSide>::Database as Database>::Connection;
/// A key with its record; `None`: there is none.
type Keyed<S> = (<S as ExactSide>::Key, Option<<S as ExactSide>::Record>);

impl<S: ExactSide> Half<S> {
    /// The records of keys, one for each in their order.
    pub(super) async fn records(
        &self,
        conn: &mut Conn<S>,
        keys: &[EncodedKey],
    ) -> Result<Vec<Keyed<S>>, Error> {
        let typed: Vec<S::Key> = keys.iter().map(Self::key).collect::<Result<_, _>>()?;
        self.records_of_typed(conn, keys, typed).await
    }

    async fn records_of_typed(
        &self,
        conn: &mut Conn<S>,
        keys: &[EncodedKey],
        typed: Vec<S::Key>,
    ) -> Result<Vec<Keyed<S>>, Error> {
        if let [key] = typed.as_slice() {
            let record = self.asked(("get", 1), self.side.get(conn, key)).await?;
            return Ok(typed.into_iter().zip([record]).collect());
        }
        if typed.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.asked(("get_all", typed.len()), self.side.get_all(conn, &typed)).await?;
        let mut records = HashMap::with_capacity(found.len());
        for (key, record) in found {
            if records.insert(EncodedKey::new(&key)?, record).is_some() {
                let message = "`get_all` answered twice with one key; let it answer once with each";
                return Err(self.refused(message.to_owned()));
            }
        }
        let each = keys.iter().zip(typed).map(|(key, typed)| (typed, records.remove(key)));
        let all: Vec<Keyed<S>> = each.collect();
        if records.is_empty() {
            return Ok(all);
        }
        let message = "`get_all` answered with a key that it was not asked for; let it read the keys that it is given, and \
                       compare them as the database compares those of `get`";
        Err(self.refused(message.to_owned()))
    }

    async fn put(&self, tx: &mut Tx<'_, S::Database>, records: &[&Keyed<S>]) -> Result<(), Error> {
        let records: Vec<(&S::Key, Option<&S::Record>)> =
            records.iter().map(|(key, record)| (key, record.as_ref())).collect();
        tx.begin_work();
        match records.as_slice() {
            [] => {}
            [(key, record)] => {
                self.asked(("put", 1), self.side.put(&mut *tx, key, *record)).await?;
            }
            records => {
                let put = self.side.put_all(&mut *tx, records);
                self.asked(("put_all", records.len()), put).await?;
            }
        }
        tx.end_work();
        Ok(())
    }

    fn no_mirror(&self) -> Error {
        let message = "the other side is no longer the mirror; nothing was applied";
        Error::new(ErrorKind::Conflict, message).of(&self.name)
    }

    /// Applies records of the outbox, one of a key and in the order of keys, in one transaction.
    pub(super) async fn apply_all(&self, records: &[&OutboxRecord]) -> Result<(), Error> {
        let mut tx = self.begin_to_hold().await?;
        if self.hold(&mut tx).await?.primary {
            tx.rollback().await?;
            return Err(self.no_mirror());
        }
        let rows: Vec<version::Row<'_>> = records
            .iter()
            .map(|record| (&record.key, record.version, record.payload.is_none()))
            .collect();
        let taken = version::take_all::<S::Database>(tx.connection(), &self.name, &rows).await;
        let taken = taken.map_err(|error| self.failed("applying the outbox", error))?;
        let mut taking: Vec<Keyed<S>> = Vec::with_capacity(records.len());
        for (record, _) in records.iter().zip(taken).filter(|(_, taken)| *taken) {
            let value = record.payload.as_deref().map(payload::read).transpose()?;
            taking.push((Self::key(&record.key)?, value));
        }
        self.put(&mut tx, &taking.iter().collect::<Vec<_>>()).await?;
        tx.commit().await
    }

    /// A page of the copy in one snapshot, if that shows the row as it was seen.
    pub(super) async fn page_at(
        &self,
        seen: Authority,
        listing: Listing<'_>,
    ) -> Result<Option<CopyPage>, Error> {
        let (failed, name) =
            (|error| self.failed("reading a page of the copy", error), &*self.name);
        let mut snapshot = Snapshot::begin(&self.pool).await.map_err(failed)?;
        let conn = snapshot.connection();
        let row = authority::read_authority::<S::Database>(conn, name).await.map_err(failed)?;
        if row.map(|row| row.authority) != Some(seen) {
            snapshot.end().await.map_err(failed)?;
            return Ok(None);
        }
        let (mut keys, typed): (Vec<EncodedKey>, Vec<S::Key>) = match listing {
            Listing::Missing(keys) => {
                (keys.to_vec(), keys.iter().map(Self::key).collect::<Result<_, _>>()?)
            }
            Listing::After(after, limit) => {
                let after = after.map(Self::key).transpose()?;
                let listed = self.side.keys_after(conn, after.as_ref(), limit);
                let typed = self.asked(("keys_after", 1), listed).await?;
                (typed.iter().map(EncodedKey::new).collect::<Result<_, _>>()?, typed)
            }
            Listing::GoneAfter(after, limit) => {
                let gone = version::gone_after::<S::Database>(conn, name, (after, limit)).await;
                let keys = gone.map_err(failed)?;
                let typed = keys.iter().map(Self::key).collect::<Result<_, _>>()?;
                (keys, typed)
            }
        };
        let last = keys.last().cloned();
        let mut records = self.records_of_typed(conn, &keys, typed).await?;
        if matches!(listing, Listing::Missing(_)) {
            // What the primary has is copied where its own keys are listed.
            let mut missing = records.iter().map(|(_, record)| record.is_none());
            keys.retain(|_| missing.next().unwrap_or_default());
            records.retain(|(_, record)| record.is_none());
        }
        let versions = self.versions(conn, &keys).await?;
        snapshot.end().await.map_err(failed)?;
        Ok(Some(CopyPage { epoch: seen.epoch, last, keys, versions, records: Box::new(records) }))
    }

    /// The versions of keys, zero for those that were not written while writes were recorded.
    async fn versions(&self, conn: &mut Conn<S>, keys: &[EncodedKey]) -> Result<Vec<u64>, Error> {
        let (failed, name) = (|error| self.failed("reading versions", error), &*self.name);
        if !version::any::<S::Database>(conn, name).await.map_err(failed)? {
            return Ok(vec![0; keys.len()]);
        }
        let found = version::read_all::<S::Database>(conn, name, keys).await.map_err(failed)?;
        let version = |key: &EncodedKey| found.get(key.0.as_str()).copied().unwrap_or_default();
        Ok(keys.iter().map(version).collect())
    }

    /// Writes a page of the copy here, on the mirror, but for keys that have a higher version. The row of authority is held
    /// alone meanwhile, so that no relay writes these keys at the same time.
    pub(super) async fn page_applied(&self, page: &CopyPage) -> Result<(), Error> {
        let records: &(dyn Any + Send + Sync) = &*page.records;
        let Some(records) = records.downcast_ref::<Vec<Keyed<S>>>() else {
            return Err(self.refused("the sides have two types of records".to_owned()));
        };
        for attempt in 1.. {
            let mut tx = self.begin().await?;
            match authority::hold_alone::<S::Database>(tx.connection(), &self.name).await {
                Ok(row) => {
                    let row = row.ok_or_else(|| self.gone())?.authority;
                    return self.page_written(tx, row, (page, records)).await;
                }
                Err(error)
                    if <S::Database as Backend>::Adapter::is_lock_timeout(&error)
                        && attempt < FENCE_ATTEMPTS => {}
                Err(error) => return Err(self.failed("copying a page", error)),
            }
            drop(tx);
            clock::sleep(FENCE_PAUSE).await;
        }
        unreachable!("the last attempt returns")
    }

    async fn page_written(
        &self,
        mut tx: Tx<'static, S::Database>,
        row: Authority,
        (page, records): (&CopyPage, &[Keyed<S>]),
    ) -> Result<(), Error> {
        let (failed, name) = (|error| self.failed("copying a page", error), &*self.name);
        let copied = relay::copied_epoch::<S::Database>(tx.connection(), name).await;
        let copied = copied.map_err(failed)?;
        if row.primary || is_late(copied, page.epoch) {
            tx.rollback().await?;
            return Err(self.no_mirror());
        }
        if copied != page.epoch {
            let set = relay::set_copied_epoch::<S::Database>(tx.connection(), name, page.epoch);
            set.await.map_err(failed)?;
        }
        let applied = self.versions(tx.connection(), &page.keys).await?;
        let each = page.keys.iter().zip(&page.versions).zip(records).zip(applied);
        let (mut taking, mut set): (Vec<&Keyed<S>>, Vec<version::Row<'_>>) = Default::default();
        for (((key, version), record), applied) in each {
            if copies(applied, *version) {
                taking.push(record);
                if *version > 0 {
                    set.push((key, *version, record.1.is_none()));
                }
            }
        }
        set.sort_unstable();
        self.put(&mut tx, &taking).await?;
        version::set_all::<S::Database>(tx.connection(), name, &set).await.map_err(failed)?;
        tx.commit().await
    }
}
