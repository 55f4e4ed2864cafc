//! The single list of what is logged: stage values become events of the audit log.
//!
//! A request's record is a guard. It is opened before anything is asked of the request, with a place
//! reserved in the log; whoever drops it (a client that hangs up, a panic) leaves the outcome on
//! record all the same. Peers that proved nothing are bounded by `audit::noise`, take no place that
//! a device could need, and never wait.
//!
//! Codes come in as [`Code`], never as the refusals that they stand for. No payload goes in; a patient
//! goes in as a pseudonym. The target of a request, with its path and query, goes into its first record
//! alone, of a sealed log, in a block that is sealed once more; a peer that proved nothing leaves none.

mod connection;

mod subjects;

mod request;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use audit::appender::Appender;
use audit::event::{
    Certificate, Code, Digest, Entry, Event, HandshakeRefused, Hex16, Id, Offered, Time,
};
use audit::log::Log;
use audit::noise::{NoiseTable, Verdict};
use audit::queue::Share;
use audit::seal::pseudonym::TenantKey;

use crate::access::AccessLog;
use crate::hello::{ClientHello, ServerName};
use crate::identity::CertificateFacts;
use crate::metrics::Metrics;

pub use connection::ConnectionRecord;
use connection::End;
pub use request::{AnswerFacts, Record};

/// What one worker records with: the log, the counts of noise, the metrics, the access log.
#[derive(Debug, Clone)]
pub struct Recorder {
    log: Appender,
    shared: Arc<RecorderShared>,
    /// Ends of connections for which the log had no room yet.
    owed: Rc<RefCell<VecDeque<End>>>,
}

/// What all workers share of it.
pub struct RecorderShared {
    noise: Mutex<NoiseTable>,
    /// Below so much free space peers that proved nothing are counted only.
    min_free: u64,
    /// Whether the process cuts off what is still there.
    cutting: AtomicBool,
    /// Counters.
    pub metrics: Metrics,
    /// Lines for operators.
    pub access: AccessLog,
    /// What patients are named with. Without it none is, and each record says so.
    patients: Option<Arc<TenantKey>>,
}

/// Nothing of the key.
impl fmt::Debug for RecorderShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderShared")
            .field("min_free", &self.min_free)
            .field("cutting", &self.cutting)
            .field("names_patients", &self.patients.is_some())
            .finish_non_exhaustive()
    }
}

impl RecorderShared {
    /// Nothing recorded yet.
    pub fn new(
        min_free: u64,
        metrics: Metrics,
        access: AccessLog,
        patients: Option<Arc<TenantKey>>,
    ) -> RecorderShared {
        RecorderShared {
            noise: Mutex::default(),
            min_free,
            cutting: AtomicBool::new(false),
            metrics,
            access,
            patients,
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
    /// So many ends of connections wait for room in the log, of one worker. Beyond these the oldest
    /// are given up and counted.
    const OWED: usize = 16 * 1024;

    /// A recorder for this thread.
    pub fn new(log: Appender, shared: Arc<RecorderShared>) -> Recorder {
        Recorder {
            log,
            shared,
            owed: Rc::default(),
        }
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Records a peer that was turned away before its connection was established.
    pub fn handshake_refused(&self, refused: &RefusedPeer<'_>) {
        let code = refused.code;
        self.shared.metrics.handshakes_refused(code);
        let event = Event::HandshakeRefused(HandshakeRefused {
            connection_id: refused.connection,
            listener: refused.listener,
            address: refused.address,
            code,
            alert: refused.alert,
            offered: refused.hello.map(|(hello, ja4)| offered(hello, ja4)),
            certificate: refused.certificate.map(certificate),
            detail: refused.detail,
        });
        self.noise(refused.address, code, || self.queue(event, Share::Unproven));
    }

    /// Records the ends of connections that are still owed, as far as the log has room. To be called
    /// once in a while, and when the worker ends.
    pub fn settle(&self) {
        let mut owed = self.owed.borrow_mut();
        while let Some(end) = owed.front_mut() {
            if !end.write(&self.log) {
                break;
            }
            owed.pop_front();
        }
    }

    /// Records how a connection ended, now or when the log has room again.
    fn owe(&self, mut end: End) {
        let mut owed = self.owed.borrow_mut();
        if owed.is_empty() && end.write(&self.log) {
            return;
        }
        if owed.len() >= Self::OWED {
            owed.pop_front();
            self.shared.metrics.close_unrecorded();
        }
        owed.push_back(end);
    }

    /// Counts what a peer did that proved nothing. Where it may stand alone, `write` puts it on
    /// record, and says whether there was room.
    fn noise(&self, address: SocketAddr, code: Code, write: impl FnOnce() -> bool) {
        let time = now();
        let low = self.log.log().status().free < self.shared.min_free;
        let judge = |only_count| {
            let mut noise = self.shared.noise.lock();
            let noise = noise.as_mut().map_err(PoisonError::get_mut);
            noise
                .unwrap_or_else(|noise| noise)
                .judge(address, code, time, only_count)
        };
        if judge(low) == Verdict::Alone && !write() {
            judge(true);
        }
    }

    /// Queues an event that nobody waits for, and says whether there was room.
    fn queue(&self, event: Event<'_>, share: Share) -> bool {
        let entry = Entry { time: now(), event };
        self.log.log().append_unwaited(&entry, share).is_ok()
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
