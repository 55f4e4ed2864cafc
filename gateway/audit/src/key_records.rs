//! The records of the keys that the log was written under, as files.
//!
//! ```text
//! DIR/keys/2026-11/standard/5d0c7f3a9b21e604   the key of this id, wrapped to each reader
//! ```
//!
//! One is written aside and renamed, so there is no half of it; `*.new` is what a crash left of that.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::ops::Not as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::event::Digest;
use crate::seal::epoch::{Epoch, KeyId, KeyRecord, MAX_RECORD};
use crate::storage::{self, Disk, Durability, Storage as _, guarded, regular};

/// The folder of the records, in the log's directory.
pub(crate) const RECORDS: &str = "keys";

/// Writes a record; durable when it returns, all names included.
///
/// # Errors
/// What the operating system says.
pub(crate) fn write(directory: &Path, epoch: &Epoch, id: KeyId, bytes: &[u8]) -> io::Result<()> {
    // An epoch is written `month/class`, each a name that a file can have.
    let place = directory.join(RECORDS).join(epoch.to_string());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&place)?;
    Disk::open(place.clone(), Durability::Durable)?.create(&id.to_string(), bytes)?;
    // The folders may be new.
    let above = place.ancestors().skip(1);
    for folder in above.take_while(|folder| folder.starts_with(directory)) {
        storage::folder(folder)?.sync_all()?;
    }
    Ok(())
}

/// Keeps others who keep or copy keys away from the records, as long as the file lives; nothing when there
/// are none. `WouldBlock` when another one does.
///
/// # Errors
/// What the operating system says.
pub(crate) fn hold_still(directory: &Path) -> io::Result<Option<File>> {
    let folder = match storage::folder(&directory.join(RECORDS)) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(error) => Err(error.into()),
    }
}

/// The files of an epoch: its records, by name, and what a crash left of one.
///
/// # Errors
/// What the operating system says.
pub(crate) fn of_epoch(directory: &Path, epoch: &Epoch) -> io::Result<Vec<(String, Digest)>> {
    let place = directory.join(RECORDS).join(epoch.to_string());
    let mut names = match storage::list(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names?,
    };
    names.sort();
    let digest = |name: String| {
        let mut bytes = Vec::new();
        let file = regular(&place.join(&name))?;
        file.take(MAX_RECORD as u64 + 1).read_to_end(&mut bytes)?;
        Ok((name, Digest::of(&bytes)))
    };
    names.into_iter().map(digest).collect()
}

/// Removes these files of an epoch, and its folders where nothing else lies in them; durable. Their bytes are
/// overwritten first, which a file system that copies on write, or a disk that moves blocks, need not
/// carry out: what remains is still sealed to the readers.
///
/// # Errors
/// What the operating system says. What was not removed can be tried again.
pub(crate) fn remove(
    directory: &Path,
    epoch: &Epoch,
    names: impl IntoIterator<Item = String>,
) -> io::Result<()> {
    let place = directory.join(RECORDS).join(epoch.to_string());
    for name in names {
        let path = place.join(name);
        let mut options = OpenOptions::new();
        // A link is somebody else's file.
        options.write(true).custom_flags(guarded());
        let file = options.open(&path)?;
        let length = file.metadata()?.len().min(MAX_RECORD as u64);
        let zeros = vec![0; usize::try_from(length).unwrap_or(MAX_RECORD)];
        file.write_all_at(&zeros, 0)?;
        file.sync_all()?;
        std::fs::remove_file(path)?;
    }
    let mut folder = place.as_path();
    while folder.ends_with(RECORDS).not() {
        if folder.exists() {
            storage::folder(folder)?.sync_all()?;
            // One in which another class has keys stays.
            let _ = std::fs::remove_dir(folder);
        }
        let Some(above) = folder.parent() else {
            break;
        };
        folder = above;
    }
    match storage::folder(folder) {
        Ok(folder) => folder.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A record as it lies in the log's directory.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its path below the folder of the records: `2026-11/standard/5d0c7f3a9b21e604`.
    pub(crate) name: String,
    /// What it is; `None`: something else, or another name than the one that belongs to it.
    pub(crate) record: Option<(KeyRecord, Digest)>,
}

/// Every file below the folder of the records.
///
/// # Errors
/// What the operating system says.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<Found>> {
    let records = directory.join(RECORDS);
    let mut found = Vec::new();
    if !records.try_exists()? {
        return Ok(found);
    }
    for month in storage::list(&records)? {
        let path = records.join(&month);
        for class in folders(&path, &month, &mut found)? {
            let name = format!("{month}/{class}");
            let path = path.join(&class);
            for key in folders(&path, &name, &mut found)? {
                let name = format!("{name}/{key}");
                // One that was named or removed meanwhile is not there.
                match read(&path.join(&key), &name) {
                    Ok(record) => found.push(Found { name, record }),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// What lies in a folder; a file where a folder belongs is a stranger.
fn folders(path: &Path, name: &str, found: &mut Vec<Found>) -> io::Result<Vec<String>> {
    let listed = std::fs::symlink_metadata(path).and_then(|found| {
        if found.is_dir() {
            storage::list(path).map(Some)
        } else {
            Ok(None)
        }
    });
    match listed {
        Ok(Some(names)) => return Ok(names),
        Ok(None) => {}
        // A month or class whose last key is destroyed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    found.push(Found {
        name: name.to_owned(),
        record: None,
    });
    Ok(Vec::new())
}

/// Whether a file of this name is what a crash left of a record that was being written.
pub(crate) fn is_leftover(name: &str) -> bool {
    let id = name
        .rsplit('/')
        .next()
        .and_then(|name| name.strip_suffix(".new"));
    id.is_some_and(|id| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The record in a file, if the file is one and bears its name.
fn read(path: &Path, name: &str) -> io::Result<Option<(KeyRecord, Digest)>> {
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    regular(path)?
        .take(MAX_RECORD as u64 + 1)
        .read_to_end(&mut bytes)?;
    let is_named = |record: &KeyRecord| {
        let names = record.names();
        names.is_some_and(|(epoch, id)| format!("{epoch}/{id}") == name)
    };
    let record = KeyRecord::decode(&bytes).ok().filter(is_named);
    Ok(record.map(|record| (record, Digest::of(&bytes))))
}
