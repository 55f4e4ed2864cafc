//! Why a log is not backed up, or not restored: evidence, and the exit code that it comes to.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::frame::Fault;
use crate::merkle::tile::Tile;
use crate::read::Position;
use crate::reading::RecordError;
use crate::verify::Report;

/// Why nothing came of it. What was there before is as it was, but for [`BackupError::Leftover`].
#[derive(Debug)]
pub enum BackupError {
    /// There is no log.
    NoLog {
        /// Where.
        directory: PathBuf,
    },
    /// Nothing in the log is signed.
    Unsigned,
    /// A loss was accepted in the log, and that is not signed yet.
    Unaccepted,
    /// Keys were destroyed, or are about to be, and that is not signed yet.
    Ending {
        /// Whose, `2018-11/standard`.
        epoch: String,
    },
    /// The place is none that can be used.
    Place {
        /// Which.
        path: PathBuf,
        /// Why.
        wrong: Wrong,
    },
    /// Somebody else works on the same.
    Busy {
        /// On what.
        path: PathBuf,
    },
    /// What the place holds is not whole.
    Broken {
        /// Which place.
        path: PathBuf,
        /// What is wrong there.
        error: Box<BackupError>,
    },
    /// The place holds a backup of another log.
    AnotherLog,
    /// The log holds fewer signed entries than its backup.
    RolledBack {
        /// How many the backup holds.
        held: u64,
        /// How many the log does.
        signed: u64,
    },
    /// The log begins with other entries than its backup.
    AnotherHistory {
        /// How many the backup holds.
        size: u64,
    },
    /// A checkpoint of the backup is not in the history of the log.
    AnotherCheckpoint {
        /// In which file.
        file: String,
    },
    /// The log has not got any more what its backup holds.
    Lost {
        /// The first segment that differs.
        segment: u64,
    },
    /// A part of the log that is signed cannot be read.
    Damaged {
        /// Where.
        at: Position,
        /// What is wrong there.
        fault: Fault,
    },
    /// A tile of the log is missing, or is none.
    Tile {
        /// Which.
        tile: Tile,
    },
    /// The last checkpoint is none, or not in the history.
    Checkpoint,
    /// There is not enough space.
    NoSpace {
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// What was copied, or is to be restored, does not verify.
    Verdict(Box<Report>),
    /// A log that somebody writes to is nothing to restore from.
    Served,
    /// There is no reason, or too much of it.
    Reason,
    /// The entry that tells of it could not be added.
    Unrecorded(RecordError),
    /// It is done, and something is left that should be gone.
    Leftover {
        /// What.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// The operating system refused.
    Disk {
        /// What was attempted.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// Why a place cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It has no name of its own.
    NoName,
    /// It is a symbolic link.
    Link,
    /// It is no directory.
    NoDirectory,
    /// It is in the log, or the log is in it.
    Inside,
    /// It holds something that is no backup.
    Foreign,
    /// It holds something.
    NotEmpty,
    /// Others can write to it.
    Exposed,
    /// It belongs to another user.
    NotOurs,
    /// It is a file system of its own, or what lies beside it is.
    Mount,
}

impl BackupError {
    pub(crate) fn disk<'a>(
        doing: &'static str,
        path: &'a Path,
    ) -> impl Fn(io::Error) -> BackupError + use<'a> {
        move |error| BackupError::Disk {
            doing,
            path: path.to_owned(),
            error,
        }
    }

    /// The exit code: those of `audit verify`, and 64 for wrong usage.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            BackupError::Verdict(report) => report.verdict() as u8,
            BackupError::Broken { error, .. } => error.code(),
            BackupError::AnotherLog
            | BackupError::AnotherHistory { .. }
            | BackupError::AnotherCheckpoint { .. }
            | BackupError::Damaged { .. }
            | BackupError::Tile { .. }
            | BackupError::Checkpoint => 1,
            BackupError::RolledBack { .. } | BackupError::Lost { .. } => 2,
            BackupError::NoLog { .. }
            | BackupError::Unsigned
            | BackupError::Unaccepted
            | BackupError::Ending { .. } => 3,
            // A segment without a header, read on the way to another.
            BackupError::Disk { error, .. } if error.kind() == io::ErrorKind::InvalidData => 1,
            BackupError::Place { .. }
            | BackupError::Busy { .. }
            | BackupError::NoSpace { .. }
            | BackupError::Served
            | BackupError::Unrecorded(_)
            | BackupError::Leftover { .. }
            | BackupError::Disk { .. } => 4,
            BackupError::Reason => terminal::USAGE,
        }
    }

    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            BackupError::NoLog { .. } => {
                "name the directory that [audit] directory names in the gateway's configuration, or a backup of it"
            }
            BackupError::Unsigned => {
                "only what is signed is backed up: give the gateway [audit] keys, and wait a second for the first checkpoint"
            }
            BackupError::Unaccepted => {
                "start the gateway: it signs that the loss was accepted; then back it up"
            }
            BackupError::Ending { .. } => {
                "wait until the gateway has signed it, and start it if it is stopped; then back the log up"
            }
            BackupError::Place { wrong, .. } => wrong.hint(),
            BackupError::Busy { .. } => "wait until that has ended",
            BackupError::Broken { .. } => {
                "`audit restore --verify` says what is wrong with the backup; keep it, and make another one in another place"
            }
            BackupError::AnotherLog => "name another place: each log has a backup of its own",
            BackupError::RolledBack { .. }
            | BackupError::AnotherHistory { .. }
            | BackupError::AnotherCheckpoint { .. } => {
                "the log was put back, cut or written anew since: keep it and the backup as evidence, find out by whom, then `audit restore`; a log that was restored on purpose is backed up in another place"
            }
            BackupError::Lost { .. } => {
                "keep this backup, which holds what the log has lost, and back the log up in another place"
            }
            BackupError::Damaged { .. } | BackupError::Tile { .. } | BackupError::Checkpoint => {
                "`audit verify` says what else is wrong with the log; what is left of it is copied with cp -a, as evidence"
            }
            BackupError::NoSpace { .. } => "make space, or name a place that has it",
            BackupError::Verdict(_) => {
                "nothing was put in its place: `audit verify` the log, and `audit restore --verify` the backup, say where it comes from"
            }
            BackupError::Served => "name a backup, not the log of a gateway that runs",
            BackupError::Reason => {
                "say in a sentence why the log is restored: an auditor will read it"
            }
            BackupError::Unrecorded(_) => "do it as the user that the gateway runs as, or as root",
            BackupError::Leftover { .. } => {
                "remove it: it may hold records of keys that were destroyed"
            }
            BackupError::Disk { error, .. } => match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "do it as a user that may read the log and write to the place, such as root"
                }
                io::ErrorKind::NotFound => "name directories that exist",
                _ => "check the disks",
            },
        }
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupError::NoLog { directory } => {
                write!(f, "there is no log in {}", directory.display())
            }
            BackupError::Unsigned => f.write_str("nothing in the log is signed"),
            BackupError::Unaccepted => {
                f.write_str("a loss was accepted in the log, and that is not signed yet")
            }
            BackupError::Ending { epoch } => write!(
                f,
                "the keys of {epoch} were destroyed, or are about to be, and that is not signed yet"
            ),
            BackupError::Place { path, wrong } => write!(f, "{} {wrong}", path.display()),
            BackupError::Busy { path } => {
                write!(f, "somebody else works on {}", path.display())
            }
            BackupError::Broken { path, error } => {
                write!(f, "what {} holds is not whole: {error}", path.display())
            }
            BackupError::AnotherLog => f.write_str("this is the backup of another log"),
            BackupError::RolledBack { held, signed } => write!(
                f,
                "the log was cut or rolled back: its backup holds {held} signed entries, the log {signed}"
            ),
            BackupError::AnotherHistory { size } => write!(
                f,
                "the log was rolled back or written anew: its first {size} entries are not those of its backup"
            ),
            BackupError::AnotherCheckpoint { file } => write!(
                f,
                "the log was rolled back or written anew: {file} does not go on from what its backup holds"
            ),
            BackupError::Lost { segment } => write!(
                f,
                "segment {segment} of the log is not what its backup holds any more"
            ),
            BackupError::Damaged { at, fault } => write!(
                f,
                "segment {} at byte {}, which is signed, is {fault}",
                at.segment, at.offset
            ),
            BackupError::Tile { tile } => {
                write!(f, "{tile} is missing, or is no tile of this log")
            }
            BackupError::Checkpoint => {
                f.write_str("the last checkpoint is none, or is not in the history")
            }
            BackupError::NoSpace { needed, free } => {
                write!(f, "it takes {needed} bytes, and {free} are free")
            }
            BackupError::Verdict(report) => match report.findings.first() {
                Some(first) => write!(f, "it does not verify: {first}"),
                None => f.write_str("it does not verify"),
            },
            BackupError::Served => f.write_str("somebody writes to this log"),
            BackupError::Reason => f.write_str("a reason is needed, of at most 1024 bytes"),
            BackupError::Unrecorded(error) => {
                write!(f, "the entry that tells of it cannot be added: {error}")
            }
            BackupError::Leftover { path, error } => write!(
                f,
                "it is done, but {} cannot be removed: {error}",
                path.display()
            ),
            BackupError::Disk { doing, path, error } => {
                write!(f, "cannot {doing} {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for BackupError {}

impl Wrong {
    fn hint(self) -> &'static str {
        match self {
            Wrong::NoName => "name a directory, by a name of its own",
            Wrong::Link => "name the directory itself, not a link to it",
            Wrong::NoDirectory => "name a directory, or one that does not exist yet",
            Wrong::Inside => "name a place outside of the log, at best on another machine's disk",
            Wrong::Foreign => {
                "name a directory that does not exist yet, an empty one, or a backup of this log"
            }
            Wrong::NotEmpty => "name a directory that does not exist yet, or an empty one",
            Wrong::Exposed => "nobody else may write to it: chmod 700",
            Wrong::NotOurs => "do it as the user that it belongs to",
            Wrong::Mount => {
                "name a directory below it, so that a whole one can be put in its place"
            }
        }
    }
}

/// What follows the name of the place.
impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wrong::NoName => "is no name of a directory",
            Wrong::Link => "is a symbolic link",
            Wrong::NoDirectory => "is no directory",
            Wrong::Inside => "lies in the log, or the log in it",
            Wrong::Foreign => "holds something that is no backup",
            Wrong::NotEmpty => "is not empty",
            Wrong::Exposed => "can be written to by others",
            Wrong::NotOurs => "belongs to another user",
            Wrong::Mount => "is a file system of its own",
        })
    }
}
