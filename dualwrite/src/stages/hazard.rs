//! Hazards: what the catalogue says that speaks against writing new alone. Pure.

use std::fmt;
use std::time::SystemTime;

use serde::Serialize;

/// The most bytes of a hazard's name.
pub(crate) const HAZARD_NAME_BYTES_MAX: usize = 200;

/// What speaks against writing new alone.
///
/// ```
/// assert_eq!(dualwrite::preflight::HazardKind::ForeignKey.as_str(), "foreign_key");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HazardKind {
    /// A foreign key of the old table changes or deletes its rows, and no trigger of the library sees that.
    ForeignKey,
    /// A trigger of the application writes the old table inside fenced transactions, unseen.
    Trigger,
    /// A rule of the application does.
    Rule,
    /// Replication writes the old table, unseen.
    Replication,
    /// `INSERT OR REPLACE` may remove rows of the old table, unseen.
    Replace,
    /// Nobody is told when the old table is truncated or its partitions change.
    Truncate,
    /// The library's trigger on the old table is missing or disabled.
    Watch,
    /// A sequence of the new table would give out a number that is taken.
    Sequence,
}

impl HazardKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::ForeignKey,
        Self::Trigger,
        Self::Rule,
        Self::Replication,
        Self::Replace,
        Self::Truncate,
        Self::Watch,
        Self::Sequence,
    ];

    /// The name in the control tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForeignKey => "foreign_key",
            Self::Trigger => "trigger",
            Self::Rule => "rule",
            Self::Replication => "replication",
            Self::Replace => "replace",
            Self::Truncate => "truncate",
            Self::Watch => "watch",
            Self::Sequence => "sequence",
        }
    }

    /// A name that a newer release wrote counts as a writer.
    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or(Self::Trigger)
    }

    /// Whether it is a writer of the old table, which somebody can stop.
    #[must_use]
    pub const fn is_writer(self) -> bool {
        !matches!(self, Self::Watch | Self::Sequence)
    }
}

impl HazardKind {
    /// Whether rows of old may change unseen while it lasts.
    fn is_blind(self) -> bool {
        self.is_writer() || self == Self::Watch
    }
}

impl fmt::Display for HazardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something in the catalogue that speaks against writing new alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Hazard {
    /// What it is.
    pub kind: HazardKind,
    /// The name of the foreign key, trigger or sequence, with its table: by this name it is
    /// [recorded as stopped](crate::Migration::writer_stopped).
    pub name: String,
    /// Why it matters, and what to do.
    pub detail: String,
    /// The statement that repairs it, where there is one.
    pub repair: Option<String>,
    /// Who recorded that it is stopped.
    pub stopped: Option<Stopped>,
}

/// Somebody's word that a writer is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stopped {
    /// Who.
    pub actor: String,
    /// Why it no longer writes.
    pub reason: String,
    /// When, by the database's clock.
    #[serde(rename = "at_us", with = "crate::moment::as_micros")]
    pub at: SystemTime,
}

impl Hazard {
    pub(crate) fn new(kind: HazardKind, name: &str, detail: impl Into<String>) -> Self {
        let mut name = name.to_owned();
        while name.len() > HAZARD_NAME_BYTES_MAX {
            name.pop();
        }
        Self { kind, name, detail: detail.into(), repair: None, stopped: None }
    }
}

/// What a look at the catalogue found.
#[derive(Clone, Debug, Default)]
#[doc(hidden)]
pub struct HazardScan {
    pub(crate) hazards: Vec<Hazard>,
    /// What changes when the old table is truncated, rebuilt, or loses a partition; `None` where the database
    /// does not tell.
    pub(crate) shape: Option<String>,
    /// What is good to know: the name of the check, what was found, and what to do.
    pub(crate) notes: Vec<(&'static str, String, &'static str)>,
}

/// A trigger of the application on the old table itself.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) fn own_trigger(name: &str) -> (&'static str, String, &'static str) {
    let why = format!(
        "trigger {name} fires for every write to it; what it changes or writes elsewhere happens for the \
         old side alone, and no longer once the new side alone is written"
    );
    ("own_trigger", why, "give the new table the same trigger, or do the same in the service")
}

/// What came of a look at the catalogue: the hazards that are new or others, and those that have gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) store: Vec<Hazard>,
    pub(crate) gone: Vec<String>,
    /// A writer has gone that nobody recorded as stopped, or a trigger of the library is there again: what was written
    /// meanwhile is not verified.
    pub(crate) withdraws: bool,
}

/// Compares what is stored with what was found.
pub(crate) fn changes(known: &[Hazard], found: &[Hazard]) -> Changes {
    let same = |one: &Hazard, other: &Hazard| {
        (one.kind, &one.name, &one.detail, &one.repair)
            == (other.kind, &other.name, &other.detail, &other.repair)
    };
    let store = found.iter().filter(|hazard| !known.iter().any(|one| same(one, hazard)));
    let gone: Vec<&Hazard> =
        known.iter().filter(|one| !found.iter().any(|hazard| hazard.name == one.name)).collect();
    Changes {
        store: store.cloned().collect(),
        withdraws: gone.iter().any(|one| one.kind.is_blind() && one.stopped.is_none()),
        gone: gone.into_iter().map(|one| one.name.clone()).collect(),
    }
}

/// Whether a text names this table, as a word of its own.
pub(crate) fn mentions(text: &str, table: &str) -> bool {
    let (text, table) = (text.to_lowercase(), table.to_lowercase());
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(&table).any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_mentioned_as_a_whole_word() {
        assert!(mentions("UPDATE Old_Note SET word = ''", "old_note"));
        assert!(mentions("update \"main\".\"old_note\" set", "old_note"));
        assert!(mentions("old_note", "old_note"));
        for text in ["UPDATE old_notes SET", "an_old_note", "old_note_2", "", "old$note"] {
            assert!(!mentions(text, "old_note"), "{text}");
        }
    }

    #[test]
    fn a_writer_that_goes_unstopped_withdraws_the_proof() {
        let writer = Hazard::new(HazardKind::ForeignKey, "a", "x");
        let sequence = Hazard::new(HazardKind::Sequence, "s", "x");
        let stopped =
            Stopped { actor: "ada".into(), reason: "x".into(), at: SystemTime::UNIX_EPOCH };
        let stopped = Hazard { stopped: Some(stopped), ..writer.clone() };
        let gone = |known: &Hazard| changes(std::slice::from_ref(known), &[]);
        assert!(gone(&writer).withdraws);
        assert!(!gone(&stopped).withdraws && !gone(&sequence).withdraws);
        assert!(gone(&Hazard::new(HazardKind::Watch, "t", "x")).withdraws);
        assert_eq!(gone(&writer).gone, ["a"]);
        let same = changes(std::slice::from_ref(&stopped), std::slice::from_ref(&writer));
        assert_eq!(same, Changes::default(), "the record stays");
        let other = Hazard { detail: "y".into(), ..writer.clone() };
        assert_eq!(changes(&[writer], std::slice::from_ref(&other)).store, [other]);
    }

    #[test]
    fn every_kind_is_read_back_by_its_name() {
        for kind in HazardKind::ALL {
            assert_eq!(HazardKind::named(kind.as_str()), kind);
        }
        assert!(HazardKind::named("of a newer release").is_writer());
    }

    #[test]
    fn a_long_name_is_cut_to_what_the_control_tables_hold() {
        let name = |bytes: usize| Hazard::new(HazardKind::Rule, &"x".repeat(bytes), "y").name.len();
        let most = HAZARD_NAME_BYTES_MAX;
        assert_eq!([1, most, most + 1, 3 * most].map(name), [1, most, most, most]);
        let wide = Hazard::new(HazardKind::Rule, &"é".repeat(most), "y");
        assert_eq!(wide.name, "é".repeat(most / 2), "between two letters");
    }

    #[test]
    fn a_hazard_is_shown_by_the_name_that_is_stored() {
        for kind in HazardKind::ALL {
            assert_eq!(kind.to_string(), kind.as_str());
        }
        let writers = HazardKind::ALL.into_iter().filter(|kind| kind.is_writer()).count();
        assert_eq!(writers, 6);
    }

    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    #[test]
    fn a_trigger_on_the_old_table_is_named_with_what_to_do() {
        let (check, why, action) = own_trigger("touch");
        assert_eq!(check, "own_trigger");
        assert!(why.starts_with("trigger touch fires for every write to it"), "{why}");
        assert!(action.contains("the same trigger"), "{action}");
    }

    #[test]
    fn a_hazard_whose_words_or_repair_changed_is_stored_again() {
        let known = Hazard::new(HazardKind::Watch, "t", "x");
        let repaired = Hazard { repair: Some("ENABLE".into()), ..known.clone() };
        let renamed = Hazard { name: "u".into(), ..known.clone() };
        let kind = Hazard { kind: HazardKind::Rule, ..known.clone() };
        for other in [&repaired, &renamed, &kind] {
            let found = changes(std::slice::from_ref(&known), std::slice::from_ref(other));
            assert_eq!(found.store, std::slice::from_ref(other));
            assert_eq!(found.gone.is_empty(), other.name == known.name);
        }
    }
}
