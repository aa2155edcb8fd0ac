//! The pages as HTML. Pure; what is shown goes through maud, which escapes it.

use std::time::{Duration, SystemTime};

use maud::{DOCTYPE, Markup, html};

use crate::backfill::options::WORKERS_MAX;
use crate::control::BackfillProgress;
use crate::control::tasks::StartedBackfill;
use crate::migration::moving::NAME_BYTES_MAX;
use crate::operator::MigrationOverview;
use crate::operator::page::links::Links;
use crate::stages::stage::Side;

const RENEWED_S: u32 = 5;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}\
    table{border-collapse:collapse}th,td{border-bottom:1px solid #ccc;padding:.2rem .8rem .2rem 0;\
    text-align:left;vertical-align:top;overflow-wrap:anywhere}section{margin:0 0 2.5rem}\
    label{display:block;margin:.3rem 0}form{margin:0 0 1.2rem}progress{width:12rem}";

/// All migrations.
pub(super) fn all(migrations: &[MigrationOverview], links: &Links) -> Markup {
    let body = html! {
        h1 { "Migrations" }
        @if migrations.is_empty() { p { "No migration is registered yet." } }
        @for migration in migrations {
            section {
                h2 { a href=(links.orders(&migration.name)) { (migration.name) } }
                (state(migration))
            }
        }
        p { "Renewed every " (RENEWED_S) " seconds. " a href=(links.json()) { "As JSON" } }
    };
    document("Migrations", true, &body)
}

/// One migration with the forms of its orders. It is not renewed, for that would empty them.
pub(super) fn one(migration: &MigrationOverview, links: &Links) -> Markup {
    let name = &*migration.name;
    let body = html! {
        p { a href=(links.first()) { "All migrations" } }
        h1 { (name) }
        (state(migration))
        h2 { "Orders to the backfill" }
        (start_form(&links.order(name, "start")))
        (orders_form(migration, links))
        (rate_form(migration, &links.order(name, "rate")))
        p { a href=(links.orders(name)) { "Look again" } " · " a href=(links.json_of(name)) { "As JSON" } }
    };
    document(name, false, &body)
}

fn document(title: &str, renewed: bool, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                @if renewed { meta http-equiv="refresh" content=(RENEWED_S); }
                title { (title) " – dualwrite" }
                style { (STYLE) }
            }
            body { (body) }
        }
    }
}

fn state(migration: &MigrationOverview) -> Markup {
    html! {
        @if let Some(why) = &migration.unreadable { p { "Its rows in the control tables cannot be read: " (why) } }
        table {
            tr { th { "position" } td { (migration.position) } }
            tr { th { "generation" } td { (migration.generation) } }
            tr { th { "instances" } td { (migration.instances) } }
            tr { th { "dead letters" } td { (migration.dead_letters) } }
        }
        @if let Some(progress) = &migration.backfill { (backfill(progress)) }
        @else { p { "There was no backfill yet." } }
        @for task in &migration.started { (started(task)) }
    }
}

fn backfill(progress: &BackfillProgress) -> Markup {
    let (done, total) = (progress.done(), progress.total);
    let percent = format!("{:.1}", progress.percent());
    html! {
        h3 { "Newest backfill, toward " (progress.side) }
        table {
            tr { th { "state" } td { (progress.standing()) } }
            @if let Some(reason) = &progress.throttled { tr { th { "makes way" } td { (reason) } } }
            tr {
                th { "done" }
                td {
                    progress max="100" value=(percent) {} " " (percent) " %: "
                    (done) " of " (total) ", " (progress.failed) " failed"
                }
            }
            tr { th { "speed" } td { (format!("{:.1}", progress.keys_per_second())) " keys/s" } }
            @if let (Some(left), false) = (progress.eta(), progress.complete) {
                tr { th { "left" } td { (seconds(left)) } }
            }
            tr { th { "rate" } td { (rate(progress.rate)) } }
        }
        @if !progress.workers.is_empty() {
            table {
                tr {
                    th { "worker" } th { "after key" } th { "to key" } th { "done" } th { "lease left" }
                }
                @for worker in &progress.workers {
                    tr {
                        td { (worker.owner) }
                        td { (worker.after.as_deref().unwrap_or("–")) }
                        td { (worker.last) }
                        td { (worker.done) }
                        td { (seconds(Duration::from_micros(worker.lease_left_us))) }
                    }
                }
            }
        }
    }
}

fn started(task: &StartedBackfill) -> Markup {
    html! {
        h3 { "Started, toward " (task.side) }
        table {
            tr { th { "by" } td { (task.actor) } }
            tr { th { "because" } td { (task.reason) } }
            tr { th { "at" } td { (moment(task.at_us)) } }
            tr { th { "workers" } td { (task.workers) } }
            tr { th { "rate" } td { (rate(task.rate)) } }
            tr { th { "runs on" } td { (task.runner.as_deref().unwrap_or("no instance yet")) } }
            @if let Some(reason) = &task.waiting {
                tr { th { @if task.halted { "halted" } @else { "waits" } } td { (reason) } }
            }
            @if task.halted { tr { th { "next" } td { "see to the cause, then start it again" } } }
        }
    }
}

fn start_form(action: &str) -> Markup {
    html! {
        form method="post" action=(action) {
            label { "by " input name="by" required maxlength=(NAME_BYTES_MAX); }
            label { "because " input name="because" required maxlength="2000" size="50"; }
            label { "workers " input name="workers" type="number" min="1" max=(WORKERS_MAX) value="1"; }
            label { "keys a second " input name="rate" type="number" min="1" placeholder="no limit"; }
            (reverse(false))
            button { "Start" }
        }
    }
}

fn orders_form(migration: &MigrationOverview, links: &Links) -> Markup {
    html! {
        form method="post" {
            (reverse(is_reverse(migration)))
            @for (order, text) in [("pause", "Pause"), ("resume", "Resume"), ("cancel", "Cancel")] {
                button formaction=(links.order(&migration.name, order)) { (text) } " "
            }
        }
    }
}

fn rate_form(migration: &MigrationOverview, action: &str) -> Markup {
    let present = migration.backfill.as_ref().and_then(|progress| progress.rate);
    html! {
        form method="post" action=(action) {
            label {
                "keys a second "
                input name="rate" type="number" min="1" placeholder="no limit" value=[present];
            }
            (reverse(is_reverse(migration)))
            button { "Set the rate" }
        }
    }
}

fn reverse(checked: bool) -> Markup {
    html! {
        label { input type="checkbox" name="reverse" value="true" checked[checked]; " from new to old" }
    }
}

fn is_reverse(migration: &MigrationOverview) -> bool {
    migration.backfill.as_ref().is_some_and(|progress| progress.side == Side::Old)
}

fn rate(keys: Option<u64>) -> String {
    keys.map_or_else(|| "no limit".to_owned(), |keys| format!("at most {keys} keys/s"))
}

fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

fn moment(at_us: i64) -> String {
    let at = u64::try_from(at_us).ok().map(Duration::from_micros);
    let at = at.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    at.map(|at| humantime::format_rfc3339_seconds(at).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::WorkerProgress;

    const EVIL: &str = "<script>alert(\"1\")</script>&'";

    fn overview() -> MigrationOverview {
        let evil = || EVIL.to_owned();
        MigrationOverview {
            name: evil(),
            position: evil(),
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
                paused: true,
                cancelled: false,
                throttled: Some(evil()),
                rate: Some(77),
                elapsed_us: 5_000_000,
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
            instances: 2,
        }
    }

    #[test]
    fn what_comes_from_elsewhere_is_escaped_everywhere() {
        let links = Links::new("/", "/");
        for page in [all(&[overview()], &links), one(&overview(), &links)] {
            let page = page.into_string();
            assert!(!page.contains("<script"), "{page}");
            assert!(!page.contains("alert(\"1"), "{page}");
            // Name, position, throttle, three of the worker and four of what was started.
            assert!(page.matches("&lt;script&gt;").count() >= 10, "{page}");
        }
    }

    #[test]
    fn a_backfill_is_told_in_figures() {
        let page = one(&overview(), &Links::new("/orders/x", "/orders/x")).into_string();
        for told in [
            "paused",
            "25.0 %: 50 of 200, 1 failed",
            "10.0 keys/s",
            "15s",
            "at most 77 keys/s",
            "2023-11-14T22:13:20Z",
            "halted",
        ] {
            assert!(page.contains(told), "{told}: {page}");
        }
        assert!(page.contains("value=\"77\""), "the form has the present rate: {page}");
    }

    #[test]
    fn only_the_page_without_forms_renews_itself() {
        let links = Links::new("/", "/");
        let (all, one) = (all(&[overview()], &links), one(&overview(), &links));
        assert!(all.0.contains("http-equiv=\"refresh\"") && !all.0.contains("<form"));
        assert!(!one.0.contains("http-equiv") && one.0.contains("<form"));
    }
}
