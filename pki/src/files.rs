//! Files that survive a crash whole or not at all: read with a bound, created new, replaced in one
//! step, prepared in a directory aside and then handed out.
//!
//! It knows paths, modes and bytes, not what the bytes mean. Whoever dies between two steps leaves
//! at most a locked directory `.pki-…` behind, which the next one sweeps away.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use zeroize::Zeroizing;

use crate::public_key::hex;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// The owner alone: 0600, directories 0700.
    Owner,
    /// Everybody: 0644, directories 0755.
    Everybody,
}

impl Readers {
    fn file_mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o644,
        }
    }

    fn directory_mode(self) -> u32 {
        match self {
            Self::Owner => 0o700,
            Self::Everybody => 0o755,
        }
    }
}

/// Reads a file of at most `limit` octets; a longer one is refused before it is read.
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
    let too_large = || FileError::TooLarge {
        path: path.to_owned(),
        limit,
    };
    let size = file
        .metadata()
        .map_err(|source| FileError::io(Doing::Open, path, source))?
        .len();
    if size > limit as u64 {
        return Err(too_large());
    }
    // Room for everything from the start: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| FileError::io(Doing::Read, path, source))?;
    // What has no size beforehand (a pipe) is measured here.
    if bytes.len() > limit {
        return Err(too_large());
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

/// Directories that were created on the way to a path, removed again unless kept.
#[derive(Debug)]
pub struct CreatedDirectories {
    /// Outermost first.
    paths: Vec<PathBuf>,
}

impl CreatedDirectories {
    /// Creates `path` and what is missing above it.
    pub fn down_to(path: &Path) -> Result<Self, FileError> {
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
            .collect();
        let mut created = Self { paths: Vec::new() };
        for directory in missing.into_iter().rev() {
            match fs::create_dir(directory) {
                Ok(()) => created.paths.push(directory.to_owned()),
                // Somebody else was faster, which is as good.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(FileError::io(Doing::Create, directory, source)),
            }
            sync_directory(parent_of(directory))?;
        }
        Ok(created)
    }

    /// Keeps them.
    pub fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for CreatedDirectories {
    fn drop(&mut self) {
        for directory in self.paths.iter().rev() {
            // Not if something else was put there in the meantime.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// A directory of one's own, readable by nobody else, in which files are prepared before they
/// appear where others look. Removed with everything in it when dropped.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    /// Held for as long as its owner lives; that is how a sweeper tells a leftover from work.
    _lock: File,
}

/// Name of a staging directory: this and 16 hexadecimal digits.
const STAGING_PREFIX: &str = ".pki-";

impl Staging {
    /// Creates one in `parent`, after sweeping away what a killed process left there.
    pub fn create(parent: &Path) -> Result<Self, FileError> {
        sweep(parent);
        for _ in 0..8 {
            let mut random = [0; 8];
            aws_lc_rs::rand::fill(&mut random).map_err(|_| FileError::NoRandomness)?;
            let path = parent.join(format!("{STAGING_PREFIX}{}", hex(&random)));
            DirBuilder::new()
                .mode(Readers::Owner.directory_mode())
                .create(&path)
                .map_err(|source| FileError::io(Doing::Create, &path, source))?;
            // Between creating and locking, a sweeper may take it for a leftover. Then another one
            // is made.
            if let Some(lock) = lock_directory(&path) {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(FileError::io(
            Doing::Lock,
            parent,
            io::Error::from(io::ErrorKind::WouldBlock),
        ))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the whole directory its final name, and `readers` access to it. `target` does not
    /// exist or is an empty directory; anything else is refused and nothing changes.
    pub fn rename_to(self, target: &Path, readers: Readers) -> Result<(), FileError> {
        fs::set_permissions(&self.path, Permissions::from_mode(readers.directory_mode()))
            .map_err(|source| FileError::io(Doing::Write, &self.path, source))?;
        sync_directory(&self.path)?;
        fs::rename(&self.path, target).map_err(|source| match source.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => FileError::Exists {
                path: target.to_owned(),
            },
            _ => FileError::io(Doing::Rename, target, source),
        })?;
        sync_directory(parent_of(target))
    }

    /// Moves the named files into `target`, in this order, without overwriting anything, and makes
    /// their names durable. If that fails, those that were moved are taken away again.
    pub fn hand_out(&self, names: &[&str], target: &Path) -> Result<(), FileError> {
        let mut moved = Vec::new();
        let result = names
            .iter()
            .try_for_each(|name| {
                let destination = target.join(name);
                move_new(&self.path.join(name), &destination)?;
                moved.push(destination);
                Ok(())
            })
            .and_then(|()| sync_directory(target));
        if result.is_err() {
            for path in moved {
                let _ = fs::remove_file(path);
            }
        }
        result
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Locks a directory; `None` if it is somebody else's or has just been removed.
fn lock_directory(path: &Path) -> Option<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix_flags())
        .open(path)
        .ok()?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
    }
    let locked = file.metadata().ok()?;
    let named = fs::symlink_metadata(path).ok()?;
    (locked.ino() == named.ino() && locked.dev() == named.dev()).then_some(file)
}

/// A directory, and no link to one.
fn rustix_flags() -> i32 {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
    flags.bits().cast_signed()
}

/// Removes staging directories whose owner is gone. Best effort: what cannot be removed now can be
/// next time, and a directory of a million names is not searched to its end.
fn sweep(parent: &Path) {
    const MOST_ENTRIES: usize = 10_000;
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.take(MOST_ENTRIES).flatten() {
        let name = entry.file_name();
        let is_staging = name
            .to_str()
            .and_then(|name| name.strip_prefix(STAGING_PREFIX))
            .is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|o| o.is_ascii_hexdigit()));
        let is_ours = entry.metadata().is_ok_and(|metadata| {
            metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw()
        });
        if is_staging
            && is_ours
            && let Some(_lock) = lock_directory(&entry.path())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Renames a file to a name that nobody has.
fn move_new(from: &Path, to: &Path) -> Result<(), FileError> {
    let result = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot promise it in one step can in two: a link never replaces.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
        }
        result => result.map_err(io::Error::from),
    };
    result.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists {
            path: to.to_owned(),
        },
        _ => FileError::io(Doing::Rename, to, source),
    })
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
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn names_in(path: &Path) -> Vec<String> {
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
    fn what_has_no_size_is_measured_while_it_is_read() {
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

    #[test]
    fn a_dropped_staging_directory_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::create(dir.path()).unwrap();
        assert_eq!(mode_of(staging.path()), 0o700);
        create_new(&staging.path().join("key"), Readers::Owner, b"x").unwrap();
        drop(staging);
        assert!(names_in(dir.path()).is_empty());
    }

    #[test]
    fn a_leftover_is_swept_and_work_in_progress_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let working = Staging::create(dir.path()).unwrap();
        let leftover = dir.path().join(".pki-0123456789abcdef");
        fs::create_dir(&leftover).unwrap();
        fs::write(leftover.join("key.pem"), b"x").unwrap();
        let other = dir.path().join(".pki-notes");
        fs::create_dir(&other).unwrap();
        let next = Staging::create(dir.path()).unwrap();
        assert!(!leftover.exists());
        assert!(working.path().exists() && next.path().exists() && other.exists());
    }

    #[test]
    fn handing_out_never_overwrites_and_takes_back_what_it_moved() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::create(dir.path()).unwrap();
        for name in ["a", "b"] {
            create_new(&staging.path().join(name), Readers::Everybody, b"new").unwrap();
        }
        let target = dir.path().join("out");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("b"), b"old").unwrap();
        assert!(matches!(
            staging.hand_out(&["a", "b"], &target),
            Err(FileError::Exists { .. })
        ));
        assert_eq!(names_in(&target), ["b"]);
        assert_eq!(fs::read(target.join("b")).unwrap(), b"old");
    }

    #[test]
    fn a_staging_directory_takes_the_place_of_an_empty_directory_only() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("authority");
        fs::create_dir(&target).unwrap();
        let staging = Staging::create(dir.path()).unwrap();
        create_new(&staging.path().join("file"), Readers::Everybody, b"x").unwrap();
        staging.rename_to(&target, Readers::Everybody).unwrap();
        assert_eq!(mode_of(&target), 0o755);
        assert_eq!(names_in(&target), ["file"]);
        let second = Staging::create(dir.path()).unwrap();
        assert!(matches!(
            second.rename_to(&target, Readers::Everybody),
            Err(FileError::Exists { .. })
        ));
        assert_eq!(names_in(dir.path()), ["authority"]);
    }

    #[test]
    fn directories_made_for_nothing_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        drop(CreatedDirectories::down_to(&deep).unwrap());
        assert!(names_in(dir.path()).is_empty());
        CreatedDirectories::down_to(&deep).unwrap().keep();
        assert!(deep.exists());
        drop(CreatedDirectories::down_to(&deep).unwrap());
        assert!(deep.exists());
    }
}
