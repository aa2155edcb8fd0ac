//! What each process did, in a file of its own that outlives a kill: one line for each event, written at once. Times
//! are those of the machine's monotonic clock, which all processes share.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};

/// In nanoseconds since the machine started.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A version of a key: its number and its word, or that it was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen(pub(crate) Option<(i64, String)>);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some((version, word)) => write!(f, "{version} {word}"),
            None => f.write_str("- -"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A write of so many keys is about to begin.
    Write { op: String, keys: usize },
    /// It has the next version of a key, whose lock it holds, and saw what is there.
    Drawn { op: String, migration: String, key: i64, version: i64, saw: Option<Seen> },
    /// `commit` has answered `Ok`.
    Acknowledged { op: String },
    /// It was dropped, or something failed: it may have been applied or not.
    Unknown { op: String, why: String },
    /// A read that began at `since` has answered.
    Read { client: String, since: u64, migration: String, key: i64, saw: Seen },
    /// Anything else, for the reader of a history.
    Note { text: String },
}

/// An event, and when it was over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: u64,
    pub(crate) event: Event,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match &self.event {
            Event::Write { op, keys } => write!(f, "{at} write {op} {keys}"),
            Event::Drawn { op, migration, key, version, saw } => {
                write!(f, "{at} drawn {op} {migration} {key} {version}")?;
                saw.iter().try_for_each(|saw| write!(f, " {saw}"))
            }
            Event::Acknowledged { op } => write!(f, "{at} acknowledged {op}"),
            Event::Unknown { op, why } => write!(f, "{at} unknown {op} {}", one_line(why)),
            Event::Read { client, since, migration, key, saw } => {
                write!(f, "{at} read {client} {since} {migration} {key} {saw}")
            }
            Event::Note { text } => write!(f, "{at} note {}", one_line(text)),
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

impl Line {
    /// `None` where a kill came in the middle of it.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (at, rest) = line.split_once(' ')?;
        let (what, rest) = rest.split_once(' ')?;
        let words: Vec<&str> = rest.split(' ').collect();
        let event = match (what, words.as_slice()) {
            ("write", [op, keys]) => {
                Event::Write { op: (*op).to_owned(), keys: keys.parse().ok()? }
            }
            ("drawn", [op, migration, key, version, saw @ ..]) => Event::Drawn {
                op: (*op).to_owned(),
                migration: (*migration).to_owned(),
                key: key.parse().ok()?,
                version: version.parse().ok()?,
                saw: match saw {
                    [] => None,
                    [version, word] => Some(seen(version, word)?),
                    _ => return None,
                },
            },
            ("acknowledged", [op]) => Event::Acknowledged { op: (*op).to_owned() },
            ("unknown", [op, why @ ..]) => {
                Event::Unknown { op: (*op).to_owned(), why: why.join(" ") }
            }
            ("read", [client, since, migration, key, version, word]) => Event::Read {
                client: (*client).to_owned(),
                since: since.parse().ok()?,
                migration: (*migration).to_owned(),
                key: key.parse().ok()?,
                saw: seen(version, word)?,
            },
            ("note", _) => Event::Note { text: rest.to_owned() },
            _ => return None,
        };
        Some(Self { at: at.parse().ok()?, event })
    }
}

fn seen(version: &str, word: &str) -> Option<Seen> {
    match version {
        "-" => Some(Seen(None)),
        version => Some(Seen(Some((version.parse().ok()?, word.to_owned())))),
    }
}

/// Writes.
#[derive(Clone)]
pub(crate) struct Log(Arc<File>);

impl Log {
    pub(crate) fn create(path: &Path) -> Self {
        Self(Arc::new(OpenOptions::new().create(true).append(true).open(path).unwrap()))
    }

    pub(crate) fn write(&self, event: Event) {
        // In one piece, so that a kill loses none that came before it.
        let line = format!("{}\n", Line { at: now(), event });
        (&*self.0).write_all(line.as_bytes()).unwrap();
    }

    pub(crate) fn note(&self, text: impl fmt::Display) {
        self.write(Event::Note { text: text.to_string() });
    }
}

/// All lines of a folder's logs, in the order of time.
pub(crate) fn read(folder: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "log") {
            let text = std::fs::read_to_string(&path).unwrap();
            lines.extend(text.lines().filter_map(Line::parse));
        }
    }
    lines.sort_by_key(|line| line.at);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let seen = Seen(Some((3, "i1.2".to_owned())));
        let events = [
            Event::Write { op: "i1.4".into(), keys: 2 },
            Event::Drawn {
                op: "i1.4".into(),
                migration: "notes".into(),
                key: 7,
                version: 4,
                saw: Some(seen.clone()),
            },
            Event::Acknowledged { op: "i1.4".into() },
            Event::Unknown { op: "i1.4".into(), why: "it was dropped".into() },
            Event::Read {
                client: "i1".into(),
                since: 5,
                migration: "notes".into(),
                key: 7,
                saw: Seen(None),
            },
            Event::Note { text: "notes at live".into() },
        ];
        for event in events {
            let line = Line { at: 9, event };
            assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
        assert_eq!(Line::parse("9 acknowl"), None);
    }
}
