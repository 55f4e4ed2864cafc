//! Checkpoints: what a log says about itself at one size, signed (C2SP tlog-checkpoint).
//!
//! ```text
//! origin           which log
//! size             how many entries, decimal
//! root             base64 of the root hash
//! extension ...    opaque lines of ours, if any
//!
//! — signatures     of the log's keys, and cosignatures of witnesses
//! ```
//!
//! [`Checkpoint::open`] is the only way from bytes to a head that may be believed: its value proves
//! that a key of the log signed. What a witness adds is that it saw the log only grow, until its
//! time. Nobody but the log vouches for extension lines.

use std::fmt;

use super::hash::Hash;
use super::key::{Algorithm, Cosigner, KeyName, Signer, Verifier};
use super::note::{NotATime, Note, NoteError, Signature, SignedBy, VerifyError};
use super::range::{Head, MAX_SIZE};

/// No origin is longer than this, bytes. C2SP tlog-cosignature has room for no more.
pub const MAX_ORIGIN_BYTES: usize = 255;

/// No checkpoint has more extension lines than this.
pub const MAX_EXTENSIONS: usize = 16;

/// No extension line is longer than this, bytes.
pub const MAX_EXTENSION_BYTES: usize = 255;

/// The text of a checkpoint, well-formed. By itself it proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    head: Head,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// The checkpoint of the log `origin` at `head`.
    ///
    /// # Errors
    /// [`TextError`] when no checkpoint can say that.
    pub fn new(origin: &str, head: Head, extensions: &[&str]) -> Result<Checkpoint, TextError> {
        if !is_line(origin, MAX_ORIGIN_BYTES) {
            return Err(TextError::Origin);
        }
        if head.size > MAX_SIZE {
            return Err(TextError::Size);
        }
        if head.size == 0 && head.root != Hash::EMPTY {
            return Err(TextError::EmptyRoot);
        }
        if extensions.len() > MAX_EXTENSIONS {
            return Err(TextError::TooManyExtensions);
        }
        let mut lines = extensions.iter();
        if let Some(number) = lines.position(|line| !is_line(line, MAX_EXTENSION_BYTES)) {
            return Err(TextError::Extension { number });
        }
        Ok(Checkpoint {
            origin: origin.to_owned(),
            head,
            extensions: extensions.iter().map(ToString::to_string).collect(),
        })
    }

    /// Reads the text of a checkpoint, with its last newline.
    ///
    /// # Errors
    /// [`TextError`] when it is not one, in its one spelling.
    pub fn parse(text: &str) -> Result<Checkpoint, TextError> {
        let lines = text.strip_suffix('\n').ok_or(TextError::Short)?;
        // Of more lines than there may be, one too many is enough to refuse.
        let mut lines = lines.split('\n').take(HEAD_LINES + MAX_EXTENSIONS + 1);
        let mut line = || lines.next().ok_or(TextError::Short);
        let (origin, size, root) = (line()?, line()?, line()?);
        let head = Head {
            size: parse_size(size).ok_or(TextError::Size)?,
            root: root.parse().map_err(|_| TextError::Root)?,
        };
        Checkpoint::new(origin, head, &lines.collect::<Vec<_>>())
    }

    /// Opens a signed checkpoint of the log `origin`, whose keys are `log`. Of `witnesses`, those
    /// that cosigned are named; that none did is no error here, but for the caller to judge.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is not a checkpoint of this log that one of its keys signed, or
    /// when a signature of a known key, also of a witness, does not hold.
    pub fn open<'k>(
        note: &[u8],
        origin: &str,
        log: &'k [Verifier],
        witnesses: &'k [Verifier],
    ) -> Result<Opened<'k>, CheckpointError> {
        let is_witness = |key: &&Verifier| key.algorithm() == Algorithm::CosignatureV1;
        if let Some(key) = witnesses.iter().find(|key| !is_witness(key)) {
            return Err(CheckpointError::NotAWitness {
                name: key.name().clone(),
            });
        }
        let note = Note::parse(note).map_err(CheckpointError::Note)?;
        let signed = note.verify(log).map_err(CheckpointError::Signature)?;
        let cosigned = match note.verify(witnesses) {
            Ok(cosigned) => cosigned,
            Err(VerifyError::Unsigned) => Vec::new(),
            Err(error @ (VerifyError::Wrong { .. } | VerifyError::Ambiguous { .. })) => {
                return Err(CheckpointError::Signature(error));
            }
        };
        let checkpoint = Checkpoint::parse(note.text()).map_err(CheckpointError::Text)?;
        if checkpoint.origin != origin {
            return Err(CheckpointError::Origin {
                found: checkpoint.origin,
            });
        }
        Ok(Opened {
            checkpoint,
            signed,
            cosigned,
        })
    }

    /// Signs it. Whoever signs vouches that the log was never signed at a head that is not
    /// consistent with this one. For a change of keys, [`Note::add`] the signature of the other.
    ///
    /// # Errors
    /// [`NoteError`] when no note has room for it, which the bounds of a checkpoint exclude.
    pub fn sign(&self, signer: &Signer) -> Result<Note, NoteError> {
        let text = self.to_string();
        let signature = Signature::new(&text, signer);
        Note::new(text, signature)
    }

    /// Cosigns it, as a witness that saw the log only grow up to here, at this time.
    ///
    /// # Errors
    /// [`NotATime`] for 0 and beyond 2^63 - 1.
    pub fn cosign(&self, cosigner: &Cosigner, posix_seconds: u64) -> Result<Signature, NotATime> {
        Signature::cosign(&self.to_string(), cosigner, posix_seconds)
    }

    /// Which log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The extension lines.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Head { size, root } = self.head;
        writeln!(f, "{}\n{size}\n{root}", self.origin)?;
        self.extensions
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Origin, size and root.
const HEAD_LINES: usize = 3;

/// Whether a line can stand in a checkpoint: not empty, bounded, no control characters.
fn is_line(line: &str, bytes: usize) -> bool {
    !line.is_empty() && line.len() <= bytes && !line.contains(|c: char| c < ' ')
}

/// A decimal without sign or leading zeros.
fn parse_size(text: &str) -> Option<u64> {
    let size: u64 = text.parse().ok()?;
    (size.to_string() == text).then_some(size)
}

/// A checkpoint that a key of the log signed. Only [`Checkpoint::open`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened<'k> {
    checkpoint: Checkpoint,
    signed: Vec<SignedBy<'k>>,
    cosigned: Vec<SignedBy<'k>>,
}

impl<'k> Opened<'k> {
    /// What was signed.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The keys of the log that signed: at least one.
    #[must_use]
    pub fn signed(&self) -> &[SignedBy<'k>] {
        &self.signed
    }

    /// The witnesses that cosigned, with their times.
    #[must_use]
    pub fn cosigned(&self) -> &[SignedBy<'k>] {
        &self.cosigned
    }
}

/// Why a text is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextError {
    /// Fewer than three lines, or no newline at the end.
    Short,
    /// The origin is empty, too long, or holds a control character.
    Origin,
    /// The size is not a decimal number in its one spelling, or larger than any tree.
    Size,
    /// The root is not the base64 of a hash.
    Root,
    /// The root is not that of the empty tree, and the size is 0.
    EmptyRoot,
    /// An extension line is empty, too long, or holds a control character.
    Extension {
        /// Which, from 0.
        number: usize,
    },
    /// More than [`MAX_EXTENSIONS`].
    TooManyExtensions,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextError::Short => f.write_str("a checkpoint has at least three whole lines"),
            TextError::Origin => write!(
                f,
                "the origin has 1 to {MAX_ORIGIN_BYTES} bytes and no control character"
            ),
            TextError::Size => f.write_str("the size is not a number of entries"),
            TextError::Root => f.write_str("the root is not the base64 of a hash"),
            TextError::EmptyRoot => f.write_str("the root is not that of a tree without entries"),
            TextError::Extension { number } => write!(
                f,
                "extension line {} has not 1 to {MAX_EXTENSION_BYTES} bytes without control characters",
                number + 1
            ),
            TextError::TooManyExtensions => {
                write!(f, "more than {MAX_EXTENSIONS} extension lines")
            }
        }
    }
}

impl std::error::Error for TextError {}

/// Why a note is no checkpoint that may be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointError {
    /// It is no note.
    Note(NoteError),
    /// Its signatures do not carry it.
    Signature(VerifyError),
    /// It is signed, and no checkpoint.
    Text(TextError),
    /// It is signed, and of another log.
    Origin {
        /// Of which.
        found: String,
    },
    /// A key that should be a witness's does not sign cosignatures.
    NotAWitness {
        /// The name of the key.
        name: KeyName,
    },
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::Note(error) => error.fmt(f),
            CheckpointError::Signature(error) => error.fmt(f),
            CheckpointError::Text(error) => error.fmt(f),
            CheckpointError::Origin { found } => write!(f, "a checkpoint of the log {found:?}"),
            CheckpointError::NotAWitness { name } => {
                write!(f, "the key {name} is not of the type of a witness's (0x04)")
            }
        }
    }
}

impl std::error::Error for CheckpointError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORIGIN: &str = "example.com/behind-the-sofa";

    /// The example of C2SP tlog-checkpoint.
    const TEXT: &str = "example.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn signer(seed: u8) -> Signer {
        Signer::new(ORIGIN.parse().unwrap(), &[seed; 32]).unwrap()
    }

    fn witness(seed: u8) -> Cosigner {
        Cosigner::new("witness.example.com/w1".parse().unwrap(), &[seed; 32]).unwrap()
    }

    fn head(size: u64) -> Head {
        Head {
            size,
            root: Hash::new([9; 32]),
        }
    }

    fn open<'k>(
        note: &Note,
        log: &'k [Verifier],
        witnesses: &'k [Verifier],
    ) -> Result<Opened<'k>, CheckpointError> {
        Checkpoint::open(note.to_string().as_bytes(), ORIGIN, log, witnesses)
    }

    #[test]
    fn the_checkpoint_of_the_specification_reads_and_writes() {
        let checkpoint = Checkpoint::parse(TEXT).unwrap();
        assert_eq!(checkpoint.origin(), ORIGIN);
        assert_eq!(checkpoint.head().size, 20_852_163);
        assert!(checkpoint.extensions().is_empty());
        assert_eq!(checkpoint.to_string(), TEXT);
    }

    #[test]
    fn what_is_no_checkpoint_is_refused_with_its_reason() {
        let size = |size: &str| TEXT.replace("20852163", size);
        let ours = |lines: &str| format!("{TEXT}{lines}");
        let empty = TEXT.replace("20852163", "0");
        for (text, error) in [
            (String::new(), TextError::Short),
            ("\n".to_owned(), TextError::Short),
            ("a\n1\n".to_owned(), TextError::Short),
            (TEXT.trim_end().to_owned(), TextError::Short),
            (TEXT.replace(ORIGIN, ""), TextError::Origin),
            (TEXT.replace(ORIGIN, "a\tb"), TextError::Origin),
            (TEXT.replace(ORIGIN, &"o".repeat(256)), TextError::Origin),
            (size(""), TextError::Size),
            (size("020852163"), TextError::Size),
            (size("+20852163"), TextError::Size),
            (size("-1"), TextError::Size),
            (size("00"), TextError::Size),
            (size("0x10"), TextError::Size),
            (size(" 1"), TextError::Size),
            (size("1.0"), TextError::Size),
            (size("9223372036854775808"), TextError::Size),
            (size("18446744073709551616"), TextError::Size),
            (TEXT.replace("q2I=", "q2I"), TextError::Root),
            (TEXT.replace("q2I=", "q2J="), TextError::Root),
            (TEXT.replace("CsUY", ""), TextError::Root),
            (TEXT.replace('\n', "\r\n"), TextError::Size),
            (empty, TextError::EmptyRoot),
            (ours("\n"), TextError::Extension { number: 0 }),
            (ours("a\n\nb\n"), TextError::Extension { number: 1 }),
            (ours("\u{1}\n"), TextError::Extension { number: 0 }),
            (
                ours(&format!("a\n{}\n", "e".repeat(256))),
                TextError::Extension { number: 1 },
            ),
            (ours(&"e\n".repeat(17)), TextError::TooManyExtensions),
            (ours(&"e\n".repeat(9000)), TextError::TooManyExtensions),
        ] {
            assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
        }
        assert!(Checkpoint::parse(&ours(&"e\n".repeat(16))).is_ok());
        assert!(Checkpoint::parse(&size("9223372036854775807")).is_ok());
        let empty = Checkpoint::new("o", Head::EMPTY, &[]).unwrap();
        assert_eq!(Checkpoint::parse(&empty.to_string()), Ok(empty));
    }

    #[test]
    fn a_signed_checkpoint_opens_with_its_signers_and_witnesses() {
        let (old, new, one, other) = (signer(1), signer(2), witness(3), witness(4));
        let clock = ["clock 2026-11-22T08:03:29.123456Z synchronized 1500"];
        let checkpoint = Checkpoint::new(ORIGIN, head(7), &clock).unwrap();
        let mut note = checkpoint.sign(&old).unwrap();
        note.add(Signature::new(note.text(), &new)).unwrap();
        note.add(checkpoint.cosign(&one, 1_700_000_000).unwrap())
            .unwrap();
        let log = [old.verifier().clone(), new.verifier().clone()];
        let witnesses = [one.verifier().clone(), other.verifier().clone()];
        let opened = open(&note, &log, &witnesses).unwrap();
        assert_eq!(opened.checkpoint(), &checkpoint);
        assert_eq!(opened.checkpoint().extensions(), clock);
        let keys: Vec<_> = opened.signed().iter().map(SignedBy::key).collect();
        assert_eq!(keys, [&log[0], &log[1]]);
        assert_eq!(opened.cosigned().len(), 1);
        assert_eq!(opened.cosigned()[0].posix_seconds(), Some(1_700_000_000));
    }

    #[test]
    fn a_checkpoint_without_the_logs_own_signature_does_not_open() {
        let (log, witness) = (signer(1), witness(2));
        let checkpoint = Checkpoint::new(ORIGIN, head(7), &[]).unwrap();
        let cosigned = checkpoint.cosign(&witness, 5).unwrap();
        let note = Note::new(checkpoint.to_string(), cosigned).unwrap();
        let (log, witness) = ([log.verifier().clone()], [witness.verifier().clone()]);
        let unsigned = Err(CheckpointError::Signature(VerifyError::Unsigned));
        assert_eq!(open(&note, &log, &witness), unsigned);
        let another = checkpoint.sign(&signer(9)).unwrap();
        assert_eq!(open(&another, &log, &witness), unsigned);
    }

    #[test]
    fn a_wrong_cosignature_of_a_known_witness_spoils_the_checkpoint() {
        let (log, witness) = (signer(1), witness(2));
        let checkpoint = Checkpoint::new(ORIGIN, head(7), &[]).unwrap();
        let before = Checkpoint::new(ORIGIN, head(6), &[]).unwrap();
        let mut note = checkpoint.sign(&log).unwrap();
        note.add(before.cosign(&witness, 5).unwrap()).unwrap();
        let (log, witness) = ([log.verifier().clone()], [witness.verifier().clone()]);
        let spoilt = open(&note, &log, &witness);
        assert!(matches!(
            spoilt,
            Err(CheckpointError::Signature(VerifyError::Wrong { .. }))
        ));
        assert!(open(&note, &log, &[]).is_ok());
    }

    #[test]
    fn a_signed_checkpoint_of_another_log_does_not_open() {
        let signer = signer(1);
        let log = [signer.verifier().clone()];
        let other = Checkpoint::new("example.com/other", head(7), &[]).unwrap();
        let found = "example.com/other".to_owned();
        assert_eq!(
            open(&other.sign(&signer).unwrap(), &log, &[]),
            Err(CheckpointError::Origin { found })
        );
    }

    #[test]
    fn a_signed_note_that_is_no_checkpoint_does_not_open() {
        let signer = signer(1);
        let log = [signer.verifier().clone()];
        let text = "no checkpoint\n".to_owned();
        let signature = Signature::new(&text, &signer);
        let note = Note::new(text, signature).unwrap();
        let short = Err(CheckpointError::Text(TextError::Short));
        assert_eq!(open(&note, &log, &[]), short);
        let note = Checkpoint::open(b"no note\n", ORIGIN, &log, &[]);
        assert_eq!(note, Err(CheckpointError::Note(NoteError::Separator)));
    }

    #[test]
    fn a_key_without_times_is_no_witness() {
        let signer = signer(1);
        let log = [signer.verifier().clone()];
        let note = Checkpoint::new(ORIGIN, head(7), &[]).unwrap();
        let note = note.sign(&signer).unwrap();
        let name = signer.verifier().name().clone();
        assert_eq!(
            open(&note, &log, &log),
            Err(CheckpointError::NotAWitness { name })
        );
    }

    #[test]
    fn the_largest_checkpoint_has_room_for_signatures() {
        let longest = "e".repeat(MAX_EXTENSION_BYTES);
        let lines = [longest.as_str(); MAX_EXTENSIONS];
        let origin = "o".repeat(MAX_ORIGIN_BYTES);
        let largest = Checkpoint::new(&origin, head(MAX_SIZE), &lines).unwrap();
        assert!(largest.sign(&signer(1)).is_ok());
    }

    proptest! {
        #[test]
        fn a_checkpoint_reads_back(origin in "\\PC{1,60}", size in 1..=MAX_SIZE, root: [u8; 32], extensions in prop::collection::vec("\\PC{1,60}", 0..5)) {
            let head = Head { size, root: Hash::new(root) };
            let lines: Vec<&str> = extensions.iter().map(String::as_str).collect();
            let checkpoint = Checkpoint::new(&origin, head, &lines).unwrap();
            prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint));
        }

        #[test]
        fn every_changed_byte_of_a_signed_checkpoint_is_found(at: prop::sample::Index, flip in 1..=255u8) {
            let signer = signer(1);
            let checkpoint = Checkpoint::new(ORIGIN, head(7), &["clock 2026-11-22T08:03:29.123456Z unsynchronized 16000000"]).unwrap();
            let mut bytes = checkpoint.sign(&signer).unwrap().to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Checkpoint::open(&bytes, ORIGIN, &[signer.verifier().clone()], &[]).is_err());
        }

        #[test]
        fn arbitrary_text_never_panics_and_has_one_spelling(text in "(\\PC|\n){0,80}|[a-z]{1,3}\n[0-9]{0,21}\n[A-Za-z0-9+/]{43}=\n(\\PC{0,3}\n){0,3}") {
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                prop_assert_eq!(checkpoint.to_string(), text);
            }
        }
    }
}
