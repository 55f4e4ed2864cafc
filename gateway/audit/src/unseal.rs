//! Opening the entries of a log for a reader: with the records of its keys, and the reader's own.
//!
//! Without a reader's key what is in the clear is told all the same. A key that the log got meanwhile is
//! looked for when the first entry under it comes: of a log that is full of foreign keys so many, and
//! again when the log tells of a key.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::event::Entry;
use crate::key_records;
use crate::seal::epoch::{KeyId, ReadingKey};
use crate::seal::hpke::SecretKey;
use crate::seal::opener::{OpenError, Opened, Opener};
use crate::seal::sealed::{Header, Kind, Leaf, LeafError, Sealed, facts};
use crate::seal::target::OpenedTarget;

/// Opens leaves.
pub struct Unsealer {
    directory: PathBuf,
    reader: Option<SecretKey>,
    opener: Opener,
    /// Keys that were looked for and are not to be had, since the log last told of one.
    missing: BTreeSet<KeyId>,
    /// Keys that are.
    held: BTreeSet<KeyId>,
    /// Keys of which there is a record, for whomever.
    recorded: BTreeSet<KeyId>,
    /// Whether the records could not be listed when they were last looked at.
    is_blind: bool,
}

/// So many keys that are not to be had are looked for, one after the other.
const MOST_MISSING: usize = 1024;

impl fmt::Debug for Unsealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unsealer({})", self.directory.display())
    }
}

impl Unsealer {
    /// For the log in `directory`, which may be written to meanwhile. Without a reader's key nothing
    /// that is sealed opens.
    ///
    /// # Errors
    /// What the operating system says when the records of keys cannot be read.
    pub fn new(directory: &Path, reader: Option<SecretKey>) -> io::Result<Unsealer> {
        let mut unsealer = Unsealer {
            directory: directory.to_owned(),
            reader,
            opener: Opener::new(Vec::new()),
            missing: BTreeSet::new(),
            held: BTreeSet::new(),
            recorded: BTreeSet::new(),
            is_blind: false,
        };
        unsealer.look()?;
        Ok(unsealer)
    }

    /// Whether there is a reader's key.
    #[must_use]
    pub fn has_reader(&self) -> bool {
        self.reader.is_some()
    }

    /// Whether what is sealed under this key of the log opens.
    #[must_use]
    pub fn holds(&self, key: KeyId) -> bool {
        self.held.contains(&key)
    }

    /// Whether there is no record of this key of the log for anybody: it was destroyed, as `audit keep` tells,
    /// or somebody removed it, as `audit verify` does. A reader alone can tell.
    #[must_use]
    pub fn is_gone(&self, key: KeyId) -> bool {
        self.reader.is_some() && !self.is_blind && !self.recorded.contains(&key)
    }

    /// A key that only this reader has, to seal with it what `label` says (HMAC-SHA-256); the same for
    /// all who have none.
    #[must_use]
    pub fn sealing_key(&self, label: &[u8]) -> hmac::Key {
        let secret = match &self.reader {
            Some(reader) => reader.derive(label),
            None => Zeroizing::new([0; 32]),
        };
        hmac::Key::new(hmac::HMAC_SHA256, &secret[..])
    }

    /// The canonical bytes of the entry that a leaf holds.
    ///
    /// # Errors
    /// [`UnsealError`], with what can be told without a key.
    pub fn unseal<'a>(&mut self, leaf: &'a [u8]) -> Result<Cow<'a, [u8]>, UnsealError> {
        let sealed = match Leaf::parse(leaf).map_err(UnsealError::Leaf)? {
            Leaf::Clear(bytes) => {
                if facts(bytes).is_some_and(|(_, kind)| kind == Kind::EPOCH_KEY) {
                    self.missing.clear();
                }
                return Ok(Cow::Borrowed(bytes));
            }
            Leaf::Sealed(sealed) => sealed,
        };
        match self.open(&sealed) {
            Ok(opened) => Ok(Cow::Owned(opened.plaintext().to_vec())),
            Err(error) => Err(UnsealError::Sealed {
                header: Box::new(sealed.header),
                error,
            }),
        }
    }

    /// Opens a sealed leaf, with what it takes to disclose it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&mut self, sealed: &Sealed<'_>) -> Result<Opened, OpenError> {
        match self.opener.open(sealed) {
            Err(OpenError::NoKey { key }) if self.is_worth_a_look(key) => {
                // The writer may have drawn it since. What cannot be listed now is not gone for that.
                self.is_blind = self.look().is_err();
                if self.is_blind {
                    self.missing.remove(&key);
                }
                self.opener.open(sealed)
            }
            opened => opened,
        }
    }

    /// Opens the raw target of the request that `entry`, which is what `leaf` holds, is about, with
    /// what it takes to disclose it; nothing when there is none in it.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Scope`] when the reader may not open targets.
    pub fn target(
        &mut self,
        leaf: &[u8],
        entry: &Entry<'_>,
    ) -> Result<Option<OpenedTarget>, OpenError> {
        let block = entry.event.request().and_then(|request| request.target);
        match (block, Leaf::parse(leaf)) {
            (Some(block), Ok(Leaf::Sealed(sealed))) => {
                self.opener.open_target(&sealed, block).map(Some)
            }
            // Nothing in the clear has one that anybody could open.
            (Some(_), _) => Err(OpenError::Changed),
            (None, _) => Ok(None),
        }
    }

    fn is_worth_a_look(&mut self, key: KeyId) -> bool {
        self.reader.is_some() && self.missing.len() < MOST_MISSING && self.missing.insert(key)
    }

    fn look(&mut self) -> io::Result<()> {
        let Some(reader) = &self.reader else {
            return Ok(());
        };
        let records = key_records::list(&self.directory)?;
        let names = records.iter().filter_map(|found| found.record.as_ref());
        let names = names.filter_map(|(record, _)| Some(record.names()?.1));
        self.recorded = names.collect();
        // A record for others, or one that was changed, gives no key: its entries say so.
        let keys = records
            .into_iter()
            .filter_map(|found| found.record?.0.open(reader).ok());
        let keys: Vec<_> = keys.collect();
        self.held = keys.iter().map(ReadingKey::id).collect();
        self.opener = Opener::new(keys);
        Ok(())
    }
}

/// Why a leaf is not shown.
#[derive(Debug)]
pub enum UnsealError {
    /// It is no leaf.
    Leaf(LeafError),
    /// It is sealed, and does not open.
    Sealed {
        /// What stands in the clear.
        header: Box<Header>,
        /// Why.
        error: OpenError,
    },
}

impl fmt::Display for UnsealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnsealError::Leaf(error) => error.fmt(f),
            UnsealError::Sealed { error, .. } => error.fmt(f),
        }
    }
}

impl std::error::Error for UnsealError {}
