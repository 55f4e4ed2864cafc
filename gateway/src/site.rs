//! The world as one configuration says it is: loaded, and never changed. A reload makes another one, and so
//! do new revocation lists.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use audit::merkle::key::Signer;
use audit::merkle::rotation::Chain;
use audit::seal::pseudonym::TenantKey;
use audit::seal::reader::Reader;
use audit::ship::submit::Witness;
use config::{ListenerName, Role, RoleName, UpstreamName};

use crate::endpoint::Endpoint;
use crate::replays::Replays;
use crate::route::RouteTable;
use crate::signing::OwnSigner;
use crate::tls::{ClientTrust, OwnCertificate, ServerSide};

/// A configuration in force.
#[derive(Debug, Clone)]
pub struct Site {
    /// Rises by one with each configuration that this process puts in force.
    pub generation: u64,
    /// The configuration.
    pub config: config::Config,
    /// SHA-256 of its file.
    pub digest: [u8; 32],
    /// Listeners.
    pub listeners: HashMap<ListenerName, ListenerSite>,
    /// Trust sets.
    pub trust: Vec<Arc<ClientTrust>>,
    /// Certificates of the gateway itself.
    pub certificates: Vec<Arc<OwnCertificate>>,
    /// Routes.
    pub routes: RouteTable,
    /// Roles.
    pub roles: BTreeMap<RoleName, Role>,
    /// Upstreams.
    pub upstreams: HashMap<UpstreamName, Arc<Endpoint>>,
    /// The gateway's own key for messages, if it signs any.
    pub signer: Option<Arc<OwnSigner>>,
    /// Which signed messages were accepted; nothing where no route takes any.
    pub replays: Option<Arc<Replays>>,
    /// The keys of the audit log. A reload does not change them.
    pub audit_keys: AuditKeys,
    /// Its witnesses. A reload does not change them.
    pub witnesses: Vec<Witness>,
    /// Every weakened control with its rationale: those of the configuration and those that only
    /// the machine shows.
    pub decisions: Vec<config::Decision>,
}

impl Site {
    /// The same configuration with these trust sets in place of those of their names.
    #[must_use]
    pub fn with_trust(&self, renewed: &[Arc<ClientTrust>]) -> Site {
        let mut site = self.clone();
        for trust in renewed {
            for known in &mut site.trust {
                if known.name == trust.name {
                    *known = Arc::clone(trust);
                }
            }
            for listener in site.listeners.values_mut() {
                if let Some(side) = listener.side.with_trust(trust) {
                    listener.side = Arc::new(side);
                }
            }
        }
        site
    }
}

/// The keys of the audit log.
#[derive(Clone, Default)]
pub struct AuditKeys {
    /// Signs checkpoints; without one nobody does.
    pub signer: Option<Arc<Signer>>,
    /// How the log's earlier keys led to the signer.
    pub rotations: Chain,
    /// Names patients; without it none is named.
    pub patients: Option<Arc<TenantKey>>,
    /// Whom records are encrypted to; without any they are not.
    pub readers: Vec<Reader>,
}

/// Says which they are, and nothing secret.
impl fmt::Debug for AuditKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditKeys")
            .field("signer", &self.signer)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

/// A listener.
#[derive(Debug, Clone)]
pub struct ListenerSite {
    /// What TLS it speaks and with which certificates.
    pub side: Arc<ServerSide>,
    /// What a connection may take.
    pub limits: config::Limits,
}
