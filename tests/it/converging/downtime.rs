//! Planned downtime between two stores: close, copy, verify, move, open.

use std::time::Duration;

use dualwrite::operator::{Command, CommandOptions, Operator};
use dualwrite::{Closed, ErrorKind, Stage, converging::MirrorFailure};

use super::stores::{Carts, Service, Store};
use crate::support::db::{MySqlDb, PostgresDb, Scratch, SqliteDb, TestDb};

const HOUR: Duration = Duration::from_secs(3_600);

async fn goes_over_while_writes_are_closed<D: TestDb>(db: &Scratch<D>, old: Store, new: Store) {
    let carts = Carts::new(old, new);
    for id in 0..30 {
        carts.old.put(id, Some(&format!("before {id}"))).await.unwrap();
    }
    carts.new.put(99, Some("orphan")).await.unwrap();
    let service = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    let operator = Operator::new(db.pool().clone());
    let give = async |command: Command| {
        let options = CommandOptions::new("ada", "moving house");
        operator.command("carts", &command, &options).await.unwrap()
    };
    give(Command::Close { closed: Closed::Writes, lasts: HOUR }).await;
    let refused = service.save(1, Some("late"), MirrorFailure::Report).await.unwrap_err();
    assert_eq!(refused.kind(), Some(ErrorKind::Maintenance), "{refused}");
    let copied = service.migration.backfill().run().await.unwrap();
    assert_eq!(copied.failed, 0);
    assert!(service.migration.verify().run().await.unwrap().proven);
    for stage in [Stage::Shadow, Stage::Live] {
        service.migration.advance(stage).await.unwrap();
    }
    assert!(service.save(1, Some("late"), MirrorFailure::Report).await.is_err(), "still closed");
    assert_eq!(carts.old.all().await, carts.new.all().await);
    assert_eq!(carts.new.all().await.len(), 30, "the orphan is gone");
    give(Command::Open).await;
    service.save(1, Some("after"), MirrorFailure::Report).await.unwrap();
    for store in [&carts.old, &carts.new] {
        assert_eq!(store.get(1).await.unwrap().as_deref(), Some("after"));
    }
    service.runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_to_postgres_goes_over_while_writes_are_closed() {
    let name = "converging::downtime::postgres_to_postgres";
    let Some(old) = PostgresDb::fresh(name).await else { return };
    let Some(new) = PostgresDb::fresh(name).await else { return };
    let stores = [Store::postgres(old.pool()).await, Store::postgres(new.pool()).await];
    let [one, other] = stores;
    goes_over_while_writes_are_closed(&old, one, other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_to_postgres_goes_over_while_writes_are_closed() {
    let name = "converging::downtime::mysql_to_postgres";
    let Some(old) = MySqlDb::fresh(name).await else { return };
    let Some(new) = PostgresDb::fresh(name).await else { return };
    let (one, other) = (Store::mysql(old.pool()).await, Store::postgres(new.pool()).await);
    goes_over_while_writes_are_closed(&old, one, other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_to_sqlite_goes_over_while_writes_are_closed() {
    let name = "converging::downtime::sqlite_to_sqlite";
    let Some(old) = SqliteDb::fresh(name).await else { return };
    let Some(new) = SqliteDb::fresh(name).await else { return };
    let (one, other) = (Store::sqlite(old.pool()).await, Store::sqlite(new.pool()).await);
    goes_over_while_writes_are_closed(&old, one, other).await;
}
