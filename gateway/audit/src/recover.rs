//! Opening the log again after the writer ended, in order or not: find where it truly ends.
//!
//! Only the last segment is read here; the whole is `verify`'s work. What survives a crash: every
//! batch that was acknowledged. What may be left behind: one batch that was being written, whole or
//! torn, and a file that was being prepared. A whole batch counts, since it is in its place and
//! nothing says that it was not acknowledged. A torn one is moved to quarantine, never deleted.
//! Anything else, such as a good batch behind a bad one, is damage that no crash explains: the log
//! does not open (fail closed).

use crate::digest::Hash;
use crate::entry;
use crate::error::OpenError;
use crate::event::{Digest, Event, Recovered};
use crate::frame::{self, BLOCK, Fault, MAX_BATCH, Place, SegmentHeader};
use crate::storage::Storage;

/// The name under which the next segment is prepared.
pub(crate) const SPARE: &str = "spare";

/// Where the log ends, and so where it continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Which log.
    pub(crate) log: [u8; 16],
    /// Number of the last segment; 0 when there is none yet.
    pub(crate) segment: u64,
    /// Where the last whole batch of that segment ends, bytes.
    pub(crate) end: u64,
    /// Sequence number of the next entry.
    pub(crate) sequence: u64,
    /// Hash that the next batch or header names as the one before it.
    pub(crate) previous: Hash,
}

/// The file name of segment `number`.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:016}.seg")
}

/// The number of the segment with this file name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".seg")?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// Where the log ends, and what is to be cleaned up before it goes on.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Where it ends.
    pub(crate) tail: Tail,
    /// What the last segment begins with, when that is the acceptance of a loss: the first entry that is
    /// lost, the first that is not, and why.
    pub(crate) accepted: Option<(u64, u64, String)>,
    /// Files that were prepared and not used.
    leftovers: Vec<String>,
    /// How long the last segment is, bytes; 0 when there is none.
    length: u64,
    /// What stands behind its end; no longer than a batch.
    torn: Vec<u8>,
}

/// Finds the end of the log. Changes nothing: whatever else keeps the log from opening leaves it as it
/// is.
///
/// `fresh` is the id that the log gets if there is none yet.
pub(crate) fn survey(storage: &dyn Storage, fresh: [u8; 16]) -> Result<Survey, OpenError> {
    let mut numbers = Vec::new();
    let mut leftovers = Vec::new();
    let mut unfollowed = None;
    for name in storage.list().map_err(OpenError::disk("list"))? {
        match segment_number(&name) {
            Some(number) => numbers.push(number),
            None if is_leftover(&name) => leftovers.push(name),
            None if quarantined(&name) => {}
            None => match lost_origin(&name) {
                Some((behind, _)) => unfollowed = unfollowed.max(Some(behind)),
                None => return Err(OpenError::Stranger { name }),
            },
        }
    }
    numbers.sort_unstable();
    for (expected, &found) in (1..).zip(&numbers) {
        if expected != found {
            return Err(OpenError::Missing { segment: expected });
        }
    }
    // Segments were set aside, and the one in which the log goes on without them is not there: an
    // acceptance that a crash ended, or one that was taken back.
    let last = numbers.last().copied().unwrap_or(0);
    if let Some(behind) = unfollowed.filter(|behind| *behind >= last) {
        return Err(OpenError::Missing {
            segment: behind + 1,
        });
    }
    let mut survey = Survey {
        accepted: None,
        tail: Tail {
            log: fresh,
            segment: 0,
            end: 0,
            sequence: 0,
            previous: [0; 32],
        },
        leftovers,
        length: 0,
        torn: Vec::new(),
    };
    if let Some(&last) = numbers.last() {
        survey.last_segment(storage, last)?;
    }
    Ok(survey)
}

impl Survey {
    fn last_segment(&mut self, storage: &dyn Storage, number: u64) -> Result<(), OpenError> {
        let name = segment_name(number);
        self.length = storage.length(&name).map_err(OpenError::disk("read"))?;
        let mut window = Window {
            storage,
            name: &name,
            length: self.length,
            start: 0,
            bytes: Vec::new(),
        };
        let header = SegmentHeader::decode(window.at(0)?).map_err(|fault| OpenError::Damaged {
            segment: number,
            offset: 0,
            fault,
        })?;
        let tail = &mut self.tail;
        *tail = Tail {
            log: header.log,
            segment: number,
            end: BLOCK as u64,
            sequence: header.first_sequence,
            previous: header.hash(),
        };
        let fault = loop {
            let place = Place {
                segment: number,
                sequence: tail.sequence,
                previous: tail.previous,
            };
            match frame::decode_batch(window.at(tail.end)?, &place) {
                Ok(batch) => {
                    if tail.end == BLOCK as u64 {
                        self.accepted = loss_in(&batch);
                    }
                    tail.end += batch.bytes as u64;
                    tail.sequence += u64::from(batch.count);
                    tail.previous = batch.hash;
                }
                Err(fault) => break fault,
            }
        };
        self.torn = torn_tail(&mut window, tail.end, fault, number)?;
        Ok(())
    }

    /// Makes the end of the log clean: what was prepared but not used is removed, what was torn is set
    /// aside, what was reserved and not written is given back. Doing this twice, or dying in the middle
    /// and doing all again, has the same result.
    pub(crate) fn clean(&self, storage: &dyn Storage) -> Result<Option<Recovered>, OpenError> {
        for name in &self.leftovers {
            storage.remove(name).map_err(OpenError::disk("remove"))?;
        }
        let tail = &self.tail;
        if tail.segment == 0 {
            return Ok(None);
        }
        let set_aside = set_aside_name(tail.segment, tail.end);
        if !self.torn.is_empty() {
            storage
                .create(&set_aside, &self.torn)
                .map_err(OpenError::disk("write"))?;
        }
        // From here on the torn bytes exist twice; a crash now finds the quarantine file again below.
        if self.length != tail.end {
            storage
                .truncate(&segment_name(tail.segment), tail.end)
                .map_err(OpenError::disk("truncate"))?;
        }
        match storage.length(&set_aside) {
            Ok(bytes) => {
                let bytes_set_aside = read_all(storage, &set_aside, bytes)?;
                Ok(Some(Recovered {
                    segment: tail.segment,
                    offset: tail.end,
                    digest: Digest::of(&bytes_set_aside),
                    bytes,
                }))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::Disk {
                doing: "read",
                error,
            }),
        }
    }
}

/// What stands behind the last whole batch: nothing, or the remains of one batch. Whatever cannot be
/// the remains of one batch is damage.
fn torn_tail(
    window: &mut Window<'_>,
    end: u64,
    fault: Fault,
    segment: u64,
) -> Result<Vec<u8>, OpenError> {
    let mut torn_end = end;
    let mut at = end;
    while at < window.length {
        let bytes = window.at(at)?;
        if at != end
            && frame::decode_anywhere(bytes).is_ok_and(|(_, place)| place.segment == segment)
        {
            return Err(OpenError::Damaged {
                segment,
                offset: end,
                fault,
            });
        }
        let block = &bytes[..bytes.len().min(BLOCK)];
        if !frame::is_blank(block) {
            torn_end = at + block.len() as u64;
        }
        at += BLOCK as u64;
    }
    if torn_end - end > MAX_BATCH as u64 {
        return Err(OpenError::Damaged {
            segment,
            offset: end,
            fault,
        });
    }
    read_range(window.storage, window.name, end, torn_end - end)
}

fn is_leftover(name: &str) -> bool {
    name == SPARE
        || std::path::Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "new")
}

/// The name of the file in quarantine for what stood in a segment from `offset` on.
pub(crate) fn set_aside_name(segment: u64, offset: u64) -> String {
    format!("{segment:016}-{offset}.torn")
}

/// The segment and offset that a quarantine file was cut from.
pub(crate) fn quarantine_origin(name: &str) -> Option<(u64, u64)> {
    let (segment, offset) = name.strip_suffix(".torn")?.split_once('-')?;
    let origin = (segment.parse().ok()?, offset.parse().ok()?);
    (set_aside_name(origin.0, origin.1) == name).then_some(origin)
}

/// The name of a segment that was set aside whole, since it does not follow the segment `behind`.
pub(crate) fn lost_name(behind: u64, segment: u64) -> String {
    format!("{behind:016}-{segment:016}.lost")
}

/// The segment that a segment set aside does not follow, and its own number.
pub(crate) fn lost_origin(name: &str) -> Option<(u64, u64)> {
    let (behind, segment) = name.strip_suffix(".lost")?.split_once('-')?;
    let origin = (behind.parse().ok()?, segment.parse().ok()?);
    (lost_name(origin.0, origin.1) == name).then_some(origin)
}

/// What the first entry of a segment says of a loss that was accepted.
fn loss_in(batch: &frame::Batch<'_>) -> Option<(u64, u64, String)> {
    let entry = entry::decode(batch.entries().next()?).ok()?;
    match entry.event {
        Event::Discontinuity(loss) => Some((loss.from, loss.to, loss.reason.to_owned())),
        _ => None,
    }
}

fn quarantined(name: &str) -> bool {
    quarantine_origin(name).is_some()
}

fn read_all(storage: &dyn Storage, name: &str, bytes: u64) -> Result<Vec<u8>, OpenError> {
    read_range(storage, name, 0, bytes)
}

/// The caller has bounded `bytes` by the size of a batch.
fn read_range(
    storage: &dyn Storage,
    name: &str,
    offset: u64,
    bytes: u64,
) -> Result<Vec<u8>, OpenError> {
    let mut content = vec![0; usize::try_from(bytes).unwrap_or(0).min(2 * MAX_BATCH)];
    let filled = storage
        .read_at(name, offset, &mut content)
        .map_err(OpenError::disk("read"))?;
    content.truncate(filled);
    Ok(content)
}

/// A batch's worth of a file at a time. Twice as much is read at once, so that whoever goes through the
/// file in steps reads no byte of it more than twice.
struct Window<'a> {
    storage: &'a dyn Storage,
    name: &'a str,
    length: u64,
    /// Where what was read begins.
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// What stands at `offset`, up to the greatest length of a batch.
    fn at(&mut self, offset: u64) -> Result<&[u8], OpenError> {
        let end = self.start + self.bytes.len() as u64;
        let is_read = (self.start..=end).contains(&offset)
            && (end - offset >= MAX_BATCH as u64 || end >= self.length);
        if !is_read {
            self.bytes.resize(2 * MAX_BATCH, 0);
            let filled = self
                .storage
                .read_at(self.name, offset, &mut self.bytes)
                .map_err(OpenError::disk("read"))?;
            self.bytes.truncate(filled);
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(from..).unwrap_or_default();
        Ok(&bytes[..bytes.len().min(MAX_BATCH)])
    }
}
