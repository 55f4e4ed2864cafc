//! Why a run ends without a report. Each is a fault of our own side; those of the server are in
//! the report ([`fault`](crate::fault)).
//!
//! What this file does not do: it decides nothing.

use crate::plan::OPENING;
use crate::process::ProcessError;
use crate::tls::TlsError;
use http1::encode::EncodeError;
use std::fmt;
use std::io;

/// Why there is no report.
#[derive(Debug)]
pub(crate) enum RunError {
    /// There is nothing to connect with.
    Tls(TlsError),
    /// A process cannot be measured.
    Process(ProcessError),
    /// The path cannot stand in a request.
    Target(EncodeError),
    /// The path cannot stand in a request of HTTP/2.
    Uri(http::Error),
    /// The process may not have as many descriptors as connections.
    Descriptors {
        /// How many it needs.
        wanted: u64,
        /// How many it may have.
        limit: u64,
    },
    /// Not all connections could be opened in time.
    Opening {
        /// How many were.
        opened: u64,
        /// How many were wanted.
        wanted: u32,
    },
    /// The system gives no runtime or timer.
    System(io::Error),
}

impl RunError {
    /// What to do about it, if there is more to say.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Tls(_) => {
                Some("`pki issue --out DIR` writes chain.pem, key.pem and trust.pem in DIR")
            }
            Self::Process(_) => Some("name the server's first process, as the user who runs it"),
            Self::Target(_) | Self::Uri(_) => Some("a path begins with / and is written in ASCII"),
            Self::Descriptors { .. } => Some("ask for fewer connections, or raise `ulimit -Hn`"),
            Self::Opening { .. } => {
                Some("see the server's limits of connections, in all and from one address")
            }
            Self::System(_) => None,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::Process(error) => error.fmt(f),
            Self::Target(error) => write!(f, "the path cannot be asked for: {error}"),
            Self::Uri(error) => write!(f, "the path cannot be asked for: {error}"),
            Self::Descriptors { wanted, limit } => write!(
                f,
                "{wanted} descriptors are needed, and the process may have {limit}"
            ),
            Self::Opening { opened, wanted } => write!(
                f,
                "only {opened} of {wanted} connections could be opened in {} s",
                OPENING.as_secs()
            ),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RunError {}
