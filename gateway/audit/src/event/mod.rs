//! The closed vocabulary of the audit log: every event that can be on record, and its fields.
//!
//! An event says what happened in the terms of the gateway's stages. It holds no payload, no query,
//! no path below the route but in a block of its own that is sealed already, no key. `entry` turns it into canonical bytes; nothing here reads a
//! clock or a file.
//!
//! The numbers in `#[n(..)]` are the wire format. They are never reused; a new field takes the next
//! free number and is optional.

mod value;

mod house;

mod keeping;

mod connection;

mod subjects;

mod integrity;

mod request;

mod authority;

use minicbor::{Decode, Encode};
use serde::Serialize;

pub use crate::code::Code;
pub(crate) use authority::tell;
pub use authority::{
    Act, Authority, CertificateIntended, CertificateIssued, CertificateRevoked, Crl,
    RequestRefused, Requester, Token, TokenState, Verb,
};
pub use connection::{Certificate, Close, Handshake, HandshakeRefused, Noise, Offered};
pub use house::{
    Clock, Configuration, Damage, Decision, Discontinuity, EpochKey, Interrupted, LogRead,
    Recovered, Revocation, SigningKey, Start, Stop, UnsignedTail, Witness,
};
pub use integrity::{Content, Integrity};
pub use keeping::{Backup, By, Destruction, Hold, Kept, MAX_REASON, Restored, Retention};
pub use request::{Completion, Intent, Passage, Refusal, Release, Request, Sender};
pub use subjects::{Pseudonym, Subjects, Unknown};
pub use value::{Digest, Hex16, Id, Time};

/// The `type` of the event with this number on the wire.
#[must_use]
pub fn kind_name(number: u8) -> Option<&'static str> {
    KINDS
        .iter()
        .find(|(known, _)| *known == number)
        .map(|(_, name)| *name)
}

/// The `type` of every event.
pub fn kind_names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(_, name)| *name)
}

#[rustfmt::skip]
const KINDS: &[(u8, &str)] = &[
    (0, "start"), (1, "stop"), (2, "configuration"), (3, "decision"), (4, "revocation"),
    (5, "handshake"), (6, "handshake_refused"), (7, "close"),
    (8, "intent"), (9, "release"), (10, "completion"), (11, "refusal"),
    (12, "noise"), (13, "recovered"), (14, "interrupted"), (15, "passage"), (16, "signing_key"),
    (17, "epoch_key"), (18, "discontinuity"), (20, "unsigned_tail"),
    (21, "witness"), (22, "log_read"), (23, "clock"), (24, "retention"), (25, "hold"), (26, "destruction"),
    (27, "backup"), (28, "restored"),
    (29, "verb"), (30, "authority"), (31, "certificate_intended"), (32, "certificate_issued"),
    (33, "certificate_revoked"), (34, "crl"), (35, "token"), (36, "request_refused"),
];

/// One thing that happened, with the time at which the gateway saw it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry<'a> {
    /// When, by the system's clock.
    #[n(0)]
    pub time: Time,
    /// What.
    #[cbor(b(1))]
    pub event: Event<'a>,
}

/// Every event. The variant is the record's `type`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The log was opened by a process that will write to it.
    #[n(0)]
    Start(#[cbor(b(0))] Start<'a>),
    /// The writer is about to end cleanly; the last entry of a clean run.
    #[n(1)]
    Stop(#[cbor(b(0))] Stop<'a>),
    /// A configuration was put in force, or refused.
    #[n(2)]
    Configuration(#[cbor(b(0))] Configuration<'a>),
    /// A default was weakened, and the operator wrote down why (45 CFR 164.306(d)(3)).
    #[n(3)]
    Decision(#[cbor(b(0))] Decision<'a>),
    /// Revocation lists came into force for a trust set.
    #[n(4)]
    Revocation(#[cbor(b(0))] Revocation<'a>),
    /// A peer completed its handshake: the facts of the connection, which stand once.
    #[n(5)]
    Handshake(#[cbor(b(0))] Handshake<'a>),
    /// A peer was turned away before its connection was established.
    #[n(6)]
    HandshakeRefused(#[cbor(b(0))] HandshakeRefused<'a>),
    /// An established connection ended.
    #[n(7)]
    Close(#[n(0)] Close),
    /// A request is about to be forwarded (AUDIT.md, P2).
    #[n(8)]
    Intent(#[cbor(b(0))] Intent<'a>),
    /// An answer is about to leave (AUDIT.md, P1).
    #[n(9)]
    Release(#[cbor(b(0))] Release<'a>),
    /// How an answer ended that was streamed, or that ended otherwise than its release promised.
    #[n(10)]
    Completion(#[cbor(b(0))] Completion<'a>),
    /// A request was answered with a refusal, in place of `release`.
    #[n(11)]
    Refusal(#[cbor(b(0))] Refusal<'a>),
    /// Peers that proved nothing, counted rather than written one by one.
    #[n(12)]
    Noise(#[cbor(b(0))] Noise<'a>),
    /// The writer found the end of an earlier run damaged and set it aside.
    #[n(13)]
    Recovered(#[n(0)] Recovered),
    /// The log could not be written for a while, and now it can.
    #[n(14)]
    Interrupted(#[n(0)] Interrupted),
    /// A further window of a streamed answer is about to leave (AUDIT.md, P1).
    #[n(15)]
    Passage(#[cbor(b(0))] Passage<'a>),
    /// With which key the log's checkpoints are signed from here on.
    #[n(16)]
    SigningKey(#[cbor(b(0))] SigningKey<'a>),
    /// Entries from now on are encrypted under this key.
    #[n(17)]
    EpochKey(#[cbor(b(0))] EpochKey<'a>),
    /// An operator let the log go on although some of it was lost.
    #[n(18)]
    Discontinuity(#[cbor(b(0))] Discontinuity<'a>),
    /// The log was opened with entries at its end that were not signed yet.
    #[n(20)]
    UnsignedTail(#[n(0)] UnsignedTail),
    /// Somebody read the log.
    #[n(22)]
    LogRead(#[cbor(b(0))] LogRead<'a>),
    /// How long what is written from here on is kept.
    #[n(24)]
    Retention(#[cbor(b(0))] Retention<'a>),
    /// Somebody holds entries whatever their age, or lets them go.
    #[n(25)]
    Hold(#[cbor(b(0))] Hold<'a>),
    /// The keys of an epoch are destroyed.
    #[n(26)]
    Destruction(#[cbor(b(0))] Destruction<'a>),
    /// Somebody copied the log.
    #[n(27)]
    Backup(#[n(0)] Backup),
    /// The log goes on from a backup.
    #[n(28)]
    Restored(#[cbor(b(0))] Restored<'a>),
    /// A witness was lost, came back, forgot, or remembers another log.
    #[n(21)]
    Witness(#[cbor(b(0))] Witness<'a>),
    /// What the kernel says of the system's clock: at the start, and when it changes; or it was set.
    #[n(23)]
    Clock(#[cbor(b(0))] Clock<'a>),
    /// A command of an authority was run.
    #[n(29)]
    Verb(#[cbor(b(0))] Verb<'a>),
    /// Something was done with an authority itself.
    #[n(30)]
    Authority(#[cbor(b(0))] Authority<'a>),
    /// A certificate is about to be signed.
    #[n(31)]
    CertificateIntended(#[cbor(b(0))] CertificateIntended<'a>),
    /// A certificate was signed.
    #[n(32)]
    CertificateIssued(#[cbor(b(0))] CertificateIssued<'a>),
    /// A certificate is about to be revoked.
    #[n(33)]
    CertificateRevoked(#[cbor(b(0))] CertificateRevoked<'a>),
    /// A CRL is about to be signed, or was published.
    #[n(34)]
    Crl(#[cbor(b(0))] Crl<'a>),
    /// A one-time token was made, taken back or used.
    #[n(35)]
    Token(#[cbor(b(0))] Token<'a>),
    /// Somebody asked an authority for a certificate and did not get one.
    #[n(36)]
    RequestRefused(#[cbor(b(0))] RequestRefused<'a>),
}

impl Event<'_> {
    /// The record's `type`, as `audit show` prints it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Start(_) => "start",
            Event::Stop(_) => "stop",
            Event::Configuration(_) => "configuration",
            Event::Decision(_) => "decision",
            Event::Revocation(_) => "revocation",
            Event::Handshake(_) => "handshake",
            Event::HandshakeRefused(_) => "handshake_refused",
            Event::Close(_) => "close",
            Event::Intent(_) => "intent",
            Event::Release(_) => "release",
            Event::Completion(_) => "completion",
            Event::Refusal(_) => "refusal",
            Event::Noise(_) => "noise",
            Event::Recovered(_) => "recovered",
            Event::Interrupted(_) => "interrupted",
            Event::Passage(_) => "passage",
            Event::SigningKey(_) => "signing_key",
            Event::EpochKey(_) => "epoch_key",
            Event::Discontinuity(_) => "discontinuity",
            Event::UnsignedTail(_) => "unsigned_tail",
            Event::LogRead(_) => "log_read",
            Event::Witness(_) => "witness",
            Event::Retention(_) => "retention",
            Event::Hold(_) => "hold",
            Event::Destruction(_) => "destruction",
            Event::Backup(_) => "backup",
            Event::Restored(_) => "restored",
            Event::Clock(_) => "clock",
            Event::Verb(_) => "verb",
            Event::Authority(_) => "authority",
            Event::CertificateIntended(_) => "certificate_intended",
            Event::CertificateIssued(_) => "certificate_issued",
            Event::CertificateRevoked(_) => "certificate_revoked",
            Event::Crl(_) => "crl",
            Event::Token(_) => "token",
            Event::RequestRefused(_) => "request_refused",
        }
    }

    /// In one word, what became of it; `None` where the question has no meaning.
    #[must_use]
    pub fn outcome(&self) -> Option<&'static str> {
        match self {
            Event::Handshake(_) => Some("established"),
            Event::HandshakeRefused(_) | Event::Refusal(_) | Event::Noise(_) => Some("refused"),
            Event::Intent(_) => Some("intended"),
            Event::Release(_) | Event::Passage(_) => Some("released"),
            Event::Completion(c) if c.code == Code::Complete => Some("complete"),
            Event::Completion(_) => Some("broken_off"),
            Event::Close(_) => Some("closed"),
            Event::Configuration(c) if c.accepted => Some("accepted"),
            Event::Configuration(_) => Some("refused"),
            Event::CertificateIntended(_) => Some("intended"),
            Event::Crl(crl) if !crl.published => Some("intended"),
            Event::Verb(verb) if verb.code.is_none() => Some("complete"),
            Event::Verb(_) | Event::RequestRefused(_) => Some("refused"),
            Event::Authority(_)
            | Event::CertificateIssued(_)
            | Event::CertificateRevoked(_)
            | Event::Crl(_)
            | Event::Token(_)
            | Event::Start(_)
            | Event::Stop(_)
            | Event::Decision(_)
            | Event::Revocation(_)
            | Event::Recovered(_)
            | Event::Interrupted(_)
            | Event::EpochKey(_)
            | Event::Discontinuity(_)
            | Event::UnsignedTail(_)
            | Event::LogRead(_)
            | Event::Witness(_)
            | Event::Retention(_)
            | Event::Hold(_)
            | Event::Destruction(_)
            | Event::Backup(_)
            | Event::Restored(_)
            | Event::Clock(_)
            | Event::SigningKey(_) => None,
        }
    }

    /// The request that the record is about.
    #[must_use]
    pub fn request(&self) -> Option<&Request<'_>> {
        match self {
            Event::Intent(r) => Some(&r.request),
            Event::Release(r) => Some(&r.request),
            Event::Passage(r) => Some(&r.request),
            Event::Completion(r) => Some(&r.request),
            Event::Refusal(r) => Some(&r.request),
            _ => None,
        }
    }
}

impl<'a> Event<'a> {
    /// The same event with this block as the target of its request, if it is about one.
    #[must_use]
    pub(crate) fn with_target(mut self, block: &'a [u8]) -> Event<'a> {
        let request = match &mut self {
            Event::Intent(r) => &mut r.request,
            Event::Release(r) => &mut r.request,
            Event::Passage(r) => &mut r.request,
            Event::Completion(r) => &mut r.request,
            Event::Refusal(r) => &mut r.request,
            _ => return self,
        };
        request.target = Some(block.into());
        self
    }
}
