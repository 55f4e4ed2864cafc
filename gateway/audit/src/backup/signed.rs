//! What of a log is signed at a moment: its last checkpoint, where that ends in the segments, and what
//! else the entries up to there tell of.
//!
//! On a live log the order is what makes it hold: first how long the evidence of witnesses is, then the
//! checkpoint. It is durable by then, with all entries and tiles that it speaks of, and witnesses have
//! seen no more than it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::error::BackupError;
use crate::checkpoints::history::{self, CHECKPOINTS, MAX_RECORD};
use crate::checkpoints::store::CHECKPOINT;
use crate::checkpoints::witnessed::{MAX_WITNESSES, WITNESSED, is_witness};
use crate::entry;
use crate::event::{Digest, Event};
use crate::files::{self, Directory, Files as _};
use crate::frame::Fault;
use crate::merkle::checkpoint::Checkpoint;
use crate::merkle::note::Note;
use crate::merkle::range::Head;
use crate::read::{self, Position, Reader, Step};
use crate::recover::{lost_name, set_aside_name};
use crate::seal::sealed::Leaf;

/// A log at a moment, as it says itself: who signed it is for `verify` to judge.
#[derive(Debug)]
pub(crate) struct Signed {
    /// The last checkpoint, as a note.
    pub(crate) note: Vec<u8>,
    /// Its size and root.
    pub(crate) head: Head,
    /// The name of the log.
    pub(crate) origin: String,
    /// The files with what witnesses cosigned, and how long they were.
    pub(crate) witnessed: Vec<(String, u64)>,
}

impl Signed {
    /// The log in `directory`, which may be written to.
    pub(crate) fn of(directory: &Path) -> Result<Signed, BackupError> {
        if !directory.join("wal").is_dir() {
            let directory = directory.to_owned();
            return Err(BackupError::NoLog { directory });
        }
        plain(directory)?;
        let failed = BackupError::disk("read", directory);
        let files = Directory::new(directory);
        let mut witnessed = Vec::new();
        let mut names = files.list(WITNESSED).map_err(&failed)?.unwrap_or_default();
        names.retain(|name| is_witness(name));
        names.sort_unstable();
        for name in names.into_iter().take(MAX_WITNESSES) {
            let folder = format!("{WITNESSED}/{name}");
            let mut days = files.list(&folder).map_err(&failed)?.unwrap_or_default();
            days.retain(|day| history::is_day(day));
            days.sort_unstable();
            for day in days {
                let path = format!("{folder}/{day}");
                let length = files.length(&path).map_err(&failed)?;
                witnessed.push((path, length));
            }
        }
        let note = files::read(&files, CHECKPOINT, MAX_RECORD).map_err(&failed)?;
        let note = note.ok_or(BackupError::Unsigned)?;
        let checkpoint = Note::parse(&note)
            .ok()
            .and_then(|parsed| Checkpoint::parse(parsed.text()).ok());
        let checkpoint = checkpoint.ok_or(BackupError::Checkpoint)?;
        let (head, origin) = (checkpoint.head(), checkpoint.origin().to_owned());
        if head.size == 0 {
            return Err(BackupError::Unsigned);
        }
        Ok(Signed {
            note,
            head,
            origin,
            witnessed,
        })
    }
}

/// Sees that the segments and the days of the history are files: nobody waits for the other end of a pipe
/// with the locks of a backup in hand.
pub(crate) fn plain(directory: &Path) -> Result<(), BackupError> {
    let files = Directory::new(directory);
    for folder in ["wal", CHECKPOINTS] {
        let folder_path = directory.join(folder);
        let names = files.list(folder);
        let names = names.map_err(BackupError::disk("read", &folder_path))?;
        for name in names.unwrap_or_default() {
            let path = folder_path.join(name);
            let failed = BackupError::disk("read", &path);
            match std::fs::symlink_metadata(&path) {
                Ok(found) if found.is_file() => {}
                // What a live log removes.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) => return Err(failed(io::ErrorKind::InvalidData.into())),
                Err(error) => return Err(failed(error)),
            }
        }
    }
    Ok(())
}

/// What entries tell of.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The files beside the segments: quarantine, and segments that were set aside.
    pub(crate) files: BTreeSet<String>,
    /// The records of keys: their names, and what they must be. Not those that were destroyed.
    pub(crate) keys: BTreeMap<String, Digest>,
    /// Epochs whose keys were destroyed.
    pub(crate) destroyed: BTreeSet<String>,
    /// Epochs whose keys were about to be, without a word that it was finished.
    pub(crate) announced: BTreeSet<String>,
}

/// Where the first `size` entries end in the segments, and what those from `behind` on tell of. `reader`
/// stands at the start of a segment before that. Fails closed where they cannot be read up to there.
pub(crate) fn walk(
    mut reader: Reader,
    behind: u64,
    size: u64,
) -> Result<(Position, Told), BackupError> {
    let mut told = Told::default();
    let mut first = (0, 0);
    loop {
        let at = reader.position();
        let step = reader.step();
        let step = step.map_err(|error| BackupError::Disk {
            doing: "read",
            path: crate::recover::segment_name(at.segment).into(),
            error,
        })?;
        match step {
            Step::Segment(header) if header.first_sequence >= size => {
                // The tree goes on over entries that are lost, and the one that says so is not signed.
                return Err(BackupError::Unaccepted);
            }
            Step::Segment(header) => first = (header.number, header.first_sequence),
            Step::Batch {
                sequence,
                records,
                count,
            } => {
                for (sequence, leaf) in read::entries(sequence, &records) {
                    if sequence >= behind
                        && let Ok(Leaf::Clear(bytes)) = Leaf::parse(leaf)
                    {
                        told.take(first, sequence, bytes);
                    }
                }
                match (sequence + u64::from(count)).cmp(&size) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => return Ok((reader.position(), told)),
                    // A checkpoint ends with a batch.
                    std::cmp::Ordering::Greater => {
                        let fault = Fault::Sequence { found: sequence };
                        return Err(BackupError::Damaged { at, fault });
                    }
                }
            }
            Step::End => {
                let fault = Fault::Blank;
                return Err(BackupError::Damaged { at, fault });
            }
            Step::Fault(fault) => return Err(BackupError::Damaged { at, fault }),
        }
    }
}

impl Told {
    /// The records of keys that should be among `theirs`, those of the log, and are not: those that are
    /// told of, and `ours`, which a backup holds, but for what was destroyed.
    pub(crate) fn missing<'a>(
        &'a self,
        theirs: &'a BTreeMap<String, Digest>,
        ours: &'a BTreeMap<String, Digest>,
    ) -> impl Iterator<Item = &'a str> {
        let ours = ours
            .iter()
            .filter(|(name, _)| !self.destroyed.contains(epoch_of(name)));
        let all = self.keys.iter().chain(ours);
        all.filter(|(name, digest)| theirs.get(*name) != Some(*digest))
            .map(|(name, _)| name.as_str())
    }

    /// Takes what an entry tells of; the segment that it stands in, and that segment's first entry, are
    /// `first`. What is no entry tells nothing: `verify` judges it.
    fn take(&mut self, (segment, first): (u64, u64), sequence: u64, bytes: &[u8]) {
        let Ok(entry) = entry::decode(bytes) else {
            return;
        };
        match entry.event {
            Event::Recovered(it) => {
                self.files.insert(set_aside_name(it.segment, it.offset));
            }
            Event::Discontinuity(loss) if sequence == first => {
                let aside = loss.damage.iter().filter(|damage| damage.offset == 0);
                let behind = segment.saturating_sub(1);
                let names = aside.map(|damage| lost_name(behind, damage.segment));
                self.files.extend(names);
            }
            Event::EpochKey(key) => {
                let name = format!("{}/{}", key.epoch, key.key);
                self.keys.insert(name, key.record);
            }
            Event::Destruction(end) if end.done => {
                self.keys.retain(|name, _| epoch_of(name) != end.epoch);
                self.announced.remove(end.epoch);
                self.destroyed.insert(end.epoch.to_owned());
            }
            Event::Destruction(end) => {
                self.announced.insert(end.epoch.to_owned());
            }
            _ => {}
        }
    }
}

/// The epochs of whose end the entries behind the first `size` tell, announced or done, as far as the log can
/// be read: nobody signed that yet.
pub(crate) fn ending(directory: &Path, size: u64) -> io::Result<BTreeSet<String>> {
    let mut epochs = BTreeSet::new();
    // A writer that is faster than we are does not keep us.
    let last = read::inventory(directory)?.0.into_iter().max();
    let mut reader = Reader::near(directory, size)?;
    loop {
        let (sequence, records) = match reader.step()? {
            Step::Segment(header) if Some(header.number) > last => return Ok(epochs),
            Step::Segment(_) => continue,
            Step::Batch {
                sequence, records, ..
            } => (sequence, records),
            Step::End | Step::Fault(_) => return Ok(epochs),
        };
        for (sequence, leaf) in read::entries(sequence, &records) {
            if sequence >= size
                && let Ok(Leaf::Clear(bytes)) = Leaf::parse(leaf)
                && let Ok(entry) = entry::decode(bytes)
                && let Event::Destruction(end) = entry.event
            {
                epochs.insert(end.epoch.to_owned());
            }
        }
    }
}

/// The epoch of a record of a key, by its name: `2026-11/standard` of `2026-11/standard/5d0c7f3a9b21e604`.
pub(crate) fn epoch_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(epoch, _)| epoch)
}
