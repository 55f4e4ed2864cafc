//! The single list of what is logged: stage values become events of the audit log.
//!
//! A request's record is a guard. It is opened before anything is asked of the request, with a place
//! reserved in the log; whoever drops it (a client that hangs up, a panic) leaves the outcome on
//! record all the same. Peers that proved nothing are bounded by `audit::noise` and never wait.
//!
//! Codes come in as [`Code`], never as the refusals that they stand for. No payload, no query and no
//! path goes in.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use audit::error::AppendError;
use audit::event::{
    Certificate, Close, Code, Completion, Digest, Entry, Event, Handshake, HandshakeRefused, Hex16,
    Id, Intent, Offered, Refusal, Release, Request, Time,
};
use audit::log::{Log, Slot};
use audit::noise::{NoiseTable, Verdict};
use audit::queue::Share;
use audit::worker::{Append, Worker};
use http::Method;

use crate::authorize::Rule;
use crate::hello::{ClientHello, ServerName};
use crate::identity::CertificateFacts;
use crate::metrics::Metrics;
use crate::peer::{Client, Peer};
use crate::route::RouteEntry;

/// What the workers record with: the log, the counts of noise, the metrics, the access log.
#[derive(Debug, Clone)]
pub struct Recorder {
    log: Worker,
    shared: Arc<RecorderShared>,
}

/// What all workers share of it.
#[derive(Debug)]
pub struct RecorderShared {
    noise: Mutex<NoiseTable>,
    /// Below so much free space peers that proved nothing are counted only.
    min_free: u64,
    /// Whether the process cuts off what is still there.
    cutting: AtomicBool,
    /// Counters.
    pub metrics: Metrics,
    /// Lines for operators.
    pub access: crate::access::AccessLog,
}

impl RecorderShared {
    /// Nothing recorded yet.
    pub fn new(
        min_free: u64,
        metrics: Metrics,
        access: crate::access::AccessLog,
    ) -> RecorderShared {
        RecorderShared {
            noise: Mutex::default(),
            min_free,
            cutting: AtomicBool::new(false),
            metrics,
            access,
        }
    }

    /// From now on, what ends without a word of its own was cut off by us.
    pub fn cut_off(&self) {
        self.cutting.store(true, Ordering::Release);
    }

    /// Why something ended that nobody gave a reason for.
    fn unsaid(&self) -> Code {
        if std::thread::panicking() {
            Code::Panic
        } else if self.cutting.load(Ordering::Acquire) {
            Code::Drained
        } else {
            Code::ClientGone
        }
    }

    /// Writes the summaries of noise whose minute is over, or all of them.
    pub fn sweep(&self, log: &Log, all: bool) {
        let now = now();
        let mut noise = self.noise.lock().unwrap_or_else(PoisonError::into_inner);
        noise.sweep(now, all, |summary| {
            let entry = Entry {
                time: now,
                event: Event::Noise(summary.clone()),
            };
            log.append_unwaited(&entry, Share::Unproven).is_ok()
        });
    }
}

impl Recorder {
    /// A recorder for this thread.
    pub fn new(log: Worker, shared: Arc<RecorderShared>) -> Recorder {
        Recorder { log, shared }
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Records a peer that was turned away before its connection was established.
    pub fn handshake_refused(&self, refused: &RefusedPeer<'_>) {
        let code = refused.code;
        self.shared.metrics.handshakes_refused(code);
        let certificate = refused.certificate.map(certificate);
        let event = Event::HandshakeRefused(HandshakeRefused {
            connection_id: refused.connection,
            listener: refused.listener,
            address: refused.address,
            code,
            alert: refused.alert,
            offered: refused.hello.map(|(hello, ja4)| offered(hello, ja4)),
            certificate,
            detail: refused.detail,
        });
        self.unproven(refused.address, code, event);
    }

    fn unproven(&self, address: SocketAddr, code: Code, event: Event<'_>) {
        let time = now();
        let log = self.log.log();
        let low = log.status().free < self.shared.min_free;
        let mut noise = self
            .shared
            .noise
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if noise.judge(address, code, time, low) == Verdict::Alone
            && log
                .append_unwaited(&Entry { time, event }, Share::Unproven)
                .is_err()
        {
            noise.count(address, code, time);
        }
    }
}

/// A peer that was turned away, as far as it showed itself.
#[derive(Debug)]
pub struct RefusedPeer<'a> {
    /// Joins the records of the connection.
    pub connection: Id,
    /// The listener's name.
    pub listener: &'a str,
    /// Where it comes from.
    pub address: SocketAddr,
    /// Why.
    pub code: Code,
    /// The alert that it was sent.
    pub alert: Option<u8>,
    /// Its hello, and the fingerprint of it.
    pub hello: Option<(&'a ClientHello, &'a str)>,
    /// The certificate that it presented.
    pub certificate: Option<&'a CertificateFacts>,
    /// Evidence for the code, in our words.
    pub detail: Option<&'a str>,
}

/// The record of an established connection: its facts first, its end when it is dropped.
#[derive(Debug)]
pub struct ConnectionRecord {
    recorder: Recorder,
    peer: Rc<Peer>,
    /// Whether the facts are in the log's queue.
    stands: std::cell::Cell<bool>,
    slot: Option<Slot>,
    since: Instant,
    requests: std::cell::Cell<u64>,
    /// Why it ends, once somebody has said so.
    code: std::cell::Cell<Option<Code>>,
}

impl ConnectionRecord {
    /// Records the facts of a connection. If the log takes none now, the first request tries again.
    pub fn open(recorder: &Recorder, peer: Rc<Peer>) -> ConnectionRecord {
        recorder
            .shared
            .metrics
            .connection_opened(peer.listener.as_str());
        let record = ConnectionRecord {
            recorder: recorder.clone(),
            peer,
            stands: false.into(),
            slot: recorder.log.log().reserve(Share::Proven).ok(),
            since: Instant::now(),
            requests: 0.into(),
            code: None.into(),
        };
        record.ensure();
        record
    }

    /// Makes sure that the facts of the connection are recorded before anything on it is. What is
    /// queued later is durable later, so nobody waits here.
    pub fn ensure(&self) -> bool {
        if !self.stands.get() {
            let entry = Entry {
                time: now(),
                event: Event::Handshake(self.handshake()),
            };
            // A peer without a certificate has proved nothing: it gets the smaller share.
            let queued = match self.peer.client {
                Client::Known(_) => self.recorder.log.append(&entry, Share::Proven).map(drop),
                Client::Anonymous => self
                    .recorder
                    .log
                    .log()
                    .append_unwaited(&entry, Share::Unproven),
            };
            self.stands.set(queued.is_ok());
        }
        self.stands.get()
    }

    /// Counts a request.
    pub fn count(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// Says why the connection ends. The last word counts.
    pub fn ends(&self, code: Code) {
        self.code.set(Some(code));
    }

    /// The peer.
    pub fn peer(&self) -> &Rc<Peer> {
        &self.peer
    }

    fn handshake(&self) -> Handshake<'_> {
        let Peer {
            connection,
            address,
            listener,
            client,
            channel,
        } = &*self.peer;
        Handshake {
            connection_id: *connection,
            listener: listener.as_str(),
            address: *address,
            client: client.qualified(),
            certificate: match client {
                Client::Anonymous => None,
                Client::Known(identity) => Some(certificate(identity.leaf())),
            },
            version: Hex16(channel.version),
            suite: Hex16(channel.suite),
            group: channel.group.map(Hex16),
            alpn: Some(match channel.protocol {
                crate::peer::Protocol::Http1 => "http/1.1",
                crate::peer::Protocol::Http2 => "h2",
            }),
            sni: channel.sni.as_deref(),
            ja4: &channel.ja4,
        }
    }
}

impl Drop for ConnectionRecord {
    fn drop(&mut self) {
        let unsaid = self.recorder.shared.unsaid();
        let code = match self.code.get() {
            Some(code) if unsaid != Code::Panic => code,
            Some(_) | None => unsaid,
        };
        self.recorder
            .shared
            .metrics
            .connection_closed(self.peer.listener.as_str(), code);
        let entry = Entry {
            time: now(),
            event: Event::Close(Close {
                connection_id: self.peer.connection,
                code,
                requests: self.requests.get(),
                milliseconds: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            }),
        };
        if let (true, Some(slot)) = (self.stands.get(), self.slot.take()) {
            slot.fill(&entry);
        }
    }
}

/// The record of a request, owed until it is settled.
#[derive(Debug)]
pub struct Record {
    recorder: Recorder,
    slot: Option<Slot>,
    peer: Rc<Peer>,
    id: Id,
    method: Method,
    route: Option<Arc<RouteEntry>>,
    rule: Option<Rule>,
    resource: Option<&'static str>,
    attempts: u8,
    since: Instant,
    /// Whether the log may say that an answer was released.
    release_queued: bool,
    stage: Stage,
}

/// How far the outcome of a request is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing, or the intent: something is owed.
    Open,
    /// The release of an answer: owed is how it ends.
    Released { status: u16 },
    /// All of it.
    Settled,
}

/// What is on record of an answer before it leaves.
#[derive(Debug, Clone, Copy)]
pub struct AnswerFacts<'a> {
    /// Its status.
    pub status: u16,
    /// Its media type.
    pub content_type: Option<&'a str>,
    /// Its length in bytes, in hand or declared.
    pub length: Option<u64>,
    /// SHA-256 of its content, in hand.
    pub digest: Option<[u8; 32]>,
    /// The upstream's name.
    pub upstream: &'a str,
}

impl Record {
    /// Opens the record of a request and reserves the place that its outcome will need.
    ///
    /// # Errors
    /// [`AppendError`]: what cannot be recorded is not served.
    pub fn open(
        recorder: &Recorder,
        connection: &ConnectionRecord,
        id: Id,
        method: Method,
    ) -> Result<Record, AppendError> {
        if !connection.ensure() {
            return Err(AppendError::Unavailable);
        }
        let slot = match connection.peer.client {
            Client::Known(_) => Some(recorder.log.log().reserve(Share::Proven)?),
            // Reserved once a rule has permitted it.
            Client::Anonymous => None,
        };
        Ok(Record {
            recorder: recorder.clone(),
            slot,
            peer: Rc::clone(&connection.peer),
            id,
            method,
            route: None,
            rule: None,
            resource: None,
            attempts: 0,
            since: Instant::now(),
            release_queued: false,
            stage: Stage::Open,
        })
    }

    /// Notes the route that was taken.
    pub fn routed(&mut self, route: &Arc<RouteEntry>, path: &str) {
        self.resource = if route.route.fhir {
            crate::fhir::resource_type(path)
        } else {
            None
        };
        self.route = Some(Arc::clone(route));
    }

    /// Notes the rule that permitted the request. From here on even a client without a name has a
    /// place reserved.
    ///
    /// # Errors
    /// [`AppendError`]: what cannot be recorded is not served.
    pub fn permitted(&mut self, rule: &Rule) -> Result<(), AppendError> {
        if self.slot.is_none() {
            self.slot = Some(self.recorder.log.log().reserve(Share::Proven)?);
        }
        self.rule = Some(rule.clone());
        Ok(())
    }

    /// Notes that the request was given to an upstream connection once more.
    pub fn attempted(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    /// The record before forwarding; the future ends when it is durable.
    ///
    /// # Errors
    /// [`AppendError`]: do not forward.
    pub fn intent(&self, content_length: Option<u64>) -> Result<Append, AppendError> {
        let event = Event::Intent(Intent {
            request: self.request(),
            content_length,
        });
        self.recorder
            .log
            .append(&Entry { time: now(), event }, Share::Proven)
    }

    /// The record before the first byte of an answer; the future ends when it is durable. What is
    /// still owed after it is how the answer ends.
    ///
    /// # Errors
    /// [`AppendError`]: nothing of the answer may leave.
    pub fn release(&mut self, answer: &AnswerFacts<'_>) -> Result<Append, AppendError> {
        let event = Event::Release(Release {
            request: self.request(),
            status: answer.status,
            content_type: answer.content_type,
            bytes: answer.length,
            digest: answer.digest.map(Digest::new),
            upstream: answer.upstream,
            attempts: self.attempts,
        });
        let append = self
            .recorder
            .log
            .append(&Entry { time: now(), event }, Share::Proven)?;
        self.stage = Stage::Released {
            status: answer.status,
        };
        self.release_queued = true;
        Ok(append)
    }

    /// The record in place of a release. The future ends when it is durable; there is none for a
    /// peer that proved nothing, who never waits.
    ///
    /// # Errors
    /// [`AppendError`]: answer that nothing can be recorded.
    pub fn refusal(
        &mut self,
        status: u16,
        code: Code,
        detail: Option<&str>,
    ) -> Result<Option<Append>, AppendError> {
        let event = Event::Refusal(Refusal {
            request: self.request(),
            address: self.peer.address,
            status,
            code,
            detail,
            attempts: self.attempts,
        });
        self.recorder
            .shared
            .metrics
            .request(self.route_name(), status, self.since.elapsed());
        self.recorder.shared.access.write(&event);
        let append = match (&self.peer.client, &self.rule) {
            (Client::Anonymous, None) => {
                self.recorder.unproven(self.peer.address, code, event);
                None
            }
            (Client::Known(_), _) | (_, Some(_)) => Some(
                self.recorder
                    .log
                    .append(&Entry { time: now(), event }, Share::Proven)?,
            ),
        };
        self.stage = Stage::Settled;
        Ok(append)
    }

    /// Settles an answer that left as its release promised: nothing more needs to be said of it.
    pub fn left_whole(mut self, bytes: u64) {
        if let Stage::Released { status } = self.stage {
            self.report(status, bytes, Code::Complete);
        }
        self.stage = Stage::Settled;
    }

    /// Settles the request with how its answer ended.
    pub fn ended(mut self, bytes: u64, code: Code) {
        self.settle(bytes, code);
    }

    /// Settles an answer whose receiver is gone before its end.
    pub fn broken_off(mut self, bytes: u64) {
        let code = self.recorder.shared.unsaid();
        self.settle(bytes, code);
    }

    /// Settles a request whose refusal could not be recorded when it had to be: what can be said of
    /// it goes into the place that was reserved.
    pub fn unrecorded(mut self) {
        let code = if self.release_queued {
            Code::Withheld
        } else {
            Code::AuditUnavailable
        };
        self.stage = Stage::Open;
        self.settle(0, code);
    }

    /// The route's name, once there is one.
    pub fn route_name(&self) -> Option<&str> {
        self.route
            .as_ref()
            .map(|entry| entry.route.name.value.as_str())
    }

    fn settle(&mut self, bytes: u64, code: Code) {
        let status = match self.stage {
            Stage::Settled => return,
            Stage::Open => None,
            Stage::Released { status } => Some(status),
        };
        self.stage = Stage::Settled;
        self.report(status.unwrap_or(0), bytes, code);
        let slot = self.slot.take();
        let event = Event::Completion(Completion {
            request: self.request(),
            status,
            bytes,
            code,
        });
        if let Some(slot) = slot {
            slot.fill(&Entry { time: now(), event });
        }
    }

    fn report(&self, status: u16, bytes: u64, code: Code) {
        self.recorder
            .shared
            .metrics
            .request(self.route_name(), status, self.since.elapsed());
        if self.recorder.shared.access.is_on() {
            let status = (status > 0).then_some(status);
            self.recorder
                .shared
                .access
                .write(&Event::Completion(Completion {
                    request: self.request(),
                    status,
                    bytes,
                    code,
                }));
        }
    }

    fn request(&self) -> Request<'_> {
        Request {
            request_id: self.id,
            connection_id: self.peer.connection,
            client: self.peer.client.qualified(),
            user: None,
            method: Some(method_name(&self.method)),
            route: self.route_name(),
            rule: self.rule.as_ref().map(Rule::as_str),
            resource: self.resource,
        }
    }
}

/// Whoever drops a record without settling it has seen the client leave, or has panicked.
impl Drop for Record {
    fn drop(&mut self) {
        let code = match self.stage {
            Stage::Open | Stage::Released { .. } => self.recorder.shared.unsaid(),
            Stage::Settled => return,
        };
        self.settle(0, code);
    }
}

/// A method that a client made up could be long, or could be anything: only known ones are named.
fn method_name(method: &Method) -> &str {
    if method.as_str().len() <= 24 {
        method.as_str()
    } else {
        "(long)"
    }
}

fn certificate(facts: &CertificateFacts) -> Certificate<'_> {
    Certificate {
        fingerprint: Digest::new(facts.fingerprint),
        serial: facts.serial.as_deref(),
        issuer: facts.issuer.as_deref(),
        not_after: facts.not_after.map(Time::from_unix_seconds),
    }
}

fn offered<'a>(hello: &'a ClientHello, ja4: &'a str) -> Offered<'a> {
    let cut = |list: &[u16]| {
        list.iter()
            .take(Offered::LIST)
            .copied()
            .map(Hex16)
            .collect()
    };
    Offered {
        versions: cut(&hello.versions),
        suites: cut(&hello.suites),
        groups: cut(&hello.groups),
        sni: hello.server_name.as_ref().and_then(ServerName::host),
        ja4: Some(ja4),
    }
}

fn now() -> Time {
    Time::from_system(SystemTime::now())
}
