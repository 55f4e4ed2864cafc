//! The bounded queue between the workers and the committer: entries and bytes, both counted from
//! the moment they are accepted until the moment they are durable.
//!
//! Two shares: peers that proved who they are have the whole queue, peers that proved nothing at most
//! a quarter of it, counted by itself, so that neither keeps the other out. Places can be reserved
//! ahead, so that whoever owes a record later finds room for it even when the queue is full by then.
//! A data structure only: no lock, no thread.

use std::collections::VecDeque;

use crate::entry;
use crate::frame::RECORD_OVERHEAD;
use crate::seal::sealed::leaf_bytes;

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries, reservations included.
    pub entries: usize,
    /// Bytes of encoded entries, reservations included.
    pub bytes: usize,
}

/// On whose account an entry waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Of a peer that proved who it is, or of the house.
    Proven,
    /// Of a peer that proved nothing.
    Unproven,
}

/// What a reserved place holds, bytes: the leaf of an entry of [`entry::RESERVED_BYTES`].
const RESERVED_BYTES: usize = leaf_bytes(entry::RESERVED_BYTES);

/// What those who proved nothing may take of the queue, as a divisor.
const UNPROVEN_SHARE: usize = 4;

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
    /// Whether somebody waits for one of them.
    hurried: bool,
    /// Sequence number of the next entry.
    next: u64,
    all: Account,
    unproven: Account,
    /// Sequence number and size of each entry on the account of those who proved nothing.
    unproven_entries: VecDeque<(u64, usize)>,
}

/// What is accepted and not durable yet, and what is reserved and not used yet.
#[derive(Debug, Default)]
struct Account {
    entries: usize,
    bytes: usize,
    reserved: usize,
}

impl Account {
    fn has_room(&self, bytes: usize, limits: Limits, share: usize) -> bool {
        let held = self.bytes + self.reserved * (RESERVED_BYTES + RECORD_OVERHEAD);
        self.entries + self.reserved < limits.entries / share
            && held + bytes + RECORD_OVERHEAD <= limits.bytes / share
    }

    fn add(&mut self, bytes: usize) {
        self.entries += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, entries: usize, bytes: usize) {
        self.entries = self.entries.saturating_sub(entries);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Queue {
    /// An empty queue whose first entry will have the sequence number `next`.
    #[must_use]
    pub fn new(limits: Limits, next: u64) -> Queue {
        Queue {
            limits,
            records: Vec::new(),
            waiting: 0,
            hurried: false,
            next,
            all: Account::default(),
            unproven: Account::default(),
            unproven_entries: VecDeque::new(),
        }
    }

    /// Accepts an entry and returns its sequence number.
    ///
    /// # Errors
    /// [`Full`] when the queue, or the share of it, holds as much as it may.
    pub fn push(&mut self, entry: &[u8], share: Share) -> Result<u64, Full> {
        self.check(entry.len(), share)?;
        Ok(self.accept(entry, share))
    }

    /// Reserves a place for one entry of at most [`entry::RESERVED_BYTES`].
    ///
    /// # Errors
    /// [`Full`], as for [`Queue::push`].
    pub fn reserve(&mut self, share: Share) -> Result<(), Full> {
        self.check(RESERVED_BYTES, share)?;
        self.all.reserved += 1;
        if share == Share::Unproven {
            self.unproven.reserved += 1;
        }
        Ok(())
    }

    /// Gives a reserved place back.
    pub fn cancel(&mut self, share: Share) {
        self.all.reserved = self.all.reserved.saturating_sub(1);
        if share == Share::Unproven {
            self.unproven.reserved = self.unproven.reserved.saturating_sub(1);
        }
    }

    /// Accepts an entry into a place that was reserved.
    pub fn push_reserved(&mut self, entry: &[u8], share: Share) -> u64 {
        self.cancel(share);
        self.accept(entry, share)
    }

    /// Moves all waiting records to `out`, which must be empty, and returns the sequence number of
    /// the first and how many they are.
    pub fn take(&mut self, out: &mut Vec<u8>) -> (u64, usize) {
        debug_assert!(out.is_empty());
        std::mem::swap(&mut self.records, out);
        let taken = std::mem::take(&mut self.waiting);
        self.hurried = false;
        (self.next - taken as u64, taken)
    }

    /// Notes that somebody waits for what is there.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Whether somebody waits for what is to be taken.
    #[must_use]
    pub fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// Frees the room of the next `entries` entries, `bytes` bytes of records, which are durable now:
    /// all up to, and without, sequence number `durable`.
    pub fn settle(&mut self, entries: usize, bytes: usize, durable: u64) {
        self.all.remove(entries, bytes);
        while let Some(&(sequence, bytes)) = self.unproven_entries.front()
            && sequence < durable
        {
            self.unproven.remove(1, bytes);
            self.unproven_entries.pop_front();
        }
    }

    /// How many entries there are to take.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether there is nothing to take.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Entries accepted and not durable yet, reservations not counted.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.all.entries
    }

    fn check(&self, bytes: usize, share: Share) -> Result<(), Full> {
        let fits = self.all.has_room(bytes, self.limits, 1)
            && (share == Share::Proven
                || self.unproven.has_room(bytes, self.limits, UNPROVEN_SHARE));
        if fits { Ok(()) } else { Err(Full) }
    }

    fn accept(&mut self, entry: &[u8], share: Share) -> u64 {
        let length = u32::try_from(entry.len()).expect("leaves are bounded by sealed::MAX_BYTES");
        self.records.extend_from_slice(&length.to_le_bytes());
        self.records.extend_from_slice(entry);
        self.waiting += 1;
        let bytes = entry.len() + RECORD_OVERHEAD;
        self.all.add(bytes);
        if share == Share::Unproven {
            self.unproven.add(bytes);
            self.unproven_entries.push_back((self.next, bytes));
        }
        self.next += 1;
        self.next - 1
    }
}

#[cfg(test)]
mod tests {
    use super::Share::{Proven, Unproven};
    use super::*;

    const LIMITS: Limits = Limits {
        entries: 8,
        bytes: 64 * 1024,
    };

    #[test]
    fn a_full_queue_refuses_until_something_is_durable() {
        let mut queue = Queue::new(LIMITS, 5);
        for sequence in 5..13 {
            assert_eq!(queue.push(b"entry", Proven), Ok(sequence));
        }
        assert_eq!(queue.push(b"entry", Proven), Err(Full));
        let mut out = Vec::new();
        assert_eq!(queue.take(&mut out), (5, 8));
        assert_eq!(
            queue.push(b"entry", Proven),
            Err(Full),
            "taken is not durable"
        );
        queue.settle(8, out.len(), 13);
        assert_eq!(queue.push(b"entry", Proven), Ok(13));
    }

    #[test]
    fn a_reserved_place_is_there_when_the_queue_is_full() {
        let mut queue = Queue::new(LIMITS, 0);
        queue.reserve(Proven).unwrap();
        for _ in 0..7 {
            queue.push(b"entry", Proven).unwrap();
        }
        assert_eq!(queue.push(b"entry", Proven), Err(Full));
        assert_eq!(queue.push_reserved(b"owed", Proven), 7);
        assert_eq!(queue.reserve(Proven), Err(Full));
    }

    #[test]
    fn a_place_given_back_can_be_used() {
        for share in [Proven, Unproven] {
            let mut queue = Queue::new(
                Limits {
                    entries: 4,
                    bytes: 64 * 1024,
                },
                0,
            );
            queue.reserve(share).unwrap();
            assert_eq!(queue.push(b"entry", Unproven).is_ok(), share == Proven);
            queue.cancel(share);
            assert_eq!(queue.push(b"entry", Proven), Ok(u64::from(share == Proven)));
        }
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
        assert_eq!(queue.push(&[0; 500], Proven), Ok(0));
        assert_eq!(queue.push(&[0; 500], Proven), Err(Full));
        assert_eq!(queue.reserve(Proven), Err(Full));
    }

    #[test]
    fn those_who_proved_nothing_get_a_quarter_whatever_the_others_have() {
        let mut queue = Queue::new(LIMITS, 0);
        for _ in 0..3 {
            queue.push(b"entry", Proven).unwrap();
        }
        assert_eq!(
            queue.push(b"noise", Unproven),
            Ok(3),
            "the others' entries are not counted"
        );
        queue.reserve(Unproven).unwrap();
        assert_eq!(queue.push(b"noise", Unproven), Err(Full));
        assert_eq!(queue.reserve(Unproven), Err(Full));
        assert_eq!(queue.push(b"entry", Proven), Ok(4));
        let mut out = Vec::new();
        queue.take(&mut out);
        queue.settle(3, 27, 3);
        assert_eq!(
            queue.push(b"noise", Unproven),
            Err(Full),
            "theirs are not durable yet"
        );
        queue.settle(1, 9, 4);
        assert_eq!(queue.push(b"noise", Unproven), Ok(5));
    }
}
