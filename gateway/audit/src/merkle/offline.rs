//! Proofs as texts that are checked without the log, by whoever has its public key.
//!
//! ```text
//! c2sp.org/tlog-proof@v1          an entry is in the log (C2SP tlog-proof, "Format")
//! [extra BASE64]
//! index N
//! base64 of a hash ...            RFC 6962 2.1.1, from the leaf up
//!
//! checkpoint                      signed (C2SP tlog-checkpoint)
//!
//! old N                           the log only grew (C2SP tlog-witness, "add-checkpoint", body)
//! base64 of a hash ...            RFC 6962 2.1.2
//!
//! checkpoint                      signed
//! ```
//!
//! The first is checked with the entry's bytes, the second with an older checkpoint that the checker
//! kept. Extra data is not authenticated: it is skipped when read, and never written.

use std::fmt;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::hash::Hash;
use super::key::Verifier;
use super::proof::{Consistency, Inclusion, ProofError};
use super::range::Head;

/// No text is longer than this, bytes: a checkpoint of the greatest length, and the longest proof.
pub const MAX_BYTES: usize = 512 * 1024;

/// No proof has more hashes than this: two for each level of the largest tree.
const MAX_HASHES: usize = 126;

const HEAD: &str = "c2sp.org/tlog-proof@v1";

/// Proof that an entry is in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    proof: Inclusion,
    /// The bytes of a note.
    checkpoint: String,
}

impl Included {
    /// A proof, with the signed checkpoint that it leads to.
    #[must_use]
    pub fn new(proof: Inclusion, checkpoint: String) -> Included {
        Included { proof, checkpoint }
    }

    /// The number of the entry that it is about.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.proof.index
    }

    /// Reads a proof. This says nothing about whether it holds.
    ///
    /// # Errors
    /// [`OfflineError`] when it is none.
    pub fn parse(text: &str) -> Result<Included, OfflineError> {
        let (lines, checkpoint) = split(text)?;
        let mut lines = lines.split('\n').peekable();
        if lines.next() != Some(HEAD) {
            return Err(OfflineError::Head);
        }
        lines.next_if(|line| line.starts_with("extra "));
        let index = number(lines.next(), "index ")?;
        let path = hashes(lines)?;
        Ok(Included {
            proof: Inclusion { index, path },
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// Checks that the leaf of this hash stands at its index in the log with this key. Returns the
    /// head that it was proved against.
    ///
    /// # Errors
    /// [`OfflineError`] when that is not proved.
    pub fn verify(&self, leaf: &Hash, key: &Verifier) -> Result<Head, OfflineError> {
        let head = open(&self.checkpoint, key)?;
        self.proof
            .verify(leaf, &head)
            .map_err(OfflineError::Proof)?;
        Ok(head)
    }
}

impl fmt::Display for Included {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}\nindex {}", self.proof.index)?;
        self.proof
            .path
            .iter()
            .try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Proof that a log only grew since an older checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    from: u64,
    proof: Consistency,
    /// The bytes of a note.
    checkpoint: String,
}

impl Grown {
    /// A proof from this size on, with the signed checkpoint that it leads to.
    #[must_use]
    pub fn new(from: u64, proof: Consistency, checkpoint: String) -> Grown {
        Grown {
            from,
            proof,
            checkpoint,
        }
    }

    /// Reads a proof. This says nothing about whether it holds.
    ///
    /// # Errors
    /// [`OfflineError`] when it is none.
    pub fn parse(text: &str) -> Result<Grown, OfflineError> {
        let (lines, checkpoint) = split(text)?;
        let mut lines = lines.split('\n');
        let from = number(lines.next(), "old ")?;
        let path = hashes(lines)?;
        Ok(Grown {
            from,
            proof: Consistency { path },
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// The size of the older tree.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.from
    }

    /// The proof.
    #[must_use]
    pub fn proof(&self) -> &Consistency {
        &self.proof
    }

    /// The bytes of the checkpoint that it leads to.
    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// Checks that the log with this key only grew since `old`, a checkpoint of it that was kept, which
    /// one of the `known` keys of the log signed. Returns the sizes.
    ///
    /// # Errors
    /// [`OfflineError`] when that is not proved.
    pub fn verify(
        &self,
        old: &[u8],
        known: &[Verifier],
        key: &Verifier,
    ) -> Result<(Head, Head), OfflineError> {
        let origin = key.name().as_str();
        let old = Checkpoint::open(old, origin, known, &[]).map_err(OfflineError::Old)?;
        let old = old.checkpoint().head();
        if old.size != self.from {
            return Err(OfflineError::OtherSize {
                expected: self.from,
                found: old.size,
            });
        }
        let head = open(&self.checkpoint, key)?;
        self.proof
            .verify(&old, &head)
            .map_err(OfflineError::Proof)?;
        Ok((old, head))
    }
}

impl fmt::Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.from)?;
        self.proof
            .path
            .iter()
            .try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// The lines of the proof, and the checkpoint behind the first empty line.
fn split(text: &str) -> Result<(&str, &str), OfflineError> {
    if text.len() > MAX_BYTES {
        return Err(OfflineError::TooLong);
    }
    text.split_once("\n\n").ok_or(OfflineError::Checkpointless)
}

fn open(note: &str, key: &Verifier) -> Result<Head, OfflineError> {
    let keys = [key.clone()];
    let opened = Checkpoint::open(note.as_bytes(), key.name().as_str(), &keys, &[]);
    Ok(opened
        .map_err(OfflineError::Checkpoint)?
        .checkpoint()
        .head())
}

/// A decimal without sign or leading zeros behind this word.
fn number(line: Option<&str>, word: &'static str) -> Result<u64, OfflineError> {
    let text = line.and_then(|line| line.strip_prefix(word));
    let number = text.and_then(|text| text.parse::<u64>().ok());
    match (text, number) {
        (Some(text), Some(number)) if number.to_string() == text => Ok(number),
        _ => Err(OfflineError::Number { word }),
    }
}

fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, OfflineError> {
    let mut hashes = Vec::new();
    for line in lines {
        if hashes.len() == MAX_HASHES {
            return Err(OfflineError::TooLong);
        }
        hashes.push(line.parse().map_err(|_| OfflineError::Hash {
            number: hashes.len(),
        })?);
    }
    Ok(hashes)
}

/// Why a text proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfflineError {
    /// It does not begin as a proof.
    Head,
    /// A line with a number is not there, or not in its one spelling.
    Number {
        /// How the line begins.
        word: &'static str,
    },
    /// A line is no hash.
    Hash {
        /// Which of the hashes, from 0.
        number: usize,
    },
    /// There is no checkpoint behind the proof.
    Checkpointless,
    /// Longer than any proof.
    TooLong,
    /// The checkpoint is not to be believed.
    Checkpoint(CheckpointError),
    /// The older checkpoint is not to be believed.
    Old(CheckpointError),
    /// The older checkpoint is of another size than the proof begins with.
    OtherSize {
        /// What the proof begins with.
        expected: u64,
        /// What the checkpoint has.
        found: u64,
    },
    /// The hashes do not lead to the checkpoint.
    Proof(ProofError),
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OfflineError::Head => write!(f, "a proof begins with the line {HEAD}"),
            OfflineError::Number { word } => {
                write!(f, "the line `{word}` with a number is missing or misspelt")
            }
            OfflineError::Hash { number } => {
                write!(f, "line {} of the hashes is none", number + 1)
            }
            OfflineError::Checkpointless => f.write_str("there is no checkpoint behind the proof"),
            OfflineError::TooLong => f.write_str("longer than any proof"),
            OfflineError::Checkpoint(error) => write!(f, "its checkpoint: {error}"),
            OfflineError::Old(error) => write!(f, "the older checkpoint: {error}"),
            OfflineError::OtherSize { expected, found } => write!(
                f,
                "it begins with {expected} entries, and the older checkpoint is of {found}"
            ),
            OfflineError::Proof(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OfflineError {}

#[cfg(test)]
mod tests {
    use super::super::hash;
    use super::super::key::Signer;
    use super::super::range::Frontier;
    use super::super::range::tests::leaves;
    use super::*;
    use proptest::prelude::*;

    fn signer(seed: u8) -> Signer {
        Signer::new("example.com/log".parse().unwrap(), &[seed; 32]).unwrap()
    }

    fn note(leaves: &[Hash]) -> String {
        let mut frontier = Frontier::new();
        for leaf in leaves {
            frontier.append(*leaf);
        }
        let checkpoint = Checkpoint::new("example.com/log", frontier.head(), &[]).unwrap();
        checkpoint.sign(&signer(1)).unwrap().to_string()
    }

    fn included(index: u64, size: usize) -> (Included, Vec<Hash>) {
        let leaves = leaves(size as u64);
        let proof = Inclusion::prove(&mut &leaves[..], index, size as u64).unwrap();
        (Included::new(proof, note(&leaves)), leaves)
    }

    #[test]
    fn a_proof_has_the_form_of_the_specification() {
        let (proof, leaves) = included(1, 2);
        let text = proof.to_string();
        let note = note(&leaves);
        assert_eq!(
            text,
            format!("c2sp.org/tlog-proof@v1\nindex 1\n{}\n\n{note}", leaves[0])
        );
        assert_eq!(Included::parse(&text), Ok(proof.clone()));
        let with_extra = text.replace("index", "extra bm90aGluZw==\nindex");
        assert_eq!(Included::parse(&with_extra), Ok(proof));
    }

    #[test]
    fn a_proof_of_an_only_entry_has_no_hashes() {
        let (proof, leaves) = included(0, 1);
        let read = Included::parse(&proof.to_string()).unwrap();
        assert_eq!(
            read.verify(&leaves[0], signer(1).verifier()).unwrap().size,
            1
        );
    }

    #[test]
    fn a_proof_holds_for_its_entry_and_key_alone() {
        let (proof, leaves) = included(5, 13);
        let key = signer(1);
        assert_eq!(proof.verify(&leaves[5], key.verifier()).unwrap().size, 13);
        let other = proof.verify(&leaves[6], key.verifier());
        assert!(matches!(other, Err(OfflineError::Proof(_))));
        let other = proof.verify(&hash::leaf(b"forged"), key.verifier());
        assert!(matches!(other, Err(OfflineError::Proof(_))));
        let other = proof.verify(&leaves[5], signer(2).verifier());
        assert!(matches!(other, Err(OfflineError::Checkpoint(_))));
    }

    #[test]
    fn growth_is_proved_against_the_checkpoint_that_was_kept() {
        let leaves = leaves(20);
        let proof = Consistency::prove(&mut &leaves[..], 7, 20).unwrap();
        let grown = Grown::new(7, proof, note(&leaves));
        let read = Grown::parse(&grown.to_string()).unwrap();
        assert_eq!(read, grown);
        let old = note(&leaves[..7]);
        let known = [signer(1).verifier().clone()];
        let (from, to) = read
            .verify(old.as_bytes(), &known, signer(1).verifier())
            .unwrap();
        assert_eq!((from.size, to.size), (7, 20));
        let mut forged = leaves[..7].to_vec();
        forged[3] = hash::leaf(b"forged");
        let refused = read.verify(note(&forged).as_bytes(), &known, signer(1).verifier());
        assert!(matches!(refused, Err(OfflineError::Proof(_))));
        let refused = read.verify(note(&leaves[..8]).as_bytes(), &known, signer(1).verifier());
        assert!(matches!(refused, Err(OfflineError::OtherSize { .. })));
    }

    proptest! {
        #[test]
        fn every_changed_byte_of_a_proof_is_found(index in 0..13_u64, at: prop::sample::Index, flip in 1..=127u8) {
            let (proof, leaves) = included(index, 13);
            let mut bytes = proof.to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let leaf = leaves[usize::try_from(index).unwrap()];
            let checked = Included::parse(&text).and_then(|proof| {
                // Another index is another claim: it must not hold for this entry.
                proof.verify(&leaf, signer(1).verifier())
            });
            prop_assert!(checked.is_err(), "{text}");
        }

        #[test]
        fn arbitrary_text_never_panics(text in "(\\PC|\n){0,200}", head: bool) {
            let text = if head { format!("{HEAD}\nindex 5\n{text}") } else { text };
            let _ = Included::parse(&text);
            let _ = Grown::parse(&text);
        }
    }
}
