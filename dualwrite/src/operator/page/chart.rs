//! Small charts of the last hour, as inline SVG. Pure.

use maud::{Markup, html};

use crate::control::traffic::{TRAFFIC_MINUTES, TrafficFigures, TrafficMinute, TrafficSide};
use crate::moment;

const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 48.0;
const MINUTE_US: i64 = 60_000_000;

/// A line of a chart: its class, and its value in a minute, where there is one.
pub(super) struct Line {
    pub(super) class: &'static str,
    pub(super) value: fn(&TrafficFigures) -> f64,
}

/// In microseconds since 1970.
fn began(minute: &TrafficMinute) -> i64 {
    moment::to_micros(minute.at)
}

/// The last minute that either side knows of: the right edge of both charts.
pub(super) fn edge(sides: [&TrafficSide; 2]) -> i64 {
    let minutes = sides.into_iter().flat_map(|side| &side.minutes);
    minutes.map(began).max().unwrap_or(0)
}

/// The largest value of these lines, so that both sides have one scale.
pub(super) fn largest(sides: [&TrafficSide; 2], lines: &[Line]) -> f64 {
    let minutes = || sides.into_iter().flat_map(|side| &side.minutes);
    let all = lines.iter().flat_map(|line| minutes().map(|minute| (line.value)(&minute.figures)));
    all.fold(0.0, f64::max)
}

/// A chart of one side; `said` is what it shows, for those who do not see it.
pub(super) fn chart(
    side: &TrafficSide,
    lines: &[Line],
    edge: i64,
    most: f64,
    said: &str,
) -> Markup {
    html! {
        svg class="chart" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(said) {
            line class="base" x1="0" y1=(HEIGHT - 0.5) x2=(WIDTH) y2=(HEIGHT - 0.5) {}
            @for line in lines { path class=(line.class) d=(path(side, line, edge, most)) {} }
        }
    }
}

/// Minutes beside each other are joined; where one is missing, the line ends and begins again.
fn path(side: &TrafficSide, line: &Line, edge: i64, most: f64) -> String {
    let slots = f64::from(TRAFFIC_MINUTES - 1);
    let (mut path, mut before) = (String::new(), None);
    for minute in &side.minutes {
        let ago = (edge - began(minute)) / MINUTE_US;
        if !(0..i64::from(TRAFFIC_MINUTES)).contains(&ago) {
            continue;
        }
        let x = WIDTH - ago as f64 / slots * WIDTH;
        let share = if most > 0.0 { (line.value)(&minute.figures) / most } else { 0.0 };
        let y = HEIGHT - 1.0 - share * (HEIGHT - 3.0);
        let joined = before == Some(began(minute) - MINUTE_US);
        // A minute alone is a short line.
        match joined {
            true => path.push_str(&format!("L{x:.1} {y:.1}")),
            false => path.push_str(&format!("M{:.1} {y:.1}L{x:.1} {y:.1}", x - 2.0)),
        }
        before = Some(began(minute));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: Line = Line { class: "calls", value: |figures| figures.calls as f64 };

    fn side(calls: &[(i64, u64)]) -> TrafficSide {
        let minutes = calls.iter().map(|(minute, calls)| TrafficMinute {
            at: moment::from_micros(minute * MINUTE_US),
            figures: TrafficFigures { calls: *calls, ..TrafficFigures::default() },
        });
        TrafficSide { minutes: minutes.collect(), ..TrafficSide::default() }
    }

    #[test]
    fn both_sides_have_one_scale_and_one_right_edge() {
        let (old, new) = (side(&[(100, 10), (101, 5)]), side(&[(101, 20)]));
        let (edge, most) = (edge([&old, &new]), largest([&old, &new], &[CALLS]));
        assert_eq!((edge, most), (101 * MINUTE_US, 20.0));
        assert!(path(&new, &CALLS, edge, most).ends_with("L240.0 2.0"));
        assert!(path(&old, &CALLS, edge, most).ends_with("L240.0 35.8"));
    }

    #[test]
    fn a_missing_minute_breaks_the_line_and_an_older_hour_is_not_shown() {
        let calls = side(&[(1, 1), (100, 1), (101, 1), (103, 1)]);
        let path = path(&calls, &CALLS, 103 * MINUTE_US, 1.0);
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 3), "{path}");
    }

    #[test]
    fn nothing_to_show_is_no_error() {
        let none = TrafficSide::default();
        assert_eq!((edge([&none, &none]), largest([&none, &none], &[CALLS])), (0, 0.0));
        assert_eq!(path(&none, &CALLS, 0, 0.0), "");
    }
}
