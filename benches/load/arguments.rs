//! What is typed: workloads, options and the reading of their values, up to a [`Plan`].
//!
//! What this file does not do: it prints nothing and opens nothing; the bounds of a run stand in
//! [`plan`](crate::plan).

use crate::loopback::Loopback;
use crate::plan::{
    MAX_BYTES, MAX_CONNECTIONS, MAX_RATE, MAX_REQUESTS, MAX_STREAMS, MAX_WINDOW, Plan, Workload,
};
use crate::tls::{Group, Identities, Suite};
use clap::{Args, Parser, Subcommand, value_parser};
use http::HeaderValue;
use rustls::pki_types::{DnsName, ServerName};
use std::path::PathBuf;
use std::time::Duration;

/// Drives a TLS server on this machine with client certificates, and measures it.
///
/// Exit codes: 0 measured without an error, 1 anything went wrong, 64 wrong usage.
#[derive(Debug, Parser)]
#[command(
    name = "load",
    version,
    disable_help_subcommand = true,
    after_help = "Example:
  load h1 --to 127.0.0.1:8443 --ca device/trust.pem --cert device/chain.pem \\
    --key device/key.pem --server-pid $(pidof gateway)"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is done.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // there is one in a process
pub(crate) enum Command {
    #[command(flatten)]
    Measure(Measure),
    /// An upstream that costs next to nothing: 1 KiB for a GET, N bytes for /bytes/N.
    ///
    /// Prints the address it listens on. A body of a request is swallowed and counted.
    #[command(after_help = "Example:\n  load backend --listen 127.0.0.1:8080 --pin 1")]
    Backend {
        /// The address to listen on; port 0 takes a free one.
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
        listen: Loopback,
        /// Run on this CPU alone.
        #[arg(long, value_name = "CPU", value_parser = cpu())]
        pin: Option<u16>,
        /// Seconds after which it ends.
        #[arg(long, value_name = "SECONDS", default_value_t = 3600,
              value_parser = value_parser!(u32).range(1..=86_400))]
        lifetime: u32,
    },
    /// The JSON reports of several rounds as one Markdown table of medians and bests.
    #[command(after_help = "Example:\n  load summary rounds.jsonl")]
    Summary {
        /// One report a line; `-` is stdin.
        file: PathBuf,
    },
    /// The JSON reports of several servers side by side, as one Markdown table of ratios.
    ///
    /// A column for each label, a row for each figure. A cell holds the best of the rounds and their
    /// median, and behind them, for each of ours, its best over this best: below 1 ours costs less.
    #[command(after_help = "Example:
  load compare rounds.jsonl --ours durable --ours buffered")]
    Compare {
        /// One report a line; `-` is stdin.
        file: PathBuf,
        /// The label of a server that the others are held against. May be given several times
        /// [default: that of the first report].
        #[arg(long, value_name = "LABEL")]
        ours: Vec<String>,
    },
    /// A figure against a size: a plot on logarithmic axes, and the same as a Markdown table.
    ///
    /// A point is a line: what it belongs to, the size, the figure, between tabs. Of several for one
    /// size the median counts.
    #[command(after_help = "Example:
  load plot routes.tsv --title 'Routes' --sizes routes --figures 'CPU us a request' \\
    --out routes.svg")]
    Plot {
        /// The points; `-` is stdin.
        file: PathBuf,
        /// What stands above the plot.
        #[arg(long, value_name = "TEXT")]
        title: String,
        /// What the sizes are.
        #[arg(long, value_name = "TEXT")]
        sizes: String,
        /// What the figures are, with their unit.
        #[arg(long, value_name = "TEXT")]
        figures: String,
        /// Where the plot is written; the table is printed.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// The workloads.
#[derive(Debug, Subcommand)]
pub(crate) enum Measure {
    /// A full mutual TLS 1.3 handshake, one GET, close; a new connection each time.
    #[command(after_help = "Example:
  load handshake --group x25519mlkem768 --clients devices/ --to 127.0.0.1:8443 --ca trust.pem")]
    Handshake {
        #[command(flatten)]
        common: Common,
        /// Connections at once.
        #[arg(long, value_name = "N", default_value_t = 16, value_parser = connections())]
        connections: u32,
        /// Resume by tickets; a full handshake in the window is an error.
        #[arg(long, conflicts_with = "clients")]
        resumed: bool,
    },
    /// GET after GET over HTTP/1.1 connections that are kept.
    H1 {
        #[command(flatten)]
        common: Common,
        /// Connections at once.
        #[arg(long, value_name = "N", default_value_t = 64, value_parser = connections())]
        connections: u32,
    },
    /// GET after GET on each stream of HTTP/2 connections.
    H2 {
        #[command(flatten)]
        common: Common,
        /// Connections at once.
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = connections())]
        connections: u32,
        /// Streams at once on each.
        #[arg(long, value_name = "M", default_value_t = 32, value_parser = streams())]
        streams: u32,
    },
    /// GET at a fixed rate over HTTP/1.1; latency counts from the intended start.
    Rate {
        #[command(flatten)]
        common: Common,
        /// Connections that take the requests.
        #[arg(long, value_name = "N", default_value_t = 64, value_parser = connections())]
        connections: u32,
        /// Requests a second.
        #[arg(long, value_name = "R", default_value_t = 4000,
              value_parser = value_parser!(u32).range(1..=i64::from(MAX_RATE)))]
        rate: u32,
    },
    /// GET of a large body, /bytes/N if no path is given.
    Download {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        transfer: Transfer,
    },
    /// POST of a large body, to /upload if no path is given.
    Upload {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        transfer: Transfer,
    },
    /// Connections on which nothing happens: memory of the server for each.
    #[command(mut_arg("server_pid", |pid| pid.required(true)))]
    Idle {
        #[command(flatten)]
        common: Common,
        /// Connections at once, two or more.
        #[arg(long, value_name = "N", default_value_t = 1000,
              value_parser = value_parser!(u32).range(2..=i64::from(MAX_CONNECTIONS)))]
        connections: u32,
    },
}

/// What every workload takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The server, on loopback.
    #[arg(long, value_name = "ADDR:PORT")]
    to: Loopback,
    /// Its name, for SNI and for its certificate.
    #[arg(long, value_name = "NAME", default_value = "localhost", value_parser = server_name)]
    sni: ServerName<'static>,
    /// The path and query to ask for [default: /, or as the workload says].
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The root that vouches for the server, PEM.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The client's certificate and its issuers, PEM.
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        required_unless_present = "clients"
    )]
    cert: Option<PathBuf>,
    /// The client's private key, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Many clients in turn: a directory of folders with chain.pem and key.pem each.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["cert", "key"])]
    clients: Option<PathBuf>,
    /// The one group to offer.
    #[arg(long, value_enum, default_value = "x25519")]
    group: Group,
    /// The one cipher suite to offer.
    #[arg(long, value_enum, default_value = "aes128")]
    suite: Suite,
    /// Length of the window that is measured, 0.1 to 60.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = window)]
    seconds: Duration,
    /// Seconds before the window begins, 0 to 10.
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = warm_up)]
    warm_up: Duration,
    /// A process of the server; its children are measured with it. May be given several times.
    #[arg(long, value_name = "PID", id = "server_pid")]
    server_pid: Vec<u32>,
    /// Run on this CPU alone.
    #[arg(long, value_name = "CPU", value_parser = cpu())]
    pub(crate) pin: Option<u16>,
    /// Words under which the run is reported.
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Transfer {
    /// Connections at once.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = connections())]
    connections: u32,
    /// Bytes of each body.
    #[arg(long, value_name = "N", default_value_t = 1 << 20,
          value_parser = value_parser!(u64).range(1..=MAX_BYTES))]
    bytes: u64,
}

impl Measure {
    /// The run that was asked for, and what every workload takes.
    ///
    /// # Errors
    /// What is wrong, in words: two values that do not go together.
    pub(crate) fn plan(self) -> Result<(Common, Plan), String> {
        let (common, workload) = workload(self)?;
        let plan = plan(&common, workload)?;
        Ok((common, plan))
    }
}

/// What was asked for, within the bounds that concern two values together.
fn workload(measure: Measure) -> Result<(Common, Workload), String> {
    Ok(match measure {
        Measure::Handshake {
            common,
            connections,
            resumed,
        } => (
            common,
            Workload::Handshake {
                connections,
                resume: resumed,
            },
        ),
        Measure::H1 {
            common,
            connections,
        } => (common, Workload::H1 { connections }),
        Measure::H2 {
            common,
            connections,
            streams,
        } => {
            let requests = u64::from(connections) * u64::from(streams);
            if requests > u64::from(MAX_REQUESTS) {
                return Err(format!(
                    "{connections} connections of {streams} streams are {requests} requests at \
                     once, and {MAX_REQUESTS} are the limit"
                ));
            }
            (
                common,
                Workload::H2 {
                    connections,
                    streams,
                },
            )
        }
        Measure::Rate {
            common,
            connections,
            rate,
        } => (common, Workload::Rate { connections, rate }),
        Measure::Download {
            common,
            transfer: Transfer { connections, bytes },
        } => (common, Workload::Download { connections, bytes }),
        Measure::Upload {
            common,
            transfer: Transfer { connections, bytes },
        } => (common, Workload::Upload { connections, bytes }),
        Measure::Idle {
            common,
            connections,
        } => (common, Workload::Idle { connections }),
    })
}

fn plan(common: &Common, workload: Workload) -> Result<Plan, String> {
    let identities = match (&common.clients, &common.cert, &common.key) {
        (Some(directory), _, _) => Identities::Folders(directory.clone()),
        (None, Some(chain), Some(key)) => Identities::One {
            chain: chain.clone(),
            key: key.clone(),
        },
        (None, None, _) | (None, _, None) => {
            return Err("name a client certificate and its key".to_owned());
        }
    };
    let port = common.to.address().port();
    let authority = match &common.sni {
        ServerName::IpAddress(address) => match std::net::IpAddr::from(*address) {
            std::net::IpAddr::V6(address) => format!("[{address}]:{port}"),
            std::net::IpAddr::V4(address) => format!("{address}:{port}"),
        },
        name => format!("{}:{port}", name.to_str()),
    };
    let target = match (&common.path, workload) {
        (Some(path), _) => path.clone(),
        (None, Workload::Download { bytes, .. }) => format!("/bytes/{bytes}"),
        (None, Workload::Upload { .. }) => "/upload".to_owned(),
        (None, _) => "/".to_owned(),
    };
    if !target.starts_with('/') {
        return Err(format!("the path {target} does not begin with /"));
    }
    Ok(Plan {
        to: common.to,
        server_name: common.sni.clone(),
        authority: HeaderValue::try_from(authority).map_err(|error| error.to_string())?,
        target,
        ca: common.ca.clone(),
        identities,
        group: common.group,
        suite: common.suite,
        workload,
        warm_up: common.warm_up,
        window: common.seconds,
        servers: common.server_pid.clone(),
        label: common.label.clone(),
    })
}

fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    DnsName::try_from(text.to_owned())
        .map(ServerName::DnsName)
        .map_err(|_| "write a host name or an address".to_owned())
}

fn window(text: &str) -> Result<Duration, String> {
    seconds(text, Duration::from_millis(100), MAX_WINDOW)
}

fn warm_up(text: &str) -> Result<Duration, String> {
    seconds(text, Duration::ZERO, Duration::from_secs(10))
}

fn seconds(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let time = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| (least..=most).contains(time))
        .ok_or_else(|| {
            format!(
                "write seconds from {} to {}",
                least.as_secs_f64(),
                most.as_secs_f64()
            )
        })
}

fn connections() -> clap::builder::RangedI64ValueParser<u32> {
    value_parser!(u32).range(1..=i64::from(MAX_CONNECTIONS))
}

fn streams() -> clap::builder::RangedI64ValueParser<u32> {
    value_parser!(u32).range(1..=i64::from(MAX_STREAMS))
}

/// As many as a set of CPUs holds (sched_setaffinity(2)).
fn cpu() -> clap::builder::RangedI64ValueParser<u16> {
    value_parser!(u16).range(0..1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    const GOOD: &str = "--to 127.0.0.1:8443 --ca ca --cert c --key k";

    fn parsed(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("load").chain(line.split_ascii_whitespace());
        let arguments = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
        match arguments.command {
            Command::Measure(measure) => measure.plan().map(|(_, plan)| plan),
            other => panic!("{other:?} is no workload"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_workload_has_defaults() {
        let plan = parsed(&format!("h2 {GOOD}")).unwrap();
        let expected = Workload::H2 {
            connections: 8,
            streams: 32,
        };
        assert_eq!(plan.workload, expected);
        assert_eq!(plan.window, Duration::from_secs(2));
        assert_eq!(plan.authority, "localhost:8443");
        assert_eq!(plan.target, "/");
        let plan = parsed(&format!("download {GOOD} --bytes 5 --sni ::1")).unwrap();
        assert_eq!(plan.target, "/bytes/5");
        assert_eq!(plan.authority, "[::1]:8443");
    }

    #[test]
    fn what_is_not_loopback_is_wrong_usage() {
        for address in ["10.0.0.1:8443", "0.0.0.0:8443", "example.org:443", "[::]:1"] {
            let line = format!("h1 --to {address} --ca ca --cert c --key k");
            let error = parsed(&line).unwrap_err();
            assert!(error.contains("invalid value"), "{error}");
        }
        assert!(parsed("backend --listen 0.0.0.0:80").is_err());
    }

    #[test]
    fn every_number_has_a_bound() {
        for line in [
            "h1 --connections 0",
            "h1 --connections 20001",
            "h1 --seconds 61",
            "h1 --seconds 0.01",
            "h1 --seconds nan",
            "h1 --seconds -1",
            "h1 --warm-up 11",
            "h1 --pin 1024",
            "h2 --streams 1001",
            "h2 --connections 20000 --streams 4",
            "rate --rate 200001",
            "rate --rate 0",
            "download --bytes 1073741825",
            "upload --bytes 0",
            "idle --server-pid 1 --connections 1",
        ] {
            assert!(parsed(&format!("{line} {GOOD}")).is_err(), "{line}");
        }
    }

    #[test]
    fn options_that_belong_together_come_together() {
        let start = "h1 --to 127.0.0.1:8443 --ca ca";
        for (rest, holds) in [
            ("", false),
            ("--cert c", false),
            ("--key k", false),
            ("--clients d", true),
            ("--clients d --cert c --key k", false),
            ("--cert c --key k", true),
            ("--cert c --key k --path fhir", false),
            ("--cert c --key k --path /fhir", true),
        ] {
            assert_eq!(parsed(&format!("{start} {rest}")).is_ok(), holds, "{rest}");
        }
        assert!(parsed(&format!("idle {GOOD}")).is_err(), "no --server-pid");
        assert!(parsed(&format!("idle {GOOD} --server-pid 1")).is_ok());
        assert!(parsed("handshake --resumed --clients d --to 127.0.0.1:1 --ca ca").is_err());
    }
}
