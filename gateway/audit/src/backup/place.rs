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
//!
//! Somebody else may own the directory that the place is in, and root may be asked to work there: for a
//! log of the gateway's user, for instance. So what lies aside must be our own, whoever we are, and is
//! gone through by its open directory and no link: nobody leads us out of it.

use std::ffi::{CStr, CString};
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid, chownat, openat,
    renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::error::{BackupError, Wrong};
use crate::key_records::RECORDS;

/// A place, and what is made for it.
#[derive(Debug)]
pub(crate) struct Aside {
    place: PathBuf,
    work: PathBuf,
    /// The directory aside, locked until all is done. Its name may come to lead elsewhere.
    handle: File,
    /// What the place holds, locked as long.
    held: Option<File>,
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
        let handle = lock(&work)?;
        inspect(&handle, &work)?;
        let mut aside = Aside {
            place,
            work,
            handle,
            held: None,
            stays: true,
        };
        aside.mend()?;
        aside.mark()?;
        aside.stays = false;
        aside.held = aside.hold()?;
        Ok(aside)
    }

    /// The place.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Where the log that is made can be looked at.
    pub(crate) fn log(&self) -> PathBuf {
        self.work.join(LOG)
    }

    /// Where the log is to be made. Nothing is there yet. Where somebody else can give the directory aside
    /// another name, what is written goes by the open one.
    pub(crate) fn target(&self) -> PathBuf {
        let ours = geteuid().as_raw();
        let parent = std::fs::metadata(above(&self.place));
        if parent.is_ok_and(|parent| parent.uid() == ours && parent.mode() & 0o022 == 0) {
            return self.log();
        }
        PathBuf::from(format!("/proc/self/fd/{}/{LOG}", self.handle.as_raw_fd()))
    }

    /// Gives the log that was made to another user, who can then come to it. The directory that it is in
    /// stays ours.
    pub(crate) fn give(&self, uid: u32, gid: u32) -> Result<(), BackupError> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let given = give(&self.handle, &named(LOG), uid, gid).and_then(|()| {
            let passable = Permissions::from_mode(0o711);
            self.handle.set_permissions(passable)
        });
        given.map_err(BackupError::disk("give to its owner", &self.work))
    }

    /// Finishes, or takes back, what an attempt before left behind.
    fn mend(&self) -> Result<(), BackupError> {
        if self.has_old() && std::fs::symlink_metadata(&self.place).is_err() {
            let back = renameat(&self.handle, OLD, CWD, &self.place);
            back.map_err(|error| BackupError::disk("put back", &self.work)(error.into()))?;
            sync(&above(&self.place))?;
        }
        for name in [LOG, OLD] {
            remove(&self.handle, name).map_err(|error| match error.kind() {
                // A link, or a file where a directory belongs: no attempt of ours.
                io::ErrorKind::NotADirectory => wrong_place(&self.work, Wrong::Foreign),
                _ => BackupError::disk("remove", &self.work.join(name))(error),
            })?;
        }
        Ok(())
    }

    /// Says that what lies aside is ours. A mark that is there was looked at.
    fn mark(&self) -> Result<(), BackupError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        match openat(&self.handle, MARK, flags, Mode::RUSR | Mode::WUSR) {
            Ok(_) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(BackupError::disk("make", &self.work.join(MARK))(
                error.into(),
            )),
        }
    }

    fn has_old(&self) -> bool {
        statat(&self.handle, OLD, AtFlags::SYMLINK_NOFOLLOW).is_ok()
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
        let handle = open_directory(place).map_err(BackupError::disk("open", place))?;
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
        let synced = |handle: &File| {
            let synced = handle.sync_all();
            synced.map_err(BackupError::disk("sync", &self.work))
        };
        synced(&self.handle)?;
        let failed = BackupError::disk("put the copy into", &self.place);
        match renameat(&self.handle, LOG, CWD, &self.place) {
            Ok(()) => {}
            // Something is there.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                if let Err(error) = self.exchange() {
                    let error = failed(error);
                    self.stays = self.has_old();
                    return Err(error);
                }
            }
            Err(error) => {
                let error = failed(error.into());
                self.stays = false;
                return Err(error);
            }
        }
        sync(&above(&self.place))?;
        synced(&self.handle)?;
        for name in [LOG, OLD] {
            let path = self.work.join(name);
            let removed = remove(&self.handle, name);
            removed.map_err(|error| BackupError::Leftover { path, error })?;
        }
        let cleared = self.clear();
        cleared.map_err(|error| BackupError::Leftover {
            path: self.work.clone(),
            error,
        })
    }

    /// Takes the directory away, which is empty but for what says that it is ours.
    fn clear(&self) -> io::Result<()> {
        unlinkat(&self.handle, MARK, AtFlags::empty())?;
        std::fs::remove_dir(&self.work)
    }

    fn exchange(&self) -> io::Result<()> {
        let (work, place) = (&self.handle, &self.place);
        match renameat_with(work, LOG, CWD, place, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            // A file system that cannot: in two steps.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                renameat(CWD, place, work, OLD)?;
                renameat(work, LOG, CWD, place).or_else(|error| {
                    renameat(work, OLD, CWD, place)?;
                    Err(error.into())
                })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What was not put into its place is taken back as far as possible; the next attempt does the rest.
impl Drop for Aside {
    fn drop(&mut self) {
        if !self.stays && remove(&self.handle, LOG).is_ok() {
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

/// Sees that what lies aside is an attempt of ours and nothing else: it will be removed. Root is no
/// exception: what another user left there is not root's.
fn inspect(work: &File, path: &Path) -> Result<(), BackupError> {
    let failed = BackupError::disk("look at", path);
    let found = work.metadata().map_err(&failed)?;
    let us = geteuid().as_raw();
    if found.uid() != us {
        return Err(wrong_place(path, Wrong::NotOurs));
    }
    if found.mode() & 0o022 != 0 {
        return Err(wrong_place(path, Wrong::Exposed));
    }
    let names = names(work).map_err(&failed)?;
    let mut is_marked = false;
    for name in &names {
        let found = stat(work, name).map_err(&failed)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        let is_ours = match name.to_str() {
            Ok(MARK) => {
                is_marked = kind == FileType::RegularFile && found.st_uid == us;
                is_marked
            }
            Ok(LOG | OLD) => kind == FileType::Directory,
            Ok(_) | Err(_) => false,
        };
        if !is_ours {
            return Err(wrong_place(path, Wrong::Foreign));
        }
    }
    if names.is_empty() || is_marked {
        Ok(())
    } else {
        Err(wrong_place(path, Wrong::Foreign))
    }
}

/// Removes a log, and overwrites the records of its keys that nothing else leads to. Follows no link.
fn remove(work: &File, log: &str) -> io::Result<()> {
    let log = named(log);
    let directory = match open_below(work, &log) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    match open_below(&directory, &named(RECORDS)) {
        Err(Errno::NOENT) => {}
        opened => overwrite(&opened?, 3)?,
    }
    remove_all(&directory, DEEPEST)?;
    Ok(unlinkat(work, log, AtFlags::REMOVEDIR)?)
}

/// Nothing in a log lies deeper: `tile/0/x001/x234/067.p` is of five names.
const DEEPEST: u32 = 16;

fn overwrite(folder: &File, levels: u32) -> io::Result<()> {
    for name in names(folder)? {
        match FileType::from_raw_mode(stat(folder, &name)?.st_mode) {
            FileType::Directory if levels > 1 => {
                overwrite(&open_below(folder, &name)?, levels - 1)?;
            }
            FileType::RegularFile => {
                let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = File::from(openat(folder, &name, flags, Mode::empty())?);
                let found = file.metadata()?;
                if found.is_file() && found.nlink() == 1 {
                    zero(&file, found.len())?;
                }
            }
            // A link is not followed, and what else there may be has no content.
            _ => {}
        }
    }
    Ok(())
}

fn zero(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = [0; 4096];
    let mut at = 0;
    while at < bytes {
        let step = usize::try_from(bytes - at).map_or(4096, |left| left.min(4096));
        file.write_all_at(&zeros[..step], at)?;
        at += step as u64;
    }
    file.sync_all()
}

fn remove_all(folder: &File, levels: u32) -> io::Result<()> {
    for name in names(folder)? {
        if FileType::from_raw_mode(stat(folder, &name)?.st_mode) != FileType::Directory {
            unlinkat(folder, &name, AtFlags::empty())?;
            continue;
        }
        let below = levels.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
        remove_all(&open_below(folder, &name)?, below)?;
        unlinkat(folder, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Gives a directory of ours and all in it to a user.
fn give(within: &File, name: &CStr, uid: Uid, gid: Gid) -> io::Result<()> {
    if FileType::from_raw_mode(stat(within, name)?.st_mode) == FileType::Directory {
        let folder = open_below(within, name)?;
        for name in names(&folder)? {
            give(&folder, &name, uid, gid)?;
        }
    }
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(chownat(within, name, Some(uid), Some(gid), flags)?)
}

fn named(name: &str) -> CString {
    CString::new(name).expect("a name of ours has no NUL")
}

/// The names in a directory.
fn names(folder: &File) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for item in Dir::read_from(folder)? {
        let item = item?;
        let name = item.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn stat(within: &File, name: &CStr) -> io::Result<Stat> {
    Ok(statat(within, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn open_below(within: &File, name: &CStr) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(within, name, flags, Mode::empty()).map(File::from)
}

/// Makes the names in a directory durable.
pub(crate) fn sync(directory: &Path) -> Result<(), BackupError> {
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .map_err(BackupError::disk("sync", directory))
}
