//! The reports of several rounds as one table: of each figure the median, which says what to
//! expect on this machine, and the best, which is least disturbed by what else runs on it.
//!
//! Reports belong together when everything that was asked of them is equal. What this file does
//! not do: it judges no figure.

use crate::report::Report;
use std::fmt;
use std::fmt::Write as _;

const HEADER: &str = "\
| workload | rounds | server CPU, median | best | requests/s, median | best | p50 us, median \
| p99 us, median | best | errors |
|---|---|---|---|---|---|---|---|---|---|
";

/// Why there is no table.
#[derive(Debug)]
pub(crate) enum SummaryError {
    /// A line is no report.
    Line {
        /// Which, counted from one.
        number: usize,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// There is no report at all.
    Empty,
    /// A report does not say of whom it is.
    Label {
        /// Of which workload.
        workload: String,
    },
    /// No report is of this server.
    Unknown {
        /// The label that was asked for.
        label: String,
    },
    /// A run had errors, or nothing was measured in it.
    Faulty {
        /// Of which server.
        label: String,
        /// Of which workload.
        workload: String,
    },
}

/// The table of the reports in this text, one JSON object a line, in Markdown.
pub(crate) fn table(text: &str) -> Result<String, SummaryError> {
    let mut groups: Vec<Vec<Report>> = Vec::new();
    for report in reports(text)? {
        let is_like = |group: &&mut Vec<Report>| {
            group[0].label == report.label && asked(&group[0]) == asked(&report)
        };
        match groups.iter_mut().find(is_like) {
            Some(group) => group.push(report),
            None => groups.push(vec![report]),
        }
    }
    let mut table = HEADER.to_owned();
    for group in &groups {
        row(&mut table, group).expect("a String takes whatever is written");
    }
    Ok(table)
}

/// The reports in this text, one JSON object a line: at least one.
pub(crate) fn reports(text: &str) -> Result<Vec<Report>, SummaryError> {
    let reports: Vec<Report> = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| SummaryError::Line { number, error })
        })
        .collect::<Result<_, _>>()?;
    if reports.is_empty() {
        return Err(SummaryError::Empty);
    }
    Ok(reports)
}

/// Everything that was asked of a run, whoever was asked.
pub(crate) fn asked(report: &Report) -> impl PartialEq + use<> {
    (
        report.workload.clone(),
        report.connections,
        report.streams,
        report.rate,
        report.body_bytes,
        report.identities,
        report.group.clone(),
        report.suite.clone(),
    )
}

fn row(out: &mut String, rounds: &[Report]) -> fmt::Result {
    let (unit, of) = cost(&rounds[0]);
    let cost: Vec<f64> = rounds.iter().filter_map(of).collect();
    let rate: Vec<f64> = rounds
        .iter()
        .filter_map(|round| round.requests_per_second)
        .collect();
    let latency = |of: fn(&crate::report::Quantiles) -> f64| -> Vec<f64> {
        rounds
            .iter()
            .filter_map(|round| round.latency_us.as_ref().map(of))
            .collect()
    };
    let (p50, p99) = (latency(|q| q.p50), latency(|q| q.p99));
    let errors: u64 = rounds.iter().flat_map(|round| round.errors.values()).sum();
    let label = rounds[0].label.as_ref();
    writeln!(
        out,
        "| {}{} | {} | {} {unit} | {} | {} | {} | {} | {} | {} | {errors} |",
        label.map_or(String::new(), |label| format!("{label}: ")),
        rounds[0].title(),
        rounds.len(),
        figure(median(&cost)),
        figure(lowest(&cost)),
        figure(median(&rate)),
        figure(highest(&rate)),
        figure(median(&p50)),
        figure(median(&p99)),
        figure(lowest(&p99)),
    )
}

/// What the server's cost is counted in, and where it stands.
pub(crate) fn cost(report: &Report) -> (&'static str, fn(&Report) -> Option<f64>) {
    if report.body_bytes.is_some() {
        ("s/GB", |report| {
            report.server.and_then(|server| server.cpu_s_per_gb)
        })
    } else if report
        .server
        .is_some_and(|server| server.rss_kib_per_connection.is_some())
    {
        ("KiB/connection", |report| {
            report
                .server
                .and_then(|server| server.rss_kib_per_connection)
        })
    } else {
        ("us/request", |report| {
            report.server.and_then(|server| server.cpu_us_per_request)
        })
    }
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len().is_multiple_of(2) {
        Some(f64::midpoint(sorted[middle - 1], upper))
    } else {
        Some(upper)
    }
}

pub(crate) fn lowest(values: &[f64]) -> Option<f64> {
    values.iter().copied().min_by(f64::total_cmp)
}

fn highest(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}

/// Three digits are more than the machine's noise leaves standing.
pub(crate) fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

impl fmt::Display for SummaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { number, error } => {
                write!(f, "line {number} is no report of `load --json`: {error}")
            }
            Self::Empty => f.write_str("there is no report to summarize"),
            Self::Label { workload } => {
                write!(
                    f,
                    "a report of {workload} has no label: whose figures are they?"
                )
            }
            Self::Unknown { label } => write!(f, "no report has the label {label}"),
            Self::Faulty { label, workload } => {
                write!(
                    f,
                    "a run of {workload} against {label} had errors: its figures mean nothing"
                )
            }
        }
    }
}

impl std::error::Error for SummaryError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(cpu: f64, rate: f64, p99: f64, errors: &str) -> String {
        format!(
            r#"{{"workload":"h2","connections":8,"streams":32,"identities":1,"group":"x25519","suite":"aes128","seconds":2.0,"requests":9,"requests_in_all":9,"requests_per_second":{rate},"latency_us":{{"p50":1.0,"p99":{p99},"p99.9":3.0,"max":4.0}},"handshakes":{{"full":0,"resumed":0}},"reconnects":0,"server":{{"cores":1.0,"waiting_cores":0.0,"cpu_us_per_request":{cpu},"rss_kib":100}},"generator_cores":0.5,"errors":{{{errors}}}}}"#
        )
    }

    #[test]
    fn rounds_of_the_same_run_become_one_row_of_medians_and_bests() {
        let text = [
            line(20.0, 40_000.0, 5000.0, ""),
            line(31.0, 30_000.0, 9000.0, r#""closed":2"#),
            line(22.0, 45_000.0, 6000.0, ""),
        ]
        .join("\n");
        let table = table(&text).unwrap();
        let row = table.lines().nth(2).unwrap();
        assert_eq!(
            row,
            "| h2, 8 x 32, x25519 | 3 | 22.0 us/request | 20.0 | 40000 | 45000 | 1.00 | 6000 | 5000 | 2 |"
        );
        assert_eq!(table.lines().count(), 3);
    }

    #[test]
    fn what_was_asked_otherwise_is_another_row() {
        let other = line(1.0, 1.0, 1.0, "").replace("\"streams\":32", "\"streams\":1");
        let text = format!("{}\n\n{other}\n", line(1.0, 1.0, 1.0, ""));
        assert_eq!(table(&text).unwrap().lines().count(), 4);
    }

    #[test]
    fn a_median_of_two_lies_between_them() {
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[4.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_line_that_is_no_report_is_named() {
        let text = format!("{}\n{{}}\n", line(1.0, 1.0, 1.0, ""));
        let error = table(&text).unwrap_err();
        assert!(
            error.to_string().starts_with("line 2 is no report"),
            "{error}"
        );
        assert!(matches!(table(" \n"), Err(SummaryError::Empty)));
    }
}
