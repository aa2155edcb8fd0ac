//! A migration in exact mode: which database is the primary, how far the mirror is behind, and what it does not take. Pure.

use maud::{Markup, html};

use crate::control::exact::{ExactOverview, ExactState, ExactVerification};
use crate::operator::details::Details;
use crate::operator::exact::{COMMANDS, STAGES};
use crate::operator::page::forms::jobs;
use crate::operator::page::html::{moment, own, seconds};
use crate::operator::specs::CommandSpec;
use crate::stages::stage::Stage;

/// Whether a command is one that it has.
pub(super) fn has(spec: &CommandSpec) -> bool {
    COMMANDS.contains(&spec.name)
}

/// What holds after a rollback.
pub(super) fn back_does(to: Stage) -> &'static str {
    match to {
        Stage::DualWrite => {
            "writes wait until the outbox is applied, then the old side answers reads and takes writes again; no write is lost."
        }
        Stage::Live => {
            "writes of the new side are recorded again; give `backfill-start` before the next rollback."
        }
        _ => {
            "writes are recorded no more, and the outbox is thrown away; the old side has all writes."
        }
    }
}

/// What is renewed while it is looked at.
pub(super) fn live(details: &Details, exact: &ExactOverview) -> Markup {
    let migration = &details.overview;
    html! {
        @if let Some(why) = migration.attention() { p class="note bad" { strong { "Needs somebody: " } (why) } }
        ol class="steps" aria-label="Stages" {
            @for stage in STAGES {
                @let class = match stage.cmp(&details.position.stage) {
                    std::cmp::Ordering::Less => "done",
                    std::cmp::Ordering::Equal => "now",
                    std::cmp::Ordering::Greater => "",
                };
                li class=(class) aria-current=[(stage == details.position.stage).then_some("step")] { (stage.as_str()) }
            }
        }
        table class="pairs" {
            tr { th scope="row" { "mode" } td { "exact, between two databases; this page looks into the " (exact.side) " one" } }
            tr { th scope="row" { "position" } td { (own(&migration.position)) } }
            @if let Some(maintenance) = &migration.maintenance {
                tr { th scope="row" { "maintenance" } td class="alert" { (own(&maintenance.to_string())) } }
            }
            @match &exact.state {
                Some(state) => (standing(state))
                None => tr { th scope="row" { "state" } td class="alert" { "No instance has reported yet: start the service." } }
            }
            @if let Some(ago) = exact.reported_ago {
                tr { th scope="row" { "reported" } td { (seconds(ago)) " ago" } }
            }
            @if let Some(found) = &exact.verification { (verification(found)) }
        }
        (next(details))
        @if let Some(state) = &exact.state { (failures(state)) }
        @if !migration.jobs.is_empty() { (jobs(&migration.jobs)) }
    }
}

fn standing(state: &ExactState) -> Markup {
    html! {
        @if let Some(error) = &state.error {
            tr { th scope="row" { "cannot be reached" } td class="alert" { (own(error)) } }
        }
        tr {
            th scope="row" { "primary" }
            td { (state.primary) @if !state.open { ", closed: a hand-over is under way" } }
        }
        tr { th scope="row" { "copied" } td { @if state.copied { "yes" } @else { "not yet, " (state.copied_keys) " keys so far" } } }
        tr { th scope="row" { "outbox" } td { (state.backlog) " records that the mirror has not applied" } }
        tr { th scope="row" { "lag" } td { (format!("{:.1} s", state.lag.as_secs_f64())) } }
        tr {
            th scope="row" { "dead letters" }
            td class=[(!state.failures.is_empty()).then_some("alert")] { (state.failures.len()) }
        }
        tr { th scope="row" { "reported by" } td { (own(&state.instance)) } }
    }
}

fn verification(found: &ExactVerification) -> Markup {
    html! {
        tr {
            th scope="row" { "newest verification" }
            td class=[(found.different > 0 && !found.repaired).then_some("alert")] {
                (moment(found.at)) ": " (found.compared) " keys compared, " (found.different) " differ"
                @if found.repaired { " and were recorded again" }
                ", " (found.behind) " behind"
            }
        }
    }
}

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

/// Keys, and why the mirror does not take their records.
fn failures(state: &ExactState) -> Markup {
    html! {
        @if !state.failures.is_empty() {
            h2 { "Dead letters" }
            div class="wide" tabindex="0" role="region" aria-label="Dead letters" { table {
                thead { tr { th scope="col" { "key" } th scope="col" { "attempts" } th scope="col" { "error" } } }
                tbody {
                    @for failure in &state.failures {
                        tr {
                            th scope="row" { (own(&failure.key)) }
                            td { (failure.attempts) }
                            td { (own(&failure.error)) }
                        }
                    }
                }
            } }
        }
    }
}
