//! Why a list was not fetched, or an OCSP answer not had.

use std::fmt;
use std::io;

use crate::revocation::{Edition, ListFault};
use crate::tls::{ChainRefusal, StapleFault, StatusFault};

/// Why a list was not fetched. What was fetched before stands meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchFault {
    /// There is no connection to the server.
    Unreachable {
        /// What the operating system said.
        error: io::ErrorKind,
    },
    /// It did not come in time.
    Slow,
    /// What came is no HTTP, or broke off.
    Broken,
    /// The server answered something else than a list.
    Status {
        /// The status of the answer.
        status: u16,
    },
    /// The answer is coded in a way that was not asked for.
    Encoded,
    /// It is larger than any list that is read.
    TooLarge,
    /// It is not one list, in DER or PEM.
    NotOneList,
    /// The list does not count.
    List(ListFault),
    /// The list is older than the one that was fetched before.
    Older {
        /// What came.
        found: Edition,
        /// What was fetched before.
        kept: Edition,
    },
    /// The list speaks of other certificates than the one that was fetched before, which still holds.
    Other {
        /// What came.
        found: String,
        /// What was fetched before.
        kept: String,
    },
    /// It cannot be kept.
    Unkept {
        /// What the operating system said.
        error: io::ErrorKind,
    },
}

impl FetchFault {
    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        match self {
            FetchFault::Unreachable { .. } | FetchFault::Slow | FetchFault::Broken => {
                "look at the server and at the way there; it is asked again by itself"
            }
            FetchFault::Status {
                status: 300..=399, ..
            } => "nobody is followed elsewhere: name the URL that the server leads to",
            FetchFault::Status { .. } => "check the URL, and what the server publishes there",
            FetchFault::Encoded => "have the server send the list as it is",
            FetchFault::TooLarge => {
                "check that it is the right URL, or let the authority issue shorter lists"
            }
            FetchFault::NotOneList => "name the URL of one list, in DER or PEM",
            FetchFault::List(_) => {
                "look at what the server publishes there; whoever sits between can change it too, and nothing comes of it"
            }
            FetchFault::Older { .. } => {
                "have the server publish the newest list; if the authority began to count anew, stop the gateway and empty the folder that `kept` names"
            }
            FetchFault::Other { .. } => {
                "check the URL; if the authority changed what it publishes there, stop the gateway and empty the folder that `kept` names"
            }
            FetchFault::Unkept { .. } => {
                "let the user that the gateway runs as write the folder that `kept` names"
            }
        }
    }

    /// Whether a list came that is refused, and not something else that is missing.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            FetchFault::TooLarge
                | FetchFault::NotOneList
                | FetchFault::List(_)
                | FetchFault::Older { .. }
                | FetchFault::Other { .. }
        )
    }
}

impl fmt::Display for FetchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchFault::Unreachable { error } => write!(f, "no connection: {error}"),
            FetchFault::Slow => f.write_str("it did not come in time"),
            FetchFault::Broken => f.write_str("the answer is no HTTP, or broke off"),
            FetchFault::Status { status } => write!(f, "the server answered {status}"),
            FetchFault::Encoded => f.write_str("the answer has a content coding"),
            FetchFault::TooLarge => f.write_str("it is larger than any list that is read"),
            FetchFault::NotOneList => f.write_str("it is not one revocation list"),
            FetchFault::List(fault) => fault.fmt(f),
            FetchFault::Older { found, kept } => write!(
                f,
                "it is older than the one before ({found}; before it came {kept}), and would take revocations back"
            ),
            FetchFault::Other { found, kept } => write!(
                f,
                "it is of {found}, and what was fetched before, which still holds, of {kept}"
            ),
            FetchFault::Unkept { error } => write!(f, "it cannot be kept: {error}"),
        }
    }
}

/// Why an OCSP answer about a certificate of ours was not had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskFault {
    /// None came.
    Exchange(FetchFault),
    /// What came is not shown.
    Staple(StapleFault),
}

impl AskFault {
    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        match self {
            AskFault::Exchange(FetchFault::Encoded | FetchFault::TooLarge) => {
                "check that it is the URL of an OCSP responder"
            }
            AskFault::Exchange(fault) => fault.hint(),
            AskFault::Staple(fault) => fault.hint(),
        }
    }

    /// Whether an answer came that is refused, and not something else that is missing.
    pub fn is_refusal(&self) -> bool {
        match self {
            AskFault::Exchange(fault) => fault.is_refusal(),
            AskFault::Staple(_) => true,
        }
    }

    /// Whether somebody has to act at once.
    pub fn is_alarm(&self) -> bool {
        matches!(self, AskFault::Staple(StapleFault::Revoked { .. }))
    }
}

impl fmt::Display for AskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskFault::Exchange(FetchFault::TooLarge) => {
                f.write_str("it is larger than any OCSP answer")
            }
            AskFault::Exchange(fault) => fault.fmt(f),
            AskFault::Staple(fault) => fault.fmt(f),
        }
    }
}

/// Why the status of a client's certificate was not had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StatusTrouble {
    /// No answer came.
    Exchange(FetchFault),
    /// What came does not count.
    Answer(StatusFault),
    /// No question can be asked about it: its serial number is not one of RFC 5280.
    Unaskable,
}

impl StatusTrouble {
    /// How the client is refused.
    pub(super) fn refusal(&self) -> ChainRefusal {
        match self {
            StatusTrouble::Exchange(_) => ChainRefusal::StatusUnavailable,
            StatusTrouble::Answer(fault) => fault.refusal(),
            StatusTrouble::Unaskable => ChainRefusal::StatusUnknown,
        }
    }

    /// As it stands in metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            StatusTrouble::Exchange(_) => "failed",
            StatusTrouble::Answer(_) | StatusTrouble::Unaskable => "refused",
        }
    }

    /// What the operator can do.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            StatusTrouble::Exchange(FetchFault::Encoded | FetchFault::TooLarge) => {
                "check that it is the URL of an OCSP responder"
            }
            StatusTrouble::Exchange(fault) => fault.hint(),
            StatusTrouble::Answer(fault) => fault.hint(),
            StatusTrouble::Unaskable => "have the authority issue another certificate",
        }
    }
}

impl fmt::Display for StatusTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusTrouble::Exchange(FetchFault::TooLarge) => {
                f.write_str("it is larger than any OCSP answer")
            }
            StatusTrouble::Exchange(fault) => fault.fmt(f),
            StatusTrouble::Answer(fault) => fault.fmt(f),
            StatusTrouble::Unaskable => f.write_str("its serial number is not one of RFC 5280"),
        }
    }
}
