//! Files that survive a crash whole or not at all: read with a bound, created new, replaced in one
//! step, and synced before anybody is told that they are there.
//!
//! It knows paths, modes and bytes, not what the bytes mean. Several files that belong together are
//! `staging`'s business.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// The owner alone: 0600, directories 0700.
    Owner,
    /// Everybody: 0644, directories 0755.
    Everybody,
}

impl Readers {
    pub(crate) fn file_mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o644,
        }
    }

    pub(crate) fn directory_mode(self) -> u32 {
        match self {
            Self::Owner => 0o700,
            Self::Everybody => 0o755,
        }
    }
}

/// Reads a file of at most `limit` octets. Of a longer one, or of one without end, no more is read
/// than shows that it is too long.
pub fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(|source| FileError::io(Doing::Open, path, source))?;
    read_open(&file, path, limit).map(|mut bytes| std::mem::take(&mut *bytes))
}

/// Reads a file that holds a secret. Refuses one that others than its owner may open, and leaves
/// no second copy of its content in memory.
pub fn read_secret(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = File::open(path).map_err(|source| FileError::io(Doing::Open, path, source))?;
    let mode = file
        .metadata()
        .map_err(|source| FileError::io(Doing::Open, path, source))?
        .mode();
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed {
            path: path.to_owned(),
            mode: mode & 0o777,
        });
    }
    read_open(&file, path, limit)
}

fn read_open(file: &File, path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    // Room for everything from the start: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| FileError::io(Doing::Read, path, source))?;
    if bytes.len() > limit {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// Creates a file that did not exist, and syncs it. Never overwrites, never follows a link.
/// On failure no file stays behind.
pub fn create_new(path: &Path, readers: Readers, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(readers.file_mode())
        .open(path)
        .map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists {
                path: path.to_owned(),
            },
            _ => FileError::io(Doing::Create, path, source),
        })?;
    write_and_sync(&mut file, readers, bytes).map_err(|source| {
        let _ = fs::remove_file(path);
        FileError::io(Doing::Write, path, source)
    })
}

/// Puts `bytes` in the place of `target` in one step: a reader sees the old file or the new one,
/// never a part. `scratch` is where they are written first, on the same file system and used by
/// nobody else at this time. Synced, file and directory.
pub fn replace(
    target: &Path,
    scratch: &Path,
    readers: Readers,
    bytes: &[u8],
) -> Result<(), FileError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(readers.file_mode())
        .open(scratch)
        .map_err(|source| FileError::io(Doing::Create, scratch, source))?;
    let result = write_and_sync(&mut file, readers, bytes)
        .map_err(|source| FileError::io(Doing::Write, scratch, source))
        .and_then(|()| {
            fs::rename(scratch, target)
                .map_err(|source| FileError::io(Doing::Rename, target, source))
        });
    if result.is_err() {
        let _ = fs::remove_file(scratch);
    }
    result?;
    sync_directory(parent_of(target))
}

fn write_and_sync(file: &mut File, readers: Readers, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    // Said again, because the umask may have taken bits away that readers of a CRL need.
    file.set_permissions(Permissions::from_mode(readers.file_mode()))?;
    file.sync_all()
}

/// Creates one directory that did not exist.
pub fn create_directory(path: &Path, readers: Readers) -> Result<(), FileError> {
    DirBuilder::new()
        .mode(readers.directory_mode())
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(readers.directory_mode())))
        .map_err(|source| FileError::io(Doing::Create, path, source))
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| FileError::io(Doing::Sync, path, source))
}

/// The directory that holds `path`; the current one for a bare name.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What failed on a file or directory.
#[derive(Debug)]
pub enum FileError {
    /// The operating system said no.
    Io {
        /// What was attempted.
        doing: Doing,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// There is something already.
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// More octets than are read.
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit in octets.
        limit: usize,
    },
    /// A secret that others may open.
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The random source failed.
    NoRandomness,
}

/// What was attempted on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Opening it.
    Open,
    /// Reading it.
    Read,
    /// Creating it.
    Create,
    /// Writing or syncing its content.
    Write,
    /// Syncing its directory.
    Sync,
    /// Giving it its name.
    Rename,
    /// Locking it.
    Lock,
}

impl FileError {
    pub(crate) fn io(doing: Doing, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io {
                doing,
                path,
                source,
            } => {
                let verb = match doing {
                    Doing::Open => "open",
                    Doing::Read => "read",
                    Doing::Create => "create",
                    Doing::Write => "write",
                    Doing::Sync => "sync",
                    Doing::Rename => "put in place",
                    Doing::Lock => "lock",
                };
                write!(f, "cannot {verb} {}: {source}", path.display())
            }
            Self::Exists { path } => write!(f, "{} exists already", path.display()),
            Self::TooLarge { path, limit } => {
                write!(f, "{} is larger than {limit} octets", path.display())
            }
            Self::Exposed { path, mode } => write!(
                f,
                "{} holds a secret and has mode {mode:04o}, so others may read it",
                path.display()
            ),
            Self::NoRandomness => write!(f, "the system's random source failed"),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Exists { .. }
            | Self::TooLarge { .. }
            | Self::Exposed { .. }
            | Self::NoRandomness => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    pub(crate) fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    pub(crate) fn names_in(path: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused_and_one_at_the_limit_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read_bounded(&path, 10).unwrap(), [7; 10]);
        assert!(matches!(
            read_bounded(&path, 9),
            Err(FileError::TooLarge { limit: 9, .. })
        ));
    }

    #[test]
    fn a_file_without_end_is_refused() {
        assert!(matches!(
            read_bounded(Path::new("/dev/zero"), 100),
            Err(FileError::TooLarge { .. })
        ));
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create_new(&path, Readers::Owner, b"secret").unwrap();
        assert_eq!(&**read_secret(&path, 100).unwrap(), b"secret");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            read_secret(&path, 100),
            Err(FileError::Exposed { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_new_file_never_overwrites_and_never_follows_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create_new(&path, Readers::Owner, b"first").unwrap();
        assert_eq!(mode_of(&path), 0o600);
        assert!(matches!(
            create_new(&path, Readers::Owner, b"second"),
            Err(FileError::Exists { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"first");
        let link = dir.path().join("link");
        symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert!(create_new(&link, Readers::Owner, b"x").is_err());
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn replacing_leaves_the_new_file_readable_and_no_scratch() {
        let dir = tempfile::tempdir().unwrap();
        let (target, scratch) = (dir.path().join("crl"), dir.path().join("crl.new"));
        for bytes in [b"one", b"two"] {
            replace(&target, &scratch, Readers::Everybody, bytes).unwrap();
            assert_eq!(fs::read(&target).unwrap(), bytes);
        }
        assert_eq!(mode_of(&target), 0o644);
        assert_eq!(names_in(dir.path()), ["crl"]);
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("crl");
        fs::create_dir(&target).unwrap();
        let scratch = dir.path().join("crl.new");
        assert!(replace(&target, &scratch, Readers::Everybody, b"x").is_err());
        assert_eq!(names_in(dir.path()), ["crl"]);
    }
}
