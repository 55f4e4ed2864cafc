//! A TCP connection to a host by its name: to an upstream, or to whoever publishes revocation lists. How long
//! that may take is the caller's to bound.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use config::Authority;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Looks up names for one who connects, one at a time: while a resolver hangs, lookups must not pile up.
#[derive(Debug)]
pub(crate) struct Resolver {
    turn: Arc<Semaphore>,
}

impl Resolver {
    /// It has nothing to look up yet.
    pub(crate) fn new() -> Resolver {
        Resolver {
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let turn = turn.map_err(io::Error::other)?;
        let host = host.to_owned();
        // Whoever asked may give up; the lookup cannot, and keeps its turn until it has ended.
        let lookup = tokio::task::spawn_local(async move {
            let found = tokio::net::lookup_host((host.as_str(), port)).await;
            let found = found.map(|addresses| addresses.take(MAX_ADDRESSES).collect());
            drop(turn);
            found
        });
        lookup.await.map_err(io::Error::other)?
    }
}

/// No more addresses of one name are tried.
const MAX_ADDRESSES: usize = 16;

/// Connects to the first of the addresses of a host that takes a connection.
///
/// # Errors
/// The operating system's, of the last address that was tried.
pub(crate) async fn dial(authority: &Authority, resolver: &Resolver) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = if let Some(address) = authority.host.address() {
        vec![SocketAddr::new(address, authority.port)]
    } else if authority.host.is_loopback() {
        // Whatever a resolver says of it, this name means this machine (RFC 6761 6.3).
        [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ]
        .map(|ip| SocketAddr::new(ip, authority.port))
        .into()
    } else {
        resolver
            .resolve(authority.host.as_str(), authority.port)
            .await?
    };
    let mut last = io::ErrorKind::NotFound.into();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
