//! The signed part of a log as files for any server of files: what tools for C2SP tlog-tiles read.
//!
//! ```text
//! tile/entries/<N>[.p/<W>]  the entries, as they stand in the log: the sealed ones stay sealed
//! tile/<L>/<N>[.p/<W>]      hashes
//! checkpoint                what both lead to, signed
//! aside.new                 what is being written
//! ```
//!
//! The log itself keeps its entries in segments (decision 023); here they are in the bundles that the
//! standard names, for monitors and mirrors that know nothing of phigate. Every hash is made from the
//! entries, and the root must be the one in the log's checkpoint: nothing is copied on trust.
//!
//! **What survives a crash.** Each file is synced before it has its name, and all names before the
//! checkpoint has its own. A mirror that was interrupted is what it was, with some files more that no
//! checkpoint speaks of; done again, they are written again.
//!
//! **What may be fetched meanwhile.** A file that the checkpoint leads to is never changed, and never
//! goes but for a partial one whose full one is there, as the standard allows.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use crate::checkpoints::history::MAX_RECORD;
use crate::checkpoints::store::{ASIDE, CHECKPOINT, Stored, TILE, Writer, partials_of};
use crate::files::{self, Directory, Files};
use crate::merkle::bundle::{self, TooLong};
use crate::merkle::checkpoint::Checkpoint;
use crate::merkle::hash::{self, Hash};
use crate::merkle::note::Note;
use crate::merkle::range::Head;
use crate::merkle::tile::{self, Edge, Kind, Tile, TilesError, WIDTH};
use crate::prove;
use crate::read::{self, Reader, Step};

/// What a mirror holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirrored {
    /// The tree of its checkpoint.
    pub head: Head,
    /// How many entries it held before.
    pub before: u64,
    /// Files that were written.
    pub files: u64,
}

/// Which checkpoint of a log is to be mirrored: its last one.
#[derive(Debug)]
pub struct Source {
    note: Vec<u8>,
    origin: String,
    head: Head,
}

impl Source {
    /// The last checkpoint of a log.
    ///
    /// # Errors
    /// [`MirrorError`] when there is none, or none that can be read.
    pub fn last(log: &Directory) -> Result<Source, MirrorError> {
        let note = files::read(log, CHECKPOINT, MAX_RECORD).map_err(MirrorError::Read)?;
        stated(note.ok_or(MirrorError::Unsigned)?).ok_or(MirrorError::Changed)
    }

    /// The note, whose signatures nobody has looked at yet.
    #[must_use]
    pub fn note(&self) -> &[u8] {
        &self.note
    }

    /// How many entries it is about.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.head.size
    }
}

/// Brings the mirror in `place` up to a checkpoint of the log in `directory`. An empty place, or one that
/// is not there, becomes a mirror.
///
/// # Errors
/// [`MirrorError`]; the mirror is then what it was.
pub fn mirror(directory: &Path, place: &Path, source: &Source) -> Result<Mirrored, MirrorError> {
    let write = MirrorError::Write;
    let target = Directory::new(place);
    target.make_directory("").map_err(write)?;
    let target = target.as_open_as_it_is().map_err(write)?;
    // Closed at the end, and so given back.
    let alone = File::open(place).map_err(write)?;
    alone.try_lock().map_err(|_| MirrorError::Busy)?;

    let edge = begin(directory, &target, source)?;
    let before = edge.head();
    let mut mirror = Mirror {
        files: &target,
        writer: Writer::default(),
        bundle: Vec::new(),
        edge,
        written: 0,
    };
    mirror.take(directory, source)?;
    mirror.finish(before.size, source)?;
    Ok(Mirrored {
        head: source.head,
        before: before.size,
        files: mirror.written,
    })
}

/// The right edge of what the mirror holds, if that is something that the log can go on from.
fn begin(directory: &Path, target: &Directory, source: &Source) -> Result<Edge, MirrorError> {
    let Some(note) = files::read(target, CHECKPOINT, MAX_RECORD).map_err(MirrorError::Write)?
    else {
        let names = target.list("").map_err(MirrorError::Write)?;
        let mut names = names.unwrap_or_default().into_iter();
        // What an interrupted first time leaves behind is ours as well.
        return match names.find(|name| ![ASIDE, TILE].contains(&name.as_str())) {
            None => Ok(Edge::new()),
            Some(name) => Err(MirrorError::Stranger { name }),
        };
    };
    let held = stated(note).ok_or(MirrorError::Damaged)?;
    if held.origin != source.origin {
        return Err(MirrorError::Origin { held: held.origin });
    }
    let (held, log) = (held.head, source.head);
    if held.size > log.size {
        return Err(MirrorError::Shorter { held: held.size });
    }
    let was = prove::head_at(directory, held.size, log.size).map_err(|_| MirrorError::Changed)?;
    if was != held {
        return Err(MirrorError::Fork { held: held.size });
    }
    match Edge::read(Stored(target), held.size) {
        Ok(edge) if edge.head() == held => Ok(edge),
        Err(TilesError::Reader(error)) => Err(MirrorError::Write(error)),
        Ok(_) | Err(_) => Err(MirrorError::Damaged),
    }
}

/// A mirror that grows.
struct Mirror<'a> {
    files: &'a Directory,
    writer: Writer,
    /// The last bundle, as far as it has come.
    bundle: Vec<u8>,
    edge: Edge,
    written: u64,
}

impl Mirror<'_> {
    /// Takes the entries that it does not hold. Memory: a batch and a bundle.
    fn take(&mut self, directory: &Path, source: &Source) -> Result<(), MirrorError> {
        let held = self.edge.size();
        // The bundle that was partial begins anew, with the entries that it had.
        let mut next = held - held % u64::from(WIDTH);
        let known: Vec<Hash> = self
            .edge
            .partial()
            .find(|(tile, _)| tile.kind() == Kind::Hashes { level: 0 })
            .map_or_else(Vec::new, |(_, hashes)| hashes.to_vec());
        let mut known = known.into_iter();
        let mut reader = Reader::near(directory, next).map_err(MirrorError::Read)?;
        while next < source.head.size {
            let (sequence, records) = match reader.step().map_err(MirrorError::Read)? {
                Step::Segment(_) => continue,
                Step::Batch {
                    sequence, records, ..
                } => (sequence, records),
                Step::End | Step::Fault(_) => return Err(MirrorError::Changed),
            };
            for (number, entry) in read::entries(sequence, &records) {
                if number < next || number >= source.head.size {
                    continue;
                }
                if number > next {
                    return Err(MirrorError::Lost { sequence: next });
                }
                let leaf = hash::leaf(entry);
                if known.next().is_some_and(|known| known != leaf) {
                    return Err(MirrorError::Changed);
                }
                self.append(number, entry, leaf)?;
                next += 1;
            }
        }
        if self.edge.head() != source.head {
            return Err(MirrorError::Changed);
        }
        Ok(())
    }

    fn append(&mut self, number: u64, entry: &[u8], leaf: Hash) -> Result<(), MirrorError> {
        let width = u64::from(WIDTH);
        bundle::append(&mut self.bundle, entry)
            .map_err(|error| MirrorError::Entry { number, error })?;
        if (number + 1).is_multiple_of(width) {
            let full = Tile::of(Kind::Entries, number / width, number + 1);
            let bytes = std::mem::take(&mut self.bundle);
            self.put(full, &bytes)?;
        }
        if number < self.edge.size() {
            return Ok(());
        }
        let mut full = Vec::new();
        self.edge
            .append(leaf, |tile, hashes| full.push((tile, tile::encode(hashes))));
        for (tile, bytes) in full {
            self.put(Some(tile), &bytes)?;
        }
        Ok(())
    }

    fn put(&mut self, tile: Option<Tile>, bytes: &[u8]) -> Result<(), MirrorError> {
        if let Some(tile) = tile {
            let path = tile.to_string();
            let put = self.writer.put(self.files, &path, bytes);
            put.map_err(MirrorError::Write)?;
            self.written += 1;
        }
        Ok(())
    }

    /// Writes what is partial, then the checkpoint, and clears away what full files have replaced.
    fn finish(&mut self, before: u64, source: &Source) -> Result<(), MirrorError> {
        let size = source.head.size;
        let last = Tile::of(Kind::Entries, size / u64::from(WIDTH), size);
        let bytes = std::mem::take(&mut self.bundle);
        self.put(last, &bytes)?;
        let partial: Vec<_> = self
            .edge
            .partial()
            .map(|(tile, hashes)| (tile, tile::encode(hashes)))
            .collect();
        for (tile, bytes) in partial {
            self.put(Some(tile), &bytes)?;
        }
        let write = MirrorError::Write;
        self.writer.settle(self.files).map_err(write)?;
        let put = self.writer.put(self.files, CHECKPOINT, &source.note);
        put.map_err(write)?;
        self.writer.settle(self.files).map_err(write)?;
        self.written += 1;
        self.clear(before, size).map_err(write)
    }

    /// Takes partial files away whose full ones are there now.
    fn clear(&mut self, before: u64, size: u64) -> io::Result<()> {
        let full = tile::grown(before, size).filter(Tile::is_full);
        for partials in full.filter_map(|tile| partials_of(&tile)) {
            let Some(names) = self.files.list(&partials)? else {
                continue;
            };
            for name in names {
                self.files.remove(&format!("{partials}/{name}"))?;
            }
            self.files.remove(&partials)?;
        }
        Ok(())
    }
}

fn stated(note: Vec<u8>) -> Option<Source> {
    let parsed = Note::parse(&note).ok()?;
    let checkpoint = Checkpoint::parse(parsed.text()).ok()?;
    let (origin, head) = (checkpoint.origin().to_owned(), checkpoint.head());
    Some(Source { note, origin, head })
}

/// Why a mirror is not brought up to date.
#[derive(Debug)]
pub enum MirrorError {
    /// The log is not signed.
    Unsigned,
    /// What lies in the log does not lead to its checkpoint.
    Changed,
    /// An entry was lost, and the loss accepted, before it was mirrored.
    Lost {
        /// The first that is missing.
        sequence: u64,
    },
    /// An entry does not fit a bundle.
    Entry {
        /// Which.
        number: u64,
        /// Why.
        error: TooLong,
    },
    /// The place holds something that is no mirror.
    Stranger {
        /// What.
        name: String,
    },
    /// The place holds a mirror of another log.
    Origin {
        /// Which.
        held: String,
    },
    /// The mirror has more entries than the log.
    Shorter {
        /// How many.
        held: u64,
    },
    /// The log is not the one that was mirrored.
    Fork {
        /// How many entries the mirror has.
        held: u64,
    },
    /// The mirror does not hold what its checkpoint says.
    Damaged,
    /// Somebody else writes the mirror.
    Busy,
    /// The log cannot be read.
    Read(io::Error),
    /// The place cannot be used.
    Write(io::Error),
}

impl MirrorError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            MirrorError::Unsigned => "only a log with [audit] keys is signed",
            MirrorError::Changed => "`audit verify` says what is wrong",
            MirrorError::Lost { .. } | MirrorError::Entry { .. } => {
                "a mirror is whole or it is none; `audit backup` keeps what is left of the log"
            }
            MirrorError::Stranger { .. } | MirrorError::Origin { .. } => {
                "name an empty directory, one that is not there, or the mirror of this log"
            }
            MirrorError::Shorter { .. } | MirrorError::Fork { .. } => {
                "a log only grows: this one was put back or written anew; keep the mirror, it is evidence"
            }
            MirrorError::Damaged => "somebody changed the mirror: begin another one",
            MirrorError::Busy => "wait for the other `audit mirror` to end",
            MirrorError::Read(_) => "name the log's directory, as a user that may read it",
            MirrorError::Write(_) => {
                "name a directory on a disk with room, as a user that may write to it"
            }
        }
    }
}

impl fmt::Display for MirrorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MirrorError::Unsigned => f.write_str("the log is not signed"),
            MirrorError::Changed => {
                f.write_str("what lies in the log does not lead to its checkpoint")
            }
            MirrorError::Lost { sequence } => {
                write!(f, "entry {sequence} was lost before it was mirrored")
            }
            MirrorError::Entry { number, error } => write!(f, "entry {number}: {error}"),
            MirrorError::Stranger { name } => {
                write!(f, "the place holds {name}, and so is no mirror")
            }
            MirrorError::Origin { held } => write!(f, "the place holds a mirror of {held}"),
            MirrorError::Shorter { held } => {
                write!(f, "the mirror has {held} entries, more than the log")
            }
            MirrorError::Fork { held } => write!(
                f,
                "the first {held} entries of the log are not those of the mirror"
            ),
            MirrorError::Damaged => {
                f.write_str("the mirror does not hold what its checkpoint says")
            }
            MirrorError::Busy => f.write_str("somebody else writes the mirror"),
            MirrorError::Read(error) => write!(f, "cannot read the log: {error}"),
            MirrorError::Write(error) => write!(f, "cannot use the place: {error}"),
        }
    }
}

impl std::error::Error for MirrorError {}
