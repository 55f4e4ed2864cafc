//! Keys encrypted by a passphrase (RFC 5958 section 3, PBES2 of RFC 8018 section 6.2).
//!
//! Written is one form: PBKDF2 with HMAC-SHA-256 and AES-256 in CBC mode, which openssl reads. Read
//! are the forms of PBES2 that openssl writes when it is not asked for old ones. The structures come
//! from a library for them, the cryptography from the one library for all of it.
//!
//! CBC has no authentication: a wrong passphrase shows in the padding, or in what comes out not being
//! a key. Both are the same error, and who changes the file gets a key that fits no certificate.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    self, AES_128, AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode as _, Encode as _, ErrorKind};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{self, Kdf, Pbkdf2Params, Pbkdf2Prf, Salt};
use zeroize::Zeroizing;

use super::KeyError;
use crate::secret::Secret;

/// The label of such a key in PEM (RFC 7468 section 11).
pub(super) const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// Rounds of PBKDF2 in what is written (OWASP Password Storage Cheat Sheet, for HMAC-SHA-256).
const ROUNDS: u32 = 600_000;
/// Most rounds in what is read: some seconds. Whoever writes a file must not decide for how long
/// the authority computes.
pub(super) const MAX_ROUNDS: u32 = 10_000_000;
const SALT_OCTETS: usize = 16;
const BLOCK_OCTETS: usize = 16;

/// Encrypts the DER of a PKCS #8 key. Returns DER.
pub(super) fn seal(key: &[u8], passphrase: &Secret) -> Result<Vec<u8>, KeyError> {
    let mut salt = [0; SALT_OCTETS];
    let mut iv = [0; BLOCK_OCTETS];
    for octets in [&mut salt[..], &mut iv[..]] {
        aws_lc_rs::rand::fill(octets).map_err(|_| KeyError::Generate)?;
    }
    let parameters = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &salt, iv)
        .map_err(|_| KeyError::Library)?;
    let scheme = Scheme::read(&parameters)?;

    // Room for the padding from the start: a vector that grows leaves copies behind.
    let mut data = Zeroizing::new(Vec::with_capacity(key.len() + BLOCK_OCTETS));
    data.extend_from_slice(key);
    PaddedBlockEncryptingKey::cbc_pkcs7(scheme.derive(passphrase)?)
        .and_then(|cipher| {
            let context = EncryptionContext::Iv128(FixedLength::from(&iv));
            cipher.less_safe_encrypt(&mut *data, context)
        })
        .map_err(|_| KeyError::Library)?;
    let encrypted_data = OctetStringRef::new(&data).map_err(|_| KeyError::Library)?;
    EncryptedPrivateKeyInfoRef {
        encryption_algorithm: parameters.into(),
        encrypted_data,
    }
    .to_der()
    .map_err(|_| KeyError::Library)
}

/// Decrypts to the DER of a PKCS #8 key, or to octets that are none.
pub(super) fn open(der: &[u8], passphrase: &Secret) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|error| match error.kind() {
        ErrorKind::OidUnknown { .. } => KeyError::Scheme,
        _ => KeyError::Unreadable,
    })?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(KeyError::Scheme);
    };
    let scheme = Scheme::read(parameters)?;
    let mut data = Zeroizing::new(info.encrypted_data.as_bytes().to_vec());
    let context = DecryptionContext::Iv128(FixedLength::from(&scheme.iv));
    let length = PaddedBlockDecryptingKey::cbc_pkcs7(scheme.derive(passphrase)?)
        .and_then(|cipher| cipher.decrypt(&mut data, context).map(|key| key.len()))
        .map_err(|_| KeyError::Passphrase)?;
    data.truncate(length);
    Ok(data)
}

/// A scheme of PBES2 that is used here.
struct Scheme {
    prf: pbkdf2::Algorithm,
    salt: Salt,
    rounds: NonZeroU32,
    cipher: &'static cipher::Algorithm,
    key_octets: usize,
    iv: [u8; BLOCK_OCTETS],
}

impl Scheme {
    fn read(parameters: &pbes2::Parameters) -> Result<Self, KeyError> {
        let Kdf::Pbkdf2(Pbkdf2Params {
            salt,
            iteration_count,
            key_length,
            prf,
        }) = &parameters.kdf
        else {
            return Err(KeyError::Scheme);
        };
        let prf = match prf {
            Pbkdf2Prf::HmacWithSha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Pbkdf2Prf::HmacWithSha384 => pbkdf2::PBKDF2_HMAC_SHA384,
            Pbkdf2Prf::HmacWithSha512 => pbkdf2::PBKDF2_HMAC_SHA512,
            // SHA-1 and SHA-224.
            _ => return Err(KeyError::Scheme),
        };
        let (cipher, iv) = match parameters.encryption {
            pbes2::EncryptionScheme::Aes128Cbc { iv } => (&AES_128, iv),
            pbes2::EncryptionScheme::Aes256Cbc { iv } => (&AES_256, iv),
            _ => return Err(KeyError::Scheme),
        };
        let key_octets = parameters.encryption.key_size();
        if key_length.is_some_and(|length| usize::from(length) != key_octets) {
            return Err(KeyError::Unreadable);
        }
        if *iteration_count > MAX_ROUNDS {
            return Err(KeyError::Rounds);
        }
        Ok(Self {
            prf,
            salt: *salt,
            rounds: NonZeroU32::new(*iteration_count).ok_or(KeyError::Unreadable)?,
            cipher,
            key_octets,
            iv,
        })
    }

    fn derive(&self, passphrase: &Secret) -> Result<UnboundCipherKey, KeyError> {
        let mut key = Zeroizing::new(vec![0; self.key_octets]);
        pbkdf2::derive(
            self.prf,
            self.rounds,
            self.salt.as_bytes(),
            passphrase.expose(),
            &mut key,
        );
        UnboundCipherKey::new(self.cipher, &key).map_err(|_| KeyError::Library)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_its_passphrase_alone() {
        let sealed = seal(b"a key", &secret("right")).unwrap();
        assert_eq!(**open(&sealed, &secret("right")).unwrap(), *b"a key");
        // One in 256 wrong passphrases leaves a padding that looks right, and octets that are no key.
        match open(&sealed, &secret("wrong")) {
            Err(error) => assert_eq!(error, KeyError::Passphrase),
            Ok(octets) => assert_ne!(**octets, *b"a key"),
        }
    }

    #[test]
    fn salt_and_iv_are_new_each_time() {
        let [one, other] = [(); 2].map(|()| seal(b"a key", &secret("right")).unwrap());
        let of = |sealed: &[u8]| {
            let info = EncryptedPrivateKeyInfoRef::from_der(sealed).unwrap();
            let EncryptionScheme::Pbes2(parameters) = info.encryption_algorithm else {
                panic!("another scheme");
            };
            let scheme = Scheme::read(&parameters).unwrap();
            assert_eq!(scheme.rounds.get(), ROUNDS);
            (scheme.salt.as_bytes().to_vec(), scheme.iv)
        };
        let (one, other) = (of(&one), of(&other));
        assert_ne!(one.0, other.0);
        assert_ne!(one.1, other.1);
    }

    fn with(kdf: Kdf, encryption: pbes2::EncryptionScheme) -> Vec<u8> {
        EncryptedPrivateKeyInfoRef {
            encryption_algorithm: pbes2::Parameters { kdf, encryption }.into(),
            encrypted_data: OctetStringRef::new(&[0; 32]).unwrap(),
        }
        .to_der()
        .unwrap()
    }

    #[test]
    fn a_file_does_not_decide_how_long_the_authority_computes() {
        let iv = [0; 16];
        let sealed = |rounds| {
            let kdf = Pbkdf2Params::hmac_sha256(rounds, &[0; 8]).unwrap();
            with(kdf.into(), pbes2::EncryptionScheme::Aes256Cbc { iv })
        };
        let refused = |rounds| open(&sealed(rounds), &secret("x")).unwrap_err();
        assert_eq!(refused(MAX_ROUNDS + 1), KeyError::Rounds);
        assert_eq!(refused(0), KeyError::Unreadable);
    }

    #[test]
    fn old_and_unknown_schemes_are_refused() {
        let iv = [0; 16];
        let kdf = Pbkdf2Params::hmac_sha256(1, &[0; 8]).unwrap();
        let sha1 = Pbkdf2Params {
            prf: Pbkdf2Prf::HmacWithSha1,
            ..kdf
        };
        let aes_192 = pbes2::EncryptionScheme::Aes192Cbc { iv };
        let aes_256 = pbes2::EncryptionScheme::Aes256Cbc { iv };
        for der in [with(sha1.into(), aes_256), with(kdf.into(), aes_192)] {
            assert_eq!(open(&der, &secret("x")).unwrap_err(), KeyError::Scheme);
        }
        // Another cipher (AES-256 in CFB mode): the last octet of its object identifier changed.
        let mut der = with(kdf.into(), aes_256);
        let oid = [0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
        let at = der.windows(oid.len()).position(|w| w == oid).unwrap();
        der[at + oid.len() - 1] = 0x2c;
        assert_eq!(open(&der, &secret("x")).unwrap_err(), KeyError::Scheme);
        for garbage in [&b""[..], b"garbage", &[0x30, 0]] {
            assert_eq!(
                open(garbage, &secret("x")).unwrap_err(),
                KeyError::Unreadable
            );
        }
    }

    #[test]
    fn a_salt_that_is_too_long_is_refused() {
        let salt = [0xaa; Salt::MAX_LEN];
        let kdf = Pbkdf2Params::hmac_sha256(1, &salt).unwrap();
        let aes_256 = pbes2::EncryptionScheme::Aes256Cbc { iv: [0; 16] };
        let mut der = with(kdf.into(), aes_256);
        let at = der.windows(salt.len()).position(|w| w == salt).unwrap();
        der[at - 1] += 1;
        assert_eq!(open(&der, &secret("x")).unwrap_err(), KeyError::Unreadable);
    }
}
