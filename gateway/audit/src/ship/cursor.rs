//! How far a log was sent: a small file that is written aside and renamed once what it says is true.
//!
//! After a crash it says what it said before: what was sent since is sent again. It holds numbers, and
//! what stands in the clear in the log; nobody's evidence, so `verify` passes over `*.cursor`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::export::Source;

/// How far a log was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The id of the log, in hex.
    pub log: String,
    /// The first entry that has to be read again: that of the oldest connection that lives.
    pub read_from: u64,
    /// The first entry that was not sent, or not with all that belongs to it.
    pub send_from: u64,
    /// Who wrote the log.
    pub source: Source,
}

/// No cursor is longer, bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The file of a cursor.
#[derive(Debug)]
pub struct CursorFile {
    path: PathBuf,
}

impl CursorFile {
    /// The file of this path, which need not exist.
    #[must_use]
    pub fn new(path: &Path) -> CursorFile {
        CursorFile {
            path: path.to_owned(),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says; nothing when it does not exist.
    ///
    /// # Errors
    /// [`CursorError`]. A file that does not say where to go on is never taken for none: all would be
    /// sent again.
    pub fn load(&self) -> Result<Option<Cursor>, CursorError> {
        let mut text = Vec::new();
        let read =
            File::open(&self.path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CursorError::Read(error)),
        }
        match serde_json::from_slice::<Cursor>(&text) {
            Ok(cursor) if cursor.read_from <= cursor.send_from => Ok(Some(cursor)),
            Ok(_) | Err(_) => Err(CursorError::Malformed),
        }
    }

    /// Replaces what it says. When this returns, the file says it after a crash too.
    ///
    /// # Errors
    /// What the operating system says; the file then says what it said before.
    pub fn store(&self, cursor: &Cursor) -> io::Result<()> {
        let mut text = serde_json::to_vec(cursor)?;
        text.push(b'\n');
        let aside = self.path.with_extension("new.cursor");
        // Made anew: a link that somebody else left there is not followed.
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&aside, &self.path)?;
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        File::open(directory)?.sync_all()
    }
}

/// Why a cursor does not say where to go on.
#[derive(Debug)]
pub enum CursorError {
    /// The operating system.
    Read(io::Error),
    /// It is no cursor.
    Malformed,
    /// It belongs to another log.
    OtherLog {
        /// The id of that log.
        found: String,
    },
    /// The log has fewer entries than were sent.
    Ahead {
        /// How many it has.
        entries: u64,
    },
}

impl fmt::Display for CursorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CursorError::Read(error) => write!(f, "cannot be read: {error}"),
            CursorError::Malformed => f.write_str("is no cursor"),
            CursorError::Ahead { entries } => write!(
                f,
                "says that more was sent than the {entries} entries that the log has"
            ),
            CursorError::OtherLog { found } => write!(f, "is that of another log, {found}"),
        }
    }
}

impl std::error::Error for CursorError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_says_what_was_stored_last_and_nothing_else_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = CursorFile::new(&directory.path().join("a.cursor"));
        assert!(file.load().unwrap().is_none());
        let mut cursor = Cursor {
            log: "11".to_owned(),
            read_from: 3,
            send_from: 4,
            source: Source::default(),
        };
        for send_from in [4, 5] {
            cursor.send_from = send_from;
            file.store(&cursor).unwrap();
            assert_eq!(file.load().unwrap().as_ref(), Some(&cursor));
        }
        for name in std::fs::read_dir(directory.path()).unwrap() {
            assert_eq!(name.unwrap().file_name(), "a.cursor");
        }
        let good = std::fs::read_to_string(file.path()).unwrap();
        let backwards = good.replace("\"read_from\":3", "\"read_from\":9");
        for bad in ["", "{}", &good[..good.len() / 2], &backwards] {
            std::fs::write(file.path(), bad).unwrap();
            let error = file.load().unwrap_err();
            assert!(matches!(error, CursorError::Malformed), "{bad:?}");
        }
    }
}
