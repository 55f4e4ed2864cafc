//! The segment files that batches go to: the live one, and the next one that is prepared ahead.
//!
//! Segments are zeroed before they are used, so that a full disk shows while there is still a whole
//! segment to write to, and so that a batch costs one write and one sync of data. A segment gets its
//! name only after its header is durable; a segment on which a write failed is never touched again.
//!
//! A program that opens the log for a few entries at a time goes on in the last segment instead, as long as
//! there is room and nothing was torn there ([`Segments::go_on`]): thousands of such runs are not thousands
//! of files. Its segments grow as they are written to, and none is prepared ahead.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::frame::{self, BATCH_OVERHEAD, BLOCK, MAX_BATCH, Place, RECORD_OVERHEAD, SegmentHeader};
use crate::recover::{SPARE, Tail, segment_name};
use crate::storage::{Segment, Storage};

/// What one batch took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Records in it.
    pub(crate) count: u32,
    /// Bytes of these records.
    pub(crate) records_bytes: usize,
    /// Bytes of the batch on disk.
    pub(crate) disk_bytes: u64,
}

/// Why a batch was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The disk refused.
    Disk(io::Error),
    /// The live segment was removed or replaced.
    Gone,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Disk(error) => error.fmt(f),
            WriteError::Gone => f.write_str("the live segment was removed or replaced"),
        }
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> WriteError {
        WriteError::Disk(error)
    }
}

/// The files, and the position in them.
pub(crate) struct Segments {
    storage: Arc<dyn Storage>,
    segment_bytes: u64,
    /// Whether segments are zeroed, and the next one is prepared, ahead.
    is_ahead: bool,
    tail: Tail,
    /// `None` after a write to it failed.
    live: Option<Box<dyn Segment>>,
    /// Whether a write to the last segment failed.
    failed: bool,
    /// The thread that zeroes the next segment.
    spare: Option<JoinHandle<io::Result<Box<dyn Segment>>>>,
    /// The segment whose naming failed, and which may have got its name all the same.
    half_named: Option<u64>,
    batch: Vec<u8>,
}

impl Segments {
    /// Continues at `tail` with a fresh segment.
    pub(crate) fn begin(
        storage: Arc<dyn Storage>,
        segment_bytes: u64,
        tail: &Tail,
    ) -> Result<Segments, WriteError> {
        let mut segments = Segments::at(storage, segment_bytes, tail);
        segments.is_ahead = true;
        segments.renew()?;
        Ok(segments)
    }

    /// Continues at `tail` in the segment that it is in, which `recover` left whole: no remains of a
    /// write are there or were set aside. With a fresh one where there is none yet.
    pub(crate) fn go_on(
        storage: Arc<dyn Storage>,
        segment_bytes: u64,
        tail: &Tail,
    ) -> Result<Segments, WriteError> {
        let mut segments = Segments::at(storage, segment_bytes, tail);
        if tail.segment == 0 || tail.end >= segments.segment_bytes {
            segments.renew()?;
        } else {
            let name = segment_name(tail.segment);
            segments.live = Some(segments.storage.open(&name)?);
        }
        Ok(segments)
    }

    fn at(storage: Arc<dyn Storage>, segment_bytes: u64, tail: &Tail) -> Segments {
        let least = (BLOCK + MAX_BATCH) as u64;
        Segments {
            storage,
            segment_bytes: segment_bytes.max(least).next_multiple_of(BLOCK as u64),
            is_ahead: false,
            tail: tail.clone(),
            live: None,
            failed: false,
            spare: None,
            half_named: None,
            batch: Vec::with_capacity(MAX_BATCH),
        }
    }

    /// Writes as many of `records` (each with its length before it) as one batch holds. Durable when
    /// it returns. A write that fails is tried once more, in a fresh segment.
    pub(crate) fn append(&mut self, records: &[u8]) -> Result<Written, WriteError> {
        let (count, bytes) = fitting(records);
        let padded = (bytes + BATCH_OVERHEAD).next_multiple_of(BLOCK) as u64;
        if self.live.is_none() || self.tail.end + padded > self.segment_bytes {
            self.renew()?;
        }
        if self.write(count, &records[..bytes]).is_err() {
            self.renew()?;
            self.write(count, &records[..bytes])?;
        }
        Ok(Written {
            count,
            records_bytes: bytes,
            disk_bytes: padded,
        })
    }

    /// Gives up the live segment for a fresh one.
    ///
    /// The order matters for a crash in between: the header is durable before the segment has its
    /// name, and a spare without a name is removed at the next start.
    pub(crate) fn renew(&mut self) -> Result<(), WriteError> {
        self.live = None;
        let header = SegmentHeader {
            log: self.tail.log,
            number: self.tail.segment + 1,
            first_sequence: self.tail.sequence,
            previous: self.tail.previous,
            previous_end: self.tail.end,
            previous_failed: self.failed,
        };
        let name = segment_name(header.number);
        if self.half_named.take() == Some(header.number) && self.storage.list()?.contains(&name) {
            self.storage.remove(&name)?;
        }
        let mut spare = self.take_spare()?;
        spare.write_at(&header.encode(), 0)?;
        self.half_named = Some(header.number);
        self.storage.rename(spare.as_mut(), SPARE, &name)?;
        self.live = Some(spare);
        self.half_named = None;
        self.failed = false;
        self.tail = Tail {
            segment: header.number,
            end: BLOCK as u64,
            previous: header.hash(),
            ..self.tail.clone()
        };
        self.prepare_spare();
        Ok(())
    }

    /// Whether the live segment is still the file that its name leads to.
    pub(crate) fn check(&self) -> Result<(), WriteError> {
        match &self.live {
            Some(live) if !live.is_in_place()? => Err(WriteError::Gone),
            _ => Ok(()),
        }
    }

    /// Bytes free for the log.
    pub(crate) fn free(&self) -> io::Result<u64> {
        self.storage.free()
    }

    /// Gives back what was reserved and not written, so that the directory holds evidence only.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if let Some(spare) = self.spare.take() {
            let _ = spare.join();
        }
        if self.storage.list()?.iter().any(|name| name == SPARE) {
            self.storage.remove(SPARE)?;
        }
        self.live = None;
        self.storage
            .truncate(&segment_name(self.tail.segment), self.tail.end)
    }

    fn write(&mut self, count: u32, records: &[u8]) -> Result<(), WriteError> {
        let place = Place {
            segment: self.tail.segment,
            sequence: self.tail.sequence,
            previous: self.tail.previous,
        };
        let hash = frame::encode_batch(&place, count, records, &mut self.batch);
        let Some(live) = &mut self.live else {
            return Err(WriteError::Disk(io::Error::other("no segment is open")));
        };
        if let Err(error) = live.write_at(&self.batch, self.tail.end) {
            tracing::warn!(%error, segment = self.tail.segment, "an audit segment is given up after a failed write");
            self.live = None;
            self.failed = true;
            return Err(error.into());
        }
        self.tail.end += self.batch.len() as u64;
        self.tail.sequence += u64::from(count);
        self.tail.previous = hash;
        Ok(())
    }

    /// The blank spare: the one that was prepared, or one made now. A spare of a failed attempt may
    /// hold anything and is removed.
    fn take_spare(&mut self) -> io::Result<Box<dyn Segment>> {
        if let Some(Ok(Ok(spare))) = self.spare.take().map(JoinHandle::join) {
            return Ok(spare);
        }
        if self.storage.list()?.iter().any(|name| name == SPARE) {
            self.storage.remove(SPARE)?;
        }
        let bytes = if self.is_ahead {
            self.segment_bytes
        } else {
            BLOCK as u64
        };
        make_spare(self.storage.as_ref(), bytes)
    }

    /// Zeroes the next segment on a thread of its own. Without it the next one is made when needed.
    fn prepare_spare(&mut self) {
        if !self.is_ahead {
            return;
        }
        let storage = Arc::clone(&self.storage);
        let bytes = self.segment_bytes;
        let prepare = move || {
            let made = make_spare(storage.as_ref(), bytes);
            if let Err(error) = &made {
                tracing::warn!(%error, "no room for the next audit segment: requests are refused once the current one is full");
            }
            made
        };
        self.spare = std::thread::Builder::new()
            .name("audit-spare".to_owned())
            .spawn(prepare)
            .ok();
    }
}

/// Makes a spare if there is room for it: one that does not fit would fill the disk first.
fn make_spare(storage: &dyn Storage, bytes: u64) -> io::Result<Box<dyn Segment>> {
    if storage.free()? < bytes {
        return Err(io::ErrorKind::StorageFull.into());
    }
    storage.create_blank(SPARE, bytes)
}

/// How many of `records` fit into one batch, and how many bytes these are.
fn fitting(records: &[u8]) -> (u32, usize) {
    let (mut count, mut bytes) = (0, 0);
    while let Some(length) = records[bytes..].first_chunk::<4>() {
        let record = RECORD_OVERHEAD + u32::from_le_bytes(*length) as usize;
        if (bytes + record + BATCH_OVERHEAD).next_multiple_of(BLOCK) > MAX_BATCH {
            break;
        }
        bytes += record;
        count += 1;
    }
    (count, bytes)
}
