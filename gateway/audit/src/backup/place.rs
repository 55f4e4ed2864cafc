//! Where a copy goes: made aside, and put into its place as a whole.
//!
//! ```text
//! PLACE         what holds
//! PLACE.aside/  locked while somebody works
//!   audit       says that this is ours, and may be removed
//!   log/        what is being made; behind the exchange, what the place held before
//!   old/        what the place held before, where a file system cannot exchange
//! ```
//!
//! What survives a crash here: the place as it was, or the whole new one. Only where a file system knows
//! no exchange (renameat2(2)) is there a moment in which the place is empty; what it held is then in
//! `old`, and the next attempt puts it back. Whatever else is left aside the next attempt removes.
//!
//! Records of keys that are removed for good are overwritten first: they may be those of destroyed
//! keys. A file system that copies on write keeps the old blocks all the same.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::error::{BackupError, Wrong};
use crate::key_records::RECORDS;

/// A place, and what is made for it.
#[derive(Debug)]
pub(crate) struct Aside {
    place: PathBuf,
    work: PathBuf,
    /// Held until all is done: that of the directory aside, and of what the place holds.
    locks: Vec<File>,
    /// Whether what lies aside must stay when this is dropped.
    stays: bool,
}

/// What says that a directory of this name is ours.
const MARK: &str = "audit";

/// The new one.
const LOG: &str = "log";

/// The old one.
const OLD: &str = "old";

impl Aside {
    /// Takes a place, which holds a directory or nothing, for as long as this lives, and removes what an
    /// attempt before left aside. What the place holds is for the caller to judge.
    pub(crate) fn take(place: &Path) -> Result<Aside, BackupError> {
        let place = whole(place)?;
        let work = aside_of(&place);
        let lock = lock(&work)?;
        inspect(&work)?;
        let mut aside = Aside {
            place,
            work,
            locks: vec![lock],
            stays: true,
        };
        aside.mend()?;
        let mark = aside.work.join(MARK);
        File::create(&mark).map_err(BackupError::disk("make", &mark))?;
        aside.stays = false;
        let held = aside.hold()?;
        aside.locks.extend(held);
        Ok(aside)
    }

    /// The place.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Where the log is to be made. Nothing is there yet.
    pub(crate) fn log(&self) -> PathBuf {
        self.work.join(LOG)
    }

    /// What is locked, for whoever gives it to another user with all that is in it.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    /// Finishes, or takes back, what an attempt before left behind.
    fn mend(&self) -> Result<(), BackupError> {
        let old = self.work.join(OLD);
        if old.exists() && std::fs::symlink_metadata(&self.place).is_err() {
            std::fs::rename(&old, &self.place).map_err(BackupError::disk("put back", &old))?;
            sync(&above(&self.place))?;
        }
        for name in [LOG, OLD] {
            let path = self.work.join(name);
            remove(&path).map_err(BackupError::disk("remove", &path))?;
        }
        Ok(())
    }

    /// Locks what the place holds against those who read it as a whole.
    fn hold(&self) -> Result<Option<File>, BackupError> {
        let place = &self.place;
        let found = match std::fs::symlink_metadata(place) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BackupError::disk("look at", place)(error)),
        };
        if !found.is_dir() {
            let wrong = if found.is_symlink() {
                Wrong::Link
            } else {
                Wrong::NoDirectory
            };
            return Err(wrong_place(place, wrong));
        }
        let parent = above(place);
        let beside = std::fs::metadata(&parent).map_err(BackupError::disk("look at", &parent))?;
        if beside.dev() != found.dev() {
            return Err(wrong_place(place, Wrong::Mount));
        }
        let handle = File::open(place).map_err(BackupError::disk("open", place))?;
        match handle.try_lock() {
            Ok(()) => Ok(Some(handle)),
            Err(TryLockError::WouldBlock) => Err(BackupError::Busy {
                path: place.clone(),
            }),
            Err(TryLockError::Error(error)) => Err(BackupError::disk("lock", place)(error)),
        }
    }

    /// Puts what was made, and is durable, into the place: durable when it returns. What the place held
    /// is removed.
    pub(crate) fn put(mut self) -> Result<(), BackupError> {
        // From here on what lies aside may be all that there is.
        self.stays = true;
        let made = self.log();
        sync(&self.work)?;
        let failed = BackupError::disk("put the copy into", &self.place);
        match std::fs::rename(&made, &self.place) {
            Ok(()) => {}
            // Something is there.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                let exchanged = self.exchange(&made).map_err(&failed);
                if exchanged.is_err() {
                    self.stays = self.work.join(OLD).exists();
                }
                exchanged?;
            }
            Err(error) => {
                self.stays = false;
                return Err(failed(error));
            }
        }
        sync(&above(&self.place))?;
        sync(&self.work)?;
        for name in [LOG, OLD] {
            let path = self.work.join(name);
            remove(&path).map_err(|error| BackupError::Leftover { path, error })?;
        }
        let cleared = self.clear();
        cleared.map_err(|error| BackupError::Leftover {
            path: self.work.clone(),
            error,
        })
    }

    /// Takes the directory away, which is empty but for what says that it is ours.
    fn clear(&self) -> io::Result<()> {
        std::fs::remove_file(self.work.join(MARK))?;
        std::fs::remove_dir(&self.work)
    }

    fn exchange(&self, made: &Path) -> io::Result<()> {
        match renameat_with(CWD, made, CWD, &self.place, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            // A file system that cannot: in two steps.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let old = self.work.join(OLD);
                std::fs::rename(&self.place, &old)?;
                std::fs::rename(made, &self.place).or_else(|error| {
                    std::fs::rename(&old, &self.place)?;
                    Err(error)
                })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What was not put into its place is taken back as far as possible; the next attempt does the rest.
impl Drop for Aside {
    fn drop(&mut self) {
        if !self.stays && remove(&self.log()).is_ok() {
            let _ = self.clear();
        }
    }
}

/// The place with all links before its name followed.
fn whole(place: &Path) -> Result<PathBuf, BackupError> {
    let absolute = std::path::absolute(place).map_err(BackupError::disk("find", place))?;
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Err(wrong_place(place, Wrong::NoName));
    };
    let parent = parent.canonicalize();
    let parent = parent.map_err(BackupError::disk("find the directory of", place))?;
    Ok(parent.join(name))
}

/// The directory that belongs to a place.
fn aside_of(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(".aside");
    PathBuf::from(name)
}

/// Says no to a place that is in the log, or that the log is in, or that would be made where the log is.
pub(crate) fn apart(log: &Path, place: &Path) -> Result<(), BackupError> {
    let canonical = log.canonicalize().map_err(BackupError::disk("find", log))?;
    let place_path = whole(place)?;
    for path in [&place_path, &aside_of(&place_path)] {
        if path.starts_with(&canonical) || canonical.starts_with(path) {
            return Err(wrong_place(place, Wrong::Inside));
        }
    }
    Ok(())
}

pub(crate) fn wrong_place(place: &Path, wrong: Wrong) -> BackupError {
    BackupError::Place {
        path: place.to_owned(),
        wrong,
    }
}

/// The directory that a place is in.
pub(crate) fn above(place: &Path) -> PathBuf {
    place.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// Makes the directory if it is not there, and locks it.
fn lock(work: &Path) -> Result<File, BackupError> {
    for _ in 0..3 {
        match DirBuilder::new().mode(0o700).create(work) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(BackupError::disk("make", work)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let handle = match open_directory(work) {
            Ok(handle) => handle,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(BackupError::disk("open", work)(error)),
        };
        match handle.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(error)) => {
                return Err(BackupError::disk("lock", work)(error));
            }
        }
        // Whoever had it before may have removed it meanwhile.
        let locked = handle.metadata().map_err(BackupError::disk("open", work))?;
        if std::fs::symlink_metadata(work)
            .is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino()))
        {
            return Ok(handle);
        }
    }
    Err(BackupError::Busy {
        path: work.to_owned(),
    })
}

fn open_directory(path: &Path) -> io::Result<File> {
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits();
    let flags = i32::try_from(flags).map_err(|_| io::ErrorKind::InvalidInput)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Sees that what lies aside is an attempt of ours and nothing else: it will be removed.
fn inspect(work: &Path) -> Result<(), BackupError> {
    let failed = BackupError::disk("look at", work);
    let found = std::fs::symlink_metadata(work).map_err(&failed)?;
    let us = geteuid();
    if found.uid() != us.as_raw() && !us.is_root() {
        return Err(wrong_place(work, Wrong::NotOurs));
    }
    if found.mode() & 0o022 != 0 {
        return Err(wrong_place(work, Wrong::Exposed));
    }
    let mut names = Vec::new();
    for item in std::fs::read_dir(work).map_err(&failed)? {
        names.push(item.map_err(&failed)?.file_name());
    }
    let is_marked = names.iter().any(|name| name == MARK);
    let is_ours = |name: &std::ffi::OsString| name == MARK || name == LOG || name == OLD;
    if names.is_empty() || is_marked && names.iter().all(is_ours) {
        Ok(())
    } else {
        Err(wrong_place(work, Wrong::Foreign))
    }
}

/// Removes a log, and overwrites the records of its keys that nothing else leads to.
fn remove(log: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(log) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    overwrite(&log.join(RECORDS), 3)?;
    std::fs::remove_dir_all(log)
}

fn overwrite(folder: &Path, levels: u32) -> io::Result<()> {
    let items = match std::fs::read_dir(folder) {
        Ok(items) => items,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for item in items {
        let path = item?.path();
        let found = std::fs::symlink_metadata(&path)?;
        if found.is_dir() && levels > 1 {
            overwrite(&path, levels - 1)?;
        } else if found.is_file() && found.nlink() == 1 {
            let file = OpenOptions::new().write(true).open(&path)?;
            let mut at = 0;
            while at < found.len() {
                let zeros = [0; 4096];
                let step = usize::try_from(found.len() - at).map_or(4096, |left| left.min(4096));
                file.write_all_at(&zeros[..step], at)?;
                at += step as u64;
            }
            file.sync_all()?;
        }
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(crate) fn sync(directory: &Path) -> Result<(), BackupError> {
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .map_err(BackupError::disk("sync", directory))
}
