//! Random rounds: faults on every kind of call, cancelled callers, instances that die, moves. A few by default;
//! `DUALWRITE_TEST_ROUNDS` says how many, and `DUALWRITE_TEST_SEED` which.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dualwrite::{Migration, Percent, Side, Stage, converging::MirrorFailure};

use super::http::HttpStore;
use super::stores::{Carts, Service, Store, quick, quiet, save};
use crate::support::db::{PostgresDb, Scratch, SqliteDb, TestDb};
use crate::support::dice::Dice;
use crate::support::notice;

const KEYS: i64 = 6;
const WRITES: usize = 12;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What may be there of a key: the acknowledged write, and those since of which nobody knows.
#[derive(Clone, Debug, Default)]
struct Expected {
    acknowledged: Option<String>,
    perhaps: Vec<String>,
}

type Oracle = Arc<Mutex<BTreeMap<i64, Expected>>>;

/// An instance in a thread of its own, whose tokio can be ended at any moment.
struct Process {
    migration: Migration,
    /// Its own connections.
    carts: Carts,
    tokio: tokio::runtime::Runtime,
    /// Dropped when its tokio is gone: it leaves nothing in order.
    service: Box<dyn std::any::Any + Send>,
}

impl Process {
    async fn start<D: TestDb>(db: &Scratch<D>, carts: Carts) -> Self {
        let pool = db.another_pool(5).await;
        let starting = std::thread::spawn(move || {
            let mut tokio = tokio::runtime::Builder::new_multi_thread();
            let tokio = tokio.worker_threads(2).enable_all().build().unwrap();
            // Its connections belong to its tokio.
            let service = tokio.block_on(async {
                let limits = quick(&carts);
                Service::with_lease(&pool, &carts, limits, Duration::from_millis(1_500)).await
            });
            let migration = service.migration.clone();
            let service: Box<dyn std::any::Any + Send> = Box::new(service);
            Self { migration, carts, tokio, service }
        });
        tokio::task::spawn_blocking(|| starting.join().unwrap()).await.unwrap()
    }

    fn kill(self) {
        self.tokio.shutdown_background();
        drop(self.service); // its connections are closed
    }
}

/// One writer writes a few keys that nobody else writes, so that what was acknowledged last is known.
async fn write(
    migration: Migration,
    carts: Carts,
    oracle: Oracle,
    (first, step): (i64, i64),
    mut dice: Dice,
) {
    for _ in 0..WRITES {
        let keys: Vec<i64> = (first..KEYS).step_by(step as usize).collect();
        let id = *dice.pick(&keys);
        let text = format!("{:x}", dice.roll());
        let policy = match dice.one_in(2) {
            true => MirrorFailure::Report,
            false => MirrorFailure::AnswerNow,
        };
        oracle.lock().unwrap().entry(id).or_default().perhaps.push(text.clone());
        let (migration, carts, saved) = (migration.clone(), carts.clone(), text.clone());
        let saving =
            tokio::spawn(async move { save(&migration, &carts, id, Some(&saved), policy).await });
        let answered = match dice.one_in(8) {
            // The caller is cancelled.
            true => {
                let limit = Duration::from_millis(dice.below(4) as u64);
                let abort = saving.abort_handle();
                match tokio::time::timeout(limit, saving).await {
                    Ok(answered) => answered,
                    Err(_) => {
                        abort.abort();
                        continue;
                    }
                }
            }
            false => saving.await,
        };
        if matches!(answered, Ok(Ok(()))) {
            let mut oracle = oracle.lock().unwrap();
            let expected = oracle.entry(id).or_default();
            let number = expected.perhaps.iter().position(|one| *one == text).unwrap();
            // What came before it is gone, unless it is still on its way: callers of a key follow each other here,
            // and one that was cancelled may come later.
            let cancelled = expected.perhaps.drain(..number).collect::<Vec<_>>();
            expected.perhaps.retain(|one| *one != text);
            expected.perhaps.extend(cancelled);
            expected.acknowledged = Some(text);
        }
    }
}

async fn round<D: TestDb>(
    db: &Scratch<D>,
    carts: &Carts,
    connect: &impl AsyncFn() -> [Store; 2],
    oracle: &Oracle,
    seed: u64,
) {
    let mut dice = Dice::new(seed);
    let mut processes = Vec::new();
    for _ in 0..2 {
        let [old, new] = connect().await;
        processes.push(Process::start(db, Carts { old, new, ..carts.clone() }).await);
    }
    for side in [Side::Old, Side::New] {
        carts.faults(side).randomly(Some((dice.roll(), 4 + dice.below(12) as u64)));
    }
    let mut writers = Vec::new();
    for (number, process) in (0..).zip(&processes) {
        let (migration, carts, oracle) =
            (process.migration.clone(), process.carts.clone(), Arc::clone(oracle));
        let dice = Dice::new(dice.roll());
        writers.push(process.tokio.spawn(write(migration, carts, oracle, (number, 2), dice)));
    }
    let kills = dice.one_in(2);
    let mover = processes[0].migration.clone();
    let to = Percent::new(*dice.pick(&[0, 10, 50, 100])).unwrap();
    let moving = processes[0].tokio.spawn(async move {
        // It may be refused while stores fail.
        let _ = mover.ramp_to(to).await;
    });
    let (second, first) = (processes.remove(1), processes.remove(0));
    tokio::time::sleep(Duration::from_millis(dice.below(60) as u64)).await;
    if kills {
        second.kill();
    } else {
        let _ = writers.remove(1).await;
        let _ = second.migration.position();
        second.kill();
    }
    let _ = writers.remove(0).await;
    let _ = moving.await;
    for side in [Side::Old, Side::New] {
        carts.faults(side).randomly(None);
    }
    first.kill();
}

/// Both stores agree, every acknowledged write is there or one that came after it, no mark is left.
async fn judge(carts: &Carts, oracle: &Oracle, seed: u64) {
    let (old, new) = (carts.old.all().await, carts.new.all().await);
    assert_eq!(old, new, "seed {seed}: the stores differ");
    let mut oracle = oracle.lock().unwrap();
    for (id, expected) in oracle.iter_mut() {
        let found = old.get(id);
        let known = found == expected.acknowledged.as_ref()
            || found.is_some_and(|found| expected.perhaps.contains(found));
        assert!(known, "seed {seed}: key {id} has {found:?}, not {expected:?}");
        *expected = Expected { acknowledged: found.cloned(), perhaps: Vec::new() };
    }
}

async fn rounds<D: TestDb>(db: &Scratch<D>, carts: Carts, connect: impl AsyncFn() -> [Store; 2]) {
    let (rounds, seed) =
        (setting("DUALWRITE_TEST_ROUNDS", 4), setting("DUALWRITE_TEST_SEED", 20_261_130));
    let oracle = Oracle::default();
    let keeper = Service::at(db.pool(), &carts, Stage::Shadow).await;
    keeper.migration.backfill().run().await.unwrap();
    assert!(keeper.migration.verify().run().await.unwrap().proven);
    for number in 0..rounds {
        let seed = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9));
        round(db, &carts, &connect, &oracle, seed).await;
        quiet(db).await;
        judge(&carts, &oracle, seed).await;
        if !keeper.migration.verify().run().await.unwrap().is_clean() {
            panic!("seed {seed}: the verification finds a difference");
        }
    }
    let counted = keeper.migration.status().await.unwrap().counters;
    notice(&format!(
        "{} converging rounds from seed {seed}: {} writes of the dead taken over, {} keys copied again by the keeper",
        rounds, counted.converging_adopted, counted.dirty_repaired
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_and_postgres_converge_whatever_happens() {
    let name = "converging::rounds::sqlite_and_postgres";
    let Some(sqlite) = SqliteDb::fresh(name).await else { return };
    let Some(postgres) = PostgresDb::fresh(name).await else { return };
    let carts =
        Carts::new(Store::sqlite(sqlite.pool()).await, Store::postgres(postgres.pool()).await);
    let connect = async || {
        let (old, new) = (sqlite.another_pool(3).await, postgres.another_pool(3).await);
        [Store::Sqlite(old), Store::Postgres(new)]
    };
    rounds(&postgres, carts.clone(), connect).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_with_the_control_tables_and_postgres_converge_whatever_happens() {
    let name = "converging::rounds::sqlite_first";
    let Some(sqlite) = SqliteDb::fresh(name).await else { return };
    let Some(postgres) = PostgresDb::fresh(name).await else { return };
    let carts =
        Carts::new(Store::sqlite(sqlite.pool()).await, Store::postgres(postgres.pool()).await);
    let connect = async || {
        let (old, new) = (sqlite.another_pool(3).await, postgres.another_pool(3).await);
        [Store::Sqlite(old), Store::Postgres(new)]
    };
    rounds(&sqlite, carts, connect).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_and_an_http_service_converge_whatever_happens() {
    let name = "converging::rounds::postgres_and_http";
    let Some(postgres) = PostgresDb::fresh(name).await else { return };
    let http = Store::Http(HttpStore::start().await);
    let carts = Carts::new(Store::postgres(postgres.pool()).await, http.clone());
    let connect = async || [Store::Postgres(postgres.another_pool(3).await), http.clone()];
    rounds(&postgres, carts, connect).await;
}
