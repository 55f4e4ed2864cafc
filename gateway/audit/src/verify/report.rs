//! What verifying a log came to: findings, notes, and the verdict, whose numbers are the exit codes.

use std::fmt;

use crate::entry::EntryError;
use crate::event::Time;
use crate::frame::Fault;
use crate::read::Position;
use crate::seal::epoch::KeyId;
use crate::seal::sealed::LeafError;

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Segments that were read.
    pub segments: u64,
    /// Batches that were read.
    pub batches: u64,
    /// Entries that were read.
    pub entries: u64,
    /// Time of the first entry.
    pub first: Option<Time>,
    /// Time of the last entry.
    pub last: Option<Time>,
    /// Whether somebody writes to it now.
    pub live: bool,
    /// What is wrong, in the order of the log; the first is the one to look at.
    pub findings: Vec<Finding>,
    /// What a crash or a failed disk left behind, and the log itself accounts for.
    pub notes: Vec<Note>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// What stands there is not what was written.
    Changed {
        /// Where.
        at: Position,
        /// The entry that should begin there.
        sequence: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// An entry is not the canonical form of anything.
    Entry {
        /// Which.
        sequence: u64,
        /// What is wrong with it.
        error: EntryError,
    },
    /// An entry is neither in the clear nor sealed in a form that is known.
    Leaf {
        /// Which.
        sequence: u64,
        /// What is wrong with it.
        error: LeafError,
    },
    /// An entry is sealed under a key that the log does not tell of.
    UnknownKey {
        /// Which.
        sequence: u64,
        /// The key's id.
        key: KeyId,
    },
    /// The record of a key that entries are sealed under is gone or changed: nobody reads them any
    /// more.
    MissingKey {
        /// Its name below `keys/`.
        name: String,
    },
    /// A segment ends before the place where the next one says that it ends.
    EndsEarly {
        /// Where it ends.
        at: Position,
    },
    /// Bytes were added behind the end of a segment.
    Added {
        /// Where.
        at: Position,
    },
    /// A segment is gone.
    MissingSegment {
        /// Its number.
        segment: u64,
    },
    /// What was set aside after a crash is gone or changed.
    MissingQuarantine {
        /// The segment that it was cut from.
        segment: u64,
        /// Where it was cut, bytes.
        offset: u64,
    },
    /// A file that does not belong to the log.
    Stranger {
        /// Its name.
        name: String,
    },
    /// The log ends within a batch. A crash leaves that, and so does a cut.
    Unfinished {
        /// Where.
        at: Position,
    },
    /// There is no log.
    Empty,
    /// The log is gone: what locks it is there, and nothing of what it locked.
    Gone,
    /// Nothing in the log is signed, and a signature was asked for.
    Unsigned,
}

/// Something that is not wrong, but worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A crash tore a batch that was never acknowledged; it is in quarantine.
    Recovered {
        /// The segment.
        segment: u64,
        /// Bytes that were set aside.
        bytes: u64,
    },
    /// The record of a key that nothing was sealed under: a start that ended before it wrote.
    UnusedKey {
        /// Its name below `keys/`.
        name: String,
    },
    /// A segment was given up after a failed write; the remains of that write lie behind its end.
    GivenUp {
        /// The segment.
        segment: u64,
    },
}

/// What the findings come to. The numbers are the exit codes of `audit verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Whole and unchanged, as far as this can tell.
    Good = 0,
    /// Changed.
    Tampered = 1,
    /// Cut off.
    Truncated = 2,
    /// There is nothing to verify.
    CannotVerify = 3,
}

impl Report {
    /// The worst of the findings.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let rank = |verdict: &Verdict| match verdict {
            Verdict::Good => 0,
            Verdict::CannotVerify => 1,
            Verdict::Truncated => 2,
            Verdict::Tampered => 3,
        };
        self.findings
            .iter()
            .map(Finding::verdict)
            .max_by_key(rank)
            .unwrap_or(Verdict::Good)
    }
}

impl Finding {
    fn verdict(&self) -> Verdict {
        match self {
            Finding::Changed { .. }
            | Finding::Entry { .. }
            | Finding::Leaf { .. }
            | Finding::UnknownKey { .. }
            | Finding::MissingKey { .. }
            | Finding::EndsEarly { .. }
            | Finding::Added { .. }
            | Finding::MissingQuarantine { .. }
            | Finding::Stranger { .. } => Verdict::Tampered,
            Finding::MissingSegment { .. } | Finding::Unfinished { .. } | Finding::Gone => {
                Verdict::Truncated
            }
            Finding::Empty | Finding::Unsigned => Verdict::CannotVerify,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Changed {
                at,
                sequence,
                fault,
            } => {
                write!(
                    f,
                    "segment {} at byte {}: entry {sequence} should follow, and what stands there is {fault}",
                    at.segment, at.offset
                )
            }
            Finding::Entry { sequence, error } => write!(f, "entry {sequence}: {error}"),
            Finding::Leaf { sequence, error } => write!(f, "entry {sequence}: {error}"),
            Finding::UnknownKey { sequence, key } => write!(
                f,
                "entry {sequence} is sealed under a key {key} that the log does not tell of"
            ),
            Finding::MissingKey { name } => write!(
                f,
                "the record of a key, keys/{name}, is missing or changed: what is sealed under it cannot be read"
            ),
            Finding::EndsEarly { at } => write!(
                f,
                "segment {} ends at byte {}, before its successor says",
                at.segment, at.offset
            ),
            Finding::Added { at } => write!(
                f,
                "segment {} at byte {}: bytes were added behind its end",
                at.segment, at.offset
            ),
            Finding::MissingSegment { segment } => write!(f, "segment {segment} is missing"),
            Finding::MissingQuarantine { segment, offset } => {
                write!(
                    f,
                    "what a crash tore off segment {segment} at byte {offset} is missing from quarantine, or changed"
                )
            }
            Finding::Stranger { name } => write!(f, "{name:?} does not belong to the log"),
            Finding::Unfinished { at } => write!(
                f,
                "segment {} at byte {}: the last batch is unfinished; a crash leaves that, and the next start of the gateway sets it aside; so does a cut",
                at.segment, at.offset
            ),
            Finding::Empty => f.write_str("there is no log in this directory"),
            Finding::Gone => f.write_str(
                "there was a log in this directory: its lock is there, its segments are not",
            ),
            Finding::Unsigned => {
                f.write_str("nothing in this log is signed, so no key can vouch for it")
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Recovered { segment, bytes } => {
                write!(
                    f,
                    "a crash tore {bytes} bytes off segment {segment} that were never acknowledged; they are in quarantine"
                )
            }
            Note::UnusedKey { name } => {
                write!(f, "nothing is sealed under the key of keys/{name}")
            }
            Note::GivenUp { segment } => write!(
                f,
                "segment {segment} was given up after a failed write; the log goes on in the next"
            ),
        }
    }
}
