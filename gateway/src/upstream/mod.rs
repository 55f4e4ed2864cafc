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

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::{Body, Frame, SizeHint};

use crate::admission::Admitted;
use crate::checks;
use crate::endpoint::Endpoint;
use crate::headers::{self, Proved};
use crate::peer::Client;
use crate::record::Record;
use crate::request::{Content, ContentFault, Received};

pub use pool::Pools;

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
}

impl std::fmt::Debug for AnswerContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AnswerContent::None => "None",
            AnswerContent::Http1(_) => "Http1",
            AnswerContent::Http2(_) => "Http2",
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
    /// The request's content, which was still on its way, did not come to its end.
    Content(ContentFault),
}

impl std::fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AnswerFault::Broken => f.write_str("the upstream broke off"),
            AnswerFault::Stalled => f.write_str("the upstream stalled"),
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
            AnswerContent::None => Poll::Ready(None),
            AnswerContent::Http1(answer) => answer.poll_frame(context),
            AnswerContent::Http2(answer) => answer.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerContent::None => true,
            AnswerContent::Http1(answer) => answer.is_finished(),
            AnswerContent::Http2(answer) => answer.is_finished(),
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
    let is_fhir = admitted.route().route.fhir;
    let mut outgoing = Outgoing::new(admitted.into_received(), is_fhir);
    loop {
        let outcome = match pool.lease().await? {
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
            Ok(head) => return Ok(answered(head, upstream)),
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
}

impl Outgoing {
    fn new(received: Received, is_fhir: bool) -> Outgoing {
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
        let path = checks::path_of(&head).filter(|_| is_fhir);
        let resource = path.and_then(fhir::resource_type);
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
        Outgoing {
            method: head.method,
            target,
            authority,
            headers,
            content,
        }
    }
}

/// How long an upstream may be silent while content is under way in either direction.
fn patience(endpoint: &Endpoint) -> Duration {
    endpoint.head
}
