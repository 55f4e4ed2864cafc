//! Reading the log in order, also while a gateway writes to it.
//!
//! The reader checks what it passes (hashes, links, order) and stops where that fails; what the
//! failure means is for `verify` to say. It holds one batch in memory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::{self, Hash};
use crate::entry;
use crate::event::Event;
use crate::frame::{self, BLOCK, Fault, MAX_BATCH, Place, SegmentHeader};
use crate::recover::{segment_name, segment_number};
use crate::storage;

/// What a reader comes upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A segment begins.
    Segment(SegmentHeader),
    /// A batch: the records of `count` entries from `sequence` on.
    Batch {
        /// Sequence number of its first entry.
        sequence: u64,
        /// Records, each with its length before it.
        records: Vec<u8>,
        /// How many.
        count: u32,
    },
    /// Nothing more is written yet. Stepping again looks again.
    End,
    /// What stands here cannot be passed. Stepping again looks again.
    Fault(Fault),
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Number of the segment.
    pub segment: u64,
    /// Bytes from its start.
    pub offset: u64,
}

/// Where a batch stands, and what it continues: enough to come back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// Where it begins.
    pub at: Position,
    /// Sequence number of its first entry.
    pub sequence: u64,
    /// What it is linked to.
    pub previous: Hash,
}

/// A walk through the log of a directory. Over entries whose loss was accepted it goes on with the next
/// that is there.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    at: Position,
    file: Option<File>,
    /// Where the segment ends, once its successor says so: what lies behind was never acknowledged.
    end: Option<u64>,
    /// What the next batch or header must continue.
    next: Place,
    /// The last batch that was handed out.
    last: Option<HandedOut>,
    /// Set when the last batch turned out to lie behind the end of its segment: the same records, if
    /// they follow, are not handed out again. Their first sequence number, and their digest.
    again: Option<(u64, Hash)>,
    log: Option<[u8; 16]>,
    window: Vec<u8>,
}

/// A batch that was handed out.
#[derive(Debug, Clone, Copy)]
struct HandedOut {
    offset: u64,
    place: Place,
    hash: Hash,
}

impl Reader {
    /// A reader at the start of the log in `directory`.
    #[must_use]
    pub fn new(directory: &Path) -> Reader {
        Reader {
            directory: directory.join("wal"),
            at: Position {
                segment: 1,
                offset: 0,
            },
            file: None,
            end: None,
            next: Place {
                segment: 1,
                sequence: 0,
                previous: [0; 32],
            },
            last: None,
            again: None,
            log: None,
            window: Vec::new(),
        }
    }

    /// A reader at the start of the segment in which the entry before `sequence` stands, so that
    /// the entries before that segment need not be read. What links it to them is not checked.
    ///
    /// # Errors
    /// What the operating system says; [`io::ErrorKind::InvalidData`] when a segment on the way has
    /// no header.
    pub fn near(directory: &Path, sequence: u64) -> io::Result<Reader> {
        let mut reader = Reader::new(directory);
        let (segments, _) = inventory(directory)?;
        let (mut low, mut high) = (0, segments.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let number = segments[middle];
            let Some((_, Ok(header))) = reader.header(number)? else {
                let message = format!("segment {number} has no header");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            };
            if number == 1 || header.first_sequence < sequence {
                low = middle + 1;
                reader.at.segment = number;
                reader.next = Place {
                    segment: number,
                    sequence: header.first_sequence,
                    previous: header.previous,
                };
            } else {
                high = middle;
            }
        }
        Ok(reader)
    }

    /// A reader at a batch that another one came upon; nothing when there can be none. What stands
    /// there is checked by the next step.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn at(directory: &Path, stand: &Stand) -> io::Result<Option<Reader>> {
        let mut reader = Reader::new(directory);
        let number = stand.at.segment;
        let Some((file, Ok(header))) = reader.header(number)? else {
            return Ok(None);
        };
        if header.number != number || stand.at.offset < BLOCK as u64 {
            return Ok(None);
        }
        (reader.file, reader.log, reader.at) = (Some(file), Some(header.log), stand.at);
        reader.next = Place {
            segment: number,
            sequence: stand.sequence,
            previous: stand.previous,
        };
        reader.look_ahead()?;
        let lies_behind = reader.end.is_some_and(|end| stand.at.offset > end);
        Ok((!lies_behind).then_some(reader))
    }

    /// The batch that was handed out last.
    #[must_use]
    pub fn last_batch(&self) -> Option<Stand> {
        self.last.map(|last| Stand {
            at: Position {
                segment: last.place.segment,
                offset: last.offset,
            },
            sequence: last.place.sequence,
            previous: last.place.previous,
        })
    }

    /// The hash of that batch. It covers all that came before.
    #[must_use]
    pub fn last_hash(&self) -> Option<Hash> {
        self.last.map(|last| last.hash)
    }

    /// The id of the log, once a segment was entered.
    #[must_use]
    pub fn log(&self) -> Option<[u8; 16]> {
        self.log
    }

    /// Learns where the segment ends in which the reader stands, if it has got a successor since.
    /// Then no batch is handed out whose write failed, if it was written again in the successor.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn look_ahead(&mut self) -> io::Result<()> {
        if self.at.offset > 0
            && self.end.is_none()
            && let Some((_, Ok(successor))) = self.header(self.at.segment + 1)?
        {
            self.end = Some(successor.previous_end);
        }
        Ok(())
    }

    /// A reader at the same place, with a descriptor of its own.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn try_clone(&self) -> io::Result<Reader> {
        Ok(Reader {
            directory: self.directory.clone(),
            at: self.at,
            file: self.file.as_ref().map(File::try_clone).transpose()?,
            end: self.end,
            next: self.next,
            last: self.last,
            again: self.again,
            log: self.log,
            window: Vec::new(),
        })
    }

    /// Where the next step looks.
    #[must_use]
    pub fn position(&self) -> Position {
        self.at
    }

    /// The sequence number of the next entry.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.next.sequence
    }

    /// Goes one step further.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn step(&mut self) -> io::Result<Step> {
        if self.at.offset == 0 {
            return self.enter();
        }
        loop {
            // What its successor says decides where a segment ends; a batch that lies behind is the
            // remains of a write that failed, however whole it looks.
            if self.end == Some(self.at.offset) {
                return self.cross(Fault::Blank);
            }
            let step = match self.batch()? {
                Ok(step) => step,
                // The writer may have gone on in the next segment while we stood here.
                Err(fault) => return self.cross(fault),
            };
            match (self.again.take(), &step) {
                (
                    Some(again),
                    Step::Batch {
                        sequence, records, ..
                    },
                ) if again == (*sequence, digest::sha256(&[records])) => {}
                _ => return Ok(step),
            }
        }
    }

    fn enter(&mut self) -> io::Result<Step> {
        let Some((file, header)) = self.header(self.at.segment)? else {
            return Ok(Step::End);
        };
        let header = match header {
            Ok(header) => header,
            Err(Fault::Blank) => return Ok(Step::End),
            Err(fault) => return Ok(Step::Fault(fault)),
        };
        if let Some(fault) = self.misfit(&header)
            && !(header.previous == self.next.previous
                && accepts_loss(&file, &header, self.next.sequence, fault)?)
        {
            return Ok(Step::Fault(fault));
        }
        self.log = Some(header.log);
        self.file = Some(file);
        self.at.offset = BLOCK as u64;
        self.next = Place {
            segment: header.number,
            sequence: header.first_sequence,
            previous: header.hash(),
        };
        self.end = match self.header(header.number + 1)? {
            Some((_, Ok(successor))) => Some(successor.previous_end),
            Some((_, Err(_))) | None => None,
        };
        Ok(Step::Segment(header))
    }

    fn misfit(&self, header: &SegmentHeader) -> Option<Fault> {
        if header.number != self.at.segment || self.log.is_some_and(|log| log != header.log) {
            Some(Fault::Segment {
                found: header.number,
            })
        } else if header.first_sequence != self.next.sequence {
            Some(Fault::Sequence {
                found: header.first_sequence,
            })
        } else if header.previous != self.next.previous {
            Some(Fault::Link)
        } else {
            None
        }
    }

    fn batch(&mut self) -> io::Result<Result<Step, Fault>> {
        let Some(file) = &self.file else {
            return Ok(Err(Fault::Short));
        };
        let bytes = read_batch(file, self.at.offset, &mut self.window)?;
        match frame::decode_batch(bytes, &self.next) {
            Ok(batch) => {
                self.last = Some(HandedOut {
                    offset: self.at.offset,
                    place: self.next,
                    hash: batch.hash,
                });
                let step = Step::Batch {
                    sequence: self.next.sequence,
                    records: batch.records.to_vec(),
                    count: batch.count,
                };
                self.at.offset += batch.bytes as u64;
                self.next.sequence += u64::from(batch.count);
                self.next.previous = batch.hash;
                Ok(Ok(step))
            }
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// The digest of the records of a batch of this segment that was handed out, if it still stands there.
    fn handed_out(&mut self, last: &HandedOut) -> io::Result<Option<Hash>> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let bytes = read_batch(file, last.offset, &mut self.window)?;
        let batch = frame::decode_batch(bytes, &last.place);
        Ok(batch.ok().map(|batch| digest::sha256(&[batch.records])))
    }

    /// Moves to the next segment if there is one that continues exactly here.
    fn cross(&mut self, fault: Fault) -> io::Result<Step> {
        let stuck = if fault == Fault::Blank {
            Step::End
        } else {
            Step::Fault(fault)
        };
        let Some((_, Ok(header))) = self.header(self.at.segment + 1)? else {
            return Ok(stuck);
        };
        if header.previous_end != self.at.offset {
            // A batch was handed out before anybody could know that its write had failed.
            match self.last {
                Some(last)
                    if header.previous_failed
                        && last.offset == header.previous_end
                        && last.place.segment == self.at.segment =>
                {
                    let Some(records) = self.handed_out(&last)? else {
                        return Ok(stuck);
                    };
                    self.next = last.place;
                    self.again = Some((last.place.sequence, records));
                }
                Some(_) | None => return Ok(stuck),
            }
        }
        self.at = Position {
            segment: self.at.segment + 1,
            offset: 0,
        };
        self.file = None;
        self.enter()
    }

    fn header(&self, number: u64) -> io::Result<Option<(File, Result<SegmentHeader, Fault>)>> {
        let file = match storage::regular(&self.directory.join(segment_name(number))) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut block = [0; BLOCK];
        let filled = storage::read_at(&file, 0, &mut block)?;
        Ok(Some((file, SegmentHeader::decode(&block[..filled]))))
    }
}

/// What may be a batch, from where it begins on.
fn read_batch<'a>(file: &File, offset: u64, window: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    // One block tells how long the batch is.
    let mut filled = read_window(file, offset, window, BLOCK)?;
    if let Some(whole) = frame::extent(&window[..filled])
        && whole > BLOCK
    {
        filled = read_window(file, offset, window, whole)?;
    }
    Ok(&window[..filled])
}

fn read_window(file: &File, offset: u64, window: &mut Vec<u8>, bytes: usize) -> io::Result<usize> {
    if window.len() < bytes {
        window.resize(bytes, 0);
    }
    storage::read_at(file, offset, &mut window[..bytes])
}

/// The hash of the batch that begins at a place of the log, which covers all that came before it;
/// nothing when none does, or when it lies behind the end of its segment and so is no part of the log.
///
/// # Errors
/// What the operating system says.
pub fn hash_at(directory: &Path, at: Position) -> io::Result<Option<Hash>> {
    let reader = Reader::new(directory);
    let Some((file, Ok(_))) = reader.header(at.segment)? else {
        return Ok(None);
    };
    if let Some((_, Ok(successor))) = reader.header(at.segment.saturating_add(1))?
        && at.offset >= successor.previous_end
    {
        return Ok(None);
    }
    let mut window = Vec::new();
    let found = frame::decode_anywhere(read_batch(&file, at.offset, &mut window)?);
    Ok(found
        .ok()
        .filter(|(_, place)| place.segment == at.segment)
        .map(|(batch, _)| batch.hash))
}

/// Whether what keeps the segment from following is a gap, and the segment begins with the entry that
/// says that everything from `expected` up to there is lost, and that the log goes on all the same. A
/// gap without one is no part of a log.
fn accepts_loss(
    file: &File,
    header: &SegmentHeader,
    expected: u64,
    fault: Fault,
) -> io::Result<bool> {
    if !matches!(fault, Fault::Sequence { found } if found > expected) {
        return Ok(false);
    }
    Ok(loss_before(file, header)? == Some((expected, header.first_sequence)))
}

/// What the first entry of a segment says of a loss before it: the first entry that is lost, and the
/// first that is not.
fn loss_before(file: &File, header: &SegmentHeader) -> io::Result<Option<(u64, u64)>> {
    let mut window = vec![0; MAX_BATCH];
    let filled = storage::read_at(file, BLOCK as u64, &mut window)?;
    let place = Place {
        segment: header.number,
        sequence: header.first_sequence,
        previous: header.hash(),
    };
    let Ok(batch) = frame::decode_batch(&window[..filled], &place) else {
        return Ok(None);
    };
    let first = frame::split(batch.records).next();
    let entry = first.and_then(|bytes| entry::decode(bytes).ok());
    Ok(entry.and_then(|entry| match entry.event {
        Event::Discontinuity(loss) => Some((loss.from, loss.to)),
        _ => None,
    }))
}

/// How many losses were accepted in the log of `directory`. Reads the beginning of each segment.
///
/// # Errors
/// What the operating system says.
pub fn losses(directory: &Path) -> io::Result<u64> {
    let reader = Reader::new(directory);
    let mut losses = 0;
    for number in inventory(directory)?.0 {
        if let Some((file, Ok(header))) = reader.header(number)? {
            losses += u64::from(loss_before(&file, &header)?.is_some());
        }
    }
    Ok(losses)
}

/// The bytes of the entry `sequence`, as they stand in its record; nothing when it cannot be reached
/// from the start of its segment.
///
/// # Errors
/// What the operating system says.
pub fn entry_at(directory: &Path, sequence: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(behind) = sequence.checked_add(1) else {
        return Ok(None);
    };
    let mut reader = Reader::near(directory, behind)?;
    while reader.sequence() <= sequence {
        match reader.step()? {
            Step::Segment(_) => {}
            Step::Batch {
                sequence: first,
                records,
                ..
            } => {
                let mut entries = entries(first, &records);
                if let Some((_, entry)) = entries.find(|(number, _)| *number == sequence) {
                    return Ok(Some(entry.to_vec()));
                }
            }
            Step::End | Step::Fault(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// The entries in `records`, each with its sequence number.
pub fn entries(sequence: u64, records: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    (sequence..).zip(frame::split(records))
}

/// The numbers of the segments in the log's directory, in order, and the names of all other files.
///
/// # Errors
/// What the operating system says.
pub(crate) fn inventory(directory: &Path) -> io::Result<(Vec<u64>, Vec<String>)> {
    let mut segments = Vec::new();
    let mut others = Vec::new();
    for name in storage::list(&directory.join("wal"))? {
        match segment_number(&name) {
            Some(number) => segments.push(number),
            None => others.push(name),
        }
    }
    segments.sort_unstable();
    Ok((segments, others))
}
