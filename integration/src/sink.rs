//! An upstream over HTTP/2 without TLS, by prior knowledge (RFC 9113 3.3), that says how much of each
//! request it got and whether the request came to its end.
//!
//! It keeps no content, and answers 200 to what ended.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::wait::{self, OrFail};

/// A request as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sunk {
    /// Its path.
    pub path: String,
    /// Bytes of content.
    pub length: u64,
    /// How it ended; nothing while it goes on.
    pub ended: Option<Ended>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// As it should.
    Whole,
    /// It was reset, or its connection ended.
    Cut,
}

/// An upstream that serves until it is dropped.
#[derive(Debug)]
pub struct Sink {
    seen: Arc<Mutex<Vec<Sunk>>>,
    _runtime: Runtime,
}

impl Sink {
    /// Listens at this address.
    #[track_caller]
    pub fn start(address: SocketAddr) -> Sink {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .or_fail("start a runtime");
        let listener = runtime.block_on(TcpListener::bind(address));
        let listener = listener.or_fail("bind the upstream");
        let seen = Arc::default();
        runtime.spawn(accept(listener, Arc::clone(&seen)));
        Sink {
            seen,
            _runtime: runtime,
        }
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Sunk> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    /// Waits until a request for this path has ended, and brings it.
    #[track_caller]
    pub fn await_end(&self, path: &str) -> Sunk {
        wait::until("the end of a request at the upstream", || {
            let mut seen = self.seen().into_iter();
            seen.find(|sunk| sunk.path == path && sunk.ended.is_some())
        })
    }
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Vec<Sunk>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&seen)));
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Sunk>>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(take(request, respond, Arc::clone(&seen)));
    }
}

async fn take(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    seen: Arc<Mutex<Vec<Sunk>>>,
) {
    let (head, mut body) = request.into_parts();
    let number = {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(Sunk {
            path: head.uri.path().to_owned(),
            ..Sunk::default()
        });
        seen.len() - 1
    };
    let update = |change: &dyn Fn(&mut Sunk)| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut seen[number]);
    };
    let ended = loop {
        match body.data().await {
            Some(Ok(data)) => {
                // A window that cannot be given back belongs to a stream that is gone.
                let _ = body.flow_control().release_capacity(data.len());
                update(&|sunk| sunk.length += data.len() as u64);
            }
            Some(Err(_)) => break Ended::Cut,
            None => match body.trailers().await {
                Ok(_) => break Ended::Whole,
                Err(_) => break Ended::Cut,
            },
        }
    };
    update(&|sunk| sunk.ended = Some(ended.clone()));
    if ended == Ended::Whole {
        // Whoever is gone needs no answer.
        let _ = respond.send_response(Response::new(()), true);
    }
}
