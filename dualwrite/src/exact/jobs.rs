//! Beside the rounds: does the jobs that operators left in one of the two databases, for any instance to do.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::clock;
use crate::control::commands::{Job, JobKind};
use crate::error::{Error, ErrorKind};
use crate::exact::core::Core;
use crate::exact::port::Port;
use crate::exact::{closing, copy, moves, report, verify};
use crate::key::EncodedKey;
use crate::stages::exact::side_of_record;
use crate::stages::stage::{Side, Stage};

/// For how long an instance has a job after it has last said so.
const LEASE: Duration = Duration::from_secs(15);
/// The longest pause after looks that failed.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Among so many dead letters a key is looked for that is to be waived.
const WAIVED_AMONG: usize = 100_000;
/// The subject of a move that leads to the stage before.
pub(crate) const BACK: &str = "back";

/// Until the handle is closed. Each kind of job runs beside the others, so that a long verification keeps no hand-over
/// waiting; there are as many at a time as there are kinds, of each database.
pub(crate) async fn run(core: Arc<Core>, side: Side) {
    let mut pause = core.options.poll;
    let mut running = FuturesUnordered::new();
    let mut kinds = Vec::new();
    while !core.death.is_dead() {
        tokio::select! {
            biased;
            () = core.closing.cancelled() => return,
            Some(ended) = running.next() => kinds.retain(|kind| *kind != ended),
            found = look(&core, side, pause, &kinds) => match found {
                Ok(jobs) => {
                    pause = core.options.poll;
                    for job in jobs {
                        kinds.push(job.kind);
                        let core = &core;
                        running.push(async move { one(core, side, &job).await });
                    }
                }
                Err(error) => {
                    let migration = &*core.name;
                    tracing::warn!(migration, %error, "jobs that were started wait");
                    pause = PAUSE_MAX.min(pause * 2);
                }
            },
        }
    }
}

/// After a pause, takes the jobs that nobody does.
async fn look(
    core: &Core,
    side: Side,
    pause: Duration,
    running: &[JobKind],
) -> Result<Vec<Job>, Error> {
    clock::sleep(pause).await;
    let mut taken = Vec::new();
    for job in core.port(side).jobs().await? {
        let is_new = !running.contains(&job.kind);
        if is_new && core.port(side).take_job(job.kind, &core.instance, LEASE).await? {
            taken.push(job);
        }
    }
    Ok(taken)
}

/// Answers with its kind when it is over.
async fn one(core: &Core, side: Side, job: &Job) -> JobKind {
    if let Err(error) = end(core, side, job).await {
        let (migration, kind) = (&*core.name, job.kind);
        tracing::warn!(migration, %kind, %error, "the end of a job could not be stored; it is done again");
    }
    job.kind
}

async fn end(core: &Core, side: Side, job: &Job) -> Result<(), Error> {
    let (migration, kind) = (&*core.name, job.kind);
    tracing::info!(migration, %kind, by = job.actor, "does a job that was started");
    let done = tokio::select! {
        done = work(core, job) => done,
        () = keep(core, side, kind) => return Ok(()), // another instance has it
    };
    let (failed, answer) = match done {
        Ok(answer) => (false, answer),
        Err(error) if error.kind() == ErrorKind::ShuttingDown => return Ok(()),
        Err(error) => {
            tracing::warn!(migration, %kind, %error, "a job that was started failed");
            (true, error.to_string())
        }
    };
    core.port(side).end_job(kind, &core.instance, (failed, &answer)).await
}

/// Ends where the lease is lost. What cannot be asked runs out by itself.
async fn keep(core: &Core, side: Side, kind: JobKind) {
    loop {
        clock::sleep(LEASE / 3).await;
        if matches!(core.port(side).take_job(kind, &core.instance, LEASE).await, Ok(false)) {
            return;
        }
    }
}

async fn work(core: &Core, job: &Job) -> Result<String, Error> {
    let subject = || {
        let missing = || Error::new(ErrorKind::InvalidInput, "the job does not say of what");
        job.key.as_deref().ok_or_else(missing).map_err(|error| error.of(&core.name))
    };
    match job.kind {
        JobKind::Move => go(core, subject()?).await,
        JobKind::CopyAll => Ok(format!("{} keys were copied", copy::run(core).await?)),
        JobKind::Verify => compared(core, false).await,
        JobKind::Repair => compared(core, true).await,
        JobKind::DeadLetters => {
            primary(core).await?.hurry().await?;
            core.wake.notify_one();
            Ok("the records are tried again".to_owned())
        }
        JobKind::Waive => waive(core, &EncodedKey(subject()?.to_owned())).await,
        JobKind::Maintenance => {
            let (closed, lasts) =
                closing::parse(subject()?).map_err(|error| error.of(&core.name))?;
            closing::set(core, closed, lasts, (&job.actor, &job.reason), false).await?;
            Ok(match core.old.closed().await? {
                Some(maintenance) => maintenance.to_string(),
                None => "all calls are open".to_owned(),
            })
        }
        other => {
            let message = format!("a migration in exact mode has no job `{other}`");
            Err(Error::new(ErrorKind::Unsupported, message).of(&core.name))
        }
    }
}

/// The mirror first: should this instance die in between, the record is thrown away by the relay.
async fn waive(core: &Core, key: &EncodedKey) -> Result<String, Error> {
    let rows = core.rows().await?;
    let side = side_of_record(rows.old, rows.new);
    let failed = core.port(side).failures(WAIVED_AMONG).await?;
    let records = core.port(side).records_of(std::slice::from_ref(key)).await?;
    let newest = records.iter().map(|record| record.version).max();
    let (Some(newest), true) = (newest, failed.iter().any(|one| one.key == *key)) else {
        let message = "this key is not among the dead letters; list them first";
        return Err(Error::new(ErrorKind::Conflict, message).of(&core.name));
    };
    core.port(side.other()).skip(key, newest).await?;
    core.port(side).waive(key).await?;
    Ok("the records of the key are out of the outbox; the mirror keeps what it has of it, and a verification says that it \
        differs, until the key is written again or repaired"
        .to_owned())
}

async fn primary(core: &Core) -> Result<&Arc<dyn Port>, Error> {
    let rows = core.rows().await?;
    Ok(core.port(side_of_record(rows.old, rows.new)))
}

/// `stage@epoch`, or `back@epoch`; without the epoch it always moves.
async fn go(core: &Core, subject: &str) -> Result<String, Error> {
    let (to, expected) = match subject.split_once('@') {
        Some((to, epoch)) => (to, epoch.parse::<u64>().ok()),
        None => (subject, None),
    };
    let rows = core.rows().await?;
    let epoch = rows.old.epoch.max(rows.new.epoch);
    if let Some(expected) = expected.filter(|expected| *expected != epoch) {
        let message = format!(
            "epoch {expected} was expected, and it is at epoch {epoch}: somebody moved the migration since you looked; \
             refresh before you decide"
        );
        return Err(Error::new(ErrorKind::Conflict, message).of(&core.name));
    }
    let stage = match to {
        BACK => moves::back(core).await?,
        to => {
            let stage: Stage = to.parse().map_err(|error: Error| error.of(&core.name))?;
            moves::go_to(core, stage).await?;
            stage
        }
    };
    Ok(format!("it is at {stage} now"))
}

async fn compared(core: &Core, repair: bool) -> Result<String, Error> {
    let found = verify::run(core, repair).await?;
    report::verified(core, &found, repair).await?;
    let verdict = match (found.is_clean(), repair) {
        (true, _) => "clean",
        (false, true) => "what differed was recorded again",
        (false, false) => "the sides differ",
    };
    let (compared, different, behind) = (found.compared, found.different, found.behind);
    Ok(format!("{verdict}: {compared} keys compared, {different} differ, {behind} are behind"))
}
