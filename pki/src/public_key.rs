//! Subject public keys: which kinds and strengths are certified, and the verification of
//! signatures made with them (RFC 5280 section 4.1.2.7, RFC 5480, RFC 8410, RFC 3279).
//!
//! A key that is not in the table is refused: fail closed. Secret keys are `key`'s business, and
//! what a signature proves is the caller's.

use std::fmt;

use aws_lc_rs::digest;
use rcgen::{PublicKeyData, SignatureAlgorithm, SubjectPublicKeyInfo};
use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use x509_parser::asn1_rs::{Tag, oid};
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::{PublicKey as Parsed, RSAPublicKey};
use x509_parser::x509;

/// A public key of a kind and strength that this authority certifies.
#[derive(Debug, Clone)]
pub struct PublicKey {
    kind: KeyKind,
    spki: Vec<u8>,
    info: SubjectPublicKeyInfo,
}

/// The kinds of keys that are certified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256 (secp256r1).
    P256,
    /// ECDSA on P-384 (secp384r1).
    P384,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// RSA of 2048 to 4096 bits.
    Rsa,
}

/// Smallest RSA modulus, in bits (SP 800-52r2 section 3.2.1, RFC 9325 section 4.5).
const MIN_RSA_BITS: usize = 2048;
/// Largest RSA modulus, in bits: a peer pays for every verification.
const MAX_RSA_BITS: usize = 4096;
/// Smallest RSA exponent (FIPS 186-5 section 5.4: above 2^16).
const MIN_RSA_EXPONENT: u64 = 65_537;

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo and judges its kind and strength.
    pub fn from_spki(spki: &[u8]) -> Result<Self, PublicKeyError> {
        let (rest, parsed) = x509::SubjectPublicKeyInfo::from_der(spki)
            .map_err(|_| PublicKeyError::Malformed { what: "structure" })?;
        if !rest.is_empty() {
            return Err(PublicKeyError::Malformed {
                what: "bytes after it",
            });
        }
        let kind = judge(&parsed)?;
        let info = SubjectPublicKeyInfo::from_der(spki)
            .map_err(|_| PublicKeyError::Malformed { what: "algorithm" })?;
        // The certificate will carry the key as rcgen writes it. A key that would come out
        // differently (odd parameters, unused bits) is not certified.
        if info.subject_public_key_info() != spki {
            return Err(PublicKeyError::Malformed { what: "encoding" });
        }
        Ok(Self {
            kind,
            spki: spki.to_vec(),
            info,
        })
    }

    /// The kind of key.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The key identifier: the leftmost 160 bits of the SHA-256 of the key's BIT STRING
    /// (RFC 7093 section 2, method 1).
    pub fn key_id(&self) -> KeyId {
        KeyId::of(self.info.der_bytes())
    }

    /// SHA-256 of the SubjectPublicKeyInfo: the inventory's handle on "the same key again".
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.spki)
    }

    /// Verifies `signature` over `message` by this key.
    ///
    /// The algorithm is found in a table by the signature's OID *and* the kind of key; what is not
    /// there, SHA-1 and RSA-PSS among it, does not verify. Fails closed.
    pub fn verify(
        &self,
        algorithm: &Oid<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let row = SIGNATURES
            .iter()
            .find(|row| row.key == self.kind && row.oid == *algorithm)
            .ok_or_else(|| SignatureError::Algorithm {
                oid: shown_oid(algorithm),
            })?;
        let spki = SubjectPublicKeyInfoDer::from(self.spki.as_slice());
        webpki::RawPublicKeyEntity::try_from(&spki)
            .and_then(|key| key.verify_signature(row.verifier, message, signature))
            .map_err(|_| SignatureError::Wrong)
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        self.info.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.info.algorithm()
    }
}

/// A key identifier (RFC 5280 sections 4.2.1.1 and 4.2.1.2), written in lower-case hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub [u8; 20]);

impl KeyId {
    /// The identifier of the key whose BIT STRING holds `subject_public_key`.
    pub fn of(subject_public_key: &[u8]) -> Self {
        let hash = sha256(subject_public_key);
        let mut leftmost = [0; 20];
        leftmost.copy_from_slice(&hash[..20]);
        Self(leftmost)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// An object identifier from outside, short enough for an error message.
pub(crate) fn shown_oid(oid: &Oid<'_>) -> String {
    const MAX: usize = 64;
    oid.to_id_string().chars().take(MAX).collect()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(octets: &[u8]) -> String {
    use fmt::Write as _;
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// Why a public key is not certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKeyError {
    /// It is no proper DER SubjectPublicKeyInfo.
    Malformed {
        /// Which part.
        what: &'static str,
    },
    /// A kind of key that is not certified.
    Algorithm {
        /// Its object identifier.
        oid: String,
    },
    /// An elliptic curve other than P-256 and P-384, or parameters spelt out.
    Curve {
        /// Its object identifier, if it has one.
        oid: Option<String>,
    },
    /// A point that is not uncompressed, or of the wrong length (RFC 5480 section 2.2).
    Point,
    /// An RSA modulus outside 2048 to 4096 bits.
    RsaSize {
        /// Its length in bits.
        bits: usize,
    },
    /// An RSA modulus or exponent that is even, or an exponent below 65537.
    RsaNumbers,
}

impl fmt::Display for PublicKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { what } => write!(f, "the public key is malformed ({what})"),
            Self::Algorithm { oid } => {
                write!(f, "public keys of algorithm {oid} are not certified")
            }
            Self::Curve { oid: Some(oid) } => {
                write!(f, "keys on the elliptic curve {oid} are not certified")
            }
            Self::Curve { oid: None } => {
                write!(
                    f,
                    "the elliptic curve of the key is not named by its identifier"
                )
            }
            Self::Point => write!(f, "the elliptic curve point is not uncompressed"),
            Self::RsaSize { bits } => write!(
                f,
                "the RSA key has {bits} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are certified"
            ),
            Self::RsaNumbers => write!(
                f,
                "the RSA key is weak: modulus and exponent are odd, the exponent at least {MIN_RSA_EXPONENT}"
            ),
        }
    }
}

impl std::error::Error for PublicKeyError {}

/// Why a signature proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureError {
    /// An algorithm that is not trusted, or that does not belong to this kind of key.
    Algorithm {
        /// Its object identifier.
        oid: String,
    },
    /// The signature is not one by this key over these bytes.
    Wrong,
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm { oid } => {
                write!(
                    f,
                    "signature algorithm {oid} is not accepted for this kind of key"
                )
            }
            Self::Wrong => write!(f, "the signature does not verify"),
        }
    }
}

impl std::error::Error for SignatureError {}

fn judge(spki: &x509::SubjectPublicKeyInfo<'_>) -> Result<KeyKind, PublicKeyError> {
    let algorithm = &spki.algorithm.algorithm;
    if *algorithm == EC_PUBLIC_KEY {
        return judge_curve(spki);
    }
    if *algorithm == RSA_ENCRYPTION {
        return judge_rsa(spki);
    }
    if *algorithm == ED25519 {
        return Ok(KeyKind::Ed25519);
    }
    Err(PublicKeyError::Algorithm {
        oid: shown_oid(algorithm),
    })
}

fn judge_curve(spki: &x509::SubjectPublicKeyInfo<'_>) -> Result<KeyKind, PublicKeyError> {
    let curve = spki
        .algorithm
        .parameters
        .as_ref()
        // `as_oid` reads any value as an identifier, parameters that are spelt out among them.
        .filter(|parameters| parameters.tag() == Tag::Oid)
        .and_then(|parameters| parameters.as_oid().ok())
        .ok_or(PublicKeyError::Curve { oid: None })?;
    let (kind, field_octets) = if curve == SECP256R1 {
        (KeyKind::P256, 32)
    } else if curve == SECP384R1 {
        (KeyKind::P384, 48)
    } else {
        return Err(PublicKeyError::Curve {
            oid: Some(shown_oid(&curve)),
        });
    };
    let point = &spki.subject_public_key.data;
    if point.first() != Some(&0x04) || point.len() != 1 + 2 * field_octets {
        return Err(PublicKeyError::Point);
    }
    Ok(kind)
}

fn judge_rsa(spki: &x509::SubjectPublicKeyInfo<'_>) -> Result<KeyKind, PublicKeyError> {
    let Ok(Parsed::RSA(key)) = spki.parsed() else {
        return Err(PublicKeyError::Malformed { what: "RSA key" });
    };
    let bits = modulus_bits(&key);
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(PublicKeyError::RsaSize { bits });
    }
    let exponent = key.try_exponent().unwrap_or(0);
    let modulus_is_odd = key.modulus.last().is_some_and(|octet| octet % 2 == 1);
    if !modulus_is_odd || exponent % 2 == 0 || exponent < MIN_RSA_EXPONENT {
        return Err(PublicKeyError::RsaNumbers);
    }
    Ok(KeyKind::Rsa)
}

/// The true length of the modulus: `RSAPublicKey::key_size` counts whole octets.
fn modulus_bits(key: &RSAPublicKey<'_>) -> usize {
    let leading_zeros = key.modulus.iter().take_while(|&&octet| octet == 0).count();
    let shortest = &key.modulus[leading_zeros..];
    match shortest.first() {
        Some(first) => 8 * shortest.len() - first.leading_zeros() as usize,
        None => 0,
    }
}

/// One signature algorithm that is accepted from one kind of key.
struct Signature {
    oid: Oid<'static>,
    key: KeyKind,
    verifier: &'static dyn SignatureVerificationAlgorithm,
}

const EC_PUBLIC_KEY: Oid<'static> = oid!(1.2.840.10045.2.1);
const SECP256R1: Oid<'static> = oid!(1.2.840.10045.3.1.7);
const SECP384R1: Oid<'static> = oid!(1.3.132.0.34);
const RSA_ENCRYPTION: Oid<'static> = oid!(1.2.840.113549.1.1.1);
const ED25519: Oid<'static> = oid!(1.3.101.112);
const ECDSA_WITH_SHA256: Oid<'static> = oid!(1.2.840.10045.4.3.2);
const ECDSA_WITH_SHA384: Oid<'static> = oid!(1.2.840.10045.4.3.3);
const ECDSA_WITH_SHA512: Oid<'static> = oid!(1.2.840.10045.4.3.4);
const SHA256_WITH_RSA: Oid<'static> = oid!(1.2.840.113549.1.1.11);
const SHA384_WITH_RSA: Oid<'static> = oid!(1.2.840.113549.1.1.12);
const SHA512_WITH_RSA: Oid<'static> = oid!(1.2.840.113549.1.1.13);

/// RFC 5758 section 3.2 (ECDSA), RFC 8410 section 6 (Ed25519), RFC 4055 section 5 (RSA).
#[rustfmt::skip]
static SIGNATURES: [Signature; 10] = {
    use webpki::aws_lc_rs as by;
    use KeyKind::{Ed25519, P256, P384, Rsa};
    [
        Signature { oid: ECDSA_WITH_SHA256, key: P256, verifier: by::ECDSA_P256_SHA256 },
        Signature { oid: ECDSA_WITH_SHA384, key: P256, verifier: by::ECDSA_P256_SHA384 },
        Signature { oid: ECDSA_WITH_SHA512, key: P256, verifier: by::ECDSA_P256_SHA512 },
        Signature { oid: ECDSA_WITH_SHA256, key: P384, verifier: by::ECDSA_P384_SHA256 },
        Signature { oid: ECDSA_WITH_SHA384, key: P384, verifier: by::ECDSA_P384_SHA384 },
        Signature { oid: ECDSA_WITH_SHA512, key: P384, verifier: by::ECDSA_P384_SHA512 },
        Signature { oid: ED25519, key: Ed25519, verifier: by::ED25519 },
        Signature { oid: SHA256_WITH_RSA, key: Rsa, verifier: by::RSA_PKCS1_2048_8192_SHA256 },
        Signature { oid: SHA384_WITH_RSA, key: Rsa, verifier: by::RSA_PKCS1_2048_8192_SHA384 },
        Signature { oid: SHA512_WITH_RSA, key: Rsa, verifier: by::RSA_PKCS1_2048_8192_SHA512 },
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::tests::edit;
    use rcgen::{KeyPair, RsaKeySize, SigningKey};

    fn made(algorithm: &'static SignatureAlgorithm) -> (KeyPair, PublicKey) {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let key = PublicKey::from_spki(&pair.subject_public_key_info()).unwrap();
        (pair, key)
    }

    #[test]
    fn the_four_kinds_are_recognized() {
        assert_eq!(made(&rcgen::PKCS_ECDSA_P256_SHA256).1.kind(), KeyKind::P256);
        assert_eq!(made(&rcgen::PKCS_ECDSA_P384_SHA384).1.kind(), KeyKind::P384);
        assert_eq!(made(&rcgen::PKCS_ED25519).1.kind(), KeyKind::Ed25519);
        assert_eq!(made(&rcgen::PKCS_RSA_SHA256).1.kind(), KeyKind::Rsa);
    }

    #[test]
    fn another_curve_is_refused_by_name() {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        assert_eq!(
            PublicKey::from_spki(&pair.subject_public_key_info()).unwrap_err(),
            PublicKeyError::Curve {
                oid: Some("1.3.132.0.35".to_owned())
            }
        );
    }

    #[test]
    fn rsa_of_4096_bits_is_the_largest() {
        let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096).unwrap();
        assert!(PublicKey::from_spki(&pair.subject_public_key_info()).is_ok());
    }

    #[test]
    fn a_small_or_even_rsa_exponent_is_refused() {
        let pair = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let spki = pair.subject_public_key_info();
        // 65537 stands at the end as 02 03 01 00 01.
        let ends_with = |octets: [u8; 3]| {
            let mut changed = spki.clone();
            let at = changed.len() - 3;
            changed[at..].copy_from_slice(&octets);
            PublicKey::from_spki(&changed).unwrap_err()
        };
        assert_eq!(ends_with([1, 0, 0]), PublicKeyError::RsaNumbers);
        assert_eq!(ends_with([0, 0xff, 0xff]), PublicKeyError::RsaNumbers);
    }

    #[test]
    fn a_compressed_point_is_refused() {
        let (_, key) = made(&rcgen::PKCS_ECDSA_P256_SHA256);
        let compressed = edit(key.spki(), &[1], &|bits| {
            let (x, y_is_odd) = (bits[4..36].to_vec(), bits[67] % 2);
            *bits = vec![3, 34, 0, 2 + y_is_odd];
            bits.extend(x);
        });
        assert_eq!(
            PublicKey::from_spki(&compressed).unwrap_err(),
            PublicKeyError::Point
        );
    }

    #[test]
    fn a_key_that_would_be_certified_in_other_octets_is_refused() {
        let (_, key) = made(&rcgen::PKCS_ED25519);
        // One bit of the BIT STRING is declared unused, and is zero as it then must be.
        let odd = edit(key.spki(), &[1], &|bits| {
            bits[2] = 1;
            *bits.last_mut().unwrap() &= 0xfe;
        });
        assert_eq!(
            PublicKey::from_spki(&odd).unwrap_err(),
            PublicKeyError::Malformed { what: "encoding" }
        );
    }

    #[test]
    fn bytes_after_the_key_are_refused() {
        let (_, key) = made(&rcgen::PKCS_ED25519);
        let mut longer = key.spki().to_vec();
        longer.push(0);
        assert!(PublicKey::from_spki(&longer).is_err());
    }

    #[test]
    fn every_row_of_the_table_verifies_only_its_own_signature() {
        for (algorithm, oid) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, &ECDSA_WITH_SHA256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, &ECDSA_WITH_SHA384),
            (&rcgen::PKCS_ED25519, &ED25519),
            (&rcgen::PKCS_RSA_SHA512, &SHA512_WITH_RSA),
        ] {
            let (pair, key) = made(algorithm);
            let signature = pair.sign(b"message").unwrap();
            assert_eq!(key.verify(oid, b"message", &signature), Ok(()));
            assert_eq!(
                key.verify(oid, b"another", &signature),
                Err(SignatureError::Wrong)
            );
        }
    }

    #[test]
    fn an_algorithm_of_another_kind_of_key_is_refused() {
        let (pair, key) = made(&rcgen::PKCS_ED25519);
        let signature = pair.sign(b"message").unwrap();
        assert!(matches!(
            key.verify(&ECDSA_WITH_SHA256, b"message", &signature),
            Err(SignatureError::Algorithm { .. })
        ));
        let sha1_with_rsa = oid!(1.2.840.113549.1.1.5);
        let (_, rsa) = made(&rcgen::PKCS_RSA_SHA256);
        assert!(matches!(
            rsa.verify(&sha1_with_rsa, b"message", &signature),
            Err(SignatureError::Algorithm { .. })
        ));
    }
}
