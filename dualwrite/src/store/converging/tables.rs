//! The control tables of converging mode in a database.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Isolation, SqlValue, position_of, unexpected};
use crate::error::Error;
use crate::key::EncodedKey;
use crate::stages::converging::settles;
use crate::stages::position::Position;
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::store::connections::Connections;
use crate::store::converging::paging::{self, Place};
use crate::store::converging::port::{Claim, FailedCopy, Marks, Settled};
use crate::store::converging::statements::{self, EndedWrite, micros};
use crate::store::dead_letter::{record_dead_letter, remove_dead_letters};
use crate::store::ledger::Ledger;
use crate::transaction::Tx;

/// Connections for clearing marks and claiming keys; they are beside those of the application.
const CONNECTIONS_MAX: usize = 3;
/// How soon a key is looked at again that somebody wrote while it was copied.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// For migrations of one runtime.
pub(crate) struct SqlMarks<DB: Backend> {
    /// The application's pool: writes that take the fence are its own.
    pool: sqlx::Pool<DB>,
    connections: Connections<DB>,
}

impl<DB: Backend> SqlMarks<DB> {
    pub(crate) fn new(pool: sqlx::Pool<DB>, limit: Duration) -> Self {
        let connections = Connections::new(&pool, CONNECTIONS_MAX, false, limit);
        Self { pool, connections }
    }

    /// A transaction that holds the fence, also while calls are closed.
    async fn fenced(&self, shared: &Shared) -> Result<Tx<'static, DB>, Error> {
        Tx::begin_shared(&self.pool, &[shared], Isolation::default()).await
    }

    async fn unsettle_fenced(
        &self,
        shared: &Shared,
        keys: &[(&EncodedKey, Duration)],
    ) -> Result<(), Error> {
        let mut tx = self.fenced(shared).await?;
        let done = statements::unsettle::<DB>(tx.connection(), &shared.name, keys).await;
        done.map_err(|error| Error::database("marking a key to be copied", error))?;
        tx.commit().await
    }
}

impl<DB: Backend> Marks for SqlMarks<DB> {
    fn trim(&self) {
        self.connections.trim();
    }

    fn close(&self) {
        self.connections.close();
    }

    fn mark<'a>(
        &'a self,
        shared: &'a Shared,
        writes: &'a [(&'a str, &'a EncodedKey)],
    ) -> BoxFuture<'a, Result<Option<Position>, Error>> {
        Box::pin(async move {
            let mut tx = Tx::begin_open(&self.pool, &[shared], Isolation::default()).await?;
            let marks = (writes, &*shared.instance);
            let marked = statements::mark::<DB>(tx.connection(), &shared.name, marks).await;
            let marked = marked.map_err(|error| Error::database("marking a write", error))?;
            let position = tx.pinned(&shared.name);
            if !marked {
                return tx.rollback().await.map(|()| None);
            }
            tx.commit().await?;
            Ok(position)
        })
    }

    fn finish<'a>(
        &'a self,
        shared: &'a Shared,
        ended: &'a [EndedWrite],
    ) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(async move {
            let clearing = self.connections.within("clearing the marks of writes", async {
                let mut lent = self.connections.begin().await?;
                let (name, instance) = (&*shared.name, &*shared.instance);
                let finished = statements::finish::<DB>(&mut lent, name, instance, ended).await?;
                lent.commit().await.map(|()| finished)
            });
            let finished = clearing.await?;
            if finished.gone.is_empty() {
                return Ok(finished.left);
            }
            // Somebody took this instance for dead, and perhaps settled the key before the write reached its side.
            let gone = finished.gone.iter().map(|number| &ended[*number]);
            let mut keys: Vec<_> = gone.map(|one| (&one.key, one.settle_after)).collect();
            keys.sort_unstable();
            keys.dedup_by(|one, other| one.0 == other.0);
            self.unsettle_fenced(shared, &keys).await?;
            Ok(finished.left + keys.len() as u64)
        })
    }

    fn unsettle<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.unsettle_fenced(shared, &[(key, Duration::ZERO)]).await })
    }

    fn adopt<'a>(
        &'a self,
        shared: &'a Shared,
        grace: Duration,
    ) -> BoxFuture<'a, Result<u64, Error>> {
        let adopting =
            self.connections.within("taking over writes of dead instances", async move {
                let mut lent = self.connections.begin().await?;
                let adopted = statements::adopt::<DB>(&mut lent, &shared.name, grace).await?;
                lent.commit().await.map(|()| adopted)
            });
        Box::pin(adopting)
    }

    fn due<'a>(
        &'a self,
        shared: &'a Shared,
        all: bool,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<EncodedKey>, Error>> {
        Box::pin(async move {
            let due = if all { "" } else { " AND u.next_attempt_at <= {now}" };
            let sql = format!(
                "SELECT u.key_text FROM dualwrite_unsettled u WHERE u.migration = ?{due} \
                 AND u.claimed_until <= {{now}} AND NOT EXISTS (SELECT 1 FROM dualwrite_failure f \
                 WHERE f.migration = u.migration AND f.key_text = u.key_text \
                 AND f.waived_at IS NOT NULL) ORDER BY u.next_attempt_at LIMIT {limit}"
            );
            let doing = "reading which keys are to be copied";
            let rows = self.connections.fetch(doing, &sql, &[(&*shared.name).into()]).await?;
            let keys = rows.iter().map(|row| row.text(0).map(|key| EncodedKey(key.to_owned())));
            keys.collect::<sqlx::Result<_>>().map_err(|error| Error::database(doing, error))
        })
    }

    fn claim<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Option<Claim>, Error>> {
        Box::pin(async move {
            let doing = "claiming a key to be copied";
            let id = uuid::Uuid::new_v4().to_string();
            let sql = "UPDATE dualwrite_unsettled SET claimed_by = ?, claimed_until = {now} + ? \
                       WHERE migration = ? AND key_text = ? AND claimed_until <= {now}";
            let (name, text) = (&*shared.name, key.0.as_str());
            let values = [id.as_str().into(), micros(lease), name.into(), text.into()];
            if self.connections.execute(doing, sql, &values).await? == 0 {
                return Ok(None);
            }
            // The position after the claim: as long as the key is unsettled, it has this primary.
            let sql = "SELECT u.version, m.stage, m.ramp, m.epoch, u.attempts, m.closed, \
                       (SELECT count(*) FROM dualwrite_mark k WHERE k.migration = u.migration \
                       AND k.key_text = u.key_text) FROM dualwrite_unsettled u \
                       JOIN dualwrite_migration m ON m.name = u.migration \
                       WHERE u.migration = ? AND u.key_text = ? AND u.claimed_by = ?";
            let values = [name.into(), text.into(), id.as_str().into()];
            let rows = self.connections.fetch(doing, sql, &values).await?;
            let claim = rows.first().map(|row| {
                Ok(Claim {
                    version: row.unsigned(0)?,
                    position: position_of(row, 1, 5)?,
                    attempts: row.unsigned(4)?,
                    writes: row.unsigned(6)?,
                    id,
                })
            });
            claim.transpose().map_err(|error| Error::database(doing, error))
        })
    }

    fn settle<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
        claim: &'a Claim,
        to: Option<Side>,
    ) -> BoxFuture<'a, Result<Settled, Error>> {
        Box::pin(async move {
            let settling = self.connections.within("settling a key", async {
                let mut lent = self.connections.begin().await?;
                let settled = settle_in::<DB>(&mut lent, &shared.name, key, claim, to).await?;
                lent.commit().await.map(|()| settled)
            });
            match settling.await? {
                Some(settled) => Ok(settled),
                None => {
                    // The claim ended over the copy: somebody else may have settled the key before it arrived.
                    self.unsettle_fenced(shared, &[(key, Duration::ZERO)]).await?;
                    Ok(Settled::Again)
                }
            }
        })
    }

    fn give_back<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
        claim: &'a Claim,
        failed: Option<FailedCopy<'a>>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let (name, text) = (&*shared.name, key.0.as_str());
            let giving = self.connections.within("putting a copy off", async {
                let mut lent = self.connections.begin().await?;
                let error: Option<String> =
                    failed.map(|failed| failed.error.chars().take(1_000).collect());
                let more = u64::from(failed.is_some());
                let after = failed.map_or(AGAIN_AFTER, |failed| failed.again_after);
                let sql = "UPDATE dualwrite_unsettled SET claimed_until = 0, claimed_by = NULL, \
                           attempts = attempts + ?, next_attempt_at = {now} + ?, error = ? \
                           WHERE migration = ? AND key_text = ? AND claimed_by = ?";
                let values = [
                    more.into(),
                    micros(after),
                    SqlValue::Text(error),
                    name.into(),
                    text.into(),
                    claim.id.as_str().into(),
                ];
                DB::Adapter::execute(&mut lent, sql, &values).await?;
                if let Some(failed) = failed.filter(|failed| failed.is_dead_letter) {
                    let FailedCopy { to, generation, error, .. } = failed;
                    record_dead_letter::<DB>(&mut lent, name, to, generation, key, error).await?;
                }
                lent.commit().await
            });
            giving.await
        })
    }

    fn look<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
    ) -> BoxFuture<'a, Result<(u64, bool), Error>> {
        Box::pin(async move {
            let sql = "SELECT (SELECT count(*) FROM dualwrite_mark k WHERE k.migration = m.name \
                       AND k.key_text = ?), (SELECT count(*) FROM dualwrite_unsettled u \
                       WHERE u.migration = m.name AND u.key_text = ?) \
                       FROM dualwrite_migration m WHERE m.name = ?";
            let text = key.0.as_str();
            let values = [text.into(), text.into(), (&*shared.name).into()];
            self.two_numbers("looking for writes in flight", sql, &values)
                .await
                .map(|(writes, unsettled)| (writes, unsettled > 0))
        })
    }

    fn left<'a>(&'a self, shared: &'a Shared) -> BoxFuture<'a, Result<(u64, u64), Error>> {
        Box::pin(async move {
            let sql = "SELECT (SELECT count(*) FROM dualwrite_mark k WHERE k.migration = m.name), \
                       (SELECT count(*) FROM dualwrite_unsettled u WHERE u.migration = m.name) \
                       FROM dualwrite_migration m WHERE m.name = ?";
            let values = [(&*shared.name).into()];
            self.two_numbers("counting writes in flight", sql, &values).await
        })
    }

    fn drain<'a>(
        &'a self,
        shared: &'a Shared,
        limit: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let doing = "having new writes wait for a move";
            let name = (&*shared.name).into();
            let done = match limit {
                Some(limit) => {
                    let sql = format!(
                        "INSERT INTO dualwrite_draining (migration, until) VALUES (?, {{now}} + ?){}",
                        DB::Adapter::DIALECT.upsert("migration", &["until"])
                    );
                    self.connections.execute(doing, &sql, &[name, micros(limit)]).await
                }
                None => {
                    let sql = "DELETE FROM dualwrite_draining WHERE migration = ?";
                    self.connections.execute(doing, sql, &[name]).await
                }
            };
            done.map(drop)
        })
    }

    fn place<'a>(
        &'a self,
        shared: &'a Shared,
        ledger: &'a Ledger<'a>,
        rate: Option<u64>,
    ) -> BoxFuture<'a, Result<Option<Place>, Error>> {
        Box::pin(async move {
            let mut tx = self.fenced(shared).await?;
            let place = paging::place::<DB>(tx.connection(), ledger, rate).await;
            let place = place.map_err(|error| Error::database("reading the backfill", error))?;
            tx.commit().await?;
            Ok(place)
        })
    }

    fn page<'a>(
        &'a self,
        shared: &'a Shared,
        ledger: &'a Ledger<'a>,
        cursor: Option<&'a EncodedKey>,
        keys: &'a [EncodedKey],
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let mut tx = self.fenced(shared).await?;
            let taken = paging::page::<DB>(tx.connection(), ledger, cursor, keys).await;
            if taken.map_err(|error| Error::database("taking a page of the backfill", error))? {
                return tx.commit().await.map(|()| true);
            }
            tx.rollback().await.map(|()| false)
        })
    }

    fn count<'a>(
        &'a self,
        ledger: &'a Ledger<'a>,
        copied: u64,
        failed: u64,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.connections.within("counting copied keys", async move {
            let mut lent = self.connections.lend().await?;
            lent.busy();
            let counted = paging::count::<DB>(&mut lent, ledger, copied, failed).await;
            lent.ended(counted)
        }))
    }
}

impl<DB: Backend> SqlMarks<DB> {
    async fn two_numbers(
        &self,
        doing: &str,
        sql: &str,
        values: &[SqlValue],
    ) -> Result<(u64, u64), Error> {
        let rows = self.connections.fetch(doing, sql, values).await?;
        let numbers = match rows.first() {
            Some(row) => row.unsigned(0).and_then(|one| Ok((one, row.unsigned(1)?))),
            None => Err(unexpected(0, "a migration")),
        };
        numbers.map_err(|error| Error::database(doing, error))
    }
}

/// `None` where the claim has ended.
async fn settle_in<DB: Backend>(
    conn: &mut DB::Connection,
    name: &str,
    key: &EncodedKey,
    claim: &Claim,
    to: Option<Side>,
) -> sqlx::Result<Option<Settled>> {
    let held = [name.into(), key.0.as_str().into(), claim.id.as_str().into()];
    let sql = "SELECT u.version, (SELECT count(*) FROM dualwrite_mark k \
               WHERE k.migration = u.migration AND k.key_text = u.key_text) \
               FROM dualwrite_unsettled u \
               WHERE u.migration = ? AND u.key_text = ? AND u.claimed_by = ?";
    let rows = DB::Adapter::fetch(conn, sql, &held).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (version, writes) = (row.unsigned(0)?, row.unsigned(1)?);
    if settles(version == claim.version, writes) && delete::<DB>(conn, &held, version).await? {
        if let Some(to) = to {
            remove_dead_letters::<DB>(conn, name, to, std::slice::from_ref(key)).await?;
        }
        return Ok(Some(Settled::Done));
    }
    let sql = "UPDATE dualwrite_unsettled SET claimed_until = 0, claimed_by = NULL, \
               attempts = 0, next_attempt_at = {now} + ? \
               WHERE migration = ? AND key_text = ? AND claimed_by = ?";
    let [name, text, id] = held;
    let freed = DB::Adapter::execute(conn, sql, &[micros(AGAIN_AFTER), name, text, id]).await?;
    Ok((freed > 0).then_some(Settled::Again))
}

/// Whether it had this version: somebody may have changed it since it was read.
async fn delete<DB: Backend>(
    conn: &mut DB::Connection,
    held: &[SqlValue; 3],
    version: u64,
) -> sqlx::Result<bool> {
    let sql = "DELETE FROM dualwrite_unsettled WHERE migration = ? AND key_text = ? \
               AND claimed_by = ? AND version = ?";
    let values: Vec<SqlValue> = held.iter().cloned().chain([version.into()]).collect();
    Ok(DB::Adapter::execute(conn, sql, &values).await? > 0)
}
