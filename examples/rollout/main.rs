//! A rollout that runs by itself: `cargo run --example rollout [-- PLAN.toml]`.
//!
//! Two runtimes stand for two processes of a service. One of them follows the plan, from `off` to
//! `complete`; halfway it is shut down, and the other one goes on. Between, a file of flags with
//! `kill` in it takes everything back, and the plan holds until somebody resumes it.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use dualwrite::{
    Dual, DualTable as _, Migration, Runtime, Stage,
    rollout::{RolloutPlan, RolloutState},
    runtime::FileFlags,
};
use sqlx::SqlitePool;

#[derive(Clone, Debug, sqlx::FromRow, Dual)]
#[dual(table = "customer", key = "id")]
struct Customer {
    id: i64,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
}

const CUSTOMERS: &str = "
    CREATE TABLE customer (id INTEGER PRIMARY KEY, email TEXT, email_address TEXT);
    WITH RECURSIVE ids (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < 5000)
    INSERT INTO customer (id, email) SELECT id, 'c' || id || '@example.com' FROM ids";

#[tokio::main]
async fn main() -> ExitCode {
    match life().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rollout: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The plan in the file that was named, or the one of this example.
fn plan() -> Result<RolloutPlan, Box<dyn Error>> {
    let Some(file) = std::env::args().nth(1) else {
        return Ok(RolloutPlan::from_toml(include_str!("plan.toml"))?);
    };
    let text = std::fs::read_to_string(&file).map_err(|error| {
        format!("the plan `{file}` cannot be read: {error}; see examples/rollout/plan.toml for one")
    })?;
    Ok(RolloutPlan::from_toml(&text).map_err(|error| format!("{file}: {error}"))?)
}

async fn life() -> Result<(), Box<dyn Error>> {
    let plan = plan()?;

    let folder = tempfile::tempdir()?;
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.path().join("shop.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::raw_sql(CUSTOMERS).execute(&pool).await?;
    let flags = folder.path().join("flags.toml");
    std::fs::write(&flags, "")?;

    let (first, here) = join(&pool, &flags).await?;
    let (second, there) = join(&pool, &flags).await?;
    there.rollout().start(&plan, "ada", "the release is out").await?;

    follow(&there, |migration| migration.position().stage == Stage::Shadow).await?;
    println!("-- the kill switch is set");
    std::fs::write(&flags, "customer-email = \"kill\"")?;
    follow(&there, |migration| migration.position().stage == Stage::DualWrite).await?;
    println!("-- it is taken away, and the plan resumed");
    std::fs::write(&flags, "")?;
    resume(&there).await?;

    follow(&there, |migration| migration.position().stage == Stage::Live).await?;
    println!("-- one of the processes ends");
    drop(here);
    first.shutdown().await?;
    follow(&there, |_| false).await?;
    println!("{}", there.status().await?.position);
    let sql = "SELECT id, email, email_address FROM customer WHERE id = 5000";
    let last: Customer = sqlx::query_as(sql).fetch_one(&pool).await?;
    println!("customer {}: {}", last.id, last.email_address());
    second.shutdown().await?;
    Ok(())
}

async fn join(
    pool: &SqlitePool,
    flags: &Path,
) -> Result<(Runtime<sqlx::Sqlite>, Migration), dualwrite::Error> {
    let builder = Runtime::builder(pool.clone()).release("1.4.2").flags(FileFlags::new(flags));
    let runtime = builder.poll(Duration::from_millis(50)).start().await?;
    let copy = Customer::copy_columns();
    let migration = runtime.migration("customer-email").backfill(copy).register().await?;
    Ok((runtime, migration))
}

/// Resumes the plan as soon as it holds.
async fn resume(migration: &Migration) -> Result<(), dualwrite::Error> {
    let rollout = migration.rollout();
    while let Some(status) = rollout.status().await? {
        if status.state == RolloutState::Held {
            println!("held: {}", status.note);
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rollout.resume("ada", "it was the network").await
}

/// Prints what the rollout says of itself until it is done, or this holds; gives what it asks for.
async fn follow(
    migration: &Migration,
    until: impl Fn(&Migration) -> bool,
) -> Result<(), dualwrite::Error> {
    let mut told = String::new();
    loop {
        let Some(status) = migration.rollout().status().await? else { return Ok(()) };
        let waiting = status.waiting.as_deref().unwrap_or(&status.note);
        let line = format!("{} {}/{}: {waiting}", status.state, status.step, status.steps);
        if line != told {
            println!("{line}");
            told = line;
        }
        for approval in ["owner", "dba"] {
            if waiting.contains(&format!("the approval `{approval}`")) {
                migration.approve(approval, "ada", "looked at the numbers").await?;
            }
        }
        if status.state == RolloutState::Done || until(migration) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
