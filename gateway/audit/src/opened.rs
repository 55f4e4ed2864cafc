//! The entries of a log in order, opened for a reader: what `show`, reports, the index and exports read.
//!
//! Works on the log of a running gateway. What does not open, or is no entry, is handed out as that:
//! whoever reads decides what it means, and nothing is passed over in silence. One batch is in memory.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::digest::Hash;
use crate::entry::{self, EntryError};
use crate::event::{Entry, Time};
use crate::frame::{self, Fault};
use crate::read::{Position, Reader, Stand, Step};
use crate::seal::epoch::KeyId;
use crate::seal::opener::OpenError;
use crate::seal::sealed::{Header, Leaf};
use crate::seal::target::OpenedTarget;
use crate::select::{Facts, Filter, Names, SelectError};
use crate::unseal::{UnsealError, Unsealer};

/// A walk through the opened entries of a log.
#[derive(Debug)]
pub struct Walk {
    reader: Reader,
    unsealer: Unsealer,
    /// Whether the raw targets of requests are opened too.
    targets: bool,
    /// The batch, and how much of it was handed out.
    records: Vec<u8>,
    at: usize,
    /// The number of the next entry.
    sequence: u64,
    /// Entries before this one are passed over unopened.
    from: u64,
    /// The entry that is handed out.
    bytes: Vec<u8>,
}

/// What stands at a place of the log.
#[derive(Debug)]
pub struct Item<'a> {
    /// The number of the entry, from 0.
    pub sequence: u64,
    /// The key of the log that it is sealed under; none for what is in the clear.
    pub key: Option<KeyId>,
    /// What it is.
    pub content: Content<'a>,
    /// The raw target of its request, where targets are asked for and there is one, or why it does not
    /// open.
    pub target: Option<Result<OpenedTarget, OpenError>>,
}

/// An entry, or why it is none for this reader.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and nearly always an entry"
)]
pub enum Content<'a> {
    /// An entry.
    Entry(Entry<'a>),
    /// It is sealed to others; this stands in the clear.
    Closed(Box<Header>),
    /// It is sealed under a key that is gone; this stands in the clear. Nobody reads it any more.
    Gone(Box<Header>),
    /// It is not what an entry is.
    Wrong(Wrong),
}

/// What is wrong with an entry.
#[derive(Debug)]
pub enum Wrong {
    /// It does not open under its own key, or is no leaf.
    Unseal(UnsealError),
    /// It is no event.
    Entry(EntryError),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Unseal(error) => error.fmt(f),
            Wrong::Entry(error) => error.fmt(f),
        }
    }
}

/// Why a walk does not go on.
#[derive(Debug)]
pub enum WalkError {
    /// The operating system.
    Read(io::Error),
    /// What stands here cannot be passed.
    Stuck {
        /// Where.
        at: Position,
        /// Why.
        fault: Fault,
    },
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> WalkError {
        WalkError::Read(error)
    }
}

impl fmt::Display for WalkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalkError::Read(error) => error.fmt(f),
            WalkError::Stuck { at, fault } => write!(
                f,
                "what stands in segment {} at byte {} is {fault}",
                at.segment, at.offset
            ),
        }
    }
}

impl std::error::Error for WalkError {}

impl Walk {
    /// From the first entry of the log in `directory` on.
    #[must_use]
    pub fn new(directory: &Path, unsealer: Unsealer) -> Walk {
        Walk::from(Reader::new(directory), unsealer)
    }

    /// From where a reader stands.
    #[must_use]
    pub fn from(reader: Reader, unsealer: Unsealer) -> Walk {
        Walk {
            sequence: reader.sequence(),
            from: reader.sequence(),
            reader,
            unsealer,
            targets: false,
            records: Vec::new(),
            at: 0,
            bytes: Vec::new(),
        }
    }

    /// Opens the raw targets of requests too, which may name patients.
    #[must_use]
    pub fn with_targets(mut self, targets: bool) -> Walk {
        self.targets = targets;
        self
    }

    /// Goes on where a reader stands, with the entry `from`.
    pub fn stand(&mut self, reader: Reader, from: u64) {
        self.sequence = reader.sequence();
        (self.reader, self.from) = (reader, from);
        self.records.clear();
        self.at = 0;
    }

    /// Passes over the entries before `from` unopened.
    pub fn pass_to(&mut self, from: u64) {
        self.from = from;
    }

    /// The number of the next entry, passed over or not.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The batch that the last entry stands in.
    #[must_use]
    pub fn batch(&self) -> Option<Stand> {
        self.reader.last_batch()
    }

    /// Where that batch begins, and its hash, which covers all that came before.
    #[must_use]
    pub fn stand_hash(&self) -> Option<(Position, Hash)> {
        Some((self.reader.last_batch()?.at, self.reader.last_hash()?))
    }

    /// The id of the log, once an entry was handed out.
    #[must_use]
    pub fn log(&self) -> Option<[u8; 16]> {
        self.reader.log()
    }

    /// What opens the entries.
    #[must_use]
    pub fn unsealer(&self) -> &Unsealer {
        &self.unsealer
    }

    /// What opens the entries, for another walk.
    #[must_use]
    pub fn into_unsealer(self) -> Unsealer {
        self.unsealer
    }

    /// The next entry; `None` where the log ends for now. Stepping again looks again.
    ///
    /// # Errors
    /// [`WalkError`]; nothing behind it is handed out.
    pub fn step(&mut self) -> Result<Option<Item<'_>>, WalkError> {
        let (sequence, leaf) = loop {
            if self.at == self.records.len() {
                if !self.turn()? {
                    return Ok(None);
                }
                continue;
            }
            // A record is its length and the leaf; the batch was decoded, so both are there.
            let rest = self.records.len() - self.at;
            let bytes = frame::split(&self.records[self.at..])
                .next()
                .map_or(0, <[u8]>::len);
            let begin = self.at + (4 + bytes).min(rest) - bytes;
            self.at = begin + bytes;
            self.sequence += 1;
            if self.sequence > self.from {
                break (self.sequence - 1, &self.records[begin..self.at]);
            }
        };
        let key = match Leaf::parse(leaf) {
            Ok(Leaf::Sealed(sealed)) => Some(sealed.header.key),
            Ok(Leaf::Clear(_)) | Err(_) => None,
        };
        let content = match self.unsealer.unseal(leaf) {
            Ok(bytes) => {
                self.bytes.clear();
                self.bytes.extend_from_slice(&bytes);
                match entry::decode(&self.bytes) {
                    Ok(entry) => Content::Entry(entry),
                    Err(error) => Content::Wrong(Wrong::Entry(error)),
                }
            }
            Err(UnsealError::Sealed {
                header,
                error: OpenError::NoKey { .. },
            }) if self.unsealer.is_gone(header.key) => Content::Gone(header),
            Err(UnsealError::Sealed {
                header,
                error: OpenError::NoKey { .. },
            }) => Content::Closed(header),
            Err(error) => Content::Wrong(Wrong::Unseal(error)),
        };
        let target = match &content {
            Content::Entry(entry) if self.targets => self.unsealer.target(leaf, entry).transpose(),
            _ => None,
        };
        Ok(Some(Item {
            sequence,
            key,
            content,
            target,
        }))
    }

    /// The next batch. Says whether there is one.
    fn turn(&mut self) -> Result<bool, WalkError> {
        // On a live log the last batch can be seen half-written; one more look tells.
        for look in 0.. {
            match self.reader.step()? {
                Step::Segment(_) => {}
                Step::Batch {
                    sequence, records, ..
                } => {
                    (self.sequence, self.records, self.at) = (sequence, records, 0);
                    return Ok(true);
                }
                Step::End => return Ok(false),
                Step::Fault(fault) if look > LOOKS => {
                    let at = self.reader.position();
                    return Err(WalkError::Stuck { at, fault });
                }
                Step::Fault(_) => pause(),
            }
        }
        Ok(false)
    }
}

/// So often a place that cannot be passed is looked at again.
const LOOKS: u32 = 20;

/// Waits a moment for a log that is written to.
pub fn pause() {
    #[expect(
        clippy::disallowed_methods,
        reason = "programs that read a log wait for more; no worker runs here"
    )]
    std::thread::sleep(Duration::from_millis(100));
}

/// Finds every name that the log links with those of `filter`, wherever it says so, by reading it as
/// often as that takes: once, and again up to the last link that led on.
///
/// # Errors
/// [`LinkError`]; the filter is then not complete.
pub fn follow_links(
    directory: &Path,
    unsealer: Unsealer,
    filter: &mut Filter,
) -> Result<Unsealer, LinkError> {
    let Some(names) = filter.patients.as_mut().filter(|names| names.is_linked()) else {
        return Ok(unsealer);
    };
    let (mut unsealer, mut end) = (unsealer, u64::MAX);
    for _ in 0..ROUNDS {
        let mut walk = Walk::new(directory, unsealer);
        let mut led_on = None;
        while let Some(item) = walk.step()? {
            if item.sequence >= end {
                break;
            }
            if take_links(names, &item)? {
                led_on = Some(item.sequence);
            }
        }
        unsealer = walk.into_unsealer();
        match led_on {
            Some(at) => end = at,
            None => return Ok(unsealer),
        }
    }
    Err(LinkError::Names(SelectError::TooManyNames))
}

/// So often a log is read for links. Each time the names led on through a link that stands before.
const ROUNDS: usize = 64;

/// Takes in what an entry says of links. Says whether it led to new names.
///
/// # Errors
/// [`SelectError::TooManyNames`].
pub fn take_links(names: &mut Names, item: &Item<'_>) -> Result<bool, SelectError> {
    match &item.content {
        Content::Entry(entry) => match Facts::of(&entry.event).subjects {
            Some(subjects) => names.take_in(subjects),
            None => Ok(false),
        },
        Content::Closed(_) | Content::Gone(_) | Content::Wrong(_) => Ok(false),
    }
}

/// Why links cannot be followed.
#[derive(Debug)]
pub enum LinkError {
    /// The log cannot be read to its end.
    Walk(WalkError),
    /// They lead to too many names.
    Names(SelectError),
}

impl From<WalkError> for LinkError {
    fn from(error: WalkError) -> LinkError {
        LinkError::Walk(error)
    }
}

impl From<SelectError> for LinkError {
    fn from(error: SelectError) -> LinkError {
        LinkError::Names(error)
    }
}

impl Filter {
    /// Whether an item is asked for, as far as can be told.
    #[must_use]
    pub fn takes(&self, item: &Item<'_>) -> bool {
        match &item.content {
            Content::Entry(entry) => self.admits(entry),
            Content::Closed(header) | Content::Gone(header) => {
                self.may_admit(header.kind.0, header.time)
            }
            Content::Wrong(_) => true,
        }
    }
}

impl Item<'_> {
    /// When it happened, if that can be told.
    #[must_use]
    pub fn time(&self) -> Option<Time> {
        match &self.content {
            Content::Entry(entry) => Some(entry.time),
            Content::Closed(header) | Content::Gone(header) => Some(header.time),
            Content::Wrong(_) => None,
        }
    }
}
