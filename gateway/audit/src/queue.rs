//! The bounded queue between the workers and the committer: entries and bytes, both counted from
//! the moment they are accepted until the moment they are durable.
//!
//! Places can be reserved ahead, so that whoever owes a record later finds room for it even when
//! the queue is full by then. A data structure only: no lock, no thread.

use crate::entry::RESERVED_BYTES;
use crate::frame::RECORD_OVERHEAD;

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries, reservations included.
    pub entries: usize,
    /// Bytes of encoded entries, reservations included.
    pub bytes: usize,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Entries that wait for the committer, in the order of their sequence numbers.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    /// Records (length, entry) not taken yet.
    records: Vec<u8>,
    /// How many records these are.
    waiting: usize,
    /// Sequence number of the next entry.
    next: u64,
    /// Accepted and not durable yet, taken ones included.
    entries: usize,
    bytes: usize,
    /// Reserved and not used yet.
    reserved: usize,
}

impl Queue {
    /// An empty queue whose first entry will have the sequence number `next`.
    #[must_use]
    pub fn new(limits: Limits, next: u64) -> Queue {
        Queue {
            limits,
            records: Vec::new(),
            waiting: 0,
            next,
            entries: 0,
            bytes: 0,
            reserved: 0,
        }
    }

    /// Accepts an entry and returns its sequence number.
    pub fn push(&mut self, entry: &[u8]) -> Result<u64, Full> {
        if !self.has_room(1, entry.len(), 1) {
            return Err(Full);
        }
        Ok(self.accept(entry))
    }

    /// Accepts an entry that may take at most a quarter of the queue.
    pub fn push_unproven(&mut self, entry: &[u8]) -> Result<u64, Full> {
        if !self.has_room(1, entry.len(), 4) {
            return Err(Full);
        }
        Ok(self.accept(entry))
    }

    /// Reserves a place for one entry of at most [`RESERVED_BYTES`].
    pub fn reserve(&mut self) -> Result<(), Full> {
        if !self.has_room(1, RESERVED_BYTES, 1) {
            return Err(Full);
        }
        self.reserved += 1;
        Ok(())
    }

    /// Gives a reserved place back.
    pub fn cancel(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// Accepts an entry into a place that was reserved.
    pub fn push_reserved(&mut self, entry: &[u8]) -> u64 {
        self.cancel();
        self.accept(entry)
    }

    /// Moves all waiting records to `out`, which must be empty, and returns the sequence number of
    /// the first and how many they are.
    pub fn take(&mut self, out: &mut Vec<u8>) -> (u64, usize) {
        debug_assert!(out.is_empty());
        std::mem::swap(&mut self.records, out);
        let taken = std::mem::take(&mut self.waiting);
        (self.next - taken as u64, taken)
    }

    /// Frees the room of `entries` entries of `bytes` bytes of records that are durable now.
    pub fn settle(&mut self, entries: usize, bytes: usize) {
        self.entries = self.entries.saturating_sub(entries);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether there is nothing to take.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Entries accepted and not durable yet, reservations not counted.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.entries
    }

    /// The sequence number that the next entry will have.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    fn has_room(&self, entries: usize, bytes: usize, share: usize) -> bool {
        let held = self.bytes + self.reserved * (RESERVED_BYTES + RECORD_OVERHEAD);
        self.entries + self.reserved + entries <= self.limits.entries / share
            && held + bytes + RECORD_OVERHEAD <= self.limits.bytes / share
    }

    fn accept(&mut self, entry: &[u8]) -> u64 {
        let length = u32::try_from(entry.len()).expect("entries are bounded by entry::MAX_BYTES");
        self.records.extend_from_slice(&length.to_le_bytes());
        self.records.extend_from_slice(entry);
        self.waiting += 1;
        self.entries += 1;
        self.bytes += entry.len() + RECORD_OVERHEAD;
        self.next += 1;
        self.next - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        entries: 8,
        bytes: 64 * 1024,
    };

    #[test]
    fn a_full_queue_refuses_until_something_is_durable() {
        let mut queue = Queue::new(LIMITS, 5);
        for sequence in 5..13 {
            assert_eq!(queue.push(b"entry"), Ok(sequence));
        }
        assert_eq!(queue.push(b"entry"), Err(Full));
        let mut out = Vec::new();
        assert_eq!(queue.take(&mut out), (5, 8));
        assert_eq!(queue.push(b"entry"), Err(Full), "taken is not durable");
        queue.settle(8, out.len());
        assert_eq!(queue.push(b"entry"), Ok(13));
    }

    #[test]
    fn a_reserved_place_is_there_when_the_queue_is_full() {
        let mut queue = Queue::new(LIMITS, 0);
        queue.reserve().unwrap();
        for _ in 0..7 {
            queue.push(b"entry").unwrap();
        }
        assert_eq!(queue.push(b"entry"), Err(Full));
        assert_eq!(queue.push_reserved(b"owed"), 7);
        assert_eq!(queue.reserve(), Err(Full));
    }

    #[test]
    fn a_place_given_back_can_be_used() {
        let mut queue = Queue::new(
            Limits {
                entries: 1,
                bytes: 64 * 1024,
            },
            0,
        );
        queue.reserve().unwrap();
        assert_eq!(queue.push(b"entry"), Err(Full));
        queue.cancel();
        assert_eq!(queue.push(b"entry"), Ok(0));
    }

    #[test]
    fn bytes_are_bounded_as_entries_are() {
        let mut queue = Queue::new(
            Limits {
                entries: 1000,
                bytes: 1000,
            },
            0,
        );
        assert_eq!(queue.push(&[0; 500]), Ok(0));
        assert_eq!(queue.push(&[0; 500]), Err(Full));
        assert_eq!(queue.reserve(), Err(Full));
    }

    #[test]
    fn peers_that_proved_nothing_get_a_quarter() {
        let mut queue = Queue::new(LIMITS, 0);
        assert_eq!(queue.push_unproven(b"noise"), Ok(0));
        assert_eq!(queue.push_unproven(b"noise"), Ok(1));
        assert_eq!(queue.push_unproven(b"noise"), Err(Full));
        assert_eq!(queue.push(b"entry"), Ok(2));
    }
}
