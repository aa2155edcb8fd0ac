//! The frame of every page, and the overview. Pure; what is shown goes through maud, which escapes it.

use std::time::{Duration, SystemTime};

use maud::{DOCTYPE, Markup, html};

use crate::moment::text;
use crate::operator::MigrationOverview;
use crate::operator::page::links::Links;
use crate::operator::page::list::{Asked, Listed, listed};
use crate::printable::printable;
use crate::stages::stage::Stage;

const STYLE: &str = include_str!("style.css");

/// What others wrote. It cannot turn the order around in which the rest is read.
pub(super) fn own(text: &str) -> Markup {
    html! { bdi { (printable(text)) } }
}

/// A time of the database, in UTC; a script shows how long ago that is, and when by the reader's clock.
pub(super) fn moment(at: SystemTime) -> Markup {
    if at == SystemTime::UNIX_EPOCH {
        return html! { "–" }; // not kept
    }
    let at = text(at);
    html! { time datetime=(at) { (at) } }
}

pub(super) fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// All migrations, a line each.
pub(super) fn all(migrations: &[MigrationOverview], asked: &Asked, links: &Links) -> Markup {
    let body = html! {
        h1 { "Migrations" }
        form class="inline" method="get" action=(links.first()) role="search" {
            label { "Name " input type="search" name="search" value=(printable(&asked.search)) maxlength="100"; }
            label {
                "Stage "
                select name="stage" {
                    option value="" { "any" }
                    @for stage in Stage::ALL {
                        option value=(stage.as_str()) selected[asked.stage == Some(stage)] { (stage.as_str()) }
                    }
                }
            }
            label { input type="checkbox" name="needs" value="1" checked[asked.needs]; " needs somebody" }
            button { "Show" }
        }
        div data-live=(links.live(asked)) { (all_live(migrations, asked, links)) }
        p { a href=(links.first()) { "Refresh" } " · " a href=(links.removals()) { "Removals" } " · " a href=(links.json()) { "As JSON" } }
    };
    document("Migrations", links, &body)
}

/// What of it is renewed while it is looked at.
pub(super) fn all_live(migrations: &[MigrationOverview], asked: &Asked, links: &Links) -> Markup {
    let listed = listed(migrations, asked);
    html! {
        @if migrations.is_empty() { p { "No migration is registered yet: the service registers them when it starts." } }
        @else if listed.found == 0 {
            p { @if asked.search.is_empty() { "No migration is like that." } @else { "No name contains that." } }
        } @else {
            @if listed.in_need == 0 { p class="good" { "Nothing needs anybody." } }
            @else { p class="alert" { (listed.in_need) " of them need somebody: they come first." } }
            (lines(&listed, links)) (pages(&listed, asked, links))
        }
    }
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
        nav aria-label="Pages" {
            (listed.found) " migrations, page " (page) " of " (pages)
            @if page > 1 { " · " a rel="prev" href=(links.page(asked, page - 1)) { "Previous" } }
            @if page < pages { " · " a rel="next" href=(links.page(asked, page + 1)) { "Next" } }
        }
    }
}

/// A page: what it is called, and what stands on it.
pub(super) fn document(title: &str, links: &Links, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (printable(title)) " – dualwrite" }
                style { (maud::PreEscaped(STYLE)) }
                link rel="icon" href=(links.icon());
                script src=(links.script()) defer {}
            }
            body {
                header class="top" { a href=(links.first()) { "All migrations" } }
                main { (body) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::BackfillProgress;
    use crate::control::WorkerProgress;
    use crate::control::commands::{Job, JobKind};
    use crate::control::settings::BackfillSettings;
    use crate::control::tasks::StartedBackfill;
    use crate::moment::from_micros;
    use crate::operator::details::Details;
    use crate::operator::mirror::MirrorOverview;
    use crate::operator::page::access::Caller;
    use crate::operator::page::one::one;
    use crate::preflight::finding::{Finding, FindingLevel};
    use crate::preflight::report::PreflightReport;
    use crate::stages::hazard::{Hazard, HazardKind, Stopped};
    use crate::stages::mirror::{MirrorError, MirrorNote};
    use crate::stages::position::Position;
    use crate::stages::stage::Side;
    use crate::stages::verification::VerifyReport;

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
                until: SystemTime::UNIX_EPOCH,
            }),
            unreadable: Some(evil()),
            exact: None,
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
                    lag: Some(Duration::from_secs(5)),
                    ..BackfillSettings::default()
                },
                elapsed: Duration::from_secs(500),
                worked: Duration::from_secs(5),
                recent_keys: 15,
                recent: Duration::from_secs(1),
                batch: 10,
                workers: vec![WorkerProgress {
                    owner: evil(),
                    after: Some(evil()),
                    last: evil(),
                    done: 5,
                    lease_left: Duration::from_secs(2),
                }],
            }),
            started: vec![StartedBackfill {
                side: Side::Old,
                workers: 2,
                rate: None,
                stop_after_failures: 1_000,
                actor: evil(),
                reason: evil(),
                at: from_micros(1_700_000_000_000_000),
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
                stopped: Some(Stopped { actor: evil(), reason: evil(), at: from_micros(1) }),
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
                at: from_micros(1),
                runner: Some(evil()),
                done: false,
                failed: false,
                answer: Some(evil()),
                waiting: None,
            }],
        }
    }

    fn shown(migration: &MigrationOverview, links: &Links) -> Markup {
        let details = Details {
            overview: migration.clone(),
            position: Position::start(),
            next: None,
            back: None,
            rollout: None,
            traffic: Default::default(),
            instances: Vec::new(),
        };
        one(&details, links, &Caller::operator(EVIL))
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
            "15.0 keys/s in the last minutes of work, 10.0 on average",
            "10 keys",
            "<td>10s</td>",
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
        assert!(STYLE.contains("th{white-space:nowrap"));
        assert!(!STYLE.contains("th,td{overflow-wrap"));
    }

    #[test]
    fn a_backfill_that_does_not_run_has_no_time_left() {
        let mut halted = overview();
        let progress = halted.backfill.as_mut().unwrap();
        progress.workers[0].lease_left = Duration::ZERO;
        let page = shown(&halted, &Links::new("/", "/")).into_string();
        assert!(page.contains("without a worker") && !page.contains("<th>left</th>"), "{page}");
    }
}
