//! Decisions: controls that the law lets a covered entity adapt, and the words that it then owes.
//!
//! 45 CFR 164.306(d)(3) wants the reason in writing wherever an addressable specification is not
//! carried out. Each rationale in use becomes a [`Decision`]; what needs one is the table
//! `ADDRESSABLE` in `resolve/addressable.rs`.

use std::fmt;

use crate::name::Sentence;
use crate::place::{Place, Placed};

/// A control that a configuration can weaken, if it says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Control {
    /// A route is declared to carry no ePHI, so nothing is promised for it.
    EphiDeclaredAbsent,
    /// Anyone may use a route that carries ePHI.
    AnyoneOnEphi,
    /// ePHI passes a listener that asks for no client certificates.
    NoClientCertificates,
    /// ePHI passes a listener that works without a client certificate.
    OptionalClientCertificates,
    /// An upstream off loopback is spoken to without TLS.
    PlainUpstream,
    /// An upstream with ePHI cannot tell the gateway from anybody else who connects.
    UnprovenGateway,
    /// What a request states of its content is not compared with the content.
    UncheckedDigest,
    /// A revocation list past its next update counts.
    StaleCrl,
    /// Certificates cannot be revoked.
    RevocationOff,
    /// Nobody signs the audit log, and no patient is named in it.
    UnsignedAudit,
    /// Audit records lie readable on the disk.
    ReadableAudit,
    /// Audit records do not survive a loss of power.
    BufferedAudit,
    /// Audit records are kept for fewer than six years.
    ShortRetention,
    /// The audit log lies on a file system that may not keep its word.
    WeakFileSystem,
}

impl Control {
    /// The stable name that stands in records and reports.
    pub fn id(self) -> &'static str {
        match self {
            Self::EphiDeclaredAbsent => "ephi-declared-absent",
            Self::AnyoneOnEphi => "anyone-on-ephi",
            Self::NoClientCertificates => "no-client-certificates",
            Self::OptionalClientCertificates => "optional-client-certificates",
            Self::PlainUpstream => "plain-upstream",
            Self::UnprovenGateway => "unproven-gateway",
            Self::UncheckedDigest => "unchecked-digest",
            Self::StaleCrl => "stale-crl",
            Self::RevocationOff => "revocation-off",
            Self::UnsignedAudit => "unsigned-audit",
            Self::ReadableAudit => "readable-audit",
            Self::BufferedAudit => "buffered-audit",
            Self::ShortRetention => "short-retention",
            Self::WeakFileSystem => "weak-file-system",
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A control that is weakened, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is weakened.
    pub control: Control,
    /// The paragraph that asks for it, such as `45 CFR 164.312(d)`.
    pub paragraph: &'static str,
    /// The key that weakens it.
    pub place: Place,
    /// Why.
    pub rationale: Placed<Sentence>,
}
