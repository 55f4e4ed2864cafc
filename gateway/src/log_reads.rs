//! The socket through which readers of the audit log say that they are about to read, and operators what
//! they do to keep it (`audit::reading`).
//!
//! It lies in the log's directory, for the log's owner and root alone. Who reads is what the kernel says
//! (SO_PEERCRED), the rest is words of a closed form; the answer is given when the entry is durable. One
//! message a connection, few connections at once, each with a time limit. Fails closed: without an answer
//! the reader reads nothing. Not here: reading, which the gateway cannot.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use audit::appender::Appender;
use audit::entry;
use audit::event::{By, Entry, Event, Time};
use audit::log::Log;
use audit::queue::Share;
use audit::reading::{self, MAX_MESSAGE, PATIENCE, RECORDED};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Connections at once.
const CONNECTIONS: usize = 4;

/// The answer when nothing was recorded.
const REFUSED: u8 = 0;

/// A socket that readers can come to. Its name goes when this is dropped.
#[derive(Debug)]
pub struct Readers {
    listener: UnixListener,
    path: PathBuf,
    /// Kept open where the path leads through it.
    _directory: Option<File>,
}

impl Readers {
    /// Listens in the log's directory, of which the caller holds the lock.
    ///
    /// # Errors
    /// What the operating system says. The log is then read unrecorded, or not at all.
    pub fn bind(directory: &Path) -> io::Result<Readers> {
        let (path, open) = reading::socket(directory)?;
        // What lies there is of a run before: nobody else has the lock.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Readers {
            listener,
            path,
            _directory: open,
        })
    }

    /// Serves until it is dropped.
    pub async fn serve(self, log: Log) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let appender = Rc::new(Appender::new(&log));
        let accept = async {
            loop {
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                    return;
                };
                let Ok((stream, _)) = self.listener.accept().await else {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                };
                let appender = Rc::clone(&appender);
                tokio::task::spawn_local(async move {
                    // A reader that stalls or breaks off has read nothing yet.
                    let _ = timeout(PATIENCE, exchange(stream, &appender)).await;
                    drop(permit);
                });
            }
        };
        tokio::select! {
            () = accept => {}
            never = appender.drive() => match never {},
        }
    }
}

/// Takes the name away. Another's could only lie there once the lock is given back.
impl Drop for Readers {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn exchange(mut stream: UnixStream, appender: &Appender) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    // The mode of the socket says the same; for a moment after it was made it did not.
    let ours = rustix::process::geteuid().as_raw();
    if peer.uid() != ours && peer.uid() != 0 {
        return Ok(());
    }
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    let mut answer = REFUSED;
    if length <= MAX_MESSAGE {
        let mut message = vec![0; length];
        stream.read_exact(&mut message).await?;
        let by = By {
            uid: peer.uid(),
            login_uid: peer.pid().and_then(reading::login_uid),
            served: true,
        };
        if record(&message, by, appender).await.is_some() {
            answer = RECORDED;
        }
    }
    stream.write_all(&[answer]).await?;
    stream.shutdown().await
}

/// Records what somebody says, and who says it. `None`: it is not on record.
async fn record(message: &[u8], by: By, appender: &Appender) -> Option<()> {
    let event = reading::asked(entry::decode(message).ok()?.event, by)?;
    let entry = Entry {
        time: Time::from_system(SystemTime::now()),
        event,
    };
    if !matches!(entry.event, Event::LogRead(_)) {
        // What hides, holds or copies records is told at once.
        let (act, uid) = (entry.event.kind(), by.uid);
        tracing::warn!(
            act,
            uid,
            "an act of keeping on the audit log: see its entry"
        );
    }
    let appended = appender.append(&entry, Share::Proven).ok()?;
    appender.log().kick();
    match appended.await {
        Ok(_) => Some(()),
        Err(error) => {
            tracing::warn!(%error, "a read of the audit log could not be recorded, and was refused");
            None
        }
    }
}
