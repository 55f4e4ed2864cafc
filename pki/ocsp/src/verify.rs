//! Whether a response is to be believed (RFC 6960 section 3.2, RFC 5019 section 2.2).
//!
//! Strict, and fails closed: a status comes out only if the issuer of the certificate, or one
//! responder whom it appointed itself, signed it, and it holds now.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::asn1_rs::{Oid, oid};
use x509_parser::prelude::FromDer;

use crate::cert_id::{CertId, Issuer, KeyHash};
use crate::fault::Fault;
use crate::response::{Basic, Responder, Response, Single, Status};

/// How far the clock of a responder may be ahead. Behind it may not be: what is over is over.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// A responder's certificate that lives no longer needs no id-pkix-ocsp-nocheck: it is over before
/// its revocation would be known.
pub const SHORT_LIVED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A status that the issuer answers for, and that holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The status.
    pub status: Status,
    /// Since when it is known to be right.
    pub this_update: Timestamp,
    /// From when on it must not be used any more.
    pub next_update: Timestamp,
}

/// Judges the DER of a response to a question about the certificate of `issuer` (a certificate, DER)
/// with this serial (unsigned big-endian).
///
/// `algorithms` are those that signatures may have, of the response and of the responder's
/// certificate. A nonce is not looked at: [`Verified::next_update`] bounds how long an old answer can
/// be shown. Whether the issuer's certificate itself is good is the caller's to know.
pub fn verify(
    der: &[u8],
    issuer: &[u8],
    serial: &[u8],
    now: Timestamp,
    algorithms: &[&'static dyn SignatureVerificationAlgorithm],
) -> Result<Verified, Fault> {
    let response = match Response::parse(der)? {
        Response::Basic(response) => response,
        Response::Error(status) => return Err(Fault::Refused { status }),
    };
    let named = Issuer::of_certificate(issuer).ok_or(Fault::Issuer)?;
    let single = about(&response, named, serial)?;
    let issuer = CertificateDer::from(issuer);
    match signer(&response, named)? {
        Signer::Issuer => check_signature(&response, &issuer, algorithms)?,
        Signer::Delegate(delegate) => {
            let delegate = CertificateDer::from(delegate);
            check_delegate(&delegate, &issuer, now, algorithms)?;
            check_signature(&response, &delegate, algorithms)?;
        }
    }
    let begins = single.this_update.max(response.produced_at);
    if begins > now.saturating_add(CLOCK_SKEW).unwrap_or(now) {
        return Err(Fault::NotYet {
            this_update: begins,
            now,
        });
    }
    let next_update = single.next_update.ok_or(Fault::Endless)?;
    if now >= next_update {
        return Err(Fault::Stale { next_update, now });
    }
    Ok(Verified {
        status: single.status,
        this_update: single.this_update,
        next_update,
    })
}

/// The one thing that is said of this certificate.
fn about<'a>(
    response: &'a Basic<'_>,
    issuer: Issuer<'_>,
    serial: &[u8],
) -> Result<&'a Single, Fault> {
    let is_meant = |single: &&Single| {
        CertId::of(single.certificate.hash(), issuer, serial)
            .is_ok_and(|certificate| certificate == single.certificate)
    };
    let mut meant = response.singles.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(single), None) => Ok(single),
        _ => Err(Fault::OtherCertificate),
    }
}

enum Signer<'a> {
    Issuer,
    Delegate(&'a [u8]),
}

/// Who the response says to be from: the issuer, or one of the certificates that came along.
fn signer<'a>(response: &Basic<'a>, issuer: Issuer<'_>) -> Result<Signer<'a>, Fault> {
    let is_named = |candidate: Issuer<'_>| match response.responder {
        Responder::Name(name) => candidate.name == name,
        Responder::Key(key) => KeyHash::of(candidate.key) == key,
    };
    if is_named(issuer) {
        return Ok(Signer::Issuer);
    }
    response
        .certificates
        .iter()
        .copied()
        .find(|der| Issuer::of_certificate(der).is_some_and(is_named))
        .map(Signer::Delegate)
        .ok_or(Fault::Responder)
}

/// The value of id-kp-OCSPSigning (RFC 6960 section 4.2.2.2).
const OCSP_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09];
/// id-pkix-ocsp-nocheck (RFC 6960 section 4.2.2.2.1).
const NO_CHECK: Oid<'static> = oid!(1.3.6.1.5.5.7.48.1.5);

/// The issuer itself signed this certificate, for this purpose, and it is in date.
fn check_delegate(
    delegate: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
    now: Timestamp,
    algorithms: &[&'static dyn SignatureVerificationAlgorithm],
) -> Result<(), Fault> {
    let refused = |error| Fault::Delegate { error };
    let anchor = webpki::anchor_from_trusted_cert(issuer).map_err(|_| Fault::Issuer)?;
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    EndEntityCert::try_from(delegate)
        .map_err(refused)?
        .verify_for_usage(
            algorithms,
            &[anchor],
            // No others between them: it is the issuer that delegates.
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            KeyUsage::required(OCSP_SIGNING),
            None,
            None,
        )
        .map_err(refused)?;
    let (_, read) = X509Certificate::from_der(delegate).map_err(|_| Fault::Responder)?;
    let validity = read.validity();
    let lives = validity.not_after.timestamp() - validity.not_before.timestamp();
    let is_exempt = read.extensions().iter().any(|known| known.oid == NO_CHECK);
    if is_exempt || lives <= SHORT_LIVED.as_secs() {
        Ok(())
    } else {
        Err(Fault::DelegateUnchecked)
    }
}

/// The key of `certificate` signed the response, by an algorithm that is trusted.
fn check_signature(
    response: &Basic<'_>,
    certificate: &CertificateDer<'_>,
    algorithms: &[&'static dyn SignatureVerificationAlgorithm],
) -> Result<(), Fault> {
    let key = EndEntityCert::try_from(certificate).map_err(|_| Fault::Responder)?;
    let mut fault = Fault::Algorithm;
    // One identifier may stand for several: ECDSA with SHA-256 is for P-256 and for P-384.
    for algorithm in algorithms {
        if algorithm.signature_alg_id().as_ref() != response.algorithm {
            continue;
        }
        match key.verify_signature(*algorithm, response.tbs, response.signature) {
            Ok(()) => return Ok(()),
            Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
            Err(_) => fault = Fault::Signature,
        }
    }
    Err(fault)
}
