//! What must be in the database, from what the killed processes said.

use std::collections::{BTreeMap, BTreeSet};

use super::writers::VISITED;
use crate::support::customers::Customer;

/// A name, or none where there is no such customer.
type Name = Option<String>;

/// A write under way.
#[derive(Debug)]
enum Pending {
    Write { key: i64, name: Name, may_fail: bool },
    Visit { key: i64 },
}

/// One key.
#[derive(Debug, Default)]
struct Known {
    /// What it may be now: one thing, unless the process was killed in the middle of a write.
    now: BTreeSet<Name>,
    /// All that it ever may have been.
    ever: BTreeSet<Name>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    keys: BTreeMap<i64, Known>,
    pending: BTreeMap<u64, Pending>,
    /// Visits acknowledged, and visits that may have been lost.
    visits: BTreeMap<i64, (i64, i64)>,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    /// Writes that the database rolled back and would have tried again.
    pub(super) conflicts: u64,
}

impl Model {
    pub(super) fn new(customers: &[Customer]) -> Self {
        let mut model = Self::default();
        for customer in customers {
            model.known(customer.id).become_only(Some(customer.name.clone()));
        }
        model
    }

    fn known(&mut self, key: i64) -> &mut Known {
        self.keys.entry(key).or_insert_with(|| {
            let mut known = Known::default();
            known.become_only(None);
            known
        })
    }

    /// Takes note of what a process said.
    pub(super) fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match *words.as_slice() {
            ["writes", writer, key, name, may_fail] => {
                let (key, name) = (key.parse().unwrap(), named(name));
                self.known(key).ever.insert(name.clone());
                self.begin(writer, Pending::Write { key, name, may_fail: may_fail == "true" });
            }
            ["wrote", writer, saw] => {
                let Pending::Write { key, name, .. } = self.ended(writer) else { panic!("{line}") };
                let known = self.known(key);
                assert!(known.now.contains(&named(saw)), "key {key}: {line}, but it was {known:?}");
                known.become_only(name);
                self.acknowledged += 1;
            }
            ["visits", writer, key] => {
                self.begin(writer, Pending::Visit { key: key.parse().unwrap() });
            }
            ["visited", writer] => {
                let Pending::Visit { key } = self.ended(writer) else { panic!("{line}") };
                self.visits.entry(key).or_default().0 += 1;
                self.acknowledged += 1;
            }
            // Rolled back. Only a write whose mirror was made to fail may do so.
            ["failed", writer, ..] => {
                let Pending::Write { may_fail: true, .. } = self.ended(writer) else {
                    panic!("{line}")
                };
                self.refused += 1;
            }
            ["conflict", writer] => {
                let Pending::Write { .. } = self.ended(writer) else { panic!("{line}") };
                self.conflicts += 1;
            }
            ["read", key, name] => {
                let key = key.parse().unwrap();
                let known = self.known(key);
                assert!(known.ever.contains(&named(name)), "nobody wrote it: {line}; {known:?}");
            }
            ["copy"] | ["complete", "true"] => {}
            _ => panic!("{line}"),
        }
    }

    fn begin(&mut self, writer: &str, pending: Pending) {
        let before = self.pending.insert(writer.parse().unwrap(), pending);
        assert!(before.is_none(), "{before:?} is not over");
    }

    fn ended(&mut self, writer: &str) -> Pending {
        self.pending.remove(&writer.parse().unwrap()).expect("a write that was announced")
    }

    /// The process is dead. What it had begun may be there or not.
    pub(super) fn killed(&mut self) {
        for pending in std::mem::take(&mut self.pending).into_values() {
            match pending {
                Pending::Write { key, name, .. } => _ = self.known(key).now.insert(name),
                Pending::Visit { key } => self.visits.entry(key).or_default().1 += 1,
            }
        }
    }

    /// Every acknowledged write is there, and nothing that nobody wrote.
    pub(super) fn check(&self, customers: &[Customer]) {
        let found: BTreeMap<i64, &Customer> =
            customers.iter().map(|customer| (customer.id, customer)).collect();
        assert!(self.pending.is_empty(), "{:?}", self.pending);
        for (key, known) in &self.keys {
            let name = found.get(key).map(|customer| customer.name.clone());
            assert!(known.now.contains(&name), "key {key} is {name:?}, not {:?}", known.now);
        }
        for key in found.keys() {
            assert!(self.keys.contains_key(key), "nobody wrote key {key}");
        }
        for key in VISITED {
            let (sure, perhaps) = self.visits.get(&key).copied().unwrap_or_default();
            let counted = found[&key].visits;
            assert!((sure..=sure + perhaps).contains(&counted), "{key}: {counted}, {sure} or more");
        }
    }

    /// Whether this customer was there all the time.
    pub(super) fn was_always_there(&self, key: i64) -> bool {
        self.keys.get(&key).is_some_and(|known| !known.ever.contains(&None))
    }
}

impl Known {
    fn become_only(&mut self, name: Name) {
        self.ever.insert(name.clone());
        self.now = BTreeSet::from([name]);
    }
}

fn named(word: &str) -> Name {
    (word != "-").then(|| word.to_owned())
}
