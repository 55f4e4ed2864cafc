//! Opening the entries of a log for a reader: with the records of its keys, and the reader's own.
//!
//! Without a reader's key what is in the clear is told all the same. A key that the log got meanwhile is
//! looked for when the first entry under it comes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::key_records;
use crate::seal::epoch::{KeyId, ReadingKey};
use crate::seal::hpke::SecretKey;
use crate::seal::opener::{OpenError, Opener};
use crate::seal::sealed::{Header, Leaf, LeafError, Sealed};

/// Opens leaves.
pub struct Unsealer {
    directory: PathBuf,
    reader: Option<SecretKey>,
    opener: Opener,
    /// Keys that were looked for and are not to be had.
    missing: BTreeSet<KeyId>,
    /// Keys that are.
    held: BTreeSet<KeyId>,
}

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

    /// A key that only this reader has, for what `label` says; the same for all who have none.
    #[must_use]
    pub fn derive(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        match &self.reader {
            Some(reader) => reader.derive(label),
            None => Zeroizing::new([0; 32]),
        }
    }

    /// The canonical bytes of the entry that a leaf holds.
    ///
    /// # Errors
    /// [`UnsealError`], with what can be told without a key.
    pub fn unseal<'a>(&mut self, leaf: &'a [u8]) -> Result<Cow<'a, [u8]>, UnsealError> {
        let sealed = match Leaf::parse(leaf).map_err(UnsealError::Leaf)? {
            Leaf::Clear(bytes) => return Ok(Cow::Borrowed(bytes)),
            Leaf::Sealed(sealed) => sealed,
        };
        match self.open(&sealed) {
            Ok(bytes) => Ok(Cow::Owned(bytes)),
            Err(error) => Err(UnsealError::Sealed {
                header: Box::new(sealed.header),
                error,
            }),
        }
    }

    fn open(&mut self, sealed: &Sealed<'_>) -> Result<Vec<u8>, OpenError> {
        let opened = match self.opener.open(sealed) {
            Err(OpenError::NoKey { key }) if self.reader.is_some() && self.missing.insert(key) => {
                // The writer may have drawn it since; what cannot be listed now stays missing.
                let _ = self.look();
                self.opener.open(sealed)
            }
            opened => opened,
        }?;
        Ok(opened.plaintext().to_vec())
    }

    fn look(&mut self) -> io::Result<()> {
        let Some(reader) = &self.reader else {
            return Ok(());
        };
        let records = key_records::list(&self.directory)?;
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
