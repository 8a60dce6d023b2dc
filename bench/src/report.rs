//! Figures as people read them.

use std::fmt;
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::load::Outcome;
use crate::pace::Pace;
use crate::watch::Method;

/// Rows of text in aligned columns.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|text| (*text).to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let empty = String::new();
            let cells: Vec<String> = widths
                .iter()
                .enumerate()
                .map(|(column, width)| format!("{:width$}", row.get(column).unwrap_or(&empty)))
                .collect();
            writeln!(f, "| {} |", cells.join(" | "))?;
            if number == 0 {
                let lines: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                writeln!(f, "| {} |", lines.join(" | "))?;
            }
        }
        Ok(())
    }
}

/// One row for each measure, one column for each outcome.
pub(crate) fn outcome_rows(table: &mut Table, outcomes: &[&Outcome]) {
    let mut row = |name: &str, cell: &dyn Fn(&Outcome) -> String| {
        let mut cells = vec![name.to_owned()];
        cells.extend(outcomes.iter().map(|outcome| cell(outcome)));
        table.row(&cells);
    };
    row("load", &|outcome| match outcome.pace {
        Pace::Closed => "closed loop".to_owned(),
        Pace::PerSecond(rate) => format!("{rate:.0}/s"),
    });
    row("included", &|outcome| {
        let dry = if outcome.ran_dry { " (ran out of signed transactions)" } else { "" };
        format!("{:.1}/s{dry}", outcome.included_per_second)
    });
    row("sent / rejected / reverted / lost", &|outcome| {
        format!("{} / {} / {} / {}", outcome.sent, outcome.rejected, outcome.reverted, outcome.lost)
    });
    row("to the RPC's answer p50 / p90 / p99", &|outcome| percentiles(&outcome.answered, &[0.5, 0.9, 0.99]));
    row("to PRE_CONFIRMED p50 / p90 / p99", &|outcome| percentiles(&outcome.pre_confirmed, &[0.5, 0.9, 0.99]));
    row("to ACCEPTED_ON_L2 p50 / p90 / p99", &|outcome| percentiles(&outcome.accepted, &[0.5, 0.9, 0.99]));
    row("processors used", &|outcome| outcome.processors.map_or_else(String::new, |used| format!("{used:.2}")));
    row("watched by", &|outcome| match outcome.watched_by {
        Method::Subscription => "subscription".to_owned(),
        Method::Polling => "polling".to_owned(),
    });
    for outcome in outcomes.iter().filter(|outcome| !outcome.quotes.is_empty()) {
        eprintln!("rejections begin with: {}", outcome.quotes.join("; "));
    }
}

/// An empty histogram of microseconds, up to ten minutes.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds in order, three digits")
}

/// Enters how long something took, if it came to an end.
pub(crate) fn record(histogram: &mut Histogram<u64>, from: Instant, to: Option<Instant>) {
    if let Some(to) = to {
        histogram.saturating_record(to.saturating_duration_since(from).as_micros() as u64);
    }
}

/// Milliseconds within which these parts of a histogram of microseconds lie.
pub(crate) fn percentiles(histogram: &Histogram<u64>, parts: &[f64]) -> String {
    let at = |part: &f64| milliseconds(histogram.value_at_quantile(*part) as f64 / 1000.0);
    format!("{} ms", parts.iter().map(at).collect::<Vec<_>>().join(" / "))
}

/// Three digits that say something.
pub(crate) fn milliseconds(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}
