//! The whole life of a migration, under live traffic: `examples/run`.
//!
//! Twenty thousand customers in a SQLite file; four tasks write and four read all the time, while the
//! column `email` becomes `email_address`, stage by stage, with one rollback on the way. The end is a
//! table that shows whether anything was lost; if so, the exit code is 1.
//!
//! `examples/run --database URL` does the same on PostgreSQL or MySQL/MariaDB, in a table
//! `dualwrite_quickstart_customer` that it makes and drops, and in the control tables `dualwrite_…`.

mod customers;
mod database;
mod traffic;

use std::error::Error;
use std::marker::PhantomData;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use dualwrite::{Migration, Percent, Runtime, Stage};
use sqlx::pool::PoolOptions;
use sqlx::{Connection, Pool};

use customers::{CopyEmail, DualCustomers, NewCustomers, OldCustomers};
use database::Sql;
use traffic::{Ledger, READERS, WRITERS, email, read, write};

const CUSTOMERS: usize = 20_000;
const NAMES: [&str; 8] =
    ["Ada", "Grace", "Edsger", "Barbara", "Donald", "Radia", "Niklaus", "Frances"];
/// How long each stage is watched before the next move.
const WATCH: Duration = Duration::from_millis(700);

#[tokio::main]
async fn main() -> ExitCode {
    match start().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quickstart: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            if let Some(sqlx::Error::Io(_)) = error.downcast_ref::<sqlx::Error>() {
                eprintln!("Start that server, check its URL, or leave out --database for SQLite.");
            }
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<bool, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let url = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => None,
        ["--database", url] => Some(url.to_owned()),
        _ => return Err("usage: examples/run [--database URL]".into()),
    };
    match url.as_deref() {
        None => {
            let folder = tempfile::tempdir()?;
            let file = folder.path().join("shop.db");
            let options = sqlx::sqlite::SqliteConnectOptions::new()
                .filename(file)
                .create_if_missing(true)
                .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
                .synchronous(sqlx::sqlite::SqliteSynchronous::Normal)
                .busy_timeout(Duration::from_secs(20));
            life(pool_options::<sqlx::Sqlite>().connect_with(options).await?).await
        }
        #[cfg(feature = "postgres")]
        Some(url) if url.starts_with("postgres") => {
            life(connect::<sqlx::Postgres>(url).await?).await
        }
        #[cfg(feature = "mysql")]
        Some(url) if url.starts_with("mysql") || url.starts_with("mariadb") => {
            life(connect::<sqlx::MySql>(url).await?).await
        }
        Some(url) if url.starts_with("sqlite") => life(connect::<sqlx::Sqlite>(url).await?).await,
        Some(_) => {
            let message = "the URL must begin with sqlite:, postgres:, mysql: or mariadb:, and this program \
                           be built for that database, as `examples/run` does";
            Err(message.into())
        }
    }
}

fn pool_options<DB: Sql>() -> PoolOptions<DB> {
    PoolOptions::new().max_connections(10).acquire_timeout(Duration::from_secs(20))
}

/// A pool tries again and again; one connection says at once what is wrong.
async fn connect<DB: Sql>(url: &str) -> Result<Pool<DB>, sqlx::Error> {
    DB::Connection::connect(url).await?.close().await?;
    pool_options().connect(url).await
}

/// The migration, from nothing to `Complete`. Answers whether nothing was lost.
async fn life<DB: Sql>(pool: Pool<DB>) -> Result<bool, Box<dyn Error>> {
    let mut story = Story::new(DB::NAME);
    DB::script(&pool, DB::DROP).await?;
    DB::script(&pool, DB::CREATE).await?;
    let customers: Vec<_> = (0..CUSTOMERS as i64).map(|id| customer(id as usize)).collect();
    DB::fill(&pool, &customers).await?;

    // A process of the service: one runtime, one handle per migration, one wrapper per repository.
    let runtime = Runtime::builder(pool.clone()).release(env!("CARGO_PKG_VERSION")).start().await?;
    let name = format!("quickstart-{}", uuid::Uuid::new_v4().simple());
    let copy = CopyEmail::<DB>(PhantomData);
    // Old and new are columns of one row, and each side has a statement of its own. No statement here counts on what the
    // other one wrote (`SET n = n + 1` would), so that is safe.
    let registration = runtime.migration(name).backfill_both_ways(copy).two_statements();
    let migration = registration.lazy().register().await?;
    let service =
        DualCustomers::new(&migration, OldCustomers(pool.clone()), NewCustomers(pool.clone()));

    let ledger = Arc::new(Ledger::new(CUSTOMERS));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..WRITERS {
        tasks.spawn(write(
            number,
            migration.clone(),
            pool.clone(),
            service.clone(),
            ledger.clone(),
        ));
    }
    for number in 0..READERS {
        tasks.spawn(read(number, service.clone(), ledger.clone()));
    }
    story.watch("customers are read and written, old alone", &migration, &ledger).await;

    let outcome = move_along(&mut story, &migration, &ledger, &pool).await;
    ledger.stop();
    while let Some(task) = tasks.join_next().await {
        task?;
    }
    let differing = outcome?;
    let lost = missing(&pool, &ledger).await?;
    let status = migration.status().await?;
    runtime.shutdown().await?;
    DB::script(&pool, DB::DROP).await?;
    Ok(story.verdict(&ledger, &status, differing, lost))
}

/// Turns the dial. Answers how many rows differed when both columns were last written.
async fn move_along<DB: Sql>(
    story: &mut Story,
    migration: &Migration,
    ledger: &Ledger,
    pool: &Pool<DB>,
) -> Result<i64, Box<dyn Error>> {
    migration.advance(Stage::DualWrite).by("quickstart").because("column added").await?;
    story.watch("every write goes to both columns", migration, ledger).await;

    let done = migration.backfill().run().await?;
    let text = format!("backfill: {} copied, {} were equal already", done.migrated, done.skipped);
    story.watch(&text, migration, ledger).await;
    let report = migration.verify().run().await?;
    let text = format!("verification: {} compared, {} differ", report.compared, report.differing);
    story.watch(&text, migration, ledger).await;

    migration.advance(Stage::Shadow).await?;
    story.watch("old answers, new is read beside it and compared", migration, ledger).await;
    for percent in [5, 50] {
        migration.ramp_to(Percent::new(percent)?).await?;
        story.watch(&format!("new answers {percent} % of the customers"), migration, ledger).await;
    }
    migration.advance(Stage::Live).await?;
    story.watch("new answers", migration, ledger).await;

    let start = Instant::now();
    migration.rollback("somebody saw something").await?;
    let text = format!("rolled back in {:.0} ms: old answers again", ms(start.elapsed()));
    story.watch(&text, migration, ledger).await;
    migration.advance(Stage::Live).await?;
    story.watch("it was nothing: new answers again", migration, ledger).await;

    migration.advance(Stage::RampDown).await?;
    story.watch("the comparison ends", migration, ledger).await;
    let differing = migration.verify().run().await?.differing;
    let differing = differing as i64 + DB::number(pool, DB::DIFFERING_ALL).await?;
    migration.advance(Stage::Complete).because("nothing needs the old column").await?;
    story.watch("only the new column is written", migration, ledger).await;
    Ok(differing)
}

/// Acknowledged writes that the new column does not hold.
async fn missing<DB: Sql>(pool: &Pool<DB>, ledger: &Ledger) -> Result<usize, sqlx::Error> {
    let mut missing = 0;
    for (id, version) in ledger.acknowledged().into_iter().enumerate() {
        let found = DB::find(pool, DB::FIND_NEW, id as i64).await?;
        let expected = email(id as i64, version);
        missing += usize::from(found.is_none_or(|found| found.email_address() != expected));
    }
    Ok(missing)
}

fn customer(id: usize) -> (i64, String, String) {
    let name = format!("{} {}", NAMES[id % NAMES.len()], id / NAMES.len());
    (id as i64, name, email(id as i64, 1))
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Tells what happens, a line a step.
struct Story {
    start: Instant,
}

impl Story {
    fn new(database: &str) -> Self {
        println!("{CUSTOMERS} customers on {database}; {WRITERS} tasks write, {READERS} read\n");
        println!(
            "{:>6}  {:<26} {:>8} {:>8}  what happens",
            "time", "position", "writes/s", "reads/s"
        );
        Self { start: Instant::now() }
    }

    /// Lets the traffic run for a while and tells how it goes.
    async fn watch(&mut self, what: &str, migration: &Migration, ledger: &Ledger) {
        let before = (ledger.writes.load(SeqCst), ledger.reads.load(SeqCst));
        let start = Instant::now();
        tokio::time::sleep(WATCH).await;
        let rate = |now: u64, before: u64| (now - before) as f64 / start.elapsed().as_secs_f64();
        println!(
            "{:>5.1}s  {:<26} {:>8.0} {:>8.0}  {what}",
            self.start.elapsed().as_secs_f64(),
            migration.position().to_string(),
            rate(ledger.writes.load(SeqCst), before.0),
            rate(ledger.reads.load(SeqCst), before.1),
        );
    }

    /// The table at the end. Answers whether nothing was lost.
    fn verdict(
        &self,
        ledger: &Ledger,
        status: &dualwrite::Status,
        differing: i64,
        lost: usize,
    ) -> bool {
        let counters = status.counters;
        let rows = [
            ("acknowledged writes", ledger.writes.load(SeqCst), None),
            ("reads", ledger.reads.load(SeqCst), None),
            ("comparisons that agreed", counters.shadow_equal, None),
            ("comparisons of a write in flight", counters.shadow_transient, None),
            ("acknowledged writes that are lost", lost as u64, Some(0)),
            ("reads of a superseded value", ledger.superseded.load(SeqCst), Some(0)),
            ("rows that differed before the end", differing.unsigned_abs(), Some(0)),
            ("comparisons that differed", counters.shadow_different, Some(0)),
            ("calls that failed", ledger.errors.load(SeqCst), Some(0)),
            (
                "keys left to copy",
                status.dirty_old + status.dirty_new + status.dead_letters,
                Some(0),
            ),
        ];
        println!("\n{:<36} {:>10}", "after all", "count");
        let mut good = status.position.stage == Stage::Complete;
        for (what, count, wanted) in rows {
            let fine = wanted.is_none_or(|wanted| wanted == count);
            good &= fine;
            let mark = match wanted {
                None => "",
                Some(_) if fine => "as it must be",
                Some(_) => "WRONG",
            };
            println!("{what:<36} {count:>10}  {mark}");
        }
        println!("\n{}", if good { "Nothing was lost." } else { "SOMETHING WAS LOST." });
        good
    }
}
