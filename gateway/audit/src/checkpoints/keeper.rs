//! The keeper of the tree: from durable entries to tiles and a signed checkpoint, step by step.
//!
//! ```text
//! entries --> full tiles --> partial tiles --> names --> history --> checkpoint
//!             each synced    each synced       synced    synced      synced
//! ```
//!
//! What survives a crash, and what the next start makes of it:
//!
//! - before the history: tiles that no checkpoint speaks of. They are made again, and are the same.
//! - within the append to the history: a torn record at its end. It is dropped; nobody has seen it.
//! - before `checkpoint` has its name: the history is one ahead. Its last one counts, and gets the name.
//!
//! So a checkpoint never speaks of a tile or an entry that could be lost, and the start after a crash
//! at any point goes on as if there had been none. What no crash explains is evidence: it is never
//! overwritten, and the log does not open (fail closed).

use std::fmt;
use std::io;

use super::handover::{self, Handover};
use super::history;
use super::resume::{self, End, Resumed};
use super::store::{CHECKPOINT, Means, Stored, Writer, partials_of};
use crate::clock::{Moment, Stamp};
use crate::error::OpenError;
use crate::event::Time;
use crate::files::parent;
use crate::frame::Fault;
use crate::merkle::checkpoint::Checkpoint;
use crate::merkle::hash;
use crate::merkle::range::Head;
use crate::merkle::rotation::Rotation;
use crate::merkle::tile::{self, Edge, Tile, Tiles as _};
use crate::read::{self, Reader, Step};
use crate::recover::segment_name;

/// The keeper: where the signed tree ends, and what is needed to let it grow.
pub struct Keeper {
    means: Means,
    writer: Writer,
    reader: Reader,
    edge: Edge,
    /// Where the history ends.
    end: End,
    /// How the log comes to our key; done with our first checkpoint.
    handover: Handover,
    /// The file in which something may stand that does not belong there, and from where on.
    dirty: Option<(String, u64)>,
    /// The note that `checkpoint` should hold and does not.
    owed: Option<String>,
}

impl Keeper {
    /// No more entries than this, and one batch, go between two checkpoints, however many wait.
    const MOST: u64 = 64 * 1024;

    /// Takes up the tree of a log that is durable up to `durable`. A log that was never signed is
    /// signed as it is, down to its first entry.
    ///
    /// # Errors
    /// [`OpenError`] when the disk refuses, or when the log is not the one that was signed.
    pub fn open(means: Means, durable: u64, now: impl Into<Moment>) -> Result<Keeper, OpenError> {
        let Some(resumed) = resume::resume(&means, durable)? else {
            return Keeper::begin(means, durable, &now.into());
        };
        let Resumed {
            reader,
            edge,
            end,
            handover,
            owed,
        } = resumed;
        let mut keeper = Keeper {
            means,
            writer: Writer::default(),
            reader,
            edge,
            end,
            handover,
            dirty: None,
            owed,
        };
        keeper.point().map_err(|error| error.at_start(durable))?;
        Ok(keeper)
    }

    /// The first checkpoint is durable before the entry that says that the log is signed. So from
    /// then on a log without a checkpoint is one that was changed.
    fn begin(means: Means, durable: u64, now: &Moment) -> Result<Keeper, OpenError> {
        let said = resume::says_signed(&means.directory, durable);
        if said.map_err(OpenError::disk("read a segment"))? {
            return Err(OpenError::NoCheckpoint);
        }
        if means.is_known {
            return Err(OpenError::Forgotten);
        }
        handover::judge_first(&means, durable)?;
        let cleared = resume::clear(&*means.files);
        cleared.map_err(OpenError::disk("remove"))?;
        let mut keeper = Keeper {
            reader: Reader::new(&means.directory),
            means,
            writer: Writer::default(),
            edge: Edge::new(),
            end: End::default(),
            handover: Handover::default(),
            dirty: None,
            owed: None,
        };
        while keeper.edge.size() < durable {
            keeper
                .grow(durable)
                .map_err(|error| error.at_start(durable))?;
        }
        let signed = keeper.sign(now).and_then(|()| keeper.point());
        signed.map_err(|error| error.at_start(durable))?;
        Ok(keeper)
    }

    /// How many entries the last checkpoint is about.
    #[must_use]
    pub fn signed(&self) -> u64 {
        self.end.size.unwrap_or(0)
    }

    /// Whether the next entry is the first since the log is signed: the one that says so.
    #[must_use]
    pub fn owes_key(&self, durable: u64) -> bool {
        self.end.is_first && self.signed() == durable && self.handover.owed.is_empty()
    }

    /// The rotations that must be the next entries, in this order, before anything else.
    #[must_use]
    pub fn owed(&self) -> &[Rotation] {
        &self.handover.owed
    }

    /// Whether nothing can be signed yet, because the entry that hands over to our key is not durable.
    #[must_use]
    pub fn awaits_handover(&self, durable: u64) -> bool {
        self.handover.at.is_some_and(|at| durable <= at)
    }

    /// The text form of the public key.
    #[must_use]
    pub fn key(&self) -> String {
        self.means.signer.verifier().to_string()
    }

    /// Signs what is durable, up to `durable`; of much, the first part. Nothing when nothing grew.
    ///
    /// # Errors
    /// [`KeepError`]; the last checkpoint stands, and the same can be tried again.
    pub fn advance(&mut self, durable: u64, now: impl Into<Moment>) -> Result<(), KeepError> {
        let now = now.into();
        // The history is never more than one checkpoint ahead, or it would not be a crash's doing.
        self.point()?;
        if durable != self.signed() && !self.awaits_handover(durable) {
            let reader = self
                .reader
                .try_clone()
                .map_err(KeepError::disk("read a segment"))?;
            let edge = self.edge.clone();
            if let Err(error) = self.grow(durable).and_then(|()| self.sign(&now)) {
                // Whatever is in the making is made again.
                (self.reader, self.edge) = (reader, edge);
                self.writer.forget();
                return Err(error);
            }
        }
        self.point()
    }

    /// Reads on, at most up to `durable`, and writes every tile that became full: all of them behind one
    /// sync of what they speak of, and before one of their names.
    fn grow(&mut self, durable: u64) -> Result<(), KeepError> {
        let begun = self.edge.size();
        if durable < begun {
            return Err(KeepError::Ahead { size: begun });
        }
        let first = self.reader.position().segment;
        self.reader.look_ahead().map_err(KeepError::disk("read"))?;
        // The entry that hands over to our key is a part of all that it signs.
        let least = self.handover.at.map_or(0, |at| at + 1);
        let enough = least.max(begun.saturating_add(Self::MOST));
        let mut full = Vec::new();
        while self.edge.size() < durable.min(enough) {
            let at = self.reader.position();
            let unreadable = |fault| KeepError::Unreadable {
                segment: at.segment,
                offset: at.offset,
                fault,
            };
            match self.reader.step().map_err(KeepError::disk("read"))? {
                Step::Segment(_) => {}
                Step::Batch {
                    sequence,
                    records,
                    count,
                } => {
                    // A batch is durable as a whole or not at all.
                    if sequence > self.edge.size() || sequence + u64::from(count) > durable {
                        return Err(unreadable(Fault::Sequence { found: sequence }));
                    }
                    self.take(sequence, &records, &mut full)?;
                }
                Step::End => return Err(unreadable(Fault::Blank)),
                Step::Fault(fault) => return Err(unreadable(fault)),
            }
        }
        self.sync_segments(first)?;
        full.iter()
            .try_for_each(|(tile, bytes)| self.put(tile, bytes))?;
        // The full tiles are durable before the partial ones that they replace are gone.
        self.settle()?;
        full.iter()
            .try_for_each(|(tile, _)| self.drop_partials(tile))
    }

    /// In a buffered log what is about to be written about is made durable first, or a loss of power
    /// could leave tiles of entries that are gone.
    fn sync_segments(&self, first: u64) -> Result<(), KeepError> {
        if self.means.buffered {
            for segment in first..=self.reader.position().segment {
                let path = format!("wal/{}", segment_name(segment));
                let synced = self.means.files.sync(&path);
                synced.map_err(KeepError::disk("sync a segment"))?;
            }
        }
        Ok(())
    }

    /// Takes the entries of a batch into the tree; `full` gets the tiles that they fill.
    fn take(
        &mut self,
        sequence: u64,
        records: &[u8],
        full: &mut Vec<(Tile, Vec<u8>)>,
    ) -> Result<(), KeepError> {
        for (sequence, entry) in read::entries(sequence, records) {
            if sequence == self.edge.size() {
                if self.handover.at == Some(sequence) && !self.hands_over(entry) {
                    return Err(KeepError::NotHandedOver { sequence });
                }
                self.edge.append(hash::leaf(entry), |tile, hashes| {
                    full.push((tile, tile::encode(hashes)));
                });
            }
        }
        Ok(())
    }

    /// Whether this entry hands over to our key.
    fn hands_over(&self, entry: &[u8]) -> bool {
        let rotation = handover::rotation_in(entry);
        rotation.is_some_and(|rotation| rotation.new_key() == self.means.signer.verifier())
    }

    /// Writes a tile. One that is there, and the same, stays; one that differs is evidence.
    fn put(&mut self, tile: &Tile, bytes: &[u8]) -> Result<(), KeepError> {
        let files = &*self.means.files;
        let path = tile.to_string();
        let found = Stored(files)
            .read(tile)
            .map_err(KeepError::disk("read a tile"))?;
        let put = match found {
            Some(found) if found != bytes => return Err(KeepError::Differs { tile: *tile }),
            // It may have been left behind before its name was durable.
            Some(_) => {
                self.writer.touch(&path);
                self.writer.make_directory(files, parent(&path))
            }
            None => self.writer.put(files, &path, bytes),
        };
        put.map_err(KeepError::disk("write a tile"))
    }

    fn drop_partials(&mut self, full: &Tile) -> Result<(), KeepError> {
        let files = &*self.means.files;
        let Some(directory) = partials_of(full) else {
            return Ok(());
        };
        let failed = KeepError::disk("remove a tile");
        let Some(names) = files.list(&directory).map_err(&failed)? else {
            return Ok(());
        };
        let paths: Vec<_> = names
            .iter()
            .map(|name| format!("{directory}/{name}"))
            .collect();
        if paths.iter().any(|path| path.parse::<Tile>().is_err()) {
            // Not ours: for `verify` to name.
            return Ok(());
        }
        let mut gone = paths.iter().chain([&directory]);
        gone.try_for_each(|path| files.remove(path))
            .map_err(failed)?;
        self.writer.touch(&directory);
        Ok(())
    }

    fn settle(&mut self) -> Result<(), KeepError> {
        let settled = self.writer.settle(&*self.means.files);
        settled.map_err(KeepError::disk("sync a directory"))
    }

    /// Writes the partial tiles, then says what the tree is, in the history.
    fn sign(&mut self, now: &Moment) -> Result<(), KeepError> {
        let partial: Vec<_> = self
            .edge
            .partial()
            .map(|(tile, hashes)| (tile, tile::encode(hashes)))
            .collect();
        partial
            .iter()
            .try_for_each(|(tile, bytes)| self.put(tile, bytes))?;
        self.settle()?;
        let head = self.edge.head();
        let (text, note) = self.note(head, now.stamp());
        let mut end = self.append(&note, now.time)?;
        end.is_first = end.size.is_none();
        end.size = Some(head.size);
        end.link = Some(history::link(&text));
        self.end = end;
        self.handover = Handover::default();
        self.owed = Some(note);
        Ok(())
    }

    /// Makes the last note of the history the last checkpoint.
    fn point(&mut self) -> Result<(), KeepError> {
        let files = &*self.means.files;
        let failed = KeepError::disk("write the checkpoint");
        if let Some(note) = &self.owed {
            self.writer
                .put(files, CHECKPOINT, note.as_bytes())
                .map_err(&failed)?;
            self.writer.settle(files).map_err(&failed)?;
            self.owed = None;
        }
        Ok(())
    }

    /// The text of the checkpoint and its note.
    fn note(&self, head: Head, stamp: Option<Stamp>) -> (String, String) {
        let link = self.end.link.as_ref().map(history::previous);
        let stamp = stamp.map(|stamp| stamp.to_string());
        let lines: Vec<&str> = [&link, &stamp]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let checkpoint = Checkpoint::new(self.means.origin(), head, &lines);
        let checkpoint = checkpoint
            .expect("a key's name is an origin, and a tree is no larger than counting goes");
        let note = checkpoint.sign(&self.means.signer);
        let note = note.expect("a note has room for a checkpoint and one signature");
        (checkpoint.to_string(), note.to_string())
    }

    /// Appends a note to the history: durable when it returns. A clock that was set back begins no
    /// new day, so that the names of the files are in the order of what they hold.
    fn append(&mut self, note: &str, now: Time) -> Result<End, KeepError> {
        let files = &*self.means.files;
        let failed = KeepError::disk("append to the history");
        let mut end = self.end.clone();
        let today = history::day(now);
        if today > end.day {
            (end.day, end.bytes) = (today, 0);
        }
        let path = format!("{}/{}", history::CHECKPOINTS, end.day);
        let record = history::record(note);
        let made = self.writer.make_directory(files, history::CHECKPOINTS);
        made.map_err(&failed)?;
        if let Some((path, bytes)) = &self.dirty {
            // Else a crash could leave a mixture of the last attempt and this one.
            files.write_at(path, *bytes, &[]).map_err(&failed)?;
            files.cut(path, *bytes).map_err(&failed)?;
            files.sync(path).map_err(&failed)?;
        }
        self.dirty = Some((path.clone(), end.bytes));
        files.write_at(&path, end.bytes, &record).map_err(&failed)?;
        files.sync(&path).map_err(&failed)?;
        if end.bytes == 0 {
            self.writer.touch(&path);
        }
        self.writer.settle(files).map_err(&failed)?;
        self.dirty = None;
        end.bytes += record.len() as u64;
        Ok(end)
    }
}

/// Why nothing more is signed. The last checkpoint stands.
#[derive(Debug)]
pub enum KeepError {
    /// The disk refused.
    Disk {
        /// What was attempted.
        doing: &'static str,
        /// What the operating system said.
        error: io::Error,
    },
    /// An entry that is durable cannot be read.
    Unreadable {
        /// In which segment.
        segment: u64,
        /// Where, bytes from its start.
        offset: u64,
        /// What is wrong there.
        fault: Fault,
    },
    /// A tile is there already, and is not the tile of this log.
    Differs {
        /// Which.
        tile: Tile,
    },
    /// The tree is larger than the log.
    Ahead {
        /// The size of the tree.
        size: u64,
    },
    /// An entry does not hand over to our key, as it should: nothing is signed with it.
    NotHandedOver {
        /// Which.
        sequence: u64,
    },
}

impl KeepError {
    fn disk(doing: &'static str) -> impl Fn(io::Error) -> KeepError {
        move |error| KeepError::Disk { doing, error }
    }

    /// The same, when it keeps a log with so many entries from being opened.
    fn at_start(self, entries: u64) -> OpenError {
        match self {
            KeepError::Disk { doing, error } => OpenError::Disk { doing, error },
            KeepError::Unreadable {
                segment,
                offset,
                fault,
            } => OpenError::Damaged {
                segment,
                offset,
                fault,
            },
            KeepError::Differs { tile } => OpenError::Tile { tile },
            KeepError::Ahead { size: signed } => OpenError::Shorter { signed, entries },
            // While a log opens, nothing is handed over.
            KeepError::NotHandedOver { .. } => OpenError::Root { size: entries },
        }
    }
}

impl fmt::Display for KeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeepError::Disk { doing, error } => write!(f, "cannot {doing}: {error}"),
            KeepError::Unreadable {
                segment,
                offset,
                fault,
            } => {
                write!(f, "segment {segment} at byte {offset} is {fault}")
            }
            KeepError::Differs { tile } => {
                write!(f, "{tile} is there already, and is no tile of this log")
            }
            KeepError::Ahead { size } => {
                write!(f, "the tree has {size} entries, more than the log")
            }
            KeepError::NotHandedOver { sequence } => {
                write!(f, "entry {sequence} does not hand over to the key")
            }
        }
    }
}

impl std::error::Error for KeepError {}
