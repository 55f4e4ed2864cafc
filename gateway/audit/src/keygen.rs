//! `audit keygen`: the keys of a log and the key pair of a reader, as files.
//!
//! Nothing that exists is replaced, and what was written before something failed is taken back: keys
//! are never lost here, and there is never half of a set.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::keys::{self, Keys, KeysError, system_random};
use crate::merkle::key::KeyName;
use crate::seal::reader::{self, ReaderError};

/// The log's own keys: a secret of the gateway.
pub const KEYS: &str = "audit.keys";

/// The secret half of a reader: a secret of the reader, which the gateway never needs.
pub const READER_SECRET: &str = "reader.key";

/// The public half of a reader.
pub const READER_PUBLIC: &str = "reader.pem";

/// Writes all three into `directory`, which must exist; returns their paths. With a passphrase the log's
/// own keys are encrypted with it.
///
/// What survives a crash here: whole files, the log's own keys last. Without those the others serve
/// nothing yet.
///
/// # Errors
/// [`KeygenError`]; nothing was written then.
pub fn keygen(
    directory: &Path,
    name: &KeyName,
    passphrase: Option<&[u8]>,
) -> Result<[PathBuf; 3], KeygenError> {
    let keys = Keys::draw(name, &mut system_random)
        .and_then(|text| keys::file(&text, passphrase))
        .map_err(KeygenError::Keys)?;
    let (secret, public) = reader::draw(&mut system_random).map_err(KeygenError::Reader)?;
    let files = [
        (READER_SECRET, 0o600, secret.as_bytes()),
        (READER_PUBLIC, 0o644, public.as_bytes()),
        (KEYS, 0o600, keys.as_bytes()),
    ];
    let paths = files.map(|(name, ..)| directory.join(name));
    for (at, (path, (_, mode, content))) in paths.iter().zip(files).enumerate() {
        if let Err(error) = write_new(path, mode, content) {
            for written in &paths[..at] {
                // What cannot be taken back stays; the next attempt names it.
                let _ = std::fs::remove_file(written);
            }
            let path = path.clone();
            return Err(KeygenError::Write { path, error });
        }
    }
    Ok(paths)
}

/// Writes a file that did not exist: whole, or not at all.
pub(crate) fn write_new(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.new", std::process::id()));
    let aside = PathBuf::from(aside);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&aside)?;
    let written = (&file)
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| {
            Ok(renameat_with(
                CWD,
                &aside,
                CWD,
                path,
                RenameFlags::NOREPLACE,
            )?)
        });
    if written.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    written
}

/// Why no keys were made.
#[derive(Debug)]
pub enum KeygenError {
    /// They could not be drawn.
    Keys(KeysError),
    /// The reader's could not be drawn.
    Reader(ReaderError),
    /// They could not be written.
    Write {
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

impl KeygenError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            KeygenError::Keys(error) => error.hint(),
            KeygenError::Reader(error) => error.hint(),
            KeygenError::Write { error, .. } => match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    "a log that has keys needs these and no others; name another directory for new ones"
                }
                io::ErrorKind::NotFound => "name a directory that exists",
                _ => "check that this user can write to the directory",
            },
        }
    }
}

impl std::fmt::Display for KeygenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeygenError::Keys(error) => error.fmt(f),
            KeygenError::Reader(error) => error.fmt(f),
            KeygenError::Write { path, error } => {
                write!(f, "cannot write {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for KeygenError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn names(directory: &Path) -> Vec<String> {
        let mut names = crate::storage::list(directory).unwrap();
        names.sort();
        names
    }

    #[test]
    fn secrets_are_for_their_owner_alone_and_nothing_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let name = "clinic.example/audit".parse().unwrap();
        let paths = keygen(directory.path(), &name, None).unwrap();
        let modes = paths
            .each_ref()
            .map(|path| std::fs::metadata(path).unwrap().mode() & 0o777);
        assert_eq!(modes, [0o600, 0o644, 0o600]);
        let keys = std::fs::read(&paths[2]).unwrap();
        Keys::parse(&keys).unwrap();
        // Whichever of them is there, nothing is written.
        for left in [0, 2] {
            for (at, path) in paths.iter().enumerate() {
                if at != left {
                    let _ = std::fs::remove_file(path);
                }
            }
            std::fs::write(&paths[left], "precious").unwrap();
            let error = keygen(directory.path(), &name, None).unwrap_err();
            assert!(error.hint().contains("needs these and no others"));
            assert_eq!(std::fs::read(&paths[left]).unwrap(), b"precious");
            assert_eq!(names(directory.path()).len(), 1, "{left}");
        }
    }
}
