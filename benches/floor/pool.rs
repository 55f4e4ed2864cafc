//! Kept connections to the one backend, the one that was used last first.
//!
//! What this file does not do: it never closes one, and there is no limit.

use hyper::Response;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

/// The connections on which nothing is under way.
#[derive(Debug)]
pub(crate) struct Pool {
    backend: SocketAddr,
    idle: RefCell<Vec<SendRequest<Incoming>>>,
}

impl Pool {
    /// None yet.
    pub(crate) fn new(backend: SocketAddr) -> Rc<Self> {
        Rc::new(Self {
            backend,
            idle: RefCell::default(),
        })
    }

    /// A connection that takes a request.
    pub(crate) async fn take(&self) -> io::Result<SendRequest<Incoming>> {
        loop {
            let kept = self.idle.borrow_mut().pop();
            let Some(mut kept) = kept else {
                return self.open().await;
            };
            // It is ready a moment after its last answer was read.
            if kept.is_ready() || kept.ready().await.is_ok() {
                return Ok(kept);
            }
        }
    }

    async fn open(&self) -> io::Result<SendRequest<Incoming>> {
        let stream = TcpStream::connect(self.backend).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // What ends it is seen by whoever sends on it.
        spawn_local(connection);
        Ok(sender)
    }
}

/// The body of an answer, which gives its connection back when it ends.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Incoming,
    place: Option<(Rc<Pool>, SendRequest<Incoming>)>,
}

impl Answer {
    /// What was answered on a connection of this pool.
    pub(crate) fn new(
        response: Response<Incoming>,
        pool: Rc<Pool>,
        connection: SendRequest<Incoming>,
    ) -> Response<Self> {
        response.map(|body| {
            let mut answer = Self {
                body,
                place: Some((pool, connection)),
            };
            answer.settle();
            answer
        })
    }

    fn settle(&mut self) {
        if self.body.is_end_stream()
            && let Some((pool, connection)) = self.place.take()
        {
            pool.idle.borrow_mut().push(connection);
        }
    }
}

impl Body for Answer {
    type Data = <Incoming as Body>::Data;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.settle();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
