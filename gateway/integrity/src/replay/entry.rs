//! One message in the window, and its form in a journal: 48 bytes, always.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | hash of the identity |
//! | 16 | hash of the identity and the key |
//! | 8 | the last second at which the message could be accepted, since 1970, big-endian |
//! | 8 | the first bytes of SHA-256 of what stands before |
//!
//! What it does not do: the checksum finds an entry that was cut off or damaged, not one that
//! somebody forged; who can write the journal can forge it.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};

use crate::error::SnapshotError;

/// A hash that stands for an identity or a message: SHA-256, cut to 128 bits.
pub(super) type Hash = [u8; 16];

/// One message in the window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub(super) identity: Hash,
    pub(super) key: Hash,
    pub(super) until: u64,
}

/// The length without the checksum.
pub(super) const BODY: usize = 40;

impl Entry {
    /// How long an entry is in a journal, in bytes.
    pub const LENGTH: usize = BODY + 8;

    pub(super) fn new(identity: &[u8], key: &[u8], until: u64) -> Entry {
        let identity = hash(b"identity", identity, b"");
        Entry {
            identity,
            key: hash(b"message", &identity, key),
            until,
        }
    }

    /// The last second at which the message could be accepted, since 1970.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// Its form in a journal.
    pub fn encode(&self) -> [u8; Entry::LENGTH] {
        let mut bytes = [0; Entry::LENGTH];
        bytes[..BODY].copy_from_slice(&self.body());
        let checksum = checksum(&bytes[..BODY]);
        bytes[BODY..].copy_from_slice(&checksum);
        bytes
    }

    /// Reads that form. An entry that was cut off or damaged is refused.
    pub fn decode(bytes: &[u8]) -> Result<Entry, SnapshotError> {
        let bytes: &[u8; Entry::LENGTH] = bytes.try_into().map_err(|_| SnapshotError::Length)?;
        let (body, sum) = bytes.split_at(BODY);
        if checksum(body) != sum {
            return Err(SnapshotError::Checksum);
        }
        Entry::from_body(body)
    }

    pub(super) fn body(&self) -> [u8; BODY] {
        let mut body = [0; BODY];
        body[..16].copy_from_slice(&self.identity);
        body[16..32].copy_from_slice(&self.key);
        body[32..].copy_from_slice(&self.until.to_be_bytes());
        body
    }

    pub(super) fn from_body(body: &[u8]) -> Result<Entry, SnapshotError> {
        let body: &[u8; BODY] = body.try_into().map_err(|_| SnapshotError::Length)?;
        const PARTS: &str = "the parts are as long as the body";
        Ok(Entry {
            identity: body[..16].try_into().expect(PARTS),
            key: body[16..32].try_into().expect(PARTS),
            until: u64::from_be_bytes(body[32..].try_into().expect(PARTS)),
        })
    }
}

/// When it ends.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry(until {})", self.until)
    }
}

/// The parts cannot run into each other: the first two have a fixed length where a third follows.
fn hash(domain: &[u8], first: &[u8], second: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(b"phigate replay ");
    context.update(domain);
    context.update(b"\0");
    context.update(first);
    context.update(second);
    let digest = context.finish();
    digest.as_ref()[..16].try_into().expect("SHA-256 is longer")
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let digest = digest(&SHA256, bytes);
    digest.as_ref()[..8].try_into().expect("SHA-256 is longer")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identities_and_keys_do_not_run_into_each_other() {
        let one = Entry::new(b"ab", b"c", 1);
        let other = Entry::new(b"a", b"bc", 1);
        assert_ne!(one.identity, other.identity);
        assert_ne!(one.key, other.key);
        assert_ne!(one.key, Entry::new(b"ab", b"", 1).key);
    }

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_was_written_and_not_otherwise(
            identity in ".*", key in ".*", until in any::<u64>(), at in 0..Entry::LENGTH, bit in 0..8_u8,
        ) {
            let entry = Entry::new(identity.as_bytes(), key.as_bytes(), until);
            let mut bytes = entry.encode();
            prop_assert_eq!(Entry::decode(&bytes), Ok(entry));
            prop_assert_eq!(Entry::decode(&bytes[..at]), Err(SnapshotError::Length));
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Entry::decode(&bytes), Err(SnapshotError::Checksum));
        }
    }
}
