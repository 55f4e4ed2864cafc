//! What witnesses cosigned, kept beside the log as evidence: for each witness every checkpoint that it
//! cosigned, in order.
//!
//! ```text
//! witnessed/<id of the witness's key>/<UTC day> = (note  empty line) ...
//! note = a checkpoint of the history, with the cosignature behind the log's signature
//! ```
//!
//! Files are only ever appended to, sizes rise, and records are those of [`history`]. What survives a
//! crash here: whole records; one that was being appended is dropped by the next start, and the
//! checkpoint behind it is cosigned again.

use std::io;

use super::history;
use super::resume::{NoTail, Tail};
use super::store::Writer;
use crate::event::Time;
use crate::files::Files;
use crate::merkle::checkpoint::Checkpoint;
use crate::merkle::key::KeyId;
use crate::merkle::note::Note;

/// The directory of all witnesses, in the log's.
pub(crate) const WITNESSED: &str = "witnessed";

/// No log has more witnesses than this, those of the past included.
pub(crate) const MAX_WITNESSES: usize = 256;

/// Whether a directory of this name can be a witness's.
pub(crate) fn is_witness(name: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.len() == 8 && name.bytes().all(is_digit)
}

/// Where the evidence of one witness ends.
#[derive(Debug)]
pub struct Witnessed {
    folder: String,
    writer: Writer,
    /// The file that was written to last; empty when there is none.
    day: String,
    /// Where it ends, bytes.
    end: u64,
    /// The size that the last record is about; nothing when there is none.
    size: Option<u64>,
    /// Whether something may stand behind the end.
    dirty: bool,
}

impl Witnessed {
    /// Drops what a crash left torn at the end of the evidence, of every witness that there was.
    ///
    /// # Errors
    /// What the operating system says; evidence that is not as it was left is an error too.
    pub fn mend(files: &dyn Files) -> io::Result<()> {
        for name in files.list(WITNESSED)?.unwrap_or_default() {
            // What does not belong there is for `verify` to name.
            if is_witness(&name) {
                Witnessed::of(files, format!("{WITNESSED}/{name}"))?;
            }
        }
        Ok(())
    }

    /// Takes up the evidence of the witness with this key.
    ///
    /// # Errors
    /// What the operating system says; evidence that is not as it was left is an error too.
    pub fn open(files: &dyn Files, witness: KeyId) -> io::Result<Witnessed> {
        Witnessed::of(files, format!("{WITNESSED}/{witness}"))
    }

    fn of(files: &dyn Files, folder: String) -> io::Result<Witnessed> {
        let mut days = files.list(&folder)?.unwrap_or_default();
        days.retain(|name| history::is_day(name));
        days.sort_unstable();
        let mut found = Witnessed {
            folder,
            writer: Writer::default(),
            day: days.last().cloned().unwrap_or_default(),
            end: 0,
            size: None,
            dirty: false,
        };
        for (from_last, day) in days.iter().rev().enumerate() {
            let path = format!("{}/{day}", found.folder);
            let wrong = || {
                let why = format!("{path} is not as it was left");
                io::Error::new(io::ErrorKind::InvalidData, why)
            };
            let tail = Tail::read(files, &path)?.map_err(|NoTail| wrong())?;
            if from_last == 0 {
                found.end = tail.end;
            }
            if tail.is_torn {
                if from_last > 0 {
                    return Err(wrong());
                }
                files.cut(&path, tail.end)?;
                files.sync(&path)?;
            }
            if let Some(note) = tail.last {
                found.size = size_of(&note);
                break;
            }
        }
        Ok(found)
    }

    /// The size that this witness cosigned last; nothing when there is no record of it.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Keeps a cosigned checkpoint: durable when it returns. One that is not larger than the last one
    /// says nothing new, and is not kept.
    ///
    /// # Errors
    /// What the operating system says; the same can be tried again.
    pub fn keep(&mut self, files: &dyn Files, note: &Note, now: Time) -> io::Result<()> {
        let note = note.to_string();
        let size = size_of(note.as_bytes());
        let record = history::record(&note);
        if size <= self.size || record.len() > history::MAX_RECORD {
            return Ok(());
        }
        let before = format!("{}/{}", self.folder, self.day);
        if std::mem::replace(&mut self.dirty, true) && !self.day.is_empty() {
            // Else a crash could leave a mixture of the last attempt and this one.
            files.write_at(&before, self.end, &[])?;
            files.cut(&before, self.end)?;
            files.sync(&before)?;
        }
        // A clock that was set back begins no new day: names are in the order of what they hold.
        let today = history::day(now);
        if today > self.day {
            (self.day, self.end) = (today, 0);
        }
        let path = format!("{}/{}", self.folder, self.day);
        self.writer.make_directory(files, &self.folder)?;
        files.write_at(&path, self.end, &record)?;
        files.sync(&path)?;
        if self.end == 0 {
            self.writer.touch(&path);
        }
        self.writer.settle(files)?;
        self.dirty = false;
        self.end += record.len() as u64;
        self.size = size;
        Ok(())
    }
}

/// How many entries a note claims to be about.
pub(crate) fn size_of(note: &[u8]) -> Option<u64> {
    let note = Note::parse(note).ok()?;
    Some(Checkpoint::parse(note.text()).ok()?.head().size)
}
