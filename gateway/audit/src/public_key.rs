//! The public key of a log as a file beside its directory, where `audit verify` looks for it.
//!
//! It is written once, and never again: what says which key is the right one must not follow the log.
//! When the key is rotated, the first one stays; the rotations in the log lead on from it.
//! Whoever can write there can change both, so a copy belongs on another machine.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::keygen::write_new;
use crate::merkle::key::{KeyError, Verifier};
use crate::merkle::rotation::Chain;

/// The name of the file.
pub const PUBLIC_KEY: &str = "log.vkey";

/// No file with a public key is longer than this, bytes.
const MAX_FILE: u64 = 4096;

/// Where the public key of the log in `directory` is looked for: beside it.
#[must_use]
pub fn beside(directory: &Path) -> PathBuf {
    // What lies beside a link is not what lies beside the log.
    let absolute = std::fs::canonicalize(directory).or_else(|_| std::path::absolute(directory));
    let directory = absolute.unwrap_or_default();
    let parent = directory.parent().unwrap_or(Path::new(""));
    parent.join(PUBLIC_KEY)
}

/// Reads a public key from a file.
///
/// # Errors
/// [`PublicKeyError`], with the path.
pub fn read(path: &Path) -> Result<Verifier, PublicKeyError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    let path = || path.to_owned();
    if let Err(error) = read {
        return Err(PublicKeyError::Read {
            path: path(),
            error,
        });
    }
    let key = String::from_utf8_lossy(&bytes).trim().parse();
    key.map_err(|error| PublicKeyError::NoKey {
        path: path(),
        error,
    })
}

/// Looks whether the file beside the log holds this key, or one that rotations led from, or is not
/// there. Returns whether it is.
///
/// # Errors
/// [`PublicKeyError`] when it holds another, or cannot be read. Fail closed: the log then goes on
/// with neither.
pub fn is_published(
    directory: &Path,
    key: &Verifier,
    rotations: &Chain,
) -> Result<bool, PublicKeyError> {
    let path = beside(directory);
    match read(&path) {
        Ok(known) if known == *key || rotations.behind_key(&known).is_some() => Ok(true),
        Ok(_) => Err(PublicKeyError::Another { path }),
        Err(PublicKeyError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Writes the key beside the log, for all to read; never over another file.
///
/// # Errors
/// What the operating system says.
pub fn publish(directory: &Path, key: &Verifier) -> io::Result<()> {
    write_new(&beside(directory), 0o644, format!("{key}\n").as_bytes())
}

/// Why a public key cannot be had.
#[derive(Debug)]
pub enum PublicKeyError {
    /// The file cannot be read.
    Read {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// The file holds none.
    NoKey {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyError,
    },
    /// The file holds another one.
    Another {
        /// Which.
        path: PathBuf,
    },
}

impl PublicKeyError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            PublicKeyError::Read { .. } => "it is a file of one line that the gateway wrote",
            PublicKeyError::NoKey { .. } => {
                "a key is one line such as log.example+033de0ae+Ac4z..."
            }
            PublicKeyError::Another { .. } => {
                "give the gateway the keys that belong to the log, or those that `audit rotate` made from them; or begin a new log in a directory of its own, with nothing beside it"
            }
        }
    }
}

impl fmt::Display for PublicKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublicKeyError::Read { path, error } => {
                write!(f, "cannot read the key {}: {error}", path.display())
            }
            PublicKeyError::NoKey { path, error } => {
                write!(f, "{} holds no public key: {error}", path.display())
            }
            PublicKeyError::Another { path } => write!(
                f,
                "{} holds another public key than the one that the log is signed with",
                path.display()
            ),
        }
    }
}

impl std::error::Error for PublicKeyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::hash::Hash;
    use crate::merkle::key::Signer;
    use crate::merkle::range::Head;
    use crate::merkle::rotation::Rotation;

    fn signer(seed: u8) -> Signer {
        Signer::new("example.com/log".parse().unwrap(), &[seed; 32]).unwrap()
    }

    fn key(seed: u8) -> Verifier {
        signer(seed).verifier().clone()
    }

    #[test]
    fn the_public_key_is_written_once_and_never_over_another() {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join("audit");
        std::fs::create_dir(&log).unwrap();
        assert!(!is_published(&log, &key(1), &Chain::default()).unwrap());
        publish(&log, &key(1)).unwrap();
        assert!(is_published(&log, &key(1), &Chain::default()).unwrap());
        assert_eq!(read(&place.path().join(PUBLIC_KEY)).unwrap(), key(1));
        assert!(matches!(
            is_published(&log, &key(2), &Chain::default()),
            Err(PublicKeyError::Another { .. })
        ));
        assert!(publish(&log, &key(2)).is_err());
        assert_eq!(read(&beside(&log)).unwrap(), key(1));
        // Rotations that lead from it.
        let rotation = |old, new| {
            let leaf = Hash::new([9; 32]);
            let behind = Head {
                size: 1,
                root: leaf,
            };
            Rotation::sign(&signer(old), &signer(new), behind).unwrap()
        };
        let mut chain = Chain::default();
        chain.push(rotation(1, 2)).unwrap();
        chain.push(rotation(2, 3)).unwrap();
        assert!(is_published(&log, &key(3), &chain).unwrap());
        let mut others = Chain::default();
        others.push(rotation(2, 3)).unwrap();
        assert!(is_published(&log, &key(3), &others).is_err());
        std::fs::write(beside(&log), "no key").unwrap();
        assert!(matches!(
            is_published(&log, &key(1), &Chain::default()),
            Err(PublicKeyError::NoKey { .. })
        ));
    }

    #[test]
    fn a_log_behind_a_link_has_its_key_beside_itself() {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join("there/audit");
        std::fs::create_dir_all(&log).unwrap();
        let link = place.path().join("here");
        std::os::unix::fs::symlink(&log, &link).unwrap();
        assert_eq!(
            beside(&link),
            std::fs::canonicalize(beside(&log).parent().unwrap())
                .unwrap()
                .join(PUBLIC_KEY)
        );
    }
}
