//! An HTTP/2 client that holds its connection: hyper's, for what command-line clients cannot do.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::line::Caller;
use crate::wait::{OrFail, PATIENCE};

/// A connection for many requests.
#[derive(Debug)]
pub struct Streams {
    runtime: Runtime,
    sender: SendRequest<Content>,
    driver: JoinHandle<hyper::Result<()>>,
}

/// The content of a request.
#[derive(Debug, Default)]
pub struct Content {
    frames: VecDeque<Frame<Bytes>>,
    /// Whether nothing follows, not even the end.
    hangs: bool,
}

impl Content {
    /// One piece.
    #[must_use]
    pub fn of(bytes: impl Into<Bytes>) -> Content {
        Content {
            frames: VecDeque::from([Frame::data(bytes.into())]),
            hangs: false,
        }
    }

    /// With trailers.
    #[must_use]
    pub fn with_trailers(mut self, trailers: HeaderMap) -> Content {
        self.frames.push_back(Frame::trailers(trailers));
        self
    }

    /// Without an end.
    #[must_use]
    pub fn that_hangs(mut self) -> Content {
        self.hangs = true;
        self
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if self.hangs => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && !self.hangs
    }
}

impl Streams {
    /// Opens a connection.
    ///
    /// # Errors
    /// What TLS or HTTP/2 says.
    pub fn open(caller: &Caller) -> Result<Streams, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .or_fail("start a runtime");
        let caller = caller.clone().speaking("h2");
        let (sender, driver) = runtime.block_on(async {
            let stream = TcpStream::connect(caller.to()).await.map_err(text)?;
            let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(caller.tls()));
            let name = ServerName::try_from("api.test").or_fail("name the server");
            let stream = connector.connect(name, stream).await.map_err(text)?;
            let (sender, connection) = Builder::new(TokioExecutor::new())
                .handshake(TokioIo::new(stream))
                .await
                .map_err(text)?;
            Ok::<_, String>((sender, tokio::spawn(connection)))
        })?;
        Ok(Streams {
            runtime,
            sender,
            driver,
        })
    }

    /// Sends a request without content to `https://api.test` and brings its answer.
    ///
    /// # Errors
    /// What HTTP/2 says: of a stream that was reset, of a connection that ended.
    pub fn ask(&mut self, method: &str, path: &str) -> Result<Answer, String> {
        self.send(Request::builder().method(method), path, Content::default())
    }

    /// Sends a request with content and brings its answer.
    ///
    /// # Errors
    /// As [`Streams::ask`].
    pub fn send(
        &mut self,
        builder: http::request::Builder,
        path: &str,
        content: Content,
    ) -> Result<Answer, String> {
        let request = builder
            .uri(format!("https://api.test{path}"))
            .version(Version::HTTP_2)
            .body(content)
            .or_fail("make a request");
        let sender = &mut self.sender;
        let exchange = async move {
            sender.ready().await.map_err(text)?;
            let (head, body) = sender
                .send_request(request)
                .await
                .map_err(text)?
                .into_parts();
            let collected = body.collect().await.map_err(text)?;
            let trailers = collected.trailers().map(fields).unwrap_or_default();
            Ok(Answer {
                status: head.status.as_u16(),
                version: "HTTP/2".to_owned(),
                headers: fields(&head.headers),
                body: collected.to_bytes().to_vec(),
                trailers,
                whole: true,
                until_close: false,
            })
        };
        self.runtime.block_on(async {
            timeout(PATIENCE, exchange)
                .await
                .unwrap_or_else(|_| Err("nothing in time".to_owned()))
        })
    }

    /// Waits for the end of the connection, which is expected, and brings what it said.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn end(self) -> String {
        let Streams {
            runtime,
            sender,
            driver,
        } = self;
        let ended = runtime.block_on(async { timeout(PATIENCE, driver).await });
        drop(sender);
        match ended.or_fail("see the end of the connection") {
            Ok(Ok(())) => "closed".to_owned(),
            Ok(Err(error)) => text(error),
            Err(error) => text(error),
        }
    }
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect()
}

/// An error with its causes.
fn text(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
