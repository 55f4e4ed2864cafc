//! A disclosed entry: one text that shows what an entry of the log says, to whoever has the log's
//! public key and nothing else.
//!
//! ```text
//! phigate audit disclosure 1
//! leaf BASE64             the entry as it stands in the log, sealed or in the clear
//! entry BASE64            what is sealed in it: canonical CBOR           of a sealed leaf alone
//! opening BASE64          r                                              of a sealed leaf alone
//! target BASE64           the raw target of its request                  where it was asked for
//! target-opening BASE64   r of that                                      where it was asked for
//!
//! c2sp.org/tlog-proof@v1  the leaf is in the log, and where (C2SP tlog-proof, `merkle::offline`)
//! index N
//! base64 of a hash ...
//!
//! checkpoint              signed (C2SP tlog-checkpoint)
//! ```
//!
//! ```text
//! public key --> checkpoint --> leaf --------> entry --------> target
//! from outside   signature      path of        HMAC(r, entry)  HMAC(r, target)
//!                               hashes         in the header   in the block
//!                                              of the leaf     within the entry
//! ```
//!
//! Each step binds the one behind it, so nothing in the text can be changed: not by who hands it on, and
//! not by the gateway that wrote the entry. What a step does not show stays shut: r is made for one entry
//! (`seal::sealed`) or one target (`seal::target`) and leads to no key, and the hashes of other leaves
//! tell nothing of what is sealed in them. Without its line the raw target stays sealed.
//!
//! Signatures of other keys than the one it is checked with are skipped, as C2SP signed-note asks.
//! What this does not show: that nothing else happened, and what the gateway did not record.
//!
//! Pure: no file, clock or source of randomness.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::entry::{self, EntryError};
use crate::event::Entry;
use crate::merkle::hash;
use crate::merkle::key::Verifier;
use crate::merkle::offline::{self, Included, OfflineError};
use crate::merkle::range::Head;
use crate::seal::opener::Opened;
use crate::seal::sealed::{self, Leaf, LeafError};
use crate::seal::target::{self, OpenedTarget};

/// No disclosure is longer than this, bytes.
pub const MAX_BYTES: usize = offline::MAX_BYTES + 64 * 1024;

/// A proof, and leaf, entry and target in base64 with their words, fit.
const _: () = assert!(
    offline::MAX_BYTES + 4 * (sealed::MAX_BYTES + entry::MAX_BYTES + target::MAX_BYTES) / 3 + 512
        <= MAX_BYTES
);

const HEAD: &str = "phigate audit disclosure 1";
const LEAF: &str = "leaf ";
const ENTRY: &str = "entry ";
const OPENING: &str = "opening ";
const TARGET: &str = "target ";
const TARGET_OPENING: &str = "target-opening ";

/// A disclosed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    leaf: Vec<u8>,
    /// What is sealed in the leaf.
    entry: Option<Told>,
    target: Option<Told>,
    included: Included,
}

/// What was sealed, and what shows that it is that.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    bytes: Vec<u8>,
    opening: [u8; 32],
}

/// What a disclosure shows.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The number of the entry.
    pub sequence: u64,
    /// The entry.
    pub entry: Entry<'a>,
    /// The raw target of its request, where it is disclosed.
    pub target: Option<&'a [u8]>,
    /// The log that it is in, as of the checkpoint.
    pub head: Head,
}

impl Disclosure {
    /// Discloses an entry in the clear.
    #[must_use]
    pub fn of_clear(leaf: Vec<u8>, included: Included) -> Disclosure {
        Disclosure {
            leaf,
            entry: None,
            target: None,
            included,
        }
    }

    /// Discloses an entry that was opened, and the target in it where that was opened too.
    #[must_use]
    pub fn of_sealed(
        leaf: Vec<u8>,
        opened: &Opened,
        target: Option<&OpenedTarget>,
        included: Included,
    ) -> Disclosure {
        let told = |bytes: &[u8], opening: &[u8; 32]| Told {
            bytes: bytes.to_vec(),
            opening: *opening,
        };
        Disclosure {
            leaf,
            entry: Some(told(opened.plaintext(), opened.opening())),
            target: target.map(|target| told(target.raw(), target.opening())),
            included,
        }
    }

    /// Reads a disclosure, in its one spelling. This says nothing about whether it holds.
    ///
    /// # Errors
    /// [`DisclosureError`] when it is none.
    pub fn parse(text: &[u8]) -> Result<Disclosure, DisclosureError> {
        if text.len() > MAX_BYTES {
            return Err(DisclosureError::TooLong);
        }
        let text = std::str::from_utf8(text).map_err(|_| DisclosureError::Head)?;
        let (lines, proof) = text.split_once("\n\n").ok_or(DisclosureError::Head)?;
        let mut lines = lines.split('\n').peekable();
        if lines.next() != Some(HEAD) {
            return Err(DisclosureError::Head);
        }
        let mut field = |word: &'static str| match lines.next_if(|line| line.starts_with(word)) {
            Some(line) => {
                let bytes = STANDARD.decode(&line[word.len()..]);
                bytes.map(Some).map_err(|_| DisclosureError::Line { word })
            }
            None => Ok(None),
        };
        let missing = |word| DisclosureError::Line { word };
        let leaf = field(LEAF)?.ok_or(missing(LEAF))?;
        let mut told = |word, opening| {
            let Some(bytes) = field(word)? else {
                return Ok(None);
            };
            let opening = field(opening)?
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or(missing(opening))?;
            Ok(Some(Told { bytes, opening }))
        };
        let entry = told(ENTRY, OPENING)?;
        let target = told(TARGET, TARGET_OPENING)?;
        if lines.next().is_some() {
            return Err(DisclosureError::Superfluous);
        }
        Ok(Disclosure {
            leaf,
            entry,
            target,
            included: Included::parse(proof).map_err(DisclosureError::Proof)?,
        })
    }

    /// Checks all of it, and returns what it shows of the log with this key. Fails closed: nothing is
    /// shown of what does not hold as a whole.
    ///
    /// # Errors
    /// [`DisclosureError`], the first step that does not hold.
    pub fn check(&self, key: &Verifier) -> Result<Shown<'_>, DisclosureError> {
        let leaf = hash::leaf(&self.leaf);
        let head = self.included.verify(&leaf, key);
        let head = head.map_err(DisclosureError::Proof)?;
        let parsed = Leaf::parse(&self.leaf).map_err(DisclosureError::Leaf)?;
        let bytes = match (parsed, &self.entry) {
            (Leaf::Clear(bytes), None) => bytes,
            (Leaf::Sealed(sealed), Some(told)) => sealed
                .discloses(&told.bytes, &told.opening)
                .then_some(&told.bytes[..])
                .ok_or(DisclosureError::OtherEntry)?,
            (Leaf::Clear(_), Some(_)) => return Err(DisclosureError::Superfluous),
            (Leaf::Sealed(_), None) => return Err(DisclosureError::Line { word: ENTRY }),
        };
        let entry = entry::decode(bytes).map_err(DisclosureError::Entry)?;
        let block = entry.event.request().and_then(|request| request.target);
        let target = match (&self.target, block) {
            (None, _) => None,
            (Some(told), Some(block)) => target::discloses(block, &told.bytes, &told.opening)
                .then_some(Some(&told.bytes[..]))
                .ok_or(DisclosureError::OtherTarget)?,
            (Some(_), None) => return Err(DisclosureError::OtherTarget),
        };
        Ok(Shown {
            sequence: self.included.index(),
            entry,
            target,
            head,
        })
    }
}

impl fmt::Display for Disclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |word, bytes: &[u8]| format!("{word}{}\n", STANDARD.encode(bytes));
        let told = |word, opening, told: &Option<Told>| {
            let lines = told
                .as_ref()
                .map(|told| line(word, &told.bytes) + &line(opening, &told.opening));
            lines.unwrap_or_default()
        };
        writeln!(f, "{HEAD}")?;
        f.write_str(&line(LEAF, &self.leaf))?;
        f.write_str(&told(ENTRY, OPENING, &self.entry))?;
        f.write_str(&told(TARGET, TARGET_OPENING, &self.target))?;
        write!(f, "\n{}", self.included)
    }
}

/// Why a text discloses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DisclosureError {
    /// It is none.
    Head,
    /// Longer than any.
    TooLong,
    /// A line is missing, or not in base64, or of another length.
    Line {
        /// How it begins.
        word: &'static str,
    },
    /// It holds what does not belong there.
    Superfluous,
    /// The leaf is not proved to be in the log.
    Proof(OfflineError),
    /// The leaf is none.
    Leaf(LeafError),
    /// The entry is not what was sealed in the leaf.
    OtherEntry,
    /// The entry is none.
    Entry(EntryError),
    /// The target is not the one in the entry.
    OtherTarget,
}

impl DisclosureError {
    /// What whoever checks it can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            DisclosureError::Head => {
                "a disclosure is what `audit disclose` prints; a proof of `audit prove` is checked with --leaf or --old"
            }
            _ => "a disclosure holds as a whole, as it was printed, and with the key of its log",
        }
    }
}

impl fmt::Display for DisclosureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DisclosureError::Head => write!(f, "a disclosure begins with the line {HEAD}"),
            DisclosureError::TooLong => f.write_str("longer than any disclosure"),
            DisclosureError::Line { word } => {
                write!(f, "the line `{}` is missing or misspelt", word.trim_end())
            }
            DisclosureError::Superfluous => f.write_str("it holds what does not belong there"),
            DisclosureError::Proof(error) => write!(f, "its proof: {error}"),
            DisclosureError::Leaf(error) => write!(f, "its leaf: {error}"),
            DisclosureError::OtherEntry => {
                f.write_str("its entry is not what the leaf was sealed with")
            }
            DisclosureError::Entry(error) => error.fmt(f),
            DisclosureError::OtherTarget => f.write_str("its target is not the one in the entry"),
        }
    }
}

impl std::error::Error for DisclosureError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(\\PC|\n){0,300}", head: bool, own in "(leaf|entry|opening|target|target-opening) [A-Za-z0-9+/]{0,44}={0,2}") {
            let text = if head { format!("{HEAD}\n{own}\n{text}") } else { text };
            let _ = Disclosure::parse(text.as_bytes());
        }

        #[test]
        fn arbitrary_leaves_entries_and_targets_never_panic(
            leaf: Vec<u8>,
            entry: Option<(Vec<u8>, [u8; 32])>,
            target: Option<(Vec<u8>, [u8; 32])>,
        ) {
            let told = |(bytes, opening)| Told { bytes, opening };
            let key = crate::merkle::key::Signer::new("example.com/log".parse().unwrap(), &[1; 32]).unwrap();
            // A log of one entry: its root is the hash of the leaf.
            let head = Head { size: 1, root: hash::leaf(&leaf) };
            let checkpoint = crate::merkle::checkpoint::Checkpoint::new("example.com/log", head, &[]).unwrap();
            let note = checkpoint.sign(&key).unwrap().to_string();
            let proof = crate::merkle::proof::Inclusion { index: 0, path: Vec::new() };
            let disclosure = Disclosure {
                leaf,
                entry: entry.map(told),
                target: target.map(told),
                included: Included::new(proof, note),
            };
            let read = Disclosure::parse(disclosure.to_string().as_bytes());
            prop_assert_eq!(read.as_ref(), Ok(&disclosure));
            prop_assert!(disclosure.check(key.verifier()).is_err());
        }
    }
}
