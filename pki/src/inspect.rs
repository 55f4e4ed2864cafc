//! Looking at a certificate from a file: which one it is, and until when it is valid.
//!
//! It trusts nothing that it reads. Whether a certificate is one of this authority is the
//! inventory's answer, by the hash of its signed part.

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::pem;
use crate::profile::Validity;
use crate::public_key::sha256;
use crate::serial::Serial;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Its serial.
    pub serial: Serial,
    /// From when until when it is valid.
    pub validity: Validity,
    /// SHA-256 of its signed part; `Find::Tbs` looks for it.
    pub tbs_sha256: [u8; 32],
    /// SHA-256 of its public key (SubjectPublicKeyInfo).
    pub key_sha256: [u8; 32],
}

impl Inspected {
    /// Reads the first certificate of a file in PEM or DER: of a chain, the leaf. `None` if there
    /// is none that can be read.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let der = pem::first_certificate(bytes)?;
        let (rest, certificate) = X509Certificate::from_der(&der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let validity = certificate.validity();
        Some(Self {
            serial: Serial::from_octets(certificate.raw_serial()).ok()?,
            validity: Validity {
                not_before: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
                not_after: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
            },
            tbs_sha256: sha256(certificate.tbs_certificate.as_ref()),
            key_sha256: sha256(certificate.public_key().raw),
        })
    }
}
