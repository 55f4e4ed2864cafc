//! A request and its answer on a stream of a shared HTTP/2 connection. The protocol is hyper's.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::connect::Transport;
use super::{AnswerContent, AnswerFault, AnswerHead, Failure, Outgoing, UpstreamRefusal, patience};
use crate::endpoint::{Endpoint, Security};
use crate::headers;
use crate::request::{Content, ContentFault};
use crate::runtime::LocalExecutor;
use crate::timer::Timer;

/// Streams at once on a connection; with more, another connection is opened.
const STREAMS: usize = 100;

/// A connection that requests share.
#[derive(Debug)]
pub(super) struct Shared {
    sender: SendRequest<Watched>,
    streams: Rc<Cell<usize>>,
    used: Cell<Instant>,
    _permit: OwnedSemaphorePermit,
}

/// The right to one stream.
pub(super) struct Stream {
    sender: SendRequest<Watched>,
    place: Place,
}

/// A place among the streams of a connection.
struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Shared {
    /// Starts HTTP/2 on a connection. A task of this worker drives it until it ends.
    pub(super) async fn start(
        transport: Transport,
        permit: OwnedSemaphorePermit,
        endpoint: &Endpoint,
    ) -> Result<Shared, UpstreamRefusal> {
        let mut builder = Builder::new(LocalExecutor);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_header_list_size(32 * 1024)
            .max_concurrent_reset_streams(32)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(endpoint.connect);
        let handshake = builder.handshake(TokioIo::new(transport));
        let (sender, connection) = tokio::time::timeout(endpoint.connect, handshake)
            .await
            .map_err(|_| UpstreamRefusal::ConnectTimeout)?
            .map_err(|_| UpstreamRefusal::Broken {
                how: "it does not speak HTTP/2",
            })?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to an upstream ended");
            }
        });
        Ok(Shared {
            sender,
            streams: Rc::default(),
            used: Instant::now().into(),
            _permit: permit,
        })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Whether it is in use, or was not long ago.
    pub(super) fn is_wanted(&self, idle: Duration) -> bool {
        self.streams.get() > 0 || self.used.get().elapsed() < idle
    }

    pub(super) fn stream(&self) -> Option<Stream> {
        if self.streams.get() >= STREAMS || !self.is_open() {
            return None;
        }
        self.streams.set(self.streams.get() + 1);
        self.used.set(Instant::now());
        Some(Stream {
            sender: self.sender.clone(),
            place: Place(Rc::clone(&self.streams)),
        })
    }
}

/// Sends a request and waits for the head of its answer.
pub(super) async fn exchange(
    stream: Stream,
    outgoing: Outgoing,
    endpoint: &Endpoint,
) -> Result<AnswerHead, Failure> {
    let Stream { mut sender, place } = stream;
    let watch = Rc::new(Watch::default());
    let request = request(outgoing, endpoint, &watch).map_err(Failure::Refused)?;
    // A request that never left the queue of the connection comes back; with what it was made of it
    // would have to be taken apart again, so it is refused like one that was lost.
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    let answer = loop {
        let due = watch.since.get() + patience(endpoint);
        tokio::select! {
            biased;
            answer = &mut answer => break answer,
            () = tokio::time::sleep_until(due) => {
                if watch.waits_for_client.get() {
                    watch.since.set(Instant::now());
                } else if watch.since.get() + patience(endpoint) <= Instant::now() {
                    return Err(Failure::Refused(UpstreamRefusal::Timeout));
                }
            }
        }
    };
    let answer = answer.map_err(|_| {
        Failure::Refused(match watch.fault.get() {
            Some(fault) => UpstreamRefusal::Content(fault),
            None => UpstreamRefusal::Broken {
                how: "the stream ended before it answered",
            },
        })
    })?;
    let (parts, body) = answer.into_parts();
    let declared = http1::framing::content_length(&parts.headers).map_err(|_| {
        Failure::Refused(UpstreamRefusal::Broken {
            how: "the length of its answer is not unambiguous",
        })
    })?;
    let content = if body.is_end_stream() {
        AnswerContent::None
    } else {
        AnswerContent::Http2(Box::new(Answer {
            body,
            watch,
            timer: Timer::default(),
            patience: patience(endpoint),
            finished: false,
            _place: place,
        }))
    };
    Ok(AnswerHead {
        status: parts.status,
        headers: parts.headers,
        declared,
        content,
    })
}

fn request(
    outgoing: Outgoing,
    endpoint: &Endpoint,
    watch: &Rc<Watch>,
) -> Result<Request<Watched>, UpstreamRefusal> {
    let unwritable = |what| UpstreamRefusal::Unwritable { what };
    let scheme = match endpoint.security {
        Security::None => "http",
        Security::Tls { .. } => "https",
    };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(outgoing.authority.as_bytes())
        .path_and_query(&outgoing.target[..])
        .build()
        .map_err(|_| unwritable("target"))?;
    let mut request = Request::new(Watched {
        content: outgoing.content,
        watch: Rc::clone(watch),
    });
    *request.method_mut() = outgoing.method;
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = outgoing.headers;
    request.headers_mut().remove(header::HOST);
    Ok(request)
}

/// What is known of a request that hyper has.
#[derive(Debug)]
struct Watch {
    /// When content last moved.
    since: Cell<Instant>,
    /// Whether it is the client who keeps us waiting.
    waits_for_client: Cell<bool>,
    fault: Cell<Option<ContentFault>>,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch {
            since: Instant::now().into(),
            waits_for_client: false.into(),
            fault: None.into(),
        }
    }
}

/// Content of a request, watched.
#[derive(Debug)]
struct Watched {
    content: Content,
    watch: Rc<Watch>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = ContentFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentFault>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.content).poll_frame(context);
        this.watch.waits_for_client.set(polled.is_pending());
        let frame = ready!(polled);
        this.watch.since.set(Instant::now());
        if let Some(Err(fault)) = &frame {
            this.watch.fault.set(Some(*fault));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.content.length() {
            Some(length) => SizeHint::with_exact(length),
            None => SizeHint::default(),
        }
    }
}

/// The content of an answer.
pub struct Answer {
    body: Incoming,
    watch: Rc<Watch>,
    timer: Timer,
    patience: Duration,
    finished: bool,
    _place: Place,
}

impl Answer {
    pub(super) fn is_finished(&self) -> bool {
        self.finished || self.body.is_end_stream()
    }

    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        if self.finished {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.timer.restart();
                if let Some(trailers) = frame.trailers_mut() {
                    headers::filter_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => {
                self.finished = true;
                Poll::Ready(Some(Err(self
                    .watch
                    .fault
                    .get()
                    .map_or(AnswerFault::Broken, AnswerFault::Content))))
            }
            Poll::Ready(None) => {
                self.finished = true;
                Poll::Ready(None)
            }
            Poll::Pending if self.watch.waits_for_client.get() => {
                self.timer.restart();
                Poll::Pending
            }
            Poll::Pending => {
                ready!(self.timer.poll(self.patience, context));
                self.finished = true;
                Poll::Ready(Some(Err(AnswerFault::Stalled)))
            }
        }
    }
}
