//! Statuses that are signed already: one signature for each certificate and window, not for each
//! question. Bounded; what came first leaves first. Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use ocsp::{HashAlgorithm, Status};

use crate::public_key::{hex, sha256};
use crate::serial::Serial;
use crate::status::SignedStatus;

/// How a certificate is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The hash that the client names the issuer by.
    pub(crate) hash: HashAlgorithm,
    /// The serial.
    pub(crate) serial: Serial,
}

/// What is sent.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The whole response, DER.
    pub(crate) der: Bytes,
    /// Another one for other octets.
    pub(crate) etag: String,
    /// What it says.
    pub(crate) status: Status,
    /// Since when it is known to be right.
    pub(crate) this_update: Timestamp,
    /// Until when it can be used.
    pub(crate) next_update: Timestamp,
}

impl Answered {
    /// When a new one is due: past half of its time.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        // A clock that went back makes it one from the future.
        now < self.this_update
            || self.this_update.duration_until(now) >= now.duration_until(self.next_update)
    }
}

impl From<SignedStatus> for Answered {
    fn from(signed: SignedStatus) -> Self {
        Self {
            etag: etag(&signed.der),
            der: signed.der.into(),
            status: signed.status,
            this_update: signed.this_update,
            next_update: signed.next_update,
        }
    }
}

/// A strong entity tag (RFC 9110 section 8.8.3), quotes included.
pub(crate) fn etag(octets: &[u8]) -> String {
    format!("\"{}\"", hex(&sha256(octets)[..16]))
}

#[derive(Debug)]
struct Entry {
    answered: Arc<Answered>,
    /// The state of the inventory in which it was right.
    version: i64,
}

/// At most a number of signed statuses.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: HashMap<Key, Entry>,
    /// Every key of `entries`, once, in the order in which they came.
    order: VecDeque<Key>,
    at_most: usize,
}

impl Cache {
    pub(crate) fn new(at_most: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            at_most,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What was last signed, whatever became of it since.
    pub(crate) fn last(&self, key: &Key) -> Option<&Arc<Answered>> {
        self.entries.get(key).map(|entry| &entry.answered)
    }

    /// What is right in this state of the inventory, if that was looked up since.
    pub(crate) fn right(&self, key: &Key, version: i64) -> Option<&Arc<Answered>> {
        let entry = self.entries.get(key)?;
        (entry.version == version).then_some(&entry.answered)
    }

    /// It is still right in this state of the inventory.
    pub(crate) fn confirm(&mut self, key: &Key, version: i64) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.version = version;
        }
    }

    /// Keeps what was signed, right in this state of the inventory.
    pub(crate) fn keep(&mut self, key: Key, answered: Arc<Answered>, version: i64) {
        let entry = Entry { answered, version };
        if self.entries.insert(key.clone(), entry).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.at_most
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    /// Drops everything: it was signed by somebody who must not have.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 3_600 * hour).unwrap()
    }

    fn key(number: u8) -> Key {
        Key {
            hash: HashAlgorithm::Sha1,
            serial: Serial::from_octets(&[number]).unwrap(),
        }
    }

    fn answered() -> Arc<Answered> {
        Arc::new(Answered::from(SignedStatus {
            der: vec![1, 2, 3],
            status: Status::Good,
            this_update: at(0),
            next_update: at(24),
        }))
    }

    #[test]
    fn what_came_first_leaves_first_and_the_bound_holds() {
        let mut cache = Cache::new(3);
        for number in [1, 2, 3, 1, 4] {
            cache.keep(key(number), answered(), 7);
        }
        assert_eq!(cache.len(), 3);
        assert!(cache.last(&key(1)).is_none());
        assert!(cache.last(&key(4)).is_some());
        assert_eq!(cache.order.len(), 3);
        cache.clear();
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn what_was_right_before_a_change_must_be_looked_up_again() {
        let mut cache = Cache::new(3);
        cache.keep(key(1), answered(), 7);
        assert!(cache.right(&key(1), 7).is_some());
        assert!(cache.right(&key(1), 8).is_none());
        assert!(cache.last(&key(1)).is_some());
        cache.confirm(&key(1), 8);
        assert!(cache.right(&key(1), 8).is_some());
    }

    #[test]
    fn a_new_one_is_due_at_half_of_the_time_or_when_the_clock_went_back() {
        let answered = answered();
        assert!(!answered.is_due(at(0)));
        assert!(!answered.is_due(at(11)));
        assert!(answered.is_due(at(12)));
        assert!(answered.is_due(at(30)));
        assert!(answered.is_due(at(-1)));
    }
}
