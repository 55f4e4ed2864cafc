//! An upstream as it is reached: where it is, how the way there is protected, what is spoken.
//!
//! A route holds its endpoint, so that a request goes to the upstream of the very configuration that
//! permitted it, whatever a reload does meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::{Authority, Protocol as Wanted, UpstreamName};
use integrity::VerifyingKey;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::signing::OwnSigner;

/// An upstream, loaded: everything that is needed to reach it.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: UpstreamName,
    /// Where it is.
    pub address: Address,
    /// How the way there is protected.
    pub security: Security,
    /// What `security` was made of, to tell whether it has changed.
    pub made_of: Vec<u8>,
    /// What is spoken there.
    pub protocol: Wanted,
    /// To connect, TLS included, and to wait for a connection to come free.
    pub connect: Duration,
    /// For the head of an answer, and for each pause in its content.
    pub head: Duration,
    /// For which an idle connection is kept.
    pub idle: Duration,
    /// Connections at once, of each worker.
    pub connections: usize,
    /// Signs requests to it, if they are to be signed.
    pub signer: Option<Arc<OwnSigner>>,
    /// With which it signs its answers.
    pub answer_key: Option<Arc<VerifyingKey>>,
}

impl Endpoint {
    /// Whether connections to the one are as good as connections to the other.
    pub fn is_like(&self, other: &Endpoint) -> bool {
        let of = |endpoint: &Endpoint| {
            (
                endpoint.protocol,
                endpoint.connect,
                endpoint.head,
                endpoint.idle,
                endpoint.connections,
                endpoint
                    .signer
                    .as_ref()
                    .map(|signer| signer.keyid().to_owned()),
                endpoint
                    .answer_key
                    .as_ref()
                    .map(|key| key.thumbprint().ok()),
            )
        };
        self.address == other.address && self.made_of == other.made_of && of(self) == of(other)
    }
}

/// Where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Over TCP.
    Tcp(Authority),
    /// A Unix domain socket.
    Unix(PathBuf),
}

/// How the way to an upstream is protected.
#[derive(Clone)]
pub enum Security {
    /// By the machine: loopback, a Unix socket, or the operator's rationale.
    None,
    /// By TLS.
    Tls {
        /// Pinned roots, our certificate.
        config: Arc<ClientConfig>,
        /// The name that its certificate must hold.
        name: ServerName<'static>,
    },
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Security::None => f.write_str("None"),
            Security::Tls { name, .. } => write!(f, "Tls({name:?})"),
        }
    }
}
