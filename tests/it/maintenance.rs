//! Calls that are closed for maintenance: as strong as the fence, and everything that keeps order goes on.

use dualwrite::{
    Backend, Closed, Error, ErrorKind, Move, Runtime, Stage, Tx,
    operator::{Command, CommandOptions, CommandOutcome, Operator},
    rollout::{RolloutCommandKind, RolloutPlan, RolloutState, RolloutStep},
};
use std::time::Duration;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, Notes as _, World, lazy, plain};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    closing_waits_for_a_write_in_flight_and_refuses_the_next,
    an_instance_that_has_not_heard_writes_nothing_after_closing,
    reads_are_refused_only_where_all_calls_are_closed,
    an_instance_that_starts_while_closed_joins_closed,
    rollback_and_kill_switch_work_while_closed,
    copies_verification_and_moves_run_while_closed,
    a_rollout_goes_on_and_waits_for_no_soak_while_closed,
    closing_twice_changes_nothing_and_a_stale_command_is_refused,
);

const HOUR: Duration = Duration::from_secs(3_600);

fn close(closed: Closed) -> Command {
    Command::Close { closed, lasts: HOUR }
}

fn by_ada() -> CommandOptions {
    CommandOptions::new("ada", "new disks")
}

async fn give(operator: &Operator, command: &Command) -> Result<CommandOutcome, Error> {
    operator.command("notes", command, &by_ada()).await
}

fn operator<D: Sql>(world: &World<D>) -> Operator {
    Operator::new(world.db.pool().clone())
}

/// It names what is closed, by whom, why and until when.
fn names_all(error: &Error, closed: Closed) {
    assert_eq!((error.kind(), error.migration()), (ErrorKind::Maintenance, Some("notes")));
    assert!(error.is_retryable());
    let maintenance = error.maintenance().unwrap();
    assert_eq!(maintenance.closed, closed);
    assert_eq!((&*maintenance.actor, &*maintenance.reason), ("ada", "new disks"));
    let said = error.to_string();
    assert!(said.contains("new disks") && said.contains(&maintenance.ends()), "{said}");
}

async fn closing_waits_for_a_write_in_flight_and_refuses_the_next<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let operator = operator(&world);
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "in flight").await.unwrap();
    let closing = tokio::spawn({
        let operator = operator.clone();
        async move { give(&operator, &close(Closed::Writes)).await }
    });
    for id in 2..60 {
        world.notes.save(&mut tx, id, "in flight").await.unwrap();
    }
    assert!(!closing.is_finished(), "a write is in flight");
    tx.commit().await.unwrap();
    let outcome = closing.await.unwrap().unwrap();
    assert!(outcome.text.contains("writes are closed by ada"), "{outcome:?}");
    assert!(outcome.position.contains("writes closed"), "{outcome:?}");
    let count = "SELECT count(*) FROM new_note";
    assert_eq!(world.db.number(count).await, 59, "it was committed before");
    names_all(&world.migration.begin(world.db.pool()).await.unwrap_err(), Closed::Writes);
    give(&operator, &Command::Open).await.unwrap();
    until("it is open here", async || world.migration.begin(world.db.pool()).await.is_ok()).await;
    world.save(1, "after").await;
}

/// Closes without telling anybody: PostgreSQL would tell the instance at once. Answers whether nobody has heard.
async fn close_unheard<D: Sql>(world: &World<D>, closed: Closed) -> bool {
    if D::NAME != "postgres" {
        let outcome = give(&operator(world), &close(closed)).await.unwrap();
        return outcome.text.contains("not acknowledged yet by");
    }
    let closed = if closed == Closed::Writes { 1 } else { 2 };
    let by_hand = format!(
        "UPDATE dualwrite_migration SET epoch = epoch + 1, closed = {closed}, closed_by = 'ada', \
         closed_because = 'new disks', closed_until = 1800000000000000"
    );
    world.db.execute(&by_hand).await;
    true
}

/// Every way to a write.
#[derive(Clone, Copy)]
enum Way {
    Begin,
    BeginFor,
    Adopt,
    Wrapper,
}

#[dualwrite::repository(transaction = DB)]
trait Words<DB: Backend>: Sync {
    #[write(key = id)]
    async fn save(&self, id: i64) -> Result<(), Error>;
}

struct Word<D: Sql> {
    pool: sqlx::Pool<D::Db>,
}

impl<D: Sql> WordsIn<D::Db> for Word<D> {
    async fn save(&self, _tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), Error> {
        panic!("{id} is written while closed, {} connections", self.pool.size())
    }
}

/// It neither polls nor listens.
async fn an_instance_that_has_not_heard_writes_nothing_after_closing<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let pool = world.db.another_pool(4).await;
    let (builder, _hands) = Runtime::builder(pool.clone()).manual_clock();
    let deaf = builder.lease(HOUR).poll(HOUR / 4).start().await.unwrap();
    let migration = deaf.migration("notes").backfill(CopyNotes::<D>::new()).lazy();
    let migration = migration.register().await.unwrap();
    let operator = operator(&world);
    let words = || Word::<D> { pool: pool.clone() };
    let words = DualWords::new(&migration, words(), words()).fenced(pool.clone());
    let ways = [Way::Begin, Way::BeginFor, Way::Adopt, Way::Wrapper];
    for (closed, way) in [Closed::Writes, Closed::Calls].into_iter().cycle().zip(ways) {
        let mut tries = 0;
        loop {
            migration.refresh().await.unwrap();
            let before = migration.position().epoch;
            // Until it has told what it has learnt, it owes a heartbeat, and hears with that.
            let untold = format!(
                "SELECT count(*) FROM dualwrite_acknowledgement WHERE drained_epoch < {before}"
            );
            until("all have told", async || world.db.number(&untold).await == 0).await;
            let unheard = close_unheard(&world, closed).await;
            if unheard && migration.position().epoch == before {
                break;
            }
            // The heartbeat that told it was not over yet.
            give(&operator, &Command::Open).await.unwrap();
            tries += 1;
            assert!(tries < 10, "it always hears");
        }
        let refused = match way {
            Way::Begin => migration.begin(&pool).await.unwrap_err(),
            Way::BeginFor => Tx::begin_for(&pool, &[&migration]).await.unwrap_err(),
            Way::Adopt => {
                let mut transaction = pool.begin().await.unwrap();
                let refused = Tx::adopt(&mut transaction, &[&migration]).await.unwrap_err();
                transaction.rollback().await.unwrap();
                refused
            }
            Way::Wrapper => words.save(1).await.unwrap_err(),
        };
        names_all(&refused, closed);
        assert_eq!(migration.position().closed, closed, "it has heard now");
        give(&operator, &Command::Open).await.unwrap();
    }
    migration.refresh().await.unwrap();
    migration.begin(&pool).await.unwrap().commit().await.unwrap();
    deaf.shutdown().await.unwrap();
}

async fn reads_are_refused_only_where_all_calls_are_closed<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Shadow, 3, plain).await;
    let operator = operator(&world);
    give(&operator, &close(Closed::Writes)).await.unwrap();
    assert_eq!(world.notes.find(1).await.unwrap().as_deref(), Some("word 1"));
    let outcome = give(&operator, &close(Closed::Calls)).await.unwrap();
    assert!(outcome.text.starts_with("all calls are closed by ada"), "{outcome:?}");
    assert!(!outcome.text.contains("not acknowledged"), "{outcome:?}");
    let refused = world.notes.find(1).await.unwrap_err();
    names_all(Error::find(&refused).unwrap(), Closed::Calls);
    let pool = world.db.pool();
    names_all(&world.migration.begin(pool).await.unwrap_err(), Closed::Calls);
    let scan = world.migration.scan("all").old(async || Ok::<_, Error>(1)).new(async || Ok(1));
    names_all(&scan.run().await.unwrap_err(), Closed::Calls);
    let status = world.migration.status().await.unwrap();
    assert_eq!(status.maintenance.unwrap().reason, "new disks");
    assert!(status.counters.closed_refused >= 3);
    let probe = world.runtime.probes().readiness();
    assert!(
        probe.ok && probe.maintenance[0].contains("notes: all calls are closed by ada"),
        "{probe:?}"
    );
    let shown = operator.migration("notes").await.unwrap();
    assert_eq!(shown.attention(), Some("all calls closed"));
    assert_eq!(operator.migrations().await.unwrap()[0].maintenance, shown.maintenance);
    // Who deploys meanwhile can look.
    let notes = &world.notes;
    let smoke = world.migration.smoke(pool).read(notes.find(1));
    let smoke = smoke.write(|tx| Box::pin(async move { Ok(notes.save(tx, 1, "smoke").await?) }));
    let report = smoke.run().await;
    assert!(report.passed() && report.to_string().contains("closed for maintenance"), "{report}");
    give(&operator, &Command::Open).await.unwrap();
    until("it is open here", async || world.notes.find(1).await.is_ok()).await;
    assert_eq!(world.runtime.probes().readiness().maintenance, Vec::<String>::new());
    assert_eq!(operator.migration("notes").await.unwrap().maintenance, None);
    world.runtime.shutdown().await.unwrap();
}

async fn an_instance_that_starts_while_closed_joins_closed<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    give(&operator(&world), &close(Closed::Calls)).await.unwrap();
    let pool = world.db.another_pool(4).await;
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let registration = runtime.migration("notes").backfill(CopyNotes::<D>::new()).lazy();
    let migration = registration.register().await.unwrap();
    names_all(&migration.begin(&pool).await.unwrap_err(), Closed::Calls);
    let read = migration.read("one", &1_i64).old(async || Ok::<_, Error>(1)).new(async || Ok(1));
    names_all(&read.run().await.unwrap_err(), Closed::Calls);
    runtime.shutdown().await.unwrap();
}

async fn rollback_and_kill_switch_work_while_closed<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Live, 3, lazy).await;
    let operator = operator(&world);
    let stale = by_ada().expecting(operator.migration("notes").await.unwrap().epoch);
    give(&operator, &close(Closed::Calls)).await.unwrap();
    let rollback = Command::Move(Move::Rollback, Vec::new());
    let back = operator.command("notes", &rollback, &stale).await.unwrap();
    assert!(back.position.starts_with("shadow"), "{back:?}");
    assert!(back.position.contains("all calls closed"), "a move opens nothing: {back:?}");
    let killed = operator.command("notes", &Command::KillOn, &stale).await.unwrap();
    assert!(killed.position.starts_with("dual_write"), "{killed:?}");
    world.migration.refresh().await.unwrap();
    names_all(&world.migration.begin(world.db.pool()).await.unwrap_err(), Closed::Calls);
    world.runtime.shutdown().await.unwrap();
}

async fn copies_verification_and_moves_run_while_closed<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, |one| one.soak(HOUR)).await;
    give(&operator(&world), &close(Closed::Calls)).await.unwrap();
    let migration = &world.migration;
    migration.backfill().run().await.unwrap();
    world.db.execute("UPDATE new_note SET word = 'other' WHERE id = 2").await;
    assert_eq!(migration.verify().run().await.unwrap().differing, 1);
    migration.verify().repair().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
    migration.advance(Stage::Shadow).await.unwrap();
    migration.advance(Stage::Live).await.unwrap();
    migration.advance(Stage::RampDown).await.unwrap();
    assert_eq!(migration.position().closed, Closed::Calls);
    world.runtime.shutdown().await.unwrap();
}

async fn a_rollout_goes_on_and_waits_for_no_soak_while_closed<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    let plan = RolloutPlan::new()
        .step(RolloutStep::stage(Stage::DualWrite).soak(HOUR))
        .step(RolloutStep::stage(Stage::Shadow).soak(HOUR));
    world.migration.rollout().start(&plan, "ada", "by plan").await.unwrap();
    until("the first step is taken", async || {
        world.migration.refresh().await.unwrap().stage == Stage::DualWrite
    })
    .await;
    give(&operator(&world), &close(Closed::Writes)).await.unwrap();
    until("the next one, too", async || {
        world.migration.refresh().await.unwrap().stage == Stage::Shadow
    })
    .await;
    let rollout = operator(&world).rollout("notes").await.unwrap().unwrap();
    assert_ne!(rollout.state, RolloutState::Held, "{rollout:?}");
    world.runtime.shutdown().await.unwrap();
}

async fn closing_twice_changes_nothing_and_a_stale_command_is_refused<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let operator = operator(&world);
    let stale = by_ada().expecting(operator.migration("notes").await.unwrap().epoch);
    let dry = operator.command("notes", &close(Closed::Writes), &by_ada().dry_run(true)).await;
    assert_eq!(dry.unwrap().text, "would close writes for about 1h");
    assert_eq!(operator.migration("notes").await.unwrap().maintenance, None);
    let opened = give(&operator, &Command::Open).await.unwrap();
    assert!(opened.text.contains("were open already"), "{opened:?}");
    let first = give(&operator, &close(Closed::Writes)).await.unwrap();
    let second = give(&operator, &close(Closed::Writes)).await.unwrap();
    assert_eq!(second.epoch, first.epoch);
    assert!(second.text.contains("so already"), "{second:?}");
    for command in [close(Closed::Calls), Command::Open] {
        let refused = operator.command("notes", &command, &stale).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    }
    give(&operator, &Command::Open).await.unwrap();
    let audit = operator.audit("notes").await.unwrap();
    let kinds: Vec<_> = audit.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [RolloutCommandKind::Open, RolloutCommandKind::Close]);
    for one in &audit {
        assert_eq!((&*one.actor, &*one.reason), ("ada", "new disks"));
    }
    assert_eq!(audit[1].detail.as_deref(), Some("writes, for 1h"));
    let event = operator.events("notes").await.unwrap().remove(0);
    assert_eq!((&*event.actor, event.epoch), ("ada", audit[0].epoch));
    world.runtime.shutdown().await.unwrap();
}
