//! Why something is not on record.

use std::fmt;
use std::path::PathBuf;

use audit::error::{AppendError, OpenError};
use audit::keys::KeysError;
use audit::public_key::PublicKeyError;

use super::PATIENCE;
use crate::files::FileError;

/// Why something is not on record.
#[derive(Debug)]
pub enum LogError {
    /// There are no keys of a log: the authority has none, or lost it.
    Missing {
        /// Where they belong.
        path: PathBuf,
    },
    /// The keys cannot be used.
    Keys {
        /// Which file.
        path: PathBuf,
        /// What is wrong with them.
        error: KeysError,
    },
    /// A file beside the log.
    File(FileError),
    /// The public key beside the log is not that of its keys.
    PublicKey(PublicKeyError),
    /// Others wrote to it for all of [`PATIENCE`].
    Busy,
    /// It does not open.
    Open(Box<OpenError>),
    /// It did not take an entry, or could not be closed.
    Append(AppendError),
    /// It cannot be read.
    Read(std::io::Error),
    /// What stands there is no entry, or does not follow what is before it.
    Damaged {
        /// In which segment.
        segment: u64,
        /// Where, bytes from its start.
        offset: u64,
    },
}

impl From<FileError> for LogError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the audit log: ")?;
        match self {
            Self::Missing { path } => write!(f, "its keys, {}, are not there", path.display()),
            Self::Keys { path, error } => write!(f, "{}: {error}", path.display()),
            Self::File(error) => write!(f, "{error}"),
            Self::PublicKey(error) => write!(f, "{error}"),
            Self::Busy => write!(
                f,
                "others have been writing to it for {} seconds",
                PATIENCE.as_secs()
            ),
            Self::Open(error) => write!(f, "{error}"),
            Self::Append(error) => write!(f, "{error}"),
            Self::Read(error) => write!(f, "it cannot be read: {error}"),
            Self::Damaged { segment, offset } => {
                write!(f, "segment {segment} is damaged at byte {offset}")
            }
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Keys { error, .. } => Some(error),
            Self::File(error) => Some(error),
            Self::PublicKey(error) => Some(error),
            Self::Open(error) => Some(error),
            Self::Append(error) => Some(error),
            Self::Read(error) => Some(error),
            Self::Missing { .. } | Self::Busy | Self::Damaged { .. } => None,
        }
    }
}
