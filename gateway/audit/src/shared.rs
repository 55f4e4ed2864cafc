//! What the workers and the committer share: the queue, how far the log is durable, and who is to be
//! woken. Nothing here touches a disk.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::clock::State as ClockState;
use crate::encoder::Encoder;
use crate::entry;
use crate::error::AppendError;
use crate::event::{Entry, Time};
use crate::keyring::{DrawError, Keyring};
use crate::queue::{Full, Limits, Queue, Share};
use crate::seal::sealed;

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

/// What workers and the committer share.
#[derive(Debug)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    pub(crate) work: Condvar,
    /// Whether something was queued since the committer was last told.
    pub(crate) pending: AtomicBool,
    /// Whether the committer is awake and gathers: it need not be told of more.
    pub(crate) gathering: AtomicBool,
    /// All sequence numbers below are durable.
    pub(crate) durable: AtomicU64,
    pub(crate) state: AtomicU8,
    /// Rises when the log becomes unavailable: who waits since before must give up.
    pub(crate) failures: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) closing: AtomicBool,
    bells: Mutex<Vec<Arc<Bell>>>,
    /// What entries are sealed under, unless they stay in the clear.
    pub(crate) keyring: Option<Arc<Keyring>>,
    /// For the few entries that no worker writes.
    encoder: Mutex<Encoder>,
    /// Threads that wait without a runtime.
    pub(crate) published_guard: Mutex<()>,
    pub(crate) published: Condvar,
    pub(crate) blocked: AtomicUsize,
    pub(crate) batches: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) write_micros: AtomicU64,
    pub(crate) free: AtomicU64,
    signing: Signing,
    /// How the clock stands, if somebody looks at it, and how often it was set.
    clock: Mutex<(Option<ClockState>, u64)>,
}

/// How far the log is signed, and the bell of the thread that signs.
#[derive(Debug)]
struct Signing {
    /// From this durable size on the thread is woken; beyond reach when it is at work.
    due: AtomicU64,
    guard: Mutex<()>,
    bell: Condvar,
    /// Entries that the last checkpoint is about.
    size: AtomicU64,
    /// When that was signed, as [`Time`]; 0 for never.
    time: AtomicU64,
    /// Whether there is no thread that signs, or no longer.
    ended: AtomicBool,
}

impl Default for Signing {
    fn default() -> Signing {
        Signing {
            due: AtomicU64::new(u64::MAX),
            guard: Mutex::default(),
            bell: Condvar::default(),
            size: AtomicU64::default(),
            time: AtomicU64::default(),
            ended: AtomicBool::new(true),
        }
    }
}

/// Wakes one worker once a batch, if one of its entries is in it.
#[derive(Debug)]
pub(crate) struct Bell {
    waker: Mutex<Option<Waker>>,
    /// The first sequence number that somebody waits for.
    ///
    /// A worker stores it and then looks how far the log is durable; the committer stores that and then
    /// looks here. So one of the two sees the other (sequentially consistent, all four).
    wanted: AtomicU64,
}

impl Default for Bell {
    fn default() -> Bell {
        Bell {
            waker: Mutex::default(),
            wanted: AtomicU64::new(u64::MAX),
        }
    }
}

impl Bell {
    /// Somebody waits for this sequence number, and nobody for one before it; with `None` nobody at all.
    pub(crate) fn wants(&self, sequence: Option<u64>) {
        self.wanted
            .store(sequence.unwrap_or(u64::MAX), Ordering::SeqCst);
    }

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
pub(crate) enum State {
    Ready,
    /// The disk does not take entries; the committer keeps trying.
    Unavailable,
    /// The live segment is no longer the file that its name leads to: somebody removed or replaced
    /// evidence. Only a restart, which looks at what is there, can end this.
    Lost,
    Closed,
}

impl State {
    pub(crate) fn load(cell: &AtomicU8) -> State {
        match cell.load(Ordering::Acquire) {
            0 => State::Ready,
            1 => State::Unavailable,
            2 => State::Lost,
            _ => State::Closed,
        }
    }
}

impl Shared {
    pub(crate) fn new(limits: Limits, next: u64, keyring: Option<Arc<Keyring>>) -> Shared {
        Shared {
            queue: Mutex::new(Queue::new(limits, next)),
            work: Condvar::new(),
            pending: AtomicBool::new(false),
            gathering: AtomicBool::new(false),
            durable: AtomicU64::new(next),
            state: AtomicU8::new(State::Ready as u8),
            failures: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            bells: Mutex::new(Vec::new()),
            encoder: Mutex::new(Encoder::new(keyring.clone())),
            keyring,
            published_guard: Mutex::new(()),
            published: Condvar::new(),
            blocked: AtomicUsize::new(0),
            batches: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            write_micros: AtomicU64::new(0),
            free: AtomicU64::new(u64::MAX),
            signing: Signing::default(),
            clock: Mutex::default(),
        }
    }

    /// Whether entries are taken.
    pub(crate) fn is_available(&self) -> bool {
        State::load(&self.state) == State::Ready
    }

    /// The same, with the reason.
    fn state(&self) -> Result<(), AppendError> {
        match State::load(&self.state) {
            State::Ready => Ok(()),
            State::Unavailable | State::Lost => Err(AppendError::Unavailable),
            State::Closed => Err(AppendError::Closed),
        }
    }

    /// The same, for somebody who wants to append: a refusal is counted.
    fn check(&self) -> Result<(), AppendError> {
        self.state().map_err(|error| match error {
            AppendError::Unavailable => self.refuse(error),
            error => error,
        })
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

    pub(crate) fn accept(
        &self,
        bytes: &[u8],
        share: Share,
        is_awaited: bool,
    ) -> Result<u64, AppendError> {
        self.check()?;
        if bytes.len() > sealed::MAX_BYTES {
            return Err(AppendError::TooLong);
        }
        let mut queue = self.queue();
        let accepted = queue.push(bytes, share);
        if is_awaited {
            queue.hurry();
        }
        drop(queue);
        accepted.map_err(|Full| self.refuse(AppendError::Full))
    }

    pub(crate) fn reserve(&self, share: Share) -> Result<(), AppendError> {
        self.check()?;
        let reserved = self.queue().reserve(share);
        reserved.map_err(|Full| self.refuse(AppendError::Full))
    }

    /// Goes over to the keys of the month that `now` falls in, if it is another one than theirs. The entries
    /// that tell of the keys follow their records, and come before any entry under them. An unavailable
    /// or full log goes over later.
    ///
    /// # Errors
    /// [`DrawError`]; the keys that are in use stay, and this is to be tried again.
    pub(crate) fn turn(&self, now: Time) -> Result<(), DrawError> {
        let keyring = match &self.keyring {
            Some(keyring) if keyring.is_over(now) => keyring,
            _ => return Ok(()),
        };
        // Places first, so that the log always tells of a key whose record there is.
        let classes = keyring.classes();
        let reserved = (0..classes).take_while(|_| self.reserve(Share::Proven).is_ok());
        let reserved = reserved.count();
        let drawn = if reserved == classes {
            Some(keyring.next(now))
        } else {
            None
        };
        match drawn {
            Some(Ok((keys, drawn))) => {
                for drawn in &drawn {
                    let entry = Entry {
                        time: now,
                        event: drawn.event(),
                    };
                    let mut leaf = Vec::new();
                    entry::encode(&entry, &mut leaf);
                    self.queue().push_reserved(&leaf, Share::Proven);
                }
                keyring.turn(keys);
                Ok(())
            }
            other => {
                (0..reserved).for_each(|_| self.queue().cancel(Share::Proven));
                other.map_or(Ok(()), |drawn| drawn.map(drop))
            }
        }
    }

    /// The leaf of an entry that no worker writes.
    pub(crate) fn encode(&self, entry: &Entry<'_>) -> Result<Vec<u8>, AppendError> {
        let mut leaf = Vec::with_capacity(512);
        // What a panic left half-done is the buffer of that call alone.
        let mut encoder = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        encoder.encode(entry, &mut leaf)?;
        Ok(leaf)
    }

    fn refuse(&self, error: AppendError) -> AppendError {
        self.refused.fetch_add(1, Ordering::Relaxed);
        error
    }

    /// A panic while the lock was held cannot have left the queue half-changed in a way that
    /// matters: every operation on it either did its work or not.
    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn published_lock(&self) -> MutexGuard<'_, ()> {
        self.published_guard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait_for(
        &self,
        sequence: u64,
        patience: Duration,
    ) -> Result<Receipt, AppendError> {
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
            // The entry was accepted: it is not turned away, whatever becomes of it.
            if let Err(error) = self.state() {
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

    pub(crate) fn publish(&self, durable: u64) {
        self.durable.store(durable, Ordering::SeqCst);
        self.wake(|bell| bell.wanted.load(Ordering::SeqCst) < durable);
        if durable >= self.signing.due.load(Ordering::Acquire) {
            self.wake_signing();
        }
    }

    fn wake_signing(&self) {
        self.signing.due.store(u64::MAX, Ordering::Release);
        drop(self.signing_lock());
        self.signing.bell.notify_all();
    }

    fn signing_lock(&self) -> MutexGuard<'_, ()> {
        let guard = self.signing.guard.lock();
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the log is durable up to `due`, or closed, at most `patience`. Returns whether
    /// it is closed, so that nothing more becomes durable.
    pub(crate) fn wait_to_sign(&self, due: u64, patience: Duration) -> bool {
        let closed = || State::load(&self.state) == State::Closed;
        self.signing.due.store(due, Ordering::Release);
        // A batch that is published between the two lines wakes nobody; the patience ends it.
        let waits = |(): &mut ()| self.durable.load(Ordering::Acquire) < due && !closed();
        let wait = self
            .signing
            .bell
            .wait_timeout_while(self.signing_lock(), patience, waits);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
        self.signing.due.store(u64::MAX, Ordering::Release);
        closed()
    }

    /// A thread begins to sign behind the first `size` entries.
    pub(crate) fn signing_begins(&self, size: u64) {
        self.signing.size.store(size, Ordering::Release);
        self.signing.ended.store(false, Ordering::Release);
    }

    /// The log was signed so far, at this time.
    pub(crate) fn signed_up_to(&self, size: u64, now: Time) {
        self.signing.time.store(now.0, Ordering::Release);
        self.signing.size.store(size, Ordering::Release);
    }

    /// How many entries are signed, and since when, if this process signed any.
    pub(crate) fn signed(&self) -> (u64, Option<Time>) {
        let time = self.signing.time.load(Ordering::Acquire);
        let size = self.signing.size.load(Ordering::Acquire);
        (size, (time > 0).then_some(Time(time)))
    }

    /// The clock stands like this, and was set so many more times.
    pub(crate) fn clock_is(&self, state: ClockState, steps: u64) {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        *clock = (Some(state), clock.1.saturating_add(steps));
    }

    /// How the clock stands, and how often it was set since the log was opened.
    pub(crate) fn clock(&self) -> (Option<ClockState>, u64) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more is signed.
    pub(crate) fn signing_ended(&self) {
        self.signing.ended.store(true, Ordering::Release);
        drop(self.published_lock());
        self.published.notify_all();
    }

    /// Whether nothing more is signed.
    pub(crate) fn is_signing_over(&self) -> bool {
        self.signing.ended.load(Ordering::Acquire)
    }

    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
        if state != State::Ready {
            self.failures.fetch_add(1, Ordering::AcqRel);
        }
        self.wake(|_| true);
        if state == State::Closed {
            self.wake_signing();
        }
    }

    fn wake(&self, concerns: impl Fn(&Bell) -> bool) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in bells.iter().filter(|bell| concerns(bell)) {
            bell.ring();
        }
        drop(bells);
        if self.blocked.load(Ordering::Acquire) > 0 || self.closing.load(Ordering::Acquire) {
            drop(self.published_lock());
            self.published.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_an_accepted_entry_is_not_counted_as_turned_away() {
        let limits = Limits {
            entries: 10,
            bytes: 1000,
        };
        let shared = Shared::new(limits, 0, None);
        let sequence = shared.accept(b"entry", Share::Proven, true).unwrap();
        shared.set_state(State::Unavailable);
        let waited = shared.wait_for(sequence, Duration::from_millis(1));
        assert!(matches!(waited, Err(AppendError::Unavailable)));
        assert_eq!(shared.refused.load(Ordering::Relaxed), 0);
        assert!(shared.accept(b"another", Share::Proven, true).is_err());
        assert_eq!(shared.refused.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_batch_wakes_whoever_waits_for_something_in_it_and_a_failure_everybody() {
        struct Rung(AtomicUsize);
        impl std::task::Wake for Rung {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let limits = Limits {
            entries: 10,
            bytes: 1000,
        };
        let shared = Shared::new(limits, 0, None);
        let rung = [0; 3].map(|_| Arc::new(Rung(AtomicUsize::new(0))));
        for (rung, wanted) in rung.iter().zip([Some(4), Some(5), None]) {
            let bell = shared.add_bell();
            bell.hang(&Waker::from(Arc::clone(rung)));
            bell.wants(wanted);
        }
        let so_often = || rung.each_ref().map(|rung| rung.0.load(Ordering::SeqCst));
        shared.publish(4);
        assert_eq!(so_often(), [0, 0, 0]);
        shared.publish(5);
        assert_eq!(so_often(), [1, 0, 0]);
        shared.set_state(State::Unavailable);
        assert_eq!(so_often(), [2, 1, 1]);
    }

    /// Whoever makes leaves keeps to it as well; a queue that believed him could hold what no batch does.
    #[test]
    fn no_leaf_is_accepted_that_is_longer_than_a_leaf_can_be() {
        let limits = Limits {
            entries: 10,
            bytes: 10 * sealed::MAX_BYTES,
        };
        let shared = Shared::new(limits, 0, None);
        let longest = vec![0; sealed::MAX_BYTES];
        assert!(shared.accept(&longest, Share::Proven, true).is_ok());
        let longer = shared.accept(&[&longest[..], &[0]].concat(), Share::Proven, true);
        assert!(matches!(longer, Err(AppendError::TooLong)));
    }
}
