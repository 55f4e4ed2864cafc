//! How far a log was sent: a small file that is written aside and renamed once what it says is true.
//!
//! After a crash it says what it said before: what was sent since is sent again. It holds numbers, and
//! what stands in the clear in the log; nobody's evidence, so `verify` passes over `*.cursor`.
//!
//! Who may write to its directory could raise it, and so hide entries from the receiver. So it is sealed
//! as an index is, under a key that only the reader has, and fails closed: one that was changed, or has no
//! seal and lies where others can write, is refused. The seal names the receiver: how far one of them got
//! says nothing of another. An old one that is put back sends more, never less.
//! A log in the clear has no secret to seal with: there the seal finds damage alone.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::digest::Hash;
use crate::event::Digest;
use crate::export::Source;
use crate::read::{self, Position};
use crate::storage::regular;
use crate::unseal::Unsealer;

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
    /// Batches on the way here, oldest first: many of late, few of long ago. The last is what this
    /// stands on. An early version wrote none.
    #[serde(default)]
    pub marks: Marks,
}

/// Batches of a log that was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Marks(Vec<Mark>);

/// A batch of the log, and how far the log was sent when this was the last that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    segment: u64,
    offset: u64,
    /// The hash of the batch, which covers all that came before it, in hex.
    hash: String,
    read_from: u64,
    send_from: u64,
}

impl Cursor {
    /// Goes back to the last mark that the log in `directory` still has, if it lacks the last of all: it
    /// lost something that was sent, and may have used its numbers again. Returns from which entry on
    /// the log is then sent again.
    ///
    /// # Errors
    /// [`CursorError::OtherHistory`] when it has none of them.
    pub fn go_back(&mut self, directory: &Path) -> Result<Option<u64>, CursorError> {
        let marks = &mut self.marks.0;
        let all = marks.len();
        while let Some(mark) = marks.last() {
            if mark.stands(directory).map_err(CursorError::Read)? {
                if marks.len() == all {
                    return Ok(None);
                }
                (self.read_from, self.send_from) = (mark.read_from, mark.send_from);
                return Ok(Some(self.send_from));
            }
            marks.pop();
        }
        if all == 0 {
            return Ok(None);
        }
        let send_from = self.send_from;
        Err(CursorError::OtherHistory { send_from })
    }
}

impl Marks {
    /// Notes a batch, and how far the log is sent once all up to here is: the first entry that has to
    /// be read again, and the first that has to be sent.
    pub fn note(&mut self, (at, hash): (Position, Hash), read_from: u64, send_from: u64) {
        // Of those between which nothing was sent the last says all.
        self.0.retain(|known| known.send_from < send_from);
        self.0.push(Mark {
            segment: at.segment,
            offset: at.offset,
            hash: Digest::new(hash).to_string(),
            read_from,
            send_from,
        });
        self.thin();
    }

    /// Leaves out marks, so that of two that follow each other the distance is about the age: their
    /// number grows with the logarithm of the log's, and going back sends about twice what was lost.
    fn thin(&mut self) {
        let marks = &mut self.0;
        let newest = marks.last().map_or(0, |mark| mark.send_from);
        let mut at = 1;
        while at + 1 < marks.len() {
            let (before, after) = (marks[at - 1].send_from, marks[at + 1].send_from);
            if after.saturating_sub(before) <= newest.saturating_sub(after) {
                marks.remove(at);
            } else {
                at += 1;
            }
        }
    }
}

impl Mark {
    fn stands(&self, directory: &Path) -> io::Result<bool> {
        let at = Position {
            segment: self.segment,
            offset: self.offset,
        };
        let found = read::hash_at(directory, at)?;
        Ok(found.is_some_and(|hash| Digest::new(hash).to_string() == self.hash))
    }
}

/// No cursor is longer, bytes.
const MAX_BYTES: u64 = 64 * 1024;

const LABEL: &[u8] = b"phigate audit cursor 1";

/// The file of a cursor: a line of JSON, and a line with its seal.
#[derive(Debug)]
pub struct CursorFile {
    path: PathBuf,
    receiver: String,
    key: hmac::Key,
}

impl CursorFile {
    /// The file of this path, which need not exist, of what is sent to `receiver` (its `HOST:PORT`), sealed
    /// by the reader whom `unsealer` reads for.
    #[must_use]
    pub fn new(path: &Path, receiver: &str, unsealer: &Unsealer) -> CursorFile {
        CursorFile {
            path: path.to_owned(),
            receiver: receiver.to_owned(),
            key: unsealer.sealing_key(LABEL),
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
    /// [`CursorError`]. A file that does not say where to go on, or that somebody else may have written,
    /// is never taken for none: all would be sent again.
    pub fn load(&self) -> Result<Option<Cursor>, CursorError> {
        let mut text = Vec::new();
        let file = match regular(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CursorError::Read(error)),
        };
        let read = (&file).take(MAX_BYTES).read_to_end(&mut text);
        read.map_err(CursorError::Read)?;
        let mut lines = text.split(|byte| *byte == b'\n');
        let (line, seal) = (lines.next().unwrap_or_default(), lines.next());
        let cursor = match serde_json::from_slice::<Cursor>(line) {
            Ok(cursor) if cursor.read_from <= cursor.send_from => cursor,
            Ok(_) | Err(_) => return Err(CursorError::Malformed),
        };
        let send_from = cursor.send_from;
        match seal.filter(|seal| !seal.is_empty()) {
            Some(seal) if is_same(seal, self.seal(line).as_bytes()) => Ok(Some(cursor)),
            Some(_) => Err(CursorError::Changed { send_from }),
            // An early version wrote it, or somebody who wants something passed over.
            None if self.is_ours(&file).map_err(CursorError::Read)? => Ok(Some(cursor)),
            None => Err(CursorError::Unsealed { send_from }),
        }
    }

    /// Replaces what it says. When this returns, the file says it after a crash too.
    ///
    /// # Errors
    /// What the operating system says; the file then says what it said before.
    pub fn store(&self, cursor: &Cursor) -> io::Result<()> {
        let mut text = serde_json::to_vec(cursor)?;
        let seal = self.seal(&text);
        text.push(b'\n');
        text.extend_from_slice(seal.as_bytes());
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
        File::open(self.directory())?.sync_all()
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        }
    }

    /// HMAC-SHA-256 over the receiver, with its length before it (8 bytes, big endian), and a cursor, under
    /// a key that only the reader has, in base64.
    fn seal(&self, line: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(self.receiver.len() as u64).to_be_bytes());
        context.update(self.receiver.as_bytes());
        context.update(line);
        BASE64.encode(context.sign())
    }

    /// Whether nobody but this user can have put the file there.
    fn is_ours(&self, file: &File) -> io::Result<bool> {
        let ours = rustix::process::geteuid().as_raw();
        let (found, directory) = (file.metadata()?, std::fs::metadata(self.directory())?);
        let mut both = [found, directory].into_iter();
        Ok(both.all(|it| it.uid() == ours && it.mode() & 0o022 == 0))
    }
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

/// Why a cursor does not say where to go on.
#[derive(Debug)]
pub enum CursorError {
    /// The operating system.
    Read(io::Error),
    /// It is no cursor.
    Malformed,
    /// It has no seal, and lies where others can write.
    Unsealed {
        /// Where it would have gone on.
        send_from: u64,
    },
    /// It is not as its reader left it for this receiver: changed, or of another reader or receiver.
    Changed {
        /// Where it would have gone on.
        send_from: u64,
    },
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
    /// The log has nothing of what was sent.
    OtherHistory {
        /// Where it would have gone on.
        send_from: u64,
    },
}

impl fmt::Display for CursorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CursorError::Read(error) => write!(f, "cannot be read: {error}"),
            CursorError::Malformed => f.write_str("is no cursor"),
            CursorError::Unsealed { send_from } => write!(
                f,
                "goes on with entry {send_from}, but has no seal and lies where others can write"
            ),
            CursorError::Changed { send_from } => write!(
                f,
                "goes on with entry {send_from}, but was changed, or is of another reader or for another receiver"
            ),
            CursorError::Ahead { entries } => write!(
                f,
                "says that more was sent than the {entries} entries that the log has"
            ),
            CursorError::OtherHistory { send_from } => write!(
                f,
                "goes on with entry {send_from} of a history that the log does not have"
            ),
            CursorError::OtherLog { found } => write!(f, "is that of another log, {found}"),
        }
    }
}

impl std::error::Error for CursorError {}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;
    use crate::seal::hpke::SecretKey;

    fn cursor(send_from: u64) -> Cursor {
        Cursor {
            log: "11".to_owned(),
            read_from: send_from,
            send_from,
            source: Source::default(),
            marks: Marks::default(),
        }
    }

    fn mark(cursor: &mut Cursor, send_from: u64) {
        (cursor.read_from, cursor.send_from) = (send_from, send_from);
        let at = Position {
            segment: 1,
            offset: 4096 * send_from,
        };
        cursor.marks.note((at, [7; 32]), send_from, send_from);
    }

    /// The cursor of a directory of our own, as one of two readers sees it.
    fn file_of(directory: &Path, reader: u8) -> CursorFile {
        let secret = SecretKey::new(&Zeroizing::new([reader; 32]));
        std::fs::create_dir_all(directory.join("wal")).unwrap();
        let unsealer = Unsealer::new(directory, Some(secret)).unwrap();
        CursorFile::new(&directory.join("a.cursor"), "a:6514", &unsealer)
    }

    #[test]
    fn the_cursor_of_one_receiver_hides_nothing_from_another() {
        let directory = tempfile::tempdir().unwrap();
        let one = file_of(directory.path(), 1);
        one.store(&cursor(9)).unwrap();
        let other = CursorFile {
            path: directory.path().join("b.cursor"),
            receiver: "b:6514".to_owned(),
            key: one.key.clone(),
        };
        std::fs::copy(one.path(), other.path()).unwrap();
        let refused = other.load();
        assert!(
            matches!(refused, Err(CursorError::Changed { send_from: 9 })),
            "{refused:?}"
        );
        assert_eq!(one.load().unwrap(), Some(cursor(9)));
    }

    #[test]
    fn a_cursor_says_what_was_stored_last_and_nothing_else_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_of(directory.path(), 1);
        assert!(file.load().unwrap().is_none());
        let mut cursor = cursor(3);
        for send_from in [4, 5] {
            mark(&mut cursor, send_from);
            file.store(&cursor).unwrap();
            assert_eq!(file.load().unwrap().as_ref(), Some(&cursor));
        }
        let names = std::fs::read_dir(directory.path()).unwrap();
        assert_eq!(names.count(), 2, "and nothing beside it and the log");
        let good = std::fs::read_to_string(file.path()).unwrap();
        let backwards = good.replace("\"read_from\":5", "\"read_from\":9");
        for bad in ["", "{}", &good[..good.len() / 2], &backwards] {
            std::fs::write(file.path(), bad).unwrap();
            let error = file.load().unwrap_err();
            assert!(matches!(error, CursorError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_cursor_that_somebody_else_raised_hides_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_of(directory.path(), 1);
        file.store(&cursor(4)).unwrap();
        let good = std::fs::read_to_string(file.path()).unwrap();
        let raised = good.replace("\"send_from\":4", "\"send_from\":9");
        assert_ne!(good, raised);
        std::fs::write(file.path(), &raised).unwrap();
        let refused = file.load();
        assert!(
            matches!(refused, Err(CursorError::Changed { send_from: 9 })),
            "{refused:?}"
        );
        // Another reader's word is not ours.
        file_of(directory.path(), 2).store(&cursor(9)).unwrap();
        assert!(matches!(file.load(), Err(CursorError::Changed { .. })));
    }

    #[test]
    fn a_cursor_of_an_early_version_is_read_where_nobody_else_can_have_put_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_of(directory.path(), 1);
        let early = r#"{"log":"11","read_from":4,"send_from":4,"source":{"host":"","log":"","version":"","process":null}}"#;
        std::fs::write(file.path(), format!("{early}\n")).unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (of_file, of_directory, is_taken) in [
            (0o600, 0o700, true),
            (0o660, 0o700, false),
            (0o600, 0o777, false),
        ] {
            mode(file.path(), of_file);
            mode(directory.path(), of_directory);
            match file.load() {
                Ok(Some(found)) if is_taken => assert_eq!(found, cursor(4)),
                Err(CursorError::Unsealed { send_from: 4 }) if !is_taken => {}
                other => panic!("{of_file:o} {of_directory:o}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn marks_are_few_and_none_is_much_further_back_than_what_is_lost(steps in prop::collection::vec(1..1000u64, 1..400)) {
            let (mut cursor, mut sent, mut all) = (cursor(0), 0, vec![]);
            for step in steps {
                sent += step;
                all.push(sent);
                mark(&mut cursor, sent);
            }
            let kept: Vec<u64> = cursor.marks.0.iter().map(|mark| mark.send_from).collect();
            prop_assert!(kept.len() <= 2 * 20 + 2, "{:?}", kept);
            prop_assert_eq!((kept.first(), kept.last()), (all.first(), all.last()));
            for window in kept.windows(3) {
                prop_assert!(window[2] - window[0] > sent - window[2], "{:?}", kept);
            }
        }
    }
}
