//! The only place that writes an answer to a client, and it takes only [`Released`].
//!
//! It also settles the record: an answer that left whole needs no further word; a streamed one, and
//! one that did not get to its end, gets its completion.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use audit::event::Code;
use bytes::{Bytes, BytesMut};
use http::header::TRAILER;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use http1::connection::Persistence;
use http1::encode::{self, Answered, Hop};
use http1::framing::Framing;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::headers;
use crate::memory::Held;
use crate::record::Record;
use crate::release::{self, Broken, Parts, Passing, Released, ReleasedContent, Tunnel};
use crate::timer::unless_late;
use crate::tunnel;
use crate::upgrade;

/// A client that takes nothing for so long is given up.
const STALL: Duration = Duration::from_mins(1);

/// How the writing of an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// As it should; the connection may go on.
    Whole,
    /// As it should; the connection may not go on.
    Last,
    /// Broken off, for this reason.
    Broken(Code),
}

/// Writes an answer in HTTP/1.1.
pub async fn http1<W: AsyncRead + AsyncWrite + Unpin>(
    released: Released,
    answered: Answered,
    keep: bool,
    out: &mut W,
) -> Sent {
    let ends = released.ends_connection();
    let Parts {
        status,
        mut headers,
        declared,
        mut content,
        mut record,
        held: _held,
    } = released.into_parts();
    if let ReleasedContent::Streamed(rest) = &mut content
        && answered.version == http1::Version::Http10
    {
        rest.cut_tail();
    }
    // HTTP/1.0 knows no chunks: the end of the connection ends the content.
    let unknown = if answered.version == http1::Version::Http10 {
        Framing::UntilClose
    } else {
        Framing::Chunked
    };
    let bodiless = is_bodiless(status, answered.is_head);
    let framing = match &content {
        _ if status == http::StatusCode::NO_CONTENT => Framing::None,
        ReleasedContent::Tunnel(_) => Framing::None,
        _ if bodiless => declared.map_or(Framing::None, Framing::Length),
        ReleasedContent::Whole {
            content,
            trailers: None,
        } => Framing::Length(content.len() as u64),
        ReleasedContent::Whole { .. } => unknown,
        // Only chunks can be followed by trailers.
        ReleasedContent::Streamed(rest) if rest.has_tail() => unknown,
        ReleasedContent::Streamed(_) => declared.map_or(unknown, Framing::Length),
    };
    let is_tunnel = matches!(content, ReleasedContent::Tunnel(_));
    let last = ends
        || !keep
        || is_tunnel
        || framing == Framing::UntilClose
        || answered.version == http1::Version::Http10;
    let persistence = if last {
        Persistence::Close
    } else {
        Persistence::KeepAlive
    };
    headers::strip_hop_by_hop(&mut headers);
    if let ReleasedContent::Streamed(rest) = &content
        && rest.has_tail()
    {
        headers.insert(TRAILER, HeaderValue::from_static(release::TRAILER));
    }
    let mut head = BytesMut::with_capacity(1024);
    let protocol = upgrade::WEBSOCKET;
    let hop = Hop {
        // An answer that asks for it names it (RFC 9110 15.5.22).
        upgrade: (is_tunnel || status == http::StatusCode::UPGRADE_REQUIRED).then_some(&protocol),
        ..Hop::from(persistence)
    };
    if encode::response(&mut head, status, &headers, framing, answered, hop).is_err() {
        // An upstream that speaks HTTP/2 can name fields that HTTP/1.1 cannot.
        settle(record, Code::UpstreamBroken);
        return Sent::Broken(Code::UpstreamBroken);
    }
    let mut writer = Writer {
        out,
        framing,
        buffer: head,
        record: record.as_mut(),
        skip: bodiless,
    };
    let outcome = match content {
        ReleasedContent::Whole { content, trailers } => {
            let written = writer.whole(&content, trailers.as_ref()).await;
            if let (Ok(()), Some(record)) = (written, record.take()) {
                record.left_whole();
            }
            written
        }
        ReleasedContent::Streamed(rest) => Box::pin(writer.streamed(*rest)).await,
        ReleasedContent::Tunnel(tunnel) => Box::pin(writer.tunnel(*tunnel)).await,
    };
    match outcome {
        Ok(()) => {
            settle(record, Code::Complete);
            if last { Sent::Last } else { Sent::Whole }
        }
        Err(code) => {
            settle(record, code);
            Sent::Broken(code)
        }
    }
}

/// Whether no content follows the head whatever it declares (RFC 9110 6.4.1).
fn is_bodiless(status: http::StatusCode, is_head: bool) -> bool {
    is_head || status == http::StatusCode::NO_CONTENT || status == http::StatusCode::NOT_MODIFIED
}

fn settle(record: Option<Record>, code: Code) {
    if let Some(record) = record {
        record.ended(code);
    }
}

/// Writes a head and what follows it.
struct Writer<'a, W> {
    out: &'a mut W,
    framing: Framing,
    buffer: BytesMut,
    /// Where the content is counted.
    record: Option<&'a mut Record>,
    /// Whether the content only stands in the head (HEAD, 304).
    skip: bool,
}

impl<W: AsyncRead + AsyncWrite + Unpin> Writer<'_, W> {
    async fn tunnel(&mut self, tunnel: Tunnel) -> Result<(), Code> {
        self.flush().await?;
        match &mut self.record {
            Some(record) => tunnel::run(self.out, tunnel, record).await,
            None => Err(Code::AuditUnavailable),
        }
    }
}

impl<W: AsyncWrite + Unpin> Writer<'_, W> {
    async fn whole(&mut self, content: &Bytes, trailers: Option<&HeaderMap>) -> Result<(), Code> {
        if !self.skip {
            self.piece(content).await?;
            self.end(trailers);
        }
        self.flush().await
    }

    async fn streamed(&mut self, mut rest: Passing) -> Result<(), Code> {
        loop {
            let mut record = self.record.as_deref_mut();
            let polled = poll_fn(|context| Poll::Ready(next(&mut rest, &mut record, context)));
            let next = match polled.await {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    // What is in hand leaves before anybody waits for more.
                    self.flush().await?;
                    let mut record = self.record.as_deref_mut();
                    poll_fn(|context| next(&mut rest, &mut record, context)).await
                }
            };
            match next {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(_) if self.skip => {}
                    Ok(data) => self.piece(&data).await?,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        self.end(Some(&trailers));
                        return self.flush().await;
                    }
                },
                Some(Err(broken)) => {
                    // What was written must not look whole: the connection ends without an end.
                    let _ = self.flush().await;
                    return Err(broken.code());
                }
                None => {
                    self.end(None);
                    return self.flush().await;
                }
            }
        }
    }

    async fn piece(&mut self, data: &Bytes) -> Result<(), Code> {
        let Some(length) = NonZeroUsize::new(data.len()) else {
            return Ok(());
        };
        if self.framing == Framing::Chunked {
            encode::chunk_head(&mut self.buffer, length);
        }
        // What the stream is given it sends in whole records, the head together with the content.
        self.write_buffer().await?;
        self.write(data).await?;
        if self.framing == Framing::Chunked {
            self.buffer.extend_from_slice(encode::CHUNK_END);
        }
        if let Some(record) = &mut self.record {
            record.sent(data.len() as u64);
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) {
        if self.framing != Framing::Chunked || self.skip {
            return;
        }
        let mut trailers = trailers.cloned().unwrap_or_default();
        headers::filter_trailers(&mut trailers);
        if encode::last_chunk(&mut self.buffer, &trailers).is_err() {
            let _ = encode::last_chunk(&mut self.buffer, &HeaderMap::new());
        }
    }

    async fn write_buffer(&mut self) -> Result<(), Code> {
        if !self.buffer.is_empty() {
            let buffer = std::mem::take(&mut self.buffer);
            self.write(&buffer).await?;
            self.buffer = buffer;
            self.buffer.clear();
        }
        Ok(())
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Code> {
        while !bytes.is_empty() {
            match unless_stalled(self.out.write(bytes)).await? {
                0 => return Err(Code::ClientGone),
                taken => bytes = &bytes[taken..],
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Code> {
        self.write_buffer().await?;
        unless_stalled(self.out.flush()).await
    }
}

/// Waits for a client that takes something.
async fn unless_stalled<T>(taken: impl Future<Output = io::Result<T>>) -> Result<T, Code> {
    let taken = unless_late(STALL, taken).await;
    taken
        .map_err(|_| Code::ClientStalled)?
        .map_err(|_| Code::ClientGone)
}

/// The next of an answer that passes. Without a record nothing does.
fn next(
    rest: &mut Passing,
    record: &mut Option<&mut Record>,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
    match record {
        Some(record) => rest.poll_frame(context, record),
        None => Poll::Ready(Some(Err(Broken::Unrecorded))),
    }
}

/// An answer for hyper's HTTP/2, which writes it as the stream allows. How long the client lets it
/// wait shows in `watch`.
pub fn http2(released: Released, is_head: bool, watch: Watch) -> Response<Outgoing> {
    let Parts {
        status,
        mut headers,
        declared,
        content,
        record,
        held,
    } = released.into_parts();
    headers::strip_hop_by_hop(&mut headers);
    let bodiless = is_bodiless(status, is_head);
    let (first, trailers, rest) = match content {
        _ if bodiless => (Bytes::new(), None, None),
        ReleasedContent::Whole { content, trailers } => (content, trailers, None),
        ReleasedContent::Streamed(rest) => (Bytes::new(), None, Some(rest)),
        // In HTTP/2 nobody asks for one (RFC 9113 8.2.2).
        ReleasedContent::Tunnel(_) => (Bytes::new(), None, None),
    };
    if let Some(declared) = declared
        && status != http::StatusCode::NO_CONTENT
    {
        headers.insert(http::header::CONTENT_LENGTH, declared.into());
    }
    let mut response = Response::new(Outgoing {
        is_empty: first.is_empty() && trailers.is_none() && rest.is_none(),
        is_whole: rest.is_none(),
        first,
        tail: None,
        trailers,
        rest,
        record,
        held,
        watch,
    });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What an answer on an HTTP/2 stream shows of the client's appetite, for the driver of the
/// connection: hyper asks for the next piece only when the client has taken of the one before.
#[derive(Debug, Default, Clone)]
pub struct Watch(Rc<Watched>);

#[derive(Debug, Default)]
struct Watched {
    /// Since when a piece is in hyper's hands and no other was asked for.
    waits_since: Cell<Option<Instant>>,
}

impl Watch {
    /// Until when the client may wait before it takes more; `None` while it keeps nobody waiting.
    pub fn patience_ends(&self) -> Option<Instant> {
        self.0.waits_since.get().map(|since| since + STALL)
    }

    /// Hyper asks for a piece.
    fn asked(&self) {
        self.0.waits_since.set(None);
    }

    /// Hyper has got one.
    fn handed(&self) {
        self.0.waits_since.set(Some(Instant::now()));
    }
}

/// The content of an answer on an HTTP/2 stream. It counts as left when hyper has asked for its end.
/// Dropped before, it leaves on record why.
///
/// hyper asks for what follows once the client's window has room for a single byte of what came
/// before. So the last byte of each piece is handed out by itself: whoever has room for that has room
/// for all before it.
#[derive(Debug)]
pub struct Outgoing {
    first: Bytes,
    /// The last byte of the piece that was handed out.
    tail: Option<Bytes>,
    trailers: Option<HeaderMap>,
    rest: Option<Box<Passing>>,
    record: Option<Record>,
    /// What was gathered; given back once the client took of it.
    held: Option<Held>,
    watch: Watch,
    /// Whether there was nothing to send but the head.
    is_empty: bool,
    /// Whether all of the content was in hand, and stands in the release.
    is_whole: bool,
}

impl Outgoing {
    /// All of it was asked for, or what is left will not come.
    fn finish(&mut self, code: Code) {
        let Some(record) = self.record.take() else {
            return;
        };
        if self.is_whole && code == Code::Complete {
            record.left_whole();
        } else {
            record.ended(code);
        }
    }

    /// Hands out a piece but for its last byte.
    fn hand(&mut self, mut data: Bytes) -> Frame<Bytes> {
        if data.len() > 1 {
            self.tail = Some(data.split_off(data.len() - 1));
        }
        self.watch.handed();
        if let Some(record) = &mut self.record {
            record.sent(data.len() as u64);
        }
        Frame::data(data)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        this.watch.asked();
        if let Some(tail) = this.tail.take() {
            return Poll::Ready(Some(Ok(this.hand(tail))));
        }
        if !this.first.is_empty() {
            let first = std::mem::take(&mut this.first);
            return Poll::Ready(Some(Ok(this.hand(first))));
        }
        this.held = None;
        if let Some(trailers) = this.trailers.take() {
            // Nothing is asked for after these.
            this.finish(Code::Complete);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let Some(rest) = &mut this.rest else {
            this.finish(Code::Complete);
            return Poll::Ready(None);
        };
        let next = ready!(next(rest, &mut this.record.as_mut(), context));
        Poll::Ready(match next {
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(data) => this.hand(data),
                Err(trailers) => {
                    this.finish(Code::Complete);
                    trailers
                }
            })),
            Some(Err(broken)) => {
                this.finish(broken.code());
                Some(Err(broken))
            }
            None => {
                this.finish(Code::Complete);
                None
            }
        })
    }

    /// Only of an answer without content: hyper would not ask for the end of any other, and whether
    /// the client's window took of it would not be known.
    fn is_end_stream(&self) -> bool {
        self.is_empty
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_whole && self.trailers.is_none() {
            SizeHint::with_exact(self.first.len() as u64)
        } else {
            SizeHint::default()
        }
    }
}

/// hyper drops a body that is empty without asking it, and any other body when its stream is gone.
impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.is_empty {
            self.finish(Code::Complete);
        }
    }
}
