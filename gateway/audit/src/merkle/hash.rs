//! The hashes of the tree: leaves and nodes (RFC 6962 2.1), SHA-256.
//!
//! A leaf and a node begin with different octets, so that no entry can pass for a node. The text
//! form is the one of C2SP: standard base64 with padding (RFC 4648 4), in its one canonical spelling.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const LEAF: u8 = 0;
const NODE: u8 = 1;

/// Entries up to this long are hashed from the stack: a digest context costs an allocation.
const SHORT: usize = 1024;

/// A hash of the tree: of a leaf, of a node, of the root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; Hash::BYTES]);

impl Hash {
    /// How long a hash is, bytes.
    pub const BYTES: usize = 32;

    /// The root of the tree without leaves: the hash of nothing.
    pub const EMPTY: Hash = Hash([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ]);

    /// These bytes as a hash.
    #[must_use]
    pub const fn new(bytes: [u8; Hash::BYTES]) -> Hash {
        Hash(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; Hash::BYTES] {
        &self.0
    }
}

/// The hash of the leaf that holds `entry`: SHA-256(0x00 || entry).
#[must_use]
pub fn leaf(entry: &[u8]) -> Hash {
    let mut short = [LEAF; 1 + SHORT];
    if let Some(place) = short.get_mut(1..=entry.len()) {
        place.copy_from_slice(entry);
        return sha256(&short[..=entry.len()]);
    }
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[LEAF]);
    context.update(entry);
    from_digest(context.finish())
}

/// The hash of the node above `left` and `right`: SHA-256(0x01 || left || right).
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [NODE; 1 + 2 * Hash::BYTES];
    bytes[1..=Hash::BYTES].copy_from_slice(&left.0);
    bytes[1 + Hash::BYTES..].copy_from_slice(&right.0);
    sha256(&bytes)
}

fn sha256(bytes: &[u8]) -> Hash {
    from_digest(digest::digest(&digest::SHA256, bytes))
}

fn from_digest(digest: digest::Digest) -> Hash {
    let mut hash = [0; Hash::BYTES];
    hash.copy_from_slice(digest.as_ref());
    Hash(hash)
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// The text is not the base64 of 32 bytes in its canonical spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAHash;

impl fmt::Display for NotAHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the base64 of a hash of 32 bytes")
    }
}

impl std::error::Error for NotAHash {}

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Hash, NotAHash> {
        // Longer text is refused before it is decoded.
        if text.len() != Hash::BYTES.div_ceil(3) * 4 {
            return Err(NotAHash);
        }
        let bytes = STANDARD.decode(text).map_err(|_| NotAHash)?;
        bytes.try_into().map(Hash).map_err(|_| NotAHash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(hash: Hash) -> String {
        let halves = hash.0.as_chunks::<16>().0.iter().copied();
        halves
            .map(u128::from_be_bytes)
            .fold(String::new(), |text, half| format!("{text}{half:032x}"))
    }

    #[test]
    fn the_hashes_are_those_of_certificate_transparency() {
        assert_eq!(sha256(b""), Hash::EMPTY);
        assert_eq!(
            hex(leaf(b"")),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_eq!(
            hex(node(&leaf(b""), &leaf(b"\0"))),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
    }

    #[test]
    fn an_entry_that_spells_a_node_hashes_otherwise() {
        let (left, right) = (leaf(b"left"), leaf(b"right"));
        assert_ne!(leaf(&[left.0, right.0].concat()), node(&left, &right));
    }

    proptest! {
        #[test]
        fn a_leaf_is_its_prefix_and_its_entry_however_long(entry in prop::collection::vec(any::<u8>(), 0..3 * SHORT)) {
            prop_assert_eq!(leaf(&entry), sha256(&[&[0], &entry[..]].concat()));
        }

        #[test]
        fn a_hash_reads_back_from_its_text(bytes: [u8; 32]) {
            prop_assert_eq!(Hash(bytes).to_string().parse(), Ok(Hash(bytes)));
        }

        #[test]
        fn a_changed_text_is_another_hash_or_none(bytes: [u8; 32], at in 0..44usize, to in 32..127u8) {
            let text = Hash(bytes).to_string();
            let mut changed = text.clone().into_bytes();
            changed[at] = to;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert_eq!(changed == text, changed.parse() == Ok(Hash(bytes)));
        }
    }

    #[test]
    fn text_of_another_length_or_spelling_is_no_hash() {
        let text = Hash::EMPTY.to_string();
        for wrong in [
            "",
            &text[..43],
            &format!("{text}\n"),
            &format!(" {}", &text[1..]),
            // The same bytes with a bit set where none may be.
            &text.replace("uFU=", "uFV="),
            &STANDARD.encode([0; 31]),
            &STANDARD.encode([0; 33]),
        ] {
            assert_eq!(wrong.parse::<Hash>(), Err(NotAHash), "{wrong}");
        }
    }
}
