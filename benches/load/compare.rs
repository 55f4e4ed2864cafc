//! The reports of several servers side by side: what each figure of ours is to theirs.
//!
//! The ratio is taken of the bests, because what else runs on the machine only ever adds; the median
//! stands beside it and says how much was added. The last row says how quiet the machine was for each
//! of them. What this file does not do: it judges no figure, and
//! takes none of a run with errors.

use crate::report::Report;
use crate::summary::{SummaryError, asked, cost, figure, lowest, median, reports};
use std::fmt;
use std::fmt::Write as _;

/// One figure of a report, with its unit.
type Figure = (&'static str, fn(&Report) -> Option<f64>);

/// The table of the reports in this text, one JSON object a line, in Markdown. `ours` are the labels
/// that the others are held against; without any it is that of the first report.
pub(crate) fn table(text: &str, ours: &[String]) -> Result<String, SummaryError> {
    let reports = reports(text)?;
    let labels = labels(&reports)?;
    let ours = match ours {
        [] => &labels[..1],
        ours => ours,
    };
    if let Some(label) = ours.iter().find(|label| !labels.contains(label)) {
        return Err(SummaryError::Unknown {
            label: label.clone(),
        });
    }
    let mut workloads: Vec<&Report> = Vec::new();
    for report in &reports {
        if !report.is_good() {
            return Err(SummaryError::Faulty {
                label: report.label.clone().unwrap_or_default(),
                workload: report.title(),
            });
        }
        if !workloads.iter().any(|known| asked(known) == asked(report)) {
            workloads.push(report);
        }
    }
    let mut table = String::new();
    let written = header(&mut table, &labels).and_then(|()| {
        workloads.iter().try_for_each(|workload| {
            figures(workload)
                .iter()
                .try_for_each(|figure| row(&mut table, workload, figure, &reports, &labels, ours))
        })
    });
    let written = written.and_then(|()| waits(&mut table, &reports, &labels));
    written.expect("a String takes whatever is written");
    Ok(table)
}

/// The labels in the order in which they first come.
fn labels(reports: &[Report]) -> Result<Vec<String>, SummaryError> {
    let mut labels = Vec::new();
    for report in reports {
        let Some(label) = &report.label else {
            return Err(SummaryError::Label {
                workload: report.title(),
            });
        };
        if !labels.contains(label) {
            labels.push(label.clone());
        }
    }
    Ok(labels)
}

fn header(out: &mut String, labels: &[String]) -> fmt::Result {
    writeln!(out, "| workload | unit | {} |", labels.join(" | "))?;
    writeln!(out, "|---|---|{}", "---|".repeat(labels.len()))
}

/// What a workload is measured by: what it costs, and at a fixed rate how long a request takes.
fn figures(workload: &Report) -> Vec<Figure> {
    let mut figures = vec![cost(workload)];
    if workload.rate.is_some() {
        figures.push(("p50 us", |report| report.latency_us.map(|us| us.p50)));
        figures.push(("p99 us", |report| report.latency_us.map(|us| us.p99)));
    }
    figures
}

fn row(
    out: &mut String,
    workload: &Report,
    (unit, of): &Figure,
    reports: &[Report],
    labels: &[String],
    ours: &[String],
) -> fmt::Result {
    let rounds = |label: &String| -> Vec<f64> {
        reports
            .iter()
            .filter(|report| report.label.as_ref() == Some(label))
            .filter(|report| asked(report) == asked(workload))
            .filter_map(of)
            .collect()
    };
    let to_hold: Vec<Option<f64>> = ours.iter().map(|label| lowest(&rounds(label))).collect();
    write!(out, "| {} | {unit} |", workload.title())?;
    for label in labels {
        let rounds = rounds(label);
        let Some(best) = lowest(&rounds) else {
            write!(out, " - |")?;
            continue;
        };
        write!(out, " {} / {}", figure(Some(best)), figure(median(&rounds)))?;
        if !ours.contains(label) {
            let ratios: Vec<String> = to_hold.iter().map(|our| ratio(*our, best)).collect();
            write!(out, ", **{}**", ratios.join(", "))?;
        }
        write!(out, " |")?;
    }
    writeln!(out)
}

/// How many threads were ready to run and had no CPU. A server that waits finds more work each time it
/// runs, does more of it at once, and so seems to cost less than one that need not wait.
fn waits(out: &mut String, reports: &[Report], labels: &[String]) -> fmt::Result {
    write!(out, "| all of these | cores waited for |")?;
    for label in labels {
        let runs: Vec<f64> = reports
            .iter()
            .filter(|report| report.label.as_ref() == Some(label))
            .filter_map(|report| report.server.map(|server| server.waiting_cores))
            .collect();
        write!(out, " {} |", figure(median(&runs)))?;
    }
    writeln!(out)
}

/// Of what is not above zero nothing can be told: resident memory may also have shrunk.
fn ratio(our: Option<f64>, their: f64) -> String {
    let ratio = our.filter(|our| *our > 0.0 && their > 0.0);
    ratio.map_or("-".to_owned(), |our| format!("{:.2}", our / their))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report in which everything that may be measured is `value`.
    fn line(label: &str, workload: &str, value: f64) -> String {
        let rate = match workload {
            "rate" => r#""rate":4000,"#,
            _ => "",
        };
        format!(
            r#"{{"label":"{label}","workload":"{workload}","connections":64,{rate}"identities":1,"group":"x25519","suite":"aes128","seconds":2.0,"requests":9,"requests_in_all":9,"requests_per_second":4.5,"latency_us":{{"p50":{value},"p99":{p99},"p99.9":3.0,"max":4.0}},"handshakes":{{"full":0,"resumed":0}},"reconnects":0,"server":{{"cores":1.0,"waiting_cores":0.0,"cpu_us_per_request":{value},"rss_kib":100}},"generator_cores":0.5,"errors":{{}}}}"#,
            p99 = value * 10.0
        )
    }

    fn rows(lines: &[String], ours: &[&str]) -> Vec<String> {
        let ours: Vec<String> = ours.iter().map(|label| (*label).to_owned()).collect();
        let table = table(&lines.join("\n"), &ours).unwrap();
        table.lines().map(str::to_owned).collect()
    }

    #[test]
    fn ours_is_held_against_each_other_by_its_best() {
        let lines = [
            line("durable", "h1", 22.0),
            line("buffered", "h1", 15.0),
            line("nginx", "h1", 40.0),
            line("durable", "h1", 20.0),
            line("buffered", "h1", 16.0),
            line("nginx", "h1", 50.0),
        ];
        assert_eq!(
            rows(&lines, &["durable", "buffered"]),
            [
                "| workload | unit | durable | buffered | nginx |",
                "|---|---|---|---|---|",
                "| h1, 64, x25519 | us/request | 20.0 / 21.0 | 15.0 / 15.5 | 40.0 / 45.0, **0.50, 0.38** |",
                "| all of these | cores waited for | 0.00 | 0.00 | 0.00 |",
            ]
        );
    }

    #[test]
    fn the_first_label_is_ours_where_none_is_named() {
        let row = &rows(&[line("a", "h1", 1.0), line("b", "h1", 4.0)], &[])[2];
        assert!(
            row.ends_with("| 1.00 / 1.00 | 4.00 / 4.00, **0.25** |"),
            "{row}"
        );
    }

    #[test]
    fn what_a_server_was_not_measured_at_is_a_dash() {
        let lines = [
            line("a", "h1", 1.0),
            line("b", "handshake", 4.0),
            line("c", "h1", 2.0),
        ];
        let rows = rows(&lines, &["a"]);
        assert!(rows[2].ends_with("| 1.00 / 1.00 | - | 2.00 / 2.00, **0.50** |"));
        assert!(
            rows[3].ends_with("| - | 4.00 / 4.00, **-** | - |"),
            "{}",
            rows[3]
        );
    }

    #[test]
    fn at_a_fixed_rate_the_latency_counts_too() {
        let rows = rows(&[line("a", "rate", 300.0), line("b", "rate", 200.0)], &[]);
        assert_eq!(
            rows[2..5],
            [
                "| rate, 64, 4000/s, x25519 | us/request | 300 / 300 | 200 / 200, **1.50** |",
                "| rate, 64, 4000/s, x25519 | p50 us | 300 / 300 | 200 / 200, **1.50** |",
                "| rate, 64, 4000/s, x25519 | p99 us | 3000 / 3000 | 2000 / 2000, **1.50** |",
            ]
        );
    }

    #[test]
    fn how_long_each_waited_for_a_cpu_stands_below() {
        let busy = line("b", "h1", 1.0).replace(r#""waiting_cores":0.0"#, r#""waiting_cores":0.5"#);
        let rows = rows(&[line("a", "h1", 1.0), line("b", "h2", 1.0), busy], &[]);
        assert_eq!(
            rows.last().unwrap(),
            "| all of these | cores waited for | 0.00 | 0.25 |"
        );
    }

    #[test]
    fn a_run_with_errors_makes_no_figure() {
        let bad = line("b", "h1", 1.0).replace(r#""errors":{}"#, r#""errors":{"closed":1}"#);
        let error = table(&format!("{}\n{bad}", line("a", "h1", 1.0)), &[]).unwrap_err();
        assert!(matches!(error, SummaryError::Faulty { label, .. } if label == "b"));
    }

    #[test]
    fn who_is_not_there_is_not_compared() {
        let unlabelled = line("a", "h1", 1.0).replace(r#""label":"a","#, "");
        let error = table(&unlabelled, &[]).unwrap_err();
        assert!(matches!(error, SummaryError::Label { .. }));
        let error = table(&line("a", "h1", 1.0), &["b".to_owned()]).unwrap_err();
        assert!(matches!(error, SummaryError::Unknown { label } if label == "b"));
    }
}
