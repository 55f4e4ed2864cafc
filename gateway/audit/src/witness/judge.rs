//! What is asked of a witness, judged: a closed refusal, or a checkpoint that may be cosigned (C2SP
//! tlog-witness, "add-checkpoint").
//!
//! Checks stand in the order of the specification. Fail closed: whatever is not proved is refused.

use std::fmt;

use super::logs::Logs;
use crate::merkle::checkpoint::{Checkpoint, TextError};
use crate::merkle::note::{Note, NoteError, VerifyError};
use crate::merkle::offline::{Grown, OfflineError};
use crate::merkle::proof::ProofError;
use crate::merkle::range::Head;

/// No proof has more hashes than this.
pub const MAX_HASHES: usize = 63;

/// A checkpoint of a known log, signed by it, that grew from what is remembered. Only [`judge`] makes
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    checkpoint: Checkpoint,
    note: Note,
}

impl Accepted {
    /// What is to be cosigned.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The same with the signatures of the log's keys, and no others.
    #[must_use]
    pub fn into_note(self) -> Note {
        self.note
    }
}

/// Judges the body of a request. `remembered` says how large the log was, and with which root, when it
/// was cosigned last: the empty tree if it never was.
///
/// # Errors
/// [`Refusal`].
pub fn judge(
    body: &[u8],
    logs: &Logs,
    remembered: impl FnOnce(&str) -> Head,
) -> Result<Accepted, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::Malformed(Malformed::NotText))?;
    let request =
        Grown::parse(text).map_err(|error| Refusal::Malformed(Malformed::Request(error)))?;
    if request.proof().path.len() > MAX_HASHES {
        return Err(Refusal::Malformed(Malformed::TooManyHashes));
    }
    let note = Note::parse(request.checkpoint().as_bytes())
        .map_err(|error| Refusal::Malformed(Malformed::Note(error)))?;
    let checkpoint = match Checkpoint::parse(note.text()) {
        Ok(checkpoint) => Ok(checkpoint),
        // Of a signed checkpoint of a known log that is another refusal, below.
        Err(TextError::EmptyRoot) => Err(Refusal::EmptyRoot),
        Err(error) => return Err(Refusal::Malformed(Malformed::Checkpoint(error))),
    };
    let origin = note.text().lines().next().unwrap_or_default();
    let keys = logs.keys(origin).ok_or(Refusal::UnknownLog)?;
    note.verify(keys).map_err(Refusal::Unsigned)?;
    let checkpoint = checkpoint?;
    let head = checkpoint.head();
    if request.from() > head.size {
        return Err(Refusal::Shrunk {
            old: request.from(),
            size: head.size,
        });
    }
    let known = remembered(origin);
    if request.from() != known.size {
        return Err(Refusal::Conflict { size: known.size });
    }
    let proved = request.proof().verify(&known, &head);
    proved.map_err(|error| Refusal::Unproved {
        known: known.size,
        size: head.size,
        error,
    })?;
    let note = note.only_by(keys);
    // A signature of one of them holds, so there is one.
    let note = note.ok_or(Refusal::Unsigned(VerifyError::Unsigned))?;
    Ok(Accepted { checkpoint, note })
}

/// Why a checkpoint must not be cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The body is not of the form of a request.
    Malformed(Malformed),
    /// The log is not one of those that are cosigned here.
    UnknownLog,
    /// The checkpoint is not signed by a known key of its log.
    Unsigned(VerifyError),
    /// The old size is larger than the checkpoint's.
    Shrunk {
        /// The old size.
        old: u64,
        /// The checkpoint's.
        size: u64,
    },
    /// The old size is not the one that was cosigned last.
    Conflict {
        /// The one that was.
        size: u64,
    },
    /// The root is not that of the empty tree, and the size is 0.
    EmptyRoot,
    /// It is not proved that the log grew from what was cosigned last. The log signed it all the same:
    /// that may be evidence against it.
    Unproved {
        /// The size that was cosigned last.
        known: u64,
        /// The size that was brought.
        size: u64,
        /// Why it is not proved.
        error: ProofError,
    },
}

/// What is wrong with the form of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// Not UTF-8.
    NotText,
    /// Not a size, hashes, and an empty line.
    Request(OfflineError),
    /// More than [`MAX_HASHES`].
    TooManyHashes,
    /// What follows is no signed note.
    Note(NoteError),
    /// The note is no checkpoint.
    Checkpoint(TextError),
}

impl Refusal {
    /// The status of the answer (C2SP tlog-witness, "add-checkpoint").
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_) | Refusal::Shrunk { .. } => 400,
            Refusal::Unsigned(_) => 403,
            Refusal::UnknownLog => 404,
            Refusal::Conflict { .. } => 409,
            Refusal::EmptyRoot | Refusal::Unproved { .. } => 422,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Malformed(malformed) => malformed.fmt(f),
            Refusal::UnknownLog => f.write_str("this log is not cosigned here"),
            Refusal::Unsigned(error) => error.fmt(f),
            Refusal::Shrunk { old, size } => {
                write!(
                    f,
                    "the old size {old} is larger than the checkpoint's, {size}"
                )
            }
            Refusal::Conflict { size } => write!(f, "the size that was cosigned last is {size}"),
            Refusal::EmptyRoot => TextError::EmptyRoot.fmt(f),
            Refusal::Unproved { known, size, error } => write!(
                f,
                "it is not proved that the log grew from {known} entries to {size}: {error}"
            ),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::NotText => f.write_str("the request is not text"),
            Malformed::Request(error) => error.fmt(f),
            Malformed::TooManyHashes => write!(f, "more than {MAX_HASHES} hashes"),
            Malformed::Note(error) => error.fmt(f),
            Malformed::Checkpoint(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}
