//! The workloads: what each connection does, over and over, until the run is over.
//!
//! All but `rate` are closed loops: the next request starts when the answer to the last one is
//! there, so the server sets the pace and the latency says how long its queue is. What this file
//! does not do: it does not know when the window begins or ends; [`tally`](crate::tally) does.

use crate::fault::Fault;
use crate::over_h1::{Connection, Request};
use crate::over_h2::{self, Requests};
use crate::pace::Pacer;
use crate::tally::Tally;
use crate::tls::{Connector, Stream, is_resumed};
use http1::connection::Persistence;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, timeout};

/// Handshakes at once while connections are opened that will be kept: more would overflow the
/// listener's backlog and wait for TCP to try again.
const OPENING_AT_ONCE: usize = 64;

/// How long a connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// What all connections of a run share.
#[derive(Debug)]
pub(crate) struct Load {
    connector: Connector,
    tally: Tally,
    opening: Semaphore,
    read_size: usize,
}

impl Load {
    /// `read_size` is how many bytes are read from TLS at once.
    pub(crate) fn new(connector: Connector, read_size: usize) -> Self {
        Self {
            connector,
            tally: Tally::new(),
            opening: Semaphore::new(OPENING_AT_ONCE),
            read_size,
        }
    }

    /// What was counted so far.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// A connection that will be kept.
    pub(crate) async fn open(&self) -> Result<Connection<Stream>, Fault> {
        let stream = self.open_stream().await?;
        Ok(Connection::new(stream, self.read_size))
    }

    async fn open_stream(&self) -> Result<Stream, Fault> {
        // The semaphore is never closed; without a permit there would only be more at once.
        let _permit = self.opening.acquire().await.ok();
        let stream = self.connector.connect().await?;
        self.tally.handshaken(is_resumed(&stream));
        Ok(stream)
    }
}

/// A new connection for each request: connect, handshake, GET, close. With `resume` a handshake
/// within the window that is not resumed is a fault.
pub(crate) async fn handshakes(load: Rc<Load>, request: Rc<Request>, resume: bool) {
    let tally = &load.tally;
    tally.opened();
    while !tally.is_over() {
        let started = Instant::now();
        tally.started();
        match handshake(&load, &request, resume).await {
            Ok(connection) => {
                tally.answered(started, Instant::now());
                connection.close().await;
            }
            Err(fault) => tally.failed(&fault),
        }
    }
}

async fn handshake(
    load: &Load,
    request: &Request,
    resume: bool,
) -> Result<Connection<Stream>, Fault> {
    let stream = load.connector.connect().await?;
    let resumed = is_resumed(&stream);
    load.tally.handshaken(resumed);
    if resume && !resumed && load.tally.is_measuring() {
        return Err(Fault::NotResumed);
    }
    let mut connection = Connection::new(stream, load.read_size);
    let answer = connection.exchange(request, |_| ()).await;
    answer.map(|_| connection)
}

/// Request after request on one connection, which is opened anew when the server ends it. With
/// `wanted` a body of another length is a fault.
pub(crate) async fn keep_alive(load: Rc<Load>, request: Rc<Request>, wanted: Option<u64>) {
    let tally = &load.tally;
    let mut is_first = true;
    while !tally.is_over() {
        let Some(mut connection) = opened(&load, &mut is_first).await else {
            continue;
        };
        while !tally.is_over() {
            let started = Instant::now();
            tally.started();
            let exchanged = connection
                .exchange(&request, |bytes| tally.passed(bytes))
                .await
                .and_then(|answer| match wanted {
                    Some(wanted) if answer.body != wanted => Err(Fault::Length {
                        wanted,
                        received: answer.body,
                    }),
                    Some(_) | None => Ok(answer),
                });
            match exchanged {
                Ok(answer) => {
                    tally.answered(started, Instant::now());
                    if answer.persistence == Persistence::Close {
                        tally.reconnected();
                        break;
                    }
                }
                Err(fault) => {
                    tally.failed(&fault);
                    break;
                }
            }
        }
        let _ = timeout(GOODBYE, connection.close()).await;
    }
}

/// The requests of a schedule, as far as this connection is free to take them.
pub(crate) async fn at_rate(load: Rc<Load>, request: Rc<Request>, pacer: Rc<Pacer>) {
    let tally = &load.tally;
    let mut is_first = true;
    let mut is_done = false;
    while !is_done && !tally.is_given_up() {
        let Some(mut connection) = opened(&load, &mut is_first).await else {
            // The schedule goes on: what falls due meanwhile waits for another connection.
            is_done = tally.is_over();
            continue;
        };
        loop {
            let Some(intended) = pacer.next().await else {
                is_done = true;
                break;
            };
            let sent = Instant::now();
            tally.started();
            match connection.exchange(&request, |_| ()).await {
                Ok(answer) => {
                    tally.answered_at_rate(intended, sent, Instant::now());
                    if answer.persistence == Persistence::Close {
                        tally.reconnected();
                        break;
                    }
                }
                Err(fault) => {
                    tally.failed(&fault);
                    break;
                }
            }
        }
        let _ = timeout(GOODBYE, connection.close()).await;
    }
}

/// A connection, counted when it is the first one; a fault counted, and `None`, when there is none.
async fn opened(load: &Load, is_first: &mut bool) -> Option<Connection<Stream>> {
    match load.open().await {
        Ok(connection) => {
            if std::mem::take(is_first) {
                load.tally.opened();
            }
            Some(connection)
        }
        Err(fault) => {
            load.tally.fault(&fault);
            None
        }
    }
}

/// Request after request on each of `streams` streams of one HTTP/2 connection, which is opened
/// anew when the server ends it.
pub(crate) async fn multiplexed(load: Rc<Load>, request: Rc<http::Request<()>>, streams: u32) {
    let tally = &load.tally;
    let mut is_first = true;
    while !tally.is_over() {
        let begun = match load.open_stream().await {
            Ok(stream) => over_h2::begin(stream).await,
            Err(fault) => Err(fault),
        };
        let (requests, driver) = match begun {
            Ok(begun) => begun,
            Err(fault) => {
                tally.fault(&fault);
                continue;
            }
        };
        if std::mem::take(&mut is_first) {
            tally.opened();
        }
        let driver = spawn_local(driver);
        let mut workers = JoinSet::new();
        for _ in 0..streams {
            workers.spawn_local(stream(
                Rc::clone(&load),
                Rc::clone(&request),
                requests.clone(),
            ));
        }
        drop(requests);
        let mut goodbyes = 0_u32;
        while let Some(ended) = workers.join_next().await {
            goodbyes += u32::from(matches!(ended, Ok(End::Goodbye)));
        }
        if goodbyes > 0 {
            tally.reconnected();
        }
        // What ended the connection was told by its streams.
        let _ = timeout(GOODBYE, driver).await;
    }
}

/// How the loop of a stream ended.
enum End {
    /// The run is over, or the connection broke.
    Over,
    /// The server ended the connection in good order.
    Goodbye,
}

/// Request after request, each on a stream of its own.
async fn stream(load: Rc<Load>, request: Rc<http::Request<()>>, mut requests: Requests) -> End {
    let tally = &load.tally;
    while !tally.is_over() {
        let started = Instant::now();
        tally.started();
        let exchanged =
            over_h2::exchange(&mut requests, &request, |bytes| tally.passed(bytes)).await;
        match exchanged {
            Ok(_) => tally.answered(started, Instant::now()),
            Err(fault) if over_h2::is_goodbye(&fault) => {
                tally.withdrawn();
                return End::Goodbye;
            }
            Err(fault) => {
                tally.failed(&fault);
                if !matches!(fault, Fault::Status(_)) {
                    return End::Over;
                }
            }
        }
    }
    End::Over
}
