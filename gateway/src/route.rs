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
use crate::endpoint::Endpoint;
use crate::limit::Rates;
use crate::peer::Peer;
use crate::request::{Head, Received};

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
    /// Where requests on it go.
    pub endpoint: Arc<Endpoint>,
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

    /// The route of a request that has passed the checks.
    pub fn choose(&self, received: &Received) -> Result<Arc<RouteEntry>, RouteRefusal> {
        let authority = checks::host(&received.head).ok_or(RouteRefusal::Misdirected)?;
        let site = self.site(&received.peer, authority)?;
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

    /// The routes of the host, if the connection is one for it: the name that the handshake was for
    /// must be a host of this listener, and the certificate that was shown must be good for both.
    /// Without a name the default certificate was shown, and it alone decides.
    fn site(&self, peer: &Peer, authority: Authority<'_>) -> Result<&Node, RouteRefusal> {
        let hosts = self
            .sites
            .get(&peer.listener)
            .ok_or(RouteRefusal::Misdirected)?;
        let host = HostName::parse(authority.host).map_err(|_| RouteRefusal::Misdirected)?;
        let site = hosts.get(&host).ok_or(RouteRefusal::Misdirected)?;
        let shown = &peer.channel.shown;
        let agrees = match &peer.channel.sni {
            Some(sni) => {
                shown.cover(sni) && HostName::parse(sni).is_ok_and(|sni| hosts.contains_key(&sni))
            }
            None => true,
        };
        if agrees && shown.cover(host.as_str()) {
            Ok(site)
        } else {
            Err(RouteRefusal::Misdirected)
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Address, Security};
    use crate::hosts::Hosts;
    use crate::peer::{Channel, Client, Protocol};
    use crate::request::{Content, RequestId, Version};
    use audit::event::{Id, Time};
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Method, header};
    use http1::Target;
    use rcgen::{CertificateParams, KeyPair};
    use std::path::Path;
    use std::rc::Rc;
    use std::time::Duration;
    use x509_parser::prelude::{FromDer, X509Certificate};

    fn table(routes: &[(&str, &str, &str, &str)]) -> RouteTable {
        let mut text = r#"
            [audit]
            directory = "audit"
            [trust.devices]
            roots = ["root.pem"]
            revocation = { crls = ["crl"] }
            [certificates.api]
            chain = "chain.pem"
            key = "file:key.pem"
            [listeners.devices]
            listen = ["127.0.0.1:8443"]
            certificates = ["api"]
            clients = { certificates = "required", trust = "devices" }
            [roles]
            pump = { clients = ["urn:example:pump-1"] }
            [upstreams.fhir]
            servers = ["unix:/run/fhir.sock"]
        "#
        .to_owned();
        for (name, host, path, methods) in routes {
            let rest = "listeners = [\"devices\"]\nallow = [\"pump\"]\nupstream = \"fhir\"";
            let slash = name.starts_with("slash");
            let route = format!(
                "[[routes]]\nname = \"{name}\"\nhosts = [\"{host}\"]\npath = \"{path}\"\nmethods = {methods}\nencoded_slash = {slash}\n{rest}\n"
            );
            text.push_str(&route);
        }
        let config = config::parse(Path::new("test.toml"), &text).unwrap();
        RouteTable::build(config.routes.into_iter().map(|route| {
            let endpoint = Arc::new(endpoint(route.upstream.value.clone()));
            Arc::new(RouteEntry {
                route,
                endpoint,
                rates: None,
            })
        }))
    }

    fn endpoint(name: config::UpstreamName) -> Endpoint {
        Endpoint {
            name,
            address: Address::Unix("/run/fhir.sock".into()),
            security: Security::None,
            identity: Vec::new(),
            protocol: config::Protocol::Http11,
            connect: Duration::from_secs(1),
            head: Duration::from_secs(1),
            idle: Duration::from_secs(1),
            connections: 1,
        }
    }

    fn shown(names: &[&str]) -> Arc<Hosts> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
        Arc::new(Hosts::of(&parsed))
    }

    fn request(
        method: &str,
        host: &str,
        target: &str,
        sni: Option<&str>,
        names: &[&str],
    ) -> Received {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        let channel = Channel {
            version: 0x0304,
            suite: 0x1301,
            group: None,
            protocol: Protocol::Http1,
            sni: sni.map(Into::into),
            shown: shown(names),
            ja4: "".into(),
        };
        Received {
            head: Head {
                target: Target::parse(&method, Bytes::copy_from_slice(target.as_bytes())).unwrap(),
                method,
                headers,
                version: Version::Http11,
            },
            peer: Rc::new(Peer {
                connection: Id::new([0; 16]),
                address: "127.0.0.1:1".parse().unwrap(),
                listener: ListenerName::parse("devices").unwrap(),
                client: Client::Anonymous,
                channel,
            }),
            content: Content::None,
            id: RequestId::new(Id::new([0; 16])),
            at: Time(0),
        }
    }

    const NAMES: &[&str] = &["a.example", "b.example"];

    fn choose(table: &RouteTable, method: &str, target: &str) -> Result<String, RouteRefusal> {
        let received = request(method, "a.example", target, Some("a.example"), NAMES);
        table
            .choose(&received)
            .map(|entry| entry.route.name.value.to_string())
    }

    #[test]
    fn the_longest_prefix_of_whole_segments_wins_whatever_the_order() {
        let routes = [
            ("deep", "a.example", "/fhir/Patient", "[\"GET\"]"),
            ("root", "a.example", "/", "[\"GET\"]"),
            ("fhir", "a.example", "/fhir", "[\"GET\"]"),
        ];
        let mut backwards = routes;
        backwards.reverse();
        for table in [table(&routes), table(&backwards)] {
            for (target, name) in [
                ("/", "root"),
                ("/fhirx", "root"),
                ("/fhir", "fhir"),
                ("/fhir/", "fhir"),
                ("/fhir/Patients", "fhir"),
                ("/fhir/Patient", "deep"),
                ("/fhir/Patient/1?_id=2", "deep"),
                ("/fhir/%50atient/1", "deep"),
            ] {
                assert_eq!(
                    choose(&table, "GET", target).as_deref(),
                    Ok(name),
                    "{target}"
                );
            }
        }
    }

    #[test]
    fn a_path_that_no_prefix_covers_has_no_route() {
        let table = table(&[("fhir", "a.example", "/fhir", "[\"GET\"]")]);
        assert_eq!(choose(&table, "GET", "/other"), Err(RouteRefusal::NoRoute));
    }

    #[test]
    fn routes_of_one_prefix_are_told_apart_by_method_and_405_names_all_of_them() {
        let table = table(&[
            ("read", "a.example", "/fhir", "[\"GET\", \"HEAD\"]"),
            ("write", "a.example", "/fhir", "[\"POST\"]"),
            ("root", "a.example", "/", "[\"DELETE\"]"),
        ]);
        assert_eq!(choose(&table, "HEAD", "/fhir").as_deref(), Ok("read"));
        assert_eq!(choose(&table, "POST", "/fhir").as_deref(), Ok("write"));
        let allow = "GET, HEAD, POST".to_owned();
        assert_eq!(
            choose(&table, "DELETE", "/fhir"),
            Err(RouteRefusal::MethodNotAllowed { allow }),
            "not the shorter prefix"
        );
    }

    #[test]
    fn an_encoded_slash_is_refused_unless_the_route_allows_it_and_never_divides() {
        let table = table(&[
            ("fhir", "a.example", "/fhir", "[\"GET\"]"),
            ("slash", "a.example", "/files", "[\"GET\"]"),
        ]);
        assert_eq!(
            choose(&table, "GET", "/fhir/a%2Fb"),
            Err(RouteRefusal::Path(PathFault::EncodedSlash))
        );
        assert_eq!(
            choose(&table, "GET", "/files/a%2fb").as_deref(),
            Ok("slash")
        );
        assert_eq!(
            choose(&table, "GET", "/files%2fa"),
            Err(RouteRefusal::NoRoute)
        );
    }

    #[test]
    fn host_and_the_name_of_the_handshake_belong_to_one_certificate_and_this_listener() {
        let table = table(&[
            ("a", "a.example", "/", "[\"GET\"]"),
            ("b", "b.example", "/", "[\"GET\"]"),
        ]);
        let outcome = |host: &str, sni: Option<&str>, names: &[&str]| {
            table
                .choose(&request("GET", host, "/", sni, names))
                .map(|entry| entry.route.name.value.to_string())
        };
        assert_eq!(
            outcome("A.example:8443", Some("a.example"), NAMES).as_deref(),
            Ok("a")
        );
        assert_eq!(
            outcome("b.example", Some("a.example"), NAMES).as_deref(),
            Ok("b"),
            "one certificate for both"
        );
        assert_eq!(
            outcome("b.example", Some("a.example"), &["a.example"]),
            Err(RouteRefusal::Misdirected)
        );
        assert_eq!(
            outcome("c.example", Some("a.example"), &["a.example", "c.example"]),
            Err(RouteRefusal::Misdirected)
        );
        assert_eq!(
            outcome("a.example", Some("c.example"), &["a.example", "c.example"]),
            Err(RouteRefusal::Misdirected)
        );
        assert_eq!(
            outcome("a.example", Some("b.example"), &["a.example"]),
            Err(RouteRefusal::Misdirected)
        );
        assert_eq!(outcome("a.example", None, NAMES).as_deref(), Ok("a"));
        assert_eq!(
            outcome("b.example", None, &["a.example"]),
            Err(RouteRefusal::Misdirected)
        );
    }

    #[test]
    fn a_route_lives_only_on_its_listeners() {
        let table = table(&[("a", "a.example", "/", "[\"GET\"]")]);
        let mut received = request("GET", "a.example", "/", None, NAMES);
        let peer = Rc::get_mut(&mut received.peer).unwrap();
        peer.listener = ListenerName::parse("portal").unwrap();
        assert_eq!(
            table.choose(&received).unwrap_err(),
            RouteRefusal::Misdirected
        );
    }
}
