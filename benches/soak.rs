//! Memory in a soak: every read is sampled for comparison with a mirror that never answers, for minutes.
//! What is under way at a time is bounded, what goes beyond is dropped and counted, and what is given up
//! leaves nothing behind: so memory stays flat.
//!
//! ```text
//! cargo bench --bench soak                            half a minute, prints the figures
//! cargo bench --bench soak -- --seconds 180 --check   and exits with 1 where memory grew by more than 10 %
//! ```
//!
//! Linux only, since it reads `/proc/self/status`. Needs no server: the control tables are on SQLite.

#[path = "harness/mod.rs"]
mod harness;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dualwrite::{
    BoxError, Compare, Runtime, Stage,
    defaults::{SHADOW_CONCURRENCY, SHADOW_TIMEOUT},
    shadow::cohort,
};
use harness::{Target, judge, targets::SOAK_GROWTH_MAX};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

const SECONDS: u64 = 30;
/// Before the first look: pools, windows and the allocator have then taken what they take.
const WARM_UP: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_secs(15);
const READERS: i64 = 4;
/// Reads in a row, and the pause after them: some 100,000 reads a second and not all of the machine.
const BURST: i64 = 50;
const PAUSE: Duration = Duration::from_millis(1);
/// A leak of one answer per dropped comparison would be seen in a second.
const NOTE_BYTES: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Compare)]
struct Customer {
    id: i64,
    note: String,
}

#[dualwrite::repository]
trait Customers {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Customer, sqlx::Error>;
}

struct Answers;

impl Customers for Answers {
    async fn find(&self, id: i64) -> Result<Customer, sqlx::Error> {
        Ok(Customer { id, note: "x".repeat(NOTE_BYTES) })
    }
}

/// Holds what it was asked with for as long as somebody waits.
struct Hangs;

impl Customers for Hangs {
    async fn find(&self, id: i64) -> Result<Customer, sqlx::Error> {
        let held = Customer { id, note: "x".repeat(NOTE_BYTES) };
        std::future::pending::<()>().await;
        Ok(held)
    }
}

fn main() -> ExitCode {
    let length = Duration::from_secs(harness::number("--seconds").unwrap_or(SECONDS));
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    harness::end(tokio.block_on(soak(length)).expect("it runs"))
}

/// Answers with 1 where memory grew beyond the target.
async fn soak(length: Duration) -> Result<u32, BoxError> {
    let folder = tempfile::tempdir()?;
    let options = SqliteConnectOptions::new().filename(folder.path().join("soak.db"));
    let pool = SqlitePoolOptions::new().connect_with(options.create_if_missing(true)).await?;
    let runtime = Runtime::builder(pool).start().await?;
    let migration = runtime.migration("soak").register().await?;
    migration.advance(Stage::DualWrite).await?;
    migration.advance(Stage::Shadow).await?;
    let customers = Arc::new(DualCustomers::new(&migration, Answers, Hangs));
    let (goes_on, reads) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (customers, goes_on) = (Arc::clone(&customers), Arc::clone(&goes_on));
            let reads = Arc::clone(&reads);
            tokio::spawn(async move {
                let mut id = reader;
                while goes_on.load(Relaxed) {
                    // More cohorts than are counted by name.
                    let label = format!("tenant {}", id / BURST % 200);
                    let burst = async {
                        for _ in 0..BURST {
                            customers.find(id).await.expect("old answers");
                            id += READERS;
                        }
                    };
                    cohort(&label, burst).await;
                    reads.fetch_add(BURST.unsigned_abs(), Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            })
        })
        .collect();

    tokio::time::sleep(WARM_UP).await;
    let (start, first, before) = (Instant::now(), resident()?, reads.load(Relaxed));
    let mut most = first;
    while start.elapsed() < length {
        let left = length.saturating_sub(start.elapsed());
        tokio::time::sleep(left.min(LOOK_EVERY)).await;
        let now = resident()?;
        most = most.max(now);
        println!("{:>4.0} s {now:>9} kB", start.elapsed().as_secs_f64());
    }
    let (last, spent) = (resident()?, start.elapsed().as_secs_f64());
    let made = reads.load(Relaxed) - before;
    goes_on.store(false, Relaxed);
    for reader in readers {
        reader.await?;
    }
    let counted = migration.status().await?.counters;
    let growth = last as f64 / first as f64;
    let target = Target::AtMost(SOAK_GROWTH_MAX);
    let verdict = judge("memory at the end over memory after the warm-up", growth, "times", target);
    judge("memory at most", most as f64, "kB", Target::None);
    println!("mirror that never answers, limit {SHADOW_TIMEOUT:?}, {SHADOW_CONCURRENCY} at a time");
    println!(
        "reads                       {made:>12} in {spent:.0} s, {:.0} a second",
        made as f64 / spent
    );
    println!("comparisons timed out       {:>12}", counted.shadow_timed_out);
    println!("comparisons dropped         {:>12}", counted.shadow_dropped);
    println!("memory after the warm-up    {first:>9} kB");
    println!("memory at most              {most:>9} kB");
    println!("memory at the end           {last:>9} kB");
    println!("end over warm-up            {growth:>12.3}  {target}  {verdict}");
    assert!(counted.shadow_timed_out > 0 && counted.shadow_dropped > 0, "nothing was soaked");
    runtime.shutdown().await?;
    Ok(verdict.missed())
}

/// Kilobytes of memory that the process holds.
fn resident() -> Result<u64, BoxError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|resident| resident.trim().strip_suffix(" kB"));
    Ok(resident.ok_or("no VmRSS")?.trim().parse()?)
}
