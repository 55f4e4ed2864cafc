//! Why a file is not a revocation list that counts.

use std::fmt;

/// Why a file is not a revocation list that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListFault {
    /// It cannot be read.
    Malformed,
    /// No authority of the trust set has the name that the list gives as its issuer.
    UnknownIssuer {
        /// The name.
        issuer: Box<str>,
    },
    /// The signature does not verify, or is of an algorithm that does not count.
    Signature {
        /// Who should have signed.
        issuer: Box<str>,
    },
    /// The authority's key usage does not let it sign lists.
    MayNotSign {
        /// The authority.
        issuer: Box<str>,
    },
    /// It is dated later than now.
    FromTheFuture {
        /// Its date, seconds since 1970.
        this_update: i64,
    },
    /// It does not say when the next one comes (RFC 5280 5.1.2.5 demands it).
    NoNextUpdate,
    /// It is of a kind that leaves something unsaid.
    Unsupported {
        /// Which kind.
        what: &'static str,
    },
}

impl fmt::Display for ListFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListFault::Malformed => f.write_str("it is not a well-formed revocation list"),
            ListFault::UnknownIssuer { issuer } => write!(
                f,
                "its issuer \"{issuer}\" is not an authority of this trust set"
            ),
            ListFault::Signature { issuer } => {
                write!(f, "the signature of \"{issuer}\" on it does not verify")
            }
            ListFault::MayNotSign { issuer } => write!(
                f,
                "the key usage of \"{issuer}\" does not let it sign revocation lists"
            ),
            ListFault::FromTheFuture { this_update } => {
                write!(
                    f,
                    "it is dated {}, which is later than this machine's clock",
                    audit::event::Time::from_unix_seconds(*this_update)
                )
            }
            ListFault::NoNextUpdate => f.write_str("it does not say when the next one comes"),
            ListFault::Unsupported { what } => write!(f, "it is {what}"),
        }
    }
}
