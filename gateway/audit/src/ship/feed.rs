//! The messages of a log from a cursor on, also while a gateway writes to it.
//!
//! What an earlier feed knew at the cursor is read again: the connections that lived there. A request
//! is told when it is settled, or after a while as it is known, so that a stream that lasts for hours
//! holds up nothing.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::cursor::{Cursor, CursorError};
use crate::entry::{self, EntryError};
use crate::event::{Id, Time};
use crate::export::{Exporter, Format, Source};
use crate::frame::Fault;
use crate::read::{self, Position, Reader, Step};
use crate::unseal::{UnsealError, Unsealer};

/// So long a request is waited for until it is told as it is known.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// So often a place that cannot be passed is looked at again.
const LOOKS: u32 = 20;

/// The messages of a log.
#[derive(Debug)]
pub struct Feed {
    reader: Reader,
    unsealer: Unsealer,
    exporter: Exporter,
    log: Option<String>,
    /// What lies before was sent.
    send_from: u64,
    /// The entry behind the last one that was taken.
    next: u64,
    /// How often the place was looked at that cannot be passed.
    looks: u32,
}

impl Feed {
    /// The messages of the log in `directory` from `cursor` on, or from its start, and then of `source`.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(
        directory: &Path,
        unsealer: Unsealer,
        cursor: Option<&Cursor>,
        source: &Source,
    ) -> io::Result<Feed> {
        let (read_from, send_from) = cursor.map_or((0, 0), |it| (it.read_from, it.send_from));
        let known = cursor.map_or(source, |it| &it.source);
        let source = Source {
            host: source.host.clone(),
            ..known.clone()
        };
        let reader = match read_from {
            0 => Reader::new(directory),
            from => Reader::near(directory, from.saturating_add(1))?,
        };
        Ok(Feed {
            reader,
            unsealer,
            exporter: Exporter::new(Format::Dicom, source),
            log: cursor.map(|it| it.log.clone()),
            send_from,
            next: read_from,
            looks: 0,
        })
    }

    /// What opens the entries, for another feed.
    #[must_use]
    pub fn into_unsealer(self) -> Unsealer {
        self.unsealer
    }

    /// Takes the next batch of the log, and adds to `out` the messages that are finished by it.
    ///
    /// # Errors
    /// [`FeedError`]. An entry that does not open stops the feed: what is left out here, nobody finds.
    pub fn step(&mut self, now: Time, out: &mut Vec<u8>) -> Result<Stand, FeedError> {
        match self.reader.step().map_err(FeedError::Read)? {
            Step::Segment(header) => {
                self.belongs(header.log)?;
                Ok(Stand::Went)
            }
            Step::Batch {
                sequence, records, ..
            } => {
                self.looks = 0;
                for (sequence, leaf) in read::entries(sequence, &records) {
                    self.take(sequence, leaf, out)?;
                }
                Ok(Stand::Went)
            }
            Step::End => {
                let entries = self.reader.sequence();
                if entries < self.send_from {
                    return Err(FeedError::Cursor(CursorError::Ahead { entries }));
                }
                let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
                let before = Time(now.0.saturating_sub(patience));
                self.exporter.tell_older(before, out);
                Ok(Stand::AtEnd)
            }
            Step::Fault(fault) if self.looks >= LOOKS => {
                let at = self.reader.position();
                Err(FeedError::Stuck { at, fault })
            }
            // On a live log the last batch can be seen half-written; one more look tells.
            Step::Fault(_) => {
                self.looks += 1;
                Ok(Stand::Unclear)
            }
        }
    }

    /// Adds the messages of whatever is open, as it is known.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.exporter.end(out);
    }

    /// Where to go on, once all messages up to now have been received. Nothing before the log was seen.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        let log = self.log.clone()?;
        let send_from = self.exporter.untold_from().unwrap_or(self.next);
        Some(Cursor {
            log,
            read_from: self
                .exporter
                .needs_from()
                .unwrap_or(self.next)
                .min(send_from),
            send_from,
            source: self.exporter.source().clone(),
        })
    }

    fn belongs(&mut self, id: [u8; 16]) -> Result<(), FeedError> {
        let id_in_hex = Id::new(id).to_string();
        match &self.log {
            Some(log) if *log != id_in_hex => Err(FeedError::Cursor(CursorError::OtherLog {
                found: log.clone(),
            })),
            Some(_) => Ok(()),
            None => {
                self.log = Some(id_in_hex);
                Ok(())
            }
        }
    }

    fn take(&mut self, sequence: u64, leaf: &[u8], out: &mut Vec<u8>) -> Result<(), FeedError> {
        if sequence < self.next {
            return Ok(());
        }
        let unopened = |error| FeedError::Unopened { sequence, error };
        let bytes = self.unsealer.unseal(leaf).map_err(unopened)?;
        let entry = entry::decode(&bytes).map_err(|error| FeedError::Entry { sequence, error })?;
        if sequence < self.send_from {
            self.exporter.recall(sequence, &entry);
        } else {
            let is_asked = true;
            self.exporter.take(sequence, &entry, is_asked, out);
        }
        self.next = sequence + 1;
        Ok(())
    }
}

/// Where a feed stands after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// Further on.
    Went,
    /// At the end of the log, for now.
    AtEnd,
    /// Before something that may be half-written.
    Unclear,
}

/// Why a feed does not go on.
#[derive(Debug)]
pub enum FeedError {
    /// The operating system.
    Read(io::Error),
    /// What stands here cannot be passed.
    Stuck {
        /// Where.
        at: Position,
        /// Why.
        fault: Fault,
    },
    /// An entry does not open.
    Unopened {
        /// Its number.
        sequence: u64,
        /// Why.
        error: UnsealError,
    },
    /// An entry is no event.
    Entry {
        /// Its number.
        sequence: u64,
        /// Why.
        error: EntryError,
    },
    /// The cursor does not say where to go on.
    Cursor(CursorError),
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FeedError::Read(error) => write!(f, "the log cannot be read: {error}"),
            FeedError::Stuck { at, fault } => write!(
                f,
                "the log cannot be read further: what stands in segment {} at byte {} is {fault}",
                at.segment, at.offset
            ),
            FeedError::Unopened { sequence, error } => write!(f, "entry {sequence}: {error}"),
            FeedError::Entry { sequence, error } => write!(f, "entry {sequence}: {error}"),
            FeedError::Cursor(error) => write!(f, "the cursor {error}"),
        }
    }
}

impl std::error::Error for FeedError {}
