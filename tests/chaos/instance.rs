//! The other process: it joins the service, and its clients and its operator work until the parent says that they
//! stop, or ends.

use std::env;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use sqlx::Pool;
use sqlx::pool::PoolOptions;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::log::Log;
use crate::operator::Operator;
use crate::service::{Joining, Service, join};
use crate::support::db::{MySqlDb, PostgresDb, SqliteDb, TestDb};
use crate::support::dice::Dice;
use crate::support::sql::Sql;

/// What a process is started for, in its environment.
const ORDER: &str = "DUALWRITE_CHAOS_INSTANCE";

/// Named so that no two processes of a round have one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) name: String,
    pub(crate) database: String,
    pub(crate) log: PathBuf,
    pub(crate) seed: u64,
    pub(crate) lease: Duration,
    pub(crate) lazy: bool,
    pub(crate) pause: Duration,
    pub(crate) mirror_failures: u64,
    pub(crate) url: String,
}

const CLIENTS: usize = 3;
const CONNECTIONS: u32 = 6;
/// A server that restarts lets nobody in meanwhile.
const JOINS_WITHIN: Duration = Duration::from_secs(60);
const TRIES_AGAIN: Duration = Duration::from_millis(50);

impl Order {
    /// What the child finds in its environment.
    pub(crate) fn variable(&self) -> (&'static str, String) {
        let Self { name, database, log, seed, lease, lazy, pause, mirror_failures, url } = self;
        let (lease, pause, log) = (lease.as_millis(), pause.as_millis(), log.display());
        let order = format!(
            "{name}\n{database}\n{log}\n{seed}\n{lease}\n{lazy}\n{pause}\n{mirror_failures}\n{url}"
        );
        (ORDER, order)
    }

    /// `None` in a process that no chaos run started.
    pub(crate) fn of_parent() -> Option<Self> {
        let order = env::var(ORDER).ok()?;
        let parts: Vec<&str> = order.split('\n').collect();
        let [name, database, log, seed, lease, lazy, pause, mirror_failures, url] = *parts else {
            panic!("no order: {order}")
        };
        Some(Self {
            name: name.to_owned(),
            database: database.to_owned(),
            log: log.into(),
            seed: seed.parse().unwrap(),
            lease: Duration::from_millis(lease.parse().unwrap()),
            lazy: lazy.parse().unwrap(),
            pause: Duration::from_millis(pause.parse().unwrap()),
            mirror_failures: mirror_failures.parse().unwrap(),
            url: url.to_owned(),
        })
    }
}

pub(crate) fn run(order: Order) {
    // Also where it is stopped, and hears nothing.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    let stop = Arc::<AtomicBool>::default();
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        let word = std::io::stdin().lock().lines().next();
        match word {
            Some(Ok(_)) => told.store(true, SeqCst),
            _ => exit(1), // the parent is gone
        }
    });
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match order.database.as_str() {
        SqliteDb::NAME => threads.block_on(serve::<SqliteDb>(order, stop)),
        PostgresDb::NAME => threads.block_on(serve::<PostgresDb>(order, stop)),
        MySqlDb::NAME => threads.block_on(serve::<MySqlDb>(order, stop)),
        other => panic!("no database is called {other}"),
    }
}

async fn serve<D: Sql>(order: Order, stop: Arc<AtomicBool>) {
    let log = Log::create(&order.log);
    let Some((pool, service)) = joined::<D>(&order, &log, &stop).await else { return };
    log.note(format_args!("{} has joined as {}", order.name, service.runtime.instance()));
    let mut dice = Dice::new(order.seed);
    let mut tasks = JoinSet::new();
    for number in 0..CLIENTS {
        let mut client = Client::<D> {
            name: format!("{}-{number}", order.name),
            pool: pool.clone(),
            migrations: service.migrations.clone(),
            log: log.clone(),
            dice: Dice::new(dice.roll()),
            mirror_failures: order.mirror_failures,
            number: 0,
        };
        let stop = Arc::clone(&stop);
        tasks.spawn(async move {
            while !stop.load(SeqCst) {
                client.operate().await;
            }
        });
    }
    let mut operator = Operator {
        name: order.name.clone(),
        migrations: service.migrations.iter().map(|(migration, _)| migration.clone()).collect(),
        log: log.clone(),
        dice: Dice::new(dice.roll()),
        pause: order.pause,
    };
    tasks.spawn(async move {
        while !stop.load(SeqCst) {
            operator.order().await;
        }
    });
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    // It may not reach its database any more; then its lease runs out.
    let ended = service.runtime.shutdown().await;
    log.note(format_args!("{} ends: {ended:?}", order.name));
}

/// Joins as soon as the database lets it; `None` where it was stopped before.
async fn joined<D: Sql>(
    order: &Order,
    log: &Log,
    stop: &AtomicBool,
) -> Option<(Pool<D::Db>, Service<D>)> {
    let begun = Instant::now();
    let joining = Joining { lease: order.lease, lazy: order.lazy };
    while !stop.load(SeqCst) {
        let pool = PoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(Duration::from_secs(2))
            .connect_lazy(&order.url)
            .unwrap();
        match join::<D>(&pool, joining).await {
            Ok(service) => return Some((pool, service)),
            Err(error) if begun.elapsed() > JOINS_WITHIN => panic!("it cannot join: {error}"),
            Err(error) => log.note(format_args!("{} does not join yet: {error}", order.name)),
        }
        tokio::time::sleep(TRIES_AGAIN).await;
    }
    None
}
