//! What the service was told about every key, and what it may therefore read.
//!
//! Every write of a key draws the next version while it holds the key, and stores it inside the record;
//! a deletion is a version too. So a record that is read tells which write it saw, and the ledger tells
//! whether that write may be seen: not older than what was acknowledged, or seen by anybody, before
//! the read began; not newer than what was asked for before it ended; never one that was rolled back.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A record that carries the version that wrote it.
pub(super) trait Versioned: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// What version `version` of a key writes.
    fn at(id: i64, version: usize) -> Self;
    fn id(&self) -> i64;
    /// The version that it carries; `None` where this test never wrote it.
    fn version(&self) -> Option<usize>;
}

pub(super) struct Ledger<R> {
    keys: BTreeMap<i64, Key<R>>,
    /// Keys that everybody works on.
    hot: Vec<i64>,
}

/// One key.
pub(super) struct Key<R> {
    pub(super) id: i64,
    /// Comes and goes. The other keys are there from the start, and rows elsewhere refer to them.
    pub(super) transient: bool,
    /// Held by whoever writes a transient key: a row that is not there cannot be locked.
    pub(super) turn: tokio::sync::Mutex<()>,
    original: Option<R>,
    history: Mutex<History>,
}

struct History {
    /// By version; 0 is what was there before the test.
    versions: Vec<Version>,
    /// The newest version that was acknowledged or seen: nobody may read an older one from now on.
    floor: usize,
}

#[derive(Debug)]
struct Version {
    present: bool,
    fate: Fate,
    seen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Under way, or its end is unknown.
    Asked,
    Committed,
    RolledBack,
}

impl<R: Versioned> Ledger<R> {
    /// Keys that exist already, and as many more as are told, which do not.
    pub(super) fn new(existing: Vec<R>, transient: i64) -> Self {
        let last = existing.iter().map(R::id).max().unwrap_or(0);
        let key = |id, original: Option<R>| {
            let first = Version { present: original.is_some(), fate: Fate::Committed, seen: true };
            let history = Mutex::new(History { versions: vec![first], floor: 0 });
            let transient = original.is_none();
            (id, Key { id, transient, turn: tokio::sync::Mutex::default(), original, history })
        };
        let step = existing.len().div_ceil(6).max(1);
        let hot = existing.iter().step_by(step).map(R::id).chain(last + 1..=last + 4).collect();
        let born = (last + 1..=last + transient).map(|id| key(id, None)).collect::<Vec<_>>();
        let keys = existing.into_iter().map(|record| key(record.id(), Some(record)));
        Self { keys: keys.chain(born).collect(), hot }
    }

    /// A key; every other draw is a hot one.
    pub(super) fn pick(&self, draw: u64) -> &Key<R> {
        let place = usize::try_from(draw >> 1 & 0xffff_ffff).unwrap_or(0);
        let id = match draw & 1 {
            0 => self.hot.get(place % self.hot.len()),
            _ => self.keys.keys().nth(place % self.keys.len()),
        };
        &self.keys[id.expect("there are keys")]
    }

    /// A key that is always there.
    pub(super) fn pick_lasting(&self, draw: u64) -> &Key<R> {
        let lasting: Vec<&i64> = self.hot.iter().filter(|id| !self.keys[id].transient).collect();
        let place = usize::try_from(draw & 0xffff_ffff).unwrap_or(0);
        &self.keys[lasting[place % lasting.len()]]
    }

    pub(super) fn range(&self, from: i64, to: i64) -> impl Iterator<Item = &Key<R>> {
        self.keys.range(from..=to).map(|(_, key)| key)
    }

    /// Judges a complete list of the keys of a range, or of all, in order.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub(super) fn judge(&self, floors: &[(i64, usize)], found: &[R]) -> Result<(), String> {
        let ids: Vec<i64> = found.iter().map(R::id).collect();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("the list is out of order, or names a key twice: {pair:?}"));
        }
        let mut rest = found.iter().peekable();
        for &(id, floor) in floors {
            let record = rest.next_if(|record| record.id() == id);
            self.keys[&id].judge(floor, record)?;
        }
        match rest.next() {
            Some(unknown) => Err(format!("nobody wrote {unknown:?}")),
            None => Ok(()),
        }
    }
}

impl<R: Versioned> Key<R> {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a read that begins now may not fall behind.
    pub(super) fn floor(&self) -> usize {
        self.history().floor
    }

    /// Draws the next version; call it while nobody else can write the key.
    pub(super) fn draw(&self, present: bool) -> Draw<'_, R> {
        let mut history = self.history();
        history.versions.push(Version { present, fate: Fate::Asked, seen: false });
        Draw { key: self, version: history.versions.len() - 1, committing: false }
    }

    /// Judges what a read found that began at `floor`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn judge(&self, floor: usize, found: Option<&R>) -> Result<(), String> {
        let mut history = self.history();
        let wrong = |history: &History, what: &str| {
            let first = history.versions.len().saturating_sub(8);
            let last: Vec<String> = (first..history.versions.len())
                .map(|version| format!("{version} {:?}", history.versions[version]))
                .collect();
            let id = self.id;
            Err(format!("key {id}: {what}: found {found:?} after {floor}; versions {last:#?}"))
        };
        let version = match found {
            Some(record) => {
                let original = self.original.as_ref() == Some(record);
                let Some(version) = (if original { Some(0) } else { record.version() }) else {
                    return wrong(&history, "nobody wrote this");
                };
                if version > 0 && *record != R::at(self.id, version) {
                    return wrong(&history, "a mixture of several versions");
                }
                match history.versions.get(version) {
                    None => return wrong(&history, "newer than any write"),
                    Some(known) if !known.present => return wrong(&history, "a deletion, alive"),
                    Some(_) => version,
                }
            }
            // The earliest deletion that explains it.
            None => {
                let gone = |version: &usize| {
                    let version = &history.versions[*version];
                    !version.present && version.fate != Fate::RolledBack
                };
                match (floor..history.versions.len()).find(gone) {
                    Some(version) => version,
                    None => return wrong(&history, "a record is missing"),
                }
            }
        };
        if history.versions[version].fate == Fate::RolledBack {
            return wrong(&history, "it was rolled back");
        }
        if version < floor {
            return wrong(&history, "superseded");
        }
        history.versions[version].seen = true;
        history.floor = history.floor.max(version);
        Ok(())
    }
}

/// A version on its way into the database. Dropped before COMMIT was sent, it is rolled back; dropped
/// after, nobody knows.
pub(super) struct Draw<'k, R: Versioned> {
    key: &'k Key<R>,
    pub(super) version: usize,
    committing: bool,
}

impl<R: Versioned> Draw<'_, R> {
    pub(super) fn committing(&mut self) {
        self.committing = true;
    }

    pub(super) fn committed(self) {
        let mut history = self.key.history();
        history.versions[self.version].fate = Fate::Committed;
        history.floor = history.floor.max(self.version);
    }
}

impl<R: Versioned> Drop for Draw<'_, R> {
    fn drop(&mut self) {
        let mut history = self.key.history();
        let version = &mut history.versions[self.version];
        if version.fate == Fate::Asked && !self.committing {
            version.fate = Fate::RolledBack;
            let seen = version.seen;
            drop(history);
            let (id, version) = (self.key.id, self.version);
            // Not while another failure is on its way: a panic in a destructor then ends the process.
            assert!(
                !seen || std::thread::panicking(),
                "key {id}: {version} was read, then rolled back"
            );
        }
    }
}
