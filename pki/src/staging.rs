//! Files that belong together and appear together: prepared in a directory aside, then handed out
//! all or none.
//!
//! Whoever is killed in between leaves a directory `.pki-…` behind that nobody holds locked any
//! more, and the next one sweeps it away, secrets and all.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::files::{Doing, FileError, Readers, create_directory, parent_of, sync_directory};
use crate::public_key::hex;

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
            match lock_directory(&path) {
                Lock::Held(lock) | Lock::Unsupported(lock) => {
                    return Ok(Self { path, _lock: lock });
                }
                Lock::Elsewhere => {}
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

    /// Whether its file system exchanges two directories in one step, found out with two empty ones.
    pub fn can_exchange(&self) -> Result<bool, FileError> {
        let probes = ["probe-a", "probe-b"].map(|name| self.path.join(name));
        for probe in &probes {
            create_directory(probe, Readers::Owner)?;
        }
        let result = renameat_with(CWD, &probes[0], CWD, &probes[1], RenameFlags::EXCHANGE);
        for probe in &probes {
            fs::remove_dir(probe).map_err(|source| FileError::io(Doing::Write, probe, source))?;
        }
        match result {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => Ok(false),
            Err(error) => Err(FileError::io(Doing::Rename, &self.path, error.into())),
        }
    }

    /// Takes the place of the directory `target` in one step, durable, and then destroys what was
    /// there: whoever opens files by their path meets all old ones or all new ones. Both are on one
    /// file system.
    ///
    /// If it cannot be made durable, nothing is destroyed: what lies aside then is swept away by the
    /// next one that prepares something there.
    pub fn exchange_with(self, target: &Path) -> Result<(), FileError> {
        sync_directory(&self.path)?;
        renameat_with(CWD, &self.path, CWD, target, RenameFlags::EXCHANGE)
            .map_err(|error| FileError::io(Doing::Rename, target, error.into()))?;
        let durable = sync_directory(parent_of(target));
        if durable.is_err() {
            // Not dropped: the disk decides after a crash which of the two is in place.
            std::mem::forget(self);
        }
        durable
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

/// What came of locking a directory.
enum Lock {
    /// It is ours.
    Held(File),
    /// The file system has no locks. Then nobody sweeps on it either.
    Unsupported(File),
    /// It is somebody else's, or has just been removed.
    Elsewhere,
}

fn lock_directory(path: &Path) -> Lock {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(directory_flags())
        .open(path);
    let Ok(file) = opened else {
        return Lock::Elsewhere;
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Lock::Elsewhere,
        Err(TryLockError::Error(_)) => return Lock::Unsupported(file),
    }
    let same = |locked: &fs::Metadata, named: &fs::Metadata| {
        locked.ino() == named.ino() && locked.dev() == named.dev()
    };
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(locked), Ok(named)) if same(&locked, &named) => Lock::Held(file),
        _ => Lock::Elsewhere,
    }
}

/// A directory, and no link to one.
fn directory_flags() -> i32 {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
    flags.bits().cast_signed()
}

/// Removes staging directories whose owner is gone. Best effort: what cannot be removed now can be
/// next time, and a directory of a million names is not searched to its end.
pub(crate) fn sweep(parent: &Path) {
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
        // One that was exchanged by the superuser belongs to whom the directory belongs.
        let user = rustix::process::geteuid();
        let is_ours = entry.metadata().is_ok_and(|metadata| {
            metadata.is_dir() && (user.is_root() || metadata.uid() == user.as_raw())
        });
        if is_staging
            && is_ours
            && let Lock::Held(_lock) = lock_directory(&entry.path())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Renames a file to a name that nobody has.
pub(crate) fn move_new(from: &Path, to: &Path) -> Result<(), FileError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::create_new;
    use crate::files::tests::{mode_of, names_in};

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
    fn an_exchange_puts_the_new_in_place_and_destroys_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("old"), b"x").unwrap();
        let staging = Staging::create(dir.path()).unwrap();
        assert!(staging.can_exchange().unwrap());
        create_new(&staging.path().join("new"), Readers::Owner, b"x").unwrap();
        staging.exchange_with(&target).unwrap();
        assert_eq!(names_in(&target), ["new"]);
        assert_eq!(names_in(dir.path()), ["out"]);
    }

    #[test]
    fn an_exchange_with_nothing_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::create(dir.path()).unwrap();
        assert!(staging.exchange_with(&dir.path().join("out")).is_err());
        assert!(names_in(dir.path()).is_empty());
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
