//! A witness over HTTP/1.1 (C2SP tlog-witness): `POST /add-checkpoint`, and
//! `GET /<hash of an origin>/checkpoint` for monitors.
//!
//! Everything is bounded: connections, the head, the body, the time of each and of all. Anybody may ask;
//! what is refused costs a signature check at most. One thread serves, so requests are judged and
//! remembered one after the other, as the specification demands.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::merkle::note;
use crate::witness::{NotCosigned, Refusal, Witness};

/// Connections at once.
const CONNECTIONS: usize = 256;

/// For the head of a request, the pause before it included; and for its body.
const PATIENCE: Duration = Duration::from_secs(10);

/// For a connection, whatever is asked on it.
const LIFE: Duration = Duration::from_mins(1);

/// Bytes of a head.
const HEAD: usize = 16 * 1024;

/// Bytes of a body: the longest checkpoint, and the longest proof.
const BODY: usize = note::MAX_BYTES + 4096;

/// The type of the answer that holds a size (C2SP tlog-witness, "add-checkpoint").
const SIZE: &str = "text/x.tlog.size";

const TEXT: &str = "text/plain; charset=utf-8";

/// What the operator of a witness should know.
#[derive(Debug)]
pub enum Told {
    /// A log signed what is not proved to have grown from what it signed before.
    Unproved(Refusal),
    /// The state could not be written, or there is no time to sign with.
    Failed(NotCosigned),
}

/// Serves until the process ends. `tell` is called on this thread.
///
/// # Errors
/// What the operating system says when it cannot begin.
pub fn serve(
    listener: StdListener,
    tls: Option<TlsAcceptor>,
    witness: Witness,
    tell: impl Fn(Told) + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let house = Rc::new(House {
        witness: RefCell::new(witness),
        tell: Box::new(tell),
    });
    LocalSet::new().block_on(&runtime, async {
        accept(TcpListener::from_std(listener)?, tls, house).await;
        Ok(())
    })
}

/// What all connections share.
struct House {
    witness: RefCell<Witness>,
    tell: Box<dyn Fn(Told)>,
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, house: Rc<House>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptors are left, most likely: they come back when connections end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (tls, house) = (tls.clone(), Rc::clone(&house));
        tokio::task::spawn_local(async move {
            // A visitor that stalls or breaks off is nobody's loss.
            let _ = timeout(LIFE, connection(stream, tls, house)).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, house: Rc<House>) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => exchanges(stream, house).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(PATIENCE, tls.accept(stream)).await {
                exchanges(stream, house).await;
            }
        }
    }
}

async fn exchanges(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, house: Rc<House>) {
    let service = service_fn(move |request| {
        let house = Rc::clone(&house);
        async move { Ok::<_, Infallible>(house.answer(request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // What it could not read, it has answered.
    let _ = served.await;
}

impl House {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if path == "/add-checkpoint" {
            if request.method() != Method::POST {
                return not_allowed("POST");
            }
            let body = Limited::new(request.into_body(), BODY).collect();
            return match timeout(PATIENCE, body).await {
                Ok(Ok(body)) => self.add_checkpoint(&body.to_bytes()),
                Ok(Err(_)) => said(
                    StatusCode::BAD_REQUEST,
                    "the body is too long, or broken off",
                ),
                Err(_) => said(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
            };
        }
        let name = path
            .strip_prefix('/')
            .and_then(|path| path.strip_suffix("/checkpoint"));
        let Some(name) = name else {
            let there = "there are /add-checkpoint and /<SHA-256 of an origin>/checkpoint";
            return said(StatusCode::NOT_FOUND, there);
        };
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return not_allowed("GET, HEAD");
        }
        match self.witness.borrow().latest(name) {
            Some(note) => response(StatusCode::OK, TEXT, note.to_owned()),
            None => said(
                StatusCode::NOT_FOUND,
                "no checkpoint of this log was cosigned",
            ),
        }
    }

    fn add_checkpoint(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let judged = self.witness.borrow_mut().add_checkpoint(body, now);
        match judged {
            Ok(cosignature) => response(StatusCode::OK, TEXT, format!("{cosignature}\n")),
            Err(NotCosigned::Refused(Refusal::Conflict { size })) => {
                response(StatusCode::CONFLICT, SIZE, format!("{size}\n"))
            }
            Err(NotCosigned::Refused(refusal)) => {
                let status = StatusCode::from_u16(refusal.status());
                let status = status.unwrap_or(StatusCode::BAD_REQUEST);
                let answer = said(status, &refusal.to_string());
                if let Refusal::Unproved { .. } = refusal {
                    (self.tell)(Told::Unproved(refusal));
                }
                answer
            }
            Err(failed @ (NotCosigned::Store(_) | NotCosigned::Clock)) => {
                (self.tell)(Told::Failed(failed));
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                said(status, "nothing can be cosigned at the moment")
            }
        }
    }
}

fn said(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    response(status, TEXT, format!("{words}\n"))
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut answer = said(StatusCode::METHOD_NOT_ALLOWED, methods);
    let methods = HeaderValue::from_static(methods);
    answer.headers_mut().insert(ALLOW, methods);
    answer
}

fn response(status: StatusCode, kind: &'static str, content: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(content)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
