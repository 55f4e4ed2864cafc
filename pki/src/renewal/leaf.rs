//! What a certificate of an end entity says of itself, as far as renewal compares it; and the judge
//! of an answer: the certificate that was asked for, or nothing.
//!
//! Whoever answers is not believed. A certificate for another key, with other names, for another
//! purpose, of another authority, or that ends no later than the old one never takes its place.

use std::fmt;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME, Oid,
};
use x509_parser::prelude::FromDer;

use super::der;
use crate::inspect::Inspected;
use crate::pem;
use crate::profile::Validity;
use crate::serial::Serial;

/// An end entity's certificate.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// Its octets.
    pub(super) der: Vec<u8>,
    /// Its serial, dates and signed part.
    pub(super) inspected: Inspected,
    /// DER of its public key.
    pub(super) spki: Vec<u8>,
    /// DER of its subject.
    pub(super) subject: Vec<u8>,
    /// DER of its subject alternative name.
    pub(super) names: Vec<u8>,
    /// DER of each of its purposes, sorted.
    purposes: Vec<Vec<u8>>,
}

impl Leaf {
    /// Reads one that has names and purposes, and is no authority's. `None` for any other.
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        let extension = |oid: &Oid<'_>| {
            let found = certificate.get_extension_unique(oid).ok().flatten()?;
            Some(found.value.to_vec())
        };
        let names = extension(&OID_X509_EXT_SUBJECT_ALT_NAME)?;
        let purposes = sorted(&extension(&OID_X509_EXT_EXTENDED_KEY_USAGE)?)?;
        if !rest.is_empty() || certificate.is_ca() || sorted(&names)?.is_empty() {
            return None;
        }
        Some(Self {
            inspected: Inspected::read(der)?,
            spki: certificate.public_key().raw.to_vec(),
            subject: certificate.subject().as_raw().to_vec(),
            der: der.to_vec(),
            names,
            purposes,
        })
    }

    /// Its serial.
    pub(super) fn serial(&self) -> &Serial {
        &self.inspected.serial
    }

    /// From when until when it is valid.
    pub(super) fn validity(&self) -> Validity {
        self.inspected.validity
    }

    fn is_for_servers(&self) -> bool {
        /// DER of id-kp-serverAuth.
        const SERVER_AUTH: &[u8] = &[0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 3, 1];
        self.purposes.iter().any(|purpose| purpose == SERVER_AUTH)
    }
}

/// The parts of a SEQUENCE OF whose order means nothing.
fn sorted(sequence: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut parts: Vec<Vec<u8>> = der::elements(sequence)?
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    parts.sort();
    Some(parts)
}

/// The authorities that a chain must lead to.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    /// Their certificates.
    pub(super) roots: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// Reads those of a PEM or DER file. Each must be an authority, which nobody asks about a trust
    /// anchor later (RFC 5280 section 6.1.1), and one of them valid now; those that are not are left
    /// out.
    pub(super) fn read(bytes: &[u8], now: Timestamp) -> Result<Self, &'static str> {
        Self::of(pem::certificates(bytes), now)
    }

    /// The same of DER.
    pub(super) fn of(certificates: Vec<Vec<u8>>, now: Timestamp) -> Result<Self, &'static str> {
        if certificates.is_empty() {
            return Err("it holds no certificate");
        }
        let mut roots = Vec::new();
        for der in certificates {
            let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
                return Err("a certificate in it cannot be read");
            };
            let usage = certificate.key_usage().ok().flatten();
            let may_sign = usage.is_none_or(|usage| usage.value.key_cert_sign());
            let Some(inspected) = Inspected::read(&der) else {
                return Err("a certificate in it cannot be read");
            };
            if !certificate.is_ca() || !may_sign {
                return Err("a certificate in it is not that of an authority");
            }
            if inspected.validity.contains(now) {
                roots.push(CertificateDer::from(der));
            }
        }
        if roots.is_empty() {
            return Err("no authority in it is valid now");
        }
        Ok(Self { roots })
    }
}

/// What the certificate must be that was asked for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// DER of the key.
    pub(super) spki: &'a [u8],
    /// Its names.
    pub(super) names: WantedNames<'a>,
}

/// What names it must carry.
#[derive(Debug)]
pub(super) enum WantedNames<'a> {
    /// Those of the old one, for its purposes, and it must end later.
    OfOld(&'a Leaf),
    /// These at least, as the DER of an alternative name.
    AtLeast(&'a [u8]),
}

/// A certificate that is the one which was asked for, and its issuers.
#[derive(Debug)]
pub(super) struct Chain {
    /// The certificate.
    pub(super) leaf: Leaf,
    /// Its issuers, nearest first, without the root.
    pub(super) issuers: Vec<Vec<u8>>,
}

impl Wanted<'_> {
    /// Picks, of an answer, the certificate that was asked for, and finds the way from it to a
    /// trusted root among `others`. Refuses everything else.
    pub(super) fn judge(
        &self,
        answer: &[Vec<u8>],
        others: &[Vec<u8>],
        trust: &Trust,
        now: Timestamp,
    ) -> Result<Chain, AnswerError> {
        let leaf = answer
            .iter()
            .filter_map(|der| Leaf::parse(der))
            .find(|leaf| leaf.spki == self.spki)
            .ok_or(AnswerError::Key)?;
        let names = sorted(&leaf.names).ok_or(AnswerError::Names)?;
        match self.names {
            WantedNames::OfOld(old) => {
                if Some(names) != sorted(&old.names) {
                    return Err(AnswerError::Names);
                }
                if leaf.purposes != old.purposes {
                    return Err(AnswerError::Purpose);
                }
                let (ends, old_ends) = (leaf.validity().not_after, old.validity().not_after);
                if ends <= old_ends {
                    return Err(AnswerError::NoLonger { ends, old_ends });
                }
            }
            WantedNames::AtLeast(wanted) => {
                let wanted = sorted(wanted).ok_or(AnswerError::Names)?;
                if !wanted.iter().all(|name| names.contains(name)) {
                    return Err(AnswerError::Names);
                }
            }
        }
        if !leaf.validity().contains(now) {
            return Err(AnswerError::NotNow {
                validity: leaf.validity(),
            });
        }
        let issuers = issuers(&leaf, answer, others, trust, now)?;
        Ok(Chain { leaf, issuers })
    }
}

/// The way to a root, as a verifier finds it (RFC 5280 section 6).
fn issuers(
    leaf: &Leaf,
    answer: &[Vec<u8>],
    others: &[Vec<u8>],
    trust: &Trust,
    now: Timestamp,
) -> Result<Vec<Vec<u8>>, AnswerError> {
    let untrusted = |_| AnswerError::Untrusted;
    let anchors: Vec<TrustAnchor<'_>> = trust
        .roots
        .iter()
        .map(webpki::anchor_from_trusted_cert)
        .collect::<Result<_, _>>()
        .map_err(untrusted)?;
    let between: Vec<CertificateDer<'_>> = answer
        .iter()
        .chain(others)
        .filter(|der| **der != leaf.der)
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let der = CertificateDer::from(leaf.der.as_slice());
    let end_entity = EndEntityCert::try_from(&der).map_err(untrusted)?;
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let usage = if leaf.is_for_servers() {
        KeyUsage::server_auth()
    } else {
        KeyUsage::client_auth()
    };
    let path = end_entity
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &between,
            time,
            usage,
            None,
            None,
        )
        .map_err(untrusted)?;
    let issuers = path.intermediate_certificates();
    Ok(issuers.map(|issuer| issuer.der().to_vec()).collect())
}

/// Why an answer is refused. Nothing of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerError {
    /// No certificate of an end entity in it has the key.
    Key,
    /// It has other names.
    Names,
    /// It is for another purpose.
    Purpose,
    /// It ends no later than the old one.
    NoLonger {
        /// When it ends.
        ends: Timestamp,
        /// When the old one ends.
        old_ends: Timestamp,
    },
    /// It is not valid now.
    NotNow {
        /// When it is.
        validity: Validity,
    },
    /// It does not lead to a trusted root.
    Untrusted,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Key => "it holds no certificate for the key",
            Self::Names => "the certificate has other names",
            Self::Purpose => "the certificate is for another purpose",
            Self::NoLonger { ends, old_ends } => {
                return write!(
                    f,
                    "the answer is refused: the certificate ends at {ends}, no later than the old \
                     one ({old_ends})"
                );
            }
            Self::NotNow { validity } => {
                return write!(
                    f,
                    "the answer is refused: the certificate is valid from {} until {}, not now",
                    validity.not_before, validity.not_after
                );
            }
            Self::Untrusted => "the certificate does not lead to a trusted root",
        };
        write!(f, "the answer is refused: {what}")
    }
}

impl std::error::Error for AnswerError {}
