//! The epoch keys that the log is written under, one for each class of retention.
//!
//! A key is drawn for each class when the log is opened and when a month begins. Its record is durable, its name
//! included, before anything that was sealed under the key can be acknowledged, and the log has an entry
//! with the record's digest. What survives a crash: a record that no entry tells of, when the crash
//! came in between; nothing was written under that key, and `verify` says so.
//!
//! A month that begins is noticed within a second. What was sealed meanwhile is under the key of the
//! month before, and ends with that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::OpenError;
use crate::event::{Digest, EpochKey, Event, Time};
use crate::keeping::Classes;
use crate::key_records::{self, RECORDS};
use crate::keys::system_random;
use crate::seal::epoch::{Epoch, EpochError, LogId, WritingKey};
use crate::seal::reader::Reader;
use crate::seal::sealer::JoinKey;

/// What every sealer of this process writes under.
pub(crate) struct Keyring {
    log: LogId,
    readers: Vec<Reader>,
    directory: PathBuf,
    join: Arc<JoinKey>,
    current: Mutex<Current>,
    /// Rises with each change.
    turns: AtomicU64,
}

/// What is in use.
#[derive(Clone)]
pub(crate) struct Current {
    /// What belongs to which class.
    pub(crate) classes: Arc<Classes>,
    /// The key of each class, in their order.
    pub(crate) keys: Vec<Arc<WritingKey>>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({:?})", self.current().keys)
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
    /// Draws the first keys, for the log with this id in `directory`. The caller records what it
    /// returns before anything else.
    ///
    /// # Errors
    /// [`OpenError`]; there may be records then that serve nothing.
    pub(crate) fn begin(
        directory: &Path,
        log: LogId,
        readers: &[Reader],
        classes: &Classes,
        now: Time,
    ) -> Result<(Keyring, Vec<Drawn>), OpenError> {
        let drawn = draw_all(directory, log, readers, classes, now);
        let (keys, drawn) = drawn.map_err(|error| error.opening(directory))?;
        let join = JoinKey::draw(&mut system_random).map_err(|_| OpenError::NoRandomness)?;
        let keyring = Keyring {
            log,
            readers: readers.to_vec(),
            directory: directory.to_owned(),
            join: Arc::new(join),
            current: Mutex::new(Current {
                classes: Arc::new(classes.clone()),
                keys,
            }),
            turns: AtomicU64::new(0),
        };
        Ok((keyring, drawn))
    }

    /// Whether the month of the current keys is over.
    pub(crate) fn is_over(&self, now: Time) -> bool {
        let keys = self.current().keys;
        keys.first().is_some_and(|key| !key.epoch().holds(now))
    }

    /// How many keys are drawn at once.
    pub(crate) fn classes(&self) -> usize {
        self.current().keys.len()
    }

    /// Draws the keys of the month that it is. The caller records what it returns before it lets
    /// anybody seal under them, with [`Keyring::turn`].
    ///
    /// # Errors
    /// [`DrawError`]; the current keys stay, and this is to be tried again.
    pub(crate) fn next(&self, now: Time) -> Result<(Vec<Arc<WritingKey>>, Vec<Drawn>), DrawError> {
        let classes = self.current().classes;
        draw_all(&self.directory, self.log, &self.readers, &classes, now)
    }

    /// Seals under `keys` from now on.
    pub(crate) fn turn(&self, keys: Vec<Arc<WritingKey>>) {
        self.current_lock().keys = keys;
        self.turns.fetch_add(1, Ordering::Release);
    }

    /// Takes over which routes have which class, from now on.
    pub(crate) fn reroute(&self, classes: &Classes) {
        let mut current = self.current_lock();
        current.classes = Arc::new(current.classes.with_routes_of(classes));
        drop(current);
        self.turns.fetch_add(1, Ordering::Release);
    }

    /// How often something changed.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    pub(crate) fn current(&self) -> Current {
        self.current_lock().clone()
    }

    pub(crate) fn join(&self) -> Arc<JoinKey> {
        Arc::clone(&self.join)
    }

    fn current_lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Draws a key for each class, and makes their records durable.
fn draw_all(
    directory: &Path,
    log: LogId,
    readers: &[Reader],
    classes: &Classes,
    now: Time,
) -> Result<(Vec<Arc<WritingKey>>, Vec<Drawn>), DrawError> {
    let (mut keys, mut all) = (Vec::new(), Vec::new());
    for (class, _) in classes.iter() {
        let epoch = Epoch::at(now, class.clone());
        match draw(directory, log, readers, epoch) {
            Ok((key, drawn)) => {
                keys.push(Arc::new(key));
                all.push(drawn);
            }
            Err(error) => {
                // It is tried again and again: no record is left each time that serves nothing.
                for key in &keys {
                    let key: &WritingKey = key;
                    let _ = key_records::remove(directory, key.epoch(), [key.id().to_string()]);
                }
                return Err(error);
            }
        }
    }
    Ok((keys, all))
}

/// Draws a key and makes its record durable.
fn draw(
    directory: &Path,
    log: LogId,
    readers: &[Reader],
    epoch: Epoch,
) -> Result<(WritingKey, Drawn), DrawError> {
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
    use crate::seal::epoch::KeyId;
    use crate::seal::reader::{Scope, draw};

    /// The last nanosecond of November 2026.
    const LAST: Time = Time(1_796_083_199_999_999_999);
    const NEXT: Time = Time(LAST.0 + 1);

    fn reader() -> Reader {
        let (_, public) = draw(&mut system_random).unwrap();
        Reader::parse(public.as_bytes(), Scope::Entries).unwrap()
    }

    fn begin(directory: &Path) -> (Keyring, Drawn) {
        let classes = Classes::default();
        let (keyring, mut drawn) =
            Keyring::begin(directory, [7; 16], &[reader()], &classes, LAST).unwrap();
        assert_eq!(drawn.len(), 1);
        (keyring, drawn.remove(0))
    }

    fn id(keyring: &Keyring) -> KeyId {
        keyring.current().keys[0].id()
    }

    #[test]
    fn a_month_that_begins_has_a_key_of_its_own_whose_record_is_there_first() {
        let directory = tempfile::tempdir().unwrap();
        let (keyring, drawn) = begin(directory.path());
        assert!(!keyring.is_over(LAST) && keyring.is_over(NEXT));
        let first = id(&keyring);
        let (keys, next) = keyring.next(NEXT).unwrap();
        // Nobody seals under it before it is recorded.
        assert_eq!((id(&keyring), keyring.turns()), (first, 0));
        let names: Vec<_> = key_records::list(directory.path())
            .unwrap()
            .into_iter()
            .map(|found| (found.name, found.record.unwrap().1))
            .collect();
        let told = |drawn: &Drawn| (format!("{}/{}", drawn.epoch, drawn.key), drawn.record);
        assert_eq!(names, [told(&drawn), told(&next[0])]);
        assert!(names[0].0.starts_with("2026-11/") && names[1].0.starts_with("2026-12/"));
        keyring.turn(keys);
        assert_ne!(id(&keyring), first);
        assert_eq!(keyring.turns(), 1);
        assert!(!keyring.is_over(NEXT) && keyring.is_over(LAST));
    }

    #[test]
    fn each_class_has_keys_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let classes = Classes::new([("research".parse().unwrap(), 15)], []).unwrap();
        let (keyring, drawn) =
            Keyring::begin(directory.path(), [7; 16], &[reader()], &classes, LAST).unwrap();
        let epochs: Vec<_> = drawn.iter().map(|drawn| drawn.epoch.as_str()).collect();
        assert_eq!(epochs, ["2026-11/standard", "2026-11/research"]);
        assert_eq!(keyring.classes(), 2);
        // A class that the log was not opened with is none of it.
        let more = [("studies".into(), "other".parse().unwrap())];
        keyring.reroute(&Classes::new([], more).unwrap());
        assert_eq!((keyring.classes(), keyring.turns()), (2, 1));
    }

    #[test]
    fn a_key_whose_record_cannot_be_kept_does_not_come_into_use() {
        let directory = tempfile::tempdir().unwrap();
        let (keyring, _) = begin(directory.path());
        std::fs::write(directory.path().join("keys/2026-12"), "in the way").unwrap();
        let first = id(&keyring);
        assert!(matches!(keyring.next(NEXT), Err(DrawError::Disk(_))));
        assert_eq!(id(&keyring), first);
    }
}
