//! Readers: who may open what the gateway sealed, by their X25519 keys.
//!
//! The forms are the standard ones, so that OpenSSL or a hardware module can make the keys and the
//! secret half never needs to be near the gateway:
//!
//! ```text
//! openssl genpkey -algorithm X25519 -out reader.key       PKCS#8 in PEM (RFC 5958, RFC 8410 7)
//! openssl pkey -in reader.key -pubout -out reader.pem     SubjectPublicKeyInfo in PEM (RFC 8410 4)
//! openssl pkey -pubin -in reader.pem -outform DER | sha256sum                   the reader's id
//! ```
//!
//! Parsed strictly: one PEM block of the right label, and in it the one DER encoding that an X25519
//! key has. Not here: encrypted keys, keys of other kinds, files and their modes.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use pem_rfc7468::{LineEnding, PemLabel};
use zeroize::Zeroizing;

use super::hpke::{HpkeError, KEY, PublicKey, SecretKey, setup_sender};
use super::random::Random;
use crate::event::Digest;

/// What comes before the key in a SubjectPublicKeyInfo: SEQUENCE, id-X25519, BIT STRING.
const PUBLIC_HEAD: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00";

/// What comes before the key in a PrivateKeyInfo: SEQUENCE, version 0, id-X25519, OCTET STRING.
const SECRET_HEAD: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20";

/// No key is longer than this as text, comments before the block included, bytes.
const LONGEST: usize = 4096;

/// What a reader may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Entries: who did what when, patients by pseudonym. For `audit show`.
    Entries,
    /// Entries, and the raw targets of requests, which may name patients. For exports and reports.
    Targets,
}

/// A reader as the operator names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    /// Its public key.
    pub key: PublicKey,
    /// What it may open.
    pub scope: Scope,
}

impl Reader {
    /// Reads a public key in PEM.
    ///
    /// # Errors
    /// [`ReaderError`]; never for what is a good key of another kind does this give a key.
    pub fn parse(pem: &[u8], scope: Scope) -> Result<Reader, ReaderError> {
        let key = PublicKey::new(*unwrap(pem, PublicPem::PEM_LABEL, PUBLIC_HEAD)?);
        // A key that leads nowhere is found now, not when the first entry waits for it.
        let probe = SecretKey::new(&Zeroizing::new([1; KEY]));
        match setup_sender(&key, b"", probe) {
            Ok(_) => Ok(Reader { key, scope }),
            Err(HpkeError::PublicKey) => Err(ReaderError::Weak),
            Err(HpkeError::Open | HpkeError::Library) => Err(ReaderError::Library),
        }
    }

    /// Its id: SHA-256 of the SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn id(&self) -> Digest {
        reader_id(&self.key)
    }
}

/// The id of the reader with this key.
#[must_use]
pub fn reader_id(key: &PublicKey) -> Digest {
    let der = [PUBLIC_HEAD, key.bytes()].concat();
    let mut id = [0; 32];
    id.copy_from_slice(digest(&SHA256, &der).as_ref());
    Digest::new(id)
}

/// Reads a reader's secret key in PEM. The caller wipes `pem`.
///
/// # Errors
/// [`ReaderError`]; it never holds a byte of what was read.
pub fn parse_secret(pem: &[u8]) -> Result<SecretKey, ReaderError> {
    let key = unwrap(pem, SecretPem::PEM_LABEL, SECRET_HEAD)?;
    Ok(SecretKey::new(&key))
}

/// A fresh pair, as OpenSSL would write it: the secret half, which belongs to the reader alone, and the
/// public half, which belongs to the gateway.
///
/// # Errors
/// [`ReaderError::Library`] when the cryptography library fails.
pub fn draw(random: &mut impl Random) -> Result<(Zeroizing<String>, String), ReaderError> {
    let secret = SecretKey::draw(random).map_err(|_| ReaderError::Library)?;
    let public = secret.public().map_err(|_| ReaderError::Library)?;
    let der = Zeroizing::new([SECRET_HEAD, secret.expose()].concat());
    let wrap = |label, der: &[u8]| {
        pem_rfc7468::encode_string(label, LineEnding::LF, der).map_err(|_| ReaderError::Library)
    };
    Ok((
        Zeroizing::new(wrap(SecretPem::PEM_LABEL, &der)?),
        wrap(
            PublicPem::PEM_LABEL,
            &[PUBLIC_HEAD, public.bytes()].concat(),
        )?,
    ))
}

/// Why a key is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderError {
    /// Longer than any key.
    TooLong {
        /// How long, bytes.
        bytes: usize,
    },
    /// Not PEM (RFC 7468), or more than one block.
    NotPem,
    /// PEM of something else, for instance the secret half where the public one belongs.
    Label {
        /// What was asked for.
        expected: &'static str,
    },
    /// Not an X25519 key in its one DER encoding (RFC 8410).
    NotX25519,
    /// A key of small order: everybody could open what is sealed to it (RFC 7748 6.1).
    Weak,
    /// The cryptography library failed.
    Library,
}

impl ReaderError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            ReaderError::Label {
                expected: PublicPem::PEM_LABEL,
            } => {
                "the gateway takes the public half alone: openssl pkey -in reader.key -pubout -out reader.pem"
            }
            ReaderError::Library => "try again; if it stays, the installation is broken",
            ReaderError::TooLong { .. }
            | ReaderError::NotPem
            | ReaderError::Label { .. }
            | ReaderError::NotX25519
            | ReaderError::Weak => {
                "make a pair with: openssl genpkey -algorithm X25519 -out reader.key; openssl pkey -in reader.key -pubout -out reader.pem"
            }
        }
    }
}

impl fmt::Display for ReaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReaderError::TooLong { bytes } => write!(f, "{bytes} bytes are no key"),
            ReaderError::NotPem => f.write_str("not one block of PEM (RFC 7468)"),
            ReaderError::Label { expected } => write!(f, "not PEM of a {expected}"),
            ReaderError::NotX25519 => f.write_str("not an X25519 key (RFC 8410)"),
            ReaderError::Weak => {
                f.write_str("a key of small order, which protects nothing (RFC 7748 6.1)")
            }
            ReaderError::Library => f.write_str("the cryptography library failed"),
        }
    }
}

impl std::error::Error for ReaderError {}

struct PublicPem;

impl PemLabel for PublicPem {
    const PEM_LABEL: &'static str = "PUBLIC KEY";
}

struct SecretPem;

impl PemLabel for SecretPem {
    const PEM_LABEL: &'static str = "PRIVATE KEY";
}

fn unwrap(
    pem: &[u8],
    expected: &'static str,
    head: &[u8],
) -> Result<Zeroizing<[u8; KEY]>, ReaderError> {
    if pem.len() > LONGEST {
        return Err(ReaderError::TooLong { bytes: pem.len() });
    }
    let mut buffer = Zeroizing::new([0; LONGEST]);
    let (label, der) =
        pem_rfc7468::decode(pem, &mut buffer[..]).map_err(|_| ReaderError::NotPem)?;
    if label != expected {
        return Err(ReaderError::Label { expected });
    }
    let key = der.strip_prefix(head).ok_or(ReaderError::NotX25519)?;
    let key = key.try_into().map_err(|_| ReaderError::NotX25519)?;
    Ok(Zeroizing::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Made by OpenSSL 3.0 with the commands above.
    const SECRET: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEINBOVPWV2KjwTu30RmqVYvoeuozlm5kIyPgquz06R9xf\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAJegE+MRzaOHcQHyhU3okWqBrC/6trL+4U/62fkPpjTg=\n-----END PUBLIC KEY-----\n";
    const ID: &str = "d716c957a99666011f148c17017fc7c870da4812c571eb22a42344599cc09599";
    const ED25519: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA+wSpAxsOhJotKteZiAkwn9TpKwkGMBn373D5NdkxUdA=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn what_openssl_writes_is_read() {
        let reader = Reader::parse(PUBLIC.as_bytes(), Scope::Entries).unwrap();
        let secret = parse_secret(SECRET.as_bytes()).unwrap();
        assert_eq!(secret.public().unwrap(), reader.key);
        assert_eq!(reader.id().to_string(), ID);
    }

    #[test]
    fn a_pair_that_was_drawn_is_read_back() {
        let mut seeded = super::super::tests::seeded(3);
        let (secret, public) = draw(&mut seeded).unwrap();
        let reader = Reader::parse(public.as_bytes(), Scope::Entries).unwrap();
        let secret = parse_secret(secret.as_bytes()).unwrap();
        assert_eq!(*secret.public().unwrap().bytes(), *reader.key.bytes());
    }

    #[test]
    fn a_key_of_another_kind_or_half_is_refused_by_name() {
        let public = |pem: &str| Reader::parse(pem.as_bytes(), Scope::Targets).err();
        let secret = |pem: &str| parse_secret(pem.as_bytes()).err();
        let label = |expected| Some(ReaderError::Label { expected });
        assert_eq!(public(SECRET), label("PUBLIC KEY"));
        assert_eq!(secret(PUBLIC), label("PRIVATE KEY"));
        assert_eq!(public(ED25519), Some(ReaderError::NotX25519));
        assert_eq!(public(""), Some(ReaderError::NotPem));
        assert_eq!(
            public(&format!("{PUBLIC}{PUBLIC}")),
            Some(ReaderError::NotPem)
        );
        let bytes = LONGEST + 1;
        let long = "x".repeat(bytes);
        assert_eq!(public(&long), Some(ReaderError::TooLong { bytes }));
    }

    #[test]
    fn a_public_key_that_protects_nothing_is_refused() {
        let der = [PUBLIC_HEAD, &[0; KEY]].concat();
        let pem = pem_rfc7468::encode_string("PUBLIC KEY", LineEnding::LF, &der).unwrap();
        let refused = Reader::parse(pem.as_bytes(), Scope::Entries);
        assert_eq!(refused, Err(ReaderError::Weak));
    }

    #[test]
    fn a_longer_encoding_of_the_same_key_is_refused() {
        let der = [PUBLIC_HEAD, &[9; KEY], &[0]].concat();
        let pem = pem_rfc7468::encode_string("PUBLIC KEY", LineEnding::LF, &der).unwrap();
        let refused = Reader::parse(pem.as_bytes(), Scope::Entries);
        assert_eq!(refused, Err(ReaderError::NotX25519));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, der in prop::collection::vec(any::<u8>(), 0..80), public: bool) {
            let _ = Reader::parse(&bytes, Scope::Entries);
            let label = if public { "PUBLIC KEY" } else { "PRIVATE KEY" };
            let pem = pem_rfc7468::encode_string(label, LineEnding::LF, &der).unwrap();
            let _ = Reader::parse(pem.as_bytes(), Scope::Entries);
            let _ = parse_secret(pem.as_bytes());
        }
    }
}
