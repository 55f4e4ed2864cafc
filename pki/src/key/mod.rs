//! Secret keys: made, read from and written to PKCS #8 files (RFC 5958, RFC 7468), plain or encrypted
//! by a passphrase, or left in a token that makes them and signs with them (PKCS #11). Wiped from
//! memory when dropped, never printed.
//!
//! A [`PrivateKey`] signs, wherever it lives; nothing else in the crate sees secret octets. Which
//! file or token a key is in, and whose passphrase opens it, the caller knows.

mod encrypted;
mod token;
mod uri;

use std::fmt;

use pem_rfc7468::LineEnding;
use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::{Zeroize as _, Zeroizing};

pub use token::{MadeInToken, Modules, TokenError};
pub use uri::{TokenUri, UriError};

use crate::public_key::{KeyKind, PublicKey};
use crate::secret::Secret;
use token::TokenKey;

/// Longest key file that is read, in octets.
pub const MAX_KEY_FILE_OCTETS: usize = 16 * 1024;

const LABEL: &str = "PRIVATE KEY";

/// A secret key with its public half.
pub struct PrivateKey {
    home: Home,
    public: PublicKey,
}

/// Where a secret key lives.
enum Home {
    /// In this process.
    Memory(KeyPair),
    /// In a token.
    Token(TokenKey),
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

    /// Makes a new key in a token, which does not give it out.
    pub fn generate_in_token(
        modules: &Modules,
        uri: &TokenUri,
        kind: KeyKind,
    ) -> Result<(Self, MadeInToken), TokenError> {
        let (key, public, made) = TokenKey::generate(modules, uri, kind)?;
        let home = Home::Token(key);
        Ok((Self { home, public }, made))
    }

    /// The key of a token that `uri` means.
    pub fn in_token(modules: &Modules, uri: &TokenUri) -> Result<Self, TokenError> {
        let (key, public) = TokenKey::open(modules, uri)?;
        let home = Home::Token(key);
        Ok(Self { home, public })
    }

    /// Reads an unencrypted PKCS #8 key in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let mut buffer = Zeroizing::new(vec![0; pem.len()]);
        match decode(pem, &mut buffer)? {
            (Form::Plain, der) => Self::from_der(der),
            (Form::Encrypted, _) => Err(KeyError::Encrypted),
        }
    }

    /// Reads an encrypted PKCS #8 key in PEM: PBES2 with PBKDF2 and AES in CBC mode.
    pub fn from_encrypted_pem(pem: &[u8], passphrase: &Secret) -> Result<Self, KeyError> {
        let mut buffer = Zeroizing::new(vec![0; pem.len()]);
        match decode(pem, &mut buffer)? {
            (Form::Plain, _) => Err(KeyError::Plain),
            (Form::Encrypted, der) => {
                let key = encrypted::open(der, passphrase)?;
                // What is no key was opened by a wrong passphrase that left the padding right. A key
                // of a kind that is not used was opened by the right one.
                Self::from_der(&key).map_err(|error| match error {
                    KeyError::Unreadable => KeyError::Passphrase,
                    error => error,
                })
            }
        }
    }

    /// Writes it as unencrypted PKCS #8 in PEM.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        encode(LABEL, self.der()?)
    }

    /// Writes it as PKCS #8 in PEM, encrypted by `passphrase`, as openssl reads it.
    pub fn to_encrypted_pem(&self, passphrase: &Secret) -> Result<Zeroizing<String>, KeyError> {
        encode(encrypted::LABEL, &encrypted::seal(self.der()?, passphrase)?)
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    fn der(&self) -> Result<&[u8], KeyError> {
        match &self.home {
            Home::Memory(pair) => Ok(pair.serialized_der()),
            Home::Token(_) => Err(KeyError::InToken),
        }
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let pair =
            KeyPair::try_from(&PrivatePkcs8KeyDer::from(der)).map_err(|_| KeyError::Unreadable)?;
        Self::from_pair(pair)
    }

    fn from_pair(pair: KeyPair) -> Result<Self, KeyError> {
        let public =
            PublicKey::from_spki(&pair.subject_public_key_info()).map_err(|_| KeyError::Kind)?;
        Ok(Self {
            home: Home::Memory(pair),
            public,
        })
    }
}

/// Whether a key file says that its content is encrypted.
pub fn is_encrypted(pem: &[u8]) -> bool {
    matches!(pem_rfc7468::decode_label(pem), Ok(encrypted::LABEL))
}

enum Form {
    Plain,
    Encrypted,
}

fn decode<'a>(pem: &[u8], buffer: &'a mut [u8]) -> Result<(Form, &'a [u8]), KeyError> {
    match pem_rfc7468::decode(pem, buffer) {
        Ok((LABEL, der)) => Ok((Form::Plain, der)),
        Ok((encrypted::LABEL, der)) => Ok((Form::Encrypted, der)),
        _ => Err(KeyError::Unreadable),
    }
}

fn encode(label: &'static str, der: &[u8]) -> Result<Zeroizing<String>, KeyError> {
    pem_rfc7468::encode_string(label, LineEnding::LF, der)
        .map(Zeroizing::new)
        .map_err(|_| KeyError::Unreadable)
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        match &mut self.home {
            Home::Memory(pair) => pair.zeroize(),
            Home::Token(_) => {}
        }
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
        self.public.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match &self.home {
            Home::Memory(pair) => pair.algorithm(),
            Home::Token(key) => key.algorithm(),
        }
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match &self.home {
            Home::Memory(pair) => pair.sign(message),
            Home::Token(key) => key.sign(message).map_err(|_| rcgen::Error::RemoteKeyError),
        }
    }
}

/// What is wrong with a secret key. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// No PKCS #8 key in PEM.
    Unreadable,
    /// A kind of key that is not used here.
    Kind,
    /// The cryptographic library made none, or no random numbers.
    Generate,
    /// It is encrypted, and nobody said where its passphrase is.
    Encrypted,
    /// It is not encrypted.
    Plain,
    /// The passphrase is not the one that it was encrypted with, or the file was changed.
    Passphrase,
    /// It is encrypted in a way that is not read here.
    Scheme,
    /// Its passphrase would be worked on for too long.
    Rounds,
    /// It is in a token, which does not give it out.
    InToken,
    /// The cryptographic library failed.
    Library,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => write!(f, "the file holds no PKCS #8 key in PEM"),
            Self::Kind => write!(f, "the key is of a kind that is not used here"),
            Self::Generate => write!(f, "no key could be made"),
            Self::Encrypted => write!(f, "the key is encrypted, and no passphrase was named"),
            Self::Plain => write!(f, "the key is not encrypted"),
            Self::Passphrase => write!(f, "the passphrase does not open the key"),
            Self::Scheme => write!(f, "the key is encrypted in a way that is not read here"),
            Self::Rounds => write!(
                f,
                "the key is encrypted with more than {} rounds of PBKDF2",
                encrypted::MAX_ROUNDS
            ),
            Self::InToken => write!(f, "the key is in a token, which does not give it out"),
            Self::Library => write!(f, "the cryptographic library failed"),
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
            &pem[..pem.len() / 2],
        ] {
            assert_eq!(
                PrivateKey::from_pem(text.as_bytes()).unwrap_err(),
                KeyError::Unreadable
            );
        }
    }

    fn secret(text: &str) -> Secret {
        Secret::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_alone() {
        for kind in [KeyKind::P256, KeyKind::P384] {
            let key = PrivateKey::generate(kind).unwrap();
            let pem = key.to_encrypted_pem(&secret("right")).unwrap();
            assert!(
                is_encrypted(pem.as_bytes()) && !is_encrypted(key.to_pem().unwrap().as_bytes())
            );
            let read = |text| PrivateKey::from_encrypted_pem(pem.as_bytes(), &secret(text));
            let again = read("right").unwrap();
            assert_eq!(again.public().spki(), key.public().spki());
            assert_eq!(read("Right").unwrap_err(), KeyError::Passphrase);
            assert_eq!(
                PrivateKey::from_pem(pem.as_bytes()).unwrap_err(),
                KeyError::Encrypted
            );
        }
    }

    #[test]
    fn octets_that_are_no_key_were_opened_by_a_wrong_passphrase() {
        // One in 256 wrong passphrases gets this far.
        let der = encrypted::seal(b"not a key", &secret("wrong")).unwrap();
        let pem = encode(encrypted::LABEL, &der).unwrap();
        assert_eq!(
            PrivateKey::from_encrypted_pem(pem.as_bytes(), &secret("wrong")).unwrap_err(),
            KeyError::Passphrase
        );
    }

    #[test]
    fn a_label_alone_encrypts_nothing() {
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        let pem = key.to_pem().unwrap();
        let read = |pem: &str| PrivateKey::from_encrypted_pem(pem.as_bytes(), &secret("x"));
        assert_eq!(read(&pem).unwrap_err(), KeyError::Plain);
        let labelled = pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert_eq!(read(&labelled).unwrap_err(), KeyError::Unreadable);
    }

    #[test]
    fn keys_of_other_kinds_are_not_made() {
        for kind in [KeyKind::Ed25519, KeyKind::Rsa] {
            assert_eq!(PrivateKey::generate(kind).unwrap_err(), KeyError::Kind);
        }
    }
}
