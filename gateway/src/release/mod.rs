//! P1 of the audit log: no byte of an answer leaves before its record is durable.
//!
//! Two doors lead out: [`answer`] for what an upstream said, [`refuse`] for what we say instead.
//! Only they make a [`Released`], and `respond` takes nothing else. The one exception is the constant
//! 503 of [`unavailable`], which carries no byte of an upstream and says that nothing could be
//! recorded. Where a route is declared to carry no ePHI, its answers are recorded and not waited for.
//!
//! A streamed answer passes in windows ([`Passing`]), each behind a record of its own.

mod vouch;

mod window;

use std::sync::Arc;

use audit::error::AppendError;
use audit::event::Unknown;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use crate::digest::sha256;
use crate::headers::X_REQUEST_ID;
use crate::memory::{Held, Memory};
use crate::reading::{Part, Reading};
use crate::record::{AnswerFacts, Record, Recorder};
use crate::refusal::Refusal;
use crate::request::RequestId;
use crate::route::RouteEntry;
use crate::signing::{DIRECTORY_TYPE, OwnSigner};
use crate::upstream::{AnswerContent, AnswerFault, Answered, Switched, UpstreamRefusal};

pub(crate) use vouch::TRAILER;
pub use vouch::Vouch;
pub use window::{Broken, Passing};
pub(crate) use window::{LONGEST, PATIENCE, RETRY, WINDOW};

/// An answer that may leave.
#[derive(Debug)]
pub struct Released {
    status: StatusCode,
    headers: HeaderMap,
    declared: Option<u64>,
    content: ReleasedContent,
    record: Option<Record>,
    held: Option<Held>,
    ends_connection: bool,
}

/// What of an answer's content is in hand.
#[derive(Debug)]
pub enum ReleasedContent {
    /// All of it, and the trailers if there are any.
    Whole {
        /// The content.
        content: Bytes,
        /// The trailers.
        trailers: Option<HeaderMap>,
    },
    /// Its beginning, and the rest as its records allow.
    Streamed(Box<Passing>),
    /// None: what follows is a WebSocket.
    Tunnel(Box<Tunnel>),
}

/// A WebSocket that an upstream has opened, and whose opening is on record.
#[derive(Debug)]
pub struct Tunnel {
    pub(crate) upstream: Box<Switched>,
    /// What is known of whom it concerns.
    pub(crate) part: Part,
    /// Whether a window waits for its record (a route that may carry ePHI).
    pub(crate) waits: bool,
}

/// Releases the answer of an upstream once its record is durable. Of an answer that is read for
/// patients the first window is gathered before, of another one what is there already; as far as
/// `memory` has room for it. One that is compared or vouched for is waited for where it fits.
///
/// # Errors
/// [`Refusal`]: nothing of it may leave; to be released by [`refuse`].
pub async fn answer(
    answered: Answered,
    record: &mut Record,
    ephi: bool,
    method: &Method,
    memory: &Memory,
    vouch: Option<Box<Vouch>>,
) -> Result<Prepared, Refusal> {
    let upstream = answered.upstream().clone();
    let (status, declared) = (answered.status(), answered.declared());
    let content_type = media_type(answered.headers());
    let reading = record.reading(status, answered.headers());
    let (_, mut headers, content) = answered.into_parts();
    let content = match content {
        AnswerContent::Switched(switched) => {
            let part = unread(&reading);
            let facts = AnswerFacts {
                status: status.as_u16(),
                content_type: None,
                length: None,
                digest: None,
                upstream: upstream.as_str(),
            };
            put_on_record(record, &facts, &part, ephi).await?;
            let tunnel = Tunnel {
                upstream: switched,
                part,
                waits: ephi,
            };
            return Ok(Prepared {
                status,
                headers,
                declared: None,
                content: ReleasedContent::Tunnel(Box::new(tunnel)),
                held: None,
            });
        }
        content => content,
    };
    let mut passing = Passing::new(content, reading, memory, ephi);
    let gathered = passing.begin(declared, vouch.is_some()).await;
    gathered.map_err(|fault| Refusal::Upstream(broken(fault)))?;
    let part = passing.first_part();
    let whole = passing.whole();
    match (vouch, &whole) {
        (None, _) => {}
        (Some(vouch), Some((content, _))) => {
            vouch.whole(status, &mut headers, content).map_err(|_| {
                let how = "its answer holds what cannot be signed";
                Refusal::Upstream(UpstreamRefusal::Broken { how })
            })?;
        }
        (Some(vouch), None) => passing.tail(vouch.follow(status, &headers)),
    }
    let (length, digest) = match &whole {
        Some((content, _)) if *method == Method::HEAD => {
            (declared.or(Some(content.len() as u64)), None)
        }
        Some((content, _)) => (Some(content.len() as u64), Some(sha256(content))),
        None => (declared, None),
    };
    let facts = AnswerFacts {
        status: status.as_u16(),
        content_type: content_type.as_deref(),
        length,
        digest,
        upstream: upstream.as_str(),
    };
    put_on_record(record, &facts, &part, ephi).await?;
    let (content, held) = match whole {
        Some((content, trailers)) => (
            ReleasedContent::Whole { content, trailers },
            Some(passing.into_held()),
        ),
        None => {
            passing.open();
            (ReleasedContent::Streamed(Box::new(passing)), None)
        }
    };
    Ok(Prepared {
        status,
        headers,
        declared,
        content,
        held,
    })
}

/// Releases the gateway's public key, once that is on record.
///
/// # Errors
/// [`Refusal`]: it may not leave; to be released by [`refuse`].
pub async fn directory(signer: &OwnSigner, record: &mut Record) -> Result<Prepared, Refusal> {
    record.placed().map_err(Refusal::Audit)?;
    let content = signer.directory().clone();
    let facts = AnswerFacts {
        status: StatusCode::OK.as_u16(),
        content_type: Some(DIRECTORY_TYPE),
        length: Some(content.len() as u64),
        digest: Some(sha256(&content)),
        upstream: "gateway",
    };
    let part = Part {
        found: None,
        unread: None,
        ended: true,
    };
    let recorded = record.release(&facts, &part).map_err(Refusal::Audit)?;
    let _receipt = recorded.await.map_err(Refusal::Audit)?;
    let mut headers = HeaderMap::with_capacity(4);
    let media_type = HeaderValue::from_static(DIRECTORY_TYPE);
    headers.insert(header::CONTENT_TYPE, media_type);
    Ok(Prepared {
        status: StatusCode::OK,
        headers,
        declared: Some(content.len() as u64),
        content: ReleasedContent::Whole {
            content,
            trailers: None,
        },
        held: None,
    })
}

/// An answer whose record is durable, still without the record that it owes.
#[derive(Debug)]
pub struct Prepared {
    status: StatusCode,
    headers: HeaderMap,
    declared: Option<u64>,
    content: ReleasedContent,
    /// Of content that is whole.
    held: Option<Held>,
}

impl Prepared {
    /// Joins the answer with its record, which `respond` settles.
    pub fn with(mut self, record: Record, id: &RequestId) -> Released {
        self.headers.insert(X_REQUEST_ID, id.value().clone());
        Released {
            status: self.status,
            headers: self.headers,
            declared: self.declared,
            content: self.content,
            record: Some(record),
            held: self.held,
            ends_connection: false,
        }
    }
}

/// Releases a refusal once its record is durable.
pub async fn refuse(
    refusal: &Refusal,
    mut record: Record,
    recorder: &Recorder,
    id: &RequestId,
) -> Released {
    recorder
        .metrics()
        .refused(refusal.code(), refusal.fault().name());
    let recorded = match record.refusal(
        refusal.status().as_u16(),
        refusal.code(),
        refusal.detail().as_deref(),
    ) {
        Ok(None) => Ok(()),
        Ok(Some(append)) => append.await.map(drop),
        Err(error) => Err(error),
    };
    match recorded {
        Ok(()) => Released {
            ends_connection: refusal.ends_connection(),
            ..problem(refusal, id)
        },
        Err(error) => {
            record.unrecorded();
            unavailable(error, recorder, id)
        }
    }
}

/// The constant answer when nothing can be recorded. Counted, since it is on no record.
pub fn unavailable(error: AppendError, recorder: &Recorder, id: &RequestId) -> Released {
    recorder.metrics().unrecorded_answer();
    problem(&Refusal::Audit(error), id)
}

/// A problem document (RFC 9457): constant for each code but for the request's id.
fn problem(refusal: &Refusal, id: &RequestId) -> Released {
    let (status, code) = (refusal.status(), refusal.code());
    let title = code.name().replace('_', " ");
    let document = serde_json::json!({
        "type": format!("urn:phigate:problem:{code}"),
        "title": title,
        "status": status.as_u16(),
        "request_id": id.id().to_string(),
    });
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_REQUEST_ID, id.value().clone());
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(std::time::SystemTime::now()))
    {
        headers.insert(header::DATE, date);
    }
    if let Some(allow) = refusal
        .allow()
        .and_then(|allow| HeaderValue::from_str(allow).ok())
    {
        headers.insert(header::ALLOW, allow);
    }
    for (name, value) in refusal.asks() {
        headers.insert(name, value);
    }
    if let Some(wait) = refusal.retry_after() {
        // Whole seconds, rounded up: coming earlier would be in vain.
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)),
        );
    }
    let content = Bytes::from(document.to_string());
    Released {
        status,
        headers,
        declared: Some(content.len() as u64),
        content: ReleasedContent::Whole {
            content,
            trailers: None,
        },
        record: None,
        held: None,
        ends_connection: refusal.ends_connection(),
    }
}

/// Records the release. On a route that may carry ePHI it is durable when this ends.
async fn put_on_record(
    record: &mut Record,
    facts: &AnswerFacts<'_>,
    part: &Part,
    ephi: bool,
) -> Result<(), Refusal> {
    let append = record.release(facts, part).map_err(Refusal::Audit)?;
    if ephi {
        let _receipt = append.await.map_err(Refusal::Audit)?;
    }
    Ok(())
}

/// What is known of content that nobody reads.
fn unread(reading: &Reading) -> Part {
    Part {
        found: None,
        unread: match reading {
            Reading::Unasked => None,
            Reading::Unread(reason) => Some(*reason),
            Reading::Scanned(_) => Some(Unknown::MediaType),
        },
        ended: false,
    }
}

fn broken(fault: AnswerFault) -> UpstreamRefusal {
    match fault {
        AnswerFault::Broken => UpstreamRefusal::Broken {
            how: "its answer broke off",
        },
        AnswerFault::Stalled => UpstreamRefusal::Timeout,
        AnswerFault::Altered => UpstreamRefusal::Altered,
        AnswerFault::Content(fault) => UpstreamRefusal::Content(fault),
    }
}

/// The media type without its parameters, if it is a plain one.
fn media_type(headers: &HeaderMap) -> Option<Box<str>> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/+-._".contains(&byte);
    (essence.len() <= 64 && !essence.is_empty() && essence.bytes().all(plain))
        .then(|| essence.to_ascii_lowercase().into())
}

impl Released {
    /// Whether the connection cannot go on after it.
    pub fn ends_connection(&self) -> bool {
        self.ends_connection
    }

    /// The route that opened the WebSocket, if it is one.
    pub fn tunnel(&self) -> Option<&Arc<RouteEntry>> {
        match &self.content {
            ReleasedContent::Tunnel(tunnel) => Some(tunnel.upstream.route()),
            ReleasedContent::Whole { .. } | ReleasedContent::Streamed(_) => None,
        }
    }

    pub(crate) fn into_parts(self) -> Parts {
        Parts {
            status: self.status,
            headers: self.headers,
            declared: self.declared,
            content: self.content,
            record: self.record,
            held: self.held,
        }
    }
}

/// A released answer taken apart, for `respond`.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) declared: Option<u64>,
    pub(crate) content: ReleasedContent,
    pub(crate) record: Option<Record>,
    /// Given back when the answer is out of our hands.
    pub(crate) held: Option<Held>,
}
