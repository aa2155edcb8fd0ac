//! The pages of a migration beside the first: keys, history, and what the catalogue said. Pure.

use maud::{Markup, html};

use crate::control::dead_letters::DeadLetter;
use crate::control::{AuditEvent, Mismatch};
use crate::operator::page::forms::catalogue;
use crate::operator::page::html::{moment, own};
use crate::operator::page::links::Links;
use crate::operator::page::one::tabbed;
use crate::preflight::report::PreflightReport;
use crate::rollout::command::RolloutCommand;

/// Keys that could not be copied, and samples of mismatches.
pub(super) fn keys(
    name: &str,
    letters: &[DeadLetter],
    mismatches: &[Mismatch],
    links: &Links,
) -> Markup {
    let body = html! {
        h2 { "Dead letters" }
        p class="dim" {
            "Keys that could not be copied, oldest first, at most 200. They are tried again by themselves; the commands "
            "dead-letters-retry and dead-letters-waive are on the overview."
        }
        @if letters.is_empty() { p class="good" { "There is none." } } @else { (dead_letters(letters)) }
        h2 { "Mismatches" }
        p class="dim" { "Samples of what shadow reads found. Values are shown of fields that the service reveals." }
        @if mismatches.is_empty() { p class="good" { "There is none." } } @else { (samples(mismatches)) }
    };
    tabbed(name, "keys", links, &body)
}

fn dead_letters(letters: &[DeadLetter]) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label="Dead letters" {
            table {
                thead { tr {
                    th scope="col" { "key" } th scope="col" { "to" } th scope="col" { "why" } th scope="col" { "tried" }
                    th scope="col" { "failed" } th scope="col" { "next try" } th scope="col" { "waived" }
                } }
                tbody {
                    @for one in letters {
                        tr {
                            th scope="row" { (own(&one.key)) }
                            td { (one.side) }
                            td { (own(&one.error)) }
                            td { (one.attempts) }
                            td { (moment(one.failed_at)) }
                            td { (moment(one.next_attempt_at)) }
                            td { @if let Some(waiver) = &one.waiver { "by " (own(&waiver.actor)) ": " (own(&waiver.reason)) } @else { "no" } }
                        }
                    }
                }
            }
        }
    }
}

fn samples(mismatches: &[Mismatch]) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label="Mismatches" {
            table {
                thead { tr {
                    th scope="col" { "method" } th scope="col" { "field" } th scope="col" { "key" } th scope="col" { "old side" }
                    th scope="col" { "new side" } th scope="col" { "found" }
                } }
                tbody {
                    @for one in mismatches {
                        tr {
                            th scope="row" { (own(&one.method)) }
                            td { (own(&one.field)) }
                            td { (own(one.key.as_deref().unwrap_or("–"))) }
                            td { @if let Some(shown) = &one.old { (own(&shown.to_string())) } @else { "–" } }
                            td { @if let Some(shown) = &one.new { (own(&shown.to_string())) } @else { "–" } }
                            td { (moment(one.at)) }
                        }
                    }
                }
            }
        }
    }
}

/// Who did what, and why.
pub(super) fn history(
    name: &str,
    events: &[AuditEvent],
    orders: &[RolloutCommand],
    links: &Links,
) -> Markup {
    let body = html! {
        h2 { "Changes of the position" }
        @if events.is_empty() { p { "There was none yet." } } @else { (moves(events)) }
        h2 { "Commands that moved nothing" }
        @if orders.is_empty() { p { "There was none yet." } } @else { (commands(orders)) }
    };
    tabbed(name, "history", links, &body)
}

fn moves(events: &[AuditEvent]) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label="Changes of the position" {
            table {
                thead { tr {
                    th scope="col" { "when" } th scope="col" { "epoch" } th scope="col" { "from" } th scope="col" { "to" }
                    th scope="col" { "by" } th scope="col" { "because" } th scope="col" { "overridden" }
                } }
                tbody {
                    @for one in events {
                        tr {
                            th scope="row" { (moment(one.at)) }
                            td { (one.epoch) }
                            td { (one.from_stage) " " (one.from_ramp) }
                            td { (one.to_stage) " " (one.to_ramp) }
                            td { (own(&one.actor)) }
                            td { (own(&one.reason)) }
                            td { (own(&one.overridden.join(", "))) }
                        }
                    }
                }
            }
        }
    }
}

fn commands(orders: &[RolloutCommand]) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label="Commands" {
            table {
                thead { tr {
                    th scope="col" { "when" } th scope="col" { "command" } th scope="col" { "about" } th scope="col" { "by" }
                    th scope="col" { "because" } th scope="col" { "epoch" }
                } }
                tbody {
                    @for one in orders {
                        tr {
                            th scope="row" { (moment(one.at)) }
                            td { (one.kind) }
                            td { @if let Some(about) = one.approval.as_ref().or(one.detail.as_ref()) { (own(about)) } }
                            td { (own(&one.actor)) }
                            td { (own(&one.reason)) }
                            td { (one.epoch) }
                        }
                    }
                }
            }
        }
    }
}

/// What an instance read in the catalogue last.
pub(super) fn read(name: &str, report: Option<&PreflightReport>, links: &Links) -> Markup {
    tabbed(name, "catalogue", links, &catalogue(report))
}
