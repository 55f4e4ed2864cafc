//! The way to the upstream: the only place that opens a connection to one, and it takes only
//! [`Admitted`].
//!
//! ```text
//! Admitted --> outgoing (headers stripped, then set) --> pool (a connection of this worker)
//!                                                         |-- http1: our codec, in this very task
//!                                                         '-- http2: hyper's, streams shared
//! ```
//!
//! A request is given to a connection once. It is given to another one only when the first one took
//! not a single byte of it (RFC 9110 9.2.2 would allow more for safe methods; the record of a request
//! that may have reached the upstream twice would allow less). Fails closed: whatever goes wrong
//! becomes an [`UpstreamRefusal`], and a connection on which something went wrong is closed.

mod connect;

mod pool;

mod upload;

mod http1;

mod http2;

mod switched;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use config::{Answers, Demand};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use integrity::digest::{CONTENT_DIGEST, REPR_DIGEST};
use integrity::{
    Component, DigestError, Digests, Message, Policy, Request, Response, SIGNATURE,
    SIGNATURE_INPUT, Selection, VerifyingKey,
};

use crate::admission::Admitted;
use crate::checks;
use crate::endpoint::Endpoint;
use crate::headers::{self, Proved};
use crate::peer::Client;
use crate::record::Record;
use crate::request::{Content, ContentFault, Received};
use crate::route::RouteEntry;
use crate::signing::OwnSigner;
use crate::timer::unix_now;
use crate::upgrade;
use crate::withheld::{Expected, Withheld};

pub use pool::Pools;
pub use switched::Switched;

/// An answer of an upstream: its head, and a handle on its content.
#[derive(Debug)]
pub struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    declared: Option<u64>,
    content: AnswerContent,
    upstream: config::UpstreamName,
}

impl Answered {
    /// Its status, final: interim ones stay here.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its header fields, without those that end at this hop.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The length that it declares, bytes, whether or not content follows (HEAD, 304).
    pub fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// The upstream that it came from.
    pub fn upstream(&self) -> &config::UpstreamName {
        &self.upstream
    }

    /// Compares the content, while it passes, with the digests that stand in the head. Those of no algorithm
    /// that is trusted cannot be compared and pass as any other field, unless a signature relies on them.
    fn compare(&mut self, method: &Method, is_signed: bool) -> Result<(), UpstreamRefusal> {
        let follows = *method != Method::HEAD && self.status != StatusCode::NOT_MODIFIED;
        let read = |field: HeaderName| match Digests::read(&self.headers, &field) {
            Ok(digests) => Ok(digests),
            Err(DigestError::NoKnownAlgorithm)
                if !(is_signed && follows && field == CONTENT_DIGEST) =>
            {
                Ok(None)
            }
            Err(_) => Err(UpstreamRefusal::Altered),
        };
        // What is sent is the whole representation (RFC 9110 15.3.1) in a 200 alone, as far as is known.
        let is_whole = self.status == StatusCode::OK;
        let whole = is_whole.then(|| read(REPR_DIGEST)).transpose()?.flatten();
        let Some(expected) = Expected::of(read(CONTENT_DIGEST)?, whole).filter(|_| follows) else {
            return Ok(());
        };
        match std::mem::replace(&mut self.content, AnswerContent::None) {
            AnswerContent::None => expected
                .check_nothing()
                .map_err(|_| UpstreamRefusal::Altered),
            content => {
                let withheld = Withheld::new(content, expected, AnswerFault::Altered);
                self.content = AnswerContent::Compared(Box::new(withheld));
                Ok(())
            }
        }
    }

    pub(crate) fn into_parts(self) -> (StatusCode, HeaderMap, AnswerContent) {
        (self.status, self.headers, self.content)
    }
}

/// The content of an answer.
pub enum AnswerContent {
    /// There is none.
    None,
    /// From HTTP/1.1; it drives the rest of the request's content too.
    Http1(Box<http1::Answer>),
    /// From HTTP/2.
    Http2(Box<http2::Answer>),
    /// From either, compared with its digest.
    Compared(Box<Withheld<AnswerContent, AnswerFault>>),
    /// None, and what follows is no HTTP.
    Switched(Box<Switched>),
}

impl std::fmt::Debug for AnswerContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AnswerContent::None => "None",
            AnswerContent::Http1(_) => "Http1",
            AnswerContent::Http2(_) => "Http2",
            AnswerContent::Compared(_) => "Compared",
            AnswerContent::Switched(_) => "Switched",
        })
    }
}

/// Why the content of an answer did not come to its end. What came before must not count as whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFault {
    /// The upstream broke off, or broke its framing.
    Broken,
    /// Nothing came for too long.
    Stalled,
    /// It is not what its digest says.
    Altered,
    /// The request's content, which was still on its way, did not come to its end.
    Content(ContentFault),
}

impl std::fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AnswerFault::Broken => f.write_str("the upstream broke off"),
            AnswerFault::Stalled => f.write_str("the upstream stalled"),
            AnswerFault::Altered => f.write_str("it is not what its digest says"),
            AnswerFault::Content(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for AnswerFault {}

impl Body for AnswerContent {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        match self.get_mut() {
            AnswerContent::None | AnswerContent::Switched(_) => Poll::Ready(None),
            AnswerContent::Http1(answer) => answer.poll_frame(context),
            AnswerContent::Http2(answer) => answer.poll_frame(context),
            AnswerContent::Compared(content) => Pin::new(content).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerContent::None | AnswerContent::Switched(_) => true,
            AnswerContent::Http1(answer) => answer.is_finished(),
            AnswerContent::Http2(answer) => answer.is_finished(),
            AnswerContent::Compared(content) => content.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamRefusal {
    /// All connections are in use, and none came free in time.
    Busy,
    /// No connection could be made.
    Unreachable {
        /// What the operating system said.
        error: std::io::ErrorKind,
    },
    /// No connection was made in time.
    ConnectTimeout,
    /// The upstream did not prove who it is, or turned us away.
    Untrusted {
        /// What the TLS library said.
        reason: Box<str>,
    },
    /// The head of the answer did not come in time.
    Timeout,
    /// The upstream broke off, or broke the protocol.
    Broken {
        /// How, in our words.
        how: &'static str,
    },
    /// The content of the answer is not what its digest says, or that is malformed.
    Altered,
    /// The signature of the answer is not good.
    Signature {
        /// What is wrong.
        error: integrity::Error,
    },
    /// The request's content did not come to its end.
    Content(ContentFault),
    /// The request cannot be written in HTTP/1.1: a client that speaks HTTP/2 can say more.
    Unwritable {
        /// What cannot be written, a code of the codec.
        what: &'static str,
    },
}

/// Forwards a request and waits for the head of its answer.
pub async fn forward(
    admitted: Admitted,
    pools: &Pools,
    record: &mut Record,
) -> Result<Answered, UpstreamRefusal> {
    let upstream = admitted.route().endpoint.name.clone();
    let pool = pools.of(&admitted.route().endpoint);
    // Whoever vouches for an answer knows that it is what was stated.
    let compares = admitted.route().demands.digest != Demand::Off
        || admitted.route().route.answers.value != Answers::Plain;
    let method = admitted.received().head.method.clone();
    let route = Arc::clone(admitted.route());
    let mut outgoing = Outgoing::new(admitted.into_received(), &route, pool.endpoint())?;
    let answer_key = pool.endpoint().answer_key.as_ref();
    let asked = answer_key.map(|_| Box::new(outgoing.without_content()));
    loop {
        let lease = if outgoing.upgrade.is_some() {
            Box::pin(pool.lease_alone()).await?
        } else {
            pool.lease().await?
        };
        let outcome = match lease {
            pool::Lease::Http1(connection) => {
                http1::exchange(connection, outgoing, pool.endpoint(), record).await
            }
            pool::Lease::Http2(connection) => {
                // From here on only hyper knows how far it got.
                record.attempted();
                http2::exchange(connection, outgoing, pool.endpoint()).await
            }
        };
        match outcome {
            Ok(head) => {
                let is_signed = match (&pool.endpoint().answer_key, &asked) {
                    (Some(key), Some(asked)) => judge_signature(&head, asked, key, unix_now())?,
                    _ => false,
                };
                let mut answered = answered(head, upstream);
                let is_content = !matches!(answered.content, AnswerContent::Switched(_));
                if is_content && (compares || is_signed) {
                    answered.compare(&method, is_signed)?;
                }
                return Ok(answered);
            }
            Err(Failure::Refused(refusal)) => return Err(refusal),
            // Only a connection that was kept can turn out to have been closed meanwhile, and each
            // try takes one of these away: this ends.
            Err(Failure::Untouched(again)) => outgoing = *again,
        }
    }
}

/// The head of an answer as the protocols hand it over.
struct AnswerHead {
    status: StatusCode,
    headers: HeaderMap,
    declared: Option<u64>,
    content: AnswerContent,
}

fn answered(mut head: AnswerHead, upstream: config::UpstreamName) -> Answered {
    headers::strip_hop_by_hop(&mut head.headers);
    headers::strip_from_answer(&mut head.headers);
    head.headers.remove(header::CONTENT_LENGTH);
    Answered {
        status: head.status,
        headers: head.headers,
        declared: head.declared,
        content: head.content,
        upstream,
    }
}

/// Judges the signature of an answer, if it has one, and brings whether it has: it must cover the status, and
/// the digest of content that follows.
fn judge_signature(
    head: &AnswerHead,
    asked: &Outgoing,
    key: &VerifyingKey,
    now: u64,
) -> Result<bool, UpstreamRefusal> {
    let fields = [SIGNATURE, SIGNATURE_INPUT];
    if !fields.iter().any(|field| head.headers.contains_key(field)) {
        return Ok(false);
    }
    let has_content = !matches!(
        head.content,
        AnswerContent::None | AnswerContent::Switched(_)
    );
    let names = ["@status", "content-digest"];
    let names = names.into_iter().take(if has_content { 2 } else { 1 });
    let verified = names
        .map(Component::named)
        .collect::<Result<Vec<_>, _>>()
        .and_then(|required| {
            let mut policy = Policy::strict(required);
            (policy.require_nonce, policy.require_keyid) = (false, false);
            let answer = Response {
                status: head.status,
                headers: &head.headers,
                trailers: None,
                request: Some(asked.view()),
            };
            let message = Message::Response(answer);
            integrity::verify(&message, Selection::only(), &policy, now, |_| Some(key))
        });
    verified
        .map(|_| true)
        .map_err(|error| UpstreamRefusal::Signature { error })
}

/// Why a connection brought no answer.
enum Failure {
    /// It took nothing of the request, which is handed back.
    Untouched(Box<Outgoing>),
    /// It did, or another one would fare no better.
    Refused(UpstreamRefusal),
}

/// A request as the upstream gets it.
struct Outgoing {
    method: Method,
    /// Path and query, the bytes that were matched.
    target: Bytes,
    /// The host that the request was for, as received.
    authority: HeaderValue,
    headers: HeaderMap,
    content: Content,
    /// Of a request for a WebSocket.
    upgrade: Option<Box<Upgrade>>,
}

/// What has to come of a request for a WebSocket.
struct Upgrade {
    /// What the answer has to say.
    accept: HeaderValue,
    /// The route that opens it.
    route: Arc<RouteEntry>,
}

impl Outgoing {
    /// # Errors
    /// [`UpstreamRefusal::Unwritable`]: it cannot be signed.
    fn new(
        received: Received,
        route: &Arc<RouteEntry>,
        endpoint: &Endpoint,
    ) -> Result<Outgoing, UpstreamRefusal> {
        let Received {
            head,
            peer,
            content,
            id,
            ..
        } = received;
        let authority = match head.target.form() {
            ::http1::TargetForm::Absolute { authority, .. } => {
                let host = match authority.port {
                    Some(port) => format!("{}:{port}", authority.host),
                    None => authority.host.to_owned(),
                };
                HeaderValue::try_from(host).ok()
            }
            _ => head.headers.get(header::HOST).cloned(),
        };
        // The checks refuse a request without a host.
        let authority = authority.unwrap_or_else(|| HeaderValue::from_static(""));
        let target = match head.target.path_and_query_bytes() {
            None => Bytes::from_static(b"/"),
            Some(target) if target.is_empty() => Bytes::from_static(b"/"),
            Some(target) if target.starts_with(b"?") => Bytes::from([b"/", &target[..]].concat()),
            Some(target) => target,
        };
        let is_fhir = route.route.fhir;
        let path = checks::path_of(&head).filter(|_| is_fhir);
        let resource = path.and_then(fhir::resource_type);
        let asks = route.route.websocket.is_some() && upgrade::is_asked(&head);
        let accept = upgrade::answer_to(&head.headers).filter(|_| asks);
        let upgrade = accept.map(|accept| {
            Box::new(Upgrade {
                accept,
                route: Arc::clone(route),
            })
        });
        let mut headers = head.headers;
        headers::strip_hop_by_hop(&mut headers);
        headers::strip_aliases(&mut headers);
        // The answer to it was ours to give.
        headers.remove(header::EXPECT);
        headers.remove(header::CONTENT_LENGTH);
        if is_fhir {
            headers::ask_for_readable(&mut headers, resource);
        }
        let identity = match &peer.client {
            Client::Anonymous => None,
            Client::Known(identity) => Some(identity),
        };
        headers::set_identity(
            &mut headers,
            &Proved {
                origin: &peer.origin,
                authority: &authority,
                certificate: identity.map(|identity| identity.header()),
                chain: identity.and_then(|identity| identity.chain_header()),
                request_id: id.value(),
            },
        );
        let mut outgoing = Outgoing {
            method: head.method,
            target,
            authority,
            headers,
            content,
            upgrade,
        };
        if let Some(signer) = &endpoint.signer {
            let nonce = id.value().to_str().unwrap_or_default();
            outgoing.sign(signer, nonce, unix_now()).map_err(|error| {
                let what = error.code();
                UpstreamRefusal::Unwritable { what }
            })?;
        }
        Ok(outgoing)
    }

    /// The same without its content, for whoever judges the answer.
    fn without_content(&self) -> Outgoing {
        Outgoing {
            method: self.method.clone(),
            target: self.target.clone(),
            authority: self.authority.clone(),
            headers: self.headers.clone(),
            content: Content::None,
            upgrade: None,
        }
    }

    /// Adds the gateway's own signature, beside that of the client if there is one.
    fn sign(&mut self, signer: &OwnSigner, nonce: &str, now: u64) -> Result<(), integrity::Error> {
        let signed = signer.sign_request(self.view(), nonce, now)?;
        signed.attach(&mut self.headers)
    }

    /// The request as a signature sees it.
    fn view(&self) -> Request<'_> {
        // The checks let nothing pass that is not ASCII.
        let target = std::str::from_utf8(&self.target).unwrap_or_default();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        Request {
            method: &self.method,
            scheme: "https",
            authority: self.authority.to_str().unwrap_or_default(),
            path,
            query,
            target: None,
            headers: &self.headers,
            trailers: None,
        }
    }
}

/// How long an upstream may be silent while content is under way in either direction.
fn patience(endpoint: &Endpoint) -> Duration {
    endpoint.head
}
