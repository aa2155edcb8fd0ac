//! A whole migration under load, by two releases of the service and the commands of the tool.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::database::Database;
use crate::load::{Figures, Load, WORKERS};
use crate::process::{Process, Release};

/// What can go wrong here.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Longer than any command takes here.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// How long a command is given again while a gate is closed or an instance is slow: instances tell what they have seen
/// with their heartbeats.
const REFUSED_LIMIT: Duration = Duration::from_secs(60);
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// What the demonstration does, and where.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The database.
    pub url: String,
    /// The program of this package, which serves.
    pub program: PathBuf,
    /// How long the load runs after each step.
    pub pause: Duration,
    /// Orders of before the migration.
    pub orders: u64,
}

/// Gives a command of the tool `dualwrite`: its exit code, what it prints, and what it complains of.
///
/// # Errors
/// Where it does not end in two minutes.
pub async fn tool(url: &str, words: &[&str]) -> Result<(u8, String, String), Failure> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = [&["dualwrite", "--database", url], words].concat();
    let running = timeout(COMMAND_LIMIT, dualwrite_cli::run(words, &mut out, &mut err));
    let code = running.await.map_err(|_| "the command does not end")?;
    Ok((code, String::from_utf8(out)?, String::from_utf8(err)?))
}

impl Demo {
    /// Runs it. Answers whether nothing was lost and no call was answered wrongly.
    ///
    /// # Errors
    /// Where a step fails.
    pub async fn run(&self) -> Result<bool, Failure> {
        let database = Database::open(&self.url).await?;
        database.create(self.orders, WORKERS).await?;
        let mut old = self.start(Release::Before).await?;
        let load = Load::start(old.address).await?;
        self.watch(&load, "release 1.0 serves alone").await;

        database.expand().await?;
        let first = self.start(Release::After).await?;
        load.add(first.address);
        self.watch(&load, "the table `orders` is there, and release 1.1 serves beside 1.0").await;
        load.remove(old.address).await?;
        old.stop().await?;
        old = self.start(Release::After).await?;
        load.add(old.address);
        self.watch(&load, "both processes are of release 1.1").await;
        println!("\n  the page of the migration: http://{}/admin/dualwrite/\n", first.address);

        for (command, what) in STEPS {
            self.give(command).await?;
            self.watch(&load, what).await;
        }
        let figures = load.stop(&database).await?;
        first.stop().await?;
        old.stop().await?;
        verdict(&database, figures).await
    }

    async fn start(&self, release: Release) -> Result<Process, Failure> {
        Process::start(&self.program, &self.url, release).await
    }

    /// Lets the load run for a while, and tells how it goes.
    async fn watch(&self, load: &Load, what: &str) {
        if what.is_empty() {
            return;
        }
        let (before, began) = (load.figures(), Instant::now());
        sleep(self.pause).await;
        let (now, seconds) = (load.figures(), began.elapsed().as_secs_f64());
        let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
        println!(
            "  {:>5.0} reads/s {:>5.0} writes/s, {} failed, {} wrong: {what}",
            rate(now.reads, before.reads),
            rate(now.writes, before.writes),
            now.failed,
            now.wrong,
        );
    }

    /// Gives a command, again while a gate refuses it.
    async fn give(&self, command: &str) -> Result<(), Failure> {
        println!("$ dualwrite {command}");
        let words: Vec<&str> = command.split(' ').collect();
        let began = Instant::now();
        loop {
            let (code, out, err) = tool(&self.url, &words).await?;
            if code == dualwrite_cli::DONE {
                out.lines().for_each(|line| println!("  {line}"));
                return Ok(());
            }
            let may_pass = code == dualwrite_cli::REFUSED || err.contains("try again");
            if !may_pass || began.elapsed() > REFUSED_LIMIT {
                return Err(format!("exit code {code}: {err}").into());
            }
            sleep(REFUSED_PAUSE).await;
        }
    }
}

/// The commands, and what is so after them.
const STEPS: [(&str, &str); 17] = [
    ("trigger-install orders --by demo --because adopted", ""),
    ("advance orders --to dual_write --by demo --because deployed", "both tables are written"),
    ("backfill-start orders --by demo --because deployed", ""),
    ("wait orders --for backfill --timeout 2m", "what was there is copied"),
    ("verify orders --by demo --because copied", ""),
    ("wait orders --for verify --timeout 2m", "both tables agree"),
    ("advance orders --to shadow --by demo --because verified", "reads are compared"),
    ("ramp orders --percent 10 --by demo --because compared", "the new table answers a tenth"),
    ("advance orders --to live --by demo --because well", "the new table answers"),
    ("rollback orders --by demo --because doubts", "the old table answers again"),
    ("advance orders --to live --by demo --because unfounded", "the new table answers again"),
    ("verify orders --by demo --because live", ""),
    ("wait orders --for verify --timeout 2m", ""),
    ("advance orders --to ramp_down --by demo --because well", "nothing is compared any more"),
    ("advance-sequences orders --by demo --because ids", ""),
    ("advance orders --to complete --by demo --because done", "the new table alone is written"),
    ("status orders", ""),
];

/// The check in plain SQL of what the load has left, printed. Answers whether all is well.
///
/// # Errors
/// Where the database refuses.
pub async fn verdict(database: &Database, figures: Figures) -> Result<bool, Failure> {
    let lost =
        "SELECT count(*) FROM expected e LEFT JOIN orders o ON o.id = e.id WHERE o.id IS NULL";
    let wrong = "SELECT count(*) FROM expected e JOIN orders o ON o.id = e.id WHERE o.customer <> e.customer \
                 OR o.amount_cents <> e.amount_cents OR o.state <> e.state";
    let extra = "SELECT count(*) FROM orders o LEFT JOIN expected e ON e.id = o.id WHERE e.id IS NULL \
                 AND o.customer LIKE 'customer-%'";
    let all = database.number("SELECT count(*) FROM expected").await?;
    let Figures { reads, writes, retried, .. } = figures;
    println!(
        "\n{reads} reads and {writes} writes, {retried} of them made again; {all} orders are left"
    );
    let mut is_good = all > 0;
    for (what, count) in [
        ("calls that failed", figures.failed as i64),
        ("calls that were answered wrongly", figures.wrong as i64),
        ("orders that are lost", database.number(lost).await?),
        ("orders that are not as they were acknowledged", database.number(wrong).await?),
        ("orders that were cancelled, or that nobody placed", database.number(extra).await?),
    ] {
        is_good &= count == 0;
        println!("{what:<52} {count:>5}  {}", if count == 0 { "as it must be" } else { "WRONG" });
    }
    println!("{}", if is_good { "Nothing was lost." } else { "SOMETHING IS WRONG." });
    Ok(is_good)
}
