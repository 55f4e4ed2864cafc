//! `gateway explain`: what would become of a request, without sending it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use audit::event::{Id, Time};
use bytes::Bytes;
use config::{ClientName, HostName, ListenerName, TrustName};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Uri};
use http1::{Authority, Target};

use crate::authorize::{self, AuthorizeRefusal, Rule};
use crate::checks;
use crate::headers::Origin;
use crate::memory::Memory;
use crate::peer::{Channel, Client, Peer, Protocol};
use crate::refusal::Refusal;
use crate::request::{Content, Head, Received, RequestId, Version};
use crate::site::{ListenerSite, Site};
use crate::tls::{Clients, OwnCertificate};

/// The question: a request that somebody could send.
#[derive(Debug)]
pub struct Question {
    method: Method,
    target: Target,
    host: HostName,
    port: u16,
    header: HeaderValue,
}

/// The answer for one listener.
#[derive(Debug)]
pub struct Explanation {
    /// The listener.
    pub listener: ListenerName,
    /// The certificate entry that the client would be shown.
    pub certificate: String,
    /// The route, if one is taken.
    pub route: Option<String>,
    /// The upstream that the request would reach.
    pub upstream: Option<String>,
    /// The rule, or why not.
    pub outcome: Result<Rule, Refusal>,
}

/// Why a URL is none that a gateway could be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlFault {
    /// It does not begin with `https://`.
    Scheme,
    /// It names no host.
    NoHost,
    /// What it names is no host and port.
    Authority,
    /// No request can have its path and query.
    Target,
}

impl fmt::Display for UrlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UrlFault::Scheme => "the URL does not begin with https://",
            UrlFault::NoHost => "the URL names no host",
            UrlFault::Authority => "the URL names no valid host and port",
            UrlFault::Target => "the URL has a target that no request can have",
        })
    }
}

impl Question {
    /// Reads a question, as strictly as a request is read: a port that is none would otherwise be
    /// taken for the usual one.
    pub fn parse(method: &Method, url: &Uri) -> Result<Question, UrlFault> {
        if url.scheme_str() != Some("https") {
            return Err(UrlFault::Scheme);
        }
        let authority = url.authority().ok_or(UrlFault::NoHost)?.as_str();
        let named = Authority::parse(authority.as_bytes()).ok_or(UrlFault::Authority)?;
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let target = Bytes::copy_from_slice(target.as_bytes());
        Ok(Question {
            method: method.clone(),
            target: Target::parse(method, target).map_err(|_| UrlFault::Target)?,
            host: HostName::parse(named.host).map_err(|_| UrlFault::Authority)?,
            port: named.port.unwrap_or(443),
            header: HeaderValue::from_str(authority).map_err(|_| UrlFault::Authority)?,
        })
    }

    /// The request as `listener` would receive it from somebody who was shown `entry`.
    fn received(&self, listener: &ListenerName, entry: &OwnCertificate) -> Received {
        let channel = Channel {
            version: 0x0304,
            suite: 0,
            group: None,
            protocol: Protocol::Http1,
            sni: self.server_name().map(Into::into),
            shown: Arc::clone(entry.hosts()),
            ja4: Box::default(),
        };
        let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let peer = Peer {
            connection: Id::new([0; 16]),
            address,
            origin: Origin::of(address),
            listener: listener.clone(),
            client: Client::Anonymous,
            channel,
        };
        Received {
            head: Head {
                method: self.method.clone(),
                target: self.target.clone(),
                headers: HeaderMap::from_iter([(HOST, self.header.clone())]),
                version: Version::Http11,
            },
            peer: Rc::new(peer),
            content: Content::None,
            memory: Memory::default(),
            id: RequestId::new(Id::new([0; 16])),
            at: Time(0),
        }
    }

    /// What a client sends as SNI: an address is never sent (RFC 6066 3).
    fn server_name(&self) -> Option<&str> {
        self.host.address().is_none().then(|| self.host.as_str())
    }
}

/// Answers the question for every listener that it could reach; none when no listener has its port
/// and a certificate for its host. `client` is a name under a trust set, or nobody.
pub fn explain(
    site: &Site,
    client: Option<&(TrustName, ClientName)>,
    question: &Question,
) -> Vec<Explanation> {
    let mut explanations = Vec::new();
    for (name, listener) in &site.config.listeners {
        let is_here = |at: &config::Placed<SocketAddr>| at.value.port() == question.port;
        let Some(at) = site.listeners.get(name) else {
            continue;
        };
        if !listener.listen.iter().any(is_here) {
            continue;
        }
        let Some(entry) = shown(at, question) else {
            continue;
        };
        let mut explanation = Explanation {
            listener: name.clone(),
            certificate: entry.name().to_string(),
            route: None,
            upstream: None,
            outcome: Err(Refusal::Internal),
        };
        let received = question.received(name, entry);
        explanation.outcome = judge(site, at, client, &received, &mut explanation);
        explanations.push(explanation);
    }
    explanations
}

/// The entry that a client would be shown, on a listener that has one for the host.
fn shown<'a>(at: &'a ListenerSite, question: &Question) -> Option<&'a Arc<OwnCertificate>> {
    let host = question.host.as_str();
    let entries = at.side.entries();
    if !entries.iter().any(|entry| entry.hosts().cover(host)) {
        return None;
    }
    match question.server_name() {
        Some(name) => {
            let hosts = at.side.selected(name)?;
            entries.iter().find(|entry| entry.hosts() == hosts)
        }
        None => entries.first(),
    }
}

/// What `pipeline` asks, in its order, but for what only a certificate and a body can tell.
fn judge(
    site: &Site,
    at: &ListenerSite,
    client: Option<&(TrustName, ClientName)>,
    received: &Received,
    explanation: &mut Explanation,
) -> Result<Rule, Refusal> {
    checks::check(received).map_err(Refusal::Check)?;
    let route = site
        .routes
        .choose(received, |host| at.side.selected(host))
        .map_err(Refusal::Route)?;
    explanation.route = Some(route.route.name.value.to_string());
    explanation.upstream = Some(route.route.upstream.value.to_string());
    let client = client.map(|(trust, name)| (trust, name));
    vouched(at, client).map_err(Refusal::Authorize)?;
    authorize::rule(client, &route.route.allow.value, &site.roles).map_err(Refusal::Authorize)
}

/// Whether the listener would have let the client connect as whom it says that it is.
fn vouched(
    at: &ListenerSite,
    client: Option<(&TrustName, &ClientName)>,
) -> Result<(), AuthorizeRefusal> {
    match (client, at.side.clients()) {
        (None, clients) => authorize::standing(&Client::Anonymous, clients, 0),
        (Some((trust, _)), Clients::Required(set) | Clients::Optional(set))
            if set.name == *trust =>
        {
            Ok(())
        }
        (Some(_), _) => Err(AuthorizeRefusal::TrustGone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::testing::Place;

    /// The demo's configuration: one listener on port 1.
    fn site() -> Site {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        place.load(None).unwrap()
    }

    fn ask(
        site: &Site,
        client: Option<(&str, &str)>,
        method: &Method,
        url: &str,
    ) -> Vec<Explanation> {
        let client = client.map(|(trust, name)| {
            let trust = TrustName::parse(trust).unwrap();
            (trust, ClientName::parse(name).unwrap())
        });
        let question = Question::parse(method, &url.parse().unwrap()).unwrap();
        explain(site, client.as_ref(), &question)
    }

    fn answer(
        site: &Site,
        client: Option<(&str, &str)>,
        method: &Method,
        url: &str,
    ) -> Explanation {
        let mut answers = ask(site, client, method, url);
        assert_eq!(answers.len(), 1, "{url}");
        answers.remove(0)
    }

    const PUMP: Option<(&str, &str)> = Some(("devices", "urn:example:pump-1"));

    #[test]
    fn a_url_that_no_client_can_ask_for_is_no_question() {
        for (url, fault) in [
            ("http://localhost:1/", UrlFault::Scheme),
            ("/fhir", UrlFault::Scheme),
            ("https://me@localhost:1/", UrlFault::Authority),
            ("https://localhost:99999/", UrlFault::Authority),
            ("https://*.test:1/", UrlFault::Authority),
        ] {
            let question = Question::parse(&Method::GET, &url.parse().unwrap());
            assert_eq!(question.unwrap_err(), fault, "{url}");
        }
    }

    #[test]
    fn a_host_or_port_that_no_listener_has_reaches_none() {
        let site = site();
        for url in [
            "https://localhost/",
            "https://localhost:2/",
            "https://other.test:1/",
        ] {
            assert!(ask(&site, PUMP, &Method::GET, url).is_empty(), "{url}");
        }
    }

    #[test]
    fn an_address_is_no_server_name_and_reaches_the_default_certificate() {
        let answer = answer(
            &site(),
            PUMP,
            &Method::GET,
            "https://127.0.0.1:1/fhir/Patient/1",
        );
        assert_eq!(answer.route.as_deref(), Some("patients"));
        assert!(answer.outcome.is_ok());
    }

    #[test]
    fn a_request_is_judged_as_the_gateway_would() {
        let site = site();
        let url = "https://localhost:1/fhir/Patient/1";
        let permitted = answer(&site, PUMP, &Method::GET, url);
        assert_eq!(permitted.route.as_deref(), Some("patients"));
        assert_eq!(permitted.upstream.as_deref(), Some("sample"));
        assert_eq!(permitted.certificate, "server");
        assert!(permitted.outcome.unwrap().as_str().contains("pump"));
        let other = "urn:example:pump-1";
        let refusals = [
            (PUMP, Method::DELETE, url, 405),
            (PUMP, Method::GET, "https://localhost:1/fhir/%2e%2e/x", 400),
            (None, Method::GET, url, 403),
            (Some(("others", other)), Method::GET, url, 403),
            (
                Some(("devices", "urn:example:other")),
                Method::GET,
                url,
                403,
            ),
        ];
        for (client, method, url, status) in refusals {
            let refusal = answer(&site, client, &method, url).outcome.unwrap_err();
            assert_eq!(refusal.status().as_u16(), status, "{client:?} {url}");
        }
        let nobody = answer(&site, None, &Method::GET, url).outcome;
        let clients = site.listeners.values().next().unwrap().side.clients();
        let expected = authorize::standing(&Client::Anonymous, clients, 0);
        let expected = Refusal::Authorize(expected.unwrap_err());
        assert_eq!(nobody.unwrap_err().code(), expected.code());
    }
}
