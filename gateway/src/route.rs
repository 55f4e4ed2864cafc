//! Which route a request takes: by listener, by host, by the longest prefix of whole segments, then
//! by method. The order of the file means nothing. Pure.
//!
//! The site comes first: Host, the server name of the handshake and the certificate that was shown
//! must belong together, or a client could reach one site through the front door of another (421,
//! RFC 9110 7.4). The bytes that are matched are the bytes that are forwarded; segments are compared
//! after decoding once, so that no spelling of a path slips past its route into a wider one.

use std::collections::HashMap;
use std::sync::Arc;

use config::{HostName, ListenerName, Route};
use http1::Authority;

use crate::checks::{self, PathFault};
use crate::limit::Rates;
use crate::peer::Peer;
use crate::request::{Head, Received};
use crate::tls::ServerEntry;

/// The routes of one configuration, ready to be searched.
#[derive(Debug, Default)]
pub struct RouteTable {
    sites: HashMap<ListenerName, HashMap<HostName, Node>>,
    /// Whether any route has a rate, so that somebody sweeps.
    rates: Vec<Arc<RouteEntry>>,
}

/// A route with what requests on it share.
#[derive(Debug)]
pub struct RouteEntry {
    /// As it is configured.
    pub route: Route,
    /// The clients' rates, if it limits them.
    pub rates: Option<Arc<Rates>>,
}

#[derive(Debug, Default)]
struct Node {
    /// Routes whose prefix ends here, with disjoint methods.
    routes: Vec<Arc<RouteEntry>>,
    below: HashMap<Box<str>, Node>,
}

/// Why no route was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteRefusal {
    /// The listener is no longer configured.
    ListenerGone,
    /// The host is not one of this listener, or not the one that the connection is for.
    Misdirected,
    /// No prefix covers the path.
    NoRoute,
    /// The route has an encoded slash in its path and does not allow one.
    Path(PathFault),
    /// The prefix is served, the method is not.
    MethodNotAllowed {
        /// What is, as `Allow` has it (RFC 9110 10.2.1).
        allow: String,
    },
}

impl RouteTable {
    /// The table of these routes. `config` has made sure that no two share listener, host, path and
    /// method.
    pub fn build(routes: impl IntoIterator<Item = Arc<RouteEntry>>) -> RouteTable {
        let mut table = RouteTable::default();
        for entry in routes {
            for listener in &entry.route.listeners {
                for host in &entry.route.hosts {
                    let site = table.sites.entry(listener.value.clone()).or_default();
                    let mut node = site.entry(host.value.clone()).or_default();
                    for segment in entry.route.path.value.segments() {
                        node = node.below.entry(segment.as_str().into()).or_default();
                    }
                    node.routes.push(Arc::clone(&entry));
                }
            }
            if entry.rates.is_some() {
                table.rates.push(entry);
            }
        }
        table
    }

    /// The route of a request that has passed the checks. `entries` are the certificate entries of
    /// its listener, the default one first.
    pub fn choose(
        &self,
        received: &Received,
        entries: &[Arc<ServerEntry>],
    ) -> Result<Arc<RouteEntry>, RouteRefusal> {
        let authority = checks::host(&received.head).ok_or(RouteRefusal::Misdirected)?;
        let site = self.site(&received.peer, authority, entries)?;
        let path = checks::path(&received.head).ok_or(RouteRefusal::NoRoute)?;
        Self::descend(site, &received.head, path)
    }

    /// The route that a method on a host and path would take, and nothing else asked.
    pub fn lookup(
        &self,
        listener: &ListenerName,
        host: &HostName,
        head: &Head,
    ) -> Result<Arc<RouteEntry>, RouteRefusal> {
        let site = self
            .sites
            .get(listener)
            .ok_or(RouteRefusal::Misdirected)?
            .get(host)
            .ok_or(RouteRefusal::Misdirected)?;
        Self::descend(site, head, checks::path(head).ok_or(RouteRefusal::NoRoute)?)
    }

    /// Forgets what rates no longer need to remember.
    pub fn sweep(&self) {
        self.rates
            .iter()
            .filter_map(|entry| entry.rates.as_ref())
            .for_each(|rates| rates.sweep());
    }

    /// All rates, so that a reload can keep them.
    pub fn rates(&self) -> impl Iterator<Item = (&Route, &Arc<Rates>)> {
        self.rates
            .iter()
            .filter_map(|entry| Some((&entry.route, entry.rates.as_ref()?)))
    }

    fn site(
        &self,
        peer: &Peer,
        authority: Authority<'_>,
        entries: &[Arc<ServerEntry>],
    ) -> Result<&Node, RouteRefusal> {
        let hosts = self
            .sites
            .get(&peer.listener)
            .ok_or(RouteRefusal::Misdirected)?;
        let host = HostName::parse(authority.host).map_err(|_| RouteRefusal::Misdirected)?;
        let site = hosts.get(&host).ok_or(RouteRefusal::Misdirected)?;
        let shown = entries
            .iter()
            .find(|entry| *entry.fingerprint() == peer.channel.shown);
        match (&peer.channel.sni, shown) {
            // The name that the handshake was for must be a host of this listener, and the
            // certificate that was shown for it must be good for Host too.
            (Some(sni), Some(shown)) => {
                let known = HostName::parse(sni).is_ok_and(|sni| hosts.contains_key(&sni));
                if !known || !shown.covers(sni) || !shown.covers(host.as_str()) {
                    return Err(RouteRefusal::Misdirected);
                }
            }
            (None, Some(shown)) if shown.covers(host.as_str()) => {}
            // The certificate was replaced while the connection lived: what it is worth now cannot
            // be told, and a new connection costs little.
            (None | Some(_), None) | (None, Some(_)) => return Err(RouteRefusal::Misdirected),
        }
        Ok(site)
    }

    fn descend(site: &Node, head: &Head, path: &str) -> Result<Arc<RouteEntry>, RouteRefusal> {
        let mut node = site;
        let mut best = (!site.routes.is_empty()).then_some(site);
        for segment in path.split('/').skip(1) {
            let Some(next) = decode(segment).and_then(|segment| node.below.get(segment.as_ref()))
            else {
                break;
            };
            node = next;
            if !node.routes.is_empty() {
                best = Some(node);
            }
        }
        let routes = &best.ok_or(RouteRefusal::NoRoute)?.routes;
        let serves = |entry: &&Arc<RouteEntry>| {
            entry
                .route
                .methods
                .iter()
                .any(|method| method.value.as_str() == head.method.as_str())
        };
        let Some(entry) = routes.iter().find(serves) else {
            let methods = routes
                .iter()
                .flat_map(|entry| &entry.route.methods)
                .map(|method| method.value.as_str());
            return Err(RouteRefusal::MethodNotAllowed {
                allow: methods.collect::<Vec<_>>().join(", "),
            });
        };
        if !entry.route.encoded_slash && has_encoded_slash(path) {
            return Err(RouteRefusal::Path(PathFault::EncodedSlash));
        }
        Ok(Arc::clone(entry))
    }
}

fn has_encoded_slash(path: &str) -> bool {
    path.as_bytes()
        .windows(3)
        .any(|escape| escape.eq_ignore_ascii_case(b"%2f"))
}

/// A segment decoded once. The checks have refused what does not decode to UTF-8.
fn decode(segment: &str) -> Option<std::borrow::Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(segment.into());
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let value = digit()? << 4 | digit()?;
        decoded.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(decoded).ok().map(Into::into)
}
