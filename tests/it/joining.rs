//! How an instance joins a migration: without a lock that writers meet, with a fence of its own, and with one that is
//! what its row says.

use std::collections::HashMap;
use std::time::Duration;

use dualwrite::{ErrorKind, Gate, Percent, Runtime, Stage};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{Notes, World, lazy, plain};
use crate::support::sql::Sql;

on_all_databases!(
    nothing_that_instances_do_for_themselves_waits_for_an_open_transaction,
    two_names_with_one_number_get_a_fence_each,
    a_stale_entrance_is_removed_by_a_touch_of_the_row,
    a_stale_entrance_is_removed_by_a_move,
    a_stale_entrance_is_removed_when_an_instance_joins,
    a_fence_that_is_gone_is_made_again_when_an_instance_joins,
    a_build_that_cannot_run_a_stage_keeps_moves_and_ramps_from_it,
);

/// A bound on what must not wait: far above what it takes, and below the servers' own limits on locks.
async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limited = tokio::time::timeout(Duration::from_secs(20), future).await;
    limited.unwrap_or_else(|_| panic!("{what} waits for the open transaction"))
}

async fn nothing_that_instances_do_for_themselves_waits_for_an_open_transaction<D: Sql>(
    db: Scratch<D>,
) {
    if D::NAME == "sqlite" {
        return; // there is one writer at a time, whoever it is
    }
    let world = World::with(db, Stage::DualWrite, 3, lazy).await;
    world.migration.backfill().run().await.unwrap();
    let mut open = world.begin().await;
    world.notes.save(&mut open, 500, "open").await.unwrap();
    let writes = async |id: i64| in_time("a writer", world.save(id, "beside")).await;
    let pool = world.db.another_pool(4).await;
    let runtime = in_time("a start", Runtime::builder(pool).start()).await.unwrap();
    writes(10).await;
    let registration = runtime.migration("notes").register();
    let migration = in_time("joining", registration).await.unwrap();
    writes(11).await;
    in_time("the status", migration.status()).await.unwrap();
    in_time("a refresh", migration.refresh()).await.unwrap();
    in_time("the events", migration.events()).await.unwrap();
    writes(12).await;
    // Its end changes the row that writers hold on MySQL: it may have to wait, and they may not.
    let verifying = {
        let migration = world.migration.clone();
        tokio::spawn(async move { migration.verify().run().await })
    };
    for id in 100..130 {
        writes(id).await;
    }
    in_time("a shutdown", runtime.shutdown()).await.unwrap();
    writes(13).await;
    open.commit().await.unwrap();
    verifying.await.unwrap().unwrap();
    let [old, new] = world.words().await;
    assert_eq!((old.len(), old), (38, new));
}

/// The numbers have 31 bits of a hash of the name.
fn names_with_one_number() -> (String, String) {
    let mut seen = HashMap::new();
    (0_u64..)
        .find_map(|number| {
            let name = format!("m{number}");
            seen.insert(dualwrite::salt(&name) >> 33, name.clone()).map(|other| (other, name))
        })
        .expect("there are many numbers")
}

async fn two_names_with_one_number_get_a_fence_each<D: Sql>(db: Scratch<D>) {
    let (one, other) = names_with_one_number();
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let hour = Duration::from_secs(3600);
    let builder = Runtime::builder(db.another_pool(3).await).poll(hour).lease(hour * 4);
    let stale = builder.start().await.unwrap();
    let mut joined = Vec::new();
    for name in [&one, &other] {
        let migration = runtime.migration(name).register().await.unwrap();
        joined.push((migration, stale.migration(name).register().await.unwrap()));
    }
    for (at, (migration, elsewhere)) in joined.iter().enumerate() {
        migration.advance(Stage::DualWrite).await.unwrap();
        // Whoever has not seen it is refused by this fence, and not by the other's.
        let tx = elsewhere.begin(db.pool()).await.unwrap();
        assert_eq!(tx.position(elsewhere).unwrap().stage, Stage::DualWrite);
        drop(tx);
        let (second, _) = &joined[1 - at];
        let tx = second.begin(db.pool()).await.unwrap();
        assert_eq!(tx.position(second), Some(second.position()));
    }
    assert_eq!(db.number("SELECT count(DISTINCT fence) FROM dualwrite_migration").await, 2);
    stale.shutdown().await.unwrap();
    runtime.shutdown().await.unwrap();
}

/// A migration at `DualWrite`, with the entrance of `Off` as a restored dump may have left it, and an instance that
/// still believes in `Off`.
struct Stale<D: Sql> {
    world: World<D>,
    _runtime: Runtime<D::Db>,
    migration: dualwrite::Migration,
}

/// Entrances that are not the one of the row.
const OTHER_ENTRANCES: [&str; 2] = [
    "SELECT count(*) FROM dualwrite_fence f WHERE NOT EXISTS (SELECT 1 FROM dualwrite_migration m \
     WHERE m.fence = f.id AND m.epoch = f.epoch AND m.token = f.token)",
    "SELECT count(*) FROM pg_proc p WHERE p.proname LIKE 'dualwrite\\_fence\\_%' AND NOT EXISTS (SELECT 1 \
     FROM dualwrite_migration m WHERE p.proname = 'dualwrite_fence_' || m.fence || '_' || m.epoch || '_' || m.token)",
];

fn other_entrances<D: Sql>() -> &'static str {
    D::sql(OTHER_ENTRANCES[0], OTHER_ENTRANCES[1], "")
}

/// The entrance of the epoch that has passed, as a restored dump may leave it.
async fn leave_entrance<D: Sql>(world: &World<D>) {
    let leave = D::sql(
        "UPDATE dualwrite_fence SET epoch = epoch - 1, token = (SELECT from_token FROM dualwrite_migration)",
        "DO $$ BEGIN EXECUTE (SELECT format('CREATE PROCEDURE dualwrite_fence_%s_%s_%s() LANGUAGE plpgsql \
         AS ''BEGIN END''', fence, epoch - 1, from_token) FROM dualwrite_migration); END $$",
        "",
    );
    world.db.execute(leave).await;
    assert_eq!(world.db.number(other_entrances::<D>()).await, 1);
}

impl<D: Sql> Stale<D> {
    async fn new(db: Scratch<D>) -> Option<Self> {
        if D::NAME == "mysql" {
            return None; // the row itself is the fence
        }
        let world = World::with(db, Stage::Off, 0, lazy).await;
        let hour = Duration::from_secs(3600);
        let pool = world.db.another_pool(3).await;
        let runtime = Runtime::builder(pool).poll(hour).lease(hour * 4).start().await.unwrap();
        let migration = runtime.migration("notes").register().await.unwrap();
        world.migration.advance(Stage::DualWrite).await.unwrap();
        leave_entrance(&world).await;
        Some(Self { world, _runtime: runtime, migration })
    }

    /// The instance that believes in what has passed is refused, and learns what is in force.
    async fn is_refused(&self) {
        assert_eq!(self.world.db.number(other_entrances::<D>()).await, 0);
        let tx = self.migration.begin(self.world.db.pool()).await.unwrap();
        let in_force = self.world.migration.refresh().await.unwrap();
        assert_eq!(tx.position(&self.migration), Some(in_force));
    }
}

async fn a_stale_entrance_is_removed_by_a_touch_of_the_row<D: Sql>(db: Scratch<D>) {
    let Some(stale) = Stale::new(db).await else { return };
    stale.world.db.execute("UPDATE dualwrite_migration SET epoch = epoch").await;
    stale.is_refused().await;
}

async fn a_stale_entrance_is_removed_by_a_move<D: Sql>(db: Scratch<D>) {
    if D::NAME == "mysql" {
        return; // the row itself is the fence
    }
    let world = World::with(db, Stage::DualWrite, 0, lazy).await;
    leave_entrance(&world).await;
    world.migration.advance(Stage::Shadow).await.unwrap();
    assert_eq!(world.db.number(other_entrances::<D>()).await, 0);
    world.save(1, "one").await;
}

async fn a_stale_entrance_is_removed_when_an_instance_joins<D: Sql>(db: Scratch<D>) {
    let Some(stale) = Stale::new(db).await else { return };
    let pool = stale.world.db.another_pool(2).await;
    let runtime = Runtime::builder(pool).start().await.unwrap();
    runtime.migration("notes").register().await.unwrap();
    stale.is_refused().await;
    runtime.shutdown().await.unwrap();
}

async fn a_fence_that_is_gone_is_made_again_when_an_instance_joins<D: Sql>(db: Scratch<D>) {
    if D::NAME == "mysql" {
        return;
    }
    let world = World::with(db, Stage::DualWrite, 0, lazy).await;
    let lose = D::sql(
        "DELETE FROM dualwrite_fence",
        "DO $$ BEGIN EXECUTE (SELECT format('DROP PROCEDURE dualwrite_fence_%s_%s_%s()', fence, epoch, token) \
         FROM dualwrite_migration); END $$; ALTER TABLE dualwrite_migration DISABLE TRIGGER dualwrite_fence",
        "",
    );
    world.db.execute(lose).await;
    let runtime = Runtime::builder(world.db.another_pool(2).await).start().await.unwrap();
    let migration = runtime.migration("notes").register().await.unwrap();
    let tx = migration.begin(world.db.pool()).await.unwrap();
    assert_eq!(tx.position(&migration).unwrap().stage, Stage::DualWrite);
    drop(tx);
    if D::NAME == "postgres" {
        // Also where rows come from a publisher.
        let replicated = "SET session_replication_role = replica; \
                          UPDATE dualwrite_migration SET epoch = epoch + 1; \
                          SET session_replication_role = DEFAULT";
        world.db.execute(replicated).await;
        assert_eq!(world.db.number(other_entrances::<D>()).await, 0);
        let tx = migration.begin(world.db.pool()).await.unwrap();
        let epoch = world.db.number("SELECT epoch FROM dualwrite_migration").await;
        assert_eq!(tx.position(&migration).unwrap().epoch.0 as i64, epoch);
    }
    runtime.shutdown().await.unwrap();
}

async fn a_build_that_cannot_run_a_stage_keeps_moves_and_ramps_from_it<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
    let joined = async |first, last| {
        let runtime = Runtime::builder(world.db.pool().clone()).stages(first, last).start();
        let runtime = runtime.await.unwrap();
        runtime.migration("notes").register().await.unwrap();
        runtime
    };
    let is_refused = |result: Result<dualwrite::Position, dualwrite::Error>, build: &str| {
        let refused = result.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Blocked, "{refused}");
        let mut gates: Vec<Gate> = refused.blockers().iter().map(|one| one.gate).collect();
        gates.retain(|gate| *gate != Gate::Drained); // a gate that opens by itself
        assert_eq!(gates, [Gate::Supported], "{refused}");
        assert!(refused.to_string().contains(build), "{refused}");
    };
    let percent = Percent::new(1).unwrap();

    let earlier = joined(Stage::Off, Stage::Shadow).await;
    world.migration.advance(Stage::Shadow).await.unwrap();
    for _ in 0..2 {
        // The first key that ramps behaves as at the next stage.
        is_refused(world.migration.ramp_to(percent).await, "can run off to shadow, not live");
        is_refused(world.migration.advance(Stage::Live).await, "can run off to shadow, not live");
    }
    world.migration.step_back(Stage::DualWrite).await.unwrap();
    let later = joined(Stage::Live, Stage::Complete).await;
    is_refused(
        world.migration.advance(Stage::Shadow).await,
        "can run live to complete, not shadow",
    );
    later.shutdown().await.unwrap();
    world.migration.advance(Stage::Shadow).await.unwrap();
    earlier.shutdown().await.unwrap();
    world.migration.ramp_to(percent).await.unwrap();
    world.migration.advance(Stage::Live).await.unwrap();
    world.runtime.shutdown().await.unwrap();
}
