//! `audit rotate`: new keys for a log that goes on, and the rotation that leads to them.
//!
//! Reads the keys that the log has and the last checkpoint that they signed; writes beside nothing that
//! exists. The log is not touched: the gateway goes on with the new keys at its next start, and what
//! it signs until then with the old ones counts. Needs the old keys, so a log whose keys are lost
//! cannot be gone on with.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::checkpoints::history::MAX_RECORD;
use crate::checkpoints::store::CHECKPOINT;
use crate::files::{self, Directory};
use crate::keygen::{KEYS, write_new};
use crate::keys::{self, Keys, KeysError, MAX_FILE, system_random};
use crate::locked;
use crate::merkle::checkpoint::{Checkpoint, CheckpointError};
use crate::merkle::key::Verifier;
use crate::merkle::range::Head;
use crate::merkle::rotation::{self, Chain, Rotation, RotationError};

/// The rotations of a log as a file for whoever has one of its public keys: nothing secret.
pub const ROTATIONS: &str = "log.rotations";

/// No file of keys is longer than this when it is encrypted, bytes.
const MAX_LOCKED: usize = MAX_FILE * 4 / 3 + 1024;

/// So many keys in a row may be made that never signed.
const UNUSED: usize = 4;

/// What was made.
#[derive(Debug)]
pub struct Rotated {
    /// The files: the rotations, then the keys.
    pub paths: [PathBuf; 2],
    /// The new public key.
    pub key: Verifier,
}

/// Makes keys that follow those in the file `keys`, for the log in `directory`, and writes them into
/// `out`, which must exist. With a passphrase the new ones are encrypted, and the old ones may be.
///
/// What survives a crash here: whole files, the keys last.
///
/// # Errors
/// [`RotateError`]; nothing was written then.
pub fn rotate(
    directory: &Path,
    keys: &Path,
    passphrase: Option<&[u8]>,
    out: &Path,
) -> Result<Rotated, RotateError> {
    let text = read_keys(keys).map_err(|error| RotateError::Read {
        path: keys.to_owned(),
        error,
    })?;
    let of_file = |error| RotateError::Keys {
        path: keys.to_owned(),
        error,
    };
    let opens = passphrase.filter(|_| locked::is_locked(&text));
    let text = keys::clear(&text, opens).map_err(of_file)?;
    let old = Keys::parse(&text).map_err(of_file)?;
    let behind = last_head(directory, &old)?;
    let (next, chain) = Keys::rotate(&text, behind, &mut system_random).map_err(of_file)?;
    if next.len() > MAX_FILE {
        return Err(of_file(KeysError::Rotation {
            number: next.lines().count(),
            error: RotationError::TooMany,
        }));
    }
    let next = keys::file(&next, passphrase).map_err(of_file)?;
    let key = chain.keys().last();
    let key = key.expect("a rotation leads to a key").clone();
    let rotations = rotation::write(&chain);
    let paths = [out.join(ROTATIONS), out.join(KEYS)];
    let files = [(0o644, rotations.as_bytes()), (0o600, next.as_bytes())];
    for (at, (path, (mode, content))) in paths.iter().zip(files).enumerate() {
        if let Err(error) = write_new(path, mode, content) {
            for written in &paths[..at] {
                // What cannot be taken back stays; the next attempt names it.
                let _ = std::fs::remove_file(written);
            }
            let path = path.clone();
            return Err(RotateError::Write { path, error });
        }
    }
    Ok(Rotated { paths, key })
}

fn read_keys(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Sized ahead, so that no half of it is left behind by a buffer that grew.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_LOCKED + 2));
    let file = File::open(path)?;
    file.take(MAX_LOCKED as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// What the log holds by its last checkpoint, which these keys, or earlier ones that led to them, signed.
fn last_head(directory: &Path, keys: &Keys) -> Result<Head, RotateError> {
    let note = files::read(&Directory::new(directory), CHECKPOINT, MAX_RECORD);
    let note = note.map_err(|error| RotateError::Read {
        path: directory.join(CHECKPOINT),
        error,
    })?;
    let note = note.ok_or(RotateError::Unsigned)?;
    let own = keys.signer.verifier();
    let earlier = keys.rotations.keys().filter(|key| *key != own);
    let known: Vec<Verifier> = [own].into_iter().chain(earlier).cloned().collect();
    let opened = Checkpoint::open(&note, own.name().as_str(), &known, &[]);
    let opened = opened.map_err(RotateError::Checkpoint)?;
    let signed = opened.signed()[0].key();
    let unused = keys.rotations.behind_key(signed).map_or(0, <[_]>::len);
    if unused >= UNUSED {
        return Err(RotateError::Unused { unused });
    }
    match opened.checkpoint().head() {
        Head { size: 0, .. } => Err(RotateError::Unsigned),
        head => Ok(head),
    }
}

/// Reads the file of rotations.
///
/// # Errors
/// [`RotateError`], with the path.
pub fn read_rotations(path: &Path) -> Result<Chain, RotateError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| {
        file.take(rotation::MAX_BYTES as u64 + 1)
            .read_to_end(&mut text)
    });
    if let Err(error) = read {
        let path = path.to_owned();
        return Err(RotateError::Read { path, error });
    }
    rotation::read_all(&text).map_err(|error| RotateError::Rotations {
        path: path.to_owned(),
        error,
    })
}

/// The public keys of a log that count, by the one that was given.
#[derive(Debug)]
pub struct Known {
    /// The one that was given.
    given: Verifier,
    /// Those that it led to, each with the least size of a log that is signed with it.
    later: Vec<(Verifier, u64)>,
    /// All that are known of, for what was kept: an older checkpoint that is proved to be a part of
    /// a later one needs no key that is still to be trusted.
    all: Vec<Verifier>,
}

impl Known {
    /// This key, and what the rotations lead to from it.
    #[must_use]
    pub fn new(given: Verifier, rotations: &Chain) -> Known {
        let next = rotations.behind_key(&given).unwrap_or_default();
        let led = |rotation: &Rotation| (rotation.new_key().clone(), rotation.behind().size);
        let all = match rotations.behind_key(&given) {
            Some(_) => rotations.keys().cloned().collect(),
            None => vec![given.clone()],
        };
        Known {
            later: next.iter().map(led).collect(),
            all,
            given,
        }
    }

    /// The key that was given.
    #[must_use]
    pub fn given(&self) -> &Verifier {
        &self.given
    }

    /// All keys of the log that are known of, earlier ones too.
    #[must_use]
    pub fn all(&self) -> &[Verifier] {
        &self.all
    }

    /// What is proved with the key that was given, or with one that it led to; else why not with the
    /// one that was given. `check` says of which size the log is that it was proved of.
    ///
    /// # Errors
    /// Those of `check` for the key that was given.
    pub fn with_any<T, E>(
        &self,
        mut check: impl FnMut(&Verifier) -> Result<(T, u64), E>,
    ) -> Result<T, E> {
        let refused = match check(&self.given) {
            Ok((proved, _)) => return Ok(proved),
            Err(refused) => refused,
        };
        for (key, least) in &self.later {
            if let Ok((proved, size)) = check(key)
                && size >= *least
            {
                return Ok(proved);
            }
        }
        Err(refused)
    }
}

/// Why no new keys were made.
#[derive(Debug)]
pub enum RotateError {
    /// A file cannot be read.
    Read {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// A file holds no keys, or none that can be gone on with.
    Keys {
        /// Which.
        path: PathBuf,
        /// Why.
        error: KeysError,
    },
    /// A file holds no rotations.
    Rotations {
        /// Which.
        path: PathBuf,
        /// Why.
        error: RotationError,
    },
    /// Nothing is signed yet.
    Unsigned,
    /// The last checkpoint is none of these keys.
    Checkpoint(CheckpointError),
    /// The last keys never signed anything.
    Unused {
        /// How many.
        unused: usize,
    },
    /// A file cannot be written.
    Write {
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

impl RotateError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            RotateError::Read { .. } => {
                "name the log's directory, and a file that this user may read"
            }
            RotateError::Keys { error, .. } => error.hint(),
            RotateError::Rotations { .. } => {
                "it is the file log.rotations that `audit rotate` wrote"
            }
            RotateError::Unsigned => {
                "a log that is not signed yet needs no new keys: make its first ones with `audit keygen`"
            }
            RotateError::Checkpoint(_) => {
                "name the keys that the log is signed with, which [audit] keys names in the gateway's configuration"
            }
            RotateError::Unused { .. } => {
                "start the gateway with the keys that you have, then make the next ones"
            }
            RotateError::Write { error, .. } => match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    "nothing is replaced: name another directory, and keep the old keys until the gateway runs with the new ones"
                }
                io::ErrorKind::NotFound => "name a directory that exists",
                _ => "check that this user can write to the directory",
            },
        }
    }
}

impl std::fmt::Display for RotateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RotateError::Read { path, error } => {
                write!(f, "cannot read {}: {error}", path.display())
            }
            RotateError::Keys { path, error } => {
                write!(f, "{} cannot be gone on with: {error}", path.display())
            }
            RotateError::Rotations { path, error } => {
                write!(f, "{} holds no rotations: {error}", path.display())
            }
            RotateError::Unsigned => f.write_str("the log is not signed yet"),
            RotateError::Checkpoint(error) => {
                write!(f, "the last checkpoint is not one of these keys: {error}")
            }
            RotateError::Unused { unused } => {
                write!(f, "the last {unused} keys have signed nothing yet")
            }
            RotateError::Write { path, error } => {
                write!(f, "cannot write {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for RotateError {}
