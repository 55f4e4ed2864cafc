//! The log's own keys, as the file that `[audit] keys` names: what its checkpoints are signed with, and
//! what patients are named with.
//!
//! ```text
//! # a comment
//! PRIVATE+KEY+clinic.example/audit+033de0ae+AQAA...   the signer (`merkle::key`); its name is the log's
//! PATIENTS+KEY+q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=   the tenant key (`seal::pseudonym`)
//! ROTATION+cGhpZ2F0ZSBhdWRpdCBrZXkgcm90YXRpb24g...    base64 of a rotation (`merkle::rotation`)
//! ```
//!
//! Both keys stand there once, in any order. The file is one secret. It lives as long as the log: with
//! another signer the log refuses to go on, unless rotations lead from the one to the other; what was
//! recorded under another tenant key is not found any more. Rotations stand in their order, the last
//! one leads to the signer, and they are no secret. The file may
//! be encrypted with a passphrase (`locked`). Not here: readers' keys, whose secret half never comes near
//! the gateway (`seal::reader`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::locked::{self, LockedError};
use crate::merkle::key::{KEY_BYTES, KeyError, KeyName, Signer};
use crate::merkle::range::Head;
use crate::merkle::rotation::{Chain, Rotation, RotationError};
use crate::seal::pseudonym::{TenantKey, TenantKeyError};
use crate::seal::{NoRandomness, Random};

/// No file of keys is longer than this, bytes.
pub const MAX_FILE: usize = 45 * 1024;

const SIGNER: &str = "PRIVATE+KEY+";
const PATIENTS: &str = "PATIENTS+KEY+";
const ROTATION: &str = "ROTATION+";

/// The keys of a log.
pub struct Keys {
    /// Signs checkpoints. Its name is the name of the log.
    pub signer: Signer,
    /// Names patients.
    pub patients: TenantKey,
    /// How the log's earlier keys led to the signer.
    pub rotations: Chain,
}

impl Keys {
    /// Reads the keys as their file holds them, encrypted if there is a passphrase, and in the clear
    /// if there is none. The caller wipes both.
    ///
    /// # Errors
    /// As [`Keys::parse`]; [`KeysError::Locked`], [`KeysError::NoPassphrase`], and
    /// [`KeysError::InTheClear`]: who names a passphrase relies on it.
    pub fn open(text: &[u8], passphrase: Option<&[u8]>) -> Result<Keys, KeysError> {
        Keys::parse(&clear(text, passphrase)?)
    }

    /// Reads the keys as their file holds them. The caller wipes `text`.
    ///
    /// # Errors
    /// [`KeysError`], with the line; it holds nothing of what was read.
    pub fn parse(text: &[u8]) -> Result<Keys, KeysError> {
        let text = std::str::from_utf8(text).map_err(|_| KeysError::NotText)?;
        let (mut signer, mut patients) = (None, None);
        let mut rotations = Chain::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            let again = if line.is_empty() || line.starts_with('#') {
                false
            } else if line.starts_with(SIGNER) {
                let key =
                    Signer::read(line).map_err(|error| KeysError::Signer { number, error })?;
                signer.replace(key).is_some()
            } else if let Some(key) = line.strip_prefix(PATIENTS) {
                let key = TenantKey::parse(key.as_bytes());
                let key = key.map_err(|error| KeysError::Patients { number, error })?;
                patients.replace(key).is_some()
            } else if let Some(note) = line.strip_prefix(ROTATION) {
                let note = STANDARD.decode(note);
                let note = note.map_err(|_| KeysError::Line { number })?;
                let pushed = Rotation::parse(&note).and_then(|next| rotations.push(next));
                pushed.map_err(|error| KeysError::Rotation { number, error })?;
                false
            } else {
                return Err(KeysError::Line { number });
            };
            if again {
                return Err(KeysError::Twice { number });
            }
        }
        let signer = signer.ok_or(KeysError::Missing { what: SIGNER })?;
        if rotations
            .keys()
            .last()
            .is_some_and(|last| last != signer.verifier())
        {
            return Err(KeysError::Unled);
        }
        Ok(Keys {
            signer,
            patients: patients.ok_or(KeysError::Missing { what: PATIENTS })?,
            rotations,
        })
    }

    /// The text of fresh keys for a log of this name, as [`Keys::parse`] takes it.
    ///
    /// # Errors
    /// [`KeysError::NoRandomness`], [`KeysError::Signer`] when the library fails.
    pub fn draw(name: &KeyName, random: &mut impl Random) -> Result<Zeroizing<String>, KeysError> {
        let mut seed = Zeroizing::new([0; KEY_BYTES]);
        let mut tenant = Zeroizing::new([0; KEY_BYTES]);
        random.fill(&mut seed[..])?;
        random.fill(&mut tenant[..])?;
        let number = 0;
        let signer = Signer::write(name.clone(), &seed)
            .map_err(|error| KeysError::Signer { number, error })?;
        let patients = Zeroizing::new(STANDARD.encode(&tenant[..]));
        // Sized ahead, so that no half of it is left behind by a string that grew.
        let mut text = Zeroizing::new(String::with_capacity(1024));
        for part in [COMMENT, &signer, "\n", PATIENTS, &patients, "\n"] {
            text.push_str(part);
        }
        Ok(text)
    }

    /// The text of these keys with a fresh signer in the place of the old one, and the rotation that
    /// leads to it behind the last line. `text` is what [`Keys::parse`] took; the log is signed up
    /// to `behind`.
    ///
    /// # Errors
    /// [`KeysError`] when the text is none of keys, or when nothing can be drawn or signed.
    pub fn rotate(
        text: &[u8],
        behind: Head,
        random: &mut impl Random,
    ) -> Result<(Zeroizing<String>, Chain), KeysError> {
        let Keys {
            signer: old,
            mut rotations,
            ..
        } = Keys::parse(text)?;
        let text = std::str::from_utf8(text).map_err(|_| KeysError::NotText)?;
        let mut seed = Zeroizing::new([0; KEY_BYTES]);
        random.fill(&mut seed[..])?;
        let name = old.verifier().name();
        let wrong = |error| KeysError::Signer { number: 0, error };
        let written = Signer::write(name.clone(), &seed).map_err(wrong)?;
        let new = Signer::new(name.clone(), &seed).map_err(wrong)?;
        let number = text.lines().count() + 1;
        let wrong = |error| KeysError::Rotation { number, error };
        let rotation = Rotation::sign(&old, &new, behind).map_err(wrong)?;
        let note = STANDARD.encode(rotation.note());
        rotations.push(rotation).map_err(wrong)?;
        // Sized ahead: each line ends in one byte, and the new signer is no longer than the old one.
        let room = text.len() + written.len() + ROTATION.len() + note.len() + 8;
        let mut next = Zeroizing::new(String::with_capacity(room));
        for line in text.lines() {
            let is_signer = line.trim().starts_with(SIGNER);
            next.push_str(if is_signer { &written } else { line });
            next.push('\n');
        }
        for part in [ROTATION, &note, "\n"] {
            next.push_str(part);
        }
        Ok((next, rotations))
    }
}

/// The tenant key alone, from a file of keys or from that line of it: whoever looks for patients needs
/// nothing that signs. The caller wipes `text`.
///
/// # Errors
/// [`KeysError`]; it holds nothing of what was read.
pub fn patients(text: &[u8]) -> Result<TenantKey, KeysError> {
    let text = std::str::from_utf8(text).map_err(|_| KeysError::NotText)?;
    if locked::is_locked(text.as_bytes()) {
        return Err(KeysError::NoPassphrase);
    }
    let others = ["#", SIGNER, ROTATION];
    let mut found = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(key) = line.strip_prefix(PATIENTS) {
            let key = TenantKey::parse(key.as_bytes());
            let key = key.map_err(|error| KeysError::Patients { number, error })?;
            if found.replace(key).is_some() {
                return Err(KeysError::Twice { number });
            }
        } else if !(line.is_empty() || others.iter().any(|begin| line.starts_with(begin))) {
            return Err(KeysError::Line { number });
        }
    }
    found.ok_or(KeysError::Missing { what: PATIENTS })
}

/// What a file of keys holds, in the clear.
pub(crate) fn clear(
    text: &[u8],
    passphrase: Option<&[u8]>,
) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    match (locked::is_locked(text), passphrase) {
        (true, Some(passphrase)) => {
            let passphrase = locked::passphrase(passphrase).map_err(KeysError::Locked)?;
            locked::unlock(text, passphrase).map_err(KeysError::Locked)
        }
        (true, None) => Err(KeysError::NoPassphrase),
        (false, Some(_)) => Err(KeysError::InTheClear),
        (false, None) => Ok(Zeroizing::new(text.to_vec())),
    }
}

/// The file of keys with this text, encrypted if there is a passphrase.
pub(crate) fn file(
    text: &Zeroizing<String>,
    passphrase: Option<&[u8]>,
) -> Result<Zeroizing<String>, KeysError> {
    let Some(passphrase) = passphrase else {
        return Ok(text.clone());
    };
    let passphrase = locked::passphrase(passphrase).map_err(KeysError::Locked)?;
    let locked = locked::lock(text.as_bytes(), passphrase, &mut system_random);
    locked.map(Zeroizing::new).map_err(KeysError::Locked)
}

const COMMENT: &str = "\
# Keys of an audit log of phigate: the first signs its checkpoints, the second names patients.
# Secret, and needed as long as the log: keep a copy in a safe place.
";

/// Bytes of the system's generator, for whoever has to bring some.
///
/// # Errors
/// [`NoRandomness`] when it fails; nothing may be made of what `out` then holds.
pub fn system_random(out: &mut [u8]) -> Result<(), NoRandomness> {
    aws_lc_rs::rand::fill(out).map_err(|_| NoRandomness)
}

/// Says which log they are of, and nothing secret.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.signer.verifier())
    }
}

/// Why keys are not taken. None of these holds a byte of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysError {
    /// Not text at all.
    NotText,
    /// A line that is none of those that belong here.
    Line {
        /// Which, from 1.
        number: usize,
    },
    /// A second key of a kind.
    Twice {
        /// In which line, from 1.
        number: usize,
    },
    /// A key is not there.
    Missing {
        /// How its line begins.
        what: &'static str,
    },
    /// The signer is none.
    Signer {
        /// In which line, from 1.
        number: usize,
        /// Why.
        error: KeyError,
    },
    /// The tenant key is none.
    Patients {
        /// In which line, from 1.
        number: usize,
        /// Why.
        error: TenantKeyError,
    },
    /// A rotation is none, or does not follow the one before it.
    Rotation {
        /// In which line, from 1.
        number: usize,
        /// Why.
        error: RotationError,
    },
    /// The rotations do not lead to the signer.
    Unled,
    /// The file is encrypted, and does not open; or cannot be encrypted.
    Locked(LockedError),
    /// The file is encrypted, and there is no passphrase.
    NoPassphrase,
    /// There is a passphrase, and the file is not encrypted.
    InTheClear,
    /// No fresh bytes.
    NoRandomness,
}

impl KeysError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            KeysError::NoRandomness => "check the system's random number generator",
            KeysError::Locked(error) => error.hint(),
            KeysError::NoPassphrase => {
                "say where the passphrase is: [audit] passphrase in the configuration, --passphrase-file of `audit rotate`; to look for patients, a file that holds their line alone is enough"
            }
            KeysError::InTheClear => {
                "leave the passphrase out; or encrypt the keys: `audit rotate` makes the next ones with a passphrase"
            }
            KeysError::NotText
            | KeysError::Line { .. }
            | KeysError::Twice { .. }
            | KeysError::Missing { .. }
            | KeysError::Signer { .. }
            | KeysError::Patients { .. }
            | KeysError::Unled => {
                "name a file that `audit keygen` or `audit rotate` wrote; for a log that exists it must be its own"
            }
            KeysError::Rotation {
                error: RotationError::TooMany,
                ..
            } => "begin another log in another place, with keys of its own, and keep this one",
            KeysError::Rotation { .. } => {
                "leave the lines of rotations as `audit rotate` wrote them, in their order"
            }
        }
    }
}

impl From<NoRandomness> for KeysError {
    fn from(NoRandomness: NoRandomness) -> KeysError {
        KeysError::NoRandomness
    }
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeysError::NotText => f.write_str("not text"),
            KeysError::Line { number } => write!(f, "line {number} is no key of a log"),
            KeysError::Twice { number } => write!(f, "line {number} is a second key of its kind"),
            KeysError::Missing { what } => write!(f, "no line begins with {what}"),
            KeysError::Signer { number, error } => write!(f, "line {number}: {error}"),
            KeysError::Patients { number, error } => write!(f, "line {number}: {error}"),
            KeysError::Rotation { number, error } => write!(f, "line {number}: {error}"),
            KeysError::Locked(error) => error.fmt(f),
            KeysError::NoPassphrase => {
                f.write_str("the keys are encrypted, and there is no passphrase")
            }
            KeysError::InTheClear => {
                f.write_str("there is a passphrase, and the keys are not encrypted")
            }
            KeysError::Unled => f.write_str("the last rotation does not lead to the signer"),
            KeysError::NoRandomness => NoRandomness.fmt(f),
        }
    }
}

impl std::error::Error for KeysError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fresh() -> Zeroizing<String> {
        let name = "clinic.example/audit".parse().unwrap();
        Keys::draw(&name, &mut system_random).unwrap()
    }

    #[test]
    fn keys_that_were_drawn_are_read_back_in_any_order() {
        let text = fresh();
        let keys = Keys::parse(text.as_bytes()).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.reverse();
        let turned = Keys::parse(lines.join("\r\n").as_bytes()).unwrap();
        assert_eq!(keys.signer.verifier(), turned.signer.verifier());
        let one = keys.patients.pseudonym("a", "b");
        assert_eq!(one, turned.patients.pseudonym("a", "b"));
        assert_ne!(text, fresh());
    }

    #[test]
    fn whoever_looks_for_patients_needs_that_key_alone() {
        let text = fresh();
        let whole = Keys::parse(text.as_bytes()).unwrap().patients;
        let line = text.lines().find(|line| line.starts_with(PATIENTS));
        for text in [&text[..], line.unwrap()] {
            let key = patients(text.as_bytes()).unwrap();
            assert_eq!(key.pseudonym("a", "b"), whole.pseudonym("a", "b"));
        }
        let missing = KeysError::Missing { what: PATIENTS };
        assert_eq!(patients(b"# none\n").err(), Some(missing));
        assert_eq!(patients(b"x").err(), Some(KeysError::Line { number: 1 }));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let text = fresh();
        let line = |begin: &str| text.lines().find(|line| line.starts_with(begin)).unwrap();
        let (signer, patients) = (line(SIGNER), line(PATIENTS));
        for (text, told) in [
            (String::new(), "no line begins with PRIVATE+KEY+"),
            (format!("{signer}\n"), "no line begins with PATIENTS+KEY+"),
            (
                format!("{signer}\n\n{signer}\n"),
                "line 3 is a second key of its kind",
            ),
            (
                format!("{signer}\nkey\n{patients}"),
                "line 2 is no key of a log",
            ),
            (format!("# x\n{}\n{patients}", &signer[..60]), "line 2: "),
            (format!("{signer}\n{}", &patients[..40]), "line 2: "),
        ] {
            let error = Keys::parse(text.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with(told), "{error}");
            assert!(!format!("{error}{error:?}").contains(&signer[40..60]));
        }
        assert_eq!(Keys::parse(b"\xff").unwrap_err(), KeysError::NotText);
    }

    #[test]
    fn encrypted_keys_open_with_their_passphrase_and_nothing_is_taken_for_encrypted_that_is_not() {
        let text = fresh();
        let passphrase = &b"a passphrase that was drawn\n"[..];
        let locked = file(&text, Some(passphrase)).unwrap();
        assert!(locked.lines().count() == 1 && !locked.contains(PATIENTS));
        let keys = Keys::open(locked.as_bytes(), Some(passphrase)).unwrap();
        let clear = Keys::open(text.as_bytes(), None).unwrap();
        assert_eq!(keys.signer.verifier(), clear.signer.verifier());
        let refused = |text: &str, passphrase| Keys::open(text.as_bytes(), passphrase).unwrap_err();
        assert_eq!(refused(&locked, None), KeysError::NoPassphrase);
        assert_eq!(refused(&text, Some(passphrase)), KeysError::InTheClear);
        let other = refused(&locked, Some(b"another passphrase"));
        assert_eq!(other, KeysError::Locked(LockedError::Refused));
        let short = file(&text, Some(b"short")).unwrap_err();
        assert_eq!(short, KeysError::Locked(LockedError::Short));
    }

    #[test]
    fn rotated_keys_lead_from_the_first_signer_to_the_last_and_name_patients_as_before() {
        let behind = Head {
            size: 7,
            root: crate::merkle::hash::Hash::new([9; 32]),
        };
        let first = fresh();
        let (second, _) = Keys::rotate(first.as_bytes(), behind, &mut system_random).unwrap();
        let (third, chain) = Keys::rotate(second.as_bytes(), behind, &mut system_random).unwrap();
        let [one, two, three] =
            [&first, &second, &third].map(|text| Keys::parse(text.as_bytes()).unwrap());
        let keys: Vec<_> = three.rotations.keys().collect();
        let signers = [&one, &two, &three].map(|keys| keys.signer.verifier());
        assert_eq!(keys, signers);
        assert_eq!(chain, three.rotations);
        let same = [&one, &two, &three].map(|keys| keys.patients.pseudonym("a", "b"));
        assert!(same[0] == same[1] && same[1] == same[2]);
        // No secret of the old key is left, and what does not belong together is refused.
        let secret = |text: &str| {
            text.lines()
                .find(|line| line.starts_with(SIGNER))
                .unwrap()
                .to_owned()
        };
        assert!(!second.contains(&secret(&first)));
        let old_signer = third.replace(&secret(&third), &secret(&second));
        assert_eq!(
            Keys::parse(old_signer.as_bytes()).unwrap_err(),
            KeysError::Unled
        );
        let mut lines: Vec<_> = third.lines().collect();
        let last = lines.len() - 1;
        lines.swap(last, last - 1);
        let turned = Keys::parse(lines.join("\n").as_bytes()).unwrap_err();
        assert!(
            matches!(
                turned,
                KeysError::Rotation {
                    error: RotationError::Elsewhere,
                    ..
                }
            ),
            "{turned}"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Keys::parse(&text).is_err());
        }
    }
}
