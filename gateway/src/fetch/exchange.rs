//! One GET of a list over plain HTTP (RFC 5280 section 8, RFC 9110), conditional on what is known of it; or one
//! POST of a question to an OCSP responder (RFC 6960 appendix A).
//!
//! What comes is whatever somebody on the way likes: it is bounded in size and time here, and judged by its
//! signature later (`keep`, `tls`). Nothing is followed, nothing is decoded, no cookie is kept.

use std::time::Duration;

use bytes::Bytes;
use config::{HttpUrl, ListUrl, OcspUrl};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::fault::FetchFault;
use crate::dial::{Resolver, dial};
use crate::revocation::MAX_LIST_BYTES;

/// To connect, and for the head of the answer.
const HEAD: Duration = Duration::from_secs(10);

/// For all of the list.
const WHOLE: Duration = Duration::from_mins(1);

/// So much room is made before the first byte came, whatever its length is said to be, bytes.
const FIRST_ROOM: usize = 64 * 1024;

/// What the server said of the list that it sent last, so that it need not send it again (RFC 9110 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Validators {
    tag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
}

/// What came.
#[derive(Debug)]
pub(super) enum Got {
    /// The list is the one that the validators are of.
    Unchanged,
    /// Another one, or the first.
    Content(Vec<u8>, Validators),
}

/// Asks once.
pub(super) async fn get(
    url: &ListUrl,
    known: &Validators,
    resolver: &Resolver,
) -> Result<Got, FetchFault> {
    let asked = ask(url.http(), question_for_list(url, known)?, resolver);
    let asked = timeout(HEAD, asked).await;
    let (response, _connection) = asked.unwrap_or(Err(FetchFault::Slow))?;
    match response.status() {
        StatusCode::OK => {}
        // Who was not told of a list cannot know that it is the same.
        StatusCode::NOT_MODIFIED if *known != Validators::default() => return Ok(Got::Unchanged),
        status => {
            return Err(FetchFault::Status {
                status: status.as_u16(),
            });
        }
    }
    is_plain(&response)?;
    let field = |name| response.headers().get(name).cloned();
    let validators = Validators {
        tag: field(header::ETAG),
        modified: field(header::LAST_MODIFIED),
    };
    let read = timeout(WHOLE, content(response.into_body(), MAX_LIST_BYTES)).await;
    let bytes = read.unwrap_or(Err(FetchFault::Slow))?;
    Ok(Got::Content(bytes, validators))
}

/// Asks a responder once, all within `patience`. `question` is an OCSPRequest, and an OCSPResponse (DER) of at most
/// [`ocsp::MAX_RESPONSE_OCTETS`] comes back, if it is one.
pub(super) async fn post(
    url: &OcspUrl,
    question: Bytes,
    patience: Duration,
    resolver: &Resolver,
) -> Result<Vec<u8>, FetchFault> {
    let whole = async {
        let question = question_for_responder(url, question)?;
        let (response, _connection) = ask(url.http(), question, resolver).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchFault::Status {
                status: response.status().as_u16(),
            });
        }
        is_plain(&response)?;
        content(response.into_body(), ocsp::MAX_RESPONSE_OCTETS as u64).await
    };
    let answered = timeout(patience, whole).await;
    answered.unwrap_or(Err(FetchFault::Slow))
}

/// What comes is not decoded.
fn is_plain(response: &Response<Incoming>) -> Result<(), FetchFault> {
    let coding = response.headers().get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(FetchFault::Encoded);
    }
    Ok(())
}

/// Sends the request and waits for the head of the answer.
async fn ask(
    url: &HttpUrl,
    request: Request<Full<Bytes>>,
    resolver: &Resolver,
) -> Result<(Response<Incoming>, Connection), FetchFault> {
    let stream = dial(url.authority(), resolver).await;
    let stream = stream.map_err(|error| FetchFault::Unreachable {
        error: error.kind(),
    })?;
    let broken = |_: hyper::Error| FetchFault::Broken;
    let (mut sender, connection) = Builder::new()
        .max_headers(100)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let connection = Connection(
        tokio::task::spawn_local(async move {
            // What goes wrong with it shows in the answer.
            let _ = connection.await;
        })
        .abort_handle(),
    );
    let response = sender.send_request(request).await;
    Ok((response.map_err(broken)?, connection))
}

fn question_for_list(
    url: &ListUrl,
    known: &Validators,
) -> Result<Request<Full<Bytes>>, FetchFault> {
    let mut request = Request::get(url.http().target())
        .header(header::HOST, url.http().host())
        .header(header::ACCEPT, "application/pkix-crl, */*;q=0.1")
        .header(header::USER_AGENT, "phigate")
        // A list that a cache on the way still holds fresh may be one revocation behind.
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::CONNECTION, "close");
    if let Some(tag) = &known.tag {
        request = request.header(header::IF_NONE_MATCH, tag);
    }
    if let Some(modified) = &known.modified {
        request = request.header(header::IF_MODIFIED_SINCE, modified);
    }
    // A URL that was parsed is one that can be asked for.
    request
        .body(Full::default())
        .map_err(|_| FetchFault::Broken)
}

fn question_for_responder(
    url: &OcspUrl,
    question: Bytes,
) -> Result<Request<Full<Bytes>>, FetchFault> {
    Request::post(url.http().target())
        .header(header::HOST, url.http().host())
        .header(header::CONTENT_TYPE, "application/ocsp-request")
        .header(header::ACCEPT, "application/ocsp-response, */*;q=0.1")
        .header(header::USER_AGENT, "phigate")
        // An answer that a cache on the way still holds fresh may be one revocation behind.
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::CONNECTION, "close")
        .body(Full::new(question))
        .map_err(|_| FetchFault::Broken)
}

/// All of the content, of at most `limit` bytes.
async fn content(mut body: Incoming, limit: u64) -> Result<Vec<u8>, FetchFault> {
    let stated = body.size_hint().lower();
    if stated > limit {
        return Err(FetchFault::TooLarge);
    }
    let room = usize::try_from(stated).unwrap_or(FIRST_ROOM);
    let mut bytes = Vec::with_capacity(room.min(FIRST_ROOM));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| FetchFault::Broken)?;
        // What follows the content says nothing of a list.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() as u64 + data.len() as u64 > limit {
            return Err(FetchFault::TooLarge);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// A connection that ends when nobody waits for its answer any more.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}
