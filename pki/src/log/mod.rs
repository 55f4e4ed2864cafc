//! The authority's audit log: what is about to be signed, what came of it, and every verb that was run, in the
//! format of the gateway's log (`DIR/audit`, for the program `audit`).
//!
//! ```text
//! open ──► Recorder ── intend ──► Recorded   the one thing that a signature asks for
//!             │                              (`authority`): named by the hash of what is signed
//!             ├─ issued, revoked, published, token, act, refused, verb
//!             └─ close: signed up to here, and free for the next
//! ```
//!
//! One writer a log. A verb holds it from its first entry to its last, a long run for a batch of them, and
//! whoever waits gets the next turn. **Order of locks:** the log first, then the inventory; who holds a
//! transaction of the inventory never opens the log.
//!
//! Fails closed: what cannot be recorded is not signed. What survives a crash: an entry whose call returned
//! is durable, with all before it. Entries stand in the clear, readable for the owner alone, as the
//! inventory beside them that holds the same names (decision 028). Not here: what the entries mean
//! (`audit::event`), and what an operator is told of a log that does not open (`cli`).

mod error;

mod entries;

mod read;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::entry;
use audit::error::{AppendError, OpenError};
use audit::event::{
    Act, Authority, CertificateIssued, CertificateRevoked, Digest, Event, RequestRefused, Verb,
};
use audit::keeping::Classes;
use audit::keys::{Keys, KeysError, MAX_FILE, system_random};
use audit::log::{Committer, Log, Options, Queued};
use audit::merkle::key::KeyError;
use audit::public_key;
use audit::queue::Limits;
use audit::storage::Durability;
use rustix::fs::OFlags;

pub use entries::{Asker, CrlEntry, Intended, TokenEntry};
pub use error::LogError;
pub use read::{Certificates, Logged, LoggedIntention, LoggedStep, certificates};

use crate::files::{Doing, FileError, Readers, create_new, read_secret};
use crate::name::Name;
use crate::profile::Profile;
use crate::public_key::{KeyId, hex};
use crate::reason::Reason;
use crate::serial::Serial;
use entries::now;

/// The log's directory, in the authority's.
pub const DIRECTORY: &str = "audit";

/// Longest wait for a log that another process writes to.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The keys of the log, in the authority's own directory.
const KEYS: &str = "ca/audit.keys";

/// Who holds a lock on this file is the next one to get the log.
const TURN: &str = "ca/audit.turn";

/// A segment has room for a thousand short verbs; opening reads the last one.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// As many entries as are queued before somebody waits for the last of them.
const GROUP: usize = 256;

/// The proof that the intention to sign is durable. Only the log gives it out, for one signature under
/// the octets that it names.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "it is good for one signature"]
pub struct Recorded {
    tbs_sha256: [u8; 32],
}

impl Recorded {
    /// Whether it is about these octets, by their SHA-256.
    #[must_use]
    pub fn is_about(&self, tbs_sha256: &[u8; 32]) -> bool {
        self.tbs_sha256 == *tbs_sha256
    }
}

/// The log of the authority in a directory.
#[derive(Debug, Clone)]
pub struct AuditLog {
    authority: PathBuf,
}

impl AuditLog {
    /// That of the authority in `directory`. Looks at nothing.
    #[must_use]
    pub fn of(directory: &Path) -> Self {
        Self {
            authority: directory.to_owned(),
        }
    }

    /// Where it lies: `DIR/audit`, with its public key beside it.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.authority.join(DIRECTORY)
    }

    /// Draws the keys of a new log, for an authority that is being founded, and opens it. The public key
    /// is written beside its directory, once.
    pub(crate) fn found(&self) -> Result<Recorder, LogError> {
        let mut id = [0; 8];
        system_random(&mut id).map_err(|_| FileError::NoRandomness)?;
        // A log needs a name of its own: its checkpoints bear it, and a witness knows it by nothing else.
        let path = self.authority.join(KEYS);
        let keys = |error| LogError::Keys {
            path: path.clone(),
            error,
        };
        let name = format!("pki.phigate/{}", hex(&id));
        let name = name
            .parse()
            .map_err(|error: KeyError| keys(KeysError::Signer { number: 0, error }))?;
        let text = Keys::draw(&name, &mut system_random).map_err(keys)?;
        create_new(&path, Readers::Owner, text.as_bytes())?;
        let recorder = self.open()?;
        let key = self.keys()?.signer.verifier().clone();
        public_key::publish(&self.directory(), &key).map_err(|source| {
            FileError::io(
                Doing::Create,
                &public_key::beside(&self.directory()),
                source,
            )
        })?;
        Ok(recorder)
    }

    /// Opens it to write, behind whoever does so now, at most [`PATIENCE`] later.
    ///
    /// The cost does not grow with the log: the last segment is read, and what follows the last
    /// checkpoint. Nothing may be signed without it, so an error is a reason to stop; reading the
    /// inventory is not signing.
    pub fn open(&self) -> Result<Recorder, LogError> {
        let until = Instant::now() + PATIENCE;
        let keys = self.keys()?;
        let directory = self.directory();
        // Beside the log of a founding there is none yet; from then on, a log that is gone is missed.
        let is_known =
            public_key::is_published(&directory, keys.signer.verifier(), &keys.rotations)
                .map_err(LogError::PublicKey)?;
        let options = Options {
            directory,
            durability: Durability::Durable,
            segment_bytes: SEGMENT_BYTES,
            limits: Limits {
                entries: 4 * GROUP,
                bytes: 4 * GROUP * entry::MAX_BYTES,
            },
            readers: Vec::new(),
            classes: Classes::default(),
            signer: Some(Arc::new(keys.signer)),
            is_known,
            rotations: keys.rotations,
        };
        let _turn = self.turn(until)?;
        let (log, committer) = loop {
            match Log::open_briefly(&options) {
                Ok(opened) => break opened,
                // Each attempt takes some seconds of its own.
                Err(OpenError::Locked) if Instant::now() < until => {}
                Err(OpenError::Locked) => return Err(LogError::Busy),
                Err(error) => return Err(LogError::Open(Box::new(error))),
            }
        };
        Ok(Recorder {
            log,
            committer: Some(committer),
        })
    }

    /// Puts one entry on record, for whoever has nothing else to say.
    pub fn record(
        &self,
        what: impl FnOnce(&Recorder) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let recorder = self.open()?;
        what(&recorder)?;
        recorder.close()
    }

    fn keys(&self) -> Result<Keys, LogError> {
        let path = self.authority.join(KEYS);
        let text = match read_secret(&path, MAX_FILE) {
            Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(LogError::Missing { path });
            }
            text => text?,
        };
        Keys::parse(&text).map_err(|error| LogError::Keys { path, error })
    }

    /// Waits to be the next one. Without it who closes the log and opens it at once, as a long run does,
    /// would be faster than anybody who looks whether it is free.
    fn turn(&self, until: Instant) -> Result<File, LogError> {
        let path = self.authority.join(TURN);
        let open = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path);
        let file = open.map_err(|source| FileError::io(Doing::Open, &path, source))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "no runtime here: whoever has one calls this from a thread that may wait"
                    )]
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => return Err(LogError::Busy),
                Err(TryLockError::Error(source)) => {
                    return Err(FileError::io(Doing::Lock, &path, source).into());
                }
            }
        }
    }
}

/// The log, open: nobody else writes to it meanwhile. Hold it for as long as entries come, and no longer.
#[derive(Debug)]
pub struct Recorder {
    log: Log,
    committer: Option<Committer>,
}

impl Recorder {
    /// Puts the intention to sign a certificate on record: durable when it returns.
    pub fn intend(&self, certificate: &Intended<'_>) -> Result<Recorded, LogError> {
        let mut recorded = self.intend_all([certificate])?;
        recorded.pop().ok_or(LogError::Append(AppendError::Closed))
    }

    /// The same for many at once, behind few waits for the disk. In their order.
    pub fn intend_all<'a>(
        &self,
        certificates: impl IntoIterator<Item = &'a Intended<'a>>,
    ) -> Result<Vec<Recorded>, LogError> {
        let mut recorded = Vec::new();
        let mut group = Group::of(self);
        for certificate in certificates {
            certificate.tell(|event| group.push(event))?;
            recorded.push(Recorded {
                tbs_sha256: *certificate.tbs_sha256,
            });
        }
        group.end()?;
        Ok(recorded)
    }

    /// Records that certificates were signed and are in the inventory: serial and SHA-256 of each.
    pub fn issued<'a>(
        &self,
        issuer: KeyId,
        certificates: impl IntoIterator<Item = (&'a Serial, [u8; 32])>,
    ) -> Result<(), LogError> {
        let issuer = issuer.to_string();
        let mut group = Group::of(self);
        for (serial, sha256) in certificates {
            group.push(Event::CertificateIssued(CertificateIssued {
                issuer: &issuer,
                serial: &serial.to_string(),
                sha256: Digest::new(sha256),
            }))?;
        }
        group.end()
    }

    /// Records that certificates are about to be revoked: issuer and serial of each.
    pub fn revoked<'a>(
        &self,
        certificates: impl IntoIterator<Item = (KeyId, &'a Serial)>,
        reason: Reason,
        by: &Asker,
    ) -> Result<(), LogError> {
        let mut group = Group::of(self);
        for (issuer, serial) in certificates {
            by.tell(|by| {
                group.push(Event::CertificateRevoked(CertificateRevoked {
                    issuer: &issuer.to_string(),
                    serial: &serial.to_string(),
                    reason: reason.row().name,
                    by,
                }))
            })?;
        }
        group.end()
    }

    /// Puts the intention to sign a CRL on record: durable when it returns.
    pub fn intend_crl(&self, crl: &CrlEntry) -> Result<Recorded, LogError> {
        crl.tell(false, |event| self.append(event))?;
        Ok(Recorded {
            tbs_sha256: crl.tbs_sha256,
        })
    }

    /// Records that verifiers can read a CRL.
    pub fn published(&self, crl: &CrlEntry) -> Result<(), LogError> {
        crl.tell(true, |event| self.append(event))
    }

    /// Records what becomes of a token.
    pub fn token(&self, token: &TokenEntry<'_>) -> Result<(), LogError> {
        token.tell(|event| self.append(event))
    }

    /// Records what is done with the authority itself, before it is done: to what, with what (by its
    /// SHA-256), and why, in the operator's words.
    pub fn act(
        &self,
        act: Act,
        subject: Option<&str>,
        digest: Option<[u8; 32]>,
        reason: Option<&str>,
    ) -> Result<(), LogError> {
        Asker::Operator.tell(|by| {
            self.append(Event::Authority(Authority {
                act,
                subject,
                digest: digest.map(Digest::new),
                reason,
                by,
            }))
        })
    }

    /// Records that a certificate was asked for and refused. Of who proved nothing, the caller bounds how
    /// often: what anybody can cause must not fill a disk.
    pub fn refused(
        &self,
        code: &str,
        profile: Option<&'static Profile>,
        names: &[Name],
        by: &Asker,
    ) -> Result<(), LogError> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        by.tell(|by| {
            self.append(Event::RequestRefused(RequestRefused {
                code,
                profile: profile.map(|profile| profile.name),
                names: names.iter().map(String::as_str).collect(),
                by,
            }))
        })
    }

    /// Records that a verb was run, and why nothing came of it if so.
    pub fn verb(&self, verb: &str, code: Option<&str>) -> Result<(), LogError> {
        Asker::Operator.tell(|by| self.append(Event::Verb(Verb { verb, code, by })))
    }

    /// Lets the next one have it. Everything is signed then; what cannot be signed now is at the next
    /// opening.
    pub fn close(mut self) -> Result<(), LogError> {
        let closed = self
            .committer
            .take()
            .map(|committer| committer.close(PATIENCE));
        closed.unwrap_or(Ok(())).map_err(LogError::Append)
    }

    fn append(&self, event: Event<'_>) -> Result<(), LogError> {
        let appended = self.log.append_blocking(&now(event), PATIENCE);
        appended.map(drop).map_err(LogError::Append)
    }
}

/// Who fails on the way still lets the next one have it.
impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(committer) = self.committer.take() {
            let _ = committer.close(PATIENCE);
        }
    }
}

/// Entries that go to the disk together: of each [`GROUP`], the last one is waited for.
struct Group<'a> {
    recorder: &'a Recorder,
    count: usize,
    last: Option<Queued>,
}

impl<'a> Group<'a> {
    fn of(recorder: &'a Recorder) -> Self {
        Self {
            recorder,
            count: 0,
            last: None,
        }
    }

    fn push(&mut self, event: Event<'_>) -> Result<(), LogError> {
        let queued = self.recorder.log.queue(&now(event));
        self.last = Some(queued.map_err(LogError::Append)?);
        self.count += 1;
        if self.count.is_multiple_of(GROUP) {
            self.wait()?;
        }
        Ok(())
    }

    /// Waits for the last one, and so for all.
    fn end(mut self) -> Result<(), LogError> {
        self.wait()
    }

    fn wait(&mut self) -> Result<(), LogError> {
        let Some(last) = self.last.take() else {
            return Ok(());
        };
        let durable = self.recorder.log.wait_for(last, PATIENCE);
        durable.map(drop).map_err(LogError::Append)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What the log gives out, without a log.
    pub(crate) fn recorded(tbs_sha256: &[u8; 32]) -> Recorded {
        Recorded {
            tbs_sha256: *tbs_sha256,
        }
    }

    /// The log of an authority that is being founded.
    pub(crate) fn new_log() -> (tempfile::TempDir, AuditLog) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("ca")).unwrap();
        let log = AuditLog::of(directory.path());
        log.found().unwrap().close().unwrap();
        (directory, log)
    }

    fn serial(number: u32) -> Serial {
        Serial::parse(&format!("4f{number:08x}")).unwrap()
    }

    fn issue(recorder: &Recorder, numbers: std::ops::Range<u32>) {
        let serials: Vec<Serial> = numbers.map(serial).collect();
        let certificates = serials.iter().map(|serial| (serial, [9; 32]));
        recorder.issued(KeyId([7; 20]), certificates).unwrap();
    }

    fn segments(log: &AuditLog) -> usize {
        std::fs::read_dir(log.directory().join("wal"))
            .unwrap()
            .count()
    }

    #[test]
    fn many_short_runs_are_few_files() {
        let (directory, log) = new_log();
        for number in 0..40 {
            let recorder = log.open().unwrap();
            issue(&recorder, number..number + 1);
            recorder.close().unwrap();
        }
        assert_eq!(segments(&log), 1);
        let found: Vec<_> = certificates(directory.path()).map(Result::unwrap).collect();
        let serials: Vec<_> = found.iter().map(|logged| logged.serial.clone()).collect();
        assert_eq!(serials, (0..40).map(serial).collect::<Vec<_>>());
        assert!(found.iter().all(|logged| logged.step == LoggedStep::Issued));
    }

    #[test]
    fn more_entries_at_once_than_the_queue_holds_are_all_there() {
        const MANY: u32 = 10_000;
        let (directory, log) = new_log();
        let recorder = log.open().unwrap();
        issue(&recorder, 0..MANY);
        recorder.close().unwrap();
        assert_eq!(certificates(directory.path()).count(), MANY as usize);
    }

    #[test]
    fn a_log_that_is_gone_is_missed_and_nothing_is_recorded_in_another() {
        let (directory, log) = new_log();
        std::fs::remove_dir_all(log.directory()).unwrap();
        assert!(matches!(log.open(), Err(LogError::Open(_))));
        std::fs::remove_file(directory.path().join(KEYS)).unwrap();
        assert!(matches!(log.open(), Err(LogError::Missing { .. })));
    }

    #[test]
    fn who_comes_again_at_once_is_not_faster_than_who_waits() {
        let (_directory, log) = new_log();
        let waiting = log.clone();
        let first = log.open().unwrap();
        let waiter = std::thread::spawn(move || {
            waiting
                .record(|recorder| recorder.verb("wait", None))
                .unwrap();
        });
        first.close().unwrap();
        // A long run: it opens the log again as soon as it closed it.
        while !waiter.is_finished() {
            log.open().unwrap().close().unwrap();
        }
        waiter.join().unwrap();
    }
}
