//! A command before it is given, and an error as a page: each with a way back. Pure.

use axum::http::StatusCode;
use maud::{Markup, html};

use crate::operator::execution::CommandOutcome;
use crate::operator::page::fields::Fields;
use crate::operator::page::html::{document, own};
use crate::operator::page::links::Links;
use crate::operator::page::one::tabbed;
use crate::operator::specs::CommandSpec;
use crate::printable::printable;

/// What a command would do, and a button that does it.
pub(super) fn confirm(
    spec: &CommandSpec,
    outcome: &CommandOutcome,
    fields: &Fields,
    links: &Links,
) -> Markup {
    let name = &*outcome.migration;
    let is_way_back = ["rollback", "kill-on"].contains(&spec.name);
    let body = html! {
        h2 { (spec.name) " – nothing is done yet" }
        p { (spec.about) "." }
        div class="card" {
            p { strong { (own(&outcome.text)) } }
            p { "Now: " (own(&outcome.position)) }
            @if !outcome.blockers.is_empty() {
                p class="alert" { "It would be refused: " }
                ul { @for blocker in &outcome.blockers { li { strong { (blocker.gate.as_str()) } ": " (own(&blocker.reason)) } } }
            }
            @if let Some(way_back) = &outcome.way_back { p { "The way back: " (own(way_back)) } }
        }
        form method="post" action=(links.command(name, spec.name)) {
            @for field in spec.fields {
                @if let Some(value) = fields.get(field.name).filter(|value| !value.is_empty()) {
                    @if field.is_text { textarea name=(field.name) hidden { (value) } }
                    @else { input type="hidden" name=(field.name) value=(value); }
                }
            }
            input type="hidden" name="expect-epoch" value=(outcome.epoch);
            @let because = fields.get("because").map_or("", |text| text.as_str());
            @let because = if because.is_empty() && is_way_back { "decided on the page" } else { because };
            label { "because " input name="because" required maxlength="2000" size="50" value=(printable(because)); }
            p class="top-row" {
                button class=[is_way_back.then_some("danger")] { (spec.name) " now" }
                a class="button" href=(links.view(name)) { "Do nothing" }
            }
        }
    };
    tabbed(name, "", links, &body)
}

/// An error, with a way back.
pub(super) fn error(status: StatusCode, text: &str, links: &Links, back: Option<&str>) -> Markup {
    let title = status.canonical_reason().unwrap_or("It failed");
    // Mostly somebody else was quicker, and the page that this came from shows what was before.
    let label = if status == StatusCode::CONFLICT { "Reload the page" } else { "Back" };
    let body = html! {
        h1 { (title) }
        p class="note bad" role="alert" { (own(text)) }
        p {
            @if let Some(back) = back { a class="button" href=(back) { (label) } }
            @else { a class="button" href=(links.first()) { "Back to all migrations" } }
        }
    };
    document(title, links, &body)
}
