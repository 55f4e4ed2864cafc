//! A connection to an upstream that became a WebSocket. It is of use to nobody else afterwards.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pool::Lent;
use crate::route::RouteEntry;

/// The upstream's end of a tunnel. What came behind the head of its answer is read first.
#[derive(Debug)]
pub struct Switched {
    pub(super) lent: Lent,
    pub(super) route: Arc<RouteEntry>,
}

impl Switched {
    /// The route that opened it.
    pub fn route(&self) -> &Arc<RouteEntry> {
        &self.route
    }
}

impl AsyncRead for Switched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = &mut self.lent.connection;
        if connection.buffer.is_empty() {
            ready!(Pin::new(&mut connection.transport).poll_read(context, out))?;
        } else {
            let length = connection.buffer.len().min(out.remaining());
            out.put_slice(&connection.buffer[..length]);
            connection.buffer.advance(length);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Switched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lent.connection.transport).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lent.connection.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lent.connection.transport).poll_shutdown(context)
    }
}
