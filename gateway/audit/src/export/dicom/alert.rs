//! What a node has to alert of. Standard: DICOM PS3.15 A.5.3.11.

use std::net::SocketAddr;

use super::codes::{
    Code, NODE_AUTHENTICATION, NODE_ID, RECORDING_STOPPED, SECURITY_CONFIGURATION, URI,
};
use crate::event::{Clock, Event, Witness, tell};
use crate::show::kept;

/// An alert, on its way into a message.
pub(super) struct Alert {
    pub(super) kind: Code<'static>,
    pub(super) outcome: &'static str,
    pub(super) peer: Option<SocketAddr>,
    pub(super) subject: (Code<'static>, String),
    pub(super) description: String,
}

/// What a node has to alert of. Connections that were established need no alert (A.5.3.11, note).
pub(super) fn alert_of(event: &Event<'_>) -> Option<Alert> {
    let configuration = |outcome, subject: &str, description| {
        Some(Alert {
            kind: SECURITY_CONFIGURATION,
            outcome,
            peer: None,
            subject: (URI, format!("urn:phigate:{subject}")),
            description,
        })
    };
    let stopped = |description| {
        Some(Alert {
            kind: RECORDING_STOPPED,
            outcome: "8",
            peer: None,
            subject: (URI, "urn:phigate:log".to_owned()),
            description,
        })
    };
    match event {
        Event::HandshakeRefused(it) => Some(Alert {
            kind: NODE_AUTHENTICATION,
            outcome: "4",
            peer: Some(it.address),
            subject: (
                NODE_ID,
                match &it.certificate {
                    Some(certificate) => format!("sha256:{}", certificate.fingerprint),
                    None => it.address.ip().to_string(),
                },
            ),
            description: format!("{}: {}", it.code, it.code.meaning()),
        }),
        Event::Noise(it) => Some(Alert {
            kind: NODE_AUTHENTICATION,
            outcome: "4",
            peer: it.sample,
            subject: (NODE_ID, it.prefix.to_owned()),
            description: format!("{}: {} times until {}", it.code, it.count, it.last),
        }),
        Event::Configuration(it) => {
            let (outcome, word) = if it.accepted {
                ("0", "in force")
            } else {
                ("4", "refused")
            };
            let text = format!("{} {word}, sha256 {}", it.occasion, it.digest);
            configuration(outcome, "configuration", text)
        }
        Event::Decision(it) => {
            let text = format!("{} ({}): {}", it.control, it.paragraph, it.rationale);
            configuration("0", "decision", text)
        }
        Event::Revocation(it) => {
            let text = format!("{}: {} serials are revoked", it.trust, it.serials);
            configuration("0", "revocation", text)
        }
        Event::EpochKey(it) => {
            let text = format!("{} {}, {} readers", it.epoch, it.key, it.readers.len());
            configuration("0", "epoch-key", text)
        }
        Event::SigningKey(it) => configuration("0", "signing-key", it.key.to_owned()),
        Event::Discontinuity(it) => stopped(format!(
            "entries from {} to before {} are lost; accepted: {}",
            it.from, it.to, it.reason
        )),
        Event::UnsignedTail(it) => configuration(
            "0",
            "log",
            format!(
                "{} entries behind {} were not signed",
                it.entries, it.signed
            ),
        ),
        Event::Witness(it) => {
            let (outcome, text) = witness(it);
            configuration(outcome, "witness", text)
        }
        Event::Retention(_)
        | Event::Hold(_)
        | Event::Destruction(_)
        | Event::Backup(_)
        | Event::Restored(_) => configuration("0", event.kind(), keeping(event)),
        Event::Authority(_)
        | Event::CertificateIntended(_)
        | Event::CertificateIssued(_)
        | Event::CertificateRevoked(_)
        | Event::Crl(_)
        | Event::Token(_)
        | Event::RequestRefused(_) => {
            let (outcome, text) = authority(event);
            configuration(outcome, event.kind(), text)
        }
        Event::Clock(it) => {
            let (outcome, text) = clock(it);
            configuration(outcome, "clock", text)
        }
        Event::Recovered(it) => stopped(format!(
            "segment {} was cut at byte {}, {} bytes set aside",
            it.segment, it.offset, it.bytes
        )),
        Event::Interrupted(it) => stopped(format!(
            "since {}, {} appends turned away",
            it.since, it.refused
        )),
        Event::Start(_)
        | Event::Stop(_)
        | Event::Verb(_)
        | Event::LogRead(_)
        | Event::Handshake(_)
        | Event::Close(_)
        | Event::Intent(_)
        | Event::Release(_)
        | Event::Passage(_)
        | Event::Completion(_)
        | Event::Refusal(_) => None,
    }
}

/// What became of a witness: how bad it is, and a sentence.
fn witness(it: &Witness<'_>) -> (&'static str, String) {
    let outcome = match it.state {
        "back" => "0",
        // One that knows another history is the worst that can be heard.
        "conflict" => "12",
        _ => "4",
    };
    let text = format!(
        "{} {}: {} of {} entries cosigned",
        it.name, it.state, it.witnessed, it.signed
    );
    (outcome, text)
}

/// How long what was written is kept, as a sentence.
fn keeping(event: &Event<'_>) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = kept(event, &mut text);
    text.trim_start().to_owned()
}

/// What an authority did: how bad it is, and a sentence.
fn authority(event: &Event<'_>) -> (&'static str, String) {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = tell(event, &mut text);
    let outcome = match event.outcome() {
        Some("refused") => "4",
        _ => "0",
    };
    (outcome, text.trim_start().to_owned())
}

/// What became of the clock: how bad it is, and a sentence.
fn clock(it: &Clock<'_>) -> (&'static str, String) {
    let outcome = match (it.state, it.step_us) {
        // Puts the order of what others record in doubt.
        (_, Some(..0)) => "8",
        (_, Some(_)) => "4",
        ("synchronized", None) => "0",
        (_, None) => "4",
    };
    let error = it.max_error_us.map_or(String::new(), |error| {
        format!(", maximum error {error} microseconds")
    });
    let step = it.step_us.map_or(String::new(), |step| {
        format!(", set by {step} microseconds")
    });
    let text = format!("clock {}: {}{error}{step}", it.change, it.state);
    (outcome, text)
}
