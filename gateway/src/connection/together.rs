//! HTTP/2's frames of one wake-up leave together.
//!
//! hyper flushes after each answer. Here that does nothing: whoever polls the connection flushes once
//! after it, so that the answers of one batch of the audit log share records and one system call.
//! What this file does not do: it holds nothing back. What is written leaves in the same poll, or as
//! soon as the socket takes it.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::stream::TlsStream;

/// A handle on a connection. Each method borrows it for the length of one poll.
#[derive(Clone)]
pub(super) struct Together(Rc<RefCell<TlsStream<TcpStream>>>);

impl Together {
    pub(super) fn new(stream: TlsStream<TcpStream>) -> Together {
        Together(Rc::new(RefCell::new(stream)))
    }

    /// Polls what writes to the connection, and sends what it wrote.
    pub(super) fn poll_with<T>(
        &self,
        context: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let polled = poll(context);
        // A socket that is full wakes us; one that is broken shows it to whoever reads or writes next.
        let _ = Pin::new(&mut *self.0.borrow_mut()).poll_flush(context);
        polled
    }
}

impl AsyncRead for Together {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Together {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(context)
    }
}
