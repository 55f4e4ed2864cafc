//! What a signature is made with.
//!
//! Standard: RFC 9421 3.3; private keys are PKCS#8 in DER (RFC 5958). The random part of ECDSA and
//! RSA-PSS signatures is the cryptography library's own; `rsa-v1_5-sha256` is not made. What it
//! does not do: it decrypts no key, and keys that another device holds (PKCS#11) sign through
//! [`Prepared`](crate::Prepared) instead.

use std::fmt;

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PSS_SHA512,
};

use super::der::{self, Kind, Public};
use super::{Algorithm, VerifyingKey};
use crate::error::{Error, KeyError};
use crate::limits::HMAC_LEAST_BYTES;

/// A private key, or a symmetric one, with its one algorithm.
pub struct SigningKey(Key);

enum Key {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    RsaPss(rsa::KeyPair),
    Shared(Box<hmac::Key>),
}

impl SigningKey {
    /// Reads a private key in PKCS#8 DER. An RSA key is taken for `rsa-pss-sha512`. The caller
    /// clears the bytes.
    pub fn from_pkcs8(der: &[u8]) -> Result<SigningKey, KeyError> {
        let (kind, inside) = der::private(der)?;
        let key = match kind {
            Kind::P256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Key::P256)
            }
            Kind::P384 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der).map(Key::P384)
            }
            Kind::Ed25519 => Ed25519KeyPair::from_pkcs8(der).map(Key::Ed25519),
            // The library does not know the name id-RSASSA-PSS; the key inside is the same.
            Kind::Rsa => rsa::KeyPair::from_der(inside).map(Key::RsaPss),
        };
        let key = SigningKey(key.map_err(|_| KeyError::Rejected)?);
        // An RSA key that is too short to be verified with is too short to sign with.
        key.verifying_key()?;
        Ok(key)
    }

    /// A secret that both ends share, for `hmac-sha256`; 32 bytes or more. The caller clears the
    /// bytes.
    pub fn hmac(secret: &[u8]) -> Result<SigningKey, KeyError> {
        if secret.len() < HMAC_LEAST_BYTES {
            return Err(KeyError::TooShort {
                bits: secret.len() * 8,
                least: HMAC_LEAST_BYTES * 8,
            });
        }
        Ok(SigningKey(Key::Shared(Box::new(hmac::Key::new(
            hmac::HMAC_SHA256,
            secret,
        )))))
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Key::P256(_) => Algorithm::EcdsaP256Sha256,
            Key::P384(_) => Algorithm::EcdsaP384Sha384,
            Key::Ed25519(_) => Algorithm::Ed25519,
            Key::RsaPss(_) => Algorithm::RsaPssSha512,
            Key::Shared(_) => Algorithm::HmacSha256,
        }
    }

    /// What its signatures are verified with.
    pub fn verifying_key(&self) -> Result<VerifyingKey, KeyError> {
        let rsa = Algorithm::RsaPssSha512;
        let raw = |kind, bytes: &[u8]| VerifyingKey::from_public(&Public::Raw(kind, bytes), rsa);
        match &self.0 {
            Key::P256(key) => raw(Kind::P256, key.public_key().as_ref()),
            Key::P384(key) => raw(Kind::P384, key.public_key().as_ref()),
            Key::Ed25519(key) => raw(Kind::Ed25519, key.public_key().as_ref()),
            Key::RsaPss(key) => {
                let public = key.public_key();
                VerifyingKey::from_public(&der::rsa(public.as_ref())?, rsa)
            }
            Key::Shared(key) => Ok(VerifyingKey::shared(hmac::Key::clone(key))),
        }
    }

    /// Signs a signature base.
    pub fn sign(&self, base: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = match &self.0 {
            Key::P256(key) => key.sign_digest(&digest(&SHA256, base)),
            Key::P384(key) => key.sign_digest(&digest(&SHA384, base)),
            Key::Ed25519(key) => key.try_sign(base),
            Key::RsaPss(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let digest = digest(&SHA512, base);
                return key
                    .sign_digest(&RSA_PSS_SHA512, &digest, &mut signature)
                    .map(|()| signature)
                    .map_err(|_| Error::SigningFailed);
            }
            Key::Shared(key) => return Ok(hmac::sign(key, base).as_ref().to_vec()),
        };
        let signature = signature.map_err(|_| Error::SigningFailed)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// The algorithm, nothing of the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.algorithm())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};

    use super::*;

    /// A fresh key of each kind.
    fn keys() -> Vec<SigningKey> {
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let ed25519 = Ed25519KeyPair::generate().unwrap();
        let rsa = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let rsa: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        vec![
            SigningKey::from_pkcs8(p256.to_pkcs8v1().unwrap().as_ref()).unwrap(),
            SigningKey::from_pkcs8(p384.to_pkcs8v1().unwrap().as_ref()).unwrap(),
            SigningKey::from_pkcs8(ed25519.to_pkcs8v1().unwrap().as_ref()).unwrap(),
            SigningKey::from_pkcs8(rsa.as_ref()).unwrap(),
            SigningKey::hmac(&[7; 32]).unwrap(),
        ]
    }

    #[test]
    fn what_a_key_signs_its_other_half_verifies_and_no_other() {
        let keys = keys();
        for (index, key) in keys.iter().enumerate() {
            let signature = key.sign(b"base").unwrap();
            for (other, verifying) in keys.iter().enumerate() {
                let verifying = verifying.verifying_key().unwrap();
                let verified = verifying.verify(b"base", &signature);
                assert_eq!(verified.is_ok(), index == other, "{key:?} {verifying:?}");
                assert!(verifying.verify(b"bast", &signature).is_err());
            }
        }
    }

    #[test]
    fn a_signature_of_ecdsa_has_the_fixed_length_and_only_that_one_verifies() {
        for (key, length) in keys().iter().zip([64, 96]) {
            let signature = key.sign(b"base").unwrap();
            assert_eq!(signature.len(), length);
            let verifying = key.verifying_key().unwrap();
            let longer = [&signature[..], &[0]].concat();
            assert!(verifying.verify(b"base", &longer).is_err());
            assert!(verifying.verify(b"base", &signature[1..]).is_err());
            assert!(verifying.verify(b"base", &[]).is_err());
            assert!(verifying.verify(b"base", &vec![0; length]).is_err());
        }
    }

    #[test]
    fn a_short_secret_is_no_key() {
        let (bits, least) = (248, 256);
        let short = KeyError::TooShort { bits, least };
        assert_eq!(SigningKey::hmac(&[1; 31]).unwrap_err(), short);
        assert_eq!(VerifyingKey::hmac(&[1; 31]).unwrap_err(), short);
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der = p256.to_pkcs8v1().unwrap();
        let der = der.as_ref();
        assert_eq!(
            SigningKey::from_pkcs8(&der[1..]).unwrap_err(),
            KeyError::Encoding
        );
        assert_eq!(
            SigningKey::from_pkcs8(&der[..9]).unwrap_err(),
            KeyError::Encoding
        );
        let mut zero = der.to_vec();
        // The scalar stands behind 36 bytes of names and lengths.
        zero[36..68].fill(0);
        assert_eq!(
            SigningKey::from_pkcs8(&zero).unwrap_err(),
            KeyError::Rejected
        );
    }

    #[test]
    fn a_key_prints_nothing_but_its_algorithm() {
        for key in keys() {
            let name = key.algorithm().name();
            assert_eq!(format!("{key:?}"), format!("SigningKey({name})"));
            let verifying = key.verifying_key().unwrap();
            assert_eq!(format!("{verifying:?}"), format!("VerifyingKey({name})"));
        }
    }
}
