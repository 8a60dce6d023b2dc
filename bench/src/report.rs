//! Figures as people read them.

use std::fmt;

use hdrhistogram::Histogram;

use crate::load::{Outcome, Pace};
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
    row("to the RPC's answer p50 / p90 / p99", &|outcome| percentiles(&outcome.answered));
    row("to PRE_CONFIRMED p50 / p90 / p99", &|outcome| percentiles(&outcome.pre_confirmed));
    row("to ACCEPTED_ON_L2 p50 / p90 / p99", &|outcome| percentiles(&outcome.accepted));
    row("processors used", &|outcome| outcome.processors.map_or_else(String::new, |used| format!("{used:.2}")));
    row("watched by", &|outcome| match outcome.watched_by {
        Method::Subscription => "subscription".to_owned(),
        Method::Polling => "polling".to_owned(),
    });
    for outcome in outcomes.iter().filter(|outcome| !outcome.quotes.is_empty()) {
        eprintln!("rejections begin with: {}", outcome.quotes.join("; "));
    }
}

fn percentiles(histogram: &Histogram<u64>) -> String {
    let at = |percentile| milliseconds(histogram.value_at_quantile(percentile) as f64 / 1000.0);
    format!("{} / {} / {} ms", at(0.5), at(0.9), at(0.99))
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
