//! What a run is to do, with its bounds: nothing here is undecided, and nothing is without a limit.
//!
//! What this file does not do: it reads no command line ([`cli`](crate::cli) does) and no file.

use crate::loopback::Loopback;
use crate::tls::{Group, Identities, Suite};
use http::HeaderValue;
use rustls::pki_types::ServerName;
use std::path::PathBuf;
use std::time::Duration;

/// Connections at once.
pub(crate) const MAX_CONNECTIONS: u32 = 20_000;
/// Streams at once on a connection.
pub(crate) const MAX_STREAMS: u32 = 1_000;
/// Requests under way at once.
pub(crate) const MAX_REQUESTS: u32 = 65_536;
/// Requests a second.
pub(crate) const MAX_RATE: u32 = 200_000;
/// Bytes of a body.
pub(crate) const MAX_BYTES: u64 = 1 << 30;
/// Length of the window.
pub(crate) const MAX_WINDOW: Duration = Duration::from_mins(1);
/// How long all connections may take to open.
pub(crate) const OPENING: Duration = Duration::from_secs(30);
/// How long requests that are under way at the end of the window may take.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The server.
    pub(crate) to: Loopback,
    /// Its name, for SNI and for its certificate.
    pub(crate) server_name: ServerName<'static>,
    /// Its name and port, for Host.
    pub(crate) authority: HeaderValue,
    /// The path and query that are asked for.
    pub(crate) target: String,
    /// The file with the root that vouches for the server.
    pub(crate) ca: PathBuf,
    /// Who connects.
    pub(crate) identities: Identities,
    /// The one group that is offered.
    pub(crate) group: Group,
    /// The one cipher suite that is offered.
    pub(crate) suite: Suite,
    /// What is done.
    pub(crate) workload: Workload,
    /// How long before the window begins.
    pub(crate) warm_up: Duration,
    /// How long is measured.
    pub(crate) window: Duration,
    /// The processes of the server; with their children they are measured.
    pub(crate) servers: Vec<u32>,
    /// The words under which the run is reported.
    pub(crate) label: Option<String>,
}

/// What is done over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// A new connection, one GET, close.
    Handshake {
        /// How many at once.
        connections: u32,
        /// By tickets.
        resume: bool,
    },
    /// GET after GET on connections that are kept.
    H1 {
        /// How many.
        connections: u32,
    },
    /// GET after GET on each stream.
    H2 {
        /// How many connections.
        connections: u32,
        /// How many streams on each.
        streams: u32,
    },
    /// GET at fixed times.
    Rate {
        /// On how many connections.
        connections: u32,
        /// How many a second.
        rate: u32,
    },
    /// GET of a large body.
    Download {
        /// On how many connections.
        connections: u32,
        /// Bytes of the body.
        bytes: u64,
    },
    /// POST of a large body.
    Upload {
        /// On how many connections.
        connections: u32,
        /// Bytes of the body.
        bytes: u64,
    },
    /// Connections on which nothing happens.
    Idle {
        /// How many.
        connections: u32,
    },
}

impl Workload {
    /// The word for it on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Handshake { resume: false, .. } => "handshake",
            Self::Handshake { resume: true, .. } => "handshake resumed",
            Self::H1 { .. } => "h1",
            Self::H2 { .. } => "h2",
            Self::Rate { .. } => "rate",
            Self::Download { .. } => "download",
            Self::Upload { .. } => "upload",
            Self::Idle { .. } => "idle",
        }
    }

    /// How many connections there are at once.
    pub(crate) fn connections(self) -> u32 {
        match self {
            Self::Handshake { connections, .. }
            | Self::H1 { connections }
            | Self::H2 { connections, .. }
            | Self::Rate { connections, .. }
            | Self::Download { connections, .. }
            | Self::Upload { connections, .. }
            | Self::Idle { connections } => connections,
        }
    }

    /// Bytes of the body that is moved, where moving it is the point.
    pub(crate) fn body_bytes(self) -> Option<u64> {
        match self {
            Self::Download { bytes, .. } | Self::Upload { bytes, .. } => Some(bytes),
            Self::Handshake { .. }
            | Self::H1 { .. }
            | Self::H2 { .. }
            | Self::Rate { .. }
            | Self::Idle { .. } => None,
        }
    }
}
