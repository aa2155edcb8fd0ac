//! What reads may have answered: for each key, in the order of real time, versions never go back.

use std::collections::BTreeMap;

use super::{Applied, Table, Violation, of_key};
use crate::log::{Event, Line, Seen};

/// A time in which a server was killed that shows a commit before it is safe: what a read then saw may be gone.
pub(crate) type Crash = (u64, u64);

/// What is known of one key.
struct Versions<'a> {
    /// The word of each version, and when its write began.
    known: BTreeMap<i64, (Option<&'a str>, u64)>,
}

impl Versions<'_> {
    /// The version that a read saw which ended at `at`, if it is one that may be there at `least` or later.
    fn of(&self, saw: &Seen, least: i64, at: u64) -> Result<i64, Wrong> {
        match &saw.0 {
            Some((version, word)) => match self.known.get(version) {
                Some((Some(known), _)) if known == word => {
                    if *version >= least {
                        Ok(*version)
                    } else {
                        Err(Wrong::Replaced)
                    }
                }
                _ => Err(Wrong::Unknown),
            },
            None => {
                let deleted = |(_, (word, begun)): &(&i64, &(Option<&str>, u64))| {
                    word.is_none() && *begun <= at
                };
                let mut later = self.known.range(least..).filter(deleted);
                later.next().map(|(version, _)| *version).ok_or(Wrong::Replaced)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// Nobody committed it.
    Unknown,
    /// A later version had been acknowledged, or been seen, before the read began.
    Replaced,
}

/// Reads outside of transactions, and those under the lock of a write.
pub(crate) fn reads(
    history: &[Line],
    applied: &[Applied],
    first: &Table,
    crashes: &[Crash],
) -> Vec<Violation> {
    let mut begun: BTreeMap<&str, u64> = BTreeMap::new();
    for line in history {
        if let Event::Write { op, .. } = &line.event {
            begun.insert(op, line.at);
        }
    }
    let mut keys: BTreeMap<(&str, i64), Versions<'_>> = BTreeMap::new();
    let mut written: BTreeMap<&str, Vec<&Applied>> = BTreeMap::new();
    for row in applied.iter().filter(|row| row.version > 0) {
        let since = begun.get(row.op.as_str()).copied().unwrap_or_default();
        let versions = versions(&mut keys, first, &row.migration, row.key);
        versions.known.insert(row.version, (row.word.as_deref(), since));
        written.entry(&row.op).or_default().push(row);
    }
    let mut violations = under_locks(history, &keys, &written);
    violations.extend(outside(history, &mut keys, &written, first, crashes));
    violations
}

fn versions<'k, 'a>(
    keys: &'k mut BTreeMap<(&'a str, i64), Versions<'a>>,
    first: &'a Table,
    migration: &'a str,
    key: i64,
) -> &'k mut Versions<'a> {
    keys.entry((migration, key)).or_insert_with(|| {
        let word = first.get(&key).map(|row| row.word.as_str());
        Versions { known: BTreeMap::from([(0, (word, 0))]) }
    })
}

/// Who holds the lock of a key sees the version before its own.
fn under_locks(
    history: &[Line],
    keys: &BTreeMap<(&str, i64), Versions<'_>>,
    written: &BTreeMap<&str, Vec<&Applied>>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for line in history {
        let Event::Drawn { op, migration, key, version, saw: Some(saw) } = &line.event else {
            continue;
        };
        let rows = written.get(op.as_str()).map_or(&[][..], Vec::as_slice);
        let is_applied = |row: &&&Applied| {
            (row.migration.as_str(), row.key, row.version) == (migration.as_str(), *key, *version)
        };
        if !rows.iter().any(|row| is_applied(&row)) {
            continue; // it was rolled back, perhaps before it read
        }
        let before = keys[&(migration.as_str(), *key)].known.get(&(version - 1));
        let is = saw.0.as_ref().map(|(version, word)| (*version, word.as_str()));
        let shall = before.and_then(|(word, _)| word.map(|word| (version - 1, word)));
        if is != shall {
            let text = format!("write {op} saw {is:?} under the lock of the key, not {shall:?}");
            violations.push(of_key(migration, *key, text));
        }
    }
    violations
}

/// An event of the sweep: a read begins, or a read or an acknowledgement is over.
enum Moment<'a> {
    Begins { read: usize },
    Ends { read: usize, migration: &'a str, key: i64, saw: &'a Seen },
    Acknowledged { row: &'a Applied },
}

fn outside<'a>(
    history: &'a [Line],
    keys: &mut BTreeMap<(&'a str, i64), Versions<'a>>,
    written: &BTreeMap<&str, Vec<&'a Applied>>,
    first: &'a Table,
    crashes: &[Crash],
) -> Vec<Violation> {
    // What is over at the very moment in which a read begins is beside it.
    let mut moments: Vec<(u64, u8, Moment<'_>)> = Vec::new();
    for (read, line) in history.iter().enumerate() {
        match &line.event {
            Event::Read { since, migration, key, saw, .. } => {
                moments.push((*since, 0, Moment::Begins { read }));
                moments.push((line.at, 1, Moment::Ends { read, migration, key: *key, saw }));
            }
            Event::Acknowledged { op } => {
                let rows = written.get(op.as_str()).into_iter().flatten();
                moments.extend(rows.map(|row| (line.at, 1, Moment::Acknowledged { row })));
            }
            _ => {}
        }
    }
    moments.sort_by_key(|(at, order, _)| (*at, *order));
    let mut newest: BTreeMap<(&str, i64), i64> = BTreeMap::new();
    let mut least: BTreeMap<usize, i64> = BTreeMap::new();
    let mut violations = Vec::new();
    for (at, _, moment) in moments {
        match moment {
            Moment::Begins { read } => {
                let Event::Read { migration, key, .. } = &history[read].event else { continue };
                let known = newest.get(&(migration.as_str(), *key)).copied().unwrap_or_default();
                least.insert(read, known);
            }
            Moment::Acknowledged { row } => {
                let newest = newest.entry((&row.migration, row.key)).or_default();
                *newest = row.version.max(*newest);
            }
            Moment::Ends { read, migration, key, saw } => {
                let least = least.get(&read).copied().unwrap_or_default();
                let versions = versions(keys, first, migration, key);
                match versions.of(saw, least, at) {
                    Ok(version) => {
                        let newest = newest.entry((migration, key)).or_default();
                        *newest = version.max(*newest);
                    }
                    Err(Wrong::Unknown) if is_in_a_crash(&history[read], crashes) => {}
                    Err(wrong) => {
                        violations.push(of_key(migration, key, said(&history[read], wrong, least)));
                    }
                }
            }
        }
    }
    violations
}

fn said(line: &Line, wrong: Wrong, least: i64) -> String {
    let Event::Read { client, since, saw, .. } = &line.event else { return String::new() };
    let what = match wrong {
        Wrong::Unknown => "which nobody committed".to_owned(),
        Wrong::Replaced => format!("although version {least} had been acknowledged or seen before"),
    };
    format!("{client} read `{saw}` from {since} to {}, {what}", line.at)
}

fn is_in_a_crash(line: &Line, crashes: &[Crash]) -> bool {
    let Event::Read { since, .. } = &line.event else { return false };
    crashes.iter().any(|(begins, ends)| line.at >= *begins && since <= ends)
}
