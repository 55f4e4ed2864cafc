//! One request after the other on an HTTP/1.1 connection (RFC 9112), by the codec of the project.
//!
//! The bytes of a request are made once for a run. What this file does not do: no pipelining, and
//! the content of an answer is counted and dropped.

use crate::fault::Fault;
use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method};
use http1::body::{Decoder, Frame};
use http1::connection::{Persistence, persistence};
use http1::encode::{self, EncodeError};
use http1::framing::{self, Framing};
use http1::{Limits, ResponseHead, ResponseReader};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Interim responses to one request, at most.
const MAX_INTERIM: u8 = 8;

/// How much of a body is handed to TLS at once.
const PIECE: usize = 64 * 1024;

/// A request that is sent again and again.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: Method,
    head: Bytes,
    /// Bytes of the body, all of them zero.
    body: u64,
}

/// What came back, always a 2xx and whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Bytes of the body.
    pub(crate) body: u64,
    /// Whether another request may follow.
    pub(crate) persistence: Persistence,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    input: BytesMut,
    reader: ResponseReader,
    read_size: usize,
}

impl Request {
    /// A GET.
    pub(crate) fn get(authority: &HeaderValue, target: &str) -> Result<Self, EncodeError> {
        Self::new(Method::GET, authority, target, Framing::None, 0)
    }

    /// A POST of this many bytes.
    pub(crate) fn post(
        authority: &HeaderValue,
        target: &str,
        body: u64,
    ) -> Result<Self, EncodeError> {
        Self::new(Method::POST, authority, target, Framing::Length(body), body)
    }

    fn new(
        method: Method,
        authority: &HeaderValue,
        target: &str,
        framing: Framing,
        body: u64,
    ) -> Result<Self, EncodeError> {
        let headers = HeaderMap::from_iter([(HOST, authority.clone())]);
        let mut head = BytesMut::new();
        let hop = Persistence::KeepAlive.into();
        encode::request(
            &mut head,
            &method,
            target.as_bytes(),
            &headers,
            framing,
            hop,
        )?;
        Ok(Self {
            method,
            head: head.freeze(),
            body,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection on which nothing was sent yet. `read_size` is how many bytes are read at once.
    pub(crate) fn new(stream: S, read_size: usize) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            reader: ResponseReader::new(Limits::default()),
            read_size,
        }
    }

    /// Sends a request and reads its answer. `passed` is told of the bytes of the bodies, either
    /// way, as they pass. After a fault the connection is of no further use.
    pub(crate) async fn exchange(
        &mut self,
        request: &Request,
        passed: impl Fn(u64),
    ) -> Result<Answer, Fault> {
        match self.send(request, &passed).await {
            Ok(()) => self.answer(&request.method, &passed).await,
            // A server may refuse a body before it has read it, and close (RFC 9112 9.5).
            Err(error) => match self.answer(&request.method, &passed).await {
                Err(status @ Fault::Status(_)) => Err(status),
                Ok(_) | Err(_) => Err(Fault::Broken(error)),
            },
        }
    }

    /// Ends the connection in good order: close_notify (RFC 8446 6.1), then FIN.
    pub(crate) async fn close(mut self) {
        // The answer is in hand; a server that was faster to close has broken nothing.
        let _ = self.stream.shutdown().await;
    }

    async fn send(&mut self, request: &Request, passed: impl Fn(u64)) -> io::Result<()> {
        static ZEROS: [u8; PIECE] = [0; PIECE];
        self.stream.write_all(&request.head).await?;
        let mut left = request.body;
        while left > 0 {
            let piece = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            self.stream.write_all(&ZEROS[..piece]).await?;
            left -= piece as u64;
            passed(piece as u64);
        }
        self.stream.flush().await
    }

    async fn answer(&mut self, method: &Method, passed: impl Fn(u64)) -> Result<Answer, Fault> {
        let head = self.final_head().await?;
        if !head.status.is_success() {
            return Err(Fault::Status(head.status));
        }
        let framing = framing::response(method, &head).map_err(Fault::Http1)?;
        let mut decoder = Decoder::new(framing, Limits::default());
        let mut body = 0;
        loop {
            match decoder.decode(&mut self.input).map_err(Fault::Http1)? {
                Some(Frame::Data(data)) => {
                    body += data.len() as u64;
                    passed(data.len() as u64);
                }
                Some(Frame::Trailers(_)) => {}
                Some(Frame::End) => break,
                None => {
                    if !self.fill().await? {
                        decoder.eof().map_err(|_| Fault::Closed)?;
                    }
                }
            }
        }
        let persistence = if framing == Framing::UntilClose {
            Persistence::Close
        } else {
            persistence(head.version, &head.headers)
        };
        Ok(Answer { body, persistence })
    }

    async fn final_head(&mut self) -> Result<ResponseHead, Fault> {
        for _ in 0..=MAX_INTERIM {
            let head = loop {
                if let Some(head) = self.reader.read(&mut self.input).map_err(Fault::Http1)? {
                    break head;
                }
                if !self.fill().await? {
                    return Err(Fault::Closed);
                }
            };
            if !head.status.is_informational() {
                return Ok(head);
            }
        }
        Err(Fault::Interim)
    }

    /// Reads more; `false` at the end of the stream.
    async fn fill(&mut self) -> Result<bool, Fault> {
        self.input.reserve(self.read_size);
        let read = self.stream.read_buf(&mut self.input).await;
        read.map(|bytes| bytes > 0).map_err(Fault::Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::io::{DuplexStream, duplex};

    fn authority() -> HeaderValue {
        HeaderValue::from_static("localhost:8443")
    }

    /// What one GET comes to when the server says this and closes.
    async fn answered(said: &str) -> Result<Answer, Fault> {
        let (mut server, client) = duplex(64 * 1024);
        server.write_all(said.as_bytes()).await.unwrap();
        server.shutdown().await.unwrap();
        let request = Request::get(&authority(), "/").unwrap();
        Connection::new(client, 7).exchange(&request, |_| ()).await
    }

    async fn received(server: &mut DuplexStream, length: usize) -> String {
        let mut bytes = vec![0; length];
        server.read_exact(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_read_however_it_is_delimited() {
        let rows = [
            ("content-length: 5\r\n\r\nhello", 5, Persistence::KeepAlive),
            (
                "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                5,
                Persistence::KeepAlive,
            ),
            ("\r\nto the end", 10, Persistence::Close),
            ("content-length: 0\r\n\r\n", 0, Persistence::KeepAlive),
            (
                "content-length: 1\r\nconnection: close\r\n\r\n.",
                1,
                Persistence::Close,
            ),
        ];
        for (rest, body, persistence) in rows {
            let answer = answered(&format!("HTTP/1.1 200 OK\r\n{rest}")).await;
            let expected = Answer { body, persistence };
            assert_eq!(answer.unwrap(), expected, "{rest:?}");
        }
    }

    #[tokio::test]
    async fn an_interim_response_is_passed_over_but_not_for_ever() {
        let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
        let end = "HTTP/1.1 204 No Content\r\n\r\n";
        let few = interim.repeat(8) + end;
        assert_eq!(answered(&few).await.unwrap().body, 0);
        let many = interim.repeat(9) + end;
        assert!(matches!(answered(&many).await, Err(Fault::Interim)));
    }

    #[tokio::test]
    async fn an_answer_that_is_no_2xx_is_a_fault() {
        for status in [199, 301, 404, 503] {
            let said = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            match answered(&said).await {
                Err(Fault::Status(found)) => assert_eq!(found.as_u16(), status),
                Err(Fault::Closed) if status == 199 => {}
                other => panic!("{status}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_was_cut_short_is_a_fault() {
        for said in [
            "",
            "HTTP/1.1 200",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ] {
            assert!(
                matches!(answered(said).await, Err(Fault::Closed)),
                "{said:?}"
            );
        }
    }

    #[tokio::test]
    async fn an_answer_that_can_be_read_in_two_ways_is_a_fault() {
        let said = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab";
        assert!(matches!(answered(said).await, Err(Fault::Http1(_))));
    }

    #[tokio::test]
    async fn a_connection_is_used_again_and_each_byte_is_told_once() {
        let (mut server, client) = duplex(1 << 20);
        let get = Request::get(&authority(), "/bytes/3").unwrap();
        let post = Request::post(&authority(), "/upload", 100_000).unwrap();
        let mut connection = Connection::new(client, 4096);
        let passed = Cell::new(0);
        let count = |bytes| passed.set(passed.get() + bytes);

        server
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")
            .await
            .unwrap();
        assert_eq!(connection.exchange(&get, count).await.unwrap().body, 3);
        let head = "GET /bytes/3 HTTP/1.1\r\nhost: localhost:8443\r\n\r\n";
        assert_eq!(received(&mut server, head.len()).await, head);
        assert_eq!(passed.get(), 3);

        server
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(connection.exchange(&post, count).await.unwrap().body, 0);
        assert_eq!(passed.get(), 3 + 100_000);
        let head =
            "POST /upload HTTP/1.1\r\nhost: localhost:8443\r\ncontent-length: 100000\r\n\r\n";
        assert_eq!(received(&mut server, head.len()).await, head);
        assert_eq!(
            received(&mut server, 100_000).await.trim_end_matches('\0'),
            ""
        );
        connection.close().await;
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_body_that_is_refused_early_is_told_by_its_status() {
        let (mut server, client) = duplex(128);
        server
            .write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        drop(server);
        let post = Request::post(&authority(), "/upload", 100_000).unwrap();
        let outcome = Connection::new(client, 4096).exchange(&post, |_| ()).await;
        assert!(
            matches!(outcome, Err(Fault::Status(status)) if status.as_u16() == 413),
            "{outcome:?}"
        );
    }
}
