//! The log's own keys, as the file that `[audit] keys` names: what its checkpoints are signed with, and
//! what patients are named with.
//!
//! ```text
//! # a comment
//! PRIVATE+KEY+clinic.example/audit+033de0ae+AQAA...   the signer (`merkle::key`); its name is the log's
//! PATIENTS+KEY+q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=   the tenant key (`seal::pseudonym`)
//! ```
//!
//! Each stands there once, in any order. The file is one secret. It lives as long as the log: with
//! another signer the log refuses to go on, and what was recorded under another tenant key is not found
//! any more. Not here: readers' keys, whose secret half never comes near the gateway (`seal::reader`),
//! and encrypted files: systemd's credentials are.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::merkle::key::{KEY_BYTES, KeyError, KeyName, Signer};
use crate::seal::pseudonym::{TenantKey, TenantKeyError};
use crate::seal::{NoRandomness, Random};

const SIGNER: &str = "PRIVATE+KEY+";
const PATIENTS: &str = "PATIENTS+KEY+";

/// The keys of a log.
pub struct Keys {
    /// Signs checkpoints. Its name is the name of the log.
    pub signer: Signer,
    /// Names patients.
    pub patients: TenantKey,
}

impl Keys {
    /// Reads the keys as their file holds them. The caller wipes `text`.
    ///
    /// # Errors
    /// [`KeysError`], with the line; it holds nothing of what was read.
    pub fn parse(text: &[u8]) -> Result<Keys, KeysError> {
        let text = std::str::from_utf8(text).map_err(|_| KeysError::NotText)?;
        let (mut signer, mut patients) = (None, None);
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
            } else {
                return Err(KeysError::Line { number });
            };
            if again {
                return Err(KeysError::Twice { number });
            }
        }
        Ok(Keys {
            signer: signer.ok_or(KeysError::Missing { what: SIGNER })?,
            patients: patients.ok_or(KeysError::Missing { what: PATIENTS })?,
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
}

/// The tenant key alone, from a file of keys or from that line of it: whoever looks for patients needs
/// nothing that signs. The caller wipes `text`.
///
/// # Errors
/// [`KeysError`]; it holds nothing of what was read.
pub fn patients(text: &[u8]) -> Result<TenantKey, KeysError> {
    let text = std::str::from_utf8(text).map_err(|_| KeysError::NotText)?;
    let mut found = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(key) = line.strip_prefix(PATIENTS) {
            let key = TenantKey::parse(key.as_bytes());
            let key = key.map_err(|error| KeysError::Patients { number, error })?;
            if found.replace(key).is_some() {
                return Err(KeysError::Twice { number });
            }
        } else if !(line.is_empty() || line.starts_with('#') || line.starts_with(SIGNER)) {
            return Err(KeysError::Line { number });
        }
    }
    found.ok_or(KeysError::Missing { what: PATIENTS })
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// No fresh bytes.
    NoRandomness,
}

impl KeysError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            KeysError::NoRandomness => "check the system's random number generator",
            KeysError::NotText
            | KeysError::Line { .. }
            | KeysError::Twice { .. }
            | KeysError::Missing { .. }
            | KeysError::Signer { .. }
            | KeysError::Patients { .. } => {
                "name a file that `audit keygen` wrote; for a log that exists it must be the one that it began with"
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

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Keys::parse(&text).is_err());
        }
    }
}
