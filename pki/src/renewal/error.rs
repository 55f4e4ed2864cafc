//! Why a certificate was not renewed or enrolled. What was there before is untouched, unless a
//! variant says otherwise.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;

use super::est::EstError;
use super::leaf::AnswerError;
use super::token::TokenError;
use crate::error::Error;
use crate::files::FileError;
use crate::key::KeyError;
use crate::reason::Reason;
use crate::serial::Serial;

/// Why a certificate was not renewed or enrolled.
#[derive(Debug)]
pub enum RenewalError {
    /// A file or directory.
    File(FileError),
    /// A secret key.
    Key {
        /// In which file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyError,
    },
    /// A file holds no certificate that could be renewed.
    Certificate {
        /// Which.
        path: PathBuf,
    },
    /// Two files do not belong together.
    Mismatch {
        /// The one that does not fit.
        one: PathBuf,
        /// To this.
        other: PathBuf,
    },
    /// The directory holds something else, which would be lost.
    Others {
        /// What.
        path: PathBuf,
    },
    /// The directory is a mount point, which nothing can take the place of.
    MountPoint {
        /// The directory.
        path: PathBuf,
    },
    /// The file system cannot exchange two directories in one step.
    NoExchange {
        /// The directory above.
        path: PathBuf,
    },
    /// Another renewer holds the directory.
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// A file of trusted roots cannot be used.
    Trust {
        /// Which.
        path: PathBuf,
        /// Why.
        what: &'static str,
    },
    /// No request could be signed with the key.
    Unsigned,
    /// No authority that was fetched has the fingerprint.
    Fingerprint,
    /// The authority in the directory refused or failed.
    Authority(Box<Error>),
    /// The certificate was revoked: it has no successor.
    Revoked {
        /// Its serial.
        serial: Serial,
        /// When.
        at: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// It expired too long ago.
    TooLate {
        /// When.
        not_after: Timestamp,
    },
    /// The server of the authority, or the way to it.
    Est(EstError),
    /// What came back is not what was asked for.
    Answer(AnswerError),
    /// The one-time token.
    Token(TokenError),
    /// The certificate is renewed and in place; the old one should have been revoked and is not.
    OldNotRevoked {
        /// Its serial.
        serial: Serial,
        /// What went wrong.
        error: Box<Error>,
    },
    /// Any of these, with what is left of the old certificate.
    NotRenewed {
        /// When it ends or ended.
        not_after: Timestamp,
        /// Whether it still lives.
        lives: bool,
        /// What went wrong.
        error: Box<RenewalError>,
    },
}

impl RenewalError {
    /// Its stable code, for the record of an authority. Exhaustive, like all codes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Key { .. } | Self::Unsigned => "key_unusable",
            Self::Certificate { .. } => "no_certificate",
            Self::Mismatch { .. } => "pair_mismatch",
            Self::Others { .. } => "directory_shared",
            Self::MountPoint { .. } | Self::NoExchange { .. } => "no_exchange",
            Self::Busy { .. } => "busy",
            Self::Trust { .. } | Self::Fingerprint => "untrusted",
            Self::Authority(error) => error.code(),
            Self::Revoked { .. } => "certificate_revoked",
            Self::TooLate { .. } => "certificate_expired",
            Self::Est(_) => "est_failed",
            Self::Answer(_) => "answer_refused",
            Self::Token(_) => "token_unreadable",
            Self::OldNotRevoked { .. } => "old_not_revoked",
            Self::NotRenewed { error, .. } => error.code(),
        }
    }

    /// Whether it comes from the authority, and `is` says so of what that said.
    pub fn is_of_authority(&self, is: impl Fn(&Error) -> bool) -> bool {
        match self {
            Self::Authority(error) | Self::OldNotRevoked { error, .. } => is(error),
            Self::NotRenewed { error, .. } => error.is_of_authority(is),
            _ => false,
        }
    }
}

impl fmt::Display for RenewalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "{error}"),
            Self::Key { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Certificate { path } => write!(
                f,
                "{} holds no certificate of a server, device, client or operator",
                path.display()
            ),
            Self::Mismatch { one, other } => {
                write!(
                    f,
                    "{} does not belong to {}",
                    one.display(),
                    other.display()
                )
            }
            Self::Others { path } => write!(
                f,
                "{} is none of cert.pem, chain.pem, key.pem and trust.pem, and would be lost",
                path.display()
            ),
            Self::MountPoint { path } => write!(
                f,
                "{} is a mount point and cannot be replaced in one step",
                path.display()
            ),
            Self::NoExchange { path } => write!(
                f,
                "the file system of {} cannot exchange two directories in one step",
                path.display()
            ),
            Self::Busy { path } => {
                write!(f, "another process is renewing {}", path.display())
            }
            Self::Trust { path, what } => write!(f, "{}: {what}", path.display()),
            Self::Unsigned => write!(f, "no request could be signed with the key"),
            Self::Fingerprint => {
                write!(f, "none of the server's authorities has this fingerprint")
            }
            Self::Authority(error) => write!(f, "{error}"),
            Self::Revoked { serial, at, reason } => write!(
                f,
                "certificate {serial} was revoked at {at} ({reason}): it is not renewed"
            ),
            Self::TooLate { not_after } => {
                write!(f, "the certificate expired too long ago, at {not_after}")
            }
            Self::Est(error) => write!(f, "{error}"),
            Self::Answer(error) => write!(f, "{error}"),
            Self::Token(error) => write!(f, "{error}"),
            Self::OldNotRevoked { serial, error } => write!(
                f,
                "the certificate is renewed, but the old one ({serial}) is not revoked: {error}"
            ),
            Self::NotRenewed {
                not_after,
                lives,
                error,
            } => {
                let ends = if *lives {
                    "is valid until"
                } else {
                    "expired at"
                };
                write!(f, "{error}; the old certificate {ends} {not_after}")
            }
        }
    }
}

impl std::error::Error for RenewalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Key { error, .. } => Some(error),
            Self::Authority(error) | Self::OldNotRevoked { error, .. } => Some(error),
            Self::Est(error) => Some(error),
            Self::Answer(error) => Some(error),
            Self::Token(error) => Some(error),
            Self::NotRenewed { error, .. } => Some(error),
            Self::Certificate { .. }
            | Self::Mismatch { .. }
            | Self::Others { .. }
            | Self::MountPoint { .. }
            | Self::NoExchange { .. }
            | Self::Busy { .. }
            | Self::Trust { .. }
            | Self::Unsigned
            | Self::Fingerprint
            | Self::Revoked { .. }
            | Self::TooLate { .. } => None,
        }
    }
}

impl From<FileError> for RenewalError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<EstError> for RenewalError {
    fn from(error: EstError) -> Self {
        Self::Est(error)
    }
}

impl From<AnswerError> for RenewalError {
    fn from(error: AnswerError) -> Self {
        Self::Answer(error)
    }
}

impl From<TokenError> for RenewalError {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}
