//! One connection to an upstream: TCP, a Unix socket, or TLS with pinned roots.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use config::Protocol as Wanted;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::UpstreamRefusal;
use crate::dial::{Resolver, dial};
use crate::endpoint::{Address, Endpoint, Security};
use crate::peer::Protocol;
use crate::tls::ALPN;

/// As ALPN names it (RFC 7301 section 6).
const HTTP1: &[u8] = b"http/1.1";

/// A connection, and what is spoken on it.
pub(super) async fn connect(
    endpoint: &Endpoint,
    resolver: &Resolver,
) -> Result<(Transport, Protocol), UpstreamRefusal> {
    tokio::time::timeout(endpoint.connect, open(endpoint, resolver))
        .await
        .unwrap_or(Err(UpstreamRefusal::ConnectTimeout))
}

/// A connection on which HTTP/1.1 is spoken, also where another protocol is preferred.
pub(super) async fn connect_http1(
    endpoint: &Endpoint,
    resolver: &Resolver,
) -> Result<Transport, UpstreamRefusal> {
    let opened = tokio::time::timeout(
        endpoint.connect,
        open_as(endpoint, resolver, Wanted::Http11),
    );
    let opened = opened.await.unwrap_or(Err(UpstreamRefusal::ConnectTimeout));
    opened.map(|(transport, _)| transport)
}

async fn open(
    endpoint: &Endpoint,
    resolver: &Resolver,
) -> Result<(Transport, Protocol), UpstreamRefusal> {
    open_as(endpoint, resolver, endpoint.protocol).await
}

async fn open_as(
    endpoint: &Endpoint,
    resolver: &Resolver,
    wanted: Wanted,
) -> Result<(Transport, Protocol), UpstreamRefusal> {
    let unreachable = |error: io::Error| UpstreamRefusal::Unreachable {
        error: error.kind(),
    };
    let plain = match wanted {
        Wanted::Http2 => Protocol::Http2,
        Wanted::Http11 | Wanted::Alpn => Protocol::Http1,
    };
    let tcp = match &endpoint.address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(unreachable)?;
            return Ok((Transport::Unix(stream), plain));
        }
        Address::Tcp(authority) => dial(authority, resolver).await.map_err(unreachable)?,
    };
    let Security::Tls { config, name } = &endpoint.security else {
        return Ok((Transport::Tcp(tcp), plain));
    };
    let config = match (endpoint.protocol, wanted) {
        (Wanted::Alpn | Wanted::Http2, Wanted::Http11) => {
            let mut config = (**config).clone();
            config.alpn_protocols = vec![HTTP1.to_vec()];
            Arc::new(config)
        }
        _ => Arc::clone(config),
    };
    let connector = tokio_rustls::TlsConnector::from(config);
    let stream = connector
        .connect(name.clone(), tcp)
        .await
        .map_err(|error| refused(&error))?;
    let chosen = stream.get_ref().1.alpn_protocol();
    let protocol = match (wanted, chosen) {
        (Wanted::Http11, _) => Protocol::Http1,
        (_, Some(chosen)) => ALPN
            .iter()
            .find(|(name, _)| *name == chosen)
            .map_or(Protocol::Http1, |(_, protocol)| *protocol),
        (Wanted::Http2, None) => Protocol::Http2,
        (Wanted::Alpn, None) => Protocol::Http1,
    };
    Ok((Transport::Tls(Box::new(stream)), protocol))
}

/// What a failed handshake says. The library's words name no secret.
pub(super) fn refused(error: &io::Error) -> UpstreamRefusal {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(tls) => {
            let mut reason = tls.to_string();
            reason.truncate(reason.floor_char_boundary(200));
            UpstreamRefusal::Untrusted {
                reason: reason.into(),
            }
        }
        None => UpstreamRefusal::Unreachable {
            error: error.kind(),
        },
    }
}

/// The bytes of a connection.
#[derive(Debug)]
pub(super) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Whether a connection that nothing is expected on is still of use: it is not when the other
    /// side has closed it, or has said something that nobody asked for.
    pub(super) fn is_quiet(&mut self, context: &mut Context<'_>) -> bool {
        let mut byte = [0];
        Pin::new(self)
            .poll_read(context, &mut ReadBuf::new(&mut byte))
            .is_pending()
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Transport::Unix(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
