//! One run: open all connections, warm up, measure a window, let what is under way end, report.
//!
//! Each phase has a deadline. The clocks of the processes are read at both ends of the window and
//! at no other time. What this file does not do: the workloads themselves, and the idle one, which
//! measures memory instead ([`idle`](crate::idle)).

use crate::error::RunError;
use crate::idle;
use crate::meter::Meter;
use crate::over_h1::Request;
use crate::pace::{Pacer, Schedule};
use crate::plan::{GRACE, OPENING, Plan, Workload};
use crate::report::{Measured, Report};
use crate::tls::{Connector, Offer, Protocol};
use crate::workloads::{self, Load};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};

/// Bytes read at once: little where there are many connections, much where answers are long.
const IDLE_READ: usize = 4 * 1024;
const SMALL_READ: usize = 16 * 1024;
const LARGE_READ: usize = 256 * 1024;

/// Descriptors that are no connections.
const SPARE_DESCRIPTORS: u64 = 64;

/// Carries out a plan. Faults of the server are in the report; an error is ours.
pub(crate) fn run(plan: &Plan) -> Result<Report, RunError> {
    raise_descriptors(plan.workload.connections())?;
    let read_size = match plan.workload {
        Workload::Idle { .. } => IDLE_READ,
        Workload::Download { .. } => LARGE_READ,
        Workload::Handshake { .. }
        | Workload::H1 { .. }
        | Workload::H2 { .. }
        | Workload::Rate { .. }
        | Workload::Upload { .. } => SMALL_READ,
    };
    let connector = connector(plan, read_size)?;
    let identities = connector.identities();
    let load = Rc::new(Load::new(connector, read_size));
    let meter = Meter::new(&plan.servers);
    // A wrong process is told before anything is sent.
    meter.read().map_err(RunError::Process)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::System)?;
    let measured = LocalSet::new().block_on(&runtime, async {
        match plan.workload {
            Workload::Idle { connections } => idle::hold(plan, connections, &load, &meter).await,
            Workload::Handshake { .. }
            | Workload::H1 { .. }
            | Workload::H2 { .. }
            | Workload::Rate { .. }
            | Workload::Download { .. }
            | Workload::Upload { .. } => drive(plan, &load, &meter).await,
        }
    })?;
    let counts = load.tally().counts();
    Ok(Report::new(plan, identities, &counts, &measured))
}

/// A run of a workload that sends requests.
async fn drive(plan: &Plan, load: &Rc<Load>, meter: &Meter) -> Result<Measured, RunError> {
    let tally = load.tally();
    let mut tasks = JoinSet::new();
    let pacer = spawn(plan, load, &mut tasks)?;
    let connections = plan.workload.connections();
    let all_open = async {
        while tally.open_count() < connections.into() && !tally.is_over() {
            tally.progress().await;
        }
    };
    if timeout(OPENING, all_open).await.is_err() {
        return Err(RunError::Opening {
            opened: tally.open_count(),
            wanted: connections,
        });
    }
    if let (Some(pacer), Workload::Rate { connections, rate }) = (&pacer, plan.workload) {
        let (load, pacer) = (Rc::clone(load), Rc::clone(pacer));
        let schedule = Schedule::new(Instant::now(), rate);
        tasks.spawn_local(async move {
            pacer
                .run(schedule, load.tally(), connections as usize)
                .await
        });
    }

    pass(load, plan.warm_up).await;
    let begin = meter.read().map_err(RunError::Process)?;
    tally.begin(begin.at());
    pass(load, plan.window).await;
    let end = meter.read().map_err(RunError::Process)?;
    tally.end(end.at());
    let measured = meter
        .between(&begin, &end, None)
        .map_err(RunError::Process)?;

    let all_ended = async {
        while let Some(ended) = tasks.join_next().await {
            if let Ok(Err(error)) = ended {
                return Err(RunError::System(error));
            }
        }
        Ok(())
    };
    match timeout(GRACE, all_ended).await {
        Ok(outcome) => outcome?,
        Err(_) => {
            let waiting = pacer.map_or(0, |pacer| pacer.waiting());
            tally.stalled(tally.in_flight() + waiting);
        }
    }
    Ok(measured)
}

/// Waits, or less when the run is given up.
async fn pass(load: &Load, time: Duration) {
    let given_up = async {
        while !load.tally().is_given_up() {
            load.tally().progress().await;
        }
    };
    tokio::select! {
        () = sleep(time) => {}
        () = given_up => {}
    }
}

/// Starts the tasks of a workload, one for each connection. The pacer of a fixed rate still has to
/// be run.
fn spawn(
    plan: &Plan,
    load: &Rc<Load>,
    tasks: &mut JoinSet<io::Result<()>>,
) -> Result<Option<Rc<Pacer>>, RunError> {
    let get = Request::get(&plan.authority, &plan.target).map_err(RunError::Target)?;
    let mut pacer = None;
    let mut each = |task: &dyn Fn() -> Task| {
        for _ in 0..plan.workload.connections() {
            let task = task();
            tasks.spawn_local(async move {
                task.await;
                Ok(())
            });
        }
    };
    let (load, get) = (|| Rc::clone(load), Rc::new(get));
    match plan.workload {
        Workload::Handshake { resume, .. } => {
            each(&|| Box::pin(workloads::handshakes(load(), Rc::clone(&get), resume)));
        }
        Workload::H1 { .. } => {
            each(&|| Box::pin(workloads::keep_alive(load(), Rc::clone(&get), None)));
        }
        Workload::Download { bytes, .. } => {
            each(&|| Box::pin(workloads::keep_alive(load(), Rc::clone(&get), Some(bytes))));
        }
        Workload::Upload { bytes, .. } => {
            let post = Request::post(&plan.authority, &plan.target, bytes);
            let post = Rc::new(post.map_err(RunError::Target)?);
            each(&|| Box::pin(workloads::keep_alive(load(), Rc::clone(&post), None)));
        }
        Workload::H2 { streams, .. } => {
            let get = Rc::new(http2_get(plan).map_err(RunError::Uri)?);
            each(&|| Box::pin(workloads::multiplexed(load(), Rc::clone(&get), streams)));
        }
        Workload::Rate { .. } => {
            let shared = Rc::new(Pacer::new());
            each(&|| {
                Box::pin(workloads::at_rate(
                    load(),
                    Rc::clone(&get),
                    Rc::clone(&shared),
                ))
            });
            pacer = Some(shared);
        }
        Workload::Idle { .. } => {}
    }
    Ok(pacer)
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()>>>;

fn http2_get(plan: &Plan) -> Result<http::Request<()>, http::Error> {
    let uri = http::Uri::builder()
        .scheme("https")
        .authority(plan.authority.as_bytes())
        .path_and_query(plan.target.as_str())
        .build()?;
    http::Request::get(uri).body(())
}

fn connector(plan: &Plan, read_buffer: usize) -> Result<Connector, RunError> {
    let protocol = match plan.workload {
        Workload::H2 { .. } => Protocol::Http2,
        Workload::Handshake { .. }
        | Workload::H1 { .. }
        | Workload::Rate { .. }
        | Workload::Download { .. }
        | Workload::Upload { .. }
        | Workload::Idle { .. } => Protocol::Http1,
    };
    let offer = Offer {
        group: plan.group,
        suite: plan.suite,
        protocol,
        resume: matches!(plan.workload, Workload::Handshake { resume: true, .. }),
    };
    Connector::new(
        plan.to,
        plan.server_name.clone(),
        &plan.ca,
        &plan.identities,
        offer,
        read_buffer,
    )
    .map_err(RunError::Tls)
}

/// Raises the soft limit of descriptors as far as is needed and allowed.
fn raise_descriptors(connections: u32) -> Result<(), RunError> {
    let wanted = u64::from(connections) + SPARE_DESCRIPTORS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if let Some(limit) = maximum.filter(|maximum| *maximum < wanted) {
        return Err(RunError::Descriptors { wanted, limit });
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| RunError::System(error.into()))
}
