//! `gateway explain`: what would become of a request, without sending it.

use std::fmt;

use bytes::Bytes;
use config::{ClientName, HostName, ListenerName, TrustName};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Uri};
use http1::{Authority, Target};

use crate::authorize::{self, Rule};
use crate::checks::CHECKS;
use crate::refusal::Refusal;
use crate::request::{Head, Version};
use crate::site::Site;

/// The question.
#[derive(Debug)]
pub struct Question {
    /// Who asks: a name under a trust set, or nobody.
    pub client: Option<(TrustName, ClientName)>,
    /// Method.
    pub method: Method,
    /// URL.
    pub url: Uri,
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

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswerable {
    /// The URL is not one of this gateway's.
    Url {
        /// What is wrong with it.
        what: &'static str,
    },
    /// No listener serves this host on this port.
    NoListener,
}

impl fmt::Display for Unanswerable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unanswerable::Url { what } => write!(f, "the URL {what}"),
            Unanswerable::NoListener => {
                f.write_str("no listener has this port and a certificate for this host")
            }
        }
    }
}

/// Answers the question for every listener that the URL could reach.
pub fn explain(site: &Site, question: &Question) -> Result<Vec<Explanation>, Unanswerable> {
    let url = |what| Unanswerable::Url { what };
    if question.url.scheme_str() != Some("https") {
        return Err(url("does not begin with https://"));
    }
    let authority = question.url.authority().ok_or(url("names no host"))?;
    // As strict as with a request: a port that is none would otherwise be taken for the usual one.
    let named = Authority::parse(authority.as_str().as_bytes())
        .ok_or(url("names no valid host and port"))?;
    let host = HostName::parse(named.host).map_err(|_| url("names no valid host"))?;
    let port = named.port.unwrap_or(443);
    let target = question
        .url
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let target = Target::parse(&question.method, Bytes::copy_from_slice(target.as_bytes()))
        .map_err(|_| url("has a target that no request can have"))?;
    let mut headers = HeaderMap::new();
    headers.insert(
        HOST,
        HeaderValue::from_str(authority.as_str()).map_err(|_| url("names no valid host"))?,
    );
    let head = Head {
        method: question.method.clone(),
        target,
        headers,
        version: Version::Http11,
    };

    let mut explanations = Vec::new();
    for (name, listener) in &site.config.listeners {
        let Some(at) = site.listeners.get(name) else {
            continue;
        };
        if !listener
            .listen
            .iter()
            .any(|placed| placed.value.port() == port)
        {
            continue;
        }
        let Some(entry) = at
            .side
            .entries()
            .iter()
            .find(|entry| entry.hosts().cover(host.as_str()))
        else {
            continue;
        };
        let mut explanation = Explanation {
            listener: name.clone(),
            certificate: entry.name().to_string(),
            route: None,
            upstream: None,
            outcome: Err(Refusal::Internal),
        };
        explanation.outcome = judge(site, name, &host, &head, question, &mut explanation);
        explanations.push(explanation);
    }
    if explanations.is_empty() {
        Err(Unanswerable::NoListener)
    } else {
        Ok(explanations)
    }
}

fn judge(
    site: &Site,
    listener: &ListenerName,
    host: &HostName,
    head: &Head,
    question: &Question,
    explanation: &mut Explanation,
) -> Result<Rule, Refusal> {
    CHECKS
        .iter()
        .try_for_each(|check| check.judge(head))
        .map_err(Refusal::Check)?;
    let entry = site
        .routes
        .lookup(listener, host, head)
        .map_err(Refusal::Route)?;
    explanation.route = Some(entry.route.name.value.to_string());
    explanation.upstream = Some(entry.route.upstream.value.to_string());
    let configured = site.config.listeners.get(listener);
    let client = question.client.as_ref().map(|(trust, name)| (trust, name));
    // A name counts only where its trust set is the one that the listener asks.
    if let (Some((trust, _)), Some(configured)) = (client, configured)
        && configured.trust() != Some(trust)
    {
        return Err(Refusal::Authorize(authorize::AuthorizeRefusal::TrustGone));
    }
    if client.is_none()
        && configured.is_some_and(|listener| {
            matches!(listener.clients.value, config::Clients::Required { .. })
        })
    {
        return Err(Refusal::Authorize(
            authorize::AuthorizeRefusal::ClientUnknown,
        ));
    }
    authorize::rule(client, &entry.route.allow.value, &site.roles).map_err(Refusal::Authorize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorize::AuthorizeRefusal;
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
        method: Method,
        url: &str,
    ) -> Result<Explanation, Unanswerable> {
        let client = client.map(|(trust, name)| {
            let trust = TrustName::parse(trust).unwrap();
            (trust, ClientName::parse(name).unwrap())
        });
        let url = url.parse().unwrap();
        let question = Question {
            client,
            method,
            url,
        };
        explain(site, &question).map(|mut answers| {
            assert_eq!(answers.len(), 1);
            answers.remove(0)
        })
    }

    const PUMP: Option<(&str, &str)> = Some(("devices", "urn:example:pump-1"));

    #[test]
    fn a_url_that_no_client_can_ask_for_has_no_answer() {
        let site = site();
        for (url, what) in [
            ("http://localhost:1/", "does not begin with https://"),
            ("/fhir", "does not begin with https://"),
            ("https://me@localhost:1/", "names no valid host and port"),
            ("https://localhost:99999/", "names no valid host and port"),
            ("https://*.test:1/", "names no valid host"),
        ] {
            let answer = ask(&site, PUMP, Method::GET, url).unwrap_err();
            assert_eq!(answer, Unanswerable::Url { what }, "{url}");
        }
        for url in [
            "https://localhost/",
            "https://localhost:2/",
            "https://other.test:1/",
        ] {
            let answer = ask(&site, PUMP, Method::GET, url).unwrap_err();
            assert_eq!(answer, Unanswerable::NoListener, "{url}");
        }
    }

    #[test]
    fn a_request_is_judged_as_the_gateway_would() {
        let site = site();
        let url = "https://localhost:1/fhir/Patient/1";
        let answer = ask(&site, PUMP, Method::GET, url).unwrap();
        assert_eq!(answer.route.as_deref(), Some("patients"));
        assert_eq!(answer.upstream.as_deref(), Some("sample"));
        assert_eq!(answer.certificate, "server");
        assert!(answer.outcome.unwrap().as_str().contains("pump"));
        let refusals = [
            (PUMP, Method::DELETE, url, 405),
            (PUMP, Method::GET, "https://localhost:1/fhir/%2e%2e/x", 400),
            (None, Method::GET, url, 403),
            (
                Some(("others", "urn:example:pump-1")),
                Method::GET,
                url,
                403,
            ),
            (
                Some(("devices", "urn:example:other")),
                Method::GET,
                url,
                403,
            ),
        ];
        for (client, method, url, status) in refusals {
            let refusal = ask(&site, client, method, url)
                .unwrap()
                .outcome
                .unwrap_err();
            assert_eq!(refusal.status().as_u16(), status, "{client:?} {url}");
        }
        let nobody = ask(&site, None, Method::GET, url).unwrap().outcome;
        let expected = Refusal::Authorize(AuthorizeRefusal::ClientUnknown);
        assert_eq!(nobody.unwrap_err().code(), expected.code());
    }
}
