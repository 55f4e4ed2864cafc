//! `audit restore`: the drill that shows that a backup can be relied on, and the way back from it.
//!
//! The drill verifies everything in the backup and, with a reader's key, opens every entry that is
//! sealed to that reader: so somebody has proved that the records can be read, not only that they are
//! there. It writes nothing, and prints nothing of what it opens.
//!
//! A restored log is the backup, copied into a fresh directory, verified there once more, with an entry
//! `restored` behind it that says who went back to it, why and how far. What survives a crash here: no
//! log, or the whole of it; what is left aside the next attempt removes. The gateway signs the entry at its
//! next start. What was written behind the backup is gone, and a witness that remembers it keeps the
//! gateway from starting: a log that was put back is put back, whoever did it.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::geteuid;

use crate::backup::place::{self, Aside, above, wrong_place};
use crate::backup::signed::Signed;
use crate::backup::{BackupError, Done, Stage, Wrong, copied, verified};
use crate::event::{Event, MAX_REASON, Restored as Told};
use crate::key_records;
use crate::lock::has_writer;
use crate::merkle::range::Head;
use crate::opened::{Content, Walk, WalkError};
use crate::reading;
use crate::seal::hpke::SecretKey;
use crate::unseal::Unsealer;
use crate::verify::{Asked, Report};

/// What the drill came to.
#[derive(Debug)]
pub struct Drill {
    /// What verifying the backup came to: good, or it would be an error.
    pub report: Report,
    /// How many entries are signed, and the root over them.
    pub head: Head,
    /// What is sealed, by the keys of the log, in the order of the epochs.
    pub keys: Vec<Sealed>,
    /// Whether a reader's key was tried.
    pub was_tried: bool,
}

/// What is sealed under a key of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Its epoch and id; the id alone where there is no record of it.
    pub name: String,
    /// Whether its record is there.
    pub has_record: bool,
    /// Entries that the reader's key opens.
    pub opened: u64,
    /// Entries that it does not open.
    pub closed: u64,
    /// Entries that it should open, and that are not what was sealed.
    pub wrong: u64,
}

impl Drill {
    /// Whether a reader's key was tried, and something that should open does not, or nothing does of all
    /// that is there to be opened.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        let is_wrong = self.keys.iter().any(|key| key.wrong > 0);
        let mut there = self.keys.iter().filter(|key| key.has_record);
        let is_closed = there.clone().next().is_some() && there.all(|key| key.opened == 0);
        self.was_tried && (is_wrong || is_closed)
    }
}

/// Verifies a backup, and opens what is sealed to a reader. Writes nothing.
///
/// # Errors
/// [`BackupError`]; what does not verify is one.
pub fn drill(
    backup: &Path,
    asked: &Asked<'_>,
    reader: Option<SecretKey>,
    watch: &mut dyn FnMut(Stage),
) -> Result<Drill, BackupError> {
    let _lock = hold(backup)?;
    drill_held(backup, asked, reader, watch)
}

fn drill_held(
    backup: &Path,
    asked: &Asked<'_>,
    reader: Option<SecretKey>,
    watch: &mut dyn FnMut(Stage),
) -> Result<Drill, BackupError> {
    let report = verified(backup, asked, watch)?;
    let head = Signed::of(backup)?.head;
    let was_tried = reader.is_some();
    let keys = sealed(backup, reader)?;
    Ok(Drill {
        report,
        head,
        keys,
        was_tried,
    })
}

/// Keeps `audit backup` from putting another one in its place meanwhile.
fn hold(backup: &Path) -> Result<File, BackupError> {
    if !backup.join("wal").is_dir() {
        let directory = backup.to_owned();
        return Err(BackupError::NoLog { directory });
    }
    let handle = File::open(backup).map_err(BackupError::disk("open", backup))?;
    match handle.try_lock_shared() {
        Ok(()) => Ok(handle),
        Err(TryLockError::WouldBlock) => Err(BackupError::Busy {
            path: backup.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(BackupError::disk("lock", backup)(error)),
    }
}

/// What is sealed in a log, and how much of it opens.
fn sealed(log: &Path, reader: Option<SecretKey>) -> Result<Vec<Sealed>, BackupError> {
    let failed = BackupError::disk("read", log);
    let mut keys = BTreeMap::new();
    for found in key_records::list(log).map_err(&failed)? {
        let names = found.record.and_then(|(record, _)| record.names());
        if let Some((_, id)) = names {
            let sealed = Sealed {
                name: found.name,
                has_record: true,
                ..Sealed::default()
            };
            keys.insert(id, sealed);
        }
    }
    let unsealer = Unsealer::new(log, reader).map_err(&failed)?;
    let mut walk = Walk::new(log, unsealer);
    loop {
        let item = match walk.step() {
            Ok(Some(item)) => item,
            Ok(None) => break,
            Err(WalkError::Read(error)) => return Err(failed(error)),
            Err(WalkError::Stuck { at, fault }) => return Err(BackupError::Damaged { at, fault }),
        };
        let Some(id) = item.key else { continue };
        let key = keys.entry(id).or_insert_with(|| Sealed {
            name: id.to_string(),
            ..Sealed::default()
        });
        match item.content {
            Content::Entry(_) => key.opened += 1,
            Content::Closed(_) | Content::Gone(_) => key.closed += 1,
            Content::Wrong(_) => key.wrong += 1,
        }
    }
    let mut keys: Vec<_> = keys.into_values().collect();
    keys.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(keys)
}

/// A log that was restored.
#[derive(Debug)]
pub struct Restored {
    /// What the drill before came to.
    pub drill: Drill,
    /// What the copy took.
    pub done: Done,
}

/// Makes a log in `to` of a backup, with an entry that tells of it. `to` must not be there, or be empty.
/// The log belongs to the user who does it; if that is root, to the owner of `to`, or of the directory
/// that it is made in.
///
/// # Errors
/// [`BackupError`]; there is no log in `to` then.
pub fn restore(
    backup: &Path,
    to: &Path,
    reason: &str,
    asked: &Asked<'_>,
    reader: Option<SecretKey>,
    watch: &mut dyn FnMut(Stage),
) -> Result<Restored, BackupError> {
    if reason.trim().is_empty() || reason.len() > MAX_REASON {
        return Err(BackupError::Reason);
    }
    let lock = hold(backup)?;
    if has_writer(backup).map_err(BackupError::disk("look at", backup))? {
        return Err(BackupError::Served);
    }
    place::apart(backup, to)?;
    let aside = Aside::take(to)?;
    let owner = vacant(aside.place())?;
    let drill = drill_held(backup, asked, reader, watch)?;
    let (head, done) = copied(backup, aside.target(), watch)?;
    if head != drill.head {
        return Err(BackupError::Checkpoint);
    }
    verified(&aside.log(), asked, watch)?;
    if let Some((uid, gid)) = owner {
        aside.give(uid, gid)?;
    }
    let told = Event::Restored(Told {
        entries: head.size,
        last: drill.report.last,
        reason,
        by: reading::own_hand(),
    });
    reading::put(&aside.log(), told).map_err(BackupError::Unrecorded)?;
    aside.put()?;
    drop(lock);
    Ok(Restored { drill, done })
}

/// Sees that nothing is in the way. Returns whom the log must be given to, if not to us.
fn vacant(place: &Path) -> Result<Option<(u32, u32)>, BackupError> {
    let us = geteuid();
    let failed = BackupError::disk("look at", place);
    let found = match std::fs::read_dir(place) {
        Ok(mut items) => {
            if items.next().is_some() {
                return Err(wrong_place(place, Wrong::NotEmpty));
            }
            std::fs::metadata(place)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::metadata(above(place)),
        Err(error) => return Err(failed(error)),
    };
    let found = found.map_err(failed)?;
    let is_given = us.is_root() && found.uid() != us.as_raw();
    Ok(is_given.then(|| (found.uid(), found.gid())))
}
