//! What a witness remembers: of each log, the last checkpoint that it cosigned.
//!
//! ```text
//! LOCK                       one process at a time
//! <SHA-256 of an origin>     checkpoint, signed by the log, cosigned by us (a signed note)
//! aside.new                  what is being written
//! ```
//!
//! A file is written aside, synced, renamed, and its directory synced: what survives a crash is the
//! checkpoint of before, or the new one, whole. Only then is the new one remembered, and its
//! cosignature leaves. What cannot be read back, or bears no cosignature of ours, stops the start.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::judge::Accepted;
use super::logs::Logs;
use crate::checkpoints::store::{ASIDE, Writer};
use crate::digest;
use crate::error::OpenError;
use crate::files::{self, Directory, Files as _};
use crate::lock;
use crate::log;
use crate::merkle::checkpoint::{Checkpoint, CheckpointError};
use crate::merkle::key::Verifier;
use crate::merkle::note::{self, Signature};
use crate::merkle::range::Head;
use crate::storage;

/// The name of a log in the state, and in what monitors ask for: the hash of its origin (C2SP
/// tlog-witness, "Monitor Retrieval Mechanism").
#[must_use]
pub fn name_of(origin: &str) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(64);
    for byte in digest::sha256(&[origin.as_bytes()]) {
        // Writing to a String does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// What was cosigned last.
#[derive(Debug)]
struct Latest {
    head: Head,
    note: String,
}

/// The state of a witness in its directory.
#[derive(Debug)]
pub(super) struct Store {
    files: Directory,
    writer: Writer,
    latest: BTreeMap<String, Latest>,
    /// Held as long as this lives.
    _lock: File,
}

impl Store {
    /// Takes up what is remembered of these logs. What is remembered of others stays where it is.
    pub(super) fn open(directory: &Path, logs: &Logs, own: &Verifier) -> Result<Store, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| StoreError::Disk { error })?;
        log::judge(directory).map_err(StoreError::from)?;
        let lock = lock::take(directory).map_err(StoreError::from)?;
        // A witness that forgets cosigns any history.
        storage::settle(directory).map_err(|error| StoreError::Disk { error })?;
        let files = Directory::new(directory);
        let mut latest = BTreeMap::new();
        for origin in logs.origins() {
            let name = name_of(origin);
            let read = files::read(&files, &name, note::MAX_BYTES);
            let Some(bytes) = read.map_err(|error| StoreError::Disk { error })? else {
                continue;
            };
            let found = read_back(&bytes, origin, own).map_err(|why| StoreError::Changed {
                name: name.clone(),
                why,
            })?;
            latest.insert(name, found);
        }
        let cleared = files.remove(ASIDE);
        cleared.map_err(|error| StoreError::Disk { error })?;
        Ok(Store {
            files,
            writer: Writer::default(),
            latest,
            _lock: lock,
        })
    }

    /// How large a log was, and with which root, when it was cosigned last.
    pub(super) fn head(&self, origin: &str) -> Head {
        let latest = self.latest.get(&name_of(origin));
        latest.map_or(Head::EMPTY, |latest| latest.head)
    }

    /// The last checkpoint of the log of this name.
    pub(super) fn latest(&self, name: &str) -> Option<&str> {
        self.latest.get(name).map(|latest| latest.note.as_str())
    }

    /// Remembers a checkpoint with its cosignature: durable when it returns. After an error the one
    /// of before is remembered; which of both lies on the disk does not matter, for the cosignature
    /// of the new one has not left.
    pub(super) fn remember(
        &mut self,
        accepted: Accepted,
        cosignature: &Signature,
    ) -> io::Result<()> {
        let head = accepted.checkpoint().head();
        let name = name_of(accepted.checkpoint().origin());
        let mut note = accepted.into_note();
        note.add(cosignature.clone()).map_err(io::Error::other)?;
        let note = note.to_string();
        let written = self
            .writer
            .put(&self.files, &name, note.as_bytes())
            .and_then(|()| self.writer.settle(&self.files));
        if let Err(error) = written {
            self.writer.forget();
            return Err(error);
        }
        self.latest.insert(name, Latest { head, note });
        Ok(())
    }
}

/// A checkpoint of this log that we cosigned. Which of the log's keys signed it is no matter any more.
fn read_back(bytes: &[u8], origin: &str, own: &Verifier) -> Result<Latest, CheckpointError> {
    let opened = Checkpoint::open(bytes, origin, std::slice::from_ref(own), &[])?;
    Ok(Latest {
        head: opened.checkpoint().head(),
        // A note is UTF-8, or it would not have been opened.
        note: String::from_utf8_lossy(bytes).into_owned(),
    })
}

/// Why the state cannot be taken up.
#[derive(Debug)]
pub enum StoreError {
    /// Another process has it.
    Locked,
    /// Others can write to the directory.
    Exposed {
        /// Its mode.
        mode: u32,
    },
    /// A file is not as it was left.
    Changed {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: CheckpointError,
    },
    /// What the operating system says.
    Disk {
        /// Its words.
        error: io::Error,
    },
}

impl From<OpenError> for StoreError {
    /// The lock and the directory are those of a log in miniature.
    fn from(error: OpenError) -> StoreError {
        match error {
            OpenError::Locked => StoreError::Locked,
            OpenError::Exposed { mode, .. } => StoreError::Exposed { mode },
            OpenError::Disk { error, .. } => StoreError::Disk { error },
            other => StoreError::Disk {
                error: io::Error::other(other),
            },
        }
    }
}

impl StoreError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            StoreError::Locked => {
                "one witness a directory: two that remember apart would cosign two histories of one log"
            }
            StoreError::Exposed { .. } => {
                "it must belong to the witness's user, or to root, and nobody else may write to it: chmod 700"
            }
            StoreError::Changed { .. } => {
                "keep it, and put back what was there; a witness that forgets cosigns any history. With another key, begin with another directory"
            }
            StoreError::Disk { .. } => {
                "check that the directory belongs to this user and that the disk has space"
            }
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Locked => f.write_str("another witness has this state"),
            StoreError::Exposed { mode } => {
                write!(f, "the state (mode {mode:04o}) can be written to by others")
            }
            StoreError::Changed { name, why } => {
                write!(f, "{name} in the state is not as it was left: {why}")
            }
            StoreError::Disk { error } => write!(f, "the state cannot be used: {error}"),
        }
    }
}

impl std::error::Error for StoreError {}
