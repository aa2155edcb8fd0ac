//! A chaos run: several processes of a service, with operators that move two migrations at random, while processes
//! are killed and stopped beyond their lease, connections are delayed, frozen and cut, servers restart, and other
//! writers write the old tables without the library. In the end an oracle that does not use the library decides,
//! from plain SQL and from what the clients logged, whether anything was lost, doubled, resurrected, half written,
//! or read after it had been replaced.
//!
//! ```text
//! cargo test --test chaos -- --nocapture               about half a minute over all databases
//! DUALWRITE_CHAOS_SECONDS=3600 cargo test --test chaos -- --nocapture
//! ```
//!
//! `README.md` beside this file names the variables, and the guards that the run was seen to miss when they were
//! taken out of the library.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test reports what it did not expect by panicking")]

mod client;
mod crew;
mod facts;
mod foreign;
mod instance;
mod log;
mod nemesis;
mod operator;
mod oracle;
mod place;
mod plan;
mod proxy;
mod report;
mod round;
mod servers;
mod service;
#[path = "../it/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "shared with the other tests, which use more of it"
)]
mod support;

use std::time::{Duration, Instant};

use plan::{Kind, Plan, Settings};
use servers::Servers;

/// What the other processes run. In the process of the test itself there is nothing to do.
#[test]
fn child() {
    if let Some(order) = instance::Order::of_parent() {
        instance::run(order);
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_happens() {
    if instance::Order::of_parent().is_some() {
        return;
    }
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Servers end with the thread that started them, so that is this one.
    threads.block_on(run(Settings::from_environment()));
}

async fn run(mut settings: Settings) {
    support::notice(&format!("chaos: {settings}"));
    let begun = Instant::now();
    let mut servers = Servers::start(&settings).await;
    settings.databases.retain(|kind| *kind == Kind::Sqlite || servers.url(*kind).is_some());
    if settings.databases.is_empty() {
        return;
    }
    let mut all = report::Report::default();
    for number in settings.first.. {
        let plan = Plan::draw(&settings, number);
        if settings.rounds.is_some_and(|rounds| number >= settings.first + rounds)
            || (settings.rounds.is_none() && begun.elapsed() + plan.takes() > settings.time)
                && number >= settings.first + settings.databases.len() as u64
        {
            break;
        }
        let round = round::run(&plan, &mut servers).await;
        support::notice(&format!("chaos: round {number}, {plan}: {round}"));
        let violations = round.violations.clone();
        all.add(round);
        assert!(
            violations.is_empty(),
            "round {number} of seed {}: {} violations\n{}\n\nagain: DUALWRITE_CHAOS_SEED={} \
             DUALWRITE_CHAOS_FIRST={number} DUALWRITE_CHAOS_ROUNDS=1",
            settings.seed,
            violations.len(),
            violations.join("\n"),
            settings.seed
        );
    }
    let took = Duration::from_secs(begun.elapsed().as_secs());
    support::notice(&format!("chaos: {took:?}, seed {}: {all}", settings.seed));
    all.is_not_vacuous();
}
