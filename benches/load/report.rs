//! The figures of one run, as one JSON object or as lines for people.
//!
//! Units stand in the names. A figure that was not measured is absent, never zero. What this file
//! does not do: it measures nothing.

use crate::plan::{Plan, Workload};
use crate::process::CpuUse;
use crate::tally::Counts;
use crate::tls::{Group, Suite};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Above this share of the window the generator had no time to spare.
const SATURATED: f64 = 0.95;

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// The words given with `--label`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// What was done.
    pub(crate) workload: String,
    /// On how many connections at once.
    pub(crate) connections: u32,
    /// Streams on each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) streams: Option<u32>,
    /// Requests a second that were meant to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u32>,
    /// Bytes of each body that was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body_bytes: Option<u64>,
    /// How many different client certificates were presented in turn.
    pub(crate) identities: usize,
    /// The one group that was offered.
    pub(crate) group: String,
    /// The one cipher suite that was offered.
    pub(crate) suite: String,
    /// Length of the window.
    pub(crate) seconds: f64,
    /// Requests that were answered with 2xx within the window.
    pub(crate) requests: u64,
    /// Requests that were answered with 2xx in the whole run: what a log must hold of it.
    pub(crate) requests_in_all: u64,
    /// Those of the window, each second, where requests are sent in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_second: Option<f64>,
    /// From the start of a request (of the connection, in `handshake`; from the intended start, in
    /// `rate`) to the last byte of its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<Quantiles>,
    /// From the intended start to the first byte written: the share of latency that is waiting for
    /// a free connection, and the generator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) start_delay_us: Option<Quantiles>,
    /// Bytes of bodies that passed in the window, in 10^9 a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gb_per_second: Option<f64>,
    /// TLS handshakes in the window.
    pub(crate) handshakes: HandshakeCounts,
    /// Connections that the server ended in good order in the window.
    pub(crate) reconnects: u64,
    /// The server's process tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<ServerFigures>,
    /// CPU time of the generator itself, in cores.
    pub(crate) generator_cores: f64,
    /// What went wrong, in the whole run, by kind.
    pub(crate) errors: BTreeMap<String, u64>,
    /// The first of the errors in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_error: Option<String>,
    /// Why a figure here may not mean what it seems to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// Of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quantiles {
    /// The median.
    pub(crate) p50: f64,
    /// 99 of 100 are not above it.
    pub(crate) p99: f64,
    /// 999 of 1000 are not above it.
    #[serde(rename = "p99.9")]
    pub(crate) p999: f64,
    /// The largest.
    pub(crate) max: f64,
}

/// How handshakes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HandshakeCounts {
    /// With certificates of both sides.
    pub(crate) full: u64,
    /// By a ticket.
    pub(crate) resumed: u64,
}

/// What the server's process tree used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerFigures {
    /// CPU time in the window, in cores.
    pub(crate) cores: f64,
    /// Time in the window in which its threads were ready to run and had no CPU, in cores.
    pub(crate) waiting_cores: f64,
    /// CPU time for each request that ended in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_request: Option<f64>,
    /// CPU seconds for each 10^9 bytes of bodies that passed in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_s_per_gb: Option<f64>,
    /// Resident memory at the end of the window.
    pub(crate) rss_kib: u64,
    /// Growth of resident memory for each idle connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rss_kib_per_connection: Option<f64>,
}

/// What was measured of processes in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    /// The length of the window.
    pub(crate) elapsed: Duration,
    /// The generator's own share.
    pub(crate) generator: CpuUse,
    /// The server's, if its processes were named.
    pub(crate) server: Option<ServerUse>,
}

/// What the server's processes used in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ServerUse {
    /// CPU time.
    pub(crate) cpu: CpuUse,
    /// Bytes resident at the end.
    pub(crate) resident: u64,
    /// Bytes by which resident memory grew for each idle connection.
    pub(crate) resident_per_connection: Option<f64>,
}

impl Report {
    /// The figures of a run of this plan.
    pub(crate) fn new(plan: &Plan, identities: usize, counts: &Counts, run: &Measured) -> Self {
        let seconds = run.elapsed.as_secs_f64();
        let moves_bodies = plan.workload.body_bytes().is_some();
        let is_idle = matches!(plan.workload, Workload::Idle { .. });
        let (streams, rate) = match plan.workload {
            Workload::H2 { streams, .. } => (Some(streams), None),
            Workload::Rate { rate, .. } => (None, Some(rate)),
            Workload::Handshake { .. }
            | Workload::H1 { .. }
            | Workload::Download { .. }
            | Workload::Upload { .. }
            | Workload::Idle { .. } => (None, None),
        };
        Self {
            label: plan.label.clone(),
            workload: plan.workload.name().to_owned(),
            connections: plan.workload.connections(),
            streams,
            rate,
            body_bytes: plan.workload.body_bytes(),
            identities,
            group: Group::word(plan.group),
            suite: Suite::word(plan.suite),
            seconds,
            requests: counts.requests,
            requests_in_all: counts.answered,
            requests_per_second: ratio(float(counts.requests), seconds).filter(|_| !is_idle),
            latency_us: Quantiles::of(&counts.latency),
            start_delay_us: Quantiles::of(&counts.start_delay),
            gb_per_second: ratio(float(counts.bytes) / 1e9, seconds).filter(|_| moves_bodies),
            handshakes: HandshakeCounts {
                full: counts.handshakes.full,
                resumed: counts.handshakes.resumed,
            },
            reconnects: counts.reconnects,
            server: run
                .server
                .map(|server| ServerFigures::new(&server, counts, run.elapsed, moves_bodies)),
            generator_cores: cores(run.generator.running, run.elapsed),
            errors: counts
                .faults
                .by_kind
                .iter()
                .map(|(kind, count)| ((*kind).to_owned(), *count))
                .collect(),
            first_error: counts.faults.first.clone(),
            warnings: warnings(run),
        }
    }

    /// What was done, with its numbers, in one line.
    pub(crate) fn title(&self) -> String {
        let connections = match self.streams {
            Some(streams) => format!("{} x {streams}", self.connections),
            None => self.connections.to_string(),
        };
        let parts = [
            Some(self.workload.clone()),
            Some(connections),
            self.rate.map(|rate| format!("{rate}/s")),
            self.body_bytes.map(|bytes| format!("{bytes} B")),
            (self.identities > 1).then(|| format!("{} identities", self.identities)),
            Some(self.group.clone()),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Whether nothing went wrong and something was measured.
    pub(crate) fn is_good(&self) -> bool {
        let measured = self.requests_per_second.is_none_or(|rate| rate > 0.0);
        self.errors.is_empty() && measured
    }
}

impl Quantiles {
    /// In microseconds, of a histogram of nanoseconds; `None` when nothing was recorded.
    pub(crate) fn of(nanoseconds: &Histogram<u64>) -> Option<Self> {
        let us = |quantile| float(nanoseconds.value_at_quantile(quantile)) / 1e3;
        (!nanoseconds.is_empty()).then(|| Self {
            p50: us(0.5),
            p99: us(0.99),
            p999: us(0.999),
            max: us(1.0),
        })
    }
}

impl ServerFigures {
    fn new(server: &ServerUse, counts: &Counts, elapsed: Duration, moves_bodies: bool) -> Self {
        let running = server.cpu.running.as_secs_f64();
        Self {
            cores: cores(server.cpu.running, elapsed),
            waiting_cores: cores(server.cpu.waiting, elapsed),
            cpu_us_per_request: ratio(running * 1e6, float(counts.requests)),
            cpu_s_per_gb: ratio(running, float(counts.bytes) / 1e9).filter(|_| moves_bodies),
            rss_kib: server.resident / 1024,
            rss_kib_per_connection: server.resident_per_connection.map(|bytes| bytes / 1024.0),
        }
    }
}

/// What a reader of the figures must know.
fn warnings(run: &Measured) -> Vec<String> {
    let mut warnings = Vec::new();
    let busy = cores(run.generator.running + run.generator.waiting, run.elapsed);
    if busy >= SATURATED {
        warnings.push(format!(
            "the generator ran or waited for a CPU {:.0} % of the time: requests a second are \
             what it can do, not what the server can; CPU time a request stands",
            busy * 100.0
        ));
    }
    if let Some(ended) = run.server.map(|server| server.cpu.ended)
        && ended > 0
    {
        warnings.push(format!(
            "{ended} threads of the server ended in the window and took their CPU time with them: \
             the server's CPU figures are too low"
        ));
    }
    warnings
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<24}{value}");
        if let Some(label) = &self.label {
            row("label", label.clone())?;
        }
        row("workload", self.title())?;
        row("window", format!("{:.2} s", self.seconds))?;
        if let Some(rate) = self.requests_per_second {
            row(
                "requests",
                format!("{} ({rate:.0} a second)", self.requests),
            )?;
        }
        if let Some(latency) = &self.latency_us {
            row("latency", latency.to_string())?;
        }
        if let Some(delay) = &self.start_delay_us {
            row("of it, before sending", delay.to_string())?;
        }
        if let Some(speed) = self.gb_per_second {
            row("bodies", format!("{speed:.3} GB/s"))?;
        }
        row(
            "handshakes",
            format!(
                "{} full, {} resumed; {} reconnects",
                self.handshakes.full, self.handshakes.resumed, self.reconnects
            ),
        )?;
        if let Some(server) = &self.server {
            row("server", server.to_string())?;
        }
        row("generator", format!("{:.2} cores", self.generator_cores))?;
        let errors: u64 = self.errors.values().sum();
        row("errors", errors.to_string())?;
        for (kind, count) in &self.errors {
            row("", format!("{count} {kind}"))?;
        }
        if let Some(first) = &self.first_error {
            row("first error", first.clone())?;
        }
        for warning in &self.warnings {
            row("warning", warning.clone())?;
        }
        Ok(())
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, max {:.0} us",
            self.p50, self.p99, self.p999, self.max
        )
    }
}

impl fmt::Display for ServerFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} cores (waited {:.2})",
            self.cores, self.waiting_cores
        )?;
        match (self.cpu_s_per_gb, self.cpu_us_per_request) {
            (Some(seconds), _) => write!(f, ", {seconds:.3} CPU s a GB")?,
            (None, Some(us)) => write!(f, ", {us:.1} CPU us a request")?,
            (None, None) => {}
        }
        write!(f, ", RSS {} KiB", self.rss_kib)?;
        match self.rss_kib_per_connection {
            Some(kib) => write!(f, ", {kib:.1} KiB a connection"),
            None => Ok(()),
        }
    }
}

/// The word for a choice on the command line.
trait Word: ValueEnum {
    fn word(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

impl<T: ValueEnum> Word for T {}

fn cores(time: Duration, elapsed: Duration) -> f64 {
    ratio(time.as_secs_f64(), elapsed.as_secs_f64()).unwrap_or_default()
}

/// `None` instead of a division by zero.
fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator > 0.0).then(|| numerator / denominator)
}

#[allow(clippy::cast_precision_loss)] // counts of one run are far below 2^53
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::tally::Tally;
    use crate::tls::Identities;
    use tokio::time::Instant;

    fn plan(workload: Workload) -> Plan {
        Plan {
            to: "127.0.0.1:8443".parse().unwrap(),
            server_name: "localhost".try_into().unwrap(),
            authority: "localhost:8443".parse().unwrap(),
            target: "/".to_owned(),
            ca: "trust.pem".into(),
            identities: Identities::Folders("clients".into()),
            group: Group::X25519,
            suite: Suite::Aes128,
            workload,
            warm_up: Duration::from_millis(500),
            window: Duration::from_secs(2),
            servers: vec![1],
            label: Some("first".to_owned()),
        }
    }

    fn counts(requests: u64, bytes: u64) -> Counts {
        let (tally, now) = (Tally::new(), Instant::now());
        tally.begin(now);
        tally.passed(bytes);
        for _ in 0..requests {
            tally.started();
            tally.answered(now, now + Duration::from_millis(4));
        }
        tally.counts()
    }

    fn measured(running_ms: u64) -> Measured {
        Measured {
            elapsed: Duration::from_secs(2),
            generator: CpuUse {
                running: Duration::from_secs(1),
                waiting: Duration::from_millis(500),
                ended: 0,
            },
            server: Some(ServerUse {
                cpu: CpuUse {
                    running: Duration::from_millis(running_ms),
                    waiting: Duration::ZERO,
                    ended: 0,
                },
                resident: 4096,
                resident_per_connection: None,
            }),
        }
    }

    #[test]
    fn cpu_time_is_divided_by_the_requests_of_the_window() {
        let plan = plan(Workload::H1 { connections: 64 });
        let report = Report::new(&plan, 1, &counts(1000, 5_000_000), &measured(20));
        let server = report.server.unwrap();
        assert_eq!(server.cpu_us_per_request, Some(20.0));
        assert_eq!(server.cpu_s_per_gb, None);
        assert!((server.cores - 0.01).abs() < 1e-9);
        assert_eq!(report.requests_per_second, Some(500.0));
        assert!((report.latency_us.unwrap().p50 - 4000.0).abs() < 4.0);
        assert_eq!(server.rss_kib, 4);
        assert!(report.is_good());
        assert_eq!(report.warnings, Vec::<String>::new());
    }

    #[test]
    fn of_transfers_the_cpu_time_is_divided_by_the_bytes() {
        let plan = plan(Workload::Upload {
            connections: 8,
            bytes: 1 << 20,
        });
        let report = Report::new(&plan, 1, &counts(1, 500_000_000), &measured(250));
        let server = report.server.unwrap();
        assert!((server.cpu_s_per_gb.unwrap() - 0.5).abs() < 1e-9);
        assert!((report.gb_per_second.unwrap() - 0.25).abs() < 1e-9);
        assert!(report.to_string().contains("0.500 CPU s a GB"), "{report}");
    }

    #[test]
    fn what_was_not_measured_is_absent_and_not_zero() {
        let plan = plan(Workload::H1 { connections: 1 });
        let mut run = measured(20);
        run.server = None;
        let report = Report::new(&plan, 1, &counts(0, 0), &run);
        let json = serde_json::to_value(&report).unwrap();
        for name in ["server", "latency_us", "start_delay_us", "gb_per_second"] {
            assert_eq!(json.get(name), None, "{name}");
        }
        assert!(!report.is_good(), "nothing was measured");
    }

    #[test]
    fn an_error_makes_the_run_bad_however_many_answers_there_were() {
        let plan = plan(Workload::H1 { connections: 1 });
        let tally = Tally::new();
        tally.begin(Instant::now());
        tally.started();
        tally.answered(Instant::now(), Instant::now());
        tally.fault(&Fault::Closed);
        let report = Report::new(&plan, 1, &tally.counts(), &measured(1));
        assert!(!report.is_good());
        assert_eq!(report.errors["closed"], 1);
        assert!(report.to_string().contains("1 closed"));
    }

    #[test]
    fn a_generator_without_time_to_spare_and_threads_that_ended_are_told() {
        let mut run = measured(20);
        run.generator.waiting = Duration::from_millis(950);
        if let Some(server) = &mut run.server {
            server.cpu.ended = 2;
        }
        let plan = plan(Workload::H1 { connections: 1 });
        let report = Report::new(&plan, 1, &counts(1, 0), &run);
        assert_eq!(report.warnings.len(), 2);
        assert!(report.is_good(), "a warning is no error");
    }

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let plan = plan(Workload::Rate {
            connections: 64,
            rate: 4000,
        });
        let report = Report::new(&plan, 3, &counts(10, 10), &measured(33));
        let json = serde_json::to_string(&report).unwrap();
        assert!(!json.contains('\n'));
        assert!(json.contains(r#""p99.9":"#));
        let again: Report = serde_json::from_str(&json).unwrap();
        assert_eq!(again, report);
    }
}
