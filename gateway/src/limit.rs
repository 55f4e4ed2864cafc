//! Limits: connections per listener and per address, requests per client.
//!
//! Each limit holds over all workers. The maps behind them are bounded: connections by the limit
//! itself, rates by a cap beyond which clients share one cell, which can only refuse more.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// How many connections a listener holds, and from where.
#[derive(Debug)]
pub struct Connections {
    held: Mutex<Held>,
}

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// At once.
    pub in_all: u32,
    /// At once from one address (of IPv6: from one /64, which is what one host has).
    pub from_address: u32,
}

#[derive(Debug)]
struct Held {
    limits: ConnectionLimits,
    in_all: u32,
    from: HashMap<IpAddr, u32>,
}

/// The right to hold one connection, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    connections: Arc<Connections>,
    source: IpAddr,
}

/// Why a connection may not be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionRefusal {
    /// The listener holds as many as it may.
    Listener,
    /// The address does.
    Address,
}

impl Connections {
    /// A listener without connections.
    pub fn new(limits: ConnectionLimits) -> Arc<Connections> {
        Arc::new(Connections {
            held: Mutex::new(Held {
                limits,
                in_all: 0,
                from: HashMap::new(),
            }),
        })
    }

    /// Holds what comes from now on to other bounds. What is held stays.
    pub fn adjust(&self, limits: ConnectionLimits) {
        self.lock().limits = limits;
    }

    /// Takes the right to one more connection from `address`.
    pub fn permit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, ConnectionRefusal> {
        let source = source(address);
        let held = &mut *self.lock();
        let ConnectionLimits { from_address, .. } = held.limits;
        if held.in_all >= held.limits.in_all {
            return Err(ConnectionRefusal::Listener);
        }
        let from = held.from.entry(source).or_insert(0);
        if *from >= from_address {
            return Err(ConnectionRefusal::Address);
        }
        *from += 1;
        held.in_all += 1;
        Ok(Permit {
            connections: Arc::clone(self),
            source,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Whoever panicked with the lock held has changed at most one count.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.connections.lock();
        held.in_all = held.in_all.saturating_sub(1);
        if let Entry::Occupied(mut from) = held.from.entry(self.source) {
            *from.get_mut() -= 1;
            if *from.get() == 0 {
                from.remove();
            }
        }
    }
}

fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// How often each client may come on one route.
pub struct Rates {
    limiter: RateLimiter<u64, HashMapStateStore<u64>, DefaultClock>,
    hasher: RandomState,
    quota: (NonZeroU32, Duration),
}

impl Rates {
    /// Clients beyond this share cells by hash.
    const CLIENTS: usize = 100_000;

    /// `requests` at once, refilled over `every`. `None` for a stretch too short to be kept.
    pub fn new(requests: NonZeroU32, every: Duration) -> Option<Rates> {
        let quota = Quota::with_period(every / requests.get())?.allow_burst(requests);
        Some(Rates {
            limiter: RateLimiter::hashmap(quota),
            hasher: RandomState::new(),
            quota: (requests, every),
        })
    }

    /// Counts a request of `client`, or says after how long the next one is allowed.
    pub fn check(&self, client: &str) -> Result<(), Duration> {
        let mut key = self.hasher.hash_one(client);
        if self.limiter.len() >= Self::CLIENTS {
            key %= Self::CLIENTS as u64;
        }
        self.limiter
            .check_key(&key)
            .map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }

    /// Forgets clients whose cells are full again. To be called once in a while.
    pub fn sweep(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    /// What it was made with.
    pub fn quota(&self) -> (NonZeroU32, Duration) {
        self.quota
    }
}

impl std::fmt::Debug for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rates")
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_permit_that_is_dropped_can_be_taken_again() {
        let connections = Connections::new(ConnectionLimits {
            in_all: 3,
            from_address: 2,
        });
        let one = connections.permit(ip("192.0.2.1")).unwrap();
        let _two = connections.permit(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(
            connections.permit(ip("192.0.2.1")).unwrap_err(),
            ConnectionRefusal::Address
        );
        let _three = connections.permit(ip("192.0.2.2")).unwrap();
        assert_eq!(
            connections.permit(ip("192.0.2.3")).unwrap_err(),
            ConnectionRefusal::Listener
        );
        drop(one);
        let _four = connections.permit(ip("192.0.2.1")).unwrap();
        assert_eq!(connections.lock().in_all, 3);
    }

    #[test]
    fn other_bounds_hold_from_now_on() {
        let connections = Connections::new(ConnectionLimits {
            in_all: 3,
            from_address: 1,
        });
        let _one = connections.permit(ip("192.0.2.1")).unwrap();
        connections.adjust(ConnectionLimits {
            in_all: 3,
            from_address: 2,
        });
        let _two = connections.permit(ip("192.0.2.1")).unwrap();
        connections.adjust(ConnectionLimits {
            in_all: 1,
            from_address: 1,
        });
        assert_eq!(
            connections.permit(ip("192.0.2.2")).unwrap_err(),
            ConnectionRefusal::Listener
        );
    }

    #[test]
    fn nothing_is_kept_of_addresses_that_are_gone() {
        let connections = Connections::new(ConnectionLimits {
            in_all: 3,
            from_address: 2,
        });
        for last in 0..=255 {
            drop(connections.permit(IpAddr::from([192, 0, 2, last])).unwrap());
        }
        assert_eq!(connections.held.lock().unwrap().from.len(), 0);
    }

    #[test]
    fn one_ipv6_host_is_one_source() {
        let connections = Connections::new(ConnectionLimits {
            in_all: 9,
            from_address: 1,
        });
        let _held = connections.permit(ip("2001:db8::1")).unwrap();
        assert!(connections.permit(ip("2001:db8::2")).is_err());
        assert!(connections.permit(ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn a_client_that_comes_too_often_is_told_when_to_come_again() {
        let rates = Rates::new(NonZeroU32::new(2).unwrap(), Duration::from_mins(1)).unwrap();
        assert_eq!(rates.check("a"), Ok(()));
        assert_eq!(rates.check("a"), Ok(()));
        let wait = rates.check("a").unwrap_err();
        assert!(
            wait > Duration::from_secs(20) && wait <= Duration::from_secs(30),
            "{wait:?}"
        );
        assert_eq!(rates.check("b"), Ok(()));
    }
}
