//! OCSP answers for tests.

use jiff::Timestamp;
use ocsp::{Answer, CertId, HashAlgorithm, Issuer, KeyHash, Status, assemble};
use rcgen::{PublicKeyData as _, SigningKey as _};
use rustls::pki_types::alg_id;

use crate::revocation::testing::Ca;

/// What the authority itself says of the certificate with this serial, from then until then (seconds since 1970).
pub(crate) fn answer(ca: &Ca, serial: &[u8], status: Status, from: i64, until: i64) -> Vec<u8> {
    let issuer = Issuer::of_certificate(ca.certificate.der()).unwrap();
    let certificate = CertId::of(HashAlgorithm::Sha1, issuer, serial).unwrap();
    let date = |seconds| Timestamp::from_second(seconds).unwrap();
    let key = ca.signer.key();
    let tbs = Answer {
        certificate: &certificate,
        status,
        produced_at: date(from),
        this_update: date(from),
        next_update: date(until),
    }
    .tbs(KeyHash::of(key.der_bytes()));
    let signature = key.sign(&tbs).unwrap();
    assemble(&tbs, alg_id::ECDSA_SHA256, &signature, &[])
}

/// It is revoked.
pub(crate) fn revoked() -> Status {
    Status::Revoked {
        at: "2026-01-02T03:04:05Z".parse().unwrap(),
        reason: None,
    }
}
