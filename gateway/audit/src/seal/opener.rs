//! Opening what was sealed: for `audit show`, exports and reports, never for `verify`.
//!
//! What opens is held to everything that the leaf says: ciphertext and header to the tag, the entry to
//! the commitment, time and kind to the header. So what a reader sees is what anybody else will be
//! shown who gets that entry disclosed. Fail closed: what does not agree is not shown.

use std::collections::VecDeque;
use std::fmt;

use zeroize::Zeroizing;

use super::epoch::{KeyId, LogId, ReadingKey};
use super::hpke::{HpkeError, KEY};
use super::sealed::{BEFORE_COMMITMENT, LENGTH, Sealed, associated};
use super::subkey::{self, SubKey, TargetKey};
use super::target::{self, OpenedTarget};
use crate::entry::{self, EntryError};
use crate::event::Entry;

/// The sub-keys that an opener remembers: more than workers write at a time.
const REMEMBERED: usize = 64;

/// The epoch keys of a reader, and what they led to lately.
pub struct Opener {
    keys: Vec<ReadingKey>,
    recent: VecDeque<Reached>,
}

struct Reached {
    log: LogId,
    key: KeyId,
    encapsulated: [u8; KEY],
    entries: SubKey,
    targets: Option<TargetKey>,
}

impl Opener {
    /// An opener with these epoch keys.
    #[must_use]
    pub fn new(keys: Vec<ReadingKey>) -> Opener {
        Opener {
            keys,
            recent: VecDeque::new(),
        }
    }

    /// Opens an entry.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&mut self, sealed: &Sealed<'_>) -> Result<Opened, OpenError> {
        let header = sealed.header;
        let reached = self.reach(header.key, &header.encapsulated)?;
        let encoded = header.encode();
        let aad = associated(&reached.log, &encoded);
        let mut body = Zeroizing::new(sealed.body.to_vec());
        let message = reached.entries.open(header.nonce(), &aad, &mut body)?;
        let (length, rest) = message
            .split_first_chunk::<LENGTH>()
            .ok_or(OpenError::Inconsistent)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (plaintext, padding) = rest
            .split_at_checked(length)
            .ok_or(OpenError::Inconsistent)?;
        let before = &encoded[..BEFORE_COMMITMENT];
        let opening = reached.entries.derive(&[before, plaintext]);
        if padding.iter().any(|byte| *byte != 0) || !sealed.discloses(plaintext, &opening) {
            return Err(OpenError::Inconsistent);
        }
        Ok(Opened {
            plaintext: plaintext.to_vec(),
            opening,
        })
    }

    /// Opens the raw target of an entry: the block that stands in it.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Scope`] when the reader may not open targets.
    pub fn open_target(
        &mut self,
        sealed: &Sealed<'_>,
        block: &[u8],
    ) -> Result<OpenedTarget, OpenError> {
        let header = sealed.header;
        let reached = self.reach(header.key, &header.encapsulated)?;
        let targets = reached.targets.as_ref().ok_or(OpenError::Scope)?;
        Ok(target::open(targets, header.counter, block)?)
    }

    fn reach(&mut self, id: KeyId, encapsulated: &[u8; KEY]) -> Result<&Reached, OpenError> {
        let known = |reached: &Reached| reached.key == id && reached.encapsulated == *encapsulated;
        let at = match self.recent.iter().position(known) {
            Some(at) => at,
            None => {
                let key = self.keys.iter().find(|key| key.id() == id);
                let key = key.ok_or(OpenError::NoKey { key: id })?;
                let (entries, targets) = subkey::reach(key, encapsulated)?;
                self.recent.truncate(REMEMBERED - 1);
                self.recent.push_front(Reached {
                    log: *key.log(),
                    key: id,
                    encapsulated: *encapsulated,
                    entries,
                    targets,
                });
                0
            }
        };
        Ok(&self.recent[at])
    }
}

/// An entry that was opened, and what shows that it is the one in the leaf.
pub struct Opened {
    plaintext: Vec<u8>,
    opening: Zeroizing<[u8; 32]>,
}

impl Opened {
    /// Its canonical bytes: what is handed out with the opening to disclose it.
    #[must_use]
    pub fn plaintext(&self) -> &[u8] {
        &self.plaintext
    }

    /// r: with the canonical bytes it satisfies [`Sealed::discloses`], and tells of no other entry.
    #[must_use]
    pub fn opening(&self) -> &[u8; 32] {
        &self.opening
    }

    /// The entry.
    ///
    /// # Errors
    /// [`EntryError`] when it is not in canonical form.
    pub fn entry(&self) -> Result<Entry<'_>, EntryError> {
        entry::decode(&self.plaintext)
    }
}

/// Why something did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// The reader does not have this epoch key, or it was destroyed.
    NoKey {
        /// Which.
        key: KeyId,
    },
    /// The reader may not open targets.
    Scope,
    /// Not what was sealed under this key.
    Changed,
    /// It opens, but does not agree with its commitment or its header: no gateway of this make
    /// wrote it.
    Inconsistent,
    /// The cryptography library failed.
    Library,
}

impl From<HpkeError> for OpenError {
    fn from(error: HpkeError) -> OpenError {
        match error {
            HpkeError::PublicKey | HpkeError::Open => OpenError::Changed,
            HpkeError::Library => OpenError::Library,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::NoKey { key } => write!(f, "no key {key}: not this reader's, or destroyed"),
            OpenError::Scope => f.write_str("this reader may not open request targets"),
            OpenError::Changed => f.write_str("not what was sealed"),
            OpenError::Inconsistent => f.write_str("does not agree with its commitment or header"),
            OpenError::Library => f.write_str("the cryptography library failed"),
        }
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::epoch::{KeyRecord, WritingKey};
    use super::super::hpke::SecretKey;
    use super::super::random::Random as _;
    use super::super::reader::{Reader, Scope};
    use super::super::sealed::{HEADER, Leaf};
    use super::super::sealer::{JoinKey, Sealer};
    use super::super::target::{self, MAX_BYTES, OVERHEAD};
    use super::super::tests::{LOG, MINUTE, completion, epoch, key, parse, reader, sealer, seeded};
    use super::*;
    use crate::event::Time;
    use proptest::prelude::*;

    fn opener() -> Opener {
        let (_, record, secret) = key();
        let record = KeyRecord::decode(&record.encode()).unwrap();
        Opener::new(vec![record.open(&secret).unwrap()])
    }

    fn sealed(entry: &Entry<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        sealer(1).seal(entry, &mut out).unwrap();
        out
    }

    #[test]
    fn a_reader_needs_nothing_but_the_leaves_the_records_and_its_key() {
        let mut sealer = sealer(1);
        let mut leaves = Vec::new();
        for n in 0..200u64 {
            let mut leaf = Vec::new();
            sealer
                .seal(&completion(n * MINUTE / 2, "pump"), &mut leaf)
                .unwrap();
            leaves.push(leaf);
        }
        let mut opener = opener();
        // In any order, from any place: each leaf says how it opens.
        for n in (0..200).rev().chain(0..200) {
            let opened = opener.open(&parse(&leaves[n])).unwrap();
            let expected = completion(n as u64 * MINUTE / 2, "pump");
            assert_eq!(opened.entry(), Ok(expected));
        }
        assert!(opener.recent.len() <= REMEMBERED);
    }

    #[test]
    fn leaf_and_target_are_what_another_implementation_makes() {
        let field = |name: &str| {
            let mut lines = include_str!("leaf.txt").lines();
            lines.find_map(|line| line.strip_prefix(name)).unwrap()
        };
        let hex = |bytes: &[u8]| {
            let digits: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
            digits.concat()
        };
        let mut sealer = sealer(1);
        let slot = sealer.slot(Time(1)).unwrap();
        let (mut block, mut leaf) = (Vec::new(), Vec::new());
        slot.target(b"/fhir/Patient/17", &mut block).unwrap();
        slot.seal(&completion(1, "pump"), &mut leaf).unwrap();
        assert_eq!(hex(&leaf), field("leaf: "));
        assert_eq!(hex(&block), field("target: "));
        let opened = opener().open(&parse(&leaf)).unwrap();
        assert_eq!(hex(opened.opening()), field("opening: "));
        let opened = opener().open_target(&parse(&leaf), &block).unwrap();
        assert_eq!(hex(opened.opening()), field("target opening: "));
    }

    #[test]
    fn without_the_record_of_its_epoch_key_a_leaf_stays_shut() {
        let leaf = sealed(&completion(1, "pump"));
        let id = key().0.id();
        let mut none = Opener::new(Vec::new());
        assert_eq!(
            none.open(&parse(&leaf)).err(),
            Some(OpenError::NoKey { key: id })
        );
    }

    #[test]
    fn a_disclosed_entry_is_checked_without_a_key_and_no_other_passes_for_it() {
        let mut sealer = sealer(1);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        sealer.seal(&completion(1, "pump"), &mut one).unwrap();
        sealer.seal(&completion(1, "pump"), &mut two).unwrap();
        let (one, two) = (parse(&one), parse(&two));
        let (first, second) = (opener().open(&one).unwrap(), opener().open(&two).unwrap());
        assert!(one.discloses(first.plaintext(), first.opening()));
        assert_eq!(first.plaintext(), second.plaintext());
        assert!(!one.discloses(second.plaintext(), second.opening()));
        assert!(!two.discloses(first.plaintext(), first.opening()));
    }

    #[test]
    fn what_is_disclosed_of_an_entry_is_no_key_and_opens_no_other() {
        let mut sealer = sealer(1);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        sealer.seal(&completion(1, "pump"), &mut one).unwrap();
        sealer.seal(&completion(2, "other"), &mut two).unwrap();
        let opened = opener().open(&parse(&one)).unwrap();
        let disclosed = [opened.plaintext(), opened.opening()].concat();
        // The epoch key is the first, the target key the second that `key` draws.
        let mut drawn = [0; 64];
        let (secret, target) = drawn.split_at_mut(32);
        let mut random = seeded(7);
        random.fill(secret).unwrap();
        random.fill(target).unwrap();
        let material = subkey::tests::material(&key().0, 1);
        for known in [&drawn[..32], &drawn[32..], &material[..32], &material[32..]] {
            assert!(!disclosed.windows(32).any(|part| part == known));
            assert!(!one.windows(32).any(|part| part == known));
        }
        // What is disclosed does not open another entry as a key, either.
        let other = parse(&two);
        let aad = associated(&LOG, &other.header.encode());
        for key in disclosed.windows(32) {
            let key = SubKey::of(key.try_into().unwrap());
            let mut body = other.body.to_vec();
            assert!(key.open(other.header.nonce(), &aad, &mut body).is_err());
        }
        let right = SubKey::of(material[..32].try_into().unwrap());
        let mut body = other.body.to_vec();
        assert!(right.open(other.header.nonce(), &aad, &mut body).is_ok());
    }

    #[test]
    fn a_target_opens_for_those_alone_who_may_see_it() {
        let (ana, of_ana) = reader(1, Scope::Targets);
        let (ben, of_ben) = reader(2, Scope::Entries);
        let readers: [Reader; 2] = [of_ana, of_ben];
        let (key, record) = WritingKey::draw(LOG, epoch(), &readers, &mut seeded(7)).unwrap();
        let join = JoinKey::draw(&mut seeded(5)).unwrap();
        let mut sealer = Sealer::new(Arc::new(key), Arc::new(join), seeded(3));
        let slot = sealer.slot(Time(1)).unwrap();
        let raw = b"/fhir/Patient?identifier=urn:mrn|4711";
        let (mut block, mut leaf) = (Vec::new(), Vec::new());
        slot.target(raw, &mut block).unwrap();
        slot.seal(&completion(1, "pump"), &mut leaf).unwrap();
        assert_eq!(block.len(), raw.len() + OVERHEAD);
        assert!(!block.windows(4).any(|bytes| bytes == b"4711"));
        let with = |secret: &SecretKey| Opener::new(vec![record.open(secret).unwrap()]);
        let opened = with(&ana).open_target(&parse(&leaf), &block).unwrap();
        assert_eq!(opened.raw(), raw);
        assert!(target::discloses(&block, raw, opened.opening()));
        let refused = with(&ben).open_target(&parse(&leaf), &block).err();
        assert_eq!(refused, Some(OpenError::Scope));
        assert!(with(&ben).open(&parse(&leaf)).is_ok());
        // A block belongs to the one entry that it was made for.
        let mut next = Vec::new();
        sealer.seal(&completion(1, "pump"), &mut next).unwrap();
        let moved = with(&ana).open_target(&parse(&next), &block).err();
        assert_eq!(moved, Some(OpenError::Changed));
    }

    #[test]
    fn a_leaf_of_another_log_does_not_open() {
        let (secret, reader) = reader(1, Scope::Entries);
        let draw = |log| WritingKey::draw(log, epoch(), &[reader], &mut seeded(7)).unwrap();
        let (ours, record) = draw(LOG);
        let (theirs, _) = draw([0; 16]);
        assert_ne!(ours.id(), theirs.id(), "the id covers the log");
        let join = Arc::new(JoinKey::draw(&mut seeded(5)).unwrap());
        let mut leaf = Vec::new();
        let mut sealer = Sealer::new(Arc::new(theirs), join, seeded(3));
        sealer.seal(&completion(1, "pump"), &mut leaf).unwrap();
        // Relabelled by somebody, it still does not.
        leaf[19..27].copy_from_slice(&ours.id().0);
        let mut opener = Opener::new(vec![record.open(&secret).unwrap()]);
        assert_eq!(opener.open(&parse(&leaf)).err(), Some(OpenError::Changed));
    }

    #[test]
    fn what_a_dishonest_writer_seals_with_a_false_header_is_not_shown() {
        let (writing, _, _) = key();
        let ephemeral = SecretKey::draw(&mut seeded(3)).unwrap();
        let (encapsulated, entries, _) = subkey::agree(&writing, ephemeral).unwrap();
        let mut text = Vec::new();
        entry::encode(&completion(1, "pump"), &mut text);
        let forge = |time: u64, change: &dyn Fn(&mut Vec<u8>, &mut [u8; 32])| {
            let template = sealed(&completion(1, "pump"));
            let mut header = parse(&template).header;
            header.encapsulated = encapsulated;
            header.time = Time(time);
            let opening = entries.derive(&[&header.encode()[..BEFORE_COMMITMENT], &text]);
            header.commitment = super::super::sealed::commit(&opening, &text);
            let mut body = (u16::try_from(text.len()).unwrap()).to_be_bytes().to_vec();
            body.extend_from_slice(&text);
            body.resize(body.len().next_multiple_of(32), 0);
            change(&mut body, &mut header.commitment);
            let encoded = header.encode();
            let aad = associated(&LOG, &encoded);
            let tag = entries.seal(header.nonce(), &aad, &mut body).unwrap();
            let leaf = [&encoded[..], &body, tag.as_ref()].concat();
            opener().open(&parse(&leaf)).err()
        };
        assert_eq!(forge(1, &|_, _| {}), None);
        let wrong = Some(OpenError::Inconsistent);
        assert_eq!(forge(2, &|_, _| {}), wrong, "another time");
        assert_eq!(
            forge(1, &|_, commitment| commitment[31] ^= 1),
            wrong,
            "another commitment"
        );
        assert_eq!(
            forge(1, &|body, _| *body.last_mut().unwrap() = 1),
            wrong,
            "padding"
        );
        assert_eq!(forge(1, &|body, _| body[1] -= 1), wrong, "a shorter length");
        assert_eq!(
            forge(1, &|body, _| body[0] = 0xff),
            wrong,
            "a length beyond the end"
        );
    }

    #[test]
    fn the_longest_target_is_taken() {
        let mut sealer = sealer(1);
        let slot = sealer.slot(Time(1)).unwrap();
        let mut block = Vec::new();
        slot.target(&[7; MAX_BYTES], &mut block).unwrap();
        let mut leaf = Vec::new();
        slot.seal(&completion(1, "pump"), &mut leaf).unwrap();
        let raw = opener().open_target(&parse(&leaf), &block).unwrap();
        assert_eq!(raw.raw(), [7; MAX_BYTES]);
    }

    /// Fails to compile for a type that can be printed: two candidates fit it then.
    macro_rules! cannot_be_printed {
        ($($name:ty),*) => {$({
            trait Ambiguous<A> { fn asked() {} }
            impl<T: ?Sized> Ambiguous<()> for T {}
            struct Printable;
            impl<T: ?Sized + fmt::Debug> Ambiguous<Printable> for T {}
            <$name as Ambiguous<_>>::asked();
        })*};
    }

    #[test]
    fn secrets_cannot_be_printed() {
        use super::super::{hpke, pseudonym};
        cannot_be_printed!(
            SecretKey,
            hpke::Context,
            ReadingKey,
            SubKey,
            TargetKey,
            JoinKey,
            pseudonym::TenantKey,
            Opener,
            Opened
        );
        // The one that can shows which key it is, and no byte of it.
        let (key, _, _) = key();
        let expected = format!("WritingKey({} of {})", key.id(), key.epoch());
        assert_eq!(format!("{key:?}"), expected);
        assert_eq!(format!("{:?}", sealer(1)), format!("Sealer({expected})"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_is_sealed_opens_to_the_same(time: u64, client: String) {
            let entry = completion(time, &client);
            let leaf = sealed(&entry);
            let opened = opener().open(&parse(&leaf)).unwrap();
            prop_assert_eq!(opened.entry(), Ok(entry));
            prop_assert!(parse(&leaf).discloses(opened.plaintext(), opened.opening()));
        }

        #[test]
        fn any_flipped_bit_of_a_leaf_fails_to_open(client: String, at: prop::sample::Index, bit in 0..8u8) {
            let mut leaf = sealed(&completion(1, &client));
            let at = at.index(leaf.len());
            leaf[at] ^= 1 << bit;
            let opened = match Leaf::parse(&leaf) {
                Ok(Leaf::Sealed(sealed)) => opener().open(&sealed).is_ok(),
                Ok(Leaf::Clear(_)) | Err(_) => false,
            };
            prop_assert!(!opened);
        }

        #[test]
        fn any_flipped_bit_of_a_disclosure_fails_to_match(at: prop::sample::Index, bit in 0..8u8) {
            let leaf = sealed(&completion(1, "pump"));
            let opened = opener().open(&parse(&leaf)).unwrap();
            let (mut plaintext, mut opening) = (opened.plaintext().to_vec(), *opened.opening());
            let at = at.index(32 + plaintext.len());
            if at < 32 { opening[at] ^= 1 << bit } else { plaintext[at - 32] ^= 1 << bit }
            prop_assert!(!parse(&leaf).discloses(&plaintext, &opening));
        }

        #[test]
        fn any_flipped_bit_of_a_target_fails_to_open(raw in prop::collection::vec(any::<u8>(), 0..100), at: prop::sample::Index, bit in 0..8u8) {
            let mut sealer = sealer(1);
            let slot = sealer.slot(Time(1)).unwrap();
            let (mut block, mut leaf) = (Vec::new(), Vec::new());
            slot.target(&raw, &mut block).unwrap();
            slot.seal(&completion(1, "pump"), &mut leaf).unwrap();
            let sealed = parse(&leaf);
            let opened = opener().open_target(&sealed, &block).unwrap();
            prop_assert_eq!(opened.raw(), &raw[..]);
            let (mut told, mut opening) = (raw.clone(), *opened.opening());
            prop_assert!(target::discloses(&block, &told, &opening));
            let flip = at.index(32 + told.len());
            if flip < 32 { opening[flip] ^= 1 << bit } else { told[flip - 32] ^= 1 << bit }
            prop_assert!(!target::discloses(&block, &told, &opening));
            let at = at.index(block.len());
            block[at] ^= 1 << bit;
            prop_assert_eq!(opener().open_target(&sealed, &block).err(), Some(OpenError::Changed));
        }

        #[test]
        fn arbitrary_leaves_and_blocks_never_panic(tail in prop::collection::vec(any::<u8>(), 0..200), block: Vec<u8>) {
            let mut leaf = sealed(&completion(1, "pump"));
            leaf.truncate(HEADER);
            leaf.extend_from_slice(&tail);
            if let Ok(Leaf::Sealed(sealed)) = Leaf::parse(&leaf) {
                prop_assert!(opener().open(&sealed).is_err());
                prop_assert!(opener().open_target(&sealed, &block).is_err());
            }
        }
    }
}
