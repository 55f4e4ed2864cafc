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

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::entry;
use crate::error::{AppendError, OpenError};
use crate::event::{Entry, Event, Interrupted, Recovered, Time};
use crate::queue::{Limits, Queue};
use crate::recover;
use crate::segments::{Segments, WriteError};
use crate::storage::{Disk, Durability, Storage};

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
}

/// Proof that an entry is recorded: its position, durable as the log's options say.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    sequence: u64,
}

impl Receipt {
    pub(crate) fn new(sequence: u64) -> Receipt {
        Receipt { sequence }
    }

    /// The entry's sequence number.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
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
    /// Held as long as this lives.
    lock: Option<File>,
}

impl Log {
    /// Opens the log in `options.directory`, making it when there is none, and starts the committer.
    /// What a crash left behind is recorded as the first entry.
    ///
    /// # Errors
    /// [`OpenError`]; the log is then as it was.
    pub fn open(options: &Options) -> Result<(Log, Committer), OpenError> {
        let segments = options.directory.join("wal");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&segments)
            .map_err(OpenError::disk("create the directory"))?;
        let lock = lock(&options.directory)?;
        let storage = Arc::new(Disk::new(segments, options.durability));
        let (log, mut committer) = Log::open_on(storage, options.segment_bytes, options.limits)?;
        committer.lock = Some(lock);
        Ok((log, committer))
    }

    /// Opens the log on a storage of any kind, without a lock.
    ///
    /// # Errors
    /// [`OpenError`]; the log is then as it was.
    pub fn open_on(
        storage: Arc<dyn Storage>,
        segment_bytes: u64,
        limits: Limits,
    ) -> Result<(Log, Committer), OpenError> {
        let mut fresh = [0; 16];
        aws_lc_rs::rand::fill(&mut fresh).map_err(|_| OpenError::NoRandomness)?;
        let (tail, recovered) = recover::recover(storage.as_ref(), fresh)?;
        let segments =
            Segments::begin(storage, segment_bytes, &tail).map_err(|error| match error {
                WriteError::Disk(error) => OpenError::Disk {
                    doing: "write",
                    error,
                },
                WriteError::Gone => OpenError::Missing {
                    segment: tail.segment,
                },
            })?;
        let shared = Arc::new(Shared::new(limits, tail.sequence));
        shared
            .free
            .store(segments.free().unwrap_or(u64::MAX), Ordering::Relaxed);
        let log = Log {
            shared: Arc::clone(&shared),
        };
        if let Some(recovered) = recovered {
            log.note_recovered(recovered);
        }
        let committing = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("audit-commit".to_owned())
            .spawn(move || {
                Commit {
                    shared: committing,
                    segments,
                    backlog: Backlog::default(),
                    interrupted: None,
                }
                .run();
            })
            .map_err(OpenError::disk("start the committer"))?;
        Ok((
            log,
            Committer {
                shared,
                thread: Some(thread),
                lock: None,
            },
        ))
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
        let mut bytes = Vec::new();
        entry::encode(entry, &mut bytes);
        let sequence = self.push(&bytes)?;
        self.shared.work.notify_one();
        self.shared.wait_for(sequence, patience)
    }

    /// Records `entry` without waiting, within the quarter of the queue that peers get who proved
    /// nothing.
    ///
    /// # Errors
    /// [`AppendError`]: count it instead.
    pub fn append_unproven(&self, entry: &Entry<'_>) -> Result<(), AppendError> {
        let mut bytes = Vec::new();
        entry::encode(entry, &mut bytes);
        self.shared.accept(&bytes, Queue::push_unproven)?;
        self.shared.pending.store(true, Ordering::Release);
        Ok(())
    }

    /// Reserves the place of a record that will be owed.
    ///
    /// # Errors
    /// [`AppendError`]: what would owe the record must not begin.
    pub fn reserve(&self) -> Result<Slot, AppendError> {
        self.shared.check()?;
        self.shared
            .queue()
            .reserve()
            .map_err(|_| self.shared.refuse(AppendError::Full))?;
        Ok(Slot {
            shared: Some(Arc::clone(&self.shared)),
        })
    }

    /// Tells the committer that entries wait, if any do. Workers call this when they run out of
    /// other things to do, so that a batch holds all that a worker gathered.
    pub fn kick(&self) {
        if self.shared.pending.swap(false, Ordering::AcqRel) {
            self.shared.work.notify_one();
        }
    }

    /// What the log is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        Status {
            available: shared.check().is_ok(),
            durable: shared.durable.load(Ordering::Acquire),
            queued: shared.queue().depth(),
            batches: shared.batches.load(Ordering::Relaxed),
            bytes: shared.bytes.load(Ordering::Relaxed),
            write_micros: shared.write_micros.load(Ordering::Relaxed),
            free: shared.free.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn push(&self, bytes: &[u8]) -> Result<u64, AppendError> {
        let sequence = self.shared.accept(bytes, Queue::push)?;
        self.shared.pending.store(true, Ordering::Release);
        Ok(sequence)
    }

    fn note_recovered(&self, recovered: Recovered) {
        let entry = Entry {
            time: Time::from_system(std::time::SystemTime::now()),
            event: Event::Recovered(recovered),
        };
        let mut bytes = Vec::new();
        entry::encode(&entry, &mut bytes);
        // An empty queue has room for one small entry whatever its limits.
        let _ = self.shared.queue().push(&bytes);
    }
}

impl Committer {
    /// Records all that is queued, closes the last segment and ends the thread; waits at most
    /// `patience`.
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
        while State::load(&self.shared.state) != State::Closed {
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

/// A reserved place in the queue.
#[derive(Debug)]
pub struct Slot {
    shared: Option<Arc<Shared>>,
}

impl Slot {
    /// Records `entry` in the reserved place. Nobody waits for it. It is taken even while the log is
    /// unavailable, and written when it comes back.
    pub fn fill(mut self, entry: &Entry<'_>) {
        let Some(shared) = self.shared.take() else {
            return;
        };
        let mut bytes = Vec::with_capacity(256);
        entry::encode(entry, &mut bytes);
        shared.queue().push_reserved(&bytes);
        shared.pending.store(true, Ordering::Release);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.queue().cancel();
        }
    }
}

/// What workers and the committer share.
#[derive(Debug)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    /// Whether something was queued since the committer was last told.
    pub(crate) pending: AtomicBool,
    /// All sequence numbers below are durable.
    pub(crate) durable: AtomicU64,
    state: AtomicU8,
    /// Rises when the log becomes unavailable: who waits since before must give up.
    pub(crate) failures: AtomicU64,
    refused: AtomicU64,
    closing: AtomicBool,
    bells: Mutex<Vec<Arc<Bell>>>,
    /// Threads that wait without a runtime.
    published_guard: Mutex<()>,
    published: Condvar,
    blocked: AtomicUsize,
    batches: AtomicU64,
    bytes: AtomicU64,
    write_micros: AtomicU64,
    free: AtomicU64,
}

/// Wakes one worker once a batch.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    pub(crate) fn hang(&self, waker: &Waker) {
        let mut held = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.as_ref().is_some_and(|held| held.will_wake(waker)) {
            *held = Some(waker.clone());
        }
    }

    fn ring(&self) {
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Ready,
    /// The disk does not take entries; the committer keeps trying.
    Unavailable,
    /// The live segment is no longer the file that its name leads to: somebody removed or replaced
    /// evidence. Only a restart, which looks at what is there, can end this.
    Lost,
    Closed,
}

impl State {
    fn load(cell: &AtomicU8) -> State {
        match cell.load(Ordering::Acquire) {
            0 => State::Ready,
            1 => State::Unavailable,
            2 => State::Lost,
            _ => State::Closed,
        }
    }
}

impl Shared {
    fn new(limits: Limits, next: u64) -> Shared {
        Shared {
            queue: Mutex::new(Queue::new(limits, next)),
            work: Condvar::new(),
            pending: AtomicBool::new(false),
            durable: AtomicU64::new(next),
            state: AtomicU8::new(State::Ready as u8),
            failures: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            bells: Mutex::new(Vec::new()),
            published_guard: Mutex::new(()),
            published: Condvar::new(),
            blocked: AtomicUsize::new(0),
            batches: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            write_micros: AtomicU64::new(0),
            free: AtomicU64::new(u64::MAX),
        }
    }

    /// Whether entries are taken.
    pub(crate) fn check(&self) -> Result<(), AppendError> {
        match State::load(&self.state) {
            State::Ready => Ok(()),
            State::Unavailable | State::Lost => Err(self.refuse(AppendError::Unavailable)),
            State::Closed => Err(AppendError::Closed),
        }
    }

    pub(crate) fn add_bell(&self) -> Arc<Bell> {
        let bell = Arc::new(Bell::default());
        self.bells
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&bell));
        bell
    }

    pub(crate) fn remove_bell(&self, bell: &Arc<Bell>) {
        self.bells
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|held| !Arc::ptr_eq(held, bell));
    }

    fn accept(
        &self,
        bytes: &[u8],
        push: impl FnOnce(&mut Queue, &[u8]) -> Result<u64, crate::queue::Full>,
    ) -> Result<u64, AppendError> {
        self.check()?;
        if bytes.len() > entry::MAX_BYTES {
            return Err(AppendError::TooLong);
        }
        push(&mut self.queue(), bytes).map_err(|_| self.refuse(AppendError::Full))
    }

    fn refuse(&self, error: AppendError) -> AppendError {
        self.refused.fetch_add(1, Ordering::Relaxed);
        error
    }

    /// A panic while the lock was held cannot have left the queue half-changed in a way that
    /// matters: every operation on it either did its work or not.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn published_lock(&self) -> MutexGuard<'_, ()> {
        self.published_guard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, sequence: u64, patience: Duration) -> Result<Receipt, AppendError> {
        let until = Instant::now() + patience;
        let failures = self.failures.load(Ordering::Acquire);
        self.blocked.fetch_add(1, Ordering::AcqRel);
        let mut guard = self.published_lock();
        let outcome = loop {
            if self.durable.load(Ordering::Acquire) > sequence {
                break Ok(Receipt::new(sequence));
            }
            if self.failures.load(Ordering::Acquire) != failures {
                break Err(AppendError::Unavailable);
            }
            if let Err(error) = self.check() {
                break Err(error);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(AppendError::Stalled);
            }
            guard = self
                .published
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        };
        drop(guard);
        self.blocked.fetch_sub(1, Ordering::AcqRel);
        outcome
    }

    fn publish(&self, durable: u64) {
        self.durable.store(durable, Ordering::Release);
        self.wake_all();
    }

    fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
        if state != State::Ready {
            self.failures.fetch_add(1, Ordering::AcqRel);
        }
        self.wake_all();
    }

    fn wake_all(&self) {
        for bell in &*self.bells.lock().unwrap_or_else(PoisonError::into_inner) {
            bell.ring();
        }
        if self.blocked.load(Ordering::Acquire) > 0 || self.closing.load(Ordering::Acquire) {
            drop(self.published_lock());
            self.published.notify_all();
        }
    }
}

/// What was taken from the queue and is not durable yet.
#[derive(Debug, Default)]
struct Backlog {
    records: Vec<u8>,
    /// How much of it is durable, bytes.
    done: usize,
    /// Sequence number of the first record that is not.
    sequence: u64,
}

/// The committer thread.
struct Commit {
    shared: Arc<Shared>,
    segments: Segments,
    backlog: Backlog,
    /// Since when the log is unavailable.
    interrupted: Option<Time>,
}

impl Commit {
    /// How often the committer looks after itself: the live file, free space, a disk that came back.
    const TICK: Duration = Duration::from_secs(1);

    fn run(mut self) {
        let mut looked = Instant::now();
        loop {
            let closing = self.wait();
            if looked.elapsed() >= Self::TICK {
                looked = Instant::now();
                self.look();
            }
            self.commit();
            if closing && State::load(&self.shared.state) == State::Unavailable {
                self.resume();
                self.commit();
            }
            if closing
                && (self.shared.queue().is_empty()
                    || State::load(&self.shared.state) != State::Ready)
            {
                break;
            }
        }
        if State::load(&self.shared.state) == State::Ready
            && let Err(error) = self.segments.finish()
        {
            tracing::warn!(%error, "the last audit segment could not be shortened; the next start does it");
        }
        self.shared.set_state(State::Closed);
    }

    /// Waits until there is something to do, at most a tick. Returns whether the log is closing.
    fn wait(&self) -> bool {
        let queue = self.shared.queue();
        let idle = |queue: &mut Queue| {
            (queue.is_empty() || State::load(&self.shared.state) != State::Ready)
                && !self.shared.closing.load(Ordering::Acquire)
        };
        drop(
            self.shared
                .work
                .wait_timeout_while(queue, Self::TICK, idle)
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.shared.closing.load(Ordering::Acquire)
    }

    fn look(&mut self) {
        if let Ok(free) = self.segments.free() {
            self.shared.free.store(free, Ordering::Relaxed);
        }
        match State::load(&self.shared.state) {
            State::Ready => {
                if let Err(error) = self.segments.check() {
                    self.fail(&error);
                }
            }
            State::Unavailable => self.resume(),
            State::Lost | State::Closed => {}
        }
    }

    /// Writes all that is queued.
    fn commit(&mut self) {
        if State::load(&self.shared.state) != State::Ready {
            return;
        }
        if self.backlog.done == self.backlog.records.len() {
            self.backlog.records.clear();
            self.backlog.done = 0;
            self.backlog.sequence = self.shared.queue().take(&mut self.backlog.records).0;
        }
        if let Err(error) = self.write_backlog() {
            self.fail(&error);
        }
    }

    fn write_backlog(&mut self) -> Result<(), WriteError> {
        while self.backlog.done < self.backlog.records.len() {
            let began = Instant::now();
            let written = self
                .segments
                .append(&self.backlog.records[self.backlog.done..])?;
            self.backlog.done += written.records_bytes;
            self.backlog.sequence += u64::from(written.count);
            let shared = &self.shared;
            shared
                .queue()
                .settle(written.count as usize, written.records_bytes);
            shared.batches.fetch_add(1, Ordering::Relaxed);
            shared
                .bytes
                .fetch_add(written.disk_bytes, Ordering::Relaxed);
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            shared.write_micros.fetch_add(micros, Ordering::Relaxed);
            shared.publish(self.backlog.sequence);
        }
        Ok(())
    }

    fn fail(&mut self, error: &WriteError) {
        tracing::error!(%error, "the audit log cannot be written: requests are refused until it can");
        self.interrupted.get_or_insert_with(now);
        self.shared.refused.store(0, Ordering::Relaxed);
        self.shared.set_state(match error {
            WriteError::Disk(_) => State::Unavailable,
            WriteError::Gone => State::Lost,
        });
    }

    /// Tries whether the disk takes entries again: first what is owed, then the note of it.
    fn resume(&mut self) {
        if let Err(error) = self.segments.renew().and_then(|()| self.write_backlog()) {
            tracing::debug!(%error, "the audit log still cannot be written");
            return;
        }
        if let Some(since) = self.interrupted.take() {
            let refused = self.shared.refused.load(Ordering::Relaxed);
            let entry = Entry {
                time: now(),
                event: Event::Interrupted(Interrupted { since, refused }),
            };
            let mut bytes = Vec::new();
            entry::encode(&entry, &mut bytes);
            // A full queue drains now that the disk is back; the note can then be missed, not an entry.
            let _ = self.shared.queue().push(&bytes);
        }
        tracing::info!("the audit log can be written again");
        self.shared.set_state(State::Ready);
    }
}

fn now() -> Time {
    Time::from_system(std::time::SystemTime::now())
}

/// Takes the lock that makes this process the one writer of the log. The kernel gives it back when
/// the process ends, however it ends.
fn lock(directory: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join(LOCK))
        .map_err(OpenError::disk("open the lock"))?;
    // `has_writer` holds the lock for a moment; a writer holds it for good.
    for attempt in 0.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(std::fs::TryLockError::WouldBlock) if attempt < 10 => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "start-up, before any worker runs"
                )]
                std::thread::sleep(Duration::from_millis(30));
            }
            Err(std::fs::TryLockError::WouldBlock) => return Err(OpenError::Locked),
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(OpenError::Disk {
                    doing: "lock",
                    error,
                });
            }
        }
    }
    Ok(file)
}

/// The file that the one writer of a log holds a lock on.
pub const LOCK: &str = "LOCK";

/// Whether somebody writes to the log in `directory` now.
///
/// # Errors
/// What the operating system says; a directory without a lock file has no writer.
pub fn has_writer(directory: &Path) -> io::Result<bool> {
    let file = match File::open(directory.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(std::fs::TryLockError::WouldBlock) => Ok(true),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}
