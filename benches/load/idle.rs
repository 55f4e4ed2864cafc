//! What an idle connection costs: memory of the server, and its CPU time while nothing happens.
//!
//! A tenth of the connections is opened first, so that what the server allocates once is not
//! counted; the growth of its resident memory from there to all connections is divided by the
//! number of the rest. Each connection carries one GET before it falls idle, because what a server
//! keeps after a request is what it keeps for hours. Another GET at the end shows that it still
//! lives. What this file does not do: it does not see memory of the kernel (sockets).

use crate::error::RunError;
use crate::fault::Fault;
use crate::meter::Meter;
use crate::over_h1::{Connection, Request};
use crate::plan::{OPENING, Plan};
use crate::report::Measured;
use crate::tls::Stream;
use crate::workloads::Load;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How long after the last request the server gets to put its buffers away.
const SETTLING: Duration = Duration::from_millis(500);

/// Opens the connections, holds them for the window, and asks each whether it still lives.
pub(crate) async fn hold(
    plan: &Plan,
    connections: u32,
    load: &Rc<Load>,
    meter: &Meter,
) -> Result<Measured, RunError> {
    let request = Rc::new(Request::get(&plan.authority, &plan.target).map_err(RunError::Target)?);
    let first = (connections / 10).max(1);
    let mut open = Vec::new();
    let mut grown = Vec::new();
    for wanted in [first, connections] {
        let missing = u64::from(wanted) - open.len() as u64;
        let opening = use_each(load, &request, (0..missing).map(|_| None));
        let Ok(opened) = timeout(OPENING, opening).await else {
            return Err(RunError::Opening {
                opened: load.tally().open_count(),
                wanted: connections,
            });
        };
        open.extend(opened);
        sleep(SETTLING).await;
        grown.push(meter.resident().map_err(RunError::Process)?);
    }
    let begin = meter.read().map_err(RunError::Process)?;
    load.tally().begin(begin.at());
    sleep(plan.window).await;
    let end = meter.read().map_err(RunError::Process)?;
    load.tally().end(end.at());
    let rest = f64::from(connections - first);
    let growth = difference(grown.last(), grown.first());
    let measured = meter
        .between(&begin, &end, Some(growth / rest))
        .map_err(RunError::Process)?;

    let asking = use_each(load, &request, open.into_iter().map(Some));
    if timeout(OPENING, asking).await.is_err() {
        load.tally().stalled(load.tally().in_flight());
    }
    Ok(measured)
}

/// One GET on each of these connections, where there is none on a new one. Returns those that are
/// good; the rest is counted as faults.
async fn use_each(
    load: &Rc<Load>,
    request: &Rc<Request>,
    connections: impl Iterator<Item = Option<Connection<Stream>>>,
) -> Vec<Connection<Stream>> {
    let mut tasks = JoinSet::new();
    for connection in connections {
        let (load, request) = (Rc::clone(load), Rc::clone(request));
        tasks.spawn_local(async move { use_one(&load, &request, connection).await });
    }
    let mut good = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        good.extend(ended.ok().flatten());
    }
    good
}

async fn use_one(
    load: &Load,
    request: &Request,
    connection: Option<Connection<Stream>>,
) -> Option<Connection<Stream>> {
    let tally = load.tally();
    if connection.is_none() && tally.is_given_up() {
        return None;
    }
    tally.started();
    let started = Instant::now();
    match asked(load, request, connection).await {
        Ok(connection) => {
            tally.answered(started, Instant::now());
            Some(connection)
        }
        Err(fault) => {
            tally.failed(&fault);
            None
        }
    }
}

async fn asked(
    load: &Load,
    request: &Request,
    connection: Option<Connection<Stream>>,
) -> Result<Connection<Stream>, Fault> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => {
            let connection = load.open().await?;
            load.tally().opened();
            connection
        }
    };
    connection.exchange(request, |_| ()).await?;
    Ok(connection)
}

/// Memory may also have shrunk.
#[allow(clippy::cast_precision_loss)] // bytes of memory are far below 2^53
fn difference(later: Option<&u64>, earlier: Option<&u64>) -> f64 {
    match (later, earlier) {
        (Some(&later), Some(&earlier)) => later as f64 - earlier as f64,
        (None, _) | (_, None) => 0.0,
    }
}
