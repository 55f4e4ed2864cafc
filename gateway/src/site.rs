//! The world as one configuration says it is: loaded, and never changed. A reload makes another one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use config::{ListenerName, Role, RoleName, UpstreamName};

use crate::endpoint::Endpoint;
use crate::route::RouteTable;
use crate::tls::{ClientTrust, OwnCertificate, ServerSide};

/// A configuration in force.
#[derive(Debug)]
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
    /// Every weakened control with its rationale: those of the configuration and those that only
    /// the machine shows.
    pub decisions: Vec<config::Decision>,
}

/// A listener.
#[derive(Debug)]
pub struct ListenerSite {
    /// What TLS it speaks and with which certificates.
    pub side: Arc<ServerSide>,
    /// What a connection may take.
    pub limits: config::Limits,
}
