//! One migration: where it stands, what needs somebody, both sides of the last hour, and the jobs. Pure.

use maud::{Markup, html};

use crate::control::progress::{BackfillProgress, WorkerProgress};
use crate::control::tasks::StartedBackfill;
use crate::control::traffic::{TrafficFigures, TrafficReport};
use crate::migration::rollout::RolloutStatus;
use crate::operator::details::Details;
use crate::operator::page::access::Caller;
use crate::operator::page::chart::{Line, chart, edge, largest};
use crate::operator::page::exact;
use crate::operator::page::forms::{command, hazards, jobs, repairs};
use crate::operator::page::html::{document, moment, own, seconds};
use crate::operator::page::links::Links;
use crate::operator::specs::COMMANDS;
use crate::stages::facts::InstanceReport;
use crate::stages::position::Percent;
use crate::stages::stage::{Side, Stage};
use crate::stages::verification::VerifyReport;

/// The pages of a migration: what they are called, and the end of their address.
const TABS: [(&str, &str); 5] = [
    ("Overview", ""),
    ("Keys", "keys"),
    ("History", "history"),
    ("Catalogue", "catalogue"),
    ("Contract", "contract"),
];

/// The frame of each of them.
pub(super) fn tabbed(name: &str, tab: &str, links: &Links, body: &Markup) -> Markup {
    let page = html! {
        h1 { (own(name)) }
        nav class="tabs" aria-label="Pages of this migration" {
            @for (title, end) in TABS {
                a href=(links.tab(name, end)) aria-current=[(end == tab).then_some("page")] { (title) }
            }
        }
        (body)
    };
    document(name, links, &page)
}

/// One migration with the forms of its actions.
pub(super) fn one(details: &Details, links: &Links, caller: &Caller) -> Markup {
    let name = &*details.overview.name;
    let body = html! {
        @if caller.may_operate() { (back(details, links)) }
        div data-live=(links.live_of(name)) { (one_live(details)) }
        @if caller.may_operate() {
            p { "You act as " (own(caller.actor())) "." }
            @if details.overview.exact.is_none() { (repairs(&details.overview, links)) }
            h2 { "Commands" }
            @let is_exact = details.overview.exact.is_some();
            div class="commands" {
                @for spec in COMMANDS.iter().filter(|spec| !is_exact || exact::has(spec)) {
                    (command(spec, &details.overview, links))
                }
            }
        } @else {
            p { "You may look, and not change anything." }
        }
        p { a href=(links.view(name)) { "Refresh" } " · " a href=(links.json_of(name)) { "As JSON" } }
    };
    tabbed(name, "", links, &body)
}

/// The way back: what it does is said before it is done.
fn back(details: &Details, links: &Links) -> Markup {
    let name = &*details.overview.name;
    let is_exact = details.overview.exact.is_some();
    html! {
        div class="card top-row" {
            @match (details.back, details.position.stage) {
                (Some(to), _) => {
                    span {
                        "A rollback leads to " strong { (to.as_str()) } ": "
                        @if is_exact { (exact::back_does(to)) } @else { (back_does(to)) }
                    }
                    a class="button danger" href=(links.confirm(name, "rollback")) { "Roll back to " (to.as_str()) "…" }
                }
                (None, Stage::DualWrite) => {
                    span {
                        "The old side answers every read, so there is nothing to roll back. To write the old side alone again, \
                         step back to " strong { "off" } ": what is copied counts no more, and is copied anew later."
                    }
                    a class="button danger" href=(links.confirm_to(name, "step-back", Stage::Off)) { "Step back to off…" }
                }
                (None, _) => {
                    span { "There is nothing to roll back: the old side alone is read and written." }
                    @if !is_exact { a class="button" href=(links.confirm(name, "kill-on")) { "Kill switch…" } }
                }
            }
        }
    }
}

/// What holds after a rollback.
pub(super) fn back_does(to: Stage) -> &'static str {
    match to.reads() {
        Side::Old => "the old side answers every read, and no write is lost.",
        Side::New => {
            "the new side goes on answering, both sides are written again, and no write is lost."
        }
    }
}

/// What of it is renewed while it is looked at. No form stands in it.
pub(super) fn one_live(details: &Details) -> Markup {
    let migration = &details.overview;
    if let Some(exact) = &migration.exact {
        return exact::live(details, exact);
    }
    html! {
        @if let Some(why) = &migration.unreadable {
            p class="note bad" { "Its rows in the control tables cannot be read: " (own(why)) }
        }
        @if let Some(why) = migration.attention() { p class="note bad" { strong { "Needs somebody: " } (why) } }
        (steps(details))
        (standing(details))
        (next(details))
        @if let Some(rollout) = &details.rollout { (rolling(rollout)) }
        (traffic(&details.traffic))
        section class="card" {
            h2 { "Backfill" }
            @if let Some(progress) = &migration.backfill { (backfill(progress)) } @else { p { "No backfill yet." } }
            @for task in &migration.started { (started(task)) }
        }
        @if let Some(report) = &migration.verification { section class="card" { (verification(report)) } }
        @if !migration.jobs.is_empty() { (jobs(&migration.jobs)) }
        @if !migration.hazards.is_empty() {
            h2 { "Unseen writers and sequences" }
            p { "Complete waits until each is repaired or recorded as stopped." }
            (hazards(&migration.hazards))
        }
        (instances(&details.instances))
    }
}

/// The way of a migration, and how far it is.
fn steps(details: &Details) -> Markup {
    let position = details.position;
    html! {
        ol class="steps" aria-label="Stages" {
            @for stage in Stage::ALL {
                @let is_next = position.stage.next() == Some(stage) && position.ramp > Percent::ZERO;
                @let class = match stage.cmp(&position.stage) {
                    std::cmp::Ordering::Less => "done",
                    std::cmp::Ordering::Equal => "now",
                    std::cmp::Ordering::Greater if is_next => "ramp",
                    std::cmp::Ordering::Greater => "",
                };
                li class=(class) aria-current=[(stage == position.stage).then_some("step")] {
                    (stage.as_str())
                    @if is_next { br; (position.ramp) " of the keys" }
                }
            }
        }
    }
}

fn standing(details: &Details) -> Markup {
    let migration = &details.overview;
    html! {
        table class="pairs" {
            tr { th scope="row" { "position" } td { (own(&migration.position)) } }
            @if let Some(actor) = &migration.killed_by { tr { th scope="row" { "kill switch" } td class="alert" { "set by " (own(actor)) } } }
            @if let Some(maintenance) = &migration.maintenance {
                tr { th scope="row" { "maintenance" } td class="alert" { (own(&maintenance.to_string())) } }
            }
            tr { th scope="row" { "generation" } td { (migration.generation) } }
            tr { th scope="row" { "instances" } td { (migration.instances) } }
            @for (calls, share) in [("reads", migration.sample.reads), ("dual writes", migration.sample.writes)] {
                @if let Some(share) = share { tr { th scope="row" { "compared" } td { (share) " of the " (calls) ", set by an operator" } } }
            }
            @if let Some(mirror) = &migration.mirror {
                tr { th scope="row" { "mirror writes" } td class=[mirror.failing.then_some("alert")] { (own(&mirror.to_string())) } }
            }
            tr {
                th scope="row" { "dead letters" }
                td { (migration.dead_letters) " to new, " (migration.dead_letters_to_old) " to old" }
            }
        }
    }
}

/// What stands against the next move, and what to do.
fn next(details: &Details) -> Markup {
    html! {
        @if let Some((stage, against)) = &details.next {
            section class="card" {
                h2 { "Next: " (stage.as_str()) }
                @if against.is_empty() { p class="good" { "Nothing stands against it." } }
                @else {
                    ul { @for blocker in against { li { strong { (blocker.gate.as_str()) } ": " (own(&blocker.reason)) } } }
                }
            }
        }
    }
}

fn rolling(rollout: &RolloutStatus) -> Markup {
    html! {
        section class="card" {
            h2 { "Rollout: " (rollout.state.to_string()) ", step " (rollout.step) " of " (rollout.steps) }
            table class="pairs" {
                @if let Some(at) = &rollout.at { tr { th scope="row" { "at" } td { (own(at)) } } }
                @if let Some(next) = &rollout.next { tr { th scope="row" { "next" } td { (own(next)) } } }
                @if !rollout.soak_left.is_zero() {
                    tr { th scope="row" { "soak left" } td { (seconds(rollout.soak_left)) } }
                }
                @if let Some(waiting) = &rollout.waiting { tr { th scope="row" { "waits" } td { (own(waiting)) } } }
                @if !rollout.note.is_empty() { tr { th scope="row" { "because" } td { (own(&rollout.note)) } } }
                @if let Some(leader) = &rollout.leader { tr { th scope="row" { "led by" } td { (own(leader)) } } }
            }
        }
    }
}

const CALLS: [Line; 1] = [Line { class: "calls", value: |figures| figures.calls as f64 }];
const ERRORS: [Line; 1] = [Line { class: "errors", value: TrafficFigures::errors_percent }];
const LATENCY: [Line; 3] = [
    Line { class: "p50", value: |figures| figures.p50_us },
    Line { class: "p95", value: |figures| figures.p95_us },
    Line { class: "p99", value: |figures| figures.p99_us },
];

/// Both sides beside each other, at one scale.
fn traffic(report: &TrafficReport) -> Markup {
    let sides = [&report.old, &report.new];
    let edge = edge(sides);
    html! {
        h2 { "Calls of the last hour, of all instances" }
        @if edge == 0 { p class="dim" { "No calls yet: instances tell of theirs once a minute." } }
        @else {
            div class="two" {
                @for (side, title) in [(&report.old, "Old side"), (&report.new, "New side")] {
                    @let hour = &side.hour;
                    @let percent = format!("{:.2} %", hour.errors_percent());
                    @let [p50, p95, p99] = [hour.p50_us, hour.p95_us, hour.p99_us].map(millis);
                    section class="card" {
                        h3 { (title) }
                        p { (hour.calls) " calls, " span class=[(hour.errors > 0).then_some("alert")] { (percent) " failed" } }
                        (chart(side, &CALLS, edge, largest(sides, &CALLS), &format!("calls a minute of the {}", title.to_lowercase())))
                        p class="dim" { "failed, in percent" }
                        (chart(side, &ERRORS, edge, largest(sides, &ERRORS), &format!("failed calls of the {}, {percent} in the hour", title.to_lowercase())))
                        p {
                            span class="key50" { "p50 " (p50) } " · " span class="key95" { "p95 " (p95) } " · "
                            span class="key99" { "p99 " (p99) }
                        }
                        (chart(side, &LATENCY, edge, largest(sides, &LATENCY), &format!("durations of the {}: p50 {p50}, p95 {p95}, p99 {p99}", title.to_lowercase())))
                    }
                }
            }
        }
    }
}

fn millis(micros: f64) -> String {
    format!("{:.1} ms", micros / 1_000.0)
}

fn instances(instances: &[InstanceReport]) -> Markup {
    html! {
        h2 { "Instances" }
        @if instances.is_empty() { p class="alert" { "No live instance: start the service." } } @else {
            div class="wide" tabindex="0" role="region" aria-label="Instances" {
                table {
                    thead { tr {
                        th scope="col" { "instance" } th scope="col" { "release" } th scope="col" { "seen" }
                        th scope="col" { "drained" } th scope="col" { "kill switch" } th scope="col" { "mirror writes" }
                    } }
                    tbody {
                        @for one in instances {
                            tr {
                                th scope="row" { (own(&one.id)) }
                                td { (own(&one.release)) }
                                td { (one.seen) }
                                td { (one.drained) }
                                td { @if let Some(by) = &one.killed_by { (own(by)) } @else { "–" } }
                                td { @if let Some(note) = &one.mirror { (own(&note.to_string())) } @else { "–" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn backfill(progress: &BackfillProgress) -> Markup {
    let (done, total) = (progress.done(), progress.total);
    let percent = format!("{:.1}", progress.percent());
    html! {
        h3 { "Toward " (progress.side) }
        table class="pairs" {
            tr { th scope="row" { "state" } td { (progress.state()) } }
            @if let Some(reason) = &progress.throttled { tr { th scope="row" { "throttled by" } td { (own(reason)) } } }
            tr {
                th scope="row" { "done" }
                td {
                    progress max="100" value=(percent) aria-label="done" {} " " (percent) " %: "
                    (done) " of " (total) ", " (progress.failed) " failed"
                }
            }
            tr {
                th scope="row" { "speed" }
                td {
                    (format!("{:.1}", progress.recent_keys_per_second())) " keys/s in the last minutes of work, "
                    (format!("{:.1}", progress.keys_per_second())) " on average"
                }
            }
            @if progress.batch > 0 {
                tr { th scope="row" { "batch" } td { (progress.batch) " keys" } }
            }
            @if let (Some(left), false) = (progress.eta(), progress.complete) {
                tr { th scope="row" { "left" } td { (seconds(left)) } }
            }
            tr { th scope="row" { "rate" } td { (rate(progress.rate)) } }
            @let set = progress.settings.shown();
            @if !set.is_empty() { tr { th scope="row" { "set by operators" } td { (set) } } }
        }
        @if !progress.workers.is_empty() { (workers(&progress.workers)) }
    }
}

fn workers(workers: &[WorkerProgress]) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label="Workers" {
            table {
                tr {
                    th scope="col" { "worker" } th scope="col" { "after key" } th scope="col" { "to key" } th scope="col" { "done" } th scope="col" { "lease left" }
                }
                @for worker in workers {
                    tr {
                        td { (own(&worker.owner)) }
                        td { (own(worker.after.as_deref().unwrap_or("–"))) }
                        td { (own(&worker.last)) }
                        td { (worker.done) }
                        td { (seconds(worker.lease_left)) }
                    }
                }
            }
        }
    }
}

fn verification(report: &VerifyReport) -> Markup {
    let fields: Vec<String> =
        report.fields.iter().map(|(name, keys)| format!("{name}: {keys}")).collect();
    html! {
        h2 { "Newest verification" }
        table class="pairs" {
            tr { th scope="row" { "compared" } td { (report.compared) " keys" } }
            tr {
                th scope="row" { "differ" }
                td {
                    (report.differing) ": " (report.missing_in_new) " missing in new, "
                    (report.missing_in_old) " missing in old, " (report.different) " with other values"
                }
            }
            @if !fields.is_empty() { tr { th scope="row" { "fields" } td { (own(&fields.join(", "))) } } }
            tr { th scope="row" { "counts for the gates" } td { @if report.proven { "yes" } @else { "no" } } }
        }
    }
}

fn started(task: &StartedBackfill) -> Markup {
    html! {
        h3 { "Started, toward " (task.side) }
        table class="pairs" {
            tr { th scope="row" { "by" } td { (own(&task.actor)) } }
            tr { th scope="row" { "because" } td { (own(&task.reason)) } }
            tr { th scope="row" { "at" } td { (moment(task.at)) } }
            tr { th scope="row" { "workers" } td { (task.workers) } }
            tr { th scope="row" { "rate" } td { (rate(task.rate)) } }
            tr { th scope="row" { "runs on" } td { (own(task.runner.as_deref().unwrap_or("no instance yet"))) } }
            @if let Some(reason) = &task.waiting {
                tr { th scope="row" { @if task.halted { "halted" } @else { "waits" } } td { (own(reason)) } }
            }
            @if task.halted { tr { th scope="row" { "next" } td { "see to the cause, then start it again" } } }
        }
    }
}

fn rate(keys: Option<u64>) -> String {
    keys.map_or_else(|| "no limit".to_owned(), |keys| format!("at most {keys} keys/s"))
}
