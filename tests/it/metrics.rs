//! Metrics: what is emitted in the life of a migration, what the guide says of it, and what the alert
//! rules and the dashboard ask for are one and the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use dualwrite::testing::ManualClock;
use dualwrite::{Runtime, Stage, guard::Guards, shadow::cohort};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

use crate::exact::carts::{CartDb, NAME, Pair, cart, on_pairs, quiet, save};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{CopyNotes, DualNotes, FAILS, Notes, Store, WORKS};
use crate::support::wait::until;
use crate::support::{notice, sql::Sql};

on_all_databases!(what_is_emitted_is_what_the_documents_say);

const GUIDE: &str = include_str!("../../dualwrite/src/docs/metrics.md");
const ALERTS: &str = include_str!("../../dualwrite/observability/alerts.yml");
const DASHBOARD: &str = include_str!("../../dualwrite/observability/dashboard.json");

type Labels = BTreeMap<String, String>;

/// Keeps everything: name, labels, and what was counted, set, or how often something was recorded.
#[derive(Default)]
struct Everything {
    units: Mutex<BTreeMap<String, Option<Unit>>>,
    series: Mutex<BTreeMap<(String, Labels), Arc<Value>>>,
}

struct Value {
    kind: &'static str,
    figure: Mutex<f64>,
}

impl Value {
    fn change(&self, change: impl FnOnce(&mut f64)) {
        change(&mut self.figure.lock().unwrap());
    }
}

impl CounterFn for Value {
    fn increment(&self, by: u64) {
        self.change(|figure| *figure += by as f64);
    }

    fn absolute(&self, to: u64) {
        self.change(|figure| *figure = to as f64);
    }
}

impl GaugeFn for Value {
    fn increment(&self, by: f64) {
        self.change(|figure| *figure += by);
    }

    fn decrement(&self, by: f64) {
        self.change(|figure| *figure -= by);
    }

    fn set(&self, to: f64) {
        self.change(|figure| *figure = to);
    }
}

impl HistogramFn for Value {
    fn record(&self, _: f64) {
        self.change(|figure| *figure += 1.0);
    }

    fn record_many(&self, _: f64, count: usize) {
        self.change(|figure| *figure += count as f64);
    }
}

impl Everything {
    fn describe(&self, name: KeyName, unit: Option<Unit>) {
        self.units.lock().unwrap().insert(name.as_str().to_owned(), unit);
    }

    fn series(&self, key: &Key, kind: &'static str) -> Arc<Value> {
        let label = |label: &metrics::Label| (label.key().to_owned(), label.value().to_owned());
        let key = (key.name().to_owned(), key.labels().map(label).collect());
        let mut series = self.series.lock().unwrap();
        let value = || Arc::new(Value { kind, figure: Mutex::new(0.0) });
        Arc::clone(series.entry(key).or_insert_with(value))
    }
}

impl Recorder for &'static Everything {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series(key, "counter"))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.series(key, "gauge"))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.series(key, "histogram"))
    }
}

/// One for all tests of the process; each looks at the series of its own migration.
fn recorder() -> &'static Everything {
    static EVERYTHING: OnceLock<Everything> = OnceLock::new();
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let everything = EVERYTHING.get_or_init(Everything::default);
    INSTALLED.get_or_init(|| {
        assert!(metrics::set_global_recorder(everything).is_ok(), "there is another recorder");
    });
    everything
}

/// The series of one migration.
struct Emitted {
    migration: String,
}

impl Emitted {
    fn series(&self) -> Vec<(String, Labels, Arc<Value>)> {
        let series = recorder().series.lock().unwrap();
        let own = series.iter().filter(|((_, labels), _)| labels["migration"] == self.migration);
        own.map(|((name, labels), value)| (name.clone(), labels.clone(), Arc::clone(value)))
            .collect()
    }

    /// The sum over the series with these labels.
    fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> f64 {
        let has = |labels: &Labels| {
            wanted.iter().all(|(key, value)| labels.get(*key).map(String::as_str) == Some(value))
        };
        let series = self.series().into_iter();
        let found = series.filter(|(found, labels, _)| found == name && has(labels));
        found.map(|(_, _, value)| *value.figure.lock().unwrap()).sum()
    }

    /// Lets time pass until a figure is published.
    async fn until(&self, hands: &ManualClock, name: &str, wanted: &[(&str, &str)], figure: f64) {
        until(format_args!("{name} {wanted:?} is {figure}"), async || {
            hands.advance(Duration::from_secs(1));
            self.sum(name, wanted) == figure
        })
        .await;
    }
}

async fn what_is_emitted_is_what_the_documents_say<D: Sql>(db: Scratch<D>) {
    let emitted = Emitted { migration: format!("metrics-{}", D::NAME) };
    recorder();
    live_a_life(db, &emitted).await;
    let documented = documented();
    let series = emitted.series();
    let names: BTreeSet<&str> = series.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, documented.keys().map(String::as_str).collect(), "emitted, documented");
    for (name, (kind, unit, labels)) in &documented {
        let own = || series.iter().filter(|(found, ..)| found == name);
        for (_, found, value) in own() {
            assert_eq!(value.kind, kind, "{name}");
            let found = found.keys().map(String::as_str).filter(|label| *label != "migration");
            assert_eq!(found.collect::<BTreeSet<_>>(), labels.iter().map(String::as_str).collect());
        }
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        let described = recorder().units.lock().unwrap()[name];
        assert_eq!(described == Some(Unit::Seconds), unit == "seconds", "{name}");
        assert_eq!(described == Some(Unit::CountPerSecond), unit == "keys/s", "{name}");
    }
    // What is asked for is there, and all that is there is on the dashboard.
    let exact = documented_in(GUIDE.split(EXACT).nth(1).unwrap());
    let all: BTreeSet<String> =
        names.iter().map(ToString::to_string).chain(exact.keys().cloned()).collect();
    assert_eq!(asked_for(DASHBOARD), all);
    let unknown: Vec<String> =
        asked_for(ALERTS).into_iter().filter(|name| !all.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let of_exact = exact.values().flat_map(|(.., labels)| labels.iter().cloned());
    let known: BTreeSet<String> =
        series.iter().flat_map(|(_, labels, _)| labels.keys().cloned()).chain(of_exact).collect();
    for (document, text) in [("alerts", ALERTS), ("dashboard", DASHBOARD)] {
        let unknown: Vec<String> = labels_in(text)
            .into_iter()
            .filter(|label| !known.contains(label) && label != "le")
            .collect();
        assert!(unknown.is_empty(), "{document}: {unknown:?}");
    }
}

/// Two databases: what exact mode emits is what its table says.
async fn exact_mode_emits_what_the_documents_say<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    recorder();
    let emitted = Emitted { migration: NAME.to_owned() };
    let carts = pair.at(Stage::Live).await;
    save(&carts, 1, Some(&cart("one", 1))).await.unwrap();
    quiet(&carts).await;
    let published = async || emitted.sum("dualwrite_exact_stage", &[]) == 3.0;
    until("it is published", published).await;
    assert!(emitted.sum("dualwrite_exact_moves_total", &[("to", "live")]) >= 1.0);
    // What is applied is counted after its commit.
    let applied = async || emitted.sum("dualwrite_outbox_applied_total", &[]) >= 1.0;
    until("it is counted", applied).await;
    assert!(emitted.sum("dualwrite_exact_hand_over_seconds", &[]) >= 1.0);
    let documented = documented_in(GUIDE.split(EXACT).nth(1).unwrap());
    let series = emitted.series();
    let names: BTreeSet<&str> = series.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, documented.keys().map(String::as_str).collect(), "emitted, documented");
    for (name, labels, value) in &series {
        let (kind, unit, known) = &documented[name];
        assert_eq!(value.kind, kind, "{name}");
        let labels = labels.keys().map(String::as_str).filter(|label| *label != "migration");
        assert_eq!(labels.collect::<BTreeSet<_>>(), known.iter().map(String::as_str).collect());
        let described = recorder().units.lock().unwrap()[name];
        assert_eq!(described == Some(Unit::Seconds), unit == "seconds", "{name}");
    }
    carts.shutdown().await;
}

on_pairs!(exact_mode_emits_what_the_documents_say);

/// A migration with everything that can go wrong on its way.
async fn live_a_life<D: Sql>(db: Scratch<D>, emitted: &Emitted) {
    db.execute(
        "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
         CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
         INSERT INTO old_note (id, word) VALUES (1, 'one');
         INSERT INTO old_note (id, word) VALUES (2, 'poison')",
    )
    .await;
    let (builder, hands) = Runtime::builder(db.pool().clone())
        .lease(Duration::from_secs(3_600))
        .poll(Duration::from_millis(20))
        .manual_clock();
    let runtime = builder.start().await.unwrap();
    let guards = Guards::default().every(Duration::from_secs(1));
    let migration = runtime
        .migration(&*emitted.migration)
        .backfill(CopyNotes::<D>::new())
        .guards(guards)
        .critical("*")
        .register()
        .await
        .unwrap();
    let mood = Arc::default();
    let store = |table, mood: &Arc<_>| Store {
        table,
        pool: db.pool().clone(),
        mood: Arc::clone(mood),
        hanging: Arc::default(),
        reading: Hook::default(),
        removing: Hook::default(),
    };
    let old = store("old_note", &Arc::default());
    let notes = DualNotes::<Store<D>, Store<D>>::new(&migration, old, store("new_note", &mood));
    let save = async |id: i64, word: &str| {
        let mut tx = migration.begin(db.pool()).await.unwrap();
        notes.save(&mut tx, id, word).await.unwrap();
        tx.commit().await.unwrap();
    };

    notes.find(1).await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    mood.store(FAILS, SeqCst);
    save(3, "three").await;
    mood.store(WORKS, SeqCst);
    migration.backfill().run().await.unwrap();
    db.execute("UPDATE old_note SET word = 'two' WHERE id = 2").await;
    migration.retry_dead_letters().await.unwrap();
    until("it is repaired", async || migration.status().await.unwrap().dirty_new == 0).await;
    assert!(migration.verify().run().await.unwrap().is_clean());
    migration.advance(Stage::Shadow).await.unwrap();
    cohort("enterprise", notes.find(1)).await.unwrap();
    emitted.until(&hands, "dualwrite_shadow_reads_total", &[("outcome", "equal")], 1.0).await;
    migration.advance(Stage::Live).await.unwrap();
    emitted.until(&hands, "dualwrite_shadow_reads_total", &[("outcome", "different")], 0.0).await;
    migration.rollback("enough").await.unwrap();
    db.execute("UPDATE new_note SET word = 'another' WHERE id = 1").await;
    notes.find(1).await.unwrap();
    let counters = async || migration.status().await.unwrap().counters;
    until("it is compared", async || counters().await.critical_different > 0).await;
    emitted.until(&hands, "dualwrite_critical_mismatches_total", &[], 1.0).await;
    emitted.until(&hands, "dualwrite_backfill_complete", &[], 1.0).await;

    let method = |name| [("method", name), ("side", "old")];
    let is = |name, labels: &[(&str, &str)], figure: f64| {
        assert_eq!(emitted.sum(name, labels), figure, "{name} {labels:?}");
    };
    // Three answers, and two looks at each side before the difference counted.
    is("dualwrite_calls_total", &method("Notes::find"), 5.0);
    is("dualwrite_answers_total", &method("Notes::find"), 3.0);
    is("dualwrite_answers_total", &[("method", "Notes::find"), ("side", "new")], 0.0);
    // The caller of a double write got the primary's answer.
    is("dualwrite_calls_total", &[("method", "Notes::save"), ("side", "new")], 1.0);
    is("dualwrite_answers_total", &method("Notes::save"), 1.0);
    is("dualwrite_answers_total", &[("method", "Notes::save"), ("side", "new")], 0.0);
    is("dualwrite_call_errors_total", &[("method", "Notes::save"), ("side", "new")], 1.0);
    is("dualwrite_call_duration_seconds", &method("Notes::save"), 1.0);
    is("dualwrite_shadow_reads_total", &[("outcome", "different")], 1.0);
    is(
        "dualwrite_cohort_comparisons_total",
        &[("cohort", "enterprise"), ("outcome", "equal")],
        1.0,
    );
    is("dualwrite_cohort_comparisons_total", &[], 1.0);
    is("dualwrite_differences_total", &[("method", "Notes::find"), ("field", "*")], 1.0);
    is("dualwrite_differences_total", &[], 1.0);
    is("dualwrite_mirror_write_failures_total", &[], 1.0);
    is("dualwrite_repaired_keys_total", &[], 1.0);
    is("dualwrite_copy_failures_total", &[], 1.0);
    is("dualwrite_rollbacks_total", &[("by", "caller")], 1.0);
    is("dualwrite_stage", &[], 2.0);
    is("dualwrite_epoch", &[], 5.0);
    is("dualwrite_instances", &[], 1.0);
    is("dualwrite_dead_letters", &[], 0.0);
    is("dualwrite_backfill_keys", &[("part", "failed")], 1.0);
    runtime.shutdown().await.unwrap();
}

/// The table of the guide: kind, unit and labels by name.
fn documented() -> BTreeMap<String, (String, String, Vec<String>)> {
    documented_in(GUIDE.split(EXACT).next().unwrap())
}

/// Where the table of exact mode begins.
const EXACT: &str = "# Exact mode";

fn documented_in(text: &str) -> BTreeMap<String, (String, String, Vec<String>)> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells.get(1)?.strip_prefix("`dualwrite_")?.split('`').next()?;
        let ticked = |text: &str| {
            text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<String>>()
        };
        let kind = (cells[2].to_owned(), cells[3].to_owned(), ticked(cells[4]));
        Some((format!("dualwrite_{name}"), kind))
    };
    let found: BTreeMap<_, _> = text.lines().filter_map(row).collect();
    assert!(found.len() > 10, "the table was not found");
    found
}

/// The names in expressions, without what Prometheus adds for histograms.
fn asked_for(text: &str) -> BTreeSet<String> {
    let name = |piece: &str| {
        let rest: String =
            piece.chars().take_while(|c| c.is_ascii_lowercase() || "_".contains(*c)).collect();
        let rest = rest.strip_suffix("_bucket").unwrap_or(&rest);
        format!("dualwrite_{rest}")
    };
    text.split("dualwrite_").skip(1).map(name).collect()
}

/// The labels that expressions match by or group by.
fn labels_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for piece in text.split(" by (").skip(1) {
        let list = piece.split(')').next().unwrap_or_default();
        found.extend(list.split(',').map(|label| label.trim().to_owned()));
    }
    for piece in text.split("dualwrite_").skip(1) {
        let piece: &str = piece
            .split(|c: char| !c.is_ascii_lowercase() && c != '_')
            .next()
            .map_or("", |name| piece.strip_prefix(name).unwrap_or_default());
        let Some(matchers) = piece.strip_prefix('{').and_then(|rest| rest.split('}').next()) else {
            continue;
        };
        for matcher in matchers.split(", ") {
            found.extend(matcher.split(['=', '!']).next().map(|label| label.trim().to_owned()));
        }
    }
    found
}

#[test]
fn the_rules_are_rules_and_do_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dualwrite/observability");
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let promtool = Command::new("promtool").args(arguments).current_dir(&folder).output();
        let Ok(output) = promtool else {
            let wanted = ["CI", "DUALWRITE_TEST_REQUIRE_ALL"].map(std::env::var_os);
            assert!(wanted.iter().all(Option::is_none), "promtool is not installed; use tests/run");
            notice(
                "SKIPPED the check of the alert rules: promtool is not installed; use tests/run",
            );
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}{complained}");
    }
}

#[test]
fn the_dashboard_is_one() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels {
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{}", panel["title"]);
    }
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
}
