//! Making an index, and bringing one up to date.
//!
//! Goes on where the last update ended, in bounded memory. What is not to be believed is made anew.
//! Nothing is synced: what a crash leaves has no seal, and is made anew.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags, params};

use super::{INDEX, Index, TABLES, Unusable, VERSION, behind, keys, lock, number, seal, state};
use crate::event::{Entry, Time};
use crate::keeping::is_old;
use crate::opened::{Content, Item, Walk, WalkError};
use crate::read::{Reader, Stand};
use crate::seal::epoch::KeyId;
use crate::select::Facts;
use crate::unseal::Unsealer;

/// What an update did.
#[derive(Debug)]
pub struct Updated {
    /// Entries that are in the index now.
    pub entries: u64,
    /// Of these, those that came in.
    pub added: u64,
    /// Why it was made anew, if it was.
    pub anew: Option<Unusable>,
    /// Rows that were dropped with their keys.
    pub dropped: u64,
    /// Entries that are sealed to others.
    pub closed: u64,
    /// Entries that are not what an entry is.
    pub wrong: u64,
}

/// Brings the index of the log in `directory` up to date, or makes it.
///
/// # Errors
/// [`UpdateError`]; there is then no index that would be used.
pub fn update(
    directory: &Path,
    unsealer: Unsealer,
    watch: &mut dyn FnMut(u64),
) -> Result<Updated, UpdateError> {
    let lock = lock(directory, true)?;
    let anew = match Index::judge(directory, &unsealer, None) {
        // Rows of a key that is gone are dropped below.
        Ok(_) | Err(Unusable::Destroyed) => None,
        Err(Unusable::Changed) if !directory.join(INDEX).exists() => Some(Unusable::Missing),
        Err(Unusable::Read(error)) if error.kind() == io::ErrorKind::NotFound => {
            Some(Unusable::Missing)
        }
        Err(unusable) => Some(unusable),
    };
    seal::unseal(directory)?;
    let connection = open(directory, anew.is_some())?;
    let dropped = if anew.is_some() {
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        0
    } else {
        drop_destroyed(&connection, &unsealer)?
    };
    let mut writer = Writer::begin(connection, directory, anew.is_some())?;
    let before = writer.next;
    let unsealer = writer.write(directory, unsealer, watch)?;
    let (entries, closed, wrong) = (writer.next, writer.closed, writer.wrong);
    writer.connection.close().map_err(|(_, error)| error)?;
    seal::seal(directory, &unsealer)?;
    drop(lock);
    Ok(Updated {
        entries,
        added: entries - before,
        anew,
        dropped,
        closed,
        wrong,
    })
}

fn open(directory: &Path, anew: bool) -> Result<Connection, UpdateError> {
    // Above the directory a link is the operator's own; below it, nobody's.
    let path = directory.canonicalize()?.join(INDEX);
    if anew {
        for name in [INDEX, "index.sqlite-journal", "index.sqlite-wal"] {
            match fs::remove_file(path.with_file_name(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    // A file that is half-written has no seal; what is deleted is overwritten.
    connection.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA secure_delete = ON;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536;",
    )?;
    Ok(connection)
}

/// Drops what was read under keys that do not open any more. Says how many entries that were.
fn drop_destroyed(connection: &Connection, unsealer: &Unsealer) -> rusqlite::Result<u64> {
    let mut dropped = 0;
    for (id, key) in keys(connection)? {
        if unsealer.holds(key) {
            continue;
        }
        connection.execute(
            "DELETE FROM patients WHERE sequence IN (SELECT sequence FROM entries WHERE key = ?1)",
            [id],
        )?;
        connection.execute("DELETE FROM links WHERE key = ?1", [id])?;
        dropped += connection.execute("DELETE FROM entries WHERE key = ?1", [id])? as u64;
        connection.execute("DELETE FROM keys WHERE id = ?1", [id])?;
    }
    if dropped > 0 {
        connection.execute(
            "DELETE FROM words WHERE id NOT IN (SELECT client FROM entries WHERE client IS NOT NULL
             UNION SELECT route FROM entries WHERE route IS NOT NULL)",
            [],
        )?;
        connection.execute("UPDATE state SET closed = closed + ?1", [number(dropped)])?;
    }
    Ok(dropped)
}

/// So many entries are one transaction.
const MANY: u64 = 20_000;

/// So many words are remembered, clients and routes.
const WORDS: usize = 65_536;

/// Writes rows.
struct Writer {
    connection: Connection,
    /// Stands where the index ends.
    reader: Reader,
    /// The first entry that is not in it.
    next: u64,
    end: Option<Stand>,
    closed: u64,
    wrong: u64,
    words: HashMap<String, i64>,
    keys: HashMap<KeyId, i64>,
}

impl Writer {
    fn begin(connection: Connection, directory: &Path, anew: bool) -> Result<Writer, UpdateError> {
        let mut writer = Writer {
            connection,
            reader: Reader::new(directory),
            next: 0,
            end: None,
            closed: 0,
            wrong: 0,
            words: HashMap::new(),
            keys: HashMap::new(),
        };
        if !anew {
            let (_, next, end, (closed, wrong)) = state(&writer.connection)?;
            // The index was judged a moment ago, and a log does not shrink.
            let reader = behind(directory, &end, next)?.ok_or(UpdateError::Shrunk)?;
            (writer.reader, writer.next) = (reader, next);
            (writer.end, writer.closed, writer.wrong) = (Some(end), closed, wrong);
        }
        Ok(writer)
    }

    /// Takes in all that is there. Returns what opened it.
    fn write(
        &mut self,
        directory: &Path,
        unsealer: Unsealer,
        watch: &mut dyn FnMut(u64),
    ) -> Result<Unsealer, UpdateError> {
        let reader = std::mem::replace(&mut self.reader, Reader::new(directory));
        let mut walk = Walk::from(reader, unsealer);
        self.connection.execute_batch("BEGIN")?;
        loop {
            let has_reader = walk.unsealer().has_reader();
            let Some(item) = walk.step()? else { break };
            if matches!(item.content, Content::Closed(_)) && !has_reader {
                return Err(UpdateError::NoReader);
            }
            self.add(&item)?;
            self.next = item.sequence + 1;
            let batch = walk.batch();
            if batch != self.end
                && let Some(batch) = batch
            {
                self.connection
                    .prepare_cached("INSERT OR REPLACE INTO batches VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![
                        number(batch.sequence),
                        number(batch.at.segment),
                        number(batch.at.offset),
                        batch.previous
                    ])?;
                self.end = Some(batch);
            }
            if self.next.is_multiple_of(MANY) {
                self.connection.execute_batch("COMMIT; BEGIN")?;
                watch(self.next);
            }
        }
        // Nothing is remembered of an empty log: the next update begins at its start.
        if let (Some(log), Some(end)) = (walk.log(), self.end) {
            self.connection.execute("DELETE FROM state", [])?;
            self.connection.execute(
                "INSERT INTO state VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    log,
                    number(self.next),
                    number(end.at.segment),
                    number(end.at.offset),
                    number(end.sequence),
                    end.previous,
                    number(self.closed),
                    number(self.wrong)
                ],
            )?;
        }
        self.connection.execute_batch("COMMIT")?;
        Ok(walk.into_unsealer())
    }

    fn add(&mut self, item: &Item<'_>) -> rusqlite::Result<()> {
        match &item.content {
            Content::Entry(entry) => self.add_entry(item.sequence, item.key, entry),
            Content::Gone(header) if is_old(header.time, Time::from_system(SystemTime::now())) => {
                Ok(())
            }
            Content::Closed(_) | Content::Gone(_) => {
                self.closed += 1;
                Ok(())
            }
            Content::Wrong(_) => {
                self.wrong += 1;
                Ok(())
            }
        }
    }

    fn add_entry(
        &mut self,
        sequence: u64,
        key: Option<KeyId>,
        entry: &Entry<'_>,
    ) -> rusqlite::Result<()> {
        let facts = Facts::of(&entry.event);
        let key = key.map(|key| self.key(key)).transpose()?;
        let client = facts.client.map(|word| self.word(word)).transpose()?;
        let route = facts.route.map(|word| self.word(word)).transpose()?;
        let sequence = number(sequence);
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                sequence,
                number(entry.time.0),
                entry.event.kind(),
                key,
                facts.request.as_ref().map(crate::event::Id::bytes),
                client,
                route,
                facts.status,
                facts.outcome
            ])?;
        let Some(subjects) = facts.subjects else {
            return Ok(());
        };
        let mut name = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO patients VALUES (?1, ?2)")?;
        for patient in subjects.patients() {
            name.execute(params![patient.bytes(), sequence])?;
        }
        let mut link = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO links VALUES (?1, ?2, ?3)")?;
        for group in subjects.links() {
            // One of them leads to all, and all lead to it.
            let Some((one, others)) = group.split_first() else {
                continue;
            };
            for other in others {
                link.execute(params![one.bytes(), other.bytes(), key.unwrap_or(0)])?;
                link.execute(params![other.bytes(), one.bytes(), key.unwrap_or(0)])?;
            }
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.words.get(word) {
            return Ok(*id);
        }
        if self.words.len() >= WORDS {
            self.words.clear();
        }
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO words (word) VALUES (?1)")?
            .execute([word])?;
        let id = self
            .connection
            .prepare_cached("SELECT id FROM words WHERE word = ?1")?
            .query_row([word], |row| row.get(0))?;
        self.words.insert(word.to_owned(), id);
        Ok(id)
    }

    fn key(&mut self, key: KeyId) -> rusqlite::Result<i64> {
        if let Some(id) = self.keys.get(&key) {
            return Ok(*id);
        }
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO keys (name) VALUES (?1)")?
            .execute([key.0])?;
        let id = self
            .connection
            .prepare_cached("SELECT id FROM keys WHERE name = ?1")?
            .query_row([key.0], |row| row.get(0))?;
        self.keys.insert(key, id);
        Ok(id)
    }
}

/// Why an index was not brought up to date.
#[derive(Debug)]
pub enum UpdateError {
    /// Entries are sealed, and there is no reader's key.
    NoReader,
    /// The log changed meanwhile as no log does.
    Shrunk,
    /// The log cannot be read to its end.
    Walk(WalkError),
    /// The file cannot be written, or somebody else does.
    Write(io::Error),
    /// SQLite refused.
    Sqlite(rusqlite::Error),
}

impl UpdateError {
    /// What can be done.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            UpdateError::NoReader => {
                "--reader names the secret key of a reader: an index is made of what it opens"
            }
            UpdateError::Shrunk | UpdateError::Walk(_) => "`audit verify` says what is wrong",
            UpdateError::Write(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                "wait for it to end"
            }
            UpdateError::Write(_) | UpdateError::Sqlite(_) => {
                "the index lies in the log's directory: check that this user may write there, and that the disk has space"
            }
        }
    }
}

impl From<WalkError> for UpdateError {
    fn from(error: WalkError) -> UpdateError {
        UpdateError::Walk(error)
    }
}

impl From<io::Error> for UpdateError {
    fn from(error: io::Error) -> UpdateError {
        UpdateError::Write(error)
    }
}

impl From<rusqlite::Error> for UpdateError {
    fn from(error: rusqlite::Error) -> UpdateError {
        UpdateError::Sqlite(error)
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpdateError::NoReader => f.write_str("the entries are sealed"),
            UpdateError::Shrunk => f.write_str("the log is not what it was a moment ago"),
            UpdateError::Walk(error) => write!(f, "the log cannot be read further: {error}"),
            UpdateError::Write(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                f.write_str("somebody else reads or writes the index")
            }
            UpdateError::Write(error) => write!(f, "cannot write the index: {error}"),
            UpdateError::Sqlite(error) => write!(f, "cannot write the index: {error}"),
        }
    }
}

impl std::error::Error for UpdateError {}
