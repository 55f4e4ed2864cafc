//! HTTP/2 on an established connection. The protocol is hyper's; each request comes out of it as the
//! same [`Received`] that HTTP/1.1 gives.
//!
//! What hyper answers by itself to a broken connection (RFC 9113 5.4) carries no byte of an upstream
//! and shows in the connection's record as `peer_protocol`.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use audit::event::Code;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use super::{Driver, news, now};
use crate::refusal::Refusal;
use crate::request::{Content, ContentFault, Head, Received, RequestId, Version};
use crate::respond;
use crate::runtime::LocalExecutor;

/// Serves streams until the connection ends.
pub(super) async fn serve(driver: Driver, stream: TlsStream<TcpStream>) {
    let driver = Rc::new(driver);
    let activity = Rc::new(Activity::default());
    let service = {
        let (driver, activity) = (Rc::clone(&driver), Rc::clone(&activity));
        service_fn(move |request| answer(Rc::clone(&driver), Activity::enter(&activity), request))
    };
    let limits = &driver.limits;
    let mut builder = Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams.get())
        .max_header_list_size(u32::try_from(limits.head_bytes.get()).unwrap_or(u32::MAX))
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(256 * 1024)
        // Streams that are reset as soon as they are opened (rapid reset), or that we have to reset.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut phase = driver.worker.phase.clone();
    phase.mark_unchanged();
    // Why it was asked to come to its end, and when it is no longer waited for.
    let mut leaving: Option<(Code, Instant)> = None;
    if phase.borrow().draining {
        leaving = Some((Code::Drained, Instant::now() + LEAVE));
        connection.as_mut().graceful_shutdown();
    }
    let code = loop {
        let wake = leaving.map_or_else(
            || activity.idle_at(limits.idle).min(driver.oldest()),
            |(_, until)| until,
        );
        tokio::select! {
            biased;
            ended = connection.as_mut() => break match (ended, leaving) {
                (Ok(()), Some((code, _))) => code,
                (Ok(()), None) => Code::ClosedByClient,
                (Err(error), _) => error_code(&error),
            },
            draining = news(&mut phase), if leaving.is_none() => {
                if let Err(code) = driver.standing() {
                    break code;
                }
                if draining {
                    leaving = Some((Code::Drained, Instant::now() + driver.limits.age));
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = tokio::time::sleep_until(wake) => if let Some((code, _)) = leaving { break code } else {
                let now = Instant::now();
                let code = if now >= driver.oldest() { Code::AgeLimit } else { Code::Idle };
                if code == Code::AgeLimit || activity.idle_at(limits.idle) <= now {
                    leaving = Some((code, now + LEAVE));
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    };
    driver.record.ends(code);
}

/// Streams that are open when a connection is too old are given so long to end.
const LEAVE: Duration = Duration::from_mins(1);

fn error_code(error: &hyper::Error) -> Code {
    let io = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some();
    if io || error.is_incomplete_message() || error.is_closed() {
        Code::ClientGone
    } else {
        Code::PeerProtocol
    }
}

/// How many streams are open, and since when there is none.
#[derive(Debug)]
struct Activity {
    open: Cell<usize>,
    since: Cell<Instant>,
}

impl Default for Activity {
    fn default() -> Activity {
        Activity {
            open: 0.into(),
            since: Instant::now().into(),
        }
    }
}

/// One open stream.
#[derive(Debug)]
struct Open(Rc<Activity>);

impl Activity {
    fn enter(this: &Rc<Activity>) -> Open {
        this.open.set(this.open.get() + 1);
        Open(Rc::clone(this))
    }

    /// When the connection will have been idle for so long; far away while a stream is open.
    fn idle_at(&self, idle: Duration) -> Instant {
        let since = if self.open.get() > 0 {
            Instant::now()
        } else {
            self.since.get()
        };
        since + idle
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.since.set(Instant::now());
    }
}

async fn answer(
    driver: Rc<Driver>,
    open: Open,
    request: Request<Incoming>,
) -> Result<Response<Stream>, Infallible> {
    let Some(id) = driver.request_id() else {
        let mut response = Response::new(Stream {
            answer: None,
            _open: open,
        });
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(response);
    };
    let released = match received(&driver, request, id.clone()) {
        Ok(received) => driver.pipeline().serve(received, &driver.record).await,
        Err(refusal) => driver.pipeline().refuse(refusal, &id, &driver.record).await,
    };
    if released.ends_connection() {
        // The next look at the peer ends the connection; a stream alone cannot.
        driver.record.ends(Code::ClosedAfterAnswer);
    }
    Ok(respond::http2(released).map(|answer| Stream {
        answer: Some(answer),
        _open: open,
    }))
}

/// An answer that keeps its stream counted as open until it is dropped.
struct Stream {
    answer: Option<respond::Outgoing>,
    _open: Open,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = crate::upstream::AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.answer {
            Some(answer) => Pin::new(answer).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.answer.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.answer
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A request of hyper's as the pipeline takes it.
fn received(
    driver: &Driver,
    request: Request<Incoming>,
    id: RequestId,
) -> Result<Received, Refusal> {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    let declared = http1::framing::content_length(&headers).map_err(Refusal::Wire)?;
    // The authority is the host (RFC 9113 8.3.1). Where both are there and differ, both stay, and
    // the checks refuse a request for two hosts.
    if let Some(authority) = parts.uri.authority() {
        let same = headers.get(header::HOST).is_some_and(|host| {
            host.as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes())
        });
        if let (false, Ok(value)) = (same, HeaderValue::from_str(authority.as_str())) {
            headers.append(header::HOST, value);
        }
    }
    join_cookies(&mut headers);
    let target = match (parts.uri.path_and_query(), &parts.method) {
        (Some(target), _) => Bytes::copy_from_slice(target.as_str().as_bytes()),
        (None, &Method::CONNECT) => Bytes::copy_from_slice(parts.uri.to_string().as_bytes()),
        (None, _) => Bytes::from_static(b"/"),
    };
    let target = http1::Target::parse(&parts.method, target).map_err(Refusal::Wire)?;
    let content = if body.is_end_stream() && declared.is_none_or(|length| length == 0) {
        Content::None
    } else {
        Content::Stream {
            length: declared,
            body: Box::pin(Inbound { body }),
        }
    };
    Ok(Received {
        head: Head {
            method: parts.method,
            target,
            headers,
            version: Version::Http2,
        },
        peer: Rc::clone(driver.record.peer()),
        content,
        id,
        at: now(),
    })
}

/// HTTP/2 may split Cookie into several fields; before it goes on in HTTP/1.1 they are one again
/// (RFC 9113 8.2.3).
fn join_cookies(headers: &mut http::HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// The content of a request on a stream.
struct Inbound {
    body: Incoming,
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = ContentFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentFault>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map_err(|_| ContentFault::Stream)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
