//! A secret under a passphrase: JSON Web Encryption in its compact form (RFC 7516 7.1).
//!
//! ```text
//! base64url(header) . base64url(wrapped key) . base64url(nonce) . base64url(ciphertext) . base64url(tag)
//! {"alg":"PBES2-HS512+A256KW","enc":"A256GCM","p2c":600000,"p2s":"<salt>"}
//! ```
//!
//! The passphrase becomes a key by PBKDF2 with HMAC-SHA-512 (RFC 7518 4.8), which wraps a fresh key
//! (AES key wrap, RFC 3394), under which the secret is encrypted (AES-256-GCM). One line of text that
//! other tools open too. Strict: no other algorithms, no extensions, no compression; a file that
//! asks for more work than [`MAX_ROUNDS`] is refused before any is done.
//!
//! What a passphrase cannot do: hold against guessing when it is short. It should be drawn, not thought of.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::seal::{NoRandomness, Random};

/// How many rounds of PBKDF2 a new file asks for.
pub const ROUNDS: u32 = 600_000;

/// No file that asks for more rounds is opened.
pub const MAX_ROUNDS: u32 = 10_000_000;

/// A new passphrase has at least so many bytes.
pub const SHORTEST: usize = 12;

/// No passphrase is longer than this, bytes.
pub const LONGEST: usize = 1024;

/// Whether a text is one of these, whatever it holds. No key of a log begins like it.
#[must_use]
pub fn is_locked(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"eyJ")
}

/// The passphrase in the content of a file: without the newline that ends it.
///
/// # Errors
/// [`LockedError::Passphrase`] when it is empty or too long.
pub fn passphrase(content: &[u8]) -> Result<&[u8], LockedError> {
    let line = content.strip_suffix(b"\n").unwrap_or(content);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if (1..=LONGEST).contains(&line.len()) {
        Ok(line)
    } else {
        Err(LockedError::Passphrase)
    }
}

/// Encrypts `secret`. The text ends with a newline.
///
/// # Errors
/// [`LockedError::Short`], [`LockedError::NoRandomness`], [`LockedError::Library`].
pub fn lock(
    secret: &[u8],
    passphrase: &[u8],
    random: &mut impl Random,
) -> Result<String, LockedError> {
    lock_with(secret, passphrase, ROUNDS, random)
}

fn lock_with(
    secret: &[u8],
    passphrase: &[u8],
    rounds: u32,
    random: &mut impl Random,
) -> Result<String, LockedError> {
    if passphrase.len() < SHORTEST {
        return Err(LockedError::Short);
    }
    let (mut salt, mut nonce) = ([0; SALT], [0; NONCE]);
    let mut key = Zeroizing::new([0; KEY]);
    random.fill(&mut salt)?;
    random.fill(&mut nonce)?;
    random.fill(&mut key[..])?;
    let header = Header {
        alg: ALGORITHM.to_owned(),
        enc: CONTENT.to_owned(),
        p2c: rounds,
        p2s: URL_SAFE_NO_PAD.encode(salt),
    };
    let header = serde_json::to_vec(&header).map_err(|_| LockedError::Library)?;
    let header = URL_SAFE_NO_PAD.encode(header);
    let mut wrapped = [0; KEY + 8];
    let kek = kek(passphrase, rounds, &salt)?;
    kek.wrap(&key[..], &mut wrapped)
        .map_err(|_| LockedError::Library)?;
    // Encrypted in its own place: the tag stays apart.
    let mut content = Zeroizing::new(secret.to_vec());
    let sealed = aead(&key)?.seal_in_place_separate_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(header.as_bytes()),
        &mut content[..],
    );
    let tag = sealed.map_err(|_| LockedError::Library)?;
    let [wrapped, nonce, content, tag] =
        [&wrapped[..], &nonce, &content, tag.as_ref()].map(|part| URL_SAFE_NO_PAD.encode(part));
    Ok(format!("{header}.{wrapped}.{nonce}.{content}.{tag}\n"))
}

/// Opens what [`lock`] made. The caller wipes the passphrase.
///
/// # Errors
/// [`LockedError::Form`] when it is none of these, [`LockedError::Rounds`] when it asks for too much or
/// too little work, [`LockedError::Refused`] when the passphrase is another one or the text was changed.
pub fn unlock(text: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, LockedError> {
    let text = std::str::from_utf8(text).map_err(|_| LockedError::Form)?;
    let mut parts = text.trim().split('.');
    let mut part = || parts.next().ok_or(LockedError::Form);
    let (header, wrapped, nonce, content, tag) = (part()?, part()?, part()?, part()?, part()?);
    if parts.next().is_some() || header.len() > LONGEST_HEADER {
        return Err(LockedError::Form);
    }
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| LockedError::Form);
    let stated: Header = serde_json::from_slice(&decode(header)?).map_err(|_| LockedError::Form)?;
    if stated.alg != ALGORITHM || stated.enc != CONTENT {
        return Err(LockedError::Form);
    }
    if !(LEAST_ROUNDS..=MAX_ROUNDS).contains(&stated.p2c) {
        return Err(LockedError::Rounds { asked: stated.p2c });
    }
    let salt = decode(&stated.p2s)?;
    let wrapped = <[u8; KEY + 8]>::try_from(decode(wrapped)?).map_err(|_| LockedError::Form)?;
    let nonce = <[u8; NONCE]>::try_from(decode(nonce)?).map_err(|_| LockedError::Form)?;
    let tag = <[u8; TAG]>::try_from(decode(tag)?).map_err(|_| LockedError::Form)?;
    let mut content = Zeroizing::new(decode(content)?);
    let mut key = Zeroizing::new([0; KEY]);
    kek(passphrase, stated.p2c, &salt)?
        .unwrap(&wrapped, &mut key[..])
        .map_err(|_| LockedError::Refused)?;
    let length = content.len();
    content.reserve_exact(TAG);
    content.extend_from_slice(&tag);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let opened = aead(&key)?.open_in_place(nonce, Aad::from(header.as_bytes()), &mut content[..]);
    opened.map_err(|_| LockedError::Refused)?;
    content.truncate(length);
    Ok(content)
}

const ALGORITHM: &str = "PBES2-HS512+A256KW";
const CONTENT: &str = "A256GCM";
const KEY: usize = 32;
const NONCE: usize = 12;
const TAG: usize = 16;
const SALT: usize = 16;
/// RFC 7518 4.8.1.2: a minimum of 1000 is recommended.
const LEAST_ROUNDS: u32 = 1000;
const LONGEST_HEADER: usize = 1024;

/// The header (RFC 7516 4, RFC 7518 4.8.1). Nothing else is understood, so nothing else is taken.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    enc: String,
    p2c: u32,
    p2s: String,
}

/// The key that wraps the key (RFC 7518 4.8.1.1: the salt is the algorithm, a zero byte, and `p2s`).
fn kek(passphrase: &[u8], rounds: u32, salt: &[u8]) -> Result<AesKek, LockedError> {
    let rounds = NonZeroU32::new(rounds).ok_or(LockedError::Library)?;
    let salt = [ALGORITHM.as_bytes(), &[0], salt].concat();
    let mut key = Zeroizing::new([0; KEY]);
    pbkdf2::derive(PBKDF2_HMAC_SHA512, rounds, &salt, passphrase, &mut key[..]);
    AesKek::new(&AES_256, &key[..]).map_err(|_| LockedError::Library)
}

fn aead(key: &[u8; KEY]) -> Result<LessSafeKey, LockedError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| LockedError::Library)?;
    Ok(LessSafeKey::new(key))
}

/// Why a secret is not locked, or not opened. None of these holds a byte of it, or of the passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockedError {
    /// There is no passphrase, or it is longer than [`LONGEST`].
    Passphrase,
    /// A new passphrase is shorter than [`SHORTEST`].
    Short,
    /// Not of the form.
    Form,
    /// It asks for more or less work than is sensible.
    Rounds {
        /// How many rounds it asks for.
        asked: u32,
    },
    /// The passphrase is another one, or the text was changed.
    Refused,
    /// No fresh bytes.
    NoRandomness,
    /// The library failed.
    Library,
}

impl LockedError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            LockedError::Passphrase | LockedError::Short => {
                "name a file that holds one line: a passphrase that was drawn, such as of `openssl rand -base64 24`"
            }
            LockedError::Form | LockedError::Rounds { .. } => {
                "name a file of keys that was made with a passphrase"
            }
            LockedError::Refused => {
                "give the passphrase that the keys were made with; if it is the right one, take the file from a backup"
            }
            LockedError::NoRandomness | LockedError::Library => {
                "check the system's random number generator, and its memory"
            }
        }
    }
}

impl From<NoRandomness> for LockedError {
    fn from(NoRandomness: NoRandomness) -> LockedError {
        LockedError::NoRandomness
    }
}

impl fmt::Display for LockedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockedError::Passphrase => write!(f, "a passphrase has 1 to {LONGEST} bytes"),
            LockedError::Short => {
                write!(f, "a new passphrase has {SHORTEST} bytes or more")
            }
            LockedError::Form => f.write_str("not encrypted in a form that is known"),
            LockedError::Rounds { asked } => write!(
                f,
                "it asks for {asked} rounds of PBKDF2; {LEAST_ROUNDS} to {MAX_ROUNDS} are done"
            ),
            LockedError::Refused => {
                f.write_str("the passphrase is another one, or the file was changed")
            }
            LockedError::NoRandomness => NoRandomness.fmt(f),
            LockedError::Library => f.write_str("the library of cryptography failed"),
        }
    }
}

impl std::error::Error for LockedError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn system_random(out: &mut [u8]) -> Result<(), NoRandomness> {
        aws_lc_rs::rand::fill(out).map_err(|_| NoRandomness)
    }

    const PASSPHRASE: &[u8] = b"correct horse battery";

    fn made() -> String {
        lock_with(b"the secret", PASSPHRASE, LEAST_ROUNDS, &mut system_random).unwrap()
    }

    #[test]
    fn what_was_locked_opens_with_its_passphrase_alone() {
        let text = made();
        assert!(is_locked(text.as_bytes()) && !is_locked(b"PRIVATE+KEY+"));
        let opened = unlock(text.as_bytes(), PASSPHRASE).unwrap();
        assert_eq!(&opened[..], b"the secret");
        let other = unlock(text.as_bytes(), b"another passphrase");
        assert_eq!(other, Err(LockedError::Refused));
        assert_ne!(text, made());
        let short = lock(b"x", b"short", &mut system_random);
        assert_eq!(short, Err(LockedError::Short));
        assert_eq!(passphrase(b"a b\r\n"), Ok(&b"a b"[..]));
        for wrong in [&b""[..], b"\n", &[b'x'; LONGEST + 1]] {
            assert_eq!(passphrase(wrong), Err(LockedError::Passphrase));
        }
    }

    #[test]
    fn a_file_that_asks_for_too_much_work_or_another_algorithm_is_refused_at_once() {
        let text = made();
        let (_, rest) = text.split_once('.').unwrap();
        let with = |header: &str| {
            let text = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
            unlock(text.as_bytes(), PASSPHRASE)
        };
        let header = |alg: &str, enc: &str, p2c: u64, more: &str| {
            with(&format!(
                r#"{{"alg":"{alg}","enc":"{enc}","p2c":{p2c},"p2s":"AAAA"{more}}}"#
            ))
        };
        for p2c in [u32::MAX, MAX_ROUNDS + 1, LEAST_ROUNDS - 1, 0] {
            let refused = header(ALGORITHM, CONTENT, p2c.into(), "");
            assert_eq!(refused, Err(LockedError::Rounds { asked: p2c }));
        }
        for refused in [
            header(ALGORITHM, CONTENT, u64::MAX, ""),
            header("dir", CONTENT, 1000, ""),
            header(ALGORITHM, "A128CBC-HS256", 1000, ""),
            header(ALGORITHM, CONTENT, 1000, r#","zip":"DEF""#),
            header(ALGORITHM, CONTENT, 1000, r#","crit":["x"]"#),
            with("{}"),
            unlock(b"eyJ", PASSPHRASE),
            unlock(format!("{}.x", text.trim()).as_bytes(), PASSPHRASE),
        ] {
            assert_eq!(refused, Err(LockedError::Form));
        }
    }

    #[test]
    fn every_changed_byte_is_found() {
        let text = made();
        let mut bytes = text.trim().as_bytes().to_vec();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert!(unlock(&bytes, PASSPHRASE).is_err(), "{at}");
            bytes[at] ^= 1;
        }
        unlock(&bytes, PASSPHRASE).unwrap();
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in "(eyJ)?[A-Za-z0-9_.-]{0,200}") {
            prop_assert!(unlock(bytes.as_bytes(), PASSPHRASE).is_err());
        }
    }
}
