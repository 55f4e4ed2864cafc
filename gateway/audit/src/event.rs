//! The closed vocabulary of the audit log: every event that can be on record, and its fields.
//!
//! An event says what happened in the terms of the gateway's stages. It holds no payload, no query,
//! no path below the route, no key. `entry` turns it into canonical bytes; nothing here reads a
//! clock or a file.
//!
//! The numbers in `#[n(..)]` are the wire format. They are never reused; a new field takes the next
//! free number and is optional.

use std::fmt;
use std::net::SocketAddr;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer};

pub use crate::code::Code;

/// One thing that happened, with the time at which the gateway saw it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry<'a> {
    /// When, by the system's clock.
    #[n(0)]
    pub time: Time,
    /// What.
    #[cbor(b(1))]
    pub event: Event<'a>,
}

/// Every event. The variant is the record's `type`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The log was opened by a process that will write to it.
    #[n(0)]
    Start(#[cbor(b(0))] Start<'a>),
    /// The writer is about to end cleanly; the last entry of a clean run.
    #[n(1)]
    Stop(#[cbor(b(0))] Stop<'a>),
    /// A configuration was put in force, or refused.
    #[n(2)]
    Configuration(#[cbor(b(0))] Configuration<'a>),
    /// A default was weakened, and the operator wrote down why (45 CFR 164.306(d)(3)).
    #[n(3)]
    Decision(#[cbor(b(0))] Decision<'a>),
    /// Revocation lists came into force for a trust set.
    #[n(4)]
    Revocation(#[cbor(b(0))] Revocation<'a>),
    /// A peer completed its handshake: the facts of the connection, which stand once.
    #[n(5)]
    Handshake(#[cbor(b(0))] Handshake<'a>),
    /// A peer was turned away before its connection was established.
    #[n(6)]
    HandshakeRefused(#[cbor(b(0))] HandshakeRefused<'a>),
    /// An established connection ended.
    #[n(7)]
    Close(#[n(0)] Close),
    /// A request is about to be forwarded (AUDIT.md, P2).
    #[n(8)]
    Intent(#[cbor(b(0))] Intent<'a>),
    /// An answer is about to leave (AUDIT.md, P1).
    #[n(9)]
    Release(#[cbor(b(0))] Release<'a>),
    /// How an answer ended that was streamed, or that ended otherwise than its release promised.
    #[n(10)]
    Completion(#[cbor(b(0))] Completion<'a>),
    /// A request was answered with a refusal, in place of `release`.
    #[n(11)]
    Refusal(#[cbor(b(0))] Refusal<'a>),
    /// Peers that proved nothing, counted rather than written one by one.
    #[n(12)]
    Noise(#[cbor(b(0))] Noise<'a>),
    /// The writer found the end of an earlier run damaged and set it aside.
    #[n(13)]
    Recovered(#[n(0)] Recovered),
    /// The log could not be written for a while, and now it can.
    #[n(14)]
    Interrupted(#[n(0)] Interrupted),
}

/// `start`: who opened the log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Start<'a> {
    /// The program's name.
    #[cbor(b(0))]
    pub program: &'a str,
    /// Its version.
    #[cbor(b(1))]
    pub version: &'a str,
    /// Its process id.
    #[n(2)]
    pub pid: u32,
}

/// `stop`: why the writer ends.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Stop<'a> {
    /// The reason, one of the program's own words.
    #[cbor(b(0))]
    pub reason: &'a str,
}

/// `configuration`: which configuration, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Configuration<'a> {
    /// SHA-256 of the configuration file's bytes.
    #[n(0)]
    pub digest: Digest,
    /// Whether it is in force now.
    #[n(1)]
    pub accepted: bool,
    /// `start` or `reload`.
    #[cbor(b(2))]
    pub occasion: &'a str,
    /// How many mistakes kept it out of force; the mistakes themselves are in the operator's log.
    #[n(3)]
    pub mistakes: u32,
    /// Rises by one with every configuration that this process put in force.
    #[n(4)]
    pub generation: u64,
}

/// `decision`: a weakened default, with the operator's reason.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Decision<'a> {
    /// Which control, a row of the table `ADDRESSABLE`.
    #[cbor(b(0))]
    pub control: &'a str,
    /// Its paragraph of 45 CFR 164.312.
    #[cbor(b(1))]
    pub paragraph: &'a str,
    /// The key in the configuration.
    #[cbor(b(2))]
    pub key: &'a str,
    /// The reason, in the operator's words.
    #[cbor(b(3))]
    pub rationale: &'a str,
}

/// `revocation`: what is known to be revoked from now on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Revocation<'a> {
    /// The trust set.
    #[cbor(b(0))]
    pub trust: &'a str,
    /// How many lists were read.
    #[n(1)]
    pub lists: u32,
    /// How many serials they name.
    #[n(2)]
    pub serials: u64,
    /// When the first of them grows stale.
    #[n(3)]
    pub next_update: Option<Time>,
    /// How many live connections ended because of it.
    #[n(4)]
    pub generation: u64,
}

/// `handshake`: the facts of an established connection.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Handshake<'a> {
    /// Joins the records of this connection.
    #[n(0)]
    pub connection_id: Id,
    /// The listener that accepted it.
    #[cbor(b(1))]
    pub listener: &'a str,
    /// The peer's address and port.
    #[n(2)]
    pub address: SocketAddr,
    /// The name that its certificate proved, as `trust:name`.
    #[cbor(b(3))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<&'a str>,
    /// Its certificate.
    #[cbor(b(4))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate<'a>>,
    /// Negotiated version, as on the wire.
    #[n(5)]
    pub version: Hex16,
    /// Negotiated cipher suite, as on the wire.
    #[n(6)]
    pub suite: Hex16,
    /// Negotiated group, as on the wire.
    #[n(7)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Hex16>,
    /// Negotiated application protocol.
    #[cbor(b(8))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<&'a str>,
    /// The server name that the client asked for.
    #[cbor(b(9))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<&'a str>,
    /// JA4 fingerprint of its ClientHello.
    #[cbor(b(10))]
    pub ja4: &'a str,
}

/// `handshake_refused`: what was offered, and why it was not enough.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct HandshakeRefused<'a> {
    /// Joins the records of this connection.
    #[n(0)]
    pub connection_id: Id,
    /// The listener that accepted it.
    #[cbor(b(1))]
    pub listener: &'a str,
    /// The peer's address and port.
    #[n(2)]
    pub address: SocketAddr,
    /// Why.
    #[n(3)]
    pub code: Code,
    /// The TLS alert that it was sent (RFC 8446 6), if any.
    #[n(4)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<u8>,
    /// What its ClientHello offered, as far as it could be read.
    #[cbor(b(5))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered: Option<Offered<'a>>,
    /// The certificate that it presented.
    #[cbor(b(6))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate<'a>>,
    /// Evidence for the code, in the gateway's own words.
    #[cbor(b(7))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
}

/// What a ClientHello offered. Lists are cut at [`Offered::LIST`] items.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Offered<'a> {
    /// Versions: those of `supported_versions`, else the legacy one.
    #[n(0)]
    pub versions: Vec<Hex16>,
    /// Cipher suites, signaling values included.
    #[n(1)]
    pub suites: Vec<Hex16>,
    /// Groups.
    #[n(2)]
    pub groups: Vec<Hex16>,
    /// Server name.
    #[cbor(b(3))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<&'a str>,
    /// JA4 fingerprint.
    #[cbor(b(4))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja4: Option<&'a str>,
}

impl Offered<'_> {
    /// No list of a record is longer than this.
    pub const LIST: usize = 64;
}

/// A certificate as evidence: enough to find it again, in or out of the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Certificate<'a> {
    /// SHA-256 of its DER.
    #[n(0)]
    pub fingerprint: Digest,
    /// Serial number, lower-case hex; absent when the certificate could not be parsed.
    #[cbor(b(1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<&'a str>,
    /// Issuer's distinguished name (RFC 4514), cut at 256 bytes.
    #[cbor(b(2))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<&'a str>,
    /// End of its validity.
    #[n(3)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}

/// `close`: how an established connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Close {
    /// Joins the records of this connection.
    #[n(0)]
    pub connection_id: Id,
    /// Why.
    #[n(1)]
    pub code: Code,
    /// Requests that were received on it.
    #[n(2)]
    pub requests: u64,
    /// How long it lived, milliseconds.
    #[n(3)]
    pub milliseconds: u64,
}

/// What every record of a request says of the request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Request<'a> {
    /// Joins the records of this request; the `x-request-id` of its answer.
    #[n(0)]
    pub request_id: Id,
    /// Joins the records of its connection.
    #[n(1)]
    pub connection_id: Id,
    /// The name that the certificate proved, as `trust:name`.
    #[cbor(b(2))]
    pub client: Option<&'a str>,
    /// The person, when something that the gateway believes has named one.
    #[cbor(b(3))]
    pub user: Option<&'a str>,
    /// Method.
    #[cbor(b(4))]
    pub method: Option<&'a str>,
    /// Route, once one was chosen.
    #[cbor(b(5))]
    pub route: Option<&'a str>,
    /// The rule that permitted it, once one did.
    #[cbor(b(6))]
    pub rule: Option<&'a str>,
    /// FHIR resource type, on FHIR routes.
    #[cbor(b(7))]
    pub resource: Option<&'a str>,
}

/// `intent`: written before a request with effects is forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Intent<'a> {
    /// The request.
    #[cbor(b(0))]
    #[serde(flatten)]
    pub request: Request<'a>,
    /// Declared length of its content, bytes.
    #[n(1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_length: Option<u64>,
}

/// `release`: written before the first byte of an answer leaves.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Release<'a> {
    /// The request.
    #[cbor(b(0))]
    #[serde(flatten)]
    pub request: Request<'a>,
    /// Status of the answer.
    #[n(1)]
    pub status: u16,
    /// Its media type, without parameters, cut at 64 bytes.
    #[cbor(b(2))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'a str>,
    /// Its length in bytes, when the whole of it is in hand or declared.
    #[n(3)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// SHA-256 of its content, when the whole of it is in hand.
    #[n(4)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The upstream that answered.
    #[cbor(b(5))]
    pub upstream: &'a str,
    /// How many times the request was given to an upstream connection.
    #[n(6)]
    pub attempts: u8,
}

/// `completion`: how the answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Completion<'a> {
    /// The request.
    #[cbor(b(0))]
    #[serde(flatten)]
    pub request: Request<'a>,
    /// Status of the answer, if one left or was about to.
    #[n(1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes of content that left.
    #[n(2)]
    pub bytes: u64,
    /// How it ended.
    #[n(3)]
    pub code: Code,
}

/// `refusal`: the answer was a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Refusal<'a> {
    /// The request, as far as it was understood.
    #[cbor(b(0))]
    #[serde(flatten)]
    pub request: Request<'a>,
    /// The peer's address and port.
    #[n(1)]
    pub address: SocketAddr,
    /// Status of the answer.
    #[n(2)]
    pub status: u16,
    /// Why.
    #[n(3)]
    pub code: Code,
    /// Evidence for the code, in the gateway's own words.
    #[cbor(b(4))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    /// How many times the request was given to an upstream connection before.
    #[n(5)]
    pub attempts: u8,
}

/// `noise`: what stands for the refusals that were counted instead of written.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Noise<'a> {
    /// The source prefix, as `192.0.2.0/24` or `2001:db8::/48`; `*` for all that were not tracked.
    #[cbor(b(0))]
    pub prefix: &'a str,
    /// Why they were refused.
    #[n(1)]
    pub code: Code,
    /// How many.
    #[n(2)]
    pub count: u64,
    /// The first of them.
    #[n(3)]
    pub first: Time,
    /// The last of them.
    #[n(4)]
    pub last: Time,
    /// One of them.
    #[n(5)]
    pub sample: Option<SocketAddr>,
}

/// `recovered`: what a crash left behind.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Recovered {
    /// The segment that was cut.
    #[n(0)]
    pub segment: u64,
    /// Where its last whole batch ends.
    #[n(1)]
    pub offset: u64,
    /// SHA-256 of the bytes that were set aside.
    #[n(2)]
    pub digest: Digest,
    /// How many bytes were set aside.
    #[n(3)]
    pub bytes: u64,
}

/// `interrupted`: a stretch of time in which nothing could be recorded, so nothing was released.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Interrupted {
    /// Since when.
    #[n(0)]
    pub since: Time,
    /// How many appends were turned away.
    #[n(1)]
    pub refused: u64,
}

impl Event<'_> {
    /// The record's `type`, as `audit show` prints it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Start(_) => "start",
            Event::Stop(_) => "stop",
            Event::Configuration(_) => "configuration",
            Event::Decision(_) => "decision",
            Event::Revocation(_) => "revocation",
            Event::Handshake(_) => "handshake",
            Event::HandshakeRefused(_) => "handshake_refused",
            Event::Close(_) => "close",
            Event::Intent(_) => "intent",
            Event::Release(_) => "release",
            Event::Completion(_) => "completion",
            Event::Refusal(_) => "refusal",
            Event::Noise(_) => "noise",
            Event::Recovered(_) => "recovered",
            Event::Interrupted(_) => "interrupted",
        }
    }

    /// In one word, what became of it; `None` where the question has no meaning.
    #[must_use]
    pub fn outcome(&self) -> Option<&'static str> {
        match self {
            Event::Handshake(_) => Some("established"),
            Event::HandshakeRefused(_) | Event::Refusal(_) | Event::Noise(_) => Some("refused"),
            Event::Intent(_) => Some("intended"),
            Event::Release(_) => Some("released"),
            Event::Completion(c) if c.code == Code::Complete => Some("complete"),
            Event::Completion(_) => Some("broken_off"),
            Event::Close(_) => Some("closed"),
            Event::Configuration(c) if c.accepted => Some("accepted"),
            Event::Configuration(_) => Some("refused"),
            Event::Start(_)
            | Event::Stop(_)
            | Event::Decision(_)
            | Event::Revocation(_)
            | Event::Recovered(_)
            | Event::Interrupted(_) => None,
        }
    }

    /// The request that the record is about.
    #[must_use]
    pub fn request(&self) -> Option<&Request<'_>> {
        match self {
            Event::Intent(r) => Some(&r.request),
            Event::Release(r) => Some(&r.request),
            Event::Completion(r) => Some(&r.request),
            Event::Refusal(r) => Some(&r.request),
            _ => None,
        }
    }
}

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Time(#[n(0)] pub u64);

impl Time {
    /// The time that a clock showed. Times before 1970 become 1970.
    #[must_use]
    pub fn from_system(time: std::time::SystemTime) -> Time {
        let since = time
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The same point in whole seconds.
    #[must_use]
    pub fn from_unix_seconds(seconds: i64) -> Time {
        Time(
            u64::try_from(seconds)
                .unwrap_or(0)
                .saturating_mul(1_000_000_000),
        )
    }
}

/// RFC 3339 in UTC with microseconds.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(timestamp) => write!(f, "{timestamp:.6}"),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The id of a request or a connection: 16 bytes, written as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Id(#[n(0)] ByteArray<16>);

impl Id {
    /// The id with these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Id {
        Id(bytes.into())
    }

    /// Its 32 lower-case hex digits, without an allocation.
    #[must_use]
    pub fn hex(&self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0.iter()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        hex
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0[..], f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A SHA-256 digest, written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Digest(#[n(0)] ByteArray<32>);

impl Digest {
    /// The digest with these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Digest {
        Digest(bytes.into())
    }

    /// SHA-256 of `data`.
    #[must_use]
    pub fn of(data: &[u8]) -> Digest {
        Digest::new(crate::frame::sha256(&[data]))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0[..], f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A 16-bit code point of TLS, written as `0x1301`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Hex16(#[n(0)] pub u16);

impl Serialize for Hex16 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("0x{:04x}", self.0))
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in bytes {
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}
