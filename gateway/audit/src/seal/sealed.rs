//! Leaves: entries as they stand in the log, sealed or clear, and what can be told without a key.
//!
//! ```text
//! clear leaf   canonical CBOR of the entry (`entry`); it begins with 0xa2
//! sealed leaf  header (95, big endian)  ciphertext  tag (16)
//! header       form = 1 (1)  kind (1)  flags (1)  time (8)  join (8)
//!              key id (8)  encapsulated key (32)  counter (4)  commitment (32)
//! encrypted    length (2)  canonical CBOR of the entry  zeros up to a multiple of 32
//! r            HMAC(sub-key, header before the commitment | CBOR)
//! commitment   HMAC(r, CBOR)                                     HMAC is HMAC-SHA-256
//! nonce        counter, first 8 bytes of the commitment          AES-256-GCM
//! aad          log id, header
//! ```
//!
//! **What stays clear.** `kind` and `join`, so that `verify` finds a release without its intent and an
//! intent without an outcome; the flag says that a record owes one before it ([`owes`]). `join` is the
//! request's id under a key of this run of the gateway: records of one request can be matched, and
//! nobody gets from an id that a client or an upstream has seen to a record. `time`, for the clock,
//! for ranges, and to know what is old enough to go. The rest is what opening needs. Everything else
//! is encrypted, and its length is rounded up. The index is made by a reader, from what it opens.
//!
//! **What is not sealed at all**: what the log says of itself ([`stays_clear`]), because recovery and
//! `verify` account for it and have no key.
//!
//! **The opening r is derived**, not drawn: as unforeseeable to whoever lacks the sub-key, 32 bytes
//! shorter, and safe when a machine is cloned with everything in its memory. Two clones that seal
//! different entries at the same counter get different r, so different commitments, so different
//! nonces; that they seal the same entry shows that, and no more. Within one machine the counter alone
//! keeps nonces apart.
//!
//! **Disclosure.** r and the CBOR of one entry convince anybody who has the leaf, without a key; they
//! say nothing about any other entry. AES-GCM alone would let a dishonest writer make one
//! ciphertext that opens in two ways; the commitment does not.

use std::fmt;

use aws_lc_rs::hmac;
use minicbor::Decoder;

use super::epoch::{KeyId, LogId};
use super::hpke::{KEY, TAG};
use super::subkey::NONCE;
use crate::entry;
use crate::event::{Event, Time};

/// What comes before the ciphertext of a sealed leaf, bytes.
pub const HEADER: usize = 95;

/// No leaf is longer than this, bytes. The entry in it is at most [`entry::MAX_BYTES`] long.
pub const MAX_BYTES: usize = leaf_bytes(entry::MAX_BYTES);

/// How long the leaf of an entry of so many bytes is, bytes.
#[must_use]
pub const fn leaf_bytes(entry: usize) -> usize {
    HEADER + (LENGTH + entry).next_multiple_of(STEP) + TAG
}

pub(super) const LENGTH: usize = 2;
/// Lengths are rounded up to a multiple of this, bytes.
pub(super) const STEP: usize = 32;
/// The header before the commitment, bytes.
pub(super) const BEFORE_COMMITMENT: usize = HEADER - 32;

const FORM_SEALED: u8 = 1;
/// A map of two: how every entry in the clear begins.
const FORM_CLEAR: u8 = 0xa2;
const OWES: u8 = 1;

/// Whether `event` stands in the log unsealed: what recovery and `verify` must read without a key.
/// It names no person, device or request.
#[must_use]
pub fn stays_clear(event: &Event<'_>) -> bool {
    match event {
        Event::Start(_)
        | Event::Stop(_)
        | Event::Recovered(_)
        | Event::Interrupted(_)
        | Event::EpochKey(_)
        | Event::Discontinuity(_)
        | Event::UnsignedTail(_)
        | Event::LogRead(_)
        | Event::Witness(_)
        | Event::Retention(_)
        | Event::Hold(_)
        | Event::Destruction(_)
        | Event::Backup(_)
        | Event::Restored(_)
        | Event::Clock(_)
        | Event::SigningKey(_) => true,
        Event::Configuration(_)
        | Event::Decision(_)
        | Event::Revocation(_)
        | Event::Handshake(_)
        | Event::HandshakeRefused(_)
        | Event::Close(_)
        | Event::Intent(_)
        | Event::Release(_)
        | Event::Passage(_)
        | Event::Completion(_)
        | Event::Refusal(_)
        | Event::Noise(_)
        | Event::Verb(_)
        | Event::Authority(_)
        | Event::CertificateIntended(_)
        | Event::CertificateIssued(_)
        | Event::CertificateRevoked(_)
        | Event::Crl(_)
        | Event::Token(_)
        | Event::RequestRefused(_) => false,
    }
}

/// Whether `event` cannot be on record without another one of its request before it: a release whose
/// method alone asks for an intent (AUDIT.md, P2), a completion that names the status of an answer, and
/// so a release (P1). Content, upgrades and routes may oblige further requests.
#[must_use]
pub fn owes(event: &Event<'_>) -> bool {
    match event {
        Event::Release(release) => release
            .request
            .method
            .is_some_and(|method| !["GET", "HEAD", "OPTIONS"].contains(&method)),
        Event::Completion(completion) => completion.status.is_some(),
        _ => false,
    }
}

/// The number of an event's variant in `event`, which is its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(pub u8);

impl Kind {
    /// `start`.
    pub const START: Kind = Kind(0);
    /// `stop`.
    pub const STOP: Kind = Kind(1);
    /// `intent`.
    pub const INTENT: Kind = Kind(8);
    /// `release`.
    pub const RELEASE: Kind = Kind(9);
    /// `completion`.
    pub const COMPLETION: Kind = Kind(10);
    /// `refusal`.
    pub const REFUSAL: Kind = Kind(11);
    /// `passage`.
    pub const PASSAGE: Kind = Kind(15);
    /// `epoch_key`.
    pub const EPOCH_KEY: Kind = Kind(17);
    /// `discontinuity`.
    pub const DISCONTINUITY: Kind = Kind(18);
    /// `clock`.
    pub const CLOCK: Kind = Kind(23);
}

/// Time and kind of an entry in canonical CBOR, without reading all of it; `None` when it does not
/// begin like an entry.
#[must_use]
pub fn facts(plaintext: &[u8]) -> Option<(Time, Kind)> {
    let mut decoder = Decoder::new(plaintext);
    let mut read = || {
        let entry = decoder.map()? == Some(2) && decoder.u8()? == 0;
        let time = decoder.u64()?;
        let event = decoder.u8()? == 1 && decoder.array()? == Some(2);
        let kind = decoder.u8()?;
        Ok::<_, minicbor::decode::Error>((entry && event).then_some((Time(time), Kind(kind))))
    };
    read().ok().flatten()
}

/// A leaf of the log, told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf<'a> {
    /// An entry in the clear, in canonical CBOR or not: `entry::decode` says.
    Clear(&'a [u8]),
    /// A sealed entry.
    Sealed(Sealed<'a>),
}

impl<'a> Leaf<'a> {
    /// Tells what a leaf is.
    ///
    /// # Errors
    /// [`LeafError`].
    pub fn parse(leaf: &'a [u8]) -> Result<Leaf<'a>, LeafError> {
        match leaf.first() {
            Some(&FORM_SEALED) => Sealed::parse(leaf).map(Leaf::Sealed),
            Some(&FORM_CLEAR) => Ok(Leaf::Clear(leaf)),
            Some(&form) => Err(LeafError::Form { form }),
            None => Err(LeafError::Length { bytes: 0 }),
        }
    }
}

/// What stands in the clear before the ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What happened.
    pub kind: Kind,
    /// Whether another record of its request must stand before it ([`owes`]).
    pub owes: bool,
    /// When.
    pub time: Time,
    /// The same in all records of one request, within one run of the gateway; absent elsewhere.
    pub join: Option<[u8; 8]>,
    /// The epoch key that leads to the sub-key.
    pub key: KeyId,
    /// What it leads there with.
    pub encapsulated: [u8; KEY],
    /// How many entries the sub-key sealed before.
    pub counter: u32,
    /// What the entry can be held to.
    pub commitment: [u8; 32],
}

impl Header {
    /// The bytes in the leaf.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0] = FORM_SEALED;
        bytes[1] = self.kind.0;
        bytes[2] = u8::from(self.owes) * OWES;
        bytes[3..11].copy_from_slice(&self.time.0.to_be_bytes());
        bytes[11..19].copy_from_slice(&self.join.unwrap_or_default());
        bytes[19..27].copy_from_slice(&self.key.0);
        bytes[27..59].copy_from_slice(&self.encapsulated);
        bytes[59..63].copy_from_slice(&self.counter.to_be_bytes());
        bytes[63..].copy_from_slice(&self.commitment);
        bytes
    }

    fn decode(bytes: &[u8; HEADER]) -> Result<Header, LeafError> {
        let mut rest = &bytes[3..];
        let flags = bytes[2];
        if flags & !OWES != 0 {
            return Err(LeafError::Flags { flags });
        }
        let time = Time(u64::from_be_bytes(take(&mut rest)));
        let join = Some(take(&mut rest)).filter(|join| *join != [0; 8]);
        Ok(Header {
            kind: Kind(bytes[1]),
            owes: flags & OWES != 0,
            time,
            join,
            key: KeyId(take(&mut rest)),
            encapsulated: take(&mut rest),
            counter: u32::from_be_bytes(take(&mut rest)),
            commitment: take(&mut rest),
        })
    }

    /// The nonce of the entry.
    pub(super) fn nonce(&self) -> [u8; NONCE] {
        let mut nonce = [0; NONCE];
        nonce[..4].copy_from_slice(&self.counter.to_be_bytes());
        nonce[4..].copy_from_slice(&self.commitment[..8]);
        nonce
    }
}

/// A sealed leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// What it says in the clear.
    pub header: Header,
    /// Ciphertext and tag.
    pub(super) body: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn parse(leaf: &'a [u8]) -> Result<Sealed<'a>, LeafError> {
        let wrong = LeafError::Length { bytes: leaf.len() };
        let (header, body) = leaf.split_first_chunk::<HEADER>().ok_or(wrong)?;
        let padded = body.len().checked_sub(TAG).ok_or(wrong)?;
        if padded == 0 || !padded.is_multiple_of(STEP) || leaf.len() > MAX_BYTES {
            return Err(wrong);
        }
        Ok(Sealed {
            header: Header::decode(header)?,
            body,
        })
    }

    /// Whether this leaf is the entry `plaintext`, as `opening` shows: without any key, for an entry
    /// that somebody disclosed. That the leaf is in the log is for an inclusion proof to say.
    ///
    /// False also when the header tells another time or kind than the entry.
    #[must_use]
    pub fn discloses(&self, plaintext: &[u8], opening: &[u8; 32]) -> bool {
        commit(opening, plaintext) == self.header.commitment
            && facts(plaintext) == Some((self.header.time, self.header.kind))
    }
}

/// HMAC-SHA-256(r, entry): binds to the entry, and tells nothing of it to whoever lacks r.
#[must_use]
pub(super) fn commit(opening: &[u8; 32], plaintext: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, opening);
    let mut commitment = [0; 32];
    commitment.copy_from_slice(hmac::sign(&key, plaintext).as_ref());
    commitment
}

/// What the ciphertext is bound to besides itself.
pub(super) fn associated(log: &LogId, header: &[u8; HEADER]) -> [u8; 16 + HEADER] {
    let mut aad = [0; 16 + HEADER];
    aad[..16].copy_from_slice(log);
    aad[16..].copy_from_slice(header);
    aad
}

/// Why bytes are not a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafError {
    /// Of a form that this program does not know.
    Form {
        /// Its first byte.
        form: u8,
    },
    /// Flags that this program does not know.
    Flags {
        /// Which.
        flags: u8,
    },
    /// Of a length that no sealed leaf has.
    Length {
        /// Which, bytes.
        bytes: usize,
    },
}

impl fmt::Display for LeafError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeafError::Form { form } => write!(f, "leaf of unknown form {form:#04x}"),
            LeafError::Flags { flags } => write!(f, "sealed entry with unknown flags {flags:#04x}"),
            LeafError::Length { bytes } => write!(f, "sealed entry of {bytes} bytes"),
        }
    }
}

impl std::error::Error for LeafError {}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (field, rest) = bytes
        .split_first_chunk::<N>()
        .expect("the fields add up to the header");
    *bytes = rest;
    *field
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Close, Code, Entry, Id, Interrupted, Start};
    use proptest::prelude::*;

    fn encoded(event: Event<'_>, time: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let time = Time(time);
        entry::encode(&Entry { time, event }, &mut out);
        out
    }

    #[test]
    fn time_and_kind_are_read_from_the_canonical_bytes() {
        let start = Start {
            program: "gateway",
            version: "1",
            pid: 7,
        };
        let start = encoded(Event::Start(start), u64::MAX);
        assert_eq!(facts(&start), Some((Time(u64::MAX), Kind(0))));
        let close = Close {
            connection_id: Id::new([1; 16]),
            code: Code::Idle,
            requests: 3,
            milliseconds: 4,
        };
        assert_eq!(
            facts(&encoded(Event::Close(close), 5)),
            Some((Time(5), Kind(7)))
        );
        let interrupted = Interrupted {
            since: Time(1),
            refused: 2,
        };
        assert_eq!(
            facts(&encoded(Event::Interrupted(interrupted), 5)),
            Some((Time(5), Kind(14)))
        );
        assert_eq!(facts(b""), None);
        assert_eq!(facts(&start[..4]), None);
    }

    #[test]
    fn a_clear_entry_is_told_from_a_sealed_one_by_its_first_byte() {
        let start = Start {
            program: "gateway",
            version: "1",
            pid: 7,
        };
        let clear = encoded(Event::Start(start), 5);
        assert_eq!(Leaf::parse(&clear), Ok(Leaf::Clear(&clear)));
        assert_eq!(Leaf::parse(b""), Err(LeafError::Length { bytes: 0 }));
        assert_eq!(Leaf::parse(&[2; 300]), Err(LeafError::Form { form: 2 }));
    }

    #[test]
    fn a_sealed_leaf_has_one_of_few_lengths() {
        let lengths = |range: std::ops::Range<usize>| -> Vec<usize> {
            let mut leaf = vec![0; range.end];
            leaf[0] = FORM_SEALED;
            range.filter(|n| Leaf::parse(&leaf[..*n]).is_ok()).collect()
        };
        assert_eq!(lengths(1..210), [143, 175, 207]);
        assert_eq!(
            lengths(MAX_BYTES - 40..MAX_BYTES + 40),
            [MAX_BYTES - 32, MAX_BYTES]
        );
        assert!(
            u16::try_from(MAX_BYTES).is_ok(),
            "fits an entry bundle (C2SP tlog-tiles)"
        );
    }

    #[test]
    fn a_flag_that_is_not_known_is_refused() {
        let mut leaf = [0; 143];
        (leaf[0], leaf[2]) = (FORM_SEALED, 2);
        assert_eq!(Leaf::parse(&leaf), Err(LeafError::Flags { flags: 2 }));
    }

    proptest! {
        #[test]
        fn a_header_reads_back_as_it_was_written(mut leaf in prop::collection::vec(any::<u8>(), 143), owes: bool) {
            (leaf[0], leaf[2]) = (FORM_SEALED, u8::from(owes));
            let Ok(Leaf::Sealed(sealed)) = Leaf::parse(&leaf) else { panic!("not sealed") };
            prop_assert_eq!(&sealed.header.encode()[..], &leaf[..HEADER]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = Leaf::parse(&bytes);
            let _ = facts(&bytes);
        }
    }
}
