//! A window against replays: what was accepted is known until it could not be accepted any more.
//!
//! Standard: RFC 9421 7.2.2. Exact within the window: every message is known by a 128-bit hash of
//! its identity and key, nothing is approximated and nothing is forgotten early. It fails closed:
//! when it is full, when one identity has its share, and when a message could still be accepted at a
//! time for which nothing is remembered (a clock that was set back, an expiry beyond the horizon),
//! the message is refused.
//!
//! Memory is bounded and known: 28 bytes a message, 24 bytes an identity, 4 bytes for each chain, of
//! which there are as many as messages and identities, rounded up to powers of two, and 4 bytes a
//! second of the horizon. A window for a million messages and 100,000 identities over 390 seconds is
//! 35.1 MB; a test holds it to that.
//! What expires is dropped second by second, so that each message costs a constant amount once.
//!
//! What it does not do: it reads no clock and writes no file. The entry that `insert` returns is for
//! a journal, `snapshot` for a file beside it; which of them is durable before an answer leaves is
//! the caller's promise.

mod entry;

mod slab;

mod snapshot;

use std::fmt;
use std::time::Duration;

pub use entry::Entry;

use crate::error::ReplayError;
use crate::limits::HORIZON;
use slab::Slab;

/// How much a window may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages.
    pub entries: usize,
    /// Messages of one identity, so that one device cannot push out the others.
    pub share: usize,
    /// Identities that have a message in the window.
    pub identities: usize,
    /// How far ahead of the clock a message may still be accepted
    /// ([`Policy::horizon`](crate::Policy::horizon)), [`HORIZON`] at most.
    pub horizon: Duration,
}

impl Limits {
    /// A horizon that is too far away is brought nearer: what lies beyond it is refused then.
    fn within(self) -> Limits {
        Limits {
            horizon: self.horizon.min(HORIZON),
            ..self
        }
    }
}

/// The window.
pub struct Replay {
    limits: Limits,
    /// The latest second that was seen, since 1970. It never goes back: what expired before it is
    /// forgotten.
    clock: u64,
    entries: Slab<Held>,
    /// How many messages each identity has.
    identities: Slab<u32>,
    /// For each second of the horizon, by its remainder, the first of the messages that end with
    /// it; 0 is none, else one more than the place.
    seconds: Vec<u32>,
}

/// What stands behind the hash of a message.
#[derive(Clone, Copy)]
struct Held {
    identity: u32,
    /// The next message that ends in the same second; 0 is none, else one more than the place.
    also: u32,
}

/// No clock shows more, so that seconds can be added to it.
const LATEST: u64 = u64::MAX / 2;

impl Replay {
    /// An empty window. `now` is in seconds since 1970; `seed` is a secret random number that keeps
    /// peers from choosing messages whose hashes meet in one chain.
    pub fn new(limits: Limits, seed: u64, now: u64) -> Replay {
        let limits = limits.within();
        Replay::reaching(limits, seed, now, limits.horizon.as_secs())
    }

    /// A window whose ring reaches so many seconds, so that a restored one can hold what an earlier
    /// horizon let in.
    fn reaching(limits: Limits, seed: u64, now: u64, reach: u64) -> Replay {
        let seconds = usize::try_from(reach).unwrap_or(usize::MAX - 1);
        Replay {
            limits,
            clock: now.min(LATEST),
            entries: Slab::new(limits.entries, seed),
            identities: Slab::new(limits.identities, seed),
            seconds: vec![0; seconds.saturating_add(1)],
        }
    }

    /// Takes a message of this identity, known by this key
    /// ([`Verified::replay_key`](crate::Verified::replay_key)), that could be accepted again until
    /// the end of the second `until`. What comes back is for a journal.
    pub fn insert(
        &mut self,
        now: u64,
        identity: &[u8],
        key: &[u8],
        until: u64,
    ) -> Result<Entry, ReplayError> {
        let entry = Entry::new(identity, key, until);
        self.apply(now, &entry)?;
        Ok(entry)
    }

    /// Takes an entry that comes from a journal. One that is expired, or there already, is refused
    /// like a message; whoever reads a journal over a snapshot passes over [`ReplayError::Replayed`]
    /// and over what ended before now.
    pub fn apply(&mut self, now: u64, entry: &Entry) -> Result<(), ReplayError> {
        self.advance(now);
        let horizon = self.limits.horizon.as_secs();
        self.put(entry, horizon)
    }

    /// Forgets what could not be accepted at `now` any more. Every insertion does.
    pub fn advance(&mut self, now: u64) {
        let now = now.min(LATEST);
        let ring = self.seconds.len() as u64;
        let behind = now.saturating_sub(self.clock).min(ring);
        for second in (self.clock..).take(usize::try_from(behind).unwrap_or(usize::MAX)) {
            let place = self.place(second);
            let mut next = std::mem::take(&mut self.seconds[place]);
            while let Some(index) = next.checked_sub(1) {
                let held = self.entries.remove(index);
                next = held.also;
                let count = self.identities.get_mut(held.identity);
                *count -= 1;
                if *count == 0 {
                    self.identities.remove(held.identity);
                }
            }
        }
        self.clock = self.clock.max(now);
    }

    /// How many messages are in the window.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the window is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many identities have a message in the window.
    pub fn identities(&self) -> usize {
        self.identities.len()
    }

    /// What the window takes of the heap when it is full, in bytes. It is reserved from the start
    /// and touched as it fills.
    pub fn bytes(&self) -> usize {
        self.entries.bytes() + self.identities.bytes() + self.seconds.len() * size_of::<u32>()
    }

    /// Its limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    fn put(&mut self, entry: &Entry, horizon: u64) -> Result<(), ReplayError> {
        let until = entry.until;
        if until < self.clock || until - self.clock > horizon {
            return Err(ReplayError::OutOfWindow {
                until,
                clock: self.clock,
                horizon,
            });
        }
        if self.entries.find(&entry.key).is_some() {
            return Err(ReplayError::Replayed);
        }
        let Limits { entries, share, .. } = self.limits;
        if self.entries.is_full() {
            return Err(ReplayError::Full { entries });
        }
        let identity = match self.identities.find(&entry.identity) {
            Some(identity) => {
                let count = self.identities.get_mut(identity);
                if *count as usize >= share {
                    return Err(ReplayError::ShareFull { share });
                }
                *count += 1;
                identity
            }
            None if share == 0 => return Err(ReplayError::ShareFull { share }),
            None if self.identities.is_full() => return Err(ReplayError::Full { entries }),
            None => self.identities.insert(entry.identity, 1),
        };
        let place = self.place(until);
        let also = self.seconds[place];
        let index = self.entries.insert(entry.key, Held { identity, also });
        self.seconds[place] = index + 1;
        Ok(())
    }

    fn place(&self, second: u64) -> usize {
        let place = second % self.seconds.len() as u64;
        usize::try_from(place).expect("the remainder is less than the length")
    }

    /// Every entry, in no order that means anything.
    fn held(&self) -> impl Iterator<Item = Entry> {
        (self.clock..)
            .take(self.seconds.len())
            .flat_map(move |second| {
                let mut next = self.seconds[self.place(second)];
                std::iter::from_fn(move || {
                    let index = next.checked_sub(1)?;
                    let held = self.entries.get(index);
                    next = held.also;
                    Some(Entry {
                        identity: *self.identities.key(held.identity),
                        key: *self.entries.key(index),
                        until: second,
                    })
                })
            })
    }
}

/// How much it holds.
impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("limits", &self.limits)
            .field("entries", &self.len())
            .field("identities", &self.identities())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
