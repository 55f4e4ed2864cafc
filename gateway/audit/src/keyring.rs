//! The epoch key that the log is written under.
//!
//! A key is drawn when the log is opened and when a month begins. Its record is durable, its name
//! included, before anything that was sealed under the key can be acknowledged, and the log has an entry
//! with the record's digest. What survives a crash: a record that no entry tells of, when the crash
//! came in between; nothing was written under that key, and `verify` says so.
//!
//! A month that begins is noticed within a second. What was sealed meanwhile is under the key of the
//! month before, and ends with that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::OpenError;
use crate::event::{Digest, EpochKey, Event, Time};
use crate::key_records::{self, RECORDS};
use crate::keys::system_random;
use crate::seal::epoch::{Class, Epoch, EpochError, LogId, WritingKey};
use crate::seal::reader::Reader;
use crate::seal::sealer::JoinKey;

/// The one class of retention that there is yet.
const CLASS: &str = "standard";

/// What every sealer of this process writes under.
pub(crate) struct Keyring {
    log: LogId,
    readers: Vec<Reader>,
    directory: PathBuf,
    join: Arc<JoinKey>,
    current: Mutex<Arc<WritingKey>>,
    /// Rises with each key.
    turns: AtomicU64,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({:?})", self.current())
    }
}

/// A key that was drawn, for the entry that tells of it.
#[derive(Debug)]
pub(crate) struct Drawn {
    epoch: String,
    key: String,
    record: Digest,
    readers: Vec<Digest>,
}

impl Drawn {
    /// What the log says of it.
    pub(crate) fn event(&self) -> Event<'_> {
        Event::EpochKey(EpochKey {
            epoch: &self.epoch,
            key: &self.key,
            record: self.record,
            readers: self.readers.clone(),
        })
    }
}

impl Keyring {
    /// Draws the first key, for the log with this id in `directory`. The caller records what it
    /// returns before anything else.
    ///
    /// # Errors
    /// [`OpenError`]; there may be a record then that serves nothing.
    pub(crate) fn begin(
        directory: &Path,
        log: LogId,
        readers: &[Reader],
        now: Time,
    ) -> Result<(Keyring, Drawn), OpenError> {
        let (key, drawn) =
            draw(directory, log, readers, now).map_err(|error| error.opening(directory))?;
        let join = JoinKey::draw(&mut system_random).map_err(|_| OpenError::NoRandomness)?;
        let keyring = Keyring {
            log,
            readers: readers.to_vec(),
            directory: directory.to_owned(),
            join: Arc::new(join),
            current: Mutex::new(Arc::new(key)),
            turns: AtomicU64::new(0),
        };
        Ok((keyring, drawn))
    }

    /// Whether the month of the current key is over.
    pub(crate) fn is_over(&self, now: Time) -> bool {
        !self.current().epoch().holds(now)
    }

    /// Draws the key of the month that it is. The caller records what it returns before it lets
    /// anybody seal under the key, with [`Keyring::turn`].
    ///
    /// # Errors
    /// [`DrawError`]; the current key stays, and this is to be tried again.
    pub(crate) fn next(&self, now: Time) -> Result<(WritingKey, Drawn), DrawError> {
        draw(&self.directory, self.log, &self.readers, now)
    }

    /// Seals under `key` from now on.
    pub(crate) fn turn(&self, key: WritingKey) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        self.turns.fetch_add(1, Ordering::Release);
    }

    /// How often the key changed.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    pub(crate) fn current(&self) -> Arc<WritingKey> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn join(&self) -> Arc<JoinKey> {
        Arc::clone(&self.join)
    }
}

/// Why there is no key.
#[derive(Debug)]
pub(crate) enum DrawError {
    Key(EpochError),
    Disk(io::Error),
}

impl DrawError {
    fn opening(self, directory: &Path) -> OpenError {
        match self {
            DrawError::Key(error) => OpenError::Key { error },
            DrawError::Disk(error) => OpenError::Record {
                directory: directory.join(RECORDS),
                error,
            },
        }
    }
}

impl std::fmt::Display for DrawError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DrawError::Key(error) => error.fmt(f),
            DrawError::Disk(error) => error.fmt(f),
        }
    }
}

/// Draws a key and makes its record durable.
fn draw(
    directory: &Path,
    log: LogId,
    readers: &[Reader],
    now: Time,
) -> Result<(WritingKey, Drawn), DrawError> {
    let class: Class = CLASS.parse().expect("the class has the form of one");
    let epoch = Epoch::at(now, class);
    let (key, record) =
        WritingKey::draw(log, epoch, readers, &mut system_random).map_err(DrawError::Key)?;
    let bytes = record.encode();
    key_records::write(directory, key.epoch(), key.id(), &bytes).map_err(DrawError::Disk)?;
    let drawn = Drawn {
        epoch: key.epoch().to_string(),
        key: key.id().to_string(),
        record: Digest::of(&bytes),
        readers: record.readers().collect(),
    };
    Ok((key, drawn))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::reader::{Scope, draw};

    /// The last nanosecond of November 2026.
    const LAST: Time = Time(1_796_083_199_999_999_999);
    const NEXT: Time = Time(LAST.0 + 1);

    fn reader() -> Reader {
        let (_, public) = draw(&mut system_random).unwrap();
        Reader::parse(public.as_bytes(), Scope::Entries).unwrap()
    }

    #[test]
    fn a_month_that_begins_has_a_key_of_its_own_whose_record_is_there_first() {
        let directory = tempfile::tempdir().unwrap();
        let (keyring, drawn) =
            Keyring::begin(directory.path(), [7; 16], &[reader()], LAST).unwrap();
        assert!(!keyring.is_over(LAST) && keyring.is_over(NEXT));
        let first = keyring.current().id();
        let (key, next) = keyring.next(NEXT).unwrap();
        // Nobody seals under it before it is recorded.
        assert_eq!((keyring.current().id(), keyring.turns()), (first, 0));
        let names: Vec<_> = key_records::list(directory.path())
            .unwrap()
            .into_iter()
            .map(|found| (found.name, found.record.unwrap().1))
            .collect();
        let told = |drawn: &Drawn| (format!("{}/{}", drawn.epoch, drawn.key), drawn.record);
        assert_eq!(names, [told(&drawn), told(&next)]);
        assert!(names[0].0.starts_with("2026-11/") && names[1].0.starts_with("2026-12/"));
        keyring.turn(key);
        assert_ne!(keyring.current().id(), first);
        assert_eq!(keyring.turns(), 1);
        assert!(!keyring.is_over(NEXT) && keyring.is_over(LAST));
    }

    #[test]
    fn a_key_whose_record_cannot_be_kept_does_not_come_into_use() {
        let directory = tempfile::tempdir().unwrap();
        let (keyring, _) = Keyring::begin(directory.path(), [7; 16], &[reader()], LAST).unwrap();
        std::fs::write(directory.path().join("keys/2026-12"), "in the way").unwrap();
        let first = keyring.current().id();
        assert!(matches!(keyring.next(NEXT), Err(DrawError::Disk(_))));
        assert_eq!(keyring.current().id(), first);
    }
}
