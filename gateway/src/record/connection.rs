//! The record of an established connection: its facts first, its end when it is dropped.
//!
//! A client with a certificate has both on record, whatever it does. One without has them on record
//! once a rule permitted one of its requests; until then it has proved nothing, and is noise.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use audit::appender::Appender;
use audit::event::{Close, Code, Entry, Event, Handshake, Hex16, Time};
use audit::queue::Share;

use super::{Recorder, certificate, now};
use crate::peer::{Client, Peer, Protocol};

/// The record of an established connection.
#[derive(Debug)]
pub struct ConnectionRecord {
    recorder: Recorder,
    peer: Rc<Peer>,
    /// Whether the facts are in the log's queue.
    stands: Cell<bool>,
    since: Instant,
    requests: Cell<u64>,
    /// Why it ends, once somebody has said so.
    code: Cell<Option<Code>>,
}

impl ConnectionRecord {
    /// Records the facts of a connection. If the log takes none now, the first request tries again.
    pub fn open(recorder: &Recorder, peer: Rc<Peer>) -> ConnectionRecord {
        let metrics = recorder.metrics();
        metrics.connection_opened(peer.listener.as_str());
        let record = ConnectionRecord {
            recorder: recorder.clone(),
            peer,
            stands: false.into(),
            since: Instant::now(),
            requests: 0.into(),
            code: None.into(),
        };
        match record.peer.client {
            Client::Known(_) => record.ensure(),
            Client::Anonymous => false,
        };
        record
    }

    /// Makes sure that the facts of the connection are recorded before anything on it is. What is
    /// queued later is durable later, so nobody waits here.
    pub(super) fn ensure(&self) -> bool {
        if !self.stands.get() {
            let facts = Event::Handshake(handshake(&self.peer));
            self.stands.set(self.recorder.queue(facts, self.share()));
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

    /// On whose account its records wait.
    pub(super) fn share(&self) -> Share {
        share(&self.peer)
    }

    /// Why a request on it ended that nobody gave a reason for: for the reason for which the
    /// connection does, if that is one of ours.
    pub(super) fn unsaid(&self) -> Code {
        let unsaid = self.recorder.shared.unsaid();
        match self.code.get() {
            Some(Code::Complete | Code::ClosedByClient | Code::ClosedAfterAnswer) | None => unsaid,
            Some(_) if unsaid == Code::Panic => unsaid,
            Some(code) => code,
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
        let metrics = self.recorder.metrics();
        metrics.connection_closed(self.peer.listener.as_str(), code);
        let mut end = End {
            peer: Rc::clone(&self.peer),
            stands: self.stands.get(),
            at: now(),
            close: Close {
                connection_id: self.peer.connection,
                code,
                requests: self.requests.get(),
                milliseconds: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            },
        };
        if matches!(self.peer.client, Client::Known(_)) || end.stands {
            self.recorder.owe(end);
        } else {
            let (address, log) = (self.peer.address, self.recorder.log.clone());
            self.recorder.noise(address, code, || end.write(&log));
        }
    }
}

/// The end of a connection, on its way into the log.
#[derive(Debug)]
pub(super) struct End {
    peer: Rc<Peer>,
    /// Whether the facts of the connection are in the log's queue.
    stands: bool,
    /// When it ended.
    at: Time,
    close: Close,
}

impl End {
    /// Queues what is still owed of it, and says whether there was room.
    pub(super) fn write(&mut self, log: &Appender) -> bool {
        let time = self.at;
        let share = share(&self.peer);
        let queue = |event| {
            log.log()
                .append_unwaited(&Entry { time, event }, share)
                .is_ok()
        };
        self.stands = self.stands || queue(Event::Handshake(handshake(&self.peer)));
        self.stands && queue(Event::Close(self.close.clone()))
    }
}

fn share(peer: &Peer) -> Share {
    match peer.client {
        Client::Known(_) => Share::Proven,
        Client::Anonymous => Share::Unproven,
    }
}

fn handshake(peer: &Peer) -> Handshake<'_> {
    let Peer {
        connection,
        address,
        origin: _,
        listener,
        client,
        channel,
    } = peer;
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
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 => "h2",
        }),
        sni: channel.sni.as_deref(),
        ja4: &channel.ja4,
    }
}
