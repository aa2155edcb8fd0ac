//! Which keys a worker copies next: ranges that it claims under a lease, up to the end that was fixed at
//! the start; and the proof that nothing is left.

use super::step::Claim;
use super::worker::Worker;
use crate::copy::source::KeyParts;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::store::ledger::Head;

/// Batches in a range that a worker claims at once.
const RANGE_BATCHES: u32 = 20;
/// Below this counting is quick.
const ESTIMATE_FROM: u64 = 100_000;

impl<DB: Backend> Worker<'_, DB> {
    /// The next range to work off: one that a worker left, or the next that nobody claimed.
    pub(crate) async fn claim(&mut self) -> Result<Claim, Error> {
        let failed = self.failed("claiming a range to copy");
        let mut tx = self.begin().await?;
        let conn = tx.connection();
        let ledger = self.ledger();
        let head = match ledger.head::<DB>(conn).await.map_err(&failed)? {
            Some(head) => head,
            None => self.fix_range(conn).await?,
        };
        if head.complete {
            tx.rollback().await?;
            return Ok(Claim::Complete);
        }
        let claim = match ledger.take_over::<DB>(conn).await.map_err(&failed)? {
            Some(range) => Claim::Range(range),
            None => self.claim_next(conn, &head).await?,
        };
        // Lost in a crash, it is lost with every page that was copied under it. That nothing is left is on
        // disk before anybody hears of it.
        if matches!(claim, Claim::Range(_)) {
            self.set_up(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(claim)
    }

    async fn claim_next(&self, conn: &mut DB::Connection, head: &Head) -> Result<Claim, Error> {
        let failed = self.failed("claiming a range to copy");
        let ledger = self.ledger();
        let parts = |key: &Option<EncodedKey>| {
            key.as_ref().map(|key| key.parts(self.pages.kind)).transpose()
        };
        let (after, end) = (parts(&head.claimed)?, parts(&head.range_end)?);
        let keys = self.pace.limit().saturating_mul(RANGE_BATCHES);
        let next = match end {
            Some(_) => self.pages.range_end(after.as_ref(), end.as_ref(), keys),
            None => return self.finish(conn).await,
        };
        let rows = DB::Adapter::fetch(conn, &next.0, &next.1).await.map_err(&failed)?;
        match rows.into_iter().next().filter(|row| !row.is_null(0)) {
            Some(row) => {
                let last = self.pages.recorded(&self.pages.key_of(row)?)?;
                let claimed = ledger.claim::<DB>(conn, head, &last).await;
                claimed.map(Claim::Range).map_err(&failed)
            }
            None => self.finish(conn).await,
        }
    }

    /// The page after the last claimed key is empty, and this transaction is healthy. What is left is
    /// what other workers hold.
    async fn finish(&self, conn: &mut DB::Connection) -> Result<Claim, Error> {
        let failed = self.failed("completing the backfill");
        let ledger = self.ledger();
        if ledger.has_open_ranges::<DB>(conn).await.map_err(&failed)? {
            return Ok(Claim::Wait);
        }
        // What is read of a key column that was altered meanwhile may have left rows out.
        self.copier.check_forms(conn).await.map_err(|error| error.of(&self.shared.name))?;
        ledger.complete::<DB>(conn).await.map_err(&failed)?;
        Ok(Claim::Complete)
    }

    /// Fixes the end of the range: rows born later belong to the dual write.
    async fn fix_range(&self, conn: &mut DB::Connection) -> Result<Head, Error> {
        let failed = self.failed("fixing the range of the backfill");
        let (sql, values) = self.pages.greatest();
        let rows = DB::Adapter::fetch(conn, &sql, &values).await.map_err(&failed)?;
        let end = rows.into_iter().next().map(|row| self.pages.key_of(row)).transpose()?;
        let total = match &end {
            Some(end) => self.total(conn, end).await.map_err(&failed)?,
            None => 0,
        };
        let end = end.map(|parts| self.pages.recorded(&parts)).transpose()?;
        let ledger = self.ledger();
        let rate = self.options.rate;
        ledger.start::<DB>(conn, end.as_ref(), total, rate).await.map_err(&failed)?;
        let head = ledger.head::<DB>(conn).await.map_err(&failed)?;
        head.ok_or_else(|| Error::new(ErrorKind::Conflict, "the backfill was removed meanwhile"))
    }

    /// How many keys there are: by the catalogue where counting would take long.
    async fn total(&self, conn: &mut DB::Connection, end: &KeyParts) -> sqlx::Result<u64> {
        let estimate = self.pages.estimate::<DB::Adapter>();
        if let (false, Some(sql)) = (self.options.exact_total, estimate) {
            let rows = DB::Adapter::fetch(conn, &sql, &[]).await?;
            let estimate = rows.first().and_then(|row| row.unsigned(0).ok());
            if let Some(many) = estimate.filter(|estimate| *estimate >= ESTIMATE_FROM) {
                return Ok(many);
            }
        }
        let (sql, values) = self.pages.count(Some(end));
        let rows = DB::Adapter::fetch(conn, &sql, &values).await?;
        rows[0].unsigned(0)
    }
}
