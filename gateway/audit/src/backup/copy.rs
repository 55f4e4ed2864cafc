//! The copy of a log: the signed part of it, file by file, into a directory that nobody else knows yet.
//!
//! What a backup holds already is not read again but linked (link(2)), where that cannot change any more:
//! segments and days behind which others follow, full tiles, records of keys. All else is read from the
//! log, in the order in which a live one cannot tear it: what witnesses cosigned and the checkpoint
//! (`signed`), then the records of keys, under a lock that is held since before that, then the history, the
//! tiles, the segments.
//! Nothing behind the checkpoint is copied: the last segment and the last day are cut where it ends.
//!
//! Each file is synced when it is written, each directory at the end: then all of it is durable, and
//! before that nothing counts. Not by one sync of the whole file system (syncfs(2)), which a live log on
//! the same disk would have to wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::BackupError;
use super::held::{Held, begins_with};
use super::place::{above, sync};
use super::signed::{Signed, Told, epoch_of};
use crate::checkpoints::history::{self, CHECKPOINTS, Record, Records};
use crate::checkpoints::store::{CHECKPOINT, Stored};
use crate::checkpoints::witnessed::size_of;
use crate::event::Digest;
use crate::files::{Directory, Files as _, parent};
use crate::key_records::{self, RECORDS};
use crate::lock::{BACKUP, BACKUP_TEXT};
use crate::merkle::hash::Hash;
use crate::merkle::tile::{Kind, Tile, Tiles as _, WIDTH, grown};
use crate::opened::pause;
use crate::read::{Position, inventory};
use crate::recover::{lost_origin, quarantine_origin, segment_name, segment_number};
use crate::storage::{self, regular};

/// What is copied, and where to.
pub(crate) struct Transfer<'a> {
    /// The log.
    pub(crate) from: &'a Path,
    /// What the backup holds already.
    pub(crate) held: Option<&'a Held>,
    /// Where the copy is made; nothing is there.
    pub(crate) into: PathBuf,
    /// How much is signed.
    pub(crate) signed: &'a Signed,
    /// Where that ends.
    pub(crate) end: Position,
    /// What its entries tell of; behind what is held, if there is anything.
    pub(crate) told: &'a Told,
    /// Whether the copy is to be a backup, and not a log that goes on.
    pub(crate) is_backup: bool,
    /// What was done; nothing yet.
    pub(crate) done: Done,
    /// The folders that were made; none yet.
    pub(crate) folders: BTreeSet<String>,
}

/// What a copy took.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Files that were read and written; not those that were linked.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records of keys that the log has not got any more, although it does not tell that they were
    /// destroyed. The backup keeps those that it has.
    pub missing_keys: Vec<String>,
    /// Files with what witnesses cosigned that the log has not got any more. The backup keeps them.
    pub missing_witnessed: Vec<String>,
}

impl Transfer<'_> {
    /// Makes the copy: durable when it returns. `watch` is told of each segment that is begun, and of the
    /// last.
    /// `still` keeps others from the log's keys; it is let go of once they are copied.
    pub(crate) fn make(
        mut self,
        still: Option<File>,
        watch: &mut dyn FnMut(u64, u64),
    ) -> Result<Done, BackupError> {
        self.room()?;
        // At least these folders, however little is in them.
        self.folder("wal")?;
        self.keys()?;
        drop(still);
        self.witnessed()?;
        self.history()?;
        self.tiles()?;
        self.segments(watch)?;
        let note = self.signed.note.clone();
        self.write(CHECKPOINT, &note)?;
        if self.is_backup {
            self.write(BACKUP, BACKUP_TEXT.as_bytes())?;
        }
        for folder in &self.folders {
            sync(&self.into.join(folder))?;
        }
        Ok(self.done)
    }

    /// Sees that there is space, before anything is written.
    fn room(&self) -> Result<(), BackupError> {
        const BLOCK: u64 = 4096;
        let mut needed = 64 * BLOCK;
        let mut add = |bytes: u64| needed = bytes.saturating_add(2 * BLOCK).saturating_add(needed);
        for number in self.first_segment()..=self.end.segment {
            add(self.segment_bytes(number)?.1);
        }
        let held = self.held.map_or(0, |held| held.signed.head.size);
        let new_tiles = (self.signed.head.size - held).div_ceil(WIDTH.into());
        // Each level is a 256th of the one below it, and has a tile at its end.
        add((new_tiles + new_tiles / 128 + 16).saturating_mul(2 * BLOCK));
        for day in self.days()? {
            let path = self.from.join(CHECKPOINTS).join(&day);
            add(length(&path)?);
        }
        for (_, bytes) in &self.signed.witnessed {
            add(*bytes);
        }
        let space = above(&self.into);
        let stat = rustix::fs::statvfs(&space);
        let stat = stat.map_err(|error| BackupError::disk("look at", &space)(error.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < needed {
            return Err(BackupError::NoSpace { needed, free });
        }
        Ok(())
    }

    /// The first segment that is not linked.
    fn first_segment(&self) -> u64 {
        self.held.map_or(1, |held| held.end.segment)
    }

    /// The name of a segment, and how much of it belongs to the copy.
    fn segment_bytes(&self, number: u64) -> Result<(String, u64), BackupError> {
        let name = format!("wal/{}", segment_name(number));
        let bytes = if number == self.end.segment {
            self.end.offset
        } else {
            length(&self.from.join(&name))?
        };
        Ok((name, bytes))
    }

    fn segments(&mut self, watch: &mut dyn FnMut(u64, u64)) -> Result<(), BackupError> {
        let mut there = BTreeSet::new();
        let first = self.first_segment();
        if let Some(held) = self.held {
            let (segments, others) =
                inventory(&held.directory).map_err(BackupError::disk("read", &held.directory))?;
            let before = segments.into_iter().filter(|number| *number < first);
            let names = before.map(segment_name).chain(others);
            for name in names {
                let is_known = segment_number(&name).is_some()
                    || quarantine_origin(&name).is_some()
                    || lost_origin(&name).is_some();
                if is_known {
                    self.link(held, &format!("wal/{name}"))?;
                    there.insert(name);
                }
            }
        }
        for number in first..=self.end.segment {
            watch(number, self.end.segment);
            let (name, bytes) = self.segment_bytes(number)?;
            self.copy(&name, bytes)?;
        }
        for name in self.told.files.difference(&there) {
            let name = format!("wal/{name}");
            let path = self.from.join(&name);
            // What is told of and not there is for `verify` to name.
            if path.exists() {
                self.copy(&name, length(&path)?)?;
            }
        }
        Ok(())
    }

    fn tiles(&mut self) -> Result<(), BackupError> {
        let files = Directory::new(self.from);
        let size = self.signed.head.size;
        for tile in grown(0, size).filter(|tile| tile.kind() != Kind::Entries) {
            let path = tile.to_string();
            if let Some(held) = self.held
                && tile.is_full()
                && Tile::of(tile.kind(), tile.index(), held.signed.head.size) == Some(tile)
            {
                self.link(held, &path)?;
                continue;
            }
            let bytes = self.tile(&files, &tile)?;
            self.write(&path, &bytes)?;
        }
        Ok(())
    }

    /// The bytes of a tile; those of a partial one that is gone stand in the full one.
    fn tile(&self, files: &Directory, tile: &Tile) -> Result<Vec<u8>, BackupError> {
        for named in [Some(*tile), tile.full()].into_iter().flatten() {
            let read = Stored(files).read(&named);
            let read = read.map_err(BackupError::disk("read a tile of", self.from))?;
            if let Some(mut bytes) = read {
                if named.decode(&bytes).is_err() {
                    return Err(BackupError::Tile { tile: named });
                }
                bytes.truncate(usize::from(tile.width()) * Hash::BYTES);
                return Ok(bytes);
            }
        }
        Err(BackupError::Tile { tile: *tile })
    }

    /// The days of the history that are not linked, in order.
    fn days(&self) -> Result<Vec<String>, BackupError> {
        let first = self.held.map_or("", |held| &held.day);
        let mut days = days_of(self.from)?;
        days.retain(|day| day.as_str() >= first);
        Ok(days)
    }

    /// The history up to the checkpoint, which must be in it.
    fn history(&mut self) -> Result<(), BackupError> {
        if let Some(held) = self.held {
            for day in days_of(&held.directory)? {
                if day < held.day {
                    self.link(held, &format!("{CHECKPOINTS}/{day}"))?;
                }
            }
        }
        let days = self.days()?;
        let mut found = None;
        for (at, day) in days.iter().enumerate().rev() {
            let path = self.from.join(CHECKPOINTS).join(day);
            let mut end = None;
            records(&path, u64::MAX, |note, behind| {
                end = (note == self.signed.note).then_some(behind);
                end.is_none()
            })?;
            if let Some(end) = end {
                found = Some((at, end));
                break;
            }
        }
        let (last, end) = found.ok_or(BackupError::Checkpoint)?;
        for (at, day) in days.iter().take(last + 1).enumerate() {
            let name = format!("{CHECKPOINTS}/{day}");
            let bytes = if at == last {
                end
            } else {
                length(&self.from.join(&name))?
            };
            self.copy(&name, bytes)?;
        }
        Ok(())
    }

    /// What witnesses cosigned. What the backup has of it and the log has not is kept: it is evidence.
    fn witnessed(&mut self) -> Result<(), BackupError> {
        let signed = self.signed;
        let mut there = BTreeSet::new();
        for (at, (path, long)) in signed.witnessed.iter().enumerate() {
            let next = signed.witnessed.get(at + 1);
            let is_last = next.is_none_or(|(next, _)| parent(next) != parent(path));
            let ours = self.held.map(|held| (held, held.directory.join(path)));
            if let Some((held, ours)) = ours.filter(|(_, ours)| ours.exists()) {
                if !is_last && length(&ours)? == *long {
                    self.link(held, path)?;
                    there.insert(path);
                    continue;
                }
                if !begins_with(&self.from.join(path), &ours, u64::MAX)? {
                    continue;
                }
            }
            let mut bytes = *long;
            if is_last {
                // Its end may be in the making.
                bytes = 0;
                records(&self.from.join(path), *long, |note, behind| {
                    let fits = size_of(note).is_some_and(|size| size <= signed.head.size);
                    bytes = if fits { behind } else { bytes };
                    fits
                })?;
            }
            if bytes > 0 {
                self.copy(path, bytes)?;
                there.insert(path);
            }
        }
        if let Some(held) = self.held {
            for (path, _) in &held.signed.witnessed {
                if !there.contains(path) {
                    self.link(held, path)?;
                    self.done.missing_witnessed.push(path.clone());
                }
            }
        }
        Ok(())
    }

    /// The records of keys, while nobody destroys any. Those whose destruction the log tells of stay
    /// behind, also where it was cut short; of those that are missing otherwise the backup keeps its own.
    fn keys(&mut self) -> Result<(), BackupError> {
        let theirs = key_digests(self.from)?;
        let is_ending = |name: &str| self.told.announced.contains(epoch_of(name));
        if let Some(held) = self.held {
            for (name, digest) in key_digests(&held.directory)? {
                let is_there = theirs.get(&name) == Some(&digest);
                if self.told.destroyed.contains(epoch_of(&name)) || !is_there && is_ending(&name) {
                    continue;
                }
                self.link(held, &format!("{RECORDS}/{name}"))?;
                if !is_there {
                    self.done.missing_keys.push(name);
                }
            }
        }
        for (name, digest) in &self.told.keys {
            if theirs.get(name) != Some(digest) {
                // Whether that is in order is for `verify` to say.
                if !is_ending(name) {
                    self.done.missing_keys.push(name.clone());
                }
                continue;
            }
            let name = format!("{RECORDS}/{name}");
            self.copy(&name, length(&self.from.join(&name))?)?;
        }
        Ok(())
    }

    /// Copies the first so many bytes of a file of the log.
    fn copy(&mut self, name: &str, bytes: u64) -> Result<(), BackupError> {
        let from = self.from.join(name);
        let failed = BackupError::disk("copy", &from);
        let source = regular(&from).map_err(&failed)?;
        let path = self.fresh(name)?;
        let written = create(&path).and_then(|mut file| {
            let copied = io::copy(&mut source.take(bytes), &mut file)?;
            if copied < bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.sync_all()
        });
        written.map_err(BackupError::disk("write", &path))?;
        self.count(bytes);
        Ok(())
    }

    /// Writes a file.
    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let path = self.fresh(name)?;
        let written = create(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(BackupError::disk("write", &path))?;
        self.count(bytes.len() as u64);
        Ok(())
    }

    /// Takes over a file that the backup holds, and that nobody changes. Where a file system knows no
    /// links it is copied.
    fn link(&mut self, held: &Held, name: &str) -> Result<(), BackupError> {
        let from = held.directory.join(name);
        let path = self.fresh(name)?;
        let Err(error) = std::fs::hard_link(&from, &path) else {
            return Ok(());
        };
        match error.kind() {
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported
            | io::ErrorKind::CrossesDevices
            | io::ErrorKind::TooManyLinks => {}
            _ => return Err(BackupError::disk("link", &from)(error)),
        }
        let failed = BackupError::disk("copy", &from);
        let mut source = regular(&from).map_err(&failed)?;
        let copied = create(&path).and_then(|mut file| {
            let bytes = io::copy(&mut source, &mut file)?;
            file.sync_all()?;
            Ok(bytes)
        });
        let bytes = copied.map_err(failed)?;
        self.count(bytes);
        Ok(())
    }

    fn count(&mut self, bytes: u64) {
        self.done.files += 1;
        self.done.bytes += bytes;
    }

    /// Where a file of this name goes, with the folders that it stands in.
    fn fresh(&mut self, name: &str) -> Result<PathBuf, BackupError> {
        self.folder(parent(name))?;
        Ok(self.into.join(name))
    }

    /// Makes a folder, with those that it stands in.
    fn folder(&mut self, name: &str) -> Result<(), BackupError> {
        if self.folders.contains(name) {
            return Ok(());
        }
        if !name.is_empty() {
            self.folder(parent(name))?;
        }
        let path = self.into.join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(BackupError::disk("make", &path))?;
        self.folders.insert(name.to_owned());
        Ok(())
    }
}

/// The days of the history, in order.
fn days_of(directory: &Path) -> Result<Vec<String>, BackupError> {
    let days = Directory::new(directory).list(CHECKPOINTS);
    let days = days.map_err(BackupError::disk("read the history of", directory))?;
    let mut days = days.unwrap_or_default();
    days.retain(|day| history::is_day(day));
    days.sort_unstable();
    Ok(days)
}

/// Goes through the whole records in the first bytes of a file, each with the place where it ends, as
/// long as `goes_on` says so.
fn records(
    path: &Path,
    bytes: u64,
    mut goes_on: impl FnMut(&[u8], u64) -> bool,
) -> Result<(), BackupError> {
    let failed = BackupError::disk("read", path);
    let file = regular(path).map_err(&failed)?;
    let mut records = Records::new(BufReader::with_capacity(64 * 1024, file.take(bytes)));
    while let Record::Whole(note) = records.next().map_err(&failed)? {
        if !goes_on(&note, records.position()) {
            break;
        }
    }
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn length(path: &Path) -> Result<u64, BackupError> {
    let found = std::fs::symlink_metadata(path);
    Ok(found.map_err(BackupError::disk("look at", path))?.len())
}

/// The records of keys in a log, by name.
pub(crate) fn key_digests(directory: &Path) -> Result<BTreeMap<String, Digest>, BackupError> {
    let found = key_records::list(directory);
    let found = found.map_err(BackupError::disk("read the keys of", directory))?;
    let records = found
        .into_iter()
        .filter_map(|found| Some((found.name, found.record?.1)));
    Ok(records.collect())
}

/// Keeps whoever destroys keys of a log away from them, as long as the file lives; nothing where there are
/// none.
pub(crate) fn still(directory: &Path) -> Result<Option<File>, BackupError> {
    let folder = directory.join(RECORDS);
    match storage::folder(&folder) {
        Ok(handle) => locked(handle, &folder).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BackupError::disk("open", &folder)(error)),
    }
}

/// Locks the folder of the records of keys, which whoever destroys one locks too.
fn locked(handle: File, folder: &Path) -> Result<File, BackupError> {
    for _ in 0..100 {
        match handle.try_lock() {
            Ok(()) => return Ok(handle),
            Err(TryLockError::WouldBlock) => pause(),
            Err(TryLockError::Error(error)) => {
                return Err(BackupError::disk("lock", folder)(error));
            }
        }
    }
    Err(BackupError::Busy {
        path: folder.to_owned(),
    })
}
