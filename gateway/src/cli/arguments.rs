//! Commands and flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use http::{Method, Uri};

use super::sign::Sign;
use super::verify::Verify;

/// A transmission security gateway for health care.
#[derive(Debug, Parser)]
#[command(
    name = "gateway",
    version,
    after_help = "Example:\n  gateway check --config /etc/phigate/gateway.toml"
)]
pub(super) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve a configuration. SIGHUP reloads it, SIGTERM drains.
    ///
    /// Tells on standard error what an operator should know: lines for people on a terminal, JSON
    /// elsewhere. The environment variable PHIGATE_LOG sets the level: error, warn, info, debug.
    #[command(after_help = "Example:\n  gateway run --config /etc/phigate/gateway.toml")]
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Resolve a configuration and everything that it names, and print every mistake.
    ///
    /// Exit codes: 0 it can be served, 1 it cannot. Touches no socket.
    #[command(after_help = "Example:\n  gateway check --config /etc/phigate/gateway.toml")]
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print nothing but mistakes and warnings.
        #[arg(long)]
        quiet: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Say which listener, certificate, route and rule a request would meet, or which refusal.
    ///
    /// Exit codes: 0 some listener would permit it, 1 none would.
    #[command(
        after_help = "Example:\n  gateway explain --config gateway.toml --client urn:example:pump-1 GET https://api.clinic.example/fhir/Patient/1"
    )]
    Explain {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The client's name, as `NAME` or `TRUST:NAME`; nobody when left out.
        #[arg(long, value_name = "NAME")]
        client: Option<String>,
        /// Print one JSON array.
        #[arg(long)]
        json: bool,
        /// The method.
        method: Method,
        /// The URL.
        url: Uri,
    },
    Sign(Box<Sign>),
    Verify(Box<Verify>),
    /// Show the whole product on this machine with nothing prepared.
    ///
    /// Makes an authority and certificates, serves a sample API behind the gateway, and prints
    /// commands to paste. What it made is reused at the next start. Ctrl-C ends it.
    #[command(after_help = "Example:\n  gateway demo --once")]
    Demo {
        /// Where to keep what it makes.
        #[arg(long, value_name = "DIR", default_value = "phigate-demo")]
        dir: PathBuf,
        /// The address to listen on; port 0 takes a free one. 127.0.0.1:8443, or that of an earlier
        /// demo in DIR, when left out.
        #[arg(long, value_name = "ADDR:PORT")]
        listen: Option<SocketAddr>,
        /// Play the story, verify the log, and end. Exit code 0 only if all went as expected.
        #[arg(long)]
        once: bool,
    },
    /// Print the JSON Schema of the configuration file, for editors.
    #[command(after_help = "Example:\n  gateway schema > gateway.schema.json")]
    Schema,
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  gateway completions bash > /etc/bash_completion.d/gateway")]
    Completions {
        /// The shell.
        shell: terminal::Shell,
    },
    /// Write the manual pages into a directory.
    #[command(after_help = "Example:\n  gateway manual /usr/local/share/man/man1")]
    Manual {
        /// The directory, which must exist.
        directory: PathBuf,
    },
}
