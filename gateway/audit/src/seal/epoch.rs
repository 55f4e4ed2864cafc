//! Epochs and their keys: who can read what was written in a month, and how that ends.
//!
//! An epoch is a month and a class of retention, `2026-11/standard`. What is written in it is
//! sealed so that the gateway itself cannot read it again:
//!
//! ```text
//! reader's key pair      made by the reader; the gateway has the public half, from its configuration
//!   opens  epoch key     an X25519 pair, drawn by the gateway when it starts, when a month begins and
//!                        when the readers change; its secret half is sealed to each reader (a wrap)
//!                        and wiped; the public half stays in memory
//!     opens  sub-key     agreed on with the public half for a worker and a minute (`subkey`); the
//!                        encapsulated key stands in each entry
//!       opens  entries
//! ```
//!
//! **A restart.** The epoch key is gone as far as the gateway is concerned. It draws a new one of the
//! same epoch and wraps that. So an epoch has as many keys as there were starts in it, and no key
//! that it writes to was ever read from the disk, where somebody could have put one of his own. A
//! stolen memory image opens the entries of the sub-keys in use, a minute, and nothing before.
//!
//! **Where it lies.** The wraps of one key are a [`KeyRecord`], a file of its own under
//! `keys/<epoch>/<key id>`. They are not in the log's leaves, because leaves are there for ever.
//! The log has an entry with the digest of each record, so that a missing or changed one is found. A
//! record must be durable before the first entry under its key is acknowledged.
//!
//! **The end.** Destroying an epoch is removing all its records, with an entry that says who, why and
//! which digests. Every sub-key of the month and class leads to one of these keys, and each exists
//! nowhere else. Hashes, commitments and proofs stay valid. Copies of the records in backups have to
//! go too; nothing here can reach them.
//!
//! **Raw targets** (a path and query may name a patient) are sealed once more, under the target key of
//! the epoch key: 32 random bytes, wrapped beside the secret half for readers of
//! [`Scope::Targets`]. The gateway keeps it in memory; alone it opens nothing, since what it seals
//! lies within sealed entries.
//!
//! Not here: files, the entries that tell of keys, the clock. X25519 does not withstand a quantum
//! computer; the version in each record is there for a hybrid key.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use super::hpke::{self, HpkeError, KEY, PublicKey, SecretKey};
use super::random::{NoRandomness, Random};
use super::reader::{Reader, Scope, reader_id};
use crate::event::{Digest, Time};

/// Which log: random, drawn when it was made.
pub type LogId = [u8; 16];

/// No key is wrapped to more readers than this.
pub const MOST_READERS: usize = 64;

/// No record is longer than this, bytes.
pub const MAX_RECORD: usize = 16 * 1024;

const VERSION: u8 = 1;
const WRAP_LABEL: &[u8] = b"phigate audit wrap 1";
const ID_LABEL: &[u8] = b"phigate audit epoch key 1";

/// A class of retention: 1 to 32 of `a-z`, `0-9` and `-`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(Box<str>);

impl FromStr for Class {
    type Err = NotAnEpoch;

    fn from_str(name: &str) -> Result<Class, NotAnEpoch> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if begins && name.len() <= 32 && name.bytes().all(known) {
            Ok(Class(name.into()))
        } else {
            Err(NotAnEpoch)
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A month of the Gregorian calendar in UTC, and a class: what is kept, and destroyed, together.
/// Written `2026-11/standard`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    year: u16,
    month: u8,
    class: Class,
}

impl Epoch {
    /// The epoch of `class` that `time` falls in.
    #[must_use]
    pub fn at(time: Time, class: Class) -> Epoch {
        let timestamp = jiff::Timestamp::from_nanosecond(i128::from(time.0))
            .expect("64 bits of nanoseconds end in 2554, and timestamps in 9999");
        let date = jiff::tz::Offset::UTC.to_datetime(timestamp);
        Epoch {
            year: date.year().unsigned_abs(),
            month: date.month().unsigned_abs(),
            class,
        }
    }

    /// Whether `time` falls in its month.
    #[must_use]
    pub fn holds(&self, time: Time) -> bool {
        *self == Epoch::at(time, self.class.clone())
    }

    /// The same class, in the month of the later of the two.
    #[must_use]
    pub fn not_before(self, other: &Epoch) -> Epoch {
        let (year, month) = (self.year, self.month).max((other.year, other.month));
        Epoch {
            year,
            month,
            ..self
        }
    }

    /// Its month, `2026-11`.
    #[must_use]
    pub fn month(&self) -> String {
        format!("{:04}-{:02}", self.year, self.month)
    }

    /// The first moment that is so many years behind its month; the end of time where that is later.
    #[must_use]
    pub fn ends_after(&self, years: u16) -> Time {
        let (year, month) = match self.month {
            12 => (u32::from(self.year) + 1, 1),
            month => (u32::from(self.year), month + 1),
        };
        let date = i16::try_from(year + u32::from(years))
            .ok()
            .and_then(|year| {
                let month = i8::try_from(month).ok()?;
                jiff::civil::Date::new(year, month, 1).ok()
            });
        let moment = date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok());
        match moment.map(|moment| moment.timestamp().as_nanosecond()) {
            Some(before) if before < 0 => Time(0),
            Some(moment) => Time(u64::try_from(moment).unwrap_or(u64::MAX)),
            None => Time(u64::MAX),
        }
    }

    /// Its class.
    #[must_use]
    pub fn class(&self) -> &Class {
        &self.class
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}/{}", self.year, self.month, self.class)
    }
}

impl FromStr for Epoch {
    type Err = NotAnEpoch;

    fn from_str(text: &str) -> Result<Epoch, NotAnEpoch> {
        let read = || {
            let (month, class) = text.split_once('/')?;
            let (year, month) = month.split_once('-')?;
            Some(Epoch {
                year: year.parse().ok()?,
                month: month
                    .parse()
                    .ok()
                    .filter(|month| (1..=12).contains(month))?,
                class: class.parse().ok()?,
            })
        };
        // One spelling only: no sign, no missing zero.
        read()
            .filter(|epoch| epoch.to_string() == text)
            .ok_or(NotAnEpoch)
    }
}

/// The text is not an epoch, or not a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnEpoch;

impl fmt::Display for NotAnEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a month and class such as 2026-11/standard")
    }
}

impl std::error::Error for NotAnEpoch {}

/// The id of an epoch key: the first bytes of a SHA-256 over the log, the epoch and the public half,
/// so that a key cannot pass for another. Written as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl KeyId {
    fn of(log: &LogId, epoch: &Epoch, public: &PublicKey) -> KeyId {
        let mut context = Context::new(&SHA256);
        // All but the epoch, which comes last, have a fixed length.
        for part in [ID_LABEL, log, public.bytes(), epoch.to_string().as_bytes()] {
            context.update(part);
        }
        let mut id = [0; 8];
        id.copy_from_slice(&context.finish().as_ref()[..8]);
        KeyId(id)
    }
}

impl KeyId {
    /// The id of this text; `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<KeyId> {
        let is_hex =
            text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let id = u64::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
        Some(KeyId(id.to_be_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An epoch key as the gateway keeps it: enough to write, too little to read.
pub struct WritingKey {
    log: LogId,
    epoch: Epoch,
    id: KeyId,
    public: PublicKey,
    target: Zeroizing<[u8; KEY]>,
}

impl WritingKey {
    /// Draws an epoch key and wraps it to `readers`. The secret half is wiped before this returns.
    ///
    /// The record must be durable before anything that was sealed under the key is acknowledged.
    ///
    /// # Errors
    /// [`EpochError`]; there is then no key, and nothing may be written under it.
    pub fn draw(
        log: LogId,
        epoch: Epoch,
        readers: &[Reader],
        random: &mut impl Random,
    ) -> Result<(WritingKey, KeyRecord), EpochError> {
        if readers.is_empty() {
            return Err(EpochError::NoReaders);
        }
        if readers.len() > MOST_READERS {
            return Err(EpochError::TooManyReaders);
        }
        let secret = SecretKey::draw(random)?;
        let mut target = Zeroizing::new([0; KEY]);
        random.fill(&mut target[..])?;
        let public = secret.public()?;
        let reading = ReadingKey {
            log,
            id: KeyId::of(&log, &epoch, &public),
            epoch,
            secret,
            target: Some(target.clone()),
        };
        let mut wraps = Vec::with_capacity(readers.len());
        for reader in readers {
            let wrap = reading.wrap(reader, random)?;
            if wraps.iter().any(|other: &Wrap| other.reader == wrap.reader) {
                return Err(EpochError::TwiceTheSame {
                    reader: wrap.reader,
                });
            }
            wraps.push(wrap);
        }
        let record = KeyRecord {
            version: VERSION,
            log: log.into(),
            epoch: reading.epoch.to_string(),
            public: (*public.bytes()).into(),
            wraps,
        };
        let writing = WritingKey {
            log,
            epoch: reading.epoch,
            id: reading.id,
            public,
            target,
        };
        Ok((writing, record))
    }

    /// The log that it belongs to.
    #[must_use]
    pub fn log(&self) -> &LogId {
        &self.log
    }

    /// The epoch that it belongs to.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Its id, which stands in every entry under it.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn target(&self) -> &Zeroizing<[u8; KEY]> {
        &self.target
    }
}

impl fmt::Debug for WritingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WritingKey({} of {})", self.id, self.epoch)
    }
}

/// An epoch key as a reader holds it.
pub struct ReadingKey {
    log: LogId,
    epoch: Epoch,
    id: KeyId,
    secret: SecretKey,
    target: Option<Zeroizing<[u8; KEY]>>,
}

impl ReadingKey {
    /// Seals it to `reader`: when it is drawn, or later by somebody who holds it, so that a new
    /// reader can read what is old. Handing it on is an act to be recorded.
    ///
    /// # Errors
    /// [`EpochError::Scope`] when it lacks what the reader is to have, and as for HPKE.
    pub fn wrap(&self, reader: &Reader, random: &mut impl Random) -> Result<Wrap, EpochError> {
        let mut secrets = Zeroizing::new(Vec::with_capacity(2 * KEY));
        secrets.extend_from_slice(self.secret.expose());
        match (reader.scope, &self.target) {
            (Scope::Entries, _) => {}
            (Scope::Targets, Some(target)) => secrets.extend_from_slice(&target[..]),
            (Scope::Targets, None) => return Err(EpochError::Scope),
        }
        let info = wrap_info(&self.log, self.id);
        let ephemeral = SecretKey::draw(random)?;
        let (encapsulated, context) = hpke::setup_sender(&reader.key, &info, ephemeral)?;
        let mut sealed = Vec::with_capacity(secrets.len() + hpke::TAG);
        context.seal(&[], &secrets, &mut sealed)?;
        Ok(Wrap {
            reader: reader.id(),
            encapsulated: encapsulated.into(),
            sealed: sealed.into(),
        })
    }

    /// The log that it belongs to.
    #[must_use]
    pub fn log(&self) -> &LogId {
        &self.log
    }

    /// The epoch that it belongs to.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What it opens.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self.target {
            Some(_) => Scope::Targets,
            None => Scope::Entries,
        }
    }

    pub(super) fn secret(&self) -> &SecretKey {
        &self.secret
    }

    pub(super) fn target(&self) -> Option<&Zeroizing<[u8; KEY]>> {
        self.target.as_ref()
    }
}

/// All wraps of one epoch key, as they travel: deterministic CBOR (RFC 8949 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyRecord {
    #[n(0)]
    version: u8,
    #[n(1)]
    log: ByteArray<16>,
    #[n(2)]
    epoch: String,
    #[n(3)]
    public: ByteArray<KEY>,
    #[n(4)]
    wraps: Vec<Wrap>,
}

/// An epoch key, sealed to one reader.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Wrap {
    /// The reader's id.
    #[n(0)]
    pub reader: Digest,
    #[n(1)]
    encapsulated: ByteArray<KEY>,
    #[n(2)]
    sealed: ByteVec,
}

impl KeyRecord {
    /// Its canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing to a Vec cannot fail, and no field has a fallible encoder.
        minicbor::encode(self, &mut out).expect("encoding to memory does not fail");
        out
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// [`EpochError::Record`] when the bytes are not the one spelling of a record.
    pub fn decode(bytes: &[u8]) -> Result<KeyRecord, EpochError> {
        if bytes.len() > MAX_RECORD {
            return Err(EpochError::Record);
        }
        let record: KeyRecord = minicbor::decode(bytes).map_err(|_| EpochError::Record)?;
        let sound = record.version == VERSION
            && record.wraps.len() <= MOST_READERS
            && record.epoch.parse::<Epoch>().is_ok()
            && record.encode() == bytes;
        if sound {
            Ok(record)
        } else {
            Err(EpochError::Record)
        }
    }

    /// The epoch and the id of the key; `None` only for a record that was not made here.
    #[must_use]
    pub fn names(&self) -> Option<(Epoch, KeyId)> {
        let epoch: Epoch = self.epoch.parse().ok()?;
        let id = KeyId::of(&self.log, &epoch, &PublicKey::new(*self.public));
        Some((epoch, id))
    }

    /// Who can open it.
    pub fn readers(&self) -> impl Iterator<Item = Digest> + '_ {
        self.wraps.iter().map(|wrap| wrap.reader)
    }

    /// Adds a wrap for a further reader, made with [`ReadingKey::wrap`].
    ///
    /// # Errors
    /// [`EpochError::TwiceTheSame`], [`EpochError::TooManyReaders`].
    pub fn add(&mut self, wrap: Wrap) -> Result<(), EpochError> {
        let reader = wrap.reader;
        if self.readers().any(|other| other == reader) {
            return Err(EpochError::TwiceTheSame { reader });
        }
        if self.wraps.len() >= MOST_READERS {
            return Err(EpochError::TooManyReaders);
        }
        self.wraps.push(wrap);
        Ok(())
    }

    /// Opens the wrap of the reader whose secret key this is.
    ///
    /// # Errors
    /// [`EpochError::NotForThisReader`]; [`EpochError::Hpke`] when its wrap was changed;
    /// [`EpochError::Record`] when what was wrapped is not the key that the record names.
    pub fn open(&self, reader: &SecretKey) -> Result<ReadingKey, EpochError> {
        let (epoch, id) = self.names().ok_or(EpochError::Record)?;
        let reader_id = reader_id(&reader.public()?);
        let wrap = self.wraps.iter().find(|wrap| wrap.reader == reader_id);
        let wrap = wrap.ok_or(EpochError::NotForThisReader)?;
        let info = wrap_info(&self.log, id);
        let secrets =
            hpke::setup_receiver(&wrap.encapsulated, reader, &info)?.open(&[], &wrap.sealed)?;
        let (secret, rest) = secrets.split_first_chunk().ok_or(EpochError::Record)?;
        let target = match rest {
            [] => None,
            rest => Some(Zeroizing::new(
                rest.try_into().map_err(|_| EpochError::Record)?,
            )),
        };
        let secret = SecretKey::new(&Zeroizing::new(*secret));
        if *secret.public()?.bytes() != *self.public {
            return Err(EpochError::Record);
        }
        Ok(ReadingKey {
            log: *self.log,
            epoch,
            id,
            secret,
            target,
        })
    }
}

/// The id covers the log, the epoch and the public half.
fn wrap_info(log: &LogId, id: KeyId) -> Vec<u8> {
    [WRAP_LABEL, log, &id.0].concat()
}

/// Why there is no epoch key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochError {
    /// Nobody could ever read what is written.
    NoReaders,
    /// More than [`MOST_READERS`].
    TooManyReaders,
    /// A reader stands there twice.
    TwiceTheSame {
        /// Its id.
        reader: Digest,
    },
    /// Whoever wraps may not open targets, so cannot hand that on.
    Scope,
    /// Not a record in its canonical form, or not of the key that it names.
    Record,
    /// The record holds no wrap for this reader.
    NotForThisReader,
    /// No fresh bytes.
    NoRandomness,
    /// A key could not be used, or a wrap does not open.
    Hpke(HpkeError),
}

impl From<HpkeError> for EpochError {
    fn from(error: HpkeError) -> EpochError {
        EpochError::Hpke(error)
    }
}

impl From<NoRandomness> for EpochError {
    fn from(NoRandomness: NoRandomness) -> EpochError {
        EpochError::NoRandomness
    }
}

impl fmt::Display for EpochError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EpochError::NoReaders => f.write_str("no reader is named, so nobody could read"),
            EpochError::TooManyReaders => write!(f, "more than {MOST_READERS} readers"),
            EpochError::TwiceTheSame { reader } => write!(f, "reader {reader} is named twice"),
            EpochError::Scope => f.write_str("whoever cannot open targets cannot hand them on"),
            EpochError::Record => f.write_str("not a record of an epoch key, or changed"),
            EpochError::NotForThisReader => f.write_str("not wrapped to this reader"),
            EpochError::NoRandomness => NoRandomness.fmt(f),
            EpochError::Hpke(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EpochError {}

#[cfg(test)]
mod tests {
    use super::super::tests::{LOG, dry, epoch, reader, seeded};
    use super::*;
    use proptest::prelude::*;

    fn draw(readers: &[Reader]) -> (WritingKey, KeyRecord) {
        WritingKey::draw(LOG, epoch(), readers, &mut seeded(7)).unwrap()
    }

    #[test]
    fn a_month_ends_in_its_last_nanosecond_of_utc() {
        let class: Class = "standard".parse().unwrap();
        // 2026-11-30T23:59:59.999999999Z
        let last = Time(1_796_083_199_999_999_999);
        assert_eq!(Epoch::at(last, class.clone()), epoch());
        assert!(epoch().holds(last));
        assert!(!epoch().holds(Time(last.0 + 1)));
        let next = Epoch::at(Time(last.0 + 1), class.clone());
        assert_eq!(next.to_string(), "2026-12/standard");
        assert_eq!(
            Epoch::at(Time(0), class.clone()).to_string(),
            "1970-01/standard"
        );
        assert_eq!(
            Epoch::at(Time(u64::MAX), class).to_string(),
            "2554-07/standard"
        );
    }

    #[test]
    fn an_epoch_has_one_spelling() {
        for text in ["2026-11/standard", "2026-01/a", "1999-12/research-2"] {
            assert_eq!(text.parse::<Epoch>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "2026-11",
            "2026-13/a",
            "2026-00/a",
            "2026-1/a",
            "+026-11/a",
            "2026-+1/a",
            "26-11/a",
            "2026-11/",
            "2026-11/A",
            "2026-11/-a",
            "2026-11/a/b",
            "2026-11/../x",
            "2026-11/a\n",
            "02026-11/a",
            "2026-11/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(text.parse::<Epoch>(), Err(NotAnEpoch), "{text:?}");
        }
    }

    #[test]
    fn each_reader_opens_what_its_scope_allows_and_nobody_else_does() {
        let (ana, of_ana) = reader(1, Scope::Entries);
        let (ben, of_ben) = reader(2, Scope::Targets);
        let (eve, _) = reader(3, Scope::Targets);
        let (writing, record) = draw(&[of_ana, of_ben]);
        let record = KeyRecord::decode(&record.encode()).unwrap();
        assert_eq!(record.names(), Some((epoch(), writing.id())));
        assert_eq!(
            record.readers().collect::<Vec<_>>(),
            [of_ana.id(), of_ben.id()]
        );
        let (ana, ben) = (record.open(&ana).unwrap(), record.open(&ben).unwrap());
        assert_eq!((ana.scope(), ben.scope()), (Scope::Entries, Scope::Targets));
        for key in [&ana, &ben] {
            assert_eq!(
                (key.log(), key.epoch(), key.id()),
                (&LOG, &epoch(), writing.id())
            );
            assert_eq!(key.secret().public().unwrap(), *writing.public());
        }
        assert_eq!(ben.target().unwrap()[..], writing.target()[..]);
        assert_eq!(record.open(&eve).err(), Some(EpochError::NotForThisReader));
    }

    #[test]
    fn a_new_reader_gets_old_keys_from_one_who_has_them() {
        let (ana, of_ana) = reader(1, Scope::Entries);
        let (ben, of_ben) = reader(2, Scope::Entries);
        let (_, mut record) = draw(&[of_ana]);
        let held = record.open(&ana).unwrap();
        record
            .add(held.wrap(&of_ben, &mut seeded(8)).unwrap())
            .unwrap();
        assert_eq!(record.open(&ben).unwrap().id(), held.id());
        let again = held.wrap(&of_ben, &mut seeded(9)).unwrap();
        let reader = of_ben.id();
        assert_eq!(record.add(again), Err(EpochError::TwiceTheSame { reader }));
        let more = Reader {
            scope: Scope::Targets,
            ..of_ben
        };
        assert_eq!(
            held.wrap(&more, &mut seeded(9)).err(),
            Some(EpochError::Scope)
        );
    }

    #[test]
    fn a_key_that_nobody_could_open_is_not_drawn() {
        let (_, ana) = reader(1, Scope::Entries);
        let draw =
            |readers: &[Reader]| WritingKey::draw(LOG, epoch(), readers, &mut seeded(7)).err();
        assert_eq!(draw(&[]), Some(EpochError::NoReaders));
        let reader = ana.id();
        assert_eq!(draw(&[ana, ana]), Some(EpochError::TwiceTheSame { reader }));
        assert_eq!(
            draw(&[ana; MOST_READERS + 1]),
            Some(EpochError::TooManyReaders)
        );
        let weak = Reader {
            key: PublicKey::new([0; KEY]),
            ..ana
        };
        assert_eq!(
            draw(&[ana, weak]),
            Some(EpochError::Hpke(HpkeError::PublicKey))
        );
        let dried = WritingKey::draw(LOG, epoch(), &[ana], &mut dry()).err();
        assert_eq!(dried, Some(EpochError::NoRandomness));
    }

    #[test]
    fn every_start_draws_another_key_of_the_same_epoch() {
        let (_, ana) = reader(1, Scope::Entries);
        let one = WritingKey::draw(LOG, epoch(), &[ana], &mut seeded(7))
            .unwrap()
            .0;
        let two = WritingKey::draw(LOG, epoch(), &[ana], &mut seeded(8))
            .unwrap()
            .0;
        assert_eq!(one.epoch(), two.epoch());
        assert_ne!(one.id(), two.id());
        assert_ne!(one.public(), two.public());
        assert_ne!(one.target()[..], two.target()[..]);
    }

    #[test]
    fn a_record_has_one_spelling() {
        let (_, ana) = reader(1, Scope::Entries);
        let bytes = draw(&[ana]).1.encode();
        assert!(KeyRecord::decode(&bytes).is_ok());
        let trailing = [&bytes[..], &[0]].concat();
        assert_eq!(KeyRecord::decode(&trailing), Err(EpochError::Record));
        // {0: 1, ..}: the version in two bytes.
        assert_eq!(bytes[..3], [0xa5, 0x00, 0x01]);
        let longer = [&[0xa5, 0x00, 0x18, 0x01], &bytes[3..]].concat();
        assert_eq!(KeyRecord::decode(&longer), Err(EpochError::Record));
        // 4: [{..}]: a list that claims more wraps than there is memory.
        let at = bytes.windows(3).position(|w| w == [0x04, 0x81, 0xa3]);
        let (before, after) = bytes.split_at(at.unwrap() + 1);
        let endless = [before, &[0x9b], &[0xff; 8], &after[1..]].concat();
        assert_eq!(KeyRecord::decode(&endless), Err(EpochError::Record));
    }

    #[test]
    fn a_wrap_of_another_key_than_the_record_names_is_refused() {
        let (ana, of_ana) = reader(1, Scope::Entries);
        let (ben, of_ben) = reader(2, Scope::Entries);
        let (_, mut record) = draw(&[of_ana]);
        let mut held = record.open(&ana).unwrap();
        held.secret = SecretKey::draw(&mut seeded(99)).unwrap();
        let wrap = held.wrap(&of_ben, &mut seeded(8)).unwrap();
        record.add(wrap).unwrap();
        assert_eq!(record.open(&ben).err(), Some(EpochError::Record));
    }

    #[test]
    fn the_fullest_record_is_within_its_bound() {
        let readers: Vec<Reader> = (0..MOST_READERS as u64)
            .map(|seed| reader(seed, Scope::Targets).1)
            .collect();
        let (_, record) = draw(&readers);
        let bytes = record.encode();
        assert!(bytes.len() <= MAX_RECORD, "{}", bytes.len());
        assert_eq!(KeyRecord::decode(&bytes), Ok(record));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_flipped_bit_of_a_record_keeps_it_shut(at: prop::sample::Index, bit in 0..8u8) {
            let (ana, of_ana) = reader(1, Scope::Targets);
            let mut bytes = draw(&[of_ana]).1.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let opened = KeyRecord::decode(&bytes).and_then(|record| record.open(&ana));
            prop_assert!(opened.is_err());
        }

        #[test]
        fn arbitrary_bytes_are_no_record_and_never_panic(bytes: Vec<u8>) {
            prop_assert_eq!(KeyRecord::decode(&bytes), Err(EpochError::Record));
        }
    }
}
