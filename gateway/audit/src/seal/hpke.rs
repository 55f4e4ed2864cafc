//! Hybrid public key encryption (RFC 9180), base mode, one suite: DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256, AES-256-GCM.
//!
//! Two uses: a secret is sealed to a reader (`epoch`), and a fresh key is agreed on with a key pair
//! whose secret half is not here (`subkey`, by the secret export of section 5.3). A context seals one
//! message and is gone, so there is no sequence number to get wrong. Not here: the other modes, other
//! suites, streams of messages.
//!
//! Base mode proves nothing about who sealed. What is opened is believed because the log that holds
//! it is signed.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::random::{NoRandomness, Random};

/// Length of a key, public or secret, and of an encapsulated key, bytes (RFC 9180 7.1).
pub const KEY: usize = 32;

/// What sealing adds to a message, bytes.
pub const TAG: usize = 16;

const KEM: &[u8] = b"KEM\x00\x20";
const SUITE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x02";
const VERSION: &[u8] = b"HPKE-v1";
const MODE_BASE: u8 = 0;
const HASH: usize = 32;
const NONCE: usize = 12;

/// The public half of an X25519 key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; KEY]);

impl PublicKey {
    /// The key with these bytes. Any are taken; the few that lead to no secret are found when the key
    /// is used.
    #[must_use]
    pub fn new(bytes: [u8; KEY]) -> PublicKey {
        PublicKey(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

/// The secret half. Wiped when dropped, never printed, never copied.
pub struct SecretKey(Zeroizing<[u8; KEY]>);

impl SecretKey {
    /// The key with these bytes; every 32 bytes are one (RFC 7748 5).
    #[must_use]
    pub fn new(bytes: &Zeroizing<[u8; KEY]>) -> SecretKey {
        SecretKey(bytes.clone())
    }

    /// A fresh key.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn draw(random: &mut impl Random) -> Result<SecretKey, NoRandomness> {
        let mut bytes = Zeroizing::new([0; KEY]);
        random.fill(&mut bytes[..])?;
        Ok(SecretKey(bytes))
    }

    /// Its public half.
    ///
    /// # Errors
    /// [`HpkeError::Library`].
    pub fn public(&self) -> Result<PublicKey, HpkeError> {
        let public = self.pair()?.compute_public_key();
        let public = public.map_err(|_| HpkeError::Library)?;
        let bytes = public.as_ref().try_into();
        bytes.map(PublicKey).map_err(|_| HpkeError::Library)
    }

    /// A key that only whoever has this one can make, for what `label` says.
    #[must_use]
    pub fn derive(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0[..]);
        let mut derived = Zeroizing::new([0; 32]);
        derived.copy_from_slice(hmac::sign(&key, label).as_ref());
        derived
    }

    /// Its bytes, for the one place that seals them to the readers.
    pub(super) fn expose(&self) -> &[u8; KEY] {
        &self.0
    }

    fn pair(&self) -> Result<PrivateKey, HpkeError> {
        PrivateKey::from_private_key(&X25519, &self.0[..]).map_err(|_| HpkeError::Library)
    }

    /// RFC 9180 4.1, `DH`. Fails for a public key of small order: its secret would be zeros for
    /// everybody (7.1.4).
    fn agree(&self, other: &PublicKey) -> Result<Zeroizing<[u8; KEY]>, HpkeError> {
        let other = UnparsedPublicKey::new(&X25519, &other.0);
        let secret = agreement::agree(&self.pair()?, other, HpkeError::PublicKey, |secret| {
            let secret: [u8; KEY] = secret.try_into().map_err(|_| HpkeError::Library)?;
            Ok(Zeroizing::new(secret))
        })?;
        if *secret == [0; KEY] {
            return Err(HpkeError::PublicKey);
        }
        Ok(secret)
    }
}

/// What sender and receiver share once one key was encapsulated.
pub struct Context {
    key: Zeroizing<[u8; KEY]>,
    nonce: Zeroizing<[u8; NONCE]>,
    exporter: Zeroizing<[u8; HASH]>,
}

/// RFC 9180 5.1.1, `SetupBaseS`: the encapsulated key, which travels, and the context.
///
/// `ephemeral` must be fresh; it is used up here.
///
/// # Errors
/// [`HpkeError::PublicKey`], [`HpkeError::Library`].
pub fn setup_sender(
    receiver: &PublicKey,
    info: &[u8],
    ephemeral: SecretKey,
) -> Result<([u8; KEY], Context), HpkeError> {
    let encapsulated = ephemeral.public()?.0;
    let secret = ephemeral.agree(receiver)?;
    drop(ephemeral);
    let context = schedule(&secret, &encapsulated, receiver, info)?;
    Ok((encapsulated, context))
}

/// RFC 9180 5.1.1, `SetupBaseR`.
///
/// # Errors
/// [`HpkeError::PublicKey`], [`HpkeError::Library`]. That the key was encapsulated to somebody else
/// shows only when something does not open.
pub fn setup_receiver(
    encapsulated: &[u8; KEY],
    receiver: &SecretKey,
    info: &[u8],
) -> Result<Context, HpkeError> {
    let secret = receiver.agree(&PublicKey(*encapsulated))?;
    schedule(&secret, encapsulated, &receiver.public()?, info)
}

impl Context {
    /// RFC 9180 5.2, `Seal`, the first and only message: appends ciphertext and tag to `out`.
    ///
    /// # Errors
    /// [`HpkeError::Library`]; `out` is then as it was.
    pub fn seal(self, aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), HpkeError> {
        let start = out.len();
        out.extend_from_slice(plaintext);
        let nonce = Nonce::assume_unique_for_key(*self.nonce);
        let sealed = self.aead().and_then(|aead| {
            aead.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut out[start..])
                .map_err(|_| HpkeError::Library)
        });
        match sealed {
            Ok(tag) => {
                out.extend_from_slice(tag.as_ref());
                Ok(())
            }
            Err(error) => {
                zeroize::Zeroize::zeroize(&mut out[start..]);
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// RFC 9180 5.2, `Open`, the first and only message.
    ///
    /// # Errors
    /// [`HpkeError::Open`] when it was not sealed to this key, for this purpose, or was changed.
    pub fn open(self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, HpkeError> {
        let mut plaintext = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*self.nonce);
        let length = self
            .aead()?
            .open_in_place(nonce, Aad::from(aad), &mut plaintext)
            .map_err(|_| HpkeError::Open)?
            .len();
        plaintext.truncate(length);
        Ok(plaintext)
    }

    /// RFC 9180 5.3, `Export`: fills `out`, at most 8160 bytes, with a secret of its own for each
    /// `label`.
    ///
    /// # Errors
    /// [`HpkeError::Library`].
    pub fn export(&self, label: &[u8], out: &mut [u8]) -> Result<(), HpkeError> {
        expand(SUITE, &self.exporter, b"sec", &[label], out)
    }

    fn aead(&self) -> Result<LessSafeKey, HpkeError> {
        let key = UnboundKey::new(&AES_256_GCM, &self.key[..]);
        key.map(LessSafeKey::new).map_err(|_| HpkeError::Library)
    }
}

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HpkeError {
    /// The public key, or encapsulated key, is one that leads to no secret (RFC 9180 7.1.4).
    PublicKey,
    /// Sealed to another key, for another purpose, or changed since.
    Open,
    /// The cryptography library failed.
    Library,
}

impl fmt::Display for HpkeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HpkeError::PublicKey => "the public key leads to no secret (RFC 9180 7.1.4)",
            HpkeError::Open => "sealed to another key, for another purpose, or changed since",
            HpkeError::Library => "the cryptography library failed",
        })
    }
}

impl std::error::Error for HpkeError {}

/// `ExtractAndExpand` of the KEM (RFC 9180 4.1), then `KeySchedule` (5.1) in base mode, where the
/// pre-shared key and its id are empty.
fn schedule(
    agreed: &[u8; KEY],
    encapsulated: &[u8; KEY],
    receiver: &PublicKey,
    info: &[u8],
) -> Result<Context, HpkeError> {
    let extracted = extract(KEM, b"", b"eae_prk", agreed)?;
    let mut shared = Zeroizing::new([0; HASH]);
    let parties: &[&[u8]] = &[encapsulated, &receiver.0];
    expand(KEM, &extracted, b"shared_secret", parties, &mut shared[..])?;

    let psk_id = extract(SUITE, b"", b"psk_id_hash", b"")?;
    let info = extract(SUITE, b"", b"info_hash", info)?;
    let bound: &[&[u8]] = &[&[MODE_BASE], &psk_id[..], &info[..]];
    let secret = extract(SUITE, &shared[..], b"secret", b"")?;
    let mut context = Context {
        key: Zeroizing::new([0; KEY]),
        nonce: Zeroizing::new([0; NONCE]),
        exporter: Zeroizing::new([0; HASH]),
    };
    expand(SUITE, &secret, b"key", bound, &mut context.key[..])?;
    expand(SUITE, &secret, b"base_nonce", bound, &mut context.nonce[..])?;
    expand(SUITE, &secret, b"exp", bound, &mut context.exporter[..])?;
    Ok(context)
}

/// RFC 9180 4, `LabeledExtract`.
fn extract(
    suite: &[u8],
    salt: &[u8],
    label: &[u8],
    material: &[u8],
) -> Result<Zeroizing<[u8; HASH]>, HpkeError> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
    for part in [VERSION, suite, label, material] {
        context.update(part);
    }
    let hash = context.sign().as_ref().try_into();
    hash.map(Zeroizing::new).map_err(|_| HpkeError::Library)
}

/// RFC 9180 4, `LabeledExpand`.
fn expand(
    suite: &[u8],
    key: &[u8; HASH],
    label: &[u8],
    info: &[&[u8]],
    out: &mut [u8],
) -> Result<(), HpkeError> {
    let length = u16::try_from(out.len()).map_err(|_| HpkeError::Library)?;
    let length = length.to_be_bytes();
    let mut parts = vec![&length[..], VERSION, suite, label];
    parts.extend_from_slice(info);
    Prk::new_less_safe(HKDF_SHA256, key)
        .expand(&parts, Length(out.len()))
        .and_then(|output| output.fill(out))
        .map_err(|_| HpkeError::Library)
}

/// A length of output, bytes.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dry, seeded};
    use super::*;
    use proptest::prelude::*;
    use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as ORACLE;
    use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};

    fn secret(seed: u64) -> SecretKey {
        SecretKey::draw(&mut seeded(seed)).unwrap()
    }

    fn hex(digits: &str) -> Vec<u8> {
        assert!(digits.len().is_multiple_of(2), "{digits}");
        (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect()
    }

    fn key(digits: &str) -> SecretKey {
        SecretKey::new(&Zeroizing::new(hex(digits).try_into().unwrap()))
    }

    #[test]
    fn every_vector_is_met() {
        let mut met = 0;
        for block in include_str!("hpke.txt").split("\n\n") {
            let lines = block.lines().filter(|line| !line.starts_with('#'));
            let fields: std::collections::HashMap<&str, &str> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name, value.trim()))
                .collect();
            if fields.is_empty() {
                continue;
            }
            let receiver = key(fields["skRm"]);
            assert_eq!(receiver.public().unwrap().0[..], hex(fields["pkRm"]));
            let info = hex(fields["info"]);
            let set_up = || {
                let public = receiver.public().unwrap();
                setup_sender(&public, &info, key(fields["skEm"])).unwrap()
            };
            let (encapsulated, sender) = set_up();
            assert_eq!(encapsulated[..], hex(fields["enc"]));
            let mut exported = vec![0; hex(fields["exported"]).len()];
            sender
                .export(&hex(fields["exporter_context"]), &mut exported)
                .unwrap();
            assert_eq!(exported, hex(fields["exported"]));
            let mut sealed = Vec::new();
            sender
                .seal(&hex(fields["aad"]), &hex(fields["pt"]), &mut sealed)
                .unwrap();
            assert_eq!(sealed, hex(fields["ct"]));
            let opened = setup_receiver(&encapsulated, &receiver, &info)
                .unwrap()
                .open(&hex(fields["aad"]), &sealed)
                .unwrap();
            assert_eq!(opened[..], hex(fields["pt"]));
            met += 1;
        }
        assert_eq!(met, 6);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn another_implementation_opens_what_is_sealed_here(seed: u64, info: Vec<u8>, aad: Vec<u8>, plaintext: Vec<u8>) {
            let receiver = secret(seed);
            let (encapsulated, context) = setup_sender(&receiver.public().unwrap(), &info, secret(seed ^ 1)).unwrap();
            let mut exported = [0; 64];
            context.export(&aad, &mut exported).unwrap();
            let mut sealed = Vec::new();
            context.seal(&aad, &plaintext, &mut sealed).unwrap();
            prop_assert_eq!(sealed.len(), plaintext.len() + TAG);
            let theirs = HpkePrivateKey::from(receiver.expose().to_vec());
            let opened = ORACLE.open(&EncapsulatedSecret(encapsulated.to_vec()), &info, &aad, &sealed, &theirs).unwrap();
            prop_assert_eq!(opened, plaintext);
        }

        #[test]
        fn what_another_implementation_seals_is_opened_here(seed: u64, info: Vec<u8>, aad: Vec<u8>, plaintext: Vec<u8>) {
            let receiver = secret(seed);
            let theirs = HpkePublicKey(receiver.public().unwrap().0.to_vec());
            let (encapsulated, sealed) = ORACLE.seal(&info, &aad, &plaintext, &theirs).unwrap();
            let encapsulated: [u8; KEY] = encapsulated.0.try_into().unwrap();
            let context = setup_receiver(&encapsulated, &receiver, &info).unwrap();
            prop_assert_eq!(&context.open(&aad, &sealed).unwrap()[..], &plaintext[..]);
        }

        #[test]
        fn any_flipped_bit_fails_to_open(seed: u64, plaintext: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
            let receiver = secret(seed);
            let (mut encapsulated, context) = setup_sender(&receiver.public().unwrap(), b"info", secret(seed ^ 1)).unwrap();
            let mut sealed = Vec::new();
            context.seal(b"aad", &plaintext, &mut sealed).unwrap();
            let at = at.index(KEY + sealed.len());
            if at < KEY {
                encapsulated[at] ^= 1 << bit;
            } else {
                sealed[at - KEY] ^= 1 << bit;
            }
            let opened = setup_receiver(&encapsulated, &receiver, b"info").and_then(|context| context.open(b"aad", &sealed));
            prop_assert!(opened.is_err());
        }
    }

    #[test]
    fn what_is_bound_must_be_the_same_on_both_sides() {
        let receiver = secret(1);
        let (encapsulated, context) =
            setup_sender(&receiver.public().unwrap(), b"info", secret(2)).unwrap();
        let mut sealed = Vec::new();
        context.seal(b"aad", b"key", &mut sealed).unwrap();
        let open = |receiver: &SecretKey, info: &[u8], aad: &[u8]| {
            setup_receiver(&encapsulated, receiver, info)
                .unwrap()
                .open(aad, &sealed)
                .err()
        };
        assert_eq!(open(&receiver, b"info", b"aad"), None);
        assert_eq!(open(&receiver, b"else", b"aad"), Some(HpkeError::Open));
        assert_eq!(open(&receiver, b"info", b"else"), Some(HpkeError::Open));
        assert_eq!(open(&secret(3), b"info", b"aad"), Some(HpkeError::Open));
    }

    #[test]
    fn a_public_key_of_small_order_is_refused() {
        // RFC 7748 6.1: these have an order that divides 8.
        let mut one = [0; KEY];
        one[0] = 1;
        let mut order_eight =
            hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
        for small in [
            [0; KEY],
            one,
            std::mem::take(&mut order_eight).try_into().unwrap(),
        ] {
            let sender = setup_sender(&PublicKey(small), b"", secret(1));
            assert_eq!(sender.err(), Some(HpkeError::PublicKey));
            let receiver = setup_receiver(&small, &secret(1), b"");
            assert_eq!(receiver.err(), Some(HpkeError::PublicKey));
        }
    }

    #[test]
    fn without_randomness_there_is_no_key() {
        assert_eq!(SecretKey::draw(&mut dry()).err(), Some(NoRandomness));
    }
}
