//! Reads of the log are on record (DICOM PS3.16, 110101 "Audit Log Used"): how a reader gets its entry in
//! before it reads. Acts of keeping (holds, destruction, backups) come the same way.
//!
//! On a log that a gateway serves the reader asks it, through the Unix socket `SOCKET` in the log's
//! directory: two bytes of length (big endian) and the entry; back comes one byte, [`RECORDED`] once the
//! entry is durable. The gateway takes from the kernel, not from the entry, who asks. On a log that nobody
//! serves the reader takes the lock and adds the entry itself, as the log's owner; the next start signs it.
//!
//! Fails closed where there is a gateway: what it does not record is not read. What cannot be written to,
//! a copy of another user or a medium that is read-only, is read unrecorded, and the reader says so. Whoever
//! holds a reader's key and the files can read them with any program: this is a record of who reads in
//! order, not a lock.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::{Gid, Uid, geteuid, getuid};

use crate::entry;
use crate::error::{AppendError, OpenError};
use crate::event::{Backup, By, Destruction, Entry, Event, Hold, LogRead, Pseudonym, Time};
use crate::lock::has_writer;
use crate::log::Log;
use crate::opened::pause;
use crate::select::Filter;

/// The socket of a log that is served, in its directory.
pub const SOCKET: &str = "SOCKET";

/// The answer once the entry is durable.
pub const RECORDED: u8 = 1;

/// No message is longer, bytes.
pub const MAX_MESSAGE: usize = 8 * 1024;

/// How long either side waits for the other.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How a read was put on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// By the gateway that serves the log.
    Served,
    /// By the reader itself.
    Alone,
}

/// Puts a read by `verb` of what `filter` asks for on record.
///
/// # Errors
/// [`RecordError`]; [`RecordError::must_stop`] says whether nothing may be read then.
pub fn record(directory: &Path, verb: &str, filter: &Filter) -> Result<Recorded, RecordError> {
    let filters = filter.asked();
    let mut patients: Vec<Pseudonym> = Vec::new();
    if let Some(names) = &filter.patients {
        patients.extend(names.iter());
    }
    let more = patients.len().saturating_sub(LogRead::MOST) as u64;
    patients.truncate(LogRead::MOST);
    let By { uid, login_uid, .. } = own_hand();
    let read = LogRead {
        uid,
        login_uid,
        verb,
        filters,
        patients,
        more,
        since: filter.since,
        until: filter.until,
        served: false,
    };
    put(directory, Event::LogRead(read))
}

/// Who runs this program, for an entry that [`put`] adds. A gateway that serves the log sets its own
/// word in the place of it.
#[must_use]
pub fn own_hand() -> By {
    By {
        uid: getuid().as_raw(),
        login_uid: login_uid("self"),
        served: false,
    }
}

/// Adds what somebody does with the log, at this moment, to it: durable when it returns. The events are
/// those that [`asked`] lets pass.
///
/// # Errors
/// [`RecordError`]: it is not on record, as far as is known.
pub fn put(directory: &Path, event: Event<'_>) -> Result<Recorded, RecordError> {
    let entry = Entry {
        time: Time::from_system(SystemTime::now()),
        event,
    };
    // A gateway that starts or stops has the lock a moment longer than the socket.
    for _ in 0..10 {
        match connect(directory) {
            Ok(stream) => return ask(stream, &entry),
            Err(error) if !is_served(directory, &error)? => {
                return alone(directory, &entry).map(|()| Recorded::Alone);
            }
            Err(_) => pause(),
        }
    }
    let error = connect(directory).err();
    Err(RecordError::Unreached {
        error: error.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()),
    })
}

/// What a gateway adds for somebody who asks through the socket: the event, as done by `by`. `None`: not an
/// event that anybody can ask for, or one that says more than it may.
#[must_use]
pub fn asked(event: Event<'_>, by: By) -> Option<Event<'_>> {
    let By {
        uid,
        login_uid,
        served,
    } = by;
    match event {
        Event::LogRead(read) if read.is_plain() => Some(Event::LogRead(LogRead {
            uid,
            login_uid,
            served,
            ..read
        })),
        Event::Hold(hold) if hold.is_plain() => Some(Event::Hold(Hold { by, ..hold })),
        Event::Destruction(end) if end.is_plain() => {
            Some(Event::Destruction(Destruction { by, ..end }))
        }
        Event::Backup(backup) => Some(Event::Backup(Backup { by, ..backup })),
        _ => None,
    }
}

/// The user who logged in, of a process or of `self`, where the system knows (loginuid, audit(8)).
#[must_use]
pub fn login_uid(process: impl fmt::Display) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{process}/loginuid")).ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

/// The path of the socket. A path that is too long for a socket's address is reached through the open
/// directory, which the caller keeps open.
///
/// # Errors
/// What the operating system says when the directory does not open.
pub fn socket(directory: &Path) -> io::Result<(PathBuf, Option<File>)> {
    const LONGEST: usize = 100;
    let path = directory.join(SOCKET);
    if path.as_os_str().len() <= LONGEST {
        return Ok((path, None));
    }
    let open = File::open(directory)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd()));
    Ok((path, Some(open)))
}

fn connect(directory: &Path) -> io::Result<UnixStream> {
    let (path, _open) = socket(directory)?;
    UnixStream::connect(path)
}

/// Whether a gateway has the log, although nobody answers.
fn is_served(directory: &Path, error: &io::Error) -> Result<bool, RecordError> {
    // Somebody listens whom this user may not ask.
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Err(RecordError::NotAllowed);
    }
    has_writer(directory).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => RecordError::NotAllowed,
        _ => RecordError::Closed(OpenError::disk("look at the lock")(error)),
    })
}

fn ask(mut stream: UnixStream, entry: &Entry<'_>) -> Result<Recorded, RecordError> {
    let mut message = vec![0, 0];
    entry::encode(entry, &mut message);
    let length = message.len() - 2;
    let Some(bytes) = u16::try_from(length).ok().filter(|_| length <= MAX_MESSAGE) else {
        return Err(RecordError::Unreached {
            error: io::ErrorKind::InvalidInput.into(),
        });
    };
    message[..2].copy_from_slice(&bytes.to_be_bytes());
    let mut answer = [0];
    let asked = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| stream.write_all(&message))
        .and_then(|()| stream.read_exact(&mut answer));
    match asked {
        Ok(()) if answer == [RECORDED] => Ok(Recorded::Served),
        Ok(()) => Err(RecordError::Refused),
        Err(error) => Err(RecordError::Unreached { error }),
    }
}

/// Adds the entry to a log that nobody serves. Files are made as the log's owner: the gateway could not
/// go on with those of root.
fn alone(directory: &Path, entry: &Entry<'_>) -> Result<(), RecordError> {
    let look = OpenError::disk("look at the directory");
    let owner = std::fs::metadata(directory).map_err(|error| RecordError::Closed(look(error)))?;
    let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    if geteuid() == uid {
        return add(directory, entry);
    }
    if !geteuid().is_root() {
        return Err(RecordError::NotAllowed);
    }
    // The threads of the log are children of this one, and are the owner too.
    std::thread::scope(|scope| {
        let added = scope.spawn(|| {
            let become_owner = rustix::thread::set_thread_res_gid(gid, gid, gid)
                .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid));
            become_owner.map_err(|_| RecordError::NotAllowed)?;
            add(directory, entry)
        });
        // A defect. Fail closed: nothing is read.
        added.join().unwrap_or(Err(RecordError::Refused))
    })
}

fn add(directory: &Path, entry: &Entry<'_>) -> Result<(), RecordError> {
    let (log, committer) = Log::visit(directory).map_err(|error| match error {
        OpenError::Disk { error, .. } if cannot_write(&error) => RecordError::NotAllowed,
        error => RecordError::Closed(error),
    })?;
    let recorded = log.append_blocking(entry, PATIENCE);
    let closed = committer.close(PATIENCE);
    recorded
        .map(drop)
        .and(closed)
        .map_err(RecordError::Unwritten)
}

fn cannot_write(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Why a read is not on record.
#[derive(Debug)]
pub enum RecordError {
    /// This user may not write to the log, or nobody may.
    NotAllowed,
    /// The log does not open for writing.
    Closed(OpenError),
    /// The entry was not written.
    Unwritten(AppendError),
    /// A gateway serves the log, and does not answer.
    Unreached {
        /// What the operating system said.
        error: io::Error,
    },
    /// The gateway could not record it.
    Refused,
}

impl RecordError {
    /// Whether nothing may be read: there is somebody who should have recorded it. A log that cannot be
    /// written to is evidence all the same, and is read unrecorded.
    #[must_use]
    pub fn must_stop(&self) -> bool {
        match self {
            RecordError::Unreached { .. }
            | RecordError::Refused
            | RecordError::Unwritten(_)
            | RecordError::Closed(OpenError::Locked) => true,
            RecordError::NotAllowed | RecordError::Closed(_) => false,
        }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::NotAllowed => f.write_str("this user cannot write to the log"),
            RecordError::Closed(error) => error.fmt(f),
            RecordError::Unwritten(error) => error.fmt(f),
            RecordError::Unreached { error } => {
                write!(
                    f,
                    "the gateway that serves the log does not answer: {error}"
                )
            }
            RecordError::Refused => f.write_str("the gateway cannot record it"),
        }
    }
}

impl std::error::Error for RecordError {}
