//! What the page shows of the catalogue and of jobs, and the forms of commands. Pure.

use maud::{Markup, html};

use crate::control::commands::Job;
use crate::operator::MigrationOverview;

use crate::operator::page::html::{moment, own};
use crate::operator::page::links::Links;
use crate::operator::specs::{CommandField, CommandSpec};
use crate::preflight::report::PreflightReport;
use crate::printable::printable;
use crate::stages::hazard::{Hazard, HazardKind};

/// A command, closed until it is looked for: what it does, why, then the button.
pub(super) fn command(spec: &CommandSpec, migration: &MigrationOverview, links: &Links) -> Markup {
    html! {
        details {
            summary { (spec.name) }
            p { (spec.about) "." }
            @let upload = spec.fields.iter().any(|field| field.is_text).then_some("multipart/form-data");
            form method="post" action=(links.command(&migration.name, spec.name)) enctype=[upload] {
                @for field in spec.fields {
                    @if field.is_text { (text(field)) } @else { label {
                        @if field.is_flag { input type="checkbox" name=(field.name) value="true"; " " (field.about) }
                        @else { (field.name) " (" (field.about) ") " input name=(field.name) required[field.required]; }
                    } }
                }
                (why(migration))
                @if is_weighty(spec.name) {
                    // It leads to a page that says what would happen, with the button that does it.
                    input type="hidden" name="dry-run" value="true";
                    button { (spec.name) "…" }
                } @else {
                    label { input type="checkbox" name="dry-run" value="true"; " first say what would happen" }
                    button { (spec.name) }
                }
            }
        }
    }
}

/// Commands that change which side is used, refuse callers, end work, or throw something away. They are confirmed on a
/// page of their own.
const WEIGHTY: [&str; 18] = [
    "rollback",
    "kill-on",
    "kill-off",
    "close",
    "advance",
    "step-back",
    "ramp",
    "rollout-start",
    "rollout-abort",
    "rollout-skip-soak",
    "backfill-cancel",
    "verify-cancel",
    "dead-letters-waive",
    "mismatches-forget",
    "writer-stopped",
    "advance-sequences",
    "trigger-remove",
    "repair",
];

fn is_weighty(name: &str) -> bool {
    WEIGHTY.contains(&name)
}

/// A text of several lines, to be written or sent as a file.
fn text(field: &CommandField) -> Markup {
    html! {
        label { (field.name) " (" (field.about) ") " textarea name=(field.name) rows="8" cols="60" {} }
        label { "or a file " input type="file" name=(field.name); }
    }
}

/// Jobs of instances, and what they came to.
pub(super) fn jobs(jobs: &[Job]) -> Markup {
    html! {
        h2 { "Jobs" }
        div class="wide" tabindex="0" role="region" aria-label="Jobs" { table {
            thead { tr { th scope="col" { "job" } th scope="col" { "state" } th scope="col" { "by" } th scope="col" { "at" } th scope="col" { "answer" } } }
            tbody {
                @for job in jobs {
                    tr {
                        th scope="row" { (job.kind) }
                        td { (job.state()) }
                        td { (own(&job.actor)) }
                        td { (moment(job.at)) }
                        td { @if let Some(said) = job.answer.as_ref().or(job.waiting.as_ref()) { (own(said)) } }
                    }
                }
            }
        } }
    }
}

/// What an instance read in the catalogue last.
pub(super) fn catalogue(report: Option<&PreflightReport>) -> Markup {
    html! {
        h2 { "Preflight" }
        @match report {
            None => p { "No instance with a copy function has read the catalogue yet." }
            Some(report) => {
                p {
                    "Read by " (own(&report.instance)) " at " (moment(report.at)) "."
                    @if !report.complete { " A table was not there yet." }
                    @if report.left_out > 0 { " " (report.left_out) " findings are left out." }
                }
                @if report.findings.is_empty() { p { "Nothing was found." } } @else { (findings(report)) }
            }
        }
    }
}

fn findings(report: &PreflightReport) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label="Findings" {
            table {
                thead { tr { th scope="col" { "level" } th scope="col" { "check" } th scope="col" { "where" } th scope="col" { "why" } th scope="col" { "what to do" } } }
                tbody {
                    @for one in &report.findings {
                        tr {
                            th scope="row" { (one.level) }
                            td { (own(&one.check)) }
                            td {
                                (one.side) ": " (own(&one.table))
                                @if let Some(column) = &one.column { "." (own(column)) }
                            }
                            td { (own(&one.why)) }
                            td { (own(&one.action)) }
                        }
                    }
                }
            }
        }
    }
}

/// Writers that no trigger sees, and sequences that are behind.
pub(super) fn hazards(hazards: &[Hazard]) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label="Unseen writers and sequences" {
            table {
                thead { tr { th scope="col" { "name" } th scope="col" { "kind" } th scope="col" { "why" } th scope="col" { "stopped" } } }
                tbody {
                    @for one in hazards {
                        tr {
                            th scope="row" { (own(&one.name)) }
                            td { (one.kind) }
                            td { (own(&one.detail)) }
                            td {
                                @if let Some(stopped) = &one.stopped {
                                    "by " (own(&stopped.actor)) " at " (moment(stopped.at)) ": "
                                    (own(&stopped.reason))
                                } @else { "no" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The forms for what the catalogue found.
pub(super) fn repairs(migration: &MigrationOverview, links: &Links) -> Markup {
    let open = migration.hazards.iter().filter(|one| one.stopped.is_none());
    let (writers, others): (Vec<&Hazard>, Vec<&Hazard>) =
        open.partition(|one| one.kind.is_writer());
    let name = &*migration.name;
    html! {
        @if !writers.is_empty() {
            h2 { "Record a writer as stopped" }
            p { "It withdraws the proof: run a verification of all keys afterwards." }
            form method="post" action=(links.command(name, "writer-stopped")) {
                label {
                    "writer "
                    select name="writer" required {
                        @for one in &writers { option value=(one.name) { (printable(&one.name)) } }
                    }
                }
                (why(migration))
                button { "Record it as stopped" }
            }
        }
        @if others.iter().any(|one| one.kind == HazardKind::Sequence) {
            h2 { "Sequences of the new table" }
            p { "Sets each that is behind beyond every number that is taken in the old and the new table." }
            form method="post" action=(links.command(name, "advance-sequences")) {
                (why(migration))
                button { "Advance the sequences" }
            }
        }
    }
}

/// Why, and the position that was looked at.
fn why(migration: &MigrationOverview) -> Markup {
    html! {
        input type="hidden" name="expect-epoch" value=(migration.epoch);
        label { "because " input name="because" required maxlength="2000" size="50"; }
    }
}
