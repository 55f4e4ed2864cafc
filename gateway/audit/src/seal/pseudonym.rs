//! Pseudonyms: patients in the log, so that their records can be found and nobody can be named.
//!
//! ```text
//! pseudonym = HMAC-SHA-256(tenant key, label | length of system (8, big endian) | system | value),
//!             its first 16 bytes
//! ```
//!
//! The tenant key is the operator's and lives as long as the log: whoever has it can ask whether a
//! given patient is meant, and without it a list of all record numbers is of no use. The pair is taken as it
//! is: whoever calls knows what one system and one value are. Not here: finding patients in requests.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

pub use crate::event::Pseudonym;

const LABEL: &[u8] = b"phigate patient pseudonym 1";
const KEY: usize = 32;

/// The key that pseudonyms are made with. Never printed; the library wipes it.
pub struct TenantKey(hmac::Key);

impl TenantKey {
    /// Reads a key as its file holds it: 32 bytes in base64 (RFC 4648 4, padded) or as 64 hex digits,
    /// and at most one line end. `openssl rand -base64 32` writes one. The caller wipes `text`.
    ///
    /// # Errors
    /// [`TenantKeyError`]; it holds nothing of what was read.
    pub fn parse(text: &[u8]) -> Result<TenantKey, TenantKeyError> {
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut key = Zeroizing::new([0; KEY]);
        match line.len() {
            64 => {
                for (byte, digits) in key.iter_mut().zip(line.chunks_exact(2)) {
                    *byte = (digit(digits[0])? << 4) | digit(digits[1])?;
                }
            }
            44 => {
                let decoded = STANDARD.decode(line).map(Zeroizing::new);
                let decoded = decoded.map_err(|_| TenantKeyError::Malformed)?;
                if decoded.len() != KEY {
                    return Err(TenantKeyError::Malformed);
                }
                key.copy_from_slice(&decoded);
            }
            bytes => return Err(TenantKeyError::Length { bytes }),
        }
        if key.iter().all(|byte| *byte == key[0]) {
            return Err(TenantKeyError::Placeholder);
        }
        Ok(TenantKey(hmac::Key::new(hmac::HMAC_SHA256, &key[..])))
    }

    /// The pseudonym of the patient whom `system` knows as `value`.
    #[must_use]
    pub fn pseudonym(&self, system: &str, value: &str) -> Pseudonym {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(LABEL);
        context.update(&(system.len() as u64).to_be_bytes());
        context.update(system.as_bytes());
        context.update(value.as_bytes());
        let mut pseudonym = [0; 16];
        pseudonym.copy_from_slice(&context.sign().as_ref()[..16]);
        Pseudonym::new(pseudonym)
    }
}

/// Why a tenant key is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantKeyError {
    /// Neither 44 characters of base64 nor 64 hex digits.
    Length {
        /// How long the line is, bytes.
        bytes: usize,
    },
    /// Of the right length, but not base64 or hex.
    Malformed,
    /// One byte repeated: somebody's stand-in, not a key.
    Placeholder,
}

impl TenantKeyError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "make one with: openssl rand -base64 32; keep a copy, because what is logged under another key is not found any more"
    }
}

impl fmt::Display for TenantKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TenantKeyError::Length { bytes } => {
                write!(f, "a line of {bytes} bytes, not 32 bytes in base64 or hex")
            }
            TenantKeyError::Malformed => f.write_str("not base64, and not hex"),
            TenantKeyError::Placeholder => f.write_str("one byte repeated is no key"),
        }
    }
}

impl std::error::Error for TenantKeyError {}

fn digit(byte: u8) -> Result<u8, TenantKeyError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(TenantKeyError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn key() -> TenantKey {
        TenantKey::parse(HEX.as_bytes()).unwrap()
    }

    #[test]
    fn a_pseudonym_is_what_another_tool_computes() {
        let pseudonym = key().pseudonym("https://ehr.example/fhir", "Patient/17");
        assert_eq!(pseudonym.to_string(), "c091862406911b11f13cd14b0166fd26");
        let empty = key().pseudonym("", "");
        assert_eq!(empty.to_string(), "5b53aa5082689fdcc2c05fcda596e2b2");
    }

    #[test]
    fn both_spellings_give_the_same_key() {
        let of = |text: &str| TenantKey::parse(text.as_bytes()).map(|key| key.pseudonym("s", "v"));
        let expected = Ok(key().pseudonym("s", "v"));
        for text in [HEX, BASE64, &HEX.to_uppercase()] {
            assert_eq!(of(text), expected);
            assert_eq!(of(&format!("{text}\n")), expected);
            assert_eq!(of(&format!("{text}\r\n")), expected);
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let refused = |text: &str| TenantKey::parse(text.as_bytes()).err();
        let length = |bytes| Some(TenantKeyError::Length { bytes });
        assert_eq!(refused(""), length(0));
        assert_eq!(refused(&HEX[1..]), length(63));
        assert_eq!(refused(&format!("{HEX}\n\n")), length(65));
        assert_eq!(refused(&format!(" {HEX}")), length(65));
        assert_eq!(
            refused(&HEX.replace("0f", "0g")),
            Some(TenantKeyError::Malformed)
        );
        assert_eq!(
            refused(&BASE64.replace('=', "A")),
            Some(TenantKeyError::Malformed)
        );
        assert_eq!(refused(&"0".repeat(64)), Some(TenantKeyError::Placeholder));
        assert_eq!(refused(&"ab".repeat(32)), Some(TenantKeyError::Placeholder));
    }

    proptest! {
        #[test]
        fn different_pairs_have_different_pseudonyms(system: String, value: String, other: String, further: String) {
            prop_assume!((&system, &value) != (&other, &further));
            prop_assert_ne!(key().pseudonym(&system, &value), key().pseudonym(&other, &further));
        }

        #[test]
        fn where_the_system_ends_makes_a_difference(text in "[a-z/|]{1,20}", at: prop::sample::Index, other: prop::sample::Index) {
            let (at, other) = (at.index(text.len() + 1), other.index(text.len() + 1));
            prop_assume!(at != other);
            let of = |at: usize| key().pseudonym(&text[..at], &text[at..]);
            prop_assert_ne!(of(at), of(other));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 40..70)) {
            let _ = TenantKey::parse(&bytes);
        }
    }
}
