//! HTTP/1.1 over connections that may be slow, silent or hostile: a limit on everything, one deadline
//! on each phase. What is answered is others' business.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// From where.
    pub(crate) address: IpAddr,
    /// The certificate whose key it holds, DER, if it showed one.
    pub(crate) certificate: Option<Vec<u8>>,
}

/// What is sent back.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Connections at once. Others wait in the backlog of the operating system.
const CONNECTIONS: usize = 256;
/// Of these, from one address: a quarter, because a whole clinic may be behind one.
const FROM_ADDRESS: usize = CONNECTIONS / 4;
/// Longest head of a request in octets, and what hyper buffers at least.
const HEAD_OCTETS: usize = 8192;
/// Most header lines of a request.
const HEAD_LINES: usize = 64;
/// For a head to arrive, and how long a connection may wait for its next request.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// For a body to arrive and its answer to be found.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// After this a connection is told to end with the answer that it is at.
const LIFE: Duration = Duration::from_mins(1);
/// So long a last answer may take: a CRL of some megabytes to a slow reader.
const LAST_ANSWER: Duration = Duration::from_mins(1);
/// So long a client is listened to behind its last answer, and so much of it is thrown away at a time and in
/// all. Closed at once, what it still sends would be met with a reset, and that can destroy an answer
/// that it has not read yet (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 16 * 1024;
const LINGER_READS: usize = 256;
/// So long connections are waited for when the program is to end.
const DRAIN: Duration = Duration::from_secs(10);

/// Accepts connections until `ends` says so, then waits for those that are there.
///
/// With `tls` a connection begins with a handshake, as it is then, which has as long as a head.
pub(crate) async fn accept<A, F>(
    listener: TcpListener,
    tls: Option<watch::Receiver<TlsAcceptor>>,
    mut ends: watch::Receiver<bool>,
    answer: A,
) where
    A: Fn(Request<Incoming>, Peer) -> F + Clone + 'static,
    F: Future<Output = Answer> + 'static,
{
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let addresses = Addresses::default();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = ends.wait_for(|ends| *ends) => break,
            accepted = next(&listener, &permits) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Some((stream, from, permit)) = accepted else {
            // Out of descriptors, most likely: others must end first.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some(share) = addresses.share(from) else {
            continue;
        };
        let (ends, answer) = (ends.clone(), answer.clone());
        let tls = tls.as_ref().map(|tls| tls.borrow().clone());
        connections.spawn_local(async move {
            // What is small goes out at once.
            let _ = stream.set_nodelay(true);
            let mut peer = Peer {
                address: from,
                certificate: None,
            };
            match tls {
                None => serve(stream, peer, ends, answer).await,
                Some(tls) => {
                    let shaken = timeout(HEAD_PATIENCE, tls.accept(stream)).await;
                    if let Ok(Ok(stream)) = shaken {
                        let shown = stream.get_ref().1.peer_certificates();
                        peer.certificate = shown.and_then(<[_]>::first).map(|der| der.to_vec());
                        serve(stream, peer, ends, answer).await;
                    }
                }
            }
            drop((share, permit));
        });
    }
    drop(listener);
    let _ = timeout(DRAIN, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
}

/// A permit first, then a connection.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    let (stream, from) = listener.accept().await.ok()?;
    Some((stream, from.ip(), permit))
}

async fn serve<S, A, F>(mut stream: S, peer: Peer, mut ends: watch::Receiver<bool>, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Fn(Request<Incoming>, Peer) -> F,
    F: Future<Output = Answer>,
{
    let service = service_fn(move |request| {
        let answer = answer(request, peer.clone());
        async move {
            let answered = timeout(REQUEST_PATIENCE, answer).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|_| too_slow()))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_OCTETS)
        .max_headers(HEAD_LINES)
        .serve_connection(TokioIo::new(&mut stream), service);
    // How a connection breaks off is its client's business.
    {
        let mut connection = std::pin::pin!(connection);
        let done = tokio::select! {
            _ = connection.as_mut() => true,
            _ = ends.wait_for(|ends| *ends) => false,
            () = sleep(LIFE) => false,
        };
        if !done {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(LAST_ANSWER, connection).await;
        }
    }
    let _ = timeout(LINGER, linger(&mut stream)).await;
}

/// Says that nothing more comes, then reads and forgets, up to a bound, until the client closes.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    // It is closed already behind a whole answer.
    let _ = stream.shutdown().await;
    let mut sink = vec![0; LINGER_OCTETS];
    for _ in 0..LINGER_READS {
        if stream.read(&mut sink).await? == 0 {
            break;
        }
    }
    Ok(())
}

fn too_slow() -> Answer {
    let mut answer = Response::new(Full::from("too slow\n"));
    *answer.status_mut() = StatusCode::REQUEST_TIMEOUT;
    answer
}

/// How many connections each address has.
#[derive(Default, Clone)]
struct Addresses {
    counts: Rc<RefCell<HashMap<IpAddr, usize>>>,
}

/// One of an address's connections, until it is dropped.
struct Share {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    /// `None` if the address has as many as it may.
    fn share(&self, address: IpAddr) -> Option<Share> {
        let address = network_of(address);
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(address).or_default();
        if *count >= FROM_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Share {
            addresses: self.clone(),
            address,
        })
    }
}

/// What counts as one: of IPv6 the first 64 bits, because one host has all that follow (RFC 6177).
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [first, second, third, fourth, ..] = v6.segments();
            IpAddr::from([first, second, third, fourth, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts.borrow_mut();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_of_ipv6_has_one_share_whichever_address_it_takes() {
        let addresses = Addresses::default();
        let host = |number: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, number]);
        let shares: Vec<_> = (1..)
            .take(FROM_ADDRESS)
            .map(|number| addresses.share(host(number)).unwrap())
            .collect();
        assert!(addresses.share(host(9999)).is_none());
        assert!(
            addresses
                .share("2001:db8:0:2::1".parse().unwrap())
                .is_some()
        );
        drop(shares);
        assert!(addresses.counts.borrow().is_empty());
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let addresses = Addresses::default();
        let address = IpAddr::from([127, 0, 0, 1]);
        let shares: Vec<_> = (0..FROM_ADDRESS)
            .map(|_| addresses.share(address).unwrap())
            .collect();
        assert!(addresses.share(address).is_none());
        assert!(addresses.share(IpAddr::from([127, 0, 0, 2])).is_some());
        drop(shares);
        assert!(addresses.counts.borrow().is_empty());
    }
}
