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
//! checkpoint speaks of; done again, they are written again. A partial file whose full one came may stay.
//!
//! **What may be fetched meanwhile.** A file that the checkpoint leads to is never changed, and never
//! goes but for a partial one whose full one is there, as the standard allows.
//!
//! **Whose it is.** The place belongs to whoever writes the mirror, and nobody else may write to it: what lies
//! there is believed to be where the last time ended.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::backup::{BackupError, place};
use crate::checkpoints::history::MAX_RECORD;
use crate::checkpoints::store::{ASIDE, CHECKPOINT, Stored, TILE, Writer, partials_of};
use crate::files::{self, Directory, Files};
use crate::merkle::bundle::{self, TooLong};
use crate::merkle::checkpoint::Checkpoint;
use crate::merkle::hash::{self, Hash};
use crate::merkle::note::Note;
use crate::merkle::range::Head;
use crate::merkle::tile::{self, Edge, Kind, Tile, TilesError, WIDTH};
use crate::prove::{self, ProveError};
use crate::read::{self, Reader, Step};
use crate::storage;
use crate::verify::{Asked, Report, Verdict, verify_watched};

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

/// A mirror that nobody else writes until this is dropped, and the checkpoint that it is to have.
#[derive(Debug)]
pub struct Begun {
    log: PathBuf,
    target: Directory,
    source: Source,
    /// Held as long as this lives.
    _alone: File,
}

/// A checkpoint of a log.
#[derive(Debug)]
struct Source {
    note: Vec<u8>,
    origin: String,
    head: Head,
}

/// Looks at a place, and at the last checkpoint of the log in `directory`. A place that is not there is made.
/// Nothing is written yet.
///
/// # Errors
/// [`MirrorError`].
pub fn begin(directory: &Path, place: &Path) -> Result<Begun, MirrorError> {
    let write = MirrorError::Write;
    place::apart(directory, place).map_err(|error| MirrorError::Place(Box::new(error)))?;
    let target = Directory::new(place);
    target.make_directory("").map_err(write)?;
    let found = std::fs::symlink_metadata(place).map_err(write)?;
    let is_ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if !is_ours || found.mode() & 0o022 != 0 {
        return Err(MirrorError::Exposed);
    }
    storage::settle(place).map_err(write)?;
    let alone = storage::folder(place).map_err(write)?;
    alone.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => MirrorError::Busy,
        TryLockError::Error(error) => MirrorError::Write(error),
    })?;
    let names = target.list("").map_err(write)?.unwrap_or_default();
    let mut names = names.into_iter();
    if let Some(name) = names.find(|name| ![ASIDE, TILE, CHECKPOINT].contains(&name.as_str())) {
        return Err(MirrorError::Stranger { name });
    }
    let note = files::read(&Directory::new(directory), CHECKPOINT, MAX_RECORD);
    let note = note.map_err(MirrorError::Read)?;
    Ok(Begun {
        log: directory.to_owned(),
        target: target.as_open_as_it_is().map_err(write)?,
        source: stated(note.ok_or(MirrorError::Unsigned)?).ok_or(MirrorError::Changed)?,
        _alone: alone,
    })
}

impl Begun {
    /// How many entries the mirror is to have.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.source.head.size
    }

    /// Verifies the log as asked, and brings the mirror up to its checkpoint. `watch` is told how far the
    /// log is verified.
    ///
    /// # Errors
    /// [`MirrorError`]; the mirror is then what it was, or, when a disk fails at the very end, what it
    /// was to be.
    pub fn make(
        &self,
        asked: &Asked<'_>,
        watch: &mut dyn FnMut(u64, u64),
    ) -> Result<Mirrored, MirrorError> {
        let report = verify_watched(&self.log, asked, watch).map_err(MirrorError::Read)?;
        if report.verdict() != Verdict::Good {
            return Err(MirrorError::Unsound(Box::new(report)));
        }
        let edge = self.edge()?;
        let before = edge.head();
        let mut mirror = Mirror {
            files: &self.target,
            writer: Writer::default(),
            bundle: Vec::new(),
            edge,
            written: 0,
        };
        // What an interrupted one left may be anything.
        self.target.remove(ASIDE).map_err(MirrorError::Write)?;
        mirror.resume()?;
        mirror.take(&self.log, &self.source)?;
        mirror.finish(before.size, &self.source)?;
        Ok(Mirrored {
            head: self.source.head,
            before: before.size,
            files: mirror.written,
        })
    }

    /// The right edge of what the mirror holds, if that is something that the log goes on from.
    fn edge(&self) -> Result<Edge, MirrorError> {
        let note = files::read(&self.target, CHECKPOINT, MAX_RECORD);
        let Some(note) = note.map_err(MirrorError::Write)? else {
            return Ok(Edge::new());
        };
        let held = stated(note).ok_or(MirrorError::Damaged)?;
        if held.origin != self.source.origin {
            return Err(MirrorError::Origin { held: held.origin });
        }
        let (held, log) = (held.head, self.source.head);
        if held.size > log.size {
            return Err(MirrorError::Shorter { held: held.size });
        }
        let was = prove::head_at(&self.log, held.size, log.size).map_err(|error| match error {
            ProveError::Read(error) => MirrorError::Read(error),
            _ => MirrorError::Changed,
        })?;
        if was != held {
            return Err(MirrorError::Fork { held: held.size });
        }
        match Edge::read(Stored(&self.target), held.size) {
            Ok(edge) if edge.head() == held => Ok(edge),
            Err(TilesError::Reader(error)) => Err(MirrorError::Write(error)),
            Ok(_) | Err(_) => Err(MirrorError::Damaged),
        }
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
    /// Takes up the bundle that was partial, from the mirror itself: the log may have lost what is in it since.
    fn resume(&mut self) -> Result<(), MirrorError> {
        let held = self.edge.size();
        let Some(name) = Tile::of(Kind::Entries, held / u64::from(WIDTH), held) else {
            return Ok(());
        };
        let bytes = files::read(self.files, &name.to_string(), bundle::MAX_BYTES);
        let bytes = bytes.map_err(MirrorError::Write)?;
        let bytes = bytes.ok_or(MirrorError::Damaged)?;
        let entries = bundle::entries(&name, &bytes).map_err(|_| MirrorError::Damaged)?;
        let leaves: Vec<Hash> = entries.into_iter().map(hash::leaf).collect();
        let mut partial = self.edge.partial();
        let known = partial.find(|(tile, _)| tile.kind() == Kind::Hashes { level: 0 });
        if known.is_none_or(|(_, known)| known != leaves) {
            return Err(MirrorError::Damaged);
        }
        drop(partial);
        self.bundle = bytes;
        Ok(())
    }

    /// Takes the entries that it does not hold. Memory: a batch and a bundle.
    fn take(&mut self, directory: &Path, source: &Source) -> Result<(), MirrorError> {
        let mut next = self.edge.size();
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
                self.append(number, entry)?;
                next += 1;
            }
        }
        if self.edge.head() != source.head {
            return Err(MirrorError::Changed);
        }
        Ok(())
    }

    fn append(&mut self, number: u64, entry: &[u8]) -> Result<(), MirrorError> {
        let width = u64::from(WIDTH);
        bundle::append(&mut self.bundle, entry)
            .map_err(|error| MirrorError::Entry { number, error })?;
        if (number + 1).is_multiple_of(width) {
            let full = Tile::of(Kind::Entries, number / width, number + 1);
            let bytes = std::mem::take(&mut self.bundle);
            self.put(full, &bytes)?;
        }
        let mut full = Vec::new();
        self.edge.append(hash::leaf(entry), |tile, hashes| {
            full.push((tile, tile::encode(hashes)));
        });
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
        // The mirror is whole; what is in nobody's way may stay.
        let _ = self.clear(before, size);
        Ok(())
    }

    /// Takes partial files away whose full ones are there now.
    fn clear(&mut self, before: u64, size: u64) -> io::Result<()> {
        let full = tile::grown(before, size).filter(Tile::is_full);
        for partials in full.filter_map(|tile| partials_of(&tile)) {
            if !self.files.is_directory(&partials)? {
                continue;
            }
            let names = self.files.list(&partials)?.unwrap_or_default();
            let paths = names.iter().map(|name| format!("{partials}/{name}"));
            for path in paths.filter(|path| path.parse::<Tile>().is_ok()) {
                self.files.remove(&path)?;
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
    /// The log does not verify.
    Unsound(Box<Report>),
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
    /// The place is in the log, or cannot be a directory's.
    Place(Box<BackupError>),
    /// The place is no directory, or another user's, or others may write to it.
    Exposed,
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
            MirrorError::Unsound(_) | MirrorError::Changed => "`audit verify` says what is wrong",
            MirrorError::Place(error) => error.hint(),
            MirrorError::Exposed => {
                "name a directory of the user who does this, to which nobody else may write"
            }
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
            MirrorError::Unsound(report) => match report.findings.first() {
                Some(finding) => write!(f, "the log does not verify: {finding}"),
                None => f.write_str("the log does not verify"),
            },
            MirrorError::Changed => {
                f.write_str("what lies in the log does not lead to its checkpoint")
            }
            MirrorError::Place(error) => error.fmt(f),
            MirrorError::Exposed => {
                f.write_str("the place is not a directory that this user alone may write to")
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
