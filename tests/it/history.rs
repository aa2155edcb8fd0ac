//! What concurrent clients saw, while the migration went everywhere and back: instances stall for longer
//! than their lease, leave and join, ramps rise and fall.
//!
//! A version is drawn under the row's lock in each write. For every read: the newest version acknowledged
//! before it began ≤ what it returned ≤ the newest drawn before it ended; and no client ever sees a key go
//! back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use dualwrite::{Error, ErrorKind, Migration, Percent, Runtime, Stage};
use sqlx::Pool;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{CopyNotes, DualNotes, Notes, Store, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(nobody_ever_sees_a_superseded_value);

const KEYS: usize = 8;
/// Operations of every client that is not stalled between two moves.
const OPERATIONS: u64 = 12;
const LEASE: Duration = Duration::from_millis(400);

/// What all clients did.
#[derive(Default)]
struct History {
    /// The newest version acknowledged, by key.
    acknowledged: [AtomicU64; KEYS],
    /// The newest version drawn, by key.
    drawn: [AtomicU64; KEYS],
    reads: AtomicU64,
    /// Reads that answered "stage unknown", as they must after a stall.
    unknown: AtomicU64,
}

/// Where a whole instance can be made to stand still, background work included.
#[derive(Default)]
struct Stall {
    wanted: Mutex<bool>,
    changed: Condvar,
    stands: AtomicBool,
}

impl Stall {
    fn set(&self, wanted: bool) {
        *self.wanted.lock().unwrap() = wanted;
        self.changed.notify_all();
    }

    /// Blocks the only thread of the instance. Returns whether it did.
    fn pass(&self) -> bool {
        let mut wanted = self.wanted.lock().unwrap();
        let stood = *wanted;
        while *wanted {
            self.stands.store(true, SeqCst);
            wanted = self.changed.wait(wanted).unwrap();
        }
        self.stands.store(false, SeqCst);
        stood
    }
}

/// An instance on a thread of its own, with one client.
struct Instance {
    id: String,
    stall: Arc<Stall>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Instance {
    async fn join<D: Sql>(world: &World<D>, history: &Arc<History>, seed: u64) -> Self {
        let (stall, stop, done) =
            (Arc::<Stall>::default(), Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (said, hears) = tokio::sync::oneshot::channel();
        let pool = world.db.another_pool(3).await;
        let client = (Arc::clone(history), stall.clone(), stop.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            let driver = tokio::runtime::Builder::new_current_thread().enable_all().build();
            driver.unwrap().block_on(async move {
                let builder = Runtime::builder(pool.clone()).lease(LEASE).poll(LEASE / 4);
                let runtime = builder.start().await.unwrap();
                let copy = CopyNotes::<D>::both_ways();
                let migration = runtime.migration("notes").backfill(copy).register().await.unwrap();
                said.send(runtime.instance().to_owned()).unwrap();
                let (history, stall, stop, done) = client;
                let mut client = Client::<D>::new(migration, pool, history, seed);
                while !stop.load(SeqCst) {
                    if stall.pass() {
                        // Before its background work has looked around.
                        for key in 0..KEYS {
                            client.read(key).await;
                        }
                    }
                    client.operate().await;
                    done.fetch_add(1, SeqCst);
                }
                runtime.shutdown().await.unwrap();
            });
        });
        Self { id: hears.await.unwrap(), stall, stop, done, thread }
    }

    async fn leave(self) {
        self.stall.set(false);
        self.stop.store(true, SeqCst);
        tokio::task::spawn_blocking(move || self.thread.join().unwrap()).await.unwrap();
    }
}

struct Client<D: Sql> {
    migration: Migration,
    pool: Pool<D::Db>,
    notes: DualNotes<Store<D>, Store<D>>,
    history: Arc<History>,
    seen: [u64; KEYS],
    draw: u64,
}

impl<D: Sql> Client<D> {
    fn new(migration: Migration, pool: Pool<D::Db>, history: Arc<History>, seed: u64) -> Self {
        let store = |table| Store {
            table,
            pool: pool.clone(),
            mood: Arc::default(),
            hanging: Arc::default(),
            reading: Hook::default(),
            removing: Hook::default(),
        };
        let notes = DualNotes::new(&migration, store("old_note"), store("new_note"));
        Self { migration, pool, notes, history, seen: [0; KEYS], draw: seed }
    }

    async fn operate(&mut self) {
        self.draw = self.draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = (self.draw >> 33) as usize % KEYS;
        if (self.draw >> 50).is_multiple_of(3) {
            match self.write(key).await {
                Ok(()) => {}
                Err(error) if may_be_tried_again(&error) => {}
                Err(error) => panic!("{error:?}"),
            }
        } else {
            self.read(key).await;
        }
    }

    async fn write(&self, key: usize) -> Result<(), sqlx::Error> {
        let mut tx = self.migration.begin(&self.pool).await?;
        let raise = format!("UPDATE drawn SET version = version + 1 WHERE id = {key}");
        D::run(&mut tx, &raise).await?;
        let sql = format!("SELECT version FROM drawn WHERE id = {key}");
        let version = D::read(&mut tx, &sql).await?;
        let version: u64 = version[0][0].as_deref().unwrap().parse().unwrap();
        self.history.drawn[key].fetch_max(version, SeqCst);
        self.notes.save(&mut tx, key as i64, &version.to_string()).await?;
        tx.commit().await?;
        self.history.acknowledged[key].fetch_max(version, SeqCst);
        Ok(())
    }

    async fn read(&mut self, key: usize) {
        let least = self.history.acknowledged[key].load(SeqCst).max(self.seen[key]);
        match self.notes.find(key as i64).await {
            Ok(Some(version)) => {
                let most = self.history.drawn[key].load(SeqCst);
                let version: u64 = version.parse().unwrap();
                let position = self.migration.position();
                assert!(
                    (least..=most).contains(&version),
                    "key {key} at {position}: {version} is not in {least}..={most}"
                );
                self.seen[key] = version;
                self.history.reads.fetch_add(1, SeqCst);
            }
            Ok(None) => panic!("key {key} is gone at {}", self.migration.position()),
            Err(error) if is_unknown(&error) => {
                self.history.unknown.fetch_add(1, SeqCst);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn may_be_tried_again(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "40001" || code == "40P01")
        || Error::find(error).is_some_and(Error::is_retryable)
}

fn is_unknown(error: &sqlx::Error) -> bool {
    Error::find(error).is_some_and(|error| error.kind() == ErrorKind::StageUnknown)
}

/// What the operator does next.
#[derive(Clone, Copy)]
enum Step {
    Advance(Stage),
    Back(Stage),
    Ramp(u16),
    Rollback,
    /// The backfill and the verification.
    Copy,
    /// The same, from new to old.
    CopyBack,
}

async fn nobody_ever_sees_a_superseded_value<D: Sql>(db: Scratch<D>) {
    use Stage::{Complete, DualWrite, Live, Off, RampDown, Shadow};
    use Step::{Advance, Back, Copy, CopyBack, Ramp, Rollback};
    let world = World::copying(db, Off, 0, plain, CopyNotes::both_ways()).await;
    world.db.execute("CREATE TABLE drawn (id BIGINT PRIMARY KEY, version BIGINT NOT NULL)").await;
    for key in 0..KEYS {
        let rows = format!(
            "INSERT INTO drawn VALUES ({key}, 0); INSERT INTO old_note VALUES ({key}, '0')"
        );
        world.db.execute(&rows).await;
    }
    let history = Arc::<History>::default();
    let mut instances = Vec::new();
    for seed in 0..3 {
        instances.push(Instance::join(&world, &history, seed).await);
    }
    let steps = [
        Ramp(40),
        Ramp(0),
        Advance(DualWrite),
        Copy,
        Advance(Shadow),
        Ramp(30),
        Ramp(70),
        Rollback,
        Advance(Live),
        Rollback,
        Advance(Live),
        Ramp(50),
        Advance(RampDown),
        Ramp(40),
        Ramp(0),
        CopyBack,
        Rollback,
        Advance(Live),
        Advance(RampDown),
        Advance(Complete),
        Rollback,
        CopyBack,
        Rollback,
        Back(DualWrite),
        Back(Off),
        Advance(DualWrite),
        Copy,
        Advance(Shadow),
        Advance(Live),
    ];
    // The first stands still from where old answers until some keys are written to new alone; then
    // from where new answers until old alone is written; the others shortly, here and there.
    let stalls = [(1, 1, 1), (5, 6, 2), (10, 13, 0), (15, 15, 1), (19, 24, 0), (26, 27, 2)];
    for (number, step) in steps.into_iter().enumerate() {
        for (_, _, which) in stalls.iter().filter(|(from, ..)| *from == number) {
            stall(&world, &instances[*which]).await;
        }
        take(&world.migration, step).await;
        let goals: Vec<u64> =
            instances.iter().map(|one| one.done.load(SeqCst) + OPERATIONS).collect();
        for (instance, goal) in instances.iter().zip(goals) {
            until("a client has operated or stands still", async || {
                assert!(!instance.thread.is_finished(), "a client has failed");
                instance.stall.stands.load(SeqCst) || instance.done.load(SeqCst) >= goal
            })
            .await;
        }
        for (.., which) in stalls.iter().filter(|(_, until, _)| *until == number) {
            instances[*which].stall.set(false);
        }
        if number % 7 == 3 {
            instances.remove(1).leave().await;
            instances.insert(1, Instance::join(&world, &history, 100 + number as u64).await);
        }
    }
    for instance in instances {
        instance.leave().await;
    }
    world.migration.repair().await.unwrap();
    let [old, new] = world.words().await;
    let expected: Vec<String> =
        history.acknowledged.iter().map(|version| version.load(SeqCst).to_string()).collect();
    assert_eq!((&old, &new), (&expected, &expected));
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    let reads = history.reads.load(SeqCst);
    assert!(reads > 500, "{reads} reads, {} unknown", history.unknown.load(SeqCst));
}

/// Makes an instance stand still until its lease has run out.
async fn stall<D: Sql>(world: &World<D>, instance: &Instance) {
    instance.stall.set(true);
    until("it stands still", async || instance.stall.stands.load(SeqCst)).await;
    until("its lease has run out", async || {
        let live = world.migration.status().await.unwrap().instances;
        live.iter().all(|live| live.id != instance.id)
    })
    .await;
}

/// One step, tried until the gates that open by themselves are open.
async fn take(migration: &Migration, step: Step) {
    let patience = Duration::from_secs(20);
    let moved = match step {
        Step::Advance(stage) => migration.advance(stage).within(patience).await,
        Step::Back(stage) => migration.step_back(stage).within(patience).await,
        Step::Ramp(percent) => {
            migration.ramp_to(Percent::new(percent).unwrap()).within(patience).await
        }
        Step::Rollback => migration.rollback("as the test wants it").within(patience).await,
        Step::Copy => return copy(migration, migration.backfill().batch(2).run().await).await,
        Step::CopyBack => {
            return copy(migration, migration.backfill().reverse().batch(2).run().await).await;
        }
    };
    let position = moved.unwrap();
    assert_eq!(migration.position(), position);
}

async fn copy(migration: &Migration, done: Result<dualwrite::backfill::BackfillProgress, Error>) {
    assert!(done.unwrap().complete);
    // What was marked dirty beside the copy differs until it is repaired.
    loop {
        migration.repair().await.unwrap();
        if migration.verify().run().await.unwrap().is_clean() {
            return;
        }
    }
}
