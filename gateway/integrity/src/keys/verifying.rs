//! What a signature is verified with.
//!
//! Standard: RFC 9421 3.3; ECDSA signatures are `r || s` of fixed length (3.3.4, 3.3.5), RSA keys
//! have 2048 to 8192 bits, HMAC keys 32 bytes or more. A key is parsed once and can then be used at
//! every request. What it does not do: it does not know whose key it is.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents,
};

use super::Algorithm;
use super::der::{self, Kind, Public};
use crate::error::{Error, KeyError};
use crate::limits::{HMAC_LEAST_BYTES, RSA_LEAST_BITS, RSA_MOST_BITS};

/// A public key, or a symmetric one, with its one algorithm.
pub struct VerifyingKey {
    algorithm: Algorithm,
    key: Key,
}

enum Key {
    Public(ParsedPublicKey, Material),
    Shared(Box<hmac::Key>),
}

/// The numbers of a public key, to publish.
pub(super) enum Material {
    /// An uncompressed point, or the 32 bytes of Ed25519.
    Raw(Box<[u8]>),
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
}

impl VerifyingKey {
    /// Reads a SubjectPublicKeyInfo in DER (RFC 5280 4.1), as it stands in a certificate. An RSA
    /// key is taken for `rsa-pss-sha512`.
    pub fn from_spki(der: &[u8]) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::from_public(&der::public(der)?, Algorithm::RsaPssSha512)
    }

    /// The same, for this algorithm and no other.
    pub fn from_spki_for(der: &[u8], algorithm: Algorithm) -> Result<VerifyingKey, KeyError> {
        let key = VerifyingKey::from_public(&der::public(der)?, algorithm)?;
        if key.algorithm == algorithm {
            Ok(key)
        } else {
            Err(KeyError::Algorithm {
                key: key.algorithm.name(),
            })
        }
    }

    /// A secret that both ends share, for `hmac-sha256`; 32 bytes or more.
    pub fn hmac(secret: &[u8]) -> Result<VerifyingKey, KeyError> {
        if secret.len() < HMAC_LEAST_BYTES {
            return Err(KeyError::TooShort {
                bits: secret.len() * 8,
                least: HMAC_LEAST_BYTES * 8,
            });
        }
        Ok(VerifyingKey::shared(hmac::Key::new(
            hmac::HMAC_SHA256,
            secret,
        )))
    }

    pub(super) fn shared(key: hmac::Key) -> VerifyingKey {
        VerifyingKey {
            algorithm: Algorithm::HmacSha256,
            key: Key::Shared(Box::new(key)),
        }
    }

    /// `rsa` is the algorithm of an RSA key; the other kinds have one only.
    pub(super) fn from_public(
        public: &Public<'_>,
        rsa: Algorithm,
    ) -> Result<VerifyingKey, KeyError> {
        let (algorithm, parsed, material) = match *public {
            Public::Raw(kind, bytes) => {
                let (algorithm, parsed) = parse_raw(kind, bytes)?;
                (algorithm, parsed, Material::Raw(bytes.into()))
            }
            Public::Rsa { n, e } => {
                let (algorithm, parameters) = match rsa {
                    Algorithm::RsaV15Sha256 => (rsa, &RSA_PKCS1_2048_8192_SHA256),
                    _ => (Algorithm::RsaPssSha512, &RSA_PSS_2048_8192_SHA512),
                };
                check_length(n)?;
                let parsed = RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters);
                let material = Material::Rsa {
                    n: n.into(),
                    e: e.into(),
                };
                (algorithm, parsed.map_err(|_| KeyError::Rejected)?, material)
            }
        };
        Ok(VerifyingKey {
            algorithm,
            key: Key::Public(parsed, material),
        })
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is one of `base` by this key; HMACs are compared in constant time.
    pub fn verify(&self, base: &[u8], signature: &[u8]) -> Result<(), Error> {
        let verified = match &self.key {
            Key::Public(key, _) => key.verify_sig(base, signature),
            Key::Shared(key) => hmac::verify(key, base, signature),
        };
        verified.map_err(|_| Error::Invalid {
            algorithm: self.algorithm.name(),
        })
    }

    /// What may be published; nothing of a shared secret.
    pub(super) fn material(&self) -> Option<&Material> {
        match &self.key {
            Key::Public(_, material) => Some(material),
            Key::Shared(_) => None,
        }
    }
}

/// The algorithm, nothing of the key.
impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.algorithm)
    }
}

fn parse_raw(kind: Kind, bytes: &[u8]) -> Result<(Algorithm, ParsedPublicKey), KeyError> {
    // A length check of its own, because the library also takes whole SubjectPublicKeyInfos and
    // compressed points here.
    let (algorithm, parsed) = match (kind, bytes.len(), bytes.first()) {
        (Kind::P256, 65, Some(4)) => (
            Algorithm::EcdsaP256Sha256,
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes),
        ),
        (Kind::P384, 97, Some(4)) => (
            Algorithm::EcdsaP384Sha384,
            ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, bytes),
        ),
        (Kind::Ed25519, 32, _) => (Algorithm::Ed25519, ParsedPublicKey::new(&ED25519, bytes)),
        _ => return Err(KeyError::Encoding),
    };
    Ok((algorithm, parsed.map_err(|_| KeyError::Rejected)?))
}

fn check_length(modulus: &[u8]) -> Result<(), KeyError> {
    let zeros = modulus.first().map_or(0, |first| first.leading_zeros());
    let bits = (modulus.len() * 8).saturating_sub(zeros as usize);
    if bits < RSA_LEAST_BITS {
        let least = RSA_LEAST_BITS;
        return Err(KeyError::TooShort { bits, least });
    }
    if bits > RSA_MOST_BITS {
        let most = RSA_MOST_BITS;
        return Err(KeyError::TooLong { bits, most });
    }
    Ok(())
}
