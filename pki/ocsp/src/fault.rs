//! Why a response is not believed.

use std::fmt;

use jiff::Timestamp;

use crate::error::Malformed;
use crate::response::ErrorStatus;

/// Why a response is not believed. None of them says that a certificate is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It cannot be read.
    Malformed(Malformed),
    /// The responder says, unsigned, that it does not answer.
    Refused {
        /// In which words.
        status: ErrorStatus,
    },
    /// The issuer's certificate cannot be read.
    Issuer,
    /// It is about other certificates, or about this one twice.
    OtherCertificate,
    /// It is signed by nobody whom the issuer named: the responder's certificate is missing, or not
    /// the one that the response names.
    Responder,
    /// The responder's certificate is not one for this: another issuer's, out of date, or without
    /// id-kp-OCSPSigning (RFC 6960 section 4.2.2.2).
    Delegate {
        /// What the verifier of certificates says.
        error: webpki::Error,
    },
    /// The responder's certificate lives long and does not say that it needs no status of its own
    /// (id-pkix-ocsp-nocheck, RFC 6960 section 4.2.2.2.1).
    DelegateUnchecked,
    /// A signature algorithm that is not trusted, or not one of the responder's key.
    Algorithm,
    /// The signature is not one by the responder over these bytes.
    Signature,
    /// It begins in the future.
    NotYet {
        /// When.
        this_update: Timestamp,
        /// What time it is.
        now: Timestamp,
    },
    /// It is over.
    Stale {
        /// Since when.
        next_update: Timestamp,
        /// What time it is.
        now: Timestamp,
    },
    /// It does not say until when it holds, so it would hold forever (RFC 5019 section 2.2.4).
    Endless,
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => write!(f, "the response cannot be read: {malformed}"),
            Self::Refused { status } => write!(f, "the responder answers {}", status.as_str()),
            Self::Issuer => write!(f, "the issuer's certificate cannot be read"),
            Self::OtherCertificate => write!(f, "the response is about another certificate"),
            Self::Responder => write!(
                f,
                "the response is signed by nobody whom the issuer appointed"
            ),
            Self::Delegate { error } => {
                write!(f, "the responder's certificate is not accepted: {error}")
            }
            Self::DelegateUnchecked => write!(
                f,
                "the responder's certificate lives long and has no id-pkix-ocsp-nocheck"
            ),
            Self::Algorithm => write!(f, "the response's signature algorithm is not accepted"),
            Self::Signature => write!(f, "the response's signature does not verify"),
            Self::NotYet { this_update, now } => {
                write!(f, "the response begins at {this_update}, and it is {now}")
            }
            Self::Stale { next_update, now } => {
                write!(f, "the response ended at {next_update}, and it is {now}")
            }
            Self::Endless => write!(f, "the response does not say until when it holds"),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(malformed) => Some(malformed),
            Self::Delegate { error } => Some(error),
            _ => None,
        }
    }
}
