//! The process: workers with their listening sockets, from start to stop.
//!
//! One single-threaded runtime a worker, each with its own sockets on every listen address
//! (SO_REUSEPORT) and its own connections to upstreams; what they share is the configuration in
//! force, the audit log and the limits. The main thread carries no traffic: it listens for signals,
//! serves the admin listener and puts configurations in force.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use audit::log::Log;
use config::{Finding, ListenerName, Place, WorkerCount, Workers};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, LocalSet};
use tokio::time::Instant;

use crate::connection::{self, Phase, Worker};
use crate::descriptors;
use crate::ids::Ids;
use crate::limit::{Budget, ConnectionLimits, Connections};
use crate::pipeline::Pipeline;
use crate::record::{Recorder, RecorderShared, RefusedPeer};
use crate::site::Site;
use crate::upstream::Pools;

/// An entry that is not durable after so long counts as not recorded.
pub const AUDIT_PATIENCE: Duration = Duration::from_secs(5);

/// What every worker is given.
#[derive(Debug, Clone)]
pub struct Common {
    /// The configuration in force.
    pub site: Arc<ArcSwap<Site>>,
    /// The audit log.
    pub log: Log,
    /// What is recorded beside it.
    pub recording: Arc<RecorderShared>,
}

/// The workers, and the addresses that they listen on.
#[derive(Debug)]
pub struct Fleet {
    common: Common,
    phase: watch::Sender<Phase>,
    workers: Vec<WorkerHandle>,
    listening: HashSet<(ListenerName, SocketAddr)>,
    /// By listener: one count for all its addresses.
    connections: HashMap<ListenerName, Arc<Connections>>,
    /// Of all listeners together.
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct WorkerHandle {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

/// What the main thread asks of a worker.
#[derive(Debug)]
enum Command {
    Accept {
        listener: ListenerName,
        address: SocketAddr,
        socket: StdListener,
        connections: Arc<Connections>,
    },
    Leave {
        listener: ListenerName,
        address: SocketAddr,
    },
}

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
        let count = match workers.count {
            WorkerCount::PerCore => cores,
            WorkerCount::Fixed(count) => count.get(),
        };
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
            let (commands, received) = mpsc::channel(64);
            let (common, phase) = (fleet.common.clone(), fleet.phase.subscribe());
            let pin = workers.pin.then_some(index % cores);
            let (ready, started) = std::sync::mpsc::sync_channel(1);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    let log = common.log.clone();
                    // What a worker appended is committed when it has nothing else to do.
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .max_blocking_threads(2)
                        .on_thread_park(move || log.kick())
                        .build();
                    let _ = ready.send(
                        runtime
                            .as_ref()
                            .map(drop)
                            .map_err(|error| io::Error::from(error.kind())),
                    );
                    let Ok(runtime) = runtime else { return };
                    if let Some(core) = pin {
                        pin_to(core);
                    }
                    LocalSet::new().block_on(&runtime, work(common, phase, received));
                    // Whatever still resolves a name is not waited for.
                    runtime.shutdown_background();
                })?;
            started.recv().map_err(io::Error::other)??;
            fleet.workers.push(WorkerHandle { commands, thread });
        }
        Ok(fleet)
    }

    /// Whether the process may have as many descriptors as serving `site` takes. Fewer than its
    /// listeners allow is a warning; too few to serve anybody is an error.
    ///
    /// # Errors
    /// A finding, with the limit to raise.
    pub fn check_budget(&self, site: &Site) -> Result<(), Finding> {
        let (most, wanted) = (
            descriptors::for_clients(site, self.workers.len()),
            descriptors::wanted(site),
        );
        if most < descriptors::LEAST {
            return Err(Finding::error(
                &Place::whole(&site.config.path),
                format!("the limit on file descriptors leaves {most} connections for clients"),
                Some(
                    "raise it (LimitNOFILE= of systemd, ulimit -n), or lower `connections` of the upstreams",
                ),
            ));
        }
        if most < wanted {
            tracing::warn!(
                most,
                wanted,
                "the limit on file descriptors allows fewer connections than the listeners do"
            );
        }
        Ok(())
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
    pub async fn put_in_force(&mut self, site: Site, bound: Bound) {
        let site = Arc::new(site);
        self.common.site.store(Arc::clone(&site));
        self.phase
            .send_modify(|phase| phase.generation = site.generation);
        self.leave(&site).await;
        self.listen(&site, bound).await;
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
        let until = Instant::now() + patience + Duration::from_millis(500);
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

/// One socket for each worker, on the same address. Unless it is `ours` already, it is first bound
/// alone: an address that another process listens on is an error even if that process would share it.
fn bind(address: SocketAddr, workers: usize, ours: bool) -> io::Result<Vec<StdListener>> {
    let socket = |share: bool| -> io::Result<Socket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(share)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        Ok(socket)
    };
    if !ours {
        drop(socket(false)?);
    }
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = socket(true)?;
        socket.listen(1024)?;
        socket.set_nonblocking(true)?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

fn pin_to(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(%error, core, "a worker could not be pinned to its core");
    }
}

/// One worker, from start to stop.
async fn work(
    common: Common,
    mut phase: watch::Receiver<Phase>,
    mut commands: mpsc::Receiver<Command>,
) {
    let log = audit::worker::Worker::new(&common.log);
    tokio::task::spawn_local(log.drive());
    let pools = Pools::default();
    let recorder = Recorder::new(log.clone(), Arc::clone(&common.recording));
    let pipeline = Pipeline {
        site: Arc::clone(&common.site),
        recorder,
        pools,
    };
    let worker = Rc::new(Worker {
        pipeline,
        ids: Ids::new(),
        phase: phase.clone(),
    });
    let live = Rc::new(Cell::new(0_usize));
    let mut accepting: HashMap<(ListenerName, SocketAddr), AbortHandle> = HashMap::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut drained_by: Option<Instant> = None;
    loop {
        tokio::select! {
            command = commands.recv(), if drained_by.is_none() => match command {
                Some(Command::Accept { listener, address, socket, connections }) => match TcpListener::from_std(socket) {
                    Ok(socket) => {
                        let task = accept(Rc::clone(&worker), Rc::clone(&live), listener.clone(), socket, connections);
                        accepting.insert((listener, address), tokio::task::spawn_local(task).abort_handle());
                    }
                    Err(error) => tracing::error!(%error, %address, "a socket cannot be listened on"),
                },
                Some(Command::Leave { listener, address }) => {
                    if let Some(task) = accepting.remove(&(listener, address)) {
                        task.abort();
                    }
                }
                None => break,
            },
            changed = phase.changed() => {
                if changed.is_err() {
                    break;
                }
                if phase.borrow_and_update().draining && drained_by.is_none() {
                    for (_, task) in accepting.drain() {
                        task.abort();
                    }
                    drained_by = Some(Instant::now() + common.site.load().config.drain);
                }
            }
            _ = tick.tick() => {
                worker.pipeline.pools.sweep(&common.site.load().upstreams);
                worker.pipeline.recorder.settle();
                let now = std::time::Instant::now();
                if let Some(limit) = now.checked_sub(AUDIT_PATIENCE) {
                    log.expire(limit);
                }
            }
            () = tokio::time::sleep(Duration::from_millis(10)), if drained_by.is_some() => {}
        }
        if drained_by.is_some_and(|by| live.get() == 0 || Instant::now() >= by) {
            break;
        }
    }
    // Whatever is still there is cut off now; its records say so.
    common.recording.cut_off();
    worker.pipeline.recorder.settle();
}

/// One connection among those that a worker serves.
struct Live(Rc<Cell<usize>>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Accepts until it is told to stop. A permit comes before the task, and goes with it.
async fn accept(
    worker: Rc<Worker>,
    live: Rc<Cell<usize>>,
    listener: ListenerName,
    socket: TcpListener,
    connections: Arc<Connections>,
) {
    loop {
        let (stream, address) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_about_one_connection(&error) => continue,
            Err(error) => {
                // Out of descriptors or memory: accepting again at once would only spin.
                tracing::warn!(%error, "connections cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let permit = match connections.permit(address.ip()) {
            Ok(permit) => permit,
            Err(refusal) => {
                if let Some(connection) = worker.ids.next() {
                    worker.pipeline.recorder.handshake_refused(&RefusedPeer {
                        connection,
                        listener: listener.as_str(),
                        address,
                        code: refusal.code(),
                        alert: None,
                        hello: None,
                        certificate: None,
                        detail: None,
                    });
                }
                continue;
            }
        };
        live.set(live.get() + 1);
        let (worker, listener, live) =
            (Rc::clone(&worker), listener.clone(), Live(Rc::clone(&live)));
        tokio::task::spawn_local(async move {
            connection::serve(worker, stream, address, listener, permit).await;
            drop(live);
        });
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
