//! Sub-keys: what entries are sealed with, one for a worker and a minute or 2^20 entries.
//!
//! A sub-key is agreed on with the public half of the epoch key by one HPKE encapsulation (`hpke`),
//! from 32 fresh bytes. What travels is the encapsulated key, in every entry, so that any single
//! entry opens with the epoch key alone. The gateway cannot come back to a sub-key that it has
//! dropped.
//!
//! ```text
//! 64 bytes  = HPKE export("sub-key"), info = label, log id, key id, epoch        for entries
//! 64 bytes  = HKDF(salt = encapsulated key, target key, label, log id, key id)   for raw targets
//! each 64   = AES-256 key (GCM for entries, CTR for raw targets), HMAC-SHA-256 key
//! ```
//!
//! Not here: what is sealed, and with which nonce (`sealed`, `target`).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use super::epoch::{Epoch, KeyId, LogId, ReadingKey, WritingKey};
use super::hpke::{self, HpkeError, KEY, SecretKey};

/// Length of the nonce of AES-256-GCM, bytes.
pub(super) const NONCE: usize = 12;

const LABEL: &[u8] = b"phigate audit sub-key 1";
const TARGET_LABEL: &[u8] = b"phigate audit target sub-key 1";
const MATERIAL: usize = 64;

/// A fresh sub-key for writing under `key`, with the encapsulated key that travels.
///
/// # Errors
/// [`HpkeError`]; nothing may be sealed then.
pub(super) fn agree(
    key: &WritingKey,
    ephemeral: SecretKey,
) -> Result<([u8; KEY], SubKey, TargetKey), HpkeError> {
    let info = info(key.log(), key.id(), key.epoch());
    let (encapsulated, context) = hpke::setup_sender(key.public(), &info, ephemeral)?;
    let entries = of_entries(&context)?;
    let targets = of_targets(key.log(), key.id(), key.target(), &encapsulated)?;
    Ok((encapsulated, entries, targets))
}

/// The sub-key for reading what was written with `encapsulated`; the second one for readers who may
/// open targets.
///
/// # Errors
/// [`HpkeError`].
pub(super) fn reach(
    key: &ReadingKey,
    encapsulated: &[u8; KEY],
) -> Result<(SubKey, Option<TargetKey>), HpkeError> {
    let info = info(key.log(), key.id(), key.epoch());
    let context = hpke::setup_receiver(encapsulated, key.secret(), &info)?;
    let targets = key
        .target()
        .map(|target| of_targets(key.log(), key.id(), target, encapsulated));
    Ok((of_entries(&context)?, targets.transpose()?))
}

/// A key to seal with and one to derive from. The library wipes both.
pub(super) struct SubKey {
    aead: LessSafeKey,
    mac: hmac::Key,
}

impl SubKey {
    /// Encrypts in place. The caller never gives the same nonce to two messages.
    ///
    /// # Errors
    /// [`HpkeError::Library`].
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE],
        aad: &[u8],
        message: &mut [u8],
    ) -> Result<Tag, HpkeError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.aead
            .seal_in_place_separate_tag(nonce, Aad::from(aad), message)
            .map_err(|_| HpkeError::Library)
    }

    /// Decrypts in place; the message is what is returned, not the tag behind it.
    ///
    /// # Errors
    /// [`HpkeError::Open`].
    pub(super) fn open<'a>(
        &self,
        nonce: [u8; NONCE],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], HpkeError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.aead
            .open_in_place(nonce, Aad::from(aad), sealed)
            .map_err(|_| HpkeError::Open)
    }

    /// 32 bytes that follow from `parts`, and that nobody without the sub-key can tell from random
    /// ones. At most one of the parts may have a length that varies.
    pub(super) fn derive(&self, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        derive(&self.mac, parts)
    }

    fn new(material: &Zeroizing<[u8; MATERIAL]>) -> Result<SubKey, HpkeError> {
        let (aead, mac) = material.split_at(KEY);
        let aead = UnboundKey::new(&AES_256_GCM, aead).map_err(|_| HpkeError::Library)?;
        Ok(SubKey {
            aead: LessSafeKey::new(aead),
            mac: hmac::Key::new(hmac::HMAC_SHA256, mac),
        })
    }
}

/// A key to encrypt raw targets with, and one to derive from. The library wipes both.
pub(super) struct TargetKey {
    cipher: EncryptingKey,
    mac: hmac::Key,
}

impl TargetKey {
    /// Encrypts in place, or decrypts: CTR is its own inverse. It authenticates nothing, and the caller
    /// never gives the same nonce to two messages. The last four bytes of the counter block count.
    ///
    /// # Errors
    /// [`HpkeError::Library`].
    pub(super) fn apply(&self, nonce: [u8; NONCE], message: &mut [u8]) -> Result<(), HpkeError> {
        let mut block = [0; 16];
        block[..NONCE].copy_from_slice(&nonce);
        let context = EncryptionContext::Iv128(FixedLength::from(block));
        self.cipher
            .less_safe_encrypt(message, context)
            .map(drop)
            .map_err(|_| HpkeError::Library)
    }

    /// As [`SubKey::derive`].
    pub(super) fn derive(&self, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        derive(&self.mac, parts)
    }

    fn new(material: &Zeroizing<[u8; MATERIAL]>) -> Result<TargetKey, HpkeError> {
        let (cipher, mac) = material.split_at(KEY);
        let cipher = UnboundCipherKey::new(&AES_256, cipher)
            .and_then(EncryptingKey::ctr)
            .map_err(|_| HpkeError::Library)?;
        Ok(TargetKey {
            cipher,
            mac: hmac::Key::new(hmac::HMAC_SHA256, mac),
        })
    }
}

fn derive(mac: &hmac::Key, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut context = hmac::Context::with_key(mac);
    for part in parts {
        context.update(part);
    }
    let mut derived = Zeroizing::new([0; 32]);
    derived.copy_from_slice(context.sign().as_ref());
    derived
}

fn info(log: &LogId, id: KeyId, epoch: &Epoch) -> Vec<u8> {
    [LABEL, log, &id.0, epoch.to_string().as_bytes()].concat()
}

fn of_entries(context: &hpke::Context) -> Result<SubKey, HpkeError> {
    let mut material = Zeroizing::new([0; MATERIAL]);
    context.export(b"sub-key", &mut material[..])?;
    SubKey::new(&material)
}

fn of_targets(
    log: &LogId,
    id: KeyId,
    target: &Zeroizing<[u8; KEY]>,
    encapsulated: &[u8; KEY],
) -> Result<TargetKey, HpkeError> {
    let mut material = Zeroizing::new([0; MATERIAL]);
    Salt::new(HKDF_SHA256, encapsulated)
        .extract(&target[..])
        .expand(&[TARGET_LABEL, log, &id.0], Material)
        .and_then(|output| output.fill(&mut material[..]))
        .map_err(|_| HpkeError::Library)?;
    TargetKey::new(&material)
}

struct Material;

impl KeyType for Material {
    fn len(&self) -> usize {
        MATERIAL
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::epoch::KeyRecord;
    use super::super::reader::Scope;
    use super::super::tests::{LOG, epoch, reader, seeded};
    use super::*;

    fn ephemeral(seed: u64) -> SecretKey {
        SecretKey::draw(&mut seeded(seed)).unwrap()
    }

    impl SubKey {
        /// One that seals with this key.
        pub(in super::super) fn of(aead: [u8; KEY]) -> SubKey {
            let mut material = Zeroizing::new([0; MATERIAL]);
            material[..KEY].copy_from_slice(&aead);
            SubKey::new(&material).unwrap()
        }
    }

    /// What the sub-key consists of that is agreed on with this randomness.
    pub(in super::super) fn material(key: &WritingKey, seed: u64) -> Zeroizing<[u8; MATERIAL]> {
        let info = info(key.log(), key.id(), key.epoch());
        let (_, context) = hpke::setup_sender(key.public(), &info, ephemeral(seed)).unwrap();
        let mut material = Zeroizing::new([0; MATERIAL]);
        context.export(b"sub-key", &mut material[..]).unwrap();
        material
    }

    fn drawn(seed: u64) -> (WritingKey, KeyRecord, SecretKey) {
        let (secret, reader) = reader(1, Scope::Targets);
        let (key, record) = WritingKey::draw(LOG, epoch(), &[reader], &mut seeded(seed)).unwrap();
        (key, record, secret)
    }

    #[test]
    fn writer_and_reader_reach_the_same_sub_keys() {
        let (writing, record, secret) = drawn(7);
        let reading = record.open(&secret).unwrap();
        let (encapsulated, entries, targets) = agree(&writing, ephemeral(9)).unwrap();
        let (read, read_targets) = reach(&reading, &encapsulated).unwrap();
        assert_eq!(entries.derive(&[b"x"]), read.derive(&[b"x"]));
        let mut message = *b"message and room for the tag....";
        let tag = entries.seal([1; NONCE], b"aad", &mut message[..16]);
        message[16..].copy_from_slice(tag.unwrap().as_ref());
        let opened = read.open([1; NONCE], b"aad", &mut message).unwrap();
        assert_eq!(opened, b"message and room");
        let read = read_targets.unwrap();
        assert_eq!(targets.derive(&[b"x"]), read.derive(&[b"x"]));
        let mut message = *b"longer than one block of it";
        targets.apply([1; NONCE], &mut message).unwrap();
        assert_ne!(&message, b"longer than one block of it");
        read.apply([1; NONCE], &mut message).unwrap();
        assert_eq!(&message, b"longer than one block of it");
    }

    #[test]
    fn entries_and_targets_have_nothing_in_common_and_no_two_sub_keys_have() {
        let (writing, _, _) = drawn(7);
        let (other, _, _) = drawn(8);
        let mut seen = Vec::new();
        for (key, seed) in [(&writing, 1), (&writing, 2), (&other, 1)] {
            let (_, entries, targets) = agree(key, ephemeral(seed)).unwrap();
            seen.push(entries.derive(&[b"x"]));
            seen.push(targets.derive(&[b"x"]));
        }
        for (at, one) in seen.iter().enumerate() {
            assert!(!seen[..at].contains(one), "{at}");
        }
    }

    #[test]
    fn the_key_of_one_start_does_not_reach_what_another_wrote() {
        let (writing, _, _) = drawn(7);
        let (_, record, secret) = drawn(8);
        let (encapsulated, entries, _) = agree(&writing, ephemeral(9)).unwrap();
        let (read, _) = reach(&record.open(&secret).unwrap(), &encapsulated).unwrap();
        assert_ne!(entries.derive(&[b"x"]), read.derive(&[b"x"]));
    }
}
