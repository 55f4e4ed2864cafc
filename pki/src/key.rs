//! Secret keys: made, read from and written to PKCS #8 files (RFC 5958, RFC 7468), wiped from
//! memory when dropped, never printed.
//!
//! This is the one seam for keeping keys otherwise. Encryption at rest belongs between the file and
//! [`PrivateKey::from_pem`] and [`PrivateKey::to_pem`]; a key in a token is another way to be a
//! `rcgen::SigningKey`. Nothing else in the crate sees secret octets.

use std::fmt;

use pem_rfc7468::LineEnding;
use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::{Zeroize as _, Zeroizing};

use crate::public_key::{KeyKind, PublicKey};

/// Longest key file that is read, in octets.
pub const MAX_KEY_FILE_OCTETS: usize = 16 * 1024;

const LABEL: &str = "PRIVATE KEY";

/// A secret key with its public half.
pub struct PrivateKey {
    pair: KeyPair,
    public: PublicKey,
}

impl PrivateKey {
    /// Makes a new key. Only the elliptic curves are made: P-256 and P-384.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        let algorithm = match kind {
            KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyKind::Ed25519 | KeyKind::Rsa => return Err(KeyError::Kind),
        };
        let pair = KeyPair::generate_for(algorithm).map_err(|_| KeyError::Generate)?;
        Self::from_pair(pair)
    }

    /// Reads an unencrypted PKCS #8 key in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let mut buffer = Zeroizing::new(vec![0; pem.len()]);
        let (label, der) =
            pem_rfc7468::decode(pem, &mut buffer).map_err(|_| KeyError::Unreadable)?;
        if label != LABEL {
            return Err(KeyError::Unreadable);
        }
        let pair =
            KeyPair::try_from(&PrivatePkcs8KeyDer::from(der)).map_err(|_| KeyError::Unreadable)?;
        Self::from_pair(pair)
    }

    /// Writes it as unencrypted PKCS #8 in PEM.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        pem_rfc7468::encode_string(LABEL, LineEnding::LF, self.pair.serialized_der())
            .map(Zeroizing::new)
            .map_err(|_| KeyError::Unreadable)
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    fn from_pair(pair: KeyPair) -> Result<Self, KeyError> {
        let public =
            PublicKey::from_spki(&pair.subject_public_key_info()).map_err(|_| KeyError::Kind)?;
        Ok(Self { pair, public })
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.pair.zeroize();
    }
}

/// Says which key it is by its public identifier, and nothing of the secret.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public.key_id())
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.pair.algorithm()
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.pair.sign(message)
    }
}

/// What is wrong with a secret key. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// No unencrypted PKCS #8 key in PEM.
    Unreadable,
    /// A kind of key that is not used here.
    Kind,
    /// The cryptographic library made none.
    Generate,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => write!(f, "the file holds no unencrypted PKCS #8 key in PEM"),
            Self::Kind => write!(f, "the key is of a kind that is not used here"),
            Self::Generate => write!(f, "no key could be made"),
        }
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_signs_alike() {
        for kind in [KeyKind::P256, KeyKind::P384] {
            let key = PrivateKey::generate(kind).unwrap();
            let pem = key.to_pem().unwrap();
            let again = PrivateKey::from_pem(pem.as_bytes()).unwrap();
            assert_eq!(again.public().spki(), key.public().spki());
            assert_eq!(again.public().kind(), kind);
        }
    }

    #[test]
    fn no_secret_octet_is_printed() {
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        let printed = format!("{key:?}");
        assert_eq!(printed, format!("PrivateKey({})", key.public().key_id()));
    }

    #[test]
    fn what_is_no_pkcs8_key_is_refused() {
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        let pem = key.to_pem().unwrap();
        for text in [
            "",
            "garbage",
            &pem.replace("PRIVATE KEY", "EC PRIVATE KEY"),
            &pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
            &pem[..pem.len() / 2],
        ] {
            assert_eq!(
                PrivateKey::from_pem(text.as_bytes()).unwrap_err(),
                KeyError::Unreadable
            );
        }
    }

    #[test]
    fn keys_of_other_kinds_are_not_made() {
        for kind in [KeyKind::Ed25519, KeyKind::Rsa] {
            assert_eq!(PrivateKey::generate(kind).unwrap_err(), KeyError::Kind);
        }
    }
}
