//! Appending from a worker: one future an entry, one wake-up a batch.
//!
//! A worker is one thread that drives many requests. Its appends have rising sequence numbers, so
//! the ones that wait stand in a queue; when the committer publishes how far the log is durable it
//! wakes the worker once, and the worker wakes its own waiters up to there. Plain futures: no
//! runtime is named here.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::encoder::Encoder;
use crate::error::AppendError;
use crate::event::Entry;
use crate::log::Log;
use crate::queue::Share;
use crate::shared::{Bell, Receipt};

/// A log as one thread uses it. Clones share the same waiters.
#[derive(Debug, Clone)]
pub struct Appender {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: Log,
    bell: Arc<Bell>,
    waiting: RefCell<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// In the order of their sequence numbers.
    queue: VecDeque<Waiter>,
    /// Sequence numbers below were given up: the disk did not answer in time.
    expired_below: u64,
    /// The failures that the waiters have been told of.
    failures: u64,
    /// Appends since the committer was last told.
    quiet: u32,
    encoder: Encoder,
    leaf: Vec<u8>,
}

#[derive(Debug)]
struct Waiter {
    sequence: u64,
    since: Instant,
    waker: Option<Waker>,
}

impl Appender {
    /// After this many appends the committer is told even if the thread has not come to rest.
    const TELL_AFTER: u32 = 32;

    /// An appender to `log`, for the calling thread.
    #[must_use]
    pub fn new(log: &Log) -> Appender {
        let waiting = Waiting {
            queue: VecDeque::new(),
            expired_below: 0,
            failures: log.shared.failures.load(Ordering::Acquire),
            quiet: 0,
            encoder: Encoder::new(log.shared.keyring.clone()),
            leaf: Vec::new(),
        };
        Appender {
            inner: Rc::new(Inner {
                log: log.clone(),
                bell: log.shared.add_bell(),
                waiting: RefCell::new(waiting),
            }),
        }
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// Queues `entry`; the future ends when it is durable. Dropping the future does not take the
    /// entry back.
    ///
    /// The committer is told of it by [`Log::kick`], which the thread calls when it comes to rest.
    ///
    /// # Errors
    /// [`AppendError`]: the entry counts as not recorded.
    pub fn append(&self, entry: &Entry<'_>, share: Share) -> Result<Append, AppendError> {
        self.append_leaf(share, |encoder, leaf| encoder.encode(entry, leaf))
    }

    /// The same for the first record of a request: with its target as it was received, which stands in
    /// a sealed log alone, and there in a block that not every reader opens.
    ///
    /// # Errors
    /// [`AppendError`]: the entry counts as not recorded.
    pub fn append_with_target(
        &self,
        entry: Entry<'_>,
        target: &[u8],
        share: Share,
    ) -> Result<Append, AppendError> {
        self.append_leaf(share, |encoder, leaf| {
            encoder.encode_with_target(entry, target, leaf)
        })
    }

    fn append_leaf(
        &self,
        share: Share,
        encode: impl FnOnce(&mut Encoder, &mut Vec<u8>) -> Result<(), AppendError>,
    ) -> Result<Append, AppendError> {
        let inner = &*self.inner;
        let mut waiting = inner.waiting.borrow_mut();
        let waiting = &mut *waiting;
        waiting.leaf.clear();
        encode(&mut waiting.encoder, &mut waiting.leaf)?;
        let sequence = inner.log.push(&waiting.leaf, share, true)?;
        waiting.queue.push_back(Waiter {
            sequence,
            since: Instant::now(),
            waker: None,
        });
        if waiting.queue.len() == 1 {
            inner.bell.wants(Some(sequence));
        }
        waiting.quiet += 1;
        if waiting.quiet >= Self::TELL_AFTER {
            waiting.quiet = 0;
            inner.log.kick();
        }
        let failures = inner.log.shared.failures.load(Ordering::Acquire);
        Ok(Append {
            worker: self.clone(),
            sequence,
            failures,
        })
    }

    /// Wakes the waiters of this thread whenever the log is durable further than before. To be
    /// driven on the worker's thread as long as it lives; it never ends.
    pub fn drive(&self) -> impl Future<Output = std::convert::Infallible> + use<> {
        let worker = self.clone();
        std::future::poll_fn(move |context| {
            worker.inner.bell.hang(context.waker());
            worker.wake_ready();
            Poll::Pending
        })
    }

    /// Gives up every append that was queued before `limit` and is not durable. To be called once in
    /// a while, so that no wait is without an end.
    pub fn expire(&self, limit: Instant) {
        let mut waiting = self.inner.waiting.borrow_mut();
        while let Some(first) = waiting.queue.front()
            && first.since < limit
        {
            waiting.expired_below = first.sequence + 1;
            if let Some(Waiter {
                waker: Some(waker), ..
            }) = waiting.queue.pop_front()
            {
                waker.wake();
            }
        }
        let first = waiting.queue.front().map(|first| first.sequence);
        self.inner.bell.wants(first);
    }

    fn wake_ready(&self) {
        let shared = &self.inner.log.shared;
        let mut waiting = self.inner.waiting.borrow_mut();
        let failures = shared.failures.load(Ordering::Acquire);
        let durable = shared.durable.load(Ordering::Acquire);
        while let Some(first) = waiting.queue.front()
            && first.sequence < durable
        {
            if let Some(Waiter {
                waker: Some(waker), ..
            }) = waiting.queue.pop_front()
            {
                waker.wake();
            }
        }
        let first = waiting.queue.front().map(|first| first.sequence);
        self.inner.bell.wants(first);
        if std::mem::replace(&mut waiting.failures, failures) != failures {
            // They learn that they must not wait; their entries stay queued all the same.
            waiting
                .queue
                .iter_mut()
                .filter_map(|waiter| waiter.waker.take())
                .for_each(Waker::wake);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.log.shared.remove_bell(&self.bell);
    }
}

/// An entry on its way to the disk.
#[must_use = "nothing may be released before this has ended well"]
#[derive(Debug)]
pub struct Append {
    worker: Appender,
    sequence: u64,
    failures: u64,
}

impl Future for Append {
    type Output = Result<Receipt, AppendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = &*self.worker.inner;
        let shared = &inner.log.shared;
        if shared.durable.load(Ordering::SeqCst) > self.sequence {
            return Poll::Ready(Ok(Receipt::new(self.sequence)));
        }
        if shared.failures.load(Ordering::Acquire) != self.failures {
            return Poll::Ready(Err(AppendError::Unavailable));
        }
        let mut waiting = inner.waiting.borrow_mut();
        if self.sequence < waiting.expired_below {
            return Poll::Ready(Err(AppendError::Stalled));
        }
        match waiting
            .queue
            .binary_search_by_key(&self.sequence, |waiter| waiter.sequence)
        {
            Ok(at) => waiting.queue[at].waker = Some(context.waker().clone()),
            // Became durable, or expired, between the checks above and here: look again.
            Err(_) => context.waker().wake_by_ref(),
        }
        Poll::Pending
    }
}

impl Drop for Append {
    fn drop(&mut self) {
        let mut waiting = self.worker.inner.waiting.borrow_mut();
        if let Ok(at) = waiting
            .queue
            .binary_search_by_key(&self.sequence, |waiter| waiter.sequence)
        {
            waiting.queue[at].waker = None;
        }
    }
}
