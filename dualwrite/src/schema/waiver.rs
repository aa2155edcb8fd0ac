//! Waivers: a comment in the script that allows what a rule refuses, with its reason.

/// `-- dualwrite: allow RULE because REASON`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waived {
    /// `None` where it gives none: it then waives nothing.
    pub(super) reason: Option<String>,
}

impl Waived {
    /// The waiver of a rule among the comments of a statement.
    pub(super) fn find(comments: &[String], rule: &str) -> Option<Self> {
        comments.iter().flat_map(|comment| comment.lines()).find_map(|line| Self::read(line, rule))
    }

    fn read(line: &str, rule: &str) -> Option<Self> {
        let text = line.trim().trim_start_matches(['-', '#', '/', '*', ' ']).trim_end_matches("*/");
        let allowed = text.strip_prefix("dualwrite:")?.trim().strip_prefix("allow ")?.trim();
        let (rules, reason) = match allowed.split_once(" because ") {
            Some((rules, reason)) => (rules, Some(reason.trim())),
            None => (allowed.trim_end_matches(" because"), None),
        };
        if !rules.split(',').any(|named| named.trim() == rule) {
            return None;
        }
        // A sign or a dash is no reason.
        let reason = reason.filter(|reason| reason.chars().any(char::is_alphanumeric));
        Some(Self { reason: reason.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(comment: &str) -> Option<Option<String>> {
        Waived::find(&[comment.to_owned()], "drop-table").map(|waiver| waiver.reason)
    }

    #[test]
    fn a_waiver_names_the_rule_and_a_reason() {
        let reason = Some(Some("nobody reads it since May".to_owned()));
        assert_eq!(
            find("-- dualwrite: allow drop-table because nobody reads it since May"),
            reason
        );
        assert_eq!(
            find("/* dualwrite: allow a, drop-table because nobody reads it since May */")
                .map(|reason| reason.map(|reason| reason.trim().to_owned())),
            reason
        );
        assert_eq!(find("-- dualwrite: allow drop-table"), Some(None));
        assert_eq!(find("-- dualwrite: allow drop-table because -"), Some(None));
        assert_eq!(find("-- dualwrite: allow drop-column because x"), None);
        assert_eq!(find("-- a note on dualwrite"), None);
    }
}
