//! Several runtimes on one database, as processes that come, go and die; and time that passes when a test
//! says so: the times in the control tables are moved into the past.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use dualwrite::{Migration, Runtime, RuntimeBuilder, Status};

use super::db::Scratch;
use super::notes::CopyNotes;
use super::sql::Sql;
use super::wait::soon;

pub(crate) const POLL: Duration = Duration::from_millis(20);
/// Never runs out during a test.
pub(crate) const LEASE: Duration = Duration::from_secs(120);

/// One process of the service.
pub(crate) struct Member<D: Sql> {
    pub(crate) runtime: Runtime<D::Db>,
    pub(crate) migration: Migration,
}

/// The database, and who has died on it.
pub(crate) struct Crew<D: Sql> {
    pub(crate) db: Scratch<D>,
    dead: Vec<String>,
}

impl<D: Sql> Crew<D> {
    /// With as many notes in old.
    pub(crate) async fn new(db: Scratch<D>, rows: u32) -> Self {
        db.execute(
            "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
             CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL)",
        )
        .await;
        for id in 1..=rows {
            db.execute(&format!("INSERT INTO old_note (id, word) VALUES ({id}, 'word {id}')"))
                .await;
        }
        Self { db, dead: Vec::new() }
    }

    /// A runtime about to start, whose environment is empty.
    pub(crate) fn builder(&self) -> RuntimeBuilder<D::Db> {
        Runtime::builder(self.db.pool().clone()).lease(LEASE).poll(POLL).environment(|_| None)
    }

    pub(crate) async fn joins(&self) -> Member<D> {
        self.joins_as(self.builder()).await
    }

    pub(crate) async fn joins_as(&self, builder: RuntimeBuilder<D::Db>) -> Member<D> {
        let runtime = builder.start().await.unwrap();
        let registration = runtime.migration("notes").backfill(CopyNotes::<D>::both_ways());
        let migration = registration.register().await.unwrap();
        Member { runtime, migration }
    }

    /// Goes without a word; its leases run out.
    pub(crate) fn dies(&mut self, member: Member<D>) {
        self.dead.push(member.runtime.instance().to_owned());
    }

    /// Time passes, for the step of a rollout.
    pub(crate) async fn passes(&self, time: Duration) {
        let us = time.as_micros();
        self.db.execute(&format!("UPDATE dualwrite_plan SET step_since = step_since - {us}")).await;
    }

    /// Waits for a status.
    pub(crate) async fn until(
        &self,
        migration: &Migration,
        what: &str,
        holds: impl Fn(&Status) -> bool,
    ) -> Status {
        let last = Mutex::new(None);
        let ask = async || {
            for dead in &self.dead {
                let sql = format!(
                    "UPDATE dualwrite_instance SET expires_at = 0 WHERE id = '{dead}';
                     UPDATE dualwrite_plan SET leader_until = 0 WHERE leader = '{dead}';
                     UPDATE dualwrite_task SET runner_until = 0 WHERE runner = '{dead}';
                     UPDATE dualwrite_batch SET expires_at = 0 WHERE owner LIKE '{dead}/%'"
                );
                self.db.execute(&sql).await;
            }
            let status = migration.status().await.unwrap();
            *last.lock().unwrap() = Some(status.clone());
            Some(status).filter(&holds)
        };
        soon(Last { what, last: &last }, ask).await
    }
}

/// What is waited for, and what there was instead.
struct Last<'l> {
    what: &'l str,
    last: &'l Mutex<Option<Status>>,
}

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; it is {:#?}", self.what, self.last.lock().unwrap())
    }
}
