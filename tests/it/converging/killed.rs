//! Processes of the service are killed at any moment, and the database of the control tables or the other store restarts:
//! both stores agree afterwards, every acknowledged write is there, and no mark is left. A few kills in the normal run;
//! `DUALWRITE_TEST_ALL` makes it more and adds restarts, `DUALWRITE_TEST_ROUNDS` says how many, `DUALWRITE_TEST_SEED` which.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dualwrite::{Runtime, Stage, converging::MirrorFailure};
use sqlx::pool::PoolOptions;
use sqlx::{PgPool, Pool};

use super::stores::{Carts, NAME, Service, Store, quick};
use crate::support::db::{PostgresDb, SqliteDb, TestDb};
use crate::support::dice::Dice;
use crate::support::process::{Call, Child};
use crate::support::remote::{Remote, answer};
use crate::support::server::{Server, connected, postgres};
use crate::support::wait::{ends, soon, until};
use crate::support::{notice, runs_all};

const KEYS: usize = 3;
const PROCESSES: usize = 2;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn rounds() -> u64 {
    let long = std::env::var_os("DUALWRITE_TEST_ALL").is_some();
    setting("DUALWRITE_TEST_ROUNDS").unwrap_or(if long { 12 } else { 2 })
}

/// The old store, with the control tables, and the new one.
struct Two {
    old: String,
    new: String,
}

/// What a store is made of.
trait OldStore: TestDb {
    fn store(pool: Pool<Self::Db>) -> Store;
}

impl OldStore for PostgresDb {
    fn store(pool: PgPool) -> Store {
        Store::Postgres(pool)
    }
}

impl OldStore for SqliteDb {
    fn store(pool: sqlx::SqlitePool) -> Store {
        Store::Sqlite(pool)
    }
}

async fn connect<D: TestDb>(url: &str) -> Option<Pool<D::Db>> {
    let limit = Duration::from_secs(3);
    let options = PoolOptions::new().max_connections(5).acquire_timeout(limit);
    options.connect(url).await.ok()
}

async fn carts<D: OldStore>(two: &Two) -> Option<(Pool<D::Db>, Carts)> {
    let pool = connect::<D>(&two.old).await?;
    let old = D::store(connect::<D>(&two.old).await?);
    let new = Store::Postgres(connect::<PostgresDb>(&two.new).await?);
    Some((pool, Carts::new(old, new)))
}

/// In the other process.
pub(crate) async fn serve<D: TestDb>(call: Call) {
    let two = Two { old: Call::url(), new: call.argument(0) };
    match D::NAME {
        PostgresDb::NAME => serve_old::<PostgresDb>(call, two).await,
        SqliteDb::NAME => serve_old::<SqliteDb>(call, two).await,
        other => panic!("no store is kept in {other}"),
    }
}

async fn serve_old<D: OldStore>(call: Call, two: Two) {
    let lease = Duration::from_millis(1_500);
    // A database that has just restarted may not let it in yet.
    let service = soon("the service starts", async || {
        let (pool, carts) = carts::<D>(&two).await?;
        let runtime = Runtime::builder(pool).lease(lease).poll(lease / 15).start().await.ok()?;
        let registering = runtime.migration(NAME).converging(quick(&carts)).register();
        let migration = registering.await.ok()?;
        Some(Service { migration, carts, runtime })
    });
    let service = Arc::new(service.await);
    answer(call, move |order| {
        let service = Arc::clone(&service);
        async move {
            let id: i64 = order[1].parse().unwrap();
            let policy = match &*order[0] {
                "now" => MirrorFailure::AnswerNow,
                _ => MirrorFailure::Report,
            };
            let saved = service.save(id, Some(&order[2]), policy).await;
            if saved.is_ok() { "ok".to_owned() } else { "no".to_owned() }
        }
    })
    .await
}

/// What may be there of a key: the write that was acknowledged last, and all of which nobody knows.
#[derive(Clone, Debug, Default)]
struct Expected {
    acknowledged: Option<String>,
    perhaps: Vec<String>,
}

type Oracle = Arc<Mutex<BTreeMap<i64, Expected>>>;

async fn write(
    (oracle, stop): (Oracle, Arc<AtomicBool>),
    processes: Vec<Remote>,
    id: i64,
    mut dice: Dice,
) -> u64 {
    let mut written = 0;
    while !stop.load(SeqCst) && processes.iter().any(Remote::is_alive) {
        let process = dice.pick(&processes);
        if !process.is_alive() {
            continue;
        }
        let text = format!("{:x}", dice.roll());
        let policy = if dice.one_in(2) { "now" } else { "report" };
        oracle.lock().unwrap().entry(id).or_default().perhaps.push(text.clone());
        written += 1;
        if process.ask(format!("{policy} {id} {text}")).await.as_deref() == Some("ok") {
            let mut oracle = oracle.lock().unwrap();
            let expected = oracle.entry(id).or_default();
            expected.perhaps.retain(|one| *one != text);
            expected.acknowledged = Some(text);
        }
    }
    written
}

async fn another<D: TestDb>(two: &Two) -> Remote {
    Remote::of(Child::start_at(D::NAME, &two.old, &format!("converging {}", two.new))).await
}

async fn all<D: OldStore>(two: Two, mut servers: Option<(Server, Server)>, rounds: u64) {
    let seed = setting("DUALWRITE_TEST_SEED").unwrap_or(20_261_130);
    let (pool, carts) = carts::<D>(&two).await.unwrap();
    let keeper = Service::at(&pool, &carts, Stage::Shadow).await;
    keeper.migration.backfill().run().await.unwrap();
    let oracle = Oracle::default();
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(another::<D>(&two).await);
    }
    let mut written = 0;
    for number in 0..rounds {
        let mut dice = Dice::new(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9)));
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for id in 0..KEYS {
            let (shared, dice) = ((Arc::clone(&oracle), Arc::clone(&stop)), Dice::new(dice.roll()));
            clients.push(tokio::spawn(write(shared, processes.clone(), id as i64, dice)));
        }
        tokio::time::sleep(Duration::from_millis(dice.below(80) as u64)).await;
        if let Some((old, new)) = servers.as_mut().filter(|_| dice.one_in(3)) {
            if dice.one_in(2) { old.restart() } else { new.restart() }
        }
        let victim = dice.below(PROCESSES);
        processes[victim].kill().await;
        tokio::time::sleep(Duration::from_millis(dice.below(100) as u64)).await;
        if dice.one_in(4) {
            processes[1 - victim].kill().await;
        }
        stop.store(true, SeqCst);
        for client in clients {
            written += ends("a client", client).await.unwrap();
        }
        for process in &mut processes {
            if !process.is_alive() {
                *process = another::<D>(&two).await;
            }
        }
        let about = format!("round {number} of seed {seed}");
        until(format_args!("{about}: no mark is left"), async || is_quiet::<D>(&pool).await).await;
        judge(&carts, &oracle, &about).await;
    }
    let counted = keeper.migration.status().await.unwrap().counters;
    notice(&format!(
        "{} and PostgreSQL: {rounds} rounds of killed processes from seed {seed}, {written} writes, {} of the dead taken \
         over by the keeper",
        D::NAME,
        counted.converging_adopted
    ));
    for process in processes {
        process.kill().await;
    }
    let _ = keeper.runtime.shutdown().await;
}

async fn is_quiet<D: TestDb>(pool: &Pool<D::Db>) -> bool {
    let sql =
        "SELECT (SELECT count(*) FROM dualwrite_mark) + (SELECT count(*) FROM dualwrite_unsettled)";
    D::rows(pool, sql).await.is_ok_and(|rows| rows == [[Some("0".to_owned())]])
}

async fn judge(carts: &Carts, oracle: &Oracle, about: &str) {
    // A connection that a restart has cut is found out by its first use.
    until("both answer", async || carts.old.get(0).await.is_ok() && carts.new.get(0).await.is_ok())
        .await;
    let (old, new) = (carts.old.all().await, carts.new.all().await);
    assert_eq!(old, new, "{about}: the stores differ");
    let mut oracle = oracle.lock().unwrap();
    for (id, expected) in oracle.iter_mut() {
        let found = old.get(id);
        let known = found == expected.acknowledged.as_ref()
            || found.is_some_and(|found| expected.perhaps.contains(found));
        assert!(known, "{about}: key {id} has {found:?}, not {expected:?}");
        *expected = Expected { acknowledged: found.cloned(), perhaps: Vec::new() };
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_and_postgres_agree_whatever_is_killed() {
    let name = "converging::killed::postgres";
    let Some(old) = PostgresDb::fresh(name).await else { return };
    let Some(new) = PostgresDb::fresh(name).await else { return };
    Store::postgres(old.pool()).await;
    Store::postgres(new.pool()).await;
    all::<PostgresDb>(Two { old: old.url(), new: new.url() }, None, rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_and_postgres_agree_whatever_is_killed() {
    let name = "converging::killed::sqlite";
    let Some(old) = SqliteDb::fresh(name).await else { return };
    let Some(new) = PostgresDb::fresh(name).await else { return };
    Store::sqlite(old.pool()).await;
    Store::postgres(new.pool()).await;
    all::<SqliteDb>(Two { old: old.url(), new: new.url() }, None, rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_agree_where_either_database_restarts() {
    if setting("DUALWRITE_TEST_ROUNDS").is_none() && !runs_all("restarts of databases") {
        return;
    }
    let mut both = Vec::new();
    for _ in 0..2 {
        let server = postgres().await;
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", server.port);
        let pool = connected::<sqlx::Postgres>(1, url.parse().unwrap()).await;
        Store::postgres(&pool).await;
        pool.close().await;
        both.push((server, url));
    }
    let ((other, new), (one, old)) = (both.remove(1), both.remove(0));
    all::<PostgresDb>(Two { old, new }, Some((one, other)), rounds()).await;
}
