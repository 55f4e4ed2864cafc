//! The path of a connection: permit, hello and handshake under one deadline, then the protocol that
//! ALPN chose, until it ends. Whatever happens, one record says how.

mod wire;

mod http1;

mod together;

mod http2;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use audit::event::{Code, Time};
use config::ListenerName;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::authorize::AuthorizeRefusal;
use crate::buffers::Buffers;
use crate::handshake::{self, Arrival, TurnedAway};
use crate::identity::CertificateFacts;
use crate::ids::Ids;
use crate::limit::Permit;
use crate::peer::Protocol;
use crate::pipeline::Pipeline;
use crate::record::{ConnectionRecord, RefusedPeer};
use crate::refusal::Refusal;
use crate::request::RequestId;

/// What the connections of one worker share.
#[derive(Debug)]
pub struct Shared {
    /// The path of their requests.
    pub pipeline: Pipeline,
    /// Ids.
    pub ids: Ids,
    /// Buffers.
    pub buffers: Buffers,
    /// What the process is up to.
    pub phase: watch::Receiver<Phase>,
}

/// What the process is up to, as far as connections have to know. Whoever changes what is in force rings, also
/// when no number changes: new revocation lists are no new configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// Number of the configuration in force.
    pub generation: u64,
    /// Whether connections should come to their end.
    pub draining: bool,
}

/// Serves one connection to its end.
pub async fn serve(
    shared: Rc<Shared>,
    stream: TcpStream,
    address: SocketAddr,
    listener: ListenerName,
    permit: Permit,
) {
    let accepted = Instant::now();
    let Some(connection) = shared.ids.next() else {
        tracing::error!("no randomness: a connection was not served");
        return;
    };
    let site = shared.pipeline.site.load_full();
    let Some(at) = site.listeners.get(&listener) else {
        // A reload took the listener away between the accept and here.
        shared.pipeline.recorder.handshake_refused(&RefusedPeer {
            connection,
            listener: listener.as_str(),
            address,
            code: Code::ListenerGone,
            alert: None,
            hello: None,
            certificate: None,
            detail: None,
        });
        return;
    };
    let deadline = accepted + at.limits.handshake;
    let arrival = Arrival {
        connection,
        address,
        listener: listener.clone(),
    };
    // Small answers must not wait for the acknowledgment of the ones before.
    let _ = stream.set_nodelay(true);
    let established = match handshake::establish(
        stream,
        &at.side,
        arrival,
        deadline,
        &shared.buffers,
        &shared.pipeline.asker,
    )
    .await
    {
        Ok(established) => established,
        Err(turned_away) => {
            record_refused(
                &shared,
                connection,
                listener.as_str(),
                address,
                &turned_away,
            );
            return;
        }
    };
    let limits = at.limits.clone();
    drop(site);
    let (stream, peer) = established.into_parts();
    let protocol = peer.channel.protocol;
    let record = Rc::new(ConnectionRecord::open(
        &shared.pipeline.recorder,
        Rc::new(peer),
    ));
    let driver = Driver {
        shared,
        record,
        limits,
        accepted,
    };
    match protocol {
        Protocol::Http1 => http1::serve(&driver, stream).await,
        Protocol::Http2 => http2::serve(driver, stream).await,
    }
    drop(permit);
}

fn record_refused(
    shared: &Shared,
    connection: audit::event::Id,
    listener: &str,
    address: SocketAddr,
    turned_away: &TurnedAway,
) {
    let TurnedAway {
        refusal,
        alert,
        hello,
        certificate,
    } = turned_away;
    let ja4 = hello.as_ref().map(|hello| hello.ja4());
    let certificate = certificate.as_ref().map(CertificateFacts::read);
    let detail = refusal.detail();
    shared.pipeline.recorder.handshake_refused(&RefusedPeer {
        connection,
        listener,
        address,
        code: refusal.code(),
        alert: *alert,
        hello: hello.as_deref().zip(ja4.as_deref()),
        certificate: certificate.as_ref(),
        detail: detail.as_deref(),
    });
}

/// An established connection, as its protocol drives it.
struct Driver {
    shared: Rc<Shared>,
    record: Rc<ConnectionRecord>,
    limits: config::Limits,
    accepted: Instant,
}

impl Driver {
    fn pipeline(&self) -> &Pipeline {
        &self.shared.pipeline
    }

    fn request_id(&self) -> Option<RequestId> {
        self.shared.ids.next().map(RequestId::new)
    }

    /// When the connection has reached its greatest age.
    fn oldest(&self) -> Instant {
        self.accepted + self.limits.age
    }

    /// Why the connection takes no further request after the one that it serves.
    fn leaving(&self) -> Option<Code> {
        if self.shared.phase.borrow().draining {
            Some(Code::Drained)
        } else if Instant::now() >= self.oldest() {
            Some(Code::AgeLimit)
        } else {
            None
        }
    }

    /// What the head of a request is held to, in whatever protocol it comes.
    fn head_limits(&self) -> ::http1::Limits {
        ::http1::Limits {
            head_bytes: usize::try_from(self.limits.head_bytes.get()).unwrap_or(usize::MAX),
            fields: self.limits.head_fields.get() as usize,
            ..::http1::Limits::default()
        }
    }

    /// Looks again at what the peer proved; an error is why the connection ends now.
    fn standing(&self) -> Result<(), Code> {
        self.pipeline()
            .standing(&self.record, now())
            .map_err(|refusal: AuthorizeRefusal| Refusal::Authorize(refusal).code())
    }
}

impl Driver {
    /// Ends, with its code, when a client is not vouched for any more: what is long under way asks nobody by itself.
    async fn no_longer_vouched(&self) -> Code {
        loop {
            sleep(VOUCHED).await;
            if let Err(refusal) = self.pipeline().vouched(&self.record).await {
                return Refusal::Authorize(refusal).code();
            }
        }
    }
}

/// So often it is asked, of what is long under way, whether its client is still vouched for; what is remembered
/// of it answers most of the time.
const VOUCHED: Duration = Duration::from_secs(10);

fn now() -> Time {
    Time::from_system(SystemTime::now())
}

/// What is under way on a connection that should come to its end is given so long.
const LEAVE: Duration = Duration::from_mins(1);

/// Waits until there is something that a connection has to know: that it should come to its end
/// (`true`), or that another configuration, or other revocation lists, are in force.
async fn news(phase: &mut watch::Receiver<Phase>) -> bool {
    match phase.changed().await {
        Ok(()) => phase.borrow_and_update().draining,
        // Nobody is left who could change anything: the worker ends, and this task with it.
        Err(_) => std::future::pending().await,
    }
}
