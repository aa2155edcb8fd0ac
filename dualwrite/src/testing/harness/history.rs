//! What a test has done so far, for the report of a bug.

use crate::stages::stage::Stage;

/// How many operations a report shows.
const SHOWN_MAX: usize = 20;

struct Done<K> {
    stage: Stage,
    /// `None` for what concerns all keys.
    key: Option<K>,
    text: String,
}

pub(super) struct History<K>(Vec<Done<K>>);

impl<K: PartialEq> History<K> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn note(&mut self, stage: Stage, key: Option<K>, text: String) {
        self.0.push(Done { stage, key, text });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The last ones that concern a key, or any.
    pub(super) fn about(&self, key: Option<&K>) -> Vec<String> {
        let concerns =
            |done: &Done<K>| key.is_none() || done.key.is_none() || done.key.as_ref() == key;
        let numbered = self.0.iter().enumerate().filter(|(_, done)| concerns(done));
        let lines: Vec<String> = numbered
            .map(|(at, done)| {
                format!("{:>3}. {:<10} {}", at + 1, done.stage.to_string(), done.text)
            })
            .collect();
        lines[lines.len().saturating_sub(SHOWN_MAX)..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_what_concerns_the_key() {
        let mut history = History::new();
        history.note(Stage::Off, Some(1), "write(1)".to_owned());
        history.note(Stage::Off, Some(2), "write(2)".to_owned());
        history.note(Stage::DualWrite, None, "backfill".to_owned());
        let shown = history.about(Some(&2));
        assert_eq!(shown, ["  2. off        write(2)", "  3. dual_write backfill"]);
        assert_eq!(history.about(None).len(), 3);
    }
}
