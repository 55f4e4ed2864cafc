//! Whether this client may use this route, now. Pure: the time comes as an argument.
//!
//! Asked for each request and not for each connection, so that a rule that was taken back, or a
//! certificate that was revoked, acts on connections that live. Deny by default: an empty list is
//! nobody, and so is a client whose trust set is gone (45 CFR 164.312(a)(1)).

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Allow, ClientName, Role, RoleName, TrustName};

use crate::peer::Client;
use crate::request::Received;
use crate::route::RouteEntry;
use crate::tls::{ChainRefusal, Clients};

/// A request that a rule permits. It wraps the very request that will be forwarded.
#[derive(Debug)]
pub struct Permitted {
    received: Received,
    route: Arc<RouteEntry>,
    rule: Rule,
}

/// What permitted a request: the name of a role, or `anyone`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// The client has this role.
    Role(RoleName),
    /// The route asks nobody who they are.
    Anyone,
}

impl Rule {
    /// As it stands in records.
    pub fn as_str(&self) -> &str {
        match self {
            Rule::Role(name) => name.as_str(),
            Rule::Anyone => "anyone",
        }
    }
}

/// Why a request is not permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorizeRefusal {
    /// No rule of the route covers the client.
    NotPermitted,
    /// The route asks for a client with a name, and this one has none.
    ClientUnknown,
    /// What the client's certificate is worth has changed since the handshake.
    Standing(ChainRefusal),
    /// The trust set that vouched for the client is no longer the one of the listener.
    TrustGone,
    /// The listener asks for a certificate since the connection was made, and this client showed none.
    CertificateMissing,
}

/// Asks whether the certificate still counts, and whether a rule covers the client, in this order. `clients` is what its listener asks of clients now; `now` in seconds
/// since 1970.
pub fn permit(
    received: Received,
    route: Arc<RouteEntry>,
    clients: &Clients,
    roles: &BTreeMap<RoleName, Role>,
    now: i64,
) -> Result<Permitted, AuthorizeRefusal> {
    vouched(&received.peer.client, clients, now)?;
    let client = match &received.peer.client {
        Client::Anonymous => None,
        Client::Known(identity) => Some((identity.trust(), identity.name())),
    };
    let rule = rule(client, &route.route.allow.value, roles)?;
    Ok(Permitted {
        received,
        route,
        rule,
    })
}

/// Whether what was proved in the handshake still counts, and all that has to be asked was asked (`ask`).
fn vouched(client: &Client, clients: &Clients, now: i64) -> Result<(), AuthorizeRefusal> {
    standing(client, clients, now)?;
    match (client, clients) {
        (Client::Known(identity), Clients::Required(trust) | Clients::Optional(trust)) => trust
            .vouched(identity, now)
            .map_err(AuthorizeRefusal::Standing),
        (Client::Anonymous, _) | (Client::Known(_), Clients::None) => Ok(()),
    }
}

/// Whether what was proved in the handshake still counts, as far as is known without asking anybody.
pub fn standing(client: &Client, clients: &Clients, now: i64) -> Result<(), AuthorizeRefusal> {
    match (client, clients) {
        (Client::Anonymous, Clients::None | Clients::Optional(_)) => Ok(()),
        (Client::Anonymous, Clients::Required(_)) => Err(AuthorizeRefusal::CertificateMissing),
        (Client::Known(_), Clients::None) => Err(AuthorizeRefusal::TrustGone),
        (Client::Known(identity), Clients::Required(trust) | Clients::Optional(trust)) => {
            if *identity.trust() != trust.name {
                return Err(AuthorizeRefusal::TrustGone);
            }
            trust
                .standing(identity, now)
                .map_err(AuthorizeRefusal::Standing)
        }
    }
}

/// The rule of a route that covers a client, who is nobody or a name under a trust set.
pub fn rule(
    client: Option<(&TrustName, &ClientName)>,
    allow: &Allow,
    roles: &BTreeMap<RoleName, Role>,
) -> Result<Rule, AuthorizeRefusal> {
    match (allow, client) {
        (Allow::Anyone, _) => Ok(Rule::Anyone),
        (Allow::Nobody, _) => Err(AuthorizeRefusal::NotPermitted),
        (Allow::Roles(_), None) => Err(AuthorizeRefusal::ClientUnknown),
        (Allow::Roles(names), Some((trust, client))) => names
            .iter()
            .find(|name| {
                roles
                    .get(&name.value)
                    .is_some_and(|role| role.covers(trust, client.as_str()))
            })
            .map(|name| Rule::Role(name.value.clone()))
            .ok_or(AuthorizeRefusal::NotPermitted),
    }
}

impl Permitted {
    /// The route.
    pub fn route(&self) -> &Arc<RouteEntry> {
        &self.route
    }

    /// The rule.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The request.
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// The request itself, for the stage that takes it over.
    pub(crate) fn into_parts(self) -> (Received, Arc<RouteEntry>, Rule) {
        (self.received, self.route, self.rule)
    }
}
