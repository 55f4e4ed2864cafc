//! HTTP/1.1 on an established connection: one request after another.
//!
//! The connection is shared between the head reader, the request's content (which the upstream
//! exchange polls) and the writer of the answer. All live in one task, and each borrows it for the
//! length of one poll. Nothing is kept between requests but what the client sent ahead.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use audit::event::Code;
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http1::body::{Decoder, Frame as Part};
use http1::connection::{Persistence, expects_continue, persistence};
use http1::encode::{Answered, CONTINUE};
use http1::framing::{self, Framing};
use http1::{Limits, RequestHead, RequestReader, Version};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::io::poll_read_buf;

use super::{Driver, LEAVE, news, now};
use crate::memory::Memory;
use crate::refusal::Refusal;
use crate::request::{self, Content, ContentFault, Head, Received};
use crate::respond::{self, Sent};

/// So much is read at once.
const READ: usize = 8 * 1024;

/// How long a connection that ends is read on, so that a reset does not overtake the answer.
const LINGER: Duration = Duration::from_secs(1);

/// Serves requests until the connection ends.
pub(super) async fn serve(driver: &Driver, stream: TlsStream<TcpStream>) {
    let io = Io {
        stream,
        buffer: BytesMut::new(),
        decoder: None,
        interim: Bytes::new(),
    };
    let mut wire = Wire(Rc::new(RefCell::new(io)));
    match requests(driver, &mut wire).await {
        End::Orderly(code) => {
            driver.record.ends(code);
            wire.close().await;
        }
        End::Broken(code) => {
            driver.record.ends(code);
            wire.abort();
        }
    }
}

/// How a connection ends.
enum End {
    /// All that was said on it was said to its end.
    Orderly(Code),
    /// In the middle of a message, which must not look whole.
    Broken(Code),
}

async fn requests(driver: &Driver, wire: &mut Wire) -> End {
    let limits = driver.head_limits();
    let memory = Memory::default();
    let mut phase = driver.shared.phase.clone();
    phase.mark_unchanged();
    let mut overdue = pin!(sleep_until(driver.oldest() + LEAVE));
    loop {
        if let Some(code) = driver.leaving() {
            return End::Orderly(code);
        }
        if let Err(code) = quiet(driver, wire, &mut phase).await {
            return End::Orderly(code);
        }
        let mut reader = RequestReader::new(limits);
        let head = match timeout(driver.limits.head, wire.head(&mut reader)).await {
            Ok(Ok(Some(head))) => head,
            Ok(Ok(None)) => return End::Orderly(Code::ClosedByClient),
            Ok(Err(HeadFault::Gone)) => return End::Orderly(Code::ClientGone),
            Ok(Err(HeadFault::Wire(error))) => {
                return refuse(driver, wire, Refusal::Wire(error)).await;
            }
            Err(_) => return refuse(driver, wire, Refusal::HeadTimeout).await,
        };
        let ended = {
            let mut exchange = pin!(exchange(driver, wire, head, limits, &memory));
            loop {
                tokio::select! {
                    biased;
                    ended = &mut exchange => break ended,
                    _ = news(&mut phase) => match driver.standing() {
                        Ok(()) => {}
                        Err(code) => break Err(End::Broken(code)),
                    },
                    () = &mut overdue => break Err(End::Broken(Code::AgeLimit)),
                }
            }
            // The exchange, if it is not over, is dropped here, and its record asks the connection's.
            .inspect_err(|end| {
                if let End::Broken(code) = end {
                    driver.record.ends(*code);
                }
            })
        };
        if let Err(end) = ended {
            return end;
        }
        if let Err(code) = wire.after() {
            return End::Orderly(code);
        }
    }
}

/// Waits for the first byte of a request. Between requests a connection can end for many reasons,
/// and none of them is an error.
async fn quiet(
    driver: &Driver,
    wire: &mut Wire,
    phase: &mut tokio::sync::watch::Receiver<super::Phase>,
) -> Result<(), Code> {
    if !wire.0.borrow().buffer.is_empty() {
        return Ok(());
    }
    let idle = Instant::now() + driver.limits.idle;
    let limit = idle.min(driver.oldest());
    loop {
        tokio::select! {
            biased;
            filled = timeout_at(limit, wire.fill()) => return match filled {
                Ok(Ok(0)) => Err(Code::ClosedByClient),
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => Err(Code::ClientGone),
                Err(_) if idle <= driver.oldest() => Err(Code::Idle),
                Err(_) => Err(Code::AgeLimit),
            },
            draining = news(phase) => {
                if draining {
                    return Err(Code::Drained);
                }
                driver.standing()?;
            }
        }
    }
}

/// One request and its answer. An error is why the connection does not go on.
async fn exchange(
    driver: &Driver,
    wire: &mut Wire,
    head: RequestHead,
    limits: Limits,
    memory: &Memory,
) -> Result<(), End> {
    let answered = Answered::of(&head);
    let keep = persistence(head.version, &head.headers) == Persistence::KeepAlive;
    let framing = match framing::request(&head) {
        Ok(framing) => framing,
        Err(error) => return Err(refuse(driver, wire, Refusal::Wire(error)).await),
    };
    let expects = match expects_continue(&head) {
        Ok(expects) => expects,
        Err(error) => return Err(refuse(driver, wire, Refusal::Wire(error)).await),
    };
    let Some(id) = driver.request_id() else {
        return Err(End::Broken(Code::Internal));
    };
    let received = Received {
        head: Head {
            method: head.method,
            target: head.target,
            headers: head.headers,
            version: match head.version {
                Version::Http10 => request::Version::Http10,
                Version::Http11 => request::Version::Http11,
            },
        },
        peer: Rc::clone(driver.record.peer()),
        content: wire.content(framing, limits, expects),
        memory: memory.clone(),
        id,
        at: now(),
    };
    let released = driver.pipeline().serve(received, &driver.record).await;
    // Content that nobody will read any more stands before the next request; only what is here
    // already can be skipped without waiting for it.
    let keep = keep && (wire.is_shared() || wire.skip_content());
    let leaving = driver.leaving();
    match respond::http1(released, answered, keep && leaving.is_none(), wire).await {
        Sent::Whole => Ok(()),
        Sent::Last => Err(End::Orderly(leaving.unwrap_or(Code::ClosedAfterAnswer))),
        Sent::Broken(code) => Err(End::Broken(code)),
    }
}

/// Answers something that did not become a request, and ends the connection.
async fn refuse(driver: &Driver, wire: &mut Wire, refusal: Refusal) -> End {
    let Some(id) = driver.request_id() else {
        return End::Broken(Code::Internal);
    };
    let released = driver.pipeline().refuse(refusal, &id, &driver.record).await;
    let answered = Answered {
        version: Version::Http11,
        is_head: false,
    };
    match respond::http1(released, answered, false, wire).await {
        Sent::Whole | Sent::Last => End::Orderly(Code::PeerProtocol),
        Sent::Broken(code) => End::Broken(code),
    }
}

/// Why there is no head.
enum HeadFault {
    Wire(http1::Error),
    Gone,
}

/// A connection, and what has been read of it.
struct Io {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
    /// Of the request that is being served.
    decoder: Option<Decoder>,
    /// The interim answer that is still to be written.
    interim: Bytes,
}

/// A handle on the connection. Each method borrows it for the length of one poll.
#[derive(Clone)]
struct Wire(Rc<RefCell<Io>>);

impl Wire {
    /// Reads what has arrived; 0 is the end.
    fn fill(&self) -> impl Future<Output = io::Result<usize>> {
        std::future::poll_fn(|context| self.0.borrow_mut().poll_fill(context))
    }

    /// The next head; `None` when the client has closed before its first byte.
    async fn head(&self, reader: &mut RequestReader) -> Result<Option<RequestHead>, HeadFault> {
        loop {
            let read = reader.read(&mut self.0.borrow_mut().buffer);
            match read {
                Ok(Some(head)) => return Ok(Some(head)),
                Ok(None) => {}
                Err(error) => return Err(HeadFault::Wire(error)),
            }
            match self.fill().await {
                Ok(0) => {
                    let whole = reader.eof(&self.0.borrow().buffer);
                    return whole.map(|()| None).map_err(|_| HeadFault::Gone);
                }
                Ok(_) => {}
                Err(_) => return Err(HeadFault::Gone),
            }
        }
    }

    fn content(&self, framing: Framing, limits: Limits, expects: bool) -> Content {
        let length = match framing {
            Framing::None => {
                self.0.borrow_mut().decoder = None;
                return Content::None;
            }
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        };
        self.0.borrow_mut().decoder = Some(Decoder::new(framing, limits));
        Content::Stream {
            length,
            body: Box::pin(Incoming {
                wire: self.clone(),
                expects,
            }),
        }
    }

    /// Whether somebody still reads the content of the request.
    fn is_shared(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }

    /// Whether the content of the request has come to its end, once what is here of it is skipped.
    fn skip_content(&self) -> bool {
        let io = &mut *self.0.borrow_mut();
        let Some(decoder) = &mut io.decoder else {
            return true;
        };
        loop {
            match decoder.decode(&mut io.buffer) {
                Ok(Some(Part::End | Part::Trailers(_))) => return true,
                Ok(Some(Part::Data(_))) => {}
                Ok(None) | Err(_) => return false,
            }
        }
    }

    /// Between two requests.
    fn after(&self) -> Result<(), Code> {
        let io = &mut *self.0.borrow_mut();
        match io.decoder.take() {
            Some(decoder) if !decoder.is_finished() => Err(Code::PeerProtocol),
            _ => {
                if io.buffer.is_empty() {
                    // A connection that waits holds no memory.
                    io.buffer = BytesMut::new();
                }
                Ok(())
            }
        }
    }

    /// Ends the connection without a goodbye, so that nobody takes what came before for whole: not
    /// even a client to whom the end of the connection is the end of the message (RFC 9112 9.8).
    fn abort(&self) {
        // Where it cannot be reset it is closed, and close_notify is missing all the same.
        let _ = self.0.borrow().stream.get_ref().0.set_zero_linger();
    }

    /// Says goodbye, then reads on for a moment.
    async fn close(&mut self) {
        let goodbye = async {
            self.flush().await?;
            self.shutdown().await?;
            let mut left = 64;
            while left > 0 && self.fill().await? > 0 {
                self.0.borrow_mut().buffer.clear();
                left -= 1;
            }
            io::Result::Ok(())
        };
        // Whether the client still listens is its business.
        let _ = timeout(LINGER, goodbye).await;
    }
}

impl Io {
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(READ);
        poll_read_buf(Pin::new(&mut self.stream), context, &mut self.buffer)
    }

    fn poll_interim(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.interim))?;
            self.interim.advance(written);
            if self.interim.is_empty() {
                ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The content of the request that is being served.
struct Incoming {
    wire: Wire,
    /// Whether the client waits for `100 Continue`. It gets it when somebody asks for its content,
    /// which happens only after the request was permitted and admitted.
    expects: bool,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = ContentFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentFault>>> {
        let expects = std::mem::take(&mut self.expects);
        let io = &mut *self.wire.0.borrow_mut();
        // Without a decoder this is the handle of a request that is over.
        let Some(decoder) = &mut io.decoder else {
            return Poll::Ready(Some(Err(ContentFault::Gone)));
        };
        if expects && io.buffer.is_empty() {
            io.interim = Bytes::from_static(CONTINUE);
        }
        loop {
            match decoder.decode(&mut io.buffer) {
                Ok(Some(Part::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Some(Part::Trailers(trailers))) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Some(Part::End)) => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(ContentFault::Framing(error)))),
            }
            if !io.interim.is_empty() {
                let written = io.interim.len();
                let interim = Pin::new(&mut io.stream).poll_write(context, &io.interim[..written]);
                match ready!(interim) {
                    Ok(written) => io.interim.advance(written),
                    Err(_) => return Poll::Ready(Some(Err(ContentFault::Gone))),
                }
                match ready!(Pin::new(&mut io.stream).poll_flush(context)) {
                    Ok(()) => continue,
                    Err(_) => return Poll::Ready(Some(Err(ContentFault::Gone))),
                }
            }
            io.buffer.reserve(READ);
            match ready!(poll_read_buf(
                Pin::new(&mut io.stream),
                context,
                &mut io.buffer
            )) {
                Ok(0) | Err(_) => {
                    let _ = decoder.eof();
                    return Poll::Ready(Some(Err(ContentFault::Gone)));
                }
                Ok(_) => {}
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.wire
            .0
            .borrow()
            .decoder
            .as_ref()
            .is_none_or(Decoder::is_finished)
    }

    fn size_hint(&self) -> SizeHint {
        match self
            .wire
            .0
            .borrow()
            .decoder
            .as_ref()
            .and_then(Decoder::remaining_hint)
        {
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(context, buffer)
    }
}

/// What is written follows the interim answer, if one is still on its way.
impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let io = &mut *self.0.borrow_mut();
        ready!(io.poll_interim(context))?;
        Pin::new(&mut io.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_shutdown(context)
    }
}
