//! What a backup holds already, and whether the log goes on from there. A backup is an anchor: a log that
//! was put back, or written anew, does not pass over it.

use std::io::{self, BufReader, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::error::{BackupError, Wrong};
use super::place::wrong_place;
use super::signed::{Signed, walk};
use crate::checkpoints::history::{self, CHECKPOINTS};
use crate::checkpoints::holds;
use crate::checkpoints::store::Stored;
use crate::files::{Directory, Files as _};
use crate::frame::{BLOCK, SegmentHeader};
use crate::lock::is_backup;
use crate::merkle::tile::TilesError;
use crate::read::{Position, Reader, inventory};
use crate::recover::segment_name;
use crate::storage;
use crate::storage::regular;

/// A backup that is there.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) directory: PathBuf,
    pub(crate) signed: Signed,
    /// Where its entries end.
    pub(crate) end: Position,
    /// The last file of its history.
    pub(crate) day: String,
}

impl Held {
    /// What a place holds; nothing when it is not there, or empty.
    pub(crate) fn of(place: &Path) -> Result<Option<Held>, BackupError> {
        let failed = BackupError::disk("look at", place);
        let names = match storage::list(place) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if names.is_empty() {
            return Ok(None);
        }
        if !is_backup(place).map_err(&failed)? || !place.join("wal").is_dir() {
            return Err(wrong_place(place, Wrong::Foreign));
        }
        let found = std::fs::metadata(place).map_err(&failed)?;
        if found.mode() & 0o022 != 0 {
            return Err(wrong_place(place, Wrong::Exposed));
        }
        if found.uid() != geteuid().as_raw() {
            return Err(wrong_place(place, Wrong::NotOurs));
        }
        let held = Held::read(place).map_err(|error| BackupError::Broken {
            path: place.to_owned(),
            error: Box::new(error),
        })?;
        Ok(Some(held))
    }

    fn read(place: &Path) -> Result<Held, BackupError> {
        let signed = Signed::of(place)?;
        let size = signed.head.size;
        let reader = Reader::near(place, size).map_err(BackupError::disk("read", place))?;
        let (end, _) = walk(reader, size, size)?;
        let days = Directory::new(place).list(CHECKPOINTS);
        let days = days.map_err(BackupError::disk("read", place))?;
        let mut days = days.unwrap_or_default();
        days.retain(|day| history::is_day(day));
        let day = days.into_iter().max().ok_or(BackupError::Checkpoint)?;
        Ok(Held {
            directory: place.to_owned(),
            signed,
            end,
            day,
        })
    }

    /// Sees that the log in `from` goes on from what this backup holds. Reads checkpoints and tiles, and
    /// the segment in which the backup ends.
    pub(crate) fn anchors(&self, from: &Path, signed: &Signed) -> Result<(), BackupError> {
        let (held, now) = (self.signed.head, signed.head);
        if self.signed.origin != signed.origin || self.log()? != log_of(from)? {
            return Err(BackupError::AnotherLog);
        }
        if now.size < held.size {
            let (held, signed) = (held.size, now.size);
            return Err(BackupError::RolledBack { held, signed });
        }
        match holds(Stored(&Directory::new(from)), now.size, held) {
            Ok(true) => {}
            Ok(false) => return Err(BackupError::AnotherHistory { size: held.size }),
            Err(TilesError::Reader(error)) => return Err(BackupError::disk("read", from)(error)),
            Err(TilesError::Missing { tile }) => return Err(BackupError::Tile { tile }),
            Err(TilesError::Length(error)) => return Err(BackupError::Tile { tile: error.tile }),
            Err(TilesError::Outside { .. }) => return Err(BackupError::Checkpoint),
        }
        let file = format!("{CHECKPOINTS}/{}", self.day);
        if !begins_with(&from.join(&file), &self.directory.join(&file), u64::MAX)? {
            return Err(BackupError::AnotherCheckpoint { file });
        }
        let segment = self.end.segment;
        let path = format!("wal/{}", segment_name(segment));
        let (ours, theirs) = (self.directory.join(&path), from.join(&path));
        if !begins_with(&theirs, &ours, self.end.offset)? {
            return Err(BackupError::Lost { segment });
        }
        Ok(())
    }

    fn log(&self) -> Result<[u8; 16], BackupError> {
        let path = self.directory.join("wal");
        let header = header(&path.join(segment_name(self.end.segment)))?;
        Ok(header.ok_or(BackupError::Checkpoint)?.log)
    }
}

/// The id of a log, by the first of its segments that says so.
fn log_of(directory: &Path) -> Result<[u8; 16], BackupError> {
    let (segments, _) = inventory(directory).map_err(BackupError::disk("read", directory))?;
    for number in segments {
        if let Some(header) = header(&directory.join("wal").join(segment_name(number)))? {
            return Ok(header.log);
        }
    }
    Err(BackupError::Checkpoint)
}

fn header(path: &Path) -> Result<Option<SegmentHeader>, BackupError> {
    let failed = BackupError::disk("read", path);
    let mut block = [0; BLOCK];
    let file = regular(path).map_err(&failed)?;
    let filled = storage::read_at(&file, 0, &mut block).map_err(&failed)?;
    Ok(SegmentHeader::decode(&block[..filled]).ok())
}

/// Whether a file begins with the first `most` bytes of another, or with all of it if that is shorter.
/// One that is not there does not.
pub(crate) fn begins_with(file: &Path, other: &Path, most: u64) -> Result<bool, BackupError> {
    let theirs = match regular(file) {
        Ok(theirs) => theirs,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(BackupError::disk("read", file)(error)),
    };
    let ours = regular(other).map_err(BackupError::disk("read", other))?;
    let (mut theirs, mut ours) = (BufReader::new(theirs), BufReader::new(ours.take(most)));
    let (mut one, mut two) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let filled = fill(&mut ours, &mut two).map_err(BackupError::disk("read", other))?;
        if filled == 0 {
            return Ok(true);
        }
        let read = fill(&mut theirs, &mut one[..filled]);
        let read = read.map_err(BackupError::disk("read", file))?;
        if one[..read] != two[..filled] {
            return Ok(false);
        }
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
