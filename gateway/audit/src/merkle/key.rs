//! The keys of signed notes: names, ids, verifier keys and signer keys (C2SP signed-note, "Signatures"
//! and "Verifier keys"), Ed25519 (RFC 8032).
//!
//! A key is known by its name and its id together, and the id covers what the key signs: notes
//! ([`Signer`]) or, with a time, checkpoints of others ([`Cosigner`]). The text form of a signer key
//! is not in the specification; it is the one of Go's `golang.org/x/mod/sumdb/note`, which the tools
//! of this field share: `PRIVATE+KEY+<name>+<id>+<base64 of type and seed>`.
//!
//! No randomness here: whoever makes a key brings its seed. Seeds are wiped, and never printed.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// How long a seed is, and a public key, bytes.
pub const KEY_BYTES: usize = 32;

/// The name of a key: not empty, without spaces, plus or control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// No name is longer than this, bytes. C2SP tlog-cosignature has room for no more.
    pub const MAX_BYTES: usize = 255;

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<KeyName, KeyError> {
        let is_wrong = |c: char| c == '+' || c < ' ' || c.is_whitespace();
        if name.is_empty() || name.len() > KeyName::MAX_BYTES || name.contains(is_wrong) {
            return Err(KeyError::Name);
        }
        Ok(KeyName(name.to_owned()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key signs: the signature type identifier byte of C2SP signed-note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Notes.
    Ed25519,
    /// Checkpoints, with a time (C2SP tlog-cosignature, `cosignature/v1`).
    CosignatureV1,
}

impl Algorithm {
    const ALL: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::CosignatureV1];

    const fn byte(self) -> u8 {
        match self {
            Algorithm::Ed25519 => 0x01,
            Algorithm::CosignatureV1 => 0x04,
        }
    }
}

/// The id of a key: the first four bytes of the hash over its name, type and public key. Short, so
/// it finds a key; it proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    fn of(name: &KeyName, algorithm: Algorithm, public: &[u8; KEY_BYTES]) -> KeyId {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(name.0.as_bytes());
        context.update(&[b'\n', algorithm.byte()]);
        context.update(public);
        let hash = context.finish();
        let first = hash.as_ref().first_chunk();
        KeyId(*first.expect("SHA-256 is longer than four bytes"))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// A public key with its name: what signatures are checked with. Its text form is the vkey,
/// `<name>+<id>+<base64 of type and public key>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Verifier {
    name: KeyName,
    id: KeyId,
    algorithm: Algorithm,
    public: [u8; KEY_BYTES],
}

impl Verifier {
    /// The verifier of this name and public key.
    #[must_use]
    pub fn new(name: KeyName, algorithm: Algorithm, public: [u8; KEY_BYTES]) -> Verifier {
        Verifier {
            id: KeyId::of(&name, algorithm, &public),
            name,
            algorithm,
            public,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its public key.
    #[must_use]
    pub fn public(&self) -> &[u8; KEY_BYTES] {
        &self.public
    }

    /// Whether `signature` is one of this key over `message`. No to everything that cannot be read.
    pub(super) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.public);
        key.verify(message, signature).is_ok()
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = [self.algorithm.byte(); TYPED];
        key[1..].copy_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

/// A key behind the byte of its type.
const TYPED: usize = 1 + KEY_BYTES;

/// No key is read whose text is longer than this, bytes.
const LONGEST_TEXT: usize = 4096;

impl FromStr for Verifier {
    type Err = KeyError;

    /// Reads a vkey. The id must be the one that belongs to name and key.
    fn from_str(text: &str) -> Result<Verifier, KeyError> {
        let parts = Parts::read(text)?;
        let verifier = Verifier::new(parts.name, parts.algorithm, *parts.key);
        if verifier.id != parts.id {
            return Err(KeyError::Id {
                stated: parts.id,
                computed: verifier.id,
            });
        }
        Ok(verifier)
    }
}

/// What both text forms hold.
struct Parts {
    name: KeyName,
    id: KeyId,
    algorithm: Algorithm,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl Parts {
    fn read(text: &str) -> Result<Parts, KeyError> {
        if text.len() > LONGEST_TEXT {
            return Err(KeyError::Form);
        }
        // The base64 may hold a plus itself.
        let mut parts = text.splitn(3, '+');
        let mut part = || parts.next().ok_or(KeyError::Form);
        let (name, id, key) = (part()?.parse()?, part()?, part()?);
        let number = u32::from_str_radix(id, 16).map_err(|_| KeyError::Form)?;
        let parsed = KeyId(number.to_be_bytes());
        if parsed.to_string() != id {
            return Err(KeyError::Form);
        }
        let mut typed = Zeroizing::new([0; LONGEST_TEXT]);
        let length = STANDARD.decode_slice(key, &mut typed[..]);
        let typed = &typed[..length.map_err(|_| KeyError::Form)?];
        let (byte, key) = typed.split_first().ok_or(KeyError::Form)?;
        let mut known = Algorithm::ALL.into_iter();
        let algorithm = known.find(|known| known.byte() == *byte);
        let algorithm = algorithm.ok_or(KeyError::Algorithm { byte: *byte })?;
        if key.len() != KEY_BYTES {
            return Err(KeyError::Length { bytes: key.len() });
        }
        // Copied from one wiped place to another, without a third.
        let mut wiped = Zeroizing::new([0; KEY_BYTES]);
        wiped.copy_from_slice(key);
        Ok(Parts {
            name,
            id: parsed,
            algorithm,
            key: wiped,
        })
    }
}

/// A secret key with its public half.
struct Secret {
    verifier: Verifier,
    pair: Ed25519KeyPair,
}

const SECRET_PREFIX: &str = "PRIVATE+KEY+";

impl Secret {
    fn new(name: KeyName, algorithm: Algorithm, seed: &[u8; KEY_BYTES]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Seed)?;
        let public = pair.public_key().as_ref().try_into();
        let public = public.map_err(|_| KeyError::Seed)?;
        Ok(Secret {
            verifier: Verifier::new(name, algorithm, public),
            pair,
        })
    }

    fn read(text: &str, algorithm: Algorithm) -> Result<Secret, KeyError> {
        let parts = Parts::read(text.strip_prefix(SECRET_PREFIX).ok_or(KeyError::Form)?)?;
        if parts.algorithm != algorithm {
            return Err(KeyError::Algorithm {
                byte: parts.algorithm.byte(),
            });
        }
        let secret = Secret::new(parts.name, algorithm, &parts.key)?;
        if secret.verifier.id != parts.id {
            return Err(KeyError::Id {
                stated: parts.id,
                computed: secret.verifier.id,
            });
        }
        Ok(secret)
    }

    fn write(
        name: KeyName,
        algorithm: Algorithm,
        seed: &[u8; KEY_BYTES],
    ) -> Result<Zeroizing<String>, KeyError> {
        let verifier = Secret::new(name, algorithm, seed)?.verifier;
        let mut key = Zeroizing::new([algorithm.byte(); TYPED]);
        key[1..].copy_from_slice(seed);
        // Room for all of it from the start: what a string outgrows is not wiped.
        let mut text = Zeroizing::new(String::with_capacity(LONGEST_TEXT));
        text.push_str(SECRET_PREFIX);
        text.push_str(verifier.name.as_str());
        text.push('+');
        text.push_str(&verifier.id.to_string());
        text.push('+');
        STANDARD.encode_string(&key[..], &mut text);
        Ok(text)
    }

    fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let signature = self.pair.sign(message);
        let bytes = signature.as_ref().try_into();
        bytes.expect("an Ed25519 signature has 64 bytes")
    }
}

/// How long an Ed25519 signature is, bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// A secret key that signs notes.
pub struct Signer(Secret);

impl Signer {
    /// The key of this name and seed.
    ///
    /// # Errors
    /// [`KeyError::Seed`] when the library takes no such seed.
    pub fn new(name: KeyName, seed: &[u8; KEY_BYTES]) -> Result<Signer, KeyError> {
        Secret::new(name, Algorithm::Ed25519, seed).map(Signer)
    }

    /// Reads a signer key. The id must be the one that belongs to name and key.
    ///
    /// # Errors
    /// [`KeyError`] when it is not one, or one of a [`Cosigner`].
    pub fn read(text: &str) -> Result<Signer, KeyError> {
        Secret::read(text, Algorithm::Ed25519).map(Signer)
    }

    /// The text form of the key of this name and seed, as [`Signer::read`] takes it.
    ///
    /// # Errors
    /// [`KeyError::Seed`] when the library takes no such seed.
    pub fn write(name: KeyName, seed: &[u8; KEY_BYTES]) -> Result<Zeroizing<String>, KeyError> {
        Secret::write(name, Algorithm::Ed25519, seed)
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.0.verifier
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message)
    }
}

/// A secret key that cosigns checkpoints of others, each with a time. It must serve nothing else:
/// the signed message does not hold its name (C2SP tlog-cosignature, "Ed25519 signed message").
pub struct Cosigner(Secret);

impl Cosigner {
    /// The key of this name and seed.
    ///
    /// # Errors
    /// [`KeyError::Seed`] when the library takes no such seed.
    pub fn new(name: KeyName, seed: &[u8; KEY_BYTES]) -> Result<Cosigner, KeyError> {
        Secret::new(name, Algorithm::CosignatureV1, seed).map(Cosigner)
    }

    /// Reads a cosigner key. The id must be the one that belongs to name and key.
    ///
    /// # Errors
    /// [`KeyError`] when it is not one, or one of a [`Signer`].
    pub fn read(text: &str) -> Result<Cosigner, KeyError> {
        Secret::read(text, Algorithm::CosignatureV1).map(Cosigner)
    }

    /// The text form of the key of this name and seed, as [`Cosigner::read`] takes it.
    ///
    /// # Errors
    /// [`KeyError::Seed`] when the library takes no such seed.
    pub fn write(name: KeyName, seed: &[u8; KEY_BYTES]) -> Result<Zeroizing<String>, KeyError> {
        Secret::write(name, Algorithm::CosignatureV1, seed)
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.0.verifier
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message)
    }
}

/// Says which key it is, and nothing of the secret.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.0.verifier)
    }
}

/// Says which key it is, and nothing of the secret.
impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({})", self.0.verifier)
    }
}

/// Why a text is no key. None of them holds a part of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The name is empty, too long, or holds a space, a plus or a control character.
    Name,
    /// It is not of the form of a key.
    Form,
    /// It is a key of a type that does not belong here.
    Algorithm {
        /// The signature type identifier byte.
        byte: u8,
    },
    /// The key is not 32 bytes long.
    Length {
        /// How long it is.
        bytes: usize,
    },
    /// The id is not the one of this name and key: one of the three was changed.
    Id {
        /// The one in the text.
        stated: KeyId,
        /// The one that belongs there.
        computed: KeyId,
    },
    /// The library takes no such seed.
    Seed,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Name => write!(
                f,
                "the name of a key has 1 to {} bytes and no space, plus or control character",
                KeyName::MAX_BYTES
            ),
            KeyError::Form => f.write_str("not of the form name+id+key"),
            KeyError::Algorithm { byte } => {
                write!(f, "a key of type {byte:#04x}, which does not belong here")
            }
            KeyError::Length { bytes } => {
                write!(f, "a key of {bytes} bytes; Ed25519 has {KEY_BYTES}")
            }
            KeyError::Id { stated, computed } => write!(
                f,
                "the id {stated} does not belong to this name and key, which have {computed}"
            ),
            KeyError::Seed => f.write_str("the seed makes no key"),
        }
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn name() -> KeyName {
        "example.com/log".parse().unwrap()
    }

    #[test]
    fn the_key_of_the_specification_reads_and_writes() {
        let verifier: Verifier = VKEY.parse().unwrap();
        assert_eq!(verifier.name().as_str(), "example.com/foo");
        assert_eq!(verifier.id(), KeyId([0x53, 0x0d, 0x90, 0x3a]));
        assert_eq!(verifier.algorithm(), Algorithm::Ed25519);
        assert_eq!(verifier.to_string(), VKEY);
    }

    #[test]
    fn the_public_key_is_that_of_rfc_8032() {
        // RFC 8032 7.1, test 1.
        let seed = 0x9d61_b19d_effd_5a60_ba84_4af4_92ec_2cc4_u128.to_be_bytes();
        let rest = 0x4449_c569_7b32_6919_703b_ac03_1cae_7f60_u128.to_be_bytes();
        let seed: [u8; 32] = [seed, rest].concat().try_into().unwrap();
        let signer = Signer::new(name(), &seed).unwrap();
        let public = 0xd75a_9801_82b1_0ab7_d54b_fed3_c964_073a_u128.to_be_bytes();
        assert_eq!(signer.verifier().public()[..16], public);
        let signature = signer.sign(b"");
        assert_eq!(signature[..4], [0xe5, 0x56, 0x43, 0x00]);
        assert!(signer.verifier().accepts(b"", &signature));
    }

    #[test]
    fn a_text_that_is_no_key_is_refused_with_its_reason() {
        let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
        let (head, _) = VKEY.rsplit_once('+').unwrap();
        let with = |bytes: &[u8]| format!("{head}+{}", base64(bytes));
        for (text, error) in [
            (String::new(), KeyError::Name),
            ("name".to_owned(), KeyError::Form),
            ("name+530d903a".to_owned(), KeyError::Form),
            (VKEY.replace("530d903a", "530D903A"), KeyError::Form),
            (VKEY.replace("530d903a", "30d903a"), KeyError::Form),
            (VKEY.replace("530d903a", "0530d903a"), KeyError::Form),
            (VKEY.replace("530d903a", "+30d903a"), KeyError::Form),
            (format!("{VKEY}\n"), KeyError::Form),
            (format!(" {VKEY}"), KeyError::Name),
            (format!("{VKEY}="), KeyError::Form),
            (format!("{head}+"), KeyError::Form),
            (VKEY.replace("example.com/foo", ""), KeyError::Name),
            ("x".repeat(5000), KeyError::Form),
            (with(&[0x02; 33]), KeyError::Algorithm { byte: 2 }),
            (with(&[0x06; 1313]), KeyError::Algorithm { byte: 6 }),
            (with(&[0x01]), KeyError::Length { bytes: 0 }),
            (with(&[0x01; 32]), KeyError::Length { bytes: 31 }),
            (with(&[0x01; 34]), KeyError::Length { bytes: 33 }),
        ] {
            assert_eq!(text.parse::<Verifier>(), Err(error), "{text}");
        }
        let renamed = VKEY.replace("/foo", "/bar").parse::<Verifier>();
        assert!(matches!(renamed, Err(KeyError::Id { .. })));
    }

    #[test]
    fn a_name_that_a_note_cannot_hold_is_refused() {
        for wrong in [
            "",
            "a b",
            "a+b",
            "a\n",
            "\ta",
            "a\u{a0}b",
            "a\u{2003}",
            "\u{1}",
            "\u{85}",
        ] {
            assert_eq!(wrong.parse::<KeyName>(), Err(KeyError::Name), "{wrong:?}");
        }
        let longest = "n".repeat(KeyName::MAX_BYTES);
        assert!(longest.parse::<KeyName>().is_ok());
        assert_eq!(
            format!("{longest}n").parse::<KeyName>(),
            Err(KeyError::Name)
        );
    }

    #[test]
    fn a_key_of_one_use_does_not_serve_the_other() {
        let signer = Signer::write(name(), &[7; 32]).unwrap();
        let cosigner = Cosigner::write(name(), &[7; 32]).unwrap();
        assert_eq!(
            Signer::read(&cosigner).unwrap_err(),
            KeyError::Algorithm { byte: 4 }
        );
        assert_eq!(
            Cosigner::read(&signer).unwrap_err(),
            KeyError::Algorithm { byte: 1 }
        );
        let (signer, cosigner) = (
            Signer::read(&signer).unwrap(),
            Cosigner::read(&cosigner).unwrap(),
        );
        assert_ne!(signer.verifier().id(), cosigner.verifier().id());
    }

    #[test]
    fn a_secret_key_is_not_taken_for_a_public_one_nor_printed() {
        let seed = [0xab; 32];
        let text = Signer::write(name(), &seed).unwrap();
        assert_eq!(text.parse::<Verifier>(), Err(KeyError::Form));
        let signer = Signer::read(&text).unwrap();
        let cosigner = Cosigner::new(name(), &seed).unwrap();
        let secret = STANDARD.encode(seed);
        for shown in [format!("{signer:?}"), format!("{cosigner:?}")] {
            assert!(!shown.contains(&secret[4..30]) && !shown.contains("abab"));
            assert!(!shown.contains("171, 171"));
        }
    }

    proptest! {
        #[test]
        fn keys_read_back_as_they_were_written(seed: [u8; 32], other: bool) {
            let verifier = if other {
                let text = Cosigner::write(name(), &seed).unwrap();
                prop_assert!(text.len() < LONGEST_TEXT);
                Cosigner::read(&text).unwrap().verifier().clone()
            } else {
                let text = Signer::write(name(), &seed).unwrap();
                Signer::read(&text).unwrap().verifier().clone()
            };
            prop_assert_eq!(verifier.to_string().parse(), Ok(verifier));
        }

        #[test]
        fn a_changed_key_is_refused(seed: [u8; 32], at: prop::sample::Index, to in 32..127u8) {
            let text = Signer::write(name(), &seed).unwrap();
            let public = Signer::read(&text).unwrap().verifier().to_string();
            let change = |text: &str| {
                let mut bytes = text.as_bytes().to_vec();
                let at = at.index(bytes.len());
                bytes[at] = to;
                String::from_utf8(bytes).unwrap()
            };
            let changed = change(&public);
            prop_assert_eq!(changed.parse::<Verifier>().is_ok(), changed == public);
            let changed = change(&text);
            prop_assert_eq!(Signer::read(&changed).is_ok(), changed == *text);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "(PRIVATE\\+KEY\\+)?\\PC{0,20}\\+[0-9a-f]{8}\\+[A-Za-z0-9+/=]{0,60}|\\PC*") {
            let _ = text.parse::<Verifier>();
            let _ = Signer::read(&text);
            let _ = Cosigner::read(&text);
        }
    }
}
