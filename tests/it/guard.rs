//! Guards: a new side that is slow, wrong or failing is gone back from, once, with the reason in the audit.
//! Time is that of a clock which the test moves; a slow side moves it itself.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use dualwrite::testing::ManualClock;
use dualwrite::{
    Compare, Migration, Percent, Runtime, Stage,
    guard::{GuardReport, Guards},
    migration::RolloutStatus,
    observe::CounterReport,
    operator::AuditEvent,
    rollout::{RolloutPlan, RolloutState, RolloutStep},
    runtime::RuntimeEvent,
};
use futures_util::FutureExt as _;
use sqlx::Error;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::CopyNotes;
use crate::support::sql::Sql;
use crate::support::wait::soon;

on_all_databases!(
    a_slow_new_side_is_gone_back_from,
    a_new_side_that_is_wrong_in_a_critical_field_is_gone_back_from,
    a_new_side_that_fails_two_calls_in_a_hundred_is_gone_back_from,
    a_new_side_that_panics_is_rolled_back,
    a_new_side_that_hangs_until_callers_give_up_is_rolled_back,
    callers_that_disconnect_roll_nothing_back,
    callers_that_give_up_as_often_as_on_old_roll_nothing_back,
    a_healthy_new_side_stays_and_missing_data_is_no_health,
    of_two_instances_that_find_it_at_once_one_goes_back,
    without_guards_nothing_moves_by_itself,
    a_breach_beside_old_answers_is_told_and_nothing_else,
    a_rollout_goes_on_only_where_the_guards_are_content,
);

/// Long enough for hundreds of calls that take three seconds each.
const PERIOD: Duration = Duration::from_secs(1_800);
const SLOW: Duration = Duration::from_secs(3);
const NOTES: i64 = 10;

const WELL: u8 = 0;
const IS_SLOW: u8 = 1;
const IS_WRONG: u8 = 2;
const FAILS: u8 = 3;
const PANICS: u8 = 4;
const HANGS: u8 = 5;

#[derive(Clone, Debug, PartialEq, Compare)]
struct Note {
    id: i64,
    word: Option<String>,
}

#[dualwrite::repository]
trait Notes {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Note, Error>;
}

#[derive(Clone)]
struct Store<D: Sql> {
    table: &'static str,
    pool: sqlx::Pool<D::Db>,
    hands: ManualClock,
    fault: Arc<AtomicU8>,
    calls: Arc<AtomicU64>,
}

impl<D: Sql> Notes for Store<D> {
    async fn find(&self, id: i64) -> Result<Note, Error> {
        let fault = self.fault.load(SeqCst);
        let sql = format!("SELECT word FROM {} WHERE id = {id}", self.table);
        let row = D::rows(&self.pool, &sql).await?.pop().and_then(|mut row| row.pop());
        let mut word = row.flatten();
        if fault == IS_SLOW {
            self.hands.advance(SLOW);
        }
        match fault {
            PANICS => panic!("a bug in the new side"),
            HANGS => std::future::pending().await,
            _ => {}
        }
        if fault == IS_WRONG {
            word = Some("wrong".to_owned());
        }
        match self.calls.fetch_add(1, SeqCst) % 50 {
            7 if fault == FAILS => Err(Error::PoolTimedOut),
            _ => Ok(Note { id, word }),
        }
    }
}

/// One instance of the service.
struct Instance<D: Sql> {
    runtime: Runtime<D::Db>,
    migration: Migration,
    notes: DualNotes<Store<D>, Store<D>>,
    hands: ManualClock,
    /// What is wrong with new.
    fault: Arc<AtomicU8>,
    old_fault: Arc<AtomicU8>,
    /// Calls of either side that ended.
    calls: [Arc<AtomicU64>; 2],
    events: Arc<Mutex<Vec<RuntimeEvent>>>,
}

impl<D: Sql> Instance<D> {
    async fn join(db: &Scratch<D>, guards: Option<Guards>) -> Self {
        let events = Arc::<Mutex<Vec<RuntimeEvent>>>::default();
        let told = Arc::clone(&events);
        let pool = db.another_pool(4).await;
        let (builder, hands) = Runtime::builder(pool.clone())
            .lease(Duration::from_secs(7 * 24 * 60 * 60))
            .poll(Duration::from_millis(20))
            .on_event(|event| assert!(event.migration().is_empty(), "a bug in a hook"))
            .on_event(move |event| told.lock().unwrap().push(event.clone()))
            .manual_clock();
        let runtime = builder.start().await.unwrap();
        let copy = CopyNotes::<D>::new();
        let registration = runtime.migration("notes").backfill(copy).critical("word");
        let registration = match guards {
            Some(guards) => registration.guards(guards.every(PERIOD)),
            None => registration,
        };
        let migration = registration.register().await.unwrap();
        let (fault, old_fault) = (Arc::<AtomicU8>::default(), Arc::<AtomicU8>::default());
        let calls: [Arc<AtomicU64>; 2] = Default::default();
        let store = |table, fault: &Arc<AtomicU8>, calls: &Arc<AtomicU64>| Store {
            table,
            pool: pool.clone(),
            hands: hands.clone(),
            fault: Arc::clone(fault),
            calls: Arc::clone(calls),
        };
        let notes = DualNotes::new(
            &migration,
            store("old_note", &old_fault, &calls[0]),
            store("new_note", &fault, &calls[1]),
        );
        Self { runtime, migration, notes, hands, fault, old_fault, calls, events }
    }

    /// So many reads one after the other, each with its comparison; some may fail.
    async fn read(&self, times: i64) {
        for id in 0..times {
            let before = self.calls[0].load(SeqCst);
            match self.fault.load(SeqCst) {
                PANICS => self.panics().await,
                HANGS => self.gives_up(Duration::from_millis(300)).await,
                _ => drop(self.notes.find(id % NOTES + 1).await),
            }
            // Otherwise the time that new takes would be counted for old too.
            while self.fault.load(SeqCst) == IS_SLOW && self.calls[0].load(SeqCst) == before {
                tokio::task::yield_now().await;
            }
        }
        let compared = |counters: &CounterReport| {
            counters.shadow_equal
                + counters.shadow_different
                + counters.shadow_transient
                + counters.shadow_mirror_failed
                + counters.shadow_dropped
        };
        let reads = self.calls[0].load(SeqCst).min(self.calls[1].load(SeqCst));
        self.until(|counters| compared(counters) > 0 || reads == 0).await;
    }

    /// A read that is the caller's to survive.
    async fn panics(&self) {
        let read = AssertUnwindSafe(self.notes.find(1)).catch_unwind().await;
        assert!(read.is_err());
    }

    /// A read that its caller gives up after so long, before the side has answered.
    async fn gives_up(&self, after: Duration) {
        let mut read = Box::pin(self.notes.find(1));
        poll_fn(|context| {
            assert!(read.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        self.hands.advance(after);
    }

    async fn counters(&self) -> CounterReport {
        self.migration.status().await.unwrap().counters
    }

    async fn until(&self, holds: impl Fn(&CounterReport) -> bool) {
        soon("what the guards do", async || holds(&self.counters().await).then_some(())).await;
    }

    /// Lets a period pass, and waits until the guards have looked.
    async fn period(&self) {
        let looks = |counters: &CounterReport| {
            counters.guard_healthy + counters.guard_breached + counters.guard_without_data
        };
        let before = looks(&self.counters().await);
        self.hands.advance(PERIOD);
        self.until(|counters| looks(counters) > before).await;
    }

    /// Waits until this instance follows a position of this stage.
    async fn reaches(&self, stage: Stage) {
        soon("what the guards do", async || {
            (self.migration.position().stage == stage).then_some(())
        })
        .await;
    }

    /// What the service was told, when it was told as much.
    async fn told(&self, least: usize) -> Vec<RuntimeEvent> {
        soon("what the guards do", async || {
            Some(self.events.lock().unwrap().clone()).filter(|told| told.len() >= least)
        })
        .await
    }
}

async fn tables<D: Sql>(db: &Scratch<D>) {
    db.execute(
        "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
         CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL)",
    )
    .await;
    for id in 1..=NOTES {
        db.execute(&format!("INSERT INTO old_note (id, word) VALUES ({id}, 'word {id}')")).await;
    }
}

async fn go_live(migration: &Migration) {
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
    migration.advance(Stage::Shadow).await.unwrap();
    migration.advance(Stage::Live).await.unwrap();
}

/// One instance, live.
async fn live<D: Sql>(db: &Scratch<D>, guards: Option<Guards>) -> Instance<D> {
    tables(db).await;
    let instance = Instance::join(db, guards).await;
    go_live(&instance.migration).await;
    instance
}

fn by_guards(events: &[AuditEvent]) -> Vec<&AuditEvent> {
    events.iter().filter(|event| event.actor.starts_with("guard, instance ")).collect()
}

/// New is well for a while, then something is wrong with it.
async fn goes_back<D: Sql>(db: Scratch<D>, fault: u8, reads: i64, reason: &[&str]) {
    let instance = live(&db, Some(Guards::default())).await;
    instance.read(150).await;
    instance.period().await;
    assert_eq!(instance.counters().await.guard_breached, 0);
    instance.fault.store(fault, SeqCst);
    let since = instance.counters().await;
    instance.read(reads).await;
    instance.period().await;
    instance.reaches(Stage::Shadow).await;
    let counters = instance.counters().await;
    let looks = counters.guard_healthy + counters.guard_without_data + counters.guard_breached
        - since.guard_healthy
        - since.guard_without_data;
    assert!(looks <= 3, "{counters:?}");
    assert_eq!((counters.rollbacks, counters.guard_rollbacks), (1, 1));

    let events = instance.migration.events().await.unwrap();
    let [rollback] = by_guards(&events)[..] else { panic!("{events:?}") };
    assert_eq!((rollback.from_stage, rollback.to_stage), (Stage::Live, Stage::Shadow));
    for piece in reason {
        assert!(rollback.reason.contains(piece), "{piece} in {}", rollback.reason);
    }
    let told = instance.told(6).await;
    let [.., breached, changed, back] = &told[..] else { panic!("{told:?}") };
    assert!(matches!(breached, RuntimeEvent::GuardBreached { .. }), "{told:?}");
    assert!(matches!(changed, RuntimeEvent::PositionChanged { .. }), "{told:?}");
    let RuntimeEvent::RolledBack { from, to, reason, .. } = back else { panic!("{told:?}") };
    assert_eq!((from.stage, to.stage, reason), (Stage::Live, Stage::Shadow, &rollback.reason));
    instance.runtime.shutdown().await.unwrap();
}

async fn a_slow_new_side_is_gone_back_from<D: Sql>(db: Scratch<D>) {
    // A read of old may be under way while new moves the clock, so not quite none of old's is slow.
    let reason =
        ["p99: Notes::find: ", "calls of the new side take more than 2s", "p99 3.", "; old "];
    goes_back(db, IS_SLOW, 150, &reason).await;
}

async fn a_new_side_that_is_wrong_in_a_critical_field_is_gone_back_from<D: Sql>(db: Scratch<D>) {
    let reason = ["critical_mismatches: ", "comparisons differ in a critical field, limit 0"];
    goes_back(db, IS_WRONG, 20, &reason).await;
}

async fn a_new_side_that_fails_two_calls_in_a_hundred_is_gone_back_from<D: Sql>(db: Scratch<D>) {
    let reason =
        ["error_rate: Notes::find: ", "calls of the new side fail, limit 1.00 %", "; old 0 of "];
    goes_back(db, FAILS, 2_500, &reason).await;
}

async fn a_new_side_that_panics_is_rolled_back<D: Sql>(db: Scratch<D>) {
    let reason = ["error_rate: Notes::find: ", "calls of the new side fail, limit 1.00 %"];
    goes_back(db, PANICS, 150, &reason).await;
}

async fn a_new_side_that_hangs_until_callers_give_up_is_rolled_back<D: Sql>(db: Scratch<D>) {
    let reason = ["error_rate: Notes::find: ", "(150 were abandoned after more than "];
    goes_back(db, HANGS, 150, &reason).await;
}

async fn callers_that_disconnect_roll_nothing_back<D: Sql>(db: Scratch<D>) {
    let instance = live(&db, Some(Guards::default())).await;
    instance.read(150).await;
    instance.period().await;
    instance.fault.store(HANGS, SeqCst);
    for _ in 0..300 {
        instance.gives_up(Duration::ZERO).await;
    }
    instance.fault.store(WELL, SeqCst);
    instance.read(150).await;
    instance.period().await;
    let status = instance.migration.status().await.unwrap();
    assert_eq!(status.methods[0].new.abandoned, 300);
    assert_eq!((status.position.stage, status.counters.guard_breached), (Stage::Live, 0));
}

/// However long they waited.
async fn callers_that_give_up_as_often_as_on_old_roll_nothing_back<D: Sql>(db: Scratch<D>) {
    tables(&db).await;
    let instance = Instance::join(&db, Some(Guards::default())).await;
    let half_of_them = async |fault: &AtomicU8| {
        fault.store(HANGS, SeqCst);
        for _ in 0..150 {
            instance.gives_up(Duration::from_millis(300)).await;
        }
        fault.store(WELL, SeqCst);
        instance.read(150).await;
    };
    half_of_them(&instance.old_fault).await;
    go_live(&instance.migration).await;
    instance.period().await;
    half_of_them(&instance.fault).await;
    instance.period().await;
    let status = instance.migration.status().await.unwrap();
    assert_eq!((status.methods[0].old.abandoned, status.methods[0].new.abandoned), (150, 150));
    assert_eq!((status.position.stage, status.counters.guard_breached), (Stage::Live, 0));
}

async fn a_healthy_new_side_stays_and_missing_data_is_no_health<D: Sql>(db: Scratch<D>) {
    let instance = live(&db, Some(Guards::default())).await;
    let health = instance.migration.health().await;
    assert!(matches!(health, GuardReport::NotEnoughData(_)), "{health}");
    for _ in 0..5 {
        instance.read(200).await;
        instance.until(|counters| counters.shadow_equal > 100).await;
        instance.period().await;
    }
    let health = instance.migration.health().await;
    assert!(health.is_healthy(), "{health}");
    let status = instance.migration.status().await.unwrap();
    assert!(status.health.is_healthy());
    assert!(status.counters.guard_healthy >= 4, "{:?}", status.counters);
    assert_eq!(status.counters.guard_breached, 0);
    assert_eq!(instance.migration.position().stage, Stage::Live);
    let hour = &status.recent[2];
    assert_eq!((hour.minutes, hour.answered_by_new), (60, Some(1.0)));
    assert!(hour.methods[0].new.calls.calls > 0, "{hour:?}");
    // Another position: all that was seen belongs to the one before.
    instance.migration.ramp_to(Percent::new(5).unwrap()).await.unwrap();
    let health = instance.migration.health().await;
    assert!(matches!(health, GuardReport::NotEnoughData(_)), "{health}");
}

async fn of_two_instances_that_find_it_at_once_one_goes_back<D: Sql>(db: Scratch<D>) {
    tables(&db).await;
    let one = Instance::join(&db, Some(Guards::default())).await;
    let two = Instance::join(&db, Some(Guards::default())).await;
    go_live(&one.migration).await;
    two.reaches(Stage::Live).await;
    for instance in [&one, &two] {
        instance.fault.store(IS_WRONG, SeqCst);
        instance.period().await; // so that both begin at an end of a period
        instance.notes.find(1).await.unwrap();
        instance.until(|counters| counters.critical_different > 0).await;
    }
    one.hands.advance(PERIOD);
    two.hands.advance(PERIOD);
    for instance in [&one, &two] {
        instance.reaches(Stage::Shadow).await;
        instance.fault.store(WELL, SeqCst);
    }
    // Each looks again, at the position since.
    for instance in [&one, &two] {
        instance.period().await;
        instance.period().await;
        assert_eq!(instance.migration.position().stage, Stage::Shadow);
    }
    let events = one.migration.events().await.unwrap();
    assert_eq!(by_guards(&events).len(), 1, "{events:?}");
    let (one, two) = (one.counters().await, two.counters().await);
    assert_eq!(one.guard_rollbacks + two.guard_rollbacks, 1, "{one:?} {two:?}");
    assert_eq!(one.guard_rollbacks_failed + two.guard_rollbacks_failed, 0, "{one:?} {two:?}");
}

async fn without_guards_nothing_moves_by_itself<D: Sql>(db: Scratch<D>) {
    let instance = live(&db, None).await;
    instance.fault.store(IS_WRONG, SeqCst);
    // What is asked first still belongs to the time of the last change.
    while !matches!(instance.migration.health().await, GuardReport::Breached(_)) {
        instance.read(10).await;
    }
    let seen = instance.migration.position();
    instance.hands.advance(PERIOD);
    // A position that is changed now is changed after whatever the guards would have done.
    let changed = instance.migration.ramp_to(Percent::new(1).unwrap()).await.unwrap();
    assert_eq!((changed.stage, changed.epoch.0), (Stage::Live, seen.epoch.0 + 1));
    assert_eq!(instance.counters().await.guard_breached, 0);
}

async fn a_breach_beside_old_answers_is_told_and_nothing_else<D: Sql>(db: Scratch<D>) {
    let instance = live(&db, Some(Guards::default())).await;
    instance.migration.rollback("to look at it").await.unwrap();
    instance.fault.store(IS_WRONG, SeqCst);
    instance.period().await;
    instance.read(10).await;
    instance.until(|counters| counters.critical_different > 0).await;
    instance.period().await;
    instance.period().await;
    let counters = instance.counters().await;
    assert!(counters.guard_breached > 0, "{counters:?}");
    assert_eq!((counters.guard_rollbacks, counters.guard_rollbacks_failed), (0, 0));
    assert_eq!(instance.migration.position().stage, Stage::Shadow);
    let fields = instance.migration.status().await.unwrap().fields;
    assert!(
        fields.iter().any(|field| field.field == "word" && field.differences > 0),
        "{fields:?}"
    );
}

async fn a_rollout_goes_on_only_where_the_guards_are_content<D: Sql>(db: Scratch<D>) {
    let instance = live(&db, Some(Guards::default())).await;
    instance.migration.rollback("back to where the plan begins").await.unwrap();
    let plan = RolloutPlan::new()
        .step(RolloutStep::stage(Stage::Shadow))
        .step(RolloutStep::ramp(Percent::new(50).unwrap()))
        .step(RolloutStep::ramp(Percent::FULL));
    instance.migration.rollout().start(&plan, "ada", "").await.unwrap();
    let until = async |holds: &dyn Fn(&RolloutStatus) -> bool| {
        soon("what the guards do", async || {
            instance.migration.rollout().status().await.unwrap().filter(holds)
        })
        .await
    };
    let waits =
        |now: &RolloutStatus| now.waiting.as_ref().is_some_and(|w| w.contains("too little"));
    assert_eq!(until(&waits).await.step, 1);
    // Too little is known of the next step again, whatever was known of this one.
    instance.period().await;
    instance.read(300).await;
    instance.until(|counters| counters.shadow_equal > 200).await;
    instance.hands.advance(PERIOD);
    until(&|now| now.step == 2 && waits(now)).await;
    instance.fault.store(IS_WRONG, SeqCst);
    instance.period().await;
    instance.read(100).await;
    instance.until(|counters| counters.critical_different > 0).await;
    instance.hands.advance(PERIOD);
    let held = until(&|now| now.state == RolloutState::Held).await;
    assert!(
        held.note.contains("critical_mismatches") || held.note.contains("breached"),
        "{held:?}"
    );
    let told = |event: &RuntimeEvent| matches!(event, RuntimeEvent::RolloutHeld { .. });
    soon("what the guards do", async || {
        instance.events.lock().unwrap().iter().any(told).then_some(())
    })
    .await;
}
