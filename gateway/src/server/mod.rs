//! The process: workers with their listening sockets, from start to stop.
//!
//! One single-threaded runtime a worker, each with its own sockets on every listen address
//! (SO_REUSEPORT) and its own connections to upstreams; what they share is the configuration in
//! force, the audit log and the limits. The main thread carries no traffic: it listens for signals,
//! serves the admin listener and puts configurations in force.

mod sockets;

mod worker;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use config::{ListenerName, Place, Workers};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::Phase;
use crate::descriptors;
use crate::limit::{Budget, ConnectionLimits, Connections};
use crate::site::Site;
use sockets::bind;
pub use worker::{AUDIT_PATIENCE, Common};
use worker::{Command, Handle};

/// The workers, and the addresses that they listen on.
#[derive(Debug)]
pub struct Fleet {
    common: Common,
    phase: watch::Sender<Phase>,
    workers: Vec<Handle>,
    listening: HashSet<(ListenerName, SocketAddr)>,
    /// By listener: one count for all its addresses.
    connections: HashMap<ListenerName, Arc<Connections>>,
    /// Of all listeners together.
    budget: Arc<Budget>,
}

/// So long workers are waited for when what they serve is cut off.
const CUT_OFF: Duration = Duration::from_secs(5);

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// Where the configuration asks for it.
    pub place: Place,
    /// The address.
    pub address: SocketAddr,
    /// What the operating system said.
    pub error: io::Error,
}

/// Sockets that are bound and not accepted from yet, so that a reload that cannot have all of them
/// changes nothing.
#[derive(Debug)]
pub struct Bound {
    fresh: Vec<(ListenerName, SocketAddr, Vec<StdListener>)>,
}

impl Fleet {
    /// Starts the workers. They listen on nothing yet.
    ///
    /// # Errors
    /// The operating system's, when a thread or a runtime cannot be had.
    pub fn start(common: Common, workers: &Workers) -> io::Result<Fleet> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = descriptors::workers(workers);
        let generation = common.site.load().generation;
        let (phase, _) = watch::channel(Phase {
            generation,
            draining: false,
        });
        let mut fleet = Fleet {
            common,
            phase,
            workers: Vec::new(),
            listening: HashSet::new(),
            connections: HashMap::new(),
            budget: Budget::new(0),
        };
        for index in 0..count {
            let core = workers.pin.then_some(index % cores);
            let handle = worker::start(index, core, &fleet.common, fleet.phase.subscribe())?;
            fleet.workers.push(handle);
        }
        Ok(fleet)
    }

    /// Binds the addresses of `site` that are not listened on yet.
    ///
    /// # Errors
    /// Every address that cannot be had; the sockets of the others are closed again.
    pub fn bind(&self, site: &Site) -> Result<Bound, Vec<BindError>> {
        let mut bound = Bound { fresh: Vec::new() };
        let mut errors = Vec::new();
        for (name, listener) in &site.config.listeners {
            for placed in &listener.listen {
                let address = placed.value;
                if self.listening.contains(&(name.clone(), address)) {
                    continue;
                }
                // An address that moves from one listener to another is ours already.
                let ours = self.listening.iter().any(|(_, known)| *known == address);
                match bind(address, self.workers.len(), ours) {
                    Ok(sockets) => bound.fresh.push((name.clone(), address, sockets)),
                    Err(error) => errors.push(BindError {
                        place: placed.place.clone(),
                        address,
                        error,
                    }),
                }
            }
        }
        if errors.is_empty() {
            Ok(bound)
        } else {
            Err(errors)
        }
    }

    /// Puts `site` in force: from now on every request is judged by it. Sockets that it no longer
    /// names are closed; connections that came in through them are told.
    pub async fn put_in_force(&mut self, site: Arc<Site>, bound: Bound) {
        self.common.site.store(Arc::clone(&site));
        self.phase
            .send_modify(|phase| phase.generation = site.generation);
        self.leave(&site).await;
        self.listen(&site, bound).await;
    }

    /// Puts `site` in force, which differs from the one in force in its trust sets alone. Connections that live
    /// are told: each asks again what its peer's certificate is worth.
    pub fn put_lists_in_force(&self, site: Arc<Site>) {
        self.common.site.store(site);
        self.phase.send_modify(|_| ());
    }

    /// Tells connections that live that a certificate turned out to be revoked: each asks again what its peer's is
    /// worth, as far as is known.
    pub fn ring(&self) {
        self.phase.send_modify(|_| ());
    }

    /// Closes the sockets that `site` does not name.
    async fn leave(&mut self, site: &Site) {
        let wanted = |listener: &ListenerName, address: &SocketAddr| {
            site.config
                .listeners
                .get(listener)
                .is_some_and(|at| at.listen.iter().any(|placed| placed.value == *address))
        };
        let gone: Vec<_> = self
            .listening
            .extract_if(|(listener, address)| !wanted(listener, address))
            .collect();
        for (listener, address) in gone {
            for worker in &self.workers {
                let command = Command::Leave {
                    listener: listener.clone(),
                    address,
                };
                // A worker that is gone accepts nothing.
                let _ = worker.commands.send(command).await;
            }
        }
    }

    /// Holds every listener to its bounds, and accepts connections from the sockets that were bound
    /// for `site`.
    pub async fn listen(&mut self, site: &Site, bound: Bound) {
        self.budget
            .adjust(descriptors::for_clients(site, self.workers.len()));
        self.connections
            .retain(|listener, _| site.listeners.contains_key(listener));
        for (listener, at) in &site.listeners {
            let limits = ConnectionLimits {
                in_all: at.limits.connections.get(),
                from_address: at.limits.connections_per_address.get(),
            };
            match self.connections.get(listener) {
                Some(known) => known.adjust(limits),
                None => {
                    self.connections
                        .insert(listener.clone(), Connections::new(limits, &self.budget));
                }
            }
        }
        for (listener, address, sockets) in bound.fresh {
            let Some(connections) = self.connections.get(&listener) else {
                continue;
            };
            for (worker, socket) in self.workers.iter().zip(sockets) {
                let command = Command::Accept {
                    listener: listener.clone(),
                    address,
                    socket,
                    connections: Arc::clone(connections),
                };
                // A worker that is gone accepts nothing.
                let _ = worker.commands.send(command).await;
            }
            self.listening.insert((listener, address));
        }
    }

    /// Whether every worker lives.
    pub fn is_whole(&self) -> bool {
        self.workers
            .iter()
            .all(|worker| !worker.thread.is_finished())
    }

    /// Stops accepting, lets requests under way come to their end for at most `patience`, and ends
    /// the workers. What is cut off is on record as such.
    pub async fn drain(self, patience: Duration) {
        self.phase.send_modify(|phase| phase.draining = true);
        // The workers keep the time themselves. What they leave when it is over takes a moment; the
        // record of the end should be the last one.
        let until = Instant::now() + patience + CUT_OFF;
        while self
            .workers
            .iter()
            .any(|worker| !worker.thread.is_finished())
            && Instant::now() < until
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Closing the phase ends whoever still waits.
        let Fleet { phase, workers, .. } = self;
        drop(phase);
        for worker in workers {
            drop(worker.commands);
            if worker.thread.is_finished() {
                let _ = worker.thread.join();
            }
        }
    }
}
