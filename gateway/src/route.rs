//! Which route a request takes: by listener, by host, by the longest prefix of whole segments, then
//! by method. The order of the file means nothing. Pure.
//!
//! The site comes first: Host, the server name of the handshake and the certificate that was shown
//! must belong together, or a client could reach one site through the front door of another (421,
//! RFC 9110 7.4). The bytes that are matched are the bytes that are forwarded; segments are compared
//! after decoding once, so that no spelling of a path slips past its route into a wider one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use config::{HostName, ListenerName, Route};
use http1::Authority;

use crate::checks::{self, PathFault};
use crate::demands::Demands;
use crate::endpoint::Endpoint;
use crate::hosts::Hosts;
use crate::limit::Rates;
use crate::path;
use crate::peer::Peer;
use crate::request::{Head, Received};

/// The routes of one configuration, ready to be searched.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    sites: HashMap<ListenerName, HashMap<HostName, Node>>,
    /// Those that have a rate, for whoever sweeps.
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
    /// What it asks of messages.
    pub demands: Demands,
    /// Within what an id of its upstream's patients is unique: the upstream's `fhir_base`, or where
    /// that is not said a URN with the upstream's name.
    pub patients: Box<str>,
}

#[derive(Debug, Clone, Default)]
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

    /// The route of a request that has passed the checks. `selected` says which certificate the
    /// listener shows for a host.
    pub fn choose<'a>(
        &self,
        received: &Received,
        selected: impl Fn(&str) -> Option<&'a Arc<Hosts>>,
    ) -> Result<Arc<RouteEntry>, RouteRefusal> {
        let authority = checks::host(&received.head).ok_or(RouteRefusal::Misdirected)?;
        let site = self.site(&received.peer, authority, selected)?;
        let path = checks::path_of(&received.head).ok_or(RouteRefusal::NoRoute)?;
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
        Self::descend(
            site,
            head,
            checks::path_of(head).ok_or(RouteRefusal::NoRoute)?,
        )
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
    /// must be a host of this listener, the certificate that was shown must be good for both, and it
    /// must be the one that the listener would have shown for the host. Without a name the default
    /// certificate was shown, and it alone decides.
    fn site<'a>(
        &self,
        peer: &Peer,
        authority: Authority<'_>,
        selected: impl Fn(&str) -> Option<&'a Arc<Hosts>>,
    ) -> Result<&Node, RouteRefusal> {
        let hosts = self
            .sites
            .get(&peer.listener)
            .ok_or(RouteRefusal::Misdirected)?;
        let (host, site) = found(hosts, authority.host).ok_or(RouteRefusal::Misdirected)?;
        let shown = &peer.channel.shown;
        // Certificates are compared by what they are good for: a renewed one is the same. A client
        // that asked for this very host was shown the right one, whatever it can verify.
        let asked = peer.channel.sni.as_deref() == Some(host.as_str());
        let agrees = match &peer.channel.sni {
            Some(sni) => shown.cover(sni) && (asked || found(hosts, sni).is_some()),
            None => true,
        };
        let selects = asked || selected(host.as_str()).is_some_and(|hosts| hosts == shown);
        if agrees && selects && shown.cover(host.as_str()) {
            Ok(site)
        } else {
            Err(RouteRefusal::Misdirected)
        }
    }

    fn descend(site: &Node, head: &Head, path: &str) -> Result<Arc<RouteEntry>, RouteRefusal> {
        let segments = path.split('/').skip(1);
        let node = site.deepest(segments.clone().map(path::decode));
        let node = node.ok_or(RouteRefusal::NoRoute)?;
        let routes = &node.routes;
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
        if path::has_encoded_slash(path) {
            // It never divides here. Where it is allowed, an upstream that lets it divide must not
            // find itself behind another route, with other rules.
            let divided = segments.flat_map(|segment| {
                let decoded = path::decode(segment).unwrap_or_default();
                let parts: Vec<_> = decoded
                    .split('/')
                    .map(|part| part.to_owned().into())
                    .collect();
                parts.into_iter().map(Some)
            });
            let same = site
                .deepest(divided)
                .is_some_and(|other| std::ptr::eq(other, node));
            if !entry.route.encoded_slash || !same {
                return Err(RouteRefusal::Path(PathFault::EncodedSlash));
            }
        }
        Ok(Arc::clone(entry))
    }
}

/// What is kept for a host, however it is spelled. Most spell it as it is kept.
fn found<'a, T>(hosts: &'a HashMap<HostName, T>, spelled: &str) -> Option<(&'a HostName, &'a T)> {
    hosts
        .get_key_value(spelled)
        .or_else(|| hosts.get_key_value(&HostName::parse(spelled).ok()?))
}

impl Node {
    /// The deepest node with routes that these segments lead to, each decoded.
    fn deepest<'a>(&self, segments: impl Iterator<Item = Option<Cow<'a, str>>>) -> Option<&Node> {
        let mut node = self;
        let mut best = (!node.routes.is_empty()).then_some(node);
        for segment in segments {
            let Some(next) = segment.and_then(|segment| node.below.get(segment.as_ref())) else {
                break;
            };
            node = next;
            if !node.routes.is_empty() {
                best = Some(node);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Address, Security};
    use crate::headers::Origin;
    use crate::memory::Memory;
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
            rationale = "a test of routes"
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
                demands: Demands::default(),
                patients: Box::default(),
            })
        }))
    }

    fn endpoint(name: config::UpstreamName) -> Endpoint {
        Endpoint {
            name,
            address: Address::Unix("/run/fhir.sock".into()),
            security: Security::None,
            made_of: Vec::new(),
            protocol: config::Protocol::Http11,
            connect: Duration::from_secs(1),
            head: Duration::from_secs(1),
            idle: Duration::from_secs(1),
            connections: 1,
            signer: None,
            answer_key: None,
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
                origin: Origin::of("127.0.0.1:1".parse().unwrap()),
                listener: ListenerName::parse("devices").unwrap(),
                client: Client::Anonymous,
                channel,
            }),
            content: Content::None,
            memory: Memory::default(),
            id: RequestId::new(Id::new([0; 16])),
            at: Time(0),
        }
    }

    const NAMES: &[&str] = &["a.example", "b.example"];

    /// On a listener with one certificate.
    fn choose_as_shown(
        table: &RouteTable,
        received: &Received,
    ) -> Result<Arc<RouteEntry>, RouteRefusal> {
        table.choose(received, |_| Some(&received.peer.channel.shown))
    }

    fn choose(table: &RouteTable, method: &str, target: &str) -> Result<String, RouteRefusal> {
        let received = request(method, "a.example", target, Some("a.example"), NAMES);
        choose_as_shown(table, &received).map(|entry| entry.route.name.value.to_string())
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
    fn an_encoded_slash_never_leads_around_a_narrower_route() {
        let table = table(&[
            ("slash-all", "a.example", "/", "[\"GET\"]"),
            ("fhir", "a.example", "/fhir/admin", "[\"GET\"]"),
        ]);
        for target in ["/fhir%2Fadmin", "/fhir%2fadmin/x", "/fhir%2F%61dmin"] {
            assert_eq!(
                choose(&table, "GET", target),
                Err(RouteRefusal::Path(PathFault::EncodedSlash)),
                "{target}"
            );
        }
        assert_eq!(
            choose(&table, "GET", "/x%2Fadmin").as_deref(),
            Ok("slash-all")
        );
    }

    #[test]
    fn a_host_is_served_only_on_a_connection_that_was_shown_its_own_certificate() {
        let table = table(&[
            ("a", "a.example", "/", "[\"GET\"]"),
            ("b", "b.example", "/", "[\"GET\"]"),
        ]);
        let (both, own) = (shown(NAMES), shown(&["b.example"]));
        let selected = |host: &str| Some(if host == "b.example" { &own } else { &both });
        let a = request("GET", "a.example", "/", Some("a.example"), NAMES);
        assert!(table.choose(&a, selected).is_ok());
        let b = request("GET", "b.example", "/", Some("a.example"), NAMES);
        assert_eq!(
            table.choose(&b, selected).unwrap_err(),
            RouteRefusal::Misdirected,
            "the certificate covers b.example, but b.example has one of its own"
        );
    }

    #[test]
    fn host_and_the_name_of_the_handshake_belong_to_one_certificate_and_this_listener() {
        let table = table(&[
            ("a", "a.example", "/", "[\"GET\"]"),
            ("b", "b.example", "/", "[\"GET\"]"),
        ]);
        let outcome = |host: &str, sni: Option<&str>, names: &[&str]| {
            choose_as_shown(&table, &request("GET", host, "/", sni, names))
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
            choose_as_shown(&table, &received).unwrap_err(),
            RouteRefusal::Misdirected
        );
    }
}
