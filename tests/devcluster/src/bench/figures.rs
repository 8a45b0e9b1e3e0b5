//! The figures, beside what they shall be and what the Go operator's are.

use std::fmt::Write as _;
use std::time::Duration;

/// One line of the table.
struct Line {
    what: String,
    measured: String,
    /// What it shall be at most, as text; empty where nothing is promised.
    goal: String,
    missed: bool,
    /// The Go operator's figure; empty where there is none.
    before: &'static str,
}

/// All lines, in the order in which they are shown.
#[derive(Default)]
pub(super) struct Figures {
    lines: Vec<Line>,
}

impl Figures {
    /// Adds a figure that has a goal.
    pub(super) fn bounded(&mut self, what: &str, value: f64, most: f64, unit: Unit, before: &'static str) {
        self.lines.push(Line {
            what: what.to_owned(),
            measured: unit.show(value),
            goal: format!("<= {}", unit.show(most)),
            missed: value > most,
            before,
        });
    }

    /// Adds a count that has a goal, shown as `shown`.
    pub(super) fn counted(&mut self, what: &str, shown: String, count: usize, most: usize, before: &'static str) {
        self.lines.push(Line {
            what: what.to_owned(),
            measured: shown,
            goal: format!("<= {most}"),
            missed: count > most,
            before,
        });
    }

    /// Adds a figure that is told only.
    pub(super) fn told(&mut self, what: &str, value: String, before: &'static str) {
        self.lines.push(Line {
            what: what.to_owned(),
            measured: value,
            goal: String::new(),
            missed: false,
            before,
        });
    }

    /// A table in Markdown.
    pub(super) fn table(&self) -> String {
        let mut rows = vec![["figure", "measured", "goal", "", "Go operator"].map(str::to_owned)];
        rows.extend(self.lines.iter().map(|line| {
            let condition_update = match (line.goal.is_empty(), line.missed) {
                (true, _) => "",
                (false, true) => "MISSED",
                (false, false) => "ok",
            };
            [&line.what, &line.measured, &line.goal, condition_update, line.before].map(str::to_owned)
        }));
        let widths: Vec<usize> = (0..5)
            .map(|column| {
                rows.iter()
                    .map(|row| row[column].chars().count())
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        let mut text = String::new();
        for (number, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            let _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
            if number == 0 {
                let rules = widths.iter().map(|width| "-".repeat(*width));
                let _ = writeln!(text, "| {} |", rules.collect::<Vec<_>>().join(" | "));
            }
        }
        text
    }
}

/// How a figure is written.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Milliseconds,
    Seconds,
    Megabytes,
}

impl Unit {
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Megabytes => format!("{value:.1} MB"),
        }
    }
}

/// Durations of the same thing, measured again and again.
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    pub(super) fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort();
        Self(samples)
    }

    /// The value that this many of a hundred samples do not exceed, in milliseconds.
    pub(super) fn percentile(&self, hundredth: usize) -> f64 {
        let rank = (self.0.len() * hundredth).div_ceil(100).max(1);
        milliseconds(self.0.get(rank - 1).copied().unwrap_or_default())
    }

    /// The least and the greatest.
    pub(super) fn range(&self) -> String {
        let end = |end: Option<&Duration>| end.copied().map_or(0.0, milliseconds);
        format!("{:.0} to {:.0} ms", end(self.0.first()), end(self.0.last()))
    }
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let samples = Samples::new((1..=100).rev().map(Duration::from_millis).collect());
        let close = |hundredth, expected: f64| (samples.percentile(hundredth) - expected).abs() < 1e-9;
        assert!(close(50, 50.0) && close(95, 95.0) && close(100, 100.0));
        assert_eq!(samples.range(), "1 to 100 ms");
    }

    #[test]
    fn a_figure_above_its_goal_is_marked() {
        let mut figures = Figures::default();
        figures.bounded("size", 3.0, 2.0, Unit::Megabytes, "9 MB");
        figures.bounded("time", 2.0, 2.0, Unit::Milliseconds, "");
        let table = figures.table();
        assert!(
            table.contains("| size   | 3.0 MB   | <= 2.0 MB | MISSED | 9 MB        |"),
            "{table}"
        );
        assert!(table.contains("| ok     |"), "{table}");
    }
}
