//! Rotations: the key of a log hands over to the next one, signed by both (C2SP signed-note).
//!
//! ```text
//! phigate audit key rotation v1
//! old <vkey>                        what signed so far
//! new <vkey>                        what signs from here on, of the same name
//! behind <size> <root>              what the log held when that was decided
//!
//! — <name> <signature of the old key>
//! — <name> <signature of the new key>
//! ```
//!
//! The old key vouches for the new one, and for the entries that come before it: who holds the new
//! one alone cannot put the rotation before them. The new key vouches that it is the one that is
//! meant. The first line holds spaces, so no such text is a checkpoint of any log (`checkpoint`: an
//! origin here is the name of a key). Ed25519 signatures are deterministic: a rotation has one
//! spelling.
//!
//! Not here: where in a log a rotation takes force. The entry that holds it says so
//! (`event::SigningKey`).

use std::fmt;

use super::key::{Algorithm, Signer, Verifier};
use super::note::{Note, NoteError, Signature, VerifyError};
use super::range::{Head, MAX_SIZE};

/// No chain has more rotations than this: a log that lives eight years can have a new key each quarter.
pub const MAX_ROTATIONS: usize = 32;

/// A rotation whose signatures both hold. Only [`Rotation::sign`] and [`Rotation::parse`] make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    old: Verifier,
    new: Verifier,
    behind: Head,
    note: String,
}

impl Rotation {
    /// Hands over from one key to the other, in a log that is signed up to `behind` at least.
    ///
    /// # Errors
    /// [`RotationError::Keys`] when one cannot follow the other, [`RotationError::Behind`] when
    /// nothing is signed yet.
    pub fn sign(old: &Signer, new: &Signer, behind: Head) -> Result<Rotation, RotationError> {
        let (first, second) = (old.verifier(), new.verifier());
        judge(first, second, behind)?;
        let text = text(first, second, behind);
        let mut note =
            Note::new(text.clone(), Signature::new(&text, old)).map_err(RotationError::Note)?;
        note.add(Signature::new(&text, new))
            .map_err(RotationError::Note)?;
        Ok(Rotation {
            old: first.clone(),
            new: second.clone(),
            behind,
            note: note.to_string(),
        })
    }

    /// Reads a rotation, and sees that both keys signed it. That it belongs to a certain log, and is
    /// in force, is for others to see.
    ///
    /// # Errors
    /// [`RotationError`].
    pub fn parse(note: &[u8]) -> Result<Rotation, RotationError> {
        let parsed = Note::parse(note).map_err(RotationError::Note)?;
        let (old, new, behind) = read(parsed.text()).ok_or(RotationError::Text)?;
        judge(&old, &new, behind)?;
        // In this order, and nobody else: one spelling.
        let ids = parsed.signatures().iter().map(Signature::id);
        if !ids.eq([old.id(), new.id()]) {
            return Err(RotationError::OneSided);
        }
        let keys = [old, new];
        let signed = parsed.verify(&keys).map_err(RotationError::Signature)?;
        if signed.len() != keys.len() || parsed.to_string().as_bytes() != note {
            return Err(RotationError::OneSided);
        }
        let [old, new] = keys;
        Ok(Rotation {
            old,
            new,
            behind,
            note: parsed.to_string(),
        })
    }

    /// The key that signed so far.
    #[must_use]
    pub fn old(&self) -> &Verifier {
        &self.old
    }

    /// The key that signs from here on.
    #[must_use]
    pub fn new_key(&self) -> &Verifier {
        &self.new
    }

    /// What the log held when the keys were changed: it takes force no earlier.
    #[must_use]
    pub fn behind(&self) -> Head {
        self.behind
    }

    /// The signed note.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }
}

const HEAD: &str = "phigate audit key rotation v1";

fn text(old: &Verifier, new: &Verifier, Head { size, root }: Head) -> String {
    format!("{HEAD}\nold {old}\nnew {new}\nbehind {size} {root}\n")
}

fn read(given: &str) -> Option<(Verifier, Verifier, Head)> {
    let mut lines = given.lines();
    if lines.next()? != HEAD {
        return None;
    }
    let old = lines.next()?.strip_prefix("old ")?.parse().ok()?;
    let new = lines.next()?.strip_prefix("new ")?.parse().ok()?;
    let (size, root) = lines.next()?.strip_prefix("behind ")?.split_once(' ')?;
    let behind = Head {
        size: size.parse().ok()?,
        root: root.parse().ok()?,
    };
    // Its one spelling.
    (text(&old, &new, behind) == given).then_some((old, new, behind))
}

/// Whether one key can follow the other, behind a log of this size.
fn judge(old: &Verifier, new: &Verifier, behind: Head) -> Result<(), RotationError> {
    let signs = |key: &Verifier| key.algorithm() == Algorithm::Ed25519;
    // Two keys of one id could not be told apart.
    if old.name() != new.name() || old.id() == new.id() || !signs(old) || !signs(new) {
        return Err(RotationError::Keys);
    }
    if !(1..=MAX_SIZE).contains(&behind.size) {
        return Err(RotationError::Behind);
    }
    Ok(())
}

/// Rotations of one log, each from the key that the one before led to; no key stands there twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain(Vec<Rotation>);

impl Chain {
    /// Adds a rotation at the end.
    ///
    /// # Errors
    /// [`RotationError::Elsewhere`] when it does not begin where the chain ends, comes back to a key
    /// or is behind less than the one before; [`RotationError::TooMany`]. The chain is then as it was.
    pub fn push(&mut self, rotation: Rotation) -> Result<(), RotationError> {
        if self.0.len() == MAX_ROTATIONS {
            return Err(RotationError::TooMany);
        }
        if let Some(last) = self.0.last() {
            let follows = last.new == rotation.old && last.behind.size <= rotation.behind.size;
            if !follows || self.keys().any(|key| key.id() == rotation.new.id()) {
                return Err(RotationError::Elsewhere);
            }
        }
        self.0.push(rotation);
        Ok(())
    }

    /// The rotations in order.
    #[must_use]
    pub fn rotations(&self) -> &[Rotation] {
        &self.0
    }

    /// Its keys in order; none when nothing was rotated.
    pub fn keys(&self) -> impl Iterator<Item = &Verifier> {
        let first = self.0.first().map(Rotation::old);
        first
            .into_iter()
            .chain(self.0.iter().map(Rotation::new_key))
    }

    /// The rotations that lead from this key to the last one; nothing when it is none of the chain's.
    #[must_use]
    pub fn behind_key(&self, key: &Verifier) -> Option<&[Rotation]> {
        let place = self.keys().position(|known| known == key)?;
        self.0.get(place..)
    }
}

/// No text of rotations is longer than this, bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// Rotations as a text: their notes in order, each behind the last with an empty line between.
#[must_use]
pub fn write(chain: &Chain) -> String {
    let notes: Vec<&str> = chain.0.iter().map(Rotation::note).collect();
    notes.join("\n")
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// [`RotationError`] when one of them is none, or does not follow the one before it.
pub fn read_all(text: &[u8]) -> Result<Chain, RotationError> {
    let mut chain = Chain::default();
    let mut rest = match std::str::from_utf8(text) {
        Ok(text) if text.len() <= MAX_BYTES => text,
        Ok(_) => return Err(RotationError::TooMany),
        Err(_) => return Err(RotationError::Text),
    };
    while !rest.is_empty() {
        // Each begins with the same line, and no other line is that one.
        let end = rest.find(BETWEEN).map_or(rest.len(), |at| at + 1);
        chain.push(Rotation::parse(&rest.as_bytes()[..end])?)?;
        rest = rest[end..].strip_prefix('\n').unwrap_or_default();
    }
    Ok(chain)
}

/// The end of one note and the beginning of the next.
const BETWEEN: &str = "\n\nphigate audit key rotation v1\n";

/// Why bytes are no rotation, or not the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationError {
    /// No note.
    Note(NoteError),
    /// A note, and its text is no rotation's.
    Text,
    /// Keys of two names, of another type, or the same key.
    Keys,
    /// Behind no entries, or more than there can be.
    Behind,
    /// Not signed by the old key and then the new one, and nobody else.
    OneSided,
    /// A signature does not hold.
    Signature(VerifyError),
    /// It does not lead on from the key before it.
    Elsewhere,
    /// More than [`MAX_ROTATIONS`].
    TooMany,
}

impl fmt::Display for RotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RotationError::Note(error) => error.fmt(f),
            RotationError::Text => f.write_str("its text is not that of a rotation"),
            RotationError::Keys => {
                f.write_str("a rotation leads to another key for notes, of the same name")
            }
            RotationError::Behind => {
                f.write_str("a rotation stands behind an entry that is signed")
            }
            RotationError::OneSided => {
                f.write_str("a rotation is signed by the old key and the new one, and nobody else")
            }
            RotationError::Signature(error) => error.fmt(f),
            RotationError::Elsewhere => {
                f.write_str("the rotation does not lead on from the key before it")
            }
            RotationError::TooMany => write!(f, "more than {MAX_ROTATIONS} rotations"),
        }
    }
}

impl std::error::Error for RotationError {}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::Checkpoint;
    use super::super::hash::Hash;
    use super::*;
    use proptest::prelude::*;

    fn signer(seed: u8) -> Signer {
        Signer::new("example.com/log".parse().unwrap(), &[seed; 32]).unwrap()
    }

    fn head(size: u64) -> Head {
        Head {
            size,
            root: Hash::new([9; 32]),
        }
    }

    fn rotation(old: u8, new: u8, size: u64) -> Rotation {
        Rotation::sign(&signer(old), &signer(new), head(size)).unwrap()
    }

    #[test]
    fn a_rotation_reads_back_and_names_both_keys_and_what_it_stands_behind() {
        let rotation = rotation(1, 2, 7);
        let read = Rotation::parse(rotation.note().as_bytes()).unwrap();
        assert_eq!(read, rotation);
        assert_eq!(read.old(), signer(1).verifier());
        assert_eq!(read.new_key(), signer(2).verifier());
        assert_eq!(read.behind(), head(7));
    }

    #[test]
    fn a_rotation_without_one_of_its_signatures_or_with_another_is_none() {
        let whole = rotation(1, 2, 7);
        let note = Note::parse(whole.note().as_bytes()).unwrap();
        let text = note.text().to_owned();
        let sign = |seed| Signature::new(&text, &signer(seed));
        let made = |signers: &[u8]| {
            let mut note = Note::new(text.clone(), sign(signers[0])).unwrap();
            for seed in &signers[1..] {
                note.add(sign(*seed)).unwrap();
            }
            Rotation::parse(note.to_string().as_bytes())
        };
        assert_eq!(made(&[1, 2]), Ok(whole.clone()));
        for signers in [&[1][..], &[2], &[2, 1], &[1, 3], &[3, 2], &[1, 2, 3]] {
            assert_eq!(made(signers), Err(RotationError::OneSided), "{signers:?}");
        }
        // The old key's signature over another text.
        let other = rotation(1, 2, 8);
        let lines: Vec<&str> = whole.note().lines().collect();
        let forged: Vec<&str> = other.note().lines().take(6).chain([lines[6]]).collect();
        let forged = Rotation::parse((forged.join("\n") + "\n").as_bytes());
        assert!(
            matches!(forged, Err(RotationError::Signature(_))),
            "{forged:?}"
        );
    }

    #[test]
    fn keys_that_cannot_follow_each_other_do_not() {
        let named = Signer::new("example.com/other".parse().unwrap(), &[2; 32]).unwrap();
        for (new, behind, error) in [
            (signer(1), head(7), RotationError::Keys),
            (named, head(7), RotationError::Keys),
            (signer(2), Head::EMPTY, RotationError::Behind),
        ] {
            assert_eq!(Rotation::sign(&signer(1), &new, behind), Err(error));
        }
    }

    #[test]
    fn a_chain_leads_from_key_to_key_and_never_back() {
        let mut chain = Chain::default();
        chain.push(rotation(1, 2, 5)).unwrap();
        for wrong in [(1, 3, 6), (3, 4, 6), (2, 1, 6), (2, 3, 4)] {
            let pushed = chain.push(rotation(wrong.0, wrong.1, wrong.2));
            assert_eq!(pushed, Err(RotationError::Elsewhere), "{wrong:?}");
        }
        chain.push(rotation(2, 3, 5)).unwrap();
        let keys: Vec<_> = chain.keys().collect();
        let (one, two, three) = (signer(1), signer(2), signer(3));
        assert_eq!(keys, [one.verifier(), two.verifier(), three.verifier()]);
        let left = |key: &Signer| chain.behind_key(key.verifier()).map(<[_]>::len);
        assert_eq!(
            (left(&one), left(&two), left(&three)),
            (Some(2), Some(1), Some(0))
        );
        assert_eq!(left(&signer(4)), None);
        assert_eq!(read_all(write(&chain).as_bytes()), Ok(chain.clone()));
        let first = write(&chain)
            .split_inclusive('\n')
            .take(7)
            .collect::<String>();
        assert_eq!(
            read_all(first.as_bytes()).map(|chain| chain.rotations().len()),
            Ok(1)
        );
        assert!(read_all(format!("{first}\n\n{first}").as_bytes()).is_err());
        assert_eq!(
            read_all(&vec![b'x'; MAX_BYTES + 1]),
            Err(RotationError::TooMany)
        );
        for seed in 3..=u8::try_from(MAX_ROTATIONS).unwrap() {
            chain.push(rotation(seed, seed + 1, 5)).unwrap();
        }
        assert_eq!(chain.push(rotation(33, 34, 5)), Err(RotationError::TooMany));
    }

    #[test]
    fn a_rotation_is_no_checkpoint() {
        let text = Note::parse(rotation(1, 2, 7).note().as_bytes()).unwrap();
        assert!(Checkpoint::parse(text.text()).is_err());
    }

    proptest! {
        #[test]
        fn every_changed_byte_is_found(at: prop::sample::Index, flip in 1..=255u8) {
            let mut bytes = rotation(1, 2, 4711).note().as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Rotation::parse(&bytes).is_err());
        }

        #[test]
        fn arbitrary_text_never_panics(text in "(phigate audit key rotation v1\n)?(old |new |behind |\\PC|\n){0,60}") {
            let _ = Rotation::parse(text.as_bytes());
            let _ = read_all(text.as_bytes());
            let _ = read(&text);
        }
    }
}
