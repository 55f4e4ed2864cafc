//! Which certificate is meant: by its serial, and its issuer's name and key as hashes (RFC 6960
//! section 4.1.1).
//!
//! SHA-1 is what RFC 5019 section 2.1.1 asks clients to use. Here it is a key for looking things up
//! and proves nothing: a response is believed by its signature, and the hashes are compared with
//! those of an issuer that is known already.

use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::der::{self, Reader};
use crate::error::Malformed;

/// A hash algorithm that certificates are named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// SHA-1: what most clients send.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl HashAlgorithm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sha1, Self::Sha256];

    /// The value of its object identifier (RFC 3279 section 2.2.1, RFC 5754 section 2.2).
    fn oid(self) -> &'static [u8] {
        match self {
            Self::Sha1 => &[0x2b, 0x0e, 0x03, 0x02, 0x1a],
            Self::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
        }
    }

    fn digest(self, bytes: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        };
        digest::digest(algorithm, bytes)
    }

    fn octets(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// The SHA-1 of a public key's BIT STRING, without tag, length and unused bits: what `byKey` names a
/// responder by (RFC 6960 section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 20]);

impl KeyHash {
    /// Of the key whose BIT STRING holds these octets.
    pub fn of(subject_public_key: &[u8]) -> Self {
        let hash = HashAlgorithm::Sha1.digest(subject_public_key);
        let mut octets = [0; 20];
        octets.copy_from_slice(hash.as_ref());
        Self(octets)
    }
}

/// An issuer of certificates, as far as they are named by it.
#[derive(Debug, Clone, Copy)]
pub struct Issuer<'a> {
    /// Its subject, DER.
    pub name: &'a [u8],
    /// The content of its public key's BIT STRING, without the octet of unused bits.
    pub key: &'a [u8],
}

impl<'a> Issuer<'a> {
    /// Of this certificate. `None` if it cannot be read.
    pub fn of_certificate(der: &'a [u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        let spki = certificate.tbs_certificate.subject_pki.raw;
        let mut inside = der::whole(spki, der::SEQUENCE, "key").ok()?;
        inside.any().ok()?;
        let (&unused_bits, key) = inside.content(der::BIT_STRING).ok()?.split_first()?;
        (rest.is_empty() && unused_bits == 0).then_some(Self {
            name: certificate.tbs_certificate.subject.as_raw(),
            key,
        })
    }
}

/// Which certificate (CertID, RFC 6960 section 4.1.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertId {
    hash: HashAlgorithm,
    issuer_name: Vec<u8>,
    issuer_key: Vec<u8>,
    serial: Vec<u8>,
}

/// Longest serial in DER (RFC 5280 section 4.1.2.2).
const MAX_SERIAL_OCTETS: usize = 20;

impl CertId {
    /// The certificate with this serial: an unsigned big-endian number, leading zeros or not.
    pub fn of(hash: HashAlgorithm, issuer: Issuer<'_>, serial: &[u8]) -> Result<Self, Malformed> {
        let leading_zeros = serial.iter().take_while(|&&octet| octet == 0).count();
        let serial = &serial[leading_zeros..];
        let sign = usize::from(serial.first().is_some_and(|&octet| octet >= 0x80));
        if serial.is_empty() || serial.len() + sign > MAX_SERIAL_OCTETS {
            return Err(Malformed { what: "serial" });
        }
        Ok(Self {
            hash,
            issuer_name: hash.digest(issuer.name).as_ref().to_vec(),
            issuer_key: hash.digest(issuer.key).as_ref().to_vec(),
            serial: serial.to_vec(),
        })
    }

    /// Whether a certificate of `issuer` is meant.
    pub fn is_of(&self, issuer: Issuer<'_>) -> bool {
        self.issuer_name == self.hash.digest(issuer.name).as_ref()
            && self.issuer_key == self.hash.digest(issuer.key).as_ref()
    }

    /// The hash algorithm that the issuer is named by.
    pub fn hash(&self) -> HashAlgorithm {
        self.hash
    }

    /// The shortest unsigned big-endian octets of the serial.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut inside = reader.inside(der::SEQUENCE, "CertID")?;
        let mut algorithm = inside.inside(der::SEQUENCE, "hash algorithm")?;
        let oid = algorithm.content(der::OID)?;
        let hash = HashAlgorithm::ALL
            .into_iter()
            .find(|hash| hash.oid() == oid)
            .ok_or(algorithm.malformed())?;
        // Absent or NULL: RFC 5754 section 2 has implementations take both.
        if !algorithm.is_empty() && !algorithm.content(der::NULL)?.is_empty() {
            return Err(algorithm.malformed());
        }
        algorithm.end()?;
        let mut hashed = || {
            let octets = inside.content(der::OCTET_STRING)?;
            if octets.len() == hash.octets() {
                Ok(octets.to_vec())
            } else {
                Err(inside.malformed())
            }
        };
        let (issuer_name, issuer_key) = (hashed()?, hashed()?);
        let serial = inside.content(der::INTEGER)?;
        inside.end()?;
        if serial.len() > MAX_SERIAL_OCTETS {
            return Err(Malformed { what: "serial" });
        }
        let serial = der::read_unsigned(serial).ok_or(Malformed { what: "serial" })?;
        Ok(Self {
            hash,
            issuer_name,
            issuer_key,
            serial: serial.to_vec(),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let oid = der::value(der::OID, &[self.hash.oid()]);
        // NULL, as openssl, Go and Java write it, for both.
        let algorithm = der::value(der::SEQUENCE, &[&oid, &der::value(der::NULL, &[])]);
        der::value(
            der::SEQUENCE,
            &[
                &algorithm,
                &der::value(der::OCTET_STRING, &[&self.issuer_name]),
                &der::value(der::OCTET_STRING, &[&self.issuer_key]),
                &der::unsigned(&self.serial),
            ],
        )
    }
}
