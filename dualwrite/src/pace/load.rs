//! Asks the database, and this process, for their load; what follows from it is the throttle's affair.

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, unexpected};
use crate::observe::window::{Cut, Window};
use crate::pace::replicas::Replicas;
use crate::pace::throttle::{Load, LogMeter, Throttle, WRITES_WINDOW, WriteLatency};
use crate::state::Shared;

/// How often the database is asked.
pub(crate) const EVERY_NS: u64 = 1_000_000_000;
const SLICE: std::time::Duration = std::time::Duration::from_secs(1);

/// What has to be remembered between two looks.
#[derive(Debug, Default)]
pub(crate) struct Scales {
    log: LogMeter,
    writes: Window,
}

impl Scales {
    /// The load now, as far as the throttle has limits for it and somebody tells.
    pub(crate) async fn read<DB: Backend>(
        &mut self,
        pool: &sqlx::Pool<DB>,
        replicas: &Replicas<DB>,
        shared: &Shared,
        throttle: &Throttle,
    ) -> sqlx::Result<Load> {
        let mut load = Load::default();
        if throttle.wants_writes() {
            self.writes.take(shared.snapshot(), SLICE, Cut::WhenDue);
            load.writes = WriteLatency::of(&self.writes.sum(WRITES_WINDOW, None).figures);
        }
        if DB::Adapter::DIALECT.server {
            load.pressure = DB::Adapter::pressure(&mut *pool.acquire().await?).await?;
        }
        if let Some(sql) = DB::Adapter::LOG_WRITTEN.filter(|_| throttle.wants_log_rate()) {
            let mut conn = pool.acquire().await?;
            let rows = DB::Adapter::fetch(&mut conn, sql, &[]).await?;
            if let Some(row) = rows.first() {
                let written = row.text(1)?.parse().map_err(|_| unexpected(1, "a number"))?;
                load.log_rate = self.log.sample(written, shared.clock.now());
            }
        }
        load.replicas = replicas.poll(pool, &shared.name, &shared.clock).await?;
        Ok(load)
    }
}
