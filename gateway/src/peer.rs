//! The facts of an established connection: who is at the other end, and over what channel.

use std::net::SocketAddr;
use std::sync::Arc;

use audit::event::Id;
use config::ListenerName;

use crate::headers::Origin;
use crate::hosts::Hosts;
use crate::identity::ClientIdentity;

/// The other end of an established connection. It does not change while the connection lives; what
/// its certificate is worth can change, and is asked again for each request.
#[derive(Debug)]
pub struct Peer {
    /// Joins the records of the connection.
    pub connection: Id,
    /// Where it comes from.
    pub address: SocketAddr,
    /// The same, for upstreams.
    pub origin: Origin,
    /// The listener that accepted it.
    pub listener: ListenerName,
    /// Who it is.
    pub client: Client,
    /// How it is spoken to.
    pub channel: Channel,
}

/// Who a peer is.
#[derive(Debug, Clone)]
pub enum Client {
    /// Nobody that we know: the listener did not insist on a certificate.
    Anonymous,
    /// The holder of a certificate.
    Known(Arc<ClientIdentity>),
}

impl Client {
    /// `trust:name`, as it stands in records.
    pub fn qualified(&self) -> Option<&str> {
        match self {
            Client::Anonymous => None,
            Client::Known(identity) => Some(identity.qualified()),
        }
    }
}

/// What was negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// TLS version, as on the wire.
    pub version: u16,
    /// Cipher suite, as on the wire.
    pub suite: u16,
    /// Group, as on the wire.
    pub group: Option<u16>,
    /// The protocol on top of it.
    pub protocol: Protocol,
    /// The server name that the client asked for, in lower case.
    pub sni: Option<Box<str>>,
    /// The hosts of the server certificate that it was shown.
    pub shown: Arc<Hosts>,
    /// JA4 fingerprint of its hello.
    pub ja4: Box<str>,
}

/// What is spoken on top of TLS, chosen by ALPN (RFC 7301) and never by a look at the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, also for a client that names no protocol.
    Http1,
    /// HTTP/2.
    Http2,
}
