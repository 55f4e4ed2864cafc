//! The sequencer: the one mutable state of the log, and the one thread that writes it.
//!
//! Workers encode entries and put them into a bounded queue. The committer takes all that has
//! gathered, writes it as one batch, waits for the disk, publishes how far the log is durable, and
//! wakes who waits. There is no timer: while one batch is being synced the next one gathers.
//!
//! What survives a crash here: every entry whose sequence number is below what was published. An
//! entry that was queued may be there or not.
//!
//! A write that fails poisons its segment: it is never written or synced again. The batch is put
//! into a fresh segment once; if that fails too, the log is unavailable, everybody who waits is told
//! so, and the committer tries a fresh segment every second. What was queued stays queued, within
//! its bounds, so that what is owed is recorded when the disk comes back. Fail closed: an append
//! that did not report a [`Receipt`] must be treated as not recorded.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::checkpoints::{self, Keeper, Means};
use crate::clock::{self, Clock, Watch};
use crate::commit::{self, Commit, Watched};
use crate::entry;
use crate::error::{AppendError, OpenError};
use crate::event::{Entry, Event, Kept, Retention, SigningKey, Time, UnsignedTail};
use crate::files::Directory;
use crate::keeping::Classes;
use crate::keyring::Keyring;
use crate::keys::system_random;
use crate::lock;
use crate::merkle::key::Signer;
use crate::merkle::rotation::Chain;
use crate::queue::{Limits, Share};
use crate::recover;
use crate::seal::NoRandomness;
use crate::seal::reader::Reader;
use crate::segments::{Segments, WriteError};
pub use crate::shared::Receipt;
use crate::shared::{Shared, State};
use crate::storage::{self, Disk, Durability, Storage};

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its directory; made when it does not exist.
    pub directory: PathBuf,
    /// What an acknowledged entry has survived.
    pub durability: Durability,
    /// Size of a segment file, bytes.
    pub segment_bytes: u64,
    /// Bounds of the queue.
    pub limits: Limits,
    /// Whom entries are encrypted to; without any they stay in the clear.
    pub readers: Vec<Reader>,
    /// How long what is written is kept, and what belongs to which class.
    pub classes: Classes,
    /// The key that checkpoints are signed with; its name is the origin of the log. Without one,
    /// nothing is signed, and a log that is signed does not open.
    pub signer: Option<Arc<Signer>>,
    /// Whether this key is known to have signed a log in this directory. Then one without checkpoints
    /// does not open.
    pub is_known: bool,
    /// How the log's earlier keys led to the signer: with them, a log that one of those signed goes
    /// on with ours.
    pub rotations: Chain,
}

/// What the log is doing, for metrics and readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Whether entries are taken.
    pub available: bool,
    /// Entries that are durable, since the log was made.
    pub durable: u64,
    /// Entries that wait.
    pub queued: usize,
    /// Batches written by this process.
    pub batches: u64,
    /// Bytes written by this process, padding included.
    pub bytes: u64,
    /// Microseconds spent waiting for the disk by this process.
    pub write_micros: u64,
    /// Bytes free on the log's file system.
    pub free: u64,
    /// Entries that the last checkpoint is about, since the log was made.
    pub signed: u64,
    /// When this process last signed a checkpoint.
    pub signed_at: Option<Time>,
    /// What was last known of the system's clock; nothing when the log was opened without one.
    pub clock: Option<clock::State>,
    /// How often this process saw that it was set.
    pub clock_steps: u64,
}

/// A handle to append with; clones lead to the same log.
#[derive(Debug, Clone)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
}

/// The owner of the committer thread and of the directory's lock.
#[derive(Debug)]
pub struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Held as long as this lives, and as something is signed.
    lock: Option<Arc<File>>,
}

/// How a log is opened.
#[derive(Debug, Clone, Copy, Default)]
struct Opening {
    /// The month that it stays in.
    month: Option<Time>,
    /// Whether for a few entries alone.
    is_brief: bool,
}

/// What signing asks for.
struct Signing {
    means: Means,
    lock: Arc<File>,
}

impl Log {
    /// Opens the log in `options.directory`, making it when there is none, and starts the committer.
    /// What a crash left behind is recorded as the first entry. Nothing is said of the clock.
    ///
    /// # Errors
    /// [`OpenError`]; the log is then as it was.
    pub fn open(options: &Options) -> Result<(Log, Committer), OpenError> {
        Log::open_in(options, None, Opening::default())
    }

    /// The same for a program that comes for a few entries and goes, again and again: it goes on in the
    /// last segment where it can, and prepares nothing ahead, so that a thousand such runs are not a
    /// thousand files. What a crash left behind ends a segment all the same.
    ///
    /// # Errors
    /// [`OpenError`]; the log is then as it was.
    pub fn open_briefly(options: &Options) -> Result<(Log, Committer), OpenError> {
        let opening = Opening {
            is_brief: true,
            ..Opening::default()
        };
        Log::open_in(options, None, opening)
    }

    /// The same, as if it were the month of `time`, until [`Log::turn`] says otherwise: it does not go over to
    /// keys of another month by itself. For whoever makes a log of another time, such as a test.
    ///
    /// # Errors
    /// [`OpenError`]; the log is then as it was.
    pub fn open_as_of(options: &Options, time: Time) -> Result<(Log, Committer), OpenError> {
        let opening = Opening {
            month: Some(time),
            ..Opening::default()
        };
        Log::open_in(options, None, opening)
    }

    /// The same with a clock: entries say how it stands, now and when that changes, and checkpoints do
    /// as they are signed. Nothing waits for it.
    ///
    /// # Errors
    /// [`OpenError`]; the log is then as it was.
    pub fn open_with_clock(
        options: &Options,
        clock: Arc<dyn Clock>,
    ) -> Result<(Log, Committer), OpenError> {
        Log::open_in(options, Some(clock), Opening::default())
    }

    fn open_in(
        options: &Options,
        clock: Option<Arc<dyn Clock>>,
        opening: Opening,
    ) -> Result<(Log, Committer), OpenError> {
        let segments = options.directory.join("wal");
        make(&segments).map_err(OpenError::disk("create the directory"))?;
        for directory in [&options.directory, &segments] {
            judge(directory)?;
        }
        let lock = Arc::new(lock::take(&options.directory)?);
        storage::settle(&options.directory).map_err(OpenError::disk("sync the directory"))?;
        let files = Directory::new(&options.directory);
        let is_signed = || checkpoints::is_signed(&files);
        if options.signer.is_none()
            && is_signed().map_err(OpenError::disk("look for checkpoints"))?
        {
            return Err(OpenError::NoKey);
        }
        let disk = Disk::open(segments, options.durability);
        let storage = Arc::new(disk.map_err(OpenError::disk("open the directory"))?);
        let signing = options.signer.as_ref().map(|signer| Signing {
            means: Means {
                directory: options.directory.clone(),
                files: Arc::new(files.clone()),
                signer: Arc::clone(signer),
                rotations: options.rotations.clone(),
                buffered: options.durability == Durability::Buffered,
                is_known: options.is_known,
            },
            lock: Arc::clone(&lock),
        });
        let opened = Log::begin(storage, options, signing, clock, opening);
        let (log, mut committer) = opened?;
        committer.lock = Some(lock);
        Ok((log, committer))
    }

    /// Opens a log that nobody serves for a reader, to add that it was read, in the clear. Nothing is
    /// signed: the next start signs what was added. A log that is shorter than its checkpoint says is
    /// left as it is.
    ///
    /// # Errors
    /// [`OpenError`]; the log is then as it was.
    pub fn visit(directory: &Path) -> Result<(Log, Committer), OpenError> {
        let segments = directory.join("wal");
        for directory in [directory, &segments] {
            judge(directory)?;
        }
        let lock = Arc::new(lock::take(directory)?);
        let disk = Disk::open(segments, Durability::Durable);
        let storage = Arc::new(disk.map_err(OpenError::disk("open the directory"))?);
        let signed = checkpoints::claimed(&Directory::new(directory))
            .map_err(OpenError::disk("read the checkpoint"))?;
        let entries = recover::survey(storage.as_ref(), [0; 16])?.tail.sequence;
        if entries < signed {
            return Err(OpenError::Shorter { signed, entries });
        }
        // The first entry behind the first checkpoint names the key: nothing may come between.
        let failed = || OpenError::disk("read a segment");
        let files = Directory::new(directory);
        if checkpoints::is_signed(&files).map_err(failed())?
            && !checkpoints::says_signed(directory, entries).map_err(failed())?
        {
            return Err(OpenError::NoKey);
        }
        let options = Options {
            directory: directory.to_owned(),
            durability: Durability::Durable,
            // The least that there is.
            segment_bytes: 0,
            limits: Limits {
                entries: 16,
                bytes: 64 * 1024,
            },
            readers: Vec::new(),
            classes: Classes::default(),
            signer: None,
            is_known: false,
            rotations: Chain::default(),
        };
        let (log, mut committer) = Log::begin(storage, &options, None, None, Opening::default())?;
        committer.lock = Some(lock);
        Ok((log, committer))
    }

    /// Opens the log on a storage of any kind, without a lock and in the clear. Nothing is signed.
    ///
    /// # Errors
    /// [`OpenError`]; the log is then as it was.
    pub fn open_on(
        storage: Arc<dyn Storage>,
        segment_bytes: u64,
        limits: Limits,
    ) -> Result<(Log, Committer), OpenError> {
        Log::open_there(storage, segment_bytes, limits, Opening::default())
    }

    /// The same for a few entries, as [`Log::open_briefly`].
    ///
    /// # Errors
    /// [`OpenError`]; the log is then as it was.
    pub fn open_briefly_on(
        storage: Arc<dyn Storage>,
        segment_bytes: u64,
        limits: Limits,
    ) -> Result<(Log, Committer), OpenError> {
        let opening = Opening {
            is_brief: true,
            ..Opening::default()
        };
        Log::open_there(storage, segment_bytes, limits, opening)
    }

    fn open_there(
        storage: Arc<dyn Storage>,
        segment_bytes: u64,
        limits: Limits,
        opening: Opening,
    ) -> Result<(Log, Committer), OpenError> {
        let options = Options {
            directory: PathBuf::new(),
            durability: Durability::Durable,
            segment_bytes,
            limits,
            readers: Vec::new(),
            classes: Classes::default(),
            signer: None,
            is_known: false,
            rotations: Chain::default(),
        };
        Log::begin(storage, &options, None, None, opening)
    }

    fn begin(
        storage: Arc<dyn Storage>,
        options: &Options,
        signing: Option<Signing>,
        clock: Option<Arc<dyn Clock>>,
        Opening { month, is_brief }: Opening,
    ) -> Result<(Log, Committer), OpenError> {
        let mut fresh = [0; 16];
        system_random(&mut fresh).map_err(|NoRandomness| OpenError::NoRandomness)?;
        let survey = recover::survey(storage.as_ref(), fresh)?;
        let tail = &survey.tail;
        if let Some((from, to, reason)) = &survey.accepted {
            tracing::warn!(from, to, %reason, "the audit log goes on without what it lost: an operator accepted that");
        }
        let moment = checkpoints::now(clock.as_deref());
        let now = moment.time;
        let signing = match signing {
            Some(Signing { means, lock }) => {
                Some((Keeper::open(means, tail.sequence, moment)?, lock))
            }
            None => None,
        };
        // All that could keep the log from opening has been looked at.
        let recovered = survey.clean(storage.as_ref())?;
        let keyring = if options.readers.is_empty() {
            None
        } else {
            let (directory, classes) = (&options.directory, &options.classes);
            let time = month.unwrap_or(now);
            let begun = Keyring::begin(directory, tail.log, &options.readers, classes, time)?;
            Some(begun)
        };
        let (keyring, drawn) = keyring.map_or((None, Vec::new()), |(keyring, drawn)| {
            (Some(Arc::new(keyring)), drawn)
        });
        // Behind something torn a segment ends: what was set aside has its place at the end of one.
        let begin = if is_brief && recovered.is_none() {
            Segments::go_on
        } else {
            Segments::begin
        };
        let segments =
            begin(storage, options.segment_bytes, tail).map_err(|error| match error {
                WriteError::Disk(error) => OpenError::Disk {
                    doing: "write",
                    error,
                },
                WriteError::Gone => OpenError::Missing {
                    segment: tail.segment,
                },
            })?;
        let shared = Arc::new(Shared::new(options.limits, tail.sequence, keyring));
        shared
            .free
            .store(segments.free().unwrap_or(u64::MAX), Ordering::Relaxed);
        let log = Log {
            shared: Arc::clone(&shared),
        };
        // First of all: the entry behind the first checkpoint says which key signs, and later ones
        // which key from there on.
        if let Some((keeper, _)) = &signing {
            if keeper.owes_key(tail.sequence) {
                let (key, rotation) = (&*keeper.key(), None);
                log.note(Event::SigningKey(SigningKey { key, rotation }));
            }
            // What the keeper finds in their place is judged before it signs.
            for rotation in keeper.owed() {
                let key = &*rotation.new_key().to_string();
                let rotation = Some(rotation.note());
                log.note(Event::SigningKey(SigningKey { key, rotation }));
            }
        }
        // What is promised of keys stands before them, and they before anything that is sealed under them.
        if !drawn.is_empty() {
            let classes: Vec<_> = options.classes.iter().collect();
            let names: Vec<_> = classes.iter().map(|(class, _)| class.to_string()).collect();
            let kept = names.iter().zip(&classes).map(|(class, (_, years))| Kept {
                class,
                years: *years,
            });
            log.note(Event::Retention(Retention {
                classes: kept.collect(),
            }));
        }
        for drawn in &drawn {
            log.note(drawn.event());
        }
        if let Some((keeper, _)) = &signing
            && keeper.signed() < tail.sequence
        {
            log.note(Event::UnsignedTail(UnsignedTail {
                signed: keeper.signed(),
                entries: tail.sequence - keeper.signed(),
            }));
        }
        if let Some(recovered) = recovered {
            log.note(Event::Recovered(recovered));
        }
        let watched = clock.clone().map(|clock| log.watch(clock));
        let committing = Arc::clone(&shared);
        let thread = spawn("audit-commit", move || {
            Commit::new(committing, segments, watched, month.is_some()).run();
        })?;
        let committer = Committer {
            shared: Arc::clone(&shared),
            thread: Some(thread),
            lock: None,
        };
        if let Some((keeper, lock)) = signing {
            shared.signing_begins(keeper.signed());
            // If there is no such thread, the committer ends with the value that is dropped.
            spawn("audit-sign", move || {
                checkpoints::run(&shared, keeper, clock.as_deref(), lock);
            })?;
        }
        Ok((log, committer))
    }

    /// Records `entry` and waits for it, at most `patience`. For the few records that are not
    /// written from a worker.
    ///
    /// # Errors
    /// [`AppendError`]: the entry counts as not recorded.
    pub fn append_blocking(
        &self,
        entry: &Entry<'_>,
        patience: Duration,
    ) -> Result<Receipt, AppendError> {
        let queued = self.queue(entry)?;
        self.wait_for(queued, patience)
    }

    /// Queues `entry`, to be waited for with [`Log::wait_for`]: of several, the last one alone, since they
    /// become durable in their order.
    ///
    /// # Errors
    /// [`AppendError`]: the entry counts as not recorded.
    pub fn queue(&self, entry: &Entry<'_>) -> Result<Queued, AppendError> {
        let leaf = self.shared.encode(entry)?;
        self.push(&leaf, Share::Proven, true).map(Queued)
    }

    /// Waits for an entry that was queued, and so for all before it, at most `patience`.
    ///
    /// # Errors
    /// [`AppendError`]: the entry, and those before it that nobody waited for, count as not recorded.
    pub fn wait_for(&self, queued: Queued, patience: Duration) -> Result<Receipt, AppendError> {
        self.shared.work.notify_one();
        self.shared.wait_for(queued.0, patience)
    }

    /// Records `entry` without waiting.
    ///
    /// # Errors
    /// [`AppendError`]: it is not recorded; count it, or try again later.
    pub fn append_unwaited(&self, entry: &Entry<'_>, share: Share) -> Result<(), AppendError> {
        let leaf = self.shared.encode(entry)?;
        self.push(&leaf, share, false).map(drop)
    }

    /// Reserves the place of a record that will be owed.
    ///
    /// # Errors
    /// [`AppendError`]: what would owe the record must not begin.
    pub fn reserve(&self, share: Share) -> Result<Slot, AppendError> {
        self.shared.reserve(share)?;
        Ok(Slot {
            reserved: Some((Arc::clone(&self.shared), share)),
        })
    }

    /// Takes over which routes have which class of retention, from now on: a configuration was put in force.
    /// Classes and their periods are those that the log was opened with.
    pub fn reroute(&self, classes: &Classes) {
        if let Some(keyring) = &self.shared.keyring {
            keyring.reroute(classes);
        }
    }

    /// Goes over to the keys of the month that `now` falls in. The committer does this by itself, within a
    /// second of the month's beginning.
    ///
    /// # Errors
    /// Why there are no such keys; those that are in use stay.
    pub fn turn(&self, now: Time) -> Result<(), impl fmt::Display + fmt::Debug + use<>> {
        self.shared.turn(now)
    }

    /// Tells the committer that entries wait, if any do. Workers call this when they run out of
    /// other things to do, so that a batch holds all that a worker gathered.
    pub fn kick(&self) {
        if self.shared.pending.swap(false, Ordering::AcqRel)
            && !self.shared.gathering.load(Ordering::Acquire)
        {
            self.shared.work.notify_one();
        }
    }

    /// Whether the log takes entries at the moment; cheap, for every piece of a stream.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.shared.is_available()
    }

    /// What the log is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        let (signed, signed_at) = shared.signed();
        let (clock, clock_steps) = shared.clock();
        Status {
            signed,
            signed_at,
            clock,
            clock_steps,
            available: shared.is_available(),
            durable: shared.durable.load(Ordering::Acquire),
            queued: shared.queue().depth(),
            batches: shared.batches.load(Ordering::Relaxed),
            bytes: shared.bytes.load(Ordering::Relaxed),
            write_micros: shared.write_micros.load(Ordering::Relaxed),
            free: shared.free.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn push(
        &self,
        bytes: &[u8],
        share: Share,
        is_awaited: bool,
    ) -> Result<u64, AppendError> {
        let sequence = self.shared.accept(bytes, share, is_awaited)?;
        self.shared.pending.store(true, Ordering::Release);
        Ok(sequence)
    }

    /// Records how a clock stands at the start, and begins to watch it.
    fn watch(&self, clock: Arc<dyn Clock>) -> Watched {
        let reading = clock.read();
        let watch = Watch::begin(&reading);
        let begun = watch.begun();
        self.note(begun.event());
        commit::alert(&begun);
        self.shared.clock_is(reading.state, 0);
        Watched { clock, watch }
    }

    /// Queues what the log says of itself when it is opened.
    fn note(&self, event: Event<'_>) {
        let entry = Entry {
            time: Time::from_system(SystemTime::now()),
            event,
        };
        let mut leaf = Vec::new();
        // Events of this kind stay in the clear (`stays_clear`).
        entry::encode(&entry, &mut leaf);
        // A few small entries, taken whatever the limits: one that tells of a key must not be missing. Nobody
        // else has seen the queue yet, so no place is another's.
        self.shared.queue().push_reserved(&leaf, Share::Proven);
    }
}

impl Committer {
    /// The lock of the directory, for whoever keeps evidence in it beside the log. The log is another
    /// process's to open once this and all copies are dropped.
    #[must_use]
    pub fn lock(&self) -> Option<Arc<File>> {
        self.lock.clone()
    }

    /// Records all that is queued, closes the last segment, signs all that is signed at all, and
    /// ends the threads; waits at most `patience`. What the disk takes and cannot be signed is signed
    /// at the next start.
    ///
    /// # Errors
    /// [`AppendError::Unavailable`] when the disk did not take what was queued,
    /// [`AppendError::Stalled`] when it did not answer in time.
    pub fn close(mut self, patience: Duration) -> Result<(), AppendError> {
        self.shared.closing.store(true, Ordering::Release);
        // The lock makes sure that the committer either sees `closing` or is waiting.
        drop(self.shared.queue());
        self.shared.work.notify_one();
        let until = Instant::now() + patience;
        let mut guard = self.shared.published_lock();
        while State::load(&self.shared.state) != State::Closed || !self.shared.is_signing_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(AppendError::Stalled);
            }
            guard = self
                .shared
                .published
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        drop(guard);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        drop(self.lock.take());
        if self.shared.queue().depth() > 0 {
            Err(AppendError::Unavailable)
        } else {
            Ok(())
        }
    }
}

/// A committer that is dropped without `close` still writes what it can; nobody waits for it.
impl Drop for Committer {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        drop(self.shared.queue());
        self.shared.work.notify_one();
    }
}

/// An entry that was queued and may not be durable yet.
#[derive(Debug, Clone, Copy)]
#[must_use = "what is not waited for counts as not recorded"]
pub struct Queued(u64);

/// A reserved place in the queue.
#[derive(Debug)]
pub struct Slot {
    reserved: Option<(Arc<Shared>, Share)>,
}

impl Slot {
    /// Records `entry` in the reserved place. Nobody waits for it. It is taken even while the log is
    /// unavailable, and written when it comes back.
    pub fn fill(mut self, entry: &Entry<'_>) {
        let Some((shared, share)) = self.reserved.take() else {
            return;
        };
        match shared.encode(entry) {
            Ok(leaf) => {
                shared.queue().push_reserved(&leaf, share);
                shared.pending.store(true, Ordering::Release);
            }
            Err(error) => {
                shared.queue().cancel(share);
                tracing::error!(%error, "a record that was owed is lost");
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some((shared, share)) = self.reserved.take() {
            shared.queue().cancel(share);
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(OpenError::disk("start a thread"))
}

/// Makes the directory of the segments, and those that it stands in.
fn make(segments: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(segments)
}

/// Whoever may write to a directory may put files into it and take files out.
pub(crate) fn judge(directory: &Path) -> Result<(), OpenError> {
    let metadata =
        std::fs::metadata(directory).map_err(OpenError::disk("look at the directory"))?;
    let mode = metadata.mode() & 0o7777;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw() || metadata.uid() == 0;
    if mode & 0o022 != 0 || !ours {
        return Err(OpenError::Exposed {
            directory: directory.to_owned(),
            mode,
        });
    }
    Ok(())
}
