//! What all benches share: statistics, the arguments, targets, and the figures that `benches/summary` collects.

#![allow(dead_code, reason = "each bench needs a part of it")]

pub(crate) mod targets;

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

/// The file that figures are appended to, a line each: bench, figure, value, unit, target, verdict, with tabs between.
const FILE: &str = "DUALWRITE_BENCH_FIGURES";

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// It is shown, and not judged.
    None,
}

impl Target {
    pub(crate) fn at_least(least: Option<f64>) -> Self {
        least.map_or(Self::None, Self::AtLeast)
    }

    pub(crate) fn at_most(most: Option<f64>) -> Self {
        most.map_or(Self::None, Self::AtMost)
    }

    fn is_missed(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value < least || value.is_nan(),
            Self::AtMost(most) => value > most || value.is_nan(),
            Self::None => false,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match self {
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::AtMost(most) => format!("≤ {most}"),
            Self::None => "–".to_owned(),
        };
        f.pad(&shown)
    }
}

/// A figure that was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ok,
    Missed,
    Shown,
}

impl Verdict {
    /// 1 where the target is missed, to be added up.
    pub(crate) fn missed(self) -> u32 {
        u32::from(self == Self::Missed)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Missed => "MISSED",
            Self::Shown => "",
        })
    }
}

/// Judges a figure, and records it for `benches/summary`.
pub(crate) fn judge(figure: &str, value: f64, unit: &str, target: Target) -> Verdict {
    let verdict = match target {
        Target::None => Verdict::Shown,
        target if target.is_missed(value) => Verdict::Missed,
        _ => Verdict::Ok,
    };
    if let Some(file) = std::env::var_os(FILE) {
        let bench = env!("CARGO_CRATE_NAME");
        let line = format!("{bench}\t{figure}\t{value}\t{unit}\t{target}\t{verdict}\n");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of the figures");
    }
    verdict
}

/// Says how many targets are missed; with `--check` that is a failure.
pub(crate) fn end(missed: u32) -> ExitCode {
    println!("\n{missed} targets missed");
    if is_asked("--check") && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

pub(crate) fn is_asked(argument: &str) -> bool {
    std::env::args().any(|one| one == argument)
}

/// Whether this part is to be measured: all are, or the one after `--only`.
pub(crate) fn is_wanted(part: &str) -> bool {
    let only = std::env::args().skip_while(|one| one != "--only").nth(1);
    only.is_none_or(|only| only == part)
}

/// The number that follows this argument.
pub(crate) fn number<N: std::str::FromStr>(argument: &str) -> Option<N> {
    let value = std::env::args().skip_while(|one| one != argument).nth(1)?;
    Some(value.parse().unwrap_or_else(|_| panic!("{argument} is followed by a number")))
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that this share of all do not exceed.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share) as usize]
}

/// Rounds in which two ways take turns, in seconds.
#[derive(Default)]
pub(crate) struct Turns {
    ours: Vec<f64>,
    theirs: Vec<f64>,
    ratios: Vec<f64>,
}

impl Turns {
    pub(crate) fn add(&mut self, ours: f64, theirs: f64) {
        self.ours.push(ours);
        self.theirs.push(theirs);
        self.ratios.push(theirs / ours);
    }

    /// Prints the medians of both, and of how many times faster ours is, which is judged; 1 where that is missed.
    pub(crate) fn show(&mut self, figure: &str, least: Option<f64>) -> u32 {
        let (ours, theirs) = (median(&mut self.ours), median(&mut self.theirs));
        let (ratio, target) = (median(&mut self.ratios), Target::at_least(least));
        let verdict = judge(figure, ratio, "times", target);
        println!("{figure:<60} {ours:>10.3} {theirs:>10.3} {ratio:>7.2} {target:>8}  {verdict}");
        verdict.missed()
    }
}
