//! What is shown on a terminal alone: a view again and again, and a bar of progress.

use std::io::{IsTerminal as _, Write, stderr, stdout};
use std::time::Duration;

use dualwrite::{backfill::BackfillProgress, printable};

/// Which of the outputs are terminals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Standard output.
    pub out: bool,
    /// Standard error.
    pub err: bool,
}

impl Terminal {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self { out: stdout().is_terminal(), err: stderr().is_terminal() }
    }
}

/// The shortest and the longest time between two looks.
const WATCH_MIN: Duration = Duration::from_secs(1);
const WATCH_MAX: Duration = Duration::from_secs(3_600);
/// Moves to the first line, and removes what stands there.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";
/// Removes the rest of the line.
const REST: &str = "\u{1b}[K";
const BAR_CHARS: usize = 30;

/// How often a view is shown, as somebody writes it.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let found = humantime::parse_duration(text).ok();
    let found = found.filter(|every| (WATCH_MIN..=WATCH_MAX).contains(every));
    found.ok_or_else(|| "give a time from `1s` to `1h`, as `--watch=5s`".to_owned())
}

/// A view in the place of the one before; elsewhere than on a terminal after it.
pub(crate) fn show_again(
    out: &mut impl Write,
    terminal: Terminal,
    text: &str,
) -> std::io::Result<()> {
    let clear = if terminal.out { CLEAR } else { "" };
    write!(out, "{clear}{text}")?;
    out.flush()
}

/// A line that is written over and over, on a terminal.
#[derive(Debug)]
pub(crate) struct Bar<'w, W> {
    to: &'w mut W,
    is_shown: bool,
}

impl<'w, W: Write> Bar<'w, W> {
    pub(crate) fn new(to: &'w mut W, is_terminal: bool) -> Self {
        Self { to, is_shown: is_terminal }
    }

    /// What cannot be shown is no reason to wait no longer.
    pub(crate) fn show(&mut self, line: &str) {
        if self.is_shown {
            let _ = write!(self.to, "\r{}{REST}", printable(line)).and_then(|()| self.to.flush());
        }
    }

    pub(crate) fn end(&mut self) {
        if self.is_shown {
            let _ = write!(self.to, "\r{REST}").and_then(|()| self.to.flush());
        }
    }
}

/// How far a backfill is, in a line.
pub(crate) fn of_backfill(progress: &BackfillProgress) -> String {
    let left = progress.eta().filter(|_| progress.is_running());
    let left = left.map(|left| Duration::from_secs(left.as_secs()));
    let left = left
        .map_or_else(String::new, |left| format!(", {} left", humantime::format_duration(left)));
    let why = progress.throttled.as_ref().map_or(String::new(), |why| format!(", {why}"));
    let (bar, state) = (bar(progress.percent()), progress.state());
    let (done, total, speed) = (progress.done(), progress.total, progress.recent_keys_per_second());
    format!("{bar}, {done} of {total}, {speed:.0} keys/s{left}, {state}{why}")
}

/// How many of so many keys a verification has compared, in a line.
pub(crate) fn of_verification(compared: u64, total: u64) -> String {
    let percent = (compared as f64 * 100.0 / total.max(1) as f64).min(99.9);
    format!("{}, {compared} of about {total} keys compared", bar(percent))
}

fn bar(percent: f64) -> String {
    let full = (percent / 100.0 * BAR_CHARS as f64) as usize;
    let full = full.min(BAR_CHARS);
    format!("[{}{}] {percent:.1} %", "#".repeat(full), ".".repeat(BAR_CHARS - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_one_length_and_is_full_at_the_end() {
        for (percent, shown) in
            [(0.0, 0), (49.9, 14), (50.0, 15), (99.9, 29), (100.0, 30), (120.0, 30)]
        {
            let bar = bar(percent);
            assert_eq!(bar.matches('#').count(), shown, "{bar}");
            assert_eq!(bar.matches('.').count() - 1, BAR_CHARS - shown, "{bar}");
        }
        assert!(of_verification(50, 100).contains("50.0 %, 50 of about 100 keys"));
        assert!(of_verification(500, 0).contains("99.9 %"));
    }

    #[test]
    fn only_a_terminal_is_written_over() {
        let mut out = Vec::new();
        let mut bar = Bar::new(&mut out, false);
        bar.show("half");
        bar.end();
        assert!(out.is_empty());
        show_again(&mut out, Terminal::default(), "one\n").unwrap();
        assert_eq!(out, b"one\n");
        let mut out = Vec::new();
        let mut bar = Bar::new(&mut out, true);
        bar.show("half\u{1b}[2J");
        bar.end();
        let shown = String::from_utf8(out).unwrap();
        assert_eq!(shown, "\rhalf\u{fffd}[2J\u{1b}[K\r\u{1b}[K");
        let mut out = Vec::new();
        show_again(&mut out, Terminal { out: true, err: true }, "one\n").unwrap();
        assert!(String::from_utf8(out).unwrap().starts_with(CLEAR));
    }

    #[test]
    fn the_interval_is_bounded() {
        assert_eq!(interval("5s"), Ok(Duration::from_secs(5)));
        for wrong in ["0s", "500ms", "2h", "fast", "5"] {
            assert!(interval(wrong).unwrap_err().contains("1s"), "{wrong}");
        }
    }
}
