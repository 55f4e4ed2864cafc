//! Every way in which a request can fail to be answered well. Each counts as an error of the run.
//!
//! What this file does not do: it decides nothing, and it carries no byte of a message.

use http::StatusCode;
use std::fmt;
use std::io;

/// What went wrong with one request or connection.
#[derive(Debug)]
pub(crate) enum Fault {
    /// TCP refused or broke off.
    Connect(io::Error),
    /// The TLS handshake failed, on our side or by the server's alert.
    Handshake(io::Error),
    /// The server chose another protocol than the one that is measured (RFC 7301).
    Protocol {
        /// What was to be spoken.
        wanted: &'static str,
    },
    /// The handshake was to be a resumed one (RFC 8446 2.2) and was a full one.
    NotResumed,
    /// The connection broke in the middle. In TLS 1.3 a refused client certificate shows here
    /// (RFC 8446 4.4.2): the client learns of it at its first read.
    Broken(io::Error),
    /// The server closed before its answer was whole.
    Closed,
    /// The answer breaks RFC 9112.
    Http1(http1::Error),
    /// The connection or the stream failed in HTTP/2 (RFC 9113).
    Http2(h2::Error),
    /// More interim responses than any server has a reason to send.
    Interim,
    /// The answer is no 2xx.
    Status(StatusCode),
    /// The body has another length than was asked for.
    Length {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes received.
        received: u64,
    },
}

impl Fault {
    /// A stable name, under which faults are counted.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Handshake(_) => "handshake",
            Self::Protocol { .. } => "protocol",
            Self::NotResumed => "not_resumed",
            Self::Broken(_) => "broken",
            Self::Closed => "closed",
            Self::Http1(_) => "http1",
            Self::Http2(_) => "http2",
            Self::Interim => "interim",
            Self::Status(_) => "status",
            Self::Length { .. } => "length",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Handshake(error) => write!(f, "the TLS handshake failed: {error}"),
            Self::Protocol { wanted } => write!(f, "the server does not speak {wanted}"),
            Self::NotResumed => f.write_str("the server made a full handshake of a resumption"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Closed => f.write_str("the server closed before its answer was whole"),
            Self::Http1(error) => write!(f, "the answer is no HTTP/1.1: {error}"),
            Self::Http2(error) => write!(f, "HTTP/2 failed: {error}"),
            Self::Interim => f.write_str("the server sends one interim response after the other"),
            Self::Status(status) => write!(f, "the answer is {}", status.as_u16()),
            Self::Length { wanted, received } => {
                write!(f, "the body has {received} bytes instead of {wanted}")
            }
        }
    }
}
