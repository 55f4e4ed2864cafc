//! One writer a log: a lock on a file of its directory, which the kernel gives back when the process
//! ends, however it ends. And none for a backup: what is added there would be a second history.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::error::OpenError;
use crate::storage::{guarded, regular};

/// The file that the one writer of a log holds a lock on.
pub const LOCK: &str = "LOCK";

/// The file that says of a log's directory that it is a backup.
pub const BACKUP: &str = "BACKUP";

/// What stands in it, and nothing else.
pub const BACKUP_TEXT: &str = "A backup of an audit log, to which nothing is added. `audit restore` makes a log of it that goes on.\n";

/// Whether the directory is a backup, as far as its name for that goes.
///
/// # Errors
/// What the operating system says.
pub fn is_backup(directory: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(directory.join(BACKUP)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes the lock. Nobody gets that of a backup.
pub(crate) fn take(directory: &Path) -> Result<File, OpenError> {
    if is_backup(directory).map_err(OpenError::disk("look for the mark of a backup"))? {
        return Err(OpenError::Backup);
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(guarded())
        .open(directory.join(LOCK))
        .map_err(OpenError::disk("open the lock"))?;
    // `has_writer` holds the lock for a moment, and whoever records that he reads for some more; a
    // writer holds it for good.
    for attempt in 0.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempt < 100 => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "start-up, before any worker runs"
                )]
                std::thread::sleep(Duration::from_millis(30));
            }
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked),
            Err(TryLockError::Error(error)) => {
                return Err(OpenError::Disk {
                    doing: "lock",
                    error,
                });
            }
        }
    }
    Ok(file)
}

/// Whether somebody writes to the log in `directory` now.
///
/// # Errors
/// What the operating system says; a directory without a lock file has no writer, nor has one with something
/// else in the place of it, which `verify` names.
pub fn has_writer(directory: &Path) -> io::Result<bool> {
    let path = directory.join(LOCK);
    match std::fs::symlink_metadata(&path) {
        Ok(found) if !found.is_file() => return Ok(false),
        Ok(_) | Err(_) => {}
    }
    let file = match regular(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
