//! HTTP/2 on an established connection. The protocol is hyper's; each request comes out of it as the
//! same [`Received`] that HTTP/1.1 gives.
//!
//! What hyper answers by itself does not become a request and has no record of its own: a broken
//! connection (RFC 9113 5.4.1), which shows in the connection's record as `peer_protocol`, and a
//! stream that is malformed (8.1.1), which it resets. Neither carries a byte of an upstream.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use audit::event::Code;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::together::Together;
use super::{Driver, LEAVE, news, now};
use crate::memory::Memory;
use crate::refusal::Refusal;
use crate::request::{Content, ContentFault, Head, Received, RequestId, Version};
use crate::respond::{self, Watch};
use crate::runtime::LocalExecutor;
use crate::stream::TlsStream;

/// What a client may send on a stream before we took any of it, bytes.
const STREAM_WINDOW: u32 = 256 * 1024;

/// Serves streams until the connection ends.
pub(super) async fn serve(driver: Driver, stream: TlsStream<TcpStream>) {
    let driver = Rc::new(driver);
    let activity = Rc::new(Activity::default());
    let service = {
        let (driver, activity) = (Rc::clone(&driver), Rc::clone(&activity));
        service_fn(move |request| answer(Rc::clone(&driver), Activity::enter(&activity), request))
    };
    let stream = Together::new(stream);
    let io = TokioIo::new(stream.clone());
    let mut connection = pin!(builder(&driver).serve_connection(io, service));
    let mut phase = driver.shared.phase.clone();
    phase.mark_unchanged();
    // What came into force while the handshake was under way rang no bell that is heard here.
    if let Err(code) = driver.standing() {
        driver.record.ends(code);
        return;
    }
    let watched = Rc::clone(&driver);
    let mut vouched = pin!(watched.no_longer_vouched());
    // Why it was asked to come to its end, and when it is no longer waited for.
    let mut leaving: Option<(Code, Instant)> = None;
    let code = loop {
        if leaving.is_none()
            && let Some(code) = driver
                .leaving()
                .or_else(|| activity.ends(driver.limits.idle))
        {
            leaving = Some((code, Instant::now() + LEAVE));
            connection.as_mut().graceful_shutdown();
        }
        let wake = activity.wake_at(driver.limits.idle);
        let wake = wake.min(leaving.map_or_else(|| driver.oldest(), |(_, until)| until));
        tokio::select! {
            biased;
            ended = poll_fn(|context| stream.poll_with(context, |context| connection.as_mut().poll(context))) => break match (ended, leaving) {
                (Ok(()), Some((code, _))) => code,
                (Ok(()), None) => Code::ClosedByClient,
                // We asked it to end, and nothing was under way: however the client did it.
                (Err(_), Some((code, _))) if activity.is_quiet() => code,
                (Err(error), _) => error_code(&error),
            },
            _ = news(&mut phase) => if let Err(code) = driver.standing() {
                break code;
            },
            code = &mut vouched => break code,
            () = activity.told.notified() => {}
            () = poll_fn(|context| activity.take_leftovers(context)) => {}
            () = sleep_until(wake) => {
                if activity.is_stalled() {
                    break Code::ClientStalled;
                }
                if let Some((code, until)) = leaving && Instant::now() >= until {
                    break code;
                }
            }
        }
    };
    // Before the streams are dropped, whose records ask for it.
    driver.record.ends(code);
}

fn builder(driver: &Driver) -> Builder<LocalExecutor> {
    let mut builder = Builder::new(LocalExecutor);
    // Above our own limit, so that it is the pipeline that refuses, and records, a head that is too
    // large. HTTP/2 counts 32 bytes more a field (RFC 9113 6.5.2).
    let head = driver.limits.head_bytes.get().saturating_mul(2);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(driver.limits.streams.get())
        .max_header_list_size(u32::try_from(head.saturating_add(64 * 1024)).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(64 * 1024)
        // Streams that are reset as soon as they are opened (rapid reset), or that we have to reset.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

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

/// What goes on on a connection: its open streams, and since when there is none.
#[derive(Debug)]
struct Activity {
    /// How the client takes the answers, by stream.
    open: RefCell<HashMap<u64, Watch>>,
    entered: Cell<u64>,
    since: Cell<Instant>,
    memory: Memory,
    /// Whether an answer was the last one.
    is_last: Cell<bool>,
    /// What is left of requests that were answered before their end. Each keeps its stream open, so
    /// there are never more than the client may have streams.
    leftovers: RefCell<Vec<Leftover>>,
    /// Rings when an answer was the last one, and when something is left.
    told: Notify,
}

impl Default for Activity {
    fn default() -> Activity {
        Activity {
            open: RefCell::default(),
            entered: 0.into(),
            since: Instant::now().into(),
            memory: Memory::default(),
            is_last: false.into(),
            leftovers: RefCell::default(),
            told: Notify::new(),
        }
    }
}

/// One open stream.
#[derive(Debug)]
struct Open {
    activity: Rc<Activity>,
    number: u64,
    watch: Watch,
}

impl Activity {
    /// How often it is looked for clients that take nothing.
    const LOOK: Duration = Duration::from_secs(10);

    fn enter(this: &Rc<Activity>) -> Open {
        let (number, watch) = (this.entered.get(), Watch::default());
        this.entered.set(number + 1);
        this.open.borrow_mut().insert(number, watch.clone());
        Open {
            activity: Rc::clone(this),
            number,
            watch,
        }
    }

    fn is_quiet(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// Why the connection should come to its end.
    fn ends(&self, idle: Duration) -> Option<Code> {
        if self.is_last.get() {
            Some(Code::ClosedAfterAnswer)
        } else if self.is_quiet() && self.since.get() + idle <= Instant::now() {
            Some(Code::Idle)
        } else {
            None
        }
    }

    /// When to look again.
    fn wake_at(&self, idle: Duration) -> Instant {
        let now = Instant::now();
        if self.is_quiet() {
            // Once it is over, the end of the connection is waited for instead.
            (self.since.get() + idle).max(now + Duration::from_millis(100))
        } else {
            now + Self::LOOK
        }
    }

    /// Whether a client has let an answer wait for too long.
    fn is_stalled(&self) -> bool {
        let now = Instant::now();
        let open = self.open.borrow();
        let mut patience = open.values().filter_map(Watch::patience_ends);
        patience.any(|until| until <= now)
    }

    fn last(&self) {
        self.is_last.set(true);
        self.told.notify_one();
    }

    /// Reads on what is left of requests. It is never ready: it wants to be polled again.
    fn take_leftovers(&self, context: &mut Context<'_>) -> Poll<()> {
        self.leftovers
            .borrow_mut()
            .retain_mut(|left| left.poll(context).is_pending());
        Poll::Pending
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.activity.open.borrow_mut().remove(&self.number);
        self.activity.since.set(Instant::now());
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
    let is_head = request.method() == Method::HEAD;
    let released = match received(&driver, &open.activity, request, id.clone()) {
        Ok(received) => driver.pipeline().serve(received, &driver.record).await,
        Err(refusal) => Box::pin(driver.pipeline().refuse(refusal, &id, &driver.record)).await,
    };
    if released.ends_connection() {
        open.activity.last();
    }
    let response = respond::http2(released, is_head, open.watch.clone());
    Ok(response.map(|answer| Stream {
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
    type Error = crate::release::Broken;

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
    activity: &Rc<Activity>,
    request: Request<Incoming>,
    id: RequestId,
) -> Result<Received, Refusal> {
    let (parts, body) = request.into_parts();
    // From here on, whatever becomes of the request, its content is not dropped at once.
    let body = Inbound {
        body: Some(body),
        activity: Rc::clone(activity),
    };
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
    judge_head(&parts.method, &target, &headers, driver.head_limits()).map_err(Refusal::Wire)?;
    // Nobody here sends 100 Continue in HTTP/2; content is taken when it comes.
    http1::connection::expectation(&headers).map_err(Refusal::Wire)?;
    let target = http1::Target::parse(&parts.method, target).map_err(Refusal::Wire)?;
    let content = if body.is_end_stream() && declared.is_none_or(|length| length == 0) {
        Content::None
    } else {
        Content::Stream {
            length: declared,
            body: Box::pin(body),
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
        memory: activity.memory.clone(),
        id,
        at: now(),
    })
}

/// Holds a head to the limits that HTTP/1.1 has, counted as HTTP/1.1 would write it.
fn judge_head(
    method: &Method,
    target: &[u8],
    headers: &HeaderMap,
    limits: http1::Limits,
) -> Result<(), http1::Error> {
    if target.len() > limits.target_bytes {
        let limit = limits.target_bytes;
        return Err(http1::Error::TargetTooLong { limit });
    }
    if headers.len() > limits.fields {
        let limit = limits.fields;
        return Err(http1::Error::TooManyFields { limit });
    }
    let around = "  HTTP/1.1\r\n\r\n".len();
    let fields = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    if method.as_str().len() + target.len() + around + fields.sum::<usize>() > limits.head_bytes {
        let limit = limits.head_bytes;
        return Err(http1::Error::HeadTooLarge { limit });
    }
    Ok(())
}

/// HTTP/2 may split Cookie into several fields; before it goes on in HTTP/1.1 they are one again
/// (RFC 9113 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
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

/// The content of a request on a stream. What is not wanted of it is read all the same for a while,
/// see [`Leftover`].
struct Inbound {
    /// None once it came to an end, good or bad.
    body: Option<Incoming>,
    activity: Rc<Activity>,
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = ContentFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentFault>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|_| ContentFault::Stream)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if let Some(body) = self.body.take_if(|body| !body.is_end_stream()) {
            self.activity.leftovers.borrow_mut().push(Leftover {
                body,
                bytes: 0,
                until: None,
            });
            self.activity.told.notify_one();
        }
    }
}

/// What is left of a request that was answered before its end. Without a reader the stream would be
/// reset together with the answer, by an error that is none (RFC 9113 8.1); a client must not discard
/// the answer for it, but some do (curl 7.88), and what is under way is soon here. So it is read and
/// forgotten, within bounds, and only a client that goes on beyond them sees its stream reset.
#[derive(Debug)]
struct Leftover {
    body: Incoming,
    bytes: usize,
    /// Begins when it is first looked at: what is dropped may be dropped with everything.
    until: Option<Pin<Box<Sleep>>>,
}

impl Leftover {
    /// What may be under way when the answer leaves: a window of the stream.
    const LIMIT: usize = STREAM_WINDOW as usize;

    /// For so long: what was under way has come by then.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Ready when there is nothing more to read, or no reason to.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let Some(Ok(frame)) = frame else {
                return Poll::Ready(());
            };
            self.bytes += frame.data_ref().map_or(0, Bytes::len);
            if self.bytes > Leftover::LIMIT {
                return Poll::Ready(());
            }
        }
        let until = self
            .until
            .get_or_insert_with(|| Box::pin(sleep(Leftover::PATIENCE)));
        until.as_mut().poll(context)
    }
}
