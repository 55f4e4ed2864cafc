//! The status of one certificate, as a signed OCSP response (RFC 6960 section 4.2).
//!
//! What is signed was first signed by a throw-away key, read back and linted; the responder's key
//! then signs those octets, and what came of it is judged as a client would. Nothing is remembered
//! here, and the time is an argument.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use ocsp::{Answer, CertId, KeyHash, ReasonCode, Status};
use rcgen::{PublicKeyData as _, SigningKey as _};
use rustls_pki_types::{AlgorithmIdentifier, alg_id};

use crate::authority::AuthorityCertificate;
use crate::key::{KeyError, PrivateKey};
use crate::lint::{self, LintError};
use crate::profile::{Validity, whole_seconds};
use crate::public_key::KeyKind;
use crate::store::{Standing, Status as Stored};

/// Who signs responses for one issuer.
#[derive(Debug)]
pub struct Signer {
    issuer: AuthorityCertificate,
    certificate: Vec<u8>,
    key: PrivateKey,
    validity: Validity,
    hash: KeyHash,
    algorithm: AlgorithmIdentifier,
    /// Of the responder's kind, and for rehearsals alone.
    throw_away: PrivateKey,
}

/// A signed response, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatus {
    /// The whole response, DER.
    pub der: Vec<u8>,
    /// The status.
    pub status: Status,
    /// Since when it is known to be right.
    pub this_update: Timestamp,
    /// Until when it can be used.
    pub next_update: Timestamp,
}

impl Signer {
    /// A responder that `issuer` appointed by `certificate`, DER. Refused if its key is of a kind that
    /// signs no responses.
    pub fn new(
        issuer: AuthorityCertificate,
        certificate: Vec<u8>,
        key: PrivateKey,
        validity: Validity,
    ) -> Result<Self, StatusError> {
        let kind = key.public().kind();
        let algorithm = match kind {
            KeyKind::P256 => alg_id::ECDSA_SHA256,
            KeyKind::P384 => alg_id::ECDSA_SHA384,
            KeyKind::Ed25519 | KeyKind::Rsa => return Err(StatusError::Key(KeyError::Kind)),
        };
        Ok(Self {
            hash: KeyHash::of(key.public().der_bytes()),
            throw_away: PrivateKey::generate(kind).map_err(StatusError::Key)?,
            issuer,
            certificate,
            key,
            validity,
            algorithm,
        })
    }

    /// From when until when it can sign.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The DER of its certificate.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Signs the status of a certificate, for `window` or until the responder's own certificate ends.
    pub fn sign(
        &self,
        certificate: &CertId,
        status: Status,
        now: Timestamp,
        window: SignedDuration,
    ) -> Result<SignedStatus, StatusError> {
        let this_update = whole_seconds(now).map_err(|_| StatusError::Clock { now })?;
        let next_update = this_update
            .checked_add(window)
            .map_err(|_| StatusError::Clock { now })?
            .min(self.validity.not_after);
        let answer = Answer {
            certificate,
            status,
            produced_at: this_update,
            this_update,
            next_update,
        };
        let tbs = answer.tbs(self.hash);
        let signed_by = |key: &PrivateKey| {
            let signature = key.sign(&tbs).map_err(|_| StatusError::Signature)?;
            let certificates = [self.certificate()];
            Ok::<_, StatusError>(ocsp::assemble(
                &tbs,
                self.algorithm,
                &signature,
                &certificates,
            ))
        };
        lint::ocsp::lint(
            &signed_by(&self.throw_away)?,
            &lint::ocsp::Intended {
                certificate,
                status,
                this_update,
                next_update,
                responder: self.certificate(),
                responder_key: self.hash,
                responder_validity: self.validity,
                algorithm: self.algorithm.as_ref(),
            },
        )
        .map_err(StatusError::Lint)?;
        let der = signed_by(&self.key)?;
        // A signature that went wrong in the machine is found before anybody gets it, and a
        // responder whom no client would believe as well.
        let verified = ocsp::verify(
            &der,
            self.issuer.der(),
            certificate.serial(),
            this_update,
            webpki::ALL_VERIFICATION_ALGS,
        )
        .map_err(StatusError::Unbelievable)?;
        if verified.status != status {
            return Err(StatusError::Signature);
        }
        Ok(SignedStatus {
            der,
            status,
            this_update,
            next_update,
        })
    }
}

/// What may be said of a certificate that stands so. `None` is no answer (`unauthorized`): it was not
/// signed as far as is known, or it is past its end.
pub fn told(standing: &Standing, now: Timestamp) -> Option<Status> {
    let ends = standing.validity?.not_after;
    if ends < now {
        return None;
    }
    match (standing.status, standing.revoked) {
        (Stored::Issued, _) => Some(Status::Good),
        (Stored::Revoked, Some((at, reason))) => {
            // "unspecified" is not said (RFC 5280 section 5.3.1).
            let code = reason.row().code;
            let reason = ReasonCode::new(code).filter(|_| code != 0);
            Some(Status::Revoked { at, reason })
        }
        (Stored::Reserved | Stored::Pending | Stored::Revoked, _) => None,
    }
}

/// Why a status is not signed.
#[derive(Debug)]
pub enum StatusError {
    /// The responder's key.
    Key(KeyError),
    /// The clock cannot be right.
    Clock {
        /// What it says.
        now: Timestamp,
    },
    /// A rule is not kept; nothing was signed.
    Lint(LintError),
    /// The signature could not be made.
    Signature,
    /// There is nobody to sign it.
    NoResponder,
    /// No client would believe it.
    Unbelievable(ocsp::Fault),
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(error) => write!(f, "the responder's key: {error}"),
            Self::Clock { now } => write!(f, "the clock says {now}, which cannot be right"),
            Self::Lint(error) => write!(f, "{error}"),
            Self::Signature => write!(f, "the signature could not be made"),
            Self::NoResponder => write!(f, "there is no responder's certificate"),
            Self::Unbelievable(fault) => write!(f, "no client would believe it: {fault}"),
        }
    }
}

impl std::error::Error for StatusError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Key(error) => Some(error),
            Self::Lint(error) => Some(error),
            Self::Unbelievable(fault) => Some(fault),
            Self::Clock { .. } | Self::Signature | Self::NoResponder => None,
        }
    }
}
