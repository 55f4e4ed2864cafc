//! Limits: connections of the process, per listener and per address, requests per client.
//!
//! Each limit holds over all workers. The maps behind them are bounded: connections by the limit
//! itself, rates by a cap beyond which clients share one cell, which can only refuse more.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::peer::Peer;

/// How many connections a listener holds, and from where.
#[derive(Debug)]
pub struct Connections {
    held: Mutex<Held>,
    budget: Arc<Budget>,
}

/// What all listeners share: a process that has no descriptor left can neither reach an upstream nor
/// write its log.
#[derive(Debug)]
pub struct Budget {
    most: AtomicUsize,
    held: AtomicUsize,
}

impl Budget {
    /// Of so many connections.
    pub fn new(most: usize) -> Arc<Budget> {
        Arc::new(Budget {
            most: most.into(),
            held: 0.into(),
        })
    }

    /// Holds what comes from now on to another bound. What is held stays.
    pub fn adjust(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        let taken = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                (held < most).then_some(held + 1)
            });
        taken.is_ok()
    }

    fn give_back(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
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
    /// All listeners together do.
    Process,
    /// The address does.
    Address,
}

impl Connections {
    /// A listener without connections.
    pub fn new(limits: ConnectionLimits, budget: &Arc<Budget>) -> Arc<Connections> {
        Arc::new(Connections {
            budget: Arc::clone(budget),
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
        if !self.budget.take() {
            held.forget(source);
            return Err(ConnectionRefusal::Process);
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

impl Held {
    /// Keeps nothing of a source that holds no connection.
    fn forget(&mut self, source: IpAddr) {
        if self.from.get(&source) == Some(&0) {
            self.from.remove(&source);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connections.budget.give_back();
        let mut held = self.connections.lock();
        held.in_all = held.in_all.saturating_sub(1);
        if let Some(from) = held.from.get_mut(&self.source) {
            *from = from.saturating_sub(1);
        }
        held.forget(self.source);
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

/// How often each client may come on one route. Clients that have a name are counted apart from those
/// that have only an address, so that no crowd of addresses makes named ones share a cell.
pub struct Rates {
    named: Cells,
    addresses: Cells,
    hasher: RandomState,
    quota: (NonZeroU32, Duration),
}

type Cells = RateLimiter<u64, HashMapStateStore<u64>, DefaultClock>;

impl Rates {
    /// Clients beyond this share cells by hash.
    const CLIENTS: usize = 100_000;

    /// `requests` at once, refilled over `every`. `None` for a stretch too short to be kept.
    pub fn new(requests: NonZeroU32, every: Duration) -> Option<Rates> {
        let quota = Quota::with_period(every / requests.get())?.allow_burst(requests);
        Some(Rates {
            named: RateLimiter::hashmap(quota),
            addresses: RateLimiter::hashmap(quota),
            hasher: RandomState::new(),
            quota: (requests, every),
        })
    }

    /// Counts a request of `peer`.
    ///
    /// # Errors
    /// [`RateRefusal`]: it came too often.
    pub fn check(&self, peer: &Peer) -> Result<(), RateRefusal> {
        let checked = match peer.client.qualified() {
            Some(name) => self.check_name(name),
            None => self.check_address(peer.address.ip()),
        };
        checked.map_err(|wait| RateRefusal { wait })
    }

    /// Counts a request of the client of this name, or says after how long the next one is allowed.
    fn check_name(&self, name: &str) -> Result<(), Duration> {
        Self::count(&self.named, self.hasher.hash_one(name))
    }

    /// The same for a client of which only the address is known (of IPv6 its /64).
    fn check_address(&self, address: IpAddr) -> Result<(), Duration> {
        Self::count(&self.addresses, self.hasher.hash_one(source(address)))
    }

    fn count(cells: &Cells, mut key: u64) -> Result<(), Duration> {
        if cells.len() >= Self::CLIENTS {
            key %= Self::CLIENTS as u64;
        }
        cells
            .check_key(&key)
            .map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }

    /// Forgets clients whose cells are full again. To be called once in a while.
    pub fn sweep(&self) {
        for cells in [&self.named, &self.addresses] {
            cells.retain_recent();
            cells.shrink_to_fit();
        }
    }

    /// What it was made with.
    pub fn quota(&self) -> (NonZeroU32, Duration) {
        self.quota
    }
}

/// A client came too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateRefusal {
    /// After how long it may come again.
    pub wait: Duration,
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

    fn connections(in_all: u32, from_address: u32) -> Arc<Connections> {
        let limits = ConnectionLimits {
            in_all,
            from_address,
        };
        Connections::new(limits, &Budget::new(100))
    }

    #[test]
    fn all_listeners_together_hold_no_more_than_the_process_can() {
        let budget = Budget::new(1);
        let limits = ConnectionLimits {
            in_all: 9,
            from_address: 9,
        };
        let (one, other) = (
            Connections::new(limits, &budget),
            Connections::new(limits, &budget),
        );
        let held = one.permit(ip("192.0.2.1")).unwrap();
        assert_eq!(
            other.permit(ip("192.0.2.2")).unwrap_err(),
            ConnectionRefusal::Process
        );
        assert_eq!(other.lock().from.len(), 0, "nothing is kept of a refusal");
        drop(held);
        let _again = other.permit(ip("192.0.2.2")).unwrap();
        budget.adjust(2);
        let _more = one.permit(ip("192.0.2.2")).unwrap();
    }

    #[test]
    fn a_permit_that_is_dropped_can_be_taken_again() {
        let connections = connections(3, 2);
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
        let connections = connections(3, 1);
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
        let connections = connections(3, 2);
        for last in 0..=255 {
            drop(connections.permit(IpAddr::from([192, 0, 2, last])).unwrap());
        }
        assert_eq!(connections.held.lock().unwrap().from.len(), 0);
    }

    #[test]
    fn one_ipv6_host_is_one_source() {
        let connections = connections(9, 1);
        let _held = connections.permit(ip("2001:db8::1")).unwrap();
        assert!(connections.permit(ip("2001:db8::2")).is_err());
        assert!(connections.permit(ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn a_client_that_comes_too_often_is_told_when_to_come_again() {
        let rates = Rates::new(NonZeroU32::new(2).unwrap(), Duration::from_mins(1)).unwrap();
        assert_eq!(rates.check_name("a"), Ok(()));
        assert_eq!(rates.check_name("a"), Ok(()));
        let wait = rates.check_name("a").unwrap_err();
        assert!(
            wait > Duration::from_secs(20) && wait <= Duration::from_secs(30),
            "{wait:?}"
        );
        assert_eq!(rates.check_name("b"), Ok(()));
    }

    #[test]
    fn one_ipv6_host_has_one_rate_and_takes_none_from_a_name() {
        let rates = Rates::new(NonZeroU32::new(1).unwrap(), Duration::from_mins(1)).unwrap();
        assert_eq!(rates.check_address(ip("2001:db8::1")), Ok(()));
        assert!(rates.check_address(ip("2001:db8::2")).is_err());
        assert_eq!(rates.check_address(ip("2001:db8:0:1::1")), Ok(()));
        assert_eq!(rates.check_name("2001:db8::"), Ok(()));
    }
}
