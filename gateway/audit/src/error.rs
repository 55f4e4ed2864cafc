//! Why the log does not open, take an entry or close. The evidence stays here; what an HTTP client
//! sees of any of these is the constant 503.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::frame::Fault;
use crate::merkle::checkpoint::CheckpointError;
use crate::merkle::tile::Tile;
use crate::seal::epoch::EpochError;

/// Why the log does not open. Nothing was changed that matters; the same attempt can be made again.
#[derive(Debug)]
pub enum OpenError {
    /// Another process writes to it.
    Locked,
    /// It is a backup.
    Backup,
    /// The disk refused.
    Disk {
        /// What was attempted, one word.
        doing: &'static str,
        /// What the operating system said.
        error: io::Error,
    },
    /// A segment between others, or before them, is gone.
    Missing {
        /// Its number.
        segment: u64,
    },
    /// A segment is damaged in a way that no crash explains.
    Damaged {
        /// Its number.
        segment: u64,
        /// Where, bytes from its start.
        offset: u64,
        /// How.
        fault: Fault,
    },
    /// Others can write to the directory.
    Exposed {
        /// Which directory.
        directory: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is a file that does not belong to a log.
    Stranger {
        /// Its name.
        name: String,
    },
    /// The system has no randomness to name a new log by.
    NoRandomness,
    /// There is no key that entries could be encrypted under.
    Key {
        /// Why.
        error: EpochError,
    },
    /// The record of a key could not be written.
    Record {
        /// The folder of the records.
        directory: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// The log holds fewer entries than its last checkpoint is about.
    Shorter {
        /// How many are signed.
        signed: u64,
        /// How many are there.
        entries: u64,
    },
    /// The entries or tiles do not lead to the root that was signed.
    Root {
        /// The size of the tree.
        size: u64,
    },
    /// A tile is missing, or is not the tile of this log.
    Tile {
        /// Which.
        tile: Tile,
    },
    /// The last checkpoint is none.
    Checkpoint {
        /// Where it stands.
        place: String,
        /// What is wrong with it.
        error: CheckpointError,
    },
    /// History and last checkpoint do not fit together.
    History {
        /// Which of them is not as it was left.
        place: String,
    },
    /// An entry, or a rotation of the key, says that the log is signed, and there is no checkpoint.
    NoCheckpoint,
    /// The key has signed a log here, and there is none.
    Forgotten,
    /// The log is signed, and there is no key to go on with.
    NoKey,
    /// The log is signed with another key.
    OtherKey {
        /// Names and ids of the keys that the last checkpoint claims.
        signed: String,
        /// Our public key.
        key: String,
    },
}

impl OpenError {
    pub(crate) fn disk(doing: &'static str) -> impl Fn(io::Error) -> OpenError {
        move |error| OpenError::Disk { doing, error }
    }

    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            OpenError::Locked => {
                "each gateway needs an audit directory of its own; stop the other one, or name another directory"
            }
            OpenError::Backup => {
                "`audit restore BACKUP --to DIR --reason TEXT` makes a log of it that goes on"
            }
            OpenError::Disk { .. } => {
                "check that the directory exists, belongs to this user and has space"
            }
            OpenError::Missing { .. }
            | OpenError::Damaged { .. }
            | OpenError::Shorter { .. }
            | OpenError::Root { .. } => {
                "`audit verify` says more; look for what is missing in a copy; `audit recover` says what is lost, and lets the log go on without it for a reason"
            }
            OpenError::Tile { .. }
            | OpenError::Checkpoint { .. }
            | OpenError::History { .. }
            | OpenError::NoCheckpoint => {
                "keep the directory as evidence, and begin another log in another place, with keys of its own; `audit verify` says more"
            }
            OpenError::Forgotten => {
                "put the log back; if it is lost, begin another one in another place with keys of its own (`audit keygen`): a key signs one log"
            }
            OpenError::Exposed { .. } => {
                "it must belong to the gateway's user, or to root, and nobody else may write to it: chmod 700"
            }
            OpenError::Stranger { .. } => "move it out of the audit directory",
            OpenError::NoRandomness => "check the system's random number generator",
            OpenError::Key { .. } => "name one reader or more, each once",
            OpenError::Record { .. } => {
                "check that the folder belongs to this user and that the disk has space"
            }
            OpenError::NoKey => {
                "give the gateway the key that the log was signed with, or name another directory"
            }
            OpenError::OtherKey { .. } => {
                "give the gateway the keys that belong to the log; new ones, made by `audit rotate` from those, it goes on with; with any others, begin a new log in another directory and keep this one"
            }
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked => f.write_str("another process writes to this log"),
            OpenError::Backup => {
                f.write_str("this is a backup of a log, to which nothing is added")
            }
            OpenError::Disk { doing, error } => write!(f, "cannot {doing}: {error}"),
            OpenError::Missing { segment } => write!(f, "segment {segment} is missing"),
            OpenError::Damaged {
                segment,
                offset,
                fault,
            } => {
                write!(
                    f,
                    "segment {segment} at byte {offset} is {fault}, which no crash explains"
                )
            }
            OpenError::Exposed { directory, mode } => write!(
                f,
                "{} (mode {mode:04o}) can be written to by others",
                directory.display()
            ),
            OpenError::Stranger { name } => write!(f, "{name:?} does not belong to an audit log"),
            OpenError::NoRandomness => f.write_str("no randomness"),
            OpenError::Key { error } => write!(f, "entries cannot be encrypted: {error}"),
            OpenError::Record { directory, error } => write!(
                f,
                "the record of a key cannot be written below {}: {error}",
                directory.display()
            ),
            OpenError::Shorter { signed, entries } => write!(
                f,
                "the log was cut or rolled back: {signed} entries are signed, {entries} are there"
            ),
            OpenError::Root { size } => {
                write!(f, "the first {size} entries are not those that were signed")
            }
            OpenError::Tile { tile } => {
                write!(f, "{tile} is missing, or is no tile of this log")
            }
            OpenError::Checkpoint { place, error } => {
                write!(
                    f,
                    "the last checkpoint in {place} is not to be believed: {error}"
                )
            }
            OpenError::History { place } => write!(
                f,
                "{place} is not as it was left: `checkpoint` is the last one in `checkpoints`"
            ),
            OpenError::NoCheckpoint => {
                f.write_str("the log was signed, and its checkpoints are gone")
            }
            OpenError::Forgotten => f.write_str(
                "the public key beside the log's directory says that a log was signed here, and there is none",
            ),
            OpenError::NoKey => f.write_str("the log is signed, and there is no key to go on with"),
            OpenError::OtherKey { signed, key } => {
                write!(
                    f,
                    "the log is signed with the key {signed}, and not with {key}"
                )
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// Why an entry was not recorded. Whoever asked must not go on as if it were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendError {
    /// The queue holds as many entries, or bytes, as it may.
    Full,
    /// The disk does not take entries at the moment. What was queued may or may not be recorded.
    Unavailable,
    /// The disk did not answer in time. The entry may or may not be recorded.
    Stalled,
    /// The log is closed.
    Closed,
    /// The entry is longer than the format allows.
    TooLong,
    /// The entry could not be encrypted to its readers.
    Unsealed,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AppendError::Full => "the audit queue is full",
            AppendError::Unavailable => "the audit log cannot be written",
            AppendError::Stalled => "the audit log did not answer in time",
            AppendError::Closed => "the audit log is closed",
            AppendError::TooLong => "the audit entry is too long",
            AppendError::Unsealed => "the audit entry could not be encrypted",
        })
    }
}

impl std::error::Error for AppendError {}
