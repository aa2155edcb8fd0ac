//! What the wrapper costs a caller: nanoseconds and allocations per call, against a direct call of the
//! same method, which does no I/O.
//!
//! ```text
//! cargo bench --bench overhead               prints the table
//! cargo bench --bench overhead -- --check    and exits with 1 where a target is missed
//! ```
//!
//! Machines are noisy, so the direct call and the wrapper take turns in many short rounds; what is
//! shown are the medians of the rounds, and the median of their differences. A neighbour on the same
//! machine slows all of them down for seconds; so there are several passes over all rows, some time apart,
//! and of each row the pass with the smallest difference is shown.

#[path = "overhead/growth.rs"]
mod growth;
#[path = "harness/mod.rs"]
mod harness;

use std::alloc::System;
use std::collections::HashMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dualwrite::testing::TestMigration;
use dualwrite::{
    Error, Percent, Stage,
    defaults::{SHADOW_CONCURRENCY, SHADOW_TIMEOUT},
};
use harness::{Target, judge, quantile};
use metrics::{KeyName, Metadata, SharedString, Unit};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Rounds per row, and calls in each: some 100 µs a round, so that few are interrupted.
const ROUNDS: usize = 500;
const PASSES: usize = 12;
const BETWEEN_PASSES: Duration = Duration::from_secs(2);
const CALLS: i64 = 1_000;
/// Calls that are timed one by one, where they must be because a task is spawned for each.
const TIMED_CALLS: i64 = 50;

const SLOW: Duration = Duration::from_millis(200);

/// At Off and Complete. A comparable SDK needs about 900 ns and 32 allocations.
const IDLE_NANOS_MAX: f64 = 25.0;
/// For a call that is compared.
const SHADOW_NANOS_MAX: f64 = 500.0;
/// Key, its box and the task; now and then a queue of the runtime grows.
const SHADOW_ALLOCATIONS_MAX: f64 = 3.05;
/// What publishing metrics may add to a call.
const METRICS_NANOS_MAX: f64 = 15.0;
/// What a caller may notice of a mirror that takes 200,000 µs.
const WAIT_NANOS_MAX: f64 = 100_000.0;

#[derive(Clone, Debug, PartialEq)]
struct Customer {
    id: i64,
    country: [u8; 2],
}

#[dualwrite::repository]
trait Customers {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;
    #[read(key = id, lazy)]
    async fn find_lazily(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;
    #[read(scan)]
    async fn newest(&self, limit: i64) -> Result<Option<Customer>, sqlx::Error>;
}

/// Answers at once.
struct Ready;

impl Customers for Ready {
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        Ok(black_box(Some(Customer { id, country: *b"CH" })))
    }

    async fn find_lazily(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        Ok(black_box(Some(Customer { id, country: *b"CH" })))
    }

    async fn newest(&self, limit: i64) -> Result<Option<Customer>, sqlx::Error> {
        Ok(black_box(Some(Customer { id: limit, country: *b"CH" })))
    }
}

/// Lets other tasks run before it answers, and takes its time.
struct Waits(Duration);

impl Customers for Waits {
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        tokio::task::yield_now().await;
        if !self.0.is_zero() {
            tokio::time::sleep(self.0).await;
        }
        Ready.find(id).await
    }

    async fn find_lazily(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        self.find(id).await
    }

    async fn newest(&self, limit: i64) -> Result<Option<Customer>, sqlx::Error> {
        self.find(limit).await
    }
}

#[derive(Clone, Copy)]
enum Method {
    Find,
    FindLazily,
    Newest,
}

/// One line of the table.
struct Row {
    name: &'static str,
    unit: &'static str,
    figure: f64,
    baseline: f64,
    difference: f64,
    /// The most that the difference may be.
    target: Option<f64>,
}

impl Row {
    fn is_missed(&self) -> bool {
        self.target.is_some_and(|target| self.difference > target)
    }

    fn record(&self) {
        let unit = format!("{} more", self.unit);
        judge(self.name, self.difference, &unit, Target::at_most(self.target));
    }

    fn print(&self) {
        let target = self.target.map_or_else(String::new, |target| format!("≤ +{target}"));
        let verdict = match (self.target, self.is_missed()) {
            (None, _) => "",
            (Some(_), false) => "ok",
            (Some(_), true) => "MISSED",
        };
        println!(
            "{:<46} {:>12} {:>9.1} {:>9.1} {:>+10.1} {:>10}  {verdict}",
            self.name, self.unit, self.figure, self.baseline, self.difference, target
        );
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let rows = runtime.expect("a tokio runtime").block_on(measure());
    let rows = rows.expect("a migration in memory moves anywhere");
    let missed = rows.iter().filter(|row| row.is_missed()).count();
    harness::end(u32::try_from(missed).unwrap_or(u32::MAX))
}

async fn measure() -> Result<Vec<Row>, Error> {
    let direct = ["per call", "direct", "difference", "target"];
    println!(
        "{:<46} {:>12} {:>9} {:>9} {:>10} {:>10}",
        "", "", direct[0], direct[1], direct[2], direct[3]
    );
    let mut rows = Vec::new();
    let idle = Some(IDLE_NANOS_MAX);
    let off = (Stage::Off, Percent::ZERO);
    let complete = (Stage::Complete, Percent::ZERO);
    let ramp = Percent::new(5)?;
    let mut idle_rows = Vec::new();
    for (name, method, (stage, ramp), target) in [
        ("read at Off", Method::Find, off, idle),
        ("read at Complete", Method::Find, complete, idle),
        ("lazy read at Off", Method::FindLazily, off, idle),
        ("lazy read at Complete", Method::FindLazily, complete, idle),
        ("scan at Off", Method::Newest, off, idle),
        ("scan at Complete", Method::Newest, complete, idle),
        ("read at Off, 5 % as DualWrite", Method::Find, (Stage::Off, ramp), None),
        ("read at Shadow, 0 % compared", Method::Find, (Stage::Shadow, Percent::ZERO), None),
        ("read at Live, 0 % compared", Method::Find, (Stage::Live, Percent::ZERO), None),
    ] {
        let test = test_migration(Percent::ZERO, SHADOW_CONCURRENCY).await?;
        test.put(stage, ramp)?;
        let wrapped = DualCustomers::new(test.migration(), Ready, Ready);
        idle_rows.push((name, method, target, test, wrapped, None::<Row>));
    }
    for _ in 0..PASSES {
        for (name, method, target, test, wrapped, best) in &mut idle_rows {
            test.send_heartbeat().await?; // its lease may have run out since the last pass
            let row = pass(name, test, wrapped, *method, *target).await?;
            if best.as_ref().is_none_or(|best| row.difference < best.difference) {
                *best = Some(row);
            }
        }
        tokio::time::sleep(BETWEEN_PASSES).await;
    }
    for (name, method, target, test, wrapped, best) in idle_rows {
        add(&mut rows, best.expect("there is at least one pass"));
        test.send_heartbeat().await?;
        let allocations = allocations(name, &test, &wrapped, method).await;
        add(&mut rows, Row { target: target.map(|_| 0.0), ..allocations });
    }
    for row in metrics_rows().await? {
        add(&mut rows, row);
    }
    for (name, stage) in [
        ("read at Shadow, 100 % compared", Stage::Shadow),
        ("read at Live, 100 % compared", Stage::Live),
    ] {
        let test = test_migration(Percent::FULL, SHADOW_CONCURRENCY).await?;
        test.put(stage, Percent::ZERO)?;
        let wrapped = DualCustomers::new(test.migration(), Ready, Ready);
        let names = ["ns at p50", "ns at p99"];
        let [p50, p99] = timed_calls(name, names, &test, &Ready, &test, &wrapped).await?;
        add(&mut rows, Row { target: Some(SHADOW_NANOS_MAX), ..p50 });
        add(&mut rows, p99);
        let allocations = allocations(name, &test, &wrapped, Method::Find).await;
        add(&mut rows, Row { target: Some(SHADOW_ALLOCATIONS_MAX), ..allocations });
        all_compared(&test).await?;
    }
    println!("\n{:<46} {:>12} {:>9} {:>9}", "", "", "many", "one");
    for row in growth::rows().await? {
        add(&mut rows, row);
    }
    println!("\n{:<46} {:>12} {:>9} {:>9}", "", "", "slow", "fast");
    let everything = 1_000_000; // nothing is left out because too much is under way
    let fast = test_migration(Percent::FULL, everything).await?;
    let slow = test_migration(Percent::FULL, everything).await?;
    fast.put(Stage::Shadow, Percent::ZERO)?;
    slow.put(Stage::Shadow, Percent::ZERO)?;
    let beside_fast = DualCustomers::new(fast.migration(), Waits(Duration::ZERO), Ready);
    let beside_slow = DualCustomers::new(slow.migration(), Waits(Duration::ZERO), Waits(SLOW));
    let name = "read at Shadow, mirror of 200 ms";
    let names = ["ns at p50", "ns at p99"];
    for row in timed_calls(name, names, &fast, &beside_fast, &slow, &beside_slow).await? {
        add(&mut rows, Row { target: Some(WAIT_NANOS_MAX), ..row });
    }
    all_compared(&fast).await?;
    all_compared(&slow).await?;
    Ok(rows)
}

fn add(rows: &mut Vec<Row>, row: Row) {
    row.print();
    row.record();
    rows.push(row);
}

async fn test_migration(sample: Percent, concurrency: usize) -> Result<TestMigration, Error> {
    TestMigration::with_shadow("customer-email", sample, SHADOW_TIMEOUT, concurrency).await
}

/// Calls in a row, against direct calls.
async fn pass<C: Customers>(
    name: &'static str,
    test: &TestMigration,
    wrapped: &C,
    method: Method,
    target: Option<f64>,
) -> Result<Row, Error> {
    let (mut figures, mut baselines, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let baseline = round(&Ready, method).await;
        let figure = round(wrapped, method).await;
        figures.push(figure);
        baselines.push(baseline);
        differences.push(figure - baseline);
        test.send_heartbeat().await?; // or its lease runs out
    }
    Ok(Row {
        name,
        unit: "ns",
        figure: quantile(&mut figures, 0.5),
        baseline: quantile(&mut baselines, 0.5),
        difference: quantile(&mut differences, 0.5),
        target,
    })
}

/// Calls of a service whose metrics are published before each round, to a recorder that takes them,
/// against calls of one whose metrics are not. The runtime publishes once a second; here it is thousands
/// of times as often.
async fn metrics_rows() -> Result<Vec<Row>, Error> {
    // Fails where it is installed already.
    let _ = metrics::set_global_recorder(Takes::default());
    let mut rows: Vec<Row> = Vec::new();
    for (name, stage) in
        [("read at Off, metrics published", Stage::Off), ("read at Live, likewise", Stage::Live)]
    {
        let [off, on] = [Percent::ZERO; 2].map(|sample| test_migration(sample, SHADOW_CONCURRENCY));
        let (off, on) = (off.await?, on.await?);
        off.put(stage, Percent::ZERO)?;
        on.put(stage, Percent::ZERO)?;
        let unwatched = DualCustomers::new(off.migration(), Ready, Ready);
        let watched = DualCustomers::new(on.migration(), Ready, Ready);
        // Of all passes: the smallest difference of two that should be none would flatter.
        let (mut figures, mut baselines, mut differences) = (vec![], vec![], vec![]);
        let mut publishing = Vec::new();
        for _ in 0..PASSES {
            for _ in 0..ROUNDS {
                off.send_heartbeat().await?;
                on.send_heartbeat().await?;
                let baseline = round(&unwatched, Method::Find).await;
                let start = Instant::now();
                on.watch().await;
                publishing.push(start.elapsed().as_nanos() as f64 / 1_000.0);
                let figure = round(&watched, Method::Find).await;
                figures.push(figure);
                baselines.push(baseline);
                differences.push(figure - baseline);
            }
            tokio::time::sleep(BETWEEN_PASSES).await;
        }
        rows.push(Row {
            name,
            unit: "ns",
            figure: quantile(&mut figures, 0.5),
            baseline: quantile(&mut baselines, 0.5),
            difference: quantile(&mut differences, 0.5),
            target: Some(METRICS_NANOS_MAX),
        });
        let published = quantile(&mut publishing, 0.5);
        rows.push(Row {
            name: "publishing once, three methods",
            unit: "µs",
            figure: published,
            baseline: 0.0,
            difference: published,
            target: None,
        });
    }
    Ok(rows)
}

/// Adds everything up, as a recorder does.
#[derive(Default)]
struct Takes(Mutex<HashMap<metrics::Key, Arc<Sum>>>);

#[derive(Default)]
struct Sum(AtomicU64);

impl metrics::CounterFn for Sum {
    fn increment(&self, by: u64) {
        self.0.fetch_add(by, Relaxed);
    }

    fn absolute(&self, to: u64) {
        self.0.store(to, Relaxed);
    }
}

impl metrics::GaugeFn for Sum {
    fn increment(&self, by: f64) {
        self.0.fetch_add(by as u64, Relaxed);
    }

    fn decrement(&self, by: f64) {
        self.0.fetch_sub(by as u64, Relaxed);
    }

    fn set(&self, to: f64) {
        self.0.store(to as u64, Relaxed);
    }
}

impl metrics::HistogramFn for Sum {
    fn record(&self, value: f64) {
        self.0.fetch_add(value as u64, Relaxed);
    }

    fn record_many(&self, _: f64, count: usize) {
        self.0.fetch_add(count as u64, Relaxed);
    }
}

impl Takes {
    fn sum(&self, key: &metrics::Key) -> Arc<Sum> {
        let mut sums = self.0.lock().expect("nobody panics with it");
        Arc::clone(sums.entry(key.clone()).or_default())
    }
}

impl metrics::Recorder for Takes {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &metrics::Key, _: &Metadata<'_>) -> metrics::Counter {
        metrics::Counter::from_arc(self.sum(key))
    }

    fn register_gauge(&self, key: &metrics::Key, _: &Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::from_arc(self.sum(key))
    }

    fn register_histogram(&self, key: &metrics::Key, _: &Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::from_arc(self.sum(key))
    }
}

/// Nanoseconds per call of one round.
async fn round<C: Customers>(customers: &C, method: Method) -> f64 {
    let start = Instant::now();
    for id in 0..CALLS {
        call(customers, method, id).await;
    }
    start.elapsed().as_nanos() as f64 / CALLS as f64
}

#[inline(always)]
async fn call<C: Customers>(customers: &C, method: Method, id: i64) {
    let answer = match method {
        Method::Find => customers.find(black_box(id)).await,
        Method::FindLazily => customers.find_lazily(black_box(id)).await,
        Method::Newest => customers.newest(black_box(id)).await,
    };
    black_box(&answer);
}

/// Allocations per call, those of the comparison included.
async fn allocations<C: Customers>(
    name: &'static str,
    test: &TestMigration,
    wrapped: &C,
    method: Method,
) -> Row {
    let mut counts = [0.0; 2];
    for id in 0..CALLS {
        let region = Region::new(ALLOCATOR);
        call(&Ready, method, id).await;
        counts[0] += count(&region);
        let region = Region::new(ALLOCATOR);
        call(wrapped, method, id).await;
        test.settle().await;
        counts[1] += count(&region);
    }
    let [baseline, figure] = counts.map(|count| count / CALLS as f64);
    Row { name, unit: "allocations", figure, baseline, difference: figure - baseline, target: None }
}

fn count(region: &Region<'_, System>) -> f64 {
    let change = region.change();
    (change.allocations + change.reallocations) as f64
}

/// Calls timed one by one, with time for the comparisons in between; p50 and p99.
async fn timed_calls<B: Customers, C: Customers>(
    name: &'static str,
    units: [&'static str; 2],
    baseline_test: &TestMigration,
    baseline: &B,
    test: &TestMigration,
    candidate: &C,
) -> Result<[Row; 2], Error> {
    let (mut figures, mut baselines) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS / 2 {
        timed_round(baseline, &mut baselines).await;
        timed_round(candidate, &mut figures).await;
        baseline_test.send_heartbeat().await?;
        test.send_heartbeat().await?;
    }
    let mut row = |unit, share| {
        let (figure, baseline) = (quantile(&mut figures, share), quantile(&mut baselines, share));
        Row { name, unit, figure, baseline, difference: figure - baseline, target: None }
    };
    Ok([row(units[0], 0.5), row(units[1], 0.99)])
}

async fn timed_round<C: Customers>(customers: &C, nanos: &mut Vec<f64>) {
    for id in 0..TIMED_CALLS {
        let start = Instant::now();
        call(customers, Method::Find, id).await;
        nanos.push(start.elapsed().as_nanos() as f64);
        tokio::task::yield_now().await;
    }
}

/// A comparison that was not made would make the call look cheap.
async fn all_compared(test: &TestMigration) -> Result<(), Error> {
    test.settle().await;
    let counters = test.migration().status().await?.counters;
    assert_eq!(counters.shadow_dropped, 0, "{counters:?}");
    assert!(counters.shadow_equal > 0, "{counters:?}");
    Ok(())
}
