//! Reasons for revocation (RFC 5280 section 5.3.1), and the entry that a CRL carries for one
//! certificate (section 5.1.2.6).
//!
//! Revocation here is final. `certificateHold` and `removeFromCRL`, which take it back, are not
//! offered: a record of who was refused at a certain moment must not depend on a later change of
//! mind, and delta CRLs, which need the second, are not made.

use std::fmt;

use jiff::Timestamp;

use crate::serial::Serial;

/// Why a certificate was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No reason given; the CRL then says none (RFC 5280 section 5.3.1).
    Unspecified,
    /// The secret key of an end entity is, or may be, in other hands.
    KeyCompromise,
    /// The secret key of an authority is, or may be, in other hands.
    CaCompromise,
    /// The holder's name or affiliation changed.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// The holder was taken out of service.
    CessationOfOperation,
    /// The holder may no longer do what the certificate allows.
    PrivilegeWithdrawn,
}

/// A reason and how it is written.
#[derive(Debug)]
pub struct ReasonRow {
    /// The reason.
    pub reason: Reason,
    /// Its name in RFC 5280, as it is typed and stored.
    pub name: &'static str,
    /// Its CRLReason code.
    pub code: u8,
    /// Whether it is said of authorities only.
    pub authorities_only: bool,
}

/// The reasons that are offered. Missing on purpose: `certificateHold` (6) and `removeFromCRL` (8),
/// see above, and `aACompromise` (10), which is about attribute authorities.
#[rustfmt::skip]
pub static REASONS: [ReasonRow; 7] = [
    ReasonRow { reason: Reason::Unspecified,          name: "unspecified",          code: 0, authorities_only: false },
    ReasonRow { reason: Reason::KeyCompromise,        name: "keyCompromise",        code: 1, authorities_only: false },
    ReasonRow { reason: Reason::CaCompromise,         name: "cACompromise",         code: 2, authorities_only: true },
    ReasonRow { reason: Reason::AffiliationChanged,   name: "affiliationChanged",   code: 3, authorities_only: false },
    ReasonRow { reason: Reason::Superseded,           name: "superseded",           code: 4, authorities_only: false },
    ReasonRow { reason: Reason::CessationOfOperation, name: "cessationOfOperation", code: 5, authorities_only: false },
    ReasonRow { reason: Reason::PrivilegeWithdrawn,   name: "privilegeWithdrawn",   code: 9, authorities_only: false },
];

impl Reason {
    /// Reads a name of RFC 5280, upper or lower case.
    pub fn parse(name: &str) -> Option<Self> {
        REASONS
            .iter()
            .find(|row| row.name.eq_ignore_ascii_case(name))
            .map(|row| row.reason)
    }

    /// Its row.
    pub fn row(self) -> &'static ReasonRow {
        REASONS
            .iter()
            .find(|row| row.reason == self)
            .expect("a test finds a row for every reason")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)
    }
}

/// One revoked certificate, as a CRL lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedEntry {
    /// The certificate's serial number.
    pub serial: Serial,
    /// When it was revoked.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_row_and_reads_back() {
        use Reason as R;
        for reason in [
            R::Unspecified,
            R::KeyCompromise,
            R::CaCompromise,
            R::AffiliationChanged,
            R::Superseded,
            R::CessationOfOperation,
            R::PrivilegeWithdrawn,
        ] {
            assert_eq!(Reason::parse(reason.row().name), Some(reason));
            assert_eq!(
                Reason::parse(&reason.to_string().to_uppercase()),
                Some(reason)
            );
        }
    }

    #[test]
    fn what_would_take_a_revocation_back_is_not_offered() {
        for name in ["certificateHold", "removeFromCRL", "aACompromise", ""] {
            assert_eq!(Reason::parse(name), None, "{name}");
        }
    }
}
