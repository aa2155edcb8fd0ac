//! One suite for all control adapters: what holds in memory holds on SQLite, PostgreSQL and MariaDB.
//! The databases come from `tests/run`; one that is not there is named on standard error.

mod dead_letters;
mod instances;
mod plans;
mod proofs;
mod tasks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::Clock;
use crate::compare::Shown;
use crate::control::{Acknowledgement, Change, Control, Heartbeat, Pulse, Sample, VerifyCommand};
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::gate::Gate;
use crate::key::EncodedKey;
use crate::shadow::samples::{SAMPLES_MAX, SAMPLES_PER_FIELD_MAX};
use crate::stages::lineage::Mark;
use crate::stages::moves::Move;
use crate::stages::position::{Epoch, Generation, Percent};
use crate::stages::stage::Stage;
use crate::stages::terms::Terms;
use crate::stages::verification::{KeyDifference, KeyDifferenceKind, Phase, Recorded, VerifyState};
use crate::store::memory::MemoryControl;

const NAME: &str = "customer-email";

fn beat(instance: &str) -> Heartbeat {
    Heartbeat {
        instance: instance.to_owned(),
        release: "1.0".to_owned(),
        min_stage: Stage::Off,
        max_stage: Stage::Complete,
        lease: Duration::from_secs(60),
    }
}

fn change(requested: Move) -> Change {
    Change {
        expected: None,
        token: None,
        requested,
        actor: "ops".to_owned(),
        reason: "because".to_owned(),
        overridden: Vec::new(),
        terms: Terms::default(),
        plan: None,
        flag: None,
    }
}

/// What an instance acknowledges that has seen and drained this epoch, the present one or the one before.
async fn seen(control: &dyn Control, epoch: u64) -> Acknowledgement {
    let record = control.load().await.unwrap().remove(0);
    let is_present = record.position.epoch == Epoch(epoch);
    let token = if is_present { record.token } else { record.from_token };
    Acknowledgement::joining(NAME, Mark { epoch: Epoch(epoch), token }, true)
}

/// The number of a heartbeat.
fn number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(1);
    LAST.fetch_add(1, Relaxed)
}

async fn join(
    control: &dyn Control,
    heartbeat: &Heartbeat,
    lazy: bool,
) -> Result<crate::control::Record, Error> {
    let record = control.enlist(&[NAME]).await?.remove(0);
    let seen = Acknowledgement::joining(NAME, record.mark(), lazy);
    control.join(heartbeat, number(), &[seen]).await?;
    Ok(record)
}

async fn heartbeat(
    control: &dyn Control,
    heartbeat: &Heartbeat,
    seen: &[Acknowledgement],
) -> Result<(), Error> {
    let pulse = Pulse { number: number(), confirmed: 0 };
    assert!(control.heartbeat(heartbeat, pulse, seen).await?);
    Ok(())
}

async fn advance(control: &dyn Control, to: Stage) -> Result<crate::control::Record, Error> {
    let record = control.change(NAME, &change(Move::Advance(to))).await?;
    heartbeat(control, &beat("a"), &[seen(control, record.position.epoch.0).await]).await?;
    Ok(record)
}

async fn a_migration_starts_at_off_and_is_created_once(control: &dyn Control) {
    assert_eq!(control.load().await.unwrap(), []);
    let first = join(control, &beat("a"), true).await.unwrap();
    assert_eq!((first.position.stage, first.position.epoch), (Stage::Off, Epoch(1)));
    assert_eq!((first.generation, first.verified, first.backfilled), (Generation(1), None, false));
    assert_eq!(join(control, &beat("b"), true).await.unwrap(), first);
    assert_eq!(control.load().await.unwrap(), [first]);
    assert_eq!(control.facts(NAME).await.unwrap().instances.len(), 2);
}

async fn what_nobody_registered_is_unknown(control: &dyn Control) {
    let changed = control.change("nobody", &change(Move::Advance(Stage::DualWrite))).await;
    for error in [changed.unwrap_err(), control.facts("nobody").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::UnknownMigration);
        assert_eq!(error.migration(), Some("nobody"));
    }
}

async fn of_several_changes_from_one_epoch_one_wins(control: Arc<dyn Control>) {
    join(&*control, &beat("a"), true).await.unwrap();
    let attempts = (1..=8).map(|percent| {
        let control = Arc::clone(&control);
        tokio::spawn(async move {
            let ramp = Move::Ramp(Percent::new(percent).unwrap());
            let change = Change { expected: Some(Epoch(1)), ..change(ramp) };
            control.change(NAME, &change).await.map(|record| record.position)
        })
    });
    let (mut won, mut lost) = (Vec::new(), 0);
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(position) => won.push(position),
            Err(error) if error.kind() == ErrorKind::Conflict => lost += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((won.len(), lost), (1, 7));
    let record = &control.load().await.unwrap()[0];
    assert_eq!(record.position, won[0]);
    assert_eq!(record.position.epoch, Epoch(2));
    assert_eq!(control.events(NAME, 10).await.unwrap().len(), 1);
}

async fn a_move_waits_for_instances_that_live(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    let dead = Heartbeat { lease: Duration::ZERO, ..beat("dead") };
    join(control, &dead, true).await.unwrap();
    let record = control.change(NAME, &change(Move::Advance(Stage::DualWrite))).await.unwrap();
    assert_eq!((record.position.epoch, record.stage_epoch), (Epoch(2), Epoch(2)));

    let early = control.change(NAME, &change(Move::Advance(Stage::Shadow))).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Blocked);
    assert!(early.to_string().contains("[drained] instance a (release 1.0)"), "{early}");
    assert!(!early.to_string().contains("instance dead"), "{early}");

    heartbeat(control, &beat("a"), &[seen(control, 2).await]).await.unwrap();
    let record = control.change(NAME, &change(Move::Advance(Stage::Shadow))).await.unwrap();
    assert_eq!(record.position.stage, Stage::Shadow);
    control.leave("a").await.unwrap();
    assert!(control.facts(NAME).await.unwrap().instances.is_empty());
}

async fn an_illegal_move_changes_nothing(control: &dyn Control) {
    let before = join(control, &beat("a"), true).await.unwrap();
    for requested in [Move::Advance(Stage::Live), Move::StepBack(Stage::Shadow), Move::Rollback] {
        let error = control.change(NAME, &change(requested)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IllegalMove, "{requested}");
    }
    assert_eq!(control.load().await.unwrap(), [before]);
    assert_eq!(control.events(NAME, 10).await.unwrap(), []);
}

async fn every_change_is_in_the_audit(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    advance(control, Stage::DualWrite).await.unwrap();
    advance(control, Stage::Shadow).await.unwrap();
    let ramp = Change {
        actor: "ada".to_owned(),
        reason: "5 % first".to_owned(),
        overridden: vec![Gate::Verified],
        terms: Terms { lazy: true, ..Terms::default() },
        ..change(Move::Ramp(Percent::new(5).unwrap()))
    };
    control.change(NAME, &ramp).await.unwrap();
    // The same ramp again is no change.
    assert_eq!(control.change(NAME, &ramp).await.unwrap().position.epoch, Epoch(4));
    let events = control.events(NAME, 2).await.unwrap();
    assert_eq!(events.len(), 2);
    let last = &events[0];
    assert_eq!((last.actor.as_str(), last.reason.as_str()), ("ada", "5 % first"));
    assert_eq!(
        (last.from_stage, last.to_stage, last.epoch),
        (Stage::Shadow, Stage::Shadow, Epoch(4))
    );
    assert_eq!((last.from_ramp.basis_points(), last.to_ramp.basis_points()), (0, 500));
    assert_eq!(last.overridden, ["verified"]);
    assert_eq!(events[1].epoch, Epoch(3));
    assert!(last.at >= events[1].at);
}

async fn a_step_back_to_off_raises_the_generation(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    advance(control, Stage::DualWrite).await.unwrap();
    control.verified(NAME, "v", [Generation(1), Generation(1)]).await.unwrap();
    assert_eq!(control.load().await.unwrap()[0].verified, Some(Generation(1)));
    let record = control.change(NAME, &change(Move::StepBack(Stage::Off))).await.unwrap();
    assert_eq!(record.generation, Generation(2));
    // What was proven for the first generation says nothing about the second.
    control.verified(NAME, "v", [Generation(1), Generation(1)]).await.unwrap();
    assert_eq!(control.load().await.unwrap()[0].verified, Some(Generation(1)));
    control.verified(NAME, "v", [Generation(2), Generation(1)]).await.unwrap();
    assert_eq!(control.load().await.unwrap()[0].verified, Some(Generation(2)));
}

async fn a_verification_counts_for_both_sides(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    let facts = control.facts(NAME).await.unwrap();
    assert_eq!((facts.old.generation, facts.old.verified), (Generation(1), None));
    assert!(!control.verified(NAME, "v", [Generation(1), Generation(2)]).await.unwrap());
    assert_eq!(control.facts(NAME).await.unwrap().old.verified, None);
    // Also the second time, when nothing is left to change.
    for _ in 0..2 {
        assert!(control.verified(NAME, "v", [Generation(1), Generation(1)]).await.unwrap());
    }
    assert_eq!(control.facts(NAME).await.unwrap().old.verified, Some(Generation(1)));
}

async fn a_verification_is_resumed_and_superseded(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    assert_eq!(control.verification(NAME).await.unwrap(), None);
    let all = [VerifyCommand::Pause, VerifyCommand::Cancel, VerifyCommand::GoOn];
    for order in all {
        assert!(!control.command_verification(NAME, order).await.unwrap(), "there is none");
    }
    let fresh = VerifyState::new([Generation(1), Generation(1)], None);
    let mut state = control.begin_verification(NAME, "one", &fresh, false).await.unwrap();
    assert_eq!(state, fresh);
    state.report.compared = 10;
    for kind in [KeyDifferenceKind::MissingInNew, KeyDifferenceKind::Different] {
        let fields = vec!["e-mail".to_owned(), "ü".to_owned()];
        state.report.add(KeyDifference { key: "\"k\"".to_owned(), kind, fields });
    }
    (state.phase, state.cursor) = (Phase::Orphans, Some("[1,\"a\"]".to_owned()));
    assert_eq!(control.record_verification(NAME, "one", &state).await.unwrap(), Recorded::Kept);
    // The same once more, as after a commit whose answer was lost.
    assert_eq!(control.record_verification(NAME, "one", &state).await.unwrap(), Recorded::Kept);
    assert_eq!(control.verification(NAME).await.unwrap(), Some(state.clone()));

    for (order, recorded) in
        all.into_iter().zip([Recorded::Paused, Recorded::Cancelled, Recorded::Kept])
    {
        for _ in 0..2 {
            assert!(control.command_verification(NAME, order).await.unwrap());
        }
        assert_eq!(control.record_verification(NAME, "one", &state).await.unwrap(), recorded);
    }

    a_begun_verification_is_superseded(control, &fresh, &state).await;
}

/// `state`: what was recorded last of one that began as `fresh`.
async fn a_begun_verification_is_superseded(
    control: &dyn Control,
    fresh: &VerifyState,
    state: &VerifyState,
) {
    let resumed = control.begin_verification(NAME, "two", fresh, false).await.unwrap();
    assert_eq!((resumed.cursor.clone(), resumed.report.resumed), (state.cursor.clone(), true));
    assert_eq!((resumed.report.compared, resumed.report.differing), (10, 2));
    let late = control.record_verification(NAME, "one", state).await.unwrap();
    assert_eq!(late, Recorded::Superseded);
    assert_eq!(control.verification(NAME).await.unwrap(), Some(resumed.clone()));

    let raised = VerifyState::new([Generation(2), Generation(1)], None);
    for (wanted, afresh) in [(&raised, false), (fresh, true)] {
        let begun = control.begin_verification(NAME, "three", wanted, afresh).await.unwrap();
        assert_eq!(begun, *wanted);
    }
    // It was complete before it heard of the order.
    assert!(control.command_verification(NAME, VerifyCommand::Cancel).await.unwrap());
    let done = VerifyState { done: true, ..resumed };
    let kept = control.record_verification(NAME, "three", &done).await.unwrap();
    assert_eq!(kept, Recorded::Kept);
    assert!(!control.command_verification(NAME, VerifyCommand::Cancel).await.unwrap(), "complete");
    assert_eq!(control.begin_verification(NAME, "four", fresh, false).await.unwrap(), *fresh);
    let kept = control.record_verification(NAME, "four", fresh).await.unwrap();
    assert_eq!(kept, Recorded::Kept, "the order was for the one before");
}

async fn an_approval_holds_until_the_stage_is_left(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    control.approve(NAME, "dba", "ada", "looked at it").await.unwrap();
    control.approve(NAME, "dba", "eve", "so did I").await.unwrap();
    assert_eq!(control.facts(NAME).await.unwrap().stage.approvals, ["dba"]);
    advance(control, Stage::DualWrite).await.unwrap();
    assert!(control.facts(NAME).await.unwrap().stage.approvals.is_empty());
}

async fn releases_are_declared_and_gone(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    control.declare(NAME, "0.9", false).await.unwrap();
    control.declare(NAME, "0.9", false).await.unwrap();
    assert_eq!(control.facts(NAME).await.unwrap().unfenced.releases, ["0.9"]);
    control.declare(NAME, "0.9", true).await.unwrap();
    assert!(control.facts(NAME).await.unwrap().unfenced.releases.is_empty());
}

async fn samples_of_mismatches_are_bounded(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    let sample = |field: &str| Sample {
        method: "Customers::find".to_owned(),
        field: field.to_owned(),
        key: Some(EncodedKey("[1,\"a\"]".to_owned())),
        old: Some(Shown::Redacted),
        new: Some(Shown::Revealed("\"new\"".to_owned())),
    };
    for number in 0..SAMPLES_PER_FIELD_MAX + 2 {
        let kept = control.sample(NAME, &sample("email")).await.unwrap();
        assert_eq!(kept, number < SAMPLES_PER_FIELD_MAX);
    }
    let absent = Sample { key: None, old: None, ..sample("*") };
    assert!(control.sample(NAME, &absent).await.unwrap(), "another field has room of its own");
    let found = control.samples(NAME).await.unwrap();
    assert_eq!(found.len() as u32, SAMPLES_PER_FIELD_MAX + 1);
    assert_eq!((&*found[0].method, &*found[0].field), ("Customers::find", "email"));
    assert_eq!(found[0].key.as_deref(), Some("[1,\"a\"]"));
    assert_eq!(found[0].old, Some(Shown::Redacted));
    assert_eq!(found[0].new.as_ref().and_then(Shown::text), Some("\"new\""));
    let last = found.last().unwrap();
    assert_eq!((&*last.field, &last.key, &last.old), ("*", &None, &None));
    for number in 0..SAMPLES_MAX {
        control.sample(NAME, &sample(&format!("field {number}"))).await.unwrap();
    }
    assert_eq!(control.samples(NAME).await.unwrap().len() as u32, SAMPLES_MAX);
    assert!(!control.sample(NAME, &sample("one more")).await.unwrap());
    assert_eq!(control.forget_samples(NAME).await.unwrap(), u64::from(SAMPLES_MAX));
    assert_eq!(control.samples(NAME).await.unwrap(), []);
    assert!(control.sample(NAME, &sample("email")).await.unwrap());
}

/// Runs the suite; `fresh` makes empty control tables.
async fn suite<F: Future<Output = Arc<dyn Control>>>(fresh: impl Fn() -> F) {
    a_migration_starts_at_off_and_is_created_once(&*fresh().await).await;
    what_nobody_registered_is_unknown(&*fresh().await).await;
    of_several_changes_from_one_epoch_one_wins(fresh().await).await;
    a_move_waits_for_instances_that_live(&*fresh().await).await;
    instances::tokens_are_renewed_and_what_was_seen_elsewhere_is_nothing(&*fresh().await).await;
    instances::an_instance_that_was_forgotten_must_join_again(&*fresh().await).await;
    instances::migrations_are_enlisted_together(&*fresh().await).await;
    an_illegal_move_changes_nothing(&*fresh().await).await;
    every_change_is_in_the_audit(&*fresh().await).await;
    a_step_back_to_off_raises_the_generation(&*fresh().await).await;
    samples_of_mismatches_are_bounded(&*fresh().await).await;
    a_verification_counts_for_both_sides(&*fresh().await).await;
    a_verification_is_resumed_and_superseded(&*fresh().await).await;
    an_approval_holds_until_the_stage_is_left(&*fresh().await).await;
    releases_are_declared_and_gone(&*fresh().await).await;
    dead_letters::suite(&fresh).await;
    proofs::suite(&fresh).await;
    tasks::suite(&fresh).await;
    plans::suite(fresh).await;
}

#[tokio::test]
async fn memory() {
    let fresh = || async { Arc::new(MemoryControl::new(Clock::system())) as Arc<dyn Control> };
    suite(fresh).await;
}

/// The control tables that a test leaves something in.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
const TABLES: &[&str] = &[
    "migration",
    "event",
    "instance",
    "acknowledgement",
    "backfill",
    "verification",
    "stale",
    "hazard",
    "preflight",
    "kill",
    "shape",
    "batch",
    "failure",
    "dirty",
    "mismatch",
    "approval",
    "release",
    "plan",
    "command",
    "task",
];

/// The suite, and what only tables can get wrong, on one database.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
async fn sql_suite<DB: crate::database::Backend>(pool: sqlx::Pool<DB>) {
    use crate::store::sql::{STATEMENT_MAX, SqlControl};

    // Several processes start at once on an empty database.
    let installs = (0..4).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move { SqlControl::new(pool, STATEMENT_MAX).install().await })
    });
    for install in installs.collect::<Vec<_>>() {
        install.await.unwrap().unwrap();
    }
    let fresh = || async {
        let mut conn = pool.acquire().await.unwrap();
        for table in TABLES {
            let sql = format!("DELETE FROM dualwrite_{table}");
            DB::Adapter::execute(&mut conn, &sql, &[]).await.unwrap();
        }
        Arc::new(SqlControl::new(pool.clone(), STATEMENT_MAX)) as Arc<dyn Control>
    };
    suite(&fresh).await;
    instances::a_clock_that_steps_neither_forgets_nor_keeps_instances(&*fresh().await).await;
    instances::summaries_say_what_facts_say(&*fresh().await).await;
    instances::summaries_count_those_that_report_the_same(&*fresh().await).await;

    let control = fresh().await;
    join(&*control, &beat("a"), true).await.unwrap();
    let mut conn = pool.acquire().await.unwrap();

    // A release that knows more has been here.
    let newer = "UPDATE _dualwrite_migrations SET version = 99";
    DB::Adapter::execute(&mut conn, newer, &[]).await.unwrap();
    drop(conn);
    let error = control.install().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NewerControlTables);
    assert!(error.to_string().contains("upgrade dualwrite"), "{error}");
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
    let path = std::env::temp_dir().join(format!("dualwrite-{}.db", uuid::Uuid::new_v4()));
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
    sql_suite(pool.clone()).await;
    pool.close().await;
    std::fs::remove_file(path).unwrap();
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
fn url(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok();
    if url.is_none() {
        assert!(std::env::var_os("DUALWRITE_TEST_REQUIRE_ALL").is_none(), "{variable} is not set");
        eprintln!("SKIPPED control conformance: {variable} is not set; use tests/run");
    }
    url
}

/// Runs the suite in a database of its own.
#[cfg(any(feature = "postgres", feature = "mysql"))]
macro_rules! on_server {
    ($name:ident, $variable:literal, $pool:ty, $options:ty) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let Some(url) = url($variable) else { return };
            let database = format!("dualwrite_{}", uuid::Uuid::new_v4().simple());
            let admin = <$pool>::connect(&url).await.unwrap();
            let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {database}"));
            sqlx::raw_sql(create).execute(&admin).await.unwrap();
            let options = url.parse::<$options>().unwrap().database(&database);
            let pool = <$pool>::connect_with(options).await.unwrap();
            sql_suite(pool.clone()).await;
            pool.close().await;
            let drop = sqlx::AssertSqlSafe(format!("DROP DATABASE {database}"));
            sqlx::raw_sql(drop).execute(&admin).await.unwrap();
        }
    };
}

#[cfg(feature = "postgres")]
on_server!(postgres, "DUALWRITE_TEST_POSTGRES_URL", sqlx::PgPool, sqlx::postgres::PgConnectOptions);
#[cfg(feature = "mysql")]
on_server!(mysql, "DUALWRITE_TEST_MYSQL_URL", sqlx::MySqlPool, sqlx::mysql::MySqlConnectOptions);
