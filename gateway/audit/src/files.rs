//! The log's directory as its tree sees it: small files that are written aside, synced and renamed.
//!
//! Each operation is one step of the operating system and no more: what survives a crash is decided
//! by the order in which the caller syncs. [`Directory`] is the real one. The trait exists so that
//! the tests can put one in its place that forgets whatever was not synced.
//!
//! Paths are relative to the log's directory, with `/` between names; the empty path is the
//! directory itself.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::storage;

/// A directory with files and directories below it.
pub trait Files: Send + Sync {
    /// The names in a directory; nothing when it is not there.
    fn list(&self, directory: &str) -> io::Result<Option<Vec<String>>>;

    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// How long a file is, bytes.
    fn length(&self, path: &str) -> io::Result<u64>;

    /// Whether this is a directory, and no link to one.
    fn is_directory(&self, path: &str) -> io::Result<bool>;

    /// Makes a directory; one that is there already is no error. Not synced.
    fn make_directory(&self, path: &str) -> io::Result<()>;

    /// Writes at `offset` of a file, which is made when it is not there. Not synced.
    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes a file, which must be there, so long. Not synced.
    fn cut(&self, path: &str, bytes: u64) -> io::Result<()>;

    /// Gives a file another name, in place of whatever had it. Not synced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, or an empty directory; one that is not there is no error. Not synced.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes the content of a file, or the names in a directory, durable.
    fn sync(&self, path: &str) -> io::Result<()>;
}

/// The whole of a file that should be no longer than `limit` bytes; nothing when it is not there.
/// One that is longer is cut behind one byte more, so that the caller sees that it is wrong.
///
/// # Errors
/// What the operating system says.
pub fn read(files: &dyn Files, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; limit + 1];
    match files.read_at(path, 0, &mut bytes) {
        Ok(filled) => {
            bytes.truncate(filled);
            Ok(Some(bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The directory that a path stands in.
#[must_use]
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Whether a name in the log's directory is of what can be made again from the log: `index*`, `*.cursor`
/// (AUDIT.md). Everything else there is evidence.
#[must_use]
pub fn is_no_evidence(name: &str) -> bool {
    // The names are the interface, so their case counts.
    name.starts_with("index") || name.strip_suffix(".cursor").is_some()
}

/// A directory on a real disk.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    /// The permissions of directories that are made in it; files have them but for execution.
    mode: u32,
}

impl Directory {
    /// The directory of this path; what is made in it is its user's alone. Nothing is looked at yet.
    #[must_use]
    pub fn new(path: &Path) -> Directory {
        Directory {
            path: path.to_owned(),
            mode: 0o700,
        }
    }

    /// The same; what is made in it is for whoever the directory itself is for, as far as the process's
    /// umask allows.
    ///
    /// # Errors
    /// The operating system's, when the directory cannot be looked at.
    pub fn as_open_as_it_is(self) -> io::Result<Directory> {
        let mode = std::fs::metadata(&self.path)?.permissions().mode() & 0o777;
        Ok(Directory { mode, ..self })
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() {
            // Joined with nothing, a path gets a slash that says nothing either.
            self.path.clone()
        } else {
            self.path.join(path)
        }
    }
}

impl Files for Directory {
    fn list(&self, directory: &str) -> io::Result<Option<Vec<String>>> {
        match storage::list(&self.path(directory)) {
            Ok(names) => Ok(Some(names)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        storage::read_at(&storage::regular(&self.path(path))?, offset, buffer)
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        Ok(storage::regular(&self.path(path))?.metadata()?.len())
    }

    fn is_directory(&self, path: &str) -> io::Result<bool> {
        match std::fs::symlink_metadata(self.path(path)) {
            Ok(metadata) => Ok(metadata.is_dir()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn make_directory(&self, path: &str) -> io::Result<()> {
        match DirBuilder::new().mode(self.mode).create(self.path(path)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(self.mode & 0o666)
            .custom_flags(storage::guarded())
            .open(self.path(path))?;
        file.write_all_at(bytes, offset)
    }

    fn cut(&self, path: &str, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(storage::guarded())
            .open(self.path(path))?;
        file.set_len(bytes)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        let removed = match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => std::fs::remove_dir(path),
            Ok(_) => std::fs::remove_file(path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }
}
