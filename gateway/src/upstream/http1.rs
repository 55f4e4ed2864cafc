//! A request and its answer on an HTTP/1.1 connection, driven by the task that asked.
//!
//! Content goes up and down at the same time: an upstream may answer before it has read the whole of
//! a request (RFC 9112 9.3), and one that waits for us while we wait for it would wait forever.
//! Whoever polls the answer therefore drives the request first.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http1::body::{Decoder, Frame as Part};
use ::http1::connection::{Persistence, persistence};
use ::http1::encode::{self, Hop};
use ::http1::framing::{self, Framing};
use ::http1::{Limits, ResponseHead, ResponseReader};
use bytes::{Buf, Bytes};
use http::header::SEC_WEBSOCKET_ACCEPT;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::connect::refused;
use super::pool::{Connection, Lent};
use super::upload::{SMALL, Upload, UploadState};
use super::{
    AnswerContent, AnswerFault, AnswerHead, Failure, Outgoing, Switched, UpstreamRefusal, patience,
};
use crate::endpoint::Endpoint;
use crate::headers;
use crate::record::Record;
use crate::request::{Content, ContentFault};
use crate::upgrade;

/// Interim answers beyond these are an attack.
const MAX_INTERIM: u8 = 8;

/// So much is read at once of what is short, and at the most of what is long, bytes.
const READ: std::ops::Range<usize> = 16 * 1024..128 * 1024;

/// Room for the head of most requests with a client's certificate, bytes.
const HEAD: usize = 2048;

/// Sends a request and reads the head of its answer.
pub(super) async fn exchange(
    lent: Lent,
    outgoing: Outgoing,
    endpoint: &Endpoint,
    record: &mut Record,
) -> Result<AnswerHead, Failure> {
    let framing = match &outgoing.content {
        Content::None => Framing::None,
        Content::Stream {
            length: Some(length),
            ..
        } => Framing::Length(*length),
        Content::Stream { length: None, .. } => Framing::Chunked,
    };
    let mut lent = lent;
    // The memory of the request before, on this connection.
    let mut head = std::mem::take(&mut lent.connection.spare);
    head.clear();
    head.reserve(HEAD);
    let protocol = upgrade::WEBSOCKET;
    let hop = Hop {
        upgrade: outgoing.upgrade.as_ref().map(|_| &protocol),
        ..Hop::from(Persistence::KeepAlive)
    };
    encode::request(
        &mut head,
        &outgoing.method,
        &outgoing.target,
        &outgoing.headers,
        framing,
        hop,
    )
    .map_err(|error| Failure::Refused(UpstreamRefusal::Unwritable { what: error.code() }))?;

    let Outgoing { content, .. } = outgoing;
    let rest = Outgoing {
        content: Content::None,
        ..outgoing
    };
    let mut exchange = Exchange {
        lent,
        upload: Upload {
            head,
            piece: Bytes::new(),
            framing,
            sent: 0,
            taken: false,
            waits_for_client: false,
            state: UploadState::Reading,
        },
        content,
        patience: patience(endpoint),
    };
    let mut reader = ResponseReader::new(Limits::default());
    let (mut interim, mut attempted) = (0, false);
    let answer = loop {
        let read = std::future::poll_fn(|context| {
            let read = exchange.poll_head(&mut reader, context);
            if exchange.upload.sent > 0 && !std::mem::replace(&mut attempted, true) {
                record.attempted();
            }
            read
        })
        .await;
        match read {
            Ok(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                return switch(exchange, rest, head);
            }
            // 100 is ours to give and has been given; the others are dropped.
            Ok(head) if head.status.is_informational() => {
                interim += 1;
                if interim > MAX_INTERIM {
                    return Err(broken("too many interim answers"));
                }
            }
            Ok(head) => break head,
            // The connection was closed while it was kept: nobody has seen the request. What is wrong
            // with the request's own content is wrong on every connection.
            Err(refusal)
                if exchange.lent.connection.kept
                    && exchange.upload.is_untouched()
                    && !matches!(refusal, UpstreamRefusal::Content(_)) =>
            {
                let content = exchange.content;
                return Err(Failure::Untouched(Box::new(Outgoing { content, ..rest })));
            }
            Err(refusal) => return Err(Failure::Refused(refusal)),
        }
    };
    conclude(exchange, &rest, answer).map_err(Failure::Refused)
}

/// The upstream opens a WebSocket, if that is what it was asked for.
fn switch(
    exchange: Exchange,
    asked: Outgoing,
    mut head: ResponseHead,
) -> Result<AnswerHead, Failure> {
    let Some(upgrade) = asked.upgrade else {
        return Err(broken("it switched protocols unasked"));
    };
    let is_asked = upgrade::opens(&head.headers, &upgrade.accept)
        && upgrade::chooses_of(&head.headers, &asked.headers);
    if !is_asked {
        return Err(broken(
            "it opened another WebSocket than the one it was asked for",
        ));
    }
    // Whatever it names as for this hop alone, the client needs this one.
    headers::strip_hop_by_hop(&mut head.headers);
    head.headers.insert(SEC_WEBSOCKET_ACCEPT, upgrade.accept);
    let switched = Switched {
        lent: exchange.lent,
        route: upgrade.route,
    };
    Ok(AnswerHead {
        status: head.status,
        headers: head.headers,
        declared: None,
        content: AnswerContent::Switched(Box::new(switched)),
    })
}

fn broken(how: &'static str) -> Failure {
    Failure::Refused(UpstreamRefusal::Broken { how })
}

/// What follows the head.
fn conclude(
    exchange: Exchange,
    asked: &Outgoing,
    head: ResponseHead,
) -> Result<AnswerHead, UpstreamRefusal> {
    let broken = |_| UpstreamRefusal::Broken {
        how: "the framing of its answer is not unambiguous",
    };
    let framing = framing::response(&asked.method, &head).map_err(broken)?;
    let declared = match framing {
        Framing::Length(length) => Some(length),
        Framing::None => framing::content_length(&head.headers).map_err(broken)?,
        Framing::Chunked | Framing::UntilClose => None,
    };
    let keep = persistence(head.version, &head.headers) == Persistence::KeepAlive
        && framing != Framing::UntilClose
        // A proxy in between may speak WebSocket from here on, whatever its server answered.
        && asked.upgrade.is_none();
    let mut answer = Answer {
        exchange: Some(exchange),
        decoder: Decoder::new(framing, Limits::default()),
        keep,
    };
    let content = if answer.decoder.is_finished() {
        // What is still under way of the request is not wanted any more.
        answer.finish();
        AnswerContent::None
    } else {
        AnswerContent::Http1(Box::new(answer))
    };
    Ok(AnswerHead {
        status: head.status,
        headers: head.headers,
        declared,
        content,
    })
}

/// A request on its way up, on a connection that brings the answer down.
struct Exchange {
    lent: Lent,
    upload: Upload,
    content: Content,
    /// How long the upstream may do nothing.
    patience: Duration,
}

impl Exchange {
    /// Drives the request, then looks for the head of the answer.
    fn poll_head(
        &mut self,
        reader: &mut ResponseReader,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, UpstreamRefusal>> {
        if let Poll::Ready(Err(fault)) = self.poll_upload(context) {
            return Poll::Ready(Err(UpstreamRefusal::Content(fault)));
        }
        loop {
            match reader.read(&mut self.lent.connection.buffer) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(_) => {
                    return Poll::Ready(Err(UpstreamRefusal::Broken {
                        how: "the head of its answer is malformed",
                    }));
                }
            }
            match self.poll_fill(context) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(UpstreamRefusal::Broken {
                        how: "it closed the connection before it answered",
                    }));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(reset(&error))),
                Poll::Pending => {
                    ready!(self.poll_patience(context));
                    return Poll::Ready(Err(UpstreamRefusal::Timeout));
                }
            }
        }
    }

    /// Ends when the upstream has done nothing for as long as it may.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.upload.waits_for_client {
            self.lent.connection.timer.restart();
            return Poll::Pending;
        }
        self.lent.connection.timer.poll(self.patience, context)
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let connection = &mut self.lent.connection;
        let room = connection.read_next.clamp(READ.start, READ.end);
        connection.buffer.reserve(room);
        let read = ready!(poll_read_buf(
            Pin::new(&mut connection.transport),
            context,
            &mut connection.buffer
        ));
        connection.timer.restart();
        // What fills the room has more behind it.
        connection.read_next = match read {
            Ok(bytes) if bytes >= room => room * 2,
            _ => 0,
        };
        Poll::Ready(read)
    }

    /// Writes as much of the request as the upstream takes. Ends when all is written, or nobody
    /// takes it; an error is one of the client's content.
    fn poll_upload(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ContentFault>> {
        self.upload.waits_for_client = false;
        loop {
            match self.upload.state {
                UploadState::Done | UploadState::Deaf => return Poll::Ready(Ok(())),
                UploadState::Reading
                    if self.upload.piece.is_empty() && self.upload.head.len() <= SMALL =>
                {
                    match Pin::new(&mut self.content).poll_frame(context) {
                        Poll::Ready(Some(Ok(frame))) => {
                            self.upload.add(frame);
                            continue;
                        }
                        Poll::Ready(Some(Err(fault))) => return Poll::Ready(Err(fault)),
                        Poll::Ready(None) => self.upload.end(&HeaderMap::new()),
                        Poll::Pending if self.upload.head.is_empty() => {
                            self.upload.waits_for_client = true;
                            return Poll::Pending;
                        }
                        Poll::Pending => {}
                    }
                }
                UploadState::Reading | UploadState::Last => {}
            }
            ready!(self.poll_write(context));
        }
    }

    /// Writes what is at hand.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Connection {
            transport, timer, ..
        } = &mut self.lent.connection;
        while !self.upload.head.is_empty() || !self.upload.piece.is_empty() {
            let in_head = !self.upload.head.is_empty();
            let bytes = if in_head {
                &self.upload.head[..]
            } else {
                &self.upload.piece[..]
            };
            match ready!(Pin::new(&mut *transport).poll_write(context, bytes)) {
                Ok(written) if written > 0 => {
                    self.upload.sent += written as u64;
                    timer.restart();
                    if in_head {
                        self.upload.head.advance(written);
                    } else {
                        self.upload.piece.advance(written);
                        if self.upload.piece.is_empty() {
                            self.upload.end_chunk();
                        }
                    }
                }
                _ => {
                    self.upload.state = UploadState::Deaf;
                    return Poll::Ready(());
                }
            }
        }
        match ready!(Pin::new(transport).poll_flush(context)) {
            Ok(()) if self.upload.state == UploadState::Last => {
                self.upload.state = UploadState::Done;
            }
            Ok(()) => {}
            Err(_) => self.upload.state = UploadState::Deaf,
        }
        Poll::Ready(())
    }
}

/// A connection that broke before an answer: by TLS's word, or by TCP's.
fn reset(error: &std::io::Error) -> UpstreamRefusal {
    match refused(error) {
        untrusted @ UpstreamRefusal::Untrusted { .. } => untrusted,
        _ => UpstreamRefusal::Broken {
            how: "the connection broke before it answered",
        },
    }
}

/// The content of an answer. It owns the connection until the answer ends.
pub struct Answer {
    /// `None` once the answer has ended.
    exchange: Option<Exchange>,
    decoder: Decoder,
    keep: bool,
}

impl Answer {
    pub(super) fn is_finished(&self) -> bool {
        self.decoder.is_finished()
    }

    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let Some(exchange) = &mut self.exchange else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(Err(fault)) = exchange.poll_upload(context) {
            self.exchange = None;
            return Poll::Ready(Some(Err(AnswerFault::Content(fault))));
        }
        loop {
            match self.decoder.decode(&mut exchange.lent.connection.buffer) {
                Ok(Some(Part::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Some(Part::Trailers(mut trailers))) => {
                    headers::filter_trailers(&mut trailers);
                    self.finish();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Some(Part::End)) => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Ok(None) => {}
                Err(_) => {
                    self.exchange = None;
                    return Poll::Ready(Some(Err(AnswerFault::Broken)));
                }
            }
            let fault = match exchange.poll_fill(context) {
                Poll::Ready(Ok(0)) if self.decoder.eof().is_ok() => continue,
                Poll::Ready(Ok(0) | Err(_)) => AnswerFault::Broken,
                Poll::Ready(Ok(_)) => continue,
                Poll::Pending => {
                    ready!(exchange.poll_patience(context));
                    AnswerFault::Stalled
                }
            };
            self.exchange = None;
            return Poll::Ready(Some(Err(fault)));
        }
    }

    /// The answer has ended as its framing says. The connection goes back only if the request has
    /// ended too and nothing unasked for has come.
    fn finish(&mut self) {
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        let Exchange {
            mut lent, upload, ..
        } = exchange;
        if self.keep && upload.state == UploadState::Done && lent.connection.buffer.is_empty() {
            if upload.sent <= HEAD as u64 {
                lent.connection.spare = upload.head;
            }
            lent.give_back();
        }
    }
}
