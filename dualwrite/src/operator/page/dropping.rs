//! What may be dropped, on the page: the contract of a migration, and removals. Pure.

use std::time::Duration;

use maud::{Markup, html};

use crate::operator::contract::ContractOverview;
use crate::operator::page::html::{document, own, seconds};
use crate::operator::page::links::Links;
use crate::operator::page::one::tabbed;
use crate::operator::removal::RemovalOverview;
use crate::removal::phase::RemovalPhase;

/// The contract of a migration.
pub(super) fn contract(found: &ContractOverview, links: &Links, operates: bool) -> Markup {
    let name = &*found.migration;
    let body = html! {
        h2 { "May the old side be dropped?" }
        @if found.ended { p class="good" { "It was dropped." } }
        @else if found.may_drop { p class="good" { "Yes: all evidence is there." } }
        @else { p class="alert" { "No." } }
        @if !found.missing.is_empty() && !found.ended {
            (pieces("Missing", found.missing.iter().map(|one| (one.kind.as_str(), &*one.reason))))
        }
        @if !found.evidence.is_empty() {
            (pieces("Found", found.evidence.iter().map(|one| (one.kind.as_str(), &*one.found))))
        }
        @if !found.statements.is_empty() {
            h2 { "What would be run" }
            ol { @for statement in &found.statements { li { code { (own(statement)) } } } }
            p class="dim" {
                "The command runs them, under a lock timeout: dualwrite contract run " (own(name)) " --by WHO --because WHY"
            }
        }
        @if operates && !found.ended && !found.statements.is_empty() {
            (said(&links.contract(name, "approve"), "Give the approval", false))
            (said(&links.contract(name, "backup"), "Confirm a backup that was restored", true))
        }
        p { a href=(links.contract_json(name)) { "As JSON" } }
    };
    tabbed(name, "contract", links, &body)
}

fn pieces<'a>(title: &str, found: impl Iterator<Item = (&'a str, &'a str)>) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label=(title) {
            table {
                thead { tr { th scope="col" { "evidence" } th scope="col" { (title.to_lowercase()) } } }
                tbody { @for (kind, text) in found { tr { th scope="row" { (kind) } td { (own(text)) } } } }
            }
        }
    }
}

/// Something that somebody says, with the reason.
fn said(action: &str, title: &str, output: bool) -> Markup {
    html! {
        details {
            summary { (title) }
            form method="post" action=(action) {
                label { "because " input name="because" required maxlength="2000"; }
                @if output { label { "what the command printed " textarea name="output" rows="4" cols="60" {} } }
                button { (title) }
            }
        }
    }
}

/// All removals.
pub(super) fn removals(names: &[String], links: &Links) -> Markup {
    let body = html! {
        h1 { "Removals" }
        p class="dim" { "Tables and columns that nothing takes the place of, dropped in phases." }
        @if names.is_empty() { p { "No release has declared one." } }
        ul { @for name in names { li { a href=(links.removal(name)) { (own(name)) } } } }
        p { a href=(links.removals_json()) { "As JSON" } }
    };
    document("Removals", links, &body)
}

/// One removal.
pub(super) fn removal(found: &RemovalOverview, links: &Links, operates: bool) -> Markup {
    let report = &found.report;
    let name = &*report.name;
    let body = html! {
        h1 { (own(name)) }
        p { "Removes " (own(&report.objects.join(", "))) "." }
        p {
            "It stands at " strong { (report.phase) } " since " (seconds(Duration::from_secs(report.phase_s))) "."
            @if let Some(next) = report.next { " The next phase is " (next) "." }
        }
        @if found.may_go_on { p class="good" { "Nothing stands against that." } }
        @if !report.missing.is_empty() {
            h2 { "What stands against it" }
            ul { @for one in &report.missing { li class="alert" { (own(one)) } } }
        }
        @if !report.uses.is_empty() {
            h2 { "Who used it although that was to stop" }
            ul { @for one in &report.uses { li { (own(&one.to_string())) } } }
        }
        @if !report.notes.is_empty() { ul { @for one in &report.notes { li class="dim" { (own(one)) } } } }
        @if let Some(step) = report.next.and_then(command) {
            p class="dim" {
                "The command takes it on, under a lock timeout: dualwrite removal " (step) " " (own(name))
                " --by WHO --because WHY"
            }
        }
        @if operates && report.phase < RemovalPhase::Dropped {
            (said(&links.removal_backup(name), "Confirm a backup that was restored", true))
        }
        p { a href=(links.removals()) { "All removals" } " · " a href=(links.removal_json(name)) { "As JSON" } }
    };
    document(name, links, &body)
}

/// The command that begins a phase.
fn command(phase: RemovalPhase) -> Option<&'static str> {
    match phase {
        RemovalPhase::InUse => None,
        RemovalPhase::WritesStopped => Some("stop-writes"),
        RemovalPhase::ReadsStopped => Some("stop-reads"),
        RemovalPhase::Renamed => Some("rename"),
        RemovalPhase::Dropped => Some("drop"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::decide::{EvidenceKind, MissingEvidence};
    use crate::removal::report::{RemovalReport, RemovalUse};

    const EVIL: &str = "<script>alert(1)</script>";

    #[test]
    fn what_others_wrote_is_escaped() {
        let links = Links::new("/view/a/contract", "/view/a/contract");
        let contract = contract(
            &ContractOverview {
                migration: EVIL.into(),
                may_drop: false,
                ended: false,
                missing: vec![MissingEvidence { kind: EvidenceKind::Reads, reason: EVIL.into() }],
                evidence: Vec::new(),
                statements: vec![EVIL.into()],
            },
            &links,
            true,
        );
        let report = RemovalReport {
            name: EVIL.into(),
            objects: vec![EVIL.into()],
            phase: RemovalPhase::ReadsStopped,
            phase_s: 3600,
            next: Some(RemovalPhase::Renamed),
            missing: vec![EVIL.into()],
            uses: vec![RemovalUse { kind: "write".into(), who: EVIL.into(), ago_s: 60 }],
            notes: vec![EVIL.into()],
        };
        let overview = RemovalOverview { may_go_on: false, may_drop: false, report };
        for page in [contract, removal(&overview, &links, true), removals(&[EVIL.into()], &links)] {
            let page = page.into_string();
            assert!(!page.contains("<script>a"), "{page}");
            assert!(page.contains("&lt;script&gt;"), "{page}");
        }
    }
}
