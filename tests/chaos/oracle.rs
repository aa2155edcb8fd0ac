//! What must be true, decided from what plain SQL found and what the clients logged. Pure, and ignorant of the
//! library: it knows the stages' table of the README alone.

mod reads;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dualwrite::{Side, Stage};

pub(crate) use self::reads::reads;
use crate::log::{Event, Line};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) version: i64,
    pub(crate) word: String,
    pub(crate) n: i64,
}

pub(crate) type Table = BTreeMap<i64, Row>;

/// A row of the ledger: what was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) op: String,
    pub(crate) migration: String,
    pub(crate) key: i64,
    /// 0 for one more of a counter.
    pub(crate) version: i64,
    /// `None` for a delete.
    pub(crate) word: Option<String>,
}

/// What is in the database of one migration.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) migration: String,
    pub(crate) stage: Stage,
    pub(crate) ramp: i64,
    pub(crate) lazy: bool,
    /// No write ever went to old alone since new is written.
    pub(crate) first_generation: bool,
    /// The backfill of this generation is complete.
    pub(crate) copied: bool,
    /// No write went to new alone since the last reverse copy.
    pub(crate) old_is_whole: bool,
    /// The side and the key of each mark.
    pub(crate) marks: Vec<(Side, String)>,
    pub(crate) old: Table,
    pub(crate) new: Table,
    /// The last version of each key.
    pub(crate) drawn: BTreeMap<i64, i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) text: String,
    /// Whose history shows it.
    pub(crate) at: Option<(String, i64)>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((migration, key)) = &self.at {
            write!(f, "{migration}, key {key}: ")?;
        }
        f.write_str(&self.text)
    }
}

pub(crate) fn of_key(migration: &str, key: i64, text: String) -> Violation {
    Violation { text, at: Some((migration.to_owned(), key)) }
}

/// Every write was applied whole or not at all, and every acknowledged one was.
pub(crate) fn writes(history: &[Line], applied: &[Applied]) -> Vec<Violation> {
    let mut entered: BTreeMap<&str, usize> = BTreeMap::new();
    for row in applied {
        *entered.entry(&row.op).or_default() += 1;
    }
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    let mut violations = Vec::new();
    for line in history {
        match &line.event {
            Event::Write { op, keys: count } => _ = keys.insert(op, *count),
            Event::Acknowledged { op } if !entered.contains_key(op.as_str()) => {
                let text = format!("write {op} was acknowledged, and was not committed");
                violations.push(Violation { text, at: drawn_by(history, op) });
            }
            _ => {}
        }
    }
    for (op, count) in entered {
        if keys.get(op) != Some(&count) {
            let text =
                format!("of write {op}, {count} keys are in the ledger, not {:?}", keys.get(op));
            violations.push(Violation { text, at: drawn_by(history, op) });
        }
    }
    violations
}

fn drawn_by(history: &[Line], wanted: &str) -> Option<(String, i64)> {
    history.iter().find_map(|line| match &line.event {
        Event::Drawn { op, migration, key, .. } if op == wanted => Some((migration.clone(), *key)),
        _ => None,
    })
}

/// The versions of each key that were committed are 1, 2, 3, …: one that is missing was lost together with its
/// ledger, and one that is there twice was drawn by two writers at a time.
pub(crate) fn versions(found: &Found, applied: &[Applied]) -> Vec<Violation> {
    let mut versions: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for row in applied.iter().filter(|row| row.migration == found.migration && row.version > 0) {
        versions.entry(row.key).or_default().push(row.version);
    }
    let mut violations = Vec::new();
    for (key, last) in &found.drawn {
        let mut versions = versions.remove(key).unwrap_or_default();
        versions.sort_unstable();
        if !versions.iter().copied().eq(1..=*last) {
            let text = format!("its version is {last}; in the ledger are {versions:?}");
            violations.push(of_key(&found.migration, *key, text));
        }
    }
    violations
}

/// What the table of a side must hold, once all is written to it.
pub(crate) fn truth(migration: &str, first: &Table, applied: &[Applied]) -> Table {
    let mut rows: BTreeMap<i64, Vec<&Applied>> = BTreeMap::new();
    for row in applied.iter().filter(|row| row.migration == migration) {
        rows.entry(row.key).or_default().push(row);
    }
    let mut truth = first.clone();
    for (key, rows) in rows {
        let last = rows.iter().max_by_key(|row| row.version).filter(|row| row.version > 0);
        match last {
            Some(Applied { version, word: Some(word), .. }) => {
                truth.insert(key, Row { version: *version, word: word.clone(), n: 0 });
            }
            Some(_) => _ = truth.remove(&key),
            None => {
                let counted = truth.get_mut(&key).expect("a counter is there from the beginning");
                counted.n = rows.len() as i64;
            }
        }
    }
    truth
}

/// What a side is to hold at this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Whole,
    /// A row is as it is in truth, or is not there yet.
    AsFar,
    Anything,
}

fn expected(found: &Found) -> [Expected; 2] {
    use Expected::{Anything, AsFar, Whole};
    let whole = |is_so| if is_so { Whole } else { Anything };
    // Where nothing was ever written to old alone, new can only lack what was not copied yet.
    let new = match (found.copied, found.first_generation) {
        (true, _) => Whole,
        (false, true) => AsFar,
        (false, false) => Anything,
    };
    match found.stage {
        Stage::Off => [Whole, if found.ramp > 0 { new } else { Anything }],
        Stage::DualWrite | Stage::Shadow => [Whole, new],
        Stage::Live => [whole(found.old_is_whole), new],
        Stage::RampDown if found.ramp == 0 => [whole(found.old_is_whole), Whole],
        _ => [Anything, Whole],
    }
}

/// Each side holds what the stage promises.
pub(crate) fn sides(found: &Found, truth: &Table) -> Vec<Violation> {
    let [old, new] = expected(found);
    let at = |side| format!("{side} at {} of {}", found.stage, found.ramp);
    let mut violations = side(found, truth, &found.old, old, &at("old"));
    // A ramp of `Off` leaves keys that are not written to both.
    let new = if found.stage == Stage::Off { Expected::Anything } else { new };
    violations.extend(side(found, truth, &found.new, new, &at("new")));
    if found.stage == Stage::Live && !found.copied && !found.lazy {
        let text = format!("{}: new answers, and was never copied to", found.migration);
        violations.push(Violation { text, at: None });
    }
    let marks = left(found);
    if !marks.is_empty() {
        let text = format!("{}: marks that no repair removes: {marks:?}", found.migration);
        violations.push(Violation { text, at: None });
    }
    violations
}

/// The marks that a repair is to remove. Nothing is copied to a side that is not written.
pub(crate) fn left(found: &Found) -> Vec<&(Side, String)> {
    let is_written = |side| match side {
        Side::New => found.stage != Stage::Off,
        Side::Old => found.stage != Stage::Complete && found.old_is_whole,
    };
    found.marks.iter().filter(|(side, _)| is_written(*side)).collect()
}

/// Both sides hold the truth, and no mark is left.
pub(crate) fn both(found: &Found, truth: &Table) -> Vec<Violation> {
    let marked = |(side, key): &(Side, String)| Violation {
        text: format!(
            "{}: key {key} is still marked for {side}, after all is copied",
            found.migration
        ),
        at: None,
    };
    let mut violations: Vec<Violation> = found.marks.iter().map(marked).collect();
    violations.extend(whole(found, truth));
    violations
}

fn whole(found: &Found, truth: &Table) -> Vec<Violation> {
    let mut violations =
        side(found, truth, &found.old, Expected::Whole, "old, after all is copied");
    violations.extend(side(found, truth, &found.new, Expected::Whole, "new, after all is copied"));
    violations
}

fn side(
    found: &Found,
    truth: &Table,
    table: &Table,
    expected: Expected,
    name: &str,
) -> Vec<Violation> {
    let keys: BTreeSet<i64> = truth.keys().chain(table.keys()).copied().collect();
    let wrong = keys.into_iter().filter_map(|key| {
        let (is, shall) = (table.get(&key), truth.get(&key));
        let right = match expected {
            Expected::Whole => is == shall,
            Expected::AsFar => is.is_none() || is == shall,
            Expected::Anything => true,
        };
        (!right).then(|| {
            let text = format!("{name} holds {is:?}, and what was committed last is {shall:?}");
            of_key(&found.migration, key, text)
        })
    });
    wrong.collect()
}
