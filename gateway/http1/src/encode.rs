//! Messages as bytes. Each message is framed anew here: the fields that frame it and those that
//! speak of its connection (Content-Length, Transfer-Encoding, Connection, Upgrade, TE, Keep-Alive,
//! Proxy-Connection) are written by this file alone. Any of them among the fields given are left
//! out, so that nothing a peer said about this hop travels on by mistake: not a length, not an
//! upgrade to a protocol that nobody judged.
//!
//! Standard: RFC 9112 3 to 7, 9.3 and 9.6; RFC 9110 7.8, 8.6, 10.1.4 and 15. Every head is checked
//! before its first byte is written: what is refused leaves the buffer as it was, and what is
//! written is what the readers of this crate accept (within their limits, which the peer sets).
//! What this file does not do: it adds no Host, Date or Via and writes no data of a body; it copies
//! heads, and the caller sends data as it is.

use crate::connection::Persistence;
use crate::framing::{Framing, has_no_body};
use crate::start_line::METHOD_BYTES;
use crate::target::Form;
use crate::token::is_token;
use crate::{Error, RequestHead, Version, may_be_trailer};
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use std::fmt;
use std::num::NonZeroUsize;

/// The interim response that a client waits for which sent `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What follows the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// What a response must know of the request that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The version of the request: an HTTP/1.0 client gets no transfer coding, no interim response
    /// and no second message.
    pub version: Version,
    /// Whether it was HEAD: the answer then declares a body and has none.
    pub is_head: bool,
}

impl Answered {
    /// Of this request.
    pub fn of(request: &RequestHead) -> Self {
        Self {
            version: request.version,
            is_head: request.method == Method::HEAD,
        }
    }
}

/// What a message says to its next hop alone.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// Whether another message may follow on the connection.
    pub persistence: Persistence,
    /// The protocols that a request offers to switch to, or that a response (101, 426) names. It is
    /// written as Upgrade, and Connection names it (RFC 9110 7.8).
    pub upgrade: Option<&'a HeaderValue>,
    /// Whether a request says that trailers will be read: `TE: trailers`, and Connection names it
    /// (RFC 9110 10.1.4). A response says nothing of the kind.
    pub reads_trailers: bool,
}

impl From<Persistence> for Hop<'_> {
    /// No upgrade and no trailers.
    fn from(persistence: Persistence) -> Self {
        Self {
            persistence,
            upgrade: None,
            reads_trailers: false,
        }
    }
}

/// Why a message cannot be written. Each is a fault of the caller, who may have taken the offending
/// part from a peer that speaks HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The method is longer than any server is bound to read (RFC 9112 3).
    MethodTooLong,
    /// The target is none that this method may have (RFC 9112 3.2).
    Target(Error),
    /// A field name is not a token (RFC 9110 5.1); `http` lets a quotation mark pass when the name
    /// came from HTTP/2.
    FieldName,
    /// A field that may not be a trailer stands among the trailers (RFC 9110 6.5.1).
    Trailer,
    /// The status is above 599 (RFC 9110 15).
    Status(StatusCode),
    /// A request cannot end with the connection (RFC 9112 6.3).
    RequestUntilClose,
    /// A body is given to a status that has none (RFC 9110 8.6, RFC 9112 6.1).
    BodyOnBodilessStatus(StatusCode),
    /// The body ends with the connection, which was to live on (RFC 9112 9.3).
    KeepAliveUntilClose,
    /// A transfer coding for a client that speaks HTTP/1.0 (RFC 9112 6.1).
    ChunkedToHttp10,
    /// An interim response for a client that speaks HTTP/1.0 (RFC 9110 15.2).
    InterimToHttp10,
}

/// Writes the head of a request. The target is written as given. The fields must hold Host, which
/// is not checked here (RFC 9112 3.2).
pub fn request(
    out: &mut BytesMut,
    method: &Method,
    target: &[u8],
    headers: &HeaderMap,
    body: Framing,
    hop: Hop<'_>,
) -> Result<(), EncodeError> {
    if method.as_str().len() > METHOD_BYTES {
        return Err(EncodeError::MethodTooLong);
    }
    Form::of(method, target, 0).map_err(EncodeError::Target)?;
    if body == Framing::UntilClose {
        return Err(EncodeError::RequestUntilClose);
    }
    check_names(headers)?;

    out.extend_from_slice(method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields(out, headers);
    framing(out, body);
    connection(out, hop);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes the head of a response, always as HTTP/1.1, the highest version we speak (RFC 9110 6.2).
///
/// [`Framing::None`] is written as `Content-Length: 0` where the status could have a body, because
/// a response that declares nothing would end with the connection. The answer to HEAD and 304
/// declare what they are given and nothing for `None` and `UntilClose`; no body follows them. An
/// HTTP/1.0 client is always told to close. An interim response (101 is one) never says close.
pub fn response(
    out: &mut BytesMut,
    status: StatusCode,
    headers: &HeaderMap,
    body: Framing,
    answered: Answered,
    hop: Hop<'_>,
) -> Result<(), EncodeError> {
    let body = declared(status, body, answered)?;
    let persistence = match answered.version {
        _ if status.is_informational() => Persistence::KeepAlive,
        Version::Http10 => Persistence::Close,
        Version::Http11 => hop.persistence,
    };
    let hop = Hop {
        persistence,
        reads_trailers: false,
        ..hop
    };
    if body == Framing::UntilClose && persistence == Persistence::KeepAlive {
        return Err(EncodeError::KeepAliveUntilClose);
    }
    check_names(headers)?;

    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    fields(out, headers);
    framing(out, body);
    connection(out, hop);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes what precedes the data of a chunk. The data and [`CHUNK_END`] follow. That an empty chunk
/// would end the body is why the length is not zero.
pub fn chunk_head(out: &mut BytesMut, length: NonZeroUsize) {
    let mut digits = [0; 2 * size_of::<usize>()];
    let mut rest = length.get();
    let mut first = digits.len();
    while rest > 0 {
        first -= 1;
        digits[first] = b"0123456789abcdef"[rest & 0xf];
        rest >>= 4;
    }
    out.extend_from_slice(&digits[first..]);
    out.extend_from_slice(b"\r\n");
}

/// Writes the last chunk and the trailers, which end a chunked body.
pub fn last_chunk(out: &mut BytesMut, trailers: &HeaderMap) -> Result<(), EncodeError> {
    check_names(trailers)?;
    if !trailers.keys().all(may_be_trailer) {
        return Err(EncodeError::Trailer);
    }
    out.extend_from_slice(b"0\r\n");
    fields(out, trailers);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The framing that the head of a response declares.
fn declared(status: StatusCode, body: Framing, answered: Answered) -> Result<Framing, EncodeError> {
    if status.as_u16() > 599 {
        return Err(EncodeError::Status(status));
    }
    if status.is_informational() && answered.version == Version::Http10 {
        return Err(EncodeError::InterimToHttp10);
    }
    if body == Framing::Chunked && answered.version == Version::Http10 {
        return Err(EncodeError::ChunkedToHttp10);
    }
    if has_no_body(status) {
        return match body {
            Framing::None => Ok(Framing::None),
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose => {
                Err(EncodeError::BodyOnBodilessStatus(status))
            }
        };
    }
    let only_declares = answered.is_head || status == StatusCode::NOT_MODIFIED;
    Ok(match body {
        Framing::None | Framing::UntilClose if only_declares => Framing::None,
        Framing::None => Framing::Length(0),
        Framing::Length(_) | Framing::Chunked | Framing::UntilClose => body,
    })
}

fn check_names(headers: &HeaderMap) -> Result<(), EncodeError> {
    let good = headers
        .keys()
        .all(|name| is_token(name.as_str().as_bytes()));
    good.then_some(()).ok_or(EncodeError::FieldName)
}

/// The field lines, without those that are written here alone. A value cannot hold CR, LF or NUL:
/// that is the invariant of `HeaderValue`.
fn fields(out: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        if is_ours(name) {
            continue;
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// What this file writes itself, or that died with HTTP/1.0.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length"
            | "transfer-encoding"
            | "connection"
            | "upgrade"
            | "te"
            | "keep-alive"
            | "proxy-connection"
    )
}

fn framing(out: &mut BytesMut, body: Framing) {
    match body {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
}

/// Connection, and the fields that it names.
fn connection(out: &mut BytesMut, hop: Hop<'_>) {
    if hop.reads_trailers {
        out.extend_from_slice(b"te: trailers\r\n");
    }
    if let Some(protocols) = hop.upgrade {
        out.extend_from_slice(b"upgrade: ");
        out.extend_from_slice(protocols.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let options = [
        (hop.persistence == Persistence::Close, "close"),
        (hop.reads_trailers, "te"),
        (hop.upgrade.is_some(), "upgrade"),
    ];
    let mut before: &[u8] = b"connection: ";
    for (_, option) in options.iter().filter(|(named, _)| *named) {
        out.extend_from_slice(before);
        out.extend_from_slice(option.as_bytes());
        before = b", ";
    }
    if before == b", " {
        out.extend_from_slice(b"\r\n");
    }
}

fn decimal(out: &mut BytesMut, number: u64) {
    const MAX_DIGITS: usize = 20;
    let mut digits = [b'0'; MAX_DIGITS];
    let mut rest = number;
    let mut first = MAX_DIGITS;
    loop {
        first -= 1;
        digits[first] = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

impl EncodeError {
    /// The stable name of the fault in records, metrics and documents.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MethodTooLong => "encode_method_too_long",
            Self::Target(_) => "encode_target",
            Self::FieldName => "encode_field_name",
            Self::Trailer => "encode_trailer",
            Self::Status(_) => "encode_status",
            Self::RequestUntilClose => "encode_request_until_close",
            Self::BodyOnBodilessStatus(_) => "encode_body_on_bodiless_status",
            Self::KeepAliveUntilClose => "encode_keep_alive_until_close",
            Self::ChunkedToHttp10 => "encode_chunked_to_http10",
            Self::InterimToHttp10 => "encode_interim_to_http10",
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MethodTooLong => write!(f, "the method is longer than {METHOD_BYTES} bytes"),
            Self::Target(fault) => write!(f, "the target cannot be sent: {fault}"),
            Self::FieldName => f.write_str("a field name is not a token"),
            Self::Trailer => f.write_str("a field that may not be a trailer is among the trailers"),
            Self::Status(status) => write!(f, "the status {} is above 599", status.as_u16()),
            Self::RequestUntilClose => f.write_str("a request cannot end with the connection"),
            Self::BodyOnBodilessStatus(status) => {
                write!(f, "the status {} cannot have a body", status.as_u16())
            }
            Self::KeepAliveUntilClose => {
                f.write_str("the body ends with the connection, which was to live on")
            }
            Self::ChunkedToHttp10 => {
                f.write_str("an HTTP/1.0 client cannot read a transfer coding")
            }
            Self::InterimToHttp10 => {
                f.write_str("an HTTP/1.0 client cannot read an interim response")
            }
        }
    }
}

impl std::error::Error for EncodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Target(fault) => Some(fault),
            Self::MethodTooLong
            | Self::FieldName
            | Self::Trailer
            | Self::Status(_)
            | Self::RequestUntilClose
            | Self::BodyOnBodilessStatus(_)
            | Self::KeepAliveUntilClose
            | Self::ChunkedToHttp10
            | Self::InterimToHttp10 => None,
        }
    }
}
