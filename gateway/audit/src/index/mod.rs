//! The index of a log: where the entries of a patient and of a request stand. Made from the log by whoever
//! has a reader's key, and never believed.
//!
//! ```text
//! DIR/index.sqlite   tables (below), for its owner alone
//! DIR/index.seal     HMAC-SHA-256 over the file's SHA-256, under a key that only this reader can make
//! DIR/index.lock     held while the file is written (alone) or read (together)
//! ```
//!
//! Fails closed: an index that is not as its reader left it, is of another log, goes beyond the log's
//! end, or holds rows of a key that does not open any more is not used, and `audit index` makes it anew
//! (or drops those rows). Each row that is found leads to its entry in the log, and the entry alone is
//! told. It holds pseudonyms, clients and routes, and no more of an entry. What survives a crash while it
//! is written: a file without its seal. Not here: what is made of the rows (`report`).

mod build;

mod seal;

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params, params_from_iter};

use crate::event::{Id, Pseudonym, Time};
use crate::opened::{Item, Walk, WalkError};
use crate::read::{Position, Reader, Stand, Step};
use crate::seal::epoch::KeyId;
use crate::select::{Names, SelectError};
use crate::storage::guarded;
use crate::unseal::Unsealer;

pub use build::{UpdateError, Updated, update};

/// The file.
const INDEX: &str = "index.sqlite";

/// What is locked.
const LOCK: &str = "index.lock";

/// Rises when the tables change: an index of another version is made anew.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE state (log BLOB NOT NULL, next INTEGER NOT NULL, segment INTEGER NOT NULL,
    offset INTEGER NOT NULL, sequence INTEGER NOT NULL, previous BLOB NOT NULL,
    closed INTEGER NOT NULL, wrong INTEGER NOT NULL);
CREATE TABLE batches (sequence INTEGER PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
    previous BLOB NOT NULL);
CREATE TABLE keys (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE);
CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE);
CREATE TABLE entries (sequence INTEGER PRIMARY KEY, time INTEGER NOT NULL, type TEXT NOT NULL,
    key INTEGER, request BLOB, client INTEGER, route INTEGER, status INTEGER, outcome TEXT);
CREATE INDEX by_request ON entries (request) WHERE request IS NOT NULL;
CREATE TABLE patients (patient BLOB NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (patient, sequence)) WITHOUT ROWID;
CREATE TABLE links (one BLOB NOT NULL, other BLOB NOT NULL, key INTEGER NOT NULL,
    PRIMARY KEY (one, other, key)) WITHOUT ROWID;
";

/// An index that is as its reader left it.
#[derive(Debug)]
pub struct Index {
    connection: Connection,
    next: u64,
    end: Stand,
    /// Entries that were sealed to others, or no entries.
    untold: (u64, u64),
    /// Held as long as rows are read.
    _lock: Option<File>,
}

impl Index {
    /// The index of the log in `directory`, if there is one that this reader can use. Nothing is
    /// changed.
    ///
    /// # Errors
    /// [`Unusable`]: read the log itself.
    pub fn open(directory: &Path, unsealer: &Unsealer) -> Result<Index, Unusable> {
        if !directory.join(INDEX).try_exists()? {
            return Err(Unusable::Missing);
        }
        let lock = lock(directory, false)?;
        Index::judge(directory, unsealer, lock)
    }

    /// Looks at the file behind the lock.
    fn judge(directory: &Path, unsealer: &Unsealer, lock: Option<File>) -> Result<Index, Unusable> {
        if !seal::holds(directory, unsealer)? {
            return Err(Unusable::Changed);
        }
        // What SQLite would read beside it is not sealed, and need not be a file.
        for beside in ["-journal", "-wal", "-shm"] {
            if std::fs::symlink_metadata(directory.join(format!("{INDEX}{beside}"))).is_ok() {
                return Err(Unusable::Changed);
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        // Above the directory a link is the operator's own; below it, nobody's.
        let path = directory.canonicalize()?.join(INDEX);
        let connection = Connection::open_with_flags(path, flags)?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version != VERSION {
            return Err(Unusable::Version);
        }
        let (log, next, end, untold) = state(&connection)?;
        let index = Index {
            connection,
            next,
            end,
            untold,
            _lock: lock,
        };
        if index
            .behind(directory)?
            .is_none_or(|reader| reader.log() != Some(log))
        {
            return Err(Unusable::OtherLog);
        }
        if index.keys()?.iter().any(|key| !unsealer.holds(*key)) {
            return Err(Unusable::Destroyed);
        }
        Ok(index)
    }

    /// Entries before this one are in it.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many entries it could not take in: those sealed to others, and those that are none.
    #[must_use]
    pub fn untold(&self) -> (u64, u64) {
        self.untold
    }

    /// A reader that stands behind its last entry; nothing when the log does not lead there.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn behind(&self, directory: &Path) -> io::Result<Option<Reader>> {
        behind(directory, &self.end, self.next)
    }

    /// Takes in every name that its entries link with those of `names`.
    ///
    /// # Errors
    /// [`FindError`].
    pub fn follow(&self, names: &mut Names) -> Result<bool, FindError> {
        if !names.is_linked() {
            return Ok(false);
        }
        let mut find = self
            .connection
            .prepare_cached("SELECT other FROM links WHERE one = ?1")?;
        let before = names.iter().len();
        let mut asked: Vec<Pseudonym> = names.iter().collect();
        let mut known = names.clone();
        while let Some(one) = asked.pop() {
            let others = find.query_map([one.bytes()], |row| row.get::<_, [u8; 16]>(0))?;
            for other in others {
                let other = Pseudonym::new(other?);
                if known.take_group(&[one, other]).map_err(FindError::Names)? {
                    asked.push(other);
                }
            }
        }
        *names = known;
        Ok(names.iter().len() > before)
    }

    /// The requests of which a record within the window names one of `names`; `each` takes them in any
    /// order, and stops with `false`.
    ///
    /// # Errors
    /// [`FindError`].
    pub fn requests(
        &self,
        names: &Names,
        since: Option<Time>,
        until: Option<Time>,
        each: &mut dyn FnMut(Id) -> bool,
    ) -> Result<(), FindError> {
        let mut find = self.connection.prepare_cached(
            "SELECT DISTINCT request FROM patients JOIN entries USING (sequence)
             WHERE patient = ?1 AND request IS NOT NULL AND time >= ?2 AND time < ?3",
        )?;
        let since = since.map_or(0, |time| number(time.0));
        let until = until.map_or(i64::MAX, |time| number(time.0));
        for name in names.iter() {
            let found = find.query_map(params![name.bytes(), since, until], |row| {
                row.get::<_, [u8; 16]>(0)
            })?;
            for request in found {
                if !each(Id::new(request?)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The numbers of the entries of these requests, in the order of the log.
    ///
    /// # Errors
    /// [`FindError`].
    pub fn sequences(&self, requests: &[Id]) -> Result<Vec<u64>, FindError> {
        const MANY: usize = 500;
        let mut sequences = Vec::new();
        for some in requests.chunks(MANY) {
            let marks = vec!["?"; some.len()].join(",");
            let mut find = self.connection.prepare_cached(&format!(
                "SELECT sequence FROM entries WHERE request IN ({marks})"
            ))?;
            let found = find.query_map(params_from_iter(some.iter().map(Id::bytes)), |row| {
                row.get::<_, i64>(0)
            })?;
            for sequence in found {
                sequences.push(sequence?.cast_unsigned());
            }
        }
        sequences.sort_unstable();
        Ok(sequences)
    }

    /// Goes to an entry of the log: the walk's next one, if the index tells the truth.
    ///
    /// # Errors
    /// [`FindError`].
    pub fn stand(&self, directory: &Path, sequence: u64, walk: &mut Walk) -> Result<(), FindError> {
        let mut find = self.connection.prepare_cached(
            "SELECT sequence, segment, offset, previous FROM batches WHERE sequence <= ?1
             ORDER BY sequence DESC LIMIT 1",
        )?;
        let found = find.query_row([number(sequence)], stand).optional()?;
        let found = found.ok_or(FindError::Untrue)?;
        // One batch holds several of them, as a rule.
        if walk.batch() == Some(found) && walk.sequence() <= sequence {
            walk.pass_to(sequence);
            return Ok(());
        }
        let reader = Reader::at(directory, &found)?.ok_or(FindError::Untrue)?;
        walk.stand(reader, sequence);
        Ok(())
    }

    /// The keys that its rows were sealed under.
    fn keys(&self) -> rusqlite::Result<Vec<KeyId>> {
        keys(&self.connection).map(|keys| keys.into_iter().map(|(_, key)| key).collect())
    }
}

/// The entry of this number, where the index led.
///
/// # Errors
/// [`FindError::Untrue`] when another one stands there.
pub fn found(walk: &mut Walk, sequence: u64) -> Result<Item<'_>, FindError> {
    match walk.step() {
        Ok(Some(item)) if item.sequence == sequence => Ok(item),
        Ok(_) | Err(WalkError::Stuck { .. }) => Err(FindError::Untrue),
        Err(WalkError::Read(error)) => Err(FindError::Read(error)),
    }
}

type State = ([u8; 16], u64, Stand, (u64, u64));

fn state(connection: &Connection) -> rusqlite::Result<State> {
    connection.query_row(
        "SELECT sequence, segment, offset, previous, log, next, closed, wrong FROM state",
        [],
        |row| {
            let count = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            Ok((row.get(4)?, count(5)?, stand(row)?, (count(6)?, count(7)?)))
        },
    )
}

fn stand(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stand> {
    let count = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
    Ok(Stand {
        sequence: count(0)?,
        at: Position {
            segment: count(1)?,
            offset: count(2)?,
        },
        previous: row.get(3)?,
    })
}

fn keys(connection: &Connection) -> rusqlite::Result<Vec<(i64, KeyId)>> {
    let mut all = connection.prepare_cached("SELECT id, name FROM keys")?;
    let keys = all.query_map([], |row| Ok((row.get(0)?, KeyId(row.get(1)?))))?;
    keys.collect()
}

/// A reader behind the batch that begins at `end`, if that batch still ends before `next`.
fn behind(directory: &Path, end: &Stand, next: u64) -> io::Result<Option<Reader>> {
    let Some(mut reader) = Reader::at(directory, end)? else {
        return Ok(None);
    };
    loop {
        match reader.step()? {
            Step::Segment(_) => {}
            Step::Batch { .. } => {
                return Ok((reader.sequence() == next).then_some(reader));
            }
            Step::End | Step::Fault(_) => return Ok(None),
        }
    }
}

/// SQLite's integers have a sign; no log is as long, and no time as late, as to need it.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Takes the lock, alone or together with others. Nothing on a medium that cannot be written to, where
/// nobody writes.
fn lock(directory: &Path, alone: bool) -> io::Result<Option<File>> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(guarded())
        .open(directory.join(LOCK));
    let file = match opened {
        Ok(file) => file,
        Err(error) if alone => return Err(error),
        Err(_) => return Ok(None),
    };
    let taken = if alone {
        file.try_lock()
    } else {
        file.try_lock_shared()
    };
    match taken {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Why an index is not used. The log itself holds all that it would tell.
#[derive(Debug)]
pub enum Unusable {
    /// There is none.
    Missing,
    /// It is not as this reader left it: damaged, changed, half-written, or another reader's.
    Changed,
    /// It is of another version of this program.
    Version,
    /// It is of another log, or of one that was longer.
    OtherLog,
    /// It holds rows of a key that was destroyed, or that this reader has not got.
    Destroyed,
    /// It cannot be read, or somebody writes it.
    Read(io::Error),
    /// It is no database, or not ours.
    Sqlite(rusqlite::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Unusable {
        Unusable::Read(error)
    }
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Unusable {
        Unusable::Sqlite(error)
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Missing => f.write_str("there is no index"),
            Unusable::Changed => f.write_str("the index is not as this reader left it"),
            Unusable::Version => f.write_str("the index is of another version"),
            Unusable::OtherLog => f.write_str("the index is not of this log as it is now"),
            Unusable::Destroyed => {
                f.write_str("the index holds rows of a key that this reader has not got any more")
            }
            Unusable::Read(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                f.write_str("the index is being written")
            }
            Unusable::Read(error) => write!(f, "the index cannot be read: {error}"),
            Unusable::Sqlite(error) => write!(f, "the index cannot be read: {error}"),
        }
    }
}

impl std::error::Error for Unusable {}

/// Why a question to the index has no answer.
#[derive(Debug)]
pub enum FindError {
    /// What it says is not so in the log.
    Untrue,
    /// Too many names.
    Names(SelectError),
    /// The log cannot be read.
    Read(io::Error),
    /// It cannot be read itself.
    Sqlite(rusqlite::Error),
}

impl From<io::Error> for FindError {
    fn from(error: io::Error) -> FindError {
        FindError::Read(error)
    }
}

impl From<rusqlite::Error> for FindError {
    fn from(error: rusqlite::Error) -> FindError {
        FindError::Sqlite(error)
    }
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FindError::Untrue => f.write_str("what the index says is not so in the log"),
            FindError::Names(error) => error.fmt(f),
            FindError::Read(error) => error.fmt(f),
            FindError::Sqlite(error) => write!(f, "the index cannot be read: {error}"),
        }
    }
}

impl std::error::Error for FindError {}
