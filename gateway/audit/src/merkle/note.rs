//! Signed notes: a text and the signatures over it (C2SP signed-note, "Format" and "Signatures").
//!
//! ```text
//! text of one or more lines
//!
//! — name base64(key id (4)  signature)
//! — ...
//! ```
//!
//! A note that was only parsed is well-formed and no more: its text may be used after
//! [`Note::verify`] found a signature of a known key. Signatures of unknown keys are ignored; one
//! of a known key that does not hold makes the whole note worthless. Cosignatures
//! (C2SP tlog-cosignature, `cosignature/v1`) are signatures of a note with a time of their own.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::key::{Algorithm, Cosigner, KeyId, KeyName, SIGNATURE_BYTES, Signer, Verifier};

/// No note is longer than this, bytes. The specification asks for room for 16 signatures, of which
/// some may be nearly 5 kB long.
pub const MAX_BYTES: usize = 256 * 1024;

/// No note has more signatures than this.
pub const MAX_SIGNATURES: usize = 64;

/// A well-formed text with well-formed signatures, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// The note of this text and its first signature.
    ///
    /// # Errors
    /// [`NoteError`] when no note can hold the text.
    pub fn new(text: String, signature: Signature) -> Result<Note, NoteError> {
        check_characters(text.as_bytes())?;
        if !text.ends_with('\n') {
            return Err(NoteError::End);
        }
        let note = Note {
            text,
            signatures: vec![signature],
        };
        note.bounded()
    }

    /// Reads a note. This says nothing about who signed it.
    ///
    /// # Errors
    /// [`NoteError`] when it is not one, or not within the bounds.
    pub fn parse(bytes: &[u8]) -> Result<Note, NoteError> {
        let note = check_characters(bytes)?;
        // The text may hold empty lines itself: the last one separates.
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Separator)?;
        let lines = signatures.strip_suffix('\n').ok_or(NoteError::End)?;
        let mut signatures = Vec::new();
        for (number, line) in lines.split('\n').enumerate() {
            if number == MAX_SIGNATURES {
                return Err(NoteError::TooMany);
            }
            let wrong = NoteError::Signature { number };
            signatures.push(Signature::parse(line).ok_or(wrong)?);
        }
        Ok(Note {
            text: format!("{text}\n"),
            signatures,
        })
    }

    /// The text, with the newline that ends it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its signatures in order, known and unknown, true and false.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature. One of the same key is replaced.
    ///
    /// # Errors
    /// [`NoteError`] when the note has no room for it; then nothing changes.
    pub fn add(&mut self, signature: Signature) -> Result<(), NoteError> {
        let mut next = self.clone();
        next.signatures
            .retain(|old| !old.is_of_the_key_of(&signature));
        next.signatures.push(signature);
        *self = next.bounded()?;
        Ok(())
    }

    /// The same with the signatures alone that bear the name and id of one of `keys`; nothing when
    /// there is none.
    #[must_use]
    pub fn only_by(mut self, keys: &[Verifier]) -> Option<Note> {
        self.signatures
            .retain(|signature| matches!(signature.key_among(keys), Ok(Some(_))));
        (!self.signatures.is_empty()).then_some(self)
    }

    fn bounded(self) -> Result<Note, NoteError> {
        if self.signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::TooMany);
        }
        let bytes = self.to_string().len();
        if bytes > MAX_BYTES {
            return Err(NoteError::TooLong { bytes });
        }
        Ok(self)
    }

    /// Which of `keys` signed this note, each once; of several cosignatures of one key, the newest.
    ///
    /// # Errors
    /// [`VerifyError::Wrong`] when a signature that bears the name and id of a known key is not
    /// one of this key, [`VerifyError::Unsigned`] when no known key signed. In both cases the text
    /// is worth nothing.
    pub fn verify<'k>(&self, keys: &'k [Verifier]) -> Result<Vec<SignedBy<'k>>, VerifyError> {
        let mut signed: Vec<SignedBy<'k>> = Vec::new();
        for signature in &self.signatures {
            let Some(key) = signature.key_among(keys)? else {
                continue;
            };
            let by = self.check(signature, key)?;
            match signed.iter_mut().find(|known| known.key == key) {
                Some(known) => known.posix_seconds = known.posix_seconds.max(by.posix_seconds),
                None => signed.push(by),
            }
        }
        if signed.is_empty() {
            return Err(VerifyError::Unsigned);
        }
        Ok(signed)
    }

    fn check<'k>(
        &self,
        signature: &Signature,
        key: &'k Verifier,
    ) -> Result<SignedBy<'k>, VerifyError> {
        let (posix_seconds, holds) = match key.algorithm() {
            Algorithm::Ed25519 => (None, key.accepts(self.text.as_bytes(), &signature.bytes)),
            Algorithm::CosignatureV1 => match split_cosignature(&signature.bytes) {
                Some((seconds, bytes)) => {
                    let message = cosigned_message(&self.text, seconds);
                    (Some(seconds), key.accepts(message.as_bytes(), bytes))
                }
                None => (None, false),
            },
        };
        if !holds {
            return Err(VerifyError::Wrong {
                name: key.name().clone(),
                id: key.id(),
            });
        }
        Ok(SignedBy { key, posix_seconds })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// What a note may consist of: bounded UTF-8 without control characters but newline.
fn check_characters(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > MAX_BYTES {
        return Err(NoteError::TooLong { bytes: bytes.len() });
    }
    let is_control = |byte: &u8| *byte < b' ' && *byte != b'\n';
    if let Some(at) = bytes.iter().position(is_control) {
        return Err(NoteError::Character { at });
    }
    str::from_utf8(bytes).map_err(|error| NoteError::Character {
        at: error.valid_up_to(),
    })
}

/// A known key whose signature over the note holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedBy<'k> {
    key: &'k Verifier,
    posix_seconds: Option<u64>,
}

impl<'k> SignedBy<'k> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &'k Verifier {
        self.key
    }

    /// When it was signed, if the key signs times: the word of the signer, in seconds since the
    /// epoch of POSIX. It may lie in the future.
    #[must_use]
    pub fn posix_seconds(&self) -> Option<u64> {
        self.posix_seconds
    }
}

/// One line of signature: whose it claims to be, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    name: KeyName,
    id: KeyId,
    bytes: Vec<u8>,
}

impl Signature {
    /// Signs the text of a note.
    #[must_use]
    pub fn new(text: &str, signer: &Signer) -> Signature {
        Signature {
            name: signer.verifier().name().clone(),
            id: signer.verifier().id(),
            bytes: signer.sign(text.as_bytes()).to_vec(),
        }
    }

    /// Cosigns the text of a checkpoint, and no other (C2SP tlog-cosignature, "Ed25519 signed
    /// message").
    ///
    /// # Errors
    /// [`NotATime`] for 0 and beyond 2^63 - 1.
    pub(super) fn cosign(
        text: &str,
        cosigner: &Cosigner,
        posix_seconds: u64,
    ) -> Result<Signature, NotATime> {
        if !is_time(posix_seconds) {
            return Err(NotATime { posix_seconds });
        }
        let message = cosigned_message(text, posix_seconds);
        let signature = cosigner.sign(message.as_bytes());
        Ok(Signature {
            name: cosigner.verifier().name().clone(),
            id: cosigner.verifier().id(),
            bytes: [&posix_seconds.to_be_bytes()[..], &signature].concat(),
        })
    }

    /// Reads a line without its newline, as a witness answers with it.
    #[must_use]
    pub fn parse(line: &str) -> Option<Signature> {
        let (name, base64) = line.strip_prefix(PREFIX)?.split_once(' ')?;
        if base64.len() > MAX_BYTES {
            return None;
        }
        let bytes = STANDARD.decode(base64).ok()?;
        let (id, signature) = bytes.split_first_chunk()?;
        if signature.is_empty() {
            return None;
        }
        Some(Signature {
            name: name.parse().ok()?,
            id: KeyId(*id),
            bytes: signature.to_vec(),
        })
    }

    /// The name of the key that it claims.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id of the key that it claims.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    fn is_of_the_key_of(&self, other: &Signature) -> bool {
        self.name == other.name && self.id == other.id
    }

    /// The key of the claimed name and id. Two different ones cannot be told apart.
    fn key_among<'k>(&self, keys: &'k [Verifier]) -> Result<Option<&'k Verifier>, VerifyError> {
        let mut known = keys
            .iter()
            .filter(|key| *key.name() == self.name && key.id() == self.id);
        let first = known.next();
        if known.any(|other| Some(other) != first) {
            return Err(VerifyError::Ambiguous {
                name: self.name.clone(),
                id: self.id,
            });
        }
        Ok(first)
    }
}

/// Em dash and space.
const PREFIX: &str = "\u{2014} ";

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.0[..], &self.bytes].concat();
        write!(f, "{PREFIX}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// The time and the signature proper: `timestamped_signature` of C2SP tlog-cosignature.
fn split_cosignature(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (seconds, signature) = bytes.split_first_chunk()?;
    let seconds = u64::from_be_bytes(*seconds);
    (signature.len() == SIGNATURE_BYTES && is_time(seconds)).then_some((seconds, signature))
}

/// Without a time, a cosignature says nothing about which tree was the largest.
fn is_time(posix_seconds: u64) -> bool {
    (1..=i64::MAX.cast_unsigned()).contains(&posix_seconds)
}

fn cosigned_message(text: &str, posix_seconds: u64) -> String {
    format!("cosignature/v1\ntime {posix_seconds}\n{text}")
}

/// The time is 0 or beyond 2^63 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotATime {
    /// The time, seconds.
    pub posix_seconds: u64,
}

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no cosignature bears the time {}", self.posix_seconds)
    }
}

impl std::error::Error for NotATime {}

/// Why bytes are no note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteError {
    /// Longer than [`MAX_BYTES`].
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// Not UTF-8, or a control character other than newline.
    Character {
        /// Where, bytes from the start.
        at: usize,
    },
    /// No empty line between text and signatures.
    Separator,
    /// It does not end with a newline.
    End,
    /// A line of signature is not one.
    Signature {
        /// Which, from 0.
        number: usize,
    },
    /// More than [`MAX_SIGNATURES`].
    TooMany,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoteError::TooLong { bytes } => {
                write!(f, "a note of {bytes} bytes; at most {MAX_BYTES} are read")
            }
            NoteError::Character { at } => {
                write!(
                    f,
                    "byte {at} of the note is not text without control characters"
                )
            }
            NoteError::Separator => f.write_str("the note has no empty line before signatures"),
            NoteError::End => f.write_str("the note does not end with a newline"),
            NoteError::Signature { number } => {
                write!(f, "line {} of the signatures is none", number + 1)
            }
            NoteError::TooMany => {
                write!(f, "the note has more than {MAX_SIGNATURES} signatures")
            }
        }
    }
}

impl std::error::Error for NoteError {}

/// Why the text of a note may not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyError {
    /// A signature bears the name and id of a known key, and is not one of this key over this text.
    Wrong {
        /// The name of the key.
        name: KeyName,
        /// Its id.
        id: KeyId,
    },
    /// Two different known keys have the same name and id.
    Ambiguous {
        /// The name.
        name: KeyName,
        /// The id.
        id: KeyId,
    },
    /// No known key signed it.
    Unsigned,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VerifyError::Wrong { name, id } => {
                write!(f, "the signature of {name}+{id} does not hold")
            }
            VerifyError::Ambiguous { name, id } => {
                write!(f, "two different keys are known as {name}+{id}")
            }
            VerifyError::Unsigned => f.write_str("no known key signed it"),
        }
    }
}

impl std::error::Error for VerifyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of C2SP signed-note, "Verifier keys".
    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn signer(seed: u8) -> Signer {
        Signer::new("example.com/log".parse().unwrap(), &[seed; 32]).unwrap()
    }

    fn cosigner(seed: u8) -> Cosigner {
        Cosigner::new("example.com/witness".parse().unwrap(), &[seed; 32]).unwrap()
    }

    fn signed(text: &str, signer: &Signer) -> Note {
        Note::new(text.to_owned(), Signature::new(text, signer)).unwrap()
    }

    fn keys(signers: &[&Signer]) -> Vec<Verifier> {
        let keys = signers.iter().map(|signer| signer.verifier().clone());
        keys.collect()
    }

    #[test]
    fn the_note_of_the_specification_verifies() {
        let note = Note::parse(NOTE.as_bytes()).unwrap();
        assert_eq!(note.text(), "This is an example message.\n");
        assert_eq!(note.to_string(), NOTE);
        let key: Verifier = VKEY.parse().unwrap();
        let keys = [key];
        let signed = note.verify(&keys).unwrap();
        assert_eq!(signed.len(), 1);
        assert_eq!(signed[0].key(), &keys[0]);
        assert_eq!(signed[0].posix_seconds(), None);
    }

    #[test]
    fn what_is_no_note_is_refused_with_its_reason() {
        let line = NOTE.split("\n\n").nth(1).unwrap();
        let base64 = line.trim_end().rsplit(' ').next().unwrap();
        let with = |line: &str| format!("text\n\n{line}").into_bytes();
        let first = NoteError::Signature { number: 0 };
        for (bytes, error) in [
            (Vec::new(), NoteError::Separator),
            (b"text\n".to_vec(), NoteError::Separator),
            (format!("text\n{line}").into_bytes(), NoteError::Separator),
            (with(""), NoteError::End),
            (with(line.trim_end()), NoteError::End),
            (with("\n"), NoteError::End),
            (with(&line.replace('\u{2014}', "-")), first),
            (with(&line.replace('\u{2014}', "\u{2014} ")), first),
            (with(&line.replace("/foo ", "/foo  ")), first),
            (with(&line.replace("/foo ", "/foo")), first),
            (with(&line.replace("example.com/foo", "")), first),
            (with(&line.replace("example.com/foo", "a+b")), first),
            (with(&line.replace("example.com/foo", "a\u{2003}b")), first),
            (with(&line.replace("=\n", "\n")), first),
            (with(&line.replace("=\n", "= \n")), first),
            (with(&line.replace(base64, "")), first),
            (with(&line.replace(base64, "AAAA")), first),
            // Four bytes: an id without a signature.
            (with(&line.replace(base64, "AAAAAA==")), first),
            (
                with(&format!("{line}x\n")),
                NoteError::Signature { number: 1 },
            ),
            (with(&line.repeat(MAX_SIGNATURES + 1)), NoteError::TooMany),
            (
                NOTE.replace(' ', "\t").into_bytes(),
                NoteError::Character { at: 4 },
            ),
            (
                NOTE.replace('\n', "\r\n").into_bytes(),
                NoteError::Character { at: 27 },
            ),
            (
                NOTE.replace('T', "\0").into_bytes(),
                NoteError::Character { at: 0 },
            ),
            (
                [b"text\xff\n\n", line.as_bytes()].concat(),
                NoteError::Character { at: 4 },
            ),
            (
                vec![b'x'; MAX_BYTES + 1],
                NoteError::TooLong {
                    bytes: MAX_BYTES + 1,
                },
            ),
        ] {
            assert_eq!(Note::parse(&bytes), Err(error), "{}", bytes.escape_ascii());
        }
        assert!(Note::parse(&with(&line.repeat(MAX_SIGNATURES))).is_ok());
        // An id and one byte: of a kind that nobody knows, but a signature.
        assert!(Note::parse(&with(&line.replace(base64, "AAAAAAA="))).is_ok());
    }

    #[test]
    fn a_text_that_no_note_can_hold_is_refused() {
        let signature = Signature::new("", &signer(1));
        for (text, error) in [
            ("", NoteError::End),
            ("text", NoteError::End),
            ("te\txt\n", NoteError::Character { at: 2 }),
        ] {
            assert_eq!(Note::new(text.to_owned(), signature.clone()), Err(error));
        }
        let long = format!("{}\n", "x".repeat(MAX_BYTES - 1));
        let long = Note::new(long, signature);
        assert!(matches!(long, Err(NoteError::TooLong { .. })));
    }

    #[test]
    fn a_note_of_sixteen_long_signatures_is_read() {
        let long = Signature {
            bytes: vec![1; 5000],
            ..Signature::new("text\n", &signer(1))
        };
        let note = Note {
            text: "text\n".to_owned(),
            signatures: vec![long; 16],
        };
        assert_eq!(Note::parse(note.to_string().as_bytes()), Ok(note));
    }

    #[test]
    fn signatures_of_unknown_keys_are_ignored_and_prove_nothing() {
        let (known, other) = (signer(1), signer(2));
        let mut note = signed("text\n", &other);
        assert_eq!(note.verify(&keys(&[&known])), Err(VerifyError::Unsigned));
        assert_eq!(note.verify(&[]), Err(VerifyError::Unsigned));
        note.add(Signature::new("text\n", &known)).unwrap();
        let known = keys(&[&known]);
        let by = note.verify(&known).unwrap();
        assert_eq!(by.len(), 1);
        assert_eq!(by[0].key(), &known[0]);
        // Name or id of a known key, but not both: another key.
        let mut renamed = Signature::new("other\n", &other);
        renamed.id = known[0].id();
        renamed.name = "example.com/other".parse().unwrap();
        note.add(renamed).unwrap();
        assert_eq!(note.verify(&known).map(|by| by.len()), Ok(1));
    }

    #[test]
    fn a_wrong_signature_of_a_known_key_spoils_the_note() {
        let (one, two) = (signer(1), signer(2));
        let mut note = signed("text\n", &one);
        note.add(Signature::new("other\n", &two)).unwrap();
        let wrong = VerifyError::Wrong {
            name: two.verifier().name().clone(),
            id: two.verifier().id(),
        };
        assert_eq!(note.verify(&keys(&[&one, &two])), Err(wrong));
        // Who does not know the second key has nothing to object.
        assert!(note.verify(&keys(&[&one])).is_ok());
    }

    #[test]
    fn a_second_wrong_signature_does_not_hide_behind_a_first_good_one() {
        let one = signer(1);
        let mut note = signed("text\n", &one);
        note.signatures.push(Signature::new("other\n", &one));
        let keys = keys(&[&one]);
        let spoilt = note.verify(&keys);
        assert!(matches!(spoilt, Err(VerifyError::Wrong { .. })));
    }

    #[test]
    fn one_key_counts_once_however_often_it_signs_or_is_known() {
        let (one, witness) = (signer(1), cosigner(1));
        let mut note = signed("text\n", &one);
        note.signatures.push(Signature::new("text\n", &one));
        for seconds in [7, 9, 8] {
            let cosigned = Signature::cosign("text\n", &witness, seconds).unwrap();
            note.signatures.push(cosigned);
        }
        let mut keys = keys(&[&one, &one]);
        keys.push(witness.verifier().clone());
        let by = note.verify(&keys).unwrap();
        let times: Vec<_> = by.iter().map(SignedBy::posix_seconds).collect();
        assert_eq!(times, [None, Some(9)]);
    }

    #[test]
    fn two_keys_that_cannot_be_told_apart_are_refused() {
        // An id has four bytes: among some ten thousand keys two share one.
        let mut ids = std::collections::HashMap::new();
        let name: KeyName = "example.com/log".parse().unwrap();
        let (one, other) = (0_u64..)
            .find_map(|number| {
                let mut public = [0; 32];
                public[..8].copy_from_slice(&number.to_be_bytes());
                let key = Verifier::new(name.clone(), Algorithm::Ed25519, public);
                let before = ids.insert(key.id(), key.clone())?;
                Some((before, key))
            })
            .unwrap();
        let claims = Signature {
            name: name.clone(),
            id: one.id(),
            bytes: vec![1; 64],
        };
        let note = Note::new("text\n".to_owned(), claims.clone()).unwrap();
        let ambiguous = VerifyError::Ambiguous { name, id: one.id() };
        let keys = [one.clone(), other];
        assert_eq!(note.verify(&keys), Err(ambiguous));
        // The same key twice is one key.
        let same = [one.clone(), one.clone()];
        assert_eq!(claims.key_among(&same), Ok(Some(&one)));
    }

    #[test]
    fn a_signature_added_again_replaces_the_first_and_one_too_many_changes_nothing() {
        let mut note = signed("text\n", &signer(0));
        note.add(Signature::new("text\n", &signer(0))).unwrap();
        assert_eq!(note.signatures().len(), 1);
        for seed in 1..64 {
            note.add(Signature::new("text\n", &signer(seed))).unwrap();
        }
        let before = note.clone();
        let another = Signature::new("text\n", &signer(64));
        assert_eq!(note.add(another), Err(NoteError::TooMany));
        assert_eq!(note, before);
    }

    #[test]
    fn a_cosignature_of_the_specification_is_over_its_message() {
        // The example of C2SP tlog-cosignature, "Ed25519 signed message".
        let body = "example.com/behind-the-sofa\n20852163\n\
            CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let message = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
            CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(cosigned_message(body, 1_679_315_147), message);
        // Its line: the time stands behind the id, in eight bytes.
        let line = "\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI\
            5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==";
        let signature = Signature::parse(line).unwrap();
        assert_eq!(signature.id(), KeyId([0x8d, 0x66, 0xcf, 0x3f]));
        let (seconds, bytes) = split_cosignature(&signature.bytes).unwrap();
        assert_eq!((seconds, bytes.len()), (1_679_315_147, 64));
        assert_eq!(signature.to_string(), line);
    }

    #[test]
    fn a_cosignature_binds_its_time() {
        let witness = cosigner(1);
        let keys = [witness.verifier().clone()];
        let cosigned = Signature::cosign("text\n", &witness, 1000).unwrap();
        let note = Note::new("text\n".to_owned(), cosigned).unwrap();
        let by = note.verify(&keys).unwrap();
        assert_eq!(by[0].posix_seconds(), Some(1000));
        for byte in 0..8 {
            let mut other = note.clone();
            other.signatures[0].bytes[byte] ^= 1;
            let wrong = other.verify(&keys);
            assert!(matches!(wrong, Err(VerifyError::Wrong { .. })));
        }
    }

    #[test]
    fn a_cosignature_without_a_possible_time_is_neither_made_nor_taken() {
        let witness = cosigner(1);
        for posix_seconds in [0, 1 << 63, u64::MAX] {
            let made = Signature::cosign("text\n", &witness, posix_seconds);
            assert_eq!(made, Err(NotATime { posix_seconds }));
            let message = cosigned_message("text\n", posix_seconds);
            let signature = witness.sign(message.as_bytes());
            let taken = [&posix_seconds.to_be_bytes()[..], &signature].concat();
            assert_eq!(split_cosignature(&taken), None);
        }
        assert!(Signature::cosign("text\n", &witness, i64::MAX.cast_unsigned()).is_ok());
    }

    #[test]
    fn a_plain_signature_is_no_cosignature_of_the_same_key() {
        let seed = [3; 32];
        let name = "example.com/both".parse::<KeyName>().unwrap();
        let plain = Signer::new(name.clone(), &seed).unwrap();
        let witness = Cosigner::new(name, &seed).unwrap();
        let mut note = signed("text\n", &plain);
        note.signatures[0].id = witness.verifier().id();
        let keys = [witness.verifier().clone()];
        assert!(matches!(note.verify(&keys), Err(VerifyError::Wrong { .. })));
        let mut stamped = Signature::cosign("text\n", &witness, 5).unwrap();
        stamped.id = plain.verifier().id();
        let note = Note::new("text\n".to_owned(), stamped).unwrap();
        let keys = [plain.verifier().clone()];
        assert!(matches!(note.verify(&keys), Err(VerifyError::Wrong { .. })));
    }

    proptest! {
        #[test]
        fn a_note_reads_back_and_verifies(text in "(\\PC|\n){0,200}", seed: u8, seconds in 1..1_u64 << 63) {
            let text = format!("{text}\n");
            let (signer, witness) = (signer(seed), cosigner(seed));
            let mut note = signed(&text, &signer);
            note.add(Signature::cosign(&text, &witness, seconds).unwrap()).unwrap();
            let read = Note::parse(note.to_string().as_bytes());
            prop_assert_eq!(read.as_ref(), Ok(&note));
            let keys = [signer.verifier().clone(), witness.verifier().clone()];
            prop_assert_eq!(read.unwrap().verify(&keys).unwrap().len(), 2);
        }

        #[test]
        fn every_changed_byte_of_a_note_is_found(at: prop::sample::Index, flip in 1..=255u8) {
            let (signer, witness) = (signer(1), cosigner(1));
            let text = "origin\n5\nroot\n";
            let mut note = signed(text, &signer);
            note.add(Signature::cosign(text, &witness, 99).unwrap()).unwrap();
            let mut bytes = note.to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let keys = [signer.verifier().clone(), witness.verifier().clone()];
            if let Ok(by) = Note::parse(&bytes).map(|note| note.verify(&keys)) {
                // A line that names another key is ignored: then its signer is missing.
                prop_assert!(by.map_or(true, |by| by.len() < 2));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_have_one_spelling(bytes: Vec<u8>, text in "(\\PC|\n){0,40}\n\n(\u{2014} [a-z]{1,3} [A-Za-z0-9+/]{8}\n){0,3}") {
            for bytes in [bytes, text.into_bytes()] {
                if let Ok(note) = Note::parse(&bytes) {
                    prop_assert_eq!(note.to_string().into_bytes(), bytes);
                }
            }
        }
    }
}
