//! One exchange with a server over HTTP/1.1: plain, or over TLS with the roots that the caller brings.
//!
//! The answer is bounded, and whoever calls sets the deadline around it. Redirections are not followed,
//! no proxy is asked, no cookie kept.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// No content of an answer is longer than this, bytes.
const CONTENT: usize = 512 * 1024;

/// Where a server is.
#[derive(Clone)]
pub struct Server {
    /// Its name or address, an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What stands before each path: empty, or `/` and more, without a slash at the end.
    pub prefix: String,
    /// How TLS is spoken, and the name that its certificate must hold; without it, HTTP goes plain.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its `Content-Type`, if it is text.
    pub content_type: Option<String>,
    /// Its content.
    pub content: Bytes,
}

impl Server {
    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Posts `content` to a path.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub async fn post(&self, path: &str, content: String) -> Result<Answer, ExchangeError> {
        self.exchange(Method::POST, path, content).await
    }

    /// Gets what stands at a path.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub async fn get(&self, path: &str) -> Result<Answer, ExchangeError> {
        self.exchange(Method::GET, path, String::new()).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        content: String,
    ) -> Result<Answer, ExchangeError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(HOST, self.authority())
            .body(Full::new(Bytes::from(content)))
            .map_err(|_| ExchangeError::Address)?;
        let connected = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = connected.map_err(ExchangeError::Connect)?;
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => send(stream, request).await,
            Some((config, name)) => {
                let tls = TlsConnector::from(Arc::clone(config));
                let stream = tls.connect(name.clone(), stream).await;
                send(stream.map_err(ExchangeError::Tls)?, request).await
            }
        }
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<Answer, ExchangeError> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(ExchangeError::Http)?;
    let exchange = async {
        let answer = sender.send_request(request).await;
        let (head, body) = answer.map_err(ExchangeError::Http)?.into_parts();
        let content = Limited::new(body, CONTENT).collect().await;
        let content = content.map_err(|_| ExchangeError::Content)?.to_bytes();
        let content_type = head.headers.get(CONTENT_TYPE);
        let content_type = content_type.and_then(|kind| kind.to_str().ok());
        Ok(Answer {
            status: head.status.as_u16(),
            content_type: content_type.map(str::to_owned),
            content,
        })
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection moves the bytes; it may end before the answer was taken out of it.
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(ExchangeError::Http(error)),
        },
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ExchangeError {
    /// The address cannot be asked for.
    Address,
    /// There is no connection.
    Connect(io::Error),
    /// The server is not the one that it should be, or speaks no TLS of ours.
    Tls(io::Error),
    /// What is spoken there is not HTTP, or broke off.
    Http(hyper::Error),
    /// The answer is too long, or broke off.
    Content,
    /// It took too long.
    Slow,
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExchangeError::Address => f.write_str("the address cannot be asked for"),
            ExchangeError::Connect(error) => write!(f, "cannot connect: {error}"),
            ExchangeError::Tls(error) => write!(f, "no TLS: {error}"),
            ExchangeError::Http(error) => write!(f, "no HTTP: {error}"),
            ExchangeError::Content => f.write_str("the answer is too long, or broke off"),
            ExchangeError::Slow => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for ExchangeError {}
