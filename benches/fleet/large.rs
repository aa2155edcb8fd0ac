//! A large fleet of idle instances in this process: how much of one core its server spends on it.
//!
//! Linux counts the time of processes (`/proc`), so the server must be on this machine.

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use dualwrite::{Backend, Runtime};
use futures_util::future::try_join_all;
use sqlx::pool::PoolOptions;
use sqlx::{Connection as _, MySql, Pool, Postgres};

use super::{Counted, create};

/// Instances that start at a time.
const STARTING: usize = 20;
/// Until what the start needed is closed.
const SETTLING: Duration = Duration::from_secs(20);

pub(crate) trait OnThisMachine: Counted {
    /// The process whose time, with that of its children, is the server's.
    async fn process(admin: &mut Self::Connection) -> Result<u32, Box<dyn Error>>;
}

impl OnThisMachine for Postgres {
    async fn process(admin: &mut sqlx::PgConnection) -> Result<u32, Box<dyn Error>> {
        let own: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(admin).await?;
        let stat = Stat::of(&own.to_string()).ok_or("the server is on another machine")?;
        Ok(stat.parent)
    }
}

impl OnThisMachine for MySql {
    async fn process(admin: &mut sqlx::MySqlConnection) -> Result<u32, Box<dyn Error>> {
        let sql = "SELECT @@pid_file, @@datadir";
        let (file, folder): (String, String) = sqlx::query_as(sql).fetch_one(admin).await?;
        let read = fs::read_to_string(&file).or_else(|_| fs::read_to_string(folder + &file))?;
        Ok(read.trim().parse()?)
    }
}

/// What Linux says of a process.
struct Stat {
    parent: u32,
}

impl Stat {
    fn of(process: &str) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name may contain blanks; what follows it does not.
        let parent = text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some(Self { parent })
    }
}

/// The seconds that the threads of a process have run, by the scheduler. Not by its ticks: threads that wake by a timer,
/// run for a fraction of a tick and sleep again are charged whole ticks (measured: four times what they ran).
fn ran(process: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1e9
}

/// The seconds of CPU that a process and its children have had, of those that are there.
fn cpu(process: u32) -> Result<f64, Box<dyn Error>> {
    let mut seconds = ran(&process.to_string());
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str()
            && Stat::of(name).is_some_and(|stat| stat.parent == process)
        {
            seconds += ran(name);
        }
    }
    Ok(seconds)
}

/// Starts so many instances with so many migrations each, and prints what they cost while nothing happens.
pub(crate) async fn watch<DB: OnThisMachine>(
    instances: usize,
    migrations: usize,
    seconds: f64,
) -> Result<(), Box<dyn Error>>
where
    <DB::Connection as sqlx::Connection>::Options: std::str::FromStr<Err = sqlx::Error>,
{
    let Ok(url) = std::env::var(DB::VARIABLE) else { return Ok(()) };
    let mut admin = DB::Connection::connect(&url).await?;
    let process = DB::process(&mut admin).await?;
    let (database, options) = create::<DB>(&mut admin, &url, "large").await?;
    let pool: Pool<DB> = PoolOptions::new()
        .max_connections(STARTING as u32)
        .acquire_timeout(Duration::from_secs(120))
        .connect_lazy_with(options);
    let began = Instant::now();
    let mut runtimes: Vec<Runtime<DB>> = Vec::new();
    while runtimes.len() < instances {
        let starting = (runtimes.len()..instances).take(STARTING);
        let started = starting.map(|_| start(pool.clone(), migrations));
        runtimes.extend(try_join_all(started).await?);
    }
    let took = began.elapsed();
    tokio::time::sleep(SETTLING).await;
    let (began, before) = (Instant::now(), cpu(process)?);
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let spent = (cpu(process)? - before) / began.elapsed().as_secs_f64();
    println!(
        "{:8} {instances} instances with {migrations} migrations each, started in {took:.1?}: idle, they take {:.1} % \
         of one core of the server",
        DB::SHOWN,
        spent * 100.0,
    );
    while !runtimes.is_empty() {
        let leaving = runtimes.split_off(runtimes.len().saturating_sub(STARTING));
        try_join_all(leaving.into_iter().map(Runtime::shutdown)).await?;
    }
    pool.close().await;
    DB::run(&mut admin, format!("DROP DATABASE {database}")).await?;
    Ok(())
}

async fn start<DB: Backend>(
    pool: Pool<DB>,
    migrations: usize,
) -> Result<Runtime<DB>, Box<dyn Error>> {
    let runtime = Runtime::builder(pool).start().await?;
    let named = (0..migrations).map(|number| runtime.migration(format!("m-{number}")));
    runtime.register_all(named).await?;
    Ok(runtime)
}
