//! One worker: its runtime, the sockets that it accepts from, the connections that it serves.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use audit::log::Log;
use config::ListenerName;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, LocalSet};
use tokio::time::Instant;

use crate::ask::Asker;
use crate::buffers::Buffers;
use crate::connection::{self, Phase, Shared};
use crate::ids::Ids;
use crate::limit::Connections;
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
    /// Asks for the status of clients' certificates.
    pub asker: Asker,
}

/// What the main thread asks of a worker.
#[derive(Debug)]
pub(super) enum Command {
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

/// A worker, as the main thread has it.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) thread: JoinHandle<()>,
}

/// Starts a worker, on a core of its own if one is named.
///
/// # Errors
/// The operating system's, when a thread or a runtime cannot be had.
pub(super) fn start(
    index: usize,
    core: Option<usize>,
    common: &Common,
    phase: watch::Receiver<Phase>,
) -> io::Result<Handle> {
    let (commands, received) = mpsc::channel(64);
    let common = common.clone();
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
            let outcome = runtime.as_ref().map(drop);
            let _ = ready.send(outcome.map_err(|error| io::Error::from(error.kind())));
            let Ok(runtime) = runtime else { return };
            if let Some(core) = core {
                pin_to(core);
            }
            LocalSet::new().block_on(&runtime, work(common, phase, received));
            // Whatever still resolves a name is not waited for.
            runtime.shutdown_background();
        })?;
    started.recv().map_err(io::Error::other)??;
    Ok(Handle { commands, thread })
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
    let log = audit::appender::Appender::new(&common.log);
    tokio::task::spawn_local(log.drive());
    let pools = Pools::default();
    let recorder = Recorder::new(log.clone(), Arc::clone(&common.recording));
    let pipeline = Pipeline {
        site: Arc::clone(&common.site),
        recorder,
        pools,
        asker: common.asker.clone(),
    };
    let worker = Rc::new(Shared {
        pipeline,
        ids: Ids::new(),
        buffers: Buffers::default(),
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
    worker: Rc<Shared>,
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
