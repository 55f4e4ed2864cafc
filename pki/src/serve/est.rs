//! Enrolment over secure transport (RFC 7030, with the transfer encoding of RFC 8951): `cacerts`,
//! `csrattrs`, `simpleenroll` and `simplereenroll`.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use tokio::time::sleep;
use yasna::Tag;
use yasna::models::ObjectIdentifier;

use super::clerk::{Ask, Desk};
use super::http::{Answer, Peer};
use crate::ca::{Applicant, Ca};
use crate::error::Error;
use crate::inspect::Inspected;
use crate::request::MAX_REQUEST_OCTETS;
use crate::store::StoreError;
use crate::token::Token;

/// What is answered over the enrolment listener.
#[derive(Debug)]
pub(crate) struct Est {
    desk: Desk,
    /// Certificates of the authorities, as they are sent.
    cacerts: Bytes,
}

/// Where everything stands (RFC 7030 section 3.2.2). A label of a CA is not known here.
const BASE: &str = "/.well-known/est/";
/// Longest body: a request in base64, with the line ends of PEM.
const MAX_BODY: usize = MAX_REQUEST_OCTETS / 3 * 4 + MAX_REQUEST_OCTETS / 16;

/// So long whoever is refused waits for the answer. Nobody guesses 256 bits; it bounds, with the connections
/// that an address may have, what asking in vain costs the authority.
const TRIED_IN_VAIN: Duration = Duration::from_secs(1);

impl Est {
    pub(crate) fn cacerts(ca: &Ca) -> Result<Bytes, Error> {
        Ok(certs_only(&[ca.issuing()?.der(), ca.root().der()]).into())
    }

    pub(crate) fn new(desk: Desk, cacerts: Bytes) -> Self {
        Self { desk, cacerts }
    }

    pub(crate) async fn answer(self: Rc<Self>, request: Request<Incoming>, peer: Peer) -> Answer {
        let (head, body) = request.into_parts();
        let operation = head.uri.path().strip_prefix(BASE).unwrap_or_default();
        match (&head.method, operation) {
            (&Method::GET, "cacerts") => certificates(&self.cacerts),
            (&Method::GET, "csrattrs") => encoded("application/csrattrs", &attributes()),
            (&Method::POST, "simpleenroll") => self.enrol(&head.headers, body, peer, false).await,
            (&Method::POST, "simplereenroll") => self.enrol(&head.headers, body, peer, true).await,
            (_, "cacerts" | "csrattrs") => wrong_method("GET"),
            (_, "simpleenroll" | "simplereenroll") => wrong_method("POST"),
            _ => words(StatusCode::NOT_FOUND, "no such operation\n"),
        }
    }

    async fn enrol(&self, headers: &HeaderMap, body: Incoming, peer: Peer, again: bool) -> Answer {
        let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if kind != Some(b"application/pkcs10") {
            return words(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "an application/pkcs10\n",
            );
        }
        // Who it is comes before what is wanted: nobody's body is read.
        let Some(applicant) = applicant(headers, &peer, again) else {
            return unknown();
        };
        // Said before the body is asked for (100 Continue), so that the answer arrives.
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok());
        if length.is_some_and(|length| {
            length
                .parse()
                .is_ok_and(|octets: u64| octets > MAX_BODY as u64)
        }) {
            return words(StatusCode::PAYLOAD_TOO_LARGE, "that is too long\n");
        }
        let read = Limited::new(body, MAX_BODY).collect().await;
        let Ok(body) = read.map(http_body_util::Collected::to_bytes) else {
            return words(StatusCode::PAYLOAD_TOO_LARGE, "that is too long\n");
        };
        // RFC 8951 section 3.1: base64, with white space or without.
        let text: Vec<u8> = body
            .iter()
            .copied()
            .filter(|octet| !octet.is_ascii_whitespace())
            .collect();
        let Ok(request) = STANDARD.decode(text) else {
            return words(StatusCode::BAD_REQUEST, "the body is no base64\n");
        };
        let address: IpAddr = peer.address;
        let ask = |reply| Ask::Enrol {
            request,
            applicant,
            address,
            again,
            reply,
        };
        match self.desk.ask(ask).await {
            Some(Ok(der)) => certificates(&certs_only(&[&der])),
            Some(Err(error)) => {
                sleep(TRIED_IN_VAIN).await;
                refusal(&error)
            }
            None => words(StatusCode::SERVICE_UNAVAILABLE, "not now\n"),
        }
    }
}

/// Who asks: whoever holds the certificate of the connection or, for a first enrolment, a token in the
/// place of a password (RFC 7617).
fn applicant(headers: &HeaderMap, peer: &Peer, again: bool) -> Option<Applicant> {
    let by_certificate = peer.certificate.as_deref().and_then(Inspected::read);
    if let Some(inspected) = by_certificate {
        let serial = inspected.serial;
        return Some(Applicant::Certificate { serial });
    }
    if again {
        return None;
    }
    let mut said = headers.get_all(AUTHORIZATION).iter();
    let (Some(said), None) = (said.next(), said.next()) else {
        return None;
    };
    let (scheme, credentials) = said.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = zeroize::Zeroizing::new(STANDARD.decode(credentials.trim()).ok()?);
    let pair = std::str::from_utf8(&pair).ok()?;
    // A name may hold colons, a token never does: the last one divides.
    let (name, token) = pair.rsplit_once(':')?;
    Some(Applicant::Token {
        token: Token::parse(token)?,
        name: name.to_owned(),
    })
}

/// What is told of a refusal: a closed list, and nothing of the inside.
fn refusal(error: &Error) -> Answer {
    match error {
        Error::Store(
            StoreError::TokenUnknown
            | StoreError::TokenSpent { .. }
            | StoreError::TokenExpired { .. }
            | StoreError::TokenCancelled { .. }
            | StoreError::TokenForAnother,
        ) => unknown(),
        Error::NotFound
        | Error::Foreign
        | Error::NeverSigned { .. }
        | Error::Expired { .. }
        | Error::AlreadyRevoked { .. } => words(
            StatusCode::FORBIDDEN,
            "the certificate is not good for this\n",
        ),
        Error::TooOften => {
            let mut answer = words(StatusCode::TOO_MANY_REQUESTS, "that is too often\n");
            let hour = HeaderValue::from_static("3600");
            answer.headers_mut().insert(RETRY_AFTER, hour);
            answer
        }
        Error::Request(_) => words(StatusCode::BAD_REQUEST, "the request is not acceptable\n"),
        Error::Profile(_) | Error::Store(StoreError::KeyCompromised | StoreError::KeyOfAnother) => {
            words(StatusCode::BAD_REQUEST, "this is not granted\n")
        }
        _ => words(StatusCode::SERVICE_UNAVAILABLE, "not now\n"),
    }
}

fn unknown() -> Answer {
    let mut answer = words(
        StatusCode::UNAUTHORIZED,
        "a token or a certificate is needed\n",
    );
    let realm = HeaderValue::from_static("Basic realm=\"est\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
    answer
}

fn wrong_method(allow: &'static str) -> Answer {
    let mut answer = words(StatusCode::METHOD_NOT_ALLOWED, "not by this method\n");
    let allow = HeaderValue::from_static(allow);
    answer.headers_mut().insert(ALLOW, allow);
    answer
}

fn words(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn certificates(cms: &[u8]) -> Answer {
    encoded("application/pkcs7-mime; smime-type=certs-only", cms)
}

/// In base64 (RFC 8951 section 3.1), kept by nobody.
fn encoded(kind: &'static str, octets: &[u8]) -> Answer {
    let mut answer = Response::new(Full::from(STANDARD.encode(octets)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(
        "content-transfer-encoding",
        HeaderValue::from_static("base64"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Certificates and nothing signed (RFC 7030 section 4.1.3, RFC 5652 section 5).
fn certs_only(certificates: &[&[u8]]) -> Vec<u8> {
    let oid = |last: u64| ObjectIdentifier::from_slice(&[1, 2, 840, 113_549, 1, 7, last]);
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_oid(&oid(2));
            writer.next().write_tagged(Tag::context(0), |writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_u8(1);
                    writer.next().write_set(|_| {});
                    writer
                        .next()
                        .write_sequence(|writer| writer.next().write_oid(&oid(1)));
                    writer
                        .next()
                        .write_tagged_implicit(Tag::context(0), |writer| {
                            writer.write_set(|writer| {
                                for certificate in certificates {
                                    writer.next().write_der(certificate);
                                }
                            });
                        });
                    writer.next().write_set(|_| {});
                });
            });
        });
    })
}

/// What a request should be (RFC 9908 section 3): signed by ECDSA with SHA-256, with a key on P-256.
fn attributes() -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            let ecdsa = ObjectIdentifier::from_slice(&[1, 2, 840, 10045, 4, 3, 2]);
            writer.next().write_oid(&ecdsa);
            writer.next().write_sequence(|writer| {
                let key = ObjectIdentifier::from_slice(&[1, 2, 840, 10045, 2, 1]);
                writer.next().write_oid(&key);
                writer.next().write_set(|writer| {
                    let curve = ObjectIdentifier::from_slice(&[1, 2, 840, 10045, 3, 1, 7]);
                    writer.next().write_oid(&curve);
                });
            });
        });
    })
}
