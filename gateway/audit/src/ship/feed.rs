//! The messages of a log from a cursor on, also while a gateway writes to it.
//!
//! What an earlier feed knew at the cursor is read again: the connections that lived there. A request
//! is told when it is settled, or after a while as it is known, so that a stream that lasts for hours
//! holds up nothing. A log that loses the end that was read (a loss that was accepted, a crash of a
//! machine that had not written all) may use its numbers again: the feed looks whether the last batch that
//! it read still stands, and else ends.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::cursor::{Cursor, CursorError, Marks};
use crate::event::{Id, Time};
use crate::export::{Exporter, Format, Source};
use crate::keeping::is_old;
use crate::opened::{Content, Walk, WalkError, Wrong};
use crate::read::{self, Position, Reader};
use crate::unseal::Unsealer;

/// So long a request is waited for until it is told as it is known.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The messages of a log.
#[derive(Debug)]
pub struct Feed {
    walk: Walk,
    exporter: Exporter,
    log: Option<String>,
    /// What lies before was sent.
    send_from: u64,
    /// The entry behind the last one that was taken.
    next: u64,
    directory: PathBuf,
    marks: Marks,
    /// The batch that was noted last.
    noted: Option<Position>,
    /// So often the last batch was missed.
    missed: u32,
}

/// So often the last batch is looked for: a writer whose write failed has it in the next segment soon.
const LOOKS: u32 = 20;

impl Feed {
    /// The messages of the log in `directory` from `cursor` on; without one from the entry `from` on, and
    /// of `source`.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(
        directory: &Path,
        unsealer: Unsealer,
        cursor: Option<&Cursor>,
        from: u64,
        source: &Source,
    ) -> io::Result<Feed> {
        let (read_from, send_from) = cursor.map_or((0, from), |it| (it.read_from, it.send_from));
        let known = cursor.map_or(source, |it| &it.source);
        let source = Source {
            host: source.host.clone(),
            ..known.clone()
        };
        let reader = match read_from {
            0 => Reader::new(directory),
            from => Reader::near(directory, from.saturating_add(1))?,
        };
        let mut walk = Walk::from(reader, unsealer);
        walk.pass_to(read_from);
        Ok(Feed {
            walk,
            exporter: Exporter::new(Format::Dicom, source),
            log: cursor.map(|it| it.log.clone()),
            send_from,
            next: read_from,
            directory: directory.to_owned(),
            marks: cursor.map(|it| it.marks.clone()).unwrap_or_default(),
            noted: None,
            missed: 0,
        })
    }

    /// What opens the entries, for another feed.
    #[must_use]
    pub fn into_unsealer(self) -> Unsealer {
        self.walk.into_unsealer()
    }

    /// Takes the next entry of the log, and adds to `out` the messages that are finished by it. Says
    /// whether there was one.
    ///
    /// # Errors
    /// [`FeedError`]. An entry that does not open stops the feed: what is left out here, nobody finds.
    pub fn step(&mut self, now: Time, out: &mut Vec<u8>) -> Result<bool, FeedError> {
        let Some(item) = self.walk.step().map_err(FeedError::Walk)? else {
            self.belongs()?;
            let entries = self.walk.sequence();
            if entries < self.send_from {
                return Err(FeedError::Cursor(CursorError::Ahead { entries }));
            }
            self.look_back()?;
            let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
            let before = Time(now.0.saturating_sub(patience));
            self.exporter.tell_older(before, out);
            return Ok(false);
        };
        let sequence = item.sequence;
        match item.content {
            Content::Entry(entry) if sequence < self.send_from => {
                self.exporter.recall(sequence, &entry);
            }
            // Nothing of it is to be told.
            Content::Closed(_) | Content::Wrong(_) if sequence < self.send_from => {}
            Content::Entry(entry) => {
                let is_asked = true;
                self.exporter.take(sequence, &entry, is_asked, out);
            }
            Content::Closed(_) => return Err(FeedError::Closed { sequence }),
            // Its time is over: nobody is told of it any more. A key that is gone early is not passed over.
            Content::Gone(header) if is_old(header.time, Time::from_system(SystemTime::now())) => {}
            Content::Gone(_) => return Err(FeedError::Closed { sequence }),
            Content::Wrong(wrong) => return Err(FeedError::Wrong { sequence, wrong }),
        }
        self.next = sequence + 1;
        self.belongs()?;
        if self.next > self.send_from {
            self.note();
        }
        Ok(true)
    }

    /// Adds the messages of whatever is open, as it is known.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.exporter.end(out);
    }

    /// Where to go on, once all messages up to now have been received. Nothing before it has come to what
    /// is to be sent.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        let log = self.log.clone().filter(|_| self.next >= self.send_from)?;
        let (read_from, send_from) = self.place();
        let mut marks = self.marks.clone();
        if let Some(batch) = self.walk.stand_hash() {
            marks.note(batch, read_from, send_from);
        }
        Some(Cursor {
            log,
            read_from,
            send_from,
            source: self.exporter.source().clone(),
            marks,
        })
    }

    /// The first entry that has to be read again, and the first that has to be sent, once all messages up
    /// to now have been received.
    fn place(&self) -> (u64, u64) {
        let send_from = self.exporter.untold_from().unwrap_or(self.next);
        let needs_from = self.exporter.needs_from().unwrap_or(self.next);
        (needs_from.min(send_from), send_from)
    }

    /// Notes each batch once, so that there are places to go back to between two cursors.
    fn note(&mut self) {
        if let Some(batch) = self.walk.stand_hash()
            && self.noted != Some(batch.0)
        {
            let (read_from, send_from) = self.place();
            self.marks.note(batch, read_from, send_from);
            self.noted = Some(batch.0);
        }
    }

    /// Whether what was read last still stands. Asked where the log ends: behind a loss it ends for ever.
    fn look_back(&mut self) -> Result<(), FeedError> {
        if let Some((at, hash)) = self.walk.stand_hash() {
            let found = read::hash_at(&self.directory, at);
            let found = found.map_err(|error| FeedError::Walk(WalkError::Read(error)))?;
            if found == Some(hash) {
                self.missed = 0;
            } else if self.missed < LOOKS {
                self.missed += 1;
            } else {
                return Err(FeedError::Gone);
            }
        }
        Ok(())
    }

    /// Whether the cursor is that of this log. Asked before anything that was read is sent.
    fn belongs(&mut self) -> Result<(), FeedError> {
        let Some(id) = self.walk.log() else {
            return Ok(());
        };
        match &self.log {
            Some(log) if *log != Id::new(id).to_string() => {
                let found = log.clone();
                Err(FeedError::Cursor(CursorError::OtherLog { found }))
            }
            Some(_) => Ok(()),
            None => {
                self.log = Some(Id::new(id).to_string());
                Ok(())
            }
        }
    }
}

/// Why a feed does not go on.
#[derive(Debug)]
pub enum FeedError {
    /// The log cannot be read.
    Walk(WalkError),
    /// An entry is sealed to others.
    Closed {
        /// Its number.
        sequence: u64,
    },
    /// An entry is none.
    Wrong {
        /// Its number.
        sequence: u64,
        /// Why.
        wrong: Wrong,
    },
    /// The cursor does not say where to go on.
    Cursor(CursorError),
    /// The log does not have any more what was read last.
    Gone,
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FeedError::Walk(error) => write!(f, "the log cannot be read further: {error}"),
            FeedError::Closed { sequence } => {
                write!(f, "entry {sequence} is sealed to readers with another key")
            }
            FeedError::Wrong { sequence, wrong } => write!(f, "entry {sequence}: {wrong}"),
            FeedError::Cursor(error) => write!(f, "the cursor {error}"),
            FeedError::Gone => f.write_str("the log does not have any more what was read last"),
        }
    }
}

impl std::error::Error for FeedError {}
