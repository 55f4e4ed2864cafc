//! The lints of OCSP responses (RFC 6960 section 4.2, RFC 5019 section 2.2), applied before signing.
//!
//! They compare the response with the inventory's word, so that a mistake of the encoder never tells
//! a verifier that a revoked certificate is good.

use jiff::Timestamp;
use ocsp::{Basic, CertId, KeyHash, Responder, Response, Single, Status};

use super::{Lint, LintError, Subject, apply, unreadable};
use crate::profile::Validity;

/// What a response is meant to say.
#[derive(Debug)]
pub struct Intended<'a> {
    /// Which certificate.
    pub certificate: &'a CertId,
    /// Its status by the inventory.
    pub status: Status,
    /// producedAt and thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate.
    pub next_update: Timestamp,
    /// The responder's certificate, DER.
    pub responder: &'a [u8],
    /// The hash of its key.
    pub responder_key: KeyHash,
    /// From when until when it is valid.
    pub responder_validity: Validity,
    /// The inside of the algorithm identifier of its signatures.
    pub algorithm: &'a [u8],
}

/// The rules of this file are about OCSP responses.
pub struct Responses;

impl Subject for Responses {
    type Draft<'a> = Draft<'a>;
}

/// A response as it reads, beside what it is meant to say.
pub struct Draft<'a> {
    response: Basic<'a>,
    single: Single,
    intended: &'a Intended<'a>,
}

/// Judges the DER of a response by every row of [`LINTS`]. One that answers for no certificate, or for
/// several, breaks the first rule of all.
pub fn lint(der: &[u8], intended: &Intended<'_>) -> Result<(), LintError> {
    let Ok(Response::Basic(response)) = Response::parse(der) else {
        return Err(unreadable());
    };
    let [single] = response.singles.as_slice() else {
        return Err(unreadable());
    };
    let single = single.clone();
    let draft = Draft {
        response,
        single,
        intended,
    };
    apply(&LINTS, &draft)
}

/// Every rule for OCSP responses.
#[rustfmt::skip]
pub static LINTS: [Lint<Responses>; 12] = [
    Lint { section: "RFC 6960 3.2", name: "it is about the certificate that was asked for",
        holds: |d| d.single.certificate == *d.intended.certificate },
    Lint { section: "RFC 6960 2.2", name: "the status is that of the inventory",
        holds: |d| d.single.status == d.intended.status },
    Lint { section: "RFC 5280 5.3.1", name: "a reason is given unless it is unspecified",
        holds: |d| !matches!(d.single.status, Status::Revoked { reason: Some(reason), .. } if reason.code() == 0) },
    Lint { section: "RFC 6960 4.2.2.1", name: "a revocation does not lie beyond thisUpdate",
        holds: |d| !matches!(d.single.status, Status::Revoked { at, .. } if at > d.single.this_update) },
    Lint { section: "RFC 6960 4.2.2.1", name: "thisUpdate is the one that was meant",
        holds: |d| d.single.this_update == d.intended.this_update },
    Lint { section: "RFC 6960 2.4", name: "producedAt is the moment of signing, thisUpdate",
        holds: |d| d.response.produced_at == d.intended.this_update },
    Lint { section: "RFC 5019 2.2.4", name: "nextUpdate is there, the one that was meant, and after thisUpdate",
        holds: |d| d.single.next_update == Some(d.intended.next_update) && d.intended.this_update < d.intended.next_update },
    Lint { section: "RFC 6960 4.2.2.2", name: "it lies within the validity of the responder's certificate",
        holds: |d| d.intended.responder_validity.contains(d.single.this_update)
            && d.single.next_update.is_some_and(|end| d.intended.responder_validity.contains(end)) },
    Lint { section: "RFC 5019 2.2.1", name: "the responder is named by its key",
        holds: |d| d.response.responder == Responder::Key(d.intended.responder_key) },
    Lint { section: "RFC 5019 2.2.1", name: "the responder's certificate comes along, and no other",
        holds: |d| d.response.certificates == [d.intended.responder] },
    Lint { section: "RFC 6960 4.2.1", name: "the signature algorithm is that of the responder's key",
        holds: |d| d.response.algorithm == d.intended.algorithm },
    Lint { section: "RFC 5019 2.2.1", name: "there is no extension",
        holds: |d| !d.response.has_extensions },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ocsp::{Answer, HashAlgorithm, Issuer, ReasonCode, assemble};
    use rustls_pki_types::alg_id;

    use super::super::tests::edit;
    use super::*;

    const RESPONDER: &[u8] = &[0x30, 2, 5, 0];

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 3_600 * hour).unwrap()
    }

    fn id(serial: u8) -> CertId {
        let issuer = Issuer {
            name: b"name",
            key: b"key",
        };
        CertId::of(HashAlgorithm::Sha1, issuer, &[serial]).unwrap()
    }

    fn revoked(hour: i64, reason: u8) -> Status {
        Status::Revoked {
            at: at(hour),
            reason: ReasonCode::new(reason),
        }
    }

    /// What is told to the encoder.
    struct Told {
        certificate: CertId,
        status: Status,
        produced_at: Timestamp,
        this_update: Timestamp,
        next_update: Timestamp,
        key: KeyHash,
        algorithm: rustls_pki_types::AlgorithmIdentifier,
        certificates: Vec<&'static [u8]>,
    }

    impl Told {
        fn new(status: Status) -> Self {
            Self {
                certificate: id(1),
                status,
                produced_at: at(0),
                this_update: at(0),
                next_update: at(24),
                key: KeyHash([7; 20]),
                algorithm: alg_id::ECDSA_SHA256,
                certificates: vec![RESPONDER],
            }
        }

        fn der(&self) -> Vec<u8> {
            let answer = Answer {
                certificate: &self.certificate,
                status: self.status,
                produced_at: self.produced_at,
                this_update: self.this_update,
                next_update: self.next_update,
            };
            assemble(
                &answer.tbs(self.key),
                self.algorithm,
                b"signature",
                &self.certificates,
            )
        }
    }

    fn findings(der: &[u8], status: Status) -> Vec<&'static str> {
        let certificate = id(1);
        let intended = Intended {
            certificate: &certificate,
            status,
            this_update: at(0),
            next_update: at(24),
            responder: RESPONDER,
            responder_key: KeyHash([7; 20]),
            responder_validity: Validity {
                not_before: at(-24),
                not_after: at(48),
            },
            algorithm: alg_id::ECDSA_SHA256.as_ref(),
        };
        match lint(der, &intended) {
            Ok(()) => Vec::new(),
            Err(error) => error.findings.iter().map(|finding| finding.name).collect(),
        }
    }

    #[test]
    fn what_breaks_no_rule_passes() {
        for status in [Status::Good, Status::Unknown, revoked(-1, 1)] {
            assert_eq!(findings(&Told::new(status).der(), status), [""; 0]);
        }
    }

    type Spoiled = (&'static str, fn(&mut Told));

    /// Ways to break one rule by telling the encoder something else.
    #[rustfmt::skip]
    const SPOILED: &[Spoiled] = &[
        ("it is about the certificate that was asked for", |told| told.certificate = id(2)),
        ("the status is that of the inventory", |told| told.status = Status::Good),
        ("a reason is given unless it is unspecified", |told| told.status = revoked(-1, 0)),
        ("a revocation does not lie beyond thisUpdate", |told| told.status = revoked(1, 1)),
        ("thisUpdate is the one that was meant", |told| told.this_update = at(1)),
        ("producedAt is the moment of signing, thisUpdate", |told| told.produced_at = at(1)),
        ("nextUpdate is there, the one that was meant, and after thisUpdate", |told| told.next_update = at(25)),
        ("it lies within the validity of the responder's certificate", |told| told.next_update = at(49)),
        ("it lies within the validity of the responder's certificate", |told| told.this_update = at(-25)),
        ("the responder is named by its key", |told| told.key = KeyHash([8; 20])),
        ("the responder's certificate comes along, and no other", |told| told.certificates.clear()),
        ("the responder's certificate comes along, and no other", |told| told.certificates.push(RESPONDER)),
        ("the signature algorithm is that of the responder's key", |told| told.algorithm = alg_id::ECDSA_SHA384),
    ];

    #[test]
    fn every_rule_can_be_broken_and_is_found() {
        let mut found = BTreeSet::new();
        let status = revoked(-1, 1);
        for (name, spoil) in SPOILED {
            let mut told = Told::new(status);
            spoil(&mut told);
            let findings = findings(&told.der(), status);
            assert!(findings.contains(name), "{name}: {findings:?}");
            found.insert(*name);
        }
        // An extension, at the end of the SingleResponse. An OCTET STRING wraps what is signed, so
        // that the way there is walked by hand.
        let name = "there is no extension";
        let der = Told::new(status).der();
        let extended = edit(&der, &[1, 0, 1], &|octets| {
            // Of 128 to 255 octets.
            assert_eq!(octets[1], 0x81);
            let basic = edit(&octets[3..], &[0, 2, 0, 3], &|next_update| {
                next_update.extend([0xa1, 9, 0x30, 7, 0x30, 5, 6, 1, 42, 4, 0]);
            });
            *octets = vec![4, 0x81, basic.len().try_into().unwrap()];
            octets.extend(basic);
        });
        assert_eq!(findings(&extended, status), [name]);
        found.insert(name);
        let all: BTreeSet<&str> = LINTS.iter().map(|lint| lint.name).collect();
        assert_eq!(all.difference(&found).collect::<Vec<_>>(), [&""; 0]);
    }

    #[test]
    fn what_answers_for_nothing_is_refused() {
        assert_eq!(findings(&[0x30, 3, 0x0a, 1, 3], Status::Good).len(), 1);
        assert_eq!(findings(b"garbage", Status::Good).len(), 1);
    }
}
