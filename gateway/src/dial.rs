//! A TCP connection to a host by its name: to an upstream, or to whoever publishes revocation lists. How long
//! that may take is the caller's to bound.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::Authority;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Looks up names for one who connects, one at a time: while a resolver hangs, lookups must not pile up.
#[derive(Debug)]
pub(crate) struct Resolver {
    turn: Arc<Semaphore>,
    keeps: Duration,
    last: Arc<Mutex<Option<Found>>>,
}

/// The addresses of a host, as they were found.
#[derive(Debug, Clone)]
struct Found {
    host: String,
    addresses: Vec<SocketAddr>,
    at: Instant,
}

impl Resolver {
    /// It has nothing to look up yet, and looks up each time.
    pub(crate) fn new() -> Resolver {
        Resolver::keeping(Duration::ZERO)
    }

    /// It keeps the addresses of the host that it looked up last for so long, or until none of them takes a connection.
    pub(crate) fn keeping(keeps: Duration) -> Resolver {
        Resolver {
            turn: Arc::new(Semaphore::new(1)),
            keeps,
            last: Arc::default(),
        }
    }

    /// What is kept of a host.
    fn kept(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let mut last = lock(&self.last);
        let is_kept = |found: &&mut Found| found.host == host && found.at.elapsed() < self.keeps;
        let found = last.as_mut().filter(is_kept)?;
        for address in &mut found.addresses {
            address.set_port(port);
        }
        Some(found.addresses.clone())
    }

    fn forget(&self) {
        *lock(&self.last) = None;
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Some(kept) = self.kept(host, port) {
            return Ok(kept);
        }
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let turn = turn.map_err(io::Error::other)?;
        // Whoever had the turn before may have asked for the same.
        if let Some(kept) = self.kept(host, port) {
            return Ok(kept);
        }
        let host = host.to_owned();
        let last = (!self.keeps.is_zero()).then(|| Arc::clone(&self.last));
        // Whoever asked may give up; the lookup cannot, and keeps its turn until it has ended.
        let lookup = tokio::task::spawn_local(async move {
            let found = tokio::net::lookup_host((host.as_str(), port)).await;
            let found: io::Result<Vec<_>> =
                found.map(|addresses| addresses.take(MAX_ADDRESSES).collect());
            if let (Some(last), Ok(addresses)) = (last, &found) {
                *lock(&last) = Some(Found {
                    host,
                    addresses: addresses.clone(),
                    at: Instant::now(),
                });
            }
            drop(turn);
            found
        });
        lookup.await.map_err(io::Error::other)?
    }
}

/// A panic elsewhere cannot have left it half-changed: it is there or not.
fn lock(last: &Mutex<Option<Found>>) -> std::sync::MutexGuard<'_, Option<Found>> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
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
    resolver.forget();
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::LocalSet;

    const KEEPS: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn addresses_are_kept_for_seconds_and_a_lookup_that_hangs_delays_nobody_meanwhile() {
        let resolver = Resolver::keeping(KEEPS);
        LocalSet::new()
            .run_until(async {
                let found = resolver.resolve("127.0.0.7", 80).await.unwrap();
                assert_eq!(found, [SocketAddr::from(([127, 0, 0, 7], 80))]);
                // As if one were under way and did not end.
                let _turn = Arc::clone(&resolver.turn).acquire_owned().await.unwrap();
                let kept = resolver.resolve("127.0.0.7", 81).await.unwrap();
                assert_eq!(kept, [SocketAddr::from(([127, 0, 0, 7], 81))]);
                assert_eq!(resolver.kept("127.0.0.8", 80), None);
                tokio::time::advance(KEEPS).await;
                assert_eq!(resolver.kept("127.0.0.7", 80), None);
            })
            .await;
    }

    #[tokio::test]
    async fn who_keeps_nothing_asks_each_time() {
        let resolver = Resolver::new();
        LocalSet::new()
            .run_until(async { resolver.resolve("127.0.0.7", 80).await.unwrap() })
            .await;
        assert!(lock(&resolver.last).is_none());
    }
}
