//! Sealing entries, on the way of every request: what a worker holds.
//!
//! A sealer keeps one sub-key at a time and takes another after a minute or 2^20 entries. Nothing is
//! allocated but what the caller's buffer needs. Fail closed: an entry that was not sealed is not
//! recorded, so what waits for it does not go on.
//!
//! Not here: which epoch it is (the owner of the log turns all sealers when a month begins), and which
//! events stay clear (`sealed`).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use zeroize::{Zeroize, Zeroizing};

use super::epoch::WritingKey;
use super::hpke::{HpkeError, KEY, SecretKey};
use super::random::{NoRandomness, Random};
use super::sealed::{
    BEFORE_COMMITMENT, HEADER, Header, LENGTH, STEP, associated, commit, facts, owes,
};
use super::subkey::{self, SubKey, TargetKey};
use super::target;
use crate::entry;
use crate::event::{Entry, Id, Time};

/// No sub-key seals more entries than this.
pub const MOST_ENTRIES: u32 = 1 << 20;

/// No sub-key is used longer than this, nanoseconds.
pub const LONGEST: u64 = 60_000_000_000;

/// What a worker seals with.
pub struct Sealer<R> {
    key: Arc<WritingKey>,
    join: Arc<JoinKey>,
    random: R,
    current: Option<Current>,
}

struct Current {
    encapsulated: [u8; KEY],
    entries: SubKey,
    targets: TargetKey,
    began: Time,
    used: u32,
}

impl<R: Random> Sealer<R> {
    /// A sealer under `key`. All sealers of one run share `join`.
    pub fn new(key: Arc<WritingKey>, join: Arc<JoinKey>, random: R) -> Sealer<R> {
        Sealer {
            key,
            join,
            random,
            current: None,
        }
    }

    /// Goes over to another epoch key: a month began, or the readers changed. Its record must be
    /// durable by now.
    pub fn turn(&mut self, key: Arc<WritingKey>) {
        self.key = key;
        self.current = None;
    }

    /// The epoch key that it writes under.
    pub fn key(&self) -> &Arc<WritingKey> {
        &self.key
    }

    /// Appends the leaf of `entry` to `out`.
    ///
    /// # Errors
    /// [`SealError`]; `out` is then as it was.
    pub fn seal(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) -> Result<(), SealError> {
        self.slot(entry.time)?.seal(entry, out)
    }

    /// The place of one entry that is about to be sealed at `time`, for an entry with a raw target.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`], [`SealError::Library`] when it is time for another sub-key and
    /// there is none.
    pub fn slot(&mut self, time: Time) -> Result<Slot<'_>, SealError> {
        let fresh = |current: &Current| {
            current.used < MOST_ENTRIES && current.began.0.abs_diff(time.0) < LONGEST
        };
        let current = match self.current.take().filter(fresh) {
            Some(current) => current,
            None => Current::begin(&self.key, &mut self.random, time)?,
        };
        let current = self.current.insert(current);
        let counter = current.used;
        // Counted before it is used: a slot that is dropped never comes back.
        current.used += 1;
        Ok(Slot {
            key: &self.key,
            join: &self.join,
            current,
            counter,
        })
    }
}

impl<R> fmt::Debug for Sealer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({:?})", self.key)
    }
}

impl Current {
    fn begin(
        key: &WritingKey,
        random: &mut impl Random,
        began: Time,
    ) -> Result<Current, SealError> {
        let (encapsulated, entries, targets) = subkey::agree(key, SecretKey::draw(random)?)?;
        Ok(Current {
            encapsulated,
            entries,
            targets,
            began,
            used: 0,
        })
    }
}

/// The place of one entry: a counter that is used once.
pub struct Slot<'a> {
    key: &'a WritingKey,
    join: &'a JoinKey,
    current: &'a Current,
    counter: u32,
}

impl Slot<'_> {
    /// Appends `raw` to `out`, sealed for readers of targets: the block for a field of the entry that
    /// takes this slot.
    ///
    /// # Errors
    /// [`SealError::TargetTooLong`], [`SealError::Library`]; `out` is then as it was.
    pub fn target(&self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        if raw.len() > target::MAX_BYTES {
            return Err(SealError::TargetTooLong { bytes: raw.len() });
        }
        target::seal(&self.current.targets, self.counter, raw, out)?;
        Ok(())
    }

    /// Appends the leaf of `entry` to `out`.
    ///
    /// # Errors
    /// [`SealError`]; `out` is then as it was.
    pub fn seal(self, entry: &Entry<'_>, out: &mut Vec<u8>) -> Result<(), SealError> {
        let start = out.len();
        self.write(entry, out)
            .map_err(|error| undo(out, start, error))
    }

    fn write(&self, entry: &Entry<'_>, out: &mut Vec<u8>) -> Result<(), SealError> {
        let start = out.len();
        let message = start + HEADER;
        let text = message + LENGTH;
        out.resize(text, 0);
        entry::encode(entry, out);
        let bytes = out.len() - text;
        let length = u16::try_from(bytes)
            .ok()
            .filter(|_| bytes <= entry::MAX_BYTES)
            .ok_or(SealError::TooLong { bytes })?;
        let plaintext = &out[text..];
        let (time, kind) = facts(plaintext).ok_or(SealError::Library)?;
        let request = entry.event.request();
        let mut header = Header {
            kind,
            owes: owes(&entry.event),
            time,
            join: request.map(|request| self.join.tag(&request.request_id)),
            key: self.key.id(),
            encapsulated: self.current.encapsulated,
            counter: self.counter,
            commitment: [0; 32],
        };
        let before = &header.encode()[..BEFORE_COMMITMENT];
        let opening = self.current.entries.derive(&[before, plaintext]);
        header.commitment = commit(&opening, plaintext);

        let encoded = header.encode();
        out[start..message].copy_from_slice(&encoded);
        out[message..text].copy_from_slice(&length.to_be_bytes());
        let padded = (LENGTH + bytes).next_multiple_of(STEP);
        out.resize(message + padded, 0);
        let aad = associated(self.key.log(), &encoded);
        let tag = self
            .current
            .entries
            .seal(header.nonce(), &aad, &mut out[message..])?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

/// The key under which ids of requests stand in the clear: drawn by the gateway when it starts, and
/// kept nowhere.
pub struct JoinKey(hmac::Key);

impl JoinKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn draw(random: &mut impl Random) -> Result<JoinKey, NoRandomness> {
        let mut key = Zeroizing::new([0; 32]);
        random.fill(&mut key[..])?;
        Ok(JoinKey(hmac::Key::new(hmac::HMAC_SHA256, &key[..])))
    }

    fn tag(&self, request: &Id) -> [u8; 8] {
        let mut tag = [0; 8];
        let mac = hmac::sign(&self.0, &request.hex());
        tag.copy_from_slice(&mac.as_ref()[..8]);
        tag
    }
}

/// Why an entry was not sealed. It must count as not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// The entry is longer than [`entry::MAX_BYTES`].
    TooLong {
        /// How long, bytes.
        bytes: usize,
    },
    /// The raw target is longer than [`target::MAX_BYTES`].
    TargetTooLong {
        /// How long, bytes.
        bytes: usize,
    },
    /// No fresh bytes for another sub-key.
    NoRandomness,
    /// The cryptography library failed.
    Library,
}

impl From<NoRandomness> for SealError {
    fn from(NoRandomness: NoRandomness) -> SealError {
        SealError::NoRandomness
    }
}

impl From<HpkeError> for SealError {
    fn from(error: HpkeError) -> SealError {
        match error {
            // The gateway made the public key itself, and opens nothing.
            HpkeError::PublicKey | HpkeError::Open | HpkeError::Library => SealError::Library,
        }
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::TooLong { bytes } => write!(f, "entry of {bytes} bytes"),
            SealError::TargetTooLong { bytes } => write!(f, "request target of {bytes} bytes"),
            SealError::NoRandomness => NoRandomness.fmt(f),
            SealError::Library => f.write_str("the cryptography library failed"),
        }
    }
}

impl std::error::Error for SealError {}

fn undo(out: &mut Vec<u8>, start: usize, error: SealError) -> SealError {
    out[start..].zeroize();
    out.truncate(start);
    error
}

#[cfg(test)]
mod tests {
    use super::super::reader::Scope;
    use super::super::sealed::Kind;
    use super::super::tests::{
        LOG, MINUTE, completion, dry, epoch, key, parse, reader, request, sealer, seeded,
    };
    use super::*;
    use crate::event::{Close, Code, Event, Intent, Release};
    use proptest::prelude::*;

    fn release(method: &str) -> Entry<'_> {
        let event = Event::Release(Release {
            request: request(3, method, "pump"),
            status: 200,
            content_type: None,
            bytes: None,
            digest: None,
            upstream: "ehr",
            attempts: 1,
        });
        let time = Time(1);
        Entry { time, event }
    }

    fn header_of<R: Random>(sealer: &mut Sealer<R>, entry: &Entry<'_>) -> Header {
        let mut out = Vec::new();
        sealer.seal(entry, &mut out).unwrap();
        parse(&out).header
    }

    #[test]
    fn a_sub_key_lasts_a_minute_by_a_clock_that_may_go_either_way() {
        let mut sealer = sealer(1);
        let mut at = |time: u64| {
            let header = header_of(&mut sealer, &completion(time, "pump"));
            (header.encapsulated, header.counter)
        };
        let (first, counter) = at(10 * MINUTE);
        assert_eq!(counter, 0);
        assert_eq!(at(11 * MINUTE - 1), (first, 1));
        assert_eq!(at(9 * MINUTE + 1), (first, 2));
        let (second, counter) = at(11 * MINUTE);
        assert_eq!(counter, 0);
        assert_ne!(second, first);
        let (third, counter) = at(10 * MINUTE);
        assert_eq!(counter, 0);
        assert!(third != first && third != second);
    }

    #[test]
    fn a_sub_key_seals_so_many_entries_and_no_more() {
        let mut sealer = sealer(1);
        let first = header_of(&mut sealer, &completion(1, "pump")).encapsulated;
        sealer.current.as_mut().unwrap().used = MOST_ENTRIES - 1;
        let last = header_of(&mut sealer, &completion(1, "pump"));
        assert_eq!((last.encapsulated, last.counter), (first, MOST_ENTRIES - 1));
        let next = header_of(&mut sealer, &completion(1, "pump"));
        assert_eq!(next.counter, 0);
        assert_ne!(next.encapsulated, first);
    }

    #[test]
    fn a_counter_never_comes_back_even_from_a_slot_that_was_dropped() {
        let mut sealer = sealer(1);
        let _ = sealer.slot(Time(1)).unwrap();
        assert_eq!(header_of(&mut sealer, &completion(1, "pump")).counter, 1);
    }

    #[test]
    fn a_turn_begins_a_new_key_at_once() {
        let mut sealer = sealer(1);
        let first = header_of(&mut sealer, &completion(1, "pump"));
        let (_, reader) = reader(1, Scope::Entries);
        let next = WritingKey::draw(LOG, epoch(), &[reader], &mut seeded(8))
            .unwrap()
            .0;
        let id = next.id();
        sealer.turn(Arc::new(next));
        let second = header_of(&mut sealer, &completion(1, "pump"));
        assert_eq!((second.key, second.counter), (id, 0));
        assert_ne!(second.key, first.key);
        assert_ne!(second.encapsulated, first.encapsulated);
    }

    #[test]
    fn what_stands_in_the_clear_is_what_verify_asks_for() {
        let mut sealer = sealer(1);
        let mut header = |entry: &Entry<'_>| header_of(&mut sealer, entry);
        let intent = Event::Intent(Intent {
            request: request(3, "POST", "pump"),
            content_length: None,
        });
        let intent = header(&Entry {
            time: Time(1),
            event: intent,
        });
        assert_eq!((intent.kind, intent.owes), (Kind::INTENT, false));
        let post = header(&release("POST"));
        assert_eq!((post.kind, post.owes), (Kind::RELEASE, true));
        assert_eq!(post.join, intent.join);
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(!header(&release(method)).owes);
        }
        let done = header(&completion(7, "pump"));
        assert_eq!((done.kind, done.time), (Kind::COMPLETION, Time(7)));
        let mut unanswered = completion(7, "pump");
        if let Event::Completion(completion) = &mut unanswered.event {
            completion.status = None;
        }
        assert!(done.owes && !header(&unanswered).owes);
        let mut other = completion(7, "pump");
        if let Event::Completion(completion) = &mut other.event {
            completion.request.request_id = Id::new([4; 16]);
        }
        assert_ne!(header(&other).join, done.join);
        let close = Close {
            connection_id: Id::new([9; 16]),
            code: Code::Idle,
            requests: 1,
            milliseconds: 1,
        };
        assert_eq!(
            header(&Entry {
                time: Time(1),
                event: Event::Close(close)
            })
            .join,
            None
        );
    }

    #[test]
    fn the_id_of_a_request_does_not_lead_to_its_record() {
        let mut out = Vec::new();
        sealer(1).seal(&completion(1, "pump"), &mut out).unwrap();
        assert!(!out.windows(4).any(|bytes| bytes == [3; 4]), "its bytes");
        let other = JoinKey::draw(&mut seeded(6)).unwrap();
        let mut of_another_run = sealer(1);
        of_another_run.join = Arc::new(other);
        let other = header_of(&mut of_another_run, &completion(1, "pump"));
        assert_ne!(other.join, parse(&out).header.join);
    }

    #[test]
    fn without_randomness_nothing_is_sealed() {
        let join = Arc::new(JoinKey::draw(&mut seeded(5)).unwrap());
        let mut sealer = Sealer::new(key().0, join, dry());
        let mut out = b"before".to_vec();
        let sealed = sealer.seal(&completion(1, "pump"), &mut out);
        assert_eq!(sealed, Err(SealError::NoRandomness));
        assert_eq!(out, b"before");
        assert_eq!(JoinKey::draw(&mut dry()).err(), Some(NoRandomness));
    }

    #[test]
    fn when_a_new_sub_key_cannot_be_had_the_old_one_is_not_used_on() {
        let mut left = 1;
        let random = move |out: &mut [u8]| {
            out.fill(7);
            left -= 1;
            if left < 0 { Err(NoRandomness) } else { Ok(()) }
        };
        let join = Arc::new(JoinKey::draw(&mut seeded(5)).unwrap());
        let mut sealer = Sealer::new(key().0, join, random);
        let mut out = Vec::new();
        assert_eq!(sealer.seal(&completion(1, "pump"), &mut out), Ok(()));
        for time in [MINUTE + 1, MINUTE + 2, 1] {
            let sealed = sealer.seal(&completion(time, "pump"), &mut out);
            assert_eq!(sealed, Err(SealError::NoRandomness));
        }
    }

    #[test]
    fn an_entry_that_is_too_long_leaves_nothing_behind() {
        let mut sealer = sealer(1);
        let mut out = b"before".to_vec();
        let long = "x".repeat(entry::MAX_BYTES);
        let sealed = sealer.seal(&completion(1, &long), &mut out);
        assert!(matches!(sealed, Err(SealError::TooLong { bytes }) if bytes > entry::MAX_BYTES));
        assert_eq!(out, b"before");
        let slot = sealer.slot(Time(1)).unwrap();
        let bytes = target::MAX_BYTES + 1;
        assert_eq!(
            slot.target(&vec![0; bytes], &mut out),
            Err(SealError::TargetTooLong { bytes })
        );
        assert_eq!(out, b"before");
    }

    #[test]
    fn the_length_of_an_entry_is_rounded_up() {
        let mut lengths: Vec<usize> = (0..64)
            .map(|n| {
                let mut out = Vec::new();
                sealer(1)
                    .seal(&completion(1, &"c".repeat(n)), &mut out)
                    .unwrap();
                out.len()
            })
            .collect();
        lengths.dedup();
        assert!(lengths.len() <= 4, "{lengths:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn clones_with_fresh_randomness_have_nothing_in_common(one: u64, two: u64) {
            prop_assume!(one != two);
            let (mut a, mut b) = (sealer(one), sealer(two));
            let a = header_of(&mut a, &completion(1, "pump"));
            let b = header_of(&mut b, &completion(1, "pump"));
            prop_assert_ne!(a.encapsulated, b.encapsulated);
            prop_assert_ne!(a.commitment, b.commitment);
            prop_assert_ne!(a.nonce(), b.nonce());
        }

        #[test]
        fn clones_of_everything_repeat_a_nonce_only_with_the_whole_leaf(clients in prop::collection::vec(("[ab]{0,2}", "[ab]{0,2}"), 1..20)) {
            // The very same memory and source of randomness: the worst that a snapshot can do.
            let (mut a, mut b) = (sealer(1), sealer(1));
            for (one, two) in &clients {
                let (mut left, mut right) = (Vec::new(), Vec::new());
                a.seal(&completion(1, one), &mut left).unwrap();
                b.seal(&completion(1, two), &mut right).unwrap();
                prop_assert_eq!(parse(&left).header.nonce() == parse(&right).header.nonce(), one == two);
                prop_assert_eq!(left == right, one == two);
            }
        }

        #[test]
        fn clones_of_everything_repeat_no_nonce_of_targets_that_differ(one: Vec<u8>, two: Vec<u8>) {
            let (mut a, mut b) = (sealer(1), sealer(1));
            let (mut left, mut right) = (Vec::new(), Vec::new());
            a.slot(Time(1)).unwrap().target(&one, &mut left).unwrap();
            b.slot(Time(1)).unwrap().target(&two, &mut right).unwrap();
            prop_assert_eq!(left[..target::OVERHEAD] == right[..target::OVERHEAD], one == two);
        }

        #[test]
        fn the_same_entry_twice_never_looks_the_same(count in 2..50usize) {
            let mut sealer = sealer(1);
            let mut seen = std::collections::HashSet::new();
            for _ in 0..count {
                let header = header_of(&mut sealer, &completion(1, "pump"));
                prop_assert!(seen.insert(header.nonce()));
                prop_assert!(seen.insert(header.commitment[..12].try_into().unwrap()));
            }
        }
    }
}
