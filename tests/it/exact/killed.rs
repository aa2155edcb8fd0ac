//! Processes of the service are killed at any moment, and either database restarts, while clients read and write and the
//! authority goes there and back. A few kills in the normal run; `DUALWRITE_TEST_ALL` makes it more and adds restarts,
//! `DUALWRITE_TEST_ROUNDS` says how many, `DUALWRITE_TEST_SEED` which.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use dualwrite::{Stage, exact::Exact};
use sqlx::pool::PoolOptions;

use super::carts::{CartDb, Carts, NAME, Pair, cart, find, find_where, on_pairs, save};
use super::oracle::{History, is_delete};
use crate::support::db::{MySqlDb, PostgresDb, SqliteDb, TestDb};
use crate::support::dice::Dice;
use crate::support::process::{Call, Child};
use crate::support::remote::{Remote, answer};
use crate::support::server::{Server, connected, mariadb, postgres};
use crate::support::wait::{ends, soon, until};
use crate::support::{notice, runs_all};

on_pairs!(no_read_is_stale_and_no_record_lost_whatever_is_killed);

const WRITERS: usize = 3;
const READERS: usize = 2;
const PROCESSES: usize = 2;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn rounds() -> u64 {
    let long = std::env::var_os("DUALWRITE_TEST_ALL").is_some();
    setting("DUALWRITE_TEST_ROUNDS").unwrap_or(if long { 12 } else { 2 })
}

/// Both databases, by their URLs.
struct Two {
    old: String,
    new: String,
}

/// A database that has just restarted may not let it in yet.
async fn start<O: CartDb, N: CartDb>(two: &Two) -> Carts<O, N> {
    soon("an instance starts", async || try_start(two).await).await
}

async fn try_start<O: CartDb, N: CartDb>(two: &Two) -> Option<Carts<O, N>> {
    let limit = Duration::from_secs(3);
    let old = PoolOptions::new().max_connections(4).acquire_timeout(limit).connect(&two.old).await;
    let new = PoolOptions::new().max_connections(4).acquire_timeout(limit).connect(&two.new).await;
    let exact = Exact::between(NAME, (old.ok()?, O::SIDE), (new.ok()?, N::SIDE))
        .poll(Duration::from_millis(20))
        .take_over_after(Duration::from_millis(100))
        .hand_over_wait(Duration::from_secs(3))
        .drain_wait(Duration::from_secs(2));
    exact.start().await.ok().map(Carts::of)
}

/// In the other process.
pub(crate) async fn serve<O: TestDb>(call: Call) {
    let (kind, new): (String, String) = (call.argument(0), call.argument(1));
    let two = Two { old: Call::url(), new };
    match (O::NAME, &*kind) {
        (PostgresDb::NAME, PostgresDb::NAME) => {
            serve_pair::<PostgresDb, PostgresDb>(call, two).await
        }
        (MySqlDb::NAME, PostgresDb::NAME) => serve_pair::<MySqlDb, PostgresDb>(call, two).await,
        (SqliteDb::NAME, MySqlDb::NAME) => serve_pair::<SqliteDb, MySqlDb>(call, two).await,
        (SqliteDb::NAME, SqliteDb::NAME) => serve_pair::<SqliteDb, SqliteDb>(call, two).await,
        (old, new) => panic!("no pair of {old} and {new}"),
    }
}

async fn serve_pair<O: CartDb, N: CartDb>(call: Call, two: Two) {
    let carts = start::<O, N>(&two).await;
    answer(call, move |order| {
        let carts = carts.clone();
        async move { obey(&carts, &order).await.unwrap_or_else(|| "no".to_owned()) }
    })
    .await
}

async fn obey<O: CartDb, N: CartDb>(carts: &Carts<O, N>, order: &[String]) -> Option<String> {
    let number = |place: usize| order[place].parse::<i64>().unwrap();
    match &*order[0] {
        "save" => {
            let written = cart("written", number(2));
            let written = (!is_delete(number(2) as u64)).then_some(&written);
            save(carts, number(1), written).await.ok().map(|()| "ok".to_owned())
        }
        "read" => {
            let (side, found) = find_where(carts, number(1)).await.ok()?;
            let found = found.map_or("none".to_owned(), |cart| cart.count.to_string());
            Some(format!("{side} {found}"))
        }
        "move" => {
            let stage = carts.status().await.ok()?.stage;
            let moved = match stage {
                Stage::DualWrite => carts.advance(Stage::Live).await,
                Stage::Live => carts.advance(Stage::DualWrite).await,
                _ => records_again(carts).await,
            };
            moved.ok().map(|()| "ok".to_owned())
        }
        "copy" => {
            let stage = carts.status().await.ok()?.stage;
            let alone = if stage == Stage::Live { Stage::Complete } else { Stage::Off };
            carts.advance(alone).await.ok()?;
            records_again(carts).await.ok().map(|()| "ok".to_owned())
        }
        other => panic!("no order is called {other}"),
    }
}

async fn records_again<O: CartDb, N: CartDb>(carts: &Carts<O, N>) -> Result<(), dualwrite::Error> {
    match carts.status().await?.stage {
        Stage::Off => carts.advance(Stage::DualWrite).await?,
        Stage::Complete => drop(carts.rollback().await?),
        _ => {}
    }
    carts.copy().await.map(drop)
}

/// What happens to the databases.
trait Nemesis {
    /// Restarts one of them. Which kind it is, where it did.
    fn restart<O: TestDb, N: TestDb>(&mut self, dice: &mut Dice) -> Option<&'static str>;
}

impl Nemesis for () {
    fn restart<O: TestDb, N: TestDb>(&mut self, _: &mut Dice) -> Option<&'static str> {
        None
    }
}

impl Nemesis for (Server, Server) {
    fn restart<O: TestDb, N: TestDb>(&mut self, dice: &mut Dice) -> Option<&'static str> {
        match dice.one_in(2) {
            true => {
                self.0.restart();
                Some(O::NAME)
            }
            false => {
                self.1.restart();
                Some(N::NAME)
            }
        }
    }
}

#[derive(Default)]
struct World {
    histories: Vec<History>,
    /// The sides whose servers show a commit before it is on disk.
    early: Vec<&'static str>,
    stop: AtomicBool,
}

async fn write(world: Arc<World>, processes: Vec<Remote>, key: usize, mut dice: Dice) {
    let history = &world.histories[key];
    while !world.stop.load(SeqCst) && processes.iter().any(Remote::is_alive) {
        let process = dice.pick(&processes);
        if process.is_alive() {
            let number = history.begin();
            if process.ask(format!("save {key} {number}")).await.as_deref() == Some("ok") {
                history.acknowledge(number);
            }
        }
    }
}

async fn read(world: Arc<World>, processes: Vec<Remote>, mut dice: Dice) {
    while !world.stop.load(SeqCst) && processes.iter().any(Remote::is_alive) {
        let (process, key) = (dice.pick(&processes), dice.below(WRITERS));
        if !process.is_alive() {
            continue;
        }
        let history = &world.histories[key];
        let begun = history.now();
        let answer = process.ask(format!("read {key}")).await;
        if let Some((side, found)) = answer.as_deref().and_then(|answer| answer.split_once(' ')) {
            let found = (found != "none").then(|| found.parse().unwrap());
            history.read_on(begun, found, world.early.contains(&side));
        }
    }
}

async fn another<O: CartDb, N: CartDb>(two: &Two) -> Remote {
    let role = format!("exact {} {}", N::NAME, two.new);
    Remote::of(Child::start_at(O::NAME, &two.old, &role)).await
}

async fn round<O: CartDb, N: CartDb>(
    two: &Two,
    world: &Arc<World>,
    processes: &mut [Remote],
    nemesis: &mut (impl Nemesis + Send),
    dice: &mut Dice,
) {
    let mut clients = Vec::new();
    for key in 0..WRITERS {
        let dice = Dice::new(dice.roll());
        clients.push(tokio::spawn(write(Arc::clone(world), processes.to_vec(), key, dice)));
    }
    for _ in 0..READERS {
        let dice = Dice::new(dice.roll());
        clients.push(tokio::spawn(read(Arc::clone(world), processes.to_vec(), dice)));
    }
    let victim = dice.below(PROCESSES);
    let mover = processes[if dice.one_in(4) { 1 - victim } else { victim }].clone();
    let order = if dice.one_in(6) { "copy" } else { "move" };
    let moving = tokio::spawn(async move { mover.ask(order.to_owned()).await });
    tokio::time::sleep(Duration::from_millis(dice.below(80) as u64)).await;
    if dice.one_in(3) && nemesis.restart::<O, N>(dice) == Some(MySqlDb::NAME) {
        world.histories.iter().for_each(History::lost);
    }
    processes[victim].kill().await;
    if dice.one_in(4) {
        processes[1 - victim].kill().await; // nobody is left to take it up
    }
    tokio::time::sleep(Duration::from_millis(150 + dice.below(100) as u64)).await;
    world.stop.store(true, SeqCst);
    for client in clients {
        ends("a client", client).await.unwrap();
    }
    let _ = ends("a move", moving).await;
    for process in processes {
        if !process.is_alive() {
            *process = another::<O, N>(two).await;
        }
    }
}

/// Both databases say the same, and the history can have happened.
async fn judge<O: CartDb, N: CartDb>(two: &Two, world: &World, about: &str) {
    let carts = start::<O, N>(two).await;
    let is_quiet =
        async || carts.status().await.is_ok_and(|status| status.open && status.backlog == 0);
    until(format_args!("{about}: a hand-over that is taken up"), is_quiet).await;
    // Before a copy that would make good what was lost.
    let status = soon("its status", async || carts.status().await.ok()).await;
    if status.copied && matches!(status.stage, Stage::DualWrite | Stage::Live) {
        let report = soon("it is verified", async || carts.verify().await.ok()).await;
        assert!(report.is_clean() && report.behind == 0, "{about}, not copied again: {report:?}");
    }
    until(format_args!("{about}: it is copied"), async || records_again(&carts).await.is_ok())
        .await;
    until(format_args!("{about}: the outbox is empty"), is_quiet).await;
    let report = soon("it is verified", async || carts.verify().await.ok()).await;
    assert!(report.is_clean() && report.behind == 0, "{about}: {report:?}");
    for (key, history) in world.histories.iter().enumerate() {
        let begun = history.now();
        let last = soon("a read", async || find(&carts, key as i64).await.ok()).await;
        history.read(begun, last.map(|cart| cart.count as u64));
        if let Err(wrong) = history.judge() {
            panic!("{about}: key {key}: {wrong}");
        }
    }
    // The next history begins where there is nothing.
    for key in 0..WRITERS {
        until("it is deleted", async || save(&carts, key as i64, None).await.is_ok()).await;
    }
    carts.shutdown().await;
}

async fn all<O: CartDb, N: CartDb>(two: Two, mut nemesis: impl Nemesis + Send, rounds: u64) {
    let seed = setting("DUALWRITE_TEST_SEED").unwrap_or(20_261_130);
    let first = start::<O, N>(&two).await;
    first.advance(Stage::DualWrite).await.unwrap();
    first.copy().await.unwrap();
    first.shutdown().await;
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(another::<O, N>(&two).await);
    }
    let (mut reads, mut writes) = (0, 0);
    for number in 0..rounds {
        let mut dice = Dice::new(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9)));
        let histories = (0..WRITERS).map(|_| History::default()).collect();
        let sides = [("old", O::NAME), ("new", N::NAME)];
        let early = sides.into_iter().filter(|(_, kind)| *kind == MySqlDb::NAME);
        let early = early.map(|(side, _)| side).collect();
        let world = Arc::new(World { histories, early, ..World::default() });
        round::<O, N>(&two, &world, &mut processes, &mut nemesis, &mut dice).await;
        judge::<O, N>(&two, &world, &format!("round {number} of seed {seed}")).await;
        for history in &world.histories {
            let (read, written) = history.len();
            (reads, writes) = (reads + read, writes + written);
        }
    }
    let (old, new) = (O::NAME, N::NAME);
    notice(&format!(
        "{old} to {new}: {rounds} rounds of killed processes from seed {seed}, {reads} reads, {writes} writes"
    ));
}

async fn no_read_is_stale_and_no_record_lost_whatever_is_killed<O, N>(pair: Pair<O, N>)
where
    O: CartDb,
    N: CartDb,
{
    let two = Two { old: pair.old.url(), new: pair.new.url() };
    all::<O, N>(two, (), rounds()).await;
}

const TABLE: &str =
    "CREATE TABLE cart (id BIGINT PRIMARY KEY, text VARCHAR(100) NOT NULL, count BIGINT NOT NULL)";

async fn postgres_with_carts() -> (Server, String) {
    let server = postgres().await;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", server.port);
    let pool = connected::<sqlx::Postgres>(1, url.parse().unwrap()).await;
    sqlx::raw_sql(TABLE).execute(&pool).await.unwrap();
    pool.close().await;
    (server, url)
}

async fn mariadb_with_carts() -> (Server, String) {
    let server = mariadb(&[]).await;
    let url = format!("mysql://root@127.0.0.1:{}/mysql", server.port);
    let pool = connected::<sqlx::MySql>(1, url.parse().unwrap()).await;
    let sql = "CREATE DATABASE carts CHARACTER SET utf8mb4; USE carts; ";
    let sql = sqlx::AssertSqlSafe(format!("{sql}{TABLE}"));
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    pool.close().await;
    let url = format!("mysql://root@127.0.0.1:{}/carts", server.port);
    (server, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_where_postgres_restarts_on_either_side() {
    if setting("DUALWRITE_TEST_ROUNDS").is_none() && !runs_all("restarts of databases") {
        return;
    }
    let ((one, old), (other, new)) = (postgres_with_carts().await, postgres_with_carts().await);
    all::<PostgresDb, PostgresDb>(Two { old, new }, (one, other), rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_where_mariadb_or_postgres_restarts() {
    if setting("DUALWRITE_TEST_ROUNDS").is_none() && !runs_all("restarts of databases") {
        return;
    }
    let ((one, old), (other, new)) = (mariadb_with_carts().await, postgres_with_carts().await);
    all::<MySqlDb, PostgresDb>(Two { old, new }, (one, other), rounds()).await;
}
