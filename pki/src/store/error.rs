//! What may fail in the inventory.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;

use super::engine::postgres::ServerError;
use super::{AuthorityRole, BUSY_TIMEOUT, MAX_TOKENS, SCHEMA_VERSION};
use crate::files::FileError;

/// What failed in the store.
#[derive(Debug)]
pub enum StoreError {
    /// The file could not be created.
    File(FileError),
    /// There is no file.
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file is something else.
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// The layout is one of another version of this program.
    Version {
        /// Its number.
        version: i32,
    },
    /// The file system cannot carry a write-ahead log.
    NoWriteAheadLog,
    /// The store does not know this authority.
    UnknownAuthority {
        /// Its role.
        role: AuthorityRole,
    },
    /// Another process held the write lock for too long.
    Busy,
    /// The disk is full.
    Full,
    /// The file, or the directory it lies in, cannot be written.
    ReadOnly,
    /// What is stored contradicts itself.
    Corrupt {
        /// Where.
        what: &'static str,
    },
    /// The serial was drawn before. With 128 random bits that is a broken random source.
    SerialTaken,
    /// The certificate is not in the state from which this step starts.
    State,
    /// The public key was reported as compromised.
    KeyCompromised,
    /// The public key belongs to a live certificate with other names.
    KeyOfAnother,
    /// No such token was made here.
    TokenUnknown,
    /// The token was used.
    TokenSpent {
        /// When.
        at: Timestamp,
    },
    /// The token was not used in time.
    TokenExpired {
        /// Since when.
        at: Timestamp,
    },
    /// The token was taken back.
    TokenCancelled {
        /// When.
        at: Timestamp,
    },
    /// The token stands for another profile or other names.
    TokenForAnother,
    /// As many tokens are open as may be.
    TooManyTokens,
    /// The inventory that is to be filled knows one of the authorities.
    NotEmpty,
    /// Another failure of SQLite.
    Sqlite(rusqlite::Error),
    /// A failure of the server, or on the way to it.
    Server(ServerError),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "{error}"),
            Self::Missing { path } => write!(f, "there is no inventory at {}", path.display()),
            Self::Foreign { path } => {
                write!(f, "{} is no inventory of this program", path.display())
            }
            Self::Version { version } => write!(
                f,
                "the inventory has layout {version}; this program knows {SCHEMA_VERSION}"
            ),
            Self::NoWriteAheadLog => {
                write!(
                    f,
                    "the file system cannot carry the inventory's write-ahead log"
                )
            }
            Self::UnknownAuthority { role } => write!(
                f,
                "the inventory does not know the {} certificate beside it",
                role.as_str()
            ),
            Self::Busy => write!(
                f,
                "another process kept the inventory locked for {} s",
                BUSY_TIMEOUT.as_secs()
            ),
            Self::Full => write!(f, "the disk with the inventory is full"),
            Self::ReadOnly => write!(f, "the inventory cannot be opened for writing"),
            Self::Corrupt { what } => write!(f, "the inventory is damaged ({what})"),
            Self::SerialTaken => write!(
                f,
                "a new random serial was drawn before: the random source is broken"
            ),
            Self::State => write!(
                f,
                "the certificate is not in the state that this step starts from"
            ),
            Self::KeyCompromised => write!(f, "the public key was reported as compromised"),
            Self::KeyOfAnother => write!(
                f,
                "the public key belongs to a live certificate with another name"
            ),
            Self::TokenUnknown => write!(f, "the token is unknown"),
            Self::TokenSpent { at } => write!(f, "the token was used at {at}"),
            Self::TokenExpired { at } => write!(f, "the token expired at {at}"),
            Self::TokenCancelled { at } => write!(f, "the token was cancelled at {at}"),
            Self::TokenForAnother => {
                write!(f, "the token is for another profile or another name")
            }
            Self::TooManyTokens => write!(f, "{MAX_TOKENS} tokens are open, and no more may be"),
            Self::NotEmpty => write!(f, "the inventory to fill knows this authority"),
            Self::Sqlite(error) => write!(f, "the inventory failed: {error}"),
            Self::Server(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Sqlite(error) => Some(error),
            Self::Server(error) => Some(error),
            _ => None,
        }
    }
}
