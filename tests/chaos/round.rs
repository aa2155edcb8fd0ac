//! One round: a database, processes that work on it while things happen to them, rest, and the oracle.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use dualwrite::{Error, Migration, Percent, Stage};
use rustix::process::Signal;
use sqlx::Pool;
use tokio::time::sleep;

use crate::facts;
use crate::foreign::Foreigner;
use crate::log::{self, Log, now};
use crate::nemesis::Nemesis;
use crate::oracle::{self, Found, Violation};
use crate::place::Place;
use crate::plan::{Kind, Plan};
use crate::report::{Round, history_of};
use crate::servers::Servers;
use crate::service::{Joining, MIGRATIONS, Service, join};
use crate::support::db::{MySqlDb, PostgresDb, SqliteDb};
use crate::support::dice::Dice;
use crate::support::notice;
use crate::support::sql::Sql;

/// Far beyond what anything takes at rest, on a busy machine.
const RESTS_WITHIN: Duration = Duration::from_secs(120);
const LOOKS_AGAIN: Duration = Duration::from_millis(20);
const WATCHES_AGAIN: Duration = Duration::from_millis(80);

pub(crate) async fn run(plan: &Plan, servers: &mut Servers) -> Round {
    match plan.database {
        Kind::Sqlite => round::<SqliteDb>(plan, servers).await,
        Kind::Postgres => round::<PostgresDb>(plan, servers).await,
        Kind::MySql => round::<MySqlDb>(plan, servers).await,
    }
}

async fn round<D: Sql>(plan: &Plan, servers: &mut Servers) -> Round {
    let server = servers.url(plan.database);
    let folder = tempfile::Builder::new().prefix("dualwrite-chaos.").tempdir().unwrap();
    let place =
        Place::<D>::create(server.as_ref().map(|(url, _)| url.as_str()), folder.path()).await;
    let log = Log::create(&folder.path().join("parent.log"));
    let mut round = Round::default();
    let begun = now();

    let stop = Arc::<AtomicBool>::default();
    let foreigner = prepare::<D>(plan, &place, &log).await;
    let writing = foreigner.map(|foreigner| tokio::spawn(foreigner.write_on(Arc::clone(&stop))));
    let mut nemesis = Nemesis {
        plan,
        dice: Dice::new(plan.seed),
        folder: folder.path(),
        log: log.clone(),
        members: Vec::new(),
        url: Box::new(|port| match (port, &server) {
            (Some(port), Some((_, from))) => place.url_by(*from, port),
            _ => place.url.clone(),
        }),
        server: server.as_ref().map(|(_, port)| *port),
        started: 0,
        strikes: 0,
        violations: Vec::new(),
    };
    for _ in 0..plan.instances {
        nemesis.start().await;
    }
    let crashes = load::<D>(plan, servers, &mut nemesis, &place.pool).await;
    nemesis.end().await;
    stop.store(true, SeqCst);
    if let Some(writing) = writing {
        writing.await.unwrap();
    }
    round.strikes = nemesis.strikes;
    round.violations.append(&mut nemesis.violations);
    drop(nemesis);

    let wrong = judge::<D>(plan, &place.pool, folder.path(), &crashes, &log, &mut round).await;
    let lines = log::read(folder.path());
    round.count(&lines);
    for violation in &wrong {
        round.violations.push(violation.to_string());
    }
    let shown = wrong.iter().filter_map(|violation| violation.at.clone());
    let mut shown: Vec<(String, i64)> = shown.collect();
    shown.dedup();
    for (migration, key) in shown.into_iter().take(2) {
        round.violations.push(history_of(&lines, begun, &migration, key));
    }
    match round.violations.is_empty() && std::env::var_os("DUALWRITE_CHAOS_KEEP").is_none() {
        true => place.remove().await,
        false if round.violations.is_empty() => {
            notice(&format!("chaos: {}", folder.keep().display()))
        }
        false => {
            let kept = folder.keep();
            round.violations.push(format!("all logs: {}; database {}", kept.display(), place.url));
        }
    }
    round
}

/// The control tables, and where others write, the triggers and their first write.
async fn prepare<D: Sql>(plan: &Plan, place: &Place<D>, log: &Log) -> Option<Foreigner<D>> {
    let joining = Joining { lease: plan.lease, lazy: plan.lazy };
    let Service::<D> { runtime, migrations } = join(&place.pool, joining).await.unwrap();
    let mut foreigner = Foreigner {
        pool: place.pool.clone(),
        log: log.clone(),
        dice: Dice::new(!plan.seed),
        number: 0,
    };
    if plan.foreign {
        for (migration, _) in &migrations {
            migration.install_trigger().await.unwrap();
            foreigner.write(migration.name()).await;
        }
    }
    for (migration, _) in &migrations {
        let begun = Instant::now();
        // On a busy machine a statement may miss its limit, which follows the lease.
        while let Err(error) = begins(migration, plan).await {
            assert!(error.is_retryable() && begun.elapsed() < RESTS_WITHIN, "{error}");
            sleep(LOOKS_AGAIN).await;
        }
    }
    runtime.shutdown().await.unwrap();
    plan.foreign.then_some(foreigner)
}

/// Takes the migration where the round begins; once more, where it failed halfway.
async fn begins(migration: &Migration, plan: &Plan) -> Result<(), Error> {
    loop {
        let stage = migration.position().stage;
        if stage == Stage::Shadow && (plan.copied || plan.start > stage) {
            migration.backfill().run().await?;
            migration.repair().await?;
            migration.verify().run().await?;
        }
        match stage.next().filter(|next| *next <= plan.start) {
            Some(next) => migration.advance(next).within(RESTS_WITHIN).await?,
            None => return Ok(()),
        };
    }
}

/// Lets things happen. Answers with the times in which a server was killed.
async fn load<D: Sql>(
    plan: &Plan,
    servers: &mut Servers,
    nemesis: &mut Nemesis<'_>,
    pool: &Pool<D::Db>,
) -> Vec<(u64, u64)> {
    let (begun, mut crashes) = (Instant::now(), Vec::new());
    let mut restart = plan.restart;
    while begun.elapsed() < plan.load {
        let pause = Instant::now() + nemesis.pause();
        while Instant::now() < pause {
            sleep(WATCHES_AGAIN).await;
            nemesis.violations.extend(unmarked::<D>(pool).await);
        }
        nemesis.pass().await;
        nemesis.strike().await;
        if !nemesis.violations.is_empty() {
            break;
        }
        if restart && begun.elapsed() > plan.load / 2 {
            restart = false;
            // MariaDB shows a commit before it is safe, so only what it is asked to do in order is judged in full.
            let kills = plan.database == Kind::MySql && nemesis.dice.one_in(2);
            let signal = match (plan.database, kills) {
                (Kind::Postgres, _) => Signal::QUIT, // `pg_ctl restart -m immediate`
                (_, true) => Signal::KILL,
                _ => Signal::TERM,
            };
            nemesis.log.note(format_args!("the server gets the signal {signal:?}"));
            let since = now() - Duration::from_secs(1).as_nanos() as u64;
            if servers.restart(plan.database, signal).await {
                nemesis.log.note("the server is there again");
                crashes.extend(kills.then(|| (since, now())));
            }
        }
    }
    crashes
}

/// A mark that is missing is soon not missed any more: the next write of the key makes up for it.
async fn unmarked<D: Sql>(pool: &Pool<D::Db>) -> Vec<String> {
    let mut wrong = Vec::new();
    for migration in MIGRATIONS {
        for (key, text) in facts::unmarked::<D>(pool, migration).await.unwrap_or_default() {
            wrong.push(oracle::of_key(migration, key, text).to_string());
        }
    }
    wrong
}

/// Waits for rest, and asks the oracle; then copies what the stage left uncopied, and asks it again.
async fn judge<D: Sql>(
    plan: &Plan,
    pool: &Pool<D::Db>,
    folder: &Path,
    crashes: &[(u64, u64)],
    log: &Log,
    round: &mut Round,
) -> Vec<Violation> {
    let service = joined::<D>(plan, pool).await;
    let mut wrong = Vec::new();
    for (migration, _) in &service.migrations {
        wrong.extend(rests::<D>(migration, pool, plan, log).await);
    }
    let (first, applied) = (facts::first_table(), facts::applied::<D>(pool).await);
    let lines = log::read(folder);
    wrong.extend(oracle::writes(&lines, &applied));
    wrong.extend(oracle::reads(&lines, &applied, &first, crashes));
    for found in facts::found::<D>(pool, plan.lazy).await {
        let truth = oracle::truth(&found.migration, &first, &applied);
        wrong.extend(oracle::versions(&found, &applied));
        wrong.extend(oracle::sides(&found, &truth));
        round.ends.push(format!("{} at {}", found.migration, found.stage));
    }
    (round.moves, round.stages) = facts::moves::<D>(pool).await;
    if wrong.is_empty() {
        for (migration, _) in &service.migrations {
            wrong.extend(completes::<D>(migration, pool, plan).await);
        }
    }
    if wrong.is_empty() {
        for found in facts::found::<D>(pool, plan.lazy).await {
            let truth = oracle::truth(&found.migration, &first, &applied);
            wrong.extend(oracle::both(&found, &truth));
        }
    }
    let _ = service.runtime.shutdown().await;
    wrong
}

async fn joined<D: Sql>(plan: &Plan, pool: &Pool<D::Db>) -> Service<D> {
    let begun = Instant::now();
    loop {
        // It is not to lose its lease on a busy machine.
        let joining = Joining { lease: Duration::from_secs(30), lazy: plan.lazy };
        match join::<D>(pool, joining).await {
            Ok(service) => return service,
            Err(error) if begun.elapsed() > RESTS_WITHIN => panic!("nobody can join: {error}"),
            Err(_) => sleep(LOOKS_AGAIN).await,
        }
    }
}

/// Until nothing is left to repair.
async fn rests<D: Sql>(
    migration: &Migration,
    pool: &Pool<D::Db>,
    plan: &Plan,
    log: &Log,
) -> Option<Violation> {
    let begun = Instant::now();
    loop {
        let repaired = migration.repair().await;
        let retried = migration.retry_dead_letters().await;
        let letters = migration.dead_letters().await;
        let found = found::<D>(migration, pool, plan).await;
        let left = oracle::left(&found);
        if left.is_empty() && letters.as_ref().is_ok_and(Vec::is_empty) {
            return None;
        }
        let text = format!(
            "{} does not come to rest at {}: repaired {repaired:?}, retried {retried:?}; \
             marks: {left:?}; dead letters: {letters:?}",
            migration.name(),
            found.stage
        );
        if begun.elapsed() > RESTS_WITHIN {
            return Some(Violation { text, at: None });
        }
        log.note(text);
        sleep(LOOKS_AGAIN).await;
    }
}

/// Copies all that the stage left uncopied, and verifies it.
async fn completes<D: Sql>(
    migration: &Migration,
    pool: &Pool<D::Db>,
    plan: &Plan,
) -> Option<Violation> {
    let begun = Instant::now();
    loop {
        let last = match step::<D>(migration, pool, plan).await {
            Ok(true) => return None,
            Ok(false) => "a verification was not clean".to_owned(),
            Err(error) => error.to_string(),
        };
        if begun.elapsed() > RESTS_WITHIN {
            let text = format!("{} cannot be completed at rest: {last}", migration.name());
            return Some(Violation { text, at: None });
        }
        sleep(LOOKS_AGAIN).await;
    }
}

async fn found<D: Sql>(migration: &Migration, pool: &Pool<D::Db>, plan: &Plan) -> Found {
    let all = facts::found::<D>(pool, plan.lazy).await;
    all.into_iter().find(|found| found.migration == migration.name()).unwrap()
}

async fn step<D: Sql>(
    migration: &Migration,
    pool: &Pool<D::Db>,
    plan: &Plan,
) -> Result<bool, Error> {
    let position = migration.refresh().await?;
    match position.stage {
        Stage::Off => _ = migration.advance(Stage::DualWrite).within(RESTS_WITHIN / 4).await?,
        Stage::Complete => _ = migration.rollback("rest").within(RESTS_WITHIN / 4).await?,
        Stage::RampDown if position.ramp != Percent::ZERO => {
            migration.ramp_to(Percent::ZERO).within(RESTS_WITHIN / 4).await?;
        }
        _ => {}
    }
    let found = found::<D>(migration, pool, plan).await;
    if !found.old_is_whole {
        migration.backfill().reverse().run().await?;
    }
    if !found.copied {
        migration.backfill().run().await?;
    }
    migration.repair().await?;
    Ok(migration.verify().run().await?.is_clean())
}
