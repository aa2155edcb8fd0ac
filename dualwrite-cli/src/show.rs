//! Migrations as text for a terminal. Pure.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use dualwrite::{
    backfill::{BackfillProgress, StartedBackfill},
    operator::{ExactOverview, Job, MigrationOverview},
    preflight::FindingLevel,
    printable,
};

/// All of them.
pub(crate) fn migrations(migrations: &[MigrationOverview]) -> String {
    if migrations.is_empty() {
        return "no migration is registered yet; the service registers them when it starts"
            .to_owned();
    }
    migrations.iter().map(migration).collect::<Vec<_>>().join("\n")
}

/// One of them.
pub(crate) fn migration(migration: &MigrationOverview) -> String {
    let mut lines = Lines(String::new());
    lines.add(&migration.name);
    if let Some(why) = &migration.unreadable {
        lines.say("unreadable", why);
        return lines.0;
    }
    if let Some(found) = &migration.exact {
        exact(&mut lines, migration, found);
        return lines.0;
    }
    lines.say("position", &format!("{}, generation {}", migration.position, migration.generation));
    if let Some(actor) = &migration.killed_by {
        lines.say("kill switch", &format!("set by {actor}"));
    }
    if let Some(maintenance) = &migration.maintenance {
        lines.say("maintenance", &maintenance.to_string());
    }
    lines.say("instances", &migration.instances.to_string());
    let sample = migration.sample;
    for (calls, share) in [("reads", sample.reads), ("dual writes", sample.writes)] {
        if let Some(share) = share {
            lines.say("compared", &format!("{share} of the {calls}, set by an operator"));
        }
    }
    if let Some(mirror) = &migration.mirror {
        lines.say("mirror writes", &mirror.to_string());
    }
    let (new, old) = (migration.dead_letters, migration.dead_letters_to_old);
    lines.say("dead letters", &format!("{new} to new, {old} to old"));
    if let Some(why) = migration.attention() {
        lines.say("needs", why);
    }
    work(&mut lines, migration);
    catalogue(&mut lines, migration);
    lines.0
}

fn work(lines: &mut Lines, migration: &MigrationOverview) {
    match &migration.backfill {
        Some(progress) => backfill(lines, progress),
        None => lines.say("backfill", "none yet"),
    }
    for task in &migration.started {
        started(lines, task);
    }
    jobs(lines, &migration.jobs);
}

/// What an instance read there.
fn catalogue(lines: &mut Lines, migration: &MigrationOverview) {
    if let Some(report) = &migration.preflight {
        let (found, refused) = (report.findings.len(), report.refusals().count());
        let at = moment(report.at);
        lines.say("preflight", &format!("{found} findings, {refused} of them refuse, read {at}"));
        for finding in report.findings.iter().filter(|one| one.level > FindingLevel::Note) {
            lines.say("  finding", &finding.to_string());
        }
    }
    for hazard in &migration.hazards {
        let stopped = hazard.stopped.as_ref();
        let stopped = stopped.map_or(String::new(), |by| format!(", stopped by {}", by.actor));
        lines.say("hazard", &format!("{}{stopped}: {}", hazard.name, hazard.detail));
    }
}

fn jobs(lines: &mut Lines, jobs: &[Job]) {
    for job in jobs {
        let said = job.answer.as_ref().or(job.waiting.as_ref());
        let answer = said.map_or(String::new(), |said| format!(": {said}"));
        lines.say("job", &format!("{}, {}, by {}{answer}", job.kind, job.state(), job.actor));
    }
}

/// A migration between two databases.
fn exact(lines: &mut Lines, migration: &MigrationOverview, exact: &ExactOverview) {
    lines.say("position", &migration.position);
    lines.say("mode", &format!("exact; this is the database of the {} side", exact.side));
    if let Some(maintenance) = &migration.maintenance {
        lines.say("maintenance", &maintenance.to_string());
    }
    if let Some(why) = migration.attention() {
        lines.say("needs", why);
    }
    let Some(state) = &exact.state else {
        lines.say("state", "no instance has reported yet; start the service");
        return jobs(lines, &migration.jobs);
    };
    if let Some(error) = &state.error {
        lines.say("cannot reach", error);
    }
    let closed = if state.open { "" } else { ", closed: a hand-over is under way" };
    lines.say("primary", &format!("{}{closed}", state.primary));
    let keys = state.copied_keys;
    lines.say(
        "copied",
        &if state.copied { "yes".to_owned() } else { format!("not yet, {keys} keys so far") },
    );
    let lag = state.lag.as_secs_f64();
    lines.say("outbox", &format!("{} records, the oldest of {lag:.1} s", state.backlog));
    if let Some(found) = &exact.verification {
        let repaired = if found.repaired { ", and were recorded again" } else { "" };
        let (at, compared, different) = (moment(found.at), found.compared, found.different);
        lines.say(
            "verified",
            &format!(
                "{at}: {compared} keys compared, {different} differ{repaired}, {} behind",
                found.behind
            ),
        );
    }
    lines.say("dead letters", &state.failures.len().to_string());
    for failure in &state.failures {
        lines.say(
            "  key",
            &format!("{}, tried {} times: {}", failure.key, failure.attempts, failure.error),
        );
    }
    let ago = exact.reported_ago.unwrap_or_default();
    lines.say("reported", &format!("{} ago by {}", seconds(ago), state.instance));
    jobs(lines, &migration.jobs);
}

fn backfill(lines: &mut Lines, progress: &BackfillProgress) {
    lines.say("backfill", &format!("toward {}, {}", progress.side, progress.state()));
    if let Some(reason) = &progress.throttled {
        lines.say("  throttled by", reason);
    }
    let (done, total, failed) = (progress.done(), progress.total, progress.failed);
    lines
        .say("  done", &format!("{:.1} %, {done} of {total}, {failed} failed", progress.percent()));
    let (speed, average) = (progress.recent_keys_per_second(), progress.keys_per_second());
    let left = progress.eta().filter(|_| progress.is_running()).map(seconds);
    let left = left.map_or_else(String::new, |left| format!(", {left} left"));
    lines.say(
        "  speed",
        &format!(
            "{speed:.1} keys/s in the last minutes of work, {average:.1} on average{left}, {}",
            rate(progress.rate)
        ),
    );
    if progress.batch > 0 {
        lines.say("  batch", &format!("{} keys", progress.batch));
    }
    let set = progress.settings.shown();
    if !set.is_empty() {
        lines.say("  set", &set);
    }
    for worker in &progress.workers {
        let after = worker.after.as_deref().unwrap_or("the beginning");
        let lease = seconds(worker.lease_left);
        let (owner, last, done) = (&worker.owner, &worker.last, worker.done);
        let range = format!("{owner}: from {after} to {last}, {done} done, lease left {lease}");
        lines.say("  worker", &range);
    }
}

fn started(lines: &mut Lines, task: &StartedBackfill) {
    let at = moment(task.at);
    let (side, workers, rate) = (task.side, task.workers, rate(task.rate));
    lines.say("started", &format!("toward {side}, {at}, {workers} workers, {rate}"));
    lines.say("  by", &task.actor);
    lines.say("  because", &task.reason);
    lines.say("  runs on", task.runner.as_deref().unwrap_or("no instance yet"));
    if let Some(reason) = &task.waiting {
        lines.say(if task.halted { "  halted" } else { "  waits" }, reason);
    }
    if task.halted {
        lines.say("  next", "see to the cause, then start it again");
    }
}

fn rate(keys: Option<u64>) -> String {
    keys.map_or_else(|| "no limit".to_owned(), |keys| format!("at most {keys} keys/s"))
}

fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// The first second that is not shown: the year 10,000.
const SHOWN_END: Duration = Duration::from_secs(253_402_300_800);

/// A time of the database, in UTC.
pub(crate) fn moment(at: SystemTime) -> String {
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) if since < SHOWN_END => humantime::format_rfc3339_seconds(at).to_string(),
        _ => String::new(),
    }
}

/// Lines of a name and what there is to say of it. What others wrote cannot steer the terminal.
struct Lines(String);

impl Lines {
    fn add(&mut self, line: &str) {
        self.0.push_str(&printable(line));
        self.0.push('\n');
    }

    fn say(&mut self, name: &str, text: &str) {
        let mut line = String::new();
        // Writing to a string does not fail.
        let _ = write!(line, "  {name:<14}{text}");
        self.add(&line);
    }
}
