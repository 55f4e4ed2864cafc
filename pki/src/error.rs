//! The sum of everything that a verb of the authority can refuse or fail at.
//!
//! Each stage owns its own small error; this one adds what only a whole verb can know. The words
//! say what happened; what to do about it is `cli`'s to say, which matches exhaustively.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::authority::AuthorityError;
use crate::backup::BackupError;
use crate::ceremony::CeremonyError;
use crate::files::FileError;
use crate::key::{KeyError, TokenError};
use crate::log::LogError;
use crate::profile::ProfileError;
use crate::reason::Reason;
use crate::request::RequestError;
use crate::secret::{SecretError, SecretSource};
use crate::serial::Serial;
use crate::status::StatusError;
use crate::store::StoreError;

/// Why a verb did not do what was asked. Unless a variant says otherwise, nothing was changed.
#[derive(Debug)]
pub enum Error {
    /// A file or directory.
    File(FileError),
    /// The inventory.
    Store(StoreError),
    /// A secret key file.
    Key {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyError,
    },
    /// A secret key in a token.
    Token {
        /// Which, as its URI names it.
        key: String,
        /// What is wrong with it.
        error: TokenError,
    },
    /// A passphrase.
    Secret {
        /// Where it should be.
        source: SecretSource,
        /// Why it is not.
        error: SecretError,
    },
    /// No passphrase protects the keys, because they are in tokens.
    NoKeyFile,
    /// What the profile does not grant.
    Profile(ProfileError),
    /// A signing request.
    Request(RequestError),
    /// An authority's certificate, name or signature.
    Authority(AuthorityError),
    /// Something could not be put on record, and so was not done.
    Log(LogError),
    /// A backup.
    Backup(BackupError),
    /// A request to a root, or its answer.
    Ceremony(CeremonyError),
    /// The directory made a request to a root, and the answer has not been imported.
    AwaitsAnswer {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds a root alone, and no issuing authority.
    RootAlone,
    /// The root's key is in another directory, and what was asked for takes it.
    RootElsewhere,
    /// There is no authority in the directory.
    NoAuthority {
        /// The directory.
        path: PathBuf,
    },
    /// There is an authority in the directory already.
    AuthorityExists {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds something else.
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The path cannot name a new directory.
    NoDirectoryName {
        /// The path.
        path: PathBuf,
    },
    /// The settings file cannot be used.
    Settings {
        /// Which file.
        path: PathBuf,
        /// In what, with its place.
        message: String,
    },
    /// A CRL would be valid for a time that is not offered.
    CrlDays {
        /// What was asked for.
        asked: u32,
        /// The limit.
        at_most: u32,
    },
    /// The issuing authority's own certificate was revoked.
    IssuerRevoked,
    /// The certificate was signed and is in the inventory, and that it would be is on record; that it was
    /// could not be recorded, so it is not handed over.
    IssuedUnrecorded {
        /// Its serial.
        serial: Serial,
        /// What went wrong.
        error: LogError,
    },
    /// The certificate was issued and is in the inventory, but its files could not be put in place.
    HandOver {
        /// Its serial.
        serial: Serial,
        /// What went wrong.
        error: FileError,
    },
    /// The holder of a certificate got as many new ones within an hour as may be.
    TooOften,
    /// No certificate is known like this.
    NotFound,
    /// The certificate in the file is not one of this authority.
    Foreign,
    /// The file holds no certificate.
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// The certificate expired; there is nothing left to revoke.
    Expired {
        /// Its serial.
        serial: Serial,
        /// When.
        not_after: Timestamp,
    },
    /// The certificate was revoked before.
    AlreadyRevoked {
        /// Its serial.
        serial: Serial,
        /// When.
        at: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// The serial was drawn, but nothing was built with it that could be revoked.
    NeverSigned {
        /// The serial.
        serial: Serial,
    },
    /// The certificate is in the inventory, but its octets are not: it may never have been signed.
    NotStored {
        /// Its serial.
        serial: Serial,
    },
    /// A root cannot be on its own CRL in any way that helps.
    RootRevocation,
    /// The reason is one for authorities.
    ReasonForAuthorities {
        /// The reason.
        reason: Reason,
    },
    /// The revocation is in the inventory, but the CRL that says so could not be published.
    Unpublished {
        /// How many certificates were revoked.
        revoked: usize,
        /// What else is good under the same names, if it was a key that was compromised.
        others: Vec<Serial>,
        /// What went wrong.
        error: Box<Error>,
    },
    /// The status of certificates cannot be signed.
    Status(StatusError),
    /// An address cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system gave no thread, socket or signal.
    Server {
        /// What it said.
        source: io::Error,
    },
}

/// Most serials that one error tells.
const MOST_TOLD: usize = 20;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "{error}"),
            Self::Store(error) => write!(f, "{error}"),
            Self::Key { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Token { key, error } => write!(f, "{key}: {error}"),
            Self::Secret { source, error } => write!(f, "{source}: {error}"),
            Self::NoKeyFile => write!(f, "the keys are in tokens, not in files"),
            Self::Profile(error) => write!(f, "{error}"),
            Self::Request(error) => write!(f, "{error}"),
            Self::Authority(error) => write!(f, "{error}"),
            Self::Log(error) => write!(f, "{error}"),
            Self::Backup(error) => write!(f, "{error}"),
            Self::Ceremony(error) => write!(f, "{error}"),
            Self::AwaitsAnswer { .. } => write!(
                f,
                "the root's answer has not been imported: pki ceremony import"
            ),
            Self::RootAlone => write!(
                f,
                "this is a root alone: it issues to no one but issuing CAs"
            ),
            Self::RootElsewhere => write!(f, "that takes the root's key, which is elsewhere"),
            Self::NoAuthority { path } => write!(f, "there is no authority in {}", path.display()),
            Self::AuthorityExists { path } => {
                write!(f, "{} holds an authority already", path.display())
            }
            Self::NotEmpty { path } => write!(f, "{} is not an empty directory", path.display()),
            Self::NoDirectoryName { path } => {
                write!(
                    f,
                    "{} cannot be the name of a new directory",
                    path.display()
                )
            }
            Self::Settings { path, message } => write!(f, "{}: {message}", path.display()),
            Self::CrlDays { asked, at_most } => write!(
                f,
                "a CRL is valid for 1 to {at_most} days; {asked} were asked for"
            ),
            Self::IssuerRevoked => write!(f, "the issuing CA's own certificate was revoked"),
            Self::IssuedUnrecorded { serial, error } => write!(
                f,
                "certificate {serial} was issued, but is not handed over, since that could not be recorded: {error}"
            ),
            Self::HandOver { serial, error } => write!(
                f,
                "certificate {serial} was issued, but its files could not be put in place: {error}"
            ),
            Self::TooOften => write!(f, "that holder got too many certificates within an hour"),
            Self::NotFound => write!(f, "no such certificate is in the inventory"),
            Self::Foreign => write!(f, "the certificate is not one of this authority"),
            Self::NoCertificate { path } => {
                write!(f, "{} holds no certificate", path.display())
            }
            Self::Expired { serial, not_after } => {
                write!(f, "certificate {serial} expired at {not_after}")
            }
            Self::AlreadyRevoked { serial, at, reason } => {
                write!(f, "certificate {serial} was revoked at {at} ({reason})")
            }
            Self::NeverSigned { serial } => write!(
                f,
                "serial {serial} was drawn, but no certificate was built with it"
            ),
            Self::NotStored { serial } => write!(
                f,
                "certificate {serial} was not stored; it may never have been signed"
            ),
            Self::RootRevocation => write!(f, "a root cannot revoke itself"),
            Self::ReasonForAuthorities { reason } => {
                write!(f, "{reason} is a reason to revoke an authority")
            }
            Self::Unpublished {
                revoked,
                others,
                error,
            } => {
                write!(
                    f,
                    "{revoked} revoked in the inventory, but the CRL could not be published: {error}"
                )?;
                // All of them are in `pki list`: one line is not for thousands.
                for (position, serial) in others.iter().take(MOST_TOLD).enumerate() {
                    let separator = if position == 0 { "; still good:" } else { "," };
                    write!(f, "{separator} {serial}")?;
                }
                match others.len().saturating_sub(MOST_TOLD) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::Status(error) => {
                write!(f, "the status of certificates cannot be signed: {error}")
            }
            Self::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Server { source } => write!(f, "the server cannot run: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) | Self::HandOver { error, .. } => Some(error),
            Self::Store(error) => Some(error),
            Self::Backup(error) => Some(error),
            Self::Ceremony(error) => Some(error),
            Self::Key { error, .. } => Some(error),
            Self::Token { error, .. } => Some(error),
            Self::Secret { error, .. } => Some(error),
            Self::Profile(error) => Some(error),
            Self::Request(error) => Some(error),
            Self::Authority(error) => Some(error),
            Self::Unpublished { error, .. } => Some(error),
            Self::Log(error) | Self::IssuedUnrecorded { error, .. } => Some(error),
            Self::Status(error) => Some(error),
            Self::Listen { source, .. } | Self::Server { source } => Some(source),
            Self::NoAuthority { .. }
            | Self::AuthorityExists { .. }
            | Self::NotEmpty { .. }
            | Self::NoDirectoryName { .. }
            | Self::Settings { .. }
            | Self::CrlDays { .. }
            | Self::IssuerRevoked
            | Self::NoKeyFile
            | Self::AwaitsAnswer { .. }
            | Self::RootAlone
            | Self::RootElsewhere
            | Self::TooOften
            | Self::NotFound
            | Self::Foreign
            | Self::NoCertificate { .. }
            | Self::Expired { .. }
            | Self::AlreadyRevoked { .. }
            | Self::NeverSigned { .. }
            | Self::NotStored { .. }
            | Self::RootRevocation
            | Self::ReasonForAuthorities { .. } => None,
        }
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<BackupError> for Error {
    fn from(error: BackupError) -> Self {
        Self::Backup(error)
    }
}

impl From<CeremonyError> for Error {
    fn from(error: CeremonyError) -> Self {
        match error {
            CeremonyError::Request(error) => Self::Request(error),
            error => Self::Ceremony(error),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<StatusError> for Error {
    fn from(error: StatusError) -> Self {
        Self::Status(error)
    }
}

impl From<ProfileError> for Error {
    fn from(error: ProfileError) -> Self {
        Self::Profile(error)
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<AuthorityError> for Error {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::Profile(error) => Self::Profile(error),
            error => Self::Authority(error),
        }
    }
}
