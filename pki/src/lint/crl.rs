//! The lints of certificate revocation lists (RFC 5280 section 5), applied before signing.
//!
//! They compare the list with the inventory's entries one by one: a CRL that left one out would
//! bring a revoked device back.

use std::collections::HashMap;

use jiff::Timestamp;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{self as registry, Oid};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

use super::certificate::has_right_type;
use super::{Lint, LintError, Subject, apply, unreadable};
use crate::public_key::KeyId;
use crate::reason::RevokedEntry;
use crate::serial::Serial;

/// What a CRL is meant to say.
#[derive(Debug)]
pub struct Intended<'a> {
    /// The issuer's subject in DER.
    pub issuer_name: &'a [u8],
    /// The issuer's key identifier.
    pub issuer_key: KeyId,
    /// CRL number (section 5.2.3).
    pub number: u64,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate.
    pub next_update: Timestamp,
    /// The distribution point that it is for; all certificates of its issuer if `None`.
    pub point: Option<&'a str>,
    /// Every certificate that is to be on it.
    pub entries: &'a [RevokedEntry],
}

/// The rules of this file are about CRLs.
pub struct Crls;

impl Subject for Crls {
    type Draft<'a> = Draft<'a>;
}

/// A CRL as it reads, beside what it is meant to say.
pub struct Draft<'a> {
    crl: CertificateRevocationList<'a>,
    der: &'a [u8],
    intended: &'a Intended<'a>,
}

/// Judges the DER of a CRL by every row of [`LINTS`].
pub fn lint(der: &[u8], intended: &Intended<'_>) -> Result<(), LintError> {
    let Ok((rest, crl)) = CertificateRevocationList::from_der(der) else {
        return Err(unreadable());
    };
    if !rest.is_empty() {
        return Err(unreadable());
    }
    apply(&LINTS, &Draft { crl, der, intended })
}

/// Every rule for CRLs.
#[rustfmt::skip]
pub static LINTS: [Lint<Crls>; 15] = [
    Lint { section: "RFC 5280 5.1.2.1", name: "the version is 2",
        holds: |d| d.crl.version() == Some(X509Version::V2) },
    Lint { section: "RFC 5280 5.1.1.2", name: "both signature algorithms are the same",
        holds: |d| d.crl.signature_algorithm == d.crl.tbs_cert_list.signature },
    Lint { section: "RFC 5280 5.1.2.3", name: "the issuer is the signer's subject, octet by octet",
        holds: |d| d.crl.issuer().as_raw() == d.intended.issuer_name && d.crl.issuer().iter().next().is_some() },
    Lint { section: "RFC 5280 5.1.2.4", name: "thisUpdate is the one that was meant",
        holds: |d| read(d.crl.last_update()) == Some(d.intended.this_update) },
    Lint { section: "RFC 5280 5.1.2.5", name: "nextUpdate is there, the one that was meant, and after thisUpdate",
        holds: |d| d.crl.next_update().and_then(read) == Some(d.intended.next_update) && d.intended.this_update < d.intended.next_update },
    Lint { section: "RFC 5280 5.1.2.4-6", name: "dates to 2049 are UTCTime, later ones GeneralizedTime",
        holds: |d| has_right_type(&d.crl.last_update()) && d.crl.next_update().as_ref().is_some_and(has_right_type)
            && d.crl.iter_revoked_certificates().all(|entry| has_right_type(&entry.revocation_date)) },
    Lint { section: "RFC 5280 5.1.2.6", name: "the list of entries is absent when it is empty",
        holds: |d| !d.intended.entries.is_empty() || has_no_list(d.der) },
    Lint { section: "RFC 5280 5.1.2.6", name: "the entries are those of the inventory, each once",
        holds: entries_of_the_inventory },
    Lint { section: "RFC 5280 5.3.1", name: "a reason is given unless it is unspecified",
        holds: reasons_of_the_inventory },
    Lint { section: "RFC 5280 5.3", name: "an entry has no extension but a reason, not critical",
        holds: |d| d.crl.iter_revoked_certificates().all(|entry| entry.extensions().iter()
            .all(|extension| extension.oid == registry::OID_X509_EXT_REASON_CODE && !extension.critical)) },
    Lint { section: "RFC 5280 5.2.1", name: "the authority key identifier is the signer's, not critical",
        holds: |d| matches!(extension(d, &registry::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER), Some((false, ParsedExtension::AuthorityKeyIdentifier(aki)))
            if aki.key_identifier.as_ref().map(|id| id.0) == Some(&d.intended.issuer_key.0)) },
    Lint { section: "RFC 5280 5.2.3", name: "the CRL number is the one that was reserved, not critical",
        holds: |d| matches!(extension(d, &registry::OID_X509_EXT_CRL_NUMBER), Some((false, ParsedExtension::CRLNumber(number)))
            if *number == d.intended.number.into()) },
    Lint { section: "RFC 5280 5.2.4", name: "it is no delta CRL",
        holds: |d| extension(d, &registry::OID_X509_EXT_DELTA_CRL_INDICATOR).is_none() },
    Lint { section: "RFC 5280 5.2.5", name: "the issuing distribution point is its shard's, critical, and says nothing else",
        holds: point_as_intended },
    Lint { section: "RFC 5280 5.2", name: "there is no other extension",
        holds: |d| d.crl.extensions().len() == 2 + usize::from(d.intended.point.is_some()) },
];

fn read(time: ASN1Time) -> Option<Timestamp> {
    Timestamp::from_second(time.timestamp()).ok()
}

fn point_as_intended(draft: &Draft<'_>) -> bool {
    let read = extension(draft, &registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT);
    match (draft.intended.point, read) {
        (None, None) => true,
        (Some(meant), Some((true, ParsedExtension::IssuingDistributionPoint(point)))) => {
            let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
                return false;
            };
            let is_whole = !point.only_contains_user_certs
                && !point.only_contains_ca_certs
                && !point.only_contains_attribute_certs
                && !point.indirect_crl
                && point.only_some_reasons.is_none();
            is_whole && matches!(&names[..], [GeneralName::URI(url)] if *url == meant)
        }
        _ => false,
    }
}

/// Whether `revokedCertificates` is not there at all: what follows the two dates is `[0]`.
///
/// The parser reads an absent and an empty list alike.
fn has_no_list(der: &[u8]) -> bool {
    let after_dates = || {
        let (_, list) = Any::from_der(der).ok()?;
        let (_, tbs) = Any::from_der(list.data).ok()?;
        let mut rest = tbs.data;
        // version, signature, issuer, thisUpdate, nextUpdate
        for _ in 0..5 {
            (rest, _) = Any::from_der(rest).ok()?;
        }
        Any::from_der(rest).ok().map(|(_, next)| next.tag())
    };
    after_dates() == Some(Tag(0))
}

fn entries_of_the_inventory(draft: &Draft<'_>) -> bool {
    let mut missing: HashMap<&Serial, &RevokedEntry> = draft
        .intended
        .entries
        .iter()
        .map(|entry| (&entry.serial, entry))
        .collect();
    let all_meant = draft.crl.iter_revoked_certificates().all(|listed| {
        Serial::from_octets(listed.raw_serial())
            .ok()
            .and_then(|serial| missing.remove(&serial))
            .is_some_and(|entry| read(listed.revocation_date) == Some(entry.at))
    });
    all_meant && missing.is_empty()
}

fn reasons_of_the_inventory(draft: &Draft<'_>) -> bool {
    let meant: HashMap<&Serial, u8> = draft
        .intended
        .entries
        .iter()
        .map(|entry| (&entry.serial, entry.reason.row().code))
        .collect();
    let reason_of = |listed: &RevokedCertificate<'_>| match listed.reason_code() {
        None => Some(0),
        // "unspecified" must not be spelt out.
        Some((_, code)) if code.0 == 0 => None,
        Some((_, code)) => Some(code.0),
    };
    draft.crl.iter_revoked_certificates().all(|listed| {
        Serial::from_octets(listed.raw_serial())
            .ok()
            .and_then(|serial| meant.get(&serial).copied())
            .is_some_and(|code| reason_of(listed) == Some(code))
    })
}

/// Whether it is critical, and what it says.
fn extension<'a>(draft: &'a Draft<'_>, oid: &Oid<'_>) -> Option<(bool, &'a ParsedExtension<'a>)> {
    let found: &X509Extension<'_> = draft
        .crl
        .extensions()
        .iter()
        .find(|extension| extension.oid == *oid)?;
    Some((found.critical, found.parsed_extension()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use rcgen::{
        CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
        CrlIssuingDistributionPoint, DnType, Issuer, KeyIdMethod, RevocationReason,
        RevokedCertParams, SerialNumber,
    };

    use super::super::tests::edit;
    use super::*;
    use crate::key::PrivateKey;
    use crate::public_key::KeyKind;
    use crate::reason::Reason;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 86_400 * day).unwrap()
    }

    fn serial(number: u8) -> Serial {
        Serial::from_octets(&[0xf0, number]).unwrap()
    }

    struct World {
        params: CertificateRevocationListParams,
        issuer: CertificateParams,
        key: PrivateKey,
        entries: Vec<RevokedEntry>,
        point: Option<String>,
    }

    impl World {
        fn new(count: u8) -> Self {
            let key = PrivateKey::generate(KeyKind::P256).unwrap();
            let mut issuer = CertificateParams::default();
            issuer.distinguished_name = rcgen::DistinguishedName::new();
            issuer
                .distinguished_name
                .push(DnType::CommonName, "Test Issuing CA");
            let time = |time: Timestamp| {
                rcgen::date_time_ymd(1970, 1, 1)
                    + Duration::from_secs(time.as_second().unsigned_abs())
            };
            let entries: Vec<RevokedEntry> = (1..=count)
                .map(|number| RevokedEntry {
                    serial: serial(number),
                    at: at(-1),
                    reason: Reason::KeyCompromise,
                })
                .collect();
            let params = CertificateRevocationListParams {
                this_update: time(at(0)),
                next_update: time(at(7)),
                crl_number: SerialNumber::from(5),
                issuing_distribution_point: None,
                revoked_certs: entries
                    .iter()
                    .map(|entry| RevokedCertParams {
                        serial_number: SerialNumber::from_slice(entry.serial.octets()),
                        revocation_time: time(entry.at),
                        reason_code: Some(RevocationReason::KeyCompromise),
                        invalidity_date: None,
                    })
                    .collect(),
                key_identifier_method: KeyIdMethod::PreSpecified(key.public().key_id().0.to_vec()),
            };
            Self {
                params,
                issuer,
                key,
                entries,
                point: None,
            }
        }

        fn der(&self) -> Vec<u8> {
            let issuer = Issuer::from_params(&self.issuer, &self.key);
            self.params.signed_by(&issuer).unwrap().der().to_vec()
        }

        fn findings(&self, der: &[u8]) -> Vec<&'static str> {
            let intended = Intended {
                issuer_name: b"\x30\x1a\x31\x18\x30\x16\x06\x03\x55\x04\x03\x0c\x0fTest Issuing CA",
                issuer_key: self.key.public().key_id(),
                number: 5,
                this_update: at(0),
                next_update: at(7),
                point: self.point.as_deref(),
                entries: &self.entries,
            };
            match lint(der, &intended) {
                Ok(()) => Vec::new(),
                Err(error) => error.findings.iter().map(|finding| finding.name).collect(),
            }
        }
    }

    type Spoiled = (&'static str, fn(&mut World));
    type Edit = (&'static [usize], fn(&mut Vec<u8>));

    /// Ways to break one rule by telling the encoder something else.
    const SPOILED: &[Spoiled] = &[
        ("the issuer is the signer's subject, octet by octet", |w| {
            w.issuer
                .distinguished_name
                .push(DnType::CommonName, "Other");
        }),
        ("thisUpdate is the one that was meant", |w| {
            w.params.this_update += Duration::from_secs(1);
        }),
        (
            "nextUpdate is there, the one that was meant, and after thisUpdate",
            |w| {
                w.params.next_update += Duration::from_secs(1);
            },
        ),
        ("the entries are those of the inventory, each once", |w| {
            w.params.revoked_certs.pop();
        }),
        ("the entries are those of the inventory, each once", |w| {
            w.entries.pop();
        }),
        ("the entries are those of the inventory, each once", |w| {
            w.params.revoked_certs[1].serial_number =
                w.params.revoked_certs[0].serial_number.clone();
        }),
        ("a reason is given unless it is unspecified", |w| {
            w.params.revoked_certs[0].reason_code = None;
        }),
        (
            "an entry has no extension but a reason, not critical",
            |w| {
                w.params.revoked_certs[0].invalidity_date = Some(w.params.this_update);
            },
        ),
        (
            "the authority key identifier is the signer's, not critical",
            |w| {
                w.params.key_identifier_method = KeyIdMethod::Sha256;
            },
        ),
        (
            "the CRL number is the one that was reserved, not critical",
            |w| {
                w.params.crl_number = SerialNumber::from(4);
            },
        ),
        (
            "the issuing distribution point is its shard's, critical, and says nothing else",
            |w| w.point = Some("http://clinic.example/crl/issuing-00.crl".to_owned()),
        ),
        ("there is no other extension", |w| {
            w.params.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint {
                    uris: vec!["http://clinic.example/crl".to_owned()],
                },
                scope: None,
            });
        }),
    ];

    /// Ways to break one rule that the encoder has no words for. Children of the CRL: 0 is the
    /// signed part, with version, signature, issuer, thisUpdate, nextUpdate, entries, extensions.
    const EDITED: &[(&str, Edit)] = &[
        ("the version is 2", (&[0, 0], |version| version[2] = 2)),
        (
            "both signature algorithms are the same",
            (&[0, 1, 0], |oid| *oid.last_mut().unwrap() = 3),
        ),
        (
            "dates to 2049 are UTCTime, later ones GeneralizedTime",
            (&[0, 4], |utc| {
                let mut general = vec![0x18, 15];
                general.extend(b"20");
                general.extend(&utc[2..]);
                *utc = general;
            }),
        ),
        (
            "it is no delta CRL",
            (&[0, 6, 0, 1], |number| {
                number.extend([0x30, 13, 6, 3, 0x55, 0x1d, 27, 1, 1, 0xff, 4, 3, 2, 1, 1]);
            }),
        ),
    ];

    #[test]
    fn what_breaks_no_rule_passes() {
        for count in [0, 1, 3] {
            let world = World::new(count);
            assert_eq!(world.findings(&world.der()), [""; 0]);
        }
    }

    #[test]
    fn every_rule_can_be_broken_and_is_found() {
        let mut found = BTreeSet::new();
        for (name, spoil) in SPOILED {
            let mut world = World::new(2);
            spoil(&mut world);
            let findings = world.findings(&world.der());
            assert!(findings.contains(name), "{name}: {findings:?}");
            found.insert(*name);
        }
        for (name, (path, change)) in EDITED {
            let world = World::new(2);
            let findings = world.findings(&edit(&world.der(), path, change));
            assert!(findings.contains(name), "{name}: {findings:?}");
            found.insert(*name);
        }
        let name = "the list of entries is absent when it is empty";
        let world = World::new(0);
        let empty_list = edit(&world.der(), &[0, 4], &|date| date.extend([0x30, 0]));
        assert!(world.findings(&empty_list).contains(&name));
        found.insert(name);
        let all: BTreeSet<&str> = LINTS.iter().map(|lint| lint.name).collect();
        assert_eq!(all.difference(&found).collect::<Vec<_>>(), [&""; 0]);
    }

    #[test]
    fn a_reason_that_is_unspecified_must_not_be_spelt_out() {
        let mut world = World::new(1);
        world.entries[0].reason = Reason::Unspecified;
        world.params.revoked_certs[0].reason_code = None;
        assert_eq!(world.findings(&world.der()), [""; 0]);
        // cRLReason with the value 0 in the place of keyCompromise.
        world.params.revoked_certs[0].reason_code = Some(RevocationReason::KeyCompromise);
        let spelt_out = edit(&world.der(), &[0, 5, 0, 2, 0, 1], &|value| {
            *value.last_mut().unwrap() = 0;
        });
        assert_eq!(
            world.findings(&spelt_out),
            ["a reason is given unless it is unspecified"]
        );
    }
}
