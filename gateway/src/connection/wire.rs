//! The bytes of an HTTP/1.1 connection, shared by the reader of heads, the request's content (which the
//! upstream exchange polls) and the writer of the answer. All live on one thread, and each borrows it for
//! the length of one poll. Grammar and framing are the crate `http1`'s.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use audit::event::Code;
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http1::body::{Decoder, Frame as Part};
use http1::encode::CONTINUE;
use http1::framing::Framing;
use http1::{Limits, RequestHead, RequestReader};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::request::{Content, ContentFault};
use crate::stream::TlsStream;

/// So much is received at once where a head is expected, bytes.
const HEAD: usize = 16 * 1024;

/// So much is received at once of content, bytes: several records.
const CONTENT: usize = 128 * 1024;

/// How long a connection that ends is read on, so that a reset does not overtake the answer.
const LINGER: Duration = Duration::from_secs(1);

/// Why there is no head.
pub(super) enum HeadFault {
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
    /// Whether it was written, and is still to be flushed.
    unflushed: bool,
}

/// A handle on the connection. Each method borrows it for the length of one poll.
#[derive(Clone)]
pub(super) struct Wire(Rc<RefCell<Io>>);

impl Wire {
    /// A handle on a connection of which nothing has been read.
    pub(super) fn new(stream: TlsStream<TcpStream>) -> Wire {
        Wire(Rc::new(RefCell::new(Io {
            stream,
            buffer: BytesMut::new(),
            decoder: None,
            interim: Bytes::new(),
            unflushed: false,
        })))
    }

    /// Whether the client has sent something ahead.
    pub(super) fn has_begun(&self) -> bool {
        !self.0.borrow().buffer.is_empty()
    }

    /// Reads what has arrived; 0 is the end.
    pub(super) fn fill(&self) -> impl Future<Output = io::Result<usize>> {
        std::future::poll_fn(|context| self.0.borrow_mut().poll_fill(context))
    }

    /// The next head; `None` when the client has closed before its first byte.
    pub(super) async fn head(
        &self,
        reader: &mut RequestReader,
    ) -> Result<Option<RequestHead>, HeadFault> {
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

    pub(super) fn content(&self, framing: Framing, limits: Limits, expects: bool) -> Content {
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
    pub(super) fn is_shared(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }

    /// Whether the content of the request has come to its end, once what is here of it is skipped.
    pub(super) fn skip_content(&self) -> bool {
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
    pub(super) fn after(&self) -> Result<(), Code> {
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
    pub(super) fn abort(&self) {
        // Where it cannot be reset it is closed, and close_notify is missing all the same.
        let _ = self.0.borrow().stream.socket().set_zero_linger();
    }

    /// Says goodbye, then reads on for a moment.
    pub(super) async fn close(&mut self) {
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
        let Io { stream, buffer, .. } = self;
        stream.poll_read_into(context, buffer, HEAD)
    }

    /// Sends the interim answer to its end, if there is one.
    fn poll_interim(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.interim))?;
            self.interim.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.unflushed = false;
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
        let mut expects = std::mem::take(&mut self.expects);
        let io = &mut *self.wire.0.borrow_mut();
        loop {
            // Without a decoder this is the handle of a request that is over.
            let Some(decoder) = &mut io.decoder else {
                return Poll::Ready(Some(Err(ContentFault::Gone)));
            };
            if std::mem::take(&mut expects) && io.buffer.is_empty() {
                io.interim = Bytes::from_static(CONTINUE);
            }
            match decoder.decode(&mut io.buffer) {
                Ok(Some(Part::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Some(Part::Trailers(trailers))) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Some(Part::End)) => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(ContentFault::Framing(error)))),
            }
            if ready!(io.poll_interim(context)).is_err() {
                return Poll::Ready(Some(Err(ContentFault::Gone)));
            }
            match ready!(io.stream.poll_read_into(context, &mut io.buffer, CONTENT)) {
                Ok(0) | Err(_) => {
                    let _ = io.decoder.as_mut().map(Decoder::eof);
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

/// For a tunnel: what the client sent ahead, then what comes.
impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let io = &mut *self.0.borrow_mut();
        if io.buffer.is_empty() {
            ready!(io.poll_fill(context))?;
        }
        let length = io.buffer.len().min(out.remaining());
        out.put_slice(&io.buffer[..length]);
        io.buffer.advance(length);
        Poll::Ready(Ok(()))
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
