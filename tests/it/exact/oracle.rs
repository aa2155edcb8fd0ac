//! What concurrent clients saw of a key that one of them writes: whether it can have happened in one order, in which each
//! call takes effect between its beginning and its end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Every fourth write is a delete; the first is number one, and before it there is nothing.
pub(crate) fn is_delete(number: u64) -> bool {
    number.is_multiple_of(4)
}

#[derive(Clone, Copy, Debug)]
struct Write {
    number: u64,
    begun: u64,
    /// When it was acknowledged; nobody knows what became of one that was not.
    acknowledged: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Read {
    begun: u64,
    ended: u64,
    found: Option<u64>,
    /// What answered shows a commit before it is on disk.
    is_early: bool,
}

/// The history of one key.
#[derive(Debug, Default)]
pub(crate) struct History {
    clock: AtomicU64,
    writes: Mutex<Vec<Write>>,
    reads: Mutex<Vec<Read>>,
    /// When a server was killed that shows what is committed before it is on disk.
    lost: Mutex<Vec<u64>>,
}

impl History {
    pub(crate) fn now(&self) -> u64 {
        self.clock.fetch_add(1, SeqCst) + 1
    }

    /// The next write, about to be made.
    pub(crate) fn begin(&self) -> u64 {
        let begun = self.now();
        let mut writes = self.writes.lock().unwrap();
        let number = writes.len() as u64 + 1;
        writes.push(Write { number, begun, acknowledged: None });
        number
    }

    pub(crate) fn acknowledge(&self, number: u64) {
        let now = self.now();
        self.writes.lock().unwrap()[number as usize - 1].acknowledged = Some(now);
    }

    /// A server was killed that lets readers see a commit before it is on disk, as InnoDB does: what somebody saw there,
    /// and nobody acknowledged, may be gone. What was acknowledged may not, nor what a server showed that waits for its
    /// disk.
    pub(crate) fn lost(&self) {
        let now = self.now();
        self.lost.lock().unwrap().push(now);
    }

    /// A read that began then has ended.
    pub(crate) fn read(&self, begun: u64, found: Option<u64>) {
        self.read_on(begun, found, false);
    }

    /// The same; `is_early` where a server answered that shows a commit before it is on disk.
    pub(crate) fn read_on(&self, begun: u64, found: Option<u64>, is_early: bool) {
        let ended = self.now();
        self.reads.lock().unwrap().push(Read { begun, ended, found, is_early });
    }

    pub(crate) fn len(&self) -> (usize, usize) {
        (self.reads.lock().unwrap().len(), self.writes.lock().unwrap().len())
    }

    /// What is wrong with it.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let writes = self.writes.lock().unwrap();
        let mut reads = self.reads.lock().unwrap().clone();
        reads.sort_by_key(|read| read.ended);
        let lost = self.lost.lock().unwrap();
        // By the end of each read: the lowest number that it can have seen, and whether a kill may take that back.
        let mut seen: Vec<(u64, u64, bool)> = Vec::new();
        for read in reads {
            let acknowledged =
                |write: &&Write| write.acknowledged.is_some_and(|at| at < read.begun);
            let lowest = writes.iter().filter(acknowledged).map(|write| write.number).max();
            let acknowledged = lowest.unwrap_or(0);
            let forgotten = lost.iter().copied().filter(|at| *at < read.begun).max().unwrap_or(0);
            let before = seen.iter().filter(|(ended, _, is_early)| {
                *ended < read.begun && (!is_early || *ended >= forgotten)
            });
            let known = before.map(|(_, known, _)| *known).max().unwrap_or(0);
            let lowest = acknowledged.max(known);
            let highest = writes.iter().filter(|write| write.begun < read.ended).map(|w| w.number);
            let highest = highest.max().unwrap_or(0);
            let number = match read.found {
                // A delete writes no value that could be read.
                Some(number) => Some(number)
                    .filter(|number| (lowest..=highest).contains(number) && !is_delete(*number)),
                None => (lowest..=highest).find(|number| is_delete(*number)),
            };
            let Some(number) = number else {
                return Err(format!(
                    "a read found {:?}, which is not among {lowest} to {highest}; acknowledged was {acknowledged}, and \
                     a read before had seen {known}",
                    read.found
                ));
            };
            seen.push((read.ended, number, read.is_early));
        }
        Ok(())
    }
}

#[test]
fn the_oracle_finds_stale_and_lost_values() {
    let stale = History::default();
    for number in 1..=2 {
        assert_eq!(stale.begin(), number);
        stale.acknowledge(number);
    }
    let begun = stale.now();
    stale.read(begun, Some(2));
    assert_eq!(stale.judge(), Ok(()));
    let begun = stale.now();
    stale.read(begun, Some(1));
    assert!(stale.judge().is_err(), "stale");

    let lost = History::default();
    let begun = lost.now();
    lost.begin();
    lost.read(begun, Some(1)); // it was not acknowledged, and it is there
    assert_eq!(lost.judge(), Ok(()));
    let begun = lost.now();
    lost.read(begun, None);
    assert!(lost.judge().is_err(), "what somebody saw is gone");

    let killed = History::default();
    let begun = killed.now();
    killed.begin();
    killed.read_on(begun, Some(1), true); // seen before it is on disk
    killed.lost();
    let begun = killed.now();
    killed.read(begun, None);
    assert_eq!(killed.judge(), Ok(()), "nobody acknowledged it");
    killed.acknowledge(1);
    let begun = killed.now();
    killed.read(begun, None);
    assert!(killed.judge().is_err(), "somebody did");

    let durable = History::default();
    let begun = durable.now();
    durable.begin();
    durable.read(begun, Some(1));
    durable.lost();
    let begun = durable.now();
    durable.read(begun, None);
    assert!(durable.judge().is_err(), "it was seen where commits wait for the disk");

    let after = History::default();
    after.begin();
    after.lost();
    for found in [Some(1), None] {
        let begun = after.now();
        after.read_on(begun, found, true);
    }
    assert!(after.judge().is_err(), "it was seen after the kill, and is gone");

    let never = History::default();
    let begun = never.now();
    never.begin();
    never.read(begun, Some(2));
    assert!(never.judge().is_err(), "nobody has begun to write it");

    let deleted = History::default();
    for _ in 0..4 {
        let number = deleted.begin();
        deleted.acknowledge(number);
    }
    let begun = deleted.now();
    deleted.read(begun, None);
    assert_eq!(deleted.judge(), Ok(()));
    let begun = deleted.now();
    deleted.read(begun, Some(3));
    assert!(deleted.judge().is_err(), "raised from the dead");

    let value = History::default();
    let begun = value.now();
    for _ in 0..4 {
        value.begin();
    }
    value.read(begun, Some(4));
    assert!(value.judge().is_err(), "the fourth is a delete, which has no value");
}
