//! What a preflight found, as the control tables keep it for whoever cannot read the catalogue. Pure.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::preflight::finding::{Finding, FindingLevel, Preflight};

/// The most findings that are kept.
const FINDINGS_MAX: usize = 200;
/// The most characters of a text within a finding.
const TEXT_CHARS_MAX: usize = 1_000;
/// The most bytes of all of them, as the column of every database takes them.
const BYTES_MAX: usize = 60_000;

/// The findings of the newest [preflight](crate::Migration::preflight), with who read the catalogue and when. It holds
/// names of tables, columns and constraints, never values of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PreflightReport {
    /// What was found, the weightiest first.
    pub findings: Vec<Finding>,
    /// Whether both tables were there to be read.
    pub complete: bool,
    /// Findings that there was no room for.
    pub left_out: u64,
    /// The instance that read the catalogue.
    pub instance: String,
    /// When, by the database's clock.
    #[serde(rename = "at_us", with = "crate::moment::as_micros")]
    pub at: SystemTime,
}

impl Default for PreflightReport {
    fn default() -> Self {
        Self {
            findings: Vec::new(),
            complete: false,
            left_out: 0,
            instance: String::new(),
            at: SystemTime::UNIX_EPOCH,
        }
    }
}

impl PreflightReport {
    /// What keeps the migration from going forward.
    pub fn refusals(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|one| one.level == FindingLevel::Refuse)
    }
}

/// The part of a [`PreflightReport`] that is one text.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) findings: Vec<Finding>,
    pub(crate) complete: bool,
    pub(crate) left_out: u64,
}

impl Kept {
    /// As much of it as there is room for: the weightiest findings come first, so they stay.
    pub(crate) fn of(found: &Preflight) -> Self {
        let findings: Vec<Finding> = found.findings.iter().take(FINDINGS_MAX).map(short).collect();
        let left_out = found.findings.len().saturating_sub(findings.len());
        let left_out = u64::try_from(left_out).unwrap_or(u64::MAX);
        let mut kept = Self { findings, complete: found.complete, left_out };
        while kept.to_text().len() > BYTES_MAX && kept.findings.pop().is_some() {
            kept.left_out += 1;
        }
        kept
    }

    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// `None` where another release wrote what this one does not understand.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The report of this instance.
    pub(crate) fn by(self, instance: &str, at: SystemTime) -> PreflightReport {
        let Self { findings, complete, left_out } = self;
        PreflightReport { findings, complete, left_out, instance: instance.to_owned(), at }
    }
}

fn short(finding: &Finding) -> Finding {
    let text = |text: &str| text.chars().take(TEXT_CHARS_MAX).collect::<String>();
    Finding {
        check: text(&finding.check),
        level: finding.level,
        side: finding.side,
        table: text(&finding.table),
        column: finding.column.as_deref().map(text),
        why: text(&finding.why),
        action: text(&finding.action),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::stage::Side;

    fn finding(level: FindingLevel, why: String) -> Finding {
        Finding::new("key_type", level, (Side::Old, "t", None), why, "change it")
    }

    #[test]
    fn a_kept_report_is_read_back_whole() {
        let found = Preflight::new(vec![finding(FindingLevel::Warn, "odd".to_owned())], true);
        let kept = Kept::of(&found);
        assert_eq!(kept.findings, found.findings);
        assert_eq!(Kept::of_text(&kept.to_text()), Some(kept));
        assert_eq!(Kept::of_text("{\"sideways\": 1}"), None);
    }

    #[test]
    fn what_is_too_long_is_cut_and_the_weightiest_stay() {
        let mut all = vec![finding(FindingLevel::Note, "x".repeat(5_000)); 900];
        all.push(finding(FindingLevel::Refuse, "\u{1F4A3}".repeat(5_000)));
        let kept = Kept::of(&Preflight::new(all, true));
        assert!(kept.to_text().len() <= BYTES_MAX);
        assert_eq!(kept.findings[0].level, FindingLevel::Refuse);
        assert_eq!(kept.findings[0].why.chars().count(), TEXT_CHARS_MAX);
        assert_eq!(kept.findings.len() as u64 + kept.left_out, 901);
    }
}
