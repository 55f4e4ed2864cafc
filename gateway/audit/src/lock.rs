//! One writer a log: a lock on a file of its directory, which the kernel gives back when the process
//! ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::error::OpenError;

/// The file that the one writer of a log holds a lock on.
pub const LOCK: &str = "LOCK";

/// Takes the lock.
pub(crate) fn take(directory: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
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
/// What the operating system says; a directory without a lock file has no writer.
pub fn has_writer(directory: &Path) -> io::Result<bool> {
    let file = match File::open(directory.join(LOCK)) {
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
