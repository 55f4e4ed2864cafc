//! Proofs out of a log's directory, as texts that are checked without it.
//!
//! They are made from tiles and a signed checkpoint, and checked before they are handed out: a log
//! that was changed gives an error, not a proof that will not hold. Works on the log of a running
//! gateway. Nothing is read but what the proof needs.

use std::fmt;
use std::io::{self, BufReader};
use std::path::Path;

use crate::checkpoints::history::{self, CHECKPOINTS, MAX_RECORD, Record, Records};
use crate::checkpoints::store::{CHECKPOINT, Stored};
use crate::files::{self, Directory, Files as _};
use crate::merkle::checkpoint::Checkpoint;
use crate::merkle::hash;
use crate::merkle::note::Note;
use crate::merkle::offline::{Grown, Included};
use crate::merkle::proof::{Consistency, Inclusion, ProveError as PathError};
use crate::merkle::range::{Frontier, Head};
use crate::merkle::tile::{TileNodes, TilesError};
use crate::read;
use crate::storage::regular;

/// Proves that the entry `sequence` is in the log, as of its last checkpoint. Returns the proof with
/// the bytes of the entry, as they stand in its record.
///
/// # Errors
/// [`ProveError`]; there is no proof then.
pub fn included(directory: &Path, sequence: u64) -> Result<(Included, Vec<u8>), ProveError> {
    let files = Directory::new(directory);
    let (head, note) = last(&files)?;
    let mut nodes = TileNodes::new(Stored(&files), head.size);
    let proof = Inclusion::prove(&mut nodes, sequence, head.size).map_err(path_error)?;
    let entry = read::entry_at(directory, sequence).map_err(ProveError::Read)?;
    let entry = entry.ok_or(ProveError::Entry { sequence })?;
    let holds = proof.verify(&hash::leaf(&entry), &head).is_ok();
    holds.then_some(()).ok_or(ProveError::Changed)?;
    Ok((Included::new(proof, note), entry))
}

/// Proves that the log of `to` entries begins with the one of `from`. There must be a checkpoint of
/// size `to`; without a size it is the last.
///
/// # Errors
/// [`ProveError`]; there is no proof then.
pub fn grown(directory: &Path, from: u64, to: Option<u64>) -> Result<Grown, ProveError> {
    let files = Directory::new(directory);
    let (newest, last_note) = last(&files)?;
    let (head, note) = match to {
        None => (newest, last_note),
        Some(size) if size == newest.size => (newest, last_note),
        Some(size) => in_history(directory, &files, size)?,
    };
    grow(&files, newest.size, from, head, note)
}

/// Proves that the log of this checkpoint, the newest one, begins with the one of `from` entries.
///
/// # Errors
/// [`ProveError`]; there is no proof then.
pub fn grown_to(directory: &Path, from: u64, note: &str) -> Result<Grown, ProveError> {
    let files = Directory::new(directory);
    let (head, note) = stated(note.as_bytes()).ok_or(ProveError::Changed)?;
    grow(&files, head.size, from, head, note)
}

/// How large the log of `size` entries was at `at` entries, and with which root.
///
/// # Errors
/// [`ProveError`].
pub fn head_at(directory: &Path, at: u64, size: u64) -> Result<Head, ProveError> {
    let files = Directory::new(directory);
    let mut nodes = TileNodes::new(Stored(&files), size);
    let frontier = Frontier::read(&mut nodes, at).map_err(PathError::Nodes);
    Ok(frontier.map_err(path_error)?.head())
}

fn grow(
    files: &Directory,
    newest: u64,
    from: u64,
    head: Head,
    note: String,
) -> Result<Grown, ProveError> {
    // The newest tiles hold all that older ones held.
    let mut nodes = TileNodes::new(Stored(files), newest);
    let proof = Consistency::prove(&mut nodes, from, head.size).map_err(path_error)?;
    let before = Frontier::read(&mut nodes, from).map_err(PathError::Nodes);
    let before = before.map_err(path_error)?.head();
    let holds = proof.verify(&before, &head).is_ok();
    holds.then_some(()).ok_or(ProveError::Changed)?;
    Ok(Grown::new(from, proof, note))
}

/// The last checkpoint and its note. Whether it is signed is for whoever checks the proof.
fn last(files: &Directory) -> Result<(Head, String), ProveError> {
    let note = files::read(files, CHECKPOINT, MAX_RECORD).map_err(ProveError::Read)?;
    let note = note.ok_or(ProveError::Unsigned)?;
    stated(&note).ok_or(ProveError::Changed)
}

/// The checkpoint of this size in the history.
fn in_history(
    directory: &Path,
    files: &Directory,
    size: u64,
) -> Result<(Head, String), ProveError> {
    let mut below = None;
    let mut days = files
        .list(CHECKPOINTS)
        .map_err(ProveError::Read)?
        .unwrap_or_default();
    days.retain(|day| history::is_day(day));
    days.sort_unstable();
    for day in days {
        let file = regular(&directory.join(CHECKPOINTS).join(day)).map_err(ProveError::Read)?;
        let mut records = Records::new(BufReader::new(file));
        while let Record::Whole(note) = records.next().map_err(ProveError::Read)? {
            let (head, note) = stated(&note).ok_or(ProveError::Changed)?;
            if head.size == size {
                return Ok((head, note));
            }
            if head.size > size {
                let above = Some(head.size);
                return Err(ProveError::NoCheckpoint { size, below, above });
            }
            below = Some(head.size);
        }
    }
    let above = None;
    Err(ProveError::NoCheckpoint { size, below, above })
}

fn stated(note: &[u8]) -> Option<(Head, String)> {
    let parsed = Note::parse(note).ok()?;
    let head = Checkpoint::parse(parsed.text()).ok()?.head();
    Some((head, String::from_utf8(note.to_vec()).ok()?))
}

/// Why there is no proof.
#[derive(Debug)]
pub enum ProveError {
    /// The log is not signed.
    Unsigned,
    /// The tree is smaller than what is to be proved.
    Outside {
        /// The entry, or the size of the smaller tree.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// There is no checkpoint of this size.
    NoCheckpoint {
        /// Which.
        size: u64,
        /// The next smaller one.
        below: Option<u64>,
        /// The next larger one.
        above: Option<u64>,
    },
    /// The entry cannot be read.
    Entry {
        /// Which.
        sequence: u64,
    },
    /// What lies there does not lead to the checkpoint.
    Changed,
    /// What the operating system says.
    Read(io::Error),
}

fn path_error(error: PathError<TilesError<io::Error>>) -> ProveError {
    match error {
        PathError::Outside { index, size } => ProveError::Outside { index, size },
        PathError::Nodes(TilesError::Reader(error)) => ProveError::Read(error),
        PathError::Nodes(
            TilesError::Outside { .. } | TilesError::Missing { .. } | TilesError::Length(_),
        ) => ProveError::Changed,
    }
}

impl ProveError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            ProveError::Unsigned => "only a log with [audit] keys is signed",
            ProveError::Outside { .. } => {
                "entries are counted from 0; what is not signed yet cannot be proved: wait a second, or name less"
            }
            ProveError::NoCheckpoint { .. } => {
                "name the size of a checkpoint, or leave --to out for the last one"
            }
            ProveError::Entry { .. } | ProveError::Changed => "`audit verify` says what is wrong",
            ProveError::Read(_) => "name the log's directory, as a user that may read it",
        }
    }
}

impl fmt::Display for ProveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProveError::Unsigned => f.write_str("the log is not signed"),
            ProveError::Outside { index, size } => {
                write!(f, "{index} is beyond the {size} entries that are signed")
            }
            ProveError::NoCheckpoint { size, below, above } => {
                write!(f, "there is no checkpoint of {size} entries")?;
                if let Some(below) = below {
                    write!(f, "; the one before is of {below}")?;
                }
                if let Some(above) = above {
                    write!(f, "; the next one is of {above}")?;
                }
                Ok(())
            }
            ProveError::Entry { sequence } => write!(f, "entry {sequence} cannot be read"),
            ProveError::Changed => {
                f.write_str("what lies in the log does not lead to its checkpoint")
            }
            ProveError::Read(error) => write!(f, "cannot read the log: {error}"),
        }
    }
}

impl std::error::Error for ProveError {}
