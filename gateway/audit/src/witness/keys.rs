//! The key of a witness as two files: the secret half stays with it, the public half goes to whoever
//! relies on its cosignatures.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::keygen::write_new;
use crate::keys::system_random;
use crate::merkle::key::{Cosigner, KEY_BYTES, KeyError, KeyName};
use crate::seal::NoRandomness;

/// The secret half.
pub const SECRET: &str = "witness.key";

/// The public half: what gateways and verifiers are given.
pub const PUBLIC: &str = "witness.vkey";

/// No file with a key is longer than this, bytes.
const MAX_FILE: u16 = 4096;

/// Writes a fresh pair into `directory`, which must exist; returns the paths. Nothing that exists is
/// replaced. What survives a crash here: whole files; without the secret half, which comes last, the
/// other serves nothing.
///
/// # Errors
/// [`KeyFileError`]; nothing was written then.
pub fn keygen(directory: &Path, name: &KeyName) -> Result<[PathBuf; 2], KeyFileError> {
    let mut seed = Zeroizing::new([0; KEY_BYTES]);
    system_random(&mut seed[..]).map_err(|NoRandomness| KeyFileError::NoRandomness)?;
    let [public, secret] = [PUBLIC, SECRET].map(|name| directory.join(name));
    let no_key = |error| KeyFileError::NoKey {
        path: secret.clone(),
        error,
    };
    let cosigner = Cosigner::new(name.clone(), &seed).map_err(no_key)?;
    let mut text = Cosigner::write(name.clone(), &seed).map_err(no_key)?;
    text.push('\n');
    let vkey = format!("{}\n", cosigner.verifier());
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| KeyFileError::Write { path, error }
    };
    write_new(&public, 0o644, vkey.as_bytes()).map_err(failed(&public))?;
    if let Err(error) = write_new(&secret, 0o600, text.as_bytes()) {
        // What cannot be taken back stays; the next attempt names it.
        let _ = std::fs::remove_file(&public);
        return Err(failed(&secret)(error));
    }
    Ok([public, secret])
}

/// Reads the secret half.
///
/// # Errors
/// [`KeyFileError`]; it holds nothing of what was read.
pub fn read(path: &Path) -> Result<Cosigner, KeyFileError> {
    // Sized ahead, so that no half of it is left behind by a buffer that grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE.into()));
    let read = File::open(path).and_then(|file| file.take(MAX_FILE.into()).read_to_end(&mut bytes));
    let path = || path.to_owned();
    if let Err(error) = read {
        let path = path();
        return Err(KeyFileError::Read { path, error });
    }
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    Cosigner::read(text.trim()).map_err(|error| KeyFileError::NoKey {
        path: path(),
        error,
    })
}

/// Why there is no key.
#[derive(Debug)]
pub enum KeyFileError {
    /// No fresh bytes.
    NoRandomness,
    /// The file cannot be written.
    Write {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
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
}

impl KeyFileError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            KeyFileError::NoRandomness => "check the system's random number generator",
            KeyFileError::Write { error, .. } => match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    "whoever knows this witness knows it by this key; name another directory for a new one"
                }
                io::ErrorKind::NotFound => "name a directory that exists",
                _ => "check that this user can write to the directory",
            },
            KeyFileError::Read { .. } | KeyFileError::NoKey { .. } => {
                "it is the file witness.key that `audit witness keygen` wrote"
            }
        }
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFileError::NoRandomness => NoRandomness.fmt(f),
            KeyFileError::Write { path, error } => {
                write!(f, "cannot write {}: {error}", path.display())
            }
            KeyFileError::Read { path, error } => {
                write!(f, "cannot read {}: {error}", path.display())
            }
            KeyFileError::NoKey { path, error } => {
                write!(f, "{} holds no key of a witness: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for KeyFileError {}
