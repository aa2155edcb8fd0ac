//! What came of the rounds, in numbers, and the history of a key where something is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dualwrite::Stage;

use crate::log::{Event, Line};

#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    pub(crate) reads: u64,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) moves: u64,
    pub(crate) strikes: u64,
    pub(crate) stages: BTreeSet<Stage>,
    /// Where the migrations stood in the end.
    pub(crate) ends: Vec<String>,
    /// Why writes did not get through, and how often.
    pub(crate) reasons: BTreeMap<String, u64>,
    pub(crate) violations: Vec<String>,
}

impl Round {
    pub(crate) fn count(&mut self, lines: &[Line]) {
        for line in lines {
            match &line.event {
                Event::Read { .. } => self.reads += 1,
                Event::Acknowledged { .. } => self.acknowledged += 1,
                Event::Unknown { why, .. } => {
                    self.unknown += 1;
                    *self.reasons.entry(why.chars().take(60).collect()).or_default() += 1;
                }
                _ => {}
            }
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads, acknowledged, unknown, moves, strikes, .. } = self;
        write!(
            f,
            "{reads} reads, {acknowledged} writes acknowledged, {unknown} not, {moves} moves, \
             {strikes} strikes, {} violations",
            self.violations.len()
        )?;
        if !self.ends.is_empty() {
            write!(f, "; {}", self.ends.join(", "))?;
        }
        if std::env::var_os("DUALWRITE_CHAOS_REASONS").is_some() {
            for (reason, count) in &self.reasons {
                write!(f, "\n  {count} × {reason}")?;
            }
        }
        Ok(())
    }
}

/// All rounds.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rounds: u64,
    all: Round,
}

impl Report {
    pub(crate) fn add(&mut self, round: Round) {
        self.rounds += 1;
        let all = &mut self.all;
        all.reads += round.reads;
        all.acknowledged += round.acknowledged;
        all.unknown += round.unknown;
        all.moves += round.moves;
        all.strikes += round.strikes;
        all.stages.extend(round.stages);
        all.violations.extend(round.violations);
    }

    /// A run in which nothing happened would find nothing.
    pub(crate) fn is_not_vacuous(&self) {
        let Round { reads, acknowledged, moves, stages, .. } = &self.all;
        assert!(*reads > 0 && *acknowledged > 0 && *moves > 0 && stages.len() > 1, "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages: Vec<String> = self.all.stages.iter().map(Stage::to_string).collect();
        write!(f, "{} rounds, {}, stages {}", self.rounds, self.all, stages.join(" "))
    }
}

/// So many lines before the end.
const SHOWN: usize = 120;

/// What happened to a key, in the order of time, and what happened around it.
pub(crate) fn history_of(lines: &[Line], begun: u64, wanted: &str, id: i64) -> String {
    let ops: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| match &line.event {
            Event::Drawn { op, migration, key, .. } if migration == wanted && *key == id => {
                Some(op.as_str())
            }
            _ => None,
        })
        .collect();
    let other = crate::service::MIGRATIONS.iter().find(|name| **name != wanted).unwrap();
    let belongs = |line: &&Line| match &line.event {
        Event::Write { op, .. } | Event::Acknowledged { op } | Event::Unknown { op, .. } => {
            ops.contains(op.as_str())
        }
        Event::Drawn { migration, key, .. } | Event::Read { migration, key, .. } => {
            migration == wanted && *key == id
        }
        Event::Note { text } => !text.contains(other),
    };
    let shown: Vec<&Line> = lines.iter().filter(belongs).collect();
    let mut text = format!("history of {wanted}, key {id}, in milliseconds of the round:");
    for line in &shown[shown.len().saturating_sub(SHOWN)..] {
        let ms = |at: u64| (at.saturating_sub(begun)) as f64 / 1e6;
        let all = line.to_string();
        let rest = all.split_once(' ').map_or("", |(_, rest)| rest);
        let since = match &line.event {
            Event::Read { since, .. } => format!(" (since {:.3})", ms(*since)),
            _ => String::new(),
        };
        text += &format!("\n  {:10.3}{since} {rest}", ms(line.at));
    }
    text
}
