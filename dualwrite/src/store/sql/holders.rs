//! Who holds the fence that a change of the position, or a copy that needs it alone, did not get: the instances that
//! say so in their acknowledgements, and the sessions that the server sees.

use std::fmt;
use std::time::Duration;

use crate::clock;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Holder, Holders, SqlRow};
use crate::store::sql::SqlControl;
use crate::transaction::exclusive::HELD_OPEN;

/// How many of each are named.
const NAMED: usize = 3;
/// While it is asked again, the server shows for whom it waits.
const ASKING: Duration = Duration::from_millis(300);

/// An instance whose transaction has been open for longer than a second.
struct Instance {
    id: String,
    release: String,
    open_s: u64,
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, release, open_s } = self;
        write!(f, "instance `{id}` (release `{release}`) has had one open for {open_s} s or more")
    }
}

impl<DB: Backend> SqlControl<DB> {
    /// The message of a change that gave up.
    pub(super) async fn waited_for(&self, name: &str) -> String {
        let holders = self.holders_of(name).await;
        let named = match holders.is_empty() {
            true => String::new(),
            false => format!(": {}", holders.join("; ")),
        };
        format!("writes in flight did not end in time, so the stage stays; {HELD_OPEN}{named}")
    }

    /// In words, for the message of whoever gave up; empty where nobody is known. What fails here is left
    /// out: the change or the copy has failed already, and says so.
    pub(super) async fn holders_of(&self, name: &str) -> Vec<String> {
        let found = clock::limit(self.moves.limit() * 2, async {
            let mut said: Vec<String> = Vec::new();
            let instances = self.holding_instances(name).await.unwrap_or_default();
            said.extend(instances.iter().map(ToString::to_string));
            let sessions = self.holding_sessions(name).await.unwrap_or_default();
            said.extend(sessions.iter().take(NAMED).map(ToString::to_string));
            said
        });
        found.await.unwrap_or_default()
    }

    async fn holding_instances(&self, name: &str) -> sqlx::Result<Vec<Instance>> {
        let sql = format!(
            "SELECT i.id, i.release_name, a.open_s FROM dualwrite_acknowledgement a \
             JOIN dualwrite_instance i ON i.id = a.instance \
             WHERE a.migration = ? AND a.open_s > 0 AND i.expires_at > {{now}} \
             ORDER BY a.open_s DESC, i.id LIMIT {NAMED}"
        );
        let rows = self.working.lend().await?.fetch(&sql, &[name.into()]).await?;
        let instance = |row: &SqlRow| {
            Ok(Instance {
                id: row.text(0)?.to_owned(),
                release: row.text(1)?.to_owned(),
                open_s: row.unsigned(2)?,
            })
        };
        rows.iter().map(instance).collect()
    }

    async fn holding_sessions(&self, name: &str) -> sqlx::Result<Vec<Holder>> {
        let rows = match DB::Adapter::HOLDERS {
            Holders::Unknown => return Ok(Vec::new()),
            Holders::ByName(sql) => self.working.lend().await?.fetch(sql, &[name.into()]).await?,
            Holders::ByWaiter(sql) => self.blocking(name, sql).await?,
        };
        let mut found: Vec<Holder> = rows.iter().map(Holder::of).collect::<sqlx::Result<_>>()?;
        found.dedup_by_key(|holder| holder.session);
        Ok(found)
    }

    async fn blocking(&self, name: &str, sql: &str) -> sqlx::Result<Vec<SqlRow>> {
        let mut waiting = self.moves.lend().await?;
        let Some(waiter) = waiting.number() else { return Ok(Vec::new()) };
        let waits = async move {
            // Whether it is had now or not, nothing is done with it.
            if waiting.begin_exclusive(name).await.is_ok() {
                let _ = waiting.rollback().await;
            }
        };
        let asks = async {
            clock::sleep(ASKING).await;
            self.working.lend().await?.fetch(sql, &[waiter.into()]).await
        };
        tokio::join!(waits, asks).1
    }
}
