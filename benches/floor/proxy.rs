//! Accepts, and hands each request on.
//!
//! What this file does not do: it strips no field but those of one connection (RFC 9110 7.6.1)
//! where HTTP/2 does not allow them, and adds none but Host.

use crate::pool::{Answer, Pool};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

/// Serves until the process ends.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    backend: SocketAddr,
) -> io::Result<()> {
    let pool = Pool::new(backend);
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, pool) = (acceptor.clone(), Rc::clone(&pool));
        spawn_local(async move {
            // A client that leaves or proves nothing loses its connection and nothing else.
            let _ = converse(stream, &acceptor, pool).await;
        });
    }
}

async fn converse(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    pool: Rc<Pool>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    let service = service_fn(move |request| forward(request, Rc::clone(&pool)));
    if is_http2 {
        let server = http2::Builder::new(Local);
        server.serve_connection(stream, service).await?;
    } else {
        let server = http1::Builder::new();
        server.serve_connection(stream, service).await?;
    }
    Ok(())
}

async fn forward(
    mut request: Request<Incoming>,
    pool: Rc<Pool>,
) -> Result<Response<Answer>, Box<dyn Error + Send + Sync>> {
    let is_http2 = request.version() == Version::HTTP_2;
    if is_http2 {
        // HTTP/1.1 has the authority in Host and the path alone in its first line.
        let uri = std::mem::take(request.uri_mut()).into_parts();
        if let Some(authority) = uri.authority {
            let host = HeaderValue::from_str(authority.as_str())?;
            request.headers_mut().insert(HOST, host);
        }
        *request.uri_mut() = uri.path_and_query.map_or_else(Uri::default, Uri::from);
        *request.version_mut() = Version::HTTP_11;
    }
    let mut connection = pool.take().await?;
    let mut response = connection.send_request(request).await?;
    if is_http2 {
        response.headers_mut().remove(CONNECTION);
        *response.version_mut() = Version::HTTP_2;
    }
    Ok(Answer::new(response, pool, connection))
}

/// Runs what hyper spawns on this thread.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
