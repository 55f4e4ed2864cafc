//! Events of a certificate authority: what it was about to sign, what came of it, and who asked.
//!
//! An authority keeps a log of its own in the same format. Names are those of RFC 5280: what will be
//! signed is its `TBSCertificate` or `TBSCertList`, known by its SHA-256. No secret stands here: a token is
//! named by its public id, a key by its public half. Names of devices do, so these entries are sealed
//! where a log has readers.

use std::fmt::{self, Write};

use minicbor::{Decode, Encode};
use serde::Serialize;
use terminal::counted;

use super::{Digest, Event, Time};

/// Who asked, as far as it was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Requester<'a> {
    /// The user that the program ran as, by the kernel's word.
    #[n(0)]
    pub uid: u32,
    /// The user who had logged in, where the system knows.
    #[n(1)]
    pub login_uid: Option<u32>,
    /// The public id of the one-time token that was shown; never the token.
    #[cbor(b(2))]
    pub token: Option<&'a str>,
    /// The serial of the certificate whose key was proved, in hexadecimal.
    #[cbor(b(3))]
    pub certificate: Option<&'a str>,
    /// From where, of a request over the network.
    #[cbor(b(4))]
    pub address: Option<&'a str>,
}

/// `verb`: a command was run, and how it ended. Its last entry, behind those of what it did.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Verb<'a> {
    /// The command: `issue`, `list`.
    #[cbor(b(0))]
    pub verb: &'a str,
    /// Why nothing came of it, one of the authority's own words; without one it was done.
    #[cbor(b(1))]
    pub code: Option<&'a str>,
    /// Who ran it.
    #[cbor(b(2))]
    pub by: Requester<'a>,
}

/// What became of the authority itself. The number is the wire format; the name is the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It was founded; this is the first entry of its log.
    #[n(0)]
    Founded,
    /// A key pair was made, or taken into use in a token.
    #[n(1)]
    KeyMade,
    /// The passphrase of a secret key was changed.
    #[n(2)]
    PassphraseChanged,
    /// It was copied into a backup.
    #[n(3)]
    BackedUp,
    /// It was restored from a backup.
    #[n(4)]
    Restored,
    /// What a crash left unfinished was settled.
    #[n(5)]
    Recovered,
    /// A request for the certificate of an issuing authority was written, for an offline root.
    #[n(6)]
    CeremonyRequested,
    /// The offline root judged such a request, and is about to sign it.
    #[n(7)]
    CeremonySigned,
    /// What the offline root signed was taken into use.
    #[n(8)]
    CeremonyImported,
}

impl Act {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Act::Founded => "founded",
            Act::KeyMade => "key_made",
            Act::PassphraseChanged => "passphrase_changed",
            Act::BackedUp => "backed_up",
            Act::Restored => "restored",
            Act::Recovered => "recovered",
            Act::CeremonyRequested => "ceremony_requested",
            Act::CeremonySigned => "ceremony_signed",
            Act::CeremonyImported => "ceremony_imported",
        }
    }
}

/// `authority`: something was done with the authority itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Authority<'a> {
    /// What.
    #[n(0)]
    pub act: Act,
    /// What it was done to: of a key, its identifier (RFC 5280 4.2.1.2) or place; of the authority, its name.
    #[cbor(b(1))]
    pub subject: Option<&'a str>,
    /// SHA-256 of what it was done with: a public key, a backup, a request.
    #[n(2)]
    pub digest: Option<Digest>,
    /// Why, in the operator's words.
    #[cbor(b(3))]
    pub reason: Option<&'a str>,
    /// Who did it.
    #[cbor(b(4))]
    pub by: Requester<'a>,
}

/// `certificate_intended`: a certificate is about to be signed. Durable before the signature, so a
/// certificate that exists is known here.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct CertificateIntended<'a> {
    /// The issuer's key identifier, in hexadecimal.
    #[cbor(b(0))]
    pub issuer: &'a str,
    /// The serial number, in hexadecimal.
    #[cbor(b(1))]
    pub serial: &'a str,
    /// The profile.
    #[cbor(b(2))]
    pub profile: &'a str,
    /// The subject alternative names; of an authority, its common name.
    #[cbor(b(3))]
    pub names: Vec<&'a str>,
    /// From when it is valid.
    #[n(4)]
    pub not_before: Time,
    /// Until when.
    #[n(5)]
    pub not_after: Time,
    /// SHA-256 of the TBSCertificate.
    #[n(6)]
    pub tbs: Digest,
    /// SHA-256 of the SubjectPublicKeyInfo.
    #[n(7)]
    pub public_key: Digest,
    /// Where the key was made: `new` here, `request` by its holder.
    #[cbor(b(8))]
    pub key_origin: &'a str,
    /// Who asked for it.
    #[cbor(b(9))]
    pub by: Requester<'a>,
}

/// `certificate_issued`: a certificate was signed, and is in the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct CertificateIssued<'a> {
    /// The issuer's key identifier, in hexadecimal.
    #[cbor(b(0))]
    pub issuer: &'a str,
    /// The serial number, in hexadecimal.
    #[cbor(b(1))]
    pub serial: &'a str,
    /// SHA-256 of the certificate.
    #[n(2)]
    pub sha256: Digest,
}

/// `certificate_revoked`: a certificate is about to be revoked in the inventory. The CRL that says so has an
/// entry of its own.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct CertificateRevoked<'a> {
    /// The issuer's key identifier, in hexadecimal.
    #[cbor(b(0))]
    pub issuer: &'a str,
    /// The serial number, in hexadecimal.
    #[cbor(b(1))]
    pub serial: &'a str,
    /// The reason (RFC 5280 5.3.1).
    #[cbor(b(2))]
    pub reason: &'a str,
    /// Who asked for it.
    #[cbor(b(3))]
    pub by: Requester<'a>,
}

/// `crl`: a CRL is about to be signed, or was published.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Crl<'a> {
    /// The issuer's key identifier, in hexadecimal.
    #[cbor(b(0))]
    pub issuer: &'a str,
    /// Which shard of the issuer's; nothing of an issuer whose list is one.
    #[n(1)]
    pub shard: Option<u32>,
    /// The CRL number (RFC 5280 5.2.3).
    #[n(2)]
    pub number: u64,
    /// thisUpdate.
    #[n(3)]
    pub this_update: Time,
    /// nextUpdate.
    #[n(4)]
    pub next_update: Time,
    /// How many certificates are on it.
    #[n(5)]
    pub entries: u64,
    /// SHA-256 of the TBSCertList.
    #[n(6)]
    pub tbs: Digest,
    /// Whether verifiers can read it now; else it is about to be signed.
    #[n(7)]
    pub published: bool,
}

/// What became of a token. The number is the wire format; the name is the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// It was made.
    #[n(0)]
    Made,
    /// An operator took it back.
    #[n(1)]
    Cancelled,
    /// Somebody enrolled with it: it is of no more use.
    #[n(2)]
    Used,
}

impl TokenState {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            TokenState::Made => "made",
            TokenState::Cancelled => "cancelled",
            TokenState::Used => "used",
        }
    }
}

/// `token`: a one-time token for enrolment, by its public id; never the token.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Token<'a> {
    /// Its public id.
    #[cbor(b(0))]
    pub id: &'a str,
    /// What became of it.
    #[n(1)]
    pub state: TokenState,
    /// The profile that it enrols for.
    #[cbor(b(2))]
    pub profile: &'a str,
    /// The names that it enrols for.
    #[cbor(b(3))]
    pub names: Vec<&'a str>,
    /// Until when it can be used.
    #[n(4)]
    pub expires: Time,
    /// Who did it.
    #[cbor(b(5))]
    pub by: Requester<'a>,
}

/// `request_refused`: somebody asked for a certificate and did not get one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct RequestRefused<'a> {
    /// Why, one of the authority's own words.
    #[cbor(b(0))]
    pub code: &'a str,
    /// The profile that was asked for, where it is one that there is.
    #[cbor(b(1))]
    pub profile: Option<&'a str>,
    /// The names that were asked for, where they were found to be some.
    #[cbor(b(2))]
    pub names: Vec<&'a str>,
    /// Who asked.
    #[cbor(b(3))]
    pub by: Requester<'a>,
}

/// What an authority did, as the rest of a line for people; nothing of another event.
pub(crate) fn tell(event: &Event<'_>, f: &mut impl Write) -> fmt::Result {
    match event {
        Event::Verb(e) => {
            write!(f, " {} {}", e.verb, e.code.unwrap_or("done"))?;
            hand(&e.by, f)
        }
        Event::Authority(e) => {
            write!(f, " {}", e.act.name())?;
            if let Some(subject) = e.subject {
                write!(f, " {subject}")?;
            }
            hand(&e.by, f)?;
            e.reason.map_or(Ok(()), |reason| write!(f, ": {reason}"))
        }
        Event::CertificateIntended(e) => {
            let names = e.names.join(" ");
            write!(f, " {} {} {names}", e.serial, e.profile)?;
            write!(f, ", until {}, key {}", e.not_after, e.key_origin)?;
            hand(&e.by, f)
        }
        Event::CertificateIssued(e) => write!(f, " {} sha256 {}", e.serial, e.sha256),
        Event::CertificateRevoked(e) => {
            write!(f, " {} {}", e.serial, e.reason)?;
            hand(&e.by, f)
        }
        Event::Crl(e) => {
            let state = if e.published {
                "published"
            } else {
                "to be signed"
            };
            let revoked = counted(e.entries, "certificate");
            write!(f, " of {}", e.issuer)?;
            if let Some(shard) = e.shard {
                write!(f, " shard {shard}")?;
            }
            write!(f, " number {} {state}, {revoked}", e.number)?;
            write!(f, ", next by {}", e.next_update)
        }
        Event::Token(e) => {
            let names = e.names.join(" ");
            write!(f, " {} {} {} {names}", e.id, e.state.name(), e.profile)?;
            write!(f, ", until {}", e.expires)?;
            hand(&e.by, f)
        }
        Event::RequestRefused(e) => {
            write!(f, " {}", e.code)?;
            if let Some(profile) = e.profile {
                write!(f, " {profile}")?;
            }
            for name in &e.names {
                write!(f, " {name}")?;
            }
            hand(&e.by, f)
        }
        _ => Ok(()),
    }
}

/// By whose hand.
fn hand(by: &Requester<'_>, f: &mut impl Write) -> fmt::Result {
    write!(f, ", by uid {}", by.uid)?;
    if let Some(login) = by.login_uid {
        write!(f, ", logged in as {login}")?;
    }
    if let Some(token) = by.token {
        write!(f, ", token {token}")?;
    }
    if let Some(certificate) = by.certificate {
        write!(f, ", certificate {certificate}")?;
    }
    by.address
        .map_or(Ok(()), |address| write!(f, ", from {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{decode, encode};
    use crate::event::{Entry, kind_name};
    use crate::show::{Human, Line};

    const BY: Requester<'static> = Requester {
        uid: 7,
        login_uid: Some(8),
        token: Some("t1"),
        certificate: Some("0a"),
        address: Some("127.0.0.1:9"),
    };

    /// One of each kind, with its `type`, its outcome, and what a person reads of it.
    fn all() -> Vec<(
        Event<'static>,
        &'static str,
        Option<&'static str>,
        &'static str,
    )> {
        let (one, two) = (Time(1_000_000_000), Time(2_000_000_000));
        let (issuer, serial, digest) = ("c0ffee", "4f0c", Digest::new([9; 32]));
        let crl = |published| {
            Event::Crl(Crl {
                issuer,
                shard: Some(3),
                number: 12,
                this_update: one,
                next_update: two,
                entries: 1,
                tbs: digest,
                published,
            })
        };
        let verb = |code| {
            let (verb, by) = ("issue", BY);
            Event::Verb(Verb { verb, code, by })
        };
        vec![
            (
                verb(None),
                "verb",
                Some("complete"),
                " issue done, by uid 7",
            ),
            (verb(Some("busy")), "verb", Some("refused"), " issue busy, "),
            (
                Event::Authority(Authority {
                    act: Act::KeyMade,
                    subject: Some("c0ffee"),
                    digest: Some(digest),
                    reason: Some("a new token"),
                    by: BY,
                }),
                "authority",
                None,
                " key_made c0ffee, by uid 7, logged in as 8, token t1, certificate 0a, from 127.0.0.1:9: a new token",
            ),
            (
                Event::CertificateIntended(CertificateIntended {
                    issuer,
                    serial,
                    profile: "device",
                    names: vec!["urn:example:pump-1"],
                    not_before: one,
                    not_after: two,
                    tbs: digest,
                    public_key: digest,
                    key_origin: "request",
                    by: BY,
                }),
                "certificate_intended",
                Some("intended"),
                " 4f0c device urn:example:pump-1, until 1970-01-01T00:00:02.000000Z, key request, by uid 7",
            ),
            (
                Event::CertificateIssued(CertificateIssued {
                    issuer,
                    serial,
                    sha256: digest,
                }),
                "certificate_issued",
                None,
                " 4f0c sha256 0909",
            ),
            (
                Event::CertificateRevoked(CertificateRevoked {
                    issuer,
                    serial,
                    reason: "keyCompromise",
                    by: BY,
                }),
                "certificate_revoked",
                None,
                " 4f0c keyCompromise, by uid 7",
            ),
            (
                crl(false),
                "crl",
                Some("intended"),
                " of c0ffee shard 3 number 12 to be signed, 1 certificate, ",
            ),
            (crl(true), "crl", None, " number 12 published, "),
            (
                Event::Token(Token {
                    id: "t1",
                    state: TokenState::Made,
                    profile: "device",
                    names: vec!["urn:example:pump-1"],
                    expires: two,
                    by: BY,
                }),
                "token",
                None,
                " t1 made device urn:example:pump-1, until 1970",
            ),
            (
                Event::RequestRefused(RequestRefused {
                    code: "foreign_name",
                    profile: Some("device"),
                    names: vec!["urn:example:pump-1"],
                    by: BY,
                }),
                "request_refused",
                Some("refused"),
                " foreign_name device urn:example:pump-1, by uid 7",
            ),
        ]
    }

    #[test]
    fn every_event_of_an_authority_is_read_back_and_shown_by_its_name() {
        for (number, (event, kind, outcome, told)) in all().into_iter().enumerate() {
            let entry = Entry {
                time: Time(number as u64),
                event,
            };
            let mut bytes = Vec::new();
            encode(&entry, &mut bytes);
            assert_eq!(decode(&bytes).as_ref(), Ok(&entry), "{kind}");
            assert_eq!((entry.event.kind(), entry.event.outcome()), (kind, outcome));
            let human = Human(&entry).to_string();
            assert!(human.contains(kind) && human.contains(told), "{human}");
            let json = serde_json::to_value(Line::new(None, &entry)).unwrap();
            assert_eq!(json["type"], kind);
            // Sealed to the readers of a log that has some: they name devices.
            assert!(!crate::seal::sealed::stays_clear(&entry.event));
        }
    }

    #[test]
    fn the_numbers_of_an_authoritys_events_have_their_names() {
        let names: Vec<_> = (29..=36).filter_map(kind_name).collect();
        let mut kinds: Vec<_> = all().iter().map(|(_, kind, ..)| *kind).collect();
        kinds.dedup();
        assert_eq!(names, kinds);
        assert_eq!(kind_name(37), None);
    }

    #[test]
    fn what_an_authority_is_called_on_record_is_what_programs_read() {
        for act in [
            Act::Founded,
            Act::KeyMade,
            Act::PassphraseChanged,
            Act::BackedUp,
            Act::Restored,
            Act::Recovered,
            Act::CeremonyRequested,
            Act::CeremonySigned,
            Act::CeremonyImported,
        ] {
            assert_eq!(serde_json::to_value(act).unwrap(), act.name());
        }
        for state in [TokenState::Made, TokenState::Cancelled, TokenState::Used] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}
