//! The connections of one worker to its upstreams.
//!
//! An HTTP/1.1 connection is lent to one request and comes back only after an answer that ended
//! cleanly; an HTTP/2 connection is shared by many. How many requests hold one is capped; the next
//! one waits its turn, but not longer than it would wait for a connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use config::UpstreamName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connect::{Transport, connect, connect_http1};
use super::{UpstreamRefusal, http2};
use crate::dial::Resolver;
use crate::endpoint::Endpoint;
use crate::peer::Protocol;
use crate::timer::Timer;

/// The pools of one worker, each made when a request first needs it.
#[derive(Debug, Default)]
pub struct Pools {
    pools: RefCell<Vec<Rc<Pool>>>,
}

impl Pools {
    /// Closes what has been idle for too long, and what leads to none of these endpoints and is not in
    /// use. To be called once in a while.
    pub fn sweep(&self, wanted: &HashMap<UpstreamName, Arc<Endpoint>>) {
        let mut pools = self.pools.borrow_mut();
        pools.retain(|pool| {
            let mut wanted = wanted.values();
            Rc::strong_count(pool) > 1 || wanted.any(|wanted| Arc::ptr_eq(wanted, &pool.endpoint))
        });
        pools.iter().for_each(|pool| pool.sweep());
    }

    /// The connections to this very endpoint: not to one of the same name that another
    /// configuration knew.
    pub(super) fn of(&self, endpoint: &Arc<Endpoint>) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        if let Some(pool) = pools
            .iter()
            .find(|pool| Arc::ptr_eq(&pool.endpoint, endpoint))
        {
            return Rc::clone(pool);
        }
        let pool = Rc::new(Pool::new(Arc::clone(endpoint)));
        pools.push(Rc::clone(&pool));
        pool
    }
}

/// The connections to one upstream.
#[derive(Debug)]
pub(super) struct Pool {
    endpoint: Arc<Endpoint>,
    in_use: Arc<Semaphore>,
    /// What lasts for hours takes nothing from what does not.
    alone: Arc<Semaphore>,
    resolver: Resolver,
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<http2::Shared>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection without its lease.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) buffer: BytesMut,
    /// Memory for the head of the next request; of no use to anybody else.
    pub(super) spare: BytesMut,
    /// Sees to it that the upstream does not wait too long.
    pub(super) timer: Timer,
    /// How much may be there to be read, bytes, judged by what was read last.
    pub(super) read_next: usize,
    /// Whether it has carried a request before.
    pub(super) kept: bool,
}

impl Connection {
    fn new(transport: Transport) -> Connection {
        Connection {
            transport,
            buffer: BytesMut::new(),
            spare: BytesMut::new(),
            timer: Timer::default(),
            read_next: 0,
            kept: false,
        }
    }
}

/// The right to send one request.
pub(super) enum Lease {
    /// On a connection of its own.
    Http1(Lent),
    /// On a stream of a shared one.
    Http2(http2::Stream),
}

/// A lent HTTP/1.1 connection. Dropped, it is closed; [`Lent::give_back`] keeps it.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) connection: Connection,
    pool: Rc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Lent {
    /// Keeps the connection for the next request. Only after an answer that ended as its framing
    /// says, on a connection that both sides want to keep.
    pub(super) fn give_back(self) {
        let mut connection = self.connection;
        connection.kept = true;
        self.pool.idle.borrow_mut().push(Idle {
            connection,
            since: Instant::now(),
        });
    }
}

impl Pool {
    fn new(endpoint: Arc<Endpoint>) -> Pool {
        let in_use = Arc::new(Semaphore::new(endpoint.connections));
        let alone = Arc::new(Semaphore::new((endpoint.connections / 2).max(1)));
        Pool {
            endpoint,
            in_use,
            alone,
            resolver: Resolver::new(),
            idle: RefCell::default(),
            shared: RefCell::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The right to send one request in HTTP/1.1 on a connection that nobody used before, and that goes to
    /// nobody else afterwards: for a WebSocket.
    pub(super) async fn lease_alone(self: &Rc<Self>) -> Result<Lease, UpstreamRefusal> {
        let permit = Arc::clone(&self.alone).try_acquire_owned();
        let permit = permit.map_err(|_| UpstreamRefusal::Busy)?;
        let transport = connect_http1(&self.endpoint, &self.resolver).await?;
        Ok(Lease::Http1(Lent {
            connection: Connection::new(transport),
            pool: Rc::clone(self),
            _permit: permit,
        }))
    }

    /// The right to send one request, on a connection that is there or on a new one.
    pub(super) async fn lease(self: &Rc<Self>) -> Result<Lease, UpstreamRefusal> {
        if let Some(stream) = self.shared_stream() {
            return Ok(Lease::Http2(stream));
        }
        let permit = if let Ok(permit) = Arc::clone(&self.in_use).try_acquire_owned() {
            permit
        } else {
            let wait = Arc::clone(&self.in_use).acquire_owned();
            let waited = tokio::time::timeout(self.endpoint.connect, wait).await;
            waited
                .ok()
                .and_then(Result::ok)
                .ok_or(UpstreamRefusal::Busy)?
        };
        // Somebody may have opened a shared connection, or returned one, meanwhile.
        if let Some(stream) = self.shared_stream() {
            return Ok(Lease::Http2(stream));
        }
        if let Some(connection) = self.kept().await {
            return Ok(Lease::Http1(Lent {
                connection,
                pool: Rc::clone(self),
                _permit: permit,
            }));
        }
        // What few requests need is no part of the future of each.
        let (transport, protocol) = Box::pin(connect(&self.endpoint, &self.resolver)).await?;
        match protocol {
            Protocol::Http1 => Ok(Lease::Http1(Lent {
                connection: Connection::new(transport),
                pool: Rc::clone(self),
                _permit: permit,
            })),
            Protocol::Http2 => {
                let shared = http2::Shared::start(transport, permit, &self.endpoint);
                let shared = Box::pin(shared).await?;
                let stream = shared.stream().ok_or(UpstreamRefusal::Broken {
                    how: "a new HTTP/2 connection takes no stream",
                })?;
                self.shared.borrow_mut().push(shared);
                Ok(Lease::Http2(stream))
            }
        }
    }

    /// The connection that was used last, if it is still of use.
    async fn kept(&self) -> Option<Connection> {
        loop {
            let Idle {
                mut connection,
                since,
            } = self.idle.borrow_mut().pop()?;
            let fresh = since.elapsed() < self.endpoint.idle;
            let quiet = std::future::poll_fn(|context| {
                std::task::Poll::Ready(connection.transport.is_quiet(context))
            });
            if fresh && quiet.await {
                return Some(connection);
            }
        }
    }

    fn shared_stream(&self) -> Option<http2::Stream> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(http2::Shared::is_open);
        shared.iter().find_map(http2::Shared::stream)
    }

    fn sweep(&self) {
        let idle = self.endpoint.idle;
        self.idle
            .borrow_mut()
            .retain(|kept| kept.since.elapsed() < idle);
        self.shared
            .borrow_mut()
            .retain(|shared| shared.is_open() && shared.is_wanted(idle));
    }
}
