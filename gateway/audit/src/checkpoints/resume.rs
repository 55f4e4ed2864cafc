//! Taking up a signed tree: where it ends, and whether what lies there is what was signed.
//!
//! Checked with the log's own key: the last checkpoint of the history, and that `checkpoint` is it, or
//! the one before when a crash came in between; that the log holds as many entries; that the tiles
//! at the right edge give the signed root; that the entries of the last segment before that place
//! do. The rest of the tree is `verify`'s work: a start takes no longer because a log is old.
//!
//! Nothing is changed before all of that holds. Then what a crash left behind is taken away.

use std::io;
use std::path::Path;

use super::handover::{self, Handover, unreadable};
use super::history::{self, CHECKPOINTS, MAX_RECORD, Record, Records};
use super::store::{ASIDE, CHECKPOINT, Means, Stored};
use crate::entry;
use crate::error::OpenError;
use crate::event::Event;
use crate::files::{self, Files};
use crate::merkle::checkpoint::{Checkpoint, CheckpointError};
use crate::merkle::hash::{self, Hash};
use crate::merkle::key::Verifier;
use crate::merkle::note::{Note, VerifyError};
use crate::merkle::range::{Frontier, Head};
use crate::merkle::tile::{Edge, TileNodes};
use crate::read::{self, Reader, Step};

/// A tree that was taken up.
pub(super) struct Resumed {
    /// Stands where the tree ends.
    pub(super) reader: Reader,
    pub(super) edge: Edge,
    pub(super) end: End,
    pub(super) handover: Handover,
    /// The note that `checkpoint` should hold and does not.
    pub(super) owed: Option<String>,
}

/// Where the history ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct End {
    /// The last checkpoint's size; nothing when there is none.
    pub(super) size: Option<u64>,
    /// What the next checkpoint names as the one before.
    pub(super) link: Option<Hash>,
    /// The file that it stands in; empty when there is none.
    pub(super) day: String,
    /// Where it ends there, bytes.
    pub(super) bytes: u64,
    /// Whether it is the first checkpoint of all.
    pub(super) is_first: bool,
}

/// Whether a log was ever signed, as far as its directory tells.
///
/// # Errors
/// What the operating system says.
pub(crate) fn is_signed(files: &dyn Files) -> io::Result<bool> {
    let has_history = files
        .list(CHECKPOINTS)?
        .is_some_and(|days| !days.is_empty());
    Ok(has_history || files::read(files, CHECKPOINT, 0)?.is_some())
}

/// How many entries the last checkpoint says that there are, without asking who signed it, wherever it
/// says more: in its file or in the history. 0 when there is none, or none that can be read.
///
/// # Errors
/// What the operating system says.
pub(crate) fn claimed(files: &dyn Files) -> io::Result<u64> {
    let size = |note: &[u8]| {
        let text = String::from_utf8_lossy(note);
        text.lines().nth(1).and_then(|size| size.parse().ok())
    };
    let pointed = files::read(files, CHECKPOINT, MAX_RECORD)?.unwrap_or_default();
    let last = match Last::find(files) {
        Ok(last) => last.map_or(Vec::new(), |last| last.note),
        Err(OpenError::Disk { error, .. }) => return Err(error),
        // What is wrong with the history is for `verify` to say.
        Err(_) => Vec::new(),
    };
    Ok(size(&pointed).max(size(&last)).unwrap_or(0))
}

/// The note of the last checkpoint of a log, before anybody opens it; nothing when it was never signed.
/// It is made durable first.
///
/// # Errors
/// [`OpenError`] when the history is not as it was left, or the disk refuses.
pub fn last_note(files: &dyn Files) -> Result<Option<String>, OpenError> {
    let Some(last) = Last::find(files)? else {
        return Ok(None);
    };
    last.sync(files)
        .map_err(OpenError::disk("sync the history"))?;
    Ok(Some(String::from_utf8_lossy(&last.note).into_owned()))
}

/// Takes up the tree of a log that is durable up to `durable`; nothing when it was never signed.
pub(super) fn resume(means: &Means, durable: u64) -> Result<Option<Resumed>, OpenError> {
    let files = &*means.files;
    let Some(tree) = signed_tree(files, &means.known_keys())? else {
        return Ok(None);
    };
    let head = tree.checkpoint.head();
    if head.size > durable {
        return Err(OpenError::Shorter {
            signed: head.size,
            entries: durable,
        });
    }
    let reader = entries_of(means, head)?;
    let ahead = reader.try_clone().map_err(OpenError::disk("read"))?;
    let handover = handover::judge(means, &tree.key, head, ahead, durable)?;
    let last = tree.last;
    last.clean(files)
        .map_err(OpenError::disk("clean the history"))?;
    let end = End {
        size: Some(head.size),
        link: Some(history::link(&tree.text)),
        is_first: history::follows(&tree.checkpoint, None),
        day: last.day,
        bytes: last.end,
    };
    Ok(Some(Resumed {
        reader,
        edge: tree.edge,
        end,
        handover,
        owed: tree.owed,
    }))
}

/// A tree as its last checkpoint and its tiles have it.
struct SignedTree {
    last: Last,
    checkpoint: Checkpoint,
    text: String,
    edge: Edge,
    /// The key that signed the checkpoint.
    key: Verifier,
    /// The note that `checkpoint` should hold and does not.
    owed: Option<String>,
}

/// How many entries are signed with one of these keys, as far as the last checkpoint and the right edge
/// of the tiles bear each other out; nothing when nothing was ever signed.
///
/// # Errors
/// [`OpenError`] when they do not.
pub(crate) fn signed_size(files: &dyn Files, keys: &[Verifier]) -> Result<Option<u64>, OpenError> {
    let tree = signed_tree(files, keys)?;
    Ok(tree.map(|tree| tree.edge.size()))
}

/// The tree that one of the `known` keys signed last; the first of them is ours.
fn signed_tree(files: &dyn Files, known: &[Verifier]) -> Result<Option<SignedTree>, OpenError> {
    let pointed = files::read(files, CHECKPOINT, MAX_RECORD);
    let pointed = pointed.map_err(OpenError::disk("read the checkpoint"))?;
    let Some(last) = Last::find(files)? else {
        return match pointed {
            Some(_) => Err(OpenError::History {
                place: CHECKPOINTS.to_owned(),
            }),
            None => Ok(None),
        };
    };
    let (checkpoint, text, key) = last.open(known)?;
    let owed = match pointed {
        Some(pointed) if pointed == last.note => None,
        Some(pointed) if !is_before(&pointed, &checkpoint) => {
            return Err(OpenError::History {
                place: CHECKPOINT.to_owned(),
            });
        }
        // A crash leaves no last checkpoint only before there was one.
        None if !history::follows(&checkpoint, None) => {
            return Err(OpenError::History {
                place: CHECKPOINT.to_owned(),
            });
        }
        Some(_) | None => Some(String::from_utf8_lossy(&last.note).into_owned()),
    };
    let edge = Edge::read(Stored(files), checkpoint.head().size).map_err(unreadable)?;
    if edge.head() != checkpoint.head() {
        return Err(OpenError::Root {
            size: checkpoint.head().size,
        });
    }
    Ok(Some(SignedTree {
        last,
        checkpoint,
        text,
        edge,
        key,
        owed,
    }))
}

/// Takes away what a crash within the first checkpoint left behind: one that nobody has seen, in files
/// that hold no whole one.
pub(super) fn clear(files: &dyn Files) -> io::Result<()> {
    // A crash between two names of one file must not write through the old one.
    files.remove(ASIDE)?;
    for day in files.list(CHECKPOINTS)?.unwrap_or_default() {
        files.remove(&format!("{CHECKPOINTS}/{day}"))?;
        files.sync(CHECKPOINTS)?;
    }
    Ok(())
}

/// Whether an entry among the first `durable` says that the log is signed.
pub(crate) fn says_signed(directory: &Path, durable: u64) -> io::Result<bool> {
    let mut reader = Reader::new(directory);
    while reader.sequence() < durable {
        match reader.step()? {
            Step::Segment(_) => {}
            Step::Batch {
                sequence, records, ..
            } => {
                let mut entries = read::entries(sequence, &records);
                if entries.any(|(_, bytes)| names_key(bytes)) {
                    return Ok(true);
                }
            }
            // Whoever reads it for the tree comes to the same place, and says so.
            Step::End | Step::Fault(_) => return Ok(false),
        }
    }
    Ok(false)
}

fn names_key(bytes: &[u8]) -> bool {
    entry::decode(bytes).is_ok_and(|entry| matches!(entry.event, Event::SigningKey(_)))
}

/// The last checkpoint of the history.
struct Last {
    note: Vec<u8>,
    day: String,
    /// Where it ends, bytes.
    end: u64,
    /// The file that ends with something torn, and where that begins.
    torn: Option<(String, u64)>,
}

impl Last {
    /// Looks for the last whole record. Only behind it, and in the last file, may something be torn.
    fn find(files: &dyn Files) -> Result<Option<Last>, OpenError> {
        let days = files.list(CHECKPOINTS).map_err(OpenError::disk("list"))?;
        let mut days = days.unwrap_or_default();
        if let Some(name) = days.iter().find(|name| !history::is_day(name)) {
            let name = format!("{CHECKPOINTS}/{name}");
            return Err(OpenError::Stranger { name });
        }
        days.sort_unstable();
        let mut torn = None;
        for (from_last, day) in days.into_iter().rev().enumerate() {
            let path = format!("{CHECKPOINTS}/{day}");
            let tail = Tail::read(files, &path).map_err(OpenError::disk("read the history"))?;
            let tail = match tail {
                Ok(tail) if from_last == 0 || !tail.is_torn => tail,
                Ok(_) | Err(NoTail) => return Err(OpenError::History { place: path }),
            };
            if tail.is_torn {
                torn = Some((path, tail.end));
            }
            if let Some(note) = tail.last {
                return Ok(Some(Last {
                    note,
                    day,
                    end: tail.end,
                    torn,
                }));
            }
        }
        Ok(None)
    }

    /// The checkpoint, its text, and which of the known keys signed it. The first of them is ours.
    fn open(&self, known: &[Verifier]) -> Result<(Checkpoint, String, Verifier), OpenError> {
        let place = format!("{CHECKPOINTS}/{}", self.day);
        let own = &known[0];
        match Checkpoint::open(&self.note, own.name().as_str(), known, &[]) {
            Ok(opened) => {
                let text = opened.checkpoint().to_string();
                let key = opened.signed()[0].key().clone();
                Ok((opened.checkpoint().clone(), text, key))
            }
            Err(CheckpointError::Signature(VerifyError::Unsigned)) => Err(OpenError::OtherKey {
                signed: Note::parse(&self.note)
                    .map_or_else(|_| String::new(), |note| history::signers(&note)),
                key: own.to_string(),
            }),
            Err(error) => Err(OpenError::Checkpoint { place, error }),
        }
    }

    /// Takes away what a crash left behind, and makes the rest durable.
    fn clean(&self, files: &dyn Files) -> io::Result<()> {
        if let Some((path, end)) = &self.torn {
            files.cut(path, *end)?;
            files.sync(path)?;
        }
        files.remove(ASIDE)?;
        self.sync(files)
    }

    /// Makes the history durable: a process that was killed may have left its last record in the
    /// system's cache alone, where a loss of power takes it, and `checkpoint` or a witness would then
    /// know of one that is gone.
    fn sync(&self, files: &dyn Files) -> io::Result<()> {
        let day = format!("{CHECKPOINTS}/{}", self.day);
        [&day, CHECKPOINTS, ""]
            .into_iter()
            .try_for_each(|path| files.sync(path))
    }
}

/// The last note of a file, and what stands behind it.
pub(super) struct Tail {
    pub(super) last: Option<Vec<u8>>,
    /// Where it ends, bytes.
    pub(super) end: u64,
    /// Whether bytes stand behind it that one append can have left.
    pub(super) is_torn: bool,
}

/// A file of the history ends with what no append leaves.
pub(super) struct NoTail;

impl Tail {
    /// So much of the end of a file is read, bytes. Some records at least stand there.
    const WINDOW: usize = 4 * MAX_RECORD;

    /// Reads the end of a file, however long the file is. What stands before is `verify`'s work.
    pub(super) fn read(files: &dyn Files, path: &str) -> io::Result<Result<Tail, NoTail>> {
        let from = files.length(path)?.saturating_sub(Self::WINDOW as u64);
        let mut window = vec![0; Self::WINDOW];
        let filled = files.read_at(path, from, &mut window)?;
        window.truncate(filled);
        let mut at = match starts(&window).next() {
            _ if from == 0 => 0,
            Some(first) => first,
            None => return Ok(Err(NoTail)),
        };
        let mut last = None;
        while let Some((note, bytes)) = note_at(&window[at..]) {
            last = Some(note);
            at += bytes;
        }
        // Blocks of a file reach the disk in any order: a note with holes is torn too. But one append
        // leaves the remains of one note, and nothing that is whole.
        let rest = &window[at..];
        let is_damage = rest.len() > MAX_RECORD || starts(rest).next().is_some();
        Ok(if is_damage {
            Err(NoTail)
        } else {
            Ok(Tail {
                last,
                end: from + at as u64,
                is_torn: !rest.is_empty(),
            })
        })
    }
}

/// The note that these bytes begin with, and how long its record is.
fn note_at(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut records = Records::new(bytes);
    match records.next() {
        Ok(Record::Whole(note)) if Note::parse(&note).is_ok() => {
            Some((note, usize::try_from(records.position()).ok()?))
        }
        Ok(_) | Err(_) => None,
    }
}

/// Where in these bytes, behind an empty line, whole notes begin.
fn starts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let behind = |(at, pair): (usize, &[u8])| (pair == b"\n\n").then_some(at + 2);
    let is_note = |at: &usize| note_at(&bytes[*at..]).is_some();
    bytes
        .windows(2)
        .enumerate()
        .filter_map(behind)
        .filter(is_note)
}

/// Whether these are the bytes of the checkpoint that `last` names as the one before.
fn is_before(note: &[u8], last: &Checkpoint) -> bool {
    Note::parse(note).is_ok_and(|note| history::follows(last, Some(&history::link(note.text()))))
}

/// Reads the entries from the last segment before the end of the tree up to there, and sees that
/// they lead to its root. The reader then stands there.
fn entries_of(means: &Means, head: Head) -> Result<Reader, OpenError> {
    let read = OpenError::disk("read a segment");
    let mut reader = Reader::near(&means.directory, head.size).map_err(&read)?;
    let mut nodes = TileNodes::new(Stored(&*means.files), head.size);
    let mut tree = Frontier::read(&mut nodes, reader.sequence()).map_err(unreadable)?;
    while tree.size() < head.size {
        let at = reader.position();
        match reader.step().map_err(&read)? {
            Step::Segment(header) if header.first_sequence > tree.size() => {
                // Their loss was accepted: what is left of them are their hashes.
                let size = header.first_sequence.min(head.size);
                tree = Frontier::read(&mut nodes, size).map_err(unreadable)?;
            }
            Step::Segment(_) => {}
            Step::Batch {
                sequence,
                records,
                count,
            } => {
                for (sequence, entry) in read::entries(sequence, &records) {
                    if sequence == tree.size() && sequence < head.size {
                        tree.append(hash::leaf(entry));
                    }
                }
                if sequence + u64::from(count) > head.size {
                    // The next step is to find this batch again: not all of it was signed.
                    let stand = reader.last_batch();
                    let again = stand.map(|stand| Reader::at(&means.directory, &stand));
                    let again = again.transpose().map_err(&read)?.flatten();
                    reader = again.ok_or_else(|| damaged(at, crate::frame::Fault::Blank))?;
                }
            }
            Step::End => return Err(damaged(at, crate::frame::Fault::Blank)),
            Step::Fault(fault) => return Err(damaged(at, fault)),
        }
    }
    if tree.head() != head {
        return Err(OpenError::Root { size: head.size });
    }
    Ok(reader)
}

fn damaged(at: read::Position, fault: crate::frame::Fault) -> OpenError {
    OpenError::Damaged {
        segment: at.segment,
        offset: at.offset,
        fault,
    }
}
