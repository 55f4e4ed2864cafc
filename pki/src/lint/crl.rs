//! The lints of certificate revocation lists (RFC 5280 section 5), applied before signing.
//!
//! They compare the list with the inventory's entries one by one: a CRL that left one out would
//! bring a revoked device back.

use std::collections::HashMap;

use jiff::Timestamp;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::extensions::{ParsedExtension, X509Extension};
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
pub static LINTS: [Lint<Crls>; 14] = [
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
    Lint { section: "RFC 5280 5.2", name: "there is no other extension",
        holds: |d| d.crl.extensions().len() == 2 },
];

fn read(time: ASN1Time) -> Option<Timestamp> {
    Timestamp::from_second(time.timestamp()).ok()
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
