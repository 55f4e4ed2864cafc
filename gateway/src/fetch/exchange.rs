//! One GET of a list over plain HTTP (RFC 5280 section 8, RFC 9110), conditional on what is known of it.
//!
//! What comes is whatever somebody on the way likes: it is bounded in size and time here, and judged by its
//! signature later (`keep`). Nothing is followed, nothing is decoded, no cookie is kept.

use std::time::Duration;

use bytes::Bytes;
use config::ListUrl;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
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
    let asked = timeout(HEAD, ask(url, known, resolver)).await;
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
    let coding = response.headers().get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(FetchFault::Encoded);
    }
    let field = |name| response.headers().get(name).cloned();
    let validators = Validators {
        tag: field(header::ETAG),
        modified: field(header::LAST_MODIFIED),
    };
    let read = timeout(WHOLE, content(response.into_body(), MAX_LIST_BYTES)).await;
    let bytes = read.unwrap_or(Err(FetchFault::Slow))?;
    Ok(Got::Content(bytes, validators))
}

/// Sends the request and waits for the head of the answer.
async fn ask(
    url: &ListUrl,
    known: &Validators,
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
    let response = sender.send_request(request(url, known)?).await;
    Ok((response.map_err(broken)?, connection))
}

fn request(url: &ListUrl, known: &Validators) -> Result<Request<Empty<Bytes>>, FetchFault> {
    let mut request = Request::get(url.target())
        .header(header::HOST, url.host())
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
    request.body(Empty::new()).map_err(|_| FetchFault::Broken)
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
