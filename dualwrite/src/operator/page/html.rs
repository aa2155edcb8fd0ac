//! The pages as HTML. Pure; what is shown goes through maud, which escapes it.

use std::time::{Duration, SystemTime};

use maud::{DOCTYPE, Markup, html};

use crate::control::BackfillProgress;
use crate::control::tasks::StartedBackfill;
use crate::operator::MigrationOverview;

use crate::operator::page::access::Caller;
use crate::operator::page::forms::{catalogue, command, jobs, repairs};
use crate::operator::page::links::Links;
use crate::operator::page::list::{Asked, Listed, listed};
use crate::operator::specs::COMMANDS;
use crate::printable::printable;
use crate::stages::verification::VerifyReport;

const STYLE: &str = ":root{color-scheme:light dark}\
    body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem}\
    table{border-collapse:collapse}th,td{border-bottom:1px solid #8886;padding:.2rem .8rem .2rem 0;\
    text-align:left;vertical-align:top}th{white-space:nowrap}td{overflow-wrap:anywhere;min-width:4rem}\
    .wide{overflow-x:auto}.alert{font-weight:600}section{margin:0 0 2.5rem}\
    label{display:block;margin:.3rem 0}form{margin:0 0 1.2rem}progress{width:8rem}";

/// What others wrote. It cannot turn the order around in which the rest is read.
pub(super) fn own(text: &str) -> Markup {
    html! { bdi { (printable(text)) } }
}

/// All migrations, a line each.
pub(super) fn all(migrations: &[MigrationOverview], asked: &Asked, links: &Links) -> Markup {
    let listed = listed(migrations, asked);
    let body = html! {
        h1 { "Migrations" }
        form method="get" action=(links.first()) role="search" {
            label { "name " input type="search" name="search" value=(printable(&asked.search)) maxlength="100"; }
            button { "Search" }
        }
        div data-live {
            @if migrations.is_empty() { p { "No migration is registered yet." } }
            @else if listed.found == 0 { p { "No name contains that." } }
            @else { (lines(&listed, links)) (pages(&listed, asked, links)) }
        }
        p { a href=(links.first()) { "Refresh" } " · " a href=(links.json()) { "As JSON" } }
    };
    document("Migrations", links, &body)
}

fn lines(listed: &Listed<'_>, links: &Links) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label="Migrations" {
            table {
                thead {
                    tr {
                        th { "migration" } th { "position" } th { "needs" } th { "backfill" }
                        th { "dead letters" } th { "instances" }
                    }
                }
                tbody { @for one in &listed.lines { (line(one, links)) } }
            }
        }
    }
}

fn line(one: &MigrationOverview, links: &Links) -> Markup {
    html! {
        tr {
            th scope="row" { a href=(links.view(&one.name)) { (own(&one.name)) } }
            td { (own(&one.position)) }
            td class="alert" { (one.attention().unwrap_or("")) }
            td {
                @if let Some(backfill) = &one.backfill {
                    (backfill.state()) (format!(", {:.1} %", backfill.percent()))
                } @else { "none yet" }
            }
            td { (one.dead_letters + one.dead_letters_to_old) }
            td { (one.instances) }
        }
    }
}

fn pages(listed: &Listed<'_>, asked: &Asked, links: &Links) -> Markup {
    let (page, pages) = (listed.page, listed.pages);
    html! {
        p {
            (listed.found) " migrations, page " (page) " of " (pages)
            @if page > 1 { " · " a rel="prev" href=(links.page(&asked.search, page - 1)) { "Previous" } }
            @if page < pages { " · " a rel="next" href=(links.page(&asked.search, page + 1)) { "Next" } }
        }
    }
}

/// One migration with the forms of its actions.
pub(super) fn one(migration: &MigrationOverview, links: &Links, caller: &Caller) -> Markup {
    let name = &*migration.name;
    let body = html! {
        p { a href=(links.first()) { "All migrations" } }
        h1 { (own(name)) }
        div data-live { (state(migration)) }
        @if caller.may_operate() {
            p { "You act as " (own(caller.actor())) "." }
            (repairs(migration, links))
            h2 { "Commands" }
            @for spec in &COMMANDS { (command(spec, migration, links)) }
        } @else {
            p { "You may look, and not change anything." }
        }
        p { a href=(links.view(name)) { "Refresh" } " · " a href=(links.json_of(name)) { "As JSON" } }
    };
    document(name, links, &body)
}

fn document(title: &str, links: &Links, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (printable(title)) " – dualwrite" }
                style { (STYLE) }
                script src=(links.script()) defer {}
            }
            body { main { (body) } }
        }
    }
}

fn state(migration: &MigrationOverview) -> Markup {
    html! {
        @if let Some(why) = &migration.unreadable { p { "Its rows in the control tables cannot be read: " (own(why)) } }
        table {
            tr { th { "position" } td { (own(&migration.position)) } }
            @if let Some(actor) = &migration.killed_by { tr { th { "kill switch" } td { "set by " (own(actor)) } } }
            @if let Some(maintenance) = &migration.maintenance { tr { th { "maintenance" } td { (own(&maintenance.to_string())) } } }
            tr { th { "generation" } td { (migration.generation) } }
            tr { th { "instances" } td { (migration.instances) } }
            @for (calls, share) in [("reads", migration.sample.reads), ("dual writes", migration.sample.writes)] {
                @if let Some(share) = share { tr { th { "compared" } td { (share) " of the " (calls) ", set by an operator" } } }
            }
            @if let Some(mirror) = &migration.mirror {
                tr { th { "mirror writes" } td class=[mirror.failing.then_some("alert")] { (own(&mirror.to_string())) } }
            }
            tr {
                th { "dead letters" }
                td { (migration.dead_letters) " to new, " (migration.dead_letters_to_old) " to old" }
            }
            @if let Some(why) = migration.attention() { tr { th { "needs" } td class="alert" { (why) } } }
        }
        @if let Some(progress) = &migration.backfill { (backfill(progress)) }
        @else { p { "No backfill yet." } }
        @for task in &migration.started { (started(task)) }
        @if let Some(report) = &migration.verification { (verification(report)) }
        @if !migration.jobs.is_empty() { (jobs(&migration.jobs)) }
        (catalogue(migration))
    }
}

fn backfill(progress: &BackfillProgress) -> Markup {
    let (done, total) = (progress.done(), progress.total);
    let percent = format!("{:.1}", progress.percent());
    html! {
        h3 { "Newest backfill, toward " (progress.side) }
        table {
            tr { th { "state" } td { (progress.state()) } }
            @if let Some(reason) = &progress.throttled { tr { th { "throttled by" } td { (own(reason)) } } }
            tr {
                th { "done" }
                td {
                    progress max="100" value=(percent) {} " " (percent) " %: "
                    (done) " of " (total) ", " (progress.failed) " failed"
                }
            }
            tr {
                th { "speed" }
                td { (format!("{:.1}", progress.keys_per_second())) " keys/s while it runs" }
            }
            @if let (Some(left), false) = (progress.eta(), progress.complete) {
                tr { th { "left" } td { (seconds(left)) } }
            }
            tr { th { "rate" } td { (rate(progress.rate)) } }
            @let set = progress.settings.shown();
            @if !set.is_empty() { tr { th { "set by operators" } td { (set) } } }
        }
        @if !progress.workers.is_empty() {
            div class="wide" tabindex="0" role="region" aria-label="Workers" {
                table {
                    tr {
                        th { "worker" } th { "after key" } th { "to key" } th { "done" } th { "lease left" }
                    }
                    @for worker in &progress.workers {
                        tr {
                            td { (own(&worker.owner)) }
                            td { (own(worker.after.as_deref().unwrap_or("–"))) }
                            td { (own(&worker.last)) }
                            td { (worker.done) }
                            td { (seconds(Duration::from_micros(worker.lease_left_us))) }
                        }
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
        h3 { "Newest verification" }
        table {
            tr { th { "compared" } td { (report.compared) " keys" } }
            tr {
                th { "differ" }
                td {
                    (report.differing) ": " (report.missing_in_new) " missing in new, "
                    (report.missing_in_old) " missing in old, " (report.different) " with other values"
                }
            }
            @if !fields.is_empty() { tr { th { "fields" } td { (own(&fields.join(", "))) } } }
            tr { th { "counts for the gates" } td { @if report.proven { "yes" } @else { "no" } } }
        }
    }
}

fn started(task: &StartedBackfill) -> Markup {
    html! {
        h3 { "Started, toward " (task.side) }
        table {
            tr { th { "by" } td { (own(&task.actor)) } }
            tr { th { "because" } td { (own(&task.reason)) } }
            tr { th { "at" } td { (moment(task.at_us)) } }
            tr { th { "workers" } td { (task.workers) } }
            tr { th { "rate" } td { (rate(task.rate)) } }
            tr { th { "runs on" } td { (own(task.runner.as_deref().unwrap_or("no instance yet"))) } }
            @if let Some(reason) = &task.waiting {
                tr { th { @if task.halted { "halted" } @else { "waits" } } td { (own(reason)) } }
            }
            @if task.halted { tr { th { "next" } td { "see to the cause, then start it again" } } }
        }
    }
}

fn rate(keys: Option<u64>) -> String {
    keys.map_or_else(|| "no limit".to_owned(), |keys| format!("at most {keys} keys/s"))
}

fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

pub(super) fn moment(at_us: i64) -> String {
    let at = u64::try_from(at_us).ok().map(Duration::from_micros);
    let at = at.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    at.map(|at| humantime::format_rfc3339_seconds(at).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::WorkerProgress;
    use crate::control::commands::{Job, JobKind};
    use crate::control::settings::BackfillSettings;
    use crate::operator::mirror::MirrorOverview;
    use crate::preflight::finding::{Finding, FindingLevel};
    use crate::preflight::report::PreflightReport;
    use crate::stages::hazard::{Hazard, HazardKind, Stopped};
    use crate::stages::mirror::{MirrorError, MirrorNote};
    use crate::stages::stage::Side;

    const EVIL: &str = "<script>alert(\"1\")</script>&'";

    fn overview() -> MigrationOverview {
        let evil = || EVIL.to_owned();
        MigrationOverview {
            name: evil(),
            position: evil(),
            epoch: crate::stages::position::Epoch(7),
            killed_by: Some(evil()),
            maintenance: Some(crate::Maintenance {
                closed: crate::Closed::Calls,
                actor: evil(),
                reason: evil(),
                until_us: 0,
            }),
            unreadable: Some(evil()),
            generation: 3,
            backfill: Some(BackfillProgress {
                side: Side::Old,
                generation: 3,
                total: 200,
                migrated: 40,
                skipped: 9,
                failed: 1,
                complete: false,
                paused: false,
                cancelled: false,
                throttled: Some(evil()),
                rate: Some(77),
                settings: BackfillSettings {
                    lag_us: Some(5_000_000),
                    ..BackfillSettings::default()
                },
                elapsed_us: 500_000_000,
                worked_us: 5_000_000,
                workers: vec![WorkerProgress {
                    owner: evil(),
                    after: Some(evil()),
                    last: evil(),
                    done: 5,
                    lease_left_us: 2_000_000,
                }],
            }),
            started: vec![StartedBackfill {
                side: Side::Old,
                workers: 2,
                rate: None,
                stop_after_failures: 1_000,
                actor: evil(),
                reason: evil(),
                at_us: 1_700_000_000_000_000,
                runner: Some(evil()),
                waiting: Some(evil()),
                halted: true,
            }],
            dead_letters: 1,
            dead_letters_to_old: 6,
            instances: 2,
            sample: Default::default(),
            mirror: Some(MirrorOverview {
                instances: 2,
                worst_instance: evil(),
                worst: MirrorNote {
                    percent_min: 5,
                    last_error: Some(MirrorError {
                        method: evil(),
                        side: Side::New,
                        cause: evil(),
                    }),
                },
                failing: true,
            }),
            hazards: vec![Hazard {
                repair: Some(evil()),
                stopped: Some(Stopped { actor: evil(), reason: evil(), at_us: 1 }),
                ..Hazard::new(HazardKind::Trigger, EVIL, EVIL)
            }],
            preflight: Some(PreflightReport {
                findings: vec![Finding::new(
                    EVIL,
                    FindingLevel::Warn,
                    (Side::Old, EVIL, Some(EVIL)),
                    EVIL,
                    EVIL,
                )],
                instance: evil(),
                ..PreflightReport::default()
            }),
            verification: Some(VerifyReport {
                fields: [(evil(), 3)].into(),
                ..VerifyReport::default()
            }),
            jobs: vec![Job {
                kind: JobKind::Verify,
                key: Some(evil()),
                actor: evil(),
                reason: evil(),
                at_us: 1,
                runner: Some(evil()),
                done: false,
                failed: false,
                answer: Some(evil()),
                waiting: None,
            }],
        }
    }

    fn shown(migration: &MigrationOverview, links: &Links) -> Markup {
        one(migration, links, &Caller::operator(EVIL))
    }

    #[test]
    fn what_comes_from_elsewhere_is_escaped_everywhere() {
        let links = Links::new("/", "/");
        for page in [all(&[overview()], &Asked::default(), &links), shown(&overview(), &links)] {
            let page = page.into_string();
            assert!(!page.contains("<script>"), "{page}");
            assert!(!page.contains("alert(\"1"), "{page}");
            assert!(page.contains("&lt;script&gt;"), "{page}");
        }
    }

    #[test]
    fn a_backfill_is_shown_in_figures() {
        let page = shown(&overview(), &Links::new("/view/x", "/view/x")).into_string();
        for told in [
            "under way",
            "1 to new, 6 to old",
            "25.0 %: 50 of 200, 1 failed",
            "10.0 keys/s",
            "15s",
            "at most 77 keys/s",
            "lag 5s",
            "2023-11-14T22:13:20Z",
            "halted",
        ] {
            assert!(page.contains(told), "{told}: {page}");
        }
    }

    #[test]
    fn nothing_renews_the_whole_page_and_steals_the_focus() {
        let links = Links::new("/", "/");
        for page in [all(&[overview()], &Asked::default(), &links), shown(&overview(), &links)] {
            assert!(!page.0.contains("http-equiv"), "{}", page.0);
            // The script renews this part alone, and no form stands in it.
            let live = page.0.split("data-live").nth(1).unwrap();
            assert!(!live.split("</div><").next().unwrap().contains("<form"), "{live}");
        }
    }

    #[test]
    fn what_turns_the_order_of_reading_around_is_shown_and_kept_to_itself() {
        let mut turned = overview();
        turned.name = "a\u{202e}b".to_owned();
        turned.started[0].actor = "\u{5d0}\u{5d1}".to_owned();
        let page = shown(&turned, &Links::new("/", "/")).into_string();
        assert!(!page.contains('\u{202e}') && page.contains("a\u{fffd}b"), "{page}");
        assert!(page.contains("<bdi>\u{5d0}\u{5d1}</bdi>"), "{page}");
    }

    #[test]
    fn names_of_rows_are_not_squeezed() {
        assert!(STYLE.contains("th{white-space:nowrap}"));
        assert!(!STYLE.contains("th,td{overflow-wrap"));
    }

    #[test]
    fn a_backfill_that_does_not_run_has_no_time_left() {
        let mut halted = overview();
        let progress = halted.backfill.as_mut().unwrap();
        progress.workers[0].lease_left_us = 0;
        let page = shown(&halted, &Links::new("/", "/")).into_string();
        assert!(page.contains("without a worker") && !page.contains("<th>left</th>"), "{page}");
    }
}
