//! The live traffic: tasks that read and write all the time, and a ledger that knows what every read
//! should have seen.
//!
//! Every value carries a version. A read must return no less than what was acknowledged before it began,
//! and no more than what was begun before it ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use dualwrite::Migration;

use crate::customers::{Customer, Customers, DualCustomers, NewCustomers, OldCustomers};
use crate::database::Sql;

pub(crate) const WRITERS: u64 = 4;
pub(crate) const READERS: u64 = 4;

pub(crate) type Service<DB> = DualCustomers<OldCustomers<DB>, NewCustomers<DB>>;

pub(crate) fn email(id: i64, version: u64) -> String {
    format!("customer{id}.v{version}@example.com")
}

fn version(email: &str) -> Option<u64> {
    email.rsplit_once(".v")?.1.split_once('@')?.0.parse().ok()
}

/// Versions of one customer.
#[derive(Clone, Copy, Default)]
struct Versions {
    begun: u64,
    acknowledged: u64,
}

#[derive(Default)]
pub(crate) struct Ledger {
    customers: Mutex<Vec<Versions>>,
    pub(crate) reads: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) superseded: AtomicU64,
    pub(crate) errors: AtomicU64,
    stop: AtomicBool,
}

impl Ledger {
    pub(crate) fn new(customers: usize) -> Self {
        let known = Versions { begun: 1, acknowledged: 1 };
        Self { customers: Mutex::new(vec![known; customers]), ..Self::default() }
    }

    fn at(&self, id: i64) -> Versions {
        self.customers.lock().expect("no writer panics")[id as usize]
    }

    fn set(&self, id: i64, change: impl FnOnce(&mut Versions)) {
        change(&mut self.customers.lock().expect("no writer panics")[id as usize]);
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, SeqCst);
    }

    /// The newest acknowledged version of every customer.
    pub(crate) fn acknowledged(&self) -> Vec<u64> {
        let customers = self.customers.lock().expect("no writer panics");
        customers.iter().map(|versions| versions.acknowledged).collect()
    }

    fn report(&self, what: &str, error: &dyn std::fmt::Display) {
        self.errors.fetch_add(1, SeqCst);
        eprintln!("{what} failed: {error}");
    }
}

/// Updates customers, a share of its own, until told to stop.
pub(crate) async fn write<DB: Sql>(
    number: u64,
    migration: Migration,
    pool: sqlx::Pool<DB>,
    service: Service<DB>,
    ledger: Arc<Ledger>,
) {
    let customers = ledger.acknowledged().len() as u64;
    let mut dice = Dice(number + 1);
    while !ledger.stop.load(SeqCst) {
        let id = (dice.roll(customers / WRITERS) * WRITERS + number) as i64;
        let next = ledger.at(id).begun + 1;
        ledger.set(id, |versions| versions.begun = next);
        match save(&migration, &pool, &service, id, next).await {
            Ok(()) => {
                ledger.set(id, |versions| versions.acknowledged = next);
                ledger.writes.fetch_add(1, SeqCst);
            }
            Err(error) => ledger.report("a write", &error),
        }
    }
}

/// One write, as a service makes it.
async fn save<DB: Sql>(
    migration: &Migration,
    pool: &sqlx::Pool<DB>,
    service: &Service<DB>,
    id: i64,
    version: u64,
) -> Result<(), sqlx::Error> {
    let mut customer =
        Customer { id, name: format!("Customer {id}"), email: String::new(), email_address: None };
    customer.set_email_address(email(id, version));
    let mut tx = migration.begin(pool).await?; // takes the fence
    service.save(&mut tx, &customer).await?;
    tx.commit().await?;
    Ok(())
}

/// Reads customers at random until told to stop, and checks what it sees.
pub(crate) async fn read<DB: Sql>(number: u64, service: Service<DB>, ledger: Arc<Ledger>) {
    let customers = ledger.acknowledged().len() as u64;
    let mut dice = Dice(number + 100);
    while !ledger.stop.load(SeqCst) {
        let id = dice.roll(customers) as i64;
        let before = ledger.at(id).acknowledged;
        match service.find(id).await {
            Ok(found) => {
                let after = ledger.at(id).begun;
                let seen = found.and_then(|customer| version(customer.email_address()));
                if !seen.is_some_and(|seen| (before..=after).contains(&seen)) {
                    ledger.superseded.fetch_add(1, SeqCst);
                    eprintln!("customer {id}: read {seen:?}, expected {before} to {after}");
                }
                ledger.reads.fetch_add(1, SeqCst);
            }
            Err(error) => ledger.report("a read", &error),
        }
        if dice.roll(200) == 0 {
            match service.count().await {
                Ok(count) if count as u64 == customers => {}
                Ok(count) => ledger.report("a count", &format!("{count} of {customers}")),
                Err(error) => ledger.report("a count", &error),
            }
        }
    }
}

/// A small generator of numbers that look random (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}
