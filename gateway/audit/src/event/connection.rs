//! Events of connections: who came, what was negotiated, who was turned away, how it ended.

use std::net::SocketAddr;

use minicbor::{Decode, Encode};
use serde::Serialize;

use super::{Code, Digest, Hex16, Id, Time};

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
