//! What verifiers fetch: CRLs, certificates of authorities, and the status of one certificate
//! (RFC 5280 section 4.2.2.1, RFC 6960 appendix A, RFC 5019 sections 5 and 6), with the words of
//! caching around it (RFC 9111).

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, EXPIRES, HeaderMap, HeaderValue,
    IF_NONE_MATCH, LAST_MODIFIED, RETRY_AFTER,
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use ocsp::{ErrorStatus, MAX_REQUEST_OCTETS};

use super::cache::Answered;
use super::clerk::{Ask, Desk};
use super::http::Answer;
use super::published::Published;
use super::route::{Route, route};
use crate::ca::Ca;
use crate::error::Error;
use crate::pem;
use crate::publication::Publication;

/// Longest time that a cache on the way may keep what tells of revocations. RFC 5019 section 6 would
/// let it keep a response nearly until it ends; here a revocation is to be known sooner.
const KEPT: SignedDuration = SignedDuration::from_secs(60);
/// The same for what does not change while the program runs.
const KEPT_FIXED: SignedDuration = SignedDuration::from_hours(1);

/// What never changes while the program runs.
#[derive(Debug)]
pub(crate) struct Fixed {
    prefix: String,
    issuing: Published,
    root: Published,
    trust: Published,
}

impl Fixed {
    pub(crate) fn of(ca: &Ca) -> Result<Self, Error> {
        let root = ca.root().der().to_vec();
        Ok(Self {
            prefix: prefix(ca),
            issuing: Published::fixed(ca.issuing()?.der().to_vec()),
            trust: Published::fixed(pem::certificate(&root).into_bytes()),
            root: Published::fixed(root),
        })
    }
}

/// What verifiers fetch.
#[derive(Debug)]
pub(crate) struct Verifiers {
    fixed: Fixed,
    desk: Desk,
    clock: fn() -> Timestamp,
}

impl Verifiers {
    pub(crate) fn new(fixed: Fixed, desk: Desk, clock: fn() -> Timestamp) -> Self {
        Self { fixed, desk, clock }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let now = (self.clock)();
        let (head, body) = request.into_parts();
        let fixed = |published: &Published, kind| {
            let content = Content {
                kind,
                kept: KEPT_FIXED,
                ..Content::of(published)
            };
            content.answer(&head.headers, now)
        };
        match route(&head.method, head.uri.path(), &self.fixed.prefix) {
            Route::Issuing => fixed(&self.fixed.issuing, "application/pkix-cert"),
            Route::Root => fixed(&self.fixed.root, "application/pkix-cert"),
            Route::Trust => fixed(&self.fixed.trust, "application/pem-certificate-chain"),
            Route::Crl(name) => {
                let name = name.to_owned();
                match self.desk.ask(|reply| Ask::List { name, reply }).await {
                    Some(Some(list)) => Content::of(&list).answer(&head.headers, now),
                    Some(None) => words(StatusCode::NOT_FOUND, "there is no such CRL\n"),
                    None => overloaded(),
                }
            }
            Route::StatusByPath(path) => {
                let asked = ocsp::Request::from_path(path);
                self.status(asked.ok(), &head.headers, now).await
            }
            Route::StatusByBody => {
                if head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes)
                    != Some(b"application/ocsp-request")
                {
                    return words(
                        StatusCode::UNSUPPORTED_MEDIA_TYPE,
                        "the body is an application/ocsp-request\n",
                    );
                }
                match read(&head.headers, body).await {
                    Some(octets) => {
                        let asked = ocsp::Request::parse(&octets);
                        // The answer to a POST is kept by nobody.
                        self.status(asked.ok(), &HeaderMap::new(), now).await
                    }
                    None => words(StatusCode::PAYLOAD_TOO_LARGE, "that is too long\n"),
                }
            }
            Route::WrongMethod { allow } => {
                let mut answer = words(StatusCode::METHOD_NOT_ALLOWED, "not by this method\n");
                let allow = HeaderValue::from_static(allow);
                answer.headers_mut().insert(ALLOW, allow);
                answer
            }
            Route::Nowhere => words(
                StatusCode::NOT_FOUND,
                "there are /ocsp, /crl/NAME.crl, /issuing.cer, /root.cer and /trust.pem\n",
            ),
        }
    }

    async fn status(
        &self,
        asked: Option<ocsp::Request>,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Answer {
        let Some(asked) = asked else {
            return excuse(ErrorStatus::MalformedRequest);
        };
        // What is signed ahead is of one certificate each (RFC 5019 section 2.1.1).
        let [certificate] = asked.certificates() else {
            return excuse(ErrorStatus::Unauthorized);
        };
        let certificate = certificate.clone();
        let answered = self.desk.ask(|reply| Ask::Status { certificate, reply });
        match answered.await {
            Some(Ok(answered)) => Content::of_status(&answered).answer(headers, now),
            Some(Err(status)) => excuse(status),
            None => excuse(ErrorStatus::TryLater),
        }
    }
}

/// What stands before the paths: the path of the URL that certificates name, because a proxy in front
/// may pass it on.
fn prefix(ca: &Ca) -> String {
    let url = ca.publication().map(Publication::url);
    let rest = url.and_then(|url| url.strip_prefix("http://"));
    let path = rest.and_then(|rest| rest.split_once('/'));
    path.map(|(_, path)| format!("/{path}")).unwrap_or_default()
}

/// A body of at most as many octets as a request may have. One that says that it is longer is not
/// read at all.
async fn read(headers: &HeaderMap, body: Incoming) -> Option<Bytes> {
    let says = headers.get(CONTENT_LENGTH);
    let says = says.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if says.is_some_and(|length| length > MAX_REQUEST_OCTETS) {
        return None;
    }
    let read = Limited::new(body, MAX_REQUEST_OCTETS).collect().await;
    read.ok().map(http_body_util::Collected::to_bytes)
}

/// Something to send, and how long it is good for.
struct Content<'a> {
    octets: &'a Bytes,
    etag: &'a str,
    kind: &'static str,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    kept: SignedDuration,
}

impl<'a> Content<'a> {
    fn of(published: &'a Published) -> Self {
        Self {
            octets: &published.octets,
            etag: &published.etag,
            kind: "application/pkix-crl",
            since: published.since,
            until: published.until,
            kept: KEPT,
        }
    }

    fn of_status(answered: &'a Arc<Answered>) -> Self {
        Self {
            octets: &answered.der,
            etag: &answered.etag,
            kind: "application/ocsp-response",
            since: Some(answered.this_update),
            until: Some(answered.next_update),
            kept: KEPT,
        }
    }

    /// The whole of it, or that it is what the client has.
    fn answer(&self, asked: &HeaderMap, now: Timestamp) -> Answer {
        let is_known = asked.get_all(IF_NONE_MATCH).iter().any(|known| {
            let tags = known.to_str().unwrap_or_default().split(',');
            tags.map(str::trim)
                .any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.etag)
        });
        let mut answer = Response::new(Full::new(Bytes::new()));
        if is_known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *answer.body_mut() = Full::new(self.octets.clone());
        }
        // What is over is kept by nobody.
        let left = self.until.map_or(self.kept, |end| now.duration_until(end));
        let kept = left.min(self.kept).max(SignedDuration::ZERO);
        let control = format!(
            "max-age={}, public, no-transform, must-revalidate",
            kept.as_secs()
        );
        let date = |time: Timestamp| httpdate::fmt_http_date(SystemTime::from(time));
        let expires = now.saturating_add(kept).map(date).unwrap_or_default();
        let headers = [
            (CONTENT_TYPE, Some(self.kind.to_owned())),
            (CACHE_CONTROL, Some(control)),
            (ETAG, Some(self.etag.to_owned())),
            (EXPIRES, Some(expires)),
            (LAST_MODIFIED, self.since.map(date)),
        ];
        for (name, value) in headers {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }
}

/// No answer, in the words of OCSP, kept by nobody.
fn excuse(status: ErrorStatus) -> Answer {
    let mut answer = Response::new(Full::from(status.encode().to_vec()));
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_static("application/ocsp-response");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn words(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn overloaded() -> Answer {
    let mut answer = words(StatusCode::SERVICE_UNAVAILABLE, "not now\n");
    let seconds = HeaderValue::from_static("5");
    answer.headers_mut().insert(RETRY_AFTER, seconds);
    answer
}
