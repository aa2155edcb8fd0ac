//! Several processes of one service: who sees a change of the position and when, and what holds up a move.
//! The other processes are real ones; see `support::process`.

mod beside;
mod in_flight;
mod paused;
mod service;
mod visible;

use std::time::Duration;

use dualwrite::{Migration, Runtime, Stage, defaults::LEASE};

use crate::crash;
use crate::support::customers::{CopyCustomers, TABLES, join};
use crate::support::db::{MySqlDb, PostgresDb, Scratch, SqliteDb, TestDb};
use crate::support::process::{Call, Child, PATIENCE};
use crate::support::sql::Sql;
use crate::support::wait::{somebody_waits, until};

/// What the other processes run. In the process of the tests themselves there is nothing to do.
#[test]
fn child() {
    let Some(call) = Call::of_parent() else { return };
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let threads = threads.expect("threads");
    match call.database.as_str() {
        SqliteDb::NAME => threads.block_on(serve::<SqliteDb>(call)),
        PostgresDb::NAME => threads.block_on(serve::<PostgresDb>(call)),
        MySqlDb::NAME => threads.block_on(serve::<MySqlDb>(call)),
        other => panic!("no database is called {other}"),
    }
}

async fn serve<D: Sql>(call: Call) {
    match call.role() {
        "service" => service::serve::<D>(call).await,
        "crash" => crash::serve::<D>(call).await,
        "worker" => crash::work::<D>(call).await,
        "exact" => crate::exact::killed::serve::<D>(call).await,
        "converging" => crate::converging::killed::serve::<D>(call).await,
        other => panic!("no role is called {other}"),
    }
}

/// The process of the test itself, as one instance of the service.
pub(crate) struct Operator<D: Sql> {
    pub(crate) db: Scratch<D>,
    _runtime: Runtime<D::Db>,
    pub(crate) migration: Migration,
}

impl<D: Sql> Operator<D> {
    /// With a lazy migration, so that every stage can be reached.
    pub(crate) async fn new(db: Scratch<D>) -> Self {
        Self::with(db, true).await
    }

    pub(crate) async fn with(db: Scratch<D>, lazy: bool) -> Self {
        db.execute(TABLES).await;
        let copy = CopyCustomers::<D>::new(&Default::default());
        let (runtime, migration) = join(db.pool(), LEASE, lazy, copy).await.unwrap();
        Self { db, _runtime: runtime, migration }
    }

    /// Goes on, stage by stage.
    pub(crate) async fn go_to(&self, stage: Stage) {
        while self.migration.position().stage < stage {
            let next = self.migration.position().stage.next().unwrap();
            self.migration.advance(next).within(PATIENCE).await.unwrap();
        }
    }

    /// Another process; answers when it has registered, with the identity of its instance.
    pub(crate) async fn another(&self, lease: Duration) -> (Child, String) {
        let mut child = Child::start(&self.db, &format!("service {}", lease.as_millis()));
        let instance = child.says("ready").await;
        (child, instance)
    }

    /// Looks at the control tables until this holds for what the instance reported.
    pub(crate) async fn until(&self, instance: &str, holds: impl Fn(u64, u64) -> bool) {
        until("the instance reports it", async || {
            let status = self.migration.status().await.unwrap();
            let report = status.instances.into_iter().find(|report| report.id == instance);
            report.is_some_and(|report| holds(report.seen.0, report.drained.0))
        })
        .await;
    }

    /// Looks until some transaction of this database waits for another one. SQLite does not tell.
    pub(crate) async fn until_somebody_waits(&self) {
        if D::NAME != "sqlite" {
            until("somebody waits", async || somebody_waits(&self.db).await).await;
        }
    }

    /// The names of old and of new, by key.
    pub(crate) async fn names(&self) -> [Vec<String>; 2] {
        let names = async |sql| -> Vec<String> {
            self.db.rows(sql).await.into_iter().flatten().flatten().collect()
        };
        [
            names("SELECT name FROM customer ORDER BY id").await,
            names("SELECT full_name FROM customer_new ORDER BY id").await,
        ]
    }
}
